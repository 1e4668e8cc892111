# ruff: noqa: UP031 - the formats are those of netperf's source
"""Outputs of netperf: the right figure in the right unit, an unknown unit that is said to be so, or a refusal."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.throughput import netperf_command, netperf_output
from hikkoshi.network.throughput.units import LETTERS, Reading, word

DATA = Path(__file__).parents[1] / "data" / "netperf"
NAME = re.compile(r"(?P<case>.+)-(?P<figure>[\d.]+)-(?P<unit>[A-Za-z]+)")
UNITS = {  # {in a file's name: in the file}
    "kbit": "10^3bits",
    "Mbit": "10^6bits",
    "Gbit": "10^9bits",
    "Bytes": "Bytes",
    "KBytes": "KBytes",
    "MBytes": "MBytes",
    "GBytes": "GBytes",
    "trans": "Trans",
}
OUTPUTS = {m["case"]: path for path in sorted(DATA.glob("*.txt")) if (m := NAME.fullmatch(path.stem))}
REFUSED = sorted(DATA.glob("refused-*.txt"))
# outputs that count their bytes or messages beside the throughput
COUNTED = [
    case
    for case, path in OUTPUTS.items()
    if ("BYTES_RECVD" in path.read_text() or "Okay Errors" in path.read_text()) and "-I-" not in case and "rr" not in case
]
UNHURRIED = settings(deadline=None)


def recorded(case: str) -> str:
    return OUTPUTS[case].read_text()


def parsed(case: str, command: str = "") -> Reading:
    return netperf_output.parse(recorded(case), command, case)


def read(text: str) -> Reading | None:
    try:
        return netperf_output.parse(text)
    except BadInput:
        return None


def refusal(text: str, command: str = "") -> str:
    with pytest.raises(BadInput) as caught:
        netperf_output.parse(text, command, "F")
    (problem,) = caught.value.problems
    assert problem.where == "F"
    assert problem.found
    assert problem.expected
    assert problem.remedy
    return problem.what


def same_figure(found: Reading | None, right: Reading) -> bool:
    """Whether nothing was read, or the right figure, in the right unit or with none."""
    if found is None:
        return True
    figure = found.throughput
    return figure.printed == right.throughput.printed and (
        word(figure.unit) == word(right.throughput.unit) or (not figure.unit and figure.bits_per_second is None)
    )


def test_there_are_enough_of_them() -> None:
    assert len(OUTPUTS) + len(REFUSED) >= 30
    assert len(COUNTED) >= 10


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_tells_what_its_name_says(case: str) -> None:
    name = NAME.fullmatch(OUTPUTS[case].stem)
    assert name
    figure = parsed(case).throughput
    assert figure.printed == name["figure"]
    if name["unit"] == "unknown":
        assert (figure.bits_per_second, figure.transactions) == (None, None)
        assert "unit unknown" in str(figure)
    else:
        assert word(figure.unit) == UNITS[name["unit"]]


@pytest.mark.parametrize("path", REFUSED, ids=lambda p: p.stem)
def test_what_is_no_measurement_is_refused(path: Path) -> None:
    assert refusal(path.read_text())


@pytest.mark.parametrize(
    ("case", "test"),
    [
        ("tcp-stream", "TCP_STREAM"),
        ("tcp-maerts", "TCP_MAERTS"),
        ("tcp-sendfile", "TCP_SENDFILE"),
        ("udp-stream", "UDP_STREAM"),
        ("by-hand-2.4-udp-stream", "UDP_STREAM"),
        ("tcp-rr", "TCP_RR"),
        ("udp-rr", "UDP_RR"),
        ("tcp-crr", "TCP_CRR"),
        ("tcp-stream-k", "TCP_STREAM"),
        ("tcp-maerts-k", "TCP_MAERTS"),
        ("tcp-rr-k", "TCP_RR"),
        ("udp-rr-k", "UDP_RR"),
        ("tcp-crr-k", "TCP_CRR"),
        ("udp-stream-lossy-k", "UDP_STREAM"),
        ("tcp-stream-o-all", "TCP_STREAM"),
        ("udp-stream-P-0", "UDP_STREAM"),  # no other test prints such lines
        ("tcp-stream-P-0", ""),  # TCP_MAERTS prints the same
        ("omni-o", ""),
        ("number-v-0-P-0", ""),
    ],
)
def test_the_kind_of_test_is_told_where_the_output_tells_it(case: str, test: str) -> None:
    assert parsed(case).test == test


def test_over_udp_what_arrived_is_the_throughput_and_what_was_sent_stands_beside() -> None:
    for case in ("udp-stream-lossy", "udp-stream-lossy-f-M", "udp-stream-lossy-k"):
        lossy = parsed(case)
        assert lossy.sent
        assert lossy.sent.unit == lossy.throughput.unit
        assert lossy.sent.value > 20 * lossy.throughput.value
    assert parsed("by-hand-2.4-udp-stream-nothing-arrived").throughput.value == 0


def test_the_number_alone_of_udp_is_refused_for_it_is_what_was_sent() -> None:
    text = (DATA / "refused-udp-stream-v-0-tells-what-was-sent.txt").read_text()
    assert "what was sent" in refusal(text)
    assert "what was sent" in refusal(text.split("\n", 1)[1], "netperf -H pc2 -t udp_stream -v 0 -P 0")


def test_retransmits_are_those_of_the_sending_side_and_unknown_is_not_nought() -> None:
    assert parsed("tcp-stream-collapsed-k").retransmits == 140
    assert parsed("tcp-stream-k").retransmits == 0
    assert parsed("udp-stream-lossy-k").retransmits is None  # netperf prints -1
    assert parsed("tcp-stream").retransmits is None
    maerts = recorded("tcp-maerts-k").replace("REMOTE_TRANSPORT_RETRANS=0", "REMOTE_TRANSPORT_RETRANS=7")
    assert netperf_output.parse(maerts).retransmits == 7


@pytest.mark.parametrize(
    ("case", "reached", "width"),
    [
        ("tcp-stream", None, None),
        ("tcp-stream-k", None, None),
        ("tcp-stream-I-met", True, None),
        ("tcp-stream-I-met-k", True, 0.197),
        ("tcp-stream-I-unmet", False, 26.795),
        ("tcp-stream-I-unmet-P-0", False, 1.472),
        ("number-I-unmet-v-0-P-0", False, 20.539),
        ("tcp-rr-I-unmet", False, 74.618),
        ("tcp-rr-I-unmet-k", False, 46.932),  # -k warns of nothing
        ("by-hand-2.4-tcp-stream-I-unmet", False, 6.8),
        ("by-hand-2.4-tcp-stream-I-met", True, None),
    ],
)
def test_a_confidence_was_reached_or_not_or_not_asked_for(case: str, reached: bool | None, width: float | None) -> None:
    measurement = parsed(case)
    assert (measurement.confidence, measurement.width) == (reached, width)


def test_without_a_banner_the_command_line_tells_that_a_confidence_was_asked_for() -> None:
    assert parsed("tcp-stream-P-0").confidence is None
    assert parsed("tcp-stream-P-0", "netperf -H pc2 -P 0 -i 3 -I 99,5").confidence is True
    assert parsed("tcp-stream-P-0", "netperf -H pc2 -P 0").confidence is None


@pytest.mark.parametrize(
    ("case", "ends"),
    [
        ("tcp-stream-D", 4),
        ("tcp-stream-D-f-M", 4),
        ("tcp-stream-D-k", 4),
        ("tcp-stream-D-o", 4),
        ("tcp-rr-D", 3),
        ("tcp-stream-collapsed-D", 1),  # counted in bytes: in a slow path one of them is the whole test
        ("by-hand-2.4-tcp-stream-D", 3),
        ("by-hand-2.5-tcp-stream-D-f-M", 3),
    ],
)
def test_interim_results_are_a_series_in_time_and_in_the_unit_of_the_result(case: str, ends: int) -> None:
    measurement = parsed(case)
    seconds = [s for s, _ in measurement.interim]
    assert len(seconds) == ends
    assert seconds == sorted(seconds)
    assert measurement.elapsed
    assert seconds[-1] <= measurement.elapsed + 0.1
    assert {word(t.unit) for _, t in measurement.interim} == {word(measurement.throughput.unit)}


def test_an_interim_result_in_another_unit_is_refused() -> None:
    assert "units differ" in refusal(recorded("tcp-stream-D").replace("10^6bits/s over", "MBytes/s over"))
    assert "units differ" in refusal(recorded("tcp-stream-D-k").replace("UNITS[1]=10^6bits", "UNITS[1]=10^3bits"))


def test_a_part_of_an_interim_result_is_refused() -> None:
    text = recorded("tcp-stream-D-k")
    for key in ("RESULT[3]", "UNITS[3]", "INTERVAL[1]", "ENDING[0]"):
        assert "interim result is not whole" in refusal(re.sub(rf"NETPERF_\w*{re.escape(key)}=.*\n", "", text))


def test_figures_that_have_lost_their_titles_are_refused() -> None:
    for case in ("tcp-stream", "udp-stream", "tcp-rr"):
        banner, _, figures = recorded(case).partition("\n")[0], *recorded(case).partition("\n\n")[1:]
        assert "not understood" in refusal(f"{banner}\n{figures}")


def test_keys_that_have_no_use_here_are_kept() -> None:
    other = parsed("tcp-stream-k").other
    assert (other["TRANSPORT_MSS"], other["LOCAL_CONG_CONTROL"]) == ("1448", "cubic")
    assert other["COMMAND_LINE"].startswith("netperf -H")
    assert parsed("tcp-stream-o-all").other["TRANSPORT_MSS"] == "1448"


def test_a_key_that_was_asked_for_and_is_not_there_was_lost() -> None:
    # else the command line would give a unit to a figure of another run
    assert "no THROUGHPUT_UNITS" in refusal(re.sub("THROUGHPUT_UNITS=.*\n", "", recorded("tcp-stream-k-f-G")))
    assert "no ELAPSED_TIME" in refusal(re.sub("ELAPSED_TIME=.*\n", "", recorded("tcp-stream-k-f-G")))


def test_of_all_keys_none_may_be_missing_that_a_figure_needs() -> None:
    everything = recorded("tcp-stream-k-all")
    assert "no THROUGHPUT_UNITS" in refusal(re.sub("THROUGHPUT_UNITS=.*\n", "", everything))
    assert "no ELAPSED_TIME" in refusal(re.sub("(?m)^ELAPSED_TIME=.*\n", "", everything))


def test_a_document_of_iperf3_is_handed_on() -> None:
    (path,) = DATA.glob("iperf3-tcp-[0-9]*.json")
    assert netperf_output.parse(path.read_text()).tool == "iperf 3.12"


@pytest.mark.parametrize(
    ("case", "command", "unit"),
    [
        ("tcp-stream-P-0", "m", "10^6bits/s"),
        ("tcp-stream-P-0-f-M", "M", "MBytes/s"),
        ("tcp-stream-P-0-f-M", "netperf -H pc2 -P 0 -fM", "MBytes/s"),
        ("tcp-stream-P-0-f-M", "/usr/bin/netperf -cC 2.5 -f M -P 0 -- -m 4k", "MBytes/s"),
        ("tcp-stream-P-0-f-M", "sudo netperf -cCfM -H pc2", "MBytes/s"),
        ("tcp-stream-P-0", "netperf -H pc2 -P 0", "10^6bits/s"),
        ("tcp-stream-P-0", "netperf -H pc2 -- -f M", "10^6bits/s"),  # behind -- it is the test's, not netperf's
        ("tcp-stream-v-0", "netperf -H pc2 -v 0", "10^6bits/s"),
        ("tcp-rr-P-0", "netperf -H pc2 -t TCP_RR -P 0", "Trans/s"),
        ("tcp-rr-P-0", "x", "Trans/s"),
        ("tcp-stream-P-0", "x", ""),  # 2.7 prints 10^6bits; what others print is not known
        ("tcp-stream-P-0", "B", ""),  # until 2.6 netperf knew no B, and printed KBytes
        ("tcp-stream-P-0", "b", ""),
        ("tcp-rr-P-0", "m", ""),  # until 2.4 transactions all the same
        ("omni-o", "", "10^6bits/s"),
    ],
)
def test_a_unit_that_was_lost_comes_from_the_command_and_only_where_it_is_certain(case: str, command: str, unit: str) -> None:
    assert parsed(case, command).throughput.unit == unit


@pytest.mark.parametrize(
    ("case", "command"),
    [
        ("tcp-stream", "M"),
        ("tcp-stream-f-M", "netperf -H pc2"),
        ("tcp-stream-f-M", "netperf -H pc2 -f m"),
        ("tcp-stream-k-f-M", "m"),
        ("tcp-rr", "netperf -H pc2 -t TCP_STREAM"),
        ("tcp-stream", "netperf -H pc2 -t UDP_STREAM"),
        ("udp-stream-P-0", "netperf -H pc2 -P 0"),
        ("tcp-rr-P-0", "netperf -H pc2 -P 0"),
        ("tcp-maerts-k", "netperf -H pc2 -P 0 -- -k"),
    ],
)
def test_a_command_that_cannot_have_printed_it_is_refused(case: str, command: str) -> None:
    assert "not its own" in (what := refusal(recorded(case), command)) or "not of one test" in what


@pytest.mark.parametrize("command", ["q", "ping pc2", "netperf -f", "netperf -f q", "netperf -t FTP", "netperf -0", "'", "-f m"])
def test_what_is_no_command_of_netperf_is_refused(command: str) -> None:
    assert "neither a command line" in refusal(recorded("tcp-stream"), command)
    with pytest.raises(BadInput):
        netperf_command.read(command)


def test_a_service_demand_is_no_throughput() -> None:
    assert "not understood" in refusal((DATA / "refused-service-demand-c-C-v-0.txt").read_text())
    assert "not understood" in refusal("172.392 S\n", "m")


@pytest.mark.parametrize(
    ("case", "now", "then"),
    [
        ("udp-stream", "10^6bits/sec", "MBytes/sec"),
        ("udp-stream-lossy-f-M", "MBytes/sec", "10^6bits/sec"),
        ("by-hand-2.4-udp-stream", "90.05", "80.05"),
        ("tcp-stream-k", "10^6bits/s", "MBytes/s"),
        ("tcp-stream-k-f-M", "MBytes/s", "10^6bits/s"),
        ("tcp-stream-k", "THROUGHPUT=93.98", "THROUGHPUT=94.98"),
        ("tcp-maerts-k", "10^6bits/s", "10^3bits/s"),
        ("tcp-stream-o-all", "10^6bits/s", "10^9bits/s"),
        ("tcp-rr-k", "THROUGHPUT=31329.94", "THROUGHPUT=3132.94"),
    ],
)
def test_a_figure_or_a_unit_that_what_was_counted_contradicts_is_refused(case: str, now: str, then: str) -> None:
    assert now in recorded(case)
    assert "contradicts itself" in refusal(recorded(case).replace(now, then))


def test_means_of_several_runs_are_not_held_against_the_counts_of_the_last() -> None:
    assert parsed("udp-stream-I-unmet").throughput.printed == "96.36"
    several = recorded("tcp-stream-k").replace("CONFIDENCE_ITERATION=1", "CONFIDENCE_ITERATION=3")
    assert netperf_output.parse(several.replace("THROUGHPUT=93.98", "THROUGHPUT=92.00", 1)).throughput.printed == "92.00"


NONSENSE = (
    "",
    "\n",
    "\n\n",
    " ",
    "hello\n",
    "94.15",
    "94.1\n",
    "94,15\n",
    "-94.15\n",
    "nan\n",
    "inf\n",
    "1e3\n",
    "9_4.15\n",
    "٩٤.١٥\n",
    "94.15 94.15\n",
    "\x00\n",
    "THROUGHPUT=\n",
    "THROUGHPUT=nan\n",
    "THROUGHPUT=-1.00\n",
    "THROUGHPUT=94.1\n",
    "THROUGHPUT=٩٤.١٥\n",
    "ELAPSED_TIME=1.00\n",
    "Throughput\n",
    "Throughput,Throughput Units\n94.15\n",
    'Throughput\n"94.15\n',
)


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_output_of_netperf_is_refused(text: str) -> None:
    assert read(text) is None


def test_figures_too_large_for_any_network_are_refused() -> None:
    long = "9" * 400
    for case in ("tcp-stream", "tcp-stream-k", "tcp-stream-D-k", "tcp-stream-D", "udp-stream", "tcp-stream-o-all", "tcp-rr"):
        for figure in set(re.findall(r"\b\d+\b", recorded(case))):
            assert same_figure(read(re.sub(rf"\b{figure}\b", long, recorded(case))), parsed(case))
    assert refusal(f"{long}.00\n")


@pytest.mark.parametrize("elapsed", ["0.00", "-1.00", "1.0", "nan"])
def test_a_duration_that_cannot_be_is_refused(elapsed: str) -> None:
    for case in ("tcp-stream-k-default", "tcp-stream-k"):
        assert refusal(re.sub("ELAPSED_TIME=.*", f"ELAPSED_TIME={elapsed}", recorded(case)))
    assert read(recorded("tcp-stream").replace("2.04  ", f"{elapsed}  ")) is None


def test_lines_that_end_as_on_windows_or_have_lost_their_blanks_are_read() -> None:
    for case in OUTPUTS:
        text = recorded(case)
        assert netperf_output.parse(text.replace("\n", "\r\n")) == parsed(case)
        assert netperf_output.parse("\n".join(line.rstrip() for line in text.split("\n")).rstrip() + "\n") == parsed(case)


# --- any figures, in the formats of netperf's source

SIZE, SECONDS = st.integers(0, 10**6), st.floats(0.01, 10**5)
FIGURE = st.floats(0, 10**9)
UNIT = st.sampled_from(["KBytes", "MBytes", "GBytes", "Bytes", "10^3bits", "10^6bits", "10^9bits"])
FROM = "0.0.0.0 (0.0.0.0) port 0 AF_INET to pc2 () port 0 AF_INET : demo\n"


def told(text: str, figure: float, unit: str) -> None:
    measurement = netperf_output.parse(text)
    assert measurement.throughput.printed == f"{figure:.2f}"
    assert word(measurement.throughput.unit) == unit


@UNHURRIED
@given(st.sampled_from(["MIGRATED TCP STREAM", "TCP STREAM", "MIGRATED TCP MAERTS"]), SIZE, SECONDS, FIGURE, UNIT)
def test_any_stream_is_read_back(name: str, size: int, seconds: float, figure: float, unit: str) -> None:
    title = f"""\
