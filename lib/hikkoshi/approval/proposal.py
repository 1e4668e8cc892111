"""What an approver is asked to agree to: one page of plain text, from the plan and what was found out so far.

It holds what changes, what cannot be undone, how long it may take, what is proved and what is not. Where a figure is not
known it says so. Names that come from the guest's own disk are shown without anything that a terminal would obey.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from hikkoshi import files
from hikkoshi.approval import approval
from hikkoshi.approval.plan import Plan, disk_table, nic_table
from hikkoshi.approval.statement import Statement
from hikkoshi.artefact import Artefact
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput, HikkoshiError, printable
from hikkoshi.guest import descent
from hikkoshi.guest.survey import Survey
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.rehearsal import rehearsal
from hikkoshi.rehearsal.outcome import BootOutcome
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run.step import CONVERT, CUTOVER, DEPLOY, OFFLOADS, PLAN, PREPARE, REHEARSE, ROLLBACK, SURVEY
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.handover import HandOver
from hikkoshi.xen.wire import proving

WIDTH, INDENT = 96, "    "
AGAIN = (
    SURVEY.id,
    PLAN.id,
    PREPARE.id,
    CONVERT.id,
    REHEARSE.id,
    DEPLOY.id,
)  # where the source has written since its copy was made
Points = Iterator[str]  # a line that is not to be wrapped begins with INDENT
A = TypeVar("A", bound=Artefact)


def page(home: Home, guest: str, plan: Plan | None, took: Mapping[str, float]) -> str:
    """The page for a guest's plan; `took`: the seconds of its earlier steps."""
    if plan is None:
        return f"Guest {guest}: there is no plan yet, and nothing to approve\n"
    try:
        before = tuple(approval.earlier(home, guest, plan))
    except HikkoshiError:  # keys or a result that cannot be read: whoever approves is told of it
        before = ()
    return "".join(_lines(home, *home.parameters(guest), plan, took, before))


def _lines(
    home: Home, guest: Guest, site: Site, plan: Plan, took: Mapping[str, float], before: Sequence[Statement]
) -> Iterator[str]:
    there = _Results(home.folder(guest.name), plan)
    yield f"Guest {guest.name}: from Xen ({guest.dom0}) to vSphere\n"
    yield from _wrapped(f"site: {site.name}, {site.vsphere}", "", INDENT)
    yield f"plan: SHA-256 {plan.hash}\n"
    days = site.signing.valid_days
    yield from _wrapped(
        f"Your approval counts for this plan, this disk and this machine in vSphere, for {CUTOVER} and {OFFLOADS}, for {days} "
        f"day{'s' if days > 1 else ''}. "
        + ("Somebody else has to" if site.signing.two_persons else "Whoever approves it here may also")
        + " carry it out.",
        "",
        INDENT,
    )
    for words in _approved_before(plan, there, before):
        yield from _wrapped(words, "", INDENT)
    for title, points in (
        ("What your word binds", there.bound(plan)),
        ("What changes in vSphere", _machine(plan)),
        ("What changes inside the guest, in a copy of its disk; the source is only read", _inside(plan)),
        (f"What {CUTOVER} does", _cutover(home, guest, site, plan)),
        (f"What {OFFLOADS} may change", _offloads(guest, plan)),
        ("What cannot be undone", _for_good()),
        ("How long it may be out of service", _outage(there, took)),
        ("What is proved so far", there.proved()),
        ("What is open", there.open(guest)),
    ):
        yield f"\n{title}\n"
        for point in points:
            yield from [f"{point}\n"] if point.startswith(INDENT) else _wrapped(point, "  - ", INDENT)


def _approved_before(plan: Plan, there: "_Results", before: Sequence[Statement]) -> Iterator[str]:
    """What has become of earlier approvals: that nothing but the disk differs, where that is so."""
    same = [s for s in before if s.decisions == plan.decisions]
    if same:
        last = same[-1]
        differs = [
            words
            for words, is_so in (
                ("the source's content digest", last.plan != plan.hash),
                ("the disk that was made of it", last.vmdk != there.vmdk),
                ("the machine in vSphere", last.machine != there.machine),
            )
            if is_so
        ]
        yield (
            f"EVERY DECISION IS AS {last.approver} APPROVED IT on {last.approved:%Y-%m-%d at %H:%M} UTC. What differs: "
            f"{', and so '.join(differs)}."
        )
    for said in (s for s in before if not same or s != same[-1]):
        yield f"Superseded, and counts for nothing: {said.approver}'s approval of {said.approved:%Y-%m-%d %H:%M} UTC."


