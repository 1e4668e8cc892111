"""Which guests are moved together, one wave after the other, and which steps each of them still has before it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from hikkoshi.approval.plan import Plan
from hikkoshi.errors import BadInput, Problem
from hikkoshi.fleet.task import Task
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run import reach
from hikkoshi.run.journal import Journal
from hikkoshi.run.run import Mode
from hikkoshi.run.status import LastRun, done, runs
from hikkoshi.run.step import CUTOVER, FORWARD, PLAN, READ_ONLY, STEPS, SURVEY

NIGHT = timedelta(hours=12)  # for which a look in plan mode counts


def waves(home: Home) -> dict[int, list[Guest]]:
    """{wave: its guests}, the first first; guests whose files name none are the last.

    `BadInput` tells of all files at once, or that there is none.
    """
    found, problems = usable(home)
    if problems:
        raise BadInput(*problems)
    if not found:
        raise BadInput(
            Problem(
                code="no-guests",
                what="no guest has a file in this folder",
                where=str(home.root / "params" / "guests"),
                expected="a file NAME.yml for each guest",
                remedy="change into the folder of your site, or name it by HIKKOSHI_HOME; `hikkoshi init .` writes the files",
            )
        )
    return found


def usable(home: Home) -> tuple[dict[int, list[Guest]], list[Problem]]:
    """The same of the guests whose files can be used, and what is wrong with the others."""
    found: list[Guest] = []
    problems: list[Problem] = []
    for name in home.guest_names():
        try:
            found.append(home.guest(name))
        except BadInput as e:
            problems += [p for p in e.problems if p not in problems]
    last = max((g.wave for g in found if g.wave is not None), default=0) + 1
    by_wave: dict[int, list[Guest]] = {}
    for guest in found:
        by_wave.setdefault(guest.wave or last, []).append(guest)
    return dict(sorted(by_wave.items())), problems


def tasks(home: Home, site: Site, guest: Guest, steps: Sequence[str], mode: Mode) -> list[Task]:
    """A task for each step that the guest still has before it, see `left`; one for all that only look in plan mode."""
    groups: list[list[str]] = []
    for step in left(home, guest.name, steps, mode):
        looks = mode == "plan" and step not in READ_ONLY
        if looks and groups and groups[-1][-1] not in READ_ONLY:
            groups[-1].append(step)
        else:
            groups.append([step])
    return [
        Task(
            guest.name,
            tuple(group),
            mode == "apply",
            tuple(sorted({s for step in group for s in slots(site, guest, step, mode)})),
        )
        for group in groups
    ]


def slots(site: Site, guest: Guest, step: str, mode: Mode) -> tuple[str, ...]:
    """What a step shares with those of other guests: `dom0:xenhost`, or `vsphere:` with the server. A look reads no disk."""
    looks = mode == "plan" and step not in READ_ONLY
    loads = STEPS[step].loads if not looks or STEPS[step].loads == "vsphere" else ""
    vsphere = site.towards(guest.vsphere).vsphere
    names = {"dom0": guest.dom0, "vsphere": vsphere.server or vsphere.contractor, "network": ""}
    return (f"{loads}:{names[loads]}",) if loads else ()


def left(home: Home, guest: str, steps: Sequence[str], mode: Mode) -> list[str]:
    """The first of these steps that is not finished, and all after it.

    In apply, a step is finished where its last run did it, with the parameters and the plan that are there now, and its result
    is still that of the results before it. In plan mode, where it was looked at with these in the last twelve hours, and nothing
    was done to the guest since. Both only where there is a sealed record of it.
    """
    finished = _looked_at(home, guest) if mode == "plan" else _carried_out(home, guest, steps)
    known = set(finished)
    for n, step in enumerate(steps):
        if step not in known:
            return list(steps[n:])
    return []


def interrupted(home: Home, guest: str) -> str:
    """What became of the guest's last run, where somebody or something ended it; else nothing."""
    entries = Journal(home.folder(guest).journal).entries()
    past = runs(entries)
    if not past or past[-1].state != "interrupted":
        return ""
    sealed = any(e.event == "sealed" and e.of == past[-1].id for e in entries)
    return f"{past[-1].step} {'was interrupted' if sealed else 'has no end'}: run {past[-1].id}"


def _looked_at(home: Home, guest: str) -> Iterator[str]:
    past = _unchanged(home, guest)
    acted = max((n for n, (run, _) in enumerate(past) if run.mode == "apply"), default=-1)
    last = {run.step: (n, run, same) for n, (run, same) in enumerate(past)}
    for step, (n, run, same) in last.items():
        if same and n > acted and run.state == "done" and datetime.now(UTC) - run.when < NIGHT:
            yield step


def _carried_out(home: Home, guest: str, steps: Sequence[str]) -> Iterator[str]:
    past = _unchanged(home, guest)
    folder, ready, order = home.folder(guest), done([run for run, _ in past]), list(STEPS)
    gap = None if folder.cutover.exists() else reach.gap(folder)  # of one in service no result has to be there
    last = {run.step: (n, run, same) for n, (run, same) in enumerate(past) if run.mode == "apply" or run.step in READ_ONLY}
    before = -1  # where the last of the steps before it stands in the journal
    for step in (s for s in steps if s in last):
        n, run, same = last[step]
        needless = run.state == "done" and run.unseen == "not needed"
        by_results = step in FORWARD and step != CUTOVER.id
        follows = not (gap and order.index(gap.step) <= order.index(step)) if by_results else n > before
        if same and follows and (step in ready or needless):
            yield step
        before = max(before, n)


def _unchanged(home: Home, guest: str) -> list[tuple[LastRun, bool]]:
    """Every run, and whether it is sealed and began with the parameters and the plan that are there now.

    One whose runner was killed as it ended is sealed by the next run of its guest; so there has to be one.
    """
    entries, now = Journal(home.folder(guest).journal).entries(), home.inputs(guest)
    then, sealed = {e.run: e.inputs for e in entries if e.event == "open"}, {e.of for e in entries if e.event == "sealed"}

    def same(run: LastRun) -> bool:
        own = {Plan.filename} if run.step in (SURVEY.id, PLAN.id) else set()  # the plan comes after these
        return run.id in sealed and all(
            then.get(run.id, {}).get(name) == digest for name, digest in now.items() if name not in own
        )

    return [(run, same(run)) for run in runs(entries)]
