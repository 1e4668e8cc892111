"""The lab's guests as descriptions: their Xen configuration, their partitions, and what makes a cached disk a stale one."""

import ipaddress
import struct
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.xen import config
from hikkoshi_lab import image, lvm, partitions, userland
from hikkoshi_lab.image import GATEWAY, IDP, GuestImage, GuestNic
from hikkoshi_lab.packages import Package
from hikkoshi_lab.variants import VARIANTS
from hikkoshi_lab.xen import build

DEB = {"libc6": Package("2.36", Path("/nowhere/libc6.deb"), "ab" * 32)}


def test_the_idp_is_written_as_centos_5_wrote_it() -> None:
    assert image.xm_config(IDP) == (
        'name = "idp"\n'
        'uuid = "d4649529-ccd0-5e90-a5d5-3f055c7f532b"\n'
        "maxmem = 1024\n"
        "memory = 1024\n"
        "vcpus = 1\n"
        'bootloader = "/usr/bin/pygrub"\n'
        'on_poweroff = "destroy"\n'
        'on_reboot = "restart"\n'
        'on_crash = "restart"\n'
        'vfb = [ "type=vnc,vncunused=1,vncpasswd=hon-no-mushi,keymap=ja" ]\n'
        'disk = [ "tap:aio:/var/lib/xen/images/idp.img,xvda,w", '
        '"tap:aio:/var/lib/xen/images/idp-swap.img,xvdb,w", "tap:aio:/var/lib/xen/images/idp-srv.img,xvdc,w" ]\n'
        'vif = [ "mac=00:16:3e:01:00:00,bridge=xenbr210,script=vif-bridge" ]\n'
    )


def test_the_reader_of_xen_configurations_finds_the_gateways_ten_nics_in_order() -> None:
    guest = config.parse(image.xm_config(GATEWAY), "/etc/xen/gateway")
    assert (guest.name, guest.memory_mb, guest.vcpus) == ("gateway", 640, 1)
    assert [vif.mac for vif in guest.vifs] == [f"00:16:3e:05:00:{n:02d}" for n in range(10)]
    assert [vif.bridge for vif in guest.vifs] == [f"xenbr{v}" for v in (*range(301, 306), *range(501, 506))]
    assert [disk.target for disk in guest.disks] == ["/var/lib/xen/images/gateway.img"]


def test_the_guests_are_those_of_the_paper() -> None:
    assert (IDP.vcpus, IDP.memory_mb, round(IDP.disk_bytes / 1e9, 1), len(IDP.nics)) == (1, 1024, 9.4, 1)
    assert (GATEWAY.vcpus, GATEWAY.memory_mb, GATEWAY.disk_bytes, len(GATEWAY.nics)) == (1, 640, 64 << 30, 10)
    assert (IDP.forwards, GATEWAY.forwards) == (False, True)
    assert IDP.disk_bytes % (1 << 20) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"disk_bytes": IDP.disk_bytes + 512},
        {"memory_mb": 512},
        {"vcpus": 2},
        {"nics": (replace(IDP.nics[0], mac="00:16:3e:01:00:01"),)},
        {"nics": (replace(IDP.nics[0], address=ipaddress.IPv4Interface("10.2.10.20/25")),)},
        {"nics": (replace(IDP.nics[0], bridge="xenbr211"),)},
        {"forwards": True},
        {"reached": True},
        {"layout": "lvm"},
        {"fstab": "label"},
        {"root": "uuid"},
        {"kernels": ("xen",)},
        {"drivers": ("vmw_pvscsi",)},
        {"network": "networkd"},
        {"tree": "debian-11"},
        {"file_system": "xfs"},
        {"firmware": "efi"},
        {"small_initrd": True},
        {"disk_names": ("hda", "xvda")},
        {"nic_names": "enX"},
    ],
    ids=str,
)
def test_any_change_of_the_description_asks_for_a_new_disk(change: dict[str, Any]) -> None:
    assert image.inputs_hash(replace(IDP, **change), DEB, "1.47") != image.inputs_hash(IDP, DEB, "1.47")


def test_no_field_of_the_description_is_left_out_of_those_changes() -> None:
    hardware = {"name", "disk_bytes", "memory_mb", "vcpus", "nics"}
    assert {f.name for f in fields(GuestImage)} == hardware | {
        *("forwards", "reached", "layout", "fstab", "root", "kernels", "drivers", "network"),
        *("tree", "file_system", "firmware", "small_initrd", "disk_names", "nic_names"),
    }
    assert {f.name for f in fields(GuestNic)} == {"mac", "address", "bridge"}


def test_another_package_or_another_tool_asks_for_a_new_disk() -> None:
    before = image.inputs_hash(IDP, DEB, "1.47.0")
    assert image.inputs_hash(IDP, {"libc6": replace(DEB["libc6"], sha256="cd" * 32)}, "1.47.0") != before
    assert image.inputs_hash(IDP, {**DEB, "ethtool": DEB["libc6"]}, "1.47.0") != before
    assert image.inputs_hash(IDP, DEB, "1.47.1") != before


def test_where_the_packages_lie_makes_no_difference() -> None:
    moved = {"libc6": replace(DEB["libc6"], path=Path("/elsewhere/libc6.deb"))}
    assert image.inputs_hash(IDP, moved, "") == image.inputs_hash(IDP, DEB, "")


