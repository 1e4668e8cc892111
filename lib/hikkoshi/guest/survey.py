"""What the guest is: its Xen configuration, its disks and its operating system, in one typed result."""

import contextlib
import hashlib
import itertools
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from hikkoshi.artefact import Artefact, unsaid
from hikkoshi.check import Check
from hikkoshi.disk import digest, expanded, source, stream
from hikkoshi.disk.origin import DiskContent, Origin, Writes, contents
from hikkoshi.disk.source import DiskFacts
from hikkoshi.errors import BadInput, HikkoshiError, Problem
from hikkoshi.guest import appliance, device, nics, traces
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.note import Note, note
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import PLAN, PREPARE, SURVEY, Step
from hikkoshi.secret import redaction
from hikkoshi.xen import autostart, behind, original, root
from hikkoshi.xen.config import XenGuest
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.live import version
from hikkoshi.xen.wire import bringing


class Survey(Artefact):
    """survey.json: everything that was found out about a guest, nothing decided yet."""

    filename: ClassVar[str] = GuestFolder.survey
    made_by: ClassVar[Step] = SURVEY
    xen: XenGuest
    origin: Origin
    disk: DiskFacts  # of all disks and partitions together
    bytes: int  # of the whole disk, as vSphere will have it; of several the sum
    digest: str  # content digest of the disk, see hikkoshi.disk.digest; of several, of their digests together
    disks: tuple[DiskContent, ...] = unsaid(())  # each of them, where there are several
    reading_seconds: float = 0  # that reading it for the digest took; 0 in earlier versions
    writes: Writes | None = None  # counted before it was read; of a device only
    guest: GuestFacts
    rules: str = ""  # SHA-256 of those by which its files were read, and secrets found in them
    left_out: tuple[str, ...] = ()  # disks and NICs that the source has, and that are not moved
    crash_consistent: bool = unsaid(False)  # read while the guest ran: as a power cut would have left it
    paused_seconds: float = unsaid(0.0)  # that the guest was paused for it
    xen_version: str = unsaid("")  # and toolstack, of its Dom-0: xl, Xen 4.17.7; empty where that could not be asked
    autostart: tuple[str, ...] = unsaid(())  # what starts it with its Dom-0: /etc/xen/auto/web01 on xenhost


def configuration(home: Home, site: Site, guest: Guest) -> XenGuest:
    """The guest's Xen configuration, parsed, never executed."""
    return root.read_config(home, site.dom0s[guest.dom0], guest.config)


def disks(xen: XenGuest) -> tuple[tuple[XenDisk, ...], ...]:
    """The guest's disks by their names: each a whole one, or all its partitions in the order of their numbers.

    Refused are a guest without a disk, a disk that is no path of the Dom-0, and a name for a whole disk and partitions too.
    """
    found = sorted((d for d in xen.disks if not d.cdrom), key=lambda d: (device.place(_whole(d)), d.partition))
    if problems := behind.elsewhere(xen):
        raise BadInput(*problems)
    nfs = xen.other.get("nfs_root")
    if not found:
        raise BadInput(
            Problem(
                code="no-disk",
                what="the guest has no disk",
                where=xen.name,
                found=f"its root is on NFS: {nfs}" if nfs else "no disk",
                expected="whole disks, such as xvda, or partitions of one, such as xvda1 and xvda2",
                remedy="a guest without a disk of its own is moved by its server of files; nothing is here to convert",
            )
        )
    groups = [tuple(group) for _, group in itertools.groupby(found, _whole)]
    if twice := [g for g in groups if len(g) != len({d.partition for d in g}) or (len(g) > 1 and not g[0].partition)]:
        raise BadInput(
            *(
                Problem(
                    code="disk-named-twice",
                    what="two disks of the guest are the same one by their names",
                    where=xen.name,
                    found=", ".join(f"{d.vdev} = {d.target}" for d in group),
                    expected="one whole disk, such as xvda, or the partitions of one, such as xvda1 and xvda2",
                    remedy=f"give each a name of its own {behind.COPY}. The guest's fstab then has to name them so, or find them "
                    "by LABEL= or UUID=",
                )
                for group in twice
            )
        )
    return tuple(groups)


def _whole(disk: XenDisk) -> str:
    """What a disk, or that around a partition, is called: xvda of xvda2."""
    return re.sub(r"p?\d+$", "", disk.vdev) if disk.partition else disk.vdev


