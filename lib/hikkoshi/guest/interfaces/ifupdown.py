"""/etc/network/interfaces and what it reads besides: interfaces(5) of ifupdown, and of ifupdown-ng.

A stanza is tied to a NIC by its name. `hwaddress` there gives the NIC a MAC, and finds none. Only `rename` and `auto`, with
the pattern mac/…, tie a name to a MAC. A name that `auto eth0=home` or a mapping gives is logical: no NIC is called
so, see ifup(8). What commands in up, pre-up and post-up do counts where it is plain: ip(8), ifconfig(8), DHCP clients.
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hikkoshi.guest.facts import Interface, Kind
from hikkoshi.guest.files import text
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.note import Note, note

START = "/etc/network/interfaces"
_FOLDER = re.compile(r"[a-zA-Z0-9_-]+$")  # the names that source-directory takes
SCRIPTS = ("/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local", "/etc/local.d/*.start")  # that may set up NICs, too
_MEMBERS: dict[str, Kind] = {
    **{"bridge-ports": "bridge", "vlan-raw-device": "vlan", "ovs-ports": "bridge", "ovs-bonds": "bond"},
    **{"bond-slaves": "bond", "bond-members": "bond", "slaves": "bond"},
}
_OVS: dict[str, Kind] = {
    "ovsbridge": "bridge",
    "ovsbond": "bond",
    "ovsintport": "other",
    "ovstunnel": "other",
    "ovspatchport": "other",
}
_WIRELESS = re.compile(r"(wireless|wpa|wifi)-")
_USES: dict[str, Kind] = {  # of ifupdown-ng
    **{"bond": "bond", "bridge": "bridge", "vlan": "vlan", "team": "bond"},
    **dict.fromkeys(("wifi", "ppp", "tunnel", "gre", "vxlan", "wireguard", "wireguard-quick", "batman", "vrf"), "other"),
}
_NO_NICS = ("ppp", "wvdial", "tunnel", "v4tunnel", "6to4")  # methods that make an interface
_MAKES: dict[str, Kind] = {"vlan": "vlan", "bridge": "bridge", "bond": "bond"}  # ip link add … type
_NAMED = re.compile(r"(eth|en|sit|tun|tap|ppp|br|bond|vlan)[\w.-]*\d")  # what a logical name is hardly like
_HOOKS = ("pre-up", "up", "post-up")
_SELF = ("$IFACE", "${IFACE}", '"$IFACE"', '"${IFACE}"')  # what a stanza's commands call its own interface
_ADDED = re.compile(r"\bip\s+link\s+add\s+[^;&|]*?\btype\s+(\w+)|\b(brctl)\s+addbr\b|\b(tunctl|vconfig)\b|--(mktun)\b")
_JOINS = re.compile(  # a NIC that a command puts into a bridge or bond, or makes a VLAN of
    r"\bifenslave\s+(?:-\S+\s+)*(?P<bond>\S+)(?P<slaves>(?:\s+[\w.${}]+)+)"
    r"|\bbrctl\s+addif\s+(?P<bridge>\S+)(?P<ports>(?:\s+[\w.${}]+)+)|\bovs-vsctl\s+(?:--\S+\s+)*add-port\s+(?P<ovs>\S+)\s+(?P<port>[\w.${}]+)"
    r"|\bip\s+link\s+set\s+(?:dev\s+)?(?P<member>[\w.${}]+)\s+(?:\w+\s+)*?master\s+(?P<master>\S+)"
    r"|\bip\s+link\s+add\s+(?=[^;&|]*\blink\s+(?P<below>[\w.]+))(?:link\s+\S+\s+)?(?:name\s+)?(?P<vlan>\S+)[^;&|]*?\bid\s+(?P<id>\d+)"
)
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
    logical: dict[str, str] = field(default_factory=dict)  # {logical name: NIC}
    mapped: list[tuple[str, ...]] = field(default_factory=list)  # NICs, or patterns, of each mapping
    maps: set[str] = field(default_factory=set)  # logical names that a mapping names
    selected: set[str] = field(default_factory=set)
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
    mapping = False
    for n, line in _logical(texts[path]):
        words = line.split()
        if not words:
            continue
        head, rest = words[0], words[1:]
        if head in ("iface", "interface", "template", "defaults"):
            stanza, mapping = _begun(head, rest, path, n), False
            found.stanzas += [stanza] if stanza.name else []
        elif head in _HEADS or head.startswith("allow-"):
            stanza = stanza if head in ("auto",) and not rest else None  # of ifupdown-ng: auto inside a stanza
            mapping = head == "mapping"
            if mapping:
                found.mapped.append(tuple(rest))
                found.notes.append(note("nics-by-script", place=f"{path}:{n}", nics=" ".join(rest)))
            elif head.startswith("source"):
                _sources(texts, path, n, head, rest, found)
            elif head in ("auto", "rename") or head.startswith("allow-"):
                _selected(rest, found, renames=head == "rename")
        elif mapping and head == "map" and rest:
            found.maps.add(rest[-1])
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


def _selected(words: list[str], found: _Read, *, renames: bool) -> None:
    """`auto mac/00:16:3e:05:00:00=lan`, `rename /eth*=lan`: what is tied to a name otherwise than by it.

    `auto eth0=home`: what is the name of a stanza only.
    """
    for word in words:
        pattern, _, logical = word.partition("=")
        variable, slash, value = pattern.partition("/")
        if not renames:
            found.selected |= {pattern, logical or pattern}
        if not slash and logical and not renames:
            found.logical.setdefault(logical, pattern)
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


def _nic(name: str, found: _Read) -> tuple[str, tuple[str, ...]]:
    """The NIC's name that a stanza is for, or patterns of such names."""
    if name in found.patterns:
        return "", (found.patterns[name],)
    if name.startswith("/"):
        return "", (name[1:],)
    if name in found.logical:
        return found.logical[name], ()
    if name in found.maps or (found.mapped and name not in found.selected and not _NAMED.match(name)):
        of = found.mapped[0] if len(found.mapped) == 1 else ()
        return (
            (of[0], ()) if len(of) == 1 and not re.search(r"[*?\[]", of[0]) else ("", tuple(p for m in found.mapped for p in m))
        )
    return name, ()


