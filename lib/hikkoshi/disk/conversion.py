"""The prepared copies as streamOptimized VMDKs, the form that vSphere imports.

conversion.json in the guest's folder says what was made of what.
"""

import contextlib
import errno
import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hikkoshi import files, tool
from hikkoshi.artefact import Artefact, Frozen, unsaid
from hikkoshi.check import Check
from hikkoshi.disk import digest, grains, source, stream
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.disk.packing import MIB, Level
from hikkoshi.disk.stream import capacity
from hikkoshi.disk.vmdk import check_stream, self_contained
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, shares, silent
from hikkoshi.run.step import CONVERT, PREPARE, Step


class ConvertedDisk(Frozen):
    """One VMDK with its hashes, and the fingerprint of the copy that it was made from."""

    vmdk: str  # file name
    vmdk_bytes: int
    vmdk_sha256: str
    vmdk_sha1: str  # what vSphere's import reports back
    virtual_bytes: int  # capacity: the copy's size, rounded up to 1 MiB
    copy_bytes: int
    copy_digest: str  # content digest, see hikkoshi.disk.digest
    copy_identity: Identity | None = None  # that very copy, without reading it; earlier versions did not keep it


class Conversion(Artefact):
    """conversion.json: the guest's VMDK with its hashes. Of several disks: their sums and their hashes together, and each."""

    filename: ClassVar[str] = GuestFolder.conversion
    made_by: ClassVar[Step] = CONVERT
    vmdk: str  # file name; of several the first
    vmdk_bytes: int
    vmdk_sha256: str  # of several: see `together`
    vmdk_sha1: str
    virtual_bytes: int
    copy_bytes: int
    copy_digest: str
    copy_identity: Identity | None = None
    level: Level
    threads: int
    qemu_img: str  # version of the one that compared both
    seconds: float  # with the comparison
    samples: tuple[tuple[float, int], ...]  # (seconds since the beginning, bytes read until then), for the rate
    disks: tuple[ConvertedDisk, ...] = unsaid(())  # each, where there are several

    @property
    def each(self) -> tuple[ConvertedDisk, ...]:
        """Every disk, one too."""
        return self.disks or (ConvertedDisk(**{name: getattr(self, name) for name in ConvertedDisk.model_fields}),)

    @property
    def ratio(self) -> float:
        """How many times smaller the VMDKs are than the disks."""
        return self.virtual_bytes / self.vmdk_bytes


def together(algorithm: str, names: Sequence[str], sums: Sequence[str]) -> str:
    """One sum for several files; of one file, its own. `sha256sum NAME.vmdk NAME-2.vmdk | sha256sum` prints the same."""
    lines = "".join(f"{sum_}  {name}\n" for name, sum_ in zip(names, sums, strict=True))
    return sums[0] if len(sums) == 1 else hashlib.new(algorithm, lines.encode(), usedforsecurity=False).hexdigest()


class _Pair(NamedTuple):
    """The copy of one disk, its VMDK, and what was made of it before."""

    copy: Path
    vmdk: Path
    made: ConvertedDisk | None

    @classmethod
    def all(cls, folder: GuestFolder, disks: int, made: Conversion | None) -> "list[_Pair]":
        """Of every disk."""
        known = {disk.vmdk: disk for disk in (made.each if made else ())}
        pairs = zip(folder.copies(disks), folder.vmdks(disks), strict=True)
        return [cls(copy, vmdk, known.get(vmdk.name)) for copy, vmdk in pairs]


def checks(folder: GuestFolder, disks: int = 1) -> list[Check]:
    """What has to be so before a conversion. Without the prepared copies, what depends on them waits for 30-prepare."""
    copies, vmdks = folder.copies(disks), folder.vmdks(disks)
    missing = [copy for copy in copies if not copy.is_file()]
    found = ", ".join(copy.name for copy in copies) if not missing else "the prepared copy is not there yet"
    check = partial(Check, ok=not missing, found=found, remedy=f"run {PREPARE} first", later=True)
    there = check(code="copy-there", title="the prepared copy is there", expected="a file", where=", ".join(map(str, copies)))
    if missing:
        return [
            there,
            check(code="copy-is-raw", title="the copy is a raw disk", where=str(missing[0])),
            check(code="disk-has-room", title="the disk has room", where=str(vmdks[0])),
            _can_compare(),
        ]
    return [there, *map(_is_raw, copies), _has_room(copies, vmdks), _can_compare()]


def complete(folder: GuestFolder, disks: int = 1) -> Check:
    """Whether each VMDK is there, whole, as it was recorded, and made of this very copy. Reads all of them to the end."""
    vmdks, flaw = folder.vmdks(disks), next(_flaws(folder, disks), None)
    what = vmdks[0].name if disks == 1 else f"each of the {disks} VMDKs"
    return Check(
        code="vmdk-of-copy",
        title=f"{what} is made of the prepared copy",
        ok=not flaw,
        found=flaw.what if flaw else f"{files.human(sum(v.stat().st_size for v in vmdks))}, hashes as recorded",
        expected="the VMDK with the recorded hash, made of the copy as it is now",
        remedy=f"run {CONVERT} in apply",
        where=flaw.where if flaw and flaw.where else str(vmdks[0]),
    )


