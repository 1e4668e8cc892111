"""Files that switch a NIC's merging off at every start: text → text, once, and nothing else touched."""

import configparser
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.remedy import persistence

STANZA = "auto eth0\niface eth0 inet static\n    address 10.3.1.254/24\n"
EDITS: dict[str, Callable[[str], str]] = {
    "modprobe": persistence.modprobe_conf,
    "ifcfg": lambda t: persistence.ifcfg(t, "eth0", "lro"),
    "ifup-local": lambda t: persistence.ifup_local(t, ["eth0", "eth1"], "lro", "/sbin/ethtool"),
    "dispatcher": lambda t: persistence.dispatcher(t, ["eth0"], "gro", "/usr/sbin/ethtool"),
    "interfaces": lambda t: persistence.interfaces(t, "eth0", "lro", "/sbin/ethtool"),
    "keyfile": lambda t: persistence.keyfile(t, "lro"),
    "link": lambda t: persistence.link(t, "lro"),
}
LINES = [
    *("options vmxnet3 disable_lro=0 debug=1", "options vmxnet3 debug=1", "options e1000 disable_lro=1", "alias eth0 vmxnet3"),
    *('ETHTOOL_OPTS="speed 100 duplex full autoneg off"', "ETHTOOL_OPTS='-K eth0 lro on gro on; -G eth0 rx 4096'"),
    *('ETHTOOL_OPTS="-K eth1 lro on"', "ETHTOOL_OPTS=", 'ETHTOOL_OPTS="broken', "DEVICE=eth0", "ONBOOT=yes", "exit 0"),
    *("#!/bin/bash", "# a comment, lro on", "[ethtool]", "feature-lro=true", "feature-gro = true", "[connection]", "[Link]"),
    *("LargeReceiveOffload=yes", "Name=eth0", "iface eth0 inet6 auto", "    post-up /sbin/ethtool -K $IFACE lro off || true"),
    *("iface eth1 inet static \\", "    address 10.3.2.254/24", "auto eth1", persistence._BEGIN, persistence._END, "", " "),
]
TEXT = st.lists(
    st.tuples(
        st.sampled_from(LINES) | st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30),
        st.sampled_from(["\n", "\n", "\r\n"]),
    ),
    max_size=15,
).map(lambda lines: "".join(a + b for a, b in lines))


@pytest.mark.parametrize("way", EDITS)
@given(text=TEXT)
def test_an_edit_made_twice_is_the_edit_made_once(way: str, text: str) -> None:
    text = STANZA + text if way == "interfaces" else text
    try:
        once = EDITS[way](text)
    except BadInput:
        return  # a script in another language
    assert EDITS[way](once) == once


@pytest.mark.parametrize("way", EDITS)
@given(text=TEXT)
def test_lines_that_say_nothing_of_it_stay_in_their_order(way: str, text: str) -> None:
    def others(t: str) -> list[str]:
        words = ["lro", "gro", "LargeReceive", "ETHTOOL_OPTS", "hikkoshi", "case ", "esac", "#!/bin/sh", "[ethtool]"]
        words += ["[Link]"]
        t = persistence._BLOCK.sub("", t)  # what stands between our own marks is ours, whoever wrote it
        return [line for line in t.split("\n") if line.strip() and not any(w in line for w in words)]

    text = STANZA + text if way == "interfaces" else text
    try:
        after = EDITS[way](text)
    except BadInput:
        return
    assert others(after) == others(text)


@pytest.mark.parametrize("way", [w for w in EDITS if w != "interfaces"])
def test_a_file_that_is_not_there_is_made(way: str) -> None:
    made = EDITS[way]("")
    assert made.endswith("\n")
    assert "lro" in made or "gro" in made or "LargeReceiveOffload=no" in made


def sourced(text: str, variable: str) -> str:
    """What a shell takes from an ifcfg file."""
    done = subprocess.run(["sh", "-c", f'{text}\nprintf %s "${variable}"'], capture_output=True, text=True, check=True)
    return done.stdout


class TestIfcfg:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("DEVICE=eth0\n", "-K eth0 lro off"),
            ("DEVICE=eth0\nETHTOOL_OPTS=\n", "-K eth0 lro off"),
            ('ETHTOOL_OPTS="speed 100 duplex full"\n', "speed 100 duplex full; -K eth0 lro off"),
            ("ETHTOOL_OPTS='-K eth0 lro on gro on'\n", "-K eth0 gro on; -K eth0 lro off"),
            ('ETHTOOL_OPTS="-K eth0 lro on; -G eth0 rx 4096"\n', "-G eth0 rx 4096; -K eth0 lro off"),
            ('ETHTOOL_OPTS="-K eth0 lro off" # ours\n', "-K eth0 lro off"),
            ('ETHTOOL_OPTS="wol d"\nETHTOOL_OPTS="-K eth0 tso off"\n', "-K eth0 tso off; -K eth0 lro off"),
        ],
    )
    def test_a_shell_that_reads_it_finds_what_was_there_and_lro_off(self, before: str, after: str) -> None:
        assert sourced(persistence.ifcfg(before, "eth0", "lro"), "ETHTOOL_OPTS") == after

    def test_a_comment_behind_the_value_stays(self) -> None:
        assert persistence.ifcfg('ETHTOOL_OPTS="wol d" # no wake\n', "eth0", "lro").endswith(" # no wake\n")


