"""Images of other formats, and disks put together from partitions, next to the tools that made them."""

import gc
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hikkoshi.disk import digest, packing, source, stream
from hikkoshi.disk.assembled import AssembledDisk
from hikkoshi.disk.extents import BLOCK, RawDisk
from hikkoshi.disk.image import Format, ImageDisk
from hikkoshi.disk.packing import Packed
from hikkoshi.errors import BadInput, Problem, StepFailed
from processes import PATIENCE

MIB = 1 << 20
SIZE = 40 * MIB + 512
NOISE = random.Random(12).randbytes(3 * MIB)
PIECES = {0: b"begin", 5 * MIB - 100: NOISE, 20 * MIB: b"text " * 300_000, 30 * MIB + 7: b"x", SIZE - 512: NOISE[:512]}
PATHS = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
needs_qemu = pytest.mark.needs("qemu-img", "qemu-nbd", "qemu-io", "setpriv")


def run(*argv: str | Path, stdin: str | None = None) -> str:
    made = subprocess.run([*map(str, argv)], input=stdin, capture_output=True, text=True, check=False, env=PATHS)
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as f:
        f.truncate(SIZE)
        for offset, piece in PIECES.items():
            f.seek(offset)
            f.write(piece)
    return path


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made while the test runs."""
    folder = tmp_path_factory.mktemp("t")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def convert(raw: Path, driver: str, *options: str) -> Path:
    made = raw.with_name(f"image.{driver}")
    run("qemu-img", "convert", "-f", "raw", "-O", driver, *options, raw, made)
    return made


def with_zeros_and_snapshots(raw: Path) -> Path:
    """Snapshots of other content, and zeros over what was data; the raw disk is changed in the same way."""
    made = convert(raw, "qcow2")
    run("qemu-img", "snapshot", "-c", "before", made)
    changes = ["-c", "write -P 7 21M 1M", "-c", "write -z 5M 2M", "-c", "discard 20M 64k"]
    run("qemu-io", "-f", "qcow2", *changes, made)
    run("qemu-io", "-f", "raw", "-c", "write -P 7 21M 1M", "-c", "write -z 5M 2M", "-c", "write -z 20M 64k", raw)
    run("qemu-img", "snapshot", "-c", "after", made)
    return made


def named_oddly(raw: Path) -> Path:
    return convert(raw, "qcow2").rename(raw.with_name('a,b=c:d" é.img'))


IMAGES: dict[str, tuple[Format, Callable[[Path], Path]]] = {
    "qcow2": ("qcow2", lambda raw: convert(raw, "qcow2")),
    "qcow2, version 2": ("qcow2", lambda raw: convert(raw, "qcow2", "-o", "compat=0.10")),
    "qcow2, compressed": ("qcow2", lambda raw: convert(raw, "qcow2", "-c")),
    "qcow2, small clusters": ("qcow2", lambda raw: convert(raw, "qcow2", "-c", "-o", "cluster_size=512")),
    "qcow2, large clusters": ("qcow2", lambda raw: convert(raw, "qcow2", "-o", "cluster_size=2M,extended_l2=on")),
    "qcow2, allocated": ("qcow2", lambda raw: convert(raw, "qcow2", "-o", "preallocation=metadata")),
    "qcow2, zeros and snapshots": ("qcow2", with_zeros_and_snapshots),
    "qcow2, an odd name": ("qcow2", named_oddly),
    "vhd, dynamic": ("vhd", lambda raw: convert(raw, "vpc", "-o", "force_size=on")),
    "vhd, fixed": ("vhd", lambda raw: convert(raw, "vpc", "-o", "subformat=fixed,force_size=on")),
}


@needs_qemu
@pytest.mark.parametrize("image", IMAGES)
def test_an_image_gives_the_same_vmdk_as_the_raw_disk_with_any_number_of_threads(raw: Path, tmp_path: Path, image: str) -> None:
    format, made = IMAGES[image]
    path, content = made(raw), digest.content(raw)
    before = path.read_bytes()
    with ImageDisk(path, format) as disk:
        assert disk.size == SIZE
        for threads in (1, 2, 5):
            written = stream.write(disk, tmp_path / f"{threads}.vmdk", "disk.vmdk", threads=threads)
            assert written.content == content
    assert path.read_bytes() == before
    with RawDisk(raw) as disk:
        expected = stream.write(disk, tmp_path / "raw.vmdk", "disk.vmdk", threads=2)
    assert expected.sha256 == written.sha256
    run("qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, tmp_path / "5.vmdk")


@needs_qemu
@pytest.mark.parametrize("image", IMAGES)
def test_extents_are_whole_blocks_with_all_that_is_not_zeros(raw: Path, image: str) -> None:
    format, made = IMAGES[image]
    with ImageDisk(made(raw), format) as disk:
        extents = list(disk.extents())
    rest, ended = bytearray(raw.read_bytes()), -1
    for start, end in extents:
        assert ended < start < end
        assert start % BLOCK == 0
        assert end % BLOCK == 0 or end == SIZE
        rest[start:end] = bytes(end - start)
        ended = end
    assert not any(rest)


@needs_qemu
def test_what_is_not_allocated_or_known_to_be_zeros_is_not_read(raw: Path) -> None:
    with ImageDisk(with_zeros_and_snapshots(raw), "qcow2") as disk:
        extents = list(disk.extents())
    assert extents == [
        (0, BLOCK),
        (5 * MIB - BLOCK, 5 * MIB),
        (7 * MIB, 8 * MIB),
        (20 * MIB + BLOCK, 22 * MIB),
        (30 * MIB, 30 * MIB + BLOCK),
        (40 * MIB, SIZE),
    ]


@needs_qemu
def test_what_is_allocated_and_was_never_written_is_not_read(tmp_path: Path) -> None:
    image = tmp_path / "x.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", image, "1M")
    (entry,) = json.loads(run("qemu-img", "map", "--output=json", "-f", "qcow2", image))
    assert (entry["data"], entry["zero"]) == (True, True)
    with ImageDisk(image, "qcow2") as disk:
        assert list(disk.extents()) == []


@needs_qemu
def test_a_read_may_be_longer_than_what_one_request_may_ask_for_and_may_be_of_nothing(raw: Path) -> None:
    with ImageDisk(convert(raw, "qcow2"), "qcow2") as disk:
        assert disk.read(0, SIZE) == raw.read_bytes()
        assert disk.read(5 * MIB - 101, 7) == b"\0" + NOISE[:6]
        assert disk.read(SIZE, 0) == b""


VHD_FIELDS = {"maker": (28, 4), "size": (48, 8), "geometry": (56, 4), "type": (60, 4)}


def footer_changed(path: Path, **fields: bytes) -> Path:
    """The same VHD with other values in its footer, and in the footer's copy in front where there is one."""
    content = bytearray(path.read_bytes())
    for begin in (0, len(content) - 512):
        footer = content[begin : begin + 512]
        if not footer.startswith(b"conectix"):
            continue
        for field, value in fields.items():
            at, length = VHD_FIELDS[field]
            footer[at : at + length] = value
        footer[64:68] = bytes(4)
        footer[64:68] = (~sum(footer) & 0xFFFFFFFF).to_bytes(4, "big")
        content[begin : begin + 512] = footer
    path.write_bytes(content)
    return path


