"""Reading a VMDK stream to its last byte, in the two ways in which others will read it.

An import reads marker after marker from the front and never looks at the tables; whoever opens the file as a disk follows
the tables and never looks at what lies between. Here both are done, and have to tell of the same disk.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deflate

from hikkoshi import files
from hikkoshi.disk import vmdk, workers
from hikkoshi.disk.digest import Content
from hikkoshi.disk.extents import BLOCK
from hikkoshi.disk.vmdk import KIND_DIRECTORY, KIND_END, KIND_FOOTER, MARKER, SECTOR, SPECIAL, Header
from hikkoshi.errors import BadInput
from hikkoshi.progress import Progress, silent

MOST_FLAWS = 100  # of one file; a thousand more would help nobody
_PIECE = 16  # grains that a thread decodes at once
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, order=True)
class Flaw:
    """One thing that is wrong with a stream, and the byte of the file where it is."""

    offset: int
    what: str

    def __str__(self) -> str:
        return f"byte {self.offset:,}: {self.what}"


@dataclass(frozen=True)
class Examined:
    """What a stream holds. The digests are empty where flaws leave open what the disk's content is."""

    header: Header
    bytes: int  # of the file
    grains: int  # that are stored
    flaws: tuple[Flaw, ...]  # by offset; at most `MOST_FLAWS`
    content: str  # content digest of the disk, see `hikkoshi.disk.digest`; grains of 64 KiB only
    sha256: str  # of the disk's plain bytes, zeros included; empty where not asked for

    def plain(self) -> dict[str, Any]:
        """As JSON; sizes and offsets in bytes, hashes in hexadecimal, empty where flaws leave the content open."""
        return {
            "bytes": self.bytes,
            "version": self.header.version,
            "capacity": self.header.capacity,
            "descriptor": self.header.descriptor,
            "grains": self.grains,
            "sha256_of_the_disk": self.sha256,
            "content_digest": self.content,
            "flaws": [{"offset": f.offset, "what": f.what} for f in self.flaws],
        }

    def rows(self) -> list[dict[str, str]]:
        """For a reader; the flaws come last."""
        more = f"the first {MOST_FLAWS}" if len(self.flaws) >= MOST_FLAWS else str(len(self.flaws) or "none")
        told = [
            ("VMDK", f"{self.bytes:,} bytes, version {self.header.version}"),
            ("disk", f"{self.header.capacity:,} bytes, {self.grains:,} grains of {self.header.grain:,} stored"),
            *self.header.descriptor.items(),
            ("SHA-256 of the disk", self.sha256 or "unknown"),
            ("content digest", self.content or "unknown"),
            ("flaws", more),
            *((f"byte {f.offset:,}", f.what) for f in self.flaws),
        ]
        return [{"what": what, "found": found} for what, found in told]


@dataclass(frozen=True)
class _Grain:
    number: int
    offset: int  # of its marker in the file
    length: int  # of its deflated data

    @property
    def end(self) -> int:
        """Where its data ends in the file, and padding begins."""
        return self.offset + MARKER.size + self.length


@dataclass
class _Findings:
    flaws: list[Flaw] = field(default_factory=list)
    sound: bool = True  # whether what the disk holds is beyond doubt

    def add(self, offset: int, what: str, *, harmless: bool = False) -> None:
        self.flaws.append(Flaw(offset, what))
        self.sound = self.sound and harmless

    @property
    def enough(self) -> bool:
        return len(self.flaws) >= MOST_FLAWS


