"""A disk as an entry of `disk` in a Xen configuration describes it.

Forms: xl-disk-configuration(5), as libxlu_disk_l.l of Xen's tools reads them, and the older ones of xm, such as
`tap:aio:/var/lib/xen/images/web.img,xvda,w` and `phy:vg0/a,sda1,w,storage`.
"""

import re
from collections.abc import Mapping
from typing import Literal

from hikkoshi.artefact import Frozen
from hikkoshi.secret import redaction

FORMATS = ("raw", "qcow", "qcow2", "vhd", "qed")
EXPECTED = "TARGET,FORMAT,VDEV,ACCESS, the same as KEY=VALUE, or PREFIX:TARGET,VDEV,ACCESS"
DOM0 = ("", "0", "Domain-0", "dom0")  # as entries call the domain that has the disk
_TAPS = ("tap", "tap2", "tapdisk")
_PREFIXES = (*_TAPS, "aio", "sync", "ioemu", "file", "phy", *FORMATS)
_FLAGS = ("discard", "no-discard", "direct-io-safe", "colo", "no-colo", "trusted", "untrusted")
_NAMED = ("target", "format", "vdev", "access", "devtype", "script", "backend")
_KNOWN = (  # further keys of xl's
    *("backendtype", "direct-io-safe", "discard", "colo-host", "colo-port", "colo-export", "active-disk", "hidden-disk"),
    *("specification", "transport", "grant_usage", "protocol"),
)
_USUAL_SCRIPTS = ("", "block", "/etc/xen/scripts/block")
_ACCESS: dict[str, Literal["r", "w", "w!"]] = {"r": "r", "ro": "r", "w": "w", "rw": "w", "w!": "w!", "!": "w!"}
_VDEV = re.compile(r"(?:(?:xvd|sd|hd|vd)[a-z]{1,2}\d{0,3}|d\d+(?:p\d+)?)")
_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|\d{3,10}", re.IGNORECASE)
_NO_PATH = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|(?:iqn|eui|naa)\.)")  # rbd:pool/image, nbd://host, iqn.2001-05.com.example
_MAJORS = {202: ("xvd", 4), 8: ("sd", 4), 3: ("hd", 6), 22: ("hd", 6)}  # {number of a driver: names, bits of a partition}


class XenDisk(Frozen):
    """One disk. `target` is an absolute path on the Dom-0, empty for an empty cd-rom drive; else `elsewhere` says why."""

    vdev: str  # xvda
    target: str
    format: Literal["raw", "qcow", "qcow2", "vhd", "qed", "xva"] = "raw"  # xva: `target` is the export that has this disk in it
    access: Literal["r", "w", "w!"] = "w"  # w!: writable although another guest may have it too
    cdrom: bool = False
    prefixes: tuple[str, ...] = ()  # of the old form: ('tap', 'aio')
    options: tuple[str, ...] = ()  # everything else, as written
    script: str = ""  # the program on the Dom-0 that makes a device out of `target`, where it is not the usual one
    backend: str = ""  # the domain that has the disk, where it is not the Dom-0

    @property
    def partition(self) -> int:
        """Number of the partition that the guest sees instead of a whole disk (xvda1: 1); 0 for a whole disk."""
        found = re.match(r"(?:(?:xvd|sd|hd|vd)[a-z]+|d\d+p)(\d+)$", self.vdev)
        return int(found[1]) if found else 0

    @property
    def elsewhere(self) -> str:
        """Why the target is no path of the Dom-0; empty where it is one."""
        if self.script:
            return f"the script {self.script} reaches {self.target!r}"
        if self.backend:
            return f"the domain {self.backend} has {self.target!r}"
        return f"{self.target!r} is no path" if self.target and not self.target.startswith("/") else ""

    def __str__(self) -> str:
        parts = (
            self.target or "(empty)",
            self.format,
            "cd-rom, not moved" if self.cdrom else self.access,
            *self.options,
            *((f"by the script {self.script}",) if self.script else ()),
            *((f"of the domain {self.backend}",) if self.backend else ()),
        )
        return ", ".join(parts)


def path(written: str) -> str:
    """A target as Xen takes it: what is relative is below /dev. What no path can be stays as it is written."""
    return written if not written or written.startswith("/") or _NO_PATH.match(written) else f"/dev/{written}"


def disk(item: str) -> XenDisk:
    """One entry of `disk`; `ValueError` says what is wrong with it.

    Named `target=` takes the rest of the entry, so it may hold commas. In the positional form VDEV may stand second, where
    xm has it: formats and device names cannot be confused.
    """
    found: dict[str, str] = {}
    options: list[str] = []
    prefixes: list[str] = []
    rest: str | None = item.strip()
    while rest is not None:
        if rest.startswith("target="):
            word, rest = rest.removesuffix(","), None
        else:
            head, comma, tail = rest.partition(",")
            word, rest = head.strip(), tail.lstrip() if comma else None
        key, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[A-Za-z][\w-]*\s*", key):
            if key in _NAMED:
                _once(found, key, value.strip())
            elif key in _KNOWN:
                options.append(word)
            else:
                near = key.strip().lower()
                raise ValueError(f"{key!r} is no key of a disk" + (f": write {near}= without a space" if near in _NAMED else ""))
        elif word in ("cdrom", *_FLAGS):
            _once(found, "devtype", word) if word == "cdrom" else options.append(word)
        elif "target" not in found:
            found["target"] = _stripped(word, prefixes, found)
        else:
            _positional(found, word, old_form=bool(prefixes or found.get("script")), last=rest is None)
    return _disk(found, prefixes, options)


