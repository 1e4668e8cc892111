"""A disk's content, deflated grain by grain on all cores: what every form of VMDK stream is put together from."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import deflate
from isal import isal_zlib

from hikkoshi.disk import workers
from hikkoshi.disk.extents import Source
from hikkoshi.disk.vmdk import MARKER, SECTOR

MIB = 1 << 20
GRAIN = 1 << 16  # bytes; 128 sectors, VMware's default
_PIECE = 1 << 20  # bytes of the disk that a thread takes at once
_ZEROS = bytes(GRAIN)

Level = Literal["fast", "small"]
_DEFLATE: dict[Level, Callable[[bytes | memoryview], bytes | bytearray]] = {
    "fast": lambda grain: isal_zlib.compress(grain, 2),
    "small": lambda grain: deflate.zlib_compress(grain, 3),
}


@dataclass(frozen=True)
class Packed:
    """A piece of the disk with its grains deflated: markers, data and padding, ready to be written. No grain of zeros."""

    stream: bytes
    grains: list[tuple[int, int, memoryview]]  # (number, sectors of the stream, content without padding), ascending
    read: int  # bytes of the disk


def packed(source: Source, level: Level, threads: int) -> Generator[Packed, None, None]:
    """The disk from its beginning to its end. Closing the generator waits for what is in work, and drops the rest."""
    return workers.in_order(_Packer(source, _DEFLATE[level]), _pieces(source), threads)


class _Packer:
    """Reads a piece of the disk and deflates its grains; called by many threads at once."""

    def __init__(self, source: Source, pack: Callable[[bytes | memoryview], bytes | bytearray]) -> None:
        self._source, self._pack = source, pack

    def __call__(self, ranges: list[tuple[int, int]]) -> Packed:
        stream: list[bytes | bytearray] = []
        grains = []
        for start, end in ranges:
            data = self._source.read(start, end - start)
            view = memoryview(data)
            for offset in range(0, len(data), GRAIN):
                block = view[offset : offset + GRAIN]
                # one memcmp, without a copy of the grain
                if data.startswith(_ZEROS, offset) or (len(block) < GRAIN and block == _ZEROS[: len(block)]):
                    continue
                packed = self._pack(block if len(block) == GRAIN else bytes(block).ljust(GRAIN, b"\0"))
                at = start + offset
                length = MARKER.size + len(packed)
                padded = -(-length // SECTOR) * SECTOR
                stream += MARKER.pack(at // SECTOR, len(packed)), packed, bytes(padded - length)
                grains.append((at // GRAIN, padded // SECTOR, block))
        return Packed(b"".join(stream), grains, sum(end - start for start, end in ranges))


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
