"""The runbooks' own prose in another language: whole, cell by cell what the original says, and only where a site wants it."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from babel.messages.pofile import read_po
from markdown_it import MarkdownIt

from bilingual import blocks, codes, headings, items, links, without_code
from hikkoshi.params.home import Home
from hikkoshi.record import anatomy
from hikkoshi.record.engine import notebook, prose

PROJECT = Path(__file__).parents[2]
RUNBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PREPARE = PROJECT / "notebooks" / "30-prepare.ipynb"
COUNTED = {"a": "1", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "eight": "8", "nine": "9"}
COUNTED |= {"second": "2", "third": "3", "ten": "10", "dozen": "12", "twenty": "20", "half": "30", "hundred": "100"}


def texts(path: Path) -> list[str]:
    return [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]


@functools.cache
def catalogue(lang: str, step: str) -> dict[str, str]:
    """What it has, by the original; nothing that a reader would not see."""
    with (prose.PACKAGE / prose.catalogue(lang, step)).open("rb") as f:
        return {str(m.id): str(m.string) for m in read_po(f, locale=lang, abort_invalid=True) if m.id and not m.fuzzy}


def paragraphs(text: str) -> list[int]:
    """How many, by their lines: rows of tables and points of lists are one each."""
    return [p.count("\n") for p in re.split(r"\n\s*\n", text)]


def marks(text: str) -> list[int]:
    """How much stands out on the page, strongly and less so: between Japanese signs not every * is a mark."""
    page = MarkdownIt().render(text)
    return [page.count(mark) for mark in ("<strong>", "<em>")]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"\]\([^)]*\)", "", text)))


@pytest.mark.parametrize("lang", prose.LANGUAGES)
@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda p: p.stem)
class TestEachRunbook:
    def test_it_is_translated_whole_and_nothing_stale_is_kept(self, path: Path, lang: str) -> None:
        known = catalogue(lang, path.stem)
        assert list(known) == list(dict.fromkeys(texts(path)))
        assert [original for original, other in known.items() if not other.strip()] == []

    def test_no_two_texts_become_one(self, path: Path, lang: str) -> None:
        """Or nobody could tell which of them to put back when the page is saved."""
        known = catalogue(lang, path.stem)
        assert len(set(known.values())) == len(known)

    @pytest.mark.parametrize("parts", [headings, blocks, codes, links, items, paragraphs, marks], ids=lambda f: f.__name__)
    def test_each_cell_has_all_that_its_original_has(self, path: Path, lang: str, parts: Callable[[str], object]) -> None:
        assert [(o, parts(t), parts(o)) for o, t in catalogue(lang, path.stem).items() if parts(t) != parts(o)] == []

    def test_each_number_is_the_same(self, path: Path, lang: str) -> None:
        """What is a word in English may be a figure in Japanese."""
        for original, other in catalogue(lang, path.stem).items():
            words = {COUNTED[w] for w in re.findall(r"[a-z]+", original.lower()) if w in COUNTED}
            assert numbers(original) <= numbers(other), original
            assert numbers(other) <= numbers(original) | words, original

    def test_no_line_was_left_in_english(self, path: Path, lang: str) -> None:
        lines = [line for text in catalogue(lang, path.stem).values() for line in without_code(text).splitlines()]
        assert [line for line in lines if re.search("[A-Za-z]{2}", line) and not re.search("[ぁ-んァ-ヶ一-龠]", line)] == []


@pytest.fixture
def japanese(home: Home) -> Home:
    home.site_file.write_text(home.site_file.read_text().replace("lang: en", "lang: ja"))
    return home


def executed(runbook: Path, home: Home) -> Any:
    """A notebook as papermill has the engine execute it, as far as a machine without its kernel comes."""
    nb = nbformat.read(runbook, as_version=4)
    nb.metadata["papermill"] = {"parameters": {"home": str(home.root)}}
    for cell in nb.cells:
        cell.metadata["papermill"] = {}
    return notebook.execute(nb, "no such kernel", input_path=str(runbook))


def test_what_is_executed_is_in_the_language_of_its_home(home: Home) -> None:
    assert [c.source for c in executed(PREPARE, home).cells if c.cell_type == "markdown"] == texts(PREPARE)
    home.site_file.write_text(home.site_file.read_text().replace("lang: en", "lang: ja"))
    nb, original = executed(PREPARE, home), nbformat.read(PREPARE, as_version=4)
    assert nb.cells[0].source.startswith("# 30 · 複製を準備する\n> ")
    for cell, own in zip(nb.cells, original.cells, strict=True):
        assert (cell.source == own.source) is (own.cell_type == "code")


def test_a_text_of_the_sites_own_stays_as_it_is(japanese: Home, tmp_path: Path) -> None:
    nb = json.loads(PREPARE.read_text())
    nb["cells"][0]["source"] = ["# Ours\n", "\n", "Call us first."]
    nb["cells"][1:1] = [{"cell_type": "markdown", "id": "empty", "metadata": {}, "source": []}]
    (tmp_path / PREPARE.name).write_text(json.dumps(nb))
    shown = executed(tmp_path / PREPARE.name, japanese)
    assert [c.source for c in shown.cells[:2]] == ["# Ours\n\nCall us first.", ""]
    assert re.search("[ぁ-ん]", shown.cells[2].source)


def test_without_a_catalogue_or_by_a_broken_one_texts_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert prose.said("ja", "99-ours")("Look.") == "Look."
    assert prose.said("en", PREPARE.stem)(texts(PREPARE)[0]) == texts(PREPARE)[0]
    monkeypatch.setattr(prose, "PACKAGE", tmp_path)
    broken = tmp_path / prose.catalogue("ja", PREPARE.stem)
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b'msgid "Look."\nmsgstr "\xff"\n')
    assert prose.said("ja", PREPARE.stem)("Look.") == "Look."


def test_what_introduces_a_cell_is_its_first_sentence_in_japanese_too(japanese: Home) -> None:
    nb = executed(PREPARE, japanese)
    index = next(i for i, c in enumerate(nb.cells) if c.id == "action")
    assert anatomy.introduction(nb, index) == "何をするか、なぜするかを示します"
