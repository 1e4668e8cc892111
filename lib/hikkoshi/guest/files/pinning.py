"""NICs tied to their names by MAC, by udev's rules or by systemd: else the order on the PCI bus decides.

Rules: udev(7), and its versions back to 2006; what udev's own generator wrote, in Enterprise Linux 6 and Debian up to 8
(udev 175, rules/rule_generator). Link files: systemd.link(5). NetworkManager and netplan tie settings to names or MACs, and leave
the names to these two.

A name is tied to a MAC under Xen by whatever fits there. On VMware it holds only where every condition beside the MAC fits the
new NIC, too: no driver of Xen's or of a NIC that QEMU made, no place on another bus, no name that the kernel gives by order.

Link files alone cannot give ethN: the kernel uses these names too, and systemd's udev (252, rename_netif) gives up where the
name is taken, so that two NICs in the other order keep each other's name. A unit steps them aside first, as cloud-init does.
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hikkoshi.guest.files import address, networkd, text
from hikkoshi.guest.note import Note, note

FOLDER = "/etc/udev/rules.d/"
RULES = FOLDER + "70-persistent-net.rules"
HOMES = (  # of Debian from 5, Enterprise Linux 6 and SUSE 11; Debian 4; SUSE 10; Ubuntu 6
    RULES,
    *(FOLDER + name for name in ("z25_persistent-net.rules", "30-net_persistent_names.rules", "25-net_persistent_names.rules")),
)
_NAME = re.compile(r"[A-Za-z][\w.-]{0,14}$")  # without anything that udev would put in
UNIT = "/etc/systemd/system/name-nics-by-mac.service"
SCRIPT = "/usr/local/sbin/name-nics-by-mac"
FILES = (FOLDER + "*.rules", "/etc/iftab", "/etc/mactab", SCRIPT, UNIT)  # as patterns
# KEY{attribute} operator "value"; in newer versions with e for escapes or i for either case before it
_TOKEN = re.compile(r'[\s,]*([A-Z_]+)(?:\{([^{}"]*)\})?\s*(==|!=|\+=|-=|:=|=)\s*([ei]?)"((?:[^"\\]|\\.)*)"')
_PROGRAM = re.compile(  # of SUSE 10, or own
    r"(?:rename_netiface\s+\S+|\bip\s+link\s+set\s+(?:dev\s+)?\S+\s+name|\bnameif)\s+([\w.-]+)(?=$|[\s;&|'\"])"
)
_RENAMES = re.compile(r"\bnameif\b|\bifrename\b|\bip\s+link\s+set\s.*\sname\b")
_KERNEL = tuple(f"eth{n}" for n in range(10))  # what the kernel calls NICs on VMware, by their order
_MATCHES = ("ACTION", "BUS", "DRIVER", "ID", "KERNEL", "SUBSYSTEM")  # with one =, too, in udev up to 0.55: Enterprise Linux 4
_XEN = re.compile(r"xen|\bvif|netfront", re.I)
_ADDRESS = ("ATTR{address}", "ATTRS{address}", "SYSFS{address}")
_DRIVERS = ("DRIVER", "DRIVERS", "SUBSYSTEMS", "KERNELS", "ID", "BUS", "DEVPATH", "ENV{ID_NET_DRIVER}", "ENV{ID_PATH}")


@dataclass(frozen=True)
class _Rule:
    """What a rule does for NICs."""

    names: tuple[str, ...]  # that it gives; with what udev puts in, as eth%n, they stay as they are
    macs: tuple[str, ...]  # that it finds a NIC by, lower case
    kernels: tuple[str, ...]  # the names that the kernel or Xen's bus has for what it is for: eth0, vif-0
    works: bool  # whether one of these MACs is ever found: udev compares letter by letter, and the kernel writes small ones
    xen: bool  # fits NICs of Xen only
    tokens: list[tuple[str, str, str, str]]  # all of it: key, operator, prefix, value
    final: bool = False  # no later rule changes the name
    reached: bool | None = True  # not where a GOTO jumps over it; None where nobody knows

    def holds(self, driver: str) -> bool:
        """Whether the NIC with its MAC gets its name on VMware, too, with a NIC of this driver; not where nobody knows."""
        return self.works and self.reached is True and _fits(self.tokens, driver) is True


@dataclass
class _Jump:
    """Where in a file udev is: after a GOTO that is followed for a NIC, or may be."""

    over: str = ""  # label that it surely goes to
    perhaps: set[str] = field(default_factory=set)

    def reached(self, tokens: list[tuple[str, str, str, str]], later: str) -> bool | None:
        labels = {v for key, _, _, v in tokens if key == "LABEL"}
        self.over = "" if self.over in labels else self.over
        self.perhaps -= labels
        there = False if self.over else None if self.perhaps else True
        label = next((v for key, _, _, v in tokens if key == "GOTO"), "")
        if f'LABEL="{label}"' in later and not self.over and (fits := _fits(tokens, "")) is not False:
            self.over, self.perhaps = (label, self.perhaps) if fits and there else ("", self.perhaps | {label})
        return there


def link_path(name: str) -> str:
    """Where the link file of a NIC belongs: before all others."""
    return f"/etc/systemd/network/10-{name}.link"


def link(name: str, mac: str) -> str:
    """The link file of a NIC."""
    return f"# {name} keeps the name that it had under Xen\n[Match]\nMACAddress={mac.lower()}\n\n[Link]\nName={name}\n"


def unit() -> str:
    """The unit that runs `script` when all NICs are there, and before anything looks at their names."""
    return f"""\
