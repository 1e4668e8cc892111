"""JupyterLab as a person sees it: `hikkoshi jupyter`, and the system's Chromium in front of it."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from hikkoshi.params.home import Home
from hikkoshi.report.pdf import PROGRAMS
from processes import COMMAND, PATIENCE, free_port, wait_for

TOKEN = "only-for-this-test"
EXPOSED = "--LabApp.expose_app_in_browser=True"  # to ask the page's own model which cells are at work
FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
expect.set_options(timeout=PATIENCE * 1000)
OPEN = "path => window.jupyterapp?.shell.currentWidget?.context?.path === path"
CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(w => ({
  id: w.model.id, kind: w.model.type, source: w.model.sharedModel.source, state: w.model.executionState,
  count: w.model.executionCount, outputs: w.model.type === 'code' ? w.model.outputs.toJSON() : []}))"""
GO_TO = """id => {
  const book = window.jupyterapp.shell.currentWidget.content;
  book.activeCellIndex = book.widgets.findIndex(w => w.model.id === id);
  book.mode = 'command'; book.activate();
  return book.scrollToItem(book.activeCellIndex, 'start');}"""


class Window:
    """One window of the browser. What it complains of, or asks of anybody but the server, is kept."""

    def __init__(self, context: BrowserContext, address: str, pictures: Path) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.complaints = list[str]()
        self._address, self._pictures = address, pictures
        self.page.on("console", lambda m: self.complaints.append(f"{m.text} ({m.location})") if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: None if self._ours(r.url) else self.complaints.append(f"asked for {r.url}"))
        self.page.on("websocket", lambda w: None if self._ours(w.url) else self.complaints.append(f"asked for {w.url}"))

    def _ours(self, url: str) -> bool:
        return re.sub("^ws", "http", url).startswith((f"{self._address}/", "data:", "blob:"))

    def open(self, path: str) -> None:
        """Open the first notebook by its address, the others by a double click on their names; wait for the kernel."""
        if self.page.url == "about:blank":
            self.page.goto(f"{self._address}/lab/tree/{path}?reset&token={TOKEN}")
        else:
            self.page.get_by_role("listitem", name=re.compile(f"^Name: {Path(path).name}")).dblclick()
        self.page.wait_for_function(OPEN, arg=path)
        self.rest()

    def rest(self) -> None:
        """Wait until the kernel does nothing."""
        expect(self.page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()

    def menu(self, *names: str) -> None:
        """Choose from the menu, such as Run, Run All Cells."""
        for name in names:
            self.page.get_by_role("menuitem", name=re.compile(f"^{re.escape(name)}")).first.click()

    def cells(self) -> list[dict[str, Any]]:
        """The cells of the page as it is now: id, kind, source, state, count, outputs."""
        found: list[dict[str, Any]] = self.page.evaluate(CELLS)
        return found

    def until(self, true: Callable[[list[dict[str, Any]]], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something is so of the cells; the page lives on meanwhile."""
        end = time.monotonic() + seconds
        while not true(self.cells()):
            assert time.monotonic() < end, f"waited in vain: {what}"
            self.page.wait_for_timeout(100)

    def run_all(self, seconds: float = PATIENCE) -> None:
        """Run, Run All Cells; wait until that has come to its end."""
        self.menu("Run", "Run All Cells")
        self.until(lambda cells: any(c["count"] or c["state"] == "running" for c in cells), "the first cell begins")
        self.until(idle, "all cells were run", seconds)
        self.rest()

    def go_to(self, cell: str) -> None:
        """Put the cursor on a cell, at the top of the window."""
        self.page.evaluate(GO_TO, cell)

    def run(self, cell: str, source: str | None = None, *, wait: bool = True) -> Locator:
        """Press Shift-Enter in a cell, after its text was typed anew where a `source` is given; the cell with its output."""
        self.go_to(cell)
        here = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell.jp-mod-active")
        if source is not None:
            here.locator(".cm-content").click()
            self.page.keyboard.press("Control+a")
            self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.until(idle, f"{cell} was run")
        return here

    def look(self, name: str) -> None:
        """Keep a picture of the window."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._pictures / f"{name}.png")


def idle(cells: list[dict[str, Any]]) -> bool:
    return all(c["state"] in (None, "idle") for c in cells)


def text(cell: dict[str, Any]) -> str:
    """The words that a cell shows."""
    found = (o.get("text") or o.get("data", {}).get("text/plain") or "\n".join(o.get("traceback", ())) for o in cell["outputs"])
    return "\n".join("".join(words) for words in found)


@contextmanager
def jupyterlab(home: Home, own: Path) -> Iterator[str]:
    """`hikkoshi jupyter` on a home, with all that JupyterLab keeps in the folder `own`; its address."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "HIKKOSHI_RUN"))}
    env |= {name: str(own / name) for name in FOLDERS} | {"JUPYTER_TOKEN": TOKEN, "HIKKOSHI_HOME": str(home.root)}
    own.mkdir(parents=True)
    log = own / "log"
    options = ["--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", EXPOSED]
    with log.open("w") as out:
        server = subprocess.Popen([*COMMAND, "jupyter", *options], env=env, cwd=home.root, stdout=out, stderr=out)
    try:
        wait_for(lambda: "is running at" in log.read_text() or server.poll() is not None, "JupyterLab is there")
        assert server.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


@contextmanager
def chromium() -> Iterator[Callable[[str, Path], Window]]:
    """The system's browser; what is given back opens a window on an address, which keeps its pictures in a folder."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, PROGRAMS))), args=["--no-sandbox"]
        )
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        yield lambda address, pictures: Window(context, address, pictures)
        browser.close()
