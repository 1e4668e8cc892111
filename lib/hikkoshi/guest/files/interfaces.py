"""Which NICs the guest configures, where that is not in ifcfg files: ifupdown, netplan, systemd-networkd, NetworkManager.

interfaces(5), netplan(5), systemd.network(5), nm-settings-keyfile(5).
"""

import configparser
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from hikkoshi.guest.facts import Interface
from hikkoshi.guest.files import text
from hikkoshi.guest.note import Note, note

_YAML, _EVENTS, _DEPTH = 1 << 16, 10_000, 20  # characters, nodes and levels of a netplan file
_NAME = re.compile(r"(?!lo$)[a-zA-Z][\w.-]{0,14}$")


def found(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """The NICs of all these files, and a note about each file that cannot be read. Of a NIC named twice the first counts."""
    nics: dict[str, Interface] = {}
    warnings = []
    for path, content in sorted(texts.items()):
        try:
            for nic in _of(path, content):
                if _NAME.match(nic.name):
                    nics.setdefault(nic.name, nic)
        except (YAMLError, configparser.Error, ValueError, TypeError, AttributeError) as e:
            why = str(e).splitlines()[0] if str(e) else type(e).__name__
            warnings.append(note("file-not-read", file=path, why=why))
    return list(nics.values()), warnings


def _of(path: str, content: str) -> list[Interface]:
    if path.startswith("/etc/network/interfaces"):
        return _ifupdown(path, content)
    if re.match(r"/etc/netplan/.*\.yaml$", path):
        return _netplan(path, content)
    if re.match(r"/etc/systemd/network/.*\.network$", path):
        return _networkd(path, content)
    if path.startswith("/etc/NetworkManager/system-connections/"):
        return _keyfile(path, content)
    return []


def _ifupdown(path: str, content: str) -> list[Interface]:
    stanzas: list[tuple[str, str, dict[str, str]]] = []
    open_stanza = False
    for line in text.lines(content.replace("\\\n", " ")):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "iface" and len(words) >= 4:
            open_stanza = words[2] == "inet" and ":" not in words[1]
            if open_stanza:
                stanzas.append((words[1], words[3], {}))
        elif words[0] in ("auto", "mapping", "source", "source-directory", "iface") or words[0].startswith("allow-"):
            open_stanza = False
        elif open_stanza:
            stanzas[-1][2].setdefault(words[0], words[-1] if words[0] == "hwaddress" else " ".join(words[1:]))
    return [
        Interface(
            name=name,
            file=path,
            mac=options.get("hwaddress", "").lower(),
            address=_address(options.get("address", ""), options.get("netmask", "")),
            dhcp=method == "dhcp",
        )
        for name, method, options in stanzas
    ]


def _netplan(path: str, content: str) -> list[Interface]:
    nics = []
    for name, value in _mapping(_mapping(_mapping(_plain(content)).get("network")).get("ethernets")).items():
        options = _mapping(value)
        listed = options.get("addresses")
        addresses = [a for a in listed if isinstance(a, str) and "." in a] if isinstance(listed, list) else []
        renamed = options.get("set-name")
        mac = _mapping(options.get("match")).get("macaddress")
        dhcp = options.get("dhcp4")
        nics.append(
            Interface(
                name=renamed if isinstance(renamed, str) and renamed else name,
                file=path,
                mac=mac.lower() if isinstance(mac, str) else "",
                address=_address(addresses[0]) if addresses else "",
                dhcp=isinstance(dhcp, str) and dhcp.lower() in ("true", "yes", "on"),
            )
        )
    return nics


def _mapping(value: object) -> dict[str, Any]:
    """A mapping, empty where there is none; ValueError for anything else."""
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"a {'list' if isinstance(value, list) else 'value'} stands where a mapping is expected")
    return value


def _plain(content: str) -> object:
    """YAML as mappings, lists and strings, which is all that netplan's files need; ValueError where it is anything more.

    Aliases are refused: a few of them make a few bytes more than any memory holds.
    """
    if len(content) > _YAML:
        raise ValueError(f"it has {len(content):,} characters, more than {_YAML:,}")
    root: list[Any] = []
    above: list[tuple[Any, list[Any]]] = [(root, root)]  # what is open: (the thing itself, what stands in it in a row)
    for count, event in enumerate(YAML(typ="safe", pure=True).parse(content)):
        if isinstance(event, AliasEvent) or count > _EVENTS or len(above) > _DEPTH:
            raise ValueError("it has aliases" if isinstance(event, AliasEvent) else "it is unreasonably long or deep")
        if isinstance(event, ScalarEvent):
            above[-1][1].append(event.value)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            row: list[Any] = []
            above.append(({} if isinstance(event, MappingStartEvent) else row, row))
            above[-2][1].append(above[-1][0])
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            thing, row = above.pop()
            if isinstance(thing, dict):
                pairs = zip(row[::2], row[1::2], strict=True)
                thing |= {key: value for key, value in pairs if isinstance(key, str)}
    return root[0] if root else None


def _networkd(path: str, content: str) -> list[Interface]:
    parsed = _ini(content)
    names = parsed.get("Match", "Name", fallback="").split()
    addresses = re.findall(r"^Address[ \t]*=[ \t]*(\S+)", content, re.M)  # a key that may come more than once
    address = next((a for a in addresses if "." in a), "")
    dhcp = parsed.get("Network", "DHCP", fallback="no").lower() in ("yes", "ipv4", "true", "both")
    mac = parsed.get("Match", "MACAddress", fallback="").lower()
    return [Interface(name=n, file=path, mac=mac, address=_address(address), dhcp=dhcp) for n in names if "*" not in n]


def _keyfile(path: str, content: str) -> list[Interface]:
    parsed = _ini(content)
    name = parsed.get("connection", "interface-name", fallback="")
    address = parsed.get("ipv4", "address1", fallback="").split(",")[0]
    mac = parsed.get("ethernet", "mac-address", fallback="").lower()
    dhcp = parsed.get("ipv4", "method", fallback="") == "auto"
    return [Interface(name=name, file=path, mac=mac, address=_address(address), dhcp=dhcp)] if name else []


def _ini(content: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(content)
    return parsed


def _address(address: str, mask: str = "") -> str:
    """With prefix length; empty where there is none, or it is none."""
    try:
        return str(ipaddress.IPv4Interface(f"{address}/{mask}" if mask and "/" not in address else address)) if address else ""
    except ValueError:
        return ""
