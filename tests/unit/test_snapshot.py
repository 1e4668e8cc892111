"""Collections read again from their raw text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.counters import Feature
from hikkoshi.network.diagnosis import snapshot

DATA = Path(__file__).parents[1] / "data/diagnosis"
MARK = "00112233445566aa"


def raw(*sections: tuple[str, str], status: int = 0) -> str:
    body = "".join(f"@{MARK} {status} {command}\n{text}\n" for command, text in sections)
    return f"@hikkoshi {MARK}\n{body}@{MARK} end\n"


def recorded(name: str) -> list[snapshot.Snapshot]:
    text = next(DATA.glob(f"{name}.*.txt")).read_text()
    return [snapshot.parse(piece.partition("\n")[2]) for piece in text.split("==== ")[1:]]


def test_a_recorded_gateway_is_read_with_its_nics_and_what_tcpdump_saw() -> None:
    before, after, *_ = recorded("tap")
    nic = after.nics["eth6"]
    assert (nic.driver, nic.mtu, nic.mac, nic.carrier) == ("tun", 1500, "00:16:3e:05:00:06", True)
    assert nic.lro == Feature(on=False, fixed=True)
    assert nic.gro == Feature(on=True, fixed=False)
    assert nic.oversized
    assert nic.told
    assert list(nic.told) == [1500]
    assert before.nics["eth6"].oversized is None
    assert after.forwards
    assert after.counts["IpFragFails"] > before.counts["IpFragFails"]
    assert after.ethtool == "/usr/sbin/ethtool"
    assert after.missing == {"nmcli"}


def test_a_namespace_is_not_a_whole_machine_and_an_old_guest_without_namespaces_is() -> None:
    assert not recorded("tap")[0].whole
    assert recorded("el5-tools")[0].whole


def test_an_old_guest_is_read_although_its_ethtool_knows_no_lro() -> None:
    guest = recorded("el5-tools")[0]
    assert guest.release == "CentOS release 5.11 (Final)"
    assert guest.nics["eth0"].lro is None
    assert guest.nics["eth0"].traffic
    assert guest.parameters == {"disable_lro", "num_tqs"}
    assert guest.conntrack == (211, 65536)


def test_a_guest_without_ethtool_still_has_its_nics_and_counts() -> None:
    guest = recorded("el5-without-ethtool")[0]
    assert guest.nics["eth0"].mtu == 1500
    assert guest.nics["eth0"].traffic
    assert {"ethtool", "nmcli"} <= guest.missing


def test_a_module_that_modinfo_does_not_find_has_unknown_parameters_not_none() -> None:
    assert snapshot.parse(raw(("modinfo -p vmxnet3", ""), status=1)).parameters is None
    assert snapshot.parse(raw(("modinfo -p vmxnet3", ""))).parameters == frozenset()


@pytest.mark.parametrize(
    ("switches", "bridges", "forwards"),
    [
        ("ipv4/ip_forward:0\nipv4/conf/eth0/forwarding:0", False, False),
        ("ipv4/ip_forward:1", False, True),
        ("ipv4/ip_forward:0\nipv4/conf/eth0/forwarding:1", False, True),
        ("ipv4/ip_forward:0\nipv6/conf/all/forwarding:1", False, True),
        ("ipv4/ip_forward:0", True, True),
        ("", False, None),
    ],
)
def test_routing_on_any_nic_and_bridging_are_forwarding(switches: str, bridges: bool, forwards: bool | None) -> None:
    text = raw(("grep -H . ipv4/ip_forward", switches))
    if bridges:
        text += raw(("ls -d */brport", "eth1/brport"))
    assert snapshot.parse(text).forwards is forwards


def test_our_own_mark_in_what_a_guest_prints_is_what_it_printed() -> None:
    raw = f"@hikkoshi {MARK}\n@{MARK} 0 uname -r\n@{MARK} as printed\n@{MARK} \n@{MARK} end\n"
    assert snapshot.parse(raw).kernel == f"@{MARK} as printed\n@{MARK}"


@pytest.mark.parametrize("cut", ["", "hello\n", f"@hikkoshi {MARK}\n@{MARK} 0 uname -r\n6.1\n"])
def test_what_is_no_whole_collection_is_refused_and_names_its_file(cut: str) -> None:
    with pytest.raises(BadInput, match=r"(?s)no whole collection.*guest-before.txt"):
        snapshot.parse(cut, "guest-before.txt")


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40))
def test_nothing_that_a_program_prints_can_pass_for_another_programs_output(line: str) -> None:
    for told in (line, f"@hikkoshi {MARK}x", "@ffffffffffffffff 0 uname -r", f"@hikkoshi {MARK}"):
        text = raw(("log", told), ("uname -r", "2.6.18"))
        assert snapshot.parse(text).kernel == "2.6.18"


def test_every_recorded_collection_cut_anywhere_is_refused() -> None:
    whole = next(DATA.glob("el5-tools.*.txt")).read_text().split("==== ")[1].partition("\n")[2]
    for at in range(0, len(whole) - 1, 997):
        with pytest.raises(BadInput):
            snapshot.parse(whole[:at])
