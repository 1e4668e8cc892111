"""The process that runs the lab's machines: beside its vCenter and its network, and never longer than these."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import hikkoshi
from hikkoshi import files, tool
from hikkoshi.params.home import Home
from hikkoshi_lab import vcsim
from hikkoshi_lab.vcsim import Daemon

PID_FILE, LOG, TEMPORARY = "body.json", "body.log", "bodies"  # in the lab's folder


def keep(home: Home, folder: Path) -> Daemon:
    """Start it for the lab in a folder of this home, as root, or find it running."""
    known = find(folder)
    if known:
        return known
    remove(folder)
    (folder / TEMPORARY).mkdir()
    own = {"PYTHONPATH": str(Path(hikkoshi.__file__).parents[1]), "TMPDIR": str(folder / TEMPORARY)}
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hikkoshi_lab.body", home.root, folder],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=tool.environment(sys.executable) | own,
            start_new_session=True,
        )
    process.returncode = 0  # Daemon.end waits for it, not this object
    started = Daemon(process.pid, vcsim.started(process.pid))
    files.write(folder / PID_FILE, json.dumps(started.__dict__) + "\n")
    return started


def find(folder: Path) -> Daemon | None:
    """The one that was started for the lab in a folder, if it still runs."""
    try:
        known = Daemon(**json.loads((folder / PID_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return known if known.alive else None


def remove(folder: Path) -> None:
    """End it, with every machine that it runs, and remove what it left."""
    if known := find(folder):
        known.end()
    shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
    for name in (PID_FILE, LOG):
        (folder / name).unlink(missing_ok=True)
