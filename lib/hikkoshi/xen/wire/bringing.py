"""A guest's disks come from its Dom-0 over ssh, whether it is off or runs."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError, Refused
from hikkoshi.params import identity
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.xen import dom0
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.reach.kinds import asked
from hikkoshi.xen.wire import pausing, reading, snapshots


@dataclass(frozen=True)
class Brought:
    """How the disks were read: whether the guest ran, and for how many seconds it was paused for that."""

    running: bool = False
    paused: float = 0.0


def checks(home: Home, site: Site, guest: Guest, disks: Iterable[XenDisk]) -> list[Check]:
    """Whether there is room here for what has to come; nothing where that cannot be asked, which `bring` tells."""
    if (dom := site.dom0s[guest.dom0]).kind != "ssh":
        return []
    with suppress(HikkoshiError):
        wanted = reading.wanted(home.folder(guest.name), dom, disks)
        return [reading.room(wanted, [one.place.standing() for one in wanted])]
    return []


def bring(home: Home, site: Site, guest: Guest, disks: Iterable[XenDisk], run: str, progress: Progress = silent) -> Brought:
    """Read these disks from a Dom-0 over ssh; nothing to do for any other.

    Of a guest that runs they are read from snapshots, whose names hold the `run`; or while it is paused, where its parameters
    say so. Else `Refused`. What a killed run has left on the Dom-0 is undone first.
    """
    if (dom := site.dom0s[guest.dom0]).kind != "ssh":
        return Brought()
    host, mark = asked(dom), f"hikkoshi-{identity.of(home.outputs)[:8]}"
    folder = home.folder(guest.name)
    wanted = reading.wanted(folder, dom, disks)
    pausing.release(host, folder.sources)
    snapshots.sweep(host, wanted, mark)
    if off := dom0.source_off(home, site, guest):
        reading.bring(wanted, progress)
        return Brought()
    if not dom0.source_runs(home, site, guest):
        raise Refused(off.problem())
    if guest.pause and not snapshots.possible(host, wanted):
        with pausing.paused(host, guest.name, folder.sources) as pause:
            reading.bring(wanted, pause.told(progress))
        return Brought(running=True, paused=pause.seconds)
    with snapshots.taken(host, wanted, mark, run) as moments:
        reading.bring(moments, progress)
    return Brought(running=True)
