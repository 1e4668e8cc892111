"""Approvals: somebody's signed word that one plan may be carried out, without which nothing is done that users notice.

An approval is two files in the guest's folder, kept for ever: STAMP-PRINCIPAL.txt, a header and the very page that was
shown, and the signature of it, `ssh-keygen -Y sign -n approval`. It counts for one plan, one disk and one machine, by the
SHA-256 of plan.json and of the VMDK and the machine's instance UUID, for as many days as the site allows, and while its key
is good. It is withdrawn by revoking the key, and superseded by another plan, disk or machine.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval import approver, limits, signature
from hikkoshi.approval.plan import Plan, changed
from hikkoshi.approval.signature import Trust
from hikkoshi.approval.statement import TIME, Statement, line, parse
from hikkoshi.approval.subject import Subject
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.step import DEPLOY, PLAN, PREPARE
from hikkoshi.secret import temporary


@dataclass(frozen=True)
class Approval:
    """One approval as it is worth now; `flaw` says why it counts for nothing."""

    path: Path
    statement: Statement | None = None
    until: datetime | None = None
    key: str = ""  # SHA256:… of the key that signed it
    flaw: str = ""
    code: str = ""  # of the flaw

    def __str__(self) -> str:
        if self.flaw or self.statement is None or self.until is None:
            return f"{line(self.path.name)}: {self.flaw}"
        return f"approved by {self.statement.approver} until {self.until:%Y-%m-%d %H:%M} UTC"

    @classmethod
    def void(cls, path: Path, problem: Problem, said: Statement | None = None) -> "Approval":
        """One that counts for nothing, and why."""
        return cls(path, said, flaw=problem.what, code=problem.code)

    @property
    def superseded(self) -> bool:
        """Whether it is well signed, and of another plan, disk or machine than the one that is there now."""
        return self.code == "approval-superseded"

    def plain(self) -> dict[str, str]:
        """The same as JSON can hold it; empty where it is not known."""
        said = self.statement
        return {
            "file": str(self.path),
            "signature": str(signature.path_of(self.path)),
            "guest": said.guest if said else "",
            "plan": said.plan if said else "",
            "vmdk": said.vmdk if said else "",
            "machine": said.machine if said else "",
            "approver": said.approver if said else "",
            "key": self.key,
            "approved": said.approved.strftime(TIME) if said else "",
            "expires": self.until.strftime(TIME) if self.until else "",
            "flaw": self.flaw,
            "code": self.code,
        }


def folder(home: Home, guest: str) -> Path:
    """Where a guest's approvals are kept."""
    return home.folder(guest).approvals


def command(guest: str) -> str:
    """What a second person types to approve a guest's plan; the operator's own key would be refused."""
    return f"hikkoshi approve {guest} --key THEIR_KEY"


def check(home: Home, guest: str, plan: Plan | None, now: datetime | None = None) -> Check:
    """Whether somebody's approval of this very plan, disk and machine counts now. Every approval is looked at, and told of."""
    return look(home, guest, plan, now)[0]


def look(home: Home, guest: str, plan: Plan | None, now: datetime | None = None) -> tuple[Check, Approval | None]:
    """The same with the approval that counts. Given a time, it is asked for that one: parameters changed since are no matter."""
    title, expected, remedy = "the plan is approved", "an approval of this plan", f"a second person: {command(guest)}"
    where = str(folder(home, guest))

    def none(found: str, remedy: str) -> tuple[Check, None]:
        return Check(
            code="plan-approved", title=title, ok=False, found=found, expected=expected, remedy=remedy, where=where, later=True
        ), None

    if plan is None:
        return none("there is no plan to approve", f"run {PLAN}, then {remedy}")
    try:
        if now is None and (others := list(changed(home, *home.parameters(guest), plan))):
            return none("; ".join(others), f"{put_back(guest)}; then {remedy}")
        subject, found = Subject.now(home, guest, plan), list(judged(home, guest, plan, now))
    except HikkoshiError as e:
        return none("; ".join(f"{p.what}: {p.where}" for p in e.problems), e.problems[0].remedy)
    good = sorted((a for a in found if not a.flaw), key=lambda a: (a.until, a.path), reverse=True)
    told = "; ".join(map(str, [*good[:1], *(a for a in found if a.flaw)])) or "nobody has approved it"
    if not subject.complete:
        return none(f"nothing of this plan stands in vSphere that could be approved; {told}", f"{_deploy(guest)}, then {remedy}")
    return Check(
        code="plan-approved", title=title, ok=bool(good), found=told, expected=expected, remedy=remedy, where=where, later=True
    ), next(iter(good), None)


