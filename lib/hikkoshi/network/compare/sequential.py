"""How many runs are enough: two paths measured in turn, looked at after 5, 8, 12 and 20 runs each, until they decide.

A look is the exact rank interval of the ratio through / direct. Each may miss the true ratio in one case of 80, so that all
four together miss it in one of 20 at most, to either side in one of 40. What that means for verdicts is simulated by
tests/bench/verdict.py. Five runs are the fewest that can decide: all 25 pairs have to agree, by chance one in 126.

The two paths take turns, in an order drawn anew for each pair, because what else loads the machines then meets both alike.
"""

import math
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from hikkoshi.artefact import Frozen
from hikkoshi.errors import BadInput, Problem, ToolFailed
from hikkoshi.network.compare import measurements, statistics
from hikkoshi.network.compare.statistics import Estimate, Values, Verdict
from hikkoshi.progress import Progress, silent

LOOKS = (5, 8, 12, 20)  # runs per path
CONFIDENCE = 1 - 0.05 / len(LOOKS)
FAILURES = 5  # runs that may fail in one go before the tool has to be mended first
INTERRUPTED = "interrupted by Ctrl-C"

Ended = Literal[
    "not yet",
    "decided",
    "20 runs did not decide",
    "the time was up",
    "too many runs could not be made",
    "a direct run carried nothing",
    "interrupted",
]


@dataclass(frozen=True)
class Look:
    """What the first `runs` runs of either path say."""

    runs: int
    ratio: Estimate  # through / direct

    @property
    def verdict(self) -> Verdict:
        """Regressed or recovered if the interval lies wholly below 0.90 or not below it at all, else inconclusive."""
        return statistics.verdict(self.ratio)

    @property
    def final(self) -> bool:
        """Whether this look ends the series."""
        return self.verdict != "inconclusive" or self.runs == LOOKS[-1]


def looks(through: Values, direct: Values) -> list[Look]:
    """All looks that these runs, in the order measured, allow: up to the first that is final.

    Runs beyond a look have no part in it. `BadInput` where one that has is not finite, is negative, or is a direct one of 0.
    """
    a, b = np.asarray(through, dtype=np.float64), np.asarray(direct, dtype=np.float64)
    found: list[Look] = []
    for runs in LOOKS:
        if runs > min(len(a), len(b)) or (found and found[-1].final):
            break
        found.append(Look(runs, statistics.ratio(a[:runs], b[:runs], CONFIDENCE)))
    return found


def judge(through: Values, direct: Values) -> Look | None:
    """The look that counts, the last one that these runs allow; None before there are five runs of either path."""
    found = looks(through, direct)
    return found[-1] if found else None


class Attempt(Frozen):
    """One run, or one try at it."""

    number: Annotated[int, Field(ge=1)]  # in the order measured, both paths together
    path: str
    began: str  # UTC, ISO 8601
    seconds: Annotated[float, Field(ge=0)]  # that it took
    throughput: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None  # None: not made; 0: nothing came through
    failure: str = ""  # why it could not be made


class Series(Frozen):
    """Runs of two paths that take turns; all that were made, in the order measured. A new one has none."""

    through: str  # the path in question
    direct: str  # the path that it is compared with
    unit: str  # of every throughput
    seed: int = Field(default_factory=lambda: secrets.randbelow(10**6))  # of the order within the pairs
    runs: tuple[Attempt, ...] = ()
    ended: Ended = "not yet"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        strangers = {r.path for r in self.runs} - {self.through, self.direct}
        if self.through == self.direct or strangers:
            raise BadInput(
                Problem(
                    code="series-not-of-two-paths",
                    what="a series compares two paths",
                    found=", ".join(sorted({self.through, self.direct} | strangers)),
                    expected="two different names, and runs of these two",
                    remedy="name the path in question and the one to compare it with",
                )
            )
        return self

    def of(self, path: str) -> list[float]:
        """Throughput of a path's runs in the order measured, without those that could not be made."""
        return [r.throughput for r in self.runs if r.path == path and r.throughput is not None]

    @property
    def failures(self) -> list[Attempt]:
        """The runs that could not be made."""
        return [r for r in self.runs if r.throughput is None]

    @property
    def looks(self) -> list[Look]:
        """Every look so far."""
        return looks(self.of(self.through), self.of(self.direct))

    @property
    def look(self) -> Look | None:
        """The look that counts; None if there were not enough runs for any."""
        return judge(self.of(self.through), self.of(self.direct))

    @property
    def verdict(self) -> Verdict:
        """What the runs prove; inconclusive where they prove nothing, for whatever reason."""
        return self.look.verdict if self.look else "inconclusive"

    @property
    def next_path(self) -> str:
        """The path whose turn it is: the one that is a run behind, else the one that is drawn to begin the next pair."""
        through, direct = len(self.of(self.through)), len(self.of(self.direct))
        if through != direct:
            return self.through if through < direct else self.direct
        return random.Random(f"{self.seed} {through}").choice((self.through, self.direct))

    def table(self) -> pd.DataFrame:
        """The runs as a table of measurements; `run` counts both paths together, with gaps where a run was not made."""
        rows = [(r.number, r.path, r.throughput) for r in self.runs if r.throughput is not None]
        types = {"run": "int64", "throughput": "float64"}
        return pd.DataFrame(rows, columns=list(measurements.COLUMNS)).astype(types)

    def rows(self) -> list[dict[str, object]]:
        """A row for each look: how many runs, the ratio with its interval, what follows."""
        return [
            {
                "runs per path": look.runs,
                "through / direct": look.ratio.as_share,
                "confidence": f"{look.ratio.confidence:.1%}",
                "verdict": look.verdict if look.final else "go on",
            }
            for look in self.looks
        ]

    def words(self) -> str:
        """The verdict and what it stands on, in a sentence or two."""
        look, made = self.look, f"{len(self.of(self.through))} and {len(self.of(self.direct))} runs"
        if look:
            ratio = f"{self.through} / {self.direct} is {look.ratio.as_share}"
            parts = [f"{self.verdict}: {ratio} after {look.runs} runs each"]
        else:
            parts = [f"{self.verdict}: {made} are too few for a look"]
        if self.ended not in ("decided", "20 runs did not decide", "not yet"):
            parts.append(f"{self.ended} ({made})" if look else self.ended)
        if self.failures:
            parts.append(f"{len(self.failures)} not made")
        return "; ".join(parts)


