"""The Japanese catalogue has every message of the report, whole and with the same placeholders."""

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from hikkoshi.figures import plots
from hikkoshi.guest.note import MEANINGS, Note
from hikkoshi.report import language
from hikkoshi.run.group import ALIKE, EVERY, OTHERS
from hikkoshi.run.step import STEPS

REPORT = Path(language.__file__).parent
PLACE = re.compile(r"%\(\w+\)s|%%|\{\w+\}")


def messages() -> dict[str, str]:
    """{message: the file that it is in}, as Babel's own extractors find them, and the words of the steps."""
    found = [
        each
        for folder in (REPORT, Path(plots.__file__).parent)
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
    return said | {m: file for file, _, m, _, _ in found if isinstance(m, str)}


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
    problems += [f"nobody says that any more: {m.id}" for m in catalogue if m.id and m.id not in extracted]
    problems += [str(e) for m, errors in catalogue.check() for e in errors]
    assert problems == []


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
