"""What a person decides once a guest serves in vSphere: keep it so, or go back, and until when there is time for that."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hikkoshi.errors import HikkoshiError
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.run.byhand import AGAIN
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.shutdown import ASKED
from hikkoshi.run.step import CUTOVER

UNTOUCHED = "nothing was changed: put right what is told above, then run it again"


@dataclass(frozen=True)
class Decision:
    """`until`: the end of the maintenance window; None where the guest's parameters name none, or nobody knows its beginning.

    `begun`: whether a cut-over has been permitted to act since the last rollback.
    """

    guest: str
    until: datetime | None
    begun: bool = True

    @property
    def left(self) -> str:
        """Until when, and how long that is from now."""
        if self.until is None:
            return "no `window` in the guest's parameters"
        minutes = round((self.until - datetime.now(UTC)).total_seconds() / 60)
        rest = f"{minutes} minutes are left" if minutes >= 0 else f"over since {-minutes} minutes"
        return f"until {self.until.astimezone():%H:%M}, {rest}"

    def rows(self) -> list[dict[str, str]]:
        """Both ways, for a table."""
        return [
            {"decision": "keep", "what to do": "nothing", "until": "–"},
            {"decision": "go back", "what to do": AGAIN.format(self.guest), "until": self.left},
        ]

    def __str__(self) -> str:
        return f"keep: nothing to do · go back: {AGAIN.format(self.guest)} · {self.left}"


def of(guest: Guest, entries: Iterable[JournalEntry]) -> Decision:
    """The decision about a guest, by its journal: the window begins where a cut-over first acted on the service.

    A cut-over that was run again after a rollback has another window; one that was only continued has the same.
    """
    began: JournalEntry | None = None
    for line in entries:
        if line.step == CUTOVER.id and line.event == "start" and line.code == ASKED[1]:
            began = line  # the source is asked to go off
        elif line.step == CUTOVER.id and line.event == "permitted" and began is None:
            began = line  # it was off before
        elif (line.event, line.code, line.state) == ("step", "source-runs", "done"):
            began = None
    if began is None or guest.window is None:
        return Decision(guest.name, None, begun=began is not None)
    try:
        return Decision(guest.name, began.when + timedelta(minutes=guest.window))
    except (ValueError, TypeError):
        return Decision(guest.name, None)


def told(home: Home, guest: str, *, ended_well: bool = True) -> str:
    """The same in one line; after a cut-over that did nothing and did not end well, that nothing was changed.

    Nothing is in its way: without parameters that can be read, it tells the two ways.
    """
    try:
        found = of(home.guest(guest), Journal(home.folder(guest).journal).entries())
        return str(found) if found.begun or ended_well else UNTOUCHED
    except (HikkoshiError, OSError):
        return str(Decision(guest, None))
