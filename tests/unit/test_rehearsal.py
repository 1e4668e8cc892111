"""What a rehearsal promises, and when it counts as done."""

import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import BadInput, Refused
from hikkoshi.guest.additions.firststart import Started
from hikkoshi.params.folder import GuestFolder
from hikkoshi.rehearsal import boot, rehearsal
from hikkoshi.rehearsal.accelerator import Accelerator
from hikkoshi.rehearsal.machine import Hardware, MachineNic
from hikkoshi.rehearsal.outcome import BootOutcome, Ending, SeenNic, ToolsSeen
from hikkoshi.rehearsal.rehearsal import Control, Job, Rehearsal
from hikkoshi.steps.rehearse import nic_rows

MACS = ("00:16:3e:05:00:00", "00:16:3e:05:00:01")
MACHINE = Hardware(
    controller="pvscsi",
    nic_model="vmxnet3",
    memory_mb=640,
    vcpus=1,
    nics=(
        MachineNic(name="eth0", mac=MACS[0], address="10.3.1.254/24"),
        MachineNic(name="eth1", mac=MACS[1]),  # by DHCP: any address will do
    ),
)
NICS = (
    SeenNic(name="eth0", mac=MACS[0], driver="vmxnet3", addresses=("10.3.1.254/24",)),
    SeenNic(name="eth1", mac=MACS[1], driver="vmxnet3", addresses=()),
)
GOOD = BootOutcome(
    ending=Ending.LOGIN,
    words="gateway login:",
    seconds=19.5,
    accelerator="tcg",
    controller="pvscsi",
    nic_model="vmxnet3",
    kernel="2.6.18-398.el5",
    root="/dev/sda2",
    nics=NICS,
    picture="rehearsal/after.png",
    screen="rehearsal/after.txt",
    console="rehearsal/after.console.txt",
    disk_unchanged=True,
)


@dataclass(frozen=True)
class ThePlan:
    source: Origin
    hash: str = "plan-1"
    machine: Hardware = MACHINE


def red(outcome: BootOutcome, machine: Hardware = MACHINE) -> list[str]:
    done = Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=outcome)
    return [c.title for c in rehearsal.checks(done, machine) if not c]


def changed(**fields: object) -> BootOutcome:
    return GOOD.model_copy(update=fields)


def rehearsed(folder: Path, outcome: BootOutcome = GOOD, sha256: str = "a", plan_hash: str = "b") -> None:
    for name in (outcome.picture, outcome.screen, outcome.console):
        files.write(folder / name, "x")
    Rehearsal(vmdk_sha256=sha256, plan_hash=plan_hash, before=None, after=outcome).save(folder)


def test_a_guest_that_is_as_planned_has_no_red_check() -> None:
    assert red(GOOD) == []


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        (changed(ending=Ending.TIMEOUT), "the guest comes to its login prompt"),
        (changed(kernel="2.6.18-398.el5xen"), "it runs a kernel that does not need Xen"),
        (changed(kernel=""), "it runs a kernel that does not need Xen"),
        (changed(root=""), "its root file system is mounted"),
        (changed(nics=NICS[:1]), "every NIC has its name, driver and address"),
        (changed(disk_unchanged=False), "the VMDK is unchanged"),
    ],
)
def test_each_fault_makes_its_own_check_red_and_no_other(outcome: BootOutcome, title: str) -> None:
    assert red(outcome) == [title]


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ({"mac": "00:16:3e:05:00:77"}, "no NIC with 00:16:3e:05:00:00"),
        ({"name": "eth7"}, "is called eth7"),
        ({"driver": ""}, "driver none instead of vmxnet3"),
        ({"driver": "e1000"}, "driver e1000 instead of vmxnet3"),
        ({"addresses": ()}, "address none instead of 10.3.1.254/24"),
        ({"addresses": ("10.3.1.254/16",)}, "address 10.3.1.254/16 instead of 10.3.1.254/24"),
    ],
)
def test_what_is_wrong_with_a_nic_is_said(seen: dict[str, object], fault: str) -> None:
    outcome = changed(nics=(NICS[0].model_copy(update=seen), NICS[1]))
    assert rehearsal.faults(MACHINE.nics[0], MACHINE, outcome) == [fault]
    assert red(outcome) == ["every NIC has its name, driver and address"]


