"""The pictures of measurements, and the words that stand for them."""

import io
import itertools
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import image

from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.figures import plots
from hikkoshi.network.compare import measurements, sequential, statistics
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.compare.statistics import Estimate

TABLE = measurements.read(Path(__file__).parents[2] / "params" / "measurements" / "netperf-table1.csv")
SLOW, FAST = (measurements.runs(TABLE, path).tolist() for path in ("VLAN502", "VLAN302"))
RATIOS = [("before", Estimate(0.0058, 0.0047, 0.0088, 0.957)), ("after", 0.969)]


def points(fig):
    """Of every drawn series of points its x and y."""
    lines = [line for line in fig.axes[0].get_lines() if line.get_linestyle() == "None"]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in lines]


def words(fig):
    return [text.get_text() for text in fig.axes[0].texts]


def series(through, direct):
    """A series of these runs; None is one that could not be made."""
    left = {"VLAN502": iter(through), "VLAN302": iter(direct)}

    def one_run(path):
        run = next(left[path])
        if run is None:
            raise ToolFailed(Problem(code="a-code", what="netperf failed"))
        return run

    return sequential.measure(one_run, Series(through="VLAN502", direct="VLAN302", unit="Mbit/s", seed=7))


COLLAPSED = series(SLOW, FAST)
HEALTHY = series(FAST[::-1], FAST)
BORDER = series([0.9 * x for x in FAST * 2], FAST * 2)


def test_every_run_is_drawn_on_a_logarithmic_axis():
    fig = plots.throughput(TABLE, "Mb/s")
    expected = [(list(range(1, 11)), measurements.runs(TABLE, path).tolist()) for path in ("VLAN502", "VLAN302")]
    assert points(fig) == expected
    assert fig.axes[0].get_yscale() == "log"


def test_the_axes_say_what_they_show_with_the_unit():
    ax = plots.throughput(TABLE, "Mb/s").axes[0]
    assert "Mb/s" in ax.get_ylabel()
    assert "run" in ax.get_xlabel()


def test_paths_differ_by_more_than_their_colour():
    drawn = [line for line in plots.throughput(TABLE, "Mb/s").axes[0].get_lines() if line.get_linestyle() == "None"]
    assert len({(line.get_marker(), line.get_fillstyle()) for line in drawn}) == 2


def test_each_path_is_named_with_its_median():
    assert words(plots.throughput(TABLE, "Mb/s")) == ["VLAN502\nmedian 0.495", "VLAN302\nmedian 91.275"]


def test_names_of_paths_that_are_equally_fast_do_not_cover_each_other():
    again = TABLE[TABLE["path"] == "VLAN302"].assign(path="after")
    heights = sorted(text.xy[1] for text in plots.throughput(pd.concat([TABLE, again]), "Mb/s").axes[0].texts)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 0.12 - 1e-9


def test_a_run_of_0_is_drawn_at_the_foot_and_labelled():
    table = TABLE.copy()
    table.loc[table["throughput"] == 0.35, "throughput"] = 0
    fig = plots.throughput(table, "Mb/s")
    assert min(points(fig)[0][1]) == fig.axes[0].get_ylim()[0] > 0
    assert "0" in words(fig)


def test_a_table_of_zeros_alone_can_still_be_drawn():
    zeros = TABLE.assign(throughput=0.0)
    plots.throughput(zeros, "Mb/s").savefig(io.BytesIO())


def test_the_words_tell_range_median_and_interval_of_each_path():
    told = plots.throughput_words(TABLE, "Mb/s")
    assert "VLAN502: 10 runs from 0.35 to 5.42, median 0.495 (95 % interval 0.41 to 0.94)" in told
    assert "VLAN302: 10 runs from 78.19 to 93.18, median 91.275 (95 % interval 87.76 to 92.11)" in told


def test_a_ratio_is_drawn_with_its_interval_and_the_border_of_the_verdict():
    ax = plots.ratios(RATIOS).axes[0]
    drawn = [list(line.get_xdata()) for line in ax.get_lines()]
    assert drawn == [[0.0047, 0.0088], [0.0058], [0.969], [statistics.ENOUGH_OF_DIRECT] * 2]
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["before", "after"]


