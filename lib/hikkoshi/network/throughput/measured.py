"""netperf.json: what was measured of a guest's throughput, before the cut-over, under Xen, and since."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import pandas as pd

from hikkoshi.artefact import Artefact, Frozen
from hikkoshi.network.compare.sequential import Series
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import NETPERF, Step

THROUGH, DIRECT, UNIT = "through the guest", "direct", "10^6 bits/s"
When = Literal["before the move", "since the move"]
VERDICTS = {"not-slowed", "segment-not-slowed"}  # codes of the checks that tell how fast the guest is
# that is no end: the same series goes on when it is measured again
UNFINISHED = ("not yet", "interrupted", "the time was up", "too many runs could not be made")


class RoundTrip(Frozen):
    """Mean round trip of a small request on one path, in ms, alone and beside a stream."""

    path: str
    idle_ms: float | None  # None: nothing came back
    loaded_ms: float | None


class Measured(Frozen):
    """One series of runs and what was seen beside it."""

    since: str  # since when the guest served as it did: the cut-over's time, or empty under Xen
    series: Series
    round_trips: tuple[RoundTrip, ...] = ()
    segments: Mapping[str, Series] = {}  # {segment: a series of its own way through the guest}
    folder: str  # beside netperf.json: every output as it was printed, and the machines' own words


class Throughput(Artefact):
    """netperf.json: the last series before the move and since."""

    filename: ClassVar[str] = GuestFolder.throughput
    made_by: ClassVar[Step] = NETPERF
    measured: Mapping[When, Measured] = {}


def trip_table(found: Measured | None) -> pd.DataFrame:
    """The round trips as rows for a reader."""
    rows = [
        {"path": t.path, "alone, ms": t.idle_ms, "beside a stream, ms": t.loaded_ms} for t in (found.round_trips if found else ())
    ]
    return pd.DataFrame(rows, columns=["path", "alone, ms", "beside a stream, ms"])
