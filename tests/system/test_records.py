"""A run becomes a record: however it ends, whatever happens while it is sealed, and whoever looks at it years later."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

import warm
from hikkoshi import files
from hikkoshi.approval import signature
from hikkoshi.approval.approver import trust
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import Busy
from hikkoshi.params.home import Home
from hikkoshi.record import bag, contents, missing, register, seal, verification
from hikkoshi.record.instructions import SIGNATURE, TOKEN
from hikkoshi.run import lock, status
from hikkoshi.run.journal import Journal
from hikkoshi_lab import keys
from processes import PATIENCE, start, wait_for
from runbooks import execute
from sealed import A, B, C, Service, ask_for_time, ended, sealed_home, shell, time_stamp_service, writable

pytestmark = pytest.mark.needs("ssh-keygen", "openssl", "sha256sum")

SEES = 'run.folder.joinpath("seen.txt").write_text("what it saw")'


@pytest.fixture
def signing(tmp_path: Path) -> Home:
    """A home whose operator has a key."""
    return sealed_home(tmp_path / "home")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with time_stamp_service(tmp_path_factory.mktemp("time") / "service") as running:
        yield running


def install(home: Home, *actions: str) -> None:
    """A notebook of its own for one step."""
    sources = [('guest = "gateway"\nmode = "plan"\nhome = ""', "parameters")]
    sources += [('from hikkoshi.run.run import open_run\nrun = open_run("40-convert", vars())', "open")]
    sources += [(textwrap.dedent(a), "action") for a in actions]
    sources += [("run.verify([])\nrun.evidence([])", "verify")]
    cells = [nbformat.v4.new_code_cell(s, metadata={"tags": [t]}) for s, t in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (home.root / "notebooks").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), home.root / "notebooks" / "40-convert.ipynb")


def python(home: Home, code: str, *argv: str) -> "subprocess.Popen[str]":
    """A process of its own that seals, and may be killed."""
    head = "import os, signal, sys\nfrom pathlib import Path\nfrom hikkoshi.params.home import Home\n"
    head += "from hikkoshi.record import bag, register, seal\nhome = Home(Path(sys.argv[1]))\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code), str(home.root), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def problems(home: Home, ca: Path | None = None) -> list[str]:
    found = verification.verify(home.outputs / "records", trust(home, home.site()), ca)
    return [str(p) for p in found.problems]


def journal(home: Home, guest: str = "gateway") -> list[dict[str, object]]:
    own = Journal(home.folder(guest) / "journal.jsonl")
    own.check()
    return own.entries()


def records(home: Home, guest: str = "gateway") -> list[str]:
    """Everything in a guest's folder of records, hidden or not."""
    folder = seal.folder(home, guest)
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


# however a run ends


def test_a_run_that_succeeds_is_sealed_with_all_that_tells_of_it(signing: Home) -> None:
    (signing.folder("gateway") / "older.txt").write_text("of an earlier run")
    time.sleep(1.1)
    install(signing, SEES, 'run.folder.joinpath("disk").mkdir(); run.folder.joinpath("disk/copy.img").write_bytes(b"0" * 99)')
    outcome = execute(signing, "gateway", "40-convert", "apply")
    assert (outcome.outcome, outcome.exit_code, outcome.unsealed) == ("succeeded", 0, "")
    record = outcome.sealed
    assert record == seal.folder(signing, "gateway") / outcome.run
    info, held = (
        bag.read_info(record),
        {p.relative_to(record / "data").as_posix() for p in (record / "data").rglob("*") if p.is_file()},
    )
    assert held == {
        f"{outcome.run}.ipynb",
        "runbook/40-convert.ipynb",
        "params/site.yml",
        "params/guests/gateway.yml",
        "plan.json",
        "approvals/approval.txt",
        "approvals/approval.txt.sig",
        "signers/allowed_signers",
        "signers/revoked",
        "journal.jsonl",
        "evidence/seen.txt",
        "left-out.tsv",
        "environment.json",
        "requirements.lock",
        "runbook-of-the-project/40-convert.ipynb",  # the test has one of its own
    }
    assert (info["External-Identifier"], info["Guest"], info["Step"], info["Mode"], info["Outcome"], info["Sealed-By"]) == (
        f"gateway/{outcome.run}",
        "gateway",
        "40-convert",
        "apply",
        "succeeded",
        "operator@lab",
    )
    assert info["Plan-SHA256"] == files.sha256(signing.folder("gateway") / "plan.json")
    assert info["Sealed-By-Key"] == signature.fingerprint(keys.folder(signing) / "operator")
    assert (record / "data/left-out.tsv").read_text().splitlines()[1].split("\t") == ["disk/copy.img", "99", "unknown", "a disk"]
    assert {"python", "packages", "tools", "commit", "operator"} <= json.loads(
        (record / "data/environment.json").read_text()
    ).keys()
    told = journal(signing)[-1]
    assert (told["event"], told["of"], told["sha256"]) == ("sealed", outcome.run, files.sha256(record / bag.TAG_MANIFEST))
    assert problems(signing) == []
    assert {oct(p.stat().st_mode & 0o777) for p in [record, *record.rglob("*")]} == {"0o500", "0o400"}
    assert outcome.plain()["sealed"] == str(record)


