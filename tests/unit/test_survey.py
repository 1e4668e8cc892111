"""Which of a Xen guest's disks are its one disk."""

import os
from pathlib import Path

import pytest

from hikkoshi.disk import digest, source
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import BadInput
from hikkoshi.guest import survey
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


def origin(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **disks: bytes) -> Origin:
    """Where the disks of a guest are, whose images begin with these bytes."""
    xen = guest(*disks)
    monkeypatch.setattr(survey, "configuration", lambda *_: xen)
    monkeypatch.setattr(survey.root, "disk_path", lambda _, __, target: tmp_path / Path(target).name)
    for name, head in disks.items():
        (tmp_path / f"{name}.img").write_bytes(head.ljust(1 << 20, b"\0"))
    return survey.origin_of(home, home.site(), home.guest("gateway"))


MBR = b"\xeb\x48 GRUB ".ljust(510, b"\0") + b"\x55\xaa"
EXT3, SWAP = bytes(1080) + b"\x53\xef", bytes(4086) + b"SWAPSPACE2"


def test_the_disk_with_a_boot_loader_comes_first(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = origin(home, monkeypatch, tmp_path, xvda=EXT3, xvdb=MBR, xvdc=SWAP)
    assert [(p.vdev, p.disk, p.number) for p in found.parts] == [("xvdb", 0, 0), ("xvda", 1, 0), ("xvdc", 2, 0)]
    assert survey.called(guest("xvda", "xvdb", "xvdc"), found)[1][0] == "xvda"


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
