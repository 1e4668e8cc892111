"""85: why a guest slows its network down, what is done about it, and the proof; and the way back from that."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hikkoshi.approval.plan import Plan
from hikkoshi.approval.subject import Subject
from hikkoshi.check import Check, Permission
from hikkoshi.network.remedy.treatment import Treatment
from hikkoshi.progress import Progress, silent
from hikkoshi.run import service
from hikkoshi.run.run import Run
from hikkoshi.run.step import OFFLOADS
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere.cutover import InService

if TYPE_CHECKING:
    from hikkoshi.figures.exhibits import Exhibit


class Offloads(Runbook):
    """85 · Offloads. Whatever changes the guest asks in the same moment whether it serves from the machine in vSphere."""

    step = OFFLOADS

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._treatment = Treatment(run.home, run.guest, run.id, InService.since_of(run.folder))

    def checks(self) -> list[Check]:
        """The plan is approved, the guest serves in vSphere, and what diagnosis and proof need is there."""
        return [*self.checks_of_change(), *self._treatment.checks()]

    def checks_of_change(self) -> list[Check]:
        """What any change needs that is to do with this guest: an approved plan, and the guest in service in vSphere."""
        return [*self.run.permission(), *self._serves()]

    def diagnosed(self) -> Check:
        """Whether the guest as it serves now was diagnosed."""
        return self._treatment.diagnosed()

    def diagnose(self, progress: Progress = silent) -> None:
        """Look at every counter, put a load on for some seconds, look again, and name the cause."""
        self._treatment.diagnose(progress)

    def findings(self) -> "tuple[Exhibit, ...]":
        """The cause, and every rule that fits."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        return exhibits.diagnosis(self._treatment.found())

    def counters(self) -> "tuple[Exhibit, ...]":
        """The counts that should be equal where merged frames are lost."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        return exhibits.counters(self._treatment.counts())

    def remedy(self) -> list[dict[str, str]] | None:
        """What will be changed in the guest, and how it will survive the next start; None where it is still to be diagnosed."""
        if self.run.guest.measurement and self._treatment.found() is None:
            return None
        return self._treatment.plan().rows()

    def complete(self) -> Check:
        """Whether the remedy is in place, asked of the guest."""
        return self._treatment.remedied()

    def start(self, progress: Progress = silent) -> None:
        """Apply the remedy, and read it back."""
        self.apply(self.run.permit(), self._serves())

    def effects(self) -> list[Check]:
        """Whether the remedy works now, or only after the guest was started again."""
        return [self._treatment.in_effect()]

    def measured_again(self) -> Check:
        """Whether the paths were measured again since, where there was anything to cure."""
        return self._treatment.measured_again()

    def measure_again(self, progress: Progress = silent) -> None:
        """Measure both paths again, which takes the place of what 80 measured."""
        self._treatment.measure_again(progress)

    def before_and_after(self) -> "tuple[Exhibit, ...]":
        """Every run before the remedy beside every one after it."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        return exhibits.cured(self._treatment.found())

    def proofs(self) -> list[Check]:
        """The remedy in place, and the path through the guest proved to be as fast as 90 % of the direct one."""
        return self._treatment.proofs()

    def evidence(self) -> list[Path]:
        """Diagnosis, what there was before the remedy, every output of this run, and the approval that counts."""
        folder = self.run.folder
        outputs = sorted((folder.measured / self.run.id).glob("*.txt"))
        return [folder.offloads, folder.remedy, folder.throughput, *outputs, *self.run.approvals()]

    def undone(self) -> Check:
        """Whether no remedy is on record as carried out."""
        return self._treatment.undone()

    def take_back(self, progress: Progress = silent) -> None:
        """Put back what there was before the remedy."""
        self.undo(self.run.permit(), self._serves())

    def evidence_of_undo(self) -> list[Path]:
        """The diagnosis, where remedy.json is now, and the approval that counts."""
        return [self.run.folder.offloads, self._treatment.aside, *self.run.approvals()]

    def apply(self, permission: Permission, serves: Sequence[Check]) -> None:
        """Apply the remedy in the guest that was approved; `serves` is what was seen of it in this moment."""
        self._covered(permission)
        self._treatment.apply(permission, serves)

    def undo(self, permission: Permission, serves: Sequence[Check]) -> None:
        """Put back what there was before, by the same rule."""
        self._covered(permission)
        self._treatment.undo(permission, serves)

    def _covered(self, permission: Permission) -> None:
        plan = Plan.find(self.run.folder)
        now = Subject.now(self.run.home, self.run.guest.name, plan) if plan else Subject("", "", "")
        permission.covers(OFFLOADS.id, plan=now.plan, vmdk=now.vmdk or "", machine=now.machine or "")

    def _serves(self) -> list[Check]:
        return service.checks(self.run.home, self.run.site, self.run.guest, self.run.id)
