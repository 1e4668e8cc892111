"""What a run lists as its evidence is in its record, by hash, wherever times lie; verifying compares the two."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval.approver import trust
from hikkoshi.params.home import Home
from hikkoshi.record import bag, seal, verification
from hikkoshi.run import run
from hikkoshi.run.journal import Journal
from hikkoshi.run.run import Run, open_run
from sealed import A, apart, ended, list_again, sealed_home, sign_again, writable

pytestmark = pytest.mark.needs("ssh-keygen")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(run, "display", lambda thing: None)
    return sealed_home(tmp_path / "home")


def opened(home: Home, monkeypatch: pytest.MonkeyPatch, ahead: int = 0) -> Run:
    """A run on a machine whose clock is so many seconds ahead of the file system's."""
    stamp = datetime.now(UTC) + timedelta(seconds=ahead)
    monkeypatch.setenv("HIKKOSHI_RUN", f"{stamp:%Y%m%dT%H%M%SZ}-40-convert")
    return open_run("40-convert", {"guest": "gateway", "mode": "apply", "home": str(home.root)}, wait=0.1)


def make(r: Run, name: str, text: str = "what it saw") -> Path:
    path = r.folder / name
    files.write(path, text)
    return path


def verified(home: Home) -> tuple[list[str], list[str]]:
    found = verification.verify(home.outputs / "records", trust(home, home.site()))
    return [p.what for p in found.problems], apart(n for r in found.records for n in r.notes)


@pytest.mark.parametrize("ahead", [-5, 0, 5])
def test_what_a_run_lists_is_in_its_record_whatever_the_clocks_say(
    home: Home, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    r = opened(home, monkeypatch, ahead)
    r.evidence([make(r, "seen.txt")])
    record = seal.of_run(home, "gateway", r.id)
    assert (record / "data/evidence/seen.txt").read_text() == "what it saw"
    assert verified(home) == ([], [])


def test_so_is_what_a_failed_run_did_not_come_to_list(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    r = opened(home, monkeypatch, ahead=5)
    make(r, "half.txt")
    r.close("failed")
    assert (seal.of_run(home, "gateway", r.id) / "data/evidence/half.txt").is_file()


def test_what_was_there_before_a_run_is_no_evidence_of_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(home.folder("gateway") / "older.txt", "of an earlier run")
    while datetime.now(UTC).timestamp() - (home.folder("gateway") / "older.txt").stat().st_mtime < 0.05:
        pass  # the file system's clock has ticks
    r = opened(home, monkeypatch, ahead=-5)
    r.evidence([])
    assert not (seal.of_run(home, "gateway", r.id) / "data/evidence").exists()


def test_a_report_is_in_the_record_of_the_run_that_wrote_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    r = opened(home, monkeypatch)
    report = home.outputs / "reports" / "gateway.html"
    files.write(report, "<p>all is well</p>")
    r.evidence([report])
    assert (seal.of_run(home, "gateway", r.id) / "data/reports/gateway.html").is_file()
    assert verified(home) == ([], [])


def test_a_disk_is_listed_by_hash_and_told_as_kept_outside(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    r = opened(home, monkeypatch)
    r.evidence([make(r, "disk/gateway.vmdk")])
    record = seal.of_run(home, "gateway", r.id)
    assert files.sha256(r.folder / "disk/gateway.vmdk") in (record / "data/left-out.tsv").read_text()
    assert verified(home) == ([], ["kept outside, by hash: outputs/guests/gateway/disk/gateway.vmdk"])


def test_what_changed_before_it_was_sealed_is_told_and_is_not_taken_for_what_was_listed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = opened(home, monkeypatch)
    r.evidence([make(r, "seen.txt"), make(r, "gone.txt", "another")])
    make(r, "seen.txt", "what a later run saw")
    (r.folder / "gone.txt").unlink()
    record = seal.of_run(home, "gateway", r.id)
    assert not (record / "data/evidence").exists()
    problems, notes = verified(home)
    assert problems == []
    assert [n for n in notes if "seen.txt" in n and "gone.txt" in n and "is not in it" in n and "changed since" in n]


def test_what_was_replaced_by_a_link_before_it_was_sealed_is_lost_and_not_kept_outside(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = opened(home, monkeypatch)
    r.evidence([make(r, "seen.txt"), make(r, "sub/moved.txt", "another")])
    (r.folder / "seen.txt").rename(r.folder.parent / "elsewhere.txt")
    (r.folder / "seen.txt").symlink_to("../elsewhere.txt")
    (r.folder / "sub").rename(home.root.parent / "sub")
    (r.folder / "sub").symlink_to(home.root.parent / "sub")
    seal.of_run(home, "gateway", r.id)
    notes = verified(home)[1]
    assert not [n for n in notes if n.startswith("kept outside")]
    assert [n for n in notes if "seen.txt (not a regular file)" in n and "moved.txt (not in the site's folder)" in n]


@pytest.mark.parametrize("spoil", ["removed", "changed"])
def test_evidence_that_was_listed_and_is_not_in_the_record_is_found(
    home: Home, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    r = opened(home, monkeypatch)
    r.evidence([make(r, "seen.txt")])
    record = seal.of_run(home, "gateway", r.id)
    writable(record)
    path = record / "data/evidence/seen.txt"
    path.write_text("forged") if spoil == "changed" else (path.unlink(), path.parent.rmdir())
    list_again(record)
    sign_again(record, home.path(home.site().signing.key))
    problems, _ = verified(home)
    assert "evidence that the journal lists is not in the record" in problems

    text = (record / bag.INFO).read_text()  # a record of an earlier version is not held to what it did not promise
    (record / bag.INFO).write_text(text.replace("Record-Format: 2\n", ""))
    list_again(record)
    sign_again(record, home.path(home.site().signing.key))
    problems, notes = verified(home)
    assert "evidence that the journal lists is not in the record" not in problems
    assert [n for n in notes if n.startswith("sealed by an earlier version") and "seen.txt" in n]


@pytest.mark.parametrize("name", ["../others.txt", "/etc/passwd", "outputs/guests/gateway/way/others.txt"])
def test_a_journal_that_lists_what_is_elsewhere_brings_nothing_of_it_into_a_record(home: Home, name: str) -> None:
    others = home.root.parent / "others.txt"
    others.write_text("of others")
    (home.folder("gateway") / "way").symlink_to(others.parent)
    own = Journal(home.folder("gateway") / "journal.jsonl")
    listed = {"file": name, "bytes": 9, "sha256": files.sha256(others)}
    own.append("open", run=A, step="40-convert", mode="apply")
    own.append("evidence", run=A, step="40-convert", artefacts=[listed, "x", {"file": 1}, None])
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    assert not [
        p for p in record.rglob("*") if p.is_file() and p.read_bytes() in (b"of others", Path("/etc/passwd").read_bytes())
    ]
    assert "not in the site's folder" in (record / "data/left-out.tsv").read_text()
    assert verified(home)[0] == []
