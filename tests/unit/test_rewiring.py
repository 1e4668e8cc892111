"""A NIC is put on another segment on the page of the plan: the guest's file changes there and nowhere else, and on record."""

import stat
from pathlib import Path
from typing import Any

import pytest

from hikkoshi import files, show
from hikkoshi.approval import approval
from hikkoshi.approval.plan import Plan
from hikkoshi.errors import BadInput, Busy, Refused
from hikkoshi.params.home import Home
from hikkoshi.run import lock
from hikkoshi.run.journal import Journal
from hikkoshi.sitefolder import rewiring
from hikkoshi.steps.plan import PlanMove
from journey import MAC, Move

HEAD = "# ours\nname: idp\nconfig: /etc/xen/idp # as on the Dom-0\ndom0: xenhost\n"
NEW = "00:16:3e:01:00:0f"
ADDED = f'- {{ mac: "{NEW}", segment: vlan301 }}'


def change(home: Home, nics: str, **wanted: str) -> rewiring.Rewiring:
    """What becomes of the file of idp with this list of NICs; `wanted`: of the NIC of idp, and of a new one."""
    path = home.guest_file("idp")
    path.write_bytes((HEAD + nics).encode())
    macs = {"own": MAC, "new": NEW}
    return rewiring.of(home, "idp", files.sha256(path), {macs[name]: segment for name, segment in wanted.items()})


@pytest.mark.parametrize(
    "nics",
    [
        f'nics:\n  - {{ mac: "{MAC}", segment: SEGMENT }} # eth0\n# the end\n',
        f"nics: # one\n- segment: SEGMENT # eth0\n  mac: '{MAC.upper()}'\nwave: 3\n",
        f"nics: [{{mac: {MAC}, segment:   SEGMENT}}]",
        f"nics:\r\n    - mac: {MAC}\r\n      segment: SEGMENT\r\n",
    ],
)
def test_one_word_changes_and_all_else_stays_byte_for_byte(home: Home, nics: str) -> None:
    found = change(home, nics.replace("SEGMENT", "servers"), own="vlan301")
    assert found.after == HEAD + nics.replace("SEGMENT", "vlan301")
    assert change(home, nics.replace("SEGMENT", '"servers"'), own="vlan301").after == found.after
    assert [line[0] for line in found.diff.splitlines()[2:] if line[0] in "+-"] == ["-", "+"]
    assert change(home, nics.replace("SEGMENT", "servers"), own="servers").diff == ""


@pytest.mark.parametrize(
    ("nics", "after"),
    [
        (
            "nics:\n  - { mac: M, segment: servers } # eth0\nwave: 3\n",
            "nics:\n  - { mac: M, segment: servers } # eth0\n  A\nwave: 3\n",
        ),
        ("nics:\n- mac: M\n  segment: servers", "nics:\n- mac: M\n  segment: servers\nA"),
        ("nics: [] # FILL IN\n# - a line\n", "nics: # FILL IN\n  A\n# - a line\n"),
        ("nics: [ { mac: M, segment: servers } ]\n", f"nics: [ {{ mac: M, segment: servers }}, {ADDED[2:]} ]\n"),
        (
            "nics:\n  - { mac: M,\n      segment: servers\n    }\r\n",
            "nics:\n  - { mac: M,\n      segment: servers\n    }\r\n  A\r\n",
        ),
        (
            "nics:\n  - { mac: M, segment: servers }\nvm:\n  memory_mb: 512\r\n",
            "nics:\n  - { mac: M, segment: servers }\n  A\nvm:\n  memory_mb: 512\r\n",
        ),
    ],
)
def test_a_nic_that_the_file_lacks_gets_a_line_of_its_own(home: Home, nics: str, after: str) -> None:
    found = change(home, nics.replace("M", MAC), new="vlan301")
    assert found.after == HEAD + after.replace("M", MAC).replace("A", ADDED)


def test_a_segment_whose_name_looks_like_a_number_stands_in_quotes(home: Home) -> None:
    home.site_file.write_text(home.site_file.read_text().replace("  vlan301:", '  "301":'))
    assert 'segment: "301"' in change(home, f"nics:\n  - {{ mac: {MAC}, segment: servers }}\n", own="301").after


@pytest.mark.parametrize("segment", ["&one servers", "|-\n      servers\n   ", '"serv\\x65rs"'])
def test_a_form_that_is_not_changed_here_is_refused_with_the_line_to_type(home: Home, segment: str) -> None:
    nics = f"nics:\n  - mac: {MAC}\n    segment: {segment}\n"
    with pytest.raises(BadInput, match=r"write it into the file: - \{ mac: ") as told:
        change(home, nics, own="vlan301")
    assert (told.value.problems[0].code, home.guest_file("idp").read_text()) == ("nics-form-unusual", HEAD + nics)


@pytest.mark.parametrize("text", ['{"name": "idp", "config": "/x", "dom0": "xenhost", "nics": []}'])
def test_a_form_that_would_become_no_yaml_is_refused_as_a_form_and_the_file_is_not_called_wrong(home: Home, text: str) -> None:
    path = home.guest_file("idp")
    path.write_text(text)
    with pytest.raises(BadInput, match=r"write it into the file: - \{ mac: ") as told:
        rewiring.of(home, "idp", files.sha256(path), {NEW: "vlan301"})
    assert told.value.problems[0].code == "nics-form-unusual"


def test_a_comment_between_empty_brackets_is_not_lost(home: Home) -> None:
    with pytest.raises(BadInput, match="written in a form in which it is not changed here"):
        change(home, "nics: [\n  # none: asked on Monday\n]\n", new="vlan301")


