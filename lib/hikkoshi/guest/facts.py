"""What a guest's disk says about its operating system: pure data, part of the survey."""

from typing import Any, Literal

from pydantic import Field, model_validator

from hikkoshi.artefact import Frozen, unsaid
from hikkoshi.guest.note import Note


class Partition(Frozen):
    """One partition or file system, by the name it has inside the appliance (/dev/sda1 …)."""

    device: str
    bytes: int
    fstype: str  # ext3, swap, LVM2_member …; empty where unknown
    label: str = ""
    uuid: str = ""
    partlabel: str = ""  # of a GPT
    partuuid: str = ""
    mountpoint: str = ""  # as the guest's own fstab has it
    subvolume: str = ""  # of btrfs, that is mounted there: @rootfs; empty for its default one


class Kernel(Frozen):
    """One kernel that the boot loader offers."""

    index: int  # its place in the boot loader's menu, from 0
    title: str
    version: str  # 2.6.18-398.el5xen
    image: str  # /boot/vmlinuz-2.6.18-398.el5, path in the guest
    initrd: str = ""  # path in the guest; empty where the entry has none
    arguments: tuple[str, ...] = ()  # of its entry: ro, root=…
    xen_only: bool  # boots only under Xen
    initrd_modules: tuple[str, ...] = ()  # module names found in the initrd
    initrd_packer: str = unsaid("")  # the program that packed it: gzip, xz or zstd; empty for another, or where nobody looked
    builtin: tuple[str, ...] = ()  # of the drivers that we may need, those that are built in
    scsi_disk: str = ""  # the module of SCSI disks; empty where it is built in
    # {PCI id of a device that vSphere may offer: modules that drive it}
    claims: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_version(cls, value: Any) -> Any:
        """`drivers` said what `claims` and `builtin` say."""
        return {k: v for k, v in value.items() if k != "drivers"} if isinstance(value, dict) else value


Kind = Literal["nic", "vlan", "bridge", "bond", "other"]  # other: a tunnel, a dummy


class Interface(Frozen):
    """One configured network interface, and the NIC that it is tied to: by name, MAC, patterns or conditions.

    It is tied to nothing, and so is for any NIC, where all four are empty.
    """

    name: str = ""  # eth0; empty where the file names none
    file: str  # /etc/sysconfig/network-scripts/ifcfg-eth0, /etc/network/interfaces …
    mac: str = ""  # of the NIC that it is tied to, lower case: HWADDR …
    address: str = ""  # IPv4 with prefix length, 10.3.1.254/24; empty for DHCP or none
    dhcp: bool = False
    line: int = 0  # where it stands in the file, from 1; 0 in earlier versions
    patterns: tuple[str, ...] = ()  # of names, as fnmatch has them; with ! those that it is not for
    conditions: tuple[str, ...] = ()  # driver=vif, not-mac=…; of several with one key one is enough
    further: tuple[str, ...] = ()  # more addresses
    kind: Kind = "nic"
    over: tuple[str, ...] = ()  # names of what a VLAN, bridge or bond is made of
    part_of: str = ""  # name of the bridge or bond that it belongs to
    vlan: int = -1  # 1 to 4094
    own_mac: str = ""  # that the file gives it, whatever the NIC has; random, or another word for one that changes
    own_mac_by: str = ""  # the setting that does so: MACADDR …
    by_hand: str = ""  # why nothing brings it up by itself: ONBOOT=no …

    @property
    def place(self) -> str:
        """`/etc/network/interfaces:4`."""
        return f"{self.file}:{self.line}" if self.line else self.file


class GuestFacts(Frozen):
    """Everything that later steps need to know of the guest, and the whole text of every file they may change."""

    distribution: str  # centos
    release: str  # 5.11
    arch: str  # x86_64
    hostname: str
    # grub-legacy, grub2, extlinux; uefi where the firmware starts a file; none where Xen's pygrub or the Dom-0 did its work
    boot_loader: str
    boot_config: str  # path in the guest; empty where the Dom-0 held the kernel, and the guest has no menu
    default_kernel: int  # index
    kernels: tuple[Kernel, ...]
    partitions: tuple[Partition, ...]
    interfaces: tuple[Interface, ...]
    forwards: bool | None  # does it route or translate? None where its files leave it open, and the running guest has to be asked
    forwards_because: str  # 'net.ipv4.ip_forward = 1 in /etc/sysctl.conf'
    texts: dict[str, str]  # {path in the guest: content without its secrets}
    secrets: int = -1  # different values that words stand for, see hikkoshi.secret.redaction; -1: of a version that did not look
    latin1: tuple[str, ...] = ()  # paths of texts that are not UTF-8: each character stands for one byte
    pinned: dict[str, str] = Field(default_factory=dict)  # {name of a NIC: MAC that ties it to the name, by udev or systemd}
    renamed: dict[str, str] = Field(default_factory=dict)  # {name that the kernel gave a NIC: the one that udev gave it then}
    links_masked: bool = False  # udev does not read systemd's link files: a link to /dev/null hides the rule that does so
    systemd: bool = False  # the guest's init
    initrd_maker: str = ""  # path of the program that makes an initrd; empty where there is none
    rpm_environment: tuple[str, ...] = ()  # files of Berkeley DB's that a later rpm trips over
    selinux: bool = False  # switched on: what is written from outside needs a label
    disk_names: tuple[str, ...] = ()  # of the whole disk in the guest, by Xen's configuration: xvda …; empty where nobody said
    further_disks: tuple[tuple[str, ...], ...] = unsaid(())  # the same of each disk after the first
    efi_loaders: tuple[str, ...] = unsaid(())  # the files that a firmware may start: /boot/efi/EFI/debian/grubx64.efi
    getty: str = ""  # path of the program that asks for a login on a terminal; empty where there is none, or nobody looked
    installed: dict[str, str] = Field(default_factory=dict)  # {package: version}, where dpkg keeps them; else nobody looked
    services: tuple[str, ...] = ()  # started at boot, of those that belong to Xen, or would ask about new hardware
    warnings: tuple[Note, ...] = ()
