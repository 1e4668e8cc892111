"""On which segment each NIC of a host is: by listening only, by asking, and by who was heard before the move.

Listening sends nothing and needs no address on the NICs; asking is the second step, where a segment was silent. Both run
inside guests as old as CentOS 5 with what is installed there, tcpdump and arping, and leave nothing behind.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from hikkoshi.errors import BadInput, Problem
from hikkoshi.network import nics
from hikkoshi.network.host import Host
from hikkoshi.network.outage import probing
from hikkoshi.network.wiring import listening, wiring
from hikkoshi.network.wiring.fingerprint import Fingerprint
from hikkoshi.network.wiring.frames import FrameEvidence
from hikkoshi.network.wiring.wiring import Heard, Witness
from hikkoshi.params.site import Segment
from hikkoshi.progress import Progress, silent

LISTEN = 20  # seconds for a fingerprint


def watch(
    host: Host, planned: Mapping[str, str], segments: Mapping[str, Segment], *, seconds: int = 20, progress: Progress = silent
) -> Witness:
    """Find each NIC's segment by listening; `planned` is {NIC: segment}, `segments` are all of the site.

    Ends when every NIC is known, after 3 s at the earliest and `seconds` at the latest. `BadInput` for a NIC or segment that
    there is not, `ToolFailed` where tcpdump is missing or fails, `StepFailed` where the host falls silent.
    """
    wiring.known(planned, segments)
    place = wiring.places(segments)
    took, heard = _listen(host, list(planned), seconds, place, progress)
    return wiring.witness(host.name, "passive", took, heard, planned, place)


def fingerprint(host: Host, names: Sequence[str], *, seconds: int = 60, progress: Progress = silent) -> Fingerprint:
    """Listen on these NICs for that long, and keep who was heard on each. Errors as of `watch`."""

    def listening(done: float, total: float, _: str) -> None:
        progress(done, total, f"who speaks on {len(names)} NICs")  # none becomes known by that: nothing tells a segment here

    took, heard = _listen(host, names, seconds, lambda e: "", listening)
    return Fingerprint.of(host.name, took, heard)


def probe(host: Host, planned: Mapping[str, str], segments: Mapping[str, Segment]) -> Witness:
    """Find each NIC's segment by asking on it for every segment's address that `answers`; `planned` is {NIC: segment}.

    Ends a moment after every NIC has an answer, otherwise after some 1.5 s. An address that answers has to be of a machine
    with one NIC: Linux answers on any of its NICs for the addresses of all. Errors as of `watch`, for arping; `BadInput` too
    where a planned segment has no address that answers.
    """
    wiring.known(planned, segments)
    lacking = sorted({name for name in planned.values() if segments[name].answers is None})
    if lacking:
        raise BadInput(
            Problem(
                code="segment-without-answer",
                what="segments without an address that answers",
                where="params/site.yml",
                found=", ".join(lacking),
                expected="segments.NAME.answers for each",
                remedy="name a machine there that always answers",
            )
        )
    owners = {s.answers: name for name, s in segments.items() if s.answers}
    begin = time.monotonic()
    asked = probing.ask(host, list(planned), list(owners))
    took = time.monotonic() - begin
    heard = {}
    for name in planned:
        nic, answers = asked.nics[name], asked.answers[name]
        sent = 0 if nic.link == "down" else len(owners)
        after = answers[0][0] if answers else None
        heard[name] = Heard(nic.mac, nic.link, [e for _, e in answers], len(answers), sent, after)
    return wiring.witness(host.name, "active", took, heard, planned, lambda e: owners[e.address])  # type: ignore[index]


def _listen(
    host: Host, names: Sequence[str], seconds: int, place: Callable[[FrameEvidence], str], progress: Progress
) -> tuple[float, dict[str, Heard]]:
    """Seconds it took, and what was heard on each NIC."""
    begin = time.monotonic()
    before = nics.look(host, names, ["tcpdump", "mktemp"])
    looked = time.monotonic() - begin
    ears = listening.listen(host, names, before, seconds, place, progress)
    took, after = time.monotonic() - begin, nics.sent(host, names)
    heard = {
        name: Heard(
            before[name].mac,
            before[name].link,
            ear.evidence,
            ear.frames,
            after[name] - before[name].sent,
            None if ear.after is None else looked + ear.after,
        )
        for name, ear in ears.items()
    }
    return took, heard
