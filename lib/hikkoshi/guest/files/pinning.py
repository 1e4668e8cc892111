"""NICs tied to their names by MAC, by udev's rules or by systemd: else the order on the PCI bus decides.

Rules: what udev's own generator wrote, Enterprise Linux 6 and Debian up to 8 (udev 175, rules/rule_generator).
Link files: systemd.link(5). NetworkManager and netplan tie settings to names or MACs, and leave the names to these two.

Link files alone cannot give ethN: the kernel uses these names too, and systemd's udev (252, rename_netif) gives up where the
name is taken, so that two NICs in the other order keep each other's name. A unit steps them aside first, as cloud-init does.
"""

import re
from collections.abc import Mapping

from hikkoshi.guest.files import text

RULES = "/etc/udev/rules.d/70-persistent-net.rules"
UNIT = "/etc/systemd/system/name-nics-by-mac.service"
SCRIPT = "/usr/local/sbin/name-nics-by-mac"
_LINK = re.compile(r"/etc/systemd/network/.*\.link$")


def link_path(name: str) -> str:
    """Where the link file of a NIC belongs: before all others."""
    return f"/etc/systemd/network/10-{name}.link"


def link(name: str, mac: str) -> str:
    """The link file of a NIC."""
    return f"# {name} keeps the name that it had under Xen\n[Match]\nMACAddress={mac.lower()}\n\n[Link]\nName={name}\n"


def unit() -> str:
    """The unit that runs `script` when all NICs are there, and before anything looks at their names."""
    return f"""\
# written when this guest moved to VMware
[Unit]
Description=NICs keep the names that they had under Xen
DefaultDependencies=no
Wants=systemd-udev-settle.service network-pre.target
After=systemd-udev-settle.service local-fs.target
Before=network-pre.target nftables.service iptables.service netfilter-persistent.service firewalld.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""


def script(macs: Mapping[str, str]) -> str:
    """Gives every NIC its name; does nothing where all have theirs."""
    pairs = "\n".join(f"{name}={mac.lower()}" for name, mac in macs.items())
    return f"""\
#!/bin/sh
# written when this guest moved to VMware: the kernel names NICs by their place on the bus, these are their names by MAC
renamed=no
nics='
{pairs}
'
net=/sys/class/net
for nic in $nics; do # a name that another NIC has becomes free
    name=${{nic%%=*}}
    if [ -e $net/$name ] && [ "$(cat $net/$name/address)" != ${{nic#*=}} ]; then
        ip link set dev $name down
        ip link set dev $name name was-$name
    fi
done
for nic in $nics; do
    name=${{nic%%=*}}
    [ -e $net/$name ] && continue
    for path in $net/*; do
        if [ -e $path/device ] && [ "$(cat $path/address)" = ${{nic#*=}} ]; then
            ip link set dev ${{path##*/}} name $name && renamed=yes
        fi
    done
done
# udev gave up on these: it has to settle again what hangs on a NIC, by its right name
[ "$renamed" = yes ] && udevadm trigger --subsystem-match=net --action=add
exit 0
"""


def rules(content: str, macs: Mapping[str, str]) -> str:
    """The rules with exactly one for each planned NIC; those that give its name or its MAC otherwise go."""
    wanted = {name: mac.lower() for name, mac in macs.items()}
    right: set[str] = set()

    def change(body: str) -> str | None:
        pair = _rule(body)
        if pair is None or (pair[0] not in wanted and pair[1] not in wanted.values()):
            return body
        if wanted.get(pair[0]) == pair[1] and pair[0] not in right and 'DRIVERS=="xen' not in body:
            right.add(pair[0])
            return body
        return None

    new = text.edit(content, change)
    missing = [_line(name, mac) for name, mac in wanted.items() if name not in right]
    return text.append(new, missing) if missing else new


def read(texts: Mapping[str, str]) -> dict[str, str]:
    """{name: MAC} of what the guest's rules and link files tie together."""
    found = {}
    for line in text.lines(texts.get(RULES, "")):
        if pair := _rule(line):
            found[pair[0]] = pair[1]
    for path, content in sorted(texts.items()):
        name = re.search(r"^Name=(\S+)$", content, re.M) if _LINK.match(path) else None
        mac = re.search(r"^(?:PermanentMACAddress|MACAddress)=((?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2})$", content, re.M | re.I)
        if name and mac:
            found[name[1]] = mac[1].lower().replace("-", ":")
    return found


def _rule(body: str) -> tuple[str, str] | None:
    """Name and MAC of a rule that ties them together."""
    mac = re.search(r'ATTRS?\{address\}=="([0-9a-fA-F:]{17})"', body)
    name = re.search(r'NAME="([^"]+)"', body)
    return (name[1], mac[1].lower()) if mac and name and not body.lstrip().startswith("#") else None


def _line(name: str, mac: str) -> str:
    return (
        f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", ATTR{{type}}=="1", '
        f'KERNEL=="eth*", NAME="{name}"'
    )
