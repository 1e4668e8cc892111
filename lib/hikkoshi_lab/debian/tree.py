"""The root file systems of the lab's Debian guests: made by mmdebstrap of Debian's own packages, and kept.

`python -m hikkoshi_lab.debian` makes them from this machine's own apt sources; `.ci/setup` calls it, as root and while there is
a network. After that nothing is downloaded. Where this machine is an Ubuntu, so is the guest of no other suite.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import BadInput, Problem
from hikkoshi_lab import packages

BYTES = 1600 << 20  # of a root file system
IDENTITY = "6b9c8e0e-7b4f-4d3c-9f59-0d3b5a1c2e01"  # the file system's UUID
ALWAYS = (
    *("systemd-sysv", "udev", "dbus", "grub-pc", "zstd", "iproute2", "openssh-server", "ethtool", "kmod", "e2fsprogs", "login"),
)
# what no guest of a server needs, to keep the disk small; no driver that matters here is among it
EXCLUDED = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*"),
    *(
        f"/lib/modules/*/kernel/{folder}/*"
        for folder in (
            *("sound", "net/bluetooth", "drivers/media", "drivers/gpu", "drivers/infiniband", "drivers/staging"),
            *("drivers/net/wireless", "drivers/iio", "drivers/bluetooth", "drivers/isdn", "drivers/hid", "drivers/mmc"),
            # an initrd with all drivers is made, read and unpacked by an emulated processor
            *("drivers/net/ethernet/[!i]*", "drivers/net/ethernet/intel/i*", "drivers/net/usb", "drivers/scsi/*", "drivers/nvme"),
            *("drivers/i2c", "drivers/target", "drivers/block/drbd", "drivers/ufs", "drivers/thunderbolt", "drivers/usb/storage"),
            *("fs/btrfs", "fs/xfs", "fs/nfs*", "fs/f2fs", "fs/jfs", "fs/reiserfs", "fs/ocfs2", "net/ceph", "net/sunrpc"),
        )
    ),
)
XEN_ONLY = {  # settings of initramfs-tools for an initrd that Xen alone can start from
    "/etc/initramfs-tools/modules": "xen-blkfront\next4\n",
    "/etc/initramfs-tools/conf.d/small": "MODULES=list\nRESUME=/dev/xvda1\n",
}
_INITRAMFS = (  # run with the new root as $1
    'chroot "$1" update-initramfs -u',
    'cp -a "$1/etc/initramfs-tools" "$1/small"',
    *(
        f"""printf '{content.encode("unicode_escape").decode()}' >"$1/small/{path.split("/", 3)[3]}\""""
        for path, content in XEN_ONLY.items()
    ),
    'chroot "$1" sh -c "mkinitramfs -d /small -o /boot/small.img $(ls "$1/lib/modules")"',
    'rm -r "$1/small"',
)
# for a machine of no kind in particular, as far as Xen's, and then an initrd that Xen alone can start from
_DRACUT = (
    'chroot "$1" sh -c "dracut --force --no-hostonly --add-drivers xen-blkfront '
    "--omit-drivers 'vmw_pvscsi mptbase mptscsih mptsas mptspi virtio_blk virtio_scsi' "
    '/boot/initrd.img-$(ls "$1/lib/modules") $(ls "$1/lib/modules")"',
)
_LAST = (
    'chroot "$1" systemctl enable serial-getty@hvc0.service',
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb',
)


@dataclass(frozen=True)
class RootTree:
    """One root file system: suite and architecture, this machine's own where they are empty, and what is in it."""

    name: str
    included: tuple[str, ...]
    suite: str = ""
    architecture: str = ""
    kept: tuple[str, ...] = ()  # of EXCLUDED, by the folder: fs/xfs

    @property
    def recipe(self) -> dict[str, list[str]]:
        """All that decides what is in it."""
        excluded = [path for path in EXCLUDED if not any(f"/{folder}/" in path for folder in self.kept)]
        hooks = [*(_DRACUT if "dracut" in self.included else _INITRAMFS), *_LAST]
        return {
            "of": [self.suite, self.architecture, str(BYTES)],
            "included": [*ALWAYS, *self.included],
            "excluded": excluded,
            "hooks": hooks,
        }

    @property
    def path(self) -> Path:
        """Where it is kept, once it was made."""
        content = json.dumps(self.recipe, sort_keys=True).encode()
        return tool.cache() / "packages" / f"{self.name}-{hashlib.sha256(content).hexdigest()[:16]}.ext4"


_KERNEL, _DEBIAN = "linux-image-amd64", ("initramfs-tools", "ifupdown")
TREES = {
    t.name: t
    for t in (
        RootTree("debian", (_KERNEL, *_DEBIAN, "grub-efi-amd64-bin", "dosfstools")),
        RootTree("debian-11", (_KERNEL, "initramfs-tools", "network-manager", "xfsprogs"), "bullseye", kept=("fs/xfs",)),
        RootTree("debian-13", (_KERNEL, "dracut", "netplan.io", "btrfs-progs"), "trixie", kept=("fs/btrfs",)),
        RootTree("debian-i386", ("linux-image-686-pae", *_DEBIAN), "bookworm", "i386"),
    )
}


