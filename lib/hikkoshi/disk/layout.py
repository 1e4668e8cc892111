"""What stands around the grains of a VMDK stream: header, descriptor, directory and tables, in two orders.

`Front` is the layout of a file, as VMware's own writer has it (open-vmdk, `StreamOptimized_Create`): all tables before the
first grain. They are known at the end, so the file is written from the first grain on, and gets its front last.
`Trail` is the layout of a stream that nobody can go back in, as VMware's Virtual Disk Format 5.0 has it and ovftool exports
it: each table behind its grains, then the directory, and a footer that says where that is. No byte of it waits for the end.
"""

import hashlib
import sys
from array import array
from typing import BinaryIO

from hikkoshi.disk.packing import GRAIN
from hikkoshi.disk.vmdk import AT_END, COMPRESSED, HEADER, KIND_DIRECTORY, KIND_FOOTER, KIND_TABLE, MARKERS, SECTOR, SPECIAL
from hikkoshi.errors import BadInput, Problem

ENTRIES = 512  # of a grain table; VMware's library reads no other number
_DESCRIPTOR = 20  # sectors reserved for it
_TABLE = ENTRIES * 4 // SECTOR  # sectors
_OVERHEAD = 128  # sectors before the first grain of a `Trail`, as ovftool has it
_NEWLINES = b"\n \r\n"  # a transfer as text would change them

END = bytes(SECTOR)  # the marker of kind 0: end of stream


class Front:
    """Everything before the grains, for a file: its size is known at the beginning, its content at the end."""

    def __init__(self, capacity: int, name: str) -> None:
        self.capacity, self.name = capacity, name
        self._tables = -(-capacity // (GRAIN * ENTRIES))
        self._directory = 1 + _DESCRIPTOR
        self._first = self._directory + -(-4 * self._tables // SECTOR)
        self.sectors = self._first + self._tables * _TABLE
        self._number, self._table = 0, array("I", bytes(4 * ENTRIES))  # the table in work
        _descriptor(capacity, name, "0" * 64)

    def place(self, f: BinaryIO, grain: int, sector: int) -> None:
        """Note where a grain begins in the stream. Tables without a grain are never written: they stay a hole in the file."""
        number, entry = divmod(grain, ENTRIES)
        if number != self._number:
            end = f.tell()
            self._end_table(f)
            f.seek(end)
            self._number, self._table = number, array("I", bytes(4 * ENTRIES))
        self._table[entry] = sector

    def _end_table(self, f: BinaryIO) -> None:
        f.seek((self._first + self._number * _TABLE) * SECTOR)
        f.write(_little(self._table))

    def write(self, f: BinaryIO, content: str) -> None:
        """Write descriptor and directory, and the header when they are out. `content` is the disk's content digest."""
        self._end_table(f)
        f.seek(SECTOR)
        f.write(_descriptor(self.capacity, self.name, content))
        directory = _little(array("I", range(self._first, self._first + self._tables * _TABLE, _TABLE)))
        f.write(directory.ljust((self._first - self._directory) * SECTOR, b"\0"))
        f.flush()
        f.seek(0)
        f.write(_header(self.capacity, self._directory, self.sectors))


class Trail:
    """Everything around the grains, for a stream: `head`, what `before` each grain gives, and `tail`."""

    sectors: int
    """Of the stream so far."""

    def __init__(self, capacity: int, name: str) -> None:
        self.capacity = capacity
        # the content is not known yet; what identifies the disk only has to be the same for the same disk
        identity = hashlib.sha256(f"{name}\n{capacity}".encode()).hexdigest()
        self.head = _header(capacity, AT_END, _OVERHEAD) + _descriptor(capacity, name, identity)
        self.head = self.head.ljust(_OVERHEAD * SECTOR, b"\0")
        self.sectors = _OVERHEAD
        self._directory = array("I", bytes(4 * -(-capacity // (GRAIN * ENTRIES))))
        self._number, self._table = 0, array("I")  # the table in work; empty before its first grain

    def before(self, grain: int, sectors: int) -> bytes:
        """What goes into the stream before this grain, which takes so many sectors of it: mostly nothing."""
        number, entry = divmod(grain, ENTRIES)
        ended = self._ended() if self._table and number != self._number else b""
        if not self._table:
            self._number, self._table = number, array("I", bytes(4 * ENTRIES))
        self._table[entry] = self.sectors
        self.sectors += sectors
        return ended

    def tail(self) -> bytes:
        """What goes into the stream behind the last grain, to its end."""
        ended = self._ended() if self._table else b""
        directory = _little(self._directory)
        sectors = -(-len(directory) // SECTOR)
        header = _header(self.capacity, self.sectors + 1, _OVERHEAD)
        return b"".join(
            (
                ended,
                _marker(sectors, KIND_DIRECTORY),
                directory.ljust(sectors * SECTOR, b"\0"),
                _marker(1, KIND_FOOTER),
                header,
                END,
            )
        )

    def _ended(self) -> bytes:
        """The table in work with its marker, entered into the directory."""
        self._directory[self._number] = self.sectors + 1
        self.sectors += 1 + _TABLE
        table, self._table = _little(self._table), array("I")
        return _marker(_TABLE, KIND_TABLE) + table


def _marker(sectors: int, kind: int) -> bytes:
    return SPECIAL.pack(sectors, 0, kind).ljust(SECTOR, b"\0")


def _little(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _header(capacity: int, directory: int, overhead: int) -> bytes:
    return HEADER.pack(
        b"KDMV",
        3,  # as VMware writes it, whatever the specification says; ESXi refuses 1
        1 | COMPRESSED | MARKERS,  # 1: the four newline characters are there
        capacity // SECTOR,
        GRAIN // SECTOR,
        1,
        _DESCRIPTOR,
        ENTRIES,
        0,  # no second grain directory
        directory,
        overhead,
        0,  # shut down cleanly
        _NEWLINES,
        1,  # deflate, in zlib's wrapping
    )


def _descriptor(capacity: int, name: str, identity: str) -> bytes:
    """The descriptor in its 20 sectors; `identity` is 64 hexadecimal digits. `BadInput` where the name makes it too long."""
    sectors = capacity // SECTOR
    cylinders = min(65535, -(-sectors // (255 * 63)))
    cid = int(identity[:8], 16) & 0x7FFFFFFF  # ffffffff and fffffffe have a meaning of their own
    text = "\n".join(
        (
            "# Disk DescriptorFile",
            "version=1",
            'encoding="UTF-8"',
            f"CID={cid:08x}",
            "parentCID=ffffffff",
            'createType="streamOptimized"',
            "",
            "# Extent description",
            f'RW {sectors} SPARSE "{name}"',
            "",
            "# The Disk Data Base",
            "#DDB",
            "",
            f'ddb.longContentID = "{identity[8:32]}{cid:08x}"',
            'ddb.virtualHWVersion = "10"',
            f'ddb.geometry.cylinders = "{cylinders}"',
            'ddb.geometry.heads = "255"',
            'ddb.geometry.sectors = "63"',
            'ddb.adapterType = "lsilogic"',
            'ddb.toolsInstallType = "4"',
            'ddb.toolsVersion = "2147483647"',  # not known, and not to be managed by vSphere
            "",
        )
    ).encode()
    if len(text) > _DESCRIPTOR * SECTOR:
        raise BadInput(
            Problem(
                code="vmdk-name-too-long",
                what="the VMDK's name is too long",
                where=name,
                found=f"{len(name)} characters",
                expected="a short one",
                remedy="choose another",
            )
        )
    return text.ljust(_DESCRIPTOR * SECTOR, b"\0")
