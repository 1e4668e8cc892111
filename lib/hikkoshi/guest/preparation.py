"""What has to change inside a guest before it can start on VMware: decided from facts alone, and part of the plan.

`hikkoshi.guest.prepared` carries it out on a copy.
"""

import difflib
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import BaseModel, ConfigDict

from hikkoshi.errors import BadInput, Problem
from hikkoshi.guest import console, extlinux, fstab, grub, hardware, ifcfg, lvm, menu, modprobe, sysconfig
from hikkoshi.guest import device as disk_names
from hikkoshi.guest.facts import GuestFacts, Kernel

INITRD_INPUTS = ("/etc/modprobe.conf", "/etc/fstab", "/etc/lvm/lvm.conf")
SUFFIX = ".pre-migration"  # what was there before is kept beside it under this name
CACHES = (  # lists of devices that the guest makes again by itself
    "/etc/blkid/blkid.tab",
    "/etc/blkid.tab",
    "/etc/lvm/cache/.cache",
)
RELABEL = "/.autorelabel"  # asks SELinux, at the next boot, for labels on what was written from outside


class Edit(BaseModel):
    """One file of the guest with its whole new text; moved away where `after` is None, made where the hash is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    why: str
    before_sha256: str | None
    after: str | None
    encoding: str = "utf-8"

    @property
    def content(self) -> bytes | None:
        """The new bytes."""
        return None if self.after is None else self.after.encode(self.encoding)


class Preparation(BaseModel):
    """Everything that will be done inside the guest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kernel: str  # version
    kernel_because: str
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
    must_be_in_initrd: tuple[str, ...]  # nothing where the controller's driver is built into the kernel
    commands: tuple[tuple[str, ...], ...]  # programs of the guest, run in order after the edits
    leftovers: tuple[str, ...] = ()  # lines, 'PATH: LINE', that will still name a Xen device, for a person to judge
    notes: tuple[str, ...] = ()  # what a person should know

    @property
    def hash(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def plan(facts: GuestFacts, *, controller: str, nic_model: str, macs: Mapping[str, str]) -> Preparation:
    """Decide what to change; `macs` are the planned NICs by the guest's names for them.

    The same facts always give the same result. `BadInput` where no kernel of the guest can start on this hardware.
    """
    disk, nic = hardware.CONTROLLERS[controller], hardware.NICS[nic_model]
    kernel, because = _kernel(facts, disk, nic)
    disk_module, nic_module = (hardware.module(d, kernel.claims, kernel.builtin) for d in (disk, nic))
    # the other controllers' drivers too: a change of controller later must not need a new initrd
    others = (hardware.module(d, kernel.claims, kernel.builtin) for d in hardware.CONTROLLERS.values() if d != disk)
    modules = tuple(m for m in dict.fromkeys((disk_module, *others)) if m and m not in kernel.builtin)
    edits = _edits(facts, kernel, modules, nic_module, macs)
    rebuilds = not set(modules) <= set(kernel.initrd_modules) or any(e.path in INITRD_INPUTS for e in edits)
    commands: list[tuple[str, ...]] = []
    if rebuilds:
        commands.append(
            ("/sbin/mkinitrd", "-f", "-v", *(f"--with={m}" for m in modules), kernel.initrd, kernel.version)
        )
    if facts.kudzu:
        commands.append(("/sbin/chkconfig", "kudzu", "off"))
    if facts.rpm_environment:
        commands.append(("/bin/rm", "-f", *facts.rpm_environment))
    if (edits or commands) and facts.selinux and RELABEL not in facts.texts:
        edits = (
            *edits,
            Edit(path=RELABEL, why="labels for what was written from outside", before_sha256=None, after=""),
        )
    after = facts.texts | {e.path: e.after or "" for e in edits}
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
        edits=edits,
        initrd=kernel.initrd,
        initrd_modules_before=kernel.initrd_modules,
        modules=modules,
        must_be_in_initrd=(disk_module,) if disk_module not in kernel.builtin else (),
        commands=tuple(commands),
        leftovers=tuple(xen_lines(after)),
        notes=_notes(facts, macs),
    )


def xen_lines(texts: Mapping[str, str]) -> list[str]:
    """'PATH: LINE' of every line, comments aside, that names a Xen disk, console or module in the guest's own files."""
    found = [
        f"{path}: {line}" for path, text in texts.items() if path not in CACHES for line in disk_names.names_xen(text)
    ]
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