def _flaws(folder: GuestFolder, disks: int) -> Iterator[Problem]:
    """Reasons why the conversion is not complete, what is quick to find first; only the first of them is good for use."""
    if missing := [vmdk for vmdk in folder.vmdks(disks) if not vmdk.is_file()]:
        yield Problem(code="vmdk-missing", what="no VMDK yet", where=str(missing[0]))
    try:
        pairs = _Pair.all(folder, disks, Conversion.find(folder))
    except BadInput as e:
        yield Problem(code="conversion-unreadable", what=f"conversion.json cannot be read: {e.problems[0].found}")
        return
    for pair in pairs:
        yield from _flaws_of(*pair)


def _flaws_of(copy: Path, vmdk: Path, made: ConvertedDisk | None) -> Iterator[Problem]:
    flaw = partial(Problem, where=str(vmdk))
    if not vmdk.is_file():
        yield flaw(code="vmdk-missing", what="no VMDK yet")
    if made is None:
        yield flaw(code="conversion-missing", what="no conversion.json, or none of this disk")
        return
    if not copy.is_file():
        yield flaw(code="copy-gone", what="the prepared copy is gone")
    for name, found, recorded in (
        ("bytes in the VMDK", vmdk.stat().st_size, made.vmdk_bytes),
        ("bytes in the copy", copy.stat().st_size, made.copy_bytes),
    ):
        if found != recorded:
            yield flaw(code="conversion-size-differs", what=f"{found:,} {name}, {recorded:,} recorded")
    if (sha256 := files.sha256(vmdk)) != made.vmdk_sha256:
        yield flaw(code="vmdk-hash-differs", what=f"SHA-256 of the VMDK {sha256[:16]}…, {made.vmdk_sha256[:16]}… recorded")
    if (content := digest.content(copy)) != made.copy_digest:
        yield flaw(
            code="copy-digest-differs", what=f"content digest of the copy {content[:16]}…, {made.copy_digest[:16]}… recorded"
        )
    if made.copy_identity != Identity.of(Origin.whole(copy)):
        yield flaw(
            code="copy-written-anew",
            what="made of this content, but the copy was written anew since, or conversion.json does not tell of which it is",
        )


def _earlier(folder: GuestFolder) -> Conversion | None:
    try:
        return Conversion.find(folder)
    except BadInput:
        return None


def _kept(pair: _Pair, *, several: bool) -> ConvertedDisk | None:
    """What needs not be made again: the VMDK holds what the copy holds. Of which copy it is, is told anew."""
    if not pair.copy.is_file():
        return None
    before = Identity.of(Origin.whole(pair.copy))  # before both are read
    flaw = next(_flaws_of(*pair), None)
    if pair.made is None or (flaw is None and not several) or (flaw and flaw.code != "copy-written-anew"):
        return None
    return pair.made.model_copy(update={"copy_identity": before})


def start(folder: GuestFolder, progress: Progress = silent, *, level: Level = "fast", disks: int = 1) -> Conversion:
    """Convert, compare, and only then give each VMDK its name. On any failure nothing is left of it.

    The comparison is by qemu-img, whose reader shares nothing with our writer. A VMDK that holds what the copy holds, though
    the copy was written anew, is kept: only of which copy it is gets written down. So is one of several disks that was made
    before a failure.
    """
    begun, earlier = time.monotonic(), _earlier(folder)
    pairs = _Pair.all(folder, disks, earlier)
    kept = [_kept(pair, several=disks > 1) for pair in pairs]
    if not all(kept) and (refused := [c for c in checks(folder, disks) if not c]):
        raise Refused(*(c.problem() for c in refused))
    about: dict[str, Any] = {"level": level, "threads": 0, "qemu_img": _version(), "seconds": 0.0, "samples": ()}
    if earlier and any(kept):
        about = {name: getattr(earlier, name) for name in about}
    done: list[ConvertedDisk] = []
    samples: tuple[tuple[float, int], ...] = ()
    for pair, one, share in zip(pairs, kept, shares(progress, [_needed([p.copy]) for p in pairs]), strict=True):
        late, read = (time.monotonic() - begun, samples[-1][1]) if samples else (0, 0)
        with contextlib.ExitStack() as stack:
            if one is None:
                unfinished = stack.enter_context(files.part(pair.vmdk))
                new, written = _converted(pair, unfinished, level, share)
                samples = (*samples, *((round(s + late, 3), b + read) for s, b in written.samples))
                seconds = round(time.monotonic() - begun, 1)
                about |= {"threads": written.threads, "seconds": seconds, "samples": samples}
            done.append(one or new)
            made = _all_of(done, about, folder.copies(disks))
            try:
                made.save(folder)
            except OSError as e:
                raise StepFailed(unwritten(e, _needed([pair.copy]), pair.vmdk)) from None
    return made


