"""What somebody decided by hand for one guest: rules of the preflight that its site lowered, NICs that were put elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hikkoshi.approval.plan import Plan
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.status import LastRun


@dataclass(frozen=True)
class Lowered:
    """A rule that was not kept, and that stopped nothing, as it was told last by a step for a plan."""

    step: str
    time: str
    code: str
    title: str
    found: str
    reason: str
    plan: str  # SHA-256; empty where that run had none


@dataclass(frozen=True)
class Rewired:
    """A NIC that was put on another segment in the guest's file, on the page of a run."""

    key: str  # the line of the journal, and which NIC of it
    time: str
    by: str
    run: str
    mac: str
    before: str
    after: str
    failed: str  # why the file stayed as it was; empty where it was written


def lowered(entries: Sequence[JournalEntry], applied: Iterable[LastRun]) -> tuple[Lowered, ...]:
    """Of these runs, each rule once for a step, a reason and a plan."""
    found: dict[tuple[str, ...], Lowered] = {}
    told_by: dict[str, list[JournalEntry]] = {}
    for e in entries:
        told_by.setdefault(e.run, []).append(e)
    for run in applied:
        lines = told_by.get(run.id, [])
        plan = _plan(lines)
        for at, c in ((e.time, c) for e in lines for c in e.checks if c.state == "lowered"):
            reason, seen = (str(c.facts.get(name, "")) for name in ("reason", "found"))
            told = Lowered(run.step, at, c.code, c.title, seen or c.found, reason, plan)
            found[run.step, c.code, reason, plan] = told
    return tuple(found.values())


def rewired(entries: Sequence[JournalEntry]) -> tuple[Rewired, ...]:
    """Every such NIC, the oldest first. A line says what will be written; one after it of the same run, that it was not."""
    told = [(n, e) for n, e in enumerate(entries) if e.event == "rewired"]
    return tuple(
        Rewired(
            key=f"line-{e.n}-{place}",
            time=e.time,
            by=e.by,
            run=e.of,
            mac=nic.mac,
            before=nic.before,
            after=nic.after,
            failed=_failed(e, entries[n + 1 :]),
        )
        for n, e in told
        for place, nic in enumerate(e.nics)
    )


def _failed(line: JournalEntry, later: Iterable[JournalEntry]) -> str:
    of = next((e for e in later if e.event in ("rewired", "not-rewired") and e.of == line.of), None)
    return of.why if of and of.event == "not-rewired" else ""


def _plan(lines: Iterable[JournalEntry]) -> str:
    """The plan that a run made, else the one that it was opened with."""
    found = [e.inputs.get(Plan.filename, "") for e in lines if e.event == "open"]
    found += [a.sha256 for e in lines for a in e.artefacts if Path(a.file).name == Plan.filename]
    return str(found[-1]) if found else ""
