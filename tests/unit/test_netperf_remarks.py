"""What netperf says beside its figures: a figure that stands is read with the remark; a failure is told by its cause."""

from pathlib import Path

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.network.throughput import netperf_output, netperf_remarks
from hikkoshi.network.throughput.units import Reading, rows

DATA = Path(__file__).parents[1] / "data" / "netperf"
PLAIN = (DATA / "tcp-stream-94.14-Mbit.txt").read_text()
KEYS = (DATA / "tcp-stream-k-93.98-Mbit.txt").read_text()
SAID = {  # {a remark as it is printed: its code}
    "enable_enobufs failed: getprotobyname": "netperf-drops-unseen",
    "enable_enobufs failed: setsockopt (errno 92)": "netperf-drops-unseen",
    "catcher: timer popped with times_up != 0": "netperf-timer-twice",
    "catcher: interval timer running unexpectedly!": "netperf-timer-twice",
    "Sorry, Demo Mode not configured into this netperf.\nPlease consider reconfiguring netperf with\n"
    "--enable-demo=yes and recompiling": "netperf-without-demo",
    "Packet rate control is not compiled in.": "netperf-option-without-effect",
    "Packet burst size is not compiled in. ": "netperf-option-without-effect",
    "Initial request burst functionality not compiled-in!": "netperf-option-without-effect",
    "I don't know how to get dirty.": "netperf-option-without-effect",
    "WARNING: IP_MTU_DISCOVER not available on this platform": "netperf-option-without-effect",
    "failed to set PID 4711's CPU affinity errno 22": "netperf-option-without-effect",
    "CPU number larger than pre-compiled limits. Consider a recompile.": "netperf-option-without-effect",
    "Processor affinity not available for this platform!": "netperf-option-without-effect",
    "bind_to_processor: unable to perform processor binding": "netperf-option-without-effect",
    "Could not open requested fill file: No such file or directory": "netperf-fill-file-unread",
    "WARNING! Histograms and first bursts are incompatible!": "netperf-histogram-with-burst",
    "netperf: create_data_socket: nodelay: errno 92": "netperf-socket-option-refused",
    "netperf: setsockopt: SO_MAX_PACING_RATE: errno 92": "netperf-socket-option-refused",
    "set_socket_tos ip_tos failed with Operation not permitted (errno 1)": "netperf-socket-option-refused",
    "WARNING! ipv4 not recognized as an address family, using AF_UNPSEC\n"
    "Are you sure netperf was configured for that address family?": "netperf-address-family-unknown",
    "WARNING! getaddrinfo returned a protocol other than the\nrequested protocol.  Please contact your vendor for\n"
    "a fix to this bug in getaddrinfo()": "netperf-getaddrinfo-odd",
    "WARNING WARNING WARNING  WARNING WARNING WARNING  WARNING!\n"
    "Local CPU usage numbers based on process information only!": "netperf-processor-use-rough",
    "DANGER  DANGER  DANGER    DANGER  DANGER  DANGER    DANGER!\n"
    "Remote CPU usage numbers based on process information only!": "netperf-processor-use-rough",
}
CAUSES = {
    "refused-by-hand-control-silent": "netperf-control-lost",
    "refused-by-hand-2.4-control-cut": "netperf-control-lost",
    "refused-by-hand-2.4-partial-response-of-2.5": "netperf-versions-differ",
    "refused-by-hand-data-port-closed": "netperf-data-port-closed",
    "refused-by-hand-remote-error": "netserver-failed",
    "refused-by-hand-option-unknown": "netperf-option-unknown",
    "refused-by-hand-iperf3-for-people": "iperf3-output-for-people",
    "refused-by-hand-iperf2": "iperf3-output-for-people",
    "refused-local-address-wrong": "netserver-missing",
    "refused-no-netserver": "netserver-missing",
}


def recorded(case: str) -> Reading:
    (path,) = DATA.glob(f"{case}-[0-9]*.txt")
    return netperf_output.parse(path.read_text())


@pytest.mark.parametrize("said", SAID, ids=lambda said: said[:40])
@pytest.mark.parametrize("output", [PLAIN, KEYS], ids=["classic", "keys"])
def test_a_remark_before_or_behind_any_line_leaves_the_figure_as_it_is(said: str, output: str) -> None:
    lines, right = output.splitlines(keepends=True), netperf_output.parse(output)
    for at in (0, 1, len(lines) - 1, len(lines)):
        found = netperf_output.parse("".join([*lines[:at], f"{said}\n", *lines[at:]]))
        assert found.throughput == right.throughput
        assert (found.elapsed, found.other) == (right.elapsed, right.other)
        (remark,) = found.remarks
        assert (remark.code, remark.said) == (SAID[said], said.strip())


def test_a_remark_that_is_made_twice_is_told_once() -> None:
    assert len(recorded("by-hand-remark-timer-P-0").remarks) == 1
    assert [r.code for r in recorded("by-hand-remark-address-family").remarks] == [
        "netperf-socket-option-refused",
        "netperf-address-family-unknown",
    ]


def test_a_remark_is_shown_beside_its_figure_and_is_in_the_json() -> None:
    found = recorded("by-hand-remark-enobufs-rr-k")
    assert rows(found)[-1]["what"] == "remark"
    assert "enable_enobufs" in rows(found)[-1]["found"]
    assert [r["code"] for r in found.plain()["remarks"]] == ["netperf-drops-unseen"]  # type: ignore[index, union-attr, call-overload]
    assert netperf_output.parse(PLAIN).plain()["remarks"] == []


@pytest.mark.parametrize(
    "words", ["netperf: something new", "enable_enobufs failed: getprotobyname 7", "netperf: create_data_socket: x"]
)
def test_words_that_nobody_knows_are_refused_as_before(words: str) -> None:
    with pytest.raises(BadInput):
        netperf_output.parse(PLAIN.replace("Recv   Send", f"{words}\nRecv   Send", 1))


def test_a_histogram_is_kept_and_its_counts_add_up() -> None:
    for case in ("by-hand-histogram-rr-v-2", "by-hand-histogram-omni-k-v-2"):
        assert recorded(case).other["HISTOGRAM"].startswith("Histogram of ")
    (path,) = DATA.glob("by-hand-histogram-rr*")
    for wrong in (path.read_text().replace("21013", "2101"), path.read_text().replace("38689", "38690")):
        with pytest.raises(BadInput, match="histogram contradicts"):
            netperf_output.parse(wrong)
    with pytest.raises(BadInput):  # cut off within it
        netperf_output.parse(path.read_text().partition("UNIT_SEC")[0])


@pytest.mark.parametrize(("case", "code"), CAUSES.items())
def test_a_failure_is_told_by_its_cause(case: str, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        netperf_output.parse((DATA / f"{case}.txt").read_text())
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.remedy


def test_a_remark_alone_explains_no_failure() -> None:
    for said in SAID:
        assert netperf_remarks.explain(said) is None


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (
            "Sorry, this system has more CPUs (768) than I can handle (512).\nPlease alter MAXCPUS in netlib.h and recompile.\n",
            "netperf-too-many-processors",
        ),
        (
            "alloc_sendfile_buf_ring: specified file too small.\nfile must be larger than send_width * send_size\n",
            "netperf-file-too-small",
        ),
    ],
)
def test_a_failure_before_anything_was_sent_is_told_by_its_cause(said: str, code: str) -> None:
    with pytest.raises(BadInput) as e:
        netperf_output.parse(said)
    assert [p.code for p in e.value.problems] == [code]
