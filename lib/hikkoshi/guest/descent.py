"""Whether what stands in vSphere descends from the source as it is now: from the bytes that were surveyed, and from no others.

A file tells by the time of its last change whether somebody has written to it. A block device, such as an LVM volume, has no
such time. Its samples and the kernel's count of writes may show that it was written to; only reading all of it shows that it
was not. That is done when the source is off, before the machine in vSphere is switched on: the outage lasts longer by it.
"""

import time
from dataclasses import dataclass, replace

from hikkoshi.check import Check
from hikkoshi.disk import digest
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Origin, Writes, contents
from hikkoshi.errors import Refused
from hikkoshi.guest import prepared, traces
from hikkoshi.guest.prepared import PreparationPlan, Prepared
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import PLAN, PREPARE, ROLLBACK
from hikkoshi.translation import Gettext
from hikkoshi.xen.wire import proving

TITLE = "the source is the one that was copied"


@dataclass(frozen=True)
class _Reading:
    """What came out when all of the source was read: its content digest, or how a Dom-0 over ssh has seen that it is another."""

    content: str
    differs: str
    seconds: float
    writes: Writes | None  # counted before

    def __str__(self) -> str:
        return self.differs or f"content digest {self.content}"


class Descent:
    """The descent of one guest's disk; `folder` is the guest's, `reading` how many seconds the survey read the source.

    What was read is known to this object alone: another run reads it again.
    """

    def __init__(self, folder: GuestFolder, plan: PreparationPlan | None, source: Origin, reading: float = 0) -> None:
        self._folder = folder
        self._plan, self._source, self._reading = plan, source, reading
        self._read: _Reading | None = None

    def checks(self) -> list[Check]:
        """What can be seen in a moment: each result is of the one before, and the source shows no sign of a change."""
        return [chain(self._folder, self._plan), self._signs()]

    def proved(self, in_service: Check | bool = False) -> Check:
        """Whether the source is the one that was copied: for a device, that all of it was read again.

        Not needed where the machine in vSphere is `in_service` already: then it was proved before that.
        """
        signs = self._signs()
        if not signs or not traces.device(self._source):
            return replace(signs, code="source-as-copied", title=TITLE)
        if in_service:
            return Check(
                code="source-as-copied", title=TITLE, ok=True, found="in service in vSphere already", unseen="not needed"
            )
        assert self._plan is not None  # else there is no copy of it
        surveyed = self._plan.source_digest
        if self._read is None or self._source.written_since(self._read.writes):
            return replace(
                signs, code="source-as-copied", title=TITLE, ok=False, unseen="", expected=f"all of it, content digest {surveyed}"
            )
        return Check(
            code="source-as-copied",
            title=TITLE,
            ok=self._read.content == surveyed,
            found=f"all of it was {self._how} again in {self._read.seconds:.0f} s, {self._read}",
            expected=f"content digest {surveyed}, of survey and plan",
            remedy=f"the machine in vSphere would be an older one: start the source again ({ROLLBACK}), agree on "
            "another time; then, "
            f"with the source off, {prepared.anew(self._folder.name)}",
            where=str(self._source),
        )

    def read(self, progress: Progress = silent) -> None:
        """Read all of a device, or have a Dom-0 over ssh hash it.

        `Refused` where signs alone tell that it is another one, `BadInput` where somebody uses it.
        """
        if not (signs := self._signs()):
            raise Refused(signs.problem())
        began, writes = time.monotonic(), self._source.writes()
        if proving.over_ssh(self._source):
            assert self._plan is not None  # else the signs are bad
            differs = proving.hashed(self._source, progress)
            content = "" if differs else self._plan.source_digest  # that of what is here, and the same
        else:
            differs, content = "", digest.together([disk.digest for disk in contents(self._source, progress)])
        self._read = _Reading(content, differs, time.monotonic() - began, writes)

    @property
    def _how(self) -> str:
        return "hashed on the Dom-0" if proving.over_ssh(self._source) else "read"

    def free(self, off: Check) -> Check:
        """The first of the two that is not so, else that it is off: with these the machine in vSphere may be switched on."""
        return off if not off or (proved := self.proved()) else proved

    def _signs(self) -> Check:
        signs = replace(prepared.complete(self._folder, self._plan, self._source), later=True)
        if not signs or not traces.device(self._source):
            return signs
        found = f"{traces.sampled(self._source)}; {duration(0 if proving.over_ssh(self._source) else self._reading)}"
        return replace(signs, code="source-as-copied", title=TITLE, found=found, unseen="not seen")


def duration(reading: float, _: Gettext = str) -> str:
    """What is told beforehand of how long reading a device takes, by the seconds that the survey took for it."""
    if not reading:
        return _("all of it is read again while the source is off; how long that takes is not known")
    words = _("all of it is read again while the source is off: about {seconds} s, as in the survey")
    return words.format(seconds=f"{reading:.0f}")


def chain(folder: GuestFolder, plan: PreparationPlan | None) -> Check:
    """Whether the VMDK is of the copy, and the copy of the source, that survey and plan are of; by what each step wrote down."""
    surveyed = plan.source_digest if plan else ""
    made, vmdk = Prepared.find(folder), Conversion.find(folder)
    problems = (
        ("there is no plan", not surveyed),
        ("there is no prepared copy", made is None),
        ("the copy does not say of which source it is", made is not None and not made.source_digest),
        ("the copy is of another source", made is not None and made.source_digest != surveyed),
        ("there is no VMDK", vmdk is None),
        ("the VMDK is of another copy", made is not None and vmdk is not None and not prepared.same(vmdk, made)),
    )
    problem = next((words for words, bad in problems if bad), "")
    return Check(
        code="vmdk-of-survey",
        title="the VMDK is of the source that was surveyed",
        ok=not problem,
        found=problem or f"content digest {surveyed}",
        expected=f"content digest {surveyed}, of survey and plan",
        remedy=f"run {PLAN}, then {PREPARE} and all that follows again",
        where=str(folder),
        later=True,
    )
