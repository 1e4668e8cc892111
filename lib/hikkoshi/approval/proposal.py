"""What an approver is asked to agree to: one page of plain text, from the plan and what was found out so far.

It holds what changes, what cannot be undone, how long it may take, what is proved and what is not. Where a figure is not
known it says so. Names that come from the guest's own disk are shown without anything that a terminal would obey. It is in the
language of `_`: whoever signs it has to understand it.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from hikkoshi import files
from hikkoshi.approval import approval
from hikkoshi.approval.plan import Plan, disk_table, nic_table
from hikkoshi.approval.results import Points, Results
from hikkoshi.approval.statement import Statement
from hikkoshi.errors import HikkoshiError, printable
from hikkoshi.guest import descent
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.step import CONVERT, CUTOVER, DEPLOY, OFFLOADS, PLAN, PREPARE, REHEARSE, ROLLBACK, SURVEY
from hikkoshi.translation import Gettext, aligned, width

WIDTH, INDENT = 96, "    "
AGAIN = (
    SURVEY.id,
    PLAN.id,
    PREPARE.id,
    CONVERT.id,
    REHEARSE.id,
    DEPLOY.id,
)  # where the source has written since its copy was made


def page(
    home: Home, guest: str, plan: Plan | None, took: Mapping[str, float], _: Gettext = str, of_check: Gettext = lambda code: ""
) -> str:
    """The page for a guest's plan; `took`: the seconds of its earlier steps, `of_check`: what a check looks at, by its code."""
    if plan is None:
        return _("Guest {guest}: there is no plan yet, and nothing to approve").format(guest=guest) + "\n"
    try:
        before = tuple(approval.earlier(home, guest, plan))
    except HikkoshiError:  # keys or a result that cannot be read: whoever approves is told of it
        before = ()
    there = Results(home.folder(guest), plan, _, of_check)
    return "".join(_lines(*home.parameters(guest), plan, took, there, before, _))


def _lines(
    guest: Guest, site: Site, plan: Plan, took: Mapping[str, float], there: Results, before: Sequence[Statement], _: Gettext
) -> Iterator[str]:
    yield _("Guest {guest}: from Xen ({dom0}) to vSphere").format(guest=guest.name, dom0=guest.dom0) + "\n"
    yield from _wrapped(_("site: {site}, {vsphere}").format(site=site.name, vsphere=site.vsphere), "", INDENT)
    yield _("plan: SHA-256 {sha256}").format(sha256=plan.hash) + "\n"
    days = site.signing.valid_days
    counts = _(
        "Your approval counts for this plan, this disk and this machine in vSphere, for {cutover} and {offloads}, for {lasts}. "
        "{who}"
    )
    yield from _wrapped(
        counts.format(
            cutover=CUTOVER,
            offloads=OFFLOADS,
            lasts=_("{days} days").format(days=days) if days > 1 else _("1 day"),
            who=_("Somebody else has to carry it out.")
            if site.signing.two_persons
            else _("Whoever approves it here may also carry it out."),
        ),
        "",
        INDENT,
    )
    for words in _approved_before(plan, there, before, _):
        yield from _wrapped(words, "", INDENT)
    for title, points in (
        (_("What your word binds"), there.bound()),
        (_("What changes in vSphere"), _machine(plan, _)),
        (_("What changes inside the guest, in a copy of its disk; the source is only read"), _inside(plan, _)),
        (_("What {step} does").format(step=CUTOVER), _cutover(guest, site, plan, _)),
        (_("What {step} may change").format(step=OFFLOADS), _offloads(guest, plan, _)),
        (_("What cannot be undone"), _for_good(_)),
        (_("How long it may be out of service"), _outage(there, took, _)),
        (_("What is proved so far"), there.proved()),
        (_("What is open"), there.open(guest)),
    ):
        yield f"\n{title}\n"
        for point in points:
            yield from [f"{point}\n"] if point.startswith(INDENT) else _wrapped(point, "  - ", INDENT)


