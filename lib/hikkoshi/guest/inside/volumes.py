"""What a guest's disks hold, as libguestfs' appliance sees them: partitions, disks without any, arrays and logical volumes.

A part of the worker: of its `g`, the running appliance, and of nothing else.
"""

# mypy: ignore-errors

import contextlib
import re
from pathlib import Path

VOLUMES = 256  # partitions, arrays and logical volumes
EXTENDED = ("0x5", "0xf", "0x85")  # types of a partition that holds others
MBR = [  # EXTLINUX's boot code on this machine: Debian, Fedora, Arch
    Path(p) for p in ("/usr/lib/EXTLINUX/mbr.bin", "/usr/share/syslinux/mbr.bin", "/usr/lib/syslinux/bios/mbr.bin")
]


class Wrong(Exception):
    """What the parent has to know: a kind, and facts about it."""

    def __init__(self, kind, **facts):
        super().__init__(kind)
        self.report = {"kind": kind, **facts}


def volumes(g, job):
    """All that may hold a file system: partitions, disks without any, arrays of md and LVM's logical volumes.

    `device` is the name on the disk as it will be, `at` the appliance's: they differ where Xen gave single partitions, which
    come as disks of their own. What libguestfs does not know of one is empty.
    """
    pairs, tables = [], []
    for disk in job["disks"]:
        if disk["number"]:
            pairs.append((f"{disk['device']}{disk['number']}", disk["at"]))
            continue
        tables = tables or g.list_partitions()
        own = [(disk["device"] + at[len(disk["at"]) :], at) for at in tables if at.rstrip("0123456789") == disk["at"]]
        pairs += own or [(disk["device"], disk["at"])] * (disk["device"] != "/dev/sda")
    found = [describe(g, device, at) for device, at in pairs[:VOLUMES]]
    for kind, more in (("linux_raid_member", arrays), ("LVM2_member", logical)):
        if any(p["fstype"] == kind for p in found):
            pairs += more(g)
            found += [describe(g, device, at) for device, at in pairs[len(found) : VOLUMES]]
    if len(pairs) > VOLUMES:
        raise Wrong("too-many", path="partitions and volumes", found=str(len(pairs)), expected=f"at most {VOLUMES}")
    if not found:
        raise Wrong("no-partitions", found=g.vfs_type("/dev/sda") or "nothing known")
    return found


def arrays(g):
    """The arrays of md: each as the guest calls it by its own name or number, and as the appliance does."""
    names = {at: g.md_detail(at).get("name", "").rpartition(":")[2] for at in g.list_md_devices()}
    return [("/dev/md" + (name if name.isdigit() else f"/{name}") if name else at, at) for at, name in names.items()]


def logical(g):
    """LVM's logical volumes."""
    return [(device, device) for device in g.lvs()]


def describe(g, device, at):
    """One partition or logical volume."""
    try:
        tags = g.blkid(at)
    except RuntimeError:
        tags = {}
    # of what holds others, the kernel has but the first sectors; of what is in no table, nobody else tells it
    size = tags.get("PART_ENTRY_SIZE") if tags.get("PART_ENTRY_TYPE") not in EXTENDED else ""
    return {
        "device": device,
        "at": at,
        "bytes": int(size) * 512 if size else g.blockdev_getsize64(at),
        "fstype": tags.get("TYPE", ""),
        "label": re.sub(r"\\(.)", r"\1", tags.get("LABEL", "")),  # blkid writes it for a shell
        "uuid": tags.get("UUID", ""),
        "partlabel": re.sub(r"\\(.)", r"\1", tags.get("PART_ENTRY_NAME", "")),
        "partuuid": tags.get("PART_ENTRY_UUID", ""),
        "mountpoint": "",
    }


def boot_from(g, partitions):
    """EXTLINUX on the file system that holds /boot, made the active partition, and its code in front of the disk."""
    code = next((path for path in MBR if path.exists()), None)
    if code is None or not g.feature_available(["extlinux"]):
        raise Wrong("no-extlinux", found="no " + ("extlinux in the appliance" if code else " or ".join(map(str, MBR))))
    point = next(p for p in ("/boot", "/") if any(v["mountpoint"] == p for v in partitions))
    device = next(v["device"] for v in partitions if v["mountpoint"] == point)
    if not re.match(r"/dev/sda\d+$", device):
        raise Wrong("boot-elsewhere", found=f"{point} is on {device}")
    for entry in g.part_list("/dev/sda"):
        number = entry["part_num"]
        g.part_set_bootable("/dev/sda", number, device == f"/dev/sda{number}")
    g.extlinux("/boot/extlinux")
    g.pwrite_device("/dev/sda", code.read_bytes()[:440], 0)


def trim(g):
    """Give what the file systems do not use back to the sparse copy: old content need not be moved."""
    for point in g.mountpoints().values():
        with contextlib.suppress(RuntimeError):  # not all file systems know how
            g.fstrim(point)
