"""The report tells what is there, says what is not, and needs nothing but a browser."""

import html.parser
import itertools
import re
import shutil
from datetime import UTC, datetime, timedelta

import nbformat
import pytest

from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest import preparation
from hikkoshi.guest.additions import tools
from hikkoshi.guest.additions.addition import Additions, Carried
from hikkoshi.guest.additions.firststart import Started
from hikkoshi.guest.files import clock
from hikkoshi.network.arrival import Arrival
from hikkoshi.network.outage import outage
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.remedy.remedy import Applied
from hikkoshi.network.throughput.measured import Measured, Throughput
from hikkoshi.network.wiring import wiring
from hikkoshi.network.wiring.wiring import Wiring
from hikkoshi.params.home import Home
from hikkoshi.record import inspection
from hikkoshi.record.register import Register
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import page as first_page
from hikkoshi.report import pdf, report
from hikkoshi.report.language import translations
from hikkoshi.report.story import gather
from journey import DATA, MAC, PROJECT, SINCE, STEPS, Move, series, survey, words


@pytest.fixture
def move(home: Home) -> Move:
    return Move(home)


class Strict(html.parser.HTMLParser):
    """Fails on what a validator calls an error: unclosed, wrongly nested or doubled things."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        assert len(known) == len(attrs), f"an attribute twice in <{tag}>"
        assert not (self.open and self.open[-1] == "p" and tag in ("p", "table", "ul", "pre", "details", "h3")), tag
        if "id" in known:
            assert known["id"] not in self.ids
            self.ids.append(str(known["id"]))
        self.seen.append((tag, known))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def parsed(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("through", ["", *STEPS])
def test_at_every_stage_it_is_valid_html_that_asks_for_nothing(move: Move, through: str) -> None:
    if through:
        move.results(through)
    page = move.page()
    found = parsed(page)
    assert page.startswith("<!DOCTYPE html>")
    for tag, attributes in found.seen:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "table":
            assert found.seen[found.seen.index((tag, attributes)) + 1][0] in ("caption",)
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in found.ids
    assert ("html", {"lang": "en"}) in found.seen
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize(
    ("through", "verdict"),
    [
        ("", "… Nothing has been done yet. Until now the move has not taken the guest out of service"),
        ("10-survey", "… Under way: 20-plan (plan) is next."),
        ("50-rehearse", "… Under way: 60-deploy (deployment) is next."),
        ("60-deploy", "… Deployed and waiting for its approval and cut-over. Until now the move has not taken"),
        ("70-cutover", "… In service on vSphere; its network was not measured. It was switched on"),
    ],
)
def test_the_verdict_follows_what_was_done(move: Move, through: str, verdict: str) -> None:
    if through:
        move.results(through)
    assert verdict in words(move.page())


def test_what_is_missing_is_told_as_not_done_yet(move: Move) -> None:
    move.results("10-survey")
    text = words(move.page())
    assert "20-plan (plan) is not done yet." in text
    assert "No picture yet" in text
    assert "60-deploy import into vSphere, NICs disconnected not done yet" in text
    assert "cut over not done yet" in text
    assert "Not cut over: there was none." in text


def test_a_failed_run_is_told_as_failed(move: Move) -> None:
    move.results("30-prepare")
    move.ran("40-convert", result="failed", error="ToolFailed: qemu-img failed\n  found: <no space>")
    page = move.page()
    assert '<div class="verdict bad">' in page
    assert "✘ 40-convert (conversion) has failed." in words(page)
    assert "found: <no space>" in words(page)
    assert "<no space>" not in page


def test_a_machine_that_a_rollback_took_out_is_not_called_in_service(move: Move) -> None:
    move.results("70-cutover")
    assert "In service on vSphere" in words(move.page())
    move.ran("75-rollback", result="failed", error="Refused: start it on the Dom-0")
    (move.folder / "cutover.json").unlink()
    move.ran("20-plan")
    page = words(move.page())
    assert "In service on vSphere" not in page
    assert "Out of service in vSphere" in page
    assert "Look whether it serves under Xen before anything else." in page
    assert "No cut-over is in force" in page
    assert "there was none" not in page


def test_an_interrupted_run_is_told_as_interrupted(move: Move) -> None:
    move.results("30-prepare")
    move.ran("40-convert", result="interrupted")
    assert "✘ 40-convert (conversion) was interrupted." in words(move.page())


def test_a_plan_run_after_the_real_one_does_not_hide_it(move: Move) -> None:
    move.results("40-convert")
    real = next(e["run"] for e in move.journal.entries() if e["step"] == "40-convert")
    move.ran("40-convert", mode="plan")
    assert real in report.write(move.home, "idp").read_text()
    assert report.complete(move.home, "idp")


def test_a_repeat_that_finds_everything_done_does_not_hide_when_it_was_done(move: Move) -> None:
    move.results("30-prepare")
    about = {"run": "20261122T000099Z-30-prepare", "step": "30-prepare"}
    move.journal.append("open", **about, mode="apply")
    move.journal.append("step", **about, title="act in 30-prepare", state="already", seconds=0.1, found="as planned")
    move.journal.append("outcome", **about, mode="apply", outcome="succeeded", error="")
    text = words(move.page())
    assert "UTC done act in 30-prepare 1.5" in text
    assert "UTC already so act in 30-prepare 0.1" in text


def test_what_was_only_planned_is_an_open_point(move: Move) -> None:
    move.results("20-plan")
    move.ran("30-prepare", mode="plan")
    read = words(move.page())
    assert "30-prepare (preparation) was only planned" in read
    assert "make a copy bootable on VMware would be done planned only" in read


def test_each_nic_stands_with_plan_rehearsal_and_vsphere_side_by_side(move: Move) -> None:
    move.results("60-deploy")
    assert f"eth0 {MAC} servers 210 servers-210 vmxnet3 10.2.10.5/24 servers-210, VLAN 210, unplugged" in words(move.page())
    move.results("70-cutover")
    assert "servers-210, VLAN 210, plugged in" in words(move.page())


def test_both_screens_are_in_the_page_with_their_words(move: Move) -> None:
    move.results("50-rehearse")
    found = parsed(move.page())
    pictures = [a for t, a in found.seen if t == "img"]
    assert [p["src"][:22] for p in pictures] == ["data:image/png;base64,"] * 2  # type: ignore[index]
    assert "Error 13" in str(pictures[0]["alt"])
    assert "idp login:" in str(pictures[1]["alt"])
    assert "screen before <&>" in words(move.page())


def test_a_rehearsal_of_another_vmdk_proves_nothing(move: Move) -> None:
    move.results("50-rehearse")
    made = Conversion.load(move.folder)
    made.model_copy(update={"vmdk_sha256": "f" * 64}).save(move.folder)
    page = words(move.page())
    assert "… The VMDK has changed since the rehearsal." in page
    assert "reported every planned NIC" not in page


def test_a_nic_that_the_rehearsed_guest_did_not_report_is_named(move: Move) -> None:
    move.results("50-rehearse")
    seen = Rehearsal.load(move.folder)
    seen.model_copy(update={"after": seen.after.model_copy(update={"nics": ()})}).save(move.folder)
    page = words(move.page())
    assert "did not report: eth0" in page
    assert "The rehearsal did not succeed" in page


def test_every_change_in_the_guest_is_shown_as_a_diff(move: Move) -> None:
    move.results("30-prepare")
    page = move.page()
    for edit in move.plan.preparation.edits:
        assert f"<summary><code>{edit.path}</code>: {html.escape(str(edit.why)).replace('&#x27;', '&#39;')}</summary>" in page
    assert "<del>-" in page
    assert "<ins>+" in page


def test_a_result_that_cannot_be_read_is_named_and_the_report_is_written(move: Move) -> None:
    move.results("20-plan")
    (move.folder / "survey.json").write_text('{"no": "survey"}')
    page = words(move.page())
    assert "A result cannot be read" in page
    assert "survey.json" in page
    assert [bool(c) for c in report.checks(move.home, "idp")] == [True, False]


def test_a_changed_journal_is_a_red_check(move: Move) -> None:
    move.results("20-plan")
    path = move.journal.path
    path.write_text(path.read_text().replace("as planned", "as hoped"))
    assert not report.checks(move.home, "idp")[0]


def test_of_a_runs_checks_what_is_not_ok_stands_open_and_the_rest_is_a_line_a_group(move: Move) -> None:
    def told(code: str, title: str, state: str = "ok") -> dict[str, str]:
        return {"code": code, "title": title, "state": state, "found": "seen", "expected": "so"}

    move.results("60-deploy")
    run = move.ran("70-cutover")
    wired = [told("nic-wired", f"eth{n} is wired") for n in range(3)]
    checks = [*wired, *wired, told("source-off", "the source is off"), told("in-service", "it serves", "not seen")]
    move.journal.append("verify", run=run, step="70-cutover", mode="apply", state="ok", checks=checks)
    page = move.page()
    part = page[page.index('id="step-70-cutover"') :]
    folds = re.findall(r'<details class="agreed"><summary>(.*?)</summary>(.*?)</details>', part, re.DOTALL)
    assert [words(summary) for summary, _ in folds[:3]] == [
        "✔ before: 1 as expected",
        "✔ after: 3 NICs are connected to their port groups",
        "✔ after: 1 more as expected",
    ]
    assert [f"eth{n} is wired" in folds[1][1] for n in range(3)] == [True] * 3
    opened = re.sub("<details.*?</details>", "", part, flags=re.DOTALL)
    assert ("it serves" in opened, "is wired" in opened) == (True, False)


def test_what_a_runbook_showed_is_in_the_page_and_escaped(move: Move) -> None:
    run = move.ran("10-survey")
    nb = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("This is what was **found**:"),
            nbformat.v4.new_markdown_cell("<span>An Exception was", metadata={"tags": ["papermill-error-cell-tag"]}),
            nbformat.v4.new_code_cell(
                "x",
                outputs=[
                    nbformat.v4.new_output("display_data", {"text/plain": "<b>bold</b>", "text/html": "<script>1</script>"}),
                    nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<IPython.Image>"}),
                    nbformat.v4.new_output("error", ename="ToolFailed", evalue="it broke"),
                ],
            ),
        ]
    )
    (move.folder / "runs").mkdir()
    nbformat.write(nb, move.folder / "runs" / f"{run}.ipynb")
    page = move.page()
    parsed(page)
    assert "<script>" not in page
    assert "This is what was found <b>bold</b> ToolFailed: it broke" in words(page)
    assert 'alt="Picture shown by This is what was found"' in page


@pytest.mark.parametrize(
    ("cell", "longest", "small"), [("show.table(x)", 150, True), ("show.table(x)", 151, False), ("x", 150, False)]
)
def test_only_a_table_that_fits_a_page_in_small_letters_gets_them(move: Move, cell: str, longest: int, small: bool) -> None:
    run = move.ran("10-survey")
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, outputs=[nbformat.v4.new_output("stream", text=f"short\n{longest * 'x'}\n")])]
    )
    (move.folder / "runs").mkdir()
    nbformat.write(nb, move.folder / "runs" / f"{run}.ipynb")
    assert ('<pre class="wide">' in move.page()) == small


def test_a_secret_in_the_journal_does_not_reach_the_page(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    site = move.home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("file:outputs/lab/vcenter.password", "env:VC_PASSWORD"))
    monkeypatch.setenv("VC_PASSWORD", "horse<battery")
    move.ran("10-survey", result="failed", error="VSphereError: wrong password horse<battery")
    page = move.page()
    assert "horse" not in page
    assert "‹env:VC_PASSWORD›" in page


def test_it_is_complete_until_anything_changes(move: Move) -> None:
    assert not report.complete(move.home, "idp")
    move.results("40-convert")
    move.page()
    assert report.complete(move.home, "idp")
    move.ran("90-report")
    assert report.complete(move.home, "idp"), "the report's own run does not make it old"
    made = Conversion.load(move.folder)
    made.model_copy(update={"seconds": 10.0}).save(move.folder)
    assert "conversion.json" in report.complete(move.home, "idp").found
    move.page()
    assert report.complete(move.home, "idp")
    (move.folder / "conversion.json").unlink()
    assert not report.complete(move.home, "idp")


def test_it_is_not_complete_after_another_run(move: Move) -> None:
    move.results("20-plan")
    move.page()
    move.ran("30-prepare", result="failed")
    assert "30-prepare" in report.complete(move.home, "idp").found


def test_every_source_stands_there_with_its_hash(move: Move) -> None:
    move.results("50-rehearse")
    text = words(move.page())
    import hashlib

    for name in ("survey.json", "plan.json", "rehearsal/after.png"):
        assert hashlib.sha256((move.folder / name).read_bytes()).hexdigest() in text


def test_what_was_not_measured_of_the_network_is_an_open_point(move: Move) -> None:
    move.results("70-cutover")
    read = words(move.page())
    assert "not seen from inside the guest" in read
    assert "How long the segments were out during the cut-over was not measured" in read
    assert "that is for 80-netperf" in read


def test_wiring_outage_speed_and_cause_stand_in_the_report_as_they_were_measured(move: Move) -> None:
    move.results("70-cutover")
    nic = wiring.NicWiring(
        name="eth0", mac=MAC, link="up", planned="servers", seen=(), verdict="silent", frames=0, sent=0, after=None
    )
    Wiring(run="one", since=SINCE, witness=wiring.Witness(host="idp", way="passive", seconds=20, nics=(nic,))).save(move.folder)
    move.meter()
    slow, fast = (Measured(since=since, series=series(x), folder="") for x, since in ((0.5, SINCE), (94.0, "")))
    Throughput(measured={"before the move": fast, "since the move": slow}).save(move.folder)
    read = words(move.page())
    assert "0 of 1 NICs on their segments; eth0 silent" in read
    assert "The network is not proved to be as fast as without the guest: slower than without the guest: 0.005" in read
    assert "throughput before the move as fast as without the guest: 1.000 [0.999, 1.001]" in read
    assert "outage during the cut-over" in read
    assert " 2.05 s" in read
    assert "Not every NIC was proved to be on its segment: eth0 silent" in read
    assert "In service on vSphere, and slows its network down" in read
    assert "was not measured" not in read


def test_what_was_measured_when_a_cause_was_looked_for_is_before_a_remedy_only_where_there_was_one(move: Move) -> None:
    move.results("70-cutover")
    move.remedy()
    found = Cure.find(move.folder)
    assert found
    found.model_copy(update={"before": Measured(since=SINCE, series=series(0.5), folder="")}).save(move.folder)
    assert "before the remedy slower than without the guest" in words(move.page())
    (move.folder / Applied.filename).unlink()
    assert "before the remedy" not in words(move.page())


def test_what_was_measured_of_an_earlier_cut_over_proves_nothing_for_this_one(move: Move) -> None:
    move.results("70-cutover")
    nic = wiring.NicWiring(
        name="eth0", mac=MAC, link="up", planned="servers", seen=(), verdict="ok", frames=0, sent=0, after=None
    )
    earlier = "2026-11-01T00:00:00+00:00"
    seen = wiring.Witness(host="idp", way="passive", seconds=20, nics=(nic,))
    Wiring(run="one", since=earlier, witness=seen).save(move.folder)
    Throughput(measured={"since the move": Measured(since=earlier, series=series(94.0), folder="")}).save(move.folder)
    read = words(move.page())
    assert "not seen from inside the guest" in read
    assert "that is for 80-netperf" in read


def test_the_browser_itself_refuses_every_request_of_the_page(move: Move) -> None:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in parsed(move.page()).seen


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    if len(colour) == 4:
        colour = "#" + "".join(2 * c for c in colour[1:])
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_can_be_read_on_every_ground(move: Move) -> None:
    styles = re.search(r"<style>(.*)</style>", move.page(), re.DOTALL)
    assert styles is not None
    inks = set(re.findall(r"[{;\s]color: (#[0-9a-f]+)", styles[1]))
    grounds = set(re.findall(r"background: (#[0-9a-f]+)", styles[1]))
    assert len(inks) > 3
    assert len(grounds) > 3
    for ink, ground in itertools.product(inks, grounds):
        assert (luminance(ground) + 0.05) / (luminance(ink) + 0.05) >= 4.5, (ink, ground)


def test_headings_follow_one_another_without_a_gap(move: Move) -> None:
    move.results("70-cutover")
    levels = [int(t[1]) for t, _ in parsed(move.page()).seen if re.fullmatch("h[1-6]", t)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report of a guest in service whose network was measured, in both languages: drawing takes a second each."""
    root = tmp_path_factory.mktemp("measured")
    shutil.copytree(PROJECT / "params", root / "params")
    move = Move(Home(root))
    measure(move)
    return {"en": move.page(), "ja": japanese(move)}


