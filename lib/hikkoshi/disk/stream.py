"""Writing a streamOptimized VMDK, the form that vSphere's import takes, with all cores and in one pass over the disk.

Layout as VMware's own writer has it (open-vmdk, `StreamOptimized_Create`): header, descriptor, grain directory, all grain
tables, the grains in ascending order, each with its marker, and a marker for the end. Grains of zeros are left out. The
tables stand in front and are known at the end: a file is written from the first grain on, and gets its front last, the
header after all the rest, so that what was left of an unfinished one never looks like a VMDK.

For the same reason the file's own hashes are taken when it is whole, from what the kernel gives back for it. And a stream
that is sent elsewhere is sent from the file: its length and its tables have to go over the wire before the first grain, so
the alternative is to compress everything twice.

The same disk gives the same bytes, with any number of threads: even the identifiers in the descriptor come from the content.
"""

import hashlib
import math
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import deflate
from isal import isal_zlib

from hikkoshi import files
from hikkoshi.disk import workers
from hikkoshi.disk.digest import Content
from hikkoshi.disk.extents import Source
from hikkoshi.disk.vmdk import COMPRESSED, HEADER, MARKER, MARKERS, SECTOR
from hikkoshi.errors import BadInput, Problem, StepFailed
from hikkoshi.progress import Progress, silent

MIB = 1 << 20
GRAIN = 1 << 16  # bytes; 128 sectors, VMware's default
ENTRIES = 512  # of a grain table; VMware's library reads no other number
LARGEST = 2 << 40  # bytes of a disk: what all readers of sparse VMDKs and all versions of VMFS take
_SECTORS = 1 << 32  # of a stream: grain tables give places as 32-bit numbers of sectors
_PIECE = 1 << 20  # bytes of the disk that a thread takes at once
_DESCRIPTOR = 20  # sectors reserved for it
_ZEROS = bytes(GRAIN)
_NEWLINES = b"\n \r\n"  # a transfer as text would change them

Level = Literal["fast", "small"]
_DEFLATE: dict[Level, Callable[[bytes | memoryview], bytes | bytearray]] = {
    "fast": lambda grain: isal_zlib.compress(grain, 2),
    "small": lambda grain: deflate.zlib_compress(grain, 3),
}


@dataclass(frozen=True)
class Stream:
    """A VMDK that was written: sizes in bytes, hashes in hexadecimal."""

    capacity: int  # of the disk: the source's size, rounded up to 1 MiB
    bytes: int  # of the file
    read: int  # of the source: what may hold data
    stored: int  # of the source: what is not zeros, in whole grains
    content: str  # content digest of the source, see `hikkoshi.disk.digest`
    sha256: str  # of the file
    sha1: str  # of the file; what vSphere's import reports back
    level: Level
    threads: int
    seconds: float


@dataclass(frozen=True)
class _Packed:
    """A piece of the disk with its grains deflated: markers, data and padding, ready to be written."""

    stream: bytes
    grains: list[tuple[int, int, memoryview]]  # (number, sectors of the stream, content without padding)
    read: int


def capacity(size: int) -> int:
    """A disk's size rounded up to whole MiB: a stream's capacity has to be whole grains of 64 KiB."""
    return math.ceil(size / MIB) * MIB


def write(
    source: Source,
    target: Path,
    name: str,
    *,
    level: Level = "fast",
    threads: int | None = None,
    progress: Progress = silent,
) -> Stream:
    """Write the disk to the file `target`, whose descriptor will say `name`.

    `fast` is for networks and disks, `small` takes about three times as long for files that are some 6 % smaller. Whatever
    goes wrong, what is left under `target` is no VMDK; `hikkoshi.files.part` removes it. `BadInput` for a disk that does not
    fit into the format, `StepFailed` where the disk cannot be read or has changed, `OSError` where the file cannot be written.
    """
    begun, threads = time.monotonic(), workers.count(threads)
    _refuse_too_large(source)
    front = _Front(capacity(source.size), name)
    content, stored, done = Content(), 0, 0
    total = sum(end - start for start, end in source.extents())
    with target.open("wb") as f:
        f.seek(front.bytes)
        at = front.bytes // SECTOR
        with closing(workers.in_order(_Packer(source, _DEFLATE[level]), _pieces(source), threads)) as packed:
            for piece in packed:
                for number, sectors, block in piece.grains:
                    content.add(number * GRAIN, block)
                    front.places[number] = at
                    at += sectors
                    stored += GRAIN
                    if at >= _SECTORS:
                        raise _too_long(source)
                f.write(piece.stream)
                done += piece.read
                if done % (4 * MIB) < piece.read:
                    progress(
                        done, total, f"{files.human(done / max(0.001, time.monotonic() - begun))}/s of the disk's data"
                    )
        f.write(bytes(SECTOR))  # marker of type 0: end of stream
        source.unchanged()
        digest = content.hexdigest(source.size)
        front.write(f, digest)
    hashes = _hashes(target)
    progress(total, total, f"{files.human(at * SECTOR + SECTOR)} written")
    return Stream(
        capacity=front.capacity,
        bytes=at * SECTOR + SECTOR,
        read=done,
        stored=stored,
        content=digest,
        sha256=hashes["sha256"],
        sha1=hashes["sha1"],
        level=level,
        threads=threads,
        seconds=time.monotonic() - begun,
    )