def examine(
    path: Path, *, size: int | None = None, sha256: bool = False, threads: int | None = None, progress: Progress = silent
) -> Examined:
    """Decode every grain, and follow every marker and every table.

    The digests are those of the disk's first `size` bytes, of its whole capacity where that is not given; behind them there
    have to be zeros, as padding is. `BadInput` where the file is no sparse VMDK at all; all else is a flaw.
    """
    header = vmdk.read(path)
    found = _Findings()
    disk = _Disk(header.capacity if size is None else size, sha256, progress)
    grains = 0
    with path.open("rb") as f:
        fd, total = f.fileno(), os.fstat(f.fileno()).st_size
        if not header.stream:
            kind = header.descriptor.get("createType", "a type that is not told")
            told = f"flags {header.flags:#x}, compression {header.compression}"
            found.add(0, f"{kind}, {told}: this is no stream of deflated grains, and an import refuses it")
            try:
                grains = sum(entry > 1 for _, entries in vmdk.tables(fd, header, path) for entry in entries)  # 1: zeros
            except BadInput as e:
                found.add(header.directory, f"{e.problems[0].expected} is not in the file: {e.problems[0].found}")
            return Examined(header, total, grains, tuple(found.flaws), "", "")
        if disk.size > header.capacity:
            found.add(0, f"a capacity of {header.capacity:,} bytes for a disk of {disk.size:,}")
        # {grain: sector where its marker is, 0: none}; anonymous memory takes room only where something is written
        met = memoryview(mmap.mmap(-1, 4 * max(1, -(-header.capacity // header.grain)))).cast("I")
        pieces = _pieces(_walk(fd, total, header, met, found))
        with closing(workers.in_order(_Decoder(fd, header), pieces, workers.count(threads))) as decoded:
            for piece in decoded:
                for grain, content, flaws in piece:
                    for flaw in flaws:
                        found.add(flaw.offset, flaw.what, harmless=bool(content))
                    if content and disk.add(grain.number * header.grain, content):
                        found.add(grain.offset, f"a grain with data behind the disk's end at {disk.size:,}", harmless=True)
                    grains += 1
                if not sha256:
                    progress(piece[-1][0].end, total, f"{files.human(piece[-1][0].end)} examined")
                if found.enough:
                    break
        if not found.enough:
            _compare(fd, header, met, path, found)
    disk.fill(disk.size)
    progress(total, total, f"{files.human(total)} examined, {grains:,} grains")
    known = found.sound and not found.enough
    return Examined(
        header,
        total,
        grains,
        tuple(sorted(found.flaws)[:MOST_FLAWS]),
        disk.content.hexdigest(disk.size) if known and header.grain == BLOCK else "",
        disk.plain.hexdigest() if known and disk.plain else "",
    )


def _walk(fd: int, total: int, header: Header, met: memoryview, found: _Findings) -> Iterator[_Grain]:
    """Go from marker to marker, as an import does, up to the one that ends the stream."""
    at, last = header.overhead, -1
    if at > total:
        found.add(0, f"grains that begin at byte {at:,}, in a file of {total:,} bytes")
        return
    while not found.enough:
        marker = os.pread(fd, SECTOR, at)
        if len(marker) < SECTOR:
            # what qemu-img writes ends like this; whether something is missing is told by the tables
            found.add(at, "the file ends without a marker for the end of the stream", harmless=not marker)
            return
        address, length = MARKER.unpack_from(marker)
        if not length:
            at = _special(marker, at, total, header, found)
            if at:
                continue
            return
        grain = _Grain(address * SECTOR // header.grain, at, length)
        if length > header.grain + SECTOR - MARKER.size:
            found.add(at, f"a marker for {length:,} bytes of deflated data, more than a grain can have")
            return
        if grain.end > total:
            found.add(at, f"a grain that ends at {grain.end:,}, in a file of {total:,} bytes")
            return
        at = -(-grain.end // SECTOR) * SECTOR
        if address * SECTOR % header.grain or address * SECTOR >= header.capacity:
            found.add(grain.offset, f"a marker for sector {address:,} of the disk, where no grain begins")
        elif grain.number <= last:
            found.add(grain.offset, f"a grain for sector {address:,} of the disk behind one for a later sector, or the same")
        else:
            last = grain.number
            met[grain.number] = grain.offset // SECTOR
            yield grain


def _special(marker: bytes, at: int, total: int, header: Header, found: _Findings) -> int:
    """A marker that is no grain's, and what belongs to it: where the next one is, 0 where there is none."""
    sectors, _, kind = map(int, SPECIAL.unpack_from(marker))
    behind = at + SECTOR + sectors * SECTOR
    if any(marker[SPECIAL.size :]) or kind > KIND_FOOTER or (kind == KIND_END and sectors):
        found.add(at, f"no marker is like this one of kind {kind} with {sectors:,} sectors")
        return 0
    if kind == KIND_END:
        if behind < total:
            found.add(behind, f"{total - behind:,} bytes behind the end of the stream", harmless=True)
        return 0
    if behind > total:
        found.add(at, f"a marker for {sectors:,} sectors, in a file of {total:,} bytes")
        return 0
    if kind == KIND_DIRECTORY and at + SECTOR != header.directory:
        found.add(at, f"a grain directory; the header says that it is at byte {header.directory:,}")
    if kind == KIND_FOOTER and behind != total - SECTOR:
        found.add(at, "a footer that is not in the last sector but one, where readers look for it")
    return behind


def _pieces(grains: Iterator[_Grain]) -> Iterator[list[_Grain]]:
    piece: list[_Grain] = []
    for grain in grains:
        piece.append(grain)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


class _Decoder:
    """Reads grains and inflates them; called by many threads at once."""

    def __init__(self, fd: int, header: Header) -> None:
        self._fd, self._header = fd, header

    def __call__(self, grains: list[_Grain]) -> list[tuple[_Grain, bytes, list[Flaw]]]:
        """Each grain with its content, empty where that cannot be had, and its flaws."""
        return [(grain, *self._decode(grain)) for grain in grains]

    def _decode(self, grain: _Grain) -> tuple[bytes, list[Flaw]]:
        raw = os.pread(self._fd, -(-grain.end // SECTOR) * SECTOR - grain.offset, grain.offset)
        data, padding = memoryview(raw)[MARKER.size :][: grain.length], raw[grain.end - grain.offset :]
        try:
            content = bytes(deflate.zlib_decompress(data, self._header.grain))
        except deflate.DeflateError as e:
            return b"", [Flaw(grain.offset, f"a grain that cannot be inflated: {e}")]
        left = self._header.capacity - grain.number * self._header.grain
        if len(content) not in (self._header.grain, left):
            return b"", [Flaw(grain.offset, f"a grain of {len(content):,} bytes instead of {self._header.grain:,}")]
        flaws = []
        # an inflater stops where the data says so; its checksum then has to be the last that there is
        if int.from_bytes(data[-4:], "big") != deflate.adler32(content):
            flaws.append(Flaw(grain.offset, "a grain with more bytes than its deflated data"))
        if any(padding):
            flaws.append(Flaw(grain.end, "no zeros between a grain and the next sector"))
        return content, flaws


class _Disk:
    """The disk that comes out: its digests."""

    def __init__(self, size: int, sha256: bool, progress: Progress) -> None:
        self.size, self._at, self._told, self._progress = size, 0, 0, progress
        self.content = Content()
        self.plain = hashlib.sha256() if sha256 else None

    def add(self, offset: int, grain: bytes) -> bool:
        """The grain at `offset`, behind all those before it; whether it holds data where the disk has already ended."""
        inside = max(0, min(len(grain), self.size - offset))
        block = memoryview(grain)[:inside]
        if not _ZEROS.startswith(block):
            self.content.add(offset, block)
        self.fill(min(offset, self.size))
        if self.plain and inside:
            self.plain.update(block)
            self._at = offset + inside
            self._tell()
        return any(grain[inside:])

    def fill(self, end: int) -> None:
        """Zeros up to there."""
        while self.plain and self._at < end:
            piece = memoryview(_ZEROS)[: end - self._at]
            self.plain.update(piece)
            self._at += len(piece)
            self._tell()

    def _tell(self) -> None:
        """Zeros are hashed, too: of a large disk with little in it that is the long part."""
        if self._at - self._told >= 64 << 20:
            self._told = self._at
            self._progress(self._at, self.size, f"{files.human(self._at)} of the disk hashed")


def _compare(fd: int, header: Header, met: memoryview, path: Path, found: _Findings) -> None:
    """Hold the tables against what was met along the markers."""
    try:
        for n, (table, entries) in enumerate(vmdk.tables(fd, header, path)):
            first = n * header.table_entries
            walked = met[first : first + header.table_entries].tolist()
            listed = [0 if e == 1 else e for e in entries]  # both mean a grain of zeros
            if listed[: len(walked)] == walked:
                continue
            for k, (by_table, by_marker) in enumerate(zip(listed, walked, strict=False)):
                if by_table != by_marker and not found.enough:
                    sector = (first + k) * header.grain // SECTOR
                    told = f"at byte {by_table * SECTOR:,}" if by_table else "nowhere, so all zeros"
                    seen = f"at byte {by_marker * SECTOR:,}" if by_marker else "nowhere"
                    found.add(
                        table + 4 * k if table else header.directory + 4 * n,
                        f"the grain for sector {sector:,} of the disk is {told} by its table, {seen} by the markers",
                    )
    except BadInput as e:
        problem = e.problems[0]
        found.add(header.directory, f"{problem.expected} is not in the file: {problem.found}")
