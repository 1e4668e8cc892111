"""What can go wrong, told so that a tired person knows what to do next.

Every failure carries one or more `Problem`s of four parts: what happened, on which guest or file, what was found and
what was expected, and what to do. Commands end with the exit code of the error's class.
"""

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


def printable(text: str, keep: str = "\n\t") -> str:
    """The text as it may be shown: what a terminal would obey, and what turns letters around, is written out as `\\x1b`.

    Names and words may come from anybody: a Dom-0's files, a guest's disk, a server, ssh. Everything that is shown passes
    here, in the few places that show it. `keep`: control characters that are ours, the ends of lines.
    """
    rest = text
    for ours in keep:
        rest = rest.replace(ours, "")
    if rest.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    `code` says which, whatever its words are (docs/codes.md lists them); that of a check that failed is the check's own.
    `what` is a sentence without a full stop, `where` names the guest, file (with its line) or server, `found` and
    `expected` are values as a person would write them, `remedy` says what to do. All but `what` and `remedy` may be
    empty where they would only repeat it.
    """

    code: str
    what: str
    where: str = ""
    found: str = ""
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        lines = [self.what.replace("\n", "\n    ")]
        for label, text in (
            ("where", self.where),
            ("found", self.found),
            ("expected", self.expected),
            ("what to do", self.remedy),
        ):
            if text:
                lines.append(f"  {label + ':':<12}{text.strip()}".replace("\n", "\n" + " " * 14))
        return printable("\n".join(lines))


class HikkoshiError(Exception):
    """Base of all expected failures; `exit_code` is what a command ends with."""

    exit_code = 1

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return f"{len(self.problems)} problems\n" + "\n".join(
            f"{n}. " + str(p).replace("\n", "\n   ") for n, p in enumerate(self.problems, 1)
        )

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: a reader of a runbook needs the four parts, not forty lines of our call stack
        codes = list(dict.fromkeys(p.code for p in self.problems))
        label = "code:" if len(codes) == 1 else "codes:"
        return [f"{type(self).__name__}: {self}", *([f"  {label:<12}{', '.join(codes)}"] if codes else [])]


class BadInput(HikkoshiError):
    """A parameter, file or image is not what it has to be. Nothing was changed."""

    exit_code = 2


class Refused(HikkoshiError):
    """The step will not start: a preflight check is red, an earlier step is missing, an approval is absent."""

    exit_code = 3


class Busy(Refused):
    """Another run is at work on this guest."""


class StepFailed(HikkoshiError):
    """A step was carried out, or tried, and the world is not as it should be afterwards."""


class ToolFailed(StepFailed):
    """A program that we started failed, could not be started, or took too long."""


class VSphereError(StepFailed):
    """vSphere refused, failed, answered something not understood, or could not be reached."""


class Interrupted(StepFailed):
    """The run was asked to stop by Ctrl-C or SIGTERM."""


def nearest(wrong: str, right: Sequence[str]) -> str:
    """'did you mean gateway?' where one of `right` is close to `wrong`, else an empty string."""
    return f"did you mean {close}?" if (close := closest(wrong, right)) else ""


def closest(wrong: str, right: Sequence[str]) -> str:
    """That of `right` which is close to `wrong`, else an empty string."""
    return next(iter(difflib.get_close_matches(wrong, right, n=1)), "")
