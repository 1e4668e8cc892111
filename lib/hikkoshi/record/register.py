"""The register: one line per sealed record of all guests, each with the SHA-256 of the line before it.

A record that is taken away together with its line leaves a gap in this chain, the newest ones excepted: whoever keeps a copy
of the last line finds these too.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval import limits, statement
from hikkoshi.errors import BadInput, Busy, Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.record import bag
from hikkoshi.run import lock

FILENAME = "register.tsv"
CLOCKS = timedelta(minutes=10)  # by which the clocks of two machines, or of a time stamp service, may differ
PATIENCE = 60.0  # seconds; sealing one run takes a few
REMEDY = "take the register from a backup; compare its last line with a copy kept elsewhere; do not repair it by hand"


@dataclass(frozen=True)
class Line:
    """One sealed record. `sha256` is that of its tagmanifest-sha256.txt, `previous` that of the line before."""

    n: str
    sealed: str
    guest: str
    record: str
    outcome: str
    sha256: str
    signer: str
    previous: str

    @property
    def identifier(self) -> str:
        """GUEST/RECORD."""
        return f"{self.guest}/{self.record}"


NAME, HASH = re.compile(r"[A-Za-z0-9=][A-Za-z0-9._=-]*"), re.compile(r"[0-9a-f]{64}")
HEADING = "\t".join(f.name for f in fields(Line))


class Register:
    """A register.tsv, beside the guests' folders of records."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is one: a file of its own."""
        return files.regular(self.path)

    @contextlib.contextmanager
    def locked(self, wait: float = PATIENCE, stopped: Callable[[], bool] = lock.never) -> Iterator[None]:
        """Nobody else seals as long as this lasts. A line torn by a crash is taken away.

        Waits for whoever seals now, `wait` seconds at most, and not after `stopped`: `Busy` then.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            opened = files.updated(self.path)
        except OSError as e:
            remedy = "see who put it there, remove it, and bring the register back from a backup"
            raise Refused(
                Problem(
                    code="register-not-a-file",
                    what="the register is no file of its own",
                    where=str(self.path),
                    found=e.strerror or str(e),
                    expected=FILENAME,
                    remedy=remedy,
                )
            ) from None
        with opened as f:
            if not lock.take(f, wait, stopped):
                raise busy(self.path)
            content = self._read()
            if not content.endswith(b"\n"):
                f.truncate(content.rfind(b"\n") + 1)
            if b"\n" not in content:
                self._write(HEADING)
            yield

    def append(self, *, sealed: str, guest: str, record: str, outcome: str, sha256: str, signer: str) -> None:
        """Add a line, synced to disk before this returns; only while it is locked."""
        raw = self._raw()
        line = Line(str(len(raw)), sealed, guest, record, outcome, sha256, signer, _sha256(raw[-1]))
        self._write("\t".join(astuple(line)))

    def head(self) -> str:
        """SHA-256 of the last line, the heading where there is no other."""
        raw = self._raw()
        return _sha256(raw[-1]) if raw else ""

    def lines(self) -> list[Line]:
        """All lines that can be read."""
        return [line for _, line in self._parsed() if line is not None]

    def before(self) -> dict[str, str]:
        """{GUEST/RECORD: SHA-256 of the line before its own}; of a record that stands twice, the first."""
        found: dict[str, str] = {}
        before = _sha256(HEADING.encode())
        for raw, line in self._parsed():
            if line is not None:
                found.setdefault(line.identifier, before)
            before = _sha256(raw)
        return found

    def check(self) -> Iterator[Problem]:
        """Every line that does not follow from the one before it."""
        raw = self._raw()
        if not raw or raw[0] != HEADING.encode():
            found = raw[0].decode(errors="replace")[:80] if raw else "nothing"
            yield Problem(
                code="register-without-heading",
                what="the register has no heading",
                where=f"{self.path}:1",
                found=found,
                expected=HEADING,
                remedy=REMEDY,
            )
        before, seen = _sha256(raw[0]) if raw else "", dict[str, int]()
        last = ""
        for n, (this, line) in enumerate(self._parsed(), 1):
            where = f"{self.path}:{n + 1}"
            if line is None:
                found = this.decode(errors="replace")[:120]
                yield Problem(
                    code="register-line-unreadable",
                    what="a line of the register cannot be read",
                    where=where,
                    found=found,
                    expected=f"{len(fields(Line))} columns",
                    remedy=REMEDY,
                )
            elif line.previous != before or line.n != str(n):
                found, expected = f"n {line.n}, previous {line.previous}", f"n {n}, previous {before}"
                yield Problem(
                    code="register-changed",
                    what="the register was changed after it was written",
                    where=where,
                    found=found,
                    expected=expected,
                    remedy=REMEDY,
                )
            if line is not None and backwards(last, line.sealed):
                found, expected = line.sealed, f"after {last}, as the line before"
                remedy = "a clock was set back, or somebody wrote this line: ask who sealed then"
                yield Problem(
                    code="register-time-backwards",
                    what="time goes backwards in the register",
                    where=where,
                    found=found,
                    expected=expected,
                    remedy=remedy,
                )
            last = line.sealed if line is not None else last
            if line is not None and seen.setdefault(line.identifier, n + 1) != n + 1:
                found = f"{line.identifier}, also in line {seen[line.identifier]}"
                yield Problem(
                    code="register-line-twice",
                    what="the register names a record twice",
                    where=where,
                    found=found,
                    expected="each record once",
                    remedy=REMEDY,
                )
            before = _sha256(this)
        if raw and not self._read().endswith(b"\n"):
            yield Problem(
                code="register-cut-off",
                what="the register does not end with a whole line",
                where=str(self.path),
                remedy="the next seal mends it",
            )

    def _raw(self) -> list[bytes]:
        return self._read().split(b"\n")[:-1] if self.exists() else []

    def _read(self) -> bytes:
        """`BadInput` for one that cannot be read, or is larger than any of ours."""
        try:
            return files.read(self.path, limits.REGISTER)
        except OSError as e:
            found = e.strerror or str(e)
            raise BadInput(
                Problem(
                    code="register-unreadable",
                    what="the register cannot be read",
                    where=str(self.path),
                    found=found,
                    expected=FILENAME,
                    remedy=REMEDY,
                )
            ) from None

    def _parsed(self) -> Iterator[tuple[bytes, Line | None]]:
        for raw in self._raw()[1:]:
            columns = raw.decode(errors="replace").split("\t")
            line = Line(*columns) if len(columns) == len(fields(Line)) else None
            # names and hashes become part of commands that an auditor types: nothing else may be taken for one
            good = line and NAME.fullmatch(line.guest) and NAME.fullmatch(line.record) and HASH.fullmatch(line.sha256)
            yield raw, line if good else None

    def _write(self, line: str) -> None:
        with files.updated(self.path) as f:
            f.write(line.encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())


def busy(path: Path) -> Busy:
    """Another holds this lock, of all records or of a guest's, for too long."""
    remedy = "the guest's next run seals it; where that process hangs, end it: kill PID"
    return Busy(
        Problem(
            code="sealing-busy",
            what="another run is sealing",
            where=str(path),
            found=lock.held_by(path),
            expected="nobody",
            remedy=remedy,
        )
    )


