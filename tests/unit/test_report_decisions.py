"""The report tells what somebody decided by hand: rules that the site lowered, and NICs put on another segment."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.params.home import Home
from hikkoshi.record.engine import environment
from hikkoshi.report import report
from hikkoshi.report.story import gather
from hikkoshi.run.run import Run, open_run
from hikkoshi.steps.plan import PlanMove
from hikkoshi.vsphere.preflight import rule
from journey import MAC, Move, words

REASON = "a test machine without NTP"
TITLES = {"clocks-agree": "the clocks agree", "forwarder-in-reach": "its LRO can be seen", "macs-free": "no MAC is in use"}


@pytest.fixture
def move(home: Home) -> Move:
    """A guest of a site that lowered a rule, with a plan that says so, approved."""
    text = home.site_file.read_text()
    home.site_file.write_text(
        text.replace("\nvsphere:\n", f"\nvsphere:\n  lowered: {{ clocks-agree: {REASON}, forwarder-in-reach: a lab }}\n", 1)
    )
    made = Move(home)
    made.results("60-deploy")
    return made


def opened(move: Move, step: str, **mode: str) -> Run:
    """A run by the real spine, a step that only reads without a mode; each of its own name, though many begin in a second."""
    move.n += 1
    with pytest.MonkeyPatch.context() as m:
        m.setenv("HIKKOSHI_RUN", f"20261123T0000{move.n:02d}Z-{step}")
        return open_run(step, {"guest": "idp", "home": str(move.home.root), **mode})


def looked(run: Run, found: str, *red: str) -> None:
    """A run's checks beforehand, with these rules not kept."""
    told = (Check(code=code, title=TITLES[code], ok=False, found=found, expected="±60 s") for code in red)
    run.preflight(rule.judged(told, run.site.vsphere.lowered))


def planned(move: Move, *red: str) -> None:
    run = opened(move, "20-plan")
    looked(run, "+90 s", *red or ("clocks-agree",))
    run.verify([])
    run.evidence([run.folder / Plan.filename])


def deployed(move: Move, found: str, **mode: str) -> None:
    run = opened(move, "60-deploy", **mode or {"mode": "apply"})
    looked(run, found, "clocks-agree")
    run.ensure("do it", holds=lambda: True, act=lambda _: None)
    run.evidence([run.folder / Plan.filename])


def rows(page: str, caption: str) -> list[list[str]]:
    """The cells of the table below a caption, without its head; none where there is no such table."""
    table = re.search(rf"<caption>{caption}.*?</table>", page, re.DOTALL)
    found = re.findall(r"<tr>(.*?)</tr>", table[0], re.DOTALL)[1:] if table else []
    return [[words(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)] for row in found]


def lowered(move: Move) -> list[list[str]]:
    return [[*row[:2], row[2].partition(" 2")[0], *row[3:]] for row in rows(move.page(), "What was not as the preflight")]


def test_a_rule_that_was_lowered_stands_with_what_was_found_the_reason_and_who_approved_it(move: Move) -> None:
    plan = f"{move.plan.hash[:16]}…"
    told = ["the clocks agree ( clocks-agree )", "+90 s", REASON]
    planned(move)
    assert lowered(move) == [["20-plan", *told, f"nobody {plan}"]]
    move.approve()
    (given,) = gather(move.home, "idp").present
    assert given.statement
    deployed(move, "+70 s")
    deployed(move, "+90 s")  # of a step that was run again, what it found last
    by = f"approver@lab, {given.statement.approved:%Y-%m-%d %H:%M} {plan}"
    assert lowered(move) == [["20-plan", *told, by], ["60-deploy", *told, by]]
    assert "stopped nothing as the site has lowered them: clocks-agree. The appendix says why." in words(move.page())


def test_a_rule_that_20_alone_judges_stands_with_the_others(move: Move) -> None:
    planned(move, "forwarder-in-reach", "clocks-agree")
    deployed(move, "+90 s")
    assert [row[:2] for row in lowered(move)] == [
        ["20-plan", "its LRO can be seen ( forwarder-in-reach )"],
        ["20-plan", "the clocks agree ( clocks-agree )"],
        ["60-deploy", "the clocks agree ( clocks-agree )"],
    ]


