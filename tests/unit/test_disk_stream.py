"""The stream writer: what goes in comes out, the bytes do not depend on the machine, and no failure leaves a VMDK."""

import errno
import hashlib
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hikkoshi.disk import digest, grains, stream, vmdk
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.layout import ENTRIES
from hikkoshi.disk.packing import GRAIN, MIB, Level
from hikkoshi.disk.stream import Stream, Transfer
from hikkoshi.errors import BadInput, HikkoshiError, StepFailed

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
TABLE = ENTRIES * GRAIN  # bytes of the disk that one grain table covers
NOISE = random.Random(7).randbytes(3 * GRAIN)
# around the borders of sector, grain, MiB and grain table
SIZES = st.builds(
    lambda unit, times, more: max(512, unit * times + more),
    st.sampled_from([512, GRAIN, MIB, TABLE]),
    st.integers(0, 3),
    st.sampled_from([-512, 0, 512, GRAIN - 512, GRAIN, 3 * GRAIN + 1024]),
)
CONTENT = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.integers(1, len(NOISE)).map(lambda n: NOISE[:n]),  # grows when it is deflated
    st.integers(1, 3 * GRAIN).map(bytes),  # zeros that were written
)
PIECES = st.lists(st.tuples(st.integers(0, 4 * TABLE), CONTENT), max_size=6)


def disk(path: Path, size: int, pieces: list[tuple[int, bytes]]) -> Path:
    """A sparse file of that size with these bytes at these offsets (modulo the size)."""
    with path.open("wb") as f:
        f.truncate(size)
        for offset, piece in pieces:
            f.seek(offset % size)
            f.write(piece[: size - offset % size])
    return path


def write(image: Path, target: Path, level: Level = "fast", threads: int | None = None) -> Stream:
    with RawDisk(image) as source:
        return stream.write(source, target, "disk.vmdk", level=level, threads=threads)


def plain(image: Path, capacity: int) -> str:
    """SHA-256 of the image with zeros up to the capacity."""
    h = hashlib.sha256(image.read_bytes())
    h.update(bytes(capacity - image.stat().st_size))
    return h.hexdigest()


@SHARED_FOLDER
@given(SIZES, PIECES, st.sampled_from(["fast", "small"]), st.integers(1, 5))
@example(size=512, pieces=[], level="fast", threads=1)
@example(size=4 * TABLE, pieces=[(n * TABLE - 1, b"ab") for n in range(1, 4)], level="fast", threads=2)
def test_what_goes_in_comes_out_and_every_number_is_true(
    tmp_path: Path, size: int, pieces: list[tuple[int, bytes]], level: Level, threads: int
) -> None:
    image, target = disk(tmp_path / "d.img", size, pieces), tmp_path / "d.vmdk"
    made = write(image, target, level, threads)
    assert made.capacity % MIB == 0
    assert 0 <= made.capacity - size < MIB
    assert made.bytes == target.stat().st_size
    assert made.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    assert made.sha1 == hashlib.sha1(target.read_bytes()).hexdigest()
    assert made.content == digest.content(image)
    assert [c.title for c in vmdk.check_stream(target, made.capacity) if not c] == []
    whole = grains.examine(target, sha256=True)
    assert whole.flaws == ()
    assert whole.sha256 == plain(image, made.capacity)
    assert whole.grains * GRAIN == made.stored
    assert grains.examine(target, size=size).content == made.content


@SHARED_FOLDER
@given(SIZES, PIECES, st.sampled_from(["fast", "small"]))
def test_the_bytes_depend_on_the_content_alone(tmp_path: Path, size: int, pieces: list[tuple[int, bytes]], level: Level) -> None:
    """Not on the number of threads, on how sparse the image is, on its name or on the time."""
    image, full = disk(tmp_path / "d.img", size, pieces), tmp_path / "full.img"
    full.write_bytes(image.read_bytes())
    first = write(image, tmp_path / "1.vmdk", level, 1)
    for threads in (2, 5):
        assert write(full, tmp_path / "n.vmdk", level, threads).sha256 == first.sha256
    assert (tmp_path / "1.vmdk").read_bytes() == (tmp_path / "n.vmdk").read_bytes()


def flow(image: Path, target: Path, threads: int | None = None) -> Transfer:
    """The stream for a receiver that cannot go back, as it arrives there."""
    with RawDisk(image) as source, target.open("wb") as f:
        return stream.transfer(source, [stream.Flow(source, "disk.vmdk", f.write)], threads=threads)


@SHARED_FOLDER
@given(SIZES, PIECES, st.integers(1, 5))
@example(size=512, pieces=[], threads=1)
@example(size=4 * TABLE, pieces=[(n * TABLE - 1, b"ab") for n in range(1, 4)], threads=2)
def test_a_flow_holds_the_same_disk_behind_a_footer(
    tmp_path: Path, size: int, pieces: list[tuple[int, bytes]], threads: int
) -> None:
    image, target = disk(tmp_path / "d.img", size, pieces), tmp_path / "flow.vmdk"
    made = flow(image, target, threads)
    assert made.content == digest.content(image)
    assert target.read_bytes()[56:64] == b"\xff" * 8  # the directory is not known in the first sector
    assert [c.title for c in vmdk.check_stream(target, made.capacity) if not c] == []
    whole = grains.examine(target, sha256=True)
    assert whole.flaws == ()
    assert whole.sha256 == plain(image, made.capacity)
    assert whole.grains * GRAIN == made.stored