def judged(home: Home, guest: str, plan: Plan, now: datetime | None = None) -> Iterator[Approval]:
    """Every approval of a guest, and whether it counts for this plan at a time, which is now if not given.

    `BadInput` where that cannot be judged at all: for the site's lists, or a plan.json that is not this plan.
    """
    site, now = home.site(guest), (now or datetime.now(UTC)).astimezone(UTC)
    lists = approver.trust(home, site)
    lists.check()
    written = home.folder(guest).plan
    if not written.is_file() or files.sha256(written) != plan.hash:
        words = f"its SHA-256 is that of no plan as {PLAN} writes it" if written.is_file() else "no such file"
        raise BadInput(
            Problem(
                code="not-the-plan",
                what="plan.json is not the plan",
                where=str(written),
                found=words,
                expected=plan.hash,
                remedy=f"run {PLAN} again",
            )
        )
    yield from held_against(home, guest, Subject.now(home, guest, plan), now)


def held_against(home: Home, guest: str, subject: Subject, now: datetime) -> Iterator[Approval]:
    """The same for what was, or is, to be approved, whichever is in the guest's folder by now."""
    site = home.site(guest)
    lists = approver.trust(home, site)
    lists.check()
    case = _Case(site, guest, subject, lists, home.path(site.signing.key), now.astimezone(UTC))
    for path in sorted(folder(home, guest).glob("*.txt")):
        yield case.judge(path)


def earlier(home: Home, guest: str, plan: Plan) -> Iterator[Statement]:
    """What was approved of this guest before, and counted when it was given, but is superseded by now; the oldest first."""
    return counted(home, guest, (a for a in judged(home, guest, plan) if a.superseded))


def counted(home: Home, guest: str, approvals: Iterable[Approval]) -> Iterator[Statement]:
    """What those of these said that counted when they were given, whatever became of them since.

    `BadInput` where that cannot be judged at all, for the site's lists.
    """
    for one in approvals:
        if said := one.statement:
            then = held_against(home, guest, Subject(said.plan, said.vmdk, said.machine), said.approved)
            if any(a.path == one.path and not a.flaw for a in then):
                yield said


def to_approve(home: Home, guest: str, plan: Plan) -> Subject:
    """What an approval would be of now; `Refused` where nothing stands in vSphere of this plan, or it is not the parameters'."""
    others, subject = list(changed(home, *home.parameters(guest), plan)), Subject.now(home, guest, plan)
    if others:
        raise Refused(
            Problem(
                code="parameters-not-as-planned",
                what="the parameters are not those of the plan any more",
                where=str(home.folder(guest).plan),
                found="; ".join(others),
                expected="what was planned",
                remedy=f"{put_back(guest)}; then {command(guest)}",
            )
        )
    if not subject.complete:
        raise Refused(
            Problem(
                code="nothing-to-approve",
                what="there is nothing to approve yet",
                where=str(home.folder(guest)),
                found="no machine of this plan and disk stands in vSphere",
                expected=f"the result of {DEPLOY}: an approval is of one disk and one machine",
                remedy=f"{_deploy(guest)}, then {command(guest)}",
            )
        )
    return subject


def give(
    home: Home,
    guest: str,
    plan: Plan,
    page: str,
    by: approver.Approver,
    *,
    of: Subject | None = None,
    ask: bool = False,
    now: datetime | None = None,
) -> Approval:
    """Sign the page for this plan, and keep both. Nothing is kept of a signature that is not good: `Refused`.

    `Refused` also before 60-deploy was done of this plan: there is no disk and no machine that could be approved.
    `of`: what stood there when the page was made; `Refused` where it is another disk or machine by now.
    `ask`: a passphrase or a touch may be asked for on the terminal.
    """
    site, lists = home.site(guest), approver.trust(home, home.site())
    subject = to_approve(home, guest, plan)
    if of not in (None, subject):
        found, expected = (f"disk {s.vmdk}, machine {s.machine}" for s in (subject, of) if s)
        what = "the page was of another disk or machine than stands there now"
        raise Refused(
            Problem(
                code="page-of-another-machine",
                what=what,
                where=guest,
                found=found,
                expected=expected,
                remedy=f"read what is there now: {command(guest)}",
            )
        )
    approved = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    until = approved + timedelta(days=site.signing.valid_days)
    said = Statement(
        guest=guest,
        site=line(site.name),
        server=line(str(site.vsphere)),
        plan=plan.hash,
        decisions=plan.decisions,
        vmdk=subject.vmdk or "",
        machine=subject.machine or "",
        approver=by.principal,
        approved=approved,
        expires=until,
        page=page,
    )
    content = said.text().encode()
    if isinstance(flaw := parse(content), str):
        raise BadInput(
            Problem(
                code="approval-unwritable",
                what="no approval can be written",
                where=guest,
                found=flaw,
                expected="one that can be read again",
                remedy="correct it",
            )
        )
    path = folder(home, guest) / f"{approved:%Y%m%dT%H%M%SZ}-{re.sub(r'[^A-Za-z0-9@._+-]', '_', by.principal)}.txt"
    if path.exists():
        raise Refused(
            Problem(
                code="approved-already", what="approved this very second already", where=str(path), remedy="nothing is left to do"
            )
        )
    with temporary.folder("approve") as private:
        draft = private / "draft"
        draft.write_bytes(content)
        signed = signature.sign(draft, by.key, "approval", ask=ask).read_bytes()
        verdict = signature.verify(draft, lists, "approval", approved)
        if not verdict or verdict.signer != by.principal:
            found = verdict.flaw or f"it signs as {verdict.signer}"
            raise approver.may_not(guest, by.key, by.fingerprint, lists, found)
    files.write(signature.path_of(path), signed)  # first: a text under its name is always signed
    files.write(path, content)
    return Approval(path, said, until, verdict.key)


