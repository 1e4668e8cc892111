"""Status is read from journals: what state a guest is in, and what comes next."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval import approval, approver, plan
from hikkoshi.disk import digest, source
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.errors import Refused
from hikkoshi.fleet import waves
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.record.anatomy import parameter_names
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run import lock, reach, status
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import READ_ONLY, STEPS
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.handover import HandOver
from hikkoshi_lab import keys
from journey import converted, deployed, outcome

PROJECT = Path(__file__).parents[2]
APPROVE = "a second person: hikkoshi approve gateway --key THEIR_KEY"


class Story:
    """Writes a guest's journal and results the way that runs do; its disk is a small file."""

    def __init__(self, home: Home, guest: str = "gateway") -> None:
        self.folder, self.home, self.guest, self.n = home.folder(guest), home, guest, 0
        self.journal = Journal(self.folder / "journal.jsonl")
        self.disk = home.root / "disk.img"
        self.disk.write_bytes(b"a boot sector".ljust(1 << 16, b"\0"))
        self.report = home.outputs / "reports" / f"{guest}.html"

    def run(self, step: str, mode: str = "apply", outcome: str | None = "succeeded", error: str = "", **red: object) -> None:
        """`red`: a check that was not so at the verification."""
        self.n += 1
        about = {"run": f"{self.n}-{step}", "step": step}
        known = {"guest": self.guest, "inputs": self.home.inputs(self.guest)}
        self.journal.append("open", **about, mode="plan" if step in READ_ONLY else mode, **known)
        if red:
            self.journal.append("verify", **about, mode=mode, state="red", checks=[{**red, "state": "red"}])
        if outcome:
            self.journal.append("outcome", **about, mode=mode, outcome=outcome, error=error)
            self.journal.append("sealed", of=about["run"])
        if outcome == "succeeded" and mode == "apply":
            with contextlib.suppress(FileNotFoundError, Refused):  # an earlier step's result is not there
                self.result(step)

    def through(self, last: str) -> None:
        """Every step up to one, and its result."""
        for step in STEPS:
            self.run(step)
            if step == last:
                return

    def result(self, step: str) -> None:
        """What a step leaves."""
        copy, vmdk = (self.folder / "disk" / f"{self.guest}.{kind}" for kind in ("img", "vmdk"))
        match step:
            case "10-survey":
                known = Survey.model_validate_json((PROJECT / "tests/data/survey/gateway.json").read_bytes())
                about = {"disk": source.facts(self.disk), "origin": Origin.whole(self.disk), "digest": digest.content(self.disk)}
                known.model_copy(update=about).save(self.folder)
            case "20-plan":
                plan.make(self.home, self.home.guest(self.guest), self.home.site(), Survey.load(self.folder)).save(self.folder)
            case "30-prepare":
                made = plan.Plan.load(self.folder)
                files.write(copy, self.disk.read_bytes())
                Prepared(
                    preparation=made.preparation.hash,
                    source=Identity.of(made.source),
                    source_digest=made.source_digest,
                    disk=Identity.of(Origin.whole(copy)),
                    facts=Survey.load(self.folder).guest,
                    kept={},
                    initrd_modules_before=(),
                    initrd_modules_after=(),
                    accelerator="tcg",
                    seconds=1,
                ).save(self.folder)
            case "40-convert":
                files.write(vmdk, copy.read_bytes() + b"as a VMDK")
                about = {"vmdk_bytes": vmdk.stat().st_size, "copy_identity": Identity.of(Origin.whole(copy))}
                converted(self.folder, files.sha256(vmdk)).model_copy(update=about).save(self.folder)
            case "50-rehearse":
                seen = outcome("after", Ending.LOGIN, "gateway login:").model_copy(update={"kernel": "2.6.18"})
                for path in (seen.picture, seen.screen, seen.console):
                    files.write(self.folder / path, "x")
                sha256, made = Conversion.load(self.folder).vmdk_sha256, plan.Plan.load(self.folder)
                Rehearsal(vmdk_sha256=sha256, plan_hash=made.hash, before=None, after=seen).save(self.folder)
            case "60-deploy":
                deployed(self.folder, plan.Plan.load(self.folder), Conversion.load(self.folder).vmdk_sha256)
            case "70-cutover":
                InService(guest=self.guest, moid="vm-7", since="2026-11-22T00:00:00+00:00", nics=()).save(self.folder)
            case "75-rollback":
                (self.folder / InService.filename).unlink(missing_ok=True)
            case "90-report":
                files.write(self.report, "the report")

    def write(self) -> None:
        """The guest runs, and writes to its disk."""
        self.disk.write_bytes(self.disk.read_bytes()[:-1] + b"!")

    def approve(self) -> None:
        keys.make(self.home)
        by = approver.of(self.home, self.guest, keys.folder(self.home) / "approver")
        approval.give(self.home, self.guest, plan.Plan.load(self.folder), "the page\n", by)

    @property
    def now(self) -> status.GuestStatus:
        return status.status(self.home, [self.guest])[0]


