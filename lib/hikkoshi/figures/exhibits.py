"""What was measured of a network, as it is shown: each picture with its words, each table whole, or why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from hikkoshi.figures import room, timeline
from hikkoshi.figures import wires as cables
from hikkoshi.figures.room import Room
from hikkoshi.network.diagnosis.diagnosis import UNKNOWN
from hikkoshi.network.outage.outage import Outages
from hikkoshi.network.wiring.wiring import Witness
from hikkoshi.run.step import NETPERF

if TYPE_CHECKING:  # pandas takes long to load, and most runbooks compare nothing
    import pandas as pd

    from hikkoshi.figures import overview
    from hikkoshi.network.remedy.cure import Cure
    from hikkoshi.network.throughput.measured import Measured


@dataclass(frozen=True)
class Exhibit:
    """A picture with the words for whoever does not see it, or a table with its caption; with neither, `words` say why."""

    words: str
    figure: Figure | None = None
    rows: "pd.DataFrame | Sequence[Mapping[str, Any]] | None" = None


def outage(found: Outages | None) -> tuple[Exhibit, ...]:
    """Every segment on one line of time, and each outage in a table."""
    if found is None:
        return (Exhibit("not measured"),)
    return (
        Exhibit(timeline.timeline_words(found), figure=timeline.timeline(found)),
        Exhibit(f"measured until {found.until[:19].replace('T', ' ')} UTC, {found.rate} probes a second", rows=found.rows()),
    )


def witness(found: Witness | None, held: str) -> tuple[Exhibit, ...]:
    """On which segment each NIC was seen, and which NICs have each other's; `held` says against what that was held."""
    if found is None:
        return (Exhibit(f"{held}: not looked at"),)
    swaps = "; ".join(f"{' → '.join([*s, s[0]])}: each is on the next one's segment" for s in found.swaps)
    words = f"{held}: {found.host}, {found.way}, {found.seconds:.1f} s{': ' + swaps if swaps else ''}"
    return (Exhibit(words, rows=found.rows()),)


def wires(found: Sequence[cables.Wire]) -> tuple[Exhibit, ...]:
    """Each NIC from its bridge to its port group."""
    return (Exhibit(cables.wires_words(found), figure=cables.wires(found)) if found else Exhibit("the guest has no NIC"),)


def rooms(found: Sequence[tuple[str, int, int, int]]) -> tuple[Exhibit, ...]:
    """What is taken and planned of what a site has; each as `room.Room` takes it."""
    drawn = [Room(*one) for one in found]
    return (Exhibit(room.rooms_words(drawn), figure=room.rooms(drawn)),)


def series(found: "Measured | None") -> tuple[Exhibit, ...]:
    """Every run of a series in the order measured."""
    if found is None or not found.series.table().size:
        return (Exhibit("not measured"),)
    from hikkoshi.figures import plots  # noqa: PLC0415 - as above

    return (Exhibit(plots.turns_words(found.series), figure=plots.turns(found.series)),)


def looks(found: "Measured | None") -> tuple[Exhibit, ...]:
    """What a series proves, look by look."""
    return (Exhibit(found.series.words(), rows=found.series.rows()) if found else Exhibit("not measured"),)


def error_rates() -> tuple[Exhibit, ...]:
    """How often the rule by which a series is judged is wrong, as tests/bench/verdict.py simulated it."""
    import pandas as pd  # noqa: PLC0415 - as above

    from hikkoshi.network.compare import sequential  # noqa: PLC0415

    known = pd.read_csv(Path(sequential.__file__).with_name("verdict-error-rates.csv"))
    return (Exhibit("how often the rule is wrong", rows=known),)


def matrix(cells: "overview.Cells") -> tuple[Exhibit, ...]:
    """The ratio to the direct path for each path through a guest."""
    from hikkoshi.figures import overview  # noqa: PLC0415 - as above

    return (Exhibit(overview.matrix_words(cells), figure=overview.matrix(cells)) if cells else Exhibit("not measured"),)


def cured(found: "Cure | None") -> tuple[Exhibit, ...]:
    """A series before a remedy beside the one after it."""
    before, after = (found.before, found.after) if found else (None, None)
    if found is None:
        return (Exhibit("no comparison: not looked at"),)
    if after is None and not found.curable:
        told = f". {NETPERF} has measured it: {before.series.words()}" if before else ""
        return (Exhibit(f"no comparison: nothing was changed here{told}"),)
    if before is None:
        return (Exhibit("no comparison: nothing was measured before the remedy"),)
    if after is None:
        return (Exhibit("no comparison: not measured yet after the remedy"),)
    from hikkoshi.figures import plots  # noqa: PLC0415 - as above

    pair = before.series, after.series
    return (Exhibit(plots.remedy_words(*pair), figure=plots.remedy(*pair)),)


def diagnosis(found: "Cure | None") -> tuple[Exhibit, ...]:
    """The cause and every finding behind it."""
    if found is None:
        return (Exhibit("not looked at"),)
    named = found.diagnosis
    fast = found.before is not None and found.before.series.verdict == "recovered"
    cure = "nothing to cure; " if fast and named.cause == UNKNOWN else ""
    words = f"{cure}{named.words()}; {named.release}, kernel {named.kernel}; in {found.folder}"
    return (Exhibit(words, rows=named.rows()),)


def counters(counts: "overview.Counts") -> tuple[Exhibit, ...]:
    """Counts that should be equal where merged frames are lost."""
    if not counts:
        return (Exhibit("not looked at"),)
    if not any(any(group.values()) for group in counts.values()):
        return (Exhibit(f"none of these counts rose: {'; '.join(counts)}"),)
    from hikkoshi.figures import overview  # noqa: PLC0415 - as above

    return (Exhibit(overview.counters_words(counts), figure=overview.counters(counts)),)
