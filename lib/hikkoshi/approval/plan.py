"""What a guest will become: one file of decisions with a hash, made by nothing but the survey and the parameters."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from hikkoshi.approval.terms import Terms, differences
from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import BadInput, Problem
from hikkoshi.guest import device, hardware, nics, preparation
from hikkoshi.guest.additions import tools
from hikkoshi.guest.preparation import Preparation
from hikkoshi.guest.survey import Survey, names, notes
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.rehearsal.machine import Hardware, MachineNic
from hikkoshi.run.step import PLAN, Step
from hikkoshi.vsphere.preflight import guestid, limits
from hikkoshi.vsphere.spec import VirtualNic, VmSpec, place

MIB = 1 << 20
ALIKE = 0.85  # of the characters of two MACs, by which one is a typing error for the other: two digits may differ


class Plan(Artefact):
    """plan.json: source, machine in vSphere, changes inside the guest, machine of the rehearsal, and where all this is."""

    filename: ClassVar[str] = GuestFolder.plan
    made_by: ClassVar[Step] = PLAN
    guest: str
    source: Origin  # opened read-only always
    source_digest: str  # content digest; of several disks, of their digests together
    vm: VmSpec
    preparation: Preparation
    machine: Hardware
    forwards: bool | None  # None: its files leave it open
    left_out: tuple[str, ...] = ()  # disks and NICs of the source that are not moved
    terms: Terms

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The plan in a guest's folder, or None; `BadInput` for one of an earlier version, which does not say enough."""
        try:
            return super().find(folder)
        except BadInput as e:
            wrong = e.__context__.errors() if isinstance(e.__context__, ValidationError) else []
            if not any((x["type"], x["loc"]) == ("missing", ("terms",)) for x in wrong):
                raise
            raise BadInput(
                Problem(
                    code="plan-of-earlier-version",
                    what="this plan was made by an earlier version",
                    where=str(Path(folder, cls.filename)),
                    found="it names neither server nor place, nor the addresses that approved steps act on",
                    expected="a plan that does",
                    remedy=f"make it again: hikkoshi run {folder.name} --from {PLAN.number} --apply; then a second person "
                    "approves it. A guest "
                    "that serves in vSphere already goes on as it is; going back with 75 needs no plan",
                )
            ) from None

    @property
    def hash(self) -> str:
        """SHA-256 as `sha256sum plan.json` prints it; what an approval is given for, and what a deployed machine carries."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @property
    def decisions(self) -> str:
        """SHA-256 of everything but the digest of the source: the same where only the guest's data is newer."""
        rest = self.model_dump(mode="json", exclude={"source_digest"})
        return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

    @property
    def segments(self) -> dict[str, str]:
        """{NIC: the segment that it will be on}."""
        return {nic.name: nic.segment for nic in self.vm.nics}

    @property
    def addresses(self) -> dict[str, IPv4Interface]:
        """{segment: the guest's address there}, of the NICs that have one; a second NIC on a segment is `SEGMENT (NIC)`."""
        found: dict[str, IPv4Interface] = {}
        for nic in self.machine.nics:
            if nic.address:
                segment = self.segments[nic.name]
                found[f"{segment} ({nic.name})" if segment in found else segment] = IPv4Interface(nic.address)
        return found


def of_survey(plan: Plan, survey: Survey) -> Check:
    """Whether the plan was made of the disk that was surveyed last."""
    same = (plan.source, plan.source_digest) == (survey.origin, survey.digest)
    found = f"content digest {plan.source_digest}" if same else f"source {plan.source}, content digest {plan.source_digest}"
    return Check(
        code="plan-of-survey",
        title="the plan is of this survey",
        ok=same,
        found=found,
        expected=survey.digest if same else f"{survey.origin}, {survey.digest}",
        remedy=f"run {PLAN} again",
        where=plan.guest,
        later=True,
    )


