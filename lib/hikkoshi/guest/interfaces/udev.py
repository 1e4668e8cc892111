"""udev's rules that name NICs, as udev reads them: udev(7), and its versions back to 2006."""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hikkoshi.guest.files import text
from hikkoshi.guest.interfaces import address

FOLDER = "/etc/udev/rules.d/"
NAME = re.compile(r"[A-Za-z][\w.-]{0,14}$")  # without anything that udev would put in
# KEY{attribute} operator "value"; in newer versions with e for escapes or i for either case before it
_TOKEN = re.compile(r'[\s,]*([A-Z_]+)(?:\{([^{}"]*)\})?\s*(==|!=|\+=|-=|:=|=)\s*([ei]?)"((?:[^"\\]|\\.)*)"')
_PROGRAM = re.compile(  # of SUSE 10, or own
    r"(?:rename_netiface\s+\S+|\bip\s+link\s+set\s+(?:dev\s+)?\S+\s+name|\bnameif)\s+([A-Za-z][\w.-]*)(?=$|[\s;&|'\"])"
)
_RENAMES = re.compile(r"\bnameif\b|\bifrename\b|\bip\s+link\s+set\s.*\sname\b")
KERNEL = tuple(f"eth{n}" for n in range(10))  # what the kernel calls NICs on VMware, by their order
_MATCHES = ("ACTION", "BUS", "DRIVER", "ID", "KERNEL", "SUBSYSTEM")  # with one =, too, in udev up to 0.55: Enterprise Linux 4
_XEN = re.compile(r"xen|\bvif|netfront", re.I)
_ADDRESS = ("ATTR{address}", "ATTRS{address}", "SYSFS{address}")
_DRIVERS = ("DRIVER", "DRIVERS", "SUBSYSTEMS", "KERNELS", "ID", "BUS", "DEVPATH", "ENV{ID_NET_DRIVER}", "ENV{ID_PATH}")


@dataclass(frozen=True)
class NicRule:
    """What a rule does for NICs."""

    names: tuple[str, ...]  # that it gives; with what udev puts in, as eth%n, they stay as they are
    macs: tuple[str, ...]  # that it finds a NIC by, lower case
    kernels: tuple[str, ...]  # the names that the kernel or Xen's bus has for what it is for: eth0, vif-0
    works: bool  # whether one of these MACs is ever found: udev compares letter by letter, and the kernel writes small ones
    xen: bool  # fits NICs of Xen only
    tokens: list[tuple[str, str, str, str]]  # all of it: key, operator, prefix, value
    final: bool = False  # no later rule changes the name, as with := or OPTIONS="last_rule"
    reached: bool | None = True  # not where a GOTO jumps over it; None where nobody knows

    def holds(self, driver: str) -> bool:
        """Whether the NIC with its MAC gets its name on VMware, too, with a NIC of this driver; not where nobody knows."""
        return self.works and self.reached is True and _fits(self.tokens, driver) is True

    def renames(self) -> dict[str, str]:
        """{name that the kernel gave, or place on Xen's bus: what it makes of that}, where it finds no NIC by its MAC."""
        if self.macs or not self.names or self.reached is False:
            return {}
        new = self.names[0]
        if NAME.match(new):
            return {old: new for old in self.kernels if NAME.match(old)}
        patterns = [p for pattern in self.kernels or ("eth*",) for p in pattern.split("|")]
        found = {}
        for stem, n in ((stem, str(n)) for stem in ("eth", "vif-") for n in range(10)):
            made = re.sub(r"%k|\$kernel", stem + n, re.sub(r"%n|\$number", n, new))
            if any(fnmatch.fnmatchcase(stem + n, p) for p in patterns) and NAME.match(made) and made != stem + n:
                found[stem + n] = made
        return found


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
        fits = None if any(op != "=" and _XEN.search(v) for _, op, _, v in tokens) else _fits(tokens, "")  # before, or after
        if f'LABEL="{label}"' in later and not self.over and fits is not False:
            self.over, self.perhaps = (label, self.perhaps) if fits and there else ("", self.perhaps | {label})
        return there


def rules(texts: Mapping[str, str]) -> Iterator[tuple[str, int, NicRule]]:
    """Every rule that names a NIC, with its file and line, in udev's order."""
    for path in sorted(p for p in texts if p.startswith(FOLDER)):
        for line, _, _, found in each(texts[path]):
            if found is not None:
                yield path, line, found


def each(content: str) -> Iterator[tuple[int, str, str, NicRule | None]]:
    """Of every logical line its number, how it stands, how it reads, and the rule where it names a NIC."""
    jump, read = _Jump(), 0
    for n, whole, body in logical(content):
        read += len(whole)
        reached = jump.reached(_tokens(body), content[read:]) if "GOTO" in content else True
        rule = rule_of(body)
        yield n, whole, body, replace(rule, reached=reached) if rule else None


def logical(content: str) -> Iterator[tuple[int, str, str]]:
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


def rule_of(line: str) -> NicRule | None:
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
    given = given or [(mac, "") for key, op, _, v in tokens if op == "==" and (mac := _mac_in(key, v))]
    macs = [address.mac(part) for part, _ in given]
    works = any(mac and (part == mac or prefix == "i") for mac, (part, prefix) in zip(macs, given, strict=True))
    xen = any(key in _DRIVERS and op == "==" and _XEN.search(value) for key, op, _, value in tokens)
    kernels = [v for key, op, _, v in tokens if key in ("KERNEL", "KERNELS", "ID") and op == "=="]
    kernels += [
        p for k, op, _, v in tokens if k in ("DEVPATH", "ENV{ID_PATH}") and op == "==" for p in re.findall(r"\bvif-\d+", v)
    ]
    final = any((key, op) == ("NAME", ":=") or (key == "OPTIONS" and "last_rule" in v) for key, op, _, v in tokens)
    return NicRule(tuple(names), tuple(filter(None, macs)), tuple(kernels), works, xen, tokens, final)


def _mac_in(key: str, value: str) -> str:
    """The MAC by which other words find a NIC: what a program printed, the name that systemd makes of it."""
    if key == "ENV{ID_NET_NAME_MAC}" and (m := re.fullmatch(r"[a-z]{2}x([0-9a-f]{12})", value)):
        return ":".join(re.findall("..", m[1]))
    return address.mac(value) if key == "RESULT" else ""


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
        **dict.fromkeys(("KERNEL", "ENV{INTERFACE}"), KERNEL),
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
