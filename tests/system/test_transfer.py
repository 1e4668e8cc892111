"""`hikkoshi convert` and `hikkoshi vmdk check` as a user types them: what comes out, what is refused, what is left behind."""

import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import warm
from exports import export, tar
from hikkoshi.disk import digest, transfer
from hikkoshi.disk.extents import RawDisk
from hikkoshi.errors import Busy, StepFailed
from processes import PATIENCE, wait_for

pytestmark = pytest.mark.needs("qemu-img")
MIB = 1 << 20
NOISE = random.Random(11).randbytes(4 * MIB)


def hikkoshi(folder: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*warm.command(), *argv], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def document(folder: Path, *argv: str, code: int = 0) -> Any:
    run = hikkoshi(folder, *argv, "--json")
    assert run.returncode == code, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk of 64 MiB with data at its beginning and its end, and zeros that were written."""
    path = tmp_path / "web.img"
    with path.open("wb") as f:
        f.write(NOISE + b"text " * 200_000 + bytes(MIB))
        f.truncate(64 * MIB)
        f.seek(63 * MIB + 512)
        f.write(NOISE[:100_000])
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def compare(folder: Path, disk: str, vmdk: str) -> str:
    argv = ["qemu-img", "compare", "-f", "raw", "-F", "vmdk", disk, vmdk]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False).stdout.strip()


def test_a_disk_becomes_a_vmdk_that_qemu_finds_identical(disk: Path, tmp_path: Path) -> None:
    done = document(tmp_path, "convert", "web.img", "web.vmdk")
    assert compare(tmp_path, "web.img", "web.vmdk") == "Images are identical."
    assert done["content_digest"] == digest.content(disk)
    assert done["file"]["bytes"] == (tmp_path / "web.vmdk").stat().st_size
    assert done["file"]["path"] == "web.vmdk"
    assert (done["level"], done["capacity"]) == ("fast", 64 * MIB)
    assert names(tmp_path) == ["web.img", "web.vmdk"]


def test_the_hashes_it_prints_are_those_that_others_find(disk: Path, tmp_path: Path) -> None:
    done = document(tmp_path, "convert", "web.img", "web.vmdk")
    for program, name in (("sha256sum", "sha256"), ("sha1sum", "sha1")):
        said = subprocess.run([program, "web.vmdk"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert said.split()[0] == done["file"][name]


def test_small_is_smaller_and_says_so(disk: Path, tmp_path: Path) -> None:
    fast = document(tmp_path, "convert", "web.img", "fast.vmdk")
    small = document(tmp_path, "convert", "web.img", "small.vmdk", "--small")
    assert small["file"]["bytes"] < fast["file"]["bytes"]
    assert (small["level"], small["content_digest"]) == ("small", fast["content_digest"])


def test_for_a_reader_there_is_a_table_with_every_hash(disk: Path, tmp_path: Path) -> None:
    run = hikkoshi(tmp_path, "convert", "web.img", "web.vmdk")
    told = {line.split("  ")[0].strip(): line.split("  ")[-1].strip() for line in run.stdout.splitlines() if "  " in line}
    assert digest.content(disk) in run.stdout
    assert {"disk", "read", "content digest", "time", "VMDK", "SHA-256", "SHA-1"} <= set(told)


def test_check_finds_what_convert_has_made_in_order(disk: Path, tmp_path: Path) -> None:
    done = document(tmp_path, "convert", "web.img", "web.vmdk")
    found = document(tmp_path, "vmdk", "check", "web.vmdk")
    plain = subprocess.run(["sha256sum", disk], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (found["flaws"], found["content_digest"]) == ([], done["content_digest"])
    assert found["sha256_of_the_disk"] == plain


def test_check_names_a_flipped_byte_by_its_place_and_ends_with_1(disk: Path, tmp_path: Path) -> None:
    document(tmp_path, "convert", "web.img", "web.vmdk")
    with (tmp_path / "web.vmdk").open("r+b") as f:
        f.seek(2 * MIB)
        byte = f.read(1)[0]
        f.seek(2 * MIB)
        f.write(bytes([byte ^ 1]))
    found = document(tmp_path, "vmdk", "check", "web.vmdk", code=1)
    (flaw,) = found["flaws"]
    assert 2 * MIB - (1 << 17) < flaw["offset"] <= 2 * MIB
    assert found["sha256_of_the_disk"] == ""
    run = hikkoshi(tmp_path, "vmdk", "check", "web.vmdk")
    assert (run.returncode, f"byte {flaw['offset']:,}" in run.stdout) == (1, True)


@pytest.mark.parametrize(("file", "found"), [("web.img", "beginning with"), ("nothing", "No such file"), (".", "Is a directory")])
def test_check_refuses_what_is_no_vmdk(disk: Path, tmp_path: Path, file: str, found: str) -> None:
    run = hikkoshi(tmp_path, "vmdk", "check", file)
    assert (run.returncode, found in run.stderr) == (2, True)


def test_a_qcow2_is_read_when_it_is_called_one(disk: Path, tmp_path: Path) -> None:
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", disk, tmp_path / "web.qcow2"], check=True)
    done = document(tmp_path, "convert", "--format", "qcow2", "web.qcow2", "web.vmdk")
    assert done["content_digest"] == digest.content(disk)
    run = hikkoshi(tmp_path, "convert", "web.qcow2", "other.vmdk")
    assert (run.returncode, "header of another format" in run.stderr) == (2, True)


def test_an_export_of_two_disks_becomes_two_vmdks_that_qemu_finds_identical(disk: Path, tmp_path: Path) -> None:
    second = NOISE[: 3 * MIB // 2]
    (tmp_path / "second.img").write_bytes(second)
    (tmp_path / "web.xva").write_bytes(tar(export({"Ref:4": second, "Ref:7": disk.read_bytes()}, "xxhash", idle=[9])))
    done = document(tmp_path, "convert", "web.xva", "web.vmdk")
    assert [one["file"]["path"] for one in done["disks"]] == ["web.vmdk", "web-2.vmdk"]
    assert done["disks"][0]["content_digest"] == digest.content(disk)
    assert compare(tmp_path, "web.img", "web.vmdk") == "Images are identical."
    padded = tmp_path / "second.img"
    os.truncate(padded, 2 * MIB)
    assert compare(tmp_path, "second.img", "web-2.vmdk") == "Images are identical."
    one = document(tmp_path, "convert", "web.xva", "--disk", "xvda", "one.vmdk")
    assert one["file"]["sha256"] != done["disks"][1]["file"]["sha256"]  # the file's name is in it
    assert one["content_digest"] == done["disks"][1]["content_digest"]
    run = hikkoshi(tmp_path, "convert", "web.xva", "-", "--import", "web")
    assert (run.returncode, "name one by --disk" in run.stderr) == (2, True)


def test_partitions_become_one_disk_with_a_table(tmp_path: Path) -> None:
    (tmp_path / "root.img").write_bytes(NOISE)
    (tmp_path / "swap.img").write_bytes(bytes(4086) + b"SWAPSPACE2" + bytes(MIB - 4096))
    document(tmp_path, "convert", "--partitions", "root.img", "swap.img", "web.vmdk")
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", "web.vmdk", "raw"], cwd=tmp_path, check=True)
    assert (tmp_path / "raw").read_bytes()[MIB : 5 * MIB] == NOISE
    assert (tmp_path / "raw").read_bytes()[510:512] == b"\x55\xaa"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["web.img", "there.vmdk"], 3, "there already, and nothing is overwritten"),
        (["web.img", "web.img"], 3, "the disk itself"),
        (["web.img", "no/folder.vmdk"], 2, "folder for the VMDK is not there"),
        (["web.img", "web.img", "new.vmdk"], 2, "say --partitions"),
        (["nothing.img", "new.vmdk"], 2, "No such file"),
        ([".", "new.vmdk"], 2, "a folder"),
        (["there.vmdk", "new.vmdk"], 2, "header of VMDK"),
        (["odd.img", "new.vmdk"], 2, "cut off"),
        (["web.img", "-"], 2, "--import"),
        (["--format", "vdi", "web.img", "new.vmdk"], 2, "--format"),
        (["--format", "qcow2", "ssh://dom0/disk", "new.vmdk"], 2, "has to be raw"),
        (["--partitions", "web.img", "ssh://dom0/disk", "new.vmdk"], 2, "cannot be put together over ssh"),
        (["ftp://dom0/disk", "new.vmdk"], 2, "ssh://"),
        (["web.img"], 2, "DST.vmdk"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_reason_and_leaves_nothing(
    disk: Path, tmp_path: Path, argv: list[str], code: int, words: str
) -> None:
    document(tmp_path, "convert", "web.img", "there.vmdk")
    (tmp_path / "odd.img").write_bytes(b"x" * 1000)
    before = names(tmp_path)
    run = hikkoshi(tmp_path, "convert", *argv)
    said = " ".join(run.stderr.replace("│", " ").split())
    assert (run.returncode, words in said) == (code, True), run.stderr
    assert names(tmp_path) == before


def test_two_at_once_do_not_write_the_same_file(disk: Path, tmp_path: Path) -> None:
    part = tmp_path / "web.vmdk.part"
    part.touch()
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with RawDisk(disk) as source, pytest.raises(Busy, match="another conversion"):
            transfer.convert(source, tmp_path / "web.vmdk")
        assert part.exists()
    with RawDisk(disk) as source:
        transfer.convert(source, tmp_path / "web.vmdk")
    assert names(tmp_path) == ["web.img", "web.vmdk"]


def test_a_second_one_is_refused_while_the_first_is_at_work(disk: Path, tmp_path: Path) -> None:
    seen: list[type[BaseException]] = []

    def another(done: float, total: float, text: str) -> None:
        with RawDisk(disk) as source:
            try:
                transfer.convert(source, tmp_path / "web.vmdk")
            except Busy as e:
                seen.append(type(e))

    with RawDisk(disk) as source:
        transfer.convert(source, tmp_path / "web.vmdk", progress=another)
    assert set(seen) == {Busy}
    assert compare(tmp_path, "web.img", "web.vmdk") == "Images are identical."


SLOW = """
import time
from hikkoshi.cli.main import main
from hikkoshi.disk.extents import RawDisk
read = RawDisk.read
RawDisk.read = lambda disk, at, length: (time.sleep(at > 32 << 20), read(disk, at, length))[1]
main()
"""  # the command, of a disk that becomes very slow after 32 MiB


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_in_the_middle_leaves_no_vmdk_and_the_same_command_finishes(
    tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    (tmp_path / "web.img").write_bytes(NOISE * 32)
    part = tmp_path / "web.vmdk.part"
    slow = [sys.executable, "-c", SLOW, "convert", "web.img", "web.vmdk"]
    with subprocess.Popen(slow, cwd=tmp_path, stderr=subprocess.PIPE) as run:
        wait_for(lambda: run.poll() is not None or (part.exists() and part.stat().st_size >= 8 * MIB), "it is in the middle")
        run.send_signal(signum)
        assert run.stderr is not None
        said = run.stderr.read().decode()
    assert run.returncode == code, said
    assert not (tmp_path / "web.vmdk").exists()
    if signum == signal.SIGKILL:  # nobody is left to tidy up; what there is does not look like a VMDK
        assert part.read_bytes()[:4] == bytes(4)
    else:
        assert names(tmp_path) == ["web.img"]
        assert "stopped before its end" in said
    document(tmp_path, "convert", "web.img", "web.vmdk")
    assert names(tmp_path) == ["web.img", "web.vmdk"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own, of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.needs("root")
def test_a_full_disk_is_told_with_the_room_there_is(disk: Path, small_disk: Path) -> None:
    with RawDisk(disk) as source, pytest.raises(StepFailed, match="became full") as e:
        transfer.convert(source, small_disk / "web.vmdk")
    assert "No space left" in e.value.problems[0].found
    assert names(small_disk) == []


def test_a_disk_that_is_written_to_meanwhile_is_no_result(disk: Path, tmp_path: Path) -> None:
    def write(done: float, total: float, text: str) -> None:
        with contextlib.suppress(FileNotFoundError), disk.open("r+b") as f:
            f.write(b"!")
        os.utime(disk)

    with RawDisk(disk) as source, pytest.raises(StepFailed, match="changed while it was read"):
        transfer.convert(source, tmp_path / "web.vmdk", progress=write)
    assert names(tmp_path) == ["web.img"]
