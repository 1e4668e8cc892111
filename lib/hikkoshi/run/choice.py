"""The guest that a user picked last: the next runbook opens with it. Nothing is decided by it, and nobody seals it."""

import contextlib
import os
from pathlib import Path

from hikkoshi import files
from hikkoshi.params.home import Home
from hikkoshi.run import privacy


def of(home: Home) -> str:
    """Its name; empty where none was picked, or it has no parameters any more."""
    try:
        name = files.read(_file(home)).decode(errors="replace")
    except OSError:
        return ""
    return name if name in home.guest_names() else ""


def remember(home: Home, guest: str) -> None:
    """Keep it for this user; where nothing can be written, nothing is lost but that."""
    with contextlib.suppress(OSError):
        privacy.shut(home.outputs)
        _file(home).parent.mkdir(parents=True, exist_ok=True)
        files.write(_file(home), guest)


def _file(home: Home) -> Path:
    return home.outputs / "picked" / str(os.getuid())
