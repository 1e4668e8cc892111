"""Reading a sparse VMDK as vSphere's import will: header, embedded descriptor, tables, last grain.

Layout after VMware's Virtual Disk Format 5.0 and what its own writer (open-vmdk) does; both ways of placing the grain
directory are read: up front, and at the end behind a footer. Sectors are 512 bytes, all numbers little endian.
"""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hikkoshi.check import Check
from hikkoshi.disk import source
from hikkoshi.errors import BadInput, Problem
from hikkoshi.run.step import CONVERT

SECTOR = 512
COMPRESSED = 1 << 16  # header flag: grains are deflated
MARKERS = 1 << 17  # header flag: every grain is preceded by its address and length
AT_END = (1 << 64) - 1  # the grain directory's sector where a footer gives the real one
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
MARKER = struct.Struct("<QI")  # first sector of the disk that the grain holds, length of the deflated data
SPECIAL = struct.Struct("<QII")  # a marker that is no grain's: sectors that follow, 0, kind
KIND_END, KIND_TABLE, KIND_DIRECTORY, KIND_FOOTER = range(4)
_LARGEST = 1 << 27  # grains: a disk of 8 TiB in grains of 64 KiB
_DESCRIPTOR = 1 << 20  # bytes: VMware reserves 10 KiB
_REMEDY = (
    f"if {CONVERT} made it: run that again; if it is the same again, keep the file and report it. Of another maker's disk make a "
    "stream: hikkoshi convert DISK NAME.vmdk"
)


@dataclass(frozen=True)
class Header:
    """What the first sector and the descriptor say; all sizes and places in bytes."""

    version: int
    flags: int
    capacity: int
    grain: int
    table_entries: int
    directory: int  # where the grain directory begins
    overhead: int  # where, by the first sector, grains begin
    compression: int  # 1: deflate
    newlines: bytes  # the four bytes that show whether a transfer as text damaged the file
    descriptor: dict[str, str]

    @property
    def stream(self) -> bool:
        """Whether grains are deflated and have markers, as an import needs it."""
        return self.flags & (COMPRESSED | MARKERS) == COMPRESSED | MARKERS and self.compression == 1


def read(path: Path) -> Header:
    """Parse a sparse VMDK; `BadInput` where it is none, or is shorter than its own header says."""
    try:
        with path.open("rb") as f:
            return _header(f.fileno(), path)
    except OSError as e:
        raise _bad(path, e.strerror or str(e), "a VMDK that can be read") from None


def self_contained(path: Path) -> None:
    """`BadInput` where a program that opens the file as a VMDK would open another one too.

    QEMU takes a sparse VMDK without a capacity for a mere descriptor, whose extents are files; and a parent's name from
    anywhere in the 10 KiB behind the first sector, whatever the header says about where the descriptor is (7.2,
    block/vmdk.c, vmdk_open_vmdk4 and vmdk_parent_open).
    """
    try:
        with path.open("rb") as f:
            first, header = _fields(f.fileno(), 0, path), _header(f.fileno(), path)
            text = os.pread(f.fileno(), 20 * SECTOR, SECTOR)
    except OSError as e:
        raise _bad(path, e.strerror or str(e), "a VMDK that can be read") from None
    if not first[3] or not header.capacity:
        raise _bad(path, "a capacity of 0, so that its descriptor would name the disk's files", "all of the disk in the file")
    parent = header.descriptor.get("parentCID", "ffffffff").lower()
    if b"parentfilenamehint" in text.lower() or parent != "ffffffff":
        raise _bad(path, "the name of a parent, which would be read too", "all of the disk in the file")


def descriptor(text: str) -> dict[str, str]:
    """`{key: value}` of the descriptor's lines `key=value`, quotes taken off; the extent's line under the key `extent`."""
    found = {}
    for line in text.splitlines():
        if m := re.match(r'\s*([A-Za-z0-9._]+)\s*=\s*"?([^"]*?)"?\s*$', line):
            found[m[1]] = m[2]
        elif re.match(r"\s*(RW|RDONLY|NOACCESS)\s", line):
            found["extent"] = line.strip()
    return found


