"""The runbooks in a real JupyterLab, in a real browser, as an administrator goes through them at night."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

from browser import Window, chromium, idle, jupyterlab, text
from conftest import _lab
from hikkoshi.params.home import Home
from hikkoshi.record import seal
from processes import hikkoshi, wait_for

PROJECT = Path(__file__).parents[2]
BEFORE = ["before the run was opened", "what it showed was not seen"]
pytestmark = pytest.mark.needs("chromium", "vcsim", "ssh-keygen")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A site with runbooks of its own, read in Japanese, whose vSphere is up, and whose guests were surveyed."""
    for home in _lab(tmp_path_factory.mktemp("browser") / "home"):
        home.site_file.write_text(home.site_file.read_text().replace("lang: en", "lang: ja"))
        shutil.copytree(PROJECT / "notebooks", home.root / "notebooks")
        for name in ("gateway", "idp"):
            home.folder(name).mkdir(parents=True)
            shutil.copy(PROJECT / "tests" / "data" / "survey" / f"{name}.json", home.folder(name) / "survey.json")
        yield home


@pytest.fixture(scope="module")
def opened(site: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Window]]:
    folder = tmp_path_factory.mktemp("jupyterlab")
    with jupyterlab(site, folder / "own") as address, chromium() as window:
        yield lambda: window(address, folder / "pictures")


@pytest.fixture(scope="module")
def one_window(opened: Callable[[], Window]) -> Window:
    here = opened()
    here.open("notebooks/00-start-here.ipynb")
    return here


@pytest.fixture
def window(site: Home, one_window: Window) -> Iterator[Window]:
    """A window with 00 and what was opened since. It may not complain, ask anybody else, nor change a runbook."""
    yield one_window
    assert one_window.complaints == []
    assert one_window.page.locator(".Toastify__toast").count() == 0  # nobody is asked whether he wants news
    for runbook in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        assert (site.root / "notebooks" / runbook.name).read_bytes() == runbook.read_bytes(), runbook.name


