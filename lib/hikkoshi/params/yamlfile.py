"""YAML files that people write, read into their models; every error of a file is told at once, with its line."""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem, nearest

_M = TypeVar("_M", bound=BaseModel)
# {pydantic's name of an error: what would be right}; nothing where only the key's own description says it
FORMS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "keys with their values",
    "finite_number": "a number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "invalid_key": "names as keys, in quotes where they look like something else",
    "ip_v4_address": "an IPv4 address",
    "ip_v4_network": "an IPv4 subnet such as 10.3.1.0/24",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "keys with their values",
    "model_type": "keys with their values",
    "path_type": "a path",
    "string_pattern_mismatch": "",
    "string_too_short": "a text that is not empty",
    "string_type": "a text, in quotes where it looks like something else",
    "too_short": "at least one",
    "tuple_type": "a list",
    "value_error": "{error}",
}

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


def scalar(value: str) -> str:
    """A text as YAML has it: bare where nobody could take it for anything else, else in quotes."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value) + '"'


def read(model: type[_M], path: Path) -> _M:
    """Read and check one parameter file against its model; `BadInput` lists all that is wrong with it, with lines."""
    return checked(model, path, text(path))


def text(path: Path) -> str:
    """What a parameter file holds, with its own ends of lines; `BadInput` for one that cannot be read."""
    try:
        return files.read(path, follow=True).decode()
    except OSError as e:
        leads = f"a link to {path.readlink()}: " if path.is_symlink() else ""
        raise BadInput(
            Problem(
                code="parameters-unreadable",
                what="a parameter file cannot be read",
                where=str(path),
                found=leads + (e.strerror or str(e)),
                remedy="put a file there that you can read" if os.path.lexists(path) else "write it",
            )
        ) from None
    except UnicodeDecodeError as e:
        raise _not_yaml(path, str(e)) from None


def checked(model: type[_M], path: Path, text: str) -> _M:
    """What a text would be as that parameter file; `BadInput` lists all that is wrong with it, with lines."""
    try:
        data = _parsed(text)
    except YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        found = re.sub(r" with value .*", "", str(getattr(e, "problem", e)), flags=re.DOTALL)
        raise _not_yaml(f"{path}:{mark.line + 1}" if mark else path, found) from None
    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise BadInput(*(_problem(model, path, data, dict(error)) for error in e.errors())) from None


def _not_yaml(where: Path | str, found: str) -> BadInput:
    return BadInput(
        Problem(
            code="parameters-not-yaml",
            what="a parameter file is not YAML",
            where=str(where),
            found=found,
            remedy="correct that line: usually its indentation, a missing quote, or a key written twice",
        )
    )


@functools.lru_cache(maxsize=16)  # a report asks for the same file some fifty times
def _parsed(text: str) -> Any:
    """What a text of YAML holds, with the line of everything; the caller changes nothing in it."""
    return YAML(typ="rt").load(text)


def _problem(model: type[BaseModel], path: Path, data: Any, error: dict[str, Any]) -> Problem:
    loc: tuple[int | str, ...] = error["loc"]
    where = f"{path}:{_line(data, loc)}: {'.'.join(map(str, loc)) or 'whole file'}"
    if error["type"] == "extra_forbidden":
        known = _keys(model, loc[:-1])
        return Problem(
            code="key-unknown",
            what=f"unknown key {loc[-1]!r}",
            where=where,
            expected="one of: " + ", ".join(known),
            remedy=nearest(str(loc[-1]), known) or "remove it or correct its spelling",
        )
    if error["type"] == "missing":
        return Problem(
            code="key-missing", what=f"key {loc[-1]!r} is missing", where=where, remedy="add it; params/schema explains every key"
        )
    found = repr(error["input"]) if isinstance(error.get("input"), str | int | float) else ""
    if "@" in found and "://" in found and error["type"] == "string_pattern_mismatch":
        found = "an address with a user in it"  # and maybe a password
    if loc[-1:] == ("password",) or "keyring" in error.get("ctx", {}).get("pattern", ""):
        return Problem(
            code="secret-written-down",
            what="a secret has to be named, not written down",
            where=where,
            expected="env:NAME, file:PATH or keyring:SERVICE/USER",
            remedy="name the place where it is; if this was the secret itself, change the secret: it may have been seen",
        )
    return Problem(
        code="value-wrong",
        what="a value is not what it has to be",
        where=where,
        found=found,
        expected=_expected(model, loc, error),
        remedy="correct the value",
    )


def _expected(model: type[BaseModel], loc: Sequence[int | str], error: dict[str, Any]) -> str:
    """What would be right, in a person's words: the form, and what the key is for."""
    node = _node(model, loc)
    form = FORMS[error["type"]].format_map(error.get("ctx", {})) if error["type"] in FORMS else error["msg"]
    if not form and node.get("examples"):
        form = f"such as {', '.join(node['examples'])}"
    return ": ".join(filter(None, [form, node["description"]])) or error["msg"]


def _line(data: Any, loc: Sequence[int | str]) -> int:
    """Line, from 1, of the deepest part of `loc` that the YAML document has."""
    line = 1
    for key in loc:
        marks = getattr(data, "lc", None)
        if marks is None:
            break
        try:
            line = (marks.key(key) if isinstance(data, Mapping) else marks.item(key))[0] + 1
            data = data[key]
        except (KeyError, IndexError, TypeError):
            break
    return line


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Keys that the model allows at `loc`."""
    return sorted(_node(model, loc).get("properties", {}))


def _node(model: type[BaseModel], loc: Sequence[int | str]) -> dict[str, Any]:
    """What the model's JSON Schema says of the value at `loc`, with description and examples of the key itself."""
    schema: dict[str, Any] = model.model_json_schema()
    node, key_itself = schema, schema
    named = loc[-1:] == ("[key]",)  # pydantic's word for a key that is wrong itself
    for key in (None, *(loc[:-2] if named else loc)):
        if key is not None:
            node = node.get("properties", {}).get(key) or node.get("items") or _any_key(node)
            key_itself = node
        for choice in node.get("anyOf", []):
            if "$ref" in choice:
                node = choice
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if named:
        node = key_itself = node.get("propertyNames", {})
    return {**node, **{what: key_itself.get(what, "") for what in ("description", "examples")}}


def _any_key(node: dict[str, Any]) -> dict[str, Any]:
    patterns = list(node.get("patternProperties", {}).values())
    return patterns[0] if patterns else node.get("additionalProperties") or {}
