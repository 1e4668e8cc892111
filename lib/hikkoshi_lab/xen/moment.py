"""The moment in which the lab's Xen and all its guests run, kept: later starts go on from there, in seconds.

Its memory is a file, as QEMU's migration writes it; its disks are layers (qcow2) above those that were built. Whoever goes on
from it writes to layers of its own, so that nothing is copied. Only the same QEMU with the same hardware can go on from it.
"""

import json
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed

MEMORY = "memory"
PATIENCE = 300.0  # seconds
_Tell = Callable[..., Any]


def layer(below: Path, path: Path) -> None:
    """A disk that is what another one is, until somebody writes to it."""
    tool.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, path])


def incoming(folder: Path) -> list[str]:
    """QEMU's arguments to begin with the moment that a folder holds; `go_on` is needed then."""
    return ["-incoming", f"exec:cat {shlex.quote(str(folder / MEMORY))}"]


def keep(monitor: Path, folder: Path) -> None:
    """Have a running QEMU stand still, and write its memory into a folder; `StepFailed` where it does not."""
    with _asked(monitor) as tell:
        tell("stop")
        tell("migrate-set-parameters", **{"max-bandwidth": 1 << 34})
        tell("migrate", uri=f"exec:cat >{shlex.quote(str(folder / MEMORY))}")
        _until(lambda: tell("query-migrate").get("status"), "completed", ("failed", "cancelled"))


def go_on(monitor: Path) -> None:
    """Have a QEMU that has begun with a moment go on from it; `StepFailed` where it does not."""
    with _asked(monitor) as tell:
        _until(lambda: tell("query-status")["status"], "paused", ("internal-error", "io-error"))
        tell("cont")


def _until(found: Callable[[], str | None], wanted: str, bad: tuple[str, ...]) -> None:
    end = time.monotonic() + PATIENCE
    while (now := found()) != wanted:
        if now in bad or time.monotonic() > end:
            raise _failed(str(now))
        time.sleep(0.1)


@contextmanager
def _asked(monitor: Path) -> Iterator[_Tell]:
    """A way to tell QEMU something, and get its answer."""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE)
            _until(lambda: "there" if monitor.exists() else None, "there", ())
            channel.connect(str(monitor))
            with channel.makefile("rw") as stream:

                def tell(command: str, **arguments: Any) -> Any:
                    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                    stream.flush()
                    while not {"return", "error"} & (answer := json.loads(stream.readline() or '{"error": "gone"}')).keys():
                        pass  # the greeting, or an event
                    if "error" in answer:
                        raise _failed(f"{command}: {answer['error']}")
                    return answer["return"]

                tell("qmp_capabilities")
                yield tell
    except OSError as e:
        raise _failed(str(e)) from None


def _failed(found: str) -> StepFailed:
    return StepFailed(
        Problem(
            code="lab-xen-not-kept",
            what="QEMU does not keep the moment in which the lab's Xen runs, or does not go on from it",
            where="its monitor",
            found=found,
            expected="its memory in a file, and its processors running",
            remedy="see whether there is room in the cache (~/.cache/hikkoshi); remove its folder xen, then try again",
        )
    )
