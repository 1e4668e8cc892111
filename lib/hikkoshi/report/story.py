"""What is known of one guest, gathered for its report: results, runs, approvals, records."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from hikkoshi import files
from hikkoshi.approval import approval, statement
from hikkoshi.approval.approval import Approval
from hikkoshi.approval.plan import Plan
from hikkoshi.approval.statement import Statement
from hikkoshi.approval.subject import Subject
from hikkoshi.artefact import Artefact
from hikkoshi.check import UNSEEN
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput, HikkoshiError, Problem
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.network.arrival import Arrival
from hikkoshi.network.outage.outage import Outages
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.remedy.remedy import Applied
from hikkoshi.network.throughput.measured import Throughput
from hikkoshi.network.wiring.wiring import Wiring
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record import register
from hikkoshi.record.register import Line
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import decisions
from hikkoshi.report.decisions import Lowered, Rewired
from hikkoshi.run.entry import CheckTold, JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.status import LastRun, done, runs
from hikkoshi.run.step import APPROVED, CUTOVER, PLAN, REPORT, STEPS
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.handover import HandOver

SOURCES = (  # everything in the guest's folder that a report is made from
    GuestFolder.survey,
    GuestFolder.plan,
    GuestFolder.prepared,
    GuestFolder.conversion,
    GuestFolder.rehearsal,
    GuestFolder.before_picture,
    GuestFolder.after_picture,
    GuestFolder.deployment,
    GuestFolder.handover,
    GuestFolder.cutover,
    GuestFolder.wiring,
    GuestFolder.outage,
    GuestFolder.arrival,
    GuestFolder.throughput,
    GuestFolder.offloads,
    GuestFolder.remedy,
)
THEIRS = ("in-service", "nic-wired")  # not seen where a contractor runs the vSphere; they tell nothing of the source
A = TypeVar("A", bound=Artefact)
M = TypeVar("M", Wiring, Outages, Arrival, Cure)


@dataclass(frozen=True)
class SourceFile:
    """A file that the report was made from."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Span:
    """A run as a time: when it began and for how many seconds it went on."""

    run: str
    begun: datetime
    seconds: float


@dataclass(frozen=True)
class StepStory:
    """One step: the run to tell of with its checks and record, and what was done in any run; None where it was never run.

    `did` is the run that last carried anything out, which is an earlier one where `run` found that everything was done.
    """

    step: str
    title: str
    run: LastRun | None
    seconds: float
    begun: datetime | None
    did: Span | None
    checks: tuple[CheckTold, ...]
    actions: tuple[JournalEntry, ...]
    record: Path | None
    attempts: int


@dataclass(frozen=True)
class Story:
    """Everything about one guest."""

    guest: str
    site: str
    folder: GuestFolder
    sources: tuple[SourceFile, ...]
    steps: tuple[StepStory, ...]
    done: tuple[str, ...]
    survey: Survey | None
    plan: Plan | None
    prepared: Prepared | None
    conversion: Conversion | None
    rehearsal: Rehearsal | None
    deployment: Deployment | None
    handed: HandOver | None
    cutover: InService | None
    wiring: Wiring | None = None
    outage: Outages | None = None
    arrival: Arrival | None = None
    throughput: Throughput | None = None
    offloads: Cure | None = None
    remedy: Applied | None = None
    treated: bool = False  # whether any remedy was carried out, be it before an earlier move
    approvals: tuple[Approval, ...] = ()  # each as it was worth when it was needed
    present: tuple[Approval, ...] = ()  # each as it is worth now, for the present plan
    subject: Subject = field(
        default_factory=lambda: Subject("")
    )  # what is in force: what the guest was cut over by, else what is there now
    cutover_approved: bool = False  # whether an approval counted when the guest was cut over
    past: tuple[LastRun, ...] = ()  # every run, the report's own apart, the newest last
    begun: frozenset[str] = frozenset()  # runs that came beyond their checks beforehand
    reached: frozenset[str] = frozenset()  # runs that made something so, or found it so
    unseen: frozenset[str] = frozenset()  # runs in which something had to be seen that nobody could see from here
    red: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # {run: codes of what was not so at its verification}
    changed: Mapping[str, str] = field(default_factory=dict)  # {run: what of runbook and software its record calls changed}
    lowered: tuple[Lowered, ...] = ()  # rules that were not kept, and stopped nothing
    given: tuple[Statement, ...] | None = ()  # who approved the plans of these, and counted then; None: not known
    rewired: tuple[Rewired, ...] = ()  # NICs that were put on another segment on a page
    register: tuple[Line, ...] = ()  # the guest's lines of the register of records
    last: LastRun | None = None  # of any step, the report's own apart
    unreadable: tuple[str, ...] = field(default=())

    @property
    def approved(self) -> bool:
        """Whether somebody's approval of the present plan counts now."""
        return any(not a.flaw for a in self.present)

    def superseded(self, given: Approval) -> bool:
        """Whether an approval is of another plan, disk or machine than those in force."""
        said = given.statement
        return said is not None and bool(self.subject.replaced(said.plan, said.vmdk, said.machine))

    @property
    def told(self) -> list[str]:
        """The runs that the report tells of, in the order of the steps, and what was decided beside them."""
        return [*(s.run.id for s in self.steps if s.run), *(r.key for r in self.rewired)]


