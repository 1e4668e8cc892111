"""Nothing that a survey knows of a guest is lost without a word: whatever changes in one of its fields, somebody sees it.

Each field of each model gets other values in turn. One of them has to change what 10 shows, what 20 and 30 decide or show, a
check, or what is refused. So a new field that nobody uses fails here by itself.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hikkoshi.approval import plan
from hikkoshi.disk import source
from hikkoshi.disk.origin import DiskContent, Origin, Part
from hikkoshi.disk.source import DiskFacts
from hikkoshi.errors import BadInput
from hikkoshi.guest import survey as surveys
from hikkoshi.guest.facts import GuestFacts, Interface, Kernel, Partition
from hikkoshi.guest.note import Note, note
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.steps import plan as planning
from hikkoshi.steps import prepare
from hikkoshi.steps.survey import nic_rows, rows

DATA = Path(__file__).parents[1] / "data" / "survey"
HOME = Home(Path(__file__).parents[2])
GUEST, SITE = HOME.guest("gateway"), HOME.site()
MODELS = (GuestFacts, Kernel, Partition, Interface, DiskFacts, DiskContent, Origin, Part, Note)
OF_READING = {"writes", "rules", "reading_seconds"}  # of a Survey: when it was read, by which rules; not what the guest is
OTHERS: dict[str, list[Any]] = {  # where a value of the same type alone says nothing
    "pinned": [{"eth1": "00:16:3e:05:00:00"}],
    "renamed": [{"eth0": "lan"}],
    "latin1": [("/etc/fstab",)],
    "over": [("eth0",)],
    "services": [("kudzu",)],
    "claims": [{"15ad:07c0": ("pvscsi",), "15ad:07b0": ("vmxnet",)}],
    "builtin": [("vmw_pvscsi", "mptsas", "mptspi")],
    "scsi_disk": ["", "sd_mod"],
    "default_kernel": [1],
    "version": ["2.6.18-398.el5xen", "2.6.39"],
    "parts": [(Part(number=0, path=Path("/b")),)],
    "getty": ["/sbin/getty"],
    "initrd_packer": ["xz"],
    "paused_seconds": [12.0],
}


def guests(disk: Path) -> dict[str, Survey]:
    """One survey of each kind of guest, so that each field has one where it means something."""
    disk.write_bytes(bytes(510) + b"\x55\xaa")
    el5 = Survey.model_validate_json((DATA / "gateway.json").read_bytes())
    xen, nic = el5.xen.model_copy(update={"vifs": el5.xen.vifs[:2]}), el5.guest.interfaces[0]
    kernel, texts = el5.guest.kernels[1], el5.guest.texts
    fstab = "".join(f"/dev/disk/by-{by} /{by} ext4 ro 1 1\n" for by in ("label/l", "uuid/3-4", "partlabel/x", "partuuid/1-2"))
    root = Partition(
        device="/dev/sda1", bytes=1, fstype="ext4", mountpoint="/", label="l", uuid="3-4", partuuid="1-2", partlabel="x"
    )
    facts: dict[str, dict[str, Any]] = {
        "of Enterprise Linux 5": {"interfaces": el5.guest.interfaces[:2]},
        "with dracut": {
            "systemd": True,
            "initrd_maker": "/usr/bin/dracut",
            "kernels": (kernel.model_copy(update={"initrd_packer": "gzip"}),),
            "interfaces": el5.guest.interfaces[:2],
        },
        "without an initrd": {"kernels": (kernel.model_copy(update={"initrd": ""}),), "initrd_maker": ""},
        "of Debian": {
            "systemd": True,
            "distribution": "debian",
            "release": "12",
            "partitions": (root,),
            "texts": {**texts, "/etc/fstab": fstab, "/etc/inittab": "si::sysinit:/etc/init.d/rcS\n"},
            "warnings": (note("file-not-read", file="/x", why="y"), Note(code="", words="the clock is odd")),
            "interfaces": (
                nic.model_copy(update={"name": "", "mac": "", "patterns": ("eth0",), "own_mac": "00:16:3e:0a:0b:0c"}),
            ),
        },
        "with names of its own for NICs": {
            "systemd": True,
            "distribution": "debian",
            "release": "12",
            "interfaces": tuple(
                i.model_copy(update={"name": f"lan{n}", "file": f"/a{n}"}) for n, i in enumerate(el5.guest.interfaces[:2])
            ),
        },
        "that starts by UEFI": {"boot_loader": "uefi", "efi_loaders": ("/boot/efi/EFI/centos/grubx64.efi",)},
        "without a boot loader": {"boot_loader": "none", "boot_config": ""},
        "with a VLAN of a bond": {
            "interfaces": (
                nic.model_copy(update={"name": "eth0", "mac": "", "part_of": "bond0"}),
                Interface(name="bond0.7", file="/a", kind="vlan", over=("bond0",), vlan=7),
            )
        },
    }
    about = {"xen": xen, "disk": source.facts(disk), "origin": Origin.whole(disk)}
    kinds = {
        name: el5.model_copy(update={**about, "guest": el5.guest.model_copy(update=changed)}) for name, changed in facts.items()
    }
    kinds["that ran while it was read"] = el5.model_copy(update={**about, "crash_consistent": True})
    parts = tuple(Part(number=n, path=disk, disk=d, vdev=f"xvd{'ab'[d]}{n}") for d, n in ((0, 1), (0, 2), (1, 3)))
    each = tuple(DiskContent(bytes=512, digest=str(n)) for n in (0, 1))
    several = el5.guest.model_copy(update={"further_disks": (("xvdb", "sdb"),)})
    kinds["of two disks"] = el5.model_copy(
        update={**about, "guest": several, "origin": Origin(parts=parts), "disks": each, "bytes": 1024}
    )
    return kinds


def seen(survey: Survey) -> list[object]:
    """All that a person sees of a survey, or has to approve; nothing where its fields contradict each other."""
    segments = {n.mac: n.segment for n in GUEST.nics}
    try:
        told = [rows(survey), nic_rows(survey, segments), *surveys.fitting(survey.disk), *plan.checks(GUEST, SITE, survey)]
        told.append(surveys.unchanged(survey))
        made = plan.make(HOME, GUEST, SITE, survey)
        return [*told, made.text(), planning.rows(made), prepare.rows(made.preparation)]
    except BadInput as e:
        return [str(e)]
    except (LookupError, ValueError):
        return []


def others(field: str, annotation: Any, value: Any) -> Iterator[Any]:
    """Other values for a field, by its type."""
    yield from OTHERS.get(field, ())
    if typing.get_origin(annotation) is typing.Literal:
        yield from (a for a in typing.get_args(annotation) if a != value)
    elif typing.get_origin(annotation) is types.UnionType and None in (*typing.get_args(annotation), None):
        yield from (v for v in (True, False, None) if v is not value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, 4711)
    elif isinstance(value, str):
        yield from ("4711", value + "x", "")
    elif isinstance(value, Path):
        yield Path("/4711")
    elif isinstance(value, tuple):
        yield from ((), value[1:]) if typing.get_args(annotation)[0] is not str else ((*value, "4711"), ())
    elif isinstance(value, Mapping):
        yield from ({}, {**value, "4711": "4711"})


def places(whole: Any, model: type[BaseModel]) -> Iterator[tuple[BaseModel, Any]]:
    """Each instance of a model inside, with what makes the whole anew around another one in its place."""
    if isinstance(whole, model):
        yield whole, lambda new: new
    if isinstance(whole, BaseModel):
        for name in type(whole).model_fields:
            for found, remake in places(getattr(whole, name), model):
                yield found, lambda new, name=name, remake=remake: whole.model_copy(update={name: remake(new)})
    if isinstance(whole, tuple):
        for n, one in enumerate(whole):
            for found, remake in places(one, model):
                yield found, lambda new, n=n, remake=remake: (*whole[:n], remake(new), *whole[n + 1 :])


FIELDS = [
    (model, field)
    for model in (Survey, *MODELS)
    for field, about in model.model_fields.items()
    if not isinstance(about.annotation, type(BaseModel)) and field not in OF_READING  # a model of which each field has its turn
]


def unseen(kinds: Mapping[str, Survey]) -> Iterator[str]:
    """`Interface.vlan`: each field whose values nobody sees."""
    before = {name: seen(survey) for name, survey in kinds.items()}
    for model, field in FIELDS:
        tried = (
            (name, remake(found.model_copy(update={field: value})))
            for name, survey in kinds.items()
            for found, remake in places(survey, model)
            for value in others(field, model.model_fields[field].annotation, getattr(found, field))
        )
        if all(seen(other) in ([], before[name]) for name, other in tried):
            yield f"{model.__name__}.{field}"


def test_whoever_reads_the_tables_sees_each_field_of_a_survey(tmp_path: Path) -> None:
    assert list(unseen(guests(tmp_path / "disk.img"))) == []
