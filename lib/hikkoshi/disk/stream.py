"""Writing a streamOptimized VMDK, the form that vSphere's import takes, with all cores and in one pass over the disk.

Grains stand in ascending order, each with its marker; those of zeros are left out. The same disk gives the same bytes, with
any number of threads: even the identifiers in the descriptor come from the content. See `hikkoshi.disk.layout` for what
stands around the grains.

A file's own hashes are taken when it is whole, from what the kernel gives back for it.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.disk import workers
from hikkoshi.disk.digest import Content
from hikkoshi.disk.extents import Source
from hikkoshi.disk.layout import END, Front, Trail
from hikkoshi.disk.packing import GRAIN, MIB, Bytes, Level, Packed, packed
from hikkoshi.disk.vmdk import SECTOR
from hikkoshi.errors import BadInput, Problem, StepFailed
from hikkoshi.progress import Progress, silent

LARGEST = 2 << 40  # bytes of a disk: what all readers of sparse VMDKs and all versions of VMFS take
_SECTORS = 1 << 32  # of a stream: grain tables give places as 32-bit numbers of sectors
_SMALLER = (
    "in the running guest, move data onto another disk or an NFS share, and its file systems onto a disk of at most 2 TiB; then "
    "survey that one"
)
_SAMPLES = 200  # of the progress over time, at most; when there are more, every other one is dropped


@dataclass(frozen=True)
class Transfer:
    """A disk that was read to its end: sizes in bytes."""

    capacity: int  # of the disk: the source's size, rounded up to 1 MiB
    read: int  # of the source: what may hold data
    stored: int  # of the source: what is not zeros, in whole grains
    content: str  # content digest of the source, see `hikkoshi.disk.digest`
    level: Level
    threads: int
    seconds: float
    samples: tuple[tuple[float, int], ...]  # (seconds since the beginning, bytes read until then)


@dataclass(frozen=True)
class Stream(Transfer):
    """A VMDK file that was written: size in bytes, hashes in hexadecimal."""

    bytes: int
    sha256: str
    sha1: str  # what vSphere's import reports back


class Sink(Protocol):
    """Where deflated grains go, in ascending order."""

    def add(self, piece: Packed) -> None:
        """Take the next grains."""

    def end(self, content: str) -> None:
        """There are no more; `content` is the disk's content digest."""


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
    also: Sequence[Sink] = (),
    progress: Progress = silent,
) -> Stream:
    """Write the disk to the file `target`, whose descriptor will say `name`, and at the same time into the other sinks.

    `fast` is for networks and disks, `small` takes about twice as long for files that are some 7 % smaller. Whatever
    goes wrong, what is left under `target` is no VMDK; `hikkoshi.files.part` removes it. `BadInput` for a disk that does not
    fit into the format, `StepFailed` where the disk cannot be read or has changed, `OSError` where the file cannot be written.
    """
    _refuse_too_large(source)
    begun = time.monotonic()
    with closing(_File(source, target, name)) as file:
        read = transfer(source, [file, *also], level=level, threads=threads, progress=progress)
    hashes = _hashes(target)
    return Stream(
        **{**vars(read), "seconds": time.monotonic() - begun},
        bytes=file.sectors * SECTOR,
        sha256=hashes["sha256"],
        sha1=hashes["sha1"],
    )


def transfer(
    source: Source, sinks: Sequence[Sink], *, level: Level = "fast", threads: int | None = None, progress: Progress = silent
) -> Transfer:
    """Read the disk once, and put its grains into all the sinks. Errors as of `write`, and those of the sinks."""
    _refuse_too_large(source)
    begun, threads = time.monotonic(), workers.count(threads)
    content, stored, done = Content(), 0, 0
    total = sum(end - start for start, end in source.extents())
    samples: list[tuple[float, int]] = [(0.0, 0)]
    every = 4 * MIB
    with closing(packed(source, level, threads)) as pieces, ThreadPoolExecutor(1, "digest") as beside:
        for piece in pieces:
            hashed = beside.submit(lambda blocks: [*map(content.add_all, blocks)], piece.content)
            stored += len(piece.grains) * GRAIN
            try:
                for sink in sinks:
                    sink.add(piece)
            finally:
                hashed.result()
            done += piece.read
            if done >= samples[-1][1] + every:
                passed = time.monotonic() - begun
                samples.append((round(passed, 3), done))
                if len(samples) > _SAMPLES:
                    samples, every = samples[::2], 2 * every
                left_out = source.size - total + done - min(done, stored)
                progress(done, total, f"{files.human(done / passed)}/s, {files.human(left_out)} of zeros left out")
    source.unchanged()
    digest = content.hexdigest(source.size)
    for sink in sinks:
        sink.end(digest)
    seconds = time.monotonic() - begun
    left_out = source.size - min(done, stored)
    progress(total, total, f"{files.human(done / max(seconds, 0.001))}/s, {files.human(left_out)} of zeros left out")
    return Transfer(
        capacity=capacity(source.size),
        read=done,
        stored=stored,
        content=digest,
        level=level,
        threads=threads,
        seconds=seconds,
        samples=(*samples, (round(seconds, 3), done)),
    )


