"""/etc/fstab: which device is mounted where."""

import re

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import text

_FIRST_FIELD = re.compile(r"\s*\S+")


def prepared(fstab: str, disk: Disk = UNKNOWN) -> str:
    """The table with the disks' new names; labels, UUIDs, LVM names, blanks and comments stay."""

    def change(body: str) -> str:
        first = _FIRST_FIELD.match(body)
        if first is None or first[0].lstrip().startswith("#"):
            return body
        root = body.split()[1:2] == ["/"]
        options = re.sub(r"(?<=journal_dev=)\S+|(?<=logdev=)[^\s,]+", lambda m: disk.renamed(m[0]), body[first.end() :])
        return disk.renamed(first[0], root=root) + options

    return text.edit(fstab, change)


def mounts(fstab: str) -> list[tuple[str, str]]:
    """`(device as written, mount point)` of every line, swap included with mount point 'swap'."""
    rows = [row for row in _rows(fstab) if len(row) > 1]
    return [(row[0], "swap" if row[2:3] == ["swap"] else row[1]) for row in rows]


def odd(fstab: str) -> list[str]:
    """The lines that mount nothing, since a field is missing, or one too many before the place."""
    return [" ".join(row) for row in _rows(fstab) if len(row) < 3 or not row[1].startswith(("/", "none", "swap"))]


def _rows(fstab: str) -> list[list[str]]:
    return [line.split() for line in text.lines(fstab) if line.strip() and not line.lstrip().startswith("#")]
