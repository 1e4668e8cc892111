"""Faults of the moved gateway's cables, made where somebody would make them: in vSphere."""

from collections.abc import Mapping

from pyVmomi import vim

from hikkoshi.errors import Problem, Refused
from hikkoshi.run.step import DEPLOY
from hikkoshi.vsphere import inventory, readback, vm
from hikkoshi.vsphere.session import Session
from hikkoshi_lab.network import MACS, NICS

FAULTS: Mapping[str, str] = {
    "swap": "in vSphere the port groups of the gateway's eth3 and eth7 are exchanged",
    "cut": "in vSphere the gateway's NIC of vlan304 is not connected",
    "none": "in vSphere every NIC of the gateway is on its own port group",
}


def put(v: Session, fault: str) -> str:
    """Put one of `FAULTS` in place of any other; gives what is wrong then. No NIC of a machine that is off is connected.

    `Refused` where no machine in vSphere has the gateway's NICs.
    """
    machine = next((m for m in vm.every(v).values() if m.nics.keys() >= set(MACS.values())), None)
    if machine is None:
        raise Refused(
            Problem(
                code="lab-gateway-not-there",
                what="the lab's gateway is not in vSphere yet",
                where=v.where,
                found="no machine with its MACs",
                expected=f"the machine that {DEPLOY} makes",
                remedy=f"hikkoshi run gateway --apply --through {DEPLOY}",
            )
        )
    groups = inventory.port_groups(v, v.content.rootFolder)
    found = {mac: readback.group_of(card.backing, groups) for mac, card in machine.nics.items()}
    backings = {f"vlan{group.vlan}": machine.nics[mac].backing for mac, group in found.items() if group}
    own = dict(NICS)
    if fault == "swap":
        own["eth3"], own["eth7"] = own["eth7"], own["eth3"]
    changes = []
    for nic, segment in own.items():
        card = machine.nics[MACS[nic]]
        card.backing = backings.get(segment, card.backing)
        if machine.power == "poweredOn":
            card.connectable.connected = (fault, segment) != ("cut", "vlan304")
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    v.wait(machine.thing.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changes)), "change the gateway's NICs")
    return FAULTS[fault]
