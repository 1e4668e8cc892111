"""What a rule finds, and what it looks at: how a machine changed between two collections."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hikkoshi.artefact import Frozen
from hikkoshi.network.counters import Traffic
from hikkoshi.network.diagnosis.snapshot import HEADER, NicState, Snapshot

Certainty = Literal["certain", "likely", "possible"]
ENOUGH = 10  # packets: fewer prove nothing on a busy network
FEW = 3  # packets: a client whose connection does not even open sends no more


class Finding(Frozen):
    """What one rule says. `harmful` is False for what is only told so that nobody has to ask."""

    rule: str  # R1 …
    name: str
    certainty: Certainty
    evidence: tuple[str, ...]  # sentences, with the counters and their numbers
    refuted_by: str  # what would show that it is not so
    remedy: str = ""
    harmful: bool = True


@dataclass(frozen=True)
class Change:
    """A machine before and after a load. A count that is missing on either side, or went back, is None."""

    before: Snapshot
    after: Snapshot

    def count(self, name: str) -> int | None:
        """Rise of a protocol counter, by its name in nstat(8)."""
        return _rise(self.before.counts.get(name), self.after.counts.get(name))

    def rise(self, *names: str) -> int:
        """Rise of several together, 0 where there are none."""
        return sum(self.count(name) or 0 for name in names)

    def statistic(self, nic: str, name: str) -> int | None:
        """Rise of a counter of `ethtool -S`."""
        old, new = self.before.nics.get(nic), self.after.nics.get(nic)
        return _rise(old.statistics.get(name), new.statistics.get(name)) if old and new else None

    @cached_property
    def traffic(self) -> dict[str, Traffic]:
        """{NIC: rises of its line in /proc/net/dev}."""
        found = {}
        for name, nic in self.after.nics.items():
            old = self.before.nics.get(name)
            if old and old.traffic and nic.traffic:
                rises = [_rise(a, b) for a, b in zip(old.traffic, nic.traffic, strict=True)]
                if None not in rises:
                    found[name] = Traffic(*(r or 0 for r in rises))
        return found

    def logged(self, words: str) -> list[str]:
        """Lines of the kernel's log with these words that were not there before."""
        new = Counter(line for line in self.after.log if words in line) - Counter(self.before.log)
        return list(new.elements())

    def queue_drops(self, nic: str) -> int:
        """Packets that the NIC's queues had no room for."""
        old, new = self.before.nics.get(nic), self.after.nics.get(nic)
        return _rise(old.queue_drops, new.queue_drops) or 0 if old and new else 0

    def mean(self, nic: NicState) -> float | None:
        """Mean length of a received frame in bytes, as the driver counted; None where there were too few."""
        seen = self.traffic.get(nic.name)
        return seen.rx_bytes / seen.rx_packets if seen and seen.rx_packets >= ENOUGH else None

    @property
    def resent(self) -> float:
        """Segments sent again as a share of all that TCP sent."""
        return (self.count("TcpRetransSegs") or 0) / max(1, (self.count("TcpOutSegs") or 0) + (self.count("TcpRetransSegs") or 0))

    @property
    def vanished(self) -> int | None:
        """IPv4 packets taken in to be forwarded that neither left nor were counted as lost: rules drop in this way.

        None where packets were put together from fragments, which spoils the sum.
        """
        if self.rise("IpReasmReqds") or self.count("IpInReceives") is None or self.count("IpForwDatagrams") is None:
            return None
        left = self.count("IpOutTransmits")
        if left is not None:  # kernels that count it count as forwarded what they only mean to forward
            return max(0, self.rise("IpForwDatagrams") - self.rise("IpFragFails") - (left - self.rise("IpOutRequests")))
        accounted = self.rise(
            *("IpInDelivers", "IpForwDatagrams", "IpFragFails", "IpInHdrErrors", "IpInAddrErrors", "IpInDiscards"),
            *("IpExtInNoRoutes", "TcpExtIPReversePathFilter"),
        )
        return max(0, self.rise("IpInReceives") - accounted)


def agree(one: int, other: int) -> bool:
    """Whether two counts of the same thing are the same but for what other traffic adds."""
    return abs(one - other) <= max(3, 0.1 * max(one, other))


def too_long(change: Change, nic: NicState) -> bool:
    """Whether the driver handed up frames longer than the MTU: their mean says so."""
    mean = change.mean(nic)
    return mean is not None and nic.mtu is not None and mean > nic.mtu + HEADER


def _rise(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None and after >= before else None
