"""Putting the machine into service, and taking it out again.

NICs are plugged in before the machine is switched on: the start scripts of CentOS 5 leave an interface without a link
down for good. What vSphere says of a link is checked; whether packets pass is another measurement.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from hikkoshi.artefact import Artefact, unsaid
from hikkoshi.check import Check, Permission
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, VSphereError
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import VSphere as Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CUTOVER, DEPLOY, ROLLBACK, Step
from hikkoshi.vsphere import deployment, inventory, readback, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.preflight import readiness
from hikkoshi.vsphere.session import Session


class InService(Artefact):
    """cutover.json: the machine is in service since then, with these NICs."""

    filename: ClassVar[str] = GuestFolder.cutover
    made_by: ClassVar[Step] = CUTOVER
    guest: str
    moid: str
    since: str  # UTC, ISO 8601
    nics: tuple[readback.NicFound, ...]
    handed_over: str = unsaid("")  # of a contractor's machine, which has no moid here: the SHA-256 of its OVF descriptor
    known_by: str = unsaid("")  # of the same: what was seen of it; empty where it may have been the source that answered

    @classmethod
    def since_of(cls, folder: GuestFolder) -> str:
        """Since when the machine of this guest's folder serves; empty where it does not."""
        found = cls.find(folder)
        return found.since if found else ""


def checks(v: Session, wanted: Order, folder: GuestFolder) -> list[Check]:
    """What has to stand in vSphere before anything is taken out of service: one machine, and the one that was approved."""
    return [only_one(v, wanted), deployed(v, wanted, folder)]


def complete(v: Session, wanted: Order, folder: GuestFolder) -> Check:
    """Whether the machine is on, every planned NIC plugged in, and cutover.json in `folder` says so of this machine."""
    check = partial(
        Check,
        code="in-service",
        title=f"{wanted.guest} is in service in vSphere",
        expected="on, every NIC plugged in, on record",
        where=v.where,
    )
    machine = _only(v, wanted)
    if machine is None:
        return check(ok=False, found="no complete machine", remedy=f"run {DEPLOY} in apply", later=True)
    plugged = _plugged(machine)
    recorded = _recorded(folder, machine)
    return check(
        ok=wanted.spec is not None and machine.power == "poweredOn" and plugged >= _macs(wanted) and recorded,
        found=f"{machine.power}, {len(plugged & _macs(wanted))} of {len(wanted.nics)} NICs plugged in"
        + ("" if recorded else f", not in {InService.filename}"),
        remedy=f"run {CUTOVER} in apply; if it does not come up, {ROLLBACK}",
    )


def ready(v: Session, site: Site, wanted: Order) -> list[Check]:
    """Everything in vSphere that the source's shutdown relies on, asked of it now: to be looked at right before.

    The machine is there, ours, complete, as planned, and off (or in service already, in a cut-over that is finished); its
    place, its own host, and one that has all it needs, too; and nobody else is on with its MACs.
    """
    machine = _only(v, wanted)
    if wanted.spec is None or machine is None:
        return [only_one(v, wanted)]
    place, found = readiness.place_checks(v, site, wanted.spec)
    since = machine.marks.get(vm.SERVICE)
    return [
        only_one(v, wanted),
        *place,
        _host(v, machine),
        *([] if found is None else deployment.read_back(v, site, wanted)),
        Check(
            code="datastore-usable",
            title="the datastore can be used",
            ok=found is not None and found.accessible,
            found=site.datastore,
            expected="accessible",
            remedy="see why it is not in the vSphere client; nothing was done yet",
            where=v.where,
        ),
        Check(
            code="machine-off",
            title="the machine waits, switched off",
            ok=since is not None or (machine.power == "poweredOff" and not machine.plugged),
            found=f"in service since {since}" if since else f"{machine.power}, {len(machine.plugged)} NICs plugged in",
            expected="off, every NIC unplugged",
            remedy=f"find out who switched it on or plugged it in; {ROLLBACK} switches it off and unplugs it",
            where=v.where,
        ),
        alone(v, wanted, _macs(wanted)),
    ]


def start(
    v: Session,
    site: Site,
    wanted: Order,
    permission: Permission,
    *,
    source: Callable[[], Check],
    folder: GuestFolder,
    progress: Progress = silent,
) -> InService:
    """Plug in every NIC, switch the machine on, read both back, write it down; what is so already stays so.

    `source` looks whether the source guest is off: the same MACs and addresses twice would break the network for both, so
    without it nothing is done, nor while another machine is on with one of them. It looks again right before the machine is
    switched on: a source that came back meanwhile keeps the addresses, and every NIC is pulled out again. `permission` is of
    this guest, plan, disk and machine, or it is refused.
    """
    permission.covers(CUTOVER.id, guest=wanted.guest, plan=wanted.plan_hash, vmdk=wanted.sha256)
    machine = _only(v, wanted)
    blocked = [c for c in (source(), only_one(v, wanted), alone(v, wanted, _macs(wanted))) if not c]
    if blocked or machine is None:
        raise Refused(*(c.problem() for c in blocked))
    permission.covers(CUTOVER.id, vmdk=machine.marks.get(vm.VMDK, ""), machine=machine.uuid)
    serving = vm.SERVICE in machine.marks and machine.power == "poweredOn" and _macs(wanted) <= _plugged(machine)
    if not serving:  # else only the record was lost: a NIC that is plugged in again loses its link for a moment
        progress(0, 3, "plugging in the NICs")
        vm.connect(v, wanted.owner, machine, permission)
        if not (now := source()):
            vm.connect(v, wanted.owner, machine, False)
            raise Refused(now.problem())
        progress(1, 3, "switching on")
        vm.power(v, wanted.owner, machine, permission)
        machine = vm.again(v, machine)
    progress(2, 3, "reading back")
    done = InService(
        guest=wanted.guest,
        moid=machine.id,
        since=machine.marks[vm.SERVICE],
        nics=readback.found_nics(machine, inventory.place(v, site).port_groups),
    )
    done.save(folder)
    progress(3, 3, "in service")
    return done


