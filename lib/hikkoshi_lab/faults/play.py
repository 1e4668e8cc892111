"""One cell of the matrix: a run in which something goes wrong, what became of all, and the run again."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hikkoshi.run.step import CUTOVER, DEPLOY, ROLLBACK, Step
from hikkoshi.vsphere import vm
from hikkoshi_lab.faults import cell, guest, told
from hikkoshi_lab.faults.cell import Glance, Juncture, Misfortune
from hikkoshi_lab.faults.operator import USUAL, Ended, Operator
from hikkoshi_lab.faults.stage import Stage
from hikkoshi_lab.proxy import GET, Trouble

SHORT, DELAY = 1.0, 2.5  # seconds that an answer may take, and that it takes, where it comes late
AGAIN = 3  # times that a cell is played at most, where the machine itself is too late
LONG = 6.0  # the same of an upload, whose end may take five times as long
RIVAL = {DEPLOY: DEPLOY, CUTOVER: ROLLBACK, ROLLBACK: CUTOVER}  # what a second operator does meanwhile


@dataclass(frozen=True)
class FaultRow:
    """One cell: how the run ended, and what is not as it has to be; nothing if all is."""

    misfortune: Misfortune
    moment: Juncture
    ended: Ended
    wrong: tuple[str, ...]

    @property
    def told(self) -> str:
        """The codes of its problems, or how it ended where it told none."""
        return ", ".join(dict.fromkeys(p.code for p in self.ended.problems)) or self.ended.how

    @property
    def may_tell(self) -> tuple[str, ...]:
        """What `told` may be."""
        return told.may_be(self.misfortune, self.moment)

    @property
    def as_told(self) -> bool:
        """Whether it is one of these."""
        return self.told in self.may_tell


@dataclass
class _Play:
    """`struck`: it has gone wrong."""

    stage: Stage
    misfortune: Misfortune
    moment: Juncture
    thorough: bool
    struck: bool = False
    before: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    rival: Operator | None = None
    wrong: list[str] = field(default_factory=list)

    def run(self) -> FaultRow:
        stage, step = self.stage, self.moment.step
        {DEPLOY: stage.set_out, CUTOVER: stage.deployed, ROLLBACK: stage.serving}[step]()
        theirs, late = stage.strangers_own(), self.misfortune is cell.LATE
        stage.proxy.faults.ask = self._ask
        stage.proxy.faults.flip = cell.HALF if self.misfortune is cell.FLIPPED else None
        stage.proxy.faults.delay = LONG if self.moment.name == "in the upload" else DELAY
        with self.lock:  # its first call may come before it has its name here
            self.operator = _begin(stage, step, SHORT if late else USUAL)
        ended = self.operator.end()
        second = self.rival.end() if self.rival else None
        stage.proxy.faults.ask, stage.proxy.faults.flip = _nothing, None
        if self.misfortune is cell.MAINTENANCE:
            stage.maintain(False)
        self._look(ended, second)
        back = step is CUTOVER and (second is not None or not (stage.source_on or self._serves()))
        if back:
            self._again(ROLLBACK)
        if not back or self.thorough:
            self._again(step)
        if stage.strangers_own() != theirs:
            self.wrong.append("the stranger's machine was touched")
        row = FaultRow(self.misfortune, self.moment, ended, tuple(self.wrong))
        other = () if row.as_told else (f"it told {row.told}, where it may tell {' or '.join(row.may_tell)}",)
        return replace(row, wrong=row.wrong + other)

    def _ask(self, method: str, sent: int) -> Trouble | None:
        """Called before every call, in a thread of the proxy's."""
        with self.lock:
            glance = Glance(method, self.before, self.operator.cell, sent, self.stage.source_on)
            if method == cell.POWER_ON and glance.source_on:
                self.wrong.append("the machine was switched on while the source was on")
            first = not self.struck and method != GET and self.moment.is_now(glance)
            self.struck = self.struck or first
            self.before.append(method)
        if first:
            return self._strike()
        return self.misfortune.trouble if self.struck and self.misfortune.lasting else None

    def _strike(self) -> Trouble | None:
        stage, misfortune = self.stage, self.misfortune
        if misfortune is cell.KILLED:
            self.operator.kill()
        elif misfortune is cell.SESSION:
            stage.end_sessions()
        elif misfortune is cell.MAINTENANCE:
            stage.maintain(True)
        elif misfortune is cell.SOURCE:
            stage.switch_source(True)
        elif misfortune is cell.SECOND:
            self.rival = _begin(stage, RIVAL[self.moment.step])
        elif misfortune is cell.FULL and self.moment.name == "in the upload":
            return 507
        return misfortune.trouble

    def _look(self, ended: Ended, second: Ended | None) -> None:
        """What has to be so when the run has ended, however it did."""
        say = self.wrong.append
        if not self.struck:
            say("it never came to that moment")
        for one in filter(None, (ended, second)):
            if one.how == "traceback":
                say(one.traceback)
            say_all = [
                f"{p.code} does not say {name}" for p in one.problems for name in ("where", "remedy") if not getattr(p, name)
            ]
            self.wrong += say_all
        if (ended.how == "killed") != (self.misfortune is cell.KILLED):
            say(f"it ended as {ended.how}")
        serves, step = self._serves(), self.moment.step
        if serves and self.stage.source_on and self.misfortune is not cell.SOURCE:
            say("both are on")
        neither = step is CUTOVER and bool(ended.problems) and not (serves or self.stage.source_on)
        if neither and not any(str(ROLLBACK) in p.remedy for p in ended.problems):
            say("nobody serves, and the way back is not told")
        if step is not DEPLOY and not self.stage.machines():
            say("the machine is gone")
        if step is DEPLOY:
            marks = [m.marks for m in self.stage.machines()]
            if ended.problems and self.misfortune in (cell.SOAP, cell.CUT, cell.FLIPPED, cell.FULL) and marks:
                say("it left a machine")
            if any(m.power == "poweredOn" or m.plugged for m in self.stage.machines()):
                say("what it left is on, or plugged in")
            if any(one.get(vm.GUEST) != guest.NAME for one in marks):
                say("what it left is not marked as ours")

    def _again(self, step: Step) -> None:
        """The same without the fault: it has to come to its end."""
        stage = self.stage
        ended = _begin(stage, step).end()
        if ended.how != "done":
            codes = ", ".join(f"{p.what}: {p.found}" for p in ended.problems)
            self.wrong.append(f"{step} again: {ended.how} {codes}{ended.traceback}")
        on, serves = stage.source_on, self._serves()
        if (on, serves) != {DEPLOY: (False, False), CUTOVER: (False, True), ROLLBACK: (True, False)}[step]:
            self.wrong.append(f"{step} again: the source is {'on' if on else 'off'}, the machine serves: {serves}")
        if len(stage.machines()) != 1 or stage.left_over():
            self.wrong.append(f"{step} again: {len(stage.machines())} machines, left over: {', '.join(stage.left_over())}")

    def _serves(self) -> bool:
        return any(m.power == "poweredOn" and m.plugged for m in self.stage.machines())


