"""What somebody with write access to outputs/ might try, beyond changing a sealed record: each is found or does not work."""

import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval import signature
from hikkoshi.approval.approver import trust
from hikkoshi.errors import BadInput, Refused
from hikkoshi.params.home import Home
from hikkoshi.record import bag, contents, instructions, missing, register, seal, timestamp, verification
from hikkoshi.run.journal import Journal
from processes import hikkoshi
from sealed import A, B, C, ended, list_again, sealed_home, sign_again, writable

pytestmark = pytest.mark.needs("ssh-keygen", "openssl")


def promptly(test: Callable[..., None]) -> Callable[..., None]:
    """A test that hangs fails after some minutes."""

    @functools.wraps(test)
    def bounded(*args: object, **kwargs: object) -> None:
        def late(signum: int, frame: object) -> None:
            pytest.fail("it hangs")

        before = signal.signal(signal.SIGALRM, late)
        signal.alarm(240)
        try:
            test(*args, **kwargs)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    return bounded


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return sealed_home(tmp_path / "home")


def told(home: Home) -> list[str]:
    return [p.what for p in verification.verify(home.outputs / "records", trust(home, home.site())).problems]


def journal(home: Home) -> Journal:
    return Journal(home.folder("gateway") / "journal.jsonl")


def remove(record: Path) -> None:
    writable(record)
    shutil.rmtree(record)


def test_a_register_line_with_a_command_in_it_reaches_no_readme(home: Home) -> None:
    ended(home, "gateway", A)
    seal.of_run(home, "gateway", A)
    listed = register.of(home).path
    last = listed.read_bytes().splitlines()[-1]
    evil = ["2", "2026-01-01T00:00:00Z", "gateway", '"; touch PWNED; echo "', "succeeded", "0" * 64, "operator@lab"]
    listed.write_bytes(listed.read_bytes() + "\t".join([*evil, hashlib.sha256(last).hexdigest()]).encode() + b"\n")
    ended(home, "gateway", B)
    record = seal.of_run(home, "gateway", B)
    assert "PWNED" not in (record / "README.txt").read_text()
    assert bag.read_info(record)["Previous-Record"] == f"gateway/{A}"
    assert "a line of the register cannot be read" in told(home)


def test_a_record_tells_which_inputs_changed_before_it_was_sealed(home: Home) -> None:
    opened = home.inputs("gateway")
    journal(home).append("open", run=A, step="40-convert", mode="apply", guest="gateway", inputs=opened)
    journal(home).append("end", run=A, step="40-convert", outcome="completed")
    (home.folder("gateway") / "plan.json").write_text('{"guest": "another"}\n')
    record = seal.of_run(home, "gateway", A)
    assert bag.read_info(record)["Inputs-Changed-Since-Run"] == "plan.json"
    (found,) = verification.verify(record, trust(home, home.site())).records
    assert any("plan.json changed between the run and its sealing" in note for note in found.notes)


@pytest.mark.parametrize("register_too", [False, True], ids=["the record", "the record and its line"])
def test_a_record_that_was_taken_away_is_not_sealed_again_over_forged_evidence(home: Home, register_too: bool) -> None:
    for run in (A, B):
        ended(home, "gateway", run)
    seal.pending(home, "gateway")
    remove(seal.folder(home, "gateway") / B)
    if register_too:
        listed = register.of(home).path
        listed.write_bytes(b"".join(listed.read_bytes().splitlines(keepends=True)[:-1]))
    (home.folder("gateway") / "50-rehearse.txt").write_text("forged\n")
    assert seal.pending(home, "gateway") == []
    with pytest.raises(Refused, match=r"the record of this run is gone(.|\n)*bring it back"):
        seal.of_run(home, "gateway", B)
    (gone,) = missing.check(home)
    assert B in gone.expected


