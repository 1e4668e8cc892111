"""A guest of all kinds of disks, moved as one: partitions that Xen gave singly, a bare disk, LVM and md across two each.

Root, swap and data on whole disks of their own are the lab's idp, in every other test.
"""

import random
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import vcenter
from hikkoshi.approval import plan
from hikkoshi.approval.plan import Plan
from hikkoshi.disk import conversion, digest, stream
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.guest import descent, prepared, survey
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.rehearsal import rehearsal
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.run import reach
from hikkoshi.vsphere import deployment
from hikkoshi.vsphere.order import Order
from hikkoshi_lab import image

pytestmark = pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim", "mke2fs", "debugfs", "dpkg-deb")
MIB = 1 << 20
FURTHER = vcenter.PROJECT / "tests/data/disks/several.tar.xz"  # as LVM, md and mke2fs made them; beside it, how


@dataclass(frozen=True)
class Several:
    """The guest with what became of it, up to the VMDKs."""

    home: Home
    folder: GuestFolder
    survey: Survey
    plan: Plan
    hashes: tuple[str, ...]  # content digests of the sources' parts before anything was done

    @property
    def job(self) -> rehearsal.Job:
        return rehearsal.Job(self.folder, self.folder.vmdk, self.plan, Conversion.find(self.folder))


def served(root: Path, table: Path) -> None:
    """Have a guest's root file system mount the second disk at /srv."""
    table.write_bytes(subprocess.run(["debugfs", "-R", "cat /etc/fstab", root], capture_output=True, check=True).stdout)
    with table.open("a") as f:
        f.write("/dev/xvdb /srv ext3 defaults 1 2\n")
    table.chmod(0o644)
    for request in ("rm /etc/fstab", f"write {table} /etc/fstab"):
        subprocess.run(["debugfs", "-w", "-R", request, root], capture_output=True, check=True)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Several:
    home = Home(tmp_path_factory.mktemp("several") / "home")
    shutil.copytree(vcenter.PROJECT / "params", home.root / "params")
    guest, site = home.guest("idp"), home.site()
    dom0 = home.root / "outputs/lab/dom0"
    disks, configuration = dom0 / "var/lib/xen/images", dom0 / "etc/xen/idp"
    disks.mkdir(parents=True)
    configuration.parent.mkdir(parents=True)
    recipe = replace(image.IDP, disk_bytes=1200 * MIB, layout="partitions")
    paths = [disks / f"idp-{name}.img" for name in ("root", "swap", "srv", "old1", "old2", "mirror1", "mirror2")]
    for path, made in zip(paths, image.disks(recipe).values(), strict=False):
        subprocess.run(["cp", "--sparse=always", made, path], check=True)
        path.chmod(0o600)
    with tarfile.open(FURTHER) as further:
        further.extractall(disks, filter="data")
    served(paths[0], tmp_path_factory.mktemp("table") / "fstab")
    names = ("xvda1", "xvda2", *(f"xvd{letter}" for letter in "bcdef"))
    entries = [f"tap:aio:/var/lib/xen/images/{p.name},{name},w" for name, p in zip(names, paths, strict=True)]
    own = image.xm_config(recipe).split("disk = ")
    configuration.write_text(own[0] + f"disk = {entries}\n" + own[1].split("\n", 1)[1])
    hashes = tuple(digest.content(path) for path in paths)
    found = survey.start(home, site, guest)
    planned = plan.make(home, guest, site, found)
    folder = home.folder("idp")
    planned.save(folder)
    called = (found.guest.disk_names, *found.guest.further_disks)
    prepared.start(planned.source, folder, planned.preparation, planned.source_digest, names=called)
    conversion.start(folder, disks=6)
    return Several(home, folder, found, planned, hashes)