def used(path: Path) -> int:
    """End of the last grain in bytes: a shorter file was cut off. `BadInput` where tables and grains contradict each other."""
    try:
        with path.open("rb") as f:
            header = _header(f.fileno(), path)
            return _end_of_grains(f.fileno(), header, path)
    except OSError as e:
        raise _bad(path, e.strerror or str(e), "a VMDK that can be read") from None


def check_stream(path: Path, capacity: int) -> list[Check]:
    """Whether vSphere's import can take the file as a disk of `capacity` bytes. A missing or broken file is one red check."""
    check = partial(Check, remedy=_REMEDY, where=str(path))
    try:
        header = read(path)
    except BadInput as e:
        p = e.problems[0]
        return [check(code="vmdk-sparse", title="the VMDK is a sparse VMDK", ok=False, found=p.found, expected=p.expected)]
    try:
        end, size = used(path), path.stat().st_size
        ok, found, expected = size >= end, f"{size:,} bytes, the last grain ends at {end:,}", "nothing cut off"
    except BadInput as e:
        ok, found, expected = False, e.problems[0].found, e.problems[0].expected
    kind, adapter = header.descriptor.get("createType", "none"), header.descriptor.get("ddb.adapterType", "none")
    return [
        check(
            code="vmdk-version",
            title="the VMDK's version is one that ESXi takes",
            ok=header.version == 3,
            found=str(header.version),
            expected="3",
        ),
        check(
            code="vmdk-stream",
            title="the VMDK is a stream",
            ok=header.stream,
            found=f"flags {header.flags:#x}, compression {header.compression}",
            expected="deflated grains",
        ),
        check(
            code="vmdk-named-stream",
            title="the VMDK calls itself a stream",
            ok=kind == "streamOptimized",
            found=kind,
            expected="streamOptimized",
        ),
        check(
            code="vmdk-adapter",
            title="the VMDK names a SCSI adapter",
            ok=adapter == "lsilogic",
            found=adapter,
            expected="lsilogic",
        ),
        check(
            code="vmdk-capacity",
            title="the VMDK has the planned capacity",
            ok=header.capacity == capacity,
            found=f"{header.capacity:,} bytes",
            expected=f"{capacity:,} bytes",
        ),
        check(
            code="vmdk-whole-grains",
            title="the capacity is whole grains",
            ok=header.capacity % header.grain == 0,
            found=f"grain {header.grain:,} bytes",
            expected="no rest",
        ),
        check(
            code="vmdk-grain-tables",
            title="the grain tables have VMware's size",
            ok=header.table_entries == 512,
            found=str(header.table_entries),
            expected="512 entries",
        ),
        check(
            code="vmdk-newlines",
            title="no transfer as text has damaged the file",
            ok=header.newlines == b"\n \r\n",
            found=repr(header.newlines),
            expected=repr(b"\n \r\n"),
        ),
        check(code="vmdk-whole", title="the VMDK is whole", ok=ok, found=found, expected=expected),
    ]


def _fields(fd: int, offset: int, path: Path) -> tuple[Any, ...]:
    raw = os.pread(fd, SECTOR, offset)
    if offset == 0 and raw and raw[:4] != b"KDMV":
        raise _other(fd, raw, path)
    if len(raw) < SECTOR or raw[:4] != b"KDMV":
        found = "an empty file" if not raw else f"{len(raw)} bytes beginning with {raw[:4]!r}"
        raise _bad(path, found, "512 bytes beginning with b'KDMV'")
    return HEADER.unpack(raw)


