"""What a virtual machine may be, judged from its specification alone. Simulators accept everything; ESXi does not.

Limits by hardware version are VMware's "hardware features available with virtual machine compatibility settings".
"""

import re
from collections import Counter

from hikkoshi.check import Check
from hikkoshi.disk import stream
from hikkoshi.errors import closest
from hikkoshi.guest import device
from hikkoshi.run.step import PLAN
from hikkoshi.vsphere.preflight import guestid
from hikkoshi.vsphere.preflight.guestid import GUEST_IDS
from hikkoshi.vsphere.spec import CONTROLLERS, DISKS, VmSpec, place

NAME_LIMIT = 80
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
VMWARE_OUI, VMWARE_LAST = "00:50:56", 0x3F  # static addresses of VMware's own range end at 00:50:56:3f:ff:ff
ADDED_IN = {
    "pvscsi": 7,
    "lsisas1068": 7,
    "vmxnet3": 7,
    "lsilogic": 4,
    "e1000": 4,
    "efi": 8,
    "bios": 4,
}  # {device: hardware version}
BEYOND_2_TIB = 10  # from this hardware version on, vSphere has disks of 2 TiB and more
# (up to hardware version, memory in GB, processors, NICs)
SIZES = (
    (4, 64, 4, 4),
    (7, 255, 8, 10),
    (8, 1011, 32, 10),
    (10, 1011, 64, 10),
    (11, 4080, 128, 10),
    (14, 6128, 128, 10),
    (17, 6128, 256, 10),
    (22, 24560, 768, 10),
)


def checks(spec: VmSpec) -> list[Check]:
    """Every limit, kept or not; all at once."""
    _, memory_gb, processors, nics = next((s for s in SIZES if spec.hardware_version <= s[0]), SIZES[-1])
    old = [
        f"{d} (from version {ADDED_IN[d]})"
        for d in (spec.controller, spec.nic_model, spec.firmware)
        if spec.hardware_version < ADDED_IN[d]
    ]
    bad_vlans = [f"{n.name}: {n.vlan}" for n in spec.nics if n.segment and not 0 <= n.vlan <= 4094]
    return [
        _name(spec),
        Check(
            code="memory-allowed",
            title="memory is a multiple of 4 MB, and allowed",
            ok=spec.memory_mb % 4 == 0 and 4 <= spec.memory_mb <= memory_gb * 1024,
            found=f"{spec.memory_mb} MB",
            expected=f"a multiple of 4 from 4 to {memory_gb * 1024}",
            remedy=f"write `vm: {{ memory_mb: {max(4, -(-spec.memory_mb // 4) * 4)} }}` in the guest's file",
        ),
        Check(
            code="processors-allowed",
            title="the number of processors is allowed",
            ok=1 <= spec.vcpus <= processors,
            found=str(spec.vcpus),
            expected=f"1 to {processors} with hardware version {spec.hardware_version}",
            remedy="write `vm: { vcpus: … }` in the guest's file",
        ),
        Check(
            code="capacity-whole-mib",
            title="the disk's capacity is whole MiB",
            ok=all(capacity > 0 and capacity % (1 << 20) == 0 for capacity in spec.disks),
            found=", ".join(f"{capacity:,} bytes" for capacity in spec.disks),
            expected="a multiple of 1,048,576",
            remedy=f"plan again with {PLAN}, which pads the disk",
        ),
        *(
            stream.fits(capacity, below=spec.hardware_version < BEYOND_2_TIB, which=device.new(n) if len(spec.disks) > 1 else "")
            for n, capacity in enumerate(spec.disks)
        ),
        *([_disks(spec)] if len(spec.disks) > 1 else []),
        Check(
            code="nic-count-allowed",
            title="there are not too many NICs",
            ok=len(spec.nics) <= nics,
            found=f"{len(spec.nics)} NICs",
            expected=f"at most {nics}",
            remedy="put several VLANs on one NIC as sub-interfaces over a trunk port group, or drop a NIC in the Xen "
            "configuration",
        ),
        *_macs(spec),
        Check(
            code="vlan-ids-valid",
            title="every VLAN id is one",
            ok=not bad_vlans,
            found=", ".join(bad_vlans) or f"{len(spec.nics)} of {len(spec.nics)}",
            expected="0 to 4094",
            remedy="correct `vlan` of its segment in params/site.yml",
        ),
        Check(
            code="devices-in-hardware-version",
            title="the devices exist in this hardware version",
            ok=not old,
            found=", ".join(old) or f"{spec.controller}, {spec.nic_model} in version {spec.hardware_version}",
            expected=f"devices of hardware version {spec.hardware_version}",
            remedy="write lsilogic and e1000 under `vm:` in the guest's file, or raise hardware_version in params/site.yml; "
            "for efi only the latter helps",
        ),
        *_guest_id(spec),
    ]


