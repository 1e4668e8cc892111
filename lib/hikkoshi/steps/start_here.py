"""00: where every guest stands, and what to do next. It needs no guest and opens no run."""

from collections.abc import Mapping
from typing import Any, Self

from hikkoshi.check import Check
from hikkoshi.errors import StepFailed
from hikkoshi.params.home import Home
from hikkoshi.run import choice, status
from hikkoshi.run.row import Checklist


class StartHere:
    """00 · Start here, for the home that is given to it."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @classmethod
    def open(cls, names: Mapping[str, Any]) -> Self:
        """Find the home by a notebook's variables, `vars()`; `BadInput` where there is none."""
        return cls(Home.find(str(names.get("home", ""))))

    def folder(self) -> str:
        """The folder that is looked at."""
        return str(self._home.root)

    def checks(self) -> list[Check]:
        """Every parameter file can be used."""
        return status.checks(self._home)

    def guests(self) -> list[dict[str, str]]:
        """Where every guest stands, and the command that comes next."""
        return status.table(self._home)

    def names(self) -> list[str]:
        """The guests that have a parameter file."""
        return self._home.guest_names()

    def guest(self, name: str) -> list[dict[str, str]]:
        """Where one guest stands, with the record of its last run."""
        return status.details(self._home, name)

    def picked(self) -> str:
        """The guest that this user picked last; empty where there is none."""
        return choice.of(self._home)

    def pick(self, name: str) -> None:
        """Pick a guest: a runbook that is opened after that, in JupyterLab as `hikkoshi jupyter` serves it, names it."""
        choice.remember(self._home, name)

    def proofs(self) -> list[Check]:
        """Every guest with a parameter file is in the table, and every file can be used."""
        shown, known = [row["guest"] for row in self.guests()], self.names()
        missing = [name for name in known if name not in shown]
        every = Check(
            code="guests-shown",
            title="every guest is in the table",
            ok=sorted(shown) == known,
            found=f"missing: {', '.join(missing)}" if missing else ", ".join(shown) or "no guest",
            expected=", ".join(known),
            remedy="open this notebook again",
        )
        return [every, *self.checks()]

    def verify(self) -> Checklist:
        """The proofs, to be shown; `StepFailed` where one of them is not so."""
        found = tuple(self.proofs())
        if bad := [c for c in found if not c]:
            raise StepFailed(*(c.problem() for c in bad))
        return Checklist("verify", found)

    def evidence(self) -> list[dict[str, str]]:
        """What is kept of each guest: its report, and the records of its runs."""
        return status.papers(self._home)
