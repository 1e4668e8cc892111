"""What a moved guest tells by its own shell, once it serves: what became of all that was brought along for its first start."""

import time
from functools import partial
from typing import ClassVar

from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.guest.additions import firststart
from hikkoshi.guest.additions.addition import Additions
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
[ ! -e {firststart.RESULT} ] || head -n 500 {firststart.RESULT}
echo =
[ ! -e {firststart.LOG} ] || tail -c {LONGEST} {firststart.LOG}
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
    found = Arrival(since=since, state=state, first=first, log=redaction.shown(log))
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
    if not additions.first_start:
        return check(ok=True, found="nothing was brought along for it", unseen="not needed")
    if why_not:
        return check(ok=True, found=f"{why_not}; the guest keeps it in {firststart.LOG}", unseen="not measured")
    found = known(folder, since)
    return check(
        ok=found is not None,
        found=found.state if found else "not yet",
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
            title=f"{f.name} ran at the first start",
            ok=name in by_name and by_name[name].status == 0,
            found=str(by_name[name]) if name in by_name else f"it did not run; the first start: {found.state}",
            expected="exit status 0",
            remedy=remedy,
            where=firststart.LOG,
        )
        for what, f, place in additions.placed()
        if what == "first_start"
        for name in [place.rpartition("/")[2]]
    ]


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
