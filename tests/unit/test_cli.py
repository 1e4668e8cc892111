"""The command line without a kernel: what it takes, refuses and prints."""

import contextlib
import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.fleet import sequence
from hikkoshi.fleet.console import EVERY, SILENCE, Console
from hikkoshi.fleet.fleet import worst
from hikkoshi.params.home import Home
from hikkoshi.record.engine.execution import Outcome
from hikkoshi.record.engine.notebook import Event
from processes import without_a_process as hikkoshi


@pytest.mark.parametrize("name", ["40", "convert", "40-convert"])
def test_a_step_is_known_by_its_name_its_number_and_its_word(name: str) -> None:
    assert sequence.step(name) == "40-convert"


def test_by_default_a_run_ends_before_the_cut_over() -> None:
    assert sequence.selection(None, None) == ["10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy"]


def test_cut_over_and_report_come_when_the_last_step_asks_for_them_and_the_rollback_never() -> None:
    assert sequence.selection("60", "90") == ["60-deploy", "70-cutover", "80-netperf", "85-offloads", "90-report"]
    assert sequence.selection("60", "70") == ["60-deploy", "70-cutover"]


def test_the_rollback_comes_alone() -> None:
    assert sequence.selection("75", "75") == ["75-rollback"]


@pytest.mark.parametrize(("first", "last"), [("75", None), ("60", "75"), ("75", "90"), ("70", None), ("90", None), ("50", "40")])
def test_a_selection_that_makes_no_sense_is_refused(first: str, last: str | None) -> None:
    with pytest.raises(BadInput):
        sequence.selection(first, last)


def test_an_unknown_step_is_answered_with_the_nearest(home: Home) -> None:
    done = hikkoshi(home, "run", "gateway", "--from", "convrt")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "what to do: did you mean 40-convert?" in done.stderr


def test_an_unknown_guest_is_answered_with_the_nearest_and_nothing_begins(home: Home) -> None:
    done = hikkoshi(home, "run", "gateway", "ipd")
    assert done.returncode == 2
    assert "did you mean idp?" in done.stderr
    assert not home.outputs.exists()


@pytest.mark.parametrize("command", ["run", "approve", "status"])
def test_no_command_takes_a_path_or_a_file_of_the_records_for_a_guest(home: Home, command: str) -> None:
    for name in ("../guests/idp", "register.tsv"):
        done = hikkoshi(home, command, name)
        assert (done.returncode, "can be no guest's name" in done.stderr) == (2, True), done.stderr
    assert not home.outputs.exists()


def test_an_error_is_json_too_when_json_is_asked_for(home: Home) -> None:
    done = hikkoshi(home, "run", "gatway", "--json")
    assert json.loads(done.stdout)["error"] == "BadInput"
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2


def test_only_takes_no_other_step_beside_it(home: Home) -> None:
    both = hikkoshi(home, "run", "gateway", "--only", "70", "--through", "80")
    assert both.returncode == 2
    assert "leave --from and --through out" in both.stderr


def test_a_wrong_option_is_a_usage_error(home: Home) -> None:
    assert hikkoshi(home, "run", "gateway", "--aply").returncode == 2


def test_without_a_home_it_says_where_it_looked(home: Home) -> None:
    done = hikkoshi(home, "status", HIKKOSHI_HOME=str(home.root / "params"))
    assert done.returncode == 2
    assert "no parameters found" in done.stderr


def test_status_as_json_is_one_document(home: Home) -> None:
    done = hikkoshi(home, "status", "--json")
    assert [g["guest"] for g in json.loads(done.stdout)] == ["gateway", "idp"]
    assert done.returncode == 0


def test_status_of_one_guest_only(home: Home) -> None:
    done = hikkoshi(home, "status", "idp")
    assert "idp" in done.stdout
    assert "gateway" not in done.stdout


def confuse(home: Home) -> None:
    """Something that nobody has foreseen: a line of a journal with a time that is none."""
    home.folder("gateway").mkdir(parents=True)
    (home.folder("gateway") / "journal.jsonl").write_text('{"event": "open", "run": "r", "time": "noon"}\n')


def test_what_nobody_foresaw_is_one_line_and_a_log(home: Home) -> None:
    confuse(home)
    done = hikkoshi(home, "status")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "ValueError" in done.stderr
    (log,) = (home.outputs / "logs").iterdir()
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()


