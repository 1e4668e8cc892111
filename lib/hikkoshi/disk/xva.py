"""XVA, the export of XenServer and XCP-ng, as a source: a tar whose disks lie in it in blocks, in their order.

First comes ova.xml (`hikkoshi.disk.export`). Block n of a disk is the file `Ref:4/0000000n`: 1 MiB, and of the last one as much
as is left. Blocks of zeros are left out, but for the first and the last. Behind each block stands its checksum: SHA-1 in
`Ref:4/0000000n.checksum`, or XXH64 in `Ref:4/0000000n.xxhash` (https://github.com/Cyan4973/xxHash), both in hexadecimal. Where an
export had nothing to send for some seconds it sends a block without content, which has a number and no place on the disk.
Source: xapi, ocaml/xapi/stream_vdi.ml (`send_one`, `write_block`).

The tar is looked through once, by its headers; after that each block is read from its place, and held against its checksum.
"""

import ctypes
import functools
import hashlib
import tarfile
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from hikkoshi import files
from hikkoshi.disk import export
from hikkoshi.disk.export import DiskEntry, Export
from hikkoshi.disk.extents import RawDisk, Source, joined
from hikkoshi.errors import BadInput, Problem, StepFailed

BLOCK_OF_XVA = 1 << 20  # bytes
_HEADER = 512  # bytes of a header of tar, and what everything in it is a multiple of
_FIRST = "ova.xml"
BEGINNING = _HEADER + export.LARGEST  # bytes that hold the description, at most
EXPORTS = (".xva", ".xva.gz", ".xva.zst")  # ends of a file's name; the packed ones are told as such
_PACKED = (  # (bytes that begin such a file, what it is, what unpacks it)
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"\x1f\x8b", "gzip", "gunzip -c"),
    (b"BZh", "bzip2", "bunzip2 -c"),
    (b"\xfd7zXZ\0", "xz", "xz -dc"),
)
_FETCHED = f"copy it here anew, and compare checksums; if it is the same there, {export.ANEW}"


