"""/etc/sysconfig/network-scripts/ifcfg-* of Red Hat's systems, and /etc/sysconfig/network/ifcfg-* of SUSE's.

Red Hat's tie a NIC to its name by HWADDR: a wrong one makes the guest ignore the NIC; none at all lets the order in which the
kernel finds NICs decide, which vSphere does not promise. SUSE's are tied to the name that the file itself has.

Sources: initscripts (sysconfig.txt, network-functions), NetworkManager's ifcfg-rh, wicked's ifcfg(5) and its other pages.
"""

import re

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import address, sysconfig, text

FILES = ("/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-")
_IGNORED = re.compile(r".*(~|\.(bak|old|orig|rej|rpm(new|save|orig)|scpmbackup|augnew|augtmp|swp))$|lo$|.*-range\d*$", re.S)
_NAME = re.compile(r"[a-z][a-z0-9]*\d[\w.:]*$")  # a name of the kernel's kind, and no profile's
_BY_MAC = re.compile(r"[a-z]+-id-([0-9a-fA-F:]{17})$")  # of SUSE up to 10
_VLAN = re.compile(r"(?:.+\.|vlan)(\d+)$")
_TYPES: dict[str, Kind] = {
    **{"": "nic", "ethernet": "nic", "eth": "nic"},
    **{"vlan": "vlan", "bridge": "bridge", "bond": "bond", "team": "bond", "ovsbridge": "bridge"},
}
_WIRELESS = ("ESSID", "WIRELESS_ESSID", "WIRELESS_ESSID_0", "WIRELESS_MODE")


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
    red_hat, by_mac = start == FILES[0], _BY_MAC.match(suffix)
    mac = address.mac(values.get("HWADDR", "") if red_hat else by_mac[1] if by_mac else "")
    name = values.get("DEVICE", "") if red_hat else ""
    if not name and not by_mac and (_NAME.match(suffix) or not red_hat):
        name = suffix
    kind, over, vlan = _layer(values, of, name, red_hat)
    addresses = _addresses(values)
    own = address.mac(values.get("MACADDR") or values.get("LLADDR") or "")
    return Interface(
        name=name,
        file=path,
        line=text.number(content, r"\s*(?:export\s+)?(DEVICE|HWADDR|IPADDR\w*|BOOTPROTO)="),
        mac=mac,
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=values.get("BOOTPROTO", "").lower().startswith(("dhcp", "bootp")) and values["BOOTPROTO"].lower() != "dhcp6",
        kind=kind,
        over=over,
        vlan=vlan,
        part_of=values.get("MASTER") or values.get("TEAM_MASTER") or (values.get("BRIDGE", "") if red_hat else ""),
        own_mac=own,
        own_mac_by=("MACADDR" if red_hat else "LLADDR") if own else "",
    )


def _layer(values: dict[str, str], of: str, name: str, red_hat: bool) -> tuple[Kind, tuple[str, ...], int]:
    """What kind of interface it is, of which others it is made, and its VLAN."""
    number = _VLAN.match(name)
    below = values.get("PHYSDEV") or values.get("ETHERDEVICE") or (name.rpartition(".")[0] if number else "")
    if of == "vlan" or values.get("VLAN", "").lower() == "yes" or "ETHERDEVICE" in values:
        tag = values.get("VLAN_ID") or (number[1] if number else "")
        return "vlan", (below,) if below else (), int(tag) if tag.isdecimal() and len(tag) < 5 else -1
    if of in ("bridge", "ovsbridge") or (not red_hat and values.get("BRIDGE", "").lower() == "yes"):
        return "bridge", tuple(_words(values.get("BRIDGE_PORTS", ""))), -1
    if of in ("bond", "team") or "BONDING_MASTER" in values or "BONDING_OPTS" in values or "TEAM_CONFIG" in values:
        return "bond", tuple(v for key, v in sorted(values.items()) if re.match(r"BONDING_SLAVE_?\w+$", key)), -1
    return _TYPES.get(of, "other"), (), -1


def _words(value: str) -> list[str]:
    """Of a list; a backslash at the end of a line is a blank, also where single quotes keep it."""
    return re.sub(r"\\\r?\n", " ", value).split()


def _addresses(values: dict[str, str]) -> list[str]:
    """Of IPADDR, IPADDR0, IPADDR1, IPADDR_web …, in this order."""
    found = []
    for key in sorted((k for k in values if re.match(r"IPADDR(\d*|_\w+)$", k)), key=lambda k: (len(k), k)):
        tails = (key.removeprefix("IPADDR"), *(("",) if key == "IPADDR0" else ("0",) if key == "IPADDR" else ()))
        masks = (values.get(mask + tail, "") for tail in tails for mask in ("PREFIX", "PREFIXLEN", "NETMASK"))
        found.append(address.ipv4(values[key], next(filter(None, masks), "")))
    return list(dict.fromkeys(filter(None, found)))


def prepared(content: str, mac: str) -> str:
    """The file with HWADDR as planned; written as the installer writes it, in capitals. Case alone is no difference."""
    if sysconfig.values(content).get("HWADDR", "").lower() == mac.lower():
        return content
    return sysconfig.with_value(content, "HWADDR", mac.upper())
