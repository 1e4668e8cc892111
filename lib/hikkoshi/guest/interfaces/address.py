"""Addresses of interfaces and NICs, from the many ways in which files write them."""

import ipaddress
import re
from collections.abc import Iterable

from hikkoshi.guest.note import Note, note

NOT_MAC = "not-mac="  # begins a condition: a NIC that the interface is not for
_MAC = re.compile(r"[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|\d{1,3}(;\d{1,3}){5};?")


def ipv4(written: str, mask: str = "", *, without: int | None = None) -> str:
    """With the length of its prefix: `ipv4('10.3.1.254', '255.255.255.0') == '10.3.1.254/24'`; empty for what is no IPv4.

    Without a mask it has `without`, or where that is None what its class had (RFC 791), as ifupdown and initscripts have it.
    """
    address, _, prefix = written.strip().partition("/")
    try:
        found = ipaddress.IPv4Address(address.strip())
        size = prefix.strip() or mask.strip()
        if not size:
            first = int(found) >> 24
            size = str(without if without is not None else 8 if first < 128 else 16 if first < 192 else 24)
        return str(ipaddress.IPv4Interface(f"{found}/{size}"))
    except ValueError:
        return ""


def told(place: str, written: Iterable[tuple[str, str]]) -> list[Note]:
    """The addresses, with their masks, that are none of IPv4 nor of IPv6 as all programs read them: 10.003.001.254."""
    odd = [(one, mask) for one, mask in written if one.strip() and not ipv4(one, mask) and not _ipv6(one, mask)]
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
