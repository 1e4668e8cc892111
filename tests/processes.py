"""The command line as a user starts it, and waiting for what it does."""

import contextlib
import gc
import io
import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import warm
from hikkoshi.cli.main import main
from hikkoshi.params.home import Home

COMMAND = [sys.executable, "-m", "hikkoshi.cli.main"]
PATIENCE = 180  # seconds: a kernel takes some to start on a loaded machine


def start(
    home: Home | None, *argv: str, cwd: Path | None = None, stderr: int = subprocess.PIPE, program: Sequence[str] = COMMAND
) -> "subprocess.Popen[str]":
    """Begin a command in a home, or where none is named; `program` is another way to start it."""
    env = {k: v for k, v in os.environ.items() if k != "HIKKOSHI_HOME"}
    if home:
        env["HIKKOSHI_HOME"] = str(home.root)
    return subprocess.Popen([*program, *argv], env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=stderr, text=True)


def hikkoshi(home: Home, *argv: str, seconds: float = 600, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, where nobody can be asked."""
    return subprocess.run(
        [*warm.command(), *argv],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def on_a_terminal(home: Home | None, *argv: str, answers: Sequence[tuple[str, str]]) -> tuple[int, str]:
    """Run a command on a terminal of its own, and type an answer at each prompt, given as (prompt, answer), in their order.

    The exit code, and what the terminal showed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.pop("HIKKOSHI_HOME", None)
        if home:
            os.environ["HIKKOSHI_HOME"] = str(home.root)
        os.execv(COMMAND[0], [*COMMAND, *argv])
    told, seen, deadline, left = b"", 0, time.monotonic() + PATIENCE, list(answers)
    while time.monotonic() < deadline:
        try:
            ready = select.select([terminal], [], [], 1)[0]
            told += os.read(terminal, 4096) if ready else b""
        except OSError:  # the other end is closed
            break
        if left and (at := told.find(left[0][0].encode(), seen)) >= 0:
            seen = at + len(left[0][0])
            os.write(terminal, left.pop(0)[1].encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told.decode(errors="replace")


def without_a_process(home: Home, *argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that starts no kernel in this process, to its end, where nobody can be asked."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    mask, stops = os.umask(0o077), {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open() as nobody:
        for name, value in {"HIKKOSHI_HOME": str(home.root), **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["hikkoshi", *argv])
        patch.setattr(sys, "stdin", nobody)
        patch.setattr(tempfile, "tempdir", None)  # the environment names it
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as e:
            code = int(e.code or 0)
        finally:
            gc.unfreeze()  # what a command leaves to its process's end is rubbish here
            os.umask(mask)
            for signum, handler in stops.items():
                signal.signal(signum, handler)
    return subprocess.CompletedProcess([*argv], code, out.getvalue(), err.getvalue())


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that the system gives nobody who asks for any: one may come back to it later."""
    while True:
        port = random.randrange(10_000, 32_768)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind((address, port))
            return port


def wait_for(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so; fails where it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)
