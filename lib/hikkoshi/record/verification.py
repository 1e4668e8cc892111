"""Whether records are what was sealed: everything that is wrong with one, with a guest's chain of them, or with all.

Needs the records, and a list of allowed signers got by another way; nothing of what made them. Nothing is followed out of a
record (no link, no name in a manifest), and nothing is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval import limits, signature
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import BadInput, Problem, printable
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, silent
from hikkoshi.record import acknowledgement, bag
from hikkoshi.record.approvals import Known
from hikkoshi.record.bag import TAMPERED
from hikkoshi.record.inspection import Verified, inspect, judged, size, told
from hikkoshi.record.instructions import TOKEN
from hikkoshi.record.register import FILENAME, Line, Register, backwards, records_at
from hikkoshi.run import lock
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal

ACTS = ("open", "start", "permitted", "step")  # what only a run that is not over writes
KILLED = "if a seal was killed, the guest's next run removes it; else find out who put it there, or took something away"


@dataclass(frozen=True)
class Verification:
    """Every record looked at, and what is wrong with the register."""

    records: tuple[Verified, ...]
    register: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong, with the records and between them."""
        return (*(p for r in self.records for p in r.problems), *self.register)

    def plain(self) -> dict[str, object]:
        """The same as JSON can hold it."""
        return {
            "good": not self.problems,
            "records": [r.plain() for r in self.records],
            "register": [vars(p) for p in self.register],
            "notes": list(self.notes),
        }


def verify(path: Path, trust: Trust, ca: Path | None = None, *, progress: Progress = silent) -> Verification:
    """Verify one record, a guest's folder of records, or the folder of all records with its register.

    `ca`: certificate authority of the time stamp service. `BadInput` where there is no record, or the lists of keys cannot
    be used.
    """
    trust.check()
    if path.is_symlink():
        remedy = "name the folder itself"
        raise BadInput(
            Problem(
                code="record-is-link",
                what="a link is no record",
                where=str(path),
                found=f"a link to {path.readlink()}",
                expected="a folder",
                remedy=remedy,
            )
        )
    path = path.resolve()
    try:
        records, scope = records_at(path)
    except OSError as e:
        remedy = "verify as somebody who may read them"
        raise BadInput(
            Problem(
                code="records-unreadable",
                what="the records cannot be looked at",
                where=str(e.filename),
                found=e.strerror or str(e),
                remedy=remedy,
            )
        ) from None
    total, done = sum(map(size, records)), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total, f"{len(found)} of {len(records)} records")

    found: list[Verified] = []
    approvals: Known = {}
    for record in records:
        found.append(inspect(record, trust, ca, count, approvals))
    together = {v.identifier: v for v in found}
    register = Register((path if scope == "all" else path.parent if scope == "guest" else path.parent.parent) / FILENAME)
    found = [_with(v, judged(v.path, _chain(v, together, register))) for v in found]
    notes = [] if register.exists() else ["there is no register here: newest records that are gone are not found"]
    problems = list(_forks(found))
    if register.exists():
        try:
            problems += [*(register.check() if scope == "all" else ()), *_entries(found, register, scope, path)]
        except BadInput as e:
            problems += e.problems
    elif scope == "all":
        found_there = "something that is no file of its own" if register.path.is_symlink() or register.path.exists() else ""
        told_found = found_there or "no such file"
        problems.append(
            Problem(
                code="register-missing",
                what="the register is missing",
                where=str(register.path),
                found=told_found,
                remedy=TAMPERED,
            )
        )
    if scope != "record":
        problems += _strangers(path, register, scope, found)
        notes += [
            f"{p} is no part of any record: an acknowledging was killed, the next seal removes it" for p in _left(path, scope)
        ]
    return Verification(tuple(found), tuple(map(told, problems)), tuple(notes))


def lost_stamp(record: Path, entry: JournalEntry, journal: Path) -> Iterator[Problem]:
    """The time stamp of a record that a line of a journal tells of: nothing that is signed names it, since it comes last."""
    told = entry.time_stamp
    sealed = (entry.event, entry.of) == ("sealed", record.name)
    if sealed and told and not told.startswith("none") and not (record / TOKEN).is_file():
        found, expected = "no such file", f"one of {told}, by line {entry.n} of {journal}"
        yield Problem(
            code="time-stamp-gone",
            what="a time stamp was taken away",
            where=str(record / TOKEN),
            found=found,
            expected=expected,
            remedy=TAMPERED,
        )


