"""The rehearsal of a guest: a control boot of its unprepared disks, then the boot of the VMDKs that vSphere will get."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from hikkoshi import files
from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion, together
from hikkoshi.disk.origin import Origin
from hikkoshi.disk.source import facts
from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.guest.prepared import Prepared
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import equipment, mounts
from hikkoshi.rehearsal.accelerator import Accelerator
from hikkoshi.rehearsal.boot import TIMEOUT, boot, identities
from hikkoshi.rehearsal.machine import Hardware, MachineNic
from hikkoshi.rehearsal.outcome import BootOutcome, Ending, Mount, SeenNic
from hikkoshi.run.step import CONVERT, PLAN, PREPARE, REHEARSE, SURVEY, Step

SPEECHLESS = 30.0  # seconds for a disk without a boot loader: a BIOS takes some to come to it


class Control(Artefact):
    """rehearsal/before.json: the boot of the unprepared disk, and which disk that was."""

    filename: ClassVar[str] = GuestFolder.control
    made_by: ClassVar[Step] = REHEARSE
    disk: str  # its fingerprint
    plan_hash: str
    outcome: BootOutcome


class Rehearsal(Artefact):
    """rehearsal.json: what happened when the disk was booted as it was, and as it goes to vSphere."""

    filename: ClassVar[str] = GuestFolder.rehearsal
    made_by: ClassVar[Step] = REHEARSE
    vmdk_sha256: str  # of several disks, of their sums together, as in conversion.json
    plan_hash: str
    before: BootOutcome | None
    after: BootOutcome
    mounts: tuple[Mount, ...] = ()  # that the prepared guest's fstab asks for; none where nobody knew, and in earlier versions


class _Plan(Protocol):
    @property
    def source(self) -> Origin: ...
    @property
    def hash(self) -> str: ...
    @property
    def machine(self) -> Hardware: ...


@dataclass(frozen=True)
class Job:
    """What is to be rehearsed, from plan.json and conversion.json; both may still be missing in plan mode."""

    folder: GuestFolder
    vmdk: Path
    plan: _Plan | None
    conversion: Conversion | None

    @property
    def source(self) -> Path | None:
        """The first unprepared disk; where Xen gave the guest single partitions, the first of them."""
        return self.sources[0] if self.sources else None

    @property
    def sources(self) -> list[Path]:
        """The same of every disk."""
        return [disk.parts[0].path for disk in self.plan.source.disks] if self.plan else []

    @property
    def further(self) -> list[Path]:
        """The converted disks after the first."""
        return [self.vmdk.with_name(disk.vmdk) for disk in self.conversion.disks[1:]] if self.conversion else []

    @property
    def machine(self) -> Hardware | None:
        """The hardware that both disks are booted on."""
        return self.plan.machine if self.plan else None

    @property
    def plan_hash(self) -> str:
        """Empty without a plan."""
        return self.plan.hash if self.plan else ""

    @property
    def vmdk_sha256(self) -> str:
        """As it was converted; empty before that."""
        return self.conversion.vmdk_sha256 if self.conversion else ""


def control_complete(job: Job) -> Check:
    """Whether the unprepared disk has been booted on this plan's machine."""
    found = Control.find(job.folder)
    there = (
        found is not None
        and bool(job.sources)
        and all(map(_is_disk, job.sources))
        and found.plan_hash == job.plan_hash
        and found.disk == identities(job.sources, "raw")
        and _pictured(job.folder, found.outcome)
    )
    told = f"{found.outcome.ending}: {found.outcome.words}" if found else "not yet"
    return Check(
        code="source-booted",
        title="the unprepared disk was booted for comparison",
        ok=there,
        found=told if there or not found else "another disk, or by another plan",
        expected="a boot of this disk, by this plan",
        remedy="run this notebook in apply mode",
        where=str(job.folder.boots),
    )


def start_control(job: Job, *, accelerator: str, progress: Progress = silent) -> Control:
    """Boot the unprepared disks, as raw and from a snapshot, and write rehearsal/before.json."""
    machine, folder = _planned(job).machine, job.folder.boots
    fingerprint, (source, *further) = identities(job.sources, "raw"), job.sources
    outcome = boot(
        source,
        "raw",
        machine,
        folder,
        "before",
        probe=False,
        accelerator=accelerator,
        further=further,
        timeout=_patience(source),
        progress=progress,
    )
    result = Control(disk=fingerprint, plan_hash=job.plan_hash, outcome=outcome)
    result.save(job.folder)
    return result


def _patience(disk: Path) -> float:
    """Seconds for its boot: without a boot loader, as Xen's pygrub needs none, a BIOS starts zeros, and nobody says a word."""
    with suppress(BadInput):  # a partition alone: the BIOS says at once that it is no disk to boot from
        return SPEECHLESS if facts(disk).boot_loader == "none" else TIMEOUT
    return TIMEOUT


