"""A page in Japanese says what its original says: the same headings, commands, code, pictures and links, in the same order."""

import re
from pathlib import Path

import pytest

from bilingual import Parts, blocks, codes, english, headings, items, links

PROJECT = Path(__file__).parents[2]
PAIRS = {"README.md": "README.ja.md"} | {f"docs/{p.name}": f"docs/ja/{p.name}" for p in (PROJECT / "docs" / "ja").glob("*.md")}


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
    assert english((PROJECT / page).read_text()) == []