@pytest.mark.parametrize("signed", [False, True])  # by the holder of the key, too
def test_a_journal_that_is_made_to_stop_the_reader_stops_nothing(home: Home, signed: bool) -> None:
    for run in (A, B):
        ended(home, "gateway", run)
        seal.of_run(home, "gateway", run)
    writable(home.outputs / "records")
    record = seal.folder(home, "gateway") / B
    (record / "data" / "journal.jsonl").write_text("[" * 100_000 + "\n")
    if signed:
        list_again(record)
        sign_again(record, home.path(home.site().signing.key))
    found = verification.verify(home.outputs / "records", trust(home, home.site()))
    told = {p.what for p in found.problems}
    assert ("a file was changed" in told) != signed
    assert "the journal is not that of the record before, continued" in told


def test_a_record_that_was_changed_accuses_no_other_of_a_lost_time_stamp(home: Home) -> None:
    for run in (A, B):
        ended(home, "gateway", run)
        seal.of_run(home, "gateway", run)
    writable(home.outputs / "records")
    with (seal.folder(home, "gateway") / B / "data" / "journal.jsonl").open("a") as f:
        f.write(json.dumps({"event": "sealed", "of": A, "time_stamp": "2026-01-01T00:00:00Z"}) + "\n")
    found = verification.verify(home.outputs / "records", trust(home, home.site()))
    assert "a file was changed" in {p.what for p in found.problems}
    assert "a time stamp was taken away" not in {p.what for p in found.problems}


def test_a_file_in_the_place_of_a_time_stamp_that_nobody_asked_for_is_an_added_file(home: Home) -> None:
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    writable(record)
    (record / instructions.TOKEN).write_text("anything")
    assert told(home) == ["a file was added"]


def test_bytes_after_a_signature_are_found(home: Home) -> None:
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    writable(record)
    with (record / instructions.SIGNATURE).open("a") as f:
        f.write("more\n")
    assert told(home) == ["the signature counts for nothing"]


def _file(place: Path) -> None:
    place.write_text("x")


def _link(place: Path) -> None:
    place.symlink_to("/nowhere")


def _fifo(place: Path) -> None:
    os.mkfifo(place)


def _folder(place: Path) -> None:
    place.mkdir()


NO_FILES = pytest.mark.parametrize("make", [_fifo, _link, _folder], ids=["fifo", "link", "folder"])
TAG_FILES = ("bagit.txt", bag.INFO, bag.MANIFEST, bag.TAG_MANIFEST, instructions.SIGNATURE, "data/journal.jsonl")


@NO_FILES
@pytest.mark.parametrize("name", TAG_FILES)
@promptly
def test_what_lies_in_the_place_of_a_records_file_hangs_neither_verifying_nor_any_guests_sealing(
    home: Home, name: str, make: Callable[[Path], None]
) -> None:
    for run in (A, B):
        ended(home, "gateway", run)
        seal.of_run(home, "gateway", run)
    record = seal.folder(home, "gateway") / B
    writable(record)
    (record / name).unlink()
    make(record / name)
    listed = register.of(home).path  # as a killed seal leaves it: the next one asks whether this record follows
    listed.write_bytes(b"".join(listed.read_bytes().splitlines(keepends=True)[:-1]))
    assert set(told(home)) & {"something stands in a record that is no file", "a folder was added"}
    ended(home, "idp", A)
    assert seal.of_run(home, "idp", A).is_dir()
    assert [line.identifier for line in register.of(home).lines()] == [f"gateway/{A}", f"idp/{A}"]


@NO_FILES
@promptly
def test_what_lies_in_the_place_of_the_register_is_told_and_keeps_no_run_waiting(
    home: Home, make: Callable[[Path], None]
) -> None:
    ended(home, "gateway", A)
    seal.of_run(home, "gateway", A)
    register.of(home).path.unlink()
    make(register.of(home).path)
    ended(home, "gateway", B)
    record, why = seal.attempt(home, "gateway", B)
    assert record is None
    assert "the register is no file of its own" in why
    assert "the register is missing" in told(home)


