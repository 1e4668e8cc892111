"""What all that is known of a guest amounts to: the one sentence on top of its report, and what is open or not proved."""

from collections.abc import Iterator
from typing import Literal

from hikkoshi.network.sequential import Series
from hikkoshi.record.language import Gettext, told
from hikkoshi.record.story import Story
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run import STEPS
from hikkoshi.status import MEASURED
from hikkoshi.throughput import Measured

Level = Literal["good", "open", "bad"]


def verdict(story: Story, _: Gettext = str) -> tuple[Level, str]:
    """The one sentence on top of the report."""
    last = story.last
    if last is None:
        return "open", _("Nothing has been done yet.")
    todo = next((s for s in STEPS if s not in story.done), "90-report")
    found = measured(story)
    slow = found is not None and found.series.verdict == "regressed"
    judged: tuple[tuple[bool, Level, str], ...] = (
        (last.state == "failed" and last.mode == "plan", "bad", _("{step} has failed in plan mode: nothing was changed.")),
        (last.state == "failed", "bad", _("{step} has failed.")),
        (last.state == "interrupted" and last.mode == "plan", "bad",
         _("{step} was interrupted in plan mode: nothing was changed.")),
        (last.state == "interrupted", "bad", _("{step} was interrupted.")),
        (bool(story.unreadable), "bad", _("A result cannot be read.")),
        ("75-rollback" in story.done, "open", _("Rolled back: in service under Xen.")),
        (bool(story.rehearsal) and not rehearsed(story), "bad", _("The rehearsal did not succeed.")),
        (slow, "bad", _("In service on vSphere, and slows its network down.")),
        (story.cutover is not None, "good", _("In service on vSphere.")),
        (story.taken_out, "open", _("Out of service in vSphere; whether it is back under Xen was not seen from here.")),
        ("60-deploy" in story.done, "good", _("Deployed and waiting for its cut-over.")),
        (True, "open", _("Under way: {next} is next.")),
    )  # fmt: skip
    level, words = next((level, words) for true, level, words in judged if true)
    return level, words.format(step=step_name(last.step, _), next=step_name(todo, _))


def service(story: Story, _: Gettext = str) -> str:
    """Where the guest serves and how well, for whoever has to know before anything else."""
    if story.cutover:
        since, found = f"{story.cutover.since[:19].replace('T', ' ')} UTC", measured(story)
        told = [_("It serves from vSphere since {time}.").format(time=since)]
        if story.wiring and story.wiring.witness.ok:
            told.append(_("Every NIC is on its segment."))
        if found and found.series.verdict == "recovered":
            told.append(_("The network is as fast as without the guest."))
        return " ".join(told)
    if story.tried:
        return "" if "75-rollback" in story.done else _("Look whether it serves under Xen before anything else.")
    return _("Until now the move has not taken the guest out of service under Xen.")


def step_name(step: str, _: Gettext = str) -> str:
    """A step by its number and what it does."""
    return _("{step} ({title})").format(step=step, title=_(STEPS[step])) if step in STEPS else step


def rehearsed(story: Story) -> bool:
    """Whether the very VMDK of this plan booted to a login with every planned NIC."""
    r, c, p = story.rehearsal, story.conversion, story.plan
    if not (r and c and p):
        return False
    seen = {n.mac for n in r.after.nics}
    return (
        r.after.ending is Ending.LOGIN
        and r.after.disk_unchanged
        and (r.vmdk_sha256, r.plan_hash) == (c.vmdk_sha256, p.hash)
        and all(n.mac in seen for n in p.vm.nics)
    )


def measured(story: Story) -> Measured | None:
    """What was measured of the network since the cut-over on record; None where nothing was."""
    found = story.throughput.measured.get("since the move") if story.throughput else None
    return found if found and story.cutover and found.since == story.cutover.since else None


def speed(series: Series, _: Gettext = str) -> str:
    """What a series proves, in a sentence: the verdict, the ratio with its interval, and the runs behind it."""
    words = {"recovered": _("as fast as without the guest"), "regressed": _("slower than without the guest"),
             "inconclusive": _("not decided")}[series.verdict]  # fmt: skip
    made = _("{through} and {direct} runs").format(
        through=len(series.of(series.through)), direct=len(series.of(series.direct))
    )
    if series.look is None:
        words += _(": {runs} are too few to judge").format(runs=made)
    else:
        words += _(": {share} of the direct way's throughput, {runs}").format(
            share=series.look.ratio.as_share, runs=made
        )
    failed = len(series.failures)
    return words + (_("; {count} runs could not be made").format(count=failed) if failed else "")


