"""What a kernel writes to its terminal instead of into a message: crash reports, its log, what is printed while it ends.

The runner's own terminal does not get it: nobody would mask it there, and most of it is in the notebook already. The last
of it is kept for the error of a kernel that died.
"""

import os
import threading

from hikkoshi.secret.masking import Mask

KEPT = 4000  # bytes


class LastWords:
    """Reads what comes through `handle`, to be closed here once the kernel has it, until nobody can write to it any more."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._kept = b""
        read, self.handle = os.pipe()
        self._thread = threading.Thread(target=self._listen, args=(read,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the handle away: from now on only the kernel and its children can write."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def text(self, patience: float = 1) -> str:
        """The last lines, without secrets; of a kernel that has ended, all of them: `patience` in seconds."""
        self.close()
        self._thread.join(patience)
        lines = self._mask.text(self._kept.decode(errors="replace")).strip().splitlines()
        return "\n".join(lines[-20:])

    def _listen(self, read: int) -> None:
        while some := os.read(read, 65536):
            self._kept = (self._kept + some)[-KEPT:]
        os.close(read)
