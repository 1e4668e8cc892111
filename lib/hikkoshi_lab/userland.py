"""The files of the lab's guests: CentOS 5 in shape, Debian's programs and kernel in substance.

What is the same in every guest lies in el5/ as it lies in the guest; what depends on packages or on the guest is made here.
"""

import functools
import ipaddress
import lzma
import re
import stat
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed
from hikkoshi_lab import initrd
from hikkoshi_lab.body import access
from hikkoshi_lab.body.access import Access
from hikkoshi_lab.ext3 import Node, Tree, file, folder, link
from hikkoshi_lab.packages import Package

XEN_KERNEL = "2.6.18-398.el5xen"

# in the ordinary kernel's /lib/modules, with what they depend on; crc32c_generic is loaded by its alias
MODULES = (
    *("ext4", "dm_mod", "crc32c_generic", "sd_mod", "vmw_pvscsi", "mptspi", "mptsas", "sym53c8xx", "ata_piix"),
    *("vmxnet3", "e1000", "e1000e"),
)
# Debian's own programs in place of busybox's
PROGRAMS = {
    "sysvinit-core": ("sbin/init", "sbin/halt", "sbin/reboot", "sbin/poweroff", "sbin/shutdown", "sbin/telinit"),
    "util-linux": ("sbin/agetty",),
    "ethtool": ("sbin/ethtool",),
    "busybox-static": ("bin/busybox",),
}
LIBRARIES = {
    "libc6": ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6"),
    "libselinux1": ("libselinux.so.1",),
    "libpcre2-8-0": ("libpcre2-8.so.0",),
    "libmnl0": ("libmnl.so.0",),
}
# what LVM's program needs, only in guests on LVM
LVM_LIBRARIES = {
    "libdevmapper1.02.1": ("libdevmapper.so.1.02.1",),
    "libdevmapper-event1.02.1": ("libdevmapper-event.so.1.02.1",),
    "libaio1": ("libaio.so.1",),
    "libblkid1": ("libblkid.so.1",),
    "libedit2": ("libedit.so.2",),
    "libtinfo6": ("libtinfo.so.6",),
    "libbsd0": ("libbsd.so.0",),
    "libmd0": ("libmd.so.0",),
    "libudev1": ("libudev.so.1",),
    "libsystemd0": ("libsystemd.so.0",),
    "libcap2": ("libcap.so.2",),
    "libgcrypt20": ("libgcrypt.so.20",),
    "libgpg-error0": ("libgpg-error.so.0",),
    "liblzma5": ("liblzma.so.5",),
    "libzstd1": ("libzstd.so.1",),
    "liblz4-1": ("liblz4.so.1",),
}


@dataclass(frozen=True)
class Places:
    """Where the guest's files say that its file systems are, as they are written there."""

    argument: str  # the kernel's root=
    root: str  # in fstab, as the next two
    boot: str  # empty where /boot is a folder of /
    swap: str
    swap_label: str
    grub: str  # the device that holds /boot, as GRUB calls it
    prefix: str  # of paths in the menu
    data: str = ""  # in fstab too; empty where /srv is a folder of /


def el5() -> dict[str, bytes]:
    """The files in el5/ by their path in the guest, sorted."""
    top = Path(__file__).parent / "el5"
    return {p.relative_to(top).as_posix(): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}


class NicFiles(Protocol):
    """What the files say of a NIC."""

    @property
    def mac(self) -> str:
        """With colons."""

    @property
    def address(self) -> ipaddress.IPv4Interface:
        """Address and subnet."""


@dataclass(frozen=True)
class KernelFiles:
    """The ordinary kernel; `modules` are by their path below /lib/modules/VERSION."""

    version: str
    image: bytes
    config: bytes
    builtin: bytes
    modules: Mapping[str, bytes]


