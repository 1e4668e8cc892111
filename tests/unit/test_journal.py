"""The journal: append-only, hash-chained, and none the worse for a crash."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.jsonl")
    for n in range(5):
        journal.append("step", title=f"step {n}")
    return journal


def test_lines_are_numbered_and_chained(journal: Journal) -> None:
    assert [e["n"] for e in journal.entries()] == [1, 2, 3, 4, 5]
    journal.check()


def test_a_changed_line_is_found(journal: Journal) -> None:
    text = journal.path.read_text()
    journal.path.write_text(text.replace("step 2", "step X"))
    with pytest.raises(BadInput, match=r"jsonl:4"):
        journal.check()


def test_a_removed_line_is_found(journal: Journal) -> None:
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(BadInput):
        journal.check()


def test_lines_in_another_order_are_found(journal: Journal) -> None:
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text("".join([*lines[:1], lines[2], lines[1], *lines[3:]]))
    with pytest.raises(BadInput):
        journal.check()


def test_a_line_torn_by_a_crash_is_kept_and_the_chain_goes_on(journal: Journal) -> None:
    with journal.path.open("ab") as f:
        f.write(b'{"n":6,"event":"st')
    journal.append("open")
    journal.check()
    assert [e["n"] for e in journal.entries()] == [1, 2, 3, 4, 5, 7]
    assert b'"event":"st\n' in journal.path.read_bytes()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_any_content_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]) -> None:
    journal = Journal(tmp_path_factory.mktemp("any") / "journal.jsonl")
    journal.append("note", content=content)
    journal.append("note", content=content)
    journal.check()
    assert [e["content"] for e in journal.entries()] == [json.loads(json.dumps(content))] * 2
