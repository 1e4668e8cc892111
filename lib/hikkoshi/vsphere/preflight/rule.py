"""The rules that a machine, and the vSphere that it comes to, have to keep: a catalogue, by their codes.

docs/preflight.md is made of it. A rule that stops is lowered in params/site.yml alone, with a reason, and only where nobody
else is harmed by it: then it is told, and stops nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hikkoshi.check import Check
from hikkoshi.errors import nearest

SETTING = "params/site.yml: vsphere.lowered"


@dataclass(frozen=True)
class Rule:
    """`stops`: where it is not kept, 20 and 60 go no further; `tells`: it is only shown."""

    why: str
    severity: Literal["stops", "tells"] = "stops"
    may_be_lowered: bool = False


def _lowerable(why: str) -> Rule:
    return Rule(why, may_be_lowered=True)


RULES: Mapping[str, Rule] = {
    # by the specification alone
    "machine-name-usable": Rule("A name becomes a folder's and a file's name; vSphere, or a datastore, takes no others."),
    "memory-allowed": Rule("ESXi refuses memory that is no multiple of 4 MB, or more than the hardware version has."),
    "processors-allowed": Rule("A hardware version has a most of virtual processors."),
    "capacity-whole-mib": Rule("A VMDK for an import counts in grains; 20 pads each disk to a MiB."),
    "disk-fits-target": Rule("vSphere before 5.5 has no disk of 2 TiB or more. It is told before anything is read."),
    "disk-count-allowed": Rule("A machine has four controllers, each of 15 disks."),
    "nic-count-allowed": Rule("A machine has ten NICs at most, four before hardware version 7."),
    "macs-well-formed": Rule("What is no MAC is refused by ESXi, after the upload."),
    "macs-unicast": Rule("A group's address is no NIC's."),
    "macs-unique": Rule("Two NICs with one MAC break the network for both."),
    "macs-not-reserved": Rule("ESXi takes no MAC by hand that vCenter gives by itself."),
    "vlan-ids-valid": Rule("802.1Q has VLANs 1 to 4094; 0 is untagged."),
    "devices-in-hardware-version": Rule("An older hardware version lacks some controllers, NICs, and EFI."),
    "guest-id-known": Rule("vSphere knows operating systems by a fixed list of names."),
    "guest-id-in-hardware-version": Rule("A name that came later is not taken; the nearest older one serves as well."),
    # by what vSphere tells
    "place-there": Rule("Datacenter, cluster, datastore and folder of params/site.yml have to be there, once each."),
    "host-can-take": Rule("One host has to be up, out of maintenance, with the datastore and every port group."),
    "datastore-has-room": _lowerable("A thin disk grows to its full size; then the memory's swap file, and a reserve."),
    "machine-name-free": Rule("A machine that is not ours is never touched."),
    "macs-free": Rule("Two machines with one MAC break the network for both. Every machine in vSphere is looked at."),
    "port-group-there": Rule(
        "Each NIC meets exactly one port group with exactly its VLAN. A trunk, a private VLAN or an uplink is none, and neither "
        "is a group that has another VLAN on another host."
    ),
    "port-group-has-uplink": _lowerable("A port group without an active uplink reaches nobody outside its host."),
    "port-group-passes-macs": _lowerable(
        "A guest with MACADDR=, a bridge or VRRP's virtual MAC uses other MACs than its NIC's. A port group that rejects forged "
        "transmits, MAC changes or promiscuous mode drops these."
    ),
    "hardware-version-possible": Rule("The cluster tells which hardware versions it can make."),
    "guest-id-possible": _lowerable("The cluster tells which operating systems it takes with this hardware version."),
    "privileges-granted": _lowerable("A missing privilege shows after hours of upload, or at the cut-over."),
    "clocks-agree": _lowerable("A guest takes its host's time when it starts; records have ours."),
    "none-elsewhere": Rule("A guest goes to one vSphere. The site's others are asked for its machine and its MACs, by 70 too."),
    # by the guest, before it is deployed
    "nics-tied-to-macs": Rule(
        "vSphere gives the NICs after the fourth places on the PCI bus that come before the others. Names have to follow the MAC."
    ),
    "forwarder-in-reach": _lowerable(
        "LRO of vmxnet3 makes a guest that forwards about a hundred times slower. It takes the guest's shell to see and mend it."
    ),
    "source-off-since-copied": Rule("What a running source writes is not in the copy, and 70 refuses it then.", "tells"),
}


def judged(checks: Iterable[Check], lowered: Mapping[str, str]) -> list[Check]:
    """The same, but what is red by a rule that the site has lowered is told with the reason, and stops nothing."""
    return [_told(c, lowered[c.code]) if not c and c.code in lowered and _may(c.code) else c for c in checks]


def unlowered(lowered: Mapping[str, str]) -> list[Check]:
    """What the site has lowered and may not, or what is no rule: one for each."""
    return [_unlowered(code) for code in lowered if not _may(code)]


def _may(code: str) -> bool:
    return code in RULES and RULES[code].may_be_lowered


def _told(check: Check, reason: str) -> Check:
    facts = {**check.facts, "found": check.found, "reason": reason}
    return replace(check, ok=True, unseen="lowered", found=f"{check.found}; lowered in {SETTING}: {reason}", facts=facts)


def _unlowered(code: str) -> Check:
    can = [known for known, rule in RULES.items() if rule.may_be_lowered]
    return Check(
        code="rule-can-be-lowered",
        title=f"the rule {code} can be lowered",
        ok=False,
        found="it guards others, too, or the import cannot do without" if code in RULES else "there is no such rule",
        expected="one of: " + ", ".join(can),
        remedy=nearest(code, can) or f"take {code} out; docs/preflight.md lists the rules",
        where=SETTING,
    )
