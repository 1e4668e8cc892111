"""Where a guest's disks are on its Dom-0: each a whole disk, or single partitions that become one."""

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, Self

from hikkoshi import files
from hikkoshi.artefact import Frozen, unsaid
from hikkoshi.disk import digest as digests
from hikkoshi.disk.assembled import AssembledDisk
from hikkoshi.disk.digest import Content
from hikkoshi.disk.extents import BLOCK, RawDisk, Source, written
from hikkoshi.disk.pieces import ArrivedDisk
from hikkoshi.errors import BadInput, Problem
from hikkoshi.progress import Progress, shares, silent

_SAMPLES, _BLOCK = 256, 4096
_FICLONE = 0x40049409  # linux/fs.h
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PIECE = 1 << 20  # bytes read at once
SAMPLED = (1 << 20) + _SAMPLES * _BLOCK  # bytes of each part that an Identity looks at, at most
_ZEROS = bytes(BLOCK)


class Writes(Frozen):
    """The kernel's counts of what was written to block devices. More of them than before: somebody has written.

    The same ones prove nothing: a volume that was closed and opened again begins with 0.
    """

    boot: str  # the start of this machine since which is counted
    sectors: dict[str, int]  # {MAJOR:MINOR: sectors of 512 bytes}


class Part(Frozen):
    """One image file or block device, as seen from here; `number` in the guest's table, 0 for a whole disk."""

    number: int
    path: Path
    disk: int = unsaid(0)  # which of the guest's disks it is, or is of, in the order that vSphere will have them in
    vdev: str = unsaid("")  # what Xen's configuration calls it; where there are several disks only
    place: str = unsaid("")  # where it really is, where `path` is what was read from there: ssh://…, or a file of another form
    form: Literal["", "qcow2", "vhd", "xva"] = unsaid("")  # of that file, which is on this machine

    @property
    def over_ssh(self) -> bool:
        """Whether it really is on another machine."""
        return bool(self.place) and not self.form


class Origin(Frozen):
    """A guest's disks, opened read-only always."""

    parts: tuple[Part, ...]

    @classmethod
    def whole(cls, path: Path) -> Self:
        """A disk with its own partition table."""
        return cls.several([path])

    @classmethod
    def several(cls, paths: Sequence[Path]) -> Self:
        """Disks, each with its own partition table, or with none."""
        return cls(parts=tuple(Part(number=0, path=path, disk=n) for n, path in enumerate(paths)))

    @property
    def disks(self) -> tuple[Self, ...]:
        """Each disk by itself, in the order that vSphere will have them in."""
        count = max(p.disk for p in self.parts) + 1
        if count == 1:
            return (self,)
        own = [[p.model_copy(update={"disk": 0}) for p in self.parts if p.disk == n] for n in range(count)]
        return tuple(type(self)(parts=tuple(parts)) for parts in own)

    @property
    def partitions(self) -> bool:
        """Whether a disk has to be put around it, or around what the first disk is."""
        return self.parts[0].number > 0

    def __str__(self) -> str:
        return ", ".join(f"{f'{p.vdev or p.number}: ' if p.vdev or p.number else ''}{p.place or p.path}" for p in self.parts)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Source]:
        """One disk as vSphere will have it; `BadInput` for what is no disk, or no partition of one."""
        assert all(p.disk == 0 for p in self.parts), "each of several is opened by itself"
        with contextlib.ExitStack() as stack:
            disks = [stack.enter_context(ArrivedDisk(p.path) if p.over_ssh else RawDisk(p.path)) for p in self.parts]
            numbers = [p.number for p in self.parts]
            yield AssembledDisk(list(zip(numbers, disks, strict=True))) if self.partitions else disks[0]

    @property
    def device(self) -> bool:
        """Whether any part of it is a block device, such as an LVM volume: these keep no time of their last change."""
        return any(p.path.is_block_device() for p in self.parts)

    def writes(self) -> Writes | None:
        """What was written to its devices so far; None where it has none, or this kernel does not tell."""
        devices = [p.path.stat().st_rdev for p in self.parts if p.path.is_block_device()]
        if not devices or not _BOOT.exists():
            return None
        counts = {f"{os.major(d)}:{os.minor(d)}": written(d) for d in devices}
        return Writes(boot=_BOOT.read_text().strip(), sectors=counts)

    def written_since(self, before: Writes | None) -> bool:
        """Whether somebody has written to one of its devices since these were counted, for certain."""
        now = self.writes() if before else None
        if before is None or now is None or now.boot != before.boot:
            return False
        return any(now.sectors.get(device, 0) > count for device, count in before.sectors.items())

    def occupied(self) -> int:
        """Bytes that it takes up where it is: of a device all."""
        status = [p.path.stat() for p in self.parts]
        sizes = [_size(p.path) if stat.S_ISBLK(s.st_mode) else 512 * s.st_blocks for p, s in zip(self.parts, status, strict=True)]
        return sum(sizes)