@NO_FILES
@promptly
def test_what_lies_in_the_place_of_a_guests_own_files_hangs_no_sealing_and_is_not_followed(
    home: Home, make: Callable[[Path], None]
) -> None:
    ended(home, "gateway", A)
    folder = home.folder("gateway")
    (home.root / "of-others.txt").write_text("nobody's business")
    names = ("plan.json", f"runs/{A}.ipynb", "approvals/x.txt", "seen.txt")
    for name in names:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
    record = seal.of_run(home, "gateway", A)
    assert not {p.name for p in (record / "data").rglob("*")} & {"plan.json", "x.txt", "seen.txt"}
    left_out = (record / "data" / "left-out.tsv").read_text()
    assert "seen.txt" in left_out or make is _folder
    assert told(home) == []


@promptly
def test_a_link_in_the_place_of_a_guests_folder_of_records_leads_no_seal_and_no_cleaning_elsewhere(home: Home) -> None:
    elsewhere = home.root / "elsewhere"
    (elsewhere / ".kept.part").mkdir(parents=True)
    (home.outputs / "records").mkdir()
    seal.folder(home, "gateway").symlink_to(elsewhere)
    ended(home, "gateway", A)
    record, why = seal.attempt(home, "gateway", A)
    assert record is None
    assert "a link stands in the place of the guest's records" in why
    ended(home, "idp", A)
    assert seal.of_run(home, "idp", A).is_dir()
    assert [p.name for p in elsewhere.iterdir()] == [".kept.part"]


@promptly
def test_a_file_of_unheard_of_size_is_told_and_not_read_through(home: Home) -> None:
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    writable(record)
    with (record / "data" / "plan.json").open("r+b") as f:
        f.truncate(1 << 42)  # a hole: no bytes on disk, an hour of hashing
    assert "a file is larger than any that is sealed" in told(home)


@NO_FILES
@promptly
def test_the_command_tells_of_a_journal_that_is_none_and_looks_at_everything_else(
    home: Home, make: Callable[[Path], None]
) -> None:
    for guest in ("gateway", "idp"):
        ended(home, guest, A)
        seal.of_run(home, guest, A)
    journal(home).path.unlink()
    make(journal(home).path)
    done = hikkoshi(home, "verify", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, len(document["records"])) == (1, 2)
    assert "the journal is not a file of its own" in [p["what"] for p in document["register"]]


@pytest.mark.parametrize("make", [_file, _link], ids=["file", "link"])
def test_what_lies_in_the_place_of_a_half_record_stops_no_seal(home: Home, make: Callable[[Path], None]) -> None:
    make_in = seal.folder(home, "gateway")
    make_in.mkdir(parents=True)
    make(make_in / ".x.part")
    ended(home, "gateway", A)
    assert seal.of_run(home, "gateway", A).is_dir()
    assert told(home) == []


def test_a_folder_that_only_says_it_is_the_next_record_is_not_entered(home: Home) -> None:
    ended(home, "gateway", A)
    seal.of_run(home, "gateway", A)
    forged = seal.folder(home, "gateway") / C
    forged.mkdir()
    info = {"External-Identifier": f"gateway/{C}", "Register-Previous-SHA256": register.of(home).head()}
    (forged / "bag-info.txt").write_text("".join(f"{k}: {v}\n" for k, v in info.items()))
    ended(home, "gateway", B)
    assert seal.of_run(home, "gateway", B).is_dir()
    assert [line.record for line in register.of(home).lines()] == [A, B]


def test_a_site_that_cannot_be_read_any_more_leaves_the_reason_and_no_error(home: Home) -> None:
    ended(home, "gateway", A)
    (home.root / "params" / "site.yml").write_text("name: [")
    record, why = seal.attempt(home, "gateway", A)
    assert record is None
    assert "site.yml" in why
    assert journal(home).entries()[-1]["event"] == "unsealed"