def gather(home: Home, guest: str) -> Story:
    """Read everything there is about a guest. A result that cannot be read is named, not an error."""
    folder = home.folder(guest)
    entries = Journal(folder.journal).entries()
    past = runs(entries)
    unreadable: list[str] = []

    def typed(kind: type[A]) -> A | None:
        try:
            return kind.find(folder)
        except BadInput as e:
            unreadable.append(f"{kind.filename}: {e.problems[0].found}")
            return None

    cutover, plan, offloads, applied = typed(InService), typed(Plan), typed(Cure), typed(Applied)
    begun = frozenset(e.run for e in entries if e.event in ("start", "step", "verify"))
    needed = [_Need.of(r, entries, plan) for r in past if r.step in APPROVED and r.mode == "apply" and r.id in begun]
    approvals = _Approvals(home, guest, plan)
    lowered = decisions.lowered(entries, [r for r in past if r.real and r.id in begun])
    steps = tuple(_step(s, to_tell(past).get(s), past, entries, folder) for s in STEPS if s != REPORT.id)

    def since(found: M | None) -> M | None:
        """What was measured of the machine as it serves now; of an earlier cut-over it proves nothing."""
        return found if found and found.since == (cutover.since if cutover else "") else None

    return Story(
        guest=guest,
        site=home.site().name,
        folder=folder,
        sources=sources(folder),
        steps=steps,
        done=tuple(done(past)),
        survey=typed(Survey),
        plan=plan,
        prepared=typed(Prepared),
        conversion=typed(Conversion),
        rehearsal=typed(Rehearsal),
        deployment=typed(Deployment),
        handed=typed(HandOver),
        cutover=cutover,
        wiring=since(typed(Wiring)),
        outage=since(typed(Outages)),
        arrival=since(typed(Arrival)),
        throughput=typed(Throughput),
        offloads=since(offloads),
        treated=applied is not None,
        remedy=applied if since(offloads) else None,  # remedy.json itself does not say of which cut-over it is
        approvals=tuple(approvals.then(needed)),
        present=approvals.now(),
        subject=next((n.subject for n in reversed(needed) if n.step == CUTOVER.id and cutover), approvals.subject()),
        cutover_approved=any(not a.flaw for n in needed if n.step == CUTOVER.id for a in approvals.at(n)),
        past=tuple(r for r in past if r.step != REPORT.id),
        begun=begun,
        reached=frozenset(e.run for e in entries if e.event == "step" and e.state in ("done", "already")),
        unseen=frozenset(
            e.run
            for e in entries
            if e.event == "verify" and any(c.state == "not seen" and c.code not in THEIRS for c in e.checks)
        ),
        red={e.run: tuple(c.code for c in e.checks if c.state not in ("ok", *UNSEEN)) for e in entries if e.event == "verify"},
        changed={e.of: e.changed for e in entries if e.event == "sealed" and e.changed},
        lowered=lowered,
        given=approvals.given({r.plan for r in lowered}),
        rewired=decisions.rewired(entries),
        register=tuple(x for x in register.of(home).lines() if x.guest == guest),
        last=next((r for r in reversed(past) if r.step != REPORT.id), None),
        unreadable=tuple(unreadable),
    )


def sources(folder: GuestFolder) -> tuple[SourceFile, ...]:
    """Those of the files that are there now."""
    approvals = sorted(f"{GuestFolder.approvals}/{p.name}" for p in folder.approvals.glob("*.txt*"))
    there = [(name, folder / name) for name in (*SOURCES, *approvals) if (folder / name).is_file()]
    return tuple(SourceFile(name, path.stat().st_size, files.sha256(path)) for name, path in there)


def to_tell(past: Sequence[LastRun]) -> dict[str, LastRun]:
    """{step: the run that a report tells of}: the newest that acted, else the newest."""
    chosen = {r.step: r for r in past if r.step != REPORT.id}
    return chosen | {r.step: r for r in past if r.mode == "apply" and r.step in chosen}


