"""Files of shell assignments: read as a shell reads them, and changed by whole words only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest.files import sysconfig
from hikkoshi.guest.interfaces import ifcfg, interfaces

RED_HAT, SUSE = "/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-"
DRIVERS = ["vmw_pvscsi", "mptspi"]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("A=x", "x"),
        ("export A='x y' # comment", "x y"),
        ("A=x#y", "x#y"),
        ('A="x \\\ny"', "x y"),
        ('A="x\ny"', "x\ny"),
        ("A='x \\\ny'", "x \\\ny"),
        ("A=x\\\ny", "xy"),
        ("A=eth\"0\"'.7'", "eth0.7"),
        ("A=$'eth1'", "eth1"),
        ("A=$'a\\tb'", "a\tb"),
        ('A=$"x"', "x"),
        ('A="x \\"y\\" \\$z"', 'x "y" $z'),
        ("A=x\\ y", "x y"),
        ("B=1 A=x; C=2", "x"),
        ("A=x; A+=y", "xy"),
        ('B=eth\nA="${B}0"', "eth0"),
        ("declare -x A=x", "x"),
        ("A=x\r\nB=y\r\n", "x"),
        ("A=", ""),
        ("A='it'\"'\"'s'", "it's"),
    ],
)
def test_a_value_is_what_a_shell_makes_of_it(content: str, value: str) -> None:
    assert sysconfig.values(content)["A"] == value
    assert sysconfig.unknown(content) == []


@pytest.mark.parametrize(
    "word",
    [
        "`cat /sys/class/net/eth0/address`",
        "$(cat /x)",
        "x$(a '(' b)y",
        '"$(cat "/x")"',
        "${B:-y}",
        "$UNSET",
        "$1",
        "(a b)",
        '"$((1 + 2))"',
    ],
)
def test_what_only_a_shell_knows_is_told_and_goes_as_a_whole(word: str) -> None:
    content = f"X=1\nA={word} # c\nZ='2'\n"
    assert sysconfig.values(content) == {"X": "1", "Z": "2"}
    assert [(a.key, a.line) for a in sysconfig.unknown(content)] == [("A", 2)]
    assert sysconfig.with_value(content, "A", "new") == "X=1\nA=new # c\nZ='2'\n"


@pytest.mark.parametrize(
    "content",
    ["if test -e /x; then\nA=x\nfi\n", "test -e /x && A=x\n", "case $1 in a) A=x ;; esac\n", "test -e /x ||\n# c\nA=x\n"],
)
def test_what_is_set_only_perhaps_is_not_known(content: str) -> None:
    assert sysconfig.values(content) == {}
    assert [a.key for a in sysconfig.unknown(content)] == ["A"]


@pytest.mark.parametrize(
    "content", ["A=x program\n", "program A=x\n", "# A=x\n", "echo 'A=x'\n", "A=x | y\n", "B='\nA=x\n'\n", " A =x\n"]
)
def test_what_is_no_setting_of_the_file_is_none(content: str) -> None:
    assert "A" not in {a.key for a in sysconfig.assignments(content)}


def test_a_quote_without_an_end_hides_only_its_own_line() -> None:
    found = sysconfig.assignments("A='x\nB=y\n")
    assert [(a.key, a.value) for a in found] == [("A", None), ("B", "y")]


def test_brackets_without_an_end_cost_little() -> None:
    content = "A=$(\n" * 500 + "B=y\n"
    assert sysconfig.values(content) == {"B": "y"}


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*"\"'`$\\\n ;#&|(){}=+", "A=", "A=(", "B=", "x", "$A", "$(", "\r\n", "if ", "fi"]), max_size=14))
def test_whatever_stands_there_a_value_set_is_set(pieces: list[str]) -> None:
    content = "".join(pieces)
    sysconfig.unknown(content)
    new = sysconfig.with_value(content, "KEY", '"a b"')
    assert new.startswith(content)
    assert sysconfig.with_value("KEY=`x`\n" + content, "KEY", "y").startswith("KEY=y\n")


class TestLists:
    """SUSE's INITRD_MODULES."""

    @pytest.mark.parametrize(
        "content",
        [
            'INITRD_MODULES="xenblk \\\nprocessor"\n',
            "INITRD_MODULES='xenblk\nprocessor'\n",
            'INITRD_MODULES=xenblk" processor"\n',
        ],
    )
    def test_one_over_lines_or_of_pieces_is_replaced_whole(self, content: str) -> None:
        assert sysconfig.initrd_modules(content, DRIVERS) == 'INITRD_MODULES="vmw_pvscsi mptspi processor"\n'

    def test_one_that_goes_on_elsewhere_has_one_value(self) -> None:
        after = sysconfig.initrd_modules('INITRD_MODULES="processor"\nINITRD_MODULES+=" xenblk"\n', DRIVERS)
        assert sysconfig.values(after)["INITRD_MODULES"] == "vmw_pvscsi mptspi processor"

    def test_one_that_only_a_shell_knows_stays_and_is_added_to(self) -> None:
        before = 'INITRD_MODULES="$(cat /etc/own) thermal"\n'
        after = sysconfig.initrd_modules(before, DRIVERS)
        assert after == before + 'INITRD_MODULES="vmw_pvscsi mptspi $INITRD_MODULES"\n'
        assert sysconfig.initrd_modules(after, DRIVERS) == after
        assert sysconfig.suse(before)
        assert [n.code for n in sysconfig.told({"/etc/sysconfig/kernel": before})] == ["setting-by-shell"]


