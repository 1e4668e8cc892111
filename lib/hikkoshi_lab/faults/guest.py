"""A guest as the steps before the deployment leave it: small, and without anything of it having run."""

import random
from pathlib import Path

from hikkoshi.approval.plan import Plan
from hikkoshi.approval.terms import Terms
from hikkoshi.disk import conversion, digest
from hikkoshi.disk.origin import Origin
from hikkoshi.guest import prepared, traces
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.note import Note
from hikkoshi.guest.preparation import Preparation
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.machine import Hardware, MachineNic
from hikkoshi.rehearsal.outcome import BootOutcome, Ending, SeenNic
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.vsphere.spec import VirtualNic, VmSpec

NAME, MAC, SEGMENT = "idp", "00:16:3e:01:00:00", "servers"
KERNEL, MIB = "6.1.0-1-amd64", 1 << 20
DISK, USED = 4 * MIB, 3 * MIB  # bytes; what is used cannot be compressed, so that it is sent in several pieces


def source(dom0: Path) -> None:
    """Its configuration and its disk, on a Dom-0."""
    config, image = dom0 / "etc/xen" / NAME, dom0 / "images" / f"{NAME}.img"
    for path in (config, image):
        path.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(random.Random(1).randbytes(USED) + bytes(DISK - USED))
    vif, memory = f"mac={MAC}, bridge=xenbr210", "memory = 64"
    config.write_text(f'name = "{NAME}"\n{memory}\ndisk = ["file:{image},xvda,w"]\nvif = ["{vif}"]\n')


def moved(home: Home, dom0: Path) -> Plan:
    """Everything in the guest's folder up to the rehearsal: a plan, a copy, a VMDK of it, and a boot that was seen."""
    folder, params, wanted = home.folder(NAME), home.site(), home.guest(NAME)
    origin, segment = Origin.whole(dom0 / "images" / f"{NAME}.img"), params.segments[SEGMENT]
    card = VirtualNic(name="eth0", mac=MAC, segment=SEGMENT, port_group=segment.port_group, vlan=segment.vlan)
    made = Plan(
        guest=NAME,
        source=origin,
        source_digest=digest.content(origin.parts[0].path),
        vm=VmSpec(
            name=NAME,
            guest_id="centos64Guest",
            hardware_version=10,
            vcpus=1,
            memory_mb=64,
            disk_bytes=DISK,
            controller="pvscsi",
            nic_model="vmxnet3",
            nics=(card,),
        ),
        preparation=_preparation(),
        machine=Hardware(
            controller="pvscsi", nic_model="vmxnet3", memory_mb=64, vcpus=1, nics=(MachineNic(name="eth0", mac=MAC),)
        ),
        forwards=False,
        terms=Terms.of(home, wanted, params),
    )
    made.save(folder)
    _copied(folder, origin, made)
    vmdk = conversion.start(folder)
    _rehearsed(folder, made, vmdk.vmdk_sha256)
    return made


def _preparation() -> Preparation:
    return Preparation(
        kernel=KERNEL,
        kernel_because=Note(code="kernel-default"),
        default=0,
        package="",
        controller="pvscsi",
        nic_model="vmxnet3",
        controller_module="vmw_pvscsi",
        nic_module="vmxnet3",
        macs={"eth0": MAC},
        edits=(),
        initrd="",
        rebuilds=False,
        initrd_modules_before=(),
        modules=(),
        must_be_in_initrd=(),
        commands=(),
    )


def _copied(folder: GuestFolder, origin: Origin, plan: Plan) -> None:
    copy = folder.prepared_copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(origin.parts[0].path.read_bytes())
    disk, there = traces.identity(Origin.whole(copy)), traces.identity(origin)
    assert disk is not None
    assert there is not None
    prepared.Prepared(
        preparation=plan.preparation.hash,
        source=there,
        source_digest=plan.source_digest,
        disk=disk,
        facts=_facts(),
        kept={},
        initrd_modules_before=(),
        initrd_modules_after=(),
        accelerator="none",
        seconds=0,
    ).save(folder)


def _facts() -> GuestFacts:
    return GuestFacts(
        distribution="debian",
        release="12",
        arch="x86_64",
        hostname=NAME,
        boot_loader="grub2",
        boot_config="",
        default_kernel=0,
        kernels=(),
        partitions=(),
        interfaces=(),
        forwards=False,
        forwards_because="",
        texts={},
    )


def _rehearsed(folder: GuestFolder, plan: Plan, vmdk: str) -> None:
    shown = {kind: f"rehearsal/after.{kind}" for kind in ("png", "txt", "console.txt")}
    for path in shown.values():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("seen")
    after = BootOutcome(
        ending=Ending.LOGIN,
        words=f"{NAME} login:",
        seconds=1,
        accelerator="none",
        controller="pvscsi",
        nic_model="vmxnet3",
        kernel=KERNEL,
        root="/dev/sda1",
        nics=(SeenNic(name="eth0", mac=MAC, driver="vmxnet3", addresses=()),),
        picture=shown["png"],
        screen=shown["txt"],
        console=shown["console.txt"],
        disk_unchanged=True,
    )
    Rehearsal(vmdk_sha256=vmdk, plan_hash=plan.hash, before=None, after=after).save(folder)
