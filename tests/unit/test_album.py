"""The pictures of the tutorial: taken out of executed notebooks, small, and each of them on its page."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from hikkoshi.run.step import CONVERT
from hikkoshi_lab import album

DOCS = Path(__file__).parents[2] / "docs"


def executed(path: Path, source: str, colour: str) -> None:
    """A notebook that has shown a picture of one colour."""
    png = io.BytesIO()
    Image.new("RGB", (1200, 10), colour).save(png, "PNG")
    data = {"image/png": base64.b64encode(png.getvalue()).decode()}
    cell = nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output("display_data", data)])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


def test_a_picture_is_taken_from_the_newest_run_of_its_step(tmp_path: Path) -> None:
    words = album.TAKEN["disk"][1]
    executed(tmp_path / f"20261129T1-{CONVERT}.ipynb", f"show.figure({words})", "blue")
    executed(tmp_path / f"20261130T1-{CONVERT}.ipynb", f"show.figure({words})", "red")
    made = Image.open(io.BytesIO(album.small(album.shown(tmp_path, CONVERT, words))))
    assert made.size == (1000, 8)
    assert made.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_what_was_not_run_or_shows_nothing_is_told(tmp_path: Path) -> None:
    executed(tmp_path / f"20261130T1-{CONVERT}.ipynb", "show.table()", "red")
    with pytest.raises(LookupError, match="make demo"):
        album.shown(tmp_path, CONVERT, album.TAKEN["disk"][1])


def test_each_cell_that_a_picture_is_taken_from_is_in_its_runbook() -> None:
    for step, words in album.TAKEN.values():
        assert words in (DOCS.parent / "notebooks" / f"{step}.ipynb").read_text()


@pytest.mark.parametrize("page", [DOCS / "tutorial.md", DOCS / "ja" / "tutorial.md"], ids=["English", "Japanese"])
def test_the_tutorial_shows_every_picture_with_words(page: Path) -> None:
    shown = re.findall(r"!\[([^]]{20,})\]\(((?:\.\./)?pictures/[\w-]+\.png)\)", page.read_text())
    assert {page.parent.joinpath(target).resolve() for _, target in shown} == set((DOCS / "pictures").glob("*.png"))
    assert {p.stem for p in (DOCS / "pictures").glob("*.png")} == set(album.TAKEN)


def test_the_pictures_are_small_enough_for_a_repository() -> None:
    sizes = {p.name: p.stat().st_size for p in (DOCS / "pictures").glob("*.png")}
    assert sum(sizes.values()) < 200_000, sizes
