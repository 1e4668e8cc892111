"""What `iperf3 -J` printed: one document, or with --json-stream (3.17 and later) one event a line.

The receiver's sum is the honest figure: the sender's counts what still lay in its buffers. An interrupted or refused test
prints a document too, with an `error`; it is no measurement.
"""

import json
import re
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.throughput import surroundings
from hikkoshi.network.throughput.units import Quantity, Reading, Remark

UNIT = "bits/s"
SOUND = "3.12"  # Debian 12's: since 3.11 a test over UDP tells what arrived, too
REMEDY = "give the whole document that iperf3 -J printed, or measure again"
WARNING = Remark(code="iperf3-warning", remark="a warning of iperf3; the figure stands")
_WARNING = re.compile(r"^(?:iperf3: )?warning: .*$\n?", re.M | re.I)  # comes on the other channel, between lines
_BEGIN = re.compile(r"^\s*\{", re.M)  # of a document, or of an event: netperf has no such line
_FIGURES = re.compile(r" TEST (?:from|to) |bits/s|^iperf3?: |[{}]", re.M)  # of another output, or of this one, torn
_PLAIN = re.compile(r"(?:-+\n)?(iperf3: |Connecting to host |Client connecting to |Server listening on )")
# as C's printf writes what is no number, and numbers by the rules of another language: JSON has none of these
_NUMBERS = re.compile(
    r'"(\w+)"\s*:\s*([-+]?(?:nan(?:\(\w*\))?|inf(?:inity)?)(?![\w"])|-?\d+\.#\w+|-?\d[\d.]*e \d+'
    r"|-?\d+,\d+(?:e[-+ ]?\d+)?(?=\s*[,}\]]))",
    re.I,
)
_ERRORS = (  # (words of iperf3's errors, what to do)
    (
        r"unable to set|not set correctly|not supported on this|does not support|unrecogni[sz]ed option|invalid option"
        r"|parameter error|too (?:large|small|long)|^(?:error - )?bad \w+ value|must be between|is client only",
        "this machine or this iperf3 does not have what an option asks for: leave the option out, or correct its value, and "
        "measure again",
    ),
    (r"connection refused", "start iperf3 -s on the other side, on the port that is used here (5201, or what -p says)"),
    (
        r"timed out|no route|unreachable|unable to connect",
        "see that the other side is up, and that the firewall lets port 5201 through",
    ),
    (r"busy running a test", "wait until the other test has ended, or start a second iperf3 -s on another port (-p)"),
    (
        r"unknown control message|unable to (?:receive|send) (?:parameters|results|cookie)",
        "use iperf3 of like versions on both sides",
    ),
    (
        r"closed unexpectedly|connection reset|broken pipe|control (?:socket|message)|idle timeout|the server has terminated",
        "the server ended, or the connection was cut during the test: see that iperf3 -s still runs, and that no firewall drops "
        "idle connections; then measure again",
    ),
    (r"the client has terminated", "it was interrupted: measure again, to the end"),
    (
        r"cannot assign requested address|bind-to-device",
        "see that the address or the device given with -B is one of this machine",
    ),
    (
        r"address already in use|unable to start (?:stream )?listener",
        "another program has the port: end the other iperf3 -s there, or measure on another port (-p on both sides)",
    ),
    (r"not known|name resolution", "give the address of the other side, or correct its name"),
    (r"authorization", "the server asks for a name and a password (--username, --rsa-public-key-path)"),
)
_SENDER = f"{{version}} counts UDP at the sender alone: measure with {SOUND} or later on both sides"
_REMEDIES: dict[int | str, str] = {  # {what is missing of a document, or another than can be read: what to do}
    **dict.fromkeys(("sum_sent", "sum_received"), _SENDER),
    "protocol": "measure over TCP, or over UDP with -u: leave --sctp out",
    "sum_received_bidir_reverse": "measure one direction after the other: without --bidir, then with -R",
}
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Sum(_Part):
    seconds: Figure
    bytes: Figure  # as old versions print them: 1.18253e+09
    bits_per_second: Figure
    retransmits: int | None = None
    lost_percent: Figure | None = None

    def agrees(self) -> bool:
        """Whether the three figures fit; old versions print six digits of each."""
        return abs(self.bits_per_second * self.seconds - 8 * self.bytes) <= 1e-4 * 8 * self.bytes


class _IntervalSum(_Sum):
    end: Figure
    omitted: bool = False  # while -O lasts


