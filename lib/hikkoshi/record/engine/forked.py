"""Kernels that are forked from a process which has loaded what every kernel loads, and has done nothing else.

Each step has a process of its own all the same, a child of the runner, in which nothing of another step is: only the loading
is done once. Where none can be forked (another Python's kernel, threads in the runner), Jupyter starts one as ever.
So are the commands of a fleet (`fleet/loaded.py`).
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jupyter_client.provisioning import LocalProvisioner

LOADED = (
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.debugger"),
    *("IPython.core.completerlib", "IPython.core.debugger", "IPython.core.logger", "IPython.core.oinspect"),
    *("IPython.extensions.storemagic", "sqlite3", "tornado.platform.asyncio"),
)
KERNEL = [sys.executable, "-m", "ipykernel_launcher"]  # how the command of a kernel begins that can be forked
LARGEST = 1 << 17  # bytes of an order to the server
PATIENCE = 60.0  # seconds that a loaded machine takes for a fork
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: who gets the children of a process that ends
Begin = Callable[[list[str], int], None]  # what a process does: its arguments, and the process that it is a child of


class ForkServer:
    """Forks one process after the other for the one that made it, each to `begin`; ends with it, or when it is closed."""

    _turn = threading.Lock()  # of who asks: who adopts is a matter of the whole process, and no answer tells whose it is

    def __init__(self, begin: Begin) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.settimeout(PATIENCE)
        sys.stdout.flush()
        sys.stderr.flush()
        runner = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _serve(theirs, runner, begin)
            finally:
                os._exit(1)
        theirs.close()

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str, *outputs: int) -> int | None:
        """A new process of ours that writes to `outputs`, one or two; None where there is none to be had."""
        order = json.dumps([list(arguments), dict(environment), folder]).encode()
        if len(order) > LARGEST or not _shown(environment, _place()[1]):
            return None
        with self._turn:
            prctl = ctypes.CDLL(None).prctl
            prctl(SUBREAPER, 1, 0, 0, 0)  # the server's child leaves it an orphan, which is then ours
            try:
                socket.send_fds(self._door, [order], outputs)
                told = self._door.recv(LARGEST)
            except OSError:
                self._door.close()  # an answer that comes late is to no later question
                return None
            finally:
                prctl(SUBREAPER, 0, 0, 0, 0)
        return int(told) if told else None

    def close(self) -> None:
        """End the server; its kernels are the runner's."""
        self._door.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def begin_kernel(arguments: list[str], runner: int) -> None:
    """What `python -m ipykernel_launcher` does."""
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of the runner's program
    # it ends with that process; JPY_PARENT_PID, which tells it otherwise, was read when it was loaded
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={runner}"]
    app = importlib.import_module("ipykernel.kernelapp").IPKernelApp
    app.launch_instance()
    # ipykernel ends the thread of the outputs first of all; one that still waits for it is waited for in turn, some seconds long
    control = app.instance().control_thread
    control.stop()
    control.join()


@contextlib.contextmanager
def server(begin: Begin = begin_kernel) -> Iterator[ForkServer | None]:
    """One for as long as this lasts; none where a fork would be half a process: with threads, only one comes along."""
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        yield None
        return
    load()
    with contextlib.closing(ForkServer(begin)) as found:
        yield found


class Provisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts a kernel by the fork server `kernels` where that can be."""

    kernels: ForkServer | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Have it started; how to reach it."""
        if self.kernels and cmd[: len(KERNEL)] == KERNEL:
            environment, folder = {**kwargs["env"], "JPY_PARENT_PID": str(os.getpid())}, str(kwargs.get("cwd") or Path.cwd())
            pid = self.kernels.fork(cmd[len(KERNEL) :], environment, folder, kwargs["stdout"])
            if pid:
                self.process, self.pid, self.pgid = Forked(pid), pid, pid
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)


class Forked:
    """A child of ours, with what jupyter_client asks of a Popen."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status; minus a signal's number where one ended it; None as long as it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        """The same, when it has ended."""
        while (status := self.poll()) is None:
            time.sleep(0.01)
        return status

    def send_signal(self, signum: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def _serve(door: socket.socket, runner: int, begin: Begin) -> NoReturn:
    """Fork processes until nobody can ask for one any more."""
    os.setsid()  # a Ctrl-C at the terminal is for the runner
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_go(keep=door.fileno())
    for final in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        final.atexit = False  # a folder for the time being of whoever forked us is not to go when one of ours ends
    gc.freeze()  # these pages stay shared
    while True:
        order, outputs, *_ = socket.recv_fds(door, LARGEST, 2)
        if not order:
            os._exit(0)
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if os.fork() == 0:
                _become(door, outputs, runner, between, begin, *json.loads(order))
            os._exit(0)
        for output in outputs:
            os.close(output)
        os.waitpid(between, 0)


def load() -> None:
    """Load what every kernel loads."""
    sys.modules["debugpy"] = None  # type: ignore[assignment] # nobody looks on there, and a kernel takes longest to load it
    for module in LOADED:
        importlib.import_module(module)
    del sys.modules["debugpy"]


def _let_go(outputs: Sequence[int] = (), *, keep: int = -1) -> None:
    """Close what whoever forked us had open, but `keep`; what is printed goes to the `outputs`, or nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle, given in enumerate((nowhere, *(outputs[:1] or [nowhere]), *(outputs[-1:] or [nowhere]))):
        os.dup2(given, handle)
    os.closerange(3, keep)
    os.closerange(max(3, keep + 1), os.sysconf("SC_OPEN_MAX"))


def _become(
    door: socket.socket,
    outputs: Sequence[int],
    runner: int,
    between: int,
    begin: Begin,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
) -> NoReturn:
    """A child of the runner, that begins as a program does."""
    code: object = 1
    try:
        while os.getppid() == between:
            time.sleep(0.001)
        if os.getppid() != runner:  # it has ended, or may adopt nobody here
            door.send(b"0")
            os._exit(1)
        os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        _show(environment)
        door.send(str(os.getpid()).encode())
        _let_go(outputs)
        os.chdir(folder)
        tempfile.tempdir = None  # the environment names it
        begin(arguments, runner)
        code = 0
    except SystemExit as e:
        code = e.code
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else bool(code))


def _show(environment: Mapping[str, str]) -> None:
    """Have /proc/PID/environ say what the environment is now, where `end_all` looks: it is the memory that it began in."""
    start, size = _place()
    ctypes.memmove(start, _shown(environment, size).ljust(size, b"\0"), size)


def _shown(environment: Mapping[str, str], size: int) -> bytes:
    """As much of it as has room, our own first; nothing where the mark has none that this kernel is known by."""
    entries = [os.fsencode(f"{name}={value}") + b"\0" for name, value in environment.items()]
    shown = b""
    for entry in sorted(entries, key=lambda e: (not e.startswith(b"HIKKOSHI_KERNEL="), not e.startswith(b"HIKKOSHI_"))):
        if len(shown) + len(entry) <= size:
            shown += entry
    return shown if shown.startswith(b"HIKKOSHI_KERNEL=") or "HIKKOSHI_KERNEL" not in environment else b""


def _place() -> tuple[int, int]:
    """Where this process' environment began in memory, and its size in bytes (proc(5), stat: env_start, env_end)."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    return start, end - start
