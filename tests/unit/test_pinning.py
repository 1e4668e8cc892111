"""What ties a NIC to its name: udev's rules as udev reads them, link files, and lists of names."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest import kept
from hikkoshi.guest.interfaces import pinning

DATA = Path(__file__).parents[1] / "data/udev"
FIRST, SECOND = "00:16:3e:05:00:00", "00:16:3e:05:00:01"
MACS = {"eth0": FIRST, "eth1": SECOND.upper()}
SWAPPED = {"eth1": FIRST, "eth0": SECOND}
LINKS = "/etc/systemd/network/"


def rules(name: str) -> str:
    return (DATA / name).read_text()


def read(line: str, path: str = pinning.RULES) -> dict[str, str]:
    return pinning.read({path: line + "\n"})


def codes(line: str) -> list[str]:
    return [n.code for n in pinning.told({pinning.RULES: line + "\n"})]


class TestReading:
    def test_a_rule_may_go_over_lines_and_only_its_operators_say_what_it_does(self) -> None:
        assert pinning.read({pinning.RULES: rules("continued.rules")}) == SWAPPED

    @pytest.mark.parametrize(
        ("name", "macs"),
        [
            ("suse10-30-net_persistent_names.rules", SWAPPED),
            ("debian4-z25_persistent-net.rules", {"eth0": FIRST, "eth1": SECOND}),
        ],
    )
    def test_files_of_older_systems_have_other_names_and_other_words(self, name: str, macs: dict[str, str]) -> None:
        texts = {pinning.FOLDER + name.partition("-")[2]: rules(name)}
        assert pinning.read(texts) == macs
        assert pinning.home(texts) in texts
        assert kept.of(texts) == texts

    @pytest.mark.parametrize(
        "line",
        [
            f'ATTR{{address}}=="{FIRST}",NAME="lan"',
            f'SUBSYSTEM=="net" ATTRS{{address}} == "{FIRST}"  NAME = "lan"',
            f'KERNEL=="eth?", SYSFS{{address}}=="{FIRST}", NAME+="lan"',
            f'SUBSYSTEM=="net", ATTR{{address}}==i"{FIRST.upper()}", NAME="lan"',  # either case, of systemd 256
            f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="02:00:00:00:00:01|{FIRST}", NAME="lan"',
            f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", RUN+="/sbin/ip link set dev %k name lan"',
        ],
    )
    def test_spellings_of_one_rule(self, line: str) -> None:
        assert read(line)["lan"] == FIRST
        assert read(line, pinning.FOLDER + "10-own.rules")["lan"] == FIRST

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST.upper()}", NAME="lan"', ["rule-never-fits"]),
            ('SUBSYSTEM=="net", KERNELS=="vif-0", NAME="lan"', ["rule-not-by-mac"]),
            ('SUBSYSTEM=="net", ATTR{address}=="00:16:3e:*", NAME="lan"', ["rule-not-by-mac"]),
            ('SUBSYSTEM=="net", PROGRAM="/bin/namer %k", NAME="%c"', ["rule-not-by-mac"]),
            ('KERNEL=="tun", NAME="net/%k"', []),  # no NIC
            (f'# SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", NAME="lan"', []),
            (f'SUBSYSTEM!="net", ATTR{{address}}=="{FIRST}", NAME="lan"', []),
            (f'SUBSYSTEM=="net", ACTION!="add", ATTR{{address}}=="{FIRST}", NAME="lan"', []),
        ],
    )
    def test_what_ties_no_mac_is_told_where_it_names_a_nic(self, line: str, told: list[str]) -> None:
        assert read(line) == {}
        assert codes(line) == told

    def test_a_rule_comes_before_a_link_file_and_that_before_a_list(self) -> None:
        texts = {
            "/etc/iftab": f"a mac {FIRST.upper()}\nb mac {SECOND}\nc mac 00:16:3e:05:00:02 # third\n",
            LINKS + "10-d.link": f"[Match]\nPermanentMACAddress={FIRST}\n[Link]\nName=d\n",
            LINKS + "20-e.link": f"[Match]\nMACAddress={SECOND}\n[Link]\nName=e\n",
            LINKS + "30-late.link": f"[Match]\nMACAddress={SECOND}\n[Link]\nName=late\n",
            pinning.RULES: f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", NAME="f"\n',
        }
        assert pinning.read(texts) == {"f": FIRST, "e": SECOND, "c": "00:16:3e:05:00:02"}

    @pytest.mark.parametrize(
        "link",
        [
            f"[Match]\nMACAddress={FIRST} {SECOND}\n[Link]\nName=lan\n",  # one name for two
            f"[Match]\nMACAddress={FIRST}\n[Link]\nNamePolicy=mac\nName=lan\n",  # the policy comes first
            "[Match]\nOriginalName=eth*\n[Link]\nName=lan\n",
            f"[Match]\nMACAddress={FIRST}\n[Link]\nMTUBytes=9000\n[Other]\nName=lan\n",
        ],
    )
    def test_link_files_that_tie_no_name_to_one_mac(self, link: str) -> None:
        assert pinning.read({LINKS + "x.link": link}) == {}

    def test_a_drop_in_of_a_link_file_counts(self) -> None:
        texts = {LINKS + "x.link": f"[Match]\nMACAddress={FIRST}\n", LINKS + "x.link.d/n.conf": "[Link]\nName=lan\n"}
        assert pinning.read(texts) == {"lan": FIRST}


def test_a_file_of_rules_is_kept_where_it_names_nics_or_will_get_such_rules() -> None:
    texts = {pinning.RULES: "# nothing yet\n", pinning.FOLDER + "50-disks.rules": 'KERNEL=="sd*", NAME="disk"\n'}
    assert list(kept.of(texts)) == [pinning.RULES]


class TestChanging:
    def test_a_rule_over_lines_is_kept_or_goes_as_a_whole(self) -> None:
        before = rules("continued.rules")
        assert pinning.rules(before, SWAPPED) == before
        after = pinning.rules(before, MACS)
        assert pinning.read({pinning.RULES: after}) == {"eth0": FIRST, "eth1": SECOND}
        assert "a comment between" not in after
        assert 'LABEL="end"' in after

    def test_an_old_udev_gets_the_words_that_it_knows(self) -> None:
        before = rules("suse10-30-net_persistent_names.rules")
        after = pinning.rules(before, MACS)
        assert after == before.replace("eth0", "x").replace("eth1", "eth0").replace("x", "eth1")

    def test_capitals_become_small_since_udev_compares_letter_by_letter(self) -> None:
        line = f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{SECOND.upper()}", NAME="eth1"\n'
        after = pinning.rules(line, {"eth1": SECOND})
        assert SECOND in after
        assert SECOND.upper() not in after

    def test_a_rule_by_place_gives_way_to_one_by_mac(self) -> None:
        after = pinning.rules('SUBSYSTEM=="net", KERNELS=="vif-0", NAME="eth0"\n', MACS)
        assert "vif-0" not in after
        assert pinning.read({pinning.RULES: after}) == {"eth0": FIRST, "eth1": SECOND}

    def test_a_file_of_the_guests_own_only_loses_what_contradicts(self) -> None:
        keep = 'SUBSYSTEM=="net", ATTR{address}=="00:16:3e:99:00:00", NAME="dmz"\n'
        wrong = f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", NAME="lan"\n'
        assert pinning.rules(keep + wrong, MACS, complete=False) == keep

    @settings(max_examples=40)
    @given(
        st.permutations(['SUBSYSTEM=="net"', 'ACTION=="add"', f'ATTR{{address}}=="{FIRST}"', 'NAME="lan"', 'KERNEL=="eth*"']),
        st.sampled_from([", ", ",", " ", ", \\\n\t", ",\\\n# x\n   "]),
    )
    def test_order_blanks_and_lines_that_go_on_mean_the_same(self, tokens: list[str], between: str) -> None:
        content = between.join(tokens) + "\n"
        assert pinning.read({pinning.RULES: content}) == {"lan": FIRST}
        assert pinning.rules(content, {"lan": FIRST}) == content
        assert pinning.rules(content, {"lan": SECOND}).count("NAME=") == 1

    @settings(max_examples=40)
    @given(
        st.lists(st.sampled_from([*'=:+-"\\\n#,{} ', 'NAME="eth0"', f'ATTR{{address}}=="{FIRST}"', "eth1", FIRST]), max_size=20)
    )
    def test_whatever_stands_there_twice_is_as_once(self, pieces: list[str]) -> None:
        once = pinning.rules("".join(pieces), MACS)
        assert pinning.rules(once, MACS) == once
        pinning.told({pinning.RULES: once})


class TestHolding:
    """What ties a name to a MAC on VMware, too."""

    RULE = f'SUBSYSTEM=="net", ACTION=="add", {{}}, ATTR{{{{address}}}}=="{FIRST}", NAME="lan0"\n'

    @pytest.mark.parametrize(
        ("condition", "holds"),
        [
            ('DRIVERS=="?*"', True),
            ('DRIVERS=="vmxnet3"', True),
            ('DRIVERS=="e1000|vmxnet*"', True),
            ('DRIVERS!="vif"', True),
            ('KERNEL=="eth*"', True),
            ('KERNEL=="eth[0-9]*|wlan*"', True),
            ('SUBSYSTEMS=="pci"', True),
            ('ATTR{type}=="1", ATTR{dev_id}=="0x0", KERNELS=="*"', True),
            ('ENV{ID_NET_DRIVER}=="vmxnet3", NAME==""', True),
            ('RUN+="/usr/local/sbin/tell"', True),
            ('DRIVERS=="vif"', False),
            ('DRIVERS=="e1000"', False),
            ('DRIVERS=="8139cp"', False),
            ('DRIVERS!="vmxnet3"', False),
            ('SUBSYSTEMS=="xen"', False),
            ('KERNELS=="0000:00:04.0"', False),
            ('KERNELS=="vif-0"', False),
            ('KERNEL=="eth0"', False),  # only by luck
            ('KERNEL=="enX*"', False),
            ('ATTR{ifindex}=="2"', False),
            ('ATTRS{vendor}=="0x8086"', False),
            ('ENV{ID_PATH}=="xen-vif-0"', False),
            ('ENV{ID_NET_NAME_SLOT}=="?*"', False),
            ('PROGRAM="/usr/local/sbin/lan"', False),
            ('TEST=="/sys/hypervisor/type"', False),
        ],
    )
    def test_every_key_of_a_rule_must_fit_the_new_nic(self, condition: str, holds: bool) -> None:
        texts = {pinning.FOLDER + "10-net.rules": self.RULE.format(condition)}
        assert pinning.read(texts) == {"lan0": FIRST}
        assert pinning.holding(texts, "vmxnet3") == ({"lan0": FIRST} if holds else {})
        after = pinning.rules(texts[pinning.FOLDER + "10-net.rules"], {"lan0": FIRST}, driver="vmxnet3")
        assert pinning.holding({pinning.RULES: after}, "vmxnet3") == {"lan0": FIRST}
        assert pinning.rules(after, {"lan0": FIRST}, driver="vmxnet3") == after

    @pytest.mark.parametrize(
        ("condition", "holds"),
        [
            ("OriginalName=*", True),
            ("OriginalName=eth*", True),
            ("OriginalName=!enp*", True),
            ("Driver=vmxnet3", True),
            ("Driver=!vif", True),
            ("Path=*\nType=ether", True),
            ("Virtualization=vmware", True),
            ("Virtualization=!xen", True),
            ("Driver=vif\nDriver=", True),  # taken back
            ("Driver=vif", False),
            ("Driver=8139cp", False),
            ("Path=xen-vif-*", False),
            ("Path=pci-0000:00:04.0", False),
            ("Virtualization=xen", False),
            ("OriginalName=eth0", False),
            ("Type=wlan", False),
            ("Host=other", False),
            ("KernelCommandLine=xen", False),
            ("Property=ID_NET_DRIVER=vif", False),
        ],
    )
    def test_every_setting_of_a_link_file_must_fit_the_new_nic(self, condition: str, holds: bool) -> None:
        texts = {LINKS + "10-lan0.link": f"[Match]\nMACAddress={FIRST}\n{condition}\n[Link]\nName=lan0\n"}
        assert pinning.read(texts) == {"lan0": FIRST}
        assert pinning.holding(texts, "vmxnet3") == ({"lan0": FIRST} if holds else {})
        assert pinning.holding({LINKS + "10-lan0.link": pinning.link("lan0", FIRST)}, "vmxnet3") == {"lan0": FIRST}

    def test_a_new_rule_is_never_made_like_one_that_does_not_hold(self) -> None:
        old = f'SUBSYSTEM=="net", DRIVERS=="8139cp", SYSFS{{address}}=="{FIRST}", NAME="eth0"\n'
        after = pinning.rules(old, MACS, driver="e1000")
        assert pinning.holding({pinning.RULES: after}, "e1000") == {"eth0": FIRST, "eth1": SECOND}


class TestOrder:
    """Which of several rules counts."""

    LAN = f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", NAME="lan0"\n'

    @pytest.mark.parametrize("first", ['NAME:="lan7"', 'NAME:="lan7", OPTIONS+="last_rule"'])
    def test_a_name_that_is_final_stays(self, first: str) -> None:
        texts = {
            pinning.FOLDER + "10-x.rules": f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", {first}\n',
            pinning.RULES: f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", NAME="eth0"\n',
        }
        assert pinning.read(texts) == {"lan7": FIRST}

    @pytest.mark.parametrize(
        ("before", "after", "named", "holds"),
        [
            ('GOTO="end"\n', 'LABEL="end"\n', False, False),
            ('SUBSYSTEM=="net", GOTO="end"\n', 'LABEL="end"\n', False, False),
            ('SUBSYSTEM!="net", GOTO="end"\n', 'LABEL="end"\n', True, True),
            ('ACTION!="add|change", GOTO="end"\n', 'LABEL="end"\n', True, True),
            ('KERNEL!="eth*", GOTO="end"\n', 'LABEL="end"\n', True, True),
            ('PROGRAM="/bin/x", GOTO="end"\n', 'LABEL="end"\n', True, False),  # nobody knows
            ('GOTO="end"\nLABEL="end"\n', "", True, True),
            ('GOTO="nowhere"\n', "", True, True),  # udev says so, and goes on
            ('# GOTO="end"\n', 'LABEL="end"\n', True, True),
        ],
    )
    def test_what_is_jumped_over_has_no_say(self, before: str, after: str, named: bool, holds: bool) -> None:
        texts = {pinning.FOLDER + "10-x.rules": before + self.LAN + after}
        assert pinning.read(texts) == ({"lan0": FIRST} if named else {})
        assert pinning.holding(texts, "vmxnet3") == ({"lan0": FIRST} if holds else {})


class TestSpellings:
    @pytest.mark.parametrize(
        "line",
        [
            f'KERNEL="eth*", SYSFS{{address}}="{FIRST}", NAME="lan"',  # of Enterprise Linux 4: one = compares
            f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", RUN+="/sbin/nameif lan {FIRST}"',
            f'SUBSYSTEM=="net", RUN+="/sbin/nameif lan {FIRST}"',
            f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", '
            "RUN+=\"/bin/sh -c 'ip link set eth0 name lan && ip link set lan up'\"",
            f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", RUN+="/sbin/ip link set dev $env{{INTERFACE}} name lan; true"',
        ],
    )
    def test_old_and_own_ways_to_name_a_nic(self, line: str) -> None:
        assert read(line) == {"lan": FIRST}
        assert codes(line) == []

    @pytest.mark.parametrize(
        "line",
        [
            'SUBSYSTEM=="net", RUN+="/bin/sh -c \'ip link set $env{INTERFACE} name lan%n\'"',
            'SUBSYSTEM=="net", ACTION=="add", RUN+="/sbin/nameif -c /etc/mactab.own"',
            'SUBSYSTEM=="net", PROGRAM="/bin/x %k", RUN+="/sbin/ip link set %k name %c"',
        ],
    )
    def test_a_program_that_renames_by_itself_is_told(self, line: str) -> None:
        assert read(line) == {}
        assert codes(line) == ["rule-not-by-mac"]
        assert kept.of({pinning.FOLDER + "90-x.rules": line + "\n"})

    def test_a_program_that_only_sets_a_nic_up_is_none(self) -> None:
        assert codes('SUBSYSTEM=="net", RUN+="/sbin/ip link set dev %k mtu 9000"') == []

    @pytest.mark.parametrize(
        ("match", "new"),
        [
            ("Path=xen-vif-0", {"vif-0": "lan0"}),
            ("OriginalName=eth0", {"eth0": "lan0"}),
            ("Path=xen-vif-*", {}),
            ("Path=pci-0000:00:04.0", {}),
        ],
    )
    def test_a_link_file_by_xens_bus_names_the_nic_in_its_place(self, match: str, new: dict[str, str]) -> None:
        assert pinning.renamed({LINKS + "10-lan0.link": f"[Match]\n{match}\n[Link]\nName=lan0\n"}) == new


@pytest.mark.parametrize(
    ("name", "match", "told"),
    [
        ("00-all.link", "OriginalName=*", ["link-file-first"]),
        ("05-eth.link", "OriginalName=eth*\nType=ether", ["link-file-first"]),
        ("99-default.link", "OriginalName=*", []),
        ("00-one.link", f"MACAddress={FIRST}", []),
        ("00-xen.link", "Virtualization=xen", []),
        ("00-wlan.link", "Type=wlan", []),
    ],
)
def test_a_link_file_for_all_that_comes_before_ours_is_told(name: str, match: str, told: list[str]) -> None:
    text = f"[Match]\n{match}\n[Link]\nNamePolicy=kernel\n"
    assert [n.code for n in pinning.told({LINKS + name: text})] == told


def test_what_names_nics_is_kept_whole_by_a_survey_though_it_is_a_unit_like_others() -> None:
    ours = {pinning.UNIT: pinning.unit(), pinning.SCRIPT: pinning.script({"eth0": "00:16:3e:00:00:01"})}
    assert kept.of(ours) == ours
    assert kept.of({"/etc/systemd/system/other.service": pinning.unit()}) == {}


@pytest.mark.parametrize(
    ("line", "renamed"),
    [
        ('SUBSYSTEM=="net", KERNEL=="eth*", NAME="lan%n"', {"eth0": "lan0", "eth1": "lan1", "eth9": "lan9"}),
        ('SUBSYSTEM=="net", KERNEL=="eth[01]", NAME="net$number"', {"eth0": "net0", "eth1": "net1"}),
        ('SUBSYSTEM=="net", ACTION=="add", NAME="x%k"', {"eth0": "xeth0", "eth9": "xeth9"}),
        ('SUBSYSTEM=="net", KERNELS=="vif-*", NAME="lan%n"', {"vif-0": "lan0", "vif-1": "lan1"}),
        ('SUBSYSTEM=="net", KERNEL=="eth0|eth1", NAME="a$kernel"', {"eth0": "aeth0", "eth1": "aeth1"}),
        ('SUBSYSTEM=="net", KERNEL=="eth0", NAME="wan"', {"eth0": "wan"}),
    ],
)
def test_a_name_that_udev_puts_the_number_into_is_known_and_gives_way_to_one_by_mac(line: str, renamed: dict[str, str]) -> None:
    found = pinning.renamed({pinning.RULES: line + "\n"})
    assert renamed.items() <= found.items()
    assert codes(line) == ["rule-not-by-mac"]
    wanted = dict.fromkeys(list(renamed.values())[:1], MACS["eth0"])
    assert line not in pinning.rules(line + "\n", wanted)


@pytest.mark.parametrize(
    "line",
    [
        'SUBSYSTEM=="net", KERNEL=="eth*", NAME="eth%n"',
        'SUBSYSTEM=="net", KERNEL=="*", NAME="%k"',
        'SUBSYSTEM=="net", KERNEL=="eth*", NAME="%c"',
        'SUBSYSTEM=="net", KERNEL=="wlan*", NAME="lan%n"',
    ],
)
def test_a_name_that_stays_or_that_only_a_program_knows_is_none(line: str) -> None:
    assert pinning.renamed({pinning.RULES: line + "\n"}) == {}
    assert line in pinning.rules(line + "\n", {"eth0": FIRST, "lan0": SECOND})


def test_a_name_with_a_number_in_it_is_no_tie_to_its_mac() -> None:
    line = f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", NAME="lan%n"'
    assert (read(line), codes(line)) == ({}, ["rule-not-by-mac"])
    assert line not in pinning.rules(line + "\n", {"lan0": FIRST})


@pytest.mark.parametrize(
    ("content", "pinned", "renamed", "told"),
    [
        (f"lan mac {FIRST} arp 1\n", {"lan": FIRST}, {}, 0),
        (f"lan arp 1 \\\n  mac {FIRST.upper()}\n", {"lan": FIRST}, {}, 0),
        (f"lan mac={FIRST}\n", {"lan": FIRST}, {}, 0),
        ("lan businfo vif-0\n", {}, {"vif-0": "lan"}, 1),
        ("lan driver netfront\nwan mac 00:16:3E:*\n", {}, {}, 2),
        (f"# lan mac {FIRST}\n\nlan\n", {}, {}, 0),
    ],
)
@pytest.mark.parametrize("path", ["/etc/iftab", "/etc/mactab"])
def test_a_list_of_names_ties_by_mac_and_whatever_else_it_goes_by_is_told(
    path: str, content: str, pinned: dict[str, str], renamed: dict[str, str], told: int
) -> None:
    texts = {path: content}
    assert (pinning.read(texts), pinning.renamed(texts)) == (pinned, renamed)
    assert [n.code for n in pinning.told(texts)] == ["rule-not-by-mac"] * told


def test_a_program_that_renames_by_a_list_of_its_own_is_told_and_stops_nothing() -> None:
    texts = {pinning.RULES: f'SUBSYSTEM=="net", ATTR{{address}}=="{FIRST}", RUN+="/sbin/nameif -c /root/macs"\n'}
    assert (pinning.read(texts), pinning.renamed(texts)) == ({}, {})
    assert [n.code for n in pinning.told(texts)] == ["rule-not-by-mac"]
