"""A guest as it runs beside its configuration: what was changed or attached since it started, and which of both is moved.

Moved is what the configuration says, and of memory and processors what the parameters say, if they do. A disk that only the
running guest has would be left behind; so it is red, unless the guest's own configuration names it, and a copy leaves it out.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError
from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site
from hikkoshi.xen.config import XenGuest
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.live.running import RunningGuest, running
from hikkoshi.xen.reach.host import Dom0Host
from hikkoshi.xen.reach.kinds import asked
from hikkoshi.xen.root import read_from

_ROUNDED = 16  # MB: by so much Xen's tools differ among themselves, by rounding and the memory of an emulated screen


def checks(site: Site, guest: Guest) -> list[Check]:
    """What differs, a check each, where the guest's Dom-0 can be asked and the guest runs."""
    if site.dom0s[guest.dom0].kind == "folder":
        return []
    check = partial(Check, code="as-it-runs", title="the guest runs as its configuration says", ok=True, where=guest.dom0)
    host = asked(site.dom0s[guest.dom0])
    try:
        file = read_from(host, guest.config)
        found = running(host, frozenset((guest.name, file.name)))
        if found is None:
            return [check(found="it does not run: there is nothing to compare", unseen="not needed")]
        own: set[str] = set()
        if guest.start_config:
            with suppress(BadInput):  # it may be code
                whole = read_from(host, guest.start_config)
                own = {*(d.target for d in whole.disks), *(v.mac for v in whole.vifs)}
        differs = list(_Comparison(guest, file, found, own, _alike(host, file, found.now)).differences())
    except (HikkoshiError, ValueError) as e:
        why = f"{e.problems[0].what}: {e.problems[0].found}" if isinstance(e, HikkoshiError) else str(e).splitlines()[0]
        return [check(found=f"not known: {why}", unseen="not seen")]
    if found.unsure:
        differs.append(check(found=f"what was attached since its start is not known: {found.unsure}", unseen="not seen"))
    return differs or [check(found=described(found.now))]


def described(now: XenGuest) -> str:
    """`320 MB, 1 vCPU, xvda = /srv/xen/a.img, NIC 00:16:3e:00:01:01 on xenbr0`."""
    disks = (f"{d.vdev} = {d.target}" for d in now.disks if not d.cdrom)
    nics = (f"NIC {v.mac} on {v.bridge or 'no bridge'}" for v in now.vifs)
    return ", ".join((f"{now.memory_mb:,} MB", f"{now.vcpus} vCPU", *disks, *nics))


def _alike(host: Dom0Host, file: XenGuest, now: XenGuest) -> set[tuple[str, str]]:
    """Pairs of targets, of the file and of the running guest, that are the same disk by two names."""
    here, there = ({d.target for d in guest.disks if not d.cdrom} for guest in (file, now))
    if here == there:
        return set()
    marks = host.marks(here | there)
    return {(one, two) for one in here for two in there if marks[one] & marks[two]}


