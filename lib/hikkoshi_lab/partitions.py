"""How a lab guest's disk is divided, as anaconda of CentOS 5 did it, and how its parts get onto it."""

import os
import struct
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

SECTOR = 512
CYLINDER = 255 * 63 * SECTOR  # anaconda let partitions begin and end with cylinders, the first one track later
BOOT_CYLINDERS = 13
SWAP_CYLINDERS = 65
LINUX, SWAP, LVM = 0x83, 0x82, 0x8E
KINDS = (LINUX, LINUX, SWAP)


def bounds(size: int, kinds: Sequence[int] = KINDS) -> list[int]:
    """Where the partitions of a disk begin, and where the last one ends, in bytes: /boot, the rest, and swap if it is there."""
    cylinders = size // CYLINDER
    inner = [(cylinders - SWAP_CYLINDERS) * CYLINDER] if SWAP in kinds else []
    return [63 * SECTOR, BOOT_CYLINDERS * CYLINDER, *inner, cylinders * CYLINDER]


def table(size: int, identity: uuid.UUID, kinds: Sequence[int] = KINDS) -> bytes:
    """The MBR with its primary partitions and no code yet."""

    def chs(sector: int) -> bytes:
        cylinder, rest = divmod(sector, 255 * 63)
        head, number = divmod(rest, 63)
        if cylinder > 1023:
            cylinder, head, number = 1023, 254, 62
        return bytes((head, number + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))

    entries, at = b"", bounds(size, kinds)
    for n, kind in enumerate(kinds):
        first, count = at[n] // SECTOR, (at[n + 1] - at[n]) // SECTOR
        active = 0 if n else 0x80
        entries += bytes((active,)) + chs(first) + bytes((kind,)) + chs(first + count - 1) + struct.pack("<II", first, count)
    return bytes(440) + identity.bytes[:4] + bytes(2) + entries.ljust(64, b"\0") + b"\x55\xaa"


def swap_header(size: int, identity: uuid.UUID, label: str) -> bytes:
    """The first page of swap space."""
    header = bytes(1024) + struct.pack("<III", 1, size // 4096 - 1, 0) + identity.bytes + label.encode().ljust(16, b"\0")
    return header.ljust(4096 - 10, b"\0") + b"SWAPSPACE2"


def sparse_copy(source: Path, disk: Path, at: int) -> None:
    """Copy a file to a place in the disk, leaving out what is zero."""
    with source.open("rb") as f, disk.open("r+b") as out:
        for start, stop in _data(f.fileno(), source.stat().st_size):
            f.seek(start)
            for position in range(start, stop, 65536):
                block = f.read(min(65536, stop - position))
                if block.count(0) != len(block):
                    out.seek(at + position)
                    out.write(block)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of a sparse file that are not holes."""
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, position