def _interface(name: str, stanzas: list[_Stanza], by_name: Mapping[str, list[_Stanza]], found: _Read) -> Interface:
    written, every, dhcp = [], [], False
    for stanza in stanzas:
        options = _options(stanza, by_name, (name,))
        every += options
        if stanza.family in ("", "inet"):
            mask = next((v for k, v in options if k == "netmask"), "")
            written += [(v.split()[0], "" if "/" in v else mask) for k, v in options if k == "address"]
            dhcp = dhcp or stanza.method in ("dhcp", "bootp") or any(k == "use" and v.split()[0] == "dhcp" for k, v in options)
    nic, patterns = _nic(name, found)
    place = f"{stanzas[0].file}:{stanzas[0].line}"
    given = next((v.split()[-1] for k, v in every if k in ("hwaddress", "link-hwaddress")), "")
    own = address.mac(given) or address.changing(given)
    setting = "hwaddress"
    for command in [v for k, v in every if k in _HOOKS]:
        given_by = address.by_command(command, {name, nic, *_SELF})
        written += given_by.addresses
        setting = setting if own or not given_by.mac else command
        own, dhcp = own or given_by.mac, dhcp or given_by.dhcp
        found.notes += [note("nic-by-command", place=place, command=command)] if given_by.others else []
    found.notes += address.told(place, written)
    addresses = list(dict.fromkeys(filter(None, (address.ipv4(*pair) for pair in written))))
    kind, over, vlan = _layer(name, every, place, by_name, found)
    if kind == "nic" and any(s.method in _NO_NICS for s in stanzas):
        kind = "other"
    return Interface(
        name=nic,
        file=stanzas[0].file,
        line=stanzas[0].line,
        mac=found.macs.get(name, ""),
        patterns=patterns,
        address=addresses[0] if addresses else "",
        further=tuple(addresses[1:]),
        dhcp=dhcp,
        kind=kind,
        over=over,
        vlan=vlan,
        part_of=next((v for k, v in every if k in ("bond-master", "ovs-bridge") and v != name), "") or _joins((name, nic), every),
        own_mac=own,
        own_mac_by=setting if own else "",
        by_hand="" if not found.selected or any(_is_selected(n, found) for n in (name, nic)) else "no auto, no allow-hotplug",
    )


def _is_selected(name: str, found: _Read) -> bool:
    patterns = (p.strip("/").partition("/")[0] if p.startswith("/") else p for p in found.selected)
    return name in found.logical or name in found.macs or any(fnmatch.fnmatchcase(name, p) for p in patterns)


def _layer(
    name: str, options: list[tuple[str, str]], place: str, by_name: Mapping[str, list[_Stanza]], found: _Read
) -> tuple[Kind, tuple[str, ...], int]:
    number = _VLAN.match(name)
    made = [(_MEMBERS[k], v) for k, v in options if k in _MEMBERS]
    kinds = [kind for kind, _ in made]
    over = tuple(w for _, v in made for w in _members(v, name, place, by_name, found))
    if "vlan" in kinds:
        tag = next((v for k, v in options if k == "vlan-id"), number[1] if number else "")
        return "vlan", over, int(tag) if tag.isdecimal() and len(tag) < 5 else -1
    if kinds:
        return kinds[0], over, -1
    return _by_words(options) or _by_commands(name, options) or _by_options(options)


_Layer = tuple[Kind, tuple[str, ...], int]


