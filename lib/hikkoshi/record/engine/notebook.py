"""One notebook executed honestly: client, record and kernel behind the engine `hikkoshi`."""

import asyncio
import contextlib
import os
import queue
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from nbclient.exceptions import CellExecutionComplete, CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.log import logger

from hikkoshi.errors import BadInput, Problem
from hikkoshi.params.home import Home
from hikkoshi.record import anatomy
from hikkoshi.record.engine import interruption, messages, prose, runbook
from hikkoshi.record.engine.executed import Record
from hikkoshi.record.engine.forked import ForkServer, Provisioner
from hikkoshi.record.engine.interruption import Stop, Stopped, end_all
from hikkoshi.record.engine.kernel import Manager
from hikkoshi.record.engine.lastwords import LastWords
from hikkoshi.secret import temporary
from hikkoshi.secret.masking import Mask

SILENCE = 4.0  # seconds without a message after a cell's answer: its output has ended, or its end was lost
MEMORY = Path("/dev/shm")  # a file system in memory
LONGEST_SOCKET_FOLDER = 70  # characters; the whole path of a socket may have 107


@dataclass(frozen=True)
class Event:
    """Something that a watcher may show: a cell begins, a row was shown, progress moved, or a second passed (`tick`)."""

    kind: Literal["cell", "row", "progress", "tick"]
    text: str = ""


Listener = Callable[[Event], None]


def deaf(event: Event) -> None:
    """A listener that does nothing."""