# written when this guest moved to VMware
[Unit]
Description=NICs keep the names that they had under Xen
DefaultDependencies=no
Wants=systemd-udev-settle.service network-pre.target
After=systemd-udev-settle.service local-fs.target
Before=network-pre.target nftables.service iptables.service netfilter-persistent.service firewalld.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""


def script(macs: Mapping[str, str]) -> str:
    """Gives every NIC its name; does nothing where all have theirs."""
    pairs = "\n".join(f"{name}={mac.lower()}" for name, mac in macs.items())
    return f"""\
#!/bin/sh
# written when this guest moved to VMware: the kernel names NICs by their place on the bus, these are their names by MAC
renamed=no
nics='
{pairs}
'
net=/sys/class/net
for nic in $nics; do # a name that another NIC has becomes free
    name=${{nic%%=*}}
    if [ -e $net/$name ] && [ "$(cat $net/$name/address)" != ${{nic#*=}} ]; then
        ip link set dev $name down
        ip link set dev $name name was-$name
    fi
done
for nic in $nics; do
    name=${{nic%%=*}}
    [ -e $net/$name ] && continue
    for path in $net/*; do
        if [ -e $path/device ] && [ "$(cat $path/address)" = ${{nic#*=}} ]; then
            ip link set dev ${{path##*/}} name $name && renamed=yes
        fi
    done
done
# udev gave up on these: it has to settle again what hangs on a NIC, by its right name
[ "$renamed" = yes ] && udevadm trigger --subsystem-match=net --action=add
exit 0
"""


def home(texts: Mapping[str, str]) -> str:
    """The file of rules that the guest's own udev writes, by whatever name its version has for it."""
    return next((path for path in HOMES if path in texts), RULES)


def rules(content: str, macs: Mapping[str, str], *, complete: bool = True, driver: str = "") -> str:
    """The rules without those that name a planned NIC by its place, or give its name or its MAC otherwise; where `complete`, with
    one for each NIC that none is sure to find on VMware, with a NIC of this driver.

    New ones are like those that are there: old versions of udev know other words.
    """
    wanted = {name: mac.lower() for name, mac in macs.items()}
    right: set[str] = set()
    kept, like = [], ""
    for _, whole, body, rule in _each(content):
        pairs = [(name, mac) for name in rule.names for mac in rule.macs] if rule else []
        holds = bool(rule and rule.holds(driver))
        like = like or (body.strip() if pairs and holds else "")
        ours = [pair for pair in pairs if pair[0] in wanted or pair[1] in wanted.values()]
        if rule and not rule.macs and set(rule.names) & set(wanted):
            continue  # by its place: that is another's now
        if rule and ours:
            if ours[0][0] in right or not rule.works or rule.xen or any(wanted.get(name) != mac for name, mac in pairs):
                continue
            right |= {ours[0][0]} if holds else set()
        kept.append(whole)
    new = "".join(kept)
    missing = [_line(name, mac, like) for name, mac in wanted.items() if name not in right and complete]
    return text.append(new, missing) if missing else new


