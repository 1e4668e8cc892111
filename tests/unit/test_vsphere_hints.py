"""Ranges of addresses as ESXi hosts tell them, against a subnet: inside it, apart from it, or no proof at all."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from hikkoshi.vsphere import hints

SUBNET = IPv4Network("10.3.4.0/24")
hint = vim.host.PhysicalNic.NetworkHint


@pytest.mark.parametrize(
    ("told", "lies"),
    [
        ("10.3.4.1-10.3.4.254", "inside"),
        ("10.3.4.128-10.3.4.191", "inside"),
        ("10.3.4.0/24", "inside"),
        ("10.3.5.1-10.3.5.254", "apart"),
        ("10.3.5.0/24", "apart"),
        ("10.3.0.1-10.3.255.254", ""),  # as wide as whatever the host has heard
        ("0.0.0.1-255.255.255.254", ""),
        ("10.3.4.128-10.3.5.10", ""),
        ("10.3.3.1-10.3.4.0", ""),
        ("10.3.4.255-10.3.5.10", ""),
        ("fe80::1-fe80::2", ""),
        ("10.3.4.1", ""),
        ("", ""),
        ("10.3.4.1-10.3.4.9-10.3.4.11", ""),
    ],
)
def test_a_range_lies_inside_the_subnet_or_apart_from_it_or_tells_nothing(told: str, lies: str) -> None:
    assert hints._lies(told, SUBNET) == lies


@given(st.text(max_size=40))
def test_any_text_is_read(told: str) -> None:
    assert hints._lies(told, SUBNET) in ("inside", "apart", "")


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**16))
def test_what_lies_inside_or_apart_really_does(first: int, more: int) -> None:
    last = min(first + more, 2**32 - 1)
    lies = hints._lies(f"{IPv4Address(first)}-{IPv4Address(last)}", SUBNET)
    inside = [int(SUBNET[0]) <= n <= int(SUBNET[-1]) for n in (first, last)]
    covers = first < int(SUBNET[0]) and last > int(SUBNET[-1])
    assert lies == ("inside" if all(inside) else "" if any(inside) or covers else "apart")


@pytest.mark.parametrize(
    ("ranges", "subnet", "verdict"),
    [
        ([], SUBNET, "unseen"),
        (["0.0.0.1-255.255.255.254"], SUBNET, "unseen"),
        (["10.3.5.1-10.3.5.2"], SUBNET, "other"),
        (["10.3.5.1-10.3.5.2", "10.3.4.1-10.3.4.2"], SUBNET, "right"),
        (["10.3.4.1-10.3.4.2"], None, "unseen"),
    ],
)
def test_nothing_seen_is_never_right(ranges: list[str], subnet: IPv4Network | None, verdict: str) -> None:
    assert hints._verdict(ranges, subnet) == verdict


@pytest.mark.parametrize(
    ("told", "port"),
    [
        (hint(device="vmnic0"), ""),
        (
            hint(connectedSwitchPort=vim.host.PhysicalNic.CdpInfo(devId="sw1", portId="Gi0/3", vlan=304)),
            "sw1 Gi0/3, native VLAN 304 (CDP)",
        ),
        (hint(lldpInfo=vim.host.PhysicalNic.LldpInfo(chassisId="00:1b", portId="Gi0/3")), "00:1b Gi0/3 (LLDP)"),
    ],
)
def test_the_switchs_port_is_named_as_cdp_or_lldp_tell_it(told: Any, port: str) -> None:
    assert hints._port(told) == port
