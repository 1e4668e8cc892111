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
from hikkoshi.disk import export, stream
from hikkoshi.disk import source as raw
from hikkoshi.disk.assembled import AssembledDisk
from hikkoshi.disk.conversion import unwritten
from hikkoshi.disk.extents import RawDisk, Source
from hikkoshi.disk.image import ImageDisk
from hikkoshi.disk.packing import Level
from hikkoshi.disk.remote import RemoteDisk, address
from hikkoshi.disk.stream import Stream, Transfer
from hikkoshi.disk.xva import EXPORTS, ExportedDisk, Xva
from hikkoshi.errors import BadInput, Busy, Problem, Refused, StepFailed
from hikkoshi.progress import Progress, silent

Format = Literal["raw", "qcow2", "vhd", "xva"]


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
def opened(
    places: Sequence[str], format: Format | None = None, *, partitions: bool = False, vdev: str = ""
) -> Iterator[tuple[Source, ...]]:
    """The disk at a path or at ssh://[user@]host[:port]/path; with `partitions` one disk made of several partitions. Of an
    XVA all its disks, or the one that `vdev` names: xvda.

    The format is what is said here, and never guessed: a guest's administrator can write anything into the first sector. Where
    nothing is said it is raw, and of what is called NAME.xva XVA: the file's name is no guest's.
    """
    format = format or ("xva" if len(places) == 1 and places[0].lower().endswith(EXPORTS) else "raw")
    _refuse_unfit(places, format, partitions=partitions, vdev=vdev)
    with contextlib.ExitStack() as stack:
        if format == "xva":
            yield chosen(stack.enter_context(Xva(Path(places[0]))), vdev)
            return
        disks = [stack.enter_context(_opened(place, format)) for place in places]
        yield (AssembledDisk(list(enumerate(disks, 1))),) if partitions else (disks[0],)


def _refuse_unfit(places: Sequence[str], format: Format, *, partitions: bool, vdev: str) -> None:
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
    if (partitions or "://" in places[0]) and format == "xva":
        raise BadInput(
            Problem(
                code="xva-not-a-file",
                what="an export is read as one file of this machine",
                where=", ".join(places),
                expected="the path of an XVA, which holds whole disks",
                remedy="copy it here first, or say by --format what the file is",
            )
        )
    if vdev and format != "xva":
        raise BadInput(
            Problem(
                code="disk-of-no-export",
                what="only an export has several disks to choose from",
                where=", ".join(places),
                found=f"--disk {vdev}, of {format}",
                expected="an XVA",
                remedy="leave --disk out, or say --format xva if the file is one",
            )
        )


def chosen(xva: Xva, vdev: str) -> tuple[ExportedDisk, ...]:
    """The disk of an export that `vdev` names, all for ''; `BadInput` where there is none."""
    chosen = tuple(disk for disk in xva.disks if vdev in ("", disk.entry.vdev))
    if not chosen:
        raise BadInput(
            Problem(
                code="xva-without-disk",
                what="the export has no such disk",
                where=xva.name,
                found=", ".join(disk.entry.vdev for disk in xva.disks) or "none",
                expected=vdev or "at least one disk",
                remedy="name one of those, or leave --disk out for all of them" if xva.disks else export.ANEW,
            )
        )
    return chosen


def only(disks: Sequence[Source]) -> Source:
    """The one disk; `BadInput` where there are several."""
    if len(disks) == 1:
        return disks[0]
    raise BadInput(
        Problem(
            code="several-disks-to-send",
            what="a machine that is made for a disk has one disk",
            found=", ".join(disk.name for disk in disks),
            expected="one",
            remedy="name one by --disk, and send the others each as a machine of its own",
        )
    )


def _opened(place: str, format: Literal["raw", "qcow2", "vhd"]) -> contextlib.AbstractContextManager[Source]:
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


def targets(first: Path, disks: Sequence[Source]) -> tuple[Path, ...]:
    """A file for each disk, as a guest's folder calls them: NAME.vmdk, NAME-2.vmdk …; `Refused` where one is there."""
    found = tuple(first.with_stem(f"{first.stem}-{n}") if n > 1 else first for n in range(1, len(disks) + 1))
    for target, disk in zip(found, disks, strict=True):
        _refuse_there(target, disk.name)
    return found


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
    _refuse_there(target, disk.name)
    part = target.with_name(target.name + ".part")
    if part.exists():
        with part.open("rb") as f:
            _lock(f.fileno(), part)
    with files.part(target) as unfinished, unfinished.open("ab") as held:
        _lock(held.fileno(), unfinished)
        yield unfinished


def _refuse_there(target: Path, source: str) -> None:
    if target.exists() or target.is_symlink():
        raise Refused(
            Problem(
                code="vmdk-there-already",
                what="the VMDK is there already, and nothing is overwritten",
                where=str(target),
                found="the disk itself" if str(target) == source else "something of that name",
                expected="nothing",
                remedy="give another name, or remove it first",
            )
        )


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
