"""How long each segment was out of service, from what the outage meter (`hikkoshi.network.outage.meter`) has written.

A segment is out from between the last probe that was answered and the first that was not, until between the last that was
not and the first that was again. The middle of both is given, with the least and the most that it can have been. What the
meter's own machine needs to find the other again (its ARP requests are a second apart) is part of the outage, as it is for
every other machine of the segment.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import AwareDatetime, ConfigDict, Field, FiniteFloat, ValidationError

from hikkoshi.artefact import Artefact, Frozen
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.outage import meter
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import CUTOVER, Step

State = Literal["answers", "out", "never answered"]


class Outage(Frozen):
    """One time without service on one segment. Seconds, to the millisecond; times in UTC, ISO 8601."""

    start: str
    end: str
    after: float  # from the measurement's start to the outage's
    seconds: float  # its duration; where it is open, as far as it was seen
    least: float  # from the first probe to the last that was not served
    most: float | None  # from the last answer before to the first after; None where there was none
    lost: int  # probes that were not answered within 250 ms
    from_the_start: bool  # no answer before: when it began is not known
    to_the_end: bool  # no answer after


class SegmentOutage(Frozen):
    """What was measured on one segment: `at_the_end` is its state when the measurement ended."""

    name: str
    address: str
    answered: int  # probes answered within 250 ms
    lost: int
    at_the_end: State
    outages: tuple[Outage, ...]


class Break(Frozen):
    """A time in which the meter itself stood still: nothing is known of it, an outage may lie hidden in it."""

    after: float  # seconds from the measurement's start
    seconds: float


class Outages(Artefact):
    """outage.json: how long each segment was out of service, as seen from the machine that measured."""

    filename: ClassVar[str] = GuestFolder.outage
    made_by: ClassVar[Step] = CUTOVER
    since: str = ""  # when the guest was put into service that this is the outage of; empty where it is of none
    file: str  # name of the file with every probe
    started: str  # UTC, ISO 8601
    until: str  # of the last probe whose fate is known
    seconds: float  # from `started` to `until`
    rate: int  # probes a second to each segment
    complete: bool  # whether the meter came to its own end; if not, it was killed about a second after `until`
    cpu: float | None  # share of one processor that the meter used, where it came to its end
    breaks: tuple[Break, ...]
    segments: tuple[SegmentOutage, ...]

    @property
    def silent(self) -> set[str]:
        """Segments that never answered while others did from the beginning on: they were silent before anything was done.

        Where none answered at first, nothing is known of before, and none is.
        """
        never = {s.name for s in self.segments if s.at_the_end == "never answered"}
        late = {s.name for s in self.segments if s.outages and s.outages[0].from_the_start}
        return never if len(never | late) < len(self.segments) else set()

    def rows(self) -> list[dict[str, object]]:
        """A row for each outage, in the order of the segments, and one for each segment without."""
        return [
            {
                "segment": s.name,
                "address": s.address,
                "out from (UTC)": "–" if o is None else _clock(o.start) + (" or before" if o.from_the_start else ""),
                "until (UTC)": "–" if o is None else "still out" if o.to_the_end else _clock(o.end),
                "seconds": "0" if o is None else duration(o),
                "least to most": "–" if o is None else f"{o.least:.2f} to " + (f"{o.most:.2f}" if o.most else "?"),
                "lost probes": o.lost if o else 0,
                "at the end": s.at_the_end,
                "verdict": "ok" if o is None and s.at_the_end == "answers" else "out",
            }
            for s in self.segments
            for o in s.outages or (None,)
        ]

    def checks(self, excused: Collection[str] = ()) -> list[Check]:
        """Whether the measurement came to its end, and each segment answered then; of those that are excused it is not asked."""
        return [
            Check(
                code="outage-measured",
                title="the outage was measured to its end",
                ok=self.complete,
                found=f"measured until {self.until}",
                expected="ended by us",
                remedy="its durations are true until then; ping the segments now, they may have changed since",
                where=self.file,
            ),
            *(_excused(s) if s.name in excused else _answers(s) for s in self.segments),
        ]


def duration(o: Outage) -> str:
    """An outage's duration as a person reads it: '2.15', or 'more than 12.30' where its start or end was not seen."""
    return f"more than {o.least:.2f}" if o.most is None else f"{o.seconds:.2f}"


def _answers(s: SegmentOutage) -> Check:
    found = f"out since {s.outages[-1].start}" if s.at_the_end == "out" else s.at_the_end
    return Check(
        code="segment-answers",
        title=f"{s.name} answers",
        ok=s.at_the_end == "answers",
        found=found,
        expected=f"{s.address} answers pings",
        remedy="see which segment its NIC is on, then the guest's own address and firewall"
        if s.at_the_end == "out"
        else "it did not answer before either: see whether this machine reaches the segment, and may ping it",
        where=s.address,
    )


def _excused(s: SegmentOutage) -> Check:
    if s.at_the_end == "answers":
        return _answers(s)
    return Check(
        code="segment-answers",
        title=f"{s.name} answers",
        ok=True,
        found="it did not answer before either",
        where=s.address,
        unseen="not measured",
    )


def _clock(utc: str) -> str:
    return utc[11:22]  # to hundredths: what is finer was not measured


_At = Annotated[int, Field(ge=0, le=10**9)]


class _Line(Frozen):
    model_config = ConfigDict(strict=True)


class _Head(_Line):
    meter: Literal[1]
    started: Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))]
    monotonic: FiniteFloat
    rate: Annotated[int, Field(ge=1, le=1000)]
    late_ms: int
    socket: str
    targets: Annotated[dict[str, str], Field(min_length=1)]


