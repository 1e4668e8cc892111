"""Which disks a Xen guest has, and which of them it starts from."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hikkoshi.disk import digest, source
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.errors import BadInput
from hikkoshi.guest import survey
from hikkoshi.guest.facts import Partition
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.xen.config import XenDisk, XenGuest


def guest(*disks: str) -> XenGuest:
    made = tuple(XenDisk(vdev=d, target=f"/images/{d}.img", cdrom=d == "hdc") for d in disks)
    return XenGuest(name="a", memory_mb=512, disks=made)


def named(xen: XenGuest) -> list[list[str]]:
    return [[d.vdev for d in disk] for disk in survey.disks(xen)]


def test_a_drive_for_discs_is_no_disk() -> None:
    assert named(guest("xvda", "hdc")) == [["xvda"]]


def test_single_partitions_are_one_disk_in_the_order_of_their_numbers() -> None:
    assert named(guest("xvda2", "xvda1")) == [["xvda1", "xvda2"]]
    assert named(guest("sda1")) == [["sda1"]]


def test_several_disks_are_in_the_order_of_their_names() -> None:
    assert named(guest("xvdaa", "xvdc", "xvdb1", "xvda2", "xvda1")) == [["xvda1", "xvda2"], ["xvdb1"], ["xvdc"], ["xvdaa"]]
    assert named(guest("d10", "d2p1")) == [["d2p1"], ["d10"]]


def test_a_guest_without_a_disk_is_refused() -> None:
    with pytest.raises(BadInput, match="no disk"):
        survey.disks(guest("hdc"))


def test_a_whole_disk_of_the_same_name_as_a_partition_is_refused_with_both() -> None:
    with pytest.raises(BadInput, match="same one by their names") as e:
        survey.disks(guest("xvda", "xvda1", "xvdb"))
    assert [p.found for p in e.value.problems] == ["xvda = /images/xvda.img, xvda1 = /images/xvda1.img"]


Origins = Callable[..., list[tuple[str, int, int]]]


@pytest.fixture
def origins(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Origins:
    """(vdev, disk, number) of each part of a guest whose images begin with these bytes; `how` Xen starts it."""

    def of(how: Mapping[str, object], **disks: bytes) -> list[tuple[str, int, int]]:
        return [(p.vdev, p.disk, p.number) for p in origin(home, monkeypatch, tmp_path, how, **disks).parts]

    return of


def origin(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: Mapping[str, object] | None = None, **disks: bytes
) -> Origin:
    xen = guest(*disks).model_copy(update=how or {})
    monkeypatch.setattr(survey, "configuration", lambda *_: xen)
    monkeypatch.setattr(survey.root, "disk_path", lambda _, __, target: tmp_path / Path(target).name)
    for name, head in disks.items():
        (tmp_path / f"{name}.img").write_bytes(head.ljust(1 << 20, b"\0"))
    return survey.origin_of(home, home.site(), home.guest("gateway"))


MBR = b"\xeb\x48 GRUB ".ljust(510, b"\0") + b"\x55\xaa"
TABLE = (bytes(446) + bytes([0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0])).ljust(510, b"\0") + b"\x55\xaa"
EXT3, SWAP = bytes(1080) + b"\x53\xef", bytes(4086) + b"SWAPSPACE2"


def test_of_a_guest_with_a_bios_the_disk_with_a_boot_loader_comes_first(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = origin(home, monkeypatch, tmp_path, {"type": "hvm"}, xvda=EXT3, xvdb=MBR, xvdc=SWAP)
    assert [(p.vdev, p.disk, p.number) for p in found.parts] == [("xvdb", 0, 0), ("xvda", 1, 0), ("xvdc", 2, 0)]
    assert survey.called(guest("xvda", "xvdb", "xvdc"), found)[1][0] == "xvda"


@pytest.mark.parametrize("kernel", ["", "/usr/lib/xen/boot/pv-grub-x86_64.gz"])
def test_where_xen_looks_for_a_menu_the_first_disk_of_the_configuration_comes_first(origins: Origins, kernel: str) -> None:
    """An old boot loader on a data disk is nothing that Xen has ever seen."""
    assert origins({"kernel": kernel}, xvda=TABLE, xvdb=MBR) == [("xvda", 0, 0), ("xvdb", 1, 0)]
    assert origins({"kernel": kernel}, xvdc=EXT3, xvda=MBR) == [("xvdc", 0, 1), ("xvda", 1, 0)]


@pytest.mark.parametrize("root", [{"root": "/dev/xvdb1 ro"}, {"root": "/dev/sdb1"}, {"cmdline": "quiet root=/dev/xvdb1"}])
def test_where_xen_gives_the_kernel_the_disk_of_its_root_comes_first(origins: Origins, root: dict[str, str]) -> None:
    assert origins({"kernel": "/boot/vmlinuz", **root}, xvda=MBR, xvdb=TABLE) == [("xvdb", 0, 0), ("xvda", 1, 0)]


def test_where_the_root_is_a_volume_the_disk_with_a_boot_loader_comes_first(origins: Origins) -> None:
    how = {"kernel": "/boot/vmlinuz", "root": "/dev/mapper/vg-root"}
    assert origins(how, xvda=SWAP, xvdb=MBR) == [("xvdb", 0, 0), ("xvda", 1, 0)]


def test_one_file_for_two_disks_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "xvdb.img").symlink_to("xvda.img")
    with pytest.raises(BadInput, match="the same file or device") as e:
        origin(home, monkeypatch, tmp_path, xvda=EXT3, xvdb=EXT3)
    assert e.value.problems[0].found == "xvda = /images/xvda.img, xvdb = /images/xvdb.img"


@pytest.mark.parametrize(
    ("loader", "mounted", "refused"),
    [
        ("none", {"/dev/sda1": "/boot", "/dev/vg/root": "/"}, ""),
        ("none", {"/dev/sdb1": "/", "/dev/sda1": "/srv"}, "/ is on /dev/sdb1"),
        ("none", {"/dev/sda1": "/", "/dev/sdb1": "/boot"}, "/boot is on /dev/sdb1"),
        ("none", {"/dev/vg/root": "/"}, "/ is on /dev/vg/root"),
        ("grub2", {"/dev/vg/root": "/"}, ""),
    ],
)
def test_where_no_boot_loader_can_be_made_the_survey_says_so(
    surveyed: Survey, home: Home, monkeypatch: pytest.MonkeyPatch, loader: str, mounted: dict[str, str], refused: str
) -> None:
    partitions = tuple(Partition(device=d, bytes=1, fstype="ext3", mountpoint=m) for d, m in mounted.items())
    facts = surveyed.guest.model_copy(update={"boot_loader": loader, "partitions": partitions})
    monkeypatch.setattr(survey, "configuration", lambda *_: surveyed.xen)
    monkeypatch.setattr(survey, "origin_of", lambda *_: surveyed.origin)
    monkeypatch.setattr(survey.original, "left_out", lambda *_: ())
    monkeypatch.setattr(survey.appliance, "inspect", lambda *_, **__: facts)
    if refused:
        with pytest.raises(BadInput, match=f"not on the disk that the new machine starts from(.|\n)*{refused}"):
            survey.start(home, home.site(), home.guest("gateway"))
    else:
        assert survey.start(home, home.site(), home.guest("gateway")).guest == facts


def test_a_bare_file_system_that_comes_first_becomes_a_partition(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = origin(home, monkeypatch, tmp_path, xvda=SWAP, xvdb=EXT3)
    assert [(p.vdev, p.disk, p.number) for p in found.parts] == [("xvdb", 0, 1), ("xvda", 1, 0)]
    alone = origin(home, monkeypatch, tmp_path, xvda=EXT3)
    assert [(p.vdev, p.disk, p.number) for p in alone.parts] == [("", 0, 1)]
    assert "disk" not in alone.model_dump_json()


@pytest.fixture
def surveyed(tmp_path: Path) -> Survey:
    """The survey of a small disk, as if its file systems had been looked at."""
    disk = tmp_path / "idp.img"
    disk.write_bytes(b"a boot sector".ljust(1 << 20, b"\0"))
    known = Survey.model_validate_json((Path(__file__).parents[1] / "data/survey/gateway.json").read_text())
    without_secrets = known.guest.model_copy(update={"secrets": 0})
    about = {
        "guest": without_secrets,
        "disk": source.facts(disk),
        "origin": Origin.whole(disk),
        "bytes": 1 << 20,
        "digest": digest.content(disk),
        "rules": survey.reading_rules(),
    }
    return known.model_copy(update=about)


def large(path: Path, size: int) -> Path:
    with path.open("wb") as f:
        f.write(bytes(510) + b"\x55\xaa")
        f.truncate(size)
    return path


def test_a_disk_above_2_tib_is_refused_before_it_is_read(home: Home, surveyed: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, where = surveyed.origin.parts[0].path, (home, home.site(), home.guest("gateway"))
    monkeypatch.setattr(survey, "configuration", lambda *_: surveyed.xen)
    monkeypatch.setattr(survey, "origin_of", lambda *_: surveyed.origin)
    monkeypatch.setattr(survey.digest, "of", lambda *_: pytest.fail("it was read"))
    large(disk, (2 << 40) + (1 << 20))
    assert [c.code for c in survey.limits(*where) if not c] == ["disk-fits-target"]
    with pytest.raises(BadInput, match="2 TiB"):
        survey.start(*where)
    large(disk, 2 << 40)
    assert all(survey.limits(*where))
    disk.unlink()
    assert survey.limits(*where) == []  # what is wrong with it, the survey itself tells


def test_another_system_is_named_and_refused_before_it_is_read(surveyed: Survey) -> None:
    (check,) = [c for c in survey.fitting(surveyed.disk.model_copy(update={"system": "FreeBSD"})) if not c]
    assert check.code == "guest-is-linux"
    assert "FreeBSD" in check.found
    assert "hikkoshi convert" in check.remedy
    (check,) = [c for c in survey.fitting(surveyed.disk.model_copy(update={"sector_bytes": 4096})) if not c]
    assert check.code == "disk-sectors-of-512"
    assert all(survey.fitting(surveyed.disk))


@pytest.mark.parametrize("rules", ["", "of an older version"])
def test_a_survey_by_other_rules_which_may_have_kept_a_password_is_made_again(
    home: Home, surveyed: Survey, monkeypatch: pytest.MonkeyPatch, rules: str
) -> None:
    monkeypatch.setattr(survey, "configuration", lambda *_: surveyed.xen)
    monkeypatch.setattr(survey, "origin_of", lambda *_: surveyed.origin)
    monkeypatch.setattr(survey.appliance, "inspect", lambda *_, **__: surveyed.guest)
    content = {k: v for k, v in surveyed.guest.model_dump().items() if k != "secrets"}
    older = surveyed.model_copy(update={"guest": type(surveyed.guest).model_validate(content), "rules": rules})
    assert older.guest.secrets == -1
    older.save(home.folder("gateway"))
    assert survey.start(home, home.site(), home.guest("gateway")).guest.secrets == 0


def test_a_source_that_was_written_to_since_is_not_the_one_that_was_surveyed(surveyed: Survey) -> None:
    disk = surveyed.origin.parts[0].path
    assert survey.unchanged(surveyed)
    disk.write_bytes(disk.read_bytes()[:-1] + b"!")
    found = survey.unchanged(surveyed)
    assert not found
    assert found.later, "in plan mode a guest may be running"
    assert "10-survey and 20-plan" in found.remedy
    disk.unlink()
    assert not survey.unchanged(surveyed)


def test_the_content_is_read_whatever_size_and_time_say_and_only_the_same_one_is_known_already(
    home: Home, surveyed: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, guest = surveyed.origin.parts[0].path, home.guest("gateway")
    monkeypatch.setattr(survey, "configuration", lambda *_: surveyed.xen)
    monkeypatch.setattr(survey, "origin_of", lambda *_: surveyed.origin)
    surveyed.save(home.folder("gateway"))
    os.utime(disk, ns=(1, 1))
    again = survey.start(home, home.site(), guest)
    assert (again.digest, again.guest, again.disk.mtime_ns) == (surveyed.digest, surveyed.guest, 1)
    looked: list[str] = []
    monkeypatch.setattr(survey.appliance, "inspect", lambda *_, **__: looked.append("at the file systems") or surveyed.guest)
    disk.write_bytes(b"a boot  ector".ljust(1 << 20, b"\0"))
    os.utime(disk, ns=(1, 1))
    other = survey.start(home, home.site(), guest)
    assert looked == ["at the file systems"]
    assert other.digest == digest.content(disk) != surveyed.digest


def test_the_newest_of_several_disks_does_not_hide_that_another_one_was_changed(tmp_path: Path, surveyed: Survey) -> None:
    paths = [tmp_path / "a.img", tmp_path / "b.img"]
    for path in paths:
        path.write_bytes(bytes(1 << 20))
    os.utime(paths[0], ns=(10**18, 10**18))  # by a clock that was ahead
    origin = Origin.several(paths)
    known = surveyed.model_copy(update={"origin": origin, "disk": survey.of_all(survey.facts_of(origin))})
    identity = Identity.of(origin)
    assert survey.unchanged(known)
    later = paths[1].stat().st_mtime_ns + 10**9
    os.utime(paths[1], ns=(later, later))
    assert not survey.unchanged(known)
    assert Identity.of(origin) != identity