def _with(found: Verified, more: Iterator[Problem | str]) -> Verified:
    problems, notes = list(found.problems), list(found.notes)
    for word in more:
        if isinstance(word, str):
            notes.append(printable(word))
        else:
            problems.append(told(word))
    return replace(found, problems=tuple(problems), notes=tuple(notes))


def _chain(found: Verified, together: dict[str, Verified], register: Register) -> Iterator[Problem | str]:
    """Whether the record before this one is there, is the one that was sealed, and is older."""
    named = found.info.get("Previous-Record", "")
    if named in ("", "none"):
        return
    guest, _, name = named.partition("/")
    before, where = found.path.parent / name, str(found.path)
    if guest != found.info.get("Guest") or "/" in name or name in ("", ".", ".."):
        yield Problem(
            code="record-before-of-another",
            what="the record before is none of this guest",
            where=where,
            found=named,
            expected=f"{found.info.get('Guest')}/…",
            remedy=TAMPERED,
        )
        return
    digest = None if before.is_symlink() else hash_of(before / bag.TAG_MANIFEST)
    if digest is None:
        alone = not register.exists() and not any(map(bag.is_record, _others(found.path)))
        if alone:
            yield f"chain not checked: the record before it, {named}, is not beside it"
        else:
            yield Problem(
                code="record-before-missing",
                what="the record before is missing",
                where=str(before),
                found=f"{found.identifier} follows it",
                expected=named,
                remedy=TAMPERED,
            )
        return
    expected = found.info.get("Previous-Record-SHA256", "")
    if digest != expected:
        yield Problem(
            code="record-before-differs",
            what="the record before is not the one that was sealed",
            where=str(before),
            found=digest,
            expected=expected,
            remedy=TAMPERED,
        )
    earlier = together[named].info if named in together else bag.read_info(before)
    if backwards(earlier.get("Sealed", ""), found.info.get("Sealed", "")):
        remedy = "one of the two clocks was wrong, or somebody set a time back"
        times = f"{found.info.get('Sealed')}, the record before {earlier.get('Sealed')}"
        yield Problem(
            code="chain-time-backwards",
            what="time goes backwards along the chain",
            where=where,
            found=times,
            expected="each record later than the one before",
            remedy=remedy,
        )
    journal, longer = before / "data" / GuestFolder.journal, found.path / "data" / GuestFolder.journal
    if all(map(files.regular, (journal, longer))) and not _begins(longer, journal):
        remedy = "the journal was rewritten between the two: compare them"
        yield Problem(
            code="journal-not-continued",
            what="the journal is not that of the record before, continued",
            where=where,
            found="another beginning",
            expected=named,
            remedy=remedy,
        )
    yield from _more(before, journal, longer)
    if not found.problems and files.regular(longer):  # else its journal is nobody's word
        for e in Journal(longer).ours():  # it could be read: else there would be a problem
            yield from lost_stamp(before, e, longer)


def _more(before: Path, journal: Path, longer: Path) -> Iterator[Problem]:
    """Whether a later journal tells of something that a run did and its own record does not; a run acts no more once it ended."""
    if not all(map(files.regular, (journal, longer))):
        return
    known = {e.n for e in Journal(journal).ours()}
    for e in Journal(longer).ours():
        if e.run == before.name and e.event in ACTS and e.n not in known and not e.put_back:
            found, expected = f"{e.event} {e.title}".strip(), f"no more of run {before.name}"
            remedy = "the record of that run was sealed without its end, or it was not over: compare the two journals"
            yield Problem(
                code="run-did-more",
                what="a run did more than its record tells",
                where=f"{longer}:{e.n}",
                found=found,
                expected=expected,
                remedy=remedy,
            )
            return


def _begins(longer: Path, beginning: Path) -> bool:
    try:
        start = files.read(beginning, limits.JOURNAL)
        with files.opened(longer) as f:
            return f.read(len(start)) == start
    except OSError:
        return False


def _others(record: Path) -> list[Path]:
    return [p for p in record.parent.iterdir() if p != record and p.is_dir()]


