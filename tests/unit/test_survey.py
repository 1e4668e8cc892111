"""Which of a Xen guest's disks are its one disk."""

import pytest

from hikkoshi import survey
from hikkoshi.errors import BadInput
from hikkoshi.xen.config import XenDisk, XenGuest


def guest(*disks: str) -> XenGuest:
    made = tuple(XenDisk(vdev=d, target=f"/images/{d}.img", cdrom=d == "hdc") for d in disks)
    return XenGuest(name="a", memory_mb=512, disks=made)


def test_a_whole_disk_beside_a_drive_for_discs_is_the_disk() -> None:
    assert [d.vdev for d in survey.system_disk(guest("xvda", "hdc"))] == ["xvda"]


def test_single_partitions_are_one_disk_in_the_order_of_their_numbers() -> None:
    assert [d.vdev for d in survey.system_disk(guest("xvda2", "xvda1"))] == ["xvda1", "xvda2"]
    assert [d.vdev for d in survey.system_disk(guest("sda1"))] == ["sda1"]


@pytest.mark.parametrize("disks", [(), ("hdc",), ("xvda", "xvdb"), ("xvda1", "xvdb1"), ("xvda", "xvda1")])
def test_none_or_several_are_refused_with_what_there_is(disks: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="exactly one disk") as e:
        survey.system_disk(guest(*disks))
    assert all(d in e.value.problems[0].found for d in disks if d != "hdc")
