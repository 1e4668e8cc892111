"""Which file configures which NIC, as people write it: what is not brought up, is made by commands, or changes its MAC."""

from pathlib import Path
from typing import Any

import pytest

from hikkoshi.guest import nics
from hikkoshi.guest.facts import GuestFacts, Interface
from hikkoshi.guest.interfaces import address, interfaces
from hikkoshi.guest.note import Note
from hikkoshi.guest.survey import Survey

RED_HAT, SUSE = "/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-"
PROFILES, NETPLAN, NETWORKD = "/etc/NetworkManager/system-connections/", "/etc/netplan/", "/etc/systemd/network/"
IFUPDOWN, MAC = "/etc/network/interfaces", "00:16:3e:05:00:00"
WIRED = "[connection]\ntype=ethernet\ninterface-name=eth0\n{}\n[ipv4]\nmethod=manual\naddress1={}\n"


def found(**files: str) -> tuple[dict[str, Interface], list[Note]]:
    made, notes = interfaces.found(files)
    return {n.name: n for n in made}, notes


def codes(notes: list[Note]) -> list[str]:
    return [n.code for n in notes]


@pytest.fixture
def facts() -> GuestFacts:
    """Of the lab's gateway."""
    path = Path(__file__).parents[1] / "data/survey/gateway.json"
    return Survey.model_validate_json(path.read_bytes()).guest


def configured(facts: GuestFacts, **files: str) -> list[str]:
    made = facts.model_copy(update={"interfaces": tuple(interfaces.found(files)[0]), "texts": files})
    return [i.address for i in nics.configured(made, {"eth0": MAC})["eth0"]]


BY_HAND = {
    "ifcfg": {RED_HAT + "eth0": "DEVICE=eth0\nONBOOT=no\nIPADDR=10.9.9.9\n", RED_HAT + "lan": "DEVICE=eth0\nIPADDR=10.0.0.5\n"},
    "SUSE": {
        SUSE + "eth0": "STARTMODE='off'\nIPADDR='10.9.9.9/8'\n",
        NETPLAN + "a.yaml": "network: {ethernets: {eth0: {addresses: [10.0.0.5/8]}}}",
    },
    "NetworkManager": {
        PROFILES + "a": WIRED.format("autoconnect=false", "10.9.9.9/8"),
        PROFILES + "z": WIRED.format("", "10.0.0.5/8"),
    },
    "a lower priority": {
        PROFILES + "a": WIRED.format("", "10.9.9.9/8"),
        PROFILES + "z": WIRED.format("autoconnect-priority=5", "10.0.0.5/8"),
    },
    "netplan": {
        NETPLAN + "a.yaml": "network: {ethernets: {lan: {match: {name: eth0}, activation-mode: manual, addresses: [10.9.9.9/8]}, "
        "eth0: {addresses: [10.0.0.5/8]}}}"
    },
    "networkd": {
        NETWORKD + "1.network": f"[Match]\nMACAddress={MAC}\n[Link]\nUnmanaged=yes\n[Network]\nAddress=10.9.9.9/8\n",
        NETWORKD + "2.network": "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.5/8\n",
    },
    "ifupdown": {
        IFUPDOWN: "auto lo\niface eth0 inet static\n address 10.9.9.9/8\n",
        NETWORKD + "2.network": "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.5/8\n",
    },
}


@pytest.mark.parametrize("files", BY_HAND.values(), ids=BY_HAND)
def test_what_nothing_brings_up_counts_behind_what_is_brought_up_and_is_told(files: dict[str, str], facts: GuestFacts) -> None:
    assert configured(facts, **files)[0].startswith("10.0.0.5/")
    notes = interfaces.found(files)[1]
    assert [n.code for n in notes if n.code.startswith("nic-")] == ["nic-by-hand"]


def test_an_interface_that_is_selected_by_any_word_of_ifupdown_is_brought_up() -> None:
    head = "auto lo /enX*\nallow-hotplug eth0\nallow-br0 eth1\nauto eth2=home\nauto mac/00:16:3e:05:00:07=lan\n"
    rest = "".join(f"iface {n} inet dhcp\n" for n in ("eth0", "eth1", "home", "enX0", "lan"))
    assert not {n.by_hand for n in interfaces.found({IFUPDOWN: head + rest})[0]} - {""}


