"""Runbooks are no modules that a type checker sees; but what they call changes, and then only a whole move would tell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

PROJECT = Path(__file__).parents[2]


def test_every_call_in_a_runbook_has_the_arguments_that_its_function_takes(tmp_path: Path) -> None:
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        (tmp_path / f"runbook_{path.stem.replace('-', '_')}.py").write_text("\n".join([*cells, ""]))
    apart = ["--config-file", "", "--cache-dir", PROJECT / ".mypy_cache" / "runbooks", "--no-error-summary"]
    argv = [sys.executable, "-m", "mypy", *apart, "--ignore-missing-imports", "--follow-imports", "silent", tmp_path]
    env = {**os.environ, "MYPYPATH": str(PROJECT / "lib")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, cwd=PROJECT)
    assert done.returncode in (0, 1), done.stderr
    assert re.findall(r"runbook_.*\[(?:call-arg|attr-defined)\]", done.stdout) == []