class TestModprobe:
    def test_other_options_of_the_module_stay(self) -> None:
        after = persistence.modprobe_conf("options vmxnet3 debug=1 disable_lro=0 x=2\n")
        assert after == "options vmxnet3 debug=1 disable_lro=1 x=2\n"

    def test_another_module_is_left_alone(self) -> None:
        before = "options vmxnet disable_lro=0\nalias eth0 vmxnet3"
        assert persistence.modprobe_conf(before) == before + "\noptions vmxnet3 disable_lro=1\n"


class TestScripts:
    def run(self, script: str, *arguments: str) -> str:
        fake = script.replace("/sbin/ethtool", "echo").replace("/usr/sbin/ethtool", "echo")
        return subprocess.run(["sh", "-s", *arguments], input=fake, capture_output=True, text=True, check=True).stdout

    def test_ifup_local_switches_off_for_its_nics_and_no_other(self) -> None:
        script = EDITS["ifup-local"]("#!/bin/sh\necho hello $1\nexit 0\n")
        assert self.run(script, "eth1") == "-K eth1 lro off\nhello eth1\n"
        assert self.run(script, "eth2") == "hello eth2\n"

    def test_a_dispatcher_acts_when_its_nic_came_up_and_at_no_other_event(self) -> None:
        script = EDITS["dispatcher"]("").replace("/usr/sbin/ethtool", "echo")
        assert self.run(script, "eth0", "up") == "-K eth0 gro off\n"
        assert self.run(script, "eth0", "down") == self.run(script, "eth1", "up") == ""

    def test_a_block_of_an_earlier_remedy_gives_way(self) -> None:
        script = persistence.ifup_local(EDITS["ifup-local"](""), ["eth5"], "gro", "/sbin/ethtool")
        assert script.count("ethtool") == 1
        assert self.run(script, "eth5") == "-K eth5 gro off\n"

    def test_a_script_of_another_language_is_refused(self) -> None:
        with pytest.raises(BadInput, match="not one of the shell"):
            EDITS["ifup-local"]("#!/usr/bin/perl\nprint 1;\n")


class TestInterfaces:
    def test_the_line_belongs_to_the_nics_own_stanza(self) -> None:
        before = "auto lo eth0 eth1\niface lo inet loopback\niface eth1 inet dhcp\n\n" + STANZA
        after = persistence.interfaces(before, "eth0", "lro", "/usr/sbin/ethtool")
        added = "    post-up /usr/sbin/ethtool -K $IFACE lro off || true\n"
        assert after == before.replace("inet static\n", "inet static\n" + added)

    def test_a_continued_line_is_not_torn(self) -> None:
        after = persistence.interfaces("iface eth0 inet \\\n  static\n  address 10.0.0.1/8\n", "eth0", "lro", "/sbin/ethtool")
        assert after.startswith("iface eth0 inet \\\n  static\n    post-up ")

    @pytest.mark.parametrize("text", ["", "iface eth00 inet dhcp\n", "# iface eth0 inet dhcp\n", "iface eth0:1 inet static\n"])
    def test_a_file_without_the_nics_stanza_is_refused(self, text: str) -> None:
        with pytest.raises(BadInput, match="no stanza of eth0"):
            persistence.interfaces(text, "eth0", "lro", "/sbin/ethtool")


class TestIni:
    @pytest.mark.parametrize(
        "before",
        [
            "",
            "[connection]\nid=a\n",
            "[ethtool]\n\n[ipv4]\nmethod=auto\n",
            "[ethtool]\nfeature-lro=true\nfeature-gro=true\n",
            "[connection]\nfeature-lro=true\n[ethtool]\nfeature-lro = true",
        ],
    )
    def test_a_keyfile_read_again_has_it_off_and_the_rest_as_it_was(self, before: str) -> None:
        def read(text: str) -> dict[str, dict[str, str]]:
            parsed = configparser.ConfigParser(interpolation=None)
            parsed.read_string(text)
            return {name: dict(parsed[name]) for name in parsed.sections()}

        old, new = read(before), read(persistence.keyfile(before, "lro"))
        assert new.pop("ethtool") == old.pop("ethtool", {}) | {"feature-lro": "false"}
        assert new == old

    def test_a_link_file_keeps_what_names_the_nic(self) -> None:
        before = "[Match]\nMACAddress=00:16:3e:05:00:00\n\n[Link]\nName=eth0\n"
        assert persistence.link(before, "lro") == before.replace("[Link]\n", "[Link]\nLargeReceiveOffload=no\n")
        assert "GenericReceiveOffload=no" in persistence.link(before, "gro")
