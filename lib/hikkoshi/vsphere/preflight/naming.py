"""Whether the guest names its NICs by their MACs: by their order it would name them otherwise in vSphere, where there are many.

ESXi puts the fifth NIC and those after it behind other PCI bridges. A kernel that numbers NICs as it finds them may meet these
first (Broadcom KB 344983).
"""

from collections.abc import Collection

from hikkoshi.check import Check
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.run.step import PREPARE
from hikkoshi.vsphere.spec import VirtualNic

IN_ORDER = 4  # NICs that vSphere keeps in their order on the bus


def tied(nics: Collection[VirtualNic], facts: GuestFacts | None) -> Check:
    """By the facts of the prepared copy; None where there is none yet."""
    by_mac = {mac.lower() for mac in facts.pinned.values()} if facts else set()
    by_mac |= {i.mac.lower() for i in facts.interfaces if i.mac} if facts else set()
    loose = [n.name for n in nics if n.mac.lower() not in by_mac] if len(nics) > IN_ORDER else []
    few = f"{len(nics)} NICs, which keep their order"
    return Check(
        code="nics-tied-to-macs",
        title="the guest names its NICs by their MACs",
        ok=not loose,
        found=f"by order alone: {', '.join(loose)}" if loose else few if len(nics) <= IN_ORDER else f"{len(nics)} of {len(nics)}",
        expected=f"each of more than {IN_ORDER} NICs by its MAC: HWADDR, a rule of udev, or a link file of systemd",
        remedy=f"run {PREPARE} again, which ties them; if it cannot, tie each name to its MAC in the guest, and survey again",
        where="the prepared copy",
        later=facts is None,
    )
