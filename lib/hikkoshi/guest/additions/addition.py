"""What is brought into a guest's copy: each file by its hash, as it was when the move was planned. Part of the plan.

In the guest all of it lies in `FOLDER`. The list `BROUGHT` there tells what was brought already, so that nothing comes twice.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

from hikkoshi import files, tool
from hikkoshi.artefact import Frozen
from hikkoshi.check import Check
from hikkoshi.errors import Refused
from hikkoshi.guest.additions.packages import Software
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.run.step import PLAN, PREPARE

FOLDER = "/var/lib/hikkoshi"  # in the guest
BROUGHT = f"{FOLDER}/brought"
RESULT = f"{FOLDER}/first-start.result"  # of the first start
PREPARING, STARTING = f"{FOLDER}/prepare", f"{FOLDER}/first-start"  # folders of scripts
INSTALLING, WAITING = f"{FOLDER}/packages", f"{FOLDER}/archive"  # of packages, and of what the first start unpacks
AGAIN = f"run {PREPARE} again; if it stays so, report it with prepared.json"
LARGEST, LARGEST_FILE = 1 << 20, 512 << 20  # bytes of a script, and of anything else
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,120}")

Kind = Literal["script", "packages"]  # of what runs on the copy, and of what went wrong with it

PLACES = {"packages": INSTALLING, "prepare": PREPARING, "archive": WAITING, "first_start": STARTING}
ARCHIVE_SCRIPT = f"{STARTING}/00-vmware-tools.sh"


class Carried(Frozen):
    """One file."""

    file: str  # as the guest's parameters name it; a relative path starts at the home
    sha256: str
    bytes: int

    @property
    def name(self) -> str:
        """Without its folder."""
        return PurePath(self.file).name

    def __str__(self) -> str:
        return f"{self.file}, {self.bytes:,} bytes, SHA-256 {self.sha256}"


class Ran(Frozen):
    """What was brought into the copy and run there, to its end with exit status 0: else there is no copy."""

    kind: Kind
    name: str
    status: int
    output: str  # its end, without the guest's secrets


class Additions(Frozen):
    """All of it. Each script runs once: those of `prepare` on the copy, the others when the moved guest starts first."""

    prepare: tuple[Carried, ...] = ()
    first_start: tuple[Carried, ...] = ()
    packages: tuple[Carried, ...] = ()  # of VMware Tools, all of one kind
    software: tuple[Software, ...] = ()  # what these hold, in the same order
    archive: tuple[Carried, ...] = ()  # of VMware Tools; one at most
    repository: str = ""  # the command by which the moved guest installs them
    no_tools: str = ""  # the reason why it gets none

    def __bool__(self) -> bool:
        return bool(self.listed() or self.repository or self.no_tools)

    def listed(self) -> list[tuple[str, Carried]]:
        """(what it is for, file) of every file, in the order of their use."""
        return [(what, f) for what in PLACES for f in getattr(self, what)]

    @property
    def starts(self) -> bool:
        """Whether anything runs at the first start."""
        return bool(self.archive or self.first_start)

    @property
    def brings_tools(self) -> bool:
        """Whether VMware Tools are brought, by whatever way."""
        return bool(self.packages or self.archive or self.repository)

    @property
    def waiting(self) -> list[str]:
        """The names of the scripts of the first start, in their order."""
        own = [place.rpartition("/")[2] for what, _, place in self.placed() if what == "first_start"]
        return [*([ARCHIVE_SCRIPT.rpartition("/")[2]] if self.archive else []), *own]

    def placed(self) -> list[tuple[str, Carried, str]]:
        """(what it is for, file, its path in the guest)."""
        return [
            (what, f, f"{place}/{f.name}" if what in ("packages", "archive") else f"{place}/{n:02}-{f.name}")
            for what, place in PLACES.items()
            for n, f in enumerate(getattr(self, what), 1)
        ]

    def left(self, texts: Mapping[str, str]) -> "Additions":
        """Without what the guest's own list says that it got already."""
        done = {tuple(line.split(" ", 2)[:2]) for line in texts.get(BROUGHT, "").splitlines()}
        kept = {name: tuple(f for f in getattr(self, name) if (name, f.sha256) not in done) for name in PLACES}
        pairs = zip(self.packages, self.software, strict=True)
        software = tuple(s for f, s in pairs if f in kept["packages"])
        return self.model_copy(update={**kept, "software": software})

    def brought(self, texts: Mapping[str, str]) -> str:
        """The guest's list with these."""
        return texts.get(BROUGHT, "") + "".join(f"{what} {f.sha256} {f.name}\n" for what, f in self.listed())

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(what, which file, what is done with it), for a reader."""
        does = {
            "packages": "installed on the copy by the guest's own package manager",
            "prepare": "runs in the appliance, on the copy",
            "archive": "its installer runs once, unattended, at the moved guest's first start",
            "first_start": "runs once, at the moved guest's first start",
        }
        for what, f in self.listed():
            yield f"{'script' if what in ('prepare', 'first_start') else 'VMware Tools'}, {what}", str(f), does[what]
        if self.repository:
            yield "VMware Tools, repository", self.repository, "run by the moved guest's own shell, in the cut-over"
        if self.no_tools:
            yield "VMware Tools, none", self.no_tools, "on purpose"


def scripts(home: Home, guest: Guest) -> Additions:
    """The scripts that the guest's parameters name, as they are now."""
    return Additions(
        prepare=tuple(carried(home, p) for p in guest.prepare), first_start=tuple(carried(home, p) for p in guest.first_start)
    )


