"""How every picture looks: its colours, and what is drawn around an axis.

The colours are those of Okabe and Ito, which colour-blind people can tell apart, darker where words are written in them. What
stands side by side differs by more than its colour: by marker, line, hatch, sign, or by how dark it is. So a picture survives
a grey printer.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

Words = Callable[[str], str]  # from English to the language of the reader: `_`, for the extractors of gettext

INK, QUIET, FAINT, EMPTY = "#222222", "#707070", "#CCCCCC", "#E8E8E8"  # words; what they may do without; grids; nothing there
VERMILION, BLUE, PURPLE, AMBER = "#B34A00", "#005F9E", "#7A3B69", "#E69F00"
WRONG, RIGHT, GROUND = "#9C3D00", "#CFE8F7", "#F3F6F9"  # grounds of words, and the ink of what is wrong
PALETTE = (INK, QUIET, FAINT, EMPTY, VERMILION, BLUE, PURPLE, AMBER, WRONG, RIGHT, GROUND, "white")

PATHS = (  # colour, marker, fill of the marker, line: for the first path, the second, …
    (VERMILION, "o", "full", "solid"),
    (BLUE, "s", "none", "dashed"),
    (INK, "^", "full", "dotted"),
    (PURPLE, "D", "none", "dashdot"),
)


def bare(ax: Axes, values: Literal["x", "y"]) -> None:
    """A faint grid behind the axis with values; no frame but that axis and, where both have values, the other."""
    ax.grid(axis=values, color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def rows(ax: Axes) -> None:
    """Of an axis whose rows are things, and no values: no line and no ticks beside their names."""
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def plain_numbers(ax: Axes, which: Literal["x", "y"]) -> None:
    """No powers of ten beside an axis, and on a logarithmic one no number between its steps."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def png(fig: Figure) -> bytes:
    """A figure as a PNG file; the same figure is always the same bytes."""
    drawn = BytesIO()
    fig.savefig(drawn, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return drawn.getvalue()
