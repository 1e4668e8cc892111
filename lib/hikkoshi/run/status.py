"""Where every guest stands: by its journal, its locks and its results, for the command line and the first notebook."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from hikkoshi.approval import approval
from hikkoshi.approval.plan import Plan
from hikkoshi.check import UNSEEN, Check, Unseen
from hikkoshi.errors import BadInput
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.run import lock, reach
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import (
    APPROVED,
    CUTOVER,
    FORWARD,
    MEASURED,
    NETPERF,
    OFFLOADS,
    ON_REQUEST,
    READ_ONLY,
    REPORT,
    ROLLBACK,
    STEPS,
)
from hikkoshi.xen import dom0

State = Literal["never", "running", "done", "failed", "interrupted"] | Unseen


@dataclass(frozen=True)
class LastRun:
    """What a journal tells of one run."""

    id: str
    step: str
    mode: str
    state: State
    when: datetime  # of its last line
    begun: datetime  # the time of its first line
    error: str = ""  # in words, for readers
    kind: str = ""  # the class of the error
    codes: frozenset[str] = frozenset()  # of what it failed by
    unseen: Unseen | Literal[""] = ""  # where it succeeded by doing nothing: why there was nothing that it could have done
    unsealed: bool = False  # it did its work, and only its record is missing: `error` says why
    regressed: bool = False  # it found that the guest slows its network down

    @property
    def real(self) -> bool:
        """Whether it did its step, or tried to, and did not only plan: whatever mode a step that only reads was given."""
        return self.mode == "apply" or self.step in READ_ONLY

    @property
    def headline(self) -> str:
        """The first line of its error, for a reader."""
        first = self.error.partition("\n")[0]
        return f"not sealed: {first}" if self.unsealed else f"{self.kind}: {first}".rstrip() if self.kind else first


@dataclass(frozen=True)
class GuestStatus:
    """One guest: its last run, and what to do next."""

    guest: str
    state: State
    step: str = ""
    mode: str = ""
    when: datetime | None = None
    error: str = ""  # first line of what went wrong
    record: str = ""  # the executed notebook, where there is one
    next: str = ""

    def plain(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {**asdict(self), "when": self.when.isoformat() if self.when else None}

    def row(self, now: datetime) -> dict[str, str]:
        """The same as a row for a reader."""
        return {
            "guest": self.guest,
            "last step": f"{self.step} ({self.mode})" if self.mode and self.step not in READ_ONLY else self.step or "–",
            "state": self.state + (f": {self.error}" if self.error else ""),
            "when": age(now - self.when) if self.when else "–",
            "next": self.next,
        }


def status(home: Home, guests: Sequence[str] = ()) -> list[GuestStatus]:
    """Status of the guests named, else of all that have a parameter file. Changes nothing."""
    return [_of(home, guest) for guest in guests or home.guest_names()]


def table(home: Home) -> list[dict[str, str]]:
    """Status of every guest as rows for a reader."""
    now = datetime.now(UTC)
    return [s.row(now) for s in status(home)]


def details(home: Home, guest: str) -> list[dict[str, str]]:
    """One guest's status with its next command, as rows for a reader."""
    (found,) = status(home, [guest])
    return [{"what": what, "found": text} for what, text in found.row(datetime.now(UTC)).items()] + [
        {"what": "record of the last run", "found": found.record or "none"}
    ]


def papers(home: Home) -> list[dict[str, str]]:
    """What is kept of every guest: its report and how many sealed records."""
    rows = []
    for guest in home.guest_names():
        report = home.report(guest)
        folder = home.records(guest)
        records = [p for p in folder.glob("*") if p.is_dir() and not p.name.startswith(".")]
        there = str(report) if report.is_file() else f"not written yet: {REPORT} writes it"
        rows.append({"guest": guest, "report": there, "records": str(len(records)), "in": str(folder)})
    return rows


def checks(home: Home) -> list[Check]:
    """Whether the parameter files can be used, each with all that is wrong with it."""
    readers: list[tuple[str, Callable[[], object]]] = [("params/site.yml", home.site)]
    readers += [(f"params/guests/{name}.yml", partial(home.guest, name)) for name in home.guest_names()]
    found = [
        Check(
            code="guest-file-usable",
            title=f"params/guests/{name}.yml can be used",
            ok=False,
            found="its name can be no guest's",
            remedy="rename the file",
        )
        for name in home.misnamed()
    ]
    for name, read in readers:
        try:
            read()
            found.append(Check(code="parameters-usable", title=f"{name} can be used", ok=True))
        except BadInput as e:
            words = "; ".join(f"{p.where}: {p.what} {p.found}".strip() for p in e.problems)
            found.append(
                Check(code="parameters-usable", title=f"{name} can be used", ok=False, found=words, remedy=e.problems[0].remedy)
            )
    return found


