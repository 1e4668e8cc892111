"""The lab's network: the paper's figure 2 in network namespaces.

A switch with ten segments; a gateway with a NIC on each, which routes and translates addresses between them; two PCs on the
segment of the server, one on another; an ordinary host on every segment; and the administrator's machine, with a leg in each.
This kernel may have neither VLANs nor bridges that filter them, so every segment is a bridge of its own and every port an
access port: to put a cable on another VLAN is to give its port another bridge.

Everything lives below one process that holds private process, mount and network namespaces: when it ends, however it ends,
the kernel takes all of it away, and two labs do not see each other.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hikkoshi import files, tool
from hikkoshi.errors import BadInput, Problem, ToolFailed, nearest
from hikkoshi.network.host import Host
from hikkoshi_lab import vcsim

SEGMENTS: Mapping[str, str] = {  # {name: first three bytes of its /24}
    **{f"vlan30{n}": f"10.3.{n}" for n in range(1, 6)},
    **{f"vlan50{n}": f"10.5.{n}" for n in range(1, 6)},
}
NICS = {f"eth{n}": segment for n, segment in enumerate(SEGMENTS)}  # the gateway's
MACS = {nic: f"00:16:3e:05:00:{n:02x}" for n, nic in enumerate(NICS)}
GATEWAY, ADMIN, HOST, PC1, PC2, PC3 = 254, 250, 10, 20, 20, 30  # last bytes of addresses
SERVER = f"{SEGMENTS['vlan302']}.{PC2}"  # pc2, where netserver listens
# 100BASE-TX: overhead is what a frame needs on the wire beside its bytes; a larger burst would let two segments pass as one
SHAPE = "rate 100mbit burst 4500 latency 50ms overhead 24"
# what an emulated gateway passes on easily, so that its network is measured, not emulation; and where a busy computer has the
# gateway stand still for a moment, this queue behind it does not run empty
SLOW = SHAPE.replace("100mbit", "10mbit").replace("50ms", "100ms")
READY = "ready"
PID_FILE, NAMESPACES = "network.json", "netns"  # in the folder of a lab that stays
Method = Literal["gro", "tap"]
WIRE = "wire"  # namespace in which a NIC of the method "tap" has its cable


@dataclass(frozen=True)
class Cable:
    """A cable from a NIC to a port of the switch."""

    host: str  # its namespace
    nic: str
    segment: str
    last: int  # byte of its address
    port: str
    shaped: bool


CABLES = (
    *(Cable("gw", nic, segment, GATEWAY, f"gw{n}", True) for n, (nic, segment) in enumerate(NICS.items())),
    Cable("pc1", "eth0", "vlan502", PC1, "pc1", True),
    Cable("pc2", "eth0", "vlan302", PC2, "pc2", True),
    Cable("pc3", "eth0", "vlan302", PC3, "pc3", True),
    *(Cable(segment, "eth0", segment, HOST, f"h{segment[4:]}", False) for segment in SEGMENTS),
    *(Cable("admin", nic, segment, ADMIN, f"ad{n}", False) for n, (nic, segment) in enumerate(NICS.items())),
)
PORTS = {c.nic: c.port for c in CABLES if c.host == "gw"}


@dataclass
class Network:
    """A lab's network that is up; `pid` is the process that holds it."""

    pid: int
    _on: dict[str, str] = field(default_factory=lambda: dict(NICS))  # {gateway's NIC: segment}

    def host(self, name: str) -> Host:
        """A machine of the lab: gw, sw, pc1, pc2, pc3, admin, or the ordinary host of a segment by the segment's name."""
        return Host(f"lab:{name}", (tool.find("nsenter"), "-t", str(self.pid), "-m", "--", "ip", "netns", "exec", name))

    def patch(self, nic: str, segment: str) -> None:
        """Put the gateway's NIC on another segment, where it tells its address, as after any change of the cable."""
        self.host("sw").run(["ip", "link", "set", PORTS[_known(nic, PORTS)], "master", f"b{_known(segment, SEGMENTS)}"])
        self._on[nic] = segment
        self._announce(nic)

    def swap(self, one: str, other: str) -> None:
        """Exchange the cables of two NICs of the gateway."""
        on = self._on[_known(one, PORTS)], self._on[_known(other, PORTS)]
        self.patch(one, on[1])
        self.patch(other, on[0])

    def cut(self, segment: str) -> None:
        """Take the gateway's cable out of a segment."""
        self._ports(segment, "down")

    def mend(self, segment: str) -> None:
        """Put it back in."""
        self._ports(segment, "up")
        for nic in self._nics(segment):
            self._announce(nic)

    def aggregate(self, method: Method | None, nics: Sequence[str] = ("eth6",)) -> None:
        """Have the gateway's NICs merge what they receive, as LRO does; None ends it.

        `gro`: the kernel's own GRO merges, and a rule drops what is longer than a frame, since this kernel could cut it up
        again. `tap`: a NIC in a program (`hikkoshi_lab.aggregation`) hands up merged frames without saying how they were
        cut, as vmxnet3 did before Linux 4.2, and the kernel's own forwarding drops them. Both are switched off by
        `ethtool -K NIC gro off`. eth6 is the NIC towards PC1.
        """
        gw = self.host("gw")
        for nic in nics:
            gw.script(_GRO_OFF.format(nic=_known(nic, PORTS)))
            if self.host(WIRE).run(["ip", "link", "show", nic], ok=(0, 1)).returncode == 0:
                self._unplug(nic)
            if method == "gro":
                gw.script(_GRO_ON.format(nic=nic))
            elif method == "tap":
                self._plug(nic)

    def serve(self, on: bool) -> None:
        """Have the gateway serve, or be off: nothing passes its cables then, as of a guest that was shut down."""
        self.host("sw").script("\n".join(f"ip link set {port} {'up' if on else 'down'}" for port in PORTS.values()))
        if on:
            told = (f"arping -q -A -c 1 -w 1 -I {nic} {SEGMENTS[segment]}.{GATEWAY} &" for nic, segment in NICS.items())
            self.host("gw").script("\n".join([*told, "wait"]))

    def slow(self) -> None:
        """Have the server's cable carry no more than an emulated gateway passes on."""
        (cable,) = (c for c in CABLES if c.host == "pc2")
        for host, device in (("pc2", cable.nic), ("sw", cable.port)):
            self.host(host).script(f"tc qdisc change dev {device} root tbf {SLOW}")

    def restore(self) -> None:
        """Undo every fault: each cable in its place and plugged in, nothing merged."""
        self.aggregate(None)
        for nic, segment in NICS.items():
            self.host("sw").run(["ip", "link", "set", PORTS[nic], "master", f"b{segment}", "up"])
        self._on = dict(NICS)

    def chatter(self, seconds: float = 5) -> None:
        """Have the host of each segment broadcast an ARP packet every so many seconds, as hosts do, until the lab ends."""
        for segment, subnet in SEGMENTS.items():
            own = f"{subnet}.{HOST}"
            talk = f"while :; do arping -q -U -c 1 -I eth0 {own}; sleep {seconds}; done"
            self.daemon(segment, ["sh", "-c", talk])

    def end(self) -> None:
        """Take the whole lab away, and wait until nothing of it runs."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        inside = children.read_text().split() if children.exists() else []
        # the first process of the namespace: all others go with it, and then the one that waits for it
        for pid in map(int, inside or [str(self.pid)]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)  # where it is a child of ours
        while any(Path(f"/proc/{pid}").exists() for pid in inside):
            time.sleep(0.005)

    def daemon(self, name: str, command: Sequence[str]) -> None:
        """Start a program on a machine of the lab that goes on until the lab ends."""
        processes = f"--pid=/proc/{self.pid}/ns/pid_for_children"
        enter = [tool.find("nsenter"), "-t", str(self.pid), "-m", processes, "--", "ip", "netns", "exec", name]
        quiet = f"exec {shlex.join(command)} </dev/null >/dev/null 2>&1"
        # not by tool.run: what stays must not inherit the lock under which the lab comes up
        argv = [*enter, "setsid", "-f", "sh", "-c", quiet]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, env=tool.environment(argv[0]))

    def _nics(self, segment: str) -> list[str]:
        return [nic for nic, on in self._on.items() if on == _known(segment, SEGMENTS)]

    def _ports(self, segment: str, state: str) -> None:
        for nic in self._nics(segment):
            self.host("sw").run(["ip", "link", "set", PORTS[nic], state])

    def _announce(self, nic: str) -> None:
        own = f"{SEGMENTS[NICS[nic]]}.{GATEWAY}"
        self.host("gw").run(["arping", "-q", "-A", "-c", "1", "-w", "1", "-I", nic, own], ok=(0, 1))

    def _plug(self, nic: str) -> None:
        """Let a program be the NIC: the cable's end moves to a namespace of its own, a TAP device takes its place."""
        gw, wire = self.host("gw"), self.host(WIRE)
        mac = gw.run(["cat", f"/sys/class/net/{nic}/address"]).stdout.strip()
        gw.run(["ip", "link", "set", nic, "netns", WIRE])
        wire.script(f"ip link set {nic} promisc on up; ethtool -K {nic} gro off lro off tso off gso off >/dev/null 2>&1")
        self.daemon(WIRE, [sys.executable, "-m", "hikkoshi_lab.aggregation", nic, "gw", mac])
        deadline = time.monotonic() + 60
        while gw.run(["ip", "link", "show", nic], ok=(0, 1)).returncode:
            if time.monotonic() > deadline:
                raise ToolFailed(
                    Problem(
                        code="lab-nic-not-started",
                        what="the NIC in a program did not start",
                        where=f"lab:gw {nic}",
                        remedy="lab down, lab up",
                    )
                )
            time.sleep(0.02)
        gw.script(_ADDRESS.format(nic=nic, subnet=SEGMENTS[NICS[nic]], last=GATEWAY))

    def _unplug(self, nic: str) -> None:
        gw = self.host("gw")
        gw.script(f"ip link del {nic} 2>/dev/null; :")  # the program ends with its device
        self.host(WIRE).run(["ip", "link", "set", nic, "promisc", "off", "netns", "gw"])
        gw.script(_ADDRESS.format(nic=nic, subnet=SEGMENTS[NICS[nic]], last=GATEWAY))
        gw.script(f"tc qdisc replace dev {nic} root tbf {SHAPE}")  # which it lost on the way


