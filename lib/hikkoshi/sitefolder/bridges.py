"""To which VLAN each bridge of a Dom-0 leads: by what runs, where it can be asked, else by its own network files."""

from pathlib import Path

from hikkoshi.guest.interfaces import interfaces
from hikkoshi.xen.live import segments
from hikkoshi.xen.live.segments import Ways
from hikkoshi.xen.reach.host import Dom0Host
from hikkoshi.xen.tree import Tree

_FILE = Path("/etc/network/interfaces")
_FOLDERS = tuple(
    map(
        Path,
        (
            *("/etc/sysconfig/network-scripts", "/etc/sysconfig/network", "/etc/network/interfaces.d", "/etc/netplan"),
            *("/etc/systemd/network", "/etc/NetworkManager/system-connections"),
        ),
    )
)


def ways(tree: Tree) -> Ways:
    """How its bridges, VLANs and NICs hang together; `ToolFailed` where it does not answer."""
    return segments.ways(tree.host) if isinstance(tree.host, Dom0Host) else _by_files(tree)


def _by_files(tree: Tree) -> Ways:
    tree.expect(files=[_FILE], folders=[(folder, 0) for folder in _FOLDERS])
    paths = [_FILE, *(path for folder in _FOLDERS for path in tree.entries(folder))]
    configured, _ = interfaces.found({str(path): text for path in paths if (text := tree.text(path))})
    found = Ways()
    for one in configured:
        if one.kind == "vlan" and one.vlan >= 0:
            found.vlans[one.name] = (one.vlan, one.over[0] if one.over else "")
        if one.kind in ("nic", "bond"):
            found.out.add(one.name)
        if one.kind in ("bridge", "bond"):  # a bridge that only its ports name is told as a bond
            found.ports[one.name] = list(one.over)
    for name in {name for ports in found.ports.values() for name in ports} - set(found.vlans) - set(found.ports):
        below, dot, tag = name.rpartition(".")  # a NIC, and a VLAN that its name tells, may have no file of its own
        if dot and tag.isdecimal() and len(tag) < 5:
            found.vlans[name] = (int(tag), below)
        else:
            found.out.add(name)
    return found
