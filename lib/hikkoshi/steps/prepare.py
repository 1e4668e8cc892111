"""30: a copy of the guest's disk that can start on VMware. The source is only read."""

from pathlib import Path

from hikkoshi import tool
from hikkoshi.approval import plan
from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.guest import preparation, prepared, survey
from hikkoshi.guest.additions import addition
from hikkoshi.guest.preparation import Preparation
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import accelerator
from hikkoshi.run.run import Run
from hikkoshi.run.step import PREPARE
from hikkoshi.steps.runbook import Runbook
from hikkoshi.xen import dom0


class Prepare(Runbook):
    """30 · Prepare a copy."""

    step = PREPARE

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._plan, self._survey = Plan.load(run.folder), Survey.load(run.folder)

    def checks(self) -> list[Check]:
        """The guest is off, its disk is the one that was surveyed and planned, and there is room for the copy."""
        return [
            dom0.source_off(self.run.home, self.run.site, self.run.guest).waiting(),
            survey.unchanged(self._survey),
            plan.of_survey(self._plan, self._survey),
            *addition.as_planned(self.run.home.root, self._plan.preparation.additions),
            *prepared.checks(self._plan.source, self.run.folder),
        ]

    def kernel_and_files(self) -> list[dict[str, str]]:
        """Kernel, drivers and files: what is planned, and why."""
        return rows(self._plan.preparation)

    def changes(self) -> list[tuple[str, str]]:
        """`(path, unified diff)` of every file that changes."""
        return preparation.diffs(self._plan.preparation, self._survey.guest)

    def complete(self) -> Check:
        """Whether the copy is the result of exactly this preparation of exactly this source, as it still is."""
        return prepared.complete(self.run.folder, self._plan, self._plan.source)

    def start(self, progress: Progress = silent) -> None:
        """Copy, change, read everything again, and only then give the copy its name."""
        planned = self._plan
        runs_on = accelerator.probe().name
        names = (self._survey.guest.disk_names, *self._survey.guest.further_disks)
        prepared.start(
            planned.source,
            self.run.folder,
            planned.preparation,
            planned.source_digest,
            progress,
            runs_on,
            names,
            self.run.home.root,
        )

    def modules(self) -> list[dict[str, str]] | None:
        """Each module of the initrd: there before, there after; None before a copy was made."""
        known = Prepared.find(self.run.folder)
        if known is None:
            return None
        before, after = set(known.initrd_modules_before), set(known.initrd_modules_after)
        return [
            {"module": m, "before": "there" if m in before else "–", "after": "there" if m in after else "gone"}
            for m in sorted(before | after)
        ]

    def outputs(self) -> list[dict[str, str]] | None:
        """What was brought into the copy and run there, with the end of what it printed; None before a copy was made."""
        known = Prepared.find(self.run.folder)
        if known is None:
            return None
        return [{"run on the copy": r.name, "exit status": str(r.status), "it printed": tool.tail(r.output)} for r in known.ran]

    def proofs(self) -> list[Check]:
        """Every promise of the preparation, by what was read off the copy afterwards; and that it is still the same copy."""
        return prepared.verify(self.run.folder, self._plan.preparation, len(self._plan.vm.disks))

    def evidence(self) -> list[Path]:
        """What was done, and what the copy was found to be."""
        return [self.run.folder.prepared]


def rows(preparation: Preparation) -> list[dict[str, str]]:
    """Drivers and kernel before and after, and every file, as rows for a reader."""
    p, initrd = preparation, preparation.initrd_modules_before
    again = f"made again with {', '.join(p.modules) or 'nothing added'}" if p.rebuilds else "as it is"
    driven = "already in the initrd" if p.controller_module in initrd else "not in the initrd today"
    found = [
        ("kernel", p.kernel, str(p.kernel_because)),
        (f"controller {p.controller}", p.controller_module, driven),
        (f"NICs {p.nic_model}", p.nic_module, "loaded from the root disk"),
        ("initrd", f"{p.initrd} {again}", f"holds today: {', '.join(initrd) or 'no modules'}"),
        *([("boot loader", p.boot_loader, "there is none on the disk")] if p.boot_loader else []),
        *(("changed", e.path, str(e.why)) for e in p.edits),
        *p.additions.rows(),
        *(("run in the guest", " ".join(c), "") for c in p.commands),
        *(("still Xen's name", line, "look at it") for line in p.leftovers),
        *(("note", "", str(note)) for note in p.notes),
    ]
    return [{"what": what, "planned": planned, "why": why} for what, planned, why in found]
