"""The one shape of an observation: what was looked at, what was found, what was expected, what to do.

And what the run's gate gives to whatever acts on a service, once it has looked: `Permission`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from hikkoshi.errors import Problem, Refused

Unseen = Literal["not seen", "not measured", "not needed", "not done", "lowered"]
UNSEEN: tuple[Unseen, ...] = get_args(Unseen)


@dataclass(frozen=True, kw_only=True)
class Check:
    """An observation of the world; true if it is as it should be.

    `code` says what was looked at: whatever decides, decides by that (docs/codes.md lists them). Words are for readers.
    `later` marks one that only an apply can make true, an earlier step's or this one's: in plan mode it is shown, and stops
    nothing; in apply it is a failure like any other.
    `unseen` marks one that stops nothing, and of which nobody has seen that it is so: that word stands in place of `ok`,
    `already` and `done` wherever it is told, and nothing is done about it.
    """

    code: str
    title: str
    ok: bool
    found: str = ""
    expected: str = ""
    remedy: str = ""
    where: str = ""
    later: bool = False
    unseen: Unseen | Literal[""] = ""
    facts: Mapping[str, str] = field(default_factory=dict)  # what was found, where something is decided by it

    def __bool__(self) -> bool:
        return self.ok

    def waiting(self, yet: bool = True) -> "Check":
        """The same, as one that only an apply can make true; `yet` is whether that is still to come."""
        return replace(self, later=self.later or yet)

    def problem(self) -> Problem:
        """The same as a problem to report."""
        return Problem(
            code=self.code,
            what=f"a check failed: {self.title}",
            where=self.where,
            found=self.found,
            expected=self.expected,
            remedy=self.remedy,
        )


@dataclass(frozen=True)
class Permission:
    """Made by `Run.permit`, and by nothing else: it has seen an approval that counts at that moment.

    Whoever can edit code can make one by hand; then the journal has no line of it, and the record shows that.
    """

    run: str
    step: str
    guest: str
    plan: str  # SHA-256 of plan.json
    vmdk: str  # SHA-256 of the disk
    machine: str  # instance UUID in vSphere
    shell: str  # address of the guest's shell as it was planned; empty where it has none
    approver: str
    given: str  # when the gate looked, UTC

    def covers(self, step: str, **found: str) -> None:
        """`Refused` unless it is for this step, and every field named here is as it was approved."""
        acted = {"step": step, **found}
        approved = {name: getattr(self, name) for name in acted}
        problems = [
            Problem(
                code="not-what-was-approved",
                what=f"what was approved is another {name}",
                where=f"run {self.run}",
                found=now or "none",
                expected=approved[name] or "none",
                remedy="find out which is right; then have the plan that is to be carried out approved, and begin anew",
            )
            for name, now in acted.items()
            if now != approved[name]
        ]
        if problems:
            raise Refused(*problems)