def complete(folder: GuestFolder, vmdk_sha256: str, plan_hash: str) -> Check:
    """Whether this very VMDK has been rehearsed on this plan's machine, to an ending.

    A boot that came to no verdict in time, or a guest that logged in but told nothing, may have been the machine's load:
    that is not complete and is tried again. Every other ending stays what it is until there is a new VMDK.
    """
    found = Rehearsal.find(folder)
    fits = found is not None and found.vmdk_sha256 == vmdk_sha256 and found.plan_hash == plan_hash
    told = "not yet"
    if found:
        count = len(found.after.nics)
        seen = f", {count} NIC{'s' * (count > 1)}" if count else ""
        told = f"{found.after.ending}: {found.after.words}{seen}" if fits else "another VMDK, or by another plan"
    decided = found is not None and (bool(found.after.kernel) or found.after.ending not in (Ending.LOGIN, Ending.TIMEOUT))
    return Check(
        code="vmdk-rehearsed",
        title="the VMDK was rehearsed",
        ok=fits and decided and found is not None and _pictured(folder, found.after),
        found=told,
        expected="a boot of this VMDK, by this plan, that came to an end and told about itself",
        remedy=f"look at {folder.after_picture}; if the machine is overloaded, run again when it is not"
        if fits
        else f"run {REHEARSE} in apply",
        where=str(folder.rehearsal),
    )


def start(job: Job, *, accelerator: str, progress: Progress = silent) -> Rehearsal:
    """Boot the VMDK, ask the guest about itself, and write rehearsal.json. A guest that fails to boot is written too."""
    machine, vmdks = _planned(job).machine, [job.vmdk, *job.further]
    found = together("sha256", [vmdk.name for vmdk in vmdks], [files.sha256(vmdk) for vmdk in vmdks])
    if found != job.vmdk_sha256:
        raise BadInput(
            Problem(
                code="vmdk-differs",
                what="the VMDK is not the one that was converted",
                where=", ".join(map(str, vmdks)),
                found=f"SHA-256 {found}",
                expected=f"SHA-256 {job.vmdk_sha256 or 'in conversion.json'}",
                remedy=f"run {CONVERT} again; somebody or something has changed the file since",
            )
        )
    folder = job.folder.boots
    outcome = boot(
        job.vmdk, "vmdk", machine, folder, "after", probe=True, accelerator=accelerator, further=job.further, progress=progress
    )
    control, prepared = Control.find(job.folder), Prepared.find(job.folder)
    result = Rehearsal(
        vmdk_sha256=found,
        plan_hash=job.plan_hash,
        before=control.outcome if control and control.plan_hash == job.plan_hash else None,
        after=outcome,
        mounts=mounts.planned(prepared.facts) if prepared else (),
    )
    result.save(job.folder)
    return result


def _planned(job: Job) -> _Plan:
    if job.plan is None:
        raise Refused(
            Problem(
                code="no-plan-to-rehearse",
                what="there is no plan to rehearse by",
                where=str(job.folder.plan),
                expected=GuestFolder.plan,
                remedy=f"run {PLAN} first",
            )
        )
    return job.plan


def _pictured(folder: GuestFolder, outcome: BootOutcome) -> bool:
    return all((folder / name).is_file() for name in (outcome.picture, outcome.screen, outcome.console))


def checks(rehearsal: Rehearsal | None, machine: Hardware | None) -> list[Check]:
    """Whether the rehearsed guest is as planned; one red check where there is nothing to judge yet."""
    if rehearsal is None or machine is None:
        return [
            Check(
                code="vmdk-rehearsed",
                title="the VMDK was rehearsed",
                ok=False,
                found="not yet",
                expected="rehearsal.json and plan.json",
                remedy=f"run {REHEARSE}",
                later=True,
            )
        ]
    after, prepare = rehearsal.after, "see the screen's picture; correct the preparation, then run 30, 40 and 50 again"
    wrong = [f"{nic.name}: {fault}" for nic in machine.nics for fault in faults(nic, machine, after)]
    whole = sum(not faults(nic, machine, after) for nic in machine.nics)
    count = len(machine.nics)
    return [
        Check(
            code="login-reached",
            title="the guest comes to its login prompt",
            ok=after.ending is Ending.LOGIN,
            found=after.words,
            expected="a login prompt",
            remedy=prepare,
        ),
        Check(
            code="kernel-without-xen",
            title="it runs a kernel that does not need Xen",
            ok=bool(after.kernel) and "xen" not in after.kernel,
            found=after.kernel or "it did not tell",
            expected="a kernel without xen in its name",
            remedy=f"see `default` in the boot loader's configuration ({PREPARE} changes it)",
        ),
        Check(
            code="root-mounted",
            title="its root file system is mounted",
            ok=bool(after.root),
            found=after.root or "it did not tell",
            expected="a device",
            remedy=prepare,
        ),
        *([mounts.check(rehearsal.mounts, after)] if rehearsal.mounts else []),
        Check(
            code="nics-configured",
            title="every NIC has its name, driver and address",
            ok=whole == count,
            found=f"{whole}/{count}" + (": " + "; ".join(wrong) if wrong else ""),
            expected=f"{count}/{count}",
            remedy=f"{PREPARE} ties names to MACs: HWADDR in ifcfg-*, aliases in modprobe.conf, udev's rules, "
            "systemd's link files",
        ),
        Check(
            code="services-started",
            title="which services did not start",
            ok=True,
            found=", ".join(after.failed) or ("none" if after.asked else "the guest's init does not tell"),
            expected="none; one that failed under Xen too is no harm",
            unseen="" if after.asked or after.failed else "not seen",
        ),
        *([_first_start(after)] if after.first_state else []),
        *([_tools(after)] if machine.as_vmware else []),
        Check(
            code="vmdk-unchanged",
            title="the VMDK is unchanged",
            ok=after.disk_unchanged,
            found="the same before and after" if after.disk_unchanged else "changed while it was rehearsed",
            expected="the same before and after",
            remedy=f"something else writes to it: find out what, then run {CONVERT} again",
        ),
    ]