@pytest.fixture
def story(home: Home) -> Story:
    return Story(home)


def test_a_guest_without_a_journal_was_never_run(home: Home) -> None:
    assert [(s.guest, s.state, s.next) for s in status.status(home)] == [
        ("gateway", "never", "hikkoshi run gateway"),
        ("idp", "never", "hikkoshi run idp"),
    ]


@pytest.mark.parametrize(("outcome", "state"), [("succeeded", "done"), ("failed", "failed"), ("interrupted", "interrupted")])
def test_the_outcome_line_tells_the_state(story: Story, outcome: str, state: str) -> None:
    story.run("40-convert", outcome=outcome)
    assert (story.now.state, story.now.step, story.now.mode) == (state, "40-convert", "apply")


def test_a_run_without_an_outcome_was_interrupted(story: Story) -> None:
    story.through("30-prepare")
    story.run("40-convert", outcome=None)
    assert story.now.state == "interrupted"
    assert story.now.next == "hikkoshi run gateway --from 40 --apply"


def test_a_run_in_a_browser_that_came_to_its_end_is_done(story: Story) -> None:
    story.journal.append("open", run="1-40-convert", step="40-convert", mode="apply")
    story.journal.append("end", run="1-40-convert", step="40-convert", outcome="completed")
    assert story.now.state == "done"


def test_a_run_in_a_browser_whose_preflight_was_red_has_failed(story: Story) -> None:
    story.journal.append("open", run="1-60-deploy", step="60-deploy", mode="plan")
    story.journal.append("preflight", run="1-60-deploy", step="60-deploy", state="red", checks=[])
    assert story.now.state == "failed"
    assert "preflight" in story.now.error


def test_a_red_verify_in_plan_mode_is_no_failure(story: Story) -> None:
    story.journal.append("open", run="1-60-deploy", step="60-deploy", mode="plan")
    story.journal.append("verify", run="1-60-deploy", step="60-deploy", mode="plan", state="red", checks=[])
    assert story.now.state == "interrupted"


def test_whoever_holds_the_lock_is_running(story: Story) -> None:
    story.run("30-prepare")
    with lock.acquire(story.folder / "runner.lock", "40-convert apply", wait=0):
        assert (story.now.state, story.now.step, story.now.mode) == ("running", "40-convert", "apply")
    assert story.now.state == "done"


def test_asking_for_the_status_keeps_nobody_from_starting(story: Story) -> None:
    story.run("30-prepare")
    assert story.now.state == "done"
    lock.acquire(story.folder / "lock", "a run", wait=0).close()


def test_a_run_that_was_refused_because_of_another_is_not_the_guests_state(story: Story) -> None:
    story.run("40-convert")
    story.journal.append("outcome", run="2-50-rehearse", step="50-rehearse", mode="apply", outcome="failed", error="Busy: x")
    assert (story.now.state, story.now.step) == ("done", "40-convert")


