"""However a run ends, the notebook, the exit code, the journal, the status, the report and the sealed record tell the same."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

import warm
from hikkoshi.params.home import Home
from hikkoshi.record import bag, seal
from hikkoshi.report import report, story
from hikkoshi.run.journal import Journal
from hikkoshi.run.status import status
from processes import PATIENCE, wait_for

PARAMETERS = 'guest = "gateway"  # name\nmode = "plan"\nhome = ""'
OPEN = """
import os, signal, time
from hikkoshi.errors import *
from hikkoshi.run.run import open_run
run = open_run("40-convert", vars())
"""
END = "run.verify([])\nrun.evidence([])"
WAITING = "(run.folder / 'waiting').touch(); time.sleep(300)"
GREEDY = """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
bytearray(2**30)
"""
COMMAND = "from hikkoshi.cli.main import main; main()"
IMPATIENT = """
import functools
from hikkoshi.fleet import sequence
from hikkoshi.record.engine import execution, notebook
sequence.execute = functools.partial(execution.execute, timeout_per_cell=1)
seconds = notebook.HonestClient._get_timeout
notebook.HonestClient._get_timeout = lambda self, cell: seconds(self, cell) if cell and "action" in cell.metadata.tags else None
"""  # with the action alone: the cells before it take their time on a loaded machine


@dataclass(frozen=True)
class Case:
    """A way to end: what the runbook's action does, or is done to the runner, and what has to be told of it."""

    action: str
    outcome: str
    error: str = ""  # class of the error, as journal and notebook name it
    code: int = 1
    tag: str = "action"
    kernel: str = "python3"
    signal: int = 0  # sent to the runner once it waits
    before: str = ""  # code that the runner runs first


CASES = {
    "success": Case("pass", "succeeded", code=0),
    "plain error": Case("1 / 0", "failed", "ZeroDivisionError"),
    "bad input": Case("raise BadInput(Problem(code='a-code', what='bad'))", "failed", "BadInput", 2),
    "refused": Case("raise Refused(Problem(code='a-code', what='no'))", "failed", "Refused", 3),
    "exit 0": Case("raise SystemExit(0)", "failed", "StepFailed"),
    "exit 0 by the shell": Case("import sys; sys.exit()", "failed", "StepFailed"),
    "skipped cell": Case("pass", "failed", "StepFailed", tag="skip-execution"),
    "cell time-out": Case("time.sleep(60)", "failed", "CellTimeoutError", before=IMPATIENT),
    "kernel ended itself": Case("os._exit(0)", "failed", "DeadKernelError"),
    "SIGKILL of the kernel": Case("os.kill(os.getpid(), signal.SIGKILL)", "failed", "DeadKernelError"),
    "kernel that is not there": Case("pass", "failed", "BadInput", 2, kernel="no-such-kernel"),
    "kernel that dies while it starts": Case("pass", "failed", "DeadKernelError", kernel="stillborn"),
    "no memory left": Case(GREEDY, "failed", "MemoryError"),
    "SIGTERM": Case(WAITING, "interrupted", "Interrupted", 143, signal=signal.SIGTERM),
    "Ctrl-C": Case(WAITING, "interrupted", "Interrupted", 130, signal=signal.SIGINT),
    "SIGKILL of the runner": Case(WAITING, "interrupted", code=-9, signal=signal.SIGKILL),
}


def install(home: Home, case: Case) -> None:
    stillborn = home.root / "jupyter" / "kernels" / "stillborn"
    stillborn.mkdir(parents=True)
    words = {"argv": [sys.executable, "-c", "exit('a library is missing')"], "display_name": "x", "language": "python"}
    (stillborn / "kernel.json").write_text(json.dumps(words))
    sources = [(PARAMETERS, "parameters"), (OPEN, "open"), (case.action, case.tag), (END, "verify")]
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(s), metadata={"tags": [t]}) for s, t in sources]
    metadata = {"kernelspec": {"name": case.kernel, "display_name": case.kernel, "language": "python"}}
    (home.root / "notebooks").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), home.root / "notebooks" / "40-convert.ipynb")


