"""A record tells whose runbook and program a run was carried out with: the project's own, or changed ones."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from papermill.execute import ERROR_MARKER_TAG

from hikkoshi import files
from hikkoshi.approval.approver import trust
from hikkoshi.params.home import Home
from hikkoshi.record import bag, provenance, seal, verification
from hikkoshi.record.engine import environment, prose, runbook
from hikkoshi.run.journal import Journal
from hikkoshi_lab import keys
from sealed import PROJECT, A, ended, list_again, sealed_home, sign_again, writable

pytestmark = pytest.mark.needs("ssh-keygen", "git")
STEP, OWN = "40-convert", "notebooks/40-convert.ipynb"
WORDS = "lib/hikkoshi/record/engine/locale/ja/40-convert.po"
READ = f"data/runbook/{STEP}.ja.ipynb"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example", "-c", "commit.gpgsign=false"]
    argv = ["git", *identity, "-C", str(folder), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of a project, clean, from which the runs are carried out."""
    place = tmp_path / "project"
    (place / "lib" / "hikkoshi").mkdir(parents=True)
    (place / "lib" / "hikkoshi" / "gate.py").write_text("def permit(): ...\n")
    for name in (OWN, WORDS):
        (place / name).parent.mkdir(parents=True)
        shutil.copy(PROJECT / name, place / name)
    (place / "requirements.lock").write_text("")
    git(place, "init", "-q")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "as shipped")
    for module in (runbook, provenance, environment):
        monkeypatch.setattr(module, "PROJECT", place)
    environment.commit.cache_clear()
    yield place
    environment.commit.cache_clear()


@pytest.fixture
def home(tmp_path: Path, project: Path) -> Home:
    return sealed_home(tmp_path / "home")


def sealed(home: Home) -> tuple[Path, dict[str, str], list[str]]:
    """The record of a run, what it says of itself, and the notes that verifying makes; nothing of this is a flaw."""
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    found = verification.verify(record, trust(home, home.site()))
    assert [str(p) for p in found.problems] == []
    return record, bag.read_info(record), list(found.records[0].notes)


def add_cell(path: Path, words: str = "server = None") -> None:
    nb = json.loads(path.read_text())
    cell = {"cell_type": "code", "id": "added", "metadata": {}, "source": words, "outputs": [], "execution_count": None}
    nb["cells"].append(cell)
    path.write_text(json.dumps(nb))


def test_a_run_by_the_projects_own_runbook_says_so(home: Home, project: Path) -> None:
    record, info, notes = sealed(home)
    digest = files.sha256(project / OWN)
    assert (info["Runbook"], info["Runbook-SHA256"], info["Runbook-Project-SHA256"]) == ("as in the commit", digest, digest)
    assert info["Runbook-Commit"] == git(project, "rev-parse", "HEAD")
    assert info["Software"] == "as in the commit"
    assert notes == []
    assert not (record / "data/runbook-of-the-project").exists()


@pytest.mark.parametrize("where", ["the site's folder", "the project's folder"])
def test_a_changed_runbook_is_told_with_the_projects_own_beside_it(home: Home, project: Path, where: str) -> None:
    before = files.sha256(project / OWN)
    place = project
    if where == "the site's folder":
        place = home.root
        shutil.copytree(project / "notebooks", home.root / "notebooks")
    add_cell(place / OWN)
    record, info, notes = sealed(home)
    assert info["Runbook"].startswith("CHANGED")
    assert (info["Runbook-SHA256"], info["Runbook-Project-SHA256"]) == (files.sha256(place / OWN), before)
    assert files.sha256(record / "data/runbook-of-the-project/40-convert.ipynb") == before
    assert any(n.startswith("RUNBOOK CHANGED") for n in notes)
    assert "The runbook is CHANGED" in (record / "README.txt").read_text()
    assert "RUNBOOK CHANGED" in seal.words(home, record)
    assert Journal(home.folder("gateway") / "journal.jsonl").entries()[-1]["changed"] == "runbook"


def test_what_was_executed_counts_and_not_what_lies_there_when_it_is_sealed(home: Home) -> None:
    ended(home, "gateway", A)
    add_cell(home.folder("gateway") / "runs" / f"{A}.ipynb")
    record = seal.of_run(home, "gateway", A)
    assert bag.read_info(record)["Runbook"].startswith("CHANGED")


