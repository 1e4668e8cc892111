"""The page that an approver signs: what changes, what is for good, how long, what is proved; and never more than is known."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

import journey
from hikkoshi.approval import approval, approver, plan, proposal
from hikkoshi.approval.plan import Plan
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Origin, Part
from hikkoshi.disk.pieces import Arriving, of_zeros
from hikkoshi.disk.standing import Standing
from hikkoshi.guest.survey import Survey
from hikkoshi.params.guest import ToolsWish
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.outcome import BootOutcome, Ending, SeenNic
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report.language import spoken
from hikkoshi.run import duration
from hikkoshi.run.entry import JournalEntry
from hikkoshi.steps.plan import rows
from hikkoshi.translation import width
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi_lab import keys

DATA = Path(__file__).parents[1] / "data" / "survey"
VMDK = "a" * 64


@pytest.fixture
def decided(home: Home) -> Plan:
    survey = Survey.model_validate_json((DATA / "gateway.json").read_bytes())
    return plan.make(home, home.guest("gateway"), home.site(), survey)


def page(home: Home, decided: Plan, *entries: JournalEntry) -> str:
    """The page as one line, so that it does not matter where lines are broken."""
    return " ".join(proposal.page(home, "gateway", decided, duration.seconds(entries)).split())


def done(step: str, seconds: float, state: str = "done", run: str = "1") -> JournalEntry:
    return JournalEntry.of_line({"event": "step", "step": step, "run": run, "state": state, "seconds": seconds})


def converted(home: Home) -> None:
    Conversion(
        vmdk="gateway.vmdk",
        vmdk_bytes=1,
        vmdk_sha256=VMDK,
        vmdk_sha1="b" * 40,
        virtual_bytes=1,
        copy_bytes=1,
        copy_digest="c",
        level="fast",
        threads=2,
        qemu_img="7.2.22",
        samples=(),
        seconds=9,
    ).save(home.folder("gateway"))


def rehearsed(home: Home, decided: Plan, *, ending: Ending = Ending.LOGIN, plan_hash: str = "", nics: int = 10) -> None:
    seen = [
        SeenNic(name=n.name, mac=n.mac, driver="vmxnet3", addresses=(n.address,) if n.address else ())
        for n in decided.machine.nics[:nics]
    ]
    after = BootOutcome(
        ending=ending,
        words="gateway login:",
        seconds=21.4,
        accelerator="tcg",
        controller="pvscsi",
        nic_model="vmxnet3",
        kernel="6.1.0-56-amd64",
        root="/dev/sda2",
        nics=tuple(seen),
        failed=("kudzu",),
        picture="p",
        screen="s",
        console="c",
        disk_unchanged=True,
    )
    Rehearsal(vmdk_sha256=VMDK, plan_hash=plan_hash or decided.hash, before=None, after=after).save(home.folder("gateway"))


def deployed(home: Home, decided: Plan, *warnings: str) -> None:
    Deployment(
        guest="gateway",
        server="vc",
        moid="vm-7",
        name="gateway",
        instance_uuid="",
        host="esx1",
        plan_hash=decided.hash,
        vmdk_bytes=1,
        vmdk_sha1="b" * 40,
        vmdk_sha256=VMDK,
        manifest="checksums agree",
        warnings=warnings,
        seconds=4,
        nics=(),
    ).save(home.folder("gateway"))


def test_the_page_is_in_the_language_of_whoever_signs_it(home: Home, decided: Plan) -> None:
    converted(home)
    rehearsed(home, decided)
    shown = proposal.page(home, "gateway", decided, {}, *spoken("ja"))
    lines = shown.splitlines()
    assert {"承認の対象", "元に戻せないこと", "停止時間の見込み"} <= set(lines)
    assert "  - ゲストはログイン画面まで進む: gateway login:" in lines
    points = re.split(r"\n\n|\n  - ", shown)
    assert [p for p in points if len(p.split()) > 3 and not re.search("[ぁ-んァ-ヶ一-龠]", p)] == []
    assert [line for line in lines if width(line) > 100 or line.lstrip().startswith(("、", "。"))] == []


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_words_of_others_cannot_pass_for_a_line_of_the_page(home: Home, decided: Plan, lang: str) -> None:
    converted(home)
    deployed(home, decided, "ＶＭＤＫ 警告。\n\nOK\n  - OK")
    lines = proposal.page(home, "gateway", decided, {}, *spoken(lang)).splitlines()
    assert any(line.endswith("警告。  OK   - OK") for line in lines)
    assert [line for line in lines if line.split() in (["OK"], ["-", "OK"])] == []


def test_every_nic_every_file_and_every_program_is_told(home: Home, decided: Plan) -> None:
    told = page(home, decided)
    for nic in decided.vm.nics:
        assert f"{nic.name} {nic.mac} {nic.segment} {nic.vlan} {nic.port_group}" in told
    for edit in decided.preparation.edits:
        assert f"{edit.path}: {edit.why}" in told
    for command in decided.preparation.commands:
        assert " ".join(command) in told
    assert decided.hash in told
    assert "127.0.0.1:8989" in told


def test_what_is_not_moved_is_told_with_what_a_rollback_starts(home: Home) -> None:
    survey = Survey.model_validate_json((DATA / "gateway.json").read_bytes())
    guest = home.guest("gateway").model_copy(update={"start_config": Path("/etc/xen/whole")})
    left = survey.model_copy(update={"left_out": ("xvdb (/srv/data.img)",)})
    decided = plan.make(home, guest, home.site(), left)
    told = page(home, decided)
    assert "NOT moved, left on the Dom-0: xvdb (/srv/data.img)" in told
    assert "the source is started from /etc/xen/whole" in told
    assert {"what": "NOT moved", "planned": "xvdb (/srv/data.img)"} in rows(decided)
    assert decided.hash != plan.make(home, guest, home.site(), survey).hash


def test_no_line_is_wider_than_a_terminal(home: Home, decided: Plan) -> None:
    assert max(map(len, proposal.page(home, "gateway", decided, {}).splitlines())) <= 100


def test_where_nothing_was_tried_nothing_is_known(home: Home, decided: Plan) -> None:
    told = page(home, decided)
    assert "starting the machine: not known yet, nothing was rehearsed" in told
    assert "so in all: not known yet" in told
    assert "nothing yet: this is a plan, and no more" in told
    assert "whether the guest starts on VMware's hardware is not known" in told


def test_what_was_rehearsed_is_told_with_what_it_rests_on(home: Home, decided: Plan) -> None:
    converted(home)
    rehearsed(home, decided)
    told = page(home, decided)
    assert "starting the machine: 21 s in the rehearsal, on QEMU with tcg, not on ESXi" in told
    assert "every NIC has its name, driver and address: 10/10" in told
    assert "which services did not start" not in told
    assert "services that did not start in the rehearsal: kudzu" in told
    assert "RED" not in told


def test_the_steps_that_a_changing_guest_needs_again_count_as_long_as_they_last_took(home: Home, decided: Plan) -> None:
    converted(home)
    rehearsed(home, decided)
    steps = [done(s, n * 10.0) for n, s in enumerate(proposal.AGAIN, 1)]
    told = page(home, decided, *steps)
    assert "so at least 21 s as rehearsed (ESXi may differ), or 231 s with these" in told
    assert "then somebody has to approve again, since another disk is another plan" in told
    assert "so in all: not known yet" in page(home, decided, *steps[:3])


def test_a_step_that_only_looks_takes_from_its_beginning_to_its_evidence() -> None:
    lines = [("open", "01"), ("preflight", "20"), ("evidence", "31"), ("end", "59")]
    told = [{"event": event, "step": "10-survey", "run": "1", "time": f"2026-11-22T00:00:{s}+00:00"} for event, s in lines]
    entries = [JournalEntry.of_line(line) for line in told]
    assert duration.seconds(entries) == {"10-survey": 30.0}
    assert duration.seconds(entries[:2]) == {}


def test_a_run_that_found_all_done_says_nothing_of_how_long_it_takes(home: Home) -> None:
    entries = [
        done("40-convert", 100, run="1"),
        done("40-convert", 30, run="2"),
        done("40-convert", 2, "already", run="2"),
        done("40-convert", 1, "already", run="3"),
        JournalEntry.of_line({"event": "end", "step": "40-convert", "run": "2"}),
    ]
    assert duration.seconds(entries) == {"40-convert": 32}


def test_a_rehearsal_of_another_plan_or_disk_counts_for_nothing(home: Home, decided: Plan) -> None:
    rehearsed(home, decided)  # there is no VMDK that it could be of
    assert "rehearsal.json is of another plan or disk, and counts for nothing" in page(home, decided)
    converted(home)
    rehearsed(home, decided, plan_hash="f" * 64)
    told = page(home, decided)
    assert "rehearsal.json is of another plan or disk, and counts for nothing" in told
    assert "nothing was rehearsed by this plan" in told


def test_what_is_red_is_told_among_what_is_open(home: Home, decided: Plan) -> None:
    converted(home)
    rehearsed(home, decided, ending=Ending.KERNEL_PANIC, nics=9)
    proved, _, still = page(home, decided).partition("What is open")
    assert "RED: the guest comes to its login prompt" in still
    assert "RED: every NIC has its name, driver and address: 9/10: eth9: no NIC" in still
    assert "every NIC has its name" not in proved


def test_the_machine_that_stands_in_vsphere_is_told_with_its_warnings(home: Home, decided: Plan) -> None:
    converted(home)
    deployed(home, decided, "an old ESXi")
    told = page(home, decided)
    assert "gateway (vm-7) stands on esx1, vc, as planned; checksums agree" in told
    assert "vSphere's warning: an old ESXi" in told
    assert "60-deploy was not done" not in told


@pytest.mark.parametrize(("reading", "words"), [(420, "about 420 s, as in the survey"), (0, "how long that takes is not known")])
def test_how_long_the_outage_lasts_by_reading_a_device_again_is_told(
    home: Home, decided: Plan, reading: float, words: str
) -> None:
    converted(home)
    rehearsed(home, decided)
    known = Survey.model_validate_json((DATA / "gateway.json").read_bytes())
    known.save(home.folder("gateway"))
    took = [done(step, 10) for step in proposal.AGAIN]
    told = page(home, decided, *took)
    assert "block device" not in told, "a file is not read again"
    assert "so at least 21 s as rehearsed (ESXi may differ), or 81 s" in told
    device = known.disk.model_copy(update={"kind": "block device"})
    known.model_copy(update={"disk": device, "reading_seconds": reading}).save(home.folder("gateway"))
    told = page(home, decided, *took)
    assert words in told
    assert ("so at least 441 s as rehearsed (ESXi may differ), or 501 s" in told) is (reading > 0)


def test_that_a_device_on_a_dom0_over_ssh_is_hashed_once_more_is_told(home: Home, decided: Plan) -> None:
    image, place = home.folder("gateway").sources / "xvda.img", "ssh://dom0/dev/vg0/gateway"
    volume = Standing(device=True, bytes=512, allocated=512, name="LVM-a", boot="b", sectors=1)
    with Arriving(image, place, volume) as arriving:
        arriving.keep(0, None, of_zeros(512))
        arriving.finish()
    known = Survey.model_validate_json((DATA / "gateway.json").read_bytes())
    parts = (Part(number=0, path=image, place=place),)
    known.model_copy(update={"origin": Origin(parts=parts), "reading_seconds": 9}).save(home.folder("gateway"))
    assert "the source is a block device: all of it is read again while the source is off; how long" in page(home, decided)


def test_a_result_that_cannot_be_read_is_open_and_no_error(home: Home, decided: Plan) -> None:
    home.folder("gateway").mkdir(parents=True)
    (home.folder("gateway") / "rehearsal.json").write_text("{")
    assert "rehearsal.json cannot be read, and counts for nothing" in page(home, decided)


def test_what_85_may_change_depends_on_the_guest(home: Home, decided: Plan) -> None:
    assert "is switched off on its NICs by ethtool" in page(home, decided)
    assert "forwards no packets" in page(home, decided.model_copy(update={"forwards": False}))
    assert "forwards no packets" not in page(home, decided.model_copy(update={"forwards": None}))  # 85 asks the running guest
    guest = home.root / "params" / "guests" / "gateway.yml"
    guest.write_text(guest.read_text().partition("measurement:")[0])
    assert "have no `measurement`, so no cause is looked for" in page(home, decided)


@pytest.mark.parametrize("reached", ["root: /", "ssh: root@xenhost"])
def test_whether_the_cut_over_shuts_the_source_down_depends_on_the_dom0(home: Home, decided: Plan, reached: str) -> None:
    assert "relies on somebody having shut the source down under Xen" in page(home, decided)
    site = home.root / "params" / "site.yml"
    site.write_text(re.sub(r"root: outputs/lab/dom0\b", reached, site.read_text()))
    told = page(home, decided)
    assert "shuts the source down under Xen, in an orderly way" in told
    assert "moves what starts the source from xendomains' folder" in told
    assert "relies on" not in told


def test_what_the_cut_over_measures_is_told_as_it_is(home: Home, decided: Plan) -> None:
    assert "measures the outage: its parameters have `measurement`" in page(home, decided)
    guest = home.root / "params" / "guests" / "gateway.yml"
    guest.write_text(guest.read_text().partition("measurement:")[0])
    told = page(home, decided)
    assert "its parameters have no `measurement`, so no more" in told
    assert "measures the outage" not in told


@pytest.mark.parametrize(("rule", "words"), [(True, "Somebody else has to carry it out."), (False, "may also carry it out.")])
def test_whether_the_approver_may_carry_it_out_is_told(home: Home, decided: Plan, rule: bool, words: str) -> None:
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("signing:", f"signing:\n  two_persons: {str(rule).lower()}"))
    assert words in page(home, decided)


@pytest.mark.parametrize(("days", "words"), [(3, "for 3 days."), (1, "for 1 day.")])
def test_how_long_the_approval_counts_is_told(home: Home, decided: Plan, days: int, words: str) -> None:
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("signing:", f"signing:\n  valid_days: {days}\n #"))
    assert (
        f"Your approval counts for this plan, this disk and this machine in vSphere, for 70-cutover and 85-offloads, {words}"
        in page(home, decided)
    )


def test_a_name_from_the_guests_disk_commands_no_terminal(home: Home, decided: Plan) -> None:
    edits = decided.preparation.edits
    evil = edits[0].model_copy(update={"path": "/etc/\x1b[2J\x1b]0;x\x07\r\nWhat is proved so far: all\u202e"})
    preparation = decided.preparation.model_copy(update={"edits": (evil, *edits[1:])})
    made = decided.model_copy(update={"preparation": preparation})
    lines = proposal.page(home, "gateway", made, {}).split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines.count("What is proved so far") == 1
    assert "/etc/\\x1b[2J" in " ".join(lines)


@pytest.mark.needs("ssh-keygen")
def test_any_page_can_be_signed_and_read_again(home: Home, decided: Plan) -> None:
    keys.make(home)
    decided.save(home.folder("gateway"))
    journey.converted(home.folder("gateway"))
    journey.deployed(home.folder("gateway"), decided)
    shown = proposal.page(home, "gateway", decided, {})
    approval.give(home, "gateway", decided, shown, approver.of(home, "gateway", keys.folder(home) / "approver"))
    assert approval.check(home, "gateway", decided)
    shutil.rmtree(approval.folder(home, "gateway"))
    assert not approval.check(home, "gateway", decided)


def test_a_notebook_shows_page_command_and_state_and_a_click_only_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from hikkoshi import show
    from hikkoshi.check import Check

    shown: list[object] = []
    monkeypatch.setattr(show, "display", lambda thing, **how: shown.append(thing))
    asked = [0]

    def ask() -> Check:
        asked[0] += 1
        return Check(code="plan-approved", title="the plan is approved", ok=asked[0] > 1)

    show.approval("the page <1>", ask, "gateway")  # a batch: nobody can click
    assert ">the page &lt;1&gt;</pre>" in str(shown)
    assert "A second person reads this page and types" in str(shown)
    assert "hikkoshi approve gateway --key THEIR_KEY" in str(shown)
    assert asked == [1]
    monkeypatch.setattr(show, "interactive", lambda: True)
    show.approval("the page", ask, "gateway")
    (box,) = (thing for thing in shown if hasattr(thing, "children"))
    line, button = box.children[0].children
    assert line.value == "hikkoshi approve gateway --key THEIR_KEY"
    assert (button.description, asked) == ("Look again", [2])
    button.click()
    assert asked == [3]


@pytest.mark.needs("ssh-keygen")
def test_where_only_the_source_is_newer_the_page_says_so_beforehand(home: Home, decided: Plan) -> None:
    folder = home.folder("gateway")
    keys.make(home)

    def stands(plan: Plan, vmdk: str, machine: str) -> None:
        plan.save(folder)
        journey.converted(folder, vmdk)
        journey.deployed(folder, plan, vmdk, machine)

    stands(decided, VMDK, "one")
    by = approver.of(home, "gateway", keys.folder(home) / "approver")
    now = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)
    approval.give(home, "gateway", decided, "page", by, now=now)
    assert "EVERY DECISION" not in page(home, decided)
    newer = decided.model_copy(update={"source_digest": "n" * 64})
    stands(newer, "b" * 64, "two")
    assert (
        "EVERY DECISION IS AS approver@lab APPROVED IT on 2026-11-27 at 20:00 UTC. What differs: the source's content digest, "
        "and so the disk that was made of it, and so the machine in vSphere." in page(home, newer)
    )
    other = newer.model_copy(update={"vm": newer.vm.model_copy(update={"memory_mb": 2048})})
    stands(other, "b" * 64, "two")
    told = page(home, other)
    assert "EVERY DECISION" not in told
    assert "Superseded, and counts for nothing: approver@lab's approval of 2026-11-27 20:00 UTC." in told
    forged = next(approval.folder(home, "gateway").glob("*.txt"))
    forged.write_text(forged.read_text().replace(decided.decisions, other.decisions))
    assert "EVERY DECISION" not in page(home, other)  # what nobody has signed says nothing


def test_the_page_says_what_the_word_binds(home: Home, decided: Plan) -> None:
    journey.converted(home.folder("gateway"))
    journey.deployed(home.folder("gateway"), decided)
    told = page(home, decided)
    for words in (
        f"disk: SHA-256 {journey.VMDK}",
        f"machine: {journey.MACHINE}, its instance UUID",
        f"source: content digest {decided.source_digest}",
        "vSphere: 127.0.0.1:8989 as administrator, known by its authority's certificate, SHA-256",
        "campus/management, storage1, folder vm",
        "Xen: xenhost, read at outputs/lab/dom0; the guest's configuration /etc/xen/gateway",
        "in which 85-offloads changes it: netns:outputs/lab/netns/gw",
        "through from netns:outputs/lab/netns/pc1 to 10.3.2.20 (netns:outputs/lab/netns/pc2)",
        "watched from netns:outputs/lab/netns/admin",
    ):
        assert words in told


def test_the_page_names_every_file_that_is_brought_along_by_its_hash(home: Home) -> None:
    (home.root / "one.sh").write_text("#!/bin/sh\n")
    survey = Survey.model_validate_json((DATA / "gateway.json").read_bytes())
    wish = {"first_start": (Path("one.sh"),), "tools": ToolsWish(none="the vendor forbids it")}
    made = plan.make(home, home.guest("gateway").model_copy(update=wish), home.site(), survey)
    told = page(home, made)
    (script,) = made.preparation.additions.first_start
    assert f"script, first_start: one.sh, 10 bytes, SHA-256 {script.sha256} (runs once, at the moved guest's first" in told
    assert "VMware Tools: none, on purpose: the vendor forbids it" in told
