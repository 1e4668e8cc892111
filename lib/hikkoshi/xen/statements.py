"""The statements of an xm or xl configuration, one by one, so that a line that nobody can read hides no other.

xm was a program of Python 2, and read its files as that: what only Python 2 understands is told by its name.
"""

import ast
import re
import warnings
from dataclasses import dataclass

_PARTS = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<text>(?P<long>\"{3}|'{3})(?:\\.|.)*?(?P=long)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<open>[\[({])|(?P<close>[\])}])|(?P<on>\\\n)|(?P<end>\n)|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_SETTING = re.compile(r"[ \t]*([A-Za-z_]\w*)[ \t]*\+?=(?!=)")
_BLOCK = re.compile(r"\s*(?:if|for|while|def|class|try|with)\b")
_BRANCH = re.compile(r"\s*(?:else|elif|except|finally)\b")
_PYTHON_2 = (
    ("a print statement", re.compile(r"^\s*print\b(?!\s*[(=])|^\s*print\s*>>", re.MULTILINE)),
    ("an exec statement", re.compile(r"^\s*exec\b(?!\s*[(=])", re.MULTILINE)),
    ("a long number", re.compile(r"(?<![\w.])(?:0[xX][0-9a-fA-F]+|\d+)[lL]\b")),
    ("an octal number with a leading zero", re.compile(r"(?<![\w.])0\d+\b(?!\.)")),
    ("an exception in Python 2's form", re.compile(r"^\s*(?:except|raise)\b[^\n:]*,", re.MULTILINE)),
    ("a text", re.compile(r"(?<![\w.])[uU][rR](?= )")),
    ("<> for !=", re.compile(r"<>")),
    ("backticks", re.compile(r"`")),
)


@dataclass(frozen=True)
class Unread:
    """A statement that Python cannot parse. `names` are those that it sets; None where nobody knows."""

    lineno: int
    found: str
    python2: bool = False
    names: frozenset[str] | None = None


def statements(text: str, known: frozenset[str]) -> list[ast.stmt | Unread]:
    """All statements in their order, each with the number of its line; a name of `known` begins one in any case."""
    try:
        return [*_tree(text).body]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found: list[ast.stmt | Unread] = []
        for first, part in _parts(text, known):
            found += _alone(first, part)
        return found


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # '\d' in a string: Python frowns, Xen does not
        return ast.parse(text)


def _alone(first: int, part: str) -> list[ast.stmt | Unread]:
    """One statement by itself; xl allows that it is indented."""
    margin = len(part) - len(part.lstrip(" \t"))
    lines = [line[margin:] if not line[:margin].strip() else line for line in part.split("\n")]
    try:
        body = _tree("\n".join(lines))
    except SyntaxError as e:
        return [_unread(first, part, e.msg, first + (e.lineno or 1) - 1)]
    except (ValueError, RecursionError, MemoryError):
        return [_unread(first, part, "it is nested too deeply", first)]
    ast.increment_lineno(body, first - 1)
    return [*body.body]


def _unread(first: int, part: str, why: str, line: int) -> Unread:
    bare = "".join(" " if m["text"] or m["comment"] else m[0] for m in _PARTS.finditer(part))
    old = next(((words, m) for words, pattern in _PYTHON_2 if (m := pattern.search(bare))), None)
    called = _SETTING.match(part)
    names = frozenset({called[1]}) if called else None
    if old is None:
        last = first + part.rstrip().count("\n")
        return Unread(min(max(line, first), last), why, names=names)
    words, at = old
    here = first + bare[: at.start() + len(at[0]) - len(at[0].lstrip())].count("\n")
    alone = words.startswith("a print") and "\n" not in part.strip() and ";" not in bare
    return Unread(here, f"{words} of Python 2", python2=True, names=frozenset() if alone else names)


def _parts(text: str, known: frozenset[str]) -> list[tuple[int, str]]:
    """(number of the first line, text) of every statement; one with a block has the block in it."""
    found: list[tuple[int, str]] = []
    for first, line in _logical(text, known):
        if not _code(line).strip():
            continue
        if found and _goes_on(found[-1][1], line):
            at, before = found[-1]
            found[-1] = at, before + "\n" * (first - at - before.count("\n")) + line
        else:
            found.append((first, line))
    return found


def _goes_on(before: str, line: str) -> bool:
    """Whether a line belongs to the block of the statement before it."""
    margin, own = (len(x) - len(x.lstrip(" \t")) for x in (before, line))
    return bool(_BLOCK.match(before)) and (own > margin or (own == margin and bool(_BRANCH.match(line))))


def _code(part: str) -> str:
    return "".join("" if m["comment"] else m[0] for m in _PARTS.finditer(part))


def _logical(text: str, known: frozenset[str]) -> list[tuple[int, str]]:
    """Lines as Python counts them: over brackets, long texts, and a backslash at the end."""
    found: list[tuple[int, str]] = []
    begin, first, line, depth = 0, 1, 1, 0
    for m in _PARTS.finditer(text):
        if m["open"]:
            depth += 1
        elif m["close"]:
            depth = max(0, depth - 1)
        line += m[0].count("\n")
        if not m["end"]:
            continue
        following = _SETTING.match(text, m.end())
        if depth == 0 or (following and following[1] in known):  # a bracket was left open
            found.append((first, text[begin : m.start()]))
            begin, first, depth = m.end(), line, 0
    found.append((first, text[begin:]))
    return found
