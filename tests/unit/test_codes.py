"""Every check and every problem has a code; docs/codes.md lists them all, each with the one meaning that it has.

docs/preflight.md lists those of the preflight again, as the rules that they are.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from hikkoshi.guest.note import MEANINGS
from hikkoshi.run.group import ALIKE
from hikkoshi.vsphere.preflight.rule import RULES

PROJECT = Path(__file__).parents[2]
PAGE, PREFLIGHT = PROJECT / "docs" / "codes.md", PROJECT / "docs" / "preflight.md"
ASKED_ELSEWHERE = {"disk-fits-target", "source-off-since-copied"}  # rules: where a disk is read, and in 60
MODULES = sorted((PROJECT / "lib").rglob("*.py"))
SAYS = {"title": "check", "what": "problem", "problem": "problem", "remark": "remark"}  # {the argument beside a code: its kind}
ELSEWHERE = {  # {code: its meaning}, where the words are made elsewhere
    "approval-by-one-person": "of whoever carries it out, or nobody knows who does: two persons are asked for",
    "approval-signature-void": "not signed by anybody who may approve, as ssh-keygen tells",
    "approval-superseded": "superseded: of another plan, disk or machine than the one that is there now",
}
HEADINGS = {
    "check": "Checks: what has to be so",
    "problem": "Problems: what is wrong",
    "remark": "Remarks: what netperf or iperf3 says beside a figure that stands",
    "note": "Notes: what is to be known of a guest, or why something in it changes",
}
Meaning = tuple[str, str, str]  # code, check or problem, its words with … for what differs


def choices(node: ast.expr | None, names: dict[str, list[ast.expr]]) -> list[ast.expr]:
    """What an expression may be: both ends of a choice, and all that its name was given in the function around it."""
    if isinstance(node, ast.IfExp):
        return [*choices(node.body, names), *choices(node.orelse, names)]
    if isinstance(node, ast.Name) and node.id in names:
        return [x for value in names[node.id] for x in choices(value, {})]
    return [node] if node is not None else []


def words(node: ast.expr) -> str:
    """A text as it stands in the source; empty where it stands elsewhere."""
    if isinstance(node, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
        return re.sub("…+", "…", "".join(map(str, parts)))
    return str(node.value) if isinstance(node, ast.Constant) else ""


def given(function: ast.AST) -> dict[str, list[ast.expr]]:
    """{name: what it is set to} in a function."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=False) if both else [(target, node.value)]  # type: ignore[attr-defined]
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(value)
    return found


@functools.cache
def meanings(path: Path) -> tuple[Meaning, ...]:
    return tuple(_meanings(ast.parse(path.read_text())))


def _meanings(tree: ast.Module) -> Iterator[Meaning]:
    everywhere = given(tree)
    functions = [(f, given(f)) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            said = {k.arg: k.value for k in node.keywords if k.arg}
        elif isinstance(node, ast.Dict):
            said = {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
        else:
            continue
        beside = next((name for name in SAYS if name in said), None)
        if "code" not in said or beside is None:
            continue
        around = [names for f, names in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
        names = {k: v for each in [everywhere, *around] for k, v in each.items()}
        codes = [c.value for c in choices(said["code"], names) if isinstance(c, ast.Constant)]
        texts = [words(t) for t in choices(said[beside], names)]
        if len(codes) > 1 and len(codes) == len(texts):
            yield from ((code, SAYS[beside], text) for code, text in zip(codes, texts, strict=True))
        else:
            yield from ((code, SAYS[beside], text) for code in codes for text in texts)


@functools.cache
def listed() -> dict[str, tuple[str, set[str]]]:
    """{code: (check or problem, its meanings)} of all of the source."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in MODULES:
        for code, kind, text in meanings(path):
            kept = found.setdefault(code, (kind, set()))
            if meaning := text if text.strip("… ") else ELSEWHERE.get(code):
                kept[1].add(meaning)
    return found | {code: ("note", {words}) for code, words in MEANINGS.items()}


def page() -> str:
    """docs/codes.md as the source has it."""
    text = PAGE.read_text().partition("\n## ")[0].rstrip() + "\n"
    for kind, heading in HEADINGS.items():
        text += f"\n## {heading}\n\n| code | meaning |\n| --- | --- |\n"
        rows = {code: sorted(said)[0] if said else "" for code, (what, said) in listed().items() if what == kind}
        text += "".join(f"| `{code}` | {said.replace('|', chr(92) + '|')} |\n" for code, said in sorted(rows.items()))
    return text


def preflight() -> str:
    """docs/preflight.md as the source has it."""
    titles = {code: sorted(said)[0] for code, (_, said) in listed().items() if said}
    text = PREFLIGHT.read_text().partition("\n## ")[0].rstrip() + "\n"
    text += "\n## Rules\n\n| rule | what has to be so | where it is not | can be lowered | why |\n|" + 5 * " --- |" + "\n"
    for code, rule in RULES.items():
        lowered = "yes" if rule.may_be_lowered else "no"
        text += f"| `{code}` | {titles[code]} | {rule.severity} | {lowered} | {rule.why} |\n"
    return text


def test_every_rule_of_the_preflight_is_on_its_page() -> None:
    assert PREFLIGHT.read_text() == preflight(), "make codes"


def test_every_check_of_the_preflight_is_a_rule_and_every_rule_is_a_check() -> None:
    asked = {code for p in MODULES if p.parent.name == "preflight" for code, kind, _ in meanings(p) if kind == "check"}
    assert asked - {"rule-can-be-lowered"} == set(RULES) - ASKED_ELSEWHERE


def test_the_page_lists_every_code_with_its_meaning() -> None:
    assert PAGE.read_text() == page(), "make codes"


def test_no_code_has_two_meanings_and_none_has_none() -> None:
    assert {code: said for code, (_, said) in listed().items() if len(said) != 1} == {}


def test_no_note_has_the_code_of_something_else() -> None:
    assert set(MEANINGS) & {code for path in MODULES for code, _, _ in meanings(path)} == set()


def test_no_code_is_overlooked() -> None:
    written = {code for p in MODULES for code in re.findall(r"\bcode(?:=|\": )\"([^\"]+)\"", p.read_text())}
    assert len(written) > 500
    assert written - set(listed()) == set()


def test_what_is_told_in_groups_are_checks() -> None:
    assert [code for code in ALIKE if listed().get(code, ("",))[0] != "check"] == []


def test_codes_are_short_words_with_hyphens() -> None:
    assert [c for c in listed() if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", c) or len(c) > 40] == []


if __name__ == "__main__":
    PAGE.write_text(page())
    PREFLIGHT.write_text(preflight())
