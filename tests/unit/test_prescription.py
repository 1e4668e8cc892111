"""The remedy chosen for one guest, by what it said itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.network.counters import Feature, Traffic
from hikkoshi.network.diagnosis import snapshot
from hikkoshi.network.diagnosis.snapshot import NicState, Snapshot
from hikkoshi.network.remedy import remedy
from hikkoshi.network.remedy.prescription import DISPATCHER, IFUP_LOCAL, File, Prescription, Switch, remedies

DATA = Path(__file__).parents[1] / "data/diagnosis"
BLANK = snapshot.parse("@hikkoshi 0011223344556677\n@0011223344556677 0 uname -r\n2.6.32\n@0011223344556677 end\n")
ON, OFF, FIXED = Feature(True, False), Feature(False, False), Feature(False, True)
SCRIPTS = "/etc/sysconfig/network-scripts/"
IFCFG = {f"{SCRIPTS}ifcfg-eth{n}": (f"DEVICE=eth{n}",) for n in range(2)}
CONNECTIONS = "/etc/NetworkManager/system-connections/"


def nic(name: str, *, lro: Feature | None = ON, gro: Feature | None = ON, **more: Any) -> NicState:
    flags = {"large-receive-offload": lro, "generic-receive-offload": gro}
    features = {key: flag for key, flag in flags.items() if flag}
    mac = f"00:16:3e:05:00:{ord(name[-1]):02x}"
    return NicState(**{"name": name, "mac": mac, "mtu": 1500, "driver": "vmxnet3", "features": features} | more)


def guest(*nics: NicState, **more: Any) -> Snapshot:
    cards = nics or (nic("eth0"), nic("eth1"))
    rest = {"forwards": True, "whole": True, "ethtool": "/sbin/ethtool", "release": "CentOS release 6.6 (Final)"} | more
    return replace(BLANK, nics={n.name: n for n in cards}, **rest)


def recorded(name: str) -> Snapshot:
    pieces = next(DATA.glob(f"{name}.*.txt")).read_text().split("==== ")
    return snapshot.parse(next(p for p in pieces if p.startswith("guest after")).partition("\n")[2])


def test_enhanced_vmxnet_has_options_of_its_own() -> None:
    seen = snapshot.parse((DATA.parent / "prescription" / "vmxnet2-collection.txt").read_text())
    (note,) = remedies(seen).notes
    assert remedies(seen).switches == ()
    assert "eth0, eth1" in note
    assert "Net.Vmxnet2SwLRO and Net.Vmxnet2HwLRO" in note
    assert "Vmxnet3" not in note
    assert "disable_lro" not in note
    (listed,) = remedies(replace(seen, old_parameters=frozenset({"disable_lro"}))).notes
    assert "options vmxnet disable_lro=1" in listed
    both = replace(seen, nics=seen.nics | {"eth2": nic("eth2", lro=None, gro=None)})
    assert [("Vmxnet2" in n, "Vmxnet3" in n) for n in remedies(both).notes] == [(True, False), (False, True)]


def places(plan: Prescription) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f.way, f.path, f.nics) for f in plan.files]


LRO_OFF = (Switch(nic="eth0", feature="lro"), Switch(nic="eth1", feature="lro"))


def test_lro_goes_off_on_every_nic_also_where_it_is_off_today() -> None:
    plan = remedies(guest(nic("eth0"), nic("eth1", lro=OFF), settings=IFCFG))
    assert plan.switches == LRO_OFF


def test_el6_has_it_in_the_files_of_its_nics() -> None:
    plan = remedies(guest(settings=IFCFG))
    assert places(plan) == [("ifcfg", f"{SCRIPTS}ifcfg-eth0", ("eth0",)), ("ifcfg", f"{SCRIPTS}ifcfg-eth1", ("eth1",))]
    assert not plan.restart


class TestDangerRule:
    el5: ClassVar[dict[str, Any]] = {"release": "CentOS release 5.11 (Final)", "settings": {"/etc/modprobe.conf": (), **IFCFG}}

    def test_the_parameter_is_written_where_the_module_lists_it_and_needs_a_restart(self) -> None:
        plan = remedies(recorded("el5-tools"))
        assert (plan.switches, plan.restart) == ((), True)
        assert places(plan) == [("modprobe", "/etc/modprobe.conf", ())]

    @pytest.mark.parametrize("parameters", [None, frozenset(), frozenset({"num_tqs", "lro"})])
    def test_it_is_never_written_where_the_module_does_not_list_it(self, parameters: frozenset[str] | None) -> None:
        plan = remedies(guest(nic("eth0", lro=None, gro=None), parameters=parameters, **self.el5))
        assert plan.files == ()
        assert "Net.Vmxnet3SwLRO" in plan.notes[0]

    def test_without_it_el5_runs_ethtool_when_a_nic_has_come_up(self) -> None:
        assert places(remedies(guest(parameters=frozenset(), **self.el5))) == [("ifup-local", IFUP_LOCAL, ("eth0", "eth1"))]

    def test_it_is_not_written_for_another_driver(self) -> None:
        plan = remedies(guest(nic("eth0", driver="e1000", lro=None), parameters=frozenset({"disable_lro"}), **self.el5))
        assert plan.files == ()

    @given(
        st.sampled_from([None, frozenset(), frozenset({"disable_lro"}), frozenset({"x"})]),
        st.sampled_from([None, ON, OFF, FIXED]),
        st.sampled_from(["vmxnet3", "e1000", "tun"]),
        st.booleans(),
        st.sampled_from(["CentOS release 5.11", "CentOS release 6.6 (Final)", "Debian GNU/Linux 12", ""]),
        st.sampled_from([{}, IFCFG, {"/etc/modprobe.conf": ()}]),
    )
    def test_no_guest_ever_gets_a_parameter_that_its_module_does_not_list(
        self, parameters: Any, lro: Any, driver: str, whole: bool, release: str, settings: Any
    ) -> None:
        told = guest(nic("eth0", lro=lro, driver=driver), parameters=parameters, whole=whole, release=release, settings=settings)
        plan = remedies(told)
        written = [f for f in plan.files if f.way == "modprobe"]
        texts = [remedy.edited(f, "", plan.ethtool) for f in plan.files]
        assert bool(written) <= bool(parameters and "disable_lro" in parameters)
        assert bool(written) == any("disable_lro" in text for text in texts)


class TestFixed:
    def test_gro_goes_off_where_lro_is_fixed_and_frames_are_merged_all_the_same(self) -> None:
        assert remedies(recorded("tap")).switches == (Switch(nic="eth6", feature="gro"),)
        assert {s.feature for s in remedies(recorded("gro"), "receive aggregation").switches} == {"gro"}

    @pytest.mark.parametrize("sign", [{"oversized": 3}, {"told": {1500: 2}}, {"traffic": Traffic(2400, 1, *[0] * 14)}])
    def test_any_sign_of_merged_frames_will_do(self, sign: dict[str, Any]) -> None:
        assert remedies(guest(nic("eth0", lro=FIXED, **sign))).switches == (Switch(nic="eth0", feature="gro"),)

    def test_without_a_sign_gro_stays_on(self) -> None:
        quiet = nic("eth0", lro=FIXED, oversized=0, told={1400: 2}, traffic=Traffic(1500, 1, *[0] * 14))
        assert remedies(guest(quiet)).switches == ()

    def test_where_neither_can_be_switched_the_host_has_to(self) -> None:
        plan = remedies(guest(nic("eth0", lro=FIXED, gro=FIXED, oversized=9)))
        assert plan.switches == ()
        assert "Nothing in the guest switches it off for eth0" in plan.notes[0]


class TestPlaces:
    def test_networkmanager_before_keyfiles_knew_of_it_runs_a_script(self) -> None:
        told = guest(manager=(1, 12), settings=IFCFG, release="CentOS Linux release 7.6")
        assert places(remedies(told)) == [("dispatcher", DISPATCHER, ("eth0", "eth1"))]

    def test_a_nic_that_networkmanager_is_not_to_touch_keeps_to_its_own_file(self) -> None:
        path = f"{SCRIPTS}ifcfg-eth0"
        told = guest(nic("eth0"), manager=(1, 18), settings={path: ("DEVICE=eth0", 'NM_CONTROLLED="no"')})
        assert places(remedies(told)) == [("ifcfg", path, ("eth0",))]

    @pytest.mark.parametrize("line", ["interface-name=eth0", "mac-address=00:16:3E:05:00:30"])
    def test_a_keyfile_is_known_by_the_nics_name_or_its_mac(self, line: str) -> None:
        path = f"{CONNECTIONS}lan.nmconnection"
        told = guest(nic("eth0"), manager=(1, 40), settings={f"{CONNECTIONS}a": ("interface-name=eth9",), path: (line,)})
        assert places(remedies(told)) == [("keyfile", path, ("eth0",))]

    def test_debian_has_it_in_the_stanza_and_networkmanager_leaves_that_alone(self) -> None:
        settings = {"/etc/network/interfaces.d/lan": ("iface eth0 inet static",)}
        told = guest(nic("eth0"), settings=settings, release="Debian GNU/Linux 12 (bookworm)", manager=(1, 42))
        assert places(remedies(told)) == [("interfaces", "/etc/network/interfaces.d/lan", ("eth0",))]

    def test_systemds_first_link_file_of_the_nic_is_taken(self) -> None:
        mac = nic("eth0").mac
        settings = {
            "/etc/systemd/network/20-x.link": (f"MACAddress={mac}",),
            "/etc/systemd/network/10-eth0.link": (f"MACAddress=aa:bb:cc:dd:ee:ff {mac.upper()}",),
            "/etc/systemd/network/05-other.link": ("OriginalName=wl*",),
        }
        told = guest(nic("eth0"), settings=settings, release="Ubuntu 22.04")
        assert places(remedies(told)) == [("link", "/etc/systemd/network/10-eth0.link", ("eth0",))]

    def test_a_nic_that_no_known_file_sets_up_is_left_to_a_person(self) -> None:
        plan = remedies(guest(settings={f"{SCRIPTS}ifcfg-eth0": ("DEVICE=eth0",)}))
        assert [f.nics for f in plan.files] == [("eth0",)]
        assert "set up eth1" in plan.notes[0]

    def test_in_a_network_namespace_nothing_is_written_down(self) -> None:
        plan = remedies(guest(settings=IFCFG, whole=False))
        assert (plan.switches, plan.files) == (LRO_OFF, ())
        assert "namespace" in plan.notes[0]


def test_a_guest_that_forwards_nothing_keeps_its_lro() -> None:
    plan = remedies(recorded("el5-server"))
    assert (plan.switches, plan.files) == ((), ())
    assert "LRO is good for it" in plan.notes[0]


@pytest.mark.parametrize("cause", ["MTU mismatch", "congestion"])
def test_another_cause_changes_nothing(cause: str) -> None:
    plan = remedies(guest(settings=IFCFG), cause)
    assert (plan.switches, plan.files) == ((), ())
    assert cause in plan.notes[0]


def test_where_no_cause_was_found_nothing_is_changed() -> None:
    assert [row["what"] for row in remedies(guest(settings=IFCFG), "unknown").rows()] == ["No cause was found."]


def test_a_nic_whose_name_would_need_quotes_is_left_alone() -> None:
    assert remedies(guest(nic("eth0;reboot"))).switches == ()


def test_a_plan_shows_what_it_would_do_and_comes_back_from_json() -> None:
    plan = remedies(guest(settings=IFCFG))
    assert [row["where"] for row in plan.rows()] == ["eth0", "eth1", f"{SCRIPTS}ifcfg-eth0", f"{SCRIPTS}ifcfg-eth1"]
    assert plan.rows()[2]["what"] == 'ETHTOOL_OPTS="-K eth0 lro off"'
    assert Prescription.model_validate_json(plan.model_dump_json()) == plan


def test_whether_it_is_in_effect_after_a_restart_is_read_from_flags_and_from_the_loaded_module() -> None:
    plan = Prescription(files=(File(path="/etc/modprobe.conf", way="modprobe"),), restart=True)
    value = "/sys/module/vmxnet3/parameters/disable_lro"
    assert not remedy.in_effect(guest(), plan)
    assert not remedy.in_effect(guest(values={value: "0"}), plan)
    assert remedy.in_effect(guest(values={value: "1"}), plan)
    assert not remedy.in_effect(guest(), Prescription(switches=LRO_OFF))
    assert remedy.in_effect(guest(nic("eth0", lro=OFF), nic("eth1", lro=OFF)), Prescription(switches=LRO_OFF))
    assert not remedy.in_effect(guest(nic("eth0", lro=OFF)), Prescription(switches=LRO_OFF))


def test_a_file_written_twice_is_undone_to_the_first_unless_somebody_changed_it_between() -> None:
    def written(before: str, after: str, kept: str) -> remedy.Written:
        return remedy.Written(path="/etc/x", kept=kept, before_sha256=before, after_sha256=after)

    once = remedy.Applied(plan=Prescription(), flags=(), files=()).wrote(written("a", "b", "1"))
    assert once.wrote(written("b", "c", "2")).files == (written("a", "c", "1"),)
    assert once.wrote(written("a", "b", "2")).files == (written("a", "b", "1"),)
    assert once.wrote(written("theirs", "c", "2")).files == (written("theirs", "c", "2"),)
