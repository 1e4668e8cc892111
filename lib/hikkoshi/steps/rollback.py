"""75: the way back, as far as it can be gone from here. Nothing stands in its way, and nothing is claimed that nobody saw.

vSphere is asked for some seconds. Where it does not answer, or is a contractor's, a person takes the machine out of service by
hand, and the source starts only after that person's word: both at once, with the same addresses, break the network for both.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError, Problem, Refused, VSphereError
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run import byhand, confirmation, shutdown
from hikkoshi.run.journal import Journal
from hikkoshi.run.run import Run
from hikkoshi.run.step import ROLLBACK
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere import cutover, deployment, handover, session, vm
from hikkoshi.vsphere.order import Order
from hikkoshi.vsphere.session import Session
from hikkoshi.xen import autostart, dom0, original
from hikkoshi.xen.reach.kinds import one_look

LOGIN = 6.0  # seconds for the way from the name to the open session
ANSWER = 10.0  # seconds for every answer after that
TASK = 60.0  # seconds for unplugging, and for switching off
PAUSE = 30.0  # seconds after which a vSphere that did not answer is tried again
LOOK = 2.0  # seconds between two looks at a source that may go off
WATCH = "run 75 in apply: it watches the source until then, and starts it where it goes off"
_T = TypeVar("_T")


class Rollback(Runbook):
    """75 · Rollback. Made, it has tried to log in to vSphere, for `LOGIN` seconds at most; not to a contractor's."""

    step = ROLLBACK

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._folder = run.folder
        self._macs = [n.mac for n in run.guest.nics]
        self._server: tuple[Session, Order] | None = None
        self._why, self._tried = "", 0.0
        self._theirs = bool(byhand.contractor(run.home, run.guest.name))  # the machine may be on where nobody logs in
        self._stuck = ""  # why the record of the cut-over cannot be removed
        self._asked = shutdown.pending(Journal(self._folder.journal))
        self._reach()

    def checks(self) -> list[Check]:
        """What there is to take out of service. Never red: nothing stands in the way."""
        return self.present()

    def present(self) -> list[Check]:
        """The machine as it is now, and what is left alone."""
        if found := self._ask(lambda v, o: [cutover.present(v, o), *cutover.strangers(v, o, self._macs)]):
            return found
        word = self._word()
        told = f"{self._why}; {word.found if word else 'a person can do it by hand, as will be told'}"
        return [
            Check(
                code="machine-in-vsphere",
                title="the machine in vSphere",
                ok=True,
                found=told,
                where=str(self.run.site.vsphere),
                unseen="not seen",
            )
        ]

    def out_of_service(self) -> Check:
        """Whether the machine in vSphere is off and unplugged: as vSphere sees it now, else by a person's word."""
        title = f"{self.run.guest.name} is out of service in vSphere"
        found = self._ask(lambda v, o: None if self._lost(v, o) else cutover.rolled_back(v, o))
        if found is not None:
            return found  # whatever somebody has said
        if word := self._word():
            return Check(code="out-of-service", title=title, ok=True, found=f"{self._why}; {word.found}", unseen="not seen")
        problem = self._by_hand()
        return Check(
            code="out-of-service",
            title=title,
            ok=False,
            found=self._why,
            expected=problem.expected,
            remedy=problem.remedy,
            where=str(self.run.site.vsphere),
        )

    def alone(self) -> Check:
        """Whether no machine that is not ours is on with the guest's MACs."""
        found = self._ask(lambda v, o: cutover.alone(v, o, self._macs))
        if found is not None:
            return found
        return Check(
            code="macs-alone",
            title="no other machine in vSphere is on with one of the MACs",
            ok=True,
            found=self._why,
            unseen="not seen",
        )

    def take_out(self, progress: Progress = silent) -> None:
        """Unplug the machine and switch it off; where that cannot be done from here, tell a person how."""
        try:
            if self._server and not self._lost(*self._server):
                cutover.roll_back(*self._server, progress)
                return
        except HikkoshiError as e:  # not of vSphere alone: a password may be another by now
            self._why = f"{e.problems[0].what}: {e.problems[0].found}"
            raise VSphereError(*e.problems, self._by_hand()) from None
        raise Refused(self._by_hand())

    def record_gone(self) -> Check:
        """Whether no record says any more that the machine is in service."""
        return cutover.record_gone(self._folder)

    def struck(self) -> Check:
        """The same; one that cannot be removed does not keep the source from being started."""
        gone = self.record_gone()
        if gone or not self._stuck:
            return gone
        return replace(gone, ok=True, found=f"{gone.found} cannot be struck off: {self._stuck}", unseen="not done")

    def strike(self, progress: Progress = silent) -> None:
        """Remove the record of the cut-over, if that can be done."""
        try:
            cutover.strike(self._folder)
        except OSError as e:
            self._stuck = e.strerror or str(e)

    @one_look()
    def source(self) -> list[Check]:
        """What the source is started from, with what was not moved; and whether it comes back with its Dom-0. Only told."""
        asked = [self.settled()] if self._asked else []
        return [*asked, original.check(*self._where), autostart.told(*self._where)]

    def settled(self) -> Check:
        """Whether a shutdown that a stopped cut-over asked for is through: the source is off, or its time has passed."""
        title, asked = "the source is not about to shut down", self._asked
        if asked is None:
            return Check(code="source-settled", title=title, ok=True, found="nobody has asked it to")
        if not self._serves():
            return Check(code="source-settled", title=title, ok=True, found=f"{asked}; {dom0.source_runs(*self._where).found}")
        if not asked.left:
            return Check(
                code="source-settled",
                title=title,
                ok=True,
                found=f"{asked}; its time was over at {asked.over}, and it still runs",
            )
        expected = f"off, or still in service at {asked.over}"
        return Check(
            code="source-settled",
            title=title,
            ok=False,
            found=f"{asked}; it still runs",
            expected=expected,
            remedy=WATCH,
            where="Dom-0",
        )

    def settle(self, progress: Progress = silent) -> None:
        """Watch a source that was asked to shut down, until it does, or its time has passed: five minutes at most."""
        while self._asked and self._asked.left and self._serves():
            over = dom0.SHUTDOWN - self._asked.left
            progress(over, dom0.SHUTDOWN, f"{self._asked}: watched until {self._asked.over}")
            time.sleep(min(LOOK, self._asked.left))

    def complete(self) -> Check:
        """Whether the source is back in service: one that may still go off by itself is not."""
        runs, asked = dom0.source_runs(*self._where), self._asked
        if runs and asked and asked.left:
            found = f"{runs.found}; {asked}, and it may go off until {asked.over}"
            return replace(runs, ok=False, found=found, remedy=WATCH)
        return replace(runs, found=f"{runs.found}; {asked}, and it is still there") if runs and asked else runs

    def start(self, progress: Progress = silent) -> None:
        """Start the source. vSphere is looked at once more right before: cells can be run in any order.

        A machine that is not ours, and is on with the same MACs, needs a person's word, too: it is not for us to switch off.
        """
        off, alone = self.out_of_service(), self.alone()
        if not off or not (alone or self._word()):
            raise Refused(*(c.problem() for c in (off, alone, *(() if alone else (self._word(),))) if not c))
        served = self._serves()
        dom0.start_again(*self._where)
        if not served:
            self._asked = None  # it is another domain now, which nobody has asked

    def autostart_back(self) -> Check:
        """Whether nothing of what starts the source with its Dom-0 is aside any more."""
        return autostart.back(*self._where)

    def put_autostart_back(self, progress: Progress = silent) -> None:
        """Put back what a cut-over has moved aside."""
        autostart.put_back(*self._where)

    @one_look()
    def proofs(self) -> list[Check]:
        """The machine out of service, also on record, nobody else on with its MACs, the source in service, as it was started."""
        vsphere = [self.out_of_service().waiting(), self.record_gone().waiting(), self.alone()]
        return [*vsphere, self.complete().waiting(), self.autostart_back().waiting()]

    def evidence(self) -> list[Path]:
        """The word that the machine is off, where a person gave one. Logs out."""
        if self._server:
            self._server[0].close()
        return [self.run.folder.machine_off]

    def _lost(self, v: Session, order: Order) -> bool:
        """Whether vSphere does not see what may be on all the same: a machine whose host it has lost, and tells old things
        of, or one that is in service on record, and is not there."""
        ours = deployment.found(v, order)
        bad = cutover.not_out(ours)
        if lost := bool(bad) and not any(m.seen for m in bad):
            self._why = "vSphere does not see it: " + "; ".join(f"{m}, {m.power}" for m in bad)
        elif lost := not cutover.record_gone(self._folder) and not ours:
            self._why = f"{cutover.InService.filename} says that it is in service, and vSphere shows no machine of ours"
        return lost

    @property
    def _where(self) -> tuple[Home, Site, Guest]:
        return self.run.home, self.run.site, self.run.guest

    def _serves(self) -> bool:
        """Whether the source is in service; where that is not known, it may be."""
        try:
            return dom0.serves(*self._where)
        except HikkoshiError:
            return True

    def _word(self) -> Check:
        return confirmation.given(self._folder, self.run.guest.name)

    def _by_hand(self) -> Problem:
        order = byhand.order(self.run.home, self.run.guest.name, self._why)
        if not self._asked or not self._asked.left:
            return order
        more = f"{self._asked}: until {self._asked.over} start it only where it is off. Look again then"
        return replace(order, remedy=f"{order.remedy}\nOf the source: {more}.")

    def _ask(self, ask: Callable[[Session, Order], _T]) -> _T | None:
        """An observation of vSphere; None where it does not answer."""
        if self._server is None and not self._theirs and time.monotonic() - self._tried > PAUSE:
            self._reach()
        if self._server is None:
            return None
        try:
            return ask(*self._server)
        except HikkoshiError as e:
            self._server, self._tried = None, time.monotonic()
            self._why = f"{e.problems[0].what}: {e.problems[0].found}"
            return None

    def _reach(self) -> None:
        """Try to log in; whatever is in the way, and be it a name server that does not answer, costs `LOGIN` seconds at most."""
        self._tried = time.monotonic()
        if self._theirs:
            self._why = handover.NOT_ASKED
            return
        done, late = threading.Event(), threading.Event()
        got: list[tuple[Session, Order]] = []

        def log_in() -> None:
            try:
                owner = vm.owner(self.run.home, self.run.id, self._folder.lock)
                order = Order.of(owner, self.run.guest.name, None, None, self._folder)  # the marks are enough
                found = session.connect(self.run.home, self.run.site.vsphere, timeout=ANSWER)
                found.patience = TASK
                if late.is_set():
                    found.close()
                got.append((found, order))
            except HikkoshiError as e:
                self._why = f"{e.problems[0].what}: {e.problems[0].found}"
            except Exception as e:
                self._why = f"{type(e).__name__}: {e}"
            done.set()

        self._why = f"vSphere does not answer within {LOGIN:g} s"
        threading.Thread(target=log_in, daemon=True).start()
        if done.wait(LOGIN):
            self._server = next(iter(got), None)
        late.set()
