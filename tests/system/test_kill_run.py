"""A run that is killed, stopped, or met by a second one: nothing is left at work, the record stays, a repeat finishes."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import warm
from hikkoshi.errors import BadInput, Busy
from hikkoshi.params.home import Home
from hikkoshi.record import anatomy, register
from hikkoshi.record.engine.interruption import end_all
from hikkoshi.record.engine.notebook import Event
from hikkoshi.run import lock
from hikkoshi.run.journal import Journal
from hikkoshi.run.status import status
from processes import PATIENCE, start, wait_for
from runbooks import PARAMETERS, execute, install

LONG_TOOL = """
from hikkoshi import files, tool
done = run.folder / "disk" / "done"
def act(progress):
    with files.part(done) as p:
        p.write_text("half")
        (run.folder / "begun").touch()
        tool.run(["sleep", "HOW_LONG"])
run.ensure("make it", holds=done.exists, act=act)
"""


def at_work(home: Home) -> list[str]:
    """Programs whose environment says that they work for this home, the caller's own apart."""
    mark, found = f"HIKKOSHI_HOME={home.root}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def records(home: Home) -> list[str]:
    """Names of the records without their time stamps."""
    return sorted(p.name.partition("-")[2] for p in (home.folder("gateway") / "runs").iterdir())


def outcomes(home: Home) -> list[str]:
    journal = Journal(home.folder("gateway") / "journal.jsonl")
    journal.check()
    return [e["outcome"] for e in journal.entries() if e["event"] == "outcome"]


def test_a_run_that_is_killed_leaves_nobody_at_work_and_the_same_command_finishes(home: Home) -> None:
    install(home, LONG_TOOL.replace("HOW_LONG", "300"))
    first = start(home, "run", "gateway", "--only", "40", "--apply")
    wait_for((home.folder("gateway") / "begun").exists, "the tool begins")
    wait_for(lambda: any("sleep 300" in words for words in at_work(home)), "it is at work")
    assert status(home)[0].state == "running"
    first.kill()
    first.communicate()
    wait_for(lambda: not at_work(home), "kernel and tool end with the runner")
    # a program that ends has no environment a moment before it gives its locks back
    wait_for(lambda: status(home)[0].state == "interrupted", "nobody holds the guest")
    assert not (home.folder("gateway") / "disk" / "done").exists()
    assert records(home) == ["40-convert.part.ipynb"]

    install(home, LONG_TOOL.replace("HOW_LONG", "0"))
    second = start(home, "run", "gateway", "--only", "40", "--apply", program=warm.command())
    out, err = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, out + err
    assert (home.folder("gateway") / "disk" / "done").exists()
    assert not list((home.folder("gateway") / "disk").glob("*.part"))
    assert records(home) == ["40-convert.interrupted.ipynb", "40-convert.ipynb"]
    assert outcomes(home) == ["succeeded"]
    assert status(home)[0].state == "done"


PATIENT = f"""
from hikkoshi.cli.main import main
from hikkoshi.record.engine import interruption
interruption.GRACE = {PATIENCE}
main()
"""


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_tidies_up_and_says_so(home: Home, signum: int, code: int) -> None:
    install(home, LONG_TOOL.replace("HOW_LONG", "300"))
    patient = [sys.executable, "-c", PATIENT]  # with the time that a loaded machine takes for tidying up
    runner = start(home, "run", "gateway", "--only", "40", "--apply", "--json", program=patient)
    wait_for((home.folder("gateway") / "begun").exists, "the tool begins")
    runner.send_signal(signum)
    out, err = runner.communicate(timeout=PATIENCE)
    assert runner.returncode == code, err
    assert "stopped before its end" in err
    assert not at_work(home)
    assert not list((home.folder("gateway") / "disk").iterdir())
    assert records(home) == ["40-convert.ipynb"]
    assert outcomes(home) == ["interrupted"]
    document = json.loads(out)
    assert document["exit_code"] == code
    nb = nbformat.read(document["guests"][0]["steps"][0]["record"], as_version=4)
    assert nb.metadata.hikkoshi.outcome == "interrupted"
    assert not lock.held(home.folder("gateway") / "lock")


