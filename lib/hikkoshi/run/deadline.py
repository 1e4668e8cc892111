"""An action that has to come to its end within some time."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hikkoshi.errors import Problem, StepFailed


@contextmanager
def deadline(seconds: float | None, title: str) -> Iterator[None]:
    """Interrupt the main thread after `seconds`; elsewhere programs are bounded by `tool.run` only."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(signum: int, frame: object) -> None:
        raise StepFailed(
            Problem(
                code="action-timed-out",
                what=f"{title}: not done in time",
                found=f"more than {seconds:g} s",
                remedy="find out what hangs, then run again",
            )
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
