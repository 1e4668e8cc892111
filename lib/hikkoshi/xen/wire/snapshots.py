"""Snapshots of LVM volumes of a guest that runs: each is ours, is read in the volume's place, and is removed again, always.

What it holds is what a power cut would have left: the guest's file systems have to be mended by their journals. It has room
for a part of the volume; when the guest has written more than that, it holds nothing any more. The Dom-0 removes it by itself
when it has not heard of us for some minutes. One that stays all the same is known by its name, which begins with who this site
folder is, and is removed by the next run. See lvcreate(8), `--snapshot`.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from hikkoshi.disk.standing import Standing
from hikkoshi.errors import HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.files import human
from hikkoshi.xen.live import backing
from hikkoshi.xen.live.backing import Backing
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.wire.place import DiskPlace, not_understood
from hikkoshi.xen.wire.reading import Wanted
from hikkoshi.xen.wire.watcher import Watcher

SHARE, LEAST = 0.2, 0.05  # of the volume: the room of a snapshot, and what is refused below
LEASE = 600.0  # seconds until the Dom-0 removes one by itself: the network may be cut for as long
TRIES = 3  # to remove one: a program of the Dom-0 may be looking at it
FOLDER = "/dev"  # of the Dom-0, where VG/LV is
# else LVM starts dmeventd to watch each snapshot, which then stays on the Dom-0
UNWATCHED = ("--config", "activation { monitoring = 0 }")


@dataclass(frozen=True)
class VolumeSnapshot:
    """One that is there: VG/NAME of the volume VG/LV."""

    host: Dom0Host
    name: str
    place: DiskPlace
    before: Standing

    def whole(self) -> None:
        """As in `StillDisk`: `StepFailed` where it is full."""
        argv = ["lvs", "--noheadings", "--nosuffix", "--separator", "|", "-o", "lv_attr,snap_percent", self.name]
        said = self.host.run(argv, timeout=PATIENCE).strip()
        attributes, _, used = said.partition("|")
        if attributes[4:5] != "a" or not re.fullmatch(r"\d+(\.\d+)?", used) or float(used) >= 100:
            raise StepFailed(
                Problem(
                    code="snapshot-full",
                    what="the snapshot became full: the guest has written more than it has room for",
                    where=self.place.url,
                    found=said,
                    expected="a snapshot that is active, with room left",
                    remedy="read it at a quieter time, or shut the guest down; or make room in the volume group",
                )
            )


def _refuse_others(wanted: Sequence[Wanted], behind: Sequence[Backing]) -> None:
    """Raise `Refused` with all that are no LVM volumes, and so are not read while the guest runs."""
    if other := [
        Problem(
            code="running-guest-not-on-lvm",
            what="the guest runs, and no snapshot can be made of its disk",
            where=one.place.url,
            found=str(found),
            expected="an LVM volume, or a guest that is off",
            remedy="shut the guest down; then run this again. Where it may stand still for as long as its disks are read, write "
            "pause: true into its parameters",
        )
        for one, found in zip(wanted, behind, strict=True)
        if not found.volume
    ]:
        raise Refused(*other)


def backings(host: Dom0Host, wanted: Sequence[Wanted]) -> list[Backing]:
    """What stands behind each disk."""
    try:
        return backing.of(host, [one.place.path for one in wanted])
    except ValueError as e:
        login = wanted[0].place.login
        raise not_understood(login, login.host, str(e), "what each disk is there") from None


@contextmanager
def taken(host: Dom0Host, wanted: Sequence[Wanted], behind: Sequence[Backing], name: str) -> Iterator[list[Wanted]]:
    """The same disks, each read from a snapshot that is made now, and removed at the end; `name` begins what they are called.

    They go by one command: who is interrupted has little time for it, and the Dom-0 ends what it has begun. `Refused` where a
    disk is no LVM volume, or has no room for a snapshot.
    """
    _refuse_others(wanted, behind)
    ours = [f"{v.volume.partition('/')[0]}/{name}-{one.image.stem}" for one, v in zip(wanted, behind, strict=True)]
    made: dict[str, Wanted] = {}
    with Watcher(host, _removing(ours), LEASE) as watcher:
        try:
            for one, volume, own in sorted(zip(wanted, behind, ours, strict=True), key=lambda disk: disk[1].bytes):
                now = backings(host, [one])[0] if made else volume  # what the smaller ones have left free
                made[own] = replace(one, moment=_made(host, one, now, own))
            yield [made[own] for own in ours]
        except BaseException as e:
            try:
                remove(host, ours)
            except HikkoshiError as failed:
                if isinstance(e, HikkoshiError):
                    raise type(e)(*e.problems, *failed.problems) from None
            else:
                watcher.end()
            raise
        remove(host, ours)
        watcher.end()


def _made(host: Dom0Host, one: Wanted, volume: Backing, own: str) -> VolumeSnapshot:
    group, before = volume.volume.partition("/")[0], one.place.standing()
    free = volume.free or 0
    room = min(int(before.bytes * SHARE), free)
    if room < before.bytes * LEAST:
        raise Refused(
            Problem(
                code="no-room-for-snapshot",
                what="the volume group has no room for a snapshot",
                where=one.place.url,
                found=f"{human(free)} free in {group}",
                expected=f"{human(before.bytes * LEAST)} at least, better {human(before.bytes * SHARE)}",
                remedy="make room in the volume group, or shut the guest down; then run this again",
            )
        )
    argv = ["lvcreate", *UNWATCHED, "-s", "-p", "r", "-n", own.partition("/")[2], "-L", f"{room >> 10}k", volume.volume]
    host.run(argv, timeout=PATIENCE, acts=True)
    return VolumeSnapshot(host, own, DiskPlace(one.place.url, f"{FOLDER}/{own}", one.place.login), before)


def left(host: Dom0Host, mark: str, found: Sequence[Backing]) -> list[str]:
    """VG/NAME of each snapshot of these volumes whose name begins with `mark`."""
    ours = {behind.volume for behind in found if behind.volume}
    if not ours:
        return []
    return [f"{vg}/{lv}" for vg, lv, origin in _volumes(host) if lv.startswith(mark) and f"{vg}/{origin}" in ours]


def remove(host: Dom0Host, names: Sequence[str]) -> None:
    """Remove these snapshots, as far as they are there; `StepFailed` where one stays."""
    for n in range(TRIES):
        if not names:
            return
        time.sleep(min(n, 1))
        try:
            host.run(_removing(names), timeout=PATIENCE, acts=True)
            return
        except ToolFailed as e:
            failed = e.problems[0].found
        with suppress(ToolFailed):
            there = {f"{vg}/{lv}" for vg, lv, _ in _volumes(host)}
            names = [name for name in names if name in there]
    if names:
        typed = f"lvremove -f {' '.join(names)}"
        raise StepFailed(
            Problem(
                code="snapshot-stays",
                what="a snapshot of ours could not be removed from the Dom-0",
                where=", ".join(names),
                found=failed,
                expected="no snapshot: it slows the guest down, and fills",
                remedy=f"type there: {typed}. The next survey of the guest tries it again, too",
            )
        )


def _removing(names: Sequence[str]) -> list[str]:
    return ["lvremove", *UNWATCHED, "-f", *names]


def _volumes(host: Dom0Host) -> list[tuple[str, str, str]]:
    """(group, name, name of its origin) of all that LVM has there."""
    said = host.run(["lvs", "--noheadings", "--separator", "|", "-o", "vg_name,lv_name,origin"], timeout=PATIENCE)
    rows = [line.strip().split("|") for line in said.splitlines()]
    return [(r[0], r[1], r[2].strip("[]")) for r in rows if len(r) == 3]
