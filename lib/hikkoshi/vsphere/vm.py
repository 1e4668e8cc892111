"""Virtual machines as vSphere tells of them, whose they are, and the few things that are done to one.

Who made a machine is written into it (`extraConfig`): a rerun finds it by these marks, never by its name. What acts on a
machine reads its marks again right before, and refuses one that is not ours: without marks, of another site folder, a clone,
or of an earlier version. NICs are known by their MAC: servers reorder and relabel them.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pyVmomi import vim, vmodl

from hikkoshi.check import Permission
from hikkoshi.errors import Problem, Refused, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CUTOVER
from hikkoshi.vsphere.session import Properties, Session

GUEST, PLAN, VMDK, COMPLETE = "hikkoshi.guest", "hikkoshi.plan", "hikkoshi.vmdk", "hikkoshi.complete"
SITE, RUN = "hikkoshi.site", "hikkoshi.run"  # identity of the site folder, and the run that made it
LOCK = "hikkoshi.lock"  # which lock this run held, see `owner`: a copy of the folder has another one
MACHINE = "hikkoshi.machine"  # its own instanceUuid, written when it is complete: a clone carries that of its original
SERVICE = "hikkoshi.service"  # since when it is in service; not there before the cut-over and after a rollback
STARTED = "hikkoshi.started"  # when it was first put into service; never removed
TAKEN = "hikkoshi.taken"  # when a person made it ours: what was done with it before is not known
LONGEST_LEASE = 330  # seconds after which a server has given up an import whose client is dead
_CONFIG = ("extraConfig", "hardware.device", "hardware.memoryMB", "hardware.numCPU", "guestId", "version", "instanceUuid")
PATHS = ["name", "config.firmware", *(f"config.{name}" for name in _CONFIG), "runtime.powerState", "runtime.connectionState"]
_COMPUTER = Path("/etc/machine-id")
Whose = Literal["ours", "clone", "other", "earlier", "nobody"]


@dataclass(frozen=True)
class Owner:
    """Who acts: the site folder by its identity, the run, and the lock that it holds on the guest ('': none)."""

    site: str
    run: str
    lock: str = ""

    def marks(self) -> dict[str, str]:
        """What it writes into a machine that it makes."""
        return {SITE: self.site, RUN: self.run, LOCK: self.lock}


def owner(home: Home, run: str, lock: Path) -> Owner:
    """The owner of what a run makes; `lock` is the file that it has locked.

    A copy of the folder has another inode, and a clone of the computer another machine-id. Where the file system lies on no
    device of this computer (NFS), the lock is the same one for all computers that see it.
    """
    if not lock.is_file():
        return Owner(home.identity(), run)
    found, computer = lock.stat(), ""
    with contextlib.suppress(OSError):
        computer = _COMPUTER.read_text(encoding="ascii").strip() if os.major(found.st_dev) else ""
    return Owner(home.identity(), run, f"{found.st_ino}{'@' if computer else ''}{computer}")


@dataclass(frozen=True)
class VirtualMachine:
    """One virtual machine as found. A property that the server does not tell is empty or 0."""

    thing: Any
    p: Properties

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    @property
    def id(self) -> str:
        """Managed object id: vm-42."""
        return str(self.thing._moId)

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return str(self.p.get("name", ""))

    @property
    def uuid(self) -> str:
        """Its instanceUuid, which vSphere gives to a clone anew."""
        return str(self.p.get("config.instanceUuid") or "")

    @property
    def marks(self) -> dict[str, str]:
        """What we have written into it: {key: value}."""
        extra = self.p.get("config.extraConfig", ())
        return {o.key: str(o.value) for o in extra if str(o.key).startswith("hikkoshi.") and o.value}

    @property
    def seen(self) -> bool:
        """Whether vSphere sees the machine itself now. Of a host that it has lost it tells what was so before."""
        return self.p.get("runtime.connectionState") in (None, "connected")

    @property
    def power(self) -> str:
        """poweredOn, poweredOff or suspended; none of these where vSphere does not see it now."""
        last = str(self.p.get("runtime.powerState", ""))
        return last if self.seen else f"not seen now ({self.p['runtime.connectionState']}; {last} before)"

    @property
    def nics(self) -> dict[str, Any]:
        """{MAC in lower case: device}."""
        cards = [d for d in self.devices if isinstance(d, vim.vm.device.VirtualEthernetCard)]
        return {str(d.macAddress).lower(): d for d in cards}

    @property
    def plugged(self) -> set[str]:
        """MACs of the NICs that are connected, or will be when it is switched on."""
        plugs = {mac: card.connectable for mac, card in self.nics.items() if card.connectable}
        return {mac for mac, p in plugs.items() if p.startConnected or p.connected}

    @property
    def devices(self) -> list[Any]:
        """All virtual devices."""
        return list(self.p.get("config.hardware.device", ()))


def whose(machine: VirtualMachine, site: str) -> Whose:
    """Whose a machine is, as seen by the site folder of this identity."""
    marks = machine.marks
    if GUEST not in marks:
        return "nobody"
    if SITE not in marks:
        return "earlier"
    if marks[SITE] != site:
        return "other"
    if (MACHINE in marks or COMPLETE in marks) and marks.get(MACHINE) != machine.uuid:
        return "clone"
    return "ours"


def told(machine: VirtualMachine, site: str) -> str:
    """Whose a machine is, in words."""
    marks = machine.marks
    return {
        "ours": "ours",
        "clone": "a clone of a machine of ours",
        "other": f"of another site folder, {marks.get(SITE, '')}",
        "earlier": "of an earlier version of Hikkoshi, which wrote down no site",
        "nobody": "not made by Hikkoshi",
    }[whose(machine, site)]


def way(machine: VirtualMachine, site: str) -> str:
    """What to do about a machine that is not ours."""
    match whose(machine, site):
        case "clone" | "earlier":
            return f"if it is the right one, take it over: hikkoshi machines {machine.marks[GUEST]} --take {machine.id}"
        case "other":
            return "act from the site folder with that identity, in outputs/identity"
        case _:
            return "look at it in the vSphere client"


def every(v: Session) -> dict[Any, VirtualMachine]:
    """Every machine that the user may see, in the whole of vSphere."""
    return {o: VirtualMachine(o, p) for o, p in v.collect("VirtualMachine", PATHS).items()}


def marked(v: Session, guest: str = "") -> list[VirtualMachine]:
    """The machines that carry our mark for this guest, or for any: whosever they are. Only for looking."""
    marks = v.collect("VirtualMachine", ["config.extraConfig"])
    found = []
    for thing in (o for o, p in marks.items() if GUEST in (m := VirtualMachine(o, p).marks) and guest in ("", m[GUEST])):
        try:
            found.append(again(v, VirtualMachine(thing, {})))
        except VSphereError as e:
            if not _gone(e):  # removed since it was listed
                raise
    return found


def ours(v: Session, site: str, guest: str) -> list[VirtualMachine]:
    """This site folder's own machines of a guest: one, or none."""
    return [m for m in marked(v, guest) if whose(m, site) == "ours"]


