"""A guest's disk wherever it is: a whole one or single partitions are copied the same way, and recognised again."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.disk import digest, origin
from hikkoshi.disk.origin import Identity, Origin, Part
from hikkoshi.errors import BadInput, StepFailed

MIB = 1 << 20
BLOCKS = st.lists(st.sampled_from([bytes(65536), b"x" * 65536, b"\0" * 60000 + b"y" * 5536]), min_size=1, max_size=40)


def partitions(folder: Path) -> Origin:
    for name, byte in (("root.img", b"r"), ("swap.img", b"s")):
        (folder / name).write_bytes(byte * MIB)
    return Origin(parts=(Part(number=1, path=folder / "root.img"), Part(number=2, path=folder / "swap.img")))


@given(blocks=BLOCKS, tail=st.binary(max_size=3).map(lambda b: b * 512))
def test_a_copy_has_the_same_content_and_no_more_than_that_on_disk(
    blocks: list[bytes], tail: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    (folder / "a.img").write_bytes(b"".join(blocks) + tail)
    origin.copy(Origin.whole(folder / "a.img"), folder / "b.img")
    assert (folder / "b.img").read_bytes() == (folder / "a.img").read_bytes()
    stored = sum(any(block) for block in blocks) + any(tail)
    assert (folder / "b.img").stat().st_blocks * 512 <= stored * 65536 + 4096


def test_partitions_are_copied_as_the_disk_that_they_become(tmp_path: Path) -> None:
    origin.copy(partitions(tmp_path), tmp_path / "disk.img")
    with partitions(tmp_path).opened() as disk:
        assert digest.content(tmp_path / "disk.img") == digest.of(disk)
    made = (tmp_path / "disk.img").read_bytes()
    assert made[510:512] == b"\x55\xaa"
    assert (made[MIB], made[2 * MIB]) == (ord("r"), ord("s"))


def test_a_disk_that_changes_while_it_is_copied_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(b"x" * 4 * MIB)

    def meddle(*_: object) -> None:
        with path.open("r+b") as f:
            f.write(b"!")
        os.utime(path, ns=(1, 1))

    with pytest.raises(StepFailed, match="changed while it was read"):
        origin.copy(Origin.whole(path), tmp_path / "b.img", meddle)


def test_every_partition_counts_for_the_identity(tmp_path: Path) -> None:
    found = partitions(tmp_path)
    before = Identity.of(found)
    assert before.bytes == 2 * MIB
    assert Identity.of(found) == before
    with (tmp_path / "swap.img").open("r+b") as f:
        f.write(b"S")
    assert Identity.of(found).sample_sha256 != before.sample_sha256


def test_it_takes_up_what_its_parts_do(tmp_path: Path) -> None:
    assert partitions(tmp_path).occupied() == 2 * MIB
    with (tmp_path / "hole.img").open("wb") as f:
        f.truncate(64 * MIB)
    assert Origin.whole(tmp_path / "hole.img").occupied() == 0


def test_it_is_called_by_its_paths_and_numbers(tmp_path: Path) -> None:
    assert str(Origin.whole(Path("/x/a.img"))) == "/x/a.img"
    assert str(partitions(tmp_path)) == f"1: {tmp_path}/root.img, 2: {tmp_path}/swap.img"


def test_a_missing_part_is_bad_input(tmp_path: Path) -> None:
    found = partitions(tmp_path)
    (tmp_path / "swap.img").unlink()
    with pytest.raises(BadInput, match=r"swap\.img"), found.opened():
        pass


def test_each_of_several_disks_is_read_and_told_by_itself(tmp_path: Path) -> None:
    parts = partitions(tmp_path).parts
    data = tmp_path / "data.img"
    data.write_bytes(b"d" * MIB)
    found = Origin(
        parts=(*(p.model_copy(update={"vdev": f"xvda{p.number}"}) for p in parts), Part(number=0, path=data, disk=1, vdev="xvdb"))
    )
    assert [[p.path.name for p in disk.parts] for disk in found.disks] == [["root.img", "swap.img"], ["data.img"]]
    assert str(found) == f"xvda1: {tmp_path}/root.img, xvda2: {tmp_path}/swap.img, xvdb: {data}"
    seen: list[float] = []
    first, second = origin.contents(found, lambda done, total, _: seen.append(done / total))
    assert (first.bytes, second.bytes) == (3 * MIB, MIB)
    assert second.digest == digest.content(data)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert Origin.model_validate_json(found.model_dump_json()) == found


def test_one_disk_is_written_as_it_always_was(tmp_path: Path) -> None:
    assert Origin.whole(Path("/x")).model_dump_json() == '{"parts":[{"number":0,"path":"/x"}]}'
    assert digest.together(["abc"]) == "abc"
    assert digest.together(["a", "b"]) == hashlib.sha256(b"a\nb\n").hexdigest()