def open_points(story: Story, _: Gettext = str) -> Iterator[str]:
    """What is left to do, to look at, or not proved, as sentences, what weighs most first."""
    yield from (_("A result cannot be read: {found}").format(found=words) for words in story.unreadable)
    yield from _not_done(story, _)
    yield from _not_measured(story, _)
    if story.plan and story.plan.forwards:
        proved = measured(story)
        if not (proved and proved.series.verdict == "recovered"):
            yield _("The guest forwards packets: receive offload (LRO) has to be off on its NICs, or it will be slow.")
    if story.deployment and not story.cutover:
        yield _("The machine in vSphere is not in service: its NICs are unplugged until the cut-over.")
    if story.rehearsal:
        yield from _not_rehearsed(story, story.rehearsal, _)


def notes(story: Story, _: Gettext = str) -> list[str]:
    """What the guest's administrator should know, as survey and plan found it."""
    found = (
        *(story.survey.guest.warnings if story.survey else ()),
        *(story.plan.preparation.notes if story.plan else ()),
    )
    return [told(note, _) for note in dict.fromkeys(found)]


def _not_done(story: Story, _: Gettext) -> Iterator[str]:
    for step in story.steps:
        name = step_name(step.step, _)
        if step.step == "75-rollback" or step.step in story.done:
            continue
        if step.step in MEASURED and step.run is None:  # what that leaves open is told apart
            continue
        if step.run is None:
            yield _("{step} is not done yet.").format(step=name)
        elif step.run.state != "done":
            how = _("{step} has failed.") if step.run.state == "failed" else _("{step} was interrupted.")
            yield f"{how.format(step=name)} {step.run.error.partition(chr(10))[0]}".strip()
        elif step.run.mode != "apply":
            yield _("{step} was only planned, not carried out.").format(step=name)
        else:
            yield _("{step} was taken back.").format(step=name)


def _not_measured(story: Story, _: Gettext) -> Iterator[str]:
    """What is not proved of the network of a guest in service."""
    if story.cutover is None:
        return
    if story.wiring is None:
        yield _(
            "On which segment each NIC is was read from vSphere's settings only, and not seen from inside the guest."
        )
    elif not story.wiring.witness.ok:
        bad = ", ".join(f"{n.name} {seen(n.verdict, _)}" for n in story.wiring.witness.nics if n.verdict != "ok")
        yield _("Not every NIC was proved to be on its segment: {nics}.").format(nics=bad)
    out = [s.name for s in story.outage.segments if s.at_the_end == "out"] if story.outage else []
    if out:
        yield _("Segments that were still out when the measurement of the outage ended: {segments}.").format(
            segments=", ".join(out)
        )
    if story.outage is None:
        yield _("How long the segments were out during the cut-over was not measured.")
    since = measured(story)
    if since is None:
        yield _("Whether the guest slows its network down was not measured since the cut-over: that is for 80-netperf.")
    elif since.series.verdict != "recovered":
        yield _("The network is not proved to be as fast as without the guest: {found}.").format(
            found=speed(since.series, _)
        )


def seen(verdict: str, _: Gettext) -> str:
    """The word for what was seen of a NIC's segment."""
    words = {"ok": _("on its segment"), "wrong": _("on another segment"), "silent": _("silent"),
             "unknown": _("on an unknown segment"), "conflicting": _("conflicting")}  # fmt: skip
    return words.get(verdict, verdict)


def _not_rehearsed(story: Story, r: Rehearsal, _: Gettext) -> Iterator[str]:
    p, c = story.plan, story.conversion
    if p and c and (r.vmdk_sha256, r.plan_hash) != (c.vmdk_sha256, p.hash):
        yield _("The rehearsal was of another VMDK, or by another plan, than the present ones.")
    silent = [n.name for n in p.vm.nics if n.mac not in {seen.mac for seen in r.after.nics}] if p else []
    if silent:
        yield _("NICs that the rehearsed guest did not report: {nics}.").format(nics=", ".join(silent))
    if not r.after.disk_unchanged:
        yield _("The disk was changed by its own rehearsal.")
    yield _(
        "The rehearsal ran on QEMU ({accelerator}), not on ESXi: it proves boot loader, kernel, drivers, root and addresses, "
        "not the behaviour of ESXi's own devices."
    ).format(accelerator=r.after.accelerator)
