"""One machine brought into vSphere through an import lease: described, sent, compared, read back; or nothing of it left.

A machine is ours by its marks, see `hikkoshi.vsphere.vm`. It comes with every NIC unplugged. The mark of completeness is its
last one, when all is well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from hikkoshi.errors import Problem, Refused, StepFailed, VSphereError
from hikkoshi.params.site import VSphere as Site
from hikkoshi.progress import Progress, silent
from hikkoshi.vsphere import inventory, nfc, ovf, readback, vm
from hikkoshi.vsphere.inventory import Place
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VmSpec

# {as the plan has it: as the API does}: VirtualDisk's flags say the same
PROVISIONING = {"thin": "thin", "thick": "thick", "eager": "eagerZeroedThick"}


@dataclass(frozen=True)
class ImportOrder:
    """What is to be made."""

    owner: vm.Owner
    spec: VmSpec
    marks: Mapping[str, str]  # {key: value}, with that of the guest; the owner's come on top
    about: str  # for people, in the machine's notes
    files: tuple[tuple[str, int | None], ...]  # each disk's name and bytes of its stream; None where nobody knows before its end


@dataclass(frozen=True)
class Imported:
    """What was made."""

    machine: vm.VirtualMachine
    host: str
    sent: tuple[nfc.Sent, ...]  # of each disk
    manifest: str  # what the server said about the bytes it received
    warnings: tuple[str, ...]  # of the server, about the descriptor
    nics: tuple[readback.NicFound, ...]


def start(
    v: Session,
    site: Site,
    order: ImportOrder,
    send: Callable[[nfc.Lease, Any, int], nfc.Sent],
    progress: Progress = silent,
    keep: Callable[[Imported], object] = lambda made: None,
) -> Imported:
    """Import the machine; `send(lease, device URL, number)` has to bring each of the disks there, which are numbered from 0, and
    `keep` does what has to be done before the machine is marked complete.

    Removes the remains of the owner's earlier imports of the same guest first. After any failure, Ctrl-C included, the lease
    is given up and what it made is removed; where vSphere cannot be reached any more, the next start does that. The checks
    of `hikkoshi.vsphere.preflight.readiness` are taken for granted.
    """
    guest, spec = order.marks[vm.GUEST], order.spec
    for remains in vm.ours(v, order.owner.site, guest):
        vm.destroy_unfinished(v, order.owner, remains, progress)
    place = inventory.place(v, site)
    host = place.host_for(n.port_group for n in spec.nics)
    assert host is not None  # one of the checks
    described = _import_spec(v, place, host.thing, order)
    with v.asking("begin the import"):
        thing = place.pool.ImportVApp(described.importSpec, place.folder, host.thing)
    try:
        with nfc.Lease(v, thing) as lease:
            items = {item.path: item.deviceId for item in described.fileItem}
            targets = [lease.url(items[name]) for name, _ in order.files]
            sent = tuple(send(lease, target, n) for n, target in enumerate(targets))
            received = lease.manifest()
            told = [nfc.check_manifest(received, target, disk) for target, disk in zip(targets, sent, strict=True)]
            lease.complete()
        machine = vm.again(v, vm.VirtualMachine(lease.machine, {}))
        wrong = [c for c in readback.compare(machine, spec, place) if not c]
        if wrong:
            raise StepFailed(*(c.problem() for c in wrong))
        made = Imported(
            machine=machine,
            host=host.name,
            sent=sent,
            manifest="; ".join(told if len(set(told)) > 1 else told[:1]),
            warnings=tuple(str(w.msg) for w in described.warning or ()),
            nics=readback.found_nics(machine, place.port_groups),
        )
        keep(made)
        vm.complete(v, order.owner, machine)
    except BaseException:
        _clean(v, guest, order.owner)
        raise
    return made


def _import_spec(v: Session, place: Place, host: Any, order: ImportOrder) -> Any:
    """What vSphere makes of our descriptor, completed by MACs, unplugged NICs and our marks."""
    spec = order.spec
    networks = {g.name: g.network for g in place.port_groups}
    names = list(dict.fromkeys(n.port_group for n in spec.nics))
    settings = vim.OvfManager.CreateImportSpecParams(
        entityName=spec.name,
        diskProvisioning=PROVISIONING[spec.provisioning],
        hostSystem=host,
        networkMapping=[vim.OvfManager.NetworkMapping(name=n, network=networks[n]) for n in names],
    )
    descriptor = ovf.descriptor(spec, *order.files)
    with v.asking("read our descriptor"):
        result = v.content.ovfManager.CreateImportSpec(descriptor, place.pool, place.datastore, settings)
    wanted = [str(item.path) for item in result.fileItem or ()]
    if result.error or sorted(wanted) != sorted(name for name, _ in order.files):
        errors = [str(e.msg) for e in result.error or ()] or [f"it wants {len(wanted)} files: {', '.join(wanted)}"]
        raise VSphereError(
            Problem(
                code="description-refused",
                what="vSphere does not take the machine's description",
                where=v.where,
                found="; ".join(errors),
                remedy="correct the plan: a device or the operating system is not known to this server",
            )
        )
    config = result.importSpec.configSpec
    devices: list[Any] = [c.device for c in config.deviceChange]
    _plan_nics(devices, spec, place.port_groups)
    for disk in (d for d in devices if isinstance(d, vim.vm.device.VirtualDisk)):  # not every server heeds `diskProvisioning`
        backing: Any = disk.backing
        backing.thinProvisioned, backing.eagerlyScrub = spec.provisioning == "thin", spec.provisioning == "eager"
    config.extraConfig = [
        *(config.extraConfig or ()),
        *(vim.option.OptionValue(key=k, value=x) for k, x in {**order.marks, **order.owner.marks()}.items()),
    ]
    config.firmware = spec.firmware  # not every server reads it from a descriptor
    config.annotation = f"moved from Xen by Hikkoshi: {order.about}"
    return result


def _plan_nics(devices: Sequence[Any], spec: VmSpec, groups: Sequence[inventory.PortGroup]) -> None:
    """Give every NIC of the import its MAC, by its port group and not by its place in the list, and unplug it."""
    waiting = list(spec.nics)
    for card in (d for d in devices if isinstance(d, vim.vm.device.VirtualEthernetCard)):
        group = readback.group_of(card.backing, groups)
        nic = next((n for n in waiting if group and n.port_group == group.name), None)
        if nic is None:
            raise VSphereError(
                Problem(
                    code="nic-on-unplanned-network",
                    what="vSphere put a NIC on a network that is not planned",
                    where=spec.name,
                    found=str(group or "unknown"),
                    expected=", ".join(n.port_group for n in waiting),
                    remedy="look at the port groups' names: two may be alike",
                )
            )
        waiting.remove(nic)
        card.addressType, card.macAddress = "manual", nic.mac
        card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=False, connected=False, allowGuestControl=True)


def _clean(v: Session, guest: str, owner: vm.Owner) -> None:
    """After a failure: remove what this very run has made. Where vSphere cannot be asked any more, the next start does it."""
    try:
        for machine in vm.ours(v, owner.site, guest):
            if machine.marks.get(vm.RUN) == owner.run and not vm.unfinished(machine, owner):
                vm.destroy_unfinished(v, owner, machine)
    except (VSphereError, Refused):
        return
