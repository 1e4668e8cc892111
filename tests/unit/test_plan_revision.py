"""Whoever plans again reads what is decided otherwise, and not all of it again."""

import pytest

from hikkoshi.approval import revision
from hikkoshi.approval.plan import Plan
from hikkoshi.params.home import Home
from hikkoshi.steps.plan import PlanMove
from journey import Move


@pytest.fixture
def plan(home: Home) -> Plan:
    return Move(home).plan


def test_a_first_plan_and_the_same_plan_again_have_nothing_to_compare(plan: Plan) -> None:
    assert revision.rows(None, plan, approved=False) == [{"what": "no plan was there before"}]
    (same,) = revision.rows(plan, plan, approved=True)
    assert same["what"].startswith("nothing: the plan that was there stays, and its approval")


def test_each_decision_that_is_another_has_a_row_and_so_has_the_approval_that_is_lost(plan: Plan) -> None:
    nic = plan.vm.nics[0]
    other = plan.model_copy(
        update={"vm": plan.vm.model_copy(update={"vcpus": 7, "nics": (nic.model_copy(update={"port_group": "dmz-300"}),)})}
    )
    assert revision.rows(plan, other, approved=True) == [
        {"what": "approval", "before": "counts", "now": "none: this plan needs its own"},
        {"what": "vm.vcpus", "before": str(plan.vm.vcpus), "now": "7"},
        {"what": f"vm.nics.{nic.mac}.port_group", "before": nic.port_group, "now": "dmz-300"},
    ]


def test_parts_that_only_stand_in_another_order_have_a_row(plan: Plan) -> None:
    first = plan.vm.nics[0]
    second = first.model_copy(update={"mac": "00:16:3e:00:00:02"})
    one, other = (
        plan.model_copy(update={"vm": plan.vm.model_copy(update={"nics": nics})}) for nics in ((first, second), (second, first))
    )
    assert revision.rows(one, other, approved=False) == [
        {"what": "vm.nics, in order", "before": f"{first.mac}, {second.mac}", "now": f"{second.mac}, {first.mac}"}
    ]


def test_one_file_less_changes_no_row_of_the_others_and_whole_texts_stay_away(plan: Plan) -> None:
    first, *rest = plan.preparation.edits
    short = first.model_copy(update={"after": "two\nlines\n"})
    with_it, without = (
        plan.model_copy(update={"preparation": plan.preparation.model_copy(update={"edits": edits})})
        for edits in ((short, *rest), tuple(rest))
    )
    found = {row["what"]: row for row in revision.rows(with_it, without, approved=False)}
    assert {name.startswith(f"preparation.edits.{first.path}.") for name in found} == {True}
    after = found[f"preparation.edits.{first.path}.after"]
    assert (after["before"], after["now"]) == ("another text, of 10 characters", "–")


def test_20_compares_with_the_plan_that_is_there_before_it_takes_its_place(home: Home) -> None:
    move = Move(home)
    move.results("20-plan")
    path = home.root / "params" / "guests" / "idp.yml"
    path.write_text(path.read_text() + "vm: { vcpus: 3 }\n")
    step = PlanMove(PlanMove.open({"guest": "idp", "home": str(home.root)}))
    assert ("vm.vcpus", "3") in [(row["what"], row.get("now")) for row in step.revision()]
    step.start()
    assert step.revision()[0]["what"].startswith("nothing")
    step.run.close("completed")
