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
import tempfile
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hikkoshi import files, tool
from hikkoshi.errors import Problem, StepFailed
from hikkoshi.progress import Progress, silent
from hikkoshi_lab import ext3, lvm, packages, partitions, userland
from hikkoshi_lab.body import access
from hikkoshi_lab.body.access import Access
from hikkoshi_lab.packages import Package
from hikkoshi_lab.userland import Places

SWAP_BYTES = 512 << 20  # on LVM, and as a partition of its own
FURTHER_BYTES = 64 << 20  # of swap, and of data, on disks of their own
EPOCH = 1416787200  # 2014-11-24: the last day anything in the guests was changed


Names = Literal["device", "label", "uuid"]
GROUP, VOLUMES = "VolGroup00", ("LogVol00", "LogVol01")  # what anaconda called LVM's: / and swap


@dataclass(frozen=True)
class GuestNic:
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
    nics: tuple[GuestNic, ...]
    forwards: bool
    # disks: swap is a disk, and so is /srv; partitions: Xen gives each as a disk of its own
    layout: Literal["disk", "disks", "lvm", "partitions"] = "disk"
    fstab: Names = "device"  # how /etc/fstab names /boot and /; not with LVM
    root: Names = "device"  # how the kernel's arguments name /
    kernels: tuple[Literal["xen", "ordinary"], ...] = ("xen", "ordinary")  # in the boot menu; the first is the default
    drivers: tuple[str, ...] = ()  # of VMware's controllers, in the ordinary kernel's initrd
    reached: bool = False  # by ssh, as `hikkoshi_lab.body.access` says
    # what configures the NICs, `rules` with names by udev's; in Debian only but for the first
    network: Literal["scripts", "rules", "networkd", "netplan", "keyfile"] = "scripts"
    # of Debian only
    tree: str = "debian"  # its root file system, as in hikkoshi_lab.debian.tree
    file_system: Literal["ext4", "xfs", "btrfs"] = "ext4"  # of its root
    firmware: Literal["bios", "efi"] = "bios"
    small_initrd: bool = False  # one that Xen alone can start from
    disk_names: tuple[str, str] = ("xvda", "xvda")  # what its files call the disk: of / and of swap
    nic_names: str = "eth"

    @property
    def uuid(self) -> uuid.UUID:
        """Its identity, the same for ever."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.guests.hikkoshi.example")


IDP = GuestImage(
    name="idp",
    disk_bytes=9_400_000_000 // 2**20 * 2**20,
    memory_mb=1024,
    vcpus=1,
    nics=(GuestNic("00:16:3e:01:00:00", ipaddress.IPv4Interface("10.2.10.20/24"), "xenbr210"),),
    forwards=False,
    layout="disks",
)
GATEWAY = GuestImage(
    name="gateway",
    disk_bytes=64 * 2**30,
    memory_mb=640,
    vcpus=1,
    nics=tuple(
        GuestNic(f"00:16:3e:05:00:{n:02x}", ipaddress.IPv4Interface(f"10.{side}.{vlan}.254/24"), f"xenbr{side}0{vlan}")
        for n, (side, vlan) in enumerate((side, vlan) for side in (3, 5) for vlan in (1, 2, 3, 4, 5))
    ),
    forwards=True,
    reached=True,
)


# what the files of each disk of a guest are called after its name, by the disk's name under Xen
FILES = {
    "disk": {"xvda": ""},
    "disks": {"xvda": "", "xvdb": "-swap", "xvdc": "-srv"},
    "lvm": {"xvda": ""},
    "partitions": {"xvda1": "-root", "xvda2": "-swap"},
}
VNC_PASSWORD = "hon-no-mushi"


def xm_config(image: GuestImage) -> str:
    """The guest's file in /etc/xen, as CentOS 5's virt-install wrote it."""
    where = f"tap:aio:/var/lib/xen/images/{image.name}"
    disks = ", ".join(f'"{where}{part}.img,{vdev},w"' for vdev, part in FILES[image.layout].items())
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
vfb = [ "type=vnc,vncunused=1,vncpasswd={VNC_PASSWORD},keymap=ja" ]
disk = [ {disks} ]
vif = [ {vifs} ]
"""


