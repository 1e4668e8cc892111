"""Guests of the lab are moved for real: booted as they were, prepared, prepared again, and booted. `make guests` has more."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from appliances import one_appliance
from hikkoshi.guest import appliance
from hikkoshi.guest.prepared import Prepared
from hikkoshi.params.folder import GuestFolder
from hikkoshi_lab import matrix
from hikkoshi_lab.debian import archives, tree
from hikkoshi_lab.debian.disks import disks
from hikkoshi_lab.matrix import MatrixRow
from hikkoshi_lab.variants import VARIANTS

pytestmark = pytest.mark.needs("qemu-system-x86_64", "mke2fs", "debugfs", "sfdisk", "dpkg-deb")

TESTED = {name: v for name, v in sorted(VARIANTS.items()) if v.tested}
Rows = dict[str, tuple[Future[MatrixRow], Path]]  # with the folder of what was seen at its boots


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """All are inspected in one appliance. Then two guests at a time: a boot under emulation keeps one core busy."""
    here = {name: v for name, v in TESTED.items() if v.disks is not disks or tree.available("debian")}
    origins = {name: matrix.origin_of(v) for name, v in here.items()}
    parts = [part.path for origin in origins.values() for part in origin.parts]
    with (
        one_appliance(parts, tmp_path_factory.mktemp("looked")) as worker,
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(1) as pool,
    ):
        patch.setattr(appliance, "WORKER", worker)
        seen = {name: pool.submit(appliance.inspect, origin) for name, origin in origins.items()}
    folders = {name: tmp_path_factory.mktemp(name) for name in here}  # the longest, Debian's, first
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: (pool.submit(matrix.row, v, folders[name], "tcg", lambda _, name=name: seen[name].result()), folders[name])
            for name, v in here.items()
        }


def _told(name: str) -> object:
    needed = [*(["debian guest"] if TESTED[name].disks is disks else []), *filter(None, [TESTED[name].tools])]
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


def test_an_ordinary_kernel_that_finds_no_disk_loses_its_init_and_panics(rows: Rows) -> None:
    boots, folder = rows["el5-panic"]
    assert boots.result().before == "kernel-panic"
    assert "Attempted to kill init" in (folder / "before.txt").read_text()