@SHARED_FOLDER
@given(SIZES, PIECES)
def test_a_flow_beside_a_file_changes_neither(tmp_path: Path, size: int, pieces: list[tuple[int, bytes]]) -> None:
    image, both = disk(tmp_path / "d.img", size, pieces), tmp_path / "both.vmdk"
    flow(image, tmp_path / "flow.vmdk", threads=1)
    alone = write(image, tmp_path / "alone.vmdk", threads=1)
    with RawDisk(image) as source, (tmp_path / "beside.vmdk").open("wb") as f:
        beside = [stream.Flow(source, "disk.vmdk", f.write)]
        assert stream.write(source, both, "disk.vmdk", threads=5, also=beside).sha256 == alone.sha256
    assert (tmp_path / "beside.vmdk").read_bytes() == (tmp_path / "flow.vmdk").read_bytes()


@pytest.mark.parametrize(("size", "padded"), [(512, 1 << 20), (1 << 20, 1 << 20), ((1 << 20) + 512, 2 << 20)])
def test_the_capacity_is_whole_mebibytes(size: int, padded: int) -> None:
    assert stream.capacity(size) == padded


def test_zeros_are_not_stored_and_a_disk_of_zeros_has_no_grain(tmp_path: Path) -> None:
    image = tmp_path / "d.img"
    image.write_bytes(bytes(2 * MIB))
    made = write(image, tmp_path / "d.vmdk")
    assert (made.read, made.stored) == (2 * MIB, 0)
    assert made.bytes == (1 + 20 + 1 + 4 + 1) * 512  # header, descriptor, directory, a table, the end


def test_a_disk_beyond_4_gib_keeps_what_is_at_its_ends_and_costs_no_more_than_its_data(tmp_path: Path) -> None:
    size = (9 << 30) + 512
    image = disk(tmp_path / "d.img", size, [(0, b"begin"), ((4 << 30) - 3, b"4 GiB!"), (size - 4, b"end.")])
    made = write(image, tmp_path / "d.vmdk")
    assert made.capacity == (9 << 30) + MIB
    assert made.stored == 4 * GRAIN
    assert made.bytes < MIB
    found = grains.examine(tmp_path / "d.vmdk", size=size)
    assert (found.flaws, found.content) == ((), digest.content(image))


def test_what_does_not_compress_is_no_longer_than_any_reader_takes(tmp_path: Path) -> None:
    image = tmp_path / "d.img"
    image.write_bytes(random.Random(3).randbytes(4 * MIB))
    for level in ("fast", "small"):
        made = write(image, tmp_path / "d.vmdk", level)
        assert made.bytes <= 4 * MIB + 64 * 512 + 64 * 512  # a sector a grain, and the front
        assert grains.examine(tmp_path / "d.vmdk").flaws == ()


