"""What a survey keeps of a guest's files: whatever may be changed as it is, for a change is made to the file that was read."""

from pathlib import Path

import pytest

from hikkoshi.guest import kept, preparation
from hikkoshi.guest.survey import Survey

DATA = Path(__file__).parents[1] / "data" / "survey"


@pytest.mark.parametrize("guest", ["gateway", "idp"])
def test_every_file_that_a_preparation_changes_is_kept_whole(guest: str) -> None:
    facts = Survey.model_validate_json((DATA / f"{guest}.json").read_bytes()).guest
    planned = preparation.plan(facts, controller="pvscsi", nic_model="vmxnet3", macs={})
    changed = {edit.path for edit in planned.edits if edit.path in facts.texts}
    assert {"/etc/fstab", "/etc/inittab"} <= changed
    assert {path for path, text in kept.of(facts.texts).items() if text == facts.texts[path]} >= changed
