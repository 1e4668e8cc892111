"""What is foretold of a night: by the fleet's own order, with durations by chance."""

import heapq
import random
from concurrent.futures import Future
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from matplotlib.text import Text

from hikkoshi.figures.gantt import Stretch, gantt, gantt_words, spoken
from hikkoshi.fleet import fleet, rates
from hikkoshi.fleet.fleet import Fleet
from hikkoshi.fleet.forecast import JOBS, Chains, forecast, relief
from hikkoshi.fleet.rates import PACES, Rates
from hikkoshi.fleet.task import Document, Task
from hikkoshi.params.home import Home
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.step import STEPS
from journey import Move, survey
from processes import without_a_process as hikkoshi

LIMITS = {"dom0": 1, "vsphere": 2}


def task(guest: str, step: str = "s", *slots: str) -> Task:
    return Task(guest, (step,), True, slots)


def ten(task: Task, chance: random.Random) -> float:
    return 10.0


class Virtual:
    """Carries tasks out in no time: the one that would end first ends when the fleet has begun all that it may."""

    def __init__(self, jobs: int, seconds: dict[Task, float]) -> None:
        self.jobs, self._seconds = jobs, seconds
        self._running: list[tuple[float, int, Task, Future[Document]]] = []
        self._number, self._now, self._followed = count(), 0.0, True
        self.ended: list[tuple[Task, float]] = []

    def submit(self, task: Task) -> "Future[Document]":
        future: Future[Document] = Future()
        end = self._now + self._seconds[task]
        heapq.heappush(self._running, (end, next(self._number), task, future))
        return future

    def lost(self) -> bool:
        if self._followed and self._running:
            self._now, _, task, future = heapq.heappop(self._running)
            self.ended.append((task, self._now))
            future.set_result({"guest": task.guest, "exit_code": 0, "steps": []})
        self._followed = not self._followed
        return False

    def end(self, signum: int) -> None: ...

    def close(self) -> None: ...


@given(
    steps=some.lists(some.lists(some.sampled_from(["", "dom0:a", "dom0:b", "vsphere:x", "network:"]), max_size=4), max_size=7),
    jobs=some.integers(1, 4),
    seed=some.integers(0, 1000),
)
def test_what_is_foretold_is_what_the_fleet_does(steps: list[list[str]], jobs: int, seed: int) -> None:
    chains = [[task(f"g{n}", f"s{m}", *([slot] if slot else [])) for m, slot in enumerate(row)] for n, row in enumerate(steps)]
    chance = random.Random(seed)
    seconds = {t: chance.uniform(1, 9) for chain in chains for t in chain}
    executor = Virtual(jobs, seconds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet, "LOOK", 0.0001)
        Fleet(Home(Path("/nowhere")), executor, lambda t, d: None, limits=LIMITS).run(chains)
    found = forecast(chains, LIMITS, jobs, lambda t, _: seconds[t])
    assert [(b.task, b.end) for b in found.bars] == executor.ended


def alone(dom0: str, guests: int = 4) -> Chains:
    return [[task(f"g{n}", "s", *([dom0] if dom0 else []))] for n in range(guests)]


def test_where_guests_at_once_are_what_is_waited_for_one_more_of_them_helps() -> None:
    found = forecast(alone(""), LIMITS, 2, ten)
    assert (found.seconds, found.bottleneck, found.shares[JOBS]) == (20.0, JOBS, 1.0)
    assert relief(alone("", 6), LIMITS, 2, ten, forecast(alone("", 6), LIMITS, 2, ten)) == 10.0


def test_where_a_dom0_is_waited_for_one_more_guest_there_helps() -> None:
    found = forecast(alone("dom0:a"), LIMITS, 4, ten)
    assert (found.seconds, found.bottleneck) == (40.0, "dom0:a")
    assert relief(alone("dom0:a"), LIMITS, 4, ten, found) == 20.0


def test_of_the_network_there_is_only_one() -> None:
    found = forecast(alone("network:"), LIMITS, 4, ten)
    assert (found.bottleneck, relief(alone("network:"), LIMITS, 4, ten, found)) == ("network:", 0.0)


def test_what_is_likely_is_later_than_what_is_expected() -> None:
    found = forecast(alone(""), LIMITS, 1, lambda t, chance: chance.choice([1.0, 10.0]))
    assert 4 < found.seconds < found.likely <= 40
    assert found.ends["g0"] <= found.ends["g3"] == found.likely


def test_of_no_guest_nothing_is_foretold() -> None:
    found = forecast([], LIMITS, 2, ten)
    assert (found.seconds, found.bottleneck, found.bars) == (0.0, "", [])


def lines(
    run: str, step: str, minutes: tuple[int, int], *, state: str = "done", outcome: str = "succeeded"
) -> list[JournalEntry]:
    at = [f"2026-11-30T22:{minute:02}:00+00:00" for minute in minutes]
    told = [{"event": "open", "time": at[0]}, {"event": "step", "state": state, "time": at[1]}]
    told += [{"event": "outcome", "outcome": outcome, "time": at[1]}] if outcome else []
    return [JournalEntry.of_line({"run": run, "step": step, **line}) for line in told]


