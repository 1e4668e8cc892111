"""Which files tell what a run did: what it listed itself, wherever their times lie, and what changed while it went on.

What a run lists is held to by hash. What it did not list, since it failed or was killed, is found by the file system's own
clock: that of the machine, by which runs are named, may differ from it.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hikkoshi import files
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record import bag
from hikkoshi.record.bag import Content
from hikkoshi.run.entry import ArtefactTold, JournalEntry

LEFT_OUT = "left-out.tsv"
HEADING = "file\tbytes\tsha256\twhy\n"
LARGEST = 256 << 20  # bytes of one file; what is larger stays out, too
LOCKS = (*(GuestFolder.lock, GuestFolder.runner_lock, GuestFolder.rollback_lock, GuestFolder.turn_lock), GuestFolder.seal_lock)
OWN = (*LOCKS, GuestFolder.journal, GuestFolder.plan)  # no evidence, or in the record by another name
A_DISK, LARGE, ODD = "a disk", "larger than 256 MiB", "not a regular file"
ELSEWHERE = "not in the site's folder"
CHANGED, GONE = "changed since it was listed", "not there any more"  # of what was listed, when it is sealed later
Entries = Sequence[JournalEntry]


@dataclass(frozen=True)
class Selection:
    """Files for a record {name below data/: file}, and the rows of left-out.tsv for those that stay out."""

    payload: dict[str, Content]
    left_out: bytes


def of_run(home: Home, guest: str, run: str, entries: Entries) -> Selection:
    """What a run listed, and what changed in the guest's folder while it went on."""
    folder = home.folder(guest)
    begin, end = _period(folder, entries, run)
    payload, rows, seen = dict[str, Content](), list[str](), set[str]()
    for artefact in listed(entries, run).values():
        path = _place(home, artefact.file)
        inside = path.relative_to(folder).as_posix() if path and path.is_relative_to(folder) else ""
        seen.add(inside)
        why = _why_not(path, inside, artefact) if path else ELSEWHERE
        if path and not why:
            payload[_name(home, path, inside)] = path
        elif why:
            rows.append(_row(inside or artefact.file, artefact.bytes, artefact.sha256, why))
    for name, path, found in _files(folder):
        if name not in seen and begin <= found.st_ctime < end:
            _sort(name, path, found, _known(folder, entries), payload, rows)
    framed = [name for name in payload if name == GuestFolder.plan or name.startswith(f"{GuestFolder.approvals}/")]
    for name in framed:
        del payload[name]  # every record holds them
    return Selection(payload, "".join([HEADING, *rows]).encode())


def of_guest(home: Home, guest: str, entries: Entries) -> Selection:
    """Everything in the guest's folder as it is now."""
    payload, rows = dict[str, Content](), list[str]()
    known = _known(home.folder(guest), entries)
    for name, path, found in _files(home.folder(guest)):
        _sort(name, path, found, known, payload, rows)
    return Selection(payload, "".join([HEADING, *rows]).encode())


def listed(entries: Entries, run: str = "") -> dict[str, ArtefactTold]:
    """{file: what a run's journal tells of it}, the last word of each; of all runs where none is named."""
    lines = [e for e in entries if e.event == "evidence" and (not run or e.run == run)]
    return {a.file: a for e in lines for a in e.artefacts}


def outside(rows: bytes) -> dict[str, str]:
    """{SHA-256: why} of what a left-out.tsv names."""
    found = {}
    for line in rows.decode(errors="replace").splitlines()[1:]:
        columns = line.split("\t")
        if len(columns) == 4:
            found[columns[2]] = columns[3]
    return found


def _place(home: Home, written: str) -> Path | None:
    """Where a listed file is, below the home; none where a name or a link leads out of it."""
    path = home.root / written
    if ".." in Path(written).parts or Path(written).is_absolute():
        return None
    top = home.outputs if path.is_relative_to(home.outputs) else home.root  # outputs/ itself may be a link, to a larger disk
    return path if path.parent.resolve() == top.resolve() / path.parent.relative_to(top) else None


