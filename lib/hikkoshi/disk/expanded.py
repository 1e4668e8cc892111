"""A disk that is in a file of another form, as a raw image: qcow2, VHD, or a disk of an export. It is written out once.

Beside the image, NAME.json tells of which file it is, and how that file was. The image takes its name when all of it is there,
and NAME.json comes last: an image without it, or one that somebody has written to since, is made anew.
"""

import contextlib
import errno
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from hikkoshi import files
from hikkoshi.artefact import Frozen
from hikkoshi.check import Check
from hikkoshi.disk import origin, stream, transfer
from hikkoshi.disk.extents import Source
from hikkoshi.disk.image import ImageDisk
from hikkoshi.disk.origin import DiskContent, Identity, Origin
from hikkoshi.disk.xva import Xva
from hikkoshi.errors import HikkoshiError, Problem, Refused, StepFailed
from hikkoshi.files import human
from hikkoshi.progress import Progress, shares, silent

Form = Literal["qcow2", "vhd", "xva"]
FORMS: tuple[Form, ...] = ("qcow2", "vhd", "xva")
SPARE = 64 << 20  # bytes that must stay free beside an image
_UNKNOWN = "what is here does not say of which file it is, or was changed since"


class Expanded(Frozen):
    """NAME.json: what an image was written out of. `before`: the file as it was when that began."""

    file: Path
    form: Form
    vdev: str  # which disk of an export
    before: Identity
    image: Identity
    digest: str  # content digest of what was written


@dataclass(frozen=True)
class PackedDisk:
    """A disk in a file of another form, and the raw image that becomes of it; `vdev` says which one of an export's."""

    file: Path
    form: Form
    vdev: str
    image: Path

    def here(self) -> bool:
        """Whether the image is whole, and the file as it was; `BadInput` where that cannot be read."""
        known = _known(self.image)
        same = known is not None and (known.file, known.form, known.vdev) == (self.file, self.form, self.vdev)
        return bool(known and same and self.file.is_file() and known.before == _identity(self.file))

    def write(self, disk: Source, before: Identity, progress: Progress = silent) -> None:
        """Make the image of the disk, open already; `before`: the file, looked at before that was opened.

        `BadInput` and `StepFailed` where it cannot be read, or changes meanwhile; `OSError` where the image cannot be written.
        """
        for old in (_list_of(self.image), self.image):
            old.unlink(missing_ok=True)
        with files.part(self.image) as unfinished, unfinished.open("wb") as f:
            content = origin.fill(f, disk, lambda done, total, text: progress(done, total, f"{self.vdev}: {text}"))
        image = _identity(self.image)
        made = Expanded(file=self.file, form=self.form, vdev=self.vdev, before=before, image=image, digest=content)
        files.write(_list_of(self.image), made.model_dump_json(indent=2) + "\n")


def checks(wanted: Sequence[PackedDisk]) -> list[Check]:
    """Whether those that have still to be written out can be read and moved, and there is room for them."""
    found, missing, need = list[Check](), [], 0
    for file, disks in _by_file(wanted):
        title = f"the disks in {file.name} can be read"
        check = partial(Check, code="disk-form-readable", title=title)
        try:
            if not (left := [disk for disk in disks if not disk.here()]):
                continue
            with _opened(file, left) as sources:
                told = [_measured(disk, source) for disk, source in zip(left, sources, strict=True)]
        except HikkoshiError as e:
            p = e.problems[0]
            words = f"{p.what}: {p.found}"
            found.append(check(ok=False, found=words, expected=p.expected, remedy=p.remedy, where=p.where))
            continue
        inside = sum(one.inside for one in told)
        words = f"{left[0].form}: {', '.join(disk.vdev for disk in left)}, at most {human(inside)} to write out"
        found += [check(ok=True, found=words, where=str(file)), *(one.fits for one in told)]
        missing += left
        need += inside
    return [*found, *([room([disk.image for disk in missing], need)] if missing else [])]


def make(wanted: Sequence[PackedDisk], progress: Progress = silent) -> None:
    """Have all these disks here as images; nothing is written again of one that is here, and whose file has not changed.

    `Refused` where there is no room for them, `BadInput` for what is none of its form, `StepFailed` where it cannot be read or
    written, or changes meanwhile.
    """
    if not (missing := [disk for disk in wanted if not disk.here()]):
        return
    groups, before = _by_file(missing), {disk.file: _identity(disk.file) for disk in missing if disk.file.is_file()}
    with contextlib.ExitStack() as stack:
        pairs = [pair for file, disks in groups for pair in zip(disks, stack.enter_context(_opened(file, disks)), strict=True)]
        told = [_measured(*pair) for pair in pairs]
        need = sum(one.inside for one in told)
        asked = (*(one.fits for one in told), room([disk.image for disk in missing], need))
        if refused := [check.problem() for check in asked if not check]:
            raise Refused(*refused)
        for (disk, source), share in zip(pairs, shares(progress, [one.inside for one in told]), strict=True):
            try:
                disk.write(source, before[disk.file], share)
            except OSError as e:
                raise StepFailed(unwritten(e, disk.image.parent, need)) from None


