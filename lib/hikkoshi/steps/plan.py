"""20: what the guest becomes. All is decided from the survey and the parameters, and vSphere is asked whether it can be so.

A contractor's vSphere is not asked, and each check of it says so."""

import contextlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hikkoshi.approval import capacity, plan, revision
from hikkoshi.approval.plan import Plan, disk_table
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Refused
from hikkoshi.guest import preparation
from hikkoshi.guest.additions import tools
from hikkoshi.guest.survey import Survey
from hikkoshi.record.engine import environment
from hikkoshi.run import lock
from hikkoshi.run.step import OFFLOADS, PLAN
from hikkoshi.sitefolder import rewiring
from hikkoshi.sitefolder.rewiring import Rewiring
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere import handover, hints, inventory, session
from hikkoshi.vsphere.inventory import Place, PortGroup
from hikkoshi.vsphere.preflight import elsewhere, ports, readiness, receiving, rule
from hikkoshi.vsphere.session import Session
from hikkoshi.vsphere.spec import VirtualNic, VmSpec

if TYPE_CHECKING:
    from hikkoshi.figures.exhibits import Exhibit
    from hikkoshi.figures.wires import Wire

_FORWARDS = {
    True: "yes: switch receive offload (LRO) off after the move",
    False: "no",
    None: f"not known from its files: {OFFLOADS} asks the running guest",
}
_PROVISIONING = {
    "thin": "thin: as much as is written",
    "thick": "thick: all of it at once",
    "eager": "thick, filled with zeros before it is used: all of it at once",
}


