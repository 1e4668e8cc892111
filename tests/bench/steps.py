"""What a step costs that only looks: wall and processor time of each, by commands of one step and by one of many.

    python tests/bench/steps.py [--rounds 3] [--guest gateway] [--folder DIR]

A lab of its own is brought up, the guest is surveyed once, and then each round takes it from 20 to 60 in plan mode: first
a command for each step, then one for all of them. The processor time is that of the command and of all that it starts.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hikkoshi.params.home import Home
from hikkoshi.run.step import CONVERT, DEPLOY, PLAN, PREPARE, REHEARSE, SURVEY
from hikkoshi_lab import lab

PROJECT = Path(__file__).parents[2]
STEPS = [step.id for step in (PLAN, PREPARE, CONVERT, REHEARSE, DEPLOY)]
MAY_TAKE = (1.0, 0.6)  # seconds of a step, by the clock and of the processor


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--guest", default="gateway")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hikkoshi-bench-", dir=asked.folder) as place:
        shutil.copytree(PROJECT / "params", Path(place) / "params")
        home = Home(Path(place))
        lab.up(home)
        try:
            print(f"{SURVEY.id:<16}{told(*command(home, asked.guest, '--only', SURVEY.id))}")
            rounds = [measured(home, asked.guest) for _ in range(asked.rounds)]
        finally:
            lab.down(home)
            subprocess.run(["chmod", "-R", "u+w", place], check=True)  # records are read-only
    for name in rounds[0]:
        walls, cpus = zip(*(found[name] for found in rounds), strict=True)
        print(f"{name:<16}{told(statistics.median(walls), statistics.median(cpus))}")
    print(f"medians of {asked.rounds} rounds; asked:{told(*MAY_TAKE)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def measured(home: Home, guest: str) -> dict[str, tuple[float, float]]:
    """{what: (wall, processor), in seconds of a step}, of one round."""
    found = {step: command(home, guest, "--only", step) for step in STEPS}
    wall, cpu = command(home, guest, "--from", STEPS[0], "--through", STEPS[-1])
    return {**found, "each of all": (wall / len(STEPS), cpu / len(STEPS))}


def command(home: Home, guest: str, *arguments: str) -> tuple[float, float]:
    """Run `hikkoshi run` to its end: seconds by the clock, and of the processor."""
    argv, environment = [sys.executable, "-m", "hikkoshi.cli.main", "run", guest], {**os.environ, "HIKKOSHI_HOME": str(home.root)}
    start, before = time.monotonic(), spent()
    subprocess.run([*argv, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start, spent() - before


def spent() -> float:
    """Seconds of the processor that all our children took that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def told(wall: float, cpu: float) -> str:
    """A row."""
    return f"{wall:7.2f} s wall {cpu:6.2f} s processor"


if __name__ == "__main__":
    main()
