"""What a newcomer is told of the machine and the parameters, before anything else."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hikkoshi.cli import doctor
from hikkoshi.cli.main import app
from hikkoshi.params.home import Home
from processes import COMMAND


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_without_parameters_it_looks_at_the_machine_and_ends_with_1_where_something_needed_is_missing(
    tmp_path: Path, path: str
) -> None:
    env = {k: v for k, v in os.environ.items() if k != "HIKKOSHI_HOME"} | ({"PATH": path} if path else {})
    done = subprocess.run([*COMMAND, "doctor", "--json"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    rows = {row["title"]: row for row in json.loads(done.stdout)}
    lacking = [title for title, row in rows.items() if row["required"] and not row["ok"]]
    assert done.returncode == (1 if lacking else 0), done.stderr
    assert all(row["remedy"] for row in rows.values() if not row["ok"])
    folder = rows["a site folder, with params/site.yml"]
    assert (folder["ok"], folder["required"], str(tmp_path) in folder["found"]) == (False, False, True)
    if path:
        assert {"qemu-img (disk formats)", "setpriv (starts and ends every program)"} <= set(lacking)
        assert rows["qemu-img (disk formats)"]["remedy"].endswith("elsewhere install qemu-img")


def test_a_program_is_there_even_where_it_cannot_be_asked_for_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "openssl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))  # and no setpriv, by which every program is started
    found = doctor._program("openssl", ("version",), "the lab's certificate", False)
    assert (found.ok, found.found) == (True, str(tmp_path / "openssl"))


def test_parameters_that_no_run_could_read_are_told_with_their_remedy_and_are_needed(home: Home) -> None:
    assert all(found.ok for found in doctor._parameters(home))
    site, guest = home.root / "params" / "site.yml", home.root / "params" / "guests" / "idp.yml"
    site.write_text(site.read_text().replace("hardware_version: 10", "hardware_version: ten"))
    guest.write_text("name: [\n")
    bad = [found for found in doctor._parameters(home) if not found.ok]
    assert {"params/site.yml can be used", "params/guests/idp.yml can be used"} <= {found.title for found in bad}
    assert all(found.required and found.found and found.remedy for found in bad)


def test_what_init_has_left_to_a_person_is_told_with_its_line_and_ends_with_2(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.guest_file("gateway")
    path.write_text(f"# FILL IN: xen2 has it too.\n{path.read_text()}")
    told = doctor._filled_in(home)
    assert (told.ok, told.required, told.found) == (False, False, "params/guests/gateway.yml:1: FILL IN: xen2 has it too.")
    monkeypatch.setenv("HIKKOSHI_HOME", str(home.root))
    monkeypatch.setattr(doctor, "findings", lambda _: iter([told]))
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 2
    path.write_text(path.read_text().partition("\n")[2])
    assert doctor._filled_in(home).ok
