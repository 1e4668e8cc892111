"""A raw disk as a source: its holes are found and nothing else is left out, and whoever changes it is noticed."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hikkoshi.disk.extents import BLOCK, RawDisk
from hikkoshi.errors import BadInput, StepFailed

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=80)
PIECES = st.dictionaries(st.integers(0, 40 * BLOCK), st.binary(min_size=1, max_size=9000), max_size=8)


def disk(path: Path, size: int, pieces: dict[int, bytes]) -> Path:
    """A sparse file with these bytes at these offsets."""
    with path.open("wb") as f:
        for offset, piece in pieces.items():
            f.seek(offset)
            f.write(piece)
        f.truncate(max(size, *(o + len(b) for o, b in pieces.items()), 0) if pieces else size)
    return path


@SHARED_FOLDER
@given(PIECES, st.integers(0, 45 * BLOCK))
def test_what_is_in_no_extent_is_zeros_and_extents_are_whole_blocks_apart_from_each_other(
    tmp_path: Path, pieces: dict[int, bytes], size: int
) -> None:
    path = disk(tmp_path / "d", size, pieces)
    content = path.read_bytes()
    with RawDisk(path) as source:
        extents = list(source.extents())
        assert source.size == len(content)
        rest = bytearray(content)
        for start, end in extents:
            assert start < end
            assert start % BLOCK == 0
            assert end % BLOCK == 0 or end == len(content)
            assert source.read(start, end - start) == content[start:end]
            rest[start:end] = bytes(end - start)
        assert not any(rest)
        assert all(before[1] < behind[0] for before, behind in itertools.pairwise(extents))


@SHARED_FOLDER
@given(PIECES, st.integers(1, 45 * BLOCK), st.integers(0, 44), st.integers(1, 40))
def test_what_is_read_into_blocks_is_what_stands_there(
    tmp_path: Path, pieces: dict[int, bytes], size: int, first: int, count: int
) -> None:
    path = disk(tmp_path / "d", size, pieces)
    content = path.read_bytes()[first * BLOCK : (first + count) * BLOCK]
    used = bytearray(b"?" * len(content))  # of a buffer that held something else
    blocks = [memoryview(used)[n : n + BLOCK] for n in range(0, len(content), BLOCK)]
    with RawDisk(path) as source:
        source.read_into(first * BLOCK, blocks)
    assert used == content


def test_a_hole_is_not_read(tmp_path: Path) -> None:
    path = disk(tmp_path / "d", 64 << 30, {0: b"a", 5 << 30: b"b"})
    with RawDisk(path) as source:
        assert list(source.extents()) == [(0, BLOCK), (5 << 30, (5 << 30) + BLOCK)]


def test_a_file_without_holes_is_one_extent_to_its_very_end(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"x" * (3 * BLOCK + 512))
    with RawDisk(tmp_path / "d") as source:
        assert list(source.extents()) == [(0, 3 * BLOCK + 512)]


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "grown": (lambda p: os.truncate(p, 2 * BLOCK), "size 131072, before 65536"),
    "cut off": (lambda p: os.truncate(p, 100), "size 100, before 65536"),
    "written to": (lambda p: p.write_bytes(b"y" * BLOCK), "time of last change"),
    "removed": (lambda p: p.unlink(), "still under this name 0"),
    "replaced": (lambda p: disk(p.with_name("new"), BLOCK, {0: b"x"}).replace(p), "still under this name 0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_was_changed_meanwhile_is_named_with_what_changed(tmp_path: Path, change: str) -> None:
    act, found = CHANGES[change]
    path = disk(tmp_path / "d", BLOCK, {0: b"x"})
    with RawDisk(path) as source:
        source.read(0, BLOCK)
        source.unchanged()  # reading is no change
        act(path)
        with pytest.raises(StepFailed, match="changed while it was read") as e:
            source.unchanged()
    (problem,) = e.value.problems
    assert problem.where == str(path)
    assert found in problem.found
    assert "snapshot" in problem.remedy


def test_what_lies_behind_the_end_cannot_be_read(tmp_path: Path) -> None:
    path = disk(tmp_path / "d", BLOCK, {0: b"x"})
    with RawDisk(path) as source:
        os.truncate(path, 1000)
        with pytest.raises(BadInput, match="became shorter") as e:
            source.read(0, BLOCK)
    assert e.value.problems[0].found == "its end at 1,000"


@pytest.mark.parametrize("name", ["gone", "."])
def test_what_is_no_file_is_bad_input(tmp_path: Path, name: str) -> None:
    with pytest.raises((BadInput, StepFailed)), RawDisk(tmp_path / name) as source:
        source.read(0, 1)
