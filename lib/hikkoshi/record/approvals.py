"""Whether what a run did was approved, judged from its record alone, as the run's own gate had to judge it then.

What the site asked for at that time (its name and server, two persons, days) is in the record's own params/site.yml; plan,
disk and machine are the record's, too. Keys are judged by whom the verifier trusts.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from hikkoshi import files
from hikkoshi.approval import limits, signature, statement
from hikkoshi.approval.signature import SignatureVerdict, Trust
from hikkoshi.approval.statement import Statement
from hikkoshi.errors import Problem
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import HANDED_OVER, Signing
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.step import APPROVED, CONVERT, DEPLOY

REMEDY = "the runbook's own refusal was passed over: ask who did this, and how"
REFUSED = ("Refused", "Busy", "BadInput")  # errors that end an action before it is begun
EVER, NEVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
GOES_ON = ("start", "preflight", "verify", "evidence")  # what a run writes between its actions
SECOND = timedelta(seconds=1)  # times in approvals are whole ones
RESULTS = {  # {what is approved: the result that has it, its field, the step that makes it}
    "vmdk": (GuestFolder.conversion, "vmdk_sha256", CONVERT.id),
    "machine": (GuestFolder.deployment, "instance_uuid", DEPLOY.id),
}
OF_CONTRACTOR = {**RESULTS, "machine": (GuestFolder.handover, "descriptor_sha256", DEPLOY.id)}  # whose machine has no such UUID
MOST_DAYS = 90  # that a site may let an approval count
Known = dict[tuple[str, str], SignatureVerdict]  # {(SHA-256 of an approval, of its signature): what that is worth}


@dataclass(frozen=True)
class Action:
    """Something that a run did: the number of its line in the journal, what it was, when it began."""

    line: int
    title: str
    began: datetime


@dataclass(frozen=True)
class Case:
    """A record, and what has to be known of it to judge its approvals."""

    record: Path
    info: Mapping[str, str]
    listed: Mapping[str, str]  # {name: SHA-256} of its manifests
    entries: Sequence[JournalEntry]  # of its journal
    trust: Trust
    format: int

    @property
    def own(self) -> list[JournalEntry]:
        """The journal's lines of this run."""
        return [e for e in self.entries if e.run == self.record.name]

    @property
    def opened(self) -> Mapping[str, str]:
        """{name: SHA-256} of what the run was made from."""
        return next((e.inputs for e in self.own if e.event == "open"), {})


def check(case: Case, known: Known, notes: list[str]) -> Iterator[Problem]:
    """All that is wrong with the approvals in a record, and with what was done without one that counted.

    `known` keeps what an approval is worth from one record to the next: all of a guest's records hold the same ones.
    """
    good: list[tuple[str, Statement, SignatureVerdict]] = []
    for name, digest in case.listed.items():
        if name.startswith("data/approvals/") and name.endswith(".txt"):
            path, key = case.record / name, (digest, case.listed.get(f"{name}.sig", ""))
            said = statement.parse(files.read(path, limits.STATEMENT))
            if key not in known:
                known[key] = _worth(path, said, case.trust)
            if isinstance(said, str) or known[key].flaw:
                remedy = "whoever sealed this record sealed a contradiction: ask how it came to be"
                yield Problem(
                    code="approval-void",
                    what="an approval counts for nothing",
                    where=str(path),
                    found=known[key].flaw,
                    expected="a good signature",
                    remedy=remedy,
                )
            else:
                good.append((name, said, known[key]))
    if any(e.step in APPROVED for e in case.own) or case.info.get("Step") in APPROVED:
        yield from _unapproved(case, good, notes)


def _worth(path: Path, said: Statement | str, trust: Trust) -> SignatureVerdict:
    """Who signed it, as of when it was given; or why it counts for nothing."""
    if isinstance(said, str):
        return SignatureVerdict(flaw=said)
    verdict = signature.verify(path, trust, "approval", said.approved)
    if verdict and verdict.signer != said.approver:
        return SignatureVerdict(flaw=f"{said.approver} approves, and {verdict.signer} signed it")
    return verdict