def test_of_a_plan_that_is_no_more_it_stands_in_the_appendix_and_is_no_open_point(move: Move) -> None:
    planned(move)
    move.approve()
    before = move.plan.hash
    move.plan.model_copy(update={"vm": move.plan.vm.model_copy(update={"memory_mb": 512})}).save(move.folder)
    assert "the site has lowered them" not in words(move.page())
    assert [(row[4][:12], row[4][-17:-1]) for row in lowered(move)] == [("approver@lab", before[:16])]


def test_an_approval_that_nobody_signed_is_nobodys(move: Move) -> None:
    planned(move)
    move.approve()
    for signature in move.folder.approvals.glob("*.sig"):
        signature.unlink()
    assert [row[4][:6] for row in lowered(move)] == ["nobody"]


def test_where_the_lists_of_approvers_cannot_be_read_who_approved_is_not_known(move: Move) -> None:
    planned(move)
    move.approve()
    move.home.path(move.home.site().signing.allowed_signers).unlink()
    assert [row[4][:9] for row in lowered(move)] == ["not known"]


def test_of_a_run_that_had_no_plan_none_is_shown(move: Move) -> None:
    move.folder.plan.unlink()
    run = opened(move, "20-plan")
    looked(run, "+90 s", "clocks-agree")
    run.verify([])
    run.close("completed")
    assert [row[4] for row in lowered(move)] == ["–"]


def test_a_run_that_was_only_planned_or_refused_let_nothing_pass(move: Move) -> None:
    deployed(move, "+90 s", mode="plan")
    refused = opened(move, "60-deploy", mode="apply")
    with pytest.raises(Exception, match="no MAC is in use"):
        looked(refused, "+90 s", "clocks-agree", "macs-free")
    refused.close("failed")
    assert lowered(move) == []
    assert 'id="lowered"' not in move.page()


def test_who_put_which_nic_on_which_segment_and_when_stands_below_the_nics(move: Move) -> None:
    move.page()
    assert report.complete(move.home, "idp")
    assert rows(move.page(), "NICs that were put") == []
    step = PlanMove(PlanMove.open({"guest": "idp", "home": str(move.home.root)}))
    step.run.close("completed")
    move.page()
    step.rewire({MAC: "vlan301"})
    assert f"{MAC} put on vlan301" in report.complete(move.home, "idp").found
    at = datetime.fromisoformat(move.journal.entries()[-1].time).strftime("%Y-%m-%d %H:%M:%S UTC")
    assert rows(move.page(), "NICs that were put") == [[at, environment.operator(), MAC, "servers", "vlan301", "done"]]
    assert report.complete(move.home, "idp")


def test_a_report_without_several_nics_of_one_line_lacks_each(move: Move) -> None:
    move.page()
    move.journal.append("rewired", of="a run", nics=[{"mac": "one", "after": "a"}, {"mac": "two", "after": "b"}])
    assert report.complete(move.home, "idp").found == "without one put on a, two put on b"
    assert len(rows(move.page(), "NICs that were put")) == 2
    assert report.complete(move.home, "idp")


def test_a_file_that_could_not_be_written_is_told_as_not_done(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    step = PlanMove(PlanMove.open({"guest": "idp", "home": str(move.home.root)}))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(Path, "replace", full)
        with pytest.raises(BadInput, match="cannot be written"):
            step.rewire({MAC: "vlan301"})
    step.rewire({MAC: "vlan301"})
    found = [row[5] for row in rows(move.page(), "NICs that were put")]
    assert found == ["not done : No space left on device", "done"]


@pytest.mark.parametrize("nics", [1, ["eth0"], [{"mac": 1}]])
def test_a_line_that_no_run_of_ours_wrote_does_not_keep_the_report_from_being_written(move: Move, nics: object) -> None:
    move.journal.append("rewired", of="somebody", nics=nics)
    assert len(rows(move.page(), "NICs that were put")) == (nics == [{"mac": 1}])
