"""Ctrl-C and SIGTERM: the kernel is asked to stop as a person would ask it, then made to; the record is written."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hikkoshi.errors import Interrupted, Problem

GRACE = 10.0  # seconds that a cell has for tidying up after itself
ROUNDS = 250  # of 20 ms and more, that a process which was killed has for its end


class Stopped(Interrupted):
    """The runner got a signal; a command ends with 128 + its number, as shells do."""

    def __init__(self, signum: int) -> None:
        super().__init__(
            Problem(
                code="run-stopped",
                what="the run was stopped before its end",
                found=signal.Signals(signum).name,
                remedy="run the same command again: what is done already is recognised",
            )
        )
        self.exit_code = 128 + signum


class Stop:
    """Whether a stop was asked for. `kernel` is the process group to be stopped."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.kernel: int | None = None
        self._patience = 0.0
        self._asked = 0

    def since(self) -> Callable[[], bool]:
        """Tells whether a stop was asked for after this was called; for whatever else is waited for."""
        before = self._asked
        return lambda: self._asked > before

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take SIGINT and SIGTERM for as long as this lasts; outside the main thread nothing can be taken."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def insist(self) -> None:
        """Kill the kernel when it was asked to stop and has had its time."""
        if self.signum is not None and time.monotonic() > self._patience:
            self.signal_kernel(signal.SIGKILL)

    def signal_kernel(self, signum: int) -> None:
        """Send a signal to the kernel's process group, if there is one."""
        if self.kernel is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.kernel, signum)

    def _ask(self, signum: int, frame: object) -> None:
        again = self.signum is not None
        self._asked += 1
        self.signum = signum
        self._patience = time.monotonic() + (0 if again else GRACE)
        self.signal_kernel(signal.SIGKILL if again else signal.SIGINT)


def end_all(mark: str) -> None:
    """Kill every process that was started with `mark`, a NAME=value, in its environment; wait until each has let go of all.

    One that dies loses its environment first, and its files and locks later: on a loaded machine, much later.
    """
    killed = set[int]()
    for _ in range(ROUNDS):  # one that is just starting another is found in the next round
        found = set(_marked(mark.encode()))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed = {pid for pid in killed | found if _holds(pid)}
        if not killed:
            return
        time.sleep(0.02)


def _marked(mark: bytes) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)


def _holds(pid: int) -> bool:
    """Whether a process may still have something open: a thread of it does more than wait to be reaped."""
    try:
        return any(_state(task) not in ("Z", "X") for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:  # gone meanwhile
        return False


def _state(task: Path) -> str:
    return (task / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
