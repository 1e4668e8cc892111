"""A guest as it runs: what the toolstack's list and xenstore tell of it now, in the form of a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from hikkoshi.errors import ToolFailed
from hikkoshi.xen import domains
from hikkoshi.xen.config import XenGuest, parse
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.live.stored import StoredDomain
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.vifs import Vif


@dataclass(frozen=True)
class RunningGuest:
    """A guest that runs, by the ID of its domain. `unsure` says why devices may be missing that it was given since it started."""

    id: int
    now: XenGuest
    unsure: str = ""


def running(host: Dom0Host, names: frozenset[str]) -> RunningGuest | None:
    """The guest with one of these names as it runs; None for one that is off or ends.

    `ToolFailed`, `BadInput` or `ValueError` where the Dom-0 does not tell, or tells what cannot be.
    """
    stack = host.toolstack()
    there = [d for d in domains.listed(host.run([stack, "list"], timeout=PATIENCE)) if d.name in names and not d.ending]
    if len(there) > 1:
        raise ValueError(f"{len(there)} domains: {', '.join(map(str, there))}")
    if not there:
        return None
    number = there[0].id
    listed = parse(host.run([stack, "list", "-l", str(number)], timeout=PATIENCE), f"{stack} list -l {number}")
    if listed.name not in names:
        raise ValueError(f"{stack} list -l {number} tells of {listed.name}, not of {there[0].name}")
    try:
        stored = StoredDomain.of(host.run(["xenstore-ls", "-f"], timeout=PATIENCE), number)
    except (ToolFailed, ValueError) as e:
        why = f"{e.problems[0].what}: {e.problems[0].found}" if isinstance(e, ToolFailed) else str(e)
        return RunningGuest(number, listed, unsure="" if stack == "xm" else why)  # xend's list has what was attached since
    return RunningGuest(number, together(listed, stored))


def together(listed: XenGuest, stored: StoredDomain) -> XenGuest:
    """What either tells. Of devices the store knows which are there, if it tells of any; of what each is, the list says more."""
    memory = stored.memory_mb if stored.memory_mb and not stored.screen_mb else listed.memory_mb
    known = {d.vdev: d for d in listed.disks}
    changed: dict[str, object] = {
        "memory_mb": memory,
        "maxmem_mb": max(memory, listed.maxmem_mb),
        "vcpus": stored.vcpus or listed.vcpus,
        "disks": tuple(_fuller(known.get(d.vdev), d) for d in stored.disks) or listed.disks,
        "vifs": _vifs(listed.vifs, stored),
    }
    return listed.model_copy(update=changed)


def _fuller(listed: XenDisk | None, stored: XenDisk) -> XenDisk:
    same = listed is not None and (listed.target == stored.target or bool(listed.script))
    return listed if listed and same else stored


def _vifs(listed: Sequence[Vif], stored: StoredDomain) -> tuple[Vif, ...]:
    known = {v.mac: v for v in listed}
    found = [(known.get(mac, Vif(mac=mac)), at) for _, (mac, at) in sorted(stored.vifs.items())]
    return tuple(v.model_copy(update={"bridge": at or v.bridge}) for v, at in found) or tuple(listed)
