"""What netperf says beside its figures: remarks, after which it goes on and measures, and failures, after which there are none.

The words are those of netperf's own source, 2.4 to 2.7 and later (`src/netlib.c`, `netsh.c`, `nettest_bsd.c`,
`nettest_omni.c`). They come on standard output, in lines of their own, wherever its output happens to be by then.
"""

import re

from hikkoshi.errors import Problem
from hikkoshi.network.throughput.units import Remark

REMARKS = tuple(  # (of these words one is in them, the whole lines, what they mean for the figure)
    (words, re.compile(rf"^(?:{lines})$\n?", re.M), remark)
    for words, lines, remark in (
        (
            ("enable_enobufs",),
            r"enable_enobufs failed: (?:getprotobyname|setsockopt \(errno \d+\))",
            Remark(
                code="netperf-drops-unseen",
                remark="netperf cannot see what its own machine drops before sending: over UDP more may be counted as sent than "
                "left; what arrived is right",
            ),
        ),
        (
            ("shutdown_control",),
            r"shutdown_control: no response received\.? *(?:errno -?\d+ counter -?\d+)?",
            Remark(
                code="netperf-end-unanswered",
                remark="netserver did not answer when the test had ended: the figure is whole; see that netserver still runs",
            ),
        ),
        (
            ("catcher: ",),
            r"catcher: (?:timer popped with times_up != 0|interval timer running unexpectedly!)",
            Remark(
                code="netperf-timer-twice",
                remark="netperf's clock ran out a second time: see that the elapsed time is about what was asked for (-l)",
            ),
        ),
        (
            ("Demo Mode",),
            r"Sorry, Demo Mode not configured into this netperf\.(?:\n[^\n]*)?(?:\n--enable-demo=yes[^\n]*)?",
            Remark(
                code="netperf-without-demo",
                remark="this netperf has no demo mode (-D), so there are no interim results: install one that was built with "
                "--enable-demo=yes, or measure without -D",
            ),
        ),
        (
            ("not compiled", "dirty", "available", "copy avoidance", "affinity", "processor binding", "CPU number larger"),
            r"(?:netperf: )?create_data_socket: Could not enable receive copy avoidance"
            r"|Packet (?:rate control|burst size) is not compiled in\.|Initial request burst functionality not compiled-in!"
            r"|I don't know how to get dirty\.|Local (?:send|recv) copy avoidance not available\."
            r"|failed to set PID \d+'s CPU affinity errno \d+|Invalid use_cpu_affinity specified: -?\d+"
            r"|CPU number larger than pre-compiled limits\. Consider a recompile\."
            r"|Processor affinity not available for this platform!|bind_to_processor: unable to perform processor binding"
            r"|WARNING: (?:TCP_CORK|IP_MTU_DISCOVER|TCP FASTOPEN) not available on this platform!?",
            Remark(
                code="netperf-option-without-effect",
                remark="netperf or the system is built without an option that was asked for: the figure is of a test without it",
            ),
        ),
        (
            ("fill file",),
            r"Could not open requested fill file: .*",
            Remark(
                code="netperf-fill-file-unread",
                remark="netperf could not read the file that it was to send (-F), and sent bytes of its own: where the path "
                "compresses, the figure is another",
            ),
        ),
        (
            ("first bursts",),
            r"WARNING! Histograms and first bursts are incompatible!",
            Remark(
                code="netperf-histogram-with-burst",
                remark="a histogram (-v 2) tells nothing where several requests are under way at once (-b): the rate is right",
            ),
        ),
        (
            ("errno",),
            r"netperf: (?:create_data_socket: (?:nodelay:|so_dontroute:|so_priority:|SO_REUSEADDR failed)"
            r"|setsockopt: SO_MAX_PACING_RATE:"
            r"|get_sock_buffer: getsockopt SO_(?:SND|RCV)BUF:|get_tcp_info: getsockopt TCP_MAXSEG:)(?: errno)? \d+"
            r"|\w+ ip_tos failed with .* \(errno \d+\)|[gs]etsockopt\(IP_TTL\) failed errno \d+",
            Remark(
                code="netperf-socket-option-refused",
                remark="the kernel refused an option of the socket: the figure is of a test without it",
            ),
        ),
        (
            ("address family",),
            r"WARNING! .* not recognized as an address family, using AF_UNPSEC\n"
            r"Are you sure netperf was configured for that address family\?",
            Remark(
                code="netperf-address-family-unknown",
                remark="netperf does not know the address family that was asked for, and took the one of the address",
            ),
        ),
        (
            ("getaddrinfo",),
            r"WARNING! getaddrinfo (?:returned a (?:socket type which did not|protocol other than the)\n[^\n]*\n"
            r"|on this platform does not accept IPPROTO_(?:SCTP|DCCP)!\nPlease contact your vendor for )"
            r"a fix to this bug in getaddrinfo\(\)\.?",
            Remark(code="netperf-getaddrinfo-odd", remark="a known fault of the system's getaddrinfo; the test is not touched"),
        ),
        (
            ("CPU usage numbers",),
            r"(?:WARNING|DANGER)(?: +(?:WARNING|DANGER)){6}!\n(?:Local|Remote) CPU usage numbers based on process "
            r"information only!",
            Remark(
                code="netperf-processor-use-rough",
                remark="the kernel counts no idle time: the use of processors is rough, the throughput is right",
            ),
        ),
    )
)
_HISTOGRAM = re.compile(
    r"\n+(Histogram of [^\n]*\n(?:[A-Z]+_[UM]?SEC *(?:: *\d+){10}\n)+>100_SECS: *\d+\nHIST_TOTAL: *(?P<total>\d+)\n?)\n*\Z"
)
FAILURES = (  # (how netperf says it, what it means and what to do); the first that is said counts
    (
        r"(?:netperf|iperf3?): (?:command )?not found|failed to run command ['‘`]?[\w/.-]*(?:netperf|iperf3?)\b"
        r"|(?:netperf|iperf3?)['’]?: No such file or directory|[Cc]ommand '(?:netperf|iperf3?)' not found",
        Problem(
            code="measuring-tool-missing",
            what="nothing was measured: the tool is not installed there",
            remedy="install netperf, or iperf3, on the machine that was to measure, or give its whole path, and measure again",
        ),
    ),
    (
        r"(?m)^Usage: iperf3? ",
        Problem(
            code="iperf3-option-unknown",
            what="iperf3 measured nothing: it does not know an option, and printed its usage",
            remedy="leave out the option that it names, or use an iperf3 that has it",
        ),
    ),
    (
        r"more CPUs \(\d+\) than I can handle",
        Problem(
            code="netperf-too-many-processors",
            what="netperf measured nothing: it was built for fewer processors than there are",
            remedy="install a netperf that was built with a larger MAXCPUS, or measure with iperf3",
        ),
    ),
    (
        r"specified file too small",
        Problem(
            code="netperf-file-too-small",
            what="netperf measured nothing: the file that it was to send (-F) is smaller than what it sends at once",
            remedy="give a larger file, or leave -F out",
        ),
    ),
    (
        r"not compiled on an IPv6 capable system",
        Problem(
            code="netperf-without-ipv6",
            what="netperf measured nothing: it was built without IPv6",
            remedy="give an IPv4 address (-4, -H), or use a netperf that was built on a system with IPv6",
        ),
    ),
    (
        r"tests must be timed",
        Problem(
            code="netperf-not-timed",
            what="netperf measured nothing: this test takes seconds, not bytes or transactions",
            remedy="give its length in seconds: a number above 0 behind -l",
        ),
    ),
    (
        r"are you sure there is a netserver|could not establish the control",
        Problem(
            code="netserver-missing",
            what="netperf measured nothing: no netserver answers",
            remedy="start netserver on the other side, and see that its port 12865 and those above 1024 can be reached from here",
        ),
    ),
    (
        r"could not resolve",
        Problem(
            code="netserver-unknown",
            what="netperf measured nothing: the name of the other side is not known",
            remedy="give its address, or correct the name",
        ),
    ),
    (
        r"is unknown to this netperf",
        Problem(
            code="netperf-test-unknown",
            what="netperf measured nothing: this netperf does not have the test",
            remedy="use TCP_STREAM, TCP_RR or UDP_STREAM",
        ),
    ),
    (
        r"partial response received",
        Problem(
            code="netperf-versions-differ",
            what="netperf measured nothing: the two sides speak different versions of netperf's protocol",
            remedy="use netperf and netserver both before 2.6, or both from 2.6 on",
        ),
    ),
    (
        r"no response received|recv_response(?:\w*): ",
        Problem(
            code="netperf-control-lost",
            what="netperf measured nothing: the control connection fell silent, or was cut, during the test",
            remedy="see that netserver still runs on the other side; a firewall between may drop a connection on which nothing "
            "is said while the test lasts: let it keep port 12865 longer, or measure for fewer seconds (-l)",
        ),
    ),
    (
        r"data socket connect failed|connect_data_socket failed",
        Problem(
            code="netperf-data-port-closed",
            what="netperf measured nothing: netserver answers, but the connection for the data does not come about",
            remedy="open the port of the data in the firewall: the system draws one above 1024, unless the test is told "
            "which (… -- -P ,12866)",
        ),
    ),
    (
        r"data send error|send_data failed|data recv error|recv_data failed",
        Problem(
            code="netperf-sending-failed",
            what="netperf measured nothing: sending failed in the midst of the test",
            remedy="mend the path, or choose a smaller message (-- -m)",
        ),
    ),
    (
        r"netperf: remote error -?\d+",
        Problem(
            code="netserver-failed",
            what="netperf measured nothing: netserver could not do its part",
            remedy="the number is the errno of the other side, and its word stands behind it: see what netserver lacks there "
            "(a port that is taken, memory, a permission), or start it anew",
        ),
    ),
    (
        r"create_data_socket|unable to create data socket|data_?socket bind failed|set_sock_buffer: ",
        Problem(
            code="netperf-socket-refused",
            what="netperf measured nothing: its own machine gave it no socket as it was asked for",
            remedy="see that the local address (-L) is one of this machine, and leave sizes of socket buffers (-- -s, -S) out",
        ),
    ),
    (
        r"(?m)^Usage: netperf |invalid option -- ",
        Problem(
            code="netperf-option-unknown",
            what="netperf measured nothing: it does not know an option, and printed its usage",
            remedy="leave out the option that it names, or use a netperf that has it (2.7 has most of them)",
        ),
    ),
)


