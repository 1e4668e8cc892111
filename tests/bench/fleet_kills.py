"""Fleets of which the client, a worker, the scheduler or a step's own process is killed at moments drawn by lot.

    python tests/bench/fleet_kills.py [--seeds 0-29] [--folder DIR]

Odd seeds run on this machine, even ones by a Dask cluster. Every story ends with the same command; it fails where a step of a
guest ran twice at once, where one is lost, or where the end is not that of a fleet that nobody disturbed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # what test files share

import kills


def main() -> None:
    """Tell every story."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--seeds", default="0-29")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = options.parse_args()
    first, _, last = asked.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        with tempfile.TemporaryDirectory(prefix="hikkoshi-kills-", dir=asked.folder) as place:
            start = time.monotonic()
            try:
                told = kills.trial(Path(place), seed, by_cluster=seed % 2 == 0)
            finally:
                subprocess.run(["chmod", "-R", "u+w", place], check=True)  # records are read-only
            print(f"seed {seed:2d}, {time.monotonic() - start:5.1f} s: {told}", flush=True)


if __name__ == "__main__":
    main()