def _guest_id(spec: VmSpec) -> list[Check]:
    """There is such a name, and the hardware version has it."""
    known, version = spec.guest_id in GUEST_IDS, spec.hardware_version
    near = "" if known else closest(spec.guest_id, sorted(GUEST_IDS))
    since, other = guestid.since(spec.guest_id), guestid.replacement(spec.guest_id, version)
    return [
        Check(
            code="guest-id-known",
            title="the operating system is one that vSphere has a name for",
            ok=known,
            found=spec.guest_id,
            expected="a VirtualMachineGuestOsIdentifier",
            remedy=f"write `vm: {{ guest_id: {near or other} }}` in the guest's file"
            + (", if that is the one" if near else ", or the name of its nearest relative"),
        ),
        Check(
            code="guest-id-in-hardware-version",
            title="the operating system's name exists in this hardware version",
            ok=not known or since <= version,
            found=f"{spec.guest_id}" + (f" (from version {since})" if since > version else ""),
            expected=f"a name of hardware version {version}",
            remedy=f"write `vm: {{ guest_id: {other} }}` in the guest's file, or raise hardware_version in params/site.yml",
        ),
    ]


def _disks(spec: VmSpec) -> Check:
    last, _ = place(len(spec.disks) - 1)
    return Check(
        code="disk-count-allowed",
        title="there are not too many disks",
        ok=last < CONTROLLERS,
        found=f"{len(spec.disks)} disks on {last + 1} {spec.controller}",
        expected=f"at most {CONTROLLERS * DISKS}: {DISKS} on each of {CONTROLLERS} controllers",
        remedy="put several of the volumes onto one disk before the guest moves, or leave some behind by a copy of the "
        "configuration",
    )


def _name(spec: VmSpec) -> Check:
    bad = sorted(set(re.findall(r"[^A-Za-z0-9 ._()+-]", spec.name)))
    return Check(
        code="machine-name-usable",
        title="the machine's name can be used",
        ok=0 < len(spec.name) <= NAME_LIMIT and not bad and spec.name == spec.name.strip(),
        found=f"{spec.name!r}" + (f" with {' '.join(map(repr, bad))}" if bad else ""),
        expected=f"1 to {NAME_LIMIT} of A-Z a-z 0-9 . _ - ( ) + and spaces inside",
        remedy="write `vm: { name: … }` in the guest's file",
    )


def _macs(spec: VmSpec) -> list[Check]:
    macs = [n.mac.lower() for n in spec.nics]
    malformed = [m for m in macs if not MAC.fullmatch(m)]
    formed = [m for m in macs if MAC.fullmatch(m)]
    group = [m for m in formed if int(m[:2], 16) & 1 or m == "00:00:00:00:00:00"]
    twice = sorted(m for m, n in Counter(macs).items() if n > 1)
    reserved = [m for m in formed if m.startswith(VMWARE_OUI) and int(m[9:11], 16) > VMWARE_LAST]
    where = "the Xen configuration gives every NIC its MAC"
    return [
        Check(
            code="macs-well-formed",
            title="every MAC is well-formed",
            ok=not malformed,
            found=", ".join(map(repr, malformed)) or f"{len(macs)} of {len(macs)}",
            expected="six pairs of hexadecimal digits with colons",
            remedy=where,
        ),
        Check(
            code="macs-unicast",
            title="every MAC belongs to one NIC, not to a group",
            ok=not group,
            found=", ".join(group) or f"{len(formed)} of {len(formed)}",
            expected="an even first byte (unicast), not all zero",
            remedy=where,
        ),
        Check(
            code="macs-unique",
            title="no MAC occurs twice",
            ok=not twice,
            found=", ".join(twice) or f"{len(set(macs))} different",
            expected="every MAC once",
            remedy=where,
        ),
        Check(
            code="macs-not-reserved",
            title="no MAC is in VMware's reserved range",
            ok=not reserved,
            found=", ".join(reserved) or "none",
            expected=f"outside {VMWARE_OUI}, or up to {VMWARE_OUI}:{VMWARE_LAST:02x}:ff:ff",
            remedy="ESXi refuses such a static address; give the NIC another MAC, in Xen and in the guest",
        ),
    ]
