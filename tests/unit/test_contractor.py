"""A contractor runs the vSphere: nobody logs in to it, and nothing of it is ever green. The sheet asks, and people talk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from hikkoshi.approval import approval, proposal
from hikkoshi.approval.subject import Subject
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Refused
from hikkoshi.params.home import Home
from hikkoshi.report import handover as files_for_contractor
from hikkoshi.report import judgement, openpoints, pdf, story
from hikkoshi.report.handover import HandOver
from hikkoshi.run import run, service
from hikkoshi.run.contractor import ContractorsMachine
from hikkoshi.run.step import CUTOVER, DEPLOY
from hikkoshi.run.turn import Turn
from hikkoshi.steps.cutover import CutOver
from hikkoshi.steps.deploy import Deploy
from hikkoshi.steps.plan import PlanMove
from hikkoshi.steps.rollback import Rollback
from hikkoshi.vsphere import session
from hikkoshi.vsphere.cutover import InService
from journey import SINCE, Move

ASKED = {  # what an import by us would ask
    "host-can-take",
    "datastore-has-room",
    "machine-name-free",
    "port-group-there",
    "macs-free",
    "hardware-version-possible",
    "guest-id-possible",
    "vlan-seen",
}
OFF = Check(code="source-off", title="the source is off", ok=True)
OURS = "vsphere: { server: 127.0.0.1:1, user: u, password: env:P, ca: params/site.yml, datacenter: d, cluster: c, datastore: s }"
CALL = 'vsphere: { handover: true, contractor: "Kita, 0166-00-0000", hardware_version: 11 }'


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(run, "display", lambda thing: lines.append(str(thing)))
    monkeypatch.setattr(pdf, "PROGRAMS", ("no-such-chromium",))
    return lines


def vsphere(home: Home, line: str) -> None:
    """Write the site's vSphere anew."""
    text = home.site_file.read_text()
    begin, end = text.index("vsphere:"), text.index("dom0s:")
    home.site_file.write_text(f"{text[:begin]}{line}\n\n{text[end:]}")


NOWHERE = (
    'server: "127.0.0.1:1", user: mover, password: env:HOME, ca: params/site.yml, datacenter: east, cluster: wards, '
    "datastore: fast"
)


@pytest.fixture
def theirs(home: Home) -> Home:
    vsphere(home, CALL)
    return home


@pytest.fixture
def move(theirs: Home) -> Move:
    """Rehearsed, with a file in the place of the VMDK."""
    return Move(theirs).with_vmdk()


def opened(step: type, home: Home, mode: str = "plan") -> run.Run:
    names = {"guest": "idp", "mode": mode, "home": str(home.root)}
    return step.open({k: v for k, v in names.items() if k != "mode" or not step.step.read_only})  # type: ignore[attr-defined, no-any-return]


def machine(move: Move) -> ContractorsMachine:
    return ContractorsMachine(move.home, move.home.site(), move.home.guest("idp"), move.plan)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("vsphere: { handover: true, server: vc, user: me }", "leave out server, user"),
        ("vsphere: { handover: true, ca: ca.pem, folder: vm }", "leave out ca, folder"),
        ("vsphere: { hardware_version: 10 }", "give server, user, password, datacenter, cluster, datastore; or `handover: true`"),
        (
            "vsphere: { contractor: Kita, server: vc, user: u, password: env:P, ca: c, datacenter: d, cluster: c, datastore: s }",
            "contractor is for `handover: true` alone",
        ),
    ],
)
def test_what_a_contractors_vsphere_has_not_is_told_with_its_line(home: Home, line: str, told: str) -> None:
    vsphere(home, line)
    with pytest.raises(BadInput) as refused:
        home.site()
    (problem,) = refused.value.problems
    assert told in problem.expected
    assert "site.yml:11: vsphere" in problem.where


@pytest.mark.parametrize("name", ["''", "'  '"])
def test_a_contractor_without_a_name_is_refused(home: Home, name: str) -> None:
    vsphere(home, f"vsphere: {{ handover: true, contractor: {name} }}")
    with pytest.raises(BadInput, match=r"vsphere.contractor"):
        home.site()


def test_nobody_logs_in_and_the_refusal_names_whom_to_ask(theirs: Home) -> None:
    with pytest.raises(Refused, match="ask Kita, 0166-00-0000"):
        session.connect(theirs, theirs.site().vsphere)


