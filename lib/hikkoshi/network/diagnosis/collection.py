"""Collects what a diagnosis needs to know of a guest, all at once, by the guest's own shell.

It works where there is little more than /proc: nothing is installed there and nothing changed. What a program is not there
for is missing, and known to be. Of the guest's own configuration only lines on a list are taken, so that no secret comes
along. `hikkoshi.network.diagnosis.snapshot` reads it.
"""

import itertools
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hikkoshi.errors import HikkoshiError
from hikkoshi.network.diagnosis import snapshot
from hikkoshi.network.diagnosis.snapshot import HEADER, NicState, Snapshot
from hikkoshi.network.host import Host

Pair = tuple[Snapshot, Snapshot]  # before and after
MOST = 16  # NICs that are watched, with two tcpdumps each
_SAY = r"""
m=@MARK
echo "@hikkoshi ${m#@}"
say() {
    out=$("$@" 2>&1 </dev/null)
    status=$?
    out=$(printf '%s\n' "$out" | head -c 65536)
    printf '%s %s %s\n%s\n' "$m" $status "$*" "$out" # in one piece: others may print at the same time
}
"""
# conntrack is not asked of iptables: to list its tables loads its modules, and that changes the guest
_COLLECT = r"""
log() { dmesg | grep -i -E 'lro|large receive|conntrack|martian|duplex|link|vmxnet3|not permitted' | tail -n 200; }
running() { sed -n -e 's/^[0-9]* (\(NetworkManager\)).*/\1/p' /proc/[0-9]*/stat 2>/dev/null | sort -u; }
lines() {
    grep -E -e '^[[:space:]]*(DEVICE|NM_CONTROLLED)=' \
        -e '^[[:space:]]*(interface-name|mac-address|MACAddress|PermanentMACAddress|OriginalName)[[:space:]]*=' \
        -e '^[[:space:]]*(iface|options vmxnet3)[[:space:]]' -- "$1"
}
say uname -r
say date +%s
for f in /etc/redhat-release /etc/debian_version /etc/SuSE-release /etc/os-release; do [ -r $f ] && say cat $f; done
say cat /proc/sys/kernel/random/boot_id
say readlink /proc/1/ns/net
say readlink /proc/self/ns/net
say command -v ethtool
say nmcli --version
say running
say lsmod
say modinfo -p vmxnet3
[ -d /sys/module/vmxnet ] && say modinfo -p vmxnet
say log
for f in /sys/module/vmxnet3/parameters/*; do [ -r "$f" ] && say grep -H . "$f"; done
for f in /etc/modprobe.conf /sbin/ifup-local /etc/sysconfig/network-scripts/ifcfg-* /etc/network/interfaces \
    /etc/network/interfaces.d/* /etc/systemd/network/*.link /etc/NetworkManager/system-connections/*; do
    [ -f "$f" ] && say lines "$f"
done
cd /proc/sys/net && say grep -H . ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/*/rp_filter ipv4/conf/*/forwarding \
    netfilter/nf_conntrack_count netfilter/nf_conntrack_max ipv4/netfilter/ip_conntrack_count ipv4/netfilter/ip_conntrack_max
cd /sys/class/net && say grep -H . */mtu */address */carrier && say ls -d */brport
cd /
say cat /proc/net/ip_tables_names
say cat /proc/net/arp
sed -n 's/^ *\([^:]*\):.*/\1/p' /proc/net/dev | grep -v '^lo$' | head -n 64 | while read -r n; do
    say ethtool "$n"
    for flag in -i -k -g -c -S; do say ethtool $flag "$n"; done
    say tc -s qdisc show dev "$n"
done
for f in stat/nf_conntrack stat/ip_conntrack dev snmp netstat; do [ -r /proc/net/$f ] && say cat /proc/net/$f; done
echo "$m end"
"""
# asynchronous commands of a shell do not hear SIGINT, hence SIGTERM, on which tcpdump gives its counts as well
_WATCH = r"""
over() { # NIC MAC LONGEST: frames to this NIC that are longer than they may be
    tcpdump -p -n -s 96 -c 1000 -i "$1" -w /dev/null "greater $(($3 + 1)) and ether dst $2" &
    p=$!
    sleep SECONDS
    kill $p 2>/dev/null
    wait $p
}
told() { # NIC: the MTUs that messages 'fragmentation needed' name
    heard=$(tcpdump -p -n -v -l -s 128 -c 200 -i "$1" 'icmp[0] = 3 and icmp[1] = 4' 2>/dev/null &
        p=$!
        sleep SECONDS
        kill $p 2>/dev/null
        wait $p)
    printf '%s\n' "$heard" | sed -n 's/.*need to frag (mtu \([0-9]*\)).*/\1/p' | sort | uniq -c
}
if command -v tcpdump >/dev/null 2>&1; then
    while read -r n mac longest; do
        say over "$n" "$mac" "$longest" &
        say told "$n" &
    done <<'NICS'
NICS
    wait
else
    say tcpdump
fi
echo "$m end"
"""


@dataclass(frozen=True)
class Collection:
    """Machines before and after a load, as `diagnosis.diagnose` takes them."""

    guest: Pair
    client: Pair | None
    server: Pair | None
    failure: str = ""  # why the load could not be put on


def collect(host: Host) -> Snapshot:
    """Ask a machine for everything once; `ToolFailed` where its shell cannot be had."""
    return snapshot.parse(host.script(_marked(_COLLECT)), host.name)


def watch(host: Host, nics: Iterable[NicState], seconds: int = 3) -> str:
    """Count frames longer than the MTU, and messages 'fragmentation needed', for some seconds: there has to be traffic.

    Gives raw text to be put behind a collection's. Where there is no tcpdump, it tells of nothing. With GRO on, tcpdump sees
    frames after the kernel has merged them: then their number alone proves nothing.
    """
    linked = (nic for nic in nics if nic.mac and nic.mtu and nic.carrier)
    lines = "".join(f"{nic.name} {nic.mac} {(nic.mtu or 0) + HEADER}\n" for nic in itertools.islice(linked, MOST))
    script = _marked(_WATCH).replace("SECONDS", str(seconds)).replace("<<'NICS'\n", f"<<'NICS'\n{lines}")
    return host.script(script, timeout=seconds + 60)


def around(
    guest: Host, load: Callable[[], object], *, client: Host | None = None, server: Host | None = None, seconds: int = 3
) -> Collection:
    """Collect, put the load on and watch the guest's frames meanwhile for `seconds`, collect again.

    `load` runs in the calling thread and should last longer than `seconds`. Where it fails, that is kept and no obstacle: a path
    that is dead is what a diagnosis may be asked about.
    """
    hosts, failure = [host for host in (guest, client, server) if host], ""
    before = [collect(host) for host in hosts]
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(watch, guest, before[0].ethernet if before[0].forwards else (), seconds)
        try:
            load()
        except HikkoshiError as e:
            failure = str(e)
        watched = seen.result()
    after = [collect(host) for host in hosts]
    after[0] = snapshot.parse(after[0].raw + watched, guest.name)
    pairs = iter(zip(before, after, strict=True))
    return Collection(next(pairs), next(pairs) if client else None, next(pairs) if server else None, failure)


def _marked(script: str) -> str:
    return (_SAY + script).replace("MARK", secrets.token_hex(8), 1)
