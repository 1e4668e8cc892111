"""Parameters, commands and findings: their pages in docs/ say what the source says, and `make codes` writes them anew.

A key is there with the words of its model's description, an option with those of its --help.
"""

import ast
import functools
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from hikkoshi.approval import statement
from hikkoshi.cli.main import app
from hikkoshi.network.diagnosis import aggregation, faults
from hikkoshi.network.diagnosis.diagnosis import FIRST
from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site
from hikkoshi.record import register

DOCS = Path(__file__).parents[2] / "docs"
PARAMETERS, COMMANDS, FINDINGS = (DOCS / f"{name}.md" for name in ("parameters", "commands", "findings"))
FILES = {"params/site.yml": Site, "params/guests/NAME.yml": Guest}
Schema = dict[str, Any]
Row = tuple[str, str, str, str]  # the key with all above it, what it is, what it may be, and what it is where it is left out


def resolved(schema: Schema, defs: Schema) -> Schema:
    """Without references, and without what may be null."""
    schema = {**defs[schema["$ref"].rpartition("/")[2]], **schema} if "$ref" in schema else schema
    some = [s for s in schema.get("anyOf", ()) if s.get("type") != "null"]
    return {**resolved(some[0], defs), **schema} if len(some) == 1 else schema


def value(schema: Schema) -> str:
    """What a single value may be."""
    if "enum" in schema:
        return " or ".join(f"`{v}`" for v in schema["enum"])
    least, most = schema.get("minimum"), schema.get("maximum")
    limits = f", {least} to {most}" if most is not None else f", {least} or more" if least is not None else ""
    forms = {"ipv4": "IPv4 address", "ipv4network": "IPv4 network", "path": "path"}
    names = {"boolean": "true or false", "integer": "whole number", "string": "text", "object": "keys", "array": "list"}
    return forms.get(schema.get("format", ""), names.get(schema.get("type", ""), "text")) + limits


def default(schema: Schema, required: bool) -> str:
    """What holds where a key is left out."""
    if required:
        return "has to be given"
    given = schema.get("default")
    return "" if given in (None, "", [], {}) else f"`{str(given).lower() if isinstance(given, bool) else given}`"


def rows(model: Schema, defs: Schema, above: str = "") -> Iterator[Row]:
    """Every key of a file, those within others after them."""
    for key, schema in model["properties"].items():
        found, name = resolved(schema, defs), f"{above}{key}"
        items, named = found.get("items"), next(iter(found.get("patternProperties", {}).values()), None)
        named = named or found.get("additionalProperties") or None  # of names in a form, or any
        inner = resolved(items or named or found, defs)
        keys = "properties" in inner
        if keys and inner.get("title") == "VSphere" and named:  # its keys stand above already
            inner, keys = {"type": "object", "description": "the same keys as `vsphere`"}, False
        below = f"{name}{'[]' if items else '.NAME' if named else ''}"
        words = schema.get("description") or (inner if keys else found).get("description", "")
        kind = value(found) if not (items or named) else "list of " + value(inner) if items else "NAME: " + value(inner)
        yield below if keys else name, words, kind, "" if keys else default(found, key in model.get("required", ()))
        if keys:
            yield from rows(inner, defs, f"{below}.")


def parameters() -> str:
    """docs/parameters.md as the models have it."""
    text = PARAMETERS.read_text().partition("\n## ")[0].rstrip() + "\n"
    for name, model in FILES.items():
        schema = model.model_json_schema()
        text += f"\n## {name}\n\n| key | what it is | what it may be | where it is left out |\n|" + 4 * " --- |" + "\n"
        text += "".join(table_row(f"`{key}`", *rest) for key, *rest in rows(schema, schema["$defs"]))
    return text


def table_row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |\n"