def test_20_plans_without_a_vsphere_and_each_question_to_it_is_open(theirs: Home) -> None:
    move = Move(theirs)
    move.results("10-survey")
    plan = PlanMove(opened(PlanMove, theirs))
    found = [*plan.checks(), *plan.vlans_seen()]
    assert [c for c in found if not c] == []
    assert {c.code for c in found if c.unseen} == ASKED
    assert {(c.unseen, c.found.partition(";")[0]) for c in found if c.code in ASKED} == {
        ("not seen", "not asked: the contractor's vSphere")
    }
    plan.start()
    assert plan.proofs()[0]
    plan.evidence()
    assert plan.decisions()[0]["planned"] == "idp, centos64Guest, hardware version 11"


def test_a_port_group_that_nobody_has_named_is_red(theirs: Home) -> None:
    text = theirs.site_file.read_text().replace("port_group: servers-210", "port_group: FILL-IN")
    theirs.site_file.write_text(text)
    Move(theirs).results("10-survey")
    bad = [c for c in PlanMove(opened(PlanMove, theirs)).checks() if not c]
    assert [(c.code, c.found) for c in bad] == [("port-group-there", "nobody has named it")]
    assert "ask the contractor" in bad[0].remedy


def test_whose_vsphere_it_is_stands_in_the_plan_and_changes_no_other_plan(home: Home) -> None:
    before = Move(home).plan
    assert "handover" not in before.text()
    vsphere(home, CALL)
    after = Move(home).plan
    assert '"handover": true' in after.text()
    assert after.hash != before.hash


def test_60_hands_over_once_and_says_what_nobody_has_asked(move: Move, shown: list[str]) -> None:
    opened_run = opened(Deploy, move.home, "apply")
    deploy = Deploy(opened_run)
    opened_run.preflight(deploy.checks())
    opened_run.ensure("remove", holds=deploy.earlier_removed, act=deploy.remove_earlier)
    opened_run.ensure("hand over", holds=deploy.complete, act=deploy.start)
    opened_run.ensure("hand over", holds=deploy.complete, act=deploy.start)
    opened_run.verify(deploy.proofs())
    assert [r.state for r in opened_run.rows] == ["not seen", "done", "already"]
    assert deploy.nics()[0]["now"] == "not asked: the contractor's vSphere"
    assert [p.name for p in deploy.evidence()] == ["handover.json", "handover-sheet.html"]
    made = HandOver.load(move.folder)
    (Path(made.folder) / "idp.ova").write_bytes(b"another")
    assert [c.code for c in deploy.proofs() if not c] == ["handed-files"]
    shown.clear()
    opened_run.close("completed")


def test_before_anything_was_rehearsed_60_has_nothing_red_in_plan_mode(theirs: Home) -> None:
    deploy = Deploy(opened(Deploy, theirs))
    assert [c for c in (*deploy.checks(), *deploy.proofs()) if not c and not c.later] == []
    assert deploy.nics() == []


def test_an_approval_is_of_what_was_handed_over(move: Move) -> None:
    with pytest.raises(Refused, match="nothing to approve"):
        move.approve()
    first = files_for_contractor.write(move.home, "idp", "ova")
    move.approve()
    assert approval.check(move.home, "idp", move.plan)
    page = proposal.page(move.home, "idp", move.plan, {})
    assert first.descriptor_sha256 in page
    assert "no machine of it stands" not in page
    assert "you call Kita, 0166-00-0000" in " ".join(page.split())
    again = files_for_contractor.write(move.home, "idp", "ovf", move.home.root)
    assert again.descriptor_sha256 == first.descriptor_sha256
    assert approval.check(move.home, "idp", move.plan), "the same machine, in other files"
    again.model_copy(update={"descriptor_sha256": "f" * 64}).save(move.folder)
    assert not approval.check(move.home, "idp", move.plan)
    assert Subject.now(move.home, "idp", move.plan).machine == "f" * 64


def test_what_70_asks_before_the_source_goes_off_is_who_is_called(move: Move) -> None:
    assert [c.code for c in machine(move).checks() if not c] == ["handed-over"]
    done = files_for_contractor.write(move.home, "idp", "ova")
    assert all(machine(move).checks())
    handed, _ = machine(move).checks()
    assert f"the sheet reads: plan {move.plan.hash[:16]}, idp.ova {done.files[0].sha256[:16]}" in handed.found
    page = move.folder.handover_sheet.read_text()
    assert move.plan.hash[:16] in page
    assert done.files[0].sha256 in page
    (waits,) = (c for c in machine(move).ready() if c.unseen)
    assert "call Kita, 0166-00-0000 before you go on" in waits.found


