"""Whether what is in a record says what its bag-info.txt says of it: journal, executed notebook, runbook, evidence, approvals.

Whoever holds the key can seal what he likes: what he seals must at least not contradict itself.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hikkoshi import files, limits
from hikkoshi.errors import BadInput, Problem, printable
from hikkoshi.journal import Journal
from hikkoshi.record import approvals, evidence, provenance
from hikkoshi.record.approvals import Case, Known
from hikkoshi.record.provenance import REMEDY
from hikkoshi.signature import Trust

EARLIER = "sealed by an earlier version, which did not prove"
FORMAT = 2  # of records; the first did not say so, and is not asked for what it did not promise


def check(
    record: Path, info: dict[str, str], listed: dict[str, str], trust: Trust, known: Known, notes: list[str]
) -> Iterator[Iterable[Problem]]:
    """All of them, each by itself. What is listed is there, unchanged; `notes` is told what is no flaw."""
    journal = Journal(record / "data" / "journal.jsonl")
    entries: list[dict[str, Any]] = []
    try:
        entries = journal.ours()
        journal.check()
    except BadInput as e:
        yield e.problems
    yield journal.foreign() if entries else ()
    yield _outcomes(record, info, listed, entries)
    if format_of(info) >= FORMAT:
        yield _evidence(record, listed, entries, notes)
        yield provenance.check(record, info, listed, notes)
    else:
        yield _earlier(record, listed, entries, notes)
    plan = listed.get("data/plan.json", "none")
    if info.get("Plan-SHA256", "none") != plan:
        where, said = str(record / "data" / "plan.json"), info.get("Plan-SHA256", "none")
        yield [Problem("the plan is another", where, plan, said, REMEDY)]
    yield approvals.check(Case(record, info, listed, entries, trust, format_of(info)), known, notes)


def _earlier(
    record: Path, listed: dict[str, str], entries: list[dict[str, Any]], notes: list[str]
) -> Iterator[Problem]:
    """What a record of an earlier version did not prove: a note, and no flaw."""
    lacking = list(_evidence(record, listed, entries, notes))
    without = f": without {', '.join(p.where for p in lacking)}" if lacking else ""
    notes.append(f"{EARLIER} whose runbook it was, and that all evidence is in{without}")
    yield from ()


def _outcomes(
    record: Path, info: dict[str, str], listed: dict[str, str], entries: list[dict[str, Any]]
) -> Iterator[Problem]:
    """Whether journal and executed notebook tell the same outcome as the record."""
    journal = record / "data" / "journal.jsonl"
    ended = {str(e.get("run")): e.get("outcome") for e in entries if e.get("event") == "outcome"}
    told = {str(journal): ended.get(record.name, info["Outcome"])}
    if info.get("Notebook", "none") in listed:
        told[str(record / info["Notebook"])] = _outcome(record / info["Notebook"]) or info["Outcome"]
    for where, outcome in told.items():
        if outcome != info["Outcome"]:
            yield Problem("the outcome is told in two ways", where, str(outcome), info["Outcome"], REMEDY)


def format_of(info: dict[str, str]) -> int:
    """By which rules a record was made."""
    said = info.get("Record-Format", "1")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 4 else 1


def _evidence(
    record: Path, listed: dict[str, str], entries: list[dict[str, Any]], notes: list[str]
) -> Iterator[Problem]:
    """Whether what the run listed as its evidence is in the record, or named among what stays out, each by its hash."""
    rows = f"data/{evidence.LEFT_OUT}"
    inside, out = (
        set(listed.values()),
        evidence.outside(files.read(record / rows, limits.LEFT_OUT)) if rows in listed else {},
    )
    kept, lost = list[str](), list[str]()
    for name, artefact in evidence.listed(entries, record.name).items():
        digest = str(artefact.get("sha256"))
        if digest in inside:
            continue
        if digest in out:
            if out[digest] in (evidence.A_DISK, evidence.LARGE):
                kept.append(name)
            else:
                lost.append(f"{name} ({printable(out[digest])})")
            continue
        near = next((n for n in listed if n.endswith("/" + name.rpartition("/")[2])), "")
        found = f"{near} with SHA-256 {listed[near]}" if near else "no such file"
        remedy = "whoever sealed this record left it out: ask how it came to be"
        yield Problem("evidence that the journal lists is not in the record", name, found, f"SHA-256 {digest}", remedy)
    if kept:
        notes.append(f"kept outside, by hash: {', '.join(kept)}")
    if lost:
        notes.append(f"sealed late, and what the run listed is not in it: {', '.join(lost)}")


def _outcome(notebook: Path) -> str:
    """What an executed notebook says of its end; empty for a killed run's, which says nothing."""
    try:
        return str(json.loads(files.read(notebook, limits.NOTEBOOK))["metadata"]["hikkoshi"]["outcome"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
