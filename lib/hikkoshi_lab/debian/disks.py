"""The disks of the lab's Debian guests: a root file system with what tells one guest from others, put into libguestfs' appliance
to get its boot loader, and kept."""

import fcntl
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed
from hikkoshi_lab import partitions
from hikkoshi_lab.debian import maker, tree
from hikkoshi_lab.image import GuestImage

MIB = 1 << 20
SWAP_BYTES = 128 * MIB
ESP_BYTES = 64 * MIB
# what takes long under emulation, and tells nothing of a move
UNTOLD = ("e2scrub_reap.service", "modprobe@drm.service", "modprobe@efi_pstore.service")
UNUSED = ("kvm_amd", "kvm_intel", "powernow_k8", "floppy", "psmouse", "pcspkr", "i2c_piix4", "aesni_intel", "crc32_pclmul")
# an emulated processor finds its disks late
PATIENT = "[Manager]\nDefaultTimeoutStartSec=300\nDefaultDeviceTimeoutSec=300\n"
# as udev's own generator wrote it, up to Debian 8, and as an administrator may have
RULE = (
    'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="{driver}", ATTR{{address}}=="{mac}", ATTR{{type}}=="1", '
    'KERNEL=="eth*", NAME="{name}"\n'
)


def disks(image: GuestImage) -> dict[str, Path]:
    """Make the guest's disks, or find them made already: {virtual device: raw, sparse image}, which nobody may change.

    With `layout` "disk": / and swap on one, behind an EFI system partition where the firmware is one; GRUB 2, the root by its
    name under Xen, and Debian's usual initrd, which holds every driver. With "partitions", as xen-create-image made them: swap on
    xvda1, / on xvda2, a menu.lst for pygrub and no boot loader, an initrd for Xen alone.
    """
    root = tree.made(image.tree)
    sources = b"".join(path.read_bytes() for path in (Path(__file__), Path(maker.__file__)))
    done = tool.cache() / "guests" / hashlib.sha256(f"{image} {root.name}".encode() + sources).hexdigest()[:32]
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
    whole, efi = image.layout == "disk", image.firmware == "efi"
    disk = made / ("xvda.img" if whole else "xvda2.img")
    start = (MIB + (ESP_BYTES if efi else 0)) if whole else 0
    number = (2 if efi else 1) if whole else 2
    system, swap = f"/dev/{image.disk_names[0]}{number}", f"/dev/{image.disk_names[1]}{number + 1 if whole else 1}"
    copied = image.file_system == "ext4"
    _sized(disk, start + tree.BYTES + (SWAP_BYTES + MIB if whole else 0))  # a GPT is at the end, too
    if copied:
        partitions.sparse_copy(root, disk, start)
    with disk.open("r+b") if whole else _sized(made / "xvda1.img", SWAP_BYTES).open("r+b") as f:
        f.seek(start + tree.BYTES if whole else 0)
        f.write(partitions.swap_header(SWAP_BYTES, image.uuid, "swap"))
    sizes = [*([ESP_BYTES] if efi else []), tree.BYTES, SWAP_BYTES] if whole else []
    job = {
        "disk": str(disk),
        "sectors": [size // 512 for size in sizes],
        "firmware": image.firmware,
        "file_system": image.file_system,
        "tree": "" if copied else str(root),
        "system": system,
        "files": _files(image, number, system, swap),
        "small": image.small_initrd,
        "commands": [
            ["systemctl", "mask", *UNTOLD],
            *([["systemctl", "enable", "systemd-networkd"]] if image.network in ("networkd", "netplan") else []),
        ],
    }
    done = subprocess.run(
        [tool.guestfs_python(), maker.__file__],
        input=json.dumps(job),
        env=tool.environment("python3"),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
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


def _files(image: GuestImage, number: int, system: str, swap: str) -> dict[str, str]:
    """What tells this guest from others, by path."""
    small = tree.XEN_ONLY if image.small_initrd else {}
    return {
        **{path: content.replace("/dev/xvda1", swap) for path, content in small.items()},
        "/etc/hostname": f"{image.name}\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{image.name}\n",
        "/etc/fstab": _fstab(image, number, system, swap),
        **_network(image),
        "/etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\n"
        'GRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="console=hvc0"\n',
        **({"/boot/grub/device.map": f"(hd0)\t/dev/{image.disk_names[0]}\n"} if image.layout == "disk" else {}),
        "/etc/systemd/system.conf.d/lab.conf": PATIENT,
        "/etc/modprobe.d/lab.conf": "".join(f"blacklist {module}\n" for module in UNUSED),
        "/etc/modules": "# what a guest of Xen often has\nxen-netfront\n",
        "/etc/sysctl.conf": "# xen-tools left this\nxen.independent_wallclock = 1\n",
    }


def _fstab(image: GuestImage, number: int, system: str, swap: str) -> str:
    options = {"ext4": "errors=remount-ro", "xfs": "defaults", "btrfs": f"defaults,subvol={maker.SUBVOLUMES['/']}"}
    rows = [f"{system} / {image.file_system} {options[image.file_system]} 0 {int(image.file_system == 'ext4')}"]
    if image.file_system == "btrfs":
        rows += [f"{system} {point} btrfs subvol={name} 0 0" for point, name in maker.SUBVOLUMES.items() if point != "/"]
    if image.firmware == "efi":
        rows.append(f"{system.removesuffix(str(number))}{number - 1} /boot/efi vfat umask=0077 0 1")
    return "\n".join((*rows, f"{swap} none swap sw 0 0", "proc /proc proc defaults 0 0", ""))


def _network(image: GuestImage) -> dict[str, str]:
    """The NICs' files, for ifupdown, systemd-networkd, netplan or NetworkManager."""
    nics = [(f"{image.nic_names}{n}", n, nic) for n, nic in enumerate(image.nics)]
    if image.network == "networkd":
        return {
            f"/etc/systemd/network/{name}.network": f"[Match]\nName={name}\n\n[Network]\nAddress={nic.address}\n"
            for name, _, nic in nics
        }
    if image.network == "netplan":  # half of them by their MACs
        tied = "      match:\n        macaddress: {mac}\n      set-name: {name}\n"
        ethernets = "".join(
            f"    {name}:\n{tied.format(mac=nic.mac, name=name) if n % 2 else ''}      addresses: [{nic.address}]\n"
            for name, n, nic in nics
        )
        head = "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n"
        return {"/etc/netplan/01-xen.yaml": head + ethernets}
    if image.network == "keyfile":
        return {
            f"/etc/NetworkManager/system-connections/{name}.nmconnection": f"[connection]\nid={name}\ntype=ethernet\n"
            f"interface-name={name}\n\n[ipv4]\nmethod=manual\naddress1={nic.address}\n\n[ipv6]\nmethod=ignore\n"
            for name, _, nic in nics
        }
    stanzas = "".join(
        f"\n{'allow-hotplug' if n % 2 else 'auto'} {name}\niface {name} inet static\n    address {nic.address}\n"
        for name, n, nic in nics
    )
    rules = "".join(RULE.format(driver="vif" if n % 2 else "?*", mac=nic.mac, name=name) for name, n, nic in nics)
    return {
        "/etc/network/interfaces": f"auto lo\niface lo inet loopback\n{stanzas}",
        **({"/etc/udev/rules.d/70-persistent-net.rules": rules} if image.network == "rules" else {}),
    }
