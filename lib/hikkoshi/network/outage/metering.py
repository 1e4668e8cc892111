"""Measuring the outage while something else is done: the outage meter as a program beside us.

meter = metering.Meter({"vlan301": "10.3.1.254", …}, file)
meter.start()          # it goes on measuring while other cells act
found = meter.stop()
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise
from pathlib import Path

from hikkoshi import tool
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Problem, ToolFailed
from hikkoshi.network.host import HERE, Host
from hikkoshi.network.outage import meter, outage

LIMIT = 4 * 3600.0  # seconds after which a meter that nobody stops ends
READY = 30.0  # seconds that it has for its first line, and for its last


@dataclass
class Meter:
    """The outage meter for `targets`, {segment: address}, which writes a new `file`.

    It ends with the thread that started it (in a notebook, the kernel's main thread: it goes on between cells), when it is
    stopped, or after `LIMIT`. It does not hold the guest's lock.
    """

    targets: Mapping[str, str]
    file: Path
    host: Host = HERE
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)

    def running(self) -> Check:
        """Whether it measures now. `found` tells which segments have not answered so far, which is no fault by itself."""
        alive = self._process is not None and self._process.poll() is None
        found = "it does not"
        if alive:
            segments = self.so_far().segments
            silent = [f"{s.name} ({s.address})" for s in segments if s.at_the_end != "answers"]
            found = f"{len(segments) - len(silent)} of {len(segments)} segments answer" + (
                ", silent: " + ", ".join(silent) if silent else ""
            )
        return Check(
            code="meter-running",
            title="the outage meter measures",
            ok=alive,
            found=found,
            expected="it writes " + str(self.file),
            remedy="start it with a new file",
            where=self.host.name,
            later=True,
        )

    def start(self) -> None:
        """Start it, and wait until it has measured for half a second.

        `BadInput` if a target is no address or the file exists, `ToolFailed` with its own words if it does not measure.
        """
        pairs = [f"{name}={address}" for name, address in self.targets.items()]
        meter.targets(pairs)
        if self.file.exists():
            raise BadInput(
                Problem(
                    code="measurement-there-already",
                    what="there is a measurement of this name already",
                    where=str(self.file),
                    found="a file",
                    expected="nothing",
                    remedy="name another file; a measurement is never overwritten",
                )
            )
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise BadInput(
                Problem(
                    code="measurement-without-place",
                    what="there is no place for the measurement",
                    where=str(self.file.parent),
                    found=e.strerror or str(e),
                    expected="a folder",
                    remedy="name another file",
                )
            ) from None
        program = [sys.executable, "-P", "-m", meter.__name__, str(self.file.absolute()), str(LIMIT), *pairs]
        self._process = self.host.start(program, errors=subprocess.STDOUT)
        try:
            self._begin(self._process)
        except BaseException:  # Ctrl-C too
            tool.end(self._process)
            raise

    def _begin(self, process: "subprocess.Popen[bytes]") -> None:
        said, deadline = "", time.monotonic() + READY
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            with contextlib.suppress(BadInput):  # nothing written yet
                if not ended and self.so_far().seconds > 0:
                    return
            if ended and process.stdout is not None:
                said = tool.tail(process.stdout.read().decode(errors="replace"))
                break
            time.sleep(0.05)
        raise ToolFailed(
            Problem(
                code="meter-not-running",
                what="the outage meter does not measure",
                where=f"{self.host.name}, {self.file}",
                found=said or f"no line in {READY:g} s",
                expected="a line every half second",
                remedy="its own words above say what to do",
            )
        )

    def so_far(self) -> outage.Outages:
        """What it has measured until now, but for the last second."""
        return outage.read(self.file)

    def stop(self) -> outage.Outages:
        """End it, if it still runs, and read what it measured; takes a third of a second."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(READY)
            except subprocess.TimeoutExpired:
                tool.end(self._process)
            if self._process.stdout is not None:
                self._process.stdout.close()
        return outage.read(self.file)


@contextlib.contextmanager
def measuring(targets: Mapping[str, str], file: Path, host: Host = HERE) -> Iterator[Meter]:
    """Measure for as long as this lasts; `read(file)` afterwards."""
    running = Meter(targets, file, host)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def legs(host: Host, targets: Mapping[str, IPv4Interface]) -> dict[str, Check]:
    """{segment: whether `host` pings the guest's address there from an address of its own in the guest's subnet}.

    Else its pings would come in by another NIC of the guest, and tell nothing of this one: that segment is not measured.
    """
    asked = "\n".join(f"echo; ip route get {guest.ip} 2>&1" for guest in targets.values())
    answers = host.script(f"{asked}\n:\n").split("\n\n") if targets else []
    told = [answer.strip().partition("\n")[0].strip() for answer in answers]
    return {name: _leg(host, name, guest, words) for (name, guest), words in zip(targets.items(), told, strict=True)}


def _leg(host: Host, name: str, guest: IPv4Interface, told: str) -> Check:
    """What ip-route(8) says of the way to an address, such as '10.0.0.1 via 10.9.9.1 dev eth0 src 10.9.9.2'."""
    words = told.split()
    way = dict(pairwise(words))
    try:
        own = "via" not in way and IPv4Address(way.get("src", "")) in guest.network
    except ValueError:
        own = False
    title = f"{name} is watched from an address in {guest.network}"
    if own:
        return Check(code="segment-watched-from-inside", title=title, ok=True, found=f"{way['src']} on {way.get('dev', '?')}")
    why = f"{host.name} has no address there: its pings would come in by another NIC of the guest ({told or 'no route'})"
    return Check(
        code="segment-watched-from-inside",
        title=title,
        ok=True,
        found=why,
        expected="an address of its own in every segment",
        where=host.name,
        unseen="not measured",
    )


def permitted() -> Check:
    """Whether this user may send pings from this machine: to be asked before anything is taken out of service."""
    title = "this user may send pings"
    try:
        on, kind = meter.link()
    except HikkoshiError as e:
        p = e.problems[0]
        return Check(
            code="pings-permitted", title=title, ok=False, found=p.found, expected=p.expected, remedy=p.remedy, where=p.where
        )
    on.close()
    return Check(code="pings-permitted", title=title, ok=True, found=f"{kind} socket")
