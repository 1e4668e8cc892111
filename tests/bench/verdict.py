"""How often the rule of `hikkoshi.network.compare.sequential` gives a wrong verdict, by simulated series of known ratios.

    python tests/bench/verdict.py [--series 20000] [--seed 1] [--csv FILE]

A run falls short of the link's cap as one of the ten direct runs of Table 1 did, stretched at random (a log-normal factor
of 0.3) so that none comes twice: most runs crowd under the cap, one in ten is far below. Both paths are drawn alike, the
path in question times the true ratio. Wrong is regressed at 0.90 or more and recovered below. Exits 1 where the share of
wrong verdicts is above 2 % at any ratio.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from hikkoshi import files
from hikkoshi.network.compare import measurements, sequential, statistics

TABLE = Path(__file__).parents[2] / "params" / "measurements" / "netperf-table1.csv"
TRUE_RATIOS = (0.006, 0.5, 0.8, 0.85, 0.88, 0.90, 0.92, 0.95, 1.0)  # the first is the collapse of Table 1
ALLOWED = 0.02
CAP = measurements.payload_cap(100)
SHORT = 1 - measurements.runs(measurements.read(TABLE), "VLAN302").to_numpy() / CAP


def main() -> None:
    """Simulate, print, judge."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--series", type=int, default=20_000, help="simulated for each true ratio")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--csv", type=Path, help="write the table there too")
    asked = options.parse_args()
    table = pd.DataFrame([rates(true, asked.series, asked.seed) for true in TRUE_RATIOS])
    print(table.to_string(index=False))
    if asked.csv:
        files.write(asked.csv, table.to_csv(index=False))
    worst = table.loc[table["wrong"].idxmax()]
    print(f"\nmost wrong verdicts: {worst['wrong']:.2%}, at the true ratio {worst['true ratio']:g}; allowed: {ALLOWED:.0%}")
    sys.exit(int(worst["wrong"] > ALLOWED))


def rates(true: float, series: int, seed: int) -> dict[str, float]:
    """A row of the table: shares of `series` simulated series, to five places."""
    rng = np.random.default_rng([seed, round(1000 * true)])
    found = [sequential.judge(true * runs(rng), runs(rng)) for _ in range(series)]
    given = pd.Series([look.verdict for look in found if look]).value_counts()
    wrong = int(given.get("regressed" if true >= statistics.ENOUGH_OF_DIRECT else "recovered", 0))
    return {
        "true ratio": true,
        "series": series,
        **{v: round(given.get(v, 0) / series, 5) for v in ("regressed", "recovered", "inconclusive")},
        "runs per path": round(float(np.mean([look.runs for look in found if look])), 2),
        "wrong": round(wrong / series, 5),
        # one-sided 95 % bound of Clopper and Pearson
        "wrong at most": round(float(stats.beta.ppf(0.95, wrong + 1, series - wrong)), 5),
    }


def runs(rng: np.random.Generator) -> NDArray[np.float64]:
    """As many runs of a healthy path as a series can have, in Mb/s."""
    size = sequential.LOOKS[-1]
    short = rng.choice(SHORT, size) * rng.lognormal(0, 0.3, size)
    return CAP * (1 - short)


if __name__ == "__main__":
    main()