def wiring(v: Session, site: Site, wanted: Order) -> list[Check]:
    """Each planned NIC, by MAC: on its port group, in its VLAN, connected."""
    machine = _only(v, wanted)
    found = {n.mac: n for n in readback.found_nics(machine, inventory.place(v, site).port_groups)} if machine else {}
    checks = []
    for nic in wanted.nics:
        seen = found.get(nic.mac.lower())
        placed = seen is not None and (seen.port_group, seen.vlan) == (nic.port_group, nic.vlan)
        right = placed and seen is not None and seen.connected
        state = "connected" if seen and seen.connected else "not connected"
        now = f"{seen.port_group}, VLAN {seen.vlan}, {state}" if seen else "–"
        checks.append(
            Check(
                code="nic-wired",
                title=f"{nic.name} ({nic.mac}) is on {nic.segment}",
                ok=right,
                found=now,
                expected=f"{nic.port_group}, VLAN {nic.vlan}, connected",
                remedy=_wired(machine, placed),
                where=wanted.guest,
                later=machine is None,
            )
        )
    return checks


def _wired(machine: vm.VirtualMachine | None, placed: bool) -> str:
    """What makes a NIC be as planned; `placed`: it lacks no more than its link."""
    if machine is None:
        return f"run {DEPLOY} in apply"
    if placed and machine.power != "poweredOn":
        return f"run {CUTOVER} in apply"
    return f"correct the NIC in the vSphere client, or roll back with {ROLLBACK}"


def roll_back(v: Session, wanted: Order, progress: Progress = silent) -> None:
    """Unplug every NIC first, so that the addresses are free at once, then switch the machine off.

    The machine itself stays, with whatever it has written since; it is switched off, not shut down. What fails keeps nothing
    else from being tried, and is told in the end.
    """
    failed: list[Problem] = []
    for machine in deployment.found(v, wanted):
        progress(0, 2, f"unplugging {machine.name}")
        failed += _problems(lambda m: vm.connect(v, wanted.owner, m, False), machine)
        progress(1, 2, f"switching {machine.name} off")
        failed += _problems(lambda m: vm.power(v, wanted.owner, m, False), machine)
    if failed:
        raise VSphereError(*failed)
    progress(2, 2, "out of service")


def _problems(act: Callable[[vm.VirtualMachine], None], machine: vm.VirtualMachine, *, again: bool = True) -> tuple[Problem, ...]:
    """Do it; what was wrong. What was refused because the session has ended was not done: once more, after a login."""
    try:
        act(machine)
    except HikkoshiError as e:
        ended = any(p.code == "vsphere-session-ended" for p in e.problems)
        return _problems(act, machine, again=False) if ended and again else e.problems
    return ()


def strike(folder: GuestFolder) -> None:
    """Remove the record of the cut-over."""
    folder.cutover.unlink(missing_ok=True)


def rolled_back(v: Session, wanted: Order) -> Check:
    """Whether no machine of the guest that is ours is on or plugged in."""
    ours = deployment.found(v, wanted)
    bad = not_out(ours)
    return Check(
        code="out-of-service",
        title=f"{wanted.guest} is out of service in vSphere",
        ok=not bad,
        found="; ".join(f"{m}: {m.power}, {len(_plugged(m))} NICs plugged in" for m in bad or ours) or "no machine",
        expected="off, every NIC unplugged",
        remedy=f"run {ROLLBACK} in apply, or switch it off in the vSphere client",
        where=v.where,
    )


def not_out(machines: Iterable[vm.VirtualMachine]) -> list[vm.VirtualMachine]:
    """Those that are on or plugged in; those that vSphere does not see now are among them."""
    return [m for m in machines if m.power != "poweredOff" or any(n.start_connected for n in readback.found_nics(m, ()))]


def present(v: Session, wanted: Order) -> Check:
    """What there is to take out of service. Never red: nothing is to stand in the way of a rollback."""
    ours = deployment.found(v, wanted)
    found = ", ".join(f"{m}, {m.power}, {len(_plugged(m))} NICs plugged in" for m in ours)
    title, lost = f"machines of {wanted.guest} in vSphere", not all(m.seen for m in ours)
    return Check(
        code="machines-in-vsphere", title=title, ok=True, found=found or "none", where=v.where, unseen="not seen" if lost else ""
    )


