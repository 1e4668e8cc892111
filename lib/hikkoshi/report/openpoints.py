"""What is left to do, to look at, or not proved of a guest's move, in sentences."""

from collections.abc import Iterator

from hikkoshi.network.compare.sequential import Series
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import standing
from hikkoshi.report.language import utc
from hikkoshi.report.standing import measured
from hikkoshi.report.story import Story
from hikkoshi.run.step import CUTOVER, MEASURED, NETPERF, OFFLOADS, ROLLBACK, STEPS
from hikkoshi.translation import Gettext


def noun(step: str, _: Gettext = str) -> str:
    """What a step is called in a sentence."""
    return _(STEPS[step].noun)


def step_name(step: str, _: Gettext = str) -> str:
    """A step by its number and what it does."""
    return _("{step} ({title})").format(step=step, title=noun(step, _)) if step in STEPS else step


def speed(series: Series, _: Gettext = str) -> str:
    """What a series proves, in a sentence: the verdict, the ratio with its interval, and the runs behind it."""
    words = {
        "recovered": _("as fast as without the guest"),
        "regressed": _("slower than without the guest"),
        "inconclusive": _("not decided"),
    }[series.verdict]
    made = _("{through} and {direct} runs").format(through=len(series.of(series.through)), direct=len(series.of(series.direct)))
    if series.look is None:
        words += _(": {runs} are too few to judge").format(runs=made)
    else:
        words += _(": {share} of the direct way's throughput, {runs}").format(share=series.look.ratio.as_share, runs=made)
    failed = len(series.failures)
    return words + (_("; {count} runs could not be made").format(count=failed) if failed else "")


def open_points(story: Story, _: Gettext = str) -> Iterator[str]:
    """What is left to do, to look at, or not proved, as sentences, what weighs most first."""
    yield from (_("A result cannot be read: {found}").format(found=words) for words in story.unreadable)
    yield from _not_surveyed(story, _)
    yield from _not_done(story, _)
    yield from _not_asked(story, _)
    yield from _not_seen(story, _)
    yield from _not_measured(story, _)
    yield from _first_start(story, _)
    yield from _not_approved(story, _)
    yield from _changed(story, _)
    yield from _lowered(story, _)
    yield from _lro(story, _)
    if story.deployment and standing.unplugged(story) and not standing.theirs(story):
        yield _("The machine in vSphere is not in service: its NICs are unplugged until the cut-over.")
    if story.rehearsal:
        yield from _not_rehearsed(story, story.rehearsal, _)


def notes(story: Story, _: Gettext = str) -> list[str]:
    """What the guest's administrator should know, as survey and plan found it."""
    found = (*(story.survey.guest.warnings if story.survey else ()), *(story.plan.preparation.notes if story.plan else ()))
    return list(dict.fromkeys(note.said(_) for note in found))


def _changed(story: Story, _: Gettext) -> Iterator[str]:
    """Steps that were carried out with other instructions than the project's own."""
    for step in dict.fromkeys(r.step for r in story.past if "runbook" in story.changed.get(r.id, "")):
        yield _(
            "The runbook of {step} was changed before it was carried out: its record holds the project's own beside it."
        ).format(step=step_name(step, _))
    steps = dict.fromkeys(step_name(r.step, _) for r in story.past if "software" in story.changed.get(r.id, ""))
    if steps:
        yield _("The program had been changed when it carried out {steps}: their records name the files.").format(
            steps=", ".join(steps)
        )


def _not_surveyed(story: Story, _: Gettext) -> Iterator[str]:
    """Bytes that were copied, or are in vSphere, and are not those that survey and plan tell of."""
    copy, plan, there = story.prepared, story.plan, story.deployment
    if copy and not copy.source_digest:
        yield _("Which state of the source was copied is not on record: an earlier version made the copy.")
    elif copy and plan and copy.source_digest != plan.source_digest:
        yield _("The source that was copied is not the one that survey and plan are of.")
    if there and plan and there.plan_hash != plan.hash and not standing.theirs(story):
        yield _("The machine in vSphere is of another plan than the present one.")