def test_every_drawn_bar_has_its_words(measured: dict[str, str]) -> None:
    bars = [a for t, a in parsed(measured["en"]).seen if t == "svg"]
    assert len(bars) == 3
    assert all(b["role"] == "img" and b["aria-label"] for b in bars)


def measure(move: Move) -> None:
    """What is measured of a guest in service: outage, speed before and after, a remedy."""
    move.results("70-cutover")
    found = outage.read(DATA.parent / "outage" / "one-2.05--behind-arp.jsonl")
    found.model_copy(update={"since": SINCE}).save(move.folder)
    before, after = (Measured(since=since, series=series(94.0), folder="") for since in ("", SINCE))
    Throughput(measured={"before the move": before, "since the move": after}).save(move.folder)
    move.remedy(switches=[{"nic": "eth0", "feature": "lro"}])


def test_the_first_page_has_times_outage_speed_and_changes(measured: dict[str, str]) -> None:
    read = words(measured["en"]).split("Open points, and what is not proved")[0]
    assert re.search(r"surveyed \d{4}-\d\d-\d\d \d\d:\d\d 0 s planned ", read)
    assert "2.05 s the longest of a segment" in read
    assert "100 % of the direct way's throughput (99.9 to 100.1 %), after the move" in read
    assert re.search(r"before the move, under Xen 94\.\d+ 94\.\d+ 1\.000 \[0\.999, 1\.001\]", read)
    assert "Kernel 2.6.18-398.el5: the highest of 2 that boot without Xen" in read
    assert "In the running guest: LRO switched off on eth0" in read
    assert "The network is as fast as without the guest." in read


