"""vSphere's names for operating systems: the nearest that a hardware version has, and never one that it has not."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.vsphere.preflight import guestid

DATA = Path(__file__).parents[1] / "data" / "guestid"
GUESTS = json.loads((DATA / "guests.json").read_text())
DISTRIBUTIONS = sorted(
    ["centos", "rhel", "rocky", "almalinux", "ol", "debian", "ubuntu", "sles", "opensuse-leap", "amzn", "fedora", "slackware", ""]
)


def zip_of(*columns: list[object]) -> list[tuple[object, ...]]:
    return list(zip(*columns, strict=True))


def name(distribution: str, release: str, arch: str, version: int, kernel: str = "") -> str:
    return guestid.nearest(guestid.names(distribution, release, arch, kernel), version)


@pytest.mark.parametrize(
    ("guest", "on_10", "on_22"),
    zip_of(
        GUESTS,
        ["centos64Guest", "centos64Guest", "debian7_64Guest", "debian7_64Guest", "rhel7_64Guest", "centosGuest"],
        ["centos7_64Guest", "centos9_64Guest", "debian12_64Guest", "debian13_64Guest", "rockylinux_64Guest", "centosGuest"],
    ),
    ids=lambda x: x if isinstance(x, str) else "-".join(x.values()),
)
def test_a_guest_gets_a_name_that_its_hardware_version_has(guest: dict[str, str], on_10: str, on_22: str) -> None:
    assert name(**guest, version=10) == on_10
    assert name(**guest, version=22) == on_22


@pytest.mark.parametrize(
    ("guest", "version", "expected"),
    [
        (("centos", "3.9", "i686"), 10, "centosGuest"),
        (("centos", "8", "x86_64"), 14, "centos8_64Guest"),
        (("centos", "8", "x86_64"), 13, "centos7_64Guest"),
        (("centos", "9", "i686"), 22, "centos7Guest"),  # there is none of 32 bits
        (("debian", "trixie", "x86_64"), 20, "debian12_64Guest"),  # not published yet: no number
        (("debian", "3.1", "i686"), 10, "other26xLinuxGuest"),
        (("almalinux", "8.10", "x86_64"), 19, "rhel8_64Guest"),
        (("ol", "8.4", "x86_64"), 10, "oracleLinux64Guest"),
        (("sles", "15.4", "x86_64"), 10, "sles12_64Guest"),
        (("opensuse-leap", "15.5", "x86_64"), 8, "suse64Guest"),
        (("amzn", "2", "x86_64"), 15, "amazonlinux2_64Guest"),
        (("nobody", "1", "x86_64"), 10, "other26xLinux64Guest"),
        (("centos", "5.11", "x86_64"), 4, "centos64Guest"),
    ],
)
def test_other_guests_get_the_nearest(guest: tuple[str, str, str], version: int, expected: str) -> None:
    assert name(*guest, version=version) == expected


def test_of_an_unknown_distribution_the_kernel_tells_the_name() -> None:
    assert name("void", "unknown", "x86_64", 22, "5.10.0-8-amd64") == "other5xLinux64Guest"
    assert name("void", "unknown", "x86_64", 10, "5.10.0-8-amd64") == "other26xLinux64Guest"
    assert name("void", "unknown", "i686", 10, "2.4.37") == "other24xLinuxGuest"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(DISTRIBUTIONS),
    st.one_of(st.integers(0, 10**6).map(str), st.text(max_size=5)),
    st.sampled_from(["x86_64", "i686", "unknown"]),
    st.integers(3, 30),
    st.sampled_from(["", "2.6.18-398.el5", "6.1.0", "7.0"]),
)
def test_whatever_a_guest_is_its_name_exists_there(distribution: str, release: str, arch: str, version: int, kernel: str) -> None:
    found = name(distribution, release, arch, version, kernel)
    assert found in guestid.GUEST_IDS
    assert guestid.since(found) <= version
    assert ("64" in found) is (arch == "x86_64")


def test_every_name_of_the_table_is_one_of_vspheres() -> None:
    assert set(guestid.SINCE) <= guestid.GUEST_IDS
    assert guestid.since("ubuntu64Guest") == 0
    assert (guestid.since("centos64Guest"), guestid.since("debian12_64Guest")) == (0, 20)


def test_a_name_that_is_too_new_has_a_replacement_of_the_same_kind() -> None:
    for guest_id in guestid.GUEST_IDS:
        for version in (4, 7, 10, 14, 22):
            found = guestid.replacement(guest_id, version)
            assert found in guestid.GUEST_IDS
            assert guestid.since(found) <= version
            if guest_id.startswith(("win", "darwin", "freebsd", "solaris")):
                assert "inux" not in found


@pytest.mark.parametrize(
    ("guest_id", "expected"),
    [
        ("debian12_64Guest", "debian7_64Guest"),
        ("centos7Guest", "centosGuest"),
        ("rockylinux_64Guest", "rhel7_64Guest"),
        ("freebsd14_64Guest", "freebsd64Guest"),
        ("other6xLinux64Guest", "other3xLinux64Guest"),
        ("windows11_64Guest", "windows8_64Guest"),
        ("oracleLinux8_64Guest", "oracleLinux64Guest"),
    ],
)
def test_the_replacement_is_the_latest_relative(guest_id: str, expected: str) -> None:
    assert guestid.replacement(guest_id, 10) == expected


def test_a_name_is_as_old_as_the_version_of_the_api_that_brought_it() -> None:
    came_with = {"5.0": 8, "5.1": 9, "5.5": 10, "6.0": 11, "6.5": 13, "6.7": 14, "6.7.1": 15, "7.0": 17, "7.0.1.0": 18}
    came_with |= {"8.0.0.1": 20, "8.0.3.0": 21, "9.0.0.0": 22, "2.5": 0, "4.0": 0, "4.1": 0}
    rows = [x.split() for x in (DATA / "api-versions.txt").read_text().splitlines() if x[0] != "#"]
    assert {name: guestid.since(name) for name, _ in rows} == {name: came_with[version] for name, version in rows}


def test_every_other_name_is_as_old_as_vsphere_4() -> None:
    # a newer pyVmomi with newer names: look in Broadcom's reference since when they exist
    stems = re.compile(r"(rhel|centos|debian|oracleLinux|sles|freebsd|other|darwin|vmkernel|crx\w+?)(\d+)")
    found = [m for x in guestid.GUEST_IDS - set(guestid.SINCE) if (m := stems.match(x))]
    oldest = {
        "rhel": 6,
        "centos": 64,
        "oracleLinux": 64,
        "debian": 5,
        "sles": 64,
        "freebsd": 64,
        "other": 26,
        "darwin": 64,
    }  # 64: no release
    assert {m[0] for m in found if int(m[2]) > oldest.get(m[1], 0)} == set()
