"""Another language than English: a catalogue of gettext, as the PO files of the package are; and letters that are wider."""

import functools
import gettext
import unicodedata
from collections.abc import Callable, Sequence
from io import BytesIO

Gettext = Callable[[str], str]


@functools.cache
def of(catalogue: bytes) -> gettext.GNUTranslations:
    """What a PO file says. A message that it does not have stays as it is."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415 - a site in English needs none of it
    from babel.messages.pofile import read_po  # noqa: PLC0415

    compiled = BytesIO()
    write_mo(compiled, read_po(BytesIO(catalogue)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def width(text: str) -> int:
    """How many places of a terminal a text takes: a Japanese letter takes two."""
    return len(text) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text, its columns as wide as a terminal shows them."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c + " " * (w - width(c)) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
