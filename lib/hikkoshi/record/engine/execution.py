"""One step of one guest, executed in batch: the same notebook that a person would go through, and its record kept."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat
import papermill
import papermill.iorw
from papermill.exceptions import PapermillExecutionError

import hikkoshi.errors
from hikkoshi import files
from hikkoshi.errors import Busy, HikkoshiError, Problem, Refused, StepFailed
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record import anatomy, register, seal
from hikkoshi.record.engine import HonestEngine, runbook
from hikkoshi.record.engine.executed import headed
from hikkoshi.record.engine.forked import ForkServer
from hikkoshi.record.engine.interruption import Stop, Stopped
from hikkoshi.record.engine.notebook import Event, Listener, deaf
from hikkoshi.run import byhand, lock, privacy
from hikkoshi.run.journal import MARK, Journal
from hikkoshi.run.run import Mode, named
from hikkoshi.run.step import ROLLBACK
from hikkoshi.secret.masking import Mask

SEAL_SOON = 3.0  # seconds that a rollback waits for its turn to be sealed
SAVE_EVERY = 2  # seconds, while a cell shows something: what kill -9 leaves is at most so much behind

logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it would say is in the outcome


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `error` is the class of what went wrong, `message` its four parts; both empty after a success."""

    run: str
    guest: str
    step: str
    mode: Mode
    outcome: Literal["succeeded", "failed", "interrupted"]
    exit_code: int
    seconds: float
    record: Path
    error: str = ""
    message: str = ""
    rows: tuple[dict[str, Any], ...] = field(default=())  # what `ensure` noted in the journal
    sealed: Path | None = None  # the folder of evidence
    unsealed: str = ""  # why there is none

    def plain(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        sealed = str(self.sealed) if self.sealed else None
        return {**self.__dict__, "record": str(self.record), "rows": list(self.rows), "sealed": sealed}


def execute(
    home: Home,
    guest: str,
    step: str,
    mode: Mode = "plan",
    *,
    listener: Listener = deaf,
    timeout_per_cell: int | None = None,
    kernels: ForkServer | None = None,
) -> Outcome:
    """Run a step's notebook for a guest and return how it ended; never raises for what happens inside the notebook.

    The record is outputs/guests/NAME/runs/RUN.ipynb; RUN.part.ipynb while the run lasts. What a killed run left is kept as
    RUN.interrupted.ipynb. The journal gets an `outcome` line when the kernel is gone; then the run is sealed, and before it
    those that ended without. A success of which there is no sealed record ends with 1 all the same. `kernels` forks its kernel.
    `BadInput` for an unknown guest or step, `Busy` when another run of this guest is going on: nothing was begun then.
    """
    source = runbook.find(home, step)
    nb = runbook.read(source)
    with byhand.told(home, guest, step):
        home.guest(guest)
        lang = home.site().lang
    privacy.shut(home.outputs, refuse=step != ROLLBACK.id)
    with contextlib.ExitStack() as stack:
        alone = _admitted(stack, home.folder(guest), step, mode)
        stop = stack.enter_context(Stop().listening())
        job = _Job(home, guest, step, mode, source, nb, lang, listener, stop, alone=alone)
        return job.carried_out(timeout_per_cell, kernels)


class _Job:
    """One run from its name to its record. `alone`: no other runner is at work on this guest."""

    def __init__(
        self,
        home: Home,
        guest: str,
        step: str,
        mode: Mode,
        source: Path,
        nb: Any,
        lang: str,
        listener: Listener,
        stop: Stop,
        *,
        alone: bool,
    ) -> None:
        self.home, self.guest, self.step, self.mode, self.source, self.nb, self.lang = home, guest, step, mode, source, nb, lang
        self.listener, self.stop, self.alone = listener, stop, alone
        self.rescue = step == ROLLBACK.id  # acts first; nothing that is only told keeps it from that
        self.folder, self.runs = home.folder(guest), home.folder(guest).runs
        try:
            self.runs.mkdir(exist_ok=True)
        except OSError:
            if not self.rescue:
                raise
        if alone:
            self.keep_interrupted()
        if not self.rescue:
            self.seal_others(register.PATIENCE)
        if stop.signum is not None:
            raise Stopped(stop.signum)  # nothing has begun yet
        self.run = _new_run(self.runs, step)
        self.part, self.final = self.runs / f"{self.run}.part.ipynb", self.runs / f"{self.run}.ipynb"
        self.mask = Mask(home.secrets())
        self.journal = Journal(self.folder.journal, rescue=self.rescue)

    def keep_interrupted(self) -> None:
        """Rename what killed runs left."""
        try:
            _keep_interrupted(self.runs, apart=not self.rescue and lock.held(self.folder.rollback_lock))
        except OSError as e:
            if not self.rescue:
                raise
            self.listener(Event("row", f"what a killed run left stays as it is: {e.strerror or e}"))

    def carried_out(self, timeout_per_cell: int | None, kernels: ForkServer | None) -> Outcome:
        """Execute, write down how it ended, seal."""
        start = time.monotonic()
        error, message = self.execute(timeout_per_cell, kernels)
        late = self.stop.since()  # one that comes from here on finds no cell to stop: sealing hears it
        exit_code = 128 + self.stop.signum if self.stop.signum is not None else _exit_code(error) if error else 0
        state: Literal["succeeded", "failed", "interrupted"] = "succeeded"
        if error:
            state = "failed" if self.stop.signum is None else "interrupted"
        self.write_down(state, error, message)
        wait = SEAL_SOON if self.rescue else register.PATIENCE
        sealed, unsealed = seal.attempt(self.home, self.guest, self.run, wait, late)
        if unsealed:
            _note(self.final, unsealed)
        if unsealed and state == "succeeded":
            error, message, exit_code = "Unsealed", unsealed, exit_code or 1
        if self.rescue and self.alone and sealed:
            self.seal_others(wait)
        if self.stop.signum is not None:  # it came while that went on, and nothing else is to be begun
            exit_code = 128 + self.stop.signum
        return Outcome(
            self.run,
            self.guest,
            self.step,
            self.mode,
            state,
            exit_code,
            round(time.monotonic() - start, 1),
            self.final,
            error,
            message,
            self.rows(),
            sealed,
            unsealed,
        )

    def execute(self, timeout_per_cell: int | None, kernels: ForkServer | None) -> tuple[str, str]:
        """Have papermill go through the notebook; class and text of what went wrong, empty where nothing did."""
        shelf = Shelf(self.runs, {str(self.source): self.nb}, rescue=self.rescue)
        wanted = {"guest": self.guest, "mode": self.mode, "home": str(self.home.root)}
        try:
            papermill.execute_notebook(
                str(self.source).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
                str(self.part).replace("{", "{{").replace("}", "}}"),
                parameters=_parameters(self.nb, wanted),
                engine_name="hikkoshi",
                kernel_name=HonestEngine.nb_kernel_name(self.nb),
                language=HonestEngine.nb_language(self.nb),
                progress_bar=False,
                autosave_cell_every=SAVE_EVERY,
                execution_timeout=timeout_per_cell,
                resources={"metadata": {"path": str(self.source.parent)}},
                environment={"HIKKOSHI_HOME": str(self.home.root), "HIKKOSHI_RUN": self.run},
                listener=_keeping(self.journal, self.listener),
                mask=self.mask,
                lang=self.lang,
                rescue=self.rescue,
                stop=self.stop,
                kernels=kernels,
            )
        except PapermillExecutionError as e:
            return e.ename, self.mask.text(e.evalue)
        except Exception as e:
            error, message = _ended_by(self.part, e)
            return error, self.mask.text(message)
        finally:
            shelf.close()
        return "", ""

    def write_down(self, state: str, kind: str, words: str) -> None:
        """Give the executed notebook its final name, and the journal its last line of this run."""
        about = {"run": self.run, "guest": self.guest, "step": self.step, "mode": self.mode, "outcome": state}
        if self.rescue and kind:
            self.listener(Event("row", f"{kind}: {words}" if words else kind))  # at once: sealing may take a while
        try:
            _finish(self.part, self.final, self.mask, about)
        except OSError as e:
            if not self.rescue:
                raise _unwritten(self.folder, e) from None
            self.listener(Event("row", f"the executed notebook cannot be written: {e.strerror or e}"))
        del about["guest"]
        try:
            self.journal.append("outcome", **about, kind=kind, error=words, record=os.path.relpath(self.final, self.home.root))
        except OSError as e:
            raise _unwritten(self.folder, e) from None

    def seal_others(self, wait: float) -> None:
        """Seal what earlier runs have left unsealed; `wait` in seconds, for another who seals."""
        asked = self.stop.since()
        if self.stop.signum is None:
            for late in seal.pending(self.home, self.guest, asked, wait):
                self.listener(Event("row", f"sealed late · {seal.words(self.home, late)}"))

    def rows(self) -> tuple[dict[str, Any], ...]:
        """What `ensure` noted in the journal."""
        try:
            found = self.journal.entries()
        except (HikkoshiError, OSError):
            if not self.rescue:
                raise
            return ()
        return tuple(dict(e) for e in found if (e.event, e.run) == ("step", self.run))


class Shelf:
    """papermill's own way to write into the folder of runs: whole files; a `rescue` goes on where that cannot be done.

    `sources` are the notebooks that it reads, by their paths.
    """

    def __init__(self, runs: Path, sources: Mapping[str, Any], *, rescue: bool) -> None:
        self._sources, self._rescue = sources, rescue
        for scheme in (str(runs), *sources):
            papermill.iorw.papermill_io.register(scheme, self)

    def read(self, path: str) -> str:
        """A notebook as it was read already."""
        text: str = nbformat.writes(self._sources[path])
        return text

    def write(self, text: str, path: str) -> None:
        """Write a notebook."""
        new = Path(path + ".new")
        try:
            new.write_text(text, encoding="utf-8")
            new.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            if not self._rescue:
                raise

    def pretty_path(self, path: str) -> str:
        """A path as papermill logs it."""
        return path

    def close(self) -> None:
        """Papermill writes as before."""
        handlers = papermill.iorw.papermill_io._handlers
        handlers[:] = [pair for pair in handlers if pair[1] is not self]


def _admitted(stack: contextlib.ExitStack, folder: GuestFolder, step: str, mode: Mode) -> bool:
    """Take the runner's lock. A rollback has one of its own, which it needs to have, and goes on without the other."""
    if step != ROLLBACK.id:
        stack.enter_context(lock.acquire(folder.runner_lock, f"{step} {mode}", wait=1))
        return True
    try:
        stack.enter_context(lock.acquire(folder.rollback_lock, f"{step} {mode}", wait=1))
        stack.enter_context(lock.acquire(folder.runner_lock, f"{step} {mode}", wait=1))
    except (Refused, OSError) as e:
        if isinstance(e, Busy) and e.problems[0].where == str(folder.rollback_lock):
            raise
        return False
    return True


def _keeping(journal: Journal, listener: Listener) -> Listener:
    """Hears what a kernel's journal could tell on stderr only, for ours to put it back."""

    def hear(event: Event) -> None:
        for line in event.text.splitlines() if event.kind == "row" else ():
            if line.startswith(MARK):
                with contextlib.suppress(ValueError):
                    journal.keep(json.loads(line.removeprefix(MARK)))
        listener(event)

    return hear


def _unwritten(folder: Path, e: OSError) -> StepFailed:
    remedy = "make room there, then run the same command again"
    return StepFailed(
        Problem(
            code="outcome-unwritable",
            what="how the run ended cannot be written",
            where=str(folder),
            found=e.strerror or str(e),
            remedy=remedy,
        )
    )


def _parameters(nb: Any, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of `wanted` that the notebook has: the read-only ones have no mode."""
    names = anatomy.parameter_names(nb)
    return {k: v for k, v in wanted.items() if k != "mode" or k in names}


def _new_run(runs: Path, step: str) -> str:
    while True:
        run = named(step)
        if not list(runs.glob(f"{run}.*")):
            return run
        time.sleep(0.1)  # an earlier run began in this same second


def _keep_interrupted(runs: Path, *, apart: bool) -> None:
    """Rename what killed runs left. Nobody is at work on these: the caller holds the lock; a rollback goes on `apart`."""
    for part in runs.glob("*.part.ipynb"):
        if apart and ROLLBACK.id in part.name:
            continue
        part.rename(part.with_name(part.name.replace(".part.", ".interrupted.")))
    for torn in runs.glob("*.part.ipynb.new"):
        torn.unlink()


def _ended_by(part: Path, e: Exception) -> tuple[str, str]:
    """Class and text of what ended a run from outside a cell: as the record has it, else as it was raised."""
    name = "Interrupted" if isinstance(e, Stopped) else type(e).__name__
    if part.is_file():
        cells = nbformat.read(part, as_version=4).cells
        for output in (o for cell in cells for o in cell.get("outputs", []) if o.output_type == "error"):
            if output.ename == name:
                return output.ename, output.evalue
    return name, str(e)


def _exit_code(error: str) -> int:
    kind = getattr(hikkoshi.errors, error, None)
    return kind.exit_code if isinstance(kind, type) and issubclass(kind, HikkoshiError) else 1


def _finish(part: Path, final: Path, mask: Mask, facts: dict[str, str]) -> None:
    """Give the record its final name, with what the run was in its metadata."""
    if not part.is_file():
        return  # papermill ended before it wrote anything
    nb = headed(nbformat.read(part, as_version=4))
    nb.metadata["hikkoshi"] = facts
    nb.metadata.papermill["output_path"] = final.name
    nb.metadata.papermill["input_path"] = f"{facts['step']}.ipynb"
    files.write(final, nbformat.writes(mask.tree(nb)) + "\n")
    part.unlink()


def _note(final: Path, unsealed: str) -> None:
    """Have the executed notebook say, too, that there is no sealed record of it."""
    with contextlib.suppress(OSError):  # a full disk may be why there is none
        nb = nbformat.read(final, as_version=4)
        nb.metadata["hikkoshi"]["unsealed"] = unsealed
        files.write(final, nbformat.writes(nb) + "\n")
