"""A guest as its Xen configuration describes it: an xm or xl file, what Xen's tools print, or the ova.xml of an XVA. Parsed,
never executed.

What becomes of every setting: `settings.py`. Forms of disks and NICs: `disks.py`, `vifs.py`.
"""

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pydantic import Field, JsonValue

from hikkoshi.artefact import Frozen
from hikkoshi.disk import export
from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import redaction
from hikkoshi.xen import disks, foreign, listing, literal, settings, vifs, xva
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.literal import Settings
from hikkoshi.xen.value import Value
from hikkoshi.xen.vifs import Vif

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")  # what xend allows, but no slash and no leading dash
_MOST_NICS = 64
_QEMU_DEVICE = re.compile(  # an option of QEMU that gives a machine a disk, a NIC, or something of its host
    r"(?<!\S)-(?:drive|blockdev|[hf]d[a-d]|cdrom|mtdblock|sd|pflash|netdev|nic|net|device|usbdevice|usb|fsdev|virtfs|chardev|serial"
    r"|parallel|soundhw|audiodev|tpmdev|object)(?![\w-])(?:\s+[a-z][a-z0-9-]*(?![\w:/.]|=))?"
)
_LOST = "\ufffd"  # stands for bytes that are no UTF-8
_PV_GRUB = re.compile(
    r"(?:.*/)?(?:(?:pv-?grub|grub2?-?(?:i386|x86_64)?-xen|grub\.xen)[^/]*|(?:i386|x86_64|grub2?)-xen(?:_pvh)?/[^/]+)",
    re.IGNORECASE,
)


class XenGuest(Frozen):
    """One guest's configuration, without secrets. `other` has the names of settings that have no field of their own.

    Of these, what `settings.py` knows is there with its value, and numbers are; any other text could be a password.
    """

    name: str
    uuid: str = ""
    type: Literal["pv", "hvm", "pvh"] = "pv"
    memory_mb: int
    maxmem_mb: int = 0  # 0: not set, so the same as memory_mb
    vcpus: int = 1  # that it starts with
    max_vcpus: int = 0  # that it could be given while it runs; 0: no more
    kernel: str = ""  # path on the Dom-0; empty where the guest brings its own
    ramdisk: str = ""
    root: str = ""
    extra: str = ""
    cmdline: str = ""  # in place of root and extra
    bootloader: str = ""
    disks: tuple[XenDisk, ...] = ()
    vifs: tuple[Vif, ...] = ()
    other: dict[str, JsonValue] = Field(default_factory=dict)
    passed: tuple[str, ...] = ()  # lines with code that sets nothing that is read
    form: str = ""  # of the text, where it is what a tool printed: Xen starts no guest from it

    @property
    def by_pv_grub(self) -> bool:
        """Whether `kernel` is GRUB for Xen, so that the guest boots by a menu of its own."""
        return bool(_PV_GRUB.fullmatch(self.kernel)) or str(self.other.get("firmware", "")).startswith("pvgrub")

    @property
    def arguments(self) -> str:
        """What Xen gives the guest's kernel, beside what the guest's own menu does. To pv-grub it only says where the menu is."""
        if self.by_pv_grub:
            return ""
        parts = self._by_xm("nfs_root", "nfsroot={nfs_server}:{nfs_root}"), self._address(), self.extra
        return self.cmdline or " ".join(filter(None, (self.root and f"root={self.root}", *parts)))

    def _by_xm(self, key: str, form: str) -> str:
        said = {k: str(self.other.get(k) or "") for k in ("nfs_root", "nfs_server")}
        return form.format(**said) if said[key] else ""

    def _address(self) -> str:
        """The argument ip= that xm makes of several settings; xl does not."""
        keys = ("ip", "nfs_server", "gateway", "netmask", "hostname", "interface", "dhcp")
        said = {key: str(self.other.get(key) or "") for key in keys}
        if not said["ip"] and said["dhcp"] in ("", "off"):
            return ""
        said = {"nfs_server": "127.0.255.255", "interface": "eth0", "dhcp": "off"} | {k: v for k, v in said.items() if v}
        return "ip=" + ":".join(said.get(key, "") for key in keys)


