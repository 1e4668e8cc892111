"""How fast a guest's network is, measured as its parameters say: through the guest and without it, in turn.

What was measured before the cut-over, under Xen, and since is kept apart. Beside the figures stand the round trip with and
without load, and what guest, client and server told of themselves before and after.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError, Problem, Refused, ToolFailed
from hikkoshi.network import host
from hikkoshi.network.compare import sequential, statistics
from hikkoshi.network.compare.sequential import Series
from hikkoshi.network.diagnosis import collection
from hikkoshi.network.host import Host, unmeasured
from hikkoshi.network.throughput import netperf
from hikkoshi.network.throughput.measured import DIRECT, THROUGH, UNFINISHED, UNIT, Measured, RoundTrip, Throughput, When
from hikkoshi.params.guest import Guest, MeasuredPath, Measurement
from hikkoshi.params.home import Home
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import NETPERF, OFFLOADS

AT_ONCE = 8  # paths tried, before anything is measured
ENOUGH = f"the whole interval of the ratio at {statistics.ENOUGH_OF_DIRECT:.2f} or above"
LONGEST = 1800.0  # seconds for one series, looks and all


class Bench:
    """The measurement of one guest's network; `run` is the id of the run that measures, `since` the cut-over's time, if any."""

    def __init__(self, home: Home, guest: Guest, run: str, since: str = "") -> None:
        self._home, self._guest, self._run, self._since = home, guest, run, since
        self._folder = home.folder(guest.name)
        self.when: When = "since the move" if since else "before the move"

    def checks(self) -> list[Check]:
        """What a measurement needs: a netperf on each client, a netserver that answers, the guest's shell."""
        wanted = self._guest.measurement
        if wanted is None or unmeasured(self._guest):
            return [self.nothing(code="network-measured", title="the network is measured")]
        paths = [*_paths(wanted).items(), *wanted.segments.items()]
        with ThreadPoolExecutor(AT_ONCE) as pool:  # each takes a second of waiting
            answers = list(pool.map(lambda of: _answers(of[0], of[1], self._home), paths))
        return [*answers, _shell(wanted.shell, self._home)]

    def complete(self) -> Check:
        """Whether the guest as it serves now was measured until the runs decided, or could not."""
        title = f"{self.when}: both paths are measured"
        if unmeasured(self._guest):
            return self.nothing(code="paths-measured", title=title)
        found = self.found()
        ended = found is not None and found.series.ended not in UNFINISHED
        return Check(
            code="paths-measured",
            title=title,
            ok=ended,
            found=found.series.words() if found else "not measured",
            expected="runs that decide, 20 at most",
            remedy=f"run {NETPERF} in apply; it goes on where it stopped",
            where=self._guest.name,
            later=True,
        )

    def found(self) -> Measured | None:
        """What was measured of the guest as it serves now; None where nothing was."""
        known = Throughput.find(self._folder)
        found = known.measured.get(self.when) if known else None
        return found if found and found.since == self._since else None

    def measure(self, progress: Progress = silent) -> None:
        """Measure, or go on measuring, and keep every run as soon as it is made."""
        wanted = self.wanted()
        before = self.found()
        series = before.series if before else Series(through=THROUGH, direct=DIRECT, unit=UNIT)
        folder = self._folder.measured / self._run
        self._describe(wanted, folder, "before")
        measured = before or Measured(since=self._since, series=series, folder="")
        self.keep(measured.model_copy(update={"folder": folder.name}))
        found = measure(self._home, wanted, _paths(wanted), series, folder, self._kept, progress)
        if found.ended == "interrupted":
            raise KeyboardInterrupt
        self._describe(wanted, folder, "after")

    def verdict(self) -> Check:
        """Whether the path through the guest is proved to be as fast as 90 % of the direct one."""
        title = f"{self.when}: the guest does not slow its network down"
        if unmeasured(self._guest):
            return self.nothing(code="not-slowed", title=title)
        found = self.found()
        return Check(
            code="not-slowed",
            title=title,
            ok=found is not None and found.series.verdict == "recovered",
            found=found.series.words() if found else "not measured",
            expected=ENOUGH,
            remedy=f"{OFFLOADS} names the cause"
            if found and found.series.verdict == "regressed"
            else f"measure again at a quieter time: netperf.forget() in {NETPERF}, then run it once more"
            if found
            else f"run {NETPERF} in apply",
            where=self._guest.name,
            facts={"verdict": found.series.verdict} if found else {},
        )

    def forget(self) -> None:
        """Take what was measured now out of netperf.json, so that it is measured anew; its outputs stay in their folder."""
        known = Throughput.find(self._folder)
        if known:
            Throughput(measured={k: v for k, v in known.measured.items() if k != self.when}).save(self._folder)

    def keep(self, found: Measured) -> None:
        """Write netperf.json with this as what was measured now."""
        known = Throughput.find(self._folder)
        Throughput(measured={**(known.measured if known else {}), self.when: found}).save(self._folder)

    def host(self, address: str) -> Host:
        """A host of the parameters."""
        return host.parse(address, self._home.root)

    def _kept(self, series: Series) -> None:
        found = self.found()
        if found:
            self.keep(found.model_copy(update={"series": series}))

    def wanted(self) -> Measurement:
        """How the guest's network is measured; `Refused` where it is not."""
        if self._guest.measurement is None:
            raise Refused(self.nothing(code="network-measured", title="the network is measured").problem())
        return self._guest.measurement

    def _describe(self, wanted: Measurement, folder: Path, name: str) -> None:
        """Keep what guest, client and server tell of themselves; one that tells nothing is no obstacle to a measurement."""
        servers = {"server": wanted.through.server_shell} if wanted.through.server_shell else {}
        for who, address in {"guest": wanted.shell, "client": wanted.through.client, **servers}.items():
            try:
                told = collection.collect(self.host(address)).raw
            except HikkoshiError as e:
                told = f"{e}\n"
            files.write(folder / f"{who}-{name}.txt", told)

    def nothing(self, *, code: str, title: str) -> Check:
        """A check that says that nothing is measured, and why."""
        return Check(code=code, title=title, ok=True, found=unmeasured(self._guest), unseen="not measured")


