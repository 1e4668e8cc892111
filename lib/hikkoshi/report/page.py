"""The first page of a report, for whoever decides: times, outage, speed, changes, open points; what fits on one sheet of A4."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hikkoshi import files
from hikkoshi.check import UNSEEN
from hikkoshi.guest.additions.addition import Carried
from hikkoshi.network.compare import statistics
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.compare.statistics import Estimate
from hikkoshi.network.remedy.remedy import Applied
from hikkoshi.report import standing
from hikkoshi.report.judgement import Level, service, verdict
from hikkoshi.report.openpoints import notes, noun, open_points, speed
from hikkoshi.report.pictures import out_for
from hikkoshi.report.standing import measured
from hikkoshi.report.story import Span, Story
from hikkoshi.run.step import CUTOVER, NETPERF, OFFLOADS, ROLLBACK, STEPS
from hikkoshi.translation import Gettext

MOST_SEGMENTS = 12  # on the first page; all of them stand in the appendix
MOST_CHANGES = 7
MOST_POINTS = 6
MOST_LETTERS = 190  # of one entry
UNDONE = ("failed in plan", "interrupted in plan", "planned only", "failed", "interrupted", "refused")
MINUTE = "%Y-%m-%d %H:%M"
WIDEST = 1.2  # ratio at the right end of the bar of a speed


@dataclass(frozen=True)
class Moment:
    """When something was done, and how long it took."""

    what: str
    when: str
    took: str


@dataclass(frozen=True)
class SegmentOut:
    """How long one segment was out; `share` of the longest in per cent, for its bar; None where it is not known."""

    name: str
    address: str
    out: str
    share: float | None


@dataclass(frozen=True)
class Speed:
    """One series: what was measured when, in words and as a ratio with its interval."""

    what: str
    words: str
    through: str  # median
    direct: str
    ratio: Estimate | None

    @property
    def percent(self) -> str:
        """The share in per cent, for a headline."""
        return _percent(self.ratio.value) if self.ratio else ""

    @property
    def interval(self) -> tuple[str, str]:
        """The ends of its interval in per cent."""
        return (_percent(self.ratio.low), _percent(self.ratio.high)) if self.ratio else ("", "")

    @property
    def bar(self) -> dict[str, float]:
        """Low, value and high of the ratio and the border, in per cent of the bar's width."""
        if self.ratio is None:
            return {}
        ends = {
            "low": self.ratio.low,
            "value": self.ratio.value,
            "high": self.ratio.high,
            "border": statistics.ENOUGH_OF_DIRECT,
            "one": 1.0,
        }
        return {name: round(100 * min(x, WIDEST) / WIDEST, 1) for name, x in ends.items()}


@dataclass(frozen=True)
class Page:
    """Everything on the first page, shortened so that it is one; `left` tells what stands further on."""

    level: Level
    verdict: str
    service: str
    about: str
    times: tuple[Moment, ...]
    segments: tuple[SegmentOut, ...]
    more_segments: int
    longest: str
    unknown: int  # segments of whose outage the measurement cannot say that there was none
    speeds: tuple[Speed, ...]
    changes: tuple[str, ...]
    more_changes: int
    points: tuple[str, ...]
    more_points: int
    points_whole: bool  # every open point stands there in all its words
    notes: int

    @property
    def speed(self) -> Speed | None:
        """The speed that counts: the last one measured with enough runs to judge by."""
        return next((s for s in reversed(self.speeds) if s.ratio), None)


def first(story: Story, _: Gettext = str) -> Page:
    """Make the first page."""
    level, sentence = verdict(story, _)
    every, changed, points = list(_segments(story, _)), list(changes(story, _)), list(open_points(story, _))
    return Page(
        level=level,
        verdict=sentence,
        service=service(story, _),
        about=_about(story, _),
        times=tuple(times(story, _)),
        segments=tuple(every[:MOST_SEGMENTS]),
        more_segments=len(every[MOST_SEGMENTS:]),
        longest=_longest(story, _),
        unknown=_unknown(story),
        speeds=tuple(speeds(story, _)),
        changes=tuple(map(_short, changed[:MOST_CHANGES])),
        more_changes=len(changed[MOST_CHANGES:]),
        points=tuple(map(_short, points[:MOST_POINTS])),
        more_points=len(points[MOST_POINTS:]),
        points_whole=len(points) <= MOST_POINTS and all(_short(p) == p for p in points),
        notes=len(notes(story, _)),
    )


