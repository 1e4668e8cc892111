"""YAML files that people write, read into their models; every error of a file is told at once, with its line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hikkoshi.errors import BadInput, Problem, nearest

_M = TypeVar("_M", bound=BaseModel)


def read(model: type[_M], path: Path) -> _M:
    """Read and check one parameter file against its model; `BadInput` lists all that is wrong with it, with lines."""
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise BadInput(
            Problem("a parameter file cannot be read", str(path), e.strerror or str(e), remedy="write it")
        ) from None
    except (YAMLError, UnicodeDecodeError) as e:
        mark = getattr(e, "problem_mark", None)
        raise BadInput(
            Problem(
                "a parameter file is not YAML",
                where=f"{path}:{mark.line + 1}" if mark else str(path),
                found=re.sub(r" with value .*", "", str(getattr(e, "problem", e)), flags=re.DOTALL),
                remedy="correct that line: usually its indentation, a missing quote, or a key written twice",
            )
        ) from None
    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise BadInput(*(_problem(model, path, data, dict(error)) for error in e.errors())) from None


def _problem(model: type[BaseModel], path: Path, data: Any, error: dict[str, Any]) -> Problem:
    loc: tuple[int | str, ...] = error["loc"]
    where = f"{path}:{_line(data, loc)}: {'.'.join(map(str, loc)) or 'whole file'}"
    if error["type"] == "extra_forbidden":
        known = _keys(model, loc[:-1])
        return Problem(
            f"unknown key {loc[-1]!r}",
            where,
            expected="one of: " + ", ".join(known),
            remedy=nearest(str(loc[-1]), known) or "remove it or correct its spelling",
        )
    if error["type"] == "missing":
        return Problem(f"key {loc[-1]!r} is missing", where, remedy="add it; params/schema explains every key")
    found = repr(error["input"]) if isinstance(error.get("input"), str | int | float) else ""
    if loc[-1:] == ("password",) or "keyring" in error.get("ctx", {}).get("pattern", ""):
        return Problem(
            "a secret has to be named, not written down",
            where,
            expected="env:NAME, file:PATH or keyring:SERVICE/USER",
            remedy="name the place where it is; if this was the secret itself, change the secret: it may have been seen",
        )
    return Problem("a value is not what it has to be", where, found, error["msg"], "correct the value")


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


def _keys(model: Any, loc: Sequence[int | str]) -> list[str]:
    """Keys that the model allows at `loc`, from its JSON Schema."""
    schema: dict[str, Any] = model.model_json_schema()
    node: dict[str, Any] = schema
    for key in (None, *loc):
        if key is not None:
            node = node.get("properties", {}).get(key) or node.get("items") or _any_key(node)
        for choice in node.get("anyOf", []):
            if "$ref" in choice:
                node = choice
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return sorted(node.get("properties", {}))


def _any_key(node: dict[str, Any]) -> dict[str, Any]:
    patterns = list(node.get("patternProperties", {}).values())
    return patterns[0] if patterns else node.get("additionalProperties") or {}
