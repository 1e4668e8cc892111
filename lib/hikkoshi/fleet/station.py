"""One fleet at a time in a site's folder, and the word that stops it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hikkoshi.errors import Busy, Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.run import lock, privacy


def _lock(home: Home) -> Path:
    return home.fleet / "running"


def _stop(home: Home) -> Path:
    return home.fleet / "stop"


@contextlib.contextmanager
def taken(home: Home) -> Iterator[None]:
    """For as long as a fleet runs; `Busy` where another does. What stopped the last one is forgotten."""
    own = lock.descriptor(_lock(home))
    with os.fdopen(own, "a+b") as handle:
        privacy.shut(home.outputs, refuse=True)
        if not lock.take(handle, 0):
            remedy = "wait until it ends, or stop it: hikkoshi fleet stop"
            raise Busy(
                Problem(
                    code="fleet-busy",
                    what="another fleet runs in this folder",
                    where=str(_lock(home)),
                    found=lock.held_by(_lock(home)),
                    expected="nobody",
                    remedy=remedy,
                )
            )
        _stop(home).unlink(missing_ok=True)
        yield


def stop(home: Home) -> None:
    """Have the fleet that runs begin nothing more; `Refused` where none does."""
    if not lock.held(_lock(home)):
        raise Refused(
            Problem(code="fleet-not-running", what="no fleet runs in this folder", where=str(home.root), remedy="nothing to do")
        )
    _stop(home).touch()


def stopped(home: Home) -> bool:
    """Whether somebody has asked for that."""
    return _stop(home).exists()