Recv   Send    Send
Socket Socket  Message  Elapsed
Size   Size    Size     Time     Throughput
bytes  bytes   bytes    secs.    {unit}/sec\n\n"""
    line = "%6d %6d %6d    %-6.2f   %7.2f   \n" % (size, size, size, seconds, figure)
    told(f"{name} TEST from {FROM}{title}{line}", figure, unit)
    told(title + line, figure, unit)
    told(line, figure, "")


@UNHURRIED
@given(SIZE, SECONDS, FIGURE, UNIT, st.floats(-100, 100))
def test_any_stream_with_the_use_of_the_cpu_is_read_back(size: int, seconds: float, figure: float, unit: str, cpu: float) -> None:
    title = f"""\
Recv   Send    Send                          Utilization       Service Demand
Socket Socket  Message  Elapsed              Send     Recv     Send    Recv
Size   Size    Size     Time     Throughput  local    remote   local   remote
bytes  bytes   bytes    secs.    {unit:<8}/s  % S      % U      us/KB   us/KB\n\n"""
    figures = (size, size, size, seconds, figure, cpu, cpu, cpu, cpu)
    line = "%6d %6d %6d    %-6.2f     %7.2f   %-6.2f   %-6.2f   %-6.3f  %-6.3f \n" % figures
    told(f"TCP STREAM TEST to pc2\n{title}{line}", figure, unit)
    told(line, figure, "")


@UNHURRIED
@given(st.integers(1, 65507), st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0.5, 1000))
def test_any_stream_of_datagrams_is_read_back(size: int, sent: int, arrived: int, seconds: float) -> None:
    figure, before = arrived * size * 8 / seconds / 1e6, sent * size * 8 / seconds / 1e6
    title = """\