def test_a_repeat_that_finds_everything_done_does_not_change_when_it_was_cut_over(move: Move) -> None:
    move.results("70-cutover")
    first = gather(move.home, "idp").steps[6]
    about = {"run": "20261122T000099Z-70-cutover", "step": "70-cutover"}
    move.journal.append("open", **about, mode="apply")
    move.journal.append("step", **about, title="act", state="already", seconds=0.1, found="as planned")
    move.journal.append("outcome", **about, mode="apply", outcome="succeeded", error="")
    again = gather(move.home, "idp").steps[6]
    assert again.run != first.run
    assert again.did == first.did is not None


def test_long_lists_end_on_the_first_page_with_a_pointer_and_go_on_later(move: Move) -> None:
    measure(move)
    found = outage.Outages.load(move.folder)
    many = tuple(found.segments[0].model_copy(update={"name": f"vlan{n}"}) for n in range(14))
    found.model_copy(update={"segments": many}).save(move.folder)
    page = first_page.first(gather(move.home, "idp"))
    assert (len(page.segments), page.more_segments) == (12, 2)
    read = words(move.page())
    assert "And 2 more: see the timeline of the outage." in read
    assert "vlan13 2.05 s" in read, "in the appendix"


def test_who_approved_which_plan_stands_there_and_whether_it_counts(move: Move) -> None:
    move.results("60-deploy")
    by = move.approve()
    move.ran("70-cutover")
    read = words(move.page())
    assert f"approved by {by.principal}" in read.split("Open points")[0]
    assert move.plan.hash in read
    assert f"{by.fingerprint} yes" in read
    path = next((move.folder / "approvals").glob("*.txt"))
    path.write_text(path.read_text().replace("the page", "another page"))
    assert not report.complete(move.home, "idp"), "the report tells of approvals as they were"
    read = words(move.page())
    assert "approved by" not in read.split("Open points")[0]
    assert f"{by.fingerprint} yes" not in read


