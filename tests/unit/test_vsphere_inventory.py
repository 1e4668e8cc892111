"""Port groups and NICs as vSphere tells of them: what is one VLAN, and what only looks like it."""

from typing import Any, ClassVar

import pytest
from pyVmomi import vim

from hikkoshi.errors import VSphereError
from hikkoshi.vsphere import importing, inventory, readback, vm
from hikkoshi.vsphere.inventory import EsxiHost, Place, PortGroup
from hikkoshi.vsphere.spec import VirtualNic, VmSpec

VMWARE = vim.dvs.VmwareDistributedVirtualSwitch


def distributed(vlan: Any, **more: Any) -> PortGroup:
    properties = {"name": "dv-a", "key": "dvportgroup-1", "config.defaultPortConfig": VMWARE.VmwarePortConfigPolicy(vlan=vlan)}
    return inventory._distributed(None, properties | more, frozenset({"host-1"}))


def nic_spec(*groups: str) -> VmSpec:
    nics = tuple(
        VirtualNic(name=f"eth{n}", mac=f"00:16:3e:00:00:0{n}", segment=g, port_group=g, vlan=n) for n, g in enumerate(groups)
    )
    return VmSpec(
        name="g",
        guest_id="centos64Guest",
        hardware_version=10,
        vcpus=1,
        memory_mb=640,
        disk_bytes=1 << 20,
        controller="pvscsi",
        nic_model="vmxnet3",
        nics=nics,
    )


def standard_card(name: str, mac: str = "") -> Any:
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)
    return vim.vm.device.VirtualVmxnet3(key=4000, backing=backing, macAddress=mac)


def distributed_card(key: str) -> Any:
    port = vim.dvs.PortConnection(portgroupKey=key, switchUuid="u")
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    return vim.vm.device.VirtualE1000(key=4001, backing=backing)


GROUPS = (PortGroup("a", "standard", 1), PortGroup("b", "distributed", 2, key="dvportgroup-2"))


class TestPortGroups:
    def test_one_vlan_is_one(self) -> None:
        group = distributed(VMWARE.VlanIdSpec(vlanId=301, inherited=False))
        assert (group.vlan, str(group)) == (301, "dv-a (distributed, VLAN 301)")

    @pytest.mark.parametrize(
        ("vlan", "more", "kind"),
        [
            (VMWARE.TrunkVlanSpec(vlanId=[vim.NumericRange(start=0, end=4094)]), {}, "trunk of VLANs 0-4094"),
            (VMWARE.PvlanSpec(pvlanId=301), {}, "private VLAN 301"),
            (VMWARE.VlanIdSpec(vlanId=301), {"config.uplink": True}, "uplink"),
            (VMWARE.VlanIdSpec(vlanId=301), {"tag": [vim.Tag(key="SYSTEM/DVS.UPLINKPG")]}, "uplink"),
            (None, {}, "VLAN unknown"),
        ],
    )
    def test_a_trunk_a_private_vlan_an_uplink_is_not_one_vlan(self, vlan: Any, more: dict[str, Any], kind: str) -> None:
        group = distributed(vlan, **more)
        assert (group.vlan, group.kind) == (None, kind)

    def test_a_standard_group_has_the_vlan_that_all_its_hosts_agree_on(self) -> None:
        group = inventory._standard("servers", {"host-1": 210, "host-2": 210}, None)
        assert (group.vlan, group.hosts) == (210, {"host-1", "host-2"})

    def test_hosts_that_disagree_leave_no_vlan(self) -> None:
        group = inventory._standard("servers", {"host-1": 210, "host-2": 211}, None)
        assert group.vlan is None
        assert "210, 211" in group.kind

    def test_4095_on_a_standard_switch_is_a_trunk(self) -> None:
        assert inventory._standard("all", {"host-1": 4095}, None).vlan is None


