"""What the lab's Xen is made of: a Dom-0 with bridges on VLANs, and two guests, each as Xen's administrators made them."""

import ipaddress
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20
ROOT_BYTES, SWAP_BYTES = 512 * MIB, 64 * MIB
DOM0_BYTES = 6 << 30
GROUP = "guests"  # LVM's volume group on the Dom-0's second disk
UNTAGGED = "xenbr0"  # the way in from outside, by which shells are reached
# QEMU's own network behind UNTAGGED: itself, and the Dom-0
OUTSIDE, DOM0 = ipaddress.IPv4Address("10.0.2.2"), ipaddress.IPv4Interface("10.0.2.15/24")
BRIDGES: Mapping[str, ipaddress.IPv4Interface] = {  # a VLAN each, with the Dom-0's own address in it
    "xenbr301": ipaddress.IPv4Interface("10.3.1.10/24"),
    "xenbr501": ipaddress.IPv4Interface("10.5.1.10/24"),
}


# a router's disk often is mounted so: it stands still while the router runs
READ_ONLY = "/dev/xvda1 / ext4 ro 0 0\n" + "".join(
    f"tmpfs {place} tmpfs mode=1777 0 0\n" for place in ("/tmp", "/var/tmp", "/var/log")
)
WRITTEN = "/dev/xvda2 / ext4 errors=remount-ro 0 1\n/dev/xvda1 none swap sw 0 0\n"


@dataclass(frozen=True)
class XenLabNic:
    """One NIC of a guest."""

    mac: str
    address: ipaddress.IPv4Interface
    bridge: str