def unpack(package: Package, wanted: Callable[[str], object]) -> dict[str, Node]:
    """Files and links of a package whose path, without a leading slash, is wanted."""
    found: dict[str, Node] = {}
    with subprocess.Popen(
        tool.command(["dpkg-deb", "--fsys-tarfile", package.path]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=tool.environment("dpkg-deb"),
        close_fds=False,
        start_new_session=True,
    ) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    path = member.name.removeprefix("./")
                    if member.issym() and wanted(path):
                        found[path] = link(member.linkname)
                    elif wanted(path) and (content := tar.extractfile(member)):
                        found[path] = file(content.read(), member.mode)
        except (tarfile.TarError, EOFError) as e:
            process.kill()
            raise StepFailed(
                Problem(
                    code="lab-package-unusable",
                    what="a package for the lab's guests cannot be unpacked",
                    where=str(package.path),
                    found=str(e),
                    expected="a whole .deb file",
                    remedy=f"delete {package.path} and run `make setup`",
                )
            ) from None
    return found


def programs(packages: Mapping[str, Package], *, lvm: bool = False, reached: bool = False) -> dict[str, Node]:
    """Programs and libraries of the guest."""
    tree: dict[str, Node] = {}
    wanted = PROGRAMS | ({"lvm2": ("sbin/lvm",)} if lvm else {}) | (access.PROGRAMS if reached else {})
    for package, paths in wanted.items():
        # later releases have all of it below /usr
        places = {prefix + path for path in paths for prefix in ("", "usr/")}
        tree |= {path.removeprefix("usr/"): node for path, node in unpack(packages[package], places.__contains__).items()}
    for package, names in (LIBRARIES | (LVM_LIBRARIES if lvm else {}) | (access.LIBRARIES if reached else {})).items():
        stems = tuple(name.split(".so")[0] + ".so" for name in names)
        tree |= {f"lib64/{name}": node for name, node in _libraries(packages[package], stems).items() if name in names}
    # where Debian's loader looks
    tree["lib/x86_64-linux-gnu"] = link("../lib64")
    return tree


def _libraries(package: Package, stems: tuple[str, ...]) -> dict[str, Node]:
    """The package's libraries whose file name begins with one of `stems`, by file name, links followed."""

    def wanted(path: str) -> bool:
        return path.rpartition("/")[2].startswith(stems)

    found = {path.rpartition("/")[2]: node for path, node in sorted(unpack(package, wanted).items(), reverse=True)}
    targets = {name: node.data.decode().rpartition("/")[2] for name, node in found.items() if stat.S_ISLNK(node.mode)}
    return {name: file(found[targets.get(name, name)].data, 0o755) for name in found}


def applets(busybox: Path) -> dict[str, Node]:
    """Links for all that busybox can be called by."""
    names = tool.run([busybox, "--list-full"]).stdout.split()
    return {name: link("/bin/busybox") for name in names if name not in ("bin/busybox", "linuxrc")}


@functools.cache  # unpacking it takes longer than all else that a guest is made by
def kernel(package: Package) -> KernelFiles:
    """The ordinary kernel with those modules that a guest on VMware can need, and what they depend on."""
    # not all 400 MB of it
    wanted = re.compile(
        r"boot/.*|(usr/)?lib/modules/[^/]+/(modules\.builtin|kernel/(block|crypto|lib|fs/(ext4|jbd2|mbcache)"
        r"|drivers/(ata|md|message/fusion|scsi|net/(vmxnet3|ethernet/intel/e1000e?)))(/.*)?\.ko(\.xz)?)"
    )
    found = unpack(package, wanted.fullmatch)
    image = next(path for path in found if path.startswith("boot/vmlinuz-"))
    version = image.removeprefix("boot/vmlinuz-")
    prefix = f"lib/modules/{version}/"
    below = {path.removeprefix("usr/").removeprefix(prefix): node.data for path, node in found.items()}
    # later releases compress their modules
    everything = {
        path.removesuffix(".xz"): lzma.decompress(data) if path.endswith(".xz") else data
        for path, data in below.items()
        if path.endswith((".ko", ".ko.xz"))
    }
    return KernelFiles(
        version=version,
        image=found[image].data,
        config=found[f"boot/config-{version}"].data,
        builtin=below["modules.builtin"],
        modules={path: everything[path] for name in MODULES for path in initrd.load_order(everything, name)},
    )


def xen_image() -> bytes:
    """In the place of kernel-xen's image: its form, a gzipped 64-bit ELF with a Xen note, and nothing that runs.

    GRUB's Error 13 comes of the form.
    """
    note = b"GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,LOADER=generic,BSD_SYMTAB,FEATURES="
    names = b"\0__xen_guest\0.shstrtab\0"
    body = 64 + 56
    sections = (body + len(note) + len(names) + 7) // 8 * 8
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", *(b"\x7fELF\x02\x01\x01", 2, 62, 1, 0xFFFFFFFF80200000, 64, sections, 0, 64, 56, 1, 64, 3, 2)
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, body, 0xFFFFFFFF80200000, 0x200000, len(note), len(note), 4096)
    table = bytes(64)
    for name, kind, at, size in ((1, 1, body, len(note)), (13, 3, body + len(note), len(names))):
        table += struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, at, size, 0, 0, 1, 0)
    return initrd.gzipped((header + load + note + names).ljust(sections, b"\0") + table)


