"""What the guest is: its Xen configuration, its disk and its operating system, in one typed result."""

import hashlib
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk import digest, source, stream
from hikkoshi.disk.origin import Origin, Part, Writes
from hikkoshi.disk.source import DiskFacts
from hikkoshi.errors import BadInput, HikkoshiError, Problem
from hikkoshi.guest import appliance, device, nics
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.note import Note, note
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import PLAN, PREPARE, SURVEY, Step
from hikkoshi.secret import redaction
from hikkoshi.xen import behind, original, root
from hikkoshi.xen.config import XenGuest
from hikkoshi.xen.disks import XenDisk


class Survey(Artefact):
    """survey.json: everything that was found out about a guest, nothing decided yet."""

    filename: ClassVar[str] = GuestFolder.survey
    made_by: ClassVar[Step] = SURVEY
    xen: XenGuest
    origin: Origin
    disk: DiskFacts  # of partitions all together
    bytes: int  # of the whole disk, as vSphere will have it
    digest: str  # content digest of the disk, see hikkoshi.disk.digest
    reading_seconds: float = 0  # that reading it for the digest took; 0 in earlier versions
    writes: Writes | None = None  # counted before it was read; of a device only
    guest: GuestFacts
    rules: str = ""  # SHA-256 of those by which its files were read, and secrets found in them
    left_out: tuple[str, ...] = ()  # disks and NICs that the source has, and that are not moved


def configuration(home: Home, site: Site, guest: Guest) -> XenGuest:
    """The guest's Xen configuration, parsed, never executed."""
    return root.read_config(home, site.dom0s[guest.dom0], guest.config)


def system_disk(xen: XenGuest) -> tuple[XenDisk, ...]:
    """The one disk of the guest: a whole one, or all its partitions in the order of their numbers.

    Refused are a disk that is no path of the Dom-0, and more than one: this version moves guests of one disk.
    """
    disks = sorted((d for d in xen.disks if not d.cdrom), key=lambda d: d.partition)
    whole = [d for d in disks if not d.partition]
    names = {d.vdev.removesuffix(str(d.partition)) if d.partition else d.vdev for d in disks}
    if problems := behind.elsewhere(xen):
        raise BadInput(*problems)
    if len(names) == 1 and (disks == whole or not whole):
        return tuple(disks)
    root = xen.other.get("nfs_root")
    raise BadInput(
        Problem(
            code="not-one-disk",
            what="the guest does not have exactly one disk",
            where=xen.name,
            found=", ".join(f"{d.vdev} = {d.target}" for d in disks)
            or ("no disk" if not root else f"its root is on NFS: {root}"),
            expected="one whole disk, such as xvda, or the partitions of one, such as xvda1 and xvda2",
            remedy="guests with several disks come in a later version. Where each of them is a bare file system or swap "
            "without a partition table: call them xvda1, xvda2, xvda3 in a copy, and they move as the partitions of one disk. "
            "The guest's own fstab and menu then have to name these, or find them by LABEL= or UUID=, which stay the same. To "
            f"leave the others behind instead: leave one disk {behind.COPY}. A cd-rom may stay in the configuration",
        )
    )


def movable(xen: XenGuest) -> None:
    """Raise `BadInput` for a guest that cannot move, with everything that keeps it here at once."""
    problems = behind.refused(xen)
    try:
        system_disk(xen)
    except BadInput as e:
        problems += [p for p in e.problems if p not in problems]
    if problems:
        raise BadInput(*problems)


def notes(xen: XenGuest) -> tuple[Note, ...]:
    """What only the Xen configuration says, and somebody who approves the move has to know."""
    return tuple(note(code, **facts) for code, facts in behind.told(xen))


def origin_of(home: Home, site: Site, guest: Guest) -> Origin:
    """The image files or block devices of the guest's disk, as seen from here."""
    xen = configuration(home, site, guest)
    dom = site.dom0s[guest.dom0]
    return Origin(parts=tuple(Part(number=d.partition, path=root.disk_path(home, dom, d.target)) for d in system_disk(xen)))


