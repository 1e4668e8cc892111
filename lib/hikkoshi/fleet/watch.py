"""Where many guests stand, asked again and again: what cannot have changed is not read again."""

from collections.abc import Sequence
from pathlib import Path

from hikkoshi.params.home import Home
from hikkoshi.run.status import GuestStatus, status

ALL = 30  # looks after which everything is read again: a disk or a result may have been changed by hand
ORDER = ("running", "failed", "interrupted")  # what a person looks for; then whatever else, the guests by name


class Watch:
    """The guests that were named, else all that have a parameter file."""

    def __init__(self, home: Home, guests: Sequence[str] = ()) -> None:
        self._home, self._guests, self._looks = home, guests, 0
        self._known: dict[str, tuple[list[int], GuestStatus]] = {}

    def look(self) -> list[GuestStatus]:
        """All of them as they are now, first those that run, then those that failed or were interrupted."""
        if self._looks % ALL == 0:
            self._known.clear()
        self._looks += 1
        found = [self._of(guest) for guest in self._guests or self._home.guest_names()]
        return sorted(found, key=lambda s: ORDER.index(s.state) if s.state in ORDER else len(ORDER))

    def _of(self, guest: str) -> GuestStatus:
        marks, known = self._marks(guest), self._known.get(guest)
        if known is None or known[0] != marks or known[1].state == "running":  # a lock is let go of without a trace
            known = self._known[guest] = marks, status(self._home, [guest])[0]
        return known[1]

    def _marks(self, guest: str) -> list[int]:
        """The times of what changes when a run begins, tells something, ends, or is approved."""
        folder = self._home.folder(guest)
        return [_time(p) for p in (folder.journal, folder.lock, folder.runner_lock, folder.rollback_lock, folder.approvals)]


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
