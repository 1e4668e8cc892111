"""What one Ethernet frame tells of the segment on which it was seen.

Frames come from whoever is on the wire: no bytes whatever raise an error, and what is cut off or odd tells nothing.
Sources: RFC 826 and 5227 (ARP), 2131 and 2132 (DHCP), 4861 (router advertisement), IEEE 802.1Q, 802.1AB (LLDP, its annex D
of 802.1Q for the port's VLAN). CDP and PVST+ are Cisco's own; their fields are as Wireshark and tcpdump read them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

Kind = Literal["ARP", "broadcast", "multicast", "DHCP", "RA", "802.1Q", "LLDP", "CDP", "PVST+", "answer", "pair"]
# the last two come not from frames: an answer to our own probe, and a pair that a fingerprint has kept
TAGS = (0x8100, 0x88A8, 0x9100)  # 802.1Q, provider's tag of 802.1ad, and what came before that
ARP, IPV4, IPV6, LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
CISCO = bytes.fromhex("aaaa03 00000c")  # LLC of SNAP and Cisco's OUI; the protocol follows
CDP, PVST = 0x2000, 0x010B
PORT_VLAN = bytes.fromhex("0080c2 01")  # OUI of 802.1 and subtype: Port VLAN ID
BROADCAST = b"\xff" * 6
PVST_TLV = 36  # bytes before the TLV that names the VLAN, in a BPDU of either version


@dataclass(frozen=True)
class FrameEvidence:
    """What one frame tells: an address that belongs to the segment, or the segment's VLAN id, or neither.

    `source` is the sender's MAC; `note` is for a reader: the switch and its port, a DHCP server's offer.
    """

    kind: Kind
    source: str
    address: IPv4Address | IPv6Address | None = None
    vlan: int | None = None
    note: str = ""

    def __str__(self) -> str:
        what = str(self.address or "") if self.vlan is None else f"VLAN {self.vlan}"
        words = f"{what} from {self.source}".strip()
        return f"{words} ({self.note})" if self.note else words


def source(frame: bytes) -> str:
    """MAC of the sender, in lower case with colons; empty for what is no frame."""
    return frame[6:12].hex(":") if len(frame) >= 14 else ""


def evidence(frame: bytes) -> tuple[FrameEvidence, ...]:
    """Everything that a frame tells; nothing for most frames.

    From a frame with an 802.1Q tag only the tag counts: what is inside belongs to that VLAN, and the NIC's own segment is
    the untagged one.
    """
    if len(frame) < 14 or frame[6] & 1:  # a group is no sender
        return ()
    sender, kind, at, tag = source(frame), _number(frame, 12, 2), 14, 0
    while kind in TAGS and len(frame) >= at + 4:
        tag = tag or _number(frame, at, 2) & 0xFFF  # VLAN id 0 is a priority only
        kind, at = _number(frame, at + 2, 2), at + 4
    body = frame[at:]
    if kind == ARP:
        found = tuple(_arp(sender, body))
    elif kind == IPV4:
        found = tuple(_ipv4(sender, frame[:6], body))
    elif kind == IPV6:
        found = tuple(_router(sender, body))
    elif kind == LLDP:
        found = tuple(_lldp(sender, body))
    elif kind <= 1500 and body.startswith(CISCO):  # 802.3: not a type but a length
        found = tuple(_cisco(sender, body[:kind]))
    else:
        found = ()
    if _vlan(tag) is None:
        return found
    inside = ", ".join(str(e.address) for e in found if e.address)
    return (FrameEvidence("802.1Q", sender, vlan=tag, note=f"inside: {inside}" if inside else ""),)


def _arp(sender: str, body: bytes) -> Iterator[FrameEvidence]:
    """The sender's address; of a probe (sender 0.0.0.0) the one it asks for, since it wants to have it."""
    if len(body) >= 28 and body[:6] == b"\x00\x01\x08\x00\x06\x04" and _number(body, 6, 2) in (1, 2):
        own, asked = _host(body[14:18]), _host(body[24:28])
        address = own or (asked if body[14:18] == bytes(4) else None)
        if address:
            yield FrameEvidence("ARP", sender, address)


def _ipv4(sender: str, destination: bytes, body: bytes) -> Iterator[FrameEvidence]:
    """The source of what no router forwards: broadcasts, and multicasts to 224.0.0.0/24."""
    header = (body[0] & 0xF) * 4 if body else 0
    if len(body) < 20 or body[0] >> 4 != 4 or header < 20:
        return
    udp = body[header:]
    if body[9] == 17 and not _number(body, 6, 2) & 0x1FFF and udp[:4] == b"\x00\x43\x00\x44":
        yield from _dhcp(sender, udp[8:])  # the server itself may be anywhere: a relay passes its answers on
        return
    address = _host(body[12:16])
    if address and destination == BROADCAST:
        yield FrameEvidence("broadcast", sender, address)
    elif address and body[16:19] == b"\xe0\x00\x00":
        yield FrameEvidence("multicast", sender, address)


