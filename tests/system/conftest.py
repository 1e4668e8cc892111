"""What the tests with real machines share, and what makes them quick; they are no others for it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import vcenter
from hikkoshi.params.home import Home
from vcenter import World

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


@pytest.fixture(scope="session")
def vmdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted disk, ready to be imported."""
    return vcenter.disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def world(home: Home, vmdk: Path) -> Iterator[World]:
    """A vSphere of its own, shaped as the lab's site, and an order for the gateway's machine."""
    with vcenter.start(home, vmdk) as world:
        yield world
