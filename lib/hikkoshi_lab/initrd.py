"""Initial RAM disks: a gzipped newc archive of an init, a shell and modules, as EL5's mkinitrd lays them out."""

import io
import re
import zlib
from collections.abc import Iterable, Mapping

Modules = Mapping[str, bytes]
"""Modules by their path below /lib/modules/VERSION: kernel/fs/ext4/ext4.ko."""


def gzipped(data: bytes) -> bytes:
    """Gzip without name and time, so that equal data give equal files."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def archive(files: Mapping[str, tuple[int, bytes]], mtime: int) -> bytes:
    """A newc cpio archive. `files`: st_mode with type, and content, by path; folders are given like files."""
    out = io.BytesIO()
    entries = [*((path, *files[path]) for path in sorted(files)), ("TRAILER!!!", 0, b"")]
    for inode, (path, mode, data) in enumerate(entries, 1):
        name = path.encode() + b"\0"
        links = 2 if mode & 0o170000 == 0o040000 else 1
        fields = (inode, mode, 0, 0, links, mtime, len(data), 0, 0, 0, 0, len(name), 0)
        out.write(b"070701" + b"".join(b"%08X" % n for n in fields) + name)
        out.write(b"\0" * (-out.tell() % 4) + data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue() + b"\0" * (-out.tell() % 512)


def make(init: bytes, busybox: bytes, modules: Iterable[tuple[str, bytes]], mtime: int) -> bytes:
    """An initial RAM disk that loads `modules` (file name and content) in the order given."""
    files = dict.fromkeys((".", "bin", "dev", "lib", "proc", "sys", "sysroot"), (0o040755, b""))
    order = ""
    files["init"] = (0o100755, init)
    files["bin/busybox"] = (0o100755, busybox)
    for name, content in modules:
        files[f"lib/{name}"] = (0o100644, content)
        order += name + "\n"
    files["lib/order"] = (0o100644, order.encode())
    return gzipped(archive(files, mtime))


def info(module: bytes, key: str) -> list[str]:
    """Values of one key in a module's .modinfo section, as `modinfo -F KEY` prints them."""
    return [v.decode() for v in re.findall(rb"\0%s=([^\0]*)(?=\0)" % key.encode(), module)]


def name_of(path: str) -> str:
    """The module's name as the kernel says it: `name_of('kernel/crypto/crc32c-intel.ko')` is 'crc32c_intel'."""
    return path.rsplit("/", 1)[-1].removesuffix(".ko").replace("-", "_")


def load_order(modules: Modules, wanted: str) -> list[str]:
    """Paths of a module and of all it depends on, in the order of loading."""
    paths = {name_of(path): path for path in modules}
    order: list[str] = []

    def visit(name: str) -> None:
        for depends in info(modules[paths[name]], "depends"):
            for other in filter(None, depends.split(",")):
                visit(other.replace("-", "_"))
        if paths[name] not in order:
            order.append(paths[name])

    visit(wanted.replace("-", "_"))
    return order


def tables(modules: Modules) -> dict[str, str]:
    """What depmod writes as text, for modprobe and mkinitrd: modules.dep, modules.alias and modules.softdep."""
    dep, alias, softdep = [], [], []
    for path in sorted(modules):
        before = load_order(modules, name_of(path))[:-1]
        dep.append(f"{path}: {' '.join(reversed(before))}".rstrip())
        alias += [f"alias {a} {name_of(path)}" for a in info(modules[path], "alias")]
        softdep += [f"softdep {name_of(path)} {s}" for s in info(modules[path], "softdep")]
    return {
        "modules.dep": "".join(f"{x}\n" for x in dep),
        "modules.alias": "".join(f"{x}\n" for x in alias),
        "modules.softdep": "".join(f"{x}\n" for x in softdep),
    }
