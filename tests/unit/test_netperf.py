"""What a link can carry, and what it cannot: the check of a figure's unit that needs no second measurement."""

import os
from pathlib import Path

import pytest

from hikkoshi.errors import ToolFailed
from hikkoshi.network import host
from hikkoshi.network.throughput import netperf
from hikkoshi.network.throughput.netperf import plausible
from hikkoshi.network.throughput.units import Quantity, Reading


def measured(printed: str, unit: str, test: str = "TCP_STREAM", **other: str) -> Reading:
    return Reading("netperf", "keys", test, Quantity(printed, unit), other=other)


@pytest.mark.parametrize(
    ("measurement", "link"),
    [
        (measured("94.15", "10^6bits/s"), 100e6),
        (measured("94.93", "10^6bits/s", TRANSPORT_MSS="1460"), 100e6),  # without time stamps
        (measured("11.22", "MBytes/s"), 100e6),
        (measured("0.01", "GBytes/s"), 100e6),
        (measured("0.02", "GBytes/s"), 150e6),  # 172 Mbit/s, or as little as 129
        (measured("112.21", "MBytes/sec"), 1e9),
        (measured("990.00", "10^6bits/s", TRANSPORT_MSS="8948"), 1e9),
        (measured("99.00", "10^6bits/s", "UDP_STREAM"), 100e6),
        (measured("0.00", "10^6bits/s"), 100e6),
    ],
)
def test_what_a_link_carries_is_green(measurement: Reading, link: float) -> None:
    assert plausible(measurement, link)


@pytest.mark.parametrize(
    ("measurement", "link"),
    [
        (measured("94.15", "MBytes/s"), 100e6),
        (measured("97.00", "10^6bits/s"), 100e6),
        (measured("103.00", "10^6bits/s", "UDP_STREAM"), 100e6),
        (measured("94.15", "10^9bits/s"), 10e9),
        (measured("5835.18", "10^6bits/sec", "UDP_STREAM"), 1e9),  # what was sent, over a link that dropped it
    ],
)
def test_what_it_cannot_is_red_and_says_what_it_can(measurement: Reading, link: float) -> None:
    check = plausible(measurement, link)
    assert not check
    assert str(measurement.throughput) == check.found
    assert check.expected
    assert check.remedy


@pytest.mark.parametrize("unit", ["", "Usec/s", "Trans/s", "10^0bits/s"])
def test_a_figure_without_a_known_unit_is_red_however_small(unit: str) -> None:
    assert not plausible(measured("0.01", unit), 100e6)


def test_a_client_that_ssh_cannot_find_is_no_client_without_netperf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'ssh: Could not resolve hostname pc9: Name or service not known' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ToolFailed, match="Could not resolve hostname pc9") as e:
        netperf.probe(host.parse("ssh://admin@pc9"))
    assert "install" not in str(e.value)
    assert "ssh admin@pc9 true" in e.value.problems[0].remedy
