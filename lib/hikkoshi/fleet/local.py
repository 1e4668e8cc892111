"""Tasks carried out on this machine: a process for each, so that one's failure or death is its own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from hikkoshi.fleet.loaded import Loaded
from hikkoshi.fleet.task import Document, Task, carry_out, silent
from hikkoshi.params.home import Home


class Local:
    """At most `jobs` at once; `say` gets every line, with the guest's name. `loaded` forks them."""

    def __init__(self, home: Home, jobs: int, say: Callable[[str], None] = silent, loaded: Loaded | None = None) -> None:
        self.jobs, self._home, self._say, self._loaded = jobs, str(home.root), say, loaded
        self._pool, self._asked, self._voice = ThreadPoolExecutor(jobs), 0, threading.Lock()

    def submit(self, task: Task) -> "Future[Document]":
        """Begin it."""

        def say(line: str) -> None:
            with self._voice:
                self._say(f"{task.guest:<12}│ {line}")

        return self._pool.submit(carry_out, self._home, task, lambda: self._asked, say, self._loaded)

    def end(self, signum: int) -> None:
        """Send a signal to the process groups of all."""
        self._asked = signum

    def lost(self) -> bool:
        """Whether nothing can be heard of them any more."""
        return False

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()