def table(preparation: Preparation) -> list[dict[str, str]]:
    """Drivers and kernel before and after, as rows for a reader."""
    initrd = set(preparation.initrd_modules_before)
    return [
        {"what": "kernel", "planned": preparation.kernel, "why": preparation.kernel_because},
        {
            "what": f"controller {preparation.controller}",
            "planned": preparation.controller_module,
            "why": "already in the initrd" if preparation.controller_module in initrd else "not in the initrd today",
        },
        {
            "what": f"NICs {preparation.nic_model}",
            "planned": preparation.nic_module,
            "why": "loaded from the root disk",
        },
        {
            "what": "initrd",
            "planned": f"{preparation.initrd} made again with {', '.join(preparation.modules) or 'nothing added'}"
            if preparation.rebuilds
            else f"{preparation.initrd} as it is",
            "why": f"holds today: {', '.join(preparation.initrd_modules_before) or 'no modules'}",
        },
        *(
            [{"what": "boot loader", "planned": preparation.boot_loader, "why": "there is none on the disk"}]
            if preparation.boot_loader
            else []
        ),
        *({"what": "changed", "planned": e.path, "why": e.why} for e in preparation.edits),
        *({"what": "run in the guest", "planned": " ".join(c), "why": ""} for c in preparation.commands),
        *({"what": "still Xen's name", "planned": line, "why": "look at it"} for line in preparation.leftovers),
        *({"what": "note", "planned": note, "why": ""} for note in preparation.notes),
    ]


def package_of(version: str) -> str:
    """The package that a kernel comes from, by the flavour at the end of its version: `kernel-PAE`."""
    match = re.search(r"(?:el\d\w*?|EL)(xen|PAE|smp|hugemem|largesmp|debug)$", version)
    return f"kernel-{match[1]}" if match else "kernel"


def ordinary_package(facts: GuestFacts, xen_version: str) -> str:
    """The package of the ordinary kernel that belongs beside a Xen one: `kernel-2.6.18-398.el5.x86_64`.

    32-bit Enterprise Linux 5 wants the PAE kernel, 4 the smp one: the plain ones see one CPU or 4 GB only.
    """
    major = facts.release.split(".")[0]
    if facts.distribution in ("sles", "suse"):
        return {"i686": "kernel-pae"}.get(facts.arch, "kernel-default")
    flavour = {("i686", "5"): "kernel-PAE", ("i686", "4"): "kernel-smp", ("x86_64", "4"): "kernel-smp"}
    base = re.sub(r"-?xen[U0]?$", "", xen_version)
    return f"{flavour.get((facts.arch, major), 'kernel')}-{base}.{facts.arch}"


def _kernel(facts: GuestFacts, disk: hardware.Device, nic: hardware.Device) -> tuple[Kernel, str]:
    """The kernel to boot, and why: the highest ordinary one that drives the planned controller and NIC."""
    ordinary = sorted(
        {k.version: k for k in reversed(facts.kernels) if not k.xen_only}.values(),  # of twins the first in the menu
        key=lambda k: (not k.version.endswith("debug"), _order(k.version)),
        reverse=True,
    )
    if not ordinary:
        newest = max((k.version for k in facts.kernels), key=_order)
        raise BadInput(
            Problem(
                "the guest has only kernels that boot under Xen and nowhere else",
                f"{facts.hostname or 'guest'}: {facts.boot_config}",
                ", ".join(k.version for k in facts.kernels),
                "an ordinary kernel beside them",
                f"in the running guest: yum install {ordinary_package(facts, newest)}; leave the default boot entry as it is, "
                "shut the guest down, then run 10-survey again",
            )
        )
    able = [k for k in ordinary if all(hardware.module(d, k.claims, k.builtin) for d in (disk, nic))]
    if not able:
        raise BadInput(*_lacking(facts, ordinary[0], disk, nic))
    best = next((k for k in able if k.index == facts.default_kernel), able[0])
    problems = [
        Problem(what, f"{facts.boot_config}, entry {best.index} ({best.title})", found, expected, remedy)
        for bad, what, found, expected, remedy in (
            (
                not best.initrd,
                "the kernel to boot has no initrd",
                "no initrd line, or the file is missing",
                "an initrd, which will be made again with the new controller's driver",
                f"in the running guest: mkinitrd /boot/initrd-{best.version}.img {best.version}, and name it in the entry",
            ),
            (
                not facts.initrd_maker,
                "the guest cannot make an initrd",
                "no mkinitrd, dracut or update-initramfs",
                "one of them",
                "in the running guest: yum install mkinitrd (Enterprise Linux 6: dracut)",
            ),
        )
        if bad
    ]
    if problems:
        raise BadInput(*problems)
    if best.index == facts.default_kernel:
        lead = "the guest's own default: it boots"
    elif len(able) > 1:
        lead = f"the highest of {len(able)} that boot"
    else:
        lead = "the only one that boots"
    return best, f"{lead} without Xen and can drive {disk.model} and {nic.model}"


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
                f"no ordinary kernel of the guest has a driver for {d.model}",
                f"{facts.hostname or 'guest'}: /lib/modules/{kernel.version}/modules.alias",
                f"nothing there claims PCI id {d.pci}",
                f"{d.module} or another module that claims it",
                f"set `vm: {{ {key}: {' or '.join(able)} }}` in the guest's parameter file, which this kernel can drive"
                if able
                else "install a newer ordinary kernel in the running guest, then run 10-survey again",
            )
        )
    return problems


