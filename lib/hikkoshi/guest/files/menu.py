"""The boot menu, whichever loader reads it: found, read, and made to boot another entry without Xen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hikkoshi.guest.device import Disk
from hikkoshi.guest.files import extlinux, grub, grub2
from hikkoshi.guest.files.grub import Entry


@dataclass(frozen=True)
class Dialect:
    """What one loader's menu is read and changed by."""

    loader: str  # as in `hikkoshi.disk.source.boot_loader`
    entries: Callable[[str], list[Entry]]
    default: Callable[[str, Mapping[str, str]], int]  # (menu, what the loader remembers)
    prepared: Callable[[str, int, Disk], str]  # (menu, entry to boot, the guest's disk)


_LEGACY = Dialect("grub-legacy", grub.entries, lambda menu, _: grub.default(menu), grub.prepared)
_GRUB2 = Dialect("grub2", grub2.entries, grub2.default, grub2.prepared)
MENUS = {  # by path in the guest; of several the first counts
    "/boot/grub/grub.conf": _LEGACY,
    "/boot/grub/menu.lst": _LEGACY,
    "/boot/grub/grub.cfg": _GRUB2,
    "/boot/grub2/grub.cfg": _GRUB2,
    extlinux.CONF: Dialect("extlinux", extlinux.entries, lambda menu, _: extlinux.default(menu), extlinux.prepared),
}
PIECES = ("/etc/grub.d/", "/boot/grub/custom.cfg", "/boot/grub2/custom.cfg")  # that somebody wrote into GRUB 2's menu
ENVIRONMENTS = ("/boot/grub/grubenv", "/boot/grub2/grubenv")


def find(texts: Mapping[str, str], loader: str) -> str:
    """Path of the menu that the disk is booted by; empty where there is none.

    Without a loader on the disk it was pygrub's: the first menu that there is.
    """
    return next((p for p, dialect in MENUS.items() if p in texts and loader in (dialect.loader, "none")), "")


def entries(texts: Mapping[str, str], path: str) -> list[Entry]:
    """The entries that the menu offers, those in files of their own where it has none itself."""
    return MENUS[path].entries(texts[path]) or grub2.loader_entries(texts)


def default(texts: Mapping[str, str], path: str) -> int:
    """Index of the entry that is booted."""
    environment = next((grub2.environment(texts[p]) for p in ENVIRONMENTS if p in texts), {})
    if not MENUS[path].entries(texts[path]):
        titles = [e.title for e in grub2.loader_entries(texts)]
        saved = environment.get("saved_entry", "")
        return titles.index(saved) if saved in titles else 0
    return MENUS[path].default(texts[path], environment)
