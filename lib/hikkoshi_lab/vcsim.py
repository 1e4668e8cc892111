"""The lab's vCenter: govmomi's simulator as a real process that speaks the real protocol.

It keeps its state in memory and its files in a folder of ours: the disks that it is sent too, each byte as it came. It checks
some of what ESXi checks, see `vcsim/host.go`, and starts no machine.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi_lab import certificate

LEASE = "20s"  # after which an import whose sender was killed is given up; a real vSphere waits five minutes
PASSWORD = "vcenter.password"
PATIENCE = 120  # seconds; it takes one
PID_FILE, LOG, HINTS, TEMPORARY = "vcsim.json", "vcsim.log", "hints.json", "tmp"
MADE = (certificate.CA, certificate.CERTIFICATE, certificate.KEY, PASSWORD, PID_FILE, LOG, HINTS)  # and the folder TEMPORARY


@dataclass(frozen=True)
class Daemon:
    """A running process. `started` is its start time in clock ticks since boot: a pid alone may be recycled.

    It is empty of one that had ended before it was looked at.
    """

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.started != "" and started(self.pid) == self.started

    def end(self, wait: float = 5) -> None:
        """End it, and wait until it is gone; a process that took over its pid is not touched."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + wait
            if self.alive:
                os.kill(self.pid, number)
            while self.alive and time.monotonic() < deadline:
                time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)  # where it is a child of ours


@dataclass(frozen=True)
class Server(Daemon):
    """A running vcsim."""

    host: str
    port: int


def binary() -> Path:
    """Where `make setup` puts the program."""
    return tool.cache() / "vcsim"


def prepare(folder: Path) -> None:
    """Make the certificate and the password (mode 0600) where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / name).is_file() for name in (certificate.CA, certificate.CERTIFICATE, certificate.KEY)):
        certificate.make(folder)
    if not (folder / PASSWORD).is_file():
        with open(folder / PASSWORD, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
            f.write(secrets.token_urlsafe(18) + "\n")


def find(folder: Path) -> Server | None:
    """The vcsim that was launched for this folder, if it still runs."""
    try:
        server = Server(**json.loads((folder / PID_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return server if server.alive else None


def launch(folder: Path, listen: str, flags: Sequence[str] = (), *, daemon: bool = True) -> Server:
    """Start one and wait until it listens. A daemon outlives us; else it ends when the calling thread does."""
    if not binary().is_file():
        raise ToolFailed(
            Problem(code="vcsim-not-built", what="vcsim is not built", where=str(binary()), remedy="run `make setup`")
        )
    shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
    (folder / TEMPORARY).mkdir()
    paths = {
        f"-{flag}": str(folder / name)
        for flag, name in (("tlscert", certificate.CERTIFICATE), ("tlskey", certificate.KEY), ("password-file", PASSWORD))
    }
    argv = [str(binary()), "-l", listen, "-lease-timeout", LEASE, *(word for pair in paths.items() for word in pair), *flags]
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            argv if daemon else [tool.find("setpriv"), "--pdeathsig", "TERM", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=tool.environment(argv[0], TMPDIR=str(folder / TEMPORARY)),
            start_new_session=True,
        )
    pid, since = process.pid, started(process.pid)
    host, _, port = listen.rpartition(":")
    _write(folder, Server(pid, since, host, int(port)))  # at once: from here on, somebody can find and end it
    deadline = time.monotonic() + PATIENCE
    while not (url := _url(folder / LOG)):
        if process.poll() is not None or time.monotonic() > deadline:
            tool.end(process)
            said = "\n".join((folder / LOG).read_text(errors="replace").splitlines()[:5])  # Go says the reason first
            raise ToolFailed(
                Problem(
                    code="vcsim-not-started",
                    what="vcsim did not start",
                    where=f"listening on {listen}",
                    found=said,
                    expected=f"a line with its address within {PATIENCE} s",
                    remedy="if the address is in use, another program has the port: end it, or change `server` in "
                    "params/site.yml",
                )
            )
        time.sleep(0.02)
    process.returncode = 0  # Server.end waits for it, not this object, which would warn that it is left running
    server = Server(pid, since, host, int(url.removesuffix("/sdk").rpartition(":")[2]))
    _write(folder, server)
    return server


@contextlib.contextmanager
def start(folder: Path, *flags: str, listen: str = "127.0.0.1:0") -> Iterator[Server]:
    """One vcsim for one test, on a free port of the loopback interface; gone afterwards, with its files."""
    prepare(folder)
    server = launch(folder, listen, flags, daemon=False)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder / TEMPORARY, ignore_errors=True)


def remove(folder: Path) -> None:
    """End the folder's vcsim and remove everything that `prepare` and `launch` made."""
    server = find(folder)
    if server:
        server.end()
    shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
    for name in MADE:
        (folder / name).unlink(missing_ok=True)


def _write(folder: Path, server: Server) -> None:
    files.write(folder / PID_FILE, json.dumps(server.__dict__) + "\n")


def _url(log: Path) -> str:
    return next((s.removeprefix("url ") for s in log.read_text(errors="replace").splitlines() if s.startswith("url ")), "")


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot, as /proc/PID/stat has it in field 22.

    Empty for a process that is gone or only waits to be reaped.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