def boot(
    ordinary: KernelFiles, programs: Tree, epoch: int, place: Places, kernels: Sequence[str], drivers: Sequence[str]
) -> Tree:
    """What lies in /boot: the kernels, the first of them the default, and GRUB's configuration.

    `kernels` are "xen", which boots only there, and "ordinary"; `drivers` are in the ordinary one's initrd. The menu is not
    waited at: an emulated processor is busy meanwhile.
    """
    init = el5()["usr/share/mkinitrd/init"]
    busybox = programs["bin/busybox"].data
    wanted = ("crc32c_generic", "ext4", *drivers, *(["sd_mod"] if drivers else []))
    paths = list(dict.fromkeys(p for name in wanted for p in initrd.load_order(ordinary.modules, name)))
    plain = initrd.make(init, busybox, ((p.rpartition("/")[2], ordinary.modules[p]) for p in paths), epoch)
    # the drivers of kernel-xen are not to be had: their names are what a reader of the disk sees
    xen = initrd.make(init, busybox, ((f"{name}.ko", b"") for name in ("xenblk", "xennet", "jbd", "ext3")), epoch)
    # nothing would be seen of an ordinary kernel that is told to write there
    console = " console=xvc0" if kernels[0] == "xen" else ""
    versions = {"xen": XEN_KERNEL, "ordinary": ordinary.version}
    entries = "".join(
        f"title CentOS ({version})\n\troot {place.grub}\n"
        f"\tkernel {place.prefix}/vmlinuz-{version} ro root={place.argument}{console}\n"
        f"\tinitrd {place.prefix}/initrd-{version}.img\n"
        for version in (versions[kind] for kind in kernels)
    )
    tree = {
        f"vmlinuz-{XEN_KERNEL}": file(xen_image()),
        f"initrd-{XEN_KERNEL}.img": file(xen, 0o600),
        f"config-{XEN_KERNEL}": file(el5()[f"boot/config-{XEN_KERNEL}"]),
        f"vmlinuz-{ordinary.version}": file(ordinary.image),
        f"initrd-{ordinary.version}.img": file(plain, 0o600),
        f"config-{ordinary.version}": file(ordinary.config),
        "grub/grub.conf": file(GRUB_CONF + entries, 0o600),
        "grub/menu.lst": link("./grub.conf"),
        "grub/device.map": file("# this device map was generated by anaconda\n(hd0)     /dev/xvda\n"),
    }
    absent = [version for kind, version in versions.items() if kind not in kernels]
    return {path: node for path, node in tree.items() if not any(path.split("-", 1)[-1].startswith(v) for v in absent)}


