"""The Dom-0s: whether a guest runs, and how it is started and stopped.

A Dom-0 is this very machine (`root: /`), a machine over ssh, or a disk mounted somewhere here; from a mounted disk nothing can
run, so there starting and stopping a guest is left to the person who sits at the Dom-0.
"""

import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from hikkoshi.check import Check, Permission
from hikkoshi.disk.xva import EXPORTS
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.run.step import CUTOVER, ROLLBACK
from hikkoshi.xen import domains, original, xva
from hikkoshi.xen.domains import Domain, Sighting, Traits
from hikkoshi.xen.reach.connection import Dom0Unreached
from hikkoshi.xen.reach.host import Dom0Host
from hikkoshi.xen.reach.kinds import asked
from hikkoshi.xen.root import read_config

_FREE = (
    "run this again in a minute. If it stays, see which guest it was (xl list -v, xenstore-ls), and have the Dom-0 freed "
    "of it before the source is shut down"
)
LISTING = 60.0  # seconds that a list of domains may take: for each domain xl asks xenstore some hundred times
SHUTDOWN = 300.0  # seconds that a guest may take to shut down
START_BY_HAND = "start-by-hand"  # code of the problem that only a person at the Dom-0 can start the source


@dataclass(frozen=True)
class _Seen:
    """What the Dom-0s of the site tell of a guest: where it is seen, who was asked, and which are only folders here."""

    found: tuple[tuple[str, Sighting], ...]  # with the Dom-0 where it is seen
    asked: str
    folders: tuple[str, ...]

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        return tuple(s for _, s in self.found)

    @property
    def told(self) -> str:
        return self._told(self.found)

    def beside(self, guest: Guest) -> str:
        """What there is beside the one domain of the guest's own name; empty where nothing is. Of several none is the one."""
        several = sum(s.domain.name == guest.name and not s.domain.ending for s in self.sightings) > 1
        return self._told([(at, s) for at, s in self.found if several or not s.certain or s.domain.name != guest.name])

    def _told(self, found: Sequence[tuple[str, Sighting]]) -> str:
        return "; ".join(f"{s} on {at}" if "," in self.asked else str(s) for at, s in found)

    def serving(self, guest: Guest) -> bool:
        """Whether the guest runs under its own name, and is the only domain of it."""
        found = [s.domain for s in self.sightings if s.certain]
        state = found[0].state if len(found) == 1 and found[0].name == guest.name else ""
        return bool(state) and not set(state) & set("psdc")


def source_off(home: Home, site: Site, guest: Guest) -> Check:
    """Whether the source guest is off, so that its disk stands still and its addresses are free.

    Off means: on no Dom-0 of the site is there a domain with its name, a name that a migration gives it, its UUID, one of
    its MACs or its disk. Where a Dom-0 does not answer, or not all is told, not knowing counts as no. Dom-0s that are only
    folders here, mounted or copied disks, cannot be asked: the check says so and leaves them to the person who applies.
    """
    check = partial(
        Check,
        code="source-off",
        title=f"the source guest {guest.name} is off",
        expected="no domain with its name, UUID, MACs or disk on any Dom-0",
    )
    try:
        seen = _look(home, site, guest)
    except HikkoshiError as e:
        p = e.problems[0]
        return check(ok=False, found=f"not known: {p.what}: {p.found}", remedy=p.remedy, where=p.where or "Dom-0")
    if seen.sightings:
        ending = all(s.domain.ending and s.domain.name == guest.name for s in seen.sightings)
        named = any(s.domain.name == guest.name for s in seen.sightings)
        remedy = "see what it is there (xl list -l), and have the migration ended, or that domain shut down"
        remedy = "wait some seconds" if ending else f"shut {guest.name} down" if named else remedy
        return check(ok=False, found=seen.told, remedy=remedy, where=seen.asked)
    if not seen.folders:
        return check(ok=True, found="not in the list of domains")
    told = _folders(home, site, seen.folders)
    if by_xenserver(home, site, guest, "start"):
        told = f"{told}; {guest.config} is an export, whose XenServer is not asked"
    found = f"not in the list of domains of {seen.asked}; {told}" if seen.asked else told
    return check(ok=True, found=f"{found}: whoever applies answers for it", unseen="not seen")


