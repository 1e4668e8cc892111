"""What a cut-over did is judged from its record as the run's own gate had to judge it then."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hikkoshi import files
from hikkoshi.approval import approval
from hikkoshi.approval.approver import trust
from hikkoshi.params.home import Home
from hikkoshi.record import bag, seal, verification
from hikkoshi.run.journal import Journal
from hikkoshi_lab import keys
from sealed import DISK, MACHINE, PLAN, approve, ended, list_again, sealed_home, sign_again, writable

pytestmark = pytest.mark.needs("ssh-keygen")
RUN, NOW = "20260104T000000Z-70-cutover", datetime.now(UTC).replace(microsecond=0)
OPERATOR = {"title": "whoever carries this out can sign for it", "state": "ok", "found": "operator@lab, SHA256:x"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return sealed_home(tmp_path / "home")


@dataclass
class Move:
    """What a cut-over leaves, to be changed before it is sealed."""

    home: Home
    step: str = "70-cutover"
    plan: str = PLAN
    permitted: bool = True
    state: str = "done"
    found: str = ""

    @property
    def journal(self) -> Journal:
        return Journal(self.home.folder("gateway") / "journal.jsonl")

    def note(self, event: str, **fields: Any) -> None:
        self.journal.append(event, run=self.run, step=self.step, **fields)

    def noted(self, ago: int, event: str, **fields: Any) -> None:
        """The same, as if it had been so many seconds ago."""
        time = (NOW - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
        self.note(event, time=time, **fields)

    @property
    def run(self) -> str:
        return RUN.replace("70-cutover", self.step)

    def seal(self) -> Path:
        self.note("open", mode="apply", guest="gateway", inputs={**self.home.inputs("gateway"), "plan.json": self.plan})
        self.note("preflight", state="ok", checks=[OPERATOR])
        self.note("start", title="source off")
        if self.permitted:
            self.note("permitted", approver=keys.APPROVER, plan=self.plan, vmdk=DISK, machine=MACHINE)
        self.note("step", title="source off", state=self.state, seconds=1.0, found=self.found)
        self.note("outcome", mode="apply", outcome="succeeded", error="")
        return seal.of_run(self.home, "gateway", self.run)

    def told(self) -> list[str]:
        """The problems of the record, each with what was found."""
        found = verification.verify(self.home.outputs / "records", trust(self.home, self.home.site()))
        self.notes = [n for r in found.records for n in r.notes]
        return [f"{p.what}: {p.found}" for p in found.problems]

    def again(self, home: Home, key: str = "approver", **said: object) -> None:
        """Another approval in the place of the good one."""
        approve(home, "gateway", key=key, **said)

    def site(self, key: str, value: object) -> None:
        """Another value of `signing` in the site's parameters."""
        path = self.home.root / "params" / "site.yml"
        path.write_text(re.sub(r"^signing:", f"signing:\n  {key}: {value} #", path.read_text(), count=1, flags=re.M))

    def keys(self, old: str, new: str) -> None:
        path = keys.folder(self.home) / "allowed_signers"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


def result(move: Move, name: str, **fields: str) -> None:
    files.write(move.home.folder("gateway") / name, json.dumps(fields))


@pytest.fixture
def move(home: Home) -> Move:
    return Move(home)


@pytest.mark.parametrize("step", ["70-cutover", "85-offloads"])
def test_a_cut_over_by_an_approval_that_counted_is_good(move: Move, step: str) -> None:
    move.step = step
    move.seal()
    assert move.told() == []
    assert not [n for n in move.notes if "not judged" in n]


