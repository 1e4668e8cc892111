"""Whether each Dom-0 of a site is a machine of its own. Named twice, its guests would be counted twice: none would ever count as
the only one, so nothing would be started again.

Machines that can be asked are told apart by the number that Linux draws at each start, folders here by what they are on this
disk. Whether a folder is the copy of a machine's disk, nobody can know.
"""

import re
from functools import partial
from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.xen.reach.kinds import asked

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n?")


def checks(home: Home, site: Site) -> list[Check]:
    """Whether no two names of Dom-0s are one machine or folder; nothing where there is one name."""
    if len(site.dom0s) == 1:
        return []
    check = partial(
        Check,
        code="dom0-named-twice",
        title="each Dom-0 of params/site.yml is a machine of its own",
        expected="one name for each machine, and for each folder",
        remedy="leave one of these names in params/site.yml, and name that one as `dom0` in the guests' parameters",
        where="params/site.yml",
    )
    names: dict[str, list[str]] = {}
    unknown = []
    for name, dom0 in site.dom0s.items():
        try:
            names.setdefault(_mark(home, dom0), []).append(name)
        except (HikkoshiError, OSError, ValueError) as e:
            unknown.append(f"{name}: {e.problems[0].what if isinstance(e, HikkoshiError) else str(e)}")
    if twice := ["; ".join(f"{n} ({site.dom0s[n]})" for n in same) for same in names.values() if len(same) > 1]:
        return [check(ok=False, found=", and ".join(f"one machine or folder: {same}" for same in twice))]
    found = f"not known: {'; '.join(unknown)}" if unknown else ", ".join(site.dom0s)
    return [check(ok=True, found=found, unseen="not seen" if unknown else "")]


def _mark(home: Home, dom0: Dom0) -> str:
    """What no other machine or folder has; `ValueError` for an answer that is none."""
    if dom0.kind == "folder":
        status = home.path(dom0.root or Path()).stat()
        return f"folder {status.st_dev}:{status.st_ino}"
    said = asked(dom0).read(_BOOT, 64).decode(errors="replace")
    if not _UUID.fullmatch(said):
        raise ValueError(f"{_BOOT} has no number in it: {said[:40]!r}")
    return f"machine {said.strip()}"
