"""The guests of a Dom-0, by their files in /etc/xen and by what runs; each NIC with its MAC and the VLAN that it is on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hikkoshi.disk.xva import EXPORTS
from hikkoshi.errors import BadInput, HikkoshiError, Problem, ToolFailed, nearest
from hikkoshi.params.forms import NAME_WORDS, can_be_guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0
from hikkoshi.sitefolder import bridges
from hikkoshi.xen import domains, listing, root, xva
from hikkoshi.xen.config import XenGuest, parse
from hikkoshi.xen.dom0 import LISTING
from hikkoshi.xen.live import stored
from hikkoshi.xen.live.segments import Ways
from hikkoshi.xen.reach.host import PATIENCE, Dom0Files, Dom0Host
from hikkoshi.xen.reach.kinds import reached
from hikkoshi.xen.tree import Tree

FOLDER = Path("/etc/xen")
_NO_GUEST = re.compile(r"x[lm]example.*|.*(?:~|\.(?:bak|old|orig|save|swp|rpm\w+|dpkg-\w+))", re.IGNORECASE)
_NO_XEN = ("program-missing", "dom0-lacks-program")
_NAME = re.compile(r"""^[ \t]*name[ \t]*=[ \t]*['"]([^'"\n]+)['"]""", re.MULTILINE)
# what a domain is called while it migrates, restarts or dies, and what is none of the guests
_PASSING = re.compile(r"(?:Zombie-|migrating-).*|.*(?:--incoming|-dm)|Domain-0|\(null\)|")


@dataclass(frozen=True)
class SourceNic:
    """One NIC. `vlan` is None where it is not known, and `by` says why; else `by` is the port that leads out."""

    number: int
    mac: str  # empty where nothing tells it
    bridge: str
    vlan: int | None
    by: str
    drawn: bool = False  # its file gives it no MAC: Xen draws one at every start, and `mac` is that of now


@dataclass(frozen=True)
class SourceGuest:
    """One guest as its Dom-0 has it. `remarks` is what a person has to know of it, `open` what they have to find out."""

    name: str
    dom0: str
    config: Path
    runs: bool = False
    shape: str = ""  # its processors, memory and disks, in words; empty where its file tells nothing
    nics: tuple[SourceNic, ...] = ()
    remarks: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


@dataclass
class _File:
    """A file of a guest; `xen` is None where it cannot be used, and `why` says why."""

    path: Path
    name: str
    xen: XenGuest | None
    why: str = ""


@dataclass
class SourceHost:
    """What was found on one Dom-0."""

    guests: list[SourceGuest] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # what could not be looked at


def look(home: Home, name: str, dom0: Dom0) -> SourceHost:
    """All guests of the Dom-0 called `name`; an error where it does not answer, or has neither files nor Xen."""
    tree = Tree(name, reached(home, dom0))
    running, store = _running(tree, tree.host) if isinstance(tree.host, Dom0Host) else (frozenset[str](), "")
    tree.expect(folders=[(FOLDER, 1)])
    exported = list(_exports(tree)) if dom0.kind == "folder" else []
    if not running and not exported and (why := _hidden(tree.host, FOLDER)):
        raise BadInput(
            Problem(
                code="no-xen-here",
                what="the Dom-0 has no configurations of guests",
                where=tree.host.shown(FOLDER),
                found=why,
                expected="the files of a Dom-0, readable, or exports (XVA), or Xen itself",
                remedy=f"see whether {name} is the right machine or folder, and its user root; of a copied disk, "
                "/etc/xen has to be there",
            )
        )
    ways = bridges.ways(tree)
    own: dict[str, list[_File]] = {}
    for file in (*_files(tree), *exported):
        own.setdefault(file.name, []).append(file)
    guests = []
    for guest in sorted({*own, *running}):
        files = sorted(own.get(guest, ()), key=lambda f: (f.xen is None, f.path.stem != guest, str(f.path)))
        guests.append(_guest(tree, guest, files, ways, _vifs(store, guest), runs=guest in running))
    return SourceHost(guests, list(tree.unread))


def every(home: Home, dom0s: Mapping[str, Dom0]) -> tuple[list[SourceGuest], list[str]]:
    """All guests of these Dom-0s, and what could not be looked at; all errors of all Dom-0s at once."""
    hosts, errors = {}, list[HikkoshiError]()
    for name, dom0 in dom0s.items():
        try:
            hosts[name] = look(home, name, dom0)
        except (BadInput, ToolFailed) as e:
            errors.append(e)
    if errors:
        kind = ToolFailed if all(isinstance(e, ToolFailed) for e in errors) else BadInput
        raise kind(*(p for e in errors for p in e.problems))
    found = merged(hosts)
    unread = [line for host in hosts.values() for line in host.unread]
    unread += [
        f"{g.name} on {g.dom0}: no file can have this name; it needs {NAME_WORDS}" for g in found if not can_be_guest(g.name)
    ]
    return [g for g in found if can_be_guest(g.name)], unread


def chosen(guests: Sequence[SourceGuest], wanted: Sequence[str], unread: Sequence[str] = ()) -> list[SourceGuest]:
    """Those of the guests that are wanted, or all; `BadInput` for one that is not there, and where there is none.

    `unread`: what could not be looked at, where it may be.
    """
    names = [g.name for g in guests]
    if missing := [name for name in dict.fromkeys(wanted) if name not in names] or [""] * (not names):
        raise BadInput(
            *(
                Problem(
                    code="guest-not-found",
                    what="no Dom-0 has this guest",
                    where=f"--guest {name}" if name else "the Dom-0s",
                    found="; ".join([", ".join(names) or "no guest at all", *(f"not looked at: {what}" for what in unread)]),
                    expected="a configuration in /etc/xen, or a guest that runs",
                    remedy=nearest(name, names) or "correct the name, or name the Dom-0 that has it",
                )
                for name in missing
            )
        )
    return [g for g in guests if not wanted or g.name in wanted]


def merged(hosts: Mapping[str, SourceHost]) -> list[SourceGuest]:
    """Every guest once: of several Dom-0s the only one on which it runs, else the first that has it, and a person decides."""
    found: dict[str, SourceGuest] = {}
    for guest in (g for host in hosts.values() for g in host.guests):
        first = found.setdefault(guest.name, guest)
        if first is not guest:
            kept, other = (guest, first) if guest.runs and not first.runs else (first, guest)
            more = f"{other.dom0} has it too ({other.config})"
            if kept.runs and not other.runs:
                kept = replace(kept, remarks=(*kept.remarks, f"{more}; it was not seen to run there"))
            else:
                which = "it runs on both" if kept.runs else "it was not seen to run on either"
                kept = replace(kept, open=(*kept.open, f"{more}, and {which}: find out which one is the guest"))
            found[guest.name] = kept
    return [found[name] for name in sorted(found)]


def _hidden(host: Dom0Files, folder: Path) -> str:
    """Why a folder cannot be looked at; empty where it can."""
    try:
        return "" if host.found(folder).kind == "folder" else "something else than a folder"
    except OSError as e:
        return e.strerror or str(e)


def _running(tree: Tree, host: Dom0Host) -> tuple[frozenset[str], str]:
    """(Names of the guests that run, the store that has their NICs, empty where it cannot be read)."""
    try:
        listed = domains.listed(host.run([host.toolstack(), "list"], timeout=LISTING))
    except ValueError as e:
        raise domains.unreadable(e, tree.name) from None
    except ToolFailed as e:
        if e.problems[0].code not in _NO_XEN:
            raise
        tree.not_known("what runs: neither xl nor xm is there")
        return frozenset(), ""
    names = frozenset(d.name for d in listed if d.id and not d.ending and not _PASSING.fullmatch(d.name))
    try:
        return names, host.run(["xenstore-ls", "-f"], timeout=PATIENCE) if names else ""
    except HikkoshiError as e:
        tree.not_known(f"with which NICs its guests run: {e.problems[0].what}")
        return names, ""


def _vifs(store: str, guest: str) -> Mapping[int, tuple[str, str]]:
    try:
        return stored.vifs(store, guest) if store else {}
    except ValueError:
        return {}


def _files(tree: Tree) -> Iterator[_File]:
    """The files of guests, each once: a link in `auto` leads to one that is elsewhere, as a rule."""
    seen = set()
    paths = tree.below(FOLDER, lambda path: not _NO_GUEST.fullmatch(path.name) and path.parent.name != "scripts")
    for path in sorted(paths, key=lambda p: (p.parent.name == "auto", str(p))):
        real = tree.real(path)
        if real in seen:
            continue
        seen.add(real)
        text = tree.text(path)
        named = _NAME.search(text)
        if named or listing.is_listing(text):
            own = real if path.parent.name == "auto" else path  # the link goes when the guest is not to start by itself
            try:
                xen = parse(text, tree.host.shown(own))
                yield _File(own, xen.name, xen)
            except BadInput as e:
                if named:
                    yield _File(own, named[1], None, e.problems[0].what)


def _exports(tree: Tree) -> Iterator[_File]:
    """The exports of XenServer or XCP-ng that lie in a folder itself."""
    for path in tree.entries(Path("/")):
        if path.name.lower().endswith(EXPORTS):
            try:
                xen = root.read_from(tree.host, path)
                yield _File(path, xen.name, xen)
            except BadInput as e:
                yield _File(path, path.name.partition(".")[0], None, e.problems[0].what)


def _guest(
    tree: Tree, name: str, files: list[_File], ways: Ways, running: Mapping[int, tuple[str, str]], *, runs: bool
) -> SourceGuest:
    if not files:
        nics = tuple(_nic(n, *told, ways) for n, told in sorted(running.items()))
        remark = f"it runs, and no file in {FOLDER} is its own: write where its configuration is"
        return SourceGuest(name, tree.name, FOLDER / name, runs, "", nics, open=(remark,))
    first, *others = files
    remarks = [f"another file of this name is there: {file.path}" for file in others]
    if first.xen is None:
        why = f"its configuration cannot be used as it is: {first.why}; the survey says what to do"
        nics = tuple(_nic(n, *told, ways) for n, told in sorted(running.items()))
        return SourceGuest(name, tree.name, first.path, runs, "", nics, tuple(remarks), (why,))
    if first.xen.form == xva.FORM:
        remarks.append(f"{first.path} is an export: what the guest has written since is not in it")
    elif first.xen.form:
        remarks.append(f"{first.path} is {first.xen.form}: Xen starts no guest from that. Write start_config")
    told = [(vif, running.get(n, ("", ""))) for n, vif in enumerate(first.xen.vifs)]
    nics = tuple(
        _nic(n, vif.mac or mac, bridge or vif.bridge, ways, drawn=not vif.mac) for n, (vif, (mac, bridge)) in enumerate(told)
    )
    remarks += [f"NIC {n} runs ({running[n][0]}), and is not in its file" for n in sorted(running) if n >= len(told)]
    return SourceGuest(name, tree.name, first.path, runs, _shape(first.xen), nics, tuple(remarks))


def _nic(number: int, mac: str, bridge: str, ways: Ways, *, drawn: bool = False) -> SourceNic:
    vlan, by = ways.vlan(bridge)
    return SourceNic(number, mac, bridge, vlan, by, drawn)


def _shape(xen: XenGuest) -> str:
    disks = ", ".join(d.vdev for d in xen.disks if not d.cdrom)
    return f"{xen.type}, {xen.vcpus} vCPU, {xen.memory_mb} MB, {f'disks {disks}' if disks else 'no disk'}"
