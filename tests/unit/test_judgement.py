"""The verdict follows what was seen of the guest, never what its last run happened to be."""

import random
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest.prepared import Prepared
from hikkoshi.network.outage.outage import Break, Outages
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import appendix
from hikkoshi.report import page as first_page
from hikkoshi.report.judgement import service, verdict
from hikkoshi.report.language import translations
from hikkoshi.report.openpoints import open_points
from hikkoshi.report.page import Page
from hikkoshi.report.story import gather
from hikkoshi.run.journal import Journal
from hikkoshi.vsphere.cutover import InService
from journey import SINCE, Move, words

SLOW, FROM = "since the move: the guest does not slow its network down", "since the move: nor does it from vlan301"
HEARD = "who is heard on each NIC under Xen is on record"


@pytest.fixture
def move(home: Home) -> Move:
    return Move(home)


def judged(move: Move) -> tuple[str, str]:
    return verdict(gather(move.home, "idp"))


def served(move: Move) -> str:
    return service(gather(move.home, "idp"))


def points(move: Move) -> str:
    return "\n".join(open_points(gather(move.home, "idp")))


def page(move: Move) -> Page:
    return first_page.first(gather(move.home, "idp"))


def when(move: Move) -> list[str]:
    return [t.what for t in page(move).times]


def test_in_service_is_good_only_with_everything_measured_good_and_approved(move: Move) -> None:
    move.serve()
    assert judged(move) == ("good", "In service on vSphere.")
    move.ran("20-plan")
    assert judged(move) == ("good", "In service on vSphere.")


@pytest.mark.parametrize("seen", ["wrong", "unknown", "conflicting"])
def test_a_nic_on_another_segment_is_bad_whatever_was_run_since(move: Move, seen: str) -> None:
    move.serve()
    move.see(seen)
    move.ran("20-plan")
    assert judged(move) == ("bad", "In service on vSphere, and not every NIC is on its segment.")


def test_a_segment_that_is_still_out_is_bad(move: Move) -> None:
    move.serve()
    found = Outages.load(move.folder)
    move.meter(segments=tuple(s.model_copy(update={"at_the_end": "out"}) for s in found.segments))
    assert judged(move) == ("bad", "In service on vSphere, and not every segment is served.")


@pytest.mark.parametrize("how", ["failed", "interrupted"])
def test_a_cut_over_that_did_not_end_well_stays_bad_after_a_later_run(move: Move, how: str) -> None:
    move.serve()
    move.ran("70-cutover", result=how)
    move.ran("20-plan")
    assert judged(move) == ("bad", "In service on vSphere; its cut-over did not end well.")
    move.ran("70-cutover", rows=("already",))
    assert judged(move)[0] == "good", "run again, it found everything so"


def test_silent_nics_prove_nothing(move: Move) -> None:
    move.serve()
    move.see("silent")
    assert judged(move) == ("open", "In service on vSphere; its network is not proved.")


@pytest.mark.parametrize("missing", ["wiring.json", "outage.json", "netperf.json"])
def test_what_was_not_measured_is_not_proved(move: Move, missing: str) -> None:
    move.serve()
    (move.folder / missing).unlink()
    assert judged(move) == ("open", "In service on vSphere; its network is not proved.")


def test_a_guest_of_which_nothing_was_measured_is_not_called_good(move: Move) -> None:
    move.results("60-deploy")
    move.approve()
    move.results("70-cutover", begin="70-cutover")
    assert judged(move) == ("open", "In service on vSphere; its network was not measured.")
    assert served(move) == "It was switched on and connected in vSphere at 2026-11-22 00:00:00 UTC."
    for step in ("80-netperf", "85-offloads"):
        move.ran(step, rows=("not measured", "not measured"))
    assert not {"speed measured", "cause named, remedied"} & set(when(move)), "their runs found nothing to do"
    assert not {"80-netperf", "85-offloads"} & set(gather(move.home, "idp").done)
    assert "was not measured since the cut-over" in points(move)
    move.see("ok")
    assert served(move).startswith("It serves from vSphere since 2026-11-22 00:00:00 UTC.")


def test_a_slow_network_is_bad(move: Move) -> None:
    move.serve()
    move.speed(80.0)
    assert judged(move) == ("bad", "In service on vSphere, and slows its network down.")


