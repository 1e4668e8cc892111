"""Pictures of every kind, drawn of measurements as they are recorded."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from hikkoshi.figures import overview, plots, timeline
from hikkoshi.figures.wires import Wire
from hikkoshi.network.compare.sequential import Attempt, Series
from hikkoshi.network.compare.statistics import Estimate
from hikkoshi.network.outage import outage
from hikkoshi.network.outage.outage import Break, Outages
from hikkoshi.translation import Gettext

RECORDED = Path(__file__).parent / "data" / "outage"
Draw = Callable[[Gettext], Figure]
SLOW, FINE, DOUBTFUL = (Estimate(*x, 0.99) for x in ((0.0058, 0.0047, 0.0088), (0.97, 0.93, 1.02), (0.9, 0.85, 0.97)))
CELLS = {
    "vlan301": {"as found": SLOW, "after the remedy": FINE},
    "vlan302": {"as found": SLOW, "after the remedy": DOUBTFUL},
    "vlan303": {"as found": Estimate(0, 0, 0, 0.99), "after the remedy": None},
}
COUNTS = {
    "packets that the gateway dropped": {"gateway: IpFragFails": 436, "gateway: IcmpOutDestUnreachs": 436, "pc1": 430},
    "segments sent again": {"in those packets": 888, "pc1: TcpRetransSegs": 912},
}
EIGHT = [f"eth{n}" for n in range(8)]


def cables(wrong: str = "") -> list[Wire]:
    return [
        Wire(
            bridge=f"xenbr30{n}",
            nic=nic,
            mac=f"00:16:3e:05:00:0{n}",
            segment=f"vlan30{n}",
            vlan=300 + n,
            port_group=f"dv-vlan30{n}",
            found="distributed, VLAN 999" if nic == wrong else f"distributed, VLAN {300 + n}",
            wrong=nic == wrong,
        )
        for n, nic in enumerate(EIGHT)
    ]


def measured(through: float) -> Series:
    """Five runs each as 80 makes them, and one that could not be made."""
    runs = [
        Attempt(number=n, path=path, began="2026-11-22T00:00:00.000+00:00", seconds=2, throughput=value + n / 100)
        for n, (path, value) in enumerate([("through the guest", through), ("direct", 94.0)] * 5, 1)
    ]
    failed = Attempt(number=11, path="direct", began="2026-11-22T00:00:00.000+00:00", seconds=2, throughput=None)
    return Series(through="through the guest", direct="direct", unit="10^6 bits/s", seed=1, runs=(*runs, failed))


def cells() -> dict[str, dict[str, Estimate | None]]:
    ratios = [None, *(Estimate(x, x - 0.05, x + 0.05, confidence=0.95) for x in (0.5, 0.9, 1.0))]
    return {f"vlan{n}": {"before the move": r, "since the move": r} for n, r in enumerate(ratios)}


def outages(name: str = "one-2.05--behind-arp.jsonl", **changed: object) -> Outages:
    """A measurement as it was recorded, its segments called vlan0, vlan1, …, or with these fields changed."""
    found = outage.read(RECORDED / name)
    named = tuple(s.model_copy(update={"name": f"vlan{n}"}) for n, s in enumerate(found.segments))
    return found.model_copy(update={"segments": named, **changed})


def unseen() -> Outages:
    """Outages whose beginning or end nobody saw, several of one segment, and a segment that never answered."""
    (only,) = outages().segments
    (o,) = only.outages
    open_ = {"most": None, "to_the_end": True}
    states = (
        ("never answered", [o.model_copy(update=open_ | {"from_the_start": True})]),
        ("answers", [o.model_copy(update={"most": None, "from_the_start": True})]),
        ("out", [o.model_copy(update=open_)]),
        ("answers", [o, o.model_copy(update={"after": o.after + 3})]),
    )
    return outages(
        segments=tuple(
            only.model_copy(update={"name": f"vlan{n}", "at_the_end": state, "outages": tuple(every)})
            for n, (state, every) in enumerate(states)
        )
    )


FIGURES: list[tuple[str, Draw]] = [
    ("turns, slow", lambda _: plots.turns(measured(0.5), _)),
    ("turns, fast", lambda _: plots.turns(measured(93.0), _)),
    ("remedy", lambda _: plots.remedy(measured(0.5), measured(93.0), _)),
    ("segments", lambda _: overview.matrix(cells(), _)),
    *((p.stem, lambda _, p=p: timeline.timeline(outages(p.name), _)) for p in sorted(RECORDED.glob("*.jsonl"))),
    ("outages, not wholly seen", lambda _: timeline.timeline(unseen(), _)),
    ("a meter that stood still", lambda _: timeline.timeline(outages(breaks=(Break(after=1.0, seconds=0.5),)), _)),
]
