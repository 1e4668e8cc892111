"""Every kind of guest that the lab has is moved for real: booted as it was, prepared, prepared again, and booted."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from hikkoshi_lab import debian, matrix
from hikkoshi_lab.matrix import MatrixRow
from hikkoshi_lab.variants import VARIANTS

pytestmark = pytest.mark.needs("qemu-system-x86_64", "mke2fs", "debugfs", "sfdisk", "dpkg-deb")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[MatrixRow]]]:
    """Two guests at a time: a boot under emulation keeps one core busy."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(matrix.row, variant, tmp_path_factory.mktemp(name), "tcg") for name, variant in VARIANTS.items()}


def _told(name: str) -> object:
    marks = [pytest.mark.needs("debian guest")] if VARIANTS[name].disks is debian.disks else []
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [_told(name) for name in VARIANTS])
def test_a_guest_fails_for_its_reason_and_boots_once_it_is_prepared(name: str, rows: dict[str, Future[MatrixRow]]) -> None:
    made = rows[name].result()
    assert made.wrong == ()
    variant = VARIANTS[name]
    assert made.before == variant.before
    if variant.refused:
        assert variant.refused in made.after
    else:
        assert (made.after, made.nics) == ("login", f"{len(variant.image.nics)}/{len(variant.image.nics)}")