@dataclass(frozen=True)
class XenLabGuest:
    """A guest. `layout` disk: one file with a partition table, started by pygrub, and never written to while the guest runs;
    volumes: single partitions, logical volumes of the Dom-0, with the kernel in the Dom-0 too."""

    name: str
    layout: Literal["disk", "volumes"]
    nics: tuple[XenLabNic, ...]
    forwards: bool = False

    @property
    def uuid(self) -> uuid.UUID:
        """Always the same."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.example.ac.jp")


def _nic(number: int, guest: int, address: str, bridge: str) -> XenLabNic:
    return XenLabNic(f"00:16:3e:07:{guest:02x}:{number:02x}", ipaddress.IPv4Interface(address), bridge)


GUESTS = (
    XenLabGuest(
        "router",
        "disk",
        (_nic(0, 1, "10.0.2.20/24", UNTAGGED), _nic(1, 1, "10.3.1.254/24", "xenbr301"), _nic(2, 1, "10.5.1.254/24", "xenbr501")),
        forwards=True,
    ),
    XenLabGuest("files", "volumes", (_nic(0, 2, "10.0.2.30/24", UNTAGGED), _nic(1, 2, "10.5.1.30/24", "xenbr501"))),
)

# Programs that lie at the same addresses each time are translated by QEMU once, and not by every start of one.
ARGUMENTS = "ro console=hvc0 net.ifnames=0 norandmaps"  # of each kernel

PACKAGES = (  # of all
    *("systemd-sysv", "udev", "dbus", "kmod", "iproute2", "ifupdown", "iputils-ping", "ethtool", "openssh-server"),
    *("linux-image-amd64", "initramfs-tools", "zstd", "procps", "e2fsprogs"),
)
DOM0_PACKAGES = ("xen-system-amd64", "bridge-utils", "vlan", "lvm2", "fdisk", "python3-minimal")
_SMALL = (  # a small and quick initrd; and what takes long under emulation, and tells nothing of a move
    'printf "MODULES=list\\nCOMPRESS=gzip\\n" >"$1/etc/initramfs-tools/conf.d/small"',
    'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer '
    "e2scrub_reap.service fstrim.timer systemd-random-seed.service modprobe@drm.service modprobe@efi_pstore.service "
    # the one waits for udev, for minutes here; the other cannot start on a read-only /, and who shuts down waits 50 s for it
    "ifupdown-pre.service systemd-logind.service",
    'printf "UseDNS no\\n" >"$1/etc/ssh/sshd_config.d/lab.conf"',
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb',
)
DOM0_HOOKS = (
    *_SMALL,
    'printf "virtio_pci\\nvirtio_blk\\next4\\n" >>"$1/etc/initramfs-tools/modules"',
    'chroot "$1" update-initramfs -u',
    # xendomains starts the guests, and brings no saved state back
    "sed -i 's/^#*XENDOMAINS_SAVE=.*/XENDOMAINS_SAVE=/; s/^#*XENDOMAINS_RESTORE=.*/XENDOMAINS_RESTORE=false/' "
    '"$1/etc/default/xendomains"',
)
# folders of drivers, file systems and network that such a guest may use, under Xen or in vSphere: it crosses a slow wire
_KEPT = "ata|block|char|input|message|net|scsi|virtio|xen|ext4|fat|jbd2|mbcache.ko|802|8021q|core|ipv4|ipv6|llc"
GUEST_HOOKS = (
    *_SMALL,
    f'cd "$1"/lib/modules/*/kernel && for d in drivers/* fs/* net/*; do case ${{d#*/}} in {_KEPT}) ;; *) rm -r "$d";; esac; done',
    'chroot "$1" depmod $(ls "$1/lib/modules")',
    'rm -rf "$1"/usr/lib/udev/hwdb* "$1"/usr/lib/*/gconv "$1"/usr/share/perl/5* "$1"/usr/lib/*/perl/5*',
    # an initrd for Xen alone: what makes preparing necessary
    'printf "xen-blkfront\\next4\\n" >>"$1/etc/initramfs-tools/modules"',
    # before ifupdown begins: where the driver comes late, the NIC stays down, and Dom-0 says "Guest Rx stalled"
    'printf "xen-netfront\\n" >>"$1/etc/modules"',
    'chroot "$1" update-initramfs -u',
)


def dom0_files() -> dict[str, str]:
    """What is written into the Dom-0, by path."""
    lines = ["auto lo", "iface lo inet loopback", "auto eth0", "iface eth0 inet manual"]
    for bridge, address, port in (
        (UNTAGGED, DOM0, "eth0"),
        *((bridge, address, f"eth0.{bridge.removeprefix('xenbr')}") for bridge, address in BRIDGES.items()),
    ):
        lines += [f"auto {bridge}", f"iface {bridge} inet static", f"    bridge_ports {port}", "    bridge_stp off"]
        lines += ["    bridge_fd 0", "    bridge_maxwait 0", f"    address {address}"]
    return {
        "/etc/hostname": "xenhost\n",
        "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 xenhost\n",
        "/etc/fstab": "/dev/vda / ext4 defaults,noatime 0 0\n",
        "/etc/machine-id": f"{uuid.uuid5(uuid.NAMESPACE_DNS, 'xenhost.example.ac.jp').hex}\n",
        "/etc/network/interfaces": "\n".join(lines) + "\n",
        **{f"/etc/xen/{guest.name}.cfg": configuration(guest) for guest in GUESTS},
    }


def dom0_links() -> dict[str, str]:
    """Links of the Dom-0, by path: both guests start with it."""
    return {f"/etc/xen/auto/{guest.name}.cfg": f"/etc/xen/{guest.name}.cfg" for guest in GUESTS}


def guest_files(guest: XenLabGuest, kernel: str) -> dict[str, str]:
    """What is written into a guest, by path; `kernel` is its kernel's version."""
    system = "/dev/xvda1" if guest.layout == "disk" else "/dev/xvda2"
    stanzas = "".join(f"auto eth{n}\niface eth{n} inet static\n    address {nic.address}\n" for n, nic in enumerate(guest.nics))
    files = {
        "/etc/hostname": f"{guest.name}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {guest.name}\n",
        "/etc/fstab": READ_ONLY if guest.layout == "disk" else WRITTEN,
        "/etc/machine-id": f"{guest.uuid.hex}\n",
        "/etc/network/interfaces": f"auto lo\niface lo inet loopback\n{stanzas}",
        "/etc/sysctl.d/router.conf": f"net.ipv4.ip_forward = {int(guest.forwards)}\n",
        "/etc/marker": f"this is the one and only {guest.name}\n",
    }
    if guest.layout == "disk":
        arguments = f"root={system} {ARGUMENTS}"
        files["/boot/grub/grub.cfg"] = (
            f"set default=\"0\"\nset timeout=1\nmenuentry 'Debian GNU/Linux, with Linux {kernel}' {{\n\tinsmod part_msdos\n"
            f"\tinsmod ext2\n\tset root='hd0,msdos1'\n\tlinux\t/boot/vmlinuz-{kernel} {arguments}\n"
            f"\tinitrd\t/boot/initrd.img-{kernel}\n}}\n"
        )
    return files


def configuration(guest: XenLabGuest) -> str:
    """The guest's xl configuration."""
    if guest.layout == "disk":
        how = 'bootloader = "pygrub"'
        disks = [f"format=raw,vdev=xvda,access=rw,target=/srv/xen/{guest.name}/disk.img"]
    else:
        how = f'kernel = "/srv/xen/{guest.name}/vmlinuz"\nramdisk = "/srv/xen/{guest.name}/initrd.img"\n'
        how += f'root = "/dev/xvda2"\nextra = "{ARGUMENTS}"'
        disks = [f"phy:/dev/{GROUP}/{guest.name}_swap,xvda1,w", f"phy:/dev/{GROUP}/{guest.name}_root,xvda2,w"]
    nics = ", ".join(f"'mac={nic.mac},bridge={nic.bridge}'" for nic in guest.nics)
    return (
        f'name = "{guest.name}"\nuuid = "{guest.uuid}"\ntype = "pv"\n{how}\nvcpus = 1\nmemory = 320\n'
        f"disk = [ {', '.join(map(repr, disks))} ]\nvif = [ {nics} ]\n"
        'on_poweroff = "destroy"\non_reboot = "restart"\non_crash = "destroy"\n'
    )
