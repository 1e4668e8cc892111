"""Lines of a configuration file that keep their endings, so that what we do not change stays byte for byte.

`str.splitlines` is no use here: it also splits at form feeds and at bytes of old Japanese encodings.
"""

import re
from collections.abc import Callable, Iterable


def lines(text: str) -> list[str]:
    r"""Split after every line feed: `lines('a\r\nb') == ['a\r\n', 'b']`; joined again they are the text."""
    pieces = text.split("\n")
    whole = [piece + "\n" for piece in pieces[:-1]]
    return [*whole, pieces[-1]] if pieces[-1] else whole


def logical(text: str) -> list[str]:
    r"""The same, where a backslash at its end joins a line with the next: `logical('a\\\nb\nc') == ['a\\\nb\n', 'c']`."""
    found: list[str] = []
    for line in lines(text):
        if found and found[-1].removesuffix("\n").removesuffix("\r").endswith("\\"):
            found[-1] += line
        else:
            found.append(line)
    return found


def parts(line: str) -> tuple[str, str]:
    r"""Body and ending of a line: `parts('a\r\n') == ('a', '\r\n')`."""
    for ending in ("\r\n", "\n"):
        if line.endswith(ending):
            return line[: -len(ending)], ending
    return line, ""


def ending(text: str) -> str:
    """The line ending that the file uses, a line feed where it has none."""
    return next((e for _, e in map(parts, lines(text)) if e), "\n")


def edit(text: str, change: Callable[[str], str | None], split: Callable[[str], list[str]] = lines) -> str:
    """Pass the body of every line through `change`; None drops the line, its ending stays as it was."""
    out = []
    for line in split(text):
        body, end = parts(line)
        new = change(body)
        if new is not None:
            out.append(new + end)
    return "".join(out)


def append(text: str, bodies: Iterable[str]) -> str:
    """Add whole lines at the end, in the file's own line ending."""
    end = ending(text)
    if text and not text.endswith("\n"):
        text += end
    return text + "".join(body + end for body in bodies)


def number(text: str, pattern: str) -> int:
    """Which line, from 1, is the first that begins with `pattern`; 1 where none does."""
    return next((n for n, line in enumerate(lines(text), 1) if re.match(pattern, line)), 1)


def uncommented(xml: str) -> str:
    """XML without its comments, but with their line feeds; one without an end stays."""
    out, at = "", 0
    while (start := xml.find("<!--", at)) >= 0 and (end := xml.find("-->", start + 4)) >= 0:
        out += xml[at:start] + "\n" * xml.count("\n", start, end)
        at = end + 3
    return out + xml[at:]
