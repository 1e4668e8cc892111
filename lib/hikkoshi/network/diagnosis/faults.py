"""What else makes a path slow, each by its own counters (rules R6 to R15): the look-alikes of LRO."""

import re
from collections.abc import Iterator

from hikkoshi.network.diagnosis.findings import ENOUGH, FEW, Certainty, Change, Finding
from hikkoshi.network.diagnosis.snapshot import NicState
from hikkoshi.run.step import CUTOVER

DUPLEX, CHECKSUMS, CONNTRACK = "duplex mismatch", "corrupted checksums", "conntrack table full"
RP_FILTER, RING, ADAPTER = "reverse path filter", "receive ring too small", "emulated adapter"
SEGMENT, CUT, SLOW, CONGESTION = "wrong segment", "link down", "slow peer", "congestion"
EMULATED = ("e1000", "e1000e", "pcnet32", "vlance", "8139cp", "8139too", "ne2k-pci")
_COLLISIONS = re.compile(r"late_?coll|tx_aborted|excessive_?coll", re.I)
_BROKEN = re.compile(r"crc|align_err|fcs|symbol", re.I)
_MISSED = re.compile(r"rx_missed|rx_no_buffer|rx_fifo|rx_over|missed_errors", re.I)
_RING = ("pkts rx OOB", "drv dropped rx total")  # vmxnet3


def findings(guest: Change, client: Change | None, server: Change | None) -> Iterator[Finding]:
    """Every fault that the counters show, in the order of the rules."""
    for nic in guest.after.ethernet:
        yield from _duplex(guest, nic)
    yield from _checksums(("guest", guest), ("client", client), ("server", server))
    yield from _conntrack(guest)
    yield from _rp_filter(guest)
    for nic in guest.after.ethernet:
        yield from _ring(guest, nic)
    yield from _adapter(guest)
    yield from _link(guest)
    yield from _segment(guest)
    yield from _slow_peer(client, server)
    yield from _congestion(guest, client)


def _rises(guest: Change, nic: NicState, names: re.Pattern[str]) -> dict[str, int]:
    """{counter of ethtool -S: how much it rose}, of those that did."""
    rises = {name: guest.statistic(nic.name, name) or 0 for name in nic.statistics if names.search(name)}
    return {name: rise for name, rise in rises.items() if rise}


def _listed(rises: dict[str, int]) -> str:
    return ", ".join(f"{name} rose by {rise}" for name, rise in rises.items())


def _duplex(guest: Change, nic: NicState) -> Iterator[Finding]:
    half = nic.link.get("Duplex") == "Half"
    collisions, broken = _rises(guest, nic, _COLLISIONS), _rises(guest, nic, _BROKEN)
    if not half and not collisions and sum(broken.values()) < ENOUGH:
        return
    certainty: Certainty = "certain" if half and collisions else "likely" if half or collisions else "possible"
    yield Finding(
        rule="R6",
        name=DUPLEX,
        certainty=certainty,
        evidence=(
            f"{nic.name} runs at {nic.link.get('Speed', 'unknown speed')}, duplex {nic.link.get('Duplex', 'unknown')}, "
            f"auto-negotiation {nic.link.get('Auto-negotiation', 'unknown')}.",
            *((f"{nic.name}: {_listed(collisions | broken)}.",) if collisions or broken else ()),
        ),
        refuted_by="full duplex on both ends of the cable, and these counters at rest under load",
        remedy="let both ends of the cable negotiate, or set both to the same",
    )


def _checksums(*machines: tuple[str, Change | None]) -> Iterator[Finding]:
    for where, machine in machines:
        named = machine.rise("TcpInCsumErrors", "UdpInCsumErrors", "IpExtInCsumErrors") if machine else 0
        errors = machine.rise("TcpInErrs") if machine else 0
        if max(named, errors) >= ENOUGH:
            yield Finding(
                rule="R7",
                name=CHECKSUMS,
                certainty="certain" if named >= ENOUGH else "likely",
                evidence=(
                    f"On the {where}, {named} packets had a wrong checksum, and TcpInErrs rose by {errors}.",
                    "A sum that was left to a NIC which did not make it, or packets damaged on the way.",
                ),
                refuted_by="the same with checksum offload off on the guest (ethtool -K NIC tx off)",
                remedy="ethtool -K NIC tx off on the guest, measure again; if it helps, keep it, else look at the cable",
            )


