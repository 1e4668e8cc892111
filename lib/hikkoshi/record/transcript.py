"""What is run by hand in a kernel, as JupyterLab's: an executed notebook of every cell, in the order of execution.

A kernel's messages to whoever looks on are heard before they are sent. The notebook is the run's RUN.ipynb. It is written when
the run is opened, when a cell begins and when it ends, and soon after something is shown: so much is there of a kernel that is
killed, and a cell that did not end has no end there. A run is sealed at once when its last cell ends it, or when the cell that
opened it fails. Nothing that fails here stops a run; whoever runs it is told.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hikkoshi import files
from hikkoshi.errors import HikkoshiError
from hikkoshi.record import anatomy, seal
from hikkoshi.record.engine import messages, prose, runbook
from hikkoshi.run.run import Run

PATIENCE = 3.0  # seconds to wait for another who seals; the kernel does nothing else meanwhile
SAVE_EVERY = 2.0  # seconds, while a cell shows something
KEPT = {  # {kind of message: what of it is an output}
    "stream": ("name", "text"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
}
WIDGET = "application/vnd.jupyter.widget-view+json"  # what can be clicked while the kernel lives, and never again
CHANGED, ADDED = "changed against the runbook", "not in the runbook"


class _Node(dict[str, Any]):
    """A part of a notebook, as nbformat's, which takes long to load."""

    cells: "list[_Node]"
    cell_type: str
    id: str
    source: str
    __getattr__ = dict.__getitem__


@dataclass
class _Execution:
    number: int
    source: str
    cell: str = ""  # the cell's id, where the client tells it
    client: str = ""  # the window that asked for it
    began: datetime | None = None
    ended: datetime | None = None
    outputs: list[dict[str, Any]] | None = field(default_factory=list)  # None: it was over before anybody listened
    clearing: bool = False  # the next output takes the place of all before it

    @property
    def failed(self) -> bool:
        return any(o["output_type"] == "error" for o in self.outputs or ())


