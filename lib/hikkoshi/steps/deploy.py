"""60: the machine in vSphere, imported with every NIC unplugged, and read back; or handed over to a contractor."""

from dataclasses import replace
from pathlib import Path

from hikkoshi.approval import proposal
from hikkoshi.approval.plan import Plan, nic_table
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest import descent
from hikkoshi.guest.prepared import Prepared
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import rehearsal
from hikkoshi.report import handover as files_for_contractor
from hikkoshi.report.language import spoken
from hikkoshi.run import duration
from hikkoshi.run.run import Run
from hikkoshi.run.step import DEPLOY
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere import deployment, handover, session, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.preflight import elsewhere, naming, ports
from hikkoshi.xen import dom0


class Deploy(Runbook):
    """60 · Deploy into vSphere. Made from the run, it logs in to vSphere; to a contractor's it only hands the machine over."""

    step = DEPLOY

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._to: _Import | _HandingOver = _HandingOver(run) if run.site.vsphere.handover else _Import(run)

    def checks(self) -> list[Check]:
        """The VMDK is of the source that was surveyed, this very disk was rehearsed, and vSphere can take the machine."""
        return [*self._to.checks(), *elsewhere.checks(self.run.home, self.run.site, self.run.guest)]

    def earlier_removed(self) -> Check:
        """Whether no machine of an earlier plan or disk is left in vSphere."""
        return self._to.earlier_removed()

    def remove_earlier(self, progress: Progress = silent) -> None:
        """Remove what was imported for an earlier plan or disk and never started; `Refused` for anything else."""
        self._to.remove_earlier(progress)

    def complete(self) -> Check:
        """Whether the machine of this very plan and disk stands there, and the result is of it; or was handed over."""
        return self._to.complete()

    def start(self, progress: Progress = silent) -> None:
        """Import the machine with its NICs unplugged, compare what arrived, read everything back, mark it complete."""
        self._to.start(progress)

    def nics(self) -> list[dict[str, str]]:
        """Where every NIC ended up, as vSphere itself tells it."""
        return self._to.nics()

    def proofs(self) -> list[Check]:
        """Everything that was ordered, asked of vSphere once more, and that no NIC is plugged in."""
        return self._to.proofs()

    def evidence(self) -> list[Path]:
        """What was made, sent and read back. vSphere is not asked any more."""
        return self._to.evidence()

    def page_to_approve(self) -> str:
        """What a second person reads and signs, in the site's language."""
        run = self.run
        plan = Plan.find(run.folder)
        took = duration.seconds(run.journal.entries())
        return proposal.page(run.home, run.guest.name, plan, took, *spoken(run.site.lang))


class _Import:
    """An import by us."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._server, self._place = session.connect(run.home, run.site.vsphere), run.site.vsphere
        self._plan = Plan.find(run.folder)
        owner = vm.owner(run.home, run.id, run.folder.lock)
        self._order = Order.of(owner, run.guest.name, self._plan, Conversion.find(run.folder), run.folder)

    def checks(self) -> list[Check]:
        rehearsed = rehearsal.complete(self.run.folder, self._order.sha256, self._order.plan_hash)
        return [
            descent.chain(self.run.folder, self._plan),
            rehearsed.waiting(),
            *deployment.checks(self._server, self._place, self._order),
            *self._of_guest(),
        ]

    def _of_guest(self) -> list[Check]:
        """What the copy tells of the guest, held against what vSphere has; and whether the source stayed off."""
        run, prepared, spec = self.run, Prepared.find(self.run.folder), self._order.spec
        off = dom0.source_off(run.home, run.site, run.guest)
        told = replace(off, code="source-off-since-copied", title="the source is off since it was copied")
        found = [
            told if off else replace(told, ok=True, unseen="not done", found=f"{off.found}: what it writes is not in the copy")
        ]
        if prepared and spec:
            found += ports.checks(self._server, self._place, spec, prepared.facts)
            found.append(naming.tied(spec.nics, prepared.facts))
        return found

    def earlier_removed(self) -> Check:
        return deployment.no_earlier(self._server, self._order)

    def remove_earlier(self, progress: Progress) -> None:
        deployment.remove_earlier(self._server, self._order, progress)

    def complete(self) -> Check:
        return deployment.recorded(self._server, self._order, self.run.folder)

    def start(self, progress: Progress) -> None:
        deployment.start(self._server, self._place, self._order, self.run.folder, progress)

    def nics(self) -> list[dict[str, str]]:
        return [c.row(plugged=False) for c in deployment.nic_places(self._server, self._place, self._order)]

    def proofs(self) -> list[Check]:
        return [*deployment.read_back(self._server, self._place, self._order), deployment.unplugged(self._server, self._order)]

    def evidence(self) -> list[Path]:
        self._server.close()
        return [self.run.folder.deployment]


class _HandingOver:
    """A contractor imports the machine: it gets the files, and a sheet that says what to do, and what to confirm."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def checks(self) -> list[Check]:
        run = self.run
        plan = Plan.find(run.folder)
        asked = handover.unasked(plan.vm) if plan else ()
        return [*files_for_contractor.checks(run.home, run.guest.name, run.home.handovers), *asked]

    def earlier_removed(self) -> Check:
        return Check(
            code="no-earlier-machine",
            title="no machine of an earlier plan or disk is left",
            ok=True,
            found=f"{handover.NOT_ASKED}; ask them to remove what they have imported before",
            unseen="not seen",
        )

    def remove_earlier(self, progress: Progress) -> None:
        """Nothing: none is seen from here."""

    def complete(self) -> Check:
        folder, plan = self.run.folder, Plan.find(self.run.folder)
        disk = Conversion.find(folder)
        return handover.recorded(folder, self.run.guest.name, plan.hash if plan else "", disk.vmdk_sha256 if disk else "")

    def start(self, progress: Progress) -> None:
        files_for_contractor.make(self.run.home, self.run.guest.name, progress=progress)

    def nics(self) -> list[dict[str, str]]:
        plan = Plan.find(self.run.folder)
        return [{**row, "now": handover.NOT_ASKED} for row in nic_table(plan.vm.nics)] if plan else []

    def proofs(self) -> list[Check]:
        return [self.complete(), files_for_contractor.as_written(self.run.home, self.run.guest.name)]

    def evidence(self) -> list[Path]:
        return [self.run.folder.handover, self.run.folder.handover_sheet]