def _conntrack(guest: Change) -> Iterator[Finding]:
    lines = [line for line in guest.logged("table full") if "conntrack" in line]
    drops = (guest.after.conntrack_drops or 0) - (guest.before.conntrack_drops or 0)
    known, most = guest.after.conntrack or (0, 0)
    full = most > 0 and known >= 0.95 * most
    if not (lines or full or drops >= ENOUGH):
        return
    yield Finding(
        rule="R8",
        name=CONNTRACK,
        certainty="certain" if full and (lines or drops > 0) else "likely" if full or lines else "possible",
        evidence=(
            f"{known} connections are known of at most {most}." if most else "How many connections are known is unknown.",
            *((f"{drops} packets were dropped by connection tracking.",) if drops > 0 else ()),
            *((f"The kernel says: {lines[-1].strip()}",) if lines else ()),
        ),
        refuted_by="a table that is not full, and the counter drop of /proc/net/stat/nf_conntrack at rest",
        remedy="raise net.netfilter.nf_conntrack_max, and find what holds so many connections",
    )


def _rp_filter(guest: Change) -> Iterator[Finding]:
    drops, strict = guest.count("TcpExtIPReversePathFilter"), [n.name for n in guest.after.ethernet if n.rp_filter == 1]
    martians = guest.logged("martian source")
    if not ((drops or 0) >= FEW or (drops is None and martians)):
        return
    yield Finding(
        rule="R9",
        name=RP_FILTER,
        certainty="certain" if strict and (drops or 0) >= ENOUGH else "likely" if strict else "possible",
        evidence=(
            f"TcpExtIPReversePathFilter rose by {drops}." if drops is not None else f"The kernel says: {martians[-1].strip()}",
            f"rp_filter is strict on {', '.join(strict)}." if strict else "rp_filter is strict on no NIC.",
        ),
        refuted_by="the counter at rest while the path is slow",
        remedy="set rp_filter to 2 on the NICs whose answers take another way, or mend the routes",
    )


def _ring(guest: Change, nic: NicState) -> Iterator[Finding]:
    rises = {name: rise for name in _RING if (rise := guest.statistic(nic.name, name))}
    traffic = guest.traffic.get(nic.name)
    if not rises and traffic and traffic.rx_fifo and nic.driver not in EMULATED:
        rises = {"fifo of /proc/net/dev": traffic.rx_fifo}
    lost, received = sum(rises.values()), traffic.rx_packets if traffic else 0
    if lost < ENOUGH or lost < 0.001 * received:
        return
    size = f"{nic.ring.now} of at most {nic.ring.most}" if nic.ring else "unknown"
    yield Finding(
        rule="R10",
        name=RING,
        certainty="certain" if lost >= 0.01 * received else "likely",
        evidence=(f"{nic.name}: {_listed(rises)}, of {received} frames received.", f"Its receive ring has {size} descriptors."),
        refuted_by="these counters at rest with a larger ring, and the path still slow",
        remedy=f"ethtool -G {nic.name} rx {nic.ring.most if nic.ring else 4096}, and give the machine another processor",
    )


def _adapter(guest: Change) -> Iterator[Finding]:
    nics = [nic for nic in guest.after.ethernet if nic.driver in EMULATED]
    missed = {nic.name: rises for nic in nics if (rises := _rises(guest, nic, _MISSED))}
    if not nics:
        return
    yield Finding(
        rule="R11",
        name=ADAPTER,
        certainty="likely" if sum(map(sum, (r.values() for r in missed.values()))) >= ENOUGH else "possible",
        evidence=(
            f"The host imitates register by register: {', '.join(f'{nic.name} ({nic.driver})' for nic in nics)}.",
            *(f"{name}: {_listed(rises)}." for name, rises in missed.items()),
        ),
        refuted_by="the same speed with a vmxnet3 in its place",
        remedy="give the machine a vmxnet3 in its place, with the same MAC, if the guest has its driver",
    )


