"""Virtual machines as vSphere tells of them, and the few things that are done to one.

Who made a machine is written into it (`extraConfig`): a rerun finds it by these marks, never by its name, and a machine
without them is never touched. NICs are known by their MAC: servers reorder and relabel them.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from hikkoshi.errors import Problem, Refused, VSphereError
from hikkoshi.progress import Progress, silent
from hikkoshi.vsphere.session import Properties, VSphere

GUEST, PLAN, VMDK, COMPLETE = "hikkoshi.guest", "hikkoshi.plan", "hikkoshi.vmdk", "hikkoshi.complete"
SERVICE = "hikkoshi.service"  # since when it is in service; not there before the cut-over and after a rollback
LONGEST_LEASE = 330  # seconds after which a server has given up an import whose client is dead
PATHS = ["name", "config.extraConfig", "config.hardware.device", "config.hardware.memoryMB", "config.hardware.numCPU",
         "config.guestId", "config.version", "config.instanceUuid", "runtime.powerState"]  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One virtual machine as found. A property that the server does not tell is empty or 0."""

    thing: Any
    p: Properties

    @property
    def id(self) -> str:
        """Managed object id: vm-42."""
        return str(self.thing._moId)

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return str(self.p.get("name", ""))

    @property
    def marks(self) -> dict[str, str]:
        """What we have written into it: {key: value}."""
        extra = self.p.get("config.extraConfig", ())
        return {o.key: str(o.value) for o in extra if str(o.key).startswith("hikkoshi.") and o.value}

    @property
    def power(self) -> str:
        """poweredOn, poweredOff or suspended."""
        return str(self.p.get("runtime.powerState", ""))

    @property
    def nics(self) -> dict[str, Any]:
        """{MAC in lower case: device}."""
        cards = [d for d in self.devices if isinstance(d, vim.vm.device.VirtualEthernetCard)]
        return {str(d.macAddress).lower(): d for d in cards}

    @property
    def macs(self) -> list[str]:
        """MACs of its NICs."""
        return list(self.nics)

    @property
    def devices(self) -> list[Any]:
        """All virtual devices."""
        return list(self.p.get("config.hardware.device", ()))


def every(v: VSphere) -> dict[Any, Machine]:
    """Every machine that the user may see, in the whole of vSphere."""
    return {o: Machine(o, p) for o, p in v.collect("VirtualMachine", PATHS).items()}


def of_guest(v: VSphere, guest: str) -> list[Machine]:
    """The machines that carry our mark for this guest; more than one only after somebody has cloned it."""
    marks = v.collect("VirtualMachine", ["config.extraConfig"])
    ours = [o for o, p in marks.items() if Machine(o, p).marks.get(GUEST) == guest]
    return [Machine(o, v.read(o, *PATHS)) for o in ours]


def again(v: VSphere, machine: Machine) -> Machine:
    """The same machine as it is now."""
    return Machine(machine.thing, v.read(machine.thing, *PATHS))


def destroy_unfinished(v: VSphere, machine: Machine, progress: Progress = silent) -> None:
    """Remove a machine of ours whose import did not come to its end. Anything else is refused.

    After a client was killed, vSphere holds the machine until the import's lease has run out; that is waited for.
    """
    marks = machine.marks
    if GUEST not in marks or COMPLETE in marks or machine.power != "poweredOff":
        raise Refused(
            Problem(
                "a machine is not removed: it is not an unfinished import of ours that is switched off",
                f"{v.where}, {machine.name} ({machine.id})",
                f"{machine.power}, marks: {', '.join(f'{k}={x}' for k, x in sorted(marks.items())) or 'none'}",
                remedy="look at it in the vSphere client; if nobody needs it, remove it there by hand",
            )
        )
    what, deadline = f"remove the unfinished {machine.name}", time.monotonic() + LONGEST_LEASE
    while True:
        try:
            with v.asking(what):
                task = machine.thing.Destroy_Task()
            v.wait(task, what)
            return
        except VSphereError as e:
            busy = isinstance(e.__cause__, vim.fault.TaskInProgress | vim.fault.InvalidState)
            if not busy or time.monotonic() > deadline:
                raise
            progress(0, 1, "vSphere still holds the unfinished machine of the last try, waiting")
            time.sleep(1)


def reconfigure(v: VSphere, machine: Machine, change: Any, what: str) -> None:
    """Apply a `vim.vm.ConfigSpec`."""
    with v.asking(what):
        task = machine.thing.ReconfigVM_Task(change)
    v.wait(task, what)


def mark(v: VSphere, machine: Machine, key: str, value: str) -> None:
    """Write one mark."""
    option = vim.option.OptionValue(key=key, value=value)
    reconfigure(v, machine, vim.vm.ConfigSpec(extraConfig=[option]), f"write {key}")


def connect(v: VSphere, machine: Machine, on: bool) -> None:
    """Plug every NIC in, or pull it out: for the next power-on, and now where the machine is on. Marks it as in service."""
    changes = []
    for card in machine.nics.values():
        card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=on, connected=on and machine.power == "poweredOn", allowGuestControl=True
        )
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    since = datetime.now(UTC).isoformat(timespec="seconds") if on else ""  # an empty value removes the mark
    service = vim.option.OptionValue(key=SERVICE, value=since)
    change = vim.vm.ConfigSpec(deviceChange=changes, extraConfig=[service])
    reconfigure(v, machine, change, f"{'connect' if on else 'disconnect'} the NICs")


def power(v: VSphere, machine: Machine, on: bool) -> None:
    """Switch it on or off; nothing happens where it is so already."""
    if (machine.power == "poweredOn") == on:
        return
    what = f"switch {machine.name} {'on' if on else 'off'}"
    with v.asking(what):
        task = machine.thing.PowerOnVM_Task() if on else machine.thing.PowerOffVM_Task()
    v.wait(task, what)