class _Interval(_Part):
    sum: _IntervalSum


class _Test(_Part):
    protocol: Literal["TCP", "UDP"]
    reverse: Literal[0, 1]


class _Start(_Part):
    version: str
    test_start: _Test


class _End(_Part):
    sum_sent: _Sum
    sum_received: _Sum  # versions that count UDP at the sender only have none
    sum_received_bidir_reverse: None = None
    sender_tcp_congestion: str = ""


class _Document(_Part):
    start: _Start
    intervals: list[_Interval]
    end: _End


def recognised(text: str) -> bool:
    """Whether an output is of iperf3, or of iperf 2, and not of netperf."""
    rest = _WARNING.sub("", text).lstrip()
    return bool(_BEGIN.search(rest) or _PLAIN.match(rest))


def parse(text: str, where: str = "the output of iperf3") -> Reading:
    """The measurement in what `iperf3 -J` or `--json-stream` printed; tests are named as netperf names them.

    `BadInput` where iperf3 reports an error, where the document is cut off, damaged or contradicts itself, and for a test
    in both directions at once, which has no one throughput.
    """
    rest = _WARNING.sub("", text)
    begin, end = _BEGIN.search(rest), rest.rfind("}") + 1
    around = ""
    if (
        begin and re.match(r"\s*\Z|\s*\n", rest[end:]) and not _FIGURES.search(rest[: begin.start()] + rest[end:])
    ):  # what a login or a shell said stands around it
        around = f"{rest[: begin.start()].strip()}\n{rest[end:].strip()}".strip()
        rest = rest[begin.start() : end]
    if _PLAIN.match(rest.lstrip()):
        _refuse_plain(rest.strip(), where)
    told = _one(_documents(rest, where), where)
    if isinstance(told, dict) and "error" in told:
        _refuse_error(str(told["error"]), where)
    try:
        document = _Document.model_validate(told)
    except ValidationError as e:
        raise BadInput(
            *(
                Problem(
                    code="iperf3-output-unusable",
                    what="the output of iperf3 is not as expected",
                    where=where,
                    found=f"{'.'.join(map(str, x['loc']))}: {x['msg']}",
                    expected="the document of one finished test in one direction over TCP or UDP",
                    remedy=_REMEDIES.get(x["loc"][-1] if x["loc"] else "", REMEDY).format(version=_version(rest)),
                )
                for x in e.errors()[:5]
            )
        ) from None
    warnings = tuple(WARNING.of(found[0].strip()) for found in _WARNING.finditer(text))
    foreign = (surroundings.REMARK.of(around),) if around else ()
    return _measurement(document, (*foreign, *warnings), where)