def test_a_run_that_fails_is_sealed_as_failed(signing: Home) -> None:
    install(signing, "1 / 0")
    outcome = execute(signing, "gateway", "40-convert")
    assert (outcome.exit_code, bag.read_info(outcome.sealed)["Outcome"]) == (1, "failed")
    assert problems(signing) == []


def test_a_run_that_is_stopped_is_sealed_as_interrupted_and_one_that_is_killed_by_the_next(signing: Home) -> None:
    waits, told = 'run.folder.joinpath("begun").touch(); import time; time.sleep(100)', []
    for signum, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        install(signing, waits)
        begun = signing.folder("gateway") / "begun"
        begun.unlink(missing_ok=True)
        runner = start(signing, "run", "gateway", "--only", "40")
        wait_for(begun.exists, "the cell begins")
        runner.send_signal(signum)
        told.append(runner.communicate(timeout=PATIENCE)[0])
        assert runner.returncode == code
    (stopped,) = records(signing)
    assert f"sealed · outputs/records/gateway/{stopped} · signed by operator@lab" in told[0]
    assert "sealed" not in told[1]
    assert bag.read_info(seal.folder(signing, "gateway") / stopped)["Outcome"] == "interrupted"
    wait_for(lambda: not lock.held(signing.folder("gateway") / "lock"), "the kernel ends with its runner")

    install(signing, SEES)
    outcome = execute(signing, "gateway", "40-convert", "apply")
    assert outcome.exit_code == 0, outcome.message
    killed = next(r for r in records(signing) if r not in (stopped, outcome.run))
    info = bag.read_info(seal.folder(signing, "gateway") / killed)
    assert (info["Outcome"], info["Mode"]) == ("interrupted", "plan")
    assert info["Previous-Record"] == f"gateway/{stopped}"
    assert (seal.folder(signing, "gateway") / killed / "data" / f"{killed}.interrupted.ipynb").is_file()
    assert (seal.folder(signing, "gateway") / killed / "data" / "evidence" / "begun").is_file()
    assert problems(signing) == []


def test_a_run_in_a_browser_is_sealed_by_whoever_comes_next_but_not_while_it_goes_on(signing: Home) -> None:
    own = Journal(signing.folder("gateway") / "journal.jsonl")
    own.append("open", run=A, step="40-convert", mode="plan")
    own.append("end", run=A, step="40-convert", outcome="completed")
    own.append("open", run=B, step="50-rehearse", mode="plan")
    with lock.acquire(signing.folder("gateway") / "lock", B, wait=0):
        assert [p.name for p in seal.pending(signing, "gateway")] == [A]
    info = bag.read_info(seal.folder(signing, "gateway") / A)
    assert (info["Outcome"], info["Notebook"]) == ("succeeded", "none")
    assert [p.name for p in seal.pending(signing, "gateway")] == [B]  # its kernel has ended
    assert bag.read_info(seal.folder(signing, "gateway") / B)["Outcome"] == "interrupted"
    assert seal.pending(signing, "gateway") == []
    assert problems(signing) == []


def test_what_a_runner_is_just_executing_is_left_alone(signing: Home) -> None:
    ended(signing, "gateway", A)
    runs = signing.folder("gateway") / "runs"
    (runs / f"{A}.ipynb").rename(runs / f"{A}.part.ipynb")
    with lock.acquire(signing.folder("gateway") / "runner.lock", "40-convert plan", wait=0):
        assert seal.pending(signing, "gateway") == []
    assert len(seal.pending(signing, "gateway")) == 1


