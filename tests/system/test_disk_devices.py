"""Block devices of the kernel as sources: their content, their owners, their errors."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi.disk import digest, grains, stream, vmdk
from hikkoshi.disk.extents import RawDisk
from hikkoshi.errors import BadInput, StepFailed

pytestmark = pytest.mark.needs("root", "losetup")
MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"".join(n.to_bytes(4, "little") * 1024 for n in range(1024)) + bytes(4 * MIB))
    return path


@pytest.fixture
def device(image: Path) -> Iterator[Path]:
    """The image as a block device."""
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    try:
        yield Path(made.stdout.strip())
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_device_gives_the_same_vmdk_as_its_image(device: Path, image: Path, tmp_path: Path) -> None:
    with RawDisk(device) as source:
        made = stream.write(source, tmp_path / "device.vmdk", "disk.vmdk")
    with RawDisk(image) as source:
        assert stream.write(source, tmp_path / "image.vmdk", "disk.vmdk").sha256 == made.sha256
    assert made.content == digest.content(device) == digest.content(image)
    assert made.read == 8 * MIB > made.stored > 0
    assert grains.examine(tmp_path / "device.vmdk").flaws == ()


def test_a_device_that_somebody_else_has_claimed_is_refused(device: Path) -> None:
    claimed = os.open(device, os.O_RDONLY | os.O_EXCL)  # as mount, blkback and device mapper do
    try:
        with pytest.raises(BadInput, match="device is in use") as e:
            RawDisk(device)
    finally:
        os.close(claimed)
    assert "snapshot" in e.value.problems[0].remedy


def test_nobody_can_claim_a_device_while_it_is_read(device: Path) -> None:
    with RawDisk(device), pytest.raises(OSError, match="busy"):
        os.open(device, os.O_RDONLY | os.O_EXCL)
    os.close(os.open(device, os.O_RDONLY | os.O_EXCL))


def test_a_device_that_is_written_to_while_it_is_read_is_noticed(device: Path) -> None:
    with RawDisk(device) as source:
        source.read(0, MIB)
        source.unchanged()
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={device}", "bs=4096", "count=1", "oflag=direct", "status=none"], check=True
        )
        with pytest.raises(StepFailed, match="sectors written"):
            source.unchanged()


def test_a_device_that_cannot_be_read_is_named_with_the_place_and_no_vmdk_is_left(
    device: Path, image: Path, tmp_path: Path
) -> None:
    os.truncate(image, 2 * MIB)  # the device keeps its size, and cannot read behind that: EIO
    with pytest.raises(StepFailed, match="Input/output error") as e, RawDisk(device) as source:
        stream.write(source, tmp_path / "x.vmdk", "x.vmdk")
    (problem,) = e.value.problems
    assert problem.where == str(device)
    assert "between bytes 2,097,152 and" in problem.found
    with pytest.raises(BadInput):
        vmdk.read(tmp_path / "x.vmdk")
