"""A fleet, one of whose processes is killed at a moment by lot, and again; and in the end the same command once more."""

import contextlib
import os
import random
import subprocess
from pathlib import Path

import fleets
from clusters import DaskCluster
from hikkoshi.params.home import Home
from hikkoshi.run import lock, status
from hikkoshi.run.journal import Journal
from processes import PATIENCE, hikkoshi, start, wait_for
from runbooks import parameters

WAY = ("fleet", "run", "--from", "10", "--through", "20")
STEPS = ("10-survey", "20-plan")


def trial(folder: Path, seed: int, *, by_cluster: bool, guests: int = 4, times: int = 2) -> str:
    """One story; what was killed in it. Fails where a step ran twice at once or is lost, or the end is not what it should be."""
    chance, home = random.Random(seed), parameters(folder / "home")
    names, story = fleets.site(home, guests, dom0s=2), list[str]()
    for step in STEPS:
        fleets.read_only(home, step)
    with contextlib.ExitStack() as stack:
        cluster = DaskCluster(folder / "cluster", ("dom0:host0", "dom0:host1")) if by_cluster else None
        if cluster:
            stack.callback(cluster.close)
        options = cluster.options if cluster else ()
        for _ in range(times):
            enough = runs(home) + chance.randrange(guests)
            fleet = start(home, *WAY, *options)
            await_moment(home, fleet, enough, chance.random() * 2)
            story.append(kill(chance, home, fleet, cluster))
            out, err = fleet.communicate(timeout=PATIENCE)
            assert fleet.returncode in (-9, 0, 1), (story, out, err)
            options = cluster.options if cluster else ()
        cut = interrupted(home, names)
        last = hikkoshi(home, *WAY, *options)
        story.append(f"in the end {last.returncode}")
        assert last.returncode == 0, (story, last.stdout, last.stderr)
        assert [name for name in cut if f"{name:<12}│ " not in last.stdout] == [], (story, last.stdout)
        done = fleets.world(home)
        assert done.pop("twice") == "", (story, "a step ran twice at once")
        assert set(done) == {f"{name} {step}" for name in names for step in STEPS}, (story, "a step is lost")
        for name in names:
            assert fleets.succeeded(home, name) == list(STEPS), (story, name)
            assert status.status(home, [name])[0].state == "done", (story, name)
        again = hikkoshi(home, *WAY, *options)
        assert f"{guests} of {guests} guests have these steps behind them" in again.stdout, (story, again)
    return ", ".join(story)


def await_moment(home: Home, fleet: "subprocess.Popen[str]", enough: int, seconds: float) -> None:
    """Wait until a fleet has begun more steps than `enough`, and so many seconds longer, or until it has ended."""
    wait_for(lambda: runs(home) > enough or fleet.poll() is not None, "so many steps were begun")
    with contextlib.suppress(subprocess.TimeoutExpired):
        fleet.wait(seconds)


def kill(chance: random.Random, home: Home, fleet: "subprocess.Popen[str]", cluster: DaskCluster | None) -> str:
    """End one of its processes by SIGKILL, and begin a new one in its place; what it was."""
    what = chance.choice(["client", "worker", "scheduler"] if cluster else ["client", "runner"])
    if what == "runner" and (found := runners(home)):
        os.kill(chance.choice(found), 9)
    elif what == "worker" and cluster:
        cluster.replace_worker(chance.randrange(len(cluster.workers)))
    elif what == "scheduler" and cluster:
        cluster.replace_scheduler()
    else:
        what = "client"
        fleet.kill()
    return what


def runs(home: Home) -> int:
    """How many steps were begun so far."""
    return sum(1 for _ in home.outputs.glob("guests/*/runs/*.ipynb"))


def runners(home: Home) -> list[int]:
    """The processes that take a guest through a step, as their locks name them."""
    locks = [folder.runner_lock for folder in home.folders()]
    return [int(path.read_text().split()[-1]) for path in locks if lock.held(path) and "pid" in path.read_text()]


def interrupted(home: Home, names: list[str]) -> list[str]:
    """The guests whose last run has no end, and on whom nobody is at work."""
    past = {name: status.runs(Journal(home.folder(name).journal).entries()) for name in names}
    return [name for name, found in past.items() if found and found[-1].state == "interrupted"]