SLOW_TO_DIE = """
import fcntl, sys
f = open(sys.argv[1], "a")
fcntl.flock(f, fcntl.LOCK_EX)
much = bytearray(1 << 28)
print("locked", flush=True)
input()
"""


def test_a_program_that_a_run_ends_has_let_go_of_its_locks_before_the_run_has_ended(tmp_path: Path) -> None:
    mark = f"HIKKOSHI_KERNEL={tmp_path}"
    for _ in range(3):  # it gives its memory back first, and has no environment any more
        argv = [sys.executable, "-c", SLOW_TO_DIE, str(tmp_path / "lock")]
        env = {"HIKKOSHI_KERNEL": str(tmp_path)}
        with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            assert program.stdout
            assert program.stdout.readline() == b"locked\n"
            end_all(mark)
            assert not lock.held(tmp_path / "lock")


MOMENTS = ("before the kernel", "while the kernel starts", "as the kernel is ready")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_before_the_first_cell_is_told_as_what_it_is(home: Home, moment: str) -> None:
    install(home, "(run.folder / 'acted').touch()")
    slow = home.root / "jupyter" / "kernels" / "python3"
    slow.mkdir(parents=True)
    wait, ready = ("sleep 60; " if moment == MOMENTS[1] else ""), home.root / "at the moment"
    asks = f"touch '{ready}'; {wait}exec {sys.executable} -m ipykernel_launcher -f $1"
    spec = {"argv": ["sh", "-c", asks, "sh", "{connection_file}"], "display_name": "x", "language": "python"}
    (slow / "kernel.json").write_text(json.dumps(spec))
    path = home.root / "notebooks" / "40-convert.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("# A title comes first, as in every runbook"))
    nbformat.write(nb, path)
    point = {MOMENTS[0]: "notebook.Record.notebook_start", MOMENTS[2]: "notebook.HonestClient.papermill_execute_cells"}
    meddle = (
        "import os, signal; from hikkoshi.record.engine import notebook; before = POINT\n"
        "def stopped(self, *a, **k): os.kill(os.getpid(), signal.SIGTERM); return before(self, *a, **k)\n"
        "POINT = stopped\n"
    ).replace("POINT", point.get(moment, ""))
    code = ("" if moment == MOMENTS[1] else meddle) + "from hikkoshi.cli.main import main; main()"
    runner = subprocess.Popen(
        [sys.executable, "-c", code, "run", "gateway", "--only", "40", "--apply"],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root), "JUPYTER_PATH": str(home.root / "jupyter")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if moment == MOMENTS[1]:
        wait_for(ready.exists, "the kernel starts")
        runner.send_signal(signal.SIGTERM)
    _, err = runner.communicate(timeout=PATIENCE)
    assert runner.returncode == 143, err
    (told,) = [e for e in Journal(home.folder("gateway") / "journal.jsonl").entries() if e["event"] == "outcome"]
    assert (told["outcome"], told["kind"]) == ("interrupted", "Interrupted")
    assert told["error"].splitlines()[0] == "the run was stopped before its end"
    assert "stopped before its end" in err
    assert not at_work(home)
    assert not (home.folder("gateway") / "acted").exists()
    assert status(home, ["gateway"])[0].state == "interrupted"


def test_a_second_run_of_the_same_guest_is_refused(home: Home) -> None:
    install(home, LONG_TOOL.replace("HOW_LONG", "300"))
    first = start(home, "run", "gateway", "--only", "40", "--apply")
    try:
        wait_for((home.folder("gateway") / "begun").exists, "the tool begins")
        with pytest.raises(Busy):
            execute(home, "gateway", "40-convert")
        second = start(home, "run", "gateway", "--only", "40", "--apply", program=warm.command())
        _, err = second.communicate(timeout=PATIENCE)
        assert second.returncode == 3
        assert "another run is at work on this guest" in err
        assert first.poll() is None
    finally:
        first.terminate()
        first.communicate(timeout=PATIENCE)