def _forks(found: list[Verified]) -> Iterator[Problem]:
    """Two records that follow the same one, or two first ones, of a guest."""
    followers: dict[tuple[Path, str], list[Verified]] = {}
    for v in found:
        followers.setdefault((v.path.parent, v.info.get("Previous-Record", "")), []).append(v)
    for (folder, before), several in followers.items():
        if len(several) > 1:
            names = ", ".join(v.path.name for v in several)
            told = f"{names} follow {before if before not in ('', 'none') else 'nothing'}"
            yield Problem(
                code="chain-forks",
                what="the chain of records forks",
                where=str(folder),
                found=told,
                expected="one record after each",
                remedy=TAMPERED,
            )


def _entries(found: list[Verified], register: Register, scope: str, path: Path) -> Iterator[Problem]:
    """Whether each record has its line in the register and each line its record."""
    lines, before = {line.identifier: line for line in register.lines()}, register.before()
    for v in found:
        here, expected = f"{v.path.parent.name}/{v.path.name}", hash_of(v.path / bag.TAG_MANIFEST) or "nothing"
        line = lines.pop(here, None)
        if line is None:
            remedy = "if sealing was killed just now, the next seal enters it; else it was put there by somebody"
            yield Problem(
                code="record-not-in-register",
                what="a record is not in the register",
                where=str(v.path),
                found="no line",
                expected=here,
                remedy=remedy,
            )
            continue
        yield from _differences(v, line, expected, register.path, before.get(here))
    if scope != "record":
        for identifier, line in lines.items():
            if scope == "all" or line.guest == path.name:
                where = f"{register.path}:{line.n}"
                yield Problem(
                    code="record-in-register-missing",
                    what="a record that the register names is missing",
                    where=where,
                    found="no such record",
                    expected=identifier,
                    remedy=TAMPERED,
                )


def _differences(v: Verified, line: Line, digest: str, register: Path, before: str | None) -> Iterator[Problem]:
    info = v.info
    said = {
        "sha256": (line.sha256, digest),
        "sealed": (line.sealed, info.get("Sealed", "")),
        "outcome": (line.outcome, info.get("Outcome", "")),
        "signer": (line.signer, info.get("Sealed-By", "").partition(":")[0]),
        "the line before": (before, info.get("Register-Previous-SHA256", "")),
    }
    for what, (written, true) in said.items():
        if written != true:
            where = f"{register}, line of {line.identifier}"
            yield Problem(
                code="register-differs",
                what=f"the register does not fit the record: {what}",
                where=where,
                found=str(written),
                expected=true,
                remedy=TAMPERED,
            )


def _strangers(path: Path, register: Register, scope: str, found: list[Verified]) -> Iterator[Problem]:
    """What is no record beside the records: of what was sealed nothing is anywhere else, and no folder is empty."""
    guests = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.is_symlink()] if scope == "all" else [path]
    sealing = lock.held(register.path)  # somebody is at it just now
    words = [acknowledgement.path_of(v.path) for v in found if v.acknowledged]
    known = {register.path, *words, *map(signature.path_of, words), *_left(path, scope)}
    for place in (path, *guests) if scope == "all" else guests:
        for entry in sorted(place.iterdir()):
            hidden, folder = entry.name.startswith("."), entry.is_dir() and not entry.is_symlink()
            if entry in known or (folder and not hidden):
                continue
            if folder and entry.name.endswith(".part") and place in guests:
                if not sealing:
                    yield Problem(
                        code="half-record",
                        what="a half record lies among the records",
                        where=str(entry),
                        found="a folder",
                        expected="none",
                        remedy=KILLED,
                    )
                continue
            remedy = "nobody but the sealing puts anything here: find out who did"
            yield Problem(
                code="not-a-record",
                what="something lies among the records that is none",
                where=str(entry),
                found="",
                expected="records only",
                remedy=remedy,
            )
    for guest in guests:
        if not any(guest.iterdir()):
            yield Problem(
                code="records-folder-empty",
                what="a guest's folder holds no record",
                where=str(guest),
                found="nothing",
                expected="records",
                remedy=KILLED,
            )


def _left(path: Path, scope: str) -> list[Path]:
    """What killed acknowledgings left among the records."""
    guests = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.is_symlink()] if scope == "all" else [path]
    return [p for guest in guests for p in acknowledgement.parts(guest)]


def hash_of(path: Path) -> str | None:
    """SHA-256 of what a record's signature is over; none where there is no such file, else why it has none."""
    try:
        return files.sha256(path, own=True, limit=limits.MANIFEST) if files.regular(path) else None
    except OSError as e:
        return f"not readable: {e.strerror}"
