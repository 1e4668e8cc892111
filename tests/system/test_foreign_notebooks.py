"""Notebooks and outputs of other makers than ours: every record can be opened, nothing is lost without a word."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import papermill
import pytest
import zmq
from papermill.exceptions import PapermillExecutionError

from hikkoshi.errors import BadInput
from hikkoshi.params.home import Home
from hikkoshi.record import anatomy
from hikkoshi.record.engine import messages, runbook
from runbooks import execute, kernels

DATA = Path(__file__).parents[1] / "data" / "notebooks"
PYTHON = {"name": "python3", "display_name": "Python 3", "language": "python"}
VERIFY = ("1", "verify")


def run(folder: Path, notebook: str | Path | list[tuple[str, str]], **options: Any) -> Any:
    """What the engine saves of a notebook: one of tests/data, a file, or cells as (source, tag)."""
    out = folder / "out.ipynb"
    if isinstance(notebook, list):
        cells = [nbformat.v4.new_code_cell(s, metadata={"tags": [t]}) for s, t in notebook]
        nb = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": PYTHON})
        notebook = folder / "in.ipynb"
        nbformat.write(nb, notebook)
    how = {"engine_name": "hikkoshi", "progress_bar": False, "kernels": kernels()}
    with contextlib.suppress(PapermillExecutionError):
        papermill.execute_notebook(str(DATA / notebook), str(out), **how, **options)
    return opened(out)


def opened(path: Path) -> Any:
    """A record, that JupyterLab can open: strict JSON, valid by nbformat's own schema."""

    def none(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=none)
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    return nb


def errors(nb: Any) -> list[str]:
    return [o.ename for c in nb.cells for o in c.get("outputs", []) if o.output_type == "error"]


def refusal(nb: Any) -> str:
    (output,) = [o for c in nb.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert output.ename == "BadInput"
    return str(output.evalue)


def test_every_line_of_a_flood_is_on_record_and_in_its_own_cell(tmp_path: Path) -> None:
    text = (
        (DATA / "flood.ipynb").read_text().replace("60001", "15001")
    )  # a quarter of it: without care, lines are lost from 12,000 on
    (tmp_path / "in.ipynb").write_text(text)
    nb = run(tmp_path, tmp_path / "in.ipynb")
    assert errors(nb) == []
    _, flood, verify = nb.cells
    lines = sorted(line for o in flood.outputs for line in o.text.splitlines())
    assert lines == ["LAST LINE 15000", *(f"line {n:05d} of the copy" for n in range(1, 15001))]
    assert [o.text for o in verify.outputs] == ["verified\n"]


def test_who_reads_slowly_gets_everything_also_where_they_came_after_the_kernel_was_ready(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as sends, context.socket(zmq.SUB) as reads:
        sends.bind(f"ipc://{tmp_path}/out")
        before_a_cell: list[Callable[[], None]] = []
        events = SimpleNamespace(register=lambda name, act: before_a_cell.append(act))
        thread = SimpleNamespace(schedule=lambda act: act(), socket=sends)
        messages.load_ipython_extension(SimpleNamespace(kernel=SimpleNamespace(iopub_thread=thread), events=events))
        reads.connect(f"ipc://{tmp_path}/out")
        reads.subscribe(b"")
        reads.rcvtimeo = 10_000  # milliseconds: what was dropped does not come
        assert sends.recv() == b"\x01"  # somebody has come
        before_a_cell[0]()
        for n in range(20_000):
            sends.send(b"%99d" % n)
        assert all(int(reads.recv()) == n for n in range(20_000))


def test_a_message_that_does_not_come_turns_the_run_red_and_stops_it(tmp_path: Path) -> None:
    skipped = "print('one')\nget_ipython().kernel.session.message_count += 3"
    nb = run(tmp_path, [(skipped, "action"), VERIFY])
    assert errors(nb) == ["StepFailed"]
    failed, pending = [c for c in nb.cells if c.cell_type == "code"]
    assert "3 messages of the kernel did not come" in failed.outputs[-1].evalue
    assert pending.execution_count is None


def test_a_rollback_goes_on_where_only_output_was_lost_and_is_red_all_the_same(tmp_path: Path) -> None:
    skipped = "get_ipython().kernel.session.message_count += 3"
    nb = run(tmp_path, [(skipped, "action"), ("print('the source starts')", "action"), VERIFY], rescue=True)
    assert errors(nb) == ["StepFailed"], "told once, in the cell that lost it"
    assert all(c.execution_count for c in nb.cells if c.cell_type == "code")
    assert nb.metadata.papermill.exception is True


def test_output_of_an_earlier_cell_that_comes_late_stands_where_it_belongs(tmp_path: Path) -> None:
    begin = "kernel = get_ipython().kernel; mine = kernel.get_parent('shell')"
    late = "kernel.session.send(kernel.iopub_socket, 'stream', {'name': 'stdout', 'text': 'late'}, parent=mine); print('next')"
    nb = run(tmp_path, [(begin, "action"), (late, "action"), VERIFY])
    assert errors(nb) == []
    assert [[o.text for o in c.outputs if o.output_type == "stream"] for c in nb.cells[:2]] == [["late"], ["next\n"]]


def test_half_a_character_is_shown_as_what_it_is_and_takes_nothing_else_with_it(tmp_path: Path) -> None:
    nb = run(tmp_path, "surrogates.ipynb")
    assert errors(nb) == ["OSError"], "only the cell that raises fails"
    shown = [c.outputs for c in nb.cells if c.get("outputs")]
    assert shown[1][0].text.startswith("half: \\ud83d\nbell ")
    assert shown[-1][0].evalue.startswith("cannot read \\udc8bc\\udc8e")


@pytest.mark.parametrize(
    "text", ["\ud83d", "a\udc83b", "\\ud83d", "\\\ud83d", '"\udc83"', "\U0001f600", "\ud83d\ud83d\ude00", ""]
)
def test_any_text_comes_through_and_can_be_written(text: str) -> None:
    (came,) = messages.unpack(messages.pack([text]))
    came.encode()
    assert came == json.loads(json.dumps(text)).encode("utf-8", "backslashreplace").decode()


@pytest.mark.filterwarnings("ignore::nbformat.warnings.DuplicateCellId")
@pytest.mark.parametrize("name", ["nbformat-4.4.ipynb", "ids-missing-and-twice.ipynb"])
def test_cells_without_ids_and_with_the_same_id_become_a_valid_record(tmp_path: Path, name: str) -> None:
    nb = run(tmp_path, name)
    assert errors(nb) == []
    ids = [c.id for c in nb.cells if "id" in c]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, {"a": float("-inf")}]])
