"""A machine as files, for whoever imports it in our place: OVF descriptor, manifest and disks, in a folder or as one OVA.

An OVA is a tar file with the descriptor first, then the manifest, then the disks in the descriptor's order (DMTF DSP0243, which
names the ustar format). A member of 8 GiB and more has no place in that format; it has its size in base 256, as GNU tar writes
it: VMware's open-vmdk packs so, since vSphere reads these and no extended (PAX) headers.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from hikkoshi import files
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import Problem, StepFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CONVERT
from hikkoshi.vsphere import ovf
from hikkoshi.vsphere.spec import VmSpec

SHA1_UNTIL = 11  # hardware version of ESXi 6.0: clients of 6.0 and before refuse a manifest of SHA-256 sums
USTAR_LARGEST = 0o77777777777  # bytes of a member, eleven octal digits
BLOCK = 1 << 20


@dataclass(frozen=True)
class PackagedDisk:
    """One VMDK, and the sums that it had when it was converted."""

    path: Path
    sha256: str
    sha1: str


@dataclass(frozen=True)
class PackedFile:
    """One file as it was written."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class OvfPackage:
    """A machine and its disks. The files are named after the first disk, the guest's, since a machine's name may hold blanks."""

    spec: VmSpec
    disks: tuple[PackagedDisk, ...]

    @classmethod
    def of(cls, spec: VmSpec, conversion: Conversion, folder: GuestFolder) -> "OvfPackage":
        """Of a guest's disks as they were converted."""
        each = (PackagedDisk(folder.disks / disk.vmdk, disk.vmdk_sha256, disk.vmdk_sha1) for disk in conversion.each)
        return cls(spec, tuple(each))

    @property
    def algorithm(self) -> Literal["sha1", "sha256"]:
        """What the manifest's sums are."""
        return "sha1" if self.spec.hardware_version <= SHA1_UNTIL else "sha256"

    @property
    def size(self) -> int:
        """Bytes of the disks; everything else is small."""
        return sum(disk.path.stat().st_size for disk in self.disks)

    @property
    def stem(self) -> str:
        """What descriptor, manifest and OVA are called, without their endings."""
        return self.disks[0].path.stem

    @property
    def descriptor_sha256(self) -> str:
        """What the machine is known by before there is one: the same machine and disks have the same."""
        return hashlib.sha256(self.texts()[f"{self.stem}.ovf"]).hexdigest()

    def texts(self) -> dict[str, bytes]:
        """{name: content} of descriptor and manifest, in this order. The descriptor is the one that vSphere's import is given."""
        name = f"{self.stem}.ovf"
        descriptor = ovf.descriptor(self.spec, *((d.path.name, d.path.stat().st_size) for d in self.disks)).encode()
        sums = {name: hashlib.new(self.algorithm, descriptor, usedforsecurity=False).hexdigest()}
        sums |= {d.path.name: d.sha1 if self.algorithm == "sha1" else d.sha256 for d in self.disks}
        manifest = "".join(f"{self.algorithm.upper()}({name})= {digest}\n" for name, digest in sums.items())
        return {name: descriptor, f"{self.stem}.mf": manifest.encode()}

    def write_ova(self, target: Path, progress: Progress = silent) -> PackedFile:
        """Write `target`, one file, in one pass. `StepFailed` where a disk is not as it was converted; then there is no file."""
        with files.part(target) as unfinished, unfinished.open("wb") as file:
            out = _Summed(file)
            with tarfile.TarFile(fileobj=out, mode="w", copybufsize=BLOCK) as tar:  # type: ignore[arg-type]
                for name, content in self.texts().items():
                    add(tar, name, len(content), io.BytesIO(content))
                for disk, read in self._read(progress):
                    add(tar, disk.path.name, read.size, read)
                    read.check()
        return PackedFile(target.name, out.bytes, out.sha256.hexdigest())

    def write_folder(self, folder: Path, progress: Progress = silent) -> tuple[PackedFile, ...]:
        """Write the files into a folder that is there, each one whole or not at all; see `write_ova`."""
        written = []
        for name, content in self.texts().items():
            files.write(folder / name, content)
            written.append(PackedFile(name, len(content), hashlib.sha256(content).hexdigest()))
        for disk, read in self._read(progress):
            with files.part(folder / disk.path.name) as unfinished, unfinished.open("wb") as file:
                while block := read.read(BLOCK):
                    file.write(block)
                read.check()
            written.append(PackedFile(disk.path.name, read.size, disk.sha256))
        return tuple(written)

    def _read(self, progress: Progress) -> Iterator[tuple[PackagedDisk, "_Disk"]]:
        """Every disk, to read from."""
        whole, before = self.size, 0
        for disk in self.disks:
            with _opened(disk, progress, before, whole) as read:
                yield disk, read
            before += read.size


def add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes] | "_Disk") -> None:
    """Add a member of this size in bytes: in ustar's own format wherever that can hold it."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    tar.format = tarfile.USTAR_FORMAT if size <= USTAR_LARGEST else tarfile.GNU_FORMAT
    tar.addfile(member, content)


class _Summed:
    """A file to write to, with its length and SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.bytes, self.sha256 = file, 0, hashlib.sha256()

    def tell(self) -> int:
        return self.bytes

    def write(self, block: bytes) -> int:
        self.sha256.update(block)
        self.bytes += len(block)
        return self._file.write(block)


@dataclass
class _Disk:
    """A disk that is read once, from its beginning to its end."""

    disk: PackagedDisk
    file: IO[bytes]
    size: int
    progress: Progress
    before: int  # bytes of the disks before it
    whole: int
    done: int = 0
    sums: dict[str, "hashlib._Hash"] = field(
        default_factory=lambda: {a: hashlib.new(a, usedforsecurity=False) for a in ("sha256", "sha1")}
    )

    def read(self, size: int = BLOCK) -> bytes:
        block = self.file.read(size)
        for total in self.sums.values():
            total.update(block)
        self.done += len(block)
        self.progress(self.before + self.done, self.whole, self.disk.path.name)
        return block

    def check(self) -> None:
        """`StepFailed` where these are not the bytes that were converted: then the manifest is not true either."""
        found = {name: total.hexdigest() for name, total in self.sums.items()}
        for name, wanted in (("sha256", self.disk.sha256), ("sha1", self.disk.sha1)):
            if found[name] != wanted:
                raise StepFailed(
                    Problem(
                        code="disk-file-differs",
                        what="the disk file is not the one that was converted",
                        where=str(self.disk.path),
                        found=found[name],
                        expected=wanted,
                        remedy=f"find out who changed it, then run {CONVERT} again",
                    )
                )


@contextmanager
def _opened(disk: PackagedDisk, progress: Progress, before: int, whole: int) -> Iterator[_Disk]:
    with files.opened(disk.path) as file:
        yield _Disk(disk, file, disk.path.stat().st_size, progress, before, whole)
