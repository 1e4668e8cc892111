"""Packets lost on a guest that forwards: to frames that were merged on receipt, or to MTUs that do not fit (rules R1 to R5).

A NIC with LRO hands up several TCP segments as one frame. Where its driver does not say how they were cut, the kernel cannot
cut them again: it finds the packet longer than the next MTU, drops it, counts IpFragFails and tells the client "fragmentation
needed". The client has sent nothing too long, so it changes nothing and sends again. Two things tell this from an MTU that is
really too small: frames that are longer than the MTU they came in with, and messages that name an MTU which is no smaller.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hikkoshi.network.diagnosis.findings import ENOUGH, FEW, Certainty, Change, Finding, agree, too_long
from hikkoshi.run.step import OFFLOADS

LRO, MERGED, MTU = "LRO", "receive aggregation", "MTU mismatch"
COUNTER = "LRO pkts rx"  # vmxnet3: merged frames that the host handed over
WARNING = "received packets cannot be forwarded while LRO is enabled"
BUSY = 1000  # forwarded packets that show whether LRO hurts
RUINED = 0.1  # share of segments sent again that no network in order has
_OFF = f"switch LRO off on every NIC that forwards, as {OFFLOADS} does, and measure again"


@dataclass(frozen=True)
class Signs:
    """What speaks for merged frames, and for a small MTU, all NICs together."""

    lro_on: tuple[str, ...]  # NICs whose flag is on
    lro_off: bool  # every flag can be read and changed, and is off, and nothing was merged by the host's count
    counted: int | None  # merged frames by the driver's own counter
    long: tuple[str, ...]  # NICs whose driver counted frames that are longer than the MTU on average
    seen: int  # frames longer than the MTU before the kernel could have merged them: GRO is off
    blurred: int  # frames longer than the MTU where GRO may have merged them
    watched: bool  # whether tcpdump was there to count them
    named_own: int  # messages 'fragmentation needed' that name an MTU no smaller than the NIC's
    named_small: int  # that name a smaller one
    mtus: tuple[int, ...]  # of all NICs, each once

    @classmethod
    def of(cls, guest: Change) -> "Signs":
        """Read them off."""
        nics = guest.after.ethernet
        told = [(nic.mtu or 0, mtu, count) for nic in nics for mtu, count in (nic.told or {}).items()]
        counts = [c for nic in nics if (c := guest.statistic(nic.name, COUNTER)) is not None]
        gro_off = {nic.name for nic in nics if nic.gro and not nic.gro.on}
        flags = [nic.lro for nic in nics]
        return cls(
            lro_on=tuple(nic.name for nic in nics if nic.lro and nic.lro.on),
            lro_off=bool(flags) and all(f and not f.on and not f.fixed for f in flags) and not any(counts),
            counted=sum(counts) if counts else None,
            long=tuple(nic.name for nic in nics if too_long(guest, nic)),
            seen=sum(nic.oversized or 0 for nic in nics if nic.name in gro_off),
            blurred=sum(nic.oversized or 0 for nic in nics if nic.name not in gro_off),
            watched=any(nic.oversized is not None for nic in nics),
            named_own=sum(count for own, mtu, count in told if mtu >= own),
            named_small=sum(count for own, mtu, count in told if mtu < own),
            mtus=tuple(sorted({nic.mtu for nic in nics if nic.mtu})),
        )

    @property
    def by_nic(self) -> bool:
        """Whether the NIC itself is known to merge, or to be allowed to."""
        return bool(self.lro_on or self.counted)

    @property
    def merged(self) -> bool:
        """Whether frames are known to be merged before the kernel's own GRO."""
        return bool(self.counted or self.long or self.seen or self.named_own)

    def sentences(self) -> Iterator[str]:
        """What was seen of them."""
        if self.lro_on:
            yield f"The flag large-receive-offload is on: {', '.join(self.lro_on)}."
        else:
            yield "No NIC shows the flag large-receive-offload to be on" + (
                "." if self.lro_off else "; not every driver tells of it, or lets it be changed."
            )
        if self.counted:
            yield f"The drivers' counter '{COUNTER}' rose by {self.counted}: the host handed over merged frames."
        if self.long:
            yield f"The mean of received frames is longer than the MTU allows, by the driver's count: {', '.join(self.long)}."
        if self.seen:
            yield f"tcpdump saw {self.seen} received frames longer than the MTU while GRO was off."
        if self.blurred:
            yield f"tcpdump saw {self.blurred} received frames longer than the MTU; GRO was on, which merges before tcpdump sees."
        if self.named_own:
            yield f"{self.named_own} messages 'fragmentation needed' named an MTU that is no smaller than the NIC's own."
        if self.named_small:
            yield f"{self.named_small} messages 'fragmentation needed' named an MTU smaller than the NIC's own."
        if len(self.mtus) == 1:
            yield f"All NICs have the MTU {self.mtus[0]}."