def strangers(v: Session, site: str, guest: str, macs: Iterable[str] = ()) -> list[VirtualMachine]:
    """Machines with the guest's mark that are not ours, and those of anybody with one of the guest's MACs plugged in."""
    wanted = {mac.lower() for mac in macs}
    return [m for m in every(v).values() if whose(m, site) != "ours" and (m.marks.get(GUEST) == guest or wanted & m.plugged)]


def again(v: Session, machine: VirtualMachine) -> VirtualMachine:
    """The same machine as it is now."""
    return VirtualMachine(machine.thing, v.read(machine.thing, *PATHS))


def complete(v: Session, by: Owner, machine: VirtualMachine) -> None:
    """Mark a machine of ours complete, and as the one that it is."""
    now = _ours(v, by, machine)
    if not now.uuid:
        problem = Problem(
            code="instance-uuid-missing",
            what="vSphere does not tell the machine's instanceUuid",
            where=f"{v.where}, {now}",
            remedy="report it",
        )
        raise VSphereError(problem)
    _mark(v, now, {MACHINE: now.uuid, COMPLETE: _time()})


def take(v: Session, by: Owner, guest: str, id: str) -> VirtualMachine:
    """Make a clone, a machine of an earlier version, or an unfinished one of a copy of this folder ours.

    A person has said so. Nobody knows whether a complete one ever served, so we never remove it; what is unfinished never did,
    and the next import removes it. A clone that is off does not serve, whatever its original did. Another site's is never
    taken: where that folder is lost for good, its identity can be written into outputs/identity of a new one.
    """
    there = marked(v, guest)
    found = next((m for m in there if m.id == id), None)
    kind = whose(found, by.site) if found else "nobody"
    unknown = found is not None and kind == "ours" and COMPLETE not in found.marks and found.marks.get(LOCK) != by.lock
    others = [m for m in there if m.id != id and whose(m, by.site) == "ours"]
    if found is None or others or not (unknown or kind in ("clone", "earlier")):
        remedy = {
            "ours": "there is nothing to do",
            "other": way(found, by.site) + "; if that folder is lost for good, write its identity into outputs/identity of a "
            "new site folder, before anything is deployed from there"
            if found
            else "",
        }.get(kind, f"see `hikkoshi machines {guest}`")
        if found and others:
            remedy = "decide which is the right one; whoever is sure removes the other in the vSphere client"
        raise Refused(
            Problem(
                code="machine-not-taken-over",
                what="the machine is not taken over",
                where=f"{v.where}, {found or id}",
                found=told(found, by.site) + (f"; {others[0]} is ours already" if others else "")
                if found
                else f"no machine {id} carries the mark of {guest}",
                expected="a clone of ours or a machine of an earlier version, where none is ours",
                remedy=remedy,
            )
        )
    _mark(v, found, {**by.marks(), **(_taken(found, kind) if {COMPLETE, SERVICE, STARTED} & set(found.marks) else {})})
    return again(v, found)