GEOMETRY = struct.pack(">HBB", 1204, 4, 17)  # 81872 sectors: less than the 81921 of the disk
MORE = struct.pack(">HBB", 1205, 4, 17)  # 81940: what `qemu-img create` makes of them


@needs_qemu
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize(
    ("maker", "geometry"),
    [
        (b"tap\0", GEOMETRY),  # Xen's blktap
        (b"win ", GEOMETRY),  # Hyper-V
        (b"vbox", GEOMETRY),  # QEMU alone would go by geometry, and lose the last sectors
        (b"vpc ", GEOMETRY),
        (b"tap\0", MORE),
        (b"qem2", b"\xff\xff\x10\xff"),
    ],
)
def test_a_vhd_is_as_large_as_its_footer_says(raw: Path, subformat: str, maker: bytes, geometry: bytes) -> None:
    path = convert(raw, "vpc", "-o", f"subformat={subformat},force_size=on")
    with ImageDisk(footer_changed(path, maker=maker, geometry=geometry), "vhd") as disk:
        assert disk.size == SIZE
        assert disk.read(SIZE - 512, 512) == NOISE[:512]


@needs_qemu
def test_a_vhd_by_a_maker_that_goes_by_geometry_is_as_large_as_that_where_it_is_more(raw: Path) -> None:
    path = convert(raw, "vpc", "-o", "force_size=on")
    with ImageDisk(footer_changed(path, maker=b"qemu", geometry=MORE), "vhd") as disk:
        assert disk.size == 81940 * 512


