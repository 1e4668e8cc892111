"""Which file configures which NIC: every kind of file gives the same model, and what it is tied to."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest.facts import Interface
from hikkoshi.guest.interfaces import address, interfaces, netplan
from hikkoshi.guest.note import Note

DATA = Path(__file__).parents[1] / "data/interfaces"
RED_HAT, SUSE = "/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-"
PROFILES, NETPLAN, NETWORKD = "/etc/NetworkManager/system-connections/", "/etc/netplan/", "/etc/systemd/network/"
MAC = "00:16:3e:51:0c:10"


def folder(name: str, where: str) -> dict[str, str]:
    return {where + path.name: path.read_text() for path in sorted((DATA / name).iterdir())}


def one(path: str, content: str) -> Interface:
    (nic,) = interfaces.found({path: content})[0]
    return nic


def codes(notes: list[Note]) -> list[str]:
    return [n.code for n in notes]


def tied(nics: list[Interface]) -> set[tuple[str, ...]]:
    return {(n.name, n.mac, " ".join(n.patterns), n.address or ("DHCP" if n.dhcp else "")) for n in nics}


class TestNetworkManager:
    def test_profiles_are_tied_by_mac_by_pattern_or_to_nothing_and_others_are_none(self) -> None:
        nics, notes = interfaces.found(folder("network-manager", PROFILES))
        assert tied(nics) == {
            ("", "00:16:3e:51:0c:10", "", "192.0.2.61/24"),
            ("", "00:16:3e:51:0c:11", "", "192.0.2.62/26"),
            ("", "", "ens33 enp1s0", "192.0.2.63/24"),
            ("", "", "", "DHCP"),
        }
        assert [(n.code, n.facts["place"]) for n in notes] == [("nic-tied-to-nothing", f"{PROFILES}empty.nmconnection:2")]

    def test_a_mac_of_numbers_and_one_that_the_profile_gives_itself_are_two_things(self) -> None:
        nic = one(
            PROFILES + "lan",
            "[connection]\ntype=802-3-ethernet\n[802-3-ethernet]\nmac-address=0;22;62;81;12;16;\n"
            "cloned-mac-address=02:00:00:00:00:01\n",
        )
        assert (nic.mac, nic.own_mac, nic.own_mac_by) == (MAC, "02:00:00:00:00:01", "cloned-mac-address")

    @pytest.mark.parametrize("key", ["mac-address-blacklist", "mac-address-denylist"])
    @pytest.mark.parametrize("section", ["ethernet", "802-3-ethernet"])
    def test_nics_that_a_profile_is_not_for_are_kept_and_tie_it_to_none(self, section: str, key: str) -> None:
        text = f"[connection]\ntype=ethernet\n[{section}]\n{key}={MAC.upper()};02:00:00:00:00:01\n"
        (nic,), notes = interfaces.found({PROFILES + "lan": text})
        assert nic.conditions == (f"not-mac={MAC}", "not-mac=02:00:00:00:00:01")
        assert codes(notes) == ["nic-tied-to-nothing"]
        assert one(PROFILES + "lan", f"[connection]\ntype=ethernet\n[{section}]\n{key}=\n").conditions == ()

    def test_a_bond_that_is_named_by_uuid_has_its_members(self) -> None:
        head = "[connection]\ntype={}\ninterface-name={}\n"
        nics, notes = interfaces.found(
            {
                f"{PROFILES}bond": head.format("bond", "bond0") + "uuid=1-2-3\n[ipv4]\nmethod=manual\naddress1=192.0.2.4/24\n",
                f"{PROFILES}a": head.format("ethernet", "eth0") + "master=1-2-3\nslave-type=bond\n",
                f"{PROFILES}b": head.format("ethernet", "eth1") + "controller=bond0\nport-type=bond\n",
            }
        )
        assert {n.name: (n.kind, n.over) for n in nics if n.over} == {"bond0": ("bond", ("eth0", "eth1"))}
        assert codes(notes) == ["bond-in-guest"]

    def test_a_profile_in_etc_hides_that_of_the_same_name_in_lib(self) -> None:
        lib = PROFILES.replace("/etc", "/usr/lib")
        text = "[connection]\ntype=ethernet\ninterface-name=eth{}\n"
        nics, _ = interfaces.found({f"{lib}lan.nmconnection": text.format(8), f"{PROFILES}lan.nmconnection": text.format(0)})
        assert [n.name for n in nics] == ["eth0"]

    def test_a_condition_and_what_a_pattern_leaves_out_are_kept(self) -> None:
        nic = one(PROFILES + "x", "[connection]\ntype=ethernet\n[match]\ndriver=vif;xen*;\ninterface-name=!eth1;|e*;\n")
        assert (nic.conditions, nic.patterns) == (("driver=vif", "driver=xen*"), ("!eth1", "e*"))

    def test_a_vlan_and_a_vpn(self) -> None:
        nic = one(PROFILES + "v", "[connection]\ntype=vlan\ninterface-name=lan.7\n[vlan]\nid=7\nparent=eth0\n")
        assert (nic.kind, nic.over, nic.vlan) == ("vlan", ("eth0",), 7)
        assert interfaces.found({PROFILES + "w": "[connection]\ntype=wireguard\ninterface-name=wg0\n"}) == ([], [])


class TestNetplan:
    def test_files_are_one_and_what_xens_driver_alone_finds_is_tied_to_that(self) -> None:
        nics, notes = interfaces.found(folder("netplan", NETPLAN))
        assert [(n.name, n.address, n.dhcp, n.conditions) for n in nics] == [
            ("eth0", "192.0.2.81/24", True, ()),
            ("", "198.51.100.8/24", False, ("driver=xen_netfront",)),
        ]
        assert [(n.code, n.facts["file"]) for n in notes] == [("file-not-read", f"{NETPLAN}99-tabs.yaml")]
        assert nics[1].place == f"{NETPLAN}01-installer.yaml:10"

    @pytest.mark.parametrize(
        ("word", "dhcp"),
        [("yes", True), ("On", True), ("'y'", True), ("TRUE", True), ("no", False), ("off", False), ("N", False)],
    )
    def test_its_words_for_true_and_false(self, word: str, dhcp: bool) -> None:
        assert one(NETPLAN + "a.yaml", f"network: {{ethernets: {{eth0: {{dhcp4: {word}}}}}}}\n").dhcp is dhcp

    def test_a_word_that_is_neither_is_told(self) -> None:
        _, notes = interfaces.found({NETPLAN + "a.yaml": "network:\n  ethernets:\n    eth0: {dhcp4: maybe}\n"})
        assert [(n.code, n.facts["file"]) for n in notes] == [("file-not-read", f"{NETPLAN}a.yaml:3")]

    def test_a_later_file_changes_values_and_adds_to_lists(self) -> None:
        first = "network: {ethernets: {lan: {match: {macaddress: '00:16:3E:51:0C:10'}, addresses: [192.0.2.1/24]}}}"
        second = "network: {ethernets: {lan: {set-name: lan0, addresses: [192.0.2.1/24, 192.0.2.2/24]}}}"
        (nic,), _ = interfaces.found({NETPLAN + "20.yaml": second, NETPLAN + "10.yaml": first})
        assert (nic.name, nic.mac, nic.address, nic.further) == ("lan0", MAC, "192.0.2.1/24", ("192.0.2.2/24",))

    def test_a_file_in_etc_hides_that_of_the_same_name_in_lib(self) -> None:
        text = "network: {{ethernets: {{eth{}: {{}}}}}}"
        nics, _ = interfaces.found({"/lib/netplan/0.yaml": text.format(8), NETPLAN + "0.yaml": text.format(0)})
        assert [n.name for n in nics] == ["eth0"]

    def test_bridges_bonds_and_vlans_name_nics_as_the_guest_does_and_wireless_is_none(self) -> None:
        nics, _ = interfaces.found({NETPLAN + "0.yaml": (DATA / "netplan-layers.yaml").read_text()})
        assert {n.name: (n.kind, n.over, n.vlan, n.address) for n in nics if n.kind != "nic"} == {
            "bond0": ("bond", ("eth0", "eth1"), -1, ""),
            "v301": ("vlan", ("bond0",), 301, "10.3.1.254/24"),
            "br0": ("bridge", ("v301",), -1, ""),
        }
        assert {(n.name, n.patterns) for n in nics if n.kind == "nic"} == {("eth0", ()), ("eth1", ()), ("", ("en*",))}

    @settings(max_examples=20)
    @given(st.permutations(["dhcp4: yes", "addresses: [192.0.2.9/24]", "match: {name: 'e*'}", "macaddress: '02:00:00:00:00:01'"]))
    def test_blocks_flows_order_and_quotes_mean_the_same(self, options: list[str]) -> None:
        block = "network:\n  ethernets:\n    lan:\n" + "".join(f"      {o}  # {n}\n" for n, o in enumerate(options))
        flow = f"network: {{ethernets: {{lan: {{{', '.join(options)}}}}}}}\n"
        quoted = flow.replace("yes", '"yes"').replace("'e*'", '"e*"').replace("192.0.2.9/24", "'192.0.2.9/24'")
        found = [one(NETPLAN + "0.yaml", text).model_copy(update={"line": 0}) for text in (block, flow, quoted)]
        assert found[0] == found[1] == found[2]


class TestIfcfg:
    def test_suses_file_is_tied_to_the_name_that_it_has(self) -> None:
        nic = one(SUSE + "eth0", (DATA / "suse/ifcfg-eth0").read_text())
        assert (nic.name, nic.mac, nic.address, nic.dhcp, nic.own_mac) == ("eth0", "", "192.0.2.40/24", False, "")

    @pytest.mark.parametrize(
        ("suffix", "content", "name", "mac", "found"),
        [
            ("Wired_connection_1", "DEVICE=eth3\nIPADDR0=10.0.0.5\nPREFIX0=25\n", "eth3", "", "10.0.0.5/25"),
            ("Office", f"HWADDR={MAC.upper()}\nBOOTPROTO=dhcp\n", "", MAC, "DHCP"),
            ("eth0", "BOOTPROTO=none\nIPADDR=172.16.0.5\n", "eth0", "", "172.16.0.5/16"),  # as its class had it
            ("eth0", "export IPADDR='10.0.0.5' # mine\nNETMASK=255.255.252.0\n", "eth0", "", "10.0.0.5/22"),
            ("eth0", "DEVICE=eth0\nBOOTPROTO=bootp\n", "eth0", "", "DHCP"),
            ("eth0", "DEVICE=eth0\nHWADDR=nonsense\n", "eth0", "", ""),
            ("Office", "BOOTPROTO=dhcp\n", "", "", "DHCP"),  # tied to nothing
        ],
    )
    def test_red_hats_files_have_any_name(self, suffix: str, content: str, name: str, mac: str, found: str) -> None:
        nic = one(RED_HAT + suffix, content)
        assert (nic.name, nic.mac, nic.address or ("DHCP" if nic.dhcp else "")) == (name, mac, found)

    @pytest.mark.parametrize("suffix", ["lo", "eth0.bak", "eth0~", "eth0.rpmsave", "eth0.orig", "eth0-range0", "eth0.augnew"])
    def test_what_the_system_ignores_is_none(self, suffix: str) -> None:
        assert interfaces.found({RED_HAT + suffix: "DEVICE=eth0\nIPADDR=10.0.0.1\n"}) == ([], [])
        assert interfaces.found({RED_HAT + "home": "TYPE=Wireless\nDEVICE=wlan0\n"}) == ([], [])
        assert interfaces.found({SUSE + "wlan0": "WIRELESS_ESSID='x'\n"}) == ([], [])

    @pytest.mark.parametrize(
        ("path", "content", "kind", "over", "vlan"),
        [
            (RED_HAT + "eth0.301", "DEVICE=eth0.301\nVLAN=yes\n", "vlan", ("eth0",), 301),
            (RED_HAT + "vlan7", "DEVICE=vlan7\nVLAN=yes\nPHYSDEV=eth1\n", "vlan", ("eth1",), 7),
            (RED_HAT + "Vlan", "DEVICE=lan\nTYPE=Vlan\nPHYSDEV=eth1\nVLAN_ID=9\n", "vlan", ("eth1",), 9),
            (RED_HAT + "bond0", "DEVICE=bond0\nIPADDR=10.0.0.1\n", "bond", (), -1),  # its options are in modprobe.conf
            (RED_HAT + "br0", "DEVICE=br0\nTYPE=Bridge\n", "bridge", (), -1),
            (RED_HAT + "tun0", "DEVICE=tun0\n", "other", (), -1),
            (SUSE + "vlan20", "ETHERDEVICE='eth0'\nIPADDR='10.0.0.1/24'\n", "vlan", ("eth0",), 20),
            (SUSE + "br0", "BRIDGE='yes'\nBRIDGE_PORTS='eth0 eth1'\n", "bridge", ("eth0", "eth1"), -1),
            (
                SUSE + "bond0",
                "BONDING_MASTER='yes'\nBONDING_SLAVE0='eth0'\nBONDING_SLAVE1='eth1'\n",
                "bond",
                ("eth0", "eth1"),
                -1,
            ),
        ],
    )
    def test_vlans_bridges_and_bonds(self, path: str, content: str, kind: str, over: tuple[str, ...], vlan: int) -> None:
        nic = one(path, content)
        assert (nic.kind, nic.over, nic.vlan) == (kind, over, vlan)

    def test_those_that_belong_to_a_bond_are_its_members_also_where_it_has_no_file(self) -> None:
        nics, notes = interfaces.found({RED_HAT + f"eth{n}": f"DEVICE=eth{n}\nMASTER=bond0\nSLAVE=yes\n" for n in (0, 1)})
        assert [(n.name, n.kind, n.over) for n in nics if n.over] == [("bond0", "bond", ("eth0", "eth1"))]
        assert codes(notes) == ["bond-in-guest"]

    @pytest.mark.parametrize(
        ("path", "content", "kind", "over"),
        [
            (SUSE + "ovs0", "OVS_BRIDGE='yes'\nOVS_BRIDGE_PORT_DEVICE_1='eth0'\nIPADDR='10.0.0.5/24'\n", "bridge", ("eth0",)),
            (
                SUSE + "team0",
                "TEAM_RUNNER='loadbalance'\nTEAM_PORT_DEVICE_1='eth0'\nTEAM_PORT_DEVICE_2='eth1'\n",
                "bond",
                ("eth0", "eth1"),
            ),
            (SUSE + "macvlan0", "MACVLAN_DEVICE='eth0'\nIPADDR='10.0.0.5/24'\n", "other", ("eth0",)),
            (SUSE + "lan", "VXLAN='yes'\nVXLAN_ID=5\n", "other", ()),
            (SUSE + "vpn0", "TUNNEL='gre'\nTUNNEL_LOCAL_IPADDR='192.0.2.1'\n", "other", ()),
            (SUSE + "dsl0", "DEVICE='eth1'\nPPPMODE=pppoe\n", "other", ()),
            (SUSE + "modem0", "MODEM_DEVICE='/dev/ttyS0'\n", "other", ()),
            (SUSE + "d", "DUMMY=yes\n", "other", ()),
            (SUSE + "eth0", "VXLAN='no'\nBRIDGE=no\nBOOTPROTO=dhcp\n", "nic", ()),
            (RED_HAT + "mv0", "DEVICE=mv0\nTYPE=macvlan\nMACVLAN_PARENT=eth0\n", "other", ("eth0",)),
        ],
    )
    def test_what_is_made_of_nics_is_none(self, path: str, content: str, kind: str, over: tuple[str, ...]) -> None:
        nic = one(path, content)
        assert (nic.kind, nic.over) == (kind, over)

    @pytest.mark.parametrize(
        ("suffix", "mac", "conditions"),
        [
            (f"id-{MAC}", MAC, ()),
            (f"eth-id-{MAC.upper()}", MAC, ()),
            ("eth-bus-vif-0", "", ("bus=vif-0",)),
            ("bus-pci-0000:00:04.0", "", ("bus=pci-0000:00:04.0",)),
            ("vpid-0x10ec-0x8139", "", ("vpid=0x10ec-0x8139",)),
        ],
    )
    def test_suses_old_names_of_configurations_are_no_names_of_nics(
        self, suffix: str, mac: str, conditions: tuple[str, ...]
    ) -> None:
        nic = one(SUSE + suffix, "BOOTPROTO='static'\nIPADDR='10.0.0.5/24'\n")
        assert (nic.name, nic.mac, nic.conditions, nic.address) == ("", mac, conditions, "10.0.0.5/24")

    def test_members_by_such_names_are_known_by_their_mac_or_told(self) -> None:
        content = f"BONDING_MASTER='yes'\nBONDING_SLAVE_0='eth-id-{MAC}'\nBONDING_SLAVE_1='bus-pci-0000:00:05.0'\n"
        (nic,), notes = interfaces.found({SUSE + "bond0": content})
        assert nic.over == (MAC,)
        assert codes(notes) == ["file-not-read", "bond-in-guest"]

    @pytest.mark.parametrize(
        ("upper", "lower", "kind"),
        [
            ("TYPE=Bridge\nUUID=1-2-3\n", "BRIDGE_UUID=1-2-3\n", "bridge"),
            ("TYPE=Bond\nBONDING_MASTER=yes\nUUID=1-2-3\n", "MASTER=1-2-3\nSLAVE=yes\n", "bond"),
            ("TYPE=OVSBridge\nDEVICETYPE=ovs\n", "TYPE=OVSPort\nDEVICETYPE=ovs\nOVS_BRIDGE=up0\n", "bridge"),
            ("DEVICETYPE=Team\n", "DEVICETYPE=TeamPort\nTEAM_MASTER=up0\n", "bond"),
        ],
    )
    def test_profiles_name_each_other_by_uuid_or_name(self, upper: str, lower: str, kind: str) -> None:
        nics, _ = interfaces.found({RED_HAT + "up0": f"DEVICE=up0\n{upper}", RED_HAT + "eth0": f"DEVICE=eth0\n{lower}"})
        assert {n.name: (n.kind, n.over) for n in nics} == {"up0": (kind, ("eth0",)), "eth0": ("nic", ())}

    def test_a_vlan_names_its_nic_by_uuid_and_what_no_profile_has_is_told(self) -> None:
        head = "[connection]\ntype={}\n"
        nics, notes = interfaces.found(
            {
                PROFILES + "a": head.format("ethernet") + "interface-name=eth0\nuuid=u-1\n",
                PROFILES + "b": head.format("vlan") + "interface-name=v5\n[vlan]\nid=5\nparent=u-1\n",
                PROFILES + "c": head.format("ethernet") + "interface-name=eth1\nmaster=My bridge\n",
            }
        )
        assert [n.over for n in nics if n.kind == "vlan"] == [("eth0",)]
        assert sorted(codes(notes)) == ["file-not-read", "vlan-in-guest"]

    def test_an_alias_without_its_nics_own_file_is_that_nics(self) -> None:
        nic = one(RED_HAT + "eth0:1", "DEVICE=eth0:1\nIPADDR=10.0.0.6\nPREFIX=24\n")
        assert (nic.name, nic.address) == ("eth0", "10.0.0.6/24")

    def test_a_range_of_addresses_is_told(self) -> None:
        nics, notes = interfaces.found({RED_HAT + "eth0-range0": "IPADDR_START=10.0.0.10\nIPADDR_END=10.0.0.20\n"})
        assert (nics, [(n.code, n.facts["last"]) for n in notes]) == ([], [("address-range", "10.0.0.20")])

    @pytest.mark.parametrize(
        "suffix", ["-old", ".save", "_backup", ".bck", "-2019-03-01", ".20190301", "-copy2", ".orig.1", ".old2", "-before-xen"]
    )
    def test_a_file_of_suses_that_is_called_as_a_copy_is_told_and_configures_nothing(self, suffix: str) -> None:
        texts = {SUSE + "eth0": "IPADDR=10.0.0.5/24\n", f"{SUSE}eth0{suffix}": "IPADDR=10.0.0.6/24\n"}
        (nic,), notes = interfaces.found(texts)
        assert (nic.name, nic.address) == ("eth0", "10.0.0.5/24")
        assert [(n.code, n.facts["file"]) for n in notes] == [("file-is-copy", f"{SUSE}eth0{suffix}")]

    @pytest.mark.parametrize("suffix", ["~", ".old", ".bak", ".orig", ".rpmsave", ".rpmnew", ".rpmorig", ".scpmbackup"])
    def test_files_that_wicked_and_suses_scripts_ignore_are_ignored(self, suffix: str) -> None:
        texts = {SUSE + "eth0": "IPADDR=10.0.0.5/24\n", f"{SUSE}eth0{suffix}": "IPADDR=10.0.0.6/24\n"}
        assert [n.address for n in interfaces.found(texts)[0]] == ["10.0.0.5/24"]

    @pytest.mark.parametrize(
        ("name", "content"),
        [("eth0.5", "IPADDR=10.0.0.6/24\n"), ("eth01", "BOOTPROTO=dhcp\n"), ("eth0-old", "BRIDGE=yes\nBRIDGE_PORTS=eth1\n")],
    )
    def test_what_only_begins_with_the_name_of_another_is_none_of_its_copies(self, name: str, content: str) -> None:
        nics, notes = interfaces.found({SUSE + "eth0": "IPADDR=10.0.0.5/24\n", SUSE + name: content})
        assert [n.name for n in nics] == ["eth0", name]
        assert "file-is-copy" not in codes(notes)

    def test_a_copy_that_names_the_same_nic_counts_for_red_hats_scripts_and_is_told(self) -> None:
        texts = {RED_HAT + f"eth0{x}": f"DEVICE=eth0\nIPADDR=10.0.0.{n}\n" for n, x in enumerate(("", ".save"), 1)}
        assert codes(interfaces.found(texts)[1]) == ["nic-configured-twice"]

    def test_suse_tied_by_mac_with_more_addresses_and_a_mac_of_its_own(self) -> None:
        nic = one(
            f"{SUSE}eth-id-{MAC}", "IPADDR=10.0.0.5\nPREFIXLEN=24\nIPADDR_1=10.0.0.6\nNETMASK_1=255.255.0.0\nLLADDR=2:0:0:0:0:1\n"
        )
        assert (nic.name, nic.mac, nic.address, nic.further) == ("", MAC, "10.0.0.5/24", ("10.0.0.6/16",))
        assert (nic.own_mac, nic.own_mac_by) == ("02:00:00:00:00:01", "LLADDR")

    def test_an_alias_is_one_more_address_and_no_nic(self) -> None:
        eth0 = {RED_HAT + "eth0": "DEVICE=eth0\nIPADDR=10.0.0.5\n", RED_HAT + "eth0:1": "DEVICE=eth0:1\nIPADDR=10.0.0.6\n"}
        (nic,), _ = interfaces.found(eth0)
        assert (nic.name, nic.address, nic.further) == ("eth0", "10.0.0.5/8", ("10.0.0.6/8",))

    @settings(max_examples=20)
    @given(
        st.permutations(["DEVICE=eth0", f"HWADDR={MAC}", "IPADDR=10.0.0.5", "PREFIX=24"]),
        st.sampled_from(["{}={}", "{}='{}'", '{}="{}"']),
    )
    def test_order_quotes_and_comments_mean_the_same(self, lines: list[str], form: str) -> None:
        content = "".join(f"# {line}9\n  {form.format(*line.split('='))}\n\n" for line in lines)
        nic = one(RED_HAT + "any", content)
        assert (nic.name, nic.mac, nic.address) == ("eth0", MAC, "10.0.0.5/24")


class TestIfupdown:
    START = "/etc/network/interfaces"

    def test_hwaddress_is_a_setting_and_finds_no_nic(self) -> None:
        nic = one(self.START, "iface eth0 inet dhcp\n  hwaddress ether 02:00:00:00:00:01\n")
        assert (nic.name, nic.mac, nic.own_mac, nic.dhcp) == ("eth0", "", "02:00:00:00:00:01", True)

    def test_files_count_where_they_are_read_and_are_told_where_not(self) -> None:
        texts = {
            self.START: "source interfaces.d/*.cfg\nsource-directory /etc/network/more.d\nsource /srv/net\n",
            "/etc/network/interfaces.d/a.cfg": "iface eth0 inet dhcp\n",
            "/etc/network/interfaces.d/b.cfg.old": "iface eth8 inet dhcp\n",
            "/etc/network/more.d/lan": "iface eth1 inet dhcp\n",
            "/etc/network/more.d/lan.bak": "iface eth9 inet dhcp\n",
        }
        nics, notes = interfaces.found(texts)
        assert [n.place for n in nics] == ["/etc/network/interfaces.d/a.cfg:1", "/etc/network/more.d/lan:1"]
        assert sorted(codes(notes)) == ["file-not-used", "source-not-read"]

    def test_what_is_inherited_counts_and_the_template_is_no_nic(self) -> None:
        nics, _ = interfaces.found(
            {
                self.START: "iface base inet static\n mtu 1500\n netmask 25\n"
                "iface eth0 inet static inherits base\n address \\\n 10.0.0.5\n"
            }
        )
        assert tied(nics) == {("eth0", "", "", "10.0.0.5/25")}

    def test_ifupdown_ng_knows_no_families(self) -> None:
        nics, notes = interfaces.found({self.START: (DATA / "ifupdown-ng").read_text()})
        assert tied([n for n in nics if n.kind == "nic"]) == {
            ("eth0", "", "", "203.0.113.2/24"),
            ("eth1", "", "", "DHCP"),
            ("eth2", "", "", ""),
        }
        assert {n.name: (n.kind, n.over, n.vlan) for n in nics if n.kind != "nic"} == {
            "bond0": ("bond", ("eth1", "eth2"), -1),
            "vlan8": ("vlan", ("eth0",), 8),
        }
        assert sorted(codes(notes)) == ["bond-in-guest", "vlan-in-guest"]

    def test_a_stanza_may_be_tied_by_mac_or_pattern_where_it_is_selected(self) -> None:
        content = f"rename mac/{MAC.upper()}=lan\nauto lan\niface lan inet dhcp\nauto /eth*=any\n"
        content += "iface any inet static\n address 10.0.0.5/24\n"
        nics, _ = interfaces.found({self.START: content})
        assert tied(nics) == {("lan", MAC, "", "DHCP"), ("", "", "eth*", "10.0.0.5/24")}

    def test_a_mapping_by_script_is_told(self) -> None:
        nics, notes = interfaces.found({self.START: "mapping eth0\n script /x.sh\n map 1 home\niface home inet dhcp\n"})
        assert [n.name for n in nics] == ["eth0"]
        assert [(n.code, n.facts) for n in notes] == [("nics-by-script", {"place": f"{self.START}:1", "nics": "eth0"})]

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            ("auto eth0=home\niface home inet static\n address 10.0.0.5/24\n", {("eth0", "10.0.0.5/24")}),
            ("allow-hotplug eth0=office\niface office inet static\n address 10.0.0.5/24\n", {("eth0", "10.0.0.5/24")}),
            ("auto eth0\nmapping eth0\n script /x\niface work inet static\n address 10.0.0.5/24\n", {("eth0", "10.0.0.5/24")}),
            ("mapping eth0\n script /x\niface eth1 inet static\n address 10.0.0.5/24\n", {("eth1", "10.0.0.5/24")}),
            ("iface lan0 inet static\n address 10.0.0.5/24\n", {("lan0", "10.0.0.5/24")}),
            ("auto eth0=home eth1\niface eth1 inet bootp\n", {("eth1", "DHCP")}),
        ],
    )
    def test_a_logical_name_is_no_nic(self, content: str, found: set[tuple[str, str]]) -> None:
        nics, _ = interfaces.found({self.START: content})
        assert {(n.name, n.address or ("DHCP" if n.dhcp else "")) for n in nics} == found

    def test_what_any_of_several_nics_may_use_has_no_name(self) -> None:
        nics, notes = interfaces.found({self.START: "mapping eth*\n script /x\n map home\niface home inet dhcp\n"})
        assert [(n.name, n.patterns) for n in nics] == [("", ("eth*",))]
        assert codes(notes) == ["nics-by-script"]

    @pytest.mark.parametrize(
        "stanza",
        [
            "dsl-provider inet ppp\n provider dsl-provider",
            "he-ipv6 inet6 v4tunnel\n endpoint 192.0.2.1",
            "mygre inet tunnel\n mode gre\n address 10.9.9.1/30",
            "modem inet wvdial",
            "six inet6 6to4\n local 192.0.2.1",
            "loop1 inet static\n pre-up ip link add loop1 type dummy\n address 10.9.9.1/32",
            "lan9 inet manual\n pre-up ip link add link eth0 name $IFACE type macvlan mode bridge",
            "vpn inet static\n pre-up openvpn --mktun --dev vpn\n address 10.9.9.1/30",
            "any\n vxlan-id 7",
        ],
    )
    def test_a_stanza_that_makes_its_interface_is_for_no_nic(self, stanza: str) -> None:
        nics, _ = interfaces.found({self.START: f"iface eth0 inet dhcp\niface {stanza}\n"})
        assert [n.kind for n in nics] == ["nic", "other"]

    @pytest.mark.parametrize(
        ("commands", "found"),
        [
            (" up ip addr add 10.0.0.5/24 dev $IFACE\n", ("10.0.0.5/24", False, "")),
            (" up ip -4 a add 10.0.0.5/24 brd + dev eth0 || true\n", ("10.0.0.5/24", False, "")),
            (" post-up /sbin/ifconfig eth0:1 10.0.0.5 netmask 255.255.255.0 up\n", ("10.0.0.5/24", False, "")),
            (" pre-up ifconfig eth0 hw ether 02:00:00:00:00:01\n", ("", False, "02:00:00:00:00:01")),
            (" pre-up ip link set dev $IFACE address 02:00:00:00:00:01\n", ("", False, "02:00:00:00:00:01")),
            (" up dhclient -v eth0\n", ("", True, "")),
            (" up ip route add 10.9.0.0/16 via 10.0.0.1\n down ip addr del 10.0.0.5/24 dev eth0\n", ("", False, "")),
        ],
    )
    def test_plain_commands_count(self, commands: str, found: tuple[str, bool, str]) -> None:
        nics, notes = interfaces.found({self.START: "iface eth0 inet manual\n" + commands})
        assert [(n.address, n.dhcp, n.own_mac) for n in nics] == [found]
        assert codes(notes) == (["mac-in-file"] if found[2] else [])

    @pytest.mark.parametrize(
        "command", ["ip addr add 10.0.0.5/24 dev eth7", "ifconfig eth7 10.0.0.5", "ip addr add 10.0.0.5/24 dev $X"]
    )
    def test_a_command_for_another_nic_is_told(self, command: str) -> None:
        nics, notes = interfaces.found({self.START: f"iface eth0 inet manual\n up {command}\n"})
        assert [n.address for n in nics] == [""]
        assert [(n.code, n.facts["command"]) for n in notes] == [("nic-by-command", command)]

    @pytest.mark.parametrize(
        ("ports", "over", "told"),
        [
            ("glob eth0-1", ("eth0", "eth1"), False),
            ("glob eth[2-3] eth0", ("eth2", "eth3"), True),
            ("eth0 regex eth[1-9] noregex ens3", ("eth0", "eth1", "ens3"), True),
            ("regex (a+)+b", (), True),
            ("all", (), True),
            ("none", (), False),
        ],
    )
    def test_members_of_a_bridge_by_pattern_are_known_or_told(self, ports: str, over: tuple[str, ...], told: bool) -> None:
        content = f"auto br0\niface br0 inet static\n address 10.0.0.5/24\n bridge_ports {ports}\niface eth1 inet manual\n"
        nics, notes = interfaces.found({self.START: content})
        assert [n.over for n in nics if n.kind == "bridge"] == [over]
        assert ("nics-by-pattern" in codes(notes)) == told
        assert not {n.name for n in nics} & {"glob", "regex", "eth0-1"}

    @settings(max_examples=20)
    @given(
        st.permutations(["address 10.0.0.5", "netmask 255.255.255.0", "gateway 10.0.0.1", "up true"]),
        st.sampled_from(["\t", "  ", ""]),
    )
    def test_order_blanks_and_lines_that_go_on_mean_the_same(self, lines: list[str], indent: str) -> None:
        plain = "iface eth0 inet static\n" + "".join(f"{indent}{line}\n" for line in lines)
        folded = "auto eth0\n# x\niface eth0 inet \\\n static\n" + "\n".join(line.replace(" ", " \\\n ") for line in lines)
        for content in (plain, folded):
            assert tied(interfaces.found({self.START: content})[0]) == {("eth0", "", "", "10.0.0.5/24")}


class TestNetworkd:
    def test_drop_ins_lists_and_further_sections_count(self) -> None:
        texts = {
            NETWORKD
            + "lan.network": "[Match]\nMACAddress=00-16-3E-51-0C-10 \\\n  0016.3e51.0c11\n[Network]\nAddress=10.0.0.5/24\n",
            NETWORKD
            + "lan.network.d/more.conf": "[Address]\nAddress=10.0.0.6/24\n[Address]\nAddress=fd00::1/64\n[Network]\nDHCP=ipv4\n",
        }
        nics, _ = interfaces.found(texts)
        assert [(n.mac, n.address, n.further, n.dhcp) for n in nics] == [
            (mac, "10.0.0.5/24", ("10.0.0.6/24",), True) for mac in (MAC, "00:16:3e:51:0c:11")
        ]

    def test_the_first_file_that_fits_hides_the_others(self) -> None:
        texts = {
            NETWORKD + "10-all.network": "[Match]\nName=eth*\n[Network]\nDHCP=yes\n",
            NETWORKD + "20-eth0.network": "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.5/24\n",
            NETWORKD + "30-lan.network": "[Match]\nName=lan0\n[Network]\nAddress=10.0.0.6/24\n",
        }
        nics, notes = interfaces.found(texts)
        assert tied(nics) == {("", "", "eth*", "DHCP"), ("lan0", "", "", "10.0.0.6/24")}
        assert [(n.code, n.facts["file"]) for n in notes] == [("file-not-used", f"{NETWORKD}20-eth0.network")]

    def test_devices_of_their_own_know_what_they_are_made_of(self) -> None:
        texts = {
            NETWORKD + "v.netdev": "[NetDev]\nName=v301\nKind=vlan\n[VLAN]\nId=301\n",
            NETWORKD + "v.network": "[Match]\nName=v301\n[Network]\nAddress=10.3.1.1/24\n",
            NETWORKD + "br.netdev": "[NetDev]\nName=br0\nKind=bridge\n",
            NETWORKD + "eth0.network": "[Match]\nName=eth0\n[Network]\nVLAN=v301\n",
            NETWORKD + "eth1.network": "[Match]\nName=eth1\n[Network]\nBridge=br0\n",
        }
        nics, _ = interfaces.found(texts)
        assert {n.name: (n.kind, n.over, n.vlan) for n in nics if n.kind != "nic"} == {
            "v301": ("vlan", ("eth0",), 301),
            "br0": ("bridge", ("eth1",), -1),
        }

    def test_conditions_of_xen_are_kept_and_an_exclamation_mark_stands_for_all_names(self) -> None:
        nic = one(NETWORKD + "x.network", "[Match]\nName=!eth0 eth1\nVirtualization=xen\nDriver=vif\n")
        assert (nic.patterns, nic.conditions) == (("!eth0", "!eth1"), ("driver=vif", "virtualization=xen"))

    def test_wireless_and_the_empty_file_that_hides_another_are_none(self) -> None:
        assert interfaces.found({NETWORKD + "w.network": "[Match]\nType=wlan\n", NETWORKD + "x.network": ""}) == ([], [])


@pytest.mark.parametrize(
    ("path", "content", "place"),
    [
        (RED_HAT + "eth0", "DEVICE=eth0\nIPADDR=10.003.001.254\nNETMASK=255.255.255.0\n", 2),
        (RED_HAT + "eth0", "DEVICE=eth0\nIPADDR=10.3.1.254\nNETMASK=0xffffff00\n", 2),
        (RED_HAT + "eth0", "DEVICE=eth0\nNETMASK=255.255.255\nIPADDR=10.3.1.254\n", 3),
        ("/etc/network/interfaces", "iface eth0 inet static\n address 10.0.0.05\n netmask 24\n", 1),
        (NETPLAN + "0.yaml", "network: {ethernets: {eth0: {addresses: [10.0.0.256/24]}}}\n", 1),
        (NETWORKD + "0.network", "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.5/40\n", 4),
        (PROFILES + "x", "[connection]\ntype=ethernet\ninterface-name=eth0\n[ipv4]\naddress1=10.0.0/24\n", 3),
    ],
)
def test_what_is_no_address_is_told_with_its_place(path: str, content: str, place: int) -> None:
    nics, notes = interfaces.found({path: content})
    assert [n.address for n in nics] == [""]
    assert [(n.code, n.facts["place"]) for n in notes] == [("address-odd", f"{path}:{place}")]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (NETPLAN + "0.yaml", "network: {ethernets: {eth0: {dhcp4: null, addresses: ['2001:db8::1/64', 192.0.2.1/24]}}}\n"),
        (NETWORKD + "0.network", '[Match]\nName="eth0"\n[Network]\nAddress=fd00::1/64\nAddress=192.0.2.1/24\n'),
        (NETWORKD + "0.network", "[Match]\nName='eth0'\nHost=other\n[Network]\nAddress=192.0.2.1/24\n"),
        ("/etc/network/interfaces", "iface eth0 inet6 static\n address fd00::1\n netmask 64\n"),
    ],
)
def test_other_spellings_are_read_without_a_word(path: str, content: str) -> None:
    nics, notes = interfaces.found({path: content})
    assert [(n.name, n.address) for n in nics] == [("eth0", "" if "inet6" in content else "192.0.2.1/24")]
    assert notes == []


def test_quoted_macs_and_conditions_on_the_host_are_kept() -> None:
    nic = one(NETWORKD + "0.network", f'[Match]\nMACAddress="{MAC}"\nHost=x\n')
    assert (nic.mac, nic.conditions) == (MAC, ("host=x",))


WICKED = "/etc/wicked/ifconfig/"


class TestWicked:
    @pytest.mark.parametrize(
        ("inside", "expected"),
        [
            ("<name>eth0</name><ipv4:dhcp><enabled>true</enabled></ipv4:dhcp>", ("eth0", "", "", True, "nic", (), -1)),
            ("<name>eth0</name><ipv4:dhcp/>", ("eth0", "", "", True, "nic", (), -1)),
            ("<name>eth0</name><ipv4:dhcp><enabled>false</enabled></ipv4:dhcp>", ("eth0", "", "", False, "nic", (), -1)),
            (
                "<name>eth0</name>\n<ipv4:static><address><local>10.0.0.5/24</local></address></ipv4:static>",
                ("eth0", "", "10.0.0.5/24", False, "nic", (), -1),
            ),
            (
                f'<name namespace="ethernet"><permanent-address>{MAC.upper()}</permanent-address></name>',
                ("", MAC, "", False, "nic", (), -1),
            ),
            (
                "<name>eth0.42</name><vlan><device>eth0</device><tag>42</tag></vlan>",
                ("eth0.42", "", "", False, "vlan", ("eth0",), 42),
            ),
            (
                "<name>br0</name><bridge><stp>false</stp><ports><port><device>eth0</device></port></ports></bridge>",
                ("br0", "", "", False, "bridge", ("eth0",), -1),
            ),
            (
                "<name>bond0</name><bond><slaves><slave><device>eth0</device></slave><slave><device>eth1</device></slave></slaves></bond>",
                ("bond0", "", "", False, "bond", ("eth0", "eth1"), -1),
            ),
            ("<name>mv0</name><macvlan><device>eth0</device></macvlan>", ("mv0", "", "", False, "other", ("eth0",), -1)),
        ],
    )
    def test_an_interface_is_read_with_what_it_is_tied_to(self, inside: str, expected: tuple[object, ...]) -> None:
        nic = one(WICKED + "a.xml", f"<!-- ours -->\n<interface>{inside}</interface>\n")
        assert (nic.name, nic.mac, nic.address, nic.dhcp, nic.kind, nic.over, nic.vlan) == expected
        assert nic.line == 2

    def test_a_file_holds_several_and_each_has_its_line(self) -> None:
        text = (
            '<?xml version="1.0"?>\n<interface>\n <name>eth0</name><link><master>br0</master></link></interface>\n'
            "<!-- <interface><name>eth7</name></interface> -->\n<interface>\n"
            "<name>br0</name><bridge><address>02:00:00:00:00:01</address></bridge></interface>\n"
            "<interface><name>wlan0</name><wireless/></interface>\n"
        )
        nics, notes = interfaces.found({WICKED + "all.xml": text})
        assert [(n.name, n.line, n.part_of, n.over, n.own_mac) for n in nics] == [
            ("eth0", 2, "br0", (), ""),
            ("br0", 5, "", ("eth0",), "02:00:00:00:00:01"),
        ]
        assert codes(notes) == ["mac-in-file", "bridge-in-guest"]

    def test_an_address_that_programs_read_differently_is_told(self) -> None:
        text = (
            "<interface><name>eth0</name><ipv4:static><address><local>10.0.0.005/24</local></address></ipv4:static></interface>"
        )
        assert codes(interfaces.found({WICKED + "a.xml": text})[1]) == ["address-odd"]

    @pytest.mark.parametrize(
        "text",
        [
            "<interface><name>eth0</name>",
            '<!DOCTYPE a [<!ENTITY b "cccc">]><interface><name>&b;</name></interface>',
            "<interface>&amp;&undefined;</interface>",
            "<!-- <interface/>",
            "<policy><match/></policy>",
            "no XML at all <",
        ],
    )
    def test_what_is_no_such_file_or_declares_entities_is_told(self, text: str) -> None:
        nics, notes = interfaces.found({WICKED + "a.xml": text})
        assert (nics, codes(notes)) == ([], ["file-not-read"])

    def test_one_that_is_tied_to_nothing_or_to_something_else_is_told(self) -> None:
        assert codes(interfaces.found({WICKED + "a.xml": "<interface/>"})[1]) == ["nic-tied-to-nothing"]
        nic = one(WICKED + "a.xml", '<interface><name namespace="modem"><id>7</id></name></interface>')
        assert (nic.name, nic.conditions) == ("", ("modem=7",))


def test_a_nic_that_two_files_configure_differently_is_told() -> None:
    texts = {
        "/etc/network/interfaces": "iface eth0 inet static\n address 10.0.0.5/24\n",
        NETPLAN + "0.yaml": "network: {ethernets: {eth0: {dhcp4: y}}}",
    }
    nics, notes = interfaces.found(texts)
    assert [n.name for n in nics] == ["eth0", "eth0"]
    assert codes(notes) == ["nic-configured-twice"]


@pytest.mark.parametrize(
    ("written", "mac"),
    [
        (MAC.upper(), MAC),
        ("0:16:3e:51:c:10", MAC),
        ("0016.3E51.0C10", MAC),
        ("0;22;62;81;12;16", MAC),
        ("0;22;62;81;12;999", ""),
        ("x", ""),
    ],
)
def test_a_mac_is_the_same_however_it_is_written(written: str, mac: str) -> None:
    assert address.mac(written) == mac


def test_no_field_of_an_interface_is_lost_on_the_way_to_a_survey() -> None:
    """Each is filled by some file, and read again as it was written."""
    texts = {
        **folder("network-manager", PROFILES),
        NETPLAN + "0.yaml": (DATA / "netplan-layers.yaml").read_text(),
        RED_HAT + "eth0": "DEVICE=eth0\nMASTER=bond0\nIPADDR1=10.0.0.1\nIPADDR2=10.0.0.2\nMACADDR=02:00:00:00:00:01\nONBOOT=no\n",
        NETWORKD + "x.network": "[Match]\nDriver=vif\n",
    }
    nics, _ = interfaces.found(texts)
    empty = Interface(file="")
    assert [f for f in Interface.model_fields if all(getattr(n, f) == getattr(empty, f) for n in nics)] == []
    assert [Interface.model_validate_json(n.model_dump_json()) for n in nics] == nics


@settings(max_examples=30)
@given(st.sampled_from([RED_HAT, SUSE, PROFILES, NETWORKD, WICKED, "/etc/network/interfaces.d/"]), st.text(max_size=80))
def test_no_content_stops_the_survey(where: str, content: str) -> None:
    for end in ("eth0", "a.network", "a.netdev", "a.xml"):
        interfaces.found({"/etc/network/interfaces": "source interfaces.d/*\n", where + end: content})
    interfaces.found({WICKED + "a.xml": f"<interface><name>{content}</name><vlan><tag>{content}</tag></vlan></interface>"})
    interfaces.found({NETPLAN + "a.yaml": json.dumps({"network": {"ethernets": {content: {"match": {"name": content}}}}})})
    assert netplan.read({}) == ([], [])
    assert list(itertools.chain(*interfaces.found({}))) == []
