"""What all that is known of a guest amounts to: the one sentence on top of its report, and where it serves.

Level and words follow what was seen of the guest, never what its last run happened to be; the most dangerous is said first.
"""

from typing import Literal

from hikkoshi.report import standing
from hikkoshi.report.language import utc
from hikkoshi.report.openpoints import step_name
from hikkoshi.report.standing import measured, misplaced
from hikkoshi.report.story import Story
from hikkoshi.run.step import CUTOVER, DEPLOY, REPORT, ROLLBACK, STEPS
from hikkoshi.translation import Gettext

Level = Literal["good", "open", "bad"]
Rule = tuple[bool, Level, str]


def verdict(story: Story, _: Gettext = str) -> tuple[Level, str]:
    """The one sentence on top of the report."""
    last = story.last
    if last is None:
        return "open", _("Nothing has been done yet.")
    todo = next((s for s in STEPS if s not in story.done), REPORT.id)
    rules = (*_dangers(story, _), *_last_run(story, _), *_ways(story, _))
    level, words = next((level, words) for true, level, words in rules if true)
    return level, words.format(step=step_name(last.step, _), next=step_name(todo, _))


def _dangers(story: Story, _: Gettext) -> tuple[Rule, ...]:
    """What somebody has to act upon, whatever was run last."""
    serves, move, found = story.cutover is not None, standing.moved(story), measured(story)
    slow = found is not None and standing.slow(found, "regressed")
    lost = not serves and move is not None and move.step == CUTOVER.id
    return (
        (standing.half_rolled_back(story), "bad", _("A rollback was begun and did not end: look where it serves.")),
        (serves and bool(misplaced(story)), "bad", _("In service on vSphere, and not every NIC is on its segment.")),
        (serves and bool(standing.out(story)), "bad", _("In service on vSphere, and not every segment is served.")),
        (serves and standing.unfinished(story), "bad", _("In service on vSphere; its cut-over did not end well.")),
        (serves and slow, "bad", _("In service on vSphere, and slows its network down.")),
        (bool(story.unreadable), "bad", _("A result cannot be read.")),
        (lost, "bad", _("A cut-over was begun, and none is on record: look where it serves.")),
        (standing.taken_out(story), "open", _("Out of service in vSphere; whether it is back under Xen was not seen from here.")),
    )


def _last_run(story: Story, _: Gettext) -> tuple[Rule, ...]:
    """What the last run says, where it came to no good end. A measurement that found something out did."""
    last = story.last
    if last is None or standing.found_out(story, last):
        return ()
    planned = last.mode == "plan"
    return (
        (last.unsealed, "bad", _("{step} has left no sealed record.")),
        (standing.refused(story, last), "open", _("{step} was refused before anything was done.")),
        (last.state == "failed" and planned, "bad", _("{step} has failed in plan mode: nothing was changed.")),
        (last.state == "failed", "bad", _("{step} has failed.")),
        (last.state == "interrupted" and planned, "bad", _("{step} was interrupted in plan mode: nothing was changed.")),
        (last.state == "interrupted", "bad", _("{step} was interrupted.")),
    )


def _ways(story: Story, _: Gettext) -> tuple[Rule, ...]:
    """How far it has come, where nothing is wrong. Good is only what is proved."""
    serves, tried = story.cutover is not None, story.rehearsal is not None
    deployed, theirs = DEPLOY.id in story.done, standing.theirs(story)
    return (
        (standing.rolled_back(story), "open", _("Rolled back: in service under Xen.")),
        (serves and not standing.observed(story), "open", _("In service on vSphere; its network was not measured.")),
        (serves and not standing.proved(story), "open", _("In service on vSphere; its network is not proved.")),
        (serves and not story.cutover_approved, "open", _("In service on vSphere; no approval that counted is on record.")),
        (serves, "good", _("In service on vSphere.")),
        (tried and not standing.booted(story), "bad", _("The rehearsal did not succeed.")),
        (tried and not standing.of_this_plan(story), "open", _("The plan has changed since the rehearsal.")),
        (tried and not standing.of_this_vmdk(story), "open", _("The VMDK has changed since the rehearsal.")),
        (deployed and theirs and story.approved, "good", _("Handed over to the contractor, and waiting for its cut-over.")),
        (deployed and theirs, "open", _("Handed over to the contractor, and waiting for its approval and cut-over.")),
        (deployed and story.approved, "good", _("Deployed and waiting for its cut-over.")),
        (deployed, "open", _("Deployed and waiting for its approval and cut-over.")),
        (True, "open", _("Under way: {next} is next.")),
    )


def service(story: Story, _: Gettext = str) -> str:
    """Where the guest serves and how well, for whoever has to know before anything else."""
    move = standing.moved(story)
    if story.cutover and not standing.half_rolled_back(story):
        return " ".join(_served(story, story.cutover.since, _))
    if move is None:
        return _("Until now the move has not taken the guest out of service under Xen.")
    told = [] if standing.rolled_back(story) else [_("Look whether it serves under Xen before anything else.")]
    before = standing.newest(story, CUTOVER.id)
    if move.step == ROLLBACK.id and before:
        time = f"{before.when:%Y-%m-%d %H:%M} UTC"
        told.append(_("What was written in vSphere since {time} is not in the guest under Xen.").format(time=time))
    return " ".join(told)


def _served(story: Story, since: str, _: Gettext) -> list[str]:
    """What was seen of a guest in service."""
    words = _("It was switched on and connected in vSphere at {time}.")
    if standing.theirs(story):
        words = _("The contractor has switched it on: an address of it answered at {time}.")
    if standing.answered(story):
        words = _("It serves from vSphere since {time}.")
    told, found = [words.format(time=utc(since))], measured(story)
    if story.wiring and story.wiring.witness.ok:
        told.append(_("Every NIC is on its segment."))
    if found and not standing.slow(found, "inconclusive", "regressed"):
        told.append(_("The network is as fast as without the guest."))
    return told