def test_a_success_is_told_by_record_journal_and_exit_code(home: Home) -> None:
    install(home, LONG_TOOL.replace("HOW_LONG", "0"))
    heard: list[Event] = []
    outcome = execute(home, "gateway", "40-convert", "apply", listener=heard.append)
    assert (outcome.outcome, outcome.exit_code, outcome.error) == ("succeeded", 0, "")
    assert outcome.record.name == f"{outcome.run}.ipynb"
    nb = nbformat.read(outcome.record, as_version=4)
    assert nb.metadata.hikkoshi == {
        "run": outcome.run,
        "guest": "gateway",
        "step": "40-convert",
        "mode": "apply",
        "outcome": "succeeded",
    }
    assert str(home.root) not in str(nb.metadata.papermill.output_path)
    assert [(r["title"], r["state"]) for r in outcome.rows] == [("make it", "done")]
    assert any(e.kind == "row" and "make it" in e.text for e in heard)
    assert outcomes(home) == ["succeeded"]
    entries = Journal(home.folder("gateway") / "journal.jsonl").entries()
    assert {e.get("run") or e["of"] for e in entries} == {outcome.run}


@pytest.mark.parametrize(
    ("cell", "error", "code"),
    [
        ("from hikkoshi.errors import *; raise BadInput(Problem(code='a-code', what='bad'))", "BadInput", 2),
        ("from hikkoshi.errors import *; raise Refused(Problem(code='a-code', what='no'))", "Refused", 3),
        ("from hikkoshi.errors import *; raise ToolFailed(Problem(code='a-code', what='broken'))", "ToolFailed", 1),
        ("1 / 0", "ZeroDivisionError", 1),
        ("import os; os._exit(3)", "DeadKernelError", 1),
        ("raise SystemExit(0)", "StepFailed", 1),
    ],
)
def test_the_exit_code_follows_the_error_in_the_failing_cell(home: Home, cell: str, error: str, code: int) -> None:
    install(home, cell)
    outcome = execute(home, "gateway", "40-convert", "apply")
    assert (outcome.outcome, outcome.error, outcome.exit_code) == ("failed", error, code)
    assert outcomes(home) == ["failed"]
    nb = nbformat.read(outcome.record, as_version=4)
    assert nb.metadata.hikkoshi.outcome == "failed"
    assert f"\n\n    {error}: {outcome.message.splitlines()[0]}" in nb.cells[0].source, "the first that is seen"
    assert ("code:       a-code" in nb.cells[0].source) == ("a-code" in cell)
    told = [i for i, c in enumerate(nb.cells) if anatomy.FAILED in c.metadata.get("tags", ())]
    assert [bool(nb.cells[i + 1].get("outputs")) for i in told] == [False, True], "and the cell is marked"
    assert not lock.held(home.folder("gateway") / "lock")


def test_a_cell_out_of_time_fails_the_run(home: Home) -> None:
    install(home, "import time; time.sleep(60)")
    outcome = execute(home, "gateway", "40-convert", timeout_per_cell=1)
    assert (outcome.outcome, outcome.error, outcome.exit_code) == ("failed", "CellTimeoutError", 1)


def test_a_secret_of_the_site_is_in_no_record_no_journal_and_no_message(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("file:outputs/lab/vcenter.password", "env:VC_PASSWORD"))
    monkeypatch.setenv("VC_PASSWORD", "correct-horse")
    error = "VSphereError(Problem(code='a-code', what='no: ' + os.environ['VC_PASSWORD']))"
    install(home, f"import os; from hikkoshi.errors import *; raise {error}")
    outcome = execute(home, "gateway", "40-convert")
    assert outcome.message == "no: ‹env:VC_PASSWORD›"
    for path in home.outputs.rglob("*"):
        assert not path.is_file() or b"correct-horse" not in path.read_bytes(), path


