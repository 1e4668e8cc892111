"""Pictures of measurements, each with the words that stand for it where it cannot be seen."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hikkoshi.figures.style import BLUE, INK, PATHS, QUIET, VERMILION, Words, bare, plain_numbers
from hikkoshi.network.compare import statistics
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.compare.statistics import Estimate, Values

COLLAPSE = 0.5  # a ratio below it needs a logarithmic axis, else the slow path lies flat on zero
FEW = 0.90  # confidence of the medians of a series, which may have no more than five runs: they reach 93.75 %

Rows = Sequence[tuple[str, Estimate | float]]


def throughput(table: pd.DataFrame, unit: str) -> Figure:
    """Every run of every path on a logarithmic axis, with each path's median as a line and its 95 % interval as a band.

    `table` as from `measurements.read`; `unit` is written on the axis. Runs of 0, which have no place on such an axis, are
    drawn at its foot and labelled.
    """
    fig = Figure(figsize=(7.5, 4.4), layout="constrained")
    medians = {path: statistics.median(runs) for path, runs in _paths(table).items()}
    slowest_first = dict(sorted(medians.items(), key=lambda item: item[1].value))
    _runs(fig.add_subplot(), table, slowest_first, unit, str, log=True)
    return fig


def throughput_words(table: pd.DataFrame, unit: str) -> str:
    """What `throughput` shows, in words."""
    paths = "; ".join(
        f"{row['path']}: {row['runs']} runs from {row['least']:.4g} to {row['greatest']:.4g}, median {row['median']:.5g} "
        f"(95 % interval {row['low']:.4g} to {row['high']:.4g})"
        for row in statistics.summary(table).to_dict("records")
    )
    return f"Throughput of every run in {unit} on a logarithmic axis. {paths}."


def turns(series: Series, _: Words = str) -> Figure:
    """Every run of a series in the order measured, with each path's median and its interval.

    Dotted lines are looks, each with the runs per path that it saw. The axis is logarithmic where the path in question is
    less than half as fast as the direct one, else linear from 0. Runs that could not be made are crosses at its foot.
    """
    fig = Figure(figsize=(7.5, 4.4), layout="constrained")
    ax = fig.add_subplot()
    made = series.table()
    medians = {p: _median(series.of(p)) for p in _names(series) if series.of(p)}
    _runs(ax, made, medians, series.unit, _, log=_collapsed(series))
    for run in series.failures:
        ax.annotate(_("×\nnot\nmade"), (run.number, 0.01), xycoords=("data", "axes fraction"), ha="center", fontsize="small")
    for look in series.looks:
        after = max(made.loc[made["path"] == p, "run"].iloc[look.runs - 1] for p in _names(series)) + 0.5
        ax.axvline(after, color=QUIET, linestyle="dotted", linewidth=1.2)
        words, at = _("{count} each").format(count=look.runs), (after, 1.01)
        ax.annotate(words, at, xycoords=("data", "axes fraction"), ha="right", va="bottom", fontsize="small")
    ax.set_xlim(0.4, max((r.number for r in series.runs), default=10) + 0.6)
    _title(fig, series.words())
    return fig


def turns_words(series: Series) -> str:
    """What `turns` shows, in words."""
    axis = "logarithmic" if _collapsed(series) else "linear"
    told = " ".join(f"{p}: {_told(series.of(p))}." for p in _names(series))
    looks = "".join(f" At {look.runs} runs each the ratio was {look.ratio.as_share}." for look in series.looks)
    return f"Every run in the order measured, in {series.unit} on a {axis} axis. {told}{looks} {series.words()}."


def remedy(before: Series, after: Series, _: Words = str) -> Figure:
    """Before and after a remedy: every run of the direct path and of the path in question, and the two ratios beside 0.90.

    Direct runs of both series stand together, for the path is the same; each ratio is to its own. The axis of the runs is
    logarithmic where one of the series collapsed, else linear from 0; that of the ratios is linear, to show what is near 0.90.
    """
    fig = Figure(figsize=(7.5, 6), layout="constrained")
    above, below = fig.subplots(2, 1, height_ratios=(5, 2))
    groups = _groups(before, after, _)
    log = _collapsed(before) or _collapsed(after)
    positive = [x for runs in groups.values() for x in runs if x > 0]
    foot, head = _ends(positive, log=log)
    for place, (runs, style) in enumerate(zip(groups.values(), (PATHS[1], PATHS[0], PATHS[2]), strict=True)):
        colour, marker, fill, _line = style
        x = place + np.linspace(-0.28, 0.06, len(runs))
        _points(above, x, np.maximum(runs, foot), colour, marker, fill)
        for zero in (at for at, run in zip(x, runs, strict=True) if run == 0):
            above.annotate("0", (zero, foot), textcoords="offset points", xytext=(0, 8), ha="center", color=colour)
        if runs:
            m = _median(runs)
            ends = np.maximum([m.low, m.high], foot)
            above.plot([place + 0.2] * 2, ends, color=colour, linewidth=4, alpha=0.45, solid_capstyle="butt")
            above.plot([place + 0.13, place + 0.27], [max(m.value, foot)] * 2, color=colour, linewidth=2.5)
            at = (place + 0.3, max(m.value, foot))
            above.annotate(f"{m.value:.4g}", at, va="center" if m.value > foot else "bottom", color=colour)
    above.set_yscale("log" if log else "linear")
    above.set_ylim(foot, head)
    above.set_xlim(-0.5, 2.6)
    above.set_xticks(range(3), [f"{name}\n" + _("runs: {count}").format(count=len(runs)) for name, runs in groups.items()])
    plain_numbers(above, "y")
    above.set_ylabel(_axis(before.unit, _, log=log))
    bare(above, "y")
    looked = ((name, s.look) for name, s in ((_("before"), before), (_("after"), after)))
    _ratios(below, [(name, look.ratio) for name, look in looked if look], _, log=False)
    _title(fig, f"before, {before.words()}", f"after, {after.words()}")
    return fig


def remedy_words(before: Series, after: Series) -> str:
    """What `remedy` shows, in words."""
    told = "; ".join(f"{name.replace(chr(10), ' ')}: {_told(runs)}" for name, runs in _groups(before, after, str).items())
    axis = "logarithmic" if _collapsed(before) or _collapsed(after) else "linear"
    return (
        f"Throughput in {before.unit} before and after the remedy on a {axis} axis. {told}. "
        f"Before: {before.words()}. After: {after.words()}."
    )


def ratios(rows: Rows) -> Figure:
    """Ratios to the direct path on a logarithmic axis, beside the 0.90 from which a path counts as recovered.

    Each row is a label and an estimate, drawn with its interval, or a bare number of which no interval is known, drawn hollow.
    The first row stands on top. What is 0 has no place on such an axis: it is drawn at its left end.
    """
    fig = Figure(figsize=(7.5, 1.3 + 0.55 * len(rows)), layout="constrained")
    _ratios(fig.add_subplot(), rows, str, log=True)
    return fig


def ratios_words(rows: Rows) -> str:
    """What `ratios` shows, in words."""
    told = "; ".join(
        f"{label}: {ratio.as_share}" if isinstance(ratio, Estimate) else f"{label}: {ratio:.3f}, interval not known"
        for label, ratio in rows
    )
    border = statistics.ENOUGH_OF_DIRECT
    return f"Throughput as a share of the direct path's on a logarithmic axis, with a line at {border:.2f}. {told}."


def _runs(ax: Axes, table: pd.DataFrame, medians: Mapping[str, Estimate], unit: str, _: Words, *, log: bool) -> None:
    """Every run of every path, with the medians as lines and their intervals as bands; paths are named at the right."""
    foot, head = _ends(table.loc[table["throughput"] > 0, "throughput"], log=log)
    styles = dict(zip(medians, cycle(PATHS), strict=False))
    free = -1.0  # the lowest place, as a fraction of the axis, where the next path's name does not cover the last one's
    for path, median in sorted(medians.items(), key=lambda item: item[1].value):
        colour, marker, fill, line = styles[path]
        runs = table[table["path"] == path]
        low, middle, high = (max(x, foot) for x in (median.low, median.value, median.high))
        _points(ax, runs["run"], runs["throughput"].clip(lower=foot), colour, marker, fill)
        ax.axhspan(low, high, color=colour, alpha=0.15, linewidth=0)
        ax.axhline(middle, color=colour, linestyle=line, linewidth=1.3)
        share = np.log(middle / foot) / np.log(head / foot) if log else middle / head
        name_at = max(float(share), free)
        free = name_at + 0.12
        words = f"{_path(path, _)}\n" + _("median {value}").format(value=f"{median.value:.5g}")
        ax.annotate(words, (1.01, name_at), xycoords="axes fraction", va="center", color=colour)
        for run in runs.loc[runs["throughput"] == 0, "run"]:
            ax.annotate("0", (run, foot), textcoords="offset points", xytext=(0, 8), ha="center", color=colour)
    ax.set_yscale("log" if log else "linear")
    ax.set_ylim(foot, head)
    plain_numbers(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=20, steps=[1, 2, 5, 10]))
    ax.set_xlabel(_("run, in the order measured"))
    ax.set_ylabel(_axis(unit, _, log=log))
    bare(ax, "y")


def _points(ax: Axes, x: Values, y: Values, colour: str, marker: str, fill: str) -> None:
    ax.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=8,
        markeredgewidth=1.6,
        fillstyle="full" if fill == "full" else "none",
        color=colour,
        clip_on=False,  # a run of 0 lies on the edge
    )


def _ratios(ax: Axes, rows: Rows, _: Words, *, log: bool) -> None:
    every = [x for _label, r in rows for x in ((r.low, r.value, r.high) if isinstance(r, Estimate) else (r,))]
    left_end = min([x / 2 for x in every if x > 0] + [0.1]) if log else 0.0
    right_end = max([2.0 if log else 1.15] + [1.1 * x for x in every])
    heights, border = np.arange(len(rows))[::-1], statistics.ENOUGH_OF_DIRECT
    for height, (_label, ratio) in zip(heights, rows, strict=True):
        if isinstance(ratio, Estimate):
            low, value, high = (max(x, left_end) for x in (ratio.low, ratio.value, ratio.high))
            ax.plot([low, high], [height, height], color=INK, linewidth=3, solid_capstyle="butt")
            ax.plot([value], [height], marker="o", markersize=9, color=VERMILION, clip_on=False)
            words = ratio.as_share
        else:
            low = high = max(ratio, left_end)
            ax.plot([low], [height], marker="D", markersize=9, fillstyle="none", markeredgewidth=1.8, color=BLUE)
            words = f"{ratio:.3f}, interval not known"
        # written to the left of what is drawn, and of the border, where there is room: the right side ends at 1
        room = np.log(low / left_end) / np.log(right_end / left_end) if log else low / right_end
        x, points, side = (min(low, border), -10, "right") if room > 0.4 else (high, 10, "left")
        ax.annotate(words, (x, height), textcoords="offset points", xytext=(points, 0), ha=side, va="center")
    ax.axvline(border, color=INK, linestyle="dashed", linewidth=1.2)
    ax.annotate(f"{border:.2f}", (border, 1.02), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    ax.set_xscale("log" if log else "linear")
    ax.set_xlim(left_end, right_end)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_yticks(heights, [label for label, _ in rows])
    plain_numbers(ax, "x")
    ax.set_xlabel(_("throughput as a share of the direct path's (no unit; 1 is as fast as direct)"))
    bare(ax, "x")


def _title(fig: Figure, *sentences: str) -> None:
    fig.suptitle("\n".join(textwrap.fill(s, 100) for s in sentences), x=0.01, ha="left", fontsize="medium")


def _paths(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {str(path): group for path, group in table.groupby("path", sort=False)["throughput"]}


def _path(name: str, _: Words) -> str:
    """How a path is called: those of every guest in the reader's language, a segment's as the site named it."""
    return {"through the guest": _("through the guest"), "direct": _("direct")}.get(name, name)


def _axis(unit: str, _: Words, *, log: bool) -> str:
    words = _("throughput, {unit}\n(each step is ten times)") if log else _("throughput, {unit}")
    return words.format(unit=unit)


def _names(series: Series) -> tuple[str, str]:
    return series.through, series.direct


def _groups(before: Series, after: Series, _: Words) -> dict[str, list[float]]:
    """{what stands under the group: its runs}."""
    return {
        "\n".join(dict.fromkeys((_("direct"), _path(before.direct, _)))): before.of(before.direct) + after.of(after.direct),
        f"{_('before')}\n{_path(before.through, _)}": before.of(before.through),
        f"{_('after')}\n{_path(after.through, _)}": after.of(after.through),
    }


def _median(runs: Values) -> Estimate:
    """The median with the interval that so few runs allow; with a single run without any."""
    n = len(runs)
    if n == 1:
        only = float(np.asarray(runs)[0])
        return Estimate(only, only, only, confidence=0)
    return statistics.median(runs, min(FEW, 1 - 2 ** (1 - n)))


def _told(runs: Sequence[float]) -> str:
    if len(runs) < 2:
        return f"one run, {runs[0]:.4g}" if runs else "no run"
    m = _median(runs)
    return (
        f"{len(runs)} runs from {min(runs):.4g} to {max(runs):.4g}, median {m.value:.4g} "
        f"({100 * m.confidence:.0f} % interval {m.low:.4g} to {m.high:.4g})"
    )


def _collapsed(series: Series) -> bool:
    """Whether the path is so slow that a linear axis would hide it."""
    through, direct = series.of(series.through), series.of(series.direct)
    return bool(through and direct) and float(np.median(through)) < COLLAPSE * float(np.median(direct))


def _ends(positive: Sequence[float] | pd.Series, *, log: bool) -> tuple[float, float]:
    """Foot and head of an axis for these throughputs, all above 0."""
    if not len(positive):
        return (0.1, 1.0) if log else (0.0, 1.0)
    return (float(min(positive)) / 2, float(max(positive)) * 2) if log else (0.0, float(max(positive)) * 1.1)
