"""The runbooks as a person and as the runner goes through them, and what a look at a guest leaves."""

import atexit
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from hikkoshi.params.home import Home
from hikkoshi.record.engine import execution
from hikkoshi.record.engine.execution import Outcome
from hikkoshi.record.engine.forked import PATIENCE, ForkServer
from hikkoshi.run.journal import Journal

PROJECT = Path(__file__).parents[1]
IN_ORDER = (
    "00-start-here",
    "10-survey",
    "20-plan",
    "30-prepare",
    "40-convert",
    "50-rehearse",
    "60-deploy",
    "70-cutover",
    "75-rollback",
    "80-netperf",
    "85-offloads",
    "90-report",
    "95-fleet",
)
EARLY = ["-p", "hikkoshi.record"]  # before nbval: it keeps away what takes notebooks long to load
SERVER = """
import os, socket
from hikkoshi.record.engine import execution, forked
forked.load()
forked._serve(socket.socket(fileno=FD), os.getppid(), forked.begin_kernel)
"""
NBVAL = ["--nbval-current-env", "--nbval-cell-timeout=900", "-q", "-p", "no:cacheprovider", "-W", "error::UserWarning", "-c"]
PARAMETERS = 'guest = "gateway"  # name\nmode = "plan"\nhome = ""'
OPEN = 'from hikkoshi.run.run import open_run\nrun = open_run("40-convert", vars())'
VERIFY = (
    'from hikkoshi.check import Check\nrun.verify([Check(code="a-code", title="done", ok=done.exists())])\nrun.evidence([done])'
)


def install(home: Home, *actions: str, verify: str = VERIFY, step: str = "40-convert", parameters: str = PARAMETERS) -> None:
    """Give the home a notebook of its own for one step."""
    sources = [(parameters, "parameters"), (OPEN.replace("40-convert", step), "open")]
    sources += [(a, "action") for a in actions]
    sources += [(verify, "verify")]
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(s), metadata={"tags": [t]}) for s, t in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (home.root / "notebooks").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), home.root / "notebooks" / f"{step}.ipynb")


def parameters(root: Path) -> Home:
    """A home with the shipped parameters, in which a network namespace plays the gateway also after its move.

    One that boots in QEMU takes the tests too long.
    """
    shutil.copytree(PROJECT / "params", root / "params")
    guest = root / "params" / "guests" / "gateway.yml"
    text = re.sub(r"shell: ssh://\S+", "shell: netns:outputs/lab/netns/gw", guest.read_text())
    guest.write_text(re.sub(r"link_mbps: \d+", "link_mbps: 100", text))
    return Home(root)


def nbval(home: Home, *names: str, how: str = "--nbval-lax") -> "subprocess.CompletedProcess[str]":
    """Go through runbooks with their defaults; `--nbval` compares all that they show with what is stored in them."""
    notebooks = [str(PROJECT / "notebooks" / f"{n}.ipynb") for n in names]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *EARLY, how, *NBVAL, os.devnull, *notebooks],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root)},
        cwd=home.root,
        capture_output=True,
        text=True,
        timeout=2400,
        check=False,
    )


class Kernels(ForkServer):
    """A fork server for a process with threads, as pytest's are: a program of its own, and not forked itself."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.settimeout(PATIENCE)
        argv = [sys.executable, "-c", SERVER.replace("FD", str(theirs.fileno()))]
        self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        theirs.close()

    def close(self) -> None:
        self._door.close()
        self._process.kill()
        self._process.wait()


@functools.cache
def kernels() -> Kernels:
    """One for all tests of a process: what each kernel loads is loaded once."""
    server = Kernels()
    atexit.register(server.close)
    return server


def execute(*args: Any, **options: Any) -> Outcome:
    """What `hikkoshi run` does with a step, in this process: its kernel is forked, too."""
    return execution.execute(*args, kernels=kernels(), **options)


@dataclass(frozen=True)
class Look:
    """A guest that was looked at in plan mode before anything was done: how that ended, and what it left."""

    returncode: int
    told: str
    rows: list[dict[str, Any]]  # of its actions, in the journal
    files: set[str]  # names in its folder

    @classmethod
    def after(cls, run: "subprocess.CompletedProcess[str]", folder: Path) -> "Look":
        """What there is in the guest's folder when a look has ended."""
        rows = [e for e in Journal(folder / "journal.jsonl").entries() if e["event"] == "step"]
        return cls(run.returncode, run.stdout[-6000:] + run.stderr, rows, {p.name for p in folder.iterdir()})
