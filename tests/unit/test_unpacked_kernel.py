"""The appliance's kernel unpacked, and its initrd made smaller, once where each start would have to emulate that."""

import gzip
import lzma
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hikkoshi import tool
from hikkoshi.guest.inside import unpacked
from hikkoshi.rehearsal.machine import PROCESSORS

PROGRAM = b"\x7fELF" + bytes(4000) + struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", 0x1000000) + b"code" * 1000


def image(payload: bytes, sectors: int = 27) -> bytes:
    """A bzImage with a payload behind its set-up code, and a signature at the end as Debian's has one."""
    head = bytearray(512 * (sectors + 1 if sectors else 5))
    head[0x1F1] = sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 64, len(payload) + 4)
    return bytes(head) + bytes(64) + payload + struct.pack("<I", len(PROGRAM)) + b"signature"


def xz(data: bytes) -> bytes:
    return lzma.compress(data, check=lzma.CHECK_CRC32)


@pytest.mark.parametrize("pack", [gzip.compress, xz, lambda data: lzma.compress(data, lzma.FORMAT_ALONE)])
@pytest.mark.parametrize("sectors", [0, 4, 39])
def test_what_is_packed_comes_out(pack: Callable[[bytes], bytes], sectors: int) -> None:
    assert unpacked.unpacked(image(pack(PROGRAM), sectors)) == PROGRAM


@pytest.mark.parametrize(
    "kernel",
    [
        b"",
        b"MZ" + bytes(5000),
        image(b"\x02\x21\x4c\x18" + PROGRAM),  # lz4
        image(b"\x28\xb5\x2f\xfd" + PROGRAM),  # zstd
        image(xz(os.urandom(9000)))[:20000],
        image(xz(PROGRAM)[:-20]),
        image(xz(b"\x7fELF without an entry")),
        image(gzip.compress(PROGRAM[1:])),
    ],
    ids=["empty", "short", "lz4", "zstd", "cut", "cut-xz", "no-entry", "no-elf"],
)
def test_a_kernel_that_qemu_could_not_start_unpacked_is_started_as_it_is(tmp_path: Path, kernel: bytes) -> None:
    (tmp_path / "kernel").write_bytes(kernel)
    with pytest.raises((ValueError, struct.error)):
        unpacked.unpacked(kernel)
    assert told(tmp_path / "kernel", tmp_path / "kept") == str(tmp_path / "kernel")


def told(kernel: Path, folder: Path) -> str:
    env = os.environ | {"HIKKOSHI_KERNELS": str(folder)}
    return subprocess.run(
        [sys.executable, "-I", unpacked.__file__, kernel], env=env, capture_output=True, text=True, check=True
    ).stdout.rstrip("\n")


def test_one_copy_is_kept_and_another_kernel_takes_its_place(tmp_path: Path) -> None:
    kernel, folder = tmp_path / "kernel", tmp_path / "kept"
    kernel.write_bytes(image(gzip.compress(PROGRAM)))
    first = unpacked.kept(kernel, folder)
    assert first.read_bytes() == PROGRAM
    inode = first.stat().st_ino
    assert unpacked.kept(kernel, folder).stat().st_ino == inode
    kernel.write_bytes(image(xz(PROGRAM)))
    second = unpacked.kept(kernel, folder)
    assert list(folder.iterdir()) == [second]


def test_where_no_copy_can_be_kept_the_kernel_is_started_as_it_is(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(image(gzip.compress(PROGRAM)))
    assert told(kernel, Path("/proc/no/folder")) == str(kernel)


@pytest.mark.parametrize(("machine", "given"), [("accel=tcg", True), ("accel=kvm:tcg", False)])
def test_the_hypervisor_gets_it_and_a_quick_processor_where_it_has_to_emulate(tmp_path: Path, machine: str, given: bool) -> None:
    kernel = tmp_path / "a kernel"
    kernel.write_bytes(image(gzip.compress(PROGRAM)))
    env = os.environ | tool.guestfs_environment() | {"HIKKOSHI_HV": "/bin/echo", "HIKKOSHI_KERNELS": str(tmp_path / "kept")}
    argv = [tool.SANDBOXED_QEMU, "-machine", machine, "-cpu", "max,la57=off", "-kernel", kernel, "-append", "panic=1 x", ""]
    printed = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.rstrip("\n")
    sandbox, _, rest = printed.partition("spawn=deny,resourcecontrol=deny ")
    assert sandbox.startswith("-sandbox on")
    copies = list((tmp_path / "kept").glob("*"))
    cpu = PROCESSORS["tcg" if given else "kvm"]
    more = " udev.children_max=1 mitigations=off norandmaps modprobe.blacklist=ata_piix" if given else ""
    assert rest == f"-machine {machine} -cpu {cpu} -kernel {copies[0] if given else kernel} -append panic=1 x{more} "


def module(name: str, needs: str = "", code: bytes = b"") -> tuple[str, bytes]:
    return f"{name}.ko", b"\x7fELF" + code + f"\0license=GPL\0depends={needs}\0vermagic=6.1.0 SMP \0".encode() + b"end"


def signed(content: bytes) -> bytes:
    signature = b"pkcs7" * 20
    told = struct.pack(">5B3xI", 0, 0, 2, 0, 0, len(signature))
    return content + signature + told + b"~Module signature appended~\n"


def archive(folder: Path, files: dict[str, bytes]) -> bytes:
    """As cpio makes it."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    told = "\n".join(files).encode()
    return subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=folder, input=told, capture_output=True, check=True).stdout


def extracted(archive: bytes, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(["cpio", "-i", "--quiet"], cwd=folder, input=archive, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.needs("cpio")
@pytest.mark.parametrize(
    ("configuration", "unsigned"),
    [("CONFIG_MODULE_SIG=y\n", True), ("CONFIG_MODULE_SIG_FORCE=y\n", False), (None, False)],
    ids=["ordinary", "signatures forced", "not known"],
)
def test_the_initrd_loses_modules_that_nobody_needs_and_signatures_that_nobody_asks_for(
    tmp_path: Path, configuration: str | None, unsigned: bool
) -> None:
    if configuration is not None:
        (tmp_path / "config-6.1.0").write_text(configuration)
    known = [module("crc7"), module("libcrc32c"), module("virtio"), module("virtio-scsi", "virtio"), module("ext4", "libcrc32c")]
    plain = dict(known)
    files = {"init": b"#!init", "modules": "".join(f"{name}\n" for name in plain).encode()}
    files |= {name: signed(content) for name, content in plain.items()}
    (tmp_path / "in").mkdir()
    made = extracted(unpacked.lean(archive(tmp_path / "in", files), tmp_path), tmp_path / "out")
    kept = ["libcrc32c.ko", "virtio.ko", "virtio-scsi.ko", "ext4.ko"]  # ext4 needs libcrc32c
    expected = {name: plain[name] if unsigned else files[name] for name in kept}
    assert made == {"init": b"#!init", "modules": "".join(f"{name}\n" for name in kept).encode(), **expected}


@pytest.mark.needs("cpio")
@pytest.mark.parametrize("files", [{"init": b"#!init"}, {"modules": b"a.ko\n", "a.ko": b"\xfd7zXZ"}, {"modules": b"a.ko\n"}])
def test_another_initrd_is_started_with_as_it_is(tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "in").mkdir()
    initrd = tmp_path / "initrd"
    for content in (archive(tmp_path / "in", files), archive(tmp_path / "in", files)[:-600]):
        initrd.write_bytes(content)
        assert told(initrd, tmp_path / "kept") == str(initrd)
