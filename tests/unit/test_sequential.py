"""When a series of runs may stop, what it then proves, and that no run is lost on the way."""

import itertools
import math
import runpy
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from hikkoshi.errors import BadInput, Problem, StepFailed, ToolFailed
from hikkoshi.network.compare import measurements, sequential, statistics
from hikkoshi.network.compare.sequential import LOOKS, Attempt, Look, Series, judge, measure
from hikkoshi.network.compare.statistics import Estimate

PROJECT = Path(__file__).parents[2]
TABLE = measurements.read(PROJECT / "params" / "measurements" / "netperf-table1.csv")
SLOW, FAST = (measurements.runs(TABLE, path).tolist() for path in ("VLAN502", "VLAN302"))
BENCH = PROJECT / "tests" / "bench" / "verdict.py"
RATES = PROJECT / "lib" / "hikkoshi" / "network" / "compare" / "verdict-error-rates.csv"

UNHURRIED = settings(deadline=None)  # a busy machine is no failure
# between half as fast and a little faster than direct, so that every look is reached
speeds = st.lists(st.integers(4000, 12_000).map(lambda n: n / 100), min_size=20, max_size=20)
factors = st.floats(0.3, 1.3)


def series(seed=7):
    return Series(through="VLAN502", direct="VLAN302", unit="Mbit/s", seed=seed)


def played(through, direct):
    """One run after the other of two recorded paths: a float, or an error to be raised."""
    left = {"VLAN502": iter(through), "VLAN302": iter(direct)}

    def one_run(path):
        result = next(left[path])
        if isinstance(result, BaseException):
            raise result
        return result

    return one_run


def paths(measured):
    return [run.path for run in measured.runs]


NO_NETSERVER = ToolFailed(Problem(code="a-code", what="netperf failed", found="no netserver listens"))


# --- the rule


def test_there_is_nothing_to_judge_before_five_runs_of_either_path():
    assert judge([1] * 4, [90] * 20) is None
    assert judge([1] * 20, [90] * 4) is None
    assert judge([], []) is None


def test_a_collapse_is_named_at_the_first_look():
    found = judge(SLOW[:5], FAST[:5])
    assert (found.runs, found.verdict, found.final) == (5, "regressed", True)
    assert found.ratio.high < 0.1


def test_every_look_is_an_exact_interval_at_a_quarter_of_the_error():
    through = [0.9 * x for x in FAST * 2]
    found = sequential.looks(through, FAST * 2)
    assert [look.runs for look in found] == [5, 8, 12, 20]
    for look in found:
        assert look.ratio == statistics.ratio(through[: look.runs], (FAST * 2)[: look.runs], 0.9875)
        assert look.ratio.confidence >= 0.9875


def test_five_runs_are_the_fewest_of_which_a_look_is_possible():
    assert statistics.ratio(SLOW[:5], FAST[:5], sequential.CONFIDENCE).confidence == pytest.approx(1 - 2 / 252)
    with pytest.raises(BadInput, match="4 and 4 runs"):
        statistics.ratio(SLOW[:4], FAST[:4], sequential.CONFIDENCE)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.5, 0.89, "regressed"), (0.9, 1.2, "recovered"), (0.89, 1.2, "inconclusive"), (0.5, 0.9, "inconclusive")],
)
def test_a_look_is_final_if_it_has_a_verdict_or_is_the_last(low, high, verdict):
    looks = [Look(runs, Estimate((low + high) / 2, low, high, 0.99)) for runs in LOOKS]
    assert {look.verdict for look in looks} == {verdict}
    assert [look.final for look in looks] == [verdict != "inconclusive"] * 3 + [True]


def test_a_ratio_of_exactly_the_border_is_recovered():
    assert judge([90.0] * 5, [100.0] * 5).verdict == "recovered"  # log 90 - log 100 comes back as 0.8999999999999999
    assert judge([89.99] * 5, [100.0] * 5).verdict == "regressed"


def test_one_wild_run_among_the_slow_ones_changes_nothing():
    assert SLOW[0] == 5.42
    assert judge(SLOW[:5], FAST[:5]).verdict == judge(SLOW[1:6], FAST[:5]).verdict == "regressed"


