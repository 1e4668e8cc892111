"""What a text and its translation have in common: headings, commands, code, pictures, links, numbers."""

import re
from collections.abc import Callable
from pathlib import Path

JAPANESE = {p.name for p in (Path(__file__).parents[1] / "docs" / "ja").glob("*.md")}  # each has its headings in Japanese

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
    """Where they lead, each once, as from the project's folder; not to the same page in the other language.

    Of a page in both languages only that: the name of a place in it is a heading, and translated.
    """
    found = {re.sub(r"^(\.\./)*(docs/)?(ja/)?", "", t) for t in re.findall(r"\]\(([^)\s]+)\)", without_code(text))}
    found = {page if (page := t.partition("#")[0]) in JAPANESE else t for t in found}
    return sorted(found - {"README.md", "README.ja.md"})


def items(text: str) -> list[str]:
    """The points of lists, by their marks."""
    return re.findall(r"^ *(\*|\d+\.) ", without_code(text), re.M)


def english(text: str) -> list[str]:
    """The paragraphs of a Japanese text that are not in Japanese."""
    plain = re.sub(r"`[^`]+`|\]\([^)]*\)", "", without_code(text))
    return [p for p in re.split(r"\n\s*\n", plain) if len(p.split()) > 3 and not re.search("[ぁ-ん]", p)]
