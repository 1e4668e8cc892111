"""Guests as a migration meets them: each fails for a reason of its own before it is prepared.

The plainest kind, a whole disk whose default kernel is Xen's, is not among them: the lab's Dom-0 has two of it.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hikkoshi.network.remedy.prescription import File
from hikkoshi.rehearsal.machine import Controller, NicModel
from hikkoshi_lab import image as el5
from hikkoshi_lab.debian.disks import disks as debian
from hikkoshi_lab.image import GuestImage, GuestNic

SIZE = 1200 << 20


@dataclass(frozen=True)
class Variant:
    """A guest, and how its unprepared disk ends on VMware's hardware, as in `hikkoshi.rehearsal.outcome.Ending`."""

    image: GuestImage
    before: str
    about: str
    refused: str = ""  # words of the advice where it cannot be prepared
    disks: Callable[[GuestImage], dict[str, Path]] = el5.disks
    controller: Controller = "pvscsi"
    nic_model: NicModel = "vmxnet3"
    lro_off: tuple[File, ...] = ()  # written into the prepared copy, as 85-offloads does in a running guest
    waits: str = ""  # the unit that its unprepared disk waits for without an end, as its console says
    tools: Literal["", "open-vm-tools", "archive"] = ""  # VMware Tools that are brought along: the package with what it needs

    @property
    def tested(self) -> bool:
        """Whether the tests boot it too: the set-up makes it, and no test moves a guest like it by the runbooks."""
        return self.image.tree == "debian" and self.image.layout != "disks"


def _nics(count: int) -> tuple[GuestNic, ...]:
    return tuple(
        GuestNic(f"00:16:3e:0a:00:{n:02x}", ipaddress.IPv4Interface(f"10.40.{n + 1}.20/24"), f"xenbr40{n + 1}")
        for n in range(count)
    )


def _guest(name: str, nics: int = 2) -> GuestImage:
    return GuestImage(name=name, disk_bytes=SIZE, memory_mb=512, vcpus=1, nics=_nics(nics), forwards=False)


_13 = replace(_guest("debian-13", 3), memory_mb=1024, tree="debian-13")
_I386 = replace(_guest("debian-i386"), memory_mb=1024, tree="debian-i386")
_OWN = replace(_guest("el5-panic"), kernels=("ordinary", "xen"))  # its default kernel needs no Xen


VARIANTS = {
    v.image.name: v
    for v in (
        Variant(
            replace(_OWN, fstab="label", root="uuid"),
            "kernel-panic",
            "an ordinary kernel whose initrd lacks a driver; fstab by label, root= by UUID",
        ),
        Variant(
            replace(_OWN, name="el5-fsck", root="label", drivers=("vmw_pvscsi",)),
            "fsck-shell",
            "fstab names /dev/xvda; gets an archive of VMware Tools",
            tools="archive",
            lro_off=(File(path="/sbin/ifup-local", way="ifup-local", nics=("eth0", "eth1")),),
        ),
        Variant(
            replace(_OWN, name="el5-disks", layout="disks", root="label", drivers=("vmw_pvscsi",)),
            "fsck-shell",
            "/, swap and /srv on three disks",
        ),
        Variant(replace(_guest("el5-lvm", 6), layout="lvm"), "grub-error", "/ and swap on LVM"),
        Variant(
            replace(_guest("el5-partitions"), layout="partitions"),
            "no-boot-loader",
            "Xen gave single partitions; moved to LSI SAS and e1000",
            controller="lsisas1068",
            nic_model="e1000",
        ),
        Variant(
            replace(_guest("el5-xen-only"), kernels=("xen",)),
            "grub-error",
            "no kernel but Xen's",
            "yum install kernel-2.6.18-398.el5.x86_64",
        ),
        Variant(
            replace(_guest("debian", 4), memory_mb=1024),
            "initramfs-shell",
            "Debian 12, GRUB 2, root=/dev/xvda1; gets open-vm-tools",
            disks=debian,
            tools="open-vm-tools",
            lro_off=(File(path="/etc/network/interfaces", way="interfaces", nics=("eth0", "eth1", "eth2", "eth3")),),
        ),
        Variant(
            replace(_guest("debian-partitions", 3), memory_mb=1024, layout="partitions", network="networkd", small_initrd=True),
            "no-boot-loader",
            "Debian 12 on single partitions, with systemd-networkd",
            disks=debian,
            lro_off=tuple(
                File(path=f"/etc/systemd/network/10-{nic}.link", way="link", nics=(nic,)) for nic in ("eth0", "eth1", "eth2")
            ),
        ),
        Variant(
            replace(_guest("debian-uefi"), memory_mb=1024, firmware="efi", disk_names=("xvda", "hda")),
            "no-boot-loader",
            "Debian 12 by UEFI, GPT; swap is /dev/hda3",
            disks=debian,
        ),
        Variant(
            replace(_guest("debian-11", 3), memory_mb=1024, tree="debian-11", file_system="xfs", network="keyfile"),
            "initramfs-shell",
            "Debian 11, / is xfs, NetworkManager's keyfiles",
            disks=debian,
        ),
        Variant(
            replace(_13, file_system="btrfs", network="netplan", nic_names="enX"),
            "timeout",
            "Debian 13, / is a subvolume of btrfs, dracut, netplan, NICs enX0 …",
            waits="dev-xvda1.device",
            disks=debian,
        ),
        Variant(
            replace(_I386, small_initrd=True, disk_names=("hda", "xvda"), network="rules"),
            "initramfs-shell",
            "Debian 12 of 32 bits, / is /dev/hda1, swap /dev/xvda2, names by udev's rules; moved to LSI SAS and e1000",
            disks=debian,
            controller="lsisas1068",
            nic_model="e1000",
        ),
    )
}
