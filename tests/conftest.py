"""Fixtures that more than one folder of tests uses."""

import ast
import atexit
import contextlib
import ctypes
import functools
import gc
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from hikkoshi.params.home import Home
from hikkoshi.run import run as running
from processes import free_port, hikkoshi
from runbooks import IN_ORDER, Look, nbval, parameters

PROJECT = Path(__file__).parents[1]
# other examples each time: what matters is how many there are in a week; on a loaded machine none is late, and none slow to make
hypothesis.settings.register_profile(
    "short", max_examples=50, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("short")
# ten thousand tests are no rubbish: to look among them for some takes half of the time in which they are collected
gc.set_threshold(50_000)
atexit.register(gc.freeze)


def pytest_collection_finish() -> None:
    gc.freeze()


def _missing(name: str) -> str:
    if name == "root":
        return "" if os.geteuid() == 0 else "needs root"
    if name.startswith("python:"):
        module = name.removeprefix("python:")
        return "" if importlib.util.find_spec(module) else f"needs the Python module {module}"
    if name == "vcsim":
        from hikkoshi_lab import vcsim

        return "" if vcsim.binary().is_file() else "needs vcsim: run make setup"
    if name == "debian guest":
        from hikkoshi_lab.debian import tree

        return "" if tree.available("debian") else "needs the lab's Debian guest: run make setup as root"
    if name == "open-vm-tools":
        from hikkoshi_lab.debian import archives

        return "" if archives.there(name) else "needs open-vm-tools for the lab's Debian guest: run make setup as root"
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return "" if found else f"needs the program {name}: run make setup"


LONGEST = ("test_guests", "test_network_runbooks")  # files, after the lab's tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no process ends alone: the tests that share the lab, the longest files, the other slow ones."""

    def place(item: pytest.Item) -> int:
        system = 1 if item.path.stem in LONGEST else 2 if "system" in item.path.parts else 3
        return 0 if _shares_the_lab(item.path, item.name) else system

    items.sort(key=place)  # stable


LAB = frozenset({"lab_home", "looked", "moved"})  # fixtures of which there is one in a whole run


@functools.cache
def _asking_for_the_lab(file: Path) -> frozenset[str]:
    """The functions of a file, tests and fixtures, that ask for the lab: themselves, or by a fixture of the file."""
    text = file.read_text()
    if not any(name in text for name in LAB):  # most files: each process asks for all of them
        return frozenset()
    asked = {
        node.name: {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    }
    found: frozenset[str] = frozenset()
    while more := {name for name, fixtures in asked.items() if fixtures & (LAB | found)} - found:
        found |= more
    return found


def _shares_the_lab(file: Path, test: str) -> bool:
    return test.partition("[")[0] in _asking_for_the_lab(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n 3 --dist loadscope`: the tests that share the lab in one process, and of any other file in one, too."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, *_, test = nodeid.partition("[")[0].split("::")
            return "the lab" if _shares_the_lab(config.rootpath / file, test) else file

    return ByFile(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        reasons = [r for r in map(_missing, marker.args) if r]
        if reasons and os.environ.get("CI"):
            pytest.fail("in CI nothing may be missing: " + "; ".join(reasons), pytrace=False)
        if reasons:
            pytest.skip("; ".join(reasons))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home of its own, with the shipped parameters and nothing else. What a test has opened there is released after it."""
    yield parameters(tmp_path / "home")
    for run in [r for r in running._open.values() if r.home.root == tmp_path / "home"]:
        with contextlib.suppress(OSError):
            run.close("completed")


def _lab(root: Path) -> Iterator[Home]:
    from hikkoshi_lab import lab

    here = parameters(root)
    site = root / "params" / "site.yml"
    site.write_text(site.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{free_port()}"))
    lab.up(here)
    try:
        yield here
    finally:
        lab.down(here)


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose lab is up: vcsim on a port of its own, the Dom-0 with the paper's two guests. Tests share it."""
    yield from _lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def approve() -> Callable[[Home, str], str]:
    """Approves a guest's plan as the lab's second person, by the command line, and gives back what it told."""

    def given(home: Home, guest: str) -> str:
        from hikkoshi_lab import keys

        keys.make(home)
        done = hikkoshi(home, "approve", guest, "--key", str(keys.folder(home) / "approver"), "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return given


@pytest.fixture(scope="session")
def looked(lab_home: Home) -> dict[str, Look]:
    """Both guests of the paper, seen in plan mode: idp by the command line, the gateway by a person's notebooks."""
    with ThreadPoolExecutor() as pool:
        person = pool.submit(nbval, lab_home, *IN_ORDER)
        idp = Look.after(hikkoshi(lab_home, "run", "idp", seconds=2400), lab_home.folder("idp"))
        return {"idp": idp, "gateway": Look.after(person.result(), lab_home.folder("gateway"))}


@pytest.fixture(scope="session")
def moved(lab_home: Home, looked: dict[str, Look], approve: Callable[[Home, str], str]) -> Home:
    """The lab's home after both guests of the paper were looked at, surveyed with that, and then moved once."""
    for first, last in (("20", "60"), ("70", "90")):
        run = hikkoshi(lab_home, "run", "idp", "gateway", "--apply", "--from", first, "--through", last, seconds=2400)
        assert run.returncode == 0, run.stdout + run.stderr
        if last == "60":
            approve(lab_home, "idp")
            approve(lab_home, "gateway")
    return lab_home


@pytest.fixture
def plan_home(tmp_path: Path) -> Iterator[Home]:
    """A home with a lab of its own, in which nothing has been run yet."""
    yield from _lab(tmp_path)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """A FIFO; the test fails where somebody opened it, or tried to."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, bytes(fifo), 0x20) >= 0  # IN_OPEN
    yield fifo
    try:
        assert os.read(watch, 4096) == b"", "somebody opened a file that the disk named"
    except BlockingIOError:
        pass  # nothing happened to it
    finally:
        os.close(watch)
