"""What a run was carried out with: versions of everything, and the state of the checkout."""

import functools
import getpass
import os
import platform
import re
import socket
from importlib import metadata
from pathlib import Path
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
HEAD, NONE_YET = "# branch.oid ", "(initial)"  # how git begins the line of the commit, and what it says where there is none


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
        told = tool.run([*git, "--no-optional-locks", "status", "--porcelain=v2", "--branch"], timeout=60).stdout.splitlines()
    except ToolFailed as e:
        return f"unknown: {e.problems[0].found or e.problems[0].what}"
    head = next(line.removeprefix(HEAD) for line in told if line.startswith(HEAD))
    if head == NONE_YET:
        return "unknown: there is no commit yet"
    return head + (", changed since" if any(not line.startswith("#") for line in told) else "")


def versions() -> dict[str, Any]:
    """Python, system, every Python package and every tool, as a tree that JSON can hold."""
    return {
        "hikkoshi": metadata.version("hikkoshi"),
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "tools": {name: _version(name, *_state(argv[0])) for name, argv in TOOLS.items()},
        "packages": _packages(),
    }


@functools.cache
def _packages() -> dict[str, str]:
    """As they were when this process, or the one that it was forked from, asked first: what it has loaded stays so."""
    found = dict(filter(None, map(_package, metadata.distributions())))
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


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


def _state(program: str) -> tuple[object, ...]:
    """Where a program is, and what changes when it is replaced."""
    try:
        found = Path(path := tool.find(program)).stat()
    except (ToolFailed, OSError):
        return ()
    return path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@functools.cache
def _version(name: str, *state: object) -> str:
    """What a tool tells of itself, asked once as long as it is in this `state`."""
    try:
        told = tool.run(TOOLS[name], timeout=60, ok=range(256))
    except ToolFailed:
        return "not installed"
    first = (told.stdout or told.stderr).strip().splitlines()
    return re.sub(r"\s+", " ", first[0]) if first else "unknown"
