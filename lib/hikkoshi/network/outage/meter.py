"""The outage meter: pings one address on each segment 20 times a second and writes down what became of every probe.

A program, `python -m hikkoshi.network.outage.meter FILE SECONDS SEGMENT=ADDRESS …`, so that it measures while a runbook
acts. It ends on SIGTERM or Ctrl-C, or after so many seconds, and imports next to nothing, to cost little where it starts.
`hikkoshi.network.outage.outage` starts it, and reads the FILE, which has a JSON object a line, the last possibly cut off:

    {"meter": 1, "started": UTC, "monotonic": seconds, "rate": 20, "late_ms": 250, "socket": …, "targets": {segment: address}}
    {"t": [0, 50, …], "f": ["....", "..x-", …]}
    {"end": why, "t": …, "cpu": seconds}

`t` are milliseconds since `monotonic`, the clock at `started`; `f` has for each target a letter for each probe sent then. A
line comes every half second, and a probe's fate is known after 250 ms: whatever is killed, less than a second is lost.
"""

import contextlib
import errno
import ipaddress
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed

RATE = 20  # probes a second
LATE = 0.25  # seconds: what is answered later had waited behind an unresolved ARP request, and its segment was out
LINE = RATE // 2  # probes of each target in a line
STEP = 0.01  # seconds of round trip from one letter to the next
ANSWERED = ".123456789abcdefghijklmnop"  # the Nth: answered after N to N + 1 steps; the last: after exactly 250 ms
LOST, UNSENT = "x", "-"  # unsent: this machine had no room for it, which says nothing about the segment
NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)
BUFFER = 4 << 20  # bytes: probes to a silent segment are kept until ARP gives up; they must not take the others' place
# socket(7), raw(7); Python has no names for these
TIMESTAMPNS = 35  # the kernel notes when a packet arrives
SNDBUFFORCE, RCVBUFFORCE = 32, 33
SOL_RAW, ICMP_FILTER = 255, 1


def targets(pairs: Sequence[str]) -> dict[str, str]:
    """The address of each segment from SEGMENT=ADDRESS; `BadInput` names everything that is wrong with them."""
    found: dict[str, str] = {}
    problems = []
    for pair in pairs:
        segment, equals, address = pair.partition("=")
        if not segment or not equals:
            problems.append(
                Problem(
                    code="segment-incomplete",
                    what="a segment or its address is missing",
                    where=pair,
                    remedy="write SEGMENT=ADDRESS",
                )
            )
        elif segment in found:
            problems.append(
                Problem(
                    code="segment-twice",
                    what="a segment is named twice",
                    where=segment,
                    found=f"{found[segment]} and {address}",
                    expected="one address on each segment",
                    remedy="leave one of them out",
                )
            )
        elif address in found.values():
            other = next(name for name, known in found.items() if known == address)
            problems.append(
                Problem(
                    code="segment-address-twice",
                    what="two segments have the same address",
                    where=f"{other} and {segment}",
                    found=address,
                    expected="each address on one segment",
                    remedy="correct the one that is wrong",
                )
            )
        elif not _pingable(address):
            problems.append(
                Problem(
                    code="segment-address-malformed",
                    what="this is no IPv4 address of one machine",
                    where=segment,
                    found=repr(address),
                    expected="such as 10.3.1.254",
                    remedy="correct it; names and IPv6 addresses cannot be measured",
                )
            )
        else:
            found[segment] = address
    if not pairs:
        problems.append(
            Problem(
                code="nothing-to-measure",
                what="there is nothing to measure",
                where="the outage meter",
                found="no segment",
                expected="one or more",
                remedy="name an address on each segment: SEGMENT=ADDRESS",
            )
        )
    if problems:
        raise BadInput(*problems)
    return found


