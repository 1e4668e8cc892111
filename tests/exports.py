"""Exports of XenServer 6 and 7 and XCP-ng 8.3, byte by byte: a tar as they write it, with blocks and checksums in it."""

import ctypes
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

MIB = 1 << 20
Member = tuple[str, bytes]  # name, content


def member(name: str, content: bytes, kind: bytes = b"0", magic: bytes = b"ustar\x0000", size: bytes = b"") -> bytes:
    """One file of a tar: header, content, padding. `size`: what the header says of it, where that is another."""
    fields = (name.encode(), 100), (b"0000000", 8), (b"0000000", 8), (b"0000000", 8), (size or b"%011o" % len(content), 12)
    front = b"".join(value.ljust(width, b"\0") for value, width in fields) + b"%011o\0" % 0
    rest = (kind + bytes(100) + magic).ljust(512 - 156, b"\0")
    total = sum(front) + sum(rest) + 8 * ord(" ")
    return front + b"%06o\0 " % total + rest + content + bytes(-len(content) % 512)


def tar(members: Sequence[Member], **about: bytes) -> bytes:
    return b"".join(member(name, content, **about) for name, content in members) + bytes(1024)


def checksum(name: str, block: bytes, kind: str) -> Member:
    """What stands behind a block: SHA-1 as XenServer has it, or XXH64 as XCP-ng 8.3."""
    if kind == "checksum":
        return f"{name}.checksum", hashlib.sha1(block, usedforsecurity=False).hexdigest().encode()
    xxh64 = ctypes.CDLL("libxxhash.so.0").XXH64
    xxh64.restype, xxh64.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
    return f"{name}.xxhash", f"{xxh64(block, len(block), 0):016X}".encode()


def blocks(reference: str, disk: bytes, kind: str = "checksum", idle: Sequence[int] = ()) -> list[Member]:
    """A disk's blocks with their checksums. Before the blocks in `idle` the host had nothing to send for a while."""
    found, number = list[Member](), 0
    for at in range(0, len(disk), MIB):
        block = disk[at : at + MIB]
        if at // MIB in idle:
            found += [(name := f"{reference}/{number:08d}", b""), checksum(name, b"", kind)]
            number += 1
        if any(block) or at == 0 or at + MIB >= len(disk):
            found += [(name := f"{reference}/{number:08d}", block), checksum(name, block, kind)]
        number += 1
    return found


def ova(sizes: Mapping[str, object], more: str = "", **vm: str) -> str:
    """An ova.xml with nothing in it but the disks `{reference: size}`, the last of which is bootable; `more` objects."""

    def struct(**fields: object) -> str:
        inside = (f"<member><name>{name}</name>{value(said)}</member>" for name, said in fields.items())
        return f"<value><struct>{''.join(inside)}</struct></value>"

    def value(said: object) -> str:
        if isinstance(said, bool):
            return f"<value><boolean>{said:d}</boolean></value>"
        text = str(said)
        return text if text.startswith("<value>") else f"<value>{text}</value>"

    def thing(kind: str, reference: str, **fields: object) -> str:
        return struct(**{"class": kind, "id": reference, "snapshot": struct(**fields)})

    guest = {"name_label": "web", "power_state": "Halted", "is_a_snapshot": False, "memory_static_max": 1 << 30} | vm
    found = [thing("VM", "Ref:0", **guest, VCPUs_max="1", VCPUs_at_startup="1")]
    for n, (reference, size) in enumerate(sizes.items()):
        last = n == len(sizes) - 1
        found.append(
            thing("VBD", f"Ref:{100 + n}", VM="Ref:0", VDI=reference, userdevice=n, bootable=last, type="Disk", mode="RW")
        )
        found.append(thing("VDI", reference, virtual_size=size))
    version = struct(product_brand="XenServer", export_vsn="<value><i4>2</i4></value>")
    objects = f"<value><array><data>{''.join(found)}{more}</data></array></value>"
    return f"<?xml version='1.0'?>\n{struct(version=version, objects=objects)}\n"


def export(disks: Mapping[str, bytes], kind: str = "checksum", idle: Sequence[int] = ()) -> list[Member]:
    """All of an export of a guest with the disks `{reference: content}`."""
    first = ("ova.xml", ova({reference: len(disk) for reference, disk in disks.items()}).encode())
    return [first, *(one for reference, disk in disks.items() for one in blocks(reference, disk, kind, idle))]


def write(path: Path, text: str, disks: Mapping[str, Path]) -> None:
    """An export of large disks, of which one block at a time is in memory."""
    zeros = bytes(MIB)
    with path.open("wb") as f:
        f.write(member("ova.xml", text.encode()))
        for reference, disk in disks.items():
            last = -(-disk.stat().st_size // MIB) - 1
            with disk.open("rb") as raw:
                for number, block in enumerate(iter(partial(raw.read, MIB), b"")):
                    if number in (0, last) or block != zeros[: len(block)]:
                        name = f"{reference}/{number:08d}"
                        f.write(member(name, block) + member(*checksum(name, block, "checksum")))
        f.write(bytes(1024))
