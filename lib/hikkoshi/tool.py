"""The one place that starts other programs and waits for them.

Children die with us (`setpriv --pdeathsig`), and inherit the guest's lock: should one outlive us all the same, the
guest stays locked for exactly as long. Of our environment they get what `INHERITED` names: a password in it is for us alone.
"""

import contextlib
import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hikkoshi.errors import Problem, ToolFailed

INHERITED = re.compile(  # where things are, and in which language; the marks by which a kernel's children are found
    "PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|TERM|LANG|LANGUAGE|LC_[A-Z]+|XDG_[A-Z_]+|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)"
    "|(LIBGUESTFS|SUPERMIN|FONTCONFIG)_[A-Z_]+|HIKKOSHI_(HOME|RUN|KERNEL)"
)
AGENTS = re.compile(  # how a key is used that lies elsewhere: for those programs alone that ask for it
    "SSH_AUTH_SOCK|SSH_ASKPASS(_REQUIRE)?|SSH_SK_PROVIDER|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|KRB5CCNAME|KRB5_CONFIG"
)
SANDBOXED_QEMU = Path(__file__).with_name("sandboxed-qemu")
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
                remedy="run `make setup`, then `hikkoshi doctor` to see what is still missing",
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
            raise ToolFailed(
                Problem(
                    code="program-timed-out",
                    what=f"{argv[0]} took too long and was ended",
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
                code="program-failed",
                what=f"{argv[0]} failed",
                where=" ".join(map(str, argv)),
                found=f"exit status {result.returncode}: {tail(result.stderr or result.stdout)}",
                expected=f"exit status {' or '.join(map(str, ok))}",
                remedy="the program's own words above name the cause; nothing it wrote is used",
            )
        )
    return result


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
    with process:  # closes its pipes and waits
        pass


def tail(text: str, lines: int = 12) -> str:
    """The last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-lines:]) or "(it printed nothing)"


def guestfs_environment() -> dict[str, str]:
    """What libguestfs' programs get besides: their QEMU, which opens guests' disks, is started in its own sandbox.

    Where it emulates the processor, the kernel of its appliance is unpacked before, once: each start is then shorter.
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
            remedy="run `make setup`",
        )
    )
