"""Where the faults are played: a vCenter of its own behind a proxy, a Dom-0 that is a folder and a program, one guest.

Beside it in vSphere stands a machine of somebody else, whose name begins like the guest's. Nobody may touch it.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVmomi import vim

from hikkoshi.approval import approval, approver
from hikkoshi.approval.plan import Plan
from hikkoshi.disk.conversion import Conversion
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record.engine.runbook import PROJECT
from hikkoshi.run import lock
from hikkoshi.run.step import DEPLOY
from hikkoshi.vsphere import cutover, deployment, inventory, session, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.session import Session
from hikkoshi_lab import keys, proxy, site, vcsim
from hikkoshi_lab.faults import guest
from hikkoshi_lab.proxy import FaultProxy

LEASE = "3s"  # after which an import is given up whose sender was killed: the shortest that there is
STRANGER, OTHER_MAC = f"{guest.NAME}-old", "00:16:3e:01:00:99"
XL = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
create*) touch "$here/running" ;;
shutdown*) rm -f "$here/running" ;;
"list -l") echo "[]" ;;
list*) echo "Name ID Mem VCPUs State Time(s)"; echo "Domain-0 0 2048 2 r----- 1.0"
  [ -f "$here/running" ] && echo "GUEST 7 64 1 -b---- 1.0" || true ;;
esac
"""
SITE = """\
name: where faults are played
signing: {{ key: outputs/keys/operator, allowed_signers: outputs/keys/allowed_signers, revoked: outputs/keys/revoked }}
vsphere:
  server: 127.0.0.1:{port}
  user: administrator
  password: file:outputs/lab/vcenter.password
  ca: outputs/lab/ca.pem
  datacenter: campus
  cluster: management
  datastore: storage1
dom0s: {{ xenhost: {{ root: / }} }}
segments: {{ servers: {{ vlan: 210, port_group: servers-210 }} }}
"""
GUEST = """\
name: {name}
dom0: xenhost
config: {config}
nics: [{{ mac: "{mac}", segment: servers }}]
"""
State = tuple[str, str, tuple[str, ...], tuple[tuple[str, str], ...]]


@dataclass
class Stage:
    """`v` is an administrator's session, past the proxy."""

    home: Home
    server: vcsim.Server
    proxy: FaultProxy
    v: Session
    plan: Plan
    bin: Path
    fresh: Path  # a copy of the guest's folder as the rehearsal left it
    stranger: vm.VirtualMachine
    host: Any  # that machines come to
    runs: int = 0

    @property
    def folder(self) -> GuestFolder:
        """The guest's."""
        return self.home.folder(guest.NAME)

    @property
    def path(self) -> str:
        """Where programs are found: the Dom-0's `xl` first."""
        return f"{self.bin}:{os.environ['PATH']}"

    @property
    def source_on(self) -> bool:
        """Whether the Dom-0 has the guest running."""
        return (self.bin / "running").exists()

    def switch_source(self, on: bool) -> None:
        """As whoever starts the Dom-0 again does it, or shuts the guest down there."""
        (self.bin / "running").touch() if on else (self.bin / "running").unlink(missing_ok=True)

    def machines(self) -> list[vm.VirtualMachine]:
        """All of vSphere but the stranger's."""
        return [m for m in vm.every(self.v).values() if m.id != self.stranger.id]

    def strangers_own(self) -> tuple[State, dict[str, str]]:
        """The stranger's machine, and each of its files with its SHA-256."""
        now = vm.again(self.v, self.stranger)
        files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((self.storage / STRANGER).rglob("*"))}
        return (now.name, now.power, tuple(sorted(now.plugged)), tuple(sorted(now.marks.items()))), files

    @property
    def storage(self) -> Path:
        """The datastore."""
        return self.home.outputs / "lab" / vcsim.TEMPORARY / "storage1"

    def left_over(self) -> list[str]:
        """Folders in the datastore that belong to no machine there is, and files of uploads that did not come to their end."""
        known = {m.name for m in vm.every(self.v).values()}
        return sorted(
            [p.name for p in self.storage.iterdir() if p.name not in known] + [p.name for p in self.storage.rglob("*.part")]
        )

    def set_out(self) -> None:
        """Rehearsed, and nothing in vSphere; the source is off since it was copied."""
        for machine in self.machines():
            if machine.power == "poweredOn":
                self.v.wait(machine.thing.PowerOffVM_Task(), "switch it off")
            self.v.wait(machine.thing.Destroy_Task(), "remove it")
        shutil.rmtree(self.folder)
        shutil.copytree(self.fresh, self.folder)
        self.switch_source(False)

    def deployed(self) -> None:
        """The same, and the machine waits in vSphere, approved; the source runs."""
        if not self._stands():
            self.set_out()
            with session.connect(self.home, self.home.site().vsphere) as v, lock.acquire(self.folder.lock, "the stage", 5):
                deployment.start(v, self.home.site().vsphere, self._order(), self.folder)
            by = approver.of(self.home, guest.NAME, keys.folder(self.home) / "approver")
            approval.give(self.home, guest.NAME, self.plan, "the page\n", by)
        self._out_of_service()
        self.switch_source(True)

    def serving(self) -> None:
        """The machine serves, and the source is off."""
        self.deployed()
        (machine,) = self.machines()
        card = next(iter(machine.nics.values()))
        card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, connected=False, allowGuestControl=True)
        since = "2026-11-30T00:00:00+00:00"
        marks = [vim.option.OptionValue(key=key, value=since) for key in (vm.SERVICE, vm.STARTED)]
        edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
        self._do(machine.thing.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit], extraConfig=marks)))
        self._do(machine.thing.PowerOnVM_Task())
        self.switch_source(False)
        cutover.InService(guest=guest.NAME, moid=machine.id, since=since, nics=()).save(self.folder)

    def _stands(self) -> bool:
        known = deployment.Deployment.find(self.folder)
        ours = self.machines()
        there = known is not None and [m.id for m in ours] == [known.moid] and vm.COMPLETE in ours[0].marks
        return there and self.folder.approvals.is_dir()

    def _order(self) -> Order:
        owner = vm.owner(self.home, f"20261130T000000Z-{DEPLOY.id}", self.folder.lock)
        return Order.of(owner, guest.NAME, self.plan, Conversion.find(self.folder), self.folder)

    def _out_of_service(self) -> None:
        cutover.roll_back(self.v, self._order())
        cutover.strike(self.folder)
        for left in (self.folder.machine_off, self.folder.journal):
            left.unlink(missing_ok=True)

    def _do(self, task: Any) -> None:
        self.v.wait(task, "set the stage")

    def maintain(self, on: bool) -> None:
        """Put the host that machines come to into maintenance, or end it."""
        self._do(self.host.EnterMaintenanceMode_Task(0) if on else self.host.ExitMaintenanceMode_Task(0))

    def end_sessions(self) -> None:
        """End everybody's session but this one."""
        manager = self.v.content.sessionManager
        own = manager.currentSession.key
        manager.TerminateSession([s.key for s in manager.sessionList if s.key != own])


