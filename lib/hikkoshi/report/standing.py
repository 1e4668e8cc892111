"""How far the move of a guest has come: how each step stands, and what is proved of the guest, by what was seen of it."""

from typing import Literal

from hikkoshi.check import Unseen
from hikkoshi.network.compare.statistics import Verdict
from hikkoshi.network.diagnosis import aggregation
from hikkoshi.network.throughput.measured import UNFINISHED, VERDICTS, Measured
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.report.story import StepStory, Story
from hikkoshi.run.status import LastRun, State
from hikkoshi.run.step import CUTOVER, MEASURED, NETPERF, READ_ONLY, ROLLBACK

Standing = (
    Literal[
        "never",
        "done",
        "planned only",
        "failed",
        "interrupted",
        "failed in plan",
        "interrupted in plan",
        "refused",
        "taken back",
        "before the move",
        "of an earlier cut-over",
        "cut over again",
    ]
    | Unseen
)
MOVES = (CUTOVER.id, ROLLBACK.id)
MISPLACED = ("wrong", "unknown", "conflicting")  # verdicts on a NIC that is seen not to be where it belongs


def standing(story: Story, step: StepStory) -> Standing:
    """How a step stands, by its run that counts and by what was done since."""
    run = step.run
    if run is None:
        return "never"
    planned = run.mode == "plan" and run.step not in READ_ONLY
    if run.step == ROLLBACK.id and not planned and run.id in story.reached and _overtaken(story, run) == "cut over again":
        return "cut over again"  # though it ended red, as where a person starts the source: that is past, and it was taken out
    if state(run) == "failed" and not found_out(story, run):
        return "failed in plan" if planned else "refused" if refused(story, run) else "failed"
    if state(run) == "interrupted":
        return "interrupted in plan" if planned else "interrupted"
    if planned:
        return "planned only"
    return run.unseen or _overtaken(story, run)


def state(run: LastRun) -> State:
    """How a run ended. One that only left no record has done its work: that is told apart."""
    return "done" if run.unsealed else run.state


def _overtaken(story: Story, run: LastRun) -> Standing:
    """How a step that was done stands after what was done since."""
    later = overtaken(story, run)
    if run.step == ROLLBACK.id:
        return "cut over again" if any(r.step == CUTOVER.id and state(r) == "done" for r in later) else "done"
    if run.step == CUTOVER.id:
        return "taken back" if any(r.step == ROLLBACK.id for r in later) else "done"
    if run.step in MEASURED:
        before = [r for r in story.past if r.step in MOVES and begun(story, r) and r not in later]
        if not before or before[-1].step == ROLLBACK.id:
            return "before the move"
        return "of an earlier cut-over" if later else "done"
    return "done"


def overtaken(story: Story, run: LastRun) -> list[LastRun]:
    """The cut-overs and rollbacks that were begun since a run of what moves the guest or is measured of it: it is past."""
    after = story.past[[r.id for r in story.past].index(run.id) + 1 :] if run.step in (*MOVES, *MEASURED) else ()
    return [r for r in after if r.step in MOVES and begun(story, r)]


def in_force(story: Story, run: LastRun) -> bool:
    """Whether what a run left open is open still: no move came after it, and it did not merely fail to do again what is done."""
    idle = run.step in MOVES and not begun(story, run)
    last = moved(story)
    return not overtaken(story, run) and not (idle and last is not None and last.step == run.step)


def newest(story: Story, *steps: str) -> LastRun | None:
    """The last run of these steps that was applied and not refused."""
    return next((r for r in reversed(story.past) if r.step in steps and begun(story, r)), None)


def moved(story: Story) -> LastRun | None:
    """The cut-over or rollback that was applied last, to its end or not; None where the guest was never touched."""
    return newest(story, *MOVES)


def begun(story: Story, run: LastRun) -> bool:
    """Whether a run was applied and came beyond its checks beforehand."""
    return run.mode == "apply" and (state(run) == "done" or run.id in story.begun)


def refused(story: Story, run: LastRun) -> bool:
    """Whether a run ended before it did anything."""
    return state(run) == "failed" and run.mode == "apply" and run.step not in READ_ONLY and not begun(story, run)


def half_rolled_back(story: Story) -> bool:
    """Whether a rollback was begun and ended before the machine in vSphere was out of service, as far as is known."""
    last = moved(story)
    if last is None or last.step != ROLLBACK.id or state(last) == "done":
        return False
    return story.cutover is not None or last.id not in story.reached


def taken_out(story: Story) -> bool:
    """Whether a rollback took the machine in vSphere out of service, and was not seen to bring the guest back under Xen."""
    last = moved(story)
    return last is not None and last.step == ROLLBACK.id and state(last) != "done" and not half_rolled_back(story)


def rolled_back(story: Story) -> bool:
    """Whether the last move was a rollback that came to its end."""
    last = moved(story)
    return last is not None and last.step == ROLLBACK.id and state(last) == "done" and story.cutover is None


def unplugged(story: Story) -> bool:
    """Whether the machine in vSphere was never put into service, or was seen to be taken out of it."""
    last = moved(story)
    return story.cutover is None and (last is None or (last.step == ROLLBACK.id and not half_rolled_back(story)))


