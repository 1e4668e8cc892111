"""A guest in service is changed only where vSphere tells that the approved machine serves, and no Dom-0 that the source runs."""

from collections.abc import Callable

import pytest

import vcenter
from hikkoshi.check import Check
from hikkoshi.run import service
from hikkoshi.vsphere import cutover, vm
from hikkoshi.vsphere.deployment import Deployment
from vcenter import World

pytestmark = pytest.mark.needs("vcsim", "qemu-img", "openssl", "root")
XL = """#!/bin/sh
case "$*" in
"list -l") echo "[]" ;;
*) printf 'Name ID Mem VCPUs State Time(s)\\nDomain-0 0 2048 2 r----- 1.0\\ngateway 7 1024 1 -b---- 1.0\\n' ;;
esac
"""


@pytest.fixture
def world(world: World) -> World:
    """The same, with its machine in service."""
    vcenter.serve(world)
    return world


def looked(world: World) -> list[Check]:
    home = world.home
    return service.checks(home, home.site(), home.guest("gateway"), "one")


def machine(world: World) -> vm.VirtualMachine:
    (found,) = vm.ours(world.connect(), world.home.identity(), "gateway")
    return found


def switched_off(world: World) -> None:
    v = world.connect()
    v.wait(machine(world).thing.PowerOffVM_Task(), "switch it off by hand")


def unplugged(world: World) -> None:
    v, now = world.connect(), machine(world)
    change = vcenter.plug(now, next(iter(now.nics)))
    change.device.connectable.startConnected = change.device.connectable.connected = False
    vcenter.by_hand(v, now, deviceChange=[change])


def another(world: World) -> None:
    known = Deployment.load(world.folder)
    known.model_copy(update={"instance_uuid": "50000000-0000-0000-0000-00000000000b"}).save(world.folder)


def source_runs(world: World) -> None:
    params, xen = world.home.root / "params", world.home.root / "gateway.cfg"
    xen.write_text("name='gateway'\nmemory=640\nvif=['mac=00:16:3e:05:00:00']\ndisk=['file:/x.img,xvda,w']\n")
    for path, old, new in (
        (params / "site.yml", "root: outputs/lab/dom0", "root: /"),
        (params / "guests" / "gateway.yml", "config: /etc/xen/gateway", f"config: {xen}"),
    ):
        path.write_text(path.read_text().replace(old, new))
    xl = world.home.root / "bin" / "xl"
    xl.parent.mkdir()
    xl.write_text(XL)
    xl.chmod(0o755)


WRONG: dict[str, tuple[Callable[[World], object], str]] = {
    "before the cut-over": (lambda w: cutover.strike(w.folder), "cut over first, with 70"),
    "rolled back": (lambda w: (cutover.roll_back(w.connect(), w.order), cutover.strike(w.folder)), "no cut-over is on record"),
    "half rolled back": (lambda w: cutover.roll_back(w.connect(), w.order), "0 of 10 NICs plugged in"),
    "switched off by hand": (switched_off, "poweredOff"),
    "a NIC unplugged by hand": (unplugged, "9 of 10 NICs plugged in"),
    "another machine": (another, "the machine is the one that can be approved"),
    "no answer": (lambda w: w.server.end(), "not known"),
    "the source runs": (source_runs, "the source guest gateway is off"),
}


def test_the_approved_machine_in_service_may_be_changed(world: World) -> None:
    assert all(looked(world))


@pytest.mark.parametrize("wrong", WRONG)
def test_no_guest_but_the_one_in_service_is_changed(world: World, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, words = WRONG[wrong]
    monkeypatch.setenv("PATH", f"{world.home.root}/bin", prepend=":")
    make(world)
    bad = [c for c in looked(world) if not c]
    assert bad
    assert words in " ".join(f"{c.problem()}" for c in bad)
    assert all(c.remedy for c in bad)


def test_a_guest_whose_network_is_not_measured_is_asked_nothing(world: World) -> None:
    home = world.home
    (found,) = service.checks(home, home.site(), home.guest("idp"), "one")
    assert found.unseen == "not measured"