def test_a_number_without_an_interval_is_hollow_and_says_so():
    fig = plots.ratios(RATIOS)
    assert [line.get_fillstyle() for line in fig.axes[0].get_lines() if line.get_marker() == "D"] == ["none"]
    assert "0.969, interval not known" in words(fig)


def test_the_words_of_the_ratios_tell_them_all():
    told = plots.ratios_words(RATIOS)
    assert "before: 0.0058 [0.0047, 0.0088]" in told
    assert "after: 0.969, interval not known" in told
    assert "0.90" in told


def test_a_ratio_of_0_stands_at_the_left_end_of_its_axis():
    ax = plots.ratios([("dead", Estimate(0, 0, 0, 0.99))]).axes[0]
    assert ax.get_lines()[1].get_xdata()[0] == ax.get_xlim()[0] > 0
    assert ax.texts[0].get_text() == "0 [0, 0]"
    assert ax.texts[0].get_horizontalalignment() == "left"


def test_a_ratio_above_2_is_drawn_within_its_axis():
    ax = plots.ratios([("faster", Estimate(3, 2.5, 4, 0.99))]).axes[0]
    assert ax.get_xlim()[1] > 4


# --- a series


def test_every_run_of_a_series_is_drawn_in_the_order_measured():
    drawn = points(plots.turns(COLLAPSED))
    assert [y for _, y in drawn] == [FAST[:5], SLOW[:5]] or [y for _, y in drawn] == [SLOW[:5], FAST[:5]]
    assert sorted(x for xs, _ in drawn for x in xs) == list(range(1, 11))


def test_a_collapse_is_drawn_on_a_logarithmic_axis_and_anything_else_from_0():
    assert plots.turns(COLLAPSED).axes[0].get_yscale() == "log"
    ax = plots.turns(HEALTHY).axes[0]
    assert (ax.get_yscale(), ax.get_ylim()[0]) == ("linear", 0)


def test_a_path_looks_the_same_whether_it_is_the_faster_or_the_slower_one():
    def markers(fig):
        lines = [line for line in fig.axes[0].get_lines() if line.get_linestyle() == "None"]
        return {line.get_marker(): list(line.get_ydata()) for line in lines}

    assert markers(plots.turns(COLLAPSED))["o"] == SLOW[:5]
    faster = series([2 * x for x in FAST], FAST)
    assert markers(plots.turns(faster))["o"] == [2 * x for x in FAST[:5]]


def test_the_picture_of_a_series_says_its_verdict():
    assert plots.turns(COLLAPSED).get_suptitle() == COLLAPSED.words()
    assert "\n" not in COLLAPSED.words()
    assert plots.turns(BORDER).get_suptitle().startswith("inconclusive: ")


def test_every_look_of_a_series_is_marked():
    assert [w for w in words(plots.turns(BORDER)) if w.endswith("each")] == ["5 each", "8 each", "12 each", "20 each"]
    dotted = [line.get_xdata()[0] for line in plots.turns(BORDER).axes[0].get_lines() if line.get_linestyle() == ":"]
    assert dotted == [10.5, 16.5, 24.5, 40.5]


def test_a_run_that_could_not_be_made_is_drawn_where_it_was_tried():
    failed = series([SLOW[0], None, *SLOW[1:]], FAST)
    texts = plots.turns(failed).axes[0].texts
    assert [t.xy[0] for t in texts if "not" in t.get_text()] == [r.number for r in failed.failures]


@pytest.mark.parametrize("through", [[], [0.4], [0.4, 0], [0] * 5], ids=len)
def test_a_series_with_hardly_a_run_can_still_be_drawn(through):
    cut = series([*through, *[None] * 9], FAST)
    for fig in (plots.turns(cut), plots.remedy(cut, HEALTHY), plots.remedy(cut, cut)):
        fig.savefig(io.BytesIO())
    for told in (plots.turns_words(cut), plots.remedy_words(cut, HEALTHY)):
        assert cut.words() in told