def theirs(story: Story) -> bool:
    """Whether a contractor makes the machine, in a vSphere that nobody here can ask."""
    return story.plan is not None and story.plan.terms.vsphere.handover


def unfinished(story: Story) -> bool:
    """Whether the last cut-over of a guest in service did not come to its end."""
    last = newest(story, CUTOVER.id)
    return last is not None and state(last) != "done"


def misplaced(story: Story) -> list[str]:
    """NICs that are not on their segment, or on more than one, as was seen from inside the guest."""
    return [n.name for n in story.wiring.witness.nics if n.verdict in MISPLACED] if story.wiring else []


def out(story: Story) -> list[str]:
    """Segments without service when the measurement of the outage ended."""
    return [s.name for s in story.outage.segments if s.at_the_end == "out"] if story.outage else []


def unanswered(story: Story) -> list[str]:
    """Segments that never answered: nothing is known of their outage."""
    return [s.name for s in story.outage.segments if s.at_the_end == "never answered"] if story.outage else []


def unwatched(story: Story) -> list[str]:
    """Segments of the guest that the measurement of the outage did not watch."""
    watched = {s.name for s in story.outage.segments} if story.outage else set()
    return [name for name in story.plan.addresses if name not in watched] if story.outage and story.plan else []


def gaps(story: Story) -> bool:
    """Whether the meter of the outage was killed or stood still: an outage may lie where it saw nothing."""
    return story.outage is not None and (not story.outage.complete or bool(story.outage.breaks))


def measured(story: Story) -> Measured | None:
    """What was measured of the network since the cut-over on record; None where nothing was."""
    found = story.throughput.measured.get("since the move") if story.throughput else None
    return found if found and story.cutover and found.since == story.cutover.since else None


def found_out(story: Story, run: LastRun) -> bool:
    """Whether a run ended red for what it measured alone: its series came to its end, and all else was as it should be."""
    red = story.red.get(run.id, ())
    return run.step == NETPERF.id and bool(red) and set(red) <= VERDICTS and _decided(story)


def slow(found: Measured, *verdicts: Verdict) -> bool:
    """Whether the main way through the guest, or that of any segment, came to one of these verdicts."""
    return any(s.verdict in verdicts for s in (found.series, *found.segments.values()))


def _decided(story: Story) -> bool:
    """Whether the series that counts now came to its end."""
    before = story.throughput.measured.get("before the move") if story.throughput else None
    found = measured(story) if story.cutover else before
    return found is not None and found.series.ended not in UNFINISHED


def observed(story: Story) -> bool:
    """Whether anything at all was measured of the network of the guest in service."""
    return bool(story.wiring or story.outage or measured(story))


def remedied(story: Story) -> bool:
    """Whether a remedy was carried out for the cause that was named; of an earlier cut-over, whether one ever was."""
    if story.offloads is None:
        return story.treated
    return story.remedy is not None and story.offloads.diagnosis.cause in (aggregation.LRO, aggregation.MERGED)


def proved(story: Story) -> bool:
    """Whether every NIC is on its segment, every segment back, and the network as fast as without the guest."""
    found = measured(story)
    wired = story.wiring is not None and story.wiring.witness.ok
    whole = story.outage is not None and not gaps(story) and not unwatched(story)
    served = whole and story.outage is not None and all(s.at_the_end == "answers" for s in story.outage.segments)
    return wired and served and found is not None and not slow(found, "inconclusive", "regressed")


def answered(story: Story) -> bool:
    """Whether anybody has seen the guest serve since the cut-over: a segment that answers, a NIC on it, traffic measured."""
    if story.outage and any(s.at_the_end == "answers" for s in story.outage.segments):
        return True
    if story.wiring and any(n.verdict == "ok" for n in story.wiring.witness.nics):
        return True
    found = measured(story)
    return found is not None and any(r.throughput for r in found.series.runs)


def booted(story: Story) -> bool:
    """Whether the rehearsal came to a login with every planned NIC and left its disk alone."""
    r = story.rehearsal
    return r is not None and r.after.ending is Ending.LOGIN and r.after.disk_unchanged and not unseen_nics(story)


def unseen_nics(story: Story) -> list[str]:
    """Planned NICs that the rehearsed guest did not report."""
    if not (story.rehearsal and story.plan):
        return []
    seen = {n.mac for n in story.rehearsal.after.nics}
    return [n.name for n in story.plan.vm.nics if n.mac not in seen]


def of_this_plan(story: Story) -> bool:
    """Whether the rehearsal was by the present plan."""
    return story.rehearsal is not None and story.plan is not None and story.rehearsal.plan_hash == story.plan.hash


def of_this_vmdk(story: Story) -> bool:
    """Whether the rehearsal was of the present VMDK."""
    r, c = story.rehearsal, story.conversion
    return r is not None and c is not None and r.vmdk_sha256 == c.vmdk_sha256


def rehearsed(story: Story) -> bool:
    """Whether the very VMDK of this plan booted to a login with every planned NIC."""
    return booted(story) and of_this_plan(story) and of_this_vmdk(story)
