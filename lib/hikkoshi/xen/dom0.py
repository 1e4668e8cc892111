"""The Dom-0: its files, and whether its guests run.

A Dom-0 is either this very machine (`root: /`) or a disk mounted somewhere here; from a mounted disk nothing can run, so
there starting and stopping a guest is left to the person who sits at the Dom-0.
"""

import shlex
import shutil
import stat
import time
from pathlib import Path

from hikkoshi import tool
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.params import Dom0, Home
from hikkoshi.xen.config import XenGuest, parse

LONGEST = 1 << 18  # bytes: a configuration is a few hundred
A_PERSON = "a person has to"  # how the error begins where the Dom-0 is only a folder
_LINKS = 40  # symbolic links followed before we call it a circle, as Linux does


def read_config(home: Home, dom0: Dom0, path: Path) -> XenGuest:
    """The guest's configuration, `path` as it is called on the Dom-0. Parsed, never executed."""
    here = _inside(home, dom0, path)
    remedy = "correct `config` in the guest's parameters, or `root` of the Dom-0 in params/site.yml"
    try:
        if not here.is_file():
            raise BadInput(
                Problem(
                    "the guest's Xen configuration is not there",
                    str(here),
                    "something else than a file" if here.exists() else "no such file",
                    "an xm or xl configuration",
                    remedy,
                )
            )
        if here.stat().st_size > LONGEST:
            raise BadInput(
                Problem(
                    "this is no Xen configuration",
                    str(here),
                    f"{here.stat().st_size:,} bytes",
                    f"a text of at most {LONGEST:,} bytes",
                    remedy,
                )
            )
        raw = here.read_bytes()
    except OSError as e:
        raise BadInput(
            Problem("the guest's Xen configuration cannot be read", str(here), e.strerror or str(e), remedy=remedy)
        ) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # an old comment in another encoding must not stop a migration
    return parse(text, str(here))


def disk_path(home: Home, dom0: Dom0, target: str) -> Path:
    """Where a disk's `target` is found from here. Whether it is a usable disk is for `hikkoshi.disk.source` to say."""
    if not target:
        raise BadInput(Problem("the disk has no target", remedy="name the image file in the guest's Xen configuration"))
    here = _inside(home, dom0, Path(target))
    if not is_local(home, dom0) and here.is_block_device():
        raise BadInput(
            Problem(
                "a device node in a mounted Dom-0 means a disk of this machine, not one of the Dom-0",
                where=str(here),
                found="a block device",
                expected="an image file below the Dom-0's root",
                remedy="run hikkoshi on the Dom-0 itself (root: /), or copy the volume into an image file, and name that in "
                "a copy of the configuration",
            )
        )
    return here


def source_off(home: Home, dom0: Dom0, name: str) -> Check:
    """Whether the source guest is off, so that its disk stands still.

    On a Dom-0 that does not answer, not knowing counts as no. A Dom-0 that is only a folder here, a mounted or copied disk,
    cannot be asked at all: the check says so and leaves it to the person who applies.
    """
    title = f"the source guest {name} is off"
    if not is_local(home, dom0):
        return Check(
            title,
            True,
            f"the Dom-0 is a folder here ({home.path(dom0.root)}): whoever applies answers for it",
            unseen="not seen",
        )
    expected = f"{name} not in the list of domains"
    try:
        state = _states().get(name)
    except ToolFailed as e:
        return Check(
            title, False, e.problems[0].what + ": " + e.problems[0].found, expected, e.problems[0].remedy, "Dom-0"
        )
    if state is None:
        return Check(title, True, "not in the list of domains", expected)
    if "s" in state:
        return Check(
            title, False, f"shut down, but not yet gone: state {state}", expected, "wait some seconds", "Dom-0"
        )
    return Check(title, False, f"in the list of domains: state {state}", expected, f"shut {name} down", "Dom-0")


def source_runs(home: Home, dom0: Dom0, name: str) -> Check:
    """Whether the source guest runs. Not knowing counts as no here, too."""
    title, expected = f"the source guest {name} runs", f"{name} in the list of domains"
    if not is_local(home, dom0):
        found = f"the Dom-0 is a folder here ({home.path(dom0.root)}): whether it runs cannot be seen"
        remedy = f"start {name} on the Dom-0 by hand, and look there that it runs; repeating this run shows no more"
        return Check(title, False, found, expected, remedy, "Dom-0")
    try:
        state = _states().get(name)
    except ToolFailed as e:
        p = e.problems[0]
        return Check(title, False, f"{p.what}: {p.found}", expected, p.remedy, "Dom-0")
    gone = state is None or "s" in state
    return Check(
        title, not gone, f"state {state}" if state else "not in the list of domains", expected, "75-rollback", "Dom-0"
    )


