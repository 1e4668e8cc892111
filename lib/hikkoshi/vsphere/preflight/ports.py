"""What a port group lets pass, against what the guest sends: MACs of its own files, of machines behind its bridges, of VRRP."""

import re
from collections.abc import Iterator, Mapping, Sequence

from hikkoshi.check import Check
from hikkoshi.errors import Refused
from hikkoshi.guest.facts import GuestFacts, Interface
from hikkoshi.params.site import VSphere as Site
from hikkoshi.vsphere import inventory
from hikkoshi.vsphere.inventory import CHANGED, FORGED, PROMISCUOUS, PortGroup
from hikkoshi.vsphere.preflight import rule
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VmSpec

VRRP = "/etc/keepalived/keepalived.conf"
TITLE = "the port groups let pass what the guest sends"


def checks(v: Session, site: Site, spec: VmSpec, facts: GuestFacts) -> list[Check]:
    """Whether each NIC that needs more than its own MAC is on a port group that allows it. vSphere is asked only then."""
    wanted = needs(spec, facts)
    if not wanted:
        return [Check(code="port-group-passes-macs", title=TITLE, ok=True, found="each NIC sends by its own MAC alone")]
    try:
        groups: Sequence[PortGroup] = inventory.place(v, site).port_groups
    except Refused:  # told by another check
        groups = ()
    return rule.judged([passing(spec, wanted, groups, v.where)], site.lowered)


def needs(spec: VmSpec, facts: GuestFacts) -> dict[str, dict[str, str]]:
    """{NIC: {what has to be allowed: why}}."""
    found: dict[str, dict[str, str]] = {}
    for nic in spec.nics:
        mine = [i for i in facts.interfaces if _is_of(i, nic.name, nic.mac, facts)]
        for allowed, why in (pair for i in mine for pair in _of(i, nic.mac)):
            found.setdefault(nic.name, {}).setdefault(allowed, why)
    for name in re.findall(r"^\s*use_vmac\b|^\s*interface\s+(\S+)", facts.texts.get(VRRP, ""), re.M):
        if name and re.search(r"^\s*use_vmac\b", facts.texts[VRRP], re.M) and any(n.name == name for n in spec.nics):
            found.setdefault(name, {}).update(dict.fromkeys((FORGED, PROMISCUOUS), f"use_vmac in {VRRP}"))
    return found


def _is_of(interface: Interface, name: str, mac: str, facts: GuestFacts) -> bool:
    """Whether an interface is the NIC's, or is made of it."""
    own = interface.name == name or interface.mac.lower() == mac
    above = interface.kind in ("bridge", "bond") and any(i.part_of == interface.name and i.name == name for i in facts.interfaces)
    return own or above or (interface.kind in ("bridge", "bond") and name in interface.over)


def _of(interface: Interface, mac: str) -> Iterator[tuple[str, str]]:
    if interface.own_mac and interface.own_mac.lower() != mac:
        why = f"{interface.own_mac_by or 'another MAC'} in {interface.place}"
        yield from ((FORGED, why), (CHANGED, why))
    if interface.kind == "bridge":
        why = f"{interface.name} is a bridge, in {interface.place}"
        yield from ((FORGED, why), (PROMISCUOUS, why))


def passing(spec: VmSpec, wanted: Mapping[str, Mapping[str, str]], groups: Sequence[PortGroup], where: str) -> Check:
    """Whether the port groups allow it; where one does not tell, that is not seen."""
    by_name = {g.name: g for g in groups}
    bad, silent = [], []
    for nic in (n for n in spec.nics if n.name in wanted):
        refused = by_name[nic.port_group].refused if nic.port_group in by_name else None
        if refused is None:
            silent.append(nic.port_group)
        bad += [
            f"{nic.port_group} rejects {w}, which {nic.name} needs: {why}"
            for w, why in wanted[nic.name].items()
            if w in (refused or ())
        ]
    asked = "; ".join(f"{name}: {', '.join(what)}" for name, what in wanted.items())
    return Check(
        code="port-group-passes-macs",
        title=TITLE,
        ok=not bad,
        found="; ".join(bad) or (f"not told of {', '.join(silent)}" if silent else f"all of it: {asked}"),
        expected=asked,
        remedy="have the port group's security policy accept it, or take the setting out of the guest where it is not needed",
        where=where,
        unseen="" if bad or not silent else "not seen",
    )