def test_a_service_that_answers_in_another_language_costs_no_record(home: Home, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as client:
                client.recv(1 << 16)
                client.sendall(b"what do you want?\n")

        talk = threading.Thread(target=answer)
        talk.start()
        (tmp_path / "ca.pem").write_text("none")
        site = home.root / "params" / "site.yml"
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        words = f"signing:\n  time_stamp: {url}\n  time_stamp_ca: {tmp_path / 'ca.pem'}"
        site.write_text(site.read_text().replace("signing: #", f"{words} #"))
        ended(home, "gateway", A)
        assert seal.of_run(home, "gateway", A).is_dir()
        talk.join()
    assert "does not answer" in str(journal(home).entries()[-1]["time_stamp"])


def test_a_service_that_never_ends_its_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamp, "TIMEOUT", -1)

    class Drip:
        def read1(self, size: int) -> bytes:
            return b"x"

    with pytest.raises(TimeoutError, match="no end"):
        timestamp._read(Drip())  # type: ignore[arg-type]


def test_a_link_in_the_place_of_a_record_is_none(home: Home) -> None:
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    link = record.with_name(B)
    link.symlink_to(record)
    with pytest.raises(BadInput, match="a link is no record"):
        verification.verify(link, trust(home, home.site()))


def test_a_record_that_the_journal_does_not_tell_of_yet_is_told_by_the_next_seal(home: Home) -> None:
    ended(home, "gateway", A)
    before = journal(home).path.read_bytes()
    seal.of_run(home, "gateway", A)
    journal(home).path.write_bytes(before)  # as a kill just after the register's line would leave it
    assert seal.waiting(home, "gateway") == [A]
    seal.pending(home, "gateway")
    assert [e["of"] for e in journal(home).entries() if e["event"] == "sealed"] == [A]


def test_a_disk_that_was_written_to_since_it_was_hashed_has_no_known_hash(home: Home) -> None:
    disk = home.folder("gateway") / "disk" / "gateway.img"
    files.write(disk, "12345678")
    os.utime(disk, (0, 0))  # clearly before it was listed
    journal(home).append("open", run=A, step="30-prepare", mode="apply", guest="gateway")
    made = [{"file": "outputs/guests/gateway/disk/gateway.img", "bytes": 8, "sha256": files.sha256(disk)}]
    journal(home).append("evidence", run=A, step="30-prepare", artefacts=made)
    ended(home, "gateway", B)
    first = seal.of_guest(home, "gateway")
    assert made[0]["sha256"] in (first / "data" / "left-out.tsv").read_text()
    disk.write_text("87654321")
    rows = contents.of_guest(home, "gateway").payload["left-out.tsv"]
    assert b"\tunknown\t" in rows  # type: ignore[operator]


@pytest.mark.parametrize(
    "line",
    [
        'stranger@x KEY namespaces="approval"',  # only a comment
        'a@x,b@x namespaces="approval" KEY',
        '*@x namespaces="approval" KEY',
        '"a b" namespaces="approval" KEY',
        'a@x namespaces="approval,!evidence" KEY',
    ],
)
def test_a_list_of_signers_names_each_key_s_person_and_purpose_plainly(home: Home, line: str) -> None:
    lists = trust(home, home.site())
    lists.allowed.write_text(line.replace("KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgp") + "\n")
    with pytest.raises(BadInput, match="may sign anything"):
        signature.Trust(lists.allowed).check()


def test_when_a_key_runs_out_does_not_depend_on_where_one_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(home, "gateway", A)
    record = seal.of_run(home, "gateway", A)
    before = datetime.fromisoformat(bag.read_info(record)["Sealed"]) - timedelta(hours=1)
    lists = trust(home, home.site())
    rows = lists.allowed.read_text().replace('"evidence" ', f'"evidence",valid-before="{before:%Y%m%d%H%M%S}" ', 1)
    lists.allowed.write_text(rows)
    for zone in ("UTC", "America/Los_Angeles", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        assert told(home) == ["the signature counts for nothing"], zone
