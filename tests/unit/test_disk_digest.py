"""The content digest: the same for the same content however sparse, another for any other content."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hikkoshi.disk import digest
from hikkoshi.disk.extents import BLOCK
from hikkoshi.errors import BadInput

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
LAYOUTS = st.tuples(
    st.dictionaries(st.integers(0, 20 * BLOCK), st.binary(min_size=1, max_size=300), max_size=6),  # {offset: bytes}
    st.integers(0, 4 * BLOCK),  # bytes of zeros at the end
)


def raw(layout: tuple[dict[int, bytes], int]) -> bytes:
    pieces, rest = layout
    disk = bytearray(max((o + len(b) for o, b in pieces.items()), default=0) + rest)
    for offset, piece in pieces.items():
        disk[offset : offset + len(piece)] = piece
    return bytes(disk)


def sparse(path: Path, content: bytes) -> Path:
    """Write only what is not zero, so that the rest are holes."""
    with path.open("wb") as f:
        for offset in range(0, len(content), 4096):
            if any(piece := content[offset : offset + 4096]):
                f.seek(offset)
                f.write(piece)
        f.truncate(len(content))
    return path


def full(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def as_documented(content: bytes) -> str:
    """The definition, word by word."""
    h = hashlib.sha256()
    for offset in range(0, len(content), BLOCK):
        block = content[offset : offset + BLOCK]
        if any(block):
            h.update(offset.to_bytes(8, "little") + block)
    h.update(len(content).to_bytes(8, "little"))
    return h.hexdigest()


@SHARED_FOLDER
@given(LAYOUTS)
def test_holes_and_written_zeros_give_the_documented_digest(tmp_path: Path, layout: tuple[dict[int, bytes], int]) -> None:
    content = raw(layout)
    expected = as_documented(content)
    assert digest.content(sparse(tmp_path / "sparse", content)) == expected
    assert digest.content(full(tmp_path / "full", content)) == expected


@SHARED_FOLDER
@given(LAYOUTS.filter(lambda x: len(raw(x)) > 0), st.data())
def test_one_flipped_bit_gives_another_digest(tmp_path: Path, layout: tuple[dict[int, bytes], int], data: st.DataObject) -> None:
    content = bytearray(raw(layout))
    before = digest.content(sparse(tmp_path / "a", bytes(content)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert digest.content(sparse(tmp_path / "b", bytes(content))) != before


def test_a_block_in_another_place_gives_another_digest(tmp_path: Path) -> None:
    block, zeros = b"x" * BLOCK, bytes(BLOCK)
    digests = {digest.content(full(tmp_path / "d", c)) for c in (block + zeros, zeros + block, block, block + block)}
    assert len(digests) == 4


def test_zeros_at_the_end_count_by_the_size(tmp_path: Path) -> None:
    assert digest.content(full(tmp_path / "a", b"x" + bytes(511))) != digest.content(full(tmp_path / "b", b"x" + bytes(1023)))


def test_a_large_disk_with_little_in_it_is_hardly_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as f:
        f.seek(5 << 30)
        f.write(b"in the middle")
        f.truncate(64 << 30)
    seen: list[tuple[float, float]] = []
    digest.content(path, lambda done, total, text: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] <= 1 << 20  # bytes read of 64 GiB


def test_progress_goes_up_to_the_whole(tmp_path: Path) -> None:
    path = full(tmp_path / "d", os.urandom(BLOCK) * 200)
    seen: list[float] = []
    digest.content(path, lambda done, total, text: seen.append(done / total))
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1] == 1


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file") as e:
        digest.content(tmp_path / "gone")
    assert e.value.problems[0].where == str(tmp_path / "gone")


def test_an_image_that_is_cut_off_while_it_is_read_is_no_result(tmp_path: Path) -> None:
    path = full(tmp_path / "d", os.urandom(BLOCK) * 200)
    with pytest.raises(BadInput, match="became shorter"):
        digest.content(path, lambda done, total, text: os.truncate(path, 70 * BLOCK))
