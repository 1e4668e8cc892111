r"""/etc/lvm/lvm.conf: which devices LVM looks at for its physical volumes.

A value is a string or an array of strings over any number of lines; of a filter each begins with `a` (take it) or `r` (leave
it), and the next character stands around the pattern, or opens a bracket. The first pattern that fits one of a device's names
decides; where none fits, the device is taken.

Sources: lvm.conf(5); lvm2, libdm/libdm-config.c (tokens), lib/filters/filter-regex.c, libdm/regex (what a pattern may have).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from hikkoshi.guest.device import NEW, UNKNOWN, Disk

_FILTERS = ("filter", "global_filter")
_TOKEN = re.compile(r"#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|[A-Za-z_][\w./-]*|[=\[\]{},]")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_LONGEST = 300  # of a pattern that is tried; one that is longer, or has more repetitions than _MOST, is told
_MOST = 6


class _Value(NamedTuple):
    """One string of a setting's value, where it stands in the file."""

    key: str  # without its section
    start: int  # with the quotes
    end: int
    text: str  # without them
    lone: bool  # in no array

    @property
    def pattern(self) -> str:
        """The expression of a filter's string; empty where it is no filter's."""
        closing = _BRACKETS.get(self.text[1:2], self.text[1:2])
        whole = self.key in _FILTERS and self.text[:1] in ("a", "r") and len(self.text) > 2 and self.text.endswith(closing)
        return self.text[2:-1] if whole else ""


def prepared(conf: str, disk: Disk = UNKNOWN) -> str:
    """The file with the disk's new name in its patterns. A physical volume of this disk that was seen is seen: where a
    pattern keeps it out afterwards, its own name is taken first."""
    out, last = [], 0
    for value in _values(conf):
        new = _renamed(value, disk)
        out += [conf[last : value.start + 1], new]
        last = value.end - 1
    new_conf = "".join([*out, conf[last:]])
    for key in _FILTERS:
        for device in hidden(conf, new_conf, key, disk):
            first = next(v for v in _values(new_conf) if v.key == key)
            taken = f'"a|^{device}$|", {new_conf[first.start : first.end]}'
            new_conf = new_conf[: first.start] + (f"[ {taken} ]" if first.lone else taken) + new_conf[first.end :]
    return new_conf


def hidden(before: str, after: str, key: str, disk: Disk) -> list[str]:
    """The disk's physical volumes that `before` let LVM see, by whatever name, and `after` does not."""
    old, new = ([v for v in _values(conf) if v.key == key] for conf in (before, after))
    found = []
    for p in disk.partitions:
        number = p["device"][len(NEW) :]
        if p.get("fstype") != "LVM2_member" or not p["device"].startswith(NEW) or _sees(new, [p["device"]]):
            continue
        names = [f"/dev/{name}{number}" for name in disk.names] + disk.numbered(int(number or 0))
        by_link = any(v.text[0] == "a" and "/by-" in v.text for v in old if v.text)  # names that nobody knows here
        if by_link or any(_sees(old, [name]) for name in names):
            found.append(p["device"])
    return found


def _sees(patterns: list[_Value], names: list[str]) -> bool:
    for value in patterns:
        pattern = value.pattern
        if not pattern or len(pattern) > _LONGEST or len(re.findall(r"[*+?]", pattern)) > _MOST:
            continue
        try:  # LVM knows no counts: braces are themselves
            fits = any(re.search(re.sub(r"(?<!\\)[{}]", r"\\\g<0>", pattern), name) for name in names)
        except re.error:
            continue
        if fits:
            return value.text[0] == "a"
    return True


def _values(conf: str) -> Iterator[_Value]:
    """All strings of the file with the settings that they are values of."""
    key, waiting, inside = "", "", False
    for token in _TOKEN.finditer(conf):
        word = token[0]
        if word.startswith("#"):
            continue
        if word == "=":
            key = waiting.rpartition("/")[2]
        elif word == "[":
            inside = True
        elif word == "]":
            key, inside = "", False
        elif word[0] in "\"'":
            if key:
                yield _Value(key, token.start(), token.end(), word[1:-1], not inside)
            else:
                waiting = word[1:-1]
            key = key if inside else ""
        elif word in "{}":
            key = ""
        elif word != "," and not inside:
            waiting, key = word, ""


def _renamed(value: _Value, disk: Disk) -> str:
    if value.key == "types":
        return "sd" if value.text == "xvd" else value.text
    if value.key not in (*_FILTERS, "preferred_names", "scan"):
        return disk.renamed(value.text)
    pattern = value.pattern if value.key in _FILTERS else value.text
    if not pattern:
        return value.text
    new = pattern
    for name in sorted(disk.names, key=len, reverse=True):
        if name != "sda":
            new = re.sub(rf"(?<![A-Za-z0-9]){name}(?![a-z])", "sda", new)
    # a class of letters, or any: xvd[a-z], xvd.*, xvd
    new = re.sub(r"(?<![A-Za-z0-9])xvd(?![a-z])", "sd", new)
    new = disk.renamed(new)
    at = value.text.index(pattern)
    return value.text[:at] + new + value.text[at + len(pattern) :]
