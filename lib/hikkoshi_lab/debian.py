"""A real Debian guest for the lab, as Xen administrators made theirs: systemd, initramfs-tools, ifupdown, one kernel for all.

`python -m hikkoshi_lab.debian` makes its root file system from this machine's own apt sources; `.ci/setup` calls it, as root
and while there is a network. After that nothing is downloaded. Where this machine is an Ubuntu, so is the guest.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import BadInput, HikkoshiError, Problem, StepFailed
from hikkoshi_lab import packages, partitions
from hikkoshi_lab.image import GuestImage

MIB = 1 << 20
ROOT_BYTES = 1600 * MIB
SWAP_BYTES = 128 * MIB
INCLUDED = (
    *("systemd-sysv", "udev", "dbus", "linux-image-amd64", "grub-pc", "initramfs-tools", "zstd", "ifupdown", "iproute2"),
    *("openssh-server", "ethtool", "kmod", "e2fsprogs", "login"),
)
# what no guest of a server needs, to keep the disk small; no driver that matters here is among it
EXCLUDED = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*"),
    *(
        f"/lib/modules/*/kernel/{folder}/*"
        for folder in (
            *("sound", "net/bluetooth", "drivers/media", "drivers/gpu", "drivers/infiniband", "drivers/staging"),
            *("drivers/net/wireless", "drivers/iio", "drivers/bluetooth", "drivers/isdn", "drivers/hid", "drivers/mmc"),
            # an initrd with all drivers is made, read and unpacked by an emulated processor
            *("drivers/net/ethernet/[!i]*", "drivers/net/ethernet/intel/i*", "drivers/net/usb", "drivers/scsi/*", "drivers/nvme"),
            *("drivers/i2c", "drivers/target", "drivers/block/drbd", "drivers/ufs", "drivers/thunderbolt", "drivers/usb/storage"),
            *("fs/btrfs", "fs/xfs", "fs/nfs*", "fs/f2fs", "fs/jfs", "fs/reiserfs", "fs/ocfs2", "net/ceph", "net/sunrpc"),
        )
    ),
)
XEN_ONLY = {  # settings of initramfs-tools for an initrd that Xen alone can start from
    "/etc/initramfs-tools/modules": "xen-blkfront\next4\n",
    "/etc/initramfs-tools/conf.d/small": "MODULES=list\nRESUME=/dev/xvda1\n",
}
# what takes long under emulation, and tells nothing of a move
UNTOLD = ("e2scrub_reap.service", "modprobe@drm.service", "modprobe@efi_pstore.service")
UNUSED = ("kvm_amd", "kvm_intel", "powernow_k8", "floppy", "psmouse", "pcspkr", "i2c_piix4", "aesni_intel", "crc32_pclmul")
HOOKS = (  # run with the new root as $1
    'chroot "$1" update-initramfs -u',
    'cp -a "$1/etc/initramfs-tools" "$1/small"',
    *(
        f"""printf '{content.encode("unicode_escape").decode()}' >"$1/small/{path.split("/", 3)[3]}\""""
        for path, content in XEN_ONLY.items()
    ),
    'chroot "$1" sh -c "mkinitramfs -d /small -o /boot/small.img $(ls "$1/lib/modules")"',
    'rm -r "$1/small"',
    'chroot "$1" systemctl enable serial-getty@hvc0.service',
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb',
)


def _recipe() -> Path:
    """Where the root file system of this recipe is kept."""
    content = json.dumps([INCLUDED, EXCLUDED, HOOKS, ROOT_BYTES]).encode()
    return packages.cache() / "packages" / f"debian-{hashlib.sha256(content).hexdigest()[:16]}.ext4"


def fetch() -> str:
    """Make the root file system with mmdebstrap, once; a sentence about it. Needs root."""
    made = _recipe()
    if made.is_file():
        return f"there already, {files.human(made.stat().st_blocks * 512)}"
    if os.geteuid() != 0:
        return "not made: only root can (its tests are skipped)"
    release = Path("/etc/os-release").read_text()
    suite = re.search(r"^VERSION_CODENAME=(\S+)", release, re.M)
    etc = Path("/etc/apt")
    sources = [p for p in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))) if _is_system(p)]
    if not suite or not sources:
        return "not made: no apt sources of Debian or Ubuntu were found here"
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / "debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            for older in made.parent.glob("debian-*"):  # of another recipe, or of a run that was killed
                shutil.rmtree(older) if older.is_dir() else older.unlink()
            with tempfile.TemporaryDirectory(prefix="debian-part.", dir=made.parent) as folder:
                _make(made, Path(folder), suite[1], sources)
    return f"made, {files.human(made.stat().st_blocks * 512)}"


