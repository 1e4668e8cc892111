"""What a handful of throughput runs can prove.

Robust and exact: ranks and medians, so that one wild run does not decide, and no assumption of a bell curve. Intervals are
exact for small samples; with ties they are a little wider than they need be. No run is ever deleted.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hikkoshi.errors import BadInput, Problem

Values = Sequence[float] | NDArray[np.float64] | pd.Series
Verdict = Literal["regressed", "recovered", "inconclusive"]
ENOUGH_OF_DIRECT = 0.90  # a path as fast as 90 % of the direct one counts as recovered
ROUNDING = 1e-12  # a ratio goes through logarithms: one of exactly 0.90 comes back a little off
EVERY_SPLIT = 200_000  # up to so many ways of dealing the runs out are all tried; 10 and 10 have 184 756


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `confidence` is what the interval really reaches, at least what was asked for.

    `format(e, ".3g")` formats all three numbers: '173 [114, 214]'.
    """

    value: float
    low: float
    high: float
    confidence: float

    @property
    def inverse(self) -> "Estimate":
        """Of a ratio a / b the ratio b / a; without bound where a may be 0."""
        value, low, high = (1 / x if x else math.inf for x in (self.value, self.high, self.low))
        return Estimate(value, low, high, self.confidence)

    @property
    def as_share(self) -> str:
        """A ratio as one reads it beside 0.90: '0.967 [0.931, 1.025]', and with two digits where it is below 0.1."""
        value, low, high = (f"{x:.3f}" if x >= 0.1 else f"{x:.2g}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return f"{self:.4g}"


@dataclass(frozen=True)
class Comparison:
    """One path against the direct one."""

    shift: Estimate  # direct - path, in the unit of the runs
    ratio: Estimate  # path / direct: 1 is as fast as direct, its inverse says how many times slower the path is
    p: float  # chance of so great a difference if the paths were alike
    delta: float  # Cliff's delta: 1 if every direct run beats every run of the path, 0 if neither, -1 the reverse
    verdict: Verdict

    def table(self) -> pd.DataFrame:
        """The same as questions and answers, for a reader; numbers are rounded."""
        rows = [
            ("by how much is direct faster?", f"{self.shift:.2f}", "in the unit of the runs"),
            ("how many times faster?", f"{self.ratio.inverse:.3g}", "times; no unit"),
            ("through / direct", f"{self.ratio:.2g}", "the ratio; 1 is as fast as direct"),
            ("could it be chance?", f"{self.p:.3g}", "p"),
            ("how often is direct the faster?", f"{self.delta:g}", "Cliff's delta; 1 is always, 0 as often as not"),
            ("verdict", self.verdict, f"at {self.ratio.confidence:.1%} confidence"),
        ]
        return pd.DataFrame(rows, columns=["question", "answer", "which is"])


def shift(a: Values, b: Values, confidence: float = 0.95) -> Estimate:
    """How much greater `a` is than `b`: the median of all pairwise differences (Hodges-Lehmann), with its exact interval.

    The interval holds the shifts that an exact two-sided Mann-Whitney test does not reject.
    """
    return _hodges_lehmann(_finite(a), _finite(b), confidence, lambda x: x)


def ratio(a: Values, b: Values, confidence: float = 0.95) -> Estimate:
    """How many times `b` goes into `a`: the Hodges-Lehmann shift of the logarithms, taken back. Has no unit.

    A run of `a` may be 0 (nothing came through), one of `b` may not.
    """
    top, bottom = _finite(a), _finite(b)
    if (top < 0).any() or (bottom <= 0).any():
        raise BadInput(
            Problem(
                code="ratio-impossible",
                what="a ratio cannot be formed",
                found=f"least values {top.min():g} and {bottom.min():g}",
                expected="0 or more above, more than 0 below",
                remedy="compare with a path that carries data in every run",
            )
        )
    with np.errstate(divide="ignore"):  # log 0 is -inf, which ranks where it should
        return _hodges_lehmann(np.log(top), np.log(bottom), confidence, math.exp)


def median(values: Values, confidence: float = 0.95) -> Estimate:
    """The median with the narrowest symmetric pair of order statistics that reaches `confidence`, for any distribution."""
    from scipy import stats  # noqa: PLC0415 - it takes most of a second, in every kernel, and most runbooks need none of it

    ordered = np.sort(_finite(values))
    n = len(ordered)
    # P(fewer than k values lie below the true median) is binomial
    tails = stats.binom.cdf(np.arange(n // 2), n, 0.5)
    k = _rank(tails, confidence, f"{n} runs")
    return Estimate(float(np.median(ordered)), float(ordered[k - 1]), float(ordered[n - k]), float(1 - 2 * tails[k - 1]))


def permutation_p(a: Values, b: Values) -> float:
    """Two-sided p of the rank-sum test by dealing the runs out anew; right with ties too.

    All ways are tried up to `EVERY_SPLIT`, beyond that so many random ones with a fixed seed.
    """
    from scipy import stats  # noqa: PLC0415 - as above

    method = stats.PermutationMethod(n_resamples=EVERY_SPLIT, batch=20_000, rng=np.random.default_rng(1))
    return float(stats.mannwhitneyu(_finite(a), _finite(b), method=method).pvalue)


def cliffs_delta(a: Values, b: Values) -> float:
    """Chance that a run of `a` is the greater one less the chance that it is the smaller one: from -1 to 1."""
    from scipy import stats  # noqa: PLC0415 - as above

    x, y = _finite(a), _finite(b)
    return float(2 * stats.mannwhitneyu(x, y, method="asymptotic").statistic / (len(x) * len(y)) - 1)


def verdict(ratio_to_direct: Estimate) -> Verdict:
    """Regressed if all of the interval lies below 0.90, recovered if none of it does, else inconclusive."""
    border = ENOUGH_OF_DIRECT - ROUNDING
    if ratio_to_direct.high < border:
        return "regressed"
    return "recovered" if ratio_to_direct.low >= border else "inconclusive"


def compare(path: Values, direct: Values, confidence: float = 0.95) -> Comparison:
    """Everything about one path against the direct one."""
    to_direct = ratio(path, direct, confidence)
    return Comparison(
        shift=shift(direct, path, confidence),
        ratio=to_direct,
        p=permutation_p(direct, path),
        delta=cliffs_delta(direct, path),
        verdict=verdict(to_direct),
    )


def modified_z(values: Values) -> NDArray[np.float64]:
    """How far each run stands apart, in robust standard deviations from the median; above 3.5 is worth a remark.

    0.6745 (x - median) / MAD (Iglewicz and Hoaglin 1993); where over half the runs are equal and the MAD is therefore 0,
    (x - median) / (1.2533 mean absolute deviation) as they advise; all 0 where all runs are equal.
    """
    x = _finite(values)
    distance = x - np.median(x)
    mad, mean = np.median(np.abs(distance)), np.mean(np.abs(distance))
    if mad > 0:
        return np.asarray(distance / (mad / NormalDist().inv_cdf(0.75)))
    return np.asarray(distance / (mean * math.sqrt(math.pi / 2))) if mean > 0 else np.zeros_like(x)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per path of a table of measurements, in the table's order.

    `runs`, `mean`, `sd`, `least`, `median`, `greatest`, then the median's 95 % order-statistic interval `low`, `high` and
    the `confidence` that it reaches.
    """
    rows = []
    for path, group in table.groupby("path", sort=False)["throughput"]:
        middle = median(group)
        rows.append(
            {
                "path": path,
                "runs": len(group),
                "mean": float(group.mean()),
                "sd": float(group.std(ddof=1)),
                "least": float(group.min()),
                "median": middle.value,
                "greatest": float(group.max()),
                "low": middle.low,
                "high": middle.high,
                "confidence": middle.confidence,
            }
        )
    return pd.DataFrame(rows)


def averages(path: Values, direct: Values) -> dict[str, str]:
    """How many times faster `direct` is, by ranks, medians and means: where one wild run decides, they disagree."""
    x, y = _finite(path), _finite(direct)
    return {
        "by ranks": f"{ratio(x, y).inverse:.3g}",
        "by medians": f"{np.median(y) / np.median(x):.3g}",
        "by means": f"{np.mean(y) / np.mean(x):.3g}",
    }


def least_possible(mean: float, runs: int, cap: float) -> tuple[float, float]:
    """The slowest run, and the smallest median, that `runs` values with this mean can have if none is above `cap`.

    For a result of which only the mean was published. All runs together fall short of the cap by runs x (cap - mean): one
    run can be no further below it than that. For a median as small as possible all runs up to the middle share it.
    """
    if runs < 1 or not 0 <= mean <= cap:
        raise BadInput(
            Problem(
                code="runs-impossible",
                what="no such runs can be",
                found=f"{runs} runs with the mean {mean:g}, none above {cap:g}",
                expected="one run or more, and a mean from 0 to the cap",
                remedy="correct the mean, its unit or the cap",
            )
        )
    short = runs * (cap - mean)
    return max(0.0, cap - short), max(0.0, cap - short / (runs // 2 + 1))


def left_open(mean: float, runs: int, direct: Values, readings: pd.DataFrame) -> pd.DataFrame:
    """What a published mean of `runs` runs leaves open, a row per reading of the unit as from `measurements.readings`.

    `slowest run` and `median` are the least that `least_possible` allows; `of direct %` is that median as a share of the
    median of the direct path.
    """
    least = [least_possible(mean, runs, cap) for cap in readings["cap"]]
    middle = np.array([median for _, median in least])
    return pd.DataFrame(
        {
            "read as": readings["read as"],
            "cap": readings["cap"],
            "slowest run": [slowest for slowest, _ in least],
            "median": middle,
            "of direct %": 100 * middle / np.median(_finite(direct)),
        }
    )


def _hodges_lehmann(
    a: NDArray[np.float64], b: NDArray[np.float64], confidence: float, back: Callable[[float], float]
) -> Estimate:
    pairs = np.sort(np.subtract.outer(a, b), axis=None)
    tails = np.cumsum(_rank_sum_chances(len(a), len(b)))[: (len(pairs) + 1) // 2]
    k = _rank(tails, confidence, f"{len(a)} and {len(b)} runs")
    return Estimate(back(float(np.median(pairs))), back(float(pairs[k - 1])), back(float(pairs[-k])), float(1 - 2 * tails[k - 1]))


@functools.lru_cache(maxsize=64)  # a simulation asks for the same few a hundred thousand times
def _rank_sum_chances(m: int, n: int) -> NDArray[np.float64]:
    """Chance of every value 0 … m n of the Mann-Whitney U of m and n runs that do not differ.

    The numbers of ways are the coefficients of the Gaussian binomial [m+n over m]: for i = 1 … m, multiply by
    1 - q^(n+i) and divide by 1 - q^i.
    """
    ways: list[int] = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            ways[u] -= ways[u - n - i]
        for u in range(i, m * n + 1):
            ways[u] += ways[u - i]
    chances = np.array([w / math.comb(m + n, m) for w in ways])
    chances.flags.writeable = False  # the next caller gets the same array
    return chances


def _rank(tails: NDArray[np.float64], confidence: float, of: str) -> int:
    """The greatest rank k, from 1, whose one-sided error tails[k - 1] still allows `confidence`."""
    if not 0 < confidence < 1:
        raise BadInput(
            Problem(
                code="confidence-impossible",
                what="a confidence is no probability",
                found=f"{confidence:g}",
                expected="between 0 and 1",
                remedy="0.95 is usual",
            )
        )
    # the slack keeps a level that is exactly reached from being lost to rounding
    k = int(np.searchsorted(tails, (1 - confidence) / 2 + 1e-12, side="right"))
    if k == 0:
        best = max(0.0, 1 - 2 * float(tails[0])) if len(tails) else 0.0
        raise BadInput(
            Problem(
                code="too-few-runs",
                what="too few runs for an interval of this confidence",
                found=f"{of}: {best:.2%} at most",
                expected=f"{confidence:.2%}",
                remedy="measure more runs (6 on each side are enough for 95 %), or ask for less confidence",
            )
        )
    return k


def _finite(values: Values) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise BadInput(
            Problem(
                code="no-runs",
                what="no runs to judge",
                found=f"{len(x)} values, {int(np.isfinite(x).sum())} finite" if x.ndim == 1 else f"shape {x.shape}",
                expected="a list of one or more finite numbers",
                remedy="read them with measurements.read, which names bad lines",
            )
        )
    return x
