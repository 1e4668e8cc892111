"""Whether code in an xm configuration can be passed over, because it changes nothing that is read.

In doubt it cannot: only imports, functions that stand on their own, and what sets other names by plain means are passed
over. Nothing is executed here either.
"""

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hikkoshi.xen.value import Value, sharing

_HARMLESS = (  # of Python 2 and 3: they return something, and change nothing
    "abs bool chr dict float getattr hasattr hex int isinstance len list map max min oct open ord print range repr round "
    "sorted str sum tuple unicode xrange zip None True False Exception ValueError KeyError IOError OSError ImportError TypeError"
)
_HARMFUL = "exec execfile eval globals locals vars setattr delattr compile __import__ input raw_input reload"
_ALWAYS, _NEVER = frozenset(_HARMLESS.split()), frozenset(_HARMFUL.split())
_STATEMENTS = (
    ast.Global,
    ast.Nonlocal,
    ast.Delete,
    ast.ClassDef,
    ast.AsyncFunctionDef,
    ast.Starred,
    ast.Match,
)  # that do too much


@dataclass
class Passing:
    """What is known of the names of one configuration while its statements are gone through."""

    decisive: Collection[str]  # settings that are read
    functions: set[str] = field(default_factory=set)  # that stand on their own
    modules: set[str] = field(default_factory=set)

    def touched(self, statement: ast.stmt, values: Mapping[str, Value]) -> set[str] | None:
        """The names that hold anything afterwards; None where the statement may change what is read."""
        found: set[str] = set()
        for node in ast.walk(statement):
            if not self._plain(node):
                return None
            found |= set(_bound(node)) | _declared(node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and isinstance(whole := values.get(node.id), list):
                found |= sharing(whole, values)
        if found & {*self.decisive}:
            return None
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.Lambda) and not self._alone(node):
                return None
            if isinstance(node, ast.FunctionDef):
                self.functions.add(node.name)
            elif isinstance(node, ast.alias):
                self.modules.add((node.asname or node.name).split(".")[0])
        return found

    def _plain(self, node: ast.AST) -> bool:
        match node:
            case ast.Attribute(attr=attr, ctx=ctx):
                return not attr.startswith(("_", "f_")) and (isinstance(ctx, ast.Load) or attr not in self.decisive)
            case ast.Name(id=name):
                return name not in _NEVER
            case ast.Call(func=ast.Name(id=name)):
                return name in _ALWAYS or name in self.functions or name in self.modules
            case ast.Call(func=func):
                return isinstance(func, ast.Attribute)
        return not isinstance(node, _STATEMENTS) and getattr(node, "name", "") != "*" and not getattr(node, "decorator_list", [])

    def _alone(self, function: ast.FunctionDef | ast.Lambda) -> bool:
        """Whether a function uses nothing but what it is given, modules, and functions that stand on their own."""
        own = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)} | {n for x in ast.walk(function) for n in _bound(x)}
        used = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        return used <= own | _ALWAYS | self.functions | self.modules


def open_ended(statement: ast.stmt) -> bool:
    """Whether a statement may bind any name at all, as `execfile` and `from … import *` do."""
    names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    return bool(names & _NEVER) or any(isinstance(n, ast.alias) and n.name == "*" for n in ast.walk(statement))


def bound(statement: ast.stmt) -> set[str]:
    """Every name that a statement may bind."""
    return {name for node in ast.walk(statement) for name in (*_bound(node), *_declared(node))}


def _bound(node: ast.AST) -> list[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.alias(name=name, asname=other):
            return [(other or name).split(".")[0]]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)):
            return [name]
    return []


def _declared(node: ast.AST) -> set[str]:
    """The variable that `xm_vars.var('vmid', …)` declares: `xm create` is given its value."""
    match node:
        case ast.Call(func=ast.Attribute(attr="var"), args=[ast.Constant(value=str(name)), *_]):
            return {name}
    return set()


def declared(statement: ast.stmt) -> set[str]:
    """The variables that a statement declares, and that `xm create` is given."""
    return {name for node in ast.walk(statement) for name in _declared(node)}
