"""The figures of a report say everything in the report's language."""

import base64
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from babel.messages.extract import extract_from_dir
from matplotlib.figure import Figure
from matplotlib.text import Text

from drawings import FIGURES, Draw, cells, measured
from hikkoshi import tool
from hikkoshi.figures import overview, plots
from hikkoshi.report import drawing
from hikkoshi.report.drawing import vectors
from hikkoshi.report.language import translations
from hikkoshi.translation import Gettext

JA = translations("ja").gettext
# what is no word of ours: units, UTC, and the names that a site gives its segments
NAMES = re.compile(r"10\^6 bits/s|UTC|\b\d+(\.\d+)?e[+-]\d+\b|vlan\d+")


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
