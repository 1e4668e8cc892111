"""The OVF descriptor of a machine: a pure function from its specification to XML (DMTF DSP0243, version 1.1).

Memory is in MB and a network has the name of its port group: some servers overlook other units, and put a NIC whose
network they do not know on just any.
"""

from xml.etree import ElementTree as ET

from hikkoshi.vsphere.spec import VmSpec, place

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VMW = "http://www.vmware.com/schema/ovf"
STREAM = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
CONTROLLERS = {"pvscsi": "VirtualSCSI", "lsisas1068": "lsilogicsas", "lsilogic": "lsilogic"}
NICS = {"vmxnet3": "VmxNet3", "e1000": "E1000"}
LINUX, LINUX_64, OTHER = "36", "101", "1"  # CIM operating system types; vmw:osType says which
NO_LINUX = ("win", "freebsd", "solaris", "darwin", "otherGuest", "dos", "netware", "os2")  # that a guest's file may ask for

for prefix, namespace in (("ovf", OVF), ("rasd", RASD), ("vssd", VSSD), ("vmw", VMW)):
    ET.register_namespace(prefix, namespace)


def descriptor(spec: VmSpec, *files: tuple[str, int | None]) -> str:
    """The descriptor for one machine whose disks are these files (name, size in bytes where that is known already)."""
    envelope = ET.Element(_ovf("Envelope"))
    references = ET.SubElement(envelope, _ovf("References"))
    for n, (name, known) in enumerate(files, 1):
        size = {} if known is None else {"size": str(known)}
        ET.SubElement(references, _ovf("File"), _attributes(href=name, id=f"file{n}", **size))

    disks = _section(envelope, "DiskSection", "the disk" if len(files) == 1 else "the disks")
    for n, (_, capacity) in enumerate(zip(files, spec.disks, strict=True), 1):
        about = {"capacityAllocationUnits": "byte", "diskId": f"vmdisk{n}", "fileRef": f"file{n}", "format": STREAM}
        ET.SubElement(disks, _ovf("Disk"), _attributes(capacity=str(capacity), **about))

    networks = _section(envelope, "NetworkSection", "port groups")
    for name in dict.fromkeys(n.port_group for n in spec.nics):
        network = ET.SubElement(networks, _ovf("Network"), _attributes(name=name))
        ET.SubElement(network, _ovf("Description")).text = name

    system = ET.SubElement(envelope, _ovf("VirtualSystem"), _attributes(id=spec.name))
    ET.SubElement(system, _ovf("Info")).text = "one machine"
    ET.SubElement(system, _ovf("Name")).text = spec.name
    family = OTHER if spec.guest_id.startswith(NO_LINUX) else LINUX_64 if "64" in spec.guest_id else LINUX
    kind = _attributes(id=family) | {f"{{{VMW}}}osType": spec.guest_id}
    ET.SubElement(ET.SubElement(system, _ovf("OperatingSystemSection"), kind), _ovf("Info")).text = "operating system"
    _hardware(system, spec)
    ET.indent(envelope)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(envelope, encoding="unicode") + "\n"


def _hardware(system: ET.Element, spec: VmSpec) -> None:
    hardware = _section(system, "VirtualHardwareSection", "virtual hardware")
    about = ET.SubElement(hardware, _ovf("System"))
    for tag, text in (
        ("ElementName", "Virtual Hardware Family"),
        ("InstanceID", "0"),
        ("VirtualSystemIdentifier", spec.name),
        ("VirtualSystemType", f"vmx-{spec.hardware_version:02d}"),
    ):
        ET.SubElement(about, f"{{{VSSD}}}{tag}").text = text
    items: list[dict[str, str]] = [
        {
            "AllocationUnits": "hertz * 10^6",
            "ElementName": f"{spec.vcpus} virtual CPU",
            "ResourceType": "3",
            "VirtualQuantity": str(spec.vcpus),
        },
        {
            "AllocationUnits": "byte * 2^20",
            "ElementName": f"{spec.memory_mb} MB of memory",
            "ResourceType": "4",
            "VirtualQuantity": str(spec.memory_mb),
        },
    ]
    places, first = [place(n) for n in range(len(spec.disks))], len(items) + 1
    items += [
        {
            "Address": str(number),
            "ElementName": f"SCSI controller {number}",
            "ResourceSubType": CONTROLLERS[spec.controller],
            "ResourceType": "6",
        }
        for number in sorted({controller for controller, _ in places})
    ]
    items += [
        {
            "AddressOnParent": str(unit),
            "ElementName": f"Hard disk {n}",
            "HostResource": f"ovf:/disk/vmdisk{n}",
            "Parent": str(first + controller),
            "ResourceType": "17",
        }
        for n, (controller, unit) in enumerate(places, 1)
    ]
    items += [
        {
            "AddressOnParent": str(7 + n),
            "AutomaticAllocation": "true",
            "Connection": nic.port_group,
            "ElementName": f"Network adapter {n + 1}",
            "ResourceSubType": NICS[spec.nic_model],
            "ResourceType": "10",
        }
        for n, nic in enumerate(spec.nics)
    ]
    for number, item in enumerate(items, 1):
        element = ET.SubElement(hardware, _ovf("Item"))
        for tag, text in sorted({**item, "InstanceID": str(number)}.items()):  # the schema wants them in this order
            ET.SubElement(element, f"{{{RASD}}}{tag}").text = text
    if spec.firmware != "bios":
        setting = {f"{{{VMW}}}key": "firmware", f"{{{VMW}}}value": spec.firmware}
        ET.SubElement(hardware, f"{{{VMW}}}Config", _attributes(required="false") | setting)


def _section(parent: ET.Element, tag: str, info: str) -> ET.Element:
    section = ET.SubElement(parent, _ovf(tag))
    ET.SubElement(section, _ovf("Info")).text = info
    return section


def _ovf(tag: str) -> str:
    return f"{{{OVF}}}{tag}"


def _attributes(**values: str) -> dict[str, str]:
    return {_ovf(name): value for name, value in values.items()}
