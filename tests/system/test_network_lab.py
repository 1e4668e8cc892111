"""The lab's network: the paper's figure 2, in namespaces that nobody but its owner sees."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.network import host
from hikkoshi.network.host import Host
from hikkoshi.run import lock
from hikkoshi_lab import network
from processes import wait_for

pytestmark = pytest.mark.needs("root", "ip", "nft", "ethtool", "netperf", "unshare", "nsenter", "arping", "tcpdump")


@pytest.fixture(scope="module")
def lab() -> Iterator[network.Network]:
    with network.up() as here:
        yield here


def throughput(client: Host, seconds: int = 2, server: str = network.SERVER) -> float:
    """10^6 bits per second from a PC to PC2."""
    command = ["netperf", "-H", server, "-l", str(seconds), "-f", "m", "-P", "0"]
    return float(client.run(command, timeout=60).stdout.split()[-1])


def at_best(client: Host, least: float, server: str = network.SERVER) -> float:
    """The same where nothing else holds this machine up: the first of ten above `least`, or the last."""
    found = throughput(client, server=server)
    for _ in range(9):
        if found > least:
            break
        found = throughput(client, server=server)
    return found


def counters(host: Host, *names: str) -> dict[str, int]:
    lines = host.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
    found: dict[str, str] = {}
    for head, values in zip(lines[::2], lines[1::2], strict=True):
        found |= {f"{head.split()[0]}{k}": v for k, v in zip(head.split(), values.split(), strict=True)}
    return {name: int(found[name]) for name in names}


def answers(lab: network.Network, segment: str) -> bool:
    """Whether the gateway's netserver can be reached from the host of a segment, at the gateway's address there."""
    address = f"{network.SEGMENTS[segment]}.{network.GATEWAY}"
    connect = f"import socket; socket.create_connection(({address!r}, 12865), 3)"
    return lab.host(segment).run([sys.executable, "-c", connect], ok=(0, 1)).returncode == 0


def namespace(pid: int) -> str:
    """The process namespace in which everything runs that belongs to the lab that `pid` holds."""
    return str(Path(f"/proc/{pid}/ns/pid_for_children").readlink())


def inhabitants(of: str) -> list[str]:
    """Processes in a process namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((process / "ns" / "pid").readlink()) == of:
                found.append(process.name)
    return found


def test_it_is_up_within_a_second_and_down_within_half_a_second_and_leaves_nothing() -> None:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout
    ups, downs = [], []
    for _ in range(10):  # the best of them: other programs run on this machine
        start = time.monotonic()
        with network.up() as lab:
            ups.append(time.monotonic() - start)
            inside = namespace(lab.pid)
            assert inhabitants(inside)
            start = time.monotonic()
        downs.append(time.monotonic() - start)
        assert inhabitants(inside) == []
        if min(ups) < 1 and min(downs) < 0.5:
            break
    assert min(ups) < 1
    assert min(downs) < 0.5
    assert subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout == links
    assert subprocess.run(["ip", "netns", "list"], capture_output=True, check=True).stdout == b""


