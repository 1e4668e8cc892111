"""The runbooks as their own documentation: each runs as it stands, with its defaults, against the lab."""

from pathlib import Path

import pytest

from hikkoshi.params.home import Home
from runbooks import Look, nbval

PROJECT = Path(__file__).parents[2]


@pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim")
def test_every_runbook_runs_in_plan_mode_on_a_guest_that_nobody_has_touched_yet(looked: dict[str, Look]) -> None:
    look, steps = looked["gateway"], looked["gateway"].rows
    assert look.returncode == 0, look.told
    assert {(e["step"], e["state"]) for e in steps if e["step"] in ("30-prepare", "40-convert", "50-rehearse", "60-deploy")} == {
        *((step, "would") for step in ("30-prepare", "40-convert", "50-rehearse", "60-deploy")),
        ("60-deploy", "already"),  # nothing of an earlier plan stands in vSphere that would be removed first
    }
    assert {e["state"] for e in steps} == {
        "would",
        "already",
        "not seen",
        "not needed",
    }  # no machine is in service; whether a folder's guest is off, nobody can see; nothing was brought along
    assert "disk" not in look.files


def test_the_golden_analysis_still_gives_the_figures_it_shows() -> None:
    result = nbval(Home(PROJECT), "81-table1", how="--nbval")
    assert result.returncode == 0, result.stdout[-6000:]
