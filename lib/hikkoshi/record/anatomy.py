"""What can be told of a notebook by looking at it: its parameters, its introductions, and why it is not green."""

import ast
import math
import re
from collections.abc import Iterator
from typing import Any

from hikkoshi.errors import BadInput, HikkoshiError, Problem, StepFailed, nearest

GIVEN = "injected-parameters"  # the tag of a cell that holds the values that parameters were given
FAILED = "papermill-error-cell-tag"  # of the cells of text in which papermill says where a run failed


def tags(cell: Any) -> list[str]:
    """A cell's tags; a text in their place, or anything else but a list, is one."""
    found = cell.get("metadata", {}).get("tags")
    return [str(tag) for tag in (found if isinstance(found, list | tuple) else [] if found is None else [found])]


def put_right(cell: Any) -> None:
    """Give a cell its tags as a list, where it has any."""
    if "tags" in cell.setdefault("metadata", {}):
        cell["metadata"]["tags"] = tags(cell)


def code(nb: Any) -> list[int]:
    """Indices of the code cells that have something to execute."""
    found = [i for i, c in enumerate(nb.cells) if c.cell_type == "code" and c.source.strip()]
    if not found:
        raise BadInput(
            Problem(code="notebook-without-code", what="the notebook has no code", remedy="take it from the project again")
        )
    return found


def parameter_names(nb: Any) -> set[str]:
    """The names that the notebook's cell tagged `parameters` gives values to; none where it is no Python, see `obstacles`."""
    names = set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "parameters" in tags(cell) and _syntax_error(cell.source) is None:
            for statement in ast.parse(cell.source).body:
                targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


def plain_values(source: str) -> set[str] | None:
    """The names to which a text gives values, where it does nothing else: `guest = "gateway"` calls nothing."""
    names = set()
    try:
        for statement in ast.parse(source).body:
            target: Any = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
            names.add(target.id)
            ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    except (SyntaxError, AttributeError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return names


def introduction(nb: Any, index: int) -> str:
    """The sentence that introduces a code cell: the first one of the paragraph before it; else the cell's tag.

    In Japanese no space ends a sentence.
    """
    before = next((c for c in reversed(nb.cells[:index]) if FAILED not in tags(c)), None)
    if before is None or before.cell_type != "markdown" or not before.source.strip():
        return " ".join(tags(nb.cells[index]))
    paragraph = re.split(r"\n\s*\n", before.source.strip())[-1]
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    return re.split(r"(?<=[.!?:])\s+|(?<=[。！？：])", re.sub(r"[*`>#]", "", plain).strip())[0].rstrip(":.：。")


def unproven(nb: Any) -> Iterator[tuple[int, Problem]]:
    """What keeps an executed notebook from being green, as (cell, problem): an unexecuted or failed cell, no `verify`."""
    remedy = "look into the record, then run the step again"
    for index in code(nb):
        cell = nb.cells[index]
        if cell.execution_count is None:
            yield index, Problem(code="cell-not-executed", what="a cell was not executed", where=_name(index), remedy=remedy)
        elif any(o.output_type == "error" for o in cell.outputs):
            yield index, Problem(code="cell-failed", what="a cell failed", where=_name(index), remedy=remedy)
    yield from _unverified(nb)


def obstacles(nb: Any) -> Iterator[tuple[int, HikkoshiError]]:
    """What makes a green run impossible from the start, so that nothing is begun, as (cell, error)."""
    given, names = nb.metadata.papermill.get("parameters", {}), sorted(parameter_names(nb))
    for index in code(nb):
        if "parameters" in tags(nb.cells[index]) and (wrong := _syntax_error(nb.cells[index].source)):
            problem = Problem(
                code="parameters-not-python",
                what="the cell of the parameters is not plain Python",
                where=f"{_name(index)}, line {wrong.lineno}",
                found=(wrong.text or "").strip() or wrong.msg,
                expected='names that are given values, such as: guest = "gateway"',
                remedy="put magics and commands into a cell of their own, after that of the parameters",
            )
            yield index, BadInput(problem)
    for name, value in given.items():
        if _not_finite(value):
            problem = Problem(
                code="parameter-not-finite",
                what=f"the parameter {name} holds what no record can",
                where=f"{name} = {value!r}",
                found="NaN or infinity, which JSON does not have",
                expected="a number",
                remedy="give a number, or a text in quotes",
            )
            yield code(nb)[0], BadInput(problem)
    unknown = [
        Problem(
            code="parameter-unknown",
            what=f"the notebook has no parameter {k!r}",
            found=f"{k} = {v!r}",
            expected=f"one of: {', '.join(names)}" if names else "none: it has no cell tagged parameters",
            remedy=nearest(k, names) or "leave it out",
        )
        for k, v in given.items()
        if k not in names
    ]
    if unknown:
        at = next((i for i in code(nb) if GIVEN in tags(nb.cells[i])), code(nb)[0])
        yield at, BadInput(*unknown)
    order = [t for c in nb.cells for t in tags(c) if t in (GIVEN, "parameters")]
    if order[:1] == ["parameters"] and order[-1] == "parameters" and GIVEN in order:
        problem = Problem(
            code="parameters-without-effect",
            what="the parameters given would be without effect",
            found="the defaults stand after them",
            expected="exactly one cell tagged parameters, the one with the defaults",
            remedy="take the tag parameters away from every other cell, texts too",
        )
        yield code(nb)[0], BadInput(problem)
    for index in code(nb):
        if "skip-execution" in tags(nb.cells[index]):
            problem = Problem(
                code="cell-not-to-execute",
                what="a cell is not to be executed",
                where=_name(index),
                found="it is tagged skip-execution",
                expected="every cell executed, so that the record is whole",
                remedy="remove the tag",
            )
            yield index, StepFailed(problem)
    yield from ((index, StepFailed(problem)) for index, problem in _unverified(nb))


def _unverified(nb: Any) -> Iterator[tuple[int, Problem]]:
    if not any("verify" in tags(nb.cells[i]) for i in code(nb)):
        problem = Problem(
            code="notebook-without-verify",
            what="the notebook verifies nothing",
            found="no code cell tagged verify",
            expected="one that asks the world whether the step's promise is kept",
            remedy="add it, see CONTRIBUTING.md",
        )
        yield code(nb)[-1], problem


def _not_finite(value: Any) -> bool:
    """Whether a tree of values (dicts, lists, numbers) holds a number that is none."""
    if isinstance(value, dict):
        return any(map(_not_finite, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_not_finite, value))
    return isinstance(value, float) and not math.isfinite(value)


def _syntax_error(source: str) -> SyntaxError | None:
    try:
        ast.parse(source)
    except SyntaxError as e:
        return e
    return None


def _name(index: int) -> str:
    return f"cell {index + 1}"
