"""Which NIC is on which segment: what was seen there, held against the plan.

One frame that belongs to exactly one known segment is enough to name a NIC's segment: a second one would mostly come from
the same machine and prove no more, and a quiet segment has none within 20 s. What guards against a stray machine is the
other rule: whatever speaks for two segments is `conflicting`, be it a hundred frames against one. Only evidence for the
planned segment, and for no other, is `ok`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import ClassVar, Literal

from hikkoshi.artefact import Artefact, Frozen
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Problem, nearest
from hikkoshi.network.wiring.frames import FrameEvidence
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import Segment
from hikkoshi.run.step import CUTOVER, Step

Verdict = Literal["ok", "wrong", "silent", "unknown", "conflicting"]
TAG = "802.1Q"
EXAMPLES = 3  # kept of each kind of evidence
REMEDIES = {
    "ok": "",
    "wrong": "connect the NIC to the port group of its segment, or correct the plan",
    "silent": "that nothing was heard proves nothing: see whether the NIC is connected, watch longer, or probe actively",
    "unknown": "see whose addresses these are: a subnet or VLAN in params/site.yml may be wrong or missing",
    "conflicting": "find the machine that is out of place: a wrong address or mask, a host with NICs on both segments, "
    "proxy ARP, or two VLANs joined somewhere",
}


@dataclass(frozen=True)
class Heard:
    """A NIC as it was, and what was heard on it.

    `sent` counts the packets that left it meanwhile: while listening by its counter, so whoever sent them; while asking the
    questions only.
    """

    mac: str
    link: str  # up, no carrier, down
    evidence: Sequence[FrameEvidence]
    frames: int  # of other machines, telling or not
    sent: int
    after: float | None  # seconds until something was heard that names a segment


class Seen(Frozen):
    """Evidence of one kind for one segment; `segment` is empty where it belongs to none that is known."""

    segment: str
    kind: str
    frames: int
    senders: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        many = f"{self.frames} from {self.senders} {'machine' if self.senders == 1 else 'machines'}, such as "
        return f"{self.kind}: {many if self.frames > 1 else ''}{self.examples[0]}"


class NicWiring(Frozen):
    """What was found about one NIC."""

    name: str
    mac: str
    link: str
    planned: str
    seen: tuple[Seen, ...]
    verdict: Verdict
    frames: int
    sent: int
    after: float | None

    @property
    def on(self) -> str:
        """The segments that the evidence speaks for; empty for none."""
        return ", ".join(dict.fromkeys(s.segment for s in self.seen if s.segment))

    @property
    def found(self) -> str:
        """The evidence in a sentence."""
        link = "" if self.link == "up" else f"the link is {self.link}; "
        if not self.seen:
            return f"{link}{self.frames} frames, none of which tells a segment"
        groups: dict[str, list[str]] = {}
        for s in self.seen:
            groups.setdefault(s.segment or "no known segment", []).append(str(s))
        told = "; ".join(f"{name} by {', '.join(words)}" for name, words in groups.items())
        trunk = "; all of it with an 802.1Q tag: the NIC is on a trunk" if _tagged(self.seen) else ""
        return f"{link}{told}{trunk}"


class Witness(Frozen):
    """What was found about every NIC of a host. `way` is how: passive, active, fingerprint; `seconds` how long it took."""

    host: str
    way: str
    seconds: float
    nics: tuple[NicWiring, ...]

    @property
    def ok(self) -> bool:
        """Whether every NIC is proved to be on its segment."""
        return all(n.verdict == "ok" for n in self.nics)

    @property
    def swaps(self) -> list[tuple[str, ...]]:
        """NICs that have each other's segments, in turn: the first is on the second's, the last on the first's."""
        wrong = [n for n in self.nics if n.verdict == "wrong"]
        owner = {n.planned: n.name for n in wrong}
        then = {n.name: owner.get(n.on, "") for n in wrong}  # {NIC: NIC on whose segment it is}
        found = []
        left = list(then)
        while left:
            way = [left[0]]
            while (following := then[way[-1]]) and following not in way:
                way.append(following)
            if following == way[0] and len(way) > 1:
                found.append(tuple(way))
            else:
                way = way[:1]  # it leads nowhere, or into a circle that is found from within
            left = [name for name in left if name not in way]
        return found

    def rows(self) -> list[dict[str, str]]:
        """A row per NIC for a reader."""
        return [
            {
                "NIC": n.name,
                "MAC": n.mac,
                "planned": n.planned,
                "seen": n.on,
                "verdict": n.verdict,
                "evidence": n.found,
                "known after": "" if n.after is None else f"{n.after:.1f} s",
                "sent meanwhile": str(n.sent),
            }
            for n in self.nics
        ]

    def checks(self) -> list[Check]:
        """A check per NIC; red for everything but proof."""
        swapped = {name: cycle for cycle in self.swaps for name in cycle}
        return [
            Check(
                code="nic-on-its-segment",
                title=f"{n.name} is seen on {n.planned}",
                ok=n.verdict == "ok",
                found=f"{n.verdict}: {n.found}",
                expected=f"evidence for {n.planned} and for nothing else",
                remedy=f"{' → '.join([*swapped[n.name], swapped[n.name][0]])}: each is on the next one's segment; exchange them"
                if n.name in swapped
                else REMEDIES[n.verdict],
                where=f"{self.host}, {n.name} ({n.mac})",
            )
            for n in self.nics
        ]