class Transcript:
    """All that one kernel executes. `shell` is its IPython, in the middle of a cell."""

    def __init__(self, shell: Any) -> None:
        self._session, self._pid, self._lock = shell.kernel.session, os.getpid(), threading.RLock()
        self._executed: dict[str, _Execution] = {}  # by the msg_id of the request
        self._shown: dict[str, list[dict[str, Any]]] = {}  # {display_id: the outputs that show it}
        self._runs: dict[str, tuple[Run, int, list[_Node]]] = {}  # {id: (run, cells before it, cells of its runbook)}
        self._over: list[Run] = []  # ended, and not sealed yet
        self._due, self._trouble = 0.0, ""
        self._later: threading.Timer | None = None  # what is shown now is written then
        parent = shell.kernel.get_parent()
        source, earlier = str(parent["content"]["code"]), list(shell.history_manager.input_hist_raw)[1:]
        if earlier[-1:] == [source.rstrip("\n")]:  # what is executed now; a client may ask for no history
            del earlier[-1]
        self._executed |= {str(n): _Execution(n, before, outputs=None) for n, before in enumerate(earlier, 1)}
        self._begin(parent, source, len(earlier) + 1)
        self._send = self._session.send
        self._session.send = self._pass_on

    def opened(self, run: Run) -> None:
        """Keep a run's notebook from now on."""
        with self._lock:
            self._runs[run.id] = run, len(self._executed) - 1, _cells(run)
            self._save()

    def _pass_on(self, stream: Any, kind: Any, content: Any = None, parent: Any = None, *rest: Any, **more: Any) -> Any:
        if os.getpid() == self._pid:  # a process that was forked may have our lock for ever
            message = kind if isinstance(kind, dict) else {}
            about = message.get("parent_header") or parent or {}
            with self._lock:
                try:
                    self._hear(message.get("msg_type", kind), message.get("content", content) or {}, about)
                except Exception as e:
                    self._fail(e)
            while kind == "status" and self._over:  # before the cell is told to have ended
                self._seal(self._over.pop())
        return self._send(stream, kind, content, parent, *rest, **more)

    def _hear(self, kind: str, content: Mapping[str, Any], parent: Mapping[str, Any]) -> None:
        if kind == "execute_input":
            self._begin(parent, content["code"], content["execution_count"])
            self._save()
        elif execution := self._executed.get(parent.get("header", parent).get("msg_id", "")):
            if content.get("execution_state") == "idle":
                execution.ended = datetime.now(UTC)
                self._save()
                for run, before, _ in self._runs.values():
                    if execution.failed and execution is list(self._executed.values())[before]:
                        run.close("failed")  # nothing can be done with it, and another page may be what is needed first
                self._over = [run for run, *_ in self._runs.values() if run.ended]
                self._runs = {name: kept for name, kept in self._runs.items() if not kept[0].ended}
            elif kind in KEPT or kind in ("clear_output", "update_display_data"):
                self._take(execution, kind, content)
                if self._later is None:
                    self._later = threading.Timer(max(0.0, self._due - time.monotonic()), self._save)
                    self._later.daemon = True
                    self._later.start()

    def _begin(self, parent: Mapping[str, Any], source: str, number: int) -> None:
        header, cell = parent.get("header", {}), (parent.get("metadata") or {}).get("cellId") or ""
        self._executed[header.get("msg_id", "")] = _Execution(
            number, source, str(cell), str(header.get("session", "")), datetime.now(UTC)
        )

    def _take(self, execution: _Execution, kind: str, content: Mapping[str, Any]) -> None:
        if WIDGET in content.get("data", ()):
            content = {**content, "data": {"text/plain": "(to be clicked, on the page)"}, "metadata": {}}
        outputs = execution.outputs if execution.outputs is not None else []
        shown = self._shown.setdefault((content.get("transient") or {}).get("display_id", ""), [])
        if kind == "clear_output" and content.get("wait"):
            execution.clearing = True
        elif kind == "clear_output" or (execution.clearing and kind in KEPT):
            outputs.clear()
            execution.clearing = False
        if kind in ("update_display_data", "display_data", "execute_result"):
            for output in shown:
                output |= {"data": content["data"], "metadata": content["metadata"]}
        if kind == "stream" and outputs and outputs[-1].get("name") == content["name"]:
            outputs[-1]["text"] += content["text"]
        elif kind in KEPT:
            outputs.append({"output_type": kind, **{key: content[key] for key in KEPT[kind]}})
            if (content.get("transient") or {}).get("display_id"):
                shown.append(outputs[-1])

    def _save(self) -> None:
        with self._lock:
            start, self._later = time.monotonic(), None
            for run, before, book in self._runs.values():
                try:
                    self._write(run, _notebook(list(self._executed.values()), run, before, book))
                    self._trouble = ""
                except Exception as e:
                    self._fail(e)
            self._due = time.monotonic() + max(SAVE_EVERY, 10 * (time.monotonic() - start))

    def _write(self, run: Run, nb: dict[str, Any]) -> None:
        clean = run.masked(nb)
        for shown, masked in zip(nb["cells"], clean["cells"], strict=True):
            for output, hidden in zip(shown.get("outputs", ()), masked.get("outputs", ()), strict=True):
                messages.leave_out_torn(hidden.get("data"), output.get("data"))
        text = json.dumps(clean, indent=1, ensure_ascii=False, default=str)
        text = messages.LONE.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)
        files.write(run.folder.runs / f"{run.id}.ipynb", text + "\n")

    def _seal(self, run: Run) -> None:
        """Seal a run that has ended, and before it those that wait for that."""
        guest = run.guest.name
        try:
            for name in seal.waiting(run.home, guest):
                record, why = seal.attempt(run.home, guest, name, PATIENCE)
                sys.stdout.write(f"sealed · {seal.words(run.home, record)}\n" if record else f"NOT SEALED: {why}\n")
            sys.stdout.flush()
        except Exception as e:
            self._fail(e)

    def _fail(self, error: Exception) -> None:
        trouble = f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            self._trouble = trouble
            with contextlib.suppress(Exception):
                sys.stderr.write(f"What you run here is not kept: {trouble}\n")


