"""The one shape of an observation: what was looked at, what was found, what was expected, what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hikkoshi.errors import Problem

Unseen = Literal["not seen", "not measured", "not needed", "not done"]
UNSEEN: tuple[Unseen, ...] = get_args(Unseen)


@dataclass(frozen=True)
class Check:
    """An observation of the world; true if it is as it should be.

    `later` marks one that only an earlier step's apply can make true: in plan mode it is shown, in apply it is a failure.
    `unseen` marks one that stops nothing, and of which nobody has seen that it is so: that word stands in place of `ok`,
    `already` and `done` wherever it is told, and nothing is done about it.
    """

    title: str
    ok: bool
    found: str = ""
    expected: str = ""
    remedy: str = ""
    where: str = ""
    later: bool = False
    unseen: Unseen | Literal[""] = ""

    def __bool__(self) -> bool:
        return self.ok

    def problem(self) -> Problem:
        """The same as a problem to report."""
        return Problem(f"not so: {self.title}", self.where, self.found, self.expected, self.remedy)


def unseen(line: Mapping[str, Any]) -> Unseen | Literal[""]:
    """What a row or a check in a journal was not: seen, measured or needed; empty where it was looked at.

    Journals of earlier versions have `ok` and `already` there, and only the words that were found say so.
    """
    state, found = line.get("state"), str(line.get("found", ""))
    for word in UNSEEN:
        if state == word or (state in ("ok", "already") and found.startswith((f"{word}:", f"{word} from here"))):
            return word
    return ""
