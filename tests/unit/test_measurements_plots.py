"""The pictures of measurements, and the words that stand for them."""

import io
import itertools
from pathlib import Path

import pandas as pd
import pytest

from hikkoshi.network import measurements, plots, statistics
from hikkoshi.network.statistics import Estimate

TABLE = measurements.read(Path(__file__).parents[2] / "params" / "measurements" / "netperf-table1.csv")
RATIOS = [("before", Estimate(0.0058, 0.0047, 0.0088, 0.957)), ("after", 0.969)]


def points(fig):
    """Of every drawn series of points its x and y."""
    lines = [line for line in fig.axes[0].get_lines() if line.get_linestyle() == "None"]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in lines]


def words(fig):
    return [text.get_text() for text in fig.axes[0].texts]


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


@pytest.mark.parametrize("fig", [plots.throughput(TABLE, "Mb/s"), plots.ratios(RATIOS)], ids=["throughput", "ratios"])
def test_a_picture_is_small_enough_to_be_kept_in_a_notebook(fig):
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=110)
    assert 5_000 < len(png.getvalue()) < 150_000
