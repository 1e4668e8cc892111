"""A whole disk put together from the images of single partitions, with a partition table in front.

Xen can give a guest partitions without a disk around them (`xvda1` is root.img, `xvda2` is swap.img); vSphere has disks
only. Table: Unified Extensible Firmware Interface Specification 2.10, section 5.2.1, Legacy Master Boot Record. Types as in
util-linux, include/pt-mbr-partnames.h. The boot loader is not made here: its place, the first 440 bytes and what follows the
table up to 1 MiB, is zeros, and the guest's preparation installs it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from hikkoshi.disk import source
from hikkoshi.disk.extents import BLOCK, Source
from hikkoshi.disk.source import SECTOR
from hikkoshi.errors import BadInput, Problem

_ALIGNMENT = 1 << 20  # bytes
_LARGEST = 2 << 40  # bytes: the table counts sectors in 32 bits
_PAGE = 4096  # bytes: all that types and the disk's signature are taken from
# cylinder, head and sector that send a reader to the sector numbers; also tells of 255 heads, 63 sectors
_LBA = b"\xfe\xff\xff"
_LINUX, _SWAP, _LVM = 0x83, 0x82, 0x8E


class AssembledDisk(Source):
    """A disk as a `Source`: the partitions, each with its number in the table from 1 to 4, in the order of their numbers.

    Each begins at a multiple of 1 MiB, the first one at 1 MiB; the disk ends with the last one. The first one that is not swap
    is marked active. The same partitions give the same disk: its signature comes from their sizes and first pages. They
    stay the caller's, who closes them.

    `BadInput` with all that is wrong with them.
    """

    def __init__(self, partitions: Sequence[tuple[int, Source]]) -> None:
        parts = sorted(partitions, key=lambda p: p[0])
        self.name = ", ".join(f"{number}: {part.name}" for number, part in parts)
        heads = [part.read(0, min(_PAGE, part.size)) for _, part in parts]
        self._parts: list[tuple[int, Source]] = []  # (first byte on the disk, content)
        self.size = 0
        for _, part in parts:
            begin = max(1, -(-self.size // _ALIGNMENT)) * _ALIGNMENT
            self._parts.append((begin, part))
            self.size = begin + part.size
        if problems := [*_problems(parts, heads, self.size)]:
            raise BadInput(*problems)
        self._front = _table([number for number, _ in parts], self._parts, heads)

    def extents(self) -> Iterator[tuple[int, int]]:
        """As in `Source`: the first block, and what the partitions say of themselves."""
        begun, ended = 0, BLOCK
        for begin, part in self._parts:
            for start, end in part.extents():
                if begin + start > ended:
                    yield begun, ended
                    begun = begin + start
                ended = min(self.size, -(-(begin + end) // BLOCK) * BLOCK)  # a part may end inside a block
        yield begun, ended

    def read(self, offset: int, length: int) -> bytes:
        """As in `Source`; zeros where no partition is."""
        out, stop = bytearray(length), offset + length
        front = self._front[offset:stop]
        out[: len(front)] = front
        for begin, part in self._parts:
            start, end = max(offset, begin), min(stop, begin + part.size)
            if start < end:
                out[start - offset : end - offset] = part.read(start - begin, end - start)
        return bytes(out)

    def unchanged(self) -> None:
        """As in `Source`; asks every partition."""
        for _, part in self._parts:
            part.unchanged()


def _table(numbers: Sequence[int], parts: Sequence[tuple[int, Source]], heads: Sequence[bytes]) -> bytes:
    """The first sector: signature, entries, and the two bytes that make it a Master Boot Record."""
    sector, content, active = bytearray(SECTOR), hashlib.sha256(), True
    for number, (begin, part), head in zip(numbers, parts, heads, strict=True):
        content.update(b"".join(n.to_bytes(8, "little") for n in (number, part.size)) + head)
        kind = _kind(head)
        mark = 0x80 if active and kind != _SWAP else 0
        active = active and not mark
        place = b"".join((n // SECTOR).to_bytes(4, "little") for n in (begin, part.size))
        at = 446 + 16 * (number - 1)
        sector[at : at + 16] = bytes([mark]) + _LBA + bytes([kind]) + _LBA + place
    sector[440:444] = content.digest()[:4]
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def _kind(head: bytes) -> int:
    """A partition's type by its content: swap after Linux, include/linux/swap.h; LVM after lvm2, lib/label/label.h."""
    if head[_PAGE - 10 : _PAGE] in (b"SWAPSPACE2", b"SWAP-SPACE"):
        return _SWAP
    if any(head[at : at + 8] == b"LABELONE" for at in range(0, 4 * SECTOR, SECTOR)):
        return _LVM
    return _LINUX


def _problems(parts: Sequence[tuple[int, Source]], heads: Sequence[bytes], size: int) -> Iterator[Problem]:
    """All that keeps these partitions from being one disk of `size` bytes."""
    xen = "see which images the guest's Xen configuration names, and as what"
    if not parts:
        yield Problem(
            code="no-partitions",
            what="there is no partition to make a disk of",
            where="",
            found="none",
            expected="1 to 4",
            remedy=xen,
        )
    for number, times in Counter(number for number, _ in parts).items():
        names = ", ".join(part.name for n, part in parts if n == number)
        if not 1 <= number <= 4:
            yield Problem(
                code="partition-number-unusable",
                what="a partition has no place in the table",
                where=names,
                found=f"number {number}",
                expected="1, 2, 3 or 4",
                remedy="a table has four entries: put the file systems onto fewer partitions before the guest moves",
            )
        if times > 1:
            yield Problem(
                code="partition-number-twice",
                what="partitions have the same number",
                where=names,
                found=f"{times} times {number}",
                expected="each once",
                remedy=xen,
            )
    for (_, part), head in zip(parts, heads, strict=True):
        if part.size == 0 or part.size % SECTOR:
            yield Problem(
                code="partition-cut-off",
                what="a partition is empty or cut off",
                where=part.name,
                found=f"{part.size:,} bytes",
                expected="a multiple of 512 bytes, and more than none",
                remedy=xen,
            )
        if (table := source.table(head)) != "none":
            yield Problem(
                code="partition-divided",
                what="a partition is divided itself",
                where=part.name,
                found=f"a partition table of its own ({table})",
                expected="a file system, swap or LVM",
                remedy=f"this is a whole disk: move it as such, not as a partition; {xen}",
            )
    if size > _LARGEST:
        yield Problem(
            code="partition-table-overflow",
            what="the disk is too large for its table",
            where=", ".join(part.name for _, part in parts),
            found=f"{size:,} bytes",
            expected=f"at most {_LARGEST:,}",
            remedy="give the guest several disks: move some of the partitions as disks of their own",
        )
