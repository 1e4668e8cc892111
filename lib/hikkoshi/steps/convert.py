"""40: the prepared copy becomes a streamOptimized VMDK, compared and hashed before it gets its name."""

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

    def checks(self) -> list[Check]:
        """The copy is the one that the plan asked for, its source was not written to since, and there is room for the VMDK."""
        run, plan = self.run, Plan.find(self._folder)
        ready = prepared.complete(self._folder, plan, survey.origin_of(run.home, run.site, run.guest))
        return [ready.waiting(), *conversion.checks(self._folder)]

    def complete(self) -> Check:
        """Whether the VMDK is whole, as it was recorded, and made of this very copy. Reads both to the end."""
        return conversion.complete(self._folder)

    def start(self, progress: Progress = silent) -> None:
        """Convert and compare; on any failure nothing is left of the VMDK."""
        conversion.start(self._folder, progress)

    def hashes(self) -> list[dict[str, str]]:
        """The VMDK with its hashes; one row that says so where there is none yet."""
        made = Conversion.find(self._folder)
        if made is None:
            return [{"what": "VMDK", "found": "not made yet"}]
        pace = f"{made.seconds:.1f} s, level {made.level}, {made.threads} threads, compared by qemu-img {made.qemu_img}"
        facts = {
            "VMDK": f"{made.vmdk}, {made.vmdk_bytes:,} bytes",
            "capacity": f"{made.virtual_bytes:,} bytes, {made.ratio:.1f} times the file",
            "SHA-256": made.vmdk_sha256,
            "SHA-1": made.vmdk_sha1,
            "content digest of the copy": made.copy_digest,
            "time": pace,
        }
        return [{"what": what, "found": found} for what, found in facts.items()]

    def map_of_the_disk(self) -> "Figure":
        """Where on the disk there is data, and the rate of reading over time."""
        from hikkoshi.figures import picture  # noqa: PLC0415 - matplotlib is slow to load

        made = Conversion.find(self._folder)
        return picture.figure(self._folder.prepared_copy, self._folder.vmdk, made.samples if made else ())

    def header(self) -> list[dict[str, str]]:
        """The VMDK's header and descriptor, as vSphere's import reads them."""
        if not self._folder.vmdk.is_file():
            return [{"field": "VMDK", "value": "not made yet"}]
        header = vmdk.read(self._folder.vmdk)
        facts = {
            "header version": str(header.version),
            "flags": f"{header.flags:#x}" + (": deflated grains with markers" if header.stream else ""),
            "capacity": f"{header.capacity:,} bytes",
            "grain": f"{header.grain:,} bytes",
            **header.descriptor,
        }
        return [{"field": field, "value": value} for field, value in facts.items()]

    def proofs(self) -> list[Check]:
        """Everything that can be asked of a finished conversion: its hashes, its header, its content by two readers."""
        there = self._folder.vmdk.is_file()
        return [c.waiting(not there) for c in conversion.proofs(self._folder)]

    def evidence(self) -> list[Path]:
        """The VMDK, and what was made of what."""
        return [self._folder.vmdk, self._folder.conversion]