CHANGES = {
    "ifcfg": {RED_HAT + "eth0": "DEVICE=eth0\nMACADDR=random\n"},
    "ifupdown": {IFUPDOWN: "iface eth0 inet dhcp\n hwaddress ether random\n"},
    "netplan": {NETPLAN + "a.yaml": "network: {ethernets: {eth0: {macaddress: random}}}"},
    "NetworkManager": {PROFILES + "a": WIRED.format("[ethernet]\ncloned-mac-address=stable", "10.0.0.5/8")},
}


@pytest.mark.parametrize("files", CHANGES.values(), ids=CHANGES)
def test_a_mac_that_changes_is_one_that_the_port_group_must_allow(files: dict[str, str]) -> None:
    assert "mac-in-file" in codes(interfaces.found(files)[1])


LAYERS: dict[str, tuple[dict[str, str], tuple[Any, ...]]] = {
    "ifenslave": (
        {IFUPDOWN: "iface bond0 inet static\n address 10.0.0.5\n up /sbin/ifenslave bond0 eth0 eth1\n"},
        ("bond0", "bond", ("eth0", "eth1")),
    ),
    "brctl": (
        {IFUPDOWN: "iface br0 inet manual\n pre-up brctl addbr br0\n up brctl addif br0 eth0\n"},
        ("br0", "bridge", ("eth0",)),
    ),
    "a master": ({IFUPDOWN: "iface br0 inet manual\n pre-up ip link set dev eth0 master br0\n"}, ("br0", "bridge", ("eth0",))),
    "from below": (
        {
            IFUPDOWN: "iface br0 inet static\n address 10.0.0.5/8\n bridge_ports none\n"
            "iface eth0 inet manual\n up brctl addif br0 $IFACE\n"
        },
        ("br0", "bridge", ("eth0",)),
    ),
    "a link": (
        {IFUPDOWN: "iface mgmt inet manual\n pre-up ip link add link eth0 name mgmt type vlan id 7\n"},
        ("mgmt", "vlan", ("eth0",)),
    ),
    "Open vSwitch": (
        {
            IFUPDOWN: "iface eth0 inet manual\n ovs_bridge vmbr0\n ovs_type OVSPort\niface vmbr0 inet manual\n ovs_type "
            "OVSBridge\n"
        },
        ("vmbr0", "bridge", ("eth0",)),
    ),
    "its ports": (
        {IFUPDOWN: "iface br0 inet manual\n ovs_type OVSBridge\n ovs_ports eth0 eth1\n"},
        ("br0", "bridge", ("eth0", "eth1")),
    ),
    "ifupdown-ng": ({IFUPDOWN: "iface lag\n use bond\n requires eth0 eth1\n"}, ("lag", "bond", ("eth0", "eth1"))),
    "wireless": ({IFUPDOWN: "iface eth1 inet dhcp\n wireless-essid home\n"}, ("eth1", "other", ())),
    "xDSL": ({RED_HAT + "dsl": "DEVICE=dsl0\nTYPE=xDSL\nETH=eth1\n"}, ("dsl0", "other", ("eth1",))),
    "PPPoE": ({PROFILES + "p": "[connection]\ntype=pppoe\ninterface-name=eth1\n"}, ("", "other", ("eth1",))),
    "a VLAN by MAC": (
        {PROFILES + "v": f"[connection]\ntype=vlan\ninterface-name=v7\n[vlan]\nid=7\n[ethernet]\nmac-address={MAC}\n"},
        ("v7", "vlan", (MAC,)),
    ),
    "a port between": (
        {
            PROFILES + "br": "[connection]\ntype=ovs-bridge\ninterface-name=ovs0\nuuid=11-1\n",
            PROFILES
            + "port": "[connection]\ntype=ovs-port\nuuid=22-2\ninterface-name=port0\nmaster=11-1\nslave-type=ovs-bridge\n",
            PROFILES + "eth0": "[connection]\ntype=ethernet\ninterface-name=eth0\nmaster=22-2\nslave-type=ovs-port\n",
        },
        ("ovs0", "bridge", ("eth0",)),
    ),
    "a pattern": (
        {
            NETWORKD + "1.network": "[Match]\nName=eth*\n[Network]\nBond=bond0\n",
            NETWORKD + "b.netdev": "[NetDev]\nName=bond0\nKind=bond\n",
        },
        ("bond0", "bond", ("eth*",)),
    ),
    "NetworkManager's in netplan": (
        {
            NETPLAN + "90-NM.yaml": "network:\n  nm-devices:\n    NM-1:\n      networkmanager:\n        passthrough:\n"
            '          connection.type: "team"\n          connection.interface-name: "team0"\n'
        },
        ("team0", "bond", ()),
    ),
    "a virtual function": ({NETPLAN + "a.yaml": "network: {ethernets: {vf: {link: eth0}}}"}, ("vf", "other", ("eth0",))),
}


