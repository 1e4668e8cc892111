"""Notes keep codes and facts; those of earlier versions, which kept words, stay as they were written."""

import json
import re
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval import plan
from hikkoshi.guest.note import MEANINGS, Note, note
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.report.language import translations

PROJECT = Path(__file__).parents[2]

MADE = [note(code, **{name: f"<{name}>" for name in re.findall(r"{(\w+)}", words)}) for code, words in MEANINGS.items()]


@pytest.mark.parametrize("made", MADE, ids=lambda n: n.code)
def test_a_note_keeps_its_code_and_facts_and_has_words_when_it_is_shown(made: Note) -> None:
    kept = json.loads(made.model_dump_json())
    assert kept == {"code": made.code, "facts": dict(made.facts)}
    assert Note.model_validate(kept) == made
    assert "{" not in str(made)


@pytest.mark.parametrize("made", MADE, ids=lambda n: n.code)
def test_the_words_of_an_earlier_version_have_their_code_and_stay_as_they_were_written(made: Note) -> None:
    read = Note.model_validate(str(made))
    assert (read.code, read.facts) == (made.code, made.facts)
    assert json.loads(read.model_dump_json()) == str(made)
    assert read.said(translations("ja").gettext) == made.said(translations("ja").gettext) != str(made)


def test_a_plan_of_an_earlier_version_keeps_its_hash(home: Home, tmp_path: Path) -> None:
    survey = Survey.model_validate_json((PROJECT / "tests/data/survey/gateway.json").read_bytes())
    made = plan.make(home, home.guest("gateway"), home.site(), survey)
    tree = json.loads(made.text())
    inside = tree["preparation"]
    inside["kernel_because"] = str(made.preparation.kernel_because)
    inside["notes"] = list(map(str, made.preparation.notes))
    for row, edit in zip(inside["edits"], made.preparation.edits, strict=True):
        row["why"] = str(edit.why)
    (tmp_path / "plan.json").write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    found = plan.standing(tmp_path, made)
    assert found.hash == files.sha256(tmp_path / "plan.json")
    assert found.hash != made.hash
    assert [n.code for n in found.preparation.notes] == [n.code for n in made.preparation.notes] != []
    other = made.model_copy(update={"forwards": not made.forwards})
    assert plan.standing(tmp_path, other) is other