@UNHURRIED
@given(speeds, speeds, factors, st.randoms(use_true_random=False))
def test_the_order_of_runs_within_a_look_does_not_matter(through, direct, factor, random):
    through = [factor * x for x in through]

    def shuffled(runs):
        parts = [runs[a:b] for a, b in itertools.pairwise((0, *LOOKS))]
        return [run for part in parts for run in random.sample(part, len(part))]

    assert judge(shuffled(through), shuffled(direct)) == judge(through, direct)


@UNHURRIED
@given(speeds, speeds, factors, st.floats(0.001, 1000))
def test_the_unit_does_not_matter(through, direct, factor, unit):
    through = [factor * x for x in through]
    plain, scaled = judge(through, direct), judge([unit * x for x in through], [unit * x for x in direct])
    assert (scaled.runs, scaled.verdict) == (plain.runs, plain.verdict)
    assert scaled.ratio.value == pytest.approx(plain.ratio.value)


@UNHURRIED
@given(speeds, speeds, factors)
def test_a_verdict_is_what_its_interval_says(through, direct, factor):
    found = judge([factor * x for x in through], direct)
    assume(min(abs(found.ratio.low - 0.9), abs(found.ratio.high - 0.9)) > 1e-9)  # rounding has a test of its own
    assert (found.verdict == "regressed") == (found.ratio.high < 0.9)
    assert (found.verdict == "recovered") == (found.ratio.low >= 0.9)
    assert found.final


@UNHURRIED
@given(speeds, speeds, factors, st.floats(0, 1))
def test_a_slower_path_is_never_judged_better(through, direct, factor, slower):
    grade = ["regressed", "inconclusive", "recovered"].index
    path = [factor * x for x in through]
    assert grade(judge([slower * x for x in path], direct).verdict) <= grade(judge(path, direct).verdict)


@UNHURRIED
@given(speeds, speeds, factors, st.integers(0, 20))
def test_more_runs_never_take_back_a_look(through, direct, factor, so_far):
    through = [factor * x for x in through]
    early, all_of_them = sequential.looks(through[:so_far], direct[:so_far]), sequential.looks(through, direct)
    assert early == all_of_them[: len(early)]
    assert not any(look.final for look in all_of_them[:-1])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_run_that_is_no_number_is_refused(bad, side):
    runs = [SLOW[:5], FAST[:5]]
    runs[side] = [*runs[side][:4], bad]
    with pytest.raises(BadInput, match="no runs to judge"):
        judge(*runs)


@pytest.mark.parametrize(("through", "direct"), [([-1, 1, 1, 1, 1], FAST[:5]), (SLOW[:5], [-1, 1, 1, 1, 1])])
def test_a_run_of_less_than_nothing_is_refused(through, direct):
    with pytest.raises(BadInput, match="a ratio cannot be formed"):
        judge(through, direct)


def test_a_direct_run_of_0_is_refused():
    with pytest.raises(BadInput, match="compare with a path that carries data in every run"):
        judge(SLOW[:5], [0, *FAST[:4]])


# --- a series


def test_a_collapse_takes_ten_runs():
    found = measure(played(SLOW, FAST), series())
    assert (found.verdict, found.ended, len(found.runs)) == ("regressed", "decided", 10)
    assert found.of("VLAN502") == SLOW[:5]
    assert found.of("VLAN302") == FAST[:5]


def test_a_path_as_fast_as_the_direct_one_has_recovered():
    found = measure(played(FAST[::-1], FAST), series())
    assert (found.verdict, found.ended) == ("recovered", "decided")


def test_a_series_that_nothing_decides_ends_after_twenty_runs_each():
    on_the_border = [0.9 * x for x in (FAST + FAST)]
    found = measure(played(on_the_border, FAST + FAST), series())
    assert (found.verdict, found.ended) == ("inconclusive", "20 runs did not decide")
    assert [look.runs for look in found.looks] == list(LOOKS)
    assert len(found.of("VLAN502")) == len(found.of("VLAN302")) == 20


def test_the_paths_take_turns():
    found = measure(played([0.9 * x for x in FAST * 2], FAST * 2), series())
    pairs = [set(pair) for pair in zip(paths(found)[::2], paths(found)[1::2], strict=True)]
    assert pairs == [{"VLAN302", "VLAN502"}] * 20


