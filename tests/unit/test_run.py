"""The spine: observe, act, observe."""

import errno
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from hikkoshi import show
from hikkoshi.check import UNSEEN, Check, Unseen
from hikkoshi.errors import BadInput, Busy, HikkoshiError, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.figures.exhibits import Exhibit
from hikkoshi.params.home import Home
from hikkoshi.run import confirmation, lock, row, run
from hikkoshi.run.confirmation import Confirmation
from hikkoshi.run.group import groups
from hikkoshi.run.run import Run, open_run
from hikkoshi.run.step import READ_ONLY
from hikkoshi.run.turn import Turn
from hikkoshi.show import lists
from hikkoshi.translation import aligned
from processes import PATIENCE, wait_for


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(run, "display", lambda thing: lines.append(str(thing)))
    monkeypatch.delenv("HIKKOSHI_RUN", raising=False)
    return lines


def opened(home: Home, mode: str = "apply", **more: object) -> Run:
    return open_run("40-convert", {"guest": "idp", "mode": mode, "home": str(home.root), **more}, wait=0.1)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return tmp_path / "made"


def states(r: Run) -> list[str]:
    return [e["state"] for e in r.journal.entries() if e["event"] == "step"]


def test_plan_only_looks_and_says_would(home: Home, world: Path) -> None:
    r = opened(home, "plan")
    r.ensure("make it", holds=world.exists, act=lambda _: world.touch())
    assert not world.exists()
    assert states(r) == ["would"]
    r.close("completed")


def test_plan_is_the_default(home: Home) -> None:
    r = open_run("40-convert", {"guest": "idp", "home": str(home.root)})
    assert r.mode == "plan"
    r.close("completed")


def test_apply_acts_once_and_a_repeat_finds_it_already_done(home: Home, world: Path) -> None:
    r = opened(home)
    for _ in range(2):
        r.ensure("make it", holds=world.exists, act=lambda _: world.touch(exist_ok=False))
    assert states(r) == ["done", "already"]
    r.close("completed")


def test_an_action_that_does_not_make_it_so_stops_the_run(home: Home, world: Path) -> None:
    r = opened(home)
    with pytest.raises(StepFailed, match="carried out, but"):
        r.ensure(
            "make it",
            holds=lambda: Check(
                code="a-code", title="it is there", ok=world.exists(), found="nothing", expected="a file", remedy="look"
            ),
            act=lambda _: None,
        )
    assert states(r) == ["failed"]
    r.close("failed")


def test_a_failing_action_is_in_the_journal_before_the_error_goes_on(home: Home) -> None:
    r = opened(home)
    with pytest.raises(ZeroDivisionError):
        r.ensure("divide", holds=lambda: False, act=lambda _: 1 / 0)
    assert states(r) == ["failed"]
    r.close("failed")


def test_an_action_that_fails_is_tried_once(home: Home) -> None:
    tries: list[int] = []

    def act(_: object) -> None:
        tries.append(1)
        raise ToolFailed(Problem(code="a-code", what="a hiccup"))

    r = opened(home)
    with pytest.raises(ToolFailed):
        r.ensure("make it", holds=lambda: False, act=act)
    assert tries == [1]
    r.close("failed")


def test_preflight_shows_all_checks_and_refuses_with_all_the_bad_ones(home: Home, shown: list[str]) -> None:
    r = opened(home)
    with pytest.raises(Refused) as caught:
        r.preflight(
            [
                Check(code="a-code", title="good", ok=True),
                Check(code="a-code", title="bad", ok=False, found="1", expected="2", remedy="mend"),
                Check(code="a-code", title="worse", ok=False),
            ]
        )
    assert [p.what for p in caught.value.problems] == ["a check failed: bad", "a check failed: worse"]
    assert all(word in shown[-1] for word in ("good", "bad", "worse"))
    r.close("failed")


def test_a_check_may_wait_for_an_earlier_step_in_plan_but_not_in_apply(home: Home) -> None:
    waiting = [Check(code="a-code", title="the copy is there", ok=False, later=True)]
    r = opened(home, "plan")
    r.preflight(waiting)
    r.close("completed")
    r = opened(home, "apply")
    with pytest.raises(Refused):
        r.preflight(waiting)
    r.close("failed")