def test_the_next_command_is_the_first_step_that_was_not_carried_out(story: Story) -> None:
    for step in ("10-survey", "20-plan", "30-prepare"):
        story.run(step)
    story.run("40-convert", mode="plan")
    assert story.now.next == "hikkoshi run gateway --from 40 --apply"


@pytest.mark.needs("ssh-keygen")
def test_the_cut_over_has_to_be_approved_and_then_to_be_asked_for(story: Story) -> None:
    for step in list(STEPS)[:6]:
        story.run(step)
    assert story.now.next == APPROVE
    story.approve()
    assert story.now.next == "hikkoshi run gateway --only 70 --apply"


def test_a_cut_over_that_was_refused_for_want_of_an_approval_comes_after_one(story: Story) -> None:
    story.through("60-deploy")
    story.run("70-cutover", outcome="failed", error="Refused: not so: the plan is approved")
    assert story.now.next == APPROVE
    story.run("70-cutover", mode="plan", outcome="failed")
    assert story.now.next == "hikkoshi run gateway --only 70"


def test_a_plan_that_cannot_be_read_is_made_again(story: Story) -> None:
    story.through("60-deploy")
    (story.folder / "plan.json").write_text("{")
    assert story.now.next == "hikkoshi run gateway --from 20 --apply  # plan.json cannot be read"


def test_after_everything_there_is_a_report_to_read(story: Story) -> None:
    for step in STEPS:
        if step != "75-rollback":
            story.run(step)
    assert story.now.next.endswith("gateway.html")


def test_a_rollback_takes_the_cut_over_back(story: Story) -> None:
    for step in STEPS:
        story.run(step)
    story.run("75-rollback")
    past = status.runs(story.journal.entries())
    assert "70-cutover" not in status.done(past)
    assert story.now.next.startswith("stay with Xen")
    story.run("90-report")
    assert story.now.next.startswith("stay with Xen")
    story.run("70-cutover")
    past = status.runs(story.journal.entries())
    assert "70-cutover" in status.done(past)
    assert "75-rollback" not in status.done(past)


def test_a_rollback_that_could_not_be_finished_takes_the_cut_over_back_too(story: Story) -> None:
    for step in STEPS:
        if step != "75-rollback":
            story.run(step)
    story.run("75-rollback", outcome="failed", error="Refused: type xm create on the Dom-0")
    story.run("20-plan")
    assert not {"70-cutover", "80-netperf", "85-offloads", "90-report"} & set(status.done(status.runs(story.journal.entries())))


def test_a_rollback_of_a_guest_that_was_never_moved_asks_for_no_other(story: Story) -> None:
    story.run("75-rollback", outcome="failed", error="ToolFailed: vSphere does not answer")
    assert story.now.next == "hikkoshi run gateway"
    story.run("10-survey")
    assert story.now.next == "hikkoshi run gateway --from 20"


def test_a_rollback_whose_end_no_run_can_see_is_not_to_be_repeated(story: Story) -> None:
    story.run("70-cutover")
    story.run("75-rollback", outcome="failed", error="Refused: a person has to start gateway\n  where: x")
    assert story.now.next.startswith("look on the Dom-0 whether gateway runs")
    assert "do not repeat 75" in story.now.next
    story.run("90-report")
    assert "do not repeat 75" in story.now.next, "the report tells of it, and starts nothing"
    story.run("75-rollback", outcome="failed", error="ToolFailed: vSphere does not answer")
    assert story.now.next == "hikkoshi run gateway --only 75 --apply"


def test_a_rollback_in_a_browser_whose_end_no_run_can_see_is_not_to_be_repeated_either(story: Story) -> None:
    story.run("70-cutover")
    about = {"run": "2-75-rollback", "step": "75-rollback"}
    story.journal.append("open", **about, mode="apply")
    title, found = "the source is back in service", "Refused: a person has to start gateway"
    story.journal.append("step", **about, title=title, state="failed", found=found)
    assert "do not repeat 75" in story.now.next


