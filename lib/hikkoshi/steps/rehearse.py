"""50: the VMDK is booted on hardware like VMware's, beside the disk as it was under Xen."""

from functools import cached_property
from pathlib import Path

from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest import descent
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import accelerator, mounts, rehearsal
from hikkoshi.rehearsal.accelerator import Accelerator
from hikkoshi.rehearsal.machine import Hardware
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run.run import Run
from hikkoshi.run.step import REHEARSE
from hikkoshi.steps.runbook import Runbook


class Rehearse(Runbook):
    """50 · Rehearse the boot."""

    step = REHEARSE

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._plan = Plan.find(run.folder)
        self._job = rehearsal.Job(run.folder, run.folder.vmdk, self._plan, Conversion.find(run.folder))

    def checks(self) -> list[Check]:
        """The VMDK is of the source that was surveyed, both disks are there, and QEMU has the hardware of the plan."""
        return [descent.chain(self.run.folder, self._plan), *rehearsal.preflight(self._job, self._runs_on)]

    def control_booted(self) -> Check:
        """Whether the unprepared disk was booted on this plan's machine."""
        return rehearsal.control_complete(self._job)

    def boot_control(self, progress: Progress = silent) -> None:
        """Boot the unprepared disk, from a snapshot."""
        rehearsal.start_control(self._job, accelerator=self._runs_on.name, progress=progress)

    def control_screen(self) -> Path:
        """The screen at which the unprepared disk's boot stopped."""
        return self.run.folder.before_picture

    def complete(self) -> Check:
        """Whether this very VMDK was rehearsed on this plan's machine, to an ending."""
        return rehearsal.complete(self.run.folder, self._job.vmdk_sha256, self._job.plan_hash)

    def start(self, progress: Progress = silent) -> None:
        """Boot the VMDK, and ask the guest about itself."""
        rehearsal.start(self._job, accelerator=self._runs_on.name, progress=progress)

    def screen(self) -> Path:
        """The screen at the end of the VMDK's boot."""
        return self.run.folder.after_picture

    def nics(self) -> list[dict[str, str]]:
        """What the guest said about its NICs, beside the plan."""
        return nic_rows(Rehearsal.find(self.run.folder), self._job.machine)

    def mounts(self) -> list[dict[str, str]] | None:
        """What the guest mounted at its start, and its swap, beside its fstab; None before it was booted."""
        found = Rehearsal.find(self.run.folder)
        return mount_rows(found) if found else None

    def proofs(self) -> list[Check]:
        """The guest came to its login prompt, with every NIC as planned, and the VMDK is unchanged."""
        return rehearsal.checks(Rehearsal.find(self.run.folder), self._job.machine)

    def evidence(self) -> list[Path]:
        """The verdict, and pictures, screen texts and serial consoles of both boots."""
        return [self.run.folder.rehearsal, *sorted(self.run.folder.boots.glob("*"))]

    @cached_property
    def _runs_on(self) -> Accelerator:
        return accelerator.probe()


def nic_rows(found: Rehearsal | None, machine: Hardware | None) -> list[dict[str, str]]:
    """Planned and seen, a row for every NIC of the plan."""
    if machine is None:
        return []
    rows = []
    for nic in machine.nics:
        seen = rehearsal.by_mac(found.after).get(nic.mac) if found else None
        rows.append(
            {
                "NIC": nic.name,
                "MAC": nic.mac,
                "planned address": nic.address or "any",
                "seen as": seen.name if seen else "–",
                "driver": seen.driver or "none" if seen else "–",
                "addresses": ", ".join(seen.addresses) or "none" if seen else "–",
                "LRO": seen.lro or "not told" if seen else "–",
                "verdict": ("; ".join(rehearsal.faults(nic, machine, found.after)) or "ok") if found else "not yet",
            }
        )
    return rows


def mount_rows(found: Rehearsal) -> list[dict[str, str]]:
    """What the guest's fstab asks for, and what the guest's kernel called it, a row each."""
    return [
        {
            "mounted at": m.point,
            "planned from": m.device,
            "seen as": mounts.seen(m, found.after),
            "verdict": mounts.fault(m, found.after) or "ok",
        }
        for m in found.mounts
    ]