@needs_qemu
def test_qemus_vhd_without_a_forced_size_is_rounded_up_to_a_cylinder_and_zeros_follow(raw: Path) -> None:
    with ImageDisk(convert(raw, "vpc"), "vhd") as disk:
        assert disk.size == 81940 * 512 > SIZE
        assert disk.read(SIZE - 512, disk.size - SIZE + 512) == NOISE[:512].ljust(disk.size - SIZE + 512, b"\0")


def refused(path: Path, format: Format) -> list[Problem]:
    with pytest.raises(BadInput) as e:
        ImageDisk(path, format)
    for problem in e.value.problems:
        assert problem.where == str(path)
        assert problem.found
        assert problem.expected
        assert problem.remedy
    return list(e.value.problems)


@needs_qemu
@pytest.mark.parametrize(
    ("driver", "format"), [("raw", "qcow2"), ("raw", "vhd"), ("vpc", "qcow2"), ("qcow2", "vhd"), ("qcow", "qcow2")]
)
def test_an_image_of_another_format_than_was_given_is_refused(raw: Path, driver: str, format: Format) -> None:
    (problem,) = refused(raw if driver == "raw" else convert(raw, driver), format)
    assert "not of the format" in problem.what


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"conectix", b"QFI\xfb\0\0\0\3", b"x" * 600])
@pytest.mark.parametrize("format", ["qcow2", "vhd"])
@needs_qemu
def test_a_few_bytes_are_no_image(tmp_path: Path, content: bytes, format: Format) -> None:
    (tmp_path / "x").write_bytes(content)
    refused(tmp_path / "x", format)


@needs_qemu
def test_a_second_file_is_refused_before_any_program_looks_at_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(b"secret".ljust(65536))
    image = tmp_path / "x.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / "secret", "-F", "raw", image)
    assert "secret....." in run("qemu-io", "-r", "-f", "qcow2", "-c", "read -v 0 16", image)  # the trap is real
    monkeypatch.setenv("PATH", str(tmp_path))
    (problem,) = refused(image, "qcow2")
    assert "another file" in problem.what
    assert problem.found == f"the backing file '{tmp_path / 'secret'}'"
    assert "qemu-img convert" in problem.remedy


@needs_qemu
def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "x.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", image, "1M")
    (problem,) = refused(image, "qcow2")
    assert problem.found == "an external data file"


@needs_qemu
def test_an_encrypted_image_is_refused(tmp_path: Path) -> None:
    options = "encrypt.format=aes,encrypt.key-secret=s"
    image = tmp_path / "x.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o", options, image, "1M")
    (problem,) = refused(image, "qcow2")
    assert "encrypted" in problem.what


def written(path: Path, offset: int, content: bytes) -> Path:
    with path.open("r+b") as f:
        f.seek(offset)
        f.write(content)
    return path


@needs_qemu
@pytest.mark.parametrize(("bit", "what"), [(1, "not closed properly"), (2, "damaged")])
def test_an_image_that_qemu_marked_is_refused(raw: Path, bit: int, what: str) -> None:
    image = convert(raw, "qcow2")
    info = json.loads(run("qemu-img", "info", "--output=json", written(image, 79, bytes([bit]))))
    assert info["dirty-flag"] or info["format-specific"]["data"]["corrupt"]  # it is that mark
    (problem,) = refused(image, "qcow2")
    assert what in problem.what
    assert "qemu-img check" in problem.remedy


@needs_qemu
def test_everything_that_is_wrong_with_a_header_is_told_at_once(raw: Path) -> None:
    image = written(written(convert(raw, "qcow2"), 79, b"\7"), 8, struct.pack(">QI", 600, 4))
    assert len(refused(image, "qcow2")) == 4


