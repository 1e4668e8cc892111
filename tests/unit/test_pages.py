"""The documentation's pages: each is led to, and what they name is there, in the repository as on the site."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

PROJECT = Path(__file__).parents[2]
INDEX = PROJECT / "docs" / "index.md"
TEXTS = [*sorted((PROJECT / "docs").rglob("*.md")), *sorted(PROJECT.glob("*.md"))]
RUNBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
CATALOGUES = sorted(
    (PROJECT / "lib" / "hikkoshi" / "record" / "engine" / "locale").glob("*/*.po")
)  # the runbooks in other languages


def prose(page: Path) -> str:
    """A page without its code; of a notebook, its cells of text."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        text = "\n\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """What GitHub and the site call the headings of a page."""
    titles = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", t) for t in re.findall(r"^#+ +(.+?) *$", prose(page), re.M))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def lost(page: Path, text: str) -> Iterator[str]:
    """The relative links of a page's text that lead nowhere."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if re.match(r"[a-z]+:", target):
            continue
        if not path.exists() or (anchor and anchor not in anchors(path)):
            yield target


@pytest.mark.parametrize("page", [*TEXTS, *RUNBOOKS], ids=lambda p: str(p.relative_to(PROJECT)))
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    assert list(lost(page, prose(page))) == []


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_runbook_in_another_language_leads_to_what_is_there_too(catalogue: Path) -> None:
    with catalogue.open("rb") as f:
        text = "\n\n".join(str(m.string) for m in read_po(f))
    assert list(lost(PROJECT / "notebooks" / f"{catalogue.stem}.ipynb", text)) == []


def test_a_link_to_a_page_or_a_heading_that_is_not_there_is_found() -> None:
    text = "[a](no-page.md) [b](limits.md#no-heading) [c](#nothing) [d](limits.md#never-tried) [e](https://example.org/x)"
    assert list(lost(INDEX, text)) == ["no-page.md", "limits.md#no-heading", "#nothing"]


def test_the_front_page_leads_to_every_page_once() -> None:
    """Or the site has a page that nobody finds; the list beside it is for readers of the repository."""
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", INDEX.read_text(), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    listed = [re.sub(r".* <(.*)>", r"\1", line) for line in lines]  # with a title of its own, or without
    every = [p for p in [*TEXTS, *RUNBOOKS] if p != INDEX]
    assert sorted((INDEX.parent / name).resolve() for name in listed) == sorted(p.with_suffix("") for p in every)
    own = {name for name in listed if not name.startswith("..")}
    assert own <= {t.removesuffix(".md") for t in re.findall(r"\]\(([^)#]+)", prose(INDEX))}


def test_the_readme_leads_to_the_front_page() -> None:
    assert "](docs/index.md)" in (PROJECT / "README.md").read_text()
