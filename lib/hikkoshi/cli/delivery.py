"""A disk into a machine of its own in vSphere, in one pass: it goes out while it is read, and into a file beside that.

For a disk that needs no preparation and no rehearsal, such as one with data. The whole stream would have to be made before
its length and its tables are known, which takes as long again as sending it (tests/bench/upload.py); so the upload goes in
chunks, and the stream is one with its tables behind the grains. What VMware's own tools do with both is told in
`hikkoshi.vsphere.nfc` and `hikkoshi.disk.layout`. A server that takes neither refuses the upload, and nothing is left of it.
"""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hikkoshi.disk import stream
from hikkoshi.disk.extents import Source
from hikkoshi.disk.packing import Level
from hikkoshi.disk.stream import Transfer
from hikkoshi.disk.transfer import Done, alone, telling
from hikkoshi.errors import Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.params.site import VSphere as Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run import lock
from hikkoshi.vsphere import importing, nfc, vm
from hikkoshi.vsphere.importing import Imported
from hikkoshi.vsphere.preflight import limits, readiness
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VmSpec


@dataclass(frozen=True)
class Delivered(Done):
    """What became of a disk that went to vSphere."""

    imported: Imported

    def plain(self) -> dict[str, Any]:
        """As JSON; sizes in bytes, hashes in hexadecimal."""
        made = self.imported
        (sent,) = made.sent
        return {
            **super().plain(),
            "machine": {
                "name": made.machine.name,
                "id": made.machine.id,
                "host": made.host,
                "bytes": sent.bytes,
                "sha256": sent.sha256,
                "sha1": sent.sha1,
                "manifest": made.manifest,
                "warnings": list(made.warnings),
            },
        }

    def rows(self) -> list[dict[str, str]]:
        """For a reader."""
        made = self.imported
        (sent,) = made.sent
        told = {
            "machine": f"{made.machine.name} ({made.machine.id}) on {made.host}, off, no NIC",
            "sent": f"{sent.bytes:,} bytes; {made.manifest}",
            "SHA-256 as sent": sent.sha256,
            "SHA-1 as sent": sent.sha1,
        }
        return [*super().rows(), *({"what": what, "found": found} for what, found in told.items())]


def send(
    v: Session,
    home: Home,
    disk: Source,
    name: str,
    target: Path | None = None,
    *,
    level: Level = "fast",
    progress: Progress = silent,
) -> Delivered:
    """Make the machine `name` in vSphere with this disk and no NIC, switched off; and the VMDK `target` at the same time.

    The disk goes out while it is read. After any failure neither machine nor file is left. Holds a lock on the name, as a run
    does on its guest.
    """
    site = home.site().vsphere
    spec = VmSpec(
        name=name,
        guest_id="otherLinux64Guest",
        hardware_version=site.hardware_version,
        vcpus=1,
        memory_mb=1024,
        disk_bytes=stream.capacity(disk.size),
        controller="lsilogic",
        nic_model="e1000",
        nics=(),
    )
    if refused := [c for c in limits.checks(spec) if not c]:
        raise Refused(*(c.problem() for c in refused))
    read: list[Transfer] = []
    with contextlib.ExitStack() as stack:
        run, locked = (f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-import", home.outputs / "imports" / f"{name}.lock")
        stack.enter_context(lock.acquire(locked, run, wait=0))
        order = importing.ImportOrder(
            vm.owner(home, run, locked), spec, {vm.GUEST: f"import:{name}"}, f"disk {disk.name}", ((f"{name}.vmdk", None),)
        )
        _may_be_made(v, site, order, name)
        file = stack.enter_context(contextlib.ExitStack())
        unfinished = file.enter_context(alone(disk, target)) if target else None
        named: list[Path] = []

        def go(lease: nfc.Lease, url: Any, _: int) -> nfc.Sent:
            def told(done: float, total: float, text: str) -> None:
                lease.told(int(done), int(total))
                progress(done, total, text)

            with nfc.Upload(v, lease, url) as up:
                flow = stream.Flow(disk, f"{name}.vmdk", up.put)
                if target and unfinished:
                    with telling(disk, unfinished):
                        made = stream.write(disk, unfinished, target.name, level=level, also=[flow], progress=told)
                    read.append(made)
                else:
                    read.append(stream.transfer(disk, [flow], level=level, progress=told))
            return up.sent

        def name_file(_: Imported) -> None:
            if target and unfinished:
                with telling(disk, unfinished):
                    file.close()
                named.append(target)

        try:
            imported = importing.start(v, site, order, go, progress, name_file)
        except BaseException:
            for path in named:  # it was not there before
                path.unlink(missing_ok=True)
            raise
    return Delivered(disk.name, read[0], target, imported)


def _may_be_made(v: Session, site: Site, order: importing.ImportOrder, name: str) -> None:
    guest, identity = order.marks[vm.GUEST], order.owner.site
    refused = [c for c in readiness.site_checks(v, site, order.spec, guest, identity) if not c]
    there = [m for m in vm.ours(v, identity, guest) if vm.COMPLETE in m.marks]
    if refused or there:
        raise Refused(
            *(c.problem() for c in refused),
            *(
                Problem(
                    code="imported-before",
                    what="the disk was imported before",
                    where=v.where,
                    found=f"{m}, complete since {m.marks[vm.COMPLETE]}",
                    expected=f"no machine {name}",
                    remedy="give another name, or remove that machine in the vSphere client if nobody needs it",
                )
                for m in there
            ),
        )