def record(home: Home, guest: str, number: int = -1) -> tuple[list[str], list[list[str]]]:
    """The cells of a guest's record and what is marked of each, by default of the newest; all records have to be good."""
    done = hikkoshi(home, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    one = sorted(seal.folder(home, guest).iterdir())[number]
    nb = nbformat.read(one / "data" / f"{one.name}.ipynb", as_version=4)
    kept = [c.metadata.hikkoshi for c in nb.cells if c.cell_type == "code"]
    return [about.cell for about in kept], [about.marks for about in kept]


def code(cells: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {c["id"]: c for c in cells if c["kind"] == "code"}


def test_a_guest_is_picked_by_the_keyboard_alone(window: Window) -> None:
    window.run_all()
    picker = window.page.get_by_label("guest", exact=True)
    picker.focus()
    for key in ("Space", "ArrowDown", "Enter"):  # what JupyterLab leaves to it
        window.page.keyboard.press(key)
    shown = window.page.locator(".widget-vbox", has=picker)
    expect(shown.get_by_role("cell", name="hikkoshi run idp")).to_be_visible()
    window.look("00-picked")


def test_all_of_20_is_run_for_that_guest_in_a_moment_and_sealed_in_the_order_of_its_cells(site: Home, window: Window) -> None:
    start = time.monotonic()
    window.open("notebooks/20-plan.ipynb")
    expect(window.page.get_by_role("heading", name="20 · 移行を計画する")).to_be_visible()
    window.run_all()
    print(f"\nall of 20-plan: {time.monotonic() - start:.1f} s, with its opening")
    window.look("20-plan")
    cells = code(window.cells())
    assert [c["count"] for c in cells.values()] == list(range(1, len(cells) + 1))
    window.page.keyboard.press("Control+s")
    expect(window.page.get_by_text("Saving completed")).to_be_visible()
    kept, marks = record(site, "idp")
    assert cells["parameters"]["source"].startswith('guest = "idp"')
    assert kept == list(cells)
    assert marks[1:] == [[]] * (len(cells) - 1)


def test_a_nic_is_put_on_another_segment_by_the_keyboard_alone(site: Home, window: Window) -> None:
    path = site.guest_file("idp")
    before = path.read_text()
    window.go_to("rewiring-text")
    choice = window.page.get_by_label("xenbr210 · eth0 · 00:16:3e:01:00:00")
    choice.focus()
    for key in ("Space", "ArrowUp", "Enter"):
        window.page.keyboard.press(key)
    expect(window.page.get_by_text('+  - { mac: "00:16:3e:01:00:00", segment: vlan505 }')).to_be_visible()
    window.look("20-rewiring")
    assert path.read_text() == before
    for key in ("Tab", "Space"):
        window.page.keyboard.press(key)
    expect(window.page.get_by_text("Now run this notebook again from its first cell")).to_be_visible()
    window.look("20-rewired")
    assert path.read_text() == before.replace("segment: servers", "segment: vlan505")
    path.write_text(before)


def test_a_refusal_is_read_where_it_happens_and_stops_what_comes_after(site: Home, window: Window) -> None:
    window.open("notebooks/30-prepare.ipynb")
    window.run("parameters", 'guest = "gateway"\nmode = "apply"\nhome = ""')
    window.run_all()
    cells = code(window.cells())
    assert [name for name, c in cells.items() if c["count"]] == ["parameters", "open"]
    assert "run 20-plan first: hikkoshi run gateway --only 20" in text(cells["open"])
    window.go_to("open")
    window.look("30-refused")
    assert record(site, "gateway") == (["parameters", "parameters", "open"], [BEFORE, BEFORE, ["failed"]])


def test_what_was_changed_run_again_and_interrupted_is_on_record_though_the_kernel_was_restarted(
    site: Home, window: Window
) -> None:
    window.open("notebooks/20-plan.ipynb")
    mine = code(window.cells())["action-2"]["source"]
    window.run("parameters")
    window.run("open")
    window.run("action")
    window.run("action")
    window.run("action-2", "import time\nprint('asleep', flush=True)\ntime.sleep(600)", wait=False)
    window.until(lambda cells: "asleep" in text(code(cells)["action-2"]), "it sleeps")  # an interrupt before that may be lost
    window.menu("Kernel", "Interrupt Kernel")
    window.until(idle, "it was interrupted")
    window.look("20-interrupted")
    window.menu("Kernel", "Restart Kernel…")
    window.page.locator(".jp-Dialog button.jp-mod-accept").click()
    wait_for(lambda: seal.waiting(site, "idp"), "the guest is released by the kernel that is no more")
    window.rest()
    window.run("action-2", mine)
    assert "NameError" in text(code(window.cells())["action-2"])
    window.run_all()
    cells, marks = record(site, "idp", -2)
    assert cells[-5:] == ["parameters", "open", "action", "action", "action-2"]
    assert marks[-4:] == [[], [], ["run again"], ["changed against the runbook", "failed"]]
    assert record(site, "idp")[0] == ["action-2", *code(window.cells())]


def test_what_runs_while_no_browser_is_open_is_on_record(site: Home, opened: Callable[[], Window]) -> None:
    here = opened()
    here.open("notebooks/20-plan.ipynb")
    here.run("parameters")
    here.run("open")
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(site.root / 'go')!r}).exists(): time.sleep(0.1)\nprint('on')"
    here.run("action", waits, wait=False)
    here.page.close(run_before_unload=False)
    (site.root / "go").touch()
    kept = max((site.folder("idp") / "runs").glob("*.ipynb"))
    wait_for(lambda: '"on\\n"' in kept.read_text(), "what it shows is kept", 20)
    assert "ここで決定します" in kept.read_text()  # what introduces that cell, as it was read
    again = opened()
    again.open(str(kept.relative_to(site.root)))
    expect(again.page.get_by_text("notebook is read-only")).to_be_visible()
    expect(again.page.get_by_text("on", exact=True)).to_be_visible()
    again.look("run-opened")
    assert here.complaints + again.complaints == []