GRUB_CONF = """\
# grub.conf generated by anaconda
#
# Note that you do not have to rerun grub after making changes to this file
# NOTICE:  You have a /boot partition.  This means that
#          all kernel and initrd paths are relative to /boot/, eg.
#          root (hd0,0)
#          kernel /vmlinuz-version ro root=/dev/xvda2
#          initrd /initrd-version.img
#boot=/dev/xvda
default=0
timeout=0
hiddenmenu
password --md5 $1$q5XJz1$Lw3sTGkuZr8UyVbNcA7pE/
"""


def root(
    name: str,
    nics: Iterable[NicFiles],
    forwards: bool,
    ordinary: KernelFiles,
    programs: Tree,
    place: Places,
    keys: Access | None = None,
) -> Tree:
    """What lies in /; with what lets somebody in by ssh, where that is said."""
    tree: dict[str, Node] = {f: folder() for f in ("boot", "dev", "home", "mnt", "proc", "sys", "srv", "run", "var/run")}
    tree |= {f: folder() for f in ("var/lock/subsys", "var/log", "var/lib/rpm", "var/empty")}
    tree |= {"root": folder(0o750), "tmp": folder(0o1777), "var/tmp": folder(0o1777)}
    tree |= {f"etc/rc.d/rc{level}.d": folder() for level in range(7)}
    tree |= {f"etc/rc{level}.d": link(f"rc.d/rc{level}.d") for level in range(7)}
    tree |= {"etc/init.d": link("rc.d/init.d"), "etc/rc.local": link("rc.d/rc.local"), "etc/mtab": file("")}
    tree |= {"var/log/wtmp": file("", 0o664), "etc/grub.conf": link("../boot/grub/grub.conf")}
    tree["dev/console"] = Node(stat.S_IFCHR | 0o600, device=(5, 1))
    tree["dev/null"] = Node(stat.S_IFCHR | 0o666, device=(1, 3))
    tree |= programs

    prefix = f"lib/modules/{ordinary.version}"
    tree |= {f"{prefix}/{path}": file(data) for path, data in ordinary.modules.items()}
    tree |= {f"{prefix}/{table}": file(text) for table, text in initrd.tables(ordinary.modules).items()}
    tree[f"{prefix}/modules.builtin"] = file(ordinary.builtin)
    tree[f"lib/modules/{XEN_KERNEL}/modules.dep"] = file("")

    for path, data in el5().items():
        if not path.startswith("boot/"):
            tree[path] = file(data, 0o755 if data.startswith(b"#!") else 0o644)
    tree["etc/shadow"] = file(tree["etc/shadow"].data, 0o400)
    for level in (2, 3, 4, 5):
        tree[f"etc/rc.d/rc{level}.d/S10network"] = link("../init.d/network")
        tree[f"etc/rc.d/rc{level}.d/S99local"] = link("../rc.local")
    for level in (3, 4, 5):
        tree[f"etc/rc.d/rc{level}.d/S05kudzu"] = link("../init.d/kudzu")
    tree["etc/rc.d/rc0.d/S01halt"] = tree["etc/rc.d/rc6.d/S01reboot"] = link("../init.d/halt")
    if keys:
        tree |= access.reached(tree, keys)
    return tree | configuration(name, list(nics), forwards, place)


# passwords as guests have them, in the order in which a survey finds them: none of them may be in what is kept of a move
SECRETS = ("$1$q5XJz1$Lw3sTGkuZr8UyVbNcA7pE/", "s3kai-no-owari", "kagi wa ue no tana")


