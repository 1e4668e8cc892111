"""Every step is one class, made from a run: what it tells before anything was made. (What it makes: the other tests.)"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import journey
from hikkoshi import show, steps
from hikkoshi.errors import BadInput, StepFailed
from hikkoshi.params.home import Home
from hikkoshi.run import lock, run
from hikkoshi.run.run import Run
from hikkoshi.run.step import STEPS
from hikkoshi.steps.convert import Convert
from hikkoshi.steps.fleet import FleetOverview
from hikkoshi.steps.netperf import Netperf
from hikkoshi.steps.offloads import Offloads
from hikkoshi.steps.rehearse import Rehearse
from hikkoshi.steps.report import Report
from hikkoshi.steps.runbook import Runbook
from hikkoshi.steps.start_here import StartHere
from hikkoshi.steps.survey import SurveyGuest


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(run, "display", lambda thing: lines.append(str(thing)))
    monkeypatch.delenv("HIKKOSHI_RUN", raising=False)
    return lines


def names(home: Home, mode: str = "plan") -> dict[str, str]:
    return {"guest": "idp", "mode": mode, "home": str(home.root)}


XEN = "name = 'idp'\nmemory = 512\ndisk = ['file:/srv/xen/idp.img,xvda,w']\nvif = ['mac=00:16:3e:7a:30:01,bridge=xenbr0']\n"


@pytest.fixture
def dom0(home: Home) -> Path:
    """A Dom-0 with the guest's configuration, and nothing else."""
    config = home.root / "outputs" / "lab" / "dom0" / "etc" / "xen" / "idp"
    config.parent.mkdir(parents=True)
    config.write_text(XEN)
    return config.parents[2]


@pytest.fixture
def converting(home: Home, dom0: Path) -> Iterator[Run]:
    run = Convert.open(names(home))
    yield run
    run.close("completed")


def test_a_run_is_opened_by_its_step(converting: Run) -> None:
    assert (converting.step, converting.mode) == ("40-convert", "plan")


def test_before_anything_was_prepared_or_made_plan_mode_has_nothing_red(converting: Run, shown: list[str]) -> None:
    convert = Convert(converting)
    converting.preflight(convert.checks())
    converting.ensure("convert the disk", holds=convert.complete, act=convert.start)
    converting.verify(convert.proofs())
    assert not [line for text in shown for line in text.splitlines() if line.startswith("red")]
    assert [(e["state"], len(e["checks"])) for e in converting.journal.entries() if e["event"] == "verify"] == [("later", 1)]


def test_before_anything_was_made_each_table_says_so(converting: Run) -> None:
    convert = Convert(converting)
    assert convert.hashes() == [{"what": "VMDK", "found": "not made yet"}]
    assert convert.header() == [{"field": "VMDK", "value": "not made yet"}]


def test_before_anything_was_converted_the_rehearsal_waits(home: Home, shown: list[str]) -> None:
    run = Rehearse.open(names(home))
    rehearse = Rehearse(run)
    run.verify(rehearse.proofs())
    assert rehearse.nics() == []
    assert shown == [shown[0]]
    assert shown[0].startswith("later")
    run.close("completed")


@pytest.mark.parametrize("step", [Netperf, Offloads, Report])
def test_before_anything_was_approved_measured_or_reported_there_is_nothing_red(
    home: Home, shown: list[str], step: type[Runbook]
) -> None:
    run = step.open({k: v for k, v in names(home).items() if k != "mode" or not step.step.read_only})
    run.preflight(step(run).checks())  # type: ignore[attr-defined]
    if not step.step.read_only:
        run.verify(step(run).proofs())  # type: ignore[attr-defined]
    assert not [line for text in shown for line in text.splitlines() if line.startswith("red")]


def test_a_page_that_has_no_mode_to_choose_names_none(home: Home) -> None:
    for step, named in ((Convert, True), (Report, False)):
        run = step.open({k: v for k, v in names(home).items() if k != "mode" or named})
        assert ("<th scope='row'>mode</th>" in show._run_html(run)) == named
        run.close("completed")


def test_a_survey_that_is_not_the_one_just_made_fails_the_step_though_it_only_reads(home: Home, dom0: Path) -> None:
    run = SurveyGuest.open({"guest": "idp", "home": str(home.root)})
    journey.survey().save(run.folder)
    with pytest.raises(StepFailed, match=r"survey\.json holds what was found"):
        run.verify(SurveyGuest(run).proofs())
    run.close("failed")


