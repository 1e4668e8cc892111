"""What a Dom-0 undoes by itself: as soon as nobody has told it for a while to wait, whether we were killed or cut off.

A watcher there waits, and then does it. Each time that it is told to wait on, a new watcher takes the place of the old one.
"""

import re
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from hikkoshi.errors import HikkoshiError, Problem, Refused
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host

RENEWED = 15.0  # seconds after which it is told anew to wait
# the new watcher is there before the old one goes; each is the first of a session of its own, and known by a word that nothing
# else has: a number alone may be another program's by now
_WATCH = """\
command -v setsid >/dev/null || { echo "no program setsid" >&2; exit 1; }
w=$1 b=$2 s=$3; shift 3
setsid sh -c 's=$1; shift; sleep "$s"; for n in 1 2 3; do "$@" && exit; sleep 5; done' "$w" "$s" "$@" </dev/null >/dev/null 2>&1 &
echo $!
test -z "$b" || ! grep -q "$w" "/proc/$b/cmdline" 2>/dev/null || kill -9 "-$b" 2>/dev/null
true
"""


_END = """\
for w; do
  for f in `grep -lF -e "$w" /proc/[0-9]*/cmdline 2>/dev/null`; do f=${f#/proc/}; kill -9 "-${f%/*}" 2>/dev/null; done
done
true
"""


class Watcher:
    """As long as this lasts, the Dom-0 waits `seconds` longer and longer; then it runs `undo`. A context manager.

    Leaving it, the Dom-0 is told no more; whoever has undone it, calls `end` before, and the Dom-0 has nothing left to do.
    """

    def __init__(self, host: Dom0Host, undo: Sequence[str], seconds: float) -> None:
        self._host, self._undo, self._seconds = host, undo, seconds
        self.word, self._number = f"hikkoshi-{secrets.token_hex(8)}", ""
        self._over, self._lost, self._told = threading.Event(), False, 0.0
        self._keeper = threading.Thread(target=self._keep, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._told = _now()
        self._watch()
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._keeper.join(PATIENCE)

    @property
    def held(self) -> bool:
        """Whether the Dom-0 has waited all the time, for certain."""
        return not self._lost and _now() < self._told + self._seconds

    def end(self) -> None:
        """There is nothing left to undo."""
        self.__exit__()
        with suppress(HikkoshiError):
            end(self._host, self.word)

    def _keep(self) -> None:
        while not self._over.wait(RENEWED):
            with suppress(HikkoshiError):  # then it is told the next time, if it can be told at all
                began = _now()
                self._watch()
                self._lost = not self.held
                self._told = began

    def _watch(self) -> None:
        argv = ["sh", "-c", _WATCH, "sh", self.word, self._number, f"{self._seconds:g}", *self._undo]
        said = self._host.run(argv, timeout=PATIENCE).strip()
        if not said.isdigit():
            raise Refused(
                Problem(
                    code="dom0-without-watcher",
                    what="the Dom-0 would not undo by itself what is about to be done there",
                    where=" ".join(self._undo),
                    found=said[:80],
                    expected="the number of a program that watches",
                    remedy="see what the Dom-0 prints",
                )
            )
        self._number = said


def end(host: Dom0Host, *words: str) -> None:
    """Have the watchers undo nothing more that have one of these words in their command, of a killed run, too: the word by
    which one is known, or the name of a snapshot that it would remove."""
    # any other one might be in the command line of another program
    if ours := [word for word in words if re.fullmatch(r"hikkoshi-[0-9a-f]{8}[0-9a-f-]\S+", word)]:
        host.run(["sh", "-c", _END, "sh", *ours], timeout=PATIENCE)


def _now() -> float:
    """Seconds, those too in which this machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
