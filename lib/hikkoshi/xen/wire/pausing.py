"""A guest that is paused while its disks are read: it stands still, and all who use it wait.

Xen keeps it in memory, and it goes on where it was. It may not stay so: a watcher on the Dom-0 lets it go on as soon as nobody
has told it for a minute to wait, whether we were killed or the network was cut; the next run sees to it once more.
"""

import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hikkoshi import files
from hikkoshi.errors import HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.progress import Progress
from hikkoshi.xen import domains
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host

LEASE, RENEWED = 60, 15.0  # seconds until the watcher lets the guest go on, and after which it is told anew to wait
SETTLED = 2.0  # seconds in which the Dom-0 ends what the guest had begun to write
NOTE = "paused"  # file in the guest's folder of images, as long as the guest may be paused
# the new watcher is there before the old one goes; each is the first of a session of its own
_WATCH = """\
command -v setsid >/dev/null || { echo "no program setsid" >&2; exit 1; }
setsid sh -c 'sleep "$2"; exec "$0" unpause "$1"' "$1" "$2" "$3" </dev/null >/dev/null 2>&1 &
echo $!
test -z "$4" || kill -9 "-$4" 2>/dev/null
true
"""


class Pause:
    """How long a guest has been paused."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.seconds = 0.0

    def told(self, progress: Progress) -> Progress:
        """A progress that says so, too."""
        return lambda done, total, text: progress(done, total, f"{text}; paused for {time.monotonic() - self._began:.0f} s")

    def end(self) -> None:
        """It goes on."""
        self.seconds = time.monotonic() - self._began


@contextmanager
def paused(host: Dom0Host, name: str, folder: Path) -> Iterator[Pause]:
    """Pause the guest, and let it go on at the end, whatever happens; `StepFailed` where it does not."""
    stack, over = host.toolstack(), threading.Event()
    files.write(folder / NOTE, f"{name}\n")
    watchers = [_watched(host, stack, name, "")]

    def renew() -> None:
        while not over.wait(RENEWED):
            with suppress(HikkoshiError):  # then it goes on, and what is read changes, which is told
                watchers.append(_watched(host, stack, name, watchers[-1]))

    keeper, pause = threading.Thread(target=renew, name="pause", daemon=True), Pause()
    keeper.start()
    try:
        host.run([stack, "pause", name], timeout=PATIENCE, acts=True)
        if not _is_paused(host, stack, name):
            raise StepFailed(_problem(name, "does not pause", "running", f"see what the Dom-0 says: {stack} list"))
        time.sleep(SETTLED)
        yield pause
    except BaseException as e:
        over.set()
        try:
            _go_on(host, stack, name, folder)
        except HikkoshiError as failed:
            if isinstance(e, HikkoshiError):
                raise type(e)(*e.problems, *failed.problems) from None
        raise
    else:
        over.set()
        _go_on(host, stack, name, folder)
    finally:
        pause.end()
        keeper.join(PATIENCE)
        if not (folder / NOTE).exists():  # else they are still needed
            with suppress(HikkoshiError):
                host.run(["sh", "-c", f"kill -9 -{watchers[-1]} 2>/dev/null; true"], timeout=PATIENCE)


def release(host: Dom0Host, folder: Path) -> None:
    """Let a guest go on that a killed run may have left paused."""
    if (folder / NOTE).is_file():
        _go_on(host, host.toolstack(), files.read(folder / NOTE, 1000).decode().strip(), folder)


def _watched(host: Dom0Host, stack: str, name: str, before: str) -> str:
    """Have a watcher in the place of the one `before`; gives its number there."""
    said = host.run(["sh", "-c", _WATCH, "sh", stack, name, str(LEASE), before], timeout=PATIENCE).strip()
    if not said.isdigit():
        raise Refused(
            _problem(name, "is not paused, as nothing there would let it go on", said[:80], "see what the Dom-0 prints")
        )
    return said


def _go_on(host: Dom0Host, stack: str, name: str, folder: Path) -> None:
    with suppress(ToolFailed):  # of one that is not paused, it may say so
        host.run([stack, "unpause", name], timeout=PATIENCE, acts=True)
    try:
        stays = "paused" if _is_paused(host, stack, name) else ""
    except ToolFailed as e:
        stays = f"not known: {e.problems[0].what}: {e.problems[0].found}"
    if stays:
        by_hand = shlex.join([stack, "unpause", name])
        raise StepFailed(
            _problem(name, "does not go on", stays, f"type there at once: {by_hand}. After {LEASE} s the Dom-0 does so by itself")
        )
    (folder / NOTE).unlink(missing_ok=True)


def _is_paused(host: Dom0Host, stack: str, name: str) -> bool:
    try:
        found = domains.listed(host.run([stack, "list"], timeout=PATIENCE))
    except ValueError as e:
        raise domains.unreadable(e, name) from None
    return any(d.name == name and "p" in d.state for d in found)


def _problem(name: str, what: str, found: str, remedy: str) -> Problem:
    return Problem(
        code="guest-not-as-paused",
        what=f"the guest {name} {what}",
        where=name,
        found=found,
        expected="paused while its disks are read, and running afterwards",
        remedy=remedy,
    )
