"""What is handed to somebody who imports a guest's machine in our place: its files and a sheet, in a folder of their own.

It needs what an import by us needs and vSphere is not asked for; and that the rehearsed guest was as planned, since nobody of
ours sees it start. No approval is asked for: one counts for a machine in vSphere, and there is none yet; the service is not
touched. handover.json and a copy of the sheet stay in the guest's folder, so that the guest's record has them, and the
journal has a line with every sum.
"""

import contextlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval.plan import Plan, changed
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import Problem, Refused, StepFailed, ToolFailed
from hikkoshi.guest import descent
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import rehearsal
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import pdf, sheet
from hikkoshi.run import lock
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import CONVERT, PLAN
from hikkoshi.secret.masking import Mask
from hikkoshi.vsphere.handover import Form, HandedFile, HandOver
from hikkoshi.vsphere.ova import OvfPackage, PackedFile
from hikkoshi.vsphere.preflight import limits

STAMP = "%Y%m%dT%H%M%SZ"
SHEET = "sheet.html"
ROOM = 16 << 20  # bytes beside the disks


def checks(home: Home, guest: str, parent: Path) -> list[Check]:
    """All that has to be so before a guest is handed over into a new folder in `parent`."""
    parameters, site = home.parameters(guest)
    folder = home.folder(guest)
    plan, conversion = Plan.find(folder), Conversion.find(folder)
    vmdks = [folder.disks / disk.vmdk for disk in conversion.each] if conversion else []
    there = bool(vmdks) and all(map(files.regular, vmdks))
    found = [
        Check(
            code="guest-planned",
            title="the guest is planned",
            ok=plan is not None,
            found=plan.hash[:16] if plan else "",
            expected=GuestFolder.plan,
            remedy=f"run {PLAN}",
            later=True,
        ),
        Check(
            code="disk-converted",
            title="its disk is converted",
            ok=there,
            found=conversion.vmdk_sha256[:16] if conversion else "",
            expected=", ".join(map(str, vmdks)),
            remedy=f"run {CONVERT} in apply",
            later=True,
        ),
    ]
    if plan is None or conversion is None or not there:
        return found
    others = list(changed(home, parameters, site, plan))
    unmapped = [f"{nic.name} ({nic.mac})" for nic in plan.vm.nics if not nic.port_group]
    rehearsed = rehearsal.complete(folder, conversion.vmdk_sha256, plan.hash)
    return [
        *found,
        Check(
            code="plan-of-parameters",
            title="the plan is of the parameters as they are now",
            ok=not others,
            found="; ".join(others) or "the same",
            expected="the parameters that were planned",
            remedy=f"run {PLAN} again, and all that follows",
        ),
        Check(
            code="nics-have-port-groups",
            title="every NIC of the plan has a port group",
            ok=not unmapped,
            found=f"without: {', '.join(unmapped)}" if unmapped else f"{len(plan.vm.nics)} of {len(plan.vm.nics)}",
            expected="every NIC",
            remedy="add its MAC and segment to `nics` of the guest's file, then plan again",
        ),
        descent.chain(folder, plan),
        rehearsed.waiting(),
        *(rehearsal.checks(Rehearsal.find(folder), plan.machine) if rehearsed else []),
        *limits.checks(plan.vm),
        _room(parent, sum(vmdk.stat().st_size for vmdk in vmdks) + ROOM),
    ]


def _room(parent: Path, needed: int) -> Check:
    near = next(p for p in (parent, *parent.parents) if p.is_dir())
    free = shutil.disk_usage(near).free
    return Check(
        code="hand-over-has-room",
        title="there is room for the hand-over",
        ok=free >= needed,
        found=f"{files.human(free)} free",
        expected=files.human(needed),
        remedy="make room there, or name another folder by --to",
        where=str(parent),
    )


def write(home: Home, guest: str, form: Form, into: Path | None = None, progress: Progress = silent) -> HandOver:
    """Write a new folder GUEST-TIME in outputs/handover, or `into` a folder that is there; on any failure there is none.

    `Refused` where one of `checks` is red. Holds the guest's lock, as a run does.
    """
    home.parameters(guest)
    with lock.acquire(home.folder(guest).lock, f"{datetime.now(UTC).strftime(STAMP)}-handover", wait=0):
        return make(home, guest, form, into, progress)


