"""systemd-networkd's files and udev's link files: systemd.network(5), systemd.netdev(5), systemd.link(5), systemd.syntax(7).

Of network files the first that fits a NIC counts, and no other, in the order of their names. Settings of drop-ins, in folders
named after a file with .d at the end, count as if they stood at its end.
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import text
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.note import Note, note

FOLDER = "/etc/systemd/network/"
SHIPPED = ("/usr/lib/systemd/network/", "/usr/local/lib/systemd/network/")  # a file in FOLDER hides one of its name there
_KINDS: dict[str, Kind] = {"vlan": "vlan", "bridge": "bridge", "bond": "bond"}
_CONDITIONS = {
    **{"Driver": "driver", "Path": "path", "Property": "property", "Virtualization": "virtualization"},
    **{
        "Host": "host",
        "KernelCommandLine": "kernel-command-line",
        "KernelVersion": "kernel-version",
        "Architecture": "architecture",
    },
}
_OPEN = ("host", "kernel-version", "architecture")  # as true on VMware as it was before
_WORD = re.compile(r"\"([^\"]*)\"|'([^']*)'|(\S+)")
_YES = ("yes", "true", "1", "on", "y", "t")
_VIRTUAL = ("yes", "vm", "vmware")  # what systemd's ConditionVirtualization= finds true on VMware
_ANY = ("macvlan", "macvtap", "ipvlan", "ipvtap", "vxlan", "tunnel")


@dataclass(frozen=True)
class IniLine:
    """One line of a file with sections."""

    section: str
    key: str
    value: str
    line: int


class Sections(tuple[IniLine, ...]):
    """The settings of a file, in their order."""

    __slots__ = ()

    def every(self, section: str, *keys: str) -> list[str]:
        """The values of keys that may come more than once; an empty one takes back those before it."""
        found: list[str] = []
        for s in self:
            if s.section == section and s.key in keys:
                found = [*found, s.value] if s.value else []
        return found

    def words(self, section: str, *keys: str) -> list[str]:
        """The same, where each value has several words, with or without quotes."""
        return [word[1] or word[2] or word[3] for value in self.every(section, *keys) for word in _WORD.finditer(value)]

    def last(self, section: str, *keys: str) -> str:
        """The value that counts of a key that has one; empty where it is not set."""
        return next((s.value for s in reversed(self) if s.section == section and s.key in keys), "")

    def line(self, *sections: str) -> int:
        """Where the first setting of these sections stands, else the first of all."""
        return next((s.line for s in self if s.section in sections), self[0].line if self else 1)


def sections(content: str, *, goes_on: bool = True) -> Sections:
    """The settings of a file; ValueError for a line that is none. Where `goes_on`, a backslash at its end joins the next."""
    found, section, held, began = [], "", "", 0
    for n, line in enumerate(text.lines(content), 1):
        body = line.strip()
        if body.startswith(("#", ";")):
            continue
        began = n if not held else began
        if goes_on and body.endswith("\\"):
            held += body[:-1] + " "
            continue
        body, held = (held + body).strip(), ""
        if body.startswith("[") and body.endswith("]"):
            section = body[1:-1]
        elif "=" in body:
            key, _, value = body.partition("=")
            found.append(IniLine(section, key.strip(), value.strip(), began))
        elif body:
            raise ValueError(f"line {began} is no setting: {body[:60]!r}")
    return Sections(found)


def units(texts: Mapping[str, str], ending: str, notes: list[Note]) -> Iterator[tuple[str, Sections]]:
    """`(path, settings)` of all files with an ending such as .network, with their drop-ins, in the order in which they count."""
    named: dict[str, str] = {}
    for folder in (*SHIPPED, FOLDER):
        inside = (p for p in texts if posixpath.dirname(p) + "/" == folder and p.endswith(ending))
        # 8N- are systemd's own, for containers and the like
        named |= {posixpath.basename(p): p for p in inside if folder == FOLDER or not re.search(r"/8\d-[^/]*$", p)}
    for name, path in sorted(named.items()):
        rows: list[IniLine] = []
        more = sorted(p for p in texts if posixpath.dirname(p) == f"{FOLDER}{name}.d" and p.endswith(".conf"))
        for part in (path, *more):
            try:
                rows += sections(texts[part])
            except ValueError as e:
                notes.append(note("file-not-read", file=part, why=e))
        if rows:  # an empty file only hides another of this name
            yield path, Sections(rows)


def read(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """The interfaces of all network files, and of the devices that they are made on."""
    notes: list[Note] = []
    nics: list[Interface] = []
    devices = {unit.last("NetDev", "Name"): (path, unit) for path, unit in units(texts, ".netdev", notes)}
    over: dict[str, list[str]] = {}
    for path, unit in units(texts, ".network", notes):
        if set(unit.words("Match", "Type")) & {"wlan", "wwan", "loopback"} or unit.every("Match", "SSID", "WLANInterfaceType"):
            continue
        notes += address.told(f"{path}:{unit.line('Network', 'Address')}", [(a, "") for a in _listed(unit)])
        for nic in _interfaces(path, unit):
            first = next((n for n in nics if _covers(n, nic.name)), None) if nic.name else None
            if first is not None:
                notes.append(note("file-not-used", file=path, by=first.file))
                continue
            kind, vlan = _kind(devices[nic.name][1]) if nic.name in devices else ("nic", -1)
            nics.append(nic.model_copy(update={"kind": kind, "vlan": vlan}))
            for upper in unit.words("Network", "VLAN", *(word.upper() for word in _ANY), "MACVLAN", "Tunnel"):
                over.setdefault(upper, []).append(nic.name or nic.mac)
    for name, (path, unit) in devices.items():
        if name and name not in {n.name for n in nics}:
            kind, vlan = _kind(unit)
            nics.append(Interface(name=name, file=path, line=unit.line("NetDev"), kind=kind, vlan=vlan))
    return [n.model_copy(update={"over": tuple(over[n.name])}) if n.name in over else n for n in nics], notes


def _kind(unit: Sections) -> tuple[Kind, int]:
    tag = unit.last("VLAN", "Id")
    return _KINDS.get(unit.last("NetDev", "Kind").lower(), "other"), int(tag) if tag.isdecimal() and len(tag) < 5 else -1


def _covers(nic: Interface, name: str) -> bool:
    """Whether an earlier file takes every NIC of this name."""
    return not nic.mac and not nic.conditions and bool(nic.patterns) and matches(name, nic.patterns)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """`matches('eth0', ['e*', '!eth1'])`: one that fits, or none at all but with !, and none with ! that fits."""
    listed = list(patterns)
    wanted = [p for p in listed if not p.startswith("!")]
    if any(fnmatch.fnmatchcase(name, p[1:]) for p in listed if p.startswith("!")):
        return False
    return not wanted or any(fnmatch.fnmatchcase(name, p) for p in wanted)


def meets(unit: Sections, driver: str, kernel: Iterable[str]) -> bool:
    """Whether all that [Match] asks for beside a MAC is true on VMware of NICs of this driver, by whichever of these names
    the kernel calls one; not where nobody knows."""
    asked = {s.key for s in unit if s.section == "Match"} - {"MACAddress", "PermanentMACAddress", "OriginalName"}
    given = {key.lower(): words for key in asked if (words := unit.words("Match", key))}
    names = unit.words("Match", "OriginalName")
    fits = all(key not in _OPEN and met(key, words, driver) for key, words in given.items())
    return fits and (not names or all(matches(name, names) for name in kernel))


def met(key: str, values: list[str], driver: str) -> bool:
    """Whether one condition is true of a NIC of this driver on VMware; not where nobody knows."""
    if key == "driver":
        return matches(driver, values)
    if key == "type":
        return matches("ether", values)
    if key == "virtualization":
        return any(v in _VIRTUAL or (v.startswith("!") and v[1:] not in _VIRTUAL) for v in values)
    return all(v == "*" or v.startswith("!") for v in values) if key == "path" else key in _OPEN


def _listed(unit: Sections) -> list[str]:
    return [*unit.every("Network", "Address"), *unit.every("Address", "Address")]


def _interfaces(path: str, unit: Sections) -> Iterator[Interface]:
    names = unit.words("Match", "Name")
    if names and names[0].startswith("!"):  # it stands for the whole list
        names = ["!" + n.removeprefix("!") for n in names]
    literal = [n for n in names if not re.search(r"[*?\[!]", n)]
    patterns = tuple(n for n in names if n not in literal)
    macs = list(filter(None, map(address.mac, unit.words("Match", "MACAddress", "PermanentMACAddress"))))
    if not names and not macs and "ether" in unit.words("Match", "Type"):
        patterns = ("*",)
    addresses = list(dict.fromkeys(filter(None, (address.ipv4(a, without=32) for a in _listed(unit)))))
    own = address.mac(unit.last("Link", "MACAddress"))
    policy, unmanaged = unit.last("Link", "ActivationPolicy").lower(), unit.last("Link", "Unmanaged").lower()
    by_hand = f"ActivationPolicy={policy}" if policy in ("manual", "down", "always-down") else ""
    by_hand = f"Unmanaged={unmanaged}" if unmanaged in _YES else by_hand
    ties = [(n, ()) for n in literal] + ([("", patterns)] if patterns or not literal else [])
    for name, globs in ties:
        for mac in macs or [""]:
            yield Interface(
                name=name,
                file=path,
                line=unit.line("Match"),
                mac=mac,
                patterns=globs,
                conditions=tuple(f"{word}={v}" for key, word in _CONDITIONS.items() for v in unit.words("Match", key)),
                address=addresses[0] if addresses else "",
                further=tuple(addresses[1:]),
                dhcp=unit.last("Network", "DHCP").lower() in (*_YES, "ipv4", "both", "v4"),
                part_of=unit.last("Network", "Bridge", "Bond"),
                own_mac=own,
                own_mac_by="MACAddress" if own else "",
                by_hand=by_hand,
            )