def checks(home: Home, guest: Guest) -> list[Check]:
    """Whether each script that the parameters name can be brought into the guest."""
    return [_usable(home, written, guest.name) for written in dict.fromkeys((*guest.prepare, *guest.first_start))]


def _usable(home: Home, written: Path, guest: str) -> Check:
    path, found = home.path(written), ""
    try:
        size = path.stat().st_size
        with path.open("rb") as f:
            head = f.read(2)
        if not path.is_file() or size > LARGEST:
            found = f"{size:,} bytes" if path.is_file() else "no regular file"
        elif head != b"#!":
            found = "it does not begin with #!"
        elif not NAME.fullmatch(path.name):
            found = "its name has other signs than letters, digits and . _ + ~ -"
    except OSError as e:
        found = e.strerror or str(e)
    return Check(
        code="script-usable",
        title=f"the script {written} can be brought along",
        ok=not found,
        found=found or f"{size:,} bytes",
        expected=f"a readable script of at most {files.human(LARGEST)} that begins with its interpreter, such as #!/bin/sh",
        remedy=f"correct the file, or its name in params/guests/{guest}.yml",
        where=str(path),
    )


def carried(home: Home, written: Path) -> Carried:
    """A file that the parameters name, as it is now."""
    path = home.path(written)
    return Carried(file=str(written), sha256=files.sha256(path), bytes=path.stat().st_size)


def as_planned(root: Path, additions: Additions) -> list[Check]:
    """Whether every file is still what it was when it was planned."""
    found = []
    for carried in dict.fromkeys(f for _, f in additions.listed()):
        try:
            now = files.sha256(root / carried.file)
        except OSError as e:
            now = e.strerror or str(e)
        found.append(_same(carried, now))
    return found


def _same(carried: Carried, now: str) -> Check:
    return Check(
        code="brought-file-as-planned",
        title=f"{carried.file} is as it was planned",
        ok=now == carried.sha256,
        found=now,
        expected=carried.sha256,
        remedy=f"put the file back as it was; or run {PLAN} again, and have the new plan approved",
        where=carried.file,
    )


