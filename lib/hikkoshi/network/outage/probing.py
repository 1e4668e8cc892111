"""Asking on many NICs of a host at once who has an address: duplicate address probes (RFC 5227) by arping of iputils.

Their sender is 0.0.0.0, so that they change nobody's cache. Each is answered within milliseconds or not at all, so what
takes time is the connection: there is one for everything.
"""

import os
import re
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from hikkoshi import tool
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.network import nics
from hikkoshi.network.host import SBIN, Host
from hikkoshi.network.nics import Nic
from hikkoshi.network.wiring.frames import FrameEvidence

WAIT = 15  # seconds for everything, where arping itself waits for one
PARALLEL = 200  # questions at a time: each is two processes on the host
SETTLE = 0.2  # seconds to go on after every NIC has an answer, or as long again as that took: what contradicts it has its chance
_SCRIPT = """
set -f
case `arping -V 2>&1` in *iputils*|*BusyBox*) ;; *) echo "other" `arping -V 2>&1`; exit;; esac
echo "looked"
ask() {{
  said=`arping -D -c 1 -w 1 -I $1 $2 2>&1`
  echo "asked $1 $2 $?" $said
}}
{calls}
wait
echo "done"
"""


@dataclass
class Asked:
    """The host's NICs, and the answers on those that were asked: {NIC: [(seconds until it came, answer)]}."""

    nics: dict[str, Nic] = field(default_factory=dict)
    answers: dict[str, list[tuple[float, FrameEvidence]]] = field(default_factory=dict)


def ask(host: Host, names: Sequence[str], addresses: Sequence[IPv4Address]) -> Asked:
    """Ask for every address on every NIC of those names.

    Ends a moment after every NIC has an answer, or with arping's own second where one gets none. `BadInput` for a NIC that
    there is not; `ToolFailed` where arping is missing or another program of that name, or fails.
    """
    calls = [f"ask {shlex.quote(n)} {a} &" for n in names for a in addresses]
    batches = "\nwait\n".join("\n".join(calls[at : at + PARALLEL]) for at in range(0, len(calls), PARALLEL))
    asked = Asked(answers={n: [] for n in names})
    failed: dict[str, Problem] = {}
    with tempfile.TemporaryFile() as errors:  # not a pipe: one that nobody empties would stop the script
        begin = time.monotonic()
        script = SBIN + nics.script(["arping"]) + _SCRIPT.format(calls=batches)
        process = host.start(["sh", "-c", script], errors=errors.fileno())
        try:
            ended, told = False, ""
            for line in _lines(process, asked, begin):
                kind, *words = line.split(" ", 4)
                told += "" if asked.nics else line + "\n"
                if kind in ("looked", "other"):
                    asked.nics = nics.parsed(host, told, names)
                if kind == "other":
                    found = line.removeprefix("other ")[:100]
                    raise ToolFailed(
                        Problem(
                            code="arping-of-another-kind",
                            what="the arping there is another program of that name",
                            where=host.name,
                            found=found,
                            expected="arping of iputils",
                            remedy="install iputils-arping there",
                        )
                    )
                if kind == "asked" and len(words) == 4:
                    nic, address, status, said = words
                    mac = re.search(r"\[([0-9A-Fa-f:]{17})\]", said)
                    if mac and status == "1":
                        answer = FrameEvidence("answer", mac[1].lower(), IPv4Address(address))
                        asked.answers[nic].append((time.monotonic() - begin, answer))
                    elif status != "0" and asked.nics[nic].link != "down":
                        failed[nic] = Problem(
                            code="arping-failed",
                            what="arping failed",
                            where=f"{host.name}, {nic}",
                            found=f"exit status {status}: {said}",
                            remedy="its words name the cause; it has to run as root",
                        )
                ended = ended or kind == "done"
        finally:
            tool.end(process)
        if failed:
            raise ToolFailed(*failed.values())
        if not ended and not (asked.nics and all(asked.answers.values())):
            errors.seek(0)
            found = f"ended early or not within {WAIT} s: {tool.tail(errors.read().decode(errors='replace'), 4)}"
            remedy = "see whether the host can be reached, then run this again"
            raise ToolFailed(
                Problem(
                    code="arping-unfinished", what="asking did not come to its end", where=host.name, found=found, remedy=remedy
                )
            )
    return asked


def _lines(process: "subprocess.Popen[bytes]", asked: Asked, begin: float) -> Iterator[str]:
    """Lines as they come; the last ones a moment after every NIC has an answer."""
    assert process.stdout
    poll, rest, until = select.poll(), b"", begin + WAIT
    poll.register(process.stdout, select.POLLIN)
    while poll.poll(max(0, until - time.monotonic()) * 1000):
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if all(asked.answers.values()):
            now = time.monotonic()
            until = min(until, now + max(SETTLE, now - begin))
