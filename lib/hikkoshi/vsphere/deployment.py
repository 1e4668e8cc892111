"""The machine in vSphere: imported with every NIC unplugged, read back, and only then marked complete.

A machine is ours by its marks, see `hikkoshi.vsphere.vm`. One of ours without the mark of completeness is the remains of
an import that was killed: the next start removes it and begins anew. A complete one is removed only where it is of an
earlier plan or disk and was never started; one that was ever in service, never.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

from hikkoshi.artefact import Artefact, Frozen, unsaid
from hikkoshi.check import Check
from hikkoshi.disk.conversion import together
from hikkoshi.errors import BadInput, Problem, Refused, StepFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import VSphere as Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CONVERT, DEPLOY, PLAN, ROLLBACK, Step
from hikkoshi.vsphere import events, importing, inventory, nfc, readback, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.preflight import limits, readiness
from hikkoshi.vsphere.readback import NicPlace
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import made_of


class SentDisk(Frozen):
    """One of several disks that were sent."""

    vmdk: str  # file name
    bytes: int
    sha1: str
    sha256: str


class Deployment(Artefact):
    """deployment.json: the machine that was made, what was sent, and what was read back."""

    filename: ClassVar[str] = GuestFolder.deployment
    made_by: ClassVar[Step] = DEPLOY
    guest: str
    site: str = ""  # identity of the site folder that made it; '' of an earlier version
    server: str
    moid: str
    name: str
    instance_uuid: str
    host: str
    plan_hash: str
    vmdk_bytes: int
    vmdk_sha1: str
    vmdk_sha256: str  # of several disks, of their sums together, as in conversion.json; and so are bytes and SHA-1
    disks: tuple[SentDisk, ...] = unsaid(())  # each of them, where there are several
    manifest: str  # what the server said about the bytes it received
    warnings: tuple[str, ...]  # of the server, about the descriptor
    seconds: float  # of the upload
    nics: tuple[readback.NicFound, ...]

    @classmethod
    def of(cls, folder: GuestFolder, plan_hash: str, vmdk_sha256: str) -> Self | None:
        """The one in a guest's folder, where it can be read, and is of this plan and this disk; else None."""
        try:
            made = cls.find(folder)
        except BadInput:
            return None
        return made if made and (made.plan_hash, made.vmdk_sha256) == (plan_hash, vmdk_sha256) else None


def checks(v: Session, site: Site, wanted: Order) -> list[Check]:
    """Everything that has to be so before the import; before there is a plan, only what needs none."""
    count = len(wanted.spec.disks) if wanted.spec else 1
    there = bool(wanted.sha256) and len(wanted.files) == count and all(path.is_file() for path, _ in wanted.files)
    first = [
        Check(
            code="guest-planned",
            title="the guest is planned",
            ok=wanted.spec is not None,
            found=wanted.plan_hash[:16],
            expected=GuestFolder.plan,
            remedy=f"run {PLAN}",
            later=True,
        ),
        Check(
            code="disk-converted",
            title="its disk is converted",
            ok=there,
            found=wanted.sha256[:16],
            expected=", ".join(str(path) for path, _ in wanted.files),
            remedy=f"run {CONVERT} in apply",
            later=True,
        ),
    ]
    if wanted.spec is None:
        return first
    return [
        *first,
        *limits.checks(wanted.spec),
        *readiness.site_checks(v, site, wanted.spec, wanted.guest, wanted.owner.site),
        _replaceable(v, ours := found(v, wanted), wanted),
        _nobody_at_work(ours, wanted),
    ]


def complete(v: Session, wanted: Order) -> Check:
    """Whether the machine of this very plan and disk stands in vSphere, marked complete when all was read back."""
    check = partial(
        Check,
        code="deployed-as-planned",
        title=f"{wanted.guest} stands in vSphere as planned",
        expected=f"one complete machine of {made_of(wanted.plan_hash, wanted.sha256)}",
        where=v.where,
        later=True,
    )
    if wanted.spec is None or not wanted.sha256:
        yet = "no disk yet" if wanted.spec else "no plan yet"
        return check(ok=False, found=yet, remedy="run the earlier steps first")
    ours = found(v, wanted)
    done = [m for m in ours if _is_ordered(m, wanted)]
    there = ", ".join(f"{m}" + ("" if vm.COMPLETE in m.marks else ", unfinished") for m in ours)
    ok = len(done) == 1 and len(ours) == 1
    return check(ok=ok, found=there or "no machine", remedy=f"run {DEPLOY} in apply")


