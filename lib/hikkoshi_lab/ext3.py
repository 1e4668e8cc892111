"""An ext3 file system made from a tree of files in memory: no root, no mount, and the same bits every time."""

import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed


@dataclass(frozen=True)
class Node:
    """One file, link, folder or device. All belong to root.

    `mode` as in st_mode, with the type; `data` is the content, or where a symbolic link points; `device` is
    (major, minor).
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


Tree = Mapping[str, Node]
"""Nodes by path, without a leading slash; folders that only hold something need no node of their own."""


def file(data: bytes | str, mode: int = 0o644) -> Node:
    """A plain file."""
    return Node(stat.S_IFREG | mode, data.encode() if isinstance(data, str) else data)


def link(target: str) -> Node:
    """A symbolic link."""
    return Node(stat.S_IFLNK | 0o777, target.encode())


def folder(mode: int = 0o755) -> Node:
    """A folder."""
    return Node(stat.S_IFDIR | mode)


def make(tree: Tree, image: Path, size: int, *, label: str, uuid: str, epoch: int) -> None:
    """Write a file system of `size` bytes, as CentOS 5 made them, into the new sparse file `image`.

    All times in it are `epoch` (seconds). `uuid` also seeds the hash of its folders. Raises `StepFailed` where the
    tools complain or e2fsck finds anything.
    """
    with image.open("wb") as f:
        f.truncate(size)
    # the machine's own mke2fs.conf must have no say
    env = {"MKE2FS_CONFIG": os.devnull, "E2FSPROGS_FAKE_TIME": str(epoch), "SOURCE_DATE_EPOCH": str(epoch)}
    features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file"
    options = f"hash_seed={uuid},root_owner=0:0,resize={size // 4096 * 4}"
    shape = ["-b", "4096", "-I", "128", "-i", "16384", "-m", "5", "-J", "size=16"]
    named = ["-L", label, "-U", uuid, "-o", "Linux"]
    tool.run(["mke2fs", "-q", "-F", *shape, "-O", features, "-E", options, *named, image], env=env)
    with tempfile.TemporaryDirectory(dir=image.parent, prefix="files.") as blobs:
        script = _script(tree, Path(blobs), epoch)
        result = tool.run(["debugfs", "-w", "-f", "-", str(image)], stdin=script, env=env)
    # debugfs ends with 0 whatever happens; its first line of complaint is its version
    complaints = [line for line in result.stderr.splitlines() if line and not line.startswith("debugfs 1.")]
    checked = tool.run(["e2fsck", "-f", "-n", str(image)], env=env, ok=(0, 1, 2, 4, 8))
    if checked.returncode:
        complaints += [checked.stdout]
    if complaints:
        raise StepFailed(
            Problem(
                code="lab-file-system-not-made",
                what="a file system for the lab could not be made",
                where=label,
                found="\n".join(complaints[:20]),
                expected="no word from debugfs and e2fsck",
                remedy="see that the disk is not full; the half-made image is not used",
            )
        )


def _script(tree: Tree, blobs: Path, epoch: int) -> str:
    """Commands for debugfs in one fixed order: the order decides where everything lies."""
    nodes = dict(tree)
    for path in tree:
        for parent in PurePosixPath(path).parents[:-1]:
            nodes.setdefault(str(parent), folder())
    lines = [f"set_current_time @{epoch}"]
    for number, path in enumerate(sorted(nodes, key=lambda p: p.split("/"))):
        node = nodes[path]
        above, _, name = path.rpartition("/")
        lines.append(f'cd "/{above}"')
        if stat.S_ISDIR(node.mode):
            lines.append(f'mkdir "{name}"')
        elif stat.S_ISLNK(node.mode):
            lines.append(f'symlink "{name}" "{node.data.decode()}"')
        elif stat.S_ISREG(node.mode):
            blob = blobs / str(number)
            blob.write_bytes(node.data)
            blob.chmod(0o600)
            lines.append(f'write "{blob}" "{name}"')
        else:
            kind = "c" if stat.S_ISCHR(node.mode) else "b"
            lines.append(f'mknod "{name}" {kind} {node.device[0]} {node.device[1]}')
        if not stat.S_ISLNK(node.mode):
            lines.append(f'set_inode_field "{name}" mode 0{node.mode:o}')
    return "\n".join(lines) + "\n"
