"""A guest as an export of XenServer or XCP-ng describes it (ova.xml, see `hikkoshi.disk.export`), as the settings that a
configuration of it would have.

Fields are those of the Citrix Hypervisor Management API: VM, VBD, VIF, network. Of what may hold anything, other_config and
xenstore_data and platform among them, only what is named here is read.
"""

import re

from hikkoshi.disk import export
from hikkoshi.disk.export import Export, number, part, word
from hikkoshi.xen.value import Value

FORM = "XVA"  # of a guest that an export describes, as `XenGuest.form` says it
_MIB = 1 << 20
_KINDS = {"hvm": "hvm", "pv": "pv", "pv_in_pvh": "pv", "pvh": "pvh"}
_OF_PLATFORM = {"viridian": "viridian", "nested-virt": "nestedhvm", "timeoffset": "rtc_timeoffset"}
_DEVICES = {"VTPM": "vtpm", "VGPU": "gfx_passthru", "VUSB": "usbdev"}  # {class: the setting that Xen has for such}
_NOTHING = (("cap", "0"), ("rtc_timeoffset", "0"))  # of every guest
_USUAL_MTU = ("", "1500")


def settings(text: str, where: str) -> dict[str, Value]:
    """The settings of the exported guest; `BadInput` as of `hikkoshi.disk.export.parse`.

    A disk's target is its reference in the export. A NIC says its network by its name there.
    """
    exported = export.parse(text, where)
    vm = exported.vm
    found: dict[str, Value] = {
        "name": _name(exported),
        "uuid": word(vm, "uuid"),
        "memory": -(-number(vm, "memory_static_max") // _MIB),
        "vcpus": number(vm, "VCPUs_at_startup"),
        "maxvcpus": number(vm, "VCPUs_max"),
        **_started(exported),
        "on_poweroff": _after(word(vm, "actions_after_shutdown")),
        "on_reboot": _after(word(vm, "actions_after_reboot")),
        "on_crash": _after(word(vm, "actions_after_crash")),
        "description": _description(exported),
        "pci": re.findall(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-9a-fA-F]", word(part(vm, "other_config"), "pci")),
        **{setting: len(exported.own(kind)) for kind, setting in _DEVICES.items()},
        **{setting: word(part(vm, "platform"), name) for name, setting in _OF_PLATFORM.items()},
        "cpu_weight": word(part(vm, "VCPUs_params"), "weight"),
        "cap": word(part(vm, "VCPUs_params"), "cap"),
        "cpus": word(part(vm, "VCPUs_params"), "mask"),
    }
    lists: dict[str, Value] = {
        "disk": [f"vdev={d.vdev},access={'w' if d.writable else 'r'},target={d.reference}" for d in exported.disks],
        "vif": _vifs(exported),
    }
    return {key: value for key, value in found.items() if value not in ("", 0, []) and (key, value) not in _NOTHING} | lists


def command(act: str, name: str, uuid: str) -> list[str]:
    """What a person types on the XenServer: `act` is start or shutdown."""
    return ["xe", f"vm-{act}", f"uuid={uuid}" if uuid else f"vm={name}"]


def _started(exported: Export) -> dict[str, Value]:
    """How XenServer starts it. What a guest that has its own boot loader has in its fields for a kernel is not used."""
    vm, boot = exported.vm, part(exported.vm, "HVM_boot_params")
    by_policy = "hvm" if word(vm, "HVM_boot_policy") else "pv"
    kind = _KINDS.get(word(vm, "domain_type"), by_policy)
    if kind == "hvm":
        return {"type": kind, "firmware": word(boot, "firmware"), "boot": word(boot, "order")}
    return {
        "type": kind,
        "kernel": word(vm, "PV_kernel"),
        "ramdisk": word(vm, "PV_ramdisk"),
        "extra": word(vm, "PV_args"),
        "bootloader": word(vm, "PV_bootloader"),
        "bootloader_args": word(vm, "PV_bootloader_args"),
    }


def _name(exported: Export) -> str:
    """A name as Xen's own tools allow it, made of the label, which may be any text."""
    fitted = re.sub(r"[^A-Za-z0-9_.:+-]+", "-", word(exported.vm, "name_label")).lstrip("-.:+").rstrip("-")
    return fitted[:80] or f"vm-{word(exported.vm, 'uuid')[:8]}"


def _description(exported: Export) -> str:
    """The label, where it is another than the name. What else people write there is theirs: it may hold a password."""
    label = word(exported.vm, "name_label")
    return label if label != _name(exported) else ""


def _after(said: str) -> str:
    """What follows a stop or a crash, as a configuration calls it: coredump_and_restart is coredump-restart there."""
    return said.replace("_and_", "-").replace("_", "-")


def _vifs(exported: Export) -> list[Value]:
    """The NICs in the order of their devices: the first is the guest's eth0."""
    nics = sorted(exported.own("VIF"), key=lambda nic: number({"at": nic.get("device")}, "at"))
    found: list[Value] = []
    for nic in nics:
        network = exported.objects.get("network", {}).get(word(nic, "network"), {})
        mtu = str(nic.get("MTU") or "")
        rate = number(part(nic, "qos_algorithm_params"), "kbps") if word(nic, "qos_algorithm_type") == "ratelimit" else 0
        said = {
            "mac": word(nic, "MAC"),
            "bridge": word(network, "bridge"),
            "network": word(network, "name_label"),
            "mtu": "" if mtu in _USUAL_MTU else mtu,
            "rate": f"{rate}KB/s" if rate > 0 else "",
        }
        found.append(",".join(f"{key}={re.sub(r'[,=]+ *', ' ', value)}" for key, value in said.items() if value))
    return found
