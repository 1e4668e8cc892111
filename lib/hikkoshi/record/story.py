"""What is known of one guest, gathered for its report: results, runs, approvals, records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from hikkoshi import approval, files
from hikkoshi.approval import Approval
from hikkoshi.artefact import Artefact
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput, HikkoshiError
from hikkoshi.guest.prepared import Prepared
from hikkoshi.journal import Journal
from hikkoshi.network.outage import Outages
from hikkoshi.network.remedy import Applied
from hikkoshi.observation import Wiring
from hikkoshi.offloads import Offloads
from hikkoshi.params import Home
from hikkoshi.plan import Plan
from hikkoshi.record.register import Line, Register
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run import STEPS
from hikkoshi.status import LastRun, done, runs
from hikkoshi.survey import Survey
from hikkoshi.throughput import Throughput
from hikkoshi.vsphere.cutover import CutOver
from hikkoshi.vsphere.deployment import Deployment

SOURCES = (  # everything in the guest's folder that a report is made from
    "survey.json",
    "plan.json",
    "prepared.json",
    "conversion.json",
    "rehearsal.json",
    "rehearsal/before.png",
    "rehearsal/after.png",
    "deployment.json",
    "cutover.json",
    "wiring.json",
    "outage.json",
    "netperf.json",
    "offloads.json",
    "remedy.json",
)
APPROVED = ("70-cutover", "85-offloads")  # steps that are not carried out without an approval
A = TypeVar("A", bound=Artefact)
M = TypeVar("M", Wiring, Outages, Offloads)


@dataclass(frozen=True)
class Source:
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
    checks: tuple[dict[str, Any], ...]
    actions: tuple[dict[str, Any], ...]
    record: Path | None
    attempts: int


@dataclass(frozen=True)
class Story:
    """Everything about one guest."""

    guest: str
    site: str
    folder: Path
    sources: tuple[Source, ...]
    steps: tuple[StepStory, ...]
    done: tuple[str, ...]
    survey: Survey | None
    plan: Plan | None
    prepared: Prepared | None
    conversion: Conversion | None
    rehearsal: Rehearsal | None
    deployment: Deployment | None
    cutover: CutOver | None
    wiring: Wiring | None = None
    outage: Outages | None = None
    throughput: Throughput | None = None
    offloads: Offloads | None = None
    remedy: Applied | None = None
    approvals: tuple[Approval, ...] = ()
    register: tuple[Line, ...] = ()  # the guest's lines of the register of records
    last: LastRun | None = None  # of any step, the report's own apart
    unreadable: tuple[str, ...] = field(default=())

    @property
    def taken_out(self) -> bool:
        """Whether a rollback was applied, to its end or not, and no cut-over stands on record any more."""
        return self.cutover is None and any(
            s.step == "75-rollback" and s.run is not None and s.run.mode == "apply" for s in self.steps
        )

    @property
    def tried(self) -> bool:
        """Whether a cut-over or a rollback was applied, to its end or not."""
        moving = (s for s in self.steps if s.step in ("70-cutover", "75-rollback"))
        return any(s.run is not None and s.run.mode == "apply" for s in moving)

    @property
    def run_ids(self) -> list[str]:
        """The runs that the report tells of, in the order of the steps."""
        return [s.run.id for s in self.steps if s.run]


def gather(home: Home, guest: str) -> Story:
    """Read everything there is about a guest. A result that cannot be read is named, not an error."""
    folder = home.folder(guest)
    entries = Journal(folder / "journal.jsonl").entries()
    past = runs(entries)
    unreadable: list[str] = []

    def typed(kind: type[A]) -> A | None:
        try:
            return kind.find(folder)
        except BadInput as e:
            unreadable.append(f"{kind.filename}: {e.problems[0].found}")
            return None

    cutover, plan = typed(CutOver), typed(Plan)
    steps = tuple(_step(s, told(past).get(s), past, entries, folder) for s in STEPS if s != "90-report")

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
        cutover=cutover,
        wiring=since(typed(Wiring)),
        outage=since(typed(Outages)),
        throughput=typed(Throughput),
        offloads=since(typed(Offloads)),
        remedy=typed(Applied),
        approvals=tuple(_approvals(home, guest, plan, steps)),
        register=tuple(x for x in Register(home.outputs / "records" / "register.tsv").lines() if x.guest == guest),
        last=next((r for r in reversed(past) if r.step != "90-report"), None),
        unreadable=tuple(unreadable),
    )


def sources(folder: Path) -> tuple[Source, ...]:
    """Those of the files that are there now."""
    approvals = sorted(f"approvals/{p.name}" for p in (folder / "approvals").glob("*.txt*"))
    there = [(name, folder / name) for name in (*SOURCES, *approvals) if (folder / name).is_file()]
    return tuple(Source(name, path.stat().st_size, files.sha256(path)) for name, path in there)


def told(past: Sequence[LastRun]) -> dict[str, LastRun]:
    """{step: the run that a report tells of}: the newest that acted, else the newest."""
    chosen = {r.step: r for r in past if r.step != "90-report"}
    return chosen | {r.step: r for r in past if r.mode == "apply" and r.step in chosen}


def _acts(
    step: str, run: LastRun | None, past: Sequence[LastRun], entries: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What was done, or failed, in any run of a step, and what its last run found."""
    acting = {r.id for r in past if r.step == step and r.mode == "apply"}
    for e in (e for e in entries if e["event"] == "step" and e.get("step") == step):
        if (run and e["run"] == run.id) or (e["run"] in acting and e["state"] in ("done", "failed")):
            yield e


