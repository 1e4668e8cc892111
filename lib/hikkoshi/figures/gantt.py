"""Guests in time, step by step: who is at work when, and what each step shares with others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hikkoshi.figures.style import AMBER, BLUE, INK, VERMILION, WRONG, bare, rows
from hikkoshi.run.step import STEPS

UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))
SINGLY = 40  # guests, up to which each has a row
KINDS = {  # what a step shares with those of other guests: (words, ground, ink, hatch)
    "dom0": ("reads from a Dom-0", BLUE, "white", ""),
    "": ("works here", "white", INK, ""),
    "vsphere": ("with vSphere", AMBER, INK, "////"),
    "network": ("measures the network", VERMILION, "white", "...."),
}


@dataclass(frozen=True)
class Stretch:
    """One step of one guest, in seconds since the beginning; `failed`: it did not end well."""

    guest: str
    step: str
    begin: float
    end: float
    failed: bool = False


def gantt(found: Sequence[Stretch], since: str = "the beginning") -> Figure:
    """A row for each guest, in the order in which they begin; of more than forty, how many are at what kind of work.

    `since` says when that was, where it is known.
    """
    guests = list(dict.fromkeys(s.guest for s in sorted(found, key=lambda s: s.begin)))
    whole = max((s.end for s in found), default=1.0)
    unit, seconds = next((u, n) for u, n in UNITS if whole >= 2 * n or n == 1)
    singly = len(guests) <= SINGLY
    fig = Figure(figsize=(9, 1.3 + 0.24 * len(guests) if singly else 4.0), layout="constrained")
    ax = fig.add_subplot()
    if singly:
        for s in found:
            _bar(ax, guests.index(s.guest), s, seconds, whole)
        for row, guest in enumerate(guests):
            _failures(ax, row, [s for s in found if s.failed and s.guest == guest], seconds, whole)
        ax.set_yticks(range(len(guests)), guests)
        ax.set_ylim(len(guests) - 0.4, -0.6)
        rows(ax)
    else:
        _counts(ax, found, seconds, whole)
    ax.set_xlim(0, 1.03 * whole / seconds)
    ax.set_xlabel(f"{unit} since {since}")
    bare(ax, "x" if singly else "y")
    there = {STEPS[s.step].loads for s in found}
    marks = [Patch(facecolor=g, edgecolor=INK, hatch=h, label=w) for k, (w, g, _, h) in KINDS.items() if k in there]
    fig.legend(handles=marks, loc="outside lower center", ncols=len(marks) or 1, frameon=False, fontsize="small")
    return fig


def _bar(ax: Axes, row: int, s: Stretch, seconds: float, whole: float) -> None:
    """A step, with its number where that has room."""
    _, ground, ink, hatch = KINDS[STEPS[s.step].loads]
    begin, width, number = s.begin / seconds, (s.end - s.begin) / seconds, STEPS[s.step].number
    ax.barh(row, width, left=begin, height=0.78, facecolor=ground, edgecolor=INK, hatch=hatch, linewidth=0.6)
    if s.end - s.begin > 0.03 * whole and not s.failed:
        plate = {"facecolor": ground, "edgecolor": "none", "pad": 0.8}
        ax.text(begin + width / 2, row, number, ha="center", va="center", color=ink, fontsize="x-small", bbox=plate)


def _failures(ax: Axes, row: int, failed: Sequence[Stretch], seconds: float, whole: float) -> None:
    """The numbers of a guest's steps that failed, behind them; of those that are near each other, together behind the last."""
    signs: list[tuple[float, list[str]]] = []  # (where, numbers)
    for s in sorted(failed, key=lambda s: s.end):
        at, numbers = signs[-1] if signs else (-whole, [])
        if s.end - at < (0.04 + 0.03 * len(numbers)) * whole:
            signs[-1] = s.end, [*numbers, STEPS[s.step].number]
        else:
            signs.append((s.end, [STEPS[s.step].number]))
    plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for at, numbers in signs:
        words = ", ".join(number if n == 1 else f"{n} × {number}" for number, n in Counter(numbers).items())
        place = (at / seconds, row)
        ax.annotate(f"✘ {words}", place, (3, 0), textcoords="offset points", va="center", color=WRONG, weight="bold", bbox=plate)


def _counts(ax: Axes, found: Sequence[Stretch], seconds: float, whole: float) -> None:
    """How many guests are at each kind of work, one kind upon the other."""
    times = np.linspace(0, whole, 500)
    counts = []
    for kind in KINDS:
        of = [s for s in found if STEPS[s.step].loads == kind]
        begun, ended = (np.searchsorted(np.sort(edges), times, "right") for edges in ([s.begin for s in of], [s.end for s in of]))
        counts.append(begun - ended)
    grounds = [ground for _, ground, _, _ in KINDS.values()]
    layers = ax.stackplot(times / seconds, counts, colors=grounds, edgecolor=INK, linewidth=0.3, step="post")
    for layer, (_, _, _, hatch) in zip(layers, KINDS.values(), strict=True):
        layer.set_hatch(hatch)
    ax.set_ylabel("guests at work")


def gantt_words(found: Sequence[Stretch]) -> str:
    """What `gantt` shows, in words."""
    ends = {s.guest: s.end for s in sorted(found, key=lambda s: s.end)}
    failed = ", ".join(f"{s.guest} in {STEPS[s.step].number}" for s in found if s.failed)
    last, end = max(ends.items(), key=lambda e: e[1], default=("nobody", 0.0))
    words = f"{len(ends)} guests in time, each with its steps; the last to end is {last}, after {spoken(end)}."
    return words + (f" Failed: {failed}." if failed else "")


def spoken(seconds: float) -> str:
    """'2 h 05 min', '12 min', '40 s'."""
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"
    )
