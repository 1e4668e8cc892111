"""What was measured of a network, as runbooks show it: each picture with its words, each table whole, or why there is none."""

from pathlib import Path

import pandas as pd

from hikkoshi import show
from hikkoshi.figures import overview, plots, timeline
from hikkoshi.network.compare import sequential
from hikkoshi.network.outage.outage import Outages
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.throughput.measured import Measured
from hikkoshi.network.wiring.wiring import Witness


def outage(found: Outages | None) -> None:
    """Show every segment on one line of time, and each outage in a table."""
    if found is None:
        show.nothing("not measured")
        return
    show.figure(timeline.timeline(found), timeline.timeline_words(found))
    show.table(found.rows(), caption=f"measured until {found.until} (UTC), {found.rate} probes a second")


def series(found: Measured | None) -> None:
    """Show every run of a series in the order measured."""
    if found is None or not found.series.table().size:
        show.nothing("not measured")
    else:
        show.figure(plots.turns(found.series), plots.turns_words(found.series))


def looks(found: Measured | None) -> None:
    """Show what a series proves, look by look."""
    if found is None:
        show.nothing("not measured")
    else:
        show.table(found.series.rows(), caption=found.series.words())


def matrix(cells: overview.Cells) -> None:
    """Show the ratio to the direct way for each way through a guest."""
    if not cells:
        show.nothing("not measured")
    else:
        show.figure(overview.matrix(cells), overview.matrix_words(cells))


def error_rates() -> None:
    """Show how often the rule by which a series is judged is wrong, as tests/bench/verdict.py simulated it."""
    show.table(pd.read_csv(Path(sequential.__file__).with_name("verdict-error-rates.csv")), caption="how often the rule is wrong")


def cured(before: Measured | None, after: Measured | None) -> None:
    """Show a series before a remedy beside the one after it."""
    if before is None or after is None:
        show.nothing("no comparison: nothing was measured before the remedy")
    else:
        show.figure(plots.remedy(before.series, after.series), plots.remedy_words(before.series, after.series))


def diagnosis(found: Cure | None) -> None:
    """Show the cause and every finding behind it."""
    if found is None:
        show.nothing("not looked at")
    else:
        named = found.diagnosis
        show.table(named.rows(), caption=f"cause: {named.cause}; {named.release}, kernel {named.kernel}; in {found.folder}")


def counters(counts: overview.Counts) -> None:
    """Show counts that should be equal where merged frames are lost."""
    if not any(any(group.values()) for group in counts.values()):
        show.nothing("nothing was counted")
    else:
        show.figure(overview.counters(counts), overview.counters_words(counts))


def witness(found: Witness | None) -> None:
    """Show on which segment each NIC was seen, and which NICs have each other's."""
    if found is None:
        show.nothing("not looked at")
        return
    swaps = "; ".join(f"{' → '.join([*s, s[0]])}: each is on the next one's segment" for s in found.swaps)
    show.table(found.rows(), caption=f"{found.host}, {found.way}, {found.seconds:.1f} s{': ' + swaps if swaps else ''}")