def test_a_log_that_has_no_place_in_outputs_is_read_by_nobody_else_and_its_name_by_nobody_foreseen(
    home: Home, tmp_path: Path
) -> None:
    confuse(home)
    (home.outputs / "logs").write_text("no folder")
    place = tmp_path / "temporary"
    place.mkdir()
    done = hikkoshi(home, "status", TMPDIR=str(place))
    assert done.returncode == 1
    (log,) = place.iterdir()
    assert str(log) in done.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert not re.search(r"\d{8}T\d{6}Z|-\d+\.log", log.name)
    assert "Traceback" in log.read_text()


def test_a_reader_that_goes_away_is_no_error(home: Home) -> None:
    command = f"{sys.executable} -m hikkoshi.cli.main status --json | head -c 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env={**os.environ, "HIKKOSHI_HOME": str(home.root)}, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("codes", "code"), [([], 0), ([0, 0], 0), ([0, 2], 2), ([2, 3], 3), ([3, 1, 2], 1), ([1, 143], 143), ([1, 7], 7)]
)
def test_the_worst_exit_code_counts(codes: list[int], code: int) -> None:
    assert worst(codes) == code


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def console(redraw: bool) -> tuple[Console, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    return Console(out, redraw=redraw, clock=clock), out, clock


def test_a_step_that_only_reads_is_not_headed_by_a_mode_that_it_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence.forked, "server", contextlib.nullcontext)
    monkeypatch.setattr(sequence, "execute", lambda _home, *a, **_: Outcome("r", *a, "succeeded", 0, 1.0, tmp_path))
    show, out, _ = console(redraw=False)
    sequence.walk(Home(tmp_path), "idp", ["10-survey", "30-prepare"], "apply", show)
    heads = [line for line in out.getvalue().splitlines() if "· guest idp" in line]
    assert [head.endswith("· apply") for head in heads] == [False, True]


def test_progress_in_a_log_is_one_line_in_five_seconds_and_the_last_state() -> None:
    show, out, clock = console(redraw=False)
    for n in range(120):
        clock.now = n / 10
        show(Event("progress", f"at {n}"))
    show(Event("row", "done"))
    assert out.getvalue().split("\n") == [f"    at {int(EVERY) * 10}", f"    at {int(EVERY) * 20}", "    at 119", "    done", ""]


def test_a_silent_cell_says_that_it_is_alive() -> None:
    show, out, clock = console(redraw=False)
    show(Event("cell", "Copy the disk"))
    for n in range(1, 3 * int(SILENCE)):
        clock.now = float(n)
        show(Event("tick"))
    assert out.getvalue().splitlines()[1:] == [
        "    … Copy the disk: still at it after 0:30",
        "    … Copy the disk: still at it after 1:00",
    ]


def test_progress_on_a_terminal_redraws_its_line() -> None:
    show, out, _ = console(redraw=True)
    show(Event("progress", "10 %"))
    show(Event("progress", "20 %"))
    show(Event("row", "done"))
    assert out.getvalue() == "\r\x1b[2K    10 %\r\x1b[2K    20 %\r\x1b[2K    20 %\n    done\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run", ["[default: 10-survey]", "[default: 60-deploy]"]),
        ("approve", ["[default: signing.key in params/site.yml]"]),
        ("verify", ["[default: outputs/records]", "[default: the site's]"]),
    ],
)
def test_help_names_the_defaults(home: Home, command: str, told: list[str]) -> None:
    shown = hikkoshi(home, command, "--help", COLUMNS="250").stdout
    assert [words for words in told if words not in shown] == []


def test_an_auditor_without_parameters_is_pointed_to_the_list_that_he_named(home: Home) -> None:
    done = hikkoshi(home, "verify", "outputs/records", "--allowed-signers", "/nowhere")
    assert done.returncode == 2
    assert "a list of keys is missing" in done.stderr
    assert "or the path given with --allowed-signers" in done.stderr


@pytest.mark.parametrize(
    ("code", "there", "kept_away"),
    [
        (
            "from hikkoshi.cli.main import app; app(['--help'], standalone_mode=False)",
            "typer",
            {"pandas", "numpy", "scipy", "matplotlib", "pyVmomi", "IPython", "papermill", "nbclient", "pydantic"},
        ),
        (
            "from hikkoshi.steps.prepare import Prepare; from hikkoshi import show; show.table([{'a': 1}])",
            "IPython",
            {"pandas", "numpy", "scipy", "matplotlib", "nbformat"},
        ),
        (
            "from hikkoshi.steps.plan import PlanMove; from hikkoshi.figures import exhibits; exhibits.wires([])",
            "matplotlib",
            {"pandas", "scipy", "IPython", "nbformat"},
        ),
    ],
    ids=["help", "a runbook", "a runbook that draws"],
)
def test_nothing_is_loaded_that_takes_long_and_is_not_needed(code: str, there: str, kept_away: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert there in loaded
    assert not loaded & kept_away
