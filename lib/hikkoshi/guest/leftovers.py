"""What Xen left in files of newer guests: disks by their old names, and settings that only Xen's kernel knew."""

import fnmatch
import re
from collections.abc import Iterable

from hikkoshi.guest.device import UNKNOWN, Disk, split
from hikkoshi.guest.files import text


def disks(content: str, disk: Disk = UNKNOWN, whole: bool = False, links: bool = False) -> str:
    """A file with the disk's new name, comments aside: GRUB's device.map, /etc/crypttab, the place to resume from (one that
    is not there costs half a minute at each boot), with patterns too in mdadm.conf.

    `whole` where it names whole disks; `links` where udev's links may stand there for names.
    """

    def change(body: str) -> str:
        if body.lstrip().startswith("#"):
            return body
        new = re.sub(r"/dev/[^\s,\"']*[*?\[][^\s,\"']*", lambda match: _pattern(match[0], disk), disk.renamed(body, whole))
        return disk.steady(new) if links else new

    return text.edit(content, change)


def _pattern(pattern: str, disk: Disk) -> str:
    """A shell's pattern that means the disk's partitions by their old names, for the new ones."""
    devices = [p["device"] for p in disk.partitions if split(p["device"])[1]] or [f"{disk.disks[0]}1"]
    meant = [
        device
        for device in sorted({*disk.disks, *devices})
        if any(fnmatch.fnmatchcase(f"/dev/{name}{split(device)[1]}", pattern) for name in _before(disk, split(device)[0]))
    ]
    if not meant or all(fnmatch.fnmatchcase(device, pattern) for device in meant):
        return pattern
    new = re.sub(r"^/dev/(?:xvd|[hv]d)", "/dev/sd", pattern)
    return new if all(fnmatch.fnmatchcase(device, new) for device in meant) else " ".join(meant)


def _before(disk: Disk, whole: str) -> list[str]:
    return [name for name in disk.called(whole) if f"/dev/{name}" != whole]


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
