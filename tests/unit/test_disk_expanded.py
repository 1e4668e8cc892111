"""A disk in a file of another form is written out once; what stands in its way, or changes later, is told."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exports import MIB, export, tar
from hikkoshi.disk import expanded
from hikkoshi.disk.expanded import PackedDisk
from hikkoshi.disk.origin import Origin, Part, contents
from hikkoshi.errors import BadInput, Refused, StepFailed

FULL = random.Random(5).randbytes(MIB)
DISK = FULL + bytes(2 * MIB) + FULL[: MIB // 2]
SOUND = tar(export({"Ref:4": DISK}))


@pytest.fixture
def disk(tmp_path: Path) -> PackedDisk:
    file = tmp_path / "web.xva"
    file.write_bytes(SOUND)
    return PackedDisk(file, "xva", "xvda", tmp_path / "source" / "xvda.img")


def origin(disk: PackedDisk) -> Origin:
    return Origin(parts=(Part(number=0, path=disk.image, place=str(disk.file), form=disk.form),))


def left(disk: PackedDisk) -> list[str]:
    return sorted(p.name for p in disk.image.parent.iterdir()) if disk.image.parent.exists() else []


def test_a_disk_is_written_out_byte_by_byte_with_holes_and_only_once(disk: PackedDisk) -> None:
    assert [c.code for c in expanded.checks([disk])] == ["disk-form-readable", "disk-fits-target", "room-for-source"]
    assert all(expanded.checks([disk]))
    said: list[str] = []
    expanded.make([disk], lambda done, total, text: said.append(f"{done / total:.0%} {text}"))
    assert disk.image.read_bytes() == DISK
    assert disk.image.stat().st_blocks * 512 < 2 * MIB
    assert left(disk) == ["xvda.img", "xvda.json"]
    assert said[-1] == "100% xvda: copying the disk, 1.5 MiB"
    assert expanded.other(origin(disk)) == ""
    before = disk.image.stat().st_mtime_ns
    expanded.make([disk])
    assert disk.image.stat().st_mtime_ns == before
    assert expanded.checks([disk]) == []


def test_the_disks_of_an_export_are_written_out_together_but_for_those_that_are_here(disk: PackedDisk) -> None:
    disk.file.write_bytes(tar(export({"Ref:4": DISK, "Ref:5": FULL})))
    disks = [disk, replace(disk, vdev="xvdb", image=disk.image.with_name("xvdb.img"))]
    readable, *rest = expanded.checks(disks)
    assert (readable.title, readable.found) == (
        "the disks in web.xva can be read",
        "xva: xvda, xvdb, at most 2.5 MiB to write out",
    )
    assert [c.found.partition(":")[0] for c in rest[:-1]] == ["xvda", "xvdb"]
    expanded.make(disks[:1])
    assert expanded.checks(disks)[0].found == "xva: xvdb, at most 1.0 MiB to write out"
    expanded.make(disks)
    assert [d.image.read_bytes() for d in disks] == [DISK, FULL]
    disk.file.write_bytes(SOUND)  # exported anew without one of them
    with pytest.raises(BadInput, match="the export has no such disk"):
        expanded.make(disks)


def test_after_a_file_was_replaced_that_is_told_and_the_image_is_made_anew(disk: PackedDisk) -> None:
    expanded.make([disk])
    other = bytes(MIB // 2) + FULL[: MIB // 2] + bytes(MIB)
    disk.file.write_bytes(tar(export({"Ref:4": other})))
    assert f"{disk.file}: bytes " in expanded.other(origin(disk))
    assert "; time of last change" in expanded.other(origin(disk))
    expanded.make([disk], lambda *_: _gone(disk.image))
    assert disk.image.read_bytes() == other
    assert expanded.other(origin(disk)) == ""


def _gone(image: Path) -> None:
    assert not image.exists()  # its room is for the new one
    assert not image.with_suffix(".json").exists()


def test_an_image_of_another_file_than_the_one_that_is_named_now_does_not_count(disk: PackedDisk) -> None:
    expanded.make([disk])
    other = replace(disk, file=disk.file.rename(disk.file.with_name("other.xva")))
    disk.file.write_bytes(SOUND)
    assert not other.here()
    assert "does not say of which file it is" in expanded.other(origin(other))


def test_what_is_here_of_an_image_is_room_for_the_next_one(disk: PackedDisk) -> None:
    before = expanded.room([disk.image], 8 * MIB).expected
    disk.image.parent.mkdir()
    disk.image.with_name("xvda.img.part").write_bytes(b"x" * 4 * MIB)
    assert (before, expanded.room([disk.image], 8 * MIB).expected) == ("72.0 MiB", "68.0 MiB")


def test_a_file_of_the_same_size_and_time_with_other_bytes_is_told_by_samples(disk: PackedDisk) -> None:
    expanded.make([disk])
    before = disk.file.stat()
    disk.file.write_bytes(tar(export({"Ref:4": DISK.replace(FULL[:9], b"otherwise")})))
    os.utime(disk.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert expanded.other(origin(disk)) == f"{disk.file}: other bytes, by samples"


def test_an_image_that_somebody_has_written_to_counts_no_more(disk: PackedDisk) -> None:
    expanded.make([disk])
    with disk.image.open("r+b") as f:
        f.write(b"other")
    assert "was changed since" in expanded.other(origin(disk))
    expanded.make([disk])
    assert disk.image.read_bytes() == DISK


def test_an_image_that_is_read_as_something_else_than_was_written_is_told(disk: PackedDisk) -> None:
    expanded.make([disk])
    expanded.held(origin(disk), contents(origin(disk)))
    before = disk.image.stat()
    with disk.image.open("r+b") as f:  # between the samples, and nobody has written: this machine's disk fails
        f.seek(180 * len(DISK) // 256 + 5000)
        f.write(b"\x01")
    os.utime(disk.image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert expanded.other(origin(disk)) == ""
    with pytest.raises(StepFailed, match=r"(?s)is not what came from the Dom-0.*as it was written out of .*web.xva"):
        expanded.held(origin(disk), contents(origin(disk)))


def test_where_the_file_cannot_be_read_nobody_can_tell(disk: PackedDisk) -> None:
    expanded.make([disk])
    disk.file.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        expanded.other(origin(disk))
    os.mkfifo(disk.file)
    assert expanded.other(origin(disk)) == f"{disk.file}: no file now"
    assert [c.found for c in expanded.checks([disk])] == ["the disk image cannot be read: neither file nor block device"]


def damaged(disk: PackedDisk, _: pytest.MonkeyPatch) -> None:
    at = SOUND.index(FULL) + 4711
    disk.file.write_bytes(SOUND[:at] + b"\0\0\0" + SOUND[at + 3 :])


def cut_off(disk: PackedDisk, _: pytest.MonkeyPatch) -> None:
    disk.file.write_bytes(SOUND[: len(SOUND) // 2])


def no_room(_: PackedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanded, "SPARE", 1 << 60)


def too_large(_: PackedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanded.stream, "LARGEST", MIB)


def full(_: PackedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanded.origin, "fill", lambda *_: os.close(-1))


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (damaged, BadInput, r"Ref:4/00000000\n.*SHA-1"),
        (cut_off, BadInput, r"the export is cut off"),
        (no_room, Refused, r"there is room for what is read.*put outputs/ on a larger disk"),
        (too_large, Refused, r"not larger than what can be moved"),
        (full, StepFailed, r"cannot be written.*Bad file descriptor"),
    ],
)
def test_what_cannot_be_written_out_is_told_and_nothing_is_left_of_it(
    disk: PackedDisk, monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., None], error: type[Exception], told: str
) -> None:
    spoil(disk, monkeypatch)
    with pytest.raises(error, match=f"(?s){told}"):
        expanded.make([disk])
    assert left(disk) == []


def test_stopped_half_way_nothing_is_left_and_what_a_killed_one_has_left_gives_way(disk: PackedDisk) -> None:
    def stop(done: float, total: float, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        expanded.make([disk], stop)
    assert left(disk) == []
    disk.image.with_name("xvda.img.part").write_bytes(b"x" * 4 * MIB)
    expanded.make([disk])
    assert disk.image.read_bytes() == DISK
