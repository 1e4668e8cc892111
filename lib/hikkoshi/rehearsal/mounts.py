"""Whether a rehearsed guest uses every file system and swap that its own fstab names, each from the disk that it is on."""

import re
from collections import Counter
from collections.abc import Sequence

from hikkoshi.check import Check
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.files import fstab
from hikkoshi.rehearsal.outcome import BootOutcome, Mount

_MAPPED = re.compile(r"/dev/(?!sd|md|mapper/|dm-|disk/)([^/]+)/([^/]+)")  # a logical volume by its group's name
_NUMBERED = re.compile(r"/dev/(dm-|md)\d+")  # by the kernel's own number, which nothing ties to a name


def planned(facts: GuestFacts) -> tuple[Mount, ...]:
    """What the prepared guest mounts at a start, by the device's name in the plan. It does not mount `noauto` by itself.

    One file system on several devices, as btrfs has it, is mounted by any of them: it is left out.
    """
    by_hand = fstab.by_hand(facts.texts.get("/etc/fstab", ""))
    uuids = Counter(p.uuid for p in facts.partitions)
    return tuple(
        Mount(device=p.device, point=_point(p.mountpoint))
        for p in facts.partitions
        if p.mountpoint and p.mountpoint not in by_hand and not (p.uuid and uuids[p.uuid] > 1)
    )


def fault(wanted: Mount, outcome: BootOutcome) -> str:
    """What is wrong with one of them; empty if it is as planned."""
    there = [m for m in outcome.mounts if m.point == wanted.point]
    if any(_same(wanted.device, m.device) for m in there):
        return ""
    if wanted.point == "swap":
        return "is no swap in use"
    return f"{there[-1].device} is mounted there" if there else "is not mounted"


def seen(wanted: Mount, outcome: BootOutcome) -> str:
    """What the guest's kernel called it; a dash where the guest did not use it."""
    return next((m.called for m in outcome.mounts if m.point == wanted.point and _same(wanted.device, m.device)), "–")


def check(wanted: Sequence[Mount], outcome: BootOutcome) -> Check:
    """All of them in one."""
    wrong = [f"{m.device} ({m.point}) {said}" for m in wanted if (said := fault(m, outcome))]
    return Check(
        code="file-systems-mounted",
        title="every file system and swap of its fstab is in use, from its own disk",
        ok=not wrong,
        found=f"{len(wanted) - len(wrong)}/{len(wanted)}" + (": " + "; ".join(wrong) if wrong else ""),
        expected=f"{len(wanted)}/{len(wanted)}",
        remedy="compare /etc/fstab with the survey's partitions; what the guest can start without gets `noauto` there",
    )


def _mapped(device: str) -> str:
    """A logical volume as device mapper names it, which doubles a dash; an old guest's / has the name by its group."""
    mapped = _MAPPED.fullmatch(device)
    return "/dev/mapper/" + "-".join(part.replace("-", "--") for part in mapped.groups()) if mapped else device


def _same(planned: str, seen: str) -> bool:
    planned, seen = _mapped(planned), _mapped(seen)
    number = _NUMBERED.fullmatch(seen)
    kinds = {"dm-": "/dev/mapper/", "md": "/dev/md"}
    return seen == planned or (number is not None and planned.startswith(kinds[number[1]]))


def _point(point: str) -> str:
    return point.rstrip("/") or "/"
