r"""/etc/lvm/lvm.conf: which devices LVM looks at for its physical volumes.

A value is a string or an array of strings over any number of lines; where a setting is there twice, the last one counts. Of a
filter each string begins with `a` (take it) or `r` (leave it), and the next character stands around the pattern, or opens a
bracket. For each of a device's names the first pattern that fits it decides: where one name is taken, the device is; else where
one is left, it is not; and where none of its names fits any pattern, it is taken.

Sources: lvm.conf(5); lvm2, libdm/libdm-config.c (tokens), lib/filters/filter-regex.c, libdm/regex (what a pattern may have).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from hikkoshi.guest.device import UNKNOWN, Disk, split

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
    nth: int  # of the file's settings, from 1

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
            first = _counting(new_conf, key)[0]
            taken = f'"a|^{device}$|", {new_conf[first.start : first.end]}'
            new_conf = new_conf[: first.start] + (f"[ {taken} ]" if first.lone else taken) + new_conf[first.end :]
    return new_conf


def hidden(before: str, after: str, key: str, disk: Disk) -> list[str]:
    """The disks' physical volumes that `before` let LVM see, and `after` does not."""
    old, new = _counting(before, key), _counting(after, key)
    own = [p["device"] for p in disk.partitions if p.get("fstype") == "LVM2_member" and split(p["device"])[0]]
    seen = [device for device in own if _seen(old, device, disk)]
    if not seen and any(p.get("mountpoint") and not split(p["device"])[0] for p in disk.partitions):
        seen = own  # a volume is mounted, so what is left out there is no name of these disks
    return [device for device in seen if (first := _first(new, device)) and first.text[0] == "r"]


def _seen(old: list[_Value], device: str, disk: Disk) -> bool:
    """Whether a filter let LVM see a physical volume by what it was called before. Which of the disk's names the guest had is
    not sure: it had those that a pattern means in particular, but for one that only leaves out all disks of another kind."""
    whole, number = split(device)
    names = [f"/dev/{name}{number}" for name in disk.called(whole)] + disk.numbered(device)
    unknown = any(v.text[0] == "a" and re.search(r"/by-(?!path/xen|id/lvm-pv)", v.text) for v in old if v.text)  # links
    firsts = [(name, first) for name in names if (first := _first(old, name))]
    particular = [(name, first) for name, first in firsts if not _fits(first.pattern, "/dev/loop0")]
    if unknown or any(first.text[0] == "a" for _, first in particular):
        return True
    for name, first in particular:
        other = re.sub(r"(?<=/dev/[hsv]d)[a-z]+", "zz", name)
        if other == name or disk.is_called(name) or not _fits(first.pattern, other):
            return False
    return len(firsts) < len(names) or any(first.text[0] == "a" for _, first in firsts)


def _first(patterns: list[_Value], name: str) -> _Value | None:
    """The first pattern that fits a name, which takes the device or leaves it; None where none does, and it is taken."""
    return next((value for value in patterns if _fits(value.pattern, name)), None)


def _fits(pattern: str, name: str) -> bool:
    if not pattern or len(pattern) > _LONGEST or len(re.findall(r"[*+?]", pattern)) > _MOST:
        return False
    # LVM knows no counts and no classes: braces are themselves, and so is a bracket within brackets
    plain = re.sub(r"(?<!\\)[{}]|(?<=\[)\[", r"\\\g<0>", pattern)
    try:
        return re.search(plain, name) is not None
    except re.error:
        return False


def _counting(conf: str, key: str) -> list[_Value]:
    """The strings of a setting, of the last one where it is there twice."""
    found = [v for v in _values(conf) if v.key == key]
    return [v for v in found if v.nth == found[-1].nth]


def _values(conf: str) -> Iterator[_Value]:
    """All strings of the file with the settings that they are values of."""
    key, waiting, inside, nth = "", "", False, 0
    for token in _TOKEN.finditer(conf):
        word = token[0]
        if word.startswith("#"):
            continue
        if word == "=":
            key, nth = waiting.rpartition("/")[2], nth + 1
        elif word == "[":
            inside = True
        elif word == "]":
            key, inside = "", False
        elif word[0] in "\"'":
            if key:
                yield _Value(key, token.start(), token.end(), word[1:-1], not inside, nth)
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
    names = {name: whole[5:] for whole in disk.disks for name in disk.called(whole)}
    longest = "|".join(sorted(names, key=len, reverse=True))
    new = re.sub(rf"(?<![A-Za-z0-9])(?:{longest})(?![a-z])", lambda m: names[m[0]], pattern)
    # a class of letters, or any: xvd[a-z], xvd.*, xvd
    new = re.sub(r"(?<![A-Za-z0-9])xvd(?![a-z])", "sd", new)
    new = disk.renamed(new)
    at = value.text.index(pattern)
    return value.text[:at] + new + value.text[at + len(pattern) :]
