"""Where each NIC goes, as cables: bridge under Xen, NIC, segment, port group in vSphere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hikkoshi.figures.style import GROUND, INK, WRONG
from hikkoshi.vsphere.spec import VirtualNic

HEADS = ("under Xen", "NIC", "segment", "port group in vSphere")
LEFT, WIDTH = (0.0, 1.15, 2.3, 3.45), (0.85, 0.85, 0.85, 1.2)


@dataclass(frozen=True)
class Wire:
    """One NIC. `found` is what vSphere has of it, or why there is nothing; `wrong` that this is not as planned."""

    bridge: str
    nic: str
    mac: str
    segment: str
    vlan: int
    port_group: str
    found: str
    wrong: bool

    @classmethod
    def of(cls, nic: VirtualNic, bridge: str, found: str, *, wrong: bool = False) -> Self:
        """The wire of a planned NIC."""
        segment, group = nic.segment or "(no segment)", nic.port_group or "(none)"
        return cls(bridge, nic.name, nic.mac, segment, nic.vlan, group, found, wrong)

    def __str__(self) -> str:
        sign = "✘ " if self.wrong else ""
        return f"{sign}{self.nic} ({self.mac}) from {self.bridge} to {self.port_group} ({self.found}), planned as {self.planned}"

    @property
    def planned(self) -> str:
        """The segment with its VLAN."""
        return f"{self.segment}, VLAN {self.vlan}"


def wires(found: Sequence[Wire]) -> Figure:
    """A row for each NIC; what vSphere has otherwise than planned is cut, red, and has a sign."""
    fig = Figure(figsize=(9.0, 0.46 * (len(found) + 0.6)), layout="constrained")
    ax = fig.add_subplot()
    for left, width, head in zip(LEFT, WIDTH, HEADS, strict=True):
        ax.text(left + width / 2, 0.3, head, ha="center", va="center", weight="bold", color=INK)
    for y, wire in enumerate(found, 1):
        sign = "✘ " if wire.wrong else ""
        cells = (
            _short(wire.bridge or "default bridge", 21),
            f"{_short(wire.nic, 21)}\n{wire.mac}",
            f"{_short(wire.segment, 21)}\nVLAN {wire.vlan}",
            f"{_short(wire.port_group, 34)}\n{sign}{_short(wire.found, 32)}",
        )
        for n, words in enumerate(cells):
            wrong = wire.wrong and n == len(cells) - 1
            _box(ax, n, y, words, wrong=wrong)
            if n:
                _cable(ax, n, y, cut=wrong)
    ax.set_xlim(-0.02, LEFT[-1] + WIDTH[-1] + 0.02)
    ax.set_ylim(len(found) + 0.5, 0)
    ax.set_axis_off()
    return fig


def wires_words(found: Sequence[Wire]) -> str:
    """What `wires` shows, in words: what is otherwise than planned first, and whole."""
    wrong, right = [str(w) for w in found if w.wrong], [f"{w.nic} to {w.port_group}" for w in found if not w.wrong]
    told = "; ".join([*wrong, ", ".join(right)] if right else wrong)
    return f"Where each NIC goes, {len(wrong) or 'none'} of {len(found)} otherwise than planned. {told}."


def _short(words: str, most: int) -> str:
    """Its beginning and its end: what differs may stand at either; the whole name is in the words of the picture."""
    half = most // 2
    return words if len(words) <= most else f"{words[:half]}…{words[-half:]}"


def _box(ax: Axes, n: int, y: float, words: str, *, wrong: bool) -> None:
    """What is wrong is bold, too: on a grey printer its red is paler than the ink of the others."""
    colour, line, weight = (WRONG, 2.2, "bold") if wrong else (INK, 0.9, "normal")
    ax.add_patch(Rectangle((LEFT[n], y - 0.38), WIDTH[n], 0.76, facecolor=GROUND, edgecolor=colour, linewidth=line))
    at = LEFT[n] + WIDTH[n] / 2, y
    ax.text(*at, words, ha="center", va="center", color=colour, fontsize=8, linespacing=1.1, weight=weight)


def _cable(ax: Axes, n: int, y: float, *, cut: bool) -> None:
    begin, end = LEFT[n - 1] + WIDTH[n - 1], LEFT[n]
    ax.plot([begin, end], [y, y], color=WRONG if cut else INK, linewidth=1.4, linestyle="dotted" if cut else "solid")
    if cut:
        ax.text((begin + end) / 2, y - 0.04, "✘", ha="center", va="center", color=WRONG, weight="bold")