def test_what_reading_the_file_refuses_is_refused_before_it_is_written(home: Home) -> None:
    with pytest.raises(BadInput, match="unknown segment"):
        change(home, f"nics:\n  - {{ mac: {MAC}, segment: servers }}\n", own="vlan999")


@pytest.fixture
def step(home: Home) -> PlanMove:
    """20 of the identity provider, opened, after a plan was made and approved."""
    move = Move(home)
    move.results("60-deploy")
    move.approve()
    assert approval.check(home, "idp", move.plan)
    return PlanMove(PlanMove.open({"guest": "idp", "home": str(home.root)}))


def entries(step: PlanMove) -> list[Any]:
    return [e for e in Journal(step.run.folder.journal).entries() if e.event == "rewired"]


def test_what_is_written_is_on_record_and_the_plan_before_counts_no_more_nor_does_its_approval(step: PlanMove) -> None:
    home, path = step.run.home, step.run.home.guest_file("idp")
    before = Plan.load(step.run.folder)
    path.chmod(0o640)
    old = files.sha256(path)
    assert "run this notebook again from its first cell" in step.rewire({MAC: "vlan301"})
    (line,) = entries(step)
    assert (line.of, line["before"], line["after"]) == (step.run.id, old, files.sha256(path))
    assert line["nics"] == [{"mac": MAC, "before": "servers", "after": "vlan301"}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.glob("*.part")) == []
    refused = approval.check(home, "idp", before)
    assert (bool(refused), "vlan301" in refused.found) == (False, True)
    with pytest.raises(Refused, match="parameters were changed since this run began"):
        step.start()
    step.run.close("completed")
    again = PlanMove(PlanMove.open({"guest": "idp", "home": str(home.root)}))
    again.start()
    assert "another plan" in approval.check(home, "idp", Plan.load(again.run.folder)).found


def test_a_file_that_was_changed_since_the_run_began_is_not_written_over(step: PlanMove) -> None:
    path = step.run.home.guest_file("idp")
    path.write_text(path.read_text() + "wave: 2\n")
    with pytest.raises(Refused, match="changed since this run began"):
        step.rewire({MAC: "vlan301"})
    assert (path.read_text()[-8:], entries(step)) == ("wave: 2\n", [])


def test_a_file_that_somebody_changes_while_it_goes_on_record_is_not_written_over(
    step: PlanMove, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, append = step.run.home.guest_file("idp"), Journal.append

    def late(journal: Journal, event: str, **facts: Any) -> Any:
        if event == "rewired":
            path.write_text(path.read_text() + "wave: 2\n")
        return append(journal, event, **facts)

    monkeypatch.setattr(Journal, "append", late)
    with pytest.raises(Refused, match="changed since this run began"):
        step.rewire({MAC: "vlan301"})
    last = [*Journal(step.run.folder.journal).entries()][-1]
    assert (path.read_text()[-8:], last.event, last["file"]) == ("wave: 2\n", "not-rewired", "params/guests/idp.yml")


def test_a_file_that_is_a_link_stays_one(step: PlanMove, tmp_path: Path) -> None:
    path, there = step.run.home.guest_file("idp"), tmp_path / "kept.yml"
    path.rename(there)
    path.symlink_to(there)
    step.rewire({MAC: "vlan301"})
    assert (path.is_symlink(), "vlan301" in there.read_text()) == (True, True)


def test_what_cannot_go_on_record_is_not_written(step: PlanMove) -> None:
    path = step.run.home.guest_file("idp")
    before = path.read_bytes()
    step.run.folder.journal.unlink()
    step.run.folder.journal.mkdir()
    with pytest.raises(BadInput, match="the journal is not a file"):
        step.rewire({MAC: "vlan301"})
    step.run.folder.journal.rmdir()
    assert (path.read_bytes(), list(path.parent.glob("*.part"))) == (before, [])


def test_after_the_run_has_ended_it_is_written_only_where_no_other_is_at_work(step: PlanMove) -> None:
    step.run.close("completed")
    with lock.acquire(step.run.folder.lock, "another run", wait=0), pytest.raises(Busy):
        step.rewire({MAC: "vlan301"})
    assert entries(step) == []
    step.rewire({MAC: "vlan301"})
    assert not lock.held(step.run.folder.lock)


def test_the_page_offers_each_nic_shows_the_change_and_writes_at_the_button(
    step: PlanMove, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(show, "display", lambda thing, **_: shown.append(thing))
    show.rewiring(step)
    assert "where somebody can click" in shown.pop()["text/plain"]
    monkeypatch.setattr(show, "interactive", lambda: True)
    show.rewiring(step)
    select, button, _ = shown.pop().children
    assert (select.description, select.value, button.disabled) == (f"xenbr210 · eth0 · {MAC}", "servers", True)
    assert ("vlan301 · VLAN 301 · dv-vlan301", "vlan301") in select.options
    assert shown.pop()["text/plain"] == "no change"
    select.value = "vlan301"
    assert ('+  - { mac: "00:16:3e:01:00:00", segment: vlan301 }' in shown[-1]["text/plain"], button.disabled) == (True, False)
    assert "servers" in step.run.home.guest_file("idp").read_text()
    button.click()
    assert "Now run this notebook again" in shown[-1]["text/plain"]
    assert (select.disabled, button.disabled, step.run.home.guest("idp").nics[0].segment) == (True, True, "vlan301")
    button.click()
    assert "changed since this run began" in shown[-1]["text/plain"]
