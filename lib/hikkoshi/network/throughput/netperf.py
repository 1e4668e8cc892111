"""Runs of netperf from a client to a server on which netserver listens, and the round trip beside a stream.

netperf is asked for KEY=VALUE lines, which name their unit and count bytes beside the throughput; one before 2.5 gives its
classic output with titles. It waits for ever where the path dies during a test, so it is ended from outside.
"""

import math
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Literal

from pydantic import JsonValue

from hikkoshi import tool
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Problem, StepFailed, ToolFailed
from hikkoshi.network.compare.measurements import MSS, payload_cap
from hikkoshi.network.host import SBIN, Host
from hikkoshi.network.throughput import netperf_output, netperf_remarks
from hikkoshi.network.throughput.units import Reading
from hikkoshi.ssh import FAILED

Test = Literal["TCP_STREAM", "TCP_MAERTS", "TCP_RR", "UDP_STREAM"]
# netperf leaves out what it does not have, but for the first
KEYS = (
    "THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME,PROTOCOL,DIRECTION,CONFIDENCE_ITERATION,LOCAL_BYTES_RECVD,REMOTE_BYTES_RECVD,"
    "LOCAL_SEND_THROUGHPUT,LOCAL_RECV_THROUGHPUT,REMOTE_RECV_THROUGHPUT,TRANSACTION_RATE,LOCAL_TRANSPORT_RETRANS,"
    "REMOTE_TRANSPORT_RETRANS,TRANSPORT_MSS,LOCAL_CONG_CONTROL,REMOTE_CONG_CONTROL,P50_LATENCY,P99_LATENCY,UUID,COMMAND_LINE"
)
SPARE = 0.02  # above what a link carries: what its buffers hold is in the figure of a short run, and digits are rounded
LEAD = 1  # seconds that a stream runs before the round trip is measured beside it, and after


class Hung(ToolFailed):
    """netperf did not end by itself: the path died during the test, or never carried it."""


@dataclass(frozen=True)
class NetperfRun:
    """One run of netperf: what it measured, what it printed, and who measured."""

    measurement: Reading
    text: str  # as netperf printed it
    command: str
    client: str
    server: str
    version: str  # of netperf: 2.7.0
    server_version: str  # of netserver; empty where its host was not given
    started: datetime
    seconds: float  # that the whole command took
    check: Check | None  # whether the link can carry it; None where no link was given

    def plain(self) -> dict[str, JsonValue]:
        """The same for JSON."""
        check: JsonValue = None
        if self.check is not None:
            check = {"ok": self.check.ok, "found": self.check.found, "expected": self.check.expected}
        return {
            **self.measurement.plain(),
            "text": self.text,
            "command": self.command,
            "client": self.client,
            "server": self.server,
            "version": self.version,
            "server_version": self.server_version,
            "started": self.started.isoformat(),
            "seconds": round(self.seconds, 3),
            "check": check,
        }


@dataclass(frozen=True)
class UnderLoad:
    """The round trip of a small request, alone and beside a stream in the same direction."""

    idle: NetperfRun
    loaded: NetperfRun
    stream: NetperfRun

    @property
    def idle_ms(self) -> float | None:
        """Mean round trip on the idle path, in ms; None where none came to an end."""
        return _milliseconds(self.idle)

    @property
    def loaded_ms(self) -> float | None:
        """Mean round trip beside the stream, in ms: the wait in queues is in it."""
        return _milliseconds(self.loaded)

    def plain(self) -> dict[str, JsonValue]:
        """The same for JSON."""
        return {
            "idle_ms": self.idle_ms,
            "loaded_ms": self.loaded_ms,
            "idle": self.idle.plain(),
            "loaded": self.loaded.plain(),
            "stream": self.stream.plain(),
        }


@dataclass(frozen=True)
class NetperfProgram:
    """The netperf of a machine: its version, and whether it has the output that names every figure (-k)."""

    version: str
    keys: bool


@cache
def probe(client: Host) -> NetperfProgram:
    """What the netperf of a machine can, found by asking it; asked once. `ToolFailed` where there is none."""
    # the help is printed without a server, and lists what a test of this kind can be asked for
    told = client.run(["sh"], stdin=f"{SBIN}netperf -V; netperf -t TCP_STREAM -- -h 2>&1", timeout=60, ok=range(256))
    version = told.stdout.partition("Netperf version ")[2].split()[:1]
    if not version and client.login and told.returncode == FAILED:
        raise ToolFailed(client.login.unreached(told.stderr))
    if not version:
        raise ToolFailed(
            Problem(
                code="netperf-not-running",
                what="netperf does not run there",
                where=client.name,
                found=tool.tail(told.stderr or told.stdout, 3),
                expected="netperf 2.4 to 2.7",
                remedy="install netperf (Debian: non-free; Red Hat: EPEL), and see that the address of the machine is right",
            )
        )
    return NetperfProgram(version[0], "keyval" in told.stdout)


