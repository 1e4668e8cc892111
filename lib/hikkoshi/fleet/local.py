"""Several guests at once on this machine: a process for each, so that one's failure or death is its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hikkoshi import tool
from hikkoshi.params.home import Home

SEVERITY = (0, 2, 3, 1)  # exit codes from good to bad: what was refused has changed nothing, what failed may have
PATIENCE = 30.0  # seconds that a guest's process has for ending its kernel and writing its record


class Fleet:
    """Runs `hikkoshi run GUEST …` for many guests, at most `jobs` at once; `say` gets every line, with the guest's name."""

    def __init__(self, home: Home, arguments: Sequence[str], jobs: int, say: Callable[[str], None]) -> None:
        self._home, self._arguments, self._jobs, self._say = home, arguments, jobs, say
        self._working: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped_by = 0
        self._voice = threading.Lock()

    def run(self, guests: Sequence[str]) -> list[dict[str, Any]]:
        """All guests to their ends; one document for each, in their order, as `hikkoshi run --json` prints it."""
        with self._signals(), ThreadPoolExecutor(self._jobs) as pool:
            return list(pool.map(self._one, guests))

    def _one(self, guest: str) -> dict[str, Any]:
        if self._stopped_by:
            return {"guest": guest, "exit_code": 128 + self._stopped_by, "steps": [], "error": "not started"}
        command = [sys.executable, "-m", "hikkoshi.cli.main", "run", guest, *self._arguments, "--json"]
        with tempfile.TemporaryFile() as answer:
            process = subprocess.Popen(
                tool.command(command),
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.PIPE,
                env={**os.environ, "HIKKOSHI_HOME": str(self._home.root)},
                close_fds=False,
                start_new_session=True,
            )
            self._working[guest] = process
            if self._stopped_by:  # the signal came while this was starting
                self._tell(process, signal.SIGTERM)
            assert process.stderr is not None
            last = ""
            with process.stderr as lines:
                for line in lines:
                    last = line.decode(errors="replace").rstrip()
                    with self._voice:
                        self._say(f"{guest:<12}│ {last}")
            code = process.wait()
            del self._working[guest]
            answer.seek(0)
            try:
                document = json.loads(answer.read())
            except ValueError:  # it died
                document = {"message": last}
        one: dict[str, Any] = document.get("guests", [{"guest": guest, "steps": [], "error": document.get("message")}])[0]
        if self._stopped_by and code:
            code = 128 + self._stopped_by
        return {**one, "exit_code": code if code >= 0 else 128 - code}

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end all guests' process groups: by SIGTERM, and by SIGKILL when asked again or not heard."""
        deadline = threading.Timer(PATIENCE, lambda: self._tell_all(signal.SIGKILL))
        deadline.daemon = True

        def ask(signum: int, frame: object) -> None:
            again, self._stopped_by = bool(self._stopped_by), signum
            self._tell_all(signal.SIGKILL if again else signal.SIGTERM)
            if not again:
                deadline.start()

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            deadline.cancel()
            for s, handler in before.items():
                signal.signal(s, handler)

    def _tell_all(self, signum: int) -> None:
        for process in list(self._working.values()):
            self._tell(process, signum)

    def _tell(self, process: subprocess.Popen[bytes], signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)


def worst(codes: Sequence[int]) -> int:
    """The exit code that says the most: stopped by a signal, failed, refused, bad input, done."""
    return max(codes, key=lambda c: (c >= 128, SEVERITY.index(c) if c in SEVERITY else len(SEVERITY)), default=0)


def summary(documents: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """One row per guest: how far it came, how that ended, and where that is written."""
    rows = []
    for document in documents:
        last = document["steps"][-1] if document["steps"] else {}
        words = last.get("message") or document.get("error") or ""
        rows.append(
            {
                "guest": document["guest"],
                "last step": last.get("step", "–"),
                "outcome": last.get("outcome", "not begun"),
                "exit": str(document["exit_code"]),
                "time": f"{sum(s['seconds'] for s in document['steps']):.0f} s",
                "why": words.splitlines()[0] if words else "",
                "record": last.get("record", "–"),
            }
        )
    return rows
