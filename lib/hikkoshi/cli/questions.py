"""What a command needs to know: taken from options, asked for on a terminal, else all that is missing told at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hikkoshi.cli import terminal
from hikkoshi.errors import BadInput, Problem, nearest

_T = TypeVar("_T")


@dataclass
class Questions:
    """`asks`: whether somebody sits at a terminal. What is wrong or missing is gathered until `settled`."""

    asks: bool
    problems: list[Problem] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)  # what was typed and taken, as options

    def one(
        self,
        option: str,
        given: str,
        read: Callable[[str], _T],
        question: str,
        expected: str,
        *,
        default: str = "",
        found: str = "",
    ) -> _T | None:
        """One answer, as `read` takes it; None where there is none. `read` raises `ValueError` or `BadInput` for a wrong one.

        `default` is what the Enter key alone means; where nobody can be asked it does not count.
        """
        if given:
            try:
                return read(given)
            except (ValueError, BadInput) as e:
                self._wrong(option, given, expected, e)
                return None
        if not self.asks:
            self.problems.append(
                Problem(
                    code="not-given",
                    what="something is not given, and nobody can be asked",
                    where=option,
                    found=found,
                    expected=expected,
                    remedy=f"give {option}, or run this in a terminal, where it is asked for",
                )
            )
            return None
        while True:
            typed = terminal.ask(f"{question}{f' [{default}]' if default else ''}: ") or default
            try:
                if typed:
                    answer = read(typed)
                    self.typed += [option, typed] if answer and typed != default else []  # a no is no option
                    return answer
            except BadInput as e:
                terminal.say(e)
            except ValueError as e:
                terminal.say(f"  {e}")

    def among(self, option: str, given: str, names: Sequence[str], what: str) -> str:
        """One of the names: the only one there is, or a person's choice; empty where it is not known, or there is none."""
        if not given and len(names) == 1:
            return names[0]
        known = ", ".join(names) or "none"
        if not names:
            self.problems.append(
                Problem(
                    code="nothing-to-choose",
                    what="vSphere shows this user none of what is needed",
                    where=option,
                    found=f"no {what}",
                    expected=f"a {what}",
                    remedy="make one in vSphere, or give the user rights to see it",
                )
            )
            return ""

        def read(typed: str) -> str:
            if typed not in names:
                raise ValueError(f"{typed!r} is none of them: {known}. {nearest(typed, names)}".rstrip(". "))
            return typed

        return self.one(option, given, read, f"The {what} ({known})", f"one of: {known}") or ""

    def settled(self) -> None:
        """`BadInput` with all that is wrong or missing."""
        if self.problems:
            raise BadInput(*self.problems)

    def _wrong(self, option: str, given: str, expected: str, e: ValueError | BadInput) -> None:
        if isinstance(e, BadInput):
            self.problems += (replace(p, where=p.where or option) for p in e.problems)
            return
        self.problems.append(
            Problem(
                code="option-unusable",
                what="an option cannot be used",
                where=option,
                found=f"{given!r}: {e}",
                expected=expected,
                remedy="correct it",
            )
        )