def test_nics_are_counted_against_the_plan() -> None:
    done = Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=changed(nics=NICS[1:]))
    (nics,) = [c for c in rehearsal.checks(done, MACHINE) if "every NIC" in c.title]
    assert nics.found == "1/2: eth0: no NIC with 00:16:3e:05:00:00"
    assert nics.expected == "2/2"


def test_the_table_puts_plan_and_guest_side_by_side() -> None:
    done = Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=changed(nics=NICS[:1]))
    first, second = nic_rows(done, MACHINE)
    assert (first["addresses"], first["verdict"]) == ("10.3.1.254/24", "ok")
    assert (second["seen as"], second["verdict"]) == ("–", f"no NIC with {MACS[1]}")
    assert {r["verdict"] for r in nic_rows(None, MACHINE)} == {"not yet"}
    assert nic_rows(None, None) == []


def test_before_there_is_anything_the_check_waits_for_apply() -> None:
    (check,) = rehearsal.checks(None, None)
    assert not check
    assert check.later


def test_a_rehearsal_of_this_vmdk_and_plan_is_complete(tmp_path: Path) -> None:
    rehearsed(tmp_path)
    assert rehearsal.complete(GuestFolder(tmp_path), "a", "b")


@pytest.mark.parametrize(("sha256", "plan_hash"), [("other", "b"), ("a", "other"), ("", "")])
def test_a_rehearsal_of_another_vmdk_or_plan_is_not_complete(tmp_path: Path, sha256: str, plan_hash: str) -> None:
    rehearsed(tmp_path)
    assert not rehearsal.complete(GuestFolder(tmp_path), sha256, plan_hash)


def test_nothing_is_not_complete(tmp_path: Path) -> None:
    check = rehearsal.complete(GuestFolder(tmp_path), "", "")
    assert not check
    assert (check.found, check.remedy) == ("not yet", "run 50-rehearse in apply")


def test_a_rehearsal_whose_picture_is_lost_is_not_complete(tmp_path: Path) -> None:
    rehearsed(tmp_path)
    (tmp_path / GOOD.picture).unlink()
    assert not rehearsal.complete(GuestFolder(tmp_path), "a", "b")


@pytest.mark.parametrize(
    ("ending", "kernel", "complete"),
    [
        (Ending.LOGIN, "", False),  # logged in and told nothing
        (Ending.TIMEOUT, "", False),  # perhaps an overloaded machine
        (Ending.KERNEL_PANIC, "", True),  # the same VMDK will do the same again
        (Ending.GRUB_ERROR, "", True),
    ],
)
def test_only_what_another_try_may_change_is_tried_again(tmp_path: Path, ending: Ending, kernel: str, complete: bool) -> None:
    rehearsed(tmp_path, changed(ending=ending, kernel=kernel, nics=()))
    assert bool(rehearsal.complete(GuestFolder(tmp_path), "a", "b")) == complete


def control(folder: Path) -> Job:
    """A job whose unprepared disk has been booted."""
    source = folder / "source.img"
    source.write_bytes(b"disk")
    job = Job(GuestFolder(folder), folder / "x.vmdk", ThePlan(Origin.whole(source)), None)
    rehearsed(folder)
    Control(disk=boot.identity(source, "raw"), plan_hash="plan-1", outcome=GOOD).save(folder)
    return job


def test_the_control_boot_is_done_once_per_disk_and_plan(tmp_path: Path) -> None:
    job = control(tmp_path)
    assert rehearsal.control_complete(job)
    assert not rehearsal.control_complete(replace(job, plan=ThePlan(Origin.whole(tmp_path / "source.img"), hash="plan-2")))
    (tmp_path / "source.img").write_bytes(b"disk, changed")
    assert not rehearsal.control_complete(job)


def test_the_control_boot_is_not_done_where_there_is_no_plan_or_no_disk(tmp_path: Path) -> None:
    job = control(tmp_path)
    assert not rehearsal.control_complete(replace(job, plan=None))
    (tmp_path / "source.img").unlink()
    assert not rehearsal.control_complete(job)


