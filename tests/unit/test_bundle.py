"""What is packed for whoever helps: all that they need, and no secret, wherever one may stand."""

import base64
import json
import tarfile
import urllib.parse
from pathlib import Path

import pytest

from hikkoshi.cli import bundle, doctor
from hikkoshi.cli.doctor import Requirement
from hikkoshi.errors import BadInput, Refused
from hikkoshi.params.home import Home
from hikkoshi.run.journal import Journal
from processes import without_a_process as hikkoshi

SECRET = "correct-horse/battery&staple"
FORMS = (SECRET, urllib.parse.quote(SECRET, safe=""), SECRET.replace("&", "&amp;"), base64.b64encode(SECRET.encode()).decode())
TYPED, PRINTED, OF_THE_GUEST = "hunter2-typed", "hunter3-printed", "hunter4-of-the-guest"
RUN, EARLIER = "20260102T000000Z-40-convert", "20260101T000000Z-30-prepare"
NAMES = [
    *("about.txt", "doctor.json", "journal.jsonl", "logs/20260102T000000Z-1.log"),
    *("params/gateway.yml", "params/site.yml", "plan.json"),
    *(f"runs/{EARLIER}.txt", f"runs/{RUN}.txt", "survey.json", "versions.json"),
]


def notebook(path: Path, *outputs: dict[str, object]) -> None:
    cells = [
        {"cell_type": "markdown", "source": "words"},
        {
            "cell_type": "code",
            "source": ["good = 1\n", "good"],
            "outputs": [{"output_type": "stream", "text": ["all is well\n"]}],
        },
        {"cell_type": "code", "source": f"ask('{SECRET}')", "outputs": list(outputs)},
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home in which a guest's conversion has failed, and its secret stands wherever somebody may have put it."""
    password, folder = home.outputs / "lab/vcenter.password", home.folder("gateway")
    for path in (password, folder / "disk/gateway.img", home.outputs / "keys/operator", home.outputs / "logs/x"):
        path.parent.mkdir(parents=True, exist_ok=True)
    password.write_text(f"{SECRET}\n")
    password.chmod(0o600)
    (folder / "disk/gateway.img").write_text("a disk\n")
    (home.outputs / "keys/operator").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nYWJj\n-----END OPENSSH PRIVATE KEY-----\n")
    text = home.site_file.read_text().replace("# a reference, never the value", f"# before: {TYPED}")
    home.site_file.write_text(f"# it was {SECRET}\n# password: {TYPED}\n{text}")
    with home.guest_file("gateway").open("a") as f:
        f.write(f"# {FORMS[1]}\n")
    journal = Journal(folder.journal)
    journal.append("open", run=EARLIER, step="30-prepare", mode="apply", guest="gateway")
    journal.append("open", run=RUN, step="40-convert", mode="apply", guest="gateway")
    journal.append("outcome", run=RUN, step="40-convert", mode="apply", outcome="failed", error=f"sent {FORMS[2]}\n{SECRET}")
    error = {"output_type": "error", "ename": "E", "evalue": SECRET, "traceback": [f"E: {FORMS[3]}", "sshpass -p " + PRINTED]}
    notebook(folder / "runs" / f"{RUN}.ipynb", {"output_type": "stream", "text": f"before: {SECRET}\n"}, error)
    notebook(folder / "runs" / f"{EARLIER}.ipynb")
    (home.outputs / "logs/20260102T000000Z-1.log").write_text(f"Traceback\n  {SECRET}\n  password={PRINTED}\n")
    folder.survey.write_text(json.dumps({"guest": {"files": {"/etc/x": f"psk={OF_THE_GUEST}\nkept=1\n"}, "note": SECRET}}))
    folder.plan.write_text(json.dumps({"vm": FORMS[1], "password": TYPED, "secrets": 2, SECRET: ["a list"]}))
    monkeypatch.setattr(doctor, "findings", lambda _: iter([Requirement("Python", True, f"3.11, {SECRET}")]))
    return home


def packed(path: Path) -> dict[str, str]:
    """{name in the bundle: its text}."""
    with tarfile.open(path) as archive:
        read = [(m.name, archive.extractfile(m)) for m in archive.getmembers()]
        return {name.partition("/")[2]: f.read().decode() for name, f in read if f}


def test_it_holds_what_a_helper_needs_and_no_secret_in_any_form_wherever_it_stood(home: Home, tmp_path: Path) -> None:
    done = bundle.write(home, "gateway", tmp_path / "b.tar.gz")
    texts = packed(tmp_path / "b.tar.gz")
    assert list(texts) == NAMES
    assert list(done.members) == [f"hikkoshi-gateway/{name}" for name in NAMES]
    for secret in (*FORMS, TYPED, PRINTED, OF_THE_GUEST, "PRIVATE KEY", "YWJj"):
        assert [name for name, text in texts.items() if secret in text] == [], secret
    for name in ("params/site.yml", "params/gateway.yml", "journal.jsonl", f"runs/{RUN}.txt", "doctor.json", "survey.json"):
        assert "‹file:outputs/lab/vcenter.password›" in texts[name], name
    assert "password: file:outputs/lab/vcenter.password" in texts["params/site.yml"]
    assert json.loads(texts["survey.json"])["guest"]["files"]["/etc/x"] == "psk=‹not kept›\nkept=1\n"
    assert json.loads(texts["plan.json"])["secrets"] == 2
    assert [json.loads(line)["event"] for line in texts["journal.jsonl"].splitlines()] == ["open", "open", "outcome"]


def test_of_a_run_the_failed_cells_are_told_with_what_they_printed_and_no_others(home: Home, tmp_path: Path) -> None:
    bundle.write(home, "gateway", tmp_path / "b.tar.gz")
    texts = packed(tmp_path / "b.tar.gz")
    failed = texts[f"runs/{RUN}.txt"]
    assert failed.startswith("cell 2:\nask('‹file:outputs/lab/vcenter.password›')\nbefore: ‹file:")
    assert "all is well" not in failed
    assert texts[f"runs/{EARLIER}.txt"] == "no cell ended in an error\n"


def test_what_a_program_that_tells_of_a_fleet_is_given_is_not_kept(home: Home, tmp_path: Path) -> None:
    with home.site_file.open("a") as f:
        f.write('notify: { command: [curl, -fsS, --json, "@-", -u, "ops:hunter5", "https://hooks.example/services/T0/B0/x"] }\n')
    bundle.write(home, "gateway", tmp_path / "b.tar.gz")
    last = packed(tmp_path / "b.tar.gz")["params/site.yml"].splitlines()[-1]
    assert last == 'notify: { command: [curl, -fsS, --json, "@-", -u, "‹not kept›", "‹not kept›"] }'


def test_a_secret_in_pieces_that_no_mask_finds_is_told_with_its_place_and_nothing_is_packed(home: Home, tmp_path: Path) -> None:
    (home.outputs / "logs/20260103T000000Z-2.log").write_text("\n".join(SECRET))
    with pytest.raises(Refused) as e:
        bundle.write(home, "gateway", tmp_path / "b.tar.gz")
    (problem,) = e.value.problems
    assert problem.where.partition(":")[0] == "logs/20260103T000000Z-2.log"
    assert SECRET not in str(e.value)
    assert list(tmp_path.glob("b.tar*")) == []


def test_a_secret_that_cannot_be_read_is_named_for_nobody_could_search_for_it(home: Home, tmp_path: Path) -> None:
    (home.outputs / "lab/vcenter.password").chmod(0o644)
    done = bundle.write(home, "idp", tmp_path / "b.tar.gz")
    assert done.unread == ("file:outputs/lab/vcenter.password",)
    assert "cannot be read here: file:outputs/lab/vcenter.password." in packed(tmp_path / "b.tar.gz")["about.txt"]


@pytest.mark.parametrize("place", ["there.tar.gz", "no-folder/b.tar.gz"])
def test_a_file_that_cannot_be_made_is_refused_and_what_is_there_stays(home: Home, tmp_path: Path, place: str) -> None:
    (tmp_path / "there.tar.gz").write_text("mine")
    (tmp_path / "no-folder").write_text("a file")
    with pytest.raises(BadInput, match="the bundle cannot be written"):
        bundle.write(home, "gateway", tmp_path / place)
    assert (tmp_path / "there.tar.gz").read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


def test_the_command_lists_what_is_in_it_and_makes_a_file_that_nobody_else_reads(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = hikkoshi(home, "bundle", "gateway")
    assert done.returncode == 0, done.stderr
    *names, told = done.stdout.splitlines()
    file = told.removeprefix("Written to ")
    assert names == [f"hikkoshi-gateway/{name}" for name in NAMES]
    assert Path(file).parent == home.outputs / "bundles"
    assert list(tmp_path.glob("*.tar.gz")) == []
    assert Path(file).stat().st_mode & 0o077 == 0


def test_a_guest_that_nobody_knows_is_answered_with_the_nearest(home: Home) -> None:
    done = hikkoshi(home, "bundle", "gatway")
    assert (done.returncode, "did you mean gateway?" in done.stderr) == (2, True)


def test_none_is_put_where_a_checkout_of_the_project_would_show_it(home: Home, tmp_path: Path) -> None:
    (tmp_path / "lib/hikkoshi").mkdir(parents=True)
    (tmp_path / "lib/hikkoshi/__init__.py").touch()
    done = hikkoshi(home, "bundle", "gateway", "-o", str(tmp_path / "b.tar.gz"))
    assert (done.returncode, "inside a checkout of the project" in done.stderr) == (3, True), done.stderr
    assert not (tmp_path / "b.tar.gz").exists()
