"""The cables of running machines: TAP devices on the switch of the lab's network, each on the bridge of its VLAN."""

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hikkoshi_lab.aggregation import IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TUNSETIFF, enter
from hikkoshi_lab.network import SEGMENTS, Network

BRIDGES = {int(name.removeprefix("vlan")): f"b{name}" for name in SEGMENTS}  # {VLAN: the segment's bridge}


class Tap:
    """One of them; `fd` is its other end. It goes when nobody has that open any more."""

    def __init__(self, lab: Network, fd: int, name: str) -> None:
        self.fd = fd
        self._switch, self._name = lab.host("sw"), name

    def plug(self, vlan: int | None) -> None:
        """Put it on the bridge of a VLAN; on none for a VLAN that the lab's network does not have."""
        bridge = BRIDGES.get(vlan or 0)
        place = ["master", bridge] if bridge else ["nomaster"]
        self._switch.run(["ip", "link", "set", self._name, *place, "up"])


@contextmanager
def tap(lab: Network) -> Iterator[Tap]:
    """A new cable that is on no bridge yet. It hands on merged frames to a NIC that asks for them, as ESXi does with LRO; to any
    other it hands on what is on a wire: no frame is longer than the MTU."""
    opened: list[int] = []

    def inside() -> None:
        enter(Path(f"/proc/{lab.pid}/root/run/netns/sw"))  # this thread alone
        opened.append(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    fd = opened[0]
    try:
        made = fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", b"body%d", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        yield Tap(lab, fd, made[:16].rstrip(b"\0").decode())
    finally:
        os.close(fd)