class HonestClient(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells one after the other and writes down how each of them ended."""

    def __init__(self, record: Record, *, stop: Stop, listener: Listener, words: LastWords, **options: Any) -> None:
        # force_raise_errors: a tag on a cell does not make its failure a success
        # iopub_timeout: how long a cell's output takes is not known; that it ends is seen to in _async_poll_output_msg
        super().__init__(record, force_raise_errors=True, coalesce_streams=True, iopub_timeout=10**6, **options)
        self.extra_arguments = messages.KERNEL
        self.record, self.stop, self.listener, self.words = record, stop, listener, words
        self._unended = False  # the end of the cell's output did not come
        self._over = asyncio.Event()  # nothing more is read of the cell's output
        self._cells: dict[str, tuple[Any, int]] = {}  # by the msg_id of the request that began them
        self._stream = ""  # printed by the cell, not yet a whole line: a secret may come in pieces

    def execute(self, **kwargs: Any) -> Any:
        """Start the kernel, run the cells, end the kernel."""
        self.reset_execution_trackers()
        with self.setup_kernel(**kwargs):
            info = self.wait_for_reply(self.kc.kernel_info())
            self.nb.metadata["language_info"] = info["content"]["language_info"]
            self.kc.iopub_channel.socket.rcvhwm = 0  # what we do not read at once waits; it is not dropped
            self.kc.session.begin()
            self.papermill_execute_cells()
            self.set_widgets_metadata()
        return self.nb

    def start_new_kernel(self, **kwargs: Any) -> None:
        """Start the kernel and remember its process group for a stop."""
        super().start_new_kernel(stdout=self.words.handle, stderr=self.words.handle, **kwargs)
        self.words.close()
        self.stop.kernel = self.km.provisioner.process.pid
        if self.stop.signum is not None:  # it came before there was a kernel to be told
            raise Stopped(self.stop.signum)

    def papermill_execute_cells(self) -> None:
        """Run every cell until one fails. What was not an error of the cell's own code is raised.

        Before a cell of code begins, it is on disk that it does, and all that came before it.
        """
        ended = anatomy.code(self.nb)[0]
        for index, cell in enumerate(self.nb.cells):
            self.record.cell_start(cell, cell_index=index)
            if cell.cell_type == "code":
                self._save(ended, begins=cell)
                ended = index
            if cell.cell_type == "code" and not {"parameters", "injected-parameters"} & set(anatomy.tags(cell)):
                self.listener(Event("cell", anatomy.introduction(self.nb, index)))
            try:
                if self.stop.signum is not None and cell.cell_type == "code":  # a text has no place for an error
                    raise DeadKernelError
                self.execute_cell(cell, index)
                if self._lost(index) and not self.record.rescue:  # a rollback is red then, and goes on
                    return
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
                self._failed(index, e)
                if isinstance(e, CellExecutionError) and self.stop.signum is None:
                    return
                raise (Stopped(self.stop.signum) if self.stop.signum is not None else e) from None
            except OSError as e:
                self._failed(index, e)
                raise
            finally:
                self.record.cell_complete(cell, cell_index=index)
                if self.record.failed:
                    self._save(index)
        self._save(ended)

    def _lost(self, index: int) -> bool:
        """Whether a part of what the kernel sent did not come; the cell is marked as failed then."""
        missing = self.kc.session.missing() + self._unended
        if missing:
            problem = Problem(
                code="output-lost",
                what="output of a cell was lost",
                where=f"cell {index + 1}",
                found=f"{missing:,} messages of the kernel did not come",
                expected="every one",
                remedy="have the cell print less, or into a file; then run the step again: what is done already is recognised",
            )
            self.record.fail(index, "StepFailed", str(problem))
            self.kc.session.begin()
            self._unended = False
        return bool(missing)

    def _save(self, ended: int, begins: Any = None) -> None:
        """Write down what happened until now; the cell `ended` showed something last. Where that fails, none `begins`."""
        try:
            self.record.save()
        except OSError as e:
            if begins is not None:
                begins.metadata.papermill.update(status=self.record.PENDING, start_time=None, exception=None)
            self._failed(ended, e)
            raise

    def process_message(self, message: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Mask a message before anybody else sees it, and tell the listener what it shows."""
        kind, content = message["msg_type"], self.record.mask.tree(message["content"])
        messages.leave_out_torn(content.get("data"), message["content"].get("data"))
        message["content"] = content
        if kind == "stream":
            self._stream += content["text"]
        elif "data" in content:
            words = content["data"].get("text/plain", "")
            drawn_again = kind == "update_display_data" or (content.get("transient") or {}).get("display_id")
            if isinstance(words, str) and not words.startswith(("<IPython.", "<Figure ")):
                self._tell("progress" if drawn_again else "row", words)
        whole, _, rest = self._stream.rpartition("\n")
        if content.get("execution_state") == "idle":  # the cell has ended
            whole, rest = self._stream, ""
        self._stream = rest
        self._tell("row", whole)
        return super().process_message(message, cell, cell_index)

    def _tell(self, kind: Literal["row", "progress"], words: str) -> None:
        if words.strip():
            self.listener(Event(kind, self.record.mask.text(words.rstrip())))

    def _failed(self, index: int, error: Exception) -> None:
        where = f"cell {index + 1}"
        if self.stop.signum is not None:
            kind, problem = "Interrupted", Stopped(self.stop.signum).problems[0]
        elif isinstance(error, CellTimeoutError):
            found = f"more than {self._get_timeout(self.nb.cells[index])} s"
            kind, remedy = "CellTimeoutError", "find out what hangs, then run the step again"
            problem = Problem(code="cell-timed-out", what="a cell was not done in time", where=where, found=found, remedy=remedy)
        elif isinstance(error, DeadKernelError):
            kind, remedy = "DeadKernelError", "see whether memory ran out (dmesg), then run the step again"
            problem = Problem(code="kernel-died", what="the kernel died", where=where, found=self._ending(), remedy=remedy)
        elif isinstance(error, OSError):
            self.nb.cells[index].outputs = []  # the record cannot be written; without these, it perhaps can
            kind, remedy = "OSError", "make room there, then run the step again"
            found = f"{error.strerror}; what the cell showed is left out here"
            problem = Problem(
                code="notebook-unwritable",
                what="the record of the run cannot be written",
                where=where,
                found=found,
                remedy=remedy,
            )
        elif isinstance(error, CellExecutionError) and error.ename == "SystemExit":
            kind, found = "StepFailed", f"SystemExit({error.evalue})"
            problem = Problem(
                code="notebook-ended-itself",
                what="the notebook ended itself",
                where=where,
                found=found,
                expected="every cell executed",
                remedy="take the exit out of the cell",
            )
        else:
            self.record.cell_exception(self.nb.cells[index], cell_index=index)
            return
        self.record.fail(index, kind, str(problem))

    def _ending(self) -> str:
        status = getattr(getattr(self.km.provisioner, "process", None), "returncode", None)
        ending = f"exit status {status}" if status is not None else ""
        if status is not None and status < 0:
            ending = f"ended by {signal.Signals(-status).name}"
        return "\n".join(filter(None, [ending, self.words.text()]))

    async def _async_handle_timeout(self, timeout: int, cell: Any = None) -> Any:
        """Interrupt the cell, so that it tidies up and its traceback shows where it hung; then raise `CellTimeoutError`."""
        self.stop.signal_kernel(signal.SIGINT)
        with contextlib.suppress(queue.Empty, TimeoutError):
            await self.kc.shell_channel.get_msg(timeout=interruption.GRACE)
            await asyncio.wait_for(self._over.wait(), interruption.GRACE)  # what it showed comes on another channel
        return await super()._async_handle_timeout(timeout, cell)

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: Any, cell_index: int) -> None:
        """Read a cell's messages until it is idle. Late ones of an earlier cell are put where they belong.

        A flood takes longer to read than to print, and its end may be lost: after the cell's answer, silence ends it, too.
        """
        self._cells[parent_msg_id] = cell, cell_index
        self._over.clear()
        try:
            await self._read_until_idle(parent_msg_id)
        finally:
            self._over.set()

    async def _read_until_idle(self, parent_msg_id: str) -> None:
        while True:
            try:
                message = await self.kc.iopub_channel.get_msg(timeout=SILENCE)
            except queue.Empty:
                if self.kc.session.answered == parent_msg_id:
                    self._unended = True
                    return
                continue
            parent = message["parent_header"].get("msg_id")
            if parent in self._cells:
                try:
                    self.process_message(message, *self._cells[parent])
                except CellExecutionComplete:
                    if parent == parent_msg_id:
                        return

    async def _async_poll_kernel_alive(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.listener(Event("tick"))
            self.stop.insist()
            try:
                await self._async_check_alive()
            except DeadKernelError:
                self.task_poll_for_reply.cancel()
                return


def execute(
    nb: Any,
    kernel_name: str,
    *,
    output_path: str | None = None,
    input_path: str = "",
    autosave_cell_every: float = 2,
    progress_bar: bool | dict[str, Any] = False,
    log_output: bool = False,
    start_timeout: int = 60,
    execution_timeout: int | None = None,
    mask: Mask | None = None,
    lang: str | None = None,
    rescue: bool = False,
    stop: Stop | None = None,
    listener: Listener = deaf,
    environment: Mapping[str, str] | None = None,
    kernels: ForkServer | None = None,
    **options: Any,
) -> Any:
    """Run a notebook in a kernel of its own and return it; the engine's work, see `HonestEngine`.

    `mask` hides secrets, `lang` is the language of its texts (default: those of the home that the notebook is run for). A
    `rescue` goes on where the notebook cannot be written. `stop` is given by a caller that takes signals itself. `environment`
    is added to the kernel's, which is forked by `kernels` where these are given. Other options are nbclient's. After this
    returns or raises, no process that the kernel started is left.
    """
    if mask is None or lang is None:
        its_mask, its_lang = _of_its_home(nb, input_path)
        mask, lang = mask or its_mask, lang or its_lang
    prose.translate(nb.cells, prose.said(lang, Path(input_path).stem))
    record = Record(
        nb,
        mask,
        output_path,
        rescue=rescue,
        autosave_cell_every=autosave_cell_every,
        progress_bar=progress_bar,
        log_output=log_output,
    )
    options |= {"startup_timeout": start_timeout, "timeout": execution_timeout, "log_output": log_output}
    with contextlib.ExitStack() as stack:
        if stop is None:
            stop = stack.enter_context(Stop().listening())
        for cell in nb.cells:
            anatomy.put_right(cell)
        record.notebook_start()
        try:
            obstacle = next(chain(anatomy.obstacles(nb), runbook.without_kernel(nb, kernel_name)), None)
            if obstacle:
                record.fail(obstacle[0], type(obstacle[1]).__name__, str(obstacle[1]))
            else:
                own = {**os.environ, **(environment or {})}
                _in_a_kernel(record, kernel_name, own, kernels, stop=stop, listener=listener, **options)
            for index, problem in anatomy.unproven(nb):
                if not record.failed:
                    record.fail(index, "StepFailed", str(problem))
        except BaseException as e:
            if not record.failed:
                kind = "Interrupted" if isinstance(e, Stopped) else type(e).__name__
                record.fail(anatomy.code(nb)[0], kind, str(e))
            raise
        finally:
            record.cleanup_pbar()
            record.notebook_complete()
    return nb


def _in_a_kernel(
    record: Record, kernel_name: str, environment: Mapping[str, str], kernels: ForkServer | None, **options: Any
) -> None:
    # kernels that share a folder have been seen to get each other's messages
    with temporary.folder("kernel", _place(memory=record.rescue)) as private:
        kernel = Manager(
            kernel_name=kernel_name,
            transport="ipc",
            ip=f"{private}/socket",
            connection_file=f"{private}/kernel.json",
            session=messages.Numbered(),
        )
        if kernels and "kernel_provisioner" not in kernel.kernel_spec.metadata:
            kernel.provisioner = Provisioner(kernel_id=private.name, kernel_spec=kernel.kernel_spec, parent=kernel)
            kernel.provisioner.kernels = kernels
        words = LastWords(record.mask)
        client = HonestClient(record, km=kernel, kernel_name=kernel_name, log=logger, words=words, **options)
        own = {"HIKKOSHI_KERNEL": str(private)}
        if record.rescue:  # the disk of our home folder may be full, too, and Python's own way to a place for these
            own |= dict.fromkeys(("IPYTHONDIR", "MPLCONFIGDIR", "TMPDIR"), str(private))
        try:
            client.execute(env={**environment, **own}, cleanup_kc=True)
        except Exception as e:
            if client.stop.signum is not None:  # whatever a kernel says that was stopped while it started
                raise Stopped(client.stop.signum) from None
            if not record.failed and (told := words.text()):
                raise DeadKernelError(f"{e}\n{told}") from None  # it did not even start
            raise
        finally:
            client.stop.kernel = None
            end_all(f"HIKKOSHI_KERNEL={private}")
            words.close()


def _place(*, memory: bool) -> Path:
    """Where a kernel's sockets are: the whole path of one has a limit. `memory`: where no disk is needed, if there is that."""
    if memory and MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        return MEMORY
    place = Path(tempfile.gettempdir())
    return place if len(str(place)) <= LONGEST_SOCKET_FOLDER else Path("/tmp")


def _of_its_home(nb: Any, input_path: str) -> tuple[Mask, str]:
    """What hides the secrets of the home that a notebook is run for, and the language there; where there is none, English."""
    given = nb.metadata.papermill.get("parameters", {}).get("home")
    try:
        home = Home.find(given or "", Path(input_path or ".").resolve().parent)
        return Mask(home.secrets()), home.site().lang
    except BadInput:
        return Mask([]), "en"
