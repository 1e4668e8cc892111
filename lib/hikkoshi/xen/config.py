"""A guest as its xm or xl configuration describes it. The file is parsed, never executed.

Forms of disks and NICs: Xen's xl-disk-configuration(5) and xl-network-configuration(5), and the older forms that CentOS 5's
xm wrote, such as `tap:aio:/var/lib/xen/images/web.img,xvda,w`.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue

from hikkoshi.artefact import Frozen
from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import redaction
from hikkoshi.xen import literal

FORMATS = ("raw", "qcow", "qcow2", "vhd", "qed")
SHOWN = ("on_poweroff", "on_reboot", "on_crash", "on_watchdog", "boot", "cpus", "keymap", "serial", "timer_mode", "tsc_mode")
_REMOTE = ("iscsi", "nbd", "enbd", "drbd")
_PREFIXES = ("tap", "tap2", "tapdisk", "aio", "sync", "ioemu", "file", "phy", *FORMATS)
_ACCESS: dict[str, Literal["r", "w", "w!"]] = {"r": "r", "ro": "r", "w": "w", "rw": "w", "w!": "w!", "!": "w!"}
_VDEV = re.compile(r"(?:(?:xvd|sd|hd)[a-z]{1,2}\d{0,3}|d\d+(?:p\d+)?)")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")  # what xend allows, but no slash and no leading dash
_VIF_KEYS = ("mac", "bridge", "ip", "model", "type", "script", "vifname", "rate", "mtu", "backend", "gatewaydev")


class XenDisk(Frozen):
    """One disk. `target` is an absolute path on the Dom-0, empty for an empty cd-rom drive."""

    vdev: str  # xvda
    target: str
    format: Literal["raw", "qcow", "qcow2", "vhd", "qed"] = "raw"
    access: Literal["r", "w", "w!"] = "w"  # w!: writable although another guest may have it too
    cdrom: bool = False
    prefixes: tuple[str, ...] = ()  # of the old form: ('tap', 'aio')
    options: tuple[str, ...] = ()  # everything else, as written

    @property
    def partition(self) -> int:
        """Number of the partition that the guest sees instead of a whole disk (xvda1: 1); 0 for a whole disk."""
        found = re.match(r"(?:(?:xvd|sd|hd)[a-z]+|d\d+p)(\d+)$", self.vdev)
        return int(found[1]) if found else 0


class Vif(Frozen):
    """One NIC; its place in the list is its number: the first is the guest's eth0."""

    mac: str = ""  # lower case; empty: Xen draws one at every start
    bridge: str = ""
    ip: str = ""
    model: str = ""
    type: str = ""
    script: str = ""
    vifname: str = ""
    rate: str = ""
    mtu: str = ""
    backend: str = ""
    gatewaydev: str = ""
    other: dict[str, str] = Field(default_factory=dict)


class XenGuest(Frozen):
    """One guest's configuration, without secrets. `other` has the names of settings that have no field of their own.

    Of these, numbers and what `SHOWN` names are there with their values; a text could be anything, a password too.
    """

    name: str
    uuid: str = ""
    type: Literal["pv", "hvm", "pvh"] = "pv"
    memory_mb: int
    maxmem_mb: int = 0  # 0: not set, so the same as memory_mb
    vcpus: int = 1
    kernel: str = ""  # path on the Dom-0; empty where the guest brings its own
    ramdisk: str = ""
    root: str = ""
    extra: str = ""
    bootloader: str = ""
    disks: tuple[XenDisk, ...] = ()
    vifs: tuple[Vif, ...] = ()
    other: dict[str, JsonValue] = Field(default_factory=dict)


