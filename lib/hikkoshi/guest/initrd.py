"""What is in an initrd: the names of its modules, read without an appliance.

gzip around a `newc` cpio archive, as mkinitrd and dracut of that time make it; several gzip members or archives one after
the other are read through. Contents are skipped, never kept, and an archive that unpacks to too much is refused.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hikkoshi.errors import BadInput, Problem

UNPACKED = 512 << 20  # bytes; the largest real one that we know of unpacks to a quarter
ENTRIES = 100_000
_NAME = 4096


class _Broken(Exception):
    """The archive is not what it has to be; the text says in what."""


def modules(path: Path, *, unpacked: int = UNPACKED) -> tuple[str, ...]:
    """Names of the kernel modules in an initrd, sorted, as `lsmod` writes them: `vmw_pvscsi`."""
    found = set()
    for name in names(path, unpacked=unpacked):
        base = name.rsplit("/", 1)[-1]
        for suffix in (".ko", ".ko.gz", ".ko.xz", ".ko.zst"):
            if base.endswith(suffix):
                found.add(base.removesuffix(suffix).replace("-", "_"))
    return tuple(sorted(found))


def names(path: Path, *, unpacked: int = UNPACKED) -> list[str]:
    """Names of everything in an initrd, in order; `BadInput` where it cannot be read or is unreasonably large."""
    try:
        with path.open("rb") as f:
            packed = f.read(2) == b"\x1f\x8b"
            f.seek(0)
            with gzip.open(f) if packed else f as stream:
                return list(_names(_Bounded(stream, unpacked)))
    except (_Broken, OSError, EOFError, zlib.error) as e:  # gzip.BadGzipFile is an OSError
        raise BadInput(
            Problem(
                "an initrd cannot be read",
                where=str(path),
                found=str(e) or type(e).__name__,
                expected=f"gzip around a newc cpio archive that unpacks to at most {unpacked >> 20} MiB",
                remedy="make it again in the guest with its own mkinitrd, or leave that kernel's entry out of the boot menu",
            )
        ) from None


class _Bounded:
    """A stream that counts what has been read."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._stream, self._limit, self.done = stream, limit, 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or all that is left."""
        if self.done + size > self._limit:
            raise _Broken(f"it unpacks to more than {self._limit >> 20} MiB")
        data = self._stream.read(size)
        self.done += len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over `size` bytes without keeping them."""
        while size > 0:
            got = len(self.read(min(size, 1 << 20)))
            if got == 0:
                raise _Broken("it ends in the middle of a file")
            size -= got


def _names(stream: _Bounded) -> Iterator[str]:
    count = 0
    while magic := _next_magic(stream, first=count == 0):
        if magic not in (b"070701", b"070702"):
            raise _Broken(f"it is no newc cpio archive (it has {magic!r} where an entry has to begin)")
        fields = stream.read(104)
        try:
            size, name_size = int(fields[48:56], 16), int(fields[88:96], 16)
        except ValueError:
            raise _Broken("an entry's header holds something else than numbers") from None
        if not 0 < name_size <= _NAME:
            raise _Broken(f"an entry's name is {name_size} bytes long")
        name = stream.read(name_size)
        if len(name) < name_size:
            raise _Broken("it ends in the middle of a name")
        stream.skip(-(110 + name_size) % 4)
        stream.skip(size)
        stream.skip(-size % 4)
        count += 1
        if count > ENTRIES:
            raise _Broken(f"it has more than {ENTRIES} entries")
        text = name.rstrip(b"\0").decode(errors="replace")
        if text != "TRAILER!!!":
            yield text
    if count == 0:
        raise _Broken("it is empty")


def _next_magic(stream: _Bounded, *, first: bool) -> bytes:
    """The six bytes an entry begins with; empty at the end. Between archives there is padding of zeros."""
    magic = stream.read(6)
    while not first and magic and magic.strip(b"\0") != magic:
        magic = magic.lstrip(b"\0")
        magic += (more := stream.read(6 - len(magic)))
        if not more:
            break
    return magic
