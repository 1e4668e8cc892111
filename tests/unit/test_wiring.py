"""Which NIC is on which segment, judged from evidence: proof, contradiction, silence, swaps."""

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.wiring import listening, wiring
from hikkoshi.network.wiring.capture import Growing
from hikkoshi.network.wiring.fingerprint import Fingerprint, NicFingerprint
from hikkoshi.network.wiring.frames import FrameEvidence, Kind
from hikkoshi.network.wiring.wiring import Heard, NicWiring, Witness
from hikkoshi.params.site import Segment

DATA = Path(__file__).parents[1] / "data" / "wiring"
SEGMENTS = {
    f"vlan{vlan}": Segment(vlan=vlan, port_group=f"dv-vlan{vlan}", subnet=IPv4Network(f"10.{vlan // 100}.{vlan % 100}.0/24"))
    for vlan in (*range(301, 306), *range(501, 506))
}
PLANNED = {f"eth{n}": segment for n, segment in enumerate(SEGMENTS)}
MAC = "02:00:00:00:00:01"


def arp(address: str, mac: str = MAC) -> FrameEvidence:
    return FrameEvidence("ARP", mac, IPv4Address(address))


def port(vlan: int, kind: Kind = "LLDP") -> FrameEvidence:
    return FrameEvidence(kind, MAC, vlan=vlan)


def heard(*evidence: FrameEvidence, link: str = "up", frames: int = 9) -> Heard:
    return Heard("00:16:3e:05:00:00", link, evidence, frames, 0, None)


def witness(found: Mapping[str, Heard], segments: Mapping[str, Segment] = SEGMENTS) -> Witness:
    return wiring.witness("gw", "passive", 7.5, found, PLANNED, wiring.places(segments))


def eth3(*evidence: FrameEvidence, segments: Mapping[str, Segment] = SEGMENTS) -> NicWiring:
    """What is found about eth3, planned on vlan304, 10.3.4.0/24."""
    (nic,) = witness({"eth3": heard(*evidence)}, segments).nics
    return nic


def recorded(name: str) -> Witness:
    """Ten NICs of one host, as tcpdump recorded them."""
    own = {f"00:16:3e:05:00:0{n}" for n in range(10)}
    place, found = wiring.places(SEGMENTS), {}
    for nic in PLANNED:
        ear = listening.Ear(Growing(nic))
        listening.hear(ear, (DATA / name / f"{nic}.pcap").read_bytes(), own, place, 1.0)
        found[nic] = Heard(f"00:16:3e:05:00:0{nic[-1]}", "up", ear.evidence, ear.frames, 0, ear.after)
    return witness(found)