def test_a_speed_that_is_not_decided_is_not_proved(move: Move) -> None:
    move.serve()
    move.speed(94.0, runs=4)
    assert judged(move) == ("open", "In service on vSphere; its network is not proved.")


def test_without_an_approval_that_counted_in_service_is_open(move: Move) -> None:
    move.results("70-cutover")
    move.see("ok")
    move.meter()
    move.speed(94.0)
    assert judged(move) == ("open", "In service on vSphere; no approval that counted is on record.")
    assert "It was cut over, and no approval that counted is on record." in points(move)


def test_a_rollback_that_died_half_way_is_the_first_thing_said(move: Move) -> None:
    move.serve()
    move.ran("75-rollback", result="interrupted", rows=("failed",))
    bad = ("bad", "A rollback was begun and did not end: look where it serves.")
    assert judged(move) == bad
    move.ran("20-plan")
    assert judged(move) == bad
    (move.folder / InService.filename).unlink()
    assert judged(move) == bad, "nothing is known to be out of service"


def test_a_rollback_that_was_refused_has_not_begun(move: Move) -> None:
    move.serve()
    move.ran("75-rollback", result="failed", rows=())
    move.ran("20-plan")
    assert judged(move) == ("good", "In service on vSphere.")


def test_a_source_that_a_person_has_to_start_is_told_as_not_seen_from_here(move: Move) -> None:
    move.serve()
    (move.folder / InService.filename).unlink()
    move.ran("75-rollback", result="failed", error="Refused: a person has to start idp", rows=("done", "failed"))
    assert judged(move) == ("open", "Out of service in vSphere; whether it is back under Xen was not seen from here.")


def test_a_cut_over_that_left_no_record_is_not_waiting_for_one(move: Move) -> None:
    move.results("60-deploy")
    move.ran("70-cutover", result="failed", rows=("failed",))
    move.ran("20-plan")
    assert judged(move) == ("bad", "A cut-over was begun, and none is on record: look where it serves.")
    assert served(move) == "Look whether it serves under Xen before anything else."


def test_after_a_rollback_it_says_what_is_not_in_the_guest_under_xen(move: Move) -> None:
    move.serve()
    (move.folder / InService.filename).unlink()
    move.ran("75-rollback")
    assert judged(move) == ("open", "Rolled back: in service under Xen.")
    assert served(move).startswith("What was written in vSphere since ")
    move.ran("70-cutover", result="failed", rows=())
    move.ran("20-plan")
    assert judged(move) == ("open", "Rolled back: in service under Xen."), "a refused cut-over changes nothing"
    assert "rolled back" in when(move)


def test_segments_that_never_answered_are_not_without_outage(move: Move) -> None:
    move.serve()
    found = Outages.load(move.folder)
    never = {"at_the_end": "never answered", "outages": (), "answered": 0}
    move.meter(segments=tuple(s.model_copy(update=never) for s in found.segments))
    shown = page(move)
    assert (shown.longest, shown.unknown) == ("", len(found.segments))
    assert {s.share for s in shown.segments} == {None}
    assert "Segments that never answered, so that nothing is known of their outage: " in points(move)
    assert judged(move) == ("open", "In service on vSphere; its network is not proved.")


@pytest.mark.parametrize(
    ("gap", "point"),
    [
        ({"complete": False}, "The outage was measured until "),
        ({"breaks": (Break(after=1.0, seconds=2.5),)}, "The measurement of the outage stood still for 2.5 s in all"),
    ],
)
def test_a_meter_that_was_killed_or_stood_still_does_not_prove_that_there_was_no_outage(
    move: Move, gap: dict[str, object], point: str
) -> None:
    move.serve()
    found = Outages.load(move.folder)
    move.meter(segments=tuple(s.model_copy(update={"outages": ()}) for s in found.segments), **gap)
    assert page(move).unknown == len(found.segments)
    assert point in points(move)
    assert judged(move) == ("open", "In service on vSphere; its network is not proved.")


def test_a_segment_that_nobody_could_watch_is_not_without_outage(move: Move) -> None:
    move.serve()
    found = Outages.load(move.folder)
    move.meter(segments=tuple(s.model_copy(update={"name": "another", "outages": ()}) for s in found.segments))
    assert "Segments whose outage was not measured: servers." in points(move)
    assert page(move).unknown == 1
    assert judged(move) == ("open", "In service on vSphere; its network is not proved.")