class _Reader:
    """Takes settings out of the resolved file one by one, and gathers what is wrong with them."""

    def __init__(self, found: Settings, where: str, *, exported: bool) -> None:
        self._exported = exported
        self.left = dict(found.values)
        self.lines, self.items = found.lines, found.items
        self.where = where
        self.problems: list[tuple[int, Problem]] = []  # each with its line, 0 where it is of none

    def wrong(self, key: str, found: str, expected: str, remedy: str = "correct the line", item: int = -1) -> None:
        """Note what is wrong with a setting, or with one entry of its list."""
        entries = self.items.get(key, [])
        number = entries[item] if 0 <= item < len(entries) else self.lines.get(key, 0)
        problem = Problem(
            code="xen-value-unusable",
            what=f"{key!r} in the Xen configuration is not usable",
            where=f"{self.where}:{number}" if number else self.where,
            found=redaction.shown(redaction.shown(found), redaction.LIST),
            expected=expected,
            remedy=f"set it on the XenServer, and {export.ANEW}" if self._exported else remedy,
        )
        self.problems.append((number, problem))

    def text(self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "a text in quotes") -> str:
        value = self.left.pop(key, None)
        if value is None:
            return ""
        if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
            self.wrong(key, repr(value), expected)
            return ""
        return value

    def number(self, key: str, default: int | None) -> int:
        """A positive whole number, bare or in quotes as xm allows it; without a default it has to be there."""
        value = self.left.pop(key, None)
        if value is None:
            if default is None:
                self.wrong(key, "not there", "a whole number", f"add the line {key} = NUMBER")
            return default or 0
        if isinstance(value, str) and re.fullmatch(r"\s*(?:\d{1,9}|0x[0-9a-fA-F]{1,8})\s*", value):
            value = int(value, 16 if "x" in value else 10)
        if not isinstance(value, int) or not 0 < value < 1 << 31:
            self.wrong(key, repr(value), "a whole number above 0")
            return default or 0
        return value

    def texts(self, key: str) -> list[str]:
        value = self.left.pop(key, None)
        if value is None:
            return []
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            self.wrong(key, repr(value), f"a list of texts: {key} = [ '…', '…' ]")
            return []
        return [item for item in items if isinstance(item, str)]


