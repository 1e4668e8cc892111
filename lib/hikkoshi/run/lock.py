"""One guest, one run: a lock that lives exactly as long as the last process at work on the guest."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hikkoshi import files
from hikkoshi.errors import Busy, Problem, Refused

Asked = Callable[[], bool]  # whether somebody has asked to stop


def never() -> bool:
    """Nobody has asked to stop."""
    return False


def take(handle: int | IO[Any], wait: float, stopped: Asked = never) -> bool:
    """Lock an open file, waiting at most `wait` seconds for whoever holds it, and not after `stopped`; whether it is ours.

    Never a plain `flock`: that waits without end, and no signal of ours ends it.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if stopped() or time.monotonic() >= deadline:
                return False
            time.sleep(0.05)


def descriptor(path: Path) -> int:
    """A lock's file, opened; it and its folder are made where there are none. `Refused` where something else stands there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return files.descriptor(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    except OSError as e:
        shut = e.errno in files.SHUT
        raise Refused(
            Problem(
                code="lock-untakable",
                what="a lock cannot be taken",
                where=str(path),
                found=e.strerror or str(e),
                expected="a regular file" + (" that you may write" if shut else ""),
                remedy="make room, or give yourself the right to write there" if shut else "see who put it there, and remove it",
            )
        ) from None


def acquire(path: Path, who: str, wait: float) -> IO[str]:
    """Take the lock, waiting up to `wait` seconds for its holder to end; `Busy` names the holders.

    The descriptor is inheritable, so children keep the lock when we are killed and they live on. One exception: the
    appliance of libguestfs closes what it inherits; it works on .part files only and ends within seconds of its worker.
    """
    handle = os.fdopen(descriptor(path), "a+", encoding="utf-8")
    if not take(handle, wait):
        handle.seek(0)
        holder = handle.read().strip()
        handle.close()
        raise Busy(
            Problem(
                code="guest-busy",
                what="another run is at work on this guest",
                where=str(path),
                found=f"{holder or 'unknown run'}; at work now: {', '.join(holders(path)) or 'not visible from here'}",
                expected="nobody",
                remedy="wait until it ends; if it is an open notebook, shut its kernel down (Kernel → Shut Down)",
            )
        )
    os.set_inheritable(handle.fileno(), True)
    with contextlib.suppress(OSError):  # a full disk: these words are for people, the lock is held without them, too
        os.truncate(handle.fileno(), 0)
        os.write(handle.fileno(), f"{who}, pid {os.getpid()}\n".encode())
    return handle


def clock(handle: IO[str]) -> int:
    """When a lock was taken, by the clock of the file system that it is on: nanoseconds since 1970."""
    with contextlib.suppress(OSError):
        os.fsync(handle.fileno())  # else it may be told by this machine's
    return os.fstat(handle.fileno()).st_mtime_ns


def held(path: Path) -> bool:
    """Whether somebody is at work on the guest now."""
    try:
        own = files.opened(path)  # a reader may look, too
    except OSError:
        return False  # nobody can hold what is no lock
    with own as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two who only look are not in each other's way
        except BlockingIOError:
            return True
    return False


def holders(path: Path) -> list[str]:
    """'PID program' of every process that has the lock file open, as far as /proc shows it to us."""
    inode, found = path.stat().st_ino, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and any(f.stat().st_ino == inode for f in (process / "fd").iterdir()):
                found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found


def held_by(path: Path) -> str:
    """The same, for a message."""
    return f"held by {', '.join(holders(path)) or 'a process that cannot be seen from here'}"
