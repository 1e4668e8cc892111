"""A guest that is paused while its disks are read: it stands still, and all who use it wait.

Xen keeps it in memory, and it goes on where it was. It may not stay so: the Dom-0 lets it go on by itself as soon as nobody has
told it for a minute to wait, whether we were killed or the network was cut; the next run sees to it once more. What was read is
believed only where the guest stood still from the beginning to the end: not every device tells that somebody writes to it.
"""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hikkoshi import files
from hikkoshi.errors import HikkoshiError, Problem, StepFailed, ToolFailed
from hikkoshi.progress import Progress
from hikkoshi.xen import domains
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.wire import watcher
from hikkoshi.xen.wire.watcher import Watcher

LEASE = 60.0  # seconds until the Dom-0 lets the guest go on
SETTLED = 2.0  # seconds in which the Dom-0 ends what the guest had begun to write
NOTE = "paused"  # file in the guest's folder of images, as long as the guest may be paused


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
    """Pause the guest, and let it go on at the end, whatever happens; `StepFailed` where it does not, or has not stood still."""
    stack = host.toolstack()
    watching = Watcher(host, [stack, "unpause", name], LEASE)
    files.write(folder / NOTE, f"{name}\n{watching.word}\n")
    with watching:
        pause = Pause()
        try:
            host.run([stack, "pause", name], timeout=PATIENCE, acts=True)
            if not _is_paused(host, stack, name):
                raise StepFailed(_problem(name, "does not pause", "running", f"see what the Dom-0 says: {stack} list"))
            time.sleep(SETTLED)
            yield pause
            if not (_is_paused(host, stack, name) and watching.held):
                found = "the Dom-0 may have heard nothing of us for too long, or somebody has let it go on"
                raise StepFailed(_problem(name, "did not stand still while its disks were read", found, "run this again"))
        except BaseException as e:
            try:
                _go_on(host, stack, name, folder)
            except HikkoshiError as failed:
                if isinstance(e, HikkoshiError):
                    raise type(e)(*e.problems, *failed.problems) from None
            else:
                watching.end()
            raise
        else:
            _go_on(host, stack, name, folder)
            watching.end()
        finally:
            pause.end()


def release(host: Dom0Host, folder: Path) -> None:
    """Let a guest go on that a killed run may have left paused. The Dom-0 does so no more: it would, while we read, too."""
    if (folder / NOTE).is_file():
        name, _, word = files.read(folder / NOTE, 1000).decode().strip().partition("\n")
        _go_on(host, host.toolstack(), name, folder)
        watcher.end(host, word)


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
            _problem(
                name, "does not go on", stays, f"type there at once: {by_hand}. After {LEASE:.0f} s the Dom-0 does so by itself"
            )
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
