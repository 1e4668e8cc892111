"""The kernel's switches for passing packets on: what turns one, and which of them are on in the end.

Sources: ip-sysctl of the kernel's documentation, sysctl(8), sysctl.d(5).
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hikkoshi.guest.files import text

BLANK = " \t\r\n"  # what sysctl calls one; a no-break space is part of a name


@dataclass(frozen=True)
class Setting:
    """One line that turns a switch of the kernel."""

    family: str  # ipv4, ipv6
    nic: str  # all, one of them, or a pattern
    on: bool
    line: str
    path: str
    doubt: str = ""  # why it may have no effect, or one that is not known

    def __str__(self) -> str:
        return f"{self.line.strip()} in {self.path}"


def doubtful(line: str, path: str, why: str) -> Setting:
    """A line that may switch it on, and nobody can tell from here."""
    return Setting("ipv4", f"by {path}", on=True, line=line, path=path, doubt=why)


def replayed(settings: Iterable[Setting]) -> Setting | None:
    """The last switch that is on in the end. IPv6 is passed on by the switch for all NICs alone."""
    switches: dict[tuple[str, str], Setting] = {}
    for s in settings:
        names = "*" if s.nic == "all" else s.nic
        switches = {key: o for key, o in switches.items() if key[0] != s.family or not fnmatch.fnmatchcase(key[1], names)}
        switches[s.family, s.nic] = s
    return next((s for s in reversed(switches.values()) if s.on), None)


def switch(key: str, value: str, line: str, path: str, doubt: str = "") -> Iterator[Setting]:
    """The setting that a key of sysctl and its value are; the first separator of a key says which of the two it has."""
    key = key.removeprefix("/proc/sys/").lstrip("/")
    first = re.search(r"[./]", key)
    parts = key.translate(str.maketrans("./", "/.")).split("/") if first and first[0] == "." else key.split("/")
    number = re.match(r"-?(0[xX][0-9a-fA-F]+|\d+)(?!\S)", value)
    if not number:
        return  # the kernel takes a number, and whatever stands behind a blank; of anything else it leaves all as it is
    on = bool(int(number[1], 16 if number[1][:2] in ("0x", "0X") else 10))
    match parts:
        case ["net", "ipv4", "ip_forward"]:
            yield Setting("ipv4", "all", on, line, path, doubt)
        case ["net", "ipv4" | "ipv6", "conf", "all" | "*", "forwarding"]:
            yield Setting(parts[1], "all", on, line, path, doubt)
        case ["net", "ipv4", "conf", nic, "forwarding"] if nic != "lo":
            later = "which counts for NICs that appear after it alone" if nic == "default" else ""
            yield Setting("ipv4", nic, on, line, path, doubt or later)
        case ["net", "ipv6", "conf", nic, "force_forwarding"] if nic != "lo":
            yield Setting("ipv6", nic, on, line, path, doubt)


def of_sysctl(content: str, path: str, doubt: str = "") -> Iterator[Setting]:
    """What a file of sysctl turns, line by line."""
    for line in text.lines(content):
        key, is_one, value = line.strip(BLANK).removeprefix("-").partition("=")
        if is_one and not key.startswith(("#", ";")):
            yield from switch(key.strip(BLANK), value.strip(BLANK), line, path, doubt)
