"""What a running guest says of itself is held against its survey, and each field that differs is told with both values."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.check import Check
from hikkoshi.guest.facts import Partition
from hikkoshi.guest.survey import Survey
from hikkoshi.network import interview
from hikkoshi.network.interview import Answers
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home

DATA = Path(__file__).parents[1] / "data" / "survey"
IDP = Survey.model_validate_json((DATA / "idp.json").read_bytes())
HOME = Home(Path(__file__).parents[2])
GUEST = HOME.guest("idp")
SAID = """\
@kernel 2.6.18-398.el5xen
@processors 1
@memory 1048576
@nic eth0 00:16:3E:01:00:00
@mount /dev/root / ext3 \n\
@mount /dev/xvda1 /boot ext3 \n"""


def told(said: str = SAID, surveyed: Survey = IDP) -> list[Check]:
    return list(interview._Comparison(GUEST, surveyed, Answers.of(said), "ssh://root@idp").checks())


def of(surveyed: Survey = IDP, **facts: object) -> Survey:
    return surveyed.model_copy(update={"guest": surveyed.guest.model_copy(update=facts)})


def test_a_guest_that_says_the_same_has_one_row() -> None:
    (check,) = told()
    assert (check.ok, check.unseen, check.found) == (True, "", "NICs: 1, mounts: 2, kernel: 2.6.18-398.el5xen")


@pytest.mark.parametrize(
    ("old", "new", "ok", "found"),
    [
        ("kernel 2.6.18-398", "kernel 2.6.18-8", False, "it runs 2.6.18-8.el5xen; its survey: 2.6.18-398.el5xen, 6.1.0-56-amd64"),
        (
            "kernel 2.6.18-398.el5xen",
            "kernel 6.1.0-56-amd64",
            True,
            "it runs 6.1.0-56-amd64; its menu's default: 2.6.18-398.el5xen, WHICH STARTS NEXT",
        ),
        ("processors 1", "processors 4", True, "it has 4 processors; its survey: 1"),
        ("memory 1048576", "memory 524288", True, "it has 512 MB; its survey: 1,024 MB"),
        ("nic eth0", "nic eth7", False, "00:16:3e:01:00:00 is eth7; its survey: eth0"),
        ("@mount", "@nic eth1 00:16:3e:01:00:09\n@mount", True, "eth1 (00:16:3e:01:00:09) is in no survey, and is NOT MOVED"),
        ("xvda1 /boot", "xvda2 /boot", False, "/boot is /dev/xvda2 (ext3); its survey: /dev/sda1 (ext3)"),
        ("/boot ext3", "/boot xfs", False, "/boot is /dev/xvda1 (xfs); its survey: /dev/sda1 (ext3)"),
        ("@mount /dev/xvda1 /boot ext3", "", True, "/boot is not mounted; its survey: /dev/sda1 (ext3)"),
        (
            "@mount",
            "@mount /dev/xvdb1 /srv/a\\040b ext4\n@mount",
            False,
            "/srv/a b is /dev/xvdb1 (ext4); its survey: no such device",
        ),
        ("@mount", "@mount /dev/xvda3 /mnt ext3\n@mount", True, "/mnt is /dev/xvda3 (ext3); its survey: mounted nowhere"),
        ("01:00:00", "02:00:00", False, "it has the MACs 00:16:3e:02:00:00; none of the guest's"),
    ],
)
def test_each_field_that_differs_is_a_check_with_both_values(old: str, new: str, ok: bool, found: str) -> None:
    (check,) = told(SAID.replace(old, new, 1))
    assert (check.ok, check.unseen) == (ok, "not seen" if ok else "")
    assert check.found.startswith(found)
    assert ok or (check.expected and check.remedy and check.where == "ssh://root@idp")


@pytest.mark.parametrize(
    "more",
    [
        "@mount /dev/xvda1 /chroot/boot ext3",  # a second place of what is known
        "@mount /dev/hdc /media iso9660",
        "@mount /dev/mapper/luks-1 /safe ext4",
        "@mount /dev/loop0 /snap squashfs",
        "@mount /dev/root /x",
        "@nic eth1",
        "@processors many",
        "something else",
    ],
)
def test_what_cannot_be_held_against_anything_is_passed_over(more: str) -> None:
    assert [c.code for c in told(f"{SAID}{more}\n")] == ["guest-asked"]


def test_a_later_driver_of_ext3_is_called_ext4() -> None:
    assert [c.code for c in told(SAID.replace("ext3", "ext4"))] == ["guest-asked"]


def test_a_kernel_of_the_dom0_is_in_no_menu() -> None:
    xen = IDP.xen.model_copy(update={"kernel": "/boot/vmlinuz-xenU"})
    surveyed = IDP.model_copy(update={"xen": xen})
    assert [c.code for c in told(SAID.replace("398", "8"), surveyed)] == ["guest-asked"]


def test_volumes_are_known_by_their_names_and_disks_by_those_of_xens_configuration() -> None:
    partitions = (
        Partition(device="/dev/vg-0/root", bytes=1, fstype="ext3", mountpoint="/"),
        Partition(device="/dev/sdb", bytes=1, fstype="xfs", mountpoint="/srv"),
        Partition(device="/dev/sda1", bytes=1, fstype="ext3", mountpoint="/boot"),
    )
    surveyed = of(partitions=partitions, disk_names=("xvda",), further_disks=(("xvdf", "sdf"),))
    mounts = "@mount /dev/dm-0 / ext3 vg--0-root\n@mount /dev/xvdf /srv xfs\n@mount /dev/xvda1 /boot ext3\n"
    said = SAID.partition("@mount")[0] + mounts
    assert [c.code for c in told(said, surveyed)] == ["guest-asked"]
    (check,) = told(said.replace("xvdf", "xvdg"), surveyed)
    assert check.found == "/srv is /dev/xvdg (xfs); its survey: /dev/sdb (xfs)"


def test_nics_of_a_bond_are_known_by_their_own_macs() -> None:
    said = SAID.replace("00:16:3E:01:00:00", "00:16:3e:01:00:77") + "@slave eth0\n@permanent 00:16:3e:01:00:00\n"
    assert [c.code for c in told(said)] == ["guest-asked"]


def test_a_nic_whose_mac_xen_draws_is_one_that_its_survey_has() -> None:
    vif, drawn = IDP.xen.vifs[0], IDP.xen.vifs[0].model_copy(update={"mac": ""})
    surveyed = IDP.model_copy(update={"xen": IDP.xen.model_copy(update={"vifs": (vif, drawn)})})
    said = SAID.replace("@mount", "@nic eth1 00:16:3e:77:00:01\n@mount", 1)
    assert [c.code for c in told(said, surveyed)] == ["guest-asked"]
    (check,) = told(said.replace("@mount", "@nic eth2 00:16:3e:77:00:02\n@mount", 1), surveyed)
    assert (check.ok, check.found) == (True, "eth2 (00:16:3e:77:00:02) is in no survey, and is NOT MOVED")


def test_a_disk_that_stays_behind_on_purpose_is_not_red() -> None:
    surveyed = IDP.model_copy(update={"left_out": ("xvdb (/srv/old.img)",)})
    (check,) = told(SAID + "@mount /dev/xvdb1 /old ext3\n", surveyed)
    assert check.ok


def checks(guest: Guest = GUEST, *, off: bool = False) -> str:
    (check,) = interview.checks(guest, IDP, off=off)
    assert check.ok
    assert check.unseen
    return check.found


def test_who_is_not_asked_is_told_and_why() -> None:
    gateway = HOME.guest("gateway")
    assert checks(off=True) == "not asked: it is off"
    assert checks().startswith("not asked: its parameters give no shell")
    assert gateway.measurement
    inside = gateway.measurement.model_copy(update={"shell": "netns:gw"})
    assert checks(gateway.model_copy(update={"measurement": inside})).startswith("not asked: its shell is netns:gw")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Welcome\n",
        "@kernel 1\n",
        "@nic eth0 00:16:3e:01:00:00\n",
        SAID + "".join(f"@mount /dev/a /{n} x\n" for n in range(501)),
        SAID.replace("@kernel ", f"@kernel {'9' * 1000}"),
    ],
    ids=["nothing", "a greeting", "no NIC", "no kernel", "too many mounts", "too long a line"],
)
def test_an_answer_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"it (tells of|prints a line of)"):
        Answers.of(text)


MARKS = [f"@{word}" for word in ("kernel", "processors", "memory", "vmware", "nic", "slave", "permanent", "mount")]
WORDS = st.sampled_from([*MARKS, "eth0", "/dev/xvda1", "/", "ext3", "-1", "\\040"])
LINE: Callable[[list[str]], str] = " ".join


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.lists(WORDS, max_size=6).map(LINE), st.text(max_size=30)), max_size=8))
def test_no_answer_is_more_than_a_value_error(lines: list[str]) -> None:
    with contextlib.suppress(ValueError):
        Answers.of("\n".join(lines))
    with contextlib.suppress(ValueError):
        assert all(isinstance(c, Check) for c in told(SAID + "\n".join(lines)))
