"""The cause named on real networks: the collapse, and what only looks like it; the remedy applied, read back and undone."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from hikkoshi.network.diagnosis import collection, diagnosis
from hikkoshi.network.diagnosis.collection import Collection
from hikkoshi.network.diagnosis.diagnosis import Diagnosis
from hikkoshi.network.remedy import prescription, remedy
from hikkoshi.network.remedy.prescription import Switch
from hikkoshi_lab import network
from hikkoshi_lab.network import Network
from journey import permitted

pytestmark = pytest.mark.needs("root", "ip", "nft", "tc", "ethtool", "netperf", "tcpdump", "unshare", "nsenter", "arping")
Around = contextlib.AbstractContextManager[object]
# programs on PC2 and PC1: one that reads 100 kB/s, and one that would send more
READER = """if True:
    import socket, time
    s = socket.create_server(("10.3.2.20", 5555))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    c, end = s.accept()[0], time.time() + 4
    while time.time() < end:
        time.sleep(0.2)
        c.recv(20000)"""
WRITER = """if True:
    import contextlib, socket, time
    begun, c = time.time(), None
    while not c and time.time() < begun + 60:  # the reader may take its time to start
        with contextlib.suppress(ConnectionRefusedError):
            c = socket.create_connection(("10.3.2.20", 5555), 5)
    end = time.time() + 3.5
    c.settimeout(1)
    with contextlib.suppress(ConnectionError):  # the reader is through
        while time.time() < end:
            with contextlib.suppress(TimeoutError):
                c.send(bytes(65536))"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Network]:
    with network.up() as here:
        yield here


def netperf(lab: Network, seconds: int = 3, rest: int = 5) -> float:
    """10^6 bits per second from PC1 to PC2 through the gateway; 0 where nothing came through.

    `rest`: how long what was sent may take to arrive, and the connection to come about.
    """
    command = ["timeout", str(seconds + rest), "netperf", "-H", network.SERVER, "-l", str(seconds), "-f", "m", "-P", "0"]
    words = lab.host("pc1").run(command, timeout=seconds + rest + 60, ok=range(256)).stdout.split()
    return float(words[-1]) if words and words[-1].replace(".", "").isdigit() else 0.0


def watched(lab: Network, load: Callable[[], object] | None = None) -> Collection:
    machines = {"client": lab.host("pc1"), "server": lab.host("pc2")}
    return collection.around(lab.host("gw"), load or (lambda: netperf(lab)), **machines)


def diagnosed(lab: Network, load: Callable[[], object] | None = None) -> Diagnosis:
    seen = watched(lab, load)
    return diagnosis.diagnose(*seen.guest, client=seen.client, server=seen.server)


@contextlib.contextmanager
def changed(lab: Network, host: str, do: str, undo: str) -> Iterator[None]:
    lab.host(host).script(do)
    try:
        yield
    finally:
        lab.host(host).script(undo)


@contextlib.contextmanager
def mtu_mismatch(lab: Network) -> Iterator[None]:
    """A smaller MTU on the way out, and a client that hears nothing of it: its firewall is in the way."""
    chain = "add table ip deaf\nadd chain ip deaf in { type filter hook input priority 0; }"
    rules = f"nft -f - <<'E'\n{chain}\nadd rule ip deaf in icmp type destination-unreachable drop\nE"
    with (
        changed(lab, "gw", "ip link set eth1 mtu 1400", "ip link set eth1 mtu 1500"),
        changed(lab, "pc1", rules, "nft delete table ip deaf; ip route flush cache"),
    ):
        yield


def reverse_path_filter(lab: Network) -> Around:
    do = "sysctl -qw net.ipv4.conf.eth6.rp_filter=1; ip route add 10.5.2.20/32 via 10.5.1.10 dev eth5"
    return changed(lab, "gw", do, "sysctl -qw net.ipv4.conf.eth6.rp_filter=0; ip route del 10.5.2.20/32")


def congestion(lab: Network) -> Around:
    narrow = "tc qdisc change dev eth1 root tbf rate 10mbit burst 4500 limit 15000"
    return changed(lab, "gw", narrow, f"tc qdisc change dev eth1 root tbf {network.SHAPE}")


def congestion_beyond(lab: Network) -> Around:
    narrow = "tc qdisc change dev pc2 root tbf rate 10mbit burst 4500 limit 15000"
    return changed(lab, "sw", narrow, f"tc qdisc change dev pc2 root tbf {network.SHAPE}")