def test_only_a_whole_measurement_without_a_lost_probe_is_none(move: Move) -> None:
    move.serve()
    found = Outages.load(move.folder)
    move.meter(segments=tuple(s.model_copy(update={"outages": ()}) for s in found.segments))
    assert (page(move).longest, page(move).unknown) == ("", 0)


def test_a_measured_slowness_is_said_before_the_failure_that_it_is(move: Move) -> None:
    move.serve()
    move.speed(0.5)
    move.ran("80-netperf", result="failed", red=(SLOW,))
    assert judged(move) == ("bad", "In service on vSphere, and slows its network down.")
    assert "80-netperf" not in points(move)
    assert "speed measured" in when(move)


def test_once_it_is_cured_nothing_is_left_of_the_measured_failure(move: Move) -> None:
    move.serve()
    move.ran("80-netperf", result="failed", red=(SLOW,))
    move.ran("85-offloads")
    assert judged(move) == ("good", "In service on vSphere.")
    assert "80-netperf" not in points(move)


def test_a_measurement_that_could_not_be_made_has_failed(move: Move) -> None:
    move.serve()
    (move.folder / "netperf.json").unlink()
    move.ran("80-netperf", result="failed", error="ToolFailed: netperf failed")
    assert judged(move) == ("bad", "80-netperf (measurement of the speed) has failed.")
    assert "80-netperf (measurement of the speed) has failed. “netperf failed”" in points(move), "no name of a class"


def test_a_later_failure_to_measure_is_none_of_the_series_that_was_measured_well(move: Move) -> None:
    move.serve()
    move.ran("80-netperf", result="failed", error="ToolFailed: netperf failed")
    assert judged(move) == ("bad", "80-netperf (measurement of the speed) has failed.")
    assert "80-netperf (measurement of the speed) has failed. “netperf failed”" in points(move)


def test_several_slow_ways_are_one_verdict_and_no_failure_to_measure(move: Move) -> None:
    move.serve()
    move.speed(0.5, vlan301=0.5)
    move.ran("80-netperf", result="failed", red=(SLOW, FROM))
    assert judged(move) == ("bad", "In service on vSphere, and slows its network down.")
    assert "80-netperf" not in points(move)
    move.speed(94.0, vlan301=94.0)
    move.ran("85-offloads")
    assert judged(move) == ("good", "In service on vSphere.")
    assert "80-netperf" not in points(move)


def test_a_verdict_beside_something_else_that_is_not_so_is_a_failure(move: Move) -> None:
    move.serve()
    move.ran("80-netperf", result="failed", red=(SLOW, HEARD))
    assert judged(move) == ("bad", "80-netperf (measurement of the speed) has failed.")


def test_what_is_not_so_and_no_verdict_is_a_failure(move: Move) -> None:
    move.serve()
    move.ran("80-netperf", result="failed", red=(HEARD,))
    assert judged(move) == ("bad", "80-netperf (measurement of the speed) has failed.")
    assert f"80-netperf (measurement of the speed) has failed. “not so: {HEARD}”" in points(move)


def test_a_slow_way_from_another_segment_is_bad_too(move: Move) -> None:
    move.serve()
    move.speed(94.0, vlan301=0.5)
    move.ran("80-netperf", result="failed", red=(FROM,))
    assert judged(move) == ("bad", "In service on vSphere, and slows its network down.")
    assert "From vlan301 the network is not proved to be as fast as without the guest: slower" in points(move)
    assert "as fast as without the guest" not in served(move)


def unsealed(move: Move) -> None:
    """The last run was not sealed."""
    move.journal.append("unsealed", of=move.journal.entries()[-1]["run"], why="a secret stands in it")


def test_a_run_that_did_its_work_and_was_not_sealed_has_not_failed(move: Move) -> None:
    move.serve()
    move.ran("20-plan")
    unsealed(move)
    assert judged(move) == ("bad", "20-plan (plan) has left no sealed record.")
    assert "20-plan (plan) has left no sealed record. “a secret stands in it”" in points(move)
    assert "planned" in when(move)