class _File:
    """A file with its tables in front. The header is written last, so what was left of an unfinished one is no VMDK."""

    def __init__(self, source: Source, target: Path, name: str) -> None:
        self._source = source
        self._front = Front(capacity(source.size), name)
        self.sectors = self._front.sectors
        self._file = os.fdopen(_emptied(target), "wb", GRAIN)
        self._file.seek(self.sectors * SECTOR)

    def add(self, piece: Packed) -> None:
        for grain in piece.grains:
            self._front.place(self._file, grain.number, self.sectors)
            self._file.writelines(grain.parts)
            self.sectors += grain.sectors
            if self.sectors >= _SECTORS:
                raise _too_long(self._source.name)

    def end(self, content: str) -> None:
        self._file.write(END)
        self.sectors += 1
        self._front.write(self._file, content)

    def close(self) -> None:
        self._file.close()


class Flow:
    """A sink that gives the stream away from its first byte to its last, by `put`; nothing of it is kept.

    For a receiver that cannot go back, such as an upload. The file that is written at the same time has the same grains
    and the same content, but other bytes: its tables are in front.
    """

    def __init__(self, source: Source, name: str, put: Callable[[bytes | memoryview], None]) -> None:
        self._source, self._put = source, put
        self._trail = Trail(capacity(source.size), name)
        put(self._trail.head)

    def add(self, piece: Packed) -> None:
        """See `Sink`."""
        parts: list[Bytes] = []
        for grain in piece.grains:
            if before := self._trail.before(grain.number, grain.sectors):
                parts.append(before)
            parts += grain.parts
        if self._trail.sectors >= _SECTORS:
            raise _too_long(self._source.name)
        if parts:
            self._put(b"".join(parts))

    def end(self, content: str) -> None:
        """See `Sink`."""
        self._put(self._trail.tail())


def _emptied(path: Path) -> int:
    """A file without content. One that is empty already stays as it is: what was emptied, ext4 brings onto the disk while it is
    closed, and not while it is hashed.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if os.fstat(file).st_size:
        os.ftruncate(file, 0)
    return file


def _hashes(path: Path) -> dict[str, str]:
    """Both hashes of a file at the same time, while the kernel brings it onto the disk."""

    def take(name: str) -> str:
        with path.open("rb") as f:
            return hashlib.file_digest(f, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()

    def sync() -> None:
        with path.open("rb") as f, suppress(OSError):  # whoever gives the file its name syncs it, and tells of errors
            os.fsync(f.fileno())

    names = ("sha256", "sha1")
    with ThreadPoolExecutor(len(names) + 1) as pool:
        pool.submit(sync)
        return dict(zip(names, pool.map(take, names), strict=True))


def fits(size: int, where: str = "", *, below: bool = False, which: str = "") -> Check:
    """Whether a disk of `size` bytes can become a stream; `below` where the target has no disk of exactly 2 TiB either.

    `which` names it to a reader of several.
    """
    most = LARGEST - MIB if below else LARGEST
    return Check(
        code="disk-fits-target",
        title="the disk is not larger than what can be moved",
        ok=size <= most,
        found=f"{which}: {size:,} bytes ({files.human(size)})".removeprefix(": "),
        expected=f"at most {most:,} bytes (2 TiB): a VMDK stream has no more",
        remedy=_SMALLER,
        where=where,
    )


def _refuse_too_large(source: Source) -> None:
    if 0 < source.size <= LARGEST:
        return
    raise BadInput(
        Problem(
            code="disk-too-large-for-vmdk",
            what="the disk does not fit into a VMDK stream",
            where=source.name,
            found=f"{source.size:,} bytes",
            expected=f"between 1 and {LARGEST:,} bytes: grain tables count sectors in 32 bits, and readers of sparse "
            "VMDKs stop at 2 TiB",
            remedy=_SMALLER,
        )
    )


def _too_long(name: str) -> StepFailed:
    return StepFailed(
        Problem(
            code="vmdk-too-long",
            what="the VMDK stream became too long",
            where=name,
            found="2 TiB of stream, and more of the disk to come",
            expected="less than 2 TiB: grain tables count sectors in 32 bits",
            remedy="move a part of the disk's content, which hardly compresses, onto another disk before the guest moves",
        )
    )