def age(passed: timedelta) -> str:
    """'3 min ago'."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def runs(entries: Iterable[JournalEntry]) -> list[LastRun]:
    """The runs of a journal, the one with the newest line last. One that another run kept from starting is left out."""
    by_run: dict[str, list[JournalEntry]] = {}
    unsealed: dict[str, str] = {}
    for entry in entries:
        if entry.event == "unsealed":
            unsealed[entry.of] = entry.why
        elif entry.event == "sealed":
            unsealed.pop(entry.of, None)
        if entry.run:
            # the journal's own order: a clock may be set back, and two lines may have the same time
            lines = by_run.pop(entry.run, [])
            by_run[entry.run] = [*lines, entry]
    found = [_last_run(run, lines, unsealed.get(run, "")) for run, lines in by_run.items()]
    return [r for r in found if r.kind != "Busy"]


def done(past: Sequence[LastRun]) -> list[str]:
    """Steps whose last run really did them, in the order of the way.

    A rollback undoes the cut-over and what follows it as soon as it was tried: what it did not come to is for it to finish.
    What was measured before the cut-over is no measurement of what it made.
    """
    last = {r.step: r for r in past if r.real}
    steps = [s for s in STEPS if s in last and last[s].state == "done" and not last[s].unseen]
    forward, back = last.get(CUTOVER.id), last.get(ROLLBACK.id)
    if forward and back:
        undone = (CUTOVER.id, *MEASURED, REPORT.id) if past.index(back) > past.index(forward) else (ROLLBACK.id,)
        steps = [s for s in steps if s not in undone]
    return [s for s in steps if not (forward and s in MEASURED and past.index(last[s]) < past.index(forward))]


def _of(home: Home, guest: str) -> GuestStatus:
    folder = home.folder(guest)
    past = standing(folder)
    last = past[-1] if past else None
    if (words := at_work(folder)) is not None:
        step = next((s for s in STEPS if s in words), last.step if last else "")
        mode = next((m for m in ("plan", "apply") if f" {m}" in words), last.mode if last else "")
        now = datetime.now(UTC)
        return GuestStatus(guest, "running", step, mode, now, record=_record(folder, ""), next=f"wait: {words}")
    if last is None:
        return GuestStatus(guest, "never", next=f"hikkoshi run {guest}")
    record, stands = _record(folder, last.id), any(p.exists() for p in (folder.cutover, folder.deployment, folder.handover))
    if not stands and not any(r.step == CUTOVER.id and r.mode == "apply" for r in past):  # there is nothing to go back from
        past = [r for r in past if r.step != ROLLBACK.id]
    after = _next(home, guest, past) if past else f"hikkoshi run {guest}"
    return GuestStatus(guest, last.unseen or last.state, last.step, last.mode, last.when, last.headline, record, after)


def at_work(folder: GuestFolder) -> str | None:
    """Who is at work on a guest, in the words of its lock; None where nobody is."""
    # the last is held by an open notebook, and by what outlives its runner
    for path in (folder.rollback_lock, folder.runner_lock, folder.lock):
        if lock.held(path):
            return path.read_text().strip()
    return None


def standing(folder: GuestFolder) -> list[LastRun]:
    """The runs by which a guest's status is told: where it is in service, none that only looked at it."""
    past = runs(Journal(folder.journal).entries())
    if not folder.cutover.exists():
        return past
    return [run for run in past if run.mode == "apply" or run.step == REPORT.id] or past


def _last_run(run: str, lines: Sequence[JournalEntry], unsealed: str) -> LastRun:
    last, first = lines[-1], lines[0]
    mode, kind = next((line.mode for line in lines if line.mode), ""), ""
    outcome = next((line for line in lines if line.event == "outcome"), None)
    red = [line for line in lines if line.state in ("failed", "red") and not _only_planned(line)]
    if outcome:
        state: State = {"succeeded": "done", "failed": "failed"}.get(outcome.outcome, "interrupted")  # type: ignore[assignment]
        error, kind = outcome.error, outcome.kind
    elif any((line.event, line.outcome) == ("end", "completed") for line in lines):
        state, error = "done", ""
    elif red:
        state, error = ("failed", f"{red[-1].title or red[-1].event}: {red[-1].found or 'not as expected'}")
    else:
        state, error = "interrupted", ""
    if worked := bool(unsealed) and state == "done":  # but there is no record of it
        state, error = "failed", unsealed
    states = [line.state for line in lines if line.event == "step"]
    idle: Unseen | Literal[""] = ""
    if all(s in UNSEEN for s in states):  # and then by the first of them
        idle = next((word for word in UNSEEN if states[:1] == [word]), "")
    bad = [c for line in red[-1:] for c in line.checks if c.state == "red"]
    failed = state == "failed" and not worked
    codes = (*(outcome.codes if outcome else ()), *(red[-1].codes if red else ()), *(c.code for c in bad))
    return LastRun(
        id=run,
        step=first.get("step", ""),
        mode=mode,
        state=state,
        when=datetime.fromisoformat(last["time"]),
        begun=datetime.fromisoformat(first["time"]),
        error=error,
        kind=kind,
        codes=frozenset(map(str, codes)) if failed else frozenset(),
        unseen=idle,
        unsealed=worked,
        regressed=failed and any(c.facts.get("verdict") == "regressed" for c in bad),
    )


