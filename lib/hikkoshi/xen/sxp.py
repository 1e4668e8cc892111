"""S-expressions, as xend and the first versions of xl print a domain's configuration: text → nested tuples of words."""

import re

Tree = tuple["str | Tree", ...]

_TOKEN = re.compile(
    r"""\s+|(?P<open>\()|(?P<close>\))|(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<word>[^\s()'"]+)""", re.DOTALL
)
_DEEPEST = 64  # brackets within each other; xend's own are six deep


def parse(text: str) -> tuple[Tree, ...]:
    """Every expression of a text, one after the other; `ValueError` where one is not whole, or something else is between."""
    stack: list[list[str | Tree]] = [[]]
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"a quote that is left open: {text[at : at + 40]!r}")
        at = found.end()
        if found["open"]:
            stack.append([])
            if len(stack) > _DEEPEST:
                raise ValueError(f"more than {_DEEPEST} brackets within each other")
        elif found["close"]:
            if len(stack) == 1:
                raise ValueError("a bracket that closes nothing")
            whole = tuple(stack.pop())
            stack[-1].append(whole)
        elif found["quoted"]:
            stack[-1].append(re.sub(r"\\(.)", r"\1", found["quoted"][1:-1], flags=re.DOTALL))
        elif found["word"]:
            stack[-1].append(found["word"])
    if len(stack) > 1:
        raise ValueError("a bracket that is left open: it is cut off")
    if words := [w for w in stack[0] if isinstance(w, str)]:
        raise ValueError(f"words outside of brackets: {' '.join(words)[:40]!r}")
    return tuple(t for t in stack[0] if isinstance(t, tuple))


def value(tree: Tree, key: str) -> str:
    """The word of `(key WORD)` directly in an expression; empty where there is none."""
    for item in tree:
        if isinstance(item, tuple) and len(item) > 1 and item[0] == key and isinstance(item[1], str):
            return item[1]
    return ""


def within(tree: Tree) -> list[Tree]:
    """An expression and all expressions inside it, at any depth."""
    return [tree, *(x for item in tree if isinstance(item, tuple) for x in within(item))]
