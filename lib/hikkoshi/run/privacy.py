"""Nobody else's eyes: outputs/ holds guests' disks, and with them their passwords' hashes and keys.

Whoever cannot enter outputs/ reads nothing below it, whatever the modes there. What is made there is its maker's alone all the
same.
"""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.errors import Refused

OTHERS = stat.S_IRWXG | stat.S_IRWXO  # of an access list, too: its mask stands where the group's rights do


def shut(outputs: Path, *, refuse: bool = False) -> None:
    """Make everything from now on for this user alone, and so what was made before. `refuse`: `Refused` where that fails.

    Of what is there the folders change, once; a file's own times are evidence of when it was written.
    """
    os.umask(0o077)
    with contextlib.suppress(OSError):
        if _mode(outputs) & OTHERS:
            outputs.chmod(_mode(outputs) & ~OTHERS)
            for folder in _folders(outputs):
                folder.chmod(_mode(folder) & ~OTHERS)
    if refuse and not (found := check(outputs)):
        raise Refused(found.problem())


def check(outputs: Path) -> Check:
    """Whether other users are kept out."""
    title, where = "nobody else reads outputs/", str(outputs)
    if not outputs.is_dir():
        return Check(code="outputs-private", title=title, ok=True, found="there is none yet", where=where)
    there = outputs.resolve()  # it may be a link to a larger disk
    ok, mode = not _mode(there) & OTHERS, f"mode {_mode(there):04o}"
    remedy = f"chmod -R go= {there}; if the mode stays, that file system knows none: put outputs/ on another"
    return Check(
        code="outputs-private",
        title=title,
        ok=ok,
        found=mode,
        expected="mode 0700: other users cannot enter it",
        remedy=remedy,
        where=where,
    )


def doubts(outputs: Path) -> Iterator[str]:
    """What a person should look at, though nobody may enter: who could open it again, and what lies open inside."""
    if not outputs.is_dir():
        return
    for folder in (outputs.parent, outputs.resolve().parent):
        mode = _mode(folder)
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield f"anybody may put another folder in its place: {folder} has mode {mode:04o}"
            break
    owned = [f for f in (outputs.resolve(), *_folders(outputs)) if f.stat().st_uid not in (0, os.geteuid())]
    if owned:
        yield f"{owned[0]} belongs to {_name(owned[0].stat().st_uid)}" + _more(owned)
    if wide := [f for f in _folders(outputs) if _mode(f) & OTHERS]:
        yield f"{wide[0]} has mode {_mode(wide[0]):04o}" + _more(wide)
    linked = [f for f in _folders(outputs, linked=True) if _mode(f) & OTHERS or f.stat().st_uid not in (0, os.geteuid())]
    if linked:
        there = linked[0].resolve()
        yield f"{linked[0]} leads out to {there}, of {_name(there.stat().st_uid)}, mode {_mode(there):04o}" + _more(linked)


def _folders(outputs: Path, *, linked: bool = False) -> Iterator[Path]:
    """The folders inside, or the links there that lead to a folder anywhere."""
    for place, folders, _ in os.walk(outputs):  # which follows no link
        yield from (p for f in folders if (p := Path(place, f)).is_symlink() is linked)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _more(found: list[Path]) -> str:
    return f", and {len(found) - 1} folders more" if len(found) > 1 else ""
