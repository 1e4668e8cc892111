"""Which of a guest's files change, and into what: decided from facts alone."""

import fnmatch
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial

from hikkoshi.artefact import Frozen
from hikkoshi.guest import leftovers, nics
from hikkoshi.guest.device import Disk
from hikkoshi.guest.facts import GuestFacts, Kernel
from hikkoshi.guest.files import arguments, clock, console, extlinux, fstab, grub, grub2, lvm, menu, modprobe, sysconfig
from hikkoshi.guest.interfaces import ifcfg, pinning
from hikkoshi.guest.note import Note, note

DRACUT = "/etc/dracut.conf.d/hikkoshi.conf"
# what an initrd is made of, by the beginning of the path, for each program that makes one
INITRD_INPUTS = {
    "mkinitrd": ("/etc/modprobe.conf", "/etc/fstab", "/etc/lvm/"),
    "dracut": (
        *("/etc/fstab", "/etc/crypttab", "/etc/lvm/", "/etc/cmdline.d/", "/etc/mdadm.conf"),
        *("/etc/dracut.conf.d/", "/etc/systemd/network/", "/etc/udev/rules.d/"),
    ),
    # not the names of NICs: whatever the initrd called them, the booted system does it again
    "update-initramfs": ("/etc/crypttab", "/etc/lvm/", "/etc/mdadm/", "/etc/initramfs-tools/"),
}
# folder in the guest that keeps what was there before, each file under its own path; beside the new one it would be read
# in its place: the network scripts take every ifcfg-*, initramfs-tools every file of conf.d
KEPT = "/.pre-migration"
CACHES = (  # lists of devices that the guest makes again by itself
    "/etc/blkid/blkid.tab",
    "/etc/blkid.tab",
    "/etc/lvm/cache/.cache",
    "/etc/lvm/devices/system.devices",
)
LVM_DEVICES = "/etc/lvm/devices/"  # lists that lvm.conf, or a command, names in place of the system's own
LVM = "/etc/lvm/lvm*.conf"  # with lvmlocal.conf, and those of tags: lvm_TAG.conf
LOADED = ("/etc/modules", "/etc/modules-load.d/")  # modules to load at boot
RELABEL = "/.autorelabel"  # asks SELinux, at the next boot, for labels on what was written from outside


SETTINGS = ("/etc/default/grub", "/etc/default/extlinux", "/etc/sysconfig/bootloader", "/etc/update-extlinux.conf")
COMMAND_LINES = ("/etc/kernel/cmdline", "/etc/cmdline.d/")
MODPROBE = ("/etc/modprobe.conf.local", "/etc/modprobe.d/")
WHOLE_DISKS = (
    *("/boot/grub/device.map", "/boot/grub2/device.map", "/etc/sysconfig/grub"),
    "/etc/default/grub_installdevice",  # of SUSE's grub2-install
)
ARRAYS = ("/etc/mdadm.conf", "/etc/mdadm/mdadm.conf")  # mdadm knows its devices by no links
NAMING = (  # other files that name partitions
    *("/etc/crypttab", "/etc/kdump.conf", "/etc/uswsusp.conf", "/etc/suspend.conf"),
    *("/etc/initramfs-tools/conf.d/", "/etc/initramfs-tools/initramfs.conf"),
)


class Edit(Frozen):
    """One file of the guest with its whole new text; moved away where `after` is None, made where the hash is None."""

    path: str
    why: Note
    before_sha256: str | None
    after: str | None
    encoding: str = "utf-8"

    @property
    def content(self) -> bytes | None:
        """The new bytes."""
        return None if self.after is None else self.after.encode(self.encoding)


