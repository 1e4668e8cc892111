"""The boot menu, whichever loader reads it: found, read, and made to boot another entry without Xen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hikkoshi.guest import extlinux, grub
from hikkoshi.guest.grub import Entry


@dataclass(frozen=True)
class Dialect:
    """What one loader's menu is read and changed by."""

    entries: Callable[[str], list[Entry]]
    default: Callable[[str], int]
    prepared: Callable[[str, int], str]  # (menu, entry to boot)


_LEGACY = Dialect(grub.entries, grub.default, grub.prepared)
MENUS = {  # by path in the guest; of several the first counts
    "/boot/grub/grub.conf": _LEGACY,
    "/boot/grub/menu.lst": _LEGACY,
    extlinux.CONF: Dialect(extlinux.entries, extlinux.default, extlinux.prepared),
}


def find(texts: Mapping[str, str], loader: str) -> str:
    """Path of the menu that the disk is booted by; empty where there is none.

    `loader` as in `hikkoshi.disk.source.boot_loader`. Without one on the disk it was pygrub's menu.
    """
    if loader == "extlinux":
        return extlinux.CONF if extlinux.CONF in texts else ""
    return next((path for path in MENUS if path in texts and path != extlinux.CONF), "")
