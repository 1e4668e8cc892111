"""The files of a Dom-0, below its root: this very machine's (`root: /`), or a disk mounted or copied somewhere here.

As for a process in a chroot, no link leads out of the root. Nothing is executed, and what is no file is not opened.
"""

import stat
from pathlib import Path

from hikkoshi.errors import BadInput, Problem
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0
from hikkoshi.xen.config import XenGuest, parse

LONGEST = 1 << 18  # bytes: a configuration is a few hundred
_LINKS = 40  # symbolic links followed before we call it a circle, as Linux does


def read_config(home: Home, dom0: Dom0, path: Path) -> XenGuest:
    """The guest's configuration, `path` as it is called on the Dom-0. Parsed, never executed."""
    here = inside(home, dom0, path)
    remedy = "correct `config` in the guest's parameters, or `root` of the Dom-0 in params/site.yml"
    try:
        if not here.is_file():
            raise BadInput(
                Problem(
                    code="xen-configuration-missing",
                    what="the guest's Xen configuration is not there",
                    where=str(here),
                    found="something else than a file" if here.exists() else "no such file",
                    expected="an xm or xl configuration",
                    remedy=remedy,
                )
            )
        if here.stat().st_size > LONGEST:
            raise BadInput(
                Problem(
                    code="not-a-xen-configuration",
                    what="this is no Xen configuration",
                    where=str(here),
                    found=f"{here.stat().st_size:,} bytes",
                    expected=f"a text of at most {LONGEST:,} bytes",
                    remedy=remedy,
                )
            )
        raw = here.read_bytes()
    except OSError as e:
        raise BadInput(
            Problem(
                code="xen-configuration-unreadable",
                what="the guest's Xen configuration cannot be read",
                where=str(here),
                found=e.strerror or str(e),
                remedy=remedy,
            )
        ) from None
    return parse(raw.decode("utf-8", errors="replace"), str(here))  # an old comment may be in another encoding


def disk_path(home: Home, dom0: Dom0, target: str) -> Path:
    """Where a disk's `target` is found from here. Whether it is a usable disk is for `hikkoshi.disk.source` to say."""
    if not target:
        raise BadInput(
            Problem(
                code="disk-without-target",
                what="the disk has no target",
                remedy="name the image file in the guest's Xen configuration",
            )
        )
    here = inside(home, dom0, Path(target))
    if not is_local(home, dom0) and here.is_block_device():
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


def is_local(home: Home, dom0: Dom0) -> bool:
    """Whether the Dom-0 is this very machine, and not a folder."""
    return home.path(dom0.root) == Path("/")


def inside(home: Home, dom0: Dom0, path: Path) -> Path:
    """`path` of the Dom-0 as a path here. As for a process in a chroot, no link and no `..` leads out of the root."""
    root = home.path(dom0.root)
    if root == Path("/"):
        return path
    root = root.resolve()
    if not root.is_dir():
        raise BadInput(
            Problem(
                code="dom0-folder-missing",
                what="the Dom-0's folder is not there",
                where=str(root),
                found="something else than a folder" if root.exists() else "nothing",
                expected="the Dom-0's disk, mounted here",
                remedy="mount it, or correct `root` of the Dom-0 in params/site.yml (for the lab: hikkoshi lab up)",
            )
        )
    current, links = root, 0
    waiting = list(reversed(path.parts))
    while waiting:
        part = waiting.pop()
        if part == "/":
            current = root
        elif part == "..":
            current = current.parent if current != root else root
        elif _is_link(current / part):
            links += 1
            if links > _LINKS:
                raise BadInput(
                    Problem(
                        code="dom0-path-circle",
                        what="a path on the Dom-0 goes in a circle",
                        where=str(path),
                        found=f"{links} links",
                        remedy="correct the link",
                    )
                )
            waiting += reversed((current / part).readlink().parts)
        else:
            current /= part
    return current


def _is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False  # not there, or not to be looked at: whoever opens it will say so
