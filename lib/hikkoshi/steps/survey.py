"""10: what the guest is, by its Xen configuration, its disk, and the files in it. Nothing is decided yet."""

from collections.abc import Mapping
from pathlib import Path

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.guest import device, nics, survey
from hikkoshi.guest.facts import GuestFacts, Interface, Partition
from hikkoshi.guest.survey import Survey
from hikkoshi.network import interview
from hikkoshi.progress import Progress, silent
from hikkoshi.run.run import Run
from hikkoshi.run.step import OFFLOADS, PREPARE, SURVEY
from hikkoshi.steps.runbook import Runbook
from hikkoshi.xen import autostart, config, dom0, original
from hikkoshi.xen.live import backing, differences, machines, segments, version
from hikkoshi.xen.reach.kinds import one_look

_ROLES = {True: "forwards", False: "does not forward", None: f"forwards or not, not known ({OFFLOADS} asks the running guest)"}


class SurveyGuest(Runbook):
    """10 · Survey a guest."""

    step = SURVEY

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._found: Survey | None = None

    def configuration(self) -> list[dict[str, str]]:
        """What is used of the Xen configuration; `BadInput` for one with code in it, and for a guest that cannot move."""
        xen = survey.configuration(self.run.home, self.run.site, self.run.guest)
        survey.movable(xen, self.run.site.dom0s[self.run.guest.dom0].kind)
        return config.table(xen)

    def rest(self) -> list[dict[str, str]]:
        """What else the Xen configuration says, and what becomes of each setting."""
        return config.rest(survey.configuration(self.run.home, self.run.site, self.run.guest))

    @one_look()
    def checks(self) -> list[Check]:
        """Whether the guest is off; what it is started from and by; how it runs; where its NICs and disks are; what can move."""
        home, site, guest = where = self.run.home, self.run.site, self.run.guest
        known = [*machines.checks(home, site), *version.checks(site, guest), autostart.told(*where, before=True)]
        told = [*differences.checks(site, guest), *segments.checks(site, guest), *backing.checks(site, guest)]
        return [dom0.source_off(*where).waiting(), original.check(*where), *known, *told, *survey.limits(*where)]

    def start(self, progress: Progress = silent) -> None:
        """Read the disk to its end, look at the file systems inside, and write survey.json."""
        self._found = survey.start(self.run.home, self.run.site, self.run.guest, run=self.run.id, progress=progress)

    def facts(self) -> list[dict[str, str]]:
        """What the guest is."""
        return rows(Survey.load(self.run.folder))

    def nics(self) -> list[dict[str, str]]:
        """Each NIC: as Xen has it, as the guest has it, and its segment; then whatever else the guest configures."""
        return nic_rows(Survey.load(self.run.folder), {n.mac.lower(): n.segment for n in self.run.guest.nics})

    @one_look()
    def proofs(self) -> list[Check]:
        """What was found stands in the file; and the guest, where it runs and its shell can be asked, says the same of itself."""
        written = Survey.load(self.run.folder)
        off = dom0.source_off(self.run.home, self.run.site, self.run.guest)
        said = interview.checks(self.run.guest, written, self.run.home.root, off=off.ok and not off.unseen)
        return [
            Check(
                code="survey-written",
                title=f"{Survey.filename} holds what was found",
                ok=written == self._found,
                found=f"content digest {written.digest}",
                expected="the survey that this run has made",
                remedy="run this notebook again from its first cell",
                where=str(self.run.folder),
            ),
            *said,
        ]

    def evidence(self) -> list[Path]:
        """The survey."""
        return [self.run.folder.survey]