def test_a_parameter_that_is_no_number_stops_the_run_before_it_begins(tmp_path: Path, value: object) -> None:
    nb = run(tmp_path, "nan.ipynb", parameters={"rate": value})
    assert "NaN or infinity" in refusal(nb)
    assert all(c.execution_count is None for c in nb.cells if c.cell_type == "code")


def test_a_notebook_that_names_no_kernel_is_told_how_to_name_one(tmp_path: Path) -> None:
    told = refusal(run(tmp_path, "no-kernel.ipynb"))
    assert "none is named" in told
    assert "-k python3" in told


@pytest.mark.parametrize("magic", ["%matplotlib inline", "!hostname", "guest = 'a'\n  x = 1", "from x import"])
def test_parameters_that_are_no_plain_python_are_refused_with_their_line(tmp_path: Path, magic: str) -> None:
    nb = run(tmp_path, [(f"guest = 'a'\n{magic}", "parameters"), VERIFY], parameters={"guest": "b"})
    told = refusal(nb)
    assert "cell 1, line " in told
    assert "is not plain Python" in told


def test_a_text_in_place_of_the_tags_is_one_tag(tmp_path: Path) -> None:
    nb = run(tmp_path, "string-tag.ipynb")
    assert errors(nb) == []
    assert [anatomy.tags(c) for c in nb.cells if c.metadata.get("tags")] == [["verify"]]


@pytest.fixture
def own(home: Home) -> Path:
    """The place of a home's own 40-convert."""
    (home.root / "notebooks").mkdir()
    return home.root / "notebooks" / "40-convert.ipynb"


def copied(name: str, to: Path) -> None:
    """A notebook of tests/data, with the parameters that every runbook has before its own cells."""
    nb = json.loads((DATA / name).read_text())
    source = 'guest = ""\nmode = "plan"\nhome = ""'
    nb["cells"].insert(0, {"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}})
    to.write_text(json.dumps(nb))


def test_a_cell_without_the_keys_that_it_should_have_runs(home: Home, own: Path) -> None:
    copied("bare-cell.ipynb", own)
    outcome = execute(home, "gateway", "40-convert")
    assert (outcome.outcome, outcome.message) == ("succeeded", "")
    opened(outcome.record)


@pytest.mark.parametrize(("name", "told"), [("no-kernel.ipynb", "none is named"), ("magic", "is not plain Python")])
def test_a_refused_notebook_has_a_record_that_says_why(home: Home, own: Path, name: str, told: str) -> None:
    if name == "magic":
        cell = nbformat.v4.new_code_cell("%matplotlib inline\nguest = 'x'", metadata={"tags": ["parameters"]})
        nb = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": PYTHON})
        nbformat.write(nb, own)
    else:
        copied(name, own)
    outcome = execute(home, "gateway", "40-convert")
    assert (outcome.outcome, outcome.error, outcome.exit_code) == ("failed", "BadInput", 2)
    assert told in outcome.message
    assert told in refusal(opened(outcome.record))
    assert outcome.sealed


CELLS = '"nbformat": 4, "nbformat_minor": 5, "cells"'
NONE = ["", "{", "[]", '"cells"', '{"cells": 3}', '{"cells": [3]}', "\x80"]
NONE += [f'{{{CELLS}: [{{"source": ""}}]}}', f'{{{CELLS}: [{{"cell_type": "code", "source": 7}}]}}']


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_notebook_is_refused_before_anything_begins(home: Home, own: Path, text: str) -> None:
    own.write_text(text, encoding="latin-1")
    with pytest.raises(BadInput, match="the notebook cannot be read"):
        execute(home, "gateway", "40-convert")
    assert not home.outputs.exists()


@pytest.mark.parametrize("tags", [None, "verify", 5, ["verify", 7], {"a": 1}])
def test_tags_of_any_kind_are_read_as_a_list(tmp_path: Path, tags: object) -> None:
    path = tmp_path / "x.ipynb"
    cell = {"cell_type": "code", "source": "1", "metadata": {"tags": tags}}
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    nb = runbook.read(path)
    nbformat.validate(nb)
    assert ("verify" in anatomy.tags(nb.cells[0])) == ("verify" in str(tags))
