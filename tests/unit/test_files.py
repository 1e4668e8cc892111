"""Files that are either complete or not there."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval.plan import Plan
from hikkoshi.errors import BadInput, Refused
from hikkoshi.run import lock
from hikkoshi.run.journal import Journal


def test_a_file_gets_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "disk.vmdk"
    with files.part(target) as unfinished:
        unfinished.write_bytes(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert not unfinished.exists()


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_after_a_failure(tmp_path: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)), files.part(tmp_path / "disk.vmdk") as unfinished:
        unfinished.write_bytes(b"half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    files.write(target, "old")
    with pytest.raises(RuntimeError), files.part(target) as unfinished:
        unfinished.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"


def test_sizes_read_as_a_person_writes_them() -> None:
    assert [files.human(n) for n in (0, 1023, 35_000_000, 64 << 30, 3 << 40)] == [
        "0 B",
        "1023 B",
        "33.4 MiB",
        "64.0 GiB",
        "3.0 TiB",
    ]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.with_name("elsewhere").write_text("of somebody else")
    path.symlink_to("elsewhere")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))


NO_FILES = pytest.mark.parametrize("make", [_fifo, _link, _socket, Path.mkdir])


@NO_FILES
def test_what_is_no_file_of_its_own_is_neither_read_nor_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "x")
    with pytest.raises(OSError, match=r"not a regular file|a link"):
        files.read(tmp_path / "x")
    with pytest.raises(OSError, match=r"not a regular file|a link"), files.updated(tmp_path / "x"):
        pass


def test_a_link_is_followed_where_a_person_put_it(tmp_path: Path) -> None:
    _link(tmp_path / "x")
    assert files.read(tmp_path / "x", follow=True) == b"of somebody else"


def test_no_more_is_read_than_what_such_a_file_may_hold(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read(tmp_path / "x", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 B"):
        files.read(tmp_path / "x", 4)


def test_a_file_that_is_added_to_is_made_where_there_is_none(tmp_path: Path) -> None:
    for text in (b"1", b"2"):
        with files.updated(tmp_path / "x") as f:
            f.write(text)
    assert files.read(tmp_path / "x") == b"12"


@NO_FILES
@pytest.mark.parametrize("name", ["journal.jsonl", "lock", "plan.json"])
def test_what_lies_in_the_place_of_a_guests_file_is_refused_at_once(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    make(tmp_path / name)
    with pytest.raises((BadInput, Refused)) as told:
        if name == "lock":
            lock.acquire(tmp_path / name, "somebody", wait=0)
        elif name == "plan.json":
            Plan.find(tmp_path)
        else:
            Journal(tmp_path / name).entries()
    assert told.value.problems[0].where == str(tmp_path / name)
    assert told.value.problems[0].remedy
    assert not lock.held(tmp_path / name)
    if name == "journal.jsonl":
        with pytest.raises(BadInput, match="not a file of its own"):
            Journal(tmp_path / name).append("open")
