"""What a run was carried out with: versions of everything, and the state of the checkout."""

import functools
import getpass
import os
import platform
import re
import socket
from importlib import metadata
from typing import Any

from hikkoshi import tool
from hikkoshi.errors import ToolFailed
from hikkoshi.record.engine.runbook import PACKAGED, PROJECT

TOOLS = {
    "ssh": ["ssh", "-V"],
    "openssl": ["openssl", "version"],
    "qemu-img": ["qemu-img", "--version"],
    "qemu-system-x86_64": ["qemu-system-x86_64", "--version"],
    "netperf": ["netperf", "-V"],
}


@functools.cache
def commit() -> str:
    """The commit of the project's checkout, with `, changed since` where files differ from it.

    Of an installed package the one that it was built from; `unknown: …` where nobody can tell.
    """
    if PACKAGED.is_dir():
        try:
            return (PACKAGED.parent / "commit").read_text(encoding="utf-8").strip()
        except OSError as e:
            return f"unknown: the installed package has no file {e.filename}"
    if not (PROJECT / ".git").exists():
        return "unknown: not a git checkout"
    git = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT)]
    try:
        head = tool.run([*git, "rev-parse", "HEAD"], timeout=60).stdout.strip()
        changed = tool.run([*git, "--no-optional-locks", "status", "--porcelain"], timeout=60).stdout.strip()
    except ToolFailed as e:
        return f"unknown: {e.problems[0].found or e.problems[0].what}"
    return head + (", changed since" if changed else "")


@functools.cache
def versions() -> dict[str, Any]:
    """Python, system, every Python package and every tool, as a tree that JSON can hold."""
    packages = dict(filter(None, map(_package, metadata.distributions())))
    return {
        "hikkoshi": metadata.version("hikkoshi"),
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "tools": {name: _version(argv) for name, argv in TOOLS.items()},
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def _package(installed: metadata.Distribution) -> tuple[str, str] | None:
    """Its name and version. Only these two lines are looked at: all that packages tell of themselves takes 0.1 s to parse."""
    told = (installed.read_text("METADATA") or installed.read_text("PKG-INFO") or "").partition("\n\n")[0]
    found = [re.search(rf"^{name}: *(.+?) *$", told, re.M) for name in ("Name", "Version")]
    return (found[0][1], found[1][1]) if found[0] and found[1] else None


def operator() -> str:
    """USER@HOST, as this machine calls them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"  # a container may have no name for us
    return f"{user}@{socket.gethostname()}"


def _version(argv: list[str]) -> str:
    try:
        told = tool.run(argv, timeout=60, ok=range(256))
    except ToolFailed:
        return "not installed"
    first = (told.stdout or told.stderr).strip().splitlines()
    return re.sub(r"\s+", " ", first[0]) if first else "unknown"
