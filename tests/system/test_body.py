"""The lab's vSphere has a body: what is switched on there runs, from the very bytes that were sent, on the lab's network."""

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
from hikkoshi.network.host import Host, by_ssh
from hikkoshi.network.outage import metering, observation
from hikkoshi.network.outage.outage import Outages
from hikkoshi.network.wiring import witness
from hikkoshi.params.home import Home
from hikkoshi.progress import silent
from hikkoshi.ssh import Login
from hikkoshi.vsphere import cutover, vm
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VirtualNic
from hikkoshi_lab import image, network
from hikkoshi_lab.body import access, process
from processes import PATIENCE, wait_for
from vcenter import PROJECT, World

pytestmark = pytest.mark.needs("root", "qemu-img", "qemu-system-x86_64", "vcsim", "ip", "arping", "netperf", "ssh")
GATEWAY = image.GuestImage(  # the lab's own in small, which no step has to prepare
    name="gateway",
    disk_bytes=1200 << 20,
    memory_mb=256,
    vcpus=1,
    nics=image.GATEWAY.nics[:3],
    forwards=True,
    reached=True,
    kernels=("ordinary", "xen"),
    drivers=("vmw_pvscsi",),
    fstab="label",
    root="uuid",
)
MACS = [nic.mac for nic in GATEWAY.nics]
SEGMENTS = {"vlan301": "10.3.1.254", "vlan302": "10.3.2.254", "vlan303": "10.3.3.254"}


@dataclass
class Scene:
    """A lab whose vSphere runs the gateway; the outage is that of its cut-over."""

    world: World
    lab: network.Network
    v: Session
    outages: Outages

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
        """The MACs of those NICs of the gateway that are on a segment: each of them answers for all its addresses."""
        asking = ["arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", SEGMENTS["vlan301"]]
        told = self.lab.host(segment).run(asking, ok=(0, 1)).stdout
        return {mac.lower() for mac in re.findall(r"\[([0-9A-F:]{17})\]", told)}

    @property
    def shell(self) -> Host:
        """The gateway's own, by ssh, on the last of its segments."""
        return by_ssh(Login("gateway", ("-F", str(access.configure(self.world.lab, SEGMENTS["vlan303"])))))

    def change(self, **change: Any) -> None:
        vcenter.by_hand(self.v, self.machine, **change)

    def task(self, name: str) -> None:
        self.v.wait(getattr(self.machine.thing, name)(), name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The gateway, sent to the lab's vSphere and put into service there, as 60 and 70 do it, and its start waited for."""
    folder = tmp_path_factory.mktemp("body")
    shutil.copytree(PROJECT / "params", folder / "home" / "params")
    home, disk = Home(folder / "home"), folder / "gateway.vmdk"
    own = home.outputs / "lab"
    own.mkdir(parents=True)
    options = "subformat=streamOptimized,adapter_type=lsilogic,hwversion=10"
    raw = image.build(GATEWAY)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, disk], check=True)
    with ExitStack() as stack:
        lab = network.keep(own)
        stack.callback(network.remove, own)
        world = stack.enter_context(vcenter.start(home, disk))
        process.keep(home, own)
        stack.callback(process.remove, own)
        nics = tuple(
            VirtualNic(name=f"eth{n}", mac=nic.mac, segment=f"vlan30{n + 1}", port_group=f"dv-vlan30{n + 1}", vlan=301 + n)
            for n, nic in enumerate(GATEWAY.nics)
        )
        small = {"disk_bytes": GATEWAY.disk_bytes, "memory_mb": GATEWAY.memory_mb, "nics": nics}
        world.order = replace(world.order, spec=world.order.spec.model_copy(update=small))
        v = world.connect()
        world.deploy(v)
        with metering.measuring(SEGMENTS, folder / "outage.jsonl", lab.host("admin")) as meter:
            wait_for(lambda: states(meter) == {"answers"}, "the old gateway's answers")
            cutover.start(v, world.site.vsphere, world.order, world.permission, source=lambda: vcenter.OFF, folder=world.folder)
            wait_for(lambda: "out" in states(meter), "the old gateway's end")
            wait_for(lambda: states(meter) == {"answers"}, "the moved gateway's answers")
        moved = Scene(world, lab, v, meter.so_far())
        observation.answering(moved.shell, silent, PATIENCE)  # its sshd comes up after its addresses
        yield moved


def states(meter: metering.Meter) -> set[str]:
    return {s.at_the_end for s in meter.so_far().segments}


def test_what_boots_are_the_very_bytes_that_were_sent(scene: Scene) -> None:
    (qemu,) = scene.running
    opened = [fd for fd in Path(f"/proc/{qemu}/fd").iterdir() if fd.readlink().suffix == ".vmdk"]
    assert {files.sha256(fd) for fd in opened} == {scene.world.order.sha256}


