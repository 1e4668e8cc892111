"""The machine that a rehearsal boots: hardware as on ESXi, as far as QEMU has it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hikkoshi.artefact import Frozen, unsaid
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.run.step import PREPARE

Controller = Literal["pvscsi", "lsisas1068", "lsilogic"]
NicModel = Literal["vmxnet3", "e1000"]
Firmware = Literal["bios", "efi"]

# QEMU's name of each controller. It has no 53C1030, the chip of ESXi's parallel "LSI Logic": the SAS 1068 stands in,
# which the same driver family (mptbase, mptscsih) serves with another last module.
CONTROLLERS: dict[Controller, str] = {"pvscsi": "pvscsi", "lsisas1068": "mptsas1068", "lsilogic": "mptsas1068"}
NICS: dict[NicModel, str] = {"vmxnet3": "vmxnet3", "e1000": "e1000-82545em"}  # ESXi's e1000 is an 82545EM
SET = 1  # QEMU's number of the descriptor that the disk is handed to it by
HANDED = Path(f"/dev/fdset/{SET}")
PORTS = {"pvscsi": 15, "mptsas1068": 8}  # disks on one of QEMU's controllers; ESXi's have 15
# QEMU's own filter of system calls, on a host of any architecture: it starts nothing, and changes no user and no priority
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
# QEMU's processor by accelerator, without five-level page tables, as libguestfs starts its appliance: no guest of this age uses
# them. An emulated one is slow at ERMS and FSRM, copies of single bytes; without them the kernel copies words.
PROCESSORS = {"kvm": "max,la57=off", "tcg": "max,la57=off,-erms,-fsrm"}
# what systemd-detect-virt looks at where the processor names no hypervisor; QEMU doubles a comma
VMWARE = ("-smbios", "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform")
# UEFI for QEMU, code and variables: as Debian, Fedora and Arch have it
UEFI = (
    (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
    (Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")),
    (Path("/usr/share/edk2/ovmf/OVMF_CODE.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.fd")),
    (Path("/usr/share/edk2/x64/OVMF_CODE.4m.fd"), Path("/usr/share/edk2/x64/OVMF_VARS.4m.fd")),
)
UNSEEN = "libata.force=disable"  # of Linux: argument by which the kernel takes no disk on SATA
OWN_UNIT = 7  # of ESXi's controllers
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
    as_vmware: bool = unsaid(False)  # whether it calls itself VMware's, which VMware Tools ask for before they start
    firmware: Firmware = unsaid("bios")

    @property
    def remark(self) -> str:
        """What the rehearsal cannot show on this hardware; empty where it is the target's own."""
        remarks = []
        if self.controller == "lsilogic":
            remarks.append(
                "QEMU has no LSI Logic parallel controller (53C1030): this boot ran on the SAS 1068 of the same family; "
                f"that the initrd holds mptspi is for {PREPARE} to show"
            )
        if self.firmware == "efi":
            remarks.append(
                "QEMU's UEFI has no driver for this controller: it read boot loader and kernel of the same disk by SATA"
            )
        return "; ".join(remarks)

    def arguments(
        self,
        drive: str,
        accelerator: str,
        serial: Path,
        further: Sequence[str] = (),
        *,
        keep: bool = False,
        cables: Sequence[int] = (),
    ) -> list[str]:
        """QEMU's arguments, without those for its control channel.

        `drive` names the disk and its format, see `drive` below, and `further` those after it, in their order. Every write goes
        to a snapshot that is thrown away, unless the disks are to `keep` it. The NICs hang on `cables`, descriptors of TAP
        devices; without these each is on a hub of its own: its link is up, and nothing is at the other end. The serial port
        writes to the file `serial`. A guest that restarts or halts is frozen, so that its last screen can still be read.
        """
        return [
            *("-machine", "pc,vmport=on" if self.as_vmware else "pc", "-accel", accelerator),
            *("-cpu", f"{PROCESSORS[accelerator]}{',-hypervisor' if self.as_vmware else ''}"),
            *(VMWARE if self.as_vmware else ()),
            *("-smp", str(self.vcpus), "-m", str(self.memory_mb)),
            *("-no-user-config", "-nodefaults", "-no-reboot", "-no-shutdown"),
            *("-display", "none", "-vga", "std"),
            *self._firmware(drive),
            *("-chardev", f"file,id=serial,path={escaped(serial)}", "-serial", "chardev:serial"),
            *self._disks([drive, *further], keep),
            *self._network(cables),
        ]

    def _firmware(self, disk: str) -> Sequence[str]:
        """QEMU's own BIOS; or UEFI with no variables of its own, as a new machine in vSphere has none.

        QEMU's UEFI drives none of these controllers, in most builds. It gets the disk a second time, by SATA, and reads boot
        loader, kernel and initrd from that. `UNSEEN` keeps the kernel from it.
        """
        if self.firmware == "bios":
            return []
        code, variables = uefi()
        options = (f"{drive(code, 'raw')},readonly=on", f"{drive(variables, 'raw')},snapshot=on")
        return [
            *(word for n, option in enumerate(options) for word in ("-drive", f"if=pflash,unit={n},{option}")),
            *("-drive", f"{disk},if=none,id=again,snapshot=on", "-device", "ich9-ahci,id=sata,bus=pci.0,addr=0xf"),
            *("-device", "ide-hd,drive=again,bus=sata.0,bootindex=1"),
        ]

    def _disks(self, drives: Sequence[str], keep: bool) -> Sequence[str]:
        model = CONTROLLERS[self.controller]
        arguments: list[str] = []
        for n, drive in enumerate(drives):
            number, unit = divmod(n, PORTS[model])
            name = f"disk{n + 1}" if n else "disk"
            # its revision tells the guest which disk of the plan it is: the kernel's names may be in another order
            place = f"scsi-hd,drive={name},ver={n + 1:04},bus=scsi{number}.0,channel=0"
            if model == "mptsas1068":
                # without a world-wide name Linux' mptsas sees no disk, and the rehearsal would report a panic that ESXi has not
                place += f",scsi-id={unit},wwn={0x5000C500A1B2C3D4 + n:#x},port_index={unit}"
            else:
                place += f",scsi-id={unit + (unit >= OWN_UNIT)},lun=0"
            arguments += ["-drive", f"{drive},if=none,id={name},snapshot={'off' if keep else 'on'}"]
            arguments += ["-device", f"{model},id=scsi{number},bus=pci.0,addr={5 + number:#x}"] if unit == 0 else []
            arguments += ["-device", place + ("" if n else ",bootindex=0")]
        return arguments

    def _network(self, cables: Sequence[int]) -> Sequence[str]:
        arguments = []
        for n, nic in enumerate(self.nics):
            # the last one first: vSphere promises no order, and names have to come from the MACs; without its ROM no NIC
            # tries to boot from the network
            slot = f"bus=pci.0,addr={FIRST_SLOT + len(self.nics) - 1 - n:#x}"
            arguments += ["-netdev", f"tap,id=net{n},fd={cables[n]}" if cables else f"hubport,id=net{n},hubid={n}"]
            arguments += ["-device", f"{NICS[self.nic_model]},netdev=net{n},mac={nic.mac},{slot},romfile="]
        return arguments


def uefi() -> tuple[Path, Path]:
    """UEFI for QEMU on this machine: its code, and the variables of a new machine; `ToolFailed` where there is none."""
    found = next((pair for pair in UEFI if all(path.is_file() for path in pair)), None)
    if found is None:
        raise ToolFailed(
            Problem(
                code="uefi-missing",
                what="UEFI for QEMU is not on this machine, and the guest starts by UEFI",
                found=f"none of {', '.join(str(code) for code, _ in UEFI)}",
                expected="OVMF, code and variables",
                remedy="install ovmf (Debian), edk2-ovmf (Fedora, Arch), then run the step again",
            )
        )
    return found


def handed(disk: int) -> Path:
    """What QEMU knows the disk of this number by, from 0, which is handed to it open."""
    return Path(f"/dev/fdset/{SET + disk}")


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