def movable(xen: XenGuest, kind: str = "here") -> None:
    """Raise `BadInput` for a guest that cannot move from a Dom-0 of this kind, with everything that keeps it here at once."""
    problems = [*behind.refused(xen), *behind.forms(xen, kind)]
    try:
        disks(xen)
    except BadInput as e:
        problems += [p for p in e.problems if p not in problems]
    if problems:
        raise BadInput(*problems)


def notes(xen: XenGuest) -> tuple[Note, ...]:
    """What only the Xen configuration says, and somebody who approves the move has to know."""
    return tuple(note(code, **facts) for code, facts in behind.told(xen))


def origin_of(home: Home, site: Site, guest: Guest) -> Origin:
    """The image files or block devices of the guest's disks, as seen from here, in the order that vSphere will have them in.

    Of a Dom-0 over ssh these are what `hikkoshi.xen.wire` has read from there; of files of another form, what was written out.

    That is the order of their names; but what Xen starts the guest from comes first.
    A first disk that is one file system without a table becomes the first partition of a disk around it.
    """
    xen, dom, folder = configuration(home, site, guest), site.dom0s[guest.dom0], home.folder(guest.name)
    every = _readable(xen, dom)
    found = {d.vdev: bringing.part(home, dom, folder, d) for d in every}
    own = {d.vdev: Path(p.place) if (p := found[d.vdev]).form in ("qcow2", "vhd") else p.path for d in every}
    _apart([(d, own[d.vdev]) for d in every], xen.name)
    groups = [[(d, found[d.vdev].path) for d in group] for group in disks(xen)]
    first = _first(xen, groups) if len(groups) > 1 else groups[0]
    groups = [first, *(g for g in groups if g is not first)]
    around = not first[0][0].partition and source.bare(first[0][1]) == "volume"
    parts = []
    for n, group in enumerate(groups):
        for d, _ in group:
            number = 1 if around and n == 0 else d.partition
            update = {"number": number, "disk": n, "vdev": d.vdev if len(groups) > 1 else ""}
            parts.append(found[d.vdev].model_copy(update=update))
    return Origin(parts=tuple(parts))


def _readable(xen: XenGuest, dom: Dom0) -> list[XenDisk]:
    """Every disk of `disks`; `BadInput` for a form that is not read from this Dom-0, too."""
    if problems := behind.forms(xen, dom.kind):
        raise BadInput(*problems)
    return [d for group in disks(xen) for d in group]


def _apart(disks: Sequence[tuple[XenDisk, Path]], guest: str) -> None:
    """Raise `BadInput` where two disks of the guest are the same file or device: they would be two after the move."""
    seen: dict[object, XenDisk] = {}
    for disk, path in disks:
        with contextlib.suppress(OSError):  # what cannot be looked at is told by whoever opens it
            status = path.stat()
            first = seen.setdefault(status.st_rdev or (status.st_dev, status.st_ino), disk)
            if first is not disk:
                raise BadInput(
                    Problem(
                        code="two-disks-are-one",
                        what="two disks of the guest are the same file or device",
                        where=guest,
                        found=f"{first.vdev} = {first.target}, {disk.vdev} = {disk.target}",
                        expected="a file or device for each disk",
                        remedy=f"see which of the two the guest uses, and leave the other out {behind.COPY}",
                    )
                )


_Disks = list[tuple[XenDisk, Path]]  # one whole disk, or the partitions of one


def _first(xen: XenGuest, groups: Sequence[_Disks]) -> _Disks:
    """The disk that Xen starts the guest from: that of `root=` where Xen gives the kernel; the first of the configuration that is
    no swap where pygrub or pv-grub looks for a menu; else one with a boot loader. What an old boot loader is on besides, Xen does
    not see."""
    root = re.search(r"(?:^|\s)root=/dev/(\w+)", xen.arguments)
    named = [g for g in groups if root and re.sub(r"\d+$", "", root[1]) in device.inside(_whole(g[0][0]))]
    if named:
        return named[0]
    if xen.type != "hvm" and (not xen.kernel or xen.by_pv_grub):
        places = {d.vdev: n for n, d in enumerate(xen.disks)}
        return min(groups, key=lambda g: (source.bare(g[0][1]) == "swap", min(places[d.vdev] for d, _ in g)))
    return min(groups, key=lambda g: _starts(*g[0]))


def _starts(disk: XenDisk, path: Path) -> int:
    """The less, the likelier a machine starts from it."""
    try:
        loader = "none" if disk.partition else source.facts(path).boot_loader
    except BadInput:
        loader = "none"  # what is wrong with it, the survey tells
    return 0 if loader in ("grub-legacy", "grub2", "extlinux", "uefi") else 2 if source.bare(path) == "swap" else 1