def test_the_words_of_a_series_tell_its_runs_looks_and_verdict():
    told = plots.turns_words(COLLAPSED)
    assert "in Mbit/s on a logarithmic axis" in told
    assert "VLAN502: 5 runs from 0.41 to 5.42, median 0.54 (94 % interval 0.41 to 5.42)." in told
    assert "At 5 runs each the ratio was 0.0059 [0.0044, 0.069]." in told
    assert COLLAPSED.words() in told
    assert "on a linear axis" in plots.turns_words(HEALTHY)
    assert "VLAN502: one run, 0.4. VLAN302: " in plots.turns_words(series([0.4, *[None] * 9], FAST))
    assert "VLAN502: no run." in plots.turns_words(series([None] * 9, FAST))


# --- before and after


def test_before_and_after_stand_side_by_side_with_every_run():
    above = plots.remedy(COLLAPSED, HEALTHY).axes[0]
    drawn = [list(line.get_ydata()) for line in above.get_lines() if line.get_linestyle() == "None"]
    assert drawn == [FAST[:5] * 2, SLOW[:5], FAST[:4:-1]]
    assert [label.get_text() for label in above.get_xticklabels()] == [
        "direct\nVLAN302\nruns: 10",
        "before\nVLAN502\nruns: 5",
        "after\nVLAN502\nruns: 5",
    ]
    assert "Mbit/s" in above.get_ylabel()


def test_the_medians_before_and_after_are_written_beside_their_bars():
    assert words(plots.remedy(COLLAPSED, HEALTHY)) == ["91.15", "0.54", "91.95"]


def test_the_ratios_before_and_after_are_drawn_beside_the_border():
    below = plots.remedy(COLLAPSED, HEALTHY).axes[1]
    drawn = [list(line.get_xdata()) for line in below.get_lines()]
    before, after = COLLAPSED.look.ratio, HEALTHY.look.ratio
    assert drawn[:4] == [[before.low, before.high], [before.value], [after.low, after.high], [after.value]]
    assert drawn[4] == [statistics.ENOUGH_OF_DIRECT] * 2
    assert (below.get_xscale(), below.get_xlim()[0]) == ("linear", 0)


def test_both_verdicts_are_in_the_title_of_before_and_after():
    title = plots.remedy(COLLAPSED, HEALTHY).get_suptitle()
    assert title == f"before, {COLLAPSED.words()}\nafter, {HEALTHY.words()}"


def test_before_and_after_are_linear_where_nothing_collapsed():
    assert plots.remedy(BORDER, HEALTHY).axes[0].get_yscale() == "linear"
    assert plots.remedy(COLLAPSED, HEALTHY).axes[0].get_yscale() == "log"


def test_the_words_of_before_and_after_tell_every_group_and_both_verdicts():
    told = plots.remedy_words(COLLAPSED, HEALTHY)
    assert "direct VLAN302: 10 runs from 78.19 to 93.18" in told
    assert "before VLAN502: 5 runs from 0.41 to 5.42" in told
    assert f"Before: {COLLAPSED.words()}. After: {HEALTHY.words()}." in told


PICTURES = {
    "throughput": plots.throughput(TABLE, "Mb/s"),
    "ratios": plots.ratios(RATIOS),
    "turns": plots.turns(BORDER),
    "remedy": plots.remedy(COLLAPSED, BORDER),
}


@pytest.mark.parametrize("fig", PICTURES.values(), ids=list(PICTURES))
def test_a_picture_is_small_enough_to_be_kept_in_a_notebook(fig):
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=110)
    assert 5_000 < len(png.getvalue()) < 150_000


@pytest.mark.parametrize("fig", PICTURES.values(), ids=list(PICTURES))
def test_nothing_is_cut_off_at_the_edge_of_a_picture(fig):
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=110)
    png.seek(0)
    pixels = image.imread(png)[:, :, :3]
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert (edge == 1).all()  # white
