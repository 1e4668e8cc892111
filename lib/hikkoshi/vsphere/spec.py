"""The virtual machine as it has to be in vSphere: pure data, part of the plan."""

from typing import Literal

from hikkoshi.artefact import Frozen, unsaid

DISKS, CONTROLLERS = 15, 4  # disks on a SCSI controller, and such controllers in a machine, at most
OWN_UNIT = 7  # of a SCSI controller


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
    disk_bytes: int  # capacity of the disk; of several, of all together
    capacities: tuple[int, ...] = unsaid(())  # of each, where there are several
    controller: Literal["pvscsi", "lsisas1068", "lsilogic"]
    nic_model: Literal["vmxnet3", "e1000"]
    nics: tuple[VirtualNic, ...]
    firmware: Literal["bios", "efi"] = unsaid("bios")
    provisioning: Literal["thin", "thick", "eager"] = unsaid("thin")  # of its disks: see VmWish.disks

    @property
    def disks(self) -> tuple[int, ...]:
        """The capacity of each disk in bytes, in the order of their places."""
        return self.capacities or (self.disk_bytes,)


def made_of(plan_hash: str, sha256: str) -> str:
    """Of which plan and disk a machine is asked for, by their hashes; without these before both are there."""
    return f"plan {plan_hash[:16]} and disk {sha256[:16]}" if plan_hash and sha256 else "this plan and its disk"


def place(disk: int) -> tuple[int, int]:
    """(SCSI controller, unit on it) of the machine's disk of this number, from 0: unit 7 is the controller's own."""
    controller, unit = divmod(disk, DISKS)
    return controller, unit + (unit >= OWN_UNIT)
