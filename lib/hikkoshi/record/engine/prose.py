"""A runbook's prose in the reader's language: each cell of text from a catalogue of gettext, all else as it is.

An entry of locale/LANG/STEP.po has the whole source of one cell. A text without an entry, as a site's own, stays as it is.
"""

import json
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from hikkoshi import translation
from hikkoshi.translation import Gettext

LANGUAGES = ("ja",)  # beside English
PACKAGE = Path(__file__).parents[2]


def catalogue(lang: str, step: str) -> str:
    """Where a step's catalogue is in the package; not every step has one."""
    return f"record/engine/locale/{lang}/{step}.po"


def said(lang: str, step: str) -> Gettext:
    """What a step's texts are in a language. They stay in English, and where there is no catalogue that can be read."""
    try:
        return translation.of((PACKAGE / catalogue(lang, step)).read_bytes()).gettext
    except (OSError, ValueError, LookupError):  # a run goes on whatever its words are, a rollback above all
        return str


def translate(cells: Iterable[MutableMapping[str, Any]], words: Gettext) -> None:
    """Put each text of a notebook into other words."""
    for cell in cells:
        if cell["cell_type"] == "markdown" and (source := "".join(cell["source"])):  # to nothing, gettext says its header
            cell["source"] = words(source)


def translated(runbook: bytes, catalogue: bytes) -> bytes:
    """A runbook as a catalogue has its texts."""
    nb = json.loads(runbook)
    translate(nb["cells"], translation.of(catalogue).gettext)
    return (json.dumps(nb, indent=1, ensure_ascii=False) + "\n").encode()
