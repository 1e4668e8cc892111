"""One `hikkoshi fleet run`: what a reader is told meanwhile, what is kept of it, and who else gets to know."""

from collections.abc import Callable, Sequence
from typing import Any

from hikkoshi.errors import BadInput, Refused
from hikkoshi.fleet import notice, station, waves
from hikkoshi.fleet.fleet import Executor, Fleet, summary, worst
from hikkoshi.fleet.task import Document, Task
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.run import Mode

KEPT = ("step", "outcome", "seconds", "record", "error")  # of a step's outcome; all of it is in its record
WHY = {
    "signal": "it was stopped",
    "stopped": "hikkoshi fleet stop was typed",
    "failures": "more guests failed than may",
    "lost": "the cluster was lost",
}


class Night:
    """Takes guests through steps, and tells how that goes by `say`, a line at a time."""

    def __init__(self, home: Home, site: Site, say: Callable[[str], None]) -> None:
        self._home, self._site, self._say = home, site, say
        self._documents: dict[str, Document] = {}
        self._mode: Mode = "plan"

    def through(self, executor: Executor, guests: Sequence[Guest], steps: Sequence[str], mode: Mode, failures: float) -> int:
        """All of them, until more than `failures` have failed; the exit code that says the most."""
        self._mode, chains = mode, []
        for guest in guests:
            chain = waves.tasks(self._home, self._site, guest, steps, mode)
            if chain and (cut := waves.interrupted(self._home, guest.name)):
                self._say(f"{guest.name:<12}│ {cut}")
            chains.append(chain)
            self._documents[guest.name] = {"guest": guest.name, "exit_code": 0, "steps": []}
        if idle := chains.count([]):
            self._say(f"{idle} of {len(guests)} guests have these steps behind them")
        fleet = Fleet(
            self._home,
            executor,
            self._heard,
            limits=self._site.fleet.slots,
            failures=failures,
            stop=lambda: station.stopped(self._home),
            wait=lambda guest: self._say(f"{guest:<12}│ another run is at work on it: it comes when that has ended"),
        )
        late = fleet.run(chains)
        for document in self._documents.values():
            if document["exit_code"] >= 128 and not fleet.signum:  # nobody has stopped it: it was killed
                document["exit_code"] = 1
        for task in late:
            about = {"exit_code": 128 + fleet.signum if fleet.signum else 3, "error": f"not begun: {WHY[fleet.halt]}"}
            self._documents[task.guest] |= about
        return worst([d["exit_code"] for d in self._documents.values()])

    def end(self, code: int, on: str) -> None:
        """Tell how it ended; `on` is the command that goes on behind a hold point, where there is one."""
        through = sum(not d["exit_code"] for d in self._documents.values())
        self._say(f"{through} of {len(self._documents)} guests are through.")
        if on and not code:
            self._say(f"Hold point. Look at the guests; then go on: {on}")
        self._notify("hold" if on and not code else "end", exit_code=code, through=through, of=len(self._documents), next=on)

    def rows(self) -> list[dict[str, str]]:
        """The guests that are not through, for a reader."""
        return summary([d for d in self._documents.values() if d["exit_code"]])

    def plain(self) -> list[Document]:
        """Every guest, as JSON can hold it."""
        return list(self._documents.values())

    def _heard(self, task: Task, document: Document) -> None:
        """Keep what is told of a task, and no more: a site has thousands."""
        kept, code = self._documents[task.guest], document["exit_code"]
        kept["exit_code"] = code
        for step in document["steps"] or [_without_end(task, document)]:
            words = step["message"].partition("\n")[0]
            kept["steps"].append({**{name: step[name] for name in KEPT}, "message": words})
            self._say(
                f"{task.guest:<12}│ {step['step']} {step['outcome']} after {step['seconds']:.1f} s" + (words and f": {words}")
            )
        if code and self._mode == "apply":
            self._notify("failure", **kept)

    def _notify(self, event: notice.Event, **facts: Any) -> None:
        if doubt := notice.send(self._home, self._site.notify, event, **facts):
            self._say(doubt)


def _without_end(task: Task, document: Document) -> Document:
    """The step of a process that could tell of none: it was refused before it began one, or it died."""
    outcome = "not begun" if document["exit_code"] in (BadInput.exit_code, Refused.exit_code) else "interrupted"
    words = str(document.get("error") or "")
    return {"step": task.steps[0], "outcome": outcome, "seconds": 0.0, "record": "–", "error": "", "message": words}
