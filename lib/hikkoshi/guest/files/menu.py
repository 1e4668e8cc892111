"""The boot menu, whichever loader reads it: found, read, and made to boot another entry without Xen.

Enterprise Linux 8 and later have the entries of GRUB 2's menu in files of their own: those of the Boot Loader Specification.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import arguments, extlinux, grub, grub2, text
from hikkoshi.guest.files.grub import Entry


@dataclass(frozen=True)
class Dialect:
    """What one loader's menu is read and changed by. `texts` are the guest's files, `path` is the menu's."""

    loader: str  # as in `hikkoshi.disk.source.boot_loader`
    entries: Callable[[Mapping[str, str], str], list[Entry]]  # (texts, path)
    default: Callable[[Mapping[str, str], str], int]  # (texts, path): index of the entry that is booted
    prepared: Callable[[Mapping[str, str], str, int, Disk], dict[str, str]]  # (texts, path, entry to boot, the guest's disk)


def _script(texts: Mapping[str, str], path: str) -> grub2.Script:
    block = texts.get(_beside(path, "grubenv"), "")
    return grub2.Script(texts[path], grub2.environment(block), loader_entries(texts), _sources(texts, path))


def _beside(path: str, name: str) -> str:
    return f"{path.rpartition('/')[0]}/{name}"


def _sources(texts: Mapping[str, str], path: str) -> dict[str, str]:
    custom = texts.get(_beside(path, "custom.cfg"))
    return {} if custom is None else {"custom.cfg": custom}


def _prepared(texts: Mapping[str, str], path: str, index: int, disk: Disk) -> dict[str, str]:
    remembered = _beside(path, "grubenv")
    loaders, sources = loader_entries(texts), _sources(texts, path)
    new, block = grub2.prepared(texts[path], index, disk, texts.get(remembered, ""), loaders, sources)
    return {path: new, remembered: block} if remembered in texts else {path: new}


_LEGACY = Dialect(
    "grub-legacy",
    lambda texts, path: grub.entries(texts[path]),
    lambda texts, path: grub.default(texts[path]),
    lambda texts, path, index, disk: {path: grub.prepared(texts[path], index, disk)},
)
_GRUB2 = Dialect(
    "grub2", lambda texts, path: _script(texts, path).entries, lambda texts, path: _script(texts, path).default, _prepared
)
_EXTLINUX = Dialect(
    "extlinux",
    lambda texts, path: extlinux.entries(texts[path]),
    lambda texts, path: extlinux.default(texts[path]),
    lambda texts, path, index, disk: {path: extlinux.prepared(texts[path], index, disk)},
)
MENUS = {  # by path in the guest; of several the first counts
    "/boot/grub/grub.conf": _LEGACY,
    "/boot/grub/menu.lst": _LEGACY,
    "/boot/grub/grub.cfg": _GRUB2,
    "/boot/grub2/grub.cfg": _GRUB2,
    extlinux.CONF: _EXTLINUX,
}
ENTRIES = "/boot/loader/entries/"  # of the Boot Loader Specification
PIECES = ("/etc/grub.d/", "/boot/grub/custom.cfg", "/boot/grub2/custom.cfg")  # that somebody wrote into GRUB 2's menu
ENVIRONMENTS = ("/boot/grub/grubenv", "/boot/grub2/grubenv")


def find(texts: Mapping[str, str], loader: str) -> str:
    """Path of the menu that the disk is booted by; empty where there is none.

    Without a loader on the disk it was pygrub's: the first menu that there is.
    """
    told = "grub2" if loader == "uefi" else loader
    return next((p for p, dialect in MENUS.items() if p in texts and told in (dialect.loader, "none")), "")


def loader_entries(texts: Mapping[str, str]) -> list[Entry]:
    """The entries of the Boot Loader Specification, in files of their own, the newest first, as `blscfg` puts them in the menu.

    The title is the file's name, by which the environment's saved_entry means it; what the menu shows is another name for it.
    """
    names = [path[len(ENTRIES) :].removesuffix(".conf") for path in texts if path.startswith(ENTRIES)]
    names.sort(key=grub2.order, reverse=True)
    return [_loader_entry(n, name, texts[f"{ENTRIES}{name}.conf"]) for n, name in enumerate(names)]


def _loader_entry(index: int, name: str, conf: str) -> Entry:
    keys: dict[str, list[str]] = {}
    for line in text.lines(conf):
        words = text.parts(line)[0].split()
        if words and not words[0].startswith("#"):
            keys.setdefault(words[0], []).extend(words[1:])
    kernel, options = keys.get("linux", []), tuple(keys.get("options", ()))
    shown = " ".join(keys.get("title", ()))
    initrds = [word for word in keys.get("initrd", []) if not word.startswith("$")]  # the last is the kernel's own
    return Entry(index, name, "", kernel[0] if kernel else "", initrds[-1] if initrds else "", options, False, shown)


def loader_entry(conf: str, disk: Disk = UNKNOWN) -> str:
    """An entry of the Boot Loader Specification (Enterprise Linux 8 and later) with its options put right."""

    def line(body: str) -> str:
        start = re.match(r"\s*options\s+", body)
        return start[0] + arguments.prepared(body[start.end() :], disk) if start else body

    return text.edit(conf, line)
