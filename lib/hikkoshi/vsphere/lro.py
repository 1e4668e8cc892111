"""LRO of the virtual NICs, switched off on an ESXi host: the last resort, since every virtual machine on it feels it.

For guests whose own kernel and driver cannot switch it off. Net.Vmxnet3SwLRO is the aggregation that the host does itself,
Net.Vmxnet3HwLRO what it takes from its physical NICs (Broadcom's article 318877: the host has to be started anew).
"""

from collections.abc import Mapping
from typing import Any

from pyVmomi import VmomiSupport, vim

from hikkoshi.check import Check, Permission
from hikkoshi.errors import Problem, Refused, StepFailed
from hikkoshi.run.step import OFFLOADS
from hikkoshi.vsphere.inventory import EsxiHost
from hikkoshi.vsphere.session import Session

OFF: Mapping[str, int] = {"Net.Vmxnet3SwLRO": 0, "Net.Vmxnet3HwLRO": 0}


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


def apply(
    v: Session, host: EsxiHost, permission: Permission, wanted: Mapping[str, int] = OFF, *, confirmed: str
) -> dict[str, int]:
    """Set the options, read them back, and give the values from before, which undo it as `wanted` of another call.

    `confirmed` is the host's name, typed by a person who has read which machines it changes: without it `Refused` names
    them. Takes effect when the host is started anew. `permission` is that of the guest's run of 85-offloads, and its machine has
    to be on this host.
    """
    permission.covers(OFFLOADS.id)
    before = read(v, host)
    there = [v.read(m, "name", "config.instanceUuid") for m in v.read(host.thing, "vm").get("vm", ())]
    machines = [str(p.get("name", "?")) for p in there]
    problems = []
    if permission.machine not in [p.get("config.instanceUuid") for p in there]:
        problems.append(
            Problem(
                code="machine-on-another-host",
                what="the machine that was approved is not on this host",
                where=f"{v.where}, {host.name}",
                found=", ".join(sorted(machines)) or "no machine",
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
                found=f"confirmed {confirmed!r}; on the host: {', '.join(sorted(machines)) or 'no machine now'}",
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
