"""How long guests will take through their steps: the fleet's own order of things, played many times with durations drawn.

Nothing is begun, and nobody is asked. What the fleet would do is followed task by task: so many guests at once, so many on one
Dom-0 and one vSphere, and a guest that has begun goes on before another begins.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil

from hikkoshi.fleet.task import Task

TRIALS, MOST = 25, 150_000  # how often it is played, but no more tasks than that in all, and three times at least
JOBS = "guests at once"
LIKELY = 0.9  # as likely as that is what is told beside the expected
Chains = Sequence[Sequence[Task]]
Draw = Callable[[Task, random.Random], float]


@dataclass(frozen=True)
class Bar:
    """One task, in seconds since the beginning."""

    task: Task
    begin: float
    end: float


@dataclass(frozen=True)
class Forecast:
    """What came of all trials. `shares`: {what is limited: how much of the time it was taken}, `ends`: {guest: seconds}."""

    seconds: float  # expected: half of the trials were shorter
    likely: float  # nine of ten were shorter
    shares: Mapping[str, float]
    ends: Mapping[str, float]  # as likely
    bars: Sequence[Bar]  # of one trial in the middle

    @property
    def bottleneck(self) -> str:
        """What is taken for the greatest part of the time; empty where nothing is to be done."""
        return max(self.shares, key=lambda name: self.shares[name], default="")


def forecast(chains: Chains, limits: Mapping[str, int], jobs: int, draw: Draw) -> Forecast:
    """Play it. `limits` as `Fleet` has them; `draw` gives the seconds of a task by chance."""
    tasks = sum(map(len, chains))
    trials = max(3, min(TRIALS, MOST // max(tasks, 1)))
    played = sorted((_trial(chains, limits, jobs, draw, random.Random(n)) for n in range(trials)), key=_end)
    middle, whole = played[trials // 2], _end(played[trials // 2])
    taken: Counter[str] = Counter()
    for bar in middle:
        taken.update(dict.fromkeys((JOBS, *bar.task.slots), bar.end - bar.begin))
    ends: dict[str, list[float]] = {}
    for bars in played:
        for guest, end in {bar.task.guest: bar.end for bar in bars}.items():
            ends.setdefault(guest, []).append(end)
    return Forecast(
        seconds=whole,
        likely=likely([_end(bars) for bars in played]),
        shares={slot: seconds / (whole * _limit(slot, limits, jobs)) for slot, seconds in taken.items()},
        ends={guest: likely(found) for guest, found in ends.items()},
        bars=middle,
    )


def relief(chains: Chains, limits: Mapping[str, int], jobs: int, draw: Draw, found: Forecast) -> float:
    """Seconds that one more of its bottleneck would save; 0 where that is the network, of which there is one."""
    slot = found.bottleneck.partition(":")[0]
    if slot == JOBS:
        jobs += 1
    elif slot in limits:
        limits = {**limits, slot: limits[slot] + 1}
    else:
        return 0.0
    return max(0.0, found.seconds - forecast(chains, limits, jobs, draw).seconds)


def _trial(chains: Chains, limits: Mapping[str, int], jobs: int, draw: Draw, chance: random.Random) -> list[Bar]:
    """Every task once, in the order of their ends."""
    bars: list[Bar] = []
    waiting: dict[tuple[str, ...], list[tuple[int, int, int]]] = {}  # {slots: (rank, guest, number of the task)}
    running: list[tuple[float, int, int, float]] = []  # (end, guest, number of the task, begin)
    taken: Counter[str] = Counter()
    first = count(-1, -1)  # the rank of one that goes on: before all that wait
    now = 0.0

    def wait(rank: int, guest: int, number: int) -> None:
        if number < len(chains[guest]):
            heapq.heappush(waiting.setdefault(chains[guest][number].slots, []), (rank, guest, number))

    for guest in range(len(chains)):
        wait(guest, guest, 0)
    while True:
        while len(running) < jobs:
            free = [queue for slots, queue in waiting.items() if queue and all(taken[s] < _limit(s, limits, jobs) for s in slots)]
            if not free:
                break
            _, guest, number = heapq.heappop(min(free))
            task = chains[guest][number]
            taken.update(task.slots)
            heapq.heappush(running, (now + draw(task, chance), guest, number, now))
        if not running:
            return bars
        now, guest, number, begin = heapq.heappop(running)
        taken.subtract(chains[guest][number].slots)
        bars.append(Bar(chains[guest][number], begin, now))
        wait(next(first), guest, number + 1)


def _limit(slot: str, limits: Mapping[str, int], jobs: int) -> int:
    return jobs if slot == JOBS else limits.get(slot.partition(":")[0], 1)


def _end(bars: Sequence[Bar]) -> float:
    return bars[-1].end if bars else 0.0


def likely(found: Sequence[float]) -> float:
    """That which nine of ten are within."""
    return sorted(found)[ceil(LIKELY * len(found)) - 1]