def _step(
    step: str, run: LastRun | None, past: Sequence[LastRun], entries: Sequence[dict[str, Any]], folder: Path
) -> StepStory:
    lines = [e for e in entries if run and e.get("run") == run.id]
    span = _span(run, entries) if run else None
    names = [folder / "runs" / f"{run.id}{end}.ipynb" for end in ("", ".interrupted", ".part")] if run else []
    acted = {e["run"] for e in entries if e["event"] == "step" and e.get("state") == "done"}
    worked = [r for r in past if r.step == step and r.id in acted]
    return StepStory(
        step=step,
        title=STEPS[step],
        run=run,
        seconds=span.seconds if span else 0,
        begun=span.begun if span else None,
        did=_span(worked[-1], entries) if worked else span,
        checks=tuple(
            {**c, "of": e["event"]} for e in lines if e["event"] in ("preflight", "verify") for c in e["checks"]
        ),
        actions=tuple(_acts(step, run, past, entries)),
        record=next((p for p in names if p.is_file()), None),
        attempts=sum(r.step == step for r in past),
    )


def _span(run: LastRun, entries: Sequence[dict[str, Any]]) -> Span:
    begun = datetime.fromisoformat(next(e["time"] for e in entries if e.get("run") == run.id))
    return Span(run.id, begun, max(0.0, (run.when - begun).total_seconds()))


def _approvals(home: Home, guest: str, plan: Plan | None, steps: Sequence[StepStory]) -> Iterator[Approval]:
    """Every approval of the guest, the oldest first, judged as of the last time that one was needed, else as of now."""
    needed = (s.did for s in steps if s.step in APPROVED and s.run and s.run.mode == "apply")
    ended = max((d.begun + timedelta(seconds=d.seconds) for d in needed if d), default=None)
    try:
        if plan:
            yield from approval.judged(home, guest, plan, ended)
            return
        why = "there is no plan that it could be of"
    except HikkoshiError as e:
        why = e.problems[0].what
    for path in sorted(approval.folder(home, guest).glob("*.txt")):
        found = approval.parse(path.read_bytes())
        yield Approval(path, None if isinstance(found, str) else found, flaw=why)