def _converted(pair: _Pair, unfinished: Path, level: Level, progress: Progress) -> tuple[ConvertedDisk, stream.Stream]:
    """One disk, in a file that has no name yet."""
    try:
        with RawDisk(pair.copy) as disk:
            written = stream.write(disk, unfinished, pair.vmdk.name, level=level, progress=progress)
        same = compare(pair.copy, unfinished)
    except OSError as e:
        raise StepFailed(unwritten(e, _needed([pair.copy]), unfinished)) from None
    if not same:
        raise StepFailed(same.problem())
    made = ConvertedDisk(
        vmdk=pair.vmdk.name,
        vmdk_bytes=written.bytes,
        vmdk_sha256=written.sha256,
        vmdk_sha1=written.sha1,
        virtual_bytes=written.capacity,
        copy_bytes=disk.size,
        copy_digest=written.content,
        copy_identity=Identity.of(Origin.whole(pair.copy)),
    )
    return made, written


def _all_of(done: Sequence[ConvertedDisk], about: Mapping[str, Any], copies: Sequence[Path]) -> Conversion:
    """conversion.json, of those that are made so far of these copies."""
    first, names = done[0], [disk.vmdk for disk in done]
    if len(copies) == 1:
        return Conversion(**{name: getattr(first, name) for name in ConvertedDisk.model_fields}, **about)
    return Conversion(
        vmdk=first.vmdk,
        vmdk_bytes=sum(disk.vmdk_bytes for disk in done),
        vmdk_sha256=together("sha256", names, [disk.vmdk_sha256 for disk in done]),
        vmdk_sha1=together("sha1", names, [disk.vmdk_sha1 for disk in done]),
        virtual_bytes=sum(disk.virtual_bytes for disk in done),
        copy_bytes=sum(disk.copy_bytes for disk in done),
        copy_digest=digest.together([disk.copy_digest for disk in done]),
        copy_identity=Identity.of(Origin.several(copies[: len(done)])),
        disks=tuple(done),
        **about,
    )


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


def proofs(folder: GuestFolder, disks: int = 1) -> list[Check]:
    """Everything that can be asked of a finished conversion: its hashes, its headers, its content by two readers."""
    found = [complete(folder, disks)]
    for copy, vmdk in zip(folder.copies(disks), folder.vmdks(disks), strict=True):
        size = capacity(copy.stat().st_size) if copy.is_file() else 0
        told = [*check_stream(vmdk, size), whole(folder, vmdk), compare(copy, vmdk)]
        found += told if disks == 1 else [replace(c, found=f"{vmdk.name}: {c.found}") for c in told]
    return found


def whole(folder: GuestFolder, vmdk: Path) -> Check:
    """Whether every grain can be inflated, markers and tables agree, and the recorded content comes out."""
    check = partial(
        Check,
        code="vmdk-grains-whole",
        title="every grain of the VMDK holds what was recorded",
        expected="no flaw, and the recorded content digest",
        where=str(vmdk),
    )
    try:
        made = next(disk for disk in Conversion.load(folder).each if disk.vmdk == vmdk.name)
        found = grains.examine(vmdk, size=made.copy_bytes)
    except StopIteration:
        return check(ok=False, found="conversion.json does not tell of it", remedy=f"run {CONVERT} again")
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
    told = f"{copy.name}: {found.bytes:,} bytes, {found.allocated_bytes:,} allocated, boot loader {found.boot_loader}"
    return check(ok=True, found=told)


def _needed(copies: Sequence[Path]) -> int:
    """Bytes that the VMDKs can take at worst: all of the copies' data, not compressible, with markers and tables."""
    status = [copy.stat() for copy in copies]
    return sum(int(s.st_blocks * 512 * 1.03) + capacity(s.st_size) // 4096 + 4 * MIB for s in status)


def _has_room(copies: Sequence[Path], vmdks: Sequence[Path]) -> Check:
    folder = next(p for p in vmdks[0].parents if p.is_dir())
    # of a run that was killed; the next one begins by removing it
    left_over = [part for vmdk in vmdks if (part := vmdk.with_name(vmdk.name + ".part")).is_file()]
    free = shutil.disk_usage(folder).free + sum(part.stat().st_blocks * 512 for part in left_over)
    there = [v.stat().st_mtime if len(copies) > 1 and v.is_file() else 0 for v in vmdks]  # of several, what is made already stays
    missing = [copy for copy, made in zip(copies, there, strict=True) if made < copy.stat().st_mtime]
    needed = _needed(missing)
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
