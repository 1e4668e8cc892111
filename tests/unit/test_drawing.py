"""The figures of a report say everything in the report's language."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from babel.messages.extract import extract_from_dir
from matplotlib.figure import Figure
from matplotlib.text import Text

from hikkoshi import tool
from hikkoshi.figures import overview, plots, timeline
from hikkoshi.network.compare.sequential import Attempt, Series
from hikkoshi.network.compare.statistics import Estimate
from hikkoshi.network.outage import outage
from hikkoshi.network.outage.outage import Break, Outages
from hikkoshi.report import drawing
from hikkoshi.report.drawing import vectors
from hikkoshi.report.language import Gettext, translations

RECORDED = Path(__file__).parents[1] / "data" / "outage"
JA = translations("ja").gettext
# what is no word of ours: units, UTC, and the names that a site gives its segments
NAMES = re.compile(r"10\^6 bits/s|UTC|\b\d+(\.\d+)?e[+-]\d+\b|vlan\d+")
Draw = Callable[[Gettext], Figure]


def measured(through: float) -> Series:
    """Five runs each as 80 makes them, and one that could not be made."""
    runs = [
        Attempt(number=n, path=path, began="2026-11-22T00:00:00.000+00:00", seconds=2, throughput=value + n / 100)
        for n, (path, value) in enumerate([("through the guest", through), ("direct", 94.0)] * 5, 1)
    ]
    failed = Attempt(number=11, path="direct", began="2026-11-22T00:00:00.000+00:00", seconds=2, throughput=None)
    return Series(through="through the guest", direct="direct", unit="10^6 bits/s", seed=1, runs=(*runs, failed))


def cells() -> dict[str, dict[str, Estimate | None]]:
    ratios = [None, *(Estimate(x, x - 0.05, x + 0.05, confidence=0.95) for x in (0.5, 0.9, 1.0))]
    return {f"vlan{n}": {"before the move": r, "since the move": r} for n, r in enumerate(ratios)}


def outages(name: str = "one-2.05--behind-arp.jsonl", **changed: object) -> Outages:
    """A measurement as it was recorded, its segments called vlan0, vlan1, …, or with these fields changed."""
    found = outage.read(RECORDED / name)
    named = tuple(s.model_copy(update={"name": f"vlan{n}"}) for n, s in enumerate(found.segments))
    return found.model_copy(update={"segments": named, **changed})


def unseen() -> Outages:
    """Outages whose beginning or end nobody saw, several of one segment, and a segment that never answered."""
    (only,) = outages().segments
    (o,) = only.outages
    open_ = {"most": None, "to_the_end": True}
    states = (
        ("never answered", [o.model_copy(update=open_ | {"from_the_start": True})]),
        ("answers", [o.model_copy(update={"most": None, "from_the_start": True})]),
        ("out", [o.model_copy(update=open_)]),
        ("answers", [o, o.model_copy(update={"after": o.after + 3})]),
    )
    return outages(
        segments=tuple(
            only.model_copy(update={"name": f"vlan{n}", "at_the_end": state, "outages": tuple(every)})
            for n, (state, every) in enumerate(states)
        )
    )


FIGURES: list[tuple[str, Draw]] = [
    ("turns, slow", lambda _: plots.turns(measured(0.5), _)),
    ("turns, fast", lambda _: plots.turns(measured(93.0), _)),
    ("remedy", lambda _: plots.remedy(measured(0.5), measured(93.0), _)),
    ("segments", lambda _: overview.matrix(cells(), _)),
    *((p.stem, lambda _, p=p: timeline.timeline(outages(p.name), _)) for p in sorted(RECORDED.glob("*.jsonl"))),
    ("outages, not wholly seen", lambda _: timeline.timeline(unseen(), _)),
    ("a meter that stood still", lambda _: timeline.timeline(outages(breaks=(Break(after=1.0, seconds=0.5),)), _)),
]


def drawn(draw: Draw, _: Gettext = str) -> tuple[Figure, str]:
    """The figure as it went into a report, and the SVG."""
    kept: list[Figure] = []

    def keep(spoken: Gettext) -> Figure:
        kept.append(draw(spoken))
        return kept[0]

    image = vectors(keep, _)
    assert image.startswith("data:image/svg+xml;base64,")
    return kept[0], base64.b64decode(image.partition(",")[2]).decode()


def words(figure: Figure) -> list[str]:
    """Every text that is seen, those of the ticks as they are drawn."""
    figure.canvas.draw()
    return [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text()]


@pytest.mark.needs("fc-list")
@pytest.mark.parametrize("draw", [d for _, d in FIGURES], ids=[name for name, _ in FIGURES])
def test_no_english_word_is_left_in_a_japanese_figure(draw: Draw) -> None:
    figure, _ = drawn(draw, JA)
    left = [text for text in words(figure) if re.search("[A-Za-z]", NAMES.sub("", text))]
    assert left == []
    assert any(re.search(r"[ぁ-ヿ一-鿿]", text) for text in words(figure))


@pytest.mark.needs("fc-list")
def test_japanese_characters_are_drawn_and_not_boxes(recwarn: pytest.WarningsRecorder) -> None:
    drawn(lambda _: plots.turns(measured(93.0), _), JA)
    assert [str(w.message) for w in recwarn if "Glyph" in str(w.message) or "findfont" in str(w.message)] == []


def test_every_word_of_the_figures_is_seen_in_one_of_these() -> None:
    asked: set[str] = set()

    def hear(message: str) -> str:
        asked.add(message)
        return message

    for _, draw in FIGURES:
        draw(hear)
    found = extract_from_dir(Path(plots.__file__).parent, [("**.py", "python")], keywords={"_": None})
    assert asked == {message for _, _, message, _, _ in found}


def test_a_segment_that_is_called_like_a_word_keeps_its_name() -> None:
    names = {"direct": cells()["vlan1"], "answers": cells()["vlan2"]}
    figure, _ = drawn(lambda _: overview.matrix(names, _), JA)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["direct", "answers"]
    assert "移行後" in words(figure)


def test_a_font_that_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "NotoSansCJK-broken.ttc").write_text("no font")
    good = tool.run(["fc-list", "-f", "%{file}\n", ":lang=ja:style=Regular"]).stdout.splitlines()[0]
    listed = f"{tmp_path / 'NotoSansCJK-broken.ttc'}\n{good}\n"
    monkeypatch.setattr(drawing.tool, "run", lambda argv, timeout: SimpleNamespace(stdout=listed))
    assert drawing.font.__wrapped__() != ()


def test_an_english_figure_has_its_words_and_leaves_its_title_to_the_caption() -> None:
    figure, _ = drawn(lambda _: plots.turns(measured(0.5), _))
    assert "run, in the order measured" in words(figure)
    assert "regressed" not in " ".join(words(figure))


def test_without_a_font_for_them_the_words_stay_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "font", tuple)
    figure, _ = drawn(lambda _: plots.turns(measured(93.0), _), JA)
    assert "run, in the order measured" in words(figure)


def test_the_same_figure_is_the_same_text_in_both_languages() -> None:
    for language in (str, JA):
        first, second = (drawn(lambda _: plots.turns(measured(93.0), _), language)[1] for _ in range(2))
        assert first == second