def read(texts: Mapping[str, str]) -> dict[str, str]:
    """{name: MAC} of what the guest's rules, link files and lists of names tie together. A rule counts before a link file."""
    found: dict[str, str] = {}  # {MAC: name}
    for path in ("/etc/mactab", "/etc/iftab"):  # of nameif and ifrename
        for line in text.lines(texts.get(path, "")):
            words = line.partition("#")[0].split()
            mac = next((m for w in words[1:] if (m := address.mac(w))), "")
            if mac and words[1:2] != ["businfo"]:
                found[mac] = words[0]
    links: dict[str, str] = {}
    for _, unit in networkd.units(texts, ".link", []):
        if pair := _linked(unit):
            links.setdefault(*pair)  # the first that fits counts
    found |= links | _named(texts)
    return {name: mac for mac, name in found.items()}


def holding(texts: Mapping[str, str], driver: str) -> dict[str, str]:
    """{name: MAC} of what ties them together on VMware as well, with NICs of this driver: what does so only under Xen, or
    perhaps, is left out."""
    found: dict[str, str] = {}
    for _, unit in networkd.units(texts, ".link", []):
        if (pair := _linked(unit)) and networkd.meets(unit, driver, _KERNEL):
            found.setdefault(*pair)
    found |= _named(texts, driver)
    return {name: mac for mac, name in found.items()}


def _linked(unit: networkd.Sections) -> tuple[str, str] | None:
    """MAC and name that a link file ties together."""
    macs = [m for w in unit.words("Match", "PermanentMACAddress", "MACAddress") if (m := address.mac(w))]
    name = unit.last("Link", "Name")
    return (macs[0], name) if len(macs) == 1 and name and not unit.last("Link", "NamePolicy") else None


def _named(texts: Mapping[str, str], driver: str | None = None) -> dict[str, str]:
    """{MAC: name} of rules: the last counts, or the first with :=; with a driver, of those that are sure to hold with it."""
    found: dict[str, str] = {}
    final: set[str] = set()
    for _, _, rule in _rules(texts):
        counts = rule.works and rule.reached is not False if driver is None else rule.holds(driver)
        if counts and _NAME.match(rule.names[0]):
            found |= dict.fromkeys((mac for mac in rule.macs if mac not in final), rule.names[0])
            final |= set(rule.macs) if rule.final else set()
    return found


def renamed(texts: Mapping[str, str]) -> dict[str, str]:
    """{name that the kernel gave: new name} of rules and link files that go by it, or by Xen's bus: its first NIC is vif-0."""
    found: dict[str, str] = {}
    for _, old, new in by_name(texts):
        found.setdefault(old, new)
    for _, _, rule in _rules(texts):
        if not rule.macs and rule.reached is not False and _NAME.match(rule.names[0]):
            found |= {old: rule.names[0] for old in rule.kernels if _NAME.match(old)}
    return found