def test_verify_fails_in_apply_and_only_tells_in_plan(home: Home) -> None:
    r = opened(home, "plan")
    r.verify([Check(code="a-code", title="moved", ok=False)])
    r.close("completed")
    r = opened(home, "apply")
    with pytest.raises(StepFailed):
        r.verify([Check(code="a-code", title="moved", ok=False)])
    r.close("failed")


@pytest.mark.parametrize("step", READ_ONLY)
def test_verify_fails_in_a_step_that_only_reads_whatever_its_mode(home: Home, step: str) -> None:
    r = run.open_run(step, {"guest": "gateway", "mode": "plan", "home": str(home.root)})
    with pytest.raises(StepFailed):
        r.verify([Check(code="a-code", title="the report is there", ok=False)])
    r.close("failed")


@pytest.mark.parametrize("word", UNSEEN)
@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_what_nobody_has_looked_at_stops_nothing_and_is_never_called_done(
    home: Home, shown: list[str], mode: str, word: Unseen
) -> None:
    r, acted = opened(home, mode), list[str]()
    looked = Check(code="a-code", title="the source is off", ok=True, found="a folder", unseen=word)
    r.ensure("the source is off", holds=lambda: looked, act=lambda _: acted.append("act"))
    r.preflight([looked])
    r.verify([looked, Check(code="a-code", title="all else", ok=True)])
    r.close("completed")
    assert not acted
    assert states(r) == [word]
    assert [e["state"] for e in r.journal.entries() if e["event"] in ("preflight", "verify")] == [word, "ok"]
    checks = [c["state"] for e in r.journal.entries() for c in e.get("checks", [])]
    assert checks == [word, word, "ok"]
    assert all(f"{word} " in line and "already" not in line for line in shown)


def test_what_is_acted_upon_and_then_cannot_be_seen_is_not_done(home: Home) -> None:
    r = opened(home)
    told = iter(
        [Check(code="a-code", title="it runs", ok=False), Check(code="a-code", title="it runs", ok=True, unseen="not seen")]
    )
    r.ensure("it runs", holds=lambda: next(told), act=lambda _: None)
    assert states(r) == ["not seen"]
    r.close("completed")


def test_every_state_has_its_colour_and_mark_in_a_notebook() -> None:
    states = {state for part in get_args(run.State) for state in (get_args(part) or [part])}
    assert set(lists.COLOURS) == set(lists.MARKS) == states
    checks = (
        Check(code="a-code", title="a", ok=True),
        Check(code="a-code", title="b", ok=True, unseen="not seen"),
        Check(code="a-code", title="c", ok=True, unseen="not measured"),
    )
    page = lists.checklist(row.Checklist("verify", checks))
    assert "overflow-wrap:anywhere" in page  # two digests side by side, or they would be cut off where the page ends
    assert "3 checks, 1 as expected, 1 not seen, 1 not measured<" in page
    assert "1 check, 1 not measured<" in lists.checklist(row.Checklist("preflight", checks[2:]))
    assert "2 checks, 1 not as expected, 1 not seen<" in lists.checklist(
        row.Checklist("verify", (checks[1], Check(code="a-code", title="bad", ok=False)))
    )
    yet = Check(code="a-code", title="made", ok=False, later=True)
    assert "2 checks, 1 as expected, 1 later<" in lists.checklist(row.Checklist("preflight", (checks[0], yet)))
    assert "? not seen" in lists.row(row.Row("off", "not seen", 0))


