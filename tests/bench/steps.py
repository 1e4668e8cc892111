"""What a step costs that only looks: wall and processor time of each, by commands of one step, by one of many, and in a fleet.

    python tests/bench/steps.py [--rounds 3] [--guest gateway] [--folder DIR] [--before CHECKOUT]

A lab of its own is brought up, the guest is surveyed once, and then each round takes it from 20 to 60 in plan mode: a command for
each step, such a command forked as `hikkoshi fleet run` does it, and one command for all steps. The processor time is that of the
command and of all that it starts. With `--before` each is followed by the same by another checkout: on a machine with other work
only the two beside each other can be compared.
"""

import argparse
import json
import os
import resource
import shutil
import socket
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
FLEET = """
import json, os, resource, sys, tempfile, time
from hikkoshi.cli import main
from hikkoshi.fleet import appointment, console, loaded, sequence
from hikkoshi.run import byhand

def spent():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

found, guest, *steps = {}, *sys.argv[1:]
with loaded.commands(main.main, steps) as commands:
    for step in steps:
        start, before = time.monotonic(), spent()
        with tempfile.TemporaryFile() as answer:
            command = commands.begin([*loaded.COMMAND, "run", guest, "--only", step, "--json"], dict(os.environ), answer)
            command.said.read()
            assert command.wait() == 0
        found[step] = time.monotonic() - start, spent() - before
print(json.dumps(found))
"""


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--guest", default="gateway")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("--before", type=Path)
    asked = options.parse_args()
    versions = {"": PROJECT, **({"before": asked.before.resolve()} if asked.before else {})}
    with tempfile.TemporaryDirectory(prefix="hikkoshi-bench-", dir=asked.folder) as place:
        home = site(Path(place))
        lab.up(home)
        try:
            print(f"{SURVEY.id:<24}{told(*command(PROJECT, home, asked.guest, '--only', SURVEY.id))}")
            rounds = [measured(versions, home, asked.guest) for _ in range(asked.rounds)]
        finally:
            lab.down(home)
            subprocess.run(["chmod", "-R", "u+w", place], check=True)  # records are read-only
    for name in rounds[0]:
        walls, cpus = zip(*(found[name] for found in rounds), strict=True)
        print(f"{name:<24}{told(statistics.median(walls), statistics.median(cpus))}")
    print(f"medians of {asked.rounds} rounds; asked:{told(*MAY_TAKE)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def site(root: Path) -> Home:
    """A folder of its own for the lab's site, whose vSphere listens where nobody else does."""
    shutil.copytree(PROJECT / "params", root / "params")
    home = Home(root)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.site_file.write_text(home.site_file.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{port}"))
    return home


def measured(versions: dict[str, Path], home: Home, guest: str) -> dict[str, tuple[float, float]]:
    """{what: (wall, processor), in seconds of a step}, of one round."""
    found = {}
    for step in STEPS:
        for name, version in versions.items():
            found[f"{step} {name}"] = command(version, home, guest, "--only", step)
    for name, version in versions.items():
        wall, cpu = command(version, home, guest, "--from", STEPS[0], "--through", STEPS[-1])
        found[f"each of all {name}"] = wall / len(STEPS), cpu / len(STEPS)
    done = subprocess.run(
        [sys.executable, "-c", FLEET, guest, *STEPS], env=environment(PROJECT, home), stdout=subprocess.PIPE, check=True
    )
    return found | {f"{step}, in a fleet": tuple(times) for step, times in json.loads(done.stdout).items()}


def command(version: Path, home: Home, guest: str, *arguments: str) -> tuple[float, float]:
    """Run `hikkoshi run` to its end: seconds by the clock, and of the processor."""
    argv = [sys.executable, "-m", "hikkoshi.cli.main", "run", guest, *arguments]
    start, before = time.monotonic(), spent()
    subprocess.run(argv, env=environment(version, home), stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start, spent() - before


def environment(version: Path, home: Home) -> dict[str, str]:
    """Of a command of a checkout. As for whoever uses it, what was compiled is kept."""
    compiled = str(home.root / "compiled")  # and no checkout gets any of it
    own = {"PYTHONPATH": str(version / "lib"), "PYTHONPYCACHEPREFIX": compiled, "HIKKOSHI_HOME": str(home.root)}
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, **own}


def spent() -> float:
    """Seconds of the processor that all our children took that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def told(wall: float, cpu: float) -> str:
    """A row."""
    return f"{wall:7.2f} s wall {cpu:6.2f} s processor"


if __name__ == "__main__":
    main()
