"""Values out of a Python-like configuration, without executing a single line of it.

An xm configuration is a Python program to xend; an xl configuration is a list of literals that happens to be Python too.
Both are parsed with `ast`, and only what has one meaning is resolved: literals, lists, names bound earlier, `+`, `-`, `*`,
`//` and `%` on numbers, joining and %-formatting of strings. Everything else is told with its line, all of it at once.
"""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable

from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import redaction

Value = str | int | float | None | list["Value"]
LONGEST = 1 << 16  # characters and items of one value together: a configuration is small, a bomb of doublings is not
LARGEST = 1 << 63

_ARITHMETIC: dict[type[ast.operator], Callable[[int | float, int | float], int | float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_NAMES: dict[type[ast.AST], str] = {
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.Call: "a call of a function",
    ast.Attribute: "access to an attribute",
    ast.Subscript: "access to an element",
    ast.If: "a condition",
    ast.IfExp: "a condition",
    ast.Compare: "a comparison",
    ast.For: "a loop",
    ast.While: "a loop",
    ast.FunctionDef: "a function",
    ast.ClassDef: "a class",
    ast.Lambda: "a function",
    ast.ListComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "a formatted string",
    ast.Try: "a try block",
    ast.With: "a with block",
    ast.Delete: "a deletion",
    ast.Dict: "a dictionary",
}
_REMEDY = (
    "the file is never executed: write the value that this line yields (on the Dom-0, `xm create -n FILE` shows it) into a "
    "copy of the file, and point `config` in the guest's parameters to the copy, `start_config` to the file itself"
)


class _Unresolvable(Exception):
    """A node that has no plain value; `found` is empty where the cause was told already."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


def assignments(text: str, where: str) -> tuple[dict[str, Value], dict[str, int]]:
    """`({name: value}, {name: line})` of all assignments; `BadInput` with FILE:LINE for every line that is not plain."""
    values: dict[str, Value] = {}
    lines: dict[str, int] = {}
    refused: set[str] = set()  # names that a refused statement may have bound: their use is no second problem
    problems = []
    for statement in _parsed(text, where).body:
        try:
            name, value = _assignment(statement, values, refused)
        except _Unresolvable as e:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    refused.add(node.id)
                if isinstance(node, ast.alias):
                    refused.add((node.asname or node.name).split(".")[0])
            if e.found:
                problems.append(_problem(text, where, statement.lineno, e.found))
            continue
        except (ZeroDivisionError, RecursionError) as e:
            found = "a division by zero" if isinstance(e, ZeroDivisionError) else "an expression nested too deeply"
            problems.append(_problem(text, where, statement.lineno, found))
            continue
        if name:
            values[name], lines[name] = value, statement.lineno
    if problems:
        raise BadInput(*problems)
    return values, lines


def _parsed(text: str, where: str) -> ast.Module:
    try:
        try:
            return _tree(text)
        except IndentationError as e:
            if not e.msg.startswith("unexpected indent") or '"""' in text or "'''" in text:
                raise
            return _tree("\n".join(line.lstrip() for line in text.splitlines()))  # xl allows indented lines
    except SyntaxError as e:
        raise BadInput(
            Problem(
                code="xen-line-unknown",
                what="a line of the Xen configuration cannot be understood",
                where=f"{where}:{e.lineno or 1}",
                found=f"{e.msg}: {_line(text, e.lineno or 1)}",
                expected="KEY = VALUE, as xm or xl read it",
                remedy="correct the line, or a quote or bracket that was left open above it",
            )
        ) from None
    except (ValueError, RecursionError, MemoryError) as e:
        raise BadInput(
            Problem(
                code="xen-configuration-unknown",
                what="the Xen configuration cannot be understood",
                where=where,
                found=str(e) or "nested too deeply",
                expected="a text of lines KEY = VALUE",
                remedy="see whether `config` in the guest's parameters names the right file",
            )
        ) from None


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # '\d' in a string: Python frowns, Xen does not
        return ast.parse(text.lstrip("\ufeff"))


def _assignment(statement: ast.stmt, values: dict[str, Value], refused: set[str]) -> tuple[str, Value]:
    if isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and _is_text(statement.value)):
        return "", None  # a bare string is how Python writes a long comment
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, _value(statement.value, values, refused)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name) and isinstance(statement.op, ast.Add):
        before = _bound(statement.target.id, values, refused)
        return statement.target.id, _combined(statement.op, before, _value(statement.value, values, refused))
    raise _Unresolvable(_named(statement.value if isinstance(statement, ast.Expr) else statement))


