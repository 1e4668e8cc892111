"""Gives the lab's vCenter the names and networks of params/site.yml."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyVmomi import vim

from hikkoshi.errors import Problem, VSphereError
from hikkoshi.params.site import Segment, Site
from hikkoshi.vsphere.session import Session

STANDARD_SWITCH = "vSwitch0"
HOSTS = tuple(f"DC0_C0_H{n}" for n in range(3))  # as the simulator calls them
DISTRIBUTED = "dv-"  # a port group whose name starts so is on the distributed switch, any other on the standard one


def shape(v: Session, site: Site, storage: Path, say: Callable[[str], None]) -> None:
    """Name datacenter and cluster, make the datastore and every segment's port group. Does nothing twice.

    `storage` is the folder for the datastores: the simulator keeps a machine's files there.
    """
    wanted = site.vsphere
    for kind, name in (("Datacenter", wanted.datacenter), ("ClusterComputeResource", wanted.cluster)):
        _rename(v, kind, name, say)
    if wanted.datastore not in {p["name"] for p in v.collect("Datastore", ["name"]).values()}:
        _datastore(v, storage / wanted.datastore)
        say(f"datastore made: {wanted.datastore}")
    there = {p["name"] for p in v.collect("Network", ["name"]).values()}
    missing = {s.port_group: s for s in site.segments.values() if s.port_group not in there}
    if missing:
        _distributed(v, [s for name, s in missing.items() if name.startswith(DISTRIBUTED)])
        _standard(v, [s for name, s in missing.items() if not name.startswith(DISTRIBUTED)])
        say(f"port groups made: {', '.join(missing)}")


def hints(site: Site) -> dict[str, list[dict[str, Any]]]:
    """What the hosts tell of having seen on their physical NICs, as QueryNetworkHint gives it: every VLAN with its subnet."""
    told: dict[str, list[dict[str, Any]]] = {"vmnic0": [], "vmnic1": []}
    for s in site.segments.values():
        if s.subnet:
            seen = {"vlanId": s.vlan, "ipSubnet": f"{s.subnet[1]}-{s.subnet[-2]}"}
            told["vmnic1" if s.port_group.startswith(DISTRIBUTED) else "vmnic0"].append(seen)
    return {host: [{"device": device, "subnet": subnets} for device, subnets in told.items()] for host in HOSTS}


def _rename(v: Session, kind: str, name: str, say: Callable[[str], None]) -> None:
    found = v.collect(kind, ["name"])
    if name not in {p["name"] for p in found.values()}:
        thing, old = next((o, p["name"]) for o, p in found.items())
        with v.asking(f"rename {old}"):
            task = thing.Rename_Task(name)
        v.wait(task, f"rename {old}")
        say(f"{kind} {old} is now {name}")


def _datastore(v: Session, folder: Path) -> None:
    """Make one datastore that all hosts see. Whether a host sees it is asked: from the second host on, the simulator's
    answer is an empty reference, which pyVmomi takes for an error."""
    folder.mkdir(parents=True, exist_ok=True)
    for p in v.collect("HostSystem", ["configManager.datastoreSystem"]).values():
        with contextlib.suppress(VSphereError), v.asking(f"make the datastore {folder.name}"):
            p["configManager.datastoreSystem"].CreateLocalDatastore(folder.name, str(folder))
    blind = [p["name"] for p in v.collect("HostSystem", ["name", "datastore"]).values() if not p.get("datastore")]
    if blind:
        raise VSphereError(
            Problem(
                code="lab-datastore-not-made",
                what=f"the datastore {folder.name} was not made",
                where=v.where,
                found=f"missing on {', '.join(blind)}",
            )
        )


def _distributed(v: Session, segments: list[Segment]) -> None:
    vmware = vim.dvs.VmwareDistributedVirtualSwitch
    specs = [
        vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=s.port_group,
            type="earlyBinding",
            numPorts=16,
            defaultPortConfig=vmware.VmwarePortConfigPolicy(vlan=vmware.VlanIdSpec(vlanId=s.vlan, inherited=False)),
        )
        for s in segments
    ]
    if specs:
        switch = next(iter(v.collect("DistributedVirtualSwitch", ["name"])))
        with v.asking("make the port groups of the distributed switch"):
            task = switch.AddDVPortgroup_Task(specs)
        v.wait(task, "make the port groups of the distributed switch")


def _standard(v: Session, segments: list[Segment]) -> None:
    """On the first host only: the simulator takes the same name on a second host for a duplicate, a real vSphere does not."""
    hosts = v.collect("HostSystem", ["name", "configManager.networkSystem"])
    first: Any = min(hosts.values(), key=lambda p: str(p["name"]))["configManager.networkSystem"]
    for s in segments:
        spec = vim.host.PortGroup.Specification(
            name=s.port_group, vlanId=s.vlan, vswitchName=STANDARD_SWITCH, policy=vim.host.NetworkPolicy()
        )
        with v.asking(f"make the port group {s.port_group}"):
            first.AddPortGroup(spec)
