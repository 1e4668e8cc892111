"""The wheel, installed where there is no checkout: it brings the runbooks, and a folder made by it is one in which all works."""

import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.record import bag
from hikkoshi.record.engine import runbook

pytestmark = pytest.mark.needs("ssh-keygen", "git")
PROJECT = Path(__file__).parents[2]
OF_THE_PACKAGE = ("lib", "notebooks", "docs", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
BRIDGE = "DEVICE=xenbr210\nTYPE=Bridge\n"
VLAN = "DEVICE=eth0.210\nVLAN=yes\nBRIDGE=xenbr210\n"
LEFT_BEHIND = "build/lib/hikkoshi/of_an_earlier_build.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is removed afterwards: a wheel and what is installed of it are large."""
    folder = tmp_path_factory.mktemp("package")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    """Built in a checkout of its own, clean, in which somebody has built before."""
    source = place / "checkout"
    source.mkdir()
    for name in OF_THE_PACKAGE:
        passing = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints")
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, source / name, ignore=passing)
        else:
            shutil.copy(PROJECT / name, source / name)
    (source / ".gitignore").write_text("build/\n*.egg-info/\n")
    git = ["git", "-C", source, "-c", "user.name=x", "-c", "user.email=x@example", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as shipped"]):
        subprocess.run([*git, *words], check=True)
    (source / LEFT_BEHIND).parent.mkdir(parents=True)
    (source / LEFT_BEHIND).write_text("")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", place, source]
    subprocess.run(pip, check=True, env=_without_us())
    return next(place.glob("hikkoshi-*.whl"))


@pytest.fixture(scope="module")
def program(place: Path, wheel: Path) -> Path:
    """The command of an environment that has the wheel, and of everybody else's packages those that are here."""
    venv.create(place / "venv", symlinks=True)
    python = place / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, env=_without_us())
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(place / "venv")}))
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "venv/bin/hikkoshi"


def _without_us() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HIKKOSHI_HOME")}


def run(program: Path, folder: Path, *argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = _without_us() | environment
    return subprocess.run([program, *argv], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mine(place: Path, program: Path) -> Home:
    """A folder that its `hikkoshi init` has made, filled in, for a reader in Japanese: a contractor runs the vSphere."""
    dom0, key = place / "dom0", place / "key"
    for name, text in {
        "etc/xen/idp": "name = 'idp'\nmemory = 1024\ndisk = ['file:/srv/idp.img,xvda,w']\n"
        "vif = ['mac=00:16:3e:01:00:00,bridge=xenbr210']\n",
        "etc/sysconfig/network-scripts/ifcfg-xenbr210": BRIDGE,
        "etc/sysconfig/network-scripts/ifcfg-eth0.210": VLAN,
    }.items():
        (dom0 / name).parent.mkdir(parents=True, exist_ok=True)
        (dom0 / name).write_text(text)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ops@example", "-f", key], check=True)
    where = ("--dom0", f"xenhost={dom0}", "--contractor", "Kita, 0166-00-0000", "--key", f"{key}.pub")
    done = run(program, place, "init", "move", *where)
    assert done.returncode == 0, done.stderr
    made = Home(place / "move")
    made.site_file.write_text(made.site_file.read_text().replace("FILL-IN", "servers-210").replace("lang: en", "lang: ja"))
    return made


def test_the_wheel_holds_all_of_the_program_and_every_runbook_as_it_is_here_and_nothing_of_an_earlier_build(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        for path in [*PROJECT.glob("notebooks/*.ipynb"), *PROJECT.glob("notebooks/pictures/*")]:
            assert packed.read(f"hikkoshi/{path.relative_to(PROJECT)}") == path.read_bytes()
    assert not [n for n in names if "of_an_earlier_build" in n or ".pyc" in n]
    listed = subprocess.run(["git", "ls-files", "hikkoshi"], cwd=wheel.parent / "checkout/lib", capture_output=True, check=True)
    added = ("hikkoshi/notebooks/", "hikkoshi/docs/", "hikkoshi/commit")
    held = {n for n in names if n.startswith("hikkoshi/") and not n.startswith(added)}
    assert held == set(listed.stdout.decode().splitlines())


def test_in_a_checkout_its_own_runbooks_are_run_and_no_copy_lies_beside_the_code() -> None:
    assert runbook.shipped() == PROJECT / "notebooks"


def test_every_page_and_picture_that_a_runbook_leads_to_is_in_the_wheel_too(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        runbooks = [name for name in names if name.endswith(".ipynb")]
        cells = [cell for name in runbooks for cell in json.loads(packed.read(name))["cells"]]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    links = {link for text in texts for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)}
    assert {"../docs/measurement.md", "10-survey.ipynb"} < links
    assert {link for link in links if posixpath.normpath(f"hikkoshi/notebooks/{link}") not in names} == set()


def test_an_editor_finds_the_schema_of_each_parameter_file(mine: Home) -> None:
    for path in (mine.site_file, mine.guest_file("idp")):
        line = path.read_text().splitlines()[0]
        schema = json.loads((path.parent / line.partition("$schema=")[2]).read_text())
        assert set(schema["required"]) <= set(schema["properties"])


def test_the_doctor_looks_at_the_folder_and_names_what_to_install(program: Path, mine: Home) -> None:
    rows = {r["title"]: r for r in json.loads(run(program, mine.root, "doctor", "--json", PATH="/nowhere").stdout)}
    assert rows["params/site.yml can be used"]["ok"]
    assert rows["params/guests/idp.yml can be used"]["ok"]
    told = "sudo apt-get install qemu-utils (Debian, Ubuntu); elsewhere install qemu-img"
    assert rows["qemu-img (disk formats)"]["remedy"] == told
    assert not [r["remedy"] for r in rows.values() if "make setup" in r["remedy"]]


def test_a_plan_is_made_by_the_packages_own_runbook_and_its_record_says_so(program: Path, mine: Home, place: Path) -> None:
    survey = Survey.model_validate_json((PROJECT / "tests/data/survey/idp.json").read_bytes())
    survey.save(mine.folder("idp"))
    done = run(program, mine.root, "run", "idp", "--only", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = mine.records("idp").iterdir()
    info = bag.read_info(record)
    own = files.sha256(PROJECT / "notebooks/20-plan.ipynb")
    assert (info["Runbook"], info["Software"]) == ("as it was installed", "as it was installed")
    assert (info["Runbook-SHA256"], info["Runbook-Project-SHA256"]) == (own, own)
    head = subprocess.run(["git", "-C", place / "checkout", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert info["Runbook-Commit"] == head.stdout.strip()
    assert "# 20 · 移行を計画する" in (record / info["Notebook"]).read_text()
    verified = run(program, mine.root, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "RUNBOOK" not in verified.stdout


def test_a_runbook_that_was_changed_in_the_package_is_called_changed(program: Path, mine: Home, place: Path) -> None:
    (path,) = (place / "venv").glob("lib/python*/site-packages/hikkoshi/notebooks/20-plan.ipynb")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"plan.checks()", b"plan.checks(  )"))
    try:
        run(program, mine.root, "run", "idp", "--only", "20")
    finally:
        path.write_bytes(whole)
    info = bag.read_info(max(mine.records("idp").iterdir()))
    assert info["Runbook"] == "CHANGED: the package as it was installed has no such runbook"
    assert info["Software"].startswith("CHANGED: ")
