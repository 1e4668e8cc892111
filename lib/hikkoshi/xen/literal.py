"""Values out of a Python-like configuration, without executing a single line of it.

An xm configuration is a Python program to xend; an xl configuration is a list of literals that happens to be Python too.
Both are parsed with `ast`, and only what has one meaning is resolved: literals, lists, names bound earlier, `+`, `-`, `*`,
`//` and `%` on numbers, joining and %-formatting of strings. Code that sets nothing that is read is passed over, and told.
Everything else is told with its line, all of it at once.
"""

import ast
from collections.abc import Collection
from dataclasses import dataclass, field

from hikkoshi.errors import BadInput, Problem
from hikkoshi.secret import redaction
from hikkoshi.xen import value
from hikkoshi.xen.harmless import Passing, bound, declared, open_ended
from hikkoshi.xen.statements import Unread, statements
from hikkoshi.xen.value import Fixed, NoValueError, Value

MOST = 200  # pieces of code in one configuration that are looked into

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


_CORRECT = "correct the line, or a quote or bracket that was left open above it"
_QUOTES = "a text needs quotes"


@dataclass(frozen=True)
class Settings:
    """What a configuration sets, and where. `items` has the lines of a list's entries; `passed` is code that is not read."""

    values: dict[str, Value]
    lines: dict[str, int] = field(default_factory=dict)
    items: dict[str, list[int]] = field(default_factory=dict)
    passed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Told:
    """One piece of a configuration that is no plain value."""

    line: int
    found: str
    remedy: str = ""  # where it is no code


class _Unresolvable(Exception):
    """A node that has no plain value: what is told of it, with lines; nothing where its cause was told already."""

    def __init__(self, told: Collection[tuple[int, str]]) -> None:
        super().__init__()
        self.told = told


def assignments(text: str, where: str, decisive: Collection[str]) -> Settings:
    """What is set, as the last line that sets it has it; `BadInput` with FILE:LINE for every line that is not plain.

    Lines of code are no hindrance where they only set what is not `decisive`.
    """
    reader, lines = _Reader(decisive), text.split("\n")
    for statement in statements(text, frozenset(decisive)):
        reader.take(statement)
    if not reader.blocking:
        passed = tuple(f"line {t.line}, {t.found}: {_line(lines, t.line)}" for t in reader.told)
        return Settings(reader.values, reader.lines, reader.items, passed)
    told = {t.line: t for t in sorted(reader.told, key=lambda t: (t.line, t.remedy), reverse=True)}  # each line once
    raise BadInput(*(_problem(lines, where, t, reader.outside) for t in sorted(told.values(), key=lambda t: t.line)))