def start(home: Home, before: str = "", *prefix: str, signalled: bool = False) -> "subprocess.Popen[str]":
    arguments = ["run", "gateway", "--only", "40", "--apply", "--json"]
    own = before or prefix or signalled  # a process that has to be the command's own
    return subprocess.Popen(
        [*prefix, *([sys.executable, "-c", before + COMMAND] if own else warm.command()), *arguments],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root), "JUPYTER_PATH": str(home.root / "jupyter")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def notebook(home: Home) -> tuple[Path, Any]:
    (path,) = (home.folder("gateway") / "runs").glob("*.ipynb")
    return path, nbformat.read(path, as_version=4)


def code(nb: Any) -> list[Any]:
    return [c for c in nb.cells if c.cell_type == "code"]


def errors(nb: Any) -> list[str]:
    return [o.ename for c in code(nb) for o in c.outputs if o.output_type == "error"]


def by_its_cells(nb: Any) -> str:
    """How the run ended, by what a reader sees in the cells."""
    states = [c.metadata.papermill["status"] for c in code(nb)]
    ran = [c.execution_count is not None for c in code(nb)]
    assert all(has_run for has_run, state in zip(ran, states, strict=True) if state == "completed"), "completed, never run"
    if "failed" in states:
        return "interrupted" if "Interrupted" in errors(nb) else "failed"
    return "succeeded" if all(ran) else "interrupted"


WORDS = {"done": "succeeded", "failed": "failed", "interrupted": "interrupted", "never": "never"}


def verdicts(home: Home) -> dict[str, str]:
    """{who tells: how the run ended}."""
    path, nb = notebook(home)
    entries = Journal(home.folder("gateway") / "journal.jsonl").entries()
    lines = [e["outcome"] for e in entries if e["event"] == "outcome"]
    (line,) = lines or ["interrupted"]  # nobody was left to write it
    (step,) = [s for s in story.gather(home, "gateway").steps if s.step == "40-convert"]
    (record,) = (home.outputs / "records" / "gateway").glob("[!.]*")
    told = {
        "the notebook's cells": by_its_cells(nb),
        "the journal": line,
        "the status": WORDS[status(home, ["gateway"])[0].state],
        "the report's story": WORDS[step.run.state if step.run else "never"],
        "the record": bag.read_info(record)["Outcome"],
    }
    page = re.sub(r"<[^>]+>", " ", report.write(home, "gateway").read_text())
    word = next(w for w, same in WORDS.items() if same == line)
    told["the report"] = line if re.search(rf"40-convert\s[^.]*?\b{word}\b", page) else f"not {word}"
    if "hikkoshi" in nb.metadata:
        told["the notebook's metadata"] = nb.metadata.hikkoshi.outcome
    (kept,) = record.glob("data/2*.ipynb")
    assert json.loads(kept.read_bytes())["cells"] == json.loads(path.read_bytes())["cells"]
    return told


@pytest.mark.parametrize("name", CASES)
def test_all_who_tell_of_a_run_tell_the_same(home: Home, name: str) -> None:
    case = CASES[name]
    install(home, case)
    runner = start(home, case.before, signalled=bool(case.signal))
    if case.signal:
        wait_for((home.folder("gateway") / "waiting").exists, "the cell waits")
        runner.send_signal(case.signal)
    out, err = runner.communicate(timeout=PATIENCE)
    if case.signal == signal.SIGKILL:
        wait_for(lambda: status(home, ["gateway"])[0].state != "running", "the run is over")
        seal.pending(home, "gateway")  # as the next run of this guest does
    assert runner.returncode == case.code, err
    told = verdicts(home)
    assert set(told.values()) == {case.outcome}, told
    _, nb = notebook(home)
    assert (case.error in errors(nb)) == bool(case.error)
    if case.outcome != "succeeded":
        assert code(nb)[-1].execution_count is None
        assert code(nb)[-2].metadata.papermill["status"] != "completed"
    if out:
        (step,) = json.loads(out)["guests"][0]["steps"]
        assert (step["outcome"], step["error"], step["exit_code"]) == (case.outcome, case.error, case.code)
        assert (case.error or "succeeded") in err, "the console"
        assert status(home, ["gateway"])[0].error.startswith(case.error)
    assert ("a library is missing" in err) == (case.kernel == "stillborn")


