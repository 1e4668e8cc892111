"""A real disk through the whole conversion: independent readers agree, kill -9 and a full disk leave nothing behind."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.disk import conversion, digest, packing, source, stream, vmdk
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.extents import RawDisk
from hikkoshi.errors import BadInput, StepFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run import lock
from processes import wait_for

pytestmark = pytest.mark.needs("qemu-img", "mke2fs", "sfdisk", "setpriv")
MIB = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A partitioned disk of 40 MiB and one sector, with an ext3 file system that holds real files."""
    folder = tmp_path_factory.mktemp("disk")
    content = folder / "content"
    (content / "etc").mkdir(parents=True)
    (content / "etc" / "fstab").write_text("/dev/xvda1 / ext3 defaults 1 1\n")
    (content / "random").write_bytes(random.Random(1).randbytes(3 * MIB))
    (content / "text").write_text("the same line over and over\n" * 100_000)
    run("mke2fs", "-q", "-t", "ext3", "-L", "root", "-d", content, folder / "p1", "32M")
    image = folder / "disk.img"
    with image.open("wb") as f:
        f.truncate(40 * MIB + 512)
    run("sfdisk", "-q", image, text=b"label: dos\nstart=2048,size=65536,type=83,bootable\n")
    run("dd", f"if={folder / 'p1'}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
    return image


@pytest.fixture
def empty(tmp_path: Path) -> GuestFolder:
    """The folder of a guest called web."""
    made = GuestFolder(tmp_path / "web")
    made.disks.mkdir(parents=True)
    return made


@pytest.fixture
def folder(empty: GuestFolder, disk: Path) -> GuestFolder:
    """The same with the prepared copy in it."""
    run("cp", "--sparse=always", disk, empty.prepared_copy)
    return empty


def run(*argv: object, text: bytes = b"") -> str:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    done = subprocess.run(list(map(str, argv)), input=text, capture_output=True, check=True, env={**os.environ, "PATH": path})
    return done.stdout.decode()


def left_behind(folder: GuestFolder) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name != "lock")


def test_a_real_disk_becomes_a_stream_that_every_check_passes(folder: GuestFolder) -> None:
    copy, made = folder.prepared_copy, folder.vmdk
    before = files.sha256(copy)
    seen: list[float] = []
    assert all(conversion.checks(folder))
    assert not conversion.complete(folder)
    result = conversion.start(folder, lambda done, total, text: seen.append(done / total))
    assert [c.title for c in conversion.proofs(folder) if not c] == []
    assert files.sha256(copy) == before
    assert result.virtual_bytes == 41 * MIB  # padded from 40 MiB and a sector
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert left_behind(folder) == ["conversion.json", "web.img", "web.vmdk"]
    assert f"{result.vmdk_sha256}  {made}" in run("sha256sum", made)
    assert f"{result.vmdk_sha1}  {made}" in run("sha1sum", made)


@pytest.mark.needs("vmdkinfo")
def test_readers_of_others_agree_about_what_was_made(folder: GuestFolder) -> None:
    copy, made = folder.prepared_copy, folder.vmdk
    conversion.start(folder)
    words = run("vmdkinfo", made)
    assert "Stream optimized" in words
    assert f"({41 * MIB} bytes)" in words
    assert "web.vmdk\n" in words  # and not web.vmdk.part
    assert "Images are identical" in run("qemu-img", "compare", "-f", "raw", "-F", "vmdk", copy, made)
    run("qemu-img", "check", "-f", "vmdk", made)
    info = json.loads(run("qemu-img", "info", "-f", "vmdk", "--output=json", made))
    assert info["format-specific"]["data"]["create-type"] == "streamOptimized"


def test_what_comes_back_out_of_the_vmdk_has_the_content_digest_of_the_copy(folder: GuestFolder) -> None:
    copy, made = folder.prepared_copy, folder.vmdk
    result = conversion.start(folder)
    back = folder / "back.img"
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", made, back)
    os.truncate(back, copy.stat().st_size)  # the padding off again
    assert digest.content(back) == result.copy_digest == digest.content(copy)