def findings(guest: Change, client: Change | None) -> Iterator[Finding]:
    """What is lost in forwarding, and to what. A guest that does not forward is told that LRO cannot hurt it."""
    signs = Signs.of(guest)
    if guest.after.forwards is False:
        yield Finding(
            rule="R1",
            name="LRO is safe here",
            certainty="certain",
            evidence=("The guest forwards nothing: ip_forward is 0 and it has no bridge.", *signs.sentences()),
            refuted_by="packets that pass through it all the same, in a container or by a program of its own",
            harmful=False,
        )
        return
    yield from _warned(guest, signs)
    losses = tuple(_losses(guest, client))
    found = _lro(guest, client, signs, losses) or _unnamed(guest, client, signs, losses) or _harmless(guest, signs)
    if found:
        yield found
    mismatch = _mtu(guest, client, signs, losses)
    if mismatch:
        yield mismatch


def _losses(guest: Change, client: Change | None) -> Iterator[str]:
    fails, told = guest.count("IpFragFails"), guest.count("IcmpOutDestUnreachs")
    yield f"IpFragFails rose by {_or_unknown(fails)}: packets that the kernel found too long to pass on."
    yield f"IcmpOutDestUnreachs rose by {_or_unknown(told)}: senders that it told so."
    if client:
        yield (
            f"The client's IcmpInDestUnreachs rose by {_or_unknown(client.count('IcmpInDestUnreachs'))}, its TcpRetransSegs by "
            f"{_or_unknown(client.count('TcpRetransSegs'))}, {client.resent:.1%} of its segments."
        )


def _warned(guest: Change, signs: Signs) -> Iterator[Finding]:
    """R4: the kernel's own words. They come once in a while, so that an old line counts as long as the flag is on."""
    new = [line for line in guest.logged(WARNING) if _names(guest, line)]
    old = [line for line in guest.after.log if WARNING in line and _names(guest, line)]
    if new or (old and signs.lro_on):
        yield Finding(
            rule="R4",
            name=LRO,
            certainty="certain" if new and guest.after.forwards else "possible",
            evidence=(f"The kernel says: {(new or old)[-1].strip()}", *signs.sentences()),
            refuted_by="no such line under load once LRO is off",
            remedy=_OFF,
        )


def _names(guest: Change, line: str) -> bool:
    return any(f"{nic}:" in line for nic in guest.after.nics)


def _lro(guest: Change, client: Change | None, signs: Signs, losses: tuple[str, ...]) -> Finding | None:
    """R1 where the NIC is seen to merge, R2 where its driver does not tell."""
    fails, told = guest.rise("IpFragFails"), guest.rise("IcmpOutDestUnreachs")
    lost = fails >= ENOUGH and (told >= fails or agree(fails, told))
    hurt = client is None or client.rise("TcpRetransSegs") >= ENOUGH
    # what a client does when an MTU is really too small: it sends shorter ones, and hears no more
    stubborn = client is not None and hurt and client.rise("IcmpInDestUnreachs") >= max(ENOUGH, fails / 2)
    one_mtu = len(signs.mtus) == 1 and signs.named_small <= signs.named_own // 10
    if not (lost and one_mtu and not signs.lro_off and (signs.merged or (signs.blurred and stubborn))):
        return None
    no_mtu = not signs.named_small and (signs.named_own > 0 or stubborn)  # not even that of a route or tunnel
    certain = signs.by_nic and signs.merged and no_mtu and agree(fails, told) and hurt and guest.after.forwards
    return Finding(
        rule="R1" if signs.by_nic else "R2",
        name=LRO,
        certainty="certain" if certain else "likely",
        evidence=(*losses, *signs.sentences()),
        refuted_by="IpFragFails that goes on rising with LRO (and GRO, where LRO is fixed) off, or a path that stays slow",
        remedy=_OFF,
    )


