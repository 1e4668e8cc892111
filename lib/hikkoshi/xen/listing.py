"""A guest as Xen's tools print it, as the settings that a configuration of it would have.

Read are S-expressions (`xm list -l`, xend's own config.sxp, `xm create -n`, `xl list -l` of Xen 4.1) and JSON (`xl list -l`,
`xl create -n`). What is only true of the moment, such as a domain's ID and its time, is left out.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import redaction
from hikkoshi.xen import disks, sxp
from hikkoshi.xen.value import Value

_SAID = re.compile(r"(?:(?:(?:Using|Parsing|Loading) config|[ \t]*#)[^\n]*\n|\s)*+")  # what xm and xl say before; comments
_BEGIN = re.compile(r"^(?:\((?:domain|vm)\b|\[\s*\{|\{\s*\")", re.MULTILINE)
_SETTING = re.compile(r"^\s*\w+\s*=[^=]|^[({<]", re.MULTILINE)
_PROMPT = re.compile(r"\n[^\n()\[\]{}]*\[?[\w.-]+@[^\n()]*[#$>][^\n()]*\s*\Z")
_OF_THE_MOMENT = (
    "domid domain vm state status start_time cpu_time online_vcpus store_mfn console_mfn shadow_memory features ssidref security "
    "run_hotplug_scripts claim_mode video_memkb shadow_memkb iommu_memkb build_info create_info max_vcpus avail_vcpus hvm "
    "image device platformdata name_label change_home_server vm_type domain_type xend_domain_type memory_dynamic_max "
    "memory_dynamic_min memory_static_max memory_static_min other_config type.pv type.hvm type.pvh u arch_arm "
    "arch_x86 c_info b_info disks nics pcidevs pcis vfbs vkbs usbdevs vtpms cpuid_legacy target_memkb max_memkb type "
    "colo_restore_enable"
)
_MOMENT = frozenset(_OF_THE_MOMENT.split())
_LISTS = {  # {setting: where JSON has its entries}
    "vfb": "vfbs",
    "vkb": "vkbs",
    "vtpm": "vtpms",
    "p9": "p9s",
    "pvcalls": "pvcallsifs",
    "usbdev": "usbdevs",
    "usbctrl": "usbctrls",
    "channel": "channels",
    "vdispl": "vdispls",
    "vsnd": "vsnds",
    "virtio": "virtios",
    "dtdev": "dtdevs",
}
_NAMES = {  # {what JSON calls a setting: what a configuration calls it}
    "extra": "device_model_args",
    "extra_pv": "device_model_args_pv",
    "extra_hvm": "device_model_args_hvm",
    "vcpu_hard_affinity": "cpus",
    "vcpu_soft_affinity": "cpus_soft",
    "serial_list": "serial",
    "usbdevice_list": "usbdevice",
    "system_firmware": "bios_path_override",
    "nested_hvm": "nestedhvm",
    "timeoffset": "rtc_timeoffset",
}
_TRUTHS: Mapping[str, int | None] = {"True": 1, "False": 0, "<default>": None}
_DISKS = ("vbd", "tap", "tap2", "disk")


def is_listing(text: str) -> bool:
    """Whether a text is of the forms that are read here."""
    return bool(re.match(r"\(|\{\s*[\"}]|\[\s*\{", _start(text)))


def settings(text: str, where: str) -> tuple[str, dict[str, Value]]:
    """(What the text is, the settings of its one guest); `BadInput` where it has none, or several, or is not whole."""
    start = _start(text)
    form = "S-expression" if start.startswith("(") else "JSON"
    try:
        guests = [*_trees(start)] if form == "S-expression" else [*_objects(json.loads(start))]
    except (ValueError, RecursionError) as e:
        raise BadInput(_problem(where, f"{form} that cannot be read: {e}", "take it again, to its end")) from None
    names = [str(g.get("name", "?")) for g in guests]
    if len(guests) != 1:
        found = f"{form} of {len(guests)} guests" + (f": {', '.join(names)}" if names else ", perhaps settings of xend itself")
        raise BadInput(_problem(where, found, "print the one that is to move: xm list -l NAME, or xl list -l NAME"))
    return form, guests[0]


def before(text: str) -> tuple[str, ...]:
    """The lines that somebody's terminal or a tool has put before a listing, with their numbers."""
    lines = text[: len(text) - len(_start(text))].split("\n")
    return tuple(f"line {n}, printed before the listing: {redaction.shown(x)[:80]}" for n, x in enumerate(lines, 1) if x.strip())


def _start(text: str) -> str:
    """A listing from its first bracket to its last. Only prompts and remarks may stand before it, never a setting."""
    rest = text[_SAID.match(text).end() :]  # type: ignore[union-attr]
    found = _BEGIN.search(rest)
    if found is None or _SETTING.search(rest[: found.start()]):
        return rest
    return _PROMPT.sub("\n", rest[found.start() :])


