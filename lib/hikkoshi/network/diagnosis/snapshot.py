"""A guest's network at one time: what `hikkoshi.network.diagnosis.collection` brought of it, read.

The raw text is all that has to be kept. It is one collection, or several of one machine behind each other: a line
`@hikkoshi MARK`, then for each command a line `@MARK STATUS COMMAND` and what it printed, then `@MARK end`. The mark is
drawn by lot, so that nothing that is printed there can pass for one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network import counters
from hikkoshi.network.counters import Feature, Ring, Traffic

HEADER = 18  # bytes of an Ethernet header with a VLAN tag: what a frame may be longer than the MTU
NOT_FOUND = 127  # the shell's status for a program that is not there
_BEGIN = re.compile(r"@hikkoshi ([0-9a-f]{16})")
_MAC = re.compile(r"(?!00:00:00:00:00:00)([0-9a-f]{2}:){5}[0-9a-f]{2}")


class Section(NamedTuple):
    """What one command printed, on both channels, and its status."""

    status: int
    text: str


@dataclass(frozen=True)
class NicState:
    """One NIC as it was. What the guest could not tell is None or empty."""

    name: str
    mac: str = ""
    mtu: int | None = None
    carrier: bool | None = None  # None where it is switched off, too
    driver: str = ""
    link: Mapping[str, str] = field(default_factory=dict)  # Speed, Duplex, … as ethtool names them
    features: Mapping[str, Feature] = field(default_factory=dict)
    statistics: Mapping[str, int] = field(default_factory=dict)
    ring: Ring | None = None
    traffic: Traffic | None = None
    queue_drops: int | None = None
    rp_filter: int | None = None  # 0 off, 1 strict, 2 loose
    oversized: int | None = None  # frames to it that tcpdump saw to be longer than its MTU allows
    told: Mapping[int, int] | None = None  # {MTU: messages 'fragmentation needed' that named it}

    @property
    def lro(self) -> Feature | None:
        """Its flag large-receive-offload; None where ethtool knows none."""
        return self.features.get("large-receive-offload")

    @property
    def gro(self) -> Feature | None:
        """Its flag generic-receive-offload."""
        return self.features.get("generic-receive-offload")


@dataclass(frozen=True)
class Snapshot:
    """A guest at one time. `raw` is the whole of it; the rest is read from there."""

    raw: str
    kernel: str
    release: str  # what tells the distribution: 'CentOS release 5.11 (Final)'
    time: int  # by the guest's clock, seconds since 1970
    boot: str  # another one after each restart; empty where unknown
    whole: bool  # whether it is a whole machine for all one can tell, and not a network namespace of one
    forwards: bool | None  # whether it passes packets on, by routing or bridging
    nics: Mapping[str, NicState]
    counts: Mapping[str, int]  # of the protocols, as nstat(8) names them
    conntrack: tuple[int, int] | None  # connections known, and how many can be
    conntrack_drops: int | None
    neighbours: Mapping[str, tuple[int, int]]  # {NIC: (neighbours that answered ARP, that did not)}
    parameters: frozenset[str] | None  # of the module vmxnet3; None where modinfo finds none, or is missing
    modules: frozenset[str]  # loaded
    log: tuple[str, ...]  # telling lines of the kernel's log
    manager: tuple[int, int] | None  # NetworkManager's version, where it runs
    ethtool: str  # its path; empty where it is missing
    settings: Mapping[str, tuple[str, ...]]  # {configuration file: its telling lines}
    values: Mapping[str, str]  # {path below /proc/sys/net or /sys/class/net, or of a module's parameter: value}
    missing: frozenset[str]  # programs that are not there
    old_parameters: frozenset[str] | None = None  # of the module vmxnet, likewise

    @property
    def ethernet(self) -> tuple[NicState, ...]:
        """Every NIC that has a MAC address."""
        return tuple(nic for nic in self.nics.values() if nic.mac)


def parse(raw: str, where: str = "") -> Snapshot:
    """Read what was collected. `BadInput` where it is no collection, or cut off; `where` is its file or host."""
    sections = _sections(raw, where)

    def text(command: str) -> str:
        section = sections.get(command)
        return section.text if section and section.status != NOT_FOUND else ""

    def good(command: str) -> str | None:
        section = sections.get(command)
        return section.text if section and section.status == 0 else None

    values = _values(sections)
    known, most = (
        _number(values.get(f"netfilter/nf_conntrack_{key}") or values.get(f"ipv4/netfilter/ip_conntrack_{key}"))
        for key in ("count", "max")
    )
    drops = counters.per_processor(text("cat /proc/net/stat/nf_conntrack") or text("cat /proc/net/stat/ip_conntrack"))
    parameters, old = good("modinfo -p vmxnet3"), good("modinfo -p vmxnet")
    return Snapshot(
        raw=raw,
        kernel=text("uname -r").strip(),
        release=_release(sections),
        time=_number(text("date +%s")) or 0,
        boot=(good("cat /proc/sys/kernel/random/boot_id") or "").strip(),
        whole=good("readlink /proc/self/ns/net") == good("readlink /proc/1/ns/net"),
        forwards=_forwards(values, good("ls -d */brport")),
        nics=dict(_nics(sections, values)),
        counts=counters.protocols(text("cat /proc/net/snmp")) | counters.protocols(text("cat /proc/net/netstat")),
        conntrack=None if known is None or most is None else (known, most),
        conntrack_drops=drops.get("drop"),
        neighbours=_neighbours(text("cat /proc/net/arp")),
        parameters=None if parameters is None else counters.parameters(parameters),
        old_parameters=None if old is None else counters.parameters(old),
        modules=frozenset(re.findall(r"^(\w+) +\d+ ", text("lsmod"), re.M)),
        log=tuple(line for line in text("log").splitlines() if line.strip()),
        manager=_manager(good("running") or "", good("nmcli --version") or ""),
        ethtool=(good("command -v ethtool") or "").strip(),
        settings={
            command.removeprefix("lines "): tuple(section.text.splitlines())
            for command, section in sections.items()
            if command.startswith("lines ")
        },
        values=values,
        missing=frozenset(c.split()[0] for c, s in sections.items() if s.status == NOT_FOUND) - {"command"},
    )


def _sections(raw: str, where: str) -> dict[str, Section]:
    """{command: what it printed}, of all collections in the text."""
    found: dict[str, Section] = {}
    mark = command = ""
    status, body = 0, list[str]()
    for line in raw.split("\n"):
        begin = _BEGIN.fullmatch(line)
        if not mark and begin:
            mark = begin[1]
        elif mark and re.match(rf"@{mark} (?:end|\d{{1,3}})(?: |$)", line, re.ASCII):  # else a guest has printed our own mark
            if command:
                found[command] = Section(status, "\n".join(body).strip("\n"))
            word, _, command = line.removeprefix(f"@{mark} ").partition(" ")
            if word == "end":
                mark = command = ""
            else:
                status, body = int(word), []
        elif mark:
            body.append(line)
    if mark or not found:
        raise BadInput(
            Problem(
                code="collection-unusable",
                what="this is no whole collection of a guest's network",
                where=where,
                found="it is cut off" if mark else "no line '@hikkoshi …'",
                expected="what `collection.collect` gave, to its last line",
                remedy="collect again",
            )
        )
    return found


def _values(sections: Mapping[str, Section]) -> dict[str, str]:
    """{path: value} of the files that `grep -H .` read."""
    lines = (line for c, s in sections.items() if c.startswith("grep -H . ") for line in s.text.splitlines())
    return {path: value for path, colon, value in (line.partition(":") for line in lines) if colon and " " not in path}


def _forwards(values: Mapping[str, str], bridges: str | None) -> bool | None:
    switches = [v for path, v in values.items() if path.endswith(("ip_forward", "/forwarding"))]
    if bridges or "1" in switches:
        return True
    return False if switches else None


def _nics(sections: Mapping[str, Section], values: Mapping[str, str]) -> Iterator[tuple[str, NicState]]:
    def text(command: str) -> str:
        return sections.get(command, Section(NOT_FOUND, "")).text

    traffic = counters.traffic(text("cat /proc/net/dev"))
    rp_all = _number(values.get("ipv4/conf/all/rp_filter"))
    for name in [c.removeprefix("ethtool ") for c in sections if re.fullmatch(r"ethtool [^ -]\S*", c)]:
        mac = values.get(f"{name}/address", "").lower()
        carrier = values.get(f"{name}/carrier")
        rp_own = _number(values.get(f"ipv4/conf/{name}/rp_filter"))
        over = next((s for c, s in sections.items() if c.startswith(f"over {name} ")), None)
        captured = re.search(r"^(\d+) packets? captured", over.text, re.M) if over else None
        told = sections.get(f"told {name}")
        yield (
            name,
            NicState(
                name=name,
                mac=mac if _MAC.fullmatch(mac) else "",
                mtu=_number(values.get(f"{name}/mtu")),
                carrier={"1": True, "0": False}.get(carrier or ""),
                driver=counters.settings(text(f"ethtool -i {name}")).get("driver", ""),
                link=counters.settings(text(f"ethtool {name}")),
                features=counters.features(text(f"ethtool -k {name}")),
                statistics=counters.statistics(text(f"ethtool -S {name}")),
                ring=counters.ring(text(f"ethtool -g {name}")),
                traffic=traffic.get(name),
                queue_drops=counters.queue_drops(text(f"tc -s qdisc show dev {name}")),
                # the kernel takes the greater of the two numbers
                rp_filter=None if rp_all is None or rp_own is None else max(rp_all, rp_own),
                oversized=int(captured[1]) if captured else None,
                told=_told(told.text) if told and captured else None,
            ),
        )


def _told(text: str) -> dict[int, int]:
    pairs = (line.split() for line in text.splitlines())
    return {int(p[1]): int(p[0]) for p in pairs if len(p) == 2 and p[0].isdigit() and p[1].isdigit()}


def _neighbours(text: str) -> dict[str, tuple[int, int]]:
    """From /proc/net/arp: the flag 2 is set where a neighbour has answered."""
    found: dict[str, tuple[int, int]] = {}
    for words in (line.split() for line in text.splitlines()[1:]):
        if len(words) >= 6 and re.fullmatch(r"0x[0-9a-f]+", words[2]):
            known, unknown = found.get(words[-1], (0, 0))
            answered = bool(int(words[2], 16) & 2)
            found[words[-1]] = (known + answered, unknown + (not answered))
    return found


def _release(sections: Mapping[str, Section]) -> str:
    def first(path: str) -> str:
        section = sections.get(f"cat {path}")
        return section.text.partition("\n")[0].strip() if section and section.status == 0 else ""

    pretty = re.search(r'^PRETTY_NAME="?([^"\n]+)', sections.get("cat /etc/os-release", Section(1, "")).text, re.M)
    debian = first("/etc/debian_version")
    return (
        first("/etc/redhat-release")
        or (pretty[1].strip() if pretty else "")
        or first("/etc/SuSE-release")
        or (f"Debian {debian}" if debian else "")
    )


def _manager(running: str, version: str) -> tuple[int, int] | None:
    if "NetworkManager" not in running.split():
        return None
    match = re.search(r"version (\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _number(word: str | None) -> int | None:
    return int(word) if word and re.fullmatch(r"\s*[0-9]{1,19}\s*", word) else None
