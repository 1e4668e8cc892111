"""The spine: one run of one step, observe → act → observe.

    run = Convert.open(vars())
    convert = Convert(run)
    run.preflight(convert.checks())
    run.ensure("convert the disk", holds=convert.complete, act=convert.start)
    run.verify(convert.proofs())
    run.evidence(convert.evidence())

In plan mode, the default, only `holds` is asked. In apply, `act` is called where it does not hold, and it is asked again.
Resuming is running again. What users notice is done only by a plan that is approved (`APPROVED`).
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

from hikkoshi import files
from hikkoshi.approval import signatory
from hikkoshi.approval.gate import Gate
from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check, Permission
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed, nearest
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run import byhand, confirmation, lock, privacy, turn
from hikkoshi.run.journal import Journal
from hikkoshi.run.row import Checklist, Evidence, Row, State, shown, state_of
from hikkoshi.run.step import APPROVED, READ_ONLY, ROLLBACK, STEPS
from hikkoshi.run.turn import Turn
from hikkoshi.secret import masking

PARAMETERS = ("guest", "mode", "home")
ALL_THE_SAME = "The rollback goes on all the same."  # nothing may stand between a person and the way back
Mode = Literal["plan", "apply"]

Act = Callable[[Progress], object]  # does something to the world, and tells how far it is

display: Callable[[object], None] = print  # hikkoshi.show puts the notebook's display here


def progress(title: str) -> Progress:
    """Where an action tells how far it is; hikkoshi.show puts the notebook's line in place of this."""
    return silent


def opened(run: "Run") -> None:
    """A run was opened; hikkoshi.show speaks its site's language from then on, and keeps its cells where nobody else does."""


