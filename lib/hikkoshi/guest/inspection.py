"""From what was read off a disk to facts about the guest."""

import base64
import os
import re
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hikkoshi.disk import source
from hikkoshi.errors import BadInput, Problem
from hikkoshi.guest import distribution, edits, kept, kernels
from hikkoshi.guest.additions import addition, firststart, packages
from hikkoshi.guest.bound import licence
from hikkoshi.guest.facts import GuestFacts, Partition
from hikkoshi.guest.files import console, fstab, modprobe, sysconfig
from hikkoshi.guest.files import menu as menus
from hikkoshi.guest.files.menu import MENUS
from hikkoshi.guest.forwarding import forwarding, starts
from hikkoshi.guest.interfaces import interfaces, pinning
from hikkoshi.guest.note import Note, note
from hikkoshi.run.step import SURVEY

MAKERS = (  # programs that make an initrd; of several the first counts: mkinitrd of Enterprise Linux 6 only calls dracut
    *("/usr/sbin/update-initramfs", "/usr/bin/dracut", "/sbin/dracut", "/sbin/mkinitrd"),
)
SYSTEMD = ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")
# what has to be off: kudzu finds all hardware changed, and asks; a login on Xen's console; XenServer's tools
SERVICES = (
    "/etc/rc.d/rc[2345].d/S*kudzu",
    "/etc/rc.d/rc[2345].d/S*xe-*",
    "/etc/rc[2345].d/S*xe-*",
    "/etc/init.d/rc[2345].d/S*xe-*",
    "/etc/systemd/system/*.wants/*getty@[hx]vc*.service",
    "/etc/systemd/system/*.wants/xe-*.service",
)
# files that are read whole, and may be changed, as patterns; a path that a pattern names twice is taken once
TEXTS = [
    *MENUS,
    *menus.ENVIRONMENTS,
    *edits.WHOLE_DISKS,
    "/boot/config-*",
    "/etc/fstab",
    *("/etc/inittab", console.UNIT),
    *(*console.JOB_FILES, "/etc/sysconfig/init"),
    "/etc/securetty",
    *modprobe.FILES,
    edits.LVM,
    "/etc/lvm/cache/.cache",
    f"{edits.LVM_DEVICES}*.devices",
    *edits.COMMAND_LINES[:1],
    "/etc/cmdline.d/*.conf",
    "/boot/loader/entries/*.conf",
    *(path for path in (*edits.NAMING, *edits.ARRAYS) if not path.endswith("/")),
    *edits.SETTINGS,
    "/etc/default/grub.d/*.cfg",
    *("/etc/grub.d/4?_custom", *menus.PIECES[1:]),
    "/etc/dracut.conf.d/*.conf",
    "/etc/initramfs-tools/modules",
    "/etc/initramfs-tools/conf.d/*",
    *interfaces.FILES,
    *pinning.FILES,
    "/etc/selinux/config",
    "/.autorelabel",
    *("/etc/redhat-release", "/etc/SuSE-release"),
    "/etc/os-release",
    *("/etc/hostname", "/etc/HOSTNAME"),
    "/etc/sysctl.conf",
    "/etc/modules",
    "/etc/modules-load.d/*.conf",
    "/etc/X11/xorg.conf",
    *("/etc/sysconfig/rawdevices", "/etc/sysconfig/oracleasm", "/etc/multipath.conf"),
    *("/etc/hdparm.conf", "/etc/smartd.conf", "/etc/systemd/system/*.mount", "/etc/systemd/system/*.swap"),
    "/etc/blkid/blkid.tab",
    "/etc/blkid.tab",
    "/etc/sysconfig/kernel",
    "/etc/sysconfig/network",
    *forwarding.FILES,
    *distribution.FILES,
    *(addition.BROUGHT, *firststart.FILES),
    *licence.FILES,
]
_INITRD = 128 << 20  # bytes
FILES = {  # that are fetched, as patterns, and how many bytes one may have
    "/boot/initrd-*": _INITRD,  # SUSE's have no suffix
    "/boot/initramfs-*.img": _INITRD,
    "/boot/initrd.img-*": _INITRD,
    "/lib/modules/*/modules.alias": 8 << 20,  # of Debian 12: 1.3 MB
    f"{addition.STARTING}/*": 1 << 20,  # of a copy: what waits there
    f"{addition.WAITING}/*": addition.LARGEST_FILE,
    packages.STATUS: 32 << 20,  # of Debian 12 with 3000 packages: 3 MB
}
MOST_ENTRIES = 256  # of a boot menu
LINKS = (  # by which a menu may name a kernel and its initrd: the newest, of whatever version
    *("/boot/vmlinuz", "/boot/initrd", "/boot/initrd.img", "/boot/vmlinuz.old", "/boot/initrd.img.old"),
    *("/vmlinuz", "/initrd.img", "/vmlinuz.old", "/initrd.img.old"),
    *starts.LINKS,  # and what is started
)
EFI_LOADERS = "/boot/efi/[Ee][Ff][Ii]/*/*.[Ee][Ff][Ii]"  # where the guest's fstab mounts its EFI system partition
PRESENT = [
    "/boot/vmlinuz-*",
    EFI_LOADERS,
    *LINKS,
    *MAKERS,
    "/var/lib/rpm/__db.*",
    *SYSTEMD,
    *SERVICES,
    *console.GETTYS,
    *console.UNITS,
    *(*forwarding.PRESENT, pinning.LINKS_RULE),
]