def arguments(argv: Sequence[str]) -> tuple[str, float, dict[str, str]]:
    """(file, seconds, address of each segment) from the program's arguments; `BadInput` where they are not that."""
    path, seconds = [*argv, "", ""][:2]
    if not path or not re.fullmatch(r"[0-9]{1,7}(\.[0-9]+)?", seconds):
        raise BadInput(
            Problem(
                code="meter-arguments",
                what="the outage meter needs a file and a number of seconds",
                where="its arguments",
                found=" ".join(argv),
                expected="FILE SECONDS SEGMENT=ADDRESS …",
                remedy="start it so",
            )
        )
    return path, float(seconds), targets(argv[2:])


def link() -> tuple[socket.socket, str]:
    """A socket that sends and receives pings, and its kind: raw, or ping where only ping_group_range permits it.

    `Refused` where neither is permitted.
    """
    refused = []
    for kind, name in ((socket.SOCK_RAW, "raw"), (socket.SOCK_DGRAM, "ping")):
        try:
            found = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except OSError as e:
            refused.append(f"{name} socket: {e.strerror}")
            continue
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
        for normal, force in ((socket.SO_SNDBUF, SNDBUFFORCE), (socket.SO_RCVBUF, RCVBUFFORCE)):
            found.setsockopt(socket.SOL_SOCKET, normal, BUFFER)
            with contextlib.suppress(PermissionError):
                found.setsockopt(socket.SOL_SOCKET, force, BUFFER)
        if kind == socket.SOCK_RAW:
            found.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~1 & 0xFFFFFFFF))  # echo replies only
        return found, name
    raise Refused(
        Problem(
            code="pings-not-permitted",
            what="this user may not send pings",
            where=f"this machine, user id {os.geteuid()}",
            found="; ".join(refused),
            expected="root, the capability CAP_NET_RAW, or a group within net.ipv4.ping_group_range",
            remedy="run it as root, or as root once: sysctl net.ipv4.ping_group_range='0 2147483647'",
        )
    )