def test_the_facts_of_a_real_disk_are_told(disk: Path) -> None:
    facts = source.facts(disk)
    assert (facts.kind, facts.bytes, facts.table, facts.boot_loader) == ("file", 40 * MIB + 512, "mbr", "none")
    assert facts.allocated_bytes == disk.stat().st_blocks * 512 < facts.bytes


def test_a_disk_that_names_a_file_of_this_machine_gives_nothing_away(folder: GuestFolder, tmp_path: Path) -> None:
    """What root inside a guest can do to its own disk: a qcow2 header whose backing file is one of ours."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"TOP SECRET OF THE HOST".ljust(MIB))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", tmp_path / "evil.qcow2", "1M")
    copy, made = folder.prepared_copy, folder.vmdk
    run("dd", f"if={tmp_path / 'evil.qcow2'}", f"of={copy}", "conv=notrunc", "status=none")
    assert '"format": "qcow2"' in run("qemu-img", "info", "--output=json", copy)  # the trap is real
    with pytest.raises(BadInput, match="qcow2"):
        source.facts(copy)
    assert not all(conversion.checks(folder))
    with RawDisk(copy) as raw:  # and should that look ever be fooled: bytes are copied as they are
        stream.write(raw, made, made.name)
    run("qemu-img", "compare", "-f", "raw", "-F", "vmdk", copy, made)


def test_one_changed_byte_in_the_vmdk_or_the_copy_is_found(folder: GuestFolder) -> None:
    copy, made = folder.prepared_copy, folder.vmdk
    conversion.start(folder)
    flip(made, made.stat().st_size // 2)
    assert not conversion.complete(folder)
    conversion.start(folder)
    assert conversion.complete(folder)
    flip(copy, 2 * MIB)
    assert not conversion.complete(folder)
    assert not conversion.compare(copy, made)
    assert "mismatch" in conversion.compare(copy, made).found


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as f:
        f.seek(offset)
        (byte,) = f.read(1)
        f.seek(offset)
        f.write(bytes([byte ^ 1]))


def test_a_new_copy_replaces_the_old_vmdk_only_when_the_new_one_is_whole(folder: GuestFolder) -> None:
    copy, made = folder.prepared_copy, folder.vmdk
    first = conversion.start(folder)
    flip(copy, 2 * MIB)
    second = conversion.start(folder)
    assert first.vmdk_sha256 != second.vmdk_sha256 == files.sha256(made)
    assert conversion.complete(folder)


CONVERT = """
    import sys
    from hikkoshi.params.folder import GuestFolder
    from hikkoshi.run import lock
    from hikkoshi.disk import conversion
    folder = GuestFolder(sys.argv[1])
    handle = lock.acquire(folder.lock, "test", 5)

    def progress(done, total, text):
        print(done, flush=True)
        if done >= 10 << 20:  # whoever wants to kill it has all the time there is
            sys.stdin.read()

    conversion.start(folder, progress)
"""


def test_kill_9_in_mid_conversion_leaves_no_final_name_and_a_rerun_finishes(empty: GuestFolder) -> None:
    made = empty.vmdk
    empty.prepared_copy.write_bytes(random.Random(2).randbytes(192 * MIB))
    argv = [sys.executable, "-c", textwrap.dedent(CONVERT), str(empty)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and float(line) < 10 * MIB:
                pass
            assert line, "the conversion ended before it could be killed"
            assert (made.parent / "web.vmdk.part").stat().st_size > 0
        finally:
            process.send_signal(signal.SIGKILL)
    wait_for(lambda: not lock.held(empty.lock), "the lock is free")
    with pytest.raises(BadInput, match="no usable VMDK"):  # nobody can take what is left for one
        vmdk.read(made.with_name("web.vmdk.part"))
    assert left_behind(empty) == ["web.img", "web.vmdk.part"]
    assert not conversion.complete(empty)
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert left_behind(empty) == ["conversion.json", "web.img", "web.vmdk"]
    assert all(conversion.proofs(empty))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[GuestFolder]:
    """A guest's folder on a file system of its own, of 16 MiB; the prepared copy lies on another."""
    folder = GuestFolder(tmp_path / "web")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        folder.disks.mkdir()
        folder.prepared_copy.symlink_to(tmp_path / "web.img")
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.needs("root")
def test_too_little_room_is_told_before_anything_starts(small_disk: GuestFolder, tmp_path: Path) -> None:
    (tmp_path / "web.img").write_bytes(random.Random(3).randbytes(20 * MIB))
    (room,) = [c for c in conversion.checks(small_disk) if not c]
    assert room.title == "the disk has room"
    assert room.remedy


