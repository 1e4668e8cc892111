"""What earlier steps have left of a plan, as the page to approve tells of it: what is bound, what is proved, what is open."""

from collections.abc import Iterator
from typing import TypeVar

from hikkoshi.approval.plan import Plan
from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput
from hikkoshi.guest.survey import Survey
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.rehearsal import rehearsal
from hikkoshi.rehearsal.outcome import BootOutcome
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run.step import CONVERT, DEPLOY, OFFLOADS
from hikkoshi.translation import Gettext
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.handover import HandOver
from hikkoshi.xen.wire import proving

Points = Iterator[str]  # a line that is not to be wrapped begins with the page's INDENT
A = TypeVar("A", bound=Artefact)


class Results:
    """What earlier steps have left, as far as it is of this plan."""

    def __init__(self, folder: GuestFolder, plan: Plan, _: Gettext, of_check: Gettext) -> None:
        self._plan, self._unreadable, self._words, self._of_check = plan, list[str](), _, of_check
        self._conversion = self._find(Conversion, folder)
        self._survey = self._find(Survey, folder)
        rehearsed = self._find(Rehearsal, folder)
        deployed, handed = self._find(Deployment, folder), self._find(HandOver, folder)
        sha256 = self._conversion.vmdk_sha256 if self._conversion else ""
        same = (plan.hash, sha256)
        self._rehearsal = rehearsed if rehearsed and (rehearsed.plan_hash, rehearsed.vmdk_sha256) == same else None
        self._deployment = deployed if deployed and (deployed.plan_hash, deployed.vmdk_sha256) == same else None
        self._handed = (
            handed if plan.terms.vsphere.handover and handed and (handed.plan_hash, handed.vmdk_sha256) == same else None
        )
        self._others = [
            _("{file} is of another plan or disk, and counts for nothing").format(file=name)
            for name, known, own in (
                (Rehearsal.filename, rehearsed, self._rehearsal),
                (Deployment.filename, deployed, self._deployment),
            )
            if known and not own
        ]

    @property
    def vmdk(self) -> str:
        """SHA-256 of the disk that was deployed."""
        made = self._handed or self._deployment
        return made.vmdk_sha256 if made else ""

    @property
    def machine(self) -> str:
        """Instance UUID of the machine that was made of it; of a contractor's the SHA-256 of the OVF descriptor."""
        if self._handed:
            return self._handed.descriptor_sha256
        return self._deployment.instance_uuid if self._deployment else ""

    def bound(self) -> Points:
        """What may not be another when it is acted upon: nothing is done then, and it has to be approved again."""
        _, terms = self._words, self._plan.terms
        host, net = terms.dom0, terms.measurement
        yield _("the plan with the SHA-256 above: every decision on this page, and all that follows but disk and machine")
        disk = _("disk: SHA-256 {sha256}") if self.vmdk else _("disk: not there yet, nothing can be approved")
        yield disk.format(sha256=self.vmdk)
        known = _("the SHA-256 of the OVF descriptor that the contractor has") if self._handed else _("its instance UUID")
        machine = _("machine: {identity}, {known}") if self.machine else _("machine: not there yet")
        yield machine.format(identity=self.machine, known=known)
        yield _("source: content digest {digest}").format(digest=self._plan.source_digest)
        yield self._vsphere()
        own = _("; the source is started from {file}").format(file=host.start_config) if host.start_config else ""
        words = _("Xen: {dom0}, read at {root}; the guest's configuration {file}")
        yield words.format(dom0=host.name, root=host.root, file=host.config) + own
        others = ", ".join(f"{name} ({root})" for name, root in terms.dom0s.items())
        unbound = _("NOT BOUND, this plan is of an earlier version: whoever carries it out can leave one out; 20 makes it anew")
        yield _("Dom-0s that are asked whether the source is off: {dom0s}").format(dom0s=others or unbound)
        if net is None:
            yield _("no address: its parameters have no `measurement`")
            return
        yield _("the guest's own shell, in which {step} changes it: {shell}").format(step=OFFLOADS, shell=net.shell)
        ways = {"through": net.through, "direct": net.direct, **net.segments}
        way = _("{name} from {client} to {server}")
        told = (
            way.format(name=name, client=w.client, server=w.server) + (f" ({w.server_shell})" if w.server_shell else "")
            for name, w in ways.items()
        )
        yield _("measured: {ways}").format(ways="; ".join(told))
        yield _("the outage is watched from {place}").format(place=net.watch)

    def _vsphere(self) -> str:
        _, vc = self._words, self._plan.terms.vsphere
        if vc.handover:
            return _("vSphere: {vsphere}, which nobody here logs in to").format(vsphere=vc)
        known = _("its authority's certificate, SHA-256 of the file {sha256}") if vc.ca else _("its certificate {sha256}")
        return _("vSphere: {server} as {user}, known by {known}; {place}, {datastore}, folder {folder}").format(
            server=vc.server,
            user=vc.user,
            known=known.format(sha256=vc.ca or vc.certificate),
            place=f"{vc.datacenter}/{vc.cluster}",
            datastore=vc.datastore,
            folder=vc.folder,
        )

    @property
    def boot(self) -> BootOutcome | None:
        """How the rehearsed disk started; None where nothing was rehearsed by this plan."""
        return self._rehearsal.after if self._rehearsal else None

    @property
    def read_again(self) -> float | None:
        """Seconds that reading the source once more takes, 0 where nobody knows; None for a file, of which that is not done.

        How long a Dom-0 over ssh takes to hash a device, nobody knows.
        """
        if self._survey is not None and proving.device(self._survey.origin):
            return 0
        if self._survey is None or self._survey.disk.kind == "file":
            return None
        return self._survey.reading_seconds

    def proved(self) -> Points:
        """What was tried, and held."""
        _, c, r, d = self._words, self._conversion, self._rehearsal, self._deployment
        if c:
            words = _("the VMDK holds what the prepared copy holds, compared by qemu-img {version}; SHA-256 {sha256}")
            yield words.format(version=c.qemu_img, sha256=c.vmdk_sha256)
        if r:
            checks = rehearsal.checks(r, self._plan.machine)
            good = [c for c in checks if c and not c.unseen and c.code != "services-started"]
            words = _(
                "that very disk was booted on {controller} and {nic} in QEMU, by {accelerator}, "
                "and came to {ending} after {seconds} s"
            )
            yield words.format(
                controller=r.after.controller,
                nic=r.after.nic_model,
                accelerator=r.after.accelerator,
                ending=r.after.ending,
                seconds=f"{r.after.seconds:.0f}",
            )
            yield from (f"{self._title(check)}: {check.found}" for check in good)
        if d:
            words = _("{name} ({moid}) stands on {host}, {server}, as planned; {manifest}")
            yield words.format(name=d.name, moid=d.moid, host=d.host, server=d.server, manifest=d.manifest)
        if self._handed:
            names = ", ".join(f.name for f in self._handed.files)
            words, time = _("handed over on {date} at {time} UTC: {files}"), self._handed.time
            yield words.format(date=f"{time:%Y-%m-%d}", time=f"{time:%H:%M}", files=names)
        if not (c or r or d):
            yield _("nothing yet: this is a plan, and no more")

    def open(self, guest: Guest) -> Points:
        """What is not proved, or red, or has to be judged by a person."""
        _ = self._words
        if not self._conversion:
            yield _("{step} was not done yet").format(step=CONVERT)
        if not self._rehearsal:
            yield _("nothing was rehearsed by this plan: whether the guest starts on VMware's hardware is not known")
        else:
            for check in rehearsal.checks(self._rehearsal, self._plan.machine):
                if not check:
                    yield _("RED: {check}: {found}").format(check=self._title(check), found=check.found)
                elif check.unseen and check.code != "services-started":
                    yield _("not seen in the rehearsal: {check}: {found}").format(check=self._title(check), found=check.found)
            boot = self._rehearsal.after
            if boot.failed:
                yield _("services that did not start in the rehearsal: {names}").format(names=", ".join(boot.failed))
            elif not boot.asked:
                yield _("which services start was not seen in the rehearsal: the guest's init does not tell")
        yield from self._in_vsphere()
        yield from self._others
        yield from self._unreadable
        yield from (_("still names a Xen device: {text}").format(text=text) for text in self._plan.preparation.leftovers)
        yield from (note.said(_) for note in self._plan.preparation.notes)
        if guest.measurement is None:
            yield _("no `measurement` in its parameters: neither wiring nor outage nor speed will be measured")
        yield _("a rehearsal is QEMU, not ESXi; no application was tried, and no user has logged in")

    def _title(self, check: Check) -> str:
        return self._of_check(check.code) or check.title

    def _in_vsphere(self) -> Points:
        """What is open of the machine itself."""
        _ = self._words
        if self._plan.terms.vsphere.handover:
            yield _(
                "whether the contractor's vSphere can take the machine was asked by nobody here: the sheet has them confirm it"
            )
            if not self._handed:
                yield _("{step} was not done by this plan: nothing of it was handed over").format(step=DEPLOY)
        elif not self._deployment:
            yield _("{step} was not done by this plan: no machine of it stands in vSphere").format(step=DEPLOY)
        else:
            yield from (_("vSphere's warning: {words}").format(words=w) for w in self._deployment.warnings)

    def _find(self, kind: type[A], folder: GuestFolder) -> A | None:
        try:
            return kind.find(folder)
        except BadInput:
            words = self._words("{file} cannot be read, and counts for nothing")
            self._unreadable.append(words.format(file=kind.filename))
            return None