def rows(found: Survey) -> list[dict[str, str]]:
    """A survey as rows for a reader."""
    g, x, d = found.guest, found.xen, found.disk
    count = len(found.origin.disks)
    kernels = "; ".join(f"{k.index}: {k.version}{' (Xen only)' if k.xen_only else ''}" for k in g.kernels)
    facts = {
        "operating system": f"{g.distribution} {g.release}, {g.arch}, host name {g.hostname}",
        "processors, memory": f"{x.vcpus} vCPU, {x.memory_mb} MB",
        "disk": f"{f'{count} disks' if count > 1 else d.path}: {d.bytes:,} bytes, {d.allocated_bytes:,} of them allocated",
        **{
            f"becomes {device.new(n)}": f"{source}: {content.bytes:,} bytes, content digest {content.digest}"
            for n, (source, content) in enumerate(zip(found.origin.disks, found.disks, strict=False))
        },
        "at its beginning": f"partition table: {d.table}; boot code: {d.boot_loader}",
        "file systems": "; ".join(map(_volume, g.partitions)),
        "boot loader": f"{g.boot_loader}, {g.boot_config or 'no menu'}, default entry {g.default_kernel}",
        "kernels": kernels,
        **({"packages": f"{len(g.installed)} that dpkg has installed"} if g.installed else {}),
        "role": f"{_ROLES[g.forwards]}: {g.forwards_because}",
        **({"NOT moved": ", ".join(found.left_out)} if found.left_out else {}),
        **({"to be known": " · ".join(map(str, told))} if (told := survey.notes(x)) else {}),
        "passwords and keys in its files": f"{max(g.secrets, 0)}, none of them kept: words stand for them",
        **({"Xen": found.xen_version} if found.xen_version else {}),
        **({"starts with its Dom-0": f"by {', '.join(found.autostart)}"} if found.autostart else {}),
        **({"read while it ran": _moment(found)} if found.crash_consistent else {}),
        "content digest": found.digest,
    }
    return [{"what": what, "found": words} for what, words in facts.items()]


def _moment(found: Survey) -> str:
    how = f"paused for {found.paused_seconds:.0f} s" if found.paused_seconds else "from snapshots"
    return f"crash-consistent: as after a power cut, {how}. Shut it down and survey it again before {PREPARE}"


def nic_rows(found: Survey, segments: Mapping[str, str]) -> list[dict[str, str]]:
    """Each NIC, and then each interface of the guest's files that stands on none; `segments` by the MACs of NICs."""
    names = survey.names(found)
    macs = dict(zip(names, (v.mac.lower() for v in found.xen.vifs), strict=True))
    inside = nics.configured(found.guest, macs)
    made, shown = [], []
    for name, vif in zip(names, found.xen.vifs, strict=True):
        own, above = inside[name][:1], nics.stacked(found.guest, name)
        known = {"NIC": name, "MAC (Xen)": vif.mac, "bridge": vif.bridge}
        segment = segments.get(vif.mac.lower(), "NOT MAPPED")
        made.append(known | _configured(found.guest, own, above) | {"segment": segment})
        shown += [*own, *above]
    for other in (i for i in found.guest.interfaces if i not in shown):
        known = {"NIC": _called(other), "MAC (Xen)": "–", "bridge": "–"}
        made.append(known | _configured(found.guest, [other], []) | {"segment": "–"})
    return made


def _configured(guest: GuestFacts, own: list[Interface], above: list[Interface]) -> dict[str, str]:
    """What the guest's files say of a NIC, and of the bridges, bonds and VLANs that stand on it."""
    ties = (nics.tie(guest, i) + (f", sets {i.own_mac} by {i.own_mac_by}" if i.own_mac else "") for i in own)
    addresses = [a for i in own for a in _addresses(i)]
    addresses += [f"{a} on {i.name}" for i in above for a in _addresses(i)]
    belongs = [*map(_called, above), *(i.part_of for i in own if i.part_of and i.part_of not in (a.name for a in above))]
    return {
        "HWADDR (guest)": next(ties, "not configured"),
        "address": ", ".join(addresses) or ("none" if own or above else "–"),
        "configured in": ", ".join(i.place for i in (*own, *above)) or "–",
        "part of": ", ".join(belongs) or "–",
    }


def _addresses(interface: Interface) -> list[str]:
    return [*filter(None, (interface.address, *interface.further)), *(["DHCP"] if interface.dhcp else [])]


def _called(interface: Interface) -> str:
    """`bond0 (bond of eth0, eth1)`."""
    if interface.kind == "nic":
        return interface.name or "–"
    kind = {"vlan": f"VLAN {interface.vlan}" if interface.vlan >= 0 else "VLAN", "other": "no NIC"}.get(
        interface.kind, interface.kind
    )
    return f"{interface.name} ({kind}{' of ' + ', '.join(interface.over) if interface.over else ''})"


def _volume(partition: Partition) -> str:
    """`/dev/sda1: ext3, 101.9 MiB, /boot`."""
    part = f" (subvolume {partition.subvolume})" if partition.subvolume else ""
    told = ((partition.fstype or "not known") + part, files.human(partition.bytes), partition.mountpoint or "not mounted")
    return f"{partition.device}: {', '.join(told)}"