def _other(fd: int, raw: bytes, path: Path) -> BadInput:
    """What a file is that is no sparse VMDK: told by name, for its own maker would call it a VMDK."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, source.HEAD, 0)
    name = source.foreign(head, os.pread(fd, SECTOR, max(0, size - SECTOR)))
    if name == "VMDK descriptor":
        text = head.split(b"\0", 1)[0].decode("utf-8", errors="replace")
        extents = re.findall(r'^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)(?:\s+"([^"]*)")?', text, re.M)
        return _bad(
            path,
            f"a descriptor only, of type {descriptor(text).get('createType', 'none')}; the disk is in "
            + (", ".join(file for _, file in extents if file) or "no file"),
            "a sparse VMDK, with its descriptor inside; ESXi's import takes no flat or split one",
            code="vmdk-descriptor-only",
            what="this is a VMDK's descriptor only, no sparse VMDK",
        )
    boots = raw[510:512] == b"\x55\xaa"
    told = (
        f"a header of {name}"
        if name
        else "a raw disk, or the extent of a flat VMDK"
        if boots
        else f"{len(raw)} bytes beginning with {raw[:4]!r}"
    )
    return _bad(path, told, "512 bytes beginning with b'KDMV'")


def _header(fd: int, path: Path) -> Header:
    fields = _fields(fd, 0, path)
    size = os.fstat(fd).st_size
    if fields[9] == AT_END:
        fields = _fields(fd, max(0, size - 2 * SECTOR), path)  # the last two sectors: footer, end-of-stream marker
    _, version, flags, capacity, grain, start, length, entries, _, directory, overhead, _, newlines, compression = fields
    if not 1 <= grain <= 128 or not 1 <= entries <= 1 << 16 or capacity > _LARGEST * grain:
        raise _bad(path, f"capacity {capacity} and grain {grain} sectors, {entries} entries a table", "sizes that VMware uses")
    if not 0 < length * SECTOR <= _DESCRIPTOR or (start + length) * SECTOR > size:
        raise _bad(path, f"{size:,} bytes", f"a descriptor of {length} sectors at sector {start}, and grains behind it")
    text = os.pread(fd, length * SECTOR, start * SECTOR).split(b"\0", 1)[0]
    return Header(
        version=version,
        flags=flags,
        capacity=capacity * SECTOR,
        grain=grain * SECTOR,
        table_entries=entries,
        directory=directory * SECTOR,
        overhead=overhead * SECTOR,
        compression=compression,
        newlines=newlines,
        descriptor=descriptor(text.decode("utf-8", errors="replace")),
    )


def tables(fd: int, header: Header, path: Path) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Each grain table: the byte where it begins, 0 where there is none, and its entries, the sectors of the grains in order.

    A grain of zeros has entry 0 or 1. `BadInput` where directory or table are not in the file.
    """
    grains = -(-header.capacity // header.grain)
    for table in _numbers(fd, header.directory, -(-grains // header.table_entries), path):
        if table == 0:  # no table: nothing but zeros there
            yield 0, (0,) * header.table_entries
        else:
            yield table * SECTOR, _numbers(fd, table * SECTOR, header.table_entries, path)


def _end_of_grains(fd: int, header: Header, path: Path) -> int:
    """Follow directory and tables to the grain that lies last, and its marker to where it ends."""
    size = os.fstat(fd).st_size
    last, number, end = 0, 0, 0
    for n, (table, entries) in enumerate(tables(fd, header, path)):
        if table == 0:
            continue
        end = max(end, table + 4 * header.table_entries)
        highest = max(entries)
        if highest > max(last, 1):  # 0 and 1 both mean a grain of zeros
            last, number = highest, n * header.table_entries + entries.index(highest)
    if last == 0:
        return end
    if not header.stream:
        return max(end, last * SECTOR + header.grain)
    marker = os.pread(fd, MARKER.size, last * SECTOR)
    if len(marker) < MARKER.size:
        raise _bad(path, f"{size:,} bytes", f"a grain at byte {last * SECTOR:,}")
    address, length = map(int, MARKER.unpack(marker))
    if address * SECTOR != number * header.grain or not length:
        raise _bad(path, f"a grain for sector {address} at byte {last * SECTOR:,}", f"sector {number * header.grain // SECTOR}")
    return max(end, last * SECTOR + MARKER.size + length)


def _numbers(fd: int, offset: int, count: int, path: Path) -> tuple[int, ...]:
    size = os.fstat(fd).st_size
    if offset + 4 * count > size:
        raise _bad(path, f"{size:,} bytes", f"a table of {count} entries at byte {offset:,}")
    return struct.unpack(f"<{count}I", os.pread(fd, 4 * count, offset))


def _bad(path: Path, found: str, expected: str, *, code: str = "vmdk-unusable", what: str = "this is no usable VMDK") -> BadInput:
    return BadInput(Problem(code=code, what=what, where=str(path), found=found, expected=expected, remedy=_REMEDY))
