"""The kernels that a guest's boot menu offers, each with its initrd and with what its modules drive."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hikkoshi.errors import BadInput
from hikkoshi.guest import device as device_names
from hikkoshi.guest import hardware, initrd
from hikkoshi.guest.facts import Kernel, Partition
from hikkoshi.guest.files import fstab, grub
from hikkoshi.guest.note import Note, note


@dataclass(frozen=True)
class Fetched:
    """What the worker brought besides texts."""

    present: frozenset[str]  # paths in the guest
    files: dict[str, Path]  # {path in the guest: copy of it}
    links: dict[str, str]  # {a link in the guest: the file that it leads to}


def unlisted(texts: dict[str, str], fetched: Fetched) -> list[grub.Entry]:
    """The kernels in /boot, newest last, as if a menu named them: the Dom-0 held the guest's kernel."""
    root = next((spec for spec, point in fstab.mounts(texts.get("/etc/fstab", "")) if point == "/"), "")
    images = sorted(path for path in fetched.present if path.startswith("/boot/vmlinuz-"))
    entries = []
    for n, image in enumerate(images):
        version = image.removeprefix("/boot/vmlinuz-")
        kinds = ("initrd-{}.img", "initramfs-{}.img", "initrd.img-{}", "initrd-{}")
        names = ("/boot/" + kind.format(version) for kind in kinds)
        initrd_path = next((name for name in names if name in fetched.files), "")
        entries.append(grub.Entry(n, version, "", image, initrd_path, (f"root={root}", "ro"), False))
    return entries


def found(
    entries: Iterable[grub.Entry],
    texts: dict[str, str],
    partitions: tuple[Partition, ...],
    fetched: Fetched,
    warnings: list[Note],
) -> tuple[Kernel, ...]:
    """The entries whose kernel is on the disk; what is missing of the others, or cannot be read, is told as warnings."""
    kernels = []
    # entries share their kernel's files
    modules_in, packer_of = functools.cache(initrd.modules), functools.cache(initrd.packer)
    aliases_in = functools.cache(_latin1)
    for entry in entries:
        places = (_in_guest(path, entry.root, partitions) for path in (entry.kernel, entry.initrd))
        image, image_initrd = (fetched.links.get(place, place) for place in places)
        if image not in fetched.present or "/vmlinuz-" not in image:
            if entry.kernel:
                warnings.append(note("menu-kernel-missing", entry=f"{entry.index} ({entry.title})", file=image))
            continue
        version = image.rsplit("/", 1)[-1].removeprefix("vmlinuz-")
        config = texts.get(f"/boot/config-{version}", "")
        xen_only = (
            entry.hypervisor
            or bool(re.search(r"^CONFIG_X86(_64)?_XEN=y$", config, re.M))
            or (not config and bool(re.search(r"xen[U0]?$|-xen\w*$", version)))
        )
        modules: tuple[str, ...] = ()
        packer = ""
        if image_initrd in fetched.files:
            try:
                modules = modules_in(fetched.files[image_initrd])
                packer = packer_of(fetched.files[image_initrd])
            except BadInput as e:
                warnings.append(note("initrd-not-read", file=image_initrd, why=e.problems[0].found))
        elif image_initrd:
            warnings.append(note("menu-initrd-missing", entry=f"{entry.index} ({entry.title})", file=image_initrd))
        alias = fetched.files.get(f"/lib/modules/{version}/modules.alias")
        aliases = aliases_in(alias) if alias else ""
        claims = hardware.claims(aliases)
        builtin = hardware.builtin(config)
        kernels.append(
            Kernel(
                index=entry.index,
                title=entry.title,
                arguments=entry.arguments,
                version=version,
                image=image,
                initrd=image_initrd if image_initrd in fetched.files else "",
                xen_only=xen_only,
                initrd_modules=modules,
                initrd_packer=packer,
                builtin=builtin,
                scsi_disk=hardware.scsi_disk(aliases),
                claims=claims,
            )
        )
    return tuple(kernels)


def _latin1(path: Path) -> str:
    return path.read_text("latin-1")


def _in_guest(path: str, root: str, partitions: tuple[Partition, ...]) -> str:
    """A path as GRUB writes it, as the guest sees it: `/vmlinuz` on (hd0,0) is `/boot/vmlinuz`.

    GRUB 2 names no partition: it has found the one that holds /boot. Of btrfs it names the subvolume, as a folder.
    """
    if not path:
        return ""
    own = re.match(r"(\([^()]*\))(.*)", path)
    root, path = (own[1], own[2]) if own else (root, path)
    for p in partitions:
        if p.subvolume and path.startswith(f"/{p.subvolume}/"):
            return p.mountpoint.rstrip("/") + path.removeprefix(f"/{p.subvolume}")
    if root in ("", "($root)") and not path.startswith("/boot/") and any(p.mountpoint == "/boot" for p in partitions):
        return "/boot" + path
    match = re.match(r"\(hd(\d),(?:(\d+)|(?:msdos|gpt)(\d+))\)", root)
    device = f"{device_names.new(int(match[1]))}{int(match[2]) + 1 if match[2] else match[3]}" if match else ""
    point = next((p.mountpoint for p in partitions if p.device == device), "")
    return (point.rstrip("/") if point.startswith("/") else "") + path
