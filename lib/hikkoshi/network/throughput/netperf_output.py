"""What netperf printed: classic output of 2.4 to 2.7, `-v 0`, `-k`, and CSV (`-o`); documents of iperf3 are handed on.

Where an output tells a thing twice (bytes or messages beside the throughput, interim results), the two have to agree, and so
their units; where it does not, nothing could tell one digit from another.

Traps that are closed here: `-P 0` and `-v 0` lose the unit; `-v 0` prints what was *sent* over UDP, and with `-c` or `-C` not
the throughput at all but a service demand; `MBytes` are of 2^20 bytes.
"""

import re
from dataclasses import dataclass, replace

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.throughput import iperf3, netperf_command, netperf_forms, netperf_keys, netperf_remarks, surroundings
from hikkoshi.network.throughput.netperf_command import Command
from hikkoshi.network.throughput.netperf_forms import RR, UDP, Figures
from hikkoshi.network.throughput.units import LETTERS, Quantity, Reading, word

BANNER = re.compile(r"(?:MIGRATED |OMNI )?([^\n]+) TEST (?:from|to) ([^\n]+)\n")
TESTS = {  # {what the banner calls the test: the test}
    "TCP STREAM": "TCP_STREAM",
    "TCP MAERTS": "TCP_MAERTS",
    "TCP SENDFILE": "TCP_SENDFILE",
    "UDP STREAM": "UDP_STREAM",
    "UDP UNIDIRECTIONAL SEND": "UDP_STREAM",  # until 2.4
    "TCP REQUEST/RESPONSE": "TCP_RR",
    "UDP REQUEST/RESPONSE": "UDP_RR",
    "TCP Connect/Request/Response": "TCP_CRR",
    "OMNI": "",
    **dict.fromkeys((direction for _, direction in netperf_keys.DIRECTIONS), ""),  # omni's, whose keys may tell more
}
INTERIM = re.compile(r"Interim result: +(\d{1,17}\.\d\d) (\S+) over (\d{1,9}\.\d+) seconds(?: ending at \d+\.\d+)?\n")
CSV_INTERIM = re.compile(r" *(\d{1,17}\.\d\d),([^,\s]+/s),(\d{1,9}\.\d{3}),\d+\.\d{3}\n")
WARNING = re.compile(
    r"!!! WARNING\n!!! Desired confidence was not achieved within the specified iterations\.\n"
    r"!!! This implies that there was variability in the test environment that\n"
    r"!!! must be investigated before going further\.\n!!! Confidence intervals: Throughput      : +(\d+\.\d+)%\n"
    r"!!!                       Local CPU util  : +\S+%\n!!!                       Remote CPU util : +\S+%\n\n"
)
WORDS = {*map(word, LETTERS.values()), "Usec"}  # all that netperf ever names as a unit
REMEDY = "give all that one run of netperf printed, as it is, or measure again with … -- -k THROUGHPUT,THROUGHPUT_UNITS"
SLACK = 0.002  # between a throughput and what was counted: the two are computed apart


def parse(text: str, command: str = "", where: str = "the output of netperf") -> Reading:
    """The measurement that an output tells, of whichever form it is.

    `command` is the -f letter or the whole command line with which netperf was started, for outputs that do not say their
    unit (it stays unknown without); one that contradicts the output is refused. `where` names the output in errors.
    `BadInput` for what is no output of one finished run, is cut off, damaged, or contradicts itself.
    """
    whole, around = surroundings.taken_out(text)
    if iperf3.recognised(whole):
        reading = iperf3.parse(whole, where)
        return replace(reading, remarks=(*around, *reading.remarks))
    said = netperf_command.read(command, where)
    try:
        reading = _measurement(whole, said)
        return replace(reading, remarks=(*around, *reading.remarks))
    except ValueError as e:  # what is wrong, what was found
        unusable = f"an output of netperf cannot be used: {e.args[0]}"
        problem = netperf_remarks.explain(text) or Problem(code="netperf-output-unusable", what=unusable, remedy=REMEDY)
        found = str(e.args[1]) if len(e.args) > 1 else text.strip()[:200]
        raise BadInput(
            replace(problem, where=where, found=found or "nothing", expected="the output of one finished run")
        ) from None


@dataclass
class _Head:
    """What stands above the figures."""

    banner: bool = False
    test: str = ""
    asked: bool | None = None  # whether -I asked for a confidence; None: not told
    unmet: float | None = None  # the width, in per cent, that came out instead
    interim: tuple[tuple[str, str, str], ...] = ()  # (throughput, unit, seconds)


def _head(text: str) -> tuple[_Head, str]:
    """What stands above the figures, and the rest."""
    head = _Head()
    if found := BANNER.match(text):
        name, rest = found.groups()
        if name not in TESTS:
            raise ValueError("its kind of test is not known here", name)
        head = _Head(banner=True, test=TESTS[name], asked="+/-" in rest)
        text = text[found.end() :]
    elif found := re.search(rf"^{BANNER.pattern}", text, re.M):
        raise ValueError("a line that is not its own stands above it", text[: found.start()].strip().partition("\n")[0][:200])
    while found := INTERIM.match(text) or CSV_INTERIM.match(text):
        head.interim += ((found[1], found[2], found[3]),)
        text = text[found.end() :]
    if found := WARNING.match(text):  # comes even with -P 0
        head.asked, head.unmet = True, float(found[1])
        text = text[found.end() :]
    return head, text


