"""What a line of a journal says: what a run of ours writes has a type and a name, and whatever else stands there its key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class CheckTold:
    """A check as a line tells of it; `facts` are those that something is decided by."""

    code: str
    title: str
    state: str
    found: str
    expected: str
    facts: Mapping[str, Any]
    of: str  # the event: preflight or verify


@dataclass(frozen=True)
class ArtefactTold:
    """A file that a run listed as its evidence."""

    file: str  # below the site's folder
    bytes: int
    sha256: str
    modified: int | None  # st_mtime_ns; earlier versions did not list it
    time: str  # of the line


@dataclass(frozen=True)
class NicTold:
    """A NIC that was put on another segment."""

    mac: str
    before: str  # the segment; empty where it was on none
    after: str


@dataclass(frozen=True, eq=False)
class JournalEntry(Mapping[str, Any]):
    """One line. What is not there, or not of its type, is empty, zero or None."""

    line: Mapping[str, Any]  # as it stands
    event: str
    n: int
    time: str
    run: str
    step: str
    mode: str
    guest: str
    title: str
    code: str
    state: str
    found: str
    outcome: str
    error: str
    kind: str  # class of the error
    of: str  # the run that was sealed, or was not
    why: str
    by: str  # who decided it
    plan: str  # SHA-256, of what was permitted
    vmdk: str
    machine: str
    record: str
    sha256: str
    time_stamp: str
    changed: str
    seconds: float | None
    clock: int | None  # nanoseconds, by the file system's clock
    service: bool | None  # whether the permission was for the service; None in a line of an earlier version
    codes: tuple[str, ...]  # of the problems that it failed by
    inputs: Mapping[str, str]
    checks: tuple[CheckTold, ...]
    artefacts: tuple[ArtefactTold, ...]
    nics: tuple[NicTold, ...]

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> "JournalEntry":
        """The entry that a line is; any object of JSON is one."""
        texts = {f.name: _text(line, f.name) for f in fields(cls) if f.type is str}
        names = ("n", "seconds", "clock", "service", "codes", "inputs")
        n, seconds, clock, service, codes, inputs = map(line.get, names)
        return cls(
            line=line,
            **texts,
            n=n if isinstance(n, int) else 0,
            seconds=seconds if isinstance(seconds, int | float) else None,
            clock=clock if isinstance(clock, int) else None,
            service=service if isinstance(service, bool) else None,
            codes=tuple(c for c in codes if isinstance(c, str)) if isinstance(codes, list) else (),
            inputs=inputs if isinstance(inputs, dict) else {},
            checks=tuple(_check(c, texts["event"]) for c in _list(line, "checks")),
            artefacts=tuple(a for part in _list(line, "artefacts") if (a := _artefact(part, texts["time"]))),
            nics=tuple(NicTold(*(_text(nic, name) for name in ("mac", "before", "after"))) for nic in _list(line, "nics")),
        )

    @property
    def put_back(self) -> bool:
        """Whether it was told on stderr first, and written when that could be done again."""
        return "told" in self.line

    @property
    def when(self) -> datetime:
        """Its time; `ValueError` where that is none."""
        return datetime.fromisoformat(self.time)

    def __getitem__(self, key: str) -> Any:
        return self.line[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.line)

    def __len__(self) -> int:
        return len(self.line)


def _text(line: Mapping[str, Any], name: str) -> str:
    return found if isinstance(found := line.get(name), str) else ""


def _list(line: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = line.get(name)
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


def _check(told: Mapping[str, Any], event: str) -> CheckTold:
    code, title, state, found, expected = (_text(told, name) for name in ("code", "title", "state", "found", "expected"))
    return CheckTold(code, title, state, found, expected, facts if isinstance(facts := told.get("facts"), dict) else {}, event)


def _artefact(told: Mapping[str, Any], time: str) -> ArtefactTold | None:
    file, size, digest, modified = (told.get(name) for name in ("file", "bytes", "sha256", "modified"))
    if not isinstance(file, str) or type(size) is not int or not isinstance(digest, str):
        return None
    return ArtefactTold(file, size, digest, modified if isinstance(modified, int) else None, time)