class PlanMove(Runbook):
    """20 · Plan the move."""

    step = PLAN

    def wires(self) -> "tuple[Exhibit, ...]":
        """Each NIC from its bridge under Xen to its port group, as vSphere has that now; a contractor's is not asked."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        try:
            groups = None if self.run.site.vsphere.handover else self._place.port_groups
        except Refused as e:  # the checks say more
            return (exhibits.Exhibit("; ".join(f"{p.what}: {p.found}" for p in e.problems)),)
        return exhibits.wires([_wire(nic, self._bridges.get(nic.mac, ""), groups) for nic in self._specified.nics])

    def cards(self) -> dict[str, tuple[str, str]]:
        """{MAC: (bridge under Xen, NIC and MAC, the segment that it is on, if any)}, of the NICs that can be put on another."""
        cards = [nic for nic in self._specified.nics if nic.mac]
        return {n.mac: (f"{self._bridges[n.mac] or 'default bridge'} · {n.name} · {n.mac}", n.segment) for n in cards}

    def segments(self) -> dict[str, str]:
        """{the site's segment: the same with VLAN and port group}."""
        return {name: f"{name} · VLAN {s.vlan} · {s.port_group}" for name, s in self.run.site.segments.items()}

    def rewired(self, wanted: Mapping[str, str]) -> Rewiring:
        """The guest's file with these segments for these MACs, see `rewiring.of`. Nothing is written."""
        run, name = self.run, self.run.guest.name
        return rewiring.of(run.home, name, run.inputs[f"params/guests/{name}.yml"], wanted)

    def rewire(self, wanted: Mapping[str, str]) -> str:
        """Write that, and put it on record; what to do next. `Busy` where another run is at work on the guest by now."""
        run, cards = self.run, self.cards()
        nics = [{"mac": mac, "before": cards[mac][1], "after": segment} for mac, segment in wanted.items()]
        with contextlib.ExitStack() as held:
            if run.ended:
                held.enter_context(lock.acquire(run.folder.lock, f"the NICs of {run.guest.name}", wait=1))
            changed = self.rewired(wanted)
            told = run.masked({"by": environment.operator(), "file": changed.name, **changed.sums, "nics": nics})
            lines = []
            try:
                rewiring.write(
                    run.home, run.guest.name, changed, lambda: lines.append(run.journal.append("rewired", of=run.id, **told))
                )
            except (BadInput, Refused) as e:
                if lines:  # it was not replaced: it may not be written over, is mounted, or somebody has just changed it
                    run.journal.append("not-rewired", of=run.id, file=changed.name, why=e.problems[0].found)
                raise
        return f"{changed.name} is written. Now {rewiring.AGAIN}: the plan before does not count any more, nor does its approval."

    def capacity(self) -> "tuple[Exhibit, ...]":
        """What the site has, before and after all guests that have a plan; nothing of a contractor's."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        run = self.run
        if run.site.vsphere.handover:
            return (exhibits.Exhibit("a contractor's vSphere is not asked"),)
        found = capacity.look(self._server, run.home, run.site, self._place, {run.guest.name: self._machine})
        return (*exhibits.rooms(found.rooms), exhibits.Exhibit("the site before and after", rows=found.rows()))

    def checks(self) -> list[Check]:
        """What the guest's own data allows, what vSphere has, and that no host has seen another subnet on a planned VLAN."""
        run = self.run
        return [
            *plan.checks(run.guest, run.site, self._survey),
            *tools.checks(run.home, run.guest, self._survey.guest),
            *self._vsphere(),
            *rule.judged(
                [receiving.check(run.guest, self._specified.nic_model, self._survey.guest.forwards)], run.site.vsphere.lowered
            ),
            hints.contradiction(self.vlans_seen()),
        ]

    def vlans_seen(self) -> list[Check]:
        """What the ESXi hosts have seen of each planned VLAN."""
        return self._seen

    def decisions(self) -> list[dict[str, str]]:
        """What the guest becomes."""
        return rows(self._decided)

    def nics(self) -> list[dict[str, str]]:
        """Where each NIC goes."""
        return plan.nic_table(self._decided.vm.nics)

    def changes(self) -> list[tuple[str, str]]:
        """`(path, unified diff)` of every file that changes inside the guest."""
        return preparation.diffs(self._decided.preparation, self._survey.guest)

    def revision(self) -> list[dict[str, str]]:
        """What it decides otherwise than the plan that is there, which it will replace."""
        try:
            before = Plan.find(self.run.folder)
        except BadInput as e:  # of an earlier version
            return [{"what": e.problems[0].what}]
        return revision.rows(before, self._decided, approved=before is not None and bool(self.run.approved()))

    def start(self) -> None:
        """Write the plan, in the place of an earlier one. `Refused` where it was made of parameters that are others by now."""
        run, now = self.run, self.run.home.inputs(self.run.guest.name)
        changed = [name for name, digest in run.inputs.items() if name != Plan.filename and now.get(name) != digest]
        if changed:
            raise rewiring.newer(run.guest.name, ", ".join(changed), "those that the plan was made of")
        self._decided.save(self.run.folder)

    def hash(self) -> str:
        """The hash of the plan that was decided."""
        return self._decided.hash

    def proofs(self) -> list[Check]:
        """The plan that was shown stands in the file."""
        written = Plan.load(self.run.folder).hash
        return [
            Check(
                code="plan-written",
                title=f"{Plan.filename} holds the plan that was shown",
                ok=written == self.hash(),
                found=f"hash {written}",
                expected=f"hash {self.hash()}",
                remedy="run this notebook again from its first cell",
                where=str(self.run.folder),
            )
        ]

    def evidence(self) -> list[Path]:
        """The plan. vSphere is not asked any more."""
        if not self.run.site.vsphere.handover:
            self._server.close()
        return [self.run.folder.plan]

    @cached_property
    def _bridges(self) -> dict[str, str]:
        """{MAC: the NIC's bridge under Xen}."""
        return {vif.mac.lower(): vif.bridge for vif in self._survey.xen.vifs}

    @cached_property
    def _survey(self) -> Survey:
        return Survey.load(self.run.folder)

    def _vsphere(self) -> Iterable[Check]:
        run = self.run
        others = elsewhere.checks(run.home, run.site, run.guest)
        if run.site.vsphere.handover:
            return [*handover.unasked(self._machine), *others]
        asked = self._server, run.site.vsphere, self._machine
        return [
            *readiness.site_checks(*asked, run.guest.name, run.home.identity()),
            *ports.checks(*asked, self._survey.guest),
            *others,
        ]

    @cached_property
    def _server(self) -> Session:
        return session.connect(self.run.home, self.run.site.vsphere)

    @cached_property
    def _machine(self) -> VmSpec:
        """What vSphere is asked about: for a NIC that is on no segment there is no port group to look for."""
        return self._specified.model_copy(update={"nics": tuple(n for n in self._specified.nics if n.segment)})

    @cached_property
    def _specified(self) -> VmSpec:
        return plan.specification(self.run.guest, self.run.site, self._survey)

    @cached_property
    def _place(self) -> Place:
        return inventory.place(self._server, self.run.site.vsphere)

    @cached_property
    def _seen(self) -> list[Check]:
        if self.run.site.vsphere.handover:
            return handover.vlans(self._machine, self.run.site.segments)
        return hints.checks(self._server, self.run.site.vsphere, self._machine, self.run.site.segments)

    @cached_property
    def _decided(self) -> Plan:
        made = plan.make(self.run.home, self.run.guest, self.run.site, self._survey)
        return plan.standing(self.run.folder, made)


def _wire(nic: VirtualNic, bridge: str, groups: Iterable[PortGroup] | None) -> "Wire":
    """`groups` are all that vSphere has, None where it is not asked."""
    from hikkoshi.figures.wires import Wire  # noqa: PLC0415 - matplotlib is slow to load

    found, right = inventory.seen(groups, nic.port_group, nic.vlan) if groups is not None else ("not asked", True)
    return Wire.of(nic, bridge, found, wrong=not right)


def rows(plan: Plan) -> list[dict[str, str]]:
    """A plan as rows for a reader."""
    vm = plan.vm
    facts = {
        "virtual machine": f"{vm.name}, {vm.guest_id}, hardware version {vm.hardware_version}"
        + (", starts by UEFI" if vm.firmware == "efi" else ""),
        "processors, memory": f"{vm.vcpus} vCPU, {vm.memory_mb} MB",
        "disk": f"{vm.disk_bytes:,} bytes on {vm.controller}"
        if not vm.capacities
        else f"{len(vm.disks)} disks on {vm.controller}: "
        + "; ".join(f"{d['under Xen']} becomes {d['afterwards']}, {d['bytes']} bytes" for d in disk_table(plan)),
        "room of the disks": _PROVISIONING[vm.provisioning],
        "NICs": f"{len(vm.nics)} {vm.nic_model}, MAC addresses kept",
        "kernel": plan.preparation.kernel,
        "files changed": ", ".join(e.path for e in plan.preparation.edits),
        **{f"brought along: {what}": f"{which} ({does})" for what, which, does in plan.preparation.additions.rows()},
        "forwards": _FORWARDS[plan.forwards],
        **({"NOT moved": ", ".join(plan.left_out)} if plan.left_out else {}),
        "plan hash": plan.hash,
    }
    return [{"what": what, "planned": words} for what, words in facts.items()]