def test_files_of_other_runs_are_no_evidence_of_this_one(signing: Home) -> None:
    ended(signing, "gateway", A)
    ended(signing, "gateway", "20990101T000000Z-50-rehearse")  # everything there was written before it
    record = seal.of_run(signing, "gateway", "20990101T000000Z-50-rehearse")
    assert not (record / "data" / "evidence").exists()


# when it cannot be sealed


def test_a_success_with_a_secret_in_its_evidence_is_refused_and_everything_agrees(
    signing: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = signing.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("file:outputs/lab/vcenter.password", "env:VC_PASSWORD"))
    monkeypatch.setenv("VC_PASSWORD", "correct-horse-battery")
    install(signing, 'import os; (run.folder / "dump.bin").write_bytes(os.environ["VC_PASSWORD"].encode())')
    outcome = execute(signing, "gateway", "40-convert", "apply")
    dump = signing.folder("gateway") / "dump.bin"
    assert (outcome.outcome, outcome.exit_code, outcome.error, outcome.sealed) == ("succeeded", 1, "Unsealed", None)
    assert f"{dump}:0" in outcome.message
    assert "correct-horse" not in outcome.message
    assert records(signing) == []
    assert journal(signing)[-1]["event"] == "unsealed"
    assert nbformat.read(outcome.record, as_version=4).metadata.hikkoshi.unsealed == outcome.unsealed
    (now,) = status.status(signing, ["gateway"])
    assert (now.state, now.error.partition(":")[0]) == ("failed", "not sealed")
    assert seal.pending(signing, "gateway") == []
    assert [e["event"] for e in journal(signing)].count("unsealed") == 1  # told once

    dump.unlink()
    assert [p.name for p in seal.pending(signing, "gateway")] == [outcome.run]
    assert status.status(signing, ["gateway"])[0].state == "done"
    assert problems(signing) == []


def test_a_record_tells_for_which_secret_it_could_not_be_searched(signing: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    site = signing.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("file:outputs/lab/vcenter.password", "env:VC_PASSWORD"))
    monkeypatch.delenv("VC_PASSWORD", raising=False)
    ended(signing, "gateway", A)
    record = seal.of_run(signing, "gateway", A)
    assert bag.read_info(record)["Secrets-Not-Readable"] == "env:VC_PASSWORD"
    found = verification.verify(record, trust(signing, signing.site()))
    assert not found.problems
    assert "not searched for env:VC_PASSWORD" in found.records[0].row()["note"]


@pytest.mark.needs("root")
def test_a_full_disk_leaves_no_half_record_and_the_next_seal_makes_it(signing: Home) -> None:
    place = signing.outputs / "records"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        ended(signing, "gateway", A)
        (signing.folder("gateway") / "large.txt").write_bytes(os.urandom(1 << 20))
        record, why = seal.attempt(signing, "gateway", A)
        assert (record, "No space left" in why) == (None, True)
        assert records(signing) == []
        assert journal(signing)[-1]["event"] == "unsealed"
        subprocess.run(["mount", "-o", "remount,size=16m", place], check=True)
        assert len(seal.pending(signing, "gateway")) == 1
        assert problems(signing) == []
    finally:
        subprocess.run(["umount", place], check=True)


KILL = "os.kill(os.getpid(), signal.SIGKILL)"
POINTS = {
    "while copying": f"bag._copy = lambda *a: {KILL}",
    "before it is signed": f"seal._sign = lambda *a: {KILL}",
    "before it takes its name": f"Path.rename = lambda *a: {KILL}",
    "before it is registered": f"seal.mending.enter = lambda *a: {KILL}",
    "in the middle of its line": "write = register.Register._write\n"
    f"register.Register._write = lambda self, line: (self.path.open('ab').write(line.encode()[:30]), {KILL})",
    "before the journal tells of it": f"seal._tell = lambda *a, **k: {KILL}",
}


@pytest.mark.parametrize("point", POINTS)
def test_a_seal_that_is_killed_leaves_no_half_record_and_the_next_one_mends(signing: Home, point: str) -> None:
    ended(signing, "idp", A)
    seal.of_run(signing, "idp", A)
    ended(signing, "gateway", A)
    killed = python(signing, f"{POINTS[point]}\nseal.of_run(home, 'gateway', '{A}')")
    _, err = killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL, err
    for record in seal.folder(signing, "gateway").glob("[!.]*"):  # what has its name is whole
        found = verification.verify(record, trust(signing, signing.site()))
        assert {p.what for p in found.problems} <= {"a record is not in the register"}

    ended(signing, "gateway", B)
    assert {p.name for p in seal.pending(signing, "gateway")} | {A} == {A, B}
    assert records(signing) == [A, B]
    assert problems(signing) == []
    assert [line.record for line in register.of(signing).lines()] == [A, A, B]
    seal.of_run(signing, "gateway", A)
    assert [e["of"] for e in journal(signing) if e["event"] == "sealed"].count(A) == 1


