"""Documents of iperf3: the receiver's figure, or a refusal."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.throughput import iperf3
from hikkoshi.network.throughput.units import Reading

DATA = Path(__file__).parents[1] / "data" / "netperf"
DOCUMENTS = sorted(DATA.glob("iperf3-*.json"))  # NAME-FIGURE-Mbit.json
REFUSED = sorted(DATA.glob("refused-iperf3-*.json"))
UNHURRIED = settings(deadline=None)


def recorded(name: str) -> str:
    (path,) = DATA.glob(f"{name}-[0-9]*.json")
    return path.read_text()


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        iperf3.parse(text, "F")
    assert all(p.what and p.where == "F" and p.found and p.expected and p.remedy for p in caught.value.problems)
    return [p.found for p in caught.value.problems]


def read(text: str) -> Reading | None:
    try:
        return iperf3.parse(text)
    except BadInput:
        return None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_a_document_tells_what_its_name_says(path: Path) -> None:
    measurement = iperf3.parse(path.read_text())
    assert measurement.throughput.bits_per_second
    assert f"{measurement.throughput.bits_per_second / 1e6:.2f}" == path.stem.split("-")[-2]
    assert measurement.throughput.unit == "bits/s"
    assert measurement.tool == "iperf 3.12"
    assert measurement.test == f"{'UDP' if 'udp' in path.stem else 'TCP'}_{'MAERTS' if 'reverse' in path.stem else 'STREAM'}"


@pytest.mark.parametrize("path", REFUSED, ids=lambda p: p.stem)
def test_a_document_of_a_test_that_failed_is_no_measurement(path: Path) -> None:
    assert problems(path.read_text())


def test_the_error_of_iperf3_is_told_in_its_own_words() -> None:
    assert problems((DATA / "refused-iperf3-no-server.json").read_text()) == ["unable to connect to server: Connection refused"]
    # half a test has intervals, and sums of nought
    assert problems((DATA / "refused-iperf3-interrupted.json").read_text()) == ["interrupt - the client has terminated"]


def test_what_was_sent_is_told_beside_what_arrived() -> None:
    lossy = iperf3.parse(recorded("iperf3-udp-lossy"))
    assert lossy.sent
    assert round(lossy.sent.value / lossy.throughput.value) == 3


def test_retransmits_and_the_series_are_there() -> None:
    reverse = iperf3.parse(recorded("iperf3-tcp-reverse"))
    assert reverse.retransmits == 2
    plain = iperf3.parse(recorded("iperf3-tcp"))
    assert [round(seconds) for seconds, _ in plain.interim] == [1, 2]
    assert plain.retransmits == 0
    assert iperf3.parse(recorded("iperf3-udp")).retransmits is None


def test_seconds_that_were_to_be_left_out_are() -> None:
    assert len(json.loads(recorded("iperf3-tcp-omit"))["intervals"]) == 3
    assert len(iperf3.parse(recorded("iperf3-tcp-omit")).interim) == 2


def test_udp_counted_by_the_sender_alone_is_refused() -> None:
    document = json.loads(recorded("iperf3-udp-lossy"))
    del document["end"]["sum_received"]
    assert problems(json.dumps(document)) == ["end.sum_received: Field required"]


def test_a_server_that_could_not_tell_what_it_received_is_refused() -> None:
    document = json.loads(recorded("iperf3-udp-lossy"))
    document["end"]["sum_received"] |= {"bytes": 0, "bits_per_second": 0, "lost_percent": 0}
    assert problems(json.dumps(document)) == ["0 bytes received, and not all lost"]


def test_figures_that_contradict_each_other_are_refused() -> None:
    document = json.loads(recorded("iperf3-tcp"))
    document["end"]["sum_received"]["bits_per_second"] *= 1.01
    assert "bytes in" in problems(json.dumps(document))[0]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "1e999", "9" * 400, "-1", "null", '"94"'])
def test_a_figure_that_cannot_be_is_refused(word: str) -> None:
    document = json.loads(recorded("iperf3-tcp"))
    for figure in ("bits_per_second", "bytes", "seconds"):
        broken = json.loads(json.dumps(document))
        broken["end"]["sum_received"][figure] = "HERE"
        problems(json.dumps(broken).replace('"HERE"', word))


def test_a_name_that_is_there_twice_with_another_value_is_refused() -> None:
    text = recorded("iperf3-tcp")
    assert "twice" in problems(text.replace('"sum_received"', '"sum_received": {}, "sum_received"'))[0]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "1", "null", '{"start": 1}', "\ufeff{}", '{"a":' * 100_000])
def test_other_json_and_none_are_refused(text: str) -> None:
    assert problems(text)


@UNHURRIED
@given(st.integers(1, 10**13), st.floats(0.01, 1e4), st.integers(0, 10**6))
def test_any_figures_are_read_back(count: int, seconds: float, again: int) -> None:
    document = json.loads(recorded("iperf3-tcp"))
    arrived = {"start": 0, "end": seconds, "seconds": seconds, "bytes": count, "bits_per_second": 8 * count / seconds}
    document["end"] |= {"sum_received": arrived, "sum_sent": arrived | {"retransmits": again}}
    measurement = iperf3.parse(json.dumps(document))
    assert measurement.throughput.value == pytest.approx(8 * count / seconds, rel=1e-9, abs=0.005)
    assert (measurement.elapsed, measurement.retransmits) == (seconds, again)


@UNHURRIED
@given(st.sampled_from(DOCUMENTS), st.data())
def test_a_document_that_was_cut_off_is_refused(path: Path, data: st.DataObject) -> None:
    text = path.read_text().rstrip()
    problems(text[: data.draw(st.integers(0, len(text) - 1))])


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(DOCUMENTS), st.data())
def test_one_changed_letter_never_makes_another_figure(path: Path, data: st.DataObject) -> None:
    text = path.read_text()
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(["", *'0123456789.eE-+{}[],:" tx']))
    found, right = read(text[:at] + letter + text[at + 1 :]), iperf3.parse(text)
    if found:
        # the third figure would contradict a change of one; it is printed so exactly that less than this may pass
        assert found.throughput.value == pytest.approx(right.throughput.value, rel=2e-4)
        assert found.throughput.unit == right.throughput.unit
