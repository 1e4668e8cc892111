"""What Xen left in files of newer guests: disks by their old names, and settings that only Xen's kernel knew."""

import re
from collections.abc import Iterable

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import text


def disks(content: str, disk: Disk = UNKNOWN, whole: bool = False) -> str:
    """A file with the disk's new name, comments aside: GRUB's device.map, /etc/crypttab, the place to resume from (one that
    is not there costs half a minute at each boot). `whole` where it names whole disks."""
    return text.edit(content, lambda body: body if body.lstrip().startswith("#") else disk.renamed(body, whole))


def sysctl(content: str) -> str:
    """/etc/sysctl.conf without Xen's clock: there is no such key, and whoever applies the file reports an error."""
    return text.edit(content, lambda body: f"# {body}" if re.match(r"\s*xen[./]\w+\s*=", body) else body)


def loaded(content: str) -> str:
    """A list of modules to load at boot without Xen's, whose drivers find no hypervisor: the service that loads them fails."""
    return text.edit(content, lambda body: f"# {body}" if re.match(r"\s*xen[-_]?\w+", body) else body)


def xorg(content: str, driver: str) -> str:
    """xorg.conf with another driver where it has that of Xen's frame buffer."""
    return text.edit(content, lambda body: re.sub(r'^(\s*Driver\s+)"fbdev"', rf'\1"{driver}"', body, flags=re.I))


def modules(content: str, wanted: Iterable[str]) -> str:
    """/etc/initramfs-tools/modules with the drivers that every initrd has to hold."""
    there = {line.split()[0] for line in text.lines(content) if line.split()}
    missing = [name for name in wanted if name not in there]
    return text.append(content, missing) if missing else content