def _machine(plan: Plan) -> Points:
    vm, vc = plan.vm, plan.terms.vsphere
    place = f"in {vc}, made by them" if vc.handover else f"in {vc.datacenter}/{vc.cluster}, on {vc.datastore}"
    yield (
        f"a new machine {vm.name} {place}: {vm.vcpus} vCPU, {vm.memory_mb} MB, "
        f"{vm.guest_id}, hardware version {vm.hardware_version}, "
        + (f"{len(vm.disks)} disks, together" if vm.capacities else "a disk of")
        + f" {files.human(vm.disk_bytes)} on {vm.controller}"
        + (", started by UEFI" if vm.firmware == "efi" else "")
    )
    for row in disk_table(plan) if vm.capacities else ():
        yield printable(f"{row['under Xen']} becomes {row['afterwards']}: {row['from']}, {row['bytes']} bytes", keep="")
    if plan.left_out:
        rest, own = ", ".join(plan.left_out), plan.terms.dom0.start_config
        yield f"NOT moved, left on the Dom-0: {rest}; the source has it, and a rollback starts it with that, from {own}"
    yield f"NICs: {len(vm.nics)} {vm.nic_model}, each with the MAC that it has under Xen"
    rows = [{k: printable(v, keep="") for k, v in row.items()} for row in nic_table(vm.nics)]
    names = list(rows[0]) if rows else []
    widths = {n: max(len(n), *(len(r[n]) for r in rows)) for n in names}
    for row in [{n: n for n in names}, *rows] if rows else []:
        yield INDENT + "  ".join(row[n].ljust(widths[n]) for n in names).rstrip()


def _inside(plan: Plan) -> Points:
    p = plan.preparation
    yield f"kernel: {p.kernel}, {p.kernel_because}"
    if p.boot_loader:
        yield f"boot loader: {p.boot_loader} is installed, the disk has none"
    yield f"drivers: {p.controller_module or 'built in'} for the disk, {p.nic_module or 'built in'} for the NICs"
    yield f"initrd: {p.initrd} " + (f"is made again, with {', '.join(p.modules)}" if p.rebuilds else "stays as it is")
    for edit in p.edits:
        yield f"{edit.path}: {edit.why}"
    for what, which, does in p.additions.rows():
        yield f"{what}: {which} ({does})"
    for command in p.commands:
        yield f"run there: {' '.join(command)}"
    yield (
        "plan.json holds the whole texts of these files. Passwords and keys in them that are known by their names or forms were "
        "replaced by HIKKOSHI-SECRET-0001 and so on when they were read; in the copy they are in their places"
    )


def _cutover(home: Home, guest: Guest, site: Site, plan: Plan) -> Points:
    if site.dom0s[guest.dom0].kind != "folder":
        yield "moves what starts the source from xendomains' folder (/etc/xen/auto) into one beside it; a rollback puts it back"
        yield "shuts the source down under Xen, in an orderly way"
    else:
        yield (
            "relies on somebody having shut the source down under Xen: the Dom-0 is only a folder here, from where nobody "
            "can shut it down, or see whether it is off"
        )
    if plan.terms.vsphere.handover:
        yield f"has you call {site.vsphere.contractor}, who connects the machine's NICs, {len(plan.vm.nics)}, and switches it on"
        yield "waits until the guest answers; whether each NIC is on its port group, nobody here can ask the contractor's vSphere"
    else:
        nics = len(plan.vm.nics)
        yield f"connects the machine in vSphere, NICs: {nics}, and switches it on, with the source's MACs and addresses"
    if guest.measurement is None and plan.terms.vsphere.handover:
        yield "looks at no NIC from inside the guest: its parameters have no `measurement`"
    elif guest.measurement is None:
        yield "looks in vSphere whether each NIC is on its port group; its parameters have no `measurement`, so no more"
    else:
        yield "looks whether each NIC is on its segment, and measures the outage: its parameters have `measurement`"