def measure(
    one_run: Callable[[str], float],
    series: Series,
    *,
    seconds: float = math.inf,
    keep: Callable[[Series], object] = lambda _: None,
    progress: Progress = silent,
) -> Series:
    """Go on with a series until its runs decide, or cannot; gives it with all its runs and why it `ended`.

    `one_run` measures one run of the path that it is told and gives its throughput in the series' unit: 0 where nothing came
    through, which counts, and `ToolFailed` where it could not be made, which is kept too and tried again; after `FAILURES`
    of them the series ends. Any other error goes to the caller. `keep` is given the series after every run: who writes it
    to a file can go on with what is in there after whatever happened, in the same order of the paths.

    No run is begun that would, by the longest so far, end later than `seconds` after this call. Ctrl-C ends the run under
    way, which is kept as not made, and the series, which is returned all the same: who has more to do looks at `ended`
    first. A direct run of 0 ends it too, for nothing can be compared with that.
    """
    start, failed, interrupted = time.monotonic(), 0, False
    while True:
        ended = "interrupted" if interrupted else _ended(series, failed, time.monotonic() - start, seconds)
        series = series.model_copy(update={"ended": ended})
        keep(series)
        progress(*_state(series))
        if ended != "not yet":
            return series
        run = _run(one_run, series)
        failed += run.throughput is None
        interrupted = run.failure == INTERRUPTED
        series = series.model_copy(update={"runs": (*series.runs, run)})


def _run(one_run: Callable[[str], float], series: Series) -> Attempt:
    path, began, start = series.next_path, datetime.now(UTC), time.monotonic()
    throughput: float | None = None
    failure = ""
    try:
        throughput = one_run(path)
        if not 0 <= throughput < math.inf:
            throughput, failure = None, f"the tool told a throughput of {throughput:g}"
    except ToolFailed as e:
        failure = str(e)
    except KeyboardInterrupt:
        failure = INTERRUPTED
    return Attempt(
        number=len(series.runs) + 1,
        path=path,
        began=began.isoformat(timespec="milliseconds"),
        seconds=round(time.monotonic() - start, 3),
        throughput=throughput,
        failure=failure,
    )


def _ended(series: Series, failed: int, passed: float, seconds: float) -> Ended:
    if 0 in series.of(series.direct):
        return "a direct run carried nothing"
    look = series.look
    if look and look.final:
        return "20 runs did not decide" if look.verdict == "inconclusive" else "decided"
    if failed >= FAILURES:
        return "too many runs could not be made"
    if passed + max((r.seconds for r in series.runs), default=0) > seconds:
        return "the time was up"
    return "not yet"


def _state(series: Series) -> tuple[int, int, str]:
    """(runs made, runs at which the next look is, words) for whoever watches."""
    made = [len(series.of(p)) for p in (series.through, series.direct)]
    following = next((n for n in LOOKS if n > min(made)), LOOKS[-1])
    if series.ended != "not yet":
        return sum(made), sum(made), series.words()
    last = next((f"{r.path}: {r.throughput:.4g} {series.unit}" for r in series.runs[-1:] if r.throughput is not None), "")
    return sum(made), 2 * following, f"{last or series.next_path}; next look after {following} runs of each path"