@pytest.mark.needs("root")
def test_a_disk_that_becomes_full_in_the_middle_leaves_nothing_behind(small_disk: GuestFolder, tmp_path: Path) -> None:
    (tmp_path / "web.img").write_bytes(random.Random(3).randbytes(8 * MIB))
    filled = []

    def fill(done: float, total: float, text: str) -> None:
        if not filled:  # somebody else takes the room that was there at the beginning
            filled.append(small_disk / "other")
            with contextlib.suppress(OSError):
                filled[0].write_bytes(bytes(16 * MIB))

    with pytest.raises(StepFailed, match="disk became full") as e:
        conversion.start(small_disk, fill)
    assert "No space left" in e.value.problems[0].found
    assert left_behind(small_disk) == ["other", "web.img"]
    filled[0].unlink()
    conversion.start(small_disk)
    assert all(conversion.proofs(small_disk))


@pytest.mark.needs("root")
def test_a_disk_that_becomes_full_behind_the_vmdk_is_told_as_such_and_leaves_nothing(
    small_disk: GuestFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_disk.prepared_copy.write_bytes(random.Random(3).randbytes(MIB))

    def fill(pair: conversion._Pair, unfinished: Path, *rest: object) -> object:
        done = converted(pair, unfinished, *rest)  # type: ignore[arg-type]
        with contextlib.suppress(OSError):
            (small_disk / "other").write_bytes(bytes(16 * MIB))
        return done

    converted = conversion._converted
    monkeypatch.setattr(conversion, "_converted", fill)
    with pytest.raises(StepFailed, match="disk became full"):
        conversion.start(small_disk)
    assert left_behind(small_disk) == ["other", "web.img"]


def test_a_copy_that_is_written_to_meanwhile_is_no_conversion(empty: GuestFolder) -> None:
    empty.prepared_copy.write_bytes(random.Random(6).randbytes(16 * MIB))
    with pytest.raises(StepFailed, match="changed while it was read"):
        conversion.start(empty, lambda done, total, text: flip(empty.prepared_copy, 0))
    assert left_behind(empty) == ["web.img"]


def test_a_writer_that_wrote_something_else_is_caught_by_the_other_reader(
    folder: GuestFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packing._DEFLATE, "fast", lambda grain: zlib.compress(bytes(grain).replace(b"same line", b"SAME LINE")))
    with pytest.raises(StepFailed, match="byte for byte"):
        conversion.start(folder)
    assert left_behind(folder) == ["web.img"]


def test_the_pace_of_several_disks_counts_their_data_and_no_holes(empty: GuestFolder) -> None:
    for copy in empty.copies(2):
        copy.write_bytes(bytes(range(256)) * 4096)
        os.truncate(copy, 64 * MIB)
    seconds, read = zip(*conversion.start(empty, disks=2).samples, strict=True)
    assert (read[-1], list(seconds), list(read)) == (2 * MIB, sorted(seconds), sorted(read))


def test_small_is_smaller_and_holds_the_same(folder: GuestFolder) -> None:
    fast = conversion.start(folder)
    small = conversion.start(folder, level="small")
    assert (small.level, small.copy_digest) == ("small", fast.copy_digest)
    assert small.vmdk_bytes < fast.vmdk_bytes
    assert all(conversion.proofs(folder))


def test_what_was_made_is_recorded_for_later_steps(folder: GuestFolder) -> None:
    made = folder.vmdk
    result = conversion.start(folder)
    assert Conversion.load(folder) == result
    assert vmdk.read(made).descriptor["ddb.adapterType"] == "lsilogic"
    assert vmdk.used(made) <= made.stat().st_size
