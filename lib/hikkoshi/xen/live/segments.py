"""On which segment each NIC of a guest is, as its Dom-0 tells: NIC → bridge → VLAN; told beside what the parameters say.

A bridge leads out of the Dom-0 by its ports: a VLAN device gives its VLAN, a NIC of the Dom-0 or a bond none. The kernel tells
ports below /sys/class/net, on Linux 2.6.18 too; VLANs are told by /proc/net/vlan/config and by `ip -d link`. What else a port may
be, and bridges that keep VLANs apart themselves, are not followed: then it is not known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site
from hikkoshi.xen.live import stored
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host
from hikkoshi.xen.reach.kinds import asked
from hikkoshi.xen.root import read_from

_SCRIPT = """\
for d in /sys/class/net/*; do
  n=${d##*/}
  if test -d $d/bonding; then echo "@out $n"
  elif test -e $d/device; then
    case "`readlink -f $d/device` `readlink -f $d/device/subsystem`" in *xen-backend*) echo "@own $n";; *) echo "@out $n";; esac
  fi
  test "`cat $d/bridge/vlan_filtering 2>/dev/null`" != 1 || echo "@filters $n"
  for p in $d/brif/*; do test ! -e "$p" || echo "@port $n ${p##*/}"; done
done
cat /proc/net/vlan/config 2>/dev/null
ip -d link 2>/dev/null
true
"""
_GUESTS = re.compile(r"(?:vif|tap)\d+\.\d+(?:-emu)?")


@dataclass
class Ways:
    """How the NICs and bridges of a Dom-0 hang together. `vlans`: {VLAN device: (its VLAN, the device below)}."""

    out: set[str] = field(default_factory=set)  # the Dom-0's own NICs, and bonds
    own: set[str] = field(default_factory=set)  # the Dom-0's ends of guests' NICs
    ports: dict[str, list[str]] = field(default_factory=dict)  # of each bridge
    filters: set[str] = field(default_factory=set)  # bridges that keep VLANs apart themselves
    vlans: dict[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> "Ways":
        """Out of what the Dom-0 answers."""
        found, device = cls(), ("", "")
        for line in text.splitlines():
            if m := re.fullmatch(r"@(out|own|filters) (\S+)", line):
                {"out": found.out, "own": found.own, "filters": found.filters}[m[1]].add(m[2])
            elif m := re.fullmatch(r"@port (\S+) (\S+)", line):
                found.ports.setdefault(m[1], []).append(m[2])
            elif m := re.fullmatch(r"(\S+)\s*\|\s*(\d{1,4})\s*\|\s*(\S+)\s*", line):
                found.vlans[m[1]] = (int(m[2]), m[3])
            elif m := re.match(r"\d+: ([^\s@:]+)(?:@([^\s:]+))?: <", line):
                device = (m[1], m[2] or "")
            elif device[0] and (m := re.match(r"\s+vlan (?:protocol (\S+) )?id (\d{1,4})\b", line)):
                found.vlans[device[0]] = (int(m[2]), device[1])
        return found

    def vlan(self, bridge: str) -> tuple[int | None, str]:
        """The VLAN that a bridge leads to, 0 where it is untagged, and by which port; or None, and why it is not known."""
        if bridge not in self.ports:
            return None, f"no bridge {bridge} with a port is there" if bridge else "no bridge is named"
        if bridge in self.filters:
            return None, f"the bridge {bridge} keeps VLANs apart itself"
        ports = [p for p in self.ports[bridge] if p not in self.own and not _GUESTS.fullmatch(p)]
        known = {p: self.vlans[p][0] if p in self.vlans else 0 for p in ports if p in self.vlans or p in self.out}
        if twice := [p for p in known if p in self.vlans and self.vlans[p][1] in self.vlans]:
            return None, f"{twice[0]} is a VLAN inside a VLAN"
        if len(set(known.values())) == 1 and len(known) == len(ports):
            return known[ports[0]], ports[0]
        others = ", ".join(ports)
        return None, f"the bridge {bridge} leads to {others}" if others else f"the bridge {bridge} leads nowhere from the Dom-0"


@dataclass(frozen=True)
class _Nic:
    """One NIC of the guest, as it is known: by its file, and by what runs."""

    mac: str
    bridge: str


def checks(site: Site, guest: Guest) -> list[Check]:
    """On which segment each NIC is, where its Dom-0 can be asked."""
    return [] if site.dom0s[guest.dom0].kind == "folder" else [told(site, guest)]


def told(site: Site, guest: Guest) -> Check:
    """On which segment each NIC is, and where the parameters say another. Never red: it is only told."""
    check = partial(Check, code="segments-told", title="the segment of each NIC, as the Dom-0 tells", ok=True)
    host = asked(site.dom0s[guest.dom0])
    try:
        nics, unknown = _nics(host, guest)
        found_ways = ways(host)
    except HikkoshiError as e:
        return check(found=f"not known: {e.problems[0].what}: {e.problems[0].found}", unseen="not seen")
    wanted = {n.mac.lower(): n.segment for n in guest.nics}
    lines = [_line(nic, found_ways, site, wanted.get(nic.mac, "")) for nic in nics]
    found = "; ".join([*(words for words, _ in lines), *unknown])
    sure = all(agrees for _, agrees in lines) and not unknown and bool(nics)
    return check(found=found or "it has no NIC", unseen="" if sure else "not seen", where=guest.dom0)


def ways(host: Dom0Host) -> Ways:
    """How the NICs and bridges of a Dom-0 hang together now; `ToolFailed` where it does not answer."""
    return Ways.of(host.run(["sh", "-c", _SCRIPT], timeout=PATIENCE))


def _line(nic: _Nic, known: Ways, site: Site, wanted: str) -> tuple[str, bool]:
    """What is told of a NIC, and whether the Dom-0 and the parameters agree about it."""
    vlan, why = known.vlan(nic.bridge)
    named = f"{nic.mac or 'a NIC without a MAC'} on {nic.bridge or 'the default bridge'}"
    if vlan is None:
        return f"{named}: not known, {why}", False
    segments = [name for name, segment in site.segments.items() if segment.vlan == vlan]
    if vlan == 0 and not segments:
        told = f"its parameters say {wanted}" if wanted else "its parameters name no segment"
        return f"{named}: untagged by {why}, which VLAN that is only the switch knows; {told}", False
    at = f"{named}: VLAN {vlan} by {why}, {' or '.join(segments) or 'no segment of params/site.yml'}"
    if not wanted:
        return f"{at}; its parameters name no segment", False
    return (at, True) if wanted in segments else (f"{at}; its parameters say {wanted}", False)


def _nics(host: Dom0Host, guest: Guest) -> tuple[list[_Nic], list[str]]:
    """The guest's NICs, as they run where they do, else as its file has them; and what is not known of that."""
    own = read_from(host, guest.config).vifs
    running: Mapping[int, tuple[str, str]] = {}
    try:
        running = stored.vifs(host.run(["xenstore-ls", "-f"], timeout=PATIENCE), guest.name)
    except (HikkoshiError, ValueError) as e:
        why = e.problems[0].what if isinstance(e, HikkoshiError) else str(e)
        return [_Nic(v.mac, v.bridge) for v in own], [f"what runs is not known: {why}"]
    nics = []
    for n, vif in enumerate(own):
        mac, bridge = running.get(n, ("", ""))
        nics.append(_Nic(vif.mac or mac, bridge or vif.bridge))
    return [*nics, *(_Nic(*running[n]) for n in sorted(running) if n >= len(own))], []
