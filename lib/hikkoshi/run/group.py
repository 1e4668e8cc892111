"""What is good, told in a line a group: among fifty rows that all say ok, nobody finds the one that does not."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

FOLDED = 5  # good rows, above which they are told in groups
ALWAYS = ("plan-approved",)  # codes of good checks that are shown all the same: by whom, and until when
EVERY, OTHERS = "{count} as expected", "{count} more as expected"  # of checks that are not alike

SETTINGS = "{count} settings of the machine are as planned"

ALIKE = {  # {code: how several checks of that kind are told together, where each is as expected}
    "brought-file-as-planned": "{count} files that are brought along are as planned",
    "first-start-ended-well": "{count} scripts ran at the first start",
    "host-reachable": "{count} machines can be reached",
    "machine-controllers": SETTINGS,
    "machine-disks": SETTINGS,
    "machine-firmware": SETTINGS,
    "machine-guest-id": SETTINGS,
    "machine-hardware-version": SETTINGS,
    "machine-macs": SETTINGS,
    "machine-memory": SETTINGS,
    "machine-name": SETTINGS,
    "machine-processors": SETTINGS,
    "machine-nic": "{count} NICs of the machine are as planned",
    "nic-on-its-segment": "{count} NICs are seen on their segments, from inside the guest",
    "nic-wired": "{count} NICs are connected to their port groups",
    "parameters-usable": "{count} parameter files can be used",
    "port-group-there": "{count} NICs have their port groups and VLANs",
    "script-usable": "{count} scripts can be brought along",
    "segment-answers": "{count} segments answer",
    "segment-not-slowed": "{count} segments are not slowed down",
    "segment-watched-from-inside": "{count} segments can be watched",
    "vlan-seen": "{count} VLANs are seen by the hosts",
}


class Coded(Protocol):
    """A check, or what a journal tells of one."""

    @property
    def code(self) -> str:
        """What was looked at."""


C = TypeVar("C", bound=Coded)


def groups(good: Sequence[C]) -> dict[str, list[C]]:
    """{words, for their `{count}`: the checks that they stand for}, each check once, the others last."""
    kinds: dict[str, list[C]] = {}
    for check in good:
        kinds.setdefault(ALIKE.get(check.code, OTHERS), []).append(check)
    found = {words: kinds[words] for words in dict.fromkeys(ALIKE.values()) if len(kinds.get(words, ())) > 1}
    others = [c for c in good if ALIKE.get(c.code, OTHERS) not in found]
    return found | ({OTHERS if found else EVERY: others} if others else {})
