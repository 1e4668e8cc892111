"""The report tells what is there, says what is not, and needs nothing but a browser."""

import html.parser
import re
from pathlib import Path

import nbformat
import pytest

from hikkoshi import plan
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.disk.source import DiskFacts
from hikkoshi.guest.facts import GuestFacts, Interface, Kernel
from hikkoshi.guest.prepared import Prepared
from hikkoshi.journal import Journal
from hikkoshi.network import outage, wiring
from hikkoshi.network.sequential import Run, Series
from hikkoshi.observation import Wiring
from hikkoshi.params import Home
from hikkoshi.record import report
from hikkoshi.rehearsal.outcome import Ending, Outcome, SeenNic
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.survey import Survey
from hikkoshi.throughput import Measured, Throughput
from hikkoshi.vsphere.cutover import CutOver
from hikkoshi.vsphere.deployment import Deployment
from hikkoshi.vsphere.readback import NicFound
from hikkoshi.xen.config import Vif, XenDisk, XenGuest

DATA = Path(__file__).parents[1] / "data" / "guest"
MAC = "00:16:3e:01:00:00"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8cfc0f01f0005050102a0d1e2c40000000049454e44ae426082"
)
STEPS = ("10-survey", "20-plan", "30-prepare", "40-convert", "50-rehearse", "60-deploy", "70-cutover")


def survey() -> Survey:
    def kernel(index: int, version: str) -> Kernel:
        claims = {"15ad:07c0": ("vmw_pvscsi",), "15ad:07b0": ("vmxnet3",)}
        return Kernel(
            index=index,
            title=version,
            version=version,
            image=f"/boot/vmlinuz-{version}",
            initrd=f"/boot/initrd-{version}.img",
            xen_only=version.endswith("xen"),
            initrd_modules=("ext3", "xenblk"),
            claims={} if version.endswith("xen") else claims,
        )

    network = "/etc/sysconfig/network-scripts/ifcfg-eth0"
    texts = {
        "/boot/grub/grub.conf": "grub-xen-default.conf",
        "/etc/fstab": "fstab-xvda",
        "/etc/modprobe.conf": "modprobe-xen.conf",
        "/etc/inittab": "inittab-el5-xvc0",
        "/etc/sysconfig/kernel": "sysconfig-kernel",
        network: "ifcfg-eth0-hwaddr",
    }
    return Survey(
        xen=XenGuest(
            name="idp",
            memory_mb=1024,
            disks=(XenDisk(vdev="xvda", target="/var/lib/xen/images/idp.img"),),
            vifs=(Vif(mac=MAC, bridge="xenbr210"),),
        ),
        disk=DiskFacts(
            path="/images/idp.img",
            kind="file",
            bytes=9 << 30,
            allocated_bytes=1 << 30,
            mtime_ns=0,
            table="mbr",
            boot_loader="grub-legacy",
        ),
        origin=Origin.whole(Path("/images/idp.img")),
        bytes=9 << 30,
        digest="d" * 64,
        guest=GuestFacts(
            distribution="centos",
            release="5.11",
            arch="x86_64",
            hostname="idp",
            boot_loader="grub-legacy",
            boot_config="/boot/grub/grub.conf",
            default_kernel=0,
            kernels=(kernel(0, "2.6.18-398.el5xen"), kernel(1, "2.6.18-371.el5"), kernel(2, "2.6.18-398.el5")),
            partitions=(),
            interfaces=(Interface(name="eth0", file=network, mac=MAC, address="10.2.10.5/24"),),
            forwards=False,
            forwards_because="nothing says so",
            texts={path: (DATA / name).read_text() for path, name in texts.items()},
            initrd_maker="/sbin/mkinitrd",
            warnings=("the guest's clock is kept by Xen",),
        ),
    )


def outcome(name: str, ending: Ending, words: str, *nics: SeenNic) -> Outcome:
    return Outcome(
        ending=ending,
        words=words,
        seconds=12.5,
        accelerator="tcg",
        controller="pvscsi",
        nic_model="vmxnet3",
        kernel="2.6.18-398.el5" if nics else "",
        root="/dev/sda1" if nics else "",
        nics=nics,
        picture=f"rehearsal/{name}.png",
        screen=f"rehearsal/{name}.txt",
        console=f"rehearsal/{name}.console.txt",
        disk_unchanged=True,
    )