def test_a_run_that_failed_that_found_all_done_or_that_somebody_sat_at_tells_nothing_of_durations() -> None:
    failed = lines("1", "40-convert", (0, 9), outcome="failed")
    known = lines("2", "40-convert", (10, 19), state="already")
    by_hand = lines("3", "40-convert", (20, 29), outcome="")
    good = lines("4", "40-convert", (30, 32))
    assert list(rates.batches([*failed, *known, *by_hand, *good])) == [("40-convert", 120.0)]


def test_durations_are_those_of_the_sites_own_runs_by_size_and_rough_where_there_are_none(home: Home) -> None:
    move = Move(home)
    move.survey.save(move.folder)
    move.ran("40-convert")
    found = Rates.of(home, ["idp", "gateway"])
    assert (found.sizes, list(found.ratios)) == ({"idp": survey().disk.allocated_bytes}, ["40-convert"])
    assert found.size("gateway") == found.size("idp")
    chance = random.Random(1)
    assert found.drawn("gateway", "40-convert", chance) < 2.5  # that run took no time
    assert found.drawn("gateway", "50-rehearse", chance) >= 20


def test_every_step_has_a_rough_figure() -> None:
    assert set(PACES) == set(STEPS)


def stretches(guests: int) -> list[Stretch]:
    return [Stretch(f"g{n:02}", "10-survey", 60.0 * n, 60.0 * n + 600, failed=n == 1) for n in range(guests)]


def words(guests: int) -> list[str]:
    return [t.get_text() for t in gantt(stretches(guests)).findobj(Text)]


def test_the_picture_has_a_row_for_each_guest_and_says_what_failed() -> None:
    assert {"g00", "g01", "✘ 10", "10", "reads from a Dom-0", "minutes since the beginning"} <= set(words(3))
    assert gantt_words(stretches(3)).startswith("3 guests in time, each with its steps; the last to end is g02, after 12 min.")
    assert gantt_words(stretches(3)).endswith("Failed: g01 in 10.")


def test_of_failures_near_each_other_the_signs_do_not_lie_upon_each_other() -> None:
    found = [
        Stretch("a", step, at, at + 2, failed=True) for step, at in (("30-prepare", 0), ("30-prepare", 4), ("40-convert", 9))
    ]
    texts = [t.get_text() for t in gantt([*found, Stretch("b", "10-survey", 0, 300)]).findobj(Text)]
    assert [t for t in texts if "✘" in t] == ["✘ 2 × 30, 40"]
    apart = [Stretch("a", "30-prepare", at, at + 2, failed=True) for at in (0, 200)]
    assert [t.get_text() for t in gantt([*apart, Stretch("b", "10-survey", 0, 300)]).findobj(Text)].count("✘ 30") == 2


def test_of_many_guests_it_shows_how_many_are_at_work() -> None:
    assert {"guests at work", "minutes since the beginning", "reads from a Dom-0"} <= set(words(60))
    assert "g00" not in words(60)


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_a_duration_is_told_as_people_do(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_the_command_draws_each_wave_and_begins_nothing(home: Home) -> None:
    path = home.guest_file("gateway")
    path.write_text(f"{path.read_text()}wave: 1\nwindow: 5\n")
    home.fleet.mkdir(parents=True)
    (home.fleet / "forecast-3.png").write_text("of a wave that there was")
    done = hikkoshi(home, "fleet", "forecast", "--through", "70", "--night", "0.01", COLUMNS="250")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not surveyed, and taken for 8.0 GiB of data each: 2 of 2 guests." in done.stdout
    assert "By rough figures, since no guest of this site has done it: 10, 20, 30, 40, 50, 60, 70." in done.stdout
    assert "Wave 2: likely not through by then: idp. Give them a later `wave:`." in done.stdout
    assert sorted(p.name for p in home.fleet.iterdir()) == ["forecast-1.png", "forecast-2.png"]
    assert not home.folder("gateway").exists()


def test_a_night_without_end_is_refused(home: Home) -> None:
    done = hikkoshi(home, "fleet", "forecast", "--night", "inf", COLUMNS="250")
    assert (done.returncode, "hours, such as 8 or 7.5" in done.stderr) == (2, True), done.stderr


def test_a_night_into_which_all_waves_fit_is_told(home: Home) -> None:
    done = hikkoshi(home, "fleet", "forecast", "--night", "9", COLUMNS="250")
    assert "Each wave is likely through within 9 hours." in done.stdout


def test_a_cutover_that_likely_takes_longer_than_its_window_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACES, "70-cutover", rates.Pace(900))
    path = home.guest_file("gateway")
    path.write_text(f"{path.read_text()}window: 10\n")
    done = hikkoshi(home, "fleet", "forecast", "--only", "70", COLUMNS="250")
    assert "gateway: its cut-over likely takes 30 min, and its window is 10 min." in done.stdout, done.stdout
