"""An OVA: descriptor, manifest and disks in one tar file, for readers that are not vSphere."""

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from hikkoshi import files
from hikkoshi.vsphere import ovf
from hikkoshi.vsphere.spec import VmSpec


def write(spec: VmSpec, vmdks: Sequence[Path], target: Path) -> Path:
    """Write `target`, an .ova file: descriptor first, then the manifest with SHA-256 sums, then the disks."""
    descriptor = ovf.descriptor(spec, *((vmdk.name, vmdk.stat().st_size) for vmdk in vmdks)).encode()
    sums = {f"{spec.name}.ovf": hashlib.sha256(descriptor).hexdigest(), **{v.name: files.sha256(v) for v in vmdks}}
    manifest = "".join(f"SHA256({name})= {digest}\n" for name, digest in sums.items()).encode()
    with files.part(target) as unfinished, tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in ((f"{spec.name}.ovf", descriptor), (f"{spec.name}.mf", manifest)):
            tar.addfile(_member(name, len(content)), io.BytesIO(content))
        for vmdk in vmdks:
            with vmdk.open("rb") as disk:
                tar.addfile(_member(vmdk.name, vmdk.stat().st_size), disk)
    return target


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member
