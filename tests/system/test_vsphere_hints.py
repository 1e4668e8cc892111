"""What the hosts of a running vCenter (vcsim) have seen on their physical NICs, against the plan."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hikkoshi.check import Check
from hikkoshi.params.home import Home
from hikkoshi.vsphere import hints, session
from hikkoshi.vsphere.spec import VirtualNic, VmSpec
from hikkoshi_lab import proxy, site, vcsim
from hikkoshi_lab.proxy import Fault

pytestmark = pytest.mark.needs("vcsim", "openssl")
HOSTS = ("DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2")
GROUPS = {"eth3": "vlan304", "eth7": "vlan503", "eth10": "servers"}  # the last one is on the standard switch of the first host
Hints = dict[str, list[dict[str, Any]]]  # {host: as QueryNetworkHint gives it}
CDP = {"devId": "sw1.example.org", "portId": "GigabitEthernet0/3", "vlan": 1}
LLDP = {
    "chassisId": "00:1b:54:aa:bb:00",
    "portId": "ge-0/0/7",
    "timeToLive": 120,
    "parameter": [{"key": "System Name", "value": "sw2"}],
}


def seen(*subnets: tuple[int, str], **more: Any) -> Hints:
    """All hosts see these VLANs and ranges on vmnic1, the distributed switch's, and VLAN 210 on vmnic0."""
    told = [{"vlanId": vlan, "ipSubnet": text} for vlan, text in subnets]
    standard = {"device": "vmnic0", "subnet": [{"vlanId": 210, "ipSubnet": "10.2.10.1-10.2.10.254"}]}
    return {host: [standard, {"device": "vmnic1", "subnet": told, **more}] for host in HOSTS}


RIGHT = ((304, "10.3.4.1-10.3.4.254"), (503, "10.5.3.128-10.5.3.191"))
Ask = Callable[[Hints], dict[str, Check]]


@pytest.fixture
def ask(home: Home) -> Iterator[Ask]:
    """{NIC: its check} with a vCenter whose hosts have seen that."""
    with ExitStack() as stack:

        def checks(told: Hints, fault: Fault | None = None) -> dict[str, Check]:
            lab, params = home.outputs / "lab", home.site()
            lab.mkdir(parents=True, exist_ok=True)
            (lab / "hints.json").write_text(json.dumps(told))
            server = stack.enter_context(vcsim.start(lab, "-network-hints", str(lab / "hints.json")))
            front = stack.enter_context(proxy.start(server, lab, home.root / "received"))
            here = params.vsphere.model_copy(update={"server": f"127.0.0.1:{front.port}"})
            v = stack.enter_context(session.connect(home, here))
            site.shape(v, params, lab / "tmp", lambda words: None)
            if fault:
                front.faults.soap["QueryNetworkHint"] = fault
            nics = tuple(
                VirtualNic(
                    name=name,
                    mac=f"00:16:3e:05:00:{n:02x}",
                    segment=s,
                    port_group=params.segments[s].port_group,
                    vlan=params.segments[s].vlan,
                )
                for n, (name, s) in enumerate(GROUPS.items())
            )
            spec = VmSpec(
                name="gateway",
                guest_id="centos64Guest",
                hardware_version=10,
                vcpus=1,
                memory_mb=640,
                disk_bytes=1 << 20,
                controller="pvscsi",
                nic_model="vmxnet3",
                nics=nics,
            )
            found = hints.checks(v, here, spec, params.segments)
            return dict(zip(GROUPS, found, strict=True))

        yield checks


def test_a_vlan_that_all_hosts_see_with_its_subnet_is_green(ask: Ask) -> None:
    found = ask(seen(*RIGHT))
    assert [c for c in found.values() if not c or c.unseen] == []
    assert found["eth7"].found.count("10.5.3.128-10.5.3.191 (vmnic1)") == 3
    assert found["eth10"].found == "DC0_C0_H0: 10.2.10.1-10.2.10.254 (vmnic0)"


def test_a_vlan_that_was_not_seen_is_not_green_and_called_not_proved(ask: Ask) -> None:
    found = ask(seen(RIGHT[0]))
    assert [name for name, c in found.items() if c.unseen] == ["eth7"]
    assert all(found.values()), "it stops nothing"
    assert "not seen" in found["eth7"].found
    assert "not proved, and not refuted" in found["eth7"].remedy


def test_hosts_that_have_seen_nothing_at_all_are_no_proof(ask: Ask) -> None:
    assert {c.unseen for c in ask({}).values()} == {"not seen"}


def test_two_vlans_exchanged_at_the_switch_are_told_before_anything_is_moved(ask: Ask) -> None:
    found = ask(seen((304, "10.5.3.1-10.5.3.254"), (503, "10.3.4.1-10.3.4.254")))
    assert [name for name, c in found.items() if not c] == ["eth3", "eth7"]
    assert found["eth3"].found.startswith("another subnet: ")
    assert "10.5.3.1-10.5.3.254" in found["eth3"].found
    assert "either `vlan` or `subnet` of vlan304" in found["eth3"].remedy


def test_one_host_that_does_not_see_it_is_named(ask: Ask) -> None:
    told = seen(*RIGHT)
    told["DC0_C0_H1"] = seen(RIGHT[0])["DC0_C0_H1"]
    check = ask(told)["eth7"]
    assert check.unseen == "not seen"
    assert "DC0_C0_H1: not seen (vmnic1)" in check.found
    assert "DC0_C0_H0: 10.5.3.128-10.5.3.191" in check.found


def test_a_vlan_seen_behind_the_other_switch_does_not_count(ask: Ask) -> None:
    told = {
        host: [{**nic, "device": {"vmnic0": "vmnic1", "vmnic1": "vmnic0"}[nic["device"]]} for nic in nics]
        for host, nics in seen(*RIGHT).items()
    }
    assert {c.unseen for c in ask(told).values()} == {"not seen"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"connectedSwitchPort": CDP}, "vmnic1 at sw1.example.org GigabitEthernet0/3, native VLAN 1 (CDP)"),
        ({"lldpInfo": LLDP}, "vmnic1 at sw2 ge-0/0/7 (LLDP)"),
    ],
)
def test_the_switchs_port_is_part_of_the_evidence(ask: Ask, more: dict[str, Any], words: str) -> None:
    assert words in ask(seen(*RIGHT, **more))["eth3"].found


def test_a_host_that_does_not_tell_is_no_proof_and_quoted(ask: Callable[..., dict[str, Check]]) -> None:
    fault = Fault(
        "NoPermission", fields='<object type="HostSystem">host-1</object><privilegeId>Host.Config.Network</privilegeId>', times=9
    )
    found = ask(seen(*RIGHT), fault)
    assert {c.unseen for c in found.values()} == {"not seen"}
    assert "privilegeId=Host.Config.Network" in found["eth3"].found
