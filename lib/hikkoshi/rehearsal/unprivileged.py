"""Programs that meet what a guest made (QEMU boots its disk, Chromium prints its words) run as a user of no rights.

Where root starts us, they get a uid that no user and no service of this machine has, chosen by the number of our process.
The user `nobody` would not do: other services have it, too, and could stop them or read their memory. They have no
capabilities, cannot get any, and see one folder of their own. What they leave there is read with care: it may be a link to
anywhere.
"""

import contextlib
import functools
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from hikkoshi import tool
from hikkoshi.errors import HikkoshiError, Problem, ToolFailed
from hikkoshi.secret import temporary

FIRST, COUNT = 61184, 4336  # uids that systemd too gives to services for a while (DynamicUser)
LARGEST = 64 << 20  # bytes of a file that is read back


@functools.cache
def user() -> int | None:
    """The uid of these programs; None where they run as we do: we are not root, may change no user, or no uid is free."""
    if os.geteuid() != 0:
        return None
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    free = (FIRST + (os.getpid() + n) % COUNT for n in range(COUNT))
    uid = next((n for n in free if n not in taken and not _known(n)), None)
    try:
        if uid is not None:
            tool.run(["true"], rights=_rights(uid), timeout=30)
    except HikkoshiError:
        return None
    return uid


def rights(*groups: int) -> list[str]:
    """What a program is started with, for `hikkoshi.tool`: no rights but those of these groups."""
    uid = user()
    return [] if uid is None else _rights(uid, groups)


def namespaces() -> bool:
    """Whether such a program may make user namespaces, which a browser's own sandbox is made of."""
    try:
        tool.run(["unshare", "--user", "--", "true"], rights=rights(), timeout=30)
    except HikkoshiError:
        return False
    return True


@contextlib.contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """A temporary folder that is theirs and ours alone, gone at the end."""
    with temporary.folder(purpose) as outer:
        uid = user()
        if uid is None:
            yield outer
            return
        inner = outer / "theirs"  # the outer one stays ours: the next run removes what is ours
        inner.mkdir(mode=0o700)
        give(inner)
        os.chown(outer, -1, uid)
        outer.chmod(0o710)
        yield inner


def give(path: Path) -> None:
    """Make a file or folder theirs."""
    uid = user()
    if uid is not None:
        os.chown(path, uid, uid, follow_symlinks=False)


def read(path: Path, *, most: int = LARGEST) -> bytes:
    """The content of a file that such a program wrote, nothing where there is none; `ToolFailed` for what is no such file."""
    try:
        with opened(path) as fd:
            content = b"".join(iter(lambda: os.read(fd, 1 << 20) if os.lseek(fd, 0, os.SEEK_CUR) <= most else b"", b""))
    except FileNotFoundError:
        return b""
    if len(content) > most:
        raise _strange(path, f"more than {most:,} bytes")
    return content


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of such a file, for reading; `FileNotFoundError` where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise _strange(path, e.strerror or str(e)) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid not in (user(), os.geteuid()):
            raise _strange(path, f"mode {found.st_mode:o}, {found.st_nlink} names, of user {found.st_uid}")
        yield fd
    finally:
        os.close(fd)


def _strange(path: Path, found: str) -> ToolFailed:
    return ToolFailed(
        Problem(
            code="sandbox-left-no-file",
            what="a program without rights left something else than the file that was asked for",
            where=str(path),
            found=found,
            expected="a regular file of its own",
            remedy="what it read may have made it do this: keep the guest's disk, and ask somebody who knows about such things",
        )
    )


def _rights(uid: int, groups: Sequence[int] = ()) -> list[str]:
    named = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    user_options = ["--reuid", str(uid), "--regid", str(uid), *named]
    return [*user_options, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]


def _known(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(uid))  # of a directory service, which need not list all that it knows
    return False
