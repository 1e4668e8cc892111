"""From a diagnosis to a remedy, for guests of every age, by what they said after the load."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hikkoshi.figures import exhibits
from hikkoshi.network.compare.sequential import Attempt, Series
from hikkoshi.network.diagnosis import diagnosis, snapshot
from hikkoshi.network.diagnosis.diagnosis import Diagnosis
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.remedy.treatment import Treatment
from hikkoshi.network.throughput.bench import Bench
from hikkoshi.network.throughput.measured import Measured, Throughput
from hikkoshi.params.guest import Measurement
from hikkoshi.params.home import Home
from hikkoshi.steps.netperf import Netperf
from hikkoshi.vsphere.cutover import InService

DATA = Path(__file__).parents[1] / "data" / "diagnosis"


def treated(home: Home, case: str) -> Treatment:
    """The treatment of the gateway after it was diagnosed as in a recorded or written case."""
    pieces = re.split(r"^==== (\w+) (before|after)\n", (DATA / f"{case}.txt").read_text(), flags=re.M)[1:]
    told = {(who, when): raw for who, when, raw in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)}
    pair = [snapshot.parse(told["guest", when], case) for when in ("before", "after")]
    folder = home.folder("gateway")
    (folder / "netperf" / "run").mkdir(parents=True)
    (folder / "netperf" / "run" / "guest-after-load.txt").write_text(told["guest", "after"])
    found: Diagnosis = diagnosis.diagnose(*pair)
    Cure(since="", diagnosis=found, folder="run").save(folder)
    return Treatment(home, home.guest("gateway"), "run")


def series(ended: str, through: float | None = None) -> Series:
    """One run of the direct path, or five of each."""
    at = {"began": "2026-11-22T00:00:00+00:00", "seconds": 1}
    speeds = {"direct": 94.0} if through is None else {"direct": 94.0, "through": through}
    pairs = [(path, speed + n / 10) for n in range(1 if through is None else 5) for path, speed in speeds.items()]
    runs = [Attempt.model_validate({"number": n, "path": p, "throughput": v, **at}) for n, (p, v) in enumerate(pairs, 1)]
    return Series.model_validate(
        {"through": "through", "direct": "direct", "unit": "x", "seed": 1, "runs": tuple(runs), "ended": ended}
    )


def test_before_any_diagnosis_nothing_is_in_place_and_nothing_is_proved(home: Home) -> None:
    treatment = Treatment(home, home.guest("gateway"), "run")
    checks = [treatment.diagnosed(), treatment.remedied(), treatment.measured_again()]
    assert not any(checks)
    assert all(c.later for c in checks)


def test_a_guest_in_order_needs_no_remedy_and_no_second_measurement(home: Home) -> None:
    treatment = treated(home, "healthy.unknown")
    assert treatment.remedied()
    assert treatment.measured_again()
    assert all(treatment.proofs())  # nothing was measured before either, and nothing has to be
    states = [c.unseen for c in treatment.proofs()]
    assert states == ["", "not needed", "not needed", "not needed", "not measured"], "and none of it is called ok"


def test_a_guest_in_order_is_told_to_have_nothing_to_cure_and_what_was_compared(home: Home) -> None:
    treatment = treated(home, "healthy.unknown")
    found = Cure.load(home.folder("gateway"))
    fast = found.model_copy(update={"before": Measured(since="", series=series("decided", 94), folder="run")})
    told = [one.words for one in (*exhibits.diagnosis(fast), *exhibits.counters(treatment.counts()), *exhibits.cured(fast))]
    assert told[0].startswith("nothing to cure; no cause found: none of 15 rules is likely by the counters before and after")
    assert told[1].startswith("none of these counts rose: packets too long to pass on; ")
    assert told[2].startswith(
        "no comparison: nothing was changed here. 80-netperf has measured it: recovered: through / direct is 1.00"
    )
    slow = found.model_copy(update={"before": Measured(since="", series=series("decided", 50), folder="run")})
    for one in (found, slow):
        assert exhibits.diagnosis(one)[0].words.startswith("no cause found: "), "nobody has measured that it is fast"


def test_without_measurement_80_and_85_find_nothing_ok_and_nothing_done(home: Home) -> None:
    idp = home.guest("idp")
    netperf, treatment = Netperf(Netperf.open({"guest": "idp", "home": str(home.root)})), Treatment(home, idp, "run")
    checks = [
        *(*netperf.checks(), netperf.segments_measured(), netperf.round_trips_measured(), *netperf.proofs()),
        *(*treatment.checks(), treatment.diagnosed(), treatment.remedied(), treatment.in_effect(), treatment.measured_again()),
        *treatment.proofs(),
    ]
    assert {(bool(c), c.unseen) for c in checks} == {(True, "not measured")}


def test_what_nobody_heard_before_the_move_and_ways_that_nobody_named_are_not_already_so(home: Home) -> None:
    gateway = home.guest("gateway")
    wanted = Measurement.model_validate_json(
        re.sub(r"netns:[^\"]+", "here", gateway.measurement.model_copy(update={"segments": {}}).model_dump_json())  # type: ignore[union-attr]
    )
    InService(guest="gateway", moid="vm-1", since="2026-11-22T00:00:00+00:00", nics=()).save(home.folder("gateway"))
    run = Netperf.open({"guest": "gateway", "home": str(home.root)})
    netperf = Netperf(replace(run, guest=gateway.model_copy(update={"measurement": wanted})))
    assert netperf.neighbours_remembered().unseen == "not measured"
    assert netperf.segments_measured().unseen == "not needed"


def test_the_module_parameter_of_an_old_guest_works_only_after_a_restart(home: Home) -> None:
    plan = treated(home, "el5-tools.lro-certain").plan()
    assert plan.restart
    assert [f.way for f in plan.files] == ["modprobe"]


def test_a_cause_that_nothing_in_the_guest_cures_is_no_remedy_in_place(home: Home) -> None:
    treatment = treated(home, "el5-without-ethtool.lro-likely")
    assert (treatment.plan().switches, treatment.plan().files) == ((), ())
    check = treatment.remedied()
    assert not check
    assert "Net.Vmxnet3SwLRO" in check.found
    assert not treatment.measured_again()


@pytest.mark.parametrize(("ended", "proved"), [("decided", True), ("20 runs did not decide", True), ("the time was up", False)])
def test_a_series_that_could_not_end_proves_nothing(home: Home, ended: str, proved: bool) -> None:
    treatment = treated(home, "el6-flag-on.lro-certain")
    found = Cure.load(home.folder("gateway"))
    after = Measured(since="", series=series(ended), folder="run")
    found.model_copy(update={"after": after}).save(home.folder("gateway"))
    assert bool(treatment.measured_again()) is proved


def test_a_diagnosis_of_the_guest_as_it_served_before_is_none_of_the_present_one(home: Home) -> None:
    treated(home, "el6-flag-on.lro-certain")
    moved = Treatment(home, home.guest("gateway"), "run", since="2026-11-22T00:00:00+00:00")
    assert not moved.diagnosed()
    assert moved.plan().switches == ()


def test_measuring_anew_never_takes_away_what_was_measured_under_xen(home: Home) -> None:
    both = {
        when: Measured(since=since, series=series("decided"), folder="")
        for when, since in (("before the move", ""), ("since the move", "2026-11-22T00:00:00+00:00"))
    }
    Throughput.model_validate({"measured": both}).save(home.folder("gateway"))
    Bench(home, home.guest("gateway"), "run", "2026-11-22T00:00:00+00:00").forget()
    assert list(Throughput.load(home.folder("gateway")).measured) == ["before the move"]