def _unnamed(guest: Change, client: Change | None, signs: Signs, losses: tuple[str, ...]) -> Finding | None:
    """Merged frames are lost, but not in the way of LRO: nothing is counted, or LRO is off."""
    fails, vanished = guest.rise("IpFragFails"), guest.vanished
    if not (signs.merged or signs.blurred) or signs.named_small:
        return None
    if fails >= ENOUGH and signs.lro_off and len(signs.mtus) == 1 and signs.merged:
        certainty, why = "likely", "LRO is off on every NIC, so that something else merges."
    elif fails < ENOUGH and client and client.resent > RUINED:
        gone = vanished is not None and vanished >= ENOUGH
        certainty = "likely" if gone else "possible"
        why = f"{_or_unknown(vanished)} packets came in to be forwarded and neither left nor were counted as lost."
    else:
        return None
    return Finding(
        rule="R2",
        name=MERGED,
        certainty="likely" if certainty == "likely" else "possible",
        evidence=(*losses, why, *signs.sentences()),
        refuted_by="the same losses with GRO off; a firewall rule whose counter rises as much for another reason",
        remedy="switch GRO off on the NIC that receives, measure again, and look for a rule that drops by length",
    )


def _harmless(guest: Change, signs: Signs) -> Finding | None:
    """R3, or LRO that nobody has tried yet."""
    if not signs.by_nic or guest.rise("IpFragFails") >= ENOUGH:
        return None
    passed = guest.rise("IpForwDatagrams")
    tried = passed >= BUSY and bool(signs.merged)
    return Finding(
        rule="R3" if tried else "R1",
        name="LRO does no harm here" if tried else LRO,
        certainty="likely" if tried else "possible",
        evidence=(
            f"{passed} packets were forwarded, IpFragFails rose by {guest.rise('IpFragFails')}: "
            + ("this kernel cuts merged frames up again." if tried else "too little passed to tell whether LRO hurts."),
            *signs.sentences(),
        ),
        refuted_by="IpFragFails that rises under load, or a path through the guest that is slow",
        remedy="" if tried else "put a load on, and ask again; or " + _OFF,
        harmful=not tried,
    )


def _mtu(guest: Change, client: Change | None, signs: Signs, losses: tuple[str, ...]) -> Finding | None:
    """R5: packets that are too long for the next link, but were not merged."""
    fails, differ = guest.rise("IpFragFails"), len(signs.mtus) > 1
    if fails < FEW and not signs.named_small:
        return None
    unmerged = not signs.merged and not signs.blurred
    measured = unmerged and signs.watched and not signs.lro_on
    # a client that was told, and lost next to nothing, sends shorter packets since: that is how it should be
    heeded = client is not None and client.rise("IcmpInDestUnreachs") > 0 and client.resent < 0.01
    certainty: Certainty = "possible"
    if not heeded and ((signs.named_small > signs.named_own and fails) or (measured and differ)):
        certainty = "certain"
    elif not heeded and unmerged and (differ or (measured and fails >= ENOUGH)):
        certainty = "likely"
    elif not (differ or signs.named_small):
        return None
    return Finding(
        rule="R5",
        name=MTU,
        certainty=certainty,
        evidence=(
            *losses,
            f"MTUs: {', '.join(f'{nic.name} {nic.mtu}' for nic in guest.after.ethernet)}.",
            *(("tcpdump saw no received frame longer than its NIC's MTU.",) if unmerged and signs.watched else ()),
            *(("The client heard of it and sends shorter packets since, as it should.",) if heeded else ()),
            *signs.sentences(),
        ),
        refuted_by="received frames that are longer than the MTU of the NIC they came by",
        remedy="give both sides, the port groups and the switch the same MTU, or clamp the MSS on the guest",
    )


def _or_unknown(count: int | None) -> str:
    return "an unknown number" if count is None else str(count)
