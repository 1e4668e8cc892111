"""Our streams before the readers of others: QEMU and libvmdk get out of them what went in, at every border."""

import ctypes
import random
import subprocess
from pathlib import Path

import pytest

from hikkoshi.disk import grains, stream
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.layout import ENTRIES
from hikkoshi.disk.packing import GRAIN, MIB, Level

TABLE = ENTRIES * GRAIN
NOISE = random.Random(8).randbytes(2 * GRAIN)

# name: size, {offset: content}
DISKS: dict[str, tuple[int, dict[int, bytes]]] = {
    "empty": (MIB, {}),
    "one sector": (512, {0: b"x"}),
    "short last grain": (3 * GRAIN + 512, {3 * GRAIN: NOISE[:512]}),
    "full grain at the end": (MIB, {MIB - GRAIN: NOISE[:GRAIN]}),
    "across grains": (MIB, {GRAIN - 1: b"ab", 5 * GRAIN - 700: NOISE}),
    "across grain tables": (3 * TABLE, {TABLE - 1: b"ab", 2 * TABLE - GRAIN: NOISE}),
    "a sector into a new table": (TABLE + 512, {0: b"begin", TABLE: NOISE[:512]}),
    "more tables than a sector of directory": (130 * TABLE + 512, {0: b"begin", 128 * TABLE - 1: b"ab", 130 * TABLE: b"end"}),
    "beyond 4 GiB": ((5 << 30) + 512, {(4 << 30) - GRAIN // 2: NOISE[:GRAIN], 5 << 30: b"end"}),
    "beyond 128 GiB": (130 << 30, {128 << 30: NOISE, (130 << 30) - 1: b"!"}),
}

SMALL = [disk for disk in DISKS if not disk.startswith("beyond")]  # where things stand does not depend on how they are packed


def made(folder: Path, name: str, level: Level) -> tuple[Path, Path, stream.Stream]:
    """The disk, its VMDK, and what was said of it; the flow of the same disk is in flow.vmdk."""
    size, pieces = DISKS[name]
    with (folder / "d.img").open("wb") as f:
        f.truncate(size)
        for offset, piece in pieces.items():
            f.seek(offset)
            f.write(piece)
    with RawDisk(folder / "d.img") as source, (folder / "flow.vmdk").open("wb") as f:
        flow = stream.Flow(source, "d.vmdk", f.write)
        written = stream.write(source, folder / "d.vmdk", "d.vmdk", level=level, threads=2, also=[flow])
    return folder / "d.img", folder / "d.vmdk", written


@pytest.mark.needs("qemu-img")
@pytest.mark.parametrize(("disk", "level"), [(disk, "fast") for disk in DISKS] + [(disk, "small") for disk in SMALL])
def test_qemu_reads_what_went_in(tmp_path: Path, disk: str, level: Level) -> None:
    image, file, written = made(tmp_path, disk, level)
    for vmdk in (file, tmp_path / "flow.vmdk"):
        said = subprocess.run(
            ["qemu-img", "compare", "-f", "raw", "-F", "vmdk", image, vmdk], check=True, capture_output=True, text=True
        )
        assert "Images are identical" in said.stdout
        found = grains.examine(vmdk, size=image.stat().st_size)
        assert (found.flaws, found.content) == ((), written.content)


@pytest.mark.needs("qemu-img")
def test_what_qemu_writes_is_read_too_and_only_its_missing_end_is_told(tmp_path: Path) -> None:
    image, _, written = made(tmp_path, "across grain tables", "fast")
    other = tmp_path / "q.vmdk"
    options = "subformat=streamOptimized,adapter_type=lsilogic"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, image, other], check=True)
    found = grains.examine(other, size=image.stat().st_size)
    assert [f.what for f in found.flaws] == ["the file ends without a marker for the end of the stream"]
    assert (found.content, found.grains * GRAIN) == (written.content, written.stored)


class Libvmdk:
    """libvmdk's own reader, by its C interface (libvmdk.h)."""

    def __init__(self, path: Path) -> None:
        self._lib = ctypes.CDLL("libvmdk.so.1")
        self._handle, self._error = ctypes.c_void_p(), ctypes.c_void_p()
        self._lib.libvmdk_handle_read_buffer_at_offset.restype = ctypes.c_ssize_t
        self._do("initialize", ctypes.byref(self._handle))
        self._do("open", self._handle, bytes(path), 1)
        self._do("open_extent_data_files", self._handle)
        size = ctypes.c_uint64()
        self._do("get_media_size", self._handle, ctypes.byref(size))
        self.size = size.value

    def _do(self, name: str, *args: object) -> int:
        answer = getattr(self._lib, f"libvmdk_handle_{name}")(*args, ctypes.byref(self._error))
        assert answer >= 0, f"libvmdk: {name}"
        return int(answer)

    def read(self, offset: int, length: int) -> bytes:
        out = ctypes.create_string_buffer(length)
        got = self._do("read_buffer_at_offset", self._handle, out, ctypes.c_size_t(length), ctypes.c_int64(offset))
        assert got == length
        return out.raw

    def close(self) -> None:
        self._do("close", self._handle)
        self._do("free", ctypes.byref(self._handle))


@pytest.mark.needs("vmdkinfo")
@pytest.mark.parametrize("layout", ["file", "flow"])
@pytest.mark.parametrize("disk", DISKS)
def test_libvmdk_reads_what_went_in(tmp_path: Path, disk: str, layout: str) -> None:
    image, file, written = made(tmp_path, disk, "fast")
    reader = Libvmdk(file if layout == "file" else tmp_path / "flow.vmdk")
    assert reader.size == written.capacity
    places = {0, written.capacity - GRAIN, *(o // GRAIN * GRAIN + k * GRAIN for o in DISKS[disk][1] for k in (-1, 0, 1, 2))}
    with image.open("rb") as f:
        for place in sorted(p for p in places if 0 <= p < written.capacity):
            f.seek(place)
            assert reader.read(place, GRAIN) == f.read(GRAIN).ljust(GRAIN, b"\0"), f"at {place:,}"
    reader.close()