def test_the_guests_records_stand_there_as_the_register_has_them(move: Move) -> None:
    assert "No record of this guest was sealed" in words(move.page())
    register = Register(move.home.outputs / "records" / "register.tsv")
    for guest in ("idp", "other"):
        with register.locked():
            register.append(
                sealed="2026-11-22", guest=guest, record=f"RUN-{guest}", outcome="failed", sha256="f" * 64, signer="op"
            )
    read = words(move.page())
    assert f"1 2026-11-22 RUN-idp failed op {'f' * 64}" in read
    assert "RUN-other" not in read


def test_the_report_says_that_it_is_not_signed_and_how_to_check_it(move: Move) -> None:
    read = words(move.page())
    assert "This file alone is not signed: the end of the report says how to check it." in read
    told = read.split("How to check this report")[1]
    assert "hikkoshi verify outputs/records/idp cmp outputs/reports/idp.html" in told
    (name,) = {tag for tag in inspection.TAGS if tag.endswith(".txt") and tag == tag.upper().replace(".TXT", ".txt")}
    assert f"the record's own {name} says how" in told


def test_without_a_chromium_the_old_pdf_is_gone_and_it_is_said_what_to_install(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    move.page()
    written = report.path(move.home, "idp")
    pdf.path(written).write_bytes(b"%PDF-1.4 of another report %%EOF")
    assert pdf.complete(written)
    monkeypatch.setattr(pdf, "PROGRAMS", ("no-such-chromium",))
    found = pdf.write(written)
    assert not found
    assert "not installed" in found.found
    assert "install Chromium" in found.remedy
    assert not pdf.path(written).exists()
    assert not pdf.complete(written)


def test_an_older_reports_pdf_does_not_stay_beside_a_new_report(move: Move) -> None:
    move.page()
    older = pdf.path(report.path(move.home, "idp"))
    older.write_bytes(b"%PDF-1.4 of an older report %%EOF")
    move.page()
    assert not older.exists()


def test_a_pdf_that_was_cut_off_is_none(move: Move) -> None:
    move.page()
    written = report.path(move.home, "idp")
    pdf.path(written).write_bytes(b"%PDF-1.4 and no end")
    assert not pdf.complete(written)


JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
SITE = "Information and Communication Technology Center (lab)"
SAME = {
    SITE,
    *map(str, survey().guest.warnings),
    "NIC",
    "MAC",
    "VLAN",
    "SHA-256",
    "VMDK",
    "idp",
    "Hikkoshi",
    "Python",
    "2",
    "1",
}  # in every language


def japanese(move: Move) -> str:
    site = move.home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("lang: en", "lang: ja"))
    return move.page()


