"""Reading VMDK streams: both layouts, and every way in which one can be broken."""

import contextlib
import hashlib
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hikkoshi.disk import conversion, vmdk
from hikkoshi.disk import grains as grains_of
from hikkoshi.errors import BadInput
from hikkoshi.rehearsal.boot import boot
from hikkoshi.rehearsal.machine import Hardware

GRAIN = 1 << 16
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=0badcafe
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW {sectors} SPARSE "{name}"

# The Disk Data Base
ddb.virtualHWVersion = "10"
ddb.adapterType = "{adapter}"
"""


def stream(
    grains: dict[int, bytes],
    count: int,
    *,
    footer: bool = False,
    version: int = 3,
    flags: int = 0x30001,
    adapter: str = "lsilogic",
    newlines: bytes = b"\n \r\n",
    entries: int = 512,
) -> bytes:
    """A VMDK stream of `count` grains with the given ones filled: tables up front, or behind the grains with a footer."""
    text = DESCRIPTOR.format(sectors=count * 128, name="x.vmdk", adapter=adapter).encode()
    tables = -(-count // entries)
    table_sectors = -(-entries * 4 // 512)

    def header(directory: int) -> bytes:
        return struct.pack(
            "<4sIIQQQQIQQQB4sH433x", b"KDMV", version, flags, count * 128, 128, 1, 20, entries, 0, directory, 128, 0, newlines, 1
        )

    directory_sector = 21
    body, at = b"", 128  # grains begin at sector 128, as with the tables up front of a small disk
    places = [0] * (tables * entries)
    for number in sorted(grains):
        packed = zlib.compress(grains[number])
        places[number] = at
        piece = struct.pack("<QI", number * 128, len(packed)) + packed
        piece = piece.ljust(-(-len(piece) // 512) * 512, b"\0")
        body, at = body + piece, at + len(piece) // 512

    def table(n: int) -> bytes:
        return struct.pack(f"<{entries}I", *places[n * entries : (n + 1) * entries]).ljust(table_sectors * 512, b"\0")

    def directory(tables_at: list[int]) -> bytes:
        packed = struct.pack(f"<{tables}I", *tables_at)
        return packed.ljust(-(-len(packed) // 512) * 512, b"\0")

    head = text.ljust(20 * 512, b"\0")
    if footer:
        out = (header(vmdk.AT_END) + head).ljust(128 * 512, b"\0") + body
        tables_at = []
        for n in range(tables):
            out += struct.pack("<QII", table_sectors, 0, 1).ljust(512, b"\0")
            tables_at.append(len(out) // 512)
            out += table(n)
        out += struct.pack("<QII", len(directory(tables_at)) // 512, 0, 2).ljust(512, b"\0")
        place = len(out) // 512
        out += directory(tables_at) + struct.pack("<QII", 1, 0, 3).ljust(512, b"\0")
        return out + header(place) + bytes(512)
    first = directory_sector + len(directory([0] * tables)) // 512
    up = directory([first + n * table_sectors for n in range(tables)]) + b"".join(map(table, range(tables)))
    return (header(directory_sector) + head + up).ljust(128 * 512, b"\0") + body + bytes(512)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def red(path: Path, capacity: int) -> list[str]:
    return [c.title for c in vmdk.check_stream(path, capacity) if not c]


GRAINS = st.dictionaries(
    st.integers(0, 1000), st.binary(min_size=1, max_size=64).map(lambda b: b.ljust(GRAIN, b"\0")), max_size=8
)


@SHARED_FOLDER
@given(GRAINS, st.booleans())
def test_both_layouts_are_read_to_the_end_of_their_last_grain(tmp_path: Path, grains: dict[int, bytes], footer: bool) -> None:
    content = stream(grains, 1001, footer=footer)
    path = saved(tmp_path / "x.vmdk", content)
    assert red(path, 1001 * GRAIN) == []
    header = vmdk.read(path)
    assert (header.version, header.capacity, header.grain, header.stream) == (3, 1001 * GRAIN, GRAIN, True)
    assert header.descriptor["extent"] == f'RW {1001 * 128} SPARSE "x.vmdk"'
    if grains and not footer:
        assert content[vmdk.used(path) :].strip(b"\0") == b""


@SHARED_FOLDER
@given(GRAINS.filter(bool), st.booleans(), st.data())
def test_a_stream_that_was_cut_off_is_never_whole(
    tmp_path: Path, grains: dict[int, bytes], footer: bool, data: st.DataObject
) -> None:
    content = stream(grains, 1001, footer=footer)
    end = vmdk.used(saved(tmp_path / "x.vmdk", content))
    cut = data.draw(st.integers(0, len(content) - 1 if footer else end - 1))
    assert red(saved(tmp_path / "x.vmdk", content[:cut]), 1001 * GRAIN)


@SHARED_FOLDER
@example(grains={}, footer=True, damage=[(56, b"\0")])  # a footer whose directory is in another footer
@given(GRAINS, st.booleans(), st.lists(st.tuples(st.integers(0, 1 << 17), st.binary(min_size=1, max_size=8)), max_size=5))
def test_no_damage_makes_the_check_itself_fail(
    tmp_path: Path, grains: dict[int, bytes], footer: bool, damage: list[tuple[int, bytes]]
) -> None:
    content = bytearray(stream(grains, 1001, footer=footer))
    for offset, piece in damage:
        at = offset % len(content)
        content[at : at + len(piece)] = piece
    path = saved(tmp_path / "x.vmdk", bytes(content))
    for check in vmdk.check_stream(path, 1001 * GRAIN):
        assert check.found
    with contextlib.suppress(BadInput):
        for flaw in grains_of.examine(path).flaws:
            assert flaw.what


@SHARED_FOLDER
@given(st.binary(max_size=2000) | st.binary(max_size=1000).map(lambda b: b"KDMV" + b))
def test_anything_else_is_one_red_check_and_bad_input(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path / "x.vmdk", content)
    assert red(path, GRAIN) == ["the VMDK is a sparse VMDK"]
    with pytest.raises(BadInput, match="no usable VMDK"):
        vmdk.read(path)


@SHARED_FOLDER
@given(GRAINS, st.booleans(), st.integers(0, 1001 * GRAIN))
def test_both_layouts_are_examined_to_their_last_byte_and_give_the_disk_that_was_put_in(
    tmp_path: Path, grains: dict[int, bytes], footer: bool, size: int
) -> None:
    size = max(size, (max(grains, default=0) + 1) * GRAIN)  # what lies behind is padding
    found = grains_of.examine(saved(tmp_path / "x.vmdk", stream(grains, 1001, footer=footer)), size=size, sha256=True)
    plain, at = hashlib.sha256(), 0
    for number, grain in sorted(grains.items()):
        plain.update(bytes(number * GRAIN - at) + grain)
        at = (number + 1) * GRAIN
    plain.update(bytes(size - at))
    assert found.flaws == ()
    assert found.grains == len(grains)
    assert found.sha256 == plain.hexdigest()


def test_a_missing_file_is_a_red_check(tmp_path: Path) -> None:
    (check,) = vmdk.check_stream(tmp_path / "gone.vmdk", GRAIN)
    assert not check
    assert "No such file" in check.found


@pytest.mark.parametrize(
    ("wrong", "title"),
    [
        ({"version": 1}, "the VMDK's version is one that ESXi takes"),
        ({"flags": 1}, "the VMDK is a stream"),
        ({"adapter": "ide"}, "the VMDK names a SCSI adapter"),
        ({"newlines": b"\n \n\n"}, "no transfer as text has damaged the file"),
        ({"entries": 256}, "the grain tables have VMware's size"),
    ],
)
def test_each_property_that_esxi_asks_for_has_a_check_of_its_own(tmp_path: Path, wrong: dict[str, object], title: str) -> None:
    content = stream({3: b"x" * GRAIN}, 16, **wrong)  # type: ignore[arg-type]
    assert title in red(saved(tmp_path / "x.vmdk", content), 16 * GRAIN)


def test_another_capacity_than_the_planned_one_is_red(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.vmdk", stream({}, 16))
    assert red(path, 17 * GRAIN) == ["the VMDK has the planned capacity"]


def test_a_grain_that_is_filed_under_another_address_is_red(tmp_path: Path) -> None:
    content = bytearray(stream({3: b"x" * GRAIN}, 16))
    content[128 * 512 : 128 * 512 + 8] = (4 * 128).to_bytes(8, "little")
    assert red(saved(tmp_path / "x.vmdk", bytes(content)), 16 * GRAIN) == ["the VMDK is whole"]


def test_a_directory_of_absurd_size_is_refused_without_reading_it(tmp_path: Path) -> None:
    content = bytearray(stream({}, 16))
    content[12:20] = (1 << 62).to_bytes(8, "little")
    assert red(saved(tmp_path / "x.vmdk", bytes(content)), GRAIN) == ["the VMDK is a sparse VMDK"]


@pytest.mark.needs("qemu-img")
@pytest.mark.parametrize("footer", [False, True])
def test_qemu_reads_from_both_layouts_what_was_put_in(tmp_path: Path, footer: bool) -> None:
    grains = {0: b"a" * GRAIN, 700: bytes(range(256)) * 256, 1000: b"z" * GRAIN}
    path = saved(tmp_path / "x.vmdk", stream(grains, 1001, footer=footer))
    with (tmp_path / "x.raw").open("wb") as f:
        for number, grain in grains.items():
            f.seek(number * GRAIN)
            f.write(grain)
    subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", path, tmp_path / "x.raw"], check=True, capture_output=True)


def names(trap: Path, how: str) -> bytes:
    """A VMDK stream that makes QEMU open another file."""
    content = bytearray(stream({0: b"a" * GRAIN}, 16))
    if how == "no capacity":
        content[12:20] = bytes(8)
    text = f'version=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "{trap}" 0\n'
    if how in ("a parent", "a parent behind the descriptor"):
        text = f'version=1\nCID=1\nparentCID=00000001\ncreateType="streamOptimized"\nparentFileNameHint="{trap}"\n'
    at = 512
    if how == "a parent behind the descriptor":  # where the header says that the descriptor is, there is a harmless one
        content[28:36] = (17).to_bytes(8, "little")
        content[36:44] = (4).to_bytes(8, "little")
        content[17 * 512 : 18 * 512] = content[512 : 2 * 512]
    content[at : at + 2048] = text.encode().ljust(2048, b"\0")
    return bytes(content)


@pytest.mark.parametrize("how", ["no capacity", "a parent", "a parent behind the descriptor"])
def test_a_vmdk_that_names_another_file_is_opened_by_no_program(tmp_path: Path, trap: Path, how: str) -> None:
    path = saved(tmp_path / "x.vmdk", names(trap, how))
    copy = saved(tmp_path / "x.img", bytes(GRAIN))
    with pytest.raises(BadInput) as e:
        vmdk.self_contained(path)
    assert all((p := e.value.problems[0], p.what, p.where, p.found, p.expected, p.remedy))
    assert not conversion.compare(copy, path)
    machine = Hardware(controller="pvscsi", nic_model="vmxnet3", memory_mb=64, vcpus=1, nics=())
    with pytest.raises(BadInput):
        boot(path, "vmdk", machine, tmp_path, "after", probe=True, accelerator="tcg")


def test_a_vmdk_of_ours_names_no_other_file(tmp_path: Path) -> None:
    for footer in (False, True):
        vmdk.self_contained(saved(tmp_path / "x.vmdk", stream({0: b"a" * GRAIN}, 16, footer=footer)))
