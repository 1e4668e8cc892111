"""The engine never calls a run green that was not: one test per way in which a run can end."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from hikkoshi.params.home import Home
from hikkoshi.record.engine import interruption
from hikkoshi.record.engine.notebook import Event
from hikkoshi.secret.masking import Mask
from hikkoshi.secret.reference import Secret
from processes import PATIENCE, wait_for


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell has all the time that a loaded machine takes for tidying up."""
    monkeypatch.setattr(interruption, "GRACE", PATIENCE)


def build(folder: Path, *cells: str | tuple[str, str], name: str = "step.ipynb") -> Path:
    """A notebook of code cells, given as source or (source, tag); the last is tagged verify unless a tag is given."""
    made = []
    for n, cell in enumerate(cells):
        source, tag = cell if isinstance(cell, tuple) else (cell, "verify" if n == len(cells) - 1 else "action")
        made.append(nbformat.v4.new_code_cell(textwrap.dedent(source), metadata={"tags": [tag]}))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=metadata), path)
    return path


def run(notebook: Path, **options: Any) -> Any:
    """Run it with the honest engine; returns the saved notebook. What papermill raises goes through."""
    out = notebook.with_name("out.ipynb")
    papermill.execute_notebook(str(notebook), str(out), engine_name="hikkoshi", progress_bar=False, **options)
    return nbformat.read(out, as_version=4)


def saved(notebook: Path) -> Any:
    return nbformat.read(notebook.with_name("out.ipynb"), as_version=4)


def states(nb: Any) -> list[str]:
    return [c.metadata.papermill["status"] for c in nb.cells if c.cell_type == "code"]


def errors(nb: Any) -> list[str]:
    return [o.ename for c in nb.cells for o in c.get("outputs", []) if o.output_type == "error"]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_good_run_is_green_in_every_cell(tmp_path: Path) -> None:
    nb = run(build(tmp_path, "x = 1", "assert x == 1"))
    assert states(nb) == ["completed", "completed"]
    assert not nb.metadata.papermill.exception
    assert [c.execution_count for c in nb.cells] == [1, 2]


def test_a_cell_out_of_time_is_failed_and_the_later_ones_stay_pending(tmp_path: Path) -> None:
    notebook = build(tmp_path, "1", "import time; time.sleep(600)", "2")
    with pytest.raises(CellTimeoutError):
        run(notebook, timeout_func=lambda cell: 1 if "sleep" in cell.source else None)  # the first cell has all the time
    nb = saved(notebook)
    assert states(nb) == ["completed", "failed", "pending"]
    assert nb.metadata.papermill.exception is True
    assert errors(nb) == ["KeyboardInterrupt", "CellTimeoutError"], "where it hung, and that it was too long"
    assert nb.cells[2].execution_count is None


def test_where_a_cell_hung_is_on_record_though_it_is_heard_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hear = AsyncZMQSocketChannel.get_msg

    async def late(channel: Any, *args: Any, **options: Any) -> Any:
        message = await hear(channel, *args, **options)
        await asyncio.sleep(message["msg_type"] == "error")  # the traceback: a second after the answer to the cell
        return message

    monkeypatch.setattr(AsyncZMQSocketChannel, "get_msg", late)
    notebook = build(tmp_path, "import time; time.sleep(600)", "2")
    with pytest.raises(CellTimeoutError):
        run(notebook, execution_timeout=1)
    assert errors(saved(notebook)) == ["KeyboardInterrupt", "CellTimeoutError"]


def test_a_cell_out_of_time_may_tidy_up(tmp_path: Path) -> None:
    left = tmp_path / "half"
    cell = f"""
        from hikkoshi import files
        import time
        from pathlib import Path
        with files.part(Path({str(left)!r})) as p:
            p.write_text("half")
            time.sleep(60)
        """
    with pytest.raises(CellTimeoutError):
        run(build(tmp_path, cell, "2"), execution_timeout=1)
    assert list(tmp_path.glob("half*")) == []