def parse(text: str, where: str) -> XenGuest:
    """The guest that a configuration describes; `BadInput` lists every line that cannot be used, as WHERE:LINE."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n")
    form = ""
    if export.is_export(text):
        form, found = xva.FORM, Settings(xva.settings(text, where))
    elif listing.is_listing(text):
        form, values = listing.settings(text, where)
        found = Settings(values, passed=listing.before(text))
    else:
        foreign.refuse(text, where)
        found = literal.assignments(text, where, settings.DECISIVE)
    reader = _Reader(found, where, exported=form == xva.FORM)
    name = reader.text("name", _NAME, "letters, digits and . _ : + -, not beginning with a dash")
    if "name" not in found.values:
        reader.wrong("name", "not there", "the guest's name", "add the line name = '…'")
    maxmem = reader.number("maxmem", 0)
    online, most = _processors(reader)
    own_disks = _entries(reader, "disk", lambda item, _: disks.disk(item), disks.EXPECTED)
    own_vifs = _vifs(reader)
    guest = {
        "name": name,
        "uuid": _uuid(reader),
        "type": _type(reader),
        "memory_mb": reader.number("memory", maxmem or None),
        "maxmem_mb": maxmem,
        "vcpus": online,
        "max_vcpus": most if most > online else 0,
        **{key: reader.text(key) for key in ("kernel", "ramdisk", "bootloader")},
        **{key: redaction.shown(_joined(reader, key), "/proc/cmdline") for key in ("root", "extra", "cmdline")},
        "disks": own_disks,
        "vifs": own_vifs,
        "other": {key: _shown(key, value) for key, value in reader.left.items()},
        "passed": found.passed,
        "form": form,
    }
    _unique(reader, "disk", [d.vdev for d in own_disks], "disks", "every disk under a name of its own")
    _unique(reader, "vif", [v.mac for v in own_vifs if v.mac], "NICs", "every NIC with a MAC of its own")
    if reader.problems:
        raise BadInput(*(problem for _, problem in sorted(reader.problems, key=lambda pair: pair[0])))
    return XenGuest.model_validate(guest)


def _joined(reader: _Reader, key: str) -> str:
    """A text, or, as xl allows for arguments of the kernel, a list of them."""
    return " ".join(reader.texts(key)) if isinstance(reader.left.get(key), list) else reader.text(key)


def _processors(reader: _Reader) -> tuple[int, int]:
    """(How many it starts with, how many it could be given). vcpu_avail is xm's: a bit for each that it starts with."""
    written = reader.left.get("vcpu_avail")
    vcpus, most = reader.number("vcpus", 1), reader.number("maxvcpus", 0)
    if written is None:
        return vcpus, max(vcpus, most)
    text = str(written).strip()
    mask = int(text, 16 if text.lower().startswith("0x") else 10) if re.fullmatch(r"\d{1,40}|0[xX][0-9a-fA-F]{1,32}", text) else 0
    online = (mask & ((1 << min(vcpus, 4096)) - 1)).bit_count()
    if not online:
        reader.wrong("vcpu_avail", repr(written), "a number with a bit for each processor that it starts with")
    return max(online, 1), max(vcpus, most)


def _shown(key: str, value: Value) -> JsonValue:
    """A value as it may be kept: of settings that are known, and numbers that are no secret."""
    if key in settings.FOR_QEMU:
        words = " ".join(map(str, value)) if isinstance(value, list) else str(value or "")
        return [m[0] for m in _QEMU_DEVICE.finditer(words)] or None
    known = key in settings.SETTINGS and key not in settings.SECRET
    if isinstance(value, int | float) and (known or not re.search(r"pass|pw|secret", key, re.IGNORECASE)):
        return value
    if not known:
        return None
    if isinstance(value, list):
        return [_text(key, ", ".join(map(str, item)) if isinstance(item, list) else str(item)) for item in value]
    return _text(key, value) if isinstance(value, str) else None


def _text(key: str, value: str) -> str:
    if key in settings.ADDRESSES:
        return value
    return redaction.shown(redaction.shown(value, "/proc/cmdline"), redaction.LIST)


def _uuid(reader: _Reader) -> str:
    text = reader.text("uuid")
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        reader.wrong("uuid", repr(text), "a UUID such as 0f7b2cd1-5c5e-4d0e-9a62-2b8f4a6f0c11")
        return ""


def _type(reader: _Reader) -> str:
    """`type` is xl's word; `builder` the older one: 'linux' and 'generic' are paravirtual."""
    builder = reader.text("builder")
    kind = reader.text("type") or {"linux": "pv", "generic": "pv", "": "pv"}.get(builder, builder)
    if kind not in ("pv", "hvm", "pvh"):
        reader.wrong("type" if "type" in reader.lines else "builder", repr(kind), "pv, hvm or pvh (builder: linux, generic, hvm)")
    return kind


def _entries(reader: _Reader, key: str, read: Callable[[str, int], _T], expected: str) -> list[_T]:
    found: list[_T] = []
    for n, item in enumerate(reader.texts(key)):
        try:
            if _LOST in item:
                raise ValueError("it has bytes in it that are no UTF-8")
            found.append(read(item, n))
        except ValueError as e:
            reader.wrong(key, f"{item!r}: {e}" if key == "disk" else f"NIC {n}, {item!r}: {e}", expected, item=n)
    return found


