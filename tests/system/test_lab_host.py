"""The lab's vSphere, where it does more than its simulator: it keeps what it is sent, and refuses what ESXi refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

import vcenter
from hikkoshi import files
from hikkoshi.errors import VSphereError
from hikkoshi.params.home import Home
from hikkoshi.vsphere import inventory, vm
from hikkoshi.vsphere.session import Session
from processes import wait_for
from vcenter import World

pytestmark = pytest.mark.needs("qemu-img", "vcsim")
MIB = 1 << 20


def lease_for(v: Session, world: World) -> Any:
    """The lease of an import that somebody has begun, as soon as it is ready."""
    place = inventory.place(v, world.site.vsphere)
    config = vim.vm.ConfigSpec(name="slow", guestId="otherGuest", memoryMB=64, files=vim.vm.FileInfo(vmPathName="[storage1]"))
    lease = place.pool.ImportVApp(vim.vm.VmImportSpec(configSpec=config), place.folder, place.hosts[0].thing)
    wait_for(lambda: str(lease.state) == "ready", "a lease that is ready")
    return lease


def machine(v: Session, name: str) -> Any:
    return next(thing for thing, p in v.collect("VirtualMachine", ["name"]).items() if p["name"] == name)


def test_the_bytes_that_were_sent_are_kept_as_the_machines_disk(world: World) -> None:
    world.deploy()
    assert files.sha256(world.lab / "tmp/storage1/gateway/disk-0.vmdk") == world.order.sha256


def test_a_machine_whose_disk_is_on_its_way_is_not_switched_on(world: World) -> None:
    refused: list[vmodl.MethodFault] = []

    def switch_on() -> None:
        v = world.connect()
        with pytest.raises(vim.fault.InvalidState) as told:
            machine(v, "gateway").PowerOnVM_Task()
        refused.append(told.value)

    world.proxy.faults.at = (MIB, switch_on)
    world.deploy()
    assert refused


def test_a_lease_that_nobody_keeps_alive_ends_and_its_machine_goes(home: Home, vmdk: Path) -> None:
    with vcenter.start(home, vmdk, "-lease-timeout", "1s") as world:
        v = world.connect()
        lease = lease_for(v, world)
        wait_for(lambda: str(lease.state) == "error", "the end of the lease")
        assert isinstance(lease.error, vim.fault.Timedout)
        wait_for(lambda: not vcenter.named(v), "the end of the machine")


def test_a_lease_that_is_kept_alive_stays(world: World) -> None:
    v = world.connect()
    lease = lease_for(v, world)
    lease.HttpNfcLeaseProgress(50)
    assert (str(lease.state), lease.info.leaseTimeout) == ("ready", 20)


def test_a_user_without_the_privilege_switches_nothing_on(home: Home, vmdk: Path) -> None:
    with vcenter.start(home, vmdk, "-without", "VirtualMachine.Interact.PowerOn") as world:
        there = vcenter.foreign(world, world.connect(), "somebody")
        with pytest.raises(vim.fault.NoPermission):
            there.thing.PowerOnVM_Task()


def test_a_disk_of_another_size_than_the_machines_is_not_taken(world: World) -> None:
    world.order = replace(world.order, spec=world.order.spec.model_copy(update={"disk_bytes": 16 * MIB}))
    with pytest.raises(VSphereError, match="the upload was cut off"):
        world.deploy()
    assert not vcenter.named(world.connect())


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ({"memoryMB": 641}, vmodl.fault.InvalidArgument),
        ({"nics": [f"00:16:3e:00:00:{n:02x}" for n in range(11)]}, vim.fault.TooManyDevices),
        ({"nics": ["00:0c:29:00:00:01"]}, vim.fault.InvalidDeviceSpec),
        ({"nics": ["00:50:56:40:00:01"]}, vim.fault.InvalidDeviceSpec),
        ({"nics": ["01:16:3e:00:00:01"]}, vim.fault.InvalidDeviceSpec),
        ({"nics": ["00:16:3e:00:00"]}, vim.fault.InvalidDeviceSpec),
    ],
    ids=["641 MB", "11 NICs", "a host's own MAC", "a MAC of vCenter's", "a group's MAC", "a short MAC"],
)
def test_a_machine_that_esxi_cannot_have_is_refused(world: World, what: dict[str, Any], fault: type) -> None:
    v = world.connect()
    there = vcenter.foreign(world, v, "somebody")
    nics = [_added(mac) for mac in what.pop("nics", [])]
    with pytest.raises(fault):
        there.thing.ReconfigVM_Task(vim.vm.ConfigSpec(**what, deviceChange=nics))
    assert not vm.again(v, there).nics


def _added(mac: str) -> Any:
    network = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    card = vim.vm.device.VirtualE1000(key=-1, backing=network, addressType="manual", macAddress=mac)
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=card)


def test_a_mac_of_xens_and_a_static_one_of_vmwares_are_taken(world: World) -> None:
    v = world.connect()
    there = vcenter.foreign(world, v, "somebody")
    for mac in ("00:16:3e:05:00:01", "00:50:56:3f:ff:ff"):
        v.wait(there.thing.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[_added(mac)])), "add a NIC")
    assert set(vm.again(v, there).nics) == {"00:16:3e:05:00:01", "00:50:56:3f:ff:ff"}
