"""What the lab's guests are put together from: RAM disks, tables of modules, and the list of fetched packages."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.guest import initrd as reader
from hikkoshi_lab import initrd, packages, userland


def module(*lines: str) -> bytes:
    return b"\x7fELF...\0" + b"".join(line.encode() + b"\0" for line in lines) + b"..."


MODULES = {
    "kernel/drivers/scsi/vmw_pvscsi.ko": module("alias=pci:v000015ADd000007C0sv*", "depends=scsi_mod"),
    "kernel/drivers/scsi/scsi_mod.ko": module("depends=scsi_common"),
    "kernel/drivers/scsi/scsi_common.ko": module("depends="),
    "kernel/drivers/scsi/sd_mod.ko": module("depends=scsi_mod,t10-pi"),
    "kernel/block/t10-pi.ko": module("depends="),
    "kernel/fs/ext4/ext4.ko": module("softdep=pre: crypto-crc32c", "alias=fs-ext3", "depends="),
}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}(/[a-z_.]{1,9})?", fullmatch=True), st.binary(max_size=99), max_size=8))
def test_what_is_archived_is_found_again_in_the_order_of_names(tmp_path_factory: object, content: dict[str, bytes]) -> None:
    path = tmp_path_factory.mktemp("initrd") / "initrd.img"  # type: ignore[attr-defined]
    path.write_bytes(initrd.gzipped(initrd.archive({k: (0o100644, v) for k, v in content.items()}, 1)))
    assert reader.names(path) == sorted(content)


def test_equal_contents_give_equal_archives_whatever_their_order_and_the_time() -> None:
    one = initrd.make(b"#!", b"busybox", [("a.ko", b"1")], 1)
    assert one == initrd.make(b"#!", b"busybox", [("a.ko", b"1")], 1)
    assert one != initrd.make(b"#!", b"busybox", [("a.ko", b"2")], 1)
    forwards = {"a": (0o100644, b"1"), "b": (0o100644, b"2")}
    assert initrd.archive(forwards, 1) == initrd.archive(dict(reversed(forwards.items())), 1)
    assert one[4:8] == b"\0\0\0\0"  # gzip's field for the time


def test_a_ram_disk_lists_its_modules_in_the_order_of_loading() -> None:
    made = gzip.decompress(initrd.make(b"#!", b"busybox", [("b.ko", b""), ("a.ko", b"")], 1))
    assert b"b.ko\na.ko\n" in made


def test_a_module_is_loaded_after_all_it_depends_on() -> None:
    order = [initrd.name_of(path) for path in initrd.load_order(MODULES, "sd_mod")]
    assert order == ["scsi_common", "scsi_mod", "t10_pi", "sd_mod"]


def test_the_tables_are_as_depmod_writes_them() -> None:
    tables = initrd.tables(MODULES)
    assert (
        "kernel/drivers/scsi/vmw_pvscsi.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko\n"
        in tables["modules.dep"]
    )
    assert "kernel/drivers/scsi/scsi_common.ko:\n" in tables["modules.dep"]
    assert tables["modules.alias"] == "alias pci:v000015ADd000007C0sv* vmw_pvscsi\nalias fs-ext3 ext4\n"
    assert tables["modules.softdep"] == "softdep ext4 pre: crypto-crc32c\n"


def test_the_image_of_the_xen_kernel_is_a_gzipped_64_bit_elf() -> None:
    elf = gzip.decompress(userland.xen_image())
    assert elf[:5] == b"\x7fELF\x02"
    assert b"GUEST_OS=linux" in elf
    assert b"\x55\xaa" not in elf[510:512]  # no boot sector: GRUB must not take it for an ordinary kernel


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """A folder in which all packages have been fetched."""
    listed = {}
    for name in packages.NAMES:
        (tmp_path / f"{name}.deb").write_bytes(name.encode())
        listed[name] = {"file": f"{name}.deb", "version": "1", "bytes": str(len(name)), "sha256": "00"}
    (tmp_path / "packages.json").write_text(json.dumps(listed))
    return tmp_path


def test_a_second_fetch_starts_no_program_at_all(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.tool, "run", None)
    assert packages.fetch(fetched) == (0, sum(map(len, packages.NAMES)))
    assert set(packages.load(fetched)) == set(packages.NAMES)


def test_all_missing_packages_are_named_with_what_to_do(fetched: Path) -> None:
    (fetched / "ethtool.deb").unlink()
    (fetched / "libc6.deb").write_bytes(b"lib")  # cut short
    with pytest.raises(BadInput) as e:
        packages.load(fetched)
    problem = e.value.problems[0]
    assert problem.found == "missing: ethtool, libc6"
    assert str(fetched) in problem.where
    assert problem.expected
    assert "make setup" in problem.remedy


def test_a_folder_that_was_never_filled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="linux-image-amd64"):
        packages.load(tmp_path / "nothing")


def test_a_list_that_was_cut_short_counts_as_none(fetched: Path) -> None:
    (fetched / "packages.json").write_text((fetched / "packages.json").read_text()[:40])
    with pytest.raises(BadInput, match="busybox-static"):
        packages.load(fetched)
