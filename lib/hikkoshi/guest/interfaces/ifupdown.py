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
_MEMBERS: dict[str, Kind] = {
    **{"bridge-ports": "bridge", "vlan-raw-device": "vlan"},
    **{"bond-slaves": "bond", "bond-members": "bond", "slaves": "bond"},
}
_NO_NICS = ("ppp", "wvdial", "tunnel", "v4tunnel", "6to4")  # methods that make an interface
_MAKES: dict[str, Kind] = {"vlan": "vlan", "bridge": "bridge", "bond": "bond"}  # ip link add … type
_NAMED = re.compile(r"(eth|en|sit|tun|tap|ppp|br|bond|vlan)[\w.-]*\d")  # what a logical name is hardly like
_HOOKS = ("pre-up", "up", "post-up")
_IP = re.compile(r"\bip\s+(?:-\w+\s+)*a(?:ddr(?:ess)?)?\s+(?:add|replace|change)\s+(?P<address>\S+)(?=(?P<rest>[^;&|]*))")
_IFCONFIG = re.compile(r"\bifconfig\s+(?P<dev>\S+)\s+(?:inet\s+|add\s+)?(?P<address>\d[\d.]*(?:/\d+)?)(?P<rest>[^;&|]*)")
_OWN_MAC = re.compile(
    r"\b(?:ifconfig\s+(?P<one>\S+)\s+hw\s+ether\s+|ip\s+link\s+set\s+(?:dev\s+)?(?P<other>\S+)\s+address\s+)"
    r"(?P<mac>[0-9a-fA-F:]{11,17})"
)
_CLIENT = re.compile(r"\b(?:dhclient3?|udhcpc|dhcpcd|pump)\b")
_ADDED = re.compile(r"\bip\s+link\s+add\s+[^;&|]*?\btype\s+(\w+)|\b(brctl)\s+addbr\b|\b(tunctl|vconfig)\b|--(mktun)\b")
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
        if not logical:
            found.selected.add(pattern)
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
    own = next((address.mac(v.split()[-1]) for k, v in every if k in ("hwaddress", "link-hwaddress")), "")
    setting = "hwaddress"
    for command in [v for k, v in every if k in _HOOKS]:
        by_ip, by_ifconfig, by_client = _command(command, (name, nic), place, found)
        written += by_ip
        setting = setting if own or not by_ifconfig else command
        own, dhcp = own or by_ifconfig, dhcp or by_client
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
        part_of=next((v for k, v in every if k == "bond-master"), ""),
        own_mac=own,
        own_mac_by=setting if own else "",
    )


def _command(command: str, names: tuple[str, ...], place: str, found: _Read) -> tuple[list[tuple[str, str]], str, bool]:
    """`(addresses with their masks, MAC, DHCP)` that a command gives the stanza's own NIC; what it gives another is told."""
    own = {*names, "$IFACE", "${IFACE}", '"$IFACE"', '"${IFACE}"'}
    written: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    mac = ""
    for m in _IP.finditer(command):
        dev = re.search(r"\bdev\s+(\S+)", m["rest"])
        (written if dev and dev[1] in own else others).append((m["address"], ""))
    for m in _IFCONFIG.finditer(command):
        mask = re.search(r"\bnetmask\s+(\S+)", m["rest"])
        mine = m["dev"].partition(":")[0] in own
        (written if mine else others).append((m["address"], mask[1] if mask and "/" not in m["address"] else ""))
    if given := _OWN_MAC.search(command):
        mine = (given["one"] or given["other"]) in own
        mac, others = (address.mac(given["mac"]), others) if mine else ("", [*others, (given["mac"], "")])
    client = bool(_CLIENT.search(command))
    mine = client and not own.isdisjoint(re.split(r"[\s;&|]+", command))
    if others or (client and not mine):
        found.notes.append(note("nic-by-command", place=place, command=command))
    return written, mac, mine


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
    if any(k.startswith("bond-") and k != "bond-master" for k, _ in options):
        return "bond", (), -1
    if any(k.startswith("bridge-") for k, _ in options):
        return "bridge", (), -1
    for key, value in options:
        if key in _HOOKS and (m := _ADDED.search(value)) and re.search(rf"(?<![\w.-])({re.escape(name)}|\$\{{?IFACE\}}?)", value):
            return "bridge" if m[2] else _MAKES.get(m[1] or "", "other"), (), -1
    made_up = any(k in ("link-type", "tunnel-mode", "vxlan-id", "vrf-table") for k, _ in options)
    return "other" if made_up else "nic", (), -1


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
