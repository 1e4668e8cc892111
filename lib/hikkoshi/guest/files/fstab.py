"""/etc/fstab: which device is mounted where."""

import re

from hikkoshi.guest import device
from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import text

# of a disk, and no name that the system gives: /dev/cciss/c0d0p1, /dev/emcpowera1
_DEVICE = re.compile(
    r"/dev/(?!(?:fd|sr|scd|md|loop|ram|zram)\d|root\b|mapper/|cd\w*|dvd\w*|floppy|md[_/]|disk/by-|shm|pts)\S|ID="
)
_OPTION = re.compile(r"(?<=[a-z]=)/dev/[^\s,]+")  # another device of the file system: device=, logdev=, journal_path=, jdev=
_FIRST_FIELD = re.compile(r"\s*\S+")


def prepared(fstab: str, disk: Disk = UNKNOWN) -> str:
    """The table with the disks' new names; labels, UUIDs, LVM names, blanks and comments stay, and so does a drive for CDs."""

    def change(body: str) -> str:
        first = _FIRST_FIELD.match(body)
        if first is None or first[0].lstrip().startswith("#"):
            return body
        root = body.split()[1:2] == ["/"]
        whole = not first[0][-1].isdigit()
        if not root and ((device.optical(body) and whole) or (disk.is_whole(first[0].strip()) and disk.partitions)):
            return body  # a CD, or what cannot be mounted
        own = re.match(r"[\"']?(?:/+dev/|ID=)", first[0].lstrip())  # else of another machine: nas:/dev/xvda1
        options = _OPTION.sub(lambda match: disk.renamed(match[0]), body[first.end() :])
        return (disk.lasting(disk.renamed(first[0], root=root)) if own else first[0]) + options

    return text.edit(fstab, change)


def mounts(fstab: str) -> list[tuple[str, str]]:
    """`(device as written, mount point)` of every line, swap included with mount point 'swap'."""
    rows = [row for row in _rows(fstab) if len(row) > 1]
    return [(row[0], "swap" if row[2:3] == ["swap"] else row[1]) for row in rows]


def by_hand(fstab: str) -> set[str]:
    """The mount points of lines that mount nothing at a start: `noauto`, or only at the first use."""
    late = {"noauto", "x-systemd.automount"}
    return {row[1] for row in _rows(fstab) if len(row) > 3 and late & set(row[3].split(","))}


def odd(fstab: str) -> list[str]:
    """The lines that mount nothing, since a field is missing, or one too many before the place."""
    return [" ".join(row) for row in _rows(fstab) if len(row) < 3 or not row[1].startswith(("/", "none", "swap"))]


def unknown(fstab: str, disk: Disk) -> list[str]:
    """The lines that mount a device that is none of this disk's, and that nobody else tells: another disk's, or an old name."""
    return [
        " ".join(row)
        for row in _rows(fstab)
        if (disk.lacks(row[0]) or (_DEVICE.match(row[0]) and disk.partition(row[0]) is None))
        and not device.optical(" ".join(row))
    ]


def _rows(fstab: str) -> list[list[str]]:
    return [line.split() for line in text.lines(fstab) if line.strip() and not line.lstrip().startswith("#")]