def test_tables_speak_the_language_of_the_site_whose_run_is_open_with_the_own_words_below(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "lang", "en")
    monkeypatch.setattr(run, "opened", show._speak)
    off = Check(code="source-off", title="the source guest idp is off", ok=False)
    ours = [Check(code="of-our-own", title=f"ours {n}", ok=True) for n in range(6)]
    checks = row.Checklist("verify", (off, *ours))
    assert "<small>" not in lists.checklist(checks)
    home.site_file.write_text(home.site_file.read_text().replace("lang: en", "lang: ja"))
    opened(home).close("completed")
    page = lists.checklist(checks)
    assert "最終確認：確認項目 7 件、1 件は期待と異なる<" in page
    assert "<td>移行元のゲストが停止している<br><small>the source guest idp is off</small></td>" in page
    assert "✘ red</span><br><small>不適合</small></td>" in page
    unseen = row.Checklist("preflight", (Check(code="source-off", title="off", ok=True, unseen="not seen"), ours[0]))
    assert "事前確認：確認項目 2 件、1 件は期待どおり、1 件は観測されず<" in lists.checklist(unseen)
    assert "6 件は期待どおり<" in page
    assert "<td>ours 1</td>" in page
    assert "ディスクを変換する<br><small>convert the disk</small>" in lists.row(row.Row("convert the disk", "done", 1))
    assert "移行元" not in str(checks)


def test_columns_of_text_stand_below_each_other_where_letters_are_of_two_widths() -> None:
    assert aligned([("what", "found"), ("判定", "1"), ("NIC", "2")]) == ["what  found", "判定  1", "NIC   2"]


def test_a_long_list_shows_what_is_red_then_what_is_open_and_folds_what_is_good() -> None:
    good = [Check(code="a-code", title=f"NIC {n}", ok=True) for n in range(8)]
    open_one = Check(code="a-code", title="the vlan", ok=True, unseen="not seen")
    bad = Check(code="a-code", title="the port group", ok=False, remedy="correct it")
    page = lists.checklist(row.Checklist("preflight", (*good, open_one, bad)))
    places = [
        page.index(words)
        for words in ("the port group", "correct it", "the vlan", "<details>", "8 as expected", "NIC 0", "NIC 7")
    ]
    assert places == sorted(places)
    whole = lists.checklist(row.Checklist("verify", tuple(good)))
    assert (whole.startswith("<details><summary>"), whole.count("8 checks, all as expected")) == (True, 1)
    assert ("open" in whole, "NIC 7" in whole) == (False, True)


def test_good_checks_of_the_same_kind_are_a_line_a_group_on_the_page_and_as_text() -> None:
    wired = [Check(code="nic-wired", title=f"eth{n} is on s{n}", ok=True, found="VLAN 7") for n in range(10)]
    alone = [Check(code=f"code-{n}", title=f"thing {n}", ok=True) for n in range(3)]
    bad = Check(code="nic-wired", title="eth10 is on s10", ok=False, found="VLAN 8", expected="VLAN 7", remedy="correct it")
    mixed = row.Checklist("verify", (*alone, *wired, bad))
    page = lists.checklist(mixed)
    places = [page.index(w) for w in ("eth10", "10 NICs are connected", "eth0", "eth9", "3 more as expected", "thing 0")]
    assert (places, page.count("<details>")) == (sorted(places), 2)
    assert str(mixed).splitlines() == [
        "red          eth10 is on s10: VLAN 8  (expected VLAN 7)",
        "ok           10 NICs are connected to their port groups",
        "ok           3 more as expected",
    ]


def test_who_approved_a_plan_and_until_when_is_never_folded() -> None:
    good = [Check(code="a-code", title=f"good {n}", ok=True) for n in range(6)]
    approved = Check(code="plan-approved", title="the plan is approved", ok=True, found="approved by approver@lab until noon")
    told = row.Checklist("ready", (*good, approved))
    assert "approved by approver@lab until noon" in str(told)
    assert {words.format(count=len(alike)) for words, alike in told.folded.items()} == {"6 as expected"}


def test_checks_of_several_kinds_may_be_one_group() -> None:
    codes = ("machine-name", "machine-memory", "machine-disks", "machine-name")
    found = groups([Check(code=code, title=code, ok=True) for code in codes])
    assert {words.format(count=len(alike)) for words, alike in found.items()} == {"4 settings of the machine are as planned"}


