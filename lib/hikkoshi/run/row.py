"""What a run shows and keeps: its actions, the checks of a cell, the files that it made."""

from dataclasses import dataclass
from typing import Any, Literal

from hikkoshi import files
from hikkoshi.check import Check, Unseen
from hikkoshi.errors import printable
from hikkoshi.run.group import ALWAYS, FOLDED, groups

WIDTH = 13  # of the column with the state, where rows are shown as text
State = Literal["would", "already", "done", "failed", "ok", "later", "red"] | Unseen
URGENCY: tuple[State, ...] = (  # in which order rows are shown: what is wrong first, then what is open
    "red",
    "failed",
    "not done",
    "lowered",
    "later",
    "not seen",
    "not measured",
    "would",
    "done",
    "already",
    "not needed",
    "ok",
)
AGREED: tuple[State, ...] = ("done", "already", "not needed")  # of an action with which all is well


@dataclass(frozen=True)
class Row:
    """What `ensure` shows and the journal keeps: one action with what was found before and after."""

    title: str
    state: State
    seconds: float
    found: str = ""
    code: str = ""  # of the check that tells whether it is so
    kind: str = ""  # the class of the error, where it failed
    codes: tuple[str, ...] = ()  # of the problems, where it failed

    def __str__(self) -> str:
        return shown(f"{self.state:<{WIDTH}}{self.title:<44}{self.seconds:>7.1f} s  {self.found}".rstrip())


@dataclass(frozen=True)
class Checklist:
    """All checks of one cell, good and bad."""

    title: str
    checks: tuple[Check, ...]

    @property
    def listed(self) -> tuple[Check, ...]:
        """What a reader has to see, the worst first; of a short list all of it."""
        worst_first = sorted(self.checks, key=lambda c: URGENCY.index(state_of(c)))
        return tuple(c for c in worst_first if not self._folds or state_of(c) != "ok" or c.code in ALWAYS)

    @property
    def folded(self) -> dict[str, list[Check]]:
        """{words, for their `{count}`: the good checks that they stand for}, of a long list."""
        return groups([c for c in self.checks if state_of(c) == "ok" and c.code not in ALWAYS]) if self._folds else {}

    @property
    def _folds(self) -> bool:
        return sum(state_of(c) == "ok" for c in self.checks) > FOLDED

    def __str__(self) -> str:
        seen = (
            f"{state_of(c):<{WIDTH}}{c.title}{': ' + c.found if c.found else ''}"
            + (f"  (expected {c.expected})" if not c and c.expected else "")
            for c in self.listed
        )
        folded = (f"{'ok':<{WIDTH}}{words.format(count=len(alike))}" for words, alike in self.folded.items())
        return "\n".join(map(shown, [*seen, *folded]))


@dataclass(frozen=True)
class Evidence:
    """What a run leaves: its actions, and every file that it made with size and SHA-256."""

    rows: tuple[Row, ...]
    artefacts: tuple[dict[str, Any], ...]

    @property
    def listed(self) -> tuple[Row, ...]:
        """The actions that a reader has to see, the worst first; of a short list all of them."""
        worst_first = sorted(self.rows, key=lambda r: URGENCY.index(r.state))
        return tuple(r for r in worst_first if not (self._folds and r.state in AGREED))

    @property
    def folded(self) -> dict[State, list[Row]]:
        """The actions of a long list with which all is well."""
        told = {state: [r for r in self.rows if r.state == state] for state in AGREED if self._folds}
        return {state: alike for state, alike in told.items() if alike}

    @property
    def _folds(self) -> bool:
        return sum(r.state in AGREED for r in self.rows) > FOLDED

    def __str__(self) -> str:
        return "\n".join(
            [
                *map(str, self.listed),
                *(f"{state:<{WIDTH}}{len(alike)} actions" for state, alike in self.folded.items()),
                *(shown(f"{a['sha256'][:16]}…  {files.human(a['bytes']):>10}  {a['file']}") for a in self.artefacts),
            ]
        )


def shown(row: str) -> str:
    """A row as text: what it found may have many lines, and none of them is to look like another row."""
    return printable(row.replace("\n", "\n" + " " * WIDTH))


def state_of(check: Check) -> State:
    """The word that a check is shown with."""
    return check.unseen or "ok" if check else "later" if check.later else "red"
