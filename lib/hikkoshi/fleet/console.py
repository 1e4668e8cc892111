"""A run as lines of text: on a terminal progress redraws its line, elsewhere there is a line of it every few seconds."""

import shutil
import textwrap
import time
from collections.abc import Callable
from typing import IO

from hikkoshi.errors import printable
from hikkoshi.record.engine.notebook import Event

EVERY = 5.0  # seconds between lines of progress where lines stay
SILENCE = 30.0  # seconds after which even a silent cell says that it is alive


class Console:
    """A listener that writes to `out`; `clock` counts seconds."""

    def __init__(self, out: IO[str], *, redraw: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._redraw, self._clock = out, redraw, clock
        self._cell, self._cell_since, self._told = "", clock(), clock()
        self._waiting = ""  # progress that was not shown yet
        self._drawn = False  # whether the line that the cursor is in is to be drawn over

    def __call__(self, event: Event) -> None:
        """Show one event."""
        now = self._clock()
        event = Event(event.kind, printable(event.text))
        if event.kind == "progress":
            self._waiting = event.text.strip().splitlines()[-1]
            if self._redraw:
                self._draw(self._waiting)
            elif now - self._told >= EVERY:
                self._flush()
        elif event.kind == "tick":
            if self._redraw:
                self._draw(self._waiting or f"… {_clock(now - self._cell_since)}")
            elif self._waiting and now - self._told >= EVERY:
                self._flush()
            elif now - self._told >= SILENCE:
                self._line(f"    … {self._cell}: still at it after {_clock(now - self._cell_since)}")
        else:
            self._flush()
            if event.kind == "cell":
                self._cell, self._cell_since = event.text, now
                self._line(f"  {event.text}")
            else:
                self._line(textwrap.indent(event.text, "    "))

    def heading(self, text: str) -> None:
        """A line that stands out."""
        self._flush()
        self._line(printable(text))

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, ""
            self._line(f"    {waiting}")

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns
        self._out.write(f"\r\x1b[2K    {text}"[: width + 4])
        self._out.flush()
        self._drawn = True

    def _line(self, text: str) -> None:
        self._out.write(("\r\x1b[2K" if self._drawn else "") + text + "\n")
        self._out.flush()
        self._drawn, self._told = False, self._clock()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
