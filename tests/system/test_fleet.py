"""Many guests by real processes: waves with hold points, a failure, a stop, kill -9; by a real Dask cluster, too."""

import json
from pathlib import Path

import pytest

import fleets
import kills
from clusters import DaskCluster
from hikkoshi.params.home import Home
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


def test_a_cluster_reads_from_each_dom0_by_the_worker_that_is_near_it_and_trusts_nobody_elses_certificate(
    home: Home, tmp_path: Path
) -> None:
    names = fleets.site(home, 3, dom0s=2)
    cluster = DaskCluster(tmp_path / "cluster", ("dom0:host0", "dom0:host1"))
    try:
        done = hikkoshi(home, "fleet", "run", "--only", "30", "--apply", *cluster.options)
        assert done.returncode == 0, done.stdout + done.stderr
        near = {f"{name} 30-prepare": f"dom0:host{n % 2}" for n, name in enumerate(names)}
        assert fleets.world(home) == {**near, "twice": ""}

        certificate.make(tmp_path / "other")
        address, other = cluster.address, DaskCluster.trusting(tmp_path / "other")
        strange = hikkoshi(home, "fleet", "run", "--only", "40", "--apply", "--scheduler", address, *other)
        assert strange.returncode == 1, strange.stdout + strange.stderr
        assert "TLS certificate does not match" in strange.stderr, strange.stderr
        unknown = (*DaskCluster.trusting(tmp_path / "other"), "--tls-ca", str(tmp_path / "cluster" / certificate.CA))
        strange = hikkoshi(home, "fleet", "run", "--only", "40", "--apply", "--scheduler", address, *unknown)
        assert strange.returncode == 1, strange.stdout + strange.stderr
        assert "the cluster's scheduler cannot be reached" in strange.stderr
        assert "40-convert" not in fleets.succeeded(home, names[0])
    finally:
        cluster.close()


@pytest.mark.parametrize(("seed", "by_cluster"), [(11, False), (10, True)])
def test_whatever_is_killed_no_step_of_a_guest_runs_twice_at_once_and_none_is_lost(
    tmp_path: Path, seed: int, by_cluster: bool
) -> None:
    """Thirty such stories: python tests/bench/fleet_kills.py."""
    kills.trial(tmp_path, seed, by_cluster=by_cluster, guests=2)
