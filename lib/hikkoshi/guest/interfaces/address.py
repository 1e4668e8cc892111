"""Addresses of interfaces and NICs, from the many ways in which files write them."""

import ipaddress
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

from hikkoshi.guest.note import Note, note

NOT_MAC = "not-mac="  # begins a condition: a NIC that the interface is not for
_MAC = re.compile(r"[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|\d{1,3}(;\d{1,3}){5};?")

_IP = re.compile(
    r"\bip\s+(?:-\w+\s+)*a(?:ddr(?:ess)?)?\s+(?:a(?:dd)?|r(?:eplace)?|change)\s+"
    r"(?:(?:dev\s+(?P<dev>\S+)|local|scope\s+\S+)\s+)*(?P<address>[\d.:a-fA-F]+(?:/\d+)?)(?=(?P<rest>[^;&|]*))"
)
_IFCONFIG = re.compile(r"\bifconfig\s+(?P<dev>\S+)\s+(?:inet\s+|add\s+)?(?P<address>\d[\d.]*(?:/\d+)?)(?P<rest>[^;&|]*)")
_OWN_MAC = re.compile(
    r"\b(?:ifconfig\s+(?P<one>\S+)\s+hw\s+ether\s+|ip\s+link\s+set\s+(?:dev\s+)?(?P<other>\S+)\s+address\s+)"
    r"(?P<mac>[0-9a-fA-F:]{11,17})"
)
_CLIENT = re.compile(r"\b(?:dhclient3?|udhcpc|dhcpcd|pump)\b")


@dataclass(frozen=True)
class Commanded:
    """What a command gives a NIC."""

    addresses: list[tuple[str, str]]  # with their masks
    mac: str
    dhcp: bool
    others: bool  # whether it gives another NIC something, too


def by_command(command: str, own: Container[str]) -> Commanded:
    """What ip(8), ifconfig(8) or a DHCP client gives a NIC, by one of its `own` names, and whether another gets something."""
    written: list[tuple[str, str]] = []
    others: list[object] = []
    for m in _IP.finditer(command):
        dev = m["dev"] or "".join(re.findall(r"\bdev\s+(\S+)", m["rest"])[:1])
        (written if dev in own else others).append((m["address"], ""))
    for m in _IFCONFIG.finditer(command):
        mask = re.search(r"\bnetmask\s+(\S+)", m["rest"])
        mine = m["dev"].partition(":")[0] in own
        (written if mine else others).append((m["address"], mask[1] if mask and "/" not in m["address"] else ""))
    given = _OWN_MAC.search(command)
    mine = given is not None and (given["one"] or given["other"]) in own
    client = bool(_CLIENT.search(command))
    asks = client and any(word in own for word in re.split(r"[\s;&|]+", command))
    return Commanded(
        written,
        mac(given["mac"]) if given and mine else "",
        asks,
        bool(others) or (given is not None and not mine) or (client and not asks),
    )


def ipv4(written: str, mask: str = "", *, without: int | None = None) -> str:
    """With the length of its prefix: `ipv4('10.3.1.254', '255.255.255.0') == '10.3.1.254/24'`; empty for what is no IPv4.

    0.0.0.0 is no address: it takes one away. Without a mask it has `without`, or where that is None what its class had
    (RFC 791), as ifupdown and initscripts have it.
    """
    address, _, prefix = written.strip().partition("/")
    try:
        found = ipaddress.IPv4Address(address.strip())
        if not int(found):
            return ""
        size = prefix.strip() or mask.strip()
        if not size:
            first = int(found) >> 24
            size = str(without if without is not None else 8 if first < 128 else 16 if first < 192 else 24)
        return str(ipaddress.IPv4Interface(f"{found}/{size}"))
    except ValueError:
        return ""


def told(place: str, written: Iterable[tuple[str, str]]) -> list[Note]:
    """The addresses, with their masks, that are none of IPv4 nor of IPv6 as all programs read them: 10.003.001.254."""
    odd = [(one, mask) for one, mask in written if one.strip("0./ ") and not ipv4(one, mask) and not _ipv6(one, mask)]
    return [note("address-odd", place=place, address=f"{one} {mask}".strip()) for one, mask in dict.fromkeys(odd)]


def _ipv6(written: str, mask: str) -> bool:
    try:
        return bool(ipaddress.IPv6Interface(f"{written.strip()}/{mask}" if mask and "/" not in written else written.strip()))
    except ValueError:
        return (
            ":" in written and not re.fullmatch(r"[\d.:]*", written) and bool(re.fullmatch(r"[0-9a-fA-F:.%/]+", written.strip()))
        )


def refused(written: str) -> tuple[str, ...]:
    """The conditions of NetworkManager's list of NICs that a profile is not for: `('not-mac=00:16:3e:05:00:00',)`."""
    return tuple(f"{NOT_MAC}{found}" for word in re.split(r"[\s,;]+", written) if (found := mac(word)))


def changing(written: str) -> str:
    """The word by which a NIC gets a MAC that changes, or is another than its own; empty for any other."""
    word = written.strip().lower()
    return word if word in ("random", "stable", "stable-ssid") else ""


def mac(written: str) -> str:
    """`mac('00-16-3E-05-00-00') == mac('0;22;62;5;0;0;') == '00:16:3e:05:00:00'`; empty for what is none."""
    value = written.strip().lower()
    if not _MAC.fullmatch(value):
        return ""
    if ";" in value:
        numbers = [int(n) for n in value.strip(";").split(";")]
        return ":".join(f"{n:02x}" for n in numbers) if max(numbers) < 256 else ""
    if "." in value:
        value = ":".join(re.findall("..", value.replace(".", "")))
    return ":".join(part.zfill(2) for part in re.split("[:-]", value))
