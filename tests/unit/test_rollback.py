"""The way back where a cut-over was stopped while it shut the source down: who was asked to go off is not in service."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from hikkoshi.check import Check
from hikkoshi.errors import Problem, Refused, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.run import shutdown
from hikkoshi.run.confirmation import Confirmation
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import CUTOVER, ROLLBACK
from hikkoshi.steps import rollback
from hikkoshi.steps.cutover import CutOver
from hikkoshi.steps.rollback import Rollback
from hikkoshi.xen import dom0

XL = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in
create*) echo 9 > running; rm -f leaving; echo "$*" >> calls ;;
"list -l") echo "[]" ;;
list) [ -f deaf ] && exit 1
      if [ -f leaving ]; then n=$(cat leaving); [ "$n" = 0 ] && rm -f running || echo $((n - 1)) > leaving; fi
      echo "Name ID Mem VCPUs State Time(s)"; echo "Domain-0 0 2048 2 r----- 1.0"
      [ -f running ] && echo "idp $(cat running) 1024 1 -b---- 1.0" || true ;;
esac
"""


@pytest.mark.parametrize(("off", "in_service", "told"), [(True, False, True), (True, True, False), (False, False, False)])
def test_it_is_told_where_vsphere_fails_and_nobody_may_serve(
    home: Home, monkeypatch: pytest.MonkeyPatch, off: bool, in_service: bool, told: bool
) -> None:
    """Not where the source runs, and not where the machine is on record as in service: it may serve."""
    cut = CutOver.__new__(CutOver)
    folder = home.folder("idp")
    monkeypatch.setattr(cut, "run", SimpleNamespace(folder=folder), raising=False)
    source = Check(code="source-off", title="the source", ok=off, found="", expected="off", remedy="", where="")
    monkeypatch.setattr(CutOver, "source_off", lambda self: source)
    if in_service:
        folder.mkdir(parents=True)
        folder.cutover.write_text("{}")
    with pytest.raises(VSphereError) as failed, cut._way_back_told():
        raise VSphereError(Problem(code="vsphere-unanswered", what="no answer", remedy="run the step again"))
    assert (str(ROLLBACK) in failed.value.problems[0].remedy) is told


