"""Many guests by real processes: waves with hold points, a failure, a stop, kill -9; by a real Dask cluster, too."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fleets
import kills
from clusters import DaskCluster
from hikkoshi.params.home import Home
from hikkoshi.run import lock
from hikkoshi.run.journal import Journal
from hikkoshi_lab import certificate
from processes import hikkoshi, start, wait_for

CONVERT = ("--only", "40", "--apply")


def test_a_fleet_ends_at_a_hold_point_goes_on_when_it_is_told_to_and_whoever_is_to_know_gets_to_know(home: Home) -> None:
    names = fleets.site(home, 2, waves=2)
    site = home.site_file
    site.write_text(site.read_text() + "notify: { command: [sh, -c, 'cat >>told; echo >>told'] }\n")
    first = hikkoshi(home, "fleet", "run", *CONVERT)
    assert first.returncode == 0, first.stdout + first.stderr
    on = "hikkoshi fleet run --only 40 --apply --wave 2"
    assert first.stdout.endswith(f"1 of 1 guests are through.\nHold point. Look at the guests; then go on: {on}\n")
    assert [fleets.succeeded(home, name) for name in names] == [["40-convert"], []]
    (home.root / "world" / f"{names[1]} fails").touch()
    second = hikkoshi(home, *on.split()[1:], "--json")
    assert second.returncode == 1, second.stderr
    assert "it was to fail" in second.stderr
    assert "Hold point" not in second.stderr
    (guest,) = json.loads(second.stdout)["guests"]
    assert [s["outcome"] for s in guest["steps"]] == ["failed"]
    told = [json.loads(line) for line in (home.root / "told").read_text().splitlines() if line]
    assert [(t["event"], t["exit_code"]) for t in told] == [("hold", 0), ("failure", 1), ("end", 1)]
    assert (told[0]["next"], told[1]["guest"]) == (on, names[1])


def test_a_fleet_that_is_stopped_lets_the_step_that_runs_end_and_begins_no_other(home: Home) -> None:
    names = fleets.site(home, 2, seconds=1)
    first = start(home, "fleet", "run", *CONVERT, "--jobs", "1")
    wait_for((home.root / "world" / "twice").exists, "the first step acts")
    assert hikkoshi(home, "fleet", "stop").returncode == 0
    out, err = first.communicate(timeout=120)
    assert first.returncode == 3, out + err
    assert [fleets.succeeded(home, name) for name in names] == [["40-convert"], []]
    assert "not begun: hikkoshi fleet stop was typed" in out
    assert "1 of 2 guests are through" in out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler, and a worker near each of two Dom-0s."""
    found = DaskCluster(tmp_path_factory.mktemp("cluster"), ("dom0:host0", "dom0:host1"))
    yield found
    found.close()


def test_a_cluster_reads_from_each_dom0_by_the_worker_that_is_near_it(home: Home, cluster: DaskCluster) -> None:
    names = fleets.site(home, 3, dom0s=2)
    done = hikkoshi(home, "fleet", "run", "--only", "30", "--apply", *cluster.options)
    assert done.returncode == 0, done.stdout + done.stderr
    near = {f"{name} 30-prepare": f"dom0:host{n % 2}" for n, name in enumerate(names)}
    assert fleets.world(home) == {**near, "twice": ""}


@pytest.mark.parametrize("whose", ["the cluster's", "ours"])
def test_nobody_elses_certificate_is_trusted(home: Home, cluster: DaskCluster, tmp_path: Path, whose: str) -> None:
    fleets.site(home, 1)
    certificate.make(tmp_path)
    options = list(DaskCluster.trusting(tmp_path))
    if whose == "ours":  # we know the cluster, and it does not know us
        options += ["--tls-ca", str(cluster.folder / certificate.CA)]
    done = hikkoshi(home, "fleet", "run", *CONVERT, "--scheduler", cluster.address, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the cluster's scheduler cannot be reached" in done.stderr
    assert not home.folder("g0000").exists()


def test_ctrl_c_ends_what_a_cluster_carries_out(home: Home, cluster: DaskCluster) -> None:
    fleets.site(home, 2, dom0s=2, seconds=300)
    fleet = start(home, "fleet", "run", *CONVERT, *cluster.options)
    wait_for(lambda: all(fleets.acts(home, name) for name in ("g0000", "g0001")), "both act")
    fleet.send_signal(signal.SIGINT)
    out, err = fleet.communicate(timeout=120)
    assert fleet.returncode == 130, out + err
    for name in ("g0000", "g0001"):
        assert [e.outcome for e in Journal(home.folder(name).journal).entries() if e.event == "outcome"] == ["interrupted"]
        assert not lock.held(home.folder(name).lock)


SHORT = "from hikkoshi.cli.main import main\nfrom hikkoshi.fleet import cluster\ncluster.LOOK = 0.5\ncluster.GRACE = 1.0\nmain()"


def test_what_only_a_lost_worker_could_carry_out_is_not_waited_for_without_end(home: Home, cluster: DaskCluster) -> None:
    fleets.site(home, 4, dom0s=2, seconds=300)
    way = ("fleet", "run", "--only", "30", "--apply", "--failures", "4")
    fleet = start(home, *way, *cluster.options, program=[sys.executable, "-c", SHORT])
    wait_for(lambda: fleets.acts(home, "g0001"), "it acts")
    cluster.workers[1].kill()
    out, err = fleet.communicate(timeout=120)
    assert fleet.returncode == 1, out + err
    told = {line.partition(" ")[0]: line for line in out.splitlines() if "cannot be heard" in line and "│" in line}
    assert {"g0001", "g0003"} <= set(told), out
    assert "KilledWorker" in told["g0001"]


@pytest.mark.parametrize(("seed", "by_cluster"), [(1, False), (10, True)])
def test_whatever_is_killed_no_step_of_a_guest_runs_twice_at_once_and_none_is_lost(
    tmp_path: Path, seed: int, by_cluster: bool
) -> None:
    """Thirty such stories: python tests/bench/fleet_kills.py."""
    kills.trial(tmp_path, seed, by_cluster=by_cluster, guests=2, times=1)
