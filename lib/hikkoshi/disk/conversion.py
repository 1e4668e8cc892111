"""The prepared copy as a streamOptimized VMDK, the form that vSphere imports.

The copy is `disk/NAME.img` and the VMDK `disk/NAME.vmdk` in the guest's folder; conversion.json beside `disk` says what
was made of what.
"""

import hashlib
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from hikkoshi import files, tool
from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk import digest, source
from hikkoshi.disk.vmdk import check_stream, name_extent, read
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.progress import Progress, silent

MIB = 1 << 20
OLDEST = (2, 5, 1)  # qemu-img before it wrote header version 1, which ESXi refuses
FULL = 1 << 20  # bytes left free, below which a failed conversion is put down to the full disk
OPTIONS = "subformat=streamOptimized,adapter_type=lsilogic,hwversion=10"


class Conversion(Artefact):
    """conversion.json: one VMDK with its hashes, and the fingerprint of the copy that it was made from."""

    filename: ClassVar[str] = "conversion.json"
    made_by: ClassVar[str] = "40-convert"
    vmdk: str  # file name
    vmdk_bytes: int
    vmdk_sha256: str
    vmdk_sha1: str  # what vSphere's import reports back
    virtual_bytes: int  # capacity: the copy's size, rounded up to 1 MiB
    copy_bytes: int
    copy_digest: str  # content digest, see hikkoshi.disk.digest
    qemu_img: str  # version
    seconds: float

    @property
    def ratio(self) -> float:
        """How many times smaller the VMDK is than the disk."""
        return self.virtual_bytes / self.vmdk_bytes


def capacity(size: int) -> int:
    """A disk's size rounded up to whole MiB: a stream's capacity has to be whole grains of 64 KiB."""
    return math.ceil(size / MIB) * MIB


def checks(copy: Path, vmdk: Path) -> list[Check]:
    """What has to be so before a conversion. Without the prepared copy, what depends on it waits for 30-prepare."""
    there = copy.is_file()
    missing = "the prepared copy is not there yet"
    remedy = "run 30-prepare first"
    return [
        Check(
            "the prepared copy is there",
            there,
            str(copy) if there else missing,
            "a file",
            remedy,
            str(copy),
            later=True,
        ),
        _is_raw(copy) if there else Check("the copy is a raw disk", False, missing, "", remedy, str(copy), later=True),
        _has_room(copy, vmdk)
        if there
        else Check("the disk has room", False, missing, "", remedy, str(vmdk), later=True),
        _tool_is_new_enough(),
    ]


def complete(copy: Path, vmdk: Path) -> Check:
    """Whether the VMDK is there, whole, as it was recorded, and made of this very copy. Reads both to the end."""
    flaw = next(_flaws(copy, vmdk), "")
    return Check(
        f"{vmdk.name} is made of the prepared copy",
        not flaw,
        flaw or f"{files.human(vmdk.stat().st_size)}, hashes as recorded",
        "the VMDK with the recorded hash, made of the copy as it is now",
        "run 40-convert in apply",
        str(vmdk),
    )


def _flaws(copy: Path, vmdk: Path) -> Iterator[str]:
    """Reasons why the conversion is not complete, what is quick to find first; only the first of them is good for use."""
    if not vmdk.is_file():
        yield "no VMDK yet"
    try:
        made = Conversion.find(vmdk.parents[1])
    except BadInput as e:
        yield f"conversion.json cannot be read: {e.problems[0].found}"
        return
    if made is None:
        yield "no conversion.json"
        return
    if not copy.is_file():
        yield "the prepared copy is gone"
    for name, found, recorded in (
        ("bytes in the VMDK", vmdk.stat().st_size, made.vmdk_bytes),
        ("bytes in the copy", copy.stat().st_size, made.copy_bytes),
    ):
        if found != recorded:
            yield f"{found:,} {name}, {recorded:,} recorded"
    if (sha256 := files.sha256(vmdk)) != made.vmdk_sha256:
        yield f"SHA-256 of the VMDK {sha256[:16]}…, {made.vmdk_sha256[:16]}… recorded"
    if (content := digest.content(copy)) != made.copy_digest:
        yield f"content digest of the copy {content[:16]}…, {made.copy_digest[:16]}… recorded"


