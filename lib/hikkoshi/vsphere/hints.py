"""What the ESXi hosts have seen on their physical NICs: whether each planned VLAN arrives there, with its own subnet.

A host notes the subnets of frames that reach its physical NICs, by VLAN, and the switch's port as CDP or LLDP tell it
(HostNetworkSystem.QueryNetworkHint). So a VLAN that the switch does not pass on, or that is another one there, can be found
before any machine is moved. A guest behind a port group sees neither CDP nor LLDP. What was not seen proves nothing.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hikkoshi.check import Check
from hikkoshi.errors import Refused, VSphereError
from hikkoshi.params.site import Segment
from hikkoshi.params.site import VSphere as Site
from hikkoshi.vsphere import inventory
from hikkoshi.vsphere.inventory import EsxiHost, PortGroup
from hikkoshi.vsphere.preflight import readiness
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VirtualNic, VmSpec

_WRONG = (
    "either `vlan` or `subnet` of {segment} in params/site.yml is wrong, or the switch's port carries another VLAN under this "
    "number: find out which, before anything is moved"
)
_UNSEEN = (
    "not proved, and not refuted: a quiet VLAN looks the same as one that the switch's port does not pass on. See that port's "
    "configuration; after the cut-over the wiring witness will tell"
)


@dataclass(frozen=True)
class Uplink:
    """A physical NIC of a host: what was seen there, and the switch's port at its other end."""

    device: str  # vmnic0
    subnets: tuple[tuple[int, str], ...]  # VLAN (0: untagged) and range of addresses, as the host writes it
    port: str  # empty where neither CDP nor LLDP is heard


@dataclass(frozen=True)
class _Seen:
    """A host's uplinks; `behind` holds those behind each switch, by name (standard) or uuid (distributed)."""

    host: EsxiHost
    uplinks: Mapping[str, Uplink]
    behind: Mapping[str, tuple[str, ...]]
    switch: Mapping[str, str]  # {standard port group: its switch}
    why_not: str = ""  # it tells nothing


def checks(v: Session, site: Site, spec: VmSpec, segments: Mapping[str, Segment]) -> list[Check]:
    """A check per NIC: red where a host that has its port group has seen another subnet on its VLAN, `not seen` where one
    has seen nothing of it, and green where every one has seen its own.
    """
    try:
        place = inventory.place(v, site)
    except Refused as e:
        return [
            Check(
                code=p.code,
                title=readiness.PLACE,
                ok=False,
                found=f"{p.what}: {p.found}",
                expected=p.expected,
                remedy=p.remedy,
                where=p.where,
            )
            for p in e.problems
        ]
    hosts = [_seen(v, h) for h in place.hosts if not h.why_not]
    found = []
    for nic in spec.nics:
        group = next((g for g in place.port_groups if g.name == nic.port_group), None)
        mine = [h for h in hosts if group and h.host.id in group.hosts]
        found.append(_check(nic, segments.get(nic.segment), mine, _switch(v, group)))
    return found


def contradiction(seen: Sequence[Check]) -> Check:
    """Whether any of `checks` found another subnet on a VLAN; what was not seen is no contradiction, and no proof."""
    wrong = [c for c in seen if c.facts.get("seen") == "other"]
    proved = sum(c.facts.get("seen") == "right" for c in seen)
    return Check(
        code="no-vlan-contradicted",
        title="no host has seen another subnet on a planned VLAN",
        ok=not wrong,
        found="; ".join(f"{c.title}: {c.found}" for c in wrong)
        or f"{proved} seen with their own subnet; the others prove nothing",
        expected="the planned subnets, or nothing yet",
        remedy=wrong[0].remedy if wrong else "",
        where=wrong[0].where if wrong else "",
    )


