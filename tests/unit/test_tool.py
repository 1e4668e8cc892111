"""Starting programs: their words in the error, and no hanging."""

import pytest

from hikkoshi import tool
from hikkoshi.errors import ToolFailed


def test_what_a_program_printed_comes_back() -> None:
    assert tool.run(["cat"], stdin="引っ越し").stdout == "引っ越し"


def test_a_failing_program_is_told_with_its_own_words_and_exit_status() -> None:
    with pytest.raises(ToolFailed, match=r"exit status 3: no room"):
        tool.run(["sh", "-c", "echo no room >&2; exit 3"])


def test_an_expected_exit_status_is_no_failure() -> None:
    assert tool.run(["sh", "-c", "exit 3"], ok=(0, 3)).returncode == 3


def test_a_program_that_hangs_is_ended_with_all_it_started() -> None:
    with pytest.raises(ToolFailed, match="still running after"):
        tool.run(["sh", "-c", "sleep 60 & wait"], timeout=0.2)


def test_a_program_that_is_not_installed_is_told_with_the_remedy() -> None:
    with pytest.raises(ToolFailed, match="make setup"):
        tool.run(["no-such-program"])