def test_which_path_begins_a_pair_is_drawn_with_a_seed_that_is_kept():
    def order(seed):
        return paths(measure(played([0.9 * x for x in FAST * 2], FAST * 2), series(seed)))

    assert order(7) == order(7) != order(8)
    assert 5 <= order(7)[::2].count("VLAN302") <= 15
    assert measure(played(SLOW, FAST), series(7)).seed == 7


def test_a_new_series_draws_its_own_seed():
    seeds = {Series(through="a", direct="b", unit="Mbit/s").seed for _ in range(20)}
    assert len(seeds) > 10


def test_taking_turns_keeps_a_drifting_load_out_of_the_verdict():
    rng = np.random.default_rng(1)
    in_turn, one_after_the_other = [], []
    for n in range(40):
        load = iter(np.clip(0.9 + np.cumsum(rng.normal(0, 0.03, 40)), 0.5, 1))
        truth = {"VLAN502": 0.85 * 90, "VLAN302": 90.0}  # 15 % slower, on machines that are now slow, now quick
        found = measure(lambda path, t=truth, y=load: t[path] * next(y) * rng.uniform(0.98, 1), series(seed=n))
        in_turn.append(found.verdict)
        load = np.clip(0.9 + np.cumsum(rng.normal(0, 0.03, 40)), 0.5, 1) * rng.uniform(0.98, 1, 40) * 90
        one_after_the_other.append(judge(0.85 * load[:20], load[20:]).verdict)
    assert in_turn.count("recovered") == 0
    assert one_after_the_other.count("recovered") >= 4


def test_runs_are_kept_with_when_and_how_long():
    found = measure(played(SLOW, FAST), series())
    assert [run.number for run in found.runs] == list(range(1, 11))
    assert all(run.began.endswith("+00:00") for run in found.runs)
    assert [run.began for run in found.runs] == sorted(run.began for run in found.runs)
    assert all(0 <= run.seconds < 60 for run in found.runs)


def test_a_run_in_which_nothing_came_through_is_0_and_counts():
    found = measure(played([0, 0.4, 0, 0.5, 0.6], FAST), series())
    assert found.of("VLAN502") == [0, 0.4, 0, 0.5, 0.6]
    assert (found.verdict, found.look.ratio.low) == ("regressed", 0)


def test_a_path_through_which_nothing_comes_at_all_has_regressed():
    found = measure(played([0] * 5, FAST), series())
    assert (found.verdict, found.look.ratio.high, len(found.runs)) == ("regressed", 0, 10)


def test_a_direct_run_that_carries_nothing_ends_the_series_at_once():
    found = measure(played(SLOW, [91, 0, 91, 91, 91]), series())
    assert (found.verdict, found.ended) == ("inconclusive", "a direct run carried nothing")
    assert found.runs[-1].throughput == 0
    assert found.runs[-1].path == "VLAN302"


def test_a_run_that_could_not_be_made_is_kept_as_such_and_tried_again():
    found = measure(played([SLOW[0], NO_NETSERVER, *SLOW[1:]], FAST), series())
    assert (found.verdict, len(found.runs)) == ("regressed", 11)
    (failed,) = found.failures
    assert (failed.path, failed.throughput) == ("VLAN502", None)
    assert "no netserver listens" in failed.failure
    assert found.of("VLAN502") == SLOW[:5]
    assert failed.number not in set(found.table()["run"])


def test_too_many_runs_that_cannot_be_made_end_the_series():
    found = measure(played([*SLOW[:2], *[NO_NETSERVER] * 99], FAST), series())
    assert (found.verdict, found.ended) == ("inconclusive", "too many runs could not be made")
    assert len(found.failures) == sequential.FAILURES


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_a_tool_that_tells_nonsense_has_not_made_a_run(nonsense):
    found = measure(played([nonsense, *SLOW], FAST), series())
    (failed,) = found.failures
    assert failed.throughput is None
    assert f"{nonsense:g}" in failed.failure
    assert found.verdict == "regressed"


@pytest.mark.parametrize("error", [StepFailed(Problem(code="a-code", what="SIGTERM")), ZeroDivisionError()])
def test_any_other_error_goes_to_the_caller_and_what_was_measured_is_kept(error):
    kept = []
    with pytest.raises(type(error)):
        measure(played([*SLOW[:2], error], FAST), series(), keep=kept.append)
    assert kept[-1].of("VLAN502") == SLOW[:2]