class TestNics:
    def test_a_hwaddr_that_a_program_finds_becomes_the_planned_one(self) -> None:
        before = "DEVICE=eth0\nHWADDR=`cat /sys/class/net/eth0/address`\nBOOTPROTO=dhcp\n#HWADDR=00:16:3E:AA:00:00\n"
        after = before.replace("`cat /sys/class/net/eth0/address`", "00:16:3E:05:00:00")
        assert ifcfg.prepared(before, "00:16:3e:05:00:00") == after
        _, notes = interfaces.found({RED_HAT + "eth0": before})
        assert [(n.code, n.facts) for n in notes] == [("setting-by-shell", {"place": f"{RED_HAT}eth0:2", "key": "HWADDR"})]

    @pytest.mark.parametrize(
        ("path", "content", "name", "over"),
        [
            (SUSE + "br0", "BRIDGE='yes'\nBRIDGE_PORTS='eth0 \\\n eth1'\n", "br0", ("eth0", "eth1")),
            (SUSE + "br0", 'BRIDGE=yes\nBRIDGE_PORTS="eth0\neth1"\n', "br0", ("eth0", "eth1")),
            (RED_HAT + "x", 'DEVICE=eth"0"\n', "eth0", ()),
            (RED_HAT + "x", "DEVICE=$'eth1'\nNAME=$'a b'\n", "eth1", ()),
            (RED_HAT + "x", "DEVICE=eth0 BOOTPROTO=dhcp; ONBOOT=yes\n", "eth0", ()),
        ],
    )
    def test_names_are_read_out_of_their_quotes(self, path: str, content: str, name: str, over: tuple[str, ...]) -> None:
        (nic,), notes = interfaces.found({path: content})
        assert (nic.name, nic.over) == (name, over)
        assert not {n.code for n in notes} & {"file-not-read", "setting-by-shell"}

    def test_what_cannot_be_a_name_is_no_member(self) -> None:
        (nic,), notes = interfaces.found({SUSE + "br0": "BRIDGE=yes\nBRIDGE_PORTS='eth0 \"eth1\"'\n"})
        assert nic.over == ("eth0",)
        assert [n.code for n in notes] == ["file-not-read", "bridge-in-guest"]


@pytest.mark.parametrize("opened", ["(", "(a 'b", "`", "$(", "${", "'", '"'])
def test_what_is_opened_and_never_closed_ends_with_its_line(opened: str) -> None:
    assert sysconfig.values(f"A={opened}\nB=1\n") == {"B": "1"}
