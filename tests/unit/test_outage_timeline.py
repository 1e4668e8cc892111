"""The picture of all segments over time, and the words that stand for it."""

import io
from pathlib import Path

import pytest

from hikkoshi.figures import timeline
from hikkoshi.network.outage import outage
from hikkoshi.network.outage.outage import Break, Outage, Outages, SegmentOutage

RECORDED = outage.read(Path(__file__).parents[1] / "data" / "outage" / "three-2.00-five-2.05-two-6.05.jsonl")
SEGMENTS = [f"vlan30{n}" for n in range(1, 6)] + [f"vlan50{n}" for n in range(1, 6)]


def out(after, seconds, *, start=False, end=False):
    return Outage(
        start="2026-02-03T23:59:58.500+00:00",
        end="2026-02-04T00:00:00.500+00:00",
        after=after,
        seconds=seconds,
        least=seconds,
        most=None if start or end else seconds + 0.1,
        lost=1,
        from_the_start=start,
        to_the_end=end,
    )


def found(seconds, outages, *, breaks=(), state="answers"):
    """A measurement of ten segments; {segment: its outages}."""
    return Outages(
        file="f",
        started="2026-02-03T23:59:50.250+00:00",
        until="2026-02-04T00:00:10.250+00:00",
        seconds=seconds,
        rate=20,
        complete=True,
        cpu=0.01,
        breaks=breaks,
        segments=tuple(
            SegmentOutage(name=name, address="10.3.1.254", answered=0, lost=0, at_the_end=state, outages=outages.get(name, ()))
            for name in SEGMENTS
        ),
    )


def drawn(fig):
    fig.canvas.draw()  # else nothing has its place yet
    return fig.axes[0]


def words(ax):
    return [text.get_text() for text in ax.texts]


def bars(ax):
    """(row, from, to) of each."""
    boxes = [bar.get_bbox() for bar in ax.patches if bar.get_height() < 1]
    return [(round(box.y0 + timeline.HEIGHT / 2), box.x0, box.x1) for box in boxes]


def test_every_outage_of_every_segment_is_a_bar_in_its_row():
    ax = drawn(timeline.timeline(RECORDED))
    expected = [(n, o.after, o.after + o.seconds) for n, s in enumerate(RECORDED.segments) for o in s.outages]
    assert bars(ax) == [pytest.approx(bar) for bar in expected]
    assert [label.get_text() for label in ax.get_yticklabels()] == SEGMENTS


def test_the_first_segment_stands_on_top():
    low, high = drawn(timeline.timeline(RECORDED)).get_ylim()
    assert low > high


def test_each_bar_has_its_duration_beside_it():
    expected = [f"{o.seconds:.2f} s" for s in RECORDED.segments for o in s.outages]
    assert words(drawn(timeline.timeline(RECORDED))) == expected


def test_a_bar_is_dark_and_filled_on_a_grey_printer_too():
    for bar in drawn(timeline.timeline(RECORDED)).patches:
        red, green, blue, opaque = bar.get_facecolor()
        assert 0.3 * red + 0.59 * green + 0.11 * blue < 0.45
        assert opaque == 1


@pytest.mark.parametrize("length", [0.1, 900.0])
def test_no_outage_is_cut_off(length):
    measured = found(1000.0, {"vlan301": (out(50.0, length),), "vlan302": (out(52.0, 0.05),)})
    left, right = drawn(timeline.timeline(measured)).get_xlim()
    assert left < 50
    assert right > 50 + length


def test_the_shortest_outage_of_a_long_measurement_is_seen():
    measured = found(1000.0, {"vlan301": (out(0.0, 1000.0, end=True),), "vlan302": (out(500.0, 0.05),)})
    ax = drawn(timeline.timeline(measured))
    assert ax.patches[1].get_linewidth() >= 1.2  # points, around a bar that is itself no wider than a hair
    assert "0.05 s" in words(ax)