def inputs_hash(image: GuestImage, deb: Mapping[str, Package], tools: str, keys: Access | None = None) -> str:
    """SHA-256 over all that the disk is made of: the description, packages, our files and the tools' versions."""
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        digest.update(f"{name} {len(content)}\n".encode() + content)

    add("description", json.dumps(asdict(image), default=str, sort_keys=True).encode())
    for name in sorted(deb):
        add(f"package {name}", deb[name].sha256.encode())
    for module in ("image", "userland", "partitions", "lvm", "ext3", "initrd", "body/access"):
        add(module, (Path(__file__).parent / f"{module}.py").read_bytes())
    for path, data in userland.el5().items():
        add(f"el5/{path}", data)
    add("tools", tools.encode())
    if keys:
        add("keys", keys.host_key + keys.authorized)
    return digest.hexdigest()


def build(image: GuestImage, progress: Progress = silent) -> Path:
    """The first of the `disks` of a guest that has whole ones."""
    return disks(image, progress)["xvda"]


def disks(image: GuestImage, progress: Progress = silent) -> dict[str, Path]:
    """Make the guest's disks, or find them made already: {virtual device: raw, sparse image}, which nobody may change.

    `progress` counts stages. `BadInput` where packages are missing: building downloads nothing.
    """
    deb = packages.load()
    guests = tool.cache() / "guests"
    tools = tool.run(["mke2fs", "-V"]).stderr + zlib.ZLIB_RUNTIME_VERSION
    keys = access.keys() if image.reached else None
    done = guests / inputs_hash(image, deb, tools, keys)[:32]
    guests.mkdir(parents=True, exist_ok=True)
    # one builder at a time; the others wait and find the image made
    with (guests / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _room(guests)
            with tempfile.TemporaryDirectory(prefix="part.", dir=guests) as folder:
                work, made = Path(folder), Path(folder) / "made"
                made.mkdir()
                _verify(deb)
                _assemble(image, deb, work, made, progress)
                for disk in made.iterdir():
                    disk.chmod(0o444)
                    with disk.open("rb") as f:
                        os.fsync(f.fileno())
                made.replace(done)
    found = {disk.stem: disk for disk in sorted(done.iterdir())}
    progress(5, 5, f"{image.name}: {files.human(sum(map(allocated, found.values())))} on disk")
    return found


def allocated(path: Path) -> int:
    """Bytes that a sparse file takes up."""
    return path.stat().st_blocks * 512


def _room(guests: Path) -> None:
    free = shutil.disk_usage(guests).free
    if free < 2**30:
        raise StepFailed(
            Problem(
                code="lab-no-room",
                what="not enough room to build a guest",
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
                    code="lab-package-damaged",
                    what="a package for the lab's guests is damaged",
                    where=str(package.path),
                    found=f"sha256 {files.sha256(package.path)}",
                    expected=f"sha256 {package.sha256}",
                    remedy=f"delete {package.path} and run `make setup`",
                )
                for package in wrong
            )
        )