class TestVerdict:
    def test_one_frame_of_the_planned_segment_is_proof(self) -> None:
        nic = eth3(arp("10.3.4.10"))
        assert (nic.verdict, nic.on) == ("ok", "vlan304")

    def test_one_frame_of_another_segment_is_wrong(self) -> None:
        nic = eth3(arp("10.5.3.10"))
        assert (nic.verdict, nic.on) == ("wrong", "vlan503")
        assert "10.5.3.10 from 02:00:00:00:00:01" in nic.found

    def test_a_silent_segment_is_never_ok(self) -> None:
        nic = eth3()
        assert nic.verdict == "silent"
        assert nic.found == "9 frames, none of which tells a segment"

    def test_a_link_that_is_down_is_told(self) -> None:
        (nic,) = witness({"eth3": heard(link="no carrier", frames=0)}).nics
        assert nic.found.startswith("the link is no carrier")

    def test_addresses_that_are_in_no_known_subnet_are_told_and_prove_nothing(self) -> None:
        nic = eth3(arp("192.168.77.5"), arp("169.254.1.1"))
        assert nic.verdict == "unknown"
        assert "no known segment" in nic.found
        assert "192.168.77.5" in nic.found

    def test_beside_proof_they_are_told_and_do_no_harm(self) -> None:
        nic = eth3(arp("10.3.4.10"), arp("192.168.77.5"))
        assert nic.verdict == "ok"
        assert "no known segment by ARP: 192.168.77.5" in nic.found

    def test_one_stray_frame_against_a_hundred_is_a_contradiction(self) -> None:
        nic = eth3(*[arp(f"10.3.4.{n}", f"02:00:00:00:00:{n:02x}") for n in range(1, 101)], arp("10.3.5.9"))
        assert (nic.verdict, nic.on) == ("conflicting", "vlan304, vlan305")
        assert "100 from 100 machines" in nic.found

    def test_a_switch_that_tells_another_vlan_than_the_machines_is_a_contradiction(self) -> None:
        assert eth3(arp("10.3.4.10"), port(305)).verdict == "conflicting"

    @pytest.mark.parametrize("kind", ["LLDP", "CDP", "PVST+"])
    def test_a_vlan_named_by_the_switch_is_proof(self, kind: Kind) -> None:
        assert eth3(port(304, kind)).verdict == "ok"
        assert eth3(port(305, kind)).verdict == "wrong"
        assert eth3(port(1, kind)).verdict == "unknown"

    def test_the_right_vlan_with_its_tag_is_wrong_since_the_guest_does_not_read_tags(self) -> None:
        nic = eth3(port(304, "802.1Q"))
        assert nic.verdict == "wrong"
        assert "on a trunk" in nic.found
        assert eth3(port(304, "802.1Q"), arp("10.3.4.10")).verdict == "ok"

    def test_a_trunk_with_another_vlan_contradicts(self) -> None:
        assert eth3(port(305, "802.1Q"), arp("10.3.4.10")).verdict == "conflicting"

    def test_a_switch_that_tells_its_name_only_proves_nothing(self) -> None:
        assert eth3(FrameEvidence("LLDP", MAC, note="switch sw1")).verdict == "unknown"

    def test_an_ipv6_prefix_proves_nothing_where_subnets_are_ipv4(self) -> None:
        assert eth3(FrameEvidence("RA", MAC, IPv6Address("2001:db8::"))).verdict == "unknown"

    @given(st.lists(st.sampled_from([*(f"10.3.{n}.9" for n in range(1, 6)), "192.168.77.5", "10.9.9.9"]), max_size=6))
    def test_ok_is_given_for_evidence_of_the_planned_segment_and_of_no_other(self, addresses: list[str]) -> None:
        nic = eth3(*map(arp, addresses))
        known = {a for a in addresses if a.startswith("10.3.")}
        assert (nic.verdict == "ok") == (known == {"10.3.4.9"})


class TestPlaces:
    def test_of_two_subnets_the_narrower_one_counts(self) -> None:
        wide = Segment(vlan=2, port_group="all", subnet=IPv4Network("10.0.0.0/8"))
        place = wiring.places({"all": wide, **SEGMENTS})
        assert [place(arp("10.3.4.10")), place(arp("10.99.0.1"))] == ["vlan304", "all"]

    def test_a_segment_whose_subnet_nobody_told_is_known_by_the_guests_own_address_there(self) -> None:
        untold = {name: s.model_copy(update={"subnet": None}) for name, s in SEGMENTS.items()}
        place = wiring.places(wiring.with_subnets(untold, {"vlan304": IPv4Interface("10.3.4.254/24")}))
        assert [place(arp("10.3.4.10")), place(arp("10.3.5.10"))] == ["vlan304", ""]
        told = wiring.with_subnets(SEGMENTS, {"vlan304": IPv4Interface("10.9.9.254/24")})
        assert told == SEGMENTS  # what a person wrote counts

    def test_what_fits_two_segments_fits_none(self) -> None:
        twin = SEGMENTS["vlan304"].model_copy(update={"port_group": "twin"})
        place = wiring.places({**SEGMENTS, "twin": twin})
        assert [place(arp("10.3.4.10")), place(port(304))] == ["", ""]

    def test_a_plan_with_a_segment_that_there_is_not_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(BadInput, match="did you mean vlan304"):
            wiring.known({"eth3": "vlan3O4"}, SEGMENTS)

    def test_a_segment_that_nothing_could_tell_is_refused(self) -> None:
        bare = Segment(vlan=0, port_group="VM Network")
        with pytest.raises(BadInput, match="nothing could tell this segment") as e:
            wiring.known({"eth0": "bare", "eth1": "gone"}, {"bare": bare})
        assert len(e.value.problems) == 2


