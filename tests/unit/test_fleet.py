"""What a fleet begins when, and when it begins nothing more; the tasks are functions of this process."""

import errno
import fcntl
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.errors import BadInput, Busy, Refused
from hikkoshi.fleet import cluster, notice, station, waves
from hikkoshi.fleet.cluster import Cluster
from hikkoshi.fleet.fleet import Fleet
from hikkoshi.fleet.night import Night
from hikkoshi.fleet.task import Document, Task
from hikkoshi.params.home import Home
from hikkoshi.params.site import Notify
from processes import without_a_process as hikkoshi

PROJECT = Path(__file__).parents[2]
LIMITS = {"dom0": 2, "vsphere": 3}
Work = Callable[[Task], int]


class Threads:
    """Carries tasks out by a function that gives their exit codes."""

    def __init__(self, work: Work, jobs: int = 4) -> None:
        self.jobs, self._work, self._pool = jobs, work, ThreadPoolExecutor(jobs)
        self.signals: list[int] = []
        self.gone = False

    def submit(self, task: Task) -> "Future[Document]":
        return self._pool.submit(lambda: {"guest": task.guest, "exit_code": self._work(task), "steps": []})

    def end(self, signum: int) -> None:
        self.signals.append(signum)

    def lost(self) -> bool:
        return self.gone

    def close(self) -> None:
        self._pool.shutdown()


def chains(guests: int, steps: int = 3) -> list[list[Task]]:
    """Guests on three Dom-0s, that go to two vSpheres."""
    slots = [lambda n: (f"dom0:{n % 3}",), lambda n: (f"vsphere:{n % 2}",), lambda n: ()]
    return [[Task(f"g{n}", (f"s{m}",), True, slots[m % 3](n)) for m in range(steps)] for n in range(guests)]


@pytest.mark.parametrize("seed", range(5))
def test_no_guest_is_in_two_tasks_none_is_lost_and_no_slot_is_taken_more_often_than_it_may(home: Home, seed: int) -> None:
    chance, lock, now, most, told = random.Random(seed), threading.Lock(), Counter[str](), Counter[str](), list[Task]()

    def work(task: Task) -> int:
        names = (task.guest, *task.slots, "jobs")
        with lock:
            now.update(names)
            most.update({name: max(0, now[name] - most[name]) for name in names})
            seconds = chance.random() / 300
        time.sleep(seconds)
        with lock:
            now.subtract(names)
        return 0

    asked = chains(20)
    assert Fleet(home, Threads(work, jobs=6), lambda task, _: told.append(task), limits=LIMITS).run(asked) == []
    assert [[t for t in told if t.guest == chain[0].guest] for chain in asked] == asked
    assert all(most[f"g{n}"] == 1 for n in range(20))
    assert max(most[f"dom0:{n}"] for n in range(3)) <= 2
    assert max(most[f"vsphere:{n}"] for n in range(2)) <= 3
    assert most["jobs"] <= 6


def test_who_waits_for_a_dom0_lets_those_of_others_go_first(home: Home) -> None:
    third, begun = threading.Event(), list[str]()

    def work(task: Task) -> int:
        begun.append(task.guest)
        third.set() if task.guest == "g2" else third.wait(20)
        return 0

    asked = [[Task(f"g{n}", ("s",), True, (f"dom0:{n // 2}",))] for n in range(3)]
    Fleet(home, Threads(work, jobs=3), lambda *_: None).run(asked)
    assert begun == ["g0", "g2", "g1"]


@pytest.mark.parametrize("failures", [0, 2])
def test_when_more_guests_have_failed_than_may_nothing_more_is_begun(home: Home, failures: int) -> None:
    told: list[Document] = []
    fleet = Fleet(home, Threads(lambda task: 1, jobs=1), lambda _, document: told.append(document), failures=failures)
    assert len(fleet.run(chains(6))) == 6 - failures - 1 == 6 - len(told)
    assert fleet.halt == "failures"


def test_what_runs_when_a_guest_fails_goes_to_its_end_and_the_failed_one_goes_no_further(home: Home) -> None:
    failed, told = threading.Event(), dict[str, int]()

    def work(task: Task) -> int:
        if task.guest == "g0":
            return 1
        assert failed.wait(20)
        return 0

    def hear(task: Task, document: Document) -> None:
        told[f"{task.guest} {task.steps[0]}"] = document["exit_code"]
        failed.set()

    late = Fleet(home, Threads(work, jobs=2), hear, failures=0).run(chains(3))
    assert told == {"g0 s0": 1, "g1 s0": 0}
    assert [f"{t.guest} {t.steps[0]}" for t in late] == ["g1 s1", "g2 s0"]