def test_what_was_measured_before_the_cut_over_has_to_be_measured_again_after_it(story: Story) -> None:
    for step in ("10-survey", "20-plan", "80-netperf", "30-prepare", "40-convert", "50-rehearse", "60-deploy"):
        story.run(step)
    assert "80-netperf" in status.done(status.runs(story.journal.entries()))
    story.run("70-cutover")
    assert "80-netperf" not in status.done(status.runs(story.journal.entries()))
    assert story.now.next == "hikkoshi run gateway --only 80 --apply"


@pytest.mark.needs("ssh-keygen")
def test_a_network_that_was_slow_under_xen_is_not_for_85_which_changes_nothing_there(story: Story) -> None:
    for step in ("10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy"):
        story.run(step)
    story.approve()
    slowed = {"code": "not-slowed", "title": "…", "found": "…", "facts": {"verdict": "regressed"}}
    story.run("80-netperf", outcome="failed", error="not so: …", **slowed)
    assert story.now.next == "hikkoshi run gateway --only 70 --apply"


@pytest.mark.needs("ssh-keygen")
def test_a_network_that_was_found_slow_is_for_85_and_one_that_was_not_needs_none(story: Story) -> None:
    for step in ("10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy", "70-cutover"):
        story.run(step)
    slowed = {"title": "since the move: the guest does not slow its network down", "found": "regressed: …"}  # as it was told
    story.run("80-netperf", outcome="failed", error="StepFailed: not so: …", **slowed)
    assert story.now.next == APPROVE
    story.approve()
    assert story.now.next == "hikkoshi run gateway --only 85 --apply"
    story.run("80-netperf")
    assert story.now.next == "hikkoshi run gateway --only 90"


@pytest.mark.parametrize(
    ("state", "found"),
    [("not measured", "no measurement"), ("already", "not measured: no measurement")],  # the second: as it was told before
)
def test_a_run_that_measured_nothing_is_not_counted_as_done(story: Story, state: str, found: str) -> None:
    for step in ("10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy", "70-cutover"):
        story.run(step)
    about = {"run": "9-80-netperf", "step": "80-netperf"}
    story.journal.append("open", **about, mode="apply")
    for title in ("measure both paths", "measure the round trip"):
        story.journal.append("step", **about, title=title, state=state, seconds=0.0, found=found)
    story.journal.append("outcome", **about, mode="apply", outcome="succeeded", error="")
    assert story.now.state == "not measured"
    assert "80-netperf" not in status.done(status.runs(story.journal.entries()))


def test_where_the_source_wrote_after_a_rollback_the_way_forward_begins_with_the_survey(story: Story) -> None:
    story.through("70-cutover")
    story.run("75-rollback")
    assert story.now.next == f"stay with Xen, or: {APPROVE}"
    story.write()
    written = "hikkoshi run gateway --from 10 --apply  # the disk of gateway is not as it was surveyed; shut it down first"
    assert story.now.next == f"stay with Xen, or: {written}"
    for step, number in (("10-survey", 20), ("20-plan", 30), ("30-prepare", 40), ("40-convert", 50), ("50-rehearse", 60)):
        story.run(step)
        assert story.now.next.startswith(f"hikkoshi run gateway --from {number}"), step
        assert "  # " in story.now.next, "and it says why"
    story.run("60-deploy")
    assert story.now.next == APPROVE


def test_a_cut_over_that_refused_another_disk_is_not_to_be_repeated(story: Story) -> None:
    story.through("60-deploy")
    story.write()
    story.run("70-cutover", outcome="failed", error="Refused: not so: the prepared copy is complete")
    assert story.now.next.startswith("hikkoshi run gateway --from 10 --apply  # ")
    assert story.now.next.endswith("hikkoshi run gateway --only 75 --apply starts it again")