def available(name: str) -> bool:
    """Whether the root file system was made."""
    return TREES[name].path.is_file()


def made(name: str) -> Path:
    """The root file system; `BadInput` where nobody has made it."""
    path = TREES[name].path
    if not path.is_file():
        raise BadInput(
            Problem(
                code="lab-debian-not-made",
                what="the Debian guest was not made",
                where=str(path),
                found="no file",
                expected="its root file system",
                remedy="run `make setup` as root; for the guests of `make guests` alone, that",
            )
        )
    return path


def fetch(wanted: RootTree) -> str:
    """Make the root file system with mmdebstrap, once; a sentence about it. Needs root."""
    path = wanted.path
    if path.is_file():
        return f"there already, {files.human(path.stat().st_blocks * 512)}"
    if os.geteuid() != 0:
        return "not made: only root can (its tests are skipped)"
    suite, sources = origin(wanted.suite)
    if not sources:
        return "not made: no apt sources of Debian or Ubuntu were found here"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            _forget(path.parent)
            with tempfile.TemporaryDirectory(prefix="debian-part.", dir=path.parent) as folder:
                _make(wanted, Path(folder), suite, sources)
    return f"made, {files.human(path.stat().st_blocks * 512)}"


def _forget(folder: Path) -> None:
    """Remove what is of other recipes, or of a run that was killed."""
    known = {tree.path for tree in TREES.values()}
    for older in folder.glob("debian-*"):
        if older.is_dir():
            shutil.rmtree(older)
        elif older not in known:
            older.unlink()


def origin(suite: str = "") -> tuple[str, str]:
    """A suite, this machine's own where none is named, and the apt sources for it: none where this is no Debian or Ubuntu."""
    own = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.M)
    return (suite or own[1], _sources(own[1], suite)) if own else (suite, "")


def unpacked(tree: Path, suite: str, sources: str, recipe: Mapping[str, Sequence[str]], options: Sequence[str] = ()) -> None:
    """Have a new folder hold the root file system of a recipe: what it has `included` and `excluded`, and `hooks` run in it."""
    archive, listed = tree.with_suffix(".tar"), tree.with_suffix(".sources")
    listed.write_text(sources)
    options = [*options, *(f"--dpkgopt=path-exclude={path}" for path in recipe["excluded"])]
    options += [f"--customize-hook={hook}" for hook in recipe["hooks"]]
    quiet = ["--quiet", "--mode=root", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
    argv: list[str | Path] = ["mmdebstrap", *quiet, *options, f"--include={','.join(recipe['included'])}", suite, archive, listed]
    tool.run(argv, timeout=1800, env=packages.settings())
    tree.mkdir()
    tool.run(["tar", "-xpf", archive, "-C", tree, "--numeric-owner", "--exclude=./dev/*"])
    archive.unlink()


def _make(wanted: RootTree, folder: Path, suite: str, sources: str) -> None:
    tree = folder / "root"
    # every x86_64 runs programs of i386: nobody has to test that
    options = [f"--architectures={wanted.architecture}", "--skip=check/qemu"] if wanted.architecture else []
    unpacked(tree, suite, sources, wanted.recipe, options)
    with files.part(wanted.path) as unfinished:
        with unfinished.open("wb") as f:
            f.truncate(BYTES)
        tool.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", IDENTITY, "-d", tree, unfinished])


def _sources(own: str, suite: str) -> str:
    """Where this machine's own system comes from, as deb822 stanzas; of a suite that is named, that alone."""
    etc = Path("/etc/apt")
    listed = [p for p in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))) if _is_system(p)]
    stanzas = [stanza for p in listed for stanza in re.split(r"\n\s*\n", _stanzas(p))]
    if not suite:
        return "\n\n".join(stanzas)
    plain = (s for s in stanzas if own in (re.search(r"^Suites:(.*)", s, re.M) or ["", ""])[1].split())
    return "\n\n".join(re.sub(r"^Suites:.*$", f"Suites: {suite}", stanza, flags=re.M) for stanza in plain)


def _stanzas(path: Path) -> str:
    """An apt source as deb822 stanzas; one line a source was the form before."""
    text = path.read_text()
    if path.suffix == ".sources":
        return text.strip()
    lines = re.findall(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)$", text, re.M)
    signed = (re.search(r"signed-by=(\S+)", options) for options, *_ in lines)
    return "\n\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}" + (f"\nSigned-By: {by[1]}" if by else "")
        for (_, uri, suite, components), by in zip(lines, signed, strict=True)
    )


def _is_system(path: Path) -> bool:
    """Whether it is the apt source that this machine itself is installed from."""
    if path.suffix not in (".list", ".sources") or "hikkoshi" in path.name or not path.is_file():
        return False
    return re.search(r"\bmain\b", path.read_text()) is not None and re.search(r"debian|ubuntu", path.read_text()) is not None