def test_who_asks_it_to_stop_lets_what_runs_end(home: Home) -> None:
    begun: list[str] = []
    with station.taken(home):
        fleet = Fleet(home, Threads(lambda task: begun.append(task.guest) or station.stop(home) or 0, jobs=1), lambda *_: None)
        fleet._stop = lambda: station.stopped(home)
        assert len(fleet.run(chains(3))) == 3
    assert (fleet.halt, begun) == ("stopped", ["g0"])


def test_a_guest_that_another_run_is_at_work_on_comes_when_that_has_ended(home: Home) -> None:
    told: list[str] = []
    path = home.folder("g0").runner_lock
    path.parent.mkdir(parents=True)
    with path.open("w") as another:
        fcntl.flock(another, fcntl.LOCK_EX)

        def hear(task: Task, document: Document) -> None:
            told.append(f"{task.guest} {task.steps[0]}")
            if told[-1] == "g1 s2":
                another.close()

        assert (
            Fleet(home, Threads(lambda task: 0), hear, wait=lambda guest: told.append(f"{guest} is in use")).run(chains(2)) == []
        )
    assert told == ["g0 is in use", "g1 s0", "g1 s1", "g1 s2", "g0 s0", "g0 s1", "g0 s2"]


def test_what_a_lost_cluster_carried_out_is_told_as_failed_and_nothing_more_is_begun(home: Home) -> None:
    told: list[Document] = []
    silent = threading.Event()
    executor = Threads(lambda task: silent.wait(20) and 0, jobs=2)
    threading.Timer(0.1, lambda: setattr(executor, "gone", True)).start()
    fleet = Fleet(home, executor, lambda _, document: told.append(document) or silent.set())
    assert [t.guest for t in fleet.run(chains(3))] == ["g2"]
    assert [(d["guest"], d["exit_code"], "cannot be heard" in d["error"]) for d in told] == [("g0", 1, True), ("g1", 1, True)]


def test_what_an_executor_raises_is_the_failure_of_its_task(home: Home) -> None:
    told: list[Document] = []

    def work(task: Task) -> int:
        raise ConnectionError("gone")

    Fleet(home, Threads(work), lambda _, document: told.append(document)).run(chains(1))
    assert [(d["exit_code"], "ConnectionError" in d["error"]) for d in told] == [(1, True)]


def test_a_second_ctrl_c_kills_and_all_that_was_stopped_says_so(home: Home) -> None:
    stopped, told = threading.Event(), list[int]()

    def work(task: Task) -> int:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert stopped.wait(20)
        return 143

    class Stopping(Threads):
        def end(self, signum: int) -> None:
            super().end(signum)
            stopped.set() if signum == signal.SIGKILL else signal.raise_signal(signal.SIGINT)

    executor = Stopping(work, jobs=1)
    fleet = Fleet(home, executor, lambda _, document: told.append(document["exit_code"]))
    assert len(fleet.run(chains(2))) == 1
    assert (executor.signals, told, fleet.halt) == ([signal.SIGTERM, signal.SIGKILL], [130], "signal")


def wave_of(home: Home, **numbers: int | None) -> None:
    text = (PROJECT / "params" / "guests" / "idp.yml").read_text()
    for path in home.guest_file("idp").parent.glob("*.yml"):
        path.unlink()
    for name, number in numbers.items():
        home.guest_file(name).write_text(
            text.replace("name: idp", f"name: {name}") + ("" if number is None else f"wave: {number}\n")
        )


def test_waves_come_in_their_order_and_whoever_names_none_is_moved_last(home: Home) -> None:
    wave_of(home, a=2, b=None, c=1, d=2)
    assert {n: [g.name for g in found] for n, found in waves.waves(home).items()} == {1: ["c"], 2: ["a", "d"], 3: ["b"]}
    wave_of(home, a=None, b=None)
    assert list(waves.waves(home)) == [1]


