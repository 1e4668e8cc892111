"""What a wave is to bring: how long it takes, what it waits for, and which of its guests do not fit into the night."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from hikkoshi import files
from hikkoshi.figures.gantt import Stretch, spoken
from hikkoshi.fleet import waves
from hikkoshi.fleet.forecast import Forecast, forecast, relief
from hikkoshi.fleet.rates import Rates
from hikkoshi.fleet.task import Task
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.step import CUTOVER, STEPS


@dataclass(frozen=True)
class WaveForecast:
    """One wave, before it begins. Times are in seconds; likely is what nine of ten nights keep to."""

    wave: int
    guests: int
    size: int  # bytes of data
    tasks: int  # steps that are left
    found: Forecast
    saved: float  # that one more of its bottleneck would save
    late: tuple[str, ...]  # guests that likely end after the night does
    narrow: tuple[tuple[str, float, int], ...]  # (guest, likely seconds of its cut-over, minutes of its window)

    @classmethod
    def of(
        cls,
        home: Home,
        site: Site,
        wave: int,
        guests: Sequence[Guest],
        steps: Sequence[str],
        *,
        rates: Rates,
        jobs: int,
        night: float = float("inf"),
    ) -> Self:
        """What is left of these steps, played; `night` is how long it may last."""

        def draw(task: Task, chance: random.Random) -> float:
            return rates.drawn(task.guest, task.steps[0], chance)

        chains = [chain for g in guests if (chain := waves.tasks(home, site, g, steps, "apply"))]
        limits = site.fleet.slots
        found = forecast(chains, limits, jobs, draw)
        moving = {task.guest for chain in chains for task in chain if CUTOVER.id in task.steps}
        moves = ((g, rates.likely(g.name, CUTOVER.id)) for g in guests if g.name in moving)
        return cls(
            wave=wave,
            guests=len(guests),
            size=sum(rates.size(g.name) for g in guests),
            tasks=sum(map(len, chains)),
            found=found,
            saved=relief(chains, limits, jobs, draw, found),
            late=tuple(name for name, end in found.ends.items() if end > night),
            narrow=tuple((g.name, s, g.window) for g, s in moves if g.window and s > 60 * g.window),
        )

    def row(self) -> dict[str, str]:
        """For a reader."""
        slot, share = self.found.bottleneck, self.found.shares.get(self.found.bottleneck, 0.0)
        return {
            "wave": str(self.wave),
            "guests": str(self.guests),
            "data": files.human(self.size),
            "steps left": str(self.tasks),
            "expected": spoken(self.found.seconds),
            "9 of 10 nights": spoken(self.found.likely),
            "waits for": f"{slot}, taken {share:.0%} of the time" if slot else "–",
            "one more saves": spoken(self.saved) if self.saved else "–",
        }

    def words(self) -> Iterator[str]:
        """What somebody has to do about it."""
        if self.late:
            names = ", ".join(self.late[:20]) + (f" and {len(self.late) - 20} more" if len(self.late) > 20 else "")
            yield f"Wave {self.wave}: likely not through by then: {names}. Give them a later `wave:`."
        for guest, seconds, window in self.narrow:
            yield f"{guest}: its cut-over likely takes {spoken(seconds)}, and its window is {window} min."

    def stretches(self) -> list[Stretch]:
        """One trial in the middle, for the picture."""
        return [Stretch(b.task.guest, b.task.steps[0], b.begin, b.end) for b in self.found.bars]

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, without the picture."""
        about = {name: value for name, value in asdict(self).items() if name != "found"}
        found = {name: getattr(self.found, name) for name in ("seconds", "likely", "shares", "ends", "bottleneck")}
        return about | found


def basis(rates: Rates, guests: Sequence[Guest], steps: Sequence[str]) -> Iterator[str]:
    """By what it was foretold."""
    known = [f"{STEPS[s].number} ({len(rates.ratios[s])})" for s in steps if s in rates.ratios]
    rough = [STEPS[s].number for s in steps if s not in rates.ratios]
    if known:
        yield f"By this site's own runs: {', '.join(known)}."
    if rough:
        yield f"By rough figures, since no guest of this site has done it: {', '.join(rough)}."
    if blank := sum(g.name not in rates.sizes for g in guests):
        yield f"Not surveyed, and taken for {files.human(rates.usual)} of data each: {blank} of {len(guests)} guests."
