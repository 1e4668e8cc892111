"""A page in Japanese says what its original says: the same headings, commands, code, pictures and links, in the same order."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAIRS = {"README.md": "README.ja.md"} | {f"docs/{p.name}": f"docs/ja/{p.name}" for p in (PROJECT / "docs" / "ja").glob("*.md")}
Parts = Callable[[str], list[str]]


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)


def headings(text: str) -> list[str]:
    """Their depths."""
    return re.findall(r"^(#+) ", without_code(text), re.M)


def blocks(text: str) -> list[str]:
    """What is typed or shown, without the comments, which are translated."""
    return [re.sub(r" *# .*$", "", b, flags=re.M) for b in re.findall(r"^ *```.*?\n(.*?)^ *```$", text, re.M | re.S)]


def codes(text: str) -> list[str]:
    """Words of programs in sentences, each once: another language has another order."""
    return sorted({" ".join(c.split()) for c in re.findall(r"`([^`]+)`", without_code(text))})


def links(text: str) -> list[str]:
    """Where they lead, each once, as from the project's folder; not to the same page in the other language."""
    found = {re.sub(r"^(\.\./)*(docs/)?(ja/)?", "", t) for t in re.findall(r"\]\(([^)\s]+)\)", without_code(text))}
    return sorted(found - {"README.md", "README.ja.md"})


def items(text: str) -> list[str]:
    """The points of lists, by their marks."""
    return re.findall(r"^ *(\*|\d+\.) ", without_code(text), re.M)


@pytest.mark.parametrize("parts", [headings, blocks, codes, links, items], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("original", "other"), PAIRS.items(), ids=PAIRS.values())
def test_a_page_in_japanese_has_all_that_its_original_has(original: str, other: str, parts: Parts) -> None:
    assert parts((PROJECT / other).read_text()) == parts((PROJECT / original).read_text())


@pytest.mark.parametrize("original", PAIRS)
def test_each_page_leads_to_itself_in_the_other_language(original: str) -> None:
    for page, other in ((original, PAIRS[original]), (PAIRS[original], original)):
        targets = re.findall(r"\]\(([^)\s]+)\)", (PROJECT / page).read_text())
        assert (PROJECT / other).resolve() in {(PROJECT / page).parent.joinpath(t).resolve() for t in targets}


@pytest.mark.parametrize("page", PAIRS.values())
def test_no_sentence_of_a_japanese_page_was_left_in_english(page: str) -> None:
    text = re.sub(r"`[^`]+`|\]\([^)]*\)", "", without_code((PROJECT / page).read_text()))
    paragraphs = [p for p in re.split(r"\n\s*\n", text) if len(p.split()) > 3]
    assert paragraphs
    assert [p for p in paragraphs if not re.search("[ぁ-ん]", p)] == []
