"""A guest of three disks, in qcow2 and VHD, and as an export of XenServer: moved as from its raw disks, from 10 to 40."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from exports import ova, write
from hikkoshi.approval import plan
from hikkoshi.check import Check
from hikkoshi.disk import conversion, digest, stream
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.extents import RawDisk
from hikkoshi.errors import BadInput
from hikkoshi.guest import descent, prepared, survey, traces
from hikkoshi.guest.survey import Survey
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest, NicMap
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.xen import autostart, dom0, original
from hikkoshi_lab import image
from hikkoshi_lab.variants import VARIANTS

pytestmark = pytest.mark.needs("qemu-img", "qemu-nbd", "mke2fs", "debugfs", "dpkg-deb")
PROJECT = Path(__file__).parents[2]
GUEST = VARIANTS["el5-disks"].image
UUID = "3b1d8a52-94c7-7a0e-2f0b-6e1d5c9a7b10"


@dataclass(frozen=True)
class World:
    """The guest on two Dom-0s that are folders: `xen`, with its files, and `exports`."""

    home: Home
    site: Site
    raw: tuple[str, ...]  # content digests of its disks

    def where(self, dom0: str) -> tuple[Home, Site, Guest]:
        config = {"xen": f"/etc/xen/{GUEST.name}", "exports": f"/{GUEST.name}.xva"}[dom0]
        nics = tuple(NicMap(mac=nic.mac, segment="servers") for nic in GUEST.nics)
        return self.home, self.site, Guest(name=GUEST.name, dom0=dom0, config=Path(config), nics=nics)

    @property
    def folder(self) -> GuestFolder:
        return self.home.folder(GUEST.name)

    @property
    def export(self) -> Path:
        return self.home.root / "exports" / f"{GUEST.name}.xva"


def entries(*disks: tuple[str, str, str]) -> str:
    return "disk = [" + ", ".join(f"'{form}:/images/{name},{vdev},w'" for form, name, vdev in disks) + "]\n"


def configuration(disks: str) -> str:
    own = image.xm_config(GUEST).splitlines(keepends=True)
    return "".join(disks if line.startswith("disk =") else line for line in own)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = Home(tmp_path_factory.mktemp("forms") / "home")
    shutil.copytree(PROJECT / "params", home.root / "params")
    images, configs, exports = home.root / "dom0/images", home.root / "dom0/etc/xen", home.root / "exports"
    for folder in (images, configs, exports):
        folder.mkdir(parents=True)
    made = image.disks(GUEST)
    for vdev, form, options in (("xvda", "qcow2", ()), ("xvdb", "vpc", ("-o", "force_size=on"))):
        target = images / f"{vdev}.{form}"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, *options, made[vdev], target], check=True)
    subprocess.run(["cp", "--sparse=always", made["xvdc"], images / "xvdc.img"], check=True)
    config = entries(("tap:qcow2", "xvda.qcow2", "xvda"), ("tap:vhd", "xvdb.vpc", "xvdb"), ("tap:aio", "xvdc.img", "xvdc"))
    (configs / GUEST.name).write_text(configuration(config))
    references = {f"Ref:{n}": made[vdev] for n, vdev in enumerate(("xvda", "xvdb", "xvdc"), 4)}
    text = ova(
        {reference: disk.stat().st_size for reference, disk in references.items()},
        more=_vifs(),
        name_label=GUEST.name,
        uuid=UUID,
        memory_static_max=str(GUEST.memory_mb << 20),
        PV_bootloader="pygrub",
    )
    text = text.replace("<name>bootable</name><value><boolean>1", "<name>bootable</name><value><boolean>0")
    write(exports / f"{GUEST.name}.xva", text, references)
    site = home.site().model_copy(update={"dom0s": {"xen": Dom0(root=Path("dom0")), "exports": Dom0(root=Path("exports"))}})
    return World(home, site, tuple(digest.content(made[vdev]) for vdev in ("xvda", "xvdb", "xvdc")))


def _vifs() -> str:
    def text(name: str, value: str) -> str:
        return f"<member><name>{name}</name><value>{value}</value></member>"

    def vif(n: int, mac: str) -> str:
        fields = text("VM", "Ref:0") + text("device", str(n)) + text("MAC", mac)
        about = text("class", "VIF") + text("id", f"Ref:{50 + n}")
        inside = f"<member><name>snapshot</name><value><struct>{fields}</struct></value></member>"
        return f"<value><struct>{about}{inside}</struct></value>"

    return "".join(vif(n, nic.mac) for n, nic in enumerate(GUEST.nics))


@dataclass(frozen=True)
class Planned:
    """What is known of the guest from one of its Dom-0s."""

    where: tuple[Home, Site, Guest]
    found: Survey
    plan: plan.Plan

    @property
    def folder(self) -> GuestFolder:
        return self.where[0].folder(GUEST.name)

    @property
    def signs(self) -> list[Check]:
        """What shows whether the source still is what was read: to 30, to 40, and to 70."""
        source = survey.origin_of(*self.where)
        chain = descent.Descent(self.folder, self.plan, source)
        return [survey.unchanged(self.found), prepared.complete(self.folder, self.plan, source), *chain.checks()]


def planned(world: World, dom0: str) -> Planned:
    """Surveyed and planned. The second time, the survey knows the files of disks with these digests."""
    where = home, site, guest = world.where(dom0)
    assert all(c for c in survey.limits(*where) if c.code != "room-for-source")
    found = survey.start(*where)
    made = plan.make(home, guest, site, found)
    made.save(world.folder)
    return Planned(where, found, made)


@pytest.fixture(scope="module")
def exported(world: World) -> Planned:
    """From its export as far as 40."""
    made = planned(world, "exports")
    names = (made.found.guest.disk_names, *made.found.guest.further_disks)
    prepared.start(made.plan.source, world.folder, made.plan.preparation, made.plan.source_digest, names=names)
    conversion.start(world.folder, disks=3)
    return made


def same_disks(made: Planned, world: World) -> None:
    """The disks that were written out, and VMDKs of them, are those of the raw ones."""
    assert [d.digest for d in made.found.disks] == list(world.raw)
    assert made.plan.source_digest == digest.together(world.raw)
    assert [p.fstype for p in made.found.guest.partitions if p.mountpoint] == ["ext3", "ext3", "swap", "ext3"]
    assert [n.mac for n in made.plan.vm.nics] == [nic.mac for nic in GUEST.nics]
    for part, raw in zip(made.found.origin.parts, image.disks(GUEST).values(), strict=True):
        vmdks = [world.home.root / f"{name}.vmdk" for name in ("one", "two")]
        one, two = (stream.write(*pair, "same.vmdk") for pair in zip((RawDisk(part.path), RawDisk(raw)), vmdks, strict=True))
        assert one.sha256 == two.sha256


def test_an_export_is_surveyed_planned_prepared_and_converted_as_its_raw_disks_are(world: World, exported: Planned) -> None:
    same_disks(exported, world)
    assert [p.place for p in exported.found.origin.parts] == [str(world.export)] * 3
    assert exported.found.disk.path == str(exported.found.origin)
    assert [n.code for n in survey.notes(exported.found.xen)] == ["source-exported"]
    assert [str(c.problem()) for c in (*exported.signs, *conversion.proofs(world.folder, 3)) if not c] == []
    assert Conversion.load(world.folder).each[2].copy_digest == world.raw[2]  # nothing is changed on it
    assert f"xe vm-start uuid={UUID}" in original.check(*exported.where).found
    assert "auto_poweron" in autostart.check(*exported.where).found
    assert dom0.source_off(*exported.where).unseen == "not seen"


def test_an_export_that_is_another_one_now_is_told_before_30_40_and_70(world: World, exported: Planned) -> None:
    before = world.export.stat()
    os.utime(world.export, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    told = [c.found for c in exported.signs if not c]
    os.utime(world.export, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(told) == 3
    assert all(f"{world.export}: time of last change" in found for found in told)
    assert all(exported.signs)


def test_disks_in_qcow2_and_vhd_are_surveyed_and_planned_as_raw_ones_and_asked_for_changes(world: World) -> None:
    made = planned(world, "xen")
    same_disks(made, world)
    images = world.home.root / "dom0/images"
    assert [p.place for p in made.found.origin.parts] == [str(images / "xvda.qcow2"), str(images / "xvdb.vpc"), ""]
    assert made.found.origin.parts[2].path == images / "xvdc.img"
    assert survey.unchanged(made.found)
    with (images / "xvdb.vpc").open("r+b") as f:
        f.seek(-1, os.SEEK_END)
        f.write(b"x")
    assert f"{traces.WRITTEN}: {images}/xvdb.vpc: time of last change" in survey.unchanged(made.found).found
    away = (images / "xvda.qcow2").rename(images / "away")
    assert f"{traces.SILENT}: the source disk cannot be read" in survey.unchanged(made.found).found
    away.rename(images / "xvda.qcow2")


@pytest.mark.parametrize(
    ("disks", "told"),
    [
        (entries(("tap:qcow2", "xvdc.img", "xvda")), r"not of the format that was given.*xvdc.img"),
        (entries(("tap:aio", "xvda.qcow2", "xvda")), r"header of another format.*format=qcow2"),
        (entries(("tap:vhd", "xvda.qcow2", "xvda")), r"not of the format that was given"),
        (entries(("qcow", "xvda.qcow2", "xvda")), r"format of a disk is not read.*qemu-img convert -f qcow -O raw"),
        (entries(("tap:qcow2", "upper.qcow2", "xvda")), r"names another file that would be read too.*ask the guest's owner"),
        (
            entries(("tap:qcow2", "xvda.qcow2", "xvda"), ("tap:qcow2", "xvda.qcow2", "xvdb")),
            r"two disks of the guest are the same file",
        ),
    ],
)
def test_what_the_configuration_says_has_to_be_so(world: World, disks: str, told: str) -> None:
    images = world.home.root / "dom0/images"
    if "upper" in disks and not (images / "upper.qcow2").exists():
        below = ["-b", images / "xvda.qcow2", "-F", "qcow2", images / "upper.qcow2"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below], check=True)
    (world.home.root / "dom0/etc/xen/other").write_text(configuration(disks).replace(f'"{GUEST.name}"', '"other"'))
    home, site, guest = world.where("xen")
    other = guest.model_copy(update={"name": "other", "config": Path("/etc/xen/other")})
    with pytest.raises(BadInput, match=f"(?s){told}"):
        survey.start(home, site, other)
    assert not Survey.find(home.folder("other"))


def test_a_damaged_block_of_an_export_is_told_by_10_with_its_name(world: World, tmp_path: Path) -> None:
    home, site, guest = world.where("exports")
    (tmp_path / "web.xva").write_bytes(world.export.read_bytes())
    with (tmp_path / "web.xva").open("r+b") as f:
        f.seek(3 << 20)
        f.write(b"damage")
    site = site.model_copy(update={"dom0s": {"exports": Dom0(root=tmp_path)}})
    other = guest.model_copy(update={"name": "web", "config": Path("/web.xva")})
    with pytest.raises(BadInput, match=r"(?s)the export is damaged.*web.xva, xvd., Ref:\d/\d{8}\n.*SHA-1"):
        survey.start(home, site, other)
    assert not list(home.folder("web").sources.iterdir())
