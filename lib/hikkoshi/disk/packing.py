"""A disk's content, deflated grain by grain on all cores: what every form of VMDK stream is put together from.

A piece of the disk is read into a buffer that has been used before, each block behind its offset: just as the content digest
takes them, so that many are hashed by one call, and without a copy.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple

import deflate
from isal import isal_zlib

from hikkoshi.disk import workers
from hikkoshi.disk.digest import OFFSET
from hikkoshi.disk.extents import Source
from hikkoshi.disk.vmdk import MARKER, SECTOR

MIB = 1 << 20
GRAIN = 1 << 16  # bytes; 128 sectors, VMware's default
_PIECE = 2 << 20  # bytes of the disk that a thread takes at once
_ZEROS = bytes(GRAIN)
_PADDING = [bytes(n) for n in range(SECTOR)]
_RECORD = OFFSET.size + GRAIN  # bytes that a block takes in a buffer
# of random bytes 128 have 101 +- 5 different values, of a text 45, of a program 70
_LOOK, _VARIED = 128, 88
_SAMPLE = 1024  # bytes, four times in a grain
_STORED = b"\x78\x01", b"\0", b"\1"  # RFC 1950, 1951: zlib's header, a stored block, the last one
_MOST = 65535  # bytes of a stored block

Bytes = bytes | bytearray | memoryview
Level = Literal["fast", "small"]
_DEFLATE: dict[Level, Callable[[Bytes], bytes | bytearray]] = {
    "fast": lambda grain: isal_zlib.compress(grain, 2),
    "small": lambda grain: deflate.zlib_compress(grain, 3),
}


class Grain(NamedTuple):
    """A grain of the disk that is not all zeros, as it stands in a stream."""

    number: int
    sectors: int
    parts: tuple[Bytes, ...]  # marker, deflated data, padding


@dataclass(frozen=True)
class Packed:
    """A piece of the disk: its grains, ascending. Good until the next piece is asked for: then its buffer is used again."""

    grains: list[Grain]
    content: list[memoryview]  # the blocks that are not zeros, each behind its offset, see `hikkoshi.disk.digest`
    read: int  # bytes of the disk
    buffer: bytearray


def packed(source: Source, level: Level, threads: int) -> Generator[Packed, None, None]:
    """The disk from its beginning to its end. Closing the generator waits for what is in work, and drops the rest."""
    free: deque[bytearray] = deque()
    with closing(workers.in_order(_Packer(source, _DEFLATE[level], free), _pieces(source), threads)) as pieces:
        for piece in pieces:
            yield piece
            free.append(piece.buffer)


class _Packer:
    """Reads a piece of the disk and deflates its grains; called by many threads at once."""

    def __init__(self, source: Source, pack: Callable[[Bytes], bytes | bytearray], free: deque[bytearray]) -> None:
        self._source, self._pack, self._free = source, pack, free

    def __call__(self, ranges: list[tuple[int, int]]) -> Packed:
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = bytearray(_PIECE // GRAIN * _RECORD)
        view, at = memoryview(buffer), 0
        grains, content = [], list[memoryview]()
        begun = 0  # of the blocks that stand one behind the other, and are not zeros
        for start, end in ranges:
            blocks, places = [], range(start, end, GRAIN)
            for n, place in enumerate(places):
                begin = at + n * _RECORD + OFFSET.size
                blocks.append(view[begin : begin + min(GRAIN, end - place)])
            self._source.read_into(start, blocks)
            for place, block in zip(places, blocks, strict=True):
                behind = at + OFFSET.size + len(block)
                # one memcmp, without a copy of the grain
                if buffer.startswith(_ZEROS[: len(block)], at + OFFSET.size, behind):
                    content.append(view[begun:at])
                    begun = behind
                else:
                    OFFSET.pack_into(buffer, at, place)
                    grains.append(self._grain(place, block))
                at = behind
        content.append(view[begun:at])
        return Packed(grains, [c for c in content if c], sum(end - start for start, end in ranges), buffer)

    def _grain(self, place: int, block: memoryview) -> Grain:
        whole = block if len(block) == GRAIN else bytes(block).ljust(GRAIN, b"\0")
        data = _stored(whole) if _is_noise(whole) else (self._pack(whole),)
        size = sum(map(len, data))
        sectors = -(-(MARKER.size + size) // SECTOR)
        padding = _PADDING[sectors * SECTOR - MARKER.size - size]
        return Grain(place // GRAIN, sectors, (MARKER.pack(place // SECTOR, size), *data, padding))


def _is_noise(grain: Bytes) -> bool:
    """Whether it is not worth while to deflate a grain: told by a few bytes, and where these are varied by four samples."""
    if len(set(bytes(grain[:_LOOK]))) < _VARIED:
        return False
    sample = b"".join(grain[at : at + _SAMPLE] for at in range(0, GRAIN, GRAIN // 4))
    return len(isal_zlib.compress(sample, 1)) >= len(sample)


def _stored(grain: Bytes) -> Sequence[Bytes]:
    """A grain in zlib's wrapping, without a copy of it."""
    header, more, last = _STORED
    head = header + more + _length(_MOST)
    return head, grain[:_MOST], last + _length(GRAIN - _MOST), grain[_MOST:], isal_zlib.adler32(grain).to_bytes(4, "big")


def _length(n: int) -> bytes:
    return n.to_bytes(2, "little") + (n ^ 0xFFFF).to_bytes(2, "little")


def _pieces(source: Source) -> Iterator[list[tuple[int, int]]]:
    """The disk's extents, cut and put together to about as much as a thread should take at once."""
    piece: list[tuple[int, int]] = []
    room = _PIECE
    for start, end in source.extents():
        at = start
        while at < end:
            stop = min(end, at + room)
            piece.append((at, stop))
            room -= stop - at
            at = stop
            if room <= 0:
                yield piece
                piece, room = [], _PIECE
    if piece:
        yield piece
