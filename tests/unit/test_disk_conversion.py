"""A conversion is complete by size and hash, and of this very copy; nothing less counts. (The real one: system tests.)"""

from collections.abc import Callable
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.disk import conversion, digest
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.errors import Refused
from hikkoshi.params.folder import GuestFolder


@pytest.fixture
def folder(tmp_path: Path) -> GuestFolder:
    """A guest's folder with a copy, a file in place of its VMDK, and the record of both."""
    made = GuestFolder(tmp_path / "a")
    copy, vmdk = made.prepared_copy, made.vmdk
    made.disks.mkdir(parents=True)
    copy.write_bytes(b"c" * 1024)
    vmdk.write_bytes(b"v" * 100)
    Conversion(
        vmdk="a.vmdk",
        vmdk_bytes=100,
        vmdk_sha256=files.sha256(vmdk),
        vmdk_sha1="0" * 40,
        virtual_bytes=1 << 20,
        copy_bytes=1024,
        copy_digest=digest.content(copy),
        copy_identity=Identity.of(Origin.whole(copy)),
        level="fast",
        threads=2,
        qemu_img="7.2.0",
        samples=((0.0, 0), (9.0, 1024)),
        seconds=1.0,
    ).save(made)
    return made


def complete(folder: GuestFolder) -> tuple[bool, str]:
    check = conversion.complete(folder)
    return check.ok, check.found


def test_a_vmdk_as_recorded_of_the_copy_as_recorded_is_complete(folder: GuestFolder) -> None:
    assert complete(folder)[0]


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda f: (f / "disk/a.vmdk").unlink(), "no VMDK yet"),
        (lambda f: (f / "conversion.json").unlink(), "no conversion.json"),
        (lambda f: (f / "conversion.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "disk/a.img").unlink(), "copy is gone"),
        (lambda f: (f / "disk/a.vmdk").write_bytes(b"v" * 99), "99 bytes in the VMDK, 100 recorded"),
        (lambda f: (f / "disk/a.vmdk").write_bytes(b"v" * 99 + b"w"), "SHA-256 of the VMDK"),
        (lambda f: (f / "disk/a.img").write_bytes(b"c" * 512), "512 bytes in the copy"),
        (lambda f: (f / "disk/a.img").write_bytes(b"c" * 1023 + b"d"), "content digest of the copy"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_anything_less_is_not_complete_and_says_why(folder: GuestFolder, harm: Callable[[Path], object], found: str) -> None:
    harm(folder)
    ok, words = complete(folder)
    assert not ok
    assert found in words


@pytest.mark.parametrize("written", [True, False], ids=["written anew", "not told"])
def test_a_vmdk_of_a_copy_with_the_same_content_is_kept_and_told_of_that_copy(folder: GuestFolder, *, written: bool) -> None:
    copy, vmdk = folder / "disk/a.img", folder / "disk/a.vmdk"
    before, recorded = Conversion.load(folder), vmdk.stat()
    if written:
        content = copy.read_bytes()
        copy.unlink()
        copy.write_bytes(content)
    else:
        before.model_copy(update={"copy_identity": None}).save(folder)
    ok, words = complete(folder)
    assert not ok
    assert "written anew" in words
    made = conversion.start(folder)
    assert complete(folder)[0]
    assert vmdk.stat() == recorded, "nothing was converted again"
    assert made == before.model_copy(update={"copy_identity": Identity.of(Origin.whole(copy))})


def test_before_anything_was_prepared_the_checks_wait_instead_of_failing(tmp_path: Path) -> None:
    checks = conversion.checks(GuestFolder(tmp_path))
    assert [c.later for c in checks if not c] == [True, True, True]
    assert not any(conversion.proofs(GuestFolder(tmp_path)))


def test_of_several_disks_each_row_says_of_which_it_is(tmp_path: Path) -> None:
    made, *rows = conversion.proofs(GuestFolder(tmp_path / "gateway"), 3)
    assert "each of the 3 VMDKs" in made.title
    names = [vmdk.name for vmdk in GuestFolder(tmp_path / "gateway").vmdks(3)]
    assert [next(name for name in names if row.found.startswith(f"{name}: ")) for row in rows] == [
        name for name in names for _ in range(3)
    ]


def test_a_copy_that_became_another_format_is_not_converted(folder: GuestFolder) -> None:
    folder.vmdk.unlink()
    (folder / "disk/a.img").write_bytes(b"QFI\xfb".ljust(1024, b"\0"))
    with pytest.raises(Refused, match="qcow"):
        conversion.start(folder)
    assert sorted(p.name for p in (folder / "disk").iterdir()) == ["a.img"]
