"""Whether somebody can see, and mend, what a vmxnet3 NIC does to a guest that forwards: LRO merges what it receives.

Merged frames are longer than the MTU of the NIC that they leave by, and are lost; the guest forwards a hundred times slower
(VMware KB 1027511). 80 sees it and 85 switches LRO off, both by the guest's own shell.
"""

from hikkoshi.check import Check
from hikkoshi.params.guest import Guest
from hikkoshi.run.step import NETPERF, OFFLOADS

MERGES = "vmxnet3"


def check(guest: Guest, nic_model: str, forwards: bool | None) -> Check:
    """By the guest's parameters, and whether it forwards by its files; None where these leave that open."""
    reached = guest.measurement is not None
    open_ = not reached and forwards is None and nic_model == MERGES
    role = {True: "it forwards", False: "it does not forward", None: "its files do not tell whether it forwards"}[forwards]
    shell = f"{guest.measurement.shell} is asked" if guest.measurement else "its file has no `measurement`, so no shell is asked"
    return Check(
        code="forwarder-in-reach",
        title="a guest that forwards on vmxnet3 can be measured, and LRO switched off in it",
        ok=reached or nic_model != MERGES or not forwards,
        found=f"{role}; {nic_model}; {shell}",
        expected="`measurement` with a shell, another NIC model, or no forwarding",
        remedy=f"write `measurement` into its file, by which {NETPERF} measures it and {OFFLOADS} switches LRO off; if you do "
        "that by hand, lower this rule with that as the reason",
        where=f"params/guests/{guest.name}.yml",
        unseen="not seen" if open_ else "",
    )