def measure(
    home: Home,
    wanted: Measurement,
    paths: Mapping[str, MeasuredPath],
    series: Series,
    folder: Path,
    keep: Callable[[Series], object] = lambda _: None,
    progress: Progress = silent,
) -> Series:
    """Go on with a series of netperf runs over `paths` until they decide.

    Every output is kept in `folder` as it was printed.
    """

    def one_run(name: str) -> float:
        path, stem = paths[name], name.replace(" ", "-")
        file = folder / f"{stem}-{len(list(folder.glob(f'{stem}-[0-9]*.txt'))) + 1:02}.txt"
        client = host.parse(path.client, home.root)
        try:
            made = netperf.run(client, str(path.server), seconds=wanted.seconds, link=wanted.link_mbps * 1e6)
        except netperf.Hung as e:  # the path died: nothing came through, and that is a figure
            files.write(file, f"# {name}: {e}\n")
            return 0.0
        files.write(file, f"# {name}: {made.client}: {made.command}\n{made.text}")
        if made.check is not None and not made.check:
            raise ToolFailed(made.check.problem())
        bits = made.measurement.throughput.bits_per_second
        if bits is None:
            raise ToolFailed(
                Problem(
                    code="netperf-without-throughput",
                    what="netperf told no throughput",
                    where=name,
                    found=made.text,
                    expected="bits per second",
                )
            )
        return round(bits / 1e6, 4)

    return sequential.measure(one_run, series, seconds=LONGEST, keep=keep, progress=progress)


def round_trips(home: Home, wanted: Measurement, folder: Path) -> tuple[RoundTrip, ...]:
    """The round trip on both paths, alone and beside a stream; a path on which it cannot be measured is left out."""
    found = []
    for name, path in _paths(wanted).items():
        file = folder / f"round-trip-{name.replace(' ', '-')}.txt"
        try:
            trip = netperf.under_load(host.parse(path.client, home.root), str(path.server), seconds=wanted.seconds)
        except HikkoshiError as e:
            files.write(file, f"{e}\n")
            continue
        text = "".join(f"# {r.command}\n{r.text}" for r in (trip.idle, trip.loaded, trip.stream))
        files.write(file, text)
        found.append(RoundTrip(path=name, idle_ms=_rounded(trip.idle_ms), loaded_ms=_rounded(trip.loaded_ms)))
    return tuple(found)


def _paths(wanted: Measurement) -> dict[str, MeasuredPath]:
    return {THROUGH: wanted.through, DIRECT: wanted.direct}


def _answers(name: str, path: MeasuredPath, home: Home) -> Check:
    """Whether the client's netperf reaches netserver, by a test of one second."""
    title, expected = f"{name}: netserver answers the client's netperf", "a test of one second"
    try:
        made = netperf.run(host.parse(path.client, home.root), str(path.server), seconds=1, test="TCP_RR", limit=20)
    except HikkoshiError as e:
        p = e.problems[0]
        return Check(
            code="netserver-answers",
            title=title,
            ok=False,
            found=f"{p.what}: {p.found}",
            expected=expected,
            remedy=p.remedy,
            where=f"{path.client} to {path.server}",
        )
    return Check(
        code="netserver-answers",
        title=title,
        ok=True,
        found=f"{made.measurement.throughput}, netperf {made.version}",
        expected=expected,
    )


def _shell(address: str, home: Home) -> Check:
    title, expected = "the guest's shell answers", "a shell of root"
    try:
        user = host.parse(address, home.root).run(["id", "-u"], timeout=30).stdout.strip()
    except HikkoshiError as e:
        p = e.problems[0]
        return Check(
            code="shell-answers",
            title=title,
            ok=False,
            found=p.found or p.what,
            expected=expected,
            remedy=p.remedy,
            where=address,
        )
    return Check(
        code="shell-answers",
        title=title,
        ok=user == "0",
        found=f"user {user}",
        expected=expected,
        remedy="name root in the address: ssh://root@…",
        where=address,
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
