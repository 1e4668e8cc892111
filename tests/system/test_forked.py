"""Kernels that are forked: each a process of its own, as one that Jupyter starts, and nothing that it started is left."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from processes import PATIENCE

FIRST = """
import atexit, builtins, os, signal, sys, threading, time
builtins.left = "by the first"
if os.fork() == 0:  # without a program of its own, and of a session of its own
    os.setsid()
    open("daemon", "w").write(str(os.getpid()))
    time.sleep(600)
    os._exit(0)
while not os.path.exists("daemon") or not open("daemon").read():
    time.sleep(0.01)
atexit.register(lambda: open("ended", "w").write("by itself"))
signal.signal(signal.SIGTERM, lambda signum, frame: open("ended", "w").write("told to"))

def slowly(act, name, seconds, here=threading.current_thread, sleep=time.sleep):  # the notebook's own names go before it ends
    def later(*words, **more):
        if here().name == name:
            sleep(seconds)
        return act(*words, **more)
    return later

outputs = sys.stdout.pub_thread  # whoever gives it something to send must not find it about to end
outputs.schedule, outputs.io_loop.close = slowly(outputs.schedule, "Control", 0.1), slowly(outputs.io_loop.close, "IOPub", 0.3)
"""
SECOND = """
import builtins, json, os, signal, sys
seen = {
    "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "left": hasattr(builtins, "left"),
    "open": [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")],
    "mark": os.environ["HIKKOSHI_KERNEL"], "canary": os.environ["CANARY"], "cwd": os.getcwd(), "path": sys.path,
    "shown": open("/proc/self/environ").read().split("\\0"), "terminates": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
}
json.dump(seen, open("seen", "w"))
os.write(1, b"last words: correct-horse")
os.kill(os.getpid(), signal.SIGKILL)
"""
RUNNER = """
import json, os, papermill, sys
from hikkoshi.record.engine import forked
from hikkoshi.record.engine.notebook import DeadKernelError
kept = open("kept", "w")
os.set_inheritable(kept.fileno(), True)
os.environ["CANARY"] = "set after the start"
with forked.server() as kernels:
    taken, fork = [], kernels.fork
    kernels.fork = lambda *order: taken.append(fork(*order)) or taken[-1]
    for name in ("first", "second"):
        try:
            how = {"engine_name": "hikkoshi", "progress_bar": False, "kernels": kernels}
            papermill.execute_notebook(f"{name}.ipynb", f"{name}.out.ipynb", **how)
        except DeadKernelError as e:
            print(e, file=sys.stderr)
json.dump({"pid": os.getpid(), "taken": taken}, open("runner", "w"))
"""


def build(folder: Path, name: str, source: str) -> None:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["verify"]})
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a program without threads has run two notebooks: one leaves a daemon, the other kills its own kernel."""
    folder = tmp_path_factory.mktemp("forked")
    build(folder, "first", FIRST)
    build(folder, "second", SECOND)
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def told(place: Path, name: str) -> Any:
    return json.loads((place / name).read_text())


def test_each_kernel_is_a_process_of_its_own_and_a_child_of_the_runner(place: Path) -> None:
    seen, runner = told(place, "seen"), told(place, "runner")
    first, second = runner["taken"]
    assert (seen["pid"], seen["session"], seen["parent"]) == (second, second, runner["pid"])
    assert first != second
    assert not seen["left"], "what the first kernel did to Python"


def test_a_forked_kernel_finds_what_one_that_is_started_finds(place: Path) -> None:
    seen = told(place, "seen")
    assert (seen["cwd"], seen["canary"], seen["terminates"]) == (str(place), "set after the start", True)
    assert "" in seen["path"]
    assert not [name for name in seen["open"] if name.endswith("/kept")], "a lock of the runner's is not the kernel's"
    assert f"HIKKOSHI_KERNEL={seen['mark']}" in seen["shown"]


def test_what_a_forked_kernel_leaves_is_ended_also_where_it_has_run_no_program(place: Path) -> None:
    daemon = Path(f"/proc/{(place / 'daemon').read_text()}/stat")
    assert not daemon.exists() or daemon.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_forked_kernel_ends_by_itself_as_any_python_does(place: Path) -> None:
    assert (place / "ended").read_text() == "by itself"


def test_how_a_forked_kernel_died_and_its_last_words_are_told(place: Path) -> None:
    (cell,) = nbformat.read(place / "second.out.ipynb", as_version=4).cells
    (error,) = cell.outputs
    assert (error.ename, cell.metadata.papermill.status) == ("DeadKernelError", "failed")
    assert "ended by SIGKILL" in error.evalue
    assert "last words" in error.evalue
