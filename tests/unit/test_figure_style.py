"""Every picture is in one style, which colour-blind people can read, and a grey printer can print."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from drawings import CELLS, COUNTS, FIGURES, cables
from hikkoshi.disk import stream
from hikkoshi.disk.extents import BLOCK, RawDisk
from hikkoshi.figures import overview, picture, plots, room, style, wires

FOLDER = Path(style.__file__).parent
SMALLEST = 8  # points


def disk(folder: Path) -> Figure:
    raw, vmdk = folder / "d.img", folder / "d.vmdk"
    raw.write_bytes((b"x" * BLOCK + bytes(BLOCK)) * 20)
    with RawDisk(raw) as source:
        stream.write(source, vmdk, vmdk.name)
    return picture.figure([(raw, vmdk)], [(0, 0), (1, 10 << 20), (2, 40 << 20)])


DRAWN: dict[str, Callable[[Path], Figure]] = {
    **{name: lambda _, draw=draw: draw(str) for name, draw in FIGURES},
    "ratios": lambda _: plots.ratios([("slow", 0.2), ("fast", next(iter(CELLS.values()))["as found"])]),
    "matrix": lambda _: overview.matrix(CELLS),
    "counters": lambda _: overview.counters(COUNTS),
    "room": lambda _: room.rooms([room.Room("memory", 10, 4, 3), room.Room("datastore a", 10, 4, 7)]),
    "wires": lambda _: wires.wires(cables("eth3")),
    "disk": disk,
}


def light(colour: str) -> float:
    """How much light a colour gives, by WCAG: 0 of black, 1 of white."""
    parts = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return sum(c * weight for c, weight in zip(parts, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def shown(figure: Figure) -> Iterator[Text]:
    FigureCanvasAgg(figure).draw()  # the figure's own lays out nothing
    yield from (t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text().strip())


def test_colours_are_named_in_one_place() -> None:
    written = {p.name: re.findall(r"#[0-9A-Fa-f]{3,6}\b", p.read_text()) for p in FOLDER.glob("*.py") if p.name != "style.py"}
    assert {name: found for name, found in written.items() if found} == {}


def test_what_words_are_written_in_can_be_read_on_white() -> None:
    inks = (style.INK, style.QUIET, style.WRONG, *(colour for colour, *_ in style.PATHS))
    assert min(contrast(ink, "white") for ink in inks) >= 4.5


@pytest.mark.parametrize("ground", [style.GROUND, *(ground for _, ground, _, _ in overview.VERDICTS.values())])
def test_what_is_written_on_a_ground_can_be_read_there(ground: str) -> None:
    inks = [ink for _, g, ink, _ in overview.VERDICTS.values() if g == ground] or [style.INK, style.WRONG]
    assert min(contrast(ink, ground) for ink in inks) >= 4.5


def test_paths_differ_by_marker_and_line_and_what_lies_on_a_disk_by_how_dark_it_is() -> None:
    assert all(len({path[part] for path in style.PATHS}) == len(style.PATHS) for part in (0, 1, 3))
    darker = [light(colour) for _, colour in picture.KINDS]
    assert [b > a + 0.2 for a, b in itertools.pairwise(darker)] == [True, True]


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_a_picture_has_words_at_its_axes_in_letters_that_can_be_read_and_none_on_another(
    draw: Callable[[Path], Figure], tmp_path: Path
) -> None:
    figure = draw(tmp_path)
    texts = list(shown(figure))
    assert min(t.get_fontsize() for t in texts) >= SMALLEST
    for ax in (a for a in figure.axes if a.axison):
        assert all(axis.get_label_text() for axis in numbered(ax)), ax
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
    assert [(a, b) for (a, box), (b, other) in itertools.combinations(boxes, 2) if inside(box, other)] == []


def numbered(ax: Axes) -> Iterator[Axis]:
    """The axes of numbers; rows and columns that have names need no other words."""
    for axis in (ax.xaxis, ax.yaxis):
        labels = [text for tick in axis.get_ticklabels() if (text := tick.get_text())]
        if labels and all(re.fullmatch(r"[\d.,:e+−-]+", text) for text in labels):
            yield axis


def inside(box, other) -> bool:  # type: ignore[no-untyped-def]
    """Whether two boxes have more in common than an edge."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return width > 2 and height > 2