def test_evidence_shows_what_failed_and_folds_the_rest_of_many_actions_and_files() -> None:
    rows = [row.Row(f"part {n}", "failed" if n == 3 else "done", 1) for n in range(8)]
    files = [{"file": f"outputs/{n}.json", "bytes": 512, "sha256": f"{n}" * 64} for n in range(8)]
    page = lists.evidence(row.Evidence(tuple(rows), tuple(files)))
    places = [page.index(w) for w in ("part 3", "<details>", "7 actions", "part 0", "8 files, 4.0 KiB", "0.json", "7" * 64)]
    assert places == sorted(places)
    assert str(row.Evidence(tuple(rows), ())).splitlines()[1:] == ["done         7 actions"]
    short = row.Evidence(tuple(rows[:6]), tuple(files[:5]))
    assert ("<details>" in lists.evidence(short), str(short).index("part 3") < str(short).index("part 0")) == (False, True)
    assert "SHA-256" not in lists.evidence(row.Evidence(tuple(rows), ()))


def test_a_table_folds_many_rows_whose_verdict_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(show, "display", lambda data, **_: shown.append(data))
    rows = [{"NIC": f"eth{n}", "verdict": "ok"} for n in range(6)]
    show.table([*rows, {"NIC": "eth6", "verdict": "silent"}], caption="seen")
    show.table(rows, caption="seen")
    show.table(rows[:5], caption="seen")
    places = [shown[0]["text/html"].index(w) for w in ("seen", "eth6", "<details>", "6 more rows", "eth0")]
    assert places == sorted(places)
    assert shown[0]["text/plain"].splitlines()[1:] == ["NIC   verdict", "eth6  silent", "ok           6 more rows"]
    assert shown[1]["text/plain"] == "ok           seen: 6 rows"
    assert shown[1]["text/html"].startswith("<details><summary>")
    assert ("<details>" in shown[1]["text/html"], "<details>" in shown[2]["text/html"]) == (True, False)


def test_a_short_list_is_folded_nowhere_and_every_state_has_its_place() -> None:
    few = tuple(Check(code="a-code", title=f"NIC {n}", ok=True) for n in range(5))
    assert "<details>" not in lists.checklist(row.Checklist("preflight", few))
    assert set(row.URGENCY) == set(lists.MARKS)


def test_a_line_of_progress_harms_nobody_where_no_ipython_runs(capsys: pytest.CaptureFixture[str]) -> None:
    show.progress("converting")(2, 2, "done")
    assert "converting" in capsys.readouterr().out


@pytest.mark.parametrize(("runs", "last"), [(7, "measure: ended after 0:00"), (20, "measure  100%  20 runs  (0:00)")])
def test_a_line_of_progress_does_not_stay_half_way_where_the_action_has_ended(
    home: Home, world: Path, monkeypatch: pytest.MonkeyPatch, runs: int, last: str
) -> None:
    lines: list[str] = []
    line = SimpleNamespace(update=lambda data, **_: lines.append(data["text/plain"]))
    monkeypatch.setattr(show, "display", lambda *_, **__: line)
    monkeypatch.setattr(run, "progress", show.progress)
    r = opened(home)
    r.ensure("measure", holds=world.exists, act=lambda told: (told(runs, 20, f"{runs} runs"), world.touch()))
    assert len(lines) == (2 if runs < 20 else 1)
    assert lines[-1] == last
    r.close("completed")