GPT = source.GPT
_MACHINES = {3: "i686", 62: "x86_64"}  # e_machine of ELF


def boot_loader(disk: Path) -> str:
    """The boot loader in the first sector of a whole disk, 'none' where Xen's pygrub did without; `BadInput` for what is
    no whole disk.

    Reads bytes only, so it costs nothing and nothing on the disk is interpreted.
    """
    try:
        with disk.open("rb") as f:
            head = f.read(source.WHOLE)
            size = f.seek(0, os.SEEK_END)
    except OSError as e:
        raise BadInput(
            Problem(
                code="disk-unreadable",
                what="the disk cannot be read",
                where=str(disk),
                found=e.strerror or str(e),
                expected="a disk image",
                remedy="check path and permissions",
            )
        ) from None
    what, expected = "the disk has no partition table", "a whole disk with a partition table"
    if len(head) < source.SECTOR:
        raise BadInput(
            Problem(
                code="no-partition-table",
                what=what,
                where=str(disk),
                found=f"{len(head)} bytes",
                expected=expected,
                remedy="check that this is the right image",
            )
        )
    if other := source.foreign(head, b""):
        raise BadInput(
            Problem(
                code="disk-not-raw",
                what="the disk is not raw",
                where=str(disk),
                found=f"a header of {other}",
                expected="the raw bytes of the guest's disk",
                remedy="if the Xen configuration calls this image raw, somebody in the guest wrote that header: do "
                "not convert it; "
                "else convert the image to raw with `qemu-img convert` and give that",
            )
        )
    whole, no_disk = source.without_table(head)
    if head[510:512] != b"\x55\xaa" or (source.table(head) == "none" and (whole or no_disk)):
        found, remedy = no_disk or (whole or "no boot signature", "check that this is the right image")
        raise BadInput(
            Problem(code="no-partition-table", what=what, where=str(disk), found=found, expected=expected, remedy=remedy)
        )
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    places = [struct.unpack_from("<II", e, 8) for e in entries if e[4] not in (0, GPT)]
    end = max((first + count for first, count in places), default=0) * source.SECTOR
    if end > size:
        raise BadInput(
            Problem(
                code="disk-ends-early",
                what="the disk is cut off",
                where=str(disk),
                found=f"{size:,} bytes, and its last partition ends at {end:,}",
                expected="a disk that is as long as its partition table says",
                remedy="copy the image again; something ended the copy early",
            )
        )
    return source.boot_loader(head)


