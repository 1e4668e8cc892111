"""/etc/sysconfig/network-scripts/ifcfg-ethN: the NIC is tied to its name by HWADDR.

A wrong HWADDR makes the guest ignore the NIC; none at all lets the order in which the kernel finds NICs decide, which
vSphere does not promise.
"""

import ipaddress
import re

from hikkoshi.guest.facts import Interface
from hikkoshi.guest.files import sysconfig

_FILE = re.compile(r"/etc/sysconfig/network-scripts/ifcfg-(eth\d+)$")


def name(path: str) -> str:
    """`name('/etc/sysconfig/network-scripts/ifcfg-eth0') == 'eth0'`; empty for aliases, VLANs, backups and lo."""
    match = _FILE.match(path)
    return match[1] if match else ""


def interface(path: str, content: str) -> Interface:
    """What the file says; keys that it does not have are empty."""
    values = sysconfig.values(content)
    address = values.get("IPADDR", "")
    mask = values.get("PREFIX") or values.get("NETMASK") or ""
    try:
        address = str(ipaddress.IPv4Interface(f"{address}/{mask}" if mask else address)) if address else ""
    except ValueError:
        address = ""
    return Interface(
        name=values.get("DEVICE") or name(path),
        file=path,
        mac=values.get("HWADDR", "").lower(),
        address=address,
        dhcp=values.get("BOOTPROTO", "").lower() in ("dhcp", "bootp"),
    )


def prepared(content: str, mac: str) -> str:
    """The file with HWADDR as planned; written as the installer writes it, in capitals. Case alone is no difference."""
    if sysconfig.values(content).get("HWADDR", "").lower() == mac.lower():
        return content
    return sysconfig.with_value(content, "HWADDR", mac.upper())
