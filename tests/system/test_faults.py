"""What goes wrong in the middle of a deployment, a cut-over or a rollback: it is told, it harms nobody, and a rerun finishes."""

import re
from pathlib import Path

import pytest

from hikkoshi.record.engine.runbook import PROJECT
from hikkoshi.run.step import CUTOVER, DEPLOY, ROLLBACK, STEPS, Step
from hikkoshi_lab.faults import cell, play, stage, told

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl", "ssh-keygen")


@pytest.mark.parametrize("step", [DEPLOY, CUTOVER, ROLLBACK], ids=str)
def test_whatever_goes_wrong_is_told_harms_nobody_and_the_same_command_again_finishes(step: Step, tmp_path: Path) -> None:
    """A part of the cells; `make faults` plays all."""
    with stage.start(tmp_path) as place:
        played = [play.play(place, *one, thorough=False) for one in play.chosen(step)]
    assert {(row.misfortune.name, row.moment.name): row.wrong for row in played if row.wrong} == {}


def test_what_a_cell_may_tell_is_done_or_killed_or_codes_that_there_are() -> None:
    listed = set(re.findall(r"^\| `([\w-]+)`", (PROJECT / "docs/codes.md").read_text(), re.MULTILINE)) | {"done", "killed"}
    may = {told.may_be(*one) for step in STEPS.values() for one in play.cells(step)}
    assert {code for some in may for codes in some for code in codes.split(", ")} <= listed
    assert set(told.OTHER) <= {moment.name for moment in cell.MOMENTS}


def test_of_the_cells_that_are_played_there_are_enough() -> None:
    played = [one for step in STEPS.values() for one in play.chosen(step)]
    assert len(played) >= 60
    assert {misfortune.name for misfortune, _ in played} == {m.name for m in cell.MISFORTUNES}
    assert {moment.name for _, moment in played} == {m.name for m in cell.MOMENTS}