def fitting(disk: DiskFacts) -> list[Check]:
    """What any target asks of a disk, whatever is on it."""
    return [
        stream.fits(disk.bytes, disk.path),
        Check(
            code="guest-is-linux",
            title="the guest is a Linux",
            ok=not disk.system,
            found=f"partitions of {disk.system}" if disk.system else "no partition of another system",
            expected="a Linux: this version prepares no other system",
            remedy=f"under Xen, give {disk.system or 'it'} the drivers that its own documentation names for VMware; then make a "
            "VMDK of its disk as it is: hikkoshi convert DISK NAME.vmdk",
            where=disk.path,
        ),
        Check(
            code="disk-sectors-of-512",
            title="the disk's partition table counts sectors of 512 bytes",
            ok=disk.sector_bytes == source.SECTOR,
            found=f"sectors of {disk.sector_bytes} bytes",
            expected=f"{source.SECTOR}: VMware's disks have no others, and nobody would find the partitions",
            remedy="write the partition table anew on a copy of the disk, for sectors of 512 bytes: each partition at the same "
            "byte, so that every number of a sector is eight times as large; name the copy in the guest's configuration and "
            "survey again",
            where=disk.path,
        ),
    ]


def limits(home: Home, site: Site, guest: Guest) -> list[Check]:
    """The same before the disk is read; nothing where it cannot be looked at, which `start` tells."""
    try:
        xen, origin = configuration(home, site, guest), origin_of(home, site, guest)
        disk = source.together([source.facts(p.path) for p in origin.parts])
        return [*fitting(disk), behind.firmware(xen, disk.boot_loader)]
    except HikkoshiError:
        return []


def start(home: Home, site: Site, guest: Guest, *, accelerator: str = "tcg", progress: Progress = silent) -> Survey:
    """Look at configuration, disk and operating system, and write survey.json. Opens everything read-only.

    The disk's content is read always. Where it is that of an earlier survey, by its content digest, its file systems are not
    looked at again, unless they were read, or secrets were found, by other rules then.
    """
    xen, origin = configuration(home, site, guest), origin_of(home, site, guest)
    disk = source.together([source.facts(p.path) for p in origin.parts])
    checks = (*fitting(disk), behind.firmware(xen, disk.boot_loader))
    if wrong := [check.problem() for check in checks if not check]:
        raise BadInput(*wrong)
    try:
        known = Survey.find(home.folder(guest.name))
    except BadInput:
        known = None  # of another version, or damaged: look again
    began, writes = time.monotonic(), origin.writes()
    with origin.opened() as opened:
        size, content = opened.size, digest.of(opened, progress)
    reading = round(time.monotonic() - began, 1)
    rules = reading_rules()
    names = device.inside(system_disk(xen)[0].vdev)
    same = (names, ()) if set(names) == set(device.ORDINARY) else (names,)  # an earlier version looked for these
    # other rules may have kept a secret, or misread
    if known is not None and (known.digest, known.rules) == (content, rules) and known.guest.disk_names in same:
        facts = known.guest
        progress(1, 1, "the disk has not changed since it was surveyed")
    else:
        facts = appliance.inspect(origin, names, accelerator=accelerator, progress=progress)
        progress(1, 1, "the guest's files are read")
    left_out = original.left_out(home, site, guest)
    found = Survey(
        xen=xen,
        origin=origin,
        disk=disk,
        bytes=size,
        digest=content,
        reading_seconds=reading,
        guest=facts,
        writes=writes,
        rules=rules,
        left_out=left_out,
    )
    found.save(home.folder(guest.name))
    return found


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


def unchanged(survey: Survey) -> Check:
    """Whether the disk has the size and the time of last change that it was surveyed with.

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
        now = source.together([source.facts(p.path) for p in survey.origin.parts])
    except BadInput as e:
        p = e.problems[0]
        return check(ok=False, found=f"{p.what}: {p.found}", remedy=p.remedy, where=p.where)
    names = ("kind", "bytes", *(("mtime_ns",) if now.kind == "file" else ()))
    other = [
        f"{n} {getattr(now, n)}, surveyed {getattr(survey.disk, n)}" for n in names if getattr(now, n) != getattr(survey.disk, n)
    ]
    if survey.origin.written_since(survey.writes):
        other.append("it was written to since, by the kernel's count")
    if now.kind != "file" and not other:
        found = f"a device keeps no time of its last change; {PREPARE} reads all of it, and holds that against the survey"
        return check(ok=True, found=found, remedy=remedy, where=survey.disk.path, unseen="not seen")
    return check(ok=not other, found="; ".join(other) or f"content digest {survey.digest}", remedy=remedy, where=survey.disk.path)


def names(survey: Survey) -> tuple[str, ...]:
    """What the guest calls each NIC of the Xen configuration, in that order; see `hikkoshi.guest.nics.naming`."""
    return nics.naming(survey.guest, [v.mac for v in survey.xen.vifs]).names
