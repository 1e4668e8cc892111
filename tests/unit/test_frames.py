"""What one frame tells of its segment: recorded frames, frames made from their fields, and hostile bytes.

In tests/data/wiring the file's name is what has to be found: addresses, `vlan304`, or that it tells nothing. Most were
recorded by tcpdump from real programs (arping, dnsmasq, lldpd, dhclient); CDP with a VLAN, PVST+, tagged frames and the
relay's answer were encoded by scapy 2.8, the PVST+ TLV by hand as Wireshark reads it.
"""

import re
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.network.wiring import frames
from hikkoshi.network.wiring.capture import Growing
from hikkoshi.network.wiring.frames import FrameEvidence

DATA = Path(__file__).parents[1] / "data" / "wiring"
RECORDED = sorted(DATA.glob("*.pcap"))
ALL = [f.data for path in RECORDED for f in Growing(path.name).feed(path.read_bytes())]
KINDS = {
    "arp": "ARP",
    "nanoseconds": "ARP",
    "priority": "ARP",
    "broadcast": "broadcast",
    "multicast": "multicast",
    "dhcp": "DHCP",
    "ra": "RA",
    "tagged": "802.1Q",
    "lldp": "LLDP",
    "cdp": "CDP",
    "pvst": "PVST+",
    "rapid": "PVST+",
    "stp": "",
}
EVERYBODY, HOST, SWITCH = b"\xff" * 6, b"\x02\x00\x00\x03\x04\x0a", b"\x00\x1b\x54\xaa\xbb\x03"
hosts = st.integers(1 << 24, (224 << 24) - 1).filter(lambda n: n >> 24 != 127).map(IPv4Address)
vlans = st.integers(1, 4094)


def told(path: Path) -> list[FrameEvidence]:
    return [e for f in Growing(path.name).feed(path.read_bytes()) for e in frames.evidence(f.data)]


def only(frame: bytes) -> FrameEvidence:
    (found,) = frames.evidence(frame)
    return found


def arp(sender: IPv4Address, asked: IPv4Address, operation: int = 1) -> bytes:
    """RFC 826."""
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + HOST + sender.packed + bytes(6) + asked.packed
    return EVERYBODY + HOST + b"\x08\x06" + body + bytes(18)


def ipv4(to: bytes, source: IPv4Address, destination: IPv4Address, options: bytes = b"", payload: bytes = b"") -> bytes:
    """RFC 791; the protocol is UDP."""
    header = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), 0, 0, 1, 17, 0)
    return to + HOST + b"\x08\x00" + header + source.packed + destination.packed + options + payload


def dhcp(kind: int, given: IPv4Address, options: bytes = b"", *, reply: int = 2, pad: int = 0) -> bytes:
    """RFC 2131 and 2132, from a server."""
    body = bytes([reply, 1, 6, 0]) + bytes(12) + given.packed + bytes(216) + b"\x63\x82\x53\x63" + bytes(pad)
    body += bytes([53, 1, kind]) + options + b"\xff"
    udp = struct.pack(">HHHH", 67, 68, 8 + len(body), 0) + body
    return ipv4(EVERYBODY, IPv4Address("10.3.4.254"), IPv4Address("255.255.255.255"), payload=udp)


def advertisement(prefixes: list[tuple[IPv6Address, int]], hops: int = 255) -> bytes:
    """RFC 4861."""
    options = b"".join(bytes([3, 4, n, 0xC0]) + bytes(12) + p.packed for p, n in prefixes)
    body = b"\x86\x00" + bytes(14) + b"\x01\x01" + HOST + options
    header = b"\x60\x00\x00\x00" + struct.pack(">HBB", len(body), 58, hops) + bytes(31) + b"\x01"
    return b"\x33\x33\x00\x00\x00\x01" + HOST + b"\x86\xdd" + header + body


def tagged(frame: bytes, vlan: int, kind: int = 0x8100) -> bytes:
    return frame[:12] + struct.pack(">HH", kind, vlan) + frame[12:]


