"""The prepared copy as a streamOptimized VMDK, the form that vSphere imports.

conversion.json in the guest's folder says what was made of what.
"""

import errno
import re
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from hikkoshi import files, tool
from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk import digest, grains, source, stream
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.disk.packing import MIB, Level
from hikkoshi.disk.stream import capacity
from hikkoshi.disk.vmdk import check_stream, self_contained
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CONVERT, PREPARE, Step


class Conversion(Artefact):
    """conversion.json: one VMDK with its hashes, and the fingerprint of the copy that it was made from."""

    filename: ClassVar[str] = GuestFolder.conversion
    made_by: ClassVar[Step] = CONVERT
    vmdk: str  # file name
    vmdk_bytes: int
    vmdk_sha256: str
    vmdk_sha1: str  # what vSphere's import reports back
    virtual_bytes: int  # capacity: the copy's size, rounded up to 1 MiB
    copy_bytes: int
    copy_digest: str  # content digest, see hikkoshi.disk.digest
    copy_identity: Identity | None = None  # that very copy, without reading it; earlier versions did not keep it
    level: Level
    threads: int
    qemu_img: str  # version of the one that compared both
    seconds: float  # with the comparison
    samples: tuple[tuple[float, int], ...]  # (seconds since the beginning, bytes read until then), for the rate

    @property
    def ratio(self) -> float:
        """How many times smaller the VMDK is than the disk."""
        return self.virtual_bytes / self.vmdk_bytes


def checks(folder: GuestFolder) -> list[Check]:
    """What has to be so before a conversion. Without the prepared copy, what depends on it waits for 30-prepare."""
    copy, vmdk = folder.prepared_copy, folder.vmdk
    there = copy.is_file()
    found = str(copy) if there else "the prepared copy is not there yet"
    check = partial(Check, ok=there, found=found, remedy=f"run {PREPARE} first", later=True)
    return [
        check(code="copy-there", title="the prepared copy is there", expected="a file", where=str(copy)),
        _is_raw(copy) if there else check(code="copy-is-raw", title="the copy is a raw disk", where=str(copy)),
        _has_room(copy, vmdk) if there else check(code="disk-has-room", title="the disk has room", where=str(vmdk)),
        _can_compare(),
    ]


def complete(folder: GuestFolder) -> Check:
    """Whether the VMDK is there, whole, as it was recorded, and made of this very copy. Reads both to the end."""
    vmdk, flaw = folder.vmdk, next(_flaws(folder), None)
    return Check(
        code="vmdk-of-copy",
        title=f"{vmdk.name} is made of the prepared copy",
        ok=not flaw,
        found=flaw.what if flaw else f"{files.human(vmdk.stat().st_size)}, hashes as recorded",
        expected="the VMDK with the recorded hash, made of the copy as it is now",
        remedy=f"run {CONVERT} in apply",
        where=str(vmdk),
    )


def _flaws(folder: GuestFolder) -> Iterator[Problem]:
    """Reasons why the conversion is not complete, what is quick to find first; only the first of them is good for use."""
    copy, vmdk = folder.prepared_copy, folder.vmdk
    if not vmdk.is_file():
        yield Problem(code="vmdk-missing", what="no VMDK yet")
    try:
        made = Conversion.find(folder)
    except BadInput as e:
        yield Problem(code="conversion-unreadable", what=f"conversion.json cannot be read: {e.problems[0].found}")
        return
    if made is None:
        yield Problem(code="conversion-missing", what="no conversion.json")
        return
    if not copy.is_file():
        yield Problem(code="copy-gone", what="the prepared copy is gone")
    for name, found, recorded in (
        ("bytes in the VMDK", vmdk.stat().st_size, made.vmdk_bytes),
        ("bytes in the copy", copy.stat().st_size, made.copy_bytes),
    ):
        if found != recorded:
            yield Problem(code="conversion-size-differs", what=f"{found:,} {name}, {recorded:,} recorded")
    if (sha256 := files.sha256(vmdk)) != made.vmdk_sha256:
        yield Problem(code="vmdk-hash-differs", what=f"SHA-256 of the VMDK {sha256[:16]}…, {made.vmdk_sha256[:16]}… recorded")
    if (content := digest.content(copy)) != made.copy_digest:
        yield Problem(
            code="copy-digest-differs", what=f"content digest of the copy {content[:16]}…, {made.copy_digest[:16]}… recorded"
        )
    if made.copy_identity != Identity.of(Origin.whole(copy)):
        yield Problem(
            code="copy-written-anew",
            what="made of this content, but the copy was written anew since, or conversion.json does not tell of which it is",
        )


