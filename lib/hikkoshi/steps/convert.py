"""40: the prepared copy becomes a streamOptimized VMDK, compared and hashed before it gets its name."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.disk import conversion, vmdk
from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest import prepared, survey
from hikkoshi.progress import Progress, silent
from hikkoshi.run.run import Run
from hikkoshi.run.step import CONVERT
from hikkoshi.steps.runbook import Runbook

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Convert(Runbook):
    """40 · Convert the disk."""

    step = CONVERT

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._folder = run.folder

    @cached_property
    def _disks(self) -> int:
        """How many disks the guest has; one before there is a plan."""
        plan = Plan.find(self._folder)
        return len(plan.vm.disks) if plan else 1

    def checks(self) -> list[Check]:
        """The copy is the one that the plan asked for, its source was not written to since, and there is room for the VMDK."""
        run, plan = self.run, Plan.find(self._folder)
        ready = prepared.complete(self._folder, plan, survey.origin_of(run.home, run.site, run.guest))
        return [ready.waiting(), *conversion.checks(self._folder, self._disks)]

    def complete(self) -> Check:
        """Whether the VMDK is whole, as it was recorded, and made of this very copy. Reads both to the end."""
        return conversion.complete(self._folder, self._disks)

    def start(self, progress: Progress = silent) -> None:
        """Convert and compare; on any failure nothing is left of the VMDK."""
        conversion.start(self._folder, progress, disks=self._disks)

    def hashes(self) -> list[dict[str, str]]:
        """The VMDK with its hashes; one row that says so where there is none yet."""
        made = Conversion.find(self._folder)
        if made is None:
            return [{"what": "VMDK", "found": "not made yet"}]
        pace = f"{made.seconds:.1f} s, level {made.level}, {made.threads} threads, compared by qemu-img {made.qemu_img}"
        facts = [
            row
            for disk in made.each
            for row in (
                ("VMDK", f"{disk.vmdk}, {disk.vmdk_bytes:,} bytes"),
                ("capacity", f"{disk.virtual_bytes:,} bytes, {disk.virtual_bytes / disk.vmdk_bytes:.1f} times the file"),
                ("SHA-256", disk.vmdk_sha256),
                ("SHA-1", disk.vmdk_sha1),
                ("content digest of the copy", disk.copy_digest),
            )
        ]
        if made.disks:
            facts.append(("SHA-256 of all, as sha256sum prints them", made.vmdk_sha256))
        return [{"what": what, "found": found} for what, found in (*facts, ("time", pace))]

    def map_of_the_disk(self) -> "Figure":
        """Where on the disk there is data, and the rate of reading over time."""
        from hikkoshi.figures import picture  # noqa: PLC0415 - matplotlib is slow to load

        made = Conversion.find(self._folder)
        pairs = zip(self._folder.copies(self._disks), self._folder.vmdks(self._disks), strict=True)
        return picture.figure(list(pairs), made.samples if made else ())

    def header(self) -> list[dict[str, str]]:
        """Each VMDK's header and descriptor, as vSphere's import reads them."""
        there = [path for path in self._folder.vmdks(self._disks) if path.is_file()]
        return [row for path in there for row in _header(path)] or [{"field": "VMDK", "value": "not made yet"}]

    def proofs(self) -> list[Check]:
        """Everything that can be asked of a finished conversion: its hashes, its headers, its content by two readers."""
        if all(path.is_file() for path in self._folder.vmdks(self._disks)):
            return conversion.proofs(self._folder, self._disks)
        return [conversion.complete(self._folder, self._disks).waiting()]

    def evidence(self) -> list[Path]:
        """The VMDKs, and what was made of what."""
        return [*self._folder.vmdks(self._disks), self._folder.conversion]


def _header(path: Path) -> list[dict[str, str]]:
    header = vmdk.read(path)
    facts = {
        "file": path.name,
        "header version": str(header.version),
        "flags": f"{header.flags:#x}" + (": deflated grains with markers" if header.stream else ""),
        "capacity": f"{header.capacity:,} bytes",
        "grain": f"{header.grain:,} bytes",
        **header.descriptor,
    }
    return [{"field": field, "value": value} for field, value in facts.items()]