def _acts(step: str, run: LastRun | None, past: Sequence[LastRun], entries: Sequence[JournalEntry]) -> Iterator[JournalEntry]:
    """What was done, or failed, in any run of a step, and what its last run found."""
    acting = {r.id for r in past if r.step == step and r.mode == "apply"}
    for e in (e for e in entries if (e.event, e.step) == ("step", step)):
        if (run and e.run == run.id) or (e.run in acting and e.state in ("done", "failed")):
            yield e


def _step(
    step: str, run: LastRun | None, past: Sequence[LastRun], entries: Sequence[JournalEntry], folder: GuestFolder
) -> StepStory:
    lines = [e for e in entries if run and e.run == run.id]
    span = _span(run, entries) if run else None
    acted = {e.run for e in entries if (e.event, e.state) == ("step", "done")}
    worked = [r for r in past if r.step == step and r.id in acted]
    return StepStory(
        step=step,
        title=STEPS[step].title,
        run=run,
        seconds=span.seconds if span else 0,
        begun=span.begun if span else None,
        did=_span(worked[-1], entries) if worked else span,
        checks=tuple(c for e in lines for c in e.checks),
        actions=tuple(_acts(step, run, past, entries)),
        record=folder.executed(run.id) if run else None,
        attempts=sum(r.step == step for r in past),
    )


def _span(run: LastRun, entries: Sequence[JournalEntry]) -> Span:
    begun = next(e.when for e in entries if e.run == run.id)
    return Span(run.id, begun, max(0.0, (run.when - begun).total_seconds()))


@dataclass(frozen=True)
class _Need:
    """A run that an approval was needed for: by the plan of then, when it first acted."""

    step: str
    subject: Subject
    when: datetime

    @classmethod
    def of(cls, run: LastRun, entries: Sequence[JournalEntry], plan: Plan | None) -> "_Need":
        """The need of a run: what it was permitted for. Where an earlier version did not write that down, the plan only, by
        what 20-plan had listed last by then, else the present one.
        """
        lines = [n for n, e in enumerate(entries) if e.run == run.id]
        first = next((n for n in lines if entries[n].event == "start"), lines[0])
        listed = (a for e in entries[:first] if (e.event, e.step) == ("evidence", PLAN.id) for a in e.artefacts)
        hashes = [a.sha256 for a in listed if Path(a.file).name == Plan.filename]
        when = entries[first].when
        known = next((e for e in entries if (e.event, e.run) == ("permitted", run.id)), None)
        subject = Subject(hashes[-1] if hashes else plan.hash if plan else "")
        if known:
            subject = Subject(known.plan, known.vmdk, known.machine)
        return cls(run.step, subject, when)


@dataclass(frozen=True)
class _Approvals:
    """The approvals of a guest, held against the plan and the time that they were needed for."""

    home: Home
    guest: str
    plan: Plan | None

    def at(self, need: _Need) -> tuple[Approval, ...]:
        """Every approval, the oldest first, as it was worth for a run."""
        return self._judged(need.subject, need.when)

    def now(self) -> tuple[Approval, ...]:
        """The same as of now, for the present plan."""
        return self._judged(self.subject(), datetime.now(UTC))

    def then(self, needed: Sequence[_Need]) -> Iterator[Approval]:
        """Each as it was worth for the run that it counted for, else for the last; as of now where it was given later."""
        judged = [self.at(n) for n in needed]
        for n, present in enumerate(self.now()):
            given = present.statement.approved if present.statement else None
            if not needed or (given and given > needed[-1].when):
                yield present
            else:
                worth = [each[n] for each in judged]
                yield next((a for a in worth if not a.flaw), worth[-1])

    def given(self, plans: Set[str]) -> tuple[Statement, ...] | None:
        """Who approved one of these plans, and counted then; None where the lists of who may approve cannot be read."""
        of_these = [a for a in (self.now() if plans else ()) if a.statement and a.statement.plan in plans]
        try:
            return tuple(approval.counted(self.home, self.guest, of_these))
        except HikkoshiError:
            return None

    def subject(self) -> Subject:
        """What is there now."""
        try:
            return Subject.now(self.home, self.guest, self.plan) if self.plan else Subject("")
        except BadInput:  # a result that cannot be read is told of elsewhere
            return Subject(self.plan.hash if self.plan else "", "", "")

    def _judged(self, subject: Subject, when: datetime) -> tuple[Approval, ...]:
        try:
            if subject.plan:
                return tuple(approval.held_against(self.home, self.guest, subject, when))
            why = Problem(code="approval-of-no-plan", what="there is no plan that it could be of")
        except HikkoshiError as e:
            why = e.problems[0]
        paths = sorted(approval.folder(self.home, self.guest).glob("*.txt"))
        found = [(path, statement.parse(files.read(path))) for path in paths if files.regular(path)]
        return tuple(Approval.void(path, why, None if isinstance(said, str) else said) for path, said in found)
