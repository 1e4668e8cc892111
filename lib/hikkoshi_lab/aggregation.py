"""A NIC in a program that merges what it receives, as vmxnet3 did before Linux 4.2: the lab's stand-in for LRO.

Run as `python -m hikkoshi_lab.aggregation NIC NAMESPACE MAC` where the cable's end NIC is; the device, a TAP of the same name,
appears in NAMESPACE. TCP segments that follow on one another go up as one frame longer than the MTU that does not say how it
was cut (no gso_size). For a connection that ends on this machine that is good; a kernel that has to pass the frame on finds it
too long, drops it and tells the sender "fragmentation needed", although the sender has sent no long packet at all.

Linux has no LRO for such a device: its flag is fixed off. What switches this one is the device's flag generic-receive-offload,
which a TAP of this kind does not use otherwise.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

HOLD = 0.001  # seconds that a segment waits for the next ones; what old hosts did is not documented
LONGEST = 65535  # bytes of an IP packet
VNET = 10  # bytes of virtio's header (struct virtio_net_hdr), before each frame on both sides
ETHERNET, IP, TCP = 14, 20, 20
# the TCP checksum is the kernel's business, over what begins after both headers; and nothing of how the frame was cut
MERGED = struct.pack("<BBHHHH", 1, 0, 0, 0, ETHERNET + IP, 16)
ACK, PSH = 0x10, 0x08
# <linux/if_tun.h>, <linux/if_packet.h>, <linux/sockios.h>, <linux/ethtool.h>
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3
SIOCSIFHWADDR, SIOCETHTOOL, ETHTOOL_GGRO, ARPHRD_ETHER = 0x8924, 0x8946, 0x2B, 1


class Merging:
    """Segments of one connection on their way up, until one comes that does not fit or `HOLD` is over."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # the first with its headers, of the others the payload
        self._key = b""
        self._next = 0  # sequence number
        self._length = 0  # bytes of the IP packet
        self.since = 0.0  # when the first one came

    def take(self, frame: bytes, now: float) -> list[bytes]:
        """Give a frame, with virtio's header; get those that go up now, in order."""
        head = VNET + ETHERNET
        plain = frame[head - 2 : head + 1] == b"\x08\x00\x45" and frame[head + 9] == socket.IPPROTO_TCP
        if not plain or len(frame) < head + IP + TCP:
            return [*self.flush(), frame]
        total, fragment = (int.from_bytes(frame[head + 2 : head + 4]), int.from_bytes(frame[head + 6 : head + 8]) & 0x3FFF)
        tcp = head + IP
        start, flags = tcp + (frame[tcp + 12] >> 4) * 4, frame[tcp + 13]
        size = head + total - start
        if fragment or flags & ~PSH != ACK or size <= 0:
            return [*self.flush(), frame]
        key = frame[head + 12 : tcp + 4]  # addresses and ports
        sequence = int.from_bytes(frame[tcp + 4 : tcp + 8])
        out = []
        if self._parts and (key, sequence) == (self._key, self._next) and self._length + size <= LONGEST:
            self._parts.append(frame[start : start + size])
        else:
            out = self.flush()
            self._parts, self._key, self._length, self.since = [frame[: start + size]], key, total - size, now
        self._length += size
        self._next = (sequence + size) & 0xFFFFFFFF
        return [*out, *self.flush()] if flags & PSH else out

    def flush(self) -> list[bytes]:
        """What has waited, as one frame; nothing where nothing waits."""
        parts, self._parts = self._parts, []
        if len(parts) < 2:
            return parts
        frame = bytearray(b"".join(parts))
        frame[:VNET] = MERGED
        ip, tcp = VNET + ETHERNET, VNET + ETHERNET + IP
        frame[ip + 2 : ip + 4] = self._length.to_bytes(2)
        frame[ip + 10 : ip + 12] = bytes(2)
        frame[ip + 10 : ip + 12] = (_sum(bytes(frame[ip:tcp])) ^ 0xFFFF).to_bytes(2)
        pseudo = frame[ip + 12 : tcp] + struct.pack(">HH", socket.IPPROTO_TCP, self._length - IP)
        frame[tcp + 16 : tcp + 18] = _sum(bytes(pseudo)).to_bytes(2)
        return [bytes(frame)]

    def __bool__(self) -> bool:
        return bool(self._parts)


def main(nic: str, namespace: str, mac: str) -> None:
    """Be the NIC until its device or its cable is taken away."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    wire.bind((nic, ETH_P_ALL))
    wire.setblocking(False)
    enter(Path("/run/netns", namespace))
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH14x", nic.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = bytes.fromhex(mac.replace(":", ""))
    fcntl.ioctl(control, SIOCSIFHWADDR, struct.pack("16sH6s8x", nic.encode(), ARPHRD_ETHER, address))
    poll = select.poll()
    poll.register(wire, select.POLLIN)
    poll.register(tap, select.POLLIN)
    merging, looked, on = Merging(), 0.0, True
    while True:
        left = HOLD - (time.monotonic() - merging.since) if merging else 0.1
        ready = dict(poll.poll(max(0, left) * 1000))
        now = time.monotonic()
        if now - looked > 0.1:
            on, looked = _gro(control, nic), now
        if wire.fileno() in ready:
            for frame in _frames(wire):
                for up in merging.take(frame, now) if on else [*merging.flush(), frame]:
                    _write(tap, up)
        if merging and now - merging.since >= HOLD:
            for up in merging.flush():
                _write(tap, up)
        if tap in ready:
            _down(tap, wire)


def enter(namespace: Path) -> None:
    """Have the calling thread enter a namespace by its file."""
    with namespace.open("rb") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"namespace {namespace}")


def _sum(content: bytes) -> int:
    """The internet checksum before its last complement (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _frames(wire: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < 64:
        try:
            found.append(wire.recv(1 << 16))
        except BlockingIOError:
            break
    return found


def _down(tap: int, wire: socket.socket) -> None:
    for _ in range(64):
        try:
            frame = os.read(tap, 1 << 16)
        except BlockingIOError:
            return
        try:
            wire.send(frame)
        except (BlockingIOError, OSError):  # a full queue drops, as a NIC does
            continue


def _write(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except OSError as e:
        if e.errno in (77, 19):  # EBADFD, ENODEV: the device was taken away
            raise
        # EIO while it is down, EINVAL for what is no frame: a NIC drops it


def _gro(control: socket.socket, nic: str) -> bool:
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_GGRO, 0))
    fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sQ16x", nic.encode(), ctypes.addressof(value)))
    return bool(struct.unpack("II", value.raw[:8])[1])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError:
        sys.exit(1)  # the device or its cable is gone, and this NIC with it
