"""The virtual machine as it has to be in vSphere: pure data, part of the plan."""

from typing import Literal

from hikkoshi.artefact import Frozen, unsaid


class VirtualNic(Frozen):
    """One NIC. Identified by its MAC everywhere; `name` is what the guest calls it."""

    name: str  # eth0
    mac: str  # lower case, colons
    segment: str
    port_group: str
    vlan: int


class VmSpec(Frozen):
    """One virtual machine."""

    name: str
    guest_id: str  # a VirtualMachineGuestOsIdentifier, e.g. centos64Guest
    hardware_version: int
    vcpus: int
    memory_mb: int
    disk_bytes: int  # capacity of the only disk
    controller: Literal["pvscsi", "lsisas1068", "lsilogic"]
    nic_model: Literal["vmxnet3", "e1000"]
    nics: tuple[VirtualNic, ...]
    firmware: Literal["bios", "efi"] = unsaid("bios")