def _taken(machine: VirtualMachine, kind: Whose) -> dict[str, str]:
    """What is written into a machine that a person takes over and that may have served."""
    started = machine.marks.get(STARTED) or machine.marks.get(SERVICE)
    return {
        MACHINE: machine.uuid,
        TAKEN: _time(),
        **({STARTED: started} if started else {}),
        **({SERVICE: ""} if kind == "clone" and machine.power != "poweredOn" else {}),
    }


def destroy(
    v: Session, machine: VirtualMachine, why_not: Callable[[VirtualMachine], str], what: str, progress: Progress = silent
) -> None:
    """Remove a machine of which `why_not` has nothing to say; it is read and asked of again right before every try.

    After a client was killed, vSphere holds the machine until the import's lease has run out, and may remove it then by itself;
    that is waited for.
    """
    deadline = time.monotonic() + LONGEST_LEASE
    while True:
        try:
            now = again(v, machine)
        except VSphereError as e:
            if _gone(e):
                return
            raise
        if reason := why_not(now):
            raise Refused(
                Problem(
                    code="machine-not-removed",
                    what=f"a machine is not removed: {reason}",
                    where=f"{v.where}, {now}",
                    found=f"{now.power}, marks: {', '.join(f'{k}={x}' for k, x in sorted(now.marks.items())) or 'none'}",
                    remedy="look at it in the vSphere client; if nobody needs it, remove it there by hand",
                )
            )
        try:
            with v.asking(what):
                task = now.thing.Destroy_Task()
            v.wait(task, what)
            return
        except VSphereError as e:
            busy = isinstance(e.__cause__, vim.fault.TaskInProgress | vim.fault.InvalidState)
            if not (busy or _gone(e)) or time.monotonic() > deadline:
                raise
            progress(0, 1, "vSphere still holds the unfinished machine of the last try, waiting")
            time.sleep(1)