def shut_down(home: Home, dom0: Dom0, name: str, timeout: float = 300) -> None:
    """Shut the guest down in an orderly way and wait, at most `timeout` seconds, until it is gone. Never destroys it."""
    if not is_local(home, dom0):
        raise _by_hand(home, dom0, f"shut {name} down", ["xm", "shutdown", "-w", name], "then run this step again")
    deadline = time.monotonic() + timeout
    if name in _states():
        tool.run([_toolstack(), "shutdown", "-w", name], timeout=timeout)
    while not (gone := source_off(home, dom0, name)):  # it stays in the list for some seconds after it has shut down
        if time.monotonic() > deadline:
            raise StepFailed(
                Problem(
                    f"the guest {name} did not go off",
                    "Dom-0",
                    f"{gone.found} after {timeout:g} s",
                    gone.expected,
                    f"see what it does: {_toolstack()} console {name}; its disk must not be moved while it runs",
                )
            )
        time.sleep(1)


def start_again(home: Home, dom0: Dom0, name: str, config: Path) -> None:
    """Start the guest on its Dom-0 from its own configuration; nothing happens where it runs already."""
    if not is_local(home, dom0):
        then = (
            "then look there that it runs. This run cannot see it and stays failed; that is all right, do not repeat it"
        )
        raise _by_hand(home, dom0, f"start {name}", ["xm", "create", str(config)], then)
    if name not in _states():
        tool.run([_toolstack(), "create", str(config)], timeout=600)


def domains(listing: str) -> dict[str, str]:
    """`{name: state}` of the domains that exist, out of what `xl list` or `xm list` prints.

    `xm list` also names guests that are known but off; those lines have no ID, and are left out.
    """
    found = {}
    for line in listing.splitlines()[1:]:
        words = line.split()
        if len(words) >= 6 and words[1].isdigit():  # name, ID, memory, VCPUs, state, time, and more with -v
            found[words[0]] = words[4]
    return found


def _states() -> dict[str, str]:
    return domains(tool.run([_toolstack(), "list"], timeout=60).stdout)


def _toolstack() -> str:
    """xl, or xm where xl is not there yet (Xen 3 and 4.0, CentOS 5)."""
    return "xl" if shutil.which("xl") or not shutil.which("xm") else "xm"


def is_local(home: Home, dom0: Dom0) -> bool:
    """Whether the Dom-0 is this very machine, and not a folder."""
    return home.path(dom0.root) == Path("/")


def _by_hand(home: Home, dom0: Dom0, what: str, command: list[str], then: str) -> Refused:
    line = shlex.join(command)
    return Refused(
        Problem(
            f"{A_PERSON} {what}",
            where=str(home.path(dom0.root)),
            found="a mounted Dom-0: its Xen cannot be reached from here",
            remedy=f"type on the Dom-0: {line}   (on newer Xen: {line.replace('xm ', 'xl ', 1)}); {then}",
        )
    )


def _inside(home: Home, dom0: Dom0, path: Path) -> Path:
    """`path` of the Dom-0 as a path here. As for a process in a chroot, no link and no `..` leads out of the root."""
    root = home.path(dom0.root)
    if root == Path("/"):
        return path
    root = root.resolve()
    if not root.is_dir():
        raise BadInput(
            Problem(
                "the Dom-0's folder is not there",
                where=str(root),
                found="something else than a folder" if root.exists() else "nothing",
                expected="the Dom-0's disk, mounted here",
                remedy="mount it, or correct `root` of the Dom-0 in params/site.yml (for the lab: hikkoshi lab up)",
            )
        )
    current, links = root, 0
    waiting = list(reversed(path.parts))
    while waiting:
        part = waiting.pop()
        if part == "/":
            current = root
        elif part == "..":
            current = current.parent if current != root else root
        elif _is_link(current / part):
            links += 1
            if links > _LINKS:
                raise BadInput(
                    Problem(
                        "a path on the Dom-0 goes in a circle", str(path), f"{links} links", remedy="correct the link"
                    )
                )
            waiting += reversed((current / part).readlink().parts)
        else:
            current /= part
    return current


def _is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False  # not there, or not to be looked at: whoever opens it will say so