def test_a_short_outage_is_shown_large_however_long_was_measured():
    left, right = drawn(timeline.timeline(found(3600.0, {"vlan301": (out(1800.0, 2.0),)}))).get_xlim()
    assert right - left < 10


def test_durations_without_room_are_left_to_the_sum():
    many = tuple(out(10.0 + n / 10, 0.05) for n in range(8))
    told = words(drawn(timeline.timeline(found(100.0, {"vlan301": (*many, out(90.0, 2.0)), "vlan302": (out(5, 1),)}))))
    assert told.count("0.05 s") == 2  # one to the left of them all, one to the right
    assert "9 times,\n2.40 s" in told
    assert "2.00 s" in told


@pytest.mark.parametrize("ends", [("start", "more than 4.00 s"), ("end", "more than 4.00 s, still out")])
def test_an_outage_whose_end_was_not_seen_has_an_arrow_and_says_more_than(ends):
    which, told = ends
    after = 0.0 if which == "start" else 6.0
    ax = drawn(timeline.timeline(found(10.0, {"vlan301": (out(after, 4.0, **{which: True}),)})))
    assert told in words(ax)
    arrows = [(line.get_marker(), *line.get_xdata()) for line in ax.get_lines() if line.get_marker() in "<>"]
    assert arrows == [("<", 0.0) if which == "start" else (">", 10.0)]


def test_a_segment_that_never_answered_is_hatched_and_says_so():
    measured = found(10.0, {name: (out(0.0, 10.0, start=True, end=True),) for name in SEGMENTS}, state="never answered")
    ax = drawn(timeline.timeline(measured))
    assert words(ax) == ["never answered"] * 10
    assert all(bar.get_hatch() for bar in ax.patches)


def test_a_time_in_which_the_meter_stood_still_is_marked():
    fig = timeline.timeline(found(10.0, {}, breaks=(Break(after=3.0, seconds=1.0),)))
    assert "the meter stood still" in [text.get_text() for text in fig.legends[0].get_texts()]
    assert [(p.get_x(), p.get_width()) for p in drawn(fig).patches] == [(3.0, 1.0)]
    assert "stood still for 1.00 s" in timeline.timeline_words(found(10.0, {}, breaks=(Break(after=3.0, seconds=1.0),)))


def test_the_axes_are_seconds_since_the_start_and_the_wall_clock():
    ax = drawn(timeline.timeline(found(20.0, {})))
    (top,) = ax.child_axes
    assert ax.get_xlabel() == "seconds since the measurement began"
    assert top.get_xlabel() == "wall clock, UTC, 2026-02-03"
    clocks = {label.get_text(): x for x, label in zip(top.get_xticks(), top.get_xticklabels(), strict=True)}
    assert clocks["00:00:00"] == pytest.approx(9.75)  # the measurement began at 23:59:50.25
    assert clocks["23:59:55"] == pytest.approx(4.75)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 20.0, 14_400.0])
def test_a_measurement_of_any_length_can_be_drawn(seconds):
    fig = timeline.timeline(found(seconds, {}))
    ax = drawn(fig)
    assert len(ax.child_axes[0].get_xticks()) <= 9
    assert all(0 <= x <= seconds for x in ax.get_xticks())
    fig.savefig(io.BytesIO())


def test_the_words_tell_every_segment():
    told = timeline.timeline_words(RECORDED)
    assert told.startswith("Times without service, measured on 2026-11-25 from ")
    for segment in RECORDED.segments:
        assert f"{segment.name}: out for {segment.outages[0].seconds:.2f} s from " in told


@pytest.mark.parametrize(("state", "told"), [("answers", "vlan302: not out"), ("never answered", "vlan302: never answered")])
def test_the_words_tell_a_segment_without_outage(state, told):
    assert told in timeline.timeline_words(found(10.0, {}, state=state))


def test_a_picture_is_small_enough_to_be_kept_in_a_notebook():
    png = io.BytesIO()
    timeline.timeline(RECORDED).savefig(png, format="png", dpi=110)
    assert 5_000 < len(png.getvalue()) < 150_000
