"""Records that were sealed before there was a key: said before, acknowledged by a person, and told apart from what is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.formatters import DisplayFormatter

from hikkoshi import files, show
from hikkoshi.approval import signature
from hikkoshi.approval.approver import trust
from hikkoshi.cli.doctor import _signatory
from hikkoshi.params.home import Home
from hikkoshi.record import acknowledgement, seal, verification
from hikkoshi.run import run
from hikkoshi.run.journal import Journal
from hikkoshi.run.run import open_run
from hikkoshi_lab import keys
from processes import hikkoshi
from sealed import A, B, ended, list_again, sealed_home, writable

pytestmark = pytest.mark.needs("ssh-keygen")
BECAUSE = "sealed before the site had a key"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose first record was sealed without a key; there is one now."""
    home = sealed_home(tmp_path / "home")
    own = keys.folder(home) / "operator"
    own.rename(own.with_name("later"))
    ended(home, "gateway", A)
    seal.of_run(home, "gateway", A)
    own.with_name("later").rename(own)
    ended(home, "gateway", B)
    seal.of_run(home, "gateway", B)
    return home


def record(home: Home, run: str = A) -> Path:
    return seal.folder(home, "gateway") / run


def told(home: Home) -> list[str]:
    return [p.what for p in verification.verify(home.outputs / "records", trust(home, home.site())).problems]


def give(home: Home, run: str = A, key: str = "operator", because: str = BECAUSE) -> None:
    acknowledgement.give(home, record(home, run), f"gateway/{run}", keys.folder(home) / key, because)


def test_what_was_sealed_before_there_was_a_key_is_good_once_a_person_has_acknowledged_it(home: Home) -> None:
    assert told(home) == ["the record is not signed"]
    before = {p: files.sha256(p) for p in record(home).rglob("*") if p.is_file()}
    done = hikkoshi(home, "acknowledge", str(record(home)), "--because", BECAUSE)
    assert done.returncode == 0, done.stderr
    assert "acknowledged by operator@lab on 20" in done.stdout
    assert {p: files.sha256(p) for p in record(home).rglob("*") if p.is_file()} == before  # beside it, never in it
    verified = hikkoshi(home, "verify")
    assert verified.returncode == 0, verified.stderr
    assert "unsigned, acknowledged" in verified.stdout
    document = json.loads(hikkoshi(home, "verify", "--json").stdout)
    assert [bool(r["acknowledged"]) for r in document["records"]] == [True, False]
    last = Journal(home.folder("gateway") / "journal.jsonl").entries()[-1]
    assert (last["event"], last["of"], last["by"], last["because"]) == ("acknowledged", A, "operator@lab", BECAUSE)


def test_it_says_what_to_do(home: Home) -> None:
    (problem,) = verification.verify(record(home), trust(home, home.site())).problems
    assert f"hikkoshi acknowledge {record(home)} --because" in problem.remedy


def change(home: Home) -> None:
    writable(record(home))
    (record(home) / "data" / "environment.json").write_text("{}")


def word(home: Home, old: str, new: str) -> None:
    path = acknowledgement.path_of(record(home))
    path.write_text(path.read_text().replace(old, new))


