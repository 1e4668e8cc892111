"""What became of every probe: written by the meter, read back as outages."""

import itertools
import json
import socket
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.outage import meter, metering, outage

UNHURRIED = settings(deadline=None)  # a busy machine is no failure
RECORDED = Path(__file__).parents[1] / "data" / "outage"
STARTED = datetime(2026, 2, 3, 23, 59, 59, 500000, tzinfo=UTC)


def write(path, fates, *, at=None, lines=10, end=True):
    """A file as the meter writes it of probes with these fates, {segment: letters}, `lines` to a line."""
    count = len(next(iter(fates.values())))
    at = [n / meter.RATE for n in range(count)] if at is None else at
    named = {name: f"10.3.{n}.254" for n, name in enumerate(fates, 1)}
    probes = [(at[n], bytearray("".join(letters[n] for letters in fates.values()).encode())) for n in range(count)]
    text = meter.head(named, "raw", STARTED, 1000.0)
    for n in range(0, count, lines):
        text += meter.body(probes[n : n + lines], 0.0)
    path.write_text(text + (meter.foot("asked", (at or [0])[-1] + 0.3, 0.0) if end else ""), encoding="utf-8")
    return path


@pytest.fixture
def measured(tmp_path):
    """The outages of one segment with these fates."""

    def measure(letters):
        return outage.read(write(tmp_path / "one.jsonl", {"vlan301": letters})).segments[0].outages

    return measure


def spans(outages):
    return [(o.after, o.seconds, o.least, o.most, o.lost) for o in outages]


def problems(call, *argv):
    with pytest.raises(BadInput) as caught:
        call(*argv)
    for problem in caught.value.problems:
        assert problem.what
        assert problem.remedy
    return caught.value.problems


def test_an_outage_lies_between_the_probes_that_were_answered(measured):
    assert spans(measured("....xxxx....")) == [(0.175, 0.2, 0.15, 0.25, 4)]


def test_its_times_are_utc_also_over_midnight(measured):
    (o,) = measured("." * 11 + "xxxx....")
    assert (o.start, o.end) == ("2026-02-04T00:00:00.025+00:00", "2026-02-04T00:00:00.225+00:00")


def test_one_lost_probe_is_an_outage_of_at_most_two_intervals(measured):
    assert spans(measured("..x..")) == [(0.075, 0.05, 0.0, 0.1, 1)]


def test_outages_of_one_segment_are_told_apart(measured):
    assert [o.lost for o in measured("..xx..x.xxx.")] == [2, 1, 3]


def test_an_outage_from_the_start_has_no_most(measured):
    (o,) = measured("xxx..")
    assert (o.from_the_start, o.to_the_end, o.after, o.least, o.most) == (True, False, 0.0, 0.1, None)


def test_an_outage_to_the_end_has_no_most(measured):
    (o,) = measured("..xxx")
    assert (o.from_the_start, o.to_the_end, o.least, o.most) == (False, True, 0.1, None)
    assert outage.duration(o) == "more than 0.10"


def test_a_probe_that_could_not_be_sent_says_nothing_of_the_segment(measured):
    assert spans(measured("..-x-x--..")) == [(0.1, 0.225, 0.1, 0.35, 2)]


def test_answers_held_back_until_the_way_was_open_do_not_shorten_the_outage(measured):
    # open 0.62 s after the start: what was sent from 0.4 s on waited in a queue and came at once
    (o,) = measured("....xxxx" + "mhc72" + "....")
    assert (o.lost, o.least, o.most, o.after + o.seconds) == (4, 0.4, 0.5, pytest.approx(0.625))


def test_a_segment_that_is_always_slow_is_not_held_back(measured):
    assert spans(measured("aaaaxxxxbbaa")) == [(0.175, 0.2, 0.15, 0.25, 4)]


def test_slow_answers_for_long_after_an_outage_are_service(measured):
    (o,) = measured("....xxxx" + "8" * 40)
    assert (o.after + o.seconds, o.most) == (pytest.approx(0.475), 0.35)  # and not for ever


def test_a_probe_lost_among_answers_held_back_is_the_same_outage(measured):
    (o,) = measured("....xxxx" + "mhx72" + "....")
    assert (o.lost, o.least) == (5, 0.4)


def test_answers_held_back_at_the_very_end_are_answers(tmp_path):
    (found,) = outage.read(write(tmp_path / "f", {"a": "..xxxxmh"})).segments
    assert found.at_the_end == "answers"
    assert not found.outages[0].to_the_end


