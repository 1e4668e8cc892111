"""Commands that begin with everything loaded: forked from a process which has done nothing but load it.

Each is a process of its own, a child of ours, in which nothing of another one is. Loading costs more than a step of a plan.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from unittest import mock

import nbformat

from hikkoshi.artefact import Artefact
from hikkoshi.record import provenance
from hikkoshi.record.engine import environment, forked
from hikkoshi.record.engine.forked import Forked, ForkServer
from hikkoshi.run.step import STEPS

CODE = Path(__file__).parents[1]  # what is loaded
COMMAND = [sys.executable, "-m", "hikkoshi.cli.main"]  # how what can be begun so begins
PDEATHSIG = 1  # PR_SET_PDEATHSIG: what it gets when its parent ends
MANY = 5  # guests, for which it pays to load also what only some of them need
INLINE = "module://matplotlib_inline.backend_inline"  # how matplotlib shows what a notebook draws


class Begun(Forked):
    """One of them; `said` is what it says on stderr, for whoever began it to close."""

    def __init__(self, pid: int, said: IO[bytes]) -> None:
        super().__init__(pid)
        self.said = said


class Loaded:
    """Begins commands; none where `server` is none, as where this process has threads, or once the `code` is another."""

    def __init__(self, server: ForkServer | None, code: Mapping[str, tuple[int, ...]]) -> None:
        self._server, self._code = server, code

    def begin(self, argv: Sequence[str], environment: Mapping[str, str], answer: IO[bytes]) -> Begun | None:
        """One that writes to `answer`, and ends when we do; None where it has to be started as any other program."""
        if self._server is None or list(argv[: len(COMMAND)]) != COMMAND:
            return None
        if _code() != self._code:  # an update: what is loaded may not go with its runbooks, nor with what is still to load
            return None
        hear, say = os.pipe()
        pid = self._server.fork(argv[len(COMMAND) :], environment, str(Path.cwd()), answer.fileno(), say)
        os.close(say)
        stderr = os.fdopen(hear, "rb")
        if pid is None:
            stderr.close()
            return None
        return Begun(pid, stderr)


@contextlib.contextmanager
def commands(main: Callable[[], None], steps: Sequence[str] = ()) -> Iterator[Loaded]:
    """What begins them, as long as this lasts; `main` is what `python -m hikkoshi.cli.main` does. `steps` are loaded, too."""

    def begin(arguments: list[str], runner: int) -> None:
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it is killed when the runner ends
        if os.getppid() == runner:
            sys.argv = ["hikkoshi", *arguments]
            main()

    code = _code()
    if steps:
        _load(steps)
    environment.versions()  # what they tell of the program is what was loaded, whatever somebody puts in its place meanwhile
    with forked.server(begin) as found:
        yield Loaded(found, code)


def _code() -> dict[str, tuple[int, ...]]:
    """{file: what changes when it is replaced} of all that may be loaded."""
    found: dict[str, tuple[int, ...]] = {}
    for place, folders, names in os.walk(CODE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (os.path.join(place, name) for name in names):  # noqa: PTH118 - this is asked before each step
            with contextlib.suppress(OSError):  # it is just being replaced
                told = os.lstat(path)
                found[path] = told.st_ino, told.st_size, told.st_mtime_ns
    return found


def _load(steps: Sequence[str]) -> None:
    """Load what these steps load."""
    own = {"MPLBACKEND": os.environ.get("MPLBACKEND", INLINE), "OPENBLAS_NUM_THREADS": "1"}  # as a kernel has it; no threads
    with mock.patch.dict(os.environ, own):
        importlib.import_module("matplotlib.backends.backend_agg")
    for step in steps:
        importlib.import_module(f"hikkoshi.steps.{STEPS[step].word}")
    importlib.import_module("hikkoshi.figures.exhibits")
    for result in Artefact.__subclasses__():
        result.model_rebuild()
    nbformat.validate(nbformat.v4.new_notebook())
    provenance.software()