def unfinished(machine: VirtualMachine, by: Owner) -> str:
    """Why a machine is not the remains of an import that only its owner could still be at work on; '' if it is."""
    marks = machine.marks
    if whose(machine, by.site) != "ours":
        return f"it is {told(machine, by.site)}"
    if {COMPLETE, MACHINE, SERVICE, STARTED} & set(marks):
        return "it is complete, or was"
    if machine.power != "poweredOff":
        return "it is not switched off"
    if not by.lock or marks.get(LOCK) != by.lock:
        return f"run {marks.get(RUN, '?')} in another copy of this folder may still be at work on it"
    return ""


def destroy_unfinished(v: Session, by: Owner, machine: VirtualMachine, progress: Progress = silent) -> None:
    """Remove a machine of ours whose import did not come to its end. Anything else is refused."""
    destroy(v, machine, lambda m: unfinished(m, by), f"remove the unfinished {machine.name}", progress)


def connect(v: Session, by: Owner, machine: VirtualMachine, on: Permission | Literal[False]) -> None:
    """Plug every NIC in, or pull it out: for the next power-on, and now where the machine is on. Marks it as in service.

    Plugging in asks for a permission of this very machine; pulling out for none.
    """
    machine = _ours(v, by, machine)
    plug = _permitted(machine, on)
    changes = []
    for card in machine.nics.values():
        card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=plug, connected=plug and machine.power == "poweredOn", allowGuestControl=True
        )
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    marks = {SERVICE: _time() if on else ""}
    if on and STARTED not in machine.marks:
        marks[STARTED] = marks[SERVICE]
    change = vim.vm.ConfigSpec(deviceChange=changes, extraConfig=_options(marks))
    _reconfigure(v, machine, change, f"{'connect' if on else 'disconnect'} the NICs")


def power(v: Session, by: Owner, machine: VirtualMachine, on: Permission | Literal[False]) -> None:
    """Switch a machine of ours on, which asks for a permission of it, or off; nothing happens where it is so already."""
    machine = _ours(v, by, machine)
    if machine.power == ("poweredOn" if _permitted(machine, on) else "poweredOff"):
        return
    what = f"switch {machine.name} {'on' if on else 'off'}"
    with v.asking(what):
        task = machine.thing.PowerOnVM_Task() if on else machine.thing.PowerOffVM_Task()
    v.wait(task, what)


def _permitted(machine: VirtualMachine, on: Permission | Literal[False]) -> bool:
    """Whether it is to be put into service; `Refused` where another guest, plan, disk or machine was approved for that."""
    if on is False:
        return False
    marks = machine.marks
    on.covers(CUTOVER.id, guest=marks.get(GUEST, ""), plan=marks.get(PLAN, ""), vmdk=marks.get(VMDK, ""), machine=machine.uuid)
    return True


def _ours(v: Session, by: Owner, machine: VirtualMachine) -> VirtualMachine:
    """The machine as it is now, in the moment before something is done to it; `Refused` where it is not ours."""
    now = again(v, machine)
    if whose(now, by.site) != "ours":
        raise Refused(
            Problem(
                code="machine-not-ours",
                what="a machine is not touched: it is not ours",
                where=f"{v.where}, {now}",
                found=told(now, by.site),
                expected=f"made by this site folder, {by.site}",
                remedy=way(now, by.site),
            )
        )
    return now


def _mark(v: Session, machine: VirtualMachine, marks: Mapping[str, str]) -> None:
    _reconfigure(v, machine, vim.vm.ConfigSpec(extraConfig=_options(marks)), f"write {', '.join(marks)}")


def _reconfigure(v: Session, machine: VirtualMachine, change: Any, what: str) -> None:
    with v.asking(what):
        task = machine.thing.ReconfigVM_Task(change)
    v.wait(task, what)


def _options(marks: Mapping[str, str]) -> list[Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in marks.items()]


def _gone(error: VSphereError) -> bool:
    return isinstance(error.__cause__, vmodl.fault.ManagedObjectNotFound)


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