def test_a_small_share_is_written_without_an_exponent_as_text_too(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(show, "display", lambda data, **_: texts.append(data["text/plain"]))
    show.table([{"wrong": 5e-05, "at most": 0.00024, "series": 20000, "by chance": 1e-12}])
    assert texts[0].split("\n")[1].split() == ["0.00005", "0.00024", "20000", "1e-12"]


def test_a_table_without_rows_says_so_and_whether_there_may_be_some_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    monkeypatch.setattr(show, "display", lambda data, **_: pages.append(data["text/html"]))
    show.table(None, caption="modules")
    show.table([], caption="modules")
    show.exhibits([Exhibit("cause: unknown", rows=[])])
    show.table([{"finding": "LRO"}], caption="cause: LRO")
    assert pages[:3] == [f"<p><em>{told}</em></p>" for told in ("modules (not known yet)", "modules (none)", "cause: unknown")]
    assert ">cause: LRO</caption>" in pages[3]


def test_a_name_between_backticks_is_shown_as_in_the_runbooks_texts() -> None:
    check = Check(code="a-code", title="the window", ok=False, found="no `window` in <idp>", remedy="write `window`")
    page = lists.checklist(row.Checklist("preflight", (check,)))
    assert "<td>no <code>window</code> in &lt;idp&gt;</td>" in page
    assert "<td>write <code>window</code></td>" in page


def test_a_line_with_a_title_is_open_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    monkeypatch.setattr(show, "display", lambda data, **_: pages.append(data["text/html"]))
    show.text("the report", "outputs/<idp>.html")
    assert pages == ["<p>the report: <code>outputs/&lt;idp&gt;.html</code></p>"]


def test_the_journal_has_the_codes_of_what_was_looked_at_and_of_what_went_wrong(home: Home, shown: list[str]) -> None:
    r = opened(home)

    def act(_: object) -> None:
        raise ToolFailed(Problem(code="disk-full", what="the disk became full"))

    r.verify([Check(code="copy-there", title="it is there", ok=True, facts={"size": "1"})])
    with pytest.raises(ToolFailed):
        r.ensure("make it", holds=lambda: Check(code="copy-complete", title="it is there", ok=False), act=act)
    with pytest.raises(StepFailed):
        r.ensure("make it", holds=lambda: Check(code="copy-complete", title="it is there", ok=False), act=lambda _: None)
    lines = r.journal.entries()
    (check,) = next(e for e in lines if e["event"] == "verify")["checks"]
    assert (check["code"], check["facts"]) == ("copy-there", {"size": "1"})
    assert [e["code"] for e in lines if e["event"] in ("start", "step")] == ["copy-complete"] * 4
    failed = [(e["kind"], e["codes"]) for e in lines if e["event"] == "step"]
    assert failed == [("ToolFailed", ["disk-full"]), ("StepFailed", ["copy-complete"])]
    r.close("failed")


def test_evidence_names_every_file_with_its_hash_and_ends_the_run(home: Home, world: Path) -> None:
    world.write_text("abc")
    r = opened(home)
    evidence = r.evidence([world])
    assert evidence.artefacts[0]["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert r.journal.entries()[-1]["outcome"] == "completed"
    opened(home).close("completed")  # the guest is free again


@pytest.mark.parametrize(("step", "told"), [("40-convert", True), *[(step, False) for step in READ_ONLY]])
def test_a_run_tells_its_mode_where_it_has_one(home: Home, step: str, told: bool) -> None:
    r = open_run(step, {"guest": "idp", "home": str(home.root)}, wait=0.1)
    assert ("mode plan" in str(r)) is told


def test_a_misspelt_parameter_is_an_error_and_nothing_is_opened(home: Home) -> None:
    with pytest.raises(BadInput, match="did you mean guest"):
        opened(home, gest="gateway")
    assert not home.folder("idp").exists()


@pytest.mark.parametrize("names", [{"guest": ["idp"]}, {"guest": None}, {}, {"guest": "idp", "mode": 1}])
def test_a_parameter_that_is_no_text_is_an_error(home: Home, names: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="is not a text"):
        open_run("40-convert", {"home": str(home.root), **names})


def test_a_misspelt_parameter_is_an_error_whatever_its_type(home: Home) -> None:
    with pytest.raises(BadInput, match="did you mean guest"):
        opened(home, gest=["gateway"])


def test_a_home_that_is_named_is_taken_exactly(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIKKOSHI_HOME", "/nowhere")
    opened(home).close("completed")
    with pytest.raises(BadInput, match="no such folder"):
        open_run("40-convert", {"guest": "idp", "home": str(home.root / "params" / "nowhere")})


def test_a_secret_in_a_message_does_not_reach_the_journal(home: Home, shown: list[str]) -> None:
    password = home.root / "outputs" / "lab" / "vcenter.password"
    password.parent.mkdir(parents=True)
    password.write_text("correct horse\n")
    password.chmod(0o600)
    r = opened(home)

    def act(_: object) -> None:
        raise StepFailed(Problem(code="a-code", what="the server said: correct horse"))

    with pytest.raises(StepFailed):
        r.ensure("log in", holds=lambda: Check(code="a-code", title="logged in", ok=False, found="correct horse"), act=act)
    r.close("failed")
    assert "correct horse" not in r.journal.path.read_text() + "".join(shown)
    assert "‹file:outputs/lab/vcenter.password›" in r.journal.path.read_text()


def test_a_tampered_journal_does_not_stand_in_the_way_of_a_rollback(home: Home, shown: list[str]) -> None:
    r = opened(home)
    r.close("completed")
    r.journal.path.write_text(r.journal.path.read_text().replace('"mode":"apply"', '"mode":"plan"'))
    back = open_run("75-rollback", {"guest": "idp", "mode": "apply", "home": str(home.root)})
    assert "changed after it was written" in shown[-1]
    back.close("completed")


def test_a_misspelt_mode_is_an_error(home: Home) -> None:
    with pytest.raises(BadInput, match="did you mean apply"):
        opened(home, "aply")


def test_the_open_cell_may_be_run_again_in_the_same_kernel(home: Home) -> None:
    first = opened(home)
    second = opened(home)
    assert [e["outcome"] for e in first.journal.entries() if e["event"] == "end"] == ["reopened"]
    second.close("completed")


def test_a_second_run_on_a_guest_is_refused_and_told_who_holds_it(home: Home) -> None:
    code = (
        "import sys; from hikkoshi.run.run import open_run\n"
        f"r = open_run('40-convert', {{'guest': 'idp', 'mode': 'plan', 'home': {str(home.root)!r}}})\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(Busy, match=str(other.pid)):
            opened(home)
        other.communicate("")
    opened(home).close("completed")


def test_a_child_that_outlives_its_killed_parent_keeps_the_lock(home: Home) -> None:
    path = home.folder("idp") / "lock"
    code = (
        "import subprocess, sys; from pathlib import Path; from hikkoshi.run import lock\n"
        f"h = lock.acquire(Path({str(path)!r}), 'test', 0)\n"
        "p = subprocess.Popen(['sleep', '60'], close_fds=False); print(p.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    try:
        assert lock.held(path)
        with pytest.raises(Busy, match="sleep"):
            lock.acquire(path, "second", 0)
    finally:
        os.kill(child, 9)
    wait_for(lambda: not lock.held(path), "the lock is free")


def test_a_program_that_a_step_starts_dies_with_the_step(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; from hikkoshi import tool\n"
        "p = subprocess.Popen(tool.command(['sleep', '60']), close_fds=False); print(p.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "setpriv has done its work")
        parent.kill()
        parent.wait()
    wait_for(lambda: not _alive(child), "it is dead")


def test_a_tampered_journal_stops_the_next_run(home: Home) -> None:
    r = opened(home)
    r.close("completed")
    r.journal.path.write_text(r.journal.path.read_text().replace('"mode":"apply"', '"mode":"plan"'))
    with pytest.raises(BadInput, match="changed after it was written"):
        opened(home)


def test_an_error_has_four_parts_and_no_traceback_in_a_notebook() -> None:
    error = HikkoshiError(Problem(code="a-code", what="it broke", where="gateway", found="1", expected="2", remedy="mend it"))
    assert error._render_traceback_() == [
        "HikkoshiError: it broke\n  where:      gateway\n  found:      1\n  expected:   2\n  what to do: mend it",
        "  code:       a-code",
    ]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:  # it ended before it was looked for, or while its state was read
        return False


def test_a_run_acts_no_more_once_a_rollback_has_begun(home: Home, world: Path) -> None:
    r = opened(home)
    before = Turn(r.folder)
    before.claim()
    before.end()  # and is through already
    with pytest.raises(Refused, match="a rollback has begun since this run was opened"):
        r.ensure("make it", holds=world.exists, act=lambda _: world.touch())
    assert not world.exists()
    r.close("completed")
    r = opened(home)
    r.ensure("make it", holds=world.exists, act=lambda _: world.touch())
    assert states(r) == ["failed", "done"]
    r.close("completed")


def test_a_rollback_does_not_begin_in_the_middle_of_anothers_action(home: Home) -> None:
    other, rollback = Turn(home.folder("idp")), Turn(home.folder("idp"))
    with other.acting():
        other.take()
        with pytest.raises(Busy, match="in the middle of an action"):
            rollback.claim(wait=0)
    rollback.claim(wait=0)
    with pytest.raises(Refused, match="acts no more"), other.acting():
        pass
    late = Turn(home.folder("idp"))
    with late.acting(), pytest.raises(Refused, match="another run acts"):
        late.take()
    rollback.end()


def test_a_second_rollback_does_not_stop_the_first_one(home: Home) -> None:
    first, second = Turn(home.folder("idp")), Turn(home.folder("idp"))
    first.claim(wait=0)
    with pytest.raises(Busy, match="in the middle of an action"):
        second.claim(wait=0)
    with first.acting():
        pass
    first.end()


def test_a_rollback_sees_who_is_at_work_where_it_may_not_write(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    other, rollback = Turn(home.folder("idp")), Turn(home.folder("idp"))

    def updated(path: Path) -> object:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def utime(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with other.acting():
        other.take()
        monkeypatch.setattr("hikkoshi.files.updated", updated)  # what root meets, too, on a file system without writing
        monkeypatch.setattr(os, "utime", utime)
        with pytest.raises(Busy, match="in the middle of an action"):
            rollback.claim(wait=0)
    rollback.claim(wait=0)
    with rollback.acting():
        pass
    rollback.end()


def test_a_rollback_does_not_wait_for_a_pipe_in_the_place_of_its_lock(home: Home) -> None:
    folder = home.folder("idp")
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "turn.lock")
    os.mkfifo(folder / "lock")
    code = "import sys; from hikkoshi.run.turn import Turn, locked; from hikkoshi.params.folder import GuestFolder"
    code += "; f = GuestFolder(sys.argv[1]); Turn(f).claim(); locked(f, 'r', 0)"
    subprocess.run([sys.executable, "-c", code, folder], check=True, timeout=PATIENCE)


def test_a_rollback_need_not_wait_for_an_action_that_only_looks(home: Home) -> None:
    other, rollback = Turn(home.folder("idp")), Turn(home.folder("idp"))
    with other.acting():
        rollback.claim(wait=0)
    rollback.end()


def test_a_rollback_goes_on_where_a_notebook_holds_the_guest(home: Home, shown: list[str]) -> None:
    path = home.folder("idp") / "lock"
    with closing(lock.acquire(path, "20260101T000000Z-70-cutover", 0)):
        with pytest.raises(Busy):
            opened(home)
        r = open_run("75-rollback", {"guest": "idp", "mode": "apply", "home": str(home.root)}, wait=0.1)
        assert any("20260101T000000Z-70-cutover" in line and "goes on all the same" in line for line in shown)
        r.close("completed")


def test_a_list_of_which_nothing_was_seen_is_not_ok_whatever_the_words() -> None:
    blind = [
        Check(code="a-code", title="a", ok=True, unseen="not seen"),
        Check(code="a-code", title="b", ok=True, unseen="not measured"),
    ]
    assert run._together(blind, []) == "not seen"
    assert run._together([*blind, Check(code="a-code", title="c", ok=True)], []) == "ok"


def test_before_a_cut_over_acts_a_word_that_the_machine_is_off_counts_no_more(home: Home) -> None:
    word = Confirmation(guest="idp", machine="idp", by="root@here", time=datetime.now(UTC))
    folder = home.folder("idp")
    folder.mkdir(parents=True)
    word.save(folder)
    r = open_run("70-cutover", {"guest": "idp", "mode": "apply", "home": str(home.root)}, wait=0.1)
    with pytest.raises(Refused):  # nothing is approved; but who comes so far is about to act
        r.permit()
    assert not confirmation.given(folder, "idp")
    r.close("failed")
