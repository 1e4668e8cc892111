"""What is known of one guest, gathered for its report: results, runs, pictures; and what all that does not prove."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from hikkoshi import files
from hikkoshi.artefact import Artefact
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput
from hikkoshi.guest.prepared import Prepared
from hikkoshi.journal import Journal
from hikkoshi.network.outage import Outages
from hikkoshi.observation import Wiring
from hikkoshi.offloads import Offloads
from hikkoshi.params import Home
from hikkoshi.plan import Plan
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run import STEPS
from hikkoshi.status import MEASURED, LastRun, done, runs
from hikkoshi.survey import Survey
from hikkoshi.throughput import Measured, Throughput
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
Level = Literal["good", "open", "bad"]
A = TypeVar("A", bound=Artefact)
M = TypeVar("M", Wiring, Outages, Offloads)


@dataclass(frozen=True)
class Source:
    """A file that the report was made from."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class StepStory:
    """One step: the run to tell of with its checks and record, and what was done in any run; None where it was never run."""

    step: str
    title: str
    run: LastRun | None
    seconds: float
    begun: datetime | None
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
    last: LastRun | None = None  # of any step, the report's own apart
    unreadable: tuple[str, ...] = field(default=())

    @property
    def taken_out(self) -> bool:
        """Whether a rollback was applied, to its end or not, and no cut-over stands on record any more."""
        return self.cutover is None and any(
            s.step == "75-rollback" and s.run is not None and s.run.mode == "apply" for s in self.steps
        )

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

    cutover = typed(CutOver)

    def since(found: M | None) -> M | None:
        """What was measured of the machine as it serves now; of an earlier cut-over it proves nothing."""
        return found if found and found.since == (cutover.since if cutover else "") else None

    return Story(
        guest=guest,
        site=home.site().name,
        folder=folder,
        sources=sources(folder),
        steps=tuple(_step(s, told(past).get(s), past, entries, folder) for s in STEPS if s != "90-report"),
        done=tuple(done(past)),
        survey=typed(Survey),
        plan=typed(Plan),
        prepared=typed(Prepared),
        conversion=typed(Conversion),
        rehearsal=typed(Rehearsal),
        deployment=typed(Deployment),
        cutover=cutover,
        wiring=since(typed(Wiring)),
        outage=since(typed(Outages)),
        throughput=typed(Throughput),
        offloads=since(typed(Offloads)),
        last=next((r for r in reversed(past) if r.step != "90-report"), None),
        unreadable=tuple(unreadable),
    )


def sources(folder: Path) -> tuple[Source, ...]:
    """Those of the files that are there now."""
    there = [(name, folder / name) for name in SOURCES if (folder / name).is_file()]
    return tuple(Source(name, path.stat().st_size, files.sha256(path)) for name, path in there)


def told(past: Sequence[LastRun]) -> dict[str, LastRun]:
    """{step: the run that a report tells of}: the newest that acted, else the newest."""
    chosen = {r.step: r for r in past if r.step != "90-report"}
    return chosen | {r.step: r for r in past if r.mode == "apply" and r.step in chosen}


def verdict(story: Story) -> tuple[Level, str]:
    """The one sentence on top of the report."""
    last = story.last
    if last is None:
        return "open", "Nothing has been done yet"
    todo = next((s for s in STEPS if s not in story.done), "")
    how = "has failed" if last.state == "failed" else "was interrupted"
    found = measured(story)
    slow = found is not None and found.series.verdict == "regressed"
    bad = last.state in ("failed", "interrupted")
    judged: tuple[tuple[bool, Level, str], ...] = (
        (bad, "bad", f"{last.step} {how}" + (" in plan mode: nothing was changed" if last.mode == "plan" else "")),
        (bool(story.unreadable), "bad", "A result cannot be read"),
        ("75-rollback" in story.done, "open", "Rolled back: in service under Xen"),
        (bool(story.rehearsal) and not rehearsed(story), "bad", "The rehearsal did not succeed"),
        (slow, "bad", "In service on vSphere, and slows its network down"),
        (story.cutover is not None, "good", "In service on vSphere"),
        (story.taken_out, "open", "Out of service in vSphere; whether it is back under Xen was not seen from here"),
        ("60-deploy" in story.done, "good", "Deployed and waiting for its cut-over"),
        (True, "open", f"Under way: {todo} is next"),
    )
    return next((level, words) for true, level, words in judged if true)