def called(xen: XenGuest, origin: Origin) -> tuple[tuple[str, ...], ...]:
    """What Linux may call each whole disk, in the order of `origin`."""
    names = {_whole(d): device.inside(_whole(d)) for group in disks(xen) for d in group}
    if len(names) == 1:
        return tuple(names.values())
    vdevs = {d.vdev: _whole(d) for group in disks(xen) for d in group}
    return tuple(names[vdevs[disk.parts[0].vdev]] for disk in origin.disks)


def facts_of(origin: Origin) -> list[DiskFacts]:
    """Of each disk, without looking at its file systems; `BadInput` for what is none."""
    return [source.together([source.facts(p.path) for p in disk.parts]) for disk in origin.disks]


def fitting(disk: DiskFacts, *, first: bool = True) -> list[Check]:
    """What any target asks of a disk, whatever is on it; `first`: of that with the system."""
    names = ", ".join(Path(path).name for path in disk.path.split(", "))
    return [
        stream.fits(disk.bytes, disk.path, which=names),
        *([_is_linux(disk)] if first else []),
        Check(
            code="disk-sectors-of-512",
            title="the disk's partition table counts sectors of 512 bytes",
            ok=disk.sector_bytes == source.SECTOR,
            found=f"{names}: sectors of {disk.sector_bytes} bytes",
            expected=f"{source.SECTOR}: VMware's disks have no others, and nobody would find the partitions",
            remedy="write the partition table anew on a copy of the disk, for sectors of 512 bytes: each partition at the same "
            "byte, so that every number of a sector is eight times as large; name the copy in the guest's configuration and "
            "survey again",
            where=disk.path,
        ),
    ]


def _is_linux(disk: DiskFacts) -> Check:
    return Check(
        code="guest-is-linux",
        title="the guest is a Linux",
        ok=not disk.system,
        found=f"partitions of {disk.system}" if disk.system else "no partition of another system",
        expected="a Linux: this version prepares no other system",
        remedy=f"under Xen, give {disk.system or 'it'} the drivers that its own documentation names for VMware; then make a "
        "VMDK of its disk as it is: hikkoshi convert DISK NAME.vmdk",
        where=disk.path,
    )


def limits(home: Home, site: Site, guest: Guest) -> list[Check]:
    """The same before the disks are read; nothing where they cannot be looked at, which `start` tells."""
    room: list[Check] = []
    with contextlib.suppress(HikkoshiError):
        xen = configuration(home, site, guest)
        room = bringing.checks(home, site, guest, _readable(xen, site.dom0s[guest.dom0]))
        each = facts_of(origin_of(home, site, guest))
        return [*room, *_fitting(each), behind.firmware(xen, each[0].boot_loader)]
    return room


def _fitting(each: Sequence[DiskFacts]) -> list[Check]:
    return [check for n, disk in enumerate(each) for check in fitting(disk, first=n == 0)]


def start(
    home: Home, site: Site, guest: Guest, *, run: str = "", accelerator: str = "tcg", progress: Progress = silent
) -> Survey:
    """Look at configuration, disks and operating system, and write survey.json. Opens everything read-only.

    The disks' content is read always. Where it is that of an earlier survey, by its content digest, its file systems are not
    looked at again, unless they were read, or secrets were found, by other rules then.
    """
    xen = configuration(home, site, guest)
    brought = bringing.bring(home, site, guest, _readable(xen, site.dom0s[guest.dom0]), run, progress)
    origin = origin_of(home, site, guest)
    each = facts_of(origin)
    checks = (*_fitting(each), behind.firmware(xen, each[0].boot_loader))
    if wrong := [check.problem() for check in checks if not check]:
        raise BadInput(*wrong)
    try:
        known = Survey.find(home.folder(guest.name))
    except BadInput:
        known = None  # of another version, or damaged: look again
    began, writes = time.monotonic(), origin.writes()
    read = contents(origin, progress)
    expanded.held(origin, read)
    content = digest.together([disk.digest for disk in read])
    reading = round(time.monotonic() - began, 1)
    rules = reading_rules()
    names, *further = called(xen, origin)
    same = (names, ()) if set(names) == set(device.ORDINARY) else (names,)  # an earlier version looked for these
    # other rules may have kept a secret, or misread
    as_before = known is not None and known.guest.disk_names in same and known.guest.further_disks == tuple(further)
    if known is not None and as_before and (known.digest, known.rules) == (content, rules):
        facts = known.guest
        progress(1, 1, "the disk has not changed since it was surveyed")
    else:
        facts = appliance.inspect(origin, names, further, accelerator=accelerator, progress=progress)
        progress(1, 1, "the guest's files are read")
    _bootable(facts, str(origin))
    left_out = original.left_out(home, site, guest)
    found = Survey(
        xen=xen,
        origin=origin,
        disk=of_all(each).model_copy(update={"path": str(origin)}) if any(p.place for p in origin.parts) else of_all(each),
        bytes=sum(disk.bytes for disk in read),
        digest=content,
        disks=read if len(read) > 1 else (),
        reading_seconds=reading,
        guest=facts,
        writes=writes,
        rules=rules,
        left_out=left_out,
        crash_consistent=brought.running,
        paused_seconds=round(brought.paused, 1),
        xen_version=version.known(site, guest),
        autostart=autostart.starts(home, site, guest),
    )
    found.save(home.folder(guest.name))
    return found


