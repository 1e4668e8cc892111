"""The one shape of an observation: what was looked at, what was found, what was expected, what to do."""

from dataclasses import dataclass

from hikkoshi.errors import Problem


@dataclass(frozen=True)
class Check:
    """An observation of the world; true if it is as it should be.

    `later` marks one that only an earlier step's apply can make true: in plan mode it is shown, in apply it is a failure.
    """

    title: str
    ok: bool
    found: str = ""
    expected: str = ""
    remedy: str = ""
    where: str = ""
    later: bool = False

    def __bool__(self) -> bool:
        return self.ok

    def problem(self) -> Problem:
        """The same as a problem to report."""
        return Problem(f"not so: {self.title}", self.where, self.found, self.expected, self.remedy)