def times(story: Story, _: Gettext = str) -> Iterator[Moment]:
    """When the guest was surveyed, planned, … cut over, and how long each took."""
    said = {
        "failed": _("{what}: failed"),
        "interrupted": _("{what}: interrupted"),
        "refused": _("{what}: refused"),
        "failed in plan": _("{what}, planned only: failed"),
        "planned only": _("{what}, planned only"),
        "interrupted in plan": _("{what}, planned only: interrupted"),
        "taken back": _("{what}: taken back"),
        "before the move": _("{what} before the move"),
        "of an earlier cut-over": _("{what}, of an earlier cut-over"),
        "cut over again": _("{what}, later cut over again"),
    }
    counted = [
        (a.statement.approver, a.statement.approved)
        for a in story.approvals
        if a.statement and not a.flaw and not story.superseded(a)
    ]
    given = sorted(counted, key=lambda a: a[1])
    for step in story.steps:
        begun = step.did.begun if step.did else None
        if begun and step.step < CUTOVER.id:
            begun = begun.replace(microsecond=0)  # an approval is told to the second: with these, the step was first
        while given and (given[0][1] < begun if begun else step.step == CUTOVER.id):
            who, approved = given.pop(0)
            yield Moment(_("approved by {who}").format(who=who), approved.strftime(MINUTE), "–")
        if step.run is None and step.step in (ROLLBACK.id, NETPERF.id, OFFLOADS.id):
            continue
        if step.run is None or step.did is None:
            yield Moment(_(STEPS[step.step].done), _("not done yet"), "–")
            continue
        how = standing.standing(story, step)
        if how in UNSEEN:
            continue  # its run did nothing: a guest whose parameters have no `measurement`
        if step.step == OFFLOADS.id and how not in UNDONE and not standing.remedied(story):
            what = _("cause looked for")
        else:
            what = noun(step.step, _) if how in UNDONE else _(STEPS[step.step].done)  # "rolled back, planned only" would mislead
        yield Moment(said.get(how, "{what}").format(what=what), minute(step.did), took(step.did.seconds, _))
    for who, approved in given:
        yield Moment(_("approved by {who}").format(who=who), approved.strftime(MINUTE), "–")


def speeds(story: Story, _: Gettext = str) -> Iterator[Speed]:
    """What was measured of the speed, the oldest first."""
    before = story.throughput.measured.get("before the move") if story.throughput else None
    now, cure = measured(story), story.offloads
    if before:
        yield _speed(_("before the move, under Xen"), before.series, _)
    if cure and cure.before and cure.after and cure.before.series != (now.series if now else None):
        yield _speed(_("after the move, before the remedy"), cure.before.series, _)
    if now:
        remedied = cure is not None and cure.after is not None
        yield _speed(_("after the move and the remedy") if remedied else _("after the move"), now.series, _)


def changes(story: Story, _: Gettext = str) -> Iterator[str]:
    """What was changed, or will be: the machine, what is inside the guest, and its network."""
    p = story.plan
    if p is None:
        return
    vm, inside = p.vm, p.preparation
    one = _(
        "Machine: {vcpus} vCPU, {memory} MB, hardware version {version}, disk on {controller}, 1 NIC {model}; MAC address kept"
    )
    many = _(
        "Machine: {vcpus} vCPU, {memory} MB, hardware version {version}, disk on {controller}, {count} NICs {model}; "
        "MAC addresses kept"
    )
    yield (one if len(vm.nics) == 1 else many).format(
        vcpus=vm.vcpus,
        memory=vm.memory_mb,
        version=vm.hardware_version,
        controller=vm.controller,
        count=len(vm.nics),
        model=vm.nic_model,
    )
    yield _("Kernel {kernel}: {why}").format(kernel=inside.kernel, why=inside.kernel_because.said(_))
    if inside.rebuilds:
        yield _("Initrd made again, with {modules}").format(modules=", ".join(inside.modules) or "–")
    if inside.boot_loader:
        yield _("Boot loader {name} installed: the disk had none").format(name=inside.boot_loader)
    if inside.edits:
        paths = [e.path for e in inside.edits]
        shown = ", ".join(paths[:5]) + (", …" if len(paths) > 5 else "")
        yield _("{count} files of the guest changed: {paths}").format(count=len(paths), paths=shown)
    if inside.additions.brings_tools or inside.additions.no_tools:
        yield from (n.said(_) for n in inside.notes if n.code.startswith("tools-"))
    if inside.additions.prepare:
        yield _("Scripts of the site run on the copy: {names}").format(names=_names(inside.additions.prepare))
    if inside.additions.first_start:
        yield _("Scripts of the site for the moved guest's first start: {names}").format(
            names=_names(inside.additions.first_start)
        )
    if story.remedy:
        yield _remedied(story.remedy, _)