def _dhcp(sender: str, body: bytes) -> Iterator[FrameEvidence]:
    """The address that a server gives, and the router it names."""
    if len(body) < 240 or body[0] != 2 or body[236:240] != b"\x63\x82\x53\x63":
        return
    options: dict[int, bytes] = {}
    at = 240
    while at + 1 < len(body) and body[at] != 255:
        if body[at] == 0:
            at += 1
            continue
        options.setdefault(body[at], body[at + 2 : at + 2 + body[at + 1]])
        at += 2 + body[at + 1]
    kind = {b"\x02": "offered", b"\x05": "given"}.get(options.get(53, b""))
    if kind:
        given, router, mask = _host(body[16:20]), _host(options.get(3, b"")[:4]), options.get(1, b"")
        width = f", mask {IPv4Address(mask)}" if len(mask) == 4 else ""
        if given:
            yield FrameEvidence("DHCP", sender, given, note=f"{kind}{width}")
        if router:
            yield FrameEvidence("DHCP", sender, router, note=f"named as router{width}")


def _router(sender: str, body: bytes) -> Iterator[FrameEvidence]:
    """The prefixes of an IPv6 router advertisement; with a hop limit below 255 it was sent from elsewhere."""
    if len(body) < 56 or body[0] >> 4 != 6 or body[6:8] != b"\x3a\xff" or body[40:42] != b"\x86\x00":
        return
    at = 56
    while at + 2 <= len(body) and body[at + 1]:
        option = body[at : at + 8 * body[at + 1]]
        if option[0] == 3 and len(option) == 32 and option[2] <= 128:
            yield FrameEvidence("RA", sender, IPv6Address(option[16:32]), note=f"prefix length {option[2]}")
        at += 8 * body[at + 1]


def _lldp(sender: str, body: bytes) -> Iterator[FrameEvidence]:
    """The VLAN of the switch's port, with the switch and the port. Its management address is not of this segment."""
    vlan, names = None, dict.fromkeys(("switch", "port", "address"), "")
    at = 0
    while at + 2 <= len(body):
        kind, size = body[at] >> 1, _number(body, at, 2) & 0x1FF
        content = body[at + 2 : at + 2 + size]
        at += 2 + size
        if len(content) < size or kind == 0:
            break
        if kind == 127 and content[:4] == PORT_VLAN and size == 6:
            vlan = _vlan(_number(content, 4, 2))
        elif kind == 5:
            names["switch"] = _text(content)
        elif kind == 2 and content[:1] != b"\x03":  # of a MAC for a name, the description tells more
            names["port"] = _text(content[1:])
        elif kind == 4:
            names["port"] = names["port"] or _text(content)
        elif kind == 8 and content[:2] in (b"\x05\x01", b"\x11\x02"):  # length with the family's number: IPv4, IPv6
            names["address"] = names["address"] or _address(content[2 : content[0] + 1])
    if vlan or any(names.values()):
        yield FrameEvidence("LLDP", sender, vlan=vlan, note=_about(names))


def _cisco(sender: str, llc: bytes) -> Iterator[FrameEvidence]:
    """CDP: the native VLAN of the switch's port. PVST+: the VLAN to which a spanning tree's BPDU belongs."""
    kind, body = _number(llc, 6, 2), llc[8:]
    if kind == PVST and len(body) >= PVST_TLV + 6 and body[:2] == bytes(2) and body[2] in (0, 2):
        vlan = _vlan(_number(body, PVST_TLV + 4, 2))
        if body[PVST_TLV : PVST_TLV + 4] == b"\x00\x00\x00\x02" and vlan:
            yield FrameEvidence("PVST+", sender, vlan=vlan)
    if kind != CDP:
        return
    vlan, names = None, dict.fromkeys(("switch", "port", "address"), "")
    at = 4  # version, time to live, checksum
    while at + 4 <= len(body):
        kind, size = _number(body, at, 2), _number(body, at + 2, 2)
        content = body[at + 4 : at + size]
        at += size
        if size < 4 or len(content) < size - 4:
            break
        if kind == 0x0A and size == 6:
            vlan = _vlan(_number(content, 0, 2))
        elif kind == 1:
            names["switch"] = _text(content)
        elif kind == 3:
            names["port"] = _text(content)
    if vlan or any(names.values()):
        yield FrameEvidence("CDP", sender, vlan=vlan, note=_about(names))


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _vlan(number: int) -> int | None:
    """A VLAN id that means one; 0 and 4095 mean none."""
    return number if 0 < number < 4095 else None


def _host(data: bytes) -> IPv4Address | None:
    """The address of one machine; None for 0.0.0.0/8, loopback, multicast and above, and what is cut off."""
    return IPv4Address(data) if len(data) == 4 and 0 < data[0] < 224 and data[0] != 127 else None


def _address(data: bytes) -> str:
    return str(ip_address(data)) if len(data) in (4, 16) else ""


def _about(names: dict[str, str]) -> str:
    return ", ".join(f"{k} {x}" for k, x in names.items() if x)


def _text(data: bytes) -> str:
    """What a device calls itself, safe to print."""
    return "".join(c if c.isprintable() else "?" for c in data[:64].decode("utf-8", "replace"))