def _measurement(text: str, command: Command) -> Reading:
    text = text.replace("\r\n", "\n")
    if not text.endswith("\n"):
        raise ValueError("its last line was cut off", repr(text[-60:]))
    # netperf ends lines with blanks, which do not survive every copy
    lines = "\n".join(line.rstrip(" ") for line in text.split("\n"))
    figures, remarks = netperf_remarks.taken_out(lines)
    figures, histogram = netperf_remarks.histogram_taken_out(figures)
    head, rest = _head(figures.rstrip("\n") + "\n")
    known = command.test or head.test
    told = netperf_keys.figures(rest, known) or netperf_forms.figures(rest, titled=head.banner)
    test = known or (told.tests[0] if len(told.tests) == 1 else "")
    if {command.test, head.test} - {"", test} or (test and told.tests and test not in told.tests):
        said = [" or ".join(told.tests), head.test, command.test and f"{command.test} of the command line"]
        raise ValueError("it is not of one test", ", ".join(filter(None, said)))
    if told.form == "number" and test in UDP:
        raise ValueError("with -v 0 netperf prints what was sent, which may never have arrived", told.throughput)
    if told.unit == "" and not command.line and "COMMAND_LINE" in told.other:
        command = netperf_command.read(told.other["COMMAND_LINE"])
    throughput = _throughput(told, command, transactions=test in RR or told.tests == RR)
    sent = Quantity(told.sent, throughput.unit) if told.sent else None
    asked = command.confidence if head.asked is None else head.asked
    single = told.single if told.single is not None else asked is False
    if single:
        _agree(throughput, told.arrived_bits, told.elapsed)
        _agree(sent, told.sent_bits, told.elapsed)
        if told.again and abs(float(told.again) - throughput.value) > 3 * throughput.rounding:
            raise ValueError("it contradicts itself", f"{throughput}, and {told.again}")
    confidence: bool | None = None
    if told.wanted and told.width is not None:
        confidence = told.width <= told.wanted
    elif asked and told.form != "keys":
        confidence = head.unmet is None
    return Reading(
        tool="netperf",
        form=told.form,
        test=test,
        throughput=throughput,
        elapsed=_elapsed(told.elapsed),
        sent=sent,
        retransmits=told.retransmits,
        confidence=confidence,
        width=told.width if head.unmet is None else head.unmet,
        interim=_interim((*head.interim, *told.interim), throughput.unit),
        other={**told.other, "HISTOGRAM": histogram} if histogram else told.other,
        remarks=remarks,
    )


def _throughput(told: Figures, command: Command, *, transactions: bool) -> Quantity:
    """In the unit that the output says, or else the command; the two must not differ."""
    if told.unit and word(told.unit) not in WORDS:
        raise ValueError("its unit is none of netperf's", repr(told.unit))
    asked = command.unit(transactions=transactions)
    if told.unit and asked and word(told.unit) != word(asked):
        raise ValueError("the command line given is not its own", f"{told.unit}, where {asked} was asked for")
    throughput = Quantity(told.throughput, told.unit or asked)
    if throughput.value < 0:
        raise ValueError("a throughput cannot be", told.throughput)
    return throughput


def _agree(throughput: Quantity | None, bits: int | None, elapsed: str) -> None:
    """Refuse a throughput that is not so many bits in so many seconds, as far as the digits printed tell."""
    if throughput is None or throughput.scale is None or bits is None or not elapsed:
        return
    seconds, off = Quantity(elapsed), throughput.rounding * throughput.scale
    if seconds.value <= seconds.rounding:
        return
    least = bits / (seconds.value + seconds.rounding) * (1 - SLACK) - off
    most = bits / (seconds.value - seconds.rounding) * (1 + SLACK) + off
    if not least <= throughput.value * throughput.scale <= most:
        counted = f"{bits / seconds.value / 1e6:.2f} Mbit/s were counted"
        raise ValueError("it contradicts itself", f"{throughput}, but {counted}")


def _elapsed(printed: str) -> float | None:
    if not printed:
        return None
    if float(printed) <= 0:
        raise ValueError("a duration cannot be", f"{printed} s")
    return float(printed)


def _interim(told: tuple[tuple[str, str, str], ...], unit: str) -> tuple[tuple[float, Quantity], ...]:
    """Interim results with their ends, in seconds since the start; all in the unit of the result."""
    series: list[tuple[float, Quantity]] = []
    for printed, own, seconds in told:
        if unit and word(own) != word(unit):
            raise ValueError("its units differ", f"{unit}, and {own} of an interim result")
        before = series[-1][0] if series else 0.0
        series.append((round(before + float(seconds), 3), Quantity(printed, own)))
    return tuple(series)
