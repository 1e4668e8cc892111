"""How far a guest's results reach on the way to its cut-over: which step has to be run, or run again, and why.

It is told by what is true of the results and files now, not by what a journal says was done. Only results, sizes, times and
samples are looked at: no disk is read to its end, and neither vSphere nor a Dom-0 is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hikkoshi.approval.plan import Plan, of_survey
from hikkoshi.artefact import Artefact
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput
from hikkoshi.guest import prepared
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey, unchanged
from hikkoshi.params.folder import GuestFolder
from hikkoshi.rehearsal import rehearsal
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.handover import HandOver

A = TypeVar("A", bound=Artefact)


@dataclass(frozen=True)
class Gap:
    """The first step whose result is not there, or not of those before it; `why` is empty where it was never run."""

    step: str
    why: str = ""


@dataclass
class _Way:
    """The results so far, each looked at when all before it are good."""

    folder: GuestFolder
    found: dict[type[Artefact], Artefact] = field(default_factory=dict)

    def of(self, kind: type[A]) -> A:
        """A result that was read."""
        known = self.found[kind]
        assert isinstance(known, kind)
        return known


def gap(folder: GuestFolder) -> Gap | None:
    """The first gap in a guest's folder; None where everything is ready for the cut-over, the approval apart."""
    way = _Way(folder)
    for kind, flaw in _FLAWS.items():
        if kind is Deployment and way.of(Plan).terms.vsphere.handover:
            kind, flaw = HandOver, _handed_over  # noqa: PLW2901 - a contractor makes the machine
        try:
            known = kind.find(folder)
        except BadInput:
            return Gap(kind.made_by.id, f"{kind.filename} cannot be read")
        if known is None:
            return Gap(kind.made_by.id)
        way.found[kind] = known
        if why := flaw(way):
            return Gap(kind.made_by.id, why)
    return None


def _survey(way: _Way) -> str:
    known = way.of(Survey)
    return "" if unchanged(known, asked=False) else f"the disk of {known.xen.name} is not as it was surveyed; shut it down first"


def _plan(way: _Way) -> str:
    return "" if of_survey(way.of(Plan), way.of(Survey)) else "the plan is of another survey"


def _prepared(way: _Way) -> str:
    made, plan = way.of(Prepared), way.of(Plan)
    copies = way.folder.copies(len(plan.vm.disks))
    if not all(copy.is_file() for copy in copies):
        return "the copy is gone"
    now = [copy.stat() for copy in copies]
    size, changed = sum(s.st_size for s in now), max(s.st_mtime_ns for s in now)
    problems = (
        ("the copy was made by another plan", made.preparation != plan.preparation.hash),
        ("the copy is of another source", made.source_digest != plan.source_digest),
        ("the copy was changed", (size, changed) != (made.disk.bytes, made.disk.mtime_ns)),
    )
    return next((words for words, bad in problems if bad), "")


def _conversion(way: _Way) -> str:
    made, disks = way.of(Conversion), len(way.of(Plan).vm.disks)
    sizes = [vmdk.stat().st_size if vmdk.is_file() else -1 for vmdk in way.folder.vmdks(disks)]
    if sizes != [disk.vmdk_bytes for disk in made.each]:
        return "the VMDK is gone, or is another file"
    return "" if prepared.same(made, way.of(Prepared)) else "the VMDK is of another copy"


def _rehearsal(way: _Way) -> str:
    done = rehearsal.complete(way.folder, way.of(Conversion).vmdk_sha256, way.of(Plan).hash)
    return "" if done else f"the rehearsal counts no longer: {done.found}"


def _deployment(way: _Way) -> str:
    made = way.of(Deployment)
    same = (made.plan_hash, made.vmdk_sha256) == (way.of(Plan).hash, way.of(Conversion).vmdk_sha256)
    return "" if same else "the machine in vSphere is of another plan or disk"


def _handed_over(way: _Way) -> str:
    made = way.of(HandOver)
    same = (made.plan_hash, made.vmdk_sha256) == (way.of(Plan).hash, way.of(Conversion).vmdk_sha256)
    return "" if same else "what was handed over is of another plan or disk"


_FLAWS: dict[type[Artefact], Callable[[_Way], str]] = {
    Survey: _survey,
    Plan: _plan,
    Prepared: _prepared,
    Conversion: _conversion,
    Rehearsal: _rehearsal,
    Deployment: _deployment,
}
