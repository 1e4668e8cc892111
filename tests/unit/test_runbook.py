"""Notebooks of other makers, or damaged: read, or refused with our own words."""

import json
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.record.engine import HonestEngine, runbook


def notebook(source: str = "a = 1", **changes: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell], **changes}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(notebook(nbformat_minor="4")),
        json.dumps(notebook(nbformat=5)),
        json.dumps(notebook("a = '\ud800'")),
        json.dumps(notebook(metadata=None)),
        json.dumps(notebook(cells=None)),
        "[" * 100_000,
        "<<<<<<< HEAD\n{}",
        "",
        "[1]",
    ],
    ids=["minor-in-quotes", "version-5", "half-a-character", "no-metadata", "no-cells", "deep", "conflict", "empty", "list"],
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    with pytest.raises(BadInput) as caught:
        runbook.read(path)
    assert caught.value.problems[0].code == "notebook-unreadable"
    assert caught.value.problems[0].found


@pytest.mark.parametrize("said", [None, "python3", [], 5])
@pytest.mark.parametrize("key", ["kernelspec", "language_info", "papermill"])
def test_what_stands_in_place_of_a_kernels_name_names_none(tmp_path: Path, key: str, said: object) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text("\ufeff" + json.dumps(notebook(metadata={key: said})))
    nb = runbook.read(path)
    assert key not in nb.metadata
    nb.metadata[key] = said  # as papermill alone would read it
    assert HonestEngine.nb_kernel_name(nb) == "none is named"
    assert HonestEngine.nb_language(nb) == "python"
