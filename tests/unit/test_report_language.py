"""The Japanese catalogue has every message of the report, and of what runbooks show; whole, with the same placeholders."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from hikkoshi.approval import proposal
from hikkoshi.cli import main
from hikkoshi.figures import plots
from hikkoshi.guest import descent
from hikkoshi.guest.note import MEANINGS, Note
from hikkoshi.report import language
from hikkoshi.run.group import ALIKE, EVERY, OTHERS
from hikkoshi.run.step import STEPS
from hikkoshi.show import lists

PROJECT = Path(__file__).parents[2]
REPORT = Path(language.__file__).parent
TITLED = ("ensure", "checklist", "Checklist")  # what is called with a title first
PLACE = re.compile(r"%\(\w+\)s|%%|\{\w+\}")


def titles(source: str, *more: str) -> Iterator[str]:
    """The titles, captions and descriptions of pictures that stand in some code."""
    for call in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)):
        named = [k.value for k in call.keywords if k.arg in ("caption", "alt")]
        if ast.unparse(call.func).split(".")[-1] in (*TITLED, *more):
            named += call.args[:1]
        yield from (str(w.value) for w in named if isinstance(w, ast.Constant) and w.value)


def shown() -> dict[str, str]:
    """{title, caption or description: the file that it is in}, of what a run's tables and pictures are called."""
    found = {t: path.name for path in sorted((PROJECT / "lib").rglob("*.py")) for t in titles(path.read_text())}
    for path in sorted((PROJECT / "notebooks").glob("[1-9]*.ipynb")):
        if path.stem not in ("81-table1", "95-fleet"):  # without a run, whose site tells the language
            code = (c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
            found |= {t: path.name for source in code for t in titles(source, "text", "progress")}
    return found


def checks() -> dict[str, str]:
    """{code: what the check looks at}, by the page that has them all."""
    table = (PROJECT / "docs" / "codes.md").read_text().partition("## Checks")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(.+?)` \| (.+) \|$", table, re.M))


def messages() -> dict[str, str]:
    """{message: the file that it is in}, as Babel's own extractors find them, the words of the steps, and what runs show."""
    found = [
        each
        for folder in (Path(str(module.__file__)).parent for module in (language, plots, lists, proposal, descent, main))
        for each in extract_from_dir(
            folder,
            [("**.py", "python"), ("**.j2", "jinja2.ext:babel_extract")],
            {"**.j2": {"trimmed": "true"}},
            keywords={"_": None},
        )
    ]
    words = [w for s in STEPS.values() for w in (s.title, s.noun, s.done)]
    said = dict.fromkeys(words, "step.py") | dict.fromkeys(MEANINGS.values(), "note.py")
    said |= dict.fromkeys([*ALIKE.values(), EVERY, OTHERS], "group.py")
    return said | shown() | {m: file for file, _, m, _, _ in found if isinstance(m, str)}


@pytest.fixture(scope="module")
def extracted() -> dict[str, str]:
    found = messages()
    assert len(found) > 250
    return found


@pytest.mark.parametrize("lang", ["ja"])
def test_every_message_is_translated_with_the_same_placeholders(extracted: dict[str, str], lang: str) -> None:
    with (REPORT / "locale" / f"{lang}.po").open("rb") as f:
        catalogue = read_po(f, locale=lang, abort_invalid=True)
    problems = []
    for message, file in extracted.items():
        entry = catalogue.get(message)
        if entry is None:
            problems.append(f"{file}: missing: {message}")
        elif entry.fuzzy or not entry.string:
            problems.append(f"{file}: fuzzy or empty: {message}")
        elif sorted(PLACE.findall(message)) != sorted(PLACE.findall(str(entry.string))):
            problems.append(f"{file}: other placeholders: {message}")
    problems += [f"nobody says that any more: {m.id}" for m in catalogue if m.id and not m.context and m.id not in extracted]
    problems += [str(e) for m, errors in catalogue.check() for e in errors]
    assert problems == []


def test_every_check_has_its_words_and_they_are_of_what_it_looks_at_now() -> None:
    with (REPORT / "locale" / "ja.po").open("rb") as f:
        entries = [m for m in read_po(f, locale="ja", abort_invalid=True) if m.context]
    assert {(m.context, m.id): " ".join(m.auto_comments) for m in entries if m.string} == {
        ("check", c): w for c, w in checks().items()
    }
    assert len({m.string for m in entries}) == len(entries)
    assert language.of_check("plan-approved", "ja") == "計画が承認されている"
    assert language.of_check("plan-approved", "en") == language.of_check("of-another-version", "ja") == ""


@pytest.mark.parametrize("template", ["report.html.j2", "sheet.html.j2"])
def test_a_template_says_nothing_that_is_not_in_the_catalogue(template: str) -> None:
    text = (REPORT / template).read_text(encoding="utf-8")
    for pattern in (
        r"<style>.*?</style>",
        r"<pre>hikkoshi verify .*?</pre>",
        r"\{%.*?%\}",
        r"\{\{.*?\}\}",
        r"<!DOCTYPE html>",
        r"<[^>]*>",
        r"&\w+;",
    ):
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    left = set(re.findall(r"[A-Za-z][\w-]*", text))
    assert left <= {"NIC", "MAC", "VLAN", "SHA-256"}


def test_words_of_an_earlier_version_that_nobody_knows_stay_as_they_are() -> None:
    words = "the guest's clock is kept by Xen"
    assert Note.model_validate(words).said(language.translations("ja").gettext) == words


def test_english_needs_no_catalogue() -> None:
    assert language.translations("en").gettext("verdict") == "verdict"
    assert language.translations("ja").gettext("verdict") == "判定"
