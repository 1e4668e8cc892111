"""What is observed of a guest's network while it is put into service: every segment's outage, and every NIC's segment.

Where the guest's parameters have no `measurement`, nothing is observed, and each check says so.
"""

from collections.abc import Mapping
from typing import ClassVar

from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Problem
from hikkoshi.network import host, metering, witness
from hikkoshi.network.fingerprint import Fingerprint
from hikkoshi.network.outage import Outages
from hikkoshi.network.wiring import Witness, together
from hikkoshi.params import Guest, Home, Measurement, Site
from hikkoshi.plan import Plan
from hikkoshi.progress import Progress, silent
from hikkoshi.throughput import LISTEN, unmeasured


class Wiring(Artefact):
    """wiring.json: on which segment each NIC of the guest was seen from inside, since it was put into service."""

    filename: ClassVar[str] = "wiring.json"
    made_by: ClassVar[str] = "70-cutover"
    run: str  # that looked
    witness: Witness
    fingerprint: Witness | None = None  # by who was heard on each NIC under Xen, where 80-netperf had listened then


class Observation:
    """What one run of the cut-over observes of the guest's network; `run` is its id."""

    def __init__(self, home: Home, site: Site, guest: Guest, plan: Plan | None, run: str) -> None:
        self._home, self._site, self._guest, self._plan, self._run = home, site, guest, plan, run
        self._folder = home.folder(guest.name)
        self._why_not = unmeasured(guest)
        self._meter = None
        if (wanted := self._wanted) and plan:
            file = self._folder / "outages" / f"{run}.jsonl"
            self._meter = metering.Meter(targets(plan), file, host.parse(wanted.watch, home.root))

    def checks(self) -> list[Check]:
        """What has to be there before anything is taken out of service."""
        wanted = self._wanted
        if wanted is None:
            return [self._nothing("the outage and the wiring are measured")]
        return [metering.permitted(), *_reached("the machine that watches the segments", wanted.watch, self._home),
                *_reached("the guest's shell", wanted.shell, self._home)]  # fmt: skip

    def measuring(self) -> Check:
        """Whether the outage meter measures now; without it, it never does, and that is no fault."""
        title = "every segment is pinged"
        if self._meter is None:
            return self._nothing(title)
        return self._meter.running()

    def measure(self) -> None:
        """Begin to ping the guest's address on every segment; ends with `record`, or with the notebook's kernel."""
        if self._meter:
            self._meter.start()

    def recorded(self) -> Check:
        """Whether outage.json tells of this run's measurement."""
        return self._meter.recorded(self._folder) if self._meter else self._nothing("the outage is on record")

    def record(self) -> None:
        """End the measurement and write outage.json."""
        if self._meter:
            self._meter.record(self._folder)

    def outage(self) -> Outages | None:
        """What this run's measurement found; None where there is none."""
        found = Outages.find(self._folder)
        return found if found and self._meter and found.file == self._meter.file.name else None

    def seen(self) -> Check:
        """Whether wiring.json tells what this run saw, whatever it was."""
        title = "the wiring was looked at from inside the guest"
        if self._why_not:
            return self._nothing(title)
        found = self.wiring()
        told = f"{sum(n.verdict == 'ok' for n in found.nics)} of {len(found.nics)} NICs proved" if found else "not yet"
        return Check(title, found is not None, told, "a verdict on every NIC", "run 70-cutover in apply", later=True)

    def look(self, progress: Progress = silent) -> None:
        """Listen on every NIC of the guest, at most 20 s; where that does not prove all of them, ask too.

        Where it was heard under Xen who speaks on which NIC, listen for the same 20 s more. Writes wiring.json.
        """
        wanted, plan = self._wanted, self._plan
        if wanted is None or plan is None:
            return
        shell, planned = host.parse(wanted.shell, self._home.root), {n.name: n.segment for n in plan.vm.nics}
        found = witness.watch(shell, planned, self._site.segments, progress=progress)
        if not found.ok and all(self._site.segments[s].answers for s in planned.values()):
            found = together(found, witness.probe(shell, planned, self._site.segments))
        before, same = Fingerprint.find(self._folder), None
        if before:
            same = before.compare(witness.fingerprint(shell, list(before.nics), seconds=LISTEN, progress=progress))
        Wiring(run=self._run, witness=found, fingerprint=same).save(self._folder)

    def wiring(self) -> Witness | None:
        """What this run saw from inside the guest; None where it did not look."""
        found = self._found()
        return found.witness if found else None

    def fingerprint(self) -> Witness | None:
        """The same by who was heard on each NIC under Xen; None where nobody had listened then."""
        found = self._found()
        return found.fingerprint if found else None

    def _found(self) -> Wiring | None:
        try:
            found = Wiring.find(self._folder)
        except BadInput:  # damaged: looked at anew
            return None
        return found if found and found.run == self._run else None

    def proved(self) -> list[Check]:
        """Every NIC on its segment, as seen from inside; every segment in service that was before. None where not measured."""
        seen, found = self.wiring(), self.outage()
        outage = found.checks() if found else []
        never = {s.name for s in found.segments if s.at_the_end == "never answered"} if found else set()
        # a segment that did not answer before either tells nothing of the cut-over; the table has it
        return [*(seen.checks() if seen else []), *(c for c in outage if c.title.removesuffix(" answers") not in never)]

    @property
    def _wanted(self) -> Measurement | None:
        return None if self._why_not else self._guest.measurement

    def _nothing(self, title: str) -> Check:
        return Check(title, True, f"not measured: {self._why_not}")


def targets(plan: Plan) -> dict[str, str]:
    """{segment: the guest's address there}, of the NICs that have one."""
    segments = {n.name: n.segment for n in plan.vm.nics}
    found: Mapping[str, str] = {segments[n.name]: n.address.partition("/")[0] for n in plan.machine.nics if n.address}
    return dict(found)


def _reached(title: str, address: str, home: Home) -> list[Check]:
    try:
        host.parse(address, home.root).run(["true"], timeout=30)
    except Exception as e:
        problem: Problem = getattr(e, "problems", (Problem(str(e)),))[0]
        return [
            Check(f"{title} can be reached", False, problem.found or problem.what, "a shell", problem.remedy, address)
        ]
    return [Check(f"{title} can be reached", True, address)]