def test_a_guest_without_an_address_cannot_be_waited_for(move: Move) -> None:
    nics = tuple(n.model_copy(update={"address": ""}) for n in move.plan.machine.nics)
    move.plan = move.plan.model_copy(update={"machine": move.plan.machine.model_copy(update={"nics": nics})})
    assert "guest-visible" in [c.code for c in machine(move).checks() if not c]


def test_without_an_approval_or_with_a_source_that_is_on_nobody_is_called(move: Move) -> None:
    files_for_contractor.write(move.home, "idp", "ova")

    def called() -> None:
        pytest.fail("the contractor was called")

    cut = CutOver(opened(CutOver, move.home, "apply"))
    with pytest.raises(Refused, match="the plan is approved"):
        machine(move).start(cut.run.permit, called, OFF)
    move.approve()
    cut.run.close("completed")
    cut = CutOver(opened(CutOver, move.home, "apply"))
    on = Check(code="source-off", title="the source is off", ok=False, found="it runs")
    with pytest.raises(Refused, match="it runs"):
        machine(move).start(cut.run.permit, called, on)
    assert not move.folder.cutover.exists()


def test_while_the_contractor_is_waited_for_a_rollback_may_begin_and_the_wait_then_puts_nothing_into_service(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_for_contractor.write(move.home, "idp", "ova")
    move.approve()
    waiting = opened(CutOver, move.home, "apply")
    back = Turn(move.folder)

    def answer(*_: object) -> str:
        back.claim(wait=0)
        back.end()
        return "10.2.10.5"

    monkeypatch.setattr(ContractorsMachine, "_answer", answer)
    with pytest.raises(Refused, match="this run acts no more"):
        machine(move).start(waiting.permit, waiting.give_way, OFF)
    assert not move.folder.cutover.exists()


@pytest.mark.parametrize(("unseen", "known_by"), [("", "10.2.10.5 answers"), ("not seen", "")])
def test_an_answer_is_the_new_machines_only_where_the_source_was_seen_to_be_off(
    move: Move, monkeypatch: pytest.MonkeyPatch, unseen: Literal["", "not seen"], known_by: str
) -> None:
    done = files_for_contractor.write(move.home, "idp", "ova")
    move.approve()
    waiting = opened(CutOver, move.home, "apply")
    monkeypatch.setattr(ContractorsMachine, "_answer", lambda *_: "10.2.10.5")
    machine(move).start(waiting.permit, waiting.give_way, replace(OFF, unseen=unseen))
    found = InService.load(move.folder)
    assert (found.handed_over, found.known_by) == (done.descriptor_sha256, known_by)


@pytest.fixture
def serving(move: Move) -> Callable[[str], InService]:
    def serve(known_by: str) -> InService:
        done = files_for_contractor.write(move.home, "idp", "ova")
        found = InService(guest="idp", moid="", since=SINCE, nics=(), handed_over=done.descriptor_sha256, known_by=known_by)
        found.save(move.folder)
        return found

    return serve


def test_in_service_is_what_answered_and_not_what_may_have_been_the_source(
    move: Move, serving: Callable[[str], InService]
) -> None:
    found = serving("10.2.10.5 answers")
    there = machine(move).complete()
    assert (bool(there), there.unseen) == (True, "")
    assert "10.2.10.5 answers" in there.found
    found.model_copy(update={"known_by": ""}).save(move.folder)
    assert machine(move).complete().unseen == "not seen"
    found.model_copy(update={"handed_over": "f" * 64}).save(move.folder)
    assert not machine(move).complete(), "of another hand-over"
    found.save(move.folder)
    theirs = service.checks(move.home, move.home.site(), move.home.guest("idp"), "a run")
    assert [c.found for c in theirs] == ["params/guests/idp.yml has no measurement"], "85 changes nothing there"


def test_another_vsphere_of_the_site_that_does_not_answer_stops_20_60_and_70(theirs: Home) -> None:
    vsphere(theirs, CALL + "\nvspheres: { hospital: { " + NOWHERE + " } }")
    move = Move(theirs)
    move.results("10-survey")
    with_plan = PlanMove(opened(PlanMove, theirs))
    with_plan.start()
    with_plan.run.close("completed")
    for step in (PlanMove, Deploy, CutOver):
        page = step(opened(step, theirs))
        (red,) = (c for c in (page.ready() if isinstance(page, CutOver) else page.checks()) if c.code == "none-elsewhere")
        assert (red.ok, red.later) == (False, False)
        assert "gone for good, take 127.0.0.1:1 out of params/site.yml" in red.remedy
        page.run.close("completed")


def test_another_contractors_vsphere_is_not_seen_by_20(theirs: Home) -> None:
    vsphere(theirs, CALL + '\nvspheres: { north: { handover: true, contractor: "Sato" } }')
    move = Move(theirs)
    move.results("10-survey")
    (other,) = (c for c in PlanMove(opened(PlanMove, theirs)).checks() if c.code == "none-elsewhere")
    assert (other.found, other.unseen) == ("Sato cannot be asked from here", "not seen")


def test_nothing_of_the_wiring_is_claimed_from_a_vsphere_that_nobody_asked(
    move: Move, serving: Callable[[str], InService]
) -> None:
    serving("10.2.10.5 answers")
    cut = CutOver(opened(CutOver, move.home))
    assert {c.unseen for c in cut.proofs() if c.code == "nic-wired"} == {"not seen"}
    drawn, table = cut.nics()
    assert "none of 1 otherwise than planned" in drawn.words
    assert table.rows[0]["now"] == "not asked: the contractor's vSphere"
    cut.evidence()


def test_75_says_whom_to_ask_for_what_and_in_which_order(move: Move, serving: Callable[[str], InService]) -> None:
    serving("10.2.10.5 answers")
    back = Rollback(opened(Rollback, move.home, "apply"))
    assert not back.out_of_service()
    with pytest.raises(Refused) as refused:
        back.take_out()
    told = str(refused.value)
    order = [
        "Call Kita, 0166-00-0000. Ask them to take off both ticks",
        "Ask them to power idp off",
        "hikkoshi confirm-off idp",
        "Start the source",
    ]
    places = [told.index(words) for words in order]
    assert places == sorted(places)
    assert "vCenter" not in told
    with pytest.raises(Refused, match="power idp off"):
        back.start()


def test_75_goes_by_telephone_too_where_the_site_was_given_an_account_after_the_plan(move: Move) -> None:
    files_for_contractor.write(move.home, "idp", "ova")  # it may be on, and 70 has not recorded it
    vsphere(move.home, OURS)
    back = Rollback(opened(Rollback, move.home, "apply"))
    assert not back.out_of_service()
    with pytest.raises(Refused, match="Call the contractor"):
        back.take_out()
    with pytest.raises(Refused, match="power idp off"):
        back.start()


def test_an_earlier_cut_over_into_a_vsphere_of_ours_is_not_the_contractors(move: Move) -> None:
    InService(guest="idp", moid="vm-7", since=SINCE, nics=()).save(move.folder)
    assert not machine(move).complete(), "nothing is handed over yet"


def test_the_report_says_what_is_the_contractors_word(move: Move, serving: Callable[[str], InService]) -> None:
    files_for_contractor.write(move.home, "idp", "ova", move.home.root)
    move.ran(DEPLOY.id)
    move.approve()
    waiting = story.gather(move.home, "idp")
    assert judgement.verdict(waiting) == ("good", "Handed over to the contractor, and waiting for its cut-over.")
    points = list(openpoints.open_points(waiting))
    assert any(p.startswith("The vSphere is a contractor's, and nobody here has asked it") for p in points)
    assert "The machine was handed over, and has to stay off at the contractor's until the cut-over." in points
    serving("10.2.10.5 answers")
    cut = move.ran(CUTOVER.id)
    checks = [{"code": c.code, "title": c.title, "state": "not seen"} for c in machine(move).wiring()]
    move.journal.append("verify", run=cut, step=CUTOVER.id, mode="apply", state="ok", checks=checks)
    served = list(openpoints.open_points(story.gather(move.home, "idp")))
    assert "That the source is off was not seen from here." not in served
    assert any("neither in the contractor's vSphere nor from inside the guest" in p for p in served)