def _first_start(after: BootOutcome) -> Check:
    """What ran at the first start; it has no network in a rehearsal, so that no red follows from it."""
    good = after.first_state == "complete" and not any(s.status for s in after.first)
    return Check(
        code="first-start-rehearsed",
        title="what runs at the first start ran to its end",
        ok=True,
        found="; ".join([str(after.first_state), *map(str, after.first)]),
        expected="complete, each with exit status 0; what needs a network cannot, in a rehearsal",
        unseen="" if good else "not seen",
    )


def _tools(after: BootOutcome) -> Check:
    """The service of VMware Tools, as far as QEMU can show it: no red follows from it."""
    seen = after.tools
    return Check(
        code="tools-start",
        title="VMware Tools are enabled, and their service starts",
        ok=True,
        found=str(seen) if seen else "no unit of systemd's for them was seen",
        expected="enabled, condition met, started; that it ends at once says nothing, since QEMU is no VMware",
        unseen="" if seen and seen.enabled and seen.condition and seen.started else "not seen",
    )


def faults(nic: MachineNic, machine: Hardware, outcome: BootOutcome) -> list[str]:
    """What is wrong with one NIC of the plan, found in the guest by its MAC; nothing if all is right."""
    seen = by_mac(outcome).get(nic.mac)
    if seen is None:
        return [f"no NIC with {nic.mac}"]
    found = []
    if seen.name != nic.name:
        found.append(f"is called {seen.name}")
    if seen.driver != machine.nic_model:
        found.append(f"driver {seen.driver or 'none'} instead of {machine.nic_model}")
    if nic.address and nic.address not in seen.addresses:
        found.append(f"address {', '.join(seen.addresses) or 'none'} instead of {nic.address}")
    return found


def by_mac(outcome: BootOutcome) -> dict[str, SeenNic]:
    """The NICs that the guest reported, by MAC."""
    return {nic.mac: nic for nic in outcome.nics}


def preflight(job: Job, accelerator: Accelerator) -> list[Check]:
    """What a rehearsal needs; in plan mode the results of earlier steps may still be missing."""
    machine = job.machine
    return [
        Check(
            code="plan-there",
            title="there is a plan",
            ok=machine is not None,
            found=GuestFolder.plan if machine else "none",
            expected=GuestFolder.plan,
            remedy=f"run {PLAN}",
            later=True,
        ),
        *(
            _file(
                source,
                code="source-there",
                title="the unprepared disk is there",
                remedy=f"run {SURVEY} again; was the image moved?",
            )
            for source in (job.sources or (None,))
        ),
        *(
            _file(vmdk, code="vmdk-there", title="the converted disk is there", remedy=f"run {CONVERT} in apply mode")
            for vmdk in (job.vmdk, *job.further)
        ),
        *equipment.checks(machine),
        Check(code="accelerator", title="what the boots run on", ok=True, found=f"{accelerator.name}: {accelerator.reason}"),
    ]


def _file(path: Path | None, *, code: str, title: str, remedy: str) -> Check:
    check = partial(Check, code=code, title=title, expected="a disk image", remedy=remedy, where=str(path or ""))
    if path is None or not _is_disk(path):
        return check(ok=False, found="not there", later=True)
    size = files.human(path.stat().st_size or Origin.whole(path).occupied())
    return check(ok=True, found=f"{path.name}, {size}")


def _is_disk(path: Path) -> bool:
    """Whether it is an image file or a block device, such as an LVM volume."""
    return path.is_file() or path.is_block_device()