def by_letter(facts: GuestFacts, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """(path, line) of what names one of several disks by its letter, where the kernel may give the letters anew at each start."""
    if not (facts.systemd and facts.further_disks):
        return []
    asked = [path for path in texts if path.startswith((*NAMING, *ARRAYS)) or fnmatch.fnmatchcase(path, LVM)]
    lines = [(path, line.strip()) for path in asked for line in texts[path].splitlines()]
    return [(p, line) for p, line in lines if not line.startswith("#") and re.search(r"/dev/sd[a-z]{1,2}(?:\d|\s|$)", line)]


def disk(facts: GuestFacts) -> Disk:
    """The guest's disk with all that its files may call it."""
    found = Disk([p.model_dump() for p in facts.partitions], facts.disk_names, facts.further_disks)
    found.finds_uuids = _finds_uuids(facts)
    if found.root:
        spec = next((spec for spec, point in fstab.mounts(facts.texts.get("/etc/fstab", "")) if point == "/"), "")
        found.learn(spec, found.root)
    return found


def _finds_uuids(facts: GuestFacts) -> bool:
    """Whether the guest's initrd takes `root=UUID=`: nash does since Enterprise Linux 5, SUSE's since 10, all others always."""
    if facts.initrd_maker.endswith(("/dracut", "/update-initramfs")):
        return True
    major = facts.release.split(".")[0]
    return major.isdigit() and int(major) >= (10 if of_suse(facts) else 5)


def of_suse(facts: GuestFacts) -> bool:
    """Whether the guest is one of SUSE's, with tools of its own for kernels and initrds."""
    return facts.distribution.startswith(("sles", "suse", "opensuse", "sled"))


def package_of(version: str) -> str:
    """The package that a kernel comes from, by the flavour at the end of its version: `kernel-PAE`."""
    suse = "default|pae|desktop|smp|bigsmp|trace|vmi|vanilla|debug|ec2|preempt|rt|azure"
    match = re.search(rf"(?:(?:el\d\w*?|EL)(xen|PAE|smp|hugemem|largesmp|debug)|-({suse}))$", version)
    return f"kernel-{match[1] or match[2]}" if match else "kernel"


def decided(
    facts: GuestFacts, kernel: Kernel, modules: tuple[str, ...], nic_module: str, macs: Mapping[str, str]
) -> tuple[Edit, ...]:
    """Every file that has to change. What a guest does not have is not made, but for what ties NICs to their MACs and names
    drivers; so one list serves all systems."""
    own, package = pinning.home(facts.texts), package_of(kernel.version)
    missing = [m for m in modules if m not in kernel.initrd_modules]
    names, drivers, xen = note("disks-renamed"), note("drivers-in-initrds"), note("xen-names-gone")
    known, suse = disk(facts), of_suse(facts) or sysconfig.suse(facts.texts.get("/etc/sysconfig/kernel", ""))
    built_in = () if facts.initrd_maker.endswith("/dracut") else modules  # dracut has a list of its own

    def packages(content: str) -> str:
        if not suse:
            return sysconfig.default_kernel(content, package)
        return sysconfig.initrd_modules(content, modules if sysconfig.suse(content) else built_in)

    links = facts.systemd  # old kernels give the letters in one order, and old udev does not know all links
    made = _boots(facts, kernel, known)
    changes: list[tuple[str, Callable[[str], str], Note]] = [
        *((p, partial(_instead, made[p]), note("boots-kernel", kernel=kernel.version)) for p in made),
        *((p, lambda t: grub2.with_arguments(t, known), xen) for p in menu.ENVIRONMENTS if p not in made),
        *((p, lambda t: menu.loader_entry(t, known), xen) for p in facts.texts if p.startswith(menu.ENTRIES)),
        *((p, lambda t: arguments.prepared(t, known), xen) for p in facts.texts if p.startswith(COMMAND_LINES)),
        *((p, lambda t: arguments.settings(t, known), xen) for p in facts.texts if p.startswith(SETTINGS)),
        *((p, lambda t: grub2.custom(t, known), xen) for p in facts.texts if p.startswith(menu.PIECES)),
        *((p, lambda t: leftovers.disks(t, known, whole=True), note("boot-disk-renamed")) for p in WHOLE_DISKS),
        ("/etc/sysconfig/kernel", packages, drivers if suse else note("package-stays-default", package=package)),
        ("/etc/fstab", lambda t: fstab.prepared(t, known), names),
        *((p, lambda t: leftovers.disks(t, known, links=links), names) for p in facts.texts if p.startswith(NAMING)),
        *((p, lambda t: leftovers.disks(t, known), names) for p in facts.texts if p in ARRAYS),
        *((p, lambda t: leftovers.disks(t, known), names) for p in facts.texts if p.startswith(LVM_DEVICES) and p not in CACHES),
        *((p, lambda t: lvm.prepared(t, known), names) for p in facts.texts if fnmatch.fnmatchcase(p, LVM)),
        ("/etc/initramfs-tools/modules", lambda t: leftovers.modules(t, missing), drivers),
        ("/etc/inittab", lambda t: console.inittab(t, facts.getty), note("screen-login")),
        *((p, console.active, note("screen-login")) for p in console.CONSOLES),
        ("/etc/securetty", console.securetty, note("screen-root")),
        *((p, leftovers.loaded, note("xen-drivers-gone")) for p in facts.texts if p.startswith(LOADED)),
        ("/etc/X11/xorg.conf", lambda t: leftovers.xorg(t, "modesetting" if facts.systemd else "vesa"), note("vmware-screen")),
        ("/etc/sysctl.conf", leftovers.sysctl, note("xen-settings-gone")),
        *((p, modprobe.without_xen, note("xen-drivers-gone")) for p in facts.texts if p.startswith(MODPROBE)),
        ("/etc/modprobe.conf", lambda t: modprobe.prepared(t, macs, nic_module, modules), note("vmware-drivers")),
        *(
            (p, partial(pinning.rules, macs=macs, complete=p == own, driver=nic_module), note("names-by-mac"))
            for p in facts.texts
            if p.startswith(pinning.FOLDER)
        ),
    ]
    for interface in facts.interfaces:
        mac = macs.get(interface.name)
        if mac is not None and ifcfg.ties(interface):
            why = note("nic-by-mac", nic=interface.name, mac=mac)
            changes.append((interface.file, partial(ifcfg.prepared, mac=mac), why))
    edits = [_menu_made(facts, kernel, known)] if facts.boot_loader == "none" else []
    edits += [_edit(facts, path, note("screen-login"), after) for path, after in console.jobs(facts.texts).items()]
    for path, change, why in changes:
        before = facts.texts.get(path)
        if before is None or (after := change(before)) == before:
            continue
        edits.append(_edit(facts, path, why, after))
    by_file = {i.name for i in facts.interfaces if ifcfg.ties(i)}
    loose = {name: mac for name, mac in macs.items() if name not in by_file and name in nics.used(facts)}
    if loose and not facts.systemd and own not in facts.texts:
        # udev's own generator would write them at the next boot, in the order on the bus
        edits.append(whole(facts, own, note("names-by-mac"), pinning.rules("", loose)))
    if facts.systemd:
        holding = pinning.holding(facts.texts, nic_module)
        gone = [path for path, _, new in pinning.by_name(facts.texts) if new in macs]
        edits += [_edit(facts, path, note("names-by-mac"), None) for path in gone]
        edits += [
            whole(facts, path, note("nic-by-mac", nic=name, mac=mac), content)
            for name, mac in macs.items()
            if holding.get(name) != mac.lower()
            for path, content in (pinning.link_file(facts.texts, name, mac, nic_module),)
        ]
        if any(name.startswith("eth") for name in macs) or facts.links_masked or not pinning.links_work(facts.texts):
            edits += [
                whole(facts, path, note("own-names-by-mac"), content)
                for path, content in ((pinning.SCRIPT, pinning.script(macs)), (pinning.UNIT, pinning.unit()))
                if facts.texts.get(path) != content
            ]
    if facts.initrd_maker.endswith("/dracut") and missing and DRACUT not in facts.texts:
        edits.append(whole(facts, DRACUT, drivers, f'add_drivers+=" {" ".join(modules)} "\n'))
    return (*edits, *(_edit(facts, p, note("device-list-gone"), None) for p in CACHES if p in facts.texts))


def _boots(facts: GuestFacts, kernel: Kernel, known: Disk) -> dict[str, str]:
    """{path: new text} of the menu, and of what its loader remembers, so that the kernel's entry is booted."""
    path = facts.boot_config
    if not path:
        return {}
    made = menu.MENUS[path].prepared(facts.texts, path, kernel.index, known)
    # more arguments for none but GRUB legacy's releases
    return {**made, path: grub.with_arguments(made[path], kernel.index, clock.arguments(facts))}


def _instead(after: str, _: str) -> str:
    return after


def relabelled(facts: GuestFacts) -> tuple[Edit, ...]:
    """SELinux asked for labels on what was written from outside, where it is switched on and was not asked already."""
    if not facts.selinux or RELABEL in facts.texts:
        return ()
    return (Edit(path=RELABEL, why=note("relabelled"), before_sha256=None, after=""),)


def _menu_made(facts: GuestFacts, kernel: Kernel, known: Disk) -> Edit:
    """The menu of a boot loader that the guest never had; paths as the file system that holds /boot sees them."""
    own = any(p.mountpoint == "/boot" for p in facts.partitions)
    image, initrd = (path.removeprefix("/boot") if own else path for path in (kernel.image, kernel.initrd))
    title = f"{facts.distribution} {facts.release}, {kernel.version}"
    given = arguments.prepared(" ".join((*kernel.arguments, *clock.arguments(facts))), known)
    text = extlinux.menu(title, image, initrd, given)
    why = note("boot-loader-made")
    return Edit(path=extlinux.CONF, why=why, before_sha256=None, after=text)


def whole(facts: GuestFacts, path: str, why: Note, after: str) -> Edit:
    """A file of ours, in the place of one that may be there."""
    if path in facts.texts:
        return _edit(facts, path, why, after)
    return Edit(path=path, why=why, before_sha256=None, after=after)


def _edit(facts: GuestFacts, path: str, why: Note, after: str | None) -> Edit:
    encoding = "latin-1" if path in facts.latin1 else "utf-8"
    before = hashlib.sha256(facts.texts[path].encode(encoding)).hexdigest()
    return Edit(path=path, why=why, before_sha256=before, after=after, encoding=encoding)
