"""A NIC as an entry of `vif` in a Xen configuration describes it: xl-network-configuration(5), and xm's keys."""

import re

from pydantic import Field

from hikkoshi.artefact import Frozen
from hikkoshi.secret import redaction

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_ANY_MAC = re.compile(r"[0-9a-f]{1,2}(?:[^0-9a-f][0-9a-f]{1,2}){5}")  # as xl takes it
_KEYS = ("mac", "bridge", "ip", "model", "type", "script", "vifname", "rate", "mtu", "backend", "gatewaydev")


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

    def __str__(self) -> str:
        rest = {key: getattr(self, key) for key in _KEYS[2:]} | self.other
        told = "".join(f"; {key} {value}" for key, value in rest.items() if value)
        return f"{self.mac or 'a new MAC at every start'} on {self.bridge or 'the default bridge'}{told}"


def vif(item: str, number: int) -> Vif:
    """One entry of `vif`, the `number`-th from 0; `ValueError` says what is wrong with it."""
    item = redaction.shown(item, redaction.LIST)
    found: dict[str, str] = {}
    other: dict[str, str] = {}
    for word in filter(None, (w.strip() for w in item.split(","))):
        key, equals, value = (part.strip() for part in word.partition("="))
        if key not in _KEYS and key.lower() in _KEYS:
            raise ValueError(f"{key!r} is no key of a NIC: write {key.lower()!r}, for Xen knows it in small letters only")
        key = {"netdev": "gatewaydev", "dev": "gatewaydev"}.get(key, key)
        if not equals:
            raise ValueError(f"{word!r} is not KEY=VALUE")
        if "=" in value:
            raise ValueError(f"{word!r} has two values: a comma may be missing, or a comma between two texts")
        kept = found if key in _KEYS else other
        if key in kept:
            raise ValueError(f"{key} is given twice")
        kept[key] = value
    if "mac" in found:
        found["mac"] = found["mac"].lower()
        if _ANY_MAC.fullmatch(found["mac"]):
            found["mac"] = ":".join(part.zfill(2) for part in re.split(r"[^0-9a-f]", found["mac"]))
        if not _MAC.fullmatch(found["mac"]) or int(found["mac"][:2], 16) & 1:
            raise ValueError(f"{found['mac']!r} is not the MAC of one NIC")
    if other.get("devid", str(number)) != str(number):
        raise ValueError(f"devid {other['devid']} is not its place in the list, {number}: put the NICs into that order")
    return Vif(**found, other=other)
