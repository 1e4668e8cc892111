"""What was fetched from a guest becomes facts in a process of its own, with limits of time and memory.

Whoever rules the guest chooses these bytes. Some that are small take hours to read, or more memory than there is; then this
process is ended, and the guest is refused.
"""

import dataclasses
import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import hikkoshi
from hikkoshi import tool
from hikkoshi.errors import BadInput, Problem, ToolFailed
from hikkoshi.guest import inspection
from hikkoshi.guest.facts import GuestFacts

SECONDS = 300.0  # ten kernels' initrds take ten
MEMORY = 2 << 30  # bytes of address space


def facts(raw: dict[str, Any], folder: Path, loader: str, disk: str, *, seconds: float = SECONDS) -> GuestFacts:
    """As `inspection.facts`, within `seconds`; `BadInput` too where that is not enough, or the memory is not.

    `RuntimeError` for an error that nobody foresaw, with its whole story as a note.
    """
    job = json.dumps({"raw": raw, "folder": str(folder), "loader": loader, "disk": disk})
    argv = [sys.executable, "-P", "-m", __name__]
    where = {"PYTHONPATH": str(Path(hikkoshi.__file__).parents[1])}  # this very version, wherever it lies
    try:
        done = tool.run(argv, stdin=job, timeout=seconds, env=where, ok=range(-64, 256))  # what it may mean: below
    except ToolFailed as e:
        if isinstance(e.__context__, subprocess.TimeoutExpired):
            raise _too_much(disk, e.problems[0].found, seconds) from None
        raise
    last = tool.tail(done.stderr, 1)
    if done.returncode < 0:
        raise _too_much(disk, f"ended by signal {-done.returncode}", seconds)
    if done.returncode and re.match(r"MemoryError|OSError: \[Errno 12\]", last):
        raise _too_much(disk, last, seconds)
    if done.returncode:
        unforeseen = RuntimeError(f"reading the files of the guest failed: {last}")
        unforeseen.add_note(done.stderr)
        raise unforeseen
    answer = json.loads(done.stdout)
    if "problems" in answer:
        raise BadInput(*(Problem(**p) for p in answer["problems"]))
    return GuestFacts.model_validate(answer["facts"])


def _too_much(disk: str, found: str, seconds: float) -> BadInput:
    return BadInput(
        Problem(
            code="guest-files-too-much",
            what="the files of the guest take unreasonably much to read",
            where=disk,
            found=found,
            expected=f"all of them read within {seconds:g} s and {MEMORY >> 30} GiB of memory",
            remedy="look in the running guest for what is strange in its boot menu, initrds, and the files of its network; if "
            "this machine is only busy, run the step again",
        )
    )


def main() -> None:
    """Read the job on standard input, write the facts or what is wrong to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    job = json.load(sys.stdin)
    try:
        found = inspection.facts(job["raw"], Path(job["folder"]), job["loader"], job["disk"])
    except BadInput as e:
        json.dump({"problems": [dataclasses.asdict(p) for p in e.problems]}, sys.stdout)
    else:
        json.dump({"facts": found.model_dump(mode="json")}, sys.stdout)


if __name__ == "__main__":
    main()