@pytest.mark.parametrize(
    ("harm", "number", "why"),
    [
        (lambda s: (s.folder / "disk/gateway.img").unlink(), 30, "the copy is gone"),
        (lambda s: (s.folder / "disk/gateway.img").write_bytes(b"another"), 30, "the copy was changed"),
        (lambda s: (s.folder / "disk/gateway.vmdk").unlink(), 40, "the VMDK is gone"),
        (lambda s: s.run("40-convert"), 0, ""),
        (lambda s: s.run("30-prepare"), 40, "the VMDK is of another copy"),  # of other content, for all that samples tell
        (lambda s: Conversion.load(s.folder).model_copy(update={"vmdk_sha256": "0" * 64}).save(s.folder), 50, "rehearsal"),
        (lambda s: (s.folder / "rehearsal.json").unlink(), 50, ""),
        (lambda s: deployed(s.folder, plan.Plan.load(s.folder), "0" * 64), 60, "of another plan or disk"),
        (lambda s: (s.folder / "deployment.json").write_text("{"), 60, "deployment.json cannot be read"),
    ],
)
def test_the_next_command_is_taken_from_what_is_there_and_not_from_what_was_done(
    story: Story, harm: Callable[[Story], object], number: int, why: str
) -> None:
    story.through("60-deploy")
    assert reach.gap(story.folder) is None
    harm(story)
    found = story.now.next
    assert found.startswith(f"hikkoshi run gateway --from {number} --apply" if number else APPROVE)
    assert why in found


def test_what_a_contractor_imports_is_ready_for_the_cut_over_when_it_was_handed_over(story: Story) -> None:
    path = story.home.site_file
    text = path.read_text()
    path.write_text(text[: text.index("vsphere:")] + "vsphere: { handover: true }\n\n" + text[text.index("dom0s:") :])
    story.through("60-deploy")
    assert story.now.next == "hikkoshi run gateway --from 60 --apply", "the machine in a vSphere of ours counts for nothing"
    of = {"plan_hash": plan.Plan.load(story.folder).hash, "vmdk_sha256": Conversion.load(story.folder).vmdk_sha256}
    rest = {"time": "2026-11-22T00:00:00Z", "form": "ova", "folder": "away", "descriptor_sha256": "d" * 64}
    file = {"name": "gateway.ova", "bytes": 1, "sha256": "e" * 64}
    made = HandOver.model_validate({"guest": "gateway", "name": "gateway", "files": (file,), **of, **rest})
    made.save(story.folder)
    assert reach.gap(story.folder) is None
    assert story.now.next == APPROVE
    made.model_copy(update={"plan_hash": "0" * 64}).save(story.folder)
    assert "what was handed over is of another plan or disk" in story.now.next


def test_a_guest_in_service_is_not_sent_back_to_its_preparation(story: Story) -> None:
    story.through("70-cutover")
    story.write()
    story.run("20-plan")
    assert story.now.next == "hikkoshi run gateway --only 80 --apply"


def test_a_rollback_that_is_half_done_comes_before_everything_else(story: Story) -> None:
    story.through("70-cutover")
    story.run("75-rollback", outcome="interrupted")
    story.run("20-plan")
    assert story.now.next == "hikkoshi run gateway --only 75 --apply"


def test_a_report_that_something_was_run_after_is_to_be_written_again(story: Story) -> None:
    for step in STEPS:
        if step != "75-rollback":
            story.run(step)
    assert story.now.next == f"read {story.report}"
    story.run("80-netperf")
    assert story.now.next == "hikkoshi run gateway --only 90"
    story.run("90-report")
    story.report.unlink()
    assert story.now.next == "hikkoshi run gateway --only 90"


def test_a_clock_that_was_set_back_does_not_change_what_came_last(story: Story) -> None:
    for step in STEPS:
        if step != "75-rollback":
            story.run(step)
    lines = list(story.journal.entries())
    back = [
        JournalEntry.of_line({**line, "run": "9-75-rollback", "step": "75-rollback", "time": "2001-01-01T00:00:00.000+00:00"})
        for line in lines
        if line.step == "70-cutover"
    ]
    assert "70-cutover" in status.done(status.runs(lines))
    assert "70-cutover" not in status.done(status.runs([*lines, *back]))
    assert status.runs([*lines, *back])[-1].step == "75-rollback"