def between(page: str, tags: str) -> list[str]:
    """What stands in elements of these kinds."""
    return [words(inner) for _, inner in re.findall(rf"<({tags})\b[^>]*>(.*?)</\1>", page, re.DOTALL)]


@pytest.mark.parametrize("through", ["", "20-plan", "50-rehearse", "measured", "rolled back", "failed"])
def test_a_japanese_report_has_no_english_heading_verdict_or_explanation(
    move: Move, measured: dict[str, str], through: str
) -> None:
    if through in STEPS:
        move.results(through)
    if through == "rolled back":
        move.results("70-cutover")
        move.ran("75-rollback")
        (move.folder / "cutover.json").unlink()
    if through == "failed":
        move.results("40-convert")
        move.ran("50-rehearse", result="failed", error="ToolFailed: 起動しない")
    page = measured["ja"] if through == "measured" else japanese(move)
    assert ("html", {"lang": "ja"}) in parsed(page).seen
    shown, evidence = page.split('<h2 id="appendix">')
    for element in between(page, "h1|h2|caption|title") + between(shown, "h3|li|p|figcaption|summary"):
        assert JAPANESE.search(element) or element in SAME, element
    for element in between(page, "h3"):
        assert JAPANESE.search(element) or element in SAME, element
    for head in re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page):
        assert JAPANESE.search(head) or head in SAME, head
    for words_of_a_bar in re.findall(r'(?:aria-label|alt)="([^"]*)"', page):
        assert JAPANESE.search(words_of_a_bar), words_of_a_bar
    for paragraph in between(re.sub(r"<details.*?</details>", "", evidence, flags=re.DOTALL), "p|li"):
        assert JAPANESE.search(paragraph), paragraph
    assert "英語の原文" in evidence, "it says what stays English"


