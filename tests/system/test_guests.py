"""Guests of the lab are moved for real: booted as they were, prepared, prepared again, and booted. `make guests` has more."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliances import one_appliance
from hikkoshi.disk import digest
from hikkoshi.errors import StepFailed
from hikkoshi.guest import appliance, prepared
from hikkoshi.guest.additions import addition
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.prepared import Prepared
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi_lab import matrix
from hikkoshi_lab.debian import archives, tree
from hikkoshi_lab.debian.disks import disks
from hikkoshi_lab.matrix import MatrixRow
from hikkoshi_lab.variants import VARIANTS

pytestmark = pytest.mark.needs("qemu-system-x86_64", "mke2fs", "debugfs", "sfdisk", "dpkg-deb")

TESTED = {name: v for name, v in sorted(VARIANTS.items()) if v.tested}
FIRST = "el5-fsck"  # whose disk `one_appliance` takes for a copy's
Rows = dict[str, tuple[Future[MatrixRow], Path]]  # with the folder of what was seen at its boots


@dataclass(frozen=True)
class Surveyed:
    facts: Mapping[str, Future[GuestFacts]]
    failed: Future[tuple[StepFailed | None, list[str]]]  # what a script that fails raised, and which copies it left


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Surveyed:
    """All are inspected in one appliance, and after that a script fails in it."""
    here = {name: v for name, v in TESTED.items() if v.disks is not disks or tree.available("debian")}
    origins = {name: matrix.origin_of(here[name]) for name in sorted(here, key=lambda name: name != FIRST)}
    parts = [part.path for origin in origins.values() for part in origin.parts]
    with (
        one_appliance(parts, tmp_path_factory.mktemp("looked")) as worker,
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(1) as pool,
    ):
        patch.setattr(appliance, "WORKER", worker)
        facts = {name: pool.submit(appliance.inspect, origin) for name, origin in origins.items()}
        return Surveyed(facts, pool.submit(_with_a_bad_script, facts[FIRST], tmp_path_factory.mktemp("bad")))


def _with_a_bad_script(facts: Future[GuestFacts], root: Path) -> tuple[StepFailed | None, list[str]]:
    (root / "bad.sh").write_text("#!/bin/sh\necho no luck\nexit 7\n")
    variant, folder = TESTED[FIRST], GuestFolder(root / "bad")
    guest = Guest(name="bad", dom0="x", config=Path("x"), nics=(), prepare=(Path("bad.sh"),))
    plan = matrix.planned(variant, facts.result(), addition.scripts(Home(root), guest))
    folder.mkdir()
    origin = matrix.origin_of(variant)
    with origin.opened() as disk:
        surveyed = digest.of(disk)
    try:
        prepared.start(origin, folder, plan, surveyed, root=root)
    except StepFailed as e:
        return e, [p.name for p in folder.disks.iterdir()]
    return None, []


@pytest.fixture(scope="module")
def rows(surveyed: Surveyed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """Two guests at a time: a boot under emulation keeps one core busy."""
    names = sorted(surveyed.facts)  # the longest, Debian's, first
    folders = {name: tmp_path_factory.mktemp(name) for name in names}

    def row(name: str) -> MatrixRow:
        return matrix.row(TESTED[name], folders[name], "tcg", lambda _: surveyed.facts[name].result())

    with ThreadPoolExecutor(2) as pool:
        yield {name: (pool.submit(row, name), folders[name]) for name in names}


def _told(name: str) -> object:
    variant = TESTED[name]
    needed = [*(["debian guest"] if variant.disks is disks else []), *({"open-vm-tools"} & {variant.tools})]
    return pytest.param(name, marks=pytest.mark.needs(*needed))


@pytest.mark.parametrize("name", [_told(name) for name in TESTED])
def test_a_guest_fails_for_its_reason_and_boots_once_it_is_prepared(name: str, rows: Rows) -> None:
    made = rows[name][0].result()
    assert made.wrong == ()
    variant = TESTED[name]
    assert made.before == variant.before
    if variant.refused:
        assert variant.refused in made.after
    else:
        assert (made.after, made.nics) == ("login", f"{len(variant.image.nics)}/{len(variant.image.nics)}")


@pytest.mark.needs("debian guest", "open-vm-tools")
def test_debians_own_dpkg_has_installed_the_tools_whole(rows: Rows) -> None:
    made, folder = rows["debian"]
    assert made.result().tools == "started"
    result = Prepared.load(GuestFolder(folder / "debian"))
    installs = [r for r in result.ran if r.kind == "packages"]
    assert [r.status for r in installs] == [0] * len(installs)
    assert any("dpkg --audit" in r.name and r.output == "" for r in installs)
    assert any("policy-rc.d denied execution of start" in r.output for r in installs)
    (brought,) = (p.name.split("_")[1] for p in archives.there("open-vm-tools") if p.name.startswith("open-vm-tools_"))
    assert result.facts.installed["open-vm-tools"].replace(":", ".") == brought  # as its file is called


def test_an_old_guest_runs_an_archives_installer_and_a_script_that_changed_the_copy_kept_no_secret(rows: Rows) -> None:
    made, folder = rows[FIRST]
    assert made.result().tools == "installed"
    (ran,) = Prepared.load(GuestFolder(folder / FIRST)).ran
    assert (ran.name, ran.status, ran.output) == ("changes.sh", 0, "password=‹not kept›\n")


def test_a_script_that_fails_on_the_copy_keeps_no_copy(surveyed: Surveyed) -> None:
    raised, copies = surveyed.failed.result()
    with pytest.raises(StepFailed, match=r"bad\.sh(.|\n)*exit status 7: no luck"):
        raise raised or AssertionError("nothing was raised")
    assert copies == []


def test_an_ordinary_kernel_that_finds_no_disk_loses_its_init_and_panics(rows: Rows) -> None:
    boots, folder = rows["el5-panic"]
    assert boots.result().before == "kernel-panic"
    assert "Attempted to kill init" in (folder / "before.txt").read_text()
