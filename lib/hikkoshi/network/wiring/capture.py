"""Captures as tcpdump writes them, in the classic pcap format, while they grow.

A file header of 24 bytes, then a record per frame: seconds, fraction, bytes kept, bytes on the wire, and the bytes. Either
byte order, fractions in microseconds or nanoseconds (draft-ietf-opsawg-pcap; libpcap's savefile.c).
"""

import struct
from dataclasses import dataclass

from hikkoshi.errors import BadInput, Problem

MAGIC = {  # {first four bytes: (byte order, fractions in a second)}
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
PCAPNG = b"\x0a\x0d\x0d\x0a"
ETHERNET = 1  # LINKTYPE_ETHERNET
HEADER, RECORD = 24, 16  # bytes
LONGEST = 1 << 18  # bytes of a frame: the largest snap length of libpcap (MAXIMUM_SNAPLEN); more is no length


@dataclass(frozen=True)
class Frame:
    """One frame: when, by the clock of the machine that captured it (seconds since 1970), and its first bytes."""

    time: float
    data: bytes


class Growing:
    """A capture that comes in pieces, cut anywhere."""

    def __init__(self, name: str) -> None:
        self.name = name  # of the capture, for messages
        self.frames = 0  # until now
        self._rest = b""  # what is not yet a whole record
        self._read = 0  # bytes before the rest
        self._order, self._fractions = "", 0

    @property
    def cut(self) -> int:
        """Bytes at the end that are not yet a whole record."""
        return len(self._rest)

    def feed(self, piece: bytes) -> list[Frame]:
        """The frames that have become whole with this piece; `BadInput` for what tcpdump does not write.

        No bytes at all are a capture without frames: old tcpdump writes the header with the first frame.
        """
        data, at = self._rest + piece, 0
        if not self._order and (len(data) >= HEADER or not any(m.startswith(data[:4]) for m in MAGIC)):
            self._header(data)
            at = HEADER
        found = []
        while self._order and len(data) - at >= RECORD:
            seconds, fraction, kept, length = struct.unpack_from(self._order + "4I", data, at)
            if kept > min(length, LONGEST) or fraction >= self._fractions:
                raise BadInput(
                    self._problem(
                        code="capture-record-impossible",
                        what="a record of a capture cannot be",
                        found=f"{kept} of {length} bytes, fraction of the second {fraction}",
                        expected=f"at most {LONGEST} bytes, no more than the frame has, a fraction below {self._fractions}",
                        at=self._read + at,
                    )
                )
            if len(data) - at < RECORD + kept:
                break
            found.append(Frame(seconds + fraction / self._fractions, data[at + RECORD : at + RECORD + kept]))
            at += RECORD + kept
        self._rest, self._read = data[at:], self._read + at
        self.frames += len(found)
        return found

    def _header(self, data: bytes) -> None:
        magic = data[:4]
        if magic not in MAGIC:
            kind = "the newer format pcapng" if magic == PCAPNG else f"the beginning {data[:8].hex(' ') or 'of nothing'}"
            raise BadInput(
                self._problem(
                    code="capture-malformed",
                    what="this is no capture in the classic pcap format",
                    found=kind,
                    expected="as tcpdump -w writes it",
                )
            )
        order, fractions = MAGIC[magic]
        major, _, _, _, _, link = struct.unpack_from(order + "HHiIII", data, 4)
        if (major, link & 0xFFFF) != (2, ETHERNET):  # above: how long the FCS is, if there is one
            found = f"format version {major}, link type {link & 0xFFFF}"
            expected = f"version 2, link type {ETHERNET} (Ethernet), so not the device `any`"
            raise BadInput(
                self._problem(
                    code="capture-not-ethernet", what="this capture is not of an Ethernet NIC", found=found, expected=expected
                )
            )
        self._order, self._fractions = order, fractions

    def _problem(self, *, code: str, what: str, found: str, expected: str, at: int = 0) -> Problem:
        return Problem(
            code=code,
            what=what,
            where=f"{self.name}, byte {at:,}",
            found=found,
            expected=expected,
            remedy="capture again, by tcpdump -i NIC -w FILE",
        )
