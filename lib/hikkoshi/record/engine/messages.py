"""What a kernel sends: numbered, so that no record lacks output without a word, and whatever text it holds."""

import json
import re
from typing import Any

import zmq
from jupyter_client.jsonutil import json_clean, json_default
from jupyter_client.session import Session

BINARY = {"image/png", "image/jpeg", "image/gif", "application/pdf"}  # what a notebook keeps as base64
LONE = re.compile("[\ud800-\udfff]")  # half of a character, as a file's name of another encoding has it: no UTF-8 holds it


def load_ipython_extension(shell: Any) -> None:
    """For a kernel, as an extension of IPython: output that is read more slowly than it is printed waits; none is dropped.

    ZMQ takes that for who is connected already. Before a cell is run, whoever asked for it is; before that, a kernel that starts
    fast may have nobody.
    """
    thread = shell.kernel.iopub_thread
    shell.events.register("pre_execute", lambda: thread.schedule(lambda: thread.socket.setsockopt(zmq.SNDHWM, 0)))


def pack(message: Any) -> bytes:
    """For a kernel, to write its messages by: jupyter_client's own packer loses a cell's whole output over half a character."""
    try:
        return json.dumps(message, default=json_default, allow_nan=False).encode()
    except (TypeError, ValueError):
        return json.dumps(json_clean(message), default=json_default, allow_nan=False).encode()


KERNEL = [f"--Session.packer={__name__}.{pack.__name__}", f"--IPKernelApp.extra_extensions={__name__}"]  # its arguments


def unpack(message: bytes) -> Any:
    """Read one; half a character becomes its name, such as ``\\udc83``."""
    found = json.loads(message)
    if b"\\ud" not in message:
        return found
    return json.loads(LONE.sub(lambda half: f"\\\\u{ord(half[0]):04x}", json.dumps(found, ensure_ascii=False)))


class Numbered(Session):  # type: ignore[misc]
    """Counts a kernel's messages as they are received, on whatever channel.

    An ipykernel numbers all that it sends, in one count: `msg_id` is SESSION_PID_NUMBER (jupyter_client, session.py). What it
    sends faster than the socket takes is dropped there (ZMQ's high-water mark), and nothing else tells of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unpack = unpack
        self._whose, self._before, self._last = "", -1, -1
        self._seen = set[int]()
        self.answered = ""  # the msg_id of the request that was answered last

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> dict[str, Any]:
        """Take a message apart, as any session does, and note its number."""
        message: dict[str, Any] = super().deserialize(msg_list, content, copy)
        whose, _, number = message["header"]["msg_id"].rpartition("_")
        if number.isdigit() and message["header"].get("session") != self.session:
            if whose != self._whose:  # a new process of a kernel: it counts from the start
                self._whose, self._before, self._last = whose, int(number), int(number)
                self._seen.clear()
            self._seen.add(int(number))
            self._last = max(self._last, int(number))
        if message["msg_type"] == "execute_reply":
            self.answered = message["parent_header"].get("msg_id", "")
        return message

    def begin(self) -> None:
        """Count from the next message on: what was sent before anybody listened was for nobody."""
        self._before = self._last
        self._seen.clear()

    def missing(self) -> int:
        """How many messages were sent between the first and the last of those that came, and did not come."""
        return self._last - self._before - len({n for n in self._seen if n > self._before})


def leave_out_torn(masked: Any, shown: Any) -> None:
    """Take those pictures out of what a cell shows in whose bytes a secret was masked: nothing could read them any more."""
    for kind in BINARY & (masked or {}).keys():
        if masked[kind] != shown[kind]:
            held = " and ".join(sorted(set(re.findall("‹.+?›", masked.pop(kind)))))
            masked["text/plain"] = f"({kind} left out: it held {held}) {masked.get('text/plain', '')}".strip()
