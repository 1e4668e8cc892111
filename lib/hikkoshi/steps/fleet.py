"""95: what the guests of a site did in the last hours. It needs no guest and opens no run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Self

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem
from hikkoshi.figures.exhibits import Exhibit
from hikkoshi.figures.gantt import Stretch, gantt, gantt_words, spoken
from hikkoshi.fleet import rates, waves
from hikkoshi.params.home import Home
from hikkoshi.run import status
from hikkoshi.run.journal import Journal
from hikkoshi.run.status import LastRun
from hikkoshi.run.step import STEPS
from hikkoshi.steps.start_here import StartHere

BAD = ("failed", "interrupted")  # states of a run


class FleetOverview(StartHere):
    """95 · Fleet, for the home and the hours that are given to it."""

    def __init__(self, home: Home, hours: float) -> None:
        super().__init__(home)
        self._now = datetime.now(UTC)
        self._since = self._now - timedelta(hours=hours)
        self._runs = {guest: self._told(guest) for guest in self.names()}

    @classmethod
    def open(cls, names: Mapping[str, Any]) -> Self:
        """Find the home by a notebook's variables, `vars()`; `BadInput` where there is none, or `hours` is no time."""
        hours = names.get("hours")
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= 24 * 365:
            what, expected = "this is no time to look back", "hours, more than 0 and at most a year's"
            remedy = "correct `hours` in the parameters' cell"
            raise BadInput(Problem(code="hours-unusable", what=what, found=repr(hours), expected=expected, remedy=remedy))
        return cls(Home.find(str(names.get("home", ""))), hours)

    def guests(self) -> list[dict[str, str]]:
        """Where every guest stands, by waves, in each those first that need somebody; before all, who is in none."""
        wave = {guest.name: str(number) for number, found in waves.usable(self._home)[0].items() for guest in found}
        rows = [{"wave": wave.get(row["guest"], "–"), **row} for row in super().guests()]
        urgent = {row["guest"]: not row["state"].startswith(BAD) for row in rows}
        return sorted(rows, key=lambda row: (int(wave.get(row["guest"], 0)), urgent[row["guest"]]))

    def failures(self) -> list[dict[str, str]]:
        """The guests whose last run but reports did not end well, however long ago, and what is known of why; see `standing`."""
        at_work = [guest for guest, past in self._runs.items() if past and past[-1].state == "running"]
        stand = {guest: status.standing(self._home.folder(guest)) for guest in self.names() if guest not in at_work}
        acted = {guest: [run for run in past if not status.only_told(run)] for guest, past in stand.items()}
        last = {guest: past[-1] for guest, past in acted.items() if past and past[-1].state in BAD}
        return [
            {
                "guest": guest,
                "step": run.step,
                "when": f"{run.when:%Y-%m-%d %H:%M}",
                "why": run.headline or run.state,
                "record": str(path.relative_to(self._home.root))
                if (path := self._home.folder(guest).runs / f"{run.id}.ipynb").is_file()
                else "none",
            }
            for guest, run in last.items()
        ]

    def drawn(self) -> tuple[Exhibit, ...]:
        """Every run that ended since then, or is at work, in time."""
        recent = self._recent()
        if not recent:
            return (Exhibit(f"nothing was run since {self._since:%Y-%m-%d %H:%M} UTC"),)
        first = min(run.begun for _, run in recent)
        found = [
            Stretch(guest, run.step, (run.begun - first).total_seconds(), (run.when - first).total_seconds(), run.state in BAD)
            for guest, run in recent
        ]
        at_work = ", ".join(guest for guest, run in recent if run.state == "running")
        words = gantt_words(found) + (f" At work now: {at_work}." if at_work else "")
        since = f"{first:%Y-%m-%d %H:%M} UTC"
        return (Exhibit(f"The first began at {since}. {words}", figure=gantt(found, since)),)

    def pace(self) -> list[dict[str, str]]:
        """Of each step: how many runs since then were to do it, how long they took, and how much data that is a second."""
        known = rates.sizes(self._home, self.names())
        acting = [(guest, run) for guest, run in self._recent() if run.real and run.state != "running"]
        rows = []
        for step in STEPS:
            runs = [(guest, run, (run.when - run.begun).total_seconds()) for guest, run in acting if run.step == step]
            good = [(known.get(guest, 0), seconds) for guest, run, seconds in runs if run.state == "done" and seconds > 0]
            if runs:
                rate = sum(size for size, _ in good) / sum(seconds for _, seconds in good) if good else 0.0
                rows.append(
                    {
                        "step": step,
                        "runs": str(len(runs)),
                        "not well": str(sum(run.state in BAD for _, run, _ in runs)),
                        "half of them within": spoken(median(seconds for _, _, seconds in runs)),
                        "data": f"{files.human(rate)}/s" if rate else "–",
                    }
                )
        return rows

    def _told(self, guest: str) -> list[LastRun]:
        """The runs of a guest. One that is at work has told no end either, and was not interrupted: it lasts until now."""
        folder = self._home.folder(guest)
        busy = status.at_work(folder) is not None  # asked first: a run that ends meanwhile has told so
        past = status.runs(Journal(folder.journal).entries())
        if busy and past and past[-1].state == "interrupted":
            past[-1] = replace(past[-1], state="running", when=self._now)
        return past

    def _recent(self) -> list[tuple[str, LastRun]]:
        found = [(guest, run) for guest, past in self._runs.items() for run in past]
        return [(guest, run) for guest, run in found if run.when >= self._since and run.step in STEPS]
