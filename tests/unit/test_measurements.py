"""Reading a table of measurements, and what a link can carry."""

import string
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.compare import measurements

UNHURRIED = settings(deadline=None)  # a busy machine is no failure
PUBLISHED = Path(__file__).parents[2] / "params" / "measurements" / "netperf-table1.csv"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def problems(path):
    with pytest.raises(BadInput) as caught:
        measurements.read(path)
    for problem in caught.value.problems:
        assert problem.what
        assert problem.where
        assert problem.found
        assert problem.remedy
    return caught.value.problems


def test_the_published_table_has_ten_runs_of_two_paths():
    table = measurements.read(PUBLISHED)
    assert list(table.columns) == ["run", "path", "throughput"]
    assert table.groupby("path")["run"].apply(list).to_dict() == {p: list(range(1, 11)) for p in ("VLAN302", "VLAN502")}
    assert table["throughput"].sum() == pytest.approx(10 * (1.037 + 89.906))
    assert str(table["run"].dtype) == "int64"
    assert str(table["throughput"].dtype) == "float64"


def test_columns_may_stand_in_any_order_and_blank_lines_between(written):
    table = measurements.read(written("path,throughput,run\n\nVLAN302, 91.25 ,1\n\n"))
    assert table.to_dict("records") == [{"run": 1, "path": "VLAN302", "throughput": 91.25}]


def test_a_byte_order_mark_and_windows_line_ends_are_read(written):
    table = measurements.read(written("\ufeffrun,path,throughput\r\n1,a,2\r\n"))
    assert table["throughput"].tolist() == [2.0]


def test_a_run_in_which_nothing_came_through_is_a_measurement(written):
    assert measurements.read(written("run,path,throughput\n1,a,0\n"))["throughput"].tolist() == [0.0]


def test_all_bad_lines_are_told_at_once_with_their_numbers(written):
    path = written("run,path,throughput\n1,a,fast\n2,a,-1\n3,,5\n4,a,5\nx,a,5\n6,a\n7,a,nan\n8,a,inf\n4,a,6\n")
    assert [(p.where.rsplit(":", 1)[1], p.what) for p in problems(path)] == [
        ("2", "a throughput is not a number"),
        ("3", "a throughput cannot be"),
        ("4", "a run has no path"),
        ("6", "a run has no number"),
        ("7", "a line has the wrong number of fields"),
        ("8", "a throughput cannot be"),
        ("9", "a throughput cannot be"),
        ("10", "a run is there twice"),
    ]


def test_two_faults_of_one_line_are_both_told(written):
    assert len(problems(written("run,path,throughput\n0,,quick\n"))) == 3


@pytest.mark.parametrize("number", ["1_000", "1,5", "9.1 Mb/s", "0x10", ""])
def test_a_throughput_is_digits_and_nothing_else(written, number):
    assert "throughput is not" in problems(written(f'run,path,throughput\n1,a,"{number}"\n'))[0].what


@pytest.mark.parametrize("number", ["0", "-1", "1.0", "1_0", "", "9" * 30])
def test_a_run_is_a_whole_number_from_1(written, number):
    assert problems(written(f"run,path,throughput\n{number},a,1\n"))[0].what == "a run has no number"


def test_an_unknown_column_is_named_with_the_one_that_was_meant(written):
    unknown, missing = problems(written("run,path,troughput\n1,a,1\n"))
    assert (unknown.what, unknown.found, unknown.remedy) == ("unknown column", "'troughput'", "did you mean throughput?")
    assert missing.what == "column 'throughput' has to be there once"


def test_a_column_that_is_there_twice_is_refused(written):
    assert "2 of that name" in problems(written("run,path,path,throughput\n1,a,a,1\n"))[0].found


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_is_refused(written, text):
    assert len(problems(written(text))) == 3


def test_a_header_alone_is_refused(written):
    assert problems(written("run,path,throughput\n"))[0].what == "a table of measurements has no rows"


