"""Packages of VMware Tools: what they need, what the guest has, and which is the newer."""

import gzip
import io
import itertools
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.guest.additions import packages, tools
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.survey import Survey
from hikkoshi.params.guest import Guest, ToolsWish
from hikkoshi.params.home import Home

DATA = Path(__file__).parents[1] / "data"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: a library
 Version: 9 is no field of it

Package: mawk
Status: install ok installed
Provides: awk, virtual (= 3)
Version: 1.3

Package: gone
Status: deinstall ok config-files
Version: 1
"""


CONTENTS = """\
drwxr-xr-x root/root         0 2016-12-04 11:14 ./
-rwxr-xr-x root/root     10344 2016-12-04 11:14 ./usr/bin/vmtoolsd
-rw-r--r-- root/root     59344 2016-12-04 11:14 ./lib/modules/6.1/misc/vmxnet3.ko
lrwxrwxrwx root/root         0 2016-12-04 11:14 ./lib/modules/6.1/updates/vmw_pvscsi.ko -> ../misc/other
-rw-r--r-- root/root     93441 2016-12-04 11:14 ./usr/src/open-vm-tools-10.1.5/modules/linux/vmxnet/vmxnet.c
-rw-r--r-- root/root       441 2016-12-04 11:14 ./usr/share/doc/vmxnet/README
"""  # as dpkg-deb writes it


@pytest.fixture
def survey() -> Survey:
    return Survey.model_validate_json((DATA / "survey" / "gateway.json").read_bytes())


# in Debian's order, as deb-version(7) and dpkg's own tests have them
ORDERED = ("1.0~~", "1.0~rc1", "1.0", "1.0-1", "1.0-1+b1", "1.0a", "1.0+x", "1.00001", "1.2", "1.10", "2:12.2.0-1+deb12u3", "3:0")


def test_versions_are_in_debians_order() -> None:
    for one, other in itertools.pairwise(ORDERED):
        assert packages.compare(one, other) < 0 < packages.compare(other, one), (one, other)
    assert packages.compare("1.0", "0:1.0-0") == 0
    assert packages.compare("1.01", "1.1") == 0


@settings(max_examples=50)
@given(*[st.text("0123456789abz.+~-:", min_size=1, max_size=8)] * 2)
def test_the_order_has_no_contradiction(one: str, other: str) -> None:
    assert (
        packages.compare(one, other) == -packages.compare(other, one)
        or packages.compare(one, other) * packages.compare(other, one) < 0
    )


def test_what_is_installed_is_read_off_dpkgs_status() -> None:
    assert packages.installed(STATUS) == {"libc6": "2.36-9+deb12u10", "mawk": "1.3", "awk": "", "virtual": "3"}


@pytest.mark.parametrize(
    ("relation", "met"),
    [
        ("libc6", True),
        ("libc6:any (>= 2.36)", True),
        ("libc6 (>= 2.37)", False),
        ("libc6 (<< 2.37)", True),
        ("gone", False),
        ("nothing | awk", True),
        ("awk (>= 1)", False),
        ("virtual (= 3)", True),
        ("libc6 (= 2.36-9+deb12u10)", True),
    ],
)
def test_a_relation_is_met_by_a_package_its_version_or_who_provides_it(relation: str, met: bool) -> None:
    assert (packages.unmet((relation,), packages.installed(STATUS)) == []) is met


def test_a_deb_is_known_by_its_control_file_and_drivers_in_it_are_told() -> None:
    control = "Package: open-vm-tools\nVersion: 2:12.2.0-1\nArchitecture: amd64\nPre-Depends: init-system-helpers (>= 1.54~)\n"
    control += "Depends: libc6 (>= 2.36),\n libfuse3-3\n"
    found = packages.deb(control, CONTENTS.splitlines())
    assert (found.software.name, found.software.version, found.software.arch) == ("open-vm-tools", "2:12.2.0-1", "amd64")
    assert found.depends == ("init-system-helpers (>= 1.54~)", "libc6 (>= 2.36)", "libfuse3-3")
    assert found.drivers == (
        "./lib/modules/6.1/misc/vmxnet3.ko",
        "./lib/modules/6.1/updates/vmw_pvscsi.ko",
        "./usr/src/open-vm-tools-10.1.5/modules/linux/vmxnet/vmxnet.c",
    )


def rpm(path: Path, arch: str, folders: list[str], names: list[str]) -> Path:
    """As rpm(8) lays it out: a lead, signatures, and the header."""

    def header(values: dict[int, list[str] | list[int]]) -> bytes:
        index, store = b"", b""
        for tag, listed in values.items():
            if isinstance(listed[0], int):
                store += b"\0" * (-len(store) % 4)
                index += struct.pack(">IIII", tag, 4, len(store), len(listed))
                store += struct.pack(f">{len(listed)}I", *listed)
            else:
                index += struct.pack(">IIII", tag, 8, len(store), len(listed))
                store += b"".join(str(v).encode() + b"\0" for v in listed)
        return struct.pack(">4s4xII", b"\x8e\xad\xe8\x01", len(values), len(store)) + index + store

    signatures = header({1000: ["x"]})
    own = header(
        {
            1000: ["open-vm-tools"],
            1001: ["11.0"],
            1002: ["1.el7"],
            1022: [arch],
            1116: [0] * len(names),
            1117: names,
            1118: folders,
        }
    )
    lead = b"\xed\xab\xee\xdb".ljust(96, b"\0")
    path.write_bytes(lead + signatures + b"\0" * (-len(signatures) % 8) + own + b"the payload")
    return path


def test_an_rpm_is_known_by_its_header(tmp_path: Path) -> None:
    found = packages.read(rpm(tmp_path / "a.rpm", "x86_64", ["/lib/modules/3.10/"], ["vmxnet3.ko.xz", "other.ko"]))
    assert (found.software.name, found.software.version, found.software.arch) == ("open-vm-tools", "11.0-1.el7", "x86_64")
    assert found.drivers == ("/lib/modules/3.10/vmxnet3.ko.xz",)
    sources = packages.read(rpm(tmp_path / "b.rpm", "noarch", ["/usr/src/pvscsi-1.0/"], ["pvscsi.c", "Makefile"]))
    assert sources.drivers == ("/usr/src/pvscsi-1.0/pvscsi.c", "/usr/src/pvscsi-1.0/Makefile")


@pytest.mark.parametrize("content", [b"", b"text", b"\xed\xab\xee\xdb" + b"\0" * 200, b"\xed\xab\xee\xdb"])
def test_what_is_no_package_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.rpm").write_bytes(content)
    with pytest.raises(ValueError, match=r"neither|header"):
        packages.read(tmp_path / "a.rpm")


def red(home: Home, guest: Guest, facts: GuestFacts) -> dict[str, Check]:
    return {c.code: c for c in tools.checks(home, guest, facts) if not c}


def test_packages_for_another_system_and_drivers_are_refused(home: Home, survey: Survey) -> None:
    rpm(home.root / "good.rpm", "x86_64", ["/usr/bin/"], ["vmtoolsd"])
    rpm(home.root / "bad.rpm", "aarch64", ["/lib/modules/3.10/"], ["vmxnet3.ko"])
    guest = home.guest("gateway").model_copy(update={"tools": ToolsWish(packages=(Path("good.rpm"),))})
    assert red(home, guest, survey.guest) == {}
    (software,) = tools.of(home, guest, survey.guest).software
    assert (software.name, software.version) == ("open-vm-tools", "11.0-1.el7")
    other = guest.model_copy(update={"tools": ToolsWish(packages=(Path("good.rpm"), Path("bad.rpm")))})
    assert set(red(home, other, survey.guest)) == {"tools-packages-of-system", "tools-keep-drivers"}
    debian = survey.guest.model_copy(update={"distribution": "debian", "release": "12", "installed": {"libc6": "2"}})
    assert set(red(home, guest, debian)) == {"tools-packages-of-system"}


def test_two_packages_of_one_file_name_are_refused(home: Home, survey: Survey) -> None:
    for folder in ("one", "other"):
        (home.root / folder).mkdir()
        rpm(home.root / folder / "tools.rpm", "x86_64", ["/usr/bin/"], [folder])
    named = (Path("one/tools.rpm"), Path("other/tools.rpm"))
    guest = home.guest("gateway").model_copy(update={"tools": ToolsWish(packages=named)})
    (bad,) = red(home, guest, survey.guest).values()
    assert bad.code == "tools-packages-distinct"
    assert all(str(path) in bad.found for path in named)
    with pytest.raises(BadInput, match="one file name"):
        tools.of(home, guest, survey.guest)


def archive(path: Path, name: str) -> None:
    with tarfile.open(path, "w:gz") as tar:
        script = tarfile.TarInfo(name)
        script.size = 2
        tar.addfile(script, io.BytesIO(b"#!"))


def test_an_archive_without_the_installer_or_cut_off_is_refused(home: Home, survey: Survey) -> None:
    file = home.root / "VMwareTools-10.3.26-22085142.tar.gz"
    guest = home.guest("gateway").model_copy(update={"tools": ToolsWish(archive=Path(file.name))})
    assert set(red(home, guest, survey.guest)) == {"tools-archive-usable"}
    archive(file, tools.INSTALLER)
    assert red(home, guest, survey.guest) == {}
    assert tools.of(home, guest, survey.guest).waiting == ["00-vmware-tools.sh"]
    archive(file, "something/else")
    assert "no vmware-tools-distrib" in red(home, guest, survey.guest)["tools-archive-usable"].found
    file.write_bytes(gzip.compress(b"x" * 9999)[:20])
    assert set(red(home, guest, survey.guest)) == {"tools-archive-usable"}


def test_a_repository_needs_a_release_that_has_them_and_a_shell(home: Home, survey: Survey) -> None:
    guest = home.guest("gateway").model_copy(update={"tools": ToolsWish(repository=True)})
    assert "its release has no open-vm-tools" in red(home, guest, survey.guest)["tools-in-repository"].found
    newer = survey.guest.model_copy(update={"distribution": "debian", "release": "12"})
    assert red(home, guest, newer) == {}
    assert tools.of(home, guest, newer).repository == "DEBIAN_FRONTEND=noninteractive apt-get -q -y install open-vm-tools"
    silent = guest.model_copy(update={"measurement": None})
    assert "no shell" in red(home, silent, newer)["tools-in-repository"].found


@pytest.mark.parametrize(
    ("by_hand", "unattended"),
    [
        ("yum install open-vm-tools", "yum -y install open-vm-tools"),
        ("zypper install open-vm-tools", "zypper --non-interactive install open-vm-tools"),
    ],
)
def test_nobody_is_asked_by_a_package_manager(by_hand: str, unattended: str) -> None:
    assert tools.unattended(by_hand) == unattended


@pytest.mark.parametrize("wish", [{}, {"repository": True, "none": "x"}, {"packages": [], "none": ""}])
def test_exactly_one_source_is_named(wish: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"exactly one|at least 1"):
        ToolsWish.model_validate(wish)


def test_a_guest_without_tools_says_why(home: Home, survey: Survey) -> None:
    guest = home.guest("gateway").model_copy(update={"tools": ToolsWish(none="the vendor forbids it")})
    added = tools.of(home, guest, survey.guest)
    assert str(tools.advice(survey.guest, added)) == "VMware Tools: none, on purpose: the vendor forbids it"
