"""A Dom-0 that is a folder here: its disk, mounted or copied. As for a process in a chroot, no link leads out of it."""

import errno
import stat
from pathlib import Path

from hikkoshi.errors import BadInput, Problem
from hikkoshi.xen.reach.host import Dom0Files, Kind, Located

_LINKS = 40  # symbolic links followed before we call it a circle, as Linux does


def looked_at(here: Path) -> Located:
    """What is at a path of this machine."""
    kinds: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFBLK: "device"}
    return Located(kinds.get(stat.S_IFMT(here.stat().st_mode), "other"), here.resolve())


def opened(here: Path, longest: int) -> bytes:
    """The first bytes of a file of this machine; nothing else is opened, as a pipe would never end."""
    if looked_at(here).kind != "file":
        raise IsADirectoryError(errno.EISDIR, "something else than a file", str(here))
    with here.open("rb") as f:
        return f.read(longest + 1)


def listed(here: Path) -> list[str]:
    """What is in a folder of this machine, but for hidden files."""
    return sorted(p.name for p in here.iterdir() if not p.name.startswith("."))


class MountedDom0(Dom0Files):
    """The files of a Dom-0 below `root`. Its programs cannot be run."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not self.root.is_dir():
            raise BadInput(
                Problem(
                    code="dom0-folder-missing",
                    what="the Dom-0's folder is not there",
                    where=str(self.root),
                    found="something else than a folder" if self.root.exists() else "nothing",
                    expected="the Dom-0's disk, mounted here",
                    remedy="mount it, or correct `root` of the Dom-0 in params/site.yml (for the lab: hikkoshi lab up)",
                )
            )

    def inside(self, path: Path) -> Path:
        """`path` of the Dom-0 as a path here."""
        current, links = self.root, 0
        waiting = list(reversed(path.parts))
        while waiting:
            part = waiting.pop()
            if part == "/":
                current = self.root
            elif part == "..":
                current = current.parent if current != self.root else self.root
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

    def shown(self, path: Path) -> str:
        """As in `Dom0Files`."""
        return str(self.inside(path))

    def found(self, path: Path) -> Located:
        """As in `Dom0Files`."""
        here = self.inside(path)
        return Located(looked_at(here).kind, Path("/", here.relative_to(self.root)))

    def read(self, path: Path, longest: int) -> bytes:
        """As in `Dom0Files`."""
        return opened(self.inside(path), longest)

    def names(self, folder: Path) -> list[str]:
        """As in `Dom0Files`."""
        return listed(self.inside(folder))


def _is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False  # not there, or not to be looked at: whoever opens it will say so
