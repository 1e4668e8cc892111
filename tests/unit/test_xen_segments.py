"""On which VLAN a guest's NICs are, out of what a real Dom-0 told of its links and its store."""

from pathlib import Path

import pytest

from hikkoshi.params.home import Home
from hikkoshi.xen.live import segments
from hikkoshi.xen.live.segments import Ways

DATA = Path(__file__).parents[1] / "data" / "xen"
LINKS = (DATA / "ip-d-link.txt").read_text()
PORTS = {"xenbr0": ("eth0", "vif1.0"), "xenbr100": ("eth0.100", "vif1.1", "vif2.0"), "xenbr200": ("eth0.200", "vif2.1")}
CONFIG = """\
VLAN Dev name    | VLAN ID
Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD
eth0.100       | 100  | eth0
eth0.200       | 200  | eth0
"""


def ways(links: str = LINKS, more: str = "", **ports: tuple[str, ...]) -> Ways:
    """As the Dom-0 told it, with other ports of some bridges."""
    lines = [f"@port {bridge} {port}" for bridge, names in {**PORTS, **ports}.items() for port in names]
    return Ways.of("\n".join(["@out eth0", "@own web-lan", *lines, more, links]))


@pytest.mark.parametrize("links", [LINKS, CONFIG], ids=["ip", "proc"])
def test_a_bridge_is_on_the_vlan_of_the_port_that_leads_out(links: str) -> None:
    found = ways(links)
    assert [found.vlan(bridge) for bridge in PORTS] == [(0, "eth0"), (100, "eth0.100"), (200, "eth0.200")]


@pytest.mark.parametrize(
    ("bridge", "ports", "more", "why"),
    [
        ("", (), "", "no bridge is named"),
        ("other", (), "", "no bridge other with a port is there"),
        ("lan", ("vif1.0", "tap1.0", "vif1.0-emu", "web-lan"), "", "the bridge lan leads nowhere from the Dom-0"),
        ("lan", ("eth0.100", "eth0.200"), "", "the bridge lan leads to eth0.100, eth0.200"),
        ("lan", ("eth0.100", "veth7"), "", "the bridge lan leads to eth0.100, veth7"),
        ("lan", ("veth7",), "", "the bridge lan leads to veth7"),
        ("lan", ("eth0",), "@filters lan", "the bridge lan keeps VLANs apart itself"),
        ("lan", ("eth0.100.7",), "eth0.100.7 | 7 | eth0.100", "eth0.100.7 is a VLAN inside a VLAN"),
    ],
)
def test_where_a_bridge_leads_is_not_known_and_why_is_told(bridge: str, ports: tuple[str, ...], more: str, why: str) -> None:
    assert ways(more=more, **({bridge: ports} if ports else {})).vlan(bridge) == (None, why)


def test_a_bond_and_a_nic_of_old_xens_network_script_are_no_vlan() -> None:
    found = ways(more="@out peth0\n@out bond0", lan=("peth0", "vif0.0", "vif3.0"), san=("bond0",))
    assert (found.vlan("lan"), found.vlan("san")) == ((0, "peth0"), (0, "bond0"))


@pytest.mark.parametrize(("wanted", "says"), [("vlan301", "its parameters say vlan301"), ("", "its parameters name no segment")])
def test_of_an_untagged_nic_only_the_switch_knows_the_segment(home: Home, wanted: str, says: str) -> None:
    known = Ways.of("@out eth0\n@port xenbr0 eth0\n")
    told, agrees = segments._line(segments._Nic("00:16:3e:07:01:00", "xenbr0"), known, home.site(), wanted)
    assert told == f"00:16:3e:07:01:00 on xenbr0: untagged by eth0, which VLAN that is only the switch knows; {says}"
    assert not agrees
