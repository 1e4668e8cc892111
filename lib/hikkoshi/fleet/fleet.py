"""Many guests, each through its tasks one after the other: what is begun when, and when nothing is begun any more.

Where the tasks are carried out is an executor's affair. Nothing is kept of a task but what it was told to `hear`.
"""

import contextlib
import queue
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from hikkoshi.fleet.task import Document, Task, ended
from hikkoshi.params.home import Home
from hikkoshi.run import lock

SEVERITY = (0, 2, 3, 1)  # exit codes from good to bad: what was refused has changed nothing, what failed may have
PATIENCE = 30.0  # seconds that a guest's process has for ending its kernel and writing its record
LOOK = 0.5  # seconds between two looks at what may have changed by itself
LOST = "what carries it out cannot be heard any more: a machine of the cluster was lost, or its scheduler"
Halt = Literal["", "signal", "stopped", "failures", "lost"]


class Executor(Protocol):
    """Carries tasks out. What `submit` gives calls back when a task has ended, and then has its document, or raises."""

    @property
    def jobs(self) -> int:
        """How many it carries out at once."""

    def submit(self, task: Task) -> Any:
        """Begin it."""

    def end(self, signum: int) -> None:
        """Send a signal to the process groups of all."""

    def lost(self) -> bool:
        """Whether nothing can be heard of them any more."""

    def close(self) -> None:
        """Let go of what it has."""


class Fleet:
    """Takes guests through their tasks. `hear` gets each task with its document, `wait` the name of a guest that is in use.

    `limits` says how many tasks may have a slot of a kind at once: of `dom0:a` and of `dom0:b` as many as it has for `dom0`.
    When more than `failures` guests have failed, or `stop` says so, nothing more is begun, and what runs goes to its end.
    """

    def __init__(
        self,
        home: Home,
        executor: Executor,
        hear: Callable[[Task, Document], None],
        *,
        limits: Mapping[str, int] | None = None,
        failures: float = float("inf"),
        stop: Callable[[], bool] = lock.never,
        wait: Callable[[str], None] = lambda guest: None,
    ) -> None:
        self._home, self._executor, self._hear, self._limits = home, executor, hear, limits or {}
        self._failures, self._stop, self._wait = failures, stop, wait
        self._running: dict[Any, tuple[Task, list[Task]]] = {}  # {future: (its task, those of the guest after it)}
        self._taken: Counter[str] = Counter()  # {slot: tasks that have one}
        self._ended: queue.Queue[Any] = queue.Queue()  # a SimpleQueue may wait for ever where a short wait ends while it begins
        self._failed, self._told = 0, set[str]()
        self.halt: Halt = ""  # nothing more is begun
        self.signum = 0

    def run(self, chains: Sequence[Sequence[Task]]) -> list[Task]:
        """The tasks of each guest to their ends, guests in this order; those that were not begun, `halt` tells why."""
        waiting = [list(chain) for chain in chains if chain]
        try:
            with self._signals():
                while True:
                    self._look()
                    if not self.halt:
                        waiting = [chain for chain in waiting if not self._begun(chain)]
                    if not self._running and (self.halt or not waiting):
                        return [chain[0] for chain in waiting]
                    with contextlib.suppress(queue.Empty):
                        waiting = self._took(self._ended.get(timeout=LOOK), waiting)
        finally:
            self._executor.close()

    def _look(self) -> None:
        """Whether anything more is to be begun."""
        if self.signum:
            self.halt = "signal"
        elif self._executor.lost():
            self.halt = "lost"
            for future in self._running:
                self._ended.put(future)
        elif self._failed > self._failures:
            self.halt = self.halt or "failures"
        elif self._stop():
            self.halt = self.halt or "stopped"

    def _begun(self, chain: list[Task]) -> bool:
        """Begin a guest's next task, if there is room for it and nobody is at work on the guest."""
        task = chain[0]
        if len(self._running) >= self._executor.jobs:
            return False
        if any(self._taken[slot] >= self._limits.get(slot.partition(":")[0], 1) for slot in task.slots):
            return False
        if lock.held(self._home.folder(task.guest).runner_lock):  # it ends by itself; an open notebook does not
            if task.guest not in self._told:
                self._told.add(task.guest)
                self._wait(task.guest)
            return False
        self._taken.update(task.slots)
        future = self._executor.submit(task)
        self._running[future] = task, chain[1:]
        future.add_done_callback(self._ended.put)
        return True

    def _took(self, future: Any, waiting: list[list[Task]]) -> list[list[Task]]:
        """Hear how a task ended; who waits now, its guest first."""
        if future not in self._running:
            return waiting  # it was given up already
        task, more = self._running.pop(future)
        self._taken.subtract(task.slots)
        try:
            document: Document = ended(task, 1, LOST) if self.halt == "lost" else future.result()
        except BaseException as e:  # of an executor: what goes wrong in a task is in its document
            document = ended(task, 1, f"{LOST} ({type(e).__name__})")
        if self.signum and document["exit_code"]:
            document["exit_code"] = 128 + self.signum
        self._hear(task, document)
        if document["exit_code"]:
            self._failed += 1
            return waiting
        return [more, *waiting] if more else waiting

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end all guests' process groups: by SIGTERM, and by SIGKILL when asked again or not heard."""
        deadline = threading.Timer(PATIENCE, lambda: self._executor.end(signal.SIGKILL))
        deadline.daemon = True

        def ask(signum: int, frame: object) -> None:
            again, self.signum = bool(self.signum), signum
            self._executor.end(signal.SIGKILL if again else signal.SIGTERM)
            if not again:
                deadline.start()

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            deadline.cancel()
            for s, handler in before.items():
                signal.signal(s, handler)


def worst(codes: Sequence[int]) -> int:
    """The exit code that says the most: stopped by a signal, failed, refused, bad input, done."""
    return max(codes, key=lambda c: (c >= 128, SEVERITY.index(c) if c in SEVERITY else len(SEVERITY)), default=0)


def summary(documents: Sequence[Document]) -> list[dict[str, str]]:
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
