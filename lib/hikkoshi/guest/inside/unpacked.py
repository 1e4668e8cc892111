"""A program: prints where a copy of a Linux kernel is that need not unpack itself; the kernel given, where there is none.

An emulated processor takes seconds to unpack a kernel; this one does it once, and keeps it. QEMU starts such a kernel where it
has the entry of PVH.

Sources: Linux, Documentation/arch/x86/boot.rst (`payload_offset`); Xen, docs/misc/pvh.pandoc (XEN_ELFNOTE_PHYS32_ENTRY).
"""

import contextlib
import hashlib
import lzma
import os
import re
import struct
import sys
import tempfile
import zlib
from pathlib import Path

_LARGEST = 1 << 29  # bytes of an unpacked kernel: 50 MB is usual
_ENTRY = re.compile(rb"\x04\0\0\0[\x04\x08]\0\0\0\x12\0\0\0Xen\0")  # the head of an ELF note of Xen's


def unpacked(kernel: bytes) -> bytes:
    """The ELF program in a bzImage of x86; `ValueError` where there is none, or QEMU could not start it."""
    if kernel[0x202:0x206] != b"HdrS":
        raise ValueError("no bzImage")
    start, size = struct.unpack_from("<II", kernel, 0x248)
    start += 512 * ((kernel[0x1F1] or 4) + 1)
    payload = kernel[start : start + size]
    try:
        decompressor = zlib.decompressobj(31) if payload.startswith(b"\x1f\x8b") else lzma.LZMADecompressor()
        program = decompressor.decompress(payload, _LARGEST)
    except (zlib.error, lzma.LZMAError) as e:
        raise ValueError(str(e)) from None
    if not decompressor.eof or not program.startswith(b"\x7fELF") or not _ENTRY.search(program):
        raise ValueError("no whole kernel with an entry of PVH")
    return program


def kept(kernel: Path, folder: Path) -> Path:
    """The unpacked copy in `folder`, made where it is not there yet; of other kernels none stays."""
    content = kernel.read_bytes()
    copy = folder / f"{hashlib.sha256(content).hexdigest()}.elf"
    if not copy.exists():
        program = unpacked(content)
        folder.mkdir(parents=True, exist_ok=True)
        others = [other for other in folder.glob("*.elf") if other != copy]  # which another process may have made by now
        with tempfile.TemporaryDirectory(dir=folder) as own:  # of which nothing stays where the disk is full
            (Path(own) / copy.name).write_bytes(program)
            (Path(own) / copy.name).replace(copy)
        for other in others:
            with contextlib.suppress(OSError):
                other.unlink()
    return copy


if __name__ == "__main__":
    try:
        found = kept(Path(sys.argv[1]), Path(os.environ["HIKKOSHI_KERNELS"]))
    except (OSError, ValueError, struct.error):
        found = Path(sys.argv[1])
    sys.stdout.write(f"{found}\n")
