"""A guest's configuration and its disks, as its Dom-0 has them. Nothing is executed, and what is no file is not opened."""

from pathlib import Path

from hikkoshi.disk import xva
from hikkoshi.errors import BadInput, Problem
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0
from hikkoshi.xen.config import XenGuest, parse
from hikkoshi.xen.reach.host import Dom0Files
from hikkoshi.xen.reach.kinds import reached
from hikkoshi.xen.reach.mounted import MountedDom0

LONGEST = 1 << 18  # bytes: a configuration is a few hundred
_REMEDY = "correct `config` in the guest's parameters, or `root` or `ssh` of the Dom-0 in params/site.yml"


def read_config(home: Home, dom0: Dom0, path: Path) -> XenGuest:
    """The guest's configuration, `path` as it is called on the Dom-0: a text, or an export, which describes its guest.

    Parsed, never executed.
    """
    return read_from(reached(home, dom0), path)


def read_from(host: Dom0Files, path: Path) -> XenGuest:
    """The same of a Dom-0 that is looked at already."""
    where = host.shown(path)
    try:
        raw = host.read(path, LONGEST)
        if exported := xva.begins(raw) or path.name.lower().endswith(xva.EXPORTS):
            raw = host.read(path, xva.BEGINNING)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as e:
        raise BadInput(
            Problem(
                code="xen-configuration-missing",
                what="the guest's Xen configuration is not there",
                where=where,
                found="something else than a file" if isinstance(e, IsADirectoryError) else "no such file",
                expected="an xm or xl configuration, or an export (XVA)",
                remedy=_REMEDY,
            )
        ) from None
    except OSError as e:
        raise BadInput(
            Problem(
                code="xen-configuration-unreadable",
                what="the guest's Xen configuration cannot be read",
                where=where,
                found=e.strerror or str(e),
                remedy=_REMEDY,
            )
        ) from None
    if exported:
        text, _ = xva.described(raw[: xva.BEGINNING], where)
        found = parse(text, f"{where}, ova.xml")
        inside = {"target": str(Path("/", path)), "format": "xva"}
        return found.model_copy(update={"disks": tuple(d.model_copy(update=inside) for d in found.disks)})
    if len(raw) > LONGEST:
        raise BadInput(
            Problem(
                code="not-a-xen-configuration",
                what="this is no Xen configuration",
                where=where,
                found=f"more than {LONGEST:,} bytes",
                expected=f"a text of at most {LONGEST:,} bytes",
                remedy=_REMEDY,
            )
        )
    return parse(raw.decode("utf-8", errors="replace"), where)  # an old comment may be in another encoding


def disk_path(home: Home, dom0: Dom0, target: str) -> Path:
    """Where a disk's `target` is found from here. Whether it is a usable disk is for `hikkoshi.disk.source` to say.

    Of a Dom-0 over ssh nothing is: `hikkoshi.xen.wire` brings it.
    """
    assert dom0.kind != "ssh", "a disk of another machine"
    named(target)
    host = reached(home, dom0)
    if not isinstance(host, MountedDom0):
        return Path(target)
    here = host.inside(Path(target))
    if here.is_block_device():
        raise BadInput(
            Problem(
                code="device-of-this-machine",
                what="a device node in a mounted Dom-0 means a disk of this machine, not one of the Dom-0",
                where=str(here),
                found="a block device",
                expected="an image file below the Dom-0's root",
                remedy="run hikkoshi on the Dom-0 itself (root: /), or copy the volume into an image file, and name that in "
                "a copy of the configuration",
            )
        )
    return here


def named(target: str) -> str:
    """The `target` of a disk; `BadInput` where there is none."""
    if not target:
        raise BadInput(
            Problem(
                code="disk-without-target",
                what="the disk has no target",
                remedy="name the image file in the guest's Xen configuration",
            )
        )
    return target
