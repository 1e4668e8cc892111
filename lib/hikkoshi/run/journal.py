"""The append-only, hash-chained list of what runs did to a guest: one JSON object per line.

Each line holds the SHA-256 of the line before it (`prev`), so a line changed, moved or removed later is found, except the
last one, which nothing follows yet: a sealed record has to fix that. A journal is evidence; whether a step is done is
always asked of the world, never of the journal.
"""

import errno
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from hikkoshi import files
from hikkoshi.approval import limits
from hikkoshi.errors import BadInput, Busy, Problem, printable
from hikkoshi.run import earlier, lock
from hikkoshi.run.entry import JournalEntry

START = "0" * 64  # `prev` of the first line
MARK = "hikkoshi-journal: "  # how a line begins that is told on stderr
_kept: dict[Path, list[dict[str, Any]]] = {}  # {journal: lines that this process could not write yet}
REMEDY = "move it away; take the journal from a backup or a sealed record"
FIELDS = {  # {event: what its line has to tell}
    "open": ("run",),
    "start": ("run", "title"),
    "step": ("run", "title", "state"),
    "end": ("run", "outcome"),
    "outcome": ("run", "outcome"),
    "sealed": ("of",),
    "unsealed": ("of", "why"),
}
TEXTS = ("time", "run", "step", "mode", "guest", "title", "state", "found", "outcome", "error", "kind", "code", "of", "why")
LISTS = ("checks", "artefacts", "codes")
KINDS: dict[str, type] = {
    **dict.fromkeys(TEXTS, str),
    **dict.fromkeys(LISTS, list),
    "inputs": dict,
    "clock": int,
    "n": int,
    "service": bool,
}
PATIENCE = 20.0  # seconds that another may take for writing his line
_Line = tuple[bytes, JournalEntry | None, str]  # as it stands, what it says if anything, and what a run of ours does not write


