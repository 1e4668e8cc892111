"""The command line without its start: forked from a process that has loaded it once, for tests that start hundreds.

What `command` gives is started as `python -m hikkoshi.cli.main` is. It hands its environment, folder, umask and streams to
that process, and ends as the command ends that is forked there: a process of its own, in which nothing of another one is.
Whoever kills a command, or begins it in a namespace, starts a real one: `processes.COMMAND`.
"""

import atexit
import functools
import os
import socket
import subprocess
import sys

LOADED = (
    *(
        "hikkoshi.cli.main",
        "hikkoshi.fleet.appointment",
        "hikkoshi.fleet.console",
        "hikkoshi.fleet.fleet",
        "hikkoshi.fleet.local",
        "hikkoshi.fleet.night",
        "hikkoshi.fleet.sequence",
    ),
    *("hikkoshi.approval.proposal", "hikkoshi.record.verification", "hikkoshi.run.duration", "hikkoshi.run.status"),
)
LARGEST = 1 << 18  # bytes of an order
STDIO = range(3)


@functools.cache
def command() -> list[str]:
    """What starts a command; the process that has loaded it ends with ours."""
    place = f"hikkoshi-{os.getpid()}"
    ours, theirs = socket.socketpair()
    argv, nobody = [sys.executable, __file__, place, str(theirs.fileno())], subprocess.DEVNULL
    server = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=nobody, stdout=nobody)
    theirs.close()
    assert ours.recv(1), "it has loaded everything"

    @atexit.register
    def end() -> None:
        ours.close()
        server.wait()

    return [sys.executable, "-I", "-S", __file__, place]


def ask(place: str, argv: list[str]) -> int:
    """Have a command forked, and wait for its exit code."""
    mask = os.umask(0o077)
    os.umask(mask)
    words = [os.path.realpath("."), str(mask), str(len(argv)), *argv, *(f"{k}={v}" for k, v in os.environ.items())]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.connect(f"\0{place}")
        socket.send_fds(door, [b"\0".join(map(os.fsencode, words))], STDIO)
        return int(door.recv(LARGEST))


def serve(place: str, life: int) -> None:
    """Fork commands until whoever started us has gone."""
    import gc
    import importlib
    import select
    import signal

    for module in LOADED:
        importlib.import_module(module)
    importlib.import_module("hikkoshi.record.engine.forked").load()  # what the kernels of its runs load
    gc.freeze()  # these pages stay shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(f"\0{place}")
        door.listen(64)
        os.write(life, b"!")
        while door in select.select([door, life], [], [])[0]:
            caller = door.accept()[0]
            if os.fork() == 0:
                _carry_out(caller)
            caller.close()


def _carry_out(caller: socket.socket) -> None:
    """Run one, and tell its exit code; it ends with whoever asked for it."""
    import select
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order, stdio, *_ = socket.recv_fds(caller, LARGEST, len(STDIO))
    pid = os.fork()
    if pid == 0:
        _become(order.split(b"\0"), stdio)
    for handle in stdio:
        os.close(handle)
    process = os.pidfd_open(pid)
    if process not in select.select([caller, process], [], [])[0]:
        os.kill(pid, 9)
    caller.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255).encode())
    os._exit(0)


def _become(order: list[bytes], stdio: list[int]) -> None:
    """What `python -m hikkoshi.cli.main` does, once everything is loaded."""
    import contextlib
    import tempfile
    import threading
    import traceback

    code: object = 1
    try:
        for number, handle in zip(STDIO, stdio, strict=True):
            os.dup2(handle, number)
        os.closerange(len(STDIO), os.sysconf("SC_OPEN_MAX"))
        folder, mask, count, *words = map(os.fsdecode, order)
        os.chdir(folder)
        os.umask(int(mask))
        os.environ.clear()
        os.environ.update(word.split("=", 1) for word in words[int(count) :])
        sys.argv = ["hikkoshi", *words[: int(count)]]
        sys.path[0] = folder
        tempfile.tempdir = None  # the environment names it
        from hikkoshi.cli.main import main

        main()
        code = 0
    except SystemExit as e:
        code = e.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    if sys.flags.isolated:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1], int(sys.argv[2]))