def test_a_failed_repeat_takes_back_that_a_step_is_done(story: Story) -> None:
    story.run("10-survey")
    story.run("10-survey", outcome="failed", error="ToolFailed: no")
    assert status.done(status.runs(story.journal.entries())) == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s ago"), (65, "1 min ago"), (7200, "2 h ago"), (200000, "2 d ago"), (-3, "0 s ago")]
)
def test_age_in_words(seconds: int, words: str) -> None:
    assert status.age(timedelta(seconds=seconds)) == words


def test_a_parameter_file_that_cannot_be_used_is_a_bad_check(home: Home) -> None:
    assert all(status.checks(home))
    path = home.root / "params" / "guests" / "idp.yml"
    path.write_text(path.read_text().replace("segment: servers", "segment: serverz"))
    assert [(c.title, bool(c)) for c in status.checks(home)] == [
        ("params/site.yml can be used", True),
        ("params/guests/gateway.yml can be used", True),
        ("params/guests/idp.yml can be used", False),
    ]


def test_the_read_only_steps_are_those_whose_runbooks_have_no_mode() -> None:
    import nbformat

    there = {p.stem: nbformat.read(p, as_version=4) for p in (PROJECT / "notebooks").glob("*.ipynb") if p.stem in STEPS}
    assert {s for s, nb in there.items() if "mode" not in parameter_names(nb)} == set(READ_ONLY) & set(there)


def test_one_guest_in_detail_names_its_record_and_its_next_command(story: Story) -> None:
    story.through("30-prepare")
    story.run("40-convert", outcome="failed", error="ToolFailed: qemu-img failed\n  found: no space")
    record = story.folder / "runs" / f"{story.n}-40-convert.ipynb"
    record.parent.mkdir()
    record.touch()
    rows = {r["what"]: r["found"] for r in status.details(story.home, "gateway")}
    assert rows["last step"] == "40-convert (apply)"
    assert rows["state"] == "failed: ToolFailed: qemu-img failed"
    assert rows["next"] == "hikkoshi run gateway --from 40 --apply"
    assert rows["record of the last run"] == str(record)


def test_a_success_without_a_sealed_record_is_none_until_it_is_sealed(story: Story) -> None:
    story.through("40-convert")
    run = f"{story.n}-40-convert"
    story.journal.append("unsealed", of=run, why="a secret stands in what was to be sealed\n  where: x")
    assert (story.now.state, story.now.error) == ("failed", "not sealed: a secret stands in what was to be sealed")
    assert story.now.next == "hikkoshi run gateway --from 40 --apply"
    story.journal.append("sealed", of=run, record="outputs/records/gateway/" + run)
    assert (story.now.state, story.now.error) == ("done", "")


def test_a_failure_without_a_sealed_record_keeps_its_own_reason(story: Story) -> None:
    story.run("40-convert", outcome="failed", error="ToolFailed: no space")
    story.journal.append("unsealed", of=f"{story.n}-40-convert", why="OSError: no space")
    assert (story.now.state, story.now.error) == ("failed", "ToolFailed: no space")


def test_reports_and_records_are_listed_for_every_guest(story: Story) -> None:
    for name in ("1-40-convert", ".2-50-rehearse.part"):  # the second is being built
        (story.home.outputs / "records" / "gateway" / name).mkdir(parents=True)
    (story.home.outputs / "reports").mkdir()
    (story.home.outputs / "reports" / "gateway.html").touch()
    gateway, idp = status.papers(story.home)
    assert gateway["report"].endswith("gateway.html")
    assert gateway["records"] == "1"
    assert idp["report"].startswith("not written yet")


def test_a_missing_result_is_made_by_one_step_alone_and_by_apply_only_where_the_step_has_it(home: Home) -> None:
    kinds = [Survey, plan.Plan, Prepared, Conversion, Rehearsal, Deployment]
    for kind in kinds:
        with pytest.raises(Refused) as e:
            kind.load(home.folder("gateway"))
        number = kind.made_by.number
        remedy = f"hikkoshi run gateway --only {number}"
        assert e.value.problems[0].remedy.endswith(remedy if kind.made_by.read_only else f"{remedy} --apply")