@dataclass(frozen=True)
class _Case:
    """What approvals are held against."""

    site: Site
    guest: str
    subject: Subject
    trust: Trust
    operator: Path
    now: datetime

    def judge(self, path: Path) -> Approval:
        signed = signature.path_of(path)
        if any(p.is_symlink() or (p.exists() and not p.is_file()) for p in (path, signed)):
            return Approval.void(path, Problem(code="approval-not-a-file", what="not a file of its own, but a link or the like"))
        try:
            content = files.read(path, limits.STATEMENT)  # once: what is judged is what was signed
            said = parse(content)
            verdict = signature.verify(path, self.trust, "approval", self.now, content)
        except OSError as e:
            return Approval.void(path, Problem(code="approval-unreadable", what=f"it cannot be read: {e.strerror}"))
        if isinstance(said, str):
            return Approval.void(path, Problem(code="approval-malformed", what=f"no approval: {said}"))
        then = signature.verify(path, self.trust, "approval", said.approved, content)
        until = said.approved + min(said.expires - said.approved, timedelta(days=self.site.signing.valid_days))
        flaw = self._flaw(said, verdict, then, until)
        return Approval(path, said, until, verdict.key, flaw.what if flaw else "", flaw.code if flaw else "")

    def _superseded(self, said: Statement) -> str:
        return self.subject.replaced(said.plan, said.vmdk, said.machine)

    def _flaw(
        self, said: Statement, verdict: signature.SignatureVerdict, then: signature.SignatureVerdict, until: datetime
    ) -> Problem | None:
        """What is wrong with a statement that can be read; None where it counts."""
        server, site = line(str(self.site.vsphere)), line(self.site.name)
        superseded = self._superseded(said)
        reasons = (
            (not verdict, Problem(code="approval-signature-void", what=verdict.flaw)),
            (
                verdict.signer != said.approver,
                Problem(
                    code="approval-signer-differs", what=f"says that {said.approver} approves, but {line(verdict.signer)} signed"
                ),
            ),
            (said.guest != self.guest, Problem(code="approval-of-another-guest", what=f"of another guest, {said.guest}")),
            (
                (said.site, said.server) != (site, server),
                Problem(
                    code="approval-of-another-site",
                    what=f"of another site, {said.site} with {said.server}, not {site} with {server}",
                ),
            ),
            (bool(superseded), Problem(code="approval-superseded", what=superseded)),
            (
                not said.vmdk and self.subject.vmdk is not None,
                Problem(
                    code="approval-of-earlier-version",
                    what="of an earlier version: it does not bind disk and machine; approve again",
                ),
            ),
            (
                said.approved > self.now,
                Problem(
                    code="approval-from-future",
                    what=f"from the future: {said.approved:%Y-%m-%d %H:%M:%S} UTC; look at the clocks",
                ),
            ),
            (until <= self.now, Problem(code="approval-expired", what=f"expired on {until:%Y-%m-%d at %H:%M} UTC")),
            (not then, Problem(code="approval-signed-too-early", what=f"when it was given: {then.flaw}")),
        )
        if flaw := next((problem for bad, problem in reasons if bad), None):
            return flaw
        alone = approver.one_person(self.operator, self.site, self.trust, said.approver, verdict.key)
        return Problem(code="approval-by-one-person", what=alone) if alone else None


def put_back(guest: str) -> str:
    """What to do where the parameters are not those of the plan any more."""
    return f"put the parameters back, or plan anew: hikkoshi run {guest} --from {PLAN.number} --apply"


def _deploy(guest: str) -> str:
    return f"run {PREPARE} to {DEPLOY} of this plan: hikkoshi run {guest} --from {PREPARE.number} --apply"
