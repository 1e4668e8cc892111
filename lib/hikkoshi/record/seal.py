"""Sealing: a run, or a guest's whole story, becomes a signed, read-only, chained folder of evidence.

It is built hidden (`.NAME.part`), searched for secrets, signed, made read-only, synced, and takes its name last; then it gets
its line in the register. Others wait only while it is chained to the record before it, signed and named. Whatever is killed on
the way leaves no half record under a final name, and is mended by the next seal. Without a key that may seal, it is sealed
unsigned and says so: evidence is never lost for the want of a key.
"""

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from hikkoshi import files
from hikkoshi.approval import approver, signatory, signature, statement
from hikkoshi.approval.signatory import Signatory
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, ToolFailed
from hikkoshi.params.home import Home
from hikkoshi.record import bag, contents, contradictions, instructions, mending, provenance, register, timestamp, verification
from hikkoshi.record.bag import Payload
from hikkoshi.record.contents import Contents
from hikkoshi.record.engine import environment
from hikkoshi.record.register import Register
from hikkoshi.run import lock
from hikkoshi.run.journal import Journal
from hikkoshi.run.lock import Asked
from hikkoshi.run.step import REPORT
from hikkoshi.secret import leaks
from hikkoshi.secret.masking import Mask
from hikkoshi.secret.reference import Secret

GUEST = "-guest"  # how the name of a record of a whole guest ends


class _Half(NamedTuple):
    """A record that is not chained to the others yet."""

    found: Contents
    payload: Payload
    who: Signatory
    secrets: list[Secret]


def folder(home: Home, guest: str) -> Path:
    """Where a guest's records are."""
    return home.records(guest)


def of_run(home: Home, guest: str, run: str, wait: float = register.PATIENCE, stopped: Asked = lock.never) -> Path:
    """Seal a run that has ended; the record's folder. One that is sealed already stays as it is.

    `Refused` for a secret in what was to be sealed; `Busy` where another seals for longer than `wait` seconds, or we are
    `stopped` before it is our turn. An `OSError`, such as a full disk, leaves nothing behind.
    """
    return _seal(home, guest, run, lambda: contents.of_run(home, guest, run), wait, stopped)


def of_guest(home: Home, guest: str) -> Path:
    """Seal the guest's whole story as it is now, and before it every run that has ended and is not sealed yet."""
    pending(home, guest)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}{GUEST}"
    return _seal(home, guest, name, lambda: contents.of_guest(home, guest), register.PATIENCE, lock.never)


def attempt(
    home: Home, guest: str, run: str, wait: float = register.PATIENCE, stopped: Asked = lock.never
) -> tuple[Path | None, str]:
    """Seal a run; its record, or why there is none, which is then in the journal, too. Never raises."""
    try:
        return of_run(home, guest, run, wait, stopped), ""
    except Exception as e:
        why = _mask(home).text(str(e) if isinstance(e, HikkoshiError) else f"{type(e).__name__}: {e}")
        journal = Journal(home.folder(guest).journal)
        try:
            told = [e for e in journal.ours() if (e.event, e.of) == ("unsealed", run)]
            if not told or told[-1].why != why:
                journal.append("unsealed", of=run, why=why)
        except (OSError, HikkoshiError):
            pass  # a full disk, a journal that is none: whoever called us tells it
        return None, why


def pending(home: Home, guest: str, stopped: Asked = lock.never, wait: float = register.PATIENCE) -> list[Path]:
    """Seal every run that has ended without a record (killed, or left open in JupyterLab), oldest first; the records made.

    In all it waits at most `wait` seconds for another's sealing; what is not sealed then waits for the next time.
    """
    end, made = time.monotonic() + wait, []
    for run in waiting(home, guest):
        if not stopped():
            made.append(attempt(home, guest, run, max(0.0, end - time.monotonic()), stopped)[0])
    return [path for path in made if path is not None]


def waiting(home: Home, guest: str) -> list[str]:
    """The runs that have ended without a record, or whose record the journal does not tell of; oldest first."""
    told = {e.of for e in Journal(_journal(home, guest)).ours() if e.event == "sealed"}
    return [run for run in _ended(home, guest) if run not in told]


