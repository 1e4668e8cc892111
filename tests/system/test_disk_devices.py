"""Block devices of the kernel as sources: their content, their owners, their errors, and whether they are what they were."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hikkoshi.check import Check
from hikkoshi.disk import digest, grains, stream, vmdk
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.origin import Identity, Origin, copy
from hikkoshi.disk.source import facts
from hikkoshi.errors import BadInput, Refused, StepFailed
from hikkoshi.guest import survey, traces
from hikkoshi.guest.descent import Descent
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.params.folder import GuestFolder
from hikkoshi.rehearsal import boot, rehearsal
from hikkoshi.rehearsal.accelerator import Accelerator

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
        subprocess.run(["dd", "if=/dev/zero", f"of={device}", "bs=4096", "count=1", "oflag=direct", "status=none"], check=True)
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


@pytest.fixture
def descent(device: Path, tmp_path: Path) -> Descent:
    """Of a copy that was made of the device."""
    return made(device, GuestFolder(tmp_path))


def made(device: Path, folder: GuestFolder, reading: float = 0) -> Descent:
    source, copy = Origin.whole(device), folder.prepared_copy
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(b"c" * MIB)
    plan = SimpleNamespace(preparation=SimpleNamespace(hash="p"), source_digest=digest.content(device))
    known = Survey.model_validate_json((Path(__file__).parents[1] / "data/survey/gateway.json").read_text())
    Prepared(
        preparation="p",
        source=Identity.of(source),
        source_digest=plan.source_digest,
        source_writes=source.writes(),
        disk=Identity.of(Origin.whole(copy)),
        facts=known.guest,
        kept={},
        initrd_modules_before=(),
        initrd_modules_after=(),
        accelerator="tcg",
        seconds=1,
    ).save(folder)
    return Descent(folder, plan, source, reading)


def write(image: Path, device: Path) -> None:
    """As a guest does, past the device that this kernel counts the writes of: between the samples, behind the first MiB."""
    with image.open("r+b") as f:
        f.seek(MIB + 17_000)
        f.write(b"written")
    device.open("rb").close()


def test_of_a_device_it_is_said_beforehand_how_much_was_compared_and_how_long_all_of_it_takes(
    device: Path, tmp_path: Path
) -> None:
    checks = made(device, GuestFolder(tmp_path), 420.3).checks()
    found = next(c for c in checks if c.title == "the source is the one that was copied")
    assert found.unseen == "not seen"
    assert "only 2.0 MiB of samples of 8.0 MiB were compared" in found.found
    assert "about 420 s, as in the survey" in found.found


def test_a_device_is_the_one_that_was_copied_only_when_all_of_it_was_read_again(descent: Descent) -> None:
    assert not descent.proved()
    off = Check(code="a-code", title="the source is off", ok=True)
    assert not descent.free(off), "the machine in vSphere may not be switched on yet"
    descent.read()
    assert "all of it was read again" in descent.proved().found
    assert descent.free(off) is off
    assert not descent.free(replace(off, ok=False))


def test_a_write_between_the_samples_of_a_device_is_seen_once_it_is_off(descent: Descent, device: Path, image: Path) -> None:
    write(image, device)
    assert all(c for c in descent.checks() if c.unseen), "the samples do not show it"
    descent.read()
    found = descent.proved()
    assert not found
    assert "75-rollback" in found.remedy
    assert "from 10 --apply" in found.remedy


def test_writes_that_the_kernel_has_counted_are_red_before_anything_goes_off(descent: Descent, device: Path) -> None:
    descent.read()
    with device.open("r+b", buffering=0) as f:
        f.seek(MIB + 16_384)
        f.write(bytes(4096))
        os.fsync(f.fileno())
    assert traces.WRITTEN in [c.found for c in descent.checks()]
    assert not descent.proved()
    with pytest.raises(Refused):
        descent.read()


def test_a_device_is_not_read_again_once_its_machine_is_in_service(descent: Descent) -> None:
    assert descent.proved(in_service=True).unseen == "not needed"


def test_a_device_that_a_guest_still_uses_is_not_read(descent: Descent, device: Path) -> None:
    claimed = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(BadInput, match="in use"):
            descent.read()
    finally:
        os.close(claimed)


def test_a_survey_does_not_say_of_a_device_that_it_is_unchanged(device: Path) -> None:
    known = Survey.model_validate_json((Path(__file__).parents[1] / "data/survey/gateway.json").read_text())
    found = survey.unchanged(known.model_copy(update={"disk": facts(device), "origin": Origin.whole(device)}))
    assert found.unseen == "not seen"
    assert "30-prepare reads all of it" in found.found


def test_a_device_that_was_written_to_since_its_survey_is_another_before_anybody_reads_it(device: Path) -> None:
    known = Survey.model_validate_json((Path(__file__).parents[1] / "data/survey/gateway.json").read_text())
    known = known.model_copy(
        update={"disk": facts(device), "origin": Origin.whole(device), "writes": Origin.whole(device).writes()}
    )
    assert survey.unchanged(known)
    with device.open("r+b", buffering=0) as f:
        f.write(device.read_bytes()[:4096])
        os.fsync(f.fileno())
    assert "written to since" in survey.unchanged(known).found
    assert not survey.unchanged(known)


def test_the_unprepared_disk_that_is_rehearsed_may_be_a_device(device: Path, tmp_path: Path) -> None:
    plan = SimpleNamespace(source=Origin.whole(device), machine=None, hash="p")
    job = rehearsal.Job(GuestFolder(tmp_path), tmp_path / "x.vmdk", plan, None)  # type: ignore[arg-type]
    checks = {c.title: c for c in rehearsal.preflight(job, Accelerator("tcg", "of a test"))}
    assert checks["the unprepared disk is there"].found == f"{device.name}, 8.0 MiB"


def test_a_device_is_told_from_another_without_reading_it_all(device: Path) -> None:
    before = boot.identity(device, "raw")
    assert "device of 8388608 bytes" in before
    with device.open("r+b", buffering=0) as f:
        f.write(b"another")
    assert boot.identity(device, "raw") != before


@pytest.mark.needs("mkfs.btrfs")
def test_a_copy_on_a_file_system_that_can_takes_no_room_and_is_the_same(tmp_path: Path) -> None:
    volume, folder = tmp_path / "volume", tmp_path / "mounted"
    folder.mkdir()
    with volume.open("wb") as f:
        f.truncate(256 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", volume], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", volume, folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"btrfs cannot be mounted: {mounted.stderr.strip()}")
    try:
        disk = folder / "disk.img"
        disk.write_bytes(os.urandom(32 * MIB) + bytes(4 * MIB))
        os.sync()
        before = os.statvfs(folder).f_bfree
        assert copy(Origin.whole(disk), folder / "copy.img") == digest.content(disk) == digest.content(folder / "copy.img")
        os.sync()
        assert (before - os.statvfs(folder).f_bfree) * 4096 < 8 * MIB
    finally:
        subprocess.run(["umount", folder], check=True)