class _Reader:
    """Takes settings out of the resolved file one by one, and gathers what is wrong with them."""

    def __init__(self, values: Mapping[str, literal.Value], lines: Mapping[str, int], where: str) -> None:
        self.left = dict(values)
        self.lines = lines
        self.where = where
        self.problems: list[tuple[int, Problem]] = []  # each with its line, 0 where it is of none

    def wrong(self, key: str, found: str, expected: str, remedy: str = "correct the line") -> None:
        line = f":{self.lines[key]}" if key in self.lines else ""
        found = redaction.shown(found)
        problem = Problem(
            code="xen-value-unusable",
            what=f"{key!r} in the Xen configuration is not usable",
            where=f"{self.where}{line}",
            found=found,
            expected=expected,
            remedy=remedy,
        )
        self.problems.append((self.lines.get(key, 0), problem))

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
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value):
            value = int(value)
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
    values, lines = literal.assignments(text, where)
    reader = _Reader(values, lines, where)
    name = reader.text("name", _NAME, "letters, digits and . _ : + -, not beginning with a dash")
    if "name" not in values:
        reader.wrong("name", "not there", "the guest's name", "add the line name = '…'")
    found = {
        "name": name,
        "uuid": _uuid(reader),
        "type": _type(reader),
        "memory_mb": reader.number("memory", None),
        "maxmem_mb": reader.number("maxmem", 0),
        "vcpus": reader.number("vcpus", 1),
        **{key: reader.text(key) for key in ("kernel", "ramdisk", "root", "bootloader")},
        "extra": redaction.shown(reader.text("extra"), "/proc/cmdline"),
        "disks": _disks(reader),
        "vifs": _vifs(reader),
        "other": {key: _shown(key, value) for key, value in reader.left.items()},
    }
    if reader.problems:
        raise BadInput(*(problem for _, problem in sorted(reader.problems, key=lambda pair: pair[0])))
    return XenGuest.model_validate(found)


def _shown(key: str, value: literal.Value) -> str | int | float | None:
    if isinstance(value, str):
        return value if key in SHOWN else None
    return value if isinstance(value, int | float) and not re.search(r"pass|pw|secret", key, re.I) else None


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


def _disks(reader: _Reader) -> list[XenDisk]:
    disks: list[XenDisk] = []
    for item in reader.texts("disk"):
        try:
            disks.append(disk(item))
        except ValueError as e:
            reader.wrong(
                "disk", f"{item!r}: {e}", "TARGET,FORMAT,VDEV,ACCESS, the same as KEY=VALUE, or PREFIX:TARGET,VDEV,ACCESS"
            )
    seen = [d.vdev for d in disks]
    for vdev in sorted({v for v in seen if seen.count(v) > 1}):
        reader.wrong("disk", f"{vdev} on {seen.count(vdev)} disks", "every disk under a name of its own")
    return disks


def disk(item: str) -> XenDisk:
    """One entry of `disk`; `ValueError` says what is wrong with it.

    Named `target=` takes the rest of the entry, so it may hold commas. In the positional form VDEV may stand second, where
    xm has it: formats and device names cannot be confused.
    """
    item = redaction.shown(item, redaction.LIST)
    found: dict[str, str] = {}
    options: list[str] = []
    prefixes: list[str] = []
    rest: str | None = item.strip()
    while rest is not None:
        if rest.startswith("target="):
            word, rest = rest, None
        else:
            head, comma, tail = rest.partition(",")
            word, rest = head.strip(), tail.lstrip() if comma else None
        key, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[a-z][a-z0-9-]*", key):
            if key in ("target", "format", "vdev", "access", "devtype"):
                _once(found, key, value.strip())
            else:
                options.append(word)
        elif word in ("cdrom", "discard", "no-discard", "direct-io-safe"):
            _once(found, "devtype", word) if word == "cdrom" else options.append(word)
        elif "target" not in found:
            word, prefixes = _stripped(word)
            found["target"] = word
        else:
            _positional(found, word, bool(prefixes))
    return _disk(found, prefixes, options)


def _once(found: dict[str, str], key: str, value: str) -> None:
    if key in found:
        raise ValueError(f"{key} is given twice")
    found[key] = value


def _stripped(word: str) -> tuple[str, list[str]]:
    """The target without its stack of old prefixes, and the prefixes: `tap:aio:/x` has two."""
    prefixes = []
    while (m := re.match(r"([a-z][a-z0-9]*):", word)) is not None:
        if m[1] in _REMOTE:
            raise ValueError(
                f"the disk is reached over {m[1]}: copy it into an image file, or attach it to the Dom-0 as a block device, "
                "and name that in a copy of the configuration; name the copy as `config`, and this file as `start_config`"
            )
        if m[1] not in _PREFIXES:
            raise ValueError(f"unknown prefix {m[0]}")
        prefixes.append(m[1])
        word = word[m.end() :]
    return word, prefixes


def _positional(found: dict[str, str], word: str, old_form: bool) -> None:
    if not old_form and "vdev" not in found and "format" not in found and not _is_vdev(word):
        found["format"] = word
    elif "vdev" not in found:
        found["vdev"] = word
    elif "access" not in found:
        found["access"] = word
    else:
        raise ValueError(f"{word!r} is one value too many")


def _is_vdev(word: str) -> bool:
    return bool(_VDEV.fullmatch(re.sub(r"^(ioemu:|/dev/)", "", word).split(":")[0]))