def _link(guest: Change) -> Iterator[Finding]:
    down = [nic.name for nic in guest.after.ethernet if nic.carrier is False]
    lost = [name for name in down if name in guest.before.nics and guest.before.nics[name].carrier]
    if not down:
        return
    yield Finding(
        rule="R13",
        name=CUT,
        certainty="certain" if lost else "likely",
        evidence=(
            f"No link: {', '.join(down)}.",
            f"Lost since the first collection: {', '.join(lost)}." if lost else "None of them had one before, either.",
        ),
        refuted_by="a link, or a NIC that is not meant to have one",
        remedy="plug it in: in vSphere the NIC's box 'connected', else the cable or the switch's port",
    )


def _segment(guest: Change) -> Iterator[Finding]:
    """R12: on one NIC nobody answers, on the others they do."""
    asked = {nic: pair for nic, pair in guest.after.neighbours.items() if sum(pair)}
    mute = [nic for nic, (answered, silent) in asked.items() if not answered and silent]
    linked = [nic for nic in mute if nic in guest.after.nics and guest.after.nics[nic].carrier is not False]
    if not linked or len(mute) == len(asked):
        return
    yield Finding(
        rule="R12",
        name=SEGMENT,
        certainty="likely" if len(linked) <= 2 else "possible",
        evidence=tuple(
            f"On {nic}, {asked[nic][1]} neighbours were asked for by ARP and none answered; on other NICs they do."
            for nic in linked
        ),
        refuted_by="the wiring witness, which sees the planned segment on this NIC",
        remedy=f"have the wiring watched and probed, as {CUTOVER} does",
    )


def _slow_peer(client: Change | None, server: Change | None) -> Iterator[Finding]:
    closed = server.rise("TcpExtTCPToZeroWindowAdv") if server else 0
    probes = client.rise("TcpExtTCPWinProbe") if client else 0
    if max(closed, probes) < FEW or (client and client.resent > 0.05):
        return
    yield Finding(
        rule="R14",
        name=SLOW,
        certainty="likely",
        evidence=(
            *((f"The server closed its window {closed} times: its program did not take what came.",) if closed else ()),
            *((f"The client probed a closed window {probes} times (TcpExtTCPWinProbe).",) if probes else ()),
            *((f"{client.resent:.2%} of the client's segments were sent again.",) if client else ()),
        ),
        refuted_by="an open window (ss -ti) while the path is slow",
        remedy="look at the receiving program, its disk and its processor; the network is not what is slow",
    )


def _congestion(guest: Change, client: Change | None) -> Iterator[Finding]:
    queues = {nic.name: drops for nic in guest.after.ethernet if (drops := guest.queue_drops(nic.name))}
    full = sum(queues.values()) >= ENOUGH
    again = client.rise("TcpRetransSegs") if client else 0
    if not full and (client is None or again < ENOUGH or client.resent < 0.001):
        return
    quick = client.rise("TcpExtTCPFastRetrans") if client else 0
    timed = client.rise("TcpExtTCPTimeouts") if client else 0
    passed_all = guest.rise("IpFragFails") < ENOUGH and (guest.vanished or 0) < ENOUGH
    if not full and not passed_all:
        return
    steady = client is not None and client.resent <= 0.1 and quick > timed
    yield Finding(
        rule="R15",
        name=CONGESTION,
        certainty="certain" if full and again >= ENOUGH else "likely" if full or steady else "possible",
        evidence=(
            *(f"{drops} packets found no room in the queue of {nic}." for nic, drops in queues.items()),
            *(
                (
                    f"The client sent {again} segments again, {client.resent:.1%}: {quick} at once, {timed} after a time-out.",
                    "The guest passed on all that it took in.",
                )
                if client and passed_all
                else ()
            ),
        ),
        refuted_by="losses that stay when nothing else uses the way",
        remedy="find the link that is full (counters of switch and port groups, traffic shaping), or the cable that loses",
    )