def make(home: Home, guest: str, form: Form = "ova", into: Path | None = None, progress: Progress = silent) -> HandOver:
    """The same for whoever holds the guest's lock already."""
    if into is not None and not into.is_dir():
        raise Refused(
            Problem(
                code="no-folder-to-hand-over",
                what="the folder for the hand-over is not there",
                where=str(into),
                expected="a folder",
                remedy="make it, or mount the disk that it is on",
            )
        )
    parent, now = (into or home.handovers).absolute(), datetime.now(UTC)
    target = parent / f"{guest}-{now.strftime(STAMP)}"
    if refused := [c for c in checks(home, guest, parent) if not c]:
        raise Refused(*(c.problem() for c in refused))
    if into is None:
        _clear(parent, guest)
    try:
        return _written(home, guest, form, target, now, progress)
    except OSError as e:
        raise StepFailed(
            Problem(
                code="hand-over-unwritable",
                what="the hand-over cannot be written",
                where=str(target),
                found=e.strerror or str(e),
                expected="a new folder with all of its files",
                remedy="nothing is left of it: make room, or name another folder by --to (FAT32 holds no file of 4 GiB)",
            )
        ) from None


def as_written(home: Home, guest: str) -> Check:
    """Whether the files that were handed over last are as they were written; those that were taken away are not seen."""
    made, title = HandOver.find(home.folder(guest)), "the files are as they were handed over"
    if made is None or not Path(made.folder).is_dir():
        found = f"{made.folder} is not there any more" if made else "nothing was handed over"
        return Check(code="handed-files", title=title, ok=True, found=found, unseen="not seen")
    there = {f.name: Path(made.folder, f.name) for f in made.files}
    wrong = [f.name for f in made.files if not files.regular(there[f.name]) or files.sha256(there[f.name]) != f.sha256]
    return Check(
        code="handed-files",
        title=title,
        ok=not wrong,
        found=f"another content, or none: {', '.join(wrong)}" if wrong else f"{len(there)} files in {made.folder}",
        expected=f"the sums of {HandOver.filename}",
        remedy=f"hand over again: hikkoshi handover {guest}",
        where=made.folder,
    )


def _written(home: Home, guest: str, form: Form, target: Path, now: datetime, progress: Progress) -> HandOver:
    folder, site = home.folder(guest), home.site(guest)
    plan, conversion = Plan.load(folder), Conversion.load(folder)
    package = OvfPackage.of(plan.vm, conversion, folder)
    part = target.with_name(f"{target.name}.part")
    part.mkdir(parents=True)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, part, ignore_errors=True)
        if form == "ova":
            made: tuple[PackedFile, ...] = (package.write_ova(part / f"{package.stem}.ova", progress),)
        else:
            made = package.write_folder(part, progress)
        page, no_pdf = part / SHEET, ""
        sheet.write(page, plan, site, made, now, Mask(home.secrets()))
        try:
            files.write(pdf.path(page), pdf.printed(page))
        except ToolFailed as e:
            no_pdf = e.problems[0].found or e.problems[0].what
        papers = [path for path in (page, pdf.path(page)) if path.is_file()]
        told = HandOver(
            guest=guest,
            time=now,
            name=plan.vm.name,
            form=form,
            folder=str(target),
            plan_hash=plan.hash,
            vmdk_sha256=conversion.vmdk_sha256,
            descriptor_sha256=package.descriptor_sha256,
            files=(
                *(HandedFile(name=f.name, bytes=f.bytes, sha256=f.sha256) for f in made),
                *(HandedFile(name=p.name, bytes=p.stat().st_size, sha256=files.sha256(p)) for p in papers),
            ),
            no_pdf=no_pdf,
        )
        content = files.read(page)
        if os.path.lexists(target):
            raise FileExistsError(0, "it is there already", str(target))
        part.rename(target)
        undo.callback(shutil.rmtree, target, ignore_errors=True)
        files.sync_folder(target.parent)
        for copy in (folder.handover, folder.handover_sheet):
            undo.callback(_put_back, copy, files.read(copy) if copy.is_file() else None)
        told.save(folder)
        files.write(folder.handover_sheet, content)
        Journal(folder.journal).append("handed-over", **told.model_dump(mode="json", exclude={"time"}))
        undo.pop_all()
    return told


def _put_back(path: Path, before: bytes | None) -> None:
    """What told of an earlier hand-over, which is still there."""
    if before is None:
        path.unlink(missing_ok=True)
    else:
        files.write(path, before)


def _clear(parent: Path, guest: str) -> None:
    """Remove what hand-overs of this guest left that were killed: the lock is held, so that none is at work."""
    for left in parent.glob(f"{guest}-{'[0-9]' * 8}T{'[0-9]' * 6}Z.part"):
        shutil.rmtree(left, ignore_errors=True)
