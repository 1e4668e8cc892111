"""A machine that a contractor makes in a vSphere that nobody here can ask: what is on record of it, and what to have confirmed.

None of the latter is ever green: it is not seen from here, and the sheet asks for it.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar, Literal, Self

from pydantic import AwareDatetime, Field

from hikkoshi import files
from hikkoshi.artefact import Artefact, Frozen
from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import HANDED_OVER, Segment
from hikkoshi.run.step import DEPLOY, Step
from hikkoshi.vsphere.spec import VirtualNic, VmSpec, made_of

Form = Literal["ova", "ovf"]
NOT_ASKED = f"not asked: {HANDED_OVER}"
FILL_IN = "FILL-IN"  # a value that is none yet, as `hikkoshi init` writes it: 20 refuses it


class HandedFile(Frozen):
    """One file of a hand-over."""

    name: str
    bytes: int
    sha256: str


class HandOver(Artefact):
    """handover.json: what was handed over last, and of which plan and disk it is."""

    filename: ClassVar[str] = GuestFolder.handover
    made_by: ClassVar[Step] = DEPLOY  # whose place it takes
    guest: str
    time: AwareDatetime
    name: str  # the machine's
    form: Form
    folder: str
    plan_hash: str
    vmdk_sha256: str  # of the converted disk; of several, of their sums together
    descriptor_sha256: str  # of the OVF descriptor, alone or in the OVA: the same machine has the same
    files: tuple[HandedFile, ...] = Field(min_length=1)
    no_pdf: str = ""  # why the sheet is there as HTML alone

    def __str__(self) -> str:
        """When, and what its sheet reads, so that a contractor who has an earlier one imported knows it by telephone."""
        largest = max(self.files, key=lambda f: f.bytes)  # the descriptor does not tell what is on a disk
        sheet = f"plan {self.plan_hash[:16]}, {largest.name} {largest.sha256[:16]}"
        return f"on {self.time:%Y-%m-%d at %H:%M} UTC; the sheet reads: {sheet}"

    @classmethod
    def of(cls, folder: GuestFolder, plan_hash: str, vmdk_sha256: str) -> Self | None:
        """The one in a guest's folder, where it can be read, and is of this plan and this disk; else None."""
        try:
            made = cls.find(folder)
        except BadInput:
            return None
        return made if made and (made.plan_hash, made.vmdk_sha256) == (plan_hash, vmdk_sha256) else None


def recorded(folder: GuestFolder, guest: str, plan_hash: str, vmdk_sha256: str) -> Check:
    """Whether the machine of this plan and disk was handed over."""
    made = HandOver.of(folder, plan_hash, vmdk_sha256)
    return Check(
        code="handed-over",
        title=f"{guest} was handed over as planned",
        ok=made is not None,
        found=str(made) if made else "not yet",
        expected=f"files of {made_of(plan_hash, vmdk_sha256)}",
        remedy=f"run {DEPLOY} in apply",
        where=guest,
        later=True,
    )


def unasked(spec: VmSpec) -> Iterator[Check]:
    """What an import by us would have asked the vSphere."""
    hardware, room = f"vmx-{spec.hardware_version:02d}", spec.disk_bytes + (spec.memory_mb << 20)
    for code, title, wanted in (
        ("host-can-take", "a host can take the machine", "one that is up, with the datastore and all the port groups"),
        ("datastore-has-room", f"a datastore of {HANDED_OVER} has room", files.human(room)),
        ("machine-name-free", f"the name {spec.name} is free", "no other machine of that name"),
        ("macs-free", "no other machine has one of the MACs", "each MAC in one place"),
        ("hardware-version-possible", f"the cluster can make hardware version {spec.hardware_version}", hardware),
        ("guest-id-possible", f"the cluster takes the operating system {spec.guest_id}", spec.guest_id),
    ):
        yield _unasked(code=code, title=title)(expected=wanted)
    yield from map(_port_group, spec.nics)


def _unasked(*, code: str, title: str) -> partial[Check]:
    found = f"{NOT_ASKED}; the sheet has them confirm it"
    return partial(Check, code=code, title=title, ok=True, found=found, unseen="not seen")


def _port_group(nic: VirtualNic) -> Check:
    """Whether a port group is named; whether that is there with its VLAN, the contractor has to say."""
    title = f"{nic.name} ({nic.mac}) has its port group {nic.port_group or '(none)'} with VLAN {nic.vlan}"
    if nic.port_group in ("", FILL_IN):
        return Check(
            code="port-group-there",
            title=title,
            ok=False,
            found="nobody has named it",
            expected=f"the name of the contractor's port group with VLAN {nic.vlan}",
            remedy=f"ask the contractor, and write `port_group` of {nic.segment} in params/site.yml",
        )
    return _unasked(code="port-group-there", title=title)()


def vlans(spec: VmSpec, segments: Mapping[str, Segment]) -> list[Check]:
    """What the ESXi hosts have seen of each planned VLAN, if anything: nobody here can ask them."""
    found = []
    for nic in spec.nics:
        subnet = segments[nic.segment].subnet if nic.segment in segments else None
        behind = nic.port_group or "(no port group)"
        title = f"VLAN {nic.vlan} of {nic.name} is seen with {subnet or 'its subnet'} behind {behind}"
        found.append(_unasked(code="vlan-seen", title=title)())
    return found