Socket  Message  Elapsed      Messages
Size    Size     Time         Okay Errors   Throughput
bytes   bytes    secs            #      #   10^6bits/sec\n\n"""
    line = "%6d  %6d   %-7.2f   %7d %6d    %7.2f\n" % (212992, size, seconds, sent, 0, before)
    line += "%6d           %-7.2f   %7d           %7.2f\n\n" % (212992, seconds, arrived, figure)
    told(f"MIGRATED UDP STREAM TEST from {FROM}{title}{line}", figure, "10^6bits")
    told(line, figure, "")


@UNHURRIED
@given(SIZE, SECONDS, FIGURE, st.sampled_from(["TCP REQUEST/RESPONSE", "MIGRATED UDP REQUEST/RESPONSE"]))
def test_any_exchange_is_read_back(size: int, seconds: float, figure: float, name: str) -> None:
    title = """\
Local /Remote
Socket Size   Request  Resp.   Elapsed  Trans.
Send   Recv   Size     Size    Time     Rate
bytes  Bytes  bytes    bytes   secs.    per sec\n\n"""
    line = "%-6d %-6d %-6d   %-6d  %-6.2f   %7.2f   \n%-6d %-6d\n" % (size, size, 1, 1, seconds, figure, size, size)
    told(f"{name} TEST from {FROM}{title}{line}", figure, "Trans")
    told(line, figure, "")


