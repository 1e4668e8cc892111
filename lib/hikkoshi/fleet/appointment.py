"""A cut-over at a time that was agreed with the users: looked at now, waited for, and looked at again when it begins."""

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.fleet.console import Console
from hikkoshi.record.engine.notebook import Event

LATE = timedelta(minutes=5)  # after which nobody counts on it any more: a computer that was asleep wakes up too late
STEP = 1.0  # seconds between two looks at the clock


def at(text: str, now: datetime) -> datetime:
    """The next time that a clock here shows `22:30`; `now` has a time zone."""
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if not found:
        raise BadInput(
            Problem(
                code="time-unknown",
                what="this is no time",
                where="--at",
                found=repr(text),
                expected="hours and minutes of today or tonight: 22:30",
                remedy="write it so",
            )
        )
    hour, minute = map(int, found.groups())
    wanted = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return wanted if wanted > now else wanted + timedelta(days=1)


def wait(until: datetime, console: Console, clock: Callable[[], datetime], sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait for that time, telling how long it is; `Refused` where it is past by the time that anybody looks again."""
    while (left := until - clock()) > timedelta():
        console(Event("progress", f"waiting for {until:%H:%M}: {str(left).partition('.')[0]} left, Ctrl-C ends it"))
        sleep(min(STEP, left.total_seconds()))
    if -left > LATE:
        raise Refused(
            Problem(
                code="appointment-missed",
                what="the time that was agreed is past",
                where="--at",
                found=f"{-left} late: this computer was asleep, or its clock was set",
                expected=f"{until:%Y-%m-%d %H:%M}",
                remedy="nothing was done. Agree on another time with the users",
            )
        )
