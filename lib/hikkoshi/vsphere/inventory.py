"""What vSphere has: port groups with their VLANs, hosts, the datastore, and the place where a new machine goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from hikkoshi.errors import Problem, Refused, nearest
from hikkoshi.params.site import VSphere as Site
from hikkoshi.vsphere.session import Properties, Session

TRUNK = 4095  # VLAN id with which a standard switch hands all VLANs through
FORGED, CHANGED, PROMISCUOUS = "forged transmits", "MAC changes", "promiscuous mode"
SECURITY = {"forgedTransmits": FORGED, "macChanges": CHANGED, "allowPromiscuous": PROMISCUOUS}  # as the API calls them
UPLINK_TAG = "SYSTEM/DVS.UPLINKPG"


@dataclass(frozen=True)
class PortGroup:
    """A port group. `vlan` is None where it is not one VLAN; `kind` then says what it is: trunk, uplink, private VLAN …"""

    name: str
    switch: str  # standard or distributed
    vlan: int | None
    kind: str = ""
    hosts: frozenset[str] = frozenset()  # ids of the hosts that have it
    key: str = ""  # of a distributed one
    network: Any = field(default=None, compare=False)
    refused: frozenset[str] | None = None  # what its security policy rejects; None where it does not tell
    uplinks: tuple[str, ...] | None = None  # those that are active; None where it does not tell
    teaming: str = ""  # how they share the load

    def __str__(self) -> str:
        return f"{self.name} ({self.what})"

    @property
    def what(self) -> str:
        """Its switch and its VLAN."""
        return f"{self.switch}, {self.kind or f'VLAN {self.vlan}'}"


@dataclass(frozen=True)
class EsxiHost:
    """An ESXi host of the cluster; `why_not` says why nothing can be placed on it now."""

    id: str
    name: str
    why_not: str
    thing: Any = field(compare=False)


@dataclass(frozen=True)
class Place:
    """Where the machine goes."""

    datacenter: Any
    cluster: Any
    pool: Any
    folder: Any
    datastore: Any
    free: int  # bytes on the datastore
    accessible: bool
    hosts: tuple[EsxiHost, ...]
    port_groups: tuple[PortGroup, ...]

    def host_for(self, names: Iterable[str]) -> EsxiHost | None:
        """A host that can take a machine with NICs on these port groups; the first by name."""
        ours = [g for g in self.port_groups if g.name in set(names)]
        fit = [h for h in self.hosts if not h.why_not and all(h.id in g.hosts for g in ours)]
        return min(fit, key=lambda h: h.name, default=None)


@dataclass(frozen=True)
class Capacity:
    """What a cluster and a datastore have, and how much of it is taken; all but the counts in bytes.

    Memory is counted as configured, not as used at this moment: a machine may want all of what it was given.
    """

    hosts: int
    memory: tuple[int, ...]  # of each host that machines can be placed on now
    machines: int  # on this cluster's hosts
    running: int  # of these, those that are switched on
    taken: int  # memory of those that are switched on
    room: int  # of the datastore
    free: int

    @property
    def spare(self) -> int:
        """Memory that is left when the largest of its hosts fails."""
        return sum(self.memory) - max(self.memory, default=0) - self.taken


def place(v: Session, site: Site) -> Place:
    """Find what params/site.yml names; `Refused` with everything that is not there."""
    problems: list[Problem] = []
    datacenter, dc = _named(v, "Datacenter", site.datacenter, problems, paths=["vmFolder"])
    root = datacenter or v.content.rootFolder
    cluster, cl = _named(v, "ComputeResource", site.cluster, problems, paths=["resourcePool"], root=root)
    paths = ["summary.freeSpace", "summary.accessible"]
    datastore, ds = _named(v, "Datastore", site.datastore, problems, paths=paths, root=root)
    folder = _folder(v, dc["vmFolder"], site.folder, problems) if datacenter else None
    if problems:
        raise Refused(*problems)
    return Place(
        datacenter=datacenter,
        cluster=cluster,
        pool=cl["resourcePool"],
        folder=folder,
        datastore=datastore,
        free=int(ds.get("summary.freeSpace", 0)),
        accessible=bool(ds.get("summary.accessible", False)),
        hosts=_hosts(v, cluster, datastore),
        port_groups=port_groups(v, datacenter),
    )


def seen(groups: Iterable[PortGroup], name: str, vlan: int) -> tuple[str, bool]:
    """What vSphere has by the name of a port group, and whether that is exactly one, with this VLAN."""
    fit = [g for g in groups if g.name == name]
    return ", ".join(g.what for g in fit) or "no such port group", [g.vlan for g in fit] == [vlan]


def capacity(v: Session, place: Place) -> Capacity:
    """Count what the place has."""
    sizes = v.collect("HostSystem", ["summary.hardware.memorySize"], place.cluster)
    hosts = {h.id for h in place.hosts}
    usable = {h.id for h in place.hosts if not h.why_not}
    paths = ["runtime.host", "runtime.powerState", "summary.config.memorySizeMB"]
    machines = [p for p in v.collect("VirtualMachine", paths, place.datacenter).values() if _on(p) in hosts]
    running = [p for p in machines if p.get("runtime.powerState") == "poweredOn"]
    return Capacity(
        hosts=len(hosts),
        memory=tuple(int(p.get("summary.hardware.memorySize", 0)) for h, p in sizes.items() if h._moId in usable),
        machines=len(machines),
        running=len(running),
        taken=sum(int(p.get("summary.config.memorySizeMB") or 0) for p in running) << 20,
        room=int(v.read(place.datastore, "summary.capacity").get("summary.capacity", 0)),
        free=place.free,
    )


def _on(machine: Properties) -> str:
    """The id of the host that a machine is on, as far as it is told."""
    host = machine.get("runtime.host")
    return str(host._moId) if host else ""


def port_groups(v: Session, datacenter: Any) -> tuple[PortGroup, ...]:
    """Every port group of the datacenter, standard and distributed, by name."""
    networks = {o: p["name"] for o, p in v.collect("Network", ["name"], datacenter).items()}
    hosts = v.collect("HostSystem", ["configManager.networkSystem"], datacenter)
    seen: dict[str, dict[str, int]] = {}  # {name: {host id: VLAN}}
    policies: dict[str, list[Any]] = {}  # {name: that of each host}
    for host, p in hosts.items():
        if "configManager.networkSystem" in p:
            # host.config.network may be older than this
            told = v.read(p["configManager.networkSystem"], "networkInfo.portgroup")
            for group in told.get("networkInfo.portgroup", ()):
                seen.setdefault(group.spec.name, {})[host._moId] = group.spec.vlanId
                policies.setdefault(group.spec.name, []).append(group.computedPolicy)
    standard = [
        _standard(name, seen[name], o, policies[name]) for o, name in networks.items() if name in seen and type(o) is vim.Network
    ]
    members = {
        o: frozenset(h._moId for h in p.get("summary.hostMember", ()))
        for o, p in v.collect("DistributedVirtualSwitch", ["summary.hostMember"], datacenter).items()
    }
    paths = ["name", "key", "config.distributedVirtualSwitch", "config.defaultPortConfig", "config.uplink", "tag"]
    distributed = [
        _distributed(o, p, members.get(p.get("config.distributedVirtualSwitch"), frozenset()))
        for o, p in v.collect("DistributedVirtualPortgroup", paths, datacenter).items()
    ]
    return tuple(sorted([*standard, *distributed], key=lambda g: (g.name, g.switch)))


def rejected(policy: Any) -> frozenset[str] | None:
    """What a security policy rejects; None where it does not tell. Of a distributed one, each has a policy of its own."""
    values = {what: getattr(policy, name, None) for name, what in SECURITY.items()}
    told = {what: getattr(value, "value", value) for what, value in values.items()}
    return frozenset(what for what, allowed in told.items() if allowed is False) if set(told.values()) != {None} else None


def _standard(name: str, vlans: Mapping[str, int], network: Any, policies: Sequence[Any] = ()) -> PortGroup:
    """One name on many hosts is one network to vSphere; whether the VLAN is the same everywhere is nobody's care but ours.

    And so with its policies: what one host rejects is rejected; without an active uplink on one host, it has none.
    """
    teams = [t for p in policies if (t := getattr(p, "nicTeaming", None)) and t.nicOrder]
    ups = [tuple(t.nicOrder.activeNic or ()) for t in teams]
    told = [r for p in policies if (r := rejected(getattr(p, "security", None))) is not None]
    different = sorted(set(vlans.values()))
    if len(different) > 1:
        vlan, kind = None, f"VLAN differs between hosts: {', '.join(map(str, different))}"
    elif different[0] == TRUNK:
        vlan, kind = None, "trunk of all VLANs"
    else:
        vlan, kind = different[0], ""
    return PortGroup(
        name,
        "standard",
        vlan,
        kind,
        frozenset(vlans),
        network=network,
        refused=frozenset().union(*told) if told else None,
        uplinks=min(ups, key=len) if ups else None,
        teaming=str(teams[0].policy or "") if teams else "",
    )


def _distributed(thing: Any, p: Properties, hosts: frozenset[str]) -> PortGroup:
    default = p.get("config.defaultPortConfig")
    setting, team = getattr(default, "vlan", None), getattr(default, "uplinkTeamingPolicy", None)
    order = getattr(team, "uplinkPortOrder", None)
    vmware = vim.dvs.VmwareDistributedVirtualSwitch
    vlan, kind = None, "VLAN unknown"
    if p.get("config.uplink") or any(t.key == UPLINK_TAG for t in p.get("tag", ())):
        kind = "uplink"
    elif isinstance(setting, vmware.VlanIdSpec):
        vlan, kind = int(setting.vlanId), ""
    elif isinstance(setting, vmware.TrunkVlanSpec):
        kind = "trunk of VLANs " + ", ".join(f"{r.start}-{r.end}" for r in setting.vlanId)
    elif isinstance(setting, vmware.PvlanSpec):
        kind = f"private VLAN {setting.pvlanId}"
    return PortGroup(
        p["name"],
        "distributed",
        vlan,
        kind,
        hosts,
        p["key"],
        thing,
        refused=rejected(getattr(default, "securityPolicy", None)),
        uplinks=tuple(order.activeUplinkPort or ()) if order else None,
        teaming=str(getattr(getattr(team, "policy", None), "value", "") or ""),
    )


def _hosts(v: Session, cluster: Any, datastore: Any) -> tuple[EsxiHost, ...]:
    paths = ["name", "runtime.connectionState", "runtime.inMaintenanceMode", "datastore"]
    found = []
    for thing, p in v.collect("HostSystem", paths, cluster).items():
        state = str(p.get("runtime.connectionState", "unknown"))
        why_not = "" if state == "connected" else f"not connected: {state}"
        if p.get("runtime.inMaintenanceMode", False):
            why_not = "in maintenance mode"
        elif datastore not in p.get("datastore", ()):
            why_not = why_not or "does not see the datastore"
        found.append(EsxiHost(thing._moId, p["name"], why_not, thing))
    return tuple(sorted(found, key=lambda h: h.name))


def _named(
    v: Session, kind: str, name: str, problems: list[Problem], *, paths: list[str], root: Any = None
) -> tuple[Any, Properties]:
    """The one object of that name; otherwise None, and a problem more."""
    what = {"ComputeResource": "cluster"}.get(kind, kind.lower())
    found = v.collect(kind, ["name", *paths], root)
    fit = [(o, p) for o, p in found.items() if p["name"] == name]
    if len(fit) == 1:
        return fit[0]
    names = sorted({str(p["name"]) for p in found.values()})
    problems.append(
        Problem(
            code="not-one-of-that-name",
            what=f"vSphere does not have exactly one {what} of that name",
            where=f"{v.where}, params/site.yml: vsphere.{what}",
            found=f"{len(fit)} called {name!r}",
            expected="one of: " + (", ".join(names) or "(there is none at all)"),
            remedy=nearest(name, names) or f"correct `{what}` in params/site.yml",
        )
    )
    return None, {}


def _folder(v: Session, top: Any, path: str, problems: list[Problem]) -> Any:
    """The folder of a path such as vm or vm/migrated, below the datacenter."""
    folder = top
    for name in path.strip("/").split("/")[1:]:
        children = v.read(folder, "childEntity").get("childEntity", ())
        names = {v.read(c, "name")["name"]: c for c in children if isinstance(c, vim.Folder)}
        if name not in names:
            known = ", ".join(sorted(names)) or "(no folder)"
            problems.append(
                Problem(
                    code="vsphere-folder-unknown",
                    what="vSphere does not have that folder",
                    where=f"{v.where}, params/site.yml: vsphere.folder",
                    found=path,
                    expected=f"below {path.partition('/' + name)[0]}: {known}",
                    remedy=nearest(name, list(names)) or "make the folder in vSphere, or correct `folder` in params/site.yml",
                )
            )
            return None
        folder = names[name]
    return folder