def taken_out(text: str) -> tuple[str, tuple[Remark, ...]]:
    """An output without what netperf remarks in it, and the remarks, each once, as it printed them."""
    found: dict[Remark, None] = {}
    for words, lines, remark in REMARKS:
        if not any(word in text for word in words):
            continue  # searching every line for it would take longer than all the rest
        for said in lines.finditer(text):
            found[remark.of(said[0].strip())] = None
        text = lines.sub("", text)
    return text, tuple(found)


def histogram_taken_out(text: str) -> tuple[str, str]:
    """An output without the histogram at its end (-v 2), and the histogram; `ValueError` where its counts do not add up."""
    found = _HISTOGRAM.search(text) if "Histogram of" in text else None
    if not found:
        return text, ""
    *rows, _ = found[1].rstrip("\n").split("\n")[1:]
    counted = sum(int(count) for row in rows for count in row.partition(":")[2].split(":"))
    if counted != int(found["total"]):
        raise ValueError("its histogram contradicts itself", f"{counted} in its rows, HIST_TOTAL {found['total']}")
    return text[: found.start()] + "\n", found[1]


def explain(text: str) -> Problem | None:
    """What went wrong and what to do, where an output tells of a failure that is known."""
    bodies = (taken_out(text)[0], *re.findall(r"shutdown_control: .*", text))  # which is a remark where there are figures
    return next((problem for body in bodies for said, problem in FAILURES if re.search(said, body)), None)