def test_the_first_page_fails_where_a_parameter_file_cannot_be_used(home: Home) -> None:
    here = StartHere.open({"home": str(home.root)})
    assert all(here.verify().checks)
    (home.root / "params" / "guests" / "idp.yml").write_text("nmae: idp\n")
    with pytest.raises(StepFailed, match=r"params/guests/idp\.yml can be used"):
        here.verify()


def test_every_step_is_one_class_whose_methods_have_the_same_names_in_the_same_order() -> None:
    modules = [importlib.import_module(f"hikkoshi.steps.{m.name}") for m in pkgutil.iter_modules(steps.__path__)]
    classes = {
        kind.step.id: kind for m in modules for kind in vars(m).values() if inspect.isclass(kind) and hasattr(kind, "step")
    }
    assert sorted(classes) == list(STEPS)
    for kind in classes.values():
        acts = [] if kind.step.read_only else ["complete", "start"]  # what one writes that only reads has words of its own
        wanted = ["checks", *acts, "proofs", "evidence"]
        assert [name for name in vars(kind) if name in wanted] == wanted, kind


def night(home: Home) -> journey.Move:
    """A guest that was surveyed and whose conversion failed; the other was not begun."""
    move = journey.Move(home)
    move.survey.save(move.folder)
    move.ran("10-survey")
    move.ran("40-convert", mode="plan", rows=("would",))
    move.ran("40-convert", result="failed", error="StepFailed: no room is left")
    return move


def test_the_fleet_names_who_needs_somebody_draws_what_ran_and_tells_how_fast(home: Home) -> None:
    night(home)
    found = FleetOverview.open({"home": str(home.root), "hours": 24})
    assert [(row["guest"], row["step"], row["why"]) for row in found.failures()] == [
        ("idp", "40-convert", "StepFailed: no room is left")
    ]
    assert [row["guest"] for row in found.guests()] == ["idp", "gateway"]
    (drawn,) = found.drawn()
    assert drawn.figure
    assert drawn.words.endswith("Failed: idp in 40.")
    assert [(row["step"], row["runs"], row["not well"]) for row in found.pace()] == [
        ("10-survey", "1", "0"),
        ("40-convert", "1", "1"),
    ]
    assert found.verify().checks


def test_a_run_that_is_at_work_needs_nobody_and_lasts_until_now_in_the_fleet(home: Home) -> None:
    move = night(home)
    move.journal.append("open", run="20261122T000009Z-60-deploy", step="60-deploy", mode="apply")
    with lock.acquire(move.folder.runner_lock, "60-deploy apply", wait=0):
        found = FleetOverview(home, 24)
        assert found.failures() == []
        (drawn,) = found.drawn()
        assert drawn.words.endswith("Failed: idp in 40. At work now: idp.")
        assert [row["step"] for row in found.pace()] == ["10-survey", "40-convert"]
    killed = FleetOverview(home, 24)
    assert [(row["step"], row["why"]) for row in killed.failures()] == [("60-deploy", "interrupted")]
    assert [row["not well"] for row in killed.pace()] == ["0", "1", "1"]


def test_a_guest_whose_file_cannot_be_used_is_in_the_fleets_table_first_and_in_no_wave(home: Home) -> None:
    with home.guest_file("idp").open("a") as f:
        f.write("wrong: 1\n")
    rows = FleetOverview(home, 24).guests()
    assert [(row["guest"], row["wave"]) for row in rows] == [("idp", "–"), ("gateway", "1")]


def test_a_report_of_what_failed_does_not_make_it_good_in_the_fleet(home: Home) -> None:
    night(home).ran("90-report", mode="plan")
    assert [(row["step"], row["why"]) for row in FleetOverview(home, 24).failures()] == [
        ("40-convert", "StepFailed: no room is left")
    ]


def test_a_look_at_a_guest_in_service_that_failed_needs_nobody_in_the_fleet(home: Home) -> None:
    move = night(home)
    home.folder("idp").cutover.write_text("{}")
    move.ran("70-cutover")
    move.ran("70-cutover", mode="plan", result="failed")
    assert FleetOverview(home, 24).failures() == []


def test_the_fleet_looks_back_no_further_than_it_is_told_but_at_failures(home: Home) -> None:
    night(home)
    found = FleetOverview.open({"home": str(home.root), "hours": 1e-9})
    assert [e.figure for e in found.drawn()] == [None]
    assert (found.pace(), len(found.failures())) == ([], 1)


@pytest.mark.parametrize("hours", [0, -1, "24", None, True, float("nan"), float("inf")])
def test_what_is_no_time_to_look_back_is_refused(home: Home, hours: object) -> None:
    with pytest.raises(BadInput, match="no time to look back"):
        FleetOverview.open({"home": str(home.root), "hours": hours})
