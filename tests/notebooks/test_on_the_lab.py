"""The runbooks as their own documentation: each runs as it stands, with its defaults, against the lab."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hikkoshi.params.params import Home
from hikkoshi.run.journal import Journal

PROJECT = Path(__file__).parents[2]
PLAN_ORDER = [
    "00-start-here",
    "10-survey",
    "20-plan",
    "30-prepare",
    "40-convert",
    "50-rehearse",
    "60-deploy",
    "70-cutover",
    "75-rollback",
    "80-netperf",
    "85-offloads",
    "90-report",
]


def nbval(home: Home, *names: str, how: str = "--nbval-lax") -> subprocess.CompletedProcess[str]:
    notebooks = [str(PROJECT / "notebooks" / f"{n}.ipynb") for n in names]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            how,
            "--nbval-current-env",
            "--nbval-cell-timeout=300",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "-W",
            "error::UserWarning",
            *notebooks,
        ],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root)},
        cwd=home.root,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim")
def test_every_runbook_runs_in_plan_mode_on_a_guest_that_nobody_has_touched_yet(plan_home: Home) -> None:
    result = nbval(plan_home, *PLAN_ORDER)
    assert result.returncode == 0, result.stdout[-6000:]
    steps = [e for e in Journal(plan_home.folder("gateway") / "journal.jsonl").entries() if e["event"] == "step"]
    assert {(e["step"], e["state"]) for e in steps if e["step"] in ("30-prepare", "40-convert", "50-rehearse", "60-deploy")} == {
        *((step, "would") for step in ("30-prepare", "40-convert", "50-rehearse", "60-deploy")),
        ("60-deploy", "already"),  # nothing of an earlier plan stands in vSphere that would be removed first
    }
    assert {e["state"] for e in steps} == {
        "would",
        "already",
        "not seen",
    }  # no machine is in service; whether a folder's guest is off, nobody can see
    assert not (plan_home.folder("gateway") / "disk").exists()


def test_the_golden_analysis_still_gives_the_figures_it_shows() -> None:
    result = nbval(Home(PROJECT), "81-table1", how="--nbval")
    assert result.returncode == 0, result.stdout[-6000:]