def test_a_folder_without_guests_is_told_and_is_no_fleet_that_went_well(home: Home) -> None:
    wave_of(home)
    done = hikkoshi(home, "fleet", "run", "--apply")
    assert (done.returncode, "no guest has a file in this folder" in done.stderr) == (2, True), done.stdout + done.stderr


@pytest.mark.parametrize("wave", [0, 10000])
def test_a_wave_that_is_no_small_number_is_refused(home: Home, wave: int) -> None:
    wave_of(home, a=wave)
    with pytest.raises(BadInput, match="9999 or less" if wave else "1 or more"):
        waves.waves(home)


def test_what_is_wrong_with_any_guests_file_is_told_before_anything_begins(home: Home) -> None:
    wave_of(home, a=1, b=2)
    for name in ("a", "b"):
        home.guest_file(name).write_text(home.guest_file(name).read_text().replace("dom0: xenhost", "dom0: nowhere"))
    with pytest.raises(BadInput) as told:
        waves.waves(home)
    assert [Path(p.where).name for p in told.value.problems] == ["a.yml", "b.yml"]


def test_what_a_step_shares_with_others_is_its_dom0_its_vsphere_or_the_network(home: Home) -> None:
    site, guest = home.site(), home.guest("idp")
    vsphere = f"vsphere:{site.vsphere.server}"
    way = ["10-survey", "20-plan", "30-prepare", "40-convert", "60-deploy", "80-netperf"]
    acts = [waves.slots(site, guest, step, "apply") for step in way]
    assert acts == [("dom0:xenhost",), (vsphere,), ("dom0:xenhost",), (), (vsphere,), ("network:",)]
    looks = [waves.slots(site, guest, step, "plan") for step in way]
    assert looks == [("dom0:xenhost",), (vsphere,), (), (), (vsphere,), ()]


def test_in_plan_mode_one_process_looks_at_all_steps_that_only_look(home: Home) -> None:
    site, guest, way = home.site(), home.guest("idp"), ["10-survey", "20-plan", "30-prepare", "40-convert", "60-deploy"]
    vsphere = f"vsphere:{site.vsphere.server}"
    found = [(t.steps, t.slots) for t in waves.tasks(home, site, guest, way, "plan")]
    assert found == [(("10-survey",), ("dom0:xenhost",)), (("20-plan",), (vsphere,)), (tuple(way[2:]), (vsphere,))]
    assert [t.steps for t in waves.tasks(home, site, guest, way, "apply")] == [(step,) for step in way]


def test_of_two_fleets_in_a_folder_the_second_is_refused_and_so_is_stopping_none(home: Home) -> None:
    with station.taken(home), pytest.raises(Busy, match="another fleet"), station.taken(home):
        pass
    with pytest.raises(Refused, match="no fleet runs"):
        station.stop(home)


@pytest.mark.parametrize("place", ["fleet", "fleet/running"])
def test_what_stands_in_the_place_of_a_fleets_lock_is_told_with_what_to_do(home: Home, place: str) -> None:
    (home.outputs / place).parent.mkdir(parents=True)
    (home.outputs / place).symlink_to("elsewhere")
    with pytest.raises(Refused, match=r"a lock cannot be taken(.|\n)*see who put it there"), station.taken(home):
        pass


def test_where_outputs_cannot_be_written_a_fleet_says_where_and_why(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(home.fleet))

    monkeypatch.setattr(station, "taken", shut)
    done = hikkoshi(home, "fleet", "run", "--apply")
    assert (done.returncode, "nobody foresaw" in done.stderr) == (1, False), done.stderr
    assert all(words in done.stderr for words in (str(home.fleet), "Read-only file system", "the same command again"))


def test_a_lock_on_a_disk_that_is_read_only_asks_nobody_to_remove_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("hikkoshi.run.lock.files.descriptor", shut)
    with pytest.raises(Refused, match=r"Read-only(.|\n)*give yourself the right"), station.taken(home):
        pass


def test_what_stopped_the_last_fleet_does_not_stop_the_next(home: Home) -> None:
    with station.taken(home):
        station.stop(home)
        assert station.stopped(home)
    with station.taken(home):
        assert not station.stopped(home)


