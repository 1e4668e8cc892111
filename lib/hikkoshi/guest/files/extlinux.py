"""EXTLINUX, the boot loader for a disk that had none: its menu, extlinux.conf.

Xen's pygrub starts a guest without any boot loader on its disk. The syntax is that of the SYSLINUX project, doc/syslinux.txt.
"""

from hikkoshi.guest.files import text
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
        name, _, rest = text.parts(line)[0].strip().partition(" ")
        if name.lower() == "label":
            found.append({"title": rest.strip()})
        elif found and name:
            found[-1].setdefault(name.lower(), rest.strip())
    return [
        Entry(
            n, e["title"], "", e.get("linux", e.get("kernel", "")), e.get("initrd", ""), tuple(e.get("append", "").split()), False
        )
        for n, e in enumerate(found)
    ]


def default(conf: str) -> int:
    """The index of the entry that is booted: the first where the file names none."""
    titles = [e.title for e in entries(conf)]
    for line in text.lines(conf):
        name, _, rest = text.parts(line)[0].strip().partition(" ")
        if name.lower() in ("default", "ontimeout") and rest.strip() in titles:
            return titles.index(rest.strip())
    return 0