class _Body(_Line):
    t: list[_At]
    f: list[Annotated[str, Field(pattern=f"^[{meter.ANSWERED}{meter.LOST}{meter.UNSENT}]*$")]]


class _Foot(_Line):
    end: str
    t: _At
    cpu: Annotated[FiniteFloat, Field(ge=0)]


L = TypeVar("L", bound=_Line)


def read(file: Path) -> Outages:
    """The outages in a meter's file, finished or not. `BadInput` if it is none; the last line may be cut off."""
    try:
        *lines, _ = file.read_bytes().split(b"\n")
    except OSError as e:
        raise BadInput(
            Problem(
                code="outage-unreadable",
                what="a measurement of the outage cannot be read",
                where=str(file),
                found=e.strerror or str(e),
                remedy="correct the path",
            )
        ) from None
    head = _line(file, 1, lines[0] if lines else b"", _Head)
    foot = _line(file, len(lines), lines[-1], _Foot) if lines[-1].startswith(b'{"end"') else None
    bodies = [_line(file, n, text, _Body) for n, text in enumerate(lines[1 : -1 if foot else None], 2)]
    times = [0]
    for n, b in enumerate(bodies, 2):
        if {len(b.t)} != {len(letters) for letters in b.f} or len(b.f) != len(head.targets):
            raise _bad(file, n, f"{len(b.t)} times, {[len(letters) for letters in b.f]} letters")
        times += b.t
    if times != sorted(times):
        raise _bad(file, 1, "times that do not follow each other")
    at = [ms / 1000 for ms in times[1:]]
    until = at[-1] if at else 0.0
    return Outages(
        file=file.name,
        started=_utc(head.started, 0),
        until=_utc(head.started, until),
        seconds=until,
        rate=head.rate,
        complete=foot is not None,
        cpu=round(foot.cpu / (foot.t / 1000), 4) if foot and foot.t else None,
        breaks=tuple(Break(after=a, seconds=round(b - a, 3)) for a, b in itertools.pairwise([0.0, *at]) if b - a > meter.LATE),
        segments=tuple(
            _segment(name, address, head, at, "".join(b.f[n] for b in bodies))
            for n, (name, address) in enumerate(head.targets.items())
        ),
    )


def _segment(name: str, address: str, head: _Head, at: Sequence[float], letters: str) -> SegmentOutage:
    runs = tuple(_runs(at, letters, 1 / head.rate))
    answered = sum(letters.count(letter) for letter in meter.ANSWERED)
    out = bool(runs) and runs[-1].after is None
    return SegmentOutage(
        name=name,
        address=address,
        answered=answered,
        lost=letters.count(meter.LOST),
        at_the_end="never answered" if not answered else "out" if out else "answers",
        outages=tuple(_outage(head.started, run) for run in runs),
    )


class _Run(NamedTuple):
    """Probes in a row that were not served, by when they were sent: seconds since the measurement's start."""

    before: float | None  # the last one served before
    first: float
    last: float
    after: float | None  # the first one served again
    lost: int


def _runs(at: Sequence[float], letters: str, interval: float) -> Iterator[_Run]:
    """The outages among the probes of one segment, sent at these times with this outcome, one each `interval` seconds.

    A first answer that comes more than an interval later than is usual there was held back until the way was open, mostly
    by ARP. Then the outage lasts until that answer came, and the probes that were sent meanwhile were held back as well.
    """
    usual = min((meter.ANSWERED.index(letter) for letter in set(letters) - {meter.LOST, meter.UNSENT}), default=0)
    before: float | None = None
    run: _Run | None = None
    opened: float | None = None  # when the first answer after the present run came, or was sent if it was not held back
    for sent, letter in zip(at, letters, strict=True):
        if letter == meter.UNSENT:
            continue
        if letter == meter.LOST:
            run = run._replace(last=sent, lost=run.lost + 1) if run else _Run(before, sent, sent, None, 1)
            opened = None
            continue
        if run is not None and opened is None:
            held = (meter.ANSWERED.index(letter) - usual) * meter.STEP
            opened = sent + held if held >= interval else sent
        if run is not None and opened is not None and sent < opened:
            run = run._replace(last=sent)
            continue
        if run is not None:
            yield run._replace(after=sent)
            run = None
        before = sent
    if run is not None:
        yield run._replace(after=opened)


def _outage(started: datetime, run: _Run) -> Outage:
    begin = run.first if run.before is None else (run.before + run.first) / 2
    end = run.last if run.after is None else (run.last + run.after) / 2
    return Outage(
        start=_utc(started, begin),
        end=_utc(started, end),
        after=round(begin, 3),
        seconds=round(end - begin, 3),
        least=round(run.last - run.first, 3),
        most=None if run.after is None or run.before is None else round(run.after - run.before, 3),
        lost=run.lost,
        from_the_start=run.before is None,
        to_the_end=run.after is None,
    )


def _line(file: Path, number: int, text: bytes, kind: type[L]) -> L:
    try:
        return kind.model_validate_json(text)
    except ValidationError as e:
        problem = e.errors()[0]
        raise _bad(file, number, f"{'.'.join(map(str, problem['loc']))} {problem['msg']}".strip()) from None


def _bad(file: Path, number: int, found: str) -> BadInput:
    return BadInput(
        Problem(
            code="outage-malformed",
            what="this is no measurement of an outage",
            where=f"{file}:{number}",
            found=found,
            expected="the file as the outage meter wrote it",
            remedy="name another file, or measure again",
        )
    )


def _utc(started: datetime, seconds: float) -> str:
    return (started.astimezone(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
