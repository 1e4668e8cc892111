"""The one place that starts other programs and waits for them.

Children die with us (`setpriv --pdeathsig`), and inherit the guest's lock: should one outlive us all the same, the
guest stays locked for exactly as long.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hikkoshi.errors import Problem, ToolFailed

PYTHONS = (sys.executable, "/usr/bin/python3", "/usr/libexec/platform-python")


def find(program: str) -> str:
    """Path of a program, or `ToolFailed` saying how to get it."""
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if path is None:
        raise ToolFailed(
            Problem(
                f"the program {program} is not installed",
                remedy="run `make setup`, then `hikkoshi doctor` to see what is still missing",
            )
        )
    return path


def command(argv: Sequence[str | Path]) -> list[str]:
    """The argument list that starts `argv` so that it dies with the calling thread.

    For `subprocess.Popen` with `close_fds=False`: Python's own descriptors are not inheritable, the guest's lock is.
    """
    return [find("setpriv"), "--pdeathsig", "KILL", "--", find(str(argv[0])), *map(str, argv[1:])]


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | bytes | None = None,
    timeout: float | None = 600,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    ok: Sequence[int] = (0,),
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed.

    `timeout` in seconds; at its end, or on Ctrl-C, the program's whole process group is killed. An exit status that is not
    in `ok` raises `ToolFailed` with the last lines that the program printed.
    """
    text = stdin.encode() if isinstance(stdin, str) else stdin
    process = subprocess.Popen(
        command(argv),
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env} if env else None,
        cwd=cwd,
        close_fds=False,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(text, timeout=timeout)
    except BaseException as e:
        end(process)
        if isinstance(e, subprocess.TimeoutExpired):
            raise ToolFailed(
                Problem(
                    f"{argv[0]} took too long and was ended",
                    where=" ".join(map(str, argv)),
                    found=f"still running after {timeout:g} s",
                    remedy="see whether the machine is overloaded, then run the step again",
                )
            ) from None
        raise
    result = subprocess.CompletedProcess(
        list(map(str, argv)), process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
    )
    if result.returncode not in ok:
        raise ToolFailed(
            Problem(
                f"{argv[0]} failed",
                where=" ".join(map(str, argv)),
                found=f"exit status {result.returncode}: {tail(result.stderr or result.stdout)}",
                expected=f"exit status {' or '.join(map(str, ok))}",
                remedy="the program's own words above name the cause; nothing it wrote is used",
            )
        )
    return result


def talk(argv: Sequence[str | Path]) -> None:
    """Run a program that may ask the person at the terminal, for a passphrase as a rule; `ToolFailed` where it fails."""
    done = subprocess.run([find(str(argv[0])), *map(str, argv[1:])], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ToolFailed(
            Problem(
                f"{argv[0]} failed",
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
    with process:  # closes its pipes and waits
        pass


def tail(text: str, lines: int = 12) -> str:
    """The last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-lines:]) or "(it printed nothing)"


@functools.cache
def guestfs_python() -> str:
    """The first Python of this machine that can import guestfs: its binding belongs to the system's own."""
    for candidate in PYTHONS:
        if Path(candidate).exists():
            found = run([candidate, "-I", "-c", "import guestfs"], timeout=60, ok=range(256))
            if found.returncode == 0:
                return candidate
    raise ToolFailed(
        Problem(
            "no Python of this machine can open guest disks",
            where=", ".join(PYTHONS),
            found="none of them can import guestfs",
            expected="libguestfs with its Python binding (Debian: python3-guestfs; Red Hat: python3-libguestfs)",
            remedy="run `make setup`",
        )
    )
