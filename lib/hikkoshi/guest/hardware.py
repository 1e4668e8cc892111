"""The controllers and NICs that a virtual machine may have, and which of a kernel's modules drives them."""

import re
from dataclasses import dataclass

from hikkoshi.guest.files import text


@dataclass(frozen=True)
class Device:
    """One kind of PCI device as vSphere makes it. Numbers are hexadecimal, as `lspci -n` prints them."""

    model: str  # the word used in the plan: pvscsi, vmxnet3 …
    vendor: str  # who made the chip (or VMware itself)
    device: str
    subvendor: str
    subdevice: str
    base_class: str  # 01 storage, 02 network
    module: str  # the module's usual name
    option: str  # the kernel's configuration option, to see that it is built in

    @property
    def pci(self) -> str:
        """`15ad:07c0`."""
        return f"{self.vendor}:{self.device}"


CONTROLLERS = {
    d.model: d
    for d in (
        Device("pvscsi", "15ad", "07c0", "15ad", "07c0", "01", "vmw_pvscsi", "CONFIG_VMWARE_PVSCSI"),
        Device("lsisas1068", "1000", "0054", "15ad", "1976", "01", "mptsas", "CONFIG_FUSION_SAS"),
        Device("lsilogic", "1000", "0030", "15ad", "1976", "01", "mptspi", "CONFIG_FUSION_SPI"),
    )
}
NICS = {
    d.model: d
    for d in (
        Device("vmxnet3", "15ad", "07b0", "15ad", "07b0", "02", "vmxnet3", "CONFIG_VMXNET3"),
        Device("e1000", "8086", "100f", "15ad", "0750", "02", "e1000", "CONFIG_E1000"),
    )
}
DEVICES = (*CONTROLLERS.values(), *NICS.values())

_ALIAS = re.compile(
    r"alias pci:v(\*|[0-9A-F]{8})d(\*|[0-9A-F]{8})sv(\*|[0-9A-F]{8})sd(\*|[0-9A-F]{8})"
    r"bc(\*|[0-9A-F]{2})sc(?:\*|[0-9A-F]{2})i(?:\*|[0-9A-F]{2}) (\S+)"
)


def claims(modules_alias: str) -> dict[str, tuple[str, ...]]:
    """Which modules drive our devices, by a kernel's modules.alias: `{'15ad:07c0': ('vmw_pvscsi',)}`.

    A module that only claims a card of another maker (subsystem vendor) with the same chip does not drive ours, and
    neither does one that claims by class alone.
    """
    found: dict[str, tuple[str, ...]] = {}
    wanted = {(f"0000{d.vendor}".upper(), f"0000{d.device}".upper()): d for d in DEVICES}
    for line in text.lines(modules_alias):
        match = _ALIAS.match(line)
        if match is None or (match[1], match[2]) not in wanted:
            continue
        d = wanted[match[1], match[2]]
        rest = ((match[3], f"0000{d.subvendor}"), (match[4], f"0000{d.subdevice}"), (match[5], d.base_class))
        if all(pattern in ("*", value.upper()) for pattern, value in rest):
            module = match[6].replace("-", "_")
            if module not in found.get(d.pci, ()):
                found[d.pci] = (*found.get(d.pci, ()), module)
    return found


def scsi_disk(modules_alias: str) -> str:
    """The module without which a kernel sees controllers but no disks; empty where it is built in."""
    return "sd_mod" if re.search(r"^alias (?:scsi:t-0x00\*|block-major-8-\*) sd_mod$", modules_alias, re.M) else ""


def builtin(config: str) -> tuple[str, ...]:
    """The usual module names of our devices' drivers that the kernel's configuration has built in."""
    on = {line.strip() for line in text.lines(config)}
    return tuple(d.module for d in DEVICES if f"{d.option}=y" in on)


def module(device: Device, kernel_claims: dict[str, tuple[str, ...]], kernel_builtin: tuple[str, ...]) -> str:
    """The module that drives `device` in a kernel; empty where nothing does.

    Taken from what the modules claim, not from a list of names: VMware Tools of that time called theirs `pvscsi`.
    """
    claimed = kernel_claims.get(device.pci, ())
    if device.module in claimed or device.module in kernel_builtin:
        return device.module
    return claimed[0] if claimed else ""