def _vifs(reader: _Reader) -> list[Vif]:
    """The NICs; xm's `nics` adds as many as the list is short of."""
    found = _entries(reader, "vif", vifs.vif, "mac=00:16:3e:…,bridge=…")
    wanted = reader.number("nics", 0) if reader.left.get("nics") not in (None, 0, "0", -1) else 0
    if wanted > _MOST_NICS:
        reader.wrong("nics", str(wanted), f"at most {_MOST_NICS} NICs")
    return found + [Vif()] * (min(wanted, _MOST_NICS) - len(found))


def _unique(reader: _Reader, key: str, seen: Sequence[str], what: str, expected: str) -> None:
    for one in sorted({x for x in seen if seen.count(x) > 1}):
        reader.wrong(key, f"{one} on {seen.count(one)} {what}", expected)


def beyond(own: XenGuest, moved: XenGuest) -> tuple[str, ...]:
    """The disks and NICs that one configuration has and the other has not, as a person would name them."""
    targets, macs = {d.target for d in moved.disks}, {v.mac for v in moved.vifs}
    return (
        *(f"{d.vdev} ({d.target})" for d in own.disks if not d.cdrom and d.target not in targets),
        *(f"NIC {v.mac or 'without a MAC'}" for v in own.vifs if v.mac not in macs),
    )


def table(guest: XenGuest) -> list[dict[str, str]]:
    """What is used of the configuration, as rows for a reader."""
    memory = f"{guest.memory_mb} MB" + (f", at most {guest.maxmem_mb} MB" if guest.maxmem_mb else "")
    replaced = guest.root or guest.extra
    processors = f"{guest.vcpus} vCPU" + (f" of {guest.max_vcpus} that it could have" if guest.max_vcpus else "")
    rows = [
        ("name, kind", ", ".join(filter(None, (guest.name, guest.type, guest.uuid, guest.form and f"from {guest.form}")))),
        ("processors, memory", f"{processors}, {memory}"),
        ("boots by", _boots_by(guest)),
        *((("arguments of its kernel", guest.arguments),) if guest.arguments else ()),
        *((("not used, for cmdline replaces it", f"{guest.root} {guest.extra}"),) if guest.cmdline and replaced else ()),
        *((d.vdev, str(d)) for d in guest.disks),
        *((f"NIC {n}", str(v)) for n, v in enumerate(guest.vifs)),
    ]
    return [{"what": what, "found": found} for what, found in rows]


def _boots_by(guest: XenGuest) -> str:
    if guest.by_pv_grub:
        told = f"; the Dom-0 names {menu}" if (menu := guest.cmdline or guest.extra) else ""
        return f"its own menu, through pv-grub ({guest.kernel or guest.other['firmware']}{told})"
    if guest.type == "hvm" and not guest.bootloader and (not guest.kernel or guest.kernel.rpartition("/")[2] == "hvmloader"):
        return f"its own boot loader, by a BIOS ({guest.kernel or 'hvmloader'})" + (f", {guest.ramdisk}" if guest.ramdisk else "")
    parts = (
        guest.bootloader,
        guest.kernel and f"kernel {guest.kernel} of the Dom-0",
        guest.ramdisk and f"ramdisk {guest.ramdisk}",
    )
    return ", ".join(filter(None, parts)) or "none named"


def rest(guest: XenGuest) -> list[dict[str, str]]:
    """What else the configuration says, and what becomes of it: a row for every setting and for every line of code."""
    rows = [(key, _words(value), *_fate(key, value)) for key, value in guest.other.items()]
    lines = [line.partition(", ") for line in guest.passed]
    why = "no part of what Xen lists" if guest.form else "code that sets nothing that is read"
    code = [(number, words, "means nothing", why) for number, _, words in lines]
    return [dict(zip(("setting", "value", "what becomes of it", "why"), row, strict=True)) for row in (*rows, *code)]


def _fate(key: str, value: JsonValue) -> tuple[str, str]:
    if key in settings.FOR_QEMU and not value:
        return "means nothing", "arguments of QEMU that add no device"
    return settings.of(key).fate, settings.of(key).why


def _words(value: JsonValue) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "not kept" if value is None else str(value)
