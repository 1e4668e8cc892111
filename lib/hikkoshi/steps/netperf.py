"""80: how fast a guest's network is, measured in turn through the guest and without it, under Xen and since."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.network import host
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.compare.statistics import Estimate
from hikkoshi.network.diagnosis import collection
from hikkoshi.network.outage.observation import Observation
from hikkoshi.network.throughput import bench
from hikkoshi.network.throughput.bench import ENOUGH, Bench
from hikkoshi.network.throughput.measured import DIRECT, THROUGH, UNFINISHED, UNIT, Measured, Throughput, When, trip_table
from hikkoshi.network.wiring import witness
from hikkoshi.network.wiring.fingerprint import Fingerprint
from hikkoshi.progress import Progress, silent
from hikkoshi.run.run import Run
from hikkoshi.run.step import NETPERF, OFFLOADS
from hikkoshi.steps.runbook import Runbook
from hikkoshi.vsphere.cutover import InService

if TYPE_CHECKING:
    from hikkoshi.figures.exhibits import Exhibit


class Netperf(Runbook):
    """80 · Netperf. The record of the cut-over tells whether this is before the move or since."""

    step = NETPERF

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._since = InService.since_of(run.folder)
        self._bench = Bench(run.home, run.guest, run.id, self._since)
        self._outputs = run.folder.measured / run.id

    def checks(self) -> list[Check]:
        """What a measurement needs on every path, and from which address 70 will watch each segment."""
        return [*self._bench.checks(), *self._observation.legs()]

    def complete(self) -> Check:
        """Whether both paths are measured until the runs decided, or could not."""
        return self._bench.complete()

    def start(self, progress: Progress = silent) -> None:
        """Measure, or go on measuring, both paths in turn, and keep every run as soon as it is made."""
        self._bench.measure(progress)

    def every_run(self) -> "tuple[Exhibit, ...]":
        """Every run in the order measured, and each path's median with its interval."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        return exhibits.series(self._bench.found())

    def looks(self) -> "tuple[Exhibit, ...]":
        """What the runs prove, look by look, and how often the rule behind it is wrong."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        return exhibits.looks(self._bench.found()) + exhibits.error_rates()

    def segments_measured(self) -> Check:
        """Whether the paths from other segments are measured until their runs decide, or cannot."""
        title, wanted = f"{self._bench.when}: the other segments are measured", self.run.guest.measurement
        if host.unmeasured(self.run.guest) or wanted is None:
            return self._bench.nothing(code="segments-measured", title=title)
        if not wanted.segments:
            none = "the parameters name no paths from other segments"
            return Check(code="segments-measured", title=title, ok=True, found=none, unseen="not needed")
        found = self._bench.found()
        done = [s for s, series in (found.segments if found else {}).items() if series.ended not in UNFINISHED]
        left = [s for s in wanted.segments if s not in done]
        return Check(
            code="segments-measured",
            title=title,
            ok=not left,
            found=f"{len(done)} of {len(wanted.segments)}" + (f"; left: {', '.join(left)}" if left else ""),
            expected="all that the parameters name",
            remedy=f"run {NETPERF} in apply",
            later=True,
        )

    def measure_segments(self, progress: Progress = silent) -> None:
        """Measure each other segment's path through the guest, in turn with the direct one."""
        wanted = self._bench.wanted()
        for segment, path in wanted.segments.items():
            found = self._bench.found()
            if found is None:
                return
            series = found.segments.get(segment) or Series(through=segment, direct=DIRECT, unit=UNIT)

            def kept(series: Series, segment: str = segment) -> None:
                known = self._bench.found()
                if known:
                    self._bench.keep(known.model_copy(update={"segments": {**known.segments, segment: series}}))

            if series.ended in UNFINISHED:
                paths = {segment: path, DIRECT: wanted.direct}
                made = bench.measure(self.run.home, wanted, paths, series, self._outputs, kept, progress)
                if made.ended == "interrupted":
                    raise KeyboardInterrupt

    def every_path(self) -> "tuple[Exhibit, ...]":
        """The ratio of every path through the guest to the direct one, before the move and since."""
        from hikkoshi.figures import exhibits  # noqa: PLC0415 - matplotlib is slow to load

        known = Throughput.find(self.run.folder)
        columns = dict(known.measured) if known else {}
        return exhibits.matrix(_ratios(columns))

    def round_trips_measured(self) -> Check:
        """Whether the round trip on both paths is measured."""
        title = f"{self._bench.when}: the round trip is measured, alone and beside a stream"
        if host.unmeasured(self.run.guest):
            return self._bench.nothing(code="round-trip-measured", title=title)
        found = self._bench.found()
        count = len(found.round_trips) if found else 0
        return Check(
            code="round-trip-measured",
            title=title,
            ok=count > 0,
            found=f"on {count} of 2 paths",
            expected="on the paths where it can be",
            remedy=f"run {NETPERF} in apply",
            later=True,
        )

    def measure_round_trips(self, progress: Progress = silent) -> None:
        """Measure the round trip on both paths."""
        found = self._bench.found()
        if found:
            trips = bench.round_trips(self.run.home, self._bench.wanted(), self._outputs)
            self._bench.keep(found.model_copy(update={"round_trips": trips}))

    def round_trips(self) -> pd.DataFrame:
        """The round trips of both paths, in ms."""
        return trip_table(self._bench.found())

    def neighbours_remembered(self) -> Check:
        """Whether it is on record who is heard on each NIC of the guest under Xen, to know its segments by after the move."""
        title = "who is heard on each NIC under Xen is on record"
        if host.unmeasured(self.run.guest):
            return self._bench.nothing(code="fingerprint-on-record", title=title)
        found = Fingerprint.find(self.run.folder)
        if self._since and found is None:
            return Check(
                code="fingerprint-on-record",
                title=title,
                ok=True,
                found="the guest has moved, and nobody had listened before",
                unseen="not measured",
            )
        told = f"{sum(len(e.pairs) for e in found.nics.values())} machines on {len(found.nics)} NICs" if found else "not yet"
        return Check(
            code="fingerprint-on-record",
            title=title,
            ok=found is not None,
            found=told,
            expected=Fingerprint.filename,
            remedy=f"run {NETPERF} in apply",
            later=True,
        )

    def remember_neighbours(self, progress: Progress = silent) -> None:
        """Listen on every NIC of the guest, without sending anything, and keep who was heard."""
        shell = self._bench.host(self._bench.wanted().shell)
        names = [nic.name for nic in collection.collect(shell).ethernet]
        witness.fingerprint(shell, names, seconds=witness.LISTEN, progress=progress).save(self.run.folder)

    def proofs(self) -> list[Check]:
        """What was measured, and the verdict on every path through the guest."""
        found = self._bench.found()
        verdicts = [self._bench.verdict(), *self._verdicts_of_segments(found)]
        return [self.complete(), *(c.waiting(found is None) for c in verdicts), self.neighbours_remembered()]

    def evidence(self) -> list[Path]:
        """The figures, who was heard under Xen, and every output of this run as it was printed."""
        return [self.run.folder.throughput, self.run.folder.fingerprint, *sorted(self._outputs.glob("*.txt"))]

    def forget(self) -> None:
        """Take what was measured now out of netperf.json, so that it is measured again; all outputs stay."""
        self._bench.forget()

    def _verdicts_of_segments(self, found: Measured | None) -> list[Check]:
        return [
            Check(
                code="segment-not-slowed",
                title=f"{self._bench.when}: nor does it from {segment}",
                ok=series.verdict == "recovered",
                found=series.words(),
                expected=ENOUGH,
                remedy=f"{OFFLOADS} looks at every NIC; if it finds nothing, the port group, cable and switch of this segment",
                where=self.run.guest.name,
                facts={"verdict": series.verdict},
            )
            for segment, series in (found.segments if found else {}).items()
        ]

    @cached_property
    def _observation(self) -> Observation:
        run, plan = self.run, Plan.find(self.run.folder)
        segments, addresses = (plan.segments, plan.addresses) if plan else ({}, {})
        return Observation(run.home, run.site, run.guest, run.id, segments=segments, addresses=addresses)


def _ratios(columns: dict[When, Measured]) -> dict[str, dict[str, Estimate | None]]:
    """{path through the guest: {when: ratio to the direct path}}."""
    every = {when: {THROUGH: found.series, **found.segments} for when, found in columns.items()}
    names = dict.fromkeys(name for series in every.values() for name in series)

    def ratio(when: When, name: str) -> Estimate | None:
        look = every[when][name].look if name in every[when] else None
        return look.ratio if look else None

    return {name: {when: ratio(when, name) for when in columns} for name in names}