class _Front:
    """What stands before the grains: its size is known at the beginning, its content at the end."""

    def __init__(self, size: int, name: str) -> None:
        self.capacity, self.name = size, name
        self._tables = -(-size // (GRAIN * ENTRIES))
        self._directory = 1 + _DESCRIPTOR
        self._first = self._directory + -(-4 * self._tables // SECTOR)
        self.bytes = self._first * SECTOR + self._tables * ENTRIES * 4
        self.places = array(
            "I", bytes(4 * self._tables * ENTRIES)
        )  # {grain number: first sector in the stream}, 0: zeros
        if len(self._descriptor("0" * 64)) > _DESCRIPTOR * SECTOR:
            raise BadInput(
                Problem("the VMDK's name is too long", name, f"{len(name)} characters", "a short one", "choose another")
            )

    def write(self, f: BinaryIO, content: str) -> None:
        """Write descriptor and tables, and the header when they are out."""
        step = ENTRIES * 4 // SECTOR
        directory = array("I", range(self._first, self._first + self._tables * step, step))
        if sys.byteorder == "big":
            directory.byteswap()
            self.places.byteswap()
        f.seek(SECTOR)
        f.write(self._descriptor(content).ljust(_DESCRIPTOR * SECTOR, b"\0"))
        f.write(directory.tobytes().ljust((self._first - self._directory) * SECTOR, b"\0"))
        f.write(memoryview(self.places).cast("B"))
        f.flush()
        f.seek(0)
        f.write(
            HEADER.pack(
                b"KDMV",
                3,  # as VMware writes it, whatever the specification says; ESXi refuses 1
                1 | COMPRESSED | MARKERS,  # 1: the four newline characters are there
                self.capacity // SECTOR,
                GRAIN // SECTOR,
                1,
                _DESCRIPTOR,
                ENTRIES,
                0,  # no second grain directory
                self._directory,
                self.bytes // SECTOR,
                0,  # shut down cleanly
                _NEWLINES,
                1,  # deflate, in zlib's wrapping
            )
        )

    def _descriptor(self, content: str) -> bytes:
        sectors = self.capacity // SECTOR
        cylinders = min(65535, -(-sectors // (255 * 63)))
        cid = int(content[:8], 16) & 0x7FFFFFFF  # ffffffff and fffffffe have a meaning of their own
        return "\n".join(
            (
                "# Disk DescriptorFile",
                "version=1",
                'encoding="UTF-8"',
                f"CID={cid:08x}",
                "parentCID=ffffffff",
                'createType="streamOptimized"',
                "",
                "# Extent description",
                f'RW {sectors} SPARSE "{self.name}"',
                "",
                "# The Disk Data Base",
                "#DDB",
                "",
                f'ddb.longContentID = "{content[8:32]}{cid:08x}"',
                'ddb.virtualHWVersion = "10"',
                f'ddb.geometry.cylinders = "{cylinders}"',
                'ddb.geometry.heads = "255"',
                'ddb.geometry.sectors = "63"',
                'ddb.adapterType = "lsilogic"',
                'ddb.toolsInstallType = "4"',
                'ddb.toolsVersion = "2147483647"',  # not known, and not to be managed by vSphere
                "",
            )
        ).encode()


class _Packer:
    """Reads a piece of the disk and deflates its grains; called by many threads at once."""

    def __init__(self, source: Source, pack: Callable[[bytes | memoryview], bytes | bytearray]) -> None:
        self._source, self._pack = source, pack

    def __call__(self, ranges: list[tuple[int, int]]) -> _Packed:
        stream: list[bytes | bytearray] = []
        grains = []
        for start, end in ranges:
            data = self._source.read(start, end - start)
            view = memoryview(data)
            for offset in range(0, len(data), GRAIN):
                block = view[offset : offset + GRAIN]
                # one memcmp, without a copy of the grain
                if data.startswith(_ZEROS, offset) or (len(block) < GRAIN and block == _ZEROS[: len(block)]):
                    continue
                packed = self._pack(block if len(block) == GRAIN else bytes(block).ljust(GRAIN, b"\0"))
                at = start + offset
                length = MARKER.size + len(packed)
                padded = -(-length // SECTOR) * SECTOR
                stream += MARKER.pack(at // SECTOR, len(packed)), packed, bytes(padded - length)
                grains.append((at // GRAIN, padded // SECTOR, block))
        return _Packed(b"".join(stream), grains, sum(end - start for start, end in ranges))


def _pieces(source: Source) -> Iterator[list[tuple[int, int]]]:
    """The disk's extents, cut and put together to about as much as a thread should take at once."""
    piece: list[tuple[int, int]] = []
    room = _PIECE
    for start, end in source.extents():
        at = start
        while at < end:
            stop = min(end, at + room)
            piece.append((at, stop))
            room -= stop - at
            at = stop
            if room <= 0:
                yield piece
                piece, room = [], _PIECE
    if piece:
        yield piece


def _hashes(path: Path) -> dict[str, str]:
    """Both hashes of a file, at the same time."""

    def take(name: str) -> str:
        with path.open("rb") as f:
            return hashlib.file_digest(f, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()

    names = ("sha256", "sha1")
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(take, names), strict=True))


def _refuse_too_large(source: Source) -> None:
    if 0 < source.size <= LARGEST:
        return
    raise BadInput(
        Problem(
            "the disk does not fit into a VMDK stream",
            source.name,
            f"{source.size:,} bytes",
            f"between 1 and {LARGEST:,} bytes: grain tables count sectors in 32 bits, and readers of sparse VMDKs stop at 2 TiB",
            "move its file systems onto disks of at most 2 TiB each before the guest moves",
        )
    )


def _too_long(source: Source) -> StepFailed:
    return StepFailed(
        Problem(
            "the VMDK stream became too long",
            source.name,
            "2 TiB of stream, and more of the disk to come",
            "less than 2 TiB: grain tables count sectors in 32 bits",
            "move a part of the disk's content, which hardly compresses, onto another disk before the guest moves",
        )
    )
