"""What people read has a measure: they read it at night, and often in a language that is not their first."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").rglob("*.md"))]


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
