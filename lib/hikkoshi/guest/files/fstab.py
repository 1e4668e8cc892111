"""/etc/fstab: which device is mounted where."""

import re

from hikkoshi.guest import device
from hikkoshi.guest.files import text

_FIRST_FIELD = re.compile(r"\s*\S+")


def prepared(fstab: str) -> str:
    """The table with the disks' new names; labels, UUIDs, LVM names, blanks and comments stay."""

    def change(body: str) -> str:
        first = _FIRST_FIELD.match(body)
        if first is None or first[0].lstrip().startswith("#"):
            return body
        return device.renamed(first[0]) + body[first.end() :]

    return text.edit(fstab, change)


def mounts(fstab: str) -> list[tuple[str, str]]:
    """`(device as written, mount point)` of every line, swap included with mount point 'swap'."""
    rows = [line.split() for line in text.lines(fstab) if line.strip() and not line.lstrip().startswith("#")]
    return [(row[0], row[1]) for row in rows if len(row) > 1]
