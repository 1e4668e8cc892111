"""Makes the disks of the lab's Xen from this machine's own apt sources; as root, once, kept in the cache.

Nothing of it is started here, and no loop device is used.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import Problem, Refused
from hikkoshi_lab import lvm, partitions
from hikkoshi_lab.debian import tree as root
from hikkoshi_lab.xen import recipe
from hikkoshi_lab.xen.recipe import XenLabGuest

Say = Callable[[str], None]
DISKS = ("dom0.qcow2", "guests.qcow2")  # the Dom-0's own, and the one with LVM's volumes
HYPERVISOR, KERNEL, INITRD, KEY, HOSTS = "xen", "vmlinuz", "initrd", "key", "known_hosts"


def made(say: Say) -> Path:
    """The folder with disks, hypervisor, kernel, initrd, and the key that opens all shells; made where it is not there."""
    own = Path(__file__).parent
    content = b"".join((own / name).read_bytes() for name in ("recipe.py", "build.py"))
    done = tool.cache() / "xen" / hashlib.sha256(content + repr(root.EXCLUDED).encode()).hexdigest()[:16]
    if done.is_dir():
        return done
    if os.geteuid() != 0:
        raise Refused(
            Problem(
                code="lab-xen-not-root",
                what="the lab's Xen cannot be made by this user",
                where=str(done),
                found=f"user id {os.geteuid()}",
                expected="root, once: mmdebstrap makes its root file systems",
                remedy="type `sudo hikkoshi lab xen up`, or run it as root",
            )
        )
    done.parent.mkdir(parents=True, exist_ok=True)
    with (done.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_dir():
            for older in done.parent.iterdir():  # of another recipe, or of a build that was killed
                if older.is_dir() and not in_use(older):
                    shutil.rmtree(older)
            with tempfile.TemporaryDirectory(prefix="part.", dir=done.parent) as folder:
                _make(Path(folder), say)
                (Path(folder) / "made").replace(done)
    return done


def in_use(made: Path) -> bool:
    """Whether a QEMU runs that began with what is in a folder."""
    inside = f"{made}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if inside in (process / "cmdline").read_bytes():
                return True
    return False


def _make(folder: Path, say: Say) -> None:
    out, dom0, guest = folder / "made", folder / "dom0", folder / "guest"
    out.mkdir()
    tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", out / KEY])
    public = (out / KEY).with_suffix(".pub").read_text()
    say("Xen: installing the Dom-0 and a guest, from this machine's apt sources")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(_install, dom0, (*recipe.PACKAGES, *recipe.DOM0_PACKAGES), recipe.DOM0_HOOKS, public)
        _install(guest, recipe.PACKAGES, recipe.GUEST_HOOKS, public)
        first.result()
    say("Xen: putting the disks together")
    volumes: dict[str, Path] = {}
    for one in recipe.GUESTS:
        _write(guest, recipe.guest_files(one, _kernel(guest)))
        system = _filesystem(guest, folder / f"{one.name}.root", recipe.ROOT_BYTES)
        own = dom0 / "srv" / "xen" / one.name
        own.mkdir(parents=True)
        if one.layout == "disk":
            _disk(own / "disk.img", system)
        else:
            volumes |= {f"{one.name}_swap": _swap(folder, one), f"{one.name}_root": system}
            for name in ("vmlinuz", "initrd.img"):
                shutil.copy(guest / "boot" / f"{name}-{_kernel(guest)}", own / name)
        for written in recipe.guest_files(one, _kernel(guest)):
            (guest / written[1:]).unlink()
    _write(dom0, recipe.dom0_files())
    for link, target in recipe.dom0_links().items():
        (dom0 / link[1:]).parent.mkdir(parents=True, exist_ok=True)
        (dom0 / link[1:]).symlink_to(target)
    raw = _filesystem(dom0, folder / "dom0.raw", recipe.DOM0_BYTES), _group(folder / "guests.raw", volumes)
    for path, name in zip(raw, DISKS, strict=True):
        tool.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", path, out / name])
    boot = dom0 / "boot"
    shutil.copy(boot / f"vmlinuz-{_kernel(dom0)}", out / KERNEL)
    shutil.copy(boot / f"initrd.img-{_kernel(dom0)}", out / INITRD)
    [packed] = [p for p in boot.glob("xen-*.gz") if re.fullmatch(r"xen-[0-9.]+-amd64\.gz", p.name)]
    # QEMU's multiboot loader takes no packed hypervisor
    tool.run(["sh", "-c", 'gzip -dc <"$1" >"$2"', "sh", packed, out / HYPERVISOR])
    keys = [(f"xenlab-{n}", (t / "etc/ssh/ssh_host_ed25519_key.pub").read_text()) for n, t in (("dom0", dom0), ("guest", guest))]
    files.write(out / HOSTS, "".join(f"{name} {' '.join(key.split()[:2])}\n" for name, key in keys))


def _install(tree: Path, include: Sequence[str], hooks: Sequence[str], public: str) -> None:
    """A root file system in a folder, open to the owner of the key."""
    suite, sources = root.origin()
    if not sources:
        raise Refused(
            Problem(
                code="lab-xen-without-sources",
                what="the lab's Xen cannot be made on this machine",
                where="/etc/apt",
                found="no apt sources of Debian or Ubuntu",
                expected="those that the machine itself is installed from",
                remedy="use a Debian 12 for the lab",
            )
        )
    root.unpacked(tree, suite, sources, {"included": include, "excluded": root.EXCLUDED, "hooks": hooks})
    home = tree / "root" / ".ssh"
    home.mkdir(exist_ok=True)
    home.chmod(0o700)
    (home / "authorized_keys").write_text(public)
    (home / "authorized_keys").chmod(0o600)


def _kernel(tree: Path) -> str:
    [found] = (tree / "boot").glob("vmlinuz-*")
    return found.name.removeprefix("vmlinuz-")


def _write(tree: Path, contents: Mapping[str, str]) -> None:
    for path, content in contents.items():
        (tree / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tree / path[1:]).write_text(content)


def _filesystem(tree: Path, path: Path, size: int) -> Path:
    with path.open("wb") as f:
        f.truncate(size)
    tool.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path], timeout=1800)
    return path


def _swap(folder: Path, guest: XenLabGuest) -> Path:
    path = folder / f"{guest.name}.swap"
    with path.open("wb") as f:
        f.write(partitions.swap_header(recipe.SWAP_BYTES, guest.uuid, ""))
        f.truncate(recipe.SWAP_BYTES)
    return path


def _disk(path: Path, system: Path) -> None:
    """A disk with a partition table and /; no boot loader: pygrub needs none."""
    with path.open("wb") as f:
        f.truncate(recipe.MIB + recipe.ROOT_BYTES + recipe.MIB)
    table = f"label: dos\nstart={recipe.MIB // 512},size={recipe.ROOT_BYTES // 512},type=83,bootable\n"
    tool.run(["sfdisk", "-q", path], stdin=table)
    partitions.sparse_copy(system, path, recipe.MIB)


def _group(path: Path, contents: Mapping[str, Path]) -> Path:
    """A disk that is one physical volume of LVM, with these logical volumes and some room for snapshots."""
    volumes = [lvm.Volume(name, -(-content.stat().st_size // lvm.EXTENT)) for name, content in contents.items()]
    size = lvm.START + (sum(v.extents for v in volumes) + 16) * lvm.EXTENT
    with path.open("wb") as f:
        f.write(lvm.head(recipe.GROUP, volumes, size, recipe.GUESTS[0].uuid, "/dev/vdb"))
        f.truncate(size)
    for content, at in zip(contents.values(), lvm.offsets(volumes), strict=True):
        partitions.sparse_copy(content, path, at)
    return path