class _Reader:
    """Goes through the statements of one configuration, and keeps what they set and what cannot be told."""

    def __init__(self, decisive: Collection[str]) -> None:
        self.values: dict[str, Value] = {}
        self.lines: dict[str, int] = {}
        self.items: dict[str, list[int]] = {}
        self.told: list[_Told] = []
        self.blocking = False
        self.outside: dict[str, None] = {}  # variables that `xm create` is given
        self._decisive = decisive
        self._unknown: set[str] = set()  # names without a plain value, of which the cause was told
        self._anything = False  # whether something told may have bound any name
        self._passing = Passing(decisive)

    def take(self, statement: ast.stmt | Unread) -> None:
        if isinstance(statement, Unread):
            self._unread(statement)
            return
        try:
            name, found = self._assignment(statement)
        except _Unresolvable as e:
            self._code(statement, e)
        except (ZeroDivisionError, RecursionError) as e:
            words = "a division by zero" if isinstance(e, ZeroDivisionError) else "an expression nested too deeply"
            self._code(statement, _Unresolvable([(statement.lineno, words)]))
        else:
            if name:
                lines = self._lines_of(statement)
                self.values[name], self.lines[name] = found, statement.lineno
                self.items[name] = lines if isinstance(found, list) and len(lines) == len(found) else []
                self._unknown.discard(name)

    def _unread(self, statement: Unread) -> None:
        self.told.append(_Told(statement.lineno, statement.found, "" if statement.python2 else _CORRECT))
        self._forget(statement.names or ())
        self._anything |= statement.names is None and statement.python2
        self.blocking |= statement.names is None or not statement.python2 or bool(statement.names & {*self._decisive})

    def _code(self, statement: ast.stmt, e: _Unresolvable) -> None:
        self.told += [_Told(line, found, "write it in quotes" if found.endswith(_QUOTES) else "") for line, found in e.told]
        self.outside |= dict.fromkeys(sorted(declared(statement)))
        self._anything |= open_ended(statement)
        touched = self._passing.touched(statement, self.values) if len(self.told) < MOST else None
        self.blocking |= touched is None
        self._forget(touched or bound(statement))

    def _forget(self, names: Collection[str]) -> None:
        """These names may hold anything from here on."""
        self._unknown |= {*names}
        for name in names:
            self.values.pop(name, None)

    def _assignment(self, statement: ast.stmt) -> tuple[str, Value]:
        if isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and _is_text(statement.value)):
            return "", None  # a bare string is how Python writes a long comment
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=expression):
                return name, self._value(expression)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=ast.Add() as op, value=expression):
                before, added = self._bound(target), self._value(expression)
                if type(before) is not list or not isinstance(added, list):
                    return name, _plain(statement, op, before, added)
                found = _plain(statement, op, before, [*added])
                before[:] = found if isinstance(found, list) else []  # of every name of this list, as Python does it
                return name, before
        raise _Unresolvable([(statement.lineno, _named(statement.value if isinstance(statement, ast.Expr) else statement))])

    def _value(self, node: ast.expr, *, part: bool = False) -> Value:
        """The value of an expression; `part`: of a larger one, where a name alone is no text without its quotes."""
        match node:
            case ast.Constant(value=bool(truth)):
                return int(truth)
            case ast.Constant(value=(str() | int() | float() | None) as plain):
                return _small(node, plain)
            case ast.Name():
                return self._bound(node, part=part)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                found = self._items(items, part=part)
                return _small(node, Fixed(found) if isinstance(node, ast.Tuple) else found)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                number = self._value(operand, part=True)
                if isinstance(number, int | float):
                    return -number if isinstance(node.op, ast.USub) else number
            case ast.BinOp(left=left, op=op, right=right):
                return _plain(node, op, *self._items([left, right], part=True))
        raise _Unresolvable([(node.lineno, _named(node))])

    def _items(self, nodes: list[ast.expr], *, part: bool) -> list[Value]:
        """The values of several expressions; what is wrong with any of them is told at once, each line once."""
        found: list[Value] = []
        told: dict[int, str] = {}
        failed = False
        for node in nodes:
            try:
                found.append(self._value(node, part=part))
            except _Unresolvable as e:
                failed = True
                for line, words in e.told:
                    told.setdefault(line, words)
        if failed:
            raise _Unresolvable([*told.items()])
        return found

    def _bound(self, node: ast.Name, *, part: bool = False) -> Value:
        if node.id in self.values:
            return self.values[node.id]
        if node.id in self._unknown or self._anything:
            raise _Unresolvable([])
        if not part:
            raise _Unresolvable([(node.lineno, f"the name {node.id}, which has no value here; {_QUOTES}")])
        self.outside[node.id] = None
        self._unknown.add(node.id)  # told once
        words = f"the name {node.id}, which has no value in this file: it is given to `xm create`, or left out"
        raise _Unresolvable([(node.lineno, words)])

    def _lines_of(self, statement: ast.stmt) -> list[int]:
        """The lines of a list's entries, where they stand in the file one by one."""
        match statement:
            case ast.Assign(value=expression):
                return self._lines_in(expression)
            case ast.AugAssign(target=ast.Name(id=name), value=expression):
                return self.items.get(name, []) + self._lines_in(expression)
        return []

    def _lines_in(self, node: ast.expr) -> list[int]:
        match node:
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [item.lineno for item in items]
            case ast.Name(id=name):
                return self.items.get(name, [])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._lines_in(left) + self._lines_in(right)
        return []


def _plain(node: ast.expr | ast.stmt, op: ast.operator, left: Value, right: Value) -> Value:
    try:
        return value.combined(op, left, right)
    except NoValueError as e:
        raise _Unresolvable([(node.lineno, e.found)]) from None


def _small(node: ast.expr, found: Value) -> Value:
    try:
        return value.small(found)
    except NoValueError as e:
        raise _Unresolvable([(node.lineno, e.found)]) from None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _named(node: ast.AST) -> str:
    """What a reader calls this construct: of the node itself, else of the first part that has a name."""
    for part in ast.walk(node):
        if type(part) in _NAMES:
            return _NAMES[type(part)]
    return f"Python code ({type(node).__name__})"


def _problem(lines: list[str], where: str, told: _Told, outside: Collection[str]) -> Problem:
    found = f"{told.found}: {_line(lines, told.line)}"
    if told.remedy:
        return Problem(
            code="xen-line-unknown",
            what="a line of the Xen configuration cannot be understood",
            where=f"{where}:{told.line}",
            found=found,
            expected="KEY = VALUE, as xm or xl read it",
            remedy=told.remedy,
        )
    given = "".join(f" {name}=VALUE" for name in outside)
    shown = f"`xm create -n FILE{given}` shows it" + (", with the value that this guest is started with" if given else "")
    return Problem(
        code="xen-line-is-code",
        what="a line of the Xen configuration is code, not a value",
        where=f"{where}:{told.line}",
        found=found,
        expected="numbers, quoted texts, lists of them, and simple sums or %-formats of these",
        remedy=f"the file is never executed: write the value that this line yields (on the Dom-0, {shown}) into a copy of the "
        "file, and point `config` in the guest's parameters to the copy, `start_config` to the file itself",
    )


def _line(lines: list[str], line: int) -> str:
    return redaction.shown(lines[line - 1].strip(), redaction.UNKNOWN)[:120] if 0 < line <= len(lines) else "(end of file)"
