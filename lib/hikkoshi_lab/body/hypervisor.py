"""What runs the lab's machines: it watches the vCenter as any client may, and does what is to be seen there."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pyVmomi import vim, vmodl

from hikkoshi.errors import HikkoshiError
from hikkoshi.vsphere import inventory, vm
from hikkoshi.vsphere.inventory import PortGroup
from hikkoshi.vsphere.session import Session
from hikkoshi_lab import network
from hikkoshi_lab.body.configuration import BOOTED, PATHS, Configuration
from hikkoshi_lab.body.running import Body
from hikkoshi_lab.network import Network

Say = Callable[[str], None]
collector: Any = vmodl.query.PropertyCollector
# what is asked anew where one of these changes
WATCHED = ["name", "runtime.powerState", BOOTED, "config.hardware.device"]


class Hypervisor:
    """The bodies of all machines; a context manager, at whose end all of them are gone."""

    def __init__(self, lab: Network, accelerator: str, say: Say) -> None:
        self._lab, self._accelerator, self._say = lab, accelerator, say
        self._bodies: dict[Any, Body] = {}  # {machine: its body}, from its first start to its removal
        self._old: bool | None = None  # whether the old gateway serves; None before anything was seen
        self._tried: dict[Any, str] = {}  # {machine: when it was switched on, of the last time that this was tried here}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in list(self._bodies):
            self._remove(machine)

    def follow(self, v: Session, wanted: Callable[[], bool]) -> None:
        """Do what is to be seen in a vCenter, while that is wanted; `VSphereError` where it does not answer."""
        _watch(v)
        version, vlans = "", _vlans(v)
        while wanted():
            with v.asking("tell of changes"):
                seen = v.content.propertyCollector.WaitForUpdatesEx(version, collector.WaitOptions(maxWaitSeconds=1))
            before, vlans = vlans, _vlans(v)
            if seen:
                version = seen.version
            if seen or vlans != before:
                self._do(v)
            for machine, body in self._bodies.items():
                if body.ended():
                    self._say(f"{machine._moId}: the guest has switched itself off")
                    body.stop()
                    v.wait(machine.PowerOffVM_Task(), "switch a machine off whose guest has ended")

    def _do(self, v: Session) -> None:
        groups = inventory.port_groups(v, v.content.rootFolder)
        stores = v.collect("Datastore", ["name", "summary.url"]).values()
        folders = {str(p["name"]): Path(p["summary.url"]) for p in stores}
        there = {thing: vm.VirtualMachine(thing, p) for thing, p in v.collect("VirtualMachine", PATHS).items()}
        for thing in self._bodies.keys() - there.keys():
            self._say(f"{thing._moId}: removed")
            self._remove(thing)
        moved = any(machine.plugged & set(network.MACS.values()) for machine in there.values())
        if moved:
            self._serve(False)
        for machine in there.values():
            try:
                self._one(machine, groups, folders)
            except (HikkoshiError, OSError) as e:  # of one machine: the others go on
                self._say(f"{machine}: {e}")
        if not moved:
            self._serve(True)

    def _serve(self, on: bool) -> None:
        """Be who sits at the lab's Dom-0: the old gateway is off for as long as a machine in vSphere is plugged in as it was."""
        if self._old is not on:
            self._lab.serve(on)
            self._say(f"the old gateway {'serves' if on else 'is off'}")
        self._old = on

    def _one(self, machine: vm.VirtualMachine, groups: Sequence[PortGroup], folders: Mapping[str, Path]) -> None:
        """Have one machine be as vSphere has it."""
        thing = machine.thing
        body, booted = self._bodies.get(thing), str(machine.p.get(BOOTED, ""))
        if machine.power != "poweredOn":
            if body and body.running:
                self._say(f"{machine}: off")
                body.stop()
        elif self._tried.get(thing) != booted:  # switched on, or off and on since
            self._tried[thing] = booted
            wanted = Configuration.of(machine, groups, folders)
            if body is None:
                body = self._bodies[thing] = Body(self._lab, wanted.disks, self._accelerator).__enter__()
            body.stop()
            body.start(wanted.hardware, wanted.plugs)
            self._say(f"{machine}: on, from {', '.join(map(str, wanted.disks))}")
        elif body and body.running:
            body.plug(Configuration.of(machine, groups, folders).plugs)

    def _remove(self, machine: Any) -> None:
        self._bodies.pop(machine).__exit__(None, None, None)


def _vlans(v: Session) -> dict[Any, str]:
    """That of each distributed port group: the simulator tells of no change of it."""
    groups = v.collect("DistributedVirtualPortgroup", ["config.defaultPortConfig"])
    return {thing: str(getattr(p.get("config.defaultPortConfig"), "vlan", None)) for thing, p in groups.items()}


def _watch(v: Session) -> None:
    """Have the session's collector tell of every machine, and of every change of `WATCHED`."""
    with v.asking("watch its machines"):
        view = v.content.viewManager.CreateContainerView(v.content.rootFolder, [vim.VirtualMachine], True)
        inside = collector.TraversalSpec(name="view", path="view", skip=False, type=type(view))
        start = collector.ObjectSpec(obj=view, skip=True, selectSet=[inside])
        wanted = collector.PropertySpec(type=vim.VirtualMachine, pathSet=WATCHED, all=False)
        v.content.propertyCollector.CreateFilter(collector.FilterSpec(objectSet=[start], propSet=[wanted]), False)