def test_a_segment_that_never_answered_is_called_so(tmp_path):
    found = outage.read(write(tmp_path / "f", {"vlan301": "....", "vlan302": "xxxx", "vlan303": "..xx"}))
    assert [s.at_the_end for s in found.segments] == ["answers", "never answered", "out"]
    assert [(s.answered, s.lost) for s in found.segments] == [(4, 0), (0, 4), (2, 2)]


def test_a_silent_segment_is_never_ok(tmp_path):
    for silent in ("xx", "--", ".x", ""):
        assert not outage.read(write(tmp_path / "f", {"vlan301": silent})).checks()[1]


def test_each_segment_is_checked_and_told_what_to_do(tmp_path):
    found = outage.read(write(tmp_path / "f", {"a": "....", "b": "..xx", "c": "xxxx"}))
    assert [(bool(c), c.unseen) for c in found.checks({"a", "c"})[1:]] == [(True, ""), (False, ""), (True, "not measured")]
    complete, *segments = found.checks()
    assert complete
    assert [bool(c) for c in segments] == [True, False, False]
    assert segments[1].found == "out since 2026-02-03T23:59:59.575+00:00"
    assert "did not answer before either" in segments[2].remedy


def test_a_killed_meter_is_told_with_the_time_until_which_it_measured(tmp_path):
    found = outage.read(write(tmp_path / "f", {"vlan301": "." * 21}, end=False))
    assert not found.complete
    assert found.cpu is None
    assert not found.checks()[0]
    assert "measured until 2026-02-04T00:00:00.500+00:00" in found.checks()[0].found


def test_a_time_in_which_the_meter_stood_still_is_told(tmp_path):
    found = outage.read(write(tmp_path / "f", {"a": "....."}, at=[0.0, 0.05, 1.05, 1.1, 1.15]))
    assert [(b.after, b.seconds) for b in found.breaks] == [(0.05, 1.0)]
    assert not found.segments[0].outages


def test_the_rows_have_every_outage_and_every_segment(tmp_path):
    rows = outage.read(write(tmp_path / "f", {"a": "..xx..xx", "b": "........", "c": "..x....."})).rows()
    assert [(r["segment"], r["out from (UTC)"], r["until (UTC)"], r["seconds"]) for r in rows] == [
        ("a", "23:59:59.57", "23:59:59.67", "0.10"),
        ("a", "23:59:59.77", "still out", "more than 0.05"),
        ("b", "–", "–", "0"),
        ("c", "23:59:59.57", "23:59:59.62", "0.05"),
    ]
    assert [r["verdict"] for r in rows] == ["out", "out", "ok", "out"]


def test_the_result_is_kept_in_the_guests_folder(tmp_path):
    found = outage.read(write(tmp_path / "f", {"a": "..xx..", "b": "xxxxxx"}))
    found.save(tmp_path)
    assert outage.Outages.load(tmp_path) == found


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.jsonl")), ids=lambda p: p.stem)
def test_recorded_measurements_are_read_as_their_names_say(path):
    # three-2.00-two-6.05--killed: three segments were out for 2.00 s, two for 6.05 s, the meter was killed
    verdict, _, how = path.stem.partition("--")
    found, words = outage.read(path), verdict.split("-")
    number = {"none": 0, "one": 1, "two": 2, "three": 3, "five": 5}
    expected = [float(s) for n, s in zip(words[::2], words[1::2], strict=True) for _ in range(number[n])]
    assert sorted(round(o.seconds, 2) for s in found.segments for o in s.outages) == sorted(expected)
    assert found.complete == (how != "killed")


LETTERS = st.text(meter.LOST * 3 + meter.UNSENT + meter.ANSWERED[:5], min_size=1, max_size=60)


@UNHURRIED
@given(st.data(), LETTERS, st.integers(1, 20))
def test_any_fates_written_and_read_back_give_the_same_outages(tmp_path_factory, data, letters, lines):
    steps = data.draw(st.lists(st.integers(1, 400), min_size=len(letters), max_size=len(letters)))
    at = [ms / 1000 for ms in itertools.accumulate(steps)]
    file = write(tmp_path_factory.mktemp("f") / "f", {"other": "." * len(letters), "own": letters}, at=at, lines=lines)
    other, own = outage.read(file).segments
    expected = []
    known = [(t, letter) for t, letter in zip(at, letters, strict=True) if letter != meter.UNSENT]
    groups = [(k, [t for t, _ in g]) for k, g in itertools.groupby(known, lambda p: p[1] == meter.LOST)]
    for n, (lost, times) in enumerate(groups):
        if lost:
            before = groups[n - 1][1][-1] if n else None
            after = groups[n + 1][1][0] if n + 1 < len(groups) else None
            most = None if before is None or after is None else pytest.approx(after - before, abs=0.0011)
            expected.append((pytest.approx(times[-1] - times[0], abs=0.0011), most, len(times)))
    assert [(o.least, o.most, o.lost) for o in own.outages] == expected
    assert not other.outages