@needs_qemu
def test_a_differencing_vhd_is_refused(raw: Path) -> None:
    image = footer_changed(convert(raw, "vpc"), type=(4).to_bytes(4, "big"))
    run("qemu-img", "info", "-f", "vpc", image)  # QEMU sees nothing wrong
    (problem,) = refused(image, "vhd")
    assert "differencing" in problem.found


@needs_qemu
@pytest.mark.parametrize("missing", [700, 2 * BLOCK, 2 * MIB])
@pytest.mark.parametrize("image", ["qcow2", "vhd, dynamic", "vhd, fixed"])
def test_an_image_that_was_cut_off_is_refused(raw: Path, image: str, missing: int) -> None:
    format, made = IMAGES[image]
    raw.write_bytes(NOISE + NOISE[:MIB])  # up to the very end of the image's last piece
    path = made(raw)
    os.truncate(path, path.stat().st_size - missing)
    refused(path, format)


@needs_qemu
def test_an_image_whose_tables_contradict_each_other_is_refused(raw: Path) -> None:
    image = convert(raw, "qcow2")
    tables = int.from_bytes(image.read_bytes()[40:48], "big")
    (problem,) = refused(written(image, tables, bytes(8)[:-2] + b"\2\0"), "qcow2")
    assert "damaged or cut off" in problem.what
    assert "error" in problem.found