def _approved_before(plan: Plan, there: Results, before: Sequence[Statement], _: Gettext) -> Iterator[str]:
    """What has become of earlier approvals: that nothing but the disk differs, where that is so."""
    same = [s for s in before if s.decisions == plan.decisions]
    if same:
        last = same[-1]
        differs = [
            words
            for words, is_so in (
                (_("the source's content digest"), last.plan != plan.hash),
                (_("the disk that was made of it"), last.vmdk != there.vmdk),
                (_("the machine in vSphere"), last.machine != there.machine),
            )
            if is_so
        ]
        yield _("EVERY DECISION IS AS {who} APPROVED IT on {date} at {time} UTC. What differs: {differs}.").format(
            who=last.approver,
            date=f"{last.approved:%Y-%m-%d}",
            time=f"{last.approved:%H:%M}",
            differs=_(", and so ").join(differs),
        )
    for said in (s for s in before if not same or s != same[-1]):
        words = _("Superseded, and counts for nothing: {who}'s approval of {time} UTC.")
        yield words.format(who=said.approver, time=f"{said.approved:%Y-%m-%d %H:%M}")


def _machine(plan: Plan, _: Gettext) -> Points:
    vm, vc = plan.vm, plan.terms.vsphere
    there = _("in {place}, on {datastore}").format(place=f"{vc.datacenter}/{vc.cluster}", datastore=vc.datastore)
    size = files.human(vm.disk_bytes)
    yield (
        _(
            "a new machine {name} {place}: {vcpus} vCPU, {memory} MB, {system}, hardware version {version}, "
            "{disks} on {controller}"
        )
        + (_(", started by UEFI") if vm.firmware == "efi" else "")
    ).format(
        name=vm.name,
        place=_("in {vsphere}, made by them").format(vsphere=vc) if vc.handover else there,
        vcpus=vm.vcpus,
        memory=vm.memory_mb,
        system=vm.guest_id,
        version=vm.hardware_version,
        disks=_("{count} disks, together {size}").format(count=len(vm.disks), size=size)
        if vm.capacities
        else _("a disk of {size}").format(size=size),
        controller=vm.controller,
    )
    for row in disk_table(plan) if vm.capacities else ():
        words = _("{before} becomes {after}: {path}, {bytes} bytes")
        told = words.format(before=row["under Xen"], after=row["afterwards"], path=row["from"], bytes=row["bytes"])
        yield printable(told, keep="")
    if plan.left_out:
        words = _("NOT moved, left on the Dom-0: {rest}; the source has it, and a rollback starts it with that, from {file}")
        yield words.format(rest=", ".join(plan.left_out), file=plan.terms.dom0.start_config)
    yield _("NICs: {count} {model}, each with the MAC that it has under Xen").format(count=len(vm.nics), model=vm.nic_model)
    rows = [{k: printable(v, keep="") for k, v in row.items()} for row in nic_table(vm.nics)]
    if rows:
        yield from (INDENT + line for line in aligned([[_(name) for name in rows[0]], *(list(row.values()) for row in rows)]))


def _inside(plan: Plan, _: Gettext) -> Points:
    p = plan.preparation
    yield _("kernel: {kernel}, {why}").format(kernel=p.kernel, why=p.kernel_because.said(_))
    if p.boot_loader:
        yield _("boot loader: {name} is installed, the disk has none").format(name=p.boot_loader)
    disk, nics = p.controller_module or _("built in"), p.nic_module or _("built in")
    yield _("drivers: {disk} for the disk, {nics} for the NICs").format(disk=disk, nics=nics)
    made = _("initrd: {path} is made again, with {modules}") if p.rebuilds else _("initrd: {path} stays as it is")
    yield made.format(path=p.initrd, modules=", ".join(p.modules))
    for edit in p.edits:
        yield f"{edit.path}: {edit.why.said(_)}"
    for what, which, does in p.additions.rows():
        yield f"{what}: {which} ({does})"
    for command in p.commands:
        yield _("run there: {command}").format(command=" ".join(command))
    yield _(
        "plan.json holds the whole texts of these files. Passwords and keys in them that are known by their names or forms were "
        "replaced by HIKKOSHI-SECRET-0001 and so on when they were read; in the copy they are in their places"
    )


def _cutover(guest: Guest, site: Site, plan: Plan, _: Gettext) -> Points:
    if site.dom0s[guest.dom0].kind != "folder":
        yield _(
            "moves what starts the source from xendomains' folder (/etc/xen/auto) into one beside it; a rollback puts it back"
        )
        yield _("shuts the source down under Xen, in an orderly way")
    else:
        yield _(
            "relies on somebody having shut the source down under Xen: the Dom-0 is only a folder here, from where nobody "
            "can shut it down, or see whether it is off"
        )
    nics = len(plan.vm.nics)
    if plan.terms.vsphere.handover:
        words = _("has you call {contractor}, who connects the machine's NICs, {count}, and switches it on")
        yield words.format(contractor=site.vsphere.contractor, count=nics)
        yield _(
            "waits until the guest answers; whether each NIC is on its port group, nobody here can ask the contractor's vSphere"
        )
    else:
        words = _("connects the machine in vSphere, NICs: {count}, and switches it on, with the source's MACs and addresses")
        yield words.format(count=nics)
    if guest.measurement is None and plan.terms.vsphere.handover:
        yield _("looks at no NIC from inside the guest: its parameters have no `measurement`")
    elif guest.measurement is None:
        yield _("looks in vSphere whether each NIC is on its port group; its parameters have no `measurement`, so no more")
    else:
        yield _("looks whether each NIC is on its segment, and measures the outage: its parameters have `measurement`")