@UNHURRIED
@given(FIGURE, UNIT, SECONDS, st.randoms(use_true_random=False))
def test_any_keys_are_read_back_in_whatever_order(figure: float, unit: str, seconds: float, order: object) -> None:
    lines = [f"THROUGHPUT={figure:.2f}", f"THROUGHPUT_UNITS={unit}/s", f"ELAPSED_TIME={seconds:.2f}", 'COMMAND_LINE="netperf -x"']
    order.shuffle(lines)  # type: ignore[attr-defined]
    told("\n".join(lines) + "\n", figure, unit)
    names = "Elapsed Time (sec),Throughput,Throughput Units,Test UUID\n"
    told(f"{names}{seconds:.2f},{figure:.2f},{unit}/s,{seconds}\n", figure, unit)


@UNHURRIED
@given(FIGURE)
def test_any_number_alone_is_read_back_without_a_unit(figure: float) -> None:
    told(f"{figure:7.2f} \n", figure, "")


# --- damaged outputs


@UNHURRIED
@given(st.sampled_from(list(OUTPUTS)), st.data())
def test_an_output_that_was_cut_off_is_refused_or_tells_the_same(case: str, data: st.DataObject) -> None:
    text, right = recorded(case), parsed(case)
    found = read(text[: data.draw(st.integers(0, len(text) - 1))])
    assert same_figure(found, right)
    if found:
        assert found.elapsed in (None, right.elapsed)
        assert found.retransmits in (None, right.retransmits)
        assert found.sent in (None, right.sent)
        assert found.interim == right.interim[: len(found.interim)]


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_with_a_line_lost_doubled_or_moved_is_refused_or_tells_the_same(case: str) -> None:
    lines, right = recorded(case).splitlines(keepends=True), parsed(case)
    for n in range(len(lines)):
        for changed in (
            lines[:n] + lines[n + 1 :],
            lines[: n + 1] + lines[n:],
            lines[:n] + lines[n + 1 : n + 2] + lines[n : n + 1] + lines[n + 2 :],
            [*lines[:n], "hello 1.00\n", *lines[n:]],
            [*lines[:n], lines[n].rstrip("\n"), *lines[n + 1 :]],
            lines[n:],
        ):
            assert same_figure(read("".join(changed)), right), changed


