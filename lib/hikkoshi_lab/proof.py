"""The proof of the whole: a gateway collapses, its cause is named, it is remedied, and its recovery is proved.

`python -m hikkoshi_lab.proof`, which is `make proof`, brings up a network of its own, has the gateway merge what it receives,
and then does only what the runbooks 80 and 85 do. It prints the table, and ends with 1 if anything in it does not hold.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from statistics import median

from hikkoshi.check import Check, Permission
from hikkoshi.errors import HikkoshiError
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.diagnosis import aggregation
from hikkoshi.network.diagnosis.diagnosis import Diagnosis
from hikkoshi.network.remedy.treatment import Treatment
from hikkoshi.network.throughput.bench import Bench
from hikkoshi.params.guest import Guest, MeasuredPath, Measurement
from hikkoshi.params.home import Home
from hikkoshi.run.step import OFFLOADS
from hikkoshi.secret import temporary
from hikkoshi_lab import network

SLOWER, CAUSE_WITHIN, PROOF_WITHIN = 20, 60, 300  # times; seconds
Row = tuple[str, str, str, bool]  # what, what was asked, what was seen, whether it holds


def guest(lab: network.Network) -> Guest:
    """The lab's gateway as a guest whose network is measured."""

    def at(name: str) -> str:
        return f"netns:/proc/{lab.pid}/root/run/netns/{name}"

    server = network.SERVER
    return Guest.model_validate(
        {
            "name": "gateway",
            "dom0": "none",
            "config": "none",
            "nics": (),
            "measurement": Measurement.model_validate(
                {
                    "shell": at("gw"),
                    "through": MeasuredPath.model_validate({"client": at("pc1"), "server": server, "server_shell": at("pc2")}),
                    "direct": MeasuredPath.model_validate({"client": at("pc3"), "server": server}),
                    "seconds": 2,
                    "link_mbps": 100,
                }
            ),
        }
    )


def _permission(patient: Guest) -> Permission:
    """The lab's own word for its own gateway: there is no plan, no second person, and no service that anybody uses."""
    shell, now = (patient.measurement.shell if patient.measurement else "", datetime.now(UTC).isoformat(timespec="seconds"))
    return Permission("proof", OFFLOADS.id, patient.name, "", "", "", shell, "the lab", now)


def rows(home: Home, lab: network.Network) -> Iterator[Row]:
    """Each claim with what was seen, as soon as it is."""
    patient = guest(lab)
    lab.aggregate("tap")
    begin = time.monotonic()
    bench, treatment = Bench(home, patient, "proof"), Treatment(home, patient, "proof")
    bench.measure()
    slow = bench.found()
    assert slow
    yield collapse(slow.series)
    treatment.diagnose()
    named = time.monotonic() - begin
    found = treatment.found()
    assert found
    yield from cause(found.diagnosis)
    yield "named within", f"{CAUSE_WITHIN} s", f"{named:.0f} s", named <= CAUSE_WITHIN
    treatment.apply(
        _permission(patient),
        [Check(code="lab-proof-serves", title="it serves", ok=True, found="there is no other gateway in this network")],
    )
    remedied = treatment.remedied()
    yield "remedy, read back", "in place", remedied.found or remedied.title, bool(remedied)
    treatment.measure_again()
    proved = time.monotonic() - begin
    verdict = bench.verdict()
    yield "through the gateway after it", "recovered", verdict.found, bool(verdict)
    yield "proved within", f"{PROOF_WITHIN} s; the paper: a month", f"{proved:.0f} s", proved <= PROOF_WITHIN


def collapse(series: Series, slower: int = SLOWER) -> Row:
    """How much slower the path through the gateway is, and whether by as many times as asked."""
    look = series.look
    times = 1 / look.ratio.value if look and look.ratio.value else 0.0
    through, direct = (f"{median(runs):.3g}" if (runs := series.of(p)) else "nothing" for p in (series.through, series.direct))
    seen = f"{times:.0f} times: {through} of {direct} Mbit/s"
    return f"through the gateway {series.verdict}", f"{slower} times slower", seen, times >= slower


def cause(found: Diagnosis) -> Iterator[Row]:
    """What was named, and the counters that it was named by."""
    counts = found.counts
    yield "cause, from counters", aggregation.LRO, found.cause, found.cause == aggregation.LRO
    told = (counts.fragmentation_failures, counts.unreachable_told, counts.unreachable_heard)
    agree = len(set(told)) == 1 and bool(told[0])
    yield "dropped = ICMP sent = ICMP received", "the same number", " = ".join(map(str, told)), agree
    again = counts.retransmitted or 0
    yield "segments sent again", "two or more for each", str(again), again >= 2 * (told[0] or 1)


def shown(found: Iterable[Row]) -> bool:
    """Print rows as they come; whether all of them hold."""
    good = True
    print(f"{'':<8}{'claim':<40}{'asked':<30}seen", flush=True)
    for what, asked, seen, holds in found:
        good &= holds
        print(f"{'holds' if holds else 'FAILS':<8}{what:<40}{asked:<30}{seen}", flush=True)
    return good


def main() -> int:
    """Print the table; 1 if a row does not hold."""
    try:
        with temporary.folder("proof") as folder, network.up() as lab:
            return 0 if shown(rows(Home(folder), lab)) else 1
    except HikkoshiError as e:
        print(e, file=sys.stderr)
        return e.exit_code


if __name__ == "__main__":
    sys.exit(main())
