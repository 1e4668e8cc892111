"""/etc/netplan/*.yaml: all files as one, as netplan(5) and netplan's own parser have it.

Files count in the order of their names: of a value the last counts, lists are joined. Values are words, quoted or not: yes, on
and y are true as well.
"""

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.note import Note, note

_YAML, _EVENTS, _DEPTH = 1 << 16, 10_000, 20  # characters, nodes and levels of a file
_SECTIONS: dict[str, Kind] = {
    **{"ethernets": "nic", "vlans": "vlan", "bridges": "bridge", "bonds": "bond"},
    **{"tunnels": "other", "vrfs": "other", "dummy-devices": "other", "virtual-ethernets": "other", "nm-devices": "other"},
}
_OF_NM: dict[str, Kind] = {"vlan": "vlan", "bridge": "bridge", "bond": "bond", "team": "bond", "ethernet": "nic"}
_TRUE, _FALSE = ("true", "on", "yes", "y"), ("false", "off", "no", "n")
_NULL = ("null", "~")
_GLOB = frozenset("*?[")


class _Key(str):
    """A key, and where it stands."""

    __slots__ = ("place",)
    place: tuple[str, int]


def read(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """The interfaces of all files together, and a note about each that cannot be read."""
    whole: dict[str, Any] = {}
    notes = []
    named = {posixpath.basename(p): p for p in sorted(texts, key=_rank) if _rank(p) >= 0}  # one in /etc hides one in /lib
    for _, path in sorted(named.items()):
        try:
            network = _mapping(_mapping(_plain(path, texts[path])).get("network"))
            for section in _SECTIONS:
                for options in _mapping(network.get(section)).values():
                    _mapping(_mapping(options).get("match"))
            _merge(whole, network)
        except MarkedYAMLError as e:
            line = f"line {e.problem_mark.line + 1}: " if e.problem_mark else ""
            notes.append(note("file-not-read", file=path, why=f"{line}{e.problem or e.context}"))
        except (YAMLError, ValueError) as e:
            why = str(e).splitlines()[0] if str(e) else type(e).__name__
            notes.append(note("file-not-read", file=path, why=why))
    nics = [
        _interface(kind, name, _mapping(value), whole, notes)
        for section, kind in _SECTIONS.items()
        for name, value in _mapping(whole.get(section)).items()
    ]
    return nics, notes


def _rank(path: str) -> int:
    folder, name = posixpath.split(path)
    folders = ("/lib/netplan", "/usr/lib/netplan", "/etc/netplan")
    return folders.index(folder) if folder in folders and name.endswith(".yaml") and not name.startswith(".") else -1


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        old = into.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            old += [v for v in value if v not in old]
        elif old is None or not (isinstance(old, dict | list) and value == ""):
            into[key] = value


def _interface(kind: Kind, name: str, options: Mapping[str, Any], whole: Mapping[str, Any], notes: list[Note]) -> Interface:
    file, line = name.place if isinstance(name, _Key) else ("", 0)
    match = _mapping(options.get("match"))
    tied = _tied(name, options)
    listed = [a for a in _words(options.get("addresses")) if a not in _NULL]
    notes += address.told(f"{file}:{line}", [(a, "") for a in listed])
    addresses = [address.ipv4(a, without=32) for a in listed]
    addresses = list(dict.fromkeys(filter(None, addresses)))
    below = [*_words(options.get("interfaces")), *_words(options.get("link"))]
    given = _word(options.get("macaddress"))
    own = address.mac(given) or address.changing(given)
    if kind == "nic" and "link" in options:  # a virtual function of a NIC that Xen handed through
        kind = "other"
    elif said := _passed(options, "connection.type"):
        kind = _OF_NM.get(said.removeprefix("802-3-"), "other")
    mode = _word(options.get("activation-mode")).lower()
    tag = _word(options.get("id"))
    return Interface(
        name=tied,
        file=file,
        line=line,
        mac=address.mac(_word(match.get("macaddress"))),
        patterns=tuple(p for p in _words(match.get("name")) if not tied),
        conditions=tuple(f"driver={d}" for d in _words(match.get("driver"))),
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=_true(options.get("dhcp4"), "dhcp4", file, line, notes),
        kind=kind,
        over=tuple(_called(lower, whole) for lower in below),
        vlan=int(tag) if tag.isdecimal() and len(tag) < 5 else -1,
        own_mac=own,
        own_mac_by="macaddress" if own else "",
        by_hand=f"activation-mode={mode}" if mode in ("manual", "off") else "",
    )


def _passed(options: Mapping[str, Any], key: str) -> str:
    """What NetworkManager gave to netplan to keep."""
    kept = options.get("networkmanager")
    passed = kept.get("passthrough") if isinstance(kept, dict) else None
    return _word(passed.get(key)) if isinstance(passed, dict) else ""


def _tied(name: str, options: Mapping[str, Any]) -> str:
    """The name of the interface: its own without `match`, the new one where it gets one, else that which it matches."""
    if not (match := options.get("match")) and (said := _passed(options, "connection.interface-name")):
        return said
    if not isinstance(match, dict):
        return str(name)
    listed = _words(match.get("name"))
    literal = listed[0] if len(listed) == 1 and not _GLOB & set(listed[0]) else ""
    return _word(options.get("set-name")) or literal


def _called(name: str, whole: Mapping[str, Any]) -> str:
    """What the interface with this id is called; the id itself where that is not known."""
    for section in _SECTIONS:
        options = _mapping(whole.get(section)).get(name)
        if options is not None:
            mac = _word(_mapping(_mapping(options).get("match")).get("macaddress"))
            return _tied(name, _mapping(options)) or address.mac(mac) or name
    return name


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(value: object) -> list[str]:
    """Of a word, a list of words, or one of mappings, as of addresses with options, their keys."""
    if isinstance(value, str):
        return [value] if value else []
    items: Iterable[object] = value if isinstance(value, list) else ()
    return [str(w) for item in items for w in (item if isinstance(item, dict) else [item]) if isinstance(w, str)]


def _true(value: object, key: str, file: str, line: int, notes: list[Note]) -> bool:
    word = _word(value).lower()
    if word in _TRUE or word in (*_FALSE, "", *_NULL):
        return word in _TRUE
    notes.append(note("file-not-read", file=f"{file}:{line}", why=f"{key} is {word!r}, neither true nor false"))
    return False


def _mapping(value: object) -> dict[str, Any]:
    """A mapping, empty where there is none; ValueError for anything else."""
    if value is None or value in ("", *_NULL):
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"a {'list' if isinstance(value, list) else 'value'} stands where a mapping is expected")
    return value