class Wiring(Artefact):
    """wiring.json: on which segment each NIC of the guest was seen from inside, since it was put into service."""

    filename: ClassVar[str] = GuestFolder.wiring
    made_by: ClassVar[Step] = CUTOVER
    run: str  # that looked
    since: str  # when the guest was put into service, as cutover.json has it
    witness: Witness
    fingerprint: Witness | None = None  # by who was heard on each NIC under Xen, where 80-netperf had listened then


def witness(
    host: str,
    way: str,
    seconds: float,
    heard: Mapping[str, Heard],
    planned: Mapping[str, str],
    place: Callable[[FrameEvidence], str],
) -> Witness:
    """Judge what was heard on each NIC: `planned` is {NIC: segment}, `place` names the segment of a piece of evidence."""
    nics = [_nic(n, h, planned[n], _summed((place(e), e) for e in h.evidence)) for n, h in heard.items()]
    return Witness(host=host, way=way, seconds=round(seconds, 2), nics=tuple(nics))


def together(first: Witness, second: Witness) -> Witness:
    """Two witnesses of one host as one: the evidence adds up and is judged anew. The second may have fewer NICs."""
    others = {n.name: n for n in second.nics}
    nics = []
    for one in first.nics:
        two = others.get(one.name)
        if two is None:
            nics.append(one)
            continue
        known = [n.after for n in (one, two) if n.after is not None]
        heard = Heard(two.mac, two.link, (), one.frames + two.frames, one.sent + two.sent, min(known, default=None))
        nics.append(_nic(one.name, heard, one.planned, one.seen + two.seen))
    way, seconds = f"{first.way} and {second.way}", round(first.seconds + second.seconds, 2)
    return Witness(host=second.host, way=way, seconds=seconds, nics=tuple(nics))


def with_subnets(segments: Mapping[str, Segment], addresses: Mapping[str, IPv4Interface]) -> dict[str, Segment]:
    """The segments, where one without a subnet has that of the guest's own address there: `addresses` is {segment: address}."""
    own = {name: {"subnet": addresses[name].network} for name, s in segments.items() if not s.subnet and name in addresses}
    return {name: s.model_copy(update=own.get(name)) for name, s in segments.items()}


def places(segments: Mapping[str, Segment]) -> Callable[[FrameEvidence], str]:
    """What names the segment of a piece of evidence: by its VLAN id, else by the narrowest subnet that has its address.

    Empty for evidence that fits no segment, or two.
    """

    def place(e: FrameEvidence) -> str:
        if e.vlan is not None:
            fit = [name for name, s in segments.items() if s.vlan == e.vlan]
        else:
            held = {n: s.subnet.prefixlen for n, s in segments.items() if s.subnet and e.address and e.address in s.subnet}
            fit = [name for name, width in held.items() if width == max(held.values())]
        return fit[0] if len(fit) == 1 else ""

    return place


def known(planned: Mapping[str, str], segments: Mapping[str, Segment]) -> None:
    """`BadInput` where the plan puts a NIC on a segment that there is not, or that nothing could be told by."""
    problems = []
    for nic, name in planned.items():
        if name not in segments:
            hint = nearest(name, list(segments)) or "correct the name"
            problems.append(
                Problem(
                    code="segment-unknown",
                    what="unknown segment",
                    where=nic,
                    found=repr(name),
                    expected="one of: " + ", ".join(segments),
                    remedy=hint,
                )
            )
        elif segments[name].subnet is None and not segments[name].vlan:
            problems.append(
                Problem(
                    code="segment-untellable",
                    what="nothing could tell this segment",
                    where=f"{nic}: {name}",
                    found="neither subnet nor VLAN",
                    expected="a subnet",
                    remedy="give its subnet in params/site.yml",
                )
            )
    if problems:
        raise BadInput(*problems)


def _nic(name: str, heard: Heard, planned: str, seen: tuple[Seen, ...]) -> NicWiring:
    return NicWiring(
        name=name,
        mac=heard.mac,
        link=heard.link,
        planned=planned,
        seen=seen,
        verdict=_verdict(planned, seen),
        frames=heard.frames,
        sent=heard.sent,
        after=heard.after,
    )


def _verdict(planned: str, seen: Sequence[Seen]) -> Verdict:
    on = {s.segment for s in seen if s.segment}
    if len(on) > 1:
        return "conflicting"
    if on:
        return "ok" if on == {planned} and not _tagged(seen) else "wrong"
    return "unknown" if seen else "silent"


def _tagged(seen: Iterable[Seen]) -> bool:
    """Whether all that speaks for a segment came with its tag: a guest's own NIC is not on that VLAN then."""
    kinds = {s.kind for s in seen if s.segment}
    return kinds == {TAG}


def _summed(evidence: Iterable[tuple[str, FrameEvidence]]) -> tuple[Seen, ...]:
    groups: dict[tuple[str, str], list[FrameEvidence]] = {}
    for segment, e in evidence:
        groups.setdefault((segment, e.kind), []).append(e)
    return tuple(
        Seen(
            segment=segment,
            kind=kind,
            frames=len(found),
            senders=len({e.source for e in found}),
            examples=tuple(dict.fromkeys(map(str, found)))[:EXAMPLES],
        )
        for (segment, kind), found in groups.items()
    )
