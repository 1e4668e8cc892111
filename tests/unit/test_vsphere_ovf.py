"""The OVF descriptor: exactly as reviewed, and true to its specification whatever the names are."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.vsphere import ovf
from hikkoshi.vsphere.spec import VirtualNic, VmSpec

GOLDEN = Path(__file__).parents[1] / "data" / "vsphere" / "gateway.ovf"
RASD = f"{{{ovf.RASD}}}"


def spec(*port_groups: str, **changes: object) -> VmSpec:
    nics = tuple(
        VirtualNic(name=f"eth{n}", mac=f"00:16:3e:05:00:{n:02x}", segment=f"s{n}", port_group=g, vlan=n)
        for n, g in enumerate(port_groups)
    )
    values: dict[str, object] = {
        "name": "gateway",
        "guest_id": "centos64Guest",
        "hardware_version": 10,
        "vcpus": 1,
        "memory_mb": 640,
        "disk_bytes": 64 << 30,
        "controller": "pvscsi",
        "nic_model": "vmxnet3",
        "nics": nics,
    }
    return VmSpec.model_validate(values | changes)


def items(text: str, kind: int) -> list[dict[str, str]]:
    every = [{e.tag.removeprefix(RASD): e.text or "" for e in i} for i in ET.fromstring(text).iter(f"{{{ovf.OVF}}}Item")]
    return [i for i in every if i["ResourceType"] == str(kind)]


def test_the_gateways_descriptor_is_the_reviewed_one() -> None:
    groups = [f"dv-vlan{side}0{n}" for side in (3, 5) for n in range(1, 6)]
    assert ovf.descriptor(spec(*groups), ("gateway.vmdk", 123_456_789)) == GOLDEN.read_text()


def test_a_machine_that_starts_by_uefi_says_so_and_only_such_a_one() -> None:
    text = ovf.descriptor(spec("a", firmware="efi"), ("x.vmdk", 1))
    (setting,) = ET.fromstring(text).iter(f"{{{ovf.VMW}}}Config")
    found = {name.partition("}")[2]: value for name, value in setting.items()}
    assert found == {"required": "false", "key": "firmware", "value": "efi"}
    assert (
        "firmware" not in ovf.descriptor(spec("a"), ("x.vmdk", 1)) + spec("a").model_dump_json()
    )  # an older plan keeps its hash
    assert '"firmware":"efi"' in spec("a", firmware="efi").model_dump_json()


def test_two_nics_on_one_port_group_share_its_network() -> None:
    text = ovf.descriptor(spec("a", "b", "a"), ("x.vmdk", 1))
    assert [n.get(f"{{{ovf.OVF}}}name") for n in ET.fromstring(text).iter(f"{{{ovf.OVF}}}Network")] == ["a", "b"]
    assert [i["Connection"] for i in items(text, 10)] == ["a", "b", "a"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Co"]), min_size=1), min_size=1, max_size=10))
def test_any_name_of_a_port_group_survives(names: list[str]) -> None:
    text = ovf.descriptor(spec(*names), ("x.vmdk", 1))
    assert [i["Connection"] for i in items(text, 10)] == names


@pytest.mark.parametrize(
    ("controller", "kind"), [("pvscsi", "VirtualSCSI"), ("lsisas1068", "lsilogicsas"), ("lsilogic", "lsilogic")]
)
def test_the_disk_hangs_on_the_planned_controller(controller: str, kind: str) -> None:
    text = ovf.descriptor(spec("a", controller=controller), ("x.vmdk", 1))
    (scsi,), (disk,) = items(text, 6), items(text, 17)
    assert (scsi["ResourceSubType"], disk["Parent"]) == (kind, scsi["InstanceID"])


def test_memory_is_written_in_megabytes() -> None:
    (memory,) = items(ovf.descriptor(spec("a", memory_mb=1024), ("x.vmdk", 1)), 4)
    assert (memory["VirtualQuantity"], memory["AllocationUnits"]) == ("1024", "byte * 2^20")


def test_the_first_hardware_versions_are_written_with_two_digits() -> None:
    assert "vmx-07" in ovf.descriptor(spec("a", hardware_version=7), ("x.vmdk", 1))


def test_names_that_xml_has_to_escape_come_back_as_they_were() -> None:
    told = json.loads((Path(__file__).parents[1] / "data" / "vsphere" / "spec-with-escapes.json").read_text())
    made = ovf.descriptor(VmSpec.model_validate(told), ("x.vmdk", 1))
    assert told["nics"][0]["port_group"] not in made  # written as it is, it would be another element
    (network,) = ET.fromstring(made).iter(f"{{{ovf.OVF}}}Network")
    assert network.get(f"{{{ovf.OVF}}}name") == "pg-office & lab <1>"


@pytest.mark.parametrize(
    ("guest_id", "kind"),
    [("centos64Guest", "101"), ("debian7Guest", "36"), ("freebsd64Guest", "1"), ("windows9_64Guest", "1"), ("otherGuest64", "1")],
)
def test_the_family_of_the_operating_system_is_linux_only_where_it_is_one(guest_id: str, kind: str) -> None:
    root = ET.fromstring(ovf.descriptor(spec("a", guest_id=guest_id), ("x.vmdk", 1)))
    (section,) = root.iter(f"{{{ovf.OVF}}}OperatingSystemSection")
    assert section.get(f"{{{ovf.OVF}}}id") == kind


def test_several_disks_have_each_a_file_a_capacity_and_a_place() -> None:
    capacities = tuple((n + 1) << 20 for n in range(17))
    machine = spec("a", disk_bytes=sum(capacities), capacities=capacities)
    text = ovf.descriptor(machine, *((f"x-{n}.vmdk", n + 100) for n in range(17)))
    root = ET.fromstring(text)
    files_told = [(f.get(f"{{{ovf.OVF}}}href"), f.get(f"{{{ovf.OVF}}}size")) for f in root.iter(f"{{{ovf.OVF}}}File")]
    assert files_told == [(f"x-{n}.vmdk", str(n + 100)) for n in range(17)]
    disks = [(d.get(f"{{{ovf.OVF}}}fileRef"), d.get(f"{{{ovf.OVF}}}capacity")) for d in root.iter(f"{{{ovf.OVF}}}Disk")]
    assert disks == [(f"file{n + 1}", str(capacity)) for n, capacity in enumerate(capacities)]
    controllers = {i["InstanceID"]: i["Address"] for i in items(text, 6)}
    places = [(controllers[i["Parent"]], i["AddressOnParent"]) for i in items(text, 17)]
    assert places == [*(("0", str(unit)) for unit in range(16) if unit != 7), ("1", "0"), ("1", "1")]
    assert len({i["InstanceID"] for kind in (3, 4, 6, 10, 17) for i in items(text, kind)}) == 2 + 2 + 17 + 1
