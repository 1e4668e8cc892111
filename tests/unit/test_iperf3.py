"""Documents of iperf3: the receiver's figure, or a refusal."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.throughput import iperf3, netperf_output
from hikkoshi.network.throughput.units import Reading

DATA = Path(__file__).parents[1] / "data" / "netperf"
DOCUMENTS = sorted(DATA.glob("iperf3-*.json"))  # NAME-FIGURE-Mbit.json
REFUSED = sorted(DATA.glob("refused-iperf3-*.json"))
UNHURRIED = settings(deadline=None)


def recorded(name: str) -> str:
    (path,) = DATA.glob(f"{name}-[0-9]*.json")
    return path.read_text()


def codes(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        netperf_output.parse(text)
    return [p.code for p in caught.value.problems]


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


@pytest.mark.parametrize(
    ("part", "value", "remedy"),
    [
        (("start", "test_start", "protocol"), "SCTP", "leave --sctp out"),
        (("end", "sum_received_bidir_reverse"), {}, "one direction after the other"),
        (("end", "sum_sent"), None, "counts UDP at the sender alone"),
    ],
)
def test_a_document_of_another_test_is_told_with_what_to_measure(part: tuple[str, ...], value: object, remedy: str) -> None:
    document = json.loads(recorded("iperf3-udp"))
    place = document
    for key in part[:-1]:
        place = place[key]
    place[part[-1]] = value
    with pytest.raises(BadInput) as caught:
        iperf3.parse(json.dumps(document))
    assert remedy in caught.value.problems[0].remedy


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("unable to start stream listener: Address already in use", "another program has the port"),
        ("block size too large (maximum = 1048576 bytes)", "correct its value"),
        ("this OS does not support sending by zero-copy", "leave the option out"),
        ("parameter error - some option you are trying to set is client only", "leave the option out"),
        ("bad TOS value (must be between 0 and 255 inclusive)", "correct its value"),
        ("unable to set TCP/SCTP MSS: Protocol not available", "leave the option out"),
    ],
)
def test_a_known_error_says_what_to_do(error: str, remedy: str) -> None:
    with pytest.raises(BadInput) as caught:
        iperf3.parse(json.dumps({"start": {}, "intervals": [], "end": {}, "error": f"error - {error}"}))
    assert remedy in caught.value.problems[0].remedy


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


STREAM = (DATA / "by-hand-iperf3-stream-93.50-Mbit.jsonl").read_text()


def test_events_are_read_as_the_document_that_they_are_of() -> None:
    found = netperf_output.parse(STREAM)
    assert found.throughput.printed == "93500000.00"
    assert [seconds for seconds, _ in found.interim] == [1, 2, 3]
    start, *intervals, end = map(json.loads, STREAM.splitlines())
    document = {"start": start["data"], "intervals": [i["data"] for i in intervals], "end": end["data"]}
    assert iperf3.parse(json.dumps(document)) == found
    assert iperf3.parse(STREAM.replace("\n", "\r\n\r\n")) == found
    assert iperf3.parse(STREAM + json.dumps(document, indent=1)) == found  # --json-stream-full
    document["end"]["sum_received"]["retransmits"] = 7
    assert codes(STREAM + json.dumps(document)) == ["iperf3-figures-contradict"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ((DATA / "refused-by-hand-iperf3-stream-cut.jsonl").read_text(), "iperf3-stream-cut-off"),
        ((DATA / "refused-by-hand-iperf3-stream-error.jsonl").read_text(), "iperf3-measured-nothing"),
        (STREAM.partition("\n")[2], "iperf3-stream-cut-off"),
        (STREAM[:-20], "iperf3-output-not-json"),
        (STREAM + STREAM, "iperf3-several-runs"),
        (recorded("iperf3-tcp") + recorded("iperf3-udp"), "iperf3-several-runs"),
        ("iperf3: error - the server is busy running a test. try again later\n", "iperf3-measured-nothing"),
        ("iperf3: unrecognized option '--json-stream'\n", "iperf3-measured-nothing"),
    ],
    ids=range(8),
)
def test_what_is_no_finished_run_is_told_for_what_it_is(text: str, code: str) -> None:
    assert codes(text) == [code]


@pytest.mark.parametrize("path", sorted(DATA.glob("refused-iperf3-3.*.json")), ids=lambda p: p.stem)
def test_numbers_that_are_none_are_named_with_their_line_and_version(path: Path) -> None:
    (found,) = problems(path.read_text())
    assert re.fullmatch(r'line \d+: "\w+": .+, by iperf 3\.\d+\.\d+', found)
    assert codes(path.read_text()) == ["iperf3-numbers-broken"]


@pytest.mark.parametrize(
    "number", ["nan", "-nan", "-nan(ind)", "inf", "NaN", "-1.#IND", "1.#QNAN", "9,47392", "9,5e+07", "9.5e 07"]
)
def test_no_number_is_made_of_a_broken_one(number: str) -> None:
    text = recorded("iperf3-tcp")
    broken = re.sub(
        r'("sum_received":\s*\{.*?"bits_per_second":\s*)[\d.e+]+', lambda m: m[1] + number, text, count=1, flags=re.DOTALL
    )
    assert broken != text
    assert codes(broken) == ["iperf3-numbers-broken"]
    assert f'"bits_per_second": {number}' in problems(broken)[0]


def test_a_warning_between_the_lines_is_a_remark() -> None:
    warning = "warning: UDP block size 8192 exceeds TCP MSS 1448, may result in fragmentation / drops"
    for text in (f"{warning}\n{recorded('iperf3-udp')}", f"{recorded('iperf3-udp')}\n{warning}\n"):
        assert [(r.code, r.said) for r in netperf_output.parse(text).remarks] == [("iperf3-warning", warning)]
    assert netperf_output.parse(STREAM.replace("\n", f"\n{warning}\n", 1)).throughput == netperf_output.parse(STREAM).throughput


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("unable to connect to server: Connection refused", "iperf3 -s"),
        ("unable to connect to server: No route to host", "5201"),
        ("unable to connect to server - server may have stopped running or use a different port, firewall issue, etc.", "5201"),
        ("the server is busy running a test. try again later", "wait"),
        ("control socket has closed unexpectedly", "still runs"),
        ("received an unknown control message (ensure other side is iperf3 and not iperf)", "versions"),
        ("unable to create a new stream: Cannot assign requested address", "-B"),
        ("interrupt - the client has terminated by signal Interrupt(2)", "to the end"),
        ("something new", "own words"),
    ],
)
def test_an_error_of_iperf3_has_what_to_do_about_it(error: str, remedy: str) -> None:
    with pytest.raises(BadInput) as caught:
        iperf3.parse(json.dumps({"start": {}, "intervals": [], "end": {}, "error": error}))
    assert remedy in caught.value.problems[0].remedy


def test_udp_that_only_the_sender_counted_is_refused_with_the_version_that_counts_both() -> None:
    document = json.loads((DATA / "refused-iperf3-3.0.11-nan.json").read_text().replace("-nan", "0"))
    with pytest.raises(BadInput) as caught:
        iperf3.parse(json.dumps(document))
    assert any("iperf 3.0.11" in p.remedy and "3.12" in p.remedy for p in caught.value.problems)
