"""What is observed of a guest's network while it is put into service: every segment's outage, and every NIC's segment.

Where the guest's parameters have no `measurement`, nothing is observed, and each check says so.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Interface
from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Problem, StepFailed
from hikkoshi.network import host
from hikkoshi.network.host import Host, unmeasured
from hikkoshi.network.outage import metering, outage
from hikkoshi.network.outage.outage import Outages
from hikkoshi.network.wiring import witness
from hikkoshi.network.wiring.fingerprint import Fingerprint
from hikkoshi.network.wiring.wiring import Wiring, Witness, together, with_subnets
from hikkoshi.params.guest import Guest, Measurement
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import CUTOVER, ROLLBACK
from hikkoshi.vsphere.cutover import InService

PATIENCE = 600.0  # seconds that a guest may take to start, and its segments to come back


class Observation:
    """What one run of the cut-over observes of the guest's network; `run` is its id.

    `segments`: {NIC: the segment that is planned}; `addresses`: {segment: the guest's address there}.
    """

    def __init__(
        self,
        home: Home,
        site: Site,
        guest: Guest,
        run: str,
        *,
        segments: Mapping[str, str],
        addresses: Mapping[str, IPv4Interface],
    ) -> None:
        self._home, self._guest, self._run, self._segments = home, guest, run, segments
        self._every = with_subnets(site.segments, addresses)
        self._folder = home.folder(guest.name)
        self._why_not = unmeasured(guest)
        self._meter = None
        self.file = self._free()  # every one of this run's probes
        self._legs: dict[str, Check] = {}
        if (wanted := self._wanted) and addresses:
            watching = host.parse(wanted.watch, home.root)
            self._legs = _legs(watching, addresses)
            seen = {name: str(own.ip) for name, own in addresses.items() if not self._legs[name].unseen}
            self._meter = metering.Meter(seen, self.file, watching) if seen else None

    def checks(self) -> list[Check]:
        """What has to be there before anything is taken out of service.

        Not the guest's shell: a source that was shut down before has none, and the new machine is not there yet.
        """
        wanted = self._wanted
        if wanted is None:
            return [self._nothing(code="outage-and-wiring-measured", title="the outage and the wiring are measured")]
        reached = _reached("the machine that watches the segments", wanted.watch, self._home)
        return [metering.permitted(), reached, *self.legs()]

    def legs(self) -> list[Check]:
        """From which address each segment is watched; red where it is none for all of them, since that is no watching."""
        if self._meter is None and self._legs:
            remedy = "give it an address in every segment, or take `measurement` out of the guest's parameters"
            return [replace(leg, ok=False, remedy=remedy) for leg in self._legs.values()]
        return list(self._legs.values())

    def pinging(self) -> Check:
        """Whether the outage meter measures now, or the outage of this cut-over is on record with all segments back."""
        title = "every segment is pinged"
        if self._meter is None:
            return self._nothing(code="segments-pinged", title=title)
        known = self._known()
        if known and not self.file.exists() and all(known.checks(known.silent)):
            return Check(
                code="segments-pinged", title=title, ok=True, found=f"the outage of this cut-over is on record, in {known.file}"
            )
        return self._meter.running()

    def ping(self) -> None:
        """Begin to ping the guest's address on every segment; ends with `record_outage`, or with the notebook's kernel."""
        if self._meter:
            self._meter.start()

    def outage_recorded(self) -> Check:
        """Whether the measurement came to its end, and the outage of this cut-over is on record."""
        if self._meter is None:
            return self._nothing(code="outage-on-record", title="the outage is on record")
        known = self._known()
        ended = not self.file.exists() or outage.read(self.file).complete
        return Check(
            code="outage-on-record",
            title="the outage is on record",
            ok=known is not None and ended,
            found=known.file if known else "not yet",
            expected=Outages.filename,
            remedy=f"run {CUTOVER} in apply",
            where=str(self._folder),
            later=True,
        )

    def record_outage(self, progress: Progress = silent, limit: float = PATIENCE) -> None:
        """Wait until every segment answers that is not known to have been silent before, `limit` seconds at most; then end.

        A segment whose NIC was seen on another one is not waited for: it comes back when somebody has put the NIC right.

        outage.json is of the measurement that saw the machine put into service, be it an earlier run's that was killed. A
        later one has its own file only.
        """
        if self._meter is None:
            return
        begin, misplaced = time.monotonic(), self._misplaced()
        while (passed := time.monotonic() - begin) < limit:
            now = self._meter.so_far()
            out = [s.name for s in now.segments if s.at_the_end != "answers" and s.name not in self._silent(now) | misplaced]
            progress(passed, limit, f"out: {', '.join(out)}" if out else "every segment answers that did before")
            if not out:
                break
            time.sleep(1)
        self._meter.stop()
        progress(1, 1, "the measurement has ended")
        if self._known() is None:
            since = self._since()
            outage.read(self._witness_of(since)).model_copy(update={"since": since}).save(self._folder)

    def outage(self) -> Outages | None:
        """What this run's measurement found, else the one on record; None where there is none."""
        if self._meter is None:
            return None
        return outage.read(self.file) if self.file.is_file() else self._known()

    def wiring_seen(self) -> Check:
        """Whether wiring.json tells what was seen, whatever it was, by this run; or by an earlier one if all was proved."""
        title = "the wiring was looked at from inside the guest"
        if self._why_not:
            return self._nothing(code="wiring-seen", title=title)
        found = self.wiring()
        told = f"{sum(n.verdict == 'ok' for n in found.nics)} of {len(found.nics)} NICs proved" if found else "not yet"
        return Check(
            code="wiring-seen",
            title=title,
            ok=found is not None,
            found=told,
            expected="a verdict on every NIC",
            remedy=f"run {CUTOVER} in apply",
            later=True,
        )

    def look_at_wiring(self, progress: Progress = silent, limit: float = PATIENCE) -> None:
        """Wait for the guest's shell, `limit` seconds at most, and listen on every NIC, at most 20 s; writes wiring.json.

        Where that does not prove all of them, ask on the NICs whose planned segments have an address that answers. Where it was
        heard under Xen who speaks on which NIC, listen for the same 20 s more.
        """
        wanted, planned = self._wanted, self._segments
        if wanted is None or not planned:
            return
        shell = host.parse(wanted.shell, self._home.root)
        answering(shell, progress, limit)
        found = witness.watch(shell, planned, self._every, progress=progress)
        asked = {n: s for n, s in planned.items() if self._every[s].answers}
        if not found.ok and asked:
            found = together(found, witness.probe(shell, asked, self._every))
        seen = Wiring(run=self._run, since=self._since(), witness=found)
        seen.save(self._folder)
        before = Fingerprint.find(self._folder)
        if before and set(planned) <= set(before.nics):  # else the NICs had other names, and nothing can be compared
            now = witness.fingerprint(shell, list(planned), seconds=witness.LISTEN, progress=progress)
            then = before.model_copy(update={"nics": {n: before.nics[n] for n in planned}})
            seen.model_copy(update={"fingerprint": then.compare(now)}).save(self._folder)

    def wiring(self) -> Witness | None:
        """What was seen from inside the guest; None where nobody has looked."""
        found = self._found()
        return found.witness if found else None

    def fingerprint(self) -> Witness | None:
        """The same by who was heard on each NIC under Xen; None where nobody had listened then."""
        found = self._found()
        return found.fingerprint if found else None

    def _found(self) -> Wiring | None:
        try:
            found = Wiring.find(self._folder)
        except BadInput:  # damaged: looked at anew
            return None
        proved = found is not None and found.since == self._since() != "" and found.witness.ok
        return found if found and (found.run == self._run or proved) else None

    def _silent(self, now: Outages) -> set[str]:
        """Segments that were silent before the cut-over, by the measurement on record, or the present one where there is none."""
        return (self._known() or now).silent

    def _misplaced(self) -> set[str]:
        """Segments of NICs that were seen on another one."""
        found = self.wiring()
        return {n.planned for n in found.nics if n.verdict == "wrong"} if found else set()

    def _witness_of(self, since: str) -> Path:
        """The file of the measurement that ran when the machine was put into service; this run's where there is none."""
        began = {}
        for file in self.file.parent.glob("*.jsonl"):
            with contextlib.suppress(BadInput):  # killed before its first line
                began[file] = datetime.fromisoformat(outage.read(file).started)
        before = [f for f, started in began.items() if since and started <= datetime.fromisoformat(since)]
        return max(before, key=lambda f: began[f], default=self.file)

    def _free(self) -> Path:
        """A file that is not there yet, after the run's name: a cell may be run again."""
        names = (f"{self._run}{n}.jsonl" for n in ("", *(f"-{n}" for n in range(2, 100))))
        return next(f for name in names if not (f := self._folder.outages / name).exists())

    def _known(self) -> Outages | None:
        """outage.json, if it is of this cut-over."""
        try:
            found = Outages.find(self._folder)
        except BadInput:
            return None
        own = found is not None and found.file == self.file.name
        return found if found and (own or found.since == self._since() != "") else None

    def _since(self) -> str:
        """When the machine was put into service; empty before."""
        try:
            return InService.since_of(self._folder)
        except BadInput:
            return ""

    def proofs(self) -> list[Check]:
        """Every NIC on its segment, as seen from inside, and every segment in service that was so before."""
        seen, found = self.wiring(), self.outage()
        inside = (
            seen.checks()
            if seen
            else [
                self._nothing(code="nics-on-their-segments", title="every NIC is on its segment, as seen from inside the guest")
            ]
        )
        served = (
            found.checks(self._silent(found)) if found else [self._nothing(code="segments-answer", title="every segment answers")]
        )
        unwatched = [
            replace(leg, code="segment-answers", title=f"{name} answers") for name, leg in self._legs.items() if leg.unseen
        ]
        return [*inside, *served, *(unwatched if found else ())]

    @property
    def _wanted(self) -> Measurement | None:
        return None if self._why_not else self._guest.measurement

    def _nothing(self, *, code: str, title: str) -> Check:
        if any(leg and not leg.unseen for leg in self._legs.values()):
            why = "not yet"
        else:
            why = "no segment can be watched" if self._legs else "the plan knows no address of the guest"
        return Check(code=code, title=title, ok=True, found=self._why_not or why, unseen="not measured")


def _legs(watching: Host, wanted: Mapping[str, IPv4Interface]) -> dict[str, Check]:
    try:
        return metering.legs(watching, wanted)
    except HikkoshiError as e:
        p = e.problems[0]
        title, why = "from where the segments are watched is known", f"{p.what}: {p.found}"
        return {
            name: Check(
                code="watching-place-known",
                title=title,
                ok=False,
                found=why,
                expected="iproute2's ip there",
                remedy=p.remedy,
                where=watching.name,
            )
            for name in wanted
        }


def _reached(title: str, address: str, home: Home) -> Check:
    try:
        host.parse(address, home.root).run(["true"], timeout=30)
    except HikkoshiError as e:
        p = e.problems[0]
        return Check(
            code="host-reachable",
            title=f"{title} can be reached",
            ok=False,
            found=p.found or p.what,
            expected="a shell",
            remedy=p.remedy,
            where=address,
        )
    return Check(code="host-reachable", title=f"{title} can be reached", ok=True, found=address)


def answering(shell: Host, progress: Progress, limit: float) -> None:
    """Wait until the guest has started and its shell answers."""
    begin, words = time.monotonic(), ""
    while (passed := time.monotonic() - begin) < limit:
        try:
            shell.run(["true"], timeout=20)
            return
        except HikkoshiError as e:
            words = e.problems[0].found
            progress(passed, limit, "waiting for the guest's shell")
            time.sleep(2)
    raise StepFailed(
        Problem(
            code="shell-silent",
            what="the guest's shell does not answer",
            where=shell.name,
            found=f"{words} for {limit:g} s",
            expected="a shell, once the guest has started",
            remedy="look at the guest's console in the vSphere client. Has it started? Then the NIC over which you "
            "reach it may be on "
            f"a wrong segment: put that one right first, and run this again. Has it not? {ROLLBACK}",
        )
    )