def strangers(v: Session, wanted: Order, macs: Iterable[str]) -> list[Check]:
    """What is left alone: machines with this guest's mark or with one of its MACs plugged in that are not ours. Never red."""
    site = wanted.owner.site
    return [
        Check(
            code="machine-left-alone",
            title=f"left alone: {m}",
            ok=True,
            found=f"{m.power}, {len(m.plugged)} NICs plugged in, {vm.told(m, site)}; {vm.way(m, site)}",
            where=v.where,
        )
        for m in vm.strangers(v, site, wanted.guest, macs)
    ]


def alone(v: Session, wanted: Order, macs: Iterable[str]) -> Check:
    """Whether no machine that is not ours is on with one of the guest's MACs plugged in; one that is not seen may be."""
    macs, site = [mac.lower() for mac in macs], wanted.owner.site
    there, off = vm.strangers(v, site, wanted.guest, macs), ("poweredOff", "suspended")
    bad = [m for m in there if m.power not in off and m.plugged & set(macs)]
    return Check(
        code="macs-alone",
        title="no other machine in vSphere is on with one of the MACs",
        ok=not bad,
        found="; ".join(f"{m}, {m.power}, {vm.told(m, site)}" for m in bad) or "none",
        expected="none",
        remedy="two NICs with one MAC break the network for both. " + "; ".join(f"{m}: {vm.way(m, site)}" for m in bad),
        where=v.where,
    )


def record_gone(folder: GuestFolder) -> Check:
    """Whether the record of a cut-over is gone."""
    path = folder.cutover
    return Check(
        code="no-cutover-on-record",
        title="no cut-over stands on record",
        ok=not path.exists(),
        found=path.name if path.exists() else "none",
        expected="none",
        remedy=f"run {ROLLBACK} in apply",
        where=str(path),
    )


def only_one(v: Session, wanted: Order) -> Check:
    """Whether there is exactly one complete machine to put into service."""
    machine, n = _only(v, wanted), len(deployment.found(v, wanted))
    return Check(
        code="machine-deployed",
        title="the machine is deployed",
        ok=machine is not None,
        found=f"{machine}, {machine.power}" if machine else f"{n} machines, not exactly one complete",
        expected="one complete machine of this plan",
        remedy=f"run {DEPLOY} in apply",
        where=v.where,
        later=True,
    )


def deployed(v: Session, wanted: Order, folder: GuestFolder) -> Check:
    """Whether the machine is the very one that 60-deploy wrote down, of which an approval is."""
    known = deployment.Deployment.of(folder, wanted.plan_hash, wanted.sha256)
    machine, expected = _only(v, wanted), known.instance_uuid if known else ""
    found = machine.uuid if machine else ""
    return Check(
        code="machine-approvable",
        title="the machine is the one that can be approved",
        ok=bool(found) and found == expected,
        found=found or "none",
        expected=expected or GuestFolder.deployment,
        remedy=f"run {DEPLOY} in apply, then have it approved",
        where=v.where,
        later=True,
    )


def _host(v: Session, machine: vm.VirtualMachine) -> Check:
    """Whether the host that the machine is on could start it now: of another one vSphere may have to move it first."""
    host = v.read(machine.thing, "runtime.host").get("runtime.host")
    paths = ["name", "runtime.connectionState", "runtime.inMaintenanceMode"]
    name, state, maintained = map(v.read(host, *paths).get, paths) if host else ("no host", "none", False)
    return Check(
        code="own-host-ready",
        title="the machine's own host can start it",
        ok=machine.seen and state == "connected" and not maintained,
        found=f"{name}, {state}{', in maintenance' if maintained else ''}; the machine is {machine.power}",
        expected="connected, not in maintenance, and the machine is seen",
        remedy="reconnect the host or end its maintenance, or move the machine to another one, in the vSphere client",
        where=v.where,
    )


def _only(v: Session, wanted: Order) -> vm.VirtualMachine | None:
    """The one machine of this plan that is complete; with two of them nobody knows which is right."""
    ours = [m for m in deployment.found(v, wanted) if vm.COMPLETE in m.marks]
    fit = [m for m in ours if m.marks.get(vm.PLAN) == wanted.plan_hash]
    return fit[0] if len(fit) == 1 and len(ours) == 1 else None


def _recorded(folder: GuestFolder, machine: vm.VirtualMachine) -> bool:
    try:
        found = InService.find(folder)
    except BadInput:  # damaged: it will be written anew
        return False
    return found is not None and found.moid == machine.id


def _plugged(machine: vm.VirtualMachine) -> set[str]:
    """MACs of the NICs that will be connected at power-on, and are connected now if the machine is on."""
    plugs = {mac: card.connectable for mac, card in machine.nics.items() if card.connectable}
    return {mac for mac, p in plugs.items() if p.startConnected and (p.connected or machine.power != "poweredOn")}


def _macs(wanted: Order) -> set[str]:
    return {n.mac.lower() for n in wanted.nics}
