"""Checks before a machine is imported: whether the site can take it. All of them, good and bad; its own are `limits`."""

from collections.abc import Mapping, Set
from dataclasses import replace
from functools import partial
from typing import Any

from pyVmomi import vim as types

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError, Refused, VSphereError, nearest
from hikkoshi.params.site import VSphere as Site
from hikkoshi.vsphere import inventory, vm
from hikkoshi.vsphere.inventory import Place, PortGroup
from hikkoshi.vsphere.preflight import clock, guestid, rule
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VirtualNic, VmSpec

PLACE = "datacenter, cluster, datastore and folder are there"
RESERVE = 1 << 30  # bytes left on the datastore for logs and snapshots' beginnings
# What our user has to be allowed, and on what. Importing: Broadcom's KB 322346 (minimum permissions for deploying an OVF). The
# rest: the API reference, "Required Privileges" of ReconfigVM_Task (of a device's connection, and of extraConfig),
# PowerOnVM_Task, PowerOffVM_Task, Destroy_Task
ON_FOLDER = (
    "VirtualMachine.Inventory.Create",
    "VirtualMachine.Inventory.Delete",  # of what a failed import leaves
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",  # our marks
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Interact.DeviceConnection",  # NICs in, at the cut-over
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
)
ON_POOL = ("VApp.Import", "Resource.AssignVMToPool")
ON_DATASTORE = ("Datastore.AllocateSpace",)
ON_NETWORK = ("Network.Assign",)


def site_checks(v: Session, site: Site, spec: VmSpec, own_guest: str, identity: str) -> list[Check]:
    """What has to be asked. The machine of `own_guest` that is ours, as the site folder of this identity, may be there already;
    everybody else's is in the way.
    """
    there, place = place_checks(v, site, spec)
    if place is None:
        return there
    machines = vm.every(v)
    own = {o for o, m in machines.items() if m.marks.get(vm.GUEST) == own_guest and vm.whose(m, identity) == "ours"}
    asked = [
        _space(place, site, spec, deployed=bool(own)),
        _name_free(machines, own, spec, identity),
        *(_port_group(place.port_groups, nic) for nic in spec.nics),
        _macs_free(machines, own, spec, identity),
        _uplinks(place.port_groups, spec),
        _hardware_version(v, place, spec),
        _guest_id(v, place, spec),
        _privileges(v, place, spec),
        clock.check(v, place.host_for(n.port_group for n in spec.nics)),
    ]
    return [*rule.judged([*there, *(replace(c, where=v.where) for c in asked)], site.lowered), *rule.unlowered(site.lowered)]


def place_checks(v: Session, site: Site, spec: VmSpec) -> tuple[list[Check], Place | None]:
    """Whether the place is there, and a host on which the machine can run; and the place, if it is."""
    try:
        place = inventory.place(v, site)
    except Refused as e:
        return [
            Check(
                code=p.code,
                title=PLACE,
                ok=False,
                found=f"{p.what}: {p.found}",
                expected=p.expected,
                remedy=p.remedy,
                where=p.where,
            )
            for p in e.problems
        ], None
    return [
        Check(code="place-there", title=PLACE, ok=True, found=f"{site.datacenter}, {site.cluster}, {site.datastore}"),
        replace(_host(place, spec), where=v.where),
    ], place


def _host(place: Place, spec: VmSpec) -> Check:
    host = place.host_for(n.port_group for n in spec.nics)
    states = "; ".join(f"{h.name} {h.why_not or 'lacks a port group of this machine'}" for h in place.hosts)
    return Check(
        code="host-can-take",
        title="a host can take the machine",
        ok=host is not None,
        found=host.name if host else states or "the cluster has no host",
        expected="connected, not in maintenance, with the datastore and all the port groups",
        remedy="end the maintenance, reconnect the host, or make the port groups on it",
    )


