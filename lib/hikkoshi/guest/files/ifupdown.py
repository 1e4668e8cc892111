"""/etc/network/interfaces and what it reads besides: interfaces(5) of ifupdown, and of ifupdown-ng.

A stanza is tied to a NIC by its name. `hwaddress` there gives the NIC a MAC, and finds none. Only `rename` and `auto`, with
the pattern mac/…, tie a name to a MAC.
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import address, text
from hikkoshi.guest.note import Note, note

START = "/etc/network/interfaces"
_FOLDER = re.compile(r"[a-zA-Z0-9_-]+$")  # the names that source-directory takes
_MEMBERS: dict[str, Kind] = {
    **{"bridge-ports": "bridge", "vlan-raw-device": "vlan"},
    **{"bond-slaves": "bond", "bond-members": "bond", "slaves": "bond"},
}
_VLAN = re.compile(r"(?:.+\.|vlan)(\d+)$")
_HEADS = ("mapping", "auto", "rename", "source", "source-directory", "no-auto-down", "no-scripts")
_MOST = 200  # files that read each other


@dataclass
class _Stanza:
    name: str
    file: str
    line: int
    family: str = ""
    method: str = ""
    inherits: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    template: bool = False


@dataclass
class _Read:
    stanzas: list[_Stanza] = field(default_factory=list)
    macs: dict[str, str] = field(default_factory=dict)  # {logical name: MAC}
    patterns: dict[str, str] = field(default_factory=dict)  # {logical name: glob of NICs}
    files: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def read(texts: Mapping[str, str]) -> tuple[list[Interface], list[Note]]:
    """The interfaces of all stanzas, and what is to be known of the files; those that nothing reads do not count."""
    found = _Read()
    if START in texts:
        _file(texts, START, found)
    unread = [p for p in sorted(texts) if p.startswith(START + ".d/") and p not in found.files]
    found.notes += [note("file-not-used", file=p, by=START) for p in unread]
    by_name: dict[str, list[_Stanza]] = {}
    for stanza in found.stanzas:
        by_name.setdefault(stanza.name, []).append(stanza)
    parents = {name for s in found.stanzas for name in s.inherits}
    nics = []
    for name, stanzas in by_name.items():
        methods = {s.method for s in stanzas}
        bare = name in parents and not any(k == "address" for s in stanzas for k, _ in s.options) and "dhcp" not in methods
        if not bare and name != "lo" and methods != {"loopback"} and not any(s.template for s in stanzas):
            nics.append(_interface(name, stanzas, by_name, found))
    return nics, found.notes


def _logical(content: str) -> Iterator[tuple[int, str]]:
    """Lines, with those that go on after a backslash joined, each with its number; no comments."""
    held, began = "", 0
    for n, line in enumerate(text.lines(content), 1):
        body = text.parts(line)[0]
        began = began or n
        if not held and body.lstrip().startswith("#"):
            began = 0
        elif body.endswith("\\"):
            held += body[:-1] + " "
        else:
            yield began, held + body
            held, began = "", 0
    if held:
        yield began, held


def _file(texts: Mapping[str, str], path: str, found: _Read) -> None:
    if path in found.files or len(found.files) >= _MOST:
        return
    found.files.append(path)
    stanza: _Stanza | None = None
    for n, line in _logical(texts[path]):
        words = line.split()
        if not words:
            continue
        head, rest = words[0], words[1:]
        if head in ("iface", "interface", "template", "defaults"):
            stanza = _begun(head, rest, path, n)
            found.stanzas += [stanza] if stanza.name else []
        elif head in _HEADS or head.startswith("allow-"):
            stanza = stanza if head in ("auto",) and not rest else None  # of ifupdown-ng: auto inside a stanza
            if head == "mapping":
                found.notes.append(note("nics-by-script", place=f"{path}:{n}", nics=" ".join(rest)))
            elif head.startswith("source"):
                _sources(texts, path, n, head, rest, found)
            elif head in ("auto", "rename") or head.startswith("allow-"):
                _selected(rest, found)
        elif stanza is not None and rest:
            stanza.options.append((head.replace("_", "-"), " ".join(rest)))


def _begun(head: str, rest: list[str], path: str, line: int) -> _Stanza:
    name = "defaults" if head == "defaults" else rest[0] if rest else ""
    stanza = _Stanza(name, path, line, template=head in ("template", "defaults"))
    words = rest[1:]
    if words and words[0] in ("inet", "inet6", "ipx", "can", "wpan"):
        stanza.family = words[0]
        if len(words) > 1 and words[1] not in ("inherits", "inherit"):
            stanza.method = words[1]
    for n, word in enumerate(words):
        if word in ("inherits", "inherit"):
            stanza.inherits += words[n + 1 : n + 2]
        elif word == "dhcp":
            stanza.method = "dhcp"
    return stanza


def _sources(texts: Mapping[str, str], path: str, line: int, head: str, rest: list[str], found: _Read) -> None:
    for pattern in rest:
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), pattern.strip("\"'")))
        if head == "source-directory":
            inside = [p for p in texts if fnmatch.fnmatchcase(posixpath.dirname(p), whole)]
            paths = [p for p in inside if _FOLDER.match(posixpath.basename(p))]
        else:  # as a shell: no star matches a slash or a hidden file
            paths = [
                p
                for p in texts
                if fnmatch.fnmatchcase(p, whole)
                and p.count("/") == whole.count("/")
                and (not posixpath.basename(p).startswith(".") or posixpath.basename(whole).startswith("."))
            ]
        if not paths and not (whole.startswith(START + ".d") and (head == "source-directory" or "*" in whole)):
            found.notes.append(note("source-not-read", place=f"{path}:{line}", source=whole))
        for other in sorted(paths):
            _file(texts, other, found)


def _selected(words: list[str], found: _Read) -> None:
    """`auto mac/00:16:3e:05:00:00=lan`, `rename /eth*=lan`: what is tied to a name otherwise than by it."""
    for word in words:
        pattern, _, logical = word.partition("=")
        variable, slash, value = pattern.partition("/")
        if not slash or not logical:
            continue
        value = value.partition("/")[0]
        if variable == "mac" and (mac := address.mac(value)):
            found.macs[logical] = mac
        elif not variable:
            found.patterns[logical] = value


def _options(stanza: _Stanza, by_name: Mapping[str, list[_Stanza]], above: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Its own, and then those that it inherits."""
    options = list(stanza.options)
    own = {key for key, _ in options}
    for name in (*stanza.inherits, *(v for k, v in stanza.options if k in ("inherit", "inherits"))):
        for parent in by_name.get(name, ()) if name not in above and len(above) < 20 else ():
            if not parent.family or not stanza.family or parent.family == stanza.family:
                options += [o for o in _options(parent, by_name, (*above, name)) if o[0] not in own]
    return options