@pytest.mark.parametrize("case", OUTPUTS)
def test_two_outputs_in_one_are_refused(case: str) -> None:
    for other in OUTPUTS:
        assert read(recorded(case) + recorded(other)) is None


@pytest.mark.parametrize("case", COUNTED)
def test_one_changed_digit_or_letter_is_seen_where_something_was_counted(case: str) -> None:
    text, right = recorded(case), parsed(case)
    assert right.throughput.scale
    off = 0.01 * right.throughput.value + 4 * right.throughput.rounding
    for at, n in itertools.product(range(0, len(text), 1 + len(text) // 2000), (0, 2)):  # two of the five letters at each place
        found = read(text[:at] + "05.M "[(at + n) % 5] + text[at + 1 :])
        if found and found.throughput.unit and word(found.throughput.unit) != word(right.throughput.unit):
            assert found.throughput.bits_per_second is None
        elif found:
            assert abs(found.throughput.value - right.throughput.value) <= off


@pytest.mark.parametrize("case", ["tcp-stream", "tcp-stream-f-M", "tcp-stream-P-0", "tcp-stream-c-C", "tcp-rr-f-M", "udp-stream"])
def test_a_letter_too_many_or_too_few_is_seen_by_the_width_of_the_line(case: str) -> None:
    text, right = recorded(case), parsed(case)
    unit = range(at := text.find(right.throughput.unit or "none"), at + 6)  # without its M, MBytes is another unit's name
    for at in set(range(len(text))) - set(unit):
        assert same_figure(read(text[:at] + text[at + 1 :]), right), text[at:]
        assert same_figure(read(text[:at] + "1" + text[at:]), right), text[at:]


def test_a_name_that_is_no_unit_of_netperf_is_refused() -> None:
    for case, letters in itertools.product(("tcp-stream", "tcp-stream-k", "tcp-stream-c-C"), ("", "0^6bits", "bits", "Mbits")):
        assert refusal(recorded(case).replace("10^6bits/", f"{letters}/"))


def test_a_letter_that_the_unit_lost_is_seen_where_its_name_is_filled_up() -> None:
    assert refusal(recorded("tcp-stream-c-C-f-M").replace("MBytes  /s", "Bytes  /s"))


@UNHURRIED
@given(st.sampled_from(sorted(itertools.permutations(COUNTED, 2))), st.data())
def test_a_splice_of_two_outputs_that_count_is_refused_or_tells_what_one_of_them_tells(
    pair: tuple[str, str], data: st.DataObject
) -> None:
    one, other = (recorded(case).splitlines(keepends=True) for case in pair)
    spliced = one[: data.draw(st.integers(0, len(one)))] + other[data.draw(st.integers(0, len(other))) :]
    found = read("".join(spliced))
    assert any(same_figure(found, parsed(case)) for case in pair)


@UNHURRIED
@given(st.text(max_size=200))
def test_any_text_is_refused_or_is_a_number_alone(text: str) -> None:
    found = read(text + "\n")
    assert found is None or found.form == "number" or "THROUGHPUT" in text


def test_letters_and_units_are_those_of_the_table() -> None:
    assert netperf_command.read("M").letter == "M"
    assert netperf_command.read("").line == ""
    assert netperf_command.read("netperf -t omni").test == ""
    assert all(netperf_command.read(letter).letter == letter for letter in LETTERS)
