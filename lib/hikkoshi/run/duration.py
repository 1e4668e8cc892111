"""How long the steps of a guest took, for whoever has to say how long the next ones may take."""

from collections.abc import Iterable
from datetime import datetime

from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.step import PLAN, SURVEY


def seconds(entries: Iterable[JournalEntry]) -> dict[str, float]:
    """{step: how long its last run took that did anything}, without the time in which a person read.

    Of a step that only looks, such as 10-survey, it is the time from its beginning to its evidence.
    """
    took: dict[tuple[str, str], float] = {}
    did: dict[str, tuple[str, str]] = {}
    opened: dict[str, datetime] = {}
    for e in entries:
        run = e.step, e.run
        if e.event == "open" and e.step in (SURVEY.id, PLAN.id):
            opened[e.run] = e.when
        if e.event == "evidence" and e.run in opened:
            did[e.step] = run
            took[run] = (e.when - opened[e.run]).total_seconds()
        if e.event == "step" and e.seconds is not None:
            took[run] = took.get(run, 0.0) + e.seconds
            if e.state == "done":
                did[e.step] = run
    return {step: took[run] for step, run in did.items()}
