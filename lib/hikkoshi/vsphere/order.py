"""What is to stand in vSphere for a guest: asked for by an order, out of what earlier steps have left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from hikkoshi.disk.conversion import Conversion
from hikkoshi.params.folder import GuestFolder
from hikkoshi.vsphere import vm
from hikkoshi.vsphere.spec import VirtualNic, VmSpec


class DeploymentPlan(Protocol):
    """What is needed of a plan."""

    @property
    def vm(self) -> VmSpec:
        """The machine."""

    @property
    def hash(self) -> str:
        """SHA-256 of the whole plan."""


@dataclass(frozen=True)
class Order:
    """What is to stand in vSphere for a guest, as far as earlier steps have settled it; and who asks."""

    owner: vm.Owner
    guest: str
    spec: VmSpec | None  # None before there is a plan
    plan_hash: str
    vmdk: Path
    sha256: str  # of the disk, of several together; '' before it is converted
    each: tuple[tuple[Path, str], ...] = ()  # file and SHA-256 of each disk, where there are several

    @property
    def files(self) -> tuple[tuple[Path, str], ...]:
        """File and SHA-256 of each disk."""
        return self.each or ((self.vmdk, self.sha256),)

    @property
    def nics(self) -> tuple[VirtualNic, ...]:
        """NICs of the plan, none before there is one."""
        return self.spec.nics if self.spec else ()

    @classmethod
    def of(
        cls, owner: vm.Owner, guest: str, plan: DeploymentPlan | None, conversion: Conversion | None, folder: GuestFolder
    ) -> Self:
        """The order for a guest, out of what earlier steps have left in its folder so far."""
        return cls(
            owner=owner,
            guest=guest,
            spec=plan.vm if plan else None,
            plan_hash=plan.hash if plan else "",
            vmdk=folder.vmdk,
            sha256=conversion.vmdk_sha256 if conversion else "",
            each=tuple((folder.disks / disk.vmdk, disk.vmdk_sha256) for disk in conversion.disks) if conversion else (),
        )