def test_random_bytes_are_stored_as_they_are_and_what_only_begins_like_them_is_deflated(tmp_path: Path) -> None:
    noise, text = random.Random(5).randbytes(GRAIN), b"eth0 up " * (GRAIN // 8)
    image = tmp_path / "d.img"
    image.write_bytes(noise + noise[:200] + text[200:] + bytes(MIB - 2 * GRAIN))
    write(image, tmp_path / "d.vmdk")
    made = (tmp_path / "d.vmdk").read_bytes()
    assert noise[:65535] in made
    assert len(made) < GRAIN + 30 * 512 + 2048
    found = grains.examine(tmp_path / "d.vmdk", sha256=True)
    assert (found.flaws, found.sha256) == ((), plain(image, MIB))


def test_memory_does_not_grow_with_the_disk(tmp_path: Path) -> None:
    image = disk(tmp_path / "d.img", 2 << 40, [(0, b"a"), (1 << 40, b"b"), ((2 << 40) - 1, b"c")])
    tracemalloc.start()
    try:
        write(image, tmp_path / "d.vmdk", threads=2)
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB  # its tables alone would have 128
    finally:
        tracemalloc.stop()


def test_of_many_pieces_in_work_at_once_each_keeps_its_own_bytes(tmp_path: Path) -> None:
    image = tmp_path / "d.img"
    image.write_bytes(random.Random(6).randbytes(24 * MIB))
    write(image, tmp_path / "d.vmdk", threads=4)
    assert grains.examine(tmp_path / "d.vmdk").content == digest.content(image)


def test_small_is_smaller_than_fast(tmp_path: Path) -> None:
    words = [w.encode() for w in random.Random(4).choices(["eth0", "alias", "inet", "255.255.255.0\n", "up "], k=400_000)]
    (tmp_path / "d.img").write_bytes(b" ".join(words)[: 2 * MIB])
    fast, small = (write(tmp_path / "d.img", tmp_path / "d.vmdk", level) for level in ("fast", "small"))
    assert small.bytes < fast.bytes < MIB
    assert small.content == fast.content


def test_the_descriptor_says_what_vsphere_asks_for(tmp_path: Path) -> None:
    image = disk(tmp_path / "d.img", 8 << 30, [(0, b"x")])
    write(image, tmp_path / "d.vmdk")
    header = vmdk.read(tmp_path / "d.vmdk")
    assert (header.version, header.flags, header.compression, header.grain) == (3, 0x30001, 1, GRAIN)
    said = header.descriptor
    assert said["extent"] == f'RW {(8 << 30) // 512} SPARSE "disk.vmdk"'
    assert (said["createType"], said["parentCID"]) == ("streamOptimized", "ffffffff")
    assert (said["ddb.adapterType"], said["ddb.toolsVersion"]) == ("lsilogic", "2147483647")
    assert said["ddb.geometry.cylinders"] == str(-(-(8 << 30) // 512 // (255 * 63)))
    assert said["ddb.longContentID"].endswith(said["CID"])


@pytest.mark.parametrize(("size", "what"), [(0, "0 bytes"), ((2 << 40) + 512, "2,199,023,256,064 bytes")])
def test_a_disk_that_does_not_fit_into_the_format_is_refused_with_the_reason(tmp_path: Path, size: int, what: str) -> None:
    image = disk(tmp_path / "d.img", size, []) if size else tmp_path / "d.img"
    image.touch()
    with pytest.raises(BadInput, match="does not fit") as e:
        write(image, tmp_path / "d.vmdk")
    assert e.value.problems[0].found == what
    assert "32 bits" in e.value.problems[0].expected
    assert not (tmp_path / "d.vmdk").exists()


def test_a_stream_that_becomes_too_long_for_its_tables_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.img").write_bytes(NOISE)
    monkeypatch.setattr(stream, "_SECTORS", 200)  # 100 KiB in place of 2 TiB
    for make in (write, flow):
        with pytest.raises(StepFailed, match="too long"):
            make(tmp_path / "d.img", tmp_path / "d.vmdk")


def test_a_name_that_does_not_fit_into_the_descriptor_is_refused(tmp_path: Path) -> None:
    with RawDisk(disk(tmp_path / "d.img", MIB, [])) as source, pytest.raises(BadInput, match="name is too long"):
        stream.write(source, tmp_path / "d.vmdk", "x" * 20_000)


def big(path: Path) -> Path:
    path.write_bytes(random.Random(5).randbytes(24 * MIB))
    return path


def overwrite(path: Path) -> None:
    with path.open("r+b") as f:
        f.write(b"!")


def meddle(image: Path, act: object) -> None:
    """Write the image's stream while `act(image)` happens after the first few MiB."""
    seen: list[float] = []

    def progress(done: float, total: float, text: str) -> None:
        if not seen:
            act(image)  # type: ignore[operator]
        seen.append(done)

    with RawDisk(image) as source:
        stream.write(source, image.with_suffix(".vmdk"), "disk.vmdk", threads=2, progress=progress)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda p: os.truncate(p, 20 * MIB), "became shorter"),
        (lambda p: os.truncate(p, 25 * MIB), "changed while it was read"),
        (overwrite, "changed while it was read"),
    ],
    ids=["cut off", "grown", "written to"],
)
def test_a_disk_that_changes_while_it_is_read_leaves_no_vmdk(tmp_path: Path, act: object, what: str) -> None:
    image = big(tmp_path / "d.img")
    with pytest.raises(HikkoshiError, match=what):
        meddle(image, act)
    with pytest.raises(BadInput):  # what there is has no header
        vmdk.read(tmp_path / "d.vmdk")


def test_a_target_that_is_full_is_told_by_the_system_s_own_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as e:
        write(big(tmp_path / "d.img"), Path("/dev/full"))
    assert e.value.errno == errno.ENOSPC


def test_ctrl_c_ends_all_threads_and_leaves_no_vmdk(tmp_path: Path) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meddle(big(tmp_path / "d.img"), interrupt)
    with pytest.raises(BadInput):
        vmdk.read(tmp_path / "d.vmdk")


def test_the_pace_is_kept_in_a_bounded_number_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_SAMPLES", 5)
    made = write(big(tmp_path / "d.img"), tmp_path / "d.vmdk")
    seconds, done = zip(*made.samples, strict=True)
    assert 3 <= len(made.samples) <= 7
    assert (seconds[0], done[0], done[-1]) == (0.0, 0, 24 * MIB)
    assert (list(seconds), list(done)) == (sorted(seconds), sorted(done))


def test_progress_goes_up_to_the_whole(tmp_path: Path) -> None:
    seen: list[float] = []
    with RawDisk(big(tmp_path / "d.img")) as source:
        stream.write(source, tmp_path / "d.vmdk", "d", progress=lambda done, total, text: seen.append(done / total))
    assert seen == sorted(seen)
    assert len(seen) > 3
    assert seen[-1] == 1