def start(copy: Path, vmdk: Path, folder: Path, progress: Progress = silent) -> Conversion:
    """Convert, compare, hash, and only then give the VMDK its name. On any failure nothing is left of it."""
    refused = [c for c in checks(copy, vmdk) if not c]
    if refused:
        raise Refused(*(c.problem() for c in refused))
    begun = time.monotonic()
    size = copy.stat().st_size
    with files.part(vmdk) as unfinished:
        try:
            _convert(copy, unfinished, progress)
            _compare_or_fail(copy, unfinished)
            made = Conversion(
                vmdk=vmdk.name,
                vmdk_bytes=unfinished.stat().st_size,
                virtual_bytes=capacity(size),
                copy_bytes=size,
                copy_digest=digest.content(copy),
                qemu_img=".".join(map(str, _version())),
                seconds=round(time.monotonic() - begun, 1),
                **_hashes(unfinished),
            )
            made.save(folder)
        except (ToolFailed, OSError) as e:
            free = shutil.disk_usage(unfinished.parent).free
            # qemu-img's own word for a full disk is often 'Invalid argument': its second write trips over its first
            if free > FULL and not re.search(r"No space left|quota exceeded", str(e)):
                raise
            raise StepFailed(
                Problem(
                    "the disk became full during the conversion",
                    where=str(vmdk.parent),
                    found=f"{files.human(free)} free beside an unfinished VMDK of {files.human(unfinished.stat().st_size)}",
                    expected=f"room for up to {files.human(_needed(copy))}",
                    remedy="the unfinished VMDK was removed; make room, or put outputs/ on a larger disk, then run this again",
                )
            ) from None
    return made


def compare(copy: Path, vmdk: Path) -> Check:
    """Whether the VMDK holds the copy byte for byte, by `qemu-img compare`; the padding at its end has to be zeros."""
    title = "the VMDK holds the copy byte for byte"
    remedy = "do not use this VMDK: delete it, run 40-convert again, and test the machine's memory and disk"
    if not vmdk.is_file() or not copy.is_file():
        gone = vmdk if copy.is_file() else copy
        return Check(title, False, f"{gone.name} is not there", "both files", "run 40-convert in apply", str(gone))
    answer = tool.run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", copy, vmdk], timeout=None, ok=(0, 1, 2, 3, 4))
    found = tool.tail(answer.stdout + answer.stderr, 1)
    return Check(title, answer.returncode == 0, found, "Images are identical.", remedy, str(vmdk))


def proofs(copy: Path, vmdk: Path) -> list[Check]:
    """Everything that can be asked of a finished conversion: its hashes, its header, its content."""
    size = capacity(copy.stat().st_size) if copy.is_file() else 0
    return [complete(copy, vmdk), *check_stream(vmdk, size), compare(copy, vmdk)]


def table(folder: Path) -> Sequence[dict[str, str]]:
    """The conversion as rows for a reader; one row that says so where there is none yet."""
    made = Conversion.find(folder)
    if made is None:
        return [{"what": "VMDK", "found": "not made yet"}]
    return [
        {"what": "VMDK", "found": f"{made.vmdk}, {made.vmdk_bytes:,} bytes"},
        {"what": "capacity", "found": f"{made.virtual_bytes:,} bytes, {made.ratio:.1f} times the file"},
        {"what": "SHA-256", "found": made.vmdk_sha256},
        {"what": "SHA-1", "found": made.vmdk_sha1},
        {"what": "content digest of the copy", "found": made.copy_digest},
        {"what": "time", "found": f"{made.seconds:.1f} s, qemu-img {made.qemu_img}"},
    ]


def header_table(vmdk: Path) -> Sequence[dict[str, str]]:
    """The VMDK's header and descriptor as rows for a reader."""
    if not vmdk.is_file():
        return [{"field": "VMDK", "value": "not made yet"}]
    header = read(vmdk)
    return [
        {"field": "header version", "value": str(header.version)},
        {"field": "flags", "value": f"{header.flags:#x}" + (": deflated grains with markers" if header.stream else "")},
        {"field": "capacity", "value": f"{header.capacity:,} bytes"},
        {"field": "grain", "value": f"{header.grain:,} bytes"},
        *({"field": key, "value": value} for key, value in header.descriptor.items()),
    ]


