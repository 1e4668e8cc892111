"""Which interfaces the guest configures, by all the files that may do so, in one model: `hikkoshi.guest.facts.Interface`."""

import fnmatch
import re
from collections.abc import Mapping

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import sysconfig
from hikkoshi.guest.interfaces import address, ifcfg, ifupdown, keyfile, netplan, networkd, wicked
from hikkoshi.guest.note import Note, note

OTHERS = {  # whose files these patterns name, and nobody reads here
    "/etc/dhcpcd.conf": "dhcpcd's",
    "/etc/conf.d/net": "Gentoo's netifrc's",
    "/etc/netctl/*": "netctl's",
    "/etc/nmstate/*.yml": "nmstate's",
    "/var/lib/connman/*/settings": "ConnMan's",
    "/etc/rc.d/rc.inet1.conf": "Slackware's",
}
FILES = (  # as patterns
    *("/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*"),
    *("/etc/network/interfaces", "/etc/network/interfaces.d/*", "/etc/network/interfaces?*", "/etc/network/*.d/*"),
    *("/lib/netplan/*.yaml", "/etc/netplan/*.yaml"),
    *("/etc/systemd/network/*.network", "/etc/systemd/network/*.netdev", "/etc/systemd/network/*.link"),  # no keys
    *("/etc/systemd/network/*.d/*.conf", wicked.FILES),
    *(f"{folder}/*" for folder in keyfile.FOLDERS),
    *(f"{folder}*.{kind}" for folder in networkd.SHIPPED for kind in ("network", "netdev")),
    *(*ifupdown.SCRIPTS, *OTHERS),
)
_NAME = re.compile(r"[a-zA-Z][!-.0-9;-~]{0,14}$")
_BY_NAME: dict[str, Kind] = {  # what an interface is by its name, where its file says nothing else
    r"(bond|team)\d+": "bond",
    r"(br|xenbr|virbr|vmbr|docker)[\d-].*": "bridge",
    r"(tun|tap|ppp|ippp|sit|gre|ipip|dummy|veth|wg|ib|vti|ipsec|wlan|wl|ww|ath|ra)\d.*": "other",
}


