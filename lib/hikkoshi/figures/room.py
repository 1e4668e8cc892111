"""How full a site is, and will be with all that is planned; and the words that stand for the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hikkoshi import files
from hikkoshi.figures.style import AMBER, BLUE, INK, WRONG, bare, rows


@dataclass(frozen=True)
class Room:
    """Something that machines take, in bytes: how much there is, how much of it is taken, how much more is planned."""

    what: str
    there: int
    taken: int
    planned: int

    def __str__(self) -> str:
        sizes = (files.human(size) for size in (self.there, self.taken, self.planned))
        return "{}: {} there, {} taken, {} planned".format(self.what, *sizes) + f"; {self.left}"

    @property
    def over(self) -> bool:
        """Whether more is taken and planned than there is."""
        return self.taken + self.planned > self.there

    @property
    def left(self) -> str:
        """What is left, in words."""
        rest = files.human(abs(self.there - self.taken - self.planned))
        return f"▼ {rest} more than there is" if self.over else f"{rest} left"


def rooms(found: Sequence[Room]) -> Figure:
    """A bar for each, as a share of what there is: what is taken, then what is planned, hatched; beside it what is left."""
    fig = Figure(figsize=(8.5, 1.3 + 0.45 * len(found)), layout="constrained")
    ax = fig.add_subplot()
    for y, room in enumerate(found):
        taken, planned = (100 * size / (room.there or 1) for size in (room.taken, room.planned))
        ax.barh(y, taken, height=0.6, color=BLUE)
        ax.barh(y, planned, left=taken, height=0.6, facecolor=AMBER, edgecolor=INK, hatch="///", linewidth=0.8)
        colour, weight = (WRONG, "bold") if room.over else (INK, "normal")
        ax.annotate(room.left, (1.01, y), xycoords=("axes fraction", "data"), va="center", color=colour, weight=weight)
    ax.axvline(100, color=INK, linestyle="dashed", linewidth=1.2)
    ax.set_yticks(range(len(found)), [room.what for room in found])
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.set_xlim(left=0, right=max(105, ax.get_xlim()[1]))
    ax.set_xlabel("share of what there is, %")
    bare(ax, "x")
    rows(ax)
    marks = [Patch(color=BLUE, label="taken"), Patch(facecolor=AMBER, edgecolor=INK, hatch="///", label="planned")]
    fig.legend(handles=marks, loc="outside lower center", ncol=2, frameon=False)
    return fig


def rooms_words(found: Sequence[Room]) -> str:
    """What `rooms` shows, in words."""
    return f"What is left of the site when every planned machine is in it. {'. '.join(map(str, found))}."