def _unapproved(case: Case, good: list[tuple[str, Statement, SignatureVerdict]], notes: list[str]) -> Iterator[Problem]:
    """What the run did although no approval counted for it then, or without asking for one."""
    permitted = [e for e in case.own if e.event == "permitted"]
    actions = list(_actions(case, bool(permitted), notes))
    if not actions:
        return
    journal = case.record / "data" / GuestFolder.journal
    if case.format > 1 and not permitted:
        first = actions[0]
        found, expected = first.title, "a line `permitted` of this run before it"
        yield Problem(
            code="done-without-permission",
            what="done without asking for permission",
            where=f"{journal}:{first.line}",
            found=found,
            expected=expected,
            remedy=REMEDY,
        )
    since = _since(permitted, actions)
    asked = _Asked.of(case)
    for e in permitted:
        if "plan" in e and e.plan != asked.plan:
            where, found = f"{journal}:{e.n}", e.plan
            yield Problem(
                code="permitted-for-another-plan",
                what="the gate let another plan pass than the run was made from",
                where=where,
                found=found,
                expected=asked.plan,
                remedy=REMEDY,
            )
    if case.format > 1 and (lacks := [name for name, _, _ in _results(case).values() if f"data/{name}" not in case.listed]):
        notes.append(f"disk and machine are known by the run's own word alone: {', '.join(lacks)} is not in the record")
    notes += asked.notes
    reasons: dict[str, str] = {}
    old = False
    for action in actions:
        # one that expired while the run acted on the service still counts: the source may have been off by then
        worth = {}
        for name, said, verdict in good:
            worth[name] = asked.flaw(case, said, name, verdict, action.began)
            if worth[name] and since and action.began > since:
                worth[name] = asked.flaw(case, said, name, verdict, since)
        if "" not in worth.values():
            reasons = {name.rpartition("/")[2]: why for name, why in worth.items()}
            told = "; ".join([action.title, *(f"{name}: {why}" for name, why in reasons.items())])
            expected = f"an approval of plan {asked.plan} that counted then"
            yield Problem(
                code="done-without-approval",
                what="done without an approval",
                where=f"{journal}:{action.line}",
                found=told,
                expected=expected,
                remedy=REMEDY,
            )
        old = old or all(not said.vmdk for name, said, _ in good if not worth[name])
    sealed = case.info.get("Sealed-By")
    for by in sorted(
        {said.approver for _, said, _ in good if asked.two_persons and said.approver == sealed} - {asked.operator[0]}
    ):
        notes.append(f"sealed by {by}, who approves: that {asked.operator[0]} carried it out is the word of {by} alone")
    if old and not reasons:
        notes.append("approved by an earlier version: it is not proved which disk and machine that was of")


def _since(permitted: list[JournalEntry], actions: list[Action]) -> datetime | None:
    """When the run first acted on the service; earlier versions took any action for one, and did not write down which."""
    if all(e.service is None for e in permitted):
        return actions[0].began
    return next((_time(e.time) for e in permitted if e.service), None)


def _actions(case: Case, permitted: bool, notes: list[str]) -> Iterator[Action]:
    """What the run began to do, and was not kept from.

    A run that was killed leaves a last action without its end: it began where the gate had let it pass before. Where the
    gate wrote nothing, it may have been killed before it was asked, or whoever changed the code did not ask: `notes` says so.
    """
    begun: JournalEntry | None = None
    passed = asked = False
    for e in case.own:
        if e.event == "permitted":
            passed, asked = passed or e.service is not False, asked or begun is not None
        if begun and (e.event in GOES_ON or ended_well(e) or (e.event == "step" and e.title != begun.title)):
            yield _hanging(begun)  # no run goes on before it has told how an action ended
            begun = None
        if e.event == "start":
            begun, asked = e, False
        elif e.event == "step" and (begun or e.state == "done"):
            refused = e.state == "failed" and e.kind in REFUSED
            if not (refused and not (permitted and passed)):
                began = _time(begun.time) if begun else None
                yield Action(e.n, e.title, began or _ended(e, case.format))
            begun = None
    if begun and (passed or asked):
        yield _hanging(begun)
    elif begun:
        notes.append(f"killed in the middle of {begun.title}: whether it was approved is not told")


