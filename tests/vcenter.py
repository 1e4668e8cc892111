"""A vCenter of its own for a test (vcsim), behind a proxy that keeps bytes and breaks things, and a machine to deploy."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyVmomi import vim

from hikkoshi import files
from hikkoshi.approval import plan
from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check, Permission
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.vsphere import cutover, deployment, inventory, session, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VirtualNic, VmSpec
from hikkoshi_lab import proxy, site, vcsim
from hikkoshi_lab.proxy import FaultProxy
from journey import converted, permitted
from processes import free_port

PROJECT = Path(__file__).parents[1]
MIB = 1 << 20
OFF = Check(code="a-code", title="the source is off", ok=True)
BY = vm.Owner("5eed0000-0000-4000-8000-000000000001", "20261129T000000Z-60-deploy", "4711")


def disk(folder: Path) -> Path:
    """A stream of some 6 MiB, incompressible so that it is sent in several chunks."""
    raw = folder / "disk.img"
    raw.write_bytes(random.Random(1).randbytes(6 * MIB) + bytes(2 * MIB))
    options = "subformat=streamOptimized,adapter_type=lsilogic,hwversion=10"
    made = folder / "gateway.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, made], check=True)
    return made


@dataclass
class World:
    """A vCenter of its own for one test, the proxy before it, and what is to be deployed."""

    home: Home
    site: Site
    server: vcsim.Server
    proxy: FaultProxy
    order: Order
    stack: ExitStack

    @property
    def lab(self) -> Path:
        return self.home.outputs / "lab"

    @property
    def folder(self) -> Path:
        return self.home.folder("gateway")

    def connect(self, **changes: Any) -> Session:
        """A session through the proxy."""
        timeout = changes.pop("timeout", 20)
        return self.stack.enter_context(session.connect(self.home, self.params(**changes), timeout=timeout))

    def params(self, **changes: Any) -> Any:
        return self.site.vsphere.model_copy(update={"server": f"127.0.0.1:{self.proxy.port}", **changes})

    def deploy(self, v: Session | None = None) -> deployment.Deployment:
        return deployment.start(v or self.connect(), self.site.vsphere, self.order, self.folder)

    @property
    def permission(self) -> Permission:
        """What the gate would give for the machine that was deployed."""
        made = deployment.Deployment.find(self.folder)
        machine = made.instance_uuid if made else ""
        return permitted(plan=self.order.plan_hash, vmdk=self.order.sha256, machine=machine)

    def restart(self) -> None:
        """A new vCenter in the place of the dead one, which has forgotten everything."""
        address = f"{self.server.host}:{self.server.port}"
        self.server = self.stack.enter_context(vcsim.start(self.lab, listen=address))
        site.shape(self.connect(), self.site, self.lab / "tmp", lambda words: None)


@contextmanager
def start(home: Home, vmdk: Path, *flags: str) -> Iterator[World]:
    """A world that is shaped as the lab's site, with more flags of vcsim's."""
    with ExitStack() as stack:
        lab = home.outputs / "lab"
        server = stack.enter_context(vcsim.start(lab, *flags, listen=f"127.0.0.1:{free_port()}"))  # to which it may come back
        front = stack.enter_context(proxy.start(server, lab, home.root / "received"))
        params = home.site()
        nics = [(f"eth{n}", m.mac, m.segment) for n, m in enumerate(home.guest("gateway").nics)]
        spec = VmSpec(
            name="gateway",
            guest_id="centos64Guest",
            hardware_version=10,
            vcpus=1,
            memory_mb=640,
            disk_bytes=8 * MIB,
            controller="pvscsi",
            nic_model="vmxnet3",
            nics=tuple(
                VirtualNic(name=n, mac=m, segment=s, port_group=params.segments[s].port_group, vlan=params.segments[s].vlan)
                for n, m, s in nics
            ),
        )
        world = World(home, params, server, front, Order(BY, "gateway", spec, "a" * 64, vmdk, files.sha256(vmdk)), stack)
        site.shape(world.connect(), params, lab / "tmp", lambda words: None)
        yield world


def named(v: Session) -> list[str]:
    """Names of all machines."""
    return sorted(str(p["name"]) for p in v.collect("VirtualMachine", ["name"]).values())


def foreign(world: World, v: Session, name: str, mac: str | None = None) -> vm.VirtualMachine:
    """A machine that Hikkoshi did not make."""
    place = inventory.place(v, world.site.vsphere)
    config = vim.vm.ConfigSpec(
        name=name, guestId="otherGuest", numCPUs=1, memoryMB=64, files=vim.vm.FileInfo(vmPathName="[storage1]")
    )
    if mac:
        network = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
        card = vim.vm.device.VirtualE1000(key=-1, backing=network, addressType="manual", macAddress=mac)
        config.deviceChange = [vim.vm.device.VirtualDeviceSpec(operation="add", device=card)]
    thing = v.wait(place.folder.CreateVM_Task(config, place.pool, place.hosts[0].thing), "make a machine")
    return vm.again(v, vm.VirtualMachine(thing, {}))


def options(marks: dict[str, str]) -> list[Any]:
    """Marks as vSphere takes them."""
    return [vim.option.OptionValue(key=k, value=x) for k, x in marks.items()]


def by_hand(v: Session, machine: vm.VirtualMachine, **change: Any) -> vm.VirtualMachine:
    """What a person, or another program, does to a machine in the vSphere client."""
    v.wait(machine.thing.ReconfigVM_Task(vim.vm.ConfigSpec(**change)), "change it")
    return vm.again(v, machine)


def plug(machine: vm.VirtualMachine, mac: str) -> Any:
    """The change that plugs one NIC in."""
    card = machine.nics[mac.lower()]
    card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
        startConnected=True, connected=machine.power == "poweredOn", allowGuestControl=True
    )
    return edited(card)


def edited(device: Any) -> Any:
    """The change that makes a device what it is here."""
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)


def reconfigure(v: Session, name: str, vlan: int, **also: Any) -> None:
    """Have a distributed port group be on a VLAN, as whoever looks after the switches does."""
    vmware = vim.dvs.VmwareDistributedVirtualSwitch
    ports = vmware.VmwarePortConfigPolicy(vlan=vmware.VlanIdSpec(vlanId=vlan, inherited=False), **also)
    (group,) = (g.network for g in inventory.port_groups(v, v.content.rootFolder) if g.name == name)
    version = v.read(group, "config.configVersion").get("config.configVersion", "")
    change = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, configVersion=version, defaultPortConfig=ports)
    v.wait(group.ReconfigureDVPortgroup_Task(change), f"reconfigure {name}")


def serve(world: World) -> Plan:
    """The gateway planned, converted, deployed and cut over, with the results in its folder that tell of it."""
    home, folder, params = world.home, world.folder, world.home.root / "params" / "site.yml"
    params.write_text(params.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{world.proxy.port}"))
    survey = Survey.model_validate_json((PROJECT / "tests/data/survey/gateway.json").read_bytes())
    decided = plan.make(home, home.guest("gateway"), home.site(), survey)
    decided.save(folder)
    converted(folder, world.order.sha256)
    small, owner = decided.vm.model_copy(update={"disk_bytes": 8 * MIB}), vm.owner(home, BY.run, folder / "lock")
    world.order = replace(world.order, owner=owner, spec=small, plan_hash=decided.hash)
    v = world.connect()
    world.deploy(v)
    cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: OFF, folder=folder)
    return decided