@contextlib.contextmanager
def wrong_segment(lab: Network) -> Iterator[None]:
    lab.patch("eth1", "vlan303")
    lab.host("gw").run(["ip", "neigh", "flush", "dev", "eth1"])
    yield
    lab.patch("eth1", "vlan302")


@contextlib.contextmanager
def corrupted_checksums(lab: Network) -> Iterator[None]:
    """A rule on the gateway spoils the sum of every fifth packet that is long enough to be data."""
    rule = "iif eth6 tcp dport != 12865 ip length > 500 numgen random mod 5 0 @th,128,16 set 0xdead"
    table = f"add table ip spoil\nadd chain ip spoil f {{ type filter hook forward priority 0; }}\nadd rule ip spoil f {rule}"
    with (
        changed(lab, "pc1", "ethtool -K eth0 tx off >/dev/null", "ethtool -K eth0 tx on tso off gso off >/dev/null"),
        changed(lab, "gw", f"nft -f - <<'E'\n{table}\nE", "nft delete table ip spoil"),
    ):
        yield


LOOK_ALIKES: dict[str, Callable[[Network], Around]] = {
    "MTU mismatch": mtu_mismatch,
    "reverse path filter": reverse_path_filter,
    "congestion": congestion,
    "congestion, beyond the guest": congestion_beyond,
    "wrong segment": wrong_segment,
    "corrupted checksums": corrupted_checksums,
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_what_only_looks_like_lro_gets_its_own_name(lab: Network, name: str) -> None:
    with LOOK_ALIKES[name](lab):
        result = diagnosed(lab)
    assert result.cause == name.partition(",")[0], result.plain()
    assert not [f for f in result.findings if f.name == "LRO"], result.plain()


def test_a_cable_cut_under_load_is_named(lab: Network) -> None:
    def load() -> None:
        lab.cut("vlan302")
        netperf(lab, 1)

    try:
        result = diagnosed(lab, load)
    finally:
        lab.mend("vlan302")
    assert result.cause == "link down", result.plain()
    assert "eth1" in result.plain()


def test_a_peer_that_reads_slowly_is_named(lab: Network) -> None:
    def load() -> None:
        lab.daemon("pc2", [sys.executable, "-c", READER])
        lab.host("pc1").run([sys.executable, "-c", WRITER])

    result = diagnosed(lab, load)
    assert result.cause == "slow peer", result.plain()


def test_a_network_in_order_is_not_blamed_on_lro(lab: Network) -> None:
    result = diagnosed(lab)
    assert not [f for f in result.findings if f.rule in ("R1", "R2", "R4", "R5")], result.plain()


def test_the_collapse_is_named_within_seconds_remedied_read_back_and_undone(lab: Network) -> None:
    gw = lab.host("gw")
    try:
        lab.aggregate("tap")
        start = time.monotonic()
        seen = watched(lab, lambda: netperf(lab, rest=60))  # what is still under way would be counted on one side only
        result = diagnosis.diagnose(*seen.guest, client=seen.client, server=seen.server)
        assert time.monotonic() - start < 100
        assert result.cause == "LRO", result.plain()
        lost = {row["number"] for row in diagnosis.reconciled(result)[:3]}
        assert len(lost) == 1  # what the kernel dropped, what it told, what the client heard
        assert set(seen.guest[1].nics["eth6"].told or ()) == {1500}  # an MTU that nobody can mean
        assert (result.counts.retransmitted or 0) >= (result.counts.fragmentation_failures or 0) > 20

        plan = prescription.remedies(seen.guest[1], result.cause)
        assert plan.switches == (Switch(nic="eth6", feature="gro"),)  # its LRO is fixed
        assert plan.files == ()  # a namespace: this machine's own files are none of its business
        assert not remedy.holds(gw, plan)
        applied = remedy.apply(gw, plan, permitted(step="85-offloads"))
        assert remedy.holds(gw, plan)
        assert any(netperf(lab) > 70 for _ in range(5))  # a program that stood still meanwhile was not the network
        assert not [f for f in diagnosed(lab).findings if f.name == "LRO"]
        remedy.undo(gw, applied, permitted(step="85-offloads"))
        assert remedy.undone(gw, applied)
        assert not remedy.holds(gw, plan)
    finally:
        lab.aggregate(None)


def test_frames_merged_by_gro_and_dropped_by_a_rule_are_named_but_not_called_lro(lab: Network) -> None:
    try:
        lab.aggregate("gro")
        result = diagnosed(lab)
    finally:
        lab.aggregate(None)
    assert result.cause == "receive aggregation", result.plain()
    assert not [f for f in result.findings if f.name == "LRO"]
    assert result.counts.fragmentation_failures == 0
