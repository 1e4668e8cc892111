"""netperf's classic output: the titles of its columns and the formats of its lines, as 2.4 to 2.7 have them.

A line of figures is taken only if its format would print just this line again from what was read. So neither a digit that
was cut off nor two lines that were joined can pass for a figure.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hikkoshi.network.throughput.units import TRANSACTIONS

TCP = ("TCP_STREAM", "TCP_MAERTS", "TCP_SENDFILE")
UDP = ("UDP_STREAM",)
RR = ("TCP_RR", "UDP_RR", "TCP_CRR")

# printf formats of the lines below the titles, each with the names of its columns; those without a use are called _
STREAM = (("%6d %6d %6d    %-6.2f   %7.2f", "_ _ _ elapsed throughput"),)
STREAM_CPU = (("%6d %6d %6d    %-6.2f     %7.2f   %-6.2f   %-6.2f   %-6.3f  %-6.3f", "_ _ _ elapsed throughput _ _ _ _"),)
DATAGRAMS = (
    ("%6d  %6d   %-7.2f   %7d %6d    %7.2f", "_ size elapsed messages _ sent"),
    ("%6d           %-7.2f   %7d           %7.2f", "_ elapsed received throughput"),
)
DATAGRAMS_CPU = (
    ("%6d  %6d   %-7.2f   %7d %6d    %7.1f     %-6.2f   %-6.3f", "_ size elapsed messages _ sent _ _"),
    ("%6d           %-7.2f   %7d           %7.1f     %-6.2f   %-6.3f", "_ elapsed received throughput _ _"),
)
SOCKETS = ("%-6d %-6d", "_ _")  # of the remote side
EXCHANGES = (("%-6d %-6d %-6d   %-6d  %-6.2f   %7.2f", "_ _ _ _ elapsed throughput"), SOCKETS)
EXCHANGES_CPU = (
    ("%-6d %-6d %-6d  %-6d %-6.2f  %-6.2f  %-6.2f %-6.2f %-6.3f  %-6.3f", "_ _ _ _ elapsed throughput _ _ _ _"),
    SOCKETS,
)
EXCHANGES_CPU_OLD = (  # until 2.4, and in tests that have not changed since
    ("%-6d %-6d %-6d  %-6d %-6.2f  %-6.2f   %-6.2f %-6.2f %-6.3f  %-6.3f", "_ _ _ _ elapsed throughput _ _ _ _"),
    SOCKETS,
)
LONGEST = 20  # letters of a figure
NUMBER = "%7.2f"  # the whole of an output with -v 0
VERBOSE = re.compile(  # what -v 2 adds below
    r"\n*Alignment      Offset[^\n]*\nLocal  Remote[^\n]*\n(?:Send   Recv|Recv   Send) [^\n]*\n[ \d.e+]+\n"
    r"(\nMaximum\nSegment\nSize \(bytes\)\n *\d+\n)?"
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one output as it prints them, whichever its form; empty or None is what it does not print."""

    form: str
    throughput: str
    tests: tuple[str, ...] = ()  # of one of which it is; none: of any
    unit: str = ""
    elapsed: str = ""
    sent: str = ""
    again: str = ""  # the throughput once more
    arrived_bits: int | None = None  # counted, beside the throughput
    sent_bits: int | None = None
    single: bool | None = None  # of one run; else means of several (-I)
    wanted: float | None = None  # width of the confidence interval, in per cent, and the one that came out
    width: float | None = None
    retransmits: int | None = None
    interim: tuple[tuple[str, str, str], ...] = ()  # (throughput, unit, seconds)
    other: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """What some kinds of tests print: the lines of its title, with the unit where it stands there, and its rows."""

    tests: tuple[str, ...]
    title: re.Pattern[str]
    rows: tuple[tuple[str, str], ...]

    def read(self, lines: list[str]) -> dict[str, str] | None:
        """The named columns of its rows, as printed; None where one of these lines is no such row."""
        if len(lines) != len(self.rows):
            return None
        found: dict[str, str] = {}
        for (printf, names), line in zip(self.rows, lines, strict=True):
            read = columns(printf, line)
            if read is None:
                return None
            found |= zip(names.split(), read, strict=True)
        return found


def figures(text: str, *, titled: bool) -> Figures:
    """The figures below titles, without them (-P 0), or a number alone (-v 0). `ValueError` for anything else, or more.

    `titled` says that there are no figures in columns without their titles: netperf leaves out its banner with them.
    """
    titles = [(form, title) for form in FORMS if (title := form.title.match(text))]
    for form, title in titles:
        named = title.groupdict()
        unit = named["unit"] if "unit" in named else named.get("word", TRANSACTIONS) + "/s"
        if found := _below(form, unit, text[title.end() :]):
            return found
    if titles:
        raise ValueError("its figures are not as netperf prints them", text[titles[0][1].end() :][:160])
    lines = text.split("\n")
    if columns(NUMBER, lines[0]) and lines[1:] == [""]:
        return Figures(form="number", throughput=lines[0].strip())
    for form in () if titled else FORMS:
        if found := _below(form, "", text):
            return found
    raise ValueError("it is not understood", repr(lines[0][:120]))