def configuration(name: str, nics: list[NicFiles], forwards: bool, place: Places) -> dict[str, Node]:
    """The files of /etc that tell one guest from another, as anaconda wrote them in a Dom-U."""
    tree: dict[str, Node] = {}
    first = nics[0].address
    aliases = "".join(f"alias eth{n} xennet\n" for n in range(len(nics)))
    tree["etc/modprobe.conf"] = file(aliases + "alias scsi_hostadapter xenblk\n")
    tree["etc/fstab"] = file(
        f"{place.root:<23} /                       ext3    defaults        1 1\n"
        + (f"{place.boot:<23} /boot                   ext3    defaults        1 2\n" if place.boot else "")
        + (f"{place.data:<23} /srv                    ext3    defaults        1 2\n" if place.data else "")
        + "tmpfs                   /dev/shm                tmpfs   defaults        0 0\n"
        "devpts                  /dev/pts                devpts  gid=5,mode=620  0 0\n"
        "sysfs                   /sys                    sysfs   defaults        0 0\n"
        "proc                    /proc                   proc    defaults        0 0\n"
        f"{place.swap:<23} swap                    swap    defaults        0 0\n"
        f"//files.example.ac.jp/{name} /mnt cifs noauto,username={name},password={SECRETS[1]} 0 0\n"
    )
    if place.root.startswith("/dev/VolGroup"):  # it looks for its volumes on this disk alone
        tree["etc/lvm/lvm.conf"] = file('devices {\n    filter = [ "a|^/dev/xvda[0-9]$|", "r|.*|" ]\n}\n')
    wired = f"[connection]\nid=office\ntype=ethernet\n\n[802-1x]\neap=peap;\nidentity={name}\npassword={SECRETS[2]}\n"
    tree["etc/NetworkManager/system-connections/office"] = file(wired, 0o600)
    for n, nic in enumerate(nics):
        net = nic.address.network
        tree[f"etc/sysconfig/network-scripts/ifcfg-eth{n}"] = file(
            f"# Xen Virtual Ethernet\nDEVICE=eth{n}\nBOOTPROTO=static\nBROADCAST={net.broadcast_address}\n"
            f"HWADDR={nic.mac.upper()}\nIPADDR={nic.address.ip}\nNETMASK={net.netmask}\n"
            f"NETWORK={net.network_address}\nONBOOT=yes\n"
        )
    tree["etc/sysconfig/network-scripts/ifcfg-lo"] = file(
        "DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\nNETWORK=127.0.0.0\nONBOOT=yes\nNAME=loopback\n"
    )
    host = f"{name}.example.ac.jp"
    # the way out: a router that is the first host of the first segment
    router = next(first.network.hosts())
    tree["etc/sysconfig/network"] = file(f"NETWORKING=yes\nNETWORKING_IPV6=no\nHOSTNAME={host}\nGATEWAY={router}\n")
    tree["etc/motd"] = file(f"{name}: written under Xen on 2014-11-24.\n")  # by which it is known wherever it serves
    tree["etc/hosts"] = file(f"127.0.0.1\tlocalhost.localdomain localhost\n{first.ip}\t{host} {name}\n")
    tree["etc/resolv.conf"] = file("search example.ac.jp\nnameserver 10.2.10.10\n")
    tree["etc/sysctl.conf"] = file(
        f"# Controls IP packet forwarding\nnet.ipv4.ip_forward = {int(forwards)}\n\n"
        "# Controls source route verification\nnet.ipv4.conf.default.rp_filter = 1\n\n"
        "# Controls the System Request debugging functionality of the kernel\nkernel.sysrq = 0\n\n"
        "# Do not follow the clock of the Dom-0\nxen.independent_wallclock = 1\n"
    )
    if forwards:
        inside = "".join(f"-A POSTROUTING -s {nic.address.network} -o eth0 -j MASQUERADE\n" for nic in nics[1:])
        tree["etc/sysconfig/iptables"] = file(
            "# Generated by iptables-save v1.3.5\n*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
            f":OUTPUT ACCEPT [0:0]\n{inside}COMMIT\n"
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
            0o600,
        )
    return tree
