"""A guest's machine that a contractor switches on, in a vSphere that nobody here can ask: what of it is seen from here.

The guest is in service from the moment when one of its addresses answers, with the source off. Whether that is the new machine
is known where the source was seen to be off, or where the guest's shell says that it does not run under Xen.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from hikkoshi.approval.plan import Plan, nic_table
from hikkoshi.approval.subject import Subject
from hikkoshi.check import Check, Permission
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, StepFailed
from hikkoshi.network import host
from hikkoshi.network.host import HERE, unmeasured
from hikkoshi.network.outage import metering
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CUTOVER, ROLLBACK
from hikkoshi.secret import temporary
from hikkoshi.vsphere import handover
from hikkoshi.vsphere.cutover import InService

PATIENCE = 1800.0  # seconds that a contractor may take, from the call to the guest's first answer
# the last two are of a fully virtualized guest without Xen's drivers: Xen's own SMBIOS
UNDER_XEN = (
    "grep -qs xen /sys/hypervisor/type || [ -e /proc/xen/xenbus ] || grep -qs '^Xen' /sys/class/dmi/id/sys_vendor "
    "/sys/class/dmi/id/bios_vendor && echo xen; :"
)


class ContractorsMachine:
    """The machine of one guest; `plan` is the guest's."""

    def __init__(self, home: Home, site: Site, guest: Guest, plan: Plan | None) -> None:
        self._home, self._site, self._guest, self._plan = home, site, guest, plan
        self._folder, self._name = home.folder(guest.name), plan.vm.name if plan else guest.name
        self._contractor = site.vsphere.contractor

    def checks(self) -> list[Check]:
        """Whether this plan's machine was handed over, and anything tells from here that the guest serves."""
        return [self._handed(), self._visible()]

    def ready(self) -> list[Check]:
        """What the source's shutdown relies on: the contractor's word, which nobody sees from here."""
        return [
            self._handed(),
            Check(
                code="contractor-ready",
                title=f"{self._name} is imported as the sheet says, off, and the contractor waits for your call",
                ok=True,
                found=f"{handover.NOT_ASKED}; call {self._contractor} before you go on",
                unseen="not seen",
            ),
        ]

    def complete(self) -> Check:
        """Whether the guest was put into service, by what is on record; nobody sees from here whether the machine is on."""
        check = partial(
            Check,
            code="in-service",
            title=f"{self._guest.name} is in service in vSphere",
            expected="an answer of the guest, with the source off, on record",
            where=self._guest.name,
        )
        try:
            found = InService.find(self._folder)
        except BadInput:  # damaged: it is looked at anew
            found = None
        if found is None or not found.handed_over or found.handed_over != self._subject.machine:
            remedy = f"run {CUTOVER} in apply; if it does not come up, {ROLLBACK}"
            return check(ok=False, found="not on record", remedy=remedy, later=True)
        if not found.known_by:
            doubt = "an address answered; whether that was the new machine or the source, nobody saw"
            return check(ok=True, found=f"since {found.since}: {doubt}", unseen="not seen")
        return check(ok=True, found=f"since {found.since}: {found.known_by}")

    def start(
        self, permit: Callable[[], Permission], between: Callable[[], object], source: Check, progress: Progress = silent
    ) -> None:
        """Wait until one of the guest's addresses answers, half an hour at most, while a person has the machine switched on.

        `source` is the fresh observation that it is off. A permission is asked for before and after; `between` lets a
        rollback begin meanwhile.
        """
        self._permitted(permit)
        if blocked := [c for c in (source, *self.checks()) if not c]:
            raise Refused(*(c.problem() for c in blocked))
        between()
        answer = self._answer(progress)
        known_by = f"{answer} answers" if not source.unseen or self._moved() else ""
        self._permitted(permit)
        InService(
            guest=self._guest.name,
            moid="",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            nics=(),
            handed_over=self._subject.machine or "",
            known_by=known_by,
        ).save(self._folder)

    def nics(self) -> tuple[dict[str, tuple[str, bool]], list[dict[str, str]]]:
        """{MAC: that nobody sees where the NIC is, and so not whether it is wrong}, and a row for each, as planned."""
        nics = self._plan.vm.nics if self._plan else ()
        return {nic.mac: ("not asked", False) for nic in nics}, [{**row, "now": handover.NOT_ASKED} for row in nic_table(nics)]

    def wiring(self) -> list[Check]:
        """What vSphere would tell of each NIC."""
        found = f"{handover.NOT_ASKED}; what the guest itself sees is told below"
        return [
            Check(code="nic-wired", title=f"{nic.name} ({nic.mac}) is on {nic.segment}", ok=True, found=found, unseen="not seen")
            for nic in (self._plan.vm.nics if self._plan else ())
        ]

    def _handed(self) -> Check:
        plan, disk = self._plan, Conversion.find(self._folder)
        hashes = plan.hash if plan else "", disk.vmdk_sha256 if disk else ""
        return handover.recorded(self._folder, self._guest.name, *hashes)

    def _visible(self) -> Check:
        """Whether the plan knows an address that can be pinged."""
        addresses = self._targets
        return Check(
            code="guest-visible",
            title="from here it can be seen whether the guest serves",
            ok=self._plan is None or bool(addresses),
            found=", ".join(addresses.values()) or ("no address in the guest's files" if self._plan else "no plan yet"),
            expected="an address that the guest has by its own files",
            remedy="nothing would tell that the contractor has switched it on: shut the source down by hand, then have them "
            "switch the machine on, as the sheet says, without this step",
            where=self._guest.name,
        )

    @property
    def _targets(self) -> dict[str, str]:
        return {name: str(own.ip) for name, own in self._plan.addresses.items()} if self._plan else {}

    @property
    def _subject(self) -> Subject:
        return Subject.now(self._home, self._guest.name, self._plan) if self._plan else Subject("", "", "")

    def _permitted(self, permit: Callable[[], Permission]) -> None:
        """`Refused` unless this very guest, plan, disk and hand-over are approved."""
        of = self._subject
        permit().covers(CUTOVER.id, guest=self._guest.name, plan=of.plan, vmdk=of.vmdk or "", machine=of.machine or "")

    def _answer(self, progress: Progress) -> str:
        """The first address that answers; `StepFailed` where none does in time."""
        wanted = None if unmeasured(self._guest) else self._guest.measurement
        watching = host.parse(wanted.watch, self._home.root) if wanted else HERE
        call = f"call {self._contractor}: have both ticks of every NIC of {self._name} set, and the machine switched on"
        begin = time.monotonic()
        with (
            temporary.folder("answer") as private,
            metering.measuring(self._targets, private / "answer.jsonl", watching) as meter,
        ):
            while (passed := time.monotonic() - begin) < PATIENCE:
                for segment in meter.so_far().segments:
                    if segment.at_the_end == "answers":
                        progress(PATIENCE, PATIENCE, f"{segment.address} answers")
                        return segment.address
                progress(passed, PATIENCE, f"{call}. No address answers yet")
                time.sleep(0.5)
        raise StepFailed(
            Problem(
                code="guest-silent",
                what="no address of the guest answers",
                where=", ".join(self._targets.values()),
                found=f"no answer for {PATIENCE:g} s",
                expected=f"{self._name} switched on by {self._contractor}",
                remedy="is it on, with both ticks of every NIC? Then a NIC is on a wrong VLAN, or it has not started, or it "
                f"answers no ping of {watching.name}: have them look at its console. Run this again to go on waiting; "
                f"{ROLLBACK} goes back, the source is off",
            )
        )

    def _moved(self) -> bool:
        """Whether the guest's own shell says that it does not run under Xen; `Refused` where it does: the source answers."""
        wanted = self._guest.measurement
        if wanted is None or unmeasured(self._guest):
            return False
        try:
            xen = host.parse(wanted.shell, self._home.root).script(UNDER_XEN, timeout=20).strip()
        except HikkoshiError:  # not up yet, or behind a NIC that is on a wrong VLAN
            return False
        if xen:
            raise Refused(
                Problem(
                    code="source-answers",
                    what="the source itself answers",
                    where=wanted.shell,
                    found="the guest's shell says that it runs under Xen",
                    expected="the source off before the contractor switches the machine on",
                    remedy=f"shut {self._guest.name} down on its Dom-0, then run this again",
                )
            )
        return True