def source_runs(home: Home, site: Site, guest: Guest) -> Check:
    """Whether the source guest runs, once and under its own name. Not knowing counts as no here, too."""
    check = partial(
        Check,
        code="source-runs",
        title=f"the source guest {guest.name} runs",
        expected=f"{guest.name} in the list of domains, and no second one of it",
    )
    try:
        seen = _look(home, site, guest, sure=False)
    except HikkoshiError as e:
        p = e.problems[0]
        return check(ok=False, found=f"not known: {p.what}: {p.found}", remedy=p.remedy, where="Dom-0")
    if guest.dom0 in seen.folders and not seen.serving(guest):
        found = f"{_folders(home, site, (guest.dom0,))}: whether it runs cannot be seen"
        remedy = f"start {guest.name} on the Dom-0 by hand, and look there that it runs; repeating this run shows no more"
        return check(ok=False, found=found, remedy=remedy, where="Dom-0")
    found = seen.told or "not in the list of domains"
    return check(ok=seen.serving(guest), found=found, remedy=ROLLBACK.id, where=seen.asked or "Dom-0")


def serves(home: Home, site: Site, guest: Guest) -> bool:
    """Whether its Dom-0 shows it in service now; an error where that is not known. A folder shows none."""
    return _look(home, site, guest, sure=False).serving(guest)


def others(home: Home, site: Site, guest: Guest) -> Check:
    """Whether no domain but the source itself would stay once that is shut down: to be looked at before.

    With one of another name, or one that could be the source, the source never counts as off, nor is it started again.
    """
    check = partial(
        Check,
        code="no-other-source",
        title=f"nothing but {guest.name} itself may be the source",
        expected="no other domain that is it, or could be",
    )
    try:
        seen = _look(home, site, guest)
    except HikkoshiError as e:
        p = e.problems[0]
        return check(ok=False, found=f"not known: {p.what}: {p.found}", remedy=p.remedy, where=p.where or "Dom-0")
    if rest := seen.beside(guest):
        return check(ok=False, found=rest, remedy=_FREE, where=seen.asked)
    if not seen.folders:
        return check(ok=True, found="none")
    return check(ok=True, found=_folders(home, site, seen.folders), unseen="not seen")


def shut_down(home: Home, site: Site, guest: Guest, permission: Permission, timeout: float = SHUTDOWN) -> None:
    """Shut the guest down in an orderly way and wait, at most `timeout` seconds, until no Dom-0 has any form of it.

    Never destroys it, and asks no domain of another name to go: what that is, a person has to find out.
    """
    name = guest.name
    permission.covers(CUTOVER.id, guest=name)
    line = by_xenserver(home, site, guest, "shutdown")
    if line or site.dom0s[guest.dom0].kind == "folder":
        raise _by_hand(
            home,
            site.dom0s[guest.dom0],
            line or ["xm", "shutdown", "-w", name],
            "then run this step again",
            code="shut-down-by-hand",
            what=f"a person has to shut {name} down",
        )
    deadline = time.monotonic() + timeout
    seen = _look(home, site, guest)
    host = asked(site.dom0s[guest.dom0])
    if there := [at for at, s in seen.found if s.domain.name == name and not s.domain.ending]:
        if rest := seen.beside(guest):
            raise Refused(
                Problem(
                    code="source-not-shut-down",
                    what=f"{name} is not shut down",
                    where=seen.asked,
                    found=rest,
                    expected="no other domain that could be it",
                    remedy=_FREE,
                )
            )
        host = asked(site.dom0s[there[0]])
        try:
            host.run([host.toolstack(), "shutdown", "-w", name], timeout=timeout)
        except ToolFailed as e:
            # it waits for the guest, which is what has to be told then; and whoever was cut off has to look again
            if e.problems[0].code not in ("program-timed-out", "dom0-answer-cut-off"):
                raise
    elif any(not s.domain.ending for s in seen.sightings):
        raise StepFailed(_stays(host, source_off(home, site, guest), name, "and it is not asked to: it has another name"))
    while not (gone := source_off(home, site, guest)):  # it stays in the list for some seconds after it has shut down
        if time.monotonic() > deadline:
            raise StepFailed(_stays(host, gone, name, f"after {timeout:g} s"))
        time.sleep(1)