def _still_holds(folder: GuestFolder) -> Identity | None:
    """The copy as it was before both were read, where nothing is wrong but that the VMDK does not tell of it."""
    copy = folder.prepared_copy
    before = Identity.of(Origin.whole(copy)) if copy.is_file() else None
    flaw = next(_flaws(folder), None)
    return before if flaw and flaw.code == "copy-written-anew" else None


def start(folder: GuestFolder, progress: Progress = silent, *, level: Level = "fast") -> Conversion:
    """Convert, compare, and only then give the VMDK its name. On any failure nothing is left of it.

    The comparison is by qemu-img, whose reader shares nothing with our writer. A VMDK that holds what the copy holds, though
    the copy was written anew, is kept: only of which copy it is gets written down.
    """
    copy, vmdk = folder.prepared_copy, folder.vmdk
    if copy_is := _still_holds(folder):
        kept = Conversion.load(folder).model_copy(update={"copy_identity": copy_is})
        kept.save(folder)
        return kept
    refused = [c for c in checks(folder) if not c]
    if refused:
        raise Refused(*(c.problem() for c in refused))
    begun = time.monotonic()
    with files.part(vmdk) as unfinished:
        try:
            with RawDisk(copy) as disk:
                written = stream.write(disk, unfinished, vmdk.name, level=level, progress=progress)
            same = compare(copy, unfinished)
            if not same:
                raise StepFailed(same.problem())
            made = Conversion(
                vmdk=vmdk.name,
                vmdk_bytes=written.bytes,
                vmdk_sha256=written.sha256,
                vmdk_sha1=written.sha1,
                virtual_bytes=written.capacity,
                copy_bytes=disk.size,
                copy_digest=written.content,
                copy_identity=Identity.of(Origin.whole(copy)),
                level=level,
                threads=written.threads,
                qemu_img=_version(),
                seconds=round(time.monotonic() - begun, 1),
                samples=written.samples,
            )
            made.save(folder)
        except OSError as e:
            raise StepFailed(unwritten(e, _needed(copy), unfinished)) from None
    return made


def unwritten(e: OSError, needed: int, unfinished: Path) -> Problem:
    """What was the matter with an unfinished VMDK that could not be written; `needed` is its size in bytes at worst."""
    full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    room = f"{files.human(shutil.disk_usage(unfinished.parent).free)} free"
    size = files.human(unfinished.stat().st_size) if unfinished.is_file() else "nothing"
    return Problem(
        code="disk-full" if full else "vmdk-unwritable",
        what="the disk became full during the conversion" if full else "the VMDK cannot be written",
        where=str(unfinished.parent),
        found=f"{e.strerror or e}; {room} beside an unfinished VMDK of {size}",
        expected=f"room for up to {files.human(needed)}",
        remedy="the unfinished VMDK was removed; make room, or put it on a larger disk, then run this again",
    )


