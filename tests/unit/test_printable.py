"""What comes from others reaches no terminal as it is: every place through which things are shown, with any text."""

import io
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi import show
from hikkoshi.approval import proposal
from hikkoshi.approval.statement import line
from hikkoshi.check import Check
from hikkoshi.cli import terminal
from hikkoshi.errors import BadInput, Problem, printable
from hikkoshi.fleet.console import Console
from hikkoshi.record.engine.notebook import Event
from hikkoshi.run import run
from hikkoshi.run.row import Checklist, Evidence, Row

NASTY = "\x1b]52;c;aGk=\x07 \x1b[2J\r\x9b31m \x00\x08\x7f \u202eevil\u2066 \u2028 \udc80 \U000e0041"
TEXT = st.one_of(st.text(), st.text("\x1b\x9b\r\n\t\x00\x07\u202e\u2028\u200bab 漢\u3000"), st.just(NASTY))


def clean(shown: str, ours: str = "\n") -> bool:
    """Whether nothing but what is ours would be obeyed by a terminal, or turn letters around."""
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in ours for c in shown)


def said(text: str) -> str:
    out = io.StringIO()
    terminal.say(text, out)
    return out.getvalue()


def tabled(text: str) -> str:
    out = io.StringIO()
    terminal.table([{"what": text, text: "x"} if text != "what" else {"what": text}], out)
    return out.getvalue()


def on_a_terminal(text: str) -> str:
    out = io.StringIO()
    console = Console(out, redraw=True)
    for kind in ("cell", "row", "progress", "tick"):
        if text.strip():
            console(Event(kind, text))  # type: ignore[arg-type]
    console.heading(text)
    return out.getvalue().replace("\r\x1b[2K", "")  # what redraws its line is ours


def in_a_log(text: str) -> str:
    out = io.StringIO()
    console = Console(out, redraw=False, clock=iter(range(0, 10_000, 60)).__next__)
    for kind in ("cell", "row", "progress", "tick"):
        if text.strip():
            console(Event(kind, text))  # type: ignore[arg-type]
    console.heading(text)
    return out.getvalue()


PLACES: dict[str, Callable[[str], str]] = {
    "a problem": lambda t: str(Problem(code="a-code", what=t, where=t, found=t, expected=t, remedy=t)),
    "an error": lambda t: str(BadInput(Problem(code="a-code", what=t), Problem(code="a-code", what=t, found=t))),
    "a row": lambda t: str(Row(t, "done", 1.0, t)),
    "a checklist": lambda t: str(
        Checklist(
            t,
            (
                Check(code="a-code", title=t, ok=True, found=t),
                Check(code="a-code", title=t, ok=False, found=t, expected=t, remedy=t),
            ),
        )
    ),
    "evidence": lambda t: str(Evidence((Row(t, "done", 1.0, t),), ({"file": t, "bytes": 1, "sha256": "a" * 64},))),
    "a line": said,
    "a table": tabled,
    "progress on a terminal": on_a_terminal,
    "progress in a log": in_a_log,
    "an approval's page": lambda t: "".join(proposal._wrapped(t, "", "  ")),
    "a line of an approval": line,
}


@pytest.mark.parametrize("place", PLACES)
@given(TEXT)
def test_nothing_that_a_terminal_obeys_passes(place: str, text: str) -> None:
    shown = PLACES[place](text)
    assert clean(shown, "\n\t"), shown
    shown.encode()  # no half of a character either


def test_a_letter_that_the_terminals_encoding_lacks_is_told_by_its_number() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    terminal.say("承認 für gateway", out)
    assert out.buffer.getvalue().decode("latin-1") == "\\u627f\\u8a8d für gateway\n"  # type: ignore[attr-defined]


@given(TEXT)
def test_json_holds_the_same_text_and_nothing_that_a_terminal_obeys(text: str) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        terminal.print_json({"found": text, text: [text]})
    assert clean(out.getvalue())
    assert json.loads(out.getvalue()) == {"found": text, text: [text]}


@given(TEXT)
def test_no_notebook_shows_it_either(text: str) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, data: Any, **_: Any) -> None:
            shown.append(data)

    def display(data: Any, **_: Any) -> Handle:
        shown.append(data)
        return Handle()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "display", display)
        show.table([{"what": text}], caption=text)
        show.nothing(text)
        show.text(text, text)
        show.diff([(text, text)])
        show.approval(text, lambda: Check(code="a-code", title=text, ok=False, found=text), "idp")
        show.progress(text)(1, 1, text)
    for data in shown:
        for form in data.values() if isinstance(data, dict) else [str(data)]:
            assert clean(form, "\n\t"), form


def test_the_words_stay_readable_and_one_row_does_not_look_like_two() -> None:
    assert printable("名前　は \x1b[31m\u202e") == "名前　は \\x1b[31m\\u202e"
    assert printable("a\nb\tc") == "a\nb\tc"
    assert printable("a\nb", keep="") == "a\\nb"
    row = str(Row("the source is off", "failed", 1.0, "no\nok           the source is off"))
    assert [re.match(r"\S*", one)[0] for one in row.splitlines()] == ["failed", ""]  # type: ignore[index]
    assert str(Problem(code="a-code", what="x\nfound: y")).splitlines() == ["x", "    found: y"]


def test_a_name_in_brackets_is_no_markup_of_a_progress_bar() -> None:
    with terminal.bar("[/red]") as progress:
        progress(1, 2, "[/blue]")


def test_a_run_that_shows_itself_is_plain(home: Any) -> None:
    one = run.open_run("10-survey", {"guest": "idp", "home": str(home.root)})
    one.id = NASTY
    assert clean(str(one))
    one.close(NASTY)
