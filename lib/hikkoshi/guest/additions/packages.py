"""Packages, deb and rpm: what a file holds, what a guest has installed, and whether the one fits the other.

Sources: deb-control(5), deb-version(7), Debian Policy 7.1 (relations); rpm's manual "Package file format", V3 to V4.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from hikkoshi import tool
from hikkoshi.artefact import Frozen
from hikkoshi.errors import ToolFailed

STATUS = "/var/lib/dpkg/status"  # in the guest
ARCHITECTURES = {  # {the guest's: (of deb, of rpm)}
    "x86_64": (("amd64", "all"), ("x86_64", "noarch")),
    "i686": (("i386", "all"), ("i386", "i486", "i586", "i686", "noarch")),
}
DRIVERS = re.compile(
    r"/(?:vmxnet3?|vmw_pvscsi|pvscsi|vmw_vmxnet3|mptspi|mptsas)\.ko(?:\.\w+)?$|^(?:\.?/)?usr/src/.*(?:vmxnet|pvscsi|mptspi|mptsas)"
)
_LEAD, _HEADER = b"\xed\xab\xee\xdb", b"\x8e\xad\xe8\x01"
_LARGEST = 64 << 20  # bytes of a header
_TAGS = {1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1022: "arch", 1116: "at", 1117: "base", 1118: "folder"}


class Software(Frozen):
    """What a package file says of itself."""

    name: str
    version: str
    arch: str


@dataclass(frozen=True)
class PackageFile:
    """A package file, opened: `depends` are its relations, of a deb only; `drivers` what it would replace of the kernel's own."""

    software: Software
    kind: str  # deb, rpm
    depends: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()


def read(path: Path) -> PackageFile:
    """Look at a package file; `ValueError` says why it is none."""
    with path.open("rb") as f:
        head = f.read(8)
    if head.startswith(_LEAD):
        return _rpm(path)
    if head != b"!<arch>\n":
        raise ValueError("neither a deb nor an rpm")
    try:
        told = tool.run(["dpkg-deb", "--field", path], timeout=60).stdout
        listed = tool.run(["dpkg-deb", "--contents", path], timeout=300).stdout
    except ToolFailed as e:
        raise ValueError(e.problems[0].found or e.problems[0].what) from None
    return deb(told, listed.splitlines())


def deb(control: str, listed: Iterable[str] = ()) -> PackageFile:
    """A deb by its control file, and what `dpkg-deb --contents` lists; `ValueError` where it does not name itself."""
    fields = _fields(control)
    try:
        own = Software(name=fields["Package"], version=fields["Version"], arch=fields["Architecture"])
    except KeyError as e:
        raise ValueError(f"its control file has no {e.args[0]}") from None
    depends = [d for key in ("Pre-Depends", "Depends") for d in fields.get(key, "").split(",") if d.strip()]
    paths = (re.split(r" -> | link to ", line.split(maxsplit=5)[-1])[0] for line in listed)
    drivers = tuple(p for p in paths if DRIVERS.search(p))
    return PackageFile(own, "deb", tuple(" ".join(d.split()) for d in depends), drivers)


def _rpm(path: Path) -> PackageFile:
    try:
        with path.open("rb") as f:
            f.seek(96)
            _header(f)  # signatures
            f.seek(-(-f.tell() // 8) * 8)
            found = _header(f)
        own = Software(name=found["name"][0], version=f"{found['version'][0]}-{found['release'][0]}", arch=found["arch"][0])
        paths = [found["folder"][n] + base for n, base in zip(found.get("at", ()), found.get("base", ()), strict=True)]
    except (struct.error, KeyError, IndexError, ValueError):
        raise ValueError("an rpm whose header cannot be read") from None
    return PackageFile(own, "rpm", (), tuple(p for p in paths if DRIVERS.search(p)))


def _header(f: BinaryIO) -> dict[str, list[Any]]:
    """One header of an rpm: {name of a tag: its values}."""
    magic, count, size = struct.unpack(">4s4xII", f.read(16))
    if magic != _HEADER or max(count * 16, size) > _LARGEST:
        raise ValueError(magic)
    index, store, found = f.read(16 * count), f.read(size), dict[str, list[Any]]()
    for n in range(count):
        tag, kind, at, many = struct.unpack_from(">IIII", index, 16 * n)
        if tag not in _TAGS or many > size:
            continue
        if kind == 4:
            found[_TAGS[tag]] = list(struct.unpack_from(f">{many}I", store, at))
        elif kind in (6, 8, 9):
            found[_TAGS[tag]] = [s.decode("utf-8", "replace") for s in store[at:].split(b"\0", many)[:many]]
    return found


def _fields(paragraph: str) -> dict[str, str]:
    return {m[1]: m[2].strip() for m in re.finditer(r"^([A-Za-z][\w-]*):((?:.*)(?:\n[ \t].*)*)", paragraph, re.M)}


def installed(status: str) -> dict[str, str]:
    """{package: version} of what is installed whole, by dpkg's status; what others provide has the version that they say."""
    own, virtual = {}, {}
    for paragraph in status.split("\n\n"):
        fields = _fields(paragraph)
        if not fields.get("Status", "").endswith(" ok installed") or "Package" not in fields:
            continue
        own[fields["Package"]] = fields.get("Version", "")
        for provided in filter(str.strip, fields.get("Provides", "").split(",")):
            if m := re.match(r"\s*([\w.+-]+)(?::\w+)?(?:\s*\(\s*=\s*([^)\s]+)\s*\))?", provided):
                virtual[m[1]] = m[2] or ""
    return virtual | own


def unmet(depends: tuple[str, ...], have: Mapping[str, str]) -> list[str]:
    """The relations that nothing of what is there meets."""
    return [d for d in depends if not any(_met(choice, have) for choice in d.split("|"))]


def _met(relation: str, have: Mapping[str, str]) -> bool:
    m = re.match(r"\s*([\w.+-]+)(?::\w+)?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^)\s]+)\s*\))?", relation)
    if not m or m[1] not in have:
        return False
    if not m[2]:
        return True
    if not have[m[1]]:  # provided, without a version
        return False
    order = compare(have[m[1]], m[3])
    held = {"<<": order < 0, "=": order == 0, ">>": order > 0, "<": order <= 0, ">": order >= 0}  # < and > are the old <= and >=
    return held[m[2].removesuffix("=") or "="]


def compare(one: str, other: str) -> int:
    """Debian's order of versions: negative where `one` is older."""
    for a, b in zip(_parts(one), _parts(other), strict=True):
        for (x, m), (y, n) in zip_longest(_pieces(a), _pieces(b), fillvalue=("", 0)):
            if x != y and (order := _weigh(x, y)):
                return order
            if m != n:
                return m - n
    return 0


def _parts(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return epoch, upstream if hyphen else rest, revision if hyphen else "0"


def _pieces(part: str) -> list[tuple[str, int]]:
    return [(m[1], int(m[2] or 0)) for m in re.finditer(r"([^0-9]*)([0-9]*)", part) if m[0]]


def _weigh(one: str, other: str) -> int:
    """A tilde before the end, the end before letters, letters before all else."""
    for x, y in zip_longest(one, other, fillvalue=""):
        a, b = (-1 if c == "~" else 0 if not c else ord(c) if c.isalpha() else ord(c) + 256 for c in (x, y))
        if a != b:
            return a - b
    return 0
