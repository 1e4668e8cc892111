"""What xenstore tells of a domain that runs: its memory, processors, disks and NICs, those too that it was given while it runs.

The toolstack's own list tells some of this only as it was at the start (xl before Xen 4.5). Xen 3.1 has no `xenstore-ls -f`;
there xend's list has everything.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from hikkoshi.xen import disks
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.domains import device_path

_LINE = re.compile(r'^(/[^\s=]+) = "(.*)"$', re.MULTILINE)
_DISK = r"(/local/domain/(\d+)/backend/(?:vbd3?|tap2?|qdisk)/{}/(\d{{1,10}}))(?:/|$)"
_NIC = r"/local/domain/\d+/backend/vif/{}/(\d{{1,3}})"


@dataclass(frozen=True)
class StoredDomain:
    """One domain. Numbers are 0 where the store does not tell them."""

    memory_mb: int = 0  # that it is to have now, without that of an emulated screen
    screen_mb: int = 0  # of an emulated screen
    vcpus: int = 0  # that are online
    disks: tuple[XenDisk, ...] = ()
    vifs: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # {number: (MAC, bridge)}

    @classmethod
    def of(cls, text: str, domain: int) -> Self:
        """Out of what `xenstore-ls -f` prints; `ValueError` for what is cut off, or has a disk that cannot be one."""
        told = _told(text)
        own = f"/local/domain/{domain}"
        processor = re.compile(rf"{own}/cpu/\d{{1,4}}/availability")
        return cls(
            memory_mb=_megabytes(told.get(f"{own}/memory/target", "")),
            screen_mb=_megabytes(told.get(f"{own}/memory/videoram", "")),
            vcpus=sum(state == "online" and bool(processor.fullmatch(path)) for path, state in told.items()),
            disks=tuple(_disks(told, domain)),
            vifs=_vifs(told, domain),
        )


def vifs(text: str, name: str) -> Mapping[int, tuple[str, str]]:
    """{number: (MAC, bridge)} of the NICs with which a domain runs; none of one that is off.

    `ValueError` for what is cut off, or where several have the name.
    """
    told = _told(text)
    numbers = [m[1] for path, value in told.items() if (m := re.fullmatch(r"/local/domain/(\d+)/name", path)) and value == name]
    if len(numbers) > 1:
        raise ValueError(f"{len(numbers)} domains are called {name}")
    return _vifs(told, int(numbers[0])) if numbers else {}


def _told(text: str) -> dict[str, str]:
    if not text.endswith("\n"):
        raise ValueError("what xenstore-ls prints is cut off in its last line")
    return dict(_LINE.findall(text))


def _vifs(told: Mapping[str, str], domain: int) -> dict[int, tuple[str, str]]:
    found = {}
    for path, written in told.items():
        if m := re.fullmatch(f"({_NIC.format(domain)})/mac", path):
            mac = written.lower()
            if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac):
                raise ValueError(f"a NIC with the MAC {written[:40]!r}")
            found[int(m[2])] = (mac, told.get(f"{m[1]}/bridge", ""))
    return found


def _disks(told: Mapping[str, str], domain: int) -> Iterator[XenDisk]:
    places = {m[1]: m for path in told if (m := re.match(_DISK.format(domain), path))}
    for path, m in places.items():
        if told.get(f"{path}/online") == "0":
            continue
        behind = told.get(f"{path}/tapdisk-params") or told.get(f"{path}/params", "")
        script = told.get(f"{path}/script", "")
        parts = {
            "vdev": told.get(f"{path}/dev") or m[3],
            "access": told.get(f"{path}/mode", "w"),
            "devtype": "cdrom" if told.get(f"{path}/device-type") == "cdrom" else "",
            "script": script.rpartition("/")[2] if script.rpartition("/")[2] != "block" else "",
            "backend": m[2].lstrip("0"),
        }
        words = "".join(f"{key}={value}," for key, value in parts.items() if value)
        if behind or parts["devtype"]:  # else it is being attached
            yield disks.disk(f"{words}target={behind if parts['script'] else device_path(behind)}")


def _megabytes(kilobytes: str) -> int:
    return -(-int(kilobytes) // 1024) if re.fullmatch(r"[0-9]{1,12}", kilobytes) else 0