def test_every_disk_is_told_with_the_volumes_on_it(several: Several) -> None:
    found = several.survey
    each = [d.digest for d in found.disks]
    assert each[1:] == list(several.hashes[2:])
    assert found.digest == digest.together(each)
    assert {p.device: (p.fstype, p.mountpoint) for p in found.guest.partitions} == {
        "/dev/sda1": ("ext3", "/"),
        "/dev/sda2": ("swap", "swap"),
        "/dev/sdb": ("ext3", "/srv"),
        "/dev/sdc": ("LVM2_member", ""),
        "/dev/sdd": ("LVM2_member", ""),
        "/dev/sde": ("linux_raid_member", ""),
        "/dev/sdf": ("linux_raid_member", ""),
        "/dev/md/mirror": ("ext3", ""),
        "/dev/vault/old": ("ext3", ""),
    }
    afterwards = [row["afterwards"] for row in plan.disk_table(several.plan)]
    assert list(dict.fromkeys(afterwards)) == [f"/dev/sd{letter}" for letter in "abcdef"]
    assert several.plan.vm.disks[1:] == tuple(size * MIB for size in (64, 48, 48, 32, 32))


def test_each_disk_is_found_whatever_the_kernel_calls_it(several: Several) -> None:
    (table,) = [e.after or "" for e in several.plan.preparation.edits if e.path == "/etc/fstab"]
    uuids = {p.device: p.uuid for p in several.survey.guest.partitions}
    assert [line.split()[:2] for line in table.splitlines() if line.startswith("UUID=")] == [
        [f"UUID={uuids['/dev/sda1']}", "/"],
        [f"UUID={uuids['/dev/sda2']}", "swap"],
        [f"UUID={uuids['/dev/sdb']}", "/srv"],
    ]
    (menu,) = [e.after or "" for e in several.plan.preparation.edits if e.path == "/boot/extlinux/extlinux.conf"]
    assert f"root=UUID={uuids['/dev/sda1']} " in menu
    assert several.plan.preparation.leftovers == ()


def test_the_copies_are_of_the_sources_and_the_vmdks_of_the_copies(several: Several) -> None:
    folder = several.folder
    assert prepared.complete(folder, several.plan, several.plan.source)
    assert [str(c.problem()) for c in conversion.proofs(folder, 6) if not c] == []
    assert descent.chain(folder, several.plan)
    assert prepared.same(Conversion.load(folder), Prepared.load(folder))
    assert digest.content(folder.copies(6)[3]) == several.hashes[4]  # the volume's file system is on the disk before it
    volumes = {(p.device, p.fstype, p.uuid) for p in several.survey.guest.partitions}
    assert {(p.device, p.fstype, p.uuid) for p in Prepared.load(folder).facts.partitions} == volumes
    missing = reach.gap(several.folder)
    assert missing is not None
    assert missing.step == "50-rehearse"
    assert tuple(digest.content(p.path) for p in several.plan.source.parts) == several.hashes


def test_what_was_converted_of_one_disk_is_not_done_again(several: Several) -> None:
    before, vmdks = Conversion.load(several.folder), several.folder.vmdks(6)
    times = [vmdk.stat().st_mtime_ns for vmdk in vmdks]
    vmdks[2].unlink()
    assert not conversion.complete(several.folder, 6)
    again = conversion.start(several.folder, disks=6)
    assert [v.stat().st_mtime_ns == t for v, t in zip(vmdks, times, strict=True)] == [True, True, False, True, True, True]
    assert (again.vmdk_sha256, again.copy_identity) == (before.vmdk_sha256, before.copy_identity)
    lines = subprocess.run(["sha256sum", *(v.name for v in vmdks)], cwd=vmdks[0].parent, capture_output=True, check=True).stdout
    told = subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout
    assert told.decode().split()[0] == again.vmdk_sha256
    assert conversion.complete(several.folder, 6)