WRONG: dict[str, tuple[Callable[[Move], object], str]] = {
    "of another plan": (lambda m: setattr(m, "plan", "f" * 64), "of another plan"),
    "of another guest": (lambda m: m.again(m.home, guest="idp"), "of another guest, idp"),
    "of another site": (lambda m: m.again(m.home, site="Elsewhere"), "of another site, Elsewhere"),
    "of another server": (lambda m: m.again(m.home, server="10.0.0.1"), "of another site"),
    "of another disk": (lambda m: m.again(m.home, vmdk="f" * 64), "of another disk"),
    "of another machine": (lambda m: m.again(m.home, machine="another"), "of another machine"),
    "of another disk than the record's": (lambda m: result(m, "conversion.json", vmdk_sha256="f" * 64), "of another disk"),
    "of another machine than the record's": (
        lambda m: result(m, "deployment.json", instance_uuid="another"),
        "of another machine",
    ),
    "expired": (lambda m: m.again(m.home, approved=NOW - timedelta(days=3), expires=NOW - timedelta(days=1)), "expired on"),
    "older than the site allows": (
        lambda m: m.again(m.home, approved=NOW - timedelta(days=8), expires=NOW + timedelta(days=8)),
        "expired on",
    ),
    "given afterwards": (
        lambda m: m.again(m.home, approved=NOW + timedelta(hours=1), expires=NOW + timedelta(days=1)),
        "given later",
    ),
    "by who carried it out": (
        lambda m: (
            m.keys('operator@lab namespaces="evidence"', 'operator@lab namespaces="evidence,approval"'),
            m.again(m.home, "operator", approver="operator@lab"),
        ),
        "who carried it out too",
    ),
    "with a key that had run out": (
        lambda m: (
            m.again(m.home, approved=NOW - timedelta(days=2), expires=NOW + timedelta(days=2)),
            m.keys('"approval"', f'"approval",valid-before="{NOW - timedelta(days=1):%Y%m%d}Z"'),
        ),
        "when it was acted by",
    ),
    "of an earlier version": (lambda m: m.again(m.home, vmdk="", machine="", decisions=""), "of an earlier version"),
    "none": (lambda m: [p.unlink() for p in approval.folder(m.home, "gateway").iterdir()], "source off"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_approval_that_did_not_count_for_the_run_is_found(move: Move, name: str) -> None:
    spoil, why = WRONG[name]
    spoil(move)
    move.seal()
    (told,) = move.told()
    assert told.startswith("done without an approval: source off")
    assert why in told


def test_what_the_site_asked_for_then_is_what_counts(move: Move) -> None:
    move.keys('operator@lab namespaces="evidence"', 'operator@lab namespaces="evidence,approval"')
    move.again(move.home, "operator", approver="operator@lab", approved=NOW - timedelta(days=8), expires=NOW + timedelta(days=9))
    move.site("two_persons", "false\n  valid_days: 10")
    move.seal()
    assert move.told() == []


def test_two_persons_are_asked_for_as_it_was_planned_whatever_the_site_says_later(move: Move) -> None:
    files.write(move.home.folder("gateway") / "plan.json", json.dumps({"terms": {"two_persons": True}}))
    move.plan = files.sha256(move.home.folder("gateway") / "plan.json")
    move.keys('operator@lab namespaces="evidence"', 'operator@lab namespaces="evidence,approval"')
    move.again(move.home, "operator", approver="operator@lab", plan=move.plan)
    move.site("two_persons", "false")
    move.seal()
    (told,) = move.told()
    assert "who carried it out too" in told


def test_what_acts_without_asking_for_permission_is_found(move: Move) -> None:
    move.permitted = False
    move.seal()
    assert move.told() == ["done without asking for permission: source off"]


def test_an_action_that_failed_on_the_way_has_to_be_approved_too_but_none_that_was_refused(move: Move) -> None:
    move.plan, move.state, move.found = "f" * 64, "failed", "VSphereError: the server is gone"
    move.seal()
    (told,) = move.told()
    assert told.startswith("done without an approval")
    other = Move(move.home, "85-offloads", "f" * 64, False, "failed", "Refused: not so: the plan is approved")
    other.seal()
    assert other.told() == [told]


@pytest.mark.parametrize("before", ["nothing", "an earlier action", "this action"])
@pytest.mark.parametrize("counted", [True, False])
def test_a_run_that_was_killed_in_an_action_is_judged_where_the_gate_had_let_it_pass(
    move: Move, before: str, counted: bool
) -> None:
    plan = PLAN if counted else "f" * 64
    who = {"approver": keys.APPROVER, "plan": plan, "vmdk": DISK, "machine": MACHINE}
    move.note("open", mode="apply", guest="gateway", inputs={**move.home.inputs("gateway"), "plan.json": plan})
    move.note("preflight", state="ok", checks=[OPERATOR])
    if before == "an earlier action":
        move.note("start", title="ping")
        move.note("permitted", **who, service=True)
        move.note("step", title="ping", state="failed", seconds=0.1, found="Refused: not now")
    move.note("start", title="source off")
    if before == "this action":
        move.note("permitted", **who, service=False)
    move.note("outcome", mode="apply", outcome="interrupted", error="the kernel died")  # as the engine tells of a kill
    seal.of_run(move.home, "gateway", RUN)
    told, acts = move.told(), [] if before == "nothing" else ["source off"]
    acts = ["ping", *acts] if before == "an earlier action" else acts
    assert [t.partition(";")[0] for t in told] == ([] if counted else [f"done without an approval: {a}" for a in acts])
    note = "killed in the middle of source off: whether it was approved is not told"
    assert (note in move.notes) == (before == "nothing")


@pytest.mark.parametrize("event", ["step", "start", "verify", "evidence", "end", "outcome"])
def test_a_run_that_goes_on_was_not_killed_and_its_action_without_an_end_is_judged(move: Move, event: str) -> None:
    move.note("open", mode="apply", guest="gateway", inputs={**move.home.inputs("gateway"), "plan.json": "f" * 64})
    move.note("start", title="source off")
    how = {"end": "completed", "outcome": "succeeded"}.get(event, "")
    move.note(event, title="something else", state="already", outcome=how)
    move.note("outcome", mode="apply", outcome=how or "failed", error="")
    seal.of_run(move.home, "gateway", RUN)
    assert {t.partition(";")[0] for t in move.told()} == {
        "done without asking for permission: source off",
        "done without an approval: source off",
    }


def test_how_long_an_action_took_makes_it_no_older_than_its_approval(move: Move) -> None:
    move.again(move.home, approved=NOW - timedelta(days=3), expires=NOW - timedelta(days=1))
    move.note("open", mode="apply", guest="gateway", inputs={**move.home.inputs("gateway"), "plan.json": PLAN})
    move.note("permitted", approver=keys.APPROVER, plan=PLAN, vmdk=DISK, machine=MACHINE)
    move.note("step", title="source off", state="done", seconds=2 * 86400.0)
    seal.of_run(move.home, "gateway", RUN)
    (told,) = move.told()
    assert "expired on" in told


def test_an_approval_that_expires_while_a_run_acts_by_it_counts_to_its_end(move: Move) -> None:
    move.again(move.home, approved=NOW - timedelta(days=1), expires=NOW - timedelta(seconds=60))
    move.noted(70, "open", mode="apply", guest="gateway", inputs={**move.home.inputs("gateway"), "plan.json": PLAN})
    move.noted(70, "permitted", approver=keys.APPROVER, plan=PLAN, vmdk=DISK, machine=MACHINE)
    move.noted(70, "start", title="source off")
    move.noted(50, "step", title="source off", state="done", seconds=20.0)
    move.noted(50, "start", title="machine on")
    move.noted(40, "step", title="machine on", state="done", seconds=10.0)
    seal.of_run(move.home, "gateway", RUN)
    assert move.told() == []


@pytest.mark.parametrize("late", ["done", "refused"])
def test_an_approval_that_expires_after_a_mere_measurement_counts_no_more(move: Move, late: str) -> None:
    move.again(move.home, approved=NOW - timedelta(days=1), expires=NOW - timedelta(seconds=60))
    who = {"approver": keys.APPROVER, "plan": PLAN, "vmdk": DISK, "machine": MACHINE}
    move.noted(70, "open", mode="apply", guest="gateway", inputs={**move.home.inputs("gateway"), "plan.json": PLAN})
    move.noted(70, "start", title="ping")
    move.noted(70, "permitted", **who, service=False)
    move.noted(65, "step", title="ping", state="done", seconds=5.0)
    move.noted(50, "start", title="source off")
    if late == "done":
        move.noted(50, "permitted", **who, service=True)
        move.noted(45, "step", title="source off", state="done", seconds=5.0)
    else:
        found = "Refused: not so: the plan is approved"
        move.noted(45, "step", title="source off", state="failed", seconds=5.0, found=found)
    seal.of_run(move.home, "gateway", RUN)
    assert [t.partition(";")[0] for t in move.told()] == ["done without an approval: source off"] * (late == "done")


def test_a_record_of_an_earlier_version_is_judged_by_what_that_version_bound(move: Move) -> None:
    move.again(move.home, vmdk="", machine="", decisions="")
    move.permitted = False
    record = move.seal()
    writable(record)
    (record / bag.INFO).write_text((record / bag.INFO).read_text().replace("Record-Format: 2\n", ""))
    list_again(record)
    sign_again(record, keys.folder(move.home) / "operator")
    assert [t for t in move.told() if t.startswith("done")] == []
    assert "approved by an earlier version: it is not proved which disk and machine that was of" in move.notes


def test_where_the_parameters_changed_before_it_was_sealed_what_cannot_be_judged_is_said(move: Move) -> None:
    move.note("open", mode="apply", guest="gateway", inputs={**move.home.inputs("gateway"), "plan.json": PLAN})
    move.note("permitted", approver=keys.APPROVER, plan=PLAN, vmdk=DISK, machine=MACHINE)
    move.note("step", title="source off", state="done", seconds=0.1)
    move.site("valid_days", 9)
    seal.of_run(move.home, "gateway", RUN)
    assert move.told() == []
    assert any(n.startswith("not judged: what the site asked of approvals") for n in move.notes)


def lines(record: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Change the journal in a record, and make its chain fit again."""
    path, before = record / "data" / "journal.jsonl", "0" * 64
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    change(entries)
    raw = []
    for n, entry in enumerate(entries, 1):
        raw.append(json.dumps({**entry, "n": n, "prev": before}).encode())
        before = hashlib.sha256(raw[-1]).hexdigest()
    path.write_bytes(b"".join(line + b"\n" for line in raw))


def line(record: Path, event: str, **fields: Any) -> None:
    lines(record, lambda entries: next(e for e in reversed(entries) if e["event"] == event).update(fields))


def hours(entries: list[dict[str, Any]], first: int, last: int) -> None:
    for e in entries[first:last]:
        e["time"] = (datetime.fromisoformat(e["time"]) - timedelta(hours=5)).isoformat()


def left_out(record: Path, why: str) -> None:
    """What the run listed as evidence, its survey say, is called a disk or too large."""
    seen = {"file": "outputs/guests/gateway/survey.json", "bytes": 9, "sha256": "e" * 64}
    lines(record, lambda entries: entries.insert(-1, {**entries[-1], "event": "evidence", "artefacts": [seen]}))
    files.write(record / "data" / "left-out.tsv", f"file\tbytes\tsha256\twhy\nsurvey.json\t9\t{'e' * 64}\t{why}\n")


def other_runbook(record: Path) -> None:
    path = record / "data" / "runbook" / "70-cutover.ipynb"
    nb = json.loads(path.read_text())
    nb["cells"] = [c for c in nb["cells"] if "run.preflight(" not in "".join(c["source"])]
    path.write_text(json.dumps(nb))
    list_again(record, Runbook="as in the commit", Runbook_SHA256=files.sha256(path))


def site_asks_for_time(record: Path) -> None:
    path = record / "data" / "params" / "site.yml"
    path.write_text(path.read_text().replace("signing:", "signing:\n  time_stamp: http://127.0.0.1:9/ #", 1))
    line(record, "open", inputs={"params/site.yml": files.sha256(path), "plan.json": PLAN})


FORGED: dict[str, tuple[Callable[[Path], object], dict[str, str], str]] = {
    # {what the operator does to his own record before he signs it: (the record's files, bag-info.txt, what verify says)}
    "a cut-over is called a survey": (lambda r: None, {"Step": "10-survey"}, "the run is of another step"),
    "the run's lines are called another step's": (
        lambda r: lines(r, lambda es: [e.update(step="10-survey") for e in es]),
        {},
        "the run is of another step",
    ),
    "it is called a record of an earlier version": (
        lambda r: line(r, "permitted", service=True),
        {"Record-Format": "1"},
        "a record of this version says that an earlier one sealed it",
    ),
    "the run's lines are cut off": (lambda r: lines(r, lambda es: es.clear()), {}, "the journal does not tell of this run"),
    "all lines but the end are cut off": (
        lambda r: lines(r, lambda es: es.__delitem__(slice(1, 4))),
        {},
        "done without asking for permission",
    ),
    "the run was made from another plan than the one inside": (
        lambda r: line(r, "open", inputs={"plan.json": "f" * 64}),
        {"Inputs-Changed-Since-Run": "none"},
        "the record holds other inputs than the run was made from",
    ),
    "the parameters inside are not those of the run": (
        lambda r: files.write(r / "data" / "params" / "site.yml", "name: x\n"),
        {"Inputs-Changed-Since-Run": "plan.json"},
        "the record holds other inputs than the run was made from",
    ),
    "the gate let another plan pass": (
        lambda r: line(r, "permitted", plan="f" * 64),
        {},
        "the gate let another plan pass than the run was made from",
    ),
    "another guest was moved": (lambda r: line(r, "open", guest="idp"), {}, "the run is of another guest"),
    "the action is dated back": (lambda r: lines(r, lambda es: hours(es, 2, 3)), {}, "a time of the run cannot be"),
    "what was done is dated after the sealing": (
        lambda r: line(r, "outcome", time="2098-01-01T00:00:00+00:00"),
        {},
        "a time of the run cannot be",
    ),
    "the survey is called a disk": (lambda r: left_out(r, "a disk"), {}, "evidence that was left out for no reason"),
    "the survey is called too large": (
        lambda r: left_out(r, "larger than 256 MiB"),
        {},
        "evidence that was left out for no reason",
    ),
    "a changed runbook is called the project's own": (
        other_runbook,
        {},
        "a runbook that was changed is called the project's own",
    ),
    "no time stamp was asked for although the site wants them": (
        site_asks_for_time,
        {},
        "the site asks for time stamps, and none was asked for",
    ),
    "the action has no end": (
        lambda r: lines(r, lambda es: es.__delitem__(slice(3, 5))),
        {},
        "done without asking for permission",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_an_operator_forges_in_his_own_record_before_he_signs_it_is_found(move: Move, name: str) -> None:
    record = move.seal()
    writable(record)
    forge, words, expected = FORGED[name]
    forge(record)
    list_again(record, **{label.replace("-", "_"): value for label, value in words.items()})
    sign_again(record, keys.folder(move.home) / "operator")
    found = verification.verify(record, trust(move.home, move.home.site()))
    told = {p.what for p in found.problems} - {"the register does not fit the record: sha256"}
    assert expected in told
    assert not told & {"the record cannot be judged", "the signature counts for nothing"}


def test_parameters_in_a_record_that_change_between_two_looks_are_judged_as_they_are_now(move: Move) -> None:
    record, asked = move.seal(), "the site asks for time stamps, and none was asked for"
    writable(record)
    lists = trust(move.home, move.home.site())
    assert asked not in {p.what for p in verification.verify(record, lists).problems}
    site_asks_for_time(record)
    list_again(record)
    sign_again(record, keys.folder(move.home) / "operator")
    assert asked in {p.what for p in verification.verify(record, lists).problems}


def test_a_record_that_was_sealed_without_the_end_of_its_run_is_found_by_the_next(move: Move) -> None:
    record = move.seal()
    writable(record.parent)
    lines(record, lambda entries: entries.__delitem__(slice(1, None)))
    list_again(record, Outcome="interrupted")
    sign_again(record, keys.folder(move.home) / "operator")
    ended(move.home, "gateway", "20260105T000000Z-90-report")
    seal.of_run(move.home, "gateway", "20260105T000000Z-90-report")
    assert any(t.startswith("a run did more than its record tells") for t in move.told())


def test_that_another_carried_it_out_is_told_as_the_word_of_the_approver_who_sealed_it(move: Move) -> None:
    move.keys('operator@lab namespaces="evidence"', 'operator@lab namespaces="evidence,approval"')
    move.again(move.home, "operator", approver="operator@lab")
    record = move.seal()
    writable(record)
    tried = {**OPERATOR, "found": "colleague@lab, SHA256:y"}
    line(record, "preflight", checks=[tried])
    list_again(record)
    sign_again(record, keys.folder(move.home) / "operator")
    move.told()
    assert (
        "sealed by operator@lab, who approves: that colleague@lab carried it out is the word of operator@lab alone" in move.notes
    )