def test_the_series_is_kept_after_every_run():
    kept = []
    found = measure(played(SLOW, FAST), series(), keep=kept.append)
    assert [len(s.runs) for s in kept] == list(range(11))
    assert [s.ended for s in kept] == ["not yet"] * 10 + ["decided"]
    assert kept[-1] == found


def test_ctrl_c_ends_the_series_with_what_it_has():
    def one_run(path):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt  # as Python does, unless it was started where nobody can press Ctrl-C
        return 90.0

    left = 4
    found = measure(one_run, series())
    assert (found.ended, found.verdict) == ("interrupted", "inconclusive")
    assert [run.throughput for run in found.runs] == [90.0, 90.0, 90.0, None]
    assert found.runs[-1].failure == "interrupted by Ctrl-C"


@pytest.mark.parametrize("cut", range(11))
def test_a_series_goes_on_where_it_was_left(cut):
    kept = []
    done = measure(played(SLOW, FAST), series(), keep=kept.append)
    so_far = Series.model_validate_json(kept[cut].model_dump_json())
    rest = played(SLOW[len(so_far.of("VLAN502")) :], FAST[len(so_far.of("VLAN302")) :])
    again = measure(rest, so_far)
    assert [(r.number, r.path, r.throughput) for r in again.runs] == [(r.number, r.path, r.throughput) for r in done.runs]
    assert (again.verdict, again.ended) == (done.verdict, done.ended)
    assert again.runs[:cut] == done.runs[:cut]


def test_a_series_that_has_decided_is_not_measured_again():
    done = measure(played(SLOW, FAST), series())
    assert measure(played([], []), done) == done


def test_runs_that_failed_in_an_earlier_go_leave_the_next_one_its_tries():
    stuck = measure(played([NO_NETSERVER] * 99, FAST), series())
    assert stuck.ended == "too many runs could not be made"
    assert measure(played(SLOW, FAST[len(stuck.of("VLAN302")) :]), stuck).verdict == "regressed"


def test_when_the_time_is_up_the_verdict_is_inconclusive():
    def one_run(path):
        time.sleep(0.02)
        return {"VLAN502": 1.0, "VLAN302": 90.0}[path]

    found = measure(one_run, series(), seconds=0.1)
    assert (found.ended, found.verdict, found.look) == ("the time was up", "inconclusive", None)
    assert len(found.runs) <= 5


def test_no_run_is_begun_that_would_take_longer_than_there_is_time():
    slow = Attempt(number=1, path="VLAN302", began="2026-01-01T00:00:00+00:00", seconds=12, throughput=91)
    begun = series().model_copy(update={"runs": (slow,)})
    assert measure(played([], []), begun, seconds=11).ended == "the time was up"
    assert measure(played(SLOW, FAST), begun, seconds=60).ended == "decided"


def test_progress_tells_how_far_the_next_look_is():
    told = []
    measure(played(SLOW, FAST), series(), progress=lambda *state: told.append(state))
    assert [(done, total) for done, total, _ in told] == [(n, 10) for n in range(11)]
    assert "next look after 5 runs of each path" in told[0][2]
    assert f"VLAN502: {SLOW[0]:g} Mbit/s" in " ".join(words for _, _, words in told)
    assert told[-1][2].startswith("regressed: ")


def test_the_words_say_the_verdict_and_what_it_stands_on():
    done = measure(played([*SLOW[:2], NO_NETSERVER, *SLOW[2:]], FAST), series())
    assert done.words() == "regressed: VLAN502 / VLAN302 is 0.0059 [0.0044, 0.069] after 5 runs each; 1 not made"
    assert series().words() == "inconclusive: 0 and 0 runs are too few for a look"
    late = measure(played([], []), series(), seconds=-1)
    assert late.words() == "inconclusive: 0 and 0 runs are too few for a look; the time was up"


def test_a_series_that_ran_out_of_time_after_a_look_says_both():
    border = measure(played([0.9 * x for x in FAST * 2], FAST * 2), series())
    cut = border.model_copy(update={"runs": border.runs[:13]})
    found = measure(played([], []), cut, seconds=-1)
    assert found.words().endswith("after 5 runs each; the time was up (6 and 7 runs)") or found.words().endswith(
        "after 5 runs each; the time was up (7 and 6 runs)"
    )