def job(root: Path, additions: Additions, folder: Path) -> dict[str, Any]:
    """What the worker needs to bring all of it into the copy; `folder` gets the files, which are held against the plan here.

    `Refused` for a file that is another than was planned.
    """
    taken, placed = [], additions.placed()
    for n, (_, carried, place) in enumerate(placed):
        copy = folder / f"brought-{n}"
        taken.append({"from": str(copy), "to": place, "mode": 0o700})
        if not (same := _same(carried, _copied(root / carried.file, copy))):
            raise Refused(same.problem())
    runs = _installs([place for what, _, place in placed if what == "packages"], additions.software)
    runs += [{"kind": "script", "name": c.file, "argv": [place]} for what, c, place in placed if what == "prepare"]
    # of an earlier move: by its result nothing would run; the archive's script, 00, is there already, as one of the edits
    scripts = [f"{STARTING}/0[1-9]-*", f"{STARTING}/[1-9]*"] if additions.archive else [STARTING]
    stale = [RESULT, WAITING, *scripts] if additions.starts else []
    return {"folder": FOLDER, "files": taken, "runs": runs, "stale": stale, "gone": [INSTALLING, PREPARING]}


def _installs(paths: Sequence[str], software: Sequence[Software]) -> list[dict[str, Any]]:
    """What has the guest's own package manager install these, and say that they are whole, and which versions it has."""
    names = [s.name for s in software]
    whole = 'out=$(dpkg --audit) && printf "%s" "$out" && [ -z "$out" ]'
    steps: list[list[str]] = []
    if paths and paths[0].endswith(".rpm"):
        stale = ["/bin/sh", "-c", "rm -f /var/lib/rpm/__db.*"]  # of another machine; rpm trips over them
        ask = ["rpm", "-q", *names]
        steps = [stale, ["rpm", "-U", "--test", *paths], ["rpm", "-U", *paths], ["rpm", "-V", *names], stale, ask]
    elif paths:
        told = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\\n", *names]
        steps = [["dpkg", "--force-confold", "-i", *paths], ["/bin/sh", "-c", whole], told]
    return [{"kind": "packages", "name": " ".join(argv), "argv": argv} for argv in steps]


def proofs(additions: Additions, ran: Sequence[Ran], brought: Mapping[str, str]) -> list[Check]:
    """Whether all scripts of the copy ran to their end, and those of the first start are there, as they were planned."""
    wanted = [f.file for f in additions.prepare]
    waiting = {place: f.sha256 for what, f, place in additions.placed() if what in ("archive", "first_start")}
    installs = [r for r in ran if r.kind == "packages"]
    return [
        *(
            Check(
                code="scripts-ran",
                title="every script of `prepare` ran on the copy",
                ok=[r.name for r in ran if r.kind == "script" and not r.status] == wanted,
                found="; ".join(f"{r.name}: exit status {r.status}, {tool.tail(r.output, 1)}" for r in ran if r.kind == "script"),
                expected=f"exit status 0 of {', '.join(wanted)}",
                remedy=AGAIN,
            )
            for _ in wanted[:1]
        ),
        *(
            Check(
                code="tools-installed",
                title="VMware Tools are installed in the copy, whole",
                ok=bool(installs) and not any(r.status for r in installs),
                found=tool.tail(installs[-1].output, 40) if installs else "nothing was installed",
                expected=", ".join(f"{s.name} {s.version}" for s in additions.software),
                remedy=AGAIN,
            )
            for _ in additions.packages[:1]
        ),
        *(
            Check(
                code="first-start-waits",
                title="what runs at the first start waits in the copy",
                ok=waiting.items() <= brought.items(),
                found=", ".join(f"{place}, SHA-256 {sha}" for place, sha in brought.items()) or "nothing",
                expected=", ".join(f"{place}, SHA-256 {sha}" for place, sha in waiting.items()),
                remedy=AGAIN,
            )
            for _ in list(waiting)[:1]
        ),
    ]


def _copied(path: Path, copy: Path) -> str:
    """SHA-256 of the very bytes that were copied, or why there are none."""
    try:
        shutil.copyfile(path, copy)
    except OSError as e:
        return e.strerror or str(e)
    with copy.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