WAY = ["10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy"]


def test_a_fleet_leaves_out_what_is_finished_and_begins_with_what_is_not(story: Story) -> None:
    assert waves.left(story.home, story.guest, WAY, "apply") == WAY
    story.through("40-convert")
    story.run("50-rehearse", outcome="failed")
    assert waves.left(story.home, story.guest, WAY, "apply") == WAY[4:]
    story.run("50-rehearse")
    story.run("60-deploy")
    assert waves.left(story.home, story.guest, WAY, "apply") == []


def test_a_step_of_which_there_is_no_record_is_not_finished(story: Story) -> None:
    story.through("60-deploy")
    story.run("60-deploy", outcome=None)
    story.journal.append("end", run="7-60-deploy", step="60-deploy", outcome="completed")  # and then its runner was killed
    assert story.now.state == "done"
    assert waves.left(story.home, story.guest, WAY, "apply") == WAY[5:]


def test_what_was_done_with_other_parameters_is_not_finished(story: Story) -> None:
    story.through("60-deploy")
    written = story.home.guest_file(story.guest)
    written.write_text(written.read_text() + "# another line\n")
    assert waves.left(story.home, story.guest, WAY, "apply") == WAY


def test_a_step_whose_result_is_gone_is_not_finished_though_the_journal_says_that_it_was_done(story: Story) -> None:
    story.through("60-deploy")
    story.folder.conversion.unlink()
    assert waves.left(story.home, story.guest, WAY, "apply") == WAY[3:]


def test_a_report_that_something_was_run_after_is_not_finished(story: Story) -> None:
    story.through("60-deploy")
    for step in ("70-cutover", "80-netperf", "85-offloads", "90-report"):
        story.run(step)
    on = ["70-cutover", "80-netperf", "85-offloads", "90-report"]
    assert waves.left(story.home, story.guest, [*WAY, *on], "apply") == []
    story.run("80-netperf")
    assert waves.left(story.home, story.guest, on, "apply") == on[2:]


def test_after_a_rollback_the_cut_over_is_not_finished(story: Story) -> None:
    story.through("70-cutover")
    story.run("75-rollback")
    assert waves.left(story.home, story.guest, [*WAY, "70-cutover"], "apply") == ["70-cutover"]


def test_a_look_counts_for_a_night_and_until_something_is_done_to_the_guest(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in WAY:
        story.run(step, "plan")
    assert waves.left(story.home, story.guest, WAY, "plan") == []
    monkeypatch.setattr(waves, "NIGHT", timedelta())
    assert waves.left(story.home, story.guest, WAY, "plan") == WAY
    monkeypatch.undo()
    story.run("30-prepare")
    assert waves.left(story.home, story.guest, WAY, "plan") == WAY


def test_a_guest_whose_last_run_was_cut_off_is_named_with_whether_that_is_on_record(story: Story) -> None:
    story.run("10-survey")
    assert waves.interrupted(story.home, story.guest) == ""
    story.run("20-plan", outcome=None)
    assert waves.interrupted(story.home, story.guest) == "20-plan has no end: run 2-20-plan"
    story.run("20-plan", outcome="interrupted")
    assert waves.interrupted(story.home, story.guest) == "20-plan was interrupted: run 3-20-plan"


def finished(story: Story) -> None:
    story.through("60-deploy")
    for step in ("70-cutover", "80-netperf", "90-report"):
        story.run(step)


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
@pytest.mark.parametrize("step", ["10-survey", "20-plan", "40-convert", "70-cutover"])
def test_a_look_at_a_guest_that_is_finished_does_not_make_its_status_go_back(story: Story, step: str, outcome: str) -> None:
    finished(story)
    before = story.now
    assert before.next == f"read {story.report}"
    story.run(step, "plan", outcome=outcome)
    assert story.now == before


def test_what_is_carried_out_on_a_guest_that_is_finished_is_its_status(story: Story) -> None:
    finished(story)
    story.run("80-netperf", outcome="failed")
    assert (story.now.step, story.now.state) == ("80-netperf", "failed")
