"""Pictures of measurements, each with the words that stand for it where it cannot be seen.

Paths differ by marker, fill and line, so that the pictures survive a grey printer; the colours are those of Okabe and Ito,
which colour-blind people can tell apart.
"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hikkoshi.network import statistics
from hikkoshi.network.statistics import Estimate

STYLES = (  # colour, marker, fill of the marker, line: for the first path, the second, …
    ("#B34A00", "o", "full", "solid"),
    ("#005F9E", "s", "none", "dashed"),
    ("#222222", "^", "full", "dotted"),
    ("#7A3B69", "D", "none", "dashdot"),
)


def throughput(table: pd.DataFrame, unit: str) -> Figure:
    """Every run of every path on a logarithmic axis, with each path's median as a line and its 95 % interval as a band.

    `table` as from `measurements.read`; `unit` is written on the axis. Runs of 0, which have no place on such an axis, are
    drawn at its foot and labelled.
    """
    fig = Figure(figsize=(7.5, 4.4), layout="constrained")
    ax = fig.add_subplot()
    positive = table.loc[table["throughput"] > 0, "throughput"]
    foot, head = (float(positive.min()) / 2, float(positive.max()) * 2) if len(positive) else (0.1, 1.0)
    rows = sorted(statistics.summary(table).to_dict("records"), key=lambda row: float(row["median"]))
    free = -1.0  # the lowest place, as a fraction of the axis, where the next path's name does not cover the last one's
    for row, (colour, marker, fill, line) in zip(rows, cycle(STYLES), strict=False):
        runs = table[table["path"] == row["path"]]
        low, middle, high = (max(row[key], foot) for key in ("low", "median", "high"))
        ax.plot(
            runs["run"],
            runs["throughput"].clip(lower=foot),
            linestyle="none",
            marker=marker,
            markersize=8,
            markeredgewidth=1.6,
            fillstyle="full" if fill == "full" else "none",
            color=colour,
        )
        ax.axhspan(low, high, color=colour, alpha=0.15, linewidth=0)
        ax.axhline(middle, color=colour, linestyle=line, linewidth=1.3)
        name_at = max(float(np.log(middle / foot) / np.log(head / foot)), free)
        free = name_at + 0.12
        words = f"{row['path']}\nmedian {row['median']:.5g}"
        ax.annotate(words, (1.01, name_at), xycoords="axes fraction", va="center", color=colour)
        for run in runs.loc[runs["throughput"] == 0, "run"]:
            ax.annotate("0", (run, foot), textcoords="offset points", xytext=(0, 8), ha="center", color=colour)
    ax.set_yscale("log")
    ax.set_ylim(foot, head)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xticks(range(1, int(table["run"].max()) + 1))
    ax.set_xlabel("run, in the order measured")
    ax.set_ylabel(f"throughput, {unit} (each step is ten times)")
    ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    _plain(ax)
    return fig


def throughput_words(table: pd.DataFrame, unit: str) -> str:
    """What `throughput` shows, in words."""
    paths = "; ".join(
        f"{row['path']}: {row['runs']} runs from {row['least']:.4g} to {row['greatest']:.4g}, median {row['median']:.5g} "
        f"(95 % interval {row['low']:.4g} to {row['high']:.4g})"
        for row in statistics.summary(table).to_dict("records")
    )
    return f"Throughput of every run in {unit} on a logarithmic axis. {paths}."


def ratios(rows: Sequence[tuple[str, Estimate | float]]) -> Figure:
    """Ratios to the direct path on a logarithmic axis, beside the 0.90 from which a path counts as recovered.

    Each row is a label and an estimate, drawn with its interval, or a bare number of which no interval is known, drawn hollow.
    The first row stands on top. All have to be above 0.
    """
    fig = Figure(figsize=(7.5, 1.3 + 0.55 * len(rows)), layout="constrained")
    ax = fig.add_subplot()
    heights = np.arange(len(rows))[::-1]
    for height, (_, ratio) in zip(heights, rows, strict=True):
        if isinstance(ratio, Estimate):
            ax.plot([ratio.low, ratio.high], [height, height], color="#222222", linewidth=3, solid_capstyle="butt")
            ax.plot([ratio.value], [height], marker="o", markersize=9, color="#B34A00")
        else:
            ax.plot([ratio], [height], marker="D", markersize=9, fillstyle="none", markeredgewidth=1.8, color="#005F9E")
        # written to the left of what is drawn: the right side ends at 1
        left = ratio.low if isinstance(ratio, Estimate) else ratio
        words = f"{ratio:.2g}" if isinstance(ratio, Estimate) else f"{ratio:.3f}, interval not known"
        if left > 0.02:
            ax.annotate(words, (left, height), textcoords="offset points", xytext=(-10, 0), ha="right", va="center")
        else:
            right = ratio.high if isinstance(ratio, Estimate) else ratio
            ax.annotate(words, (right, height), textcoords="offset points", xytext=(10, 0), ha="left", va="center")
    border = statistics.ENOUGH_OF_DIRECT
    ax.axvline(border, color="#222222", linestyle="dashed", linewidth=1.2)
    ax.annotate(f"{border:.2f}", (border, 1.02), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    ax.set_xscale("log")
    lowest = min(ratio.low if isinstance(ratio, Estimate) else ratio for _, ratio in rows)
    ax.set_xlim(min(lowest / 2, 0.1), 2)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_yticks(heights, [label for label, _ in rows])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("throughput as a share of the direct path's (no unit; 1 is as fast as direct)")
    ax.grid(axis="x", color="#CCCCCC", linewidth=0.6)
    _plain(ax)
    return fig


def ratios_words(rows: Sequence[tuple[str, Estimate | float]]) -> str:
    """What `ratios` shows, in words."""
    told = "; ".join(
        f"{label}: {ratio:.2g}" if isinstance(ratio, Estimate) else f"{label}: {ratio:.3f}, interval not known"
        for label, ratio in rows
    )
    border = statistics.ENOUGH_OF_DIRECT
    return f"Throughput as a share of the direct path's on a logarithmic axis, with a line at {border:.2f}. {told}."


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
