"""What a rehearsed guest has to mount, and whether it did, each from its own disk."""

import pytest

from hikkoshi.guest.facts import GuestFacts, Partition
from hikkoshi.rehearsal import mounts, witness
from hikkoshi.rehearsal.outcome import BootOutcome, Ending, Mount
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.steps.rehearse import mount_rows

FSTAB = """\
UUID=1 / ext3 defaults 1 1
UUID=2 /boot ext3 defaults 1 2
UUID=3 swap swap defaults 0 0
UUID=4 /srv/ ext3 defaults 1 2
/dev/vg-a/data /data ext3 defaults 1 2
UUID=6 /old ext3 noauto 0 0
"""
PLACES = {
    "/dev/sda1": "/boot",
    "/dev/sda2": "/",
    "/dev/sdb": "swap",
    "/dev/sdc1": "/srv/",
    "/dev/vg-a/data": "/data",
    "/dev/sdd": "/old",
    "/dev/sde": "",
}
FACTS = GuestFacts.model_construct(
    texts={"/etc/fstab": FSTAB},
    partitions=tuple(Partition(device=d, bytes=1, fstype="ext3", mountpoint=point) for d, point in PLACES.items()),
)
WANTED = mounts.planned(FACTS)
LINES = (  # the kernel found the second disk first
    *("disk sda 0002", "disk sdb 0001", "disk sdc 0003"),
    *("mount /dev/sdb2 /", "mount /dev/sdb1 /boot", "mount /dev/sdc1 /srv", "mount /dev/mapper/vg--a-data /data"),
    "mount /dev/sda swap",
)


def booted(*lines: str) -> BootOutcome:
    told = ("kernel 6.1", "root /dev/sdb2", *lines)
    statement = witness.read("\n".join(["HIKKOSHI begin", *told, f"HIKKOSHI end {len(told)}", ""]))
    assert statement is not None
    return BootOutcome(
        ending=Ending.LOGIN,
        words="",
        seconds=1,
        accelerator="tcg",
        controller="pvscsi",
        nic_model="vmxnet3",
        mounts=statement.mounts,
        picture="",
        screen="",
        console="",
        disk_unchanged=True,
    )


def test_what_the_prepared_guest_mounts_by_itself_is_expected() -> None:
    assert {m.device: m.point for m in WANTED} == {
        "/dev/sda1": "/boot",
        "/dev/sda2": "/",
        "/dev/sdb": "swap",
        "/dev/sdc1": "/srv",
        "/dev/vg-a/data": "/data",
    }


def test_one_file_system_on_several_devices_is_not_asked_for_by_one_of_them() -> None:
    parts = [
        Partition(device=f"/dev/sd{n}", bytes=1, fstype="btrfs", uuid="1", mountpoint=point)
        for n, point in (("a", "/"), ("b", ""))
    ]
    facts = GuestFacts.model_construct(texts={}, partitions=tuple(parts))
    assert mounts.planned(facts) == ()


def test_a_disk_is_known_by_its_place_whatever_the_kernel_called_it() -> None:
    outcome = booted(*LINES)
    assert outcome.mounts[0] == Mount(device="/dev/sda2", point="/", called="/dev/sdb2")
    found = mounts.check(WANTED, outcome)
    assert (bool(found), found.found) == (True, "5/5")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("mount /dev/sdc1 /srv", "", "4/5: /dev/sdc1 (/srv) is not mounted"),
        ("mount /dev/sda swap", "", "4/5: /dev/sdb (swap) is no swap in use"),
        ("mount /dev/sda swap", "mount /dev/sdc swap", "4/5: /dev/sdb (swap) is no swap in use"),
        ("disk sdc 0003", "disk sdc 0004", "4/5: /dev/sdc1 (/srv) /dev/sdd1 is mounted there"),
        ("mount /dev/mapper/vg--a-data /data", "mount /dev/dm-7 /data", "5/5"),
        ("mount /dev/mapper/vg--a-data /data", "mount /dev/vg-a/data /data", "5/5"),
        ("mount /dev/mapper/vg--a-data /data", "mount /dev/md7 /data", "4/5: /dev/vg-a/data (/data) /dev/md7 is mounted there"),
    ],
)
def test_what_is_not_in_use_or_from_another_disk_is_said(before: str, after: str, said: str) -> None:
    lines = [after if line == before else line for line in LINES]
    found = mounts.check(WANTED, booted(*filter(None, lines)))
    assert (found.found, bool(found)) == (said, said == "5/5")


def test_a_guest_that_told_nothing_has_mounted_nothing() -> None:
    assert mounts.check(WANTED, booted()).found.startswith("0/5: /dev/sda1 (/boot) is not mounted; ")


def test_a_rehearsal_of_an_earlier_version_is_not_asked_for_mounts() -> None:
    outcome = booted()
    earlier = Rehearsal.model_validate(
        {"vmdk_sha256": "a", "plan_hash": "b", "before": None, "after": outcome.model_dump(exclude={"mounts"})}
    )
    assert earlier.mounts == ()
    assert mount_rows(earlier) == []


def test_the_table_tells_what_the_kernel_called_each() -> None:
    made = Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=booted(*LINES[:-1]), mounts=WANTED)
    assert [tuple(row.values()) for row in mount_rows(made)][1:4] == [
        ("/", "/dev/sda2", "/dev/sdb2", "ok"),
        ("swap", "/dev/sdb", "–", "is no swap in use"),
        ("/srv", "/dev/sdc1", "/dev/sdc1", "ok"),
    ]


def test_a_mount_with_odd_characters_spoils_no_report_and_shows_none_of_them() -> None:
    assert booted("mount /dev/sda1 /a\x1b[31m").mounts[0].point == "/a?[31m"
