"""What vSphere has, compared with what was ordered: by MAC, by leaf properties, never by a device's place in a list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from hikkoshi.artefact import Frozen
from hikkoshi.check import Check
from hikkoshi.vsphere import vm
from hikkoshi.vsphere.inventory import Place, PortGroup
from hikkoshi.vsphere.spec import VirtualNic, VmSpec
from hikkoshi.vsphere.spec import place as place_of

CONTROLLERS = {
    "pvscsi": vim.vm.device.ParaVirtualSCSIController,
    "lsisas1068": vim.vm.device.VirtualLsiLogicSASController,
    "lsilogic": vim.vm.device.VirtualLsiLogicController,
}
MODELS = {"vmxnet3": vim.vm.device.VirtualVmxnet3, "e1000": vim.vm.device.VirtualE1000}


class NicFound(Frozen):
    """A NIC as vSphere has it."""

    mac: str
    label: str
    model: str
    port_group: str
    vlan: int | None
    start_connected: bool
    connected: bool


@dataclass(frozen=True)
class NicPlace:
    """A planned NIC, and what vSphere has for it: None where it has no such NIC."""

    nic: VirtualNic
    seen: NicFound | None

    @property
    def misplaced(self) -> bool:
        """Whether it is on another port group, or in another VLAN, than planned."""
        return self.seen is not None and (self.seen.port_group, self.seen.vlan) != (self.nic.port_group, self.nic.vlan)

    @property
    def found(self) -> str:
        """Where it is, in words."""
        if self.seen is None:
            return "not there yet"
        group = f"{self.seen.port_group or 'no port group'}, " if self.misplaced else ""
        return f"{group}VLAN {self.seen.vlan}, {'connected' if self.seen.connected else 'unplugged'}"

    def row(self, *, plugged: bool) -> dict[str, str]:
        """For a reader; its verdict is ok where it is as planned, and plugged in, or unplugged, both now and at power-on."""
        nic, seen, now = self.nic, self.seen, {True: "connected", False: "unplugged"}
        if seen is None:
            verdict = "not there"
        elif self.misplaced:
            verdict = "✘ not as planned"
        else:
            verdict = "ok" if seen.connected == seen.start_connected == plugged else f"not {now[plugged]}"
        return {
            "NIC": nic.name,
            "MAC": nic.mac,
            "planned": f"{nic.port_group}, VLAN {nic.vlan}",
            "in vSphere": f"{seen.port_group}, VLAN {seen.vlan}" if seen else "–",
            "model": seen.model if seen else "–",
            "at power-on": now[seen.start_connected] if seen else "–",
            "now": now[seen.connected] if seen else "–",
            "verdict": verdict,
        }


def found_nics(machine: vm.VirtualMachine, groups: Sequence[PortGroup]) -> tuple[NicFound, ...]:
    """The NICs of a machine, with port group and VLAN looked up, sorted by MAC."""
    found = []
    for mac, card in sorted(machine.nics.items()):
        group = group_of(card.backing, groups)
        plug = card.connectable
        found.append(
            NicFound(
                mac=mac,
                label=str(card.deviceInfo.label) if card.deviceInfo else "",
                model=next((name for name, kind in MODELS.items() if isinstance(card, kind)), type(card).__name__),
                port_group=group.name if group else "",
                vlan=group.vlan if group else None,
                start_connected=bool(plug and plug.startConnected),
                connected=bool(plug and plug.connected),
            )
        )
    return tuple(found)


def group_of(backing: Any, groups: Sequence[PortGroup]) -> PortGroup | None:
    """The port group that a NIC's backing means: a distributed one by its key, a standard one by its name."""
    key = getattr(getattr(backing, "port", None), "portgroupKey", None)
    if key:
        return next((g for g in groups if g.key == key), None)
    name = getattr(backing, "deviceName", None)
    return next((g for g in groups if g.name == name and g.switch == "standard"), None)


def _told(places: Iterable[tuple[int, int]]) -> str:
    """`0:0, 0:1`, as the vSphere client has it."""
    return ", ".join(f"{controller}:{unit}" for controller, unit in places)


def _provisioned(backing: Any) -> str:
    """As `VmSpec.provisioning` has it."""
    return "thin" if backing.thinProvisioned else "eager" if backing.eagerlyScrub else "thick"


def compare(machine: vm.VirtualMachine, spec: VmSpec, place: Place) -> list[Check]:
    """Everything that was ordered against everything that is there."""
    devices, p = machine.devices, machine.p
    buses = {d.key: d.busNumber for d in devices if isinstance(d, CONTROLLERS[spec.controller])}
    places = [place_of(n) for n in range(len(spec.disks))]
    there_are = [d for d in devices if isinstance(d, vim.vm.device.VirtualDisk)]
    placed = [((buses.get(d.controllerKey or 0, -1), d.unitNumber or 0), d) for d in there_are]
    disks = sorted(placed, key=lambda disk: disk[0])
    there = {n.mac: n for n in found_nics(machine, place.port_groups)}
    remedy = "correct it in the machine's settings in the vSphere client; nothing was switched on"

    def check(*, code: str, title: str, found: object, want: object, remedy: str = remedy) -> Check:
        return Check(
            code=code, title=title, ok=found == want, found=str(found), expected=str(want), remedy=remedy, where=machine.name
        )

    checks = [
        check(
            code="machine-name",
            title="name",
            found=machine.name,
            want=spec.name,
            remedy=f"rename {machine} to {spec.name} in the vSphere client, then run this again",
        ),
        check(code="machine-guest-id", title="operating system", found=p.get("config.guestId"), want=spec.guest_id),
        check(
            code="machine-hardware-version",
            title="hardware version",
            found=p.get("config.version"),
            want=f"vmx-{spec.hardware_version:02d}",
        ),
        check(code="machine-firmware", title="firmware", found=p.get("config.firmware") or "bios", want=spec.firmware),
        check(code="machine-processors", title="processors", found=p.get("config.hardware.numCPU"), want=spec.vcpus),
        check(code="machine-memory", title="memory in MB", found=p.get("config.hardware.memoryMB"), want=spec.memory_mb),
        check(
            code="machine-disks",
            title="disks, in bytes",
            found=", ".join(str(d.capacityInKB * 1024) for _, d in disks),
            want=", ".join(map(str, spec.disks)),
        ),
        *(
            [
                check(
                    code="machine-disks-provisioned",
                    title="room of the disks",
                    found=", ".join(sorted({_provisioned(d.backing) for _, d in disks})),
                    want=spec.provisioning,
                    remedy="some datastores decide that themselves: take `disks` out of the guest's file, then plan again",
                )
            ]
            if spec.provisioning != "thin"  # of which not every server tells
            else []
        ),
        *(
            [check(code="machine-disk-places", title="the disks' places", found=_told(p for p, _ in disks), want=_told(places))]
            if len(places) > 1
            else []
        ),
        check(
            code="machine-controllers",
            title=f"{spec.controller} controllers",
            found=len(buses),
            want=len({controller for controller, _ in places}),
        ),
        check(
            code="machine-macs",
            title="MACs",
            found=", ".join(sorted(there)),
            want=", ".join(sorted(n.mac.lower() for n in spec.nics)),
        ),
    ]
    for nic in spec.nics:
        seen = there.get(nic.mac.lower())
        wanted = f"{spec.nic_model} on {nic.port_group}, VLAN {nic.vlan}"
        found = f"{seen.model} on {seen.port_group}, VLAN {seen.vlan}" if seen else "not there"
        checks.append(check(code="machine-nic", title=f"{nic.name} ({nic.mac})", found=found, want=wanted))
    return checks