class Move:
    """A guest's folder, filled step by step as the steps would."""

    def __init__(self, home: Home) -> None:
        self.home, self.folder = home, home.folder("idp")
        self.survey = survey()
        self.plan = plan.make(home.guest("idp"), home.site(), self.survey)
        self.journal = Journal(self.folder / "journal.jsonl")
        self.n = 0

    def ran(self, step: str, mode: str = "apply", result: str = "succeeded", error: str = "") -> str:
        self.n += 1
        about = {"run": f"20261122T0000{self.n:02d}Z-{step}", "step": step}
        checks = [{"title": f"check of {step}", "state": "ok", "found": "1 < 2 & true", "expected": ""}]
        self.journal.append("open", **about, mode=mode)
        self.journal.append("preflight", **about, state="ok", checks=checks)
        self.journal.append("step", **about, title=f"act in {step}", state="done", seconds=1.5, found="as planned")
        self.journal.append("outcome", **about, mode=mode, outcome=result, error=error)
        return about["run"]

    def results(self, through: str) -> None:
        """Write the results of the steps up to and with `through`."""
        shown = self.folder / "rehearsal"
        shown.mkdir(parents=True, exist_ok=True)
        identity = Identity(bytes=1, mtime_ns=1, sample_sha256="e" * 64)
        nic = SeenNic(name="eth0", mac=MAC, driver="vmxnet3", addresses=("10.2.10.5/24",))
        nics = tuple(
            NicFound(
                mac=MAC, label="", model="vmxnet3", port_group="servers-210", vlan=210, start_connected=c, connected=c
            )
            for c in (False, True)
        )
        for step in STEPS[: STEPS.index(through) + 1]:
            self.ran(step)
            match step:
                case "10-survey":
                    self.survey.save(self.folder)
                case "20-plan":
                    self.plan.save(self.folder)
                case "30-prepare":
                    Prepared(
                        preparation=self.plan.preparation.hash,
                        source=identity,
                        disk=identity,
                        facts=self.survey.guest,
                        kept={},
                        initrd_modules_before=("xenblk",),
                        initrd_modules_after=("vmw_pvscsi",),
                        accelerator="tcg",
                        seconds=3,
                    ).save(self.folder)
                case "40-convert":
                    Conversion(
                        vmdk="idp.vmdk",
                        vmdk_bytes=1 << 20,
                        vmdk_sha256="a" * 64,
                        vmdk_sha1="b" * 40,
                        virtual_bytes=9 << 30,
                        copy_bytes=9 << 30,
                        copy_digest="c" * 64,
                        level="fast",
                        threads=2,
                        qemu_img="7.2.22",
                        samples=((0.0, 0), (9.0, 1024)),
                        seconds=9,
                    ).save(self.folder)
                case "50-rehearse":
                    for name in ("before", "after"):
                        (shown / f"{name}.png").write_bytes(PNG)
                        (shown / f"{name}.txt").write_text(f"screen {name} <&>")
                    Rehearsal(
                        vmdk_sha256="a" * 64,
                        plan_hash=self.plan.hash,
                        before=outcome(
                            "before", Ending.GRUB_ERROR, "Error 13: Invalid or unsupported executable format"
                        ),
                        after=outcome("after", Ending.LOGIN, "idp login:", nic),
                    ).save(self.folder)
                case "60-deploy":
                    Deployment(
                        guest="idp",
                        server="vc",
                        moid="vm-7",
                        name="idp",
                        instance_uuid="",
                        host="esx1",
                        plan_hash=self.plan.hash,
                        vmdk_bytes=1 << 20,
                        vmdk_sha1="b" * 40,
                        vmdk_sha256="a" * 64,
                        manifest="checksums agree",
                        warnings=(),
                        seconds=4,
                        nics=nics[:1],
                    ).save(self.folder)
                case "70-cutover":
                    CutOver(guest="idp", moid="vm-7", since="2026-11-22T00:00:00+00:00", nics=nics[1:]).save(
                        self.folder
                    )

    def page(self) -> str:
        return report.write(self.home, "idp").read_text(encoding="utf-8")


@pytest.fixture
def move(home: Home) -> Move:
    return Move(home)


def words(page: str) -> str:
    """What a reader reads: tags and styles taken away."""
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


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
        ("", "Nothing has been done yet"),
        ("10-survey", "Under way: 20-plan is next"),
        ("50-rehearse", "Under way: 60-deploy is next"),
        ("60-deploy", "Deployed and waiting for its cut-over"),
        ("70-cutover", "In service on vSphere"),
    ],
)
def test_the_verdict_follows_what_was_done(move: Move, through: str, verdict: str) -> None:
    if through:
        move.results(through)
    assert f'">{verdict}</p>' in move.page()


def test_what_is_missing_is_told_as_not_done_yet(move: Move) -> None:
    move.results("10-survey")
    text = words(move.page())
    assert "20-plan (what it will become) is not done yet." in text
    assert "No picture yet" in text
    assert "60-deploy not done yet" in text