_ADDRESS = "ip addr replace {subnet}.{last}/24 dev {nic}; ip link set {nic} up"
_GRO_ON = """
nft -f - <<'NFT'
table ip aggregation {{
  chain forwarding {{
    type filter hook forward priority 0
    meta length gt 1500 counter drop
  }}
}}
NFT
ethtool -K {nic} gro on
echo 2000000 >/sys/class/net/{nic}/gro_flush_timeout
echo 2 >/sys/class/net/{nic}/napi_defer_hard_irqs
"""
_GRO_OFF = """
nft delete table ip aggregation 2>/dev/null
ethtool -K {nic} gro off
[ -e /sys/class/net/{nic}/gro_flush_timeout ] && echo 0 >/sys/class/net/{nic}/gro_flush_timeout
:
"""


def keep(folder: Path) -> Network:
    """Bring one up that outlives us, known in `folder` and by the link `netns` there; or find the one that is up."""
    lab = find(folder)
    if lab is None:
        remove(folder)  # what tells of one that is gone
        lab = launch(daemon=True)
        (folder / NAMESPACES).symlink_to(f"/proc/{lab.pid}/root/run/netns")
        files.write(folder / PID_FILE, json.dumps({"pid": lab.pid, "started": vcsim.started(lab.pid)}) + "\n")
        lab.chatter()
    return lab