def test_nothing_is_left_when_its_owner_is_killed() -> None:
    story = """if True:
        from hikkoshi_lab import network
        with network.up() as lab:
            lab.aggregate("tap")
            print(lab.pid, flush=True)
            input()"""
    owner = subprocess.Popen([sys.executable, "-c", story], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        inside = namespace(pid)
        assert len(inhabitants(inside)) == 4  # who holds it, two netservers, the NIC in a program
        owner.send_signal(signal.SIGKILL)
    wait_for(lambda: not inhabitants(inside), "all of it ends")


def test_two_stand_beside_each_other_and_do_not_meet(lab: network.Network) -> None:
    with network.up() as other:
        other.cut("vlan301")
        assert not answers(other, "vlan301")
        assert answers(lab, "vlan301")
    assert answers(lab, "vlan301")


def test_a_fast_ethernet_link_carries_what_one_carries_direct_and_through_the_gateway(lab: network.Network) -> None:
    for client in ("pc1", "pc3"):
        assert 80 < at_best(lab.host(client), 80) < 94.2


def test_the_gateway_puts_its_own_address_in_place_of_the_senders(lab: network.Network) -> None:
    lab.host("pc1").run(["netperf", "-H", network.SERVER, "-l", "1"], timeout=60)
    peers = lab.host("gw").run(["cat", "/proc/net/nf_conntrack"], ok=(0, 1))
    if peers.returncode:
        pytest.fail("this kernel does not list its connections")
    assert "src=10.3.2.20 dst=10.3.2.254" in peers.stdout


def test_swapped_cables_cut_two_segments_off_until_they_are_swapped_back(lab: network.Network) -> None:
    lab.swap("eth3", "eth7")
    assert [answers(lab, s) for s in ("vlan303", "vlan304", "vlan503")] == [True, False, False]
    lab.swap("eth3", "eth7")
    assert [answers(lab, s) for s in ("vlan303", "vlan304", "vlan503")] == [True, True, True]


def test_a_cut_segment_comes_back_when_it_is_mended(lab: network.Network) -> None:
    lab.cut("vlan505")
    assert not answers(lab, "vlan505")
    lab.mend("vlan505")
    assert answers(lab, "vlan505")


@pytest.mark.parametrize("method", ["gro", "tap"])
def test_receive_aggregation_ruins_what_is_forwarded_until_it_is_switched_off(
    lab: network.Network, method: network.Method
) -> None:
    gw = lab.host("gw")
    try:
        lab.aggregate(method)
        assert throughput(lab.host("pc1"), 3) < 94 / 20
        gw.run(["ethtool", "-K", "eth6", "gro", "off"])
        assert at_best(lab.host("pc1"), 70) > 70
    finally:
        lab.aggregate(None)
    assert at_best(lab.host("pc1"), 70) > 70


def test_with_the_nic_in_a_program_the_kernels_own_forwarding_drops_and_every_count_agrees(lab: network.Network) -> None:
    gw, pc1 = lab.host("gw"), lab.host("pc1")
    names = ("Ip:FragFails", "Icmp:OutDestUnreachs", "Icmp:InDestUnreachs")
    try:
        lab.aggregate("tap")
        before = counters(gw, *names), counters(pc1, *names)
        for _ in range(10):  # less is dropped where this machine is held up
            throughput(pc1)
            after = counters(gw, *names), counters(pc1, *names)
            dropped, told, heard = (
                after[side][name] - before[side][name] for side, name in ((0, names[0]), (0, names[1]), (1, names[2]))
            )
            if dropped > 10:
                break
    finally:
        lab.aggregate(None)
    assert dropped > 10
    assert dropped == told == heard


def test_what_ends_on_the_gateway_itself_is_not_hurt_by_it(lab: network.Network) -> None:
    try:
        lab.aggregate("tap")
        assert at_best(lab.host("pc1"), 70, f"{network.SEGMENTS['vlan502']}.{network.GATEWAY}") > 70
    finally:
        lab.aggregate(None)


def test_a_name_that_the_lab_does_not_have_is_refused_with_the_nearest_one(lab: network.Network) -> None:
    with pytest.raises(BadInput, match="did you mean vlan302"):
        lab.patch("eth1", "vlan3O2")
    with pytest.raises(BadInput, match="no such thing"):
        lab.swap("eth1", "wlan0")


def test_a_network_that_stays_is_found_again_and_taken_away_with_what_tells_of_it(tmp_path: Path) -> None:
    lab = network.keep(tmp_path)
    try:
        assert network.keep(tmp_path).pid == lab.pid
        pc1 = host.parse("netns:netns/pc1", tmp_path)
        assert throughput(pc1) > 10
        assert "eth0" in pc1.run(["ls", "/sys/class/net"]).stdout  # and not the NICs of this machine
    finally:
        network.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/proc/{lab.pid}").exists()


def test_a_network_that_was_killed_is_brought_up_anew(tmp_path: Path) -> None:
    first = network.keep(tmp_path)
    first.end()
    assert network.find(tmp_path) is None
    second = network.keep(tmp_path)
    try:
        assert host.parse("netns:netns/gw", tmp_path).run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
        assert second.pid != first.pid
    finally:
        network.remove(tmp_path)


def test_the_hosts_of_the_segments_broadcast_as_hosts_do() -> None:
    with network.up() as lab:
        lab.chatter(0.5)
        heard = lab.host("gw").script("timeout 60 tcpdump -n -c 2 -i eth3 arp 2>/dev/null", timeout=90)
    assert heard.count("tell 10.3.4.10") == 2


def test_a_network_that_stays_does_not_keep_the_lock_under_which_it_came_up(tmp_path: Path) -> None:
    with closing(lock.acquire(tmp_path / "lock", "a lab", 1)):
        network.keep(tmp_path)
    try:
        assert lock.held(tmp_path / "lock") is False
    finally:
        network.remove(tmp_path)
