"""The outage of every segment on one line of time, and the words that stand for the picture where it cannot be seen.

Out of service is a dark bar, in service a thin line, never answered is hatched: it survives a grey printer.
"""

import unicodedata
from collections.abc import Iterator
from datetime import datetime

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hikkoshi.figures.style import INK, QUIET, Words, bare, rows
from hikkoshi.figures.style import VERMILION as OUT
from hikkoshi.network.outage.outage import Outage, Outages, SegmentOutage, duration

HEIGHT = 0.56  # of a bar; rows are 1 apart
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)  # seconds between ticks of the wall clock
LETTER = 0.0095  # width of a letter, as a share of the axis; one of East Asia is twice as wide


def timeline(found: Outages, _: Words = str) -> Figure:
    """A row for each segment, in their order; each outage is a bar with its duration in seconds beside it.

    Below are seconds since the measurement began, above the wall clock. Shown is the time around all outages, and all of
    the measurement where there was none. However short, an outage is seen; where its duration has no room, the sum stands
    at the right.
    """
    count = len(found.segments)
    fig = Figure(figsize=(9, 1.7 + 0.34 * count), layout="constrained")
    ax = fig.add_subplot()
    left, right = _window(found)
    for row, segment in enumerate(found.segments):
        ax.plot([0, found.seconds], [row, row], color=QUIET, linewidth=1.2, zorder=1)
        for o in segment.outages:
            _bar(ax, row, o, silent=segment.at_the_end == "never answered")
        for x, words, side, colour in _labels(segment, left, right, _):
            ax.annotate(
                words,
                (x, row),
                xytext={"left": (5, 0), "right": (-5, 0), "center": (0, 0)}[side],
                textcoords="offset points",
                ha=side,
                va="center",
                color=colour,
                bbox={"facecolor": "none" if side == "center" else "white", "edgecolor": "none", "pad": 1},
                zorder=2.5 if side == "center" else 1.5,
            )
        if len(segment.outages) > 1:
            lost = f"{sum(o.seconds for o in segment.outages):.2f}"
            words = _("{count} times,\n{seconds} s").format(count=len(segment.outages), seconds=lost)
            ax.annotate(words, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize="small")
    for b in found.breaks:
        ax.axvspan(b.after, b.after + b.seconds, facecolor="white", edgecolor=QUIET, hatch="...", linewidth=0, zorder=4)
    ax.set_xlim(left, right)
    ax.set_ylim(count - 0.4, -0.6)
    ax.set_yticks(range(count), [s.name for s in found.segments])
    ax.set_xticks([x for x in ax.get_xticks() if max(left, 0) <= x <= min(right, found.seconds)])
    ax.set_xlabel(_("seconds since the measurement began"))
    bare(ax, "x")
    rows(ax)
    _wall_clock(ax, found, _)
    _legend(fig, found, _)
    return fig


def timeline_words(found: Outages) -> str:
    """What `timeline` shows, in words."""
    told = "; ".join(
        f"{s.name}: "
        + (
            "never answered"
            if s.at_the_end == "never answered"
            else ", ".join(f"out for {duration(o)} s from {o.start[11:22]}" for o in s.outages) or "not out"
        )
        + (", still out at the end" if s.at_the_end == "out" else "")
        for s in found.segments
    )
    stood = "".join(f" The meter stood still for {b.seconds:.2f} s." for b in found.breaks)
    day, begun, until = found.started[:10], found.started[11:19], found.until[11:19]
    return f"Times without service, measured on {day} from {begun} to {until} UTC. {told}.{stood}"


def _window(found: Outages) -> tuple[float, float]:
    """The part of the time that is shown, in seconds, with room for a duration at its right."""
    outages = [o for s in found.segments for o in s.outages]
    first = min((o.after for o in outages), default=0.0)
    last = max((o.after + o.seconds for o in outages), default=found.seconds)
    around = max(0.05 * (last - first), 1.0)
    left, right = max(first - around, 0.0), min(last + around, max(found.seconds, 0.1))
    return left - 0.025 * (right - left), right + 0.2 * (right - left)


def _bar(ax: Axes, row: int, o: Outage, *, silent: bool) -> None:
    ax.barh(
        row,
        o.seconds,
        left=o.after,
        height=HEIGHT,
        facecolor="white" if silent else OUT,
        edgecolor=INK if silent else OUT,
        hatch="////" if silent else None,
        linewidth=1.4,  # points: what is shorter than that is seen all the same
        zorder=2,
    )
    for open_there, x, marker in ((o.from_the_start, o.after, "<"), (o.to_the_end, o.after + o.seconds, ">")):
        if open_there and not silent:
            ax.plot([x], [row], marker=marker, markersize=9, color=INK, zorder=3, clip_on=False)


def _labels(segment: SegmentOutage, left: float, right: float, _: Words) -> Iterator[tuple[float, str, str, str]]:
    """(place, words, the side of them that is there, colour) for each outage whose duration has room."""
    letter = LETTER * (right - left)
    free = left  # where the row is free from
    for n, o in enumerate(segment.outages):
        words = lasted(o, _)
        if segment.at_the_end == "never answered":
            words = _("never answered")
        elif o.to_the_end:
            words += _(", still out")
        begin, end, need = o.after, o.after + o.seconds, letter * (_letters(words) + 2)
        until = segment.outages[n + 1].after if n + 1 < len(segment.outages) else right
        if until - end > need:
            yield end, words, "left", INK
            free = end + need
        elif begin - free > need:
            yield begin, words, "right", INK
            free = end
        elif end - begin > need and segment.at_the_end != "never answered":
            yield (begin + end) / 2, words, "center", "white"
            free = end


def lasted(o: Outage, _: Words = str) -> str:
    """How long an outage lasted, as far as its ends were seen."""
    words = _("more than {seconds} s") if o.most is None else _("{seconds} s")
    return words.format(seconds=f"{o.seconds if o.most is not None else o.least:.2f}")


def _letters(words: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in words)


def _wall_clock(ax: Axes, found: Outages, _: Words) -> None:
    """An axis above: ticks at round times of the day, within the measurement."""
    started = datetime.fromisoformat(found.started)
    ahead = (started - started.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    left, right = ax.get_xlim()
    step = next((s for s in STEPS if (right - left) / s <= 8), STEPS[-1])
    times = np.arange(np.ceil((max(left, 0) + ahead) / step), (min(right, found.seconds) + ahead) / step) * step
    top = ax.secondary_xaxis("top")
    top.set_xticks(times - ahead, [_clock(float(t), tenths=step < 1) for t in times])
    top.set_xlabel(_("wall clock, UTC, {date}").format(date=f"{started:%Y-%m-%d}"))
    top.spines["top"].set_visible(False)


def _clock(second: float, *, tenths: bool) -> str:
    rest = f"{second % 60:04.1f}" if tenths else f"{second % 60:02.0f}"
    return f"{int(second // 3600) % 24:02d}:{int(second // 60) % 60:02d}:{rest}"


def _legend(fig: Figure, found: Outages, _: Words) -> None:
    out = _("out of service (each end to within 1/{rate} s)")
    marks: list[Artist] = [
        Patch(facecolor=OUT, edgecolor=OUT, label=out.format(rate=found.rate)),
        Line2D([], [], color=QUIET, linewidth=1.2, label=_("answers")),
    ]
    if found.breaks:
        marks.append(Patch(facecolor="white", edgecolor=QUIET, hatch="...", label=_("the meter stood still")))
    fig.legend(handles=marks, loc="outside lower center", ncol=len(marks), frameon=False)