def by_name(texts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """`(path, old, new)` of the link files that name a NIC by the name that the kernel gave it, or by its place on Xen's bus."""
    found = []
    for path, unit in networkd.units(texts, ".link", []):
        old, new = unit.words("Match", "OriginalName"), unit.last("Link", "Name")
        if not old:
            old = [w.removeprefix("xen-") for w in unit.words("Match", "Path") if re.fullmatch(r"xen-vif-\d+", w)]
        if len(old) == 1 and re.fullmatch(r"vif-\d+|" + _NAME.pattern, old[0]) and new:
            found += [] if unit.words("Match", "MACAddress", "PermanentMACAddress") else [(path, old[0], new)]
    return found


def names_nics(path: str, content: str) -> bool:
    """Whether a file of rules names NICs."""
    return any(True for _ in _rules({path: content}))


def told(texts: Mapping[str, str]) -> list[Note]:
    """What is to be known of rules: those that never fit a NIC, and those that find one by something else than its MAC."""
    notes = []
    for path, line, rule in _rules(texts):
        place, nic = f"{path}:{line}", ", ".join(rule.names) or "–"
        if rule.reached is False:
            continue
        if rule.macs and not rule.works:
            notes.append(note("rule-never-fits", place=place, nic=nic))
        elif not rule.macs or not rule.names:
            notes.append(note("rule-not-by-mac", place=place, nic=nic))
    for path, unit in networkd.units(texts, ".link", []):
        macs = unit.words("Match", "MACAddress", "PermanentMACAddress")
        if posixpath.basename(path) < "10-" and not macs and networkd.meets(unit, "", _KERNEL):
            notes.append(note("link-file-first", file=path))
    return notes


def _rules(texts: Mapping[str, str]) -> Iterator[tuple[str, int, _Rule]]:
    """Every rule that names a NIC, with its file and line, in udev's order."""
    for path in sorted(p for p in texts if p.startswith(FOLDER)):
        for line, _, _, found in _each(texts[path]):
            if found is not None:
                yield path, line, found


def _each(content: str) -> Iterator[tuple[int, str, str, _Rule | None]]:
    """Of every logical line its number, how it stands, how it reads, and the rule where it names a NIC."""
    jump, read = _Jump(), 0
    for n, whole, body in _logical(content):
        read += len(whole)
        reached = jump.reached(_tokens(body), content[read:]) if "GOTO" in content else True
        rule = _rule(body)
        yield n, whole, body, replace(rule, reached=reached) if rule else None


def _logical(content: str) -> Iterator[tuple[int, str, str]]:
    """(number, as they stand, joined) of the lines that are one rule: a backslash at the end of a line joins the next."""
    whole, joined, began = "", "", 0
    for n, line in enumerate(text.lines(content), 1):
        body = text.parts(line)[0]
        whole, began = whole + line, began or n
        if body.lstrip().startswith("#"):
            if not joined:
                yield began, whole, ""
                whole, began = "", 0
        elif body.endswith("\\"):
            joined += body[:-1] + " "
        else:
            yield began, whole, joined + body
            whole, joined, began = "", "", 0
    if whole:
        yield began, whole, joined


def _line(name: str, mac: str, like: str) -> str:
    """A rule for a NIC: as `like` is, where that is of an old udev, which knows no ATTR."""
    old = _rule(like)
    if old and old.macs and not re.search(r"ATTRS?\{address\}", like):
        made = re.sub(re.escape(old.macs[0]), mac, like, flags=re.I)
        made = re.sub(r'KERNEL=="[^"]*"', 'KERNEL=="eth*"', made)
        made = re.sub(rf'([" ]){re.escape(old.names[0])}"', rf'\g<1>{name}"', made)
        new = _rule(made)
        if new and (new.names, new.macs, new.works) == ((name,), (mac,), True):
            return made
    return (
        f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", ATTR{{type}}=="1", '
        f'KERNEL=="eth*", NAME="{name}"'
    )


def _rule(line: str) -> _Rule | None:
    """What one logical line does; None where it names no NIC, or not when one is added."""
    tokens = _tokens(line)
    names = [v for key, op, _, v in tokens if key == "NAME" and op in ("=", ":=", "+=")][-1:]
    programs = [v for key, _, _, v in tokens if key.startswith(("IMPORT", "PROGRAM", "RUN"))]
    names += [m[1] for v in programs if (m := _PROGRAM.search(v))]
    if not (names or any(_RENAMES.search(v) for v in programs)) or not _of_nics(tokens):
        return None
    given = [
        (part, prefix) for key, op, prefix, value in tokens if key in _ADDRESS and op == "==" for part in value.split("|")
    ] or [(m[1].lower(), "") for v in programs if (m := re.search(r"\bnameif\s+\S+\s+([0-9a-fA-F:]{17})", v))]
    macs = [address.mac(part) for part, _ in given]
    works = any(mac and (part == mac or prefix == "i") for mac, (part, prefix) in zip(macs, given, strict=True))
    xen = any(key in _DRIVERS and op == "==" and _XEN.search(value) for key, op, _, value in tokens)
    kernels = [v for key, op, _, v in tokens if key in ("KERNEL", "KERNELS", "ID") and op == "=="]
    final = any(key == "NAME" and op == ":=" for key, op, _, _ in tokens)
    return _Rule(tuple(names), tuple(filter(None, macs)), tuple(kernels), works, xen, tokens, final)


def _fits(tokens: list[tuple[str, str, str, str]], driver: str) -> bool | None:
    """Whether a new NIC on VMware, with this driver, meets every condition but those on its MAC; None where nobody knows."""
    known = [_met(key, op, value, driver) for key, op, _, value in tokens if op in ("==", "!=") and key not in _ADDRESS]
    known += [None for key, op, _, value in tokens if key == "PROGRAM" and op == "=" and not _PROGRAM.search(value)]
    return False if False in known else None if None in known else True


def _met(key: str, op: str, value: str, driver: str) -> bool | None:
    """One condition."""
    having: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(("ACTION",), ("add",)),
        **dict.fromkeys(("SUBSYSTEM", "ENV{SUBSYSTEM}"), ("net",)),
        **dict.fromkeys(("KERNEL", "ENV{INTERFACE}"), _KERNEL),
        **dict.fromkeys(("SUBSYSTEMS", "BUS", "ENV{ID_BUS}"), ("pci",)),
        **dict.fromkeys(("DRIVER", "DRIVERS", "ENV{ID_NET_DRIVER}"), (driver or "?",)),
        **dict.fromkeys(("ATTR{type}", "ATTRS{type}", "SYSFS{type}"), ("1",)),
        **dict.fromkeys(("ATTR{dev_id}", "ATTRS{dev_id}"), ("0x0",)),
        **{"ATTR{dev_port}": ("0",), "ATTR{addr_len}": ("6",), "NAME": ("",), "ENV{DEVTYPE}": ("",)},
    }
    patterns = value.split("|")
    if all(p and not p.strip("*?") for p in patterns) and key not in having:
        return True if op == "==" and key in ("KERNELS", "ID", "DEVPATH", "ENV{ID_PATH}") else None
    if key not in having:
        return True if op == "!=" and _XEN.search(value) else None
    found = {any(fnmatch.fnmatchcase(one, p) for p in patterns) for one in having[key]}
    if having[key] == ("?",) and patterns not in (["?*"], ["*"]):
        return None  # the driver is not known
    return (True in found) == (op == "==") if len(found) == 1 else None


def _tokens(line: str) -> list[tuple[str, str, str, str]]:
    """`(key, operator, prefix, value)` of each; none of a comment."""
    if line.lstrip().startswith("#"):
        return []
    found = [(f"{m[1]}{{{m[2]}}}" if m[2] is not None else m[1], m[3], m[4], m[5]) for m in _TOKEN.finditer(line)]
    if not any(key == "SYSFS{address}" and op == "=" for key, op, _, _ in found):
        return found
    return [(k, "==" if op == "=" and (k in _MATCHES or k.startswith("SYSFS{")) else op, p, v) for k, op, p, v in found]


def _of_nics(tokens: list[tuple[str, str, str, str]]) -> bool:
    """Whether the rule is for NICs that are added."""
    for key, op, _, value in tokens:
        if key in ("SUBSYSTEM", "ACTION") and op in ("==", "!="):
            wanted = "net" if key == "SUBSYSTEM" else "add"
            if any(fnmatch.fnmatchcase(wanted, part) for part in value.split("|")) == (op == "!="):
                return False
    by = [key for key, op, _, _ in tokens if op == "=="]
    return "SUBSYSTEM" in by or any(key.endswith("{address}") for key in by)