class TestSwaps:
    def test_ten_recorded_nics_two_of_them_swapped_one_cut_off(self) -> None:
        found = recorded("eth3-and-eth7-swapped-eth4-silent")
        verdicts = {n.name: n.verdict for n in found.nics if n.verdict != "ok"}
        assert verdicts == {"eth3": "wrong", "eth4": "silent", "eth7": "wrong"}
        assert found.swaps == [("eth3", "eth7")]
        assert not found.ok

    def test_both_checks_name_the_swap(self) -> None:
        red = {c.title: c for c in recorded("eth3-and-eth7-swapped-eth4-silent").checks() if not c}
        assert list(red) == ["eth3 is seen on vlan304", "eth4 is seen on vlan305", "eth7 is seen on vlan503"]
        assert "eth3 → eth7 → eth3" in red["eth3 is seen on vlan304"].remedy
        assert red["eth7 is seen on vlan503"].remedy == red["eth3 is seen on vlan304"].remedy
        assert "proves nothing" in red["eth4 is seen on vlan305"].remedy

    def test_what_the_host_sent_itself_is_no_evidence(self) -> None:
        # eth3 of that recording asked for an address of its own subnet, on the wrong segment
        own = (DATA / "eth3-and-eth7-swapped-eth4-silent" / "eth3.pcap").read_bytes()
        ear = listening.Ear(Growing("eth3"))
        listening.hear(ear, own, set(), wiring.places(SEGMENTS), 1.0)
        assert {wiring.places(SEGMENTS)(e) for e in ear.evidence} == {"vlan304", "vlan503"}

    @given(st.permutations(range(10)))
    def test_every_permutation_comes_apart_into_its_cycles(self, order: list[int]) -> None:
        subnets = [str(s.subnet) for s in SEGMENTS.values()]
        found = witness({f"eth{n}": heard(arp(subnets[on].replace(".0/24", ".9"))) for n, on in enumerate(order)})
        seen = [nic for cycle in found.swaps for nic in cycle]
        assert sorted(seen) == sorted(f"eth{n}" for n, on in enumerate(order) if n != on)
        for cycle in found.swaps:
            for nic, then in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
                assert order[int(nic[3:])] == int(then[3:])

    def test_a_nic_on_a_segment_that_no_other_wrong_nic_should_have_is_no_swap(self) -> None:
        found = witness({"eth3": heard(arp("10.5.3.9")), "eth7": heard(arp("10.5.3.10"))})
        assert [n.verdict for n in found.nics] == ["wrong", "ok"]
        assert found.swaps == []

    def test_two_nics_may_belong_to_one_segment(self) -> None:
        planned = {"eth3": "vlan304", "eth7": "vlan503", "eth8": "vlan503"}
        found = wiring.witness(
            "gw",
            "passive",
            7.5,
            {"eth3": heard(arp("10.5.3.9")), "eth7": heard(arp("10.3.4.9")), "eth8": heard(arp("10.5.3.9"))},
            planned,
            wiring.places(SEGMENTS),
        )
        assert found.swaps == [("eth3", "eth7")]

    def test_a_chain_that_ends_in_a_swap_is_not_part_of_it(self) -> None:
        found = witness({"eth0": heard(arp("10.3.4.9")), "eth3": heard(arp("10.5.3.9")), "eth7": heard(arp("10.3.4.9"))})
        assert found.swaps == [("eth3", "eth7")]


class TestWitness:
    def test_it_is_the_same_after_a_way_through_json(self) -> None:
        found = recorded("eth3-and-eth7-swapped-eth4-silent")
        assert Witness.model_validate_json(found.model_dump_json()) == found
        assert json.loads(found.model_dump_json())["nics"][3]["verdict"] == "wrong"

    def test_its_table_has_a_row_per_nic(self) -> None:
        rows = recorded("eth3-and-eth7-swapped-eth4-silent").rows()
        assert [r["NIC"] for r in rows] == list(PLANNED)
        assert (rows[3]["seen"], rows[3]["verdict"], rows[3]["known after"]) == ("vlan503", "wrong", "1.0 s")
        assert (rows[4]["seen"], rows[4]["known after"]) == ("", "")

    def test_two_witnesses_add_up(self) -> None:
        first = witness({"eth3": heard(), "eth4": heard(arp("10.3.5.9")), "eth5": heard(arp("10.5.1.9"))})
        second = witness({"eth3": heard(arp("10.3.4.9")), "eth4": heard(), "eth5": heard(arp("10.5.2.9"))})
        both = wiring.together(first, second)
        assert [n.verdict for n in both.nics] == ["ok", "ok", "conflicting"]
        assert (both.way, both.seconds) == ("passive and passive", 15.0)
        assert both.nics[0].frames == 18

    def test_the_second_need_not_know_the_nics_that_the_first_has_proved(self) -> None:
        first = witness({"eth3": heard(arp("10.3.4.9")), "eth4": heard()})
        both = wiring.together(first, witness({"eth4": heard(arp("10.3.5.9"))}))
        assert {n.name: n.verdict for n in both.nics} == {"eth3": "ok", "eth4": "ok"}


