"""EXTLINUX, the boot loader for a disk that had none: its menu, extlinux.conf.

Xen's pygrub starts a guest without any boot loader on its disk. The syntax is that of the SYSLINUX project, doc/syslinux.txt.
"""

import re

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import arguments, text
from hikkoshi.guest.files.grub import Entry

CONF = "/boot/extlinux/extlinux.conf"


def menu(title: str, kernel: str, initrd: str, arguments: str) -> str:
    """The file with one entry; `kernel` and `initrd` as paths on the file system that holds /boot/extlinux."""
    return (
        "# written when this guest moved to VMware: under Xen its disk needed no boot loader.\n"
        "# A new kernel has to be entered here, or another boot loader installed (grub-install /dev/sda).\n"
        "default linux\nprompt 1\ntimeout 50\n\n"
        f"label linux\n  menu label {title}\n  linux {kernel}\n"
        + (f"  initrd {initrd}\n" if initrd else "")
        + f"  append {arguments}\n"
    )


def entries(conf: str) -> list[Entry]:
    """The entries in order; `root` is empty, paths are those of the file system that the file is on."""
    found: list[dict[str, str]] = []
    for line in text.lines(conf):
        name, rest = _command(text.parts(line)[0])
        if name == "label":
            found.append({"title": rest})
        elif found and name:
            found[-1].setdefault(name, rest)
    return [_entry(n, e) for n, e in enumerate(found)]


def _entry(index: int, commands: dict[str, str]) -> Entry:
    given = commands.get("append", "").split()
    named = next((w.removeprefix("initrd=") for w in given if w.startswith("initrd=")), "")  # SYSLINUX's own way to say it
    options = tuple(w for w in given if not w.startswith("initrd="))
    kernel = commands.get("linux", commands.get("kernel", ""))
    return Entry(index, commands["title"], "", kernel, commands.get("initrd", named), options, False)


def _command(body: str) -> tuple[str, str]:
    name, *rest = body.split(None, 1) or [""]
    return name.lower(), rest[0].strip() if rest else ""


def default(conf: str) -> int:
    """The index of the entry that is booted: the first where the file names none."""
    titles = [e.title for e in entries(conf)]
    for line in text.lines(conf):
        name, rest = _command(text.parts(line)[0])
        if name in ("default", "ontimeout") and rest in titles:
            return titles.index(rest)
    return 0


def prepared(conf: str, index: int, disk: Disk = UNKNOWN) -> str:
    """The menu that boots entry `index`, with every kernel's arguments put right."""
    titles = [e.title for e in entries(conf)]
    right = default(conf) == index or index >= len(titles)

    def line(body: str) -> str:
        start = re.match(r"\s*(?:append|default|ontimeout)\s+", body, re.I)
        if start is None:
            return body
        if _command(body)[0] == "append":
            return start[0] + arguments.prepared(body[start.end() :], disk)
        return body if right or body[start.end() :].strip() not in titles else start[0] + titles[index]

    new = text.edit(conf, line)
    return new if right or default(new) == index else f"default {titles[index]}{text.ending(conf)}{new}"
