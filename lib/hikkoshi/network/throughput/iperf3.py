"""What `iperf3 -J` printed.

The receiver's sum is the honest figure: the sender's counts what still lay in its buffers. An interrupted or refused test
prints a document too, with an `error`; it is no measurement.
"""

import json
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.throughput.units import Quantity, Reading

UNIT = "bits/s"
REMEDY = "give the whole document that iperf3 -J printed, or measure again"
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


def parse(text: str, where: str = "the output of iperf3") -> Reading:
    """The measurement in a document of `iperf3 -J`; tests are named as netperf names them.

    `BadInput` where iperf3 reports an error, where the document is cut off, damaged or contradicts itself, and for a test
    in both directions at once, which has no one throughput.
    """
    try:
        told = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as e:
        _refuse(where, code="iperf3-output-not-json", what="the output of iperf3 is not whole JSON", found=str(e))
    if isinstance(told, dict) and "error" in told:
        _refuse(
            where,
            code="iperf3-measured-nothing",
            what="iperf3 measured nothing",
            found=str(told["error"]),
            remedy="see that iperf3 -s runs on the other side",
        )
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
                    remedy=REMEDY,
                )
                for x in e.errors()[:5]
            )
        ) from None
    return _measurement(document, where)


def _measurement(document: _Document, where: str) -> Reading:
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
