"""A shutdown of the source that a cut-over has asked for, and of which nobody has seen the end.

Who was asked to shut down cannot be called back: the guest's init runs its scripts, for minutes at times, and every list of
domains shows it as running meanwhile. A cut-over that was stopped in that moment leaves a source that goes off by itself later.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hikkoshi.errors import HikkoshiError
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import CUTOVER, ROLLBACK
from hikkoshi.xen import dom0

ASKED = (CUTOVER.id, "source-off")  # the action that asks, by its step and its code
BACK = (ROLLBACK.id, "source-runs")


@dataclass(frozen=True)
class Shutdown:
    """`until`: when it is over, by `time.monotonic()`; `over`: the same, for people."""

    run: str
    asked: str
    until: float
    over: str

    def __str__(self) -> str:
        return f"{self.run} asked it at {self.asked} to shut down, which nobody can call back"

    @property
    def left(self) -> float:
        """Seconds for which it may still go off."""
        return max(0.0, self.until - time.monotonic())


def pending(journal: Journal) -> Shutdown | None:
    """The newest one whose end the journal does not tell; None where it does, or cannot be read.

    It counts for `dom0.SHUTDOWN` seconds from the time in the journal; that of another clock makes it neither more nor less
    than none.
    """
    asked: JournalEntry | None = None
    try:
        for line in journal.entries():
            which = (line.step, line.code)
            if which == ASKED and line.event == "start":
                asked = line
            elif asked and line.event == "step" and _ended(which, line):
                asked = None
    except (HikkoshiError, OSError):
        return None
    return _of(asked) if asked else None


def _ended(which: tuple[str, str], line: JournalEntry) -> bool:
    """Whether a row tells that it is off, was started since, or was never asked: a refusal comes before that."""
    if line.state != "failed":
        return which == ASKED or (which == BACK and line.state == "done")
    return which == ASKED and line.kind in ("Refused", "BadInput")


def _of(line: JournalEntry) -> Shutdown:
    now = datetime.now(UTC)
    try:
        began = line.when
        passed = (now - began).total_seconds()
    except (ValueError, TypeError):  # no time, or one without a zone
        passed = 0.0
    left = min(dom0.SHUTDOWN, max(0.0, dom0.SHUTDOWN - passed))
    over = f"{now + timedelta(seconds=left):%H:%M:%SZ}"
    return Shutdown(line.run or "a run", line.time[11:19] + "Z", time.monotonic() + left, over)
