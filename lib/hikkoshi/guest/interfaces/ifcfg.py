"""/etc/sysconfig/network-scripts/ifcfg-* of Red Hat's systems, and /etc/sysconfig/network/ifcfg-* of SUSE's.

Red Hat's tie a NIC to its name by HWADDR: a wrong one makes the guest ignore the NIC; none at all lets the order in which the
kernel finds NICs decide, which vSphere does not promise. SUSE's are tied to the name that the file itself has.

Sources: initscripts (sysconfig.txt, network-functions), NetworkManager's ifcfg-rh, wicked's ifcfg(5) and its other pages.
"""

import re
from collections.abc import Mapping

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import sysconfig, text
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.note import Note, note

FILES = ("/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-")
# by either system's own scripts, wicked and NetworkManager; what else is called like a copy: see `copies`
_IGNORED = re.compile(r".*(~|\.(bak|old|orig|rej|rpm(new|save|orig)|scpmbackup|augnew|augtmp|swp))$|lo$|.*-range\d*$", re.S)
_COPY = re.compile(
    r"[-_.~]?(?:old|bac?k|bck|backup|save?d?|orig(?:inal)?|copy|new|tmp|temp|test|off|disabled?|unused|dist|default|before|pre|dpkg|ucf|yast)"
    r"(?:[-_.~\d].*)?|[-_.]\d{5,}.*|[-_.]\d{2,4}[-_.]\d.*",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(r"[a-z][a-z0-9]*\d[\w.:]*$")  # a name of the kernel's kind, and no profile's
CONFIGURATION = re.compile(r"(?:[a-z]+-)?(id|bus|vpid)-(.+)$")  # what SUSE up to 10 calls a file by: MAC, place or kind of NIC
_VLAN = re.compile(r"(?:.+\.|vlan)(\d+)$")
_TYPES: dict[str, Kind] = {
    **dict.fromkeys(("", "ethernet", "eth", "ovsport", "teamport", "bondport", "slave"), "nic"),
    **{"vlan": "vlan", "bridge": "bridge", "bond": "bond", "team": "bond", "ovsbridge": "bridge", "ovsbond": "bond"},
}
_PORTS = r"(BONDING_SLAVE_?\w+|(OVS_BRIDGE|TEAM)_PORT_DEVICE_?\w*)$"
_MADE: dict[str, tuple[Kind, str]] = {  # of SUSE's wicked and Red Hat: {setting: what it makes, the setting that says of what}
    "OVS_BRIDGE_PORT_DEVICE": ("bridge", ""),
    "TEAM_RUNNER": ("bond", ""),
    "TEAM_PORT_DEVICE": ("bond", ""),
    **{f"{of}_DEVICE": ("other", f"{of}_DEVICE") for of in ("MACVLAN", "MACVTAP", "IPVLAN", "VXLAN", "TUNNEL")},
    **{"VXLAN": ("other", ""), "TUNNEL": ("other", ""), "DUMMY": ("other", ""), "IPOIB_MODE": ("other", "")},
    "ETH": ("other", "ETH"),  # of Red Hat's xDSL
    **{"PPPMODE": ("other", "PPPOE_DEVICE"), "MODEM_DEVICE": ("other", ""), "MACVLAN_PARENT": ("other", "MACVLAN_PARENT")},
    **{"WIREGUARD": ("other", ""), "WIREGUARD_LISTEN_PORT": ("other", ""), "PPPOE_DEVICE": ("other", "PPPOE_DEVICE")},
}
_MASTERS = ("MASTER", "MASTER_UUID", "TEAM_MASTER", "TEAM_MASTER_UUID", "BRIDGE", "BRIDGE_UUID", "OVS_BRIDGE")
_WIRELESS = ("WIRELESS", "ESSID", "WIRELESS_ESSID", "WIRELESS_ESSID_0", "WIRELESS_MODE")


def ties(interface: Interface) -> bool:
    """Whether this is a NIC that its file ties to a name by HWADDR, or could."""
    return interface.file.startswith(FILES[0]) and interface.kind == "nic" and bool(interface.name)


def interface(path: str, content: str) -> Interface | None:
    """What the file says; None for files that the system ignores, for lo and for wireless ones."""
    start = next((f for f in FILES if path.startswith(f)), "")
    suffix = path.removeprefix(start)
    values = {key: value for key, value in sysconfig.values(content).items() if value}
    of = (values.get("TYPE") or values.get("DEVICETYPE") or values.get("INTERFACETYPE") or "").lower()
    if not start or _IGNORED.match(suffix) or of in ("wireless", "loopback") or any(key in values for key in _WIRELESS):
        return None
    red_hat, by = start == FILES[0], CONFIGURATION.match(suffix)
    mac = address.mac(values.get("HWADDR", "") if red_hat else by[2] if by and by[1] == "id" else "")
    name = values.get("DEVICE", "") if red_hat else ""
    if not name and (red_hat or not by) and (_NAME.match(suffix) or not red_hat):
        name = suffix
    kind, over, vlan = _layer(values, of, name, red_hat)
    addresses = _addresses(values)
    given = values.get("MACADDR") or values.get("LLADDR") or ""
    own = address.mac(given) or address.changing(given)
    start_by, when = ("ONBOOT", ("no",)) if red_hat else ("STARTMODE", ("off", "manual"))
    start_when = values.get(start_by, "").lower()
    return Interface(
        name=name,
        file=path,
        line=text.number(content, r"\s*(?:export\s+)?(DEVICE|HWADDR|IPADDR\w*|BOOTPROTO)="),
        mac=mac,
        conditions=(f"{by[1]}={by[2]}",)
        if by and not red_hat and not mac
        else address.refused(values.get("HWADDR_BLACKLIST", "")),
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=values.get("BOOTPROTO", "").lower().startswith(("dhcp", "bootp")) and values["BOOTPROTO"].lower() != "dhcp6",
        kind=kind,
        over=over,
        vlan=vlan,
        part_of=next(
            (values[key] for key in _MASTERS if red_hat and key in values and (of, key) != ("ovsbridge", "OVS_BRIDGE")), ""
        ),
        own_mac=own,
        own_mac_by=("MACADDR" if red_hat else "LLADDR") if own else "",
        by_hand=f"{start_by}={start_when}" if start_when in when else "",
    )


def _layer(values: dict[str, str], of: str, name: str, red_hat: bool) -> tuple[Kind, tuple[str, ...], int]:
    """What kind of interface it is, of which others it is made, and its VLAN."""
    number = _VLAN.match(name)
    below = values.get("PHYSDEV") or values.get("ETHERDEVICE") or (name.rpartition(".")[0] if number else "")
    if of == "vlan" or values.get("VLAN", "").lower() == "yes" or "ETHERDEVICE" in values:
        tag = values.get("VLAN_ID") or (number[1] if number else "")
        return "vlan", (_member(below),) if below else (), int(tag) if tag.isdecimal() and len(tag) < 5 else -1
    if of in ("bridge", "ovsbridge") or (not red_hat and values.get("BRIDGE", "").lower() == "yes"):
        return "bridge", tuple(map(_member, _words(values.get("BRIDGE_PORTS", "")))), -1
    ports = tuple(_member(v) for key, v in sorted(values.items()) if re.match(_PORTS, key))
    if not red_hat and values.get("OVS_BRIDGE", "").lower() == "yes":
        return "bridge", ports, -1
    if of in ("bond", "team", "ovsbond") or "BONDING_MASTER" in values or "BONDING_OPTS" in values or "TEAM_CONFIG" in values:
        return "bond", (*ports, *_words(values.get("BOND_IFACES", ""))), -1
    for key, (kind, under) in _MADE.items():
        if (key in values and values[key].lower() != "no") or (
            key.endswith("_PORT_DEVICE") and any(k.startswith(key) for k in values)
        ):
            below = values.get(under, "") if under else ""
            return kind, ports or ((_member(below),) if below else ()), -1
    return _TYPES.get(of, "other"), (), -1


def copies(texts: Mapping[str, str]) -> dict[str, str]:
    """{SUSE's file that is called as a copy of another: that file}: for a NIC called eth0-old or eth0.save, and there is none.

    A copy that makes what it is for, such as a bridge, makes another one.
    """
    found: dict[str, str] = {}
    own = [p for p in sorted(texts) if p.startswith(FILES[1]) and not _IGNORED.match(p.removeprefix(FILES[1]))]
    for path in own:
        of = [o for o in own if path.startswith(o) and path != o and _COPY.fullmatch(path.removeprefix(o))]
        made = interface(path, texts[path]) if of else None
        found |= {path: of[-1]} if made and made.kind == "nic" else {}
    return found


def uuids(texts: Mapping[str, str]) -> dict[str, str]:
    """{UUID of a profile: name of its interface}."""
    read = [sysconfig.values(texts[path]) for path in texts if path.startswith(FILES[0])]
    return {values["UUID"]: values["DEVICE"] for values in read if values.get("UUID") and values.get("DEVICE")}


def told(texts: Mapping[str, str]) -> list[Note]:
    """Addresses that cannot be read, and ranges of them, which no other file has."""
    others = copies(texts)
    notes = [note("file-is-copy", file=path, other=of) for path, of in others.items()]
    for path in sorted(p for p in texts if p.startswith(FILES) and p not in others):
        values, suffix = sysconfig.values(texts[path]), path.rpartition("/ifcfg-")[2]
        if not _IGNORED.match(suffix):
            read = [
                (n, re.match(r"\s*(?:\.|source)\s+[\"']?([^\s\"';]+)", line)) for n, line in enumerate(text.lines(texts[path]), 1)
            ]
            notes += [note("source-not-read", place=f"{path}:{n}", source=m[1]) for n, m in read if m]
        if path.startswith(FILES[0]) and re.search(r"-range\d*$", suffix):
            first, last = values.get("IPADDR_START", ""), values.get("IPADDR_END", "")
            notes += [note("address-range", place=path, first=first, last=last or "–")] if first else []
        elif not _IGNORED.match(suffix):
            line = text.number(texts[path], r"\s*(?:export\s+)?IPADDR")
            notes += address.told(f"{path}:{line}", _written(values))
    return notes


def _member(written: str) -> str:
    """What a bridge is made of: SUSE up to 10 names a NIC by its MAC, too."""
    by = CONFIGURATION.match(written)
    return (address.mac(by[2]) if by else "") or written


def _words(value: str) -> list[str]:
    """Of a list; a backslash at the end of a line is a blank, also where single quotes keep it."""
    return re.sub(r"\\\r?\n", " ", value).split()


def _addresses(values: dict[str, str]) -> list[str]:
    """Of IPADDR, IPADDR0, IPADDR1, IPADDR_web …, in this order."""
    return list(dict.fromkeys(filter(None, (address.ipv4(*pair) for pair in _written(values)))))


def _written(values: dict[str, str]) -> list[tuple[str, str]]:
    """The same as they are written, each with its mask."""
    found = []
    for key in sorted((k for k in values if re.match(r"IPADDR(\d*|_\w+)$", k)), key=lambda k: (len(k), k)):
        if key in ("IPADDR_START", "IPADDR_END"):
            continue
        tails = (key.removeprefix("IPADDR"), *(("",) if key == "IPADDR0" else ("0",) if key == "IPADDR" else ()))
        masks = (values.get(mask + tail, "") for tail in tails for mask in ("PREFIX", "PREFIXLEN", "NETMASK"))
        found.append((values[key], next(filter(None, masks), "")))
    return found


def prepared(content: str, mac: str) -> str:
    """The file with HWADDR as planned; written as the installer writes it, in capitals. Case alone is no difference."""
    if sysconfig.values(content).get("HWADDR", "").lower() == mac.lower():
        return content
    return sysconfig.with_value(content, "HWADDR", mac.upper())