def _offloads(guest: Guest, plan: Plan) -> Points:
    if plan.forwards is False:
        yield "nothing: this guest forwards no packets, and merging received ones is good for it"
    elif guest.measurement is None:
        yield "nothing: its parameters have no `measurement`, so no cause is looked for"
    else:
        yield "nothing, unless the guest's counters name merged packets as the cause of a slow network; then:"
        yield "in the running guest: LRO, or GRO where that is what merges, is switched off on its NICs by ethtool"
        yield (
            "in the guest's files: the same for every later start; or the module's parameter disable_lro, where the module "
            "lists it, and then the guest is restarted at a time to be agreed"
        )
        yield (
            "on the ESXi host nothing by itself: where the guest cannot switch it off, a person may set the host's own options, "
            "which every machine on it feels, by this approval and by typing the host's name"
        )
        yield "what there was before is kept, and can be put back"


def _for_good() -> Points:
    yield f"what is written in vSphere after the cut-over stays behind there if {ROLLBACK} goes back to Xen"
    yield f"what the source writes after its copy was made is not in vSphere; {CUTOVER} refuses if it has written"
    yield "the source is switched off: connections and sessions of its users are lost, and lost again by a rollback"
    yield "the machine in vSphere is switched off hard by a rollback: its file systems want a check at the next start"
    yield "all else can: the source's disk and its Xen configuration stay as they are, and it can be started again"


def _outage(there: "_Results", took: Mapping[str, float]) -> Points:
    boot = there.boot
    yield "from the source's shutdown until the machine in vSphere answers; nothing of it was measured in vSphere"
    yield "shutting the source down: not known yet"
    if boot is None:
        yield "starting the machine: not known yet, nothing was rehearsed by this plan"
    else:
        yield f"starting the machine: {boot.seconds:.0f} s in the rehearsal, on QEMU with {boot.accelerator}, not on ESXi"
    again = there.read_again
    if again is not None:
        yield f"the source is a block device: {descent.duration(again)}, before the machine is switched on"
    yield (
        "if the source has written since its copy was made, these run again while it is off, and last as long as that; then "
        "somebody has to approve again, since another disk is another plan:"
    )
    for step in AGAIN:
        yield f"{INDENT}{step:<12} " + (f"{took[step]:.0f} s at its last run" if step in took else "not known yet")
    known = [took[s] for s in AGAIN if s in took]
    if boot is not None and len(known) == len(AGAIN) and again != 0:
        least = boot.seconds + (again or 0)
        yield (
            f"so at least {least:.0f} s as rehearsed (ESXi may differ), or {least + sum(known):.0f} s with these, "
            "and the shutdown and the approval beside it"
        )
    else:
        yield "so in all: not known yet"