@contextlib.contextmanager
def start(root: Path) -> Iterator[Stage]:
    """A stage in a folder that is empty."""
    dom0, bin = root / "dom0", root / "bin"
    guest.source(dom0)
    bin.mkdir()
    (bin / "xl").write_text(XL.replace("GUEST", guest.NAME))
    (bin / "xl").chmod(0o755)
    home = Home(root / "home")
    (home.root / "params/guests").mkdir(parents=True)
    shutil.copytree(PROJECT / "params/schema", home.root / "params/schema")
    config = dom0 / "etc/xen" / guest.NAME
    (home.root / f"params/guests/{guest.NAME}.yml").write_text(GUEST.format(name=guest.NAME, config=config, mac=guest.MAC))
    with contextlib.ExitStack() as stack:
        lab = home.outputs / "lab"
        server = stack.enter_context(vcsim.start(lab, "-lease-timeout", LEASE, "-host", "1"))
        front = stack.enter_context(proxy.start(server, lab, root / "received"))
        params = home.root / "params/site.yml"
        params.write_text(SITE.format(port=server.port))
        v = stack.enter_context(session.connect(home, home.site().vsphere))
        params.write_text(SITE.format(port=front.port))
        site.shape(v, home.site(), lab / vcsim.TEMPORARY, lambda words: None)
        keys.make(home)
        plan = guest.moved(home, dom0)
        shutil.copytree(home.folder(guest.NAME), root / "fresh")
        place = inventory.place(v, home.site().vsphere)
        yield Stage(home, server, front, v, plan, bin, root / "fresh", _stranger(v, place), place.hosts[0].thing)


def _stranger(v: Session, place: inventory.Place) -> vm.VirtualMachine:
    """Somebody else's machine; it is on."""
    config = vim.vm.ConfigSpec(
        name=STRANGER, guestId="otherGuest", numCPUs=1, memoryMB=64, files=vim.vm.FileInfo(vmPathName="[storage1]")
    )
    network = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    card = vim.vm.device.VirtualE1000(key=-1, backing=network, addressType="manual", macAddress=OTHER_MAC)
    config.deviceChange = [vim.vm.device.VirtualDeviceSpec(operation="add", device=card)]
    thing = v.wait(place.folder.CreateVM_Task(config, place.pool, place.hosts[0].thing), "make a machine")
    v.wait(thing.PowerOnVM_Task(), "switch it on")
    return vm.again(v, vm.VirtualMachine(thing, {}))
