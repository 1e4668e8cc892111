"""NetworkManager's profiles as keyfiles, old names of sections and keys included: nm-settings-keyfile(5), nm-settings(5).

Of what NetworkManager's own reader takes (nm-keyfile.c): a MAC as numbers, addresses with their gateway behind them.
"""

import contextlib
import posixpath
import re
from collections.abc import Mapping

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.interfaces import address, networkd
from hikkoshi.guest.note import Note, note

FOLDERS = ("/usr/lib/NetworkManager/system-connections", "/etc/NetworkManager/system-connections")  # the later hides the earlier
_IGNORED = re.compile(r"\.|.*(~|\.(rpm(new|save|orig)|bak|orig|old|sw[op]|pem|der|crt|key|p12|nmmeta))$", re.S)
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("", "ethernet", "802-3-ethernet"), "nic"),
    **{"vlan": "vlan", "bridge": "bridge", "bond": "bond", "team": "bond"},
    **dict.fromkeys(
        ("dummy", "ip-tunnel", "tun", "macvlan", "vxlan", "veth", "loopback", "vrf", "ovs-interface", "pppoe"), "other"
    ),
    **{"ovs-bridge": "bridge", "ovs-port": "other"},
}
_WIRED = ("ethernet", "802-3-ethernet")
_CONDITIONS = ("driver", "path", "kernel-command-line")


def read(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """One interface of each profile for wired NICs, and for what is made of them; none of a wireless one or a VPN."""
    nics: list[Interface] = []
    notes: list[Note] = []
    ranks: dict[str, tuple[bool, int]] = {}
    for path in _used(texts):
        try:
            found = networkd.sections(texts[path], goes_on=False)
        except ValueError as e:
            notes.append(note("file-not-read", file=path, why=e))
            continue
        nic = _interface(path, found)
        if nic is not None and found.last("connection", "type") != "ovs-port":
            nics.append(nic)
            ranks[path] = (bool(nic.by_hand), -_number(found.last("connection", "autoconnect-priority")))
            notes += address.told(nic.place, _written(found))
    return _chosen(nics, ranks), notes


def _chosen(nics: list[Interface], ranks: Mapping[str, tuple[bool, int]]) -> list[Interface]:
    """With those of a lower priority as brought up by hand, where another is for the same NIC."""
    best: dict[tuple[object, ...], tuple[bool, int]] = {}
    for n in nics:
        key = (n.name, n.mac, n.patterns, n.conditions)
        best[key] = min(best.get(key, ranks[n.file]), ranks[n.file])
    lower = {n.file for n in nics if not n.by_hand and ranks[n.file] > best[n.name, n.mac, n.patterns, n.conditions]}
    return [n.model_copy(update={"by_hand": "a lower autoconnect-priority"}) if n.file in lower else n for n in nics]


def uuids(texts: Mapping[str, str]) -> dict[str, str]:
    """{UUID of a profile: name of its interface, or the MAC of the NIC that it is for}: by it another may name it."""
    named: dict[str, str] = {}
    for path in _used(texts):
        with contextlib.suppress(ValueError):
            found = networkd.sections(texts[path], goes_on=False)
            nic = _interface(path, found)
            if nic and found.last("connection", "type") == "ovs-port":  # it only stands between a NIC and its bridge
                named |= dict.fromkeys((found.last("connection", "uuid"), nic.name), nic.part_of)
            elif nic and (nic.name or nic.mac):
                named[found.last("connection", "uuid")] = nic.name or nic.mac
    for uuid, name in named.items():
        named[uuid] = named.get(name, name)
    return {uuid: name for uuid, name in named.items() if uuid and uuid != name}


def _used(texts: Mapping[str, str]) -> list[str]:
    found: dict[str, str] = {}
    for folder in FOLDERS:
        inside = (p for p in texts if posixpath.dirname(p) == folder and not _IGNORED.match(posixpath.basename(p)))
        found |= {posixpath.basename(p): p for p in inside if folder == FOLDERS[-1] or p.endswith(".nmconnection")}
    return [path for _, path in sorted(found.items())]


def _interface(path: str, found: networkd.Sections) -> Interface | None:
    of = found.last("connection", "type")
    if of not in _KINDS:
        return None  # wifi, gsm, vpn, wireguard …
    kind = _KINDS[of]
    name = found.last("connection", "interface-name") or found.last(of, "interface-name")
    own, mac = (_mac(found, "cloned-mac-address"), _mac(found, "mac-address"))
    own = own or next((w for section in _WIRED if (w := address.changing(found.last(section, "cloned-mac-address")))), "")
    addresses = _addresses(found)
    tag, parent = found.last("vlan", "id"), found.last(of, "parent") if of not in _WIRED else ""
    if of == "pppoe" and not parent:  # the name is that of the NIC below
        name, parent = "", name
    if of in ("vlan", "pppoe") and not parent:
        mac, parent = "", mac
    automatic = found.last("connection", "autoconnect").lower()
    return Interface(
        name=name,
        file=path,
        line=found.line("match", *_WIRED) if not name else next((s.line for s in found if s.key == "interface-name"), 1),
        mac=mac,
        patterns=tuple(p.lstrip("|&") for p in _list(found, "match", "interface-name")) if not name else (),
        conditions=(
            *(f"{c}={v.lstrip('|&')}" for c in _CONDITIONS for v in _list(found, "match", c)),
            *(c for s in _WIRED for c in address.refused(found.last(s, "mac-address-blacklist", "mac-address-denylist"))),
        ),
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=found.last("ipv4", "method") == "auto",
        kind=kind,
        over=(parent,) if parent else (),
        vlan=int(tag) if tag.isdecimal() and len(tag) < 5 else -1,
        part_of=found.last("connection", "controller", "master"),
        own_mac=own,
        own_mac_by="cloned-mac-address" if own else "",
        by_hand=f"autoconnect={automatic}" if automatic in ("false", "no", "0") else "",
    )


def _number(written: str) -> int:
    return int(written) if re.fullmatch(r"-?\d{1,4}", written) else 0


def _list(found: networkd.Sections, section: str, key: str) -> list[str]:
    return [v.strip() for v in re.split("[;,]", found.last(section, key)) if v.strip()]


def _mac(found: networkd.Sections, key: str) -> str:
    return next((mac for section in _WIRED if (mac := address.mac(found.last(section, key)))), "")


def _addresses(found: networkd.Sections) -> list[str]:
    return list(dict.fromkeys(filter(None, (address.ipv4(one, mask, without=24) for one, mask in _written(found)))))


def _written(found: networkd.Sections) -> list[tuple[str, str]]:
    """`address1=192.0.2.61/24,192.0.2.1` with a gateway behind it, `addresses1=192.0.2.61;24;192.0.2.1;` as it was before,
    `addresses=` for several."""
    keys = {s.key for s in found if s.section == "ipv4" and re.match(r"address(es)?\d*$", s.key)}
    listed = []
    for key in sorted(keys, key=lambda k: (len(k), k)):
        value = found.last("ipv4", key)
        several = key == "addresses" and "/" in value
        for one in [v for v in re.split("[;,]", value) if "/" in v] if several else [value]:
            first, *more = [p for p in re.split(r"[\s;,]+", one.strip()) if p] or [""]
            listed.append((first, more[0] if "/" not in first and more and more[0].isdecimal() else ""))
    return listed
