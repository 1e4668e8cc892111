"""What people read has a measure: they read it at night, and often in a language that is not their first."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").glob("*.md"))]


def paragraphs(page: Path) -> Iterator[str]:
    """Paragraphs and items of lists; no code, tables, headings or pictures."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:\* |\d+\. ))", text):
        if block.strip() and not block.lstrip().startswith(("|", "#", "!")):
            yield " ".join(block.split())


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text().split()) <= 900


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_paragraph_has_at_most_seventy_words(page: Path) -> None:
    assert [p for p in paragraphs(page) if len(p.split()) > 70] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_line_of_prose_fits_a_terminal(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    assert [line for line in prose.splitlines() if len(line) > 130 and not line.startswith(("|", "!"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_to_a_page_that_is_there(page: Path) -> None:
    links = [t.partition("#")[0] for t in re.findall(r"\]\(([^)]+)\)", page.read_text())]
    assert [t for t in links if t and not (page.parent / t).exists()] == []


def test_the_readme_leads_to_every_page() -> None:
    assert {f"docs/{p.name}" for p in PAGES[1:]} <= set(re.findall(r"\]\(([^)]+)\)", README.read_text()))
