"""/etc/modprobe.conf and the files beside it: which module is eth0, and which ones the initrd needs to find the disk."""

import re
from collections.abc import Iterable, Sequence

from hikkoshi.guest.files import text

FILES = ("/etc/modprobe.conf", "/etc/modprobe.conf.local", "/etc/modprobe.d/*")  # the last two are SUSE's, and everybody's
XEN_MODULES = frozenset({"xennet", "xenblk", "xen_vnif", "xen_vbd", "xen_netfront", "xen_blkfront"})


def _alias(body: str) -> tuple[str, str] | None:
    match = re.match(r"\s*alias\s+(\S+)\s+(\S+)", body)
    return (match[1], match[2]) if match else None


def of_xen(module: str) -> bool:
    """Whether a module is one of Xen's drivers."""
    return module.replace("-", "_") in XEN_MODULES


def prepared(conf: str, nics: Iterable[str], nic_module: str, disk_modules: Sequence[str]) -> str:
    """The file with every planned NIC and the disk's controllers on their new modules, and nothing of Xen.

    `disk_modules`, most important first, become scsi_hostadapter, scsi_hostadapter1 …: the guest's own mkinitrd puts
    these into every initrd it makes, also after the next kernel update.
    """
    wanted = {f"alias {name}": nic_module for name in nics}
    for n, module in enumerate(disk_modules):
        wanted[f"alias scsi_hostadapter{n or ''}"] = module
    seen: set[str] = set()

    def change(body: str) -> str | None:
        alias = _alias(body)
        if alias is None:
            words = body.split()
            return None if words[:1] in (["options"], ["install"], ["remove"]) and of_xen("".join(words[1:2])) else body
        key = f"alias {alias[0]}"
        if key in wanted:
            if key in seen:
                return None
            seen.add(key)
            return body if alias[1] == wanted[key] else f"{key} {wanted[key]}"
        if re.fullmatch(r"scsi_hostadapter\d*", alias[0]) or of_xen(alias[1]):
            return None
        return body

    new = text.edit(conf, change)
    missing = [f"{key} {module}" for key, module in wanted.items() if key not in seen]
    return text.append(new, missing) if missing else new


def without_xen(conf: str) -> str:
    """A file that stands beside modprobe.conf, with what it says of Xen's drivers as comments."""

    def change(body: str) -> str:
        words = body.split()
        named = (
            words[2:3] if words[:1] == ["alias"] else words[1:2] if words[:1] in (["options"], ["install"], ["remove"]) else []
        )
        return f"# {body}" if named and of_xen(named[0]) else body

    return text.edit(conf, change)


def leftovers(conf: str) -> list[str]:
    """Lines that still name a module of Xen."""
    return [
        line.strip()
        for line in text.lines(conf)
        if not line.lstrip().startswith("#") and any(of_xen(word) for word in line.split())
    ]