def recorded(v: Session, wanted: Order, folder: GuestFolder) -> Check:
    """Whether it stands there, see `complete`, and deployment.json is of this very machine, which alone can be approved."""
    there = complete(v, wanted)
    if not there or not (machine := _unrecorded(v, wanted, folder)):
        return there
    return replace(there, ok=False, found=f"{machine}, but {Deployment.filename} does not tell of it")


def start(v: Session, site: Site, wanted: Order, folder: GuestFolder, progress: Progress = silent) -> Deployment:
    """Import the machine with its NICs unplugged, compare what arrived, read everything back, mark it complete.

    Where it stands there already, but deployment.json was lost or tells of another, that is written anew from what is read back.

    Removes the remains of an import of ours that did not come to its end; refuses where any of `checks` is red, and where a
    machine of an earlier plan is left, see `remove_earlier`.
    """
    refused = [c for c in (*checks(v, site, wanted), no_earlier(v, wanted)) if not c]
    if refused or wanted.spec is None:
        raise Refused(*(c.problem() for c in refused))
    if known := _unrecorded(v, wanted, folder):
        return _written_anew(v, site, wanted, known, folder)

    sizes = [path.stat().st_size for path, _ in wanted.files]

    def send(lease: nfc.Lease, target: Any, number: int) -> nfc.Sent:
        path, sha256 = wanted.files[number]
        sent = nfc.upload(v, lease, target, path, progress, before=sum(sizes[:number]), whole=sum(sizes))
        if sent.sha256 != sha256:
            raise StepFailed(
                Problem(
                    code="disk-file-differs",
                    what="the disk file is not the one that was converted",
                    where=str(path),
                    found=sent.sha256,
                    expected=sha256,
                    remedy=f"find out who changed it, then run {CONVERT} again",
                )
            )
        return sent

    order = importing.ImportOrder(
        owner=wanted.owner,
        spec=wanted.spec,
        marks={vm.GUEST: wanted.guest, vm.PLAN: wanted.plan_hash, vm.VMDK: wanted.sha256},
        about=f"guest {wanted.guest}, plan {wanted.plan_hash}",
        files=tuple((path.name, size) for (path, _), size in zip(wanted.files, sizes, strict=True)),
    )
    told: list[Deployment] = []

    def keep(made: importing.Imported) -> None:
        told.append(_told(v, wanted, made))
        told[0].save(folder)

    try:
        importing.start(v, site, order, send, progress, keep)
    except BaseException:
        if told:  # of a machine that is removed again
            folder.deployment.unlink(missing_ok=True)
        raise
    return told[0]


def _told(v: Session, wanted: Order, made: importing.Imported) -> Deployment:
    """What deployment.json tells of a machine that was made."""
    machine, sent = made.machine, made.sent
    names = [path.name for path, _ in wanted.files]
    disks = [SentDisk(vmdk=name, bytes=s.bytes, sha1=s.sha1, sha256=s.sha256) for name, s in zip(names, sent, strict=True)]
    return Deployment(
        guest=wanted.guest,
        site=wanted.owner.site,
        server=v.where,
        moid=machine.id,
        name=machine.name,
        instance_uuid=machine.uuid,
        host=made.host,
        plan_hash=wanted.plan_hash,
        vmdk_bytes=sum(s.bytes for s in sent),
        vmdk_sha1=together("sha1", names, [s.sha1 for s in sent]) if all(s.sha1 for s in sent) else "",
        vmdk_sha256=wanted.sha256,
        disks=tuple(disks) if len(disks) > 1 else (),
        manifest=made.manifest,
        warnings=made.warnings,
        seconds=round(sum(s.seconds for s in sent), 1),
        nics=made.nics,
    )