def _documents(text: str, where: str) -> list[Any]:
    """Every JSON value in the text, one behind the other."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
    found: list[Any] = []
    text = text.rstrip()
    at = len(text) - len(text.lstrip())
    try:
        while at < len(text) or not found:
            told, at = decoder.raw_decode(text, at)
            found.append(told)
            at += len(text[at:]) - len(text[at:].lstrip())
    except (ValueError, RecursionError) as e:
        if broken := _NUMBERS.search(text, at):
            line = text.count("\n", 0, broken.start()) + 1
            _refuse(
                where,
                code="iperf3-numbers-broken",
                what="iperf3 printed numbers that are none",
                found=f'line {line}: "{broken[1]}": {broken[2]}, by {_version(text)}',
                remedy=f"measure with iperf3 {SOUND} or later, and with LC_ALL=C; what such a number meant cannot be told",
            )
        found_at = f"{e}, after {_events(found)}" if found and _event(found[0]) else str(e)
        _refuse(where, code="iperf3-output-not-json", what="the output of iperf3 is not whole JSON", found=found_at)
    return found


def _one(found: list[Any], where: str) -> Any:
    """The one document: of events put together, as iperf3 itself does without --json-stream."""
    if not _event(found[0]):
        if len(found) > 1:
            _refuse(
                where,
                code="iperf3-several-runs",
                what="this is of more than one run of iperf3",
                found=f"{len(found)} documents",
                remedy="give each run's document by itself",
            )
        return found[0]
    whole = [x for x in found if not _event(x)]  # which --json-stream-full prints behind the events
    events = [x for x in found if _event(x)]
    kinds = [x["event"] for x in events]
    named = {kind: x["data"] for kind, x in zip(kinds, events, strict=True) if kind in ("start", "end", "error")}
    if "error" not in named and ("end" not in named or "start" not in named):
        _refuse(where, code="iperf3-stream-cut-off", what="the events of iperf3 are cut off", found=_events(found))
    if max(kinds.count("start"), kinds.count("end"), len(whole)) > 1:
        _refuse(
            where,
            code="iperf3-several-runs",
            what="this is of more than one run of iperf3",
            found=_events(found),
            remedy="give each run's events by themselves",
        )
    put = named | {"intervals": [x["data"] for x in events if x["event"] == "interval"]}
    if whole and any(whole[0].get(part) != told for part, told in put.items()):
        _refuse(
            where,
            code="iperf3-figures-contradict",
            what="figures of iperf3 contradict each other",
            found="the document behind the events is of other figures",
        )
    return put


def _event(told: Any) -> bool:
    return isinstance(told, dict) and "event" in told and "data" in told


def _events(found: list[Any]) -> str:
    """Their kinds, in words."""
    kinds = [str(x["event"]) if _event(x) else "a document" for x in found]
    return ", ".join(f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(kinds))


def _version(text: str) -> str:
    told = re.search(r'"version"\s*:\s*"([^"]+)"', text)
    return told[1] if told else "iperf3 of an unknown version"


def _refuse_error(error: str, where: str) -> NoReturn:
    own = "its own words above name the cause; see that iperf3 -s runs on the other side"
    remedy = next((do for said, do in _ERRORS if re.search(said, error, re.I)), own)
    _refuse(where, code="iperf3-measured-nothing", what="iperf3 measured nothing", found=error, remedy=remedy)


def _refuse_plain(text: str, where: str) -> NoReturn:
    """What iperf3 prints for people: rounded figures in units of their own, or an error alone."""
    if error := re.search(r"^iperf3: (?:error - )?(.*)", text, re.M):
        _refuse_error(error[1], where)
    _refuse(
        where,
        code="iperf3-output-for-people",
        what="this is what iperf prints for people, with rounded figures",
        found=text.lstrip("-\n").partition("\n")[0][:120],
        remedy="measure again with iperf3 -J, from the client; of iperf 2 nothing can be read",
    )


def _measurement(document: _Document, remarks: tuple[Remark, ...], where: str) -> Reading:
    end, test = document.end, document.start.test_start
    sums = [end.sum_sent, end.sum_received, *(i.sum for i in document.intervals)]
    for each in sums:
        if not each.agrees():
            figures = f"{each.bytes} bytes in {each.seconds} s, {each.bits_per_second} bit/s"
            _refuse(where, code="iperf3-figures-contradict", what="figures of iperf3 contradict each other", found=figures)
    if end.sum_received.seconds == 0:
        _refuse(where, code="iperf3-no-duration", what="the receiving side of iperf3 told no duration", found="0 s")
    if test.protocol == "UDP" and not end.sum_received.bytes and end.sum_received.lost_percent != 100:
        _refuse(
            where,
            code="iperf3-no-figures",
            what="the receiving side of iperf3 told no figures",
            found="0 bytes received, and not all lost",
        )
    return Reading(
        tool=document.start.version,
        form="json",
        test=f"{test.protocol}_{'MAERTS' if test.reverse else 'STREAM'}",
        throughput=_throughput(end.sum_received),
        elapsed=end.sum_received.seconds,
        sent=_throughput(end.sum_sent),
        retransmits=end.sum_sent.retransmits,
        interim=tuple((i.sum.end, _throughput(i.sum)) for i in document.intervals if not i.sum.omitted),
        other={"LOCAL_CONG_CONTROL": end.sender_tcp_congestion} if end.sender_tcp_congestion else {},
        remarks=remarks,
    )


def _throughput(figures: _Sum) -> Quantity:
    return Quantity(f"{figures.bits_per_second:.2f}", UNIT)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; iperf3 tells some things again for each stream, but what it tells twice has to be the same."""
    told: dict[str, object] = {}
    for name, value in pairs:
        if told.setdefault(name, value) != value:
            raise ValueError(f"{name} is there twice, with different values")
    return told


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _refuse(where: str, *, code: str, what: str, found: str, remedy: str = REMEDY) -> NoReturn:
    raise BadInput(
        Problem(code=code, what=what, where=where, found=found, expected="the document of one finished test", remedy=remedy)
    )