class Probes:
    """The probes under way: `send` one to each address, `receive` what came back, `decided` gives those whose fate is known."""

    def __init__(self, on: socket.socket, kind: str, addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self.under_way: deque[tuple[float, bytearray]] = deque()  # (time sent, letter for each address), oldest first
        self._socket = on
        self._with_header = kind == "raw"  # what is received begins with the IP header
        self._mark = os.urandom(8)  # of this meter, in every probe: raw sockets hear the answers to everybody's pings
        self._oldest = 0  # number of the first probe under way
        self._received = time.monotonic()

    def send(self) -> None:
        """Send a probe to each address.

        Its time is taken afterwards: where this program stood still before it sent, that is not the segment's silence.
        """
        letters = bytearray(LOST.encode() * len(self.addresses))
        number = self._oldest + len(self.under_way)
        for n, address in enumerate(self.addresses):
            try:
                self._socket.sendto(_echo(self._mark, number, n), (address, 0))
            except OSError as e:  # no route, no neighbour, forbidden: not served
                if e.errno in NO_ROOM:
                    letters[n] = ord(UNSENT)
        self.under_way.append((time.monotonic(), letters))

    def receive(self, now: float) -> None:
        """Read all answers that have come until now.

        How long each has lain here is taken from the kernel's time stamp, so that this program may read late. The wall
        clock may be set meanwhile; but none has lain here since before the last reading.
        """
        wall = time.time_ns()
        longest = now - self._received
        for data, lain in self._answers(wall):
            place = struct.unpack_from("!8sIH", data, 8) if len(data) >= 22 and data[0] == 0 else (b"", 0, 0)
            n = place[1] - self._oldest
            if place[0] == self._mark and 0 <= n < len(self.under_way) and place[2] < len(self.addresses):
                sent, letters = self.under_way[n]
                took = now - min(max(lain, 0.0), longest) - sent
                if letters[place[2]] == ord(LOST) and took <= LATE:
                    letters[place[2]] = ord(ANSWERED[max(0, int(took / STEP))])
        self._received = now

    def decided(self, now: float) -> Iterator[tuple[float, bytearray]]:
        """Give, and forget, the probes that are late by now if they were not answered; after `receive` of that time."""
        while self.under_way and now - self.under_way[0][0] > LATE:
            self._oldest += 1
            yield self.under_way.popleft()

    def _answers(self, wall: int) -> Iterator[tuple[bytes, float]]:
        """(ICMP message, seconds it has lain in the socket) of each that is there."""
        while True:
            try:
                data, notes, _, _ = self._socket.recvmsg(256, 64)
            except OSError:  # nothing more
                return
            lain = 0.0
            for level, kind, stamp in notes:
                if level == socket.SOL_SOCKET and kind == TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("@ll", stamp[: struct.calcsize("@ll")])
                    lain = (wall - seconds * 10**9 - nanoseconds) / 1e9
            yield (data[(data[0] & 15) * 4 :] if self._with_header and data else data), lain


def head(named: Mapping[str, str], kind: str, started: datetime, monotonic: float) -> str:
    """The first line of a file."""
    return _line(
        {
            "meter": 1,
            "started": started.isoformat(timespec="milliseconds"),
            "monotonic": round(monotonic, 6),
            "rate": RATE,
            "late_ms": round(LATE * 1000),
            "socket": kind,
            "targets": named,
        }
    )


def body(probes: Sequence[tuple[float, bytearray]], start: float) -> str:
    """The line of these probes, (time, letter for each target): one string per target."""
    letters = zip(*(fates.decode() for _, fates in probes), strict=True)
    return _line({"t": [round((at - start) * 1000) for at, _ in probes], "f": ["".join(row) for row in letters]})


def foot(why: str, now: float, start: float) -> str:
    """The last line of a file, of a measurement that came to its end: with the processor time that all of it took."""
    return _line({"end": why, "t": round((now - start) * 1000), "cpu": round(time.process_time(), 3)})


def measure(probes: Probes, named: Mapping[str, str], kind: str, file: int, seconds: float, stop: Sequence[int]) -> None:
    """Measure until `seconds` are over or `stop` is no longer empty, and write all of it to a file descriptor."""
    start = time.monotonic()
    os.write(file, head(named, kind, datetime.now(UTC), start).encode())
    ready: list[tuple[float, bytearray]] = []
    turn = 0
    while True:
        time.sleep(max(0.0, start + turn / RATE - time.monotonic()))
        now = time.monotonic()
        probes.receive(now)
        ready += probes.decided(now)
        over = bool(stop) or now - start >= seconds
        last = over and not probes.under_way
        if len(ready) >= LINE or (last and ready):
            os.write(file, body(ready, start).encode())
            ready.clear()
        if last:
            os.write(file, foot("asked" if stop else "time", now, start).encode())
            return
        if not over:
            probes.send()
        turn = max(turn + 1, int((now - start) * RATE) + 1)  # turns that were slept through are left out


def main(argv: Sequence[str]) -> int:
    """The program; gives its exit status."""
    try:
        path, seconds, named = arguments(argv)
        on, kind = link()
        stop: list[int] = []
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda signum, _: stop.append(signum))
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            measure(Probes(on, kind, list(named.values())), named, kind, file, seconds, stop)
        except OSError as e:
            raise StepFailed(
                Problem(
                    code="meter-file-unwritable",
                    what="the outage meter cannot write its file",
                    where=path,
                    found=e.strerror or str(e),
                    expected="a new file, and room for 2 MB an hour",
                    remedy="name another file",
                )
            ) from None
    except HikkoshiError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    return 0


def _pingable(address: str) -> bool:
    try:
        found = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _echo(mark: bytes, number: int, n: int) -> bytes:
    """An ICMP echo request: 14 bytes come back as they are, whose probe it was and to which address."""
    message = struct.pack("!BBHHH8sIH", 8, 0, 0, os.getpid() & 0xFFFF, number & 0xFFFF, mark, number, n)
    total = sum(struct.unpack("!11H", message))
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]


def _line(content: Mapping[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
