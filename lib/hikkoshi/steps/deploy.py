"""60: the machine in vSphere, imported with every NIC unplugged, and read back."""

from pathlib import Path

from hikkoshi.approval import proposal
from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest import descent
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import rehearsal
from hikkoshi.run import duration
from hikkoshi.run.run import Run
from hikkoshi.run.step import DEPLOY
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere import deployment, session, vm
from hikkoshi.vsphere.order import Order


class Deploy(Runbook):
    """60 · Deploy into vSphere. Made from the run, it logs in to vSphere."""

    step = DEPLOY

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._server, self._place = session.connect(run.home, run.site.vsphere), run.site.vsphere
        self._plan = Plan.find(run.folder)
        owner = vm.owner(run.home, run.id, run.folder.lock)
        self._order = Order.of(owner, run.guest.name, self._plan, Conversion.find(run.folder), run.folder)

    def checks(self) -> list[Check]:
        """The VMDK is of the source that was surveyed, this very disk was rehearsed, and vSphere can take the machine."""
        rehearsed = rehearsal.complete(self.run.folder, self._order.sha256, self._order.plan_hash)
        return [
            descent.chain(self.run.folder, self._plan),
            rehearsed.waiting(),
            *deployment.checks(self._server, self._place, self._order),
        ]

    def earlier_removed(self) -> Check:
        """Whether no machine of an earlier plan or disk is left in vSphere."""
        return deployment.no_earlier(self._server, self._order)

    def remove_earlier(self, progress: Progress = silent) -> None:
        """Remove what was imported for an earlier plan or disk and never started; `Refused` for anything else."""
        deployment.remove_earlier(self._server, self._order, progress)

    def complete(self) -> Check:
        """Whether the machine of this very plan and disk stands there, and deployment.json is of it."""
        return deployment.recorded(self._server, self._order, self.run.folder)

    def start(self, progress: Progress = silent) -> None:
        """Import the machine with its NICs unplugged, compare what arrived, read everything back, mark it complete."""
        deployment.start(self._server, self._place, self._order, self.run.folder, progress)

    def nics(self) -> list[dict[str, str]]:
        """Where every NIC ended up, as vSphere itself tells it."""
        return deployment.nic_table(self._server, self._place, self._order)

    def proofs(self) -> list[Check]:
        """Everything that was ordered, asked of vSphere once more, and that no NIC is plugged in."""
        return [*deployment.read_back(self._server, self._place, self._order), deployment.unplugged(self._server, self._order)]

    def evidence(self) -> list[Path]:
        """What was made, sent and read back. vSphere is not asked any more."""
        self._server.close()
        return [self.run.folder.deployment]

    def page_to_approve(self) -> str:
        """What a second person reads and signs."""
        return proposal.page(self.run.home, self.run.guest.name, self._plan, duration.seconds(self.run.journal.entries()))