def facts(raw: dict[str, Any], folder: Path, loader: str, disk: str) -> GuestFacts:
    """Facts from the worker's result `raw` and the files that it fetched into `folder`; `disk` names it in errors."""
    texts, latin1 = {}, []
    for path, packed in raw["texts"].items():
        content = base64.b64decode(packed)
        try:
            texts[path] = content.decode()
        except UnicodeDecodeError:
            texts[path] = content.decode("latin-1")
            latin1.append(path)
    partitions = tuple(Partition(**p) for p in raw["partitions"])
    menu = menus.find(texts, loader)
    if not menu and loader != "none":
        raise BadInput(
            Problem(
                code="no-boot-menu",
                what="the guest has no boot menu",
                where=f"{disk}: {loader}",
                found="none of the files",
                expected=" or ".join(MENUS),
                remedy="repair the boot loader in the running guest, or leave this guest for now",
            )
        )
    for other in MENUS:  # on Red Hat's systems menu.lst is a link to grub.conf
        if other != menu and texts.get(other) == texts.get(menu):
            texts.pop(other, None)
    warnings: list[Note] = [note("fstab-line-odd", line=line) for line in fstab.odd(texts.get("/etc/fstab", ""))]
    serial = (path for path in raw["present"] if "getty@ttyS" in path)
    warnings += [note("serial-first", file=path, line=path.rpartition("/")[2]) for path in serial]
    if console.UNIT in raw["present"] and console.UNIT not in texts:  # a link to /dev/null
        warnings.append(note("screen-login-masked", unit=console.UNIT))
    fetched = kernels.Fetched(
        frozenset(raw["present"]), {path: folder / name for path, name in raw["files"].items()}, raw.get("links", {})
    )
    entries = MENUS[menu].entries(texts, menu) if menu else kernels.unlisted(texts, fetched)
    if len(entries) > MOST_ENTRIES:
        raise BadInput(
            Problem(
                code="boot-menu-too-long",
                what="the guest's boot menu is unreasonably long",
                where=f"{disk}: {menu or '/boot'}",
                found=f"{len(entries)} entries",
                expected=f"at most {MOST_ENTRIES}",
                remedy="remove old kernels in the running guest, or leave this guest for now",
            )
        )
    bootable = kernels.found(entries, texts, partitions, fetched, warnings)
    if not bootable:
        raise BadInput(
            Problem(
                code="no-kernel-in-menu" if menu else "no-kernel",
                what="the guest's boot menu offers no kernel that is on the disk"
                if menu
                else "the guest has no kernel of its own",
                where=f"{disk}: {menu or '/boot'}",
                found=", ".join(e.kernel or e.title for e in entries) or "no entries",
                expected="entries whose kernel exists" if menu else "an ordinary kernel with its initrd",
                remedy="repair the menu in the running guest"
                if menu
                else "the Dom-0 held the guest's kernel, and VMware cannot: in the running guest install one "
                f"(yum install kernel; Debian: apt-get install linux-image-amd64), then run {SURVEY} again",
            )
        )
    nics, told = interfaces.found(texts)
    warnings += [*told, *pinning.told(texts), *licence.told(texts)]
    warnings += [note("volume-encrypted", volume=p.device) for p in partitions if p.fstype == "crypto_LUKS"]
    name, release = distribution.of(texts)
    systemd = any(path in raw["present"] for path in SYSTEMD)
    linked = forwarding.LINK in raw["present"]
    there = {"present": raw["present"], "links": raw.get("links", {}), "plain": raw.get("plain", ())}
    forwards, because = forwarding.of(texts, systemd=systemd, linked=linked, **there)
    program = base64.b64decode(raw["program"])
    return GuestFacts(
        distribution=name,
        release=release,
        arch=_MACHINES.get(int.from_bytes(program[18:20], "little"), "unknown"),
        hostname=sysconfig.values(texts.get("/etc/sysconfig/network", "")).get("HOSTNAME")
        or texts.get("/etc/hostname", "").strip()
        or texts.get("/etc/HOSTNAME", "").strip(),
        boot_loader=loader,
        boot_config=menu,
        default_kernel=MENUS[menu].default(texts, menu) if menu else 0,
        kernels=bootable,
        partitions=partitions,
        interfaces=tuple(sorted(nics, key=lambda i: (not i.name, len(i.name), i.name))),
        pinned=pinning.read(texts),
        renamed=pinning.renamed(texts),
        links_masked=pinning.LINKS_RULE in raw["present"] and pinning.LINKS_RULE not in texts,
        systemd=systemd,
        forwards=forwards,
        forwards_because=because,
        texts=(needed := kept.of(texts)),
        secrets=raw["secrets"],
        latin1=tuple(p for p in latin1 if p in needed),
        disk_names=tuple(raw.get("names", ())),
        further_disks=tuple(map(tuple, raw.get("further", ()))),
        efi_loaders=tuple(sorted(starts.matching(raw["present"], (EFI_LOADERS,)))),
        getty=next((path for path in console.GETTYS if path in raw["present"]), ""),
        initrd_maker=next((path for path in MAKERS if path in raw["present"]), ""),
        rpm_environment=tuple(sorted(p for p in raw["present"] if p.startswith("/var/lib/rpm/__db."))),
        selinux=sysconfig.values(texts.get("/etc/selinux/config", "")).get("SELINUX", "disabled").lower() != "disabled",
        installed=_installed(raw["files"], folder),
        services=_services(raw["present"]),
        warnings=tuple(warnings),
    )


def _installed(fetched: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Debian's packages."""
    if packages.STATUS not in fetched:
        return {}
    return packages.installed((folder / fetched[packages.STATUS]).read_text(errors="replace"))


def _services(present: Collection[str]) -> tuple[str, ...]:
    """The services of SERVICES by their names: `S05kudzu` is kudzu."""
    links = [path.rpartition("/")[2] for path in starts.matching(present, SERVICES)]
    return tuple(sorted({re.sub(r"^S\d\d", "", link) for link in links}))