def _unrecorded(v: Session, wanted: Order, folder: GuestFolder) -> vm.VirtualMachine | None:
    """The one machine that stands there as ordered, where deployment.json is not of it."""
    ours = found(v, wanted)
    if len(ours) != 1 or not _is_ordered(ours[0], wanted):
        return None
    known = Deployment.of(folder, wanted.plan_hash, wanted.sha256)
    return None if known and known.instance_uuid == ours[0].uuid else ours[0]


def _written_anew(v: Session, site: Site, wanted: Order, machine: vm.VirtualMachine, folder: GuestFolder) -> Deployment:
    """deployment.json from what vSphere tells of the machine now; of its import nothing is known any more."""
    assert wanted.spec is not None  # else nothing is as ordered
    place = inventory.place(v, site)
    if wrong := [c for c in readback.compare(machine, wanted.spec, place) if not c]:
        raise StepFailed(*(c.problem() for c in wrong))
    host = v.read(machine.thing, "runtime.host").get("runtime.host")
    taken = machine.marks.get(vm.TAKEN)
    made = importing.Imported(
        machine=machine,
        host=str(v.read(host, "name").get("name", "")) if host else "",
        sent=tuple(nfc.Sent(path.stat().st_size, "", sha256, 0) for path, sha256 in wanted.files),
        manifest="no manifest: written anew from what vSphere tells of the machine, not at its import"
        + (f"; taken over at {taken}, and nobody knows what was done with its disk before" if taken else ""),
        warnings=(),
        nics=readback.found_nics(machine, place.port_groups),
    )
    deployment = _told(v, wanted, made)
    deployment.save(folder)
    return deployment


def no_earlier(v: Session, wanted: Order) -> Check:
    """Whether no machine of an earlier plan or disk is left in vSphere."""
    older = _older(found(v, wanted), wanted)
    return Check(
        code="no-earlier-machine",
        title="no machine of an earlier plan or disk is left",
        ok=not older,
        found=", ".join(_about(m) for m in older) or "none",
        expected="none, or the one of this plan",
        remedy=f"run {DEPLOY} in apply: it removes one that was never started",
        where=v.where,
        later=True,
    )


def remove_earlier(v: Session, wanted: Order, progress: Progress = silent) -> None:
    """Remove what was imported for an earlier plan or disk and never started; `Refused` for anything else."""
    if wanted.spec is None or not wanted.sha256:
        raise Refused(complete(v, wanted).problem())
    for machine in _older(found(v, wanted), wanted):
        vm.destroy(v, machine, lambda m: never_started(v, wanted, m), f"remove {_about(machine)}", progress)


def never_started(v: Session, wanted: Order, machine: vm.VirtualMachine) -> str:
    """Why a machine is not an import of ours that nobody has used since; '' if it is. Whoever used it may have data in it."""
    marks, site = machine.marks, wanted.owner.site
    if vm.whose(machine, site) != "ours":
        return f"it is {vm.told(machine, site)}"
    if vm.COMPLETE not in marks or _is_ordered(machine, wanted):
        return "it is unfinished, or the one that is wanted"
    served, taken = marks.get(vm.STARTED) or marks.get(vm.SERVICE), marks.get(vm.TAKEN)
    if served or taken:
        unknown = f"it was taken over at {taken}, and nobody knows whether it ever served"
        return f"it was put into service at {served}" if served else unknown
    if machine.power != "poweredOff" or machine.plugged:
        return f"it is {machine.power}, {len(machine.plugged)} NICs plugged in"
    if v.read(machine.thing, "snapshot").get("snapshot"):
        return "somebody has made a snapshot of it"
    return events.switched_on(v, machine.thing, marks[vm.COMPLETE])


def found(v: Session, wanted: Order) -> list[vm.VirtualMachine]:
    """The machines of the guest that are ours: see `hikkoshi.vsphere.vm.whose`."""
    return vm.ours(v, wanted.owner.site, wanted.guest)