class TestPlace:
    def place(self, *hosts: EsxiHost) -> Place:
        standard = PortGroup("a", "standard", 1, hosts=frozenset({"h2"}))
        groups = (standard, PortGroup("b", "distributed", 2, hosts=frozenset({"h1", "h2"})))
        return Place(None, None, None, None, None, 0, True, hosts, groups)

    def test_the_host_has_all_the_port_groups(self) -> None:
        place = self.place(EsxiHost("h1", "esx1", "", None), EsxiHost("h2", "esx2", "", None))
        assert place.host_for(["a", "b"]) == EsxiHost("h2", "esx2", "", None)
        assert place.host_for(["b"]) == EsxiHost("h1", "esx1", "", None)

    def test_a_host_in_maintenance_is_no_place(self) -> None:
        assert self.place(EsxiHost("h2", "esx2", "in maintenance mode", None)).host_for(["a"]) is None


class TestNics:
    def test_a_distributed_group_is_found_by_its_key_and_a_standard_one_by_its_name(self) -> None:
        assert readback.group_of(distributed_card("dvportgroup-2").backing, GROUPS) == GROUPS[1]
        assert readback.group_of(standard_card("a").backing, GROUPS) == GROUPS[0]

    def test_a_standard_name_never_means_a_distributed_group(self) -> None:
        assert readback.group_of(standard_card("b").backing, GROUPS) is None

    def test_macs_go_by_port_group_and_not_by_place(self) -> None:
        cards = [distributed_card("dvportgroup-2"), standard_card("a")]
        importing._plan_nics(cards, nic_spec("a", "b"), GROUPS)
        assert [c.macAddress for c in cards] == ["00:16:3e:00:00:01", "00:16:3e:00:00:00"]
        assert all(c.addressType == "manual" and not c.connectable.startConnected for c in cards)

    def test_two_nics_on_one_port_group_get_two_macs(self) -> None:
        cards = [standard_card("a"), standard_card("a")]
        importing._plan_nics(cards, nic_spec("a", "a"), GROUPS)
        assert [c.macAddress for c in cards] == ["00:16:3e:00:00:00", "00:16:3e:00:00:01"]

    def test_a_nic_that_landed_on_another_network_stops_the_import(self) -> None:
        with pytest.raises(VSphereError, match="not planned"):
            importing._plan_nics([standard_card("VM Network")], nic_spec("a"), GROUPS)


class TestRemoval:
    """What keeps a machine from being removed as the remains of an import."""

    BY = vm.Owner("site", "run", "4711")
    OURS: ClassVar = {"guest": "g", "site": "site", "run": "another run", "lock": "4711"}

    def machine(self, power: str = "poweredOff", **marks: str) -> vm.VirtualMachine:
        extra = [vim.option.OptionValue(key=f"hikkoshi.{k}", value=x) for k, x in marks.items()]
        known = {"name": "g", "runtime.powerState": power, "config.instanceUuid": "me", "config.extraConfig": extra}
        return vm.VirtualMachine(vim.VirtualMachine("vm-1"), known)

    def test_the_remains_of_a_run_that_is_over_may_go(self) -> None:
        assert vm.unfinished(self.machine(**self.OURS), self.BY) == ""

    @pytest.mark.parametrize(
        ("power", "marks", "why"),
        [
            ("poweredOff", {"guest": ""}, "not made by Hikkoshi"),
            ("poweredOff", {"site": ""}, "earlier version"),
            ("poweredOff", {"site": "another"}, "another site folder"),
            ("poweredOff", {"complete": "2026-01-01", "machine": "me"}, "complete"),
            ("poweredOff", {"complete": "2026-01-01", "machine": "original"}, "clone"),
            ("poweredOff", {"complete": "2026-01-01"}, "clone"),
            ("poweredOff", {"machine": "me"}, "complete, or was"),
            ("poweredOff", {"started": "2026-01-01"}, "complete, or was"),
            ("poweredOff", {"service": "2026-01-01"}, "complete, or was"),
            ("poweredOff", {"lock": "4712"}, "another copy of this folder"),
            ("poweredOff", {"lock": ""}, "another copy of this folder"),
            ("poweredOn", {}, "not switched off"),
            ("suspended", {}, "not switched off"),
        ],
    )
    def test_anything_else_stays(self, power: str, marks: dict[str, str], why: str) -> None:
        assert why in vm.unfinished(self.machine(power, **{**self.OURS, **marks}), self.BY)

    def test_whoever_holds_no_lock_removes_nothing(self) -> None:
        assert vm.unfinished(self.machine(**{**self.OURS, "lock": ""}), vm.Owner("site", "run"))