def complete(home: Home, guest: str) -> Check:
    """Whether the guest's newest record of its whole story is good, and holds the report as it is now."""
    title, remedy = "the guest's story is sealed, with the report as it is now", f"run {REPORT} again"
    expected = "a signed record that holds this report"
    newest = max(folder(home, guest).glob(f"[!.]*{GUEST}"), default=None)
    if newest is None:
        return Check(
            code="story-sealed",
            title=title,
            ok=False,
            found="no record yet",
            expected=expected,
            remedy=remedy,
            where=str(folder(home, guest)),
        )
    held, _ = bag.read_manifest(newest / bag.MANIFEST)
    reports = [home.report(guest).with_suffix(kind) for kind in (".html", ".pdf")]
    there = {p.name: files.sha256(p, own=True) for p in reports if files.regular(p)}
    other = [name for name, digest in there.items() if held.get(f"data/reports/{name}") != digest]
    if other or not any(f"data/reports/{p.name}" in held for p in reports):
        told = f"{newest.name} holds another {', '.join(other)}" if other else f"{newest.name} holds no report"
        return Check(code="story-sealed", title=title, ok=False, found=told, expected=expected, remedy=remedy, where=str(newest))
    try:
        site = home.site()
        ca = home.path(site.signing.time_stamp_ca) if site.signing.time_stamp_ca else None
        found = verification.verify(newest, approver.trust(home, site), ca)
    except BadInput as e:
        problem = e.problems[0]
        return Check(
            code="story-sealed",
            title=title,
            ok=False,
            found=f"{problem.what}: {problem.found}",
            expected=expected,
            remedy=problem.remedy,
            where=problem.where,
        )
    problems = found.problems
    told = "; ".join(f"{p.what}: {p.found}" for p in problems) or words(home, newest)
    return Check(
        code="story-sealed",
        title=title,
        ok=not problems,
        found=told,
        expected=expected,
        remedy=problems[0].remedy if problems else "",
        where=str(newest),
    )


def words(home: Home, record: Path) -> str:
    """A record in one line, for a reader: where it is and who signed it."""
    info = bag.read_info(record)
    by = info.get("Sealed-By", "")
    who = f"NOT SIGNED: {by.removeprefix('nobody: ')}" if by.startswith("nobody") else f"signed by {by}"
    asked = info.get("Time-Stamp-Service", "none") != "none"
    without = " · WITHOUT TIME STAMP" if asked and not (record / instructions.TOKEN).is_file() else ""
    changed = f" · {what.upper()} CHANGED" if (what := provenance.changed(info)) else ""
    return f"{os.path.relpath(record, home.root)} · {who}{without}{changed}"