def lldp(*tlvs: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">H", kind << 9 | len(content)) + content for kind, content in tlvs)
    return b"\x01\x80\xc2\x00\x00\x0e" + SWITCH + b"\x88\xcc" + body + b"\x00\x00"


def snap(protocol: int, body: bytes) -> bytes:
    llc = b"\xaa\xaa\x03\x00\x00\x0c" + struct.pack(">H", protocol) + body
    return b"\x01\x00\x0c\xcc\xcc\xcc" + SWITCH + struct.pack(">H", len(llc)) + llc


def cdp(*tlvs: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">HH", kind, len(content) + 4) + content for kind, content in tlvs)
    return snap(0x2000, b"\x02\xb4\x00\x00" + body)


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_a_recorded_frame_tells_what_the_files_name_says(path: Path) -> None:
    found = told(path)
    addresses = re.findall(r"\d+\.\d+\.\d+\.\d+", path.stem) + [a.replace("_", ":") for a in re.findall(r"\w+__", path.stem)]
    assert {str(e.address) for e in found if e.address} == set(addresses)
    assert {e.vlan for e in found if e.vlan} == {int(n) for n in re.findall(r"vlan(\d+)", path.stem)}
    if "tells-nothing" in path.stem:
        assert found == []
    else:
        assert {e.kind for e in found} == {KINDS[path.stem.split("-")[0]]}


