"""The append-only, hash-chained list of what runs did to a guest: one JSON object per line.

Each line holds the SHA-256 of the line before it (`prev`), so a line changed, moved or removed later is found, except the
last one, which nothing follows yet: a sealed record has to fix that. A journal is evidence; whether a step is done is
always asked of the world, never of the journal.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hikkoshi.errors import BadInput, Problem

START = "0" * 64  # `prev` of the first line


@dataclass(frozen=True)
class Journal:
    """The journal of one guest."""

    path: Path

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Add one line, synced to disk before this returns. A line torn by a crash is closed and kept as it is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.seek(0)
            content = f.read()
            if content and not content.endswith(b"\n"):
                f.write(b"\n")
                content += b"\n"
            lines = content.splitlines()
            entry = {
                "n": len(lines) + 1,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "event": event,
                **fields,
                "prev": hashlib.sha256(lines[-1]).hexdigest() if lines else START,
            }
            f.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())
        return entry

    def entries(self) -> list[dict[str, Any]]:
        """All readable lines, oldest first; a torn line is left out."""
        return [entry for _, entry in self._lines() if entry is not None]

    def check(self) -> None:
        """`BadInput` naming every line whose chain is broken."""
        problems, before = [], START
        for n, (raw, entry) in enumerate(self._lines(), 1):
            if entry is not None and (entry.get("prev") != before or entry.get("n") != n):
                problems.append(
                    Problem(
                        "the journal was changed after it was written",
                        where=f"{self.path}:{n}",
                        found=f"n {entry.get('n')}, prev {entry.get('prev')}",
                        expected=f"n {n}, prev {before}",
                        remedy="take the journal from a backup or a sealed record; do not repair it by hand",
                    )
                )
            before = hashlib.sha256(raw).hexdigest()
        if problems:
            raise BadInput(*problems)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        if not self.path.exists():
            return
        for raw in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(raw)
            except (ValueError, RecursionError):  # the second: whoever wrote that wanted to stop us from reading on
                entry = None
            yield raw, entry if isinstance(entry, dict) else None