@pytest.mark.parametrize("told", ["", "by_hand"])
def test_a_runbook_without_some_cells_is_a_changed_one_whatever_it_says_of_itself(project: Path, told: str) -> None:
    nb = json.loads((project / OWN).read_text())
    nb["cells"] = [cell for cell in nb["cells"] if "verify" not in cell["metadata"].get("tags", [])]
    nb["metadata"]["hikkoshi"] = {told: {"cells": 1}} if told else {}
    used = json.dumps(nb).encode()
    assert provenance.of(STEP, used, used).runbook.startswith("CHANGED")


@pytest.mark.parametrize(("kind", "told"), [("markdown", "as in the commit"), ("code", "CHANGED: other cells")])
def test_the_words_by_which_papermill_marks_a_failure_are_no_change_and_hide_none(home: Home, kind: str, told: str) -> None:
    ended(home, "gateway", A)
    executed = home.folder("gateway") / "runs" / f"{A}.ipynb"
    nb = json.loads(executed.read_text())
    marker = {"cell_type": kind, "id": "failed", "metadata": {"tags": [ERROR_MARKER_TAG]}, "source": "An Exception was"}
    nb["cells"].insert(0, marker | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    executed.write_text(json.dumps(nb))
    assert bag.read_info(seal.of_run(home, "gateway", A))["Runbook"].startswith(told)


def test_a_runbook_that_was_only_saved_with_what_it_showed_is_the_projects_own(home: Home, project: Path) -> None:
    nb = json.loads((project / OWN).read_text())
    code = next(c for c in nb["cells"] if c["cell_type"] == "code")
    code |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": "seen"}]}
    (project / OWN).write_text(json.dumps(nb))
    _, info, notes = sealed(home)
    assert info["Runbook"] == "as in the commit"
    assert info["Runbook-SHA256"] != info["Runbook-Project-SHA256"]
    assert notes == []


def test_a_run_that_is_sealed_after_an_update_was_by_the_runbook_of_then(home: Home, project: Path) -> None:
    ended(home, "gateway", A)
    before = git(project, "rev-parse", "HEAD")
    runs = home.folder("gateway") / "runs" / f"{A}.ipynb"
    nb = json.loads(runs.read_text())
    nb["cells"] = json.loads((project / OWN).read_text())["cells"]
    runs.write_text(json.dumps(nb))
    (project / "site").mkdir()
    shutil.copytree(project / "notebooks", home.root / "notebooks")  # the site's copy is not updated yet
    add_cell(project / OWN)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "an update")
    info = bag.read_info(seal.of_run(home, "gateway", A))
    assert info["Runbook"] == f"as in an earlier commit, {before}"


@pytest.mark.parametrize("hidden", [False, True], ids=["seen by git status", "hidden from git status"])
def test_changed_code_is_told_by_name(home: Home, project: Path, hidden: bool) -> None:
    code = project / "lib/hikkoshi/gate.py"
    if hidden:
        git(project, "update-index", "--assume-unchanged", "lib/hikkoshi/gate.py")
        (project / ".git/info/exclude").write_text("*.py\n")
    code.write_text("def permit(): return True\n")
    code.with_name("more.py").write_text("")
    record, info, notes = sealed(home)
    assert info["Software"] == "CHANGED: lib/hikkoshi/gate.py, lib/hikkoshi/more.py"
    assert any(n.startswith("SOFTWARE CHANGED: lib/hikkoshi/gate.py") for n in notes)
    assert "The program is CHANGED" in (record / "README.txt").read_text()