@pytest.mark.parametrize(("code", "patience"), [(b"", rehearsal.SPEECHLESS), (b"\xeb\x48GRUB", boot.TIMEOUT)])
def test_a_disk_without_a_boot_loader_which_no_bios_tells_of_is_not_waited_for_long(
    tmp_path: Path, code: bytes, patience: float
) -> None:
    disk = tmp_path / "disk.img"  # with a partition table, as sfdisk makes it for pygrub
    table = struct.pack("<B3xB3xII", 0x80, 0x83, 2048, 2048).ljust(64, b"\0")
    disk.write_bytes((code.ljust(446, b"\0") + table + b"\x55\xaa").ljust(2 << 20, b"\0"))
    assert rehearsal._patience(disk) == patience


def test_a_vmdk_that_is_not_the_converted_one_is_refused_before_it_is_booted(tmp_path: Path) -> None:
    vmdk = tmp_path / "x.vmdk"
    vmdk.write_bytes(b"tampered")
    job = Job(GuestFolder(tmp_path), vmdk, ThePlan("/nowhere"), Conversion.model_construct(vmdk_sha256="0" * 64))
    with pytest.raises(BadInput, match="not the one that was converted"):
        rehearsal.start(job, accelerator="tcg")
    assert not (tmp_path / "rehearsal.json").exists()


def test_without_a_plan_nothing_is_booted(tmp_path: Path) -> None:
    job = Job(GuestFolder(tmp_path), tmp_path / "x.vmdk", None, None)
    with pytest.raises(Refused, match="no plan"):
        rehearsal.start(job, accelerator="tcg")
    with pytest.raises(Refused, match="no plan"):
        rehearsal.start_control(job, accelerator="tcg")


def test_what_earlier_steps_have_not_made_yet_is_later_in_the_preflight(tmp_path: Path) -> None:
    checks = rehearsal.preflight(Job(GuestFolder(tmp_path), tmp_path / "x.vmdk", None, None), Accelerator("tcg", "because"))
    missing = [c.title for c in checks if not c and c.later]
    assert missing == ["there is a plan", "the unprepared disk is there", "the converted disk is there"]


def test_a_small_disk_is_identified_by_its_bytes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"one")
    before, when = boot.identity(disk, "raw"), disk.stat()
    disk.write_bytes(b"two")
    os.utime(disk, ns=(when.st_atime_ns, when.st_mtime_ns))  # the same size and time
    assert boot.identity(disk, "raw") != before


def test_a_large_sparse_disk_is_identified_without_reading_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as f:
        f.truncate(64 << 30)
    before = boot.identity(disk, "raw")
    assert before == boot.identity(disk, "raw")
    with disk.open("r+b") as f:
        f.seek(1 << 30)
        f.write(b"something")
    assert boot.identity(disk, "raw") != before


@pytest.mark.parametrize(
    ("asked", "failed", "unseen", "found"),
    [(True, (), "", "none"), (False, (), "not seen", "does not tell"), (False, ("kudzu",), "", "kudzu")],
)
def test_services_that_nobody_asked_for_are_not_told_as_none(
    asked: bool, failed: tuple[str, ...], unseen: str, found: str
) -> None:
    done = Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=changed(asked=asked, failed=failed))
    (check,) = [c for c in rehearsal.checks(done, MACHINE) if c.code == "services-started"]
    assert check
    assert check.unseen == unseen
    assert found in check.found


def told(code: str, outcome: BootOutcome, machine: Hardware = MACHINE) -> Check:
    done = Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=outcome)
    (found,) = (c for c in rehearsal.checks(done, machine) if c.code == code)
    return found


def test_a_first_start_that_failed_without_a_network_is_told_and_stops_nothing() -> None:
    good = changed(first_state="complete", first=(Started(name="01-a.sh", status=0),))
    assert told("first-start-rehearsed", good).unseen == ""
    bad = changed(first_state="complete", first=(Started(name="01-a.sh", status=3),))
    found = told("first-start-rehearsed", bad)
    assert (bool(found), found.unseen, found.found) == (True, "not seen", "complete; 01-a.sh: exit status 3")


def test_tools_are_looked_at_only_on_a_machine_that_calls_itself_vmwares() -> None:
    seen = changed(tools=ToolsSeen(unit="open-vm-tools", enabled=True, condition=True, started=True))
    assert not [
        c
        for c in rehearsal.checks(Rehearsal(vmdk_sha256="a", plan_hash="b", before=None, after=seen), MACHINE)
        if c.code == "tools-start"
    ]
    vmware = MACHINE.model_copy(update={"as_vmware": True})
    assert told("tools-start", seen, vmware).unseen == ""
    assert told("tools-start", GOOD, vmware).unseen == "not seen"
