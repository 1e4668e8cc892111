"""What the tests with real machines share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import vcenter
from hikkoshi.params.home import Home
from vcenter import World


@pytest.fixture(scope="session")
def vmdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted disk, ready to be imported."""
    return vcenter.disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def world(home: Home, vmdk: Path) -> Iterator[World]:
    """A vSphere of its own, shaped as the lab's site, and an order for the gateway's machine."""
    with vcenter.start(home, vmdk) as world:
        yield world