@dataclass
class Run:
    """One execution of one step for one guest; holds the guest's lock until it is closed."""

    step: str
    id: str
    mode: Mode
    home: Home
    site: Site
    guest: Guest
    journal: Journal
    _lock: IO[str]
    _turn: Turn
    _mask: masking.Mask
    inputs: Mapping[str, str] = field(default_factory=dict)  # {name: SHA-256} of plan and parameters when opened
    rows: list[Row] = field(default_factory=list)

    @property
    def folder(self) -> GuestFolder:
        """The guest's folder in outputs/."""
        return self.home.folder(self.guest.name)

    def __str__(self) -> str:
        mode = "" if self.step in READ_ONLY else f" · mode {self.mode}"  # those have none to choose
        words = f"run {self.id} · guest {self.guest.name}{mode} · {self.folder}"
        return shown(words + self.warning)

    @cached_property
    def warning(self) -> str:
        """That nobody can sign here, see `signatory.warning`: the key is tried once, however often the run is shown."""
        return signatory.warning(self.home, self.step)

    @property
    def ended(self) -> bool:
        """Whether the guest was released."""
        return self._lock.closed

    def masked(self, tree: Any) -> Any:
        """A copy of a JSON-like tree without the secrets of the home."""
        return self._mask.tree(tree)

    def approved(self) -> Check:
        """Whether somebody's approval of the guest's plan, disk and machine counts now; see `Gate.approved`."""
        return self._gate.approved()

    def permission(self) -> tuple[Check, ...]:
        """The same, and whether whoever carries it out can sign for it; see `Gate.checks`."""
        return self._gate.checks()

    def permit(self) -> Permission:
        """What everything that acts on a service asks for; no rollback begins until that action has ended.

        `Refused` where it is not approved, or this run may not act.
        """
        if self.step not in APPROVED or self.mode != "apply" or self.ended:
            found = f"{self.step}, mode {self.mode}{', ended' if self.ended else ''}"
            expected, remedy = f"an open run of {' or '.join(APPROVED)}, mode apply", "open one: its first cells do"
            raise Refused(
                Problem(
                    code="run-acts-on-no-service",
                    what="this run acts on no service",
                    where=self.id,
                    found=found,
                    expected=expected,
                    remedy=remedy,
                )
            )
        self._turn.take()
        confirmation.forget(self.folder)
        return self._gate.permit()

    def give_way(self) -> None:
        """Let a rollback begin while this run only waits; it asks for a permission again before it goes on."""
        self._turn.end()

    def approvals(self) -> list[Path]:
        """The approval that counts for this run, with its signature; see `Gate.files`."""
        return self._gate.files()

    @cached_property
    def _gate(self) -> Gate:
        planned = self.inputs.get(Plan.filename)
        return Gate(self.home, self.site, self.guest, self.step, self.id, planned, self._note)

    def preflight(self, checks: Iterable[Check]) -> None:
        """Show every check; `Refused` with all the bad ones. In plan mode a check may wait for an earlier step's apply."""
        done = tuple(checks) if self.mode == "plan" else _final(checks)
        display(Checklist("preflight", done))
        bad = [c for c in done if not c and not c.later]
        self._note("preflight", state=_together(done, bad), checks=[_plain(c) for c in done])
        if bad:
            raise Refused(*(c.problem() for c in bad))

    def ensure(self, title: str, holds: Callable[[], Check | bool], act: Act) -> None:
        """Make something so: ask, act where it is not so, ask again.

        `holds` observes and is always safe; what it calls unseen stays so, and is not acted upon. `act` is given where it tells
        how far it is.
        In the steps of `APPROVED` every action asks for the approval first, and, until one has acted on the service, for the
        operator's signature: `Refused` where none counts.
        """
        if self.ended:
            remedy = "run the notebook again from its first cell"
            raise Refused(
                Problem(
                    code="run-ended",
                    what=f"{title}: this run has ended",
                    where=self.id,
                    found="the guest was released",
                    expected="an open run",
                    remedy=remedy,
                )
            )
        start = time.monotonic()
        state: State = "would"
        before = after = holds()
        if before:
            state = getattr(before, "unseen", None) or "already"
        elif self.mode == "apply":
            self._note("start", title=title, code=getattr(before, "code", ""))
            try:
                self._act(act, title)
                after = holds()
            except BaseException as e:
                self._row(title, "failed", start, _first_line(e), before, e)
                raise
            state = getattr(after, "unseen", None) or "done" if after else "failed"
        failure: StepFailed | None = None
        if state == "failed":
            problem = (
                after.problem()
                if isinstance(after, Check)
                else Problem(code="not-so", what=f"a check failed: {title}", remedy="see the rows above")
            )
            failure = StepFailed(
                replace(problem, what=f"{title}: carried out, but {problem.what}", where=problem.where or self.guest.name)
            )
        self._row(title, state, start, after.found if isinstance(after, Check) else "", after, failure)
        if failure:
            raise failure

    def verify(self, checks: Iterable[Check]) -> None:
        """Ask the world, not variables, whether the step's promise is kept.

        In plan mode nothing has to be true yet, but in a step that only reads: running it does it.
        """
        acted = self.mode == "apply" or self.step in READ_ONLY
        done = _final(checks) if acted else tuple(checks)
        display(Checklist("verify", done))
        bad = [c for c in done if not c and not c.later]
        self._note("verify", state=_together(done, bad), mode=self.mode, checks=[_plain(c) for c in done])
        if bad and acted:
            raise StepFailed(*(c.problem() for c in bad))

    def evidence(self, artefacts: Sequence[Path] = ()) -> Evidence:
        """List what the run did and made, write it to the journal, and release the guest. The last call of a runbook."""
        listed = tuple(self._artefact(p) for p in artefacts if p.is_file())
        self._note("evidence", artefacts=list(listed))
        self.close("completed")
        return Evidence(tuple(self.rows), listed)

    def _artefact(self, path: Path) -> dict[str, Any]:
        found = path.stat()  # before it is hashed: what is written to it meanwhile is seen to have been
        name, digest = os.path.relpath(path, self.home.root), files.sha256(path)
        return {"file": name, "bytes": found.st_size, "sha256": digest, "modified": found.st_mtime_ns}

    def close(self, outcome: str) -> None:
        """End the run and release the guest."""
        if not self.ended:
            self._note("end", outcome=outcome)
            self._turn.end()
            self._lock.close()
            _open.pop(self.folder, None)

    def _act(self, act: Act, title: str) -> None:
        told = progress(title)
        if self.step in APPROVED:
            self._gate.permit(service=False)
        with self._turn.acting():
            act(told)
        told(1, 1, "")

    def _row(
        self, title: str, state: State, start: float, found: str, seen: Check | bool, failure: BaseException | None = None
    ) -> None:
        kind = type(failure).__name__ if failure else ""
        codes = tuple(p.code for p in failure.problems) if isinstance(failure, HikkoshiError) else ()
        seconds = round(time.monotonic() - start, 1)
        row = Row(title, state, seconds, self._mask.text(found), getattr(seen, "code", ""), kind, codes)
        self.rows.append(row)
        display(row)
        told = {"kind": kind, "codes": list(codes)} if failure else {}
        self._note("step", title=title, code=row.code, state=state, seconds=seconds, found=found, **told)

    def _note(self, event: str, **fields: Any) -> None:
        self.journal.append(event, run=self.id, step=self.step, **self._mask.tree(fields))


_open: dict[Path, Run] = {}  # {guest's folder: the run of this process that holds its lock}
_masks: dict[Path, masking.Mask] = {}  # {home: what hides its secrets}, once a run was opened there