def find(folder: Path) -> Network | None:
    """The one that `keep` brought up for a folder, if it still is."""
    try:
        known = json.loads((folder / PID_FILE).read_text())
        return Network(known["pid"]) if vcsim.started(known["pid"]) == known["started"] else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remove(folder: Path) -> None:
    """Take a folder's network away, with what tells of it."""
    lab = find(folder)
    if lab:
        lab.end()
    for name in (PID_FILE, NAMESPACES):
        (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def up() -> Iterator[Network]:
    """A network of one's own; gone at the end, and when the calling thread ends, however it ends. Needs root."""
    lab = launch(daemon=False)
    try:
        yield lab
    finally:
        lab.end()


def launch(*, daemon: bool) -> Network:
    """Bring it up and wait until it stands. A daemon outlives us; else it ends when the calling thread does."""
    if os.geteuid() != 0:
        raise BadInput(
            Problem(
                code="lab-network-needs-root",
                what="the lab's network needs root",
                found=f"user id {os.geteuid()}",
                expected="root",
                remedy="run it as root, or in a virtual machine of your own",
            )
        )
    namespaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]
    process = subprocess.Popen(
        [tool.find(namespaces[0]), *namespaces[1:], "sh", "-es"] if daemon else tool.command([*namespaces, "sh", "-es"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=tool.environment(namespaces[0]),
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with process.stdin, process.stdout, process.stderr:
        process.stdin.write(script().encode())
        process.stdin.flush()
        said = process.stdout.readline().decode().strip()
        if said != READY:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            words = process.stderr.read().decode(errors="replace")
            process.wait()
            raise ToolFailed(
                Problem(
                    code="lab-network-down",
                    what="the lab's network does not come up",
                    found=tool.tail(words),
                    expected=READY,
                    remedy="its kernel needs veth, bridge, tbf, nftables and namespaces",
                )
            )
    process.returncode = 0  # Network.end ends it, not this object
    return Network(process.pid)


def script() -> str:
    """What builds the network, for the shell that then holds it."""
    names = sorted({c.host for c in CABLES} | {"sw", WIRE})
    links = [f"link add b{s} type bridge forward_delay 0" for s in SEGMENTS]
    links += [f"link set b{s} up" for s in SEGMENTS]
    for c in CABLES:
        mac = f"00:16:3e:05:00:{int(c.nic[3:]):02x}" if c.host == "gw" else ""
        address = f"address {mac} " if mac else ""
        links.append(f"link add {c.port} type veth peer name {c.nic} {address}netns {c.host}")
        links.append(f"link set {c.port} master b{c.segment} up")
    shaped = {host: [c for c in CABLES if c.host == host and c.shaped] for host in names}
    shape = [f"tc -n sw -batch - <<'E'\n{_tbf(c.port for c in CABLES if c.shaped)}E"]
    shape += [f"tc -n {host} -batch - <<'E'\n{_tbf(c.nic for c in there)}E" for host, there in shaped.items() if there]
    return "\n".join(
        [
            "exec 3>&1 1>&2",
            "PATH=$PATH:/usr/sbin:/sbin",
            "mkdir -p /run/netns",
            "mount -t tmpfs netns /run/netns",
            "ip -batch - <<'E'\n" + "".join(f"netns add {name}\n" for name in names) + "E",
            "ip -n sw -batch - <<'E'\n" + "\n".join(links) + "\nE",
            *(f"ip -n {host} -batch - <<'E'\n{_addresses(host)}E" for host in names if host not in ("sw", WIRE)),
            *shape,
            *(f"ip netns exec {host} sh -e <<'E'\n{_settings(host)}E" for host in ("gw", "sw", "pc1", "pc2", "pc3")),
            "for ns in pc2 gw; do ip netns exec $ns netserver -4 >/dev/null; done",
            f"echo {READY} >&3",
            "exec 3>&- 1>/dev/null 2>/dev/null sleep infinity",
            "",
        ]
    )


def _addresses(host: str) -> str:
    own = [c for c in CABLES if c.host == host]
    lines = ["link set lo up"]
    for c in own:
        lines += [f"addr add {SEGMENTS[c.segment]}.{c.last}/24 dev {c.nic}", f"link set {c.nic} up"]
    if len(own) == 1:
        # this kernel may start with BBR, which no guest of the time had
        lines.append(f"route add default via {SEGMENTS[own[0].segment]}.{GATEWAY} congctl cubic")
        lines.append(
            f"route change {SEGMENTS[own[0].segment]}.0/24 dev eth0 src {SEGMENTS[own[0].segment]}.{own[0].last} congctl cubic"
        )
    return "\n".join(lines) + "\n"


def _tbf(devices: Iterator[str]) -> str:
    return "".join(f"qdisc add dev {d} root tbf {SHAPE}\n" for d in devices)


def _settings(host: str) -> str:
    """What makes frames cross the cables as frames do, and the gateway forward."""
    nics = [c.port for c in CABLES if c.shaped] if host == "sw" else [c.nic for c in CABLES if c.host == host]
    lines = [f"ethtool -K {nic} tso off gso off gro off >/dev/null" for nic in nics]
    if host != "sw":
        lines += ["sysctl -q -w net.ipv4.tcp_no_metrics_save=1 net.ipv6.conf.all.disable_ipv6=1"]
    if host == "gw":
        lines += ["sysctl -q -w net.ipv4.ip_forward=1"]
        lines += [
            "nft -f - <<'NFT'",
            "table ip nat { chain after { type nat hook postrouting priority 100; masquerade; }; }",
            "NFT",
        ]
    return "\n".join(lines) + "\n"


def _known(name: str, names: Mapping[str, object]) -> str:
    if name not in names:
        raise BadInput(
            Problem(
                code="lab-network-unknown",
                what="the lab's network has no such thing",
                found=repr(name),
                expected=", ".join(names),
                remedy=nearest(name, list(names)) or "correct the name",
            )
        )
    return name
