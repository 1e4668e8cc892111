"""What is shown to whatever acts on a service: that the run's gate has looked, and let it pass."""

from dataclasses import dataclass

from hikkoshi.errors import Problem, Refused


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
                f"what was approved is another {name}",
                f"run {self.run}",
                now or "none",
                approved[name] or "none",
                "find out which is right; then have the plan that is to be carried out approved, and begin anew",
            )
            for name, now in acted.items()
            if now != approved[name]
        ]
        if problems:
            raise Refused(*problems)