def test_all_disks_are_rehearsed_together_and_the_guest_logs_in(several: Several) -> None:
    made = rehearsal.start(several.job, accelerator="tcg")
    assert [str(c.problem()) for c in rehearsal.checks(made, several.plan.machine) if not c] == []
    assert made.after.ending == Ending.LOGIN
    assert re.fullmatch(r"/dev/sd[a-f]1", made.after.root)  # this kernel looks at all disks at once
    assert {m.point: m.device for m in made.mounts} == {"/": "/dev/sda1", "swap": "/dev/sda2", "/srv": "/dev/sdb"}
    assert {m.point for m in made.after.mounts} >= {"/", "swap", "/srv"}
    assert rehearsal.complete(several.folder, Conversion.load(several.folder).vmdk_sha256, several.plan.hash)


def test_the_machine_in_vsphere_has_every_disk_in_its_place(several: Several) -> None:
    with vcenter.start(several.home, several.folder.vmdk) as world, world.connect() as v:
        order = Order.of(vcenter.BY, "idp", several.plan, Conversion.load(several.folder), several.folder)
        made = deployment.start(v, world.site.vsphere, order, several.folder)
        assert [d.vmdk for d in made.disks] == ["idp.vmdk", *(f"idp-{n}.vmdk" for n in range(2, 7))]
        assert made.vmdk_sha256 == Conversion.load(several.folder).vmdk_sha256
        red = [c.problem() for c in deployment.read_back(v, world.site.vsphere, order) if not c]
        assert [str(problem) for problem in red] == []
        assert deployment.recorded(v, order, several.folder)


def test_seventeen_disks_are_on_two_controllers_and_all_that_was_sent_is_told(home: Home) -> None:
    folder, count = home.folder("gateway"), 17
    folder.disks.mkdir(parents=True)
    for n, copy in enumerate(folder.copies(count)):
        copy.write_bytes(random.Random(n).randbytes(MIB // 4).ljust((n + 1) * MIB, b"\0"))
    seen: list[float] = []
    made = conversion.start(folder, lambda done, total, _: seen.append(done / total), disks=count)
    assert (seen, seen[-1]) == (sorted(seen), 1)
    assert all(conversion.proofs(folder, count))
    with vcenter.start(home, folder.vmdk) as world, world.connect() as v:
        assert world.order.spec is not None
        sizes = tuple((n + 1) * MIB for n in range(count))
        spec = world.order.spec.model_copy(update={"disk_bytes": sum(sizes), "capacities": sizes})
        files = tuple(zip(folder.vmdks(count), [disk.vmdk_sha256 for disk in made.disks], strict=True))
        order = replace(world.order, spec=spec, sha256=made.vmdk_sha256, each=files)
        told = deployment.start(v, world.site.vsphere, order, folder)
        assert [(d.vmdk, d.sha256) for d in told.disks] == [(path.name, sha256) for path, sha256 in files]
        assert (told.vmdk_bytes, told.vmdk_sha1) == (made.vmdk_bytes, made.vmdk_sha1)
        back = {c.code: c.found for c in deployment.read_back(v, world.site.vsphere, order)}
        assert back["machine-disk-places"].split(", ")[6:9] == ["0:6", "0:8", "0:9"]
        assert back["machine-disk-places"].endswith("0:15, 1:0, 1:1")
        assert all(deployment.read_back(v, world.site.vsphere, order))


def test_of_disks_that_a_stopped_run_has_converted_only_these_are_said_to_be_of_their_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = GuestFolder(tmp_path / "guest")
    folder.disks.mkdir(parents=True)
    copies = folder.copies(3)
    for n, copy in enumerate(copies):
        copy.write_bytes(random.Random(n).randbytes(MIB))
    write = stream.write

    def stopped(disk: RawDisk, file: Path, *rest: Any, **more: Any) -> stream.Stream:
        if file.name.startswith(folder.vmdks(3)[1].name):
            raise KeyboardInterrupt
        return write(disk, file, *rest, **more)

    monkeypatch.setattr(stream, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        conversion.start(folder, disks=3)
    left = Conversion.load(folder)
    assert left.copy_identity == Identity.of(Origin.several(copies[:1])) != Identity.of(Origin.several(copies))
    assert not conversion.complete(folder, 3)
    monkeypatch.undo()
    assert conversion.start(folder, disks=3).copy_identity == Identity.of(Origin.several(copies))