def play(stage: Stage, misfortune: Misfortune, moment: Juncture, *, thorough: bool = True) -> FaultRow:
    """Play a cell. Where a cut-over has left both off, the way back comes first; and then, if `thorough`, the cut-over again.

    Where an answer is to be late, each may take a second only, and a busy machine may be late earlier, or a second time: it
    is played again then.
    """
    for _ in range(AGAIN):
        one = _Play(stage, misfortune, moment, thorough)
        row = one.run()
        if misfortune is not cell.LATE or (one.struck and row.as_told):
            break
    return row


def cells(step: Step) -> Sequence[tuple[Misfortune, Juncture]]:
    """Every cell of a step that makes sense."""
    moments = [m for m in cell.MOMENTS if m.step is step]
    return [(m, moment) for moment in moments for m in cell.MISFORTUNES if not cell.left_out(m, moment)]


def chosen(step: Step) -> Sequence[tuple[Misfortune, Juncture]]:
    """Some of them, spread over all: each fault and each moment is among them."""
    places = [(one, cell.MISFORTUNES.index(one[0]) + 3 * cell.MOMENTS.index(one[1])) for one in cells(step)]
    return [one for one, place in places if place % 8 in (0, 2, 4) or one[0] in (cell.CUT, cell.FLIPPED, cell.SOURCE)]


def _begin(stage: Stage, step: Step, answer: float = USUAL) -> Operator:
    stage.runs += 1
    return Operator(stage.home, step, f"20261130T{stage.runs:06d}Z-{step.id}", guest.NAME, stage.path, answer)


def _nothing(method: str, sent: int) -> Trouble | None:
    return None
