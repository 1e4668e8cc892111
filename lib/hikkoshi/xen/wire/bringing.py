"""A guest's disks come to here: from its Dom-0 over ssh, whether it is off or runs; and out of files of another form than raw."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.disk import expanded
from hikkoshi.disk.expanded import PackedDisk
from hikkoshi.disk.origin import Part
from hikkoshi.errors import HikkoshiError, Refused, StepFailed
from hikkoshi.params import identity
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.progress import Progress, silent
from hikkoshi.xen import dom0, root
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.reach.kinds import asked
from hikkoshi.xen.wire import pausing, reading, snapshots, watcher
from hikkoshi.xen.wire.place import url


@dataclass(frozen=True)
class Brought:
    """How the disks were read: whether the guest ran, and for how many seconds it was paused for that."""

    running: bool = False
    paused: float = 0.0


def part(home: Home, dom: Dom0, folder: GuestFolder, disk: XenDisk) -> Part:
    """Where a disk is found here, once it is brought; `BadInput` where its target is no file."""
    if dom.kind == "ssh":
        return Part(number=disk.partition, path=reading.image(folder, disk), place=url(dom, disk.target))
    file = root.disk_path(home, dom, disk.target)
    if disk.format not in expanded.FORMS:
        return Part(number=disk.partition, path=file)
    return Part(number=disk.partition, path=reading.image(folder, disk), place=str(file), form=disk.format)


def _packed(home: Home, dom: Dom0, folder: GuestFolder, disks: Iterable[XenDisk]) -> Iterator[PackedDisk]:
    for disk in disks:
        if disk.format in expanded.FORMS and (found := part(home, dom, folder, disk)).form:
            yield PackedDisk(Path(found.place), found.form, disk.vdev, found.path)


def checks(home: Home, site: Site, guest: Guest, disks: Iterable[XenDisk]) -> list[Check]:
    """Whether what has to come can be read, and there is room for it; over ssh nothing where that cannot be asked, which `bring`
    tells."""
    if (dom := site.dom0s[guest.dom0]).kind != "ssh":
        return expanded.checks(list(_packed(home, dom, home.folder(guest.name), disks)))
    with suppress(HikkoshiError):
        wanted = reading.wanted(home.folder(guest.name), dom, disks)
        return [reading.room(wanted, [one.place.standing() for one in wanted])]
    return []


def bring(home: Home, site: Site, guest: Guest, disks: Iterable[XenDisk], run: str, progress: Progress = silent) -> Brought:
    """Read these disks from a Dom-0 over ssh; of any other, write out those that are in another form than raw.

    Over ssh, those of a guest that runs are read from snapshots, whose names hold the `run`; or while it is paused, where its
    parameters say so. Else `Refused`. What a killed run has left on the Dom-0 is undone first.
    `StepFailed` where the guest starts meanwhile.
    """
    if (dom := site.dom0s[guest.dom0]).kind != "ssh":
        expanded.make(list(_packed(home, dom, home.folder(guest.name), disks)), progress)
        return Brought()
    host, mark = asked(dom), f"hikkoshi-{identity.of(home.outputs)[:8]}"
    folder = home.folder(guest.name)
    wanted = reading.wanted(folder, dom, disks)
    pausing.release(host, folder.sources)
    behind = snapshots.backings(host, wanted)
    left = snapshots.left(host, mark, behind)
    snapshots.remove(host, left)
    watcher.end(host, *(name.partition("/")[2] for name in left))  # it has nothing left to undo, and would wait ten minutes
    if off := dom0.source_off(home, site, guest):
        reading.bring(wanted, progress)
        if not (off := dom0.source_off(home, site, guest)):  # not every device tells that a guest has written to it
            raise StepFailed(off.problem())
        return Brought()
    if not dom0.source_runs(home, site, guest):
        raise Refused(off.problem())
    if guest.pause and not all(one.volume for one in behind):
        with pausing.paused(host, guest.name, folder.sources) as pause:
            reading.bring(wanted, pause.told(progress))
        return Brought(running=True, paused=pause.seconds)
    with snapshots.taken(host, wanted, behind, f"{mark}-{run}") as moments:
        reading.bring(moments, progress)
    return Brought(running=True)