def _convert(copy: Path, unfinished: Path, progress: Progress) -> None:
    """Make the empty VMDK with its padded capacity, and fill it. `-f raw` always: see `hikkoshi.disk.source`."""
    total = copy.stat().st_size
    tool.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", OPTIONS, unfinished, str(capacity(total))])
    fill = (
        "qemu-img",
        "convert",
        "-p",
        "-n",
        "--target-is-zero",
        "-f",
        "raw",
        "-O",
        "vmdk",
        str(copy),
        str(unfinished),
    )
    with tempfile.TemporaryFile() as errors:  # not a pipe: nobody reads it before the end
        process = subprocess.Popen(
            tool.command(fill),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            close_fds=False,
            start_new_session=True,
        )
        try:
            _follow(process, total, progress)
        finally:
            tool.end(process)
        errors.seek(0)
        words = tool.tail(errors.read().decode(errors="replace"))
    if process.returncode:
        raise ToolFailed(
            Problem(
                "the conversion failed",
                where=str(copy),
                found=f"qemu-img ended with {process.returncode}: {words}",
                expected="exit status 0",
                remedy="its own words name the cause; nothing was left behind, so run the step again once it is cured",
            )
        )
    name_extent(unfinished, unfinished.name.removesuffix(".part"))


def _follow(process: "subprocess.Popen[bytes]", total: int, progress: Progress) -> None:
    """Read `    (12.34/100%)` over and over until the program ends."""
    assert process.stdout is not None
    begun, line = time.monotonic(), b""
    while chunk := os.read(process.stdout.fileno(), 4096):
        line = (line + chunk)[-64:]
        if shares := re.findall(rb"\((\d+\.\d+)/100%\)", line):
            done = float(shares[-1]) / 100 * total
            progress(done, total, f"{files.human(done / max(0.1, time.monotonic() - begun))}/s of the disk")
    process.wait()


def _compare_or_fail(copy: Path, unfinished: Path) -> None:
    same = compare(copy, unfinished)
    if not same:
        raise StepFailed(same.problem())


def _hashes(path: Path) -> dict[str, str]:
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as f:
        while block := f.read(MIB):
            sha256.update(block)
            sha1.update(block)
    return {"vmdk_sha256": sha256.hexdigest(), "vmdk_sha1": sha1.hexdigest()}


def _is_raw(copy: Path) -> Check:
    title = "the copy is a raw disk"
    try:
        found = source.facts(copy)
    except HikkoshiError as e:
        p = e.problems[0]
        return Check(title, False, p.found or p.what, p.expected, p.remedy, str(copy))
    return Check(
        title, True, f"{found.bytes:,} bytes, {found.allocated_bytes:,} allocated, boot loader {found.boot_loader}"
    )


def _needed(copy: Path) -> int:
    """Bytes that the VMDK can take at worst: all of the copy's data, not compressible, with markers and tables."""
    return int(copy.stat().st_blocks * 512 * 1.03) + capacity(copy.stat().st_size) // 4096 + 4 * MIB


def _has_room(copy: Path, vmdk: Path) -> Check:
    folder = next(p for p in (vmdk.parent, *vmdk.parents) if p.is_dir())
    left_over = vmdk.with_name(vmdk.name + ".part")  # of a run that was killed; the next one begins by removing it
    free = shutil.disk_usage(folder).free + (left_over.stat().st_blocks * 512 if left_over.is_file() else 0)
    needed = _needed(copy)
    return Check(
        "the disk has room",
        free >= needed,
        f"{files.human(free)} free",
        f"{files.human(needed)}, should nothing be compressible",
        "make room in that folder, or put outputs/ on a larger disk",
        str(folder),
    )


def _tool_is_new_enough() -> Check:
    title, oldest = "qemu-img writes what ESXi takes", ".".join(map(str, OLDEST))
    try:
        version = _version()
    except ToolFailed as e:
        return Check(title, False, e.problems[0].what, f"{oldest} or later", e.problems[0].remedy)
    found = ".".join(map(str, version))
    return Check(title, version >= OLDEST, f"version {found}", f"{oldest} or later", "install a newer qemu-utils")


def _version() -> tuple[int, ...]:
    words = tool.run(["qemu-img", "--version"], timeout=30).stdout
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", words)
    return tuple(map(int, found.groups())) if found else (0,)