def specification(guest: Guest, site: Site, survey: Survey) -> VmSpec:
    """The virtual machine: as the Xen guest was, except where the guest's file wishes otherwise.

    Each disk is padded to 1 MiB: a stream's capacity is a multiple of its grain.
    """
    wish, xen = guest.vm, survey.xen
    segments = {n.mac.lower(): n.segment for n in guest.nics}
    cards = []
    padded = [-(-disk.bytes // MIB) * MIB for disk in survey.disks]
    for name, vif in zip(names(survey), xen.vifs, strict=True):
        on = segments.get(vif.mac.lower(), "")
        segment = site.segments.get(on)
        cards.append(
            VirtualNic(
                name=name,
                mac=vif.mac.lower(),
                segment=on,
                port_group=segment.port_group if segment else "",
                vlan=segment.vlan if segment else -1,
            )
        )
    return VmSpec(
        name=wish.name or guest.name,
        guest_id=wish.guest_id or guest_id(survey, site.vsphere.hardware_version),
        hardware_version=site.vsphere.hardware_version,
        vcpus=wish.vcpus or xen.vcpus,
        memory_mb=wish.memory_mb or xen.memory_mb,
        disk_bytes=sum(padded) or -(-survey.bytes // MIB) * MIB,
        capacities=tuple(padded),
        controller=wish.controller,
        nic_model=wish.nic,
        nics=tuple(cards),
        firmware="efi" if survey.guest.boot_loader == "uefi" else "bios",
        provisioning=wish.disks,
    )


def guest_id(survey: Survey, hardware_version: int = guestid.NEWEST) -> str:
    """vSphere's name for the operating system, of those that a hardware version has the nearest."""
    g = survey.guest
    kernel = next((k.version for k in g.kernels if k.index == g.default_kernel), "")
    return guestid.nearest(guestid.names(g.distribution, g.release, g.arch, kernel), hardware_version)


def make(home: Home, guest: Guest, site: Site, survey: Survey) -> Plan:
    """Decide everything; the same survey and parameters always give the same plan, and so the same hash."""
    vm = specification(guest, site, survey)
    macs = {n.name: n.mac for n in vm.nics}
    inner = preparation.plan(
        survey.guest, controller=vm.controller, nic_model=vm.nic_model, macs=macs, additions=tools.of(home, guest, survey.guest)
    )
    return Plan(
        guest=guest.name,
        source=survey.origin,
        source_digest=survey.digest,
        vm=vm,
        preparation=inner.model_copy(update={"notes": (*notes(survey.xen), *inner.notes)}),
        machine=Hardware(
            controller=vm.controller,
            nic_model=vm.nic_model,
            memory_mb=vm.memory_mb,
            vcpus=vm.vcpus,
            firmware=vm.firmware,
            nics=tuple(MachineNic(name=n.name, mac=n.mac, address=address) for n, address in _addressed(survey, vm)),
            as_vmware=bool(inner.additions.packages or inner.additions.archive),
        ),
        forwards=survey.guest.forwards,
        left_out=survey.left_out,
        terms=Terms.of(home, guest, site),
    )


def _addressed(survey: Survey, vm: VmSpec) -> list[tuple[VirtualNic, str]]:
    """Each NIC with the address that the guest gives it at a start; empty for none, and for DHCP."""
    found = nics.configured(survey.guest, {n.name: n.mac for n in vm.nics}, driver=hardware.NICS[vm.nic_model].module)
    return [(n, next((i.address for i in found[n.name] if not i.by_hand), "")) for n in vm.nics]


def standing(folder: Path, made: Plan) -> Plan:
    """The plan that is there, where it says the same as the one just made: an earlier version may have written it in words
    for codes, and it keeps its hash. Else the one just made."""
    try:
        there = Plan.find(folder)
    except BadInput:
        return made
    return there if there == made else made


def changed(home: Home, guest: Guest, site: Site, plan: Plan) -> Iterator[str]:
    """What these parameters would make another than the plan has it, in words; nothing where it is still their plan."""
    yield from plan.terms.changed(Terms.of(home, guest, site))
    try:
        survey = Survey.find(home.folder(guest.name))
    except BadInput:
        survey = None
    if survey is not None:
        yield from (f"vm.{words}" for words in differences(plan.vm, specification(guest, site, survey)))


def checks(guest: Guest, site: Site, survey: Survey) -> list[Check]:
    """Everything that can be judged without asking vSphere: mapping of every NIC, and the machine's own limits."""
    vm = specification(guest, site, survey)
    where = f"params/guests/{guest.name}.yml"
    in_xen = {v.mac.lower() for v in survey.xen.vifs}
    named = [i for i in survey.guest.interfaces if i.mac and i.name and i.kind == "nic"]
    foreign = [f"{i.name} ({i.mac})" for i in named if i.mac.lower() not in in_xen]
    naming = nics.naming(survey.guest, [n.mac for n in vm.nics])
    stray, unmapped = _mistaken(guest, vm, in_xen)
    return [
        Check(
            code="configuration-name",
            title="the configuration's name is the guest's",
            ok=survey.xen.name == guest.name,
            found=survey.xen.name,
            expected=guest.name,
            remedy="point `config` to the right file, or rename the parameter file",
            where=where,
        ),
        Check(
            code="nics-on-segments",
            title="every NIC of the Xen configuration is on a segment",
            ok=not unmapped,
            found=f"without: {', '.join(unmapped)}" if unmapped else f"{len(vm.nics)} of {len(vm.nics)} mapped",
            expected="every NIC",
            remedy="add its MAC and segment to `nics`; the survey says how to find one that the Xen configuration lacks",
            where=where,
        ),
        *(
            Check(
                code="nics-in-configuration",
                title=f"the NIC {mac} in the parameters is in the Xen configuration",
                ok=False,
                found="no NIC with this MAC",
                expected="only MACs that the Xen guest has",
                remedy=f"did you mean {meant}?" if meant else "correct the MAC, or remove it",
                where=where,
            )
            for mac, meant in stray.items()
        ),
        Check(
            code="hwaddrs-of-nics",
            title="every HWADDR in the guest is the MAC of one of its NICs",
            ok=not foreign,
            found="not a NIC of this guest: " + ", ".join(foreign) if foreign else "all are",
            expected="a MAC of the Xen configuration",
            remedy="under Xen this interface does not come up either: correct or remove its file in the guest, then survey again",
            where=survey.disk.path,
        ),
        Check(
            code="nic-names-known",
            title="every NIC's name in the guest is known",
            ok=not naming.unknown,
            found=f"not known: {', '.join(naming.unknown)}; names in the guest's files: {', '.join(naming.left) or '–'}"
            if naming.unknown
            else "all are",
            expected="names of the kernel's own kind, such as eth0, or a MAC for each name",
            remedy="in the running guest see `ip link`, and tie each name to its MAC: by HWADDR in its ifcfg file, by a rule in "
            "/etc/udev/rules.d/70-persistent-net.rules, or by a link file of systemd; then survey again",
            where=survey.disk.path,
        ),
        _addresses(site, survey, vm),
        *limits.checks(vm),
        *([_stepped_down(survey, vm)] if not guest.vm.guest_id and guest_id(survey) != vm.guest_id else []),
    ]


def _stepped_down(survey: Survey, vm: VmSpec) -> Check:
    """The operating system has a name that this hardware version does not have yet."""
    own = guest_id(survey)
    return Check(
        code="guest-id-nearest",
        title="the operating system goes by the nearest name that the hardware version has",
        ok=True,
        found=f"{vm.guest_id}, for {own} (from version {guestid.since(own)})",
        expected="the nearest one; the guest runs as well by it",
    )


def _mistaken(guest: Guest, vm: VmSpec, in_xen: set[str]) -> tuple[dict[str, str], list[str]]:
    """({MAC of the parameters that the guest has not: the one that is meant, if any}, NICs that nobody has put on a segment).

    A NIC that is meant is on the segment of the mistaken MAC: it is told once.
    """
    free = {n.mac: f"{n.name} ({n.mac})" for n in vm.nics if not n.segment}
    stray = {}
    for mac in (n.mac for n in guest.nics if n.mac.lower() not in in_xen):
        (meant,) = difflib.get_close_matches(mac.lower(), free, n=1, cutoff=ALIKE) or [""]
        stray[mac] = meant
        free.pop(meant, None)
    return stray, list(free.values())


def _addresses(site: Site, survey: Survey, vm: VmSpec) -> Check:
    """A NIC whose address does not belong to its segment's subnet is on the wrong segment, in the plan or in the guest."""
    wrong = []
    for nic, own in _addressed(survey, vm):
        segment = site.segments.get(nic.segment)
        untagged = [i for i in nics.above(survey.guest, nic.name) if i.kind in ("bridge", "bond")]
        for name, address in [(nic.name, own), *((f"{i.name} on {nic.name}", i.address) for i in untagged)]:
            if segment and segment.subnet and address and IPv4Interface(address).ip not in segment.subnet:
                wrong.append(f"{name} {address} on {nic.segment} ({segment.subnet})")
    return Check(
        code="addresses-in-subnets",
        title="every address lies in its segment's subnet",
        ok=not wrong,
        found="; ".join(wrong) or "all do",
        expected="the guest's own address inside the subnet of the segment",
        remedy="the NIC is mapped to the wrong segment, or the subnet in params/site.yml is wrong",
        where=f"params/guests/{vm.name}.yml",
    )


def disk_table(plan: Plan) -> list[dict[str, str]]:
    """Which disk of the Xen guest becomes which one of the machine."""
    return [
        {
            "under Xen": ", ".join(p.vdev for p in source.parts) or "the disk",
            "from": ", ".join(str(p.path) for p in source.parts),
            "afterwards": device.new(n),
            "bytes": f"{capacity:,}",
            "place": "{}:{}".format(*place(n)),
        }
        for n, (source, capacity) in enumerate(zip(plan.source.disks, plan.vm.disks, strict=True))
    ]


def nic_table(cards: Iterable[VirtualNic]) -> list[dict[str, str]]:
    """Each NIC with its segment, VLAN and port group."""
    return [{"NIC": n.name, "MAC": n.mac, "segment": n.segment, "VLAN": str(n.vlan), "port group": n.port_group} for n in cards]
