"""What a moved guest tells by its own shell, once it serves: what became of its first start, and which VMware Tools it has.

Where the plan says so, they are installed by this shell, from the guest's own repositories.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from hikkoshi.artefact import Artefact
from hikkoshi.check import Check, Permission
from hikkoshi.errors import BadInput, HikkoshiError, Refused
from hikkoshi.guest.additions import firststart
from hikkoshi.guest.additions.addition import RESULT, Additions
from hikkoshi.guest.additions.firststart import Started, State
from hikkoshi.network.host import Host
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CUTOVER, ROLLBACK, Step
from hikkoshi.secret import redaction

PATIENCE = 1800.0  # seconds that what runs at the first start may take
POLL = 5.0  # seconds
LONGEST = 32_000  # bytes of the log's end that are kept
_ASK = f"""
[ ! -e {firststart.RUNNER} ] || echo waits
[ ! -e {RESULT} ] || head -n 500 {RESULT}
echo =
[ ! -e {firststart.LOG} ] || tail -c {LONGEST} {firststart.LOG}
"""

_TOOLS = """
vmware-toolbox-cmd -v 2>/dev/null | head -n 1 | grep . && exit 0
vmtoolsd -v 2>/dev/null | head -n 1 | grep . && exit 0
command -v vmtoolsd >/dev/null && echo "there, and does not tell its version"
:
"""


class Arrival(Artefact):
    """arrival.json: what ran at the first start of the machine that serves since then."""

    filename: ClassVar[str] = GuestFolder.arrival
    made_by: ClassVar[Step] = CUTOVER
    since: str  # of the cut-over
    state: State
    first: tuple[Started, ...]
    log: str  # its end, without what looks like a secret


def look(shell: Host, folder: GuestFolder, since: str, progress: Progress = silent, limit: float = PATIENCE) -> Arrival:
    """Wait until all has run that runs at the first start, `limit` seconds at most, and write down what became of it."""
    begin = time.monotonic()
    while True:
        told, _, log = shell.script(_ASK, timeout=60).partition("=\n")
        state, first = firststart.read(told.splitlines())
        passed = time.monotonic() - begin
        progress(min(passed, limit), limit, f"the first start: {state}")
        if state in ("complete", "interrupted") or passed > limit or not told:
            break
        time.sleep(POLL)
    found = Arrival(since=since, state=state, first=first, log=redaction.shown(log, redaction.OUTPUT))
    found.save(folder)
    return found


def known(folder: GuestFolder, since: str) -> Arrival | None:
    """What is on record of this cut-over, where that is an end."""
    try:
        found = Arrival.find(folder)
    except BadInput:
        return None  # damaged: looked at anew
    return found if found and found.since == since != "" and found.state in ("complete", "interrupted") else None


def seen(folder: GuestFolder, additions: Additions, since: str, why_not: str) -> Check:
    """Whether it is on record what became of the first start; `why_not`: why no shell of the guest can be asked."""
    check = partial(Check, code="first-start-seen", title="it was seen what ran at the guest's first start")
    if not additions.starts:
        return check(ok=True, found="nothing was brought along for it", unseen="not needed")
    if why_not:
        return check(ok=True, found=f"{why_not}; the guest keeps it in {firststart.LOG}", unseen="not measured")
    found = known(folder, since)
    return check(
        ok=found is not None,
        found=found.state if found else "not yet to its end",
        expected="complete",
        remedy=f"run {CUTOVER} in apply",
        later=True,
    )


def proofs(folder: GuestFolder, additions: Additions, since: str, why_not: str) -> list[Check]:
    """Whether every script of the first start ended well."""
    there = seen(folder, additions, since, why_not)
    try:
        found = Arrival.find(folder) if not there.unseen else None
    except BadInput:
        found = None
    if there.unseen or found is None or found.since != since:
        return [there]
    by_name = {s.name: s for s in found.first}
    remedy = (
        f"read {firststart.LOG} in the guest, and do there what the script did not; it does not run a second time. "
        f"If the guest cannot serve so: {ROLLBACK}"
    )
    return [
        Check(
            code="first-start-ended-well",
            title=f"{name} ran at the first start",
            ok=name in by_name and by_name[name].status == 0,
            found=str(by_name[name]) if name in by_name else f"it did not run; the first start: {found.state}",
            expected="exit status 0",
            remedy=remedy,
            where=firststart.LOG,
        )
        for name in additions.waiting
    ]


def tools(shell: Host | None, additions: Additions, why_not: str) -> Check:
    """Whether the guest has the VMware Tools that the plan brings, asked of it now; `shell` is None where it does not serve."""
    check = partial(Check, code="tools-in-guest", title="VMware Tools are installed in the guest", expected="a version")
    if not additions.brings_tools:
        return check(ok=True, found=additions.no_tools or "the plan brings none", unseen="not needed")
    if why_not:
        return check(ok=True, found=why_not, unseen="not measured")
    if shell is None:
        return check(ok=False, found="the machine in vSphere does not serve yet", remedy=f"run {CUTOVER} in apply", later=True)
    try:
        found = shell.script(_TOOLS).strip()
    except HikkoshiError as e:
        return check(ok=False, found=e.problems[0].found, remedy=e.problems[0].remedy, where=shell.name, later=True)
    return check(
        ok=bool(found),
        found=found or "none of their programs is there",
        remedy=f"run {CUTOVER} again: it installs them"
        if additions.repository
        else "install them in the guest by hand; the log of the first start, or the table of 30, says what went wrong",
        where=shell.name,
        later=True,
    )


def install(shell: Host, additions: Additions, permission: Permission, serves: Sequence[Check], address: str) -> None:
    """Have the guest install VMware Tools from its own repositories, by the command that was approved.

    `serves` is what was seen in this moment of the guest that serves: the source has the same address.
    """
    permission.covers(CUTOVER.id, shell=address)
    if not all(serves):
        raise Refused(*(c.problem() for c in serves if not c))
    shell.script(f"exec 2>&1\n{additions.repository}\n", timeout=PATIENCE)


def rows(folder: GuestFolder, since: str) -> list[dict[str, str]]:
    """Each script of the first start, and the end of what all of them printed."""
    try:
        found = Arrival.find(folder)
    except BadInput:
        found = None
    if found is None or found.since != since or not since:
        return []
    told = [{"first start": s.name, "ended": "not" if s.status is None else f"exit status {s.status}"} for s in found.first]
    return [*told, {"first start": "the end of the log", "ended": "\n".join(found.log.strip().splitlines()[-20:])}]