def _disk(found: Mapping[str, str], prefixes: list[str], options: list[str]) -> XenDisk:
    vdev, _, kind = re.sub(r"^(ioemu:|/dev/)", "", found.get("vdev", "")).partition(":")
    devtype = found.get("devtype") or kind or "disk"
    if devtype not in ("disk", "cdrom"):
        raise ValueError(f"unknown device type {devtype!r}")
    if not _VDEV.fullmatch(vdev):
        raise ValueError(f"{vdev!r} is no virtual device such as xvda" if vdev else "the virtual device is missing")
    image = found.get("format") or next((p for p in prefixes if p in FORMATS), "raw")
    if image not in FORMATS:
        raise ValueError(f"unknown format {image!r}")
    access = _ACCESS.get(found.get("access") or ("r" if devtype == "cdrom" else "w"))
    if access is None:
        raise ValueError(f"unknown access {found['access']!r}")
    target = found.get("target", "")
    if not target and devtype != "cdrom":
        raise ValueError("the target is missing")
    if target and not target.startswith("/"):
        target = f"/dev/{target}"
    return XenDisk.model_validate(
        {
            "vdev": vdev,
            "target": target,
            "format": image,
            "access": access,
            "cdrom": devtype == "cdrom",
            "prefixes": tuple(prefixes),
            "options": tuple(options),
        }
    )


def _vifs(reader: _Reader) -> list[Vif]:
    vifs: list[Vif] = []
    for n, item in enumerate(reader.texts("vif")):
        try:
            vifs.append(vif(item, n))
        except ValueError as e:
            reader.wrong("vif", f"NIC {n}, {item!r}: {e}", "mac=00:16:3e:…,bridge=…")
    seen = [v.mac for v in vifs if v.mac]
    for mac in sorted({m for m in seen if seen.count(m) > 1}):
        reader.wrong("vif", f"{mac} on {seen.count(mac)} NICs", "every NIC with a MAC of its own")
    return vifs


def vif(item: str, number: int) -> Vif:
    """One entry of `vif`, the `number`-th from 0; `ValueError` says what is wrong with it."""
    item = redaction.shown(item, redaction.LIST)
    found: dict[str, str] = {}
    other: dict[str, str] = {}
    for word in filter(None, (w.strip() for w in item.split(","))):
        key, equals, value = (part.strip() for part in word.partition("="))
        key = {"netdev": "gatewaydev", "dev": "gatewaydev"}.get(key, key)
        if not equals:
            raise ValueError(f"{word!r} is not KEY=VALUE")
        _once(found if key in _VIF_KEYS else other, key, value)
    if "mac" in found:
        found["mac"] = found["mac"].lower()
        if not _MAC.fullmatch(found["mac"]) or int(found["mac"][:2], 16) & 1:
            raise ValueError(f"{found['mac']!r} is not the MAC of one NIC")
    if other.get("devid", str(number)) != str(number):
        raise ValueError(f"devid {other['devid']} is not its place in the list, {number}: put the NICs into that order")
    return Vif(**found, other=other)


def beyond(own: XenGuest, moved: XenGuest) -> tuple[str, ...]:
    """The disks and NICs that one configuration has and the other has not, as a person would name them."""
    targets, macs = {d.target for d in moved.disks}, {v.mac for v in moved.vifs}
    return (
        *(f"{d.vdev} ({d.target})" for d in own.disks if not d.cdrom and d.target not in targets),
        *(f"NIC {v.mac or 'without a MAC'}" for v in own.vifs if v.mac not in macs),
    )


def table(guest: XenGuest) -> list[dict[str, str]]:
    """The configuration as rows for a reader."""
    memory = f"{guest.memory_mb} MB" + (f", at most {guest.maxmem_mb} MB" if guest.maxmem_mb else "")
    loader = guest.bootloader or (f"kernel {guest.kernel} of the Dom-0" if guest.kernel else "none named")
    return [
        {"what": "name, kind", "found": f"{guest.name}, {guest.type}"},
        {"what": "processors, memory", "found": f"{guest.vcpus} vCPU, {memory}"},
        {"what": "boots by", "found": loader},
        *(
            {"what": d.vdev, "found": f"{d.target or '(empty)'}, {d.format}, {'cd-rom' if d.cdrom else d.access}"}
            for d in guest.disks
        ),
        *(
            {"what": f"NIC {n}", "found": f"{v.mac or 'a new MAC at every start'} on {v.bridge or 'the default bridge'}"}
            for n, v in enumerate(guest.vifs)
        ),
    ]
