"""The text of a VGA screen, from a dump of its memory. No character recognition: text mode keeps text."""

from dataclasses import dataclass

MEMORY = 0xB8000  # physical address of the text memory
MEMORY_BYTES = 0x8000
COLUMNS, ROWS = 80, 25
_CELLS = MEMORY_BYTES // 2  # each a character of code page 437 and its colours

# below 32 code page 437 has pictures (faces, arrows, notes) where Python's decoder gives control characters
_CONTROL = dict.fromkeys([*range(32), 127], " ")


@dataclass(frozen=True)
class Screen:
    """What the video memory held: `start` is the cell, counted in characters, of the upper left corner."""

    memory: bytes
    start: int = 0
    graphics: bool = False  # in a graphics mode the text memory says nothing

    @property
    def text(self) -> str:
        """The lines, trailing blanks and trailing empty lines removed; empty in a graphics mode."""
        return "" if self.graphics else "\n".join(lines(self.memory, self.start))


def lines(memory: bytes, start: int = 0) -> list[str]:
    """At most 25 lines of at most 80 characters, from a dump of any length.

    The memory is a ring: a screen that begins near its end goes on at its beginning, as the hardware shows it.
    """
    ring = memory[: _CELLS * 2].ljust(_CELLS * 2, b"\0")[::2]
    begin = start % _CELLS
    cells = (ring[begin:] + ring[:begin])[: COLUMNS * ROWS].decode("cp437").translate(_CONTROL)
    shown = [cells[n : n + COLUMNS].rstrip() for n in range(0, len(cells), COLUMNS)]
    while shown and not shown[-1]:
        shown.pop()
    return shown