class TestArp:
    @given(hosts, hosts, st.sampled_from([1, 2]))
    def test_the_sender_is_of_the_segment(self, sender: IPv4Address, asked: IPv4Address, operation: int) -> None:
        assert only(arp(sender, asked, operation)) == FrameEvidence("ARP", "02:00:00:03:04:0a", sender)

    @given(hosts)
    def test_who_probes_for_an_address_wants_to_have_it(self, asked: IPv4Address) -> None:
        assert only(arp(IPv4Address(0), asked)).address == asked

    @pytest.mark.parametrize("sender", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.1.2.3"])
    def test_what_is_no_machines_address_tells_nothing(self, sender: str) -> None:
        assert frames.evidence(arp(IPv4Address(sender), IPv4Address("10.3.4.1"))) == ()

    def test_another_operation_or_another_kind_of_address_tells_nothing(self) -> None:
        good = arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1"))
        assert frames.evidence(arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1"), 8)) == ()
        assert frames.evidence(good[:14] + b"\x00\x06" + good[16:]) == ()
        assert frames.evidence(good[: 14 + 27]) == ()


class TestIpv4:
    @given(hosts, st.integers(0, 10))
    def test_the_sender_of_a_broadcast_is_of_the_segment(self, sender: IPv4Address, words: int) -> None:
        frame = ipv4(EVERYBODY, sender, IPv4Address("255.255.255.255"), bytes(4 * words))
        assert only(frame) == FrameEvidence("broadcast", "02:00:00:03:04:0a", sender)

    @given(hosts, st.integers(0, 255))
    def test_the_sender_of_a_multicast_that_no_router_forwards_is_too(self, sender: IPv4Address, last: int) -> None:
        frame = ipv4(b"\x01\x00\x5e\x00\x00\x05", sender, IPv4Address(f"224.0.0.{last}"))
        assert only(frame).kind == "multicast"

    @pytest.mark.parametrize("to", ["224.0.1.1", "232.1.1.1", "239.255.255.250"])
    def test_one_that_routers_may_forward_tells_nothing(self, to: str) -> None:
        assert frames.evidence(ipv4(b"\x01\x00\x5e\x01\x01\x01", IPv4Address("10.3.4.9"), IPv4Address(to))) == ()

    def test_a_packet_for_one_machine_tells_nothing(self) -> None:
        assert frames.evidence(ipv4(HOST, IPv4Address("8.8.8.8"), IPv4Address("10.3.4.9"))) == ()

    @pytest.mark.parametrize("first", [0x44, 0x65, 0x35])
    def test_a_header_that_cannot_be_tells_nothing(self, first: int) -> None:
        good = ipv4(EVERYBODY, IPv4Address("10.3.4.9"), IPv4Address("255.255.255.255"))
        assert frames.evidence(good[:14] + bytes([first]) + good[15:]) == ()


class TestDhcp:
    SERVER = "02:00:00:03:04:0a"

    @given(st.sampled_from([2, 5]), hosts, hosts, st.integers(0, 9))
    def test_an_offer_and_an_acknowledgement_give_the_address_and_the_router(
        self, kind: int, given: IPv4Address, router: IPv4Address, pad: int
    ) -> None:
        options = bytes([1, 4, 255, 255, 255, 0, 3, 4]) + router.packed
        found = frames.evidence(dhcp(kind, given, options, pad=pad))
        assert [(e.kind, e.address) for e in found] == [("DHCP", given), ("DHCP", router)]
        assert all("mask 255.255.255.0" in e.note for e in found)

    @pytest.mark.parametrize("kind", [1, 3, 4, 6, 7, 8])
    def test_every_other_message_gives_nothing(self, kind: int) -> None:
        assert frames.evidence(dhcp(kind, IPv4Address("10.3.4.77"))) == ()

    def test_a_servers_own_address_does_not_count_since_a_relay_may_stand_between(self) -> None:
        assert [str(e.address) for e in frames.evidence(dhcp(5, IPv4Address("10.9.9.9")))] == ["10.9.9.9"]

    def test_what_a_client_sends_from_the_servers_port_gives_nothing(self) -> None:
        assert frames.evidence(dhcp(5, IPv4Address("10.3.4.77"), reply=1)) == ()


class TestRouterAdvertisement:
    @given(st.lists(st.tuples(st.integers(0, 2**128 - 1).map(IPv6Address), st.integers(0, 128)), max_size=3))
    def test_every_prefix_is_told(self, prefixes: list[tuple[IPv6Address, int]]) -> None:
        found = frames.evidence(advertisement(prefixes))
        assert [(e.address, e.note) for e in found] == [(p, f"prefix length {n}") for p, n in prefixes]

    def test_one_that_has_passed_a_router_tells_nothing(self) -> None:
        assert frames.evidence(advertisement([(IPv6Address("2001:db8::"), 64)], hops=254)) == ()


class TestTags:
    @given(vlans, st.integers(0, 7), st.sampled_from([0x8100, 0x88A8, 0x9100]))
    def test_the_tag_counts_and_what_is_inside_does_not(self, vlan: int, priority: int, kind: int) -> None:
        inside = arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1"))
        found = only(tagged(inside, vlan | priority << 13, kind))
        assert (found.kind, found.vlan, found.address) == ("802.1Q", vlan, None)
        assert "10.3.4.10" in found.note

    def test_of_two_tags_the_outer_one_counts(self) -> None:
        inside = tagged(arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1")), 7)
        assert only(tagged(inside, 304, 0x88A8)).vlan == 304

    def test_a_tag_with_a_priority_and_no_vlan_is_none(self) -> None:
        found = only(tagged(arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1")), 5 << 13))
        assert (found.kind, str(found.address)) == ("ARP", "10.3.4.10")


class TestSwitches:
    @given(vlans, st.text(max_size=100), st.text(max_size=100))
    def test_lldp_tells_the_ports_vlan_the_switch_and_the_port(self, vlan: int, name: str, port: str) -> None:
        private = b"\x00\x80\xc2\x01" + struct.pack(">H", vlan)
        frame = lldp((1, b"\x04" + SWITCH), (2, b"\x05" + port.encode()), (5, name.encode()), (127, private))
        found = only(frame)
        assert (found.kind, found.vlan) == ("LLDP", vlan)
        assert found.note.isprintable()

    def test_lldps_management_address_is_told_but_is_no_address_of_the_segment(self) -> None:
        found = only(lldp((5, b"sw1"), (8, b"\x05\x01\xc0\x00\x02\x07\x02\x00\x00\x00\x01\x00")))
        assert (found.address, found.vlan, found.note) == (None, None, "switch sw1, address 192.0.2.7")

    @pytest.mark.parametrize(
        "private", [b"\x00\x80\xc2\x03\x01\x30\x00", b"\x00\x12\x0f\x01\x01\x30", b"\x00\x80\xc2\x01\x00\x00"]
    )
    def test_another_private_tlv_and_vlan_0_are_no_vlan(self, private: bytes) -> None:
        assert only(lldp((5, b"sw1"), (127, private))).vlan is None

    @given(vlans, st.binary(max_size=80), st.binary(max_size=80))
    def test_cdp_tells_the_native_vlan(self, vlan: int, name: bytes, port: bytes) -> None:
        found = only(cdp((1, name), (3, port), (5, b"IOS"), (10, struct.pack(">H", vlan))))
        assert (found.kind, found.vlan) == ("CDP", vlan)
        assert found.note.isprintable()

    def test_cdp_with_a_length_that_cannot_be_is_read_as_far_as_it_goes(self) -> None:
        frame = cdp((1, b"sw1"), (10, b"\x01\x30"))
        assert only(frame.replace(b"\x00\x0a\x00\x06", b"\x00\x0a\x00\x03")).vlan is None
        assert only(frame[:-1]).vlan is None

    @given(vlans, st.sampled_from([0, 2]))
    def test_pvst_tells_the_vlan_of_the_tree(self, vlan: int, version: int) -> None:
        bpdu = bytes([0, 0, version, version]) + bytes(32) + struct.pack(">HHH", 0, 2, vlan)
        assert only(snap(0x010B, bpdu)) == FrameEvidence("PVST+", "00:1b:54:aa:bb:03", vlan=vlan)

    @pytest.mark.parametrize("vlan", [0, 4095, 65535])
    def test_a_number_that_is_no_vlan_is_none(self, vlan: int) -> None:
        bpdu = bytes(36) + struct.pack(">HHH", 0, 2, vlan)
        assert frames.evidence(snap(0x010B, bpdu)) == ()


def test_names_of_switches_are_safe_to_print() -> None:
    note = only(cdp((1, b"sw\x1b[31m\r\n\x00\xff"), (10, b"\x01\x30"))).note
    assert note == "switch sw?[31m???\N{REPLACEMENT CHARACTER}"


def test_a_group_is_no_sender() -> None:
    good = arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1"))
    assert frames.evidence(good[:6] + b"\x01" + good[7:]) == ()


def test_the_source_of_a_frame_is_its_senders_mac() -> None:
    assert frames.source(arp(IPv4Address("10.3.4.10"), IPv4Address("10.3.4.1"))) == "02:00:00:03:04:0a"
    assert frames.source(b"\xff" * 13) == ""


class TestHostileBytes:
    @given(st.binary(max_size=700))
    def test_no_bytes_raise(self, data: bytes) -> None:
        for e in frames.evidence(data):
            assert str(e).isprintable()

    @given(
        st.sampled_from(["0806", "0800", "86dd", "88cc", "8100", "0040", "05dc"]).map(bytes.fromhex),
        st.sampled_from([b"", b"\xaa\xaa\x03\x00\x00\x0c\x20\x00", b"\xaa\xaa\x03\x00\x00\x0c\x01\x0b", b"\x45"]),
        st.binary(max_size=400),
    )
    def test_no_bytes_behind_a_good_beginning_raise(self, kind: bytes, beginning: bytes, data: bytes) -> None:
        frames.evidence(EVERYBODY + HOST + kind + beginning + data)

    @given(st.sampled_from(ALL), st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=5), st.integers(0, 512))
    def test_no_change_of_a_recorded_frame_raises(self, frame: bytes, changes: list[tuple[int, int]], end: int) -> None:
        changed = bytearray(frame)
        for at, value in changes:
            changed[at % len(changed)] = value
        frames.evidence(bytes(changed[:end]))

    def test_no_recorded_frame_raises_wherever_it_is_cut(self) -> None:
        for frame in ALL:
            for end in range(len(frame)):
                frames.evidence(frame[:end])