def _space(place: Place, site: Site, spec: VmSpec, *, deployed: bool) -> Check:
    """The disk is thin, but it may grow to its full size; the swap file is as large as the memory."""
    need = 0 if deployed else spec.disk_bytes + (spec.memory_mb << 20) + RESERVE
    state = "" if place.accessible else "not accessible, "
    return Check(
        code="datastore-has-room",
        title=f"the datastore {site.datastore} has room",
        ok=place.accessible and place.free >= need,
        found=f"{state}{files.human(place.free)} free" + (", and the machine is there already" if deployed else ""),
        expected=f"{files.human(need)}: the disk at its full size, memory, and {files.human(RESERVE)} in reserve",
        remedy="free some space there, or name another `datastore` in params/site.yml",
    )


def _name_free(machines: Mapping[Any, vm.VirtualMachine], own: set[Any], spec: VmSpec, identity: str) -> Check:
    others = [m for o, m in machines.items() if m.name == spec.name and o not in own]
    return Check(
        code="machine-name-free",
        title=f"the name {spec.name} is free",
        ok=not others,
        found=", ".join(f"{m} is {vm.told(m, identity)}" for m in others) or ("taken by our own" if own else "free"),
        expected="no other machine of that name",
        remedy="write another `vm: { name: … }` in the guest's file; a machine that is not ours is never touched. "
        + "; ".join(f"{m}: {vm.way(m, identity)}" for m in others),
    )


def _port_group(groups: tuple[PortGroup, ...], nic: VirtualNic) -> Check:
    check = partial(
        Check,
        code="port-group-there",
        title=f"{nic.name} ({nic.mac}) has its port group {nic.port_group or '(none)'} with VLAN {nic.vlan}",
        expected=f"exactly one port group {nic.port_group!r}, with VLAN {nic.vlan}",
    )
    fit = [g for g in groups if g.name == nic.port_group]
    if len(fit) != 1:
        known = [g.name for g in groups if g.vlan is not None]
        near = nearest(nic.port_group, known)
        remedy = f"correct `port_group` of {nic.segment} in params/site.yml. {near}".strip()
        return check(ok=False, found=", ".join(map(str, fit)) or "no such port group", remedy=remedy)
    remedy = f"correct {nic.segment} in params/site.yml, or the port group in vSphere: one of the two is wrong"
    return check(ok=fit[0].vlan == nic.vlan, found=str(fit[0]), remedy=remedy)


def _uplinks(groups: tuple[PortGroup, ...], spec: VmSpec) -> Check:
    """By the teaming of each port group, as far as it is told; whether the physical switch fits it is not seen from here."""
    ours = {g.name: g for g in groups if g.name in {n.port_group for n in spec.nics}}
    dead = [name for name, g in ours.items() if g.uplinks == ()]
    known = [f"{name}: {', '.join(g.uplinks)}{f', {g.teaming}' if g.teaming else ''}" for name, g in ours.items() if g.uplinks]
    return Check(
        code="port-group-has-uplink",
        title="every port group has an active uplink",
        ok=not dead,
        found=f"none on {', '.join(dead)}" if dead else "; ".join(known) or ("not told" if ours else "no NIC"),
        expected="at least one each",
        remedy="have an uplink made active in the port group's teaming. If it is to stay inside its host, lower this rule",
        unseen="" if dead or known or not ours else "not seen",
    )


def _macs_free(machines: Mapping[Any, vm.VirtualMachine], own: set[Any], spec: VmSpec, identity: str) -> Check:
    planned = {n.mac.lower() for n in spec.nics}
    others = [m for o, m in machines.items() if o not in own and planned & set(m.nics)]
    taken = [f"{mac} by {m}, {vm.told(m, identity)}" for m in others for mac in m.nics if mac in planned]
    return Check(
        code="macs-free",
        title="no other machine has one of the MACs",
        ok=not taken,
        found="; ".join(taken) or f"none of {len(machines) - len(own)} other machines",
        expected="each MAC in one place",
        remedy="two NICs with one MAC break the network for both; find out what that machine is. "
        + "; ".join(f"{m}: {vm.way(m, identity)}" for m in others),
    )