def of_xend(uname: str, vdev: str, access: str, backend: str = "") -> str:
    """The entry for a disk as xend lists it: a target that has commas in it only the named form can hold."""
    if "," not in uname:
        return ",".join((uname, vdev, access, *((backend,) if backend else ())))
    prefixes: list[str] = []
    found = {"vdev": vdev, "access": access, "backend": backend}
    target = _stripped(uname, prefixes, found)
    found["format"] = next((p for p in prefixes if p in FORMATS), "")
    return "".join(f"{key}={value}," for key, value in found.items() if value) + f"target={target}"


def _once(found: dict[str, str], key: str, value: str) -> None:
    if found.get(key) and found[key] != value:  # what is empty is not said yet
        raise ValueError(f"{key} is given twice")
    found[key] = value


def _stripped(word: str, prefixes: list[str], found: dict[str, str]) -> str:
    """The target without its stack of old prefixes, which are added to `prefixes`: `tap:aio:/x` has two.

    Every other prefix is a script of its own to xend and xl: they run block-PREFIX for what is behind it.
    """
    while (m := re.match(r"([a-z][a-z0-9]*):", word)) is not None:
        if m[1] not in _PREFIXES:
            if prefixes and prefixes[-1] in _TAPS:
                raise ValueError(f"unknown format {m[1]!r}")
            found["script"] = f"block-{m[1]}"
            return word[m.end() :]
        prefixes.append(m[1])
        word = word[m.end() :]
    return word


def _positional(found: dict[str, str], word: str, *, old_form: bool, last: bool) -> None:
    may_be_format = "vdev" not in found and "format" not in found and not _is_vdev(word)
    if may_be_format and (word in FORMATS or not word or not old_form):
        found["format"] = word
    elif "vdev" not in found:
        found["vdev"] = word
    elif "access" not in found:
        found["access"] = word
    elif old_form and "backend" not in found:
        found["backend"] = word  # as xm has it, and then the protocol
    elif old_form and "protocol" not in found:
        found["protocol"] = word
    elif word or not last:
        raise ValueError(f"{word!r} is one value too many")


def _is_vdev(word: str) -> bool:
    name = _called(word).split(":")[0]
    return bool(_VDEV.fullmatch(name) or _NUMBER.fullmatch(name))


def _called(word: str) -> str:
    return re.sub(r"^(?:ioemu:)?(?:/dev/)?", "", word)


def _named(number: str) -> str:
    """The name of a device that is given by its number, see xen-vbd-interface(7); the number where it has none."""
    n = int(number, 0)
    if n >> 28 == 1:
        whole, part = n >> 8 & 0xFFFFF, n & 0xFF
        return f"d{whole}p{part}" if part else f"d{whole}"
    names, bits = _MAJORS.get(n >> 8, ("", 0))
    whole, part = (n & 0xFF) >> bits, (n & 0xFF) & ((1 << bits) - 1)
    letter = chr(ord("a") + whole + (2 if n >> 8 == 22 else 0))
    return f"{names}{letter}{part or ''}" if names else number


def _access(word: str) -> Literal["r", "w", "w!"] | None:
    """How a guest may use a disk. xm's block script only looks for w and !: `wr` and `rw!` are fine to it."""
    if word in _ACCESS or set(word) - set("rw!"):
        return _ACCESS.get(word)
    return ("w!" if "!" in word else "w") if "w" in word else "r"


def _shown(target: str, *, local: bool) -> str:
    """A target without secrets. A path of the Dom-0 is what it is: only behind a comma there may be more than a path."""
    if not local or not target.startswith("/"):
        return redaction.shown(target, redaction.LIST)
    name, comma, more = target.partition(",")
    return name + redaction.shown(comma + more, redaction.LIST) if comma else target


def _disk(found: Mapping[str, str], prefixes: list[str], options: list[str]) -> XenDisk:
    vdev, _, kind = _called(found.get("vdev", "")).partition(":")
    devtype = found.get("devtype") or kind or "disk"
    if devtype not in ("disk", "cdrom"):
        raise ValueError(f"unknown device type {devtype!r}")
    if _NUMBER.fullmatch(vdev):
        vdev = _named(vdev)
    if not _VDEV.fullmatch(vdev):
        raise ValueError(f"{vdev!r} is no virtual device such as xvda" if vdev else "the virtual device is missing")
    image = found.get("format") or next((p for p in prefixes if p in FORMATS), "raw")
    if image not in (*FORMATS, *(("empty",) if devtype == "cdrom" else ())):
        raise ValueError(f"unknown format {image!r}")
    access = _access(found.get("access") or ("r" if devtype == "cdrom" else "w"))
    if access is None:
        raise ValueError(f"unknown access {found['access']!r}")
    target, script, backend = (found.get(key, "") for key in ("target", "script", "backend"))
    if not target and devtype != "cdrom":
        raise ValueError("the target is missing")
    script, backend = "" if script in _USUAL_SCRIPTS else script, "" if backend in DOM0 else backend
    below_dev = not script and not backend and (not prefixes or "phy" in prefixes)
    return XenDisk.model_validate(
        {
            "vdev": vdev,
            "target": _shown(path(target) if below_dev else target, local=not script and not backend),
            "format": "raw" if image == "empty" else image,
            "access": access,
            "cdrom": devtype == "cdrom",
            "prefixes": tuple(prefixes),
            "options": (
                *(redaction.shown(o, redaction.LIST) for o in options),
                *((f"protocol={found['protocol']}",) if found.get("protocol") else ()),
            ),
            "script": redaction.shown(script, redaction.LIST),
            "backend": backend,
        }
    )