@dataclass(frozen=True)
class Journal:
    """The journal of one guest."""

    path: Path
    rescue: bool = False  # what cannot be written is told on stderr, and nobody is stopped by it

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Add one line, synced to disk before this returns. A line torn by a crash is closed and kept as it is.

        For a `rescue`, a line that cannot be written goes to stderr, marked, and is put back before the next that can.
        """
        if not self.rescue:
            return self._written([{"event": event, **fields}], PATIENCE)[-1]
        entry = {"time": _now(), "event": event, **fields}
        kept = _kept.setdefault(self.path, [])
        try:
            late = [k for k in kept if not any(k.items() <= e.line.items() for e in self.entries())] if kept else []
            written = self._written([*late, entry], wait=0 if kept else 1)
        except (OSError, BadInput, Busy):
            sys.stderr.write(printable(MARK + _line(entry).decode()) + "\n")
            self.keep(entry)
            return entry
        kept.clear()
        return written[-1]

    def keep(self, entry: Mapping[str, Any]) -> None:
        """Have a line that was told on stderr put back before the next that is written here."""
        _kept.setdefault(self.path, []).append({**entry, "told": "on stderr, at that time"})

    def _written(self, entries: list[dict[str, Any]], wait: float) -> list[dict[str, Any]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+b", buffering=0) as f:
            if not lock.take(f, wait):
                found = lock.held_by(self.path)
                remedy = "see what that process does; where it hangs, end it: kill PID"
                raise Busy(
                    Problem(
                        code="journal-locked",
                        what="the journal is locked by another",
                        where=str(self.path),
                        found=found,
                        expected="nobody",
                        remedy=remedy,
                    )
                )
            f.seek(0)
            content = self._read(f)
            torn = b"\n" if content and not content.endswith(b"\n") else b""
            lines = content.splitlines()
            before = hashlib.sha256(lines[-1]).hexdigest() if lines else START
            made, new = [], torn
            for n, entry in enumerate(entries, len(lines) + 1):
                made.append({"n": n, "time": _now(), **entry, "prev": before})
                line = _line(made[-1])
                before, new = hashlib.sha256(line).hexdigest(), new + line + b"\n"
            left = memoryview(new)
            try:
                while left:
                    left = left[f.write(left) :]
                os.fsync(f.fileno())
            except OSError:
                f.truncate(len(content))  # on a full disk nothing is better than half a line
                raise
        return made

    def entries(self) -> list[JournalEntry]:
        """All readable lines, oldest first; a torn line is left out."""
        return [entry for _, entry, _ in self._lines() if entry is not None]

    def ours(self) -> list[JournalEntry]:
        """The same without those that no run of ours wrote: every field of these is what it has to be."""
        return [entry for _, entry, wrong in self._lines() if entry is not None and not wrong]

    def foreign(self) -> Iterator[Problem]:
        """Every line that no run of ours wrote, though it can be read."""
        for n, (_, entry, wrong) in enumerate(self._lines(), 1):
            if entry is not None and wrong:
                what, expected = "a line of the journal is none of ours", "what a run writes"
                yield Problem(
                    code="journal-line-foreign",
                    what=what,
                    where=f"{self.path}:{n}",
                    found=wrong,
                    expected=expected,
                    remedy=REMEDY,
                )

    def check(self) -> None:
        """`BadInput` naming every line whose chain is broken."""
        problems, before = [], START
        for n, (raw, entry, _) in enumerate(self._lines(), 1):
            if entry is not None and (entry.get("prev") != before or entry.get("n") != n):
                problems.append(
                    Problem(
                        code="journal-changed",
                        what="the journal was changed after it was written",
                        where=f"{self.path}:{n}",
                        found=f"n {entry.get('n')}, prev {entry.get('prev')}",
                        expected=f"n {n}, prev {before}",
                        remedy="take the journal from a backup or a sealed record; do not repair it by hand",
                    )
                )
            before = hashlib.sha256(raw).hexdigest()
        if problems:
            raise BadInput(*problems)

    def _lines(self) -> Iterator[_Line]:
        try:
            handle = self._opened(os.O_RDONLY)
        except FileNotFoundError:
            return
        with os.fdopen(handle, "rb") as f:
            content = self._read(f)
        yield from _parsed(content)

    def _read(self, f: BinaryIO | FileIO) -> bytes:
        if (size := os.fstat(f.fileno()).st_size) > limits.JOURNAL:
            found, most = files.human(size), f"at most {files.human(limits.JOURNAL)}"
            raise BadInput(
                Problem(
                    code="journal-too-large",
                    what="the journal is larger than any of ours",
                    where=str(self.path),
                    found=found,
                    expected=most,
                    remedy=REMEDY,
                )
            )
        return f.read()

    def _opened(self, flags: int) -> int:
        """A descriptor of it. What is no file is not waited for: a pipe has no end."""
        try:
            return files.descriptor(self.path, flags)
        except FileNotFoundError:
            raise
        except OSError as e:
            if e.errno not in (errno.EINVAL, errno.EISDIR, errno.EACCES, errno.ELOOP):
                raise
            found = e.strerror or str(e)
            raise BadInput(
                Problem(
                    code="journal-not-a-file",
                    what="the journal is not a file of its own",
                    where=str(self.path),
                    found=found,
                    remedy=REMEDY,
                )
            ) from None


def ours(content: bytes) -> list[JournalEntry]:
    """The lines of a journal, given as bytes, that are ours; see `Journal.ours`."""
    return [entry for _, entry, wrong in _parsed(content) if entry is not None and not wrong]


def _parsed(content: bytes) -> Iterator[_Line]:
    return map(_line_of, content.splitlines())


@functools.lru_cache(maxsize=8192)  # a line that is written stays as it is, and sealing alone reads all of them ten times
def _line_of(raw: bytes) -> _Line:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):  # the second: whoever wrote that wanted to stop us from reading on
        found = None
    if not isinstance(found, dict):
        return raw, None, ""
    line = earlier.completed(found)
    return raw, JournalEntry.of_line(line), _wrong(line)


def _wrong(entry: Mapping[str, Any]) -> str:
    """What is not as we write it in a line; empty where all is. Whoever reads a journal relies on these."""
    event = entry.get("event")
    lacks = [name for name in FIELDS.get(event, ()) if name not in entry] if isinstance(event, str) else ["event"]
    odd = [name for name, kind in KINDS.items() if name in entry and not isinstance(entry[name], kind)]
    if "checks" not in odd and not all(isinstance(part, dict) for part in entry.get("checks", ())):
        odd.append("checks")
    if not 0 <= (entry["clock"] if "clock" in entry and "clock" not in odd else 0) < 1 << 63:
        odd.append("clock")
    if "time" not in odd and not _is_time(entry.get("time")):
        odd.append("time")
    return "; ".join([*(f"without {name}" for name in lacks), *(f"{name}: {str(entry.get(name))[:60]}" for name in odd)])


def _is_time(text: Any) -> bool:
    try:
        found = datetime.fromisoformat(str(text))
        return found.tzinfo is not None and datetime(2000, 1, 1, tzinfo=UTC) < found < datetime(9000, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _line(entry: Mapping[str, Any]) -> bytes:
    """A line's JSON. A name that is no UTF-8 comes with halves of characters, which JSON can only write as escapes."""
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", errors="backslashreplace")