def read_back(v: Session, site: Site, wanted: Order) -> list[Check]:
    """Ask vSphere again for everything that was ordered; the machine may be on or off, plugged in or not."""
    ours = found(v, wanted)
    if wanted.spec is None or len(ours) != 1:
        return [complete(v, wanted)]
    return [complete(v, wanted), *readback.compare(ours[0], wanted.spec, inventory.place(v, site))]


def unplugged(v: Session, wanted: Order) -> Check:
    """Whether no NIC will be connected when somebody switches the machine on, unless it was cut over already."""
    ours = found(v, wanted)
    cards = {mac: card for m in ours for mac, card in m.nics.items()}
    on = [mac for mac, card in cards.items() if card.connectable and card.connectable.startConnected]
    since = [m.marks[vm.SERVICE] for m in ours if vm.SERVICE in m.marks]
    off = f"{len(cards)} of {len(wanted.nics)} NICs unplugged" if ours else "no machine yet"
    now = f"plugged in: {', '.join(on)}" if on else off
    return Check(
        code="nics-unplugged",
        title="every NIC is unplugged until the cut-over",
        ok=wanted.spec is not None and len(cards) == len(wanted.nics) and (not on or bool(since)),
        found=f"in service since {since[0]}" if since else now,
        expected="every NIC unplugged",
        remedy=f"{ROLLBACK} unplugs them" if ours else "",
        where=v.where,
        later=not ours,
    )


def nic_places(v: Session, site: Site, wanted: Order) -> list[NicPlace]:
    """Each planned NIC, by its MAC, with what the guest's machine has for it."""
    there = {n.mac: n for m in found(v, wanted)[:1] for n in readback.found_nics(m, inventory.place(v, site).port_groups)}
    return [NicPlace(nic, there.get(nic.mac.lower())) for nic in wanted.nics]


def _is_ordered(machine: vm.VirtualMachine, wanted: Order) -> bool:
    marks = machine.marks
    return vm.COMPLETE in marks and (marks.get(vm.PLAN), marks.get(vm.VMDK)) == (wanted.plan_hash, wanted.sha256)


def _nobody_at_work(ours: Sequence[vm.VirtualMachine], wanted: Order) -> Check:
    """Remains are removed by `start`; what a living run in a copy of this folder may still be making is not."""
    bad = [(m, why) for m in ours if vm.COMPLETE not in m.marks and (why := vm.unfinished(m, wanted.owner))]
    return Check(
        code="nobody-importing",
        title=f"nobody else is at work on an import of {wanted.guest}",
        ok=not bad,
        found="; ".join(f"{m}: {why}" for m, why in bad) or "nobody",
        expected="nobody",
        remedy="wait until that run has ended. If it is over for sure: "
        + "; ".join(f"hikkoshi machines {wanted.guest} --take {m.id}" for m, _ in bad)
        + f", then run {DEPLOY} again, which removes it",
    )


def _older(ours: Sequence[vm.VirtualMachine], wanted: Order) -> list[vm.VirtualMachine]:
    return [m for m in ours if wanted.spec and vm.COMPLETE in m.marks and not _is_ordered(m, wanted)]


def _about(machine: vm.VirtualMachine) -> str:
    marks = machine.marks
    return f"{machine}, {machine.power}, plan {marks.get(vm.PLAN, '?')[:16]}, disk {marks.get(vm.VMDK, '?')[:16]}"


def _replaceable(v: Session, ours: Sequence[vm.VirtualMachine], wanted: Order) -> Check:
    older = [(m, never_started(v, wanted, m)) for m in _older(ours, wanted)]
    return Check(
        code="earlier-machine-never-started",
        title="a machine of an earlier plan or disk was never started",
        ok=not any(why for _, why in older),
        found="; ".join(f"{_about(m)}: {why or 'never started, it will be replaced'}" for m, why in older) or "there is none",
        expected="none, or one that was never started, which is replaced",
        remedy=f"roll back with {ROLLBACK} if it is in service; then remove it in the vSphere client: it may hold "
        "data by now, so "
        "Hikkoshi does not",
    )