@UNHURRIED
@given(st.text(meter.LOST * 9 + meter.UNSENT + meter.ANSWERED, min_size=1, max_size=80))
def test_outages_follow_each_other_and_hold_every_lost_probe(tmp_path_factory, letters):
    (own,) = outage.read(write(tmp_path_factory.mktemp("f") / "f", {"own": letters})).segments
    assert sum(o.lost for o in own.outages) == own.lost == letters.count(meter.LOST)
    assert own.answered == sum(map(letters.count, meter.ANSWERED))
    ends = [0.0]
    for o in own.outages:
        assert 0 <= o.least <= o.seconds + 0.001
        assert o.most is None or o.seconds <= o.most + 0.001
        ends += [o.after, o.after + o.seconds]
    assert ends == sorted(ends)


@UNHURRIED
@given(st.integers(0, 2000))
def test_a_file_cut_off_anywhere_is_read_to_its_last_whole_line(tmp_path_factory, length):
    whole = write(tmp_path_factory.mktemp("f") / "f", {"a": ".....xxxxx" * 8, "b": "." * 80}).read_bytes()
    cut = tmp_path_factory.mktemp("f") / "f"
    cut.write_bytes(whole[:length])
    head = whole.index(b"\n") + 1
    if length < head:
        problems(outage.read, cut)
        return
    lines = min(whole[head:length].count(b"\n"), 8)
    found = outage.read(cut)
    assert len(found.segments[0].outages) == lines
    assert found.seconds == pytest.approx(max(0, lines * 0.5 - 0.05))
    assert found.complete == (length >= len(whole))


@UNHURRIED
@given(st.binary(max_size=100), st.integers(0, 300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, noise, place):
    file = write(tmp_path_factory.mktemp("f") / "f", {"a": "..xx" * 10})
    content = file.read_bytes()
    file.write_bytes(content[:place] + noise + content[place + len(noise) :])
    try:
        found, refused = outage.read(file), ()
    except BadInput as refusal:
        found, refused = None, refusal.problems
    assert all(p.where.startswith(str(file)) and p.found and p.expected and p.remedy for p in refused)
    assert found is None or len(found.segments) == 1


@pytest.mark.parametrize(
    ("spoilt", "line"),
    [
        ('{"t":[0,50],"f":["..."]}', 2),
        ('{"t":[0,50],"f":["..",".."]}', 2),
        ('{"t":[50,0],"f":[".."]}', 1),
        ('{"t":[0,50],"f":[".?"]}', 2),
        ('{"t":[0,-50],"f":[".."]}', 2),
        ('{"t":["0",50],"f":[".."]}', 2),
        ('{"end":"asked","t":5}', 2),
        ("", 2),
    ],
)
def test_a_spoilt_line_is_refused_with_its_number(tmp_path, spoilt, line):
    file = write(tmp_path / "f", {"a": ""}, end=False)
    file.write_text(file.read_text() + spoilt + "\n")
    assert problems(outage.read, file)[0].where == f"{file}:{line}"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert problems(outage.read, tmp_path / "nowhere")[0].what == "a measurement of the outage cannot be read"


def test_segments_are_named_with_their_addresses():
    assert meter.targets(["vlan301=10.3.1.254", "b=127.0.0.1"]) == {"vlan301": "10.3.1.254", "b": "127.0.0.1"}


def test_all_bad_targets_are_told_at_once():
    bad = ["a=10.3.1.1", "a=10.3.2.1", "b=10.3.1.1", "c", "=10.3.1.2", "d=fe80::1", "e=gateway", "f=10.3.1", "g="]
    assert [(p.what, p.where) for p in problems(meter.targets, bad)] == [
        ("a segment is named twice", "a"),
        ("two segments have the same address", "a and b"),
        ("a segment or its address is missing", "c"),
        ("a segment or its address is missing", "=10.3.1.2"),
        *(("this is no IPv4 address of one machine", name) for name in "defg"),
    ]


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "10.3.1.0/24", "10.03.1.1"])
def test_an_address_is_that_of_one_machine(address):
    assert problems(meter.targets, [f"a={address}"])[0].what == "this is no IPv4 address of one machine"