def _problem(where: str, found: str, remedy: str) -> Problem:
    return Problem(
        code="xen-listing-unusable",
        what="what Xen printed does not describe one guest",
        where=where,
        found=found,
        expected="one guest, as `xm list -l NAME` or `xl list -l NAME` print it",
        remedy=remedy,
    )


def _trees(text: str) -> Iterator[dict[str, Value]]:
    for tree in sxp.parse(text):
        if tree and tree[0] in ("domain", "vm") and sxp.value(tree, "domid") != "0":
            yield _of_sxp(tree)


def _of_sxp(tree: sxp.Tree) -> dict[str, Value]:
    found: dict[str, Value] = dict(_words(tree))
    lists: dict[str, list[Value]] = {}
    image = next((t for t in _inside(tree) if t[0] == "image"), ())
    kind = next((t for t in _inside(image) if t[0] in ("linux", "hvm", "generic", "pvh")), image)
    found["builder"] = "hvm" if kind[:1] == ("hvm",) or sxp.value(tree, "hvm") == "1" else "linux"
    inside = dict(_words(kind))
    arguments = [f"ip={inside.pop('ip')}" if inside.get("ip") else "", inside.pop("args", inside.pop("cmdline", ""))]
    found |= inside | {"extra": " ".join(filter(None, arguments))}
    for name, said in (
        ("vcpus", sxp.value(tree, "max_vcpus")),
        ("memory", _kilobytes(tree)),
        ("maxmem", _kilobytes(tree, "max")),
    ):
        if said:
            found.setdefault(name, said)
    devices = [one for t in _inside(tree) if t[0] == "device" for one in _inside(t)]
    for one in sorted(devices, key=lambda one: _place(sxp.value(one, "devid") if one[0] == "vif" else 0)):
        name = "disk" if one[0] in _DISKS else str(one[0])
        if entry := _device(name, one):
            lists.setdefault(name, []).append(entry)
    return {key: value for key, value in found.items() if value not in ("", "0")} | {"disk": [], "vif": []} | lists


def _place(devid: object) -> int:
    """The number of a NIC, which is its place among the others; one that was taken out while the guest ran leaves a gap."""
    return int(str(devid)) if re.fullmatch(r"[0-9]{1,6}", str(devid)) else 0


def _kilobytes(tree: sxp.Tree, which: str = "target") -> int | None:
    """Megabytes, as the first versions of xl told memory."""
    said = sxp.value(tree, f"{which}_memkb")
    return _megabytes(int(said)) if re.fullmatch(r"[0-9]{1,12}", said) else None


def _words(tree: sxp.Tree) -> Iterator[tuple[str, str]]:
    for item in _inside(tree):
        said = " ".join(word for part in sxp.within(item) for word in part if isinstance(word, str)).partition(" ")[2]
        if item[0] not in _MOMENT and said not in ("", "null"):
            yield str(item[0]), said


def _inside(tree: sxp.Tree) -> Iterator[sxp.Tree]:
    return (item for item in tree if isinstance(item, tuple) and item and isinstance(item[0], str))


def _device(name: str, tree: sxp.Tree) -> str:
    """An entry of `disk`, `vif`, `pci` … as a configuration has it; empty for a console, which every guest has."""
    said = {str(t[0]): t[1] for t in _inside(tree) if len(t) > 1 and isinstance(t[1], str)}
    backend = said.get("backend", said.get("backend_domid", "0"))
    if name == "disk" and ("uname" in said or "dev" in said):  # an empty drive has (uname )
        return disks.of_xend(said.get("uname", ""), said.get("dev", ""), said.get("mode", "w"), "" if backend == "0" else backend)
    if name == "disk":
        parts = {"vdev": said.get("virtpath", ""), "access": "w" if said.get("readwrite") == "1" else "r"}
        return _entry(parts | {"devtype": "cdrom" if said.get("is_cdrom") == "1" else "", "backend": backend.strip("0")}) + (
            f",target={said.get('physpath', '')}"
        )
    if name == "vif":
        left_out = ("uuid", "backend", "backend_domid", "frontend_domid", "devid")
        rest = {key: value for key, value in said.items() if key not in left_out}
        return _entry(rest | {"backend": backend if backend != "0" else ""})
    if name == "pci":
        at = [dict(_words(t)) for t in _inside(tree) if t[0] == "dev"]
        return ", ".join(_pci({key: int(value, 16) for key, value in d.items() if value.startswith("0x")}) for d in at)
    return "" if name == "console" else _entry({k: v for k, v in said.items() if k not in ("uuid", "frontend_domid")})


def _entry(parts: Mapping[str, object]) -> str:
    return ",".join(f"{key}={value}" for key, value in parts.items() if value not in ("", None))


def _pci(at: Mapping[str, int]) -> str:
    return f"{at.get('domain', 0):04x}:{at.get('bus', 0):02x}:{at.get('slot', at.get('dev', 0)):02x}.{at.get('func', 0):x}"