def test_a_signal_ends_the_wait_for_another_seal_and_the_next_run_seals_it(signing: Home) -> None:
    install(signing, SEES)
    with (signing.outputs / "x").open("w"):
        place = signing.outputs / "records" / "register.tsv"
    place.parent.mkdir()
    with place.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # somebody else is sealing, and takes his time
        runner = start(signing, "run", "gateway", "--only", "40", "--apply", "--json")
        ends = signing.folder("gateway") / "journal.jsonl"
        wait_for(lambda: ends.is_file() and '"event":"outcome"' in ends.read_text(), "the run ends")
        runner.send_signal(signal.SIGTERM)
        out, err = runner.communicate(timeout=PATIENCE)
    assert runner.returncode == 143, err
    step = json.loads(out)["guests"][0]["steps"][0]
    assert (step["outcome"], step["sealed"]) == ("succeeded", None)
    assert "another run is sealing" in step["unsealed"]
    assert [p.name for p in seal.pending(signing, "gateway")] == [step["run"]]
    assert problems(signing) == []


def test_guests_that_are_sealed_at_once_make_one_chain(signing: Home) -> None:
    runs = [f"2026010{n}T000000Z-40-convert" for n in range(1, 6)]
    for guest in ("gateway", "idp"):
        for run in runs:
            ended(signing, guest, run)
    code = "for run in sys.argv[3:]: seal.of_run(home, sys.argv[2], run)"
    sealing = [python(signing, code, guest, *runs) for guest in ("gateway", "idp")]
    for process in sealing:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    assert len(register.of(signing).lines()) == 10
    assert problems(signing) == []


def test_a_seal_that_takes_long_keeps_no_other_guest_waiting_and_its_own_guest_until_it_is_done(
    signing: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for guest, run in (("gateway", A), ("gateway", B), ("idp", A)):
        ended(signing, guest, run)
    gathers, goes_on, gather = threading.Event(), threading.Event(), contents.of_run

    def slow(home: Home, guest: str, run: str) -> contents.Contents:
        if (guest, run) == ("gateway", A):
            gathers.set()
            assert goes_on.wait(PATIENCE)
        return gather(home, guest, run)

    monkeypatch.setattr(contents, "of_run", slow)
    with ThreadPoolExecutor() as pool:
        sealing = pool.submit(seal.of_run, signing, "gateway", A)
        assert gathers.wait(PATIENCE)
        seal.of_run(signing, "idp", A, wait=0)
        with pytest.raises(Busy, match=r"another run is sealing[^~]*seal\.lock"):
            seal.of_run(signing, "gateway", B, wait=0)
        goes_on.set()
        sealing.result(PATIENCE)
    seal.of_run(signing, "gateway", B, wait=0)
    assert [line.identifier for line in register.of(signing).lines()] == [f"idp/{A}", f"gateway/{A}", f"gateway/{B}"]
    assert problems(signing) == []


def test_what_a_killed_seal_of_a_guest_left_is_removed_by_that_of_another(signing: Home) -> None:
    ended(signing, "gateway", A)
    ended(signing, "idp", A)
    left = seal.folder(signing, "gateway") / f".{A}.part"
    left.mkdir(parents=True)
    seal.of_run(signing, "idp", A)
    assert not left.parent.exists()


# keys and time


def another(own: Path, name: str) -> None:
    """Give the operator somebody else's key."""
    for kind in ("", ".pub"):
        shutil.copy(own / f"{name}{kind}", own / f"operator{kind}")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda own: (own / "operator").unlink(), "the key to sign with is missing"),
        (lambda own: another(own, "stranger"), "not among the allowed signers"),
        (lambda own: another(own, "approver"), "namespace"),
        (lambda own: (own / "revoked").write_text((own / "operator.pub").read_text()), "revoked"),
        (lambda own: (own / "allowed_signers").unlink(), "a list of keys is missing"),
    ],
)
def test_without_a_key_that_may_seal_it_is_sealed_unsigned_and_says_so(
    signing: Home, spoil: Callable[[Path], object], why: str
) -> None:
    believed = shutil.copytree(keys.folder(signing), signing.root / "believed")
    spoil(keys.folder(signing))
    ended(signing, "gateway", A)
    record = seal.of_run(signing, "gateway", A)
    said = bag.read_info(record)["Sealed-By"]
    assert said.startswith("nobody: ")
    assert why in said
    assert not (record / SIGNATURE).exists()
    assert f"NOT SIGNED: {said.removeprefix('nobody: ')}" in seal.words(signing, record)
    assert str(journal(signing)[-1]["signer"]).startswith("nobody")
    lists = Trust(believed / "allowed_signers", believed / "revoked")
    found = verification.verify(record, lists)
    assert [p.what for p in found.problems] == ["the record is not signed"]
    assert shell(record, lists) == [1]


