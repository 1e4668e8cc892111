"""Every runbook has the same anatomy, so that a reader finds the same thing in the same place."""

import ast
import inspect
import itertools
import re
from pathlib import Path

import nbformat
import pytest

from hikkoshi.run.step import STEPS
from hikkoshi.steps import cutover
from hikkoshi.steps.cutover import CutOver

PROJECT = Path(__file__).parents[2]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
ANATOMY = ["title", "purpose", "parameters", "open", "preflight", "action", "verify", "evidence", "rollback", "next"]
READ_ONLY = ("00", "81", "95", *(s.number for s in STEPS.values() if s.read_only))
GOLDEN = ("81",)


def cells(path: Path) -> list[nbformat.NotebookNode]:
    return list(nbformat.read(path, as_version=4).cells)


def code(path: Path) -> list[nbformat.NotebookNode]:
    return [c for c in cells(path) if c.cell_type == "code"]


def tags(path: Path) -> list[str]:
    return [c.metadata.tags[0] for c in cells(path)]


def test_the_runbooks_are_all_there() -> None:
    assert [p.stem for p in NOTEBOOKS] == [
        "00-start-here",
        "10-survey",
        "20-plan",
        "30-prepare",
        "40-convert",
        "50-rehearse",
        "60-deploy",
        "70-cutover",
        "75-rollback",
        "80-netperf",
        "81-table1",
        "85-offloads",
        "90-report",
        "95-fleet",
    ]


def test_vsphere_and_the_dom0_are_asked_in_the_very_cell_that_shuts_the_source_down() -> None:
    (cell,) = (c.source for p in NOTEBOOKS for c in code(p) if ".shut_down_source" in c.source)
    assert cell.startswith("run.preflight(cutover.ready())\n")
    asked = inspect.getsource(CutOver.ready)
    assert "self._machine.ready()" in asked
    assert "dom0.others(" in asked
    assert "cutover.ready(self._v," in inspect.getsource(cutover)


def test_the_first_page_says_what_each_step_changes_as_the_registry_of_the_steps_does() -> None:
    source = "\n".join(c.source for c in cells(NOTEBOOKS[0]))
    rows = re.findall(r"^\| \[.*?\]\(([\w-]+)\.ipynb\) \| .* \| \**(.*?)\** \|$", source, re.M)
    assert {name: changes for name, changes in rows if name in STEPS} == {s.id: s.changes for s in STEPS.values()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestEveryNotebook:
    def test_has_every_section_once_and_in_order(self, path: Path) -> None:
        seen = tags(path)
        sections = [t for n, t in enumerate(seen) if n == 0 or seen[n - 1] != t]
        assert sections == ANATOMY

    def test_says_in_one_line_what_changes_how_long_it_takes_and_whether_it_can_be_undone(self, path: Path) -> None:
        title = cells(path)[0].source.splitlines()
        assert title[0].startswith(f"# {path.stem[:2]} · ")
        assert title[1].startswith("> ")
        assert ("Read-only" in title[1]) == path.stem.startswith(READ_ONLY)

    def test_introduces_every_code_cell_with_a_sentence(self, path: Path) -> None:
        all_cells = cells(path)
        for before, cell in itertools.pairwise(all_cells):
            if cell.cell_type == "code":
                assert before.cell_type == "markdown", cell.source
                assert before.source.rstrip().endswith(":"), before.source
                # papermill injects behind the first cell tagged parameters: were that a text, the defaults would win
                tags = ["purpose"] if cell.metadata.tags == ["parameters"] else cell.metadata.tags
                assert before.metadata.tags == tags

    def test_takes_its_parameters_from_papermill(self, path: Path, tmp_path: Path) -> None:
        import papermill

        out = tmp_path / path.name
        papermill.execute_notebook(path, out, parameters={"home": "elsewhere"}, prepare_only=True, progress_bar=False)
        sources = [c.source for c in code(out)]
        assert [('home = ""' in s, '"elsewhere"' in s) for s in sources[:2]] == [(True, False), (False, True)]

    def test_holds_no_machinery(self, path: Path) -> None:
        machinery = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.AsyncFunctionDef, ast.If)
        for cell in code(path):
            assert not any(isinstance(n, machinery) for n in ast.walk(ast.parse(cell.source))), cell.source
            lines = [line for line in cell.source.splitlines() if line and not line.startswith(("from ", "import "))]
            assert len(lines) <= 15, cell.source

    def test_calls_one_class_of_its_step_and_show_and_nothing_else(self, path: Path) -> None:
        if path.stem.startswith(GOLDEN):
            return
        trees = [ast.parse(c.source) for c in code(path)]
        nodes = [n for tree in trees for n in ast.walk(tree)]
        imports = [(n.module, [a.name for a in n.names]) for n in nodes if isinstance(n, ast.ImportFrom)]
        (step,) = [(module, names) for module, names in imports if module != "hikkoshi"]
        assert ("hikkoshi", ["show"]) in imports
        assert len(imports) == 2
        assert not any(isinstance(n, ast.Import) for n in nodes)
        assert str(step[0]).startswith("hikkoshi.steps.")
        assert len(step[1]) == 1
        clever = (ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.IfExp, ast.Starred)
        assert not [ast.unparse(n) for n in nodes if isinstance(n, clever)]
        paths = [n for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)]
        assert not [ast.unparse(n) for n in paths]
        for tree in trees:
            told = [n for n in tree.body if not isinstance(n, ast.ImportFrom)]
            assert len(told) <= 4, ast.unparse(tree)

    def test_says_it_in_few_words(self, path: Path) -> None:
        prose = [c.source for c in cells(path) if c.cell_type == "markdown"]
        assert len(prose[0].splitlines()[1].split()) <= 35 + 1  # with its mark
        for source in prose:
            text = [line for line in source.splitlines() if not line.startswith(("|", "!", "#"))]
            assert len(" ".join(text).split()) <= 150, source
            paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:\* |\d+\. ))", "\n".join(text))
            assert [p for p in paragraphs if len(p.split()) > 70] == []

    def test_is_committed_without_outputs_unless_it_is_golden(self, path: Path) -> None:
        with_outputs = [c for c in code(path) if c.outputs or c.execution_count]
        assert bool(with_outputs) == path.stem.startswith(GOLDEN)

    def test_defaults_to_plan_where_it_could_change_something(self, path: Path) -> None:
        parameters = next(c for c in code(path) if c.metadata.tags == ["parameters"]).source
        names = {t.id: ast.literal_eval(n.value) for n in ast.parse(parameters).body for t in n.targets}  # type: ignore[attr-defined]
        assert names.get("mode") == (None if path.stem.startswith(READ_ONLY) else "plan")
        assert all("#" in line for line in parameters.splitlines())

    def test_links_only_to_what_is_there(self, path: Path) -> None:
        for cell in cells(path):
            for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
                assert (path.parent / target).exists(), target