def walked(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its whole name."""
    if hasattr(command, "commands"):
        for word, inner in sorted(command.commands.items()):
            yield from walked(inner, f"{name} {word}")
    elif not command.hidden:
        yield name, command


def plain(text: str) -> str:
    return " ".join(text.replace("\\[", "[").split())


def written(parameter: Any) -> str:
    """How an argument or an option is typed."""
    metavar = str(parameter.metavar or parameter.name.upper()).strip("[]")
    if parameter.param_type_name == "argument":
        return metavar + (" …" if parameter.nargs == -1 else "")
    flag = "/".join([*parameter.opts, *parameter.secondary_opts])
    kinds = [a for a in typing.get_args(parameter.type_descriptor.annotation) if isinstance(a, str)]  # of a Literal
    return flag if parameter.is_flag else f"{flag} {parameter.metavar or '|'.join(kinds) or metavar}"


def section(name: str, command: Any) -> str:
    shown = [p for p in command.params if p.name != "help"]
    options = any(p.param_type_name == "option" for p in shown)
    arguments = [(w if p.required else f"[{w}]") for p in shown if p.param_type_name == "argument" for w in [written(p)]]
    text = f"\n## {name}\n\n```sh\n{' '.join([name, *(['[OPTIONS]'] if options else []), *arguments])}\n```\n\n"
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    text += "\n\n".join(textwrap.fill(plain(p), 120, break_on_hyphens=False) for p in paragraphs) + "\n"
    if shown:
        text += "\n| | |\n| --- | --- |\n" + "".join(
            table_row(f"`{written(p)}`", plain(getattr(p, "help", None) or "") + _default(p)) for p in shown
        )
    return text


def _default(parameter: Any) -> str:
    given = parameter.default
    return f" [default: {given}]" if type(given) in (int, float) and not parameter.is_flag else ""


def commands() -> str:
    """docs/commands.md as --help has it."""
    text = COMMANDS.read_text().partition("\n## ")[0].rstrip() + "\n"
    return text + "".join(section(name, command) for name, command in walked(typer.main.get_command(app), "hikkoshi"))


def said(node: ast.expr | None, module: ModuleType) -> str:
    """An expression of the source as a reader has it; … stands for what differs."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.Name() if hasattr(module, node.id):
            return str(getattr(module, node.id))
        case ast.IfExp():
            return " or ".join(filter(None, (said(node.body, module), said(node.orelse, module))))
        case ast.BinOp():
            return said(node.left, module) + said(node.right, module)
        case ast.JoinedStr():
            return "".join(said(part.value if isinstance(part, ast.FormattedValue) else part, module) for part in node.values)
    return "…" if node else ""


def findings() -> str:
    """docs/findings.md as the rules have it."""
    found = set()
    for module in (aggregation, faults):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                given = {k.arg: k.value for k in node.keywords}
                found.add(tuple(said(given.get(name), module) for name in ("rule", "name", "refuted_by", "remedy")))
    text = FINDINGS.read_text().partition("\n## ")[0].rstrip() + "\n"
    text += "\n## Rules\n\n| rule | what it names | what would refute it | what to do |\n|" + 4 * " --- |" + "\n"
    return text + "".join(table_row(*row) for row in sorted(found, key=lambda row: (int(row[0].split()[0][1:]), row)))


MADE = {PARAMETERS: parameters, COMMANDS: commands, FINDINGS: findings}


@pytest.mark.parametrize(("page", "made"), MADE.items(), ids=lambda x: getattr(x, "stem", ""))
def test_a_page_of_reference_says_what_the_source_says(page: Path, made: Any) -> None:
    assert page.read_text() == made(), "make codes"


def test_every_rule_of_the_diagnosis_is_on_its_page() -> None:
    listed = [row.split(" | ")[0].removeprefix("| ") for row in FINDINGS.read_text().splitlines() if row.startswith("| R")]
    assert {rule for cell in listed for rule in cell.split(" or ")} == set(FIRST)


def test_every_key_of_a_file_has_words_that_say_what_it_is() -> None:
    schemas = [model.model_json_schema() for model in FILES.values()]
    assert [key for schema in schemas for key, words, *_ in rows(schema, schema["$defs"]) if not words] == []


def test_every_option_of_a_command_has_words_that_say_what_it_does() -> None:
    assert re.findall(r"^\| `[^`]+` \|  \|$", commands(), re.M) == []


def test_the_form_of_a_record_is_told_with_every_label_column_and_event() -> None:
    page, lib = (DOCS / "record-format.md").read_text(), DOCS.parent / "lib" / "hikkoshi"
    labels = re.findall(r'^        \("([A-Z][\w-]+)", ', (lib / "record" / "seal.py").read_text(), re.M)
    written = "".join(path.read_text() for path in lib.rglob("*.py"))
    events = re.findall(r'(?:ournal\)?|\))\.append\("([a-z-]+)"|\b_?note\(\s*"(open|end|start|step|permitted)"', written)
    named = {*labels, *register.HEADING.split("\t"), *(a or b for a, b in events), *statement.HEADS["hikkoshi approval 2"]}
    assert {"Outcome", "previous", "sealed", "permitted", "acknowledged", "machine"} <= named
    assert {name for name in named if f"`{name}`" not in page} == set()


def told(page: Path) -> Iterator[str]:
    """The commands that a page tells to type: in its code, and in its sentences."""
    for code in re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", page.read_text(), re.M | re.S):
        yield from re.findall(r"^ *(?:\w+ [^#\n]*\| )?(hikkoshi [^#\n]*)", code.replace("\\\n", ""), re.M)
    yield from re.findall(r"`(hikkoshi [^`]*)`", re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S))


@functools.cache
def known_commands() -> dict[str, Any]:
    return dict(walked(typer.main.get_command(app), "hikkoshi"))


def wrong(command: str) -> list[str]:
    """The words of a command that the command line does not know."""
    known, group, words = known_commands(), "hikkoshi", command.split()[1:]
    while group not in known and words and any(name.startswith(f"{group} {words[0]}") for name in known):
        group = f"{group} {words.pop(0)}"
    if group not in known:  # a group by itself, or with an option of its own
        own = {"--help", *(o for p in typer.main.get_command(app).params for o in p.opts)}
        grouped = any(name.startswith(f"{group} ") for name in known) and (not words or words[0] in own)
        return [] if grouped else [f"{group} {' '.join(words[:1])}"]
    if known[group].context_settings.get("ignore_unknown_options"):  # what follows is another program's
        return []
    options = {o for p in known[group].params if p.param_type_name == "option" for o in [*p.opts, *p.secondary_opts]}
    return [w for w in words if w.startswith("--") and w.partition("=")[0] not in {*options, "--help"}]


PAGES = [p for p in [*sorted(DOCS.rglob("*.md")), *sorted(DOCS.parent.glob("README*.md"))] if p != COMMANDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS.parent)))
def test_every_command_that_a_page_tells_to_type_exists_with_its_options(page: Path) -> None:
    assert [c for c in told(page) if wrong(c)] == []


def test_a_command_or_an_option_that_does_not_exist_is_found() -> None:
    assert wrong("hikkoshi move gateway") == ["hikkoshi move"]
    assert wrong("hikkoshi run gateway --now --only 70") == ["--now"]
    assert wrong("hikkoshi netperf guess") == ["hikkoshi netperf guess"]
    assert wrong("hikkoshi") == wrong("hikkoshi init --help") == []


if __name__ == "__main__":
    for page, made in MADE.items():
        page.write_text(made())