def test_a_time_stamp_is_checked_at_once_and_kept(signing: Home, service: Service) -> None:
    ask_for_time(signing, service)
    ended(signing, "gateway", A)
    record = seal.of_run(signing, "gateway", A)
    assert (record / TOKEN).is_file()
    assert str(journal(signing)[-1]["time_stamp"]).startswith("20")
    assert problems(signing, service.ca) == []
    found = verification.verify(record, trust(signing, signing.site()))
    assert "time stamp not checked: no certificate authority of the service is known" in found.records[0].notes


def test_the_time_stamp_of_the_newest_record_is_missed_by_the_guests_own_journal(signing: Home, service: Service) -> None:
    ask_for_time(signing, service)
    ended(signing, "gateway", A)
    record = seal.of_run(signing, "gateway", A)
    assert list(missing.check(signing)) == []
    writable(record)
    (record / TOKEN).unlink()
    assert [(p.what, p.where) for p in missing.check(signing)] == [("a time stamp was taken away", str(record / TOKEN))]


def test_a_time_stamp_is_told_in_the_journal_also_where_sealing_was_killed_before_that(
    signing: Home, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for_time(signing, service)
    ended(signing, "gateway", A)
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(seal, "_tell", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        seal.of_run(signing, "gateway", A)
    assert [e for e in journal(signing) if e["event"] == "sealed"] == []
    (record,) = seal.pending(signing, "gateway")
    assert str(journal(signing)[-1]["time_stamp"]).startswith("20")
    writable(record)
    (record / TOKEN).unlink()
    assert [p.what for p in missing.check(signing)] == ["a time stamp was taken away"]


@pytest.mark.parametrize(
    ("state", "answer", "why"),
    [
        ("down", None, "the time stamp service does not answer"),
        ("out of order", 500, "the time stamp service does not answer"),
        ("talks nonsense", b"noon", "openssl failed"),
        ("gives an old token", "old", "openssl failed"),
    ],
)
def test_a_time_stamp_service_that_fails_or_lies_costs_no_record(
    signing: Home, tmp_path: Path, state: str, answer: object, why: str
) -> None:
    with time_stamp_service(tmp_path / "service") as service:
        ask_for_time(signing, service)
        service.status = answer if isinstance(answer, int) else 200
        if answer == "old":
            (tmp_path / "old").write_text("another signature")
            answer = service.stamp(tmp_path / "old")
        service.answer = answer if isinstance(answer, bytes) else None
        ended(signing, "gateway", A)
        if state != "down":
            record = seal.of_run(signing, "gateway", A)
    if state == "down":
        record = seal.of_run(signing, "gateway", A)
    assert not (record / TOKEN).exists()
    assert why in str(journal(signing)[-1]["time_stamp"])
    assert "WITHOUT TIME STAMP" in seal.words(signing, record)
    found = verification.verify(record, trust(signing, signing.site()), service.ca)
    assert found.problems == ()
    assert "no time stamp" in found.records[0].notes[0]
    assert list(missing.check(signing)) == []


# the whole story


def report(home: Home, text: str) -> None:
    path = home.outputs / "reports" / "gateway.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_a_guests_story_holds_the_report_and_every_run(signing: Home) -> None:
    for run in (A, B):
        ended(signing, "gateway", run)
    report(signing, "as it is now")
    assert not seal.complete(signing, "gateway")
    record = seal.of_guest(signing, "gateway")
    assert records(signing) == [A, B, record.name]
    assert (record / "data/reports/gateway.html").read_text() == "as it is now"
    assert {p.name for p in (record / "data/runs").iterdir()} == {f"{A}.ipynb", f"{B}.ipynb"}
    assert (record / "data/register.tsv").read_text().count("\n") == 3
    assert seal.complete(signing, "gateway"), seal.complete(signing, "gateway").found
    assert problems(signing) == []

    report(signing, "as it is later")
    assert "holds another gateway.html" in seal.complete(signing, "gateway").found
    report(signing, "as it is now")
    writable(record)
    (record / "data/plan.json").write_text("{}")
    assert "a file was changed" in seal.complete(signing, "gateway").found


# who looks at it later


@pytest.fixture
def three(signing: Home) -> Home:
    for run in (A, B, C):
        ended(signing, "gateway", run)
    seal.pending(signing, "gateway")
    return signing


def test_the_command_says_good_with_0_and_everything_wrong_with_1(three: Home) -> None:
    with start(three, "verify", program=warm.command()) as good:
        out, err = good.communicate(timeout=PATIENCE)
    assert (good.returncode, err) == (0, "")
    assert out.count("good") == 3
    assert "is not sealed" not in out
    ended(three, "idp", A)
    for run, name in ((A, "data/plan.json"), (C, "README.txt")):
        writable(seal.folder(three, "gateway") / run)
        (seal.folder(three, "gateway") / run / name).write_text("x")
    with start(three, "verify", "--json", program=warm.command()) as bad:
        out, err = bad.communicate(timeout=PATIENCE)
    assert bad.returncode == 1, err
    document = json.loads(out)
    assert document["not_sealed"] == [f"idp/{A}"]
    assert [r["good"] for r in document["records"]] == [False, True, False]
    assert document["records"][0]["problems"][0]["what"] == "a file was changed"
    with start(three, "verify", str(seal.folder(three, "gateway")), program=warm.command()) as bad:
        out, err = bad.communicate(timeout=PATIENCE)
    assert (bad.returncode, err.count("a file was changed"), err.count("what to do:")) == (1, 2, err.count("where:"))


@pytest.mark.parametrize("argument", ["nowhere", "."])
def test_what_is_no_record_is_bad_input(three: Home, tmp_path: Path, argument: str) -> None:
    with start(three, "verify", argument, cwd=tmp_path, program=warm.command()) as told:
        _, err = told.communicate(timeout=PATIENCE)
    assert told.returncode == 2
    assert "there is no record here" in err


def test_an_auditor_needs_one_record_the_list_of_signers_and_no_home(three: Home, tmp_path: Path) -> None:
    alone = tmp_path / "auditor"
    alone.mkdir()
    shutil.copytree(seal.folder(three, "gateway") / B, alone / B)
    own = keys.folder(three)
    arguments = [str(alone / B), "--allowed-signers", str(own / "allowed_signers"), "--revoked", str(own / "revoked")]
    with start(None, "verify", *arguments, cwd=alone, program=warm.command()) as told:
        out, err = told.communicate(timeout=PATIENCE)
    assert (told.returncode, err) == (0, "")
    assert f"chain not checked: the record before it, gateway/{A}, is not beside it" in out
    with start(None, "verify", str(alone / B), cwd=alone, program=warm.command()) as told:
        _, err = told.communicate(timeout=PATIENCE)
    assert told.returncode == 2


def test_the_newest_records_and_their_lines_can_be_taken_away_together_only_the_line_kept_elsewhere_tells(three: Home) -> None:
    kept = register.of(three).path.read_text().splitlines()[-1]
    writable(three.outputs / "records")
    shutil.rmtree(seal.folder(three, "gateway") / C)
    path = register.of(three).path
    path.write_text("".join(path.read_text().splitlines(True)[:-1]))
    assert problems(three) == []  # as README.txt says
    assert kept not in path.read_text()


@pytest.mark.needs("python:bagit")
def test_others_read_the_record_too(three: Home) -> None:
    import bagit

    for record in seal.folder(three, "gateway").iterdir():
        here = Path.cwd()
        assert bagit.Bag(str(record)).is_valid()
        os.chdir(here)


@pytest.mark.needs("vcsim", "qemu-img")
def test_every_run_of_the_whole_move_is_sealed_and_good(moved: Home) -> None:
    assert problems(moved) == []
    for guest in ("idp", "gateway"):
        seal.pending(moved, guest)
        runs = {p.name.partition(".")[0] for p in (moved.folder(guest) / "runs").glob("*.ipynb")}
        assert runs <= set(records(moved, guest))
        assert seal.complete(moved, guest), seal.complete(moved, guest).found
        for record in seal.folder(moved, guest).iterdir():
            assert shell(record, trust(moved, moved.site())) == [], record
