"""A disk into vSphere in one pass: the bytes that arrive hold the disk, and after any failure nothing is left."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.cli import delivery
from hikkoshi.cli.delivery import Delivered
from hikkoshi.disk import digest, grains
from hikkoshi.disk.extents import RawDisk
from hikkoshi.errors import Busy, HikkoshiError, Refused, StepFailed, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.vsphere import nfc, session, vm
from hikkoshi.vsphere.session import Session
from hikkoshi_lab import proxy, site, vcsim
from hikkoshi_lab.proxy import Fault, FaultProxy
from processes import wait_for

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl")
MIB = 1 << 20


@dataclass
class World:
    """A vCenter of its own behind a proxy, and a disk of 40 MiB whose stream is some 13 MiB."""

    home: Home
    server: vcsim.Server
    proxy: FaultProxy
    disk: Path
    stack: ExitStack

    def connect(self) -> Session:
        return self.stack.enter_context(session.connect(self.home, self.home.site().vsphere, timeout=20))

    def send(self, v: Session, target: Path | None = None, name: str = "data") -> Delivered:
        with RawDisk(self.disk) as source:
            return delivery.send(v, self.home, source, name, target)


@pytest.fixture
def world(home: Home) -> Iterator[World]:
    with ExitStack() as stack:
        lab = home.outputs / "lab"
        server = stack.enter_context(vcsim.start(lab))
        front = stack.enter_context(proxy.start(server, lab, home.root / "received"))
        params = home.root / "params" / "site.yml"
        params.write_text(params.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{front.port}"))
        disk = home.root / "data.img"
        with disk.open("wb") as f:
            f.write(random.Random(2).randbytes(12 * MIB) + b"text " * MIB)
            f.truncate(40 * MIB)
        world = World(home, server, front, disk, stack)
        site.shape(world.connect(), home.site(), lab / "tmp", lambda words: None)
        yield world


def named(v: Session) -> list[str]:
    return sorted(str(p["name"]) for p in v.collect("VirtualMachine", ["name"]).values())


def test_what_arrives_holds_the_disk_and_nobody_knew_its_length(world: World) -> None:
    done = world.send(world.connect())
    (received,) = world.proxy.received
    found = grains.examine(received, size=40 * MIB)
    assert (found.flaws, found.content) == ((), digest.content(world.disk))
    assert done.imported.manifest == f"manifest agrees: sha1, {received.stat().st_size:,} bytes"
    assert done.plain()["file"] is None


def test_the_machine_is_off_has_no_nic_and_is_marked(world: World) -> None:
    v = world.connect()
    done = world.send(v)
    (machine,) = vm.marked(v, "import:data")
    assert (machine.name, machine.power, machine.nics) == ("data", "poweredOff", {})
    assert vm.COMPLETE in machine.marks
    assert done.plain()["machine"]["id"] == machine.id


def test_a_file_beside_it_is_the_one_that_a_conversion_makes(world: World, tmp_path: Path) -> None:
    done = world.send(world.connect(), tmp_path / "data.vmdk").plain()
    said = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "vmdk", world.disk, tmp_path / "data.vmdk"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip() == "Images are identical."
    assert grains.examine(tmp_path / "data.vmdk", size=40 * MIB).content == done["content_digest"]
    assert done["file"]["sha256"] != done["machine"]["sha256"]  # the tables are in front here, and behind there


FAULTS: dict[str, tuple[Callable[[World], object], str]] = {
    "cut off": (lambda w: setattr(w.proxy.faults, "cut_after", 4 * MIB), "upload was cut off"),
    "503": (lambda w: setattr(w.proxy.faults, "status", 503), "HTTP status 503"),
    "flipped byte": (lambda w: setattr(w.proxy.faults, "flip", 5 * MIB), "other bytes than were sent"),
    "not complete": (lambda w: w.proxy.faults.soap.update(HttpNfcLeaseComplete=Fault("InvalidState")), "complete the import"),
    "lease lost": (lambda w: w.proxy.faults.soap.update(HttpNfcLeaseGetManifest=Fault("InvalidState")), "tell what it received"),
    "not marked": (
        lambda w: w.proxy.faults.soap.update(ReconfigVM_Task=Fault("InvalidState")),
        "write hikkoshi.machine, hikkoshi.complete",
    ),
    "disk written to": (
        lambda w: setattr(w.proxy.faults, "at", (4 * MIB, lambda: os.utime(w.disk, (0, 0)))),
        "changed while it was read",
    ),
    "disk cut off": (
        lambda w: setattr(w.proxy.faults, "at", (MIB, lambda: os.truncate(w.disk, 13 * MIB))),
        "became shorter|changed while it was read",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_failure_neither_machine_nor_file_is_left_and_a_rerun_finishes(world: World, tmp_path: Path, fault: str) -> None:
    make, words = FAULTS[fault]
    v = world.connect()
    make(world)
    with pytest.raises(HikkoshiError, match=words):
        world.send(v, tmp_path / "data.vmdk")
    assert named(v) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]
    world.proxy.faults = type(world.proxy.faults)()
    world.send(v, tmp_path / "data.vmdk")
    assert named(v) == ["data"]


def test_where_the_file_cannot_take_its_name_the_machine_is_not_left_either(world: World, tmp_path: Path) -> None:
    v = world.connect()
    world.proxy.faults.at = (4 * MIB, (tmp_path / "data.vmdk").mkdir)
    with pytest.raises(StepFailed, match="Is a directory"):
        world.send(v, tmp_path / "data.vmdk")
    assert named(v) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.vmdk", "home"]


@pytest.mark.parametrize("moment", ["half way", "once all is sent"])
def test_an_import_whose_lease_dies_is_not_completed(world: World, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr(nfc, "KEEPALIVE", 0.01)
    v = world.connect()
    refusal, compare = Fault("Timedout"), nfc.check_manifest

    def die() -> None:
        world.proxy.faults.soap["HttpNfcLeaseProgress"] = refusal
        wait_for(lambda: refusal.times == 0, "the next sign of life")

    def die_then_compare(*told: Any) -> str:
        die()
        return compare(*told)

    if moment == "half way":
        world.proxy.faults.at = (4 * MIB, die)
    else:
        monkeypatch.setattr(nfc, "check_manifest", die_then_compare)
    with pytest.raises(VSphereError, match="import lease was lost"):
        world.send(v)
    assert named(v) == []


def test_a_full_disk_is_told_as_such_and_not_as_a_cut_upload(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    v = world.connect()
    try:
        with pytest.raises(StepFailed, match="disk became full"):
            world.send(v, folder / "data.vmdk")
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", folder], check=True)
    assert named(v) == []


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_in_the_middle_and_then_the_same_command_again(world: World, signum: signal.Signals, code: int) -> None:
    argv = [sys.executable, "-m", "hikkoshi.cli.main", "convert", str(world.disk), "-", "--import", "data"]
    env = {**os.environ, "HIKKOSHI_HOME": str(world.home.root)}
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        world.proxy.faults.at = (4 * MIB, lambda: run.send_signal(signum))
        assert run.stderr is not None
        said = run.stderr.read().decode()
    assert run.returncode == code, said
    v = world.connect()
    assert named(v) == ([] if signum == signal.SIGINT else ["data"])
    assert not any(vm.COMPLETE in m.marks for m in vm.every(v).values())
    subprocess.run(argv, env=env, check=True, capture_output=True)
    (machine,) = vm.every(v).values()
    assert vm.COMPLETE in machine.marks


def test_a_disk_is_not_imported_twice_under_one_name(world: World) -> None:
    v = world.connect()
    world.send(v)
    with pytest.raises(Refused, match="imported before"):
        world.send(v)
    assert named(v) == ["data"]


def test_two_imports_of_one_name_are_not_made_at_once(world: World) -> None:
    v = world.connect()
    said: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(Busy) as e:
            world.send(world.connect())
        said.append(str(e.value))

    world.proxy.faults.at = (4 * MIB, meanwhile)
    world.send(v)
    assert len(said) == 1
    assert named(v) == ["data"]


def test_another_folders_half_made_import_of_that_name_is_not_removed(world: World, tmp_path: Path) -> None:
    v = world.connect()
    other = Home(tmp_path / "other")
    shutil.copytree(world.home.root / "params", other.root / "params")
    said: list[str] = []

    def meanwhile() -> None:
        with RawDisk(world.disk) as source, pytest.raises(Refused, match=r"name data is free.*") as e:
            delivery.send(v2, other, source, "data")
        said.append(str(e.value))

    v2 = world.connect()
    world.proxy.faults.at = (4 * MIB, meanwhile)
    world.send(v)
    assert world.home.identity() in said[0]
    assert vm.COMPLETE in vm.marked(v, "import:data")[0].marks


@pytest.mark.parametrize(("name", "words"), [("x" * 81, "80"), ("a/b", "name"), ("", "name")])
def test_a_name_that_vsphere_does_not_take_is_refused_before_anything_is_sent(world: World, name: str, words: str) -> None:
    v = world.connect()
    with pytest.raises(Refused, match=words):
        world.send(v, name=name)
    assert (named(v), world.proxy.received) == ([], [])