@pytest.fixture
def xl(home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an `xl` whose guest idp runs, with the ID that is in `running`, and goes off after as many lists as
    `leaving` says. No vSphere answers, and a person has said that the machine is off."""
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("root: outputs/lab/dom0", "root: /"))
    program = home.root / "bin" / "xl"
    program.parent.mkdir()
    program.write_text(XL)
    program.chmod(0o755)
    (program.parent / "running").write_text("7\n")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(rollback, "LOOK", 0.01)
    home.folder("idp").mkdir(parents=True)
    word = Confirmation(guest="idp", machine="idp", by="a person", time=datetime.now(UTC))
    word.save(home.folder("idp"))
    return program.parent


def asked(home: Home, ago: float = 0) -> Journal:
    """The journal of a 70 that was killed while the source shut down."""
    journal = Journal(home.folder("idp") / "journal.jsonl")
    at = datetime.now(UTC) - timedelta(seconds=ago)
    journal.append("start", run="a run", step="70-cutover", title="the source is off", time=at.isoformat())
    return journal


def back(home: Home) -> Rollback:
    return Rollback(Rollback.open({"guest": "idp", "home": str(home.root)}))


def test_a_source_that_was_asked_to_shut_down_is_watched_and_started_again_when_it_goes_off(home: Home, xl: Path) -> None:
    asked(home)
    (xl / "leaving").write_text("8\n")
    way, told = back(home), []
    runs = way.complete()
    assert not runs, "it shows as running, and goes off by itself"
    assert "nobody can call back" in runs.found
    assert not way.settled()
    assert "asked it at" in way.source()[0].found
    way.settle(lambda done, total, words: told.append(words))
    assert told
    assert "watched until" in told[0]
    assert way.settled()
    assert not way.complete()
    way.start()
    assert (xl / "calls").read_text().startswith("create")
    assert way.complete(), "it is another domain, which nobody has asked"
    assert way.settled()


def test_a_source_whose_new_machine_is_a_contractors_starts_after_a_persons_word_alone(home: Home, xl: Path) -> None:
    text = home.site_file.read_text()
    line = 'vsphere: { handover: true, contractor: "Kita, 0166-00-0000" }\n\n'
    home.site_file.write_text(text[: text.index("vsphere:")] + line + text[text.index("dom0s:") :])
    (xl / "running").unlink()
    word = home.folder("idp") / "machine-off.json"
    said = word.read_bytes()
    word.unlink()
    way = back(home)
    assert not way.out_of_service()
    with pytest.raises(
        Refused, match=r"1\. Call Kita, 0166-00-0000(.|\n)*2\. Ask them to power idp off(.|\n)*3\. Start the source"
    ):
        way.start()
    assert not (xl / "calls").exists()
    word.write_bytes(said)
    assert way.out_of_service().unseen == "not seen", "a person's word, and nothing that was seen"
    way.start()
    assert (xl / "calls").read_text().startswith("create")
    assert way.complete()


def test_a_person_who_goes_back_by_hand_is_told_of_it_too(home: Home, xl: Path) -> None:
    asked(home)
    (home.folder("idp") / "machine-off.json").unlink()
    way = back(home)
    with pytest.raises(Refused, match="start it only where it is off"):
        way.start()
    with pytest.raises(Refused, match=r"xl create(.|\n)*nobody can call back: until \d\d:\d\d:\d\dZ start it only"):
        way.take_out()


def test_one_that_is_still_there_when_its_time_is_over_is_in_service(home: Home, xl: Path) -> None:
    asked(home, ago=299)
    way = back(home)
    way.settle()
    assert way.settled()
    runs = way.complete()
    assert runs
    assert "it is still there" in runs.found
    assert not (xl / "calls").exists()


@pytest.mark.parametrize(
    ("step", "title", "state", "found", "over"),
    [
        ("70-cutover", "the source is off", "done", "not in the list of domains", True),
        ("70-cutover", "the source is off", "already", "not in the list of domains", True),
        ("70-cutover", "the source is off", "failed", "Refused: idp is not shut down", True),
        ("75-rollback", "the source is back in service", "done", "idp (ID 9)", True),
        ("70-cutover", "the source is off", "failed", "KeyboardInterrupt: ", False),
        ("70-cutover", "the source is off", "failed", "ToolFailed: xl took too long and was ended", False),
        ("75-rollback", "the source is back in service", "already", "idp (ID 7)", False),
        ("75-rollback", "the source is back in service", "failed", "Refused: a person has to start idp", False),
        ("70-cutover", "ping every segment", "done", "", False),
    ],
)
def test_whether_it_was_seen_through_is_told_by_the_journal(
    home: Home, xl: Path, step: str, title: str, state: str, found: str, over: bool
) -> None:
    asked(home).append("step", step=step, title=title, state=state, found=found)
    assert (shutdown.pending(Journal(home.folder("idp") / "journal.jsonl")) is None) == over
    assert bool(back(home).complete()) == over


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("9999-01-01T00:00:00+00:00", 300),
        ("2001-01-01T00:00:00+00:00", 0),
        ("2026-11-22T00:00:00", 300),
        ("yesterday", 300),
        ("", 300),
    ],
)
def test_a_clock_that_is_off_makes_it_wait_five_minutes_at_most(home: Home, written: str, seconds: float) -> None:
    journal = Journal(home.folder("idp") / "journal.jsonl")
    journal.append("start", step="70-cutover", title="the source is off", time=written)
    found = shutdown.pending(journal)
    assert found
    assert found.left == pytest.approx(seconds, abs=1)


def test_of_a_dom0_that_is_only_a_folder_nothing_is_claimed_and_nothing_waited_for(home: Home, xl: Path) -> None:
    asked(home)
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("root: /", "root: outputs/lab/dom0"))
    way = back(home)
    assert way.settled()
    assert "whether it runs cannot be seen" in way.settled().found
    assert not way.complete()


def test_a_list_that_fails_for_a_moment_does_not_end_the_watch(home: Home, xl: Path) -> None:
    asked(home, ago=200)
    (xl / "deaf").touch()
    way = back(home)
    assert not way.settled()
    assert not way.complete()


def test_a_journal_that_cannot_be_read_stands_in_nobodys_way(home: Home, xl: Path) -> None:
    os.mkfifo(home.folder("idp") / "journal.jsonl")
    way = back(home)
    assert way.settled()
    assert way.complete()


def test_a_shutdown_is_known_by_the_codes_of_what_70_and_75_ask_for(home: Home, xl: Path) -> None:
    off = dom0.source_off(home, home.site(), home.guest("idp"))
    assert ((CUTOVER.id, off.code), (ROLLBACK.id, back(home).complete().code)) == (shutdown.ASKED, shutdown.BACK)


@pytest.mark.parametrize(("kind", "over"), [("Refused", True), ("BadInput", True), ("ToolFailed", False)])
def test_an_action_that_was_never_begun_has_asked_nobody(home: Home, xl: Path, kind: str, over: bool) -> None:
    journal = Journal(home.folder("idp") / "journal.jsonl")
    journal.append("start", step="70-cutover", title="off with it", code="source-off", time=datetime.now(UTC).isoformat())
    journal.append("step", step="70-cutover", title="off with it", code="source-off", state="failed", kind=kind, found="…")
    assert (shutdown.pending(journal) is None) == over
