"""A runbook as JupyterLab saves it: what somebody wrote in it is kept, and nothing that came of running it.

What was run is on record cell by cell, with what it showed; the runbook itself is the same for the next guest. Values of
parameters are for one sitting: the file keeps its own, and so opens in plan mode. Its texts are in the file in English, in
whatever language they are read.
"""

import re
from collections.abc import Mapping
from typing import Any

from hikkoshi.record import anatomy
from hikkoshi.record.engine import prose

GUEST = re.compile(r'^guest = "[^"]*"', re.M)
_shown: dict[str, str] = {}  # {what a page was given: the file's text}; by the time it is saved, an update may say it otherwise


def kept(there: Mapping[str, Any], saved: Mapping[str, Any], step: str) -> dict[str, Any]:
    """The notebook to write where `there` is the file's and `saved` the page's: the file's cells, but for those that were edited.

    Both as nbformat 4 has them. A text that still is a translation goes back, whatever language the site has by now.
    """
    texts = ["".join(cell["source"]) for cell in there["cells"] if cell["cell_type"] == "markdown"]
    back = {said: text for said, text in _shown.items() if text in texts}
    for lang in prose.LANGUAGES:
        words = prose.said(lang, step)
        back |= {words(text): text for text in texts if text}
    prose.translate(saved["cells"], lambda text: back.get(text, text))
    known = {cell["id"]: cell for cell in there["cells"] if "id" in cell}
    cells = [_kept(known.get(cell.get("id")), cell) for cell in saved["cells"]]
    return {**there, "cells": cells}


def opened(notebook: Mapping[str, Any], step: str, lang: str, guest: str) -> None:
    """Give a runbook's page its texts in a language, and the guest that was picked, in its cell of parameters. The file stays.

    Without a `guest` it keeps its own.
    """
    english = [cell["source"] for cell in notebook["cells"]]
    prose.translate(notebook["cells"], prose.said(lang, step))
    _shown.update((cell["source"], text) for cell, text in zip(notebook["cells"], english, strict=True) if cell["source"] != text)
    for cell in notebook["cells"]:
        if guest and cell["cell_type"] == "code" and "parameters" in anatomy.tags(cell):
            cell["source"] = GUEST.sub(f'guest = "{guest}"', "".join(cell["source"]), count=1)


def _kept(there: Mapping[str, Any] | None, saved: Mapping[str, Any]) -> Mapping[str, Any]:
    if there and there["cell_type"] == saved["cell_type"] and _same(there, saved):
        return there
    about = there["metadata"] if there else {name: saved["metadata"][name] for name in ("tags",) if name in saved["metadata"]}
    return {**saved, "metadata": about} | ({"outputs": [], "execution_count": None} if saved["cell_type"] == "code" else {})


def _same(there: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Whether a cell was left as it is, or only gives other values to its parameters."""
    old, new = "".join(there["source"]), "".join(saved["source"])
    if old == new or "parameters" not in anatomy.tags(there):
        return old == new
    names = anatomy.plain_values(old)
    return names is not None and names == anatomy.plain_values(new)
