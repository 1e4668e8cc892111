"""VMDKs of other makers: named for what they are, and refused as an import would refuse them."""

from pathlib import Path

import pytest

from hikkoshi import tool
from hikkoshi.disk import grains, vmdk
from hikkoshi.errors import BadInput, Problem

DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=703255f2
parentCID=ffffffff
createType="{kind}"

# Extent description
{extents}

# The Disk Data Base
ddb.adapterType = "ide"
"""


def problem(path: Path) -> Problem:
    with pytest.raises(BadInput) as caught:
        grains.examine(path)
    (found,) = caught.value.problems
    assert "hikkoshi convert" in found.remedy
    return found


@pytest.mark.parametrize(
    ("kind", "extents", "files"),
    [
        ("monolithicFlat", 'RW 40960 FLAT "a-flat.vmdk" 0', "a-flat.vmdk"),
        ("vmfs", 'RW 40960 VMFS "a-flat.vmdk"', "a-flat.vmdk"),
        ("twoGbMaxExtentSparse", 'RW 4192256 SPARSE "a-s001.vmdk"\nRW 2048 SPARSE "a-s002.vmdk"', "a-s001.vmdk, a-s002.vmdk"),
        ("custom", "RW 63 ZERO", "no file"),
    ],
)
def test_a_descriptor_is_told_as_a_descriptor_with_the_files_of_its_disk(
    tmp_path: Path, kind: str, extents: str, files: str
) -> None:
    path = tmp_path / "a.vmdk"
    path.write_text(DESCRIPTOR.format(kind=kind, extents=extents))
    found = problem(path)
    assert (found.code, found.found) == ("vmdk-descriptor-only", f"a descriptor only, of type {kind}; the disk is in {files}")


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"COWD", "VMDK (ESX)"),
        (b"\xbe\xba\xfe\xca\0\0\0\0", "VMDK (SESparse)"),
        (b"QFI\xfb", "qcow"),
        (b"conectix", "VHD"),
        (bytes(510) + b"\x55\xaa", "a raw disk, or the extent of a flat VMDK"),
        (b"?", "512 bytes beginning with b'?"),
    ],
)
def test_another_format_under_the_name_of_a_vmdk_is_named(tmp_path: Path, head: bytes, named: str) -> None:
    path = tmp_path / "a.vmdk"
    path.write_bytes(head.ljust(4096, b"\0"))
    assert named in problem(path).found


@pytest.mark.needs("qemu-img")
def test_what_qemu_makes_by_default_is_no_stream_and_its_grains_are_counted(tmp_path: Path) -> None:
    raw, made = tmp_path / "disk.raw", tmp_path / "a.vmdk"
    with raw.open("wb") as f:
        f.write(b"boot".ljust(512, b"\1"))
        f.truncate(20 << 20)
        f.seek(3 << 20)
        f.write(b"x" * (128 << 10))
    tool.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", str(raw), str(made)])
    found = grains.examine(made)
    assert found.grains == 3
    assert "monolithicSparse" in found.flaws[0].what
    assert "an import refuses it" in found.flaws[0].what
    assert not all(vmdk.check_stream(made, 20 << 20))
