"""Listening on many NICs of a host at once, without sending anything: one tcpdump per NIC, its captures read here as they grow.

tcpdump of any age will do. It dissects nothing there, it writes raw frames of broadcasts and multicasts. Nothing stays on
the host: the shell that holds the captures is not the one that dies with the caller or the connection; it notices within a
second that nobody listens any more, ends every tcpdump and removes its folder.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed, ToolFailed
from hikkoshi.network.host import SBIN, Host
from hikkoshi.network.nics import Nic
from hikkoshi.network.wiring import frames
from hikkoshi.network.wiring.capture import Growing
from hikkoshi.network.wiring.frames import FrameEvidence
from hikkoshi.progress import Progress

LEAST = 3  # seconds to listen even where every NIC is known: what contradicts it has its chance
STALLED = 15  # seconds without a word from the host, which says something every second
# Frames kept per NIC, and bytes of each: a storm fills no disk, and all of it fits into ssh's window, so that the script
# comes to its end without anybody who takes it, even over a connection that is dead and does not know it.
FRAMES, BYTES = 300, 512
_SCRIPT = """
listen() {{
  trap 'exit 1' HUP INT TERM PIPE
  trap 'trap "" HUP INT TERM PIPE; test -z "$d" || {{ kill -9 $pids; wait; rm -rf "$d"; }} 2>/dev/null' EXIT
  d=`mktemp -d "${{TMPDIR:-/tmp}}/hikkoshi.XXXXXX"` || exit
  for n in {nics}; do
    tcpdump -p -n -s {bytes} -U -c {frames} -i $n -w - 'ether multicast' >"$d/$n.pcap" 2>"$d/$n.txt" </dev/null &
    pids="$pids $!"
    echo $! >"$d/$n.pid"
    echo 0 >"$d/$n.at"
  done
  t=0
  while test $t -lt {seconds}; do
    sleep 1
    t=$(($t + 1))
    for n in {nics}; do
      read at <"$d/$n.at"
      size=`wc -c <"$d/$n.pcap"`
      if test $size -gt $at; then
        more=$(($size - $at))
        echo "data $n $more" || exit
        tail -c +$(($at + 1)) "$d/$n.pcap" | head -c $more || exit
        echo $size >"$d/$n.at"
      fi
      read pid <"$d/$n.pid"
      if test $pid != 0 && ! kill -0 $pid 2>/dev/null; then
        wait $pid
        status=$?
        size=`wc -c <"$d/$n.txt"`
        echo "ended $n $(($size)) $status" && cat "$d/$n.txt" || exit
        echo 0 >"$d/$n.pid"
      fi
    done
    echo "second $t" || exit
  done
}}
d= pids=
listen &
wait $!
"""


@dataclass
class Ear:
    """What has been heard on one NIC until now; `frames` counts those of other machines."""

    capture: Growing
    evidence: list[FrameEvidence] = field(default_factory=list)
    frames: int = 0
    after: float | None = None  # seconds until the first evidence that names a segment


def listen(
    host: Host,
    names: Sequence[str],
    nics: Mapping[str, Nic],
    seconds: int,
    names_segment: Callable[[FrameEvidence], object],
    progress: Progress,
) -> dict[str, Ear]:
    """Listen on the NICs of those names until each has evidence that names a segment, or `seconds` are over.

    `nics` are all of the host: what they sent themselves is no evidence. `ToolFailed` where tcpdump or the host fails,
    `StepFailed` where it falls silent.
    """
    ears = {n: Ear(Growing(f"{host.name}, {n}")) for n in names}
    own, problems = {nic.mac for nic in nics.values()}, list[Problem]()
    kept = min(FRAMES, 10 * FRAMES // max(1, len(names)))
    script = SBIN + _SCRIPT.format(nics=" ".join(names), seconds=seconds, bytes=BYTES, frames=kept)
    begin = time.monotonic()
    with contextlib.closing(_messages(host, script, seconds)) as messages:
        for kind, words, content in messages:
            if kind == "data":
                hear(ears[words[0]], content, own, names_segment, time.monotonic() - begin)
            elif kind == "ended" and words[2] != "0" and nics[words[0]].link != "down":
                said = tool.tail(content.decode(errors="replace"))
                problems.append(
                    Problem(
                        code="tcpdump-ended-early",
                        what="tcpdump ended early",
                        where=f"{host.name}, {words[0]}",
                        found=said,
                        remedy="its words name the cause; it has to run as root",
                    )
                )
            elif kind == "second":
                if problems:
                    raise ToolFailed(*problems)
                known = sum(ear.after is not None for ear in ears.values())
                progress(int(words[0]), seconds, f"{known} of {len(ears)} NICs known")
                if known == len(ears) and int(words[0]) >= LEAST:
                    break
    return ears


def hear(ear: Ear, piece: bytes, own: set[str], names_segment: Callable[[FrameEvidence], object], after: float) -> None:
    """Add what a piece of a NIC's capture tells; what the host itself sent, by its `own` MACs, tells nothing."""
    for frame in ear.capture.feed(piece):
        if frames.source(frame.data) not in own:
            found = frames.evidence(frame.data)
            ear.frames += 1
            ear.evidence += found
            if ear.after is None and any(map(names_segment, found)):
                ear.after = after