def _not_done(story: Story, _: Gettext) -> Iterator[str]:
    said = {
        "never": _("{step} is not done yet."),
        "failed": _("{step} has failed."),
        "failed in plan": _("{step} has failed in plan mode: nothing was changed."),
        "refused": _("{step} was refused before anything was done."),
        "interrupted": _("{step} was interrupted."),
        "interrupted in plan": _("{step} was interrupted in plan mode: nothing was changed."),
        "planned only": _("{step} was only planned, not carried out."),
        "taken back": _("{step} was taken back."),
    }
    original = _("“{error}”")  # in another language it says that these words are the original ones
    for step in story.steps:
        if step.run and step.run.unsealed:
            words = _("{step} has left no sealed record.").format(step=step_name(step.step, _))
            yield f"{words} {original.format(error=step.run.error)}"
        how = standing.standing(story, step)
        quiet = how in ("never", "planned only") and step.step in MEASURED  # what that leaves open is told apart
        past = step.run is not None and how != "taken back" and not standing.in_force(story, step.run)
        if how not in said or quiet or past or (step.step == ROLLBACK.id and how in ("never", "planned only")):
            continue
        words = said[how].format(step=step_name(step.step, _))
        why = step.run.error.partition("\n")[0] if step.run and standing.state(step.run) == "failed" else ""
        yield f"{words} {original.format(error=why)}" if why else words


def _not_asked(story: Story, _: Gettext) -> Iterator[str]:
    """What only the contractor can tell who runs the vSphere."""
    if not standing.theirs(story):
        return
    yield _(
        "The vSphere is a contractor's, and nobody here has asked it: room, hardware version, operating system, port groups with "
        "their VLANs, free name and MACs are the contractor's word."
    )
    if story.handed and not story.cutover:
        yield _("The machine was handed over, and has to stay off at the contractor's until the cut-over.")


def _not_seen(story: Story, _: Gettext) -> Iterator[str]:
    """What the person who cut over answers for, because nobody could see it from here."""
    last = standing.newest(story, CUTOVER.id)
    if story.cutover and last and last.id in story.unseen:
        yield _("That the source is off was not seen from here.")


def _not_measured(story: Story, _: Gettext) -> Iterator[str]:
    """What is not proved of the network of a guest in service."""
    if story.cutover is None:
        return
    if story.wiring is None and standing.theirs(story):
        yield _("On which segment each NIC is was not seen: neither in the contractor's vSphere nor from inside the guest.")
    elif story.wiring is None:
        yield _("On which segment each NIC is was read from vSphere's settings only, and not seen from inside the guest.")
    elif not story.wiring.witness.ok:
        bad = ", ".join(f"{n.name} {seen(n.verdict, _)}" for n in story.wiring.witness.nics if n.verdict != "ok")
        yield _("Not every NIC was proved to be on its segment: {nics}.").format(nics=bad)
    yield from _outage(story, _)
    since = measured(story)
    if since is None:
        words = _("Whether the guest slows its network down was not measured since the cut-over: that is for {step}.")
        yield words.format(step=NETPERF)
    elif since.series.verdict != "recovered":
        yield _("The network is not proved to be as fast as without the guest: {found}.").format(found=speed(since.series, _))
    for name, series in (since.segments if since else {}).items():
        if series.verdict != "recovered":
            yield _("From {segment} the network is not proved to be as fast as without the guest: {found}.").format(
                segment=name, found=speed(series, _)
            )


def _first_start(story: Story, _: Gettext) -> Iterator[str]:
    """What did not end well, or was not seen, of what a moved guest runs once."""
    if story.cutover is None or story.plan is None or not story.plan.preparation.additions.starts:
        return
    if story.arrival is None:
        yield _("Scripts run at the guest's first start: what became of them was not seen.")
    for script in story.arrival.first if story.arrival else ():
        if script.status is None:
            yield _("{script} at the first start has not come to its end.").format(script=script.name)
        elif script.status:
            words = _("{script} at the first start ended with exit status {status}: see arrival.json for the end of its log.")
            yield words.format(script=script.name, status=script.status)


