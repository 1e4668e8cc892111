"""A gateway at a glance: its segments and its counters; each picture with the words that stand for it.

What matters is said by a sign, a word or a number beside the colour, and light and dark differ, so that the pictures survive
a grey printer.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hikkoshi.figures.style import FAINT, INK, PATHS, QUIET, RIGHT, WRONG, Words, bare, rows
from hikkoshi.network.compare import statistics
from hikkoshi.network.compare.statistics import Estimate

Cells = Mapping[str, Mapping[str, Estimate | None]]
"""{segment: {column: ratio to direct}}; None where it was not measured, or too seldom for an interval."""

Counts = Mapping[str, Mapping[str, int]]
"""{what is counted, such as 'segments sent again': {where it was counted: number}}; within each all should be equal."""

VERDICTS = {  # sign, ground, ink, hatch
    "regressed": ("▼", WRONG, "white", ""),
    "recovered": ("✓", RIGHT, INK, ""),
    "inconclusive": ("?", "white", INK, "...."),
    "not measured": ("–", "white", QUIET, ""),
}


def matrix(cells: Cells, _: Words = str) -> Figure:
    """A row for each segment and a column for each measurement: verdict, ratio to the direct path, and its interval.

    Every row has the columns of the first.
    """
    columns = list(next(iter(cells.values()), {}))
    whens = {"before the move": _("before the move"), "since the move": _("since the move")}
    said = {
        "regressed": _("{sign} regressed"),
        "recovered": _("{sign} recovered"),
        "inconclusive": _("{sign} inconclusive"),
        "not measured": _("{sign} not measured"),
    }
    fig = Figure(figsize=(1.4 + 2.9 * len(columns), 0.9 + 0.42 * len(cells)), layout="constrained")
    ax = fig.add_subplot()
    for y, row in enumerate(cells.values()):
        for x, column in enumerate(columns):
            ratio = row[column]
            verdict = _verdict(ratio)
            sign, ground, ink, hatch = VERDICTS[verdict]
            box = (x + 0.02, y + 0.06)
            ax.add_patch(Rectangle(box, 0.96, 0.88, facecolor=ground, edgecolor=FAINT, hatch=hatch, linewidth=0.8))
            plate = {"facecolor": ground, "edgecolor": "none", "pad": 1.5}
            ax.text(x + 0.06, y + 0.5, said[verdict].format(sign=sign), va="center", color=ink, bbox=plate)
            if ratio is not None:
                ax.text(x + 0.94, y + 0.5, ratio.as_share, va="center", ha="right", color=ink, bbox=plate)
    ax.set_xlim(0, max(len(columns), 1))
    ax.set_ylim(max(len(cells), 1), 0)
    ax.set_xticks(np.arange(len(columns)) + 0.5, [whens.get(c, c) for c in columns])
    ax.set_yticks(np.arange(len(cells)) + 0.5, list(cells))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    words, border = _("through / direct with its interval; recovered from {border}"), statistics.ENOUGH_OF_DIRECT
    ax.set_xlabel(words.format(border=f"{border:.2f}"), fontsize="small")
    return fig


def matrix_words(cells: Cells) -> str:
    """What `matrix` shows, in words."""
    told = "; ".join(
        f"{segment}: "
        + ", ".join(
            f"{column} {_verdict(ratio)}" + (f" {ratio.as_share}" if ratio is not None else "") for column, ratio in row.items()
        )
        for segment, row in cells.items()
    )
    return f"Throughput of each segment as a share of the direct path's, with the verdict. {told}."


def counters(counts: Counts) -> Figure:
    """Counts of the same thing from different places, as bars; whether they agree is what the reader is to see.

    Beside each stands its number and, from the second of a group on, how far it is from the group's first.
    """
    fig = Figure(figsize=(7.5, 0.9 + 0.36 * sum(len(g) + 1 for g in counts.values())), layout="constrained")
    ax = fig.add_subplot()
    most = max((n for group in counts.values() for n in group.values()), default=0) or 1
    ticks: dict[float, str] = {}
    y = 0.0
    for (what, group), (colour, _, fill, _) in zip(counts.items(), PATHS * len(counts), strict=False):
        ax.text(0, y, what, va="center", color=colour, weight="bold")
        first = next(iter(group.values()), 0)
        for n, (where, count) in enumerate(group.items(), 1):
            ticks[y + n] = where
            solid = fill == "full"
            ax.barh(
                y + n,
                count,
                height=0.72,
                facecolor=colour if solid else "white",
                edgecolor=colour,
                hatch=None if solid else "////",
            )
            ax.annotate(
                _beside(count, first, is_first=n == 1), (count, y + n), textcoords="offset points", xytext=(5, 0), va="center"
            )
        ax.plot([first, first], [y + 0.5, y + len(group) + 0.5], color=INK, linestyle="dashed", linewidth=1.2)
        y += len(group) + 1
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set_ylim(y - 0.3, -0.6)
    ax.set_xlim(0, most * 1.3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    ax.set_xlabel("counted between the two looks at the counters")
    bare(ax, "x")
    rows(ax)
    return fig


def counters_words(counts: Counts) -> str:
    """What `counters` shows, in words."""
    told = " ".join(
        f"{what}: " + ", ".join(f"{where} {count}" for where, count in group.items()) + "." for what, group in counts.items()
    )
    return f"Counts that should be equal within each group. {told}"


def _verdict(ratio: Estimate | None) -> str:
    return "not measured" if ratio is None else statistics.verdict(ratio)


def _beside(count: int, first: int, *, is_first: bool) -> str:
    if is_first or count == first:
        return f"{count}" if is_first else f"{count}, equal"
    return f"{count}, {100 * (count - first) / first:+.1f} %".replace("-", "−") if first else f"{count}"
