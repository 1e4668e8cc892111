"""Why a path through a guest is slow, named from counters before and after a short load.

Every rule looks at the same two collections and says what it found, how certain it is, and what would show it to be wrong.
The cause is what the most certain of them names; where nothing is at least likely, it is unknown.
"""

from collections.abc import Iterator

from hikkoshi.artefact import Frozen
from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.diagnosis import aggregation, faults
from hikkoshi.network.diagnosis.collection import Pair
from hikkoshi.network.diagnosis.findings import Change, Finding
from hikkoshi.network.diagnosis.snapshot import Snapshot

UNKNOWN = "unknown"
CERTAINTIES = ("certain", "likely", "possible")
FIRST = ("R4", "R1", "R2", "R5", "R8", "R9", "R7", "R6", "R10", "R13", "R12", "R11", "R14", "R15", "R3")


class Counts(Frozen):
    """Counts that agree where merged frames are what is lost; None where one was not asked, or could not tell."""

    fragmentation_failures: int | None
    unreachable_told: int | None
    unreachable_heard: int | None  # by the client
    retransmitted: int | None  # by the client
    longer_than_mtu: int | None  # a part of them: tcpdump did not watch from beginning to end
    merged_by_nic: int | None


class Diagnosis(Frozen):
    """What every rule found, the most certain first."""

    cause: str
    kernel: str
    release: str
    forwards: bool | None
    seconds: int  # between the two collections
    findings: tuple[Finding, ...]
    counts: Counts
    missing: tuple[str, ...]  # programs that the guest does not have

    def rows(self) -> list[dict[str, str]]:
        """A row for each finding, for a reader."""
        return [
            {
                "rule": f.rule,
                "found": f.name,
                "certainty": f.certainty,
                "evidence": " ".join(f.evidence),
                "refuted by": f.refuted_by,
                "what to do": f.remedy or "nothing",
            }
            for f in self.findings
        ]

    def words(self) -> str:
        """The cause; or that none was found, and what was compared."""
        if self.cause != UNKNOWN:
            return f"cause: {self.cause}"
        return (
            f"no cause found: none of {len(FIRST)} rules is likely by the counters before and after {self.seconds} s with a load"
        )

    def plain(self) -> str:
        """All of it as text."""
        role = {True: "forwards", False: "does not forward", None: "forwards or not, unknown"}[self.forwards]
        lines = [f"cause: {self.cause}", f"guest: {self.release or 'unknown'}, kernel {self.kernel}, {role}"]
        if self.missing:
            lines.append(f"not there: {', '.join(self.missing)}")
        for f in self.findings:
            lines += ["", f"{f.rule} {f.name}: {f.certainty}", *(f"  {sentence}" for sentence in f.evidence)]
            lines.append(f"  refuted by: {f.refuted_by}")
            lines += [f"  what to do: {f.remedy}"] if f.remedy else []
        return "\n".join(lines)


def diagnose(before: Snapshot, after: Snapshot, *, client: Pair | None = None, server: Pair | None = None) -> Diagnosis:
    """Hold every rule against a guest's two collections, and those of the load's client and server where they were made.

    `BadInput` where a pair cannot be compared: a machine was started anew between, or the two are in the wrong order.
    """
    changes = {
        who: Change(*pair)
        for who, pair in (("guest", (before, after)), ("client", client), ("server", server))
        if pair is not None
    }
    problems = [problem for who, change in changes.items() for problem in _not_a_pair(who, change)]
    if problems:
        raise BadInput(*problems)
    guest, from_there, to_there = changes["guest"], changes.get("client"), changes.get("server")
    found = [*aggregation.findings(guest, from_there), *faults.findings(guest, from_there, to_there)]
    found.sort(key=lambda f: (not f.harmful, CERTAINTIES.index(f.certainty), FIRST.index(f.rule)))
    cause = found[0].name if found and found[0].harmful and found[0].certainty != "possible" else UNKNOWN
    return Diagnosis(
        cause=cause,
        kernel=after.kernel,
        release=after.release,
        forwards=after.forwards,
        seconds=after.time - before.time,
        findings=tuple(found),
        counts=_counts(guest, from_there),
        missing=tuple(sorted(after.missing)),
    )


def reconciled(diagnosis: Diagnosis) -> list[dict[str, object]]:
    """What several machines counted of the same: rows of count, where, number (None where unknown), meaning.

    Rows with the same meaning have the same number where LRO is the cause, and the client has no part in other losses.
    """
    c = diagnosis.counts
    lost = "packets too long to pass on"
    rows = (
        ("IpFragFails", "guest", c.fragmentation_failures, lost),
        ("IcmpOutDestUnreachs", "guest", c.unreachable_told, lost),
        ("IcmpInDestUnreachs", "client", c.unreachable_heard, lost),
        ("TcpRetransSegs", "client", c.retransmitted, "segments sent again, two or more for each of these"),
        ("tcpdump", "guest", c.longer_than_mtu, "received frames longer than the MTU, for a part of the time"),
        (aggregation.COUNTER, "guest", c.merged_by_nic, "merged frames that the host handed over"),
    )
    return [dict(zip(("count", "where", "number", "meaning"), row, strict=True)) for row in rows]


def _counts(guest: Change, client: Change | None) -> Counts:
    seen = [nic.oversized for nic in guest.after.ethernet if nic.oversized is not None]
    return Counts(
        fragmentation_failures=guest.count("IpFragFails"),
        unreachable_told=guest.count("IcmpOutDestUnreachs"),
        unreachable_heard=client.count("IcmpInDestUnreachs") if client else None,
        retransmitted=client.count("TcpRetransSegs") if client else None,
        longer_than_mtu=sum(seen) if seen else None,
        merged_by_nic=aggregation.Signs.of(guest).counted,
    )


def _not_a_pair(who: str, change: Change) -> Iterator[Problem]:
    before, after = change.before, change.after
    if before.boot != after.boot:
        yield Problem(
            code="collections-of-two-boots",
            what=f"the {who} was started anew between the two collections, or they are of two machines",
            found=f"boot {before.boot or 'unknown'}, then {after.boot or 'unknown'}",
            expected="the same boot, whose counters can be compared",
            remedy="collect before and after again",
        )
    elif after.time < before.time:
        yield Problem(
            code="collections-reversed",
            what=f"the {who}'s second collection is older than the first",
            found=f"{before.time}, then {after.time} (seconds since 1970, by its clock)",
            expected="before, then after",
            remedy="exchange the two, or collect again",
        )
