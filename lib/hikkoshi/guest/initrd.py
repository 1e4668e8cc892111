"""What is in an initrd: the names of its modules, read without an appliance.

`newc` cpio archives one after the other, as the kernel takes them (Linux, Documentation/driver-api/early-userspace/
buffer-format.rst): plain ones first, such as microcode, and one that is compressed last, as mkinitrd, dracut and
initramfs-tools make it. Contents are skipped, never kept, and an archive that unpacks to too much is refused.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from hikkoshi import tool
from hikkoshi.errors import BadInput, Problem

UNPACKED = 512 << 20  # bytes; the largest real one that we know of unpacks to a quarter
ENTRIES = 100_000
NAMES = 32 << 20  # bytes of all names
MEMORY = 256 << 20  # bytes that a decompressor may take; xz -9 asks for 65 MiB
_NAME = 4096
_CPIO = (b"070701", b"070702")
_LIBRARIES: dict[bytes, Callable[[IO[bytes]], Any]] = {  # by the first bytes
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ": lambda f: contextlib.closing(_Lzma(f)),
    b"\x5d\0\0": lambda f: contextlib.closing(_Lzma(f)),
    b"BZh": bz2.open,
}
_PACKERS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}  # Debian 12 and later; Ubuntu 19.10 to 21.04


class _Broken(Exception):
    """The archive is not what it has to be; the text says in what."""


def modules(path: Path) -> tuple[str, ...]:
    """Names of the kernel modules in an initrd, sorted, as `lsmod` writes them: `vmw_pvscsi`."""
    found = set()
    for name in names(path):
        base = name.rsplit("/", 1)[-1]
        for suffix in (".ko", ".ko.gz", ".ko.xz", ".ko.zst"):
            if base.endswith(suffix):
                found.add(base.removesuffix(suffix).replace("-", "_"))
    return tuple(sorted(found))


def packer(path: Path) -> str:
    """The program that packed a readable initrd: gzip, xz or zstd; empty where it was another, or none."""
    with path.open("rb") as f:
        magic = _archives(_Bounded(f, UNPACKED), [])
    return next((name for begin, name in _PACKERS.items() if magic.startswith(begin)), "")


def names(path: Path, *, unpacked: int = UNPACKED) -> list[str]:
    """Names of everything in an initrd, in order; `BadInput` where it cannot be read or is unreasonably large."""
    try:
        with path.open("rb") as f:
            found: list[str] = []
            stream = _Bounded(f, unpacked)
            if magic := _archives(stream, found):
                f.seek(-len(magic), os.SEEK_CUR)
                with _unpacked(f, magic) as packed:
                    if magic := _archives(_Bounded(packed, unpacked), found):
                        raise _Broken(f"it is no newc cpio archive (it has {magic!r} where an entry has to begin)")
            if not stream.done:
                raise _Broken("it is empty")
            return found
    except (_Broken, OSError, EOFError, zlib.error, lzma.LZMAError) as e:  # gzip.BadGzipFile is an OSError
        raise BadInput(
            Problem(
                code="initrd-unreadable",
                what="an initrd cannot be read",
                where=str(path),
                found=str(e) or type(e).__name__,
                expected=f"newc cpio archives, plain or compressed, that unpack to at most {unpacked >> 20} MiB",
                remedy="make it again in the guest with its own mkinitrd, or leave that kernel's entry out of the boot menu",
            )
        ) from None


@contextlib.contextmanager
def _unpacked(f: IO[bytes], magic: bytes) -> Iterator[IO[bytes]]:
    """What is compressed in the rest of the file, by the bytes it begins with."""
    for begin, library in _LIBRARIES.items():
        if magic.startswith(begin):
            with library(f) as stream:
                yield stream
            return
    program = next((p for begin, p in _PROGRAMS.items() if magic.startswith(begin)), None)
    if program is None:
        raise _Broken(f"it is no newc cpio archive (it has {magic!r} where an entry has to begin)")
    os.lseek(f.fileno(), f.tell(), os.SEEK_SET)
    process = subprocess.Popen(
        tool.command([program, "-dc"]),
        stdin=f,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=tool.environment(program),
        close_fds=False,
        start_new_session=True,
    )
    try:
        assert process.stdout
        yield process.stdout
        process.stdout.close()
        if process.wait() not in (0, -13):  # SIGPIPE: it was not read to its end
            raise _Broken(f"{program} ended with status {process.returncode}: it is damaged or cut off")
    finally:
        tool.end(process)


class _Lzma:
    """What is compressed by xz or lzma; the dictionary, as large as the archive says, is bounded."""

    def __init__(self, f: IO[bytes]) -> None:
        self._file, self._packed = f, lzma.LZMADecompressor(memlimit=MEMORY)

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        while not self._packed.eof:
            more = self._file.read(1 << 16) if self._packed.needs_input else b""
            if self._packed.needs_input and not more:
                raise EOFError("it ends in the middle of its compressed part")
            if data := self._packed.decompress(more, size):
                return data
        return b""

    def close(self) -> None:
        """Nothing of it is open."""


class _Bounded:
    """A stream that counts what has been read."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._limit, self.done = stream, limit, 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or all that is left."""
        if self.done + size > self._limit:
            raise _Broken(f"it unpacks to more than {self._limit >> 20} MiB")
        pieces, missing = [], size
        while missing and (piece := self._stream.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        self.done += size - missing
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes without keeping them."""
        while size > 0:
            got = len(self.read(min(size, 1 << 20)))
            if got == 0:
                raise _Broken("it ends in the middle of a file")
            size -= got


def _archives(stream: _Bounded, found: list[str]) -> bytes:
    """Adds the names in all archives from here on; the first bytes of what comes behind them and is none, empty at the end."""
    length = 0  # bytes of names
    inside = False  # between an archive's first entry and its trailer
    while magic := _next_magic(stream, first=inside or not stream.done):
        if magic not in _CPIO:
            if inside:
                raise _Broken(f"it is no newc cpio archive (it has {magic!r} where an entry has to begin)")
            return magic
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
        text = name.rstrip(b"\0").decode(errors="replace")
        inside = text != "TRAILER!!!"
        if inside:
            found.append(text)
            length += name_size
        if len(found) > ENTRIES or length > NAMES:
            raise _Broken(f"it has more than {ENTRIES} entries, or their names more than {NAMES >> 20} MiB")
    return b""


def _next_magic(stream: _Bounded, *, first: bool) -> bytes:
    """The six bytes an entry begins with; empty at the end. Between archives there is padding of zeros."""
    magic = stream.read(6)
    while not first and magic.startswith(b"\0"):
        magic = magic.lstrip(b"\0")
        magic += (more := stream.read(6 - len(magic)))
        if not more:
            break
    return magic
