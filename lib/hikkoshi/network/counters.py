"""What a Linux guest counts, as its kernel and ethtool print it: from 2.6.18 with ethtool 6 to today's.

Pure text → numbers. What is not there is left out, what is not understood too: a guest is asked for everything at once, and
no old program knows all of it. Names of protocol counters are those of nstat(8): `IpFragFails`, `TcpExtTCPTimeouts`.
"""

import re
from collections import Counter
from typing import NamedTuple


class Feature(NamedTuple):
    """A flag of `ethtool -k`; a fixed one cannot be changed, and trying to is no error to some versions of ethtool."""

    on: bool
    fixed: bool


class Traffic(NamedTuple):
    """A line of /proc/net/dev, whole, in its order. A driver counts a merged frame as one."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    rx_fifo: int
    rx_frame: int
    rx_compressed: int
    rx_multicast: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int
    tx_fifo: int
    tx_collisions: int
    tx_carrier: int
    tx_compressed: int


class Ring(NamedTuple):
    """Receive descriptors of `ethtool -g`: how many there are, and how many there can be."""

    now: int
    most: int


def protocols(text: str) -> dict[str, int]:
    """Counters of /proc/net/snmp and /proc/net/netstat: `protocols('Ip: FragFails\\nIp: 3\\n') == {'IpFragFails': 3}`."""
    found: dict[str, int] = {}
    names: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or not words[0].endswith(":"):
            names = []
            continue
        if names[:1] == words[:1] and len(names) == len(words) and all(map(_whole, words[1:])):
            prefix = words[0][:-1]
            found |= {prefix + name: int(value) for name, value in zip(names[1:], words[1:], strict=True)}
            names = []
        else:
            names = words
    return found


def traffic(text: str) -> dict[str, Traffic]:
    """{NIC: its line} of /proc/net/dev; old kernels print no space after the colon."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")
        values = rest.split()
        if colon and name.strip() and len(values) == len(Traffic._fields) and all(map(_whole, values)):
            found[name.strip()] = Traffic(*map(int, values))
    return found


def features(text: str) -> dict[str, Feature]:
    """{flag: its state} of `ethtool -k`, in today's names: what EL5 calls 'tcp segmentation offload' has hyphens here."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*([\w +-]+?):\s*(on|off)\b(.*)", line)
        if match:
            found[match[1].replace(" ", "-")] = Feature(match[2] == "on", "[fixed]" in match[3])
    return found


def settings(text: str) -> dict[str, str]:
    """{name: value} of programs that print `name: value`: `ethtool NIC`, `ethtool -i`. The first of a name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip():
            found.setdefault(name.strip(), value.strip())
    return found


def statistics(text: str) -> dict[str, int]:
    """{name: count} of `ethtool -S`. A driver with queues repeats its names for each: they are added up."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        name, colon, value = line.rpartition(":")
        if colon and _whole(value.strip()) and name.strip() and not name.rstrip().endswith("#"):
            found[name.strip()] += int(value)
    return dict(found)


def ring(text: str) -> Ring | None:
    """The receive ring of `ethtool -g`, where the driver tells of both values."""
    values = re.findall(r"^RX:\s*(\d+)\s*$", text, re.M)
    return Ring(now=int(values[1]), most=int(values[0])) if len(values) == 2 else None


def per_processor(text: str) -> dict[str, int]:
    """Counts of /proc/net/stat/nf_conntrack, in hexadecimal and one line for each processor, added up."""
    lines = [line.split() for line in text.splitlines()]
    rows = [row for row in lines[1:] if row and all(re.fullmatch(r"[0-9a-f]{8,16}", v) for v in row)]
    names = lines[0] if lines else []
    return {name: sum(int(row[n], 16) for row in rows if n < len(row)) for n, name in enumerate(names)} if rows else {}


def queue_drops(text: str) -> int | None:
    """Packets that a NIC's queues had no room for, of `tc -s qdisc`; None where it told of none at all."""
    counts = re.findall(r"\(dropped (\d+)", text)
    return sum(map(int, counts)) if counts else None


def parameters(text: str) -> frozenset[str]:
    """Names of the parameters that `modinfo -p` lists, one a line as `name:what it does`."""
    return frozenset(match[1] for line in text.splitlines() if (match := re.match(r"(\w+):", line)))


def _whole(word: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,20}", word) is not None
