"""What a run shows and keeps: its actions, the checks of a cell, the files that it made."""

from dataclasses import dataclass
from typing import Any, Literal

from hikkoshi import files
from hikkoshi.check import Check, Unseen
from hikkoshi.errors import printable

WIDTH = 13  # of the column with the state, where rows are shown as text
State = Literal["would", "already", "done", "failed", "ok", "later", "red"] | Unseen


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

    def __str__(self) -> str:
        return "\n".join(
            shown(
                f"{state_of(c):<{WIDTH}}{c.title}{': ' + c.found if c.found else ''}"
                + (f"  (expected {c.expected})" if not c and c.expected else "")
            )
            for c in self.checks
        )


@dataclass(frozen=True)
class Evidence:
    """What a run leaves: its actions, and every file that it made with size and SHA-256."""

    rows: tuple[Row, ...]
    artefacts: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return "\n".join(
            [
                *map(str, self.rows),
                *(shown(f"{a['sha256'][:16]}…  {files.human(a['bytes']):>10}  {a['file']}") for a in self.artefacts),
            ]
        )


def shown(row: str) -> str:
    """A row as text: what it found may have many lines, and none of them is to look like another row."""
    return printable(row.replace("\n", "\n" + " " * WIDTH))


def state_of(check: Check) -> State:
    """The word that a check is shown with."""
    return check.unseen or "ok" if check else "later" if check.later else "red"
