"""What has to change inside a guest before it can start on VMware: decided from facts alone, and part of the plan.

`hikkoshi.guest.prepared` carries it out on a copy.
"""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from hikkoshi.artefact import Frozen
from hikkoshi.errors import BadInput, Problem
from hikkoshi.guest import device as disk_names
from hikkoshi.guest import edits, hardware, nics
from hikkoshi.guest.additions import addition, firststart, tools
from hikkoshi.guest.additions.addition import Additions
from hikkoshi.guest.edits import CACHES, INITRD_INPUTS, Edit, of_suse, package_of
from hikkoshi.guest.facts import GuestFacts, Kernel
from hikkoshi.guest.files import arguments, clock, console, fstab, modprobe
from hikkoshi.guest.files.grub2 import order
from hikkoshi.guest.interfaces import pinning
from hikkoshi.guest.note import Note, note
from hikkoshi.run.step import SURVEY

# the makers of initrds ask for small files, for which an emulated processor works longest; for dracut
_QUICK = {"gzip": "gzip -n -1", "xz": "xz --check=crc32 -0", "zstd": "zstd -q -1 -T0"}


class Preparation(Frozen):
    """Everything that will be done inside the guest."""

    kernel: str  # version
    kernel_because: Note
    default: int  # its place in the boot menu
    package: str  # that this kernel comes from
    controller: str
    nic_model: str
    controller_module: str
    nic_module: str
    macs: dict[str, str]  # {eth0: MAC in lower case}
    edits: tuple[Edit, ...]
    boot_loader: str = ""  # to install: extlinux where the disk has none
    initrd: str  # path in the guest
    rebuilds: bool  # whether the initrd is made again
    initrd_modules_before: tuple[str, ...]
    modules: tuple[str, ...]  # to build into the initrd, the planned controller's first
    must_be_in_initrd: tuple[str, ...]  # the planned controller's driver and the disk's, unless the kernel has them built in
    commands: tuple[tuple[str, ...], ...]  # programs of the guest, run in order after the edits
    leftovers: tuple[str, ...] = ()  # lines, 'PATH: LINE', that will still name a Xen device, for a person to judge
    notes: tuple[Note, ...] = ()  # what a person should know
    additions: Additions = Additions()  # what is brought from outside

    @model_serializer(mode="wrap")
    def _written(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As JSON has it: of a guest that gets nothing from outside as earlier versions wrote it, so that it keeps its hash."""
        tree: dict[str, Any] = rest(self)
        return tree if self.additions else {name: value for name, value in tree.items() if name != "additions"}

    @property
    def hash(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def plan(
    facts: GuestFacts, *, controller: str, nic_model: str, macs: Mapping[str, str], additions: Additions | None = None
) -> Preparation:
    """Decide what to change; `macs` are the planned NICs by the guest's names for them. Of `additions` what it has not got yet.

    The same facts always give the same result. `BadInput` where no kernel of the guest can start on this hardware.
    """
    disk, nic = hardware.CONTROLLERS[controller], hardware.NICS[nic_model]
    kernel, because = _kernel(facts, disk, nic)
    disk_module, nic_module = (hardware.module(d, kernel.claims, kernel.builtin) for d in (disk, nic))
    # the other controllers' drivers too: a change of controller later must not need a new initrd
    others = (hardware.module(d, kernel.claims, kernel.builtin) for d in hardware.CONTROLLERS.values() if d != disk)
    wanted = dict.fromkeys((disk_module, kernel.scsi_disk, *others))
    modules = tuple(m for m in wanted if m and m not in kernel.builtin)
    added = (additions or Additions()).left(facts.texts)
    changes = (*edits.decided(facts, kernel, modules, nic_module, macs), *_added(facts, added))
    inputs = INITRD_INPUTS[facts.initrd_maker.rpartition("/")[2]]
    if of_suse(facts):
        inputs = (*inputs, "/etc/sysconfig/kernel")
    rebuilds = not set(modules) <= set(kernel.initrd_modules) or any(e.path.startswith(inputs) for e in changes)
    commands = [_initrd_command(facts, kernel, modules)] if rebuilds else []
    commands += [_off(facts, service) for service in facts.services]
    if facts.boot_loader == "uefi":
        commands += _started_by_uefi(facts)
    if any(e.path == pinning.UNIT for e in changes):
        commands.append(("/bin/systemctl", "enable", PurePath(pinning.UNIT).name))
    if added.starts:
        commands += firststart.commands(facts.systemd, facts.distribution)
    if facts.rpm_environment:
        commands.append(("/bin/rm", "-f", *facts.rpm_environment))
    if changes or commands:
        changes = (*changes, *edits.relabelled(facts))
    after = facts.texts | {e.path: e.after or "" for e in changes}
    return Preparation(
        kernel=kernel.version,
        kernel_because=because,
        default=0 if facts.boot_loader == "none" else kernel.index,
        boot_loader="extlinux" if facts.boot_loader == "none" else "",
        rebuilds=rebuilds,
        package=package_of(kernel.version),
        controller=controller,
        nic_model=nic_model,
        controller_module=disk_module,
        nic_module=nic_module,
        macs={name: mac.lower() for name, mac in macs.items()},
        edits=changes,
        initrd=kernel.initrd,
        initrd_modules_before=kernel.initrd_modules,
        modules=modules,
        must_be_in_initrd=tuple(m for m in modules if m in (disk_module, kernel.scsi_disk)),
        commands=tuple(commands),
        leftovers=tuple(xen_lines(after, 1 + len(facts.further_disks))),
        notes=_notes(facts, macs, nic_module, changes, additions or Additions()),
        additions=added,
    )


def _added(facts: GuestFacts, additions: Additions) -> list[Edit]:
    """The files of ours that start what is brought, and tell that it was."""
    wanted = firststart.texts(facts.systemd, additions) if additions.starts else {}
    found = [
        edits.whole(facts, path, note("first-start"), text) for path, text in wanted.items() if facts.texts.get(path) != text
    ]
    if additions.listed():
        found.append(edits.whole(facts, addition.BROUGHT, note("brought-along"), additions.brought(facts.texts)))
    return found


def xen_lines(texts: Mapping[str, str], disks: int = 1) -> list[str]:
    """'PATH: LINE' of every line, comments aside, that names a Xen disk, console or module in the files of a guest of so many
    disks."""
    told = {path: disk_names.names_xen(text, disks) for path, text in texts.items() if path not in CACHES}
    found = [f"{path}: {line}" for path, lines in told.items() for line in lines]
    conf = "/etc/modprobe.conf"
    return [*found, *(f"{conf}: {line}" for line in modprobe.leftovers(texts.get(conf, "")))]


def diffs(preparation: Preparation, facts: GuestFacts) -> list[tuple[str, str]]:
    """`(path, unified diff)` of every file that changes."""
    shown = []
    for edit in preparation.edits:
        before = facts.texts.get(edit.path, "").split("\n")
        after = (edit.after or "").split("\n")
        name = edit.path if edit.after is not None else "/dev/null"
        diff = difflib.unified_diff(before, after, edit.path, name, n=2, lineterm="")
        shown.append((edit.path, "\n".join(line.rstrip("\r") for line in diff)))
    return shown


def ordinary_package(facts: GuestFacts, xen_version: str) -> str:
    """The package of the ordinary kernel that belongs beside a Xen one: `kernel-2.6.18-398.el5.x86_64`.

    32-bit Enterprise Linux 5 wants the PAE kernel, 4 the smp one: the plain ones see one CPU or 4 GB only.
    """
    major = facts.release.split(".")[0]
    if facts.distribution in ("debian", "ubuntu"):
        wide = {"x86_64": "amd64", "i686": "686-pae"}.get(facts.arch, facts.arch)
        return f"linux-image-{wide}" if facts.distribution == "debian" else "linux-image-generic"
    if of_suse(facts):
        wide = "kernel-bigsmp" if major.isdigit() and int(major) <= 10 else "kernel-pae"  # of a 32-bit one
        return {"i686": wide}.get(facts.arch, "kernel-default")
    flavour = {("i686", "5"): "kernel-PAE", ("i686", "4"): "kernel-smp", ("x86_64", "4"): "kernel-smp"}
    base = re.sub(r"-?xen[U0]?$", "", xen_version)
    return f"{flavour.get((facts.arch, major), 'kernel')}-{base}.{facts.arch}"


def _install(facts: GuestFacts) -> str:
    """The command that installs a package in the running guest."""
    if of_suse(facts):
        return "zypper install"
    return "apt-get install" if facts.distribution in ("debian", "ubuntu") else "yum install"


def _kernel(facts: GuestFacts, disk: hardware.Device, nic: hardware.Device) -> tuple[Kernel, Note]:
    """The kernel to boot, and why: the highest ordinary one that drives the planned controller and NIC."""
    ordinary = sorted(
        {k.version: k for k in reversed(facts.kernels) if not k.xen_only}.values(),  # of twins the first in the menu
        key=lambda k: (not k.version.endswith("debug"), order(k.version)),
        reverse=True,
    )
    if not ordinary:
        newest = max((k.version for k in facts.kernels), key=order)
        raise BadInput(
            Problem(
                code="xen-kernels-only",
                what="the guest has only kernels that boot under Xen and nowhere else",
                where=f"{facts.hostname or 'guest'}: {facts.boot_config}",
                found=", ".join(k.version for k in facts.kernels),
                expected="an ordinary kernel beside them",
                remedy=f"in the running guest: {_install(facts)} {ordinary_package(facts, newest)}; leave the default boot entry "
                f"as it is, shut the guest down, then run {SURVEY} again",
            )
        )
    able = [k for k in ordinary if all(hardware.module(d, k.claims, k.builtin) for d in (disk, nic))]
    if not able:
        raise BadInput(*_lacking(facts, ordinary[0], disk, nic))
    best = next((k for k in able if k.index == facts.default_kernel), able[0])
    where, problems = f"{facts.boot_config}, entry {best.index} ({best.title})", []
    by_hand = f"mkinitrd /boot/initrd-{best.version}.img {best.version}"
    if of_suse(facts):
        by_hand = f"mkinitrd -k vmlinuz-{best.version} -i initrd-{best.version}"
    if not best.initrd:
        problems.append(
            Problem(
                code="no-initrd",
                what="the kernel to boot has no initrd",
                where=where,
                found="no initrd line, or the file is missing",
                expected="an initrd, which will be made again with the new controller's driver",
                remedy=f"in the running guest: {by_hand}, and name it in the entry",
            )
        )
    if not facts.initrd_maker:
        problems.append(
            Problem(
                code="no-initrd-maker",
                what="the guest cannot make an initrd",
                where=where,
                found="no mkinitrd, dracut or update-initramfs",
                expected="one of them",
                remedy=f"in the running guest: {_install(facts)} mkinitrd "
                "(Enterprise Linux 6 and later: dracut, Debian: initramfs-tools)",
            )
        )
    if problems:
        raise BadInput(*problems)
    drives = {"disk": disk.model, "nic": nic.model}
    if best.index == facts.default_kernel:
        return best, note("kernel-default", **drives)
    if len(able) > 1:
        return best, note("kernel-highest", kernels=len(able), **drives)
    return best, note("kernel-only", **drives)


def _lacking(facts: GuestFacts, kernel: Kernel, *devices: hardware.Device) -> list[Problem]:
    problems = []
    for d in devices:
        if hardware.module(d, kernel.claims, kernel.builtin):
            continue
        family = hardware.CONTROLLERS if d.model in hardware.CONTROLLERS else hardware.NICS
        key = "controller" if family is hardware.CONTROLLERS else "nic"
        able = [o.model for o in family.values() if hardware.module(o, kernel.claims, kernel.builtin)]
        problems.append(
            Problem(
                code="no-driver",
                what=f"no ordinary kernel of the guest has a driver for {d.model}",
                where=f"{facts.hostname or 'guest'}: /lib/modules/{kernel.version}/modules.alias",
                found=f"nothing there claims PCI id {d.pci}",
                expected=f"{d.module} or another module that claims it",
                remedy=f"set `vm: {{ {key}: {' or '.join(able)} }}` in the guest's parameter file, which this kernel can drive"
                if able
                else f"install a newer ordinary kernel in the running guest, then run {SURVEY} again",
            )
        )
    return problems


def _off(facts: GuestFacts, service: str) -> tuple[str, ...]:
    """What keeps a service from starting at boot."""
    if service.endswith(".service"):
        return ("/bin/systemctl", "disable", service)
    if facts.distribution in ("debian", "ubuntu"):
        return ("/usr/sbin/update-rc.d", service, "disable")
    return ("/sbin/chkconfig", service, "off")


def _initrd_command(facts: GuestFacts, kernel: Kernel, modules: Sequence[str]) -> tuple[str, ...]:
    """What makes the kernel's initrd again, in the guest."""
    maker = facts.initrd_maker
    if maker.endswith("/mkinitrd") and of_suse(facts):  # it takes the modules from /etc/sysconfig/kernel, and names in /boot
        image, initrd = (PurePath(path).name for path in (kernel.image, kernel.initrd))
        return (maker, "-k", image, "-i", initrd)
    if maker.endswith("/update-initramfs"):  # it takes the modules from its own list
        # initramfs.conf(5), whose own setting wins; versions without it look at no such variable
        return ("/usr/bin/env", "COMPRESSLEVEL=1", maker, "-u", "-k", kernel.version)
    if maker.endswith("/dracut"):
        # dracut(8): what is quoted is called with exactly these arguments; versions without systemd may not know the option
        quick = ("--compress", _QUICK[kernel.initrd_packer]) if facts.systemd and kernel.initrd_packer in _QUICK else ()
        return (maker, "-f", "--add-drivers", " ".join(modules), *quick, kernel.initrd, kernel.version)
    return (maker, "-f", "-v", *(f"--with={m}" for m in modules), kernel.initrd, kernel.version)


def _started_by_uefi(facts: GuestFacts) -> list[tuple[str, ...]]:
    """What puts the guest's boot loader where the firmware of a new machine looks, which remembers no entry.

    Source: Unified Extensible Firmware Interface Specification 2.10, section 3.5.1.1, Removable Media Boot Behavior.
    """
    names = {path: path.lower().rsplit("/", 2)[1:] for path in facts.efi_loaders}
    if ["boot", "bootx64.efi"] in names.values():
        return []
    own = [path for path, (_, file) in names.items() if file == "grubx64.efi"]
    own.sort(key=lambda path: names[path][0] != facts.distribution)
    if not own:
        raise BadInput(
            Problem(
                code="no-efi-loader",
                what="the disk starts by UEFI, and no boot loader was found on its EFI system partition",
                where=facts.hostname or "guest",
                found=", ".join(facts.efi_loaders) or "no file under /boot/efi/EFI",
                expected="EFI/BOOT/BOOTX64.EFI, or a grubx64.efi, on a partition that /etc/fstab mounts as /boot/efi",
                remedy=f"in the running guest: mount the EFI system partition as /boot/efi by /etc/fstab, and run grub-install "
                f"--removable there; then run {SURVEY} again",
            )
        )
    folder = own[0].rsplit("/", 2)[0] + "/BOOT"
    return [("/bin/mkdir", "-p", folder), ("/bin/cp", own[0], f"{folder}/BOOTX64.EFI")]


def _own_only(facts: GuestFacts, macs: Mapping[str, str], file: str) -> bool:
    """Whether a file gives NICs only the MACs that they have anyway."""
    given = {i.own_mac for i in facts.interfaces if i.file == file and i.own_mac}
    return bool(given) and given <= set(macs.values())


def _unknown(texts: Mapping[str, str], facts: GuestFacts) -> list[str]:
    """Lines of fstab that name what is not on this disk, but for those that are told as Xen's."""
    lines = fstab.unknown(texts.get("/etc/fstab", ""), edits.disk(facts))
    return [line for line in lines if not disk_names.names_xen(line, 1 + len(facts.further_disks))]


def _notes(
    facts: GuestFacts, macs: Mapping[str, str], nic_module: str, changes: Sequence[Edit], additions: Additions
) -> tuple[Note, ...]:
    found = nics.configured(facts, macs, driver=nic_module)
    fits = {i.place for listed in found.values() for i in listed}
    own = [i for i in facts.interfaces if i.kind == "nic"]
    known = nics.tied(facts)
    gone = {w for e in changes for w in arguments.only_xen(facts.texts.get(e.path, "")) - arguments.only_xen(e.after or "")}
    after = facts.texts | {e.path: e.after or "" for e in changes}
    return (
        *(w for w in facts.warnings if w.code != "mac-in-file" or not _own_only(facts, macs, w.facts["file"])),
        *([note("xen-arguments-gone", arguments=" ".join(sorted(gone)))] if gone else []),
        *([note("screen-without-login")] if console.missing(after.get("/etc/inittab", "")) else []),
        *([note("screen-without-job", folder=folder)] if not facts.systemd and (folder := console.jobless(after)) else []),
        *(note("serial-first", file=path, line=line) for path, line in console.serial(after)),
        *(note("fstab-device-unknown", line=line) for line in _unknown(after, facts)),
        *(note("disk-by-letter", file=path, line=line) for path, line in edits.by_letter(facts, after)),
        clock.advice(facts),
        tools.advice(facts, additions),
        *(note("nic-name-left", nic=n, mac=mac) for n, mac in macs.items() if nics.only_left(facts, n) and mac not in known),
        *(note("nic-unconfigured", nic=n) for n, listed in found.items() if not listed and not nics.above(facts, n)),
        *(note("nic-not-planned", file=i.file, nic=i.name) for i in own if i.name and i.name not in macs),
        *(note("nic-mac-not-planned", place=i.place, mac=i.mac) for i in own if i.mac not in ("", *macs.values()) and not i.name),
        *(
            note("nic-conditions-unmet", place=i.place, conditions=", ".join(i.conditions))
            for i in own
            if not nics.meets(i, nic_module)
        ),
        *(
            note("nic-patterns-unmatched", place=i.place, patterns=" ".join(i.patterns))
            for i in own
            if i.patterns and not (i.name or i.mac or i.place in fits) and nics.meets(i, nic_module)
        ),
    )
