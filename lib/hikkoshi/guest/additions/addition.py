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
from hikkoshi.errors import BadInput, Refused
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.run.step import PLAN, PREPARE

FOLDER = "/var/lib/hikkoshi"  # in the guest
BROUGHT = f"{FOLDER}/brought"
PREPARING, STARTING = f"{FOLDER}/prepare", f"{FOLDER}/first-start"  # folders of scripts
AGAIN = f"run {PREPARE} again; if it stays so, report it with prepared.json"
LARGEST = 1 << 20  # bytes of a script
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,120}")

Kind = Literal["script"]  # of what runs on the copy, and of what went wrong with it


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

    def __bool__(self) -> bool:
        return bool(self.listed())

    def listed(self) -> list[tuple[str, Carried]]:
        """(what it is for, file) of every file, in the order of their use."""
        return [*(("prepare", f) for f in self.prepare), *(("first_start", f) for f in self.first_start)]

    def placed(self) -> list[tuple[str, Carried, str]]:
        """(what it is for, file, its path in the guest)."""
        return [
            (what, carried, f"{place}/{n:02}-{carried.name}")
            for what, place, these in (("prepare", PREPARING, self.prepare), ("first_start", STARTING, self.first_start))
            for n, carried in enumerate(these, 1)
        ]

    def left(self, texts: Mapping[str, str]) -> "Additions":
        """Without what the guest's own list says that it got already."""
        done = {tuple(line.split(" ", 2)[:2]) for line in texts.get(BROUGHT, "").splitlines()}
        return Additions(
            **{name: tuple(f for f in getattr(self, name) if (name, f.sha256) not in done) for name in ("prepare", "first_start")}
        )

    def brought(self, texts: Mapping[str, str]) -> str:
        """The guest's list with these."""
        return texts.get(BROUGHT, "") + "".join(f"{what} {f.sha256} {f.name}\n" for what, f in self.listed())

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(what, which file, what is done with it), for a reader."""
        does = {"prepare": "runs in the appliance, on the copy", "first_start": "runs once, at the moved guest's first start"}
        yield from ((f"script, {what}", str(f), does[what]) for what, f in self.listed())


def of(home: Home, guest: Guest) -> Additions:
    """What the guest's parameters name, as it is now; `BadInput` with everything that is wrong with it."""
    if wrong := [c.problem() for c in checks(home, guest) if not c]:
        raise BadInput(*wrong)
    return Additions(
        prepare=tuple(_carried(home, p) for p in guest.prepare), first_start=tuple(_carried(home, p) for p in guest.first_start)
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


def _carried(home: Home, written: Path) -> Carried:
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
    runs = [{"kind": "script", "name": c.file, "argv": [place]} for what, c, place in placed if what == "prepare"]
    return {"folder": FOLDER, "files": taken, "runs": runs, "gone": [PREPARING] if runs else []}


def proofs(additions: Additions, ran: Sequence[Ran], brought: Mapping[str, str]) -> list[Check]:
    """Whether all scripts of the copy ran to their end, and those of the first start are there, as they were planned."""
    wanted = [f.file for f in additions.prepare]
    waiting = {place: f.sha256 for what, f, place in additions.placed() if what == "first_start"}
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
