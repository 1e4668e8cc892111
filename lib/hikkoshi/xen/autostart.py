"""What starts a guest by itself when its Dom-0 starts, and would bring its addresses up a second time after a cut-over.

Looked at are xendomains' folder of configurations, what it saved at the last shutdown, the guests that xend manages, and
libvirt's links; and clusters and scripts (`starters.py`). These are files: a Dom-0 that is only a folder here is looked at, too.
What lies in a folder of xendomains is moved aside by a cut-over, and back by a rollback. Nothing else is changed from here.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from hikkoshi.check import Check, Permission, Unseen
from hikkoshi.errors import BadInput, Problem, StepFailed, ToolFailed
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.step import CUTOVER
from hikkoshi.xen import dom0, domains, original, sxp
from hikkoshi.xen.config import parse
from hikkoshi.xen.domains import Traits
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.reach.kinds import asked, reached
from hikkoshi.xen.starters import FOLDERS, Starters
from hikkoshi.xen.tree import Tree

AUTO, SAVE = Path("/etc/xen/auto"), Path("/var/lib/xen/save")  # where xendomains looks if its settings do not say
SETTINGS = (Path("/etc/default/xendomains"), Path("/etc/sysconfig/xendomains"), Path("/etc/conf.d/xendomains"))
MANAGED, LIBVIRT = Path("/var/lib/xend/domains"), Path("/etc/libvirt/libxl/autostart")
ASIDE = ".hikkoshi"  # added to the name of xendomains' folder, that of the folder beside it: links to ../NAME lead there, too
# what is in the way stays, unless it is the same link; coreutils 5.97 has no mv -n
_MOVE = """\
move() {
  if test -e "$2" || test -h "$2"; then
    test -h "$1" && test -h "$2" && test "`readlink "$1"`" = "`readlink "$2"`" || { echo "$2 is there already" >&2; exit 1; }
  fi
  mkdir -p "${2%/*}" && mv -f "$1" "$2" || exit 1
  case ${1%/*} in *.hikkoshi) rmdir "${1%/*}" 2>/dev/null;; esac
  return 0
}
"""


@dataclass(frozen=True)
class Start:
    """One thing that starts the guest with a Dom-0; `away` says how a person takes it away there. `line` 0: the whole file.

    `aside` is where it can be moved from here, on a Dom-0 that can be asked.
    """

    dom0: str
    path: Path
    away: str
    line: int = 0
    aside: Path | None = None

    def __str__(self) -> str:
        return f"{self.path}{f':{self.line}' if self.line else ''} on {self.dom0}"


def checks(home: Home, site: Site, guest: Guest) -> list[Check]:
    """What has to be known of every start of the source before a cut-over: by its Dom-0, and by a rollback."""
    return [check(home, site, guest, before=True), original.check(home, site, guest)]


def check(home: Home, site: Site, guest: Guest, *, before: bool = False) -> Check:
    """Whether nothing starts the source with a Dom-0. Dom-0s whose files cannot be read are not seen, and named.

    `before` the cut-over, what that moves aside is no reason against it.
    """
    check = partial(
        Check,
        code="no-autostart",
        title="no Dom-0 starts the source by itself",
        expected="no link, copy, or setting that starts it",
    )
    found, _, unread = _look(home, site, guest, every=before)
    if left := [s for s in found if not (before and s.aside)]:
        remedy = "; ".join(s.away for s in left)
        return check(ok=False, found="; ".join(map(str, left)), remedy=remedy, where=", ".join({s.dom0: 0 for s in left}))
    told = [*(f"{s}: {CUTOVER} moves it to {s.aside}" for s in found), *(f"not known: {what}" for what in unread)]
    unseen: Unseen | Literal[""] = "not done" if found else "not seen" if unread else ""
    return check(ok=True, found="; ".join(told) or f"nothing in {AUTO}, nor elsewhere", unseen=unseen)


def starts(home: Home, site: Site, guest: Guest) -> tuple[str, ...]:
    """What starts the guest with a Dom-0, as far as it can be looked at: `/etc/xen/auto/web01 on xenhost`."""
    return tuple(map(str, _look(home, site, guest)[0]))


def told(home: Home, site: Site, guest: Guest, *, before: bool = False) -> Check:
    """Whether the source comes back by itself when its Dom-0 starts again. Only told, never red; `before` a cut-over, too."""
    check = partial(Check, code="autostart-told", title="whether the source starts with its Dom-0", ok=True)
    found, kept, unread = _look(home, site, guest)
    if found:
        return check(found=f"yes, by {'; '.join(map(str, found))}")
    if before:
        return check(found=f"not known: {'; '.join(unread)}" if unread else "no", unseen="not seen" if unread else "")
    if kept:
        return check(found=f"no. Once it serves, this is put back: {'; '.join(map(str, kept))}")
    if unread:
        return check(found=f"not known: {'; '.join(unread)}", unseen="not seen")
    command = shlex.join(["ln", "-s", str(guest.own_config), f"{AUTO}/"])
    return check(found=f"no. If it did before, and was taken out for the cut-over, type on {guest.dom0}: {command}")


def move_aside(home: Home, site: Site, guest: Guest, permission: Permission) -> None:
    """Move out of xendomains' folders what starts the source, into a folder beside each."""
    permission.covers(CUTOVER.id, guest=guest.name)
    found, _, _ = _look(home, site, guest, scripts=False)
    for start in found:
        if start.aside:
            _move(site, start, start.path, start.aside)


def back(home: Home, site: Site, guest: Guest) -> Check:
    """Whether nothing is aside that a cut-over moved there. Where that is not known, nobody is kept from anything."""
    check = partial(Check, code="autostart-back", title="what starts the source with its Dom-0 is in its place")
    _, kept, unread = _look(home, site, guest, scripts=False)
    if kept:
        found, remedy = "; ".join(map(str, kept)), "; ".join(s.away for s in kept)
        return check(ok=False, found=found, expected="nothing that was moved aside", remedy=remedy, where=kept[0].dom0)
    told = f"not known: {'; '.join(unread)}" if unread else "nothing is aside"
    return check(ok=True, found=told, unseen="not seen" if unread else "")


def put_back(home: Home, site: Site, guest: Guest) -> None:
    """Move back what a cut-over has moved aside."""
    _, kept, _ = _look(home, site, guest, scripts=False)
    for start in kept:
        if start.aside:
            _move(site, start, start.aside, start.path)


def _move(site: Site, start: Start, old: Path, new: Path) -> None:
    """Move a file on a Dom-0. Nothing is written over, and a folder of ours that is empty then is removed."""
    typed = f"{shlex.join(['mkdir', '-p', str(new.parent)])} && {shlex.join(['mv', '-i', str(old), str(new)])}"
    script = f"{_MOVE}{shlex.join(['move', str(old), str(new)])}"
    try:
        asked(site.dom0s[start.dom0]).run(["sh", "-c", script], timeout=PATIENCE, acts=True)
    except ToolFailed as e:
        raise StepFailed(
            Problem(
                code="autostart-not-moved",
                what="what starts the source with its Dom-0 cannot be moved",
                where=start.dom0,
                found=e.problems[0].found,
                expected=f"{old} at {new}",
                remedy=f"see what is in the way, then type there: {typed}   and then run this again",
            )
        ) from None


def _look(
    home: Home, site: Site, guest: Guest, *, scripts: bool = True, every: bool = True
) -> tuple[list[Start], list[Start], list[str]]:
    """What starts the guest, what has been moved aside, and what could not be looked at.

    To look at `scripts`, and clusters, takes longest, and nothing of them is moved: they are left out where the caller only moves
    something, and where not `every` start has to be found, and there is one.
    """
    found: list[Start] = []
    kept: list[Start] = []
    unread: list[str] = []
    try:
        known = dom0.traits(home, site, guest)
    except (BadInput, ToolFailed) as e:
        return [], [], [f"{e.problems[0].what}: {e.problems[0].where}"]
    if typed := dom0.by_xenserver(home, site, guest, "start"):
        unread.append(f"whether XenServer starts it, as `{shlex.join(typed)}` does: see other-config:auto_poweron there")
    for name, host in site.dom0s.items():
        own = name == guest.dom0
        # a path of another Dom-0 may be another disk
        traits = known if own else Traits(known.names, known.uuid, frozenset(), known.macs)
        try:
            tree = Tree(name, reached(home, host), unread)
            files = _Files(tree, traits, (guest.config, guest.own_config) if own else ())
            found += files.starts()
            kept += files.kept()
            if scripts and (every or not found):
                found += files.starters()  # last: what takes too long there hides nothing of the others
        except (BadInput, ToolFailed) as e:
            unread.append(f"{name}: {e.problems[0].what}: {e.problems[0].where}")
    return found, kept, unread


@dataclass(frozen=True)
class _Files:
    """The files of one Dom-0, and the guest that is looked for in them."""

    tree: Tree
    guest: Traits
    configs: tuple[Path, ...]  # the guest's own configurations, on its own Dom-0

    def starts(self) -> Iterator[Start]:
        """What starts the guest by Xen's own tools, or libvirt; what cannot be read is kept by the tree."""
        configs = [(Path("/etc/xen"), 0), *((path.parent, 0) for path in self.configs)]
        places = [AUTO, _beside(AUTO), SAVE, LIBVIRT]
        self.tree.expect(files=SETTINGS, folders=[*configs, *((place, 0) for place in places), (MANAGED, 1)])
        autos, saves = self._settings()
        for folder in autos:
            yield from map(self._auto, self._matching(folder, self._is_configuration))
        for folder in saves:
            for path in self._matching(folder, lambda path: path.name in self.guest.names):
                yield self._typed(path, f"mv {shlex.quote(str(path))} /root/")
        for folder in self.tree.entries(MANAGED):
            text = self.tree.text(folder / "config.sxp")
            if re.search(r"\(on_xend_start\s+'?start'?\)", text) and self._is_managed(text):
                who, kept = folder.name, f"/root/{folder.name}.sxp"  # xm takes the UUID for a name
                command = f"xm list -l {who} > {kept} && sed -i 's/on_xend_start start/on_xend_start ignore/' {kept}"
                yield self._typed(folder / "config.sxp", f"{command} && xm delete {who} && xm new -F {kept}")
        for path in self.tree.entries(LIBVIRT):
            text = self.tree.text(path)
            if self._is_xml(text):
                called = re.search(r"<name>([^<]*)</name>", text)
                name = shlex.quote(called[1].strip() if called else path.stem)
                yield self._typed(path, f"virsh -c xen:/// autostart --disable {name}")

    def starters(self) -> Iterator[Start]:
        """Clusters and scripts that start it."""
        self.tree.expect(folders=FOLDERS)
        files = frozenset(x for path in self.configs for x in (path.name, path.stem))
        named = Starters(self.tree, self.guest.names | files | frozenset(filter(None, [self.guest.uuid])), self._is_configuration)
        yield from (Start(self.tree.name, one.path, one.away, one.line) for one in named.found())

    def kept(self) -> Iterator[Start]:
        """What was moved aside of this guest's, each as what it was. What is another guest's is there, too."""
        for folder in self._settings()[0] if isinstance(self.tree.host, Dom0Host) else []:
            for path in self._matching(_beside(folder), self._is_its_own):
                was = folder / path.name
                yield replace(self._typed(was, shlex.join(["mv", str(path), str(was)])), aside=path)

    def _auto(self, path: Path) -> Start:
        """One that xendomains starts. It is moved from here where it is the guest's for sure."""
        real, written = self.tree.real(path), shlex.quote(str(path))
        if real == path and real in map(self.tree.real, self.configs):  # there is no other one
            return self._typed(path, f"mv {written} /etc/xen/   and correct the path in the guest's parameters")
        start = self._typed(path, f"rm {written}" if real != path else f"mv {written} /root/")
        here = isinstance(self.tree.host, Dom0Host) and self.tree.real(path.parent) == path.parent
        return replace(start, aside=_beside(path.parent) / path.name) if here and self._is_its_own(path) else start

    def _is_its_own(self, path: Path) -> bool:
        """Whether it is the guest's for sure: by its file, by its name, and on another Dom-0 by its UUID or a MAC, too."""
        if self.tree.real(path) in map(self.tree.real, self.configs):
            return True
        try:
            found = parse(self.tree.text(path), str(path))
        except BadInput:
            return False
        known = Traits.of(found.name, found)
        same = bool(self.guest.macs & known.macs or (self.guest.uuid and self.guest.uuid == known.uuid))
        return found.name in self.guest.names and bool(self.configs or same)

    def _typed(self, path: Path, command: str) -> Start:
        return Start(self.tree.name, path, f"type on {self.tree.name}: {command}")

    def _settings(self) -> tuple[list[Path], list[Path]]:
        """Folders that xendomains starts guests from, and folders with guests that it saved."""
        folders = {"AUTO": [AUTO], "SAVE": [SAVE]}
        for settings in SETTINGS:
            for key, value in re.findall(
                r"^\s*(?:export\s+)?(?:XENDOMAINS_(?=AUTO=|SAVE=)|(?=(?:AUTO|SAVE)DIR=))(AUTO|SAVE)(?:DIR)?=(.*)$",
                self.tree.text(settings),
                re.MULTILINE,
            ):
                path = value.partition("#")[0].strip().strip("'\"")
                if re.search(r"[$`]", path):
                    self.tree.not_known(f"XENDOMAINS_{key}={path} in {settings} is computed")
                elif path.startswith("/") and Path(path) not in folders[key]:
                    folders[key].append(Path(path))
        return folders["AUTO"], folders["SAVE"]

    def _matching(self, folder: Path, fits: Callable[[Path], bool]) -> Iterator[Path]:
        for path in self.tree.entries(folder):
            if fits(path):
                yield path
            elif not self.tree.exists(path):
                self.tree.not_known(f"{path} leads to a file that is not there")

    def _is_configuration(self, path: Path) -> bool:
        """Whether a file that something would start is the guest's configuration itself, or one of the same guest."""
        text = self.tree.text(path)
        if not text:
            return False
        here, *own = map(self.tree.real, (path, *self.configs))
        if here in own:
            return True
        if text.lstrip().startswith("<"):
            return self._is_xml(text)
        try:
            found = parse(text, str(path))
        except BadInput:  # code, or no configuration
            return self._is_named_in(text)
        return self.guest.shares(Traits.of(found.name, found))

    def _is_managed(self, text: str) -> bool:
        try:
            found = [domains.from_sxp(tree) for tree in sxp.parse(text)]
        except ValueError:
            return self._is_named_in(text)
        return any(self.guest.shares(Traits(frozenset({d.name}), d.uuid, d.disks or frozenset(), d.macs)) for d in found)

    def _is_xml(self, text: str) -> bool:
        names = frozenset(x.strip() for x in re.findall(r"<name>([^<]*)</name>", text))
        uuid = re.search(r"<uuid>\s*([0-9a-fA-F-]{36})\s*</uuid>", text)
        macs = frozenset(x.lower() for x in re.findall(r"""<mac\s+address=['"]([^'"]+)""", text))
        disks = frozenset(re.findall(r"""<source\s+(?:file|dev)=['"]([^'"]+)""", text))
        return self.guest.shares(Traits(names, uuid[1].lower() if uuid else "", disks, macs))

    def _is_named_in(self, text: str) -> bool:
        """Whether a text that cannot be taken apart has the guest's name, UUID, or one of its MACs or disks in it."""
        names = "|".join(map(re.escape, self.guest.names))
        named = re.search(rf"""^\s*\(?name\b[\s=]*['"]?(?:{names})['"]?\s*\)?\s*(?:#.*)?$""", text, re.MULTILINE)
        words = {*self.guest.macs, *self.guest.disks, *filter(None, [self.guest.uuid])}
        return bool(named) or any(word.lower() in text.lower() for word in words)


def _beside(folder: Path) -> Path:
    """Where that is kept which was moved out of a folder."""
    return folder.with_name(folder.name + ASIDE)