def test_the_outage_of_a_cutover_is_from_the_old_gateways_last_word_to_the_moved_ones_first(scene: Scene) -> None:
    seconds = {s.name: max(o.seconds for o in s.outages) for s in scene.outages.segments}
    assert seconds.keys() == SEGMENTS.keys()
    assert all(3 < x < PATIENCE for x in seconds.values()), seconds  # a kernel has started meanwhile
    assert scene.shell.run(["cat", "/etc/motd"]).stdout == "gateway: written under Xen on 2014-11-24.\n", "not what was sent"


def test_the_moved_gateway_passes_packets_on_and_no_other_is_on_its_segments(scene: Scene) -> None:
    told = scene.lab.host("vlan301").run(["netperf", "-H", network.SERVER, "-t", "TCP_RR", "-l", "1"])
    assert "Local /Remote" in told.stdout
    assert [scene.heard(segment) for segment in SEGMENTS] == [{mac} for mac in MACS]
    assert scene.heard("vlan304") == set()


def test_a_nic_on_another_port_group_is_on_another_segment(scene: Scene) -> None:
    first, second = (scene.machine.nics[mac] for mac in MACS[:2])
    for segments in (("vlan302", "vlan301"), ("vlan301", "vlan302")):
        first.backing, second.backing = second.backing, first.backing
        scene.change(deviceChange=[vcenter.edited(first), vcenter.edited(second)])
        wait_for(lambda segments=segments: [scene.heard(s) for s in segments] == [{mac} for mac in MACS[:2]], f"{segments}")
        planned = {"eth0": "vlan301", "eth1": "vlan302", "eth2": "vlan303"}
        seen = witness.watch(scene.shell, planned, scene.world.site.segments)
        wrong = {nic.name: nic.found.split()[0] for nic in seen.nics if nic.verdict != "ok"}
        assert wrong == ({} if segments[0] == "vlan301" else {"eth0": "vlan302", "eth1": "vlan301"})


def test_a_port_group_on_another_vlan_takes_its_nics_along(scene: Scene) -> None:
    for vlan, heard in ((304, {MACS[2]}), (303, set())):
        vcenter.reconfigure(scene.v, "dv-vlan303", vlan)
        wait_for(lambda heard=heard: scene.heard("vlan304") == heard, f"VLAN {vlan}")
    assert scene.heard("vlan303") == {MACS[2]}


def test_a_nic_that_is_unplugged_is_silent_until_it_is_plugged_in_again(scene: Scene) -> None:
    card = scene.machine.nics[MACS[1]]
    for plugged in (False, True):
        card.connectable.connected = plugged
        scene.change(deviceChange=[vcenter.edited(card)])
        wait_for(lambda plugged=plugged: scene.heard("vlan302") == ({MACS[1]} if plugged else set()), f"plugged: {plugged}")
    assert scene.heard("vlan301") == {MACS[0]}


def test_what_it_has_written_is_kept_as_long_as_it_is_there(scene: Scene) -> None:
    scene.shell.script("echo here >/root/marker; sync")
    (before,) = scene.running
    scene.task("ResetVM_Task")
    wait_for(lambda: scene.running not in ([before], []), "another QEMU")
    observation.answering(scene.shell, silent, PATIENCE)
    assert scene.shell.run(["cat", "/root/marker"]).stdout == "here\n"


def test_a_guest_that_switches_itself_off_is_off_in_vsphere_too(scene: Scene) -> None:
    scene.shell.script("(sleep 1; busybox poweroff -f) </dev/null >/dev/null 2>&1 &")
    wait_for(lambda: scene.machine.power == "poweredOff", "vSphere's word that it is off")
    assert not scene.running


def test_when_it_is_taken_out_of_service_the_old_gateway_serves_again(scene: Scene) -> None:
    assert scene.heard("vlan304") == set(), "it is off, and still plugged in"
    cutover.roll_back(scene.v, scene.world.order)
    wait_for(lambda: scene.heard("vlan304"), "the old gateway's answer")
    (disk,) = (scene.world.lab / process.TEMPORARY).rglob("*.qcow2")
    scene.task("Destroy_Task")
    wait_for(lambda: not disk.exists(), "the end of what the machine has written")


def test_with_the_vcenter_everything_ends_however_it_ends(scene: Scene) -> None:
    there = vcenter.foreign(scene.world, scene.v, "somebody")
    scene.v.wait(there.thing.PowerOnVM_Task(), "switch it on")
    wait_for(lambda: "cannot run a machine of this kind" in (scene.world.lab / process.LOG).read_text(), "words about it")
    body = scene.process
    os.kill(scene.world.server.pid, signal.SIGKILL)
    wait_for(lambda: not body.alive, "the end of its body")
    assert process.find(scene.world.lab) is None
