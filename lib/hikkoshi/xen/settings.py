"""Every setting of xl.cfg(5), xmdomain.cfg(5) and `xm create --help`, and what becomes of it when the guest moves.

One table: what is *used* makes the new machine, or says how to reach the old one; what is *told* is lost, and somebody should
know of it; what is *checked* can keep a guest from moving; the rest means nothing on VMware. Only the first three are read where
a file has code in it.
"""

from dataclasses import dataclass
from typing import Literal

Fate = Literal["used", "told", "checked", "means nothing"]


@dataclass(frozen=True)
class XenSetting:
    """What becomes of one setting, and why. `device`: it gives the guest something of the Dom-0, which stays behind."""

    fate: Fate
    why: str
    device: bool = False


_TABLE: tuple[tuple[Fate, str, str], ...] = (  # (fate, why, names)
    ("used", "by these the guest is known", "name uuid"),
    ("used", "the new machine has as many", "memory vcpus maxvcpus vcpu_avail"),
    ("used", "how Xen runs it", "type builder"),
    ("used", "the disk that moves", "disk"),
    ("used", "the NICs of the new machine, by their MACs", "vif nics"),
    ("used", "how it boots: on VMware by its own boot loader", "kernel ramdisk loader bootloader"),
    ("used", "arguments of the kernel, which no file of the guest has", "root extra cmdline"),
    (
        "used",
        "xm gives it to the kernel, where ip, dhcp or nfs_root is set",
        "ip dhcp gateway netmask hostname interface nfs_server nfs_root",
    ),
    (
        "checked",
        "refused where it asks for UEFI, and the disk does not start by it",
        "bios firmware bios_path_override firmware_override",
    ),
    ("checked", "refused where the guest would stay, or start again, when it is shut down", "on_poweroff restart"),
    ("checked", "refused: NICs of a kind that only Xen 4.0 knew; write them as `vif`", "vif2"),
    ("told", "how it boots: on VMware by its own boot loader", "bootargs bootentry bootloader_args boot"),
    ("told", "the guest could be given as much while it ran; the new machine has `memory`", "maxmem"),
    (
        "told",
        "its share of the host: set shares, limits and affinity in vSphere by hand",
        "cpu cpus cpus_soft cpu_cap cap cpu_weight period slice latency extratime sched pool nodes vnuma",
    ),
    (
        "told",
        "what follows a stop or a crash: vSphere HA, and the machine's own options, decide that",
        "on_reboot on_crash on_watchdog on_soft_reset on_shutdown on_xend_start on_xend_stop",
    ),
    (
        "told",
        "what software sees of the machine becomes another: licences may ask again",
        "cpuid cpuid_check mca_caps smbios smbios_firmware acpi_firmware ms_vm_genid nestedhvm viridian vendor_device "
        "guest_os_type",
    ),
    ("told", "the clock of the hardware: see that the guest's own is right", "localtime rtc_timeoffset"),
    ("told", "for people", "description"),
    (
        "told",
        "who may do what with it on Xen: set permissions in vSphere by hand",
        "seclabel init_seclabel access_control ssidref",
    ),
    (
        "told",
        "the new machine has none: add what is needed in vSphere by hand",
        "cdrom fda fdb serial parallel soundhw audio channel usbdevice",
    ),
    (
        "told",
        "how the device was passed through",
        "pci_permissive pci_msitranslate pci_power_mgmt pci_seize passthrough rdm rdm_mem_boundary",
    ),
    (
        "means nothing",
        "the screen: VMware's machine has its own",
        "vfb vkb vkb_device vnc vncdisplay vnclisten vncunused vncpasswd vncviewer vncconsole sdl opengl display "
        "xauthority nographic stdvga vga videoram keymap monitor monitor_path spice spicehost spiceport spicetls_port "
        "spicedisable_ticketing spicepasswd spiceagent_mouse spicevdagent spice_clipboard_sharing spiceusbredirection "
        "spice_image_compression spice_streaming_video",
    ),
    (
        "means nothing",
        "hardware of Xen's machine: VMware's has its own",
        "acpi acpi_s3 acpi_s4 acpi_laptop_slate apic pae nx hpet hap oos isa hdtype usb usbversion xen_platform_pci "
        "xen_platform_pci_bar_uc mmio_hole hvm_pirq e820_host altp2m altp2mhvm altp2m_count msr_relaxed s3_integrity "
        "usbport ne2000 pvh suppress_spurious_page_faults machine_address_size vhpt",
    ),
    ("means nothing", "how Xen keeps time for it: VMware has its own way", "tsc_mode timer_mode vpt_align"),
    (
        "means nothing",
        "how Xen itself works",
        "shadow_memory memory_sharing superpages features nomigrate max_event_channels max_grant_frames "
        "max_maptrack_frames max_grant_version vmtrace_buf_kb vpmu xenstore_feature_mask xenstore_quota "
        "xend_suspend_evtchn_compat pvshim pvshim_path pvshim_cmdline pvshim_extra bootloader_restrict "
        "bootloader_user device_model device_model_version device_model_override device_model_user "
        "device_model_stubdomain_override device_model_stubdomain_seclabel "
        "stubdomain_kernel stubdomain_cmdline stubdomain_ramdisk stubdomain_memory dm_restrict target",
    ),
    ("means nothing", "of ARM", "gic_version tee sve vuart device_tree llc_colors nr_spis trap_unmapped_accesses arm_sci"),
)
_DEVICES = (
    "pci vscsi vusb usbdev usbctrl vtpm p9 pvcalls vsnd vdispl virtio gfx_passthru ioports iomem irq irqs dtdev blkif netif "
    "tpmif driver_domain device_model_args device_model_args_pv device_model_args_hvm"
)

SETTINGS: dict[str, XenSetting] = {name: XenSetting(fate, why) for fate, why, names in _TABLE for name in names.split()} | {
    name: XenSetting("told", "it stays behind with the Dom-0", device=True) for name in _DEVICES.split()
}
UNKNOWN = XenSetting("told", "neither manual has it: a variable of the file, or of another program")
DECISIVE = frozenset(name for name, s in SETTINGS.items() if s.fate in ("used", "checked") or s.device)
SECRET = frozenset(("vfb", "vncpasswd", "spicepasswd"))
FOR_QEMU = frozenset(("device_model_args", "device_model_args_pv", "device_model_args_hvm"))  # kept: which devices they add
ADDRESSES = frozenset(  # nobody can write a secret there, and 00:19.0@7 looks like one
    ("pci", "vscsi", "vusb", "usbdev", "usbctrl", "ioports", "iomem", "irq", "irqs", "cpu", "cpus", "cpus_soft", "cpuid")
)


def of(name: str) -> XenSetting:
    """What becomes of a setting."""
    return SETTINGS.get(name, UNKNOWN)