def compare(copy: Path, vmdk: Path) -> Check:
    """Whether the VMDK holds the copy byte for byte, by `qemu-img compare`; the padding at its end has to be zeros."""
    check = partial(Check, code="vmdk-equals-copy", title="the VMDK holds the copy byte for byte")
    remedy = f"do not use this VMDK: delete it, run {CONVERT} again, and test the machine's memory and disk"
    if not vmdk.is_file() or not copy.is_file():
        gone = vmdk if copy.is_file() else copy
        apply = f"run {CONVERT} in apply"
        return check(ok=False, found=f"{gone.name} is not there", expected="both files", remedy=apply, where=str(gone))
    try:
        self_contained(vmdk)
    except BadInput as e:
        p = e.problems[0]
        return check(ok=False, found=p.found, expected=p.expected, remedy=remedy, where=str(vmdk))
    both = copy.absolute(), vmdk.absolute()  # what begins with a slash is never taken for one of QEMU's protocols
    answer = tool.run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", *both], timeout=None, ok=(0, 1, 2, 3, 4))
    return check(
        ok=answer.returncode == 0,
        found=tool.tail(answer.stdout + answer.stderr, 1),
        expected="Images are identical.",
        remedy=remedy,
        where=str(vmdk),
    )


def proofs(folder: GuestFolder) -> list[Check]:
    """Everything that can be asked of a finished conversion: its hashes, its header, its content by two readers."""
    copy, vmdk = folder.prepared_copy, folder.vmdk
    size = capacity(copy.stat().st_size) if copy.is_file() else 0
    return [complete(folder), *check_stream(vmdk, size), whole(folder), compare(copy, vmdk)]


def whole(folder: GuestFolder) -> Check:
    """Whether every grain can be inflated, markers and tables agree, and the recorded content comes out."""
    vmdk = folder.vmdk
    check = partial(
        Check,
        code="vmdk-grains-whole",
        title="every grain of the VMDK holds what was recorded",
        expected="no flaw, and the recorded content digest",
        where=str(vmdk),
    )
    try:
        made = Conversion.load(folder)
        found = grains.examine(vmdk, size=made.copy_bytes)
    except HikkoshiError as e:
        p = e.problems[0]
        return check(ok=False, found=p.found or p.what, remedy=p.remedy)
    flaws = "; ".join(map(str, found.flaws[:5])) + ("; …" if len(found.flaws) > 5 else "")
    same = found.content == made.copy_digest
    words = flaws or f"{found.grains:,} grains, content digest {found.content[:16]}…"
    return check(ok=same and not flaws, found=words, remedy=f"delete it, and run {CONVERT} again")


def _is_raw(copy: Path) -> Check:
    check = partial(Check, code="copy-is-raw", title="the copy is a raw disk")
    try:
        found = source.facts(copy)
    except HikkoshiError as e:
        p = e.problems[0]
        return check(ok=False, found=p.found or p.what, expected=p.expected, remedy=p.remedy, where=str(copy))
    return check(ok=True, found=f"{found.bytes:,} bytes, {found.allocated_bytes:,} allocated, boot loader {found.boot_loader}")


def _needed(copy: Path) -> int:
    """Bytes that the VMDK can take at worst: all of the copy's data, not compressible, with markers and tables."""
    return int(copy.stat().st_blocks * 512 * 1.03) + capacity(copy.stat().st_size) // 4096 + 4 * MIB


def _has_room(copy: Path, vmdk: Path) -> Check:
    folder = next(p for p in (vmdk.parent, *vmdk.parents) if p.is_dir())
    left_over = vmdk.with_name(vmdk.name + ".part")  # of a run that was killed; the next one begins by removing it
    free = shutil.disk_usage(folder).free + (left_over.stat().st_blocks * 512 if left_over.is_file() else 0)
    needed = _needed(copy)
    return Check(
        code="disk-has-room",
        title="the disk has room",
        ok=free >= needed,
        found=f"{files.human(free)} free",
        expected=f"{files.human(needed)}, should nothing be compressible",
        remedy="make room in that folder, or put outputs/ on a larger disk",
        where=str(folder),
    )


def _can_compare() -> Check:
    check = partial(Check, code="qemu-img-there", title="qemu-img is there to compare disk and VMDK")
    try:
        return check(ok=True, found=f"version {_version()}")
    except ToolFailed as e:
        return check(ok=False, found=e.problems[0].what, expected="any version", remedy=e.problems[0].remedy)


def _version() -> str:
    found = re.search(r"version (\d+(?:\.\d+)+)", tool.run(["qemu-img", "--version"], timeout=30).stdout)
    return found[1] if found else "unknown"
