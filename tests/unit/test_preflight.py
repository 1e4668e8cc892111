"""The rules of the preflight that need no vSphere: each kept and not kept, and what a site may lower."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from pyVmomi import vim

from hikkoshi.check import Check
from hikkoshi.guest.facts import GuestFacts, Interface
from hikkoshi.params.home import Home
from hikkoshi.params.site import VSphere
from hikkoshi.vsphere import inventory
from hikkoshi.vsphere.inventory import CHANGED, FORGED, PROMISCUOUS, PortGroup
from hikkoshi.vsphere.preflight import clock, naming, ports, readiness, receiving, rule
from hikkoshi.vsphere.spec import VirtualNic, VmSpec
from journey import survey

RED = Check(code="clocks-agree", title="clocks", ok=False, found="+90 s")
FILE = "/etc/sysconfig/network-scripts/ifcfg-eth0"


def spec(nics: int = 1) -> VmSpec:
    cards = [VirtualNic(name=f"eth{n}", mac=f"00:16:3e:00:00:{n:02x}", segment="a", port_group="a", vlan=1) for n in range(nics)]
    return VmSpec(
        name="g",
        guest_id="centos64Guest",
        hardware_version=10,
        vcpus=1,
        memory_mb=640,
        disk_bytes=1 << 20,
        controller="pvscsi",
        nic_model="vmxnet3",
        nics=tuple(cards),
    )


def facts(*interfaces: Interface, **more: Any) -> GuestFacts:
    return survey().guest.model_copy(update={"interfaces": interfaces, **more})


class TestLowering:
    def test_what_the_site_has_lowered_is_told_with_the_reason_and_stops_nothing(self) -> None:
        (found,) = rule.judged([RED], {"clocks-agree": "a test machine"})
        assert (found.ok, found.unseen) == (True, "lowered")
        assert found.found == "+90 s; lowered in params/site.yml: vsphere.lowered: a test machine"

    def test_what_is_kept_all_the_same_and_what_nobody_has_lowered_stay_as_they_are(self) -> None:
        kept = replace(RED, ok=True)
        other = replace(RED, code="privileges-granted")
        assert rule.judged([kept, other], {"clocks-agree": "a test machine"}) == [kept, other]

    @pytest.mark.parametrize(("code", "found"), [("macs-free", "guards others"), ("clock-agrees", "there is no such rule")])
    def test_a_rule_that_guards_others_and_one_that_is_none_are_refused(self, code: str, found: str) -> None:
        red = replace(RED, code=code)
        assert rule.judged([red], {code: "never mind"}) == [red]
        (refused,) = rule.unlowered({code: "never mind"})
        assert (bool(refused), refused.code) == (False, "rule-can-be-lowered")
        assert found in refused.found
        assert found != "there is no such rule" or refused.remedy == "did you mean clocks-agree?"

    @pytest.mark.parametrize("reason", ["", "  "])
    def test_without_a_reason_the_parameters_are_refused(self, home: Home, reason: str) -> None:
        known = home.site().vsphere.model_dump(exclude_unset=True)
        with pytest.raises(ValidationError, match="at least 1 character"):
            VSphere.model_validate({**known, "lowered": {"clocks-agree": reason}})


class TestReceiving:
    def test_one_that_forwards_on_vmxnet3_and_that_nobody_can_reach_is_red_and_may_be_lowered(self, home: Home) -> None:
        guest = home.guest("gateway")
        assert receiving.check(guest, "vmxnet3", forwards=True)
        red = receiving.check(alone := guest.model_copy(update={"measurement": None}), "vmxnet3", forwards=True)
        assert not red
        assert rule.judged([red], {red.code: "ethtool -K by hand"})[0]
        assert receiving.check(alone, "e1000", forwards=True)
        assert receiving.check(alone, "vmxnet3", forwards=False).unseen == ""
        assert receiving.check(alone, "vmxnet3", forwards=None).unseen == "not seen"


class TestClock:
    def test_clocks_that_agree_are_green_and_one_that_does_not_is_named(self) -> None:
        assert clock.agree({"server": 1.0, "esx1": -59.0}, "vc")
        wrong = clock.agree({"server": 1.0, "esx1": -3600.0}, "vc")
        assert not wrong
        assert "esx1 -3600 s" in wrong.found

    def test_clocks_that_nobody_tells_are_not_seen(self) -> None:
        assert clock.agree({"server": None}, "vc").unseen == "not seen"
        assert clock.agree({"server": 1.0, "esx1": None}, "vc").unseen == ""


class TestNaming:
    def test_up_to_four_nics_keep_their_order(self) -> None:
        assert naming.tied(spec(4).nics, facts())

    def test_more_have_to_be_named_by_their_macs(self) -> None:
        tied = [Interface(name=n.name, file=FILE, mac=n.mac) for n in spec(5).nics[:3]]
        pinned = {n.name: n.mac.upper() for n in spec(5).nics[3:]}
        assert naming.tied(spec(5).nics, facts(*tied, pinned=pinned))
        loose = naming.tied(spec(5).nics, facts(*tied))
        assert (bool(loose), loose.found) == (False, "by order alone: eth3, eth4")


PLAIN = Interface(name="eth0", file=FILE, mac="00:16:3e:00:00:00")
OWN = PLAIN.model_copy(update={"own_mac": "02:00:00:00:00:01", "own_mac_by": "MACADDR"})
BRIDGE = Interface(name="br0", file="ifcfg-br0", kind="bridge", over=("eth0",))
VMAC = {ports.VRRP: "vrrp_instance a {\n  interface eth0\n  use_vmac\n}\n"}


class TestPorts:
    @pytest.mark.parametrize(
        ("told", "needed"),
        [
            (facts(PLAIN), set()),
            (facts(PLAIN.model_copy(update={"own_mac": PLAIN.mac.upper()})), set()),
            (facts(OWN), {FORGED, CHANGED}),
            (facts(PLAIN, BRIDGE), {FORGED, PROMISCUOUS}),
            (facts(PLAIN.model_copy(update={"part_of": "br0"}), BRIDGE.model_copy(update={"over": ()})), {FORGED, PROMISCUOUS}),
            (facts(PLAIN, texts=VMAC), {FORGED, PROMISCUOUS}),
            (facts(PLAIN, texts={ports.VRRP: VMAC[ports.VRRP].replace("use_vmac", "")}), set()),
        ],
        ids=["plain", "its own", "MACADDR", "bridge", "member of a bridge", "VRRP's MAC", "VRRP by its own MAC"],
    )
    def test_what_a_guest_needs_is_read_from_its_files(self, told: GuestFacts, needed: set[str]) -> None:
        assert set(ports.needs(spec(), told).get("eth0", {})) == needed

    @pytest.mark.parametrize(
        ("refused", "ok", "unseen"),
        [
            (frozenset({FORGED}), False, ""),
            (frozenset({PROMISCUOUS}), True, ""),
            (frozenset(), True, ""),
            (None, True, "not seen"),
        ],
    )
    def test_a_port_group_that_rejects_it_is_red(self, refused: set[str] | None, ok: bool, unseen: str) -> None:
        group = PortGroup("a", "standard", 1, refused=None if refused is None else frozenset(refused))
        found = ports.passing(spec(), ports.needs(spec(), facts(OWN)), [group], "vc")
        assert (found.ok, found.unseen) == (ok, unseen)
        assert ok or f"a rejects {FORGED}, which eth0 needs: MACADDR in {FILE}" in found.found


class TestPolicies:
    def test_a_standard_port_group_rejects_what_one_of_its_hosts_rejects_and_lacks_what_one_lacks(self) -> None:
        policy = vim.host.NetworkPolicy
        one, none = (
            policy.NicTeamingPolicy(policy="loadbalance_srcid", nicOrder=policy.NicOrderPolicy(activeNic=active))
            for active in (["vmnic0"], [])
        )
        free = policy.SecurityPolicy(allowPromiscuous=True, macChanges=True, forgedTransmits=True)
        strict = policy.SecurityPolicy(allowPromiscuous=False, macChanges=True, forgedTransmits=True)
        both = [policy(security=free, nicTeaming=one), policy(security=strict, nicTeaming=none)]
        found = inventory._standard("a", {"host-1": 1}, None, both)
        assert (found.refused, found.uplinks, found.teaming) == (frozenset({PROMISCUOUS}), (), "loadbalance_srcid")
        assert inventory._standard("a", {"host-1": 1}, None, both[:1]).uplinks == ("vmnic0",)
        silent = inventory._standard("a", {"host-1": 1}, None, [policy()])
        assert (silent.refused, silent.uplinks) == (None, None)

    def test_a_distributed_one_tells_each_in_a_policy_of_its_own(self) -> None:
        vmware = vim.dvs.VmwareDistributedVirtualSwitch
        no, yes = (vim.BoolPolicy(value=value, inherited=False) for value in (False, True))
        security = vmware.SecurityPolicy(allowPromiscuous=no, macChanges=yes, forgedTransmits=no)
        team = vmware.UplinkPortTeamingPolicy(
            policy=vim.StringPolicy(value="loadbalance_ip"), uplinkPortOrder=vmware.UplinkPortOrderPolicy(activeUplinkPort=[])
        )
        default = vmware.VmwarePortConfigPolicy(
            vlan=vmware.VlanIdSpec(vlanId=1), securityPolicy=security, uplinkTeamingPolicy=team
        )
        found = inventory._distributed(None, {"name": "a", "key": "k", "config.defaultPortConfig": default}, frozenset())
        assert (found.refused, found.uplinks, found.teaming) == (frozenset({FORGED, PROMISCUOUS}), (), "loadbalance_ip")

    @pytest.mark.parametrize(("uplinks", "ok", "unseen"), [(("vmnic0",), True, ""), ((), False, ""), (None, True, "not seen")])
    def test_a_port_group_without_an_active_uplink_is_red(self, uplinks: Any, ok: bool, unseen: str) -> None:
        found = readiness._uplinks((PortGroup("a", "standard", 1, uplinks=uplinks),), spec())
        assert (found.ok, found.unseen) == (ok, unseen)