class TestFingerprint:
    def taken(self, **nics: list[str]) -> Fingerprint:
        ears = {n: NicFingerprint(mac=MAC, link="up", pairs=tuple(pairs)) for n, pairs in nics.items()}
        return Fingerprint(host="gw", seconds=60, nics=ears)

    def test_it_keeps_pairs_of_senders_and_their_own_addresses(self) -> None:
        found = Fingerprint.of(
            "gw",
            60.0,
            {
                "eth0": heard(
                    arp("10.3.1.10"),
                    arp("10.3.1.10"),
                    FrameEvidence("broadcast", MAC, IPv4Address("10.3.1.11")),
                    FrameEvidence("DHCP", MAC, IPv4Address("10.3.1.99")),
                    port(301),
                )
            },
        )
        assert found.nics["eth0"].pairs == (f"{MAC} 10.3.1.10", f"{MAC} 10.3.1.11")

    def test_the_same_machines_on_the_same_nics_are_ok(self) -> None:
        old = self.taken(eth0=["a 10.0.0.1", "b 10.0.0.2"], eth1=["c 10.1.0.1"])
        new = self.taken(eth0=["b 10.0.0.2"], eth1=["c 10.1.0.1", "d 10.1.0.9"])
        assert [n.verdict for n in old.compare(new).nics] == ["ok", "ok"]

    def test_swapped_nics_are_found_without_a_plan(self) -> None:
        old = self.taken(eth0=["a 10.0.0.1"], eth1=["c 10.1.0.1"], eth2=["e 10.2.0.1"])
        new = self.taken(eth0=["c 10.1.0.1"], eth1=["a 10.0.0.1"], eth2=["e 10.2.0.1"])
        found = old.compare(new)
        assert [n.verdict for n in found.nics] == ["wrong", "wrong", "ok"]
        assert found.swaps == [("eth0", "eth1")]

    def test_the_same_mac_with_another_address_is_another_pair(self) -> None:
        old = self.taken(eth0=["hsrp 10.0.0.1"], eth1=["hsrp 10.1.0.1"])
        assert [n.verdict for n in old.compare(old).nics] == ["ok", "ok"]

    def test_nobody_known_and_nobody_at_all_are_no_proof(self) -> None:
        old = self.taken(eth0=["a 10.0.0.1"], eth1=["c 10.1.0.1"])
        new = self.taken(eth0=["x 10.0.0.7"], eth1=[])
        assert [n.verdict for n in old.compare(new).nics] == ["unknown", "silent"]

    def test_a_pair_that_was_heard_on_two_nics_tells_nothing(self) -> None:
        old = self.taken(eth0=["a 10.0.0.1"], eth1=["a 10.0.0.1"])
        assert [n.verdict for n in old.compare(old).nics] == ["unknown", "unknown"]

    def test_machines_of_two_old_nics_on_one_new_one_contradict(self) -> None:
        old = self.taken(eth0=["a 10.0.0.1"], eth1=["c 10.1.0.1"])
        new = self.taken(eth0=["a 10.0.0.1", "c 10.1.0.1"], eth1=["c 10.1.0.1"])
        assert [n.verdict for n in old.compare(new).nics] == ["conflicting", "ok"]

    def test_fingerprints_of_other_nics_are_refused(self) -> None:
        with pytest.raises(BadInput, match="not of the same NICs"):
            self.taken(eth0=[]).compare(self.taken(eth1=[]))

    def test_it_is_kept_in_the_guests_folder(self, tmp_path: Path) -> None:
        old = self.taken(eth0=["a 10.0.0.1"])
        old.save(tmp_path)
        assert Fingerprint.load(tmp_path) == old