def _stays(host: Dom0Host, gone: Check, name: str, words: str) -> Problem:
    return Problem(
        code="source-stays-on",
        what=f"the guest {name} did not go off",
        where=gone.where or "Dom-0",
        found=f"{gone.found} {words}",
        expected=gone.expected,
        remedy=f"see what it does: {_stack(host)} console {name}; its disk must not be moved while it runs",
    )


def start_again(home: Home, site: Site, guest: Guest, patience: float = 60) -> None:
    """Start the guest on its Dom-0 from its own configuration; nothing happens where it runs already.

    Where another domain of it is there, as while it migrates, it is not started a second time: both would write to the same
    disk. One that has shut down is waited for, `patience` seconds. Where nobody has said which of two configurations is its
    own, a person decides: started from a copy that leaves disks out, it would be there without its data. Whatever is refused
    or fails, the command by which a person starts it is told.
    """
    exported, line = by_xenserver(home, site, guest, "start"), ["xm", "create", str(guest.own_config)]
    if exported or site.dom0s[guest.dom0].kind == "folder":
        then = "then look there that it runs. This run cannot see it and stays failed; that is all right, do not repeat it"
        what = f"a person has to start {guest.name}"
        raise _by_hand(home, site.dom0s[guest.dom0], exported or line, then, code="start-by-hand", what=what)
    host = asked(site.dom0s[guest.dom0])
    stack = _stack(host)
    deadline = time.monotonic() + patience
    rivals: list[str] = []
    with suppress(BadInput, ToolFailed):  # what cannot be looked at stands in no way back
        rivals = original.rivals(home, site, guest)
    typed = f"{stack} create FILE, with the one that is its own" if rivals else shlex.join([stack, *line[1:]])
    what = f"a person has to start {guest.name}"
    try:
        seen = _look(home, site, guest, sure=False)
        while seen.sightings and all(s.domain.ending for s in seen.sightings) and time.monotonic() < deadline:
            time.sleep(1)
            seen = _look(home, site, guest, sure=False)
    except HikkoshiError as e:
        remedy = f"see on the Dom-0 whether it runs. If it does not, type there: {typed}"
        raise type(e)(*e.problems, Problem(code="start-by-hand", what=what, where=guest.dom0, remedy=remedy)) from None
    if seen.serving(guest):
        return
    if seen.sightings:
        certain = any(s.certain for s in seen.sightings)
        then = "this run stays red as long as that is there" if certain else "then run this again: it counts as in service"
        remedy = f"see what that is ({stack} list -l). Once it is gone, or is another guest for sure, type there: "
        raise Refused(
            Problem(
                code="start-by-hand",
                what=what,
                where=guest.dom0,
                found="; ".join([seen.told, *rivals]),
                expected="no domain of it: a second one would write to the same disk",
                remedy=f"{remedy}{typed}; {then}",
            )
        )
    if rivals:
        raise Refused(
            Problem(
                code="start-by-hand",
                what=what,
                where=guest.dom0,
                found=f"{guest.config}; {'; '.join(rivals)}",
                expected="to know which configuration is its own",
                remedy=f"type there: {typed}",
            )
        )
    host.run([stack, *line[1:]], timeout=600, acts=True)


def by_xenserver(home: Home, site: Site, guest: Guest, act: str) -> list[str]:
    """What a person types on the XenServer, where the source is an export of it; nothing where it is none.

    `act` is start or shutdown.
    """
    if (host := site.dom0s[guest.dom0]).kind == "ssh":
        return []
    try:
        xen = read_config(home, host, guest.config)
    except BadInput:  # its name tells, too
        return xva.command(act, guest.name, "") if guest.config.name.lower().endswith(EXPORTS) else []
    return xva.command(act, xen.name, xen.uuid) if xen.form == xva.FORM else []


