"""70: the source goes off, the machine in vSphere goes on, and what users notice of that is measured.

Both have the same MACs and addresses: the one is off before the other goes on, seen in the same moment.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check, Permission
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput, VSphereError
from hikkoshi.guest import survey
from hikkoshi.guest.additions.addition import Additions
from hikkoshi.guest.descent import Descent
from hikkoshi.guest.survey import Survey
from hikkoshi.network import arrival, host
from hikkoshi.network.host import unmeasured
from hikkoshi.network.outage import observation
from hikkoshi.network.outage.observation import Observation
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import rehearsal
from hikkoshi.run import decision
from hikkoshi.run.contractor import ContractorsMachine
from hikkoshi.run.run import Run
from hikkoshi.run.step import CUTOVER, ROLLBACK
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere import cutover, deployment, session, vm
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.preflight import elsewhere
from hikkoshi.xen import autostart, dom0
from hikkoshi.xen.reach.kinds import one_look

if TYPE_CHECKING:
    from hikkoshi.figures.exhibits import Exhibit


class CutOver(Runbook):
    """70 · Cut-over. Made, it is logged in to vSphere, and acts as this site folder, by its identity.

    Not to a contractor's: there a person calls them, and this waits for the guest.
    """

    step = CUTOVER

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._machine: _OurMachine | ContractorsMachine = (
            ContractorsMachine(*self._where, self._plan) if run.site.vsphere.handover else _OurMachine(run, self._plan)
        )

    @one_look()
    def checks(self) -> list[Check]:
        """The plan is approved, the source is what was copied and starts nowhere, the machine is there and was rehearsed."""
        run, disk = self.run, Conversion.find(self.run.folder)
        hashes = disk.vmdk_sha256 if disk else "", self._plan.hash if self._plan else ""
        return [
            *run.permission(),
            *self._descent.checks(),
            *autostart.checks(*self._where),
            *self._machine.checks(),
            rehearsal.complete(run.folder, *hashes).waiting(),
            *rehearsal.checks(rehearsal.Rehearsal.find(run.folder), self._plan.machine if self._plan else None),
        ]

    def checks_of_measurement(self) -> list[Check]:
        """What has to be there to measure the outage; where the parameters have no `measurement`, that says so."""
        return self._observation.checks()

    def pinging(self) -> Check:
        """Whether every segment is pinged now."""
        return self._observation.pinging()

    def ping(self, progress: Progress = silent) -> None:
        """Begin to ping every segment, until `record_outage`."""
        self._observation.ping()

    def autostart_aside(self) -> Check:
        """Whether no Dom-0 starts the source by itself any more."""
        return autostart.check(*self._where)

    def move_autostart(self, progress: Progress = silent) -> None:
        """Move aside what starts the source, where that can be done from here."""
        autostart.move_aside(*self._where, self.run.permit())

    def ready(self) -> list[Check]:
        """Everything that the source's shutdown relies on, in vSphere and on the Dom-0, asked now."""
        return [*self._machine.ready(), *elsewhere.checks(*self._where), dom0.others(*self._where)]

    def source_off(self) -> Check:
        """Whether the source is off, as far as can be seen from here."""
        return dom0.source_off(*self._where)

    def shut_down_source(self, progress: Progress = silent) -> None:
        """Shut the source down, five minutes at most. It cannot be called back."""
        dom0.shut_down(*self._where, self.run.permit())

    def source_as_copied(self) -> Check:
        """Whether the source, now that it is off, is the one that was copied: for a device, that all of it was read again."""
        return self._descent.proved(self.complete())

    def read_source(self, progress: Progress = silent) -> None:
        """Read all of a source that is a device."""
        self._descent.read(progress)

    def complete(self) -> Check:
        """Whether the machine in vSphere is in service, and on record so."""
        with self._way_back_told():
            return self._machine.complete()

    def start(self, progress: Progress = silent) -> None:
        """Plug in every NIC, then switch the machine on; the source is looked at once more before each of the two.

        Where a contractor does that, wait for the guest's first answer, half an hour at most.
        """
        permission = self.run.permit()

        def source() -> Check:
            return self._descent.free(self.source_off())

        if isinstance(self._machine, ContractorsMachine):
            self._machine.start(self.run.permit, self.run.give_way, source(), progress)
        else:
            with self._way_back_told():
                self._machine.start(permission, source, progress)

    def nics(self) -> "tuple[Exhibit, ...]":
        """Every NIC from its bridge under Xen to where vSphere has it now, drawn and as a table."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load
        from hikkoshi.figures.wires import Wire  # noqa: PLC0415 - the same

        found, (there, rows) = Survey.find(self.run.folder), self._machine.nics()
        bridges = {vif.mac.lower(): vif.bridge for vif in found.xen.vifs} if found else {}
        drawn = [
            Wire.of(nic, bridges.get(nic.mac.lower(), ""), there[nic.mac][0], wrong=there[nic.mac][1])
            for nic in (self._plan.vm.nics if self._plan else ())
        ]
        return (*exhibits.wires(drawn), exhibits.Exhibit("NICs, planned and found", rows=rows))

    def outage_recorded(self) -> Check:
        """Whether the outage of this cut-over is on record."""
        return self._observation.outage_recorded()

    def record_outage(self, progress: Progress = silent) -> None:
        """Wait until every segment answers that did before, ten minutes at most, and write down what was lost."""
        self._observation.record_outage(progress)

    def outages(self) -> "tuple[Exhibit, ...]":
        """Every segment on one line of time, and each outage in a table."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        return exhibits.outage(self._observation.outage())

    def wiring_seen(self) -> Check:
        """Whether the wiring was looked at from inside the guest, whatever was seen."""
        return self._observation.wiring_seen()

    def look_at_wiring(self, progress: Progress = silent) -> None:
        """Wait for the guest's shell, ten minutes at most, and find each NIC's segment."""
        self._observation.look_at_wiring(progress)

    def wiring(self) -> "tuple[Exhibit, ...]":
        """On which segment each NIC was seen: against the plan, and by who was heard under Xen."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        planned, before = self._observation.wiring(), self._observation.fingerprint()
        return exhibits.witness(planned, "against the plan") + exhibits.witness(before, "against who was heard under Xen")

    def first_start_seen(self) -> Check:
        """Whether it is on record what became of all that runs at the guest's first start."""
        return arrival.seen(*self._arrived)

    def look_at_first_start(self, progress: Progress = silent) -> None:
        """Wait for the guest's shell, ten minutes at most, and until all has run, half an hour at most."""
        folder, _, since, _ = self._arrived
        if (shell := self._shell) is not None:
            observation.answering(shell, progress, observation.PATIENCE)
            arrival.look(shell, folder, since, progress)

    def first_start(self) -> list[dict[str, str]]:
        """Each script of the first start, and the end of its log."""
        folder, _, since, _ = self._arrived
        return arrival.rows(folder, since)

    def tools_installed(self) -> Check:
        """Whether VMware Tools are in the guest, where the plan has it install them itself."""
        _, added, _, why_not = self._arrived
        shell = self._shell if added.repository and self.complete() else None
        return arrival.tools(shell, added if added.repository else Additions(), why_not)

    def install_tools(self, progress: Progress = silent) -> None:
        """Have the guest install VMware Tools from its own repositories, half an hour at most."""
        shell, wanted = self._shell, self.run.guest.measurement
        if shell is not None and wanted is not None:
            serves = [self.source_off(), self.complete()]
            arrival.install(shell, self._arrived[1], self.run.permit(), serves, wanted.shell)

    def decision(self) -> list[dict[str, str]]:
        """Keep the machine in service, or go back: what to do for either, and until when there is time."""
        return decision.of(self.run.guest, self.run.journal.entries()).rows()

    @one_look()
    def proofs(self) -> list[Check]:
        """The source off, the machine in service, each NIC in its place, each segment answering, the first start well ended."""
        served = self.complete()
        moved = [self.source_off(), served, *self._machine.wiring()]
        _, added, _, why_not = self._arrived
        there = arrival.tools(self._shell if served else None, added, why_not)
        arrived = [*arrival.proofs(*self._arrived), there]
        return [*(c.waiting(not served) for c in moved), autostart.check(*self._where), *self._observation.proofs(), *arrived]

    def evidence(self) -> list[Path]:
        """What was found, every probe of this run, and the approval that counts. Logs out."""
        if isinstance(self._machine, _OurMachine):
            self._machine.close()
        folder = self.run.folder
        return [folder.cutover, folder.wiring, folder.outage, folder.arrival, self._observation.file, *self.run.approvals()]

    @contextlib.contextmanager
    def _way_back_told(self) -> Iterator[None]:
        """Where vSphere fails, and nothing says that the machine serves or the source runs: the way back is told, too."""
        try:
            yield
        except VSphereError as e:
            if self.run.folder.cutover.exists() or not self.source_off():
                raise
            back = f"Look whether the machine serves: if it does not, and users cannot wait, {ROLLBACK} starts the source again"
            raise VSphereError(*(replace(p, remedy=f"{p.remedy}. {back}") for p in e.problems)) from e.__cause__

    @cached_property
    def _plan(self) -> Plan | None:
        return Plan.find(self.run.folder)

    @cached_property
    def _descent(self) -> Descent:
        run = self.run
        source = survey.origin_of(*self._where)
        return Descent(run.folder, self._plan, source, survey.reading_seconds(run.folder))

    @cached_property
    def _observation(self) -> Observation:
        run, plan = self.run, self._plan
        segments, addresses = (plan.segments, plan.addresses) if plan else ({}, {})
        return Observation(*self._where, run.id, segments=segments, addresses=addresses)

    @property
    def _arrived(self) -> tuple[GuestFolder, Additions, str, str]:
        """What `hikkoshi.network.arrival` asks for."""
        added = self._plan.preparation.additions if self._plan else Additions()
        try:
            since = InService.since_of(self.run.folder)
        except BadInput:
            since = ""
        return self.run.folder, added, since, unmeasured(self.run.guest)

    @property
    def _shell(self) -> host.Host | None:
        """The guest's own shell; None where its parameters name none that can be asked."""
        wanted = self.run.guest.measurement
        return None if wanted is None or unmeasured(self.run.guest) else host.parse(wanted.shell, self.run.home.root)

    @property
    def _where(self) -> tuple[Home, Site, Guest]:
        return self.run.home, self.run.site, self.run.guest