def rehearsed(story: Story) -> bool:
    """Whether the very VMDK of this plan booted to a login with every planned NIC."""
    r, c, p = story.rehearsal, story.conversion, story.plan
    if not (r and c and p):
        return False
    seen = {n.mac for n in r.after.nics}
    return (
        r.after.ending is Ending.LOGIN
        and r.after.disk_unchanged
        and (r.vmdk_sha256, r.plan_hash) == (c.vmdk_sha256, p.hash)
        and all(n.mac in seen for n in p.vm.nics)
    )


def open_points(story: Story) -> Iterator[str]:
    """What is left to do, to look at, or not proved, as sentences."""
    yield from (f"A result cannot be read: {words}" for words in story.unreadable)
    yield from _not_done(story)
    if story.survey:
        yield from story.survey.guest.warnings
    if story.plan:
        yield from story.plan.preparation.notes
        proved = measured(story)
        if story.plan.forwards and not (proved and proved.series.verdict == "recovered"):
            yield "The guest forwards packets: receive offload (LRO) has to be off on its NICs, or it will be slow."
    if story.rehearsal:
        yield from _not_rehearsed(story, story.rehearsal)
    if story.deployment and not story.cutover:
        yield "The machine in vSphere is not in service: its NICs are unplugged until the cut-over."
    yield from _not_measured(story)
    yield "This report is not signed. It tells what this machine found; the hashes below tie it to the files."


def _not_done(story: Story) -> Iterator[str]:
    for step in story.steps:
        name = f"{step.step} ({step.title})"
        if step.step == "75-rollback" or step.step in story.done:
            continue
        if step.step in MEASURED and step.run is None:  # what that leaves open is told apart
            continue
        if step.run is None:
            yield f"{name} is not done yet."
        elif step.run.state != "done":
            yield f"{name}: {step.run.state}. {step.run.error.partition(chr(10))[0]}".strip()
        elif step.run.mode != "apply":
            yield f"{name} was only planned, not carried out."
        else:
            yield f"{name} was taken back."


def measured(story: Story) -> Measured | None:
    """What was measured of the network since the cut-over on record; None where nothing was."""
    found = story.throughput.measured.get("since the move") if story.throughput else None
    return found if found and story.cutover and found.since == story.cutover.since else None


def _not_measured(story: Story) -> Iterator[str]:
    """What is not proved of the network of a guest in service."""
    if story.cutover is None:
        return
    if story.wiring is None:
        yield "On which segment each NIC is was read from vSphere's settings only, and not seen from inside the guest."
    elif not story.wiring.witness.ok:
        bad = ", ".join(f"{n.name} {n.verdict}" for n in story.wiring.witness.nics if n.verdict != "ok")
        yield f"Not every NIC was proved to be on its segment: {bad}."
    out = [s.name for s in story.outage.segments if s.at_the_end == "out"] if story.outage else []
    if out:
        yield f"Segments that were still out when the measurement of the outage ended: {', '.join(out)}."
    if story.outage is None:
        yield "How long the segments were out during the cut-over was not measured."
    since = measured(story)
    if since is None:
        yield "Whether the guest slows its network down was not measured since the cut-over: that is for 80-netperf."
    elif since.series.verdict != "recovered":
        yield f"The network is not proved to be as fast as without the guest: {since.series.words()}."


def _not_rehearsed(story: Story, r: Rehearsal) -> Iterator[str]:
    p, c = story.plan, story.conversion
    if p and c and (r.vmdk_sha256, r.plan_hash) != (c.vmdk_sha256, p.hash):
        yield "The rehearsal was of another VMDK, or by another plan, than the present ones."
    silent = [n.name for n in p.vm.nics if n.mac not in {seen.mac for seen in r.after.nics}] if p else []
    if silent:
        yield f"NICs that the rehearsed guest did not report: {', '.join(silent)}."
    if not r.after.disk_unchanged:
        yield "The disk was changed by its own rehearsal."
    yield (
        f"The rehearsal ran on QEMU ({r.after.accelerator}), not on ESXi: it proves boot loader, kernel, drivers, root and "
        "addresses, not the behaviour of ESXi's own devices."
    )


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
    begun = datetime.fromisoformat(lines[0]["time"]) if lines else None
    names = [folder / "runs" / f"{run.id}{end}.ipynb" for end in ("", ".interrupted", ".part")] if run else []
    return StepStory(
        step=step,
        title=STEPS[step],
        run=run,
        seconds=(run.when - begun).total_seconds() if run and begun else 0,
        begun=begun,
        checks=tuple(
            {**c, "of": e["event"]} for e in lines if e["event"] in ("preflight", "verify") for c in e["checks"]
        ),
        actions=tuple(_acts(step, run, past, entries)),
        record=next((p for p in names if p.is_file()), None),
        attempts=sum(r.step == step for r in past),
    )
