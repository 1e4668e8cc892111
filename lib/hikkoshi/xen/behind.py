"""What stays behind with Xen: what only the Xen configuration says of a guest; and for what it cannot move at all."""

import re
from collections.abc import Iterator

from hikkoshi.check import Check
from hikkoshi.errors import Problem
from hikkoshi.run.step import ROLLBACK
from hikkoshi.xen import settings, xva
from hikkoshi.xen.config import XenGuest

_GOES_OFF = ("", "destroy", "coredump-destroy")  # what Xen does with a guest that has shut down
_UEFI = re.compile(r"ovmf|uefi|edk2|tianocore", re.IGNORECASE)
_BIOS = ("", "seabios", "rombios", "bios", "none", "pvgrub32", "pvgrub64")
_PCI = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f*]", re.IGNORECASE)
COPY = (
    f"in a copy of the configuration; name the copy as `config` in the guest's parameters, and the guest's own file as "
    f"`start_config`: {ROLLBACK} starts the source from that"
)


def told(xen: XenGuest) -> Iterator[tuple[str, dict[str, object]]]:
    """What somebody who approves the move has to know of the configuration: codes of notes, with their facts."""
    if xen.arguments and not (xen.form and xen.bootloader):  # a running guest's are those of its own menu, too
        yield "xen-kernel-arguments", {"arguments": xen.arguments}
    if xen.form == xva.FORM:
        yield "source-exported", {"guest": xen.name}
    if xen.max_vcpus:
        yield "xen-processors", {"online": xen.vcpus, "most": xen.max_vcpus}
    for name, value in xen.other.items():
        values = value if isinstance(value, list) else [value]
        taken = settings.of(name).device or (name == "usbdevice" and any(str(v).startswith("host:") for v in values))
        if not taken or value in (0, "0", "", [], None):
            continue
        addresses = [m[0] for v in values for m in _PCI.finditer(str(v))] if name == "pci" else []
        for address in addresses:
            yield "pci-device-stays", {"address": address}
        if not addresses:
            yield "xen-device-stays", {"setting": name, "value": "; ".join(map(str, values))}
    yield from _told_of_devices(xen)


def _told_of_devices(xen: XenGuest) -> Iterator[tuple[str, dict[str, object]]]:
    for d in xen.disks:
        if d.access == "w!" and not d.cdrom:
            yield "disk-shared", {"disk": d.vdev, "target": d.target}
        if d.access == "r" and not d.cdrom:
            yield "disk-read-only", {"disk": d.vdev, "target": d.target}
    for n, v in enumerate(xen.vifs):
        if not v.mac:
            yield "nic-without-mac", {"nic": n}
        if v.rate:
            yield "nic-rate-limited", {"nic": n, "mac": v.mac, "rate": v.rate}


def refused(xen: XenGuest) -> list[Problem]:
    """Everything in the configuration that keeps the guest from moving, but for how many disks it has."""
    return [*elsewhere(xen), *_settings(xen)]


def elsewhere(xen: XenGuest) -> list[Problem]:
    """The disks that are no path of the Dom-0: nobody can read them here."""
    return [
        Problem(
            code="disk-elsewhere",
            what="a disk of the guest is no path of this Dom-0",
            where=f"{xen.name}, {d.vdev}",
            found=d.elsewhere,
            expected="an image file or a block device of the Dom-0",
            remedy="copy it into an image file, or attach it to the Dom-0 as a block device while the guest is off, and name "
            f"that {COPY}",
        )
        for d in xen.disks
        if d.elsewhere and not d.cdrom
    ]


def forms(xen: XenGuest, kind: str) -> list[Problem]:
    """The disks whose form is not read from a Dom-0 of this kind."""
    over_ssh = kind == "ssh"
    read = ("raw",) if over_ssh else ("raw", "qcow2", "vhd", "xva")
    export = "copy the export to this machine, and name the folder that it is in as a Dom-0: root: FOLDER"
    image = f"with the guest off, make a raw image: qemu-img convert -f {{}} -O raw OLD NEW; name that {COPY}"
    here = ". Or copy the Dom-0's files to this machine: root: FOLDER" if over_ssh else ""
    return [
        Problem(
            code="disk-format-not-read",
            what="the format of a disk is not read from this Dom-0",
            where=f"{xen.name}, {d.vdev}",
            found=f"{d.target}: {d.format}",
            expected="over ssh a raw disk" if over_ssh else "raw, qcow2, VHD, or an export (XVA)",
            remedy=export if d.format == "xva" else image.format("vpc" if d.format == "vhd" else d.format) + here,
        )
        for d in xen.disks
        if d.format not in read and not d.cdrom
    ]


def by_uefi(xen: XenGuest) -> dict[str, str]:
    """The settings by which Xen starts the guest by UEFI."""
    images = {
        "kernel": xen.kernel,
        **{k: str(xen.other.get(k) or "") for k in ("loader", "firmware_override", "bios_path_override")},
    }
    asked = {key: str(xen.other.get(key) or "") for key in ("bios", "firmware")}
    other = {key: value for key, value in asked.items() if value not in _BIOS}
    return other | {key: value for key, value in images.items() if _UEFI.search(value)}


def firmware(xen: XenGuest, boot_loader: str) -> Check:
    """Whether the disk, by its boot loader, starts by the firmware that Xen starts it by; the new machine has that."""
    uefi, asked = boot_loader == "uefi", by_uefi(xen)
    keys = " and ".join(asked)
    return Check(
        code="boots-by-uefi",
        title="the disk starts by the firmware that Xen starts it by",
        ok=uefi or not asked,
        found="; ".join((*(f"{key} = {value}" for key, value in asked.items()), f"on the disk: {boot_loader}")),
        expected="where Xen starts a guest by UEFI: a disk with an EFI system partition, and no boot loader for a BIOS",
        remedy=f"where the disk has a boot loader for a BIOS too, leave {keys} out {COPY}; the new machine then has a BIOS. Else "
        "the guest cannot start from this disk: name the right one",
        where=xen.name,
    )


def _settings(xen: XenGuest) -> Iterator[Problem]:
    after = str(xen.other.get("on_poweroff") or "")
    if after.lower() not in _GOES_OFF or str(xen.other.get("restart") or "") == "always":
        yield Problem(
            code="stays-after-shutdown",
            what="the guest does not go off when it is shut down: Xen keeps it, or starts it again",
            where=xen.name,
            found=f"on_poweroff = {after}" if after else "restart = always",
            expected="on_poweroff = 'destroy', which is what Xen does where nothing is said",
            remedy="write on_poweroff = 'destroy' into the guest's own file, and take out `restart`. A guest that runs keeps "
            "what it was started with: shut it down on the Dom-0 once, have it gone from the list (xl destroy NAME, or xm "
            "destroy NAME, after it has shut down), and start it from that file. Write the same in a copy",
        )
    if xen.other.get("vif2"):
        yield Problem(
            code="nics-of-xen-4-0",
            what="the guest has NICs of a kind that only Xen 4.0 knew",
            where=xen.name,
            found=f"vif2 = {xen.other['vif2']}",
            expected="NICs in `vif`",
            remedy=f"write them as `vif`, with the same MACs, {COPY}",
        )
