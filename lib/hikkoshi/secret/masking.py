"""Known secret values are replaced by their names in everything that a run writes or prints.

A value is found as it is, and as `repr`, JSON, URL, HTML, shell, hexadecimal and base64 write it, base64 also inside a
longer text such as the header of an HTTP login. Values shorter than four characters are no secrets, see `reference`.
"""

import base64
import contextlib
import html
import json
import math
import re
import shlex
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hikkoshi.secret.reference import SHORTEST, Secret

SHORTEST_BASE64 = 6  # fewer characters of base64 say too little to be taken for the secret
SHORTEST_KEY = 8  # shorter values could be part of a key that the notebook's format needs

ENCODERS: tuple[Callable[[str], str], ...] = (
    lambda s: repr(s)[1:-1],
    lambda s: repr(s.encode(errors="surrogateescape"))[2:-1],
    lambda s: json.dumps(s)[1:-1],
    lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    lambda s: json.dumps(s)[1:-1].translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"}),  # as Go writes it
    lambda s: _quoted(s, safe="/"),
    lambda s: _quoted(s, safe=""),
    lambda s: _quoted(s, safe="!~*'()"),  # as JavaScript's encodeURIComponent writes it
    lambda s: _quoted(s, safe="!$&'()*+,;="),  # as the password in a URL is written
    lambda s: _quoted(s, safe="/").replace("%20", "+"),
    lambda s: _quoted(s, safe="").replace("%20", "+"),
    lambda s: re.sub("%..", lambda code: code[0].lower(), _quoted(s, safe="")),
    html.escape,
    lambda s: html.escape(s, quote=False),
    lambda s: html.escape(s, quote=False).replace('"', "&quot;").replace("'", "&apos;"),  # as XML writes it
    lambda s: html.escape(s, quote=False).replace('"', "&#34;").replace("'", "&#39;"),  # as Jinja and Go write it
    lambda s: shlex.quote(s)[1:-1] if "'" in s else s,
)


class Mask:
    """Replaces the values of `secrets` by their names."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._names: dict[str, str] = {}  # {one form of a value: ‹name›}
        for secret in secrets:
            self._names |= dict.fromkeys(forms(secret.reveal()), repr(secret))
        self._anything = _pattern(self._names)
        self._keys = _pattern(f for f in self._names if len(f) >= SHORTEST_KEY)

    def text(self, text: str) -> str:
        """The same text without any secret."""
        return self._replace(self._anything, text)

    def tree(self, node: Any) -> Any:
        """A copy of a JSON-like tree (dicts, lists, strings, numbers) without any secret in its values and keys.

        NaN and infinity, which JSON has no form for, become texts.
        """
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, dict):  # a notebook's nodes are dicts with a class of their own
            return type(node)((self._replace(self._keys, k), self.tree(v)) for k, v in node.items())
        if isinstance(node, list | tuple):
            return [self.tree(v) for v in node]
        return str(node) if isinstance(node, float) and not math.isfinite(node) else node

    def _replace(self, pattern: re.Pattern[str] | None, text: str) -> str:
        return pattern.sub(lambda found: self._names[found[0]], text) if pattern else text


def forms(value: str) -> set[str]:
    """Every way in which a value may stand in a text: `forms("p&ss")` holds 'p&ss', 'p%26ss', 'p&amp;ss', 'cCZzcw' …"""
    if len(value) < SHORTEST:
        return set()
    found = {value}
    for _ in range(2):  # twice: an HTML table that shows the repr of a JSON text
        found |= {encode(text) for text in found for encode in ENCODERS}
    digits = value.encode(errors="surrogateescape").hex()
    return found | {digits, digits.upper()} | set(base64_forms(value))


def _quoted(text: str, safe: str) -> str:
    return urllib.parse.quote(text, safe=safe, errors="surrogateescape")


def base64_forms(value: str) -> Iterator[str]:
    """The characters that depend on the value alone, for each of the three places where it can start in a longer text."""
    for raw in {value.encode(errors="surrogateescape"), *encoded(value)}:
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            yield code(raw).decode().rstrip("=")
            for before in range(3):
                whole = (before + len(raw)) // 3 * 4  # characters that no byte after the value changes
                alone = code(b"\0" * before + raw).decode()[-(-before * 4 // 3) : whole]
                if len(alone) >= SHORTEST_BASE64:
                    yield alone


def encoded(value: str) -> list[bytes]:
    """The value as the encodings beside UTF-8 have it that are met: of Windows, and of PNG's texts."""
    found = []
    for encoding in ("utf-16-le", "latin-1"):
        with contextlib.suppress(UnicodeEncodeError):
            found.append(value.encode(encoding))
    return found


def _pattern(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
