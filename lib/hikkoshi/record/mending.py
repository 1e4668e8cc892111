"""What killed seals left is removed, and the record that one named but did not enter comes into the register."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval import approver
from hikkoshi.params import folder
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record import acknowledgement, attestation, bag, inspection
from hikkoshi.record.register import Register
from hikkoshi.run import lock
from hikkoshi.run.lock import Asked


def mend(home: Home, list_of_all: Register) -> None:
    """Remove what killed seals left, and enter the record that was named but not entered, by what it says of the register."""
    guests = [p for p in sorted(list_of_all.path.parent.iterdir()) if p.is_dir() and not p.is_symlink()]
    there = [p for guest in guests for p in sorted(guest.iterdir())]
    for guest in guests:
        for part in acknowledgement.parts(guest):
            part.unlink()
    for guest in guests:
        if half(guest) or not any(guest.iterdir()):
            with alone(folder.of(home.outputs, guest.name), 0) as ours:
                if ours:
                    clear(guest)
    entered = {line.identifier for line in list_of_all.lines()}
    folders = [p for p in there if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
    missing = [p for p in folders if f"{p.parent.name}/{p.name}" not in entered]
    while found := next((p for p in missing if _follows(p, list_of_all) and _whole(home, p)), None):
        missing.remove(found)
        enter(list_of_all, found)


def _follows(record: Path, list_of_all: Register) -> bool:
    info = bag.read_info(record)
    named = info.get("External-Identifier") == f"{record.parent.name}/{record.name}"
    return named and info.get("Register-Previous-SHA256") == list_of_all.head()


def _whole(home: Home, record: Path) -> bool:
    """Whether a record is as somebody sealed it here: good, or unsigned for a reason that it tells itself."""
    found = inspection.inspect(record, approver.trust(home, home.site()), None, lambda more: None, {})
    alone = found.info.get("Sealed-By", "").startswith("nobody: ") and len(found.problems) == 1
    return not found.problems or (alone and found.problems[0].code == attestation.UNSIGNED)


def enter(list_of_all: Register, record: Path) -> None:
    """Add the record's line to the register."""
    info = bag.read_info(record)
    list_of_all.append(
        sealed=info["Sealed"],
        guest=record.parent.name,
        record=record.name,
        outcome=info["Outcome"],
        sha256=files.sha256(record / bag.TAG_MANIFEST, own=True),
        signer=info["Sealed-By"].partition(":")[0],
    )


@contextlib.contextmanager
def alone(guest: GuestFolder, wait: float, stopped: Asked = lock.never) -> Iterator[bool]:
    """Nobody else builds a record of this guest for as long as this lasts; whether that is so after `wait` seconds."""
    if not guest.is_dir():
        yield True  # and nobody can
        return
    with files.updated(guest.seal_lock) as handle:
        yield lock.take(handle, wait, stopped)


def half(records: Path) -> list[Path]:
    """The unfinished records in a guest's folder of records, or whatever has such a name."""
    return sorted(records.glob(".*.part"))


def clear(records: Path) -> None:
    """Remove them; and the folder, where it holds nothing else."""
    for part in half(records):
        _remove(part)
    with contextlib.suppress(OSError):  # there is something in it
        records.rmdir()


def _remove(part: Path) -> None:
    """Remove an unfinished record, or whatever has its name."""
    if part.is_symlink() or not part.is_dir():
        part.unlink()
        return
    for path in [part, *part.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(part)
