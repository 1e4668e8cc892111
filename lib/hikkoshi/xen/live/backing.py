"""What each disk of a guest really is on its Dom-0: a file, an LVM volume, a loop device, DRBD; and the space beside it.

By numbers of drivers, which /proc/devices names, and by device-mapper's own names, in which LVM doubles a hyphen
(lvm2, lib/misc/lvm-string.c). `df -P` is POSIX's. Free space of a volume group is what a snapshot of a volume could take.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.files import human
from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.reach.kinds import asked
from hikkoshi.xen.root import read_from

_SCRIPT = """\
back() {
  q=`readlink -f "$2"`; n=; b=; f=
  if test -f "$q"; then
    echo "@disk $1 file `stat -c %s "$q"` 0 -"
    echo "@free $1 `df -P -k "$q" | tail -n 1`"
  elif test -b "$q"; then
    set -- $1 `stat -c '%t %T' "$q"`
    n=`dmsetup info -c --noheadings --separator ' ' -o name,uuid -j $((0x$2)) -m $((0x$3)) 2>/dev/null`
    test -n "$n" || n=`cat /sys/block/dm-$((0x$3))/dm/name /sys/block/dm-$((0x$3))/dm/uuid 2>/dev/null | tr '\\n' ' '`
    echo "@disk $1 device `blockdev --getsize64 "$q"` $((0x$2)) ${n:--}"
    b=`cat /sys/block/${q##*/}/loop/backing_file 2>/dev/null` || { b=`losetup "$q" 2>/dev/null`; b=${b##*\\(}; b=${b%)*}; }
    test -z "$b" || echo "@behind $1 $b"
  elif test -e "$q"; then echo "@disk $1 other 0 0 -"
  else echo "@disk $1 nothing 0 0 -"
  fi
}
"""
_END = """
vgs --noheadings --units b --nosuffix --separator ' ' -o vg_name,vg_free 2>/dev/null |
while read v f; do echo "@group $v $f"; done
cat /proc/devices
true
"""
_DRIVERS = {"device-mapper": "device-mapper", "loop": "a loop device", "drbd": "DRBD", "md": "a RAID of Linux'"}


@dataclass(frozen=True)
class Backing:
    """What stands behind one disk. `volume`: VG/LV of LVM; `behind`: the file of a loop device; `free`: bytes beside it."""

    kind: str  # file, device, other, nothing
    bytes: int = 0
    driver: str = ""
    volume: str = ""
    name: str = ""  # device-mapper's
    behind: str = ""
    free: int | None = None
    place: str = ""  # the file system's place, or the volume group, where that is free

    def __str__(self) -> str:
        what = {
            "file": "a file",
            "device": f"the LVM volume {self.volume}" if self.volume else f"{_DRIVERS.get(self.driver, 'a device')}",
            "other": "neither a file nor a block device",
        }.get(self.kind, "not there")
        size = f", {human(self.bytes)}" if self.bytes else ""
        inside = self.behind or ("" if self.volume else self.name)
        more = f" ({inside})" if inside else ""
        free = f"; {human(self.free)} free in {self.place}" if self.free is not None else ""
        return f"{what}{more}{size}{free}"


def script(paths: Sequence[str]) -> str:
    """The question what stands behind these."""
    return _SCRIPT + "\n".join(f"back {n} {shlex.quote(path)}" for n, path in enumerate(paths)) + _END


def of(host: Dom0Host, paths: Sequence[str]) -> list[Backing]:
    """What stands behind these, asked now; `ValueError` where the answer is none."""
    return backings(host.run(["sh", "-c", script(paths)], timeout=PATIENCE), len(paths))


def backings(text: str, count: int) -> list[Backing]:
    """What the answer says of each; `ValueError` for what is none."""
    block = text.partition("\nBlock devices:\n")[2]
    drivers = {m[1]: m[2] for m in re.finditer(r"^\s*(\d+) (\S+)$", block, re.MULTILINE)}
    groups = {m[1]: int(m[2]) for m in re.finditer(r"^@group (\S+) (\d+)$", text, re.MULTILINE)}
    behind = dict(re.findall(r"^@behind (\d+) (/.*)$", text, re.MULTILINE))
    free = {m[1]: m for m in re.finditer(r"^@free (\d+) .*?\s\d+\s+\d+\s+(\d+)\s+\d+%\s+(/.*)$", text, re.MULTILINE)}
    found: list[Backing] = []
    lines = re.findall(r"^@disk (\d+) (file|device|other|nothing) (\d+) (\d+) (\S+)(?: (\S*))?\s*$", text, re.MULTILINE)
    for number, kind, size, major, name, uuid in lines:
        if int(number) != len(found):
            raise ValueError("disks in another order than they were asked for")
        volume = "/".join(_parts(name)) if uuid.startswith("LVM-") else ""
        group = volume.partition("/")[0]
        place, left = (group, groups.get(group)) if volume else ("", None)
        if number in free:
            place, left = free[number][3], int(free[number][2]) * 1024
        called = name.strip("-")  # of a device that has none: -
        found.append(Backing(kind, int(size), drivers.get(major, ""), volume, called, behind.get(number, ""), left, place))
    if len(found) != count:
        raise ValueError(f"{len(found)} answers about {count} disks")
    return found


def _parts(name: str) -> list[str]:
    """Volume group and volume in device-mapper's name for it; nothing for what is inside one."""
    found = re.fullmatch(r"((?:[^-]|--)+)-((?:[^-]|--)+)", name)
    return [part.replace("--", "-") for part in found.groups()] if found else []


def checks(site: Site, guest: Guest) -> list[Check]:
    """What each disk is, where the Dom-0 can be asked. Never red: it is only told."""
    if site.dom0s[guest.dom0].kind == "folder":
        return []
    check = partial(Check, code="disks-told", title="what each disk is on the Dom-0", ok=True, where=guest.dom0)
    host = asked(site.dom0s[guest.dom0])
    try:
        disks = [d for d in read_from(host, guest.config).disks if not d.cdrom and not d.elsewhere]
        told = of(host, [d.target for d in disks])
    except (HikkoshiError, ValueError) as e:
        why = f"{e.problems[0].what}: {e.problems[0].found}" if isinstance(e, HikkoshiError) else str(e)
        return [check(found=f"not known: {why}", unseen="not seen")]
    found = "; ".join(f"{d.vdev}: {one}" for d, one in zip(disks, told, strict=True))
    there = all(one.kind in ("file", "device") for one in told)
    return [check(found=found or "it has none", unseen="" if there else "not seen")]
