"""The pictures of a report, drawn again from the guest's results, each with the words that stand for it.

Drawn are vectors in a data: URL: sharp on paper, and no request.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hikkoshi.figures import overview, plots, timeline
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.outage.outage import Outages
from hikkoshi.rehearsal.outcome import BootOutcome
from hikkoshi.report.drawing import speaks, vectors
from hikkoshi.report.openpoints import speed
from hikkoshi.report.standing import measured
from hikkoshi.report.story import Story
from hikkoshi.translation import Gettext

LONGEST_SCREEN = 4000  # characters


@dataclass(frozen=True)
class Picture:
    """A picture: its title, itself as a data: URL (empty where it is not made), its words, its caption, what it shows as text."""

    title: str
    image: str
    alt: str
    caption: str
    screen: str = ""


def png(content: bytes) -> str:
    """A PNG as a data: URL."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def screens(story: Story, _: Gettext = str) -> Iterator[Picture]:
    """The screens at the end of the boot, before and after."""
    r = story.rehearsal
    titles = (_("Before: the disk as it was under Xen"), _("After: the disk as it goes to vSphere"))
    for title, outcome in zip(titles, (r.before, r.after) if r else (None, None), strict=True):
        if outcome is None:
            yield Picture(title, "", "", _("Not rehearsed yet."))
            continue
        file = story.folder / outcome.picture
        yield Picture(
            title,
            png(file.read_bytes()) if file.is_file() else "",
            _("Screen at the end of the boot. {title}. It reads: {words}").format(title=title, words=outcome.words),
            _boot(outcome, _),
            _text(story.folder / outcome.screen),
        )


def outages(found: Outages, _: Gettext = str) -> Picture:
    """The outage of every segment on one line of time."""
    told = "; ".join(f"{s.name}: {out_for(found, s.name, _)}" for s in found.segments)
    return Picture(
        _("The outage during the cut-over"),
        vectors(lambda words: timeline.timeline(found, words), _),
        _("Times without service on each segment, from {begun} to {until} UTC. {told}.").format(
            begun=found.started[:19].replace("T", " "), until=found.until[11:19], told=told
        ),
        _worded(_("Each segment was probed {rate} times a second.").format(rate=found.rate), _),
    )


def out_for(found: Outages, name: str, _: Gettext = str) -> str:
    """How long a segment was out in all, as a person reads it."""
    segment = next(s for s in found.segments if s.name == name)
    if segment.at_the_end == "never answered":
        return _("never answered")
    if not segment.outages:
        return _("not out")
    if len(segment.outages) == 1:
        words = timeline.lasted(segment.outages[0], _)
    else:
        words = _("{seconds} s in {times} parts").format(
            seconds=f"{sum(o.seconds for o in segment.outages):.2f}", times=len(segment.outages)
        )
    return words + (_(", still out") if segment.at_the_end == "out" else "")


def throughput(story: Story, _: Gettext = str) -> Iterator[Picture]:
    """Every run that was measured: before the move, before and after a remedy, now, and from all segments."""
    before = story.throughput.measured.get("before the move") if story.throughput else None
    now = measured(story)
    remedied = story.offloads if story.offloads and story.offloads.before and story.offloads.after else None
    if before and before.series.runs:
        yield _runs(_("Throughput before the move, under Xen"), before.series, _)
    if remedied and remedied.before and remedied.after:
        b, a = remedied.before.series, remedied.after.series
        yield Picture(
            _("Throughput before and after the remedy"),
            vectors(lambda words: plots.remedy(b, a, words), _),
            _("Every run before and after the remedy. Before: {before}. After: {after}.").format(
                before=speed(b, _), after=speed(a, _)
            ),
            _worded(_("Before: {before}. After: {after}.").format(before=speed(b, _), after=speed(a, _)), _),
        )
    if now and now.series.runs:
        yield _runs(_("Throughput since the move"), now.series, _)
    if now and now.segments:
        cells = {name: {"since the move": s.look.ratio if s.look else None} for name, s in now.segments.items()}
        told = "; ".join(f"{name}: {speed(s, _)}" for name, s in now.segments.items())
        yield Picture(
            _("Throughput from other segments since the move"),
            vectors(lambda words: overview.matrix(cells, words), _),
            _("Each segment's throughput as a share of the direct way's. {told}.").format(told=told),
            _worded(_("The whole interval has to lie at 0.90 or above."), _),
        )


def _runs(title: str, series: Series, _: Gettext) -> Picture:
    told = speed(series, _)
    alt = _("{title}: every run in the order measured, in {unit}. {told}.").format(title=title, unit=series.unit, told=told)
    return Picture(title, vectors(lambda words: plots.turns(series, words), _), alt, _worded(told, _))


def _worded(caption: str, _: Gettext) -> str:
    return caption if speaks(_) else _("{caption} The words in the picture are English.").format(caption=caption)


def _boot(outcome: BootOutcome, _: Gettext) -> str:
    disk = _("disk unchanged by the boot") if outcome.disk_unchanged else _("disk CHANGED by the boot")
    return _("“{words}” after {seconds} s ({ending}; {devices}; {disk})").format(
        words=outcome.words,
        seconds=f"{outcome.seconds:.0f}",
        ending=outcome.ending,
        devices=f"{outcome.controller}, {outcome.nic_model}, {outcome.accelerator}",
        disk=disk,
    )


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")[:LONGEST_SCREEN] if file.is_file() else ""
