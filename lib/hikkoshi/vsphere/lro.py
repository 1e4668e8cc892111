"""LRO of the virtual NICs, switched off on an ESXi host: the last resort, since every virtual machine on it feels it.

For guests whose own kernel and driver cannot switch it off. Net.Vmxnet3SwLRO is the aggregation that the host does itself,
Net.Vmxnet3HwLRO what it takes from its physical NICs (Broadcom's article 318877: the host has to be started anew).
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pyVmomi import VmomiSupport, vim

from hikkoshi.artefact import Artefact
from hikkoshi.check import Check, Permission
from hikkoshi.errors import Problem, Refused, StepFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import VSphere
from hikkoshi.run.step import DEPLOY, OFFLOADS, Step
from hikkoshi.vsphere import inventory
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.inventory import EsxiHost
from hikkoshi.vsphere.session import Session

OFF: Mapping[str, int] = {"Net.Vmxnet3SwLRO": 0, "Net.Vmxnet3HwLRO": 0}


class HostOptions(Artefact):
    """host-offloads.json: what each host's options were before they were switched off for this guest."""

    filename: ClassVar[str] = GuestFolder.host_offloads
    made_by: ClassVar[Step] = OFFLOADS
    hosts: Mapping[str, Mapping[str, int]]  # {host: {option: value}}


class HostOffloads:
    """The options of the host on which a guest's machine is. `typed`: that host's name, as a person has typed it."""

    def __init__(self, v: Session, site: VSphere, folder: GuestFolder, typed: str = "") -> None:
        self._v, self._folder, self._typed = v, folder, typed
        made = Deployment.find(folder)
        uuid = made.instance_uuid if made else ""
        hosts = inventory.place(v, site).hosts
        found = next((h for h in hosts if uuid and uuid in machines(v, h).values()), None)
        if found is None:
            raise Refused(
                Problem(
                    code="machine-on-no-host",
                    what="the guest's machine is on no host of this place",
                    where=v.where,
                    found=uuid or f"no {GuestFolder.deployment}",
                    expected=f"the machine of {DEPLOY}",
                    remedy="see in the vSphere client where it is",
                )
            )
        self._host = found

    def rows(self) -> list[dict[str, str]]:
        """The host, its options, and every machine that they are of."""
        now = read(self._v, self._host)
        return [
            {"what": "host", "found": self._host.name},
            *({"what": name, "found": str(now.get(name, "no such option"))} for name in OFF),
            {"what": "machines on it", "found": ", ".join(sorted(machines(self._v, self._host)))},
        ]

    def off(self) -> Check:
        """Whether LRO is switched off on the host."""
        return holds(self._v, self._host).waiting()

    def switch_off(self, permission: Permission) -> None:
        """Switch it off, and keep what there was before."""
        apply(self._v, self._host, permission, confirmed=self._typed, keep=self._keep)

    def as_before(self) -> Check:
        """Whether nothing is on record that was changed on this host."""
        before = self._before().get(self._host.name)
        return Check(
            code="host-lro-as-before",
            title=f"LRO on {self._host.name} is as it was before",
            ok=before is None,
            found=f"before: {_listed(before)}" if before else "nothing was changed for this guest",
            expected="nothing on record",
            remedy="hikkoshi host-offloads with --undo and --apply puts it back",
            where=self._v.where,
        ).waiting()

    def put_back(self, permission: Permission) -> None:
        """Give the options the values from before."""
        before = dict(self._before())
        apply(self._v, self._host, permission, before.pop(self._host.name), confirmed=self._typed)
        if before:
            HostOptions(hosts=before).save(self._folder)
        else:
            self._folder.host_offloads.unlink()

    def _keep(self, before: Mapping[str, int]) -> None:
        HostOptions(hosts={self._host.name: before, **self._before()}).save(self._folder)

    def _before(self) -> Mapping[str, Mapping[str, int]]:
        known = HostOptions.find(self._folder)
        return known.hosts if known else {}


