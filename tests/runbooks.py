"""The runbooks as a person goes through them, and what a look at a guest leaves."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hikkoshi.params.home import Home
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
)
EARLY = ["-p", "hikkoshi.record"]  # before nbval: it keeps away what takes notebooks long to load
NBVAL = ["--nbval-current-env", "--nbval-cell-timeout=900", "-q", "-p", "no:cacheprovider", "-W", "error::UserWarning", "-c"]


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
