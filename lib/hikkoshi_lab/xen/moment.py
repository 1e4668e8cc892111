"""The moment in which the lab's Xen and all its guests run, kept: later starts go on from there, in seconds.

Its memory is a file, as QEMU's migration writes it; its disks are layers (qcow2) above those that were built. Whoever goes on
from it writes to layers of its own, so that nothing is copied. Only the same QEMU with the same hardware can go on from it.
"""

import json
import shlex
import socket
import time
from pathlib import Path
from typing import Any

from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed

MEMORY = "memory"
PATIENCE = 300.0  # seconds


def layer(below: Path, path: Path) -> None:
    """A disk that is what another one is, until somebody writes to it."""
    tool.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, path])


def incoming(folder: Path) -> list[str]:
    """QEMU's arguments to go on from the moment that a folder holds."""
    return ["-incoming", f"exec:cat {shlex.quote(str(folder / MEMORY))}"]


def keep(monitor: Path, memory: Path) -> None:
    """Have a running QEMU stand still, and write its memory into a file; `StepFailed` where it does not."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(PATIENCE)
        channel.connect(str(monitor))
        with channel.makefile("rw") as stream:

            def tell(command: str, **arguments: Any) -> Any:
                stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                stream.flush()
                while not {"return", "error"} & (answer := json.loads(stream.readline())).keys():
                    pass  # the greeting, or an event
                if "error" in answer:
                    raise _not_kept(command, answer["error"])
                return answer["return"]

            tell("qmp_capabilities")
            tell("stop")
            tell("migrate-set-parameters", **{"max-bandwidth": 1 << 34})
            tell("migrate", uri=f"exec:cat >{shlex.quote(str(memory))}")
            end = time.monotonic() + PATIENCE
            while (told := tell("query-migrate")).get("status") != "completed":
                if told.get("status") in ("failed", "cancelled") or time.monotonic() > end:
                    raise _not_kept("migrate", told)
                time.sleep(0.2)


def _not_kept(command: str, told: object) -> StepFailed:
    return StepFailed(
        Problem(
            code="lab-xen-not-kept",
            what="QEMU does not keep the moment in which the lab's Xen runs",
            where=command,
            found=str(told),
            expected="its memory in a file",
            remedy="see whether there is room in the cache (~/.cache/hikkoshi), then try again",
        )
    )