def read(v: Session, host: EsxiHost) -> dict[str, int]:
    """{option: its value} of the host; an option that it does not have is left out."""
    manager = _manager(v, host)
    found: dict[str, int] = {}
    for name in OFF:
        with v.asking(f"read {name} of {host.name}"):
            try:
                found |= {o.key: int(o.value) for o in manager.QueryOptions(name) if o.key == name}
            except vim.fault.InvalidName:
                continue
    return found


def holds(v: Session, host: EsxiHost, wanted: Mapping[str, int] = OFF) -> Check:
    """Whether the options have these values. That the host was started anew since is not to be seen here."""
    now = read(v, host)
    return Check(
        code="host-lro",
        title=f"LRO of the virtual NICs on {host.name}",
        ok=all(now.get(name) == value for name, value in wanted.items()),
        found=_listed(now) or "the host has no such options",
        expected=f"{_listed(wanted)}, and the host started anew since",
        remedy="set it in a maintenance window: it changes every virtual machine on the host",
        where=v.where,
    )


def machines(v: Session, host: EsxiHost) -> dict[str, str]:
    """{name: instance UUID} of every machine on a host."""
    there = [v.read(m, "name", "config.instanceUuid") for m in v.read(host.thing, "vm").get("vm", ())]
    return {str(p.get("name", "?")): str(p.get("config.instanceUuid")) for p in there}


def apply(
    v: Session,
    host: EsxiHost,
    permission: Permission,
    wanted: Mapping[str, int] = OFF,
    *,
    confirmed: str,
    keep: Callable[[Mapping[str, int]], object] = lambda _: None,
) -> dict[str, int]:
    """Set the options, read them back, and give the values from before, which undo it as `wanted` of another call.

    `confirmed` is the host's name, typed by a person who has read which machines it changes: without it `Refused` names
    them. `keep` is given the values from before, before anything is changed. Takes effect when the host is started anew.
    `permission` is that of the guest's run of 85-offloads, and its machine has to be on this host.
    """
    permission.covers(OFFLOADS.id)
    before = read(v, host)
    there = machines(v, host)
    problems = []
    if permission.machine not in there.values():
        problems.append(
            Problem(
                code="machine-on-another-host",
                what="the machine that was approved is not on this host",
                where=f"{v.where}, {host.name}",
                found=", ".join(sorted(there)) or "no machine",
                expected=permission.machine or "a machine",
                remedy="name the host on which it runs now",
            )
        )
    if confirmed != host.name:
        problems.append(
            Problem(
                code="host-lro-unconfirmed",
                what="nobody has confirmed that LRO is to change for every machine of this host",
                where=v.where,
                found=f"confirmed {confirmed!r}; on the host: {', '.join(sorted(there)) or 'no machine now'}",
                expected=f"confirmed {host.name!r}",
                remedy="switch LRO off in the guest if it can be; else give the host's name as confirmation",
            )
        )
    missing = [name for name in wanted if name not in before]
    if missing:
        problems.append(
            Problem(
                code="host-option-unknown",
                what="the host has no such option",
                where=f"{v.where}, {host.name}",
                found=f"no {', '.join(missing)}",
                expected="both of them",
                remedy="see the names in its advanced settings; they may be others in its version",
            )
        )
    if problems:
        raise Refused(*problems)
    keep({name: before[name] for name in wanted})
    manager = _manager(v, host)
    long = VmomiSupport.vmodlTypes["long"]  # an int that it is not told of goes as another type, which ESXi refuses
    with v.asking(f"set {', '.join(wanted)} of {host.name}", "set them in the vSphere client: advanced system settings"):
        manager.UpdateOptions([vim.option.OptionValue(key=name, value=long(value)) for name, value in wanted.items()])
    check = holds(v, host, wanted)
    if not check:
        raise StepFailed(check.problem())
    return {name: before[name] for name in wanted}


def _manager(v: Session, host: EsxiHost) -> Any:
    with v.asking(f"give the advanced settings of {host.name}"):
        return v.read(host.thing, "configManager.advancedOption")["configManager.advancedOption"]


def _listed(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
