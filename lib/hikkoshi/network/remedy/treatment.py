"""Why a guest slows its network down, what is done about it, and the proof: observe, act, observe.

The cause is named from counters before and after a short load; the remedy is chosen by asking the guest, read back, and
proved by measuring again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hikkoshi import files
from hikkoshi.check import Check, Permission
from hikkoshi.errors import Problem, Refused, StepFailed
from hikkoshi.network.diagnosis import collection, diagnosis, snapshot
from hikkoshi.network.diagnosis.snapshot import Snapshot
from hikkoshi.network.host import Host, unmeasured
from hikkoshi.network.remedy import prescription, remedy
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.throughput import netperf
from hikkoshi.network.throughput.bench import Bench
from hikkoshi.network.throughput.measured import UNFINISHED
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import NETPERF, OFFLOADS

LOAD = 5  # seconds of netperf between the two looks at the counters


class Treatment:
    """The diagnosis of one guest's network, its remedy and the proof; `run` is the id of the run, `since` the cut-over's time."""

    def __init__(self, home: Home, guest: Guest, run: str, since: str = "") -> None:
        self._home, self._guest, self._run, self._since = home, guest, run, since
        self._folder = home.folder(guest.name)
        self._bench = Bench(home, guest, run, since)

    def checks(self) -> list[Check]:
        """What diagnosis and proof need: the guest's shell, netperf and netserver on both paths."""
        return self._bench.checks()

    def diagnosed(self) -> Check:
        """Whether the guest as it serves now was diagnosed."""
        title = "the counters are looked at before and after a load"
        if unmeasured(self._guest):
            return self._bench.nothing(code="counters-seen", title=title)
        found = self.found()
        told = found.diagnosis.words() if found else "not looked at"
        return Check(
            code="counters-seen",
            title=title,
            ok=found is not None,
            found=told,
            expected="a diagnosis",
            remedy=f"run {OFFLOADS} in apply",
            where=self._guest.name,
            later=True,
        )

    def diagnose(self, progress: Progress = silent) -> None:
        """Collect from guest, client and server, put a load on for some seconds, collect again, and name the cause."""
        wanted, folder = self._bench.wanted(), self._folder.measured / self._run
        client = self._bench.host(wanted.through.client)
        server = self._bench.host(wanted.through.server_shell) if wanted.through.server_shell else None
        progress(0, 1, f"a load of {LOAD} s between two looks at the counters")
        seen = collection.around(
            self._bench.host(wanted.shell),
            lambda: netperf.run(client, str(wanted.through.server), seconds=LOAD),
            client=client,
            server=server,
        )
        for who, pair in {"guest": seen.guest, "client": seen.client, "server": seen.server}.items():
            for name, told in zip(("before-load", "after-load"), pair or (), strict=False):
                files.write(folder / f"{who}-{name}.txt", told.raw)
        named = diagnosis.diagnose(*seen.guest, client=seen.client, server=seen.server)
        if seen.failure and named.cause == diagnosis.UNKNOWN:
            raise StepFailed(
                Problem(
                    code="no-load",
                    what="without a load nothing can be named",
                    where=self._guest.name,
                    found=seen.failure,
                    expected="netperf through the guest",
                    remedy="mend that first; what the machines told is kept in the folder netperf",
                )
            )
        Cure(since=self._since, diagnosis=named, folder=folder.name, before=self._bench.found()).save(self._folder)
        progress(1, 1, named.words())

    def found(self) -> Cure | None:
        """What was found of the guest as it serves now; None where nothing was."""
        found = Cure.find(self._folder)
        return found if found and found.since == self._since else None

    def plan(self) -> prescription.Prescription:
        """What to change on the guest, as it said itself after the load; nothing where the cause is another or unknown."""
        found = self.found()
        if unmeasured(self._guest) or found is None:
            return prescription.Prescription()
        return prescription.remedies(self._told(found), found.diagnosis.cause)

    def remedied(self) -> Check:
        """Whether everything that the plan wants is so, now and in the guest's files; asked, not remembered."""
        title = "the remedy is in place"
        if unmeasured(self._guest):
            return self._bench.nothing(code="remedy-in-place", title=title)
        if self.found() is None:
            return Check(
                code="remedy-in-place",
                title=title,
                ok=False,
                found="there is no diagnosis yet",
                expected="a named cause first",
                remedy=f"run {OFFLOADS} in apply",
                later=True,
            )
        plan = self.plan()
        if not plan.switches and not plan.files:
            notes = " ".join(plan.notes)
            return Check(
                code="remedy-in-place",
                title=title,
                ok=self._healthy(),
                found=f"nothing to change in the guest: {notes}",
                expected="merged packets switched off",
                remedy="do what the notes say; then move offloads.json away and run this again",
                unseen="not needed",
            )
        return remedy.holds(self._bench.host(self._bench.wanted().shell), plan).waiting()

    def apply(self, permission: Permission, serves: Sequence[Check]) -> None:
        """Change it, read it back, and keep what there was before in remedy.json. Only in the guest that was approved.

        `serves`: what `service.checks` finds in this moment. Without it the source under Xen might be the one changed.
        """
        shell, earlier = self._approved(permission, serves), remedy.Applied.find(self._folder)
        remedy.apply(shell, self.plan(), permission, earlier, lambda done: done.save(self._folder)).save(self._folder)

    def undo(self, permission: Permission, serves: Sequence[Check]) -> None:
        """Put back what there was before the remedy, as remedy.json has it, and put that aside; asks for the same as `apply`.

        What was measured with the remedy is true no longer.
        """
        remedy.undo(self._approved(permission, serves), remedy.Applied.load(self._folder), permission)
        self._bench.forget()
        found = self.found()
        if found:
            found.model_copy(update={"after": None}).save(self._folder)
        self._folder.remedy.rename(self.aside)

    @property
    def aside(self) -> Path:
        """Where an undo of this run leaves remedy.json."""
        return self._folder.measured / f"{self._run}-remedy-undone.json"

    def undone(self) -> Check:
        """Whether no remedy is on record as carried out."""
        there = remedy.Applied.find(self._folder)
        found = f"{len(there.flags)} flags, {len(there.files)} files of the guest" if there else "none"
        return Check(
            code="no-remedy",
            title="no remedy is in place",
            ok=there is None,
            found=found,
            expected="none on record",
            remedy=f"hikkoshi undo-remedy {self._guest.name} --apply",
            where=self._guest.name,
            later=True,
        )

    def _approved(self, permission: Permission, serves: Sequence[Check]) -> Host:
        """The shell of the guest that was approved, and that serves."""
        address = self._bench.wanted().shell
        permission.covers(OFFLOADS.id, guest=self._guest.name, shell=address)
        if not serves or not all(serves):
            lacking = Check(
                code="service-seen",
                title="somebody has looked whether the guest serves in vSphere",
                ok=False,
                remedy="service.checks does",
            )
            raise Refused(*(c.problem() for c in (serves or [lacking]) if not c))
        return self._bench.host(address)

    def in_effect(self) -> Check:
        """Whether what is written down also works now: a module's parameter does only after the guest was started anew."""
        title, plan = "the remedy works without a restart, or the guest was restarted", self.plan()
        if unmeasured(self._guest):
            return self._bench.nothing(code="remedy-effective", title=title)
        if not plan.restart:
            return Check(
                code="remedy-effective",
                title=title,
                ok=True,
                found="nothing that counts from the next start only",
                unseen="not needed",
            )
        found = remedy.in_effect(collection.collect(self._bench.host(self._bench.wanted().shell)), plan)
        return replace(found, code="remedy-effective", title=title, later=True)

    def measured_again(self) -> Check:
        """Whether the paths were measured again since, where there was anything to cure."""
        title, found = "both paths are measured after the remedy", self.found()
        if unmeasured(self._guest):
            return self._bench.nothing(code="measured-after-remedy", title=title)
        if self._healthy():
            return Check(
                code="measured-after-remedy",
                title=title,
                ok=True,
                found="no cause was named that the remedy would cure",
                unseen="not needed",
            )
        done = found is not None and found.after is not None and found.after.series.ended not in UNFINISHED
        told = found.after.series.words() if found and found.after else "not measured"
        return Check(
            code="measured-after-remedy",
            title=title,
            ok=done,
            found=told,
            expected="runs that decide",
            remedy=f"run {OFFLOADS} in apply",
            where=self._guest.name,
            later=True,
        )

    def measure_again(self, progress: Progress = silent) -> None:
        """Measure both paths anew, which takes the place of what 80-netperf measured."""
        found = self.found()
        if found is None:
            raise Refused(self.diagnosed().problem())
        now = self._bench.found()
        if now and found.before and now.series == found.before.series:  # else it goes on where it was
            self._bench.forget()
        self._bench.measure(progress)
        found.model_copy(update={"after": self._bench.found()}).save(self._folder)

    def proofs(self) -> list[Check]:
        """The remedy in place, and the path through the guest proved to be as fast as 90 % of the direct one."""
        speed = self._bench.verdict().waiting(not self.measured_again())
        if unmeasured(self._guest):
            return [speed]
        if self._healthy() and self._bench.found() is None:
            speed = replace(speed, ok=True, found=f"{NETPERF} has not measured it", expected="", remedy="", unseen="not measured")
        return [self.diagnosed(), self.remedied(), self.in_effect(), self.measured_again(), speed]

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What should be equal where merged frames are lost: {what: {where it was counted: number}}."""
        found = self.found()
        groups: dict[str, dict[str, int]] = {}
        for row in diagnosis.reconciled(found.diagnosis) if found else []:
            if isinstance(row["number"], int):
                groups.setdefault(str(row["meaning"]), {})[f"{row['where']}: {row['count']}"] = row["number"]
        return groups

    def _healthy(self) -> bool:
        """Whether a diagnosis found nothing that the remedy is for."""
        found = self.found()
        return found is not None and not found.curable

    def _told(self, found: Cure) -> Snapshot:
        path = self._folder.measured / found.folder / "guest-after-load.txt"
        try:
            return snapshot.parse(files.read(path).decode(errors="replace"), str(path))
        except OSError:
            raise Refused(
                Check(
                    code="collections-kept",
                    title="what the guest told is kept",
                    ok=False,
                    found=f"no {path}",
                    remedy="delete offloads.json, run again",
                ).problem()
            ) from None
