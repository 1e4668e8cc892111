"""A file system of a guest's disk as e2fsprogs reads it: an independent eye, with which libguestfs has nothing to do."""

import struct
from pathlib import Path

from hikkoshi import tool


def start_of_partition(disk: Path, number: int) -> int:
    """The offset in bytes of one of the first four partitions, by the disk's MBR."""
    with disk.open("rb") as f:
        f.seek(446 + 16 * (number - 1))
        return struct.unpack("<8xII", f.read(16))[0] * 512  # type: ignore[no-any-return]


def debugfs(disk: Path, command: str, partition: int = 2) -> str:
    """What debugfs prints."""
    return tool.run(["debugfs", "-R", command, f"{disk}?offset={start_of_partition(disk, partition)}"]).stdout
