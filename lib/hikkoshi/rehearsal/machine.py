"""The machine that a rehearsal boots: hardware as on ESXi, as far as QEMU has it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from hikkoshi.artefact import Frozen
from hikkoshi.run.step import PREPARE

Controller = Literal["pvscsi", "lsisas1068", "lsilogic"]
NicModel = Literal["vmxnet3", "e1000"]

# QEMU's name of each controller. It has no 53C1030, the chip of ESXi's parallel "LSI Logic": the SAS 1068 stands in,
# which the same driver family (mptbase, mptscsih) serves with another last module.
CONTROLLERS: dict[Controller, str] = {"pvscsi": "pvscsi", "lsisas1068": "mptsas1068", "lsilogic": "mptsas1068"}
NICS: dict[NicModel, str] = {"vmxnet3": "vmxnet3", "e1000": "e1000-82545em"}  # ESXi's e1000 is an 82545EM
SET = 1  # QEMU's number of the descriptor that the disk is handed to it by
HANDED = Path(f"/dev/fdset/{SET}")
# QEMU's own filter of system calls, on a host of any architecture: it starts nothing, and changes no user and no priority
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
# what systemd-detect-virt looks at where the processor names no hypervisor; QEMU doubles a comma
VMWARE = ("-smbios", "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform")
FIRST_SLOT = 0x10  # of the NICs on the PCI bus; below are the board and the disk


class MachineNic(Frozen):
    """One NIC: what the guest is expected to call it, its MAC, and its address with prefix length (empty: any)."""

    name: str  # eth0
    mac: str  # lower case, colons
    address: str = ""  # 10.3.1.254/24


class Hardware(Frozen):
    """The hardware of a rehearsal; part of the plan."""

    controller: Controller
    nic_model: NicModel
    memory_mb: int
    vcpus: int
    nics: tuple[MachineNic, ...]
    as_vmware: bool = False  # whether it calls itself VMware's, which VMware Tools ask for before they start

    @model_serializer(mode="wrap")
    def _written(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As JSON has it: as earlier versions wrote it, where it says the same, so that a plan keeps its hash."""
        tree: dict[str, Any] = rest(self)
        return tree if self.as_vmware else {name: value for name, value in tree.items() if name != "as_vmware"}

    @property
    def remark(self) -> str:
        """What the rehearsal cannot show on this hardware; empty where it is the target's own."""
        if self.controller != "lsilogic":
            return ""
        return (
            "QEMU has no LSI Logic parallel controller (53C1030): this boot ran on the SAS 1068 of the same family; "
            f"that the initrd holds mptspi is for {PREPARE} to show"
        )

    def arguments(self, drive: str, accelerator: str, serial: Path) -> list[str]:
        """QEMU's arguments, without those for its control channel.

        `drive` names the disk and its format, see `drive` below; every write goes to a snapshot that is thrown away. Each NIC
        hangs on a hub of its own: its link is up, and nothing is at the other end. The serial port writes to the file
        `serial`. A guest that restarts or halts is frozen, so that its last screen can still be read.
        """
        controller, bus = CONTROLLERS[self.controller], "scsi0.0"
        place = f"scsi-hd,drive=disk,bus={bus},channel=0,scsi-id=0,lun=0"
        if controller == "mptsas1068":
            # without a world-wide name Linux' mptsas sees no disk, and the rehearsal would report a panic that ESXi has not
            place = f"scsi-hd,drive=disk,bus={bus},channel=0,scsi-id=0,wwn=0x5000c500a1b2c3d4,port_index=0"
        return [
            # without five-level page tables, as libguestfs starts its appliance: no guest of this age uses them
            *("-machine", "pc,vmport=on" if self.as_vmware else "pc", "-accel", accelerator),
            *("-cpu", f"max,la57=off{',-hypervisor' if self.as_vmware else ''}"),
            *(VMWARE if self.as_vmware else ()),
            *("-smp", str(self.vcpus), "-m", str(self.memory_mb)),
            *("-no-user-config", "-nodefaults", "-no-reboot", "-no-shutdown"),
            *("-display", "none", "-vga", "std"),
            *("-chardev", f"file,id=serial,path={escaped(serial)}", "-serial", "chardev:serial"),
            *("-drive", f"{drive},if=none,id=disk,snapshot=on"),
            *("-device", f"{controller},id=scsi0,bus=pci.0,addr=0x5"),
            *("-device", f"{place},bootindex=0"),
            *self._network(),
        ]

    def _network(self) -> Sequence[str]:
        arguments = []
        for n, nic in enumerate(self.nics):
            # the last one first: vSphere promises no order, and names have to come from the MACs; without its ROM no NIC
            # tries to boot from the network
            slot = f"bus=pci.0,addr={FIRST_SLOT + len(self.nics) - 1 - n:#x}"
            arguments += ["-netdev", f"hubport,id=net{n},hubid={n}"]
            arguments += ["-device", f"{NICS[self.nic_model]},netdev=net{n},mac={nic.mac},{slot},romfile="]
        return arguments


def drive(path: Path, disk_format: str, *, device: bool = False, backing: str = "") -> str:
    """A disk as one of QEMU's options: by the format that is named, never by what its content claims to be.

    `device` says that it is a block device. `backing` is the drive below an overlay, in the place of the one that it names.
    """
    protocol = "host_device" if device else "file"
    below = "".join(f",backing.{option}" for option in backing.split(",") if option)
    return f"driver={disk_format},file.driver={protocol},file.filename={escaped(path)}{below}"


def escaped(path: Path) -> str:
    """A path inside one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
