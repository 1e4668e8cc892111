"""Temporary folders of our own: mode 0700, locked while in use, and removed by the next run where one of ours was killed.

Each has a name that nobody can foresee and lies by itself in the folder for temporary files: what others put there is not in
the way, whatever its name. Only what is ours is removed, and only where nobody holds its lock.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

YOUNG = 60  # seconds; a younger folder may not be locked yet


@contextlib.contextmanager
def folder(purpose: str, place: Path | None = None) -> Iterator[Path]:
    """A folder that only this user can enter, removed at the end; `place` is where it lies, by default as $TMPDIR says.

    The first one of a process also removes what killed runs left there.
    """
    place = place or Path(tempfile.gettempdir())
    _swept(place)
    with tempfile.TemporaryDirectory(prefix=f"{_prefix()}{purpose}-", dir=place) as private:
        lock = os.open(private, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Path(private)
        finally:
            os.close(lock)


def sweep(place: Path) -> None:
    """Remove what killed runs left. A link is not followed, a pipe not opened, another user's folder not touched."""
    for left in leftovers(place):
        shutil.rmtree(left, ignore_errors=True)


def leftovers(place: Path) -> Iterator[Path]:
    """Our folders in which nobody is at work any more."""
    for path in sorted(place.glob(f"{_prefix()}*")):
        with contextlib.suppress(OSError):  # gone by now, or not ours to open
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if ours and time.time() - found.st_mtime > YOUNG and _unused(path):
                yield path


def of_earlier_versions(place: Path) -> Iterator[Path]:
    """Folders that versions made which did not lock them; a day old, so that they are hardly in use."""
    for path in sorted(place.glob("hikkoshi-*")):
        with contextlib.suppress(OSError):
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if ours and not path.name.startswith(_prefix()) and time.time() - found.st_mtime > 86400:
                yield path


def _prefix() -> str:
    return f"hikkoshi-{os.geteuid()}-"


@functools.cache
def _swept(place: Path) -> None:
    sweep(place)


def _unused(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