def when(sealed: str) -> datetime | None:
    """The time that something was sealed at, as it is written; none where it is no time."""
    try:
        return datetime.strptime(sealed, statement.TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def backwards(before: str, after: str) -> bool:
    """Whether a later seal tells an earlier time, by more than honest clocks differ. What is no time is found elsewhere."""
    first, second = when(before), when(after)
    return first is not None and second is not None and first - second > CLOCKS


def of(home: Home) -> Register:
    """The register of all records of a home."""
    return Register(home.records() / FILENAME)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def records_at(path: Path) -> tuple[list[Path], str]:
    """The records meant by a path, and which kind of folder it is: record, guest or all."""
    if path.is_dir():
        if bag.is_record(path):
            return [path], "record"
        below = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        folders = [p for p in below if p.is_dir() and not p.is_symlink()]
        if os.path.lexists(path / FILENAME) or any(bag.is_record(x) for p in folders for x in p.iterdir()):
            inside = [x for g in folders for x in sorted(g.iterdir()) if not x.name.startswith(".")]
            return [x for x in inside if x.is_dir() and not x.is_symlink()], "all"
        if any(map(bag.is_record, below)):
            return folders, "guest"
    found = "no such folder" if not path.is_dir() else "neither a record nor records in it"
    remedy = "name a record, a guest's folder of records, or outputs/records"
    raise BadInput(
        Problem(
            code="no-record",
            what="there is no record here",
            where=str(path),
            found=found,
            expected="a folder with bagit.txt",
            remedy=remedy,
        )
    )
