"""10: what the guest is, by its Xen configuration, its disk, and the files in it. Nothing is decided yet."""

from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.guest import nics, survey
from hikkoshi.guest.survey import Survey
from hikkoshi.progress import Progress, silent
from hikkoshi.run.run import Run
from hikkoshi.run.step import OFFLOADS, SURVEY
from hikkoshi.steps.runbook import Runbook
from hikkoshi.xen import config, dom0, original

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
        survey.movable(xen)
        return config.table(xen)

    def rest(self) -> list[dict[str, str]]:
        """What else the Xen configuration says, and what becomes of each setting."""
        return config.rest(survey.configuration(self.run.home, self.run.site, self.run.guest))

    def checks(self) -> list[Check]:
        """The guest is off, or may still be running; it is known what the source is started from; its disk can be moved."""
        where = self.run.home, self.run.site, self.run.guest
        return [dom0.source_off(*where).waiting(), original.check(*where), *survey.limits(*where)]

    def start(self, progress: Progress = silent) -> None:
        """Read the disk to its end, look at the file systems inside, and write survey.json."""
        self._found = survey.start(self.run.home, self.run.site, self.run.guest, progress=progress)

    def facts(self) -> list[dict[str, str]]:
        """What the guest is."""
        found = Survey.load(self.run.folder)
        g, x, d = found.guest, found.xen, found.disk
        kernels = "; ".join(f"{k.index}: {k.version}{' (Xen only)' if k.xen_only else ''}" for k in g.kernels)
        facts = {
            "operating system": f"{g.distribution} {g.release}, {g.arch}, host name {g.hostname}",
            "processors, memory": f"{x.vcpus} vCPU, {x.memory_mb} MB",
            "disk": f"{d.path}: {d.bytes:,} bytes, {d.allocated_bytes:,} of them allocated",
            "boot loader": f"{g.boot_loader}, {g.boot_config or 'no menu'}, default entry {g.default_kernel}",
            "kernels": kernels,
            "role": f"{_ROLES[g.forwards]}: {g.forwards_because}",
            **({"NOT moved": ", ".join(found.left_out)} if found.left_out else {}),
            **({"to be known": " · ".join(map(str, told))} if (told := survey.notes(x)) else {}),
            "passwords and keys in its files": f"{max(g.secrets, 0)}, none of them kept: words stand for them",
            "content digest": found.digest,
        }
        return [{"what": what, "found": words} for what, words in facts.items()]

    def nics(self) -> list[dict[str, str]]:
        """Each NIC: as Xen has it, as the guest has it, and the segment it belongs to."""
        found = Survey.load(self.run.folder)
        names = survey.names(found)
        macs = dict(zip(names, (v.mac.lower() for v in found.xen.vifs), strict=True))
        inside = nics.configured(found.guest, macs)
        segments = {n.mac.lower(): n.segment for n in self.run.guest.nics}
        rows = []
        for name, vif in zip(names, found.xen.vifs, strict=True):
            own = next(iter(inside[name]), None)
            addressed = [own] if own else nics.above(found.guest, name)  # a bridge may have the address of its NIC
            addresses = [a for i in addressed for a in (i.address, *i.further) if a]
            by = ", ".join(i.place for i in addressed)
            rows.append(
                {
                    "NIC": name,
                    "MAC (Xen)": vif.mac,
                    "bridge": vif.bridge,
                    "HWADDR (guest)": nics.tie(found.guest, own) if own else "not configured",
                    "address": ", ".join(addresses) or ("DHCP" if any(i.dhcp for i in addressed) else "none" if by else "–"),
                    "configured in": by or "–",
                    "segment": segments.get(vif.mac.lower(), "NOT MAPPED"),
                }
            )
        return rows

    def proofs(self) -> list[Check]:
        """What was found stands in the file."""
        written = Survey.load(self.run.folder)
        return [
            Check(
                code="survey-written",
                title=f"{Survey.filename} holds what was found",
                ok=written == self._found,
                found=f"content digest {written.digest}",
                expected="the survey that this run has made",
                remedy="run this notebook again from its first cell",
                where=str(self.run.folder),
            )
        ]

    def evidence(self) -> list[Path]:
        """The survey."""
        return [self.run.folder.survey]
