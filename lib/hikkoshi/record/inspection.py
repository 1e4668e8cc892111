"""One record by itself: its bag, its signature and time, and whether what it says of itself is what is in it."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from hikkoshi import files
from hikkoshi.approval import limits
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import Problem, printable
from hikkoshi.record import acknowledgement, attestation, bag, contradictions, evidence, register
from hikkoshi.record.approvals import Known
from hikkoshi.record.bag import TAMPERED
from hikkoshi.record.instructions import SIGNATURE, TOKEN
from hikkoshi.record.register import CLOCKS

TAGS = ("bagit.txt", bag.INFO, "README.txt", bag.MANIFEST)  # what the signed list has to name, and nothing else
LABELS = ("External-Identifier", "Guest", "Sealed", "Outcome", "Sealed-By", "Previous-Record", "Register-Previous-SHA256")
BLOCK = 1 << 20
LONGEST_ERROR = 300  # characters of a foreseen-by-nobody error's words


_P = TypeVar("_P", bound=Problem | str)


@dataclass(frozen=True)
class Verified:
    """One record: what it says of itself, all that is wrong with it, and what could not be looked at."""

    path: Path
    info: dict[str, str]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = field(default=())
    acknowledged: str = ""  # a person's signed word that nobody signed this when it was sealed

    @property
    def identifier(self) -> str:
        """GUEST/RECORD, as it was sealed."""
        return self.info.get("External-Identifier", "")

    def plain(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        said = {k: self.info.get(k, "") for k in ("Outcome", "Sealed", "Sealed-By")}
        return {
            "path": printable(str(self.path)),
            **{k.lower().replace("-", "_"): v for k, v in said.items()},
            "good": not self.problems,
            "acknowledged": self.acknowledged,
            "problems": [vars(p) for p in self.problems],
            "notes": list(self.notes),
        }

    def row(self) -> dict[str, str]:
        """The same as a row for a reader."""
        count, good = len(self.problems), "unsigned, acknowledged" if self.acknowledged else "good"
        return {
            "": good if not count else f"{count} problem{'s' if count > 1 else ''}",
            "record": printable(f"{self.path.parent.name}/{self.path.name}"),
            "outcome": self.info.get("Outcome", "?"),
            "sealed": self.info.get("Sealed", "?"),
            "by": self.info.get("Sealed-By", "?").partition(":")[0],
            "note": "; ".join(self.notes),
        }


def size(record: Path) -> int:
    """Bytes of all files in a record, as far as it can be looked at."""
    try:
        return sum(found.st_size for _, found in _walk(record) if stat.S_ISREG(found.st_mode))
    except OSError:
        return 0


def inspect(record: Path, trust: Trust, ca: Path | None, count: Callable[[int], None], known: Known) -> Verified:
    """Everything about one record that needs no other; `count` is told of bytes as they are hashed.

    `known` keeps what approvals are worth from one record to the next: all of a guest's records hold the same ones.
    """
    found = _Found()
    try:
        _inspect(record, trust, ca, count, known, found)
    except Exception as e:  # whatever lies there, it gets a verdict
        found.problems.append(_unjudged(record, e))
    return Verified(record, found.info, tuple(map(told, found.problems)), tuple(found.notes), found.word)


@dataclass
class _Found:
    """What was found until now."""

    info: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    word: str = ""


def judged(record: Path, found: Iterable[_P]) -> Iterator[_P | Problem]:
    """What a check finds, and at last what kept it from going on: no run of ours leaves a record that cannot be judged."""
    try:
        yield from found
    except Exception as e:
        yield _unjudged(record, e)


def _unjudged(record: Path, e: Exception) -> Problem:
    if isinstance(e, OSError) and e.filename is not None:
        where, why = str(e.filename), e.strerror or str(e)
        return Problem(
            code="record-file-unreadable",
            what="a file of the record cannot be read",
            where=where,
            found=why,
            expected="a file as it is sealed",
            remedy=TAMPERED,
        )
    why = f"{type(e).__name__}: {e}"[:LONGEST_ERROR]
    return Problem(
        code="record-unjudgeable",
        what="the record cannot be judged",
        where=str(record),
        found=why,
        expected="a record as it is sealed",
        remedy=TAMPERED,
    )


def _inspect(record: Path, trust: Trust, ca: Path | None, count: Callable[[int], None], known: Known, found: _Found) -> None:
    problems, notes = found.problems, found.notes
    there = dict(_walk(record))
    regular = {name for name, found in there.items() if stat.S_ISREG(found.st_mode)}
    listed: dict[str, str] = {}
    for name, below in ((bag.TAG_MANIFEST, ""), (bag.MANIFEST, "data/")):
        if name in regular:
            digests, flaws = bag.read_manifest(record / name)
            listed |= digests
            problems += flaws
        else:
            problems.append(
                Problem(
                    code="manifest-missing",
                    what="a manifest is missing",
                    where=str(record / name),
                    found="no such file",
                    expected=below,
                    remedy=TAMPERED,
                )
            )
    missing_tags = [t for t in TAGS if t not in listed]
    if missing_tags and bag.TAG_MANIFEST in regular:
        where, lacks = str(record / bag.TAG_MANIFEST), f"without {', '.join(missing_tags)}"
        problems.append(
            Problem(
                code="signed-list-incomplete",
                what="the signed list does not name all it has to",
                where=where,
                found=lacks,
                expected=", ".join(TAGS),
                remedy=TAMPERED,
            )
        )
    problems += _differences(record, listed, there, regular, count)
    info = found.info = bag.read_info(record) if bag.INFO in regular else {}
    problems += _declared(record, info, listed, there)
    problems += attestation.check(record, info, trust, ca, regular, notes)
    if info.get("Inputs-Changed-Since-Run", "none") != "none":
        notes.append(f"sealed late: {info['Inputs-Changed-Since-Run']} changed between the run and its sealing")
    if info.get("Secrets-Not-Readable", "none") != "none":
        notes.append(f"not searched for {info['Secrets-Not-Readable']}: it could not be read when this was sealed")
    alone = all(p.code == attestation.UNSIGNED for p in problems)  # what is inside is only as good as the bag
    if alone:
        for found_inside in contradictions.check(record, info, listed, trust, known, notes):
            problems += judged(record, found_inside)
    if alone and problems and info.get("Sealed-By", "").startswith("nobody: "):
        given = acknowledgement.find(record, info.get("External-Identifier", ""), trust)
        if isinstance(given, Problem):
            problems.append(given)
        elif given:
            found.problems, found.word = [p for p in problems if p.code != attestation.UNSIGNED], printable(str(given))
            notes.insert(0, found.word)


def told(problem: Problem) -> Problem:
    """The same problem, safe to print."""
    return Problem(**{name: printable(text) for name, text in asdict(problem).items()})


def _walk(record: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(name, lstat) of everything in a record, links not followed."""
    for place, folders, names in os.walk(record):
        for name in sorted([*folders, *names]):
            path = Path(place, name)
            yield path.relative_to(record).as_posix(), path.lstat()


