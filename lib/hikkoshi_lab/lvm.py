"""An LVM2 physical volume with linear logical volumes, written into a file without LVM, and the same bits every time.

After lvm2's lib/label/label.h (label), lib/format_text/layout.h (physical volume and metadata area) and the text that
`vgcfgbackup` writes; one metadata area, as anaconda of CentOS 5 left it.
"""

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR = 512
EXTENT = 32 << 20  # bytes; what anaconda of CentOS 5 took
START = 384 * SECTOR  # where the first extent begins
_AREA = 8 * SECTOR  # where the metadata area begins
_MAGIC = b" LVM2 x[5A%r0N*>"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Volume:
    """One linear logical volume."""

    name: str
    extents: int


def head(group: str, volumes: Sequence[Volume], size: int, seed: uuid.UUID, device: str) -> bytes:
    """What stands before the first extent of a physical volume of `size` bytes; the volumes follow each other from there.

    `device` is what the guest called it. All identifiers come from `seed`.
    """
    text = _metadata(group, volumes, size, seed, device).encode() + b"\0"
    area = START - _AREA
    location = struct.pack("<QQII", SECTOR, len(text), _crc(text), 0)
    header = struct.pack("<16sIQQ", _MAGIC, 1, _AREA, area) + location
    header = header.ljust(SECTOR - 4, b"\0")
    metadata = struct.pack("<I", _crc(header)) + header + text
    areas = struct.pack("<QQQQ", START, 0, 0, 0) + struct.pack("<QQQQ", _AREA, area, 0, 0)
    volume = identity(seed, "pv").replace("-", "").encode() + struct.pack("<Q", size) + areas
    labelled = (struct.pack("<I8s", 32, b"LVM2 001") + volume).ljust(SECTOR - 20, b"\0")
    label = b"LABELONE" + struct.pack("<QI", 1, _crc(labelled)) + labelled
    return (bytes(SECTOR) + label).ljust(_AREA, b"\0") + metadata.ljust(area, b"\0")


def offsets(volumes: Sequence[Volume]) -> list[int]:
    """Where each volume begins on the physical volume, in bytes."""
    return [START + sum(v.extents for v in volumes[:n]) * EXTENT for n in range(len(volumes))]


def identity(seed: uuid.UUID, name: str) -> str:
    """An identifier in LVM's form: 32 letters and digits, with hyphens."""
    number, letters = uuid.uuid5(seed, name).int << 64 | uuid.uuid5(seed, name + "+").int >> 64, ""
    for _ in range(32):
        number, rest = divmod(number, len(_DIGITS))
        letters += _DIGITS[rest]
    groups = (6, 4, 4, 4, 4, 4, 6)
    return "-".join(letters[sum(groups[:n]) : sum(groups[: n + 1])] for n in range(7))


def _metadata(group: str, volumes: Sequence[Volume], size: int, seed: uuid.UUID, device: str) -> str:
    count = (size - START) // EXTENT
    out = [
        f'{group} {{\nid = "{identity(seed, "vg")}"\nseqno = 1\nstatus = ["RESIZEABLE", "READ", "WRITE"]',
        f"flags = []\nextent_size = {EXTENT // SECTOR}\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n",
        f'physical_volumes {{\n\npv0 {{\nid = "{identity(seed, "pv")}"\ndevice = "{device}"\n',
        f'status = ["ALLOCATABLE"]\nflags = []\ndev_size = {size // SECTOR}',
        f"pe_start = {START // SECTOR}\npe_count = {count}\n}}\n}}\n",
        "logical_volumes {\n",
    ]
    at = 0
    for volume in volumes:
        out += [
            f'{volume.name} {{\nid = "{identity(seed, volume.name)}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []',
            "segment_count = 1\n\nsegment1 {\nstart_extent = 0",
            f'extent_count = {volume.extents}\n\ntype = "striped"\nstripe_count = 1\n',
            f'stripes = [\n"pv0", {at}\n]\n}}\n}}\n',
        ]
        at += volume.extents
    out += ['}\n}\ncontents = "Text Format Volume Group"\nversion = 1\n', 'description = ""\n']
    return "\n".join(out) + "\n"


def _crc(data: bytes) -> int:
    """LVM's checksum: CRC-32 with a start value of its own and no final inversion."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
