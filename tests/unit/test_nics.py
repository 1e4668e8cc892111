"""The guest's name for each NIC, what configures it, and what the plan makes of it."""

from pathlib import Path

import pytest

from hikkoshi.approval import plan
from hikkoshi.guest import nics, preparation
from hikkoshi.guest.facts import GuestFacts, Interface
from hikkoshi.guest.interfaces import ifcfg, interfaces, pinning
from hikkoshi.guest.survey import Survey, names
from hikkoshi.params.home import Home

DATA = Path(__file__).parents[1] / "data"
FILE, PROFILES = "/etc/network/interfaces", "/etc/NetworkManager/system-connections/"
MACS = [f"00:16:3e:05:00:0{n}" for n in range(10)]  # of the gateway


@pytest.fixture
def survey() -> Survey:
    """The lab's gateway as 10-survey found it."""
    return Survey.model_validate_json((DATA / "survey/gateway.json").read_bytes())


def having(survey: Survey, count: int, texts: dict[str, str], **changed: object) -> Survey:
    """The gateway with some of its NICs, and with these files in place of its ifcfg files."""
    found, notes = interfaces.found(texts)
    facts = {
        "interfaces": tuple(found),
        "pinned": pinning.read(texts),
        "renamed": pinning.renamed(texts),
        "warnings": (*notes, *pinning.told(texts)),
        "texts": {**{p: t for p, t in survey.guest.texts.items() if "ifcfg" not in p}, **texts},
        **changed,
    }
    guest = survey.guest.model_copy(update=facts)
    xen = survey.xen.model_copy(update={"vifs": survey.xen.vifs[:count]})
    return survey.model_copy(update={"guest": guest, "xen": xen})


def stanzas(*lines: str) -> dict[str, str]:
    return {FILE: "".join(f"iface {line}\n" for line in lines)}


def made(home: Home, survey: Survey) -> plan.Plan:
    return plan.make(home, home.guest("gateway"), home.site(), survey)


def told(home: Home, survey: Survey) -> list[str]:
    return [
        n.code
        for n in made(home, survey).preparation.notes
        if n.code.startswith(("nic", "rule", "file", "bond", "bridge", "vlan"))
    ]


