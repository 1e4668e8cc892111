"""Files that are either complete or not there: written as NAME.part, renamed last."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def part(path: Path) -> Iterator[Path]:
    """Yield `path` with `.part` appended to write to; on success it is synced and takes the final name at once.

    On any error, Ctrl-C included, the part is removed. After kill -9 it stays, and the next writer overwrites it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        with unfinished.open("rb") as f:
            os.fsync(f.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file atomically."""
    with part(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, as `sha256sum` prints it."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def human(size: float) -> str:
    """Bytes as a person reads them, in binary units: `human(35_000_000)` is '33.4 MiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
