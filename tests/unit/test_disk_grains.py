"""Examining a stream: whatever is wrong with one is found, and told with the byte where it is."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from hikkoshi.disk import digest, grains, stream
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.packing import GRAIN, MIB
from hikkoshi.errors import BadInput

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
SIZE = 40 * MIB  # two grain tables
DIRECTORY, TABLES = 21 * 512, 22 * 512
GRAINS = TABLES + 2 * 2048
STORED = (1, 2, 100, 512, 600)  # numbers of the grains that are not zeros


def fill(f: BinaryIO, numbers: Sequence[int], size: int = SIZE) -> None:
    """A disk with something in these grains."""
    for number in numbers:
        f.seek(number * GRAIN)
        f.write(random.Random(1).randbytes(GRAIN) if number == 100 else number.to_bytes(2, "little") * (GRAIN // 2))
    f.truncate(size)


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream of five grains, the third of which hardly compresses."""
    folder = tmp_path_factory.mktemp("good")
    with (folder / "d.img").open("wb") as f:
        fill(f, STORED)
    with RawDisk(folder / "d.img") as source:
        stream.write(source, folder / "d.vmdk", "d.vmdk")
    assert grains.examine(folder / "d.vmdk").flaws == ()
    return folder / "d.vmdk"


@pytest.fixture
def good(good_file: Path) -> bytes:
    return good_file.read_bytes()


def examine(folder: Path, content: bytes | bytearray) -> grains.Examined:
    (folder / "x.vmdk").write_bytes(content)
    return grains.examine(folder / "x.vmdk", sha256=True)


def places(content: bytes) -> list[int]:
    """Bytes of the file where the grains begin."""
    return [512 * p for p in struct.unpack("<1024I", content[TABLES:GRAINS]) if p]


