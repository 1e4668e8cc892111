"""One step of one guest, executed in batch: the same notebook that a person would go through, and its record kept."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

import hikkoshi.errors
from hikkoshi import files, lock, masking, privacy
from hikkoshi.errors import HikkoshiError, Problem, StepFailed
from hikkoshi.journal import Journal
from hikkoshi.masking import Mask
from hikkoshi.params import Home
from hikkoshi.record import anatomy, runbook, seal
from hikkoshi.record.interruption import Stop, Stopped
from hikkoshi.record.notebook import Event, Listener, deaf
from hikkoshi.run import Mode

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
) -> Outcome:
    """Run a step's notebook for a guest and return how it ended; never raises for what happens inside the notebook.

    The record is outputs/guests/NAME/runs/RUN.ipynb; RUN.part.ipynb while the run lasts. What a killed run left is kept as
    RUN.interrupted.ipynb. The journal gets an `outcome` line when the kernel is gone; then the run is sealed, and before it
    those that ended without. A success of which there is no sealed record ends with 1 all the same. `BadInput` for an
    unknown guest or step, `Busy` when another run of this guest is going on: nothing was begun then.
    """
    source = runbook.find(home, step)
    home.guest(guest)
    home.site()
    privacy.shut(home.outputs)
    folder = home.folder(guest)
    with lock.acquire(folder / "runner.lock", f"{step} {mode}", wait=1), Stop().listening() as stop:
        runs = folder / "runs"
        _keep_interrupted(runs)
        for late in seal.pending(home, guest, stop.since()):
            listener(Event("row", f"sealed late · {seal.words(home, late)}"))
        if stop.signum is not None:
            raise Stopped(stop.signum)  # nothing has begun yet
        run = _new_run(runs, step)
        part, final = runs / f"{run}.part.ipynb", runs / f"{run}.ipynb"
        mask = Mask(masking.known(home))
        start = time.monotonic()
        error, message, exit_code = "", "", 0
        try:
            papermill.execute_notebook(
                str(source).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
                str(part).replace("{", "{{").replace("}", "}}"),
                parameters=_parameters(source, {"guest": guest, "mode": mode, "home": str(home.root)}),
                engine_name="hikkoshi",
                progress_bar=False,
                autosave_cell_every=SAVE_EVERY,
                execution_timeout=timeout_per_cell,
                resources={"metadata": {"path": str(source.parent)}},
                environment={"HIKKOSHI_HOME": str(home.root), "HIKKOSHI_RUN": run},
                listener=listener,
                mask=mask,
                stop=stop,
            )
        except PapermillExecutionError as e:
            error, message = e.ename, mask.text(e.evalue)
        except Exception as e:
            error, message = _ended_by(part, e)
            message = mask.text(message)
        if stop.signum is not None:
            exit_code = 128 + stop.signum
        elif error:
            exit_code = _exit_code(error)
        state: Literal["succeeded", "failed", "interrupted"] = "succeeded"
        if error:
            state = "failed" if stop.signum is None else "interrupted"
        journal = Journal(folder / "journal.jsonl")
        told = f"{error}: {message}" if message else error
        record = os.path.relpath(final, home.root)
        try:
            _finish(part, final, mask, {"run": run, "guest": guest, "step": step, "mode": mode, "outcome": state})
            journal.append("outcome", run=run, step=step, mode=mode, outcome=state, error=told, record=record)
        except OSError as e:
            remedy = "make room there, then run the same command again"
            raise StepFailed(
                Problem("how the run ended cannot be written", str(folder), e.strerror or str(e), remedy=remedy)
            ) from None
        sealed, unsealed = seal.attempt(home, guest, run, stopped=stop.since())
        if unsealed:
            _note(final, unsealed)
        if unsealed and state == "succeeded":
            error, message, exit_code = "Unsealed", unsealed, exit_code or 1
        if stop.signum is not None:  # it came while that went on, and nothing else is to be begun
            exit_code = 128 + stop.signum
        rows = tuple(e for e in journal.entries() if e.get("run") == run and e["event"] == "step")
        seconds = round(time.monotonic() - start, 1)
        return Outcome(run, guest, step, mode, state, exit_code, seconds, final, error, message, rows, sealed, unsealed)


def _parameters(source: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of `wanted` that the notebook has: the read-only ones have no mode."""
    names = anatomy.parameter_names(nbformat.read(source, as_version=4))
    return {k: v for k, v in wanted.items() if k != "mode" or k in names}


def _new_run(runs: Path, step: str) -> str:
    while True:
        run = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{step}"
        if not list(runs.glob(f"{run}.*")):
            return run
        time.sleep(0.1)  # an earlier run began in this same second


def _keep_interrupted(runs: Path) -> None:
    """Rename what killed runs left. Nobody is at work on these: the caller holds the lock."""
    runs.mkdir(exist_ok=True)
    for part in runs.glob("*.part.ipynb"):
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
    nb = nbformat.read(part, as_version=4)
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
