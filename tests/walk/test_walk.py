"""One guest's move by hand, from 10 to 60, in a real JupyterLab: each runbook in plan mode and in apply, and the approval."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from browser import Window, chromium, jupyterlab, text
from conftest import _lab
from hikkoshi.params.home import Home
from hikkoshi.record import seal
from processes import hikkoshi, wait_for

PROJECT = Path(__file__).parents[2]
LONG = 900  # seconds: a guest boots without KVM
BOTH = ("30-prepare", "40-convert", "50-rehearse", "60-deploy")
pytestmark = pytest.mark.needs("chromium", "vcsim", "ssh-keygen", "qemu-system-x86_64")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    yield from _lab(tmp_path_factory.mktemp("walk") / "home")


@pytest.fixture(scope="module")
def window(site: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    folder = tmp_path_factory.mktemp("jupyterlab")
    with jupyterlab(site, folder / "own") as address, chromium() as opened:
        yield opened(address, folder / "pictures")


def walk(window: Window, step: str, mode: str = "") -> dict[str, dict[str, Any]]:
    """Go through a runbook for the guest idp: {id: cell} of its code, as the page then is."""
    start = time.monotonic()
    window.open(f"notebooks/{step}.ipynb")
    window.run("parameters", 'guest = "idp"\n' + (f'mode = "{mode}"\n' if mode else "") + 'home = ""')
    window.run_all(LONG)
    print(f"{step} {mode}: {time.monotonic() - start:.1f} s")
    cells = {c["id"]: c for c in window.cells() if c["kind"] == "code"}
    for cell in ("preflight", "verify"):
        window.go_to(cell)
        window.look(f"{step}-{mode}-{cell}")
    return cells


def failed(cells: dict[str, dict[str, Any]]) -> list[str]:
    """Cells that failed, or were not run."""
    return [f"{name}: {text(c)}" for name, c in cells.items() if not c["count"] or any("ename" in o for o in c["outputs"])]


def changed() -> str:
    """What git says of this checkout, whose runbooks are the ones that are run."""
    return subprocess.run(["git", "status", "--porcelain"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def test_a_guest_is_moved_by_hand_and_its_plan_approved_in_a_terminal_of_the_same_window(site: Home, window: Window) -> None:
    before, start = changed(), time.monotonic()
    for step, mode in (("10-survey", ""), ("20-plan", ""), *((step, mode) for step in BOTH for mode in ("plan", "apply"))):
        assert failed(walk(window, step, mode)) == []
    refused = walk(window, "70-cutover", "apply")
    assert "nobody has approved" in text(refused["preflight"])
    window.open("notebooks/60-deploy.ipynb")
    window.go_to("next-approval")
    again = window.page.get_by_role("button", name="Look again")
    again.click()
    window.look("60-not-approved")
    window.menu("File", "New Launcher")
    window.page.locator(".jp-LauncherCard", has_text="Terminal").click()
    window.page.locator(".xterm-helper-textarea").focus()
    window.page.keyboard.type(f"hikkoshi approve idp --key {site.root}/outputs/keys/approver\n", delay=5)
    window.page.wait_for_timeout(5000)
    window.page.keyboard.type("idp\n", delay=5)
    approvals = site.folder("idp").approvals
    wait_for(lambda: approvals.is_dir() and list(approvals.iterdir()), "the plan is approved", 20)
    window.look("60-terminal")
    window.page.get_by_role("tab", name="60-deploy.ipynb").click()
    again.click()
    expect(window.page.get_by_text("approval: 1 check, 1 as expected")).to_be_visible()
    window.look("60-approved")
    done = hikkoshi(site, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    sealed = [record.name.partition("-")[2] for record in sorted(seal.folder(site, "idp").iterdir())]
    assert sealed == ["10-survey", "20-plan", *(step for step in BOTH for _ in range(2))]
    assert window.complaints == []
    print(f"all of it: {time.monotonic() - start:.0f} s")
    assert changed() == before
