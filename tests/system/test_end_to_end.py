"""The main job: the paper's two guests, from Xen image to a machine in vSphere and a report, by the notebooks."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval.plan import Plan
from hikkoshi.disk.conversion import Conversion
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.rehearsal import Rehearsal, checks
from hikkoshi.run.journal import Journal
from hikkoshi.vsphere import session
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.ova import OvfPackage
from hikkoshi_lab import image, userland
from processes import hikkoshi
from runbooks import Look

pytestmark = pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim", "virt-v2v", "vmdkinfo")


def rows(home: Home, guest: str) -> list[dict[str, object]]:
    return [e for e in Journal(home.folder(guest) / "journal.jsonl").entries() if e["event"] == "step"]


def test_plan_mode_comes_first_and_changes_nothing(looked: dict[str, Look]) -> None:
    look = looked["idp"]
    assert look.returncode == 0, look.told
    states = {(r["state"], r["title"] if r["state"] == "already" else "") for r in look.rows}
    assert states == {("would", ""), ("already", "remove what an earlier plan or disk has left, never started")}
    assert "disk" not in look.files


@pytest.mark.parametrize(("guest", "nics"), [("idp", 1), ("gateway", 10)])
def test_the_unprepared_disk_fails_and_the_prepared_one_logs_in_with_all_nics(moved: Home, guest: str, nics: int) -> None:
    rehearsal = Rehearsal.load(moved.folder(guest))
    assert rehearsal.before is not None
    assert rehearsal.before.ending == Ending.GRUB_ERROR
    assert rehearsal.before.words == "Error 13: Invalid or unsupported executable format"
    assert rehearsal.after.ending == Ending.LOGIN
    further = {"swap": "/dev/sdb", "/srv": "/dev/sdc"} if guest == "idp" else {"swap": "/dev/sda3"}
    assert {m.point: m.device for m in rehearsal.mounts} == {"/boot": "/dev/sda1", "/": "/dev/sda2", **further}
    plan = Plan.load(moved.folder(guest))
    assert [str(c.problem()) for c in checks(rehearsal, plan.machine) if not c] == []
    planned = {(n.name, n.mac) for n in plan.vm.nics}
    assert len(planned) == nics
    assert {(n.name, n.mac) for n in rehearsal.after.nics if n.driver == "vmxnet3"} >= planned
    for outcome in (rehearsal.before, rehearsal.after):
        assert outcome.disk_unchanged
        assert (moved.folder(guest) / outcome.picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("guest", ["idp", "gateway"])
def test_the_disk_that_goes_to_vsphere_is_not_changed_by_its_rehearsal(moved: Home, guest: str) -> None:
    for disk in Conversion.load(moved.folder(guest)).each:
        vmdk = moved.folder(guest).disks / disk.vmdk
        assert b"HIKKOSHI" not in vmdk.read_bytes()  # by which the witness in the rehearsed disk is known
        assert files.sha256(vmdk) == disk.vmdk_sha256


@pytest.mark.parametrize("guest", ["idp", "gateway"])
def test_independent_readers_agree_on_what_was_made(moved: Home, guest: str, tmp_path: Path) -> None:
    folder, plan = moved.folder(guest), Plan.load(moved.folder(guest))
    count = len(plan.vm.disks)
    vmdks = folder.vmdks(count)
    for disk, vmdk, size in zip(folder.copies(count), vmdks, plan.vm.disks, strict=True):
        subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", disk, vmdk], check=True, stdout=subprocess.PIPE)
        told = subprocess.run(["vmdkinfo", vmdk], check=True, capture_output=True, text=True).stdout
        assert "Stream optimized" in told
        assert f"({size} bytes)" in told
    package = tmp_path / f"{guest}.ova"
    OvfPackage.of(plan.vm, Conversion.load(folder), folder).write_ova(package)
    source = subprocess.run(
        ["virt-v2v", "-i", "ova", "--print-source", package], check=True, capture_output=True, text=True
    ).stdout
    for nic in plan.vm.nics:
        assert f'"{nic.port_group}"' in source
    assert source.count("[vmxnet3]") == len(plan.vm.nics)


@pytest.mark.parametrize("guest", ["idp", "gateway"])
def test_the_machine_in_vsphere_carries_the_plan_and_the_disks_hash(moved: Home, guest: str) -> None:
    folder = moved.folder(guest)
    with session.connect(moved, moved.site().vsphere) as server:
        machines = server.collect(
            "VirtualMachine", ["name", "runtime.powerState", "config.extraConfig", "config.hardware.device"]
        )
    mine = [m for m in machines.values() if m["name"] == guest]
    assert len(mine) == 1
    extra = {o.key: o.value for o in mine[0]["config.extraConfig"]}
    assert extra["hikkoshi.plan"] == Plan.load(folder).hash
    assert extra["hikkoshi.vmdk"] == Conversion.load(folder).vmdk_sha256
    disks = [d for d in mine[0]["config.hardware.device"] if hasattr(d, "capacityInBytes")]
    assert tuple(d.capacityInBytes for d in disks) == Plan.load(folder).vm.disks
    assert len(disks) == {"idp": 3, "gateway": 1}[guest]
    assert str(mine[0]["runtime.powerState"]) == "poweredOn"
    assert len(Deployment.load(folder).nics) == len(Plan.load(folder).vm.nics)


@pytest.mark.parametrize("guest", ["idp", "gateway"])
def test_the_source_image_is_as_it_was(moved: Home, guest: str) -> None:
    from hikkoshi.disk import digest
    from hikkoshi_lab import image

    sources = [digest.content(part.path) for part in Plan.load(moved.folder(guest)).source.parts]
    built = image.disks(image.GATEWAY if guest == "gateway" else image.IDP)
    assert sources == [digest.content(path) for _, path in sorted(built.items())]


def test_a_second_run_finds_everything_already_done(moved: Home) -> None:
    before = len(rows(moved, "gateway"))
    again = hikkoshi(moved, "run", "gateway", "--apply", "--through", "90-report", seconds=900)
    assert again.returncode == 0, again.stdout + again.stderr
    found = {(r["title"] if r["state"].startswith("not ") else "", r["state"]) for r in rows(moved, "gateway")[before:]}
    assert {f for f in found if f[1] != "not needed"} == {
        ("", "already"),
        ("the source is off", "not seen"),  # its Dom-0 is a folder
        ("remember who is heard on each NIC", "not measured"),  # nobody had listened before it moved
    }


def test_status_tells_every_guest_as_a_table_and_as_json(moved: Home) -> None:
    table = hikkoshi(moved, "status")
    assert table.returncode == 0
    assert all(g in table.stdout for g in ("idp", "gateway"))
    told = json.loads(hikkoshi(moved, "status", "--json").stdout)
    assert {(s["guest"], s["step"], s["state"]) for s in told} == {("idp", "90-report", "done"), ("gateway", "90-report", "done")}


@pytest.mark.parametrize("guest", ["idp", "gateway"])
def test_the_report_is_one_file_that_needs_no_network(moved: Home, guest: str) -> None:
    import re

    page = (moved.outputs / "reports" / f"{guest}.html").read_text()
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert not re.search(r"url\(\s*['\"]?https?:", page)
    assert page.count("data:image/png;base64,") >= 2
    for nic in Plan.load(moved.folder(guest)).vm.nics:
        assert nic.mac in page


def test_rollback_disconnects_and_powers_off(moved: Home, tmp_path: Path) -> None:
    back = hikkoshi(moved, "run", "idp", "--apply", "--only", "75", seconds=900)
    # the lab's Dom-0 is a folder: nothing can be started there, and the runbook says so instead of pretending
    assert back.returncode in (0, 3), back.stdout + back.stderr
    with session.connect(moved, moved.site().vsphere) as server:
        machines = server.collect("VirtualMachine", ["name", "runtime.powerState"])
    assert {str(m["runtime.powerState"]) for m in machines.values() if m["name"] == "idp"} == {"poweredOff"}
    shutil.rmtree(tmp_path)


def test_no_password_of_a_guest_is_in_any_file_but_its_disks(moved: Home) -> None:
    secrets = [s.encode() for s in (*userland.SECRETS, image.VNC_PASSWORD)]
    config = (moved.outputs / "lab/dom0/etc/xen/idp").read_bytes()
    assert secrets[-1] in config, "the guest has one"
    found = []
    for path in moved.outputs.rglob("*"):
        name = path.relative_to(moved.outputs).as_posix()
        if path.is_file() and not name.startswith("lab/") and path.suffix not in (".img", ".vmdk"):
            content = path.read_bytes()
            found += [(name, s) for s in secrets if s in content or s in json_in_json(content)]
    assert found == []
    assert b"HIKKOSHI-SECRET-0001" in (moved.folder("idp") / "plan.json").read_bytes()


def json_in_json(content: bytes) -> bytes:
    """What a notebook's JSON holds of a text."""
    return content.replace(b"\\/", b"/").replace(b"\\n", b"\n").replace(b'\\"', b'"')


@pytest.mark.needs("root", "setpriv")
def test_another_user_reads_no_file_of_a_whole_move(moved: Home) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    seen = subprocess.run(
        [*nobody, "sh", "-c", 'find . -mindepth 1; cat "$1"', "-", "guests/idp/journal.jsonl"],
        cwd=moved.outputs,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (seen.returncode, seen.stdout) == (1, "")
    wide = [p for p in moved.outputs.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o077]
    assert [p for p in wide if "lab" not in p.relative_to(moved.outputs).parts[:1]] == []