def _names(brought: Sequence[Carried]) -> str:
    return ", ".join(f"{b.name} ({b.sha256[:16]}…)" for b in brought)


def _remedied(done: Applied, _: Gettext) -> str:
    """What a remedy changed in the guest: flags at once, else files that count when it is started anew."""
    switches, files_ = done.plan.switches, ", ".join(f.path for f in done.plan.files) or "–"
    if not switches:
        return _("In the running guest: {files} changed, which counts from its next start").format(files=files_)
    features = ", ".join(f.upper() for f in dict.fromkeys(s.feature for s in switches))
    nics = ", ".join(dict.fromkeys(s.nic for s in switches))
    if done.plan.restart:
        return _("In the guest: {features} off on {nics} from its next start").format(features=features, nics=nics)
    return _("In the running guest: {features} switched off on {nics}").format(features=features, nics=nics)


def took(seconds: float, _: Gettext = str) -> str:
    """A duration as a person reads it."""
    if seconds < 60:
        return _("{seconds} s").format(seconds=f"{seconds:.0f}")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=rest)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def minute(span: Span) -> str:
    """When it began, in UTC, to the minute."""
    return span.begun.strftime(MINUTE)


def _about(story: Story, _: Gettext) -> str:
    """The guest in a line."""
    if story.survey is None:
        return story.site
    s = story.survey
    parts = [
        f"{s.guest.distribution} {s.guest.release}",
        s.guest.arch,
        _("1 NIC") if len(s.xen.vifs) == 1 else _("{count} NICs").format(count=len(s.xen.vifs)),
        _("disk {size}").format(size=files.human(s.disk.bytes)),
        story.site,
    ]
    return " · ".join(parts)


def _segments(story: Story, _: Gettext) -> Iterator[SegmentOut]:
    if story.outage is None:
        return
    sums = {s.name: sum(o.seconds for o in s.outages) for s in story.outage.segments}
    most = max(sums.values(), default=0) or 1
    for s in story.outage.segments:
        silent = s.at_the_end == "never answered"
        share = None if silent else round(100 * sums[s.name] / most, 1)
        yield SegmentOut(s.name, s.address, out_for(story.outage, s.name, _), share)


def _longest(story: Story, _: Gettext) -> str:
    """The longest outage of a segment."""
    if story.outage is None:
        return ""
    served = [s for s in story.outage.segments if s.at_the_end != "never answered" and s.outages]
    if not served:
        return ""
    return out_for(story.outage, max(served, key=lambda s: sum(o.seconds for o in s.outages)).name, _)


def _unknown(story: Story) -> int:
    """How many segments may have been out without its being seen: all where the meter has gaps."""
    if story.outage is None:
        return 0
    watched = len(story.outage.segments) if standing.gaps(story) else len(standing.unanswered(story))
    return watched + len(standing.unwatched(story))


def _speed(what: str, series: Series, _: Gettext) -> Speed:
    def middle(runs: Sequence[float]) -> str:
        return f"{np.median(runs):.4g}" if runs else "–"

    look = series.look
    return Speed(
        what, speed(series, _), middle(series.of(series.through)), middle(series.of(series.direct)), look.ratio if look else None
    )


def _percent(share: float) -> str:
    """A share in per cent, to a tenth."""
    return f"{100 * share:.1f}".removesuffix(".0")


def _short(words: str) -> str:
    """An entry of the first page; the whole of it stands further on."""
    return words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1].rstrip() + "…"


def rows(page: Page, _: Gettext = str) -> list[dict[str, str]]:
    """The same as rows for a reader of the runbook."""
    return [
        {"what": _("verdict"), "found": page.verdict},
        *({"what": t.what, "found": f"{t.when}, {t.took}"} for t in page.times),
        *({"what": _("outage of {segment}").format(segment=s.name), "found": s.out} for s in page.segments),
        *({"what": _("speed {when}").format(when=s.what), "found": s.words} for s in page.speeds),
        *({"what": _("changed"), "found": c} for c in page.changes),
        *({"what": _("open"), "found": p} for p in page.points),
    ]