def _make(made: Path, folder: Path, suite: str, sources: Sequence[Path]) -> None:
    tree, archive = folder / "root", folder / "root.tar"
    options = [f"--dpkgopt=path-exclude={path}" for path in EXCLUDED]
    options += [f"--customize-hook={hook}" for hook in HOOKS]
    quiet = ["--quiet", "--mode=root", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
    include = f"--include={','.join(INCLUDED)}"
    tool.run(["mmdebstrap", *quiet, *options, include, suite, archive, *sources], timeout=1800, env=packages.settings())
    tree.mkdir()
    tool.run(["tar", "-xpf", archive, "-C", tree, "--numeric-owner", "--exclude=./dev/*"])
    with files.part(made) as unfinished:
        with unfinished.open("wb") as f:
            f.truncate(ROOT_BYTES)
        identity = "6b9c8e0e-7b4f-4d3c-9f59-0d3b5a1c2e01"
        tool.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", identity, "-d", tree, unfinished])


def _is_system(path: Path) -> bool:
    """Whether it is the apt source that this machine itself is installed from."""
    if path.suffix not in (".list", ".sources") or "hikkoshi" in path.name or not path.is_file():
        return False
    return re.search(r"\bmain\b", path.read_text()) is not None and re.search(r"debian|ubuntu", path.read_text()) is not None


def available() -> bool:
    """Whether the set-up has made the root file system."""
    return _recipe().is_file()


def disks(image: GuestImage) -> dict[str, Path]:
    """Make the guest's disks, or find them made already: {virtual device: raw, sparse image}, which nobody may change.

    With `layout` "disk": / and swap on one, GRUB 2 in front, root=/dev/xvda1, and Debian's usual initrd, which holds every
    driver. With "partitions", as xen-create-image made them: swap on xvda1, / on xvda2, a menu.lst for pygrub and no boot
    loader, an initrd for Xen alone.
    """
    root = _recipe()
    if not root.is_file():
        raise BadInput(
            Problem(
                code="lab-debian-not-made",
                what="the Debian guest was not made",
                where=str(root),
                found="no file",
                expected="its root file system",
                remedy="run `make setup` as root",
            )
        )
    description = f"{image} {root.name}".encode() + Path(__file__).read_bytes()
    done = packages.cache() / "guests" / hashlib.sha256(description).hexdigest()[:32]
    done.parent.mkdir(parents=True, exist_ok=True)
    with (done.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            with tempfile.TemporaryDirectory(prefix="part.", dir=done.parent) as folder:
                made = Path(folder) / "made"
                made.mkdir()
                _assemble(image, root, made)
                for disk in made.iterdir():
                    disk.chmod(0o444)
                made.replace(done)
    return {disk.stem: disk for disk in sorted(done.iterdir())}


def _assemble(image: GuestImage, root: Path, made: Path) -> None:
    whole = image.layout == "disk"
    system, swap = ("/dev/xvda1", "/dev/xvda2") if whole else ("/dev/xvda2", "/dev/xvda1")
    disk = made / ("xvda.img" if whole else "xvda2.img")
    header = partitions.swap_header(SWAP_BYTES, image.uuid, "swap")
    start = MIB if whole else 0
    partitions.sparse_copy(root, _sized(disk, start + ROOT_BYTES + (SWAP_BYTES if whole else 0)), start)
    with disk.open("r+b") if whole else _sized(made / "xvda1.img", SWAP_BYTES).open("r+b") as f:
        f.seek(start + ROOT_BYTES if whole else 0)
        f.write(header)
    job = {
        "disk": str(disk),
        "bounds": [start // 512, (start + ROOT_BYTES) // 512, (start + ROOT_BYTES + SWAP_BYTES) // 512] if whole else [],
        "system": system,
        "files": _files(image, system, swap),
        "commands": [
            ["systemctl", "mask", *UNTOLD],
            *([["systemctl", "enable", "systemd-networkd"]] if image.network == "networkd" else []),
        ],
    }
    done = subprocess.run(
        [tool.guestfs_python(), "-c", _APPLIANCE],
        input=json.dumps(job),
        env=tool.environment("python3"),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise StepFailed(
            Problem(
                code="lab-debian-not-assembled",
                what="the Debian guest could not be put together",
                where=str(disk),
                found=tool.tail(done.stderr),
                expected="no word",
                remedy="see `hikkoshi doctor`",
            )
        )


def _sized(path: Path, size: int) -> Path:
    with path.open("wb") as f:
        f.truncate(size)
    return path


def _files(image: GuestImage, system: str, swap: str) -> dict[str, str]:
    """What tells this guest from others, by path."""
    return (XEN_ONLY if image.layout == "partitions" else {}) | {
        "/etc/hostname": f"{image.name}\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{image.name}\n",
        "/etc/fstab": f"{system} / ext4 errors=remount-ro 0 1\n{swap} none swap sw 0 0\nproc /proc proc defaults 0 0\n",
        **_network(image),
        "/etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\n"
        'GRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="console=hvc0"\n',
        "/etc/modprobe.d/lab.conf": "".join(f"blacklist {module}\n" for module in UNUSED),
        "/etc/modules": "# what a guest of Xen often has\nxen-netfront\n",
        "/etc/sysctl.conf": "# xen-tools left this\nxen.independent_wallclock = 1\n",
    }


def _network(image: GuestImage) -> dict[str, str]:
    """The NICs' files, for ifupdown or systemd-networkd."""
    if image.network == "networkd":
        return {
            f"/etc/systemd/network/eth{n}.network": f"[Match]\nName=eth{n}\n\n[Network]\nAddress={nic.address}\n"
            for n, nic in enumerate(image.nics)
        }
    stanzas = "".join(
        f"\n{'allow-hotplug' if n % 2 else 'auto'} eth{n}\niface eth{n} inet static\n    address {nic.address}\n"
        for n, nic in enumerate(image.nics)
    )
    return {"/etc/network/interfaces": f"auto lo\niface lo inet loopback\n{stanzas}"}


_APPLIANCE = r"""
import json, re, sys
import guestfs

job = json.load(sys.stdin)
g = guestfs.GuestFS(python_return_dict=True)
g.set_backend("direct")
g.set_backend_settings(["force_tcg"])
g.set_network(False)
g.add_drive(job["disk"], format="raw", cachemode="unsafe")
g.launch()
root = "/dev/sda"
if job["bounds"]:
    a, b, c = job["bounds"]
    g.part_init("/dev/sda", "mbr")
    g.part_add("/dev/sda", "p", a, b - 1)
    g.part_add("/dev/sda", "p", b, c - 1)
    g.part_set_mbr_id("/dev/sda", 2, 0x82)
    g.part_set_bootable("/dev/sda", 1, True)
    root = "/dev/sda1"
g.mount(root, "/")
if job["bounds"]:
    g.rm("/boot/small.img")
for path, content in job["files"].items():
    g.write(path, content)
for argv in job["commands"]:
    g.command(argv)
kernel = g.glob_expand("/boot/vmlinuz-*")[0]
version = kernel.split("-", 1)[1]
if job["bounds"]:
    # programs in the appliance do not see libguestfs' names: there /dev/sda may be the appliance's own disk
    g.command(["grub-install", "--target=i386-pc", "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_hd0"])
    g.command(["update-grub"])
    menu = g.read_file("/boot/grub/grub.cfg").decode()
    g.write("/boot/grub/grub.cfg", re.sub(r"root=UUID=\S+", "root=" + job["system"], menu))
else:
    g.mv("/boot/small.img", f"/boot/initrd.img-{version}")
    g.rm_f("/boot/grub/grub.cfg")
    g.mkdir_p("/boot/grub")
    g.write("/boot/grub/menu.lst", f'''default         0
timeout         2
# kopt=root={job["system"]} ro console=hvc0

title           Debian GNU/Linux, kernel {version}
root            (hd0,0)
kernel          {kernel} root={job["system"]} ro console=hvc0
initrd          /boot/initrd.img-{version}
''')
g.umount_all()
g.shutdown()
"""


def main(argv: Sequence[str]) -> int:
    """Make the root file system."""
    try:
        print(f"Debian guest: {fetch()}")
    except HikkoshiError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