def _offloads(guest: Guest, plan: Plan, _: Gettext) -> Points:
    if plan.forwards is False:
        yield _("nothing: this guest forwards no packets, and merging received ones is good for it")
    elif guest.measurement is None:
        yield _("nothing: its parameters have no `measurement`, so no cause is looked for")
    else:
        yield _("nothing, unless the guest's counters name merged packets as the cause of a slow network; then:")
        yield _("in the running guest: LRO, or GRO where that is what merges, is switched off on its NICs by ethtool")
        yield _(
            "in the guest's files: the same for every later start; or the module's parameter disable_lro, where the module "
            "lists it, and then the guest is restarted at a time to be agreed"
        )
        yield _(
            "on the ESXi host nothing by itself: where the guest cannot switch it off, a person may set the host's own options, "
            "which every machine on it feels, by this approval and by typing the host's name"
        )
        yield _("what there was before is kept, and can be put back")


def _for_good(_: Gettext) -> Points:
    yield _("what is written in vSphere after the cut-over stays behind there if {step} goes back to Xen").format(step=ROLLBACK)
    words = _("what the source writes after its copy was made is not in vSphere; {step} refuses if it has written")
    yield words.format(step=CUTOVER)
    yield _("the source is switched off: connections and sessions of its users are lost, and lost again by a rollback")
    yield _("the machine in vSphere is switched off hard by a rollback: its file systems want a check at the next start")
    yield _("all else can: the source's disk and its Xen configuration stay as they are, and it can be started again")


def _outage(there: Results, took: Mapping[str, float], _: Gettext) -> Points:
    boot, again = there.boot, there.read_again
    yield _("from the source's shutdown until the machine in vSphere answers; nothing of it was measured in vSphere")
    yield _("shutting the source down: not known yet")
    if boot is None:
        yield _("starting the machine: not known yet, nothing was rehearsed by this plan")
    else:
        words = _("starting the machine: {seconds} s in the rehearsal, on QEMU with {accelerator}, not on ESXi")
        yield words.format(seconds=f"{boot.seconds:.0f}", accelerator=boot.accelerator)
    if again is not None:
        words = _("the source is a block device: {reading}, before the machine is switched on")
        yield words.format(reading=descent.duration(again, _))
    yield _(
        "if the source has written since its copy was made, these run again while it is off, and last as long as that; then "
        "somebody has to approve again, since another disk is another plan:"
    )
    for step in AGAIN:
        last = _("{seconds} s at its last run").format(seconds=f"{took[step]:.0f}") if step in took else _("not known yet")
        yield f"{INDENT}{step:<12} {last}"
    known = [took[s] for s in AGAIN if s in took]
    if boot is not None and len(known) == len(AGAIN) and again != 0:
        least = boot.seconds + (again or 0)
        words = _(
            "so at least {least} s as rehearsed (ESXi may differ), or {all} s with these, "
            "and the shutdown and the approval beside it"
        )
        yield words.format(least=f"{least:.0f}", all=f"{least + sum(known):.0f}")
    else:
        yield _("so in all: not known yet")


def _wrapped(text: str, first: str, later: str) -> list[str]:
    text = re.sub(r"\s", " ", printable(text))  # a line that the text itself ended would pass for one of the page
    if width(text) > len(text):  # Japanese has no blanks: a line ends behind any letter, and before no sign that ends something
        pieces = re.findall(r"[\u3000-\uffff][、。，）」：]*|[^\s\u3000-\uffff]+[、。，）」：]*|\s+", text)
        lines = [first]
        for piece in pieces:
            if width(lines[-1] + piece.rstrip()) > WIDTH and lines[-1].strip():
                lines.append(later)
            lines[-1] += piece
        return [f"{line.rstrip()}\n" for line in lines]
    wrapped = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)
    return [f"{line}\n" for line in wrapped]
