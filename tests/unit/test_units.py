"""Figures keep their unit; where it is unknown, they say so."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.network.throughput.units import BITS, LETTERS, Quantity, Reading, rows, word

FAST_ETHERNET = 94.15e6  # bit/s of payload


@pytest.mark.parametrize(
    ("printed", "unit"),
    [
        ("94.15", "10^6bits/sec"),
        ("94150.00", "10^3bits/s"),
        ("0.09", "10^9bits/s"),
        ("11.22", "MBytes/sec"),
        ("11492.92", "KBytes/s"),
        ("11768750.00", "Bytes/s"),
        ("0.01", "GBytes/s"),
        ("94150000.00", "bits/s"),
    ],
)
def test_every_unit_of_netperf_says_the_same_of_the_same_link(printed: str, unit: str) -> None:
    figure = Quantity(printed, unit)
    assert figure.scale
    assert abs(figure.bits_per_second - FAST_ETHERNET) <= figure.rounding * figure.scale + 1e-6 * FAST_ETHERNET


def test_netperfs_megabytes_are_of_two_to_the_twentieth_bytes() -> None:
    assert Quantity("1.00", "MBytes/sec").bits_per_second == 8 * 1048576
    assert Quantity("1.00", "10^6bits/sec").bits_per_second == 1000000


@pytest.mark.parametrize("unit", ["", "Usec/s", "10^0bits/s", "MBytes", "Mbytes/s", "MBytes/h", "mbit/s", "/s"])
def test_an_unknown_unit_is_said_to_be_unknown_and_not_guessed(unit: str) -> None:
    figure = Quantity("94.15", unit)
    assert (figure.bits_per_second, figure.scale, figure.transactions) == (None, None, None)
    assert str(figure).startswith(f"94.15 {unit}".rstrip())
    assert "unit unknown" in str(figure)


def test_transactions_are_no_bits() -> None:
    figure = Quantity("14232.58", "Trans/s")
    assert (figure.transactions, figure.bits_per_second) == (14232.58, None)
    assert str(figure) == "14232.58 Trans/s"


def test_a_figure_shows_itself_as_printed_and_in_one_unit_for_all() -> None:
    assert str(Quantity("11.22", "MBytes/sec")) == "11.22 MBytes/sec (94.12 Mbit/s)"
    assert Quantity("11.22", "MBytes/sec").plain() == {
        "printed": "11.22",
        "unit": "MBytes/sec",
        "bits_per_second": 11.22 * 8 * 1048576,
    }
    assert Quantity("11.22").plain()["unit"] is None


def test_the_same_unit_is_told_in_two_ways() -> None:
    assert word("MBytes/sec") == word("MBytes/s") == "MBytes"
    assert word("MBytes") == word("MBytes/") == ""


@given(st.floats(0, 1e9), st.sampled_from(sorted(BITS)), st.sampled_from(["s", "sec"]))
def test_what_was_printed_is_in_bits_to_the_last_digit(figure: float, counted: str, second: str) -> None:
    throughput = Quantity(f"{figure:.2f}", f"{counted}/{second}")
    assert throughput.bits_per_second == pytest.approx(figure * BITS[counted], abs=0.00501 * BITS[counted])


def test_every_letter_of_netperf_names_a_unit_that_is_per_second() -> None:
    assert set(LETTERS) == set("bkmgBKMGx")
    assert all(word(unit) for unit in LETTERS.values())


def test_a_table_has_a_row_for_all_that_is_known_and_none_for_the_rest() -> None:
    known = Reading(
        "netperf",
        "classic",
        "UDP_STREAM",
        Quantity("90.05", "10^6bits/sec"),
        elapsed=10.0,
        sent=Quantity("95.62", "10^6bits/sec"),
        confidence=False,
        width=6.8,
        interim=((1.25, Quantity("91.40", "10^6bits/s")),),
    )
    assert [(r["what"], r["found"]) for r in rows(known)] == [
        ("tool", "netperf (classic)"),
        ("test", "UDP_STREAM"),
        ("throughput", "90.05 10^6bits/sec (90.05 Mbit/s)"),
        ("sent", "95.62 10^6bits/sec (95.62 Mbit/s)"),
        ("elapsed", "10 s"),
        ("confidence", "NOT reached: the interval is 6.8 % wide"),
        ("until 1.25 s", "91.40 10^6bits/s (91.40 Mbit/s)"),
    ]
    bare = Reading("netperf", "number", "", Quantity("94.15"))
    assert [r["found"] for r in rows(bare)] == ["netperf (number)", "not told", "94.15, unit unknown"]


def test_a_measurement_is_json_with_its_units() -> None:
    measurement = Reading(
        "netperf",
        "keys",
        "TCP_STREAM",
        Quantity("94.15", "10^6bits/s"),
        interim=((0.5, Quantity("95.00", "10^6bits/s")),),
        other={"TRANSPORT_MSS": "1448"},
    )
    told = json.loads(json.dumps(measurement.plain()))
    assert told["throughput"] == {"printed": "94.15", "unit": "10^6bits/s", "bits_per_second": 94150000.0}
    assert told["interim"] == [{"seconds": 0.5, "printed": "95.00", "unit": "10^6bits/s", "bits_per_second": 95000000.0}]
    assert told["other"] == {"TRANSPORT_MSS": "1448"}
    assert told["retransmits"] is None
