"""Actions, checks and evidence as HTML: what is wrong stands first, what is good is folded into a line a group.

In another language than English a check has its own words below: what a terminal, a journal and the list of codes say.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.report import language
from hikkoshi.run.group import EVERY, FOLDED
from hikkoshi.run.row import Checklist, Evidence, Row, State, state_of

lang = "en"  # of the site whose run was opened last; hikkoshi.show puts it here

COLOURS: dict[State, str] = {  # state: text colour, each with a contrast of at least 4.5 on white
    "done": "#1a6b32",
    "already": "#1a6b32",
    "ok": "#1a6b32",
    "would": "#0b5394",
    "later": "#6b5900",
    "failed": "#b00020",
    "red": "#b00020",
    "not seen": "#6a3d9a",
    "not measured": "#6a3d9a",
    "not needed": "#555555",
    "not done": "#b00020",
    "lowered": "#6b5900",
}
MARKS: dict[State, str] = {
    "done": "✔",
    "already": "✔",
    "ok": "✔",
    "would": "→",
    "later": "…",
    "failed": "✘",
    "red": "✘",
    "not seen": "?",
    "not measured": "?",
    "not needed": "–",
    "not done": "✘",
    "lowered": "–",
}


def said(words: str) -> str:
    """Words in the reader's language, where its catalogue has them."""
    return language.said(words, lang)


_ = said  # by this name the words are gathered for the catalogue


def inline(text: str) -> str:
    """A text in HTML; a name between backticks stands there as it does in the runbooks' own texts."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text))


def empty(title: str, *, known: bool) -> str:
    """What stands in place of a table without rows."""
    words = _("{title} (none)") if known else _("{title} (not known yet)")
    return f"<p><em>{html.escape(words.format(title=_(title)))}</em></p>"


def grid(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in names)
    rows = ("".join(f"<td>{inline(cell)}</td>" for cell in row) for row in cells)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table class='hikkoshi'><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def row(one: Row) -> str:
    """An action."""
    return _table([_action(one)])


def checklist(checks: Checklist) -> str:
    """What is red stands first, then what is open. Of many good rows each group is one line that opens."""
    states = Counter[str](map(state_of, checks.checks))
    count, red, good = len(checks.checks), states.pop("red", 0), states.pop("ok", 0)
    every = good == count > 1
    told = {
        _("{count} not as expected"): red,
        _("all as expected") if every else _(EVERY): 0 if red else good,
        **{_("{count} {state}").replace("{state}", _of_reader(state)): n for state, n in states.items()},
    }
    title = _("{title}: {checks}, {states}").format(
        title=_(checks.title),
        checks=_("1 check") if count == 1 else _("{count} checks").format(count=count),
        states=_(", ").join(words.format(count=n) for words, n in told.items() if n),
    )
    if not checks.listed and len(checks.folded) == 1:  # its title says all that the line would
        return folded("ok", title, _checks(checks.checks))
    page = _checks(checks.listed, title) if checks.listed else f"<p>{html.escape(title)}</p>"
    return page + "".join(
        folded("ok", _(words).format(count=len(alike)), _checks(alike)) for words, alike in checks.folded.items()
    )


def evidence(found: Evidence) -> str:
    """The actions of a run, and its files; many of them are one line that opens."""
    heads = ("", _("action"), _("time"), _("found"))
    actions = _table(map(_action, found.listed), heads) if found.listed else ""
    actions += "".join(
        folded(state, _("{count} actions").format(count=len(alike)), _table(map(_action, alike), heads))
        for state, alike in found.folded.items()
    )
    made = _table(
        (
            f"<td><code>{html.escape(a['file'])}</code></td><td>{a['bytes']:,}</td><td><code>{a['sha256']}</code></td>"
            for a in found.artefacts
        ),
        (_("file"), _("bytes"), "SHA-256"),
    )
    if len(found.artefacts) <= FOLDED:
        return actions + (made if found.artefacts else "")
    size = files.human(sum(a["bytes"] for a in found.artefacts))
    words = _("{count} files, {size} in all, each with its SHA-256")
    return actions + folded("", words.format(count=len(found.artefacts), size=size), made)


def folded(state: State | str, words: str, page: str) -> str:
    """A line with the sign of a state, which opens by a click or a key; no script."""
    mark = f"{word(state)} " if state in MARKS else ""
    return f"<details><summary>{mark}{html.escape(words)}</summary>{page}</details>"


def word(state: str) -> str:
    """A state with its sign and colour."""
    colour, mark = COLOURS[state], MARKS[state]  # type: ignore[index]
    return f"<span style='color:{colour};font-weight:600;white-space:nowrap'>{mark} {state}</span>"


def caption(words: str) -> str:
    """A caption that keeps its line above a narrow table, too."""
    return f"<caption style='text-align:left;min-width:min(45em,90vw)'>{html.escape(words)}</caption>"


def _told(words: str, own: str) -> str:
    """Words of the reader's language with their own ones below, where these are others."""
    return f"{inline(words)}<br><small>{inline(own)}</small>" if words not in ("", own) else inline(own)


def _state(state: State) -> str:
    gloss = "" if lang == "en" else f"<br><small>{html.escape(_of_reader(state))}</small>"
    return f"<td>{word(state)}{gloss}</td>"


def _of_reader(state: str) -> str:
    return state if lang == "en" else language.state(state, said)


def _action(one: Row) -> str:
    cells = _told(_(one.title), one.title), f"{one.seconds:.1f} s", inline(one.found)
    return _state(one.state) + "".join(f"<td>{cell}</td>" for cell in cells)


def _checks(checks: Sequence[Check], title: str = "") -> str:
    bad = not all(checks)
    # a digest is broken rather than the page made wider than it is: what stands at its right would be cut off
    return _table(
        (
            _state(state_of(c))
            + f"<td>{_told(language.of_check(c.code, lang), c.title)}</td>"
            + "".join(f"<td>{inline(t)}</td>" for t in (c.found, c.expected))
            + (f"<td>{'' if c else inline(c.remedy)}</td>" if bad else "")
            for c in checks
        ),
        ("", _("check"), _("found"), _("expected"), *([_("what to do")] if bad else [])),
        (caption(title) if title else ""),
        " style='overflow-wrap:anywhere'",
    )


def _table(rows: Iterable[str], heads: Sequence[str] = (), above: str = "", style: str = "") -> str:
    head = "".join(f"<th scope='col' style='overflow-wrap:normal'>{name}</th>" for name in heads)
    body = "".join(f"<tr>{one}</tr>" for one in rows)
    return f"<table class='hikkoshi'{style}>{above}{f'<tr>{head}</tr>' if head else ''}{body}</table>"