def _check(nic: VirtualNic, segment: Segment | None, hosts: list[_Seen], switch: str | None) -> Check:
    subnet = segment.subnet if segment else None
    told, verdicts = [], []
    for h in hosts:
        names = h.behind.get(switch or h.switch.get(nic.port_group, ""), ())
        uplinks = [h.uplinks.get(n, Uplink(n, (), "")) for n in names]
        ranges = [text for u in uplinks for vlan, text in u.subnets if vlan == nic.vlan]
        verdicts.append(_verdict(ranges, subnet))
        words = ", ".join(dict.fromkeys(ranges)) or h.why_not or "not seen"
        ends = ", ".join(f"{u.device} at {u.port}" if u.port else u.device for u in uplinks) or "no physical NIC known"
        told.append(f"{h.host.name}: {words} ({ends})")
    saw = "other" if "other" in verdicts else "right" if set(verdicts) == {"right"} else "nothing"
    return Check(
        code="vlan-seen",
        title=f"VLAN {nic.vlan} of {nic.name} is seen with {subnet or 'its subnet'} behind {nic.port_group or '(no port group)'}",
        ok=saw != "other",
        unseen="not seen" if saw == "nothing" else "",
        found=("another subnet: " if saw == "other" else "")
        + ("; ".join(told) or "no host that can be asked has this port group"),
        expected=f"VLAN {nic.vlan} with addresses of {subnet} on every host"
        if subnet
        else "a subnet in params/site.yml to compare with",
        remedy=_WRONG.format(segment=nic.segment) if saw == "other" else _UNSEEN,
        where=nic.mac,
        facts={"seen": saw},
    )


def _verdict(ranges: Iterable[str], subnet: ipaddress.IPv4Network | None) -> str:
    """right, other or unseen. A VLAN may have a second subnet, so what is seen beside the right one is no contradiction."""
    if subnet is None:
        return "unseen"
    found = {_lies(text, subnet) for text in ranges}
    return "right" if "inside" in found else "other" if "apart" in found else "unseen"


def _lies(text: str, subnet: ipaddress.IPv4Network) -> str:
    """Whether a range such as 10.3.4.1-10.3.4.254 lies inside a subnet or apart from it; '' for both, and for other text.

    A host widens its range until all that it has heard fits, up to 0.0.0.1-255.255.255.254, which tells nothing.
    """
    try:
        if "/" in text:
            network = ipaddress.IPv4Network(text.strip(), strict=False)
            first, last = network[0], network[-1]
        else:
            first, last = (ipaddress.IPv4Address(part.strip()) for part in text.split("-"))
    except ValueError:
        return ""
    if first in subnet and last in subnet:
        return "inside"
    return "apart" if last < subnet[0] or first > subnet[-1] else ""


def _seen(v: Session, host: EsxiHost) -> _Seen:
    try:
        system = v.read(host.thing, "configManager.networkSystem")["configManager.networkSystem"]
        info = v.read(system, *(f"networkInfo.{p}" for p in ("pnic", "vswitch", "proxySwitch", "portgroup")))
        with v.asking(f"tell what {host.name} sees on its physical NICs"):
            hints = system.QueryNetworkHint()
    except (VSphereError, KeyError) as e:
        why = e.problems[0].found if isinstance(e, VSphereError) else "it has no network system"
        return _Seen(host, {}, {}, {}, f"the host does not tell: {why}")
    device = {p.key: p.device for p in info.get("networkInfo.pnic", ())}
    behind = {s.name: _devices(s, device) for s in info.get("networkInfo.vswitch", ())}
    behind |= {s.dvsUuid: _devices(s, device) for s in info.get("networkInfo.proxySwitch", ())}
    groups = {g.spec.name: g.spec.vswitchName for g in info.get("networkInfo.portgroup", ())}
    return _Seen(host, {h.device: _uplink(h) for h in hints}, behind, groups)


def _devices(switch: Any, device: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(device[key] for key in switch.pnic or () if key in device)


def _uplink(hint: Any) -> Uplink:
    return Uplink(hint.device, tuple((int(s.vlanId or 0), s.ipSubnet) for s in hint.subnet or ()), _port(hint))


def _port(hint: Any) -> str:
    """The switch's port, as CDP or else LLDP tell it."""
    cdp, lldp = hint.connectedSwitchPort, hint.lldpInfo
    if cdp:
        native = f", native VLAN {cdp.vlan}" if cdp.vlan else ""
        return f"{cdp.devId or cdp.systemName or cdp.address} {cdp.portId}{native} (CDP)"
    if lldp:
        more = {p.key: p.value for p in lldp.parameter or ()}
        return f"{more.get('System Name') or lldp.chassisId} {lldp.portId} (LLDP)"
    return ""


def _switch(v: Session, group: PortGroup | None) -> str | None:
    """Uuid of the distributed switch of a port group; None for one on standard switches, whose name each host knows."""
    if group is None or group.switch == "standard":
        return None
    switch = v.read(group.network, "config.distributedVirtualSwitch").get("config.distributedVirtualSwitch")
    return str(v.read(switch, "uuid").get("uuid", "")) if switch else ""