def test_a_program_of_the_site_gets_the_event_as_json(home: Home) -> None:
    keep = "import sys; open('told.json', 'w').write(sys.stdin.read())"
    assert notice.send(home, Notify(command=(sys.executable, "-c", keep)), "failure", guest="idp", exit_code=1) == ""
    found = json.loads((home.root / "told.json").read_text())
    assert found == {"event": "failure", "site": str(home.root), "guest": "idp", "exit_code": 1}


@pytest.mark.parametrize("command", ["exit 3", "sleep 60"])
def test_a_program_that_fails_or_hangs_is_told_and_stops_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(notice, "SECONDS", 0.3)
    assert notice.send(home, Notify(command=("sh", "-c", command)), "end").startswith("nobody was told of it: sh ")


def test_a_program_that_is_not_there_is_told_and_stops_nothing(home: Home) -> None:
    assert "bin/none is not installed" in notice.send(home, Notify(command=("bin/none",)), "end")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--failures", "some"), "a number of guests, or per cent of the wave"),
        (("--failures", "101%"), "at most 100%"),
        (("--wave", "7"), "no guest is in it; the waves are 1"),
        (("--only", "40", "--from", "30"), "leave --from and --through out"),
        (("--tls-ca", __file__), "name its --scheduler, too"),
        (("--scheduler", "tls://127.0.0.1:1", "--tls-ca", "none.pem"), "'none.pem' does not exist"),
    ],
)
def test_a_fleet_is_not_begun_by_a_command_that_makes_no_sense(home: Home, argv: tuple[str, ...], words: str) -> None:
    done = hikkoshi(home, "fleet", "run", *argv, COLUMNS="250")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not home.outputs.exists()


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ({"again": 0, "threads": 4, "labels": ["dom0:a", "dom0:b"]}, []),
        ({"again": 3, "threads": 4, "labels": ["dom0:a"]}, ["cluster-repeats", "no-worker-near"]),
        ({"again": 0, "threads": 0, "labels": []}, ["cluster-without-workers"]),
    ],
)
def test_a_cluster_is_refused_that_would_begin_a_step_twice_or_is_far_from_a_dom0(
    settings: dict[str, Any], codes: list[str]
) -> None:
    try:
        cluster._refuse("tls://ctl:8786", settings, ["a", "b"])
        found = []
    except Refused as e:
        found = [p.code for p in e.problems]
    assert found == codes


def test_a_cluster_that_anybody_can_speak_to_is_refused(home: Home) -> None:
    with pytest.raises(Refused, match="whatever it is sent"):
        Cluster(home, "tcp://127.0.0.1:1", (), ca=None, certificate=None, key=None)


class Told(Threads):
    """Gives these documents, one for each task."""

    def __init__(self, *documents: Document) -> None:
        super().__init__(lambda task: 0, jobs=1)
        self._documents = list(documents)

    def submit(self, task: Task) -> "Future[Document]":
        return self._pool.submit(lambda: self._documents.pop(0))


@pytest.mark.parametrize(
    ("code", "error", "outcome", "ends"),
    [(137, "killed", "interrupted", 1), (3, "another run is at work", "not begun", 3), (1, "lost", "interrupted", 1)],
)
def test_a_step_whose_process_could_tell_nothing_is_told_as_what_became_of_it(
    home: Home, code: int, error: str, outcome: str, ends: int
) -> None:
    lines: list[str] = []
    night = Night(home, home.site(), lines.append)
    died = {"guest": "idp", "exit_code": code, "steps": [], "error": error}
    assert night.through(Told(died), [home.guest("idp")], ["30-prepare"], "apply", 0) == ends
    assert lines == [f"idp         │ 30-prepare {outcome} after 0.0 s: {error}"]
    assert [(r["last step"], r["outcome"], r["why"]) for r in night.rows()] == [("30-prepare", outcome, error)]


def test_of_what_a_step_has_told_a_fleet_keeps_a_line(home: Home) -> None:
    rows = [{"title": "x" * 1000}] * 100
    step = {"step": "30-prepare", "outcome": "failed", "seconds": 1.0, "record": "r.ipynb", "error": "StepFailed", "rows": rows}
    night = Night(home, home.site(), lambda line: None)
    document = {"guest": "idp", "exit_code": 1, "steps": [{**step, "message": "what\n  found: much"}]}
    night.through(Told(document), [home.guest("idp")], ["30-prepare"], "apply", 0)
    assert len(json.dumps(night.plain())) < 200
    assert night.plain()[0]["steps"][0]["message"] == "what"