@pytest.mark.parametrize(("files", "right"), LAYERS.values(), ids=LAYERS)
def test_what_is_made_of_which_nics(files: dict[str, str], right: tuple[Any, ...]) -> None:
    name, kind, over = right
    nic = found(**files)[0][name]
    assert (nic.kind, nic.over) == (kind, over)


def test_a_pattern_of_members_names_no_nic(facts: GuestFacts) -> None:
    files = LAYERS["a pattern"][0]
    made = facts.model_copy(update={"interfaces": tuple(interfaces.found(files)[0]), "pinned": {}, "texts": {}})
    assert nics.naming(made, [MAC]).names == ("eth0",)


def test_commands_give_addresses_in_any_order_and_none_is_none() -> None:
    head = "iface eth0 inet manual\n up "
    assert found(**{IFUPDOWN: head + "ip addr add dev $IFACE 10.0.0.5/24\n up ip a a 10.0.0.6/24 dev eth0\n"})[0][
        "eth0"
    ].further == ("10.0.0.6/24",)
    nic = found(**{IFUPDOWN: head + "ifconfig $IFACE 0.0.0.0 promisc up\n"})[0]["eth0"]
    assert (nic.address, nic.dhcp) == ("", False)
    assert address.told("x:1", [("0.0.0.0", ""), ("0.0.0.0/0", "")]) == []


def test_what_an_ifcfg_file_reads_besides_is_told() -> None:
    _, notes = found(**{RED_HAT + "eth0": "DEVICE=eth0\n. /etc/sysconfig/network-scripts/base\n"})
    assert [(n.code, n.facts["place"]) for n in notes] == [("source-not-read", f"{RED_HAT}eth0:2")]


def test_a_profile_of_network_manager_that_netplan_keeps_is_tied_as_it_says() -> None:
    text = (
        "network:\n  ethernets:\n    NM-1:\n      match: {}\n      dhcp4: true\n      networkmanager:\n        passthrough:\n"
        '          connection.interface-name: "eth0"\n'
    )
    nics_, notes = found(**{NETPLAN + "90-NM.yaml": text})
    assert (list(nics_), codes(notes)) == (["eth0"], [])


def test_aliases_of_netplan_stand_for_what_they_name_and_make_no_more_than_a_file_may_hold() -> None:
    text = "network:\n  ethernets:\n    eth0: &x {dhcp4: &yes true}\n    eth1: *x\n    eth2: {dhcp4: *yes}\n"
    assert {n: i.dhcp for n, i in found(**{NETPLAN + "a.yaml": text})[0].items()} == {"eth0": True, "eth1": True, "eth2": True}
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    for odd in (bomb, "network: *none\n", "network: &x {ethernets: *x}\n"):
        assert codes(found(**{NETPLAN + "a.yaml": odd})[1]) == ["file-not-read"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/dhcpcd.conf", "interface eth0\nstatic ip_address=10.0.0.5/24\n"),
        ("/etc/conf.d/net", 'config_eth0="10.0.0.5/24"\n'),
        ("/etc/netctl/eth0", "Interface=eth0\nIP=static\n"),
        ("/etc/nmstate/a.yml", "interfaces:\n- name: eth0\n"),
    ],
)
def test_a_file_that_nobody_reads_here_is_told(path: str, content: str) -> None:
    assert codes(found(**{path: content})[1]) == ["file-not-read"]
    assert found(**{path: "# nothing\n"})[1] == []


def test_a_script_that_sets_up_a_nic_beside_all_files_is_told_with_its_line() -> None:
    _, notes = found(
        **{"/etc/rc.local": "#!/bin/sh\n# ifconfig eth9 10.0.0.1\nifconfig eth1 10.9.0.5 netmask 255.255.255.0\nexit 0\n"}
    )
    assert [(n.code, n.facts["place"]) for n in notes] == [("nic-by-command", "/etc/rc.local:3")]


def test_files_of_networkd_in_its_own_folders_count_but_for_systemds() -> None:
    folder, text = "/usr/lib/systemd/network/", "[Match]\nName={}\n[Network]\nDHCP=yes\n"
    files = {folder + "80-container-host0.network": text.format("host0"), folder + "50-lan.network": text.format("eth0")}
    assert list(found(**files)[0]) == ["eth0"]
    assert list(found(**files, **{NETWORKD + "50-lan.network": text.format("eth1")})[0]) == ["eth1"]