def test_there_is_a_row_for_every_look():
    found = measure(played([0.9 * x for x in FAST * 2], FAST * 2), series())
    rows = found.rows()
    assert [row["runs per path"] for row in rows] == list(LOOKS)
    assert [row["verdict"] for row in rows] == ["go on"] * 3 + ["inconclusive"]


def test_a_series_is_a_table_of_measurements_like_any_other(tmp_path):
    found = measure(played(SLOW, FAST), series())
    file = tmp_path / "runs.csv"
    found.table().to_csv(file, index=False)
    again = measurements.read(file)
    assert measurements.runs(again, "VLAN502").tolist() == SLOW[:5]
    pd.testing.assert_frame_equal(again, found.table(), check_dtype=False)


def test_a_path_cannot_be_compared_with_itself():
    with pytest.raises(BadInput, match="two different names"):
        Series(through="VLAN302", direct="VLAN302", unit="Mbit/s")


def test_a_run_of_a_third_path_has_no_place_in_a_series():
    stranger = Attempt(number=1, path="VLAN303", began="2026-01-01T00:00:00+00:00", seconds=1, throughput=91)
    with pytest.raises(BadInput, match="VLAN303"):
        Series(through="VLAN502", direct="VLAN302", unit="Mbit/s", runs=(stranger,))


# --- the error rates


@pytest.fixture(scope="module")
def shipped():
    return pd.read_csv(RATES)


def simulated(monkeypatch, *options):
    """The exit status of the simulation."""
    monkeypatch.setattr("sys.argv", [str(BENCH), *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH), run_name="__main__")
    return ended.value.code


def test_the_shipped_rates_are_of_1500_series_or_more_per_ratio_and_at_most_2_percent_wrong(shipped):
    assert list(shipped.columns) == [
        "true ratio",
        "series",
        "regressed",
        "recovered",
        "inconclusive",
        "runs per path",
        "wrong",
        "wrong at most",
    ]
    assert shipped["true ratio"].tolist() == [0.006, 0.5, 0.8, 0.85, 0.88, 0.9, 0.92, 0.95, 1]
    assert (shipped["series"] >= 1500).all()
    assert (shipped["wrong"] <= shipped["wrong at most"]).all()
    assert (shipped["wrong at most"] <= 0.02).all()
    total = shipped[["regressed", "recovered", "inconclusive"]].sum(axis=1)
    assert total.tolist() == pytest.approx([1] * 9, abs=1e-4)
    wrong = shipped["regressed"].where(shipped["true ratio"] >= 0.9, shipped["recovered"])
    assert shipped["wrong"].tolist() == wrong.tolist()


def test_the_shipped_bounds_are_those_of_an_exact_binomial_test(shipped):
    for row in shipped.itertuples(index=False):
        wrong, series, bound = round(row.wrong * row.series), row.series, row[-1]
        assert stats.binomtest(wrong, series, bound + 1e-4, alternative="less").pvalue < 0.05
        assert stats.binomtest(wrong, series, bound - 1e-4, alternative="less").pvalue > 0.05


def test_a_simulation_with_another_seed_agrees_with_the_shipped_rates(shipped, monkeypatch, tmp_path, capsys):
    file = tmp_path / "rates.csv"
    status = simulated(monkeypatch, "--series", "600", "--seed", "2", "--csv", str(file))
    found = pd.read_csv(file)
    assert list(found.columns) == list(shipped.columns)
    assert status == int((found["wrong"] > 0.02).any())
    assert "most wrong verdicts: " in capsys.readouterr().out
    for here, there in zip(found.to_dict("records"), shipped.to_dict("records"), strict=True):
        for verdict in ("regressed", "recovered", "inconclusive"):
            counts = [(round(r[verdict] * r["series"]), round((1 - r[verdict]) * r["series"])) for r in (here, there)]
            assert stats.fisher_exact(counts).pvalue > 0.001, (here["true ratio"], verdict, counts)
        assert here["runs per path"] == pytest.approx(there["runs per path"], abs=1)


def test_the_simulation_fails_where_a_rule_is_wrong_too_often(monkeypatch, capsys):
    monkeypatch.setattr(sequential, "CONFIDENCE", 0.80)
    assert simulated(monkeypatch, "--series", "200") == 1
    assert "at the true ratio 0.9" in capsys.readouterr().out