class _Results:
    """What earlier steps have left, as far as it is of this plan."""

    def __init__(self, folder: GuestFolder, plan: Plan) -> None:
        self._plan, self.unreadable = plan, list[str]()
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
            f"{name} is of another plan or disk, and counts for nothing"
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

    def bound(self, plan: Plan) -> Points:
        """What may not be another when it is acted upon: nothing is done then, and it has to be approved again."""
        vc, host, net = plan.terms.vsphere, plan.terms.dom0, plan.terms.measurement
        yield "the plan with the SHA-256 above: every decision on this page, and all that follows but disk and machine"
        yield f"disk: SHA-256 {self.vmdk}" if self.vmdk else "disk: not there yet, nothing can be approved"
        known = "the SHA-256 of the OVF descriptor that the contractor has" if self._handed else "its instance UUID"
        yield f"machine: {self.machine}, {known}" if self.machine else "machine: not there yet"
        yield f"source: content digest {plan.source_digest}"
        yield (
            f"vSphere: {vc}, which nobody here logs in to"
            if vc.handover
            else f"vSphere: {vc.server} as {vc.user}, known by "
            + (f"its authority's certificate, SHA-256 of the file {vc.ca}" if vc.ca else f"its certificate {vc.certificate}")
            + f"; {vc.datacenter}/{vc.cluster}, {vc.datastore}, folder {vc.folder}"
        )
        own = f"; the source is started from {host.start_config}" if host.start_config else ""
        yield f"Xen: {host.name}, read at {host.root}; the guest's configuration {host.config}{own}"
        others = ", ".join(f"{name} ({root})" for name, root in plan.terms.dom0s.items())
        unbound = "NOT BOUND, this plan is of an earlier version: whoever carries it out can leave one out; 20 makes it anew"
        yield f"Dom-0s that are asked whether the source is off: {others or unbound}"
        if net is None:
            yield "no address: its parameters have no `measurement`"
            return
        yield f"the guest's own shell, in which {OFFLOADS} changes it: {net.shell}"
        ways = {"through": net.through, "direct": net.direct, **net.segments}
        yield "measured: " + "; ".join(
            f"{name} from {w.client} to {w.server}" + (f" ({w.server_shell})" if w.server_shell else "")
            for name, w in ways.items()
        )
        yield f"the outage is watched from {net.watch}"

    @property
    def boot(self) -> BootOutcome | None:
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
        c, r, d = self._conversion, self._rehearsal, self._deployment
        if c:
            yield f"the VMDK holds what the prepared copy holds, compared by qemu-img {c.qemu_img}; SHA-256 {c.vmdk_sha256}"
        if r:
            checks = rehearsal.checks(r, self._plan.machine)
            good = [c for c in checks if c and not c.unseen and c.code != "services-started"]
            yield f"that very disk was booted on {r.after.controller} and {r.after.nic_model} in QEMU, {_ended(r.after)}"
            yield from (f"{check.title}: {check.found}" for check in good)
        if d:
            yield f"{d.name} ({d.moid}) stands on {d.host}, {d.server}, as planned; {d.manifest}"
        if self._handed:
            names = ", ".join(f.name for f in self._handed.files)
            yield f"handed over on {self._handed.time:%Y-%m-%d at %H:%M} UTC: {names}"
        if not (c or r or d):
            yield "nothing yet: this is a plan, and no more"

    def open(self, guest: Guest) -> Points:
        """What is not proved, or red, or has to be judged by a person."""
        if not self._conversion:
            yield f"{CONVERT} was not done yet"
        if not self._rehearsal:
            yield "nothing was rehearsed by this plan: whether the guest starts on VMware's hardware is not known"
        else:
            for check in rehearsal.checks(self._rehearsal, self._plan.machine):
                if not check:
                    yield f"RED: {check.title}: {check.found}"
                elif check.unseen and check.code != "services-started":
                    yield f"not seen in the rehearsal: {check.title}: {check.found}"
            boot = self._rehearsal.after
            if boot.failed:
                yield f"services that did not start in the rehearsal: {', '.join(boot.failed)}"
            elif not boot.asked:
                yield "which services start was not seen in the rehearsal: the guest's init does not tell"
        yield from self._in_vsphere()
        yield from self._others
        yield from self.unreadable
        yield from (f"still names a Xen device: {text}" for text in self._plan.preparation.leftovers)
        yield from map(str, self._plan.preparation.notes)
        if guest.measurement is None:
            yield "no `measurement` in its parameters: neither wiring nor outage nor speed will be measured"
        yield "a rehearsal is QEMU, not ESXi; no application was tried, and no user has logged in"

    def _in_vsphere(self) -> Points:
        """What is open of the machine itself."""
        if self._plan.terms.vsphere.handover:
            yield "whether the contractor's vSphere can take the machine was asked by nobody here: the sheet has them confirm it"
            if not self._handed:
                yield f"{DEPLOY} was not done by this plan: nothing of it was handed over"
        elif not self._deployment:
            yield f"{DEPLOY} was not done by this plan: no machine of it stands in vSphere"
        else:
            yield from (f"vSphere's warning: {w}" for w in self._deployment.warnings)

    def _find(self, kind: type[A], folder: GuestFolder) -> A | None:
        try:
            return kind.find(folder)
        except BadInput:
            self.unreadable.append(f"{kind.filename} cannot be read, and counts for nothing")
            return None


def _ended(outcome: BootOutcome) -> str:
    return f"by {outcome.accelerator}, and came to {outcome.ending} after {outcome.seconds:.0f} s"


def _wrapped(text: str, first: str, later: str) -> list[str]:
    wrapped = textwrap.wrap(printable(text), WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)
    return [f"{line}\n" for line in wrapped]
