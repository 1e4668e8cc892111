"""What an approval is of: one plan, one disk, one machine. A machine that a contractor makes is known by its OVF descriptor."""

from dataclasses import dataclass
from typing import Self

from hikkoshi.approval.plan import Plan
from hikkoshi.disk.conversion import Conversion
from hikkoshi.params.home import Home
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.handover import HandOver


@dataclass(frozen=True)
class Subject:
    """The plan by its SHA-256, the VMDK by its own, the machine by its instance UUID in vSphere, or what was handed over for it.

    An empty one is not there yet. None is not known: of runs of earlier versions, which did not write it down.
    """

    plan: str
    vmdk: str | None = None
    machine: str | None = None

    @classmethod
    def now(cls, home: Home, guest: str, plan: Plan) -> Self:
        """What stands there of this plan; without disk and machine where 60-deploy was not done of this plan and disk."""
        folder = home.folder(guest)
        disk = Conversion.find(folder)
        if disk and plan.terms.vsphere.handover:
            handed = HandOver.of(folder, plan.hash, disk.vmdk_sha256)
            return cls(plan.hash, disk.vmdk_sha256 if handed else "", handed.descriptor_sha256 if handed else "")
        made = Deployment.of(folder, plan.hash, disk.vmdk_sha256) if disk else None
        if disk is None or made is None:
            return cls(plan.hash, "", "")
        return cls(plan.hash, disk.vmdk_sha256, made.instance_uuid)

    @property
    def complete(self) -> bool:
        """Whether there is anything that an approval could be of."""
        return bool(self.plan and self.vmdk and self.machine)

    def replaced(self, plan: str, vmdk: str, machine: str) -> str:
        """Why an approval of these is superseded, since this is another; empty where it is not."""
        for what, said, now in (("plan", plan, self.plan), ("disk", vmdk, self.vmdk), ("machine", machine, self.machine)):
            if now is not None and said and said != now:
                return f"superseded: of another {what}, {said[:16]}…, not {now[:16] + '…' if now else 'there yet'}"
        return ""
