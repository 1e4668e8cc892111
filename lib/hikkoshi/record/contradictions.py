"""Whether what is in a record says what its bag-info.txt says of it: journal, executed notebook, runbook, evidence, approvals.

Whoever holds the key can seal what he likes: what he seals must at least not contradict itself.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval import limits
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import BadInput, Problem, printable
from hikkoshi.params.folder import GuestFolder
from hikkoshi.record import approvals, bag, evidence, provenance, register
from hikkoshi.record.approvals import Case, Known
from hikkoshi.record.provenance import REMEDY
from hikkoshi.run import step
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal

EARLIER = "sealed by an earlier version, which did not prove"
STORY = "guest"  # the step of a record that is no run's
PLANNING, PLAN = step.PLAN.id, GuestFolder.plan  # the step that makes what the others are made from
FORMAT = 2  # of records; the first did not say so, and is not asked for what it did not promise


def check(
    record: Path, info: dict[str, str], listed: dict[str, str], trust: Trust, known: Known, notes: list[str]
) -> Iterator[Iterable[Problem]]:
    """All of them, each by itself. What is listed is there, unchanged; `notes` is told what is no flaw."""
    journal = Journal(record / "data" / GuestFolder.journal)
    entries: list[JournalEntry] = []
    try:
        entries = journal.ours()
        journal.check()
    except BadInput as e:
        yield e.problems
    yield journal.foreign() if entries else ()
    yield _outcomes(record, info, listed, entries)
    own = [e for e in entries if e.run == record.name]
    if format_of(info) >= FORMAT:
        yield _of_this_run(record, info, listed, own)
        yield _times(record, info, own)
        yield _asked_for_time(record, info, listed)
        yield _evidence(record, listed, entries, notes)
        yield provenance.check(record, info, listed, notes)
    else:
        yield _version(record, own)
        yield _earlier(record, listed, entries, notes)
    plan = listed.get(f"data/{PLAN}", "none")
    if info.get("Plan-SHA256", "none") != plan:
        where, said = str(record / "data" / PLAN), info.get("Plan-SHA256", "none")
        yield [
            Problem(
                code="record-of-another-plan", what="the plan is another", where=where, found=plan, expected=said, remedy=REMEDY
            )
        ]
    yield approvals.check(Case(record, info, listed, entries, trust, format_of(info)), known, notes)


def _earlier(record: Path, listed: dict[str, str], entries: list[JournalEntry], notes: list[str]) -> Iterator[Problem]:
    """What a record of an earlier version did not prove: a note, and no flaw."""
    lacking = list(_evidence(record, listed, entries, notes))
    without = f": without {', '.join(p.where for p in lacking)}" if lacking else ""
    notes.append(f"{EARLIER} whose runbook it was, and that all evidence is in{without}")
    yield from ()


def _of_this_run(record: Path, info: dict[str, str], listed: dict[str, str], own: list[JournalEntry]) -> Iterator[Problem]:
    """Whether the journal's lines of this run are of the step and guest that the record names, made from what is in it."""
    where = str(record / "data" / GuestFolder.journal)
    if info["Step"] != STORY:
        opened = [e for e in own if e.event == "open"]
        for label, said in (("Step", {e.step for e in own if e.step}), ("Guest", {e.guest for e in opened if e.guest})):
            if others := sorted(said - {info[label]}):
                yield Problem(
                    code="run-of-another",
                    what=f"the run is of another {label.lower()}",
                    where=where,
                    found=", ".join(others),
                    expected=info[label],
                    remedy=REMEDY,
                )
        if info["Outcome"] == "succeeded" and not any(map(approvals.ended_well, own)):
            found, expected = "no line that it ended well", "what bag-info.txt says: Outcome: succeeded"
            yield Problem(
                code="run-not-in-journal",
                what="the journal does not tell of this run",
                where=where,
                found=found,
                expected=expected,
                remedy=REMEDY,
            )
        for e in opened[:1]:
            made = {n: d for n, d in e.inputs.items() if not (n == PLAN and info["Step"] == PLANNING)}
            changed = {n for n, digest in made.items() if listed.get(f"data/{bag.plain(n)}") != digest}
            if hidden := sorted(changed - set(info.get("Inputs-Changed-Since-Run", "").split(", "))):
                found, expected = ", ".join(hidden), f"as the run was made from, by line {e.n} of the journal"
                yield Problem(
                    code="inputs-differ",
                    what="the record holds other inputs than the run was made from",
                    where=where,
                    found=found,
                    expected=expected,
                    remedy=REMEDY,
                )


