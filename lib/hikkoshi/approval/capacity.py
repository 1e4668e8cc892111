"""What the site has, and what is left of it when every guest that has a plan for it is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hikkoshi import files
from hikkoshi.approval.plan import Plan
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.vsphere import inventory, vm
from hikkoshi.vsphere.inventory import Capacity, Place
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VmSpec

NAMED = 10  # machines, at most; a fleet is a number


@dataclass(frozen=True)
class Outlook:
    """What a site has, and what every guest takes that has a plan for it and is not there yet."""

    has: Capacity
    coming: Sequence[VmSpec]
    datastore: str
    unread: Sequence[str] = ()  # guests whose plan cannot be read

    def rows(self) -> list[dict[str, str]]:
        """Memory, disk and machines: what there is, what is taken, what the machines that are planned take, and what is left.

        A disk counts as large as it may become. Less than nothing is possible, for vSphere gives out more than there is: it is
        said, and a person decides.
        """
        has, coming = self.has, self.coming
        memory, disk = self._planned
        whole = sum(has.memory)
        return [
            {
                "what": "hosts that can take machines",
                "there is": f"{len(has.memory)} of {has.hosts}",
                "taken": "",
                "planned": "",
                "left": "",
            },
            {
                "what": "memory",
                "there is": files.human(whole),
                "taken": f"{files.human(has.taken)}, by {has.running} that are switched on",
                "planned": files.human(memory),
                "left": f"{_left(whole - has.taken - memory)}; with one host less: {_left(has.spare - memory)}",
            },
            {
                "what": f"datastore {self.datastore}",
                "there is": files.human(has.room),
                "taken": files.human(has.room - has.free),
                "planned": f"{files.human(disk)}, when every disk is full",
                "left": _left(has.free - disk),
            },
            {
                "what": "machines",
                "there is": "",
                "taken": str(has.machines),
                "planned": _named(coming)
                + (f"; not counted, for the plan cannot be read: {', '.join(self.unread)}" if self.unread else ""),
                "left": f"{has.machines + len(coming)} then",
            },
        ]

    @property
    def rooms(self) -> tuple[tuple[str, int, int, int], ...]:
        """The same in bytes, to be drawn: what it is, how much there is, is taken, is planned."""
        (memory, disk), has = self._planned, self.has
        whole, largest = sum(has.memory), max(has.memory, default=0)
        return (
            ("memory", whole, has.taken, memory),
            ("memory, with one host less", whole - largest, has.taken, memory),
            (f"datastore {self.datastore}", has.room, has.room - has.free, disk),
        )

    @property
    def _planned(self) -> tuple[int, int]:
        """Memory and disk, in bytes."""
        return sum(s.memory_mb << 20 for s in self.coming), sum(s.disk_bytes for s in self.coming)


def look(v: Session, home: Home, site: Site, place: Place, own: Mapping[str, VmSpec]) -> Outlook:
    """Count it. `own`: {guest: machine} of a plan that is not written yet."""
    there = {m.marks[vm.GUEST] for m in vm.marked(v) if vm.whose(m, home.identity()) == "ours"}
    coming, unread = dict[str, VmSpec](), list[str]()
    for folder in home.folders():
        try:
            if (plan := Plan.find(folder)) and plan.terms.vsphere.server == site.vsphere.server:
                coming[folder.name] = plan.vm
        except HikkoshiError:  # another guest's, and its own runs say what is wrong with it
            unread.append(folder.name)
    coming |= own
    specs = [spec for guest, spec in coming.items() if guest not in there]
    return Outlook(inventory.capacity(v, place), specs, site.vsphere.datastore, unread)


def _named(coming: Sequence[VmSpec]) -> str:
    names = sorted(spec.name for spec in coming)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)}: {', '.join(names[:NAMED])}{more}" if names else "none"


def _left(size: int) -> str:
    return files.human(size) if size >= 0 else f"▼ {files.human(-size)} more than there is"