class Xva:
    """An export that is open; a context manager. `disks` can be read from as long as it is.

    `BadInput` with where it is for what is no export, is packed, cut off, or has blocks that are missing, out of their order,
    of a wrong size, or without a checksum.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        with ExitStack() as stack:
            self._file = stack.enter_context(RawDisk(path))
            self.text, behind = described(self._file.read(0, min(BEGINNING, self._file.size)), self.name)
            self.export: Export = export.parse(self.text, f"{self.name}, {_FIRST}")
            blocks = {reference: _Blocks(reference, size) for reference, size in self.export.sizes.items()}
            self._index(blocks, behind)
            self.disks = tuple(ExportedDisk(self._file, entry, blocks[entry.reference]) for entry in self.export.disks)
            for disk in self.disks:
                blocks[disk.entry.reference].refuse_incomplete(self.name)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _index(self, blocks: dict[str, "_Blocks"], at: int) -> None:
        """Where each block is, by the headers from `at` on."""
        before, needed = "", False  # the block just before, and whether its checksum has to follow
        while (member := self._member(at)) is not None:
            name, begin, size = member.name, at + _HEADER, member.size
            if not member.isreg() or size < 0:
                raise BadInput(self._problem(at, f"{name!r}, which is no file", "blocks of disks and their checksums"))
            at, end = _behind(begin, size), begin + size
            if end > self._file.size:
                raise BadInput(_cut_off(self.name, f"its end in {name!r}"))
            if before and name in (f"{before}.checksum", f"{before}.xxhash"):
                if name.endswith(".xxhash"):
                    _xxh64()  # where there is none, now is the time to say so
                before, needed = "", False
                continue
            if needed:
                raise BadInput(
                    Problem(
                        code="xva-block-without-checksum",
                        what="a block of the export has no checksum",
                        where=f"{self.name}, {before}",
                        found=f"{name!r} behind it",
                        expected=f"{before}.checksum or {before}.xxhash",
                        remedy=f"the export is of a version before XenServer 6, or was packed anew: {export.ANEW}",
                    )
                )
            reference, _, written = name.rpartition("/")
            if reference not in blocks or not (written.isascii() and written.isdigit() and len(written) <= 9):
                expected = "blocks of the disks in ova.xml, by their numbers, each with its checksum"
                raise BadInput(self._problem(begin - _HEADER, f"{name!r}", expected))
            if wrong := blocks[reference].add(int(written), begin, size):
                raise BadInput(self._problem(begin - _HEADER, f"{name!r}, {wrong[0]}", wrong[1]))
            before, needed = name, size > 0
        if needed:
            raise BadInput(_cut_off(self.name, f"its end behind {before!r}"))

    def _member(self, at: int) -> tarfile.TarInfo | None:
        """The header at `at`; None for the zeros that end a tar."""
        header = self._taken(at, _HEADER)
        if header == bytes(_HEADER):
            return None
        try:
            return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as e:
            raise BadInput(self._problem(at, f"no header of tar: {e}", "the next file")) from None

    def _taken(self, at: int, size: int) -> bytes:
        if at + size > self._file.size:
            raise BadInput(_cut_off(self.name, f"its end at {self._file.size:,}"))
        return self._file.read(at, size)

    def _problem(self, at: int, found: str, expected: str) -> Problem:
        return _damaged(f"{self.name}, byte {at:,}", found, expected)


def begins(head: bytes) -> bool:
    """Whether a file that begins so is an export, and not packed."""
    return head.startswith(f"{_FIRST}\0".encode())


def described(begin: bytes, where: str) -> tuple[str, int]:
    """ova.xml out of an export's first `BEGINNING` bytes, and where it ends; `BadInput` for what is no export."""
    for magic, name, program in _PACKED:
        if begin.startswith(magic):
            raise BadInput(
                Problem(
                    code="xva-packed",
                    what="the export is packed as a whole",
                    where=where,
                    found=name,
                    expected="an XVA that is not packed: blocks are read from their places",
                    remedy=f"unpack it where there is room for all of it: {program} < PACKED > NAME.xva; then name that",
                )
            )
    try:
        first = tarfile.TarInfo.frombuf(begin[:_HEADER], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        first = tarfile.TarInfo("something that is no tar")
    if first.name != _FIRST or not first.isreg():
        raise BadInput(
            Problem(
                code="xva-unknown",
                what="this is no export of XenServer or XCP-ng",
                where=where,
                found=f"{first.name[:80]} at its beginning",
                expected=f"a tar that begins with {_FIRST}",
                remedy="see whether the path is right; `hikkoshi convert` has to be told by --format what else the file is",
            )
        )
    if first.size > export.LARGEST:
        found, most = f"{_FIRST} of {files.human(first.size)}", f"at most {files.human(export.LARGEST)}"
        raise BadInput(_damaged(f"{where}, byte 0", found, most))
    if _HEADER + first.size > len(begin):
        raise BadInput(_cut_off(where, f"its end at {len(begin):,}"))
    try:
        return begin[_HEADER : _HEADER + first.size].decode(), _behind(_HEADER, first.size)
    except UnicodeDecodeError:
        raise BadInput(_damaged(f"{where}, byte {_HEADER:,}", f"{_FIRST} is no text in UTF-8", "UTF-8")) from None


class ExportedDisk(Source):
    """One disk of an export as a `Source`. Every block that is read has the checksum that stands behind it."""

    def __init__(self, file: RawDisk, entry: DiskEntry, blocks: "_Blocks") -> None:
        self.entry = entry
        self.name = f"{file.name}, {entry.vdev}"
        self.size = entry.size
        self._file, self._blocks = file, blocks
        self._threads = threading.local()

    def extents(self) -> Iterator[tuple[int, int]]:
        """As in `Source`: the blocks that the export has."""
        return joined((n * BLOCK_OF_XVA, min(self.size, (n + 1) * BLOCK_OF_XVA)) for n in self._blocks.places)

    def read(self, offset: int, length: int) -> bytes:
        """As in `Source`; zeros where the export has no block. `BadInput` where a block is not what its checksum says."""
        pieces, at, stop = [], offset, offset + length
        while at < stop:
            place, within = divmod(at, BLOCK_OF_XVA)
            end = min(stop - at + within, BLOCK_OF_XVA)
            pieces.append(self._block(place)[within:end] if place in self._blocks else bytes(end - within))
            at += end - within
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def unchanged(self) -> None:
        """As in `Source`; of the export's file."""
        self._file.unchanged()

    def _block(self, place: int) -> bytes:
        """A block that is there; each thread keeps its last one, so that who reads it in pieces checks it once."""
        if getattr(self._threads, "place", None) != place:
            self._threads.block = self._checked(place)
            self._threads.place = place
        return self._threads.block  # type: ignore[no-any-return]

    def _checked(self, place: int) -> bytes:
        begin, size = self._blocks.offset(place), min(BLOCK_OF_XVA, self.size - place * BLOCK_OF_XVA)
        behind = _behind(begin, size)
        whole = self._file.read(begin, behind - begin + 2 * _HEADER)
        block, header, written = whole[:size], whole[behind - begin : -_HEADER], whole[-_HEADER:]
        name, _, kind = header[:100].rstrip(b"\0").decode(errors="replace").rpartition(".")
        said = written.rstrip(b"\0").decode("ascii", "replace").strip().lower()
        if kind == "checksum":
            kind, found = "SHA-1", hashlib.sha1(block, usedforsecurity=False).hexdigest()
        else:
            kind, found, said = "XXH64", f"{_xxh64()(block, size, 0):016x}", said.zfill(16)
        if found != said:
            raise BadInput(_damaged(f"{self.name}, {name}", f"{kind} {found}", f"{said[:64]}, as the checksum behind it says"))
        return block


class _Blocks:
    """Where the blocks of one disk are: 12 bytes of memory for each."""

    def __init__(self, reference: str, size: int) -> None:
        self.reference, self._size = reference, size
        self._all = -(-size // BLOCK_OF_XVA)
        self._last = -1  # number
        self._empty = 0  # blocks without content until now
        self.places = array("I")  # on the disk, ascending
        self._offsets = array("Q")  # in the export

    def add(self, number: int, begin: int, size: int) -> tuple[str, str] | None:
        """Take the next block; what is wrong with it, and what was expected, where anything is."""
        place = number - self._empty
        if number <= self._last:
            return ("twice" if number == self._last else f"behind block {self._last:08d}"), "blocks in ascending order, each once"
        self._last = number
        if not size:
            self._empty += 1
            return None
        if place >= self._all:
            return "behind the end of the disk", f"{self._all:,} blocks: {self._size:,} bytes"
        if size != (full := min(BLOCK_OF_XVA, self._size - place * BLOCK_OF_XVA)):
            return f"{size:,} bytes", f"{full:,} bytes"
        self.places.append(place)
        self._offsets.append(begin)
        return None

    def __contains__(self, place: int) -> bool:
        at = bisect_left(self.places, place)
        return at < len(self.places) and self.places[at] == place

    def offset(self, place: int) -> int:
        """Where a block that is there begins in the export."""
        return self._offsets[bisect_left(self.places, place)]

    def refuse_incomplete(self, where: str) -> None:
        """`BadInput` without the first or the last block, which every export has: what is missing is not told from zeros."""
        for place in (0, self._all - 1):
            if place not in self:
                found = f"{len(self.places):,} blocks" + (f", the last one {self.places[-1]:,}" if self.places else "")
                expected = f"the first and the last of {self._all:,} blocks"
                raise BadInput(_damaged(f"{where}, {self.reference}", f"{found}, and no block {place:,}", expected))


def _behind(begin: int, size: int) -> int:
    """Where the next header is."""
    return begin + -(-size // _HEADER) * _HEADER


@functools.cache
def _xxh64() -> Callable[[bytes, int, int], int]:
    """XXH64 of the system's xxHash; Python has none of its own."""
    try:
        found = ctypes.CDLL("libxxhash.so.0").XXH64
    except (OSError, AttributeError):
        raise StepFailed(
            Problem(
                code="xxhash-missing",
                what="the checksums of this export cannot be computed here",
                where="libxxhash.so.0",
                found="no such library",
                expected="the library xxHash, for checksums in files .xxhash",
                remedy="install it (Debian, Ubuntu: libxxhash0; Fedora: xxhash-libs; conda: xxhash), and do this again",
            )
        ) from None
    found.argtypes, found.restype = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64), ctypes.c_uint64
    return found


def _cut_off(where: str, found: str) -> Problem:
    return Problem(
        code="xva-cut-off",
        what="the export is cut off",
        where=where,
        found=found,
        expected="two sectors of zeros, which end a tar",
        remedy=_FETCHED,
    )


def _damaged(where: str, found: str, expected: str) -> Problem:
    return Problem(code="xva-damaged", what="the export is damaged", where=where, found=found, expected=expected, remedy=_FETCHED)