def test_a_plan_that_was_not_sealed_is_not_told_as_done(move: Move) -> None:
    move.results("60-deploy")
    for step, told in (("70-cutover", "cut-over, planned only"), ("75-rollback", "rollback, planned only")):
        move.ran(step, mode="plan")
        unsealed(move)
        assert told in when(move)


def test_a_cut_over_that_was_not_sealed_is_taken_back_by_a_rollback_like_any_other(move: Move) -> None:
    move.serve()
    move.ran("70-cutover")
    unsealed(move)
    (move.folder / InService.filename).unlink()
    move.ran("75-rollback")
    assert "cut over: taken back" in when(move)
    assert "70-cutover (cut-over) has left no sealed record. “a secret stands in it”" in points(move)


def test_a_rollback_that_was_not_sealed_has_brought_the_guest_back(move: Move) -> None:
    move.serve()
    (move.folder / InService.filename).unlink()
    move.ran("75-rollback")
    unsealed(move)
    assert judged(move) == ("bad", "75-rollback (rollback) has left no sealed record.")
    move.ran("20-plan")
    assert judged(move) == ("open", "Rolled back: in service under Xen.")


def test_what_a_run_failed_with_stands_in_a_japanese_report_as_the_original_words(move: Move) -> None:
    move.results("30-prepare")
    move.ran("40-convert", result="failed", error="ToolFailed: qemu-img failed")
    told = "\n".join(open_points(gather(move.home, "idp"), translations("ja").gettext))
    assert "手順 40-convert（変換）は失敗に終わった。 原文：qemu-img failed" in told


def test_a_speed_measured_before_the_move_was_not_taken_back(move: Move) -> None:
    move.results("60-deploy")
    move.ran("80-netperf")
    move.results("70-cutover", begin="70-cutover")
    assert "80-netperf (" not in points(move)
    assert "speed measured before the move" in when(move)


def test_only_a_rollback_takes_a_cut_over_back(move: Move) -> None:
    move.serve()
    (move.folder / InService.filename).unlink()
    move.ran("75-rollback")
    assert "cut over: taken back" in when(move)
    assert "70-cutover (cut-over) was taken back." in points(move)
    move.results("70-cutover", begin="70-cutover")
    assert "rolled back, later cut over again" in when(move)
    assert "taken back" not in points(move)


def test_a_refused_cut_over_is_not_a_failed_one(move: Move) -> None:
    move.results("60-deploy")
    move.ran("70-cutover", result="failed", error="Refused: the plan is not approved", rows=())
    assert judged(move) == ("open", "70-cutover (cut-over) was refused before anything was done.")
    assert served(move) == "Until now the move has not taken the guest out of service under Xen."
    assert "cut-over: refused" in when(move)


def test_a_new_plan_is_not_a_failed_rehearsal(move: Move) -> None:
    move.results("60-deploy")
    seen = Rehearsal.load(move.folder)
    seen.model_copy(update={"plan_hash": "0" * 64}).save(move.folder)
    assert judged(move) == ("open", "The plan has changed since the rehearsal.")
    seen.model_copy(update={"vmdk_sha256": "0" * 64}).save(move.folder)
    assert judged(move) == ("open", "The VMDK has changed since the rehearsal.")
    move.results("70-cutover", begin="70-cutover")
    assert judged(move)[1].startswith("In service on vSphere")


def test_a_rehearsal_that_changed_its_disk_did_not_succeed(move: Move) -> None:
    move.results("60-deploy")
    seen = Rehearsal.load(move.folder)
    seen.model_copy(update={"after": seen.after.model_copy(update={"disk_unchanged": False})}).save(move.folder)
    assert judged(move) == ("bad", "The rehearsal did not succeed.")
    assert Conversion.find(move.folder) is not None


def test_an_approval_counts_by_the_plan_and_time_of_the_cut_over(move: Move) -> None:
    move.results("60-deploy")
    listed = [{"file": "outputs/guests/idp/plan.json", "bytes": 1, "sha256": move.plan.hash}]
    move.journal.append("evidence", run="20261122T000002Z-20-plan", step="20-plan", artefacts=listed)
    move.approve()
    move.results("70-cutover", begin="70-cutover")
    new = move.plan.model_copy(update={"source_digest": "0" * 64})
    new.save(move.folder)
    move.ran("20-plan")
    (given,) = gather(move.home, "idp").approvals
    assert given.flaw == ""
    assert "no approval that counted" not in points(move)