def _outage(story: Story, _: Gettext) -> Iterator[str]:
    """What is not known of the outage, or is one still."""
    found, out, never = story.outage, ", ".join(standing.out(story)), ", ".join(standing.unanswered(story))
    if found is None:
        yield _("How long the segments were out during the cut-over was not measured.")
        return
    if out:
        yield _("Segments that were still out when the measurement of the outage ended: {segments}.").format(segments=out)
    if never:
        yield _("Segments that never answered, so that nothing is known of their outage: {segments}.").format(segments=never)
    if left := standing.unwatched(story):
        yield _("Segments whose outage was not measured: {segments}.").format(segments=", ".join(left))
    if not found.complete:
        yield _("The outage was measured until {time} only.").format(time=utc(found.until))
    if found.breaks:
        lost = f"{sum(b.seconds for b in found.breaks):.1f}"
        yield _("The measurement of the outage stood still for {seconds} s in all: nothing is known of these.").format(
            seconds=lost
        )


def _not_approved(story: Story, _: Gettext) -> Iterator[str]:
    """Whose word is missing. Before the cut-over it is asked as of now, after it as of then."""
    if story.cutover:
        if not story.cutover_approved:
            yield _("It was cut over, and no approval that counted is on record.")
        return
    if story.plan is None or story.approved:
        return
    expired = [a for a in story.present if a.statement and a.until and a.code == "approval-expired"]
    for a in expired:
        if a.statement and a.until:
            yield _("The approval of {who} expired on {date}.").format(who=a.statement.approver, date=f"{a.until:%Y-%m-%d}")
    if not expired:
        yield _("Nobody has approved this plan yet.")


def _lowered(story: Story, _: Gettext) -> Iterator[str]:
    """What was not as the preflight has it, and was let pass, under the plan in force."""
    rules = list(dict.fromkeys(r.code for r in story.lowered if r.plan == story.subject.plan))
    if rules:
        words = _("Rules that were not kept, and stopped nothing as the site has lowered them: {rules}. The appendix says why.")
        yield words.format(rules=", ".join(rules))


def _lro(story: Story, _: Gettext) -> Iterator[str]:
    found = measured(story)
    if story.plan and story.plan.forwards is not False and not (found and found.series.verdict == "recovered"):
        words = _("The guest forwards packets: receive offload (LRO) has to be off on its NICs, or it may be slow.")
        if story.plan.forwards is None:
            words = _("The guest's files do not tell whether it forwards packets. If it does, LRO has to be off on its NICs.")
        if story.remedy:
            words += " " + _("{step} has carried its remedy out.").format(step=OFFLOADS)
        yield words


def seen(verdict: str, _: Gettext) -> str:
    """The word for what was seen of a NIC's segment."""
    words = {
        "ok": _("on its segment"),
        "wrong": _("on another segment"),
        "silent": _("silent"),
        "unknown": _("on an unknown segment"),
        "conflicting": _("conflicting"),
    }
    return words.get(verdict, verdict)


def _not_rehearsed(story: Story, r: Rehearsal, _: Gettext) -> Iterator[str]:
    if story.plan and not standing.of_this_plan(story):
        yield _("The plan has changed since the rehearsal.")
    if story.conversion and not standing.of_this_vmdk(story):
        yield _("The VMDK has changed since the rehearsal.")
    if silent := standing.unseen_nics(story):
        yield _("NICs that the rehearsed guest did not report: {nics}.").format(nics=", ".join(silent))
    if not r.after.disk_unchanged:
        yield _("The disk was changed by its own rehearsal.")
    yield _(
        "The rehearsal ran on QEMU ({accelerator}), not on ESXi: it proves boot loader, kernel, drivers, root and addresses, "
        "not the behaviour of ESXi's own devices."
    ).format(accelerator=r.after.accelerator)
