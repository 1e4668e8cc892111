"""A raw disk image or block device, looked at from the outside; opened read-only, always."""

import os
import re
import stat
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from hikkoshi.artefact import Frozen
from hikkoshi.errors import BadInput, Problem

SECTOR = 512
LARGE = 4096  # bytes of a sector of other disks
GPT = 0xEE  # the type of the one entry that stands before a GPT, and covers more than there is
_BEGINNINGS = (  # (offset, bytes) of what may begin at a partition
    *((0, b"XFSB"), (0, b"LUKS\xba\xbe"), (3, b"NTFS    "), (510, b"\x55\xaa"), (1080, b"\x53\xef")),
    *((n, b"LABELONE") for n in (0, 512, 1024, 1536)),
    *((4086, b"SWAPSPACE2"), (4086, b"SWAP-SPACE"), (0x8000, b"JFS1"), (0x10034, b"ReIsEr"), (0x10040, b"_BHRfS_M")),
)
BootLoader = Literal["grub-legacy", "grub2", "extlinux", "uefi", "none", "unknown"]
MBR_ESP = 0xEF
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")  # type of an EFI system partition
_LINUX: frozenset[object] = frozenset(  # types of partitions: of an MBR a number, of a GPT a UUID
    {0x82, 0x83, 0x85, 0x8E, 0xFD}
    | {0x05, 0x0F}  # and what a list of logical partitions may hold
    | {uuid.UUID(u) for u in ("0fc63daf-8483-4772-8e79-3d69d8477de4", "e6d6d379-f507-44c2-a23c-238f2a3df928")}
    | {uuid.UUID(u) for u in ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "a19d880f-05fc-4d3b-a006-743f0f84911e")}
    | {uuid.UUID(u) for u in ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "44479540-f297-41b2-9af7-d131d5f0458a")}
)
_SYSTEMS: Mapping[object, str] = {
    0xA5: "FreeBSD",
    0xA6: "OpenBSD",
    0xA9: "NetBSD",
    0xBF: "Solaris",
    0x6C: "DragonFly BSD",
    0xA8: "macOS",
    0xFB: "VMware ESXi",
    0x65: "NetWare",
    0xEB: "Haiku",
    0x39: "Plan 9",
    **dict.fromkeys((0x4D, 0x4E, 0x4F), "QNX"),
    **dict.fromkeys((0x80, 0x81), "MINIX"),
    **dict.fromkeys((0x07, 0x17, 0x27, 0x42), "Windows"),
    uuid.UUID("516e7cb4-6ecf-11d6-8ff8-00022d09712b"): "FreeBSD",
    uuid.UUID("516e7cb6-6ecf-11d6-8ff8-00022d09712b"): "FreeBSD",
    uuid.UUID("516e7cba-6ecf-11d6-8ff8-00022d09712b"): "FreeBSD",
    uuid.UUID("83bd6b9d-7f41-11dc-be0b-001560b84f0f"): "FreeBSD",
    uuid.UUID("49f48d5a-b10e-11dc-b99b-0019d1879648"): "NetBSD",
    uuid.UUID("824cc7a0-36a8-11e3-890a-952519ad3f61"): "OpenBSD",
    uuid.UUID("6a898cc3-1dd2-11b2-99a6-080020736631"): "Solaris",
    uuid.UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae"): "Windows",
}
_LABEL = b"\x57\x45\x56\x82"  # of BSD's own list of partitions, in the second sector
_BARE = (  # (offset, bytes, name) of what a disk without a partition table may be as a whole
    (0, b"LUKS\xba\xbe", "LUKS"),
    *((0, b"XFSB", "XFS"), (1080, b"\x53\xef", "ext2, ext3 or ext4"), (0x8000, b"JFS1", "JFS"), (0x10040, b"_BHRfS_M", "btrfs")),
    *((at, b"ReIsEr", "ReiserFS") for at in (0x2034, 0x10034)),
    *((at, magic, "swap") for at in (4086, 8182, 16374, 65526) for magic in (b"SWAPSPACE2", b"SWAP-SPACE")),
    *((at, b"LABELONE", "") for at in (0, 512, 1024, 1536)),
)
_UNPACK, _OTHER, _RIGHT = (
    "unpack it ({}), and name the disk that comes out",
    "this version prepares no other system than Linux",
    "see whether the guest's Xen configuration names the right disk",
)
_NO_DISK = (  # (offset, bytes, name, what to do) of what is no disk of a guest, or none of Linux
    (0, b"\x1f\x8b", "a file packed by gzip", _UNPACK.format("gunzip")),
    (0, b"BZh", "a file packed by bzip2", _UNPACK.format("bunzip2")),
    (0, b"\xfd7zXZ\0", "a file packed by xz", _UNPACK.format("unxz")),
    (0, b"\x28\xb5\x2f\xfd", "a file packed by zstd", _UNPACK.format("unzstd")),
    (0, b"\x89LZO\0", "a file packed by lzop", _UNPACK.format("lzop -d")),
    (0, b"PK\x03\x04", "an archive of zip", _UNPACK.format("unzip")),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", _UNPACK.format("7z x")),
    (257, b"ustar", "an archive of tar, perhaps an OVA or XVA", _UNPACK.format("tar -x")),
    (0, b"partclone-image", "an image of partclone", _UNPACK.format("partclone.restore")),
    (0x8001, b"CD001", "a CD or DVD (ISO 9660)", _RIGHT),
    (0, b"hsqs", "a file system of squashfs", _RIGHT),
    *((at + 1372, b"\x19\x01\x54\x19", "a file system of BSD (UFS2)", _OTHER) for at in (0x2000, 0x10000)),
    (512, _LABEL, "BSD's own list of partitions", _OTHER),
    (3, b"NTFS    ", "a file system of Windows (NTFS)", _OTHER),
)
WHOLE = 1 << 17  # bytes: as much as these need
HEAD = 1 << 16  # bytes: as much of a disk's beginning as is looked at
_MAGIC = (  # (offset, bytes that begin such an image, its format): what any program here or on a VMware host would take
    (0, b"QFI\xfb", "qcow or qcow2"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK (ESX)"),
    (0, b"\xbe\xba\xfe\xca\0\0\0\0", "VMDK (SESparse)"),
    (0, b"conectix", "VHD"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"QED\0", "QED"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (0, b"Bochs Virtual HD Image", "Bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format", "cloop"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"ova.xml\0", "XVA"),
)
_FOOTERS = ((b"conectix", "VHD"), (b"koly", "DMG"))
# A descriptor of VMDK is text that names other files. VMware begins it with a comment of its own; QEMU takes any comments and
# blank lines before the first statement. Both, in any case and behind anything that is no word.
_DESCRIPTOR = re.compile(
    rb"#[^\w\r\n]{0,99}Disk DescriptorFile"
    rb"|(?:^|[\r\n])[^\w#\r\n]*(?:(?:version|createType|parentFileNameHint)[ \t]*=|(?:RW|RDONLY|NOACCESS)[ \t]+\d+[ \t])",
    re.IGNORECASE,
)


class DiskFacts(Frozen):
    """What a disk is, without looking at its file systems."""

    path: str  # absolute
    kind: Literal["file", "block device"]
    bytes: int
    allocated_bytes: int  # what a sparse file really takes; the same as `bytes` for a device
    mtime_ns: int
    table: Literal["mbr", "gpt", "none"]
    boot_loader: BootLoader  # by the code in the first sector; uefi where there is none, and an EFI system partition
    system: str = ""  # that its partitions are of, where that is not Linux: FreeBSD
    sector_bytes: int = 512  # that its partition table counts in; VMware's disks have no others than 512


def facts(path: Path) -> DiskFacts:
    """Look at a raw disk; `BadInput` says what is wrong with it.

    A guest's root user writes the first sector, so a raw disk may carry the header of another format that names files of
    this machine. We tell formats by ourselves: a program that detects them opens what the header names.
    """
    path = path.absolute()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            device = stat.S_ISBLK(status.st_mode)
            if not device and not stat.S_ISREG(status.st_mode):
                raise BadInput(
                    _problem(
                        code="disk-image-not-a-file",
                        what="the disk image is no image",
                        path=path,
                        found="a folder" if stat.S_ISDIR(status.st_mode) else "neither file nor block device",
                        expected="a regular file or a block device",
                    )
                )
            size = os.lseek(fd, 0, os.SEEK_END)
            if size == 0:
                raise BadInput(
                    _problem(
                        code="disk-image-empty",
                        what="the disk image is empty",
                        path=path,
                        found="0 bytes",
                        expected="a whole raw disk",
                    )
                )
            if size % SECTOR:
                raise BadInput(
                    _problem(
                        code="disk-image-of-odd-size",
                        what="the disk image is cut off",
                        path=path,
                        found=f"{size:,} bytes",
                        expected="a multiple of 512 bytes",
                    )
                )
            head, end = os.pread(fd, HEAD, 0), os.pread(fd, SECTOR, size - SECTOR)
            sector_bytes = counted_in(head, lambda offset: os.pread(fd, HEAD + LARGE, offset))
        finally:
            os.close(fd)
    except OSError as e:
        raise BadInput(
            _problem(
                code="disk-image-unreadable",
                what="the disk image cannot be read",
                path=path,
                found=e.strerror or str(e),
                expected="a raw disk image",
            )
        ) from None
    if other := foreign(head, end):
        raise BadInput(
            Problem(
                code="disk-image-header-of-another-format",
                what="the disk image carries the header of another format",
                where=str(path),
                found=f"a header of {other}",
                expected="a raw disk: boot sector and partitions",
                remedy="if it is really an image of that format, say so: format=qcow2 or format=vhd in the guest's Xen "
                "configuration, --format for `hikkoshi convert`; any other, convert to raw with qemu-img and an explicit -f. If "
                "the guest is known to use a raw disk, somebody inside it wrote that header, possibly to make this machine read "
                "files of its own: do not open it with anything that detects formats, and ask the guest's owner",
            )
        )
    return DiskFacts(
        path=str(path),
        kind="block device" if device else "file",
        bytes=size,
        allocated_bytes=size if device else status.st_blocks * SECTOR,
        mtime_ns=status.st_mtime_ns,
        table=table(head),
        boot_loader=boot_loader(head),
        system=system(head),
        sector_bytes=sector_bytes,
    )


def together(found: Sequence[DiskFacts]) -> DiskFacts:
    """Of the disks of a guest, and of partitions that Xen gives it as disks of their own; of one whole disk, that disk's."""
    if len(found) == 1:
        return found[0]
    return found[0].model_copy(
        update={
            "path": ", ".join(f.path for f in found),
            "kind": next((f.kind for f in found if f.kind != "file"), "file"),
            "bytes": sum(f.bytes for f in found),
            "allocated_bytes": sum(f.allocated_bytes for f in found),
            "mtime_ns": max((f.mtime_ns for f in found if f.kind == "file"), default=0),
        }
    )


def foreign(head: bytes, end: bytes) -> str:
    """Name of the other format that a disk's beginning or its last sector claims to be; empty for a raw disk."""
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if _DESCRIPTOR.search(head[:HEAD].split(b"\0", 1)[0]):
        return "VMDK descriptor"
    return next((name for magic, name in _FOOTERS if end.startswith(magic)), "")


def without_table(head: bytes) -> tuple[str, tuple[str, str] | None]:
    """What a disk without a partition table is, by its first `WHOLE` bytes: a file system or volume that a guest may have as a
    disk; or something else, with what to do."""
    for at, magic, name in _BARE:
        if head[at : at + len(magic)] == magic:
            return f"a file system without partitions: {name}" if name else "an LVM volume", None
    return "", next((told[2:] for told in _NO_DISK if head[told[0] : told[0] + len(told[1])] == told[1]), None)


def table(head: bytes) -> Literal["mbr", "gpt", "none"]:
    """Kind of partition table in the first two sectors. A file system that covers the whole disk has none."""
    if b"EFI PART" in (head[SECTOR : SECTOR + 8], head[LARGE : LARGE + 8]):
        return "gpt"
    entries = _entries(head)
    plausible = all(e[0] in (0, 0x80) for e in entries if len(e) == 16)
    if head[510:512] == b"\x55\xaa" and plausible and any(e[4] and any(e[12:16]) for e in entries):
        return "mbr"
    return "none"


def counted_in(head: bytes, read: Callable[[int], bytes]) -> int:
    """Bytes of a sector, by the disk's beginning and what `read` gives from any other place: 512, or 4096.

    A GPT stands in the second sector. An MBR does not tell; what begins at its partitions does.
    """
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        return SECTOR
    if head[LARGE : LARGE + 8] == b"EFI PART":
        return LARGE
    firsts = [int.from_bytes(e[8:12], "little") for e in _entries(head) if table(head) == "mbr" and e[4] not in (0, GPT)]
    here = sum(_begins(read(n * SECTOR)) for n in firsts if n)
    there = sum(_begins(read(n * LARGE)) for n in firsts if n)
    return LARGE if there > here else SECTOR


def _entries(head: bytes) -> list[bytes]:
    return [head[o : o + 16] for o in range(446, 510, 16)]


def _begins(content: bytes) -> bool:
    """Whether a file system, a swap, a volume of LVM, or a list of logical partitions begins here."""
    return any(content[at : at + len(magic)] == magic for at, magic in _BEGINNINGS)


def bare(path: Path) -> Literal["swap", "volume", ""]:
    """Whether a disk without a table is one swap, or one file system or volume of LVM; empty for all else, and where it cannot
    be read."""
    try:
        with path.open("rb") as f:
            head = f.read(WHOLE)
    except OSError:
        return ""
    if table(head) != "none" or boot_loader(head) in ("grub-legacy", "grub2", "extlinux"):
        return ""
    found, _ = without_table(head)
    return "swap" if found.endswith(": swap") else "volume" if found else ""


def system(head: bytes) -> str:
    """The system that a disk's partitions are of, by their types; empty for Linux, and where they do not tell."""
    if (kinds := _kinds(head)) & _LINUX:
        return ""
    if table(head) == "none" and head[SECTOR : SECTOR + 4] == _LABEL:
        return "BSD"
    return next((name for kind, name in _SYSTEMS.items() if kind in kinds), "")


def _kinds(head: bytes) -> set[object]:
    """The types of the partitions."""
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        start = int.from_bytes(head[SECTOR + 72 : SECTOR + 80], "little") * SECTOR
        return {uuid.UUID(bytes_le=head[n : n + 16]) for n in range(start, min(start + 16384, len(head) - 16), 128)}
    return {e[4] for e in _entries(head)} if table(head) == "mbr" else set()


def boot_loader(head: bytes) -> BootLoader:
    """Boot loader by the code in the first sector: both GRUBs hold the word GRUB, and begin with different jumps.

    Without code a disk starts by UEFI where it has an EFI system partition; for that `head` has to hold the list of partitions.
    """
    code = head[:440]
    if not any(code):
        return "uefi" if _kinds(head) & {ESP, MBR_ESP} else "none"
    if b"GRUB" in code:
        return "grub-legacy" if code[:2] == b"\xeb\x48" else "grub2"
    if b"Operating system load error." in code:
        return "extlinux"
    return "unknown"


def _problem(*, code: str, what: str, path: Path, found: str, expected: str) -> Problem:
    return Problem(
        code=code,
        what=what,
        where=str(path),
        found=found,
        expected=expected,
        remedy="see whether the guest's Xen configuration names the right disk",
    )