def test_code_that_is_changed_between_two_seals_is_told_whatever_its_size_and_its_time_say(project: Path) -> None:
    code = project / "lib/hikkoshi/gate.py"
    assert provenance.software() == "as in the commit"
    before = code.stat()
    code.write_text(code.read_text().replace("...", "666"))
    os.utime(code, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert code.stat().st_size == before.st_size
    assert provenance.software() == "CHANGED: lib/hikkoshi/gate.py"


def test_without_a_checkout_it_is_said_that_nothing_was_compared(home: Home, project: Path) -> None:
    shutil.rmtree(project / ".git")
    _, info, notes = sealed(home)
    assert info["Runbook"] == "not compared: not a git checkout"
    assert info["Software"].startswith("not compared")
    assert [n.partition(":")[0] for n in notes] == ["RUNBOOK not compared", "SOFTWARE not compared"]


def test_in_a_checkout_without_a_commit_it_is_said_so(project: Path) -> None:
    shutil.rmtree(project / ".git")
    git(project, "init", "-q")
    assert environment.commit() == "unknown: there is no commit yet"


def test_a_runbook_that_the_project_does_not_have_is_a_changed_one(home: Home, project: Path) -> None:
    shutil.copytree(project / "notebooks", home.root / "notebooks")
    git(project, "rm", "-q", OWN)
    git(project, "commit", "-qm", "without it")
    _, info, _ = sealed(home)
    assert info["Runbook"].startswith("CHANGED: the project has no such runbook")


def in_japanese(home: Home, old: str = "", new: str = "") -> None:
    """A run that was read in Japanese, `new` in the place of `old`."""
    ended(home, "gateway", A)
    path = home.folder("gateway") / "runs" / f"{A}.ipynb"
    nb = json.loads(path.read_text())
    prose.translate(nb["cells"], prose.said("ja", STEP))
    assert old in nb["cells"][0]["source"]
    nb["cells"][0]["source"] = nb["cells"][0]["source"].replace(old, new)
    path.write_text(json.dumps(nb))


def update(project: Path, old: str, new: str) -> None:
    """The project has other words from now on."""
    (project / WORDS).write_text((project / WORDS).read_text().replace(old, new))
    git(project, "commit", "-qam", "other words")
    environment.commit.cache_clear()


def flaws(home: Home, record: Path) -> list[tuple[str, str]]:
    """(where in the record, what was found); the register, which tells that it was sealed anew, aside."""
    found = verification.verify(record, trust(home, home.site()))
    inside = [p for p in found.problems if Path(p.where).is_relative_to(record)]
    return [(p.where.removeprefix(f"{record}/"), p.found) for p in inside]


def test_a_run_that_was_read_in_japanese_is_by_the_projects_own_and_stays_so_when_its_words_change(
    home: Home, project: Path
) -> None:
    in_japanese(home)
    record = seal.of_run(home, "gateway", A)
    info = bag.read_info(record)
    assert (info["Runbook"], info["Software"]) == ("as in the commit", "as in the commit")
    assert "ディスクを変換する" in (record / READ).read_text()
    update(project, "ディスクを変換する", "ディスクの変換")
    assert verification.verify(record, trust(home, home.site())).problems == ()


def test_other_words_than_the_projects_are_a_changed_runbook(home: Home) -> None:
    in_japanese(home, "元に戻せます", "元に戻せません")
    record = seal.of_run(home, "gateway", A)
    assert bag.read_info(record)["Runbook"].startswith("CHANGED: other cells")
    assert not (record / READ).exists()


def test_a_translation_that_was_changed_where_it_lies_is_a_changed_runbook(home: Home, project: Path) -> None:
    (project / WORDS).write_text((project / WORDS).read_text().replace("元に戻せます", "元に戻せません"))
    in_japanese(home, "元に戻せます", "元に戻せません")
    info = bag.read_info(seal.of_run(home, "gateway", A))
    assert info["Runbook"].startswith("CHANGED: other cells")
    assert info["Software"] == f"CHANGED: {WORDS}"


def test_a_run_that_is_sealed_after_its_words_changed_was_read_in_the_words_of_then(home: Home, project: Path) -> None:
    update(project, "ディスクを変換する", "ディスクの変換")
    in_japanese(home, "ディスクを変換する", "ディスクの変換")
    before = git(project, "rev-parse", "HEAD")
    update(project, "ディスクの変換", "変換")
    assert bag.read_info(seal.of_run(home, "gateway", A))["Runbook"] == f"as in an earlier commit, {before}"


def lied(home: Home, record: Path, names: list[str], old: str, new: str) -> None:
    """Other words in these files of a record, by whoever has the key."""
    writable(record)
    for name in names:
        nb = json.loads((record / name).read_text())
        sources = ["".join(cell["source"]) for cell in nb["cells"]]
        assert any(old in source for source in sources)
        for cell, source in zip(nb["cells"], sources, strict=True):
            cell["source"] = source.replace(old, new)
        (record / name).write_text(json.dumps(nb))
    list_again(record)
    sign_again(record, keys.folder(home) / "operator")


USED = f"data/runbook/{STEP}.ipynb"
EXECUTED, TEXTS, CELLS = f"data/{A}.ipynb", "other texts than those of commit", "other cells than its runbook's"


def of_then(home: Home, project: Path) -> tuple[Path, str]:
    """The record of a run that was sealed after an update, and the commit before that."""
    in_japanese(home)
    before = git(project, "rev-parse", "HEAD")
    update(project, "ディスクを変換する", "ディスクの変換")
    record = seal.of_run(home, "gateway", A)
    assert (bag.read_info(record)["Runbook"], flaws(home, record)) == (f"as in an earlier commit, {before}", [])
    return record, before


def says(home: Home, record: Path, label: str, words: str) -> None:
    """Another line in what a record tells of itself, by whoever has the key."""
    writable(record)
    said = record / bag.INFO
    said.write_text(
        "".join(f"{label}: {words}\n" if x.startswith(f"{label}: ") else x for x in said.read_text().splitlines(True))
    )
    list_again(record)
    sign_again(record, keys.folder(home) / "operator")


def runbook_note(home: Home, record: Path) -> str:
    (told,) = (n for n in verification.verify(record, trust(home, home.site())).records[0].notes if n.startswith("RUNBOOK"))
    return told


@pytest.mark.parametrize("names", [[EXECUTED], [USED, EXECUTED]], ids=["what was run", "the runbook with it"])
def test_a_changed_runbook_that_is_called_an_earlier_one_is_told(home: Home, project: Path, names: list[str]) -> None:
    record, before = of_then(home, project)
    lied(home, record, names, "convert.start", "convert.hurry")
    says(home, record, "Runbook-SHA256", files.sha256(record / USED))
    alone = names == [EXECUTED]
    assert flaws(home, record) == [(names[0], CELLS if alone else f"other cells than those of commit {before}")]
    shutil.rmtree(project / ".git")
    assert flaws(home, record) == ([(EXECUTED, CELLS)] if alone else [])


def test_a_commit_that_is_not_here_is_told_as_not_compared_and_does_not_excuse_what_was_run(home: Home, project: Path) -> None:
    record, before = of_then(home, project)
    assert "(held against the project's own, commit " in runbook_note(home, record)
    nobodys = "0" * len(before)
    says(home, record, "Runbook", f"as in an earlier commit, {nobodys}")
    told = f"RUNBOOK as in an earlier commit, {nobodys} (not compared: there is no such commit here)"
    assert (flaws(home, record), runbook_note(home, record)) == ([], told)
    lied(home, record, [EXECUTED], "convert.start", "convert.hurry")
    assert flaws(home, record) == [(EXECUTED, CELLS)]


@pytest.mark.parametrize("named", [", HEAD~1", ", ", "", ", {before}, or so", ", {before:.12}"])
def test_an_earlier_commit_that_is_not_named_by_its_hash_is_told(home: Home, project: Path, named: str) -> None:
    record, before = of_then(home, project)
    words = f"as in an earlier commit{named.format(before=before)}"
    says(home, record, "Runbook", words)
    assert flaws(home, record) == [(bag.INFO, words)]


def test_a_commit_that_has_no_such_runbook_is_told(home: Home, project: Path) -> None:
    record, _ = of_then(home, project)
    git(project, "rm", "-q", OWN)
    git(project, "commit", "-qm", "without it")
    without = git(project, "rev-parse", "HEAD")
    says(home, record, "Runbook", f"as in an earlier commit, {without}")
    assert flaws(home, record) == [(USED, f"commit {without} has no such runbook")]


@pytest.mark.parametrize(
    ("names", "old", "new", "told", "known"),
    [
        ([EXECUTED], "元に戻せます", "元に戻せません", (EXECUTED, CELLS), (EXECUTED, CELLS)),
        ([EXECUTED, READ], "convert.start", "convert.hurry", (READ, CELLS), (READ, CELLS)),
        ([EXECUTED, READ], "元に戻せます", "元に戻せません", (READ, TEXTS), None),
    ],
    ids=["what was read", "its code", "its words"],
)
def test_a_lie_about_what_was_read_is_told(
    home: Home, project: Path, names: list[str], old: str, new: str, told: tuple[str, str], known: tuple[str, str] | None
) -> None:
    """One about words alone by whoever has the project, as with every runbook that is called its own."""
    in_japanese(home)
    record = seal.of_run(home, "gateway", A)
    lied(home, record, names, old, new)
    assert [(where, found[: len(told[1])]) for where, found in flaws(home, record)] == [told]
    shutil.rmtree(project / ".git")
    assert flaws(home, record) == ([known] if known else [])


def test_what_is_no_notebook_in_the_place_of_a_translation_is_told(home: Home) -> None:
    in_japanese(home)
    record = seal.of_run(home, "gateway", A)
    writable(record)
    for content in (b"", b"null", b'{"cells": [{"cell_type": "markdown"}]}', b"[" * 100_000, b"\xff"):
        (record / READ).write_bytes(content)
        list_again(record)
        sign_again(record, keys.folder(home) / "operator")
        assert flaws(home, record) == [(EXECUTED, CELLS), (READ, CELLS)], content
