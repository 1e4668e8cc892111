"""The one place that starts other programs and waits for them.

Children die with us (`setpriv --pdeathsig`), and inherit the guest's lock: should one outlive us all the same, the
guest stays locked for exactly as long. Of our environment they get what `INHERITED` names: a password in it is for us alone.
"""

import contextlib
import functools
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hikkoshi.errors import Problem, ToolFailed

INHERITED = re.compile(  # where things are, and in which language; the marks by which a kernel's children are found
    "PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|TERM|LANG|LANGUAGE|LC_[A-Z]+|XDG_[A-Z_]+|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)"
    "|(LIBGUESTFS|SUPERMIN|FONTCONFIG)_[A-Z_]+|HIKKOSHI_(HOME|RUN|KERNEL)"
)
AGENTS = re.compile(  # how a key is used that lies elsewhere: for those programs alone that ask for it
    "SSH_AUTH_SOCK|SSH_ASKPASS(_REQUIRE)?|SSH_SK_PROVIDER|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|KRB5CCNAME|KRB5_CONFIG"
)
SANDBOXED_QEMU = Path(__file__).with_name("sandboxed-qemu")
_PIECE = 1 << 16  # bytes written or read at once
_MARK = 256  # bytes that what is waited for has, at most
_COMPLAINTS = 1 << 20  # bytes that a program may complain
_WORDS = 4096  # bytes of its complaints that are kept
_LAST = 2.0  # seconds that a program has to end, or to say why it did, after its last word
Ending = Literal["told", "ended", "slow", "endless"]
PYTHONS = (sys.executable, "/usr/bin/python3", "/usr/libexec/platform-python")


def cache() -> Path:
    """Where everything is kept that can be made again: $XDG_CACHE_HOME/hikkoshi, by default ~/.cache/hikkoshi."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hikkoshi"


def find(program: str) -> str:
    """Path of a program, or `ToolFailed` saying how to get it."""
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if path is None:
        raise ToolFailed(
            Problem(
                code="program-missing",
                what=f"the program {program} is not installed",
                remedy="`hikkoshi doctor` says what is missing here, and how to install it",
            )
        )
    return path


def command(argv: Sequence[str | Path], rights: Sequence[str] = ()) -> list[str]:
    """The argument list that starts `argv` so that it dies with the calling thread, with the `rights` of `unprivileged`.

    For `subprocess.Popen` with `close_fds=False`: Python's own descriptors are not inheritable, the guest's lock is.
    """
    return [find("setpriv"), "--pdeathsig", "KILL", *rights, "--", find(str(argv[0])), *map(str, argv[1:])]


def environment(program: str | Path, **more: str) -> dict[str, str]:
    """The environment that a program gets: what it may inherit of ours, and `more`."""
    agents = Path(program).name in ("ssh", "ssh-keygen")
    names = [n for n in os.environ if INHERITED.fullmatch(n) or (agents and AGENTS.fullmatch(n))]
    return {**{n: os.environ[n] for n in names}, **more}


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | bytes | None = None,
    timeout: float | None = 600,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    ok: Sequence[int] = (0,),
    rights: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed.

    `timeout` in seconds; at its end, or on Ctrl-C, the program's whole process group is killed. An exit status that is not
    in `ok` raises `ToolFailed` with the last lines that the program printed.
    """
    text = stdin.encode() if isinstance(stdin, str) else stdin
    process = subprocess.Popen(
        command(argv, rights),
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(argv[0], **(env or {})),
        cwd=cwd,
        close_fds=False,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(text, timeout=timeout)
    except BaseException as e:
        end(process)
        if isinstance(e, subprocess.TimeoutExpired):
            raise timed_out(argv, timeout or 0) from None
        raise
    result = subprocess.CompletedProcess(
        list(map(str, argv)), process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
    )
    if result.returncode not in ok:
        raise failed(argv, result.returncode, result.stderr or result.stdout, ok)
    return result


def timed_out(argv: Sequence[str | Path], timeout: float, where: str = "") -> ToolFailed:
    """The error for a program that was ended after `timeout` seconds, on the machine `where`, or here."""
    return ToolFailed(
        Problem(
            code="program-timed-out",
            what=f"{argv[0]} took too long and was ended",
            where=told(argv, where),
            found=f"still running after {timeout:g} s",
            remedy="see whether the machine is overloaded, then run the step again",
        )
    )


def failed(argv: Sequence[str | Path], status: int, words: str, ok: Sequence[int] = (0,), where: str = "") -> ToolFailed:
    """The error for a program that ended with a wrong status, on the machine `where`, or here."""
    return ToolFailed(
        Problem(
            code="program-failed",
            what=f"{argv[0]} failed",
            where=told(argv, where),
            found=f"exit status {status}: {tail(words)}",
            expected=f"exit status {' or '.join(map(str, ok))}",
            remedy="the program's own words above name the cause; nothing it wrote is used",
        )
    )


def told(argv: Sequence[str | Path], where: str = "") -> str:
    """A command on the machine `where`, or here, as it is told: of a script in it, the first line."""
    line, _, more = " ".join(map(str, argv)).partition("\n")
    return (f"{where}: " if where else "") + line + (" …" if more else "")


@dataclass(frozen=True)
class Said:
    """What a program printed, and how that ended: `told`, all that was waited for; `ended` by itself; `slow`; `endless`."""

    out: bytes
    err: bytes  # its last words
    ending: Ending
    status: int  # of the program; meaningless where it was ended


def converse(
    argv: Sequence[str | Path], stdin: bytes | None, *, until: "re.Pattern[bytes] | None" = None, timeout: float, largest: int
) -> Said:
    """Run a program that is not to be trusted with our time and memory.

    `stdin` is written, and stays open until the end; None: there is none. It is read until `until` is found in what it prints,
    until it ends, for `timeout` seconds, or `largest` bytes, or a MiB of complaints. Then it is killed, unless it has ended.
    """
    process = subprocess.Popen(
        command(argv),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(argv[0]),
        close_fds=False,
        start_new_session=True,
    )
    listener = _Listener(stdin or b"", until, largest)
    try:
        ending = listener.listen(process, timeout)
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST if ending in ("told", "ended") else 0)
    finally:
        status = process.poll()
        if status is None:
            end(process)
        else:  # what it left behind may be meant to stay, as ssh's shared connection is
            _let_go(process)
    return Said(bytes(memoryview(listener.out)[:largest]), listener.err, ending, -signal.SIGKILL if status is None else status)


