"""A fingerprint of a disk's content that does not depend on how sparse the file is.

The content digest is the SHA-256 over, for each 64 KiB block that holds anything but zeros, in ascending order: the
block's offset in bytes (8 bytes, little endian) and the block; and at the end the disk's size in bytes (8 bytes, little
endian). The last block may be shorter. Holes cost nothing, so 64 GB with little in it take seconds. To recompute it:

    python3 -c "import hashlib, sys; h = hashlib.sha256(); n = 0; f = open(sys.argv[1], 'rb')
    while b := f.read(65536): any(b) and h.update(n.to_bytes(8, 'little') + b); n += len(b)
    h.update(n.to_bytes(8, 'little')); print(h.hexdigest())" IMAGE
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

from hikkoshi import files
from hikkoshi.disk.extents import BLOCK, RawDisk, Source
from hikkoshi.progress import Progress, silent

OFFSET = struct.Struct("<Q")  # what stands before each block
_ZEROS = bytes(BLOCK)


class Content:
    """The content digest in the making: every block that is not zeros, in ascending order, and then the size."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, offset: int, block: bytes | memoryview) -> None:
        """The block of at most 64 KiB at `offset`, a multiple of 64 KiB."""
        self._hash.update(OFFSET.pack(offset))
        self._hash.update(block)

    def add_all(self, blocks: memoryview) -> None:
        """Blocks that are not zeros, one behind the other, each behind its `OFFSET`."""
        self._hash.update(blocks)

    def hexdigest(self, size: int) -> str:
        """The digest of a disk of `size` bytes; asked once, at the end."""
        self._hash.update(size.to_bytes(8, "little"))
        return self._hash.hexdigest()


def together(digests: Sequence[str]) -> str:
    """One digest for several disks: the SHA-256 of theirs, a line each in their order; of one disk, its own.

    `printf '%s\\n' FIRST SECOND | sha256sum` prints the same.
    """
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()


def content(path: Path, progress: Progress = silent) -> str:
    """The content digest of a raw disk image or block device, in hexadecimal."""
    with RawDisk(path) as disk:
        return of(disk, progress)


def of(disk: Source, progress: Progress = silent) -> str:
    """The content digest of a disk that is open."""
    total, done = sum(end - start for start, end in disk.extents()), 0
    digest = Content()
    for start, end in disk.extents():
        for offset in range(start, end, BLOCK):
            block = disk.read(offset, min(BLOCK, end - offset))
            if block != _ZEROS[: len(block)]:
                digest.add(offset, block)
            done += len(block)
            if done % (64 * BLOCK) < BLOCK:
                progress(done, total, f"{files.human(done)} read")
    disk.unchanged()
    progress(total, total, f"{files.human(total)} read")
    return digest.hexdigest(disk.size)