def test_a_failed_run_is_told_as_failed(move: Move) -> None:
    move.results("30-prepare")
    move.ran("40-convert", result="failed", error="ToolFailed: qemu-img failed\n  found: <no space>")
    page = move.page()
    assert '<p class="verdict bad">40-convert has failed</p>' in page
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


def test_an_interrupted_run_is_told_as_interrupted(move: Move) -> None:
    move.results("30-prepare")
    move.ran("40-convert", result="interrupted")
    assert "40-convert was interrupted" in words(move.page())


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
    assert "UTC already act in 30-prepare 0.1" in text


def test_what_was_only_planned_is_an_open_point(move: Move) -> None:
    move.results("20-plan")
    move.ran("30-prepare", mode="plan")
    assert "30-prepare (make a copy bootable on VMware) was only planned" in words(move.page())


def test_each_nic_stands_with_plan_rehearsal_and_vsphere_side_by_side(move: Move) -> None:
    move.results("60-deploy")
    assert f"eth0 {MAC} servers 210 servers-210 vmxnet3 10.2.10.5/24 servers-210, VLAN 210, unplugged" in words(
        move.page()
    )
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
    assert "The rehearsal did not succeed" in page
    assert "another VMDK" in page
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
        assert f"<summary><code>{edit.path}</code></summary>" in page
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


def test_what_a_runbook_showed_is_in_the_page_and_escaped(move: Move) -> None:
    run = move.ran("10-survey")
    nb = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("This is what was **found**:"),
            nbformat.v4.new_code_cell(
                "x",
                outputs=[
                    nbformat.v4.new_output(
                        "display_data", {"text/plain": "<b>bold</b>", "text/html": "<script>1</script>"}
                    ),
                    nbformat.v4.new_output(
                        "display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<IPython.Image>"}
                    ),
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


SINCE = "2026-11-22T00:00:00+00:00"  # of the cut-over above


def series(through: float) -> Series:
    runs = [
        Run(number=n, path=path, began="2026-11-22T00:00:00.000+00:00", seconds=2, throughput=value + n / 100)
        for n, (path, value) in enumerate([("through", through), ("direct", 94.0)] * 5, 1)
    ]
    return Series(through="through", direct="direct", unit="10^6 bits/s", seed=1, runs=tuple(runs), ended="decided")


def test_what_was_not_measured_of_the_network_is_an_open_point(move: Move) -> None:
    move.results("70-cutover")
    read = words(move.page())
    assert "not seen from inside the guest" in read
    assert "How long the segments were out during the cut-over was not measured" in read
    assert "that is for 80-netperf" in read


def test_wiring_outage_speed_and_cause_stand_in_the_report_as_they_were_measured(move: Move) -> None:
    move.results("70-cutover")
    nic = wiring.Nic(
        name="eth0", mac=MAC, link="up", planned="servers", seen=(), verdict="silent", frames=0, sent=0, after=None
    )
    Wiring(run="one", since=SINCE, witness=wiring.Witness(host="idp", way="passive", seconds=20, nics=(nic,))).save(
        move.folder
    )
    found = outage.read(DATA.parent / "outage" / "one-2.05--behind-arp.jsonl")
    found.model_copy(update={"since": SINCE}).save(move.folder)
    slow, fast = (Measured(since=since, series=series(x), folder="") for x, since in ((0.5, SINCE), (94.0, "")))
    Throughput(measured={"before the move": fast, "since the move": slow}).save(move.folder)
    read = words(move.page())
    assert "0 of 1 NICs on their segments; eth0 silent" in read
    assert "The network is not proved to be as fast as without the guest: regressed" in read
    assert "throughput before the move recovered" in read
    assert "outage during the cut-over" in read
    assert " 2.05 s" in read
    assert "Not every NIC was proved to be on its segment: eth0 silent" in read
    assert "In service on vSphere, and slows its network down" in read
    assert "was not measured" not in read


def test_what_was_measured_of_an_earlier_cut_over_proves_nothing_for_this_one(move: Move) -> None:
    move.results("70-cutover")
    nic = wiring.Nic(
        name="eth0", mac=MAC, link="up", planned="servers", seen=(), verdict="ok", frames=0, sent=0, after=None
    )
    earlier = "2026-11-01T00:00:00+00:00"
    seen = wiring.Witness(host="idp", way="passive", seconds=20, nics=(nic,))
    Wiring(run="one", since=earlier, witness=seen).save(move.folder)
    Throughput(measured={"since the move": Measured(since=earlier, series=series(94.0), folder="")}).save(move.folder)
    read = words(move.page())
    assert "not seen from inside the guest" in read
    assert "that is for 80-netperf" in read