class DiskContent(Frozen):
    """One of several disks: its size in bytes as vSphere will have it, and its content digest."""

    bytes: int
    digest: str


def contents(origin: Origin, progress: Progress = silent) -> tuple[DiskContent, ...]:
    """What each disk holds; all of it is read."""
    found = []
    for disk, share in zip(origin.disks, shares(progress, [d.occupied() for d in origin.disks]), strict=True):
        with disk.opened() as opened:
            found.append(DiskContent(bytes=opened.size, digest=digests.of(opened, share)))
    return tuple(found)


class Identity(Frozen):
    """Enough to see that a large file is the one we know, without reading it all.

    Of a block device it is samples only: that tells most disks apart, and proves nothing of what lies between.
    """

    bytes: int
    mtime_ns: int
    sample_sha256: str  # of the first MiB and of 256 blocks spread over each part; of several disks with each one's size, time

    @classmethod
    def of(cls, origin: Origin) -> Self:
        """Opened read-only; OSError where it cannot be read."""
        size, mtime, sample = 0, 0, hashlib.sha256()
        several = any(part.disk for part in origin.parts)  # else the newest hides that another one was changed
        for part in origin.parts:
            with part.path.open("rb", buffering=0) as f:
                end = f.seek(0, os.SEEK_END)
                f.seek(0)
                sample.update(f.read(1 << 20))
                for n in range(_SAMPLES):
                    f.seek(end * n // _SAMPLES // _BLOCK * _BLOCK)
                    sample.update(f.read(_BLOCK))
                status = os.fstat(f.fileno())
            changed = 0 if stat.S_ISBLK(status.st_mode) else status.st_mtime_ns
            sample.update(f"{end} {changed}".encode() if several else b"")
            size, mtime = size + end, max(mtime, changed)
        return cls(bytes=size, mtime_ns=mtime, sample_sha256=sample.hexdigest())


def identified(source: Origin) -> Identity:
    """Its identity; `BadInput` where it cannot be read."""
    try:
        return Identity.of(source)
    except OSError as e:
        raise BadInput(
            Problem(
                code="source-unreadable",
                what="the source disk cannot be read",
                where=str(source),
                found=e.strerror or str(e),
                expected="the disk image that the plan names",
                remedy="check that the Dom-0's disk is mounted and readable here",
            )
        ) from None


def copy(origin: Origin, target: Path, progress: Progress = silent) -> str:
    """Copy one disk into a new raw file with holes where it has zeros; gives the content digest of what was copied.

    Where the file system can, the copy shares the blocks of the disk until one of them is written to: it takes no room, and the
    disk is only read. `StepFailed` where it cannot be read or changes.
    """
    with origin.opened() as disk, target.open("wb") as f:
        if not origin.partitions and _cloned(origin.parts[0].path, f):
            return digests.of(disk, progress)
        return fill(f, disk, progress)


def fill(target: BinaryIO, disk: Source, progress: Progress = silent) -> str:
    """Copy a disk into an empty file, with holes where it has zeros; gives the content digest of what was copied.

    `StepFailed` where it cannot be read or changes, `OSError` where the file cannot be written.
    """
    digest = Content()
    total, done = sum(end - start for start, end in disk.extents()), 0
    for start, end in disk.extents():
        for at in range(start, end, _PIECE):
            piece = memoryview(disk.read(at, min(_PIECE, end - at)))
            for offset in range(0, len(piece), BLOCK):
                block = piece[offset : offset + BLOCK]
                if block != _ZEROS[: len(block)]:
                    target.seek(at + offset)
                    target.write(block)
                    digest.add(at + offset, block)
            done += len(piece)
            progress(done, total, f"copying the disk, {files.human(done)}")
    target.truncate(disk.size)
    disk.unchanged()
    return digest.hexdigest(disk.size)


def _cloned(source: Path, target: BinaryIO) -> bool:
    """Whether the target is a clone of the file now, as it can be on XFS and btrfs; see ioctl_ficlone(2)."""
    try:
        with source.open("rb") as f:
            fcntl.ioctl(target, _FICLONE, f.fileno())
    except OSError:
        return False
    return True


def _size(path: Path) -> int:
    with path.open("rb") as f:
        return f.seek(0, os.SEEK_END)
