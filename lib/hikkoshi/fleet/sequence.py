"""Which steps a command means, and one guest taken through them one after the other."""

from collections.abc import Sequence

from hikkoshi.errors import BadInput, Problem, closest
from hikkoshi.fleet.console import Console
from hikkoshi.params.home import Home
from hikkoshi.record import seal
from hikkoshi.record.engine import forked
from hikkoshi.record.engine.execution import Outcome, execute
from hikkoshi.run import decision
from hikkoshi.run.run import Mode
from hikkoshi.run.step import CUTOVER, DEPLOY, ON_REQUEST, ROLLBACK, STEPS, SURVEY

FIRST, LAST = SURVEY.id, DEPLOY.id  # of a run that names none


def step(name: str) -> str:
    """A step by its whole name, its number or its word: '40', 'convert' and '40-convert' are the same."""
    words = {part: known.id for known in STEPS.values() for part in (known.id, known.number, known.word)}
    if name in words:
        return words[name]
    close = closest(name, list(words))
    raise BadInput(
        Problem(
            code="step-unknown",
            what="no such step",
            found=repr(name),
            expected="one of: " + ", ".join(STEPS),
            remedy=f"did you mean {words[close]}?" if close else "give its number, such as 40",
        )
    )


def selection(first: str | None, last: str | None) -> list[str]:
    """The steps from `first` through `last`. The cut-over and the report come only when `last` asks for them, the
    rollback only alone."""
    begin, end = step(first or FIRST), step(last or LAST)
    if ROLLBACK.id in (begin, end) and begin != end:
        raise BadInput(
            Problem(
                code="rollback-with-other-steps",
                what="the rollback is a step of its own",
                found=f"from {begin} through {end}",
                expected="nothing before or after it in one command",
                remedy="hikkoshi run GUEST --only " + ROLLBACK.number + " --apply",
            )
        )
    if begin == end:
        return [begin]
    order = list(STEPS)
    chosen = [s for s in order[order.index(begin) : order.index(end) + 1] if s != ROLLBACK.id]
    if not chosen:
        asked = last is None and begin in ON_REQUEST
        raise BadInput(
            Problem(
                code="step-only-by-name" if asked else "steps-out-of-order",
                what=f"{begin} is done only when it is asked for by name" if asked else "the steps are in the wrong order",
                found=f"from {begin} through {end}",
                expected="a first step that is not after the last",
                remedy=f"hikkoshi run GUEST --only {STEPS[begin].number}" if asked else "exchange the two",
            )
        )
    return chosen


def walk(home: Home, guest: str, steps: Sequence[str], mode: Mode, console: Console) -> list[Outcome]:
    """Take a guest through steps until one is not a success; that is then the last outcome of the list."""
    outcomes: list[Outcome] = []
    with forked.server() as kernels:
        for name in steps:
            chosen = "" if STEPS[name].read_only else f" · {mode}"
            console.heading(f"{name} · {STEPS[name].title} · guest {guest}{chosen}")
            outcome = execute(home, guest, name, mode, listener=console, kernels=kernels)
            console.heading(f"  {outcome.outcome} after {outcome.seconds:.1f} s · {outcome.record}")
            words = f"sealed · {seal.words(home, outcome.sealed)}" if outcome.sealed else f"NOT SEALED · {outcome.unsealed}"
            console.heading(f"  {words.splitlines()[0]}")
            outcomes.append(outcome)
            if name == CUTOVER.id and mode == "apply":
                console.heading(f"  {decision.told(home, guest, ended_well=not outcome.exit_code)}")
            if outcome.exit_code:
                break
    return outcomes