def test_numbers_and_dates_are_the_same_in_both_languages(measured: dict[str, str]) -> None:
    found = {lang: re.findall(r"\d+\.\d\d\d|\d{4}-\d\d-\d\d", words(page)) for lang, page in measured.items()}
    today = datetime.now(UTC).date()
    now = {today.isoformat(), (today - timedelta(days=1)).isoformat()}  # a page may be older than midnight, the other younger
    same = [[x for x in sorted(each) if x not in now] for each in found.values()]
    assert same[0] == same[1] != []


def test_everything_that_is_said_goes_through_the_catalogue(move: Move) -> None:
    def marked(message: str) -> str:
        return f"⟦{message}⟧"

    measure(move)
    (move.folder / "wiring.json").unlink(missing_ok=True)
    story = gather(move.home, "idp")
    page = first_page.first(story, marked)
    said = [page.verdict, page.service, page.longest, *page.changes, *page.points, *(t.what for t in page.times)]
    said += [s.out for s in page.segments] + [s.what for s in page.speeds] + [s.words for s in page.speeds]
    assert len(said) > 20
    assert all("⟦" in words for words in said), said


def test_the_table_of_the_runbook_is_in_the_sites_language(move: Move) -> None:
    move.results("20-plan")
    assert report.table(move.home, "idp")[0]["what"] == "verdict"
    japanese(move)
    assert report.table(move.home, "idp")[0]["what"] == translations("ja").gettext("verdict")