class TestNames:
    @pytest.mark.parametrize(
        ("count", "texts", "expected"),
        [
            (2, stanzas("eth0 inet dhcp", "eth1 inet dhcp"), ("eth0", "eth1")),
            (1, stanzas("ens3 inet dhcp"), ("ens3",)),  # the one name that is left
            (2, stanzas("eth0 inet dhcp", "lan0 inet dhcp"), ("eth0", "lan0")),
            (2, stanzas("enX0 inet dhcp"), ("enX0", "enX1")),
            (1, {"/etc/systemd/network/a.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n"}, ("enX0",)),
            (1, {"/etc/systemd/network/a.network": "[Match]\nName=e*\n[Network]\nDHCP=yes\n"}, ("eth0",)),
            (1, {PROFILES + "x": "[match]\ninterface-name=ens33;enp1s0;\n"}, ("ens33",)),
            (1, {PROFILES + "x": "[match]\ninterface-name=ens33;eth0;\n"}, ("eth0",)),
            (1, {PROFILES + "x": f"[ethernet]\nmac-address={MACS[0]}\n"}, ("eth0",)),  # by its MAC, whatever its name
            (1, {FILE: "iface br0 inet static\n bridge_ports ens3\n address 10.3.1.9/24\n"}, ("ens3",)),
            (2, {FILE: f"rename mac/{MACS[0]}=lan\niface lan inet dhcp\n"}, ("lan", "eth1")),
        ],
    )
    def test_a_nic_has_the_name_that_the_guests_files_have_for_it(
        self, home: Home, survey: Survey, count: int, texts: dict[str, str], expected: tuple[str, ...]
    ) -> None:
        found = having(survey, count, texts)
        assert names(found) == expected
        assert [n.name for n in made(home, found).vm.nics] == list(expected)
        assert nics.naming(found.guest, MACS[:count]).unknown == ()

    def test_names_of_which_nobody_knows_the_nic_are_a_red_check(self, home: Home, survey: Survey) -> None:
        found = having(survey, 2, stanzas("ens3 inet dhcp", "ens4 inet dhcp"))
        (red,) = [c for c in plan.checks(home.guest("gateway"), home.site(), found) if c.code == "nic-names-known" and not c]
        assert red.found == f"not known: ens3 ({MACS[0]}), ens4 ({MACS[1]}); names in the guest's files: ens3, ens4"
        assert "eth0" not in names(found)

    def test_a_mac_for_each_name_makes_it_known(self, home: Home, survey: Survey) -> None:
        rules = "".join(f'SUBSYSTEM=="net", ATTR{{address}}=="{MACS[1 - n]}", NAME="ens{3 + n}"\n' for n in range(2))
        found = having(survey, 2, {**stanzas("ens3 inet dhcp", "ens4 inet dhcp"), pinning.RULES: rules})
        assert names(found) == ("ens4", "ens3")
        assert nics.naming(found.guest, MACS[:2]).unknown == ()

    def test_one_name_for_two_nics_is_a_red_check_and_loses_none(self, home: Home, survey: Survey) -> None:
        net = "/etc/sysconfig/network-scripts/ifcfg-"
        found = having(survey, 2, {f"{net}{n}": f"DEVICE=eth0\nHWADDR={MACS[n]}\n" for n in range(2)})
        assert nics.naming(found.guest, MACS[:2]).unknown == (f"eth0 ({MACS[1]})",)
        assert len(set(names(found))) == 2

    @pytest.mark.parametrize(
        "texts",
        [
            {pinning.RULES: 'SUBSYSTEM=="net", KERNEL=="eth1", NAME="dmz"\nSUBSYSTEM=="net", KERNELS=="vif-0", NAME="lan"\n'},
            {
                "/etc/systemd/network/a.link": "[Match]\nOriginalName=eth0\n[Link]\nName=lan\n",
                "/etc/systemd/network/b.link": "[Match]\nOriginalName=eth1\n[Link]\nName=dmz\n",
            },
        ],
    )
    def test_a_name_for_the_first_and_one_for_the_second_nic_are_known(self, survey: Survey, texts: dict[str, str]) -> None:
        found = having(survey, 2, {**stanzas("lan inet dhcp", "dmz inet dhcp"), **texts})
        assert names(found) == ("lan", "dmz")
        assert nics.naming(found.guest, MACS[:2]).unknown == ()

    def test_the_kernels_argument_ifname_ties_a_name_to_a_mac(self, survey: Survey) -> None:
        found = having(survey, 2, stanzas("lan inet dhcp", "dmz inet dhcp"))
        g = found.guest
        arguments = (f"ifname=lan:{MACS[1].upper()}", f"ifname=dmz:{MACS[0]}")
        kernels = tuple(k.model_copy(update={"arguments": arguments}) for k in g.kernels)
        assert nics.naming(g.model_copy(update={"kernels": kernels}), MACS[:2]).names == ("dmz", "lan")

    def test_a_rule_in_capitals_has_no_say(self, survey: Survey) -> None:
        rule = 'SUBSYSTEM=="net", ATTR{{address}}=="{}", NAME="eth{}"\n'
        wrong = "".join(rule.format(MACS[n].upper(), 1 - n) for n in range(2))
        assert names(having(survey, 2, {pinning.RULES: wrong})) == ("eth0", "eth1")


