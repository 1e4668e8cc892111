"""A program: prints where a copy of a Linux kernel is that need not unpack itself, or of the initrd of libguestfs' appliance one
with less to load; what was given, where there is none.

An emulated processor takes seconds to unpack a kernel, and as long to load modules, whose signatures it verifies; this one does
it once, and keeps it. QEMU starts such a kernel where it has the entry of PVH.

Sources: Linux, Documentation/arch/x86/boot.rst (`payload_offset`), Documentation/driver-api/early-userspace/buffer-format.rst,
include/linux/module_signature.h; Xen, docs/misc/pvh.pandoc (XEN_ELFNOTE_PHYS32_ENTRY); supermin, init/init.c.
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
_CPIO = b"070701"
_SIGNED = b"~Module signature appended~\n"
_FORCED = re.compile(r"^CONFIG_(?:MODULE_SIG_FORCE|LOCK_DOWN_KERNEL_FORCE_(?:INTEGRITY|CONFIDENTIALITY))=y$", re.MULTILINE)
_WITHOUT = re.compile(  # for what the appliance's machine has not got, or for what nobody asks of it
    "libnvdimm|nfit|nd_(?:btt|pmem|virtio)|failover|net_failover|crypto_engine|libata|ata_piix|fuse|virtiofs|crc_itu_t|crc[78]"
    "|libcrc32c|virtio_(?:pmem|net|crypto|blk|balloon|dma_buf|input|mem|mmio)"
)


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


def lean(initrd: bytes, configurations: Path = Path("/boot")) -> bytes:
    """supermin's initrd without the modules of `_WITHOUT`, unless others need them; without the signatures of the rest, where the
    kernel's configuration shows that it loads them all the same. `ValueError` where it is no such initrd."""
    entries: list[tuple[list[int], str, bytes]] = []
    at = 0
    while not entries or entries[-1][1] != "TRAILER!!!":
        if initrd[at : at + 6] != _CPIO:
            raise ValueError("no plain cpio archive")
        fields = [int(initrd[at + n : at + n + 8], 16) for n in range(6, 110, 8)]
        begin = at + 110 + fields[11] + -(110 + fields[11]) % 4
        entries.append((fields, initrd[at + 110 : at + 109 + fields[11]].decode(), initrd[begin : begin + fields[6]]))
        at = begin + fields[6] + -fields[6] % 4
    contents = {name: body for _, name, body in entries}
    modules = {_name(file): contents[file] for file in contents.get("modules", b"").decode().split()}
    if not modules or not all(body.startswith(b"\x7fELF") for body in modules.values()):
        raise ValueError("no plain modules")
    wanted = [name for name in modules if not _WITHOUT.fullmatch(name)]
    for name in wanted:  # grows
        wanted += [n for n in _told(modules[name], b"depends").split(",") if n in modules and n not in wanted]
    configuration = configurations / f"config-{_told(modules[wanted[0]], b'vermagic').split()[0]}"
    unsigned = configuration.exists() and not _FORCED.search(configuration.read_text())
    made = bytearray()
    for fields, name, body in entries:
        if name.endswith(".ko") and _name(name) not in wanted:
            continue
        if name == "modules":
            content = "".join(f"{file}\n" for file in body.decode().split() if _name(file) in wanted).encode()
        else:
            content = _unsigned(body) if unsigned else body
        head = _CPIO + b"".join(b"%08X" % n for n in [*fields[:6], len(content), *fields[7:]]) + name.encode() + b"\0"
        for part in (head, content):
            made += part + bytes(-len(part) % 4)
    return bytes(made)


def _name(file: str) -> str:
    """A module's name by that of its file."""
    return file[:-3].replace("-", "_")


def _told(module: bytes, key: bytes) -> str:
    """What a module's own table says."""
    found = re.search(rb"\0%s=([^\0]*)\0" % key, module)
    if found is None:
        raise ValueError(f"a module without {key!r}")
    return found[1].decode()


def _unsigned(module: bytes) -> bytes:
    if not module.endswith(_SIGNED):
        return module
    end = len(module) - len(_SIGNED) - 12
    _, _, _, signer, key, size = struct.unpack_from(">5B3xI", module, end)
    return module[: end - signer - key - size]


def kept(original: Path, folder: Path) -> Path:
    """The copy in `folder`, made where it is not there yet; of other kernels, or initrds, none stays."""
    content = original.read_bytes()
    suffix, make = (".cpio", lean) if content.startswith(_CPIO) else (".elf", unpacked)
    copy = folder / f"{hashlib.sha256(content).hexdigest()}{suffix}"
    if not copy.exists():
        made = make(content)
        folder.mkdir(parents=True, exist_ok=True)
        others = [other for other in folder.glob(f"*{suffix}") if other != copy]  # which another process may have made by now
        with tempfile.TemporaryDirectory(dir=folder) as own:  # of which nothing stays where the disk is full
            (Path(own) / copy.name).write_bytes(made)
            (Path(own) / copy.name).replace(copy)
        for other in others:
            with contextlib.suppress(OSError):
                other.unlink()
    return copy


if __name__ == "__main__":
    try:
        found = kept(Path(sys.argv[1]), Path(os.environ["HIKKOSHI_KERNELS"]))
    except (OSError, ValueError, KeyError, struct.error):
        found = Path(sys.argv[1])
    sys.stdout.write(f"{found}\n")