class _Listener:
    """Writes to a program, and gathers what it prints until there is a reason to listen no more."""

    def __init__(self, waiting: bytes, until: "re.Pattern[bytes] | None", largest: int) -> None:
        self._waiting, self._until, self._largest = waiting, until, largest
        self._errors, self._told = 0, False
        self.out, self.err = bytearray(), b""

    def listen(self, process: "subprocess.Popen[bytes]", timeout: float) -> Ending:
        """For `timeout` seconds at most; gives why it is over."""
        deadline = time.monotonic() + timeout
        assert process.stdout
        assert process.stderr
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ, self._hear)
            ready.register(process.stderr, selectors.EVENT_READ, self._complain)
            if process.stdin and self._waiting:
                os.set_blocking(process.stdin.fileno(), False)
                ready.register(process.stdin, selectors.EVENT_WRITE, self._feed)
            speaks = True
            ending: Ending = "ended"
            while speaks or process.stderr in ready.get_map():
                if (left := deadline - time.monotonic()) <= 0:
                    return "slow" if speaks else ending
                for key, _ in ready.select(left):
                    if not key.data(key.fd):
                        ready.unregister(key.fileobj)
                if len(self.out) > self._largest or self._errors > _COMPLAINTS:
                    return "endless"
                if speaks and process.stdout not in ready.get_map():
                    # its complaints may come later; and something that it left behind may hold the way that they come
                    speaks, deadline = False, min(deadline, time.monotonic() + _LAST)
                    ending = "told" if self._told else "ended"
        return ending

    def _hear(self, stdout: int) -> bool:
        piece, start = os.read(stdout, _PIECE), max(0, len(self.out) - _MARK)
        self.out += piece
        self._told = bool(self._until and self._until.search(self.out, start))
        return bool(piece) and not self._told

    def _complain(self, stderr: int) -> bool:
        piece = os.read(stderr, _PIECE)
        self._errors += len(piece)
        self.err = (self.err + piece)[-_WORDS:]
        return bool(piece)

    def _feed(self, stdin: int) -> bool:
        try:
            self._waiting = self._waiting[os.write(stdin, self._waiting[:_PIECE]) :]
        except BlockingIOError:
            return True
        except OSError:  # it listens no more; why, it tells itself
            return False
        return bool(self._waiting)


def talk(argv: Sequence[str | Path]) -> None:
    """Run a program that may ask the person at the terminal, for a passphrase as a rule; `ToolFailed` where it fails."""
    done = subprocess.run(
        [find(str(argv[0])), *map(str, argv[1:])], stdout=subprocess.DEVNULL, env=environment(argv[0]), check=False
    )
    if done.returncode:
        raise ToolFailed(
            Problem(
                code="program-failed",
                what=f"{argv[0]} failed",
                where=" ".join(map(str, argv)),
                found=f"exit status {done.returncode}; its own words are above",
                expected="exit status 0",
                remedy="answer what it asks, or see what its words name",
            )
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and everything it started, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    _let_go(process)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes its pipes and waits
        pass


def tail(text: str, lines: int = 12) -> str:
    """The last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-lines:]) or "(it printed nothing)"


def guestfs_environment() -> dict[str, str]:
    """What libguestfs' programs get besides: their QEMU, which opens guests' disks, is started in its own sandbox.

    Where it emulates the processor, the kernel of its appliance is unpacked before, and its initrd made smaller, once: each start
    is then shorter.
    """
    own = os.environ.get("LIBGUESTFS_HV") or find(f"qemu-system-{platform.machine()}")
    unpacking = {"HIKKOSHI_PYTHON": sys.executable, "HIKKOSHI_KERNELS": str(cache() / "kernels")}
    return {"LIBGUESTFS_HV": str(SANDBOXED_QEMU), "HIKKOSHI_HV": own, **unpacking}


@functools.cache
def guestfs_python() -> str:
    """The first Python of this machine that can import guestfs: its binding belongs to the system's own."""
    for candidate in PYTHONS:
        if os.access(candidate, os.X_OK):
            found = run([candidate, "-I", "-c", "import guestfs"], timeout=60, ok=range(256))
            if found.returncode == 0:
                return candidate
    raise ToolFailed(
        Problem(
            code="libguestfs-python-missing",
            what="no Python of this machine can open guest disks",
            where=", ".join(PYTHONS),
            found="none of them can import guestfs",
            expected="libguestfs with its Python binding (Debian: python3-guestfs; Red Hat: python3-libguestfs)",
            remedy="`hikkoshi doctor` says how to install it",
        )
    )
