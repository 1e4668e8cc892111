"""What is run by hand in a kernel, as JupyterLab's, is on record like a batch: every cell, in the order in which it was run."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client import BlockingKernelClient, KernelManager

from hikkoshi.approval.approver import trust
from hikkoshi.params.home import Home
from hikkoshi.record import provenance, seal, verification
from processes import PATIENCE, wait_for
from sealed import apart, sealed_home, shell

pytestmark = pytest.mark.needs("ssh-keygen", "sha256sum")

SOURCES = {
    "parameters": 'guest = "nobody"\nmode = "plan"\nhome = ""',
    "open": 'from hikkoshi import show\nfrom hikkoshi.run.run import open_run\nrun = open_run("40-convert", vars())',
    "look": """
from IPython.display import clear_output, display
print("gone")
clear_output(wait=True)
print("one")
print("two")
bar = display("half", display_id=True)
show.nothing("a table")
bar.update("whole")
display({"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Button()"}, raw=True)
"beside"
""".strip(),
    "work": 'run.ensure("make it", holds=lambda: True, act=print)',
    "verify": "run.verify([])\nrun.evidence([])",
}


def install(home: Home) -> None:
    cells = [nbformat.v4.new_code_cell(s, id=name, metadata={"tags": [name]}) for name, s in SOURCES.items()]
    cells.insert(2, nbformat.v4.new_markdown_cell("Here is what there is. Look at it:"))
    (home.root / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), home.root / "notebooks" / "40-convert.ipynb")


class Window:
    """A window of JupyterLab."""

    def __init__(self, kernel: KernelManager) -> None:
        self.history, self.kernel = True, kernel
        self.client: BlockingKernelClient = kernel.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def begin(self, cell: str, source: str = "") -> str:
        content = {"code": source or SOURCES[cell], "silent": False, "store_history": self.history, "stop_on_error": True}
        message = self.client.session.msg("execute_request", content | {"user_expressions": {}, "allow_stdin": False})
        message["metadata"] = {"cellId": cell}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(self, cell: str, source: str = "") -> str:
        asked, printed = self.begin(cell, source), ""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            printed += message["content"].get("text", "")
            if (message["parent_header"].get("msg_id"), message["content"].get("execution_state")) == (asked, "idle"):
                return printed


@contextmanager
def jupyterlab(home: Home) -> Iterator[Window]:
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(home.root), env={k: v for k, v in os.environ.items() if k != "HIKKOSHI_RUN"})
    window = Window(kernel)
    try:
        yield window
    finally:
        window.client.stop_channels()
        kernel.shutdown_kernel(now=True)
        kernel.cleanup_resources()


def opened(home: Home, window: Window, *, history: bool = True) -> None:
    window.run("parameters", f'guest = "gateway"\nmode = "apply"\nhome = "{home.root}"')
    window.history = history
    window.run("open")
    window.history = True


def notebook(home: Home, record: Path) -> tuple[Any, list[Any]]:
    """A record's executed notebook, which has to be valid, and its cells of code; the record has to be good."""
    found = verification.verify(record, trust(home, home.site()))
    assert [str(p) for p in found.problems] == []
    assert shell(record, trust(home, home.site())) == []
    nb = nbformat.read(record / "data" / f"{record.name}.ipynb", as_version=4)
    nbformat.validate(nb)
    return nb, [c for c in nb.cells if c.cell_type == "code"]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """A run by hand, out of order, with a cell edited, one added that fails, one run again, and a secret printed."""
    home = sealed_home(tmp_path_factory.mktemp("hand") / "home")
    install(home)
    with jupyterlab(home) as window:
        opened(home, window)
        window.run("work")
        window.run("look")
        window.run("look", "print(open('outputs/lab/vcenter.password').read())")
        window.run("mine", "print('half \\udc83')\n1 / 0")
        Window(window.kernel).run("work")
        told = window.run("verify")
    (path,) = seal.folder(home, "gateway").iterdir()
    assert told.endswith(f"sealed · {seal.words(home, path)}\n")
    return home, path


def test_every_cell_is_on_record_in_the_order_in_which_it_was_run(record: tuple[Home, Path]) -> None:
    nb, cells = notebook(*record)
    assert [c.metadata.hikkoshi.cell for c in cells] == ["parameters", "open", "work", "look", "look", "", "work", "verify"]
    assert [c.execution_count for c in cells] == list(range(1, 9))
    assert cells[2].source == SOURCES["work"]
    times = [c.metadata.hikkoshi for c in cells[1:]]
    assert all(a.began < a.ended < b.began for a, b in pairwise(times))
    assert nb.metadata.hikkoshi.step == "40-convert"