def test_a_file_that_is_not_text_is_refused(written):
    assert problems(written(b"\x7fELF\xff\xfe"))[0].what == "a table of measurements is not text"


def test_a_file_that_is_not_csv_is_refused(written):
    assert problems(written(f'run,path,throughput\n1,"{"a" * 200_000}",1\n'))[0].what == "a line is not CSV"


def test_a_missing_file_is_refused(tmp_path):
    assert problems(tmp_path / "nowhere.csv")[0].what == "a table of measurements cannot be read"


@UNHURRIED
@given(
    st.lists(st.tuples(st.text(string.ascii_letters + " ,\"'äム", min_size=1).filter(str.strip), st.floats(0, 1e12)), min_size=1)
)
def test_what_pandas_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    frame = pd.DataFrame({"run": range(1, len(rows) + 1), "path": [p for p, _ in rows], "throughput": [t for _, t in rows]})
    frame.to_csv(path, index=False)
    frame["path"] = frame["path"].str.strip()
    assert measurements.read(path).to_dict("records") == frame.to_dict("records")


@UNHURRIED
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(b"run,path,throughput\n" + noise)
    try:
        table, refused = measurements.read(path), ()
    except BadInput as refusal:
        table, refused = None, refusal.problems
    assert all(p.where.startswith(str(path)) for p in refused)
    assert table is None or (len(table) > 0 and (table["throughput"] >= 0).all())


def test_runs_of_a_path_come_in_the_order_measured(written):
    table = measurements.read(written("run,path,throughput\n2,a,20\n1,b,1\n1,a,10\n"))
    assert measurements.runs(table, "a").reset_index().to_numpy().tolist() == [[1, 10], [2, 20]]


def test_a_path_that_the_table_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean VLAN302"):
        measurements.runs(measurements.read(PUBLISHED), "VLAN30")


def test_side_by_side_has_a_row_per_path_in_the_tables_order_and_a_column_per_run():
    wide = measurements.side_by_side(measurements.read(PUBLISHED))
    assert wide.columns.tolist() == ["path", *range(1, 11)]
    assert wide["path"].tolist() == ["VLAN502", "VLAN302"]
    assert wide[1].tolist() == [5.42, 91.25]


def test_the_published_table_passes_every_check():
    assert all(measurements.checks(measurements.read(PUBLISHED), "VLAN502", "VLAN302"))


def test_too_few_runs_and_a_dead_direct_path_are_red(written):
    table = measurements.read(written("run,path,throughput\n1,a,1\n1,b,0\n"))
    few_a, few_b, dead = measurements.checks(table, "a", "b")
    assert (bool(few_a), bool(few_b), bool(dead)) == (False, False, False)
    assert few_a.found == "1 runs"


def test_six_runs_are_enough(written):
    rows = "".join(f"{n},{path},1\n" for n in range(1, 7) for path in "ab")
    assert all(measurements.checks(measurements.read(written("run,path,throughput\n" + rows)), "a", "b"))


def test_a_path_without_runs_is_red_and_the_tables_paths_are_told():
    absent, *_ = measurements.checks(measurements.read(PUBLISHED), "VLAN999", "VLAN302")
    assert not absent
    assert "VLAN302, VLAN502" in absent.remedy


def test_the_caps_of_both_ethernets_are_those_known():
    assert measurements.payload_cap(100) == pytest.approx(94.15, abs=0.005)
    assert measurements.payload_cap(1000) / 8 == pytest.approx(117.7, abs=0.05)
    assert measurements.payload_cap(1e9) / 8 / 2**20 == pytest.approx(112.2, abs=0.05)


def test_the_direct_runs_nearly_fill_fast_ethernet_but_not_gigabit():
    direct = measurements.runs(measurements.read(PUBLISHED), "VLAN302")
    fast, gigabit = measurements.readings(direct).to_dict("records")
    assert (fast["second least %"], fast["greatest %"]) == pytest.approx((93.2, 99.0), abs=0.05)
    assert (gigabit["second least %"], gigabit["greatest %"]) == pytest.approx((78.2, 83.0), abs=0.05)
