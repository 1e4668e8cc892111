"""What is concluded from a handful of runs, held against scipy and against enumeration."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from hikkoshi.errors import BadInput
from hikkoshi.network.compare import measurements, statistics
from hikkoshi.network.compare.statistics import Estimate

TABLE = measurements.read(Path(__file__).parents[2] / "params" / "measurements" / "netperf-table1.csv")
GATEWAY, DIRECT = measurements.runs(TABLE, "VLAN502"), measurements.runs(TABLE, "VLAN302")

UNHURRIED = settings(deadline=None)  # a busy machine is no failure
# throughput has three or four digits
throughputs = st.lists(st.integers(1, 10_000).map(lambda n: n / 100), min_size=5, max_size=12)
confidences = st.floats(0.5, 0.98)


def shown(estimate, digits):
    return tuple(round(x, digits) for x in (estimate.value, estimate.low, estimate.high))


# --- the published table


def test_the_medians_of_the_published_table():
    gateway, direct = statistics.median(GATEWAY), statistics.median(DIRECT)
    assert shown(gateway, 3) == (0.495, 0.41, 0.94)
    assert shown(direct, 3) == (91.275, 87.76, 92.11)
    assert gateway.confidence == direct.confidence == pytest.approx(0.979, abs=0.0005)


def test_the_shift_of_the_published_table():
    assert shown(statistics.shift(DIRECT, GATEWAY), 2) == (90.72, 87.33, 91.52)


def test_the_ratio_of_the_published_table():
    assert shown(statistics.ratio(DIRECT, GATEWAY), 0) == (173, 114, 214)
    assert shown(statistics.ratio(GATEWAY, DIRECT), 4) == (0.0058, 0.0047, 0.0088)


def test_the_published_table_is_as_unlikely_by_chance_as_ten_against_ten_can_be():
    found = statistics.compare(GATEWAY, DIRECT)
    assert found.p == pytest.approx(2 / math.comb(20, 10))
    assert found.p == pytest.approx(1.08e-5, rel=0.005)
    assert (found.delta, found.verdict) == (1.0, "regressed")


def test_the_bootstrap_of_the_medians_tells_the_same_ratio():
    def of_medians(a, b, axis):
        return np.median(a, axis=axis) / np.median(b, axis=axis)

    boot = stats.bootstrap((DIRECT, GATEWAY), of_medians, method="percentile", paired=False, rng=1).confidence_interval
    assert (boot.low, boot.high) == pytest.approx((114, 216), abs=3)
    exact = statistics.ratio(DIRECT, GATEWAY)
    assert (exact.low, exact.high) == pytest.approx((boot.low, boot.high), rel=0.05)


def test_the_first_run_stands_apart_and_changes_no_conclusion():
    z = statistics.modified_z(GATEWAY)
    assert z[0] == pytest.approx(35, abs=0.1)
    assert np.abs(z[1:]).max() < 3.5
    without = statistics.compare(GATEWAY.iloc[1:], DIRECT)
    assert without.verdict == "regressed"
    assert shown(without.ratio.inverse, 0) == (198, 130, 214)


def test_the_summary_has_a_row_per_path_in_the_tables_order():
    rows = statistics.summary(TABLE).round(3).to_dict("records")
    assert [(r["path"], r["runs"], r["mean"], r["sd"], r["median"]) for r in rows] == [
        ("VLAN502", 10, 1.037, 1.551, 0.495),
        ("VLAN302", 10, 89.906, 4.365, 91.275),
    ]


@pytest.fixture(scope="module")
def rank_test():
    """p of the rank-sum test of ten against ten, by all 184 756 ways to deal twenty runs out; ties share their ranks."""
    deals = np.zeros((math.comb(20, 10), 20), dtype=np.float32)
    for deal, ten in zip(deals, itertools.combinations(range(20), 10), strict=True):
        deal[list(ten)] = 1  # the first has the first ten, as measured

    def p(a, b):
        apart = np.abs(deals @ stats.rankdata([*a, *b]).astype(np.float32) - 105)  # 10 x 21 / 2, were they alike
        return float(np.mean(apart >= apart[0]))

    return p


def test_trying_every_deal_gives_the_p_of_the_published_table(rank_test):
    assert rank_test(DIRECT, GATEWAY) == 2 / 184_756
    assert f"{rank_test(DIRECT, GATEWAY):.3g}" == "1.08e-05"


def test_trying_every_deal_for_every_ratio_gives_the_interval_of_the_published_table(rank_test):
    quotients = np.unique(np.divide.outer(DIRECT.to_numpy(), GATEWAY.to_numpy()))  # only there the ranks change
    between = np.sqrt(quotients[1:] * quotients[:-1])
    p = np.array([rank_test(DIRECT, GATEWAY * ratio) for ratio in between])
    kept = p > 0.05
    low, high = quotients[:-1][kept].min(), quotients[1:][kept].max()
    assert (round(low), round(high)) == (114, 214)
    assert kept[np.argmax(kept) : len(kept) - np.argmax(kept[::-1])].all()
    found = statistics.ratio(DIRECT, GATEWAY)
    assert (found.low, found.high) == pytest.approx((low, high))
    alike = p == p.max()  # the ratios at which the paths would differ least
    assert quotients[:-1][alike].min() <= 173.15 <= quotients[1:][alike].max()
    assert quotients[:-1][alike].min() <= found.value <= quotients[1:][alike].max()


# --- intervals


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (5, 5), (7, 4)])
def test_the_chances_of_the_rank_sum_are_those_of_counting_every_deal(m, n):
    counted = np.zeros(m * n + 1)
    for ranks in itertools.combinations(range(m + n), m):
        counted[sum(ranks) - m * (m - 1) // 2] += 1
    assert statistics._rank_sum_chances(m, n) == pytest.approx(counted / math.comb(m + n, m), abs=1e-15)


@UNHURRIED
@given(throughputs, throughputs)
def test_the_interval_of_the_shift_is_what_the_exact_test_does_not_reject(a, b):
    found = statistics.shift(a, b)

    def p(shift):
        return stats.mannwhitneyu(np.array(a) - shift, b, method="exact").pvalue

    gaps = np.unique(np.round(np.subtract.outer(a, b), 6))  # tests change only here, so look just beside them
    assume(len(gaps) == len(a) * len(b))  # with ties scipy's exact test is not exact
    assert p(found.low - 1e-4) <= 0.05 < p(found.low + 1e-4)
    assert p(found.high + 1e-4) <= 0.05 < p(found.high - 1e-4)


@UNHURRIED
@given(throughputs, throughputs, confidences)
def test_the_interval_holds_the_estimate(a, b, confidence):
    for found in (statistics.shift(a, b, confidence), statistics.ratio(a, b, confidence)):
        assert found.low <= found.value <= found.high
        assert found.confidence >= confidence * (1 - 1e-9)


@UNHURRIED
@given(st.lists(st.floats(0, 1e6), min_size=7, max_size=30), confidences)
def test_the_interval_of_the_median_holds_it(values, confidence):
    found = statistics.median(values, confidence)
    assert found.low <= found.value <= found.high
    assert {found.low, found.high} <= set(values)


@UNHURRIED
@given(throughputs, throughputs, st.floats(0.01, 1000))
def test_a_ratio_does_not_depend_on_the_unit(a, b, unit):
    plain, scaled = statistics.ratio(a, b), statistics.ratio(np.array(a) * unit, np.array(b) * unit)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((plain.value, plain.low, plain.high))
    assert scaled.confidence == plain.confidence


@UNHURRIED
@given(throughputs, throughputs)
def test_the_inverse_is_the_ratio_the_other_way_round(a, b):
    one, other = statistics.ratio(a, b).inverse, statistics.ratio(b, a)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@UNHURRIED
@given(throughputs, throughputs, confidences, confidences)
def test_more_confidence_never_makes_an_interval_narrower(a, b, one, other):
    less, more = sorted((one, other))
    for of in (statistics.shift, statistics.ratio):
        narrow, wide = of(a, b, less), of(a, b, more)
        assert wide.low <= narrow.low <= narrow.high <= wide.high
    many = a + b
    narrow, wide = statistics.median(many, less), statistics.median(many, more)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@UNHURRIED
@given(throughputs, throughputs)
def test_a_level_that_is_exactly_reached_is_reached(a, b):
    for of in (lambda c: statistics.shift(a, b, c), lambda c: statistics.median(a + b, c)):
        found = of(0.9)
        assert of(found.confidence) == found


def test_the_interval_of_a_median_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for sample in rng.exponential(size=(4000, 10)):
        found = statistics.median(sample)
        hits += found.low <= math.log(2) <= found.high
    assert hits / 4000 == pytest.approx(0.979, abs=0.01)  # four standard errors


def test_five_runs_are_too_few_for_the_median_and_six_are_enough():
    with pytest.raises(BadInput, match=r"5 runs: 93\.75% at most"):
        statistics.median([1, 2, 3, 4, 5])
    assert statistics.median([1, 2, 3, 4, 5, 6]).confidence == pytest.approx(1 - 2 / 2**6)
    assert measurements.ENOUGH == 6


def test_three_against_three_are_too_few_for_a_shift():
    with pytest.raises(BadInput, match="3 and 3 runs"):
        statistics.shift([1, 2, 3], [4, 5, 6])


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(BadInput, match="no probability"):
        statistics.shift(GATEWAY, DIRECT, confidence)


@pytest.mark.parametrize("values", [[], [1, math.nan], [math.inf], [[1, 2], [3, 4]]])
def test_what_are_no_runs_is_refused(values):
    with pytest.raises(BadInput, match="no runs to judge"):
        statistics.modified_z(values)


def test_a_path_that_carries_nothing_has_the_ratio_0():
    found = statistics.compare([0] * 8, DIRECT)
    assert (found.ratio.value, found.ratio.high, found.verdict) == (0, 0, "regressed")
    assert found.ratio.inverse.value == math.inf


@pytest.mark.parametrize(("top", "bottom"), [([1] * 8, [0, *[1] * 7]), ([-1, *[1] * 7], [1] * 8)])
def test_a_ratio_to_nothing_or_of_less_than_nothing_is_refused(top, bottom):
    with pytest.raises(BadInput, match="a ratio cannot be formed"):
        statistics.ratio(top, bottom)


def test_an_estimate_formats_its_three_numbers_alike():
    assert f"{Estimate(173.15, 113.94, 214.0, 0.957):.3g}" == "173 [114, 214]"
    assert str(Estimate(90.72, 87.33, 91.52, 0.957)) == "90.72 [87.33, 91.52]"


def test_a_ratio_reads_with_three_decimals_and_a_small_one_with_two_digits():
    assert Estimate(0.9668, 0.9312, 1.0251, 0.99).as_share == "0.967 [0.931, 1.025]"
    assert Estimate(0.00577, 0.00467, 0.10422, 0.99).as_share == "0.0058 [0.0047, 0.104]"
    assert Estimate(0, 0, 0, 0.99).as_share == "0 [0, 0]"


# --- the test and the size of the effect


@UNHURRIED
@given(throughputs, throughputs)
def test_cliffs_delta_is_what_counting_pairs_gives(a, b):
    greater = sum(x > y for x in a for y in b)
    smaller = sum(x < y for x in a for y in b)
    assume(len({*a, *b}) > 1)  # scipy warns where all are equal
    assert statistics.cliffs_delta(a, b) == pytest.approx((greater - smaller) / (len(a) * len(b)))
    assert statistics.cliffs_delta(b, a) == pytest.approx(-statistics.cliffs_delta(a, b))


def test_the_permutation_p_is_that_of_the_exact_test_where_there_are_no_ties():
    a, b = [3.1, 4.5, 2.2, 9.0, 5.5, 7.1], [4.1, 8.5, 10.2, 9.9, 11.5, 7.7]
    assert statistics.permutation_p(a, b) == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)


def test_the_permutation_p_counts_ties_as_ties():
    # of the 6 ways to deal out 1, 2, 2, 3 two and two, the sums 3 3 4 4 5 5: no deal is rarer than one in three
    assert statistics.permutation_p([1, 2], [2, 3]) == pytest.approx(4 / 6)


def test_paths_that_are_alike_do_not_differ():
    found = statistics.compare(DIRECT, DIRECT.iloc[::-1])
    assert (found.ratio.value, found.delta, found.p) == (1, 0, 1)


def test_the_table_of_a_comparison_tells_the_published_figures():
    answers = statistics.compare(GATEWAY, DIRECT).table()["answer"].tolist()
    assert answers == ["90.72 [87.33, 91.52]", "173 [114, 214]", "0.0058 [0.0047, 0.0088]", "1.08e-05", "1", "regressed"]


def test_one_wild_run_spoils_the_means_and_not_the_ranks():
    averages = statistics.averages(GATEWAY, DIRECT)
    assert averages == {"by ranks": "173 [114, 214]", "by medians": "184", "by means": "86.7"}
    assert statistics.averages(GATEWAY.iloc[1:], DIRECT)["by means"] == "163"


# --- verdict, outliers, a mean alone


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.005, 0.009, "regressed"),
        (0.5, 0.8999, "regressed"),
        (0.5, 0.90, "inconclusive"),
        (0.8999, 1.1, "inconclusive"),
        (0.90, 1.1, "recovered"),
        (1.2, 1.3, "recovered"),
    ],
)
def test_the_verdict_follows_the_whole_interval(low, high, expected):
    assert statistics.verdict(Estimate((low + high) / 2, low, high, 0.95)) == expected


def test_modified_z_of_runs_that_mostly_agree_uses_the_mean_deviation():
    z = statistics.modified_z([5, 5, 5, 5, 9])
    assert z.tolist() == pytest.approx([0, 0, 0, 0, 4 / (0.8 * 1.253314)])


def test_modified_z_of_runs_that_all_agree_is_0():
    assert statistics.modified_z([5, 5, 5]).tolist() == [0, 0, 0]


def test_ten_runs_of_the_published_mean_leave_no_room_for_a_collapsed_one():
    slowest, middle = statistics.least_possible(87.15, 10, measurements.payload_cap(100))
    assert slowest == pytest.approx(24.17, abs=0.01)
    assert slowest > GATEWAY.max()
    assert middle == pytest.approx(82.48, abs=0.01)


def test_a_mean_alone_leaves_open_what_each_reading_of_the_unit_allows():
    rows = statistics.left_open(87.15, 10, DIRECT, measurements.readings(DIRECT)).round(1).to_dict("records")
    assert [(r["slowest run"], r["median"], r["of direct %"]) for r in rows] == [(24.2, 82.5, 90.4), (0.0, 70.4, 77.2)]


@UNHURRIED
@given(st.lists(st.floats(0, 94), min_size=1, max_size=15))
def test_no_runs_of_a_mean_are_slower_than_is_possible(values):
    slowest, middle = statistics.least_possible(sum(values) / len(values), len(values), 94)
    assert min(values) >= slowest - 1e-9
    assert np.median(values) >= middle - 1e-9


@pytest.mark.parametrize("runs", [1, 2, 5, 10])
def test_what_is_least_possible_can_be(runs):
    slowest, middle = statistics.least_possible(90, runs, 94)
    at_slowest = [slowest, *[94] * (runs - 1)]
    at_middle = [middle] * (runs // 2 + 1) + [94] * (runs - runs // 2 - 1)
    assert sum(at_slowest) / runs == pytest.approx(90)
    assert sum(at_middle) / runs == pytest.approx(90)
    assert np.median(at_middle) == pytest.approx(middle)


@pytest.mark.parametrize(("mean", "runs", "cap"), [(95, 10, 94), (-1, 10, 94), (50, 0, 94), (math.nan, 10, 94)])
def test_a_mean_that_cannot_be_is_refused(mean, runs, cap):
    with pytest.raises(BadInput, match="no such runs can be"):
        statistics.least_possible(mean, runs, cap)
