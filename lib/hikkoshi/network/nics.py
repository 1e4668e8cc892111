"""The NICs of a host as they are: MAC, link, and how many packets each has sent. By /sys and /proc, as Linux 2.6.18 has them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hikkoshi.errors import BadInput, Problem, ToolFailed, nearest
from hikkoshi.network import counters
from hikkoshi.network.host import Host

_LOOK = """
for p in {programs}; do command -v $p >/dev/null 2>&1 || echo "lacks $p"; done
for n in `ls /sys/class/net`; do
  test -r /sys/class/net/$n/address || continue
  echo "nic $n `cat /sys/class/net/$n/carrier 2>/dev/null || echo down` `cat /sys/class/net/$n/address`"
done
cat /proc/net/dev
"""
_LINKS = {"1": "up", "0": "no carrier"}


@dataclass(frozen=True)
class Nic:
    """One NIC; `link` is up, no carrier or down, `sent` counts its packets since the host started."""

    mac: str
    link: str
    sent: int


def look(host: Host, names: Sequence[str], programs: Sequence[str] = ()) -> dict[str, Nic]:
    """All NICs of a host by name. `BadInput` where one of `names` is not among them, `ToolFailed` where a program is missing."""
    return parsed(host, host.script(script(programs)), names)


def script(programs: Sequence[str] = ()) -> str:
    """What the shell of a host has to read for `parsed`; it also looks for programs."""
    return _LOOK.format(programs=" ".join(programs) or "sh")


def parsed(host: Host, told: str, names: Sequence[str]) -> dict[str, Nic]:
    """What that script has printed there, as of `look`."""
    said = [line.split() for line in told.splitlines() if line.split()]
    missing = [words[1] for words in said if words[0] == "lacks"]
    if missing:
        raise ToolFailed(
            *(
                Problem(
                    code="host-lacks-program",
                    what="a program is missing on the host",
                    where=host.name,
                    found=f"no {p}",
                    expected=p,
                    remedy="install it there: tcpdump, and iputils or iputils-arping",
                )
                for p in missing
            )
        )
    traffic = counters.traffic(told)
    found = {
        words[1]: Nic(words[3] if len(words) > 3 else "", _LINKS.get(words[2], "down"), traffic[words[1]].tx_packets)
        for words in said
        if words[0] == "nic" and words[1] in traffic
    }
    problems = [
        Problem(
            code="host-nic-unknown",
            what="the host has no such NIC",
            where=host.name,
            found=repr(n),
            expected="one of: " + ", ".join(found),
            remedy=nearest(n, list(found)) or "see whether its driver is loaded, and how udev has named it",
        )
        for n in names
        if n not in found
    ]
    if problems:
        raise BadInput(*problems)
    return found


def sent(host: Host, names: Sequence[str]) -> dict[str, int]:
    """{NIC: packets it has sent since the host started}; `BadInput` for a NIC that there is not."""
    found = look(host, names)
    return {n: found[n].sent for n in names}