@needs_qemu
@pytest.mark.parametrize("name", ["gone", ".", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (problem,) = refused(tmp_path / name, "qcow2")
    assert "cannot be opened" in problem.what


@needs_qemu
def test_an_image_that_a_running_qemu_writes_to_is_refused_and_nothing_is_left(raw: Path, folders: Path) -> None:
    image = convert(raw, "qcow2")
    argv = ["qemu-io", "-f", "qcow2", str(image)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write("write -P 1 0 512\n")
        writer.stdin.flush()
        while "wrote 512/512" not in (line := writer.stdout.readline()):
            assert line
        (problem,) = refused(image, "qcow2")
        writer.stdin.close()
    assert "in use" in problem.what
    assert "lock" in problem.found
    assert list(folders.iterdir()) == []
    assert readers(image) == []


@needs_qemu
def test_no_qemu_can_write_to_an_image_that_is_read(raw: Path) -> None:
    image = convert(raw, "qcow2")
    argv = ["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 512", str(image)]
    with ImageDisk(image, "qcow2"):
        assert "lock" in subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    run(*argv)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "grown": (lambda p: os.truncate(p, p.stat().st_size + 512), "size "),
    "written to": (lambda p: written(p, 0, b"x"), "time of last change"),
    "removed": (lambda p: p.unlink(), "inode gone"),
    "replaced": (lambda p: shutil.copy2(p, p.with_name("new")) and p.with_name("new").replace(p), "inode "),
}


@needs_qemu
@pytest.mark.parametrize("change", CHANGES)
def test_an_image_that_was_changed_meanwhile_is_named_with_what_changed(raw: Path, change: str) -> None:
    act, found = CHANGES[change]
    image = convert(raw, "qcow2")
    with ImageDisk(image, "qcow2") as disk:
        disk.read(0, SIZE)
        disk.unchanged()
        act(image)
        with pytest.raises(StepFailed, match="changed while it was read") as e:
            disk.unchanged()
    assert found in e.value.problems[0].found
    assert e.value.problems[0].where == str(image)


@needs_qemu
def test_content_that_qemu_cannot_read_is_named_with_the_place_and_the_rest_can_be_read(raw: Path) -> None:
    image = convert(raw, "qcow2", "-c")
    content = image.read_bytes()
    header = struct.unpack(">Q", content[40:48])[0]  # of the first table, which names the second ones
    table = struct.unpack(">Q", content[header : header + 8])[0] & 0x00FFFFFFFFFFFE00
    at = table + 8 * (20 * MIB // BLOCK)
    (entry,) = struct.unpack(">Q", content[at : at + 8])
    assert entry >> 62 == 1  # compressed
    written(image, entry & ((1 << 54) - 1), b"\xff" * 40)
    with ImageDisk(image, "qcow2") as disk:
        with pytest.raises(StepFailed) as e:
            disk.read(20 * MIB, 512)
        (problem,) = e.value.problems
        assert problem.found == "Input/output error between bytes 20,971,520 and 20,972,032"
        assert problem.where == str(image)
        assert disk.read(5 * MIB - 100, len(NOISE)) == NOISE
        with pytest.raises(StepFailed, match="Invalid argument between"):
            disk.read(SIZE, 512)


def readers(image: Path) -> list[int]:
    """Every qemu-nbd that serves this image."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"qemu-nbd") and any(word.endswith(bytes(image)) for word in words):
            found.append(int(line.parent.name))
    return found


class Killing:
    """A sink that kills the image's reader as soon as there is anything."""

    def __init__(self, image: Path) -> None:
        self._image = image

    def add(self, piece: Packed) -> None:
        for pid in readers(self._image):
            os.kill(pid, signal.SIGKILL)

    def end(self, content: str) -> None:
        raise AssertionError(content)


@needs_qemu
def test_a_reader_that_is_killed_ends_the_conversion_and_nothing_is_left(
    raw: Path, tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = convert(raw, "qcow2")
    monkeypatch.setattr(packing, "_PIECE", packing.GRAIN)  # else all has been read before the first grains come
    ended = pytest.raises(StepFailed, match=r"the end of qemu-nbd between bytes .* status -9")
    with ended as e, ImageDisk(image, "qcow2") as disk:
        assert len(readers(image)) == 1
        assert len(list(folders.iterdir())) == 1
        stream.write(disk, tmp_path / "x.vmdk", "x.vmdk", threads=1, also=[Killing(image)])
    assert e.value.problems[0].where == str(image)
    assert readers(image) == []
    assert list(folders.iterdir()) == []


@needs_qemu
def test_a_read_that_waits_for_a_reader_that_is_killed_comes_back(raw: Path) -> None:
    image, caught = convert(raw, "qcow2"), []

    def wait() -> None:
        with pytest.raises(StepFailed) as e:
            disk.read(0, 512)
        caught.append(e.value.problems[0].found)

    with ImageDisk(image, "qcow2") as disk:
        (pid,) = readers(image)
        os.kill(pid, signal.SIGSTOP)
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
        os.kill(pid, signal.SIGKILL)
        waiting.join(PATIENCE)
    assert len(caught) == 1
    assert "qemu-nbd" in caught[0]


@needs_qemu
def test_after_reading_no_process_no_folder_and_no_descriptor_is_left(raw: Path, tmp_path: Path, folders: Path) -> None:
    image = convert(raw, "qcow2")
    gc.collect()  # what other tests have left open is closed now, and not meanwhile
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ImageDisk(image, "qcow2") as disk:
        stream.write(disk, tmp_path / "x.vmdk", "x.vmdk", threads=4)
        assert len(readers(image)) == 1
    assert readers(image) == []
    assert list(folders.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@needs_qemu
def test_a_reader_that_answers_nothing_is_ended(raw: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name which does nothing at all, first in the path."""
    image = convert(raw, "qcow2")
    bin_folder = raw.with_name("bin")
    bin_folder.mkdir()
    (bin_folder / "qemu-nbd").write_text("#!/bin/sh\necho not today >&2\nexec sleep 60\n")
    (bin_folder / "qemu-nbd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setattr("hikkoshi.disk.image._START_LIMIT", 4)
    with pytest.raises(StepFailed, match=r"does not answer within 4 s: not today"):
        ImageDisk(image, "qcow2")
    assert list(folders.iterdir()) == []


# disks put together from partitions


@pytest.fixture
def formatted(tmp_path: Path) -> Path:
    """Partitions as a Dom-U without a disk has them: root.img, swap.img, data.img."""
    for name, size in (("root.img", 20 * MIB + 512), ("swap.img", 8 * MIB), ("data.img", 33 * MIB)):
        with (tmp_path / name).open("wb") as f:
            f.truncate(size)
    run("mke2fs", "-q", "-t", "ext3", "-F", tmp_path / "root.img")
    run("mkswap", "-q", tmp_path / "swap.img")
    run("mkfs.vfat", tmp_path / "data.img")
    return tmp_path


@pytest.mark.needs("sfdisk", "mke2fs", "mkswap", "mkfs.vfat")
def test_sfdisk_reads_the_table_as_it_was_meant(formatted: Path) -> None:
    with (
        RawDisk(formatted / "root.img") as root,
        RawDisk(formatted / "swap.img") as swap,
        RawDisk(formatted / "data.img") as data,
    ):
        disk = AssembledDisk([(3, swap), (1, root), (4, data)])
        (formatted / "disk.img").write_bytes(disk.read(0, disk.size))
        table = json.loads(run("sfdisk", "--json", formatted / "disk.img"))["partitiontable"]
        assert (table["label"], table["sectorsize"]) == ("dos", 512)
        assert int(table["id"], 16) == int.from_bytes(disk.read(440, 4), "little") != 0
    assert [{k: p.get(k) for k in ("start", "size", "type", "bootable")} for p in table["partitions"]] == [
        {"start": 2048, "size": 40961, "type": "83", "bootable": True},
        {"start": 45056, "size": 16384, "type": "82", "bootable": None},
        {"start": 61440, "size": 67584, "type": "83", "bootable": None},
    ]
    assert [p["node"][-1] for p in table["partitions"]] == ["1", "3", "4"]
    said = run("sfdisk", "--verify", formatted / "disk.img")
    assert "No errors detected" in said
    assert source.facts(formatted / "disk.img").table == "mbr"


@pytest.mark.needs("mke2fs", "mkswap", "mkfs.vfat", "e2fsck")
def test_file_systems_are_found_again_in_their_partitions(formatted: Path) -> None:
    with RawDisk(formatted / "root.img") as root, RawDisk(formatted / "data.img") as data:
        disk = AssembledDisk([(1, data), (2, root)])
        (formatted / "part").write_bytes(disk.read(34 * MIB, root.size))
    run("e2fsck", "-f", "-n", formatted / "part")


@pytest.mark.needs("mkntfs")
def test_a_file_system_with_a_boot_sector_of_its_own_is_no_whole_disk(tmp_path: Path) -> None:
    with (tmp_path / "ntfs.img").open("wb") as f:
        f.truncate(8 * MIB)
    run("mkntfs", "-q", "-F", "-s", "512", "-p", "0", "-H", "0", "-S", "0", tmp_path / "ntfs.img")
    with RawDisk(tmp_path / "ntfs.img") as ntfs:
        assert ntfs.read(510, 2) == b"\x55\xaa"  # as a boot record
        assert AssembledDisk([(1, ntfs)]).read(450, 1) == b"\x83"


@pytest.mark.needs("root", "losetup", "pvcreate")
def test_a_physical_volume_of_lvm_has_the_type_of_lvm(tmp_path: Path) -> None:
    with (tmp_path / "pv.img").open("wb") as f:
        f.truncate(8 * MIB)
    made = subprocess.run(
        ["losetup", "--find", "--show", tmp_path / "pv.img"], capture_output=True, text=True, check=False, env=PATHS
    )
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        run("pvcreate", "--config", "devices { use_devicesfile=0 }", "--devices", device, device)
    finally:
        run("losetup", "--detach", device)
    with RawDisk(tmp_path / "pv.img") as volume:
        assert AssembledDisk([(1, volume)]).read(450, 1) == b"\x8e"


@needs_qemu
@pytest.mark.needs("sfdisk", "mke2fs", "mkswap", "mkfs.vfat")
def test_a_disk_of_partitions_in_different_formats_becomes_a_vmdk(formatted: Path) -> None:
    root = convert(formatted / "root.img", "qcow2", "-c")
    with ImageDisk(root, "qcow2") as first, RawDisk(formatted / "swap.img") as second:
        disk = AssembledDisk([(1, first), (2, second)])
        (formatted / "disk.img").write_bytes(disk.read(0, disk.size))
        made = stream.write(disk, formatted / "x.vmdk", "x.vmdk", threads=3)
    assert made.content == digest.content(formatted / "disk.img")
    run("qemu-img", "compare", "-f", "raw", "-F", "vmdk", formatted / "disk.img", formatted / "x.vmdk")
