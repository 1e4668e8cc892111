"""A disk from wherever it is into a VMDK file, for those who only want that.

In the runbooks a disk is converted, rehearsed and deployed, each in a step of its own.
"""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hikkoshi import files
from hikkoshi.disk import source as raw
from hikkoshi.disk import stream
from hikkoshi.disk.assembled import AssembledDisk
from hikkoshi.disk.conversion import unwritten
from hikkoshi.disk.extents import RawDisk, Source
from hikkoshi.disk.image import ImageDisk
from hikkoshi.disk.packing import Level
from hikkoshi.disk.remote import RemoteDisk, address
from hikkoshi.disk.stream import Stream, Transfer
from hikkoshi.errors import BadInput, Busy, Problem, Refused, StepFailed
from hikkoshi.progress import Progress, silent

Format = Literal["raw", "qcow2", "vhd"]


@dataclass(frozen=True)
class Done:
    """What became of a disk."""

    disk: str
    read: Transfer  # a `Stream` where there is a file
    file: Path | None

    def plain(self) -> dict[str, Any]:
        """As JSON; sizes in bytes, hashes in hexadecimal."""
        read = self.read
        facts: dict[str, Any] = {
            "disk": self.disk,
            "capacity": read.capacity,
            "read": read.read,
            "stored": read.stored,
            "content_digest": read.content,
            "level": read.level,
            "threads": read.threads,
            "seconds": round(read.seconds, 2),
            "file": None,
        }
        if isinstance(read, Stream):
            facts["file"] = {"path": str(self.file), "bytes": read.bytes, "sha256": read.sha256, "sha1": read.sha1}
        return facts

    def rows(self) -> list[dict[str, str]]:
        """For a reader."""
        read = self.read
        pace = files.human(read.read / max(read.seconds, 0.001))
        told = {
            "disk": f"{self.disk}, capacity {read.capacity:,} bytes",
            "read": f"{read.read:,} bytes, {read.stored:,} of them in grains that are not zeros",
            "content digest": read.content,
            "time": f"{read.seconds:.1f} s, {pace}/s, level {read.level}, {read.threads} threads",
        }
        if isinstance(read, Stream):
            told |= {"VMDK": f"{self.file}, {read.bytes:,} bytes", "SHA-256": read.sha256, "SHA-1": read.sha1}
        return [{"what": what, "found": found} for what, found in told.items()]


@contextlib.contextmanager
def opened(places: Sequence[str], format: Format = "raw", *, partitions: bool = False) -> Iterator[Source]:
    """The disk at a path or at ssh://[user@]host[:port]/path; with `partitions` one disk made of several partitions.

    The format is what is said here, and never guessed: a guest's administrator can write anything into the first sector.
    """
    if not places or (len(places) > 1 and not partitions):
        raise BadInput(
            Problem(
                code="several-sources",
                what="more than one source for one disk",
                found=", ".join(places) or "none",
                expected="one disk",
                remedy="say --partitions if they are the single partitions of one disk, in their order: xvda1, xvda2, …",
            )
        )
    if partitions and any("://" in place for place in places):
        raise BadInput(
            Problem(
                code="partitions-over-ssh",
                what="partitions cannot be put together over ssh",
                where=", ".join(places),
                expected="image files or block devices of this machine",
                remedy="copy them here first: a disk over ssh can be read only once, and their beginnings are looked at before",
            )
        )
    with contextlib.ExitStack() as stack:
        disks = [stack.enter_context(_opened(place, format)) for place in places]
        yield AssembledDisk(list(enumerate(disks, 1))) if partitions else disks[0]


def _opened(place: str, format: Format) -> contextlib.AbstractContextManager[Source]:
    if "://" in place:
        if format != "raw":
            raise BadInput(
                Problem(
                    code="ssh-disk-not-raw",
                    what="a disk over ssh has to be raw",
                    where=place,
                    found=format,
                    expected="raw",
                    remedy="copy the image here first, then convert the copy",
                )
            )
        return RemoteDisk(*address(place))
    path = Path(place)
    if format != "raw":
        return ImageDisk(path, format)
    raw.facts(path)
    return RawDisk(path)


def convert(disk: Source, target: Path, *, level: Level = "fast", progress: Progress = silent) -> Done:
    """Make the VMDK `target` of the disk. On any failure nothing is left of it."""
    with alone(disk, target) as unfinished, telling(disk, unfinished):
        return Done(disk.name, stream.write(disk, unfinished, target.name, level=level, progress=progress), target)


@contextlib.contextmanager
def alone(disk: Source, target: Path) -> Iterator[Path]:
    """An unfinished file that no other conversion writes to, and that becomes `target` at the end. Replaces nothing."""
    folder = target.parent
    if not folder.is_dir():
        raise BadInput(
            Problem(
                code="vmdk-folder-missing",
                what="the folder for the VMDK is not there",
                where=str(folder),
                found="no folder",
                expected="a folder",
                remedy="make it, or name another",
            )
        )
    if target.exists() or target.is_symlink():
        raise Refused(
            Problem(
                code="vmdk-there-already",
                what="the VMDK is there already, and nothing is overwritten",
                where=str(target),
                found="the disk itself" if str(target) == disk.name else "something of that name",
                expected="nothing",
                remedy="give another name, or remove it first",
            )
        )
    part = target.with_name(target.name + ".part")
    if part.exists():
        with part.open("rb") as f:
            _lock(f.fileno(), part)
    with files.part(target) as unfinished, unfinished.open("ab") as held:
        _lock(held.fileno(), unfinished)
        yield unfinished


def _lock(fd: int, part: Path) -> None:
    """Hold the file for as long as it is open; `Busy` where somebody else does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(
            Problem(
                code="vmdk-being-written",
                what="another conversion writes this VMDK",
                where=str(part),
                found="the unfinished file is in use",
                expected="nobody",
                remedy="wait until it ends, or give another name",
            )
        ) from None


@contextlib.contextmanager
def telling(disk: Source, unfinished: Path) -> Iterator[None]:
    """Tell what was the matter where the file cannot be written."""
    try:
        yield
    except OSError as e:
        raise StepFailed(unwritten(e, disk.size, unfinished)) from None
