"""Figures that keep their unit: a throughput as a tool printed it, and what one run of the tool told.

A figure that had lost its unit cannot be told from another eight times as large; so none does. Where the tool's output
does not say the unit, it is unknown, and stays so.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

TRANSACTIONS = "Trans"  # a request and its answer
# {what stands before "/s" or "/sec": bits in one}; netperf's MBytes are of 2^20 bytes. Its 10^0bits (-f b) are left out, and
# so unknown: under that name 2.7.0 prints bytes, as a count of what arrived shows
BITS: Mapping[str, float] = {
    "bits": 1,  # iperf3's
    "10^3bits": 1e3,
    "10^6bits": 1e6,
    "10^9bits": 1e9,
    "Bytes": 8,
    "KBytes": 8 * 2**10,
    "MBytes": 8 * 2**20,
    "GBytes": 8 * 2**30,
}
LETTERS: Mapping[str, str] = {  # netperf's -f
    "b": "10^0bits/s",
    "k": "10^3bits/s",
    "m": "10^6bits/s",
    "g": "10^9bits/s",
    "B": "Bytes/s",
    "K": "KBytes/s",
    "M": "MBytes/s",
    "G": "GBytes/s",
    "x": "Trans/s",
}


def word(unit: str) -> str:
    """What is counted per second: MBytes of MBytes/sec and of MBytes/s alike; empty where it is not per second."""
    counted, slash, second = unit.partition("/")
    return counted if slash and second in ("s", "sec") else ""


@dataclass(frozen=True)
class Quantity:
    """A figure and its unit, both as printed; an empty unit is an unknown one."""

    printed: str  # 11.22
    unit: str = ""  # MBytes/sec

    @property
    def value(self) -> float:
        """The figure, in its own unit."""
        return float(self.printed)

    @property
    def scale(self) -> float | None:
        """Bits per second in one of its unit; None where that is unknown, or counts something else than bits."""
        return BITS.get(word(self.unit))

    @property
    def bits_per_second(self) -> float | None:
        """The figure in bit/s; None where the unit is unknown, or counts something else than bits."""
        return None if self.scale is None else self.value * self.scale

    @property
    def transactions(self) -> float | None:
        """Transactions (a request and its answer) per second; None where the unit is another."""
        return self.value if word(self.unit) == TRANSACTIONS else None

    @property
    def rounding(self) -> float:
        """Half of the last digit that was printed, in the figure's own unit."""
        return 0.5 * 10.0 ** -len(self.printed.partition(".")[2])

    def __str__(self) -> str:
        if self.bits_per_second is not None:
            return f"{self.printed} {self.unit} ({self.bits_per_second / 1e6:.2f} Mbit/s)"
        if self.transactions is not None:
            return f"{self.printed} {self.unit}"
        return f"{self.printed} {self.unit}, unit unknown" if self.unit else f"{self.printed}, unit unknown"

    def plain(self) -> dict[str, JsonValue]:
        """The same for JSON."""
        return {"printed": self.printed, "unit": self.unit or None, "bits_per_second": self.bits_per_second}


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a tool said beside a figure, and what it means; the figure stands."""

    code: str
    remark: str  # what it means
    said: str = ""  # the tool's own words

    def of(self, said: str) -> "Remark":
        """This remark, in the words in which it was made."""
        return dataclasses.replace(self, said=said)

    def __str__(self) -> str:
        first = self.said.partition("\n")[0]
        return f"'{first}': {self.remark}" if first else self.remark


@dataclass(frozen=True)
class Reading:
    """What one run of netperf or iperf3 told. Whatever its output does not say is None or empty, never a guess."""

    tool: str  # netperf, iperf 3.12
    form: str  # of its output: classic, number (-v 0), keys (-k or -o), json
    test: str  # as netperf names it: TCP_STREAM, TCP_MAERTS, UDP_STREAM, TCP_RR, …
    throughput: Quantity  # what arrived
    elapsed: float | None = None  # seconds
    sent: Quantity | None = None  # what left, where the tool counts it apart
    retransmits: int | None = None  # TCP segments that the sending side had to send again
    confidence: bool | None = None  # whether the confidence that -I asked for was reached; None: none was asked for
    width: float | None = None  # of the confidence interval of the throughput, both sides together, per cent
    # (seconds since the start, throughput since the one before); what the sender handed to its kernel
    interim: tuple[tuple[float, Quantity], ...] = ()
    other: Mapping[str, str] = field(default_factory=dict)  # everything else that it told by name: {TRANSPORT_MSS: 1448}
    remarks: tuple[Remark, ...] = ()

    def plain(self) -> dict[str, JsonValue]:
        """The same for JSON."""
        told = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return told | {
            "throughput": self.throughput.plain(),
            "sent": self.sent.plain() if self.sent else None,
            "interim": [{"seconds": seconds, **throughput.plain()} for seconds, throughput in self.interim],
            "other": dict(self.other),
            "remarks": [dataclasses.asdict(remark) for remark in self.remarks],
        }


def rows(measurement: Reading) -> list[dict[str, str]]:
    """A measurement as a table for a reader: a row for each thing that is known of it."""
    m = measurement
    told: dict[str, str | None] = {
        "tool": f"{m.tool} ({m.form})",
        "test": m.test or "not told",
        "throughput": str(m.throughput),
        "sent": None if m.sent is None else str(m.sent),
        "elapsed": None if m.elapsed is None else f"{m.elapsed:g} s",
        "retransmits": None if m.retransmits is None else str(m.retransmits),
        "confidence": None
        if m.confidence is None
        else ("reached" if m.confidence else "NOT reached")
        + (f": the interval is {m.width:g} % wide" if m.width is not None else ""),
        **{f"until {seconds:.2f} s": str(throughput) for seconds, throughput in m.interim},
    }
    remarks = [{"what": "remark", "found": str(remark)} for remark in m.remarks]
    return [{"what": what, "found": found} for what, found in told.items() if found is not None] + remarks