def test_an_approval_given_after_the_cut_over_is_judged_as_of_now(move: Move) -> None:
    move.results("70-cutover")
    move.approve(now=datetime.now(UTC) + timedelta(seconds=1))
    found = gather(move.home, "idp")
    assert "from the future" in found.approvals[0].flaw or found.approvals[0].flaw == ""
    assert not found.cutover_approved


def test_waiting_for_the_cut_over_is_good_only_with_an_approval_that_counts(move: Move) -> None:
    move.results("60-deploy")
    assert judged(move) == ("open", "Deployed and waiting for its approval and cut-over.")
    assert "Nobody has approved this plan yet." in points(move)
    by = move.approve(now=datetime.now(UTC) - timedelta(days=400))
    assert judged(move)[0] == "open"
    assert f"The approval of {by.principal} expired on " in points(move)
    move.approve()
    assert judged(move) == ("good", "Deployed and waiting for its cut-over.")
    assert "approv" not in points(move)


def test_a_failure_in_plan_mode_is_not_told_as_a_real_one(move: Move) -> None:
    move.serve()
    move.ran("75-rollback", mode="plan", result="failed")
    assert "rollback, planned only: failed" in when(move)
    assert "rolled back" not in "".join(when(move))


@pytest.mark.parametrize(
    "said",
    [
        {"state": "not seen", "found": "the Dom-0 is a folder here (/mnt): whoever applies answers for it"},
        {"state": "ok", "found": "not seen from here, the Dom-0 is a folder (/mnt): …"},  # as it was told before
    ],
)
def test_a_source_that_nobody_saw_go_off_is_an_open_point(move: Move, said: dict[str, str]) -> None:
    move.serve()
    assert "was not seen from here" not in points(move)
    about = {"run": "20261122T000099Z-70-cutover", "step": "70-cutover"}
    check = {"title": "the source is off", **said, "expected": ""}
    move.journal.append("open", **about, mode="apply")
    move.journal.append("verify", **about, state="ok", checks=[check])
    move.journal.append("outcome", **about, mode="apply", outcome="succeeded", error="")
    assert "That the source is off was not seen from here." in points(move)


def test_a_remedy_of_an_earlier_cut_over_is_none_of_this_one(move: Move) -> None:
    move.serve()
    switches = [{"nic": "eth0", "feature": "lro"}]
    move.remedy(switches=switches)
    assert "In the running guest: LRO switched off on eth0" in page(move).changes
    move.remedy(since="2026-11-01T00:00:00+00:00", switches=switches)
    assert "LRO switched off" not in "".join(page(move).changes)
    assert SINCE in gather(move.home, "idp").cutover.since  # type: ignore[union-attr]


def test_a_remedy_by_a_parameter_of_the_module_counts_from_the_next_start(move: Move) -> None:
    move.serve()
    move.remedy(files=[{"path": "/etc/modprobe.conf", "way": "modprobe", "feature": "lro", "nics": ["eth0"]}], restart=True)
    assert "In the running guest: /etc/modprobe.conf changed, which counts from its next start" in page(move).changes


def rolled_back(move: Move, result: str = "succeeded", error: str = "") -> None:
    (move.folder / InService.filename).unlink(missing_ok=True)
    move.ran("75-rollback", result=result, error=error, rows=("done", "done" if result == "succeeded" else "failed"))


def test_what_a_person_had_to_do_after_a_rollback_is_no_open_point_of_the_next_cut_over(move: Move) -> None:
    move.serve()
    rolled_back(move, "failed", "Refused: a person has to start idp")
    assert "a person has to start idp" in points(move)
    move.results("70-cutover", begin="70-cutover")
    assert judged(move)[1].startswith("In service on vSphere")
    assert "a person has to start" not in points(move)
    assert "rollback" not in points(move)
    assert "rolled back, later cut over again" in when(move)