Message = tuple[str, list[str], bytes]  # kind, the other words of its line, and what follows the line


def _messages(host: Host, script: str, seconds: int) -> Generator[Message, None, None]:
    """What the script on the host says; it is ended with this iterator."""
    with tempfile.TemporaryFile() as errors:  # not a pipe: one that nobody empties would stop it
        process = host.start(["sh", "-c", script], errors=errors.fileno())
        assert process.stdout
        try:
            done = 0
            for message in _parsed(_pieces(host, process.stdout.fileno(), seconds)):
                if message[0] == "second":
                    done = int(message[1][0])
                yield message
            if done < seconds:
                status = process.wait(timeout=5)
                errors.seek(0)
                words = tool.tail(errors.read().decode(errors="replace"), 4)
                raise ToolFailed(
                    Problem(
                        code="listening-ended-early",
                        what="listening ended early",
                        where=host.name,
                        found=f"after {done} s, status {status}: {words}",
                        expected=f"{seconds} s",
                        remedy="see whether the host can be reached, then run this again",
                    )
                )
        finally:
            _finish(process)


def _pieces(host: Host, fd: int, seconds: int) -> Iterator[bytes]:
    """Bytes as they come, to their end."""
    poll, deadline = select.poll(), time.monotonic() + seconds + 2 * STALLED
    poll.register(fd, select.POLLIN)
    while True:
        if not poll.poll(STALLED * 1000) or time.monotonic() > deadline:
            raise StepFailed(
                Problem(
                    code="listening-silent",
                    what="the host fell silent while we listened there",
                    where=host.name,
                    found=f"no word for {STALLED} s",
                    expected="one every second",
                    remedy="see whether the connection to it still stands; a NIC on a wrong segment may have cut it",
                )
            )
        piece = os.read(fd, 1 << 16)
        if not piece:
            return
        yield piece


def _parsed(pieces: Iterator[bytes]) -> Iterator[Message]:
    """Messages: a line, and as many bytes behind it as its third word says. Other lines are not ours: a shell may greet."""
    rest = b""
    for piece in pieces:
        rest += piece
        while (end := rest.find(b"\n")) >= 0:
            ours = re.fullmatch(rb"second \d+|(?:data|ended) \S+ (\d+)(?: \d+)?", rest[:end])
            size = int(ours[1] or 0) if ours else 0
            if len(rest) < end + 1 + size:
                break
            if ours:
                kind, *words = rest[:end].decode().split()
                yield kind, words, rest[end + 1 : end + 1 + size]
            rest = rest[end + 1 + size :]


def _finish(process: "subprocess.Popen[bytes]") -> None:
    """Stop reading, which the script notices with its next word, and give it the time to clear away."""
    assert process.stdout
    process.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    if process.poll() is None:  # it hangs, or ssh does
        with contextlib.suppress(subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=10)
    if process.poll() is None:
        tool.end(process)