def ended_well(e: JournalEntry) -> bool:
    """Whether a line of the journal tells that its run ended well."""
    return (e.event, e.outcome) in (("end", "completed"), ("outcome", "succeeded"))


def _hanging(start: JournalEntry) -> Action:
    return Action(start.n, start.title, _time(start.time) or NEVER)


def _ended(e: JournalEntry, format: int) -> datetime:
    """When an action of an earlier version began: its line tells the end, and how long it took. Since then each has a start."""
    took = e.seconds if format == 1 else None
    seconds = timedelta(seconds=took if took is not None and 0 <= took < 1e9 else 0)
    return (_time(e.time) or NEVER) - seconds


def _time(text: str) -> datetime | None:
    """A time of the journal in UTC; none where it is no time of this age, by which nothing can be judged."""
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return found if EVER < found < NEVER else None


@dataclass(frozen=True)
class _Asked:
    """What was asked of an approval when the run acted."""

    plan: str
    site: tuple[str, str] | None  # name and server; None where it is not known
    two_persons: bool
    valid_days: int
    operator: tuple[str, str]  # who carried it out, and the key
    subject: Mapping[str, str]  # {"vmdk" or "machine": what the record's own results say}
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, case: Case) -> "_Asked":
        name, notes = "data/params/site.yml", list[str]()
        then = case.opened.get("params/site.yml", case.listed.get(name))
        site = yaml(case.record / name) if name in case.listed else None
        if site is None or then != case.listed.get(name):
            why = "cannot be read" if site is None else "was changed before it was sealed"
            notes.append(f"not judged: what the site asked of approvals when this was done; its site.yml {why}")
            site, known = {}, False
        else:
            known = True
        signing, vsphere = (_part(site, name) for name in ("signing", "vsphere"))
        days, two = signing.get("valid_days"), signing.get("two_persons")
        planned = _planned(case)
        two = True if planned.get("two_persons") is True else two  # as the page said
        server = HANDED_OVER if vsphere.get("handover") is True else str(vsphere.get("server"))
        here = (statement.line(str(site.get("name"))), statement.line(server))
        return cls(
            plan=case.opened.get(GuestFolder.plan) or case.info.get("Plan-SHA256", "none"),
            site=here if known else None,
            two_persons=two if isinstance(two, bool) else known and Signing().two_persons,
            valid_days=days if isinstance(days, int) and 0 < days <= MOST_DAYS else Signing().valid_days if known else MOST_DAYS,
            operator=_operator(case),
            subject=_subject(case, notes),
            notes=tuple(notes),
        )

    def flaw(self, case: Case, said: Statement, name: str, verdict: SignatureVerdict, at: datetime) -> str:  # noqa: PLR0911
        """Why an approval, well signed, did not count for this run at a time; empty where it did."""
        if said.guest != case.info.get("Guest"):
            return f"of another guest, {said.guest}"
        if self.site is not None and (said.site, said.server) != self.site:
            return f"of another site, {said.site} with {said.server}, not {' with '.join(self.site)}"
        if said.plan != self.plan:
            return f"of another plan, {said.plan[:16]}…"
        if not said.vmdk and case.format > 1:
            return "of an earlier version: it does not bind disk and machine"
        for what, is_now in self.subject.items() if said.vmdk else ():
            if (approved := getattr(said, what)) != is_now:
                return f"of another {'disk' if what == 'vmdk' else what}, {approved[:16]}…, not {is_now[:16]}…"
        if said.approved > at + SECOND:
            return f"given later, on {said.approved:%Y-%m-%d at %H:%M:%S} UTC"
        until = said.approved + min(said.expires - said.approved, timedelta(days=self.valid_days))
        if until <= at:
            return f"expired on {until:%Y-%m-%d at %H:%M} UTC"
        then = signature.verify(case.record / name, case.trust, "approval", at)
        if not then:
            return f"when it was acted by: {then.flaw}"
        if self.two_persons and (self.operator[0] == said.approver or self.operator[1] == verdict.key):
            return f"by {said.approver}, who carried it out too: two persons were asked for"
        if self.two_persons and not self.operator[0]:
            return f"by {said.approver}, but who carried it out is not known"
        return ""