def test_nothing_to_measure_is_refused():
    assert problems(meter.targets, [])[0].what == "there is nothing to measure"


@pytest.mark.parametrize("argv", [[], ["file"], ["file", "soon", "a=10.3.1.1"], ["file", "nan", "a=10.3.1.1"], ["", "5"]])
def test_a_meter_needs_a_file_and_a_time(argv):
    assert problems(meter.arguments, argv)[0].what == "the outage meter needs a file and a number of seconds"


def test_bad_targets_are_refused_before_a_program_is_started(tmp_path):
    with pytest.raises(BadInput, match="no IPv4 address"):
        metering.Meter({"a": "gateway"}, tmp_path / "new" / "f").start()
    assert not (tmp_path / "new").exists()


def test_a_measurement_is_never_overwritten(tmp_path):
    file = write(tmp_path / "f", {"a": "...."})
    before = file.read_bytes()
    with pytest.raises(BadInput, match="already"):
        metering.Meter({"a": "127.0.0.1"}, file).start()
    assert file.read_bytes() == before


class Wire:
    """Probes whose answers come through a pair of sockets; two addresses, the first probes sent at second 100."""

    def __init__(self, near, far):
        self.far = far
        self.probes = meter.Probes(near, "ping", ["10.3.1.254", "10.3.2.254"])
        self.probes.under_way.append((100.0, bytearray(b"xx")))
        self.probes.receive(100.0)

    def answer(self, *, mark=None, number=0, target=0, kind=0):
        mark = mark or self.probes._mark
        self.far.send(struct.pack("!BBHHH8sIH", kind, 0, 0, 0, 0, mark, number, target))

    def fate(self, now):
        self.probes.receive(now)
        return self.probes.under_way[0][1].decode()


@pytest.fixture
def wire():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        yield Wire(near, far)


@pytest.mark.parametrize(("at", "letter"), [(100.001, "."), (100.055, "5"), (100.2499, "o"), (100.251, "x"), (102.0, "x")])
def test_an_answer_later_than_250_ms_counts_as_lost(wire, at, letter):
    wire.answer()
    assert wire.fate(at) == letter + "x"


def test_the_first_answer_counts(wire):
    wire.answer(target=1)
    assert wire.fate(100.01) == "x1"
    wire.answer(target=1)
    assert wire.fate(100.2) == "x1"


def test_a_fate_is_decided_when_an_answer_would_be_too_late(wire):
    assert list(wire.probes.decided(100.25)) == []
    assert list(wire.probes.decided(100.26)) == [(100.0, bytearray(b"xx"))]
    wire.answer()  # for a probe that is forgotten
    wire.probes.under_way.append((100.26, bytearray(b"xx")))
    assert wire.fate(100.27) == "xx"
    wire.answer(number=1)
    assert wire.fate(100.265) == ".x"


@pytest.mark.parametrize("step", [-3600, 3600])
def test_the_wall_clock_may_be_set_while_answers_are_on_their_way(wire, monkeypatch, step):
    wire.probes._socket.setsockopt(socket.SOL_SOCKET, meter.TIMESTAMPNS, 1)
    wire.probes.receive(100.04)
    wire.answer()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + step * 10**9)
    assert wire.fate(100.06) in ("4x", "6x")  # 100.04 to 100.06 is when it can have come


@pytest.mark.parametrize("other", [{"mark": b"somebody"}, {"number": 1}, {"number": 2**32 - 1}, {"target": 2}, {"kind": 8}])
def test_answers_to_other_peoples_pings_are_not_ours(wire, other):
    wire.answer(**other)
    assert wire.fate(100.01) == "xx"


@given(st.binary(max_size=64))
def test_any_message_is_survived(noise):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        for kind in ("raw", "ping"):
            probes = meter.Probes(near, kind, ["10.3.1.254"])
            probes.under_way.append((100.0, bytearray(b"x")))
            far.send(noise)
            probes.receive(100.01)
            assert probes.under_way[0][1] == b"x"


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))
def test_the_checksum_of_a_probe_is_that_of_rfc_1071(mark, number, target):
    words = struct.unpack("!11H", meter._echo(mark, number, target))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_the_file_is_json_a_line_and_small(tmp_path):
    lines = write(tmp_path / "f", {f"vlan30{n}": "." * 1200 for n in range(10)}).read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    assert sum(map(len, lines)) * 60 < 2_000_000  # a minute's, times sixty
