"""A Dom-0 that is this very machine."""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hikkoshi import tool
from hikkoshi.errors import Problem, ToolFailed, printable
from hikkoshi.xen.reach.host import PRINTED, Dom0Host, Located
from hikkoshi.xen.reach.mounted import listed, looked_at, opened


class LocalDom0(Dom0Host):
    """This machine."""

    def shown(self, path: Path) -> str:
        """As in `Dom0Host`."""
        return str(path)

    def found(self, path: Path) -> Located:
        """As in `Dom0Host`."""
        return looked_at(path)

    def read(self, path: Path, longest: int) -> bytes:
        """As in `Dom0Host`."""
        return opened(path, longest)

    def names(self, folder: Path) -> list[str]:
        """As in `Dom0Host`."""
        return listed(folder)

    def run(self, argv: Sequence[str], *, timeout: float, acts: bool = False) -> str:
        """As in `Dom0Host`, but it dies with us in any case: see `hikkoshi.tool`."""
        said = tool.converse(argv, None, timeout=timeout, largest=PRINTED)
        if said.ending == "slow":
            raise tool.timed_out(argv, timeout)
        if said.ending == "endless":
            raise endless(argv)
        if said.status:
            raise tool.failed(argv, said.status, printable((said.err or said.out).decode(errors="replace")))
        return printable(said.out.decode(errors="replace"))

    def toolstack(self) -> str:
        """As in `Dom0Host`."""
        return "xl" if shutil.which("xl") or not shutil.which("xm") else "xm"

    def marks(self, paths: Iterable[str]) -> dict[str, frozenset[str]]:
        """By name, by file, by device number, or through a loop device."""
        return {path: marks(path) for path in paths}


def endless(argv: Sequence[str], where: str = "") -> ToolFailed:
    """The error for a program of a Dom-0 that prints more than it can have to tell."""
    return ToolFailed(
        Problem(
            code="dom0-answer-too-long",
            what="the Dom-0 answers more than it can have to tell",
            where=tool.told(argv, where),
            found=f"more than {PRINTED >> 20} MiB, or a MiB of complaints",
            expected="a list, or some files",
            remedy="see on the Dom-0 what this prints; nothing of it is used",
        )
    )


def by_name(path: str) -> set[str]:
    """The marks that a disk has by its name: of another machine xend keeps the prefix, and a file may not."""
    return {os.path.normpath(path)} if path.startswith("/") else {path, re.sub(r"^[a-z][a-z0-9]*:", "", path)}


def marks(path: str) -> frozenset[str]:
    """The marks of a disk of this machine, as in `Dom0Host`."""
    found = by_name(path)
    with suppress(OSError, ValueError):
        status = Path(path).stat() if path.startswith("/") else None
        if status:
            found.add(f"file {status.st_dev}:{status.st_ino}")
            if stat.S_ISBLK(status.st_mode):
                found.add(f"device {os.major(status.st_rdev):x}:{os.minor(status.st_rdev):x}")
        backing = Path("/sys/block", Path(path).name, "loop/backing_file")
        if path.startswith("/dev/loop") and backing.is_file():
            behind = Path(backing.read_text().strip()).stat()
            found.add(f"file {behind.st_dev}:{behind.st_ino}")
    return frozenset(found)
