"""Known secret values are replaced by their names in everything that a run writes or prints.

A value is found as it is, and as `repr`, JSON, URL, HTML and base64 write it, base64 also inside a longer text such as
the header of an HTTP login. Values shorter than four characters are left alone: masking them would destroy the record.
"""

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hikkoshi.errors import BadInput
from hikkoshi.params import Home, Secret

SHORTEST = 4
SHORTEST_BASE64 = 6  # fewer characters of base64 say too little to be taken for the secret
SHORTEST_KEY = 8  # shorter values could be part of a key that the notebook's format needs

ENCODERS: tuple[Callable[[str], str], ...] = (
    lambda s: repr(s)[1:-1],
    lambda s: json.dumps(s)[1:-1],
    lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    urllib.parse.quote,
    urllib.parse.quote_plus,
    lambda s: urllib.parse.quote(s, safe=""),
    html.escape,
    lambda s: html.escape(s, quote=False),
    lambda s: html.escape(s, quote=False).replace('"', "&quot;").replace("'", "&apos;"),  # as XML writes it
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
        """A copy of a JSON-like tree (dicts, lists, strings, numbers) without any secret in its values and keys."""
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, dict):  # a notebook's nodes are dicts with a class of their own
            return type(node)((self._replace(self._keys, k), self.tree(v)) for k, v in node.items())
        if isinstance(node, list | tuple):
            return [self.tree(v) for v in node]
        return node

    def _replace(self, pattern: re.Pattern[str] | None, text: str) -> str:
        return pattern.sub(lambda found: self._names[found[0]], text) if pattern else text


def forms(value: str) -> set[str]:
    """Every way in which a value may stand in a text: `forms("p&ss")` holds 'p&ss', 'p%26ss', 'p&amp;ss', 'cCZzcw' …"""
    if len(value) < SHORTEST:
        return set()
    found = {value}
    for _ in range(2):  # twice: an HTML table that shows the repr of a JSON text
        found |= {encode(text) for text in found for encode in ENCODERS}
    return found | set(_base64(value))


def known(home: Home) -> list[Secret]:
    """Every secret that the site's parameters point to, as far as it can be read now."""
    secrets = []
    for reference in _references(home.site().model_dump(mode="json")):
        try:
            secrets.append(home.secret(reference))
        except BadInput:
            continue  # what cannot be read here cannot be read, and told, by the kernel
    return secrets


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _references(value)
    elif isinstance(node, str) and re.match(r"(env|file|keyring):.", node):
        yield node


def _base64(value: str) -> Iterator[str]:
    """The characters that depend on the value alone, for each of the three places where it can start in a longer text."""
    for before in range(3):
        raw = b"\0" * before + value.encode()
        whole = len(raw) // 3 * 4  # characters that no byte after the value changes
        for code in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            alone = code.decode()[-(-before * 4 // 3) : whole]
            if len(alone) >= SHORTEST_BASE64:
                yield alone
            if not before:
                yield code.decode().rstrip("=")


def _pattern(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