def _assemble(image: GuestImage, deb: Mapping[str, Package], work: Path, made: Path, progress: Progress) -> None:
    """Write the disks into the folder `made`."""
    progress(0, 5, f"{image.name}: unpacking the kernel")
    ordinary = userland.kernel(deb[packages.KERNEL])
    progress(1, 5, f"{image.name}: unpacking programs")
    programs = userland.programs(deb, lvm=image.layout == "lvm", reached=image.reached)
    busybox = work / "busybox"
    busybox.write_bytes(programs["bin/busybox"].data)
    busybox.chmod(0o755)
    programs = userland.applets(busybox) | programs

    progress(2, 5, f"{image.name}: making /boot")
    place = places(image)
    boot = dict(userland.boot(ordinary, programs, EPOCH, place, image.kernels, image.drivers))
    tree = userland.root(
        image.name, image.nics, image.forwards, ordinary, programs, place, access.keys() if image.reached else None
    )
    ids = {part: str(uuid.uuid5(image.uuid, part)) for part in ("boot", "root", "swap")}
    if image.layout == "partitions":
        progress(3, 5, f"{image.name}: making / and swap")
        whole = {**tree, **{f"boot/{path}": node for path, node in boot.items()}}
        size = image.disk_bytes - SWAP_BYTES
        ext3.make(whole, made / "xvda1.img", size, label="/", uuid=ids["root"], epoch=EPOCH)
        _swap(made / "xvda2.img", 0, SWAP_BYTES, ids["swap"], place.swap_label)
        return
    disk, on_lvm = made / "xvda.img", image.layout == "lvm"
    kinds = {"disk": partitions.KINDS, "disks": partitions.KINDS[:2]}.get(image.layout, (partitions.LINUX, partitions.LVM))
    at = partitions.bounds(image.disk_bytes, kinds)
    grub = userland.unpack(deb["grub-legacy"], lambda p: p.startswith(("usr/lib/grub/x86_64-pc/", "usr/sbin/grub")))
    for stage in ("stage1", "stage2", "e2fs_stage1_5"):
        boot[f"grub/{stage}"] = ext3.file(grub[f"usr/lib/grub/x86_64-pc/{stage}"].data)
    disk.write_bytes(partitions.table(image.disk_bytes, image.uuid, kinds))
    ext3.make(boot, work / "boot.img", at[1] - at[0], label="/boot", uuid=ids["boot"], epoch=EPOCH)
    partitions.sparse_copy(work / "boot.img", disk, at[0])
    # GRUB sees the disk only as far as /boot goes: its installer was never meant for 64 GiB of file
    os.truncate(disk, at[1])
    _install_grub(disk, grub["usr/sbin/grub"].data, deb["libc6-i386"], work)

    progress(3, 5, f"{image.name}: making /")
    root_at, root_end, swap_at, swap_end = at[1], at[2], at[2], at[-1]
    if on_lvm:
        swap_extents = SWAP_BYTES // lvm.EXTENT
        volumes = (
            lvm.Volume(VOLUMES[0], (at[2] - at[1] - lvm.START) // lvm.EXTENT - swap_extents),
            lvm.Volume(VOLUMES[1], swap_extents),
        )
        root_at, swap_at = (at[1] + offset for offset in lvm.offsets(volumes))
        root_end, swap_end = swap_at, swap_at + SWAP_BYTES
        with disk.open("r+b") as f:
            f.seek(at[1])
            f.write(lvm.head(GROUP, volumes, at[2] - at[1], image.uuid, "/dev/xvda2"))
    ext3.make(tree, work / "root.img", root_end - root_at, label="/", uuid=ids["root"], epoch=EPOCH)
    progress(4, 5, f"{image.name}: putting the disk together")
    partitions.sparse_copy(work / "root.img", disk, root_at)
    os.truncate(disk, image.disk_bytes)
    if image.layout == "disks":
        _swap(made / "xvdb.img", 0, FURTHER_BYTES, ids["swap"])
        data, identity = {"idp/members": ext3.file(f"{image.name}\n")}, str(uuid.uuid5(image.uuid, "srv"))
        ext3.make(data, made / "xvdc.img", FURTHER_BYTES, label="/srv", uuid=identity, epoch=EPOCH)
    else:
        _swap(disk, swap_at, swap_end, ids["swap"], place.swap_label)


def _swap(disk: Path, at: int, end: int, identity: str, label: str = "") -> None:
    """Swap space between two places of a disk, which is made, or grows, to the second of them."""
    with disk.open("r+b" if disk.exists() else "wb") as f:
        f.seek(at)
        f.write(partitions.swap_header(end - at, uuid.UUID(identity), label))
        f.truncate(max(end, os.fstat(f.fileno()).st_size))


def places(image: GuestImage) -> Places:
    """Where the guest's own files say that its file systems are."""
    if image.layout == "lvm":
        root, swap = (f"/dev/{GROUP}/{volume}" for volume in VOLUMES)
        return Places(root, root, "LABEL=/boot", swap, "", "(hd0,0)", "")

    def named(names: Names, part: str, label: str, device: str) -> str:
        return {"device": device, "label": f"LABEL={label}", "uuid": f"UUID={uuid.uuid5(image.uuid, part)}"}[names]

    if image.layout == "partitions":
        root, argument = (named(names, "root", "/", "/dev/xvda1") for names in (image.fstab, image.root))
        return Places(argument, root, "", "/dev/xvda2", "SWAP-xvda2", "(hd0)", "/boot")
    root, argument = (named(names, "root", "/", "/dev/xvda2") for names in (image.fstab, image.root))
    boot = named(image.fstab, "boot", "/boot", "/dev/xvda1")
    if image.layout == "disks":
        return Places(argument, root, boot, "/dev/xvdb", "", "(hd0,0)", "", data="/dev/xvdc")
    return Places(argument, root, boot, "LABEL=SWAP-xvda3", "SWAP-xvda3", "(hd0,0)", "")


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
                code="lab-grub-not-written",
                what="GRUB could not be written to a guest's disk",
                where=str(disk),
                found=tool.tail(said),
                expected="'succeeded' for its stage 1.5 and for the MBR",
                remedy="this machine must be able to run 32-bit programs (a kernel with IA-32 emulation)",
            )
        )