class _OurMachine:
    """The machine in a vSphere that we are logged in to."""

    def __init__(self, run: Run, plan: Plan | None) -> None:
        self._v, self._site, self._folder = session.connect(run.home, run.site.vsphere), run.site.vsphere, run.folder
        owner = vm.owner(run.home, run.id, run.folder.lock)
        self._order = Order.of(owner, run.guest.name, plan, Conversion.find(run.folder), run.folder)

    def checks(self) -> list[Check]:
        v, order = self._v, self._order
        return [*cutover.checks(v, order, self._folder), *deployment.read_back(v, self._site, order)]

    def ready(self) -> list[Check]:
        return cutover.ready(self._v, self._site, self._order)

    def complete(self) -> Check:
        return cutover.complete(self._v, self._order, self._folder)

    def start(self, permission: Permission, source: Callable[[], Check], progress: Progress) -> None:
        cutover.start(self._v, self._site, self._order, permission, source=source, folder=self._folder, progress=progress)

    def nics(self) -> tuple[dict[str, tuple[str, bool]], list[dict[str, str]]]:
        there = deployment.nic_places(self._v, self._site, self._order)
        return {c.nic.mac: (c.found, c.misplaced) for c in there}, [c.row(plugged=True) for c in there]

    def wiring(self) -> list[Check]:
        return cutover.wiring(self._v, self._site, self._order)

    def close(self) -> None:
        self._v.close()
