"""What makes the tests with real machines quick; they are no others for it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

QEMU = Path(__file__).with_name("qemu-unpacked")


@pytest.fixture(scope="session", autouse=True)
def unpacked_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start libguestfs' appliances with their kernel unpacked, where the machine's kernel is packed as Debian packs it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all processes share it
    here = folder / f"qemu-{os.getpid()}"
    shutil.copy(QEMU, here)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBGUESTFS_HV", str(here.rename(folder / QEMU.name)))
        yield