def test_a_dead_kernel_is_a_failed_cell_that_says_what_ended_it(tmp_path: Path) -> None:
    notebook = build(tmp_path, "1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "2")
    with pytest.raises(DeadKernelError):
        run(notebook)
    nb = saved(notebook)
    assert states(nb) == ["completed", "failed", "pending"]
    assert nb.metadata.papermill.exception is True
    assert errors(nb) == ["DeadKernelError"]
    assert "SIGKILL" in nb.cells[1].outputs[-1].evalue


@pytest.mark.parametrize("leave", ["raise SystemExit(0)", "raise SystemExit", "import sys; sys.exit()"])
def test_a_notebook_that_exits_half_way_has_failed(tmp_path: Path, leave: str) -> None:
    notebook = build(tmp_path, "1", leave, "2")
    with pytest.raises(PapermillExecutionError) as raised:
        run(notebook)
    nb = saved(notebook)
    assert states(nb) == ["completed", "failed", "pending"]
    assert errors(nb) == ["SystemExit", "StepFailed"]
    assert raised.value.ename == "StepFailed"


def test_a_cell_to_be_skipped_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    notebook = build(tmp_path, f"open({str(tmp_path / 'touched')!r}, 'w')", ("2", "skip-execution"), "3")
    with pytest.raises(PapermillExecutionError, match="skip-execution"):
        run(notebook)
    assert states(saved(notebook)) == ["pending", "failed", "pending"]
    assert not (tmp_path / "touched").exists()


def test_a_notebook_without_verify_is_never_green(tmp_path: Path) -> None:
    notebook = build(tmp_path, "1", ("2", "action"))
    with pytest.raises(PapermillExecutionError, match="verifies nothing"):
        run(notebook)
    assert states(saved(notebook)) == ["pending", "failed"]


def test_a_plain_error_is_a_failed_cell(tmp_path: Path) -> None:
    notebook = build(tmp_path, "1", "1 / 0", "2")
    with pytest.raises(PapermillExecutionError) as raised:
        run(notebook)
    assert raised.value.ename == "ZeroDivisionError"
    nb = saved(notebook)
    assert states(nb) == ["completed", "failed", "pending"]
    assert nb.metadata.papermill.exception is True


def test_a_failure_that_a_tag_expects_is_a_failure_all_the_same(tmp_path: Path) -> None:
    notebook = build(tmp_path, ("1 / 0", "raises-exception"), "2")
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        run(notebook)
    assert states(saved(notebook)) == ["failed", "pending"]


def test_a_kernel_that_does_not_start_is_a_failed_run(tmp_path: Path) -> None:
    notebook = build(tmp_path, "1", "2")
    with pytest.raises(Exception, match="no-such-kernel"):
        run(notebook, kernel_name="no-such-kernel")
    nb = saved(notebook)
    assert states(nb) == ["failed", "pending"]
    assert nb.metadata.papermill.exception is True


def test_an_unknown_parameter_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    notebook = build(tmp_path, ("guest = 'a'", "parameters"), f"open({str(tmp_path / 'touched')!r}, 'w')", "3")
    with pytest.raises(PapermillExecutionError) as raised:
        run(notebook, parameters={"gest": "b"})
    assert raised.value.ename == "BadInput"
    assert "did you mean guest?" in raised.value.evalue
    assert not (tmp_path / "touched").exists()


RUNNER = """
import os, sys, hikkoshi.record, papermill
from hikkoshi.record.engine import interruption
interruption.GRACE = float(os.environ["GRACE"])
papermill.execute_notebook(sys.argv[1], sys.argv[2], engine_name="hikkoshi", progress_bar=False)
"""


def start(notebook: Path, code: str, grace: float) -> "subprocess.Popen[str]":
    """Have another process run it."""
    command = [sys.executable, "-c", code, notebook, notebook.with_name("out.ipynb")]
    return subprocess.Popen(command, env={**os.environ, "GRACE": str(grace)}, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_runner_ends_its_kernel_and_children_and_says_so(tmp_path: Path, signum: int) -> None:
    cell = f"""
        import subprocess, time
        from pathlib import Path
        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        Path({str(tmp_path / "pids.new")!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
        Path({str(tmp_path / "pids.new")!r}).rename({str(tmp_path / "pids")!r})
        time.sleep(300)
        """
    notebook = build(tmp_path, "import os", cell, "2")
    runner = start(notebook, RUNNER, PATIENCE)
    try:
        wait_for((tmp_path / "pids").exists, "the cell is at work")
        pids = [int(p) for p in (tmp_path / "pids").read_text().split()]
        runner.send_signal(signum)
        _, words = runner.communicate(timeout=PATIENCE)
    finally:
        runner.kill()
    assert "Stopped" in words
    assert runner.returncode == 1
    nb = saved(notebook)
    assert states(nb) == ["completed", "failed", "pending"]
    assert errors(nb) == ["KeyboardInterrupt", "Interrupted"]
    assert signal.Signals(signum).name in nb.cells[-2].outputs[-1].evalue
    assert not any(alive(p) for p in pids)


HEARING = """
import os
from hikkoshi.record.engine import interruption
ask = interruption.Stop._ask
def heard(*signal):
    ask(*signal)
    os.write(2, b"heard\\n")
interruption.Stop._ask = heard
"""


@pytest.mark.parametrize(("grace", "signals"), [(0.5, 1), (10**6, 2)], ids=["after a while", "at once by a second one"])
def test_a_cell_that_will_not_stop_is_made_to(tmp_path: Path, grace: float, signals: int) -> None:
    cell = f"""
        import signal, time
        from pathlib import Path
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        Path({str(tmp_path / "deaf")!r}).touch()
        time.sleep(300)
        """
    notebook = build(tmp_path, "1", cell, "2")
    runner = start(notebook, HEARING + RUNNER, grace)
    try:
        assert runner.stderr
        wait_for((tmp_path / "deaf").exists, "the cell is at work")
        for _ in range(signals):  # two that come before the first is heard are one
            runner.send_signal(signal.SIGINT)
            while "heard" not in (line := runner.stderr.readline()):
                assert line
        runner.communicate(timeout=PATIENCE)
    finally:
        runner.kill()
    assert states(saved(notebook)) == ["completed", "failed", "pending"]
    assert errors(saved(notebook)) == ["Interrupted"]


def test_nothing_that_a_notebook_started_outlives_it(tmp_path: Path) -> None:
    cell = "import subprocess; print(subprocess.Popen(['sleep', '300'], start_new_session=True).pid)"
    nb = run(build(tmp_path, cell, "2"))
    pid = int(nb.cells[0].outputs[0].text)
    assert not alive(pid)


def test_each_kernel_has_a_private_folder_that_is_gone_afterwards(tmp_path: Path) -> None:
    cell = "import os; d = os.environ['HIKKOSHI_KERNEL']; print(d, oct(os.stat(d).st_mode & 0o777), *os.listdir(d))"
    nb = run(build(tmp_path, cell, "2"))
    folder, mode, *inside = nb.cells[0].outputs[0].text.split()
    assert mode == oct(stat.S_IRWXU)
    assert any(name.startswith("socket-") for name in inside)
    assert not Path(folder).exists()


SECRET = "tr0ub&dor'3<x>"


@pytest.mark.parametrize(
    "leak",
    [
        "print(s)",
        "import sys; sys.stderr.write(s)",
        "for c in s: print(c, end='', flush=True)",
        "s",
        "{'a': [s]}",
        "import json; print(json.dumps(s))",
        "import urllib.parse; print(urllib.parse.quote(s))",
        "import base64; print(base64.b64encode(b'administrator:' + s.encode()).decode())",
        "import html; from IPython.display import HTML; HTML(html.escape(s))",
        "from IPython.display import JSON; JSON({s: s})",
        "h = display('x', display_id=True); h.update(s)",
        "raise RuntimeError(f'login failed: {s!r}')",
        "import warnings; warnings.warn(s)",
        "import ipywidgets; ipywidgets.Text(value=s)",
    ],
)
def test_a_secret_is_masked_wherever_it_is_shown(tmp_path: Path, leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", SECRET)
    heard: list[Event] = []
    notebook = build(tmp_path, "import os; s = os.environ['LEAK']", leak, "2")
    words = ""
    try:
        run(notebook, mask=Mask([Secret("env:LEAK", SECRET)]), listener=heard.append)
    except PapermillExecutionError as e:
        words = str(e)
    nb = saved(notebook)
    assert len(nb.cells[1].outputs) or errors(nb), "the cell was to show something"
    shown = nbformat.writes(nb) + words + "".join(e.text for e in heard)
    for form in (SECRET, repr(SECRET)[1:-1], "tr0ub%26dor", "tr0ub&amp;dor", "ub&dor", "dHIwdWI"):
        assert form not in shown
    assert "env:LEAK" in shown


def test_a_secret_is_masked_in_what_papermill_itself_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", SECRET)
    with (tmp_path / "stdout").open("w+") as passed_on:
        notebook = build(tmp_path, "import os; print(os.environ['LEAK'])", "2")
        run(notebook, mask=Mask([Secret("env:LEAK", SECRET)]), stdout_file=passed_on)
        passed_on.seek(0)
        assert passed_on.read() == "‹env:LEAK›\n"


def test_a_secret_in_the_notebook_itself_is_not_even_in_the_record_of_a_run_that_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []
    notebook = build(tmp_path, "password = 'correct-horse'", "print(len(password))", "2")
    out = notebook.with_name("out.ipynb")
    run(notebook, mask=Mask([Secret("env:PW", "correct-horse")]), listener=lambda e: seen.append(out.read_text()))
    assert "‹env:PW›" in seen[0]
    assert not any("correct-horse" in text for text in [*seen, out.read_text()])


def test_without_a_mask_given_the_secrets_of_the_home_are_masked(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("file:outputs/lab/vcenter.password", "env:LEAK"))
    monkeypatch.setenv("LEAK", SECRET)
    (home.root / "notebooks").mkdir()
    nb = run(build(home.root / "notebooks", "import os; print(os.environ['LEAK'])", "2"))
    assert nb.cells[0].outputs[0].text == "‹env:LEAK›\n"


def test_parameters_that_would_be_without_effect_stop_the_run_before_it_begins(tmp_path: Path) -> None:
    notebook = build(tmp_path, ("guest = 'a'", "parameters"), f"open({str(tmp_path / 'touched')!r}, 'w')", "3")
    nb = nbformat.read(notebook, as_version=4)
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("The guest:", metadata={"tags": ["parameters"]}))
    nbformat.write(nb, notebook)
    with pytest.raises(PapermillExecutionError, match="without effect"):
        run(notebook, parameters={"guest": "b"})
    assert not (tmp_path / "touched").exists()


def test_parameters_reach_the_notebook(tmp_path: Path) -> None:
    run(build(tmp_path, ("guest = 'a'", "parameters"), "assert guest == 'b'"), parameters={"guest": "b"})


def test_the_saved_notebook_shows_progress_while_the_cell_runs(tmp_path: Path) -> None:
    cell = f"""
        import time
        from pathlib import Path
        h = display("begun", display_id=True)
        for n in range(400):
            h.update(f"at {{n}}")
            time.sleep(0.05)
            if Path({str(tmp_path / "seen")!r}).exists():
                break
        """
    notebook = build(tmp_path, cell, "2")
    seen: list[str] = []

    def look(event: Event) -> None:
        if event.kind == "progress" and not seen and "'at " in saved(notebook).cells[0].get("outputs", [{}])[:1].__repr__():
            seen.append(event.text)
            (tmp_path / "seen").touch()

    nb = run(notebook, listener=look, autosave_cell_every=0.1)
    assert seen
    assert len(nb.cells[0].outputs) == 1, "updates replace, they do not pile up"


def test_papermill_finds_the_engine_by_its_name(tmp_path: Path) -> None:
    notebook = build(tmp_path, "1", "raise SystemExit(0)", "2")
    command = [Path(sys.executable).with_name("papermill"), "--engine", "hikkoshi", notebook, tmp_path / "out.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}, check=False)
    assert done.returncode == 1, done.stderr
    assert states(saved(notebook)) == ["completed", "failed", "pending"]