def _bootable(facts: GuestFacts, where: str) -> None:
    """Raise `BadInput` where a boot loader has to be made, and cannot be: /boot is not on a partition of the first disk."""
    mounted = {p.mountpoint: p.device for p in facts.partitions}
    point = "/boot" if "/boot" in mounted else "/"
    if facts.boot_loader == "none" and not re.match(r"/dev/sda\d+$", mounted.get(point, "/dev/sda1")):
        raise appliance.explained({"kind": "boot-elsewhere", "found": f"{point} is on {mounted[point]}"}, where)


def of_all(each: Sequence[DiskFacts]) -> DiskFacts:
    """Of all disks of a guest; of several, the times of their last changes added up, so that none hides another one's."""
    found = source.together(each)
    return found if len(each) == 1 else found.model_copy(update={"mtime_ns": sum(disk.mtime_ns for disk in each)})


def reading_rules() -> str:
    """SHA-256 of everything that reads a guest's files, and finds secrets in them: another version may see more."""
    modules = sorted(Path(nics.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in (Path(redaction.__file__), *modules))).hexdigest()


def reading_seconds(folder: GuestFolder) -> float:
    """What reading a guest's disk to its end took in its survey; 0 where nobody knows."""
    try:
        known = Survey.find(folder)
    except BadInput:
        return 0
    return known.reading_seconds if known else 0


def unchanged(survey: Survey, *, asked: bool = True) -> Check:
    """Whether each disk has the size and the time of last change that it was surveyed with; `asked` on a Dom-0 over ssh, too.

    A device keeps no such time: by the kernel's count of writes it may be seen that it is another, never that it is the same.
    What is copied is held against the survey's content digest.
    """
    check = partial(
        Check,
        code="source-as-surveyed",
        title="the source is as it was surveyed",
        expected="size and time of its last change",
        later=True,
    )
    remedy = f"shut {survey.xen.name} down, then begin again with {SURVEY} and {PLAN}: the plan is of another disk"
    try:
        now = of_all(facts_of(survey.origin))
    except BadInput as e:
        p = e.problems[0]
        return check(ok=False, found=f"{p.what}: {p.found}", remedy=p.remedy, where=p.where)
    some = now.kind == "file" or any(p.path.is_file() for p in survey.origin.parts)  # that keep the time
    names = ("kind", "bytes", *(("mtime_ns",) if some else ()))
    other = [
        f"{n} {getattr(now, n)}, surveyed {getattr(survey.disk, n)}" for n in names if getattr(now, n) != getattr(survey.disk, n)
    ]
    if survey.origin.written_since(survey.writes):
        other.append("it was written to since, by the kernel's count")
    if asked and survey.crash_consistent:
        other.append("it was surveyed while the guest ran, which has written to it since")
    if not other and asked and (sign := traces.elsewhere(survey.origin)):
        other.append(sign.found)
    if now.kind != "file" and not other:
        found = f"a device keeps no time of its last change; {PREPARE} reads all of it, and holds that against the survey"
        return check(ok=True, found=found, remedy=remedy, where=survey.disk.path, unseen="not seen")
    return check(ok=not other, found="; ".join(other) or f"content digest {survey.digest}", remedy=remedy, where=survey.disk.path)


def names(survey: Survey) -> tuple[str, ...]:
    """What the guest calls each NIC of the Xen configuration, in that order; see `hikkoshi.guest.nics.naming`."""
    return nics.naming(survey.guest, [v.mac for v in survey.xen.vifs]).names
