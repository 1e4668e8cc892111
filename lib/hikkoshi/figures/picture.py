"""A conversion as a picture: where on the disk there is data, and how fast it went."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from hikkoshi import files
from hikkoshi.disk import vmdk
from hikkoshi.disk.extents import BLOCK, RawDisk
from hikkoshi.figures.style import AMBER, BLUE, EMPTY, INK, RIGHT, bare

COLUMNS, ROWS = 64, 16  # cells of the map
PARTS = 40  # of the time, at most, each with its rate
KINDS = (("data", BLUE), ("zeros that were written", AMBER), ("holes", EMPTY))  # from dark to light
MIB = 1 << 20


Disk = tuple[Path, Path]  # a raw disk, and the VMDK that was made of it


def shares(disks: Sequence[Disk], cells: int = COLUMNS * ROWS) -> NDArray[np.float64]:
    """Of each of the disks' equal parts, one disk after the other, the share (0 to 1) of data, of zeros that were written, and
    of holes.

    Shape (cells, 3). By what the file system says of the raw disk, and by which grains the VMDK made of it holds.
    """
    allocated, stored = (np.concatenate(blocks) for blocks in zip(*(_blocks(*disk) for disk in disks), strict=True))
    edges = np.linspace(0, len(stored), cells + 1).astype(int)
    sums = [np.concatenate(([0], np.cumsum(kind))) for kind in (stored, allocated & ~stored, ~allocated & ~stored)]
    width = np.maximum(1, np.diff(edges))
    # a part narrower than a block looks like the block that it lies in
    ends = np.maximum(edges[1:], np.minimum(edges[:-1] + 1, len(stored)))
    starts = np.minimum(edges[:-1], len(stored) - 1)
    return np.stack([(s[ends] - s[starts]) / width for s in sums], axis=1)


def _blocks(disk: Path, stream: Path) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each block, whether it is allocated in the raw disk, and whether the VMDK holds it."""
    with RawDisk(disk) as source:
        blocks = -(-source.size // BLOCK)
        allocated = np.zeros(blocks, dtype=bool)
        for start, end in source.extents():
            allocated[start // BLOCK : -(-end // BLOCK)] = True
    stored = np.zeros(blocks, dtype=bool)
    with stream.open("rb") as f:
        for n, (_, entries) in enumerate(vmdk.tables(f.fileno(), vmdk.read(stream), stream)):
            part = stored[n * len(entries) : (n + 1) * len(entries)]
            part[:] = (np.array(entries) > 1)[: len(part)]
    return allocated, stored


def figure(disks: Sequence[Disk], samples: Sequence[tuple[float, int]]) -> Figure:
    """The map of the disks, one after the other, row by row from its beginning, above the rate over time.

    `samples` as of a conversion: (seconds, bytes read until then). Where nothing is converted yet, a picture that says so.
    """
    fig = Figure(figsize=(8.5, 5.2), layout="constrained")
    if not all(path.is_file() for disk in disks for path in disk):
        fig.text(0.5, 0.5, "nothing converted yet", ha="center")
        return fig
    top, bottom = fig.subplots(2, 1, height_ratios=[3, 2])
    _map(top, shares(disks), sum(disk.stat().st_size for disk, _ in disks), len(disks))
    _rate(bottom, samples)
    return fig


def _map(ax: Axes, cells: NDArray[np.float64], size: int, disks: int) -> None:
    colours = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for _, c in KINDS])
    # a little data in a large cell has to be seen
    weights = np.sqrt(cells)
    image = (weights @ colours) / weights.sum(axis=1, keepdims=True)
    ax.imshow(image.reshape(ROWS, COLUMNS, 3), aspect="auto", interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([0, ROWS - 1], ["0", files.human(size)])
    what = "the disk from its beginning to its end" if disks == 1 else f"the {disks} disks, one after the other"
    ax.set_title(f"{what}, {files.human(size / cells.shape[0])} in a cell", fontsize="medium")
    found = cells.mean(axis=0)
    words = [Patch(color=c, label=f"{name}: {files.human(size * p)}") for (name, c), p in zip(KINDS, found, strict=True)]
    ax.legend(handles=words, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False)


def _rate(ax: Axes, samples: Sequence[tuple[float, int]]) -> None:
    ax.set_xlabel("seconds")
    ax.set_ylabel("MiB/s read")
    ax.set_ylim(bottom=0)
    seconds, done = np.array([s for s, _ in samples]), np.array([b for _, b in samples])
    if len(samples) > 1 and seconds[-1] > 0:
        edges = np.linspace(0, seconds[-1], min(len(samples), PARTS) + 1)
        rates = np.diff(np.interp(edges, seconds, done)) / np.diff(edges) / MIB
        ax.stairs(rates, edges, fill=True, facecolor=RIGHT, edgecolor=BLUE, linewidth=1)
        ax.axhline(done[-1] / seconds[-1] / MIB, color=INK, linestyle="dashed", label="over all")
        ax.set_xlim(0, seconds[-1])
        ax.set_ylim(0, float(rates.max()) * 1.1)
        ax.legend(loc="lower right", framealpha=1)
    bare(ax, "y")