def _plain(path: str, content: str) -> object:
    """YAML as mappings, lists and strings, which is all that netplan's files need; ValueError where it is anything more.

    Aliases count with all that they stand for: a few of them make a few bytes more than any memory holds.
    """
    if len(content) > _YAML:
        raise ValueError(f"it has {len(content):,} characters, more than {_YAML:,}")
    root: list[Any] = []
    above: list[tuple[Any, list[Any]]] = [(root, root)]  # what is open: (the thing itself, what stands in it in a row)
    anchors: dict[str, tuple[Any, int]] = {}  # {name: (thing, its nodes)}
    began: list[tuple[str, int]] = []  # of what is open: its name, and the count before it
    count = 0
    for event in YAML(typ="safe", pure=True).parse(content):
        count += anchors[event.anchor][1] if isinstance(event, AliasEvent) and event.anchor in anchors else 1
        if count > _EVENTS or len(above) > _DEPTH:
            raise ValueError("it is unreasonably long or deep")
        if isinstance(event, AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"line {event.start_mark.line + 1}: *{event.anchor} stands for nothing that is complete")
            above[-1][1].append(_copied(anchors[event.anchor][0]))
        if isinstance(event, ScalarEvent):
            word = _Key(event.value)
            word.encode()  # UnicodeEncodeError, a ValueError: escapes may stand for what is no character
            word.place = (path, event.start_mark.line + 1)
            above[-1][1].append(word)
            anchors |= {event.anchor: (word, 1)} if event.anchor else {}
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            row: list[Any] = []
            began.append((event.anchor or "", count))
            above.append(({} if isinstance(event, MappingStartEvent) else row, row))
            above[-2][1].append(above[-1][0])
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            thing, row = above.pop()
            if isinstance(thing, dict):
                for key, value in zip(row[::2], row[1::2], strict=True):
                    _merge(thing, {key: value} if isinstance(key, str) else {})
            name, before = began.pop()
            anchors |= {name: (thing, count - before)} if name else {}
    return root[0] if root else None


def _copied(thing: Any) -> Any:
    """The same once more, which changes alone."""
    if isinstance(thing, dict):
        return {key: _copied(value) for key, value in thing.items()}
    return [_copied(value) for value in thing] if isinstance(thing, list) else thing