class TestPlan:
    def test_keyfiles_are_planned_by_mac_and_what_fits_nothing_is_told(self, home: Home, survey: Survey) -> None:
        where = DATA / "interfaces/network-manager"
        texts = {PROFILES + p.name: p.read_text().replace("00:16:3E:51:0C:10", MACS[0]) for p in where.iterdir()}
        texts = {path: text.replace("00:16:3e:51:0c:11", MACS[1]) for path, text in texts.items()}
        found = having(survey, 2, texts)
        machine = made(home, found).machine
        assert [(n.mac, n.address) for n in machine.nics] == [(MACS[0], "192.0.2.61/24"), (MACS[1], "192.0.2.62/26")]
        assert told(home, found) == ["nic-tied-to-nothing", "nic-patterns-unmatched"]

    def test_what_only_xens_driver_finds_configures_nothing_afterwards(self, home: Home, survey: Survey) -> None:
        texts = {f"/etc/netplan/{p.name}": p.read_text() for p in (DATA / "interfaces/netplan").iterdir()}
        found = having(survey, 1, texts)
        assert [(n.name, n.address) for n in made(home, found).machine.nics] == [("eth0", "192.0.2.81/24")]
        assert told(home, found) == ["file-not-read", "nic-conditions-unmet"]

    @pytest.mark.parametrize(
        ("condition", "met"),
        [("Driver=vmxnet3", True), ("Driver=vif", False), ("Virtualization=xen", False), ("Virtualization=vm", True)],
    )
    def test_conditions_are_judged_for_the_new_machine(self, home: Home, survey: Survey, condition: str, met: bool) -> None:
        text = f"[Match]\n{condition}\n[Network]\nAddress=10.3.1.254/24\n"
        found = having(survey, 1, {"/etc/systemd/network/a.network": text})
        assert (made(home, found).machine.nics[0].address == "10.3.1.254/24") == met
        assert ("nic-conditions-unmet" in told(home, found)) != met

    def test_a_profile_is_for_no_nic_that_it_leaves_out(self, home: Home, survey: Survey) -> None:
        text = "[connection]\ntype=ethernet\n{}[ethernet]\nmac-address-blacklist={};\n[ipv4]\nmethod=auto\n"
        for name in ("", "interface-name=eth0\n"):
            out = having(survey, 1, {PROFILES + "x": text.format(name, MACS[0])})
            assert told(home, out) == ["nic-tied-to-nothing", "nic-unconfigured"][bool(name) :]
            other = having(survey, 1, {PROFILES + "x": text.format(name, MACS[1])})
            assert told(home, other) == ["nic-tied-to-nothing"][bool(name) :]

    def test_an_address_on_a_bridge_belongs_to_the_subnet_of_its_nic(self, home: Home, survey: Survey) -> None:
        texts = {FILE: "iface br0 inet static\n bridge_ports eth0\n address 10.99.0.1/24\n"}
        found = having(survey, 1, texts)
        (red,) = [c for c in plan.checks(home.guest("gateway"), home.site(), found) if c.code == "addresses-in-subnets" and not c]
        assert "br0 on eth0 10.99.0.1/24" in red.found
        assert told(home, found) == ["bridge-in-guest"]
        assert made(home, found).machine.nics[0].address == ""

    def test_a_profile_for_a_nic_that_is_gone_stops_nothing(self, home: Home, survey: Survey) -> None:
        gone = "[ethernet]\nmac-address=00:16:3e:99:00:00\n"
        for content, red in ((gone, []), (f"[connection]\ninterface-name=eth0\n{gone}", ["hwaddrs-of-nics"])):
            found = having(survey, 1, {PROFILES + "old": content, FILE: "iface eth0 inet dhcp\n"})
            checks = plan.checks(home.guest("gateway"), home.site(), found)
            assert [c.code for c in checks if c.code in ("hwaddrs-of-nics", "nic-names-known") and not c] == red
            assert ("nic-mac-not-planned" in told(home, found)) == (not red)

    def test_a_mac_that_the_nic_has_anyway_is_no_concern_of_the_port_group(self, home: Home, survey: Survey) -> None:
        for mac, codes in ((MACS[0], []), ("02:00:00:00:00:01", ["mac-in-file"])):
            found = having(survey, 1, {FILE: f"iface eth0 inet dhcp\n hwaddress {mac}\n"})
            assert [n.code for n in made(home, found).preparation.notes if n.code == "mac-in-file"] == codes

    def test_a_survey_of_an_earlier_version_is_read(self, survey: Survey) -> None:
        nic = survey.guest.interfaces[0]
        assert (nic.place, nic.kind, nic.patterns) == (nic.file, "nic", ())