def found(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """The interfaces of all these files, and what is to be known of them and of files that cannot be read."""
    copies = ifcfg.copies(texts)
    listed = [nic for path in sorted(texts) if path not in copies and (nic := ifcfg.interface(path, texts[path]))]
    notes = [*sysconfig.told(texts), *ifcfg.told(texts)]
    for reader in (ifupdown, netplan, keyfile, networkd, wicked):
        more, told = reader.read(texts)
        listed += more
        notes += told
    nics = []
    notes += [note("file-not-read", file=p, why=f"it is {of}") for p, of in _elsewhere(texts)]
    notes += ifupdown.by_scripts(texts)
    uuids = ifcfg.uuids(texts) | keyfile.uuids(texts)
    for nic in _folded([_resolved(nic, uuids) for nic in listed]):
        if nic.name == "lo":
            continue
        if nic.name and not _NAME.match(nic.name):
            notes.append(note("file-not-read", file=nic.place, why=f"{nic.name!r} cannot be the name of a NIC"))
        else:
            nics.append(_by_name(nic))
    nics = [_made_of_nics(nic, notes) for nic in _joined(nics)]
    return nics, [*notes, *(n for nic in nics for n in _known(nic)), *_twice(nics)]


def _elsewhere(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Files of programs that configure NICs and are not read here, with whose they are; dhcpcd's where it says an address."""
    paths = [(p, of) for pattern, of in OTHERS.items() for p in sorted(fnmatch.filter(texts, pattern))]
    said = re.compile(r"^\s*(?!#)\S", re.M)
    return [
        (p, of) for p, of in paths if (re.search(r"^\s*static\s", texts[p], re.M) if "dhcpcd" in p else said.search(texts[p]))
    ]


def _made_of_nics(nic: Interface, notes: list[Note]) -> Interface:
    """Without what cannot be the name of a NIC among those that it is made of."""
    odd = [n for n in nic.over if not (_NAME.match(n) or address.mac(n) or "/" in n) or ifcfg.CONFIGURATION.match(n)]
    part = [nic.part_of] if nic.part_of and not _NAME.match(nic.part_of) else []
    notes += [note("file-not-read", file=nic.place, why=f"{n!r} cannot be the name of a NIC") for n in (*odd, *part)]
    return nic.model_copy(update={"over": tuple(n for n in nic.over if n not in odd)}) if odd else nic


def _by_name(nic: Interface) -> Interface:
    """With what its name tells: eth0.301 is VLAN 301 of eth0."""
    below, dot, tag = nic.name.rpartition(".")
    if nic.kind == "nic" and dot and tag.isdecimal() and len(tag) < 5:
        return nic.model_copy(update={"kind": "vlan", "over": nic.over or (below,), "vlan": int(tag)})
    kind = next((k for pattern, k in _BY_NAME.items() if re.fullmatch(pattern, nic.name)), nic.kind)
    return nic.model_copy(update={"kind": kind}) if nic.kind == "nic" else nic


def _resolved(nic: Interface, uuids: Mapping[str, str]) -> Interface:
    """With names in place of the UUIDs by which a profile names another."""
    over = tuple(uuids.get(name, name) for name in nic.over)
    part_of = uuids.get(nic.part_of, nic.part_of)
    return nic if (over, part_of) == (nic.over, nic.part_of) else nic.model_copy(update={"over": over, "part_of": part_of})


def _folded(listed: list[Interface]) -> list[Interface]:
    """Aliases, such as eth0:1, as further addresses of their interface; one of its own where no other file has it."""
    nics = [n for n in listed if ":" not in n.name]
    for alias in (n for n in listed if ":" in n.name):
        under = alias.name.partition(":")[0]
        at = next((at for at, n in enumerate(nics) if n.name == under), None)
        if at is not None:
            more = (*nics[at].further, *filter(None, (alias.address, *alias.further)))
            nics[at] = nics[at].model_copy(update={"further": more})
        else:
            nics.append(alias.model_copy(update={"name": under}))
    return nics


def _joined(nics: list[Interface]) -> list[Interface]:
    """Bridges and bonds with those that say themselves that they belong to one."""
    members: dict[str, list[Interface]] = {}
    for nic in nics:
        if nic.part_of:
            members.setdefault(nic.part_of, []).append(nic)
    joined = []
    for nic in nics:
        own = members.pop(nic.name, []) if nic.name else []
        over = tuple(dict.fromkeys([*nic.over, *_members(own)]))
        kind = "bond" if own and nic.kind == "nic" else nic.kind
        joined.append(nic.model_copy(update={"over": over, "kind": kind}) if own else nic)
    for name, own in members.items():  # no file of its own
        over = tuple(_members(own))
        if _NAME.match(name):
            joined.append(Interface(name=name, file=own[0].file, line=own[0].line, kind="bond", over=over))
    return joined


def _members(own: list[Interface]) -> list[str]:
    return [what for m in own for what in ((m.name or m.mac,) if m.name or m.mac else m.patterns or (m.place,))]


def _known(nic: Interface) -> list[Note]:
    """What is to be known of one interface, whatever the plan will be."""
    told = []
    asked = [c for c in nic.conditions if not c.startswith(address.NOT_MAC)]
    if nic.kind == "nic" and not (nic.name or nic.mac or nic.patterns or asked):
        told.append(note("nic-tied-to-nothing", place=nic.place))
    if nic.own_mac and nic.own_mac != nic.mac:
        told.append(note("mac-in-file", file=nic.file, setting=nic.own_mac_by))
    if nic.by_hand and (nic.address or nic.dhcp) and not nic.part_of:
        told.append(note("nic-by-hand", place=nic.place, nic=nic.name or nic.mac or "–", setting=nic.by_hand))
    below = ", ".join(nic.over) or "–"
    if nic.kind == "vlan":
        vlan = str(nic.vlan) if nic.vlan >= 0 else nic.name
        told.append(note("vlan-in-guest", place=nic.place, vlan=vlan, nic=below))
    elif nic.kind in ("bridge", "bond"):
        told.append(note(f"{nic.kind}-in-guest", place=nic.place, name=nic.name, nics=below))
    return told


def _twice(nics: list[Interface]) -> list[Note]:
    """Files that say different things of one NIC, where it is not known which of them counts."""
    told: list[Note] = []
    first: dict[str, Interface] = {}
    for nic in nics:
        key = nic.mac if nic.mac and not nic.name else nic.name
        if not key or nic.conditions or nic.by_hand:
            continue
        one = first.setdefault(key, nic)
        if one.file != nic.file and {one.address, nic.address} - {""} and (one.address, one.dhcp) != (nic.address, nic.dhcp):
            told.append(note("nic-configured-twice", nic=key, one=one.place, other=nic.place))
    return told