def _objects(whole: Any) -> Iterator[dict[str, Value]]:
    for one in whole if isinstance(whole, list) else [whole]:
        if not isinstance(one, dict):
            raise ValueError("something else than domains")
        config = one.get("config", one)
        if not isinstance(config, dict) or "c_info" not in config:
            raise ValueError("no domain, or one that xl did not make")
        if one.get("domid") != 0:
            yield _of_json(config)


def _of_json(config: Mapping[str, Any]) -> dict[str, Value]:
    created, built = _part(config, "c_info"), _part(config, "b_info")
    special = {k: v for key in ("type.pv", "type.hvm", "type.pvh", "u") for k, v in _part(built, key).items()}
    parts = (built, special, _part(built, "arch_x86"), config)
    rest = {_NAMES.get(k, k): _said(v) for part in parts for k, v in part.items() if k not in (*_MOMENT, *_LISTS.values())}
    rest |= {"pool": _said(created.get("pool_name")), "driver_domain": _said(created.get("driver_domain"))}
    rest |= {"cpu_weight": _part(built, "sched_params").get("weight"), "cap": _part(built, "sched_params").get("cap")}
    most, online = built.get("max_vcpus"), built.get("avail_vcpus")
    memory, least = built.get("max_memkb"), built.get("target_memkb")
    found: dict[str, Value] = {
        **rest,
        "name": created.get("name"),
        "uuid": created.get("uuid"),
        "type": str(created.get("type") or built.get("type") or "pv"),
        "vcpus": (len(online) if isinstance(online, list) and online else most) or 1,
        "maxvcpus": most,
        "memory": _megabytes(least) or _megabytes(memory),
        "maxmem": _megabytes(memory),
        "disk": [_json_disk(d) for d in _objects_of(config, "disks")],
        "vif": [_json_vif(n) for n in sorted(_objects_of(config, "nics"), key=lambda n: _place(n.get("devid")))],
        "pci": [_pci({k: v for k, v in d.items() if isinstance(v, int)}) for d in _objects_of(config, "pcidevs", "pcis")],
        **{name: [_json_entry(d) for d in _objects_of(config, key)] for name, key in _LISTS.items()},
    }
    return {key: value for key, value in found.items() if key in ("disk", "vif") or value not in (None, "", [])}


def _json_entry(d: Mapping[str, Any]) -> str:
    """A device as an entry of its setting; what is deeper in it only by name."""
    return _entry({k: v if isinstance(v, str | int) else "several values" for k, v in d.items() if v not in (None, [], {})})


def _said(value: object) -> Value:
    """A value as a setting has it; of what is no plain one, that there is something."""
    if isinstance(value, str | int | float):
        return _TRUTHS.get(value, value) if isinstance(value, str) else value
    if isinstance(value, list) and all(isinstance(item, str | int | list) for item in value):
        return [item if isinstance(item, str) else json.dumps(item) for item in value]
    return "several values" if value else None


def _part(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = config.get(key)
    return part if isinstance(part, dict) else {}


def _objects_of(config: Mapping[str, Any], *keys: str) -> list[dict[str, Any]]:
    lists = [config[key] for key in keys if isinstance(config.get(key), list)]
    return [item for whole in lists for item in whole if isinstance(item, dict)]


def _megabytes(kilobytes: object) -> int | None:
    return -(-kilobytes // 1024) if isinstance(kilobytes, int) and kilobytes > 0 else None


def _json_disk(d: Mapping[str, Any]) -> str:
    cdrom = d.get("is_cdrom") in (1, True, "True") or d.get("format") == "empty"
    parts = {
        "vdev": d.get("vdev", ""),
        "format": "" if d.get("format") in ("empty", "unknown") else d.get("format", ""),
        "access": "w" if d.get("readwrite") else "r",
        "devtype": "cdrom" if cdrom else "",
        "script": d.get("script", ""),
        "backend": d.get("backend_domname") or str(d.get("backend_domid") or ""),
    }
    return f"{_entry(parts)},target={d.get('pdev_path') or ''}"


def _json_vif(n: Mapping[str, Any]) -> str:
    names = {"ifname": "vifname", "nictype": "type", "backend_domname": "backend"}
    rates = ("rate_bytes_per_interval", "rate_interval_usecs")
    kept = {names.get(k, k): v for k, v in n.items() if isinstance(v, str | int) and k not in ("backend_domid", "devid", *rates)}
    if n.get(rates[0]):
        kept["rate"] = _rate(n[rates[0]], n.get(rates[1]))
    return _entry(kept)


def _rate(amount: object, interval: object) -> str:
    """Bytes in some microseconds, as a rate by the second."""
    if isinstance(amount, int) and isinstance(interval, int) and interval > 0:
        return f"{amount * 1_000_000 // interval}B/s"
    return f"{amount} bytes in {interval} microseconds"