class TestTies:
    """What the preparation writes, so that each NIC keeps its name."""

    def edits(self, survey: Survey, count: int, texts: dict[str, str], **changed: object) -> dict[str, str]:
        found: GuestFacts = having(survey, count, texts, **changed).guest
        macs = dict(zip(nics.naming(found, MACS[:count]).names, MACS, strict=False))
        done = preparation.plan(found, controller="pvscsi", nic_model="vmxnet3", macs=macs).edits
        return {e.path: e.after or "" for e in done if e.path.startswith(("/etc/udev", "/etc/sysconfig/network"))}

    def test_suses_files_get_rules_and_no_hwaddr(self, survey: Survey) -> None:
        texts = {"/etc/sysconfig/network/ifcfg-eth0": (DATA / "interfaces/suse/ifcfg-eth0").read_text()}
        (rules,) = self.edits(survey, 1, texts).items()
        assert rules[0] == pinning.RULES
        assert pinning.read(dict([rules])) == {"eth0": MACS[0]}

    def test_rules_stay_in_the_file_that_the_guests_udev_has_for_them(self, survey: Survey) -> None:
        path = pinning.FOLDER + "30-net_persistent_names.rules"
        old = f'SUBSYSTEM=="net", ACTION=="add", SYSFS{{address}}=="{MACS[1]}", IMPORT="/lib/udev/rename_netiface %k eth1"\n'
        changed = self.edits(survey, 2, {path: old, "/etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='dhcp'\n"})
        assert list(changed) == [path]
        assert changed[path] == old + old.replace("eth1", "eth0").replace(MACS[1], MACS[0])

    def test_every_name_of_an_ifcfg_file_of_red_hat_is_tied_by_hwaddr(self, survey: Survey) -> None:
        net = "/etc/sysconfig/network-scripts/ifcfg-"
        texts = {f"{net}Office": "DEVICE=eth0\n", f"{net}eth0.7": "DEVICE=eth0.7\nVLAN=yes\n", f"{net}eth1.bak": "DEVICE=eth1\n"}
        assert self.edits(survey, 2, texts) == {f"{net}Office": f"DEVICE=eth0\nHWADDR={MACS[0].upper()}\n"}

    def test_a_link_file_by_the_kernels_name_makes_room_for_one_by_mac(self, survey: Survey) -> None:
        own = "/etc/systemd/network/01-own.link"
        texts = {own: "[Match]\nOriginalName=eth0\n[Link]\nName=lan\n", **stanzas("lan inet dhcp")}
        found = having(survey, 1, texts, systemd=True).guest
        done = preparation.plan(found, controller="pvscsi", nic_model="vmxnet3", macs={"lan": MACS[0]})
        assert {e.path: e.after for e in done.edits if "link" in e.path} == {
            own: None,
            pinning.link_path("lan"): pinning.link("lan", MACS[0]),
        }

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            (
                pinning.FOLDER + "10-net.rules",
                f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="vif", ATTR{{address}}=="{MACS[0]}", NAME="lan0"\n',
            ),
            (pinning.FOLDER + "10-net.rules", f'KERNEL=="eth0", SUBSYSTEM=="net", ATTR{{address}}=="{MACS[0]}", NAME="lan0"\n'),
            ("/etc/systemd/network/20-lan0.link", f"[Match]\nMACAddress={MACS[0]}\nDriver=vif\n[Link]\nName=lan0\n"),
            ("/etc/systemd/network/20-lan0.link", f"[Match]\nMACAddress={MACS[0]}\nOriginalName=eth0\n[Link]\nName=lan0\n"),
        ],
    )
    def test_a_name_that_only_holds_under_xen_gets_a_tie_that_holds(self, survey: Survey, path: str, content: str) -> None:
        for systemd, made in ((True, pinning.link_path("lan0")), (False, pinning.RULES)):
            found = having(survey, 1, {path: content, **stanzas("lan0 inet dhcp")}, systemd=systemd).guest
            assert nics.naming(found, MACS[:1]).names == ("lan0",)
            plan = preparation.plan(found, controller="pvscsi", nic_model="vmxnet3", macs={"lan0": MACS[0]})
            after = found.texts | {e.path: e.after or "" for e in plan.edits}
            assert made in after
            assert pinning.holding(after, "vmxnet3") == {"lan0": MACS[0]}

    def test_a_tie_that_holds_gets_no_second(self, survey: Survey) -> None:
        own = {"/etc/systemd/network/20-lan0.link": f"[Match]\nMACAddress={MACS[0]}\nDriver=!vif\n[Link]\nName=lan0\n"}
        found = having(survey, 1, {**own, **stanzas("lan0 inet dhcp")}, systemd=True).guest
        plan = preparation.plan(found, controller="pvscsi", nic_model="vmxnet3", macs={"lan0": MACS[0]})
        assert [e.path for e in plan.edits if "link" in e.path] == []

    def test_a_profile_by_mac_alone_stays_as_it_is(self, survey: Survey) -> None:
        net = "/etc/sysconfig/network-scripts/ifcfg-"
        assert self.edits(survey, 1, {f"{net}Office": f"HWADDR={MACS[0]}\nBOOTPROTO=dhcp\n"}) == {}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (stanzas("eth0 inet dhcp"), "its name"),
        ({**stanzas("eth0 inet dhcp"), "/etc/iftab": f"eth0 mac {MACS[0]}\n"}, MACS[0]),
        ({PROFILES + "x": f"[ethernet]\nmac-address={MACS[0]}\n"}, MACS[0]),
        ({PROFILES + "x": "[match]\ninterface-name=e*;\n"}, "e*"),
        ({"/etc/netplan/0.yaml": "network: {ethernets: {x: {match: {driver: vif}}}}"}, "driver=vif"),
        ({PROFILES + "x": "[connection]\ntype=ethernet\n"}, "nothing"),
    ],
)
def test_the_survey_says_what_an_interface_is_tied_to(survey: Survey, texts: dict[str, str], words: str) -> None:
    found = having(survey, 1, texts).guest
    (nic,) = nics.configured(found, {"eth0": MACS[0]})["eth0"] or found.interfaces
    assert nics.tie(found, nic) == words


def test_only_ifcfg_files_of_nics_are_tied() -> None:
    assert ifcfg.ties(Interface(name="eth0", file="/etc/sysconfig/network-scripts/ifcfg-x"))
    assert not ifcfg.ties(Interface(name="br0", kind="bridge", file="/etc/sysconfig/network-scripts/ifcfg-br0"))
    assert not ifcfg.ties(Interface(name="eth0", file="/etc/sysconfig/network/ifcfg-eth0"))
