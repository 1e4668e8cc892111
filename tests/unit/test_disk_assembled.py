"""One disk made of single partitions: nothing of them is lost, and the table in front says what they are."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.disk.assembled import AssembledDisk
from hikkoshi.disk.extents import BLOCK, RawDisk
from hikkoshi.errors import BadInput, StepFailed

MIB = 1 << 20
SWAP = bytes(4086) + b"SWAPSPACE2"
OLD_SWAP = bytes(4086) + b"SWAP-SPACE"
TABLE = bytes(446) + bytes([0x80, 1, 1, 0, 0x83, 1, 1, 1, 1, 0, 0, 0, 9, 0, 0, 0]) + bytes(48) + b"\x55\xaa"


class Bytes:
    """A partition in memory."""

    def __init__(self, content: bytes, name: str = "part") -> None:
        self.name, self.size, self._content = name, len(content), content

    def extents(self) -> Iterator[tuple[int, int]]:
        yield 0, self.size

    def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def unchanged(self) -> None:
        pass


class Huge(Bytes):
    """A partition of this size with nothing in it."""

    def __init__(self, size: int) -> None:
        super().__init__(b"", "huge")
        self.size = size

    def extents(self) -> Iterator[tuple[int, int]]:
        yield from ()

    def read(self, offset: int, length: int) -> bytes:
        return bytes(length)


def part(begin: bytes = b"", size: int = 8192, name: str = "part") -> Bytes:
    return Bytes(begin.ljust(size, b"\0"), name)


def entries(disk: AssembledDisk) -> list[bytes]:
    return [disk.read(at, 16) for at in range(446, 510, 16)]


def problems(*partitions: tuple[int, Bytes]) -> list[str]:
    with pytest.raises(BadInput) as e:
        AssembledDisk(partitions)
    assert all(p.remedy for p in e.value.problems)
    return [f"{p.what}: {p.where}, {p.found}, {p.expected}" for p in e.value.problems]


PIECES = st.lists(st.tuples(st.integers(0, 100), st.binary(min_size=1, max_size=700)), max_size=5)
SIZES = st.one_of(st.integers(1, 5000), st.sampled_from([127, 128, 129, 1920, 1921, 2047, 2048, 2049, 4096]))  # sectors
PARTS = st.dictionaries(st.integers(1, 4), st.tuples(SIZES, PIECES), min_size=1)


@settings(deadline=None, max_examples=60)
@given(PARTS, st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3 * BLOCK)), max_size=4))
def test_the_disk_is_its_table_and_its_partitions_and_what_is_in_no_extent_is_zeros(
    parts: dict[int, tuple[int, list[tuple[int, bytes]]]], places: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        expected, sources = b"", []
        for number, (sectors, pieces) in sorted(parts.items()):
            path, size = Path(folder, str(number)), sectors * 512
            with path.open("wb") as f:
                f.truncate(size)
                for percent, piece in pieces:
                    f.seek(max(0, (size - len(piece)) * percent // 100))
                    f.write(piece[:size])
            expected = expected.ljust(max(1, -(-len(expected) // MIB)) * MIB, b"\0") + path.read_bytes()
            sources.append((number, stack.enter_context(RawDisk(path))))
        disk = AssembledDisk(sources[::-1])
        assert disk.size == len(expected)
        expected = disk.read(0, 512) + expected[512:]
        assert disk.read(0, disk.size) == expected
        for percent, length in places:
            at = disk.size * percent // 100
            assert disk.read(at, min(length, disk.size - at)) == expected[at : at + length]
        rest = bytearray(expected)
        extents = list(disk.extents())
        for start, end in extents:
            assert start < end
            assert start % BLOCK == 0
            assert end % BLOCK == 0 or end == disk.size
            rest[start:end] = bytes(end - start)
        assert not any(rest)
        assert all(before[1] < behind[0] for before, behind in itertools.pairwise(extents))


def test_holes_of_the_partitions_are_holes_of_the_disk() -> None:
    disk = AssembledDisk([(1, Huge(64 << 30)), (2, part(b"x", 512))])
    assert list(disk.extents()) == [(0, BLOCK), ((64 << 30) + MIB, (64 << 30) + MIB + 512)]


def test_extents_of_partitions_that_touch_are_one() -> None:
    disk = AssembledDisk([(1, part(size=MIB - 512)), (2, part(size=MIB))])
    assert list(disk.extents()) == [(0, BLOCK), (MIB, 3 * MIB)]


def test_a_partition_that_ends_inside_a_block_is_followed_by_zeros() -> None:
    disk = AssembledDisk([(1, Bytes(b"\xff" * 512)), (2, Bytes(b"\xff" * 512))])
    assert list(disk.extents()) == [(0, BLOCK), (MIB, MIB + BLOCK), (2 * MIB, 2 * MIB + 512)]
    assert disk.read(MIB, BLOCK) == (b"\xff" * 512).ljust(BLOCK, b"\0")


def test_partitions_begin_at_whole_mebibytes_in_the_order_of_their_numbers_in_the_entries_of_their_numbers() -> None:
    disk = AssembledDisk([(4, part(b"four", MIB + 512)), (1, part(b"one", 3 * MIB))])
    first, *between, last = entries(disk)
    assert (disk.read(MIB, 3), disk.read(4 * MIB, 4)) == (b"one", b"four")
    assert first[8:] == (2048).to_bytes(4, "little") + (6144).to_bytes(4, "little")
    assert last[8:] == (8192).to_bytes(4, "little") + (2049).to_bytes(4, "little")
    assert between == [bytes(16), bytes(16)]
    assert disk.size == 5 * MIB + 512


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", 0x83),
        (SWAP, 0x82),
        (OLD_SWAP, 0x82),
        (b"SWAPSPACE2", 0x83),
        (b"LABELONE", 0x8E),
        (bytes(512) + b"LABELONE", 0x8E),
        (bytes(3 * 512) + b"LABELONE", 0x8E),
        (bytes(4 * 512) + b"LABELONE", 0x83),
        (bytes(100) + b"LABELONE", 0x83),
    ],
)
def test_a_partition_has_the_type_of_its_content(content: bytes, kind: int) -> None:
    assert entries(AssembledDisk([(1, part(content))]))[0][4] == kind


def test_a_partition_smaller_than_a_page_has_a_type_too() -> None:
    assert entries(AssembledDisk([(1, part(b"LABELONE", 512))]))[0][4] == 0x8E


@pytest.mark.parametrize(
    ("contents", "active"), [([b"", SWAP], [1]), ([SWAP, b"", b""], [2]), ([SWAP, b"LABELONE"], [2]), ([SWAP, OLD_SWAP], [])]
)
def test_the_first_partition_that_is_not_swap_is_the_only_active_one(contents: list[bytes], active: list[int]) -> None:
    marks = [e[0] for e in entries(AssembledDisk([(n, part(c)) for n, c in enumerate(contents, 1)]))]
    assert [n for n, mark in enumerate(marks, 1) if mark] == active
    assert set(marks) <= {0, 0x80}


def test_places_by_cylinder_are_those_that_send_a_reader_to_the_sector_numbers() -> None:
    entry = entries(AssembledDisk([(1, part())]))[0]
    assert entry[1:4] == entry[5:8] == b"\xfe\xff\xff"


def test_the_first_sector_is_a_boot_record_without_a_boot_loader() -> None:
    first = AssembledDisk([(1, part())]).read(0, MIB)
    assert first[510:512] == b"\x55\xaa"
    assert not any(first[:440])
    assert not any(first[512:])


def test_the_signature_is_the_same_for_the_same_partitions_and_another_one_for_others() -> None:
    def signature(*partitions: tuple[int, Bytes]) -> bytes:
        return AssembledDisk(partitions).read(440, 4)

    content = bytes(4096)
    expected = hashlib.sha256((1).to_bytes(8, "little") + (8192).to_bytes(8, "little") + content).digest()[:4]
    assert signature((1, part())) == signature((1, part(name="elsewhere"))) == expected
    others = [[(2, part())], [(1, part(size=8704))], [(1, part(bytes(1100) + b"uuid"))], [(1, part()), (2, part())]]
    assert len({expected, *(signature(*other) for other in others)}) == 5


def test_the_name_says_which_image_is_which_partition() -> None:
    assert AssembledDisk([(3, part(name="swap.img")), (1, part(name="root.img"))]).name == "1: root.img, 3: swap.img"


@pytest.mark.parametrize("changed", [1, 2])
def test_a_change_of_any_partition_is_a_change_of_the_disk(tmp_path: Path, changed: int) -> None:
    for n in (1, 2):
        (tmp_path / str(n)).write_bytes(bytes(512))
    with RawDisk(tmp_path / "1") as one, RawDisk(tmp_path / "2") as two:
        disk = AssembledDisk([(1, one), (2, two)])
        disk.unchanged()
        (tmp_path / str(changed)).write_bytes(bytes(1024))
        with pytest.raises(StepFailed) as e:
            disk.unchanged()
    assert e.value.problems[0].where == str(tmp_path / str(changed))


def test_a_disk_of_no_partitions_is_refused() -> None:
    (problem,) = problems()
    assert "no partition" in problem


@pytest.mark.parametrize("number", [0, 5, -1])
def test_a_number_that_the_table_has_no_place_for_is_refused(number: int) -> None:
    assert problems((number, part(name="x.img"))) == [
        f"a partition has no place in the table: x.img, number {number}, 1, 2, 3 or 4"
    ]


def test_two_partitions_of_the_same_number_are_refused() -> None:
    assert problems((2, part(name="a")), (1, part()), (2, part(name="b"))) == [
        "partitions have the same number: a, b, 2 times 2, each once"
    ]


@pytest.mark.parametrize("size", [0, 511, 513, 8191])
def test_a_partition_that_is_empty_or_no_whole_sectors_is_refused(size: int) -> None:
    (problem,) = problems((1, part(size=size)))
    assert f"empty or cut off: part, {size:,} bytes" in problem


@pytest.mark.parametrize(("content", "kind"), [(TABLE, "mbr"), (bytes(512) + b"EFI PART", "gpt")])
def test_a_whole_disk_is_no_partition(content: bytes, kind: str) -> None:
    (problem,) = problems((1, part(content, name="whole.img")))
    assert f"divided itself: whole.img, a partition table of its own ({kind})" in problem


def test_a_disk_may_have_2_tib_and_no_sector_more() -> None:
    assert AssembledDisk([(1, Huge((2 << 40) - MIB))]).size == 2 << 40
    (problem,) = problems((1, Huge((2 << 40) - MIB + 512)))
    assert "too large for its table" in problem
    (problem,) = problems((1, Huge(1 << 40)), (2, Huge(1 << 40)))
    assert "2,199,024,304,128 bytes, at most 2,199,023,255,552" in problem


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = problems((7, part(size=100)), (2, part(TABLE)), (2, Huge(3 << 40)))
    assert [t.split(":")[0] for t in told] == [
        "partitions have the same number",
        "a partition has no place in the table",
        "a partition is divided itself",
        "a partition is empty or cut off",
        "the disk is too large for its table",
    ]