def _only_planned(line: JournalEntry) -> bool:
    return line.event == "verify" and line.mode == "plan"  # nothing has to be true yet


def _record(folder: GuestFolder, run: str) -> str:
    """The record of a run by whatever name it has now; of the run that is going on where `run` is empty."""
    pattern = f"{run}*.ipynb" if run else "*.part.ipynb"
    found = sorted(folder.runs.glob(pattern))
    return str(found[-1]) if found else ""


def _next(home: Home, guest: str, past: Sequence[LastRun]) -> str:
    last = past[-1]
    served = home.folder(guest).cutover.exists()
    slow = last.step == NETPERF.id and last.regressed  # it was measured well
    if slow and served:  # under Xen nothing is changed
        return _command(home, guest, OFFLOADS.id, True)
    acted = next((r for r in reversed(past) if not only_told(r)), last)
    if acted.step == ROLLBACK.id and dom0.START_BY_HAND in acted.codes:  # and vSphere's part is done
        return f"look on the Dom-0 whether {guest} runs, else start it there; no run can see that, do not repeat 75"
    gap = None if served else reach.gap(home.folder(guest))
    earlier = gap is not None and last.mode == "apply" and list(STEPS).index(gap.step) < list(STEPS).index(last.step)
    if back := _half_back(past):
        last, earlier = back, False
    if last.state in ("failed", "interrupted") and not slow and not (earlier and last.step in FORWARD):
        return _command(home, guest, last.step, last.mode == "apply")
    if gap:
        return _to_fill(home, guest, gap, acted)
    ready = done(past)
    # 85 is for what 80 found to be slow, and neither is for a guest whose network is not measured
    needless = MEASURED if home.guest(guest).measurement is None else (OFFLOADS.id,) if NETPERF.id in ready else ()
    after = [s for s in (CUTOVER.id, *MEASURED) if s not in ready and s not in needless] if served else [CUTOVER.id]
    report = home.report(guest)
    if not after and last.step == REPORT.id and report.is_file():  # nothing was run since it was written
        return f"read {report}"
    words = _command(home, guest, after[0] if after else REPORT.id, True)
    return f"stay with Xen, or: {words}" if acted.step == ROLLBACK.id else words


def only_told(run: LastRun) -> bool:
    """Whether a run only wrote down what others did: it makes nothing good that these left."""
    return run.step == REPORT.id and run.state == "done"


def _to_fill(home: Home, guest: str, gap: reach.Gap, last: LastRun) -> str:
    """How to come on where a result is missing, or is not of those before it."""
    words = _command(home, guest, gap.step, True)
    if gap.why:  # it was carried out once: what follows is carried out again, too
        words = f"{words.removesuffix(' --apply')} --apply  # {gap.why}"
    if last.step == ROLLBACK.id and last.mode == "apply":
        return f"stay with Xen, or: {words}"
    if last.step == CUTOVER.id and last.mode == "apply":
        return f"{words}. Was it shut down for 70? {_command(home, guest, ROLLBACK.id, True)} starts it again"
    return words


def _half_back(past: Sequence[LastRun]) -> LastRun | None:
    """A rollback that was applied and did not end well, where no cut-over came after it and it does not wait for a person."""
    last = next((r for r in reversed(past) if r.mode == "apply" and r.step in (CUTOVER.id, ROLLBACK.id)), None)
    half = last is not None and last.step == ROLLBACK.id and last.state in ("failed", "interrupted")
    return last if last and half and not last.unsealed and dom0.START_BY_HAND not in last.codes else None


def _command(home: Home, guest: str, step: str, apply: bool) -> str:
    if apply and step in APPROVED and not _approved(home, guest):
        return f"a second person: {approval.command(guest)}"
    number = re.match(r"\d*", step)[0]  # type: ignore[index]
    parts = ["hikkoshi run", guest, "--only" if step in ON_REQUEST else "--from", number]
    return " ".join([*parts, "--apply"] if apply and step not in READ_ONLY else parts)


def _approved(home: Home, guest: str) -> bool:
    try:
        return bool(approval.check(home, guest, Plan.find(home.folder(guest))))
    except BadInput:  # a plan that cannot be read is not approved
        return False
