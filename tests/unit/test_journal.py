"""The journal: append-only, hash-chained, and none the worse for a crash."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput, Busy
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import MARK, Journal


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


@settings(deadline=None)  # two lines are synced to a disk that others use, too
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_any_content_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]) -> None:
    journal = Journal(tmp_path_factory.mktemp("any") / "journal.jsonl")
    journal.append("note", content=content)
    journal.append("note", content=content)
    journal.check()
    assert [e["content"] for e in journal.entries()] == [json.loads(json.dumps(content))] * 2


def test_a_file_whose_name_is_no_text_can_be_told_of(journal: Journal) -> None:
    name = os.fsdecode(b"disk-\xff\xed\xb2\x80.img")
    journal.append("step", found=name)
    assert list(journal.entries())[-1]["found"] == name
    journal.check()


def test_a_line_for_which_there_is_no_room_leaves_the_journal_as_it_was(journal: Journal) -> None:
    before = journal.path.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path; from hikkoshi.run.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # as a full disk: some bytes are written, then none
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20},) * 2)\n"
        "Journal(Path(sys.argv[1])).append('open', words='x' * 100)"
    )
    done = subprocess.run([sys.executable, "-c", code, journal.path], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert journal.path.read_bytes() == before
    journal.append("open")
    journal.check()


def test_a_journal_that_another_holds_is_not_waited_for_without_end(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hikkoshi.run.journal.PATIENCE", 0.1)
    with journal.path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="the journal is locked by another"):
            journal.append("open")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_not_taken_for_a_journal(tmp_path: Path, make: Callable[[Path], None]) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    make(journal.path)
    for use in (journal.entries, journal.check, lambda: journal.append("open")):
        with pytest.raises(BadInput, match=r"the journal (is not a file|cannot be opened)"):
            use()


def test_what_a_rescue_cannot_write_is_told_on_stderr_and_put_back_later(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    rescue = Journal(journal.path, rescue=True)
    kept = journal.path.with_name("kept")
    journal.path.rename(kept)
    journal.path.mkdir()
    rescue.append("open", words="first")
    rescue.append("step", words="second")
    told = capsys.readouterr().err.splitlines()
    assert [json.loads(line.removeprefix(MARK))["words"] for line in told] == ["first", "second"]
    journal.path.rmdir()
    kept.rename(journal.path)
    rescue.append("end")
    journal.check()
    assert [(e["event"], "told" in e) for e in journal.entries()][5:] == [("open", True), ("step", True), ("end", False)]


def test_what_a_run_writes_has_a_type_and_what_it_does_not_write_is_empty(journal: Journal) -> None:
    told = {"code": "source-off", "title": "off", "state": "ok", "found": "off", "expected": "off", "facts": {"by": "xl"}}
    listed = {"file": "outputs/x", "bytes": 1, "sha256": "0", "modified": 5}
    journal.append("verify", run="r", checks=[told], artefacts=[listed, {"file": "lost"}], clock=7, more=[1])
    entry = journal.entries()[-1]
    assert (entry.event, entry.run, entry.n, entry.clock, entry.mode, entry.seconds) == ("verify", "r", 6, 7, "", None)
    assert [(c.code, c.state, c.facts, c.of) for c in entry.checks] == [("source-off", "ok", {"by": "xl"}, "verify")]
    assert [(a.file, a.bytes, a.modified, a.time) for a in entry.artefacts] == [("outputs/x", 1, 5, entry.time)]
    assert entry["more"] == [1]


WORDS = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | WORDS,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(WORDS, x, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*JournalEntry.__annotations__, "more"), JSON)))
def test_any_object_is_an_entry_whose_fields_are_of_their_type(line: dict[str, object]) -> None:
    entry = JournalEntry.of_line(line)
    assert dict(entry) == line or "nan" in str(line)
    assert all(isinstance(getattr(entry, name), str) for name, kind in JournalEntry.__annotations__.items() if kind is str)