def _differences(
    record: Path, listed: dict[str, str], there: dict[str, os.stat_result], regular: set[str], count: Callable[[int], None]
) -> Iterator[Problem]:
    """Files that are missing, changed, added, or not files."""
    asked = bag.read_info(record).get("Time-Stamp-Service", "none") != "none"
    unlisted = {bag.TAG_MANIFEST, SIGNATURE} | ({TOKEN} if asked else set())
    folders = {p.as_posix() for name in listed for p in PurePosixPath(name).parents} | {"data"}
    for name, found in there.items():
        where = str(record / name)
        if stat.S_ISDIR(found.st_mode):
            if name not in folders:
                yield Problem(
                    code="record-folder-added",
                    what="a folder was added",
                    where=where,
                    found="a folder without a listed file",
                    expected="nothing",
                    remedy=TAMPERED,
                )
        elif not stat.S_ISREG(found.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "neither file nor folder"
            yield Problem(
                code="record-not-a-file",
                what="something stands in a record that is no file",
                where=where,
                found=kind,
                expected="files and folders only",
                remedy=TAMPERED,
            )
        elif name not in listed and name not in unlisted:
            yield Problem(
                code="record-file-added",
                what="a file was added",
                where=where,
                found=f"{found.st_size} bytes",
                expected="nothing: no manifest names it",
                remedy=TAMPERED,
            )
    for name, digest in listed.items():
        if name not in there:
            yield Problem(
                code="record-file-missing",
                what="a file is missing",
                where=str(record / name),
                found="no such file",
                expected=f"SHA-256 {digest}",
                remedy=TAMPERED,
            )
    vast = {name for name in listed if name in regular and there[name].st_size > limits.SEALED}
    for name in sorted(vast):
        has, most = f"{there[name].st_size} bytes", f"at most {files.human(limits.SEALED)}"
        yield Problem(
            code="record-file-too-large",
            what="a file is larger than any that is sealed",
            where=str(record / name),
            found=has,
            expected=most,
            remedy=TAMPERED,
        )
    present = [name for name in listed if name in regular - vast]
    with ThreadPoolExecutor(bag.THREADS) as pool:
        for name, digest in zip(present, pool.map(lambda n: _sha256(record / n, count), present), strict=True):
            if digest != listed[name]:
                yield Problem(
                    code="record-file-changed",
                    what="a file was changed",
                    where=str(record / name),
                    found=digest,
                    expected=listed[name],
                    remedy=TAMPERED,
                )


def _sha256(path: Path, count: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    try:
        with files.opened(path) as f:
            while block := f.read(BLOCK):
                digest.update(block)
                count(len(block))
    except OSError as e:
        return f"not readable: {e.strerror}"
    return digest.hexdigest()


def _declared(record: Path, info: dict[str, str], listed: dict[str, str], there: dict[str, os.stat_result]) -> Iterator[Problem]:
    """What bag-info.txt says of the record itself."""
    where = str(record / bag.INFO)
    lacking = [label for label in LABELS if not info.get(label)]
    if lacking:
        yield Problem(
            code="record-info-incomplete",
            what="the record does not say what it is",
            where=where,
            found=f"without {', '.join(lacking)}",
            expected="all",
            remedy=TAMPERED,
        )
        return
    identifier, here = info["External-Identifier"], record.name
    if identifier != f"{info['Guest']}/{here}":
        yield Problem(
            code="record-renamed",
            what="this is another record than its folder's name says",
            where=where,
            found=identifier,
            expected=f"…/{here}",
            remedy=TAMPERED,
        )
    elif files.regular(record.parent.parent / register.FILENAME) and record.parent.name != info["Guest"]:
        found, expected = record.parent.name, info["Guest"]
        yield Problem(
            code="record-misplaced",
            what="the record lies in another guest's folder",
            where=str(record),
            found=found,
            expected=expected,
            remedy=TAMPERED,
        )
    yield from _dated(record, info)
    payload = [name for name in listed if name.startswith("data/")]
    oxum = f"{sum(there[n].st_size for n in payload if n in there)}.{len(payload)}"
    if info.get("Payload-Oxum") != oxum:
        yield Problem(
            code="payload-size-differs",
            what="the payload has another size",
            where=where,
            found=oxum,
            expected=info.get("Payload-Oxum", "none"),
            remedy=TAMPERED,
        )


def _dated(record: Path, info: dict[str, str]) -> Iterator[Problem]:
    """Whether it was sealed after what it tells of, and before now."""
    where, sealed, began = str(record / bag.INFO), _time(info), evidence.begun(record.name)
    if sealed is None:
        expected = "such as 2026-11-27T20:00:00Z"
        yield Problem(
            code="sealing-time-malformed",
            what="the record does not say when it was sealed",
            where=where,
            found=info["Sealed"],
            expected=expected,
            remedy=TAMPERED,
        )
        return
    now, remedy = (datetime.now(UTC), "a clock was wrong, that of the sealing machine or this one; else somebody made it up")
    if sealed - now > CLOCKS:
        yield Problem(
            code="sealed-in-future",
            what="the record was sealed in the future",
            where=where,
            found=info["Sealed"],
            expected=f"before {now:%Y-%m-%d %H:%M} UTC",
            remedy=remedy,
        )
    if began and began - sealed > CLOCKS:
        found = f"begun {began:%Y-%m-%d %H:%M:%S} UTC, by its name"
        yield Problem(
            code="sealed-before-run",
            what="the record was sealed before its run began",
            where=where,
            found=info["Sealed"],
            expected=found,
            remedy=remedy,
        )


def _time(info: dict[str, str]) -> datetime | None:
    return register.when(info.get("Sealed", ""))
