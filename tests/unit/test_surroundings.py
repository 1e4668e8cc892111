"""What stands around the output of netperf or iperf3 in a copy of a terminal does not hide its figures, and nothing else does."""

from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.throughput import netperf_output

DATA = Path(__file__).parents[1] / "data" / "netperf"
NETPERF = [(DATA / name).read_text() for name in ("tcp-stream-94.14-Mbit.txt", "tcp-stream-k-93.98-Mbit.txt")]
IPERF = (DATA / "iperf3-tcp-93.78-Mbit.json").read_text()
KNOWN_HOST = "Warning: Permanently added '10.0.0.1' (RSA) to the list of known hosts.\r\n"
LOCALE = "bash: warning: setlocale: LC_ALL: cannot change locale (de_DE.UTF-8)\n"
AROUND = {
    "a byte order mark": ("\ufeff", "", False),
    "blank lines": ("\n\n", "", False),
    "a prompt": ("$ netperf -H 10.3.2.20\n", "$ ", True),
    "root's prompt": ("[root@gateway ~]# iperf3 -J -c 10.3.2.20\n", "[root@gateway ~]# \n", True),
    "Debian's prompt": ("admin@web:/srv$ netperf -H 10.3.2.20\n", "admin@web:/srv$ exit\n", True),
    "ssh": (KNOWN_HOST, "Connection to 10.0.0.1 closed.\n", True),
    "ssh and the language": (KNOWN_HOST + LOCALE, "", True),
    "time(1)": ("", "\nreal\t0m2.1s\nuser\t0m0.0s\nsys\t0m0.1s\n", True),
    "all at once": ("\ufeff\n$ time netperf -H 10.3.2.20\n" + LOCALE, "\nreal\t0m2,1s\nuser\t0m0,0s\nsys\t0m0,1s\n$ ", True),
}


def problem(text: str) -> Problem:
    with pytest.raises(BadInput) as e:
        netperf_output.parse(text)
    return e.value.problems[0]


@pytest.mark.parametrize("text", [*NETPERF, IPERF], ids=["netperf", "netperf -k", "iperf3"])
@pytest.mark.parametrize(("above", "below", "shown"), AROUND.values(), ids=AROUND)
def test_what_a_terminal_puts_around_an_output_is_left_out_and_shown(above: str, below: str, shown: bool, text: str) -> None:
    found, right = netperf_output.parse(above + text + below), netperf_output.parse(text)
    assert (found.throughput, found.sent, found.elapsed) == (right.throughput, right.sent, right.elapsed)
    assert [r.code for r in found.remarks if r not in right.remarks] == ["output-surrounded"] * shown


def test_above_and_below_a_document_of_iperf3_may_stand_whatever_a_login_says() -> None:
    found = netperf_output.parse("Authorized uses only.\nAll activity may be monitored.\n" + IPERF + "\nlogout\n")
    assert found.throughput == netperf_output.parse(IPERF).throughput
    assert "Authorized uses only." in str(found.remarks[0])


@pytest.mark.parametrize(
    "text", [NETPERF[0] + "\n" + IPERF, IPERF + "\n" + NETPERF[0], IPERF + "\n" + IPERF, IPERF[:-40] + "\n$ "]
)
def test_another_output_or_a_torn_one_is_no_surrounding(text: str) -> None:
    assert "iperf3" in problem(text).code


def test_a_line_above_that_nobody_knows_is_named() -> None:
    refused = problem("Authorized uses only.\n" + NETPERF[0])
    assert refused.found == "Authorized uses only."
    assert "above" in refused.what


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_a_prompt_behind_an_output_that_was_cut_does_not_make_it_whole(cut: int) -> None:
    text = NETPERF[0].rstrip()[:-cut]
    with pytest.raises(BadInput):
        netperf_output.parse(text + "\n$ ")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("bash: iperf3: command not found\n", "measuring-tool-missing"),
        ("-bash: netperf: command not found", "measuring-tool-missing"),
        ("sh: 1: netperf: not found\n", "measuring-tool-missing"),
        ("timeout: failed to run command 'netperf': No such file or directory\n", "measuring-tool-missing"),
        ("bash: /usr/local/bin/netperf: No such file or directory\n", "measuring-tool-missing"),
        ("Usage: iperf3 [-s|-c host] [options]\n", "iperf3-option-unknown"),
        ("This netperf was not compiled on an IPv6 capable system!\n", "netperf-without-ipv6"),
        ("Sorry, UDP_STREAM tests must be timed.\n", "netperf-not-timed"),
        ("shutdown_control: no response received. errno 0 counter 0\n", "netperf-control-lost"),
    ],
)
def test_where_nothing_was_measured_the_cause_is_named(text: str, code: str) -> None:
    assert problem(text).code == code


@pytest.mark.parametrize("text", NETPERF, ids=["netperf", "netperf -k"])
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("netperf: create_data_socket: Could not enable receive copy avoidance\n", "netperf-option-without-effect"),
        ("shutdown_control: no response received. errno 0 counter 0\n", "netperf-end-unanswered"),
        ("shutdown_control: no response received.  errno 104 counter -1\n", "netperf-end-unanswered"),
    ],
)
def test_what_netperf_goes_on_after_is_a_remark(said: str, code: str, text: str) -> None:
    for whole in (said + text, text + said):
        found = netperf_output.parse(whole)
        assert found.throughput == netperf_output.parse(text).throughput
        assert code in [r.code for r in found.remarks]


@pytest.mark.parametrize(
    "said", ["unable to set TCP_CONGESTION: not supported", "unable to set socket buffer size: No buffer space"]
)
def test_an_option_that_iperf3_cannot_set_is_to_be_left_out(said: str) -> None:
    assert "leave the option out" in problem(f"iperf3: error - {said}\n").remedy
