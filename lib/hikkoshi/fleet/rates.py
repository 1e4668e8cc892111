"""How long a step takes at this site: by the runs that its journals tell of, where there are some, else by a rough figure."""

import contextlib
import functools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Self

from hikkoshi.errors import BadInput
from hikkoshi.fleet.forecast import likely
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import (
    CONVERT,
    CUTOVER,
    DEPLOY,
    NETPERF,
    OFFLOADS,
    PLAN,
    PREPARE,
    READ_ONLY,
    REHEARSE,
    REPORT,
    ROLLBACK,
    SURVEY,
)

UNKNOWN = 8 << 30  # bytes of a guest, where no guest of the site has been surveyed
AROUND = 1.0  # seconds of a task before its first line in the journal and after its last: start, and sealing
ROUGH = (0.5, 0.7, 1.0, 1.4, 2.0)  # how far off a rough figure may be


@dataclass(frozen=True)
class Pace:
    """A rough figure: seconds for a guest without data, and bytes a second."""

    base: float
    rate: float = float("inf")

    def seconds(self, size: int) -> float:
        """For a guest with so many bytes of data."""
        return self.base + size / self.rate


PACES = {  # on two processors without KVM, a gigabit link, and measurements as they are by default
    SURVEY.id: Pace(15, 100e6),
    PLAN.id: Pace(3),
    PREPARE.id: Pace(25, 300e6),
    CONVERT.id: Pace(3, 150e6),
    REHEARSE.id: Pace(40),
    DEPLOY.id: Pace(5, 80e6),
    CUTOVER.id: Pace(90),
    ROLLBACK.id: Pace(15),
    NETPERF.id: Pace(600),
    OFFLOADS.id: Pace(1200),
    REPORT.id: Pace(10),
}


@dataclass(frozen=True)
class Rates:
    """`ratios`: {step: of each run, how much longer it took than by the rough figure}. `sizes`: {guest: its bytes of data}."""

    ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Home, guests: Iterable[str]) -> Self:
        """By the surveys and journals of these guests. Of each step the longest run of a guest counts: another found it done."""
        ratios: dict[str, list[float]] = {}
        known = sizes(home, guests)
        for guest, size in known.items():
            for step, seconds in _longest(Journal(home.folder(guest).journal).entries()).items():
                ratios.setdefault(step, []).append(seconds / PACES[step].seconds(size))
        return cls(ratios, known)

    @functools.cached_property
    def usual(self) -> int:
        """Bytes of data of a guest that is not surveyed: half of the others have at most as many."""
        return int(median(self.sizes.values())) if self.sizes else UNKNOWN

    def size(self, guest: str) -> int:
        """A guest's bytes of data."""
        return self.sizes.get(guest, self.usual)

    def drawn(self, guest: str, step: str, chance: random.Random) -> float:
        """Seconds that it may take for the guest: as far off the rough figure as one of the runs was, each as likely."""
        return AROUND + PACES[step].seconds(self.size(guest)) * chance.choice(self.ratios.get(step, ROUGH))

    def likely(self, guest: str, step: str) -> float:
        """Seconds within which it is for the guest in nine of ten such draws."""
        return AROUND + PACES[step].seconds(self.size(guest)) * likely(self.ratios.get(step, ROUGH))


def sizes(home: Home, guests: Iterable[str]) -> dict[str, int]:
    """{guest: its bytes of data}, of those that are surveyed."""
    found: dict[str, int] = {}
    for guest in guests:
        with contextlib.suppress(BadInput):  # told by whoever needs the survey
            if survey := Survey.find(home.folder(guest)):
                found[guest] = survey.disk.allocated_bytes
    return found


def _longest(entries: Iterable[JournalEntry]) -> dict[str, float]:
    found: dict[str, float] = {}
    for step, seconds in batches(entries):
        found[step] = max(seconds, found.get(step, 0.0))
    return found


def batches(entries: Iterable[JournalEntry]) -> Iterator[tuple[str, float]]:
    """(step, seconds) of each run that nobody sat in front of, and that did something, well."""
    begun: dict[str, datetime] = {}
    did = set[str]()
    for e in entries:
        if e.event == "open" and e.step in PACES:
            begun[e.run] = e.when
        if e.step in READ_ONLY or (e.event == "step" and e.state == "done"):
            did.add(e.run)
        if e.event == "outcome" and e.outcome == "succeeded" and e.run in did and e.run in begun:
            yield e.step, (e.when - begun[e.run]).total_seconds()