def run(
    client: Host,
    server: str,
    *,
    seconds: int = 10,
    test: Test = "TCP_STREAM",
    local: str = "",
    link: float | None = None,
    peer: Host | None = None,
    limit: float | None = None,
) -> NetperfRun:
    """Measure from `client` to the address `server` for so many seconds.

    `local` is the client's address to measure from, `link` the rate in bit/s of the slowest link between (what it cannot
    carry makes the run's check red), `peer` the server's host, to ask for its version. `ToolFailed` where netperf fails
    or its output cannot be believed, `Hung` where it does not end within `limit` seconds, 3 * `seconds` + 30 unless given.
    """
    netperf = probe(client)
    server_version = _server_version(peer) if peer else ""
    command = ["netperf", "-H", server, "-l", str(seconds), "-t", test]
    if test != "TCP_RR":
        command += ["-f", "m"]  # a test of transactions would be told in bits with it
    if local:
        command += ["-L", local]
    if netperf.keys:
        command += ["-P", "0", *(["-j"] if test == "TCP_RR" else []), "--", "-k", KEYS]
    where = f"netperf from {client.name} to {server}"
    started, clock = datetime.now(UTC), time.monotonic()
    text = _text(client, command, 3 * seconds + 30 if limit is None else limit, where)
    measurement = _believed(text, command, where)
    return NetperfRun(
        measurement=measurement,
        text=text,
        command=shlex.join(command),
        client=client.name,
        server=server,
        version=netperf.version,
        server_version=server_version,
        started=started,
        seconds=time.monotonic() - clock,
        check=None if link is None or measurement.throughput.transactions is not None else plausible(measurement, link),
    )


def under_load(client: Host, server: str, *, seconds: int = 10, local: str = "", link: float | None = None) -> UnderLoad:
    """Measure the round trip alone, then beside a stream that runs all the while; `StepFailed` where it did not."""
    idle = run(client, server, seconds=seconds, test="TCP_RR", local=local)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(run, client, server, seconds=seconds + 2 * LEAD, local=local, link=link)
        time.sleep(LEAD)
        loaded = run(client, server, seconds=seconds, test="TCP_RR", local=local)
        beside = not load.done()
        stream = load.result()
    if not beside:
        raise StepFailed(
            Problem(
                code="stream-ended-early",
                what="the stream ended before the round trip beside it was measured",
                where=f"{client.name} to {server}",
                found=f"stream {stream.seconds:.1f} s, round trip {loaded.seconds:.1f} s",
                expected="a stream all the while",
                remedy="measure again; the machines or the path were held up meanwhile",
            )
        )
    return UnderLoad(idle, loaded, stream)


def plausible(measurement: Reading, link: float) -> Check:
    """Whether a link of `link` bit/s can carry what was measured; not where the unit is unknown."""
    figure = measurement.throughput
    mss = int(measurement.other.get("TRANSPORT_MSS", MSS))
    # of larger frames and of datagrams headers take next to nothing; without time stamps a segment holds 12 bytes more
    full = measurement.test.startswith("UDP") or mss > MSS + 12
    cap = link if full else payload_cap(link)
    least = None if figure.scale is None else (figure.value - figure.rounding) * figure.scale
    return Check(
        code="link-carries",
        title="the link can carry what was measured",
        ok=least is not None and least <= cap * (1 + SPARE),
        found=str(figure),
        expected=f"at most {cap / 1e6:.2f} Mbit/s, in a unit that is told",
        remedy="see whether the figure is in another unit, or whether the link is faster or the path another than thought",
    )


def _text(client: Host, command: list[str], limit: float, where: str) -> str:
    """What netperf prints. It is ended on its own machine, at the limit and where the shell that waits for it is gone."""
    script = f"""{SBIN}
{shlex.join(command)} </dev/null &
netperf=$!
(n=0; while [ $n -lt {math.ceil(limit)} ] && kill -0 $$; do sleep 1; n=$((n + 1)); done; kill -9 $netperf) >/dev/null 2>&1 &
watch=$!
wait $netperf
status=$?
kill $watch
exit $status
"""
    clock = time.monotonic()
    try:
        done = client.run(["sh"], stdin=script, timeout=limit + 30, ok=range(256))
    except ToolFailed:
        if time.monotonic() - clock < limit:
            raise
        raise _hung(limit, where) from None
    if done.returncode == 137 and time.monotonic() - clock >= limit:
        raise _hung(limit, where)
    if done.returncode != 0:
        told = f"{done.stdout}\n{done.stderr}"  # netperf tells its failures on its output
        failed = Problem(code="netperf-failed", what="netperf failed", remedy="its own words above name the cause")
        problem = netperf_remarks.explain(told) or failed
        if "-L" in command:
            problem = replace(
                problem, remedy=f"{problem.remedy}; see that {client.name} has the address {command[command.index('-L') + 1]}"
            )
        found = f"exit status {done.returncode}: {tool.tail(told, 4)}"
        raise ToolFailed(replace(problem, where=where, found=found, expected="a measurement"))
    return done.stdout


def _hung(limit: float, where: str) -> Hung:
    return Hung(
        Problem(
            code="netperf-hung",
            what="netperf did not end and was ended: the path died during the test, or never carried it",
            where=where,
            found=f"still waiting after {limit:g} s",
            expected="the end of the test",
            remedy="see that the other side can be reached and the wiring is right; netperf from 2.6 on and netserver before 2.6 "
            "may wait for each other too",
        )
    )


def _believed(text: str, command: list[str], where: str) -> Reading:
    try:
        measurement = netperf_output.parse(text, shlex.join(command), where)
    except BadInput as e:
        raise ToolFailed(*e.problems) from None
    if not measurement.throughput.unit or measurement.elapsed is None:
        told = f"{measurement.throughput}; elapsed: {measurement.elapsed}"
        raise ToolFailed(
            Problem(
                code="netperf-told-less",
                what="netperf told less than it was asked for",
                where=where,
                found=told,
                expected="throughput, unit and time",
                remedy="measure again",
            )
        )
    return measurement


def _server_version(peer: Host) -> str:
    """Of the netserver program that is there; the one that listens says nothing of itself."""
    told = peer.run(["sh"], stdin=f"{SBIN}netserver -V", timeout=60, ok=range(256)).stdout.split()
    return told[-1] if told else ""


def _milliseconds(run: NetperfRun) -> float | None:
    rate = run.measurement.throughput.transactions
    return 1000 / rate if rate else None
