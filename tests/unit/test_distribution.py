"""Which distribution a guest is, by its own files."""

import pytest

from hikkoshi.guest import distribution, inspection
from hikkoshi.vsphere.preflight import guestid

REDHAT, OS, LSB, DEBIAN = "/etc/redhat-release", "/etc/os-release", "/etc/lsb-release", "/etc/debian_version"
SUSE = "/etc/SuSE-release"
UBUNTU = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={}\nDISTRIB_CODENAME=x\n"
GUESTS = {
    "Ubuntu 8.04": ({DEBIAN: "lenny/sid\n", LSB: UBUNTU.format("8.04")}, "ubuntu", "8.04", "ubuntu64Guest"),
    "Ubuntu 10.04": ({DEBIAN: "squeeze/sid\n", LSB: UBUNTU.format("10.04")}, "ubuntu", "10.04", "ubuntu64Guest"),
    "Debian of a name": ({DEBIAN: "lenny/sid\n"}, "debian", "5", "debian5_64Guest"),
    "Debian 3.1": ({DEBIAN: "3.1\n"}, "debian", "3.1", "other24xLinux64Guest"),
    "a testing Debian": ({OS: "ID=debian\n", DEBIAN: "bookworm/sid\n"}, "debian", "12", "debian12_64Guest"),
    "Debian 12": ({OS: 'ID=debian\nVERSION_ID="12"\n', DEBIAN: "12.5\n"}, "debian", "12", "debian12_64Guest"),
    "a relative of Debian": (
        {OS: "ID=devuan\nID_LIKE=debian\nVERSION_ID=4\n", DEBIAN: "11.2\n"},
        "debian",
        "11.2",
        "debian11_64Guest",
    ),
    "Oracle Linux 7": (
        {REDHAT: "Red Hat Enterprise Linux Server release 7.9 (Maipo)\n", OS: 'ID="ol"\nVERSION_ID="7.9"\n'},
        "oracle",
        "7.9",
        "oracleLinux7_64Guest",
    ),
    "Oracle Linux 6": (
        {
            REDHAT: "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n",
            "/etc/oracle-release": "Oracle Linux Server release 6.10\n",
        },
        "oracle",
        "6.10",
        "oracleLinux6_64Guest",
    ),
    "Oracle's Enterprise Linux 5": (
        {
            REDHAT: "Red Hat Enterprise Linux Server release 5.5 (Tikanga)\n",
            "/etc/enterprise-release": "Enterprise Linux Enterprise Linux Server release 5.5 (Carthage)\n",
        },
        "oracle",
        "5.5",
        "oracleLinux64Guest",
    ),
    "Oracle's os-release alone": ({OS: 'ID="ol"\nVERSION_ID="8.9"\n'}, "oracle", "8.9", "oracleLinux8_64Guest"),
    "Red Hat Linux 9": ({REDHAT: "Red Hat Linux release 9 (Shrike)\n"}, "redhat", "9", "other24xLinux64Guest"),
    "Red Hat Linux 7.3": ({REDHAT: "Red Hat Linux release 7.3 (Valhalla)\n"}, "redhat", "7.3", "other24xLinux64Guest"),
    "Enterprise Linux 3": ({REDHAT: "Red Hat Enterprise Linux AS release 3 (Taroon Update 9)\n"}, "rhel", "3.9", "rhel3_64Guest"),
    "Amazon Linux": ({OS: 'ID="amzn"\nID_LIKE="rhel fedora"\nVERSION_ID="2018.03"\n'}, "amazon-linux-ami", "2018.03", None),
    "Amazon Linux 2": ({OS: 'ID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2"\n'}, "amzn", "2", "amazonlinux2_64Guest"),
    "Amazon Linux 2 with a release file": (
        {REDHAT: "Amazon Linux release 2 (Karoo)\n", OS: 'ID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2"\n'},
        "amzn",
        "2",
        "amazonlinux2_64Guest",
    ),
    "Scientific Linux 7": (
        {REDHAT: "Scientific Linux release 7.9 (Nitrogen)\n", OS: 'ID="scientific"\nID_LIKE="rhel centos"\nVERSION_ID="7.9"\n'},
        "scientificlinux",
        "7.9",
        "rhel7_64Guest",
    ),
    "Novell Linux Desktop 9": ({SUSE: "Novell Linux Desktop 9 (i586)\nVERSION = 9\nRELEASE = 9\n"}, "sled", "9", "sles64Guest"),
    "a relative of Ubuntu": (
        {OS: 'ID=pop\nID_LIKE="ubuntu debian"\nVERSION_ID="22.04"\n', DEBIAN: "bookworm/sid\n"},
        "ubuntu",
        "22.04",
        "ubuntu64Guest",
    ),
    "CloudLinux 8": (
        {REDHAT: "CloudLinux release 8.8 (Anatoly Filipchenko)\n", OS: 'ID="cloudlinux"\nID_LIKE="rhel fedora centos"\n'},
        "rhel",
        "8.8",
        "rhel8_64Guest",
    ),
    "CloudLinux 6": ({REDHAT: "CloudLinux Server release 6.10 (Yevgeny Beloyusov)\n"}, "rhel", "6.10", "rhel6_64Guest"),
    "a relative nobody knows": (
        {OS: 'ID="navy"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.2"\n'},
        "rhel",
        "9.2",
        "rhel9_64Guest",
    ),
    "Rocky Linux": ({REDHAT: "Rocky Linux release 9.3 (Blue Onyx)\n", OS: 'ID="rocky"\n'}, "rocky", "9.3", "rockylinux_64Guest"),
    "AlmaLinux": (
        {REDHAT: "AlmaLinux release 8.9 (Midnight Oncilla)\n", OS: 'ID="almalinux"\nID_LIKE="rhel"\n'},
        "almalinux",
        "8.9",
        "almalinux_64Guest",
    ),
    "nothing said": ({}, "unknown", "unknown", "other24xLinux64Guest"),
}


@pytest.mark.parametrize(("texts", "name", "release", "guest_id"), GUESTS.values(), ids=GUESTS)
def test_a_guest_is_of_its_own_distribution_and_gets_its_name(
    texts: dict[str, str], name: str, release: str, guest_id: str | None
) -> None:
    assert distribution.of(texts) == (name, release)
    found = guestid.nearest(guestid.names(name, release, "x86_64", "2.4.20"))
    assert found == (guest_id or "other24xLinux64Guest")
    assert set(texts) <= set(inspection.TEXTS)