def _value(node: ast.expr, values: dict[str, Value], refused: set[str]) -> Value:
    match node:
        case ast.Constant(value=bool(truth)):
            return int(truth)
        case ast.Constant(value=(str() | int() | float() | None) as plain):
            return _small(plain)
        case ast.Name(id=name):
            return _bound(name, values, refused)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return _small([_value(item, values, refused) for item in items])
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            number = _value(operand, values, refused)
            if isinstance(number, int | float):
                return -number if isinstance(node.op, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(op, _value(left, values, refused), _value(right, values, refused))
    raise _Unresolvable(_named(node))


def _bound(name: str, values: dict[str, Value], refused: set[str]) -> Value:
    if name in values:
        return values[name]
    raise _Unresolvable("" if name in refused else f"the name {name}, which has no value here; a text needs quotes")


def _combined(op: ast.operator, left: Value, right: Value) -> Value:
    if isinstance(left, int | float) and isinstance(right, int | float) and type(op) in _ARITHMETIC:
        return _small(_ARITHMETIC[type(op)](left, right))
    if isinstance(op, ast.Add):
        if isinstance(left, str) and isinstance(right, str):
            return _small(left + right)
        if isinstance(left, list) and isinstance(right, list):
            return _small(left + right)
    if isinstance(op, ast.Mod) and isinstance(left, str):
        return _formatted(left, right)
    raise _Unresolvable("an operation that is neither plain arithmetic nor the joining of texts or lists")


def _formatted(template: str, arguments: Value) -> str:
    if re.search(r"%[^a-zA-Z%]*(\*|\d{4,}|\()", template):
        raise _Unresolvable("a %-format with names or very large widths")
    try:
        return str(_small(template % (tuple(arguments) if isinstance(arguments, list) else arguments)))
    except (TypeError, ValueError) as e:
        raise _Unresolvable(f"a %-format that does not fit its values ({e})") from None


def _small(value: Value) -> Value:
    if isinstance(value, str | list) and _weight(value) > LONGEST:
        raise _Unresolvable(f"a value of more than {LONGEST:,} characters or items")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise _Unresolvable("a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise _Unresolvable("a number that is not finite")
    return value


def _weight(value: Value) -> int:
    """Characters and items in a value; lists may hold one another many times over, so counting stops where it is too much."""
    if not isinstance(value, list):
        return len(value) if isinstance(value, str) else 1
    weight = len(value)
    for item in value:
        weight += _weight(item)
        if weight > LONGEST:
            break
    return weight


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _named(node: ast.AST) -> str:
    """What a reader calls this construct: of the node itself, else of the first part that has a name."""
    for part in ast.walk(node):
        if type(part) in _NAMES:
            return _NAMES[type(part)]
    return f"Python code ({type(node).__name__})"


def _problem(text: str, where: str, line: int, found: str) -> Problem:
    return Problem(
        code="xen-line-is-code",
        what="a line of the Xen configuration is code, not a value",
        where=f"{where}:{line}",
        found=f"{found}: {_line(text, line)}",
        expected="numbers, quoted texts, lists of them, and simple sums or %-formats of these",
        remedy=_REMEDY,
    )


def _line(text: str, line: int) -> str:
    lines = text.splitlines()
    return redaction.shown(lines[line - 1].strip(), redaction.UNKNOWN)[:120] if 0 < line <= len(lines) else "(end of file)"
