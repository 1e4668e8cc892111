"""The command line of the rehearsal's machine."""

import itertools
from pathlib import Path

import pytest

from hikkoshi.errors import ToolFailed
from hikkoshi.rehearsal.machine import HANDED, Controller, Hardware, MachineNic, NicModel, drive, handed


def machine(controller: Controller = "pvscsi", nic_model: NicModel = "vmxnet3", nics: int = 10) -> Hardware:
    return Hardware(
        controller=controller,
        nic_model=nic_model,
        memory_mb=640,
        vcpus=1,
        nics=tuple(MachineNic(name=f"eth{n}", mac=f"00:16:3e:05:00:{n:02x}") for n in range(nics)),
    )


def options(made: Hardware, name: str, disk: str = "/d/x.vmdk", disk_format: str = "vmdk") -> list[str]:
    """The values of every option of this name."""
    arguments = made.arguments(drive(Path(disk), disk_format), "tcg", Path("/p/serial"))
    return [value for key, value in itertools.pairwise(arguments) if key == f"-{name}"]


def test_the_disk_is_opened_by_a_named_format_and_never_written() -> None:
    (shown,) = options(machine(), "drive")
    assert shown == "driver=vmdk,file.driver=file,file.filename=/d/x.vmdk,if=none,id=disk,snapshot=on"


def test_a_comma_in_a_path_does_not_end_it() -> None:
    (shown,) = options(machine(), "drive", disk="/d/a,readonly=off.img", disk_format="raw")
    assert shown.startswith("driver=raw,file.driver=file,file.filename=/d/a,,readonly=off.img,if=none,")


def test_what_is_below_an_overlay_is_named_by_us_and_not_by_the_overlay() -> None:
    below = drive(HANDED, "vmdk", device=True)
    assert drive(Path("overlay.qcow2"), "qcow2", backing=below) == (
        "driver=qcow2,file.driver=file,file.filename=overlay.qcow2,backing.driver=vmdk,backing.file.driver=host_device,"
        "backing.file.filename=/dev/fdset/1"
    )


def test_a_machine_that_starts_by_uefi_has_a_new_machines_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = (tmp_path / "code.fd", tmp_path / "vars.fd")
    monkeypatch.setattr("hikkoshi.rehearsal.machine.UEFI", ((tmp_path / "none", pair[1]), pair))
    efi = machine().model_copy(update={"firmware": "efi"})
    with pytest.raises(ToolFailed, match="install ovmf"):
        options(efi, "drive")
    for path in pair:
        path.touch()
    code, variables, again, disk = options(efi, "drive")
    assert code == f"if=pflash,unit=0,driver=raw,file.driver=file,file.filename={pair[0]},readonly=on"
    assert variables == f"if=pflash,unit=1,driver=raw,file.driver=file,file.filename={pair[1]},snapshot=on"
    assert again == disk.replace("id=disk", "id=again")  # the same disk where this firmware can read it
    assert "SATA" in efi.remark
    assert "firmware" not in machine().model_dump_json()  # an older plan keeps its hash


def test_no_nic_reaches_a_network() -> None:
    networks = options(machine(), "netdev")
    assert networks == [f"hubport,id=net{n},hubid={n}" for n in range(10)]  # each alone on its hub
    assert not options(machine(), "nic") + options(machine(), "net")


def test_ten_nics_sit_on_the_bus_the_last_one_first_so_that_names_have_to_come_from_macs() -> None:
    devices = [d for d in options(machine(), "device") if d.startswith("vmxnet3")]
    assert devices[0] == "vmxnet3,netdev=net0,mac=00:16:3e:05:00:00,bus=pci.0,addr=0x19,romfile="
    assert [d.split("addr=")[1].split(",")[0] for d in devices] == [f"{n:#x}" for n in range(0x19, 0x0F, -1)]


def test_e1000_is_the_chip_that_esxi_imitates() -> None:
    assert options(machine(nic_model="e1000", nics=1), "device")[-1].startswith("e1000-82545em,")


def test_the_sas_disk_has_a_world_wide_name_without_which_linux_does_not_see_it() -> None:
    controller, disk = options(machine("lsisas1068", nics=0), "device")
    assert controller.startswith("mptsas1068,")
    assert ",wwn=0x" in disk
    assert ",port_index=0" in disk


@pytest.mark.parametrize(("controller", "said"), [("pvscsi", False), ("lsisas1068", False), ("lsilogic", True)])
def test_a_controller_that_qemu_lacks_is_replaced_and_that_is_said(controller: Controller, said: bool) -> None:
    made = machine(controller, nics=0)
    assert options(made, "device")[0].split(",")[0] == ("pvscsi" if controller == "pvscsi" else "mptsas1068")
    assert ("53C1030" in made.remark) == said


def test_memory_and_processors_are_the_plans() -> None:
    assert options(machine(), "m") == ["640"]
    assert options(machine(), "smp") == ["1"]


def test_a_machine_calls_itself_vmwares_where_tools_are_to_start_and_nothing_else_differs() -> None:
    plain = machine()
    as_vmware = plain.model_copy(update={"as_vmware": True})
    told = [m.arguments("driver=raw", "tcg", Path("serial")) for m in (plain, as_vmware)]
    assert [a for a in told[1] if a not in told[0]] == [
        *("pc,vmport=on", "max,la57=off,-erms,-fsrm,-hypervisor"),
        *("-smbios", "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform"),
    ]
    assert "as_vmware" not in plain.model_dump_json()


def test_an_emulated_processor_lacks_what_emulation_is_slow_at_and_the_hosts_own_has_it() -> None:
    cpus = [machine().arguments("driver=raw", a, Path("serial"))[5] for a in ("tcg", "kvm")]
    assert cpus == ["max,la57=off,-erms,-fsrm", "max,la57=off"]


@pytest.mark.parametrize(
    ("controller", "ids", "controllers"),
    [("pvscsi", [0, 1, 2, 3, 4, 5, 6, 8, 9], 1), ("lsisas1068", [0, 1, 2, 3, 4, 5, 6, 7, 0], 2)],
)
def test_several_disks_are_attached_in_their_order(controller: Controller, ids: list[int], controllers: int) -> None:
    further = [drive(handed(n), "vmdk") for n in range(1, 9)]
    made = machine(controller).arguments(drive(handed(0), "vmdk"), "tcg", Path("/p/serial"), further)
    devices = [value for key, value in itertools.pairwise(made) if key == "-device"]
    disks = [d for d in devices if d.startswith("scsi-hd")]
    assert [int(d.split("scsi-id=")[1].split(",")[0]) for d in disks] == ids
    assert [d.split(",")[1] for d in disks] == ["drive=disk", *(f"drive=disk{n}" for n in range(2, 10))]
    assert ["bootindex" in d for d in disks] == [True, *[False] * 8]
    assert sum(",id=scsi" in d for d in devices) == controllers
    assert handed(8) == Path("/dev/fdset/9")
