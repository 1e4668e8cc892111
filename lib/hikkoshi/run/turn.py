"""Whose turn it is: a rollback comes before whatever else is at work on its guest.

What acts on a service (`Run.permit`) holds `turn.lock` until its action has ended. A rollback takes that lock for all of its
time, and changes the time of the file, by which every run that was opened before knows that it may act no more: a cut-over in
another window stops by itself before its next action, and cannot go on when the rollback is through. Nobody is ended from
outside.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hikkoshi import files
from hikkoshi.errors import Busy, Problem, Refused
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run import lock

PATIENCE = 3.0  # seconds that a rollback waits for an action that has begun
AGAIN = "run the notebook again from its first cell, once the rollback is through and the guest is to be moved all the same"


class Turn:
    """The turn of one run; `folder` is the guest's."""

    def __init__(self, folder: GuestFolder) -> None:
        self._folder, self._path = folder, folder.turn_lock
        self._held: IO[bytes] | None = None
        self._claimed = False  # by a rollback, for all of its time
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError), files.updated(self._path):
            pass  # on a full disk there may be none; who acts finds out
        self._opened = self._mark()

    def claim(self, wait: float = PATIENCE) -> None:
        """For a rollback: nobody else acts from now on. `Busy` where somebody is in the middle of an action."""
        now = time.time_ns()
        try:
            handle = self._file()
        except OSError:  # a full disk, and no such file yet: nobody can hold it
            return
        with contextlib.suppress(OSError):  # where it may not be written: who acts is seen by the lock all the same
            os.utime(self._path, ns=(now, now))
        self._opened = self._mark()
        try:
            taken = lock.take(handle, wait)
        except OSError:  # a network's file system locks nothing that is open for reading only
            handle.close()
            return
        if not taken:
            handle.close()
            who = _words(self._folder.lock)
            pids = lock.holders(self._path)
            remedy = (
                "press Ctrl-C where that was started (in JupyterLab: Kernel → Interrupt), or type: "
                f"kill {' '.join(p.partition(' ')[0] for p in pids) or 'PID'}; then run this again at once. It begins nothing new"
            )
            found = f"{who or 'a run'}; at work: {', '.join(pids) or 'not visible from here'}"
            raise Busy(
                Problem(
                    code="action-going-on",
                    what="another run is in the middle of an action",
                    where=str(self._path),
                    found=found,
                    expected="nobody",
                    remedy=remedy,
                )
            )
        self._held, self._claimed = handle, True

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """An action of any kind: `Refused` where a rollback has come first. What it takes it gives back."""
        self._check()
        try:
            yield
        finally:
            if not self._claimed:
                self.end()

    def take(self) -> None:
        """Before something is done to the service: no rollback begins until that has ended. `Refused` where one has."""
        if not self._held:
            handle = files.updated(self._path)
            if not lock.take(handle, 0):
                handle.close()
                remedy = "wait until that has ended; " + AGAIN
                raise Refused(
                    Problem(code="turn-taken", what="another run acts on this guest", where=str(self._path), remedy=remedy)
                )
            self._held = handle
        self._check()

    def end(self) -> None:
        """Let others act."""
        if self._held:
            self._held.close()
            self._held = None

    def _check(self) -> None:
        if self._claimed:  # a second rollback changes the time, too, before it finds out that it has to wait
            return
        if self._mark() != self._opened:
            found = "a rollback has begun since this run was opened"
            raise Refused(
                Problem(
                    code="turn-lost",
                    what="this run acts no more",
                    where=str(self._path),
                    found=found,
                    expected="the same run as before",
                    remedy=AGAIN,
                )
            )

    def _file(self) -> IO[bytes]:
        """The file to lock, which works on one that is open for reading only, too."""
        try:
            return files.updated(self._path)
        except OSError:
            return files.opened(self._path)

    def _mark(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0


def locked(folder: GuestFolder, run: str, wait: float) -> tuple[IO[str], str]:
    """The guest's lock for a rollback that has the turn, and what is to be told of it.

    It goes on without: whoever holds the lock acts no more. What stands in its place is held by nobody.
    """
    try:
        return lock.acquire(folder.lock, run, min(wait, PATIENCE)), ""
    except Busy as e:
        told = f"{e}\nIt acts no more."
    except (Refused, OSError) as e:
        told = str(e)
    with contextlib.suppress(OSError):
        handle = files.descriptor(folder.turn_lock)
        return os.fdopen(handle, encoding="utf-8"), told  # its time is that of the claim
    return Path(os.devnull).open(encoding="utf-8"), told


def _words(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:200]
    except OSError:
        return ""