def _by_words(options: list[tuple[str, str]]) -> _Layer | None:
    """As Open vSwitch's ovs_type or ifupdown-ng's use say."""
    for word in (w for k, v in options if k in ("ovs-type", "use") for w in v.lower().split()):
        if kind := _OVS.get(word) or _USES.get(word):
            needs = tuple(w for k, v in options if k == "requires" for w in v.split())
            tag = next((v for k, v in options if k == "vlan-id"), "")
            return kind, needs, int(tag) if tag.isdecimal() and len(tag) < 5 else -1
    return ("other", (), -1) if any(_WIRELESS.match(k) for k, _ in options) else None


def _by_commands(name: str, options: list[tuple[str, str]]) -> _Layer | None:
    """As commands in pre-up, up and post-up make it."""
    commands = [v for k, v in options if k in _HOOKS]
    joined = [m for v in commands for m in _JOINS.finditer(v)]
    below = next((m for m in joined if m["below"] and m["vlan"] in (name, *_SELF)), None)
    if below:
        return "vlan", (below["below"],), int(below["id"])
    upper = [m for m in joined if any(m[g] in (name, *_SELF) for g in ("bond", "bridge", "ovs", "master"))]
    if upper:
        members = dict.fromkeys(w for m in upper for g in ("slaves", "ports", "port", "member") if m[g] for w in m[g].split())
        return "bond" if any(m["bond"] for m in upper) or name.startswith("bond") else "bridge", tuple(members), -1
    for value in commands:
        if (m := _ADDED.search(value)) and re.search(rf"(?<![\w.-])({re.escape(name)}|\$\{{?IFACE\}}?)", value):
            return "bridge" if m[2] else _MAKES.get(m[1] or "", "other"), (), -1
    return None


def _by_options(options: list[tuple[str, str]]) -> _Layer:
    """As options tell that say nothing of members."""
    keys = [k for k, _ in options if k != "bond-master"]
    for kind in ("bond", "bridge"):
        if any(k.startswith(f"{kind}-") for k in keys):
            return _MAKES[kind], (), -1
    return "other" if any(k in ("link-type", "tunnel-mode", "vxlan-id", "vrf-table") for k in keys) else "nic", (), -1


def _joins(names: tuple[str, ...], options: list[tuple[str, str]]) -> str:
    """The bridge or bond that a stanza's own commands put it into."""
    for m in (m for k, v in options if k in _HOOKS for m in _JOINS.finditer(v)):
        members = " ".join(m[g] or "" for g in ("slaves", "ports", "port", "member")).split()
        upper = next((m[g] for g in ("bond", "bridge", "ovs", "master") if m[g]), "")
        if upper not in (*names, *_SELF) and set(members) & {*names, *_SELF}:
            return upper
    return ""


def _members(value: str, name: str, place: str, by_name: Mapping[str, list[_Stanza]], found: _Read) -> list[str]:
    """The NICs of a list such as `eth0 regex eth[1-3] noregex`, as bridge-utils and ifupdown2 have it.

    Of a pattern those that have a stanza.
    """
    members: list[str] = []
    odd: list[str] = []
    by = ""
    for word in value.split():
        if word in ("regex", "glob"):
            by = word
        elif word in ("noregex", "auto", "none"):
            by = ""
        elif word == "all":
            odd.append(word)
        elif by == "glob" and (m := re.fullmatch(r"([\w.]*?)\[?(\d{1,3})-(\d{1,3})\]?(\.\d+)?", word)):
            members += [f"{m[1]}{n}{m[4] or ''}" for n in range(int(m[2]), min(int(m[3]), int(m[2]) + 64) + 1)]
        elif by:
            odd.append(word)
            members += [n for n in by_name if n != name and _matches(by, word, n)]
        else:
            members.append(word)
    if odd:
        found.notes.append(note("nics-by-pattern", place=place, name=name, patterns=", ".join(odd)))
    return list(dict.fromkeys(members))


def _matches(by: str, pattern: str, name: str) -> bool:
    if by == "glob":
        return fnmatch.fnmatchcase(name, pattern)
    try:
        return (
            len(pattern) < 100 and len(name) < 16 and not re.search(r"[+*}][^|]*[+*{]", pattern) and bool(re.match(pattern, name))
        )
    except re.error:
        return False


def by_scripts(texts: Mapping[str, str]) -> list[Note]:
    """What scripts that run at a start, beside all files of settings, do to NICs."""
    paths = [p for pattern in SCRIPTS for p in sorted(fnmatch.filter(texts, pattern))]
    lines = [(f"{p}:{n}", line.strip()) for p in paths for n, line in enumerate(text.lines(texts[p]), 1)]
    does = [
        (at, s) for at, s in lines if s[:1] != "#" and (_JOINS.search(s) or _ADDED.search(s) or address.by_command(s, ()).others)
    ]
    return [note("nic-by-command", place=at, command=s) for at, s in does]