def test_a_cut_over_that_failed_before_the_rollback_leaves_no_open_point(move: Move) -> None:
    move.results("60-deploy")
    move.ran("70-cutover", result="failed", error="StepFailed: the machine did not start", rows=("done", "failed"))
    assert "70-cutover (cut-over) has failed. “the machine did not start”" in points(move)
    rolled_back(move)
    assert judged(move) == ("open", "Rolled back: in service under Xen.")
    assert "70-cutover (cut-over) has failed" not in points(move)
    assert "cut-over: failed" in when(move), "it is told as past"


def test_a_cut_over_that_was_refused_once_more_opens_nothing_of_the_one_in_service(move: Move) -> None:
    move.serve()
    move.ran("70-cutover", result="failed", error="Refused: not so: the plan is approved", rows=())
    move.ran("20-plan")
    assert judged(move) == ("good", "In service on vSphere.")
    assert "refused" not in points(move)


def test_what_was_measured_under_xen_between_two_cut_overs_is_told_as_before_the_move(move: Move) -> None:
    move.serve()
    rolled_back(move)
    move.ran("80-netperf")
    assert "speed measured before the move" in when(move)
    move.results("70-cutover", begin="70-cutover")
    assert "speed measured before the move" in when(move)


def test_after_a_rollback_nothing_is_claimed_that_never_happened(move: Move) -> None:
    move.results("70-cutover")
    for step in ("80-netperf", "85-offloads"):
        move.ran(step, rows=("not measured", "not measured"))
    rolled_back(move)
    assert not any("speed measured" in w or "cause" in w for w in when(move))


def test_a_remedy_that_was_not_needed_is_not_told_as_one(move: Move) -> None:
    move.serve()
    move.ran("85-offloads", rows=("done", "not needed", "not needed"))
    assert "cause looked for" in when(move)
    move.remedy()
    assert "cause named, remedied" in when(move)
    rolled_back(move)
    assert "cause named, remedied, of an earlier cut-over" in when(move)


def test_while_it_is_not_known_where_it_serves_nothing_says_that_it_does(move: Move) -> None:
    move.serve()
    move.ran("75-rollback", result="interrupted", rows=("failed",))
    assert "It serves from vSphere" not in served(move)
    assert served(move).startswith("Look whether it serves under Xen before anything else.")
    (move.folder / InService.filename).unlink()
    assert "its NICs are unplugged" not in points(move)


def test_an_approval_is_listed_when_it_was_given(move: Move) -> None:
    move.results("60-deploy")
    by = move.approve()
    before = ["surveyed", "planned", "prepared (a copy)", "converted", "rehearsed", "deployed", f"approved by {by.principal}"]
    assert when(move) == [*before, "cut over"]
    move.results("70-cutover", begin="70-cutover")
    assert when(move)[:8] == [*before, "cut over"]


def test_an_approval_of_an_earlier_plan_is_not_listed_as_if_it_counted(move: Move) -> None:
    listed = [{"file": "outputs/guests/idp/plan.json", "bytes": 1, "sha256": move.plan.hash}]
    move.journal.append("evidence", run="20261122T000000Z-20-plan", step="20-plan", artefacts=listed)
    move.serve()
    assert any(w.startswith("approved by") for w in when(move))
    assert "not for the plan in force" not in words(move.page())
    rolled_back(move)
    move.plan.model_copy(update={"source_digest": "0" * 64}).save(move.folder)
    move.ran("20-plan")
    assert not any(w.startswith("approved by") for w in when(move))
    assert "then; not for the plan in force" in words(move.page())


def test_bytes_that_nobody_surveyed_are_an_open_point_of_the_report(move: Move) -> None:
    move.serve()
    moved, now = "that was copied is not the one", "of another plan than the present one"
    assert moved not in points(move)
    assert now not in points(move)
    move.plan.model_copy(update={"source_digest": "0" * 64}).save(move.folder)  # surveyed and planned again since
    assert moved in points(move)
    assert now in points(move)
    made = Prepared.load(move.folder)
    made.model_copy(update={"source_digest": ""}).save(move.folder)
    assert "Which state of the source was copied is not on record" in points(move)
    told = {f.what: f.found for f in appendix.facts(gather(move.home, "idp"))}
    assert told["content digest of the source, as surveyed last"] == "d" * 64
    assert "content digest of the source that was copied" not in told
    made.save(move.folder)
    told = {f.what: f.found for f in appendix.facts(gather(move.home, "idp"))}
    assert told["content digest of the source that was copied"] == move.plan.source_digest