@SHARED_FOLDER
@given(st.data())
def test_one_flipped_bit_behind_the_descriptor_is_always_found(tmp_path: Path, good_file: Path, data: st.DataObject) -> None:
    good = good_file.read_bytes()
    used = 22 * 512 + 4 * (SIZE // GRAIN)  # entries behind the disk's end are nobody's
    at = data.draw(st.integers(DIRECTORY, DIRECTORY + 7) | st.integers(TABLES, used - 1) | st.integers(GRAINS, len(good) - 1))
    broken = bytearray(good)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    assume(not TABLES <= at < GRAINS or broken[at] != 1)  # entries 0 and 1 both mean zeros
    found = examine(tmp_path, broken)
    assert found.flaws
    if at < GRAINS:
        assert found.content == found.sha256 == ""


@SHARED_FOLDER
@example(cut=511)
@example(cut=512)
@given(st.integers(1, 73_216))  # more takes the descriptor too, and then it is no VMDK at all
def test_a_stream_that_was_cut_off_is_always_found(tmp_path: Path, good_file: Path, cut: int) -> None:
    good = good_file.read_bytes()
    found = examine(tmp_path, good[:-cut])
    assert found.flaws
    assert cut == 512 or found.content == ""  # only the marker for the end is missing: the disk is all there


def edit(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def repacked(content: bytes, data: bytes) -> bytes:
    """The first grain's deflated data replaced, its marker telling the new length, and the rest as it was."""
    at, following = places(content)[:2]
    assert 12 + len(data) <= following - at
    return edit(content, at + 8, len(data).to_bytes(4, "little") + data.ljust(following - at - 12, b"\0"))


def swapped(content: bytes) -> bytes:
    """The first two grains in each other's place, and the tables right."""
    first, second = places(content)[:2]
    assert second - first == 512
    moved = edit(content, first, content[second : second + 512] + content[first : first + 512])
    return edit(moved, TABLES + 4, struct.pack("<II", second // 512, first // 512))


HARM: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], int], str]] = {
    # what is done, the byte where it has to be told, words
    "no end": (lambda c: c[:-512], lambda c: len(c) - 512, "ends without a marker"),
    "more behind the end": (lambda c: c + b"x", len, "1 bytes behind the end"),
    "an unknown marker": (
        lambda c: edit(c, len(c) - 512, struct.pack("<QII", 0, 0, 9)),
        lambda c: len(c) - 512,
        "no marker is like this",
    ),
    "an address between grains": (
        lambda c: edit(c, places(c)[0], b"\x81"),
        lambda c: places(c)[0],
        "sector 129 of the disk, where no grain begins",
    ),
    "an address behind the disk": (
        lambda c: edit(c, places(c)[0], struct.pack("<Q", SIZE // 512)),
        lambda c: places(c)[0],
        "where no grain begins",
    ),
    "the same grain twice": (
        lambda c: edit(c, places(c)[1], struct.pack("<Q", 128)),
        lambda c: places(c)[1],
        "for a later sector, or the same",
    ),
    "grains out of order": (swapped, lambda c: places(c)[1], "for a later sector, or the same"),
    "a length beyond reason": (
        lambda c: edit(c, places(c)[0] + 8, struct.pack("<I", 70_000)),
        lambda c: places(c)[0],
        "more than a grain can have",
    ),
    "a length beyond the file": (
        lambda c: edit(c, places(c)[4] + 8, struct.pack("<I", 60_000)),
        lambda c: places(c)[4],
        "a grain that ends at",
    ),
    "data that is no deflate": (lambda c: repacked(c, b"\x78\x9c" + b"\xff" * 20), lambda c: places(c)[0], "inflated"),
    "a wrong checksum": (lambda c: repacked(c, zlib.compress(bytes(GRAIN))[:-1] + b"\xff"), lambda c: places(c)[0], "inflated"),
    "a short grain": (lambda c: repacked(c, zlib.compress(bytes(1000))), lambda c: places(c)[0], "1,000 bytes instead"),
    "a long grain": (lambda c: repacked(c, zlib.compress(bytes(GRAIN + 1))), lambda c: places(c)[0], "inflated"),
    "bytes behind the data": (
        lambda c: repacked(c, zlib.compress(b"a" * GRAIN) + b"xyz"),
        lambda c: places(c)[0],
        "more bytes than its deflated data",
    ),
    "padding that is not zeros": (
        lambda c: edit(c, places(c)[1] - 1, b"x"),
        lambda c: places(c)[0] + 12 + int.from_bytes(c[places(c)[0] + 8 : places(c)[0] + 12], "little"),
        "no zeros between",
    ),
    "a table that leaves a grain out": (
        lambda c: edit(c, TABLES + 4, bytes(4)),
        lambda c: TABLES + 4,
        "sector 128 of the disk is nowhere, so all zeros by its table",
    ),
    "a table with a grain that is not there": (
        lambda c: edit(c, TABLES, struct.pack("<I", 30)),
        lambda c: TABLES,
        "nowhere by the markers",
    ),
    "a directory that leaves a table out": (
        lambda c: edit(c, DIRECTORY + 4, bytes(4)),
        lambda c: DIRECTORY + 4,
        "is nowhere, so all zeros by its table",
    ),
    "a directory that leads out of the file": (
        lambda c: edit(c, DIRECTORY, b"\xff\xff\xff\xff"),
        lambda c: DIRECTORY,
        "is not in the file",
    ),
    "grains that begin behind the end": (
        lambda c: edit(c, 64, struct.pack("<Q", 1 << 63)),
        lambda c: 0,
        "grains that begin at byte",
    ),
    "another kind of VMDK": (lambda c: edit(c, 8, struct.pack("<I", 3)), lambda c: 0, "no stream"),
}


@pytest.mark.parametrize("harm", HARM)
def test_each_flaw_is_told_with_its_place(tmp_path: Path, good: bytes, harm: str) -> None:
    act, place, words = HARM[harm]
    flaws = examine(tmp_path, act(good)).flaws
    assert any(f.offset == place(good) and words in f.what for f in flaws), flaws
    assert list(flaws) == sorted(flaws)


def test_a_table_may_say_1_for_a_grain_of_zeros(tmp_path: Path, good: bytes) -> None:
    assert examine(tmp_path, edit(good, TABLES, struct.pack("<I", 1))) == examine(tmp_path, good)


def test_zeros_that_are_stored_do_not_change_the_disk(tmp_path: Path, good: bytes) -> None:
    found = examine(tmp_path, repacked(good, zlib.compress(bytes(GRAIN))))
    with (tmp_path / "d.img").open("wb") as f:
        fill(f, STORED[1:])
    assert (found.flaws, found.grains, found.content) == ((), len(STORED), digest.content(tmp_path / "d.img"))


def test_all_flaws_of_a_file_are_told_at_once(tmp_path: Path, good: bytes) -> None:
    broken = edit(good, places(good)[1] - 1, b"x") + b"more"
    broken = edit(broken, places(good)[3] + 40, b"\xff\xff\xff")
    assert [f.what.split(",")[0] for f in examine(tmp_path, broken).flaws] == [
        "no zeros between a grain and the next sector",
        "a grain that cannot be inflated: Decompression failed",
        "4 bytes behind the end of the stream",
    ]


def test_a_file_full_of_flaws_is_left_after_a_hundred(tmp_path: Path) -> None:
    (tmp_path / "d.img").write_bytes(b"x" * (300 * GRAIN))
    with RawDisk(tmp_path / "d.img") as source:
        stream.write(source, tmp_path / "d.vmdk", "d")
    content = bytearray((tmp_path / "d.vmdk").read_bytes())
    for at in range(22 * 512 + 2048, len(content) - 512, 512):
        content[at + 13] ^= 0xFF
    found = examine(tmp_path, content)
    assert len(found.flaws) == grains.MOST_FLAWS
    assert found.content == ""


def test_data_where_the_disk_has_ended_is_a_flaw_and_does_not_count(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "x.vmdk").write_bytes(good)
    found = grains.examine(tmp_path / "x.vmdk", size=600 * GRAIN + 512)
    assert [f.offset for f in found.flaws] == [places(good)[4]]
    assert "behind the disk's end" in found.flaws[0].what
    with (tmp_path / "d.img").open("wb") as f:
        fill(f, STORED, 600 * GRAIN + 512)
    assert found.content == digest.content(tmp_path / "d.img")


def test_a_disk_that_is_larger_than_the_capacity_is_a_flaw(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "x.vmdk").write_bytes(good)
    assert "a capacity of 41,943,040 bytes" in grains.examine(tmp_path / "x.vmdk", size=SIZE + 512).flaws[0].what


def test_what_is_no_vmdk_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no usable VMDK"):
        examine(tmp_path, b"no such thing")


def test_the_number_of_threads_changes_nothing(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "x.vmdk").write_bytes(good)
    one, five = (grains.examine(tmp_path / "x.vmdk", sha256=True, threads=n) for n in (1, 5))
    assert one == five
    assert one.content