@pytest.mark.parametrize("path", sorted(userland.el5()))
def test_a_change_in_any_file_of_the_guest_asks_for_a_new_disk(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.inputs_hash(IDP, DEB, "")
    changed = {**userland.el5(), path: userland.el5()[path] + b"#"}
    monkeypatch.setattr(userland, "el5", lambda: changed)
    assert image.inputs_hash(IDP, DEB, "") != before


@given(st.integers(min_value=1 << 30, max_value=2 << 40).map(lambda n: n // 512 * 512))
def test_partitions_follow_one_another_and_end_inside_the_disk(size: int) -> None:
    mbr = partitions.table(size, IDP.uuid)
    entries = [struct.unpack("<B3sB3sII", mbr[446 + 16 * n : 462 + 16 * n]) for n in range(4)]
    assert (len(mbr), mbr[510:]) == (512, b"\x55\xaa")
    assert [(e[0], e[2]) for e in entries] == [(0x80, 0x83), (0, 0x83), (0, 0x82), (0, 0)]
    starts, ends = [e[4] for e in entries[:3]], [e[4] + e[5] for e in entries[:3]]
    assert starts[0] == 63
    assert starts[1:] == ends[:2]
    assert all(e[5] > 0 for e in entries[:3])
    assert size // 512 - 255 * 63 < ends[2] <= size // 512


def test_cylinders_that_the_table_cannot_hold_are_written_as_the_last_one() -> None:
    mbr = partitions.table(GATEWAY.disk_bytes, GATEWAY.uuid)
    assert mbr[446 + 1 : 446 + 4] == bytes((1, 1, 0))  # cylinder 0, head 1, sector 1
    assert mbr[446 + 5 : 446 + 8] == bytes((254, 63, 12))
    assert mbr[462 + 1 : 462 + 4] == bytes((0, 1, 13))
    assert mbr[462 + 5 : 462 + 8] == b"\xfe\xff\xff"


def test_partitions_of_their_own_are_named_one_by_one_in_the_xen_configuration() -> None:
    guest = config.parse(image.xm_config(VARIANTS["el5-partitions"].image), "/etc/xen/el5")
    assert [(d.vdev, d.partition) for d in guest.disks] == [("xvda1", 1), ("xvda2", 2)]


def test_every_file_that_tells_where_something_is_tells_it_the_same_way() -> None:
    by_uuid = image.places(replace(VARIANTS["el5-panic"].image, fstab="uuid"))
    assert by_uuid.argument == by_uuid.root
    assert by_uuid.root.startswith("UUID=")
    assert by_uuid.boot.startswith("UUID=")
    several = image.places(IDP)
    assert (several.root, several.swap, several.data) == ("/dev/xvda2", "/dev/xvdb", "/dev/xvdc")
    on_lvm = image.places(VARIANTS["el5-lvm"].image)
    assert (on_lvm.argument, on_lvm.swap) == ("/dev/VolGroup00/LogVol00", "/dev/VolGroup00/LogVol01")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_logical_volumes_follow_one_another_from_the_first_extent_on(extents: list[int]) -> None:
    volumes = [lvm.Volume(f"LogVol0{n}", count) for n, count in enumerate(extents)]
    at = lvm.offsets(volumes)
    assert at[0] == lvm.START
    assert [b - a for a, b in pairwise(at)] == [count * lvm.EXTENT for count in extents[:-1]]
    size = lvm.START + sum(extents) * lvm.EXTENT
    head = lvm.head("VolGroup00", volumes, size, IDP.uuid, "/dev/xvda2")
    assert len(head) == lvm.START
    assert head == lvm.head("VolGroup00", volumes, size, IDP.uuid, "/dev/xvda2")
    assert f"pe_count = {sum(extents)}\n".encode() in head


def test_an_identifier_has_lvms_form_and_stays_the_same() -> None:
    found = lvm.identity(IDP.uuid, "vg")
    assert [len(part) for part in found.split("-")] == [6, 4, 4, 4, 4, 4, 6]
    assert found == lvm.identity(IDP.uuid, "vg") != lvm.identity(GATEWAY.uuid, "vg")


def test_a_guest_that_forwards_says_so_in_sysctl_and_translates_in_iptables() -> None:
    gateway = userland.configuration("gateway", list(GATEWAY.nics), True, image.places(GATEWAY))
    assert b"net.ipv4.ip_forward = 1\n" in gateway["etc/sysctl.conf"].data
    assert gateway["etc/sysconfig/iptables"].data.count(b"-j MASQUERADE\n") == 9
    idp = userland.configuration("idp", list(IDP.nics), False, image.places(IDP))
    assert b"net.ipv4.ip_forward = 0\n" in idp["etc/sysctl.conf"].data
    assert "etc/sysconfig/iptables" not in idp


def test_every_nic_has_its_xen_mac_and_address_in_a_file_of_its_own() -> None:
    tree = userland.configuration("gateway", list(GATEWAY.nics), True, image.places(GATEWAY))
    last = tree["etc/sysconfig/network-scripts/ifcfg-eth9"].data.decode().splitlines()
    assert {"DEVICE=eth9", "HWADDR=00:16:3E:05:00:09", "IPADDR=10.5.5.254", "NETMASK=255.255.255.0"} <= set(last)
    assert "etc/sysconfig/network-scripts/ifcfg-eth10" not in tree


def test_of_what_a_xen_of_the_lab_was_made_of_nothing_is_removed_while_it_runs(tmp_path: Path) -> None:
    """Though there is another recipe by now: its disks are layers above."""
    (tmp_path / "made").mkdir()
    argv = [sys.executable, "-c", "print(flush=True); input()", "-kernel", str(tmp_path / "made/xen")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()  # until then /proc may not tell yet how it was called
        assert build.in_use(tmp_path / "made")
        assert not build.in_use(tmp_path / "mad")
        process.communicate(b"\n")
    assert not build.in_use(tmp_path / "made")