def test_an_unknown_step_and_an_unknown_guest_begin_nothing(home: Home) -> None:
    install(home)
    with pytest.raises(BadInput, match="did you mean 40-convert"):
        execute(home, "gateway", "40-convrt")
    with pytest.raises(BadInput, match="did you mean gateway"):
        execute(home, "gatway", "40-convert")
    assert not home.outputs.exists()


def test_a_read_only_notebook_gets_no_mode(home: Home) -> None:
    read_only = "\n".join(line for line in PARAMETERS.splitlines() if not line.startswith("mode"))
    install(home, "assert 'mode' not in vars()", verify="run.verify([])\nrun.evidence()", step="10-survey", parameters=read_only)
    assert execute(home, "gateway", "10-survey", "apply").outcome == "succeeded"


def test_a_folder_with_braces_in_its_name_is_fine(home: Home) -> None:
    moved = home.root.with_name("{home}")
    home.root.rename(moved)
    install(Home(moved), verify="run.verify([])\nrun.evidence()")
    assert execute(Home(moved), "gateway", "40-convert").outcome == "succeeded"


def test_several_guests_run_side_by_side_and_one_failure_does_not_stop_the_others(home: Home) -> None:
    fails_for_idp = "assert guest != 'idp', 'not this one'"
    install(home, fails_for_idp, verify="run.verify([])\nrun.evidence()")
    fleet = start(home, "run", "idp", "gateway", "--only", "40", "--apply")
    out, err = fleet.communicate(timeout=PATIENCE * 2)
    assert fleet.returncode == 1, err
    assert "gateway     │   succeeded" in out
    assert "idp         │   failed" in out
    summary = out[out.index("exit") :]
    assert "not this one" in summary
    assert status(home, ["gateway"])[0].state == "done"
    assert status(home, ["idp"])[0].state == "failed"


def test_a_stop_ends_every_guest_and_those_that_wait_never_begin(home: Home) -> None:
    install(home, LONG_TOOL.replace("HOW_LONG", "300"))
    fleet = start(home, "run", "gateway", "idp", "--jobs", "1", "--only", "40", "--apply", "--json")
    wait_for((home.folder("gateway") / "begun").exists, "the tool begins")
    fleet.send_signal(signal.SIGINT)
    out, err = fleet.communicate(timeout=PATIENCE)
    assert fleet.returncode == 130, err
    assert not at_work(home)
    first, second = json.loads(out)["guests"]
    assert first["steps"][0]["outcome"] == "interrupted"
    assert second["steps"] == []
    assert not home.folder("idp").exists()


# what the run has is patience without end: were a stop not heard, it would not end either
WAITING = """
from hikkoshi.cli.main import main
from hikkoshi.record import register
register.PATIENCE = 10**6
"""
STOPPED_BETWEEN = """
import os, signal
from hikkoshi.run.journal import Journal
append = Journal.append
def then_stopped(self, event, **fields):
    entry = append(self, event, **fields)
    if event == "outcome":
        os.kill(os.getpid(), signal.SIGTERM)
    return entry
Journal.append = then_stopped
"""


@pytest.mark.parametrize("moment", ["as its outcome is written", "while it waits"])
def test_a_run_that_waits_for_another_to_seal_hears_a_stop(home: Home, moment: str) -> None:
    install(home, verify="run.verify([])\nrun.evidence()")
    own = register.of(home).path
    own.parent.mkdir(parents=True)
    between = moment == "as its outcome is written"
    with own.open("a") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        program = [sys.executable, "-c", WAITING + (STOPPED_BETWEEN if between else "") + "main()"]
        runner = start(home, "run", "gateway", "--only", "40", "--apply", program=program)
        if not between:
            wait_for(lambda: "succeeded" in outcomes(home), "the run ends, its record waits")
            runner.terminate()
        out, err = runner.communicate(timeout=PATIENCE)
    assert runner.returncode == 143, err
    assert "NOT SEALED · another run is sealing" in out
    assert outcomes(home) == ["succeeded"]
    assert execute(home, "gateway", "40-convert", "apply").sealed  # and with it, the one before
    assert len(register.of(home).lines()) == 2