def without_secrets(text: str) -> str:
    """A text without the secrets of every home for which this process has opened a run."""
    for mask in _masks.values():
        text = mask.text(text)
    return text


def open_run(step: str, names: Mapping[str, Any], *, wait: float = 15) -> Run:
    """Open a run of `step` with the parameters found in `names`, the notebook's variables: guest, mode, home.

    A variable that is no parameter is an error (papermill merely warns), so is a wrong mode, an unknown guest, a bad
    parameter file. Takes the guest's lock, waiting up to `wait` seconds for a run that is just ending.
    """
    if step not in STEPS:
        raise BadInput(
            Problem(
                code="step-unknown",
                what="no such step",
                found=repr(step),
                expected=", ".join(STEPS),
                remedy=nearest(step, list(STEPS)),
            )
        )
    values = parameters(step, names)
    home = Home.find(values.get("home", ""))
    wish = values.get("mode", "plan")
    if wish not in ("plan", "apply"):
        raise BadInput(
            Problem(
                code="mode-unknown",
                what="unknown mode",
                where=f"{step}: parameter mode",
                found=repr(wish),
                expected="plan or apply",
                remedy=nearest(wish, ["plan", "apply"]) or "correct it",
            )
        )
    mode: Mode = "apply" if wish == "apply" else "plan"
    rollback = step == ROLLBACK.id
    with byhand.told(home, values["guest"], step):
        guest, site = home.parameters(values["guest"])
    privacy.shut(home.outputs, refuse=not rollback)
    folder = home.folder(guest.name)
    if folder in _open:  # the cell was run again in the same kernel
        _open[folder].close("reopened")
    run_id = os.environ.get("HIKKOSHI_RUN") or named(step)
    own = Turn(folder)
    if rollback and mode == "apply":
        own.claim()
    handle, doubt = turn.locked(folder, run_id, wait) if rollback else (lock.acquire(folder.lock, run_id, wait), "")
    if doubt:
        display(f"{doubt}\n{ALL_THE_SAME}")
    mask = _masks[home.root] = masking.Mask(home.secrets())
    journal, inputs = Journal(folder.journal, rescue=rollback), dict[str, str]()
    try:
        inputs = home.inputs(guest.name)
        journal.check()
    except (BadInput, OSError) as e:
        if not rollback:
            handle.close()
            raise
        display(f"{e}\n{ALL_THE_SAME}")
    run = _open[folder] = Run(step, run_id, mode, home, site, guest, journal, handle, own, mask, inputs)
    run._note("open", mode=mode, guest=guest.name, pid=os.getpid(), inputs=inputs, clock=lock.clock(handle))
    opened(run)
    return run


def named(step: str) -> str:
    """What a run of this step is called that begins now."""
    return f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{step}"


def parameters(step: str, names: Mapping[str, Any]) -> dict[str, str]:
    """The parameters among a notebook's variables; `BadInput` for one that the notebook does not know, or that is no text."""
    plain = {
        k: v
        for k, v in names.items()
        if not k.startswith("_") and k not in ("In", "Out") and isinstance(v, str | int | float | bool | list | dict | None)
    }
    problems = [
        Problem(
            code="parameter-unknown",
            what=f"the notebook has no parameter {k!r}",
            where=step,
            found=f"{k} = {plain[k]!r}",
            expected="one of: " + ", ".join(PARAMETERS),
            remedy=nearest(k, PARAMETERS) or f"leave it out; if it is a variable of your own, say `del {k}`",
        )
        for k in plain
        if k not in PARAMETERS
    ]
    problems += [
        Problem(
            code="parameter-not-text",
            what=f"the parameter {k!r} is not a text",
            where=step,
            found=f"{k} = {plain.get(k)!r}",
            expected=f'{k} = "…"',
            remedy="correct it in the parameters cell, or give it with -p",
        )
        for k in PARAMETERS
        if (k in plain or k == "guest") and not isinstance(plain.get(k), str)
    ]
    if problems:
        raise BadInput(*problems)
    return {k: v for k, v in plain.items() if isinstance(v, str)}


def _final(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks, where nothing is for later any more."""
    return tuple(replace(c, later=False) for c in checks)


def _together(checks: Sequence[Check], bad: Sequence[Check]) -> State:
    """One word for a list: red for what is bad, and ok only where anything at all was seen."""
    if bad:
        return "red"
    seen = any(c and not c.unseen for c in checks)
    return "ok" if seen or not checks else state_of(checks[0])


def _plain(check: Check) -> dict[str, Any]:
    told = {"code": check.code, "title": check.title, "state": state_of(check), "found": check.found, "expected": check.expected}
    return {**told, "facts": dict(check.facts)} if check.facts else told


def _first_line(e: BaseException) -> str:
    return f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
