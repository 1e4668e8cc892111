"""What an export of XenServer or XCP-ng says of its guest: ova.xml, the first file of an XVA.

It is written as XML-RPC writes values: a struct whose `objects` lists records of the host's data base, each with its class, its
reference (`Ref:4`) and its fields, as the Citrix Hypervisor Management API names them. It comes from somebody else: it is read up
to a size and depth, without anything that it could declare.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hikkoshi.disk.source import SECTOR
from hikkoshi.errors import BadInput, Problem

LARGEST = 4 << 20  # bytes: a guest with 16 disks and 30 snapshots has a half of that
_DEEPEST = 24  # values in each other; XenServer writes eight
_NUMBERS = ("int", "i4", "i8")
_START = re.compile(r"\s*(?:<\?xml[^>]{0,200}\?>)?\s*<(?:value>\s*<struct>|appliance\b)")
_OFF = ("Halted", "")  # what the exported guest was, where its disks hold all of it
ANEW = "export the guest anew where it runs: xe vm-export vm=NAME filename=NAME.xva"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class DiskEntry:
    """One disk of the exported guest. `reference` names it in the export; sizes in bytes."""

    vdev: str  # xvda
    reference: str  # Ref:4
    size: int
    bootable: bool
    writable: bool


@dataclass(frozen=True)
class Export:
    """The guest of an export. `objects`: {class: {reference: fields}}, of all guests, for an export has its snapshots too."""

    reference: str
    vm: Record
    objects: Mapping[str, Mapping[str, Record]]
    disks: tuple[DiskEntry, ...]  # bootable ones first, then in their order; no CD drives

    def own(self, kind: str) -> list[Record]:
        """The devices of a class that this guest has."""
        return [fields for fields in self.objects.get(kind, {}).values() if fields.get("VM") == self.reference]

    @property
    def sizes(self) -> dict[str, int]:
        """{reference: bytes} of every disk in the export, those of snapshots too."""
        return {ref: number(fields, "virtual_size") for ref, fields in self.objects.get("VDI", {}).items()}


def is_export(text: str) -> bool:
    """Whether a text is an ova.xml, of whatever version."""
    return bool(_START.match(text.removeprefix("\ufeff")))


def parse(text: str, where: str) -> Export:
    """The one guest that ova.xml is of; `BadInput` with all that is wrong with it."""
    unusable = partial(Problem, code="xva-description-unusable", what="ova.xml does not describe one guest", where=where)
    try:
        whole = _tree(text)
        objects = _objects(whole)
    except (ElementTree.ParseError, ValueError, RecursionError) as e:
        found = "more values in each other than this can read" if isinstance(e, RecursionError) else str(e)
        raise BadInput(unusable(found=found, expected="what XenServer or XCP-ng writes", remedy=ANEW)) from None
    vms = {ref: vm for ref, vm in objects.get("VM", {}).items() if not vm.get("is_control_domain")}
    guests = vms if len(vms) == 1 else {ref: vm for ref, vm in vms.items() if not vm.get("is_a_snapshot")}
    if len(guests) != 1:
        found = f"{len(guests)} guests" + (f": {', '.join(word(vm, 'name_label') for vm in guests.values())}" if guests else "")
        raise BadInput(unusable(found=found, expected="one guest, with its snapshots or without", remedy=ANEW))
    ((reference, vm),) = guests.items()
    disks, problems = _disks(reference, objects, where)
    if (state := word(vm, "power_state")) not in _OFF:
        problems.append(
            Problem(
                code="xva-not-shut-down",
                what="the guest was not shut down when it was exported",
                where=where,
                found=state,
                expected="Halted: what a suspended guest had in its memory is not on its disks",
                remedy=f"resume it, shut it down from inside, and then {ANEW}",
            )
        )
    if problems:
        raise BadInput(*problems)
    return Export(reference, vm, objects, disks)


def word(fields: Record, key: str) -> str:
    """A field that is a text; empty where there is none, or no text."""
    return value if isinstance(value := fields.get(key), str) else ""


def part(fields: Record, key: str) -> Record:
    """A field that has fields itself."""
    return value if isinstance(value := fields.get(key), dict) else {}


def number(fields: Record, key: str) -> int:
    """A field that is a whole number, which XenServer writes as a text; -1 where it is none."""
    value = fields.get(key)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1


def _disks(vm: str, objects: Mapping[str, Mapping[str, Record]], where: str) -> tuple[tuple[DiskEntry, ...], list[Problem]]:
    found: list[tuple[bool, int, DiskEntry]] = []
    problems: list[Problem] = []
    for vbd in objects.get("VBD", {}).values():
        if vbd.get("VM") != vm or vbd.get("type", "Disk") != "Disk" or vbd.get("empty"):
            continue
        place, reference = word(vbd, "userdevice"), word(vbd, "VDI")
        at = f"{where}, disk {place or '?'}"
        problem = partial(Problem, code="xva-disk-unusable", what="a disk of the exported guest cannot be used", where=at)
        vdev = _vdev(place)
        vdi = objects.get("VDI", {}).get(reference)
        size = number(vdi or {}, "virtual_size")
        if not vdev:
            problems.append(problem(found=f"the place {place!r}", expected="a number, or a name such as xvda", remedy=ANEW))
        elif vdi is None:
            remedy = f"see that its storage is there, and {ANEW}"
            problems.append(problem(found="its content is not part of the export", expected="every disk", remedy=remedy))
        elif size <= 0 or size % SECTOR:
            said = f"a size of {vdi.get('virtual_size')!r}"[:80]
            problems.append(problem(found=said, expected="a multiple of 512 bytes, and more than none", remedy=ANEW))
        elif vdev in {other.vdev for _, _, other in found} or reference in {other.reference for _, _, other in found}:
            problems.append(problem(found=f"{vdev} or {reference} twice", expected="each disk once", remedy=ANEW))
        else:
            bootable = vbd.get("bootable") is True
            writable = word(vbd, "mode") != "RO"
            order = int(place) if place.isdigit() else 1 << 32
            found.append((not bootable, order, DiskEntry(vdev, reference, size, bootable, writable)))
    return tuple(disk for *_, disk in sorted(found, key=lambda one: (one[0], one[1], one[2].vdev))), problems


def _vdev(place: str) -> str:
    """What the guest calls a disk: XenServer counts them from 0, which is xvda. Empty for what is no place."""
    if re.fullmatch(r"(?:xvd|hd|sd)[a-z]{1,2}", place):
        return place
    n = int(place) if re.fullmatch(r"[0-9]{1,3}", place) else 702
    letters = f"{chr(ord('a') + n // 26 - 1) if n >= 26 else ''}{chr(ord('a') + n % 26)}"
    return f"xvd{letters}" if n < 702 else ""


def _tree(text: str) -> Any:
    if len(text) > LARGEST:
        raise ValueError(f"{len(text):,} characters, and at most {LARGEST:,} are read")
    text = text.removeprefix("\ufeff")
    if "<!" in text:
        raise ValueError("it declares something, or has a comment: neither is part of an export")
    root = ElementTree.fromstring(text)
    if root.tag == "appliance":
        raise ValueError("the form of XenServer 3 and 4.0, whose disks are in packed chunks of their own kind")
    if root.tag != "value":
        raise ValueError(f"<{root.tag[:40]}> where <value> begins an export")
    return _value(root, 0)


def _value(node: Element, depth: int) -> Any:
    """What XML-RPC means by a <value>; `ValueError` for what it has no meaning for."""
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} values in each other")
    if len(node) == 0:
        return node.text or ""
    kind, text = node[0], (node[0].text or "").strip()
    if len(node) > 1:
        raise ValueError("a <value> with several values")
    if kind.tag == "struct":
        found: dict[str, Any] = {}
        for member in kind:
            name, value = member.findtext("name"), member.find("value")
            if name is None or value is None or name in found:
                raise ValueError("a <member> without name or value, or twice")
            found[name] = _value(value, depth + 1)
        return found
    if kind.tag == "array":
        return [_value(value, depth + 1) for value in kind.findall("data/value")]
    if kind.tag == "boolean":
        return text == "1"
    if kind.tag in _NUMBERS:
        if not re.fullmatch(r"-?[0-9]{1,19}", text):
            raise ValueError("a number that is none")
        return int(text)
    return kind.text or ""  # a string; what else there is, dates and floating-point numbers, nobody asks for


def _objects(whole: Any) -> dict[str, dict[str, Record]]:
    listed = whole.get("objects") if isinstance(whole, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of objects")
    found: dict[str, dict[str, Record]] = {}
    seen: set[str] = set()
    for one in listed:
        kind, reference, fields = (one.get(key) for key in ("class", "id", "snapshot")) if isinstance(one, dict) else (None,) * 3
        if not isinstance(kind, str) or not isinstance(reference, str) or not isinstance(fields, dict) or reference in seen:
            raise ValueError("an object without class, id or fields, or with the id of another")
        seen.add(reference)
        found.setdefault(kind, {})[reference] = fields
    return found