def _operator(case: Case) -> tuple[str, str]:
    """Who carried it out: by the trial of the key before it began, else whoever sealed the record."""
    for e in case.own:
        for tried in e.checks:
            if (tried.of, tried.code, tried.state) == ("preflight", "operator-signs", "ok"):
                return str(tried.facts.get("name", "")), str(tried.facts.get("key", ""))
    by = case.info.get("Sealed-By", "")
    return ("", "") if by.startswith("nobody") else (by, case.info.get("Sealed-By-Key", ""))


def _subject(case: Case, notes: list[str]) -> dict[str, str]:
    """The disk and the machine that the run acted upon: by the gate's own line, and by the record's results."""
    gate = next((e for e in case.own if e.event == "permitted"), None)
    found = {what: str(getattr(gate, what)) for what in RESULTS} if gate else {}
    for what, (name, field, step) in _results(case).items():
        if f"data/{name}" in case.listed:
            sealed = _value(case.record / "data" / name, field)
            if found.get(what, sealed) != sealed and _again(case, step):
                notes.append(f"sealed late: {name} is of another {what} than this run's, {step} was run in between")
            else:
                found[what] = sealed
    return found


def _results(case: Case) -> Mapping[str, tuple[str, str, str]]:
    return OF_CONTRACTOR if _part(_planned(case), "vsphere").get("handover") is True else RESULTS


def _again(case: Case, step: str) -> bool:
    """Whether a step was run after this run had begun, and before that was sealed."""
    began = next((n for n, e in enumerate(case.entries) if e.run == case.record.name), len(case.entries))
    return any((e.event, e.step) == ("open", step) for e in case.entries[began:])


def _planned(case: Case) -> Mapping[str, Any]:
    """The terms of the plan that the run was made from, where that is in the record and has some."""
    name = f"data/{GuestFolder.plan}"
    if name not in case.listed or case.listed[name] != case.opened.get(GuestFolder.plan):
        return {}
    try:
        tree = json.loads(files.read(case.record / name, limits.RESULT))
    except (ValueError, RecursionError):
        return {}
    return _part(tree, "terms") if isinstance(tree, dict) else {}


def _value(path: Path, field: str) -> str:
    try:
        return str(json.loads(files.read(path, limits.RESULT))[field])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "unreadable"


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def yaml(path: Path) -> Mapping[str, Any] | None:
    """A parameter file of a record; none where it is such that no run can have been made from it."""
    try:
        return _tree(files.read(path, limits.PARAMETERS).decode())
    except (OSError, ValueError, YAMLError, RecursionError):
        return None


@functools.lru_cache(maxsize=16)  # most records of a site hold the same, and each is asked twice
def _tree(text: str) -> Mapping[str, Any] | None:
    if any(line.count("[") + line.count("{") > limits.BRACKETS for line in text.splitlines()):
        return None
    if any(isinstance(e, AliasEvent) for e in YAML(typ="safe").parse(text)):
        return None  # a few lines of them can stand for more than any memory holds
    found = YAML(typ="safe").load(text)
    return found if isinstance(found, dict) else None