def traits(home: Home, site: Site, guest: Guest) -> Traits:
    """By what the guest is known; `BadInput` where its configuration cannot be read."""
    host = site.dom0s[guest.dom0]
    known = [read_config(home, host, guest.config)]
    with suppress(BadInput):  # it may be code; what is moved is known all the same
        if guest.start_config:
            own = read_config(home, host, guest.start_config)
            known.append(own.model_copy(update={"disks": tuple(d for d in own.disks if d.access == "w")}))  # not w!
    return Traits.of(guest.name, *known)


def _look(home: Home, site: Site, guest: Guest, *, sure: bool = True) -> _Seen:
    """Ask every Dom-0 of the site that can be asked. A configuration that cannot be read is an error where `sure`, else
    the guest is looked for by its name alone."""
    exported = by_xenserver(home, site, guest, "start")  # of such a guest, its Dom-0 knows no more than a folder
    folders = tuple(n for n, host in site.dom0s.items() if host.kind == "folder" or (exported and n == guest.dom0))
    names = [name for name in site.dom0s if name not in folders]
    if not names:
        return _Seen((), "", folders)
    try:
        known = traits(home, site, guest)
    except BadInput:
        if sure:
            raise
        known = Traits.of(guest.name)
    found: list[tuple[str, Sighting]] = []
    for name in names:
        host = asked(site.dom0s[name])
        every = _domains(host, name)
        marks = host.marks({*known.disks, *(disk for d in every for disk in d.disks or ())})
        seen = filter(None, (known.sighting(d, marks.__getitem__) for d in every))
        found += [(name, s if name == guest.dom0 else known.elsewhere(s)) for s in seen]
    return _Seen(tuple(found), ", ".join(names), folders)


def _domains(host: Dom0Host, name: str) -> list[Domain]:
    """Every domain of a Dom-0, with all that its lists tell; `ToolFailed` where these are not whole."""
    stack = host.toolstack()
    try:
        found = domains.listed(_printed(host, stack, "list"))
    except Dom0Unreached:
        raise
    except (ToolFailed, ValueError) as e:
        raise domains.unreadable(e, name) from None
    failure: ToolFailed | ValueError | None = None
    try:
        found = domains.merged(found, domains.detailed(_printed(host, stack, "list", "-l")))
    except (ToolFailed, ValueError) as e:
        failure = e
    if failure or any(d.id and d.disks is None for d in found):  # not all of them are made by this toolstack
        try:
            found = domains.merged(found, domains.stored(_printed(host, "xenstore-ls", "-f")))
        except (ToolFailed, ValueError):
            if failure:
                raise domains.unreadable(failure, name) from None
    if stack == "xl" and any(d.ending and d.disks is None for d in found):
        with suppress(ToolFailed, ValueError):
            found = domains.merged(found, {d.id: d for d in domains.listed(_printed(host, "xl", "list", "-v"))})
    return found


def _printed(host: Dom0Host, *argv: str) -> str:
    return host.run(argv, timeout=LISTING)


def _stack(host: Dom0Host) -> str:
    """What a person types there."""
    with suppress(ToolFailed):
        return host.toolstack()
    return "xl"


def _folders(home: Home, site: Site, names: Sequence[str]) -> str:
    paths = ", ".join(f"{name}: {_where(home, site.dom0s[name])}" for name in names)
    return f"the Dom-0 is a folder here ({paths})" if len(names) == 1 else f"Dom-0s are folders here ({paths})"


def _where(home: Home, dom0: Dom0) -> str:
    return str(home.path(dom0.root)) if dom0.root else str(dom0)


def _by_hand(home: Home, dom0: Dom0, command: list[str], then: str, *, code: str, what: str) -> Refused:
    line, exported = shlex.join(command), command[0] == "xe"
    place, newer = ("XenServer", "") if exported else ("Dom-0", f"   (on newer Xen: {line.replace('xm ', 'xl ', 1)})")
    return Refused(
        Problem(
            code=code,
            what=what,
            where=_where(home, dom0),
            found=f"{'an export' if exported else 'a mounted Dom-0'}: its Xen cannot be reached from here",
            remedy=f"type on the {place}: {line}{newer}; {then}",
        )
    )