def link(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


SPOILT: dict[str, tuple[Callable[[Home], object], str]] = {
    "a byte of it is changed": (change, "a file was changed"),
    "it is listed anew": (lambda h: (change(h), list_again(record(h))), "an acknowledgement counts for nothing"),
    "its words are changed": (lambda h: word(h, BECAUSE, "all is well"), "an acknowledgement counts for nothing"),
    "words are added": (lambda h: word(h, BECAUSE, f"{BECAUSE}\nmore: x"), "an acknowledgement counts for nothing"),
    "its signature is taken away": (
        lambda h: signature.path_of(acknowledgement.path_of(record(h))).unlink(),
        "an acknowledgement counts for nothing",
    ),
    "somebody signs it in another's name": (
        lambda h: signature.sign(acknowledgement.path_of(record(h)), keys.folder(h) / "colleague", "evidence"),
        "an acknowledgement counts for nothing",
    ),
    "it is signed for another purpose": (
        lambda h: signature.sign(acknowledgement.path_of(record(h)), keys.folder(h) / "operator", "approval"),
        "an acknowledgement counts for nothing",
    ),
    "the key is revoked": (
        lambda h: (keys.folder(h) / "revoked").write_text((keys.folder(h) / "operator.pub").read_text()),
        "an acknowledgement counts for nothing",
    ),
    "it is put beside another record": (
        lambda h: [shutil.copy(p, p.with_name(p.name.replace(A, B))) for p in record(h).parent.glob("*.txt*")],
        "something lies among the records that is none",
    ),
    "the record is taken away": (
        lambda h: (writable(record(h)), shutil.rmtree(record(h))),
        "something lies among the records that is none",
    ),
    "it is a link": (lambda h: link(acknowledgement.path_of(record(h))), "an acknowledgement counts for nothing"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_any_later_change_voids_it(home: Home, name: str) -> None:
    give(home)
    assert told(home) == []
    spoil, expected = SPOILT[name]
    spoil(home)
    assert expected in told(home)


@pytest.mark.parametrize("state", ["signed", "its signature taken away", "tampered with", "acknowledged"])
def test_only_what_was_sealed_unsigned_and_is_as_it_was_is_acknowledged(home: Home, state: str) -> None:
    of = A if state in ("tampered with", "acknowledged") else B
    if state == "its signature taken away":
        writable(record(home, B))
        signature.path_of(record(home, B) / "tagmanifest-sha256.txt").unlink()
    if state == "tampered with":
        change(home)
    if state == "acknowledged":
        give(home)
    done = hikkoshi(home, "acknowledge", str(record(home, of)), "--because", BECAUSE)
    assert done.returncode == 3, done.stdout
    assert "this is not to be acknowledged" in done.stderr


@pytest.mark.parametrize(
    ("key", "because", "code"), [("approver", BECAUSE, 3), ("stranger", BECAUSE, 3), ("operator", "a\nb", 2)]
)
def test_who_may_not_seal_may_not_acknowledge_and_reasons_are_plain(home: Home, key: str, because: str, code: int) -> None:
    own = str(keys.folder(home) / key)
    done = hikkoshi(home, "acknowledge", str(record(home)), "--key", own, "--because", because)
    assert done.returncode == code, done.stdout + done.stderr
    assert list(record(home).parent.glob("*.txt*")) == []


@pytest.mark.parametrize("after", ["acknowledge", "seal"])
def test_what_a_killed_acknowledging_leaves_is_told_and_removed_by_the_next(home: Home, after: str) -> None:
    path = acknowledgement.path_of(record(home))
    for left in (path, signature.path_of(path)):
        left.with_name(f"{left.name}.part").write_text("half")
    found = verification.verify(home.outputs / "records", trust(home, home.site()))
    assert [p.what for p in found.problems] == ["the record is not signed"]
    assert len([n for n in found.notes if "an acknowledging was killed" in n]) == 2
    if after == "seal":
        ended(home, "gateway", "20260103T000000Z-60-deploy")
        seal.of_run(home, "gateway", "20260103T000000Z-60-deploy")
    give(home)
    assert list(path.parent.glob("*.part")) == []
    assert told(home) == []


def test_what_follows_is_sealed_and_counted_as_before(home: Home) -> None:
    give(home)
    ended(home, "gateway", "20260103T000000Z-60-deploy")
    seal.of_run(home, "gateway", "20260103T000000Z-60-deploy")
    assert told(home) == []


def test_before_something_is_sealed_unsigned_it_is_said_where_the_run_is_opened(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "display", lambda thing: None)
    monkeypatch.delenv("HIKKOSHI_RUN", raising=False)
    names = {"guest": "gateway", "home": str(home.root)}
    opened = open_run("10-survey", names, wait=0.1)
    assert "NOBODY CAN SIGN" not in str(opened)
    assert "FOR GOOD" not in _signatory(home).found
    opened.close("completed")
    own = (keys.folder(home) / "operator").read_bytes()
    (keys.folder(home) / "operator").unlink()
    opened = open_run("10-survey", names, wait=0.1)
    assert "NOBODY CAN SIGN HERE: the key to sign with is missing" in str(opened)
    assert "hikkoshi acknowledge" in str(opened)
    formatter = DisplayFormatter()
    monkeypatch.setattr(show, "get_ipython", lambda: SimpleNamespace(display_formatter=formatter))
    show._activate()
    (keys.folder(home) / "operator").write_bytes(own)  # it was tried when the run was opened, and not again for each form
    shown = formatter.format(opened)[0]  # what JupyterLab gets; it prefers the HTML
    assert all("NOBODY CAN SIGN HERE: the key" in shown[form] for form in ("text/html", "text/plain"))
    (keys.folder(home) / "operator").unlink()
    opened.close("completed")
    assert "SEALED UNSIGNED, FOR GOOD" in _signatory(home).found
    back = open_run("75-rollback", names, wait=0.1)
    assert "NOBODY CAN SIGN" not in str(back)
    back.close("completed")
