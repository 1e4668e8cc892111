"""The Debian packages that the lab's guests are made of: downloaded and unpacked, never installed.

`python -m hikkoshi_lab.packages` fetches what is missing; `.ci/setup` calls it. After that nothing is downloaded.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.errors import BadInput, HikkoshiError, Problem, StepFailed, ToolFailed

KERNEL = "linux-image-amd64"
NAMES = (
    KERNEL,  # stands for the kernel it depends on: a fixed name vanishes from the mirror with the next release
    "busybox-static",
    "sysvinit-core",  # the init that reads EL5's /etc/inittab
    "util-linux",  # agetty
    "ethtool",
    "libc6",
    "libmnl0",
    "libpcre2-8-0",
    "libselinux1",
    "grub-legacy",
    "libc6-i386",  # GRUB's installer is a 32-bit program
    "lvm2",  # and what it needs, for guests on LVM
    *("libdevmapper1.02.1", "libdevmapper-event1.02.1", "libaio1", "libblkid1", "libedit2", "libtinfo6", "libbsd0"),
    *("dropbear-bin", "libcrypt1", "libtomcrypt1", "libtommath1", "libgmp10", "zlib1g"),  # of guests that are reached by ssh
    *("tcpdump", "libpcap0.8", "libdbus-1-3", "libssl3"),
    *("libmd0", "libudev1", "libsystemd0", "libcap2", "libgcrypt20", "libgpg-error0", "liblzma5", "libzstd1", "liblz4-1"),
)


@dataclass(frozen=True)
class Package:
    """One .deb file."""

    version: str
    path: Path
    sha256: str


def load(folder: Path | None = None) -> Mapping[str, Package]:
    """The fetched packages by the names of `NAMES`; `BadInput` where one is missing or incomplete."""
    folder = folder or tool.cache() / "packages"
    listed = _listed(folder)
    missing = [name for name in NAMES if name not in listed or not _there(folder, listed[name])]
    if missing:
        raise BadInput(
            Problem(
                code="lab-packages-missing",
                what="packages for the lab's guests are missing",
                where=str(folder),
                found="missing: " + ", ".join(missing),
                expected=f"{len(NAMES)} packages, fetched by the set-up",
                remedy="run `make setup` once while there is a network",
            )
        )
    return {
        name: Package(entry["version"], folder / entry["file"], entry["sha256"])
        for name, entry in listed.items()
        if name in NAMES
    }


def fetch(folder: Path | None = None) -> tuple[int, int]:
    """Download what is missing with apt-get, as whoever we are; `(downloaded, bytes of all)`.

    Each file gets its final name when it is complete, the list that `load` goes by is written last.
    """
    folder = folder or tool.cache() / "packages"
    listed = _listed(folder)
    missing = [name for name in NAMES if name not in listed or not _there(folder, listed[name])]
    if missing:
        part = folder / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            try:
                got = _download(missing, part, [])
            except ToolFailed:
                # no package lists, or older than the mirror: own lists need no root
                (part / "apt/lists/partial").mkdir(parents=True)
                own = ["-o", f"Dir::State::lists={part}/apt/lists", "-o", f"Dir::Cache={part}/apt"]
                tool.run([*_apt("apt-get"), *own, "-q", "update"], timeout=300, env=settings())
                got = _download(missing, part, own)
            for name, deb in got.items():
                version = tool.run(["dpkg-deb", "-f", deb, "Version"]).stdout.strip()
                listed[name] = {
                    "file": deb.name,
                    "version": version,
                    "bytes": str(deb.stat().st_size),
                    "sha256": files.sha256(deb),
                }
                deb.replace(folder / deb.name)
        except ToolFailed as e:
            raise StepFailed(
                Problem(
                    code="lab-packages-not-fetched",
                    what="apt-get could not get the packages for the lab's guests",
                    where=", ".join(missing),
                    found=e.problems[0].found or e.problems[0].what,
                    expected="a Debian mirror in apt's sources that can be reached from here",
                    remedy="see that `apt-get update` works, then run `make setup` again",
                )
            ) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
        files.write(folder / "packages.json", json.dumps(listed, indent=2, sort_keys=True) + "\n")
    return len(missing), sum(int(listed[name]["bytes"]) for name in NAMES)


def _listed(folder: Path) -> dict[str, dict[str, str]]:
    try:
        listed: dict[str, dict[str, str]] = json.loads((folder / "packages.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return listed


def _there(folder: Path, entry: Mapping[str, str]) -> bool:
    """Is the file there in full length? Its hash is compared when it is unpacked."""
    path = folder / entry["file"]
    return path.is_file() and path.stat().st_size == int(entry["bytes"])


def _apt(program: str) -> list[str]:
    # apt as root would drop to a user who may not write here, and warn about it
    return [program, "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"]


def settings() -> dict[str, str]:
    """What leads to the mirror; programs get nothing of the environment that is not asked for."""
    names = ("APT_CONFIG", "http_proxy", "https_proxy", "no_proxy")
    return {name: os.environ[name] for name in names if name in os.environ}


def _download(names: list[str], into: Path, own: list[str]) -> dict[str, Path]:
    """Download into a folder; path of each file by name."""
    real = {name: _kernel(own) if name == KERNEL else name for name in names}
    tool.run([*_apt("apt-get"), *own, "-q", "download", *real.values()], cwd=into, timeout=900, env=settings())
    return {name: next(into.glob(f"{package}_*.deb")) for name, package in real.items()}


def _kernel(own: list[str]) -> str:
    """Name of the kernel package that `KERNEL` depends on now."""
    shown = tool.run([*_apt("apt-cache"), *own, "show", "--no-all-versions", KERNEL], env=settings()).stdout
    found = re.search(r"^Depends:.*?\b(linux-image-[0-9][^ ,]*)", shown, re.M)
    if found is None:
        raise ToolFailed(
            Problem(
                code="lab-kernel-missing", what="no kernel found", found=f"{KERNEL} depends on no linux-image-VERSION", remedy=""
            )
        )
    return found[1]


if __name__ == "__main__":
    try:
        downloaded, size = fetch()
    except HikkoshiError as error:
        sys.exit(f"{error}")
    print(f"lab packages: {len(NAMES)} there, {files.human(size)}, {downloaded} downloaded now")
