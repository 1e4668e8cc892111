"""What vSphere says that a machine is made of, as QEMU needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVmomi import vim

from hikkoshi.errors import Problem, StepFailed
from hikkoshi.rehearsal.machine import NICS, Hardware, MachineNic
from hikkoshi.vsphere import readback, vm
from hikkoshi.vsphere.inventory import PortGroup

BOOTED = "summary.runtime.bootTime"
PATHS = [*vm.PATHS, BOOTED]


@dataclass(frozen=True)
class Plug:
    """Where a NIC's cable ends: the VLAN (None where it is not one), and whether it is plugged in."""

    vlan: int | None
    plugged: bool


@dataclass(frozen=True)
class Configuration:
    """A machine as vSphere has it now; `booted` is when it was switched on, empty while it is off."""

    thing: Any
    name: str
    booted: str
    plugs: tuple[Plug, ...]  # by MAC, as the hardware's NICs
    hardware: Hardware
    disks: tuple[Path, ...]

    @classmethod
    def of(cls, machine: vm.VirtualMachine, groups: Sequence[PortGroup], folders: Mapping[str, Path]) -> "Configuration":
        """That of a machine; `folders` are those of the datastores. `StepFailed` for hardware that has no likeness here."""
        nics = readback.found_nics(machine, groups)
        on = machine.power == "poweredOn"
        return cls(
            thing=machine.thing,
            name=machine.name,
            booted=str(machine.p.get(BOOTED)) if on else "",
            plugs=tuple(Plug(n.vlan, n.connected) for n in nics),
            hardware=Hardware(
                controller=_controller(machine),
                nic_model=_model(machine, nics),
                memory_mb=machine.p["config.hardware.memoryMB"],
                vcpus=machine.p["config.hardware.numCPU"],
                nics=tuple(MachineNic(name=n.label, mac=n.mac) for n in nics),
                firmware=machine.p.get("config.firmware") or "bios",
            ),
            disks=tuple(_path(d.backing.fileName, folders) for d in _disks(machine)),
        )


def _controller(machine: vm.VirtualMachine) -> Any:
    found = {name for d in machine.devices for name, kind in readback.CONTROLLERS.items() if type(d) is kind}
    if len(found) != 1 or (machine.p.get("config.firmware") or "bios") != "bios":
        said = f"{', '.join(sorted(found)) or 'none'}; firmware {machine.p.get('config.firmware')}"
        raise _unlike(machine, f"controllers: {said}", "one kind of SCSI controller, and BIOS")
    return found.pop()


def _model(machine: vm.VirtualMachine, nics: Sequence[readback.NicFound]) -> Any:
    found = {n.model for n in nics} or {"vmxnet3"}
    if len(found) != 1 or not found <= set(NICS):
        raise _unlike(machine, f"NICs: {', '.join(sorted(found))}", f"one of {', '.join(NICS)}")
    return found.pop()


def _disks(machine: vm.VirtualMachine) -> list[Any]:
    buses = {d.key: d.busNumber for d in machine.devices if isinstance(d, vim.vm.device.VirtualController)}
    disks = [d for d in machine.devices if isinstance(d, vim.vm.device.VirtualDisk)]
    return sorted(disks, key=lambda d: (buses.get(d.controllerKey, 0), d.unitNumber))


def _path(name: str, folders: Mapping[str, Path]) -> Path:
    """`[storage1] gateway/disk-0.vmdk` on this machine."""
    store, _, path = name.removeprefix("[").partition("] ")
    return folders[store] / path


def _unlike(machine: vm.VirtualMachine, found: str, expected: str) -> StepFailed:
    return StepFailed(
        Problem(
            code="lab-machine-unlike",
            what="the lab cannot run a machine of this kind",
            where=str(machine),
            found=found,
            expected=expected,
            remedy="it stays a word of the lab's vCenter; what was moved is seen by its rehearsal",
        )
    )