def _below(form: Form, unit: str, text: str) -> Figures | None:
    """The figures of a form; None where the text does not begin with its rows."""
    lines = text.split("\n")
    own, rest = lines[: len(form.rows)], "\n".join(lines[len(form.rows) :])
    read = form.read(own)
    if read is None:
        return None
    verbose = VERBOSE.match(rest)
    if more := rest[verbose.end() if verbose else 0 :].strip("\n"):
        raise ValueError("something stands below its figures", repr(more[:120]))
    size = 8 * int(read.get("size", "0"))
    return Figures(
        form="classic",
        tests=form.tests,
        throughput=read["throughput"],
        unit=unit,
        elapsed=read["elapsed"],
        sent=read.get("sent", ""),
        arrived_bits=size * int(read["received"]) if "received" in read else None,
        sent_bits=size * int(read["messages"]) if "messages" in read else None,
    )


def columns(printf: str, line: str) -> list[str] | None:
    """The columns of a line; None unless the format would print just this line again from what was read."""
    read = line.split()
    kinds = re.findall(r"%[-0-9.]*([df])", printf)
    if max(map(len, read), default=0) > LONGEST:
        return None
    try:
        values = tuple(int(c) if kind == "d" else float(c) for kind, c in zip(kinds, read, strict=True))
    except ValueError:
        return None
    if not all(map(math.isfinite, values)) or (printf % values).strip() != line.strip():
        return None
    return read


def _form(tests: tuple[str, ...], rows: tuple[tuple[str, str], ...], *title: str) -> Form:
    """In a title UNIT stands for the unit, WORD for one without /s, filled to eight letters, @ for how CPU was measured."""
    escaped = "\n".join(map(re.escape, title)).replace("@", r"\S")
    escaped = escaped.replace("UNIT", r"(?P<unit>\S+)").replace("WORD", r"(?=.{8}[/ ])(?P<word>[^\s/]+) *")
    return Form(tests, re.compile(escaped + "\n\n"), rows)


FORMS = (
    _form(
        TCP,
        STREAM,
        "Recv   Send    Send",
        "Socket Socket  Message  Elapsed",
        "Size   Size    Size     Time     Throughput",
        "bytes  bytes   bytes    secs.    UNIT",
    ),
    _form(
        TCP,
        STREAM_CPU,
        "Recv   Send    Send                          Utilization       Service Demand",
        "Socket Socket  Message  Elapsed              Send     Recv     Send    Recv",
        "Size   Size    Size     Time     Throughput  local    remote   local   remote",
        "bytes  bytes   bytes    secs.    WORD/s  % @      % @      us/KB   us/KB",
    ),
    _form(
        ("TCP_MAERTS",),
        STREAM_CPU,
        "Recv   Send    Send                          Utilization       Service Demand",
        "Socket Socket  Message  Elapsed              Recv     Send     Recv    Send",
        "Size   Size    Size     Time     Throughput  local    remote   local   remote",
        "bytes  bytes   bytes    secs.    WORD/s  % @      % @      us/KB   us/KB",
    ),
    _form(
        UDP,
        DATAGRAMS,
        "Socket  Message  Elapsed      Messages",
        "Size    Size     Time         Okay Errors   Throughput",
        "bytes   bytes    secs            #      #   UNIT",
    ),
    _form(
        UDP,
        DATAGRAMS_CPU,
        "Socket  Message  Elapsed      Messages                   CPU      Service",
        "Size    Size     Time         Okay Errors   Throughput   Util     Demand",
        "bytes   bytes    secs            #      #   UNIT % @@     us/KB",
    ),
    _form(
        RR,
        EXCHANGES,
        "Local /Remote",
        "Socket Size   Request  Resp.   Elapsed  Trans.",
        "Send   Recv   Size     Size    Time     Rate",
        "bytes  Bytes  bytes    bytes   secs.    per sec",
    ),
    _form(
        RR,
        EXCHANGES,
        "Local /Remote",
        "Socket Size   Request  Resp.   Elapsed",
        "Send   Recv   Size     Size    Time     Throughput",
        "bytes  Bytes  bytes    bytes   secs.    UNIT",
    ),
    *(
        _form(RR, rows, *title)
        for rows in (EXCHANGES_CPU, EXCHANGES_CPU_OLD)
        for title in (
            *(
                (
                    "Local /Remote",
                    "Socket Size   Request Resp.  Elapsed Trans.   CPU    CPU    S.dem   S.dem",
                    "Send   Recv   Size    Size   Time    Rate     local  remote local   remote",
                    f"bytes  bytes  bytes   bytes  secs.   per sec  {measured}us/Tr   us/Tr",
                )
                for measured in ("% @    % @    ", "%      %      ")  # TCP_CRR does not say how
            ),
            *(
                (
                    "Local /Remote",
                    "Socket Size   Request Resp.  Elapsed Tput     CPU    CPU    S.dem   S.dem",
                    "Send   Recv   Size    Size   Time    WORD local  remote local   remote",
                    f"bytes  bytes  bytes   bytes  secs.   per sec  % @    % @    {demand}   {demand}",
                )
                for demand in ("us/KB", "us/Tr")  # 2.4 has the other word
            ),
        )
    ),
)
