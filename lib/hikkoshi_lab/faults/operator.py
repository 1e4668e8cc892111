"""Somebody who goes through a runbook: its notebook's own cells, one after the other, in a process that can be killed."""

import contextlib
import multiprocessing
import os
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hikkoshi.errors import HikkoshiError, Problem
from hikkoshi.params.home import Home
from hikkoshi.record.engine import runbook
from hikkoshi.run.step import Step
from hikkoshi.steps import rollback
from hikkoshi.vsphere import session

# one process for each run, forked from one that has imported everything: the threads of whoever watches are not in it
SERVER = multiprocessing.get_context("forkserver")
LOADED = ["hikkoshi.show", "hikkoshi.figures.exhibits", "hikkoshi.steps.deploy", "hikkoshi.steps.cutover", __name__]
USUAL = 20.0  # seconds that an answer of vSphere may take here
LAST = "evidence"  # tag of the last cell that is gone through
PATIENCE = 120.0  # seconds for a run


@dataclass(frozen=True)
class Ended:
    """How a run ended: `done`, `killed`, or what it told. Not one of ours: `traceback`."""

    how: str
    problems: tuple[Problem, ...] = ()
    traceback: str = ""


def cells(home: Home, step: Step) -> list[str]:
    """The code of a step's notebook, without what sets its parameters."""
    found = []
    for cell in runbook.read(runbook.find(home, step.id)).cells:
        tags = cell.metadata.tags
        if cell.cell_type == "code" and "parameters" not in tags:
            found.append(str(cell.source))
        if cell.cell_type == "code" and LAST in tags:
            break
    return found


class Operator:
    """One run under way."""

    def __init__(self, home: Home, step: Step, run: str, guest: str, path: str, answer: float = USUAL) -> None:
        SERVER.set_forkserver_preload(LOADED)
        self._cells = cells(home, step)
        self._at = SERVER.Value("i", -1, lock=False)
        self._told, other = SERVER.Pipe(duplex=False)
        about = {"HIKKOSHI_RUN": run, "PATH": path}
        args = (home.root, step.id, guest, self._cells, self._at, other, about, answer)
        self._process = SERVER.Process(target=_go, args=args, daemon=True)
        self._process.start()
        other.close()

    @property
    def cell(self) -> str:
        """The cell that it is in."""
        return self._cells[self._at.value] if self._at.value >= 0 else ""

    def kill(self) -> None:
        """kill -9, wherever it is."""
        assert self._process.pid
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()

    def end(self) -> Ended:
        """Wait for it."""
        found = Ended("killed")
        if self._told.poll(PATIENCE):
            with contextlib.suppress(EOFError):
                found = self._told.recv()
        self._process.join(PATIENCE)
        return found


def _go(
    root: Path, step: str, guest: str, texts: list[str], at: Any, told: Connection, about: dict[str, str], answer: float
) -> None:
    os.environ.update(about)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    session.ANSWER = rollback.ANSWER = answer
    rollback.LOGIN, rollback.PAUSE = max(rollback.LOGIN, answer), 0.0
    names: dict[str, Any] = {"guest": guest, "mode": "apply", "home": str(root)}
    try:
        for number, text in enumerate(texts):
            at.value = number
            exec(compile(text, f"{step}, cell {number}", "exec"), names)  # our own notebooks
        told.send(Ended("done"))
    except HikkoshiError as e:
        told.send(Ended(type(e).__name__, e.problems))
    except BaseException:
        told.send(Ended("traceback", traceback=traceback.format_exc()))
