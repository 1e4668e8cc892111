"""Where a disk's content comes from: its size, the ranges that may hold data, and its bytes. Read-only, always.

Who reads a disk asks a `Source` for no more than that, so that a file, a device and a disk on another machine look alike.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self

from hikkoshi.errors import BadInput, Problem, StepFailed

BLOCK = 1 << 16  # bytes: the unit of holes here, of the content digest, and of a VMDK's grains
_ZEROS = bytes(BLOCK)
_QUIET = "shut the guest down and leave its disk alone, or take a snapshot of the volume; then run the step again"


class Source(Protocol):
    """A disk that is read once, from several threads, from its beginning to its end."""

    name: str
    """For messages: path, or whatever else leads to the disk."""
    size: int
    """Bytes."""

    def extents(self) -> Iterator[tuple[int, int]]:
        """Ranges (begin, end) in bytes that may hold data: ascending, apart from each other, at multiples of `BLOCK`
        except for the disk's own end. What is not in them is zeros."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; a `HikkoshiError` that names the place where they cannot be had."""

    def read_into(self, offset: int, blocks: Sequence[memoryview]) -> None:
        """What stands from `offset` on into these, one after the other; errors as of `read`."""
        content, at = self.read(offset, sum(map(len, blocks))), 0
        for block in blocks:
            block[:] = content[at : at + len(block)]
            at += len(block)

    def unchanged(self) -> None:
        """`StepFailed` where somebody has changed the disk since it was opened; then nothing that was read counts."""


class RawDisk(Source):
    """A raw image file or a block device such as an LVM volume; a context manager, open from the beginning.

    A device is opened for ourselves alone: while it is mounted here or attached to a running guest that is refused, and as
    long as we read it nobody can mount or attach it.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        try:
            device = stat.S_ISBLK(path.stat().st_mode)
            # O_EXCL without O_CREAT means a device that nothing else in the kernel has claimed; see open(2)
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_EXCL if device else 0))
        except OSError as e:
            raise BadInput(_cannot_open(path, e)) from None
        if not device and not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise BadInput(_cannot_open(path, OSError(0, "neither file nor block device")))
        if device:  # a guest writes past this kernel's cache, which may hold what was read while it ran
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.size = os.lseek(self._fd, 0, os.SEEK_END)
        self._before = self._state()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def extents(self) -> Iterator[tuple[int, int]]:
        """As in `Source`; by SEEK_DATA and SEEK_HOLE, and the whole disk where these are not known."""
        return joined(self._data())

    def read(self, offset: int, length: int) -> bytes:
        """As in `Source`."""
        pieces, missing = [], length
        while missing:
            at = offset + length - missing
            try:
                piece = os.pread(self._fd, missing, at)
            except OSError as e:
                raise StepFailed(
                    Problem(
                        code="disk-unreadable",
                        what="the disk cannot be read",
                        where=self.name,
                        found=f"{e.strerror} between bytes {at:,} and {at + missing:,}",
                        expected="all of the disk readable",
                        remedy="the kernel's log names the failing device; save what can be saved to another disk with ddrescue, "
                        "and move the guest from that copy",
                    )
                ) from None
            if not piece:
                raise BadInput(
                    Problem(
                        code="disk-image-shorter",
                        what="the disk image became shorter while it was read",
                        where=self.name,
                        found=f"its end at {at:,}",
                        expected=f"{self.size:,} bytes",
                        remedy=_QUIET,
                    )
                )
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, offset: int, blocks: Sequence[memoryview]) -> None:
        """As in `Source`. A hole is not read: the kernel would keep its zeros in memory, page by page."""
        end = offset + sum(map(len, blocks))
        if self._seek(offset, os.SEEK_HOLE) >= end:
            with contextlib.suppress(OSError):  # what the kernel does not give at once is left to `read`
                if os.preadv(self._fd, blocks, offset) == end - offset:
                    return
            super().read_into(offset, blocks)
            return
        for block in blocks:
            at, stop = offset, offset + len(block)
            block[:] = _ZEROS[: len(block)]
            while (data := self._seek(at, os.SEEK_DATA)) < stop:
                at = min(stop, self._seek(data, os.SEEK_HOLE))
                block[data - offset : at - offset] = self.read(data, at - data)
            offset = stop

    def _seek(self, at: int, what: int) -> int:
        """Where the next data or the next hole begins; the disk's end where there is none, or where holes are not known."""
        try:
            return os.lseek(self._fd, at, what)
        except OSError:
            return self.size

    def unchanged(self) -> None:
        """As in `Source`. For a file by size and time stamp, for a device by size and the kernel's count of writes."""
        now = self._state()
        if now == self._before:
            return
        found = "; ".join(f"{k} {now[k]}, before {self._before[k]}" for k in now if now[k] != self._before[k])
        raise StepFailed(changed(self.name, found, "nobody who writes to it"))

    def _state(self) -> dict[str, int]:
        """What differs after somebody wrote to the disk, or put another one in its place."""
        s = os.fstat(self._fd)
        try:
            there = self._path.stat()
        except OSError:  # removed, or renamed
            there = None
        same = int(there is not None and (there.st_dev, there.st_ino) == (s.st_dev, s.st_ino))
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if not stat.S_ISBLK(s.st_mode):
            return {"size": size, "time of last change in ns": s.st_mtime_ns, "still under this name": same}
        return {"size": size, "sectors written": written(s.st_rdev), "still under this name": same}

    def _data(self) -> Iterator[tuple[int, int]]:
        """Ranges that may hold data, widened to whole blocks, ascending; neighbours not yet joined."""
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as e:
                if e.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
                start, end = at, self.size  # a device, or a file system that does not know holes
            start, at = start // BLOCK * BLOCK, min(self.size, -(-end // BLOCK) * BLOCK)
            yield start, at


def joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ascending ranges with those that touch each other made one."""
    begun, ended = 0, 0
    for start, end in ranges:
        if start > ended:
            if ended > begun:
                yield begun, ended
            begun = start
        ended = end
    if ended > begun:
        yield begun, ended


def changed(disk: str, found: str, expected: str) -> Problem:
    """What is wrong with a disk that did not stand still."""
    return Problem(
        code="disk-changed-meanwhile",
        what="the disk was changed while it was read",
        where=disk,
        found=found,
        expected=expected,
        remedy=_QUIET,
    )


def written(device: int) -> int:
    """Sectors that were written to a block device since the machine started; Linux, Documentation/block/stat.rst."""
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return int(path.read_text().split()[6]) if path.exists() else 0


def _cannot_open(path: Path, e: OSError) -> Problem:
    if e.errno == errno.EBUSY:
        return Problem(
            code="device-in-use",
            what="the device is in use",
            where=str(path),
            found="mounted here, attached to a running guest, or part of another device",
            expected="a device that nobody uses",
            remedy="shut the guest down, or take a snapshot of the volume and move the guest from that",
        )
    return Problem(
        code="disk-image-unreadable",
        what="the disk image cannot be read",
        where=str(path),
        found=e.strerror or str(e),
        remedy="see whether the path is right",
    )
