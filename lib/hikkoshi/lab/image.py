"""The lab's guests: whole disks as CentOS 5 left them under Xen, which really boot once they are prepared.

`build` makes a disk without root or loop devices, bit for bit the same from the same inputs, and keeps it.
"""

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import shutil
import struct
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import Problem, StepFailed
from hikkoshi.lab import ext3, packages, userland
from hikkoshi.lab.packages import Package
from hikkoshi.progress import Progress, silent

EPOCH = 1416787200  # 2014-11-24: the last day anything in the guests was changed
SECTOR = 512
CYLINDER = 255 * 63 * SECTOR  # anaconda let partitions begin and end with cylinders, the first one track later
BOOT_CYLINDERS = 13
SWAP_CYLINDERS = 65


@dataclass(frozen=True)
class Nic:
    """One NIC: MAC in lower case with colons, address with prefix length, the bridge of the Dom-0 that it is on."""

    mac: str
    address: ipaddress.IPv4Interface
    bridge: str


@dataclass(frozen=True)
class GuestImage:
    """A guest: what Xen gives it, and what its operating system is set up for."""

    name: str
    disk_bytes: int
    memory_mb: int
    vcpus: int
    nics: tuple[Nic, ...]
    forwards: bool

    @property
    def uuid(self) -> uuid.UUID:
        """Its identity, the same for ever."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.guests.hikkoshi.example")


IDP = GuestImage(
    name="idp",
    disk_bytes=9_400_000_000 // 2**20 * 2**20,
    memory_mb=1024,
    vcpus=1,
    nics=(Nic("00:16:3e:01:00:00", ipaddress.IPv4Interface("10.2.10.20/24"), "xenbr210"),),
    forwards=False,
)
GATEWAY = GuestImage(
    name="gateway",
    disk_bytes=64 * 2**30,
    memory_mb=640,
    vcpus=1,
    nics=tuple(
        Nic(f"00:16:3e:05:00:{n:02x}", ipaddress.IPv4Interface(f"10.{side}.{vlan}.254/24"), f"xenbr{side}0{vlan}")
        for n, (side, vlan) in enumerate((side, vlan) for side in (3, 5) for vlan in (1, 2, 3, 4, 5))
    ),
    forwards=True,
)


def xm_config(image: GuestImage) -> str:
    """The guest's file in /etc/xen, as CentOS 5's virt-install wrote it."""
    vifs = ", ".join(f'"mac={nic.mac},bridge={nic.bridge},script=vif-bridge"' for nic in image.nics)
    return f"""\
name = "{image.name}"
uuid = "{image.uuid}"
maxmem = {image.memory_mb}
memory = {image.memory_mb}
vcpus = {image.vcpus}
bootloader = "/usr/bin/pygrub"
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "restart"
vfb = [ "type=vnc,vncunused=1,keymap=ja" ]
disk = [ "tap:aio:/var/lib/xen/images/{image.name}.img,xvda,w" ]
vif = [ {vifs} ]
"""


def inputs_hash(image: GuestImage, deb: Mapping[str, Package], tools: str) -> str:
    """SHA-256 over all that the disk is made of: the description, packages, our files and the tools' versions."""
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        digest.update(f"{name} {len(content)}\n".encode() + content)

    add("description", json.dumps(asdict(image), default=str, sort_keys=True).encode())
    for name in sorted(deb):
        add(f"package {name}", deb[name].sha256.encode())
    for module in ("image", "userland", "ext3", "initrd"):
        add(module, (Path(__file__).parent / f"{module}.py").read_bytes())
    for path, data in userland.el5().items():
        add(f"el5/{path}", data)
    add("tools", tools.encode())
    return digest.hexdigest()