def _seal(home: Home, guest: str, name: str, gather: Callable[[], Contents], wait: float, stopped: Asked) -> Path:
    final = folder(home, guest) / name
    if name != bag.plain(name) or "/" in name or name.startswith((".", "-")):
        remedy = "runs are named by open_run; leave HIKKOSHI_RUN unset"
        raise BadInput(
            Problem(
                code="run-name-malformed",
                what="a run's name cannot name a folder",
                where=guest,
                found=repr(name),
                expected="ASCII without blanks",
                remedy=remedy,
            )
        )
    if final.parent.is_symlink():
        found, remedy = str(final.parent.readlink()), "see who put it there, and remove it"
        raise Refused(
            Problem(
                code="records-folder-link",
                what="a link stands in the place of the guest's records",
                where=str(final.parent),
                found=found,
                expected="a folder",
                remedy=remedy,
            )
        )
    list_of_all, end = register.of(home), time.monotonic() + wait
    with mending.alone(home.folder(guest), wait, stopped) as ours:
        if not ours:
            raise register.busy(home.folder(guest).seal_lock)
        told = any((e.event, e.of) == ("sealed", name) for e in Journal(_journal(home, guest)).ours())
        if final.exists():
            with list_of_all.locked(end - time.monotonic(), stopped):
                mending.mend(home, list_of_all)
                if not told:
                    _tell(home, guest, final)
            return final
        if told or any(line.identifier == f"{guest}/{name}" for line in list_of_all.lines()):
            remedy = "bring it back from a copy; sealed again from what is there now it would hide what happened"
            raise Refused(
                Problem(
                    code="record-gone",
                    what="the record of this run is gone",
                    where=str(final),
                    found="sealed before",
                    remedy=remedy,
                )
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            mending.clear(final.parent)
            part = final.with_name(f".{name}.part")
            part.mkdir(parents=True)
            half = _half(home, part, gather())
            with list_of_all.locked(end - time.monotonic(), stopped):
                mending.mend(home, list_of_all)
                note = _whole(home, guest, name, part, half, list_of_all)
                part.rename(final)
                files.sync_folder(final.parent)
                mending.enter(list_of_all, final)
                _tell(home, guest, final, **note)
        finally:
            mending.clear(final.parent)
    return final


def _half(home: Home, part: Path, found: Contents) -> _Half:
    """What takes long, and has nothing to do with other records: the payload, searched for secrets, on disk."""
    half = _Half(found, bag.fill(part, found.payload), signatory.find(home), home.secrets())
    with ThreadPoolExecutor() as pool:
        pool.submit(_sync, part)  # most of it is on disk by the time that the search is through
        _refuse(leaks.scan(part, half.secrets), part, found)
    for path in part.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    _sync(part)
    return half


def _whole(home: Home, guest: str, name: str, part: Path, half: _Half, list_of_all: Register) -> dict[str, str]:
    """What chains it to the records before it, and signs it; what the journal has to tell beside the record itself."""
    site, now, (found, payload, who, secrets) = home.site(), datetime.now(UTC).replace(microsecond=0), half
    before = next((line for line in reversed(list_of_all.lines()) if line.guest == guest), None)
    info = [
        ("Record-Format", str(contradictions.FORMAT)),
        ("Source-Organization", site.name),
        ("External-Identifier", f"{guest}/{name}"),
        ("External-Description", "Evidence of the move of a Xen guest to VMware vSphere; see README.txt"),
        ("Bag-Software-Agent", f"hikkoshi {metadata.version('hikkoshi')}"),
        ("Bagging-Date", f"{now:%Y-%m-%d}"),
        ("Sealed", f"{now:{statement.TIME}}"),
        ("Guest", guest),
        ("Step", found.step),
        ("Mode", found.mode),
        ("Outcome", found.outcome),
        ("Notebook", f"data/{found.notebook}" if found.notebook else ""),
        ("Operator", environment.operator()),
        ("Sealed-By", who.name or f"nobody: {who.why}"),
        ("Sealed-By-Key", who.key),
        ("Time-Stamp-Service", site.signing.time_stamp or ""),
        ("Runbook-Commit", environment.commit()),
        ("Runbook", found.provenance.runbook),
        ("Runbook-SHA256", found.provenance.sha256),
        ("Runbook-Project-SHA256", found.provenance.own_sha256),
        ("Software", found.provenance.software),
        ("Plan-SHA256", found.plan),
        ("Inputs-Changed-Since-Run", found.changed),
        ("Secrets-Searched-For", ", ".join(sorted({s.name for s in secrets}))),
        ("Secrets-Not-Readable", ", ".join(home.unread_secrets())),
        ("Previous-Record", before.identifier if before else ""),
        ("Previous-Record-SHA256", before.sha256 if before else ""),
        ("Register-Previous-SHA256", list_of_all.head()),
    ]
    readme = instructions.text(
        identifier=f"{guest}/{name}",
        names=payload.digests,
        sealed=now,
        signer=who.name,
        unsigned=who.why,
        previous=before.record if before else "",
        previous_sha256=before.sha256 if before else "",
        time_stamp=site.signing.time_stamp or "",
        provenance=found.provenance,
    )
    bag.close(part, payload, info, {"README.txt": readme})
    _refuse(leaks.scan(part, secrets, but="data"), part, found)
    note = _sign(home, part, who, now)
    for path in (p for p in part.iterdir() if not p.is_dir()):
        path.chmod(0o400)
    part.chmod(0o500)
    _sync(part)
    return note


def _refuse(leaked: Sequence[Problem], part: Path, found: Contents) -> None:
    if leaked:
        raise Refused(*(_at_its_source(p, part, found) for p in leaked))


def _sign(home: Home, part: Path, who: Signatory, now: datetime) -> dict[str, str]:
    if not who.name:
        return {}
    signing, signed = home.site().signing, part / bag.TAG_MANIFEST
    made = signature.sign(signed, home.path(signing.key), "evidence")
    verdict = signature.verify(signed, approver.trust(home, home.site()), "evidence", now)
    if (verdict.signer, verdict.key) != (who.name, who.key):
        found, expected = verdict.flaw or f"{verdict.signer} {verdict.key}", f"{who.name} {who.key}"
        remedy = "somebody changed the key or the list meanwhile: run the step again"
        raise ToolFailed(
            Problem(
                code="sealed-by-another",
                what="a seal was not signed by who was to sign it",
                where=str(signed),
                found=found,
                expected=expected,
                remedy=remedy,
            )
        )
    if signing.time_stamp is None or signing.time_stamp_ca is None:
        return {}
    try:
        return {"time_stamp": f"{timestamp.stamp(made, signing.time_stamp, home.path(signing.time_stamp_ca)):{statement.TIME}}"}
    except ToolFailed as e:
        return {"time_stamp": f"none: {e.problems[0].what}: {e.problems[0].found}"}


def _sync(part: Path) -> None:
    """Bring its whole file system to disk, once for all: a sync per file takes ten times as long."""
    handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(handle):
            raise OSError(number := ctypes.get_errno(), os.strerror(number), str(part))
    finally:
        os.close(handle)


def _at_its_source(problem: Problem, part: Path, found: Contents) -> Problem:
    """The problem told of the file that was copied: the copy is gone when somebody reads it."""
    for name, content in sorted(found.payload.items(), reverse=True):
        copy = str(part / "data" / name)
        if isinstance(content, Path) and problem.where.startswith(copy):
            where = str(content) + problem.where.removeprefix(copy)
            return replace(problem, where=where)
    return problem


def _tell(home: Home, guest: str, record: Path, **note: str) -> None:
    where, info = os.path.relpath(record, home.root), bag.read_info(record)
    by = info.get("Sealed-By", "")
    if changed := provenance.changed(info):
        note["changed"] = changed
    digest = files.sha256(record / bag.TAG_MANIFEST, own=True)
    if (
        "time_stamp" not in note and (record / instructions.TOKEN).is_file()
    ):  # sealed by a run that was killed before it could tell
        note["time_stamp"] = _time_of(home, record)
    Journal(_journal(home, guest)).append("sealed", of=record.name, record=where, sha256=digest, signer=by, **note)


def _time_of(home: Home, record: Path) -> str:
    """The time in a record's token, as a reader is told it."""
    ca = home.site().signing.time_stamp_ca
    try:
        told = timestamp.verify(record / instructions.SIGNATURE, home.path(ca)) if ca else None
    except ToolFailed:
        told = None
    return f"{told:{statement.TIME}}" if told else "there, of a time that was not checked"


def _ended(home: Home, guest: str) -> list[str]:
    """Names of the runs that have ended: all that nobody is at work on."""
    place = home.folder(guest)
    entries = Journal(_journal(home, guest)).ours()
    over = {e.run for e in entries if e.event in ("end", "outcome")}
    parts = {p.name.partition(".")[0] for p in place.runs.glob("*.part.ipynb")}
    executed = {p.name.partition(".")[0] for p in place.runs.glob("*.ipynb")}
    at_work = parts if lock.held(place.runner_lock) or lock.held(place.rollback_lock) else set()
    if lock.held(place.lock):
        at_work = at_work | ({files.read(place.lock).decode(errors="replace").partition(",")[0]} - over)
    return sorted(({e.run for e in entries if e.run} | executed) - at_work)


def _journal(home: Home, guest: str) -> Path:
    return home.folder(guest).journal


def _mask(home: Home) -> Mask:
    try:
        return Mask(home.secrets())
    except HikkoshiError:  # of parameters that cannot be read: their error holds no values
        return Mask()
