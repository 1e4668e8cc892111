"""Values that an xm or xl configuration can have, and arithmetic on them within limits."""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

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


class Fixed(list[Value]):
    """A tuple of Python's: nobody can change it, and a %-format takes it apart."""


class NoValueError(Exception):
    """What has no plain value; `found` says why."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


def combined(op: ast.operator, left: Value, right: Value) -> Value:
    """`left op right` of numbers, texts and lists; `NoValueError` for everything else."""
    if isinstance(left, int | float) and isinstance(right, int | float) and type(op) in _ARITHMETIC:
        return small(_ARITHMETIC[type(op)](left, right))
    if isinstance(op, ast.Add):
        if isinstance(left, str) and isinstance(right, str):
            return small(left + right)
        if isinstance(left, list) and type(left) is type(right):
            return small(type(left)([*left, *right]))
    if isinstance(op, ast.Mod) and isinstance(left, str):
        return _formatted(left, right)
    raise NoValueError("an operation that is neither plain arithmetic nor the joining of texts or lists")


def _formatted(template: str, arguments: Value) -> str:
    if re.search(r"%[^a-zA-Z%]*(\*|\d{4,}|\()", template):
        raise NoValueError("a %-format with names or very large widths")
    if isinstance(arguments, list) and not isinstance(arguments, Fixed):
        raise NoValueError("a %-format of a list")
    try:
        return str(small(template % (tuple(arguments) if isinstance(arguments, list) else arguments)))
    except (TypeError, ValueError) as e:
        raise NoValueError(f"a %-format that does not fit its values ({e})") from None


def small(value: Value) -> Value:
    """The value, if it is not larger than a configuration can need; else `NoValueError`."""
    if isinstance(value, str | list) and _weight(value) > LONGEST:
        raise NoValueError(f"a value of more than {LONGEST:,} characters or items")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise NoValueError("a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise NoValueError("a number that is not finite")
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


def sharing(whole: list[Value], values: Mapping[str, Value]) -> set[str]:
    """The names whose value may change where a list is changed: of the same list, and of any where one has lists inside."""
    lists = {id(v): v for v in values.values() if isinstance(v, list)}
    nested = {i for i, v in {**lists, id(whole): whole}.items() if any(isinstance(item, list) for item in v)}
    shared = {*lists} if id(whole) in nested else {id(whole), *nested}
    return {name for name, value in values.items() if id(value) in shared}