def _interface(name: str, stanzas: list[_Stanza], by_name: Mapping[str, list[_Stanza]], found: _Read) -> Interface:
    addresses, every, dhcp = [], [], False
    for stanza in stanzas:
        options = _options(stanza, by_name, (name,))
        every += options
        if stanza.family in ("", "inet"):
            mask = next((v for k, v in options if k == "netmask"), "")
            addresses += [address.ipv4(v.split()[0], "" if "/" in v else mask) for k, v in options if k == "address"]
            dhcp = dhcp or stanza.method == "dhcp" or any(k == "use" and v.split()[0] == "dhcp" for k, v in options)
    kind, over, vlan = _layer(name, every)
    own = next((address.mac(v.split()[-1]) for k, v in every if k in ("hwaddress", "link-hwaddress")), "")
    addresses = list(dict.fromkeys(filter(None, addresses)))
    pattern = found.patterns.get(name, "")
    return Interface(
        name="" if pattern else name,
        file=stanzas[0].file,
        line=stanzas[0].line,
        mac=found.macs.get(name, ""),
        patterns=(pattern,) if pattern else (),
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=dhcp,
        kind=kind,
        over=over,
        vlan=vlan,
        part_of=next((v for k, v in every if k == "bond-master"), ""),
        own_mac=own,
        own_mac_by="hwaddress" if own else "",
    )


def _layer(name: str, options: list[tuple[str, str]]) -> tuple[Kind, tuple[str, ...], int]:
    number = _VLAN.match(name)
    made = [(_MEMBERS[k], v) for k, v in options if k in _MEMBERS]
    kinds = [kind for kind, _ in made]
    over = tuple(w for _, v in made for w in v.split() if w not in ("none", "all", "regex", "noregex", "auto"))
    if "vlan" in kinds:
        tag = next((v for k, v in options if k == "vlan-id"), number[1] if number else "")
        return "vlan", over, int(tag) if tag.isdecimal() and len(tag) < 5 else -1
    if kinds:
        return kinds[0], over, -1
    if any(k.startswith("bond-") and k != "bond-master" for k, _ in options):
        return "bond", (), -1
    if any(k.startswith("bridge-") for k, _ in options):
        return "bridge", (), -1
    return "nic", (), -1