def _why_not(path: Path, inside: str, artefact: ArtefactTold) -> str:
    """Why a listed file stays out; empty where it does not."""
    if not os.path.lexists(path):
        return GONE
    if not files.regular(path):
        return ODD
    if inside.startswith(f"{GuestFolder.disks}/"):
        return f"{A_DISK}, {CHANGED}" if _written(artefact, path.stat()) else A_DISK
    if path.stat().st_size > LARGEST:
        return LARGE
    return "" if files.sha256(path, own=True) == artefact.sha256 else CHANGED


def _name(home: Home, path: Path, inside: str) -> str:
    if inside == GuestFolder.plan or inside.startswith(f"{GuestFolder.approvals}/"):
        return inside
    if path.parent == home.reports:
        return f"reports/{bag.plain(path.name)}"
    return f"evidence/{bag.plain(inside)}" if inside else f"elsewhere/{bag.plain(str(path.relative_to(home.root)))}"


def _sort(
    name: str, path: Path, found: os.stat_result, known: Mapping[str, ArtefactTold], payload: dict[str, Content], rows: list[str]
) -> None:
    """Put a file that is not a matter of the run's own list into the payload, or into the list of what stays out."""
    disk, regular = name.startswith(f"{GuestFolder.disks}/"), stat.S_ISREG(found.st_mode)
    if regular and not disk and found.st_size <= LARGEST:
        payload[f"evidence/{bag.plain(name)}"] = path
        return
    artefact = known.get(name)
    same = artefact and artefact.bytes == found.st_size and not _written(artefact, found)
    digest = artefact.sha256 if artefact and same else "unknown"
    rows.append(_row(name, found.st_size, digest, A_DISK if disk else LARGE if regular else ODD))


def _known(folder: GuestFolder, entries: Entries) -> dict[str, ArtefactTold]:
    """{name in the guest's folder: what was listed of it}."""
    return {file.rpartition(f"/{folder.name}/")[2]: artefact for file, artefact in listed(entries).items()}


def _written(artefact: ArtefactTold, found: os.stat_result) -> bool:
    """Whether a file was written to since it was listed; earlier versions did not list its time, but their own."""
    if artefact.modified is not None:
        return artefact.modified != found.st_mtime_ns
    return found.st_mtime > datetime.fromisoformat(artefact.time).timestamp()


def _row(name: str, size: int, digest: str, why: str) -> str:
    return f"{bag.plain(name)}\t{size}\t{digest}\t{why}\n"


def _files(folder: GuestFolder) -> Iterator[tuple[str, Path, os.stat_result]]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if here == folder:
            folders[:] = [f for f in folders if f not in (GuestFolder.runs, GuestFolder.approvals)]
        links = [f for f in folders if (here / f).is_symlink()]  # os.walk does not follow them
        found = [n for n in (*names, *links) if not n.endswith(".part") and not (here == folder and n in OWN)]
        for path in (here / n for n in sorted(found)):
            yield path.relative_to(folder).as_posix(), path, path.lstat()


def begun(run: str) -> datetime | None:
    """When a run began, by its name."""
    try:
        return datetime.strptime(run[:17], "%Y%m%dT%H%M%SZ-").replace(tzinfo=UTC)
    except ValueError:
        return None


def _period(folder: GuestFolder, entries: Entries, run: str) -> tuple[float, float]:
    """From the opening of a run until the next one was opened, by the file system's clock where the journal has it.

    Else, for runs that were killed before they were opened, and for those of earlier versions: by the runs' names, a
    second more where these tell no finer.
    """
    opened = [(e.run, e.clock / 1e9 if e.clock is not None else None) for e in entries if e.event == "open"]
    own = next((n for n, (name, _) in enumerate(opened) if name == run), len(opened))
    lines = [e for e in entries if e.run == run]
    named = begun(run) or (lines[0].when if lines else None)
    begin = opened[own][1] if own < len(opened) else None
    if begin is None:
        begin = named.timestamp() if named else float("-inf")
    later = [clock for name, clock in opened[own + 1 :] if clock is not None and name != run]
    clocks = {name for name, clock in opened if clock is not None}
    others = {e.run for e in entries if e.run} | {p.name.partition(".")[0] for p in _notebooks(folder)}
    times = [b.timestamp() for b in map(begun, others - clocks) if b]
    later += [t + timedelta(seconds=1).total_seconds() for t in times if t > begin]
    return begin, min(later, default=float("inf"))


def _notebooks(folder: GuestFolder) -> Iterator[Path]:
    return folder.runs.glob("*.ipynb")
