"""Which port group each VLAN has, and so what is a segment: exactly one is taken, anything else a person decides."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hikkoshi.params.site import Segment
from hikkoshi.vsphere.inventory import PortGroup


@dataclass(frozen=True)
class SegmentChoice:
    """A VLAN with the port groups that have it. `port_group` is empty where there is not exactly one."""

    vlan: int
    groups: tuple[str, ...]  # in words
    port_group: str = ""

    @property
    def name(self) -> str:
        """The segment's name: vlan301, untagged."""
        return f"vlan{self.vlan}" if self.vlan else "untagged"


def choices(vlans: Iterable[int], groups: Iterable[PortGroup]) -> tuple[SegmentChoice, ...]:
    """One for each VLAN, in the order of their numbers. A name that two port groups share names neither."""
    every = list(groups)
    names = Counter(g.name for g in every)
    found = []
    for vlan in sorted(set(vlans)):
        fit = [g for g in every if g.vlan == vlan]
        only = fit[0].name if len(fit) == 1 and names[fit[0].name] == 1 else ""
        found.append(SegmentChoice(vlan, tuple(map(str, fit)), only))
    return tuple(found)


def offered(groups: Iterable[PortGroup]) -> tuple[SegmentChoice, ...]:
    """Every VLAN that has exactly one port group: of these a person chooses where the Dom-0 does not tell a NIC's VLAN."""
    every = list(groups)
    return tuple(c for c in choices((g.vlan for g in every if g.vlan is not None), every) if c.port_group)


def of(vlans: Iterable[int | None], groups: Iterable[PortGroup]) -> tuple[SegmentChoice, ...]:
    """The segments of a new site: the VLANs that NICs are on, and where one is not known or untagged, all that are offered."""
    told, every = list(vlans), list(groups)
    used = choices(filter(None, told), every)
    more = offered(every) if not all(told) or not used else ()
    return tuple({c.vlan: c for c in sorted((*more, *used), key=lambda c: c.vlan)}.values())


def names(segments: Mapping[str, Segment]) -> dict[int, list[str]]:
    """{VLAN: the names of its segments} of a site."""
    found: dict[int, list[str]] = {}
    for name, segment in segments.items():
        found.setdefault(segment.vlan, []).append(name)
    return found
