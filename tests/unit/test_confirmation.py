"""A person's word that the new machine is off."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hikkoshi.params.folder import GuestFolder
from hikkoshi.run import confirmation
from hikkoshi.run.confirmation import Confirmation


def word(folder: Path, age: timedelta, guest: str = "idp") -> None:
    Confirmation(guest=guest, machine=guest, by="root@here", time=datetime.now(UTC) - age).save(folder)


def test_a_word_counts_for_half_an_hour(tmp_path: Path) -> None:
    word(tmp_path, timedelta(minutes=29))
    found = confirmation.given(GuestFolder(tmp_path), "idp")
    assert found
    assert "root@here confirmed at" in found.found


@pytest.mark.parametrize("age", [timedelta(minutes=31), timedelta(minutes=-1)])
def test_an_old_word_and_one_from_the_future_do_not_count(tmp_path: Path, age: timedelta) -> None:
    word(tmp_path, age)
    assert not confirmation.given(GuestFolder(tmp_path), "idp")


def test_no_word_and_one_for_another_guest_or_damaged_do_not_count(tmp_path: Path) -> None:
    assert not confirmation.given(GuestFolder(tmp_path), "idp")
    word(tmp_path, timedelta(), "gateway")
    assert not confirmation.given(GuestFolder(tmp_path), "idp")
    (tmp_path / Confirmation.filename).write_text("{}")
    assert not confirmation.given(GuestFolder(tmp_path), "idp")


def test_a_word_at_a_time_of_no_zone_does_not_count(tmp_path: Path) -> None:
    word(tmp_path, timedelta())
    path = tmp_path / Confirmation.filename
    path.write_text(re.sub(r'("time": "[^"]*)Z"', r'\1"', path.read_text()))
    assert not confirmation.given(GuestFolder(tmp_path), "idp")


def test_a_word_that_was_taken_back_does_not_count(tmp_path: Path) -> None:
    word(tmp_path, timedelta())
    confirmation.forget(GuestFolder(tmp_path))
    confirmation.forget(GuestFolder(tmp_path))
    assert not confirmation.given(GuestFolder(tmp_path), "idp")
