"""Disk images: what is refused before anything looks inside, and what the first sectors say."""

import os
import struct
import subprocess
import time
import uuid
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hikkoshi.disk import source
from hikkoshi.errors import BadInput


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as e:
        source.facts(path)
    (p,) = e.value.problems
    assert all((p.what, p.where, p.found, p.expected, p.remedy))
    assert p.where == str(path)
    assert e.value.exit_code == 2
    return f"{p.what}: {p.found}"


def image(path: Path, head: bytes = b"", size: int = 1 << 20, end: bytes = b"") -> Path:
    with path.open("wb") as f:
        f.write(head)
        f.truncate(size)
        f.seek(size - 512)
        f.write(end)
    return path


def sector(code: bytes = b"", *entries: tuple[int, int, int, int], signature: bytes = b"\x55\xaa") -> bytes:
    """A first sector; entries are (status, type, first sector, sectors)."""
    table = b"".join(struct.pack("<B3xB3xII", *e) for e in entries)
    return code.ljust(446, b"\0") + table.ljust(64, b"\0") + signature


LINUX = (0x80, 0x83, 63, 1000)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "gone.img")


def test_an_empty_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    assert "empty" in refused(tmp_path / "empty.img")


def test_an_image_that_is_not_whole_sectors_is_refused(tmp_path: Path) -> None:
    assert "1,000 bytes" in refused(image(tmp_path / "cut.img", size=1000))


def test_a_folder_a_pipe_and_a_terminal_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opened without care, this would hang for ever
    assert "a folder" in refused(tmp_path)
    assert "neither file nor block device" in refused(tmp_path / "pipe")
    assert "neither file nor block device" in refused(Path("/dev/null"))


def test_an_image_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = image(tmp_path / "secret.img")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        assert "Permission denied" in refused(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"QFI\xfb\0\0\0\3", "qcow"),
        (b"KDMV", "VMDK"),
        (b"COWD", "VMDK"),
        (b"# Disk DescriptorFile", "VMDK"),
        (b"conectix", "VHD"),
        (b"vhdxfile", "VHDX"),
        (b"QED\0", "QED"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>".ljust(0x40, b"\0") + b"\x7f\x10\xda\xbe", "VDI"),
        (b"WithoutFreeSpace", "Parallels"),
        (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0", "cloop"),
        (b"\xbe\xba\xfe\xca\0\0\0\0", "SESparse"),
    ],
)
def test_a_raw_image_with_the_header_of_another_format_is_refused(tmp_path: Path, head: bytes, name: str) -> None:
    words = refused(image(tmp_path / "evil.img", head))
    assert "header of another format" in words
    assert name in words


def test_the_footer_of_a_fixed_vhd_is_a_foreign_header_too(tmp_path: Path) -> None:
    assert "VHD" in refused(image(tmp_path / "fixed.img", end=b"conectix"))


def test_a_dmg_is_told_by_its_last_sector(tmp_path: Path) -> None:
    assert "DMG" in refused(image(tmp_path / "apple.img", end=b"koly\0\0\0\4"))


DESCRIPTOR = 'version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "{file}" 0\n'


BEGINNINGS = [
    "# Disk DescriptorFile\n",
    "# disk descriptorfile\n",
    "#\n",
    "# anything else\n",
    "#a\n#b\n\n   \n",
    "   \n",
    "",
    "# DOS\r\n\r\n",
    "\ufeff",
    "\ufeff# Disk DescriptorFile\n",
    "\t",
]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_descriptor_that_names_a_file_is_refused_however_it_begins_and_the_file_is_not_opened(
    tmp_path: Path, trap: Path, begin: str
) -> None:
    assert "VMDK descriptor" in refused(image(tmp_path / "evil.img", (begin + DESCRIPTOR.format(file=trap)).encode()))