@contextlib.contextmanager
def memory(limit: int) -> Iterator[Path]:
    """A control group of the memory controller; what is in it and needs more than `limit` bytes, the system kills."""
    root = Path("/sys/fs/cgroup/memory")
    first = root.is_dir()
    group = (root if first else root.parent) / f"hikkoshi-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
    except OSError as e:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group of our own: {e}")
    try:
        yield group
    finally:
        for _ in range(50):
            with contextlib.suppress(OSError):
                group.rmdir()
            if not group.exists():
                break
            time.sleep(0.1)


@pytest.mark.needs("root")
def test_a_kernel_that_the_system_kills_for_its_memory_is_a_failure_to_everybody(home: Home) -> None:
    with memory(400 << 20) as group:
        greedy = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\nx = bytearray(2**30)"
        install(home, Case(greedy, "failed"))
        runner = start(home)
        out, err = runner.communicate(timeout=PATIENCE)
    assert runner.returncode == 1, err
    told = verdicts(home)
    assert set(told.values()) == {"failed"}, told
    _, nb = notebook(home)
    assert errors(nb) == ["DeadKernelError"]
    assert "SIGKILL" in code(nb)[-2].outputs[-1].evalue
    assert "memory" in json.loads(out)["guests"][0]["steps"][0]["message"]


def on_a_small_disk(home: Home, folder: Path, megabytes: int) -> tuple[int, str, str]:
    """The command with a folder that is a disk of its own: exit code, stdout and stderr. What is on it stays, as files."""
    folder.mkdir(parents=True)
    kept = home.root / "kept"  # the disk goes with its namespace: what is on it is taken away before
    inside = f'mount -t tmpfs -o size={megabytes}m none {folder} && "$@"; code=$?; cp -a {folder} {kept}; exit $code'
    runner = start(home, "", "unshare", "--mount", "bash", "-c", inside, "bash")
    out, err = runner.communicate(timeout=PATIENCE)
    shutil.rmtree(folder)
    kept.rename(folder)
    return runner.returncode, out, err


@pytest.mark.needs("root", "unshare", "mount", "bash")
@pytest.mark.parametrize("where", ["outputs/guests", "outputs"])
def test_a_disk_that_is_full_is_a_failure_to_everybody(home: Home, where: str) -> None:
    install(home, Case('for _ in range(40_000): print("y" * 99)', "failed"))
    code, out, err = on_a_small_disk(home, home.root / where, 2)
    assert code == 1, err
    assert "No space left on device" in err
    (step,) = json.loads(out)["guests"][0]["steps"]
    assert (step["outcome"], step["error"]) == ("failed", "OSError")
    if where == "outputs" and not step["sealed"]:
        assert seal.pending(home, "gateway"), "there is room again"
    told = verdicts(home)
    assert set(told.values()) == {"failed"}, told
    assert errors(notebook(home)[1]) == ["OSError"]


@pytest.mark.needs("root", "unshare", "mount", "bash")
def test_a_disk_without_any_room_is_a_success_to_nobody(home: Home) -> None:
    fill = """
        with (run.folder / "all").open("wb", buffering=0) as f:
            try:
                while True: f.write(bytes(100))
            except OSError: pass
        """
    install(home, Case(fill, "interrupted"))
    code, _, err = on_a_small_disk(home, home.outputs / "guests", 1)
    assert code == 1
    assert "how the run ended cannot be written" in err
    assert "No space left on device" in err
    seal.pending(home, "gateway")  # there is room again
    told = verdicts(home)
    assert set(told.values()) == {"interrupted"}, told