def build(image: GuestImage, progress: Progress = silent) -> Path:
    """Make the guest's disk, or find it made already; path of the raw, sparse image, which nobody may change.

    `progress` counts stages. `BadInput` where packages are missing: building downloads nothing.
    """
    deb = packages.load()
    guests = packages.cache() / "guests"
    tools = tool.run(["mke2fs", "-V"]).stderr + zlib.ZLIB_RUNTIME_VERSION
    done = guests / inputs_hash(image, deb, tools)[:32] / "disk.img"
    guests.mkdir(parents=True, exist_ok=True)
    # one builder at a time; the others wait and find the image made
    with (guests / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _room(guests)
            with tempfile.TemporaryDirectory(prefix="part.", dir=guests) as folder:
                work = Path(folder)
                _verify(deb)
                _assemble(image, deb, work, progress)
                done.parent.mkdir(exist_ok=True)
                (work / "disk.img").chmod(0o444)
                with (work / "disk.img").open("rb") as f:
                    os.fsync(f.fileno())
                (work / "disk.img").replace(done)
    progress(5, 5, f"{image.name}: {files.human(allocated(done))} on disk")
    return done


def allocated(path: Path) -> int:
    """Bytes that a sparse file takes up."""
    return path.stat().st_blocks * 512


def _room(guests: Path) -> None:
    free = shutil.disk_usage(guests).free
    if free < 2**30:
        raise StepFailed(
            Problem(
                "not enough room to build a guest",
                where=str(guests),
                found=f"{files.human(free)} free",
                expected="1 GiB free",
                remedy="make room, or point XDG_CACHE_HOME elsewhere",
            )
        )


def _verify(deb: Mapping[str, Package]) -> None:
    wrong = [package for package in deb.values() if files.sha256(package.path) != package.sha256]
    if wrong:
        raise StepFailed(
            *(
                Problem(
                    "a package for the lab's guests is damaged",
                    where=str(package.path),
                    found=f"sha256 {files.sha256(package.path)}",
                    expected=f"sha256 {package.sha256}",
                    remedy=f"delete {package.path} and run `make setup`",
                )
                for package in wrong
            )
        )


def _assemble(image: GuestImage, deb: Mapping[str, Package], work: Path, progress: Progress) -> None:
    """Write work/disk.img."""
    progress(0, 5, f"{image.name}: unpacking the kernel")
    ordinary = userland.kernel(deb[packages.KERNEL])
    progress(1, 5, f"{image.name}: unpacking programs")
    programs = userland.programs(deb)
    busybox = work / "busybox"
    busybox.write_bytes(programs["bin/busybox"].data)
    busybox.chmod(0o755)
    programs = userland.applets(busybox) | programs
    grub = userland.unpack(deb["grub-legacy"], lambda p: p.startswith(("usr/lib/grub/x86_64-pc/", "usr/sbin/grub")))

    progress(2, 5, f"{image.name}: making /boot")
    boot = dict(userland.boot(ordinary, programs, EPOCH))
    for stage in ("stage1", "stage2", "e2fs_stage1_5"):
        boot[f"grub/{stage}"] = ext3.file(grub[f"usr/lib/grub/x86_64-pc/{stage}"].data)
    boot_start, root_start, swap_start, end = _layout(image.disk_bytes)
    disk = work / "disk.img"
    with disk.open("wb") as f:
        f.write(partition_table(image))
    ids = [str(uuid.uuid5(image.uuid, part)) for part in ("boot", "root", "swap")]
    ext3.make(boot, work / "boot.img", root_start - boot_start, label="/boot", uuid=ids[0], epoch=EPOCH)
    _sparse_copy(work / "boot.img", disk, boot_start)
    # GRUB sees the disk only as far as /boot goes: its installer was never meant for 64 GiB of file
    with disk.open("r+b") as f:
        f.truncate(root_start)
    _install_grub(disk, grub["usr/sbin/grub"].data, deb["libc6-i386"], work)

    progress(3, 5, f"{image.name}: making /")
    tree = userland.root(image.name, image.nics, image.forwards, ordinary, programs)
    ext3.make(tree, work / "root.img", swap_start - root_start, label="/", uuid=ids[1], epoch=EPOCH)
    progress(4, 5, f"{image.name}: putting the disk together")
    _sparse_copy(work / "root.img", disk, root_start)
    with disk.open("r+b") as f:
        f.seek(swap_start)
        f.write(_swap_header(end - swap_start, uuid.UUID(ids[2])))
        f.truncate(image.disk_bytes)


def _layout(size: int) -> tuple[int, int, int, int]:
    """Where /boot, / and swap begin and swap ends, in bytes."""
    cylinders = size // CYLINDER
    swap = cylinders - SWAP_CYLINDERS
    return 63 * SECTOR, BOOT_CYLINDERS * CYLINDER, swap * CYLINDER, cylinders * CYLINDER


def partition_table(image: GuestImage) -> bytes:
    """The MBR with three primary partitions, for /boot, / and swap, and no code yet."""
    at = _layout(image.disk_bytes)

    def chs(sector: int) -> bytes:
        cylinder, rest = divmod(sector, 255 * 63)
        head, number = divmod(rest, 63)
        if cylinder > 1023:
            cylinder, head, number = 1023, 254, 62
        return bytes((head, number + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))

    table = b""
    for start, stop, kind, active in ((at[0], at[1], 0x83, 0x80), (at[1], at[2], 0x83, 0), (at[2], at[3], 0x82, 0)):
        first, count = start // SECTOR, (stop - start) // SECTOR
        table += (
            bytes((active,)) + chs(first) + bytes((kind,)) + chs(first + count - 1) + struct.pack("<II", first, count)
        )
    return bytes(440) + image.uuid.bytes[:4] + bytes(2) + table + bytes(16) + b"\x55\xaa"


def _swap_header(size: int, identity: uuid.UUID) -> bytes:
    header = bytes(1024) + struct.pack("<III", 1, size // 4096 - 1, 0) + identity.bytes + b"SWAP-xvda3".ljust(16, b"\0")
    return header.ljust(4096 - 10, b"\0") + b"SWAPSPACE2"


def _install_grub(disk: Path, program: bytes, libc: Package, work: Path) -> None:
    """GRUB's first stages into the MBR and behind it, by its own installer, which runs with its libraries unpacked."""
    folder = work / "grub"
    folder.mkdir()
    for path, node in userland.unpack(libc, re.compile(r"(usr/)?lib32/(ld-linux|libc)\.so\.\d").fullmatch).items():
        (folder / path.rpartition("/")[2]).write_bytes(node.data)
    (folder / "ld-linux.so.2").chmod(0o755)
    (folder / "grub").write_bytes(program)
    loader: list[str | Path] = [folder / "ld-linux.so.2", "--library-path", folder]
    said = tool.run(
        [*loader, folder / "grub", "--batch", "--no-floppy", "--device-map=/dev/null"],
        stdin=f"device (hd0) {disk.name}\nroot (hd0,0)\nsetup (hd0)\nquit\n",
        env={"TERM": "dumb"},
        cwd=disk.parent,  # its shell knows no quotes for a path with a space
    ).stdout
    # it ends with 0 whatever happens
    if 'Running "install' not in said or said.count("succeeded") < 2 or "Error" in said:
        raise StepFailed(
            Problem(
                "GRUB could not be written to a guest's disk",
                where=str(disk),
                found=tool.tail(said),
                expected="'succeeded' for its stage 1.5 and for the MBR",
                remedy="this machine must be able to run 32-bit programs (a kernel with IA-32 emulation)",
            )
        )


def _sparse_copy(source: Path, disk: Path, at: int) -> None:
    """Copy a file to a place in the disk, leaving out what is zero."""
    with source.open("rb") as f, disk.open("r+b") as out:
        for start, stop in _data(f.fileno(), source.stat().st_size):
            f.seek(start)
            for position in range(start, stop, 65536):
                block = f.read(min(65536, stop - position))
                if block.count(0) != len(block):
                    out.seek(at + position)
                    out.write(block)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of a sparse file that are not holes."""
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, position
