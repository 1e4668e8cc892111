"""The lab's vSphere has a body: what is switched on there runs, from the very bytes that were sent, on the lab's network."""

import ipaddress
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import vcenter
from hikkoshi import files
from hikkoshi.params.home import Home
from hikkoshi.vsphere import cutover, vm
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VirtualNic
from hikkoshi_lab import image, network
from hikkoshi_lab.body import process
from processes import wait_for
from vcenter import PROJECT, World

pytestmark = pytest.mark.needs("root", "qemu-img", "qemu-system-x86_64", "vcsim", "ip", "arping", "netperf")
LAST = 253  # byte of its addresses: the lab's own gateway has 254
ROUTER = image.GuestImage(  # no step has to prepare it
    name="router",
    disk_bytes=1200 << 20,
    memory_mb=256,
    vcpus=1,
    nics=tuple(
        image.GuestNic(f"00:16:3e:0b:00:0{n}", ipaddress.IPv4Interface(f"10.3.{n}.{LAST}/24"), f"xenbr30{n}") for n in (1, 2)
    ),
    forwards=True,
    kernels=("ordinary", "xen"),
    drivers=("vmw_pvscsi",),
    fstab="label",
    root="uuid",
)
MACS = [nic.mac for nic in ROUTER.nics]


@dataclass
class Scene:
    """A lab whose vSphere runs the router."""

    world: World
    lab: network.Network
    v: Session

    @property
    def machine(self) -> vm.VirtualMachine:
        return next(m for m in vm.every(self.v).values() if m.name == "gateway")

    @property
    def process(self) -> process.Daemon:
        found = process.find(self.world.lab)
        assert found
        return found

    @property
    def running(self) -> list[int]:
        """The QEMUs of this lab."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def heard(self, segment: str) -> set[str]:
        """The MACs of those NICs of the router that are on a segment: each of them answers for all its addresses."""
        asking = ["arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", f"10.3.1.{LAST}"]
        told = self.lab.host(segment).run(asking, ok=(0, 1)).stdout
        return {mac.lower() for mac in re.findall(r"\[([0-9A-F:]{17})\]", told)}

    def change(self, **change: Any) -> None:
        vcenter.by_hand(self.v, self.machine, **change)

    def task(self, name: str) -> None:
        self.v.wait(getattr(self.machine.thing, name)(), name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The router, sent to the lab's vSphere and put into service there, as 60 and 70 do it, and its start waited for."""
    folder = tmp_path_factory.mktemp("body")
    shutil.copytree(PROJECT / "params", folder / "home" / "params")
    home, disk = Home(folder / "home"), folder / "router.vmdk"
    own = home.outputs / "lab"
    own.mkdir(parents=True)
    options = "subformat=streamOptimized,adapter_type=lsilogic,hwversion=10"
    raw = image.build(ROUTER)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, disk], check=True)
    with ExitStack() as stack:
        lab = network.keep(own)
        stack.callback(network.remove, own)
        world = stack.enter_context(vcenter.start(home, disk))
        process.keep(home, own)
        stack.callback(process.remove, own)
        nics = tuple(
            VirtualNic(name=f"eth{n}", mac=nic.mac, segment=f"vlan30{n + 1}", port_group=f"dv-vlan30{n + 1}", vlan=301 + n)
            for n, nic in enumerate(ROUTER.nics)
        )
        small = {"disk_bytes": ROUTER.disk_bytes, "memory_mb": ROUTER.memory_mb, "nics": nics}
        world.order = replace(world.order, spec=world.order.spec.model_copy(update=small))
        found = Scene(world, lab, world.connect())
        world.deploy(found.v)
        cutover.start(found.v, world.site.vsphere, world.order, world.permission, source=vcenter.OFF, folder=world.folder)
        wait_for(lambda: found.heard("vlan302"), "the router's answer")
        yield found


def test_what_boots_are_the_very_bytes_that_were_sent(scene: Scene) -> None:
    (qemu,) = scene.running
    opened = [fd for fd in Path(f"/proc/{qemu}/fd").iterdir() if fd.readlink().suffix == ".vmdk"]
    assert {files.sha256(fd) for fd in opened} == {scene.world.order.sha256}


def test_it_passes_packets_on_from_segment_to_segment(scene: Scene) -> None:
    scene.lab.host("vlan301").run(["ip", "route", "replace", "10.3.2.0/24", "via", f"10.3.1.{LAST}"])
    scene.lab.host("pc2").run(["ip", "route", "replace", "10.3.1.0/24", "via", f"10.3.2.{LAST}"])
    scene.lab.host("gw").run(["ip", "link", "set", "eth0", "down"])  # there is no other path
    told = scene.lab.host("vlan301").run(["netperf", "-H", network.SERVER, "-t", "TCP_RR", "-l", "1"])
    assert "Local /Remote" in told.stdout


def test_a_nic_on_another_port_group_is_on_another_segment(scene: Scene) -> None:
    first, second = (scene.machine.nics[mac] for mac in MACS)
    for segments in (("vlan302", "vlan301"), ("vlan301", "vlan302")):
        first.backing, second.backing = second.backing, first.backing
        scene.change(deviceChange=[vcenter.edited(first), vcenter.edited(second)])
        wait_for(lambda segments=segments: [scene.heard(s) for s in segments] == [{mac} for mac in MACS], f"on {segments}")


def test_a_nic_that_is_unplugged_is_silent_until_it_is_plugged_in_again(scene: Scene) -> None:
    card = scene.machine.nics[MACS[1]]
    for plugged in (False, True):
        card.connectable.connected = plugged
        scene.change(deviceChange=[vcenter.edited(card)])
        wait_for(lambda plugged=plugged: scene.heard("vlan302") == ({MACS[1]} if plugged else set()), f"plugged: {plugged}")
    assert scene.heard("vlan301") == {MACS[0]}


def test_a_reset_starts_it_anew_and_off_is_off(scene: Scene) -> None:
    (before,) = scene.running
    scene.task("ResetVM_Task")
    wait_for(lambda: scene.running not in ([before], []), "another QEMU")
    scene.task("PowerOffVM_Task")
    wait_for(lambda: not scene.running, "no QEMU")
    kept = list((scene.world.lab / process.TEMPORARY).rglob("*.qcow2"))
    assert len(kept) == 1, "what it has written waits for its next start"
    scene.task("Destroy_Task")
    wait_for(lambda: not kept[0].exists(), "its end")


def test_with_the_vcenter_everything_ends_however_it_ends(scene: Scene) -> None:
    there = vcenter.foreign(scene.world, scene.v, "somebody")
    scene.v.wait(there.thing.PowerOnVM_Task(), "switch it on")
    wait_for(lambda: "cannot run a machine of this kind" in (scene.world.lab / process.LOG).read_text(), "words about it")
    body = scene.process
    os.kill(scene.world.server.pid, signal.SIGKILL)
    wait_for(lambda: not body.alive, "the end of its body")
    assert process.find(scene.world.lab) is None