def _hardware_version(v: Session, place: Place, spec: VmSpec) -> Check:
    key, title = f"vmx-{spec.hardware_version:02d}", f"the cluster can make hardware version {spec.hardware_version}"
    try:
        browser = v.read(place.cluster, "environmentBrowser")["environmentBrowser"]
        with v.asking("tell the hardware versions that it can make"):
            told = browser.QueryConfigOptionDescriptor()
        can = {d.key for d in told if d.createSupported is not False}
    except (VSphereError, KeyError) as e:
        reason = e.problems[0].found if isinstance(e, HikkoshiError) else str(e)
        return Check(
            code="hardware-version-possible", title=title, ok=True, found=f"the server does not tell: {reason}", unseen="not seen"
        )
    return Check(
        code="hardware-version-possible",
        title=title,
        ok=key in can,
        found=", ".join(sorted(can)),
        expected=key,
        remedy="write another `hardware_version` in params/site.yml",
    )


def _guest_id(v: Session, place: Place, spec: VmSpec) -> Check:
    """Of a hardware version the cluster tells which operating systems it takes, by their names."""
    key = f"vmx-{spec.hardware_version:02d}"
    try:
        browser = v.read(place.cluster, "environmentBrowser")["environmentBrowser"]
        with v.asking("tell the operating systems that it takes"):
            told = browser.QueryConfigOptionEx(spec=types.EnvironmentBrowser.ConfigOptionQuerySpec(key=key))
        taken = {d.id for d in (told.guestOSDescriptor if told else ()) if d.supportedForCreate is not False}
    except (VSphereError, KeyError) as e:
        return guest_id_taken(spec, set(), str(e.problems[0].found if isinstance(e, HikkoshiError) else e))
    return guest_id_taken(spec, taken)


def guest_id_taken(spec: VmSpec, taken: Set[str], silent: str = "none are named") -> Check:
    """Whether the operating system is one of those `taken`; where there are none, why the server was `silent`."""
    check = partial(Check, code="guest-id-possible", title=f"the cluster takes the operating system {spec.guest_id}")
    if not taken:
        return check(ok=True, found=f"the server does not tell: {silent}", unseen="not seen")
    found = spec.guest_id in taken
    other = guestid.replacement(spec.guest_id, spec.hardware_version)
    near = other if other in taken else "otherLinux64Guest" if "64" in spec.guest_id else "otherLinuxGuest"
    return check(
        ok=found,
        found=f"{'one' if found else 'none'} of {len(taken)}",
        expected=spec.guest_id,
        remedy=f"write `vm: {{ guest_id: {near} }}` in the guest's file",
    )


def _privileges(v: Session, place: Place, spec: VmSpec) -> Check:
    """Whether our user has them; asked, since what is missing would be met after hours of uploading, or at the cut-over."""
    check = partial(
        Check,
        code="privileges-granted",
        title="our user may import the machine, plug it in, start and stop it, and remove a failed import",
        expected="each privilege that docs/security.md lists",
        remedy="have the administrator of vSphere give the user's role these privileges, on these objects and what is below",
    )
    ours = {n.port_group for n in spec.nics}
    wanted: tuple[tuple[dict[Any, str], tuple[str, ...]], ...] = (
        ({place.folder: "folder"}, ON_FOLDER),
        ({place.pool: "resource pool"}, ON_POOL),
        ({place.datastore: "datastore"}, ON_DATASTORE),
        ({g.network: f"port group {g.name}" for g in place.port_groups if g.name in ours}, ON_NETWORK),
    )
    try:
        with v.asking("tell what our user may do"):
            own, manager = v.content.sessionManager.currentSession, v.content.authorizationManager
            missing = [p for things, ids in wanted for p in _lacking(manager, own.key, things, ids)]
    except VSphereError as e:
        return check(ok=True, found=f"the server does not tell: {e.problems[0].found}", unseen="not seen")
    return check(ok=not missing, found=f"missing: {'; '.join(missing)}" if missing else f"{own.userName} has them")


def _lacking(manager: Any, session: str, things: Mapping[Any, str], ids: tuple[str, ...]) -> list[str]:
    """Those of the privileges that the session does not have on each of these things, which are called so."""
    answers = manager.HasPrivilegeOnEntities(list(things), session, list(ids)) if things else ()
    granted = {(answer.entity, told.privId) for answer in answers for told in answer.privAvailability if told.isGranted}
    return [f"{p} on the {name}" for thing, name in things.items() for p in ids if (thing, p) not in granted]