@dataclass(frozen=True)
class _Comparison:
    """A guest's configuration and what runs. `own` are the targets and MACs of its own one, where `config` is a copy of that.

    `alike` are pairs of targets, of the configuration and of what runs, that are the same disk.
    """

    guest: Guest
    file: XenGuest
    found: RunningGuest
    own: set[str]
    alike: set[tuple[str, str]]

    def differences(self) -> Iterator[Check]:
        """Each of them."""
        yield from self._sizes()
        yield from self._disks()
        yield from self._nics()

    def _sizes(self) -> Iterator[Check]:
        now, wish, where = self.found.now, self.guest.vm, f"params/guests/{self.guest.name}.yml"
        up_to = f", and may have up to {now.maxmem_mb:,} MB" if now.maxmem_mb > now.memory_mb + _ROUNDED else ""
        moved, said = (wish.memory_mb, "parameters") if wish.memory_mb else (self.file.memory_mb, "file")
        if abs(now.memory_mb - moved) > _ROUNDED:
            yield Check(
                code="memory-as-it-runs",
                title="the guest runs with the memory that is moved",
                ok=True,
                found=f"it runs with {now.memory_mb:,} MB{up_to}; its {said}: {moved:,} MB, WHICH IS MOVED. If what runs "
                f"is meant: vm: {{ memory_mb: {now.memory_mb} }} in {where}",
                unseen="not seen",
            )
        count, said = (wish.vcpus, "parameters") if wish.vcpus else (self.file.vcpus, "file")
        if now.vcpus != count:
            yield Check(
                code="processors-as-they-run",
                title="the guest runs with the processors that are moved",
                ok=True,
                found=f"it runs with {now.vcpus} vCPU; its {said}: {count} vCPU, WHICH IS MOVED. If what runs is meant: "
                f"vm: {{ vcpus: {now.vcpus} }} in {where}",
                unseen="not seen",
            )

    def _disks(self) -> Iterator[Check]:
        file, now = ({d.vdev: d for d in guest.disks if not d.cdrom} for guest in (self.file, self.found.now))
        for vdev, d in now.items():
            own = file.get(vdev)
            if own and (self._same(own, d) or (own.elsewhere and d.elsewhere)):  # what each tool tells in its own way
                continue
            if other := next((x.vdev for x in file.values() if self._same(x, d)), ""):
                yield self._told(
                    f"{d.target} runs as {vdev}; its file: {other}, WHICH IS MOVED. See which of them its fstab names"
                )
            elif own:
                yield self._left(f"{vdev} runs from {_target(d)}; its file: {_target(own)}", vdev)
            elif d.target not in self.own:
                yield self._left(f"{vdev} = {_target(d)} was attached while it ran: it is not in its file", vdev)
        for vdev, d in file.items():
            if vdev not in now and not any(self._same(d, x) for x in now.values()):
                yield self._told(f"{vdev} = {_target(d)} is in its file only, AND IS MOVED")

    def _same(self, file: XenDisk, now: XenDisk) -> bool:
        return file.target == now.target or (file.target, now.target) in self.alike

    def _left(self, found: str, vdev: str) -> Check:
        return Check(
            code="disk-left-behind",
            title="every disk of the running guest is moved",
            ok=False,
            found=f"{found}, and WOULD BE LEFT BEHIND",
            expected=f"every disk of the running guest in {self.guest.config}",
            remedy=f"if it belongs to the guest, write it into {self.guest.config}. If it does not, detach it: xl block-detach "
            f"{self.file.name} {vdev} (older: xm). To leave it behind on purpose, have it in the guest's own file, named as "
            "`start_config` in the parameters, and leave it out of a copy, named as `config`",
            where=self.guest.dom0,
        )

    def _told(self, found: str) -> Check:
        title = "the guest runs with the disks of its file"
        return Check(code="disks-as-they-run", title=title, ok=True, found=found, unseen="not seen", where=self.guest.dom0)

    def _nics(self) -> Iterator[Check]:
        file, now = self.file.vifs, self.found.now.vifs
        macs = {v.mac for v in file if v.mac}
        bridges: Mapping[str, str] = {v.mac: v.bridge for v in now}
        drawn = [v for v in now if v.mac not in macs | self.own]  # where the file has no MAC, or attached since
        for n, v in enumerate(file):
            if not v.mac and drawn:
                drawn.pop(0)
            elif not v.mac or v.mac not in bridges:
                yield self._nic(f"NIC {n} ({v.mac or 'without a MAC'}) is in its file only, AND IS MOVED")
            elif v.bridge and bridges[v.mac] and bridges[v.mac] != v.bridge:
                told = f"NIC {n} ({v.mac}) runs on the bridge {bridges[v.mac]}; its file: {v.bridge}"
                yield self._nic(f"{told}. The segment of its parameters IS MOVED: see that this is the right one")
        for v in drawn:
            yield self._nic(
                f"the NIC {v.mac} on {v.bridge or 'no bridge'} was attached while it ran, and is NOT MOVED. If it belongs to the "
                f"guest, write it into {self.guest.config}, and its segment into the parameters"
            )

    def _nic(self, found: str) -> Check:
        title = "the guest runs with the NICs of its file"
        return Check(code="nics-as-they-run", title=title, ok=True, found=found, unseen="not seen", where=self.guest.dom0)


def _target(disk: XenDisk) -> str:
    return disk.elsewhere or disk.target