COMMENTS = st.lists(
    st.one_of(
        st.just(""),
        st.text(" ", max_size=5),
        st.text(st.characters(codec="ascii", exclude_characters="\0\r\n")).map(lambda words: "#" + words),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(COMMENTS, st.sampled_from(["\n", "\r\n"]), st.sampled_from("123"))
@example([""] * 8 + ["#" * 9999] * 6, "\n", "1")
def test_a_descriptor_is_told_behind_whatever_qemu_skips(comments: list[str], end: str, version: str) -> None:
    text = end.join([*comments, f"version={version}", 'RW 8 FLAT "/dev/watchdog" 0', ""])
    assert source.foreign(text.encode(), b"") == "VMDK descriptor"


@pytest.mark.needs("qemu-img")
def test_every_format_that_qemu_makes_is_told(tmp_path: Path) -> None:
    for name in ("qcow", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc", "parallels"):
        made = tmp_path / f"made.{name}"
        subprocess.run(["qemu-img", "create", "-q", "-f", name, made, "4M"], check=True)
        assert source.foreign(made.read_bytes()[: source.HEAD], made.read_bytes()[-512:]), name
    for kind in ("monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"):
        made = tmp_path / f"{kind}.vmdk"
        subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", f"subformat={kind}", made, "4M"], check=True)
        assert "VMDK" in source.foreign(made.read_bytes()[: source.HEAD], b""), kind


@pytest.mark.parametrize("piece", [b"#", b"\n", b" ", b"\r", b"#Disk", b"\xef\xbb\xbf", b"\n "])
def test_the_look_for_a_descriptor_takes_no_time_whatever_the_guest_wrote(piece: bytes) -> None:
    begun = time.process_time()
    assert source.foreign((piece * source.HEAD)[: source.HEAD], b"") == ""
    assert time.process_time() - begun < 1


def test_a_partition_table_is_recognised() -> None:
    assert source.table(sector(b"\xeb\x48GRUB", LINUX)) == "mbr"
    assert source.table(sector(b"", (0, 0xEE, 1, 1000)) + b"EFI PART".ljust(512, b"\0")) == "gpt"


def test_a_file_system_on_the_whole_disk_has_no_partition_table() -> None:
    assert source.table(bytes(1024)) == "none"
    assert source.table(sector(b"\xeb\x3c\x90mkfs.fat", (0x6E, 0x6F, 7, 7))) == "none"  # a FAT boot sector ends alike
    assert source.table(sector(b"", LINUX, signature=b"\0\0")) == "none"
    assert source.table(sector(b"")) == "none"


@pytest.mark.parametrize(
    ("code", "loader"),
    [
        (b"\xeb\x48\x90".ljust(0x17F, b"\0") + b"GRUB \0Geom\0Hard Disk\0Read\0 Error", "grub-legacy"),
        (b"\xeb\x63\x90".ljust(0x180, b"\0") + b"GRUB \0Geom\0Hard Disk\0Read\0 Error", "grub2"),
        (b"\xfa\xeb\x3cLILO", "unknown"),
        (b"", "none"),
    ],
)
def test_the_boot_loader_is_told_by_the_code_in_the_first_sector(code: bytes, loader: str) -> None:
    assert source.boot_loader(sector(code, LINUX)) == loader


@pytest.mark.parametrize(("code", "loader"), [(b"", "uefi"), (b"\xeb\x63\x90".ljust(0x180, b"\0") + b"GRUB ", "grub2")])
def test_a_disk_with_an_efi_system_partition_and_no_code_starts_by_uefi(code: bytes, loader: str) -> None:
    entry = source.ESP.bytes_le + bytes(112)
    header = b"EFI PART".ljust(72, b"\0") + (2).to_bytes(8, "little")
    head = sector(code, (0, source.GPT, 1, 1000)) + header.ljust(512, b"\0") + entry
    assert source.boot_loader(head) == loader
    assert source.boot_loader(sector(code, (0, source.MBR_ESP, 1, 1000))) == loader  # an MBR may have one, too


@settings(deadline=None)
@given(st.binary(max_size=1024))
def test_no_first_sector_makes_the_look_fail(head: bytes) -> None:
    assert source.table(head) in ("mbr", "gpt", "none")
    assert source.boot_loader(head) in get_args(source.BootLoader)
    source.foreign(head, head[:512])


def with_partitions(path: Path, unit: int, begins: bytes, first: int = 256) -> Path:
    """A disk whose MBR counts in sectors of `unit` bytes, with something at the beginning of its one partition."""
    with image(path, sector(b"code", (0x80, 0x83, first, 512)), 8 << 20).open("r+b") as f:
        f.seek(first * unit)
        f.write(begins)
    return path


@pytest.mark.parametrize(
    "begins",
    [bytes(1080) + b"\x53\xef", b"XFSB", bytes(512) + b"LABELONE", bytes(4086) + b"SWAPSPACE2", bytes(510) + b"\x55\xaa"],
    ids=["ext", "xfs", "lvm", "swap", "fat or logical"],
)
def test_sectors_of_4096_bytes_are_told_by_what_begins_at_the_partitions(tmp_path: Path, begins: bytes) -> None:
    assert source.facts(with_partitions(tmp_path / "a.img", 4096, begins)).sector_bytes == 4096
    assert source.facts(with_partitions(tmp_path / "b.img", 512, begins)).sector_bytes == 512


def test_a_gpt_in_the_second_sector_tells_how_long_a_sector_is(tmp_path: Path) -> None:
    protective = sector(b"", (0, 0xEE, 1, 0xFFFFFFFF))
    for unit in (512, 4096):
        facts = source.facts(image(tmp_path / f"{unit}.img", protective.ljust(unit, b"\0") + b"EFI PART"))
        assert (facts.table, facts.sector_bytes) == ("gpt", unit)


def test_a_table_of_which_nothing_is_known_counts_as_vmwares(tmp_path: Path) -> None:
    beyond = sector(b"code", (0x80, 0x83, 0xFFFFFFFF, 512), (0, 0x83, 0, 512))
    assert source.facts(image(tmp_path / "a.img", beyond)).sector_bytes == 512
    assert source.facts(image(tmp_path / "b.img")).sector_bytes == 512
    assert (
        source.DiskFacts.model_validate({**source.facts(tmp_path / "b.img").model_dump(exclude={"sector_bytes"})}).sector_bytes
        == 512
    )


@pytest.mark.parametrize(
    ("kinds", "system"),
    [
        ((0xA5,), "FreeBSD"),
        ((0xA9,), "NetBSD"),
        ((0xA6,), "OpenBSD"),
        ((0x07,), "Windows"),
        ((0x07, 0x27), "Windows"),
        ((0xBF,), "Solaris"),  # of Linux's swap it has the number of old
        ((0x6C,), "DragonFly BSD"),
        ((0xFB, 0xFC), "VMware ESXi"),
        ((0x83, 0x07), ""),
        ((0x07, 0x05), ""),  # Linux may be on a logical one
        ((0x8E,), ""),
        ((0x0C,), ""),  # nobody can tell
    ],
)
def test_the_system_is_told_by_the_types_of_its_partitions(tmp_path: Path, kinds: tuple[int, ...], system: str) -> None:
    entries = [(0, kind, 2048 * (n + 1), 2048) for n, kind in enumerate(kinds)]
    assert source.facts(image(tmp_path / "a.img", sector(b"code", *entries))).system == system


def test_bsds_own_list_of_partitions_is_of_bsd(tmp_path: Path) -> None:
    assert source.facts(image(tmp_path / "a.img", bytes(512) + b"\x57\x45\x56\x82")).system == "BSD"


@pytest.mark.parametrize(
    ("kinds", "system"),
    [
        (("83bd6b9d-7f41-11dc-be0b-001560b84f0f", "516e7cb6-6ecf-11d6-8ff8-00022d09712b"), "FreeBSD"),
        (("516e7cba-6ecf-11d6-8ff8-00022d09712b",), "FreeBSD"),
        (("e3c9e316-0b5c-4db8-817d-f92df00215ae", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"), "Windows"),
        (("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7",), ""),  # which old partitioners gave Linux, too
        (("0fc63daf-8483-4772-8e79-3d69d8477de4",), ""),
    ],
)
def test_the_system_of_a_gpt_too(tmp_path: Path, kinds: tuple[str, ...], system: str) -> None:
    header = (b"EFI PART" + bytes(64) + (2).to_bytes(8, "little")).ljust(512, b"\0")
    entries = b"".join(uuid.UUID(kind).bytes_le.ljust(128, b"\0") for kind in kinds)
    protective = sector(b"", (0, 0xEE, 1, 0xFFFFFFFF))
    assert source.facts(image(tmp_path / "a.img", protective + header + entries)).system == system