def _cells(run: Run) -> list[_Node]:
    """The cells of a run's runbook as it lies there, as the reader sees them; none where it cannot be read."""
    try:
        path = runbook.find(run.home, run.step)
        found: list[_Node] = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=_Node)["cells"]
        for cell in found:
            cell["source"] = "".join(cell.source)
            cell.setdefault("id", "")
        prose.translate(found, prose.said(run.site.lang, run.step))
        return found
    except (HikkoshiError, OSError, ValueError, LookupError, TypeError):
        return []


def _origin(execution: _Execution, book: list[_Node]) -> tuple[int | None, str]:
    """(index of the cell in the runbook, what was changed in it; nothing where it is the same, or differs by its values)."""
    code = [i for i, cell in enumerate(book) if cell.cell_type == "code"]
    here = [i for i in code if book[i].id and book[i].id == execution.cell]
    same = [i for i in here or code if book[i].source == execution.source]
    if same:
        return same[0], ""
    given = anatomy.plain_values(execution.source)
    for i in code:
        if "parameters" in anatomy.tags(book[i]) and given and given <= (anatomy.plain_values(book[i].source) or set()):
            return i, ""
    return (here[0], CHANGED) if here else (None, ADDED)


def _notebook(executed: list[_Execution], run: Run, before: int, book: list[_Node]) -> dict[str, Any]:
    """A run's notebook; `before` is how many cells were executed before the one that opened it."""
    cells: list[dict[str, Any]] = []
    seen, since, counts = set[int](), set[int](), Counter[str]()
    for n, execution in enumerate(executed):
        index, other = _origin(execution, book)
        marks = [other] if other else []
        if n == before:
            since = set()  # what was run before, as for another guest, is no other order of this one
        if index is not None:
            if n > before:
                marks += ["run again"] if index in since else ["out of order"] if index < max(since, default=0) else []
            since.add(index)
            seen.add(index)
        marks += ["failed"] if execution.failed else []
        counts.update(marks)
        marks += ["before the run was opened"] if n < before else []
        marks += ["what it showed was not seen"] if execution.outputs is None else []
        cells += _cell_of(n + 1, execution, _Node(cells=book), index, marks)
    left = [c.id for i, c in enumerate(book) if c.cell_type == "code" and c.source.strip() and i not in seen]
    windows = len({e.client for e in executed if e.client})
    by_hand = {"cells": len(executed), **counts} | ({"windows": windows} if windows > 1 else {})
    about = {"run": run.id, "guest": run.guest.name, "step": run.step, "mode": run.mode, "by_hand": by_hand}
    told = f"# {run.step}, run by hand\n\nGuest {run.guest.name}, mode {run.mode}. Every cell that the kernel executed, in order."
    told += f"\n\nNot on record as run: {', '.join(left)}." if left else ""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": [{"cell_type": "markdown", "id": "by-hand", "metadata": {}, "source": told}, *cells],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}, "hikkoshi": about},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell_of(n: int, execution: _Execution, nb: _Node, index: int | None, marks: list[str]) -> Iterator[dict[str, Any]]:
    """The cell of an execution, after a text that tells when it was, and which of the runbook's cells it is."""
    cell = nb.cells[index] if index is not None else None
    when = "time not seen"
    if execution.began:
        when = f"{execution.began:%H:%M:%S} to {f'{execution.ended:%H:%M:%S}' if execution.ended else 'no end on record'} UTC"
    words = anatomy.introduction(nb, index) if index is not None else "A cell of its own"
    words += f" ({', '.join(marks)})" if marks else ""
    told = f"*[{execution.number}] {when}*\n\n{words}:"
    yield {"cell_type": "markdown", "id": f"about-{n}", "metadata": {}, "source": told}
    times = {k: v.isoformat() if v else None for k, v in (("began", execution.began), ("ended", execution.ended))}
    own = {"cell": cell.id if cell else "", "changed": bool({CHANGED, ADDED} & set(marks)), "marks": marks}
    given = cell and "parameters" in anatomy.tags(cell) and not own["changed"]
    yield {
        "cell_type": "code",
        "id": f"run-{n}",
        "metadata": {"hikkoshi": own | times} | ({"tags": [anatomy.GIVEN]} if given else {}),
        "execution_count": execution.number,
        "source": execution.source,
        "outputs": execution.outputs or [],
    }
