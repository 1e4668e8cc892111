"""A fingerprint of a disk's content that does not depend on how sparse the file is.

The content digest is the SHA-256 over, for each 64 KiB block that holds anything but zeros, in ascending order: the
block's offset in bytes (8 bytes, little endian) and the block; and at the end the disk's size in bytes (8 bytes, little
endian). The last block may be shorter. Holes cost nothing, so 64 GB with little in it take seconds. To recompute it:

    python3 -c "import hashlib, sys; h = hashlib.sha256(); n = 0; f = open(sys.argv[1], 'rb')
    while b := f.read(65536): any(b) and h.update(n.to_bytes(8, 'little') + b); n += len(b)
    h.update(n.to_bytes(8, 'little')); print(h.hexdigest())" IMAGE
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem
from hikkoshi.progress import Progress, silent

BLOCK = 1 << 16
_ZEROS = bytes(BLOCK)


def content(path: Path, progress: Progress = silent) -> str:
    """The content digest of a raw disk image or block device, in hexadecimal."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise BadInput(
            Problem(
                "the disk image cannot be read", str(path), e.strerror or str(e), remedy="see whether the path is right"
            )
        ) from None
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        spans = list(_spans(fd, size))
        total, done = sum(end - start for start, end in spans), 0
        digest = hashlib.sha256()
        for start, end in spans:
            for offset in range(start, end, BLOCK):
                block = os.pread(fd, min(BLOCK, size - offset), offset)
                if len(block) < min(BLOCK, size - offset):
                    raise BadInput(
                        Problem(
                            "the disk image became shorter while it was read",
                            str(path),
                            f"its end at {offset + len(block):,}",
                            f"{size:,} bytes",
                            "shut the guest down, and leave the image alone, then run the step again",
                        )
                    )
                if block != _ZEROS[: len(block)]:
                    digest.update(offset.to_bytes(8, "little"))
                    digest.update(block)
                done += len(block)
                if done % (64 * BLOCK) < BLOCK:
                    progress(done, total, f"{files.human(done)} read")
        progress(total, total, f"{files.human(total)} read")
        digest.update(size.to_bytes(8, "little"))
        return digest.hexdigest()
    finally:
        os.close(fd)


def _spans(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges that may hold data, begun and ended at block borders (the last at the disk's end), ascending, not overlapping."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as e:
            if e.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            start, end = at, size  # a device, or a file system that does not know holes
        start = start // BLOCK * BLOCK
        at = min(size, -(-end // BLOCK) * BLOCK)
        yield start, at
