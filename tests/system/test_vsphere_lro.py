"""LRO of an ESXi host's virtual NICs, in a running vCenter (vcsim), behind a gate."""

from collections.abc import Iterator

import pytest
from pyVmomi import VmomiSupport, vim

from hikkoshi.errors import Refused
from hikkoshi.params.home import Home
from hikkoshi.vsphere import inventory, lro, session
from hikkoshi.vsphere.inventory import EsxiHost
from hikkoshi.vsphere.session import Session
from hikkoshi_lab import site, vcsim
from journey import MACHINE, permitted

REMEDY = permitted(step="85-offloads")
pytestmark = pytest.mark.needs("vcsim", "openssl")
ON = {"Net.Vmxnet3SwLRO": 1, "Net.Vmxnet3HwLRO": 1}  # as ESXi is delivered; vcsim has no such options of its own


def options(v: Session, host: EsxiHost, values: dict[str, int]) -> None:
    manager = v.read(host.thing, "configManager.advancedOption")["configManager.advancedOption"]
    long = VmomiSupport.vmodlTypes["long"]
    manager.UpdateOptions([vim.option.OptionValue(key=k, value=long(n)) for k, n in values.items()])


@pytest.fixture
def v(home: Home) -> Iterator[Session]:
    lab = home.outputs / "lab"
    with vcsim.start(lab) as server:
        params = home.site()
        at = params.vsphere.model_copy(update={"server": f"127.0.0.1:{server.port}"})
        with session.connect(home, at, timeout=20) as v:
            site.shape(v, params, lab / "tmp", lambda words: None)
            yield v


@pytest.fixture
def hosts(v: Session, home: Home) -> tuple[EsxiHost, ...]:
    """Of the cluster; on the first is the machine that was approved."""
    place = inventory.place(v, home.site().vsphere)
    config = vim.vm.ConfigSpec(
        name="gateway",
        guestId="otherGuest",
        numCPUs=1,
        memoryMB=64,
        instanceUuid=MACHINE,
        files=vim.vm.FileInfo(vmPathName="[storage1]"),
    )
    v.wait(place.folder.CreateVM_Task(config, place.pool, place.hosts[0].thing), "make the machine")
    return place.hosts


def test_it_is_switched_off_read_back_and_put_on_again_with_what_was_before(v: Session, hosts: tuple[EsxiHost, ...]) -> None:
    one = hosts[0]
    options(v, one, ON)
    assert not lro.holds(v, one)
    before = lro.apply(v, one, REMEDY, confirmed=one.name)
    assert before == ON
    assert lro.read(v, one) == dict(lro.OFF)
    assert lro.holds(v, one)
    assert "started anew" in lro.holds(v, one).expected
    assert lro.apply(v, one, REMEDY, before, confirmed=one.name) == dict(lro.OFF)
    assert lro.read(v, one) == ON


def test_other_hosts_are_left_alone(v: Session, hosts: tuple[EsxiHost, ...]) -> None:
    options(v, hosts[0], ON)
    options(v, hosts[1], ON)
    lro.apply(v, hosts[0], REMEDY, confirmed=hosts[0].name)
    assert lro.read(v, hosts[1]) == ON


@pytest.mark.parametrize("typed", ["", "yes", "DC0_C0"])
def test_without_the_hosts_name_typed_it_is_refused_and_names_the_machines_that_it_would_change(
    v: Session, hosts: tuple[EsxiHost, ...], home: Home, typed: str
) -> None:
    one = hosts[0]
    options(v, one, ON)
    place = inventory.place(v, home.site().vsphere)
    config = vim.vm.ConfigSpec(
        name="mail", guestId="otherGuest", numCPUs=1, memoryMB=64, files=vim.vm.FileInfo(vmPathName="[storage1]")
    )
    v.wait(place.folder.CreateVM_Task(config, place.pool, one.thing), "make a machine")
    with pytest.raises(Refused, match="nobody has confirmed") as e:
        lro.apply(v, one, REMEDY, confirmed=typed)
    assert "gateway, mail" in e.value.problems[0].found
    assert lro.read(v, one) == ON


def test_a_host_without_the_options_is_refused_and_gets_none(v: Session, hosts: tuple[EsxiHost, ...]) -> None:
    with pytest.raises(Refused, match="no such option"):
        lro.apply(v, hosts[0], REMEDY, confirmed=hosts[0].name)
    assert lro.read(v, hosts[0]) == {}
    assert not lro.holds(v, hosts[0])


def test_a_permission_for_another_step_changes_no_host(v: Session, hosts: tuple[EsxiHost, ...]) -> None:
    options(v, hosts[0], ON)
    with pytest.raises(Refused, match="what was approved is another step"):
        lro.apply(v, hosts[0], permitted(step="70-cutover"), confirmed=hosts[0].name)
    assert lro.read(v, hosts[0]) == ON


def test_a_host_on_which_the_approved_machine_is_not_is_left_alone(v: Session, hosts: tuple[EsxiHost, ...]) -> None:
    options(v, hosts[1], ON)
    with pytest.raises(Refused, match="the machine that was approved is not on this host"):
        lro.apply(v, hosts[1], REMEDY, confirmed=hosts[1].name)
    assert lro.read(v, hosts[1]) == ON
