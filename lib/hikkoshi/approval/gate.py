"""The gate before what users notice: whether the plan is approved, and whoever carries it out can sign for it.

Everything that acts on a service asks for a `Permission`, and only `Gate.permit` makes one. Whoever can edit code can do
anything: then the journal has no line `permitted`, and the record shows that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hikkoshi.approval import approval, signatory, signature
from hikkoshi.approval.approval import Approval
from hikkoshi.approval.plan import Plan, changed
from hikkoshi.check import Check, Permission
from hikkoshi.errors import HikkoshiError, Refused
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site


@dataclass
class Gate:
    """The gate of one run: of the guest and site as they were read when it was opened, and of the plan of then."""

    home: Home
    site: Site
    guest: Guest
    step: str
    run: str
    planned: str | None  # SHA-256 of plan.json when the run was opened
    note: Callable[..., None]  # writes a line into the journal: event, then its fields by name
    acting: datetime | None = None  # since when it acts on the service by an approval
    counted: Approval | None = None  # the one that it acts by

    def approved(self) -> Check:
        """Whether somebody's approval counts of this plan, disk and machine: now, or since this run first acted by it.

        One that expires when the source is off already must not keep the machine in vSphere from being switched on.
        """
        return self._looked()[0]

    def checks(self) -> tuple[Check, ...]:
        """The same, and whether whoever carries it out can sign for it: a name on a list is nobody yet.

        The key is not asked for again once it acts: the source may be off by then.
        """
        return (self.approved(), *self._signs())

    def permit(self, *, service: bool = True) -> Permission:
        """Look now, write down that it was looked, and let one action pass. `Refused` with all that is not so.

        One that is none on the service, a measurement, leaves nothing half done: what comes after it is looked at anew.
        """
        check, found = self._looked()
        plan = Plan.find(self.home.folder(self.guest.name))
        bad = [c for c in (check, *self._signs()) if not c]
        if bad or found is None or found.statement is None or plan is None:
            raise Refused(*(c.problem() for c in bad))
        said, now, first = found.statement, datetime.now(UTC), self.counted is None
        self.counted = found
        if self.acting is None and (service or first):
            self.acting = now if service else None
            self.note(
                "permitted",
                approval=found.path.name,
                approver=said.approver,
                plan=said.plan,
                vmdk=said.vmdk,
                machine=said.machine,
                service=service,
            )
        return Permission(
            run=self.run,
            step=self.step,
            guest=said.guest,
            plan=said.plan,
            vmdk=said.vmdk,
            machine=said.machine,
            shell=plan.terms.measurement.shell if plan.terms.measurement else "",
            approver=said.approver,
            given=now.isoformat(timespec="seconds"),
        )

    def files(self) -> list[Path]:
        """The approval that it acts by, else the one that counts now, with its signature; none that is superseded."""
        found = self.counted or self._looked()[1]
        return [found.path, signature.path_of(found.path)] if found else []

    def _as_planned(self, plan: Plan) -> str:
        """What to do where the files, too, hold other parameters than the plan's; nothing where only this run does."""
        try:
            others = any(changed(self.home, *self.home.parameters(self.guest.name), plan))
        except HikkoshiError:
            others = True
        return f"{approval.put_back(self.guest.name)}; then have that plan approved" if others else ""

    def _signs(self) -> tuple[Check, ...]:
        return () if self.acting else (signatory.find(self.home).check(),)

    def _looked(self) -> tuple[Check, Approval | None]:
        plan = Plan.find(self.home.folder(self.guest.name))
        again = "run this notebook again from its first cell: "
        title = "the plan is approved"
        if plan is not None and plan.hash != self.planned:
            expected = f"{self.planned}, as when this run was opened"
            found = f"another plan is there now, {plan.hash}"
            return Check(
                code="plan-approved",
                title=title,
                ok=False,
                found=found,
                expected=expected,
                remedy=again + "what it holds is the plan before",
            ), None
        if plan and not self.acting and (others := list(changed(self.home, self.guest, self.site, plan))):
            expected = "the parameters that were planned, when this run was opened"
            return Check(
                code="plan-approved",
                title=title,
                ok=False,
                found="; ".join(others),
                expected=expected,
                remedy=self._as_planned(plan) or again + "it acts by what it read there",
            ), None
        now = approval.look(self.home, self.guest.name, plan)
        return now if now[0] or not self.acting else approval.look(self.home, self.guest.name, plan, self.acting)
