"""Files that are either complete or not there: written as NAME.part, renamed last. Read only where they are regular files.

What lies in outputs/ may have been put there by anybody who can write to it: a pipe, on which a reader waits for ever; a link,
which leads to a file of others; a device, which acts when it is opened; a file without end.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

LARGEST = 256 << 20  # bytes of a file that is read as a whole
SHUT = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}  # the disk's fault, or its owner's word


@contextlib.contextmanager
def part(path: Path) -> Iterator[Path]:
    """Yield `path` with `.part` appended to write to; on success it is synced and takes the final name at once.

    On any error, Ctrl-C included, the part is removed. After kill -9 it stays, and the next writer overwrites it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        with unfinished.open("rb") as f:
            os.fsync(f.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file atomically."""
    with part(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def descriptor(path: Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """Open a regular file and nothing else, without waiting; a link in its place is not followed unless `follow`.

    `OSError` for everything else. `flags` as for `os.open`; with O_CREAT the file is made where there is none.
    """
    with contextlib.suppress(FileNotFoundError):
        _check(path, path.stat(follow_symlinks=follow))  # first: a device may act on being opened
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), 0o666)
    try:
        _check(path, os.fstat(handle))
    except OSError:
        os.close(handle)
        raise
    return handle


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a regular file"
        raise OSError(errno.EINVAL, kind, str(path))


def opened(path: Path, *, follow: bool = False) -> BufferedReader:
    """A regular file to read from, see `descriptor`."""
    return open(descriptor(path, follow=follow), "rb")


def updated(path: Path) -> BinaryIO:
    """A regular file to read from and add to, made where there is none; see `descriptor`."""
    handle = descriptor(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    return open(handle, "a+b")  # noqa: PTH123 - Path.open takes no descriptor


def read(path: Path, limit: int = LARGEST, *, follow: bool = False) -> bytes:
    """What a regular file of at most `limit` bytes holds; `OSError` for everything else, see `descriptor`."""
    with opened(path, follow=follow) as f:
        content = f.read(limit + 1)
    if len(content) > limit:
        raise _large(path, limit)
    return content


def _large(path: Path, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {human(limit)}", str(path))


def regular(path: Path) -> bool:
    """Whether there is a regular file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):  # the second: of a name that can be none
        return False


def sha256(path: Path, *, own: bool = False, limit: int | None = None) -> str:
    """SHA-256 of a file's or device's bytes, in hexadecimal, as `sha256sum` prints it; `own`: of a regular file only.

    `limit`: `OSError` for a larger file, before it is read.
    """
    with opened(path) if own else path.open("rb") as f:
        if limit is not None and os.fstat(f.fileno()).st_size > limit:
            raise _large(path, limit)
        return hashlib.file_digest(f, "sha256").hexdigest()


def human(size: float) -> str:
    """Bytes as a person reads them, in binary units: `human(35_000_000)` is '33.4 MiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