def test_what_other_modules_tell_of_a_guest_is_known_to_the_catalogue() -> None:
    facts = survey().guest
    ja = translations("ja").gettext
    planned = preparation.plan(
        facts, controller="pvscsi", nic_model="vmxnet3", macs={"eth0": "00:16:3e:01:00:00", "eth1": "00:16:3e:01:00:01"}
    )
    old = facts.model_copy(update={"release": "5.3"})
    new = facts.model_copy(update={"release": "7.9"})
    sentences = [
        *(e.why for e in planned.edits),
        planned.kernel_because,
        *(note for note in planned.notes if note not in facts.warnings),
        *(clock.advice(f) for f in (facts, old)),
        *(tools.advice(f) for f in (facts, new)),
    ]
    assert len(sentences) > 12
    assert [n for n in sentences if not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", n.said(ja))] == []


def test_a_first_start_that_failed_or_that_nobody_saw_is_an_open_point(move: Move) -> None:
    carried = Carried(file="scripts/one.sh", sha256="a" * 64, bytes=1)
    inside = move.plan.preparation.model_copy(update={"additions": Additions(first_start=(carried,))})
    move.plan = move.plan.model_copy(update={"preparation": inside})
    move.serve()
    assert "Scripts run at the guest's first start: what became of them was not seen." in words(move.page())
    assert "Scripts of the site for the moved guest's first start: one.sh (aaaaaaaaaaaaaaaa…)" in words(move.page())
    Arrival(since=SINCE, state="complete", first=(Started(name="01-one.sh", status=3),), log="").save(move.folder)
    assert "01-one.sh at the first start ended with exit status 3" in words(move.page())
    Arrival(since=SINCE, state="interrupted", first=(Started(name="01-one.sh", status=None),), log="").save(move.folder)
    assert "01-one.sh at the first start has not come to its end." in words(move.page())
    Arrival(since=SINCE, state="complete", first=(Started(name="01-one.sh", status=0),), log="").save(move.folder)
    assert "first start ended" not in words(move.page())