def test_what_a_cell_showed_is_on_record_as_it_came(record: tuple[Home, Path]) -> None:
    _, cells = notebook(*record)
    shown = [o.get("text") or o["data"]["text/plain"] for o in cells[3].outputs]
    assert shown == ["one\ntwo\n", "'whole'", "a table", "(to be clicked, on the page)", "'beside'"]
    assert "widget" not in str([o.get("data") for o in cells[3].outputs])
    assert [o["data"]["text/plain"].split()[:3] for o in cells[2].outputs] == [["already", "make", "it"]]


def test_a_cell_that_was_changed_added_or_run_again_is_shown_as_such(record: tuple[Home, Path]) -> None:
    nb, cells = notebook(*record)
    assert [list(c.metadata.hikkoshi.marks) for c in cells] == [
        ["before the run was opened", "what it showed was not seen"],
        [],
        [],
        ["out of order"],
        ["changed against the runbook", "run again"],
        ["not in the runbook", "failed"],
        ["run again"],
        [],
    ]
    assert [c.metadata.hikkoshi.changed for c in cells] == [False] * 4 + [True] * 2 + [False] * 2
    texts = [c.source for c in nb.cells if c.cell_type == "markdown"]
    assert any(t.endswith("Here is what there is (changed against the runbook, run again):") for t in texts)
    half, error = cells[5].outputs
    assert (half.text, error.ename) == ("half \\udc83\n", "ZeroDivisionError")


def test_whoever_verifies_it_or_reads_its_sheet_is_told_that_it_was_run_by_hand(record: tuple[Home, Path]) -> None:
    home, path = record
    told = "8 cells, 1 out of order, 1 changed against the runbook, 2 run again, 1 not in the runbook, 1 failed, 2 windows"
    found = verification.verify(path, trust(home, home.site()))
    assert f"run by hand: {told}" in apart(found.records[0].notes)
    assert f"It was run by hand: {told}." in (path / "README.txt").read_text()


def test_a_secret_that_a_cell_prints_is_masked(record: tuple[Home, Path]) -> None:
    _, cells = notebook(*record)
    assert cells[4].outputs[0].text.startswith("‹")


WAITS = """
import pathlib, time
while not pathlib.Path("go").exists():
    time.sleep(0.05)
print("half", flush=True)
time.sleep(60)
"""


def test_a_kernel_that_is_killed_leaves_what_was_run(tmp_path: Path) -> None:
    home = sealed_home(tmp_path / "home")
    install(home)
    runs = home.folder("gateway") / "runs"
    with jupyterlab(home) as window:
        opened(home, window, history=False)  # as some clients ask for it
        window.begin("work", WAITS)
        (path,) = runs.glob("*.ipynb")
        wait_for(lambda: '"run-3"' in path.read_text(), "it is kept that the cell began")
        (home.root / "go").touch()
        wait_for(lambda: '"half\\n"' in path.read_text(), "what it shows is kept")
        assert seal.waiting(home, "gateway") == []  # it is open
        os.kill(window.kernel.provisioner.process.pid, signal.SIGKILL)
        wait_for(lambda: bool(seal.waiting(home, "gateway")), "the guest is released")
    (record,) = seal.pending(home, "gateway")
    nb, cells = notebook(home, record)
    assert [c.metadata.hikkoshi.cell for c in cells] == ["parameters", "open", "work"]
    assert cells[2].metadata.hikkoshi.ended is None
    assert any("no end on record" in c.source for c in nb.cells)
    assert "Not on record as run: look, verify." in nb.cells[0].source


OWN = [("code", "guest = 'x'", ["parameters"]), ("markdown", "words", []), ("code", "look()", []), ("code", "act()", [])]


@pytest.mark.parametrize(
    ("executed", "same"),
    [
        ([("code", "guest = 'y'", ["parameters"]), ("code", "act()", []), ("code", "look()", []), ("code", "act()", [])], True),
        ([("code", "look()", []), ("code", "act(all)", [])], False),
        ([("code", "guest = steal()", ["parameters"])], False),
    ],
)
def test_a_run_by_hand_is_the_projects_runbook_if_no_cell_is_another(
    executed: list[tuple[str, str, list[str]]], same: bool
) -> None:
    def written(cells: list[tuple[str, str, list[str]]], **about: object) -> bytes:
        made = [{"cell_type": kind, "source": source, "metadata": {"tags": tags}} for kind, source, tags in cells]
        return json.dumps({"cells": made, "metadata": {"hikkoshi": about}}).encode()

    assert provenance._is(written(executed, by_hand={"cells": len(executed)}), written(OWN)) == same
    assert not provenance._is(written(executed), written(OWN))
