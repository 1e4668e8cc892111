"""What a virtual machine may be, before vSphere is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.check import Check
from hikkoshi.vsphere.preflight import limits, readiness
from hikkoshi.vsphere.spec import VirtualNic, VmSpec


def nics(n: int) -> tuple[VirtualNic, ...]:
    return tuple(
        VirtualNic(name=f"eth{i}", mac=f"00:16:3e:05:00:{i:02x}", segment=f"s{i}", port_group=f"dv-vlan30{i}", vlan=300 + i)
        for i in range(n)
    )


GATEWAY = VmSpec(
    name="gateway",
    guest_id="centos64Guest",
    hardware_version=10,
    vcpus=1,
    memory_mb=640,
    disk_bytes=64 << 30,
    controller="pvscsi",
    nic_model="vmxnet3",
    nics=nics(10),
)


def bad(**changes: object) -> list[Check]:
    return [c for c in limits.checks(GATEWAY.model_copy(update=changes)) if not c]


def with_macs(*macs: str) -> tuple[VirtualNic, ...]:
    return tuple(n.model_copy(update={"mac": m}) for n, m in zip(nics(10), macs, strict=False))


def test_the_papers_gateway_passes() -> None:
    assert bad() == []


@pytest.mark.parametrize(
    ("changes", "title", "found"),
    [
        ({"memory_mb": 641}, "memory is a multiple of 4 MB", "641 MB"),
        ({"memory_mb": 0}, "memory is a multiple of 4 MB", "0 MB"),
        ({"memory_mb": 1012 * 1024}, "memory is a multiple of 4 MB", "1036288 MB"),
        ({"vcpus": 65}, "the number of processors", "65"),
        ({"vcpus": 0}, "the number of processors", "0"),
        ({"disk_bytes": (64 << 30) + 512}, "the disk's capacity", "68,719,477,248 bytes"),
        ({"disk_bytes": 0}, "the disk's capacity", "0 bytes"),
        ({"disk_bytes": (2 << 40) + (1 << 20)}, "the disk is not larger", "2,199,024,304,128 bytes"),
        ({"hardware_version": 9, "disk_bytes": 2 << 40}, "the disk is not larger", "2,199,023,255,552 bytes"),
        ({"guest_id": "debian12_64Guest"}, "the operating system's name exists", "debian12_64Guest (from version 20)"),
        ({"hardware_version": 20, "guest_id": "rhel10_64Guest"}, "the operating system's name exists", "from version 22"),
        ({"nics": nics(11)}, "there are not too many NICs", "11 NICs"),
        ({"nics": with_macs("00:16:3e:05:00:0g")}, "every MAC is well-formed", "00:16:3e:05:00:0g"),
        ({"nics": with_macs("00163e050000")}, "every MAC is well-formed", "00163e050000"),
        ({"nics": with_macs("01:16:3e:05:00:00")}, "every MAC belongs to one NIC", "01:16:3e:05:00:00"),
        ({"nics": with_macs("ff:ff:ff:ff:ff:ff")}, "every MAC belongs to one NIC", "ff:ff:ff:ff:ff:ff"),
        ({"nics": with_macs("00:16:3E:05:00:00", "00:16:3e:05:00:00")}, "no MAC occurs twice", "00:16:3e:05:00:00"),
        ({"nics": with_macs("00:50:56:40:00:00")}, "no MAC is in VMware's reserved range", "00:50:56:40:00:00"),
        ({"nics": (nics(1)[0].model_copy(update={"vlan": 4095}),)}, "every VLAN id is one", "eth0: 4095"),
        ({"nics": (nics(1)[0].model_copy(update={"vlan": -1}),)}, "every VLAN id is one", "eth0: -1"),
        ({"hardware_version": 4, "nics": nics(4)}, "the devices exist", "pvscsi (from version 7), vmxnet3"),
        ({"guest_id": "centos5_64Guest"}, "the operating system is one", "centos5_64Guest"),
        ({"name": "x" * 81}, "the machine's name can be used", "xxx"),
        ({"name": "a/b"}, "the machine's name can be used", "'a/b' with '/'"),
        ({"name": " gateway"}, "the machine's name can be used", "' gateway'"),
        ({"name": ""}, "the machine's name can be used", "''"),
    ],
)
def test_a_limit_is_one_red_check_that_says_what_was_found(changes: dict[str, object], title: str, found: str) -> None:
    (check,) = bad(**changes)
    assert check.title.startswith(title)
    assert found in check.found
    assert check.expected
    assert check.remedy


def test_a_disk_of_exactly_2_tib_can_be_moved_to_vsphere_5_5_and_later() -> None:
    assert bad(disk_bytes=2 << 40) == []


def test_a_name_that_is_too_new_or_unknown_is_told_with_one_to_write() -> None:
    assert "guest_id: debian7_64Guest" in bad(guest_id="debian12_64Guest")[0].remedy
    assert "guest_id: centos64Guest" in bad(guest_id="centos64Gest")[0].remedy
    assert bad(guest_id="debian12_64Guest", hardware_version=20) == []


def test_hardware_version_4_takes_four_nics_only() -> None:
    old = {"hardware_version": 4, "controller": "lsilogic", "nic_model": "e1000"}
    assert bad(**old, nics=nics(4)) == []
    assert [c.title for c in bad(**old, nics=nics(5))] == ["there are not too many NICs"]


def test_an_address_inside_vmwares_own_static_range_is_allowed() -> None:
    assert bad(nics=with_macs("00:50:56:3f:ff:ff")) == []


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(bad(memory_mb=641, nics=nics(11), name="a/b", guest_id="nonsense")) == 4


def test_641_mb_is_told_what_to_write_instead() -> None:
    (check,) = bad(memory_mb=641)
    assert "memory_mb: 644" in check.remedy


@given(st.binary(min_size=6, max_size=6))
def test_any_unicast_address_outside_vmwares_range_passes(raw: bytes) -> None:
    mac = ":".join(f"{b:02x}" for b in raw)
    reserved = raw[:3] == b"\x00\x50\x56" and raw[3] > 0x3F
    allowed = not raw[0] & 1 and any(raw) and not reserved
    assert (not bad(nics=with_macs(mac))) == allowed


def test_an_operating_system_that_the_cluster_does_not_take_is_red_with_one_that_it_takes() -> None:
    newer = GATEWAY.model_copy(update={"guest_id": "debian7_64Guest"})
    assert readiness.guest_id_taken(newer, {"debian7_64Guest", "otherLinux64Guest"})
    missing = readiness.guest_id_taken(newer, {"debian6_64Guest", "otherLinux64Guest"})
    assert not missing
    assert "guest_id: otherLinux64Guest" in missing.remedy
    assert (readiness.guest_id_taken(newer, set()).ok, readiness.guest_id_taken(newer, set()).unseen) == (True, "not seen")


@pytest.mark.parametrize(("disks", "allowed"), [(1, True), (15, True), (16, True), (60, True), (61, False)])
def test_four_controllers_have_fifteen_disks_each(disks: int, allowed: bool) -> None:
    capacities = (1 << 20,) * disks if disks > 1 else ()
    assert [c.code for c in bad(capacities=capacities)] == ([] if allowed else ["disk-count-allowed"])


def test_every_disk_has_to_fit() -> None:
    assert [c.code for c in bad(capacities=(1 << 20, (1 << 20) + 512))] == ["capacity-whole-mib"]
    assert [c.code for c in bad(capacities=(1 << 20, 3 << 40))] == ["disk-fits-target"]
