"""One task of a fleet: a guest taken through some steps by a process of its own, that is only waited for.

It is carried out in a thread of this process, or on a machine of a cluster; what is true stands in journals and locks on disk.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from hikkoshi import tool
from hikkoshi.fleet.loaded import Loaded

LOOK = 0.2  # seconds between two looks at whether it is to end
PIECE = 1 << 16  # bytes read at once
Document = dict[str, Any]  # a guest of what `hikkoshi run --json` prints: guest, exit_code, steps; and error


@dataclass(frozen=True)
class Task:
    """A guest, and the steps it is taken through one after the other; `slots` are what it takes one of while it lasts."""

    guest: str
    steps: tuple[str, ...]
    apply: bool
    slots: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """What carries it out."""
        words = ["run", self.guest, "--from", self.steps[0], "--through", self.steps[-1], *(["--apply"] if self.apply else [])]
        return [sys.executable, "-m", "hikkoshi.cli.main", *words, "--json"]


def silent(line: str) -> None:
    """Show nothing."""


def carry_out(
    home: str, task: Task, asked: Callable[[], int], say: Callable[[str], None] = silent, loaded: Loaded | None = None
) -> Document:
    """Run it to its end; the guest's document. `asked` gives the signal to send it, 0 for none; `say` gets its lines.

    Its process is forked by `loaded`, which saves most of what a step takes that only looks.
    """
    if told := asked():
        return ended(task, 128 + told, "not started")
    with tempfile.TemporaryFile() as answer:
        environment = {**os.environ, "HIKKOSHI_HOME": home}
        begun = loaded.begin(task.command, environment, answer) if loaded else None
        process = begun or subprocess.Popen(
            tool.command(task.command),
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.PIPE,
            env=environment,
            close_fds=False,
            start_new_session=True,
        )
        last = _heard(process.pid, begun.said if begun else process.stderr, asked, say)
        code = process.wait()
        answer.seek(0)
        try:
            document = json.loads(answer.read())
        except ValueError:  # it died
            document = {"message": last or f"its process has ended with {code} before it could tell anything"}
    found: Document = document.get("guests", [ended(task, code, document.get("message"))])[0]
    return {**found, "exit_code": code if code >= 0 else 128 - code}


def ended(task: Task, code: int, error: object) -> Document:
    """The document of one of which no step has ended."""
    return {"guest": task.guest, "exit_code": code, "steps": [], "error": error}


def _heard(group: int, said: IO[bytes] | None, asked: Callable[[], int], say: Callable[[str], None]) -> str:
    """Hand its lines on until it says no more, and the signals to its process group; its last line."""
    assert said
    last, rest, told = "", b"", 0
    with said as lines:
        while True:
            if (signum := asked()) != told:
                told = signum
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.Signals(signum))
            if not select.select([lines], [], [], LOOK)[0]:
                continue
            piece = os.read(lines.fileno(), PIECE)
            *whole, rest = (rest + (piece or b"\n")).split(b"\n")
            for line in whole if piece or whole != [b""] else ():
                last = line.decode(errors="replace").rstrip()
                say(last)
            if not piece:
                return last