def _order(version: str) -> list[tuple[int, int, str]]:
    """A sort key for kernel versions, as rpm compares them: numbers by value and above letters."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[A-Za-z]+", version)]


def _edits(
    facts: GuestFacts, kernel: Kernel, modules: tuple[str, ...], nic_module: str, macs: Mapping[str, str]
) -> tuple[Edit, ...]:
    path, package = facts.boot_config, package_of(kernel.version)
    changes: list[tuple[str, Callable[[str], str], str]] = [
        ("/boot/grub/device.map", grub.device_map, "the boot disk's new name"),
        ("/etc/sysconfig/grub", sysconfig.boot_disk, "the boot disk's new name"),
        (
            "/etc/sysconfig/kernel",
            lambda t: sysconfig.default_kernel(t, package),
            f"updates of {package} stay the default",
        ),
        ("/etc/fstab", fstab.prepared, "the disks' new names"),
        ("/etc/lvm/lvm.conf", lvm.prepared, "the disks' new names"),
        ("/etc/inittab", console.inittab, "log in on the screen, not on Xen's console"),
        ("/etc/securetty", console.securetty, "root may log in on the screen"),
        (
            "/etc/modprobe.conf",
            lambda t: modprobe.prepared(t, macs, nic_module, modules),
            "NICs and disk on VMware's drivers",
        ),
    ]
    for interface in facts.interfaces:
        mac = macs.get(interface.name)
        if mac is not None:
            why = f"{interface.name} is the NIC with MAC {mac}"
            changes.append((interface.file, partial(ifcfg.prepared, mac=mac), why))
    if path:
        why = f"boot {kernel.version}; no Xen disk, no Xen console"
        changes.insert(0, (path, lambda t: menu.MENUS[path].prepared(t, kernel.index), why))
    edits = [_menu_made(facts, kernel)] if facts.boot_loader == "none" else []
    for name, change, why in changes:
        before = facts.texts.get(name)
        if before is None or (after := change(before)) == before:
            continue
        edits.append(_edit(facts, name, why, after))
    return (
        *edits,
        *(_edit(facts, p, "a list of old devices; made again by itself", None) for p in CACHES if p in facts.texts),
    )


def _menu_made(facts: GuestFacts, kernel: Kernel) -> Edit:
    """The menu of a boot loader that the guest never had; paths as the file system that holds /boot sees them."""
    own = any(p.mountpoint == "/boot" for p in facts.partitions)
    image, initrd = (path.removeprefix("/boot") if own else path for path in (kernel.image, kernel.initrd))
    title = f"{facts.distribution} {facts.release}, {kernel.version}"
    text = extlinux.menu(title, image, initrd, grub.arguments(" ".join(kernel.arguments)))
    why = "a boot loader for a disk that had none: under Xen the Dom-0 did without"
    return Edit(path=extlinux.CONF, why=why, before_sha256=None, after=text)


def _edit(facts: GuestFacts, path: str, why: str, after: str | None) -> Edit:
    encoding = "latin-1" if path in facts.latin1 else "utf-8"
    before = hashlib.sha256(facts.texts[path].encode(encoding)).hexdigest()
    return Edit(path=path, why=why, before_sha256=before, after=after, encoding=encoding)


def _notes(facts: GuestFacts, macs: Mapping[str, str]) -> tuple[str, ...]:
    files = {i.name for i in facts.interfaces}
    return (
        *facts.warnings,
        *(f"{n} has no ifcfg file in the guest: it will be there, unconfigured" for n in macs if n not in files),
        *(
            f"{i.file} configures {i.name}, which the plan does not have: it stays as it is"
            for i in facts.interfaces
            if i.name not in macs
        ),
    )