class World:
    """A guest that is moved to and fro: what really is so, beside what its journal and its results say."""

    def __init__(self, move: Move) -> None:
        self.move, self.where, self.measured = move, "xen", False
        move.results("60-deploy")

    def on(self, where: str, *, record: bool) -> None:
        self.where, self.measured = where, False
        (self.move.folder / InService.filename).unlink(missing_ok=True)
        for name in ("wiring.json", "outage.json", "netperf.json"):
            (self.move.folder / name).unlink(missing_ok=True)
        if record:
            InService(guest="idp", moid="vm-7", since=SINCE, nics=()).save(self.move.folder)

    def happen(self, event: str) -> None:
        ran = self.move.ran
        match event:
            case "70 done":
                ran("70-cutover")
                self.on("vsphere", record=True)
            case "70 killed":
                ran("70-cutover", result="interrupted", rows=("done",))
                self.on("?", record=False)
            case "70 red at its end":
                ran("70-cutover", result="failed", rows=("done",), red=("vlan301 answers",))
                self.on("vsphere", record=True)
            case "70 refused":
                ran("70-cutover", result="failed", error="Refused: not so: the plan is approved", rows=())
            case "75 done":
                ran("75-rollback")
                self.on("xen", record=False)
            case "75 by hand":
                ran("75-rollback", result="failed", error="Refused: a person has to start idp", rows=("done", "failed"))
                self.on("by hand", record=False)
            case "75 killed":
                ran("75-rollback", result="interrupted", rows=())
                self.move.journal.append("start", run=self.move.journal.entries()[-1]["run"], step="75-rollback", title="x")
                self.where = "?"
            case "80 failed":
                ran("80-netperf", result="failed", error="ToolFailed: netperf failed")
            case "85 killed":
                ran("85-offloads", result="interrupted", rows=("done",))


EVENTS = (
    "70 done",
    "70 killed",
    "70 red at its end",
    "70 refused",
    "75 done",
    "75 by hand",
    "75 killed",
    "80 failed",
    "85 killed",
)
CONTRADICTED = {  # where it really is: what must not be said then
    "xen": (
        "In service on vSphere",
        "since the cut-over",
        "a person has to start",
        "cut-over) has failed",
        "cut-over) was interrupted",
        "rollback) was interrupted",
        "rollback) has failed",
    ),
    "vsphere": (
        "a person has to start",
        "was taken back",
        "rollback",
        "not in service",
        "under Xen",
        "cut-over) was refused",
        "cut-over) was interrupted",
    ),
    "by hand": ("In service on vSphere", "since the cut-over", "cut-over) has failed", "cut-over) was interrupted"),
    "?": ("its NICs are unplugged", "a person has to start", "It serves from vSphere", "Rolled back: in service"),
}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_to_a_guest_no_sentence_contradicts_where_it_is(home: Home, seed: int) -> None:
    chance = random.Random(seed)
    for n in range(8):
        shutil.rmtree(home.folder("idp"), ignore_errors=True)
        world, past = World(Move(home)), list[str]()
        for event in chance.choices(EVENTS, k=5):
            world.happen(event)
            past.append(event)
            found = gather(home, "idp")
            # the last run is told of on top, whatever it was; where the guest is, is said by all the rest
            said = "\n".join([verdict(found)[1] if "refused" not in event else "", service(found), *open_points(found)])
            wrong = [w for w in CONTRADICTED[world.where] if w in said]
            assert not wrong, (n, past, world.where, wrong, said)


def test_a_runbook_or_a_program_that_was_changed_is_an_open_point(move: Move) -> None:
    move.serve()
    assert "changed" not in points(move)
    journal = Journal(move.home.folder("idp") / "journal.jsonl")
    run = next(e["run"] for e in journal.entries() if e.get("step") == "70-cutover")
    journal.append("sealed", of=run, record="r", sha256="0" * 64, signer="x", changed="runbook and software")
    assert "The runbook of 70-cutover (cut-over) was changed before it was carried out" in points(move)
    assert "The program had been changed when it carried out 70-cutover (cut-over)" in points(move)