def _times(record: Path, info: dict[str, str], own: list[JournalEntry]) -> Iterator[Problem]:
    """Whether a run's lines follow each other, after it began and before it was sealed, as far as clocks can be trusted."""
    sealed, last = register.when(info["Sealed"]), evidence.begun(record.name)
    for e in (e for e in own if not e.put_back):  # such a line is put back later, with the time at which it was told
        at = e.when
        late = sealed is not None and at - sealed > register.CLOCKS
        if late or (last is not None and last - at > register.CLOCKS):
            where, expected = (f"{record / 'data' / GuestFolder.journal}:{e.n}", f"after {last}, before {info['Sealed']}")
            yield Problem(
                code="time-impossible",
                what="a time of the run cannot be",
                where=where,
                found=e.time,
                expected=expected,
                remedy="a clock was set meanwhile, or somebody wrote this",
            )
            return
        last = at


def _asked_for_time(record: Path, info: dict[str, str], listed: dict[str, str]) -> Iterator[Problem]:
    """Whether the site asked a service for the time, and the record says that it did not."""
    name = "data/params/site.yml"
    signing = (approvals.yaml(record / name) or {}).get("signing") if name in listed else None
    asked = signing.get("time_stamp") if isinstance(signing, dict) else None
    if asked and info.get("Time-Stamp-Service", "none") == "none":
        yield Problem(
            code="time-stamp-not-asked",
            what="the site asks for time stamps, and none was asked for",
            where=str(record / name),
            found=str(asked),
            expected="none",
            remedy=REMEDY,
        )


def _version(record: Path, own: list[JournalEntry]) -> Iterator[Problem]:
    """Whether a record of the first format tells of a run that only a later version can have written."""
    for e in own:
        if (e.event == "open" and e.clock is not None) or (e.event == "permitted" and e.service is not None):
            where, expected = f"{record / 'data' / GuestFolder.journal}:{e.n}", f"Record-Format: {FORMAT}"
            yield Problem(
                code="record-format-false",
                what="a record of this version says that an earlier one sealed it",
                where=where,
                found=e.event,
                expected=expected,
                remedy=REMEDY,
            )
            return


def _outcomes(record: Path, info: dict[str, str], listed: dict[str, str], entries: list[JournalEntry]) -> Iterator[Problem]:
    """Whether journal and executed notebook tell the same outcome as the record."""
    journal = record / "data" / GuestFolder.journal
    ended = {e.run: e.outcome for e in entries if e.event == "outcome"}
    told = {str(journal): ended.get(record.name, info["Outcome"])}
    if info.get("Notebook", "none") in listed:
        told[str(record / info["Notebook"])] = _outcome(record / info["Notebook"]) or info["Outcome"]
    for where, outcome in told.items():
        if outcome != info["Outcome"]:
            yield Problem(
                code="outcome-contradicted",
                what="the outcome is told in two ways",
                where=where,
                found=str(outcome),
                expected=info["Outcome"],
                remedy=REMEDY,
            )


def format_of(info: dict[str, str]) -> int:
    """By which rules a record was made."""
    said = info.get("Record-Format", "1")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 4 else 1


def _evidence(record: Path, listed: dict[str, str], entries: list[JournalEntry], notes: list[str]) -> Iterator[Problem]:
    """Whether what the run listed as its evidence is in the record, or named among what stays out, each by its hash."""
    rows = f"data/{evidence.LEFT_OUT}"
    inside, out = (set(listed.values()), evidence.outside(files.read(record / rows, limits.LEFT_OUT)) if rows in listed else {})
    kept, lost = list[str](), list[str]()
    for name, artefact in evidence.listed(entries, record.name).items():
        digest = artefact.sha256
        if digest in inside:
            continue
        if digest in out:
            disk = out[digest] == evidence.A_DISK and f"/{GuestFolder.disks}/" in name
            if disk or (out[digest] == evidence.LARGE and artefact.bytes > evidence.LARGEST):
                kept.append(name)
            elif out[digest] in (evidence.A_DISK, evidence.LARGE):
                why, expected = f"{artefact.bytes} bytes, called {out[digest]}", f"in the record, SHA-256 {digest}"
                yield Problem(
                    code="evidence-left-out",
                    what="evidence that was left out for no reason",
                    where=name,
                    found=why,
                    expected=expected,
                    remedy=REMEDY,
                )
            else:
                lost.append(f"{name} ({printable(out[digest])})")
            continue
        near = next((n for n in listed if n.endswith("/" + name.rpartition("/")[2])), "")
        found = f"{near} with SHA-256 {listed[near]}" if near else "no such file"
        remedy = "whoever sealed this record left it out: ask how it came to be"
        yield Problem(
            code="evidence-missing",
            what="evidence that the journal lists is not in the record",
            where=name,
            found=found,
            expected=f"SHA-256 {digest}",
            remedy=remedy,
        )
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