class _Measured(NamedTuple):
    """`inside`: bytes that an image takes up at most."""

    inside: int
    fits: Check


def _measured(disk: PackedDisk, source: Source) -> _Measured:
    inside = sum(end - begin for begin, end in source.extents())
    return _Measured(inside, stream.fits(source.size, str(disk.file), which=disk.vdev))


def _by_file(wanted: Sequence[PackedDisk]) -> list[tuple[Path, list[PackedDisk]]]:
    """The disks of each file, which is opened once: to know an export, all of it is looked through."""
    found: dict[Path, list[PackedDisk]] = {}
    for disk in wanted:
        found.setdefault(disk.file, []).append(disk)
    return list(found.items())


@contextlib.contextmanager
def _opened(file: Path, disks: Sequence[PackedDisk]) -> Iterator[list[Source]]:
    """These disks of one file, in their order."""
    form = disks[0].form
    with contextlib.ExitStack() as stack:
        if form == "xva":
            export = stack.enter_context(Xva(file))
            yield [transfer.chosen(export, disk.vdev)[0] for disk in disks]
        else:
            yield [stack.enter_context(ImageDisk(file, form)) for _ in disks]


def other(source: Origin) -> str:
    """How it is seen that a file is not the one that was written out any more; empty where nothing shows that.

    `BadInput` where nobody can tell, for it cannot be read.
    """
    for part in source.parts:
        if not part.form:
            continue
        known = _known(part.path)
        if known is None or str(known.file) != part.place:
            return f"{part.place}: {_UNKNOWN}"
        if known.file.exists() and not known.file.is_file():
            return f"{part.place}: no file now"
        now, before = _identity(known.file), known.before
        words = (("bytes", "bytes"), ("time of last change in ns", "mtime_ns"))
        told = [f"{w} {getattr(now, x)}, before {getattr(before, x)}" for w, x in words if getattr(now, x) != getattr(before, x)]
        if now != before:
            return f"{part.place}: {'; '.join(told) or 'other bytes, by samples'}"
    return ""


def held(source: Origin, read: Sequence[DiskContent]) -> None:
    """`StepFailed` where an image, all of which was read now, is not what was written: a disk of this machine may fail."""
    for disk, content in zip(source.disks, read, strict=True):
        part, known = disk.parts[0], _known(disk.parts[0].path) if disk.parts[0].form and not disk.partitions else None
        if known is not None and known.digest != content.digest:
            raise StepFailed(
                Problem(
                    code="arrived-image-damaged",
                    what="an image here is not what came from the Dom-0",
                    where=str(part.path),
                    found=f"content digest {content.digest}",
                    expected=f"{known.digest}, as it was written out of {known.file}",
                    remedy="see whether this machine's disk and memory are well. Then remove the image, and survey again",
                )
            )


def room(images: Sequence[Path], need: int) -> Check:
    """Whether there is room for images that take up `need` bytes at most, in one folder; what is there of them gives way."""
    folder = next(f for f in images[0].parents if f.is_dir())
    there = [p for image in images for p in (image, image.with_name(image.name + ".part")) if p.is_file()]
    need = max(0, need - sum(p.stat().st_blocks * 512 for p in there)) + SPARE
    free = shutil.disk_usage(folder).free
    return Check(
        code="room-for-source",
        title="there is room for what is read from the Dom-0",
        ok=free >= need,
        found=f"{human(free)} free",
        expected=human(need),
        remedy="free some, or put outputs/ on a larger disk",
        where=str(folder),
    )


def unwritten(e: OSError, folder: Path, need: int) -> Problem:
    """What was the matter where an image of at most `need` bytes could not be written."""
    full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    return Problem(
        code="source-unwritable",
        what="what comes from the Dom-0 cannot be written",
        where=str(folder),
        found=f"{e.strerror or e}; {human(shutil.disk_usage(folder).free)} free" if full else str(e),
        expected=f"room for up to {human(need)}",
        remedy="make room, or put outputs/ on a larger disk, then run this again: what has come over ssh is kept",
    )


def _list_of(image: Path) -> Path:
    return image.with_suffix(".json")


def _known(image: Path) -> Expanded | None:
    """What its file tells of an image; None without one, and where somebody has written to the image since."""
    try:
        known = Expanded.model_validate_json(files.read(_list_of(image)))
        return known if known.image == Identity.of(Origin.whole(image)) else None
    except (OSError, ValidationError):
        return None


def _identity(file: Path) -> Identity:
    return origin.identified(Origin.whole(file))
