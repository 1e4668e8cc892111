"""Approvals by real OpenSSH keys: what counts, and why everything else does not."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import journey
from hikkoshi import tool
from hikkoshi.approval import approval, approver, plan, proposal, signatory, signature
from hikkoshi.approval.approval import Approval
from hikkoshi.approval.plan import Plan
from hikkoshi.approval.statement import Statement, parse
from hikkoshi.approval.subject import Subject
from hikkoshi.approval.terms import Terms
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Refused
from hikkoshi.guest.survey import Survey
from hikkoshi.network.remedy.prescription import Prescription as Remedy
from hikkoshi.network.remedy.remedy import Applied
from hikkoshi.params.home import Home
from hikkoshi.run import row
from hikkoshi.run import run as running
from hikkoshi.run.run import open_run
from hikkoshi.run.step import APPROVED
from hikkoshi.steps.offloads import Offloads
from hikkoshi_lab import keys
from processes import without_a_process as hikkoshi
from runbooks import parameters

pytestmark = pytest.mark.needs("ssh-keygen")
PROJECT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 27, 20, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PAGE = "What changes\n  - everything\n"


class World:
    """A home with the lab's keys, the gateway's plan in it, and the ways to approve and to ask."""

    def __init__(self, home: Home) -> None:
        self.home, self.plan = home, Plan.load(home.folder("gateway"))
        self.folder, self.site = approval.folder(home, "gateway"), home.root / "params" / "site.yml"
        self.allowed, self.revoked = (keys.folder(home) / name for name in ("allowed_signers", "revoked"))

    def key(self, name: str) -> Path:
        return keys.folder(self.home) / name

    def give(self, key: str = "approver", now: datetime = NOW, page: str = PAGE) -> Approval:
        by = approver.of(self.home, "gateway", self.key(key))
        return approval.give(self.home, "gateway", self.plan, page, by, now=now)

    def ask(self, now: datetime = LATER, guest: str = "gateway") -> Check:
        return approval.check(self.home, guest, self.plan, now)

    def ask_now(self) -> Check:
        return approval.check(self.home, "gateway", self.plan)

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        path = path or self.site
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def written(self, said: Statement, key: str = "approver", name: str = "by-hand.txt") -> Path:
        """A statement that somebody signed with a program of their own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_bytes(said.text().encode())
        signature.sign(path, self.key(key), "approval")
        return path

    def said(self, **other: object) -> Statement:
        site, week = self.home.site(), timedelta(days=7)
        usual = Statement(
            "gateway",
            site.name,
            site.vsphere.server,
            self.plan.hash,
            "approver@lab",
            NOW,
            NOW + week,
            PAGE,
            decisions=self.plan.decisions,
            vmdk=journey.VMDK,
            machine=journey.MACHINE,
        )
        return replace(usual, **other)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = parameters(tmp_path_factory.mktemp("made"))
    keys.make(home)
    survey = Survey.model_validate_json((PROJECT / "tests/data/survey/gateway.json").read_bytes())
    decided = plan.make(home, home.guest("gateway"), home.site(), survey)
    decided.save(home.folder("gateway"))
    journey.converted(home.folder("gateway"))
    journey.deployed(home.folder("gateway"), decided)
    return home.root


@pytest.fixture
def world(made: Path, tmp_path: Path) -> World:
    shutil.copytree(made, tmp_path / "home")
    return World(Home(tmp_path / "home"))


def test_an_approval_counts_and_says_by_whom_and_until_when(world: World) -> None:
    made = world.give()
    assert world.ask()
    assert world.ask().found == "approved by approver@lab until 2026-12-04 20:00 UTC"
    assert made.path.name == "20261127T200000Z-approver@lab.txt"
    assert made.path.read_text().endswith(f"\n\n{PAGE}")


def test_sha256sum_and_ssh_keygen_alone_can_tell_the_same(world: World) -> None:
    made = world.give()
    printed = tool.run(["sha256sum", world.home.folder("gateway") / "plan.json"]).stdout.split()[0]
    assert f"plan: {printed}\n" in made.path.read_text()
    argv: list[str | Path] = ["ssh-keygen", "-Y", "verify", "-f", world.allowed, "-I", "approver@lab", "-n", "approval"]
    told = tool.run([*argv, "-s", signature.path_of(made.path)], stdin=made.path.read_bytes()).stdout
    assert 'Good "approval" signature for approver@lab' in told


def test_without_an_approval_the_remedy_is_the_command_that_gives_one(world: World) -> None:
    found = world.ask()
    assert not found
    assert (found.found, found.later) == ("nobody has approved it", True)
    assert found.remedy == "a second person: hikkoshi approve gateway --key THEIR_KEY"


def test_without_a_plan_there_is_nothing_to_approve(world: World) -> None:
    found = approval.check(world.home, "gateway", None)
    assert not found
    assert "no plan" in found.found


def test_another_plan_withdraws_it(world: World) -> None:
    world.give()
    vm = world.plan.vm.model_copy(update={"memory_mb": 2048})
    world.plan = world.plan.model_copy(update={"vm": vm})
    world.plan.save(world.home.folder("gateway"))
    assert "superseded: of another plan" in world.ask().found


def test_another_disk_withdraws_it(world: World) -> None:
    world.give()
    journey.converted(world.home.folder("gateway"), vmdk="b" * 64)
    found = world.ask()
    assert not found
    assert "nothing of this plan stands in vSphere" in found.found
    journey.deployed(world.home.folder("gateway"), world.plan, vmdk="b" * 64)
    found = world.ask()
    assert not found
    assert f"superseded: of another disk, {'a' * 16}…, not {'b' * 16}…" in found.found


def test_another_machine_withdraws_it(world: World) -> None:
    world.give()
    journey.deployed(world.home.folder("gateway"), world.plan, machine="5032c8a5-0000-0000-0000-000000000000")
    found = world.ask()
    assert not found
    assert "superseded: of another machine" in found.found


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "site",
            "datastore: storage1",
            "datastore: storage2",
            "vsphere.datastore was storage1 when it was planned, is storage2 now",
        ),
        ("site", "cluster: management", "cluster: public", "vsphere.cluster was management"),
        ("site", "datacenter: campus", "datacenter: other", "vsphere.datacenter was campus"),
        ("site", "  cluster:", "  folder: elsewhere\n  cluster:", "vsphere.folder was vm when it was planned, is elsewhere now"),
        ("site", "127.0.0.1:8989", "127.0.0.1:8990", "vsphere.server was 127.0.0.1:8989"),
        ("site", "user: administrator", "user: root", "vsphere.user was administrator"),
        ("site", "ca: outputs/lab/ca.pem", f"sha256: {'ab' * 32}", "vsphere.certificate was nothing"),
        ("site", "root: outputs/lab/dom0", "root: /", "dom0.root was outputs/lab/dom0 when it was planned, is / now"),
        ("site", "root: outputs/lab/dom0", "ssh: root@xen:22", "is ssh://root@xen:22 now"),
        ("site", "signing:", "signing:\n  two_persons: false\n ", "two_persons was True when it was planned, is False now"),
        ("guest", "config: /etc/xen/gateway", "config: /etc/xen/other", "dom0.config was /etc/xen/gateway"),
        (
            "guest",
            "shell: netns:outputs/lab/netns/gw",
            "shell: ssh://root@other",
            "measurement.shell was netns:outputs/lab/netns/gw when it was planned, is ssh://root@other now",
        ),
        ("guest", "netns/pc3", "netns/pc4", "measurement.direct.client was netns:outputs/lab/netns/pc3"),
        ("guest", "watch: netns:outputs/lab/netns/admin", "watch: here", "measurement.watch was"),
    ],
)
def test_parameters_that_the_page_named_and_that_were_changed_since_are_not_approved(
    world: World, file: str, old: str, new: str, words: str
) -> None:
    world.give(now=datetime.now(UTC))
    assert approval.check(world.home, "gateway", world.plan)
    world.edit(old, new, world.site if file == "site" else world.home.root / "params" / "guests" / "gateway.yml")
    found = approval.check(world.home, "gateway", world.plan)
    assert not found
    assert words in found.found
    with pytest.raises(Refused, match="the parameters are not those of the plan any more"):
        world.give(now=datetime.now(UTC))


def test_another_certificate_authority_under_the_same_name_is_not_approved(world: World) -> None:
    ca = world.home.outputs / "lab" / "ca.pem"
    ca.parent.mkdir(exist_ok=True)
    ca.write_text("theirs")
    found = approval.check(world.home, "gateway", world.plan)
    assert "vsphere.ca was no such file: outputs/lab/ca.pem when it was planned" in found.found


def test_a_certificate_authority_that_cannot_be_read_is_told_and_nothing_is_approved(world: World) -> None:
    ca = world.home.outputs / "lab" / "ca.pem"
    ca.parent.mkdir(exist_ok=True)
    ca.symlink_to("/proc/self/mem")  # a file that not even root can read from its beginning
    found = world.ask_now()
    assert not found
    assert "the certificate authority's file cannot be read" in found.found
    assert "let this user read it" in found.remedy
    with pytest.raises(BadInput, match=r"(?s)cannot be read.*ca.pem.*let this user read it"):
        world.give(now=datetime.now(UTC))


def test_a_list_of_signers_that_cannot_be_read_is_told(world: World) -> None:
    world.allowed.unlink()
    world.allowed.symlink_to("/proc/self/mem")
    found = world.ask()
    assert not found
    assert "a list of keys cannot be read" in found.found


@pytest.mark.parametrize("change", ["one is left out", "one is read elsewhere", "one is added"])
def test_every_dom0_that_is_asked_whether_the_source_is_off_is_bound(world: World, change: str) -> None:
    world.edit("dom0s:\n", "dom0s:\n  other: {root: /mnt/other}\n")
    world.plan = world.plan.model_copy(update={"terms": Terms.of(world.home, world.home.guest("gateway"), world.home.site())})
    world.plan.save(world.home.folder("gateway"))
    journey.deployed(world.home.folder("gateway"), world.plan)
    world.give(now=datetime.now(UTC))
    assert world.ask_now()
    old, new = {
        "one is left out": ("  other: {root: /mnt/other}\n", ""),
        "one is read elsewhere": ("/mnt/other", "/mnt/empty"),
        "one is added": ("dom0s:\n", "dom0s:\n  third: {root: /mnt/third}\n"),
    }[change]
    world.edit(old, new)
    found = world.ask_now()
    assert not found
    assert "dom0s." in found.found


def test_a_plan_that_does_not_name_the_other_dom0s_keeps_its_hash_and_its_page_says_so(world: World) -> None:
    path = world.home.folder("gateway") / "plan.json"
    old = json.loads(path.read_text())
    del old["terms"]["dom0s"]
    world.plan = Plan.model_validate(old)
    world.plan.save(path.parent)
    assert "dom0s" not in path.read_text()
    found = Plan.find(path.parent)
    assert found
    assert found.hash == hashlib.sha256(path.read_bytes()).hexdigest()
    journey.deployed(path.parent, found)
    world.give(now=datetime.now(UTC))
    world.edit("dom0s:\n", "dom0s:\n  other: {root: /mnt/other}\n")
    assert world.ask_now()
    assert "NOT BOUND, this plan is of an earlier version" in " ".join(proposal.page(world.home, "gateway", found, {}).split())


def test_what_only_says_how_long_to_measure_is_no_other_plan(world: World) -> None:
    world.give(now=datetime.now(UTC))
    world.edit("seconds: 1 ", "seconds: 5 ", world.home.root / "params" / "guests" / "gateway.yml")
    assert approval.check(world.home, "gateway", world.plan)


def test_no_secret_and_no_name_of_one_is_in_the_plan(world: World) -> None:
    text = (world.home.folder("gateway") / "plan.json").read_text()
    assert "vcenter.password" not in text
    assert "outputs/keys" not in text


def test_another_segment_for_a_nic_in_the_parameters_is_another_plan(world: World) -> None:
    survey = Survey.model_validate_json((PROJECT / "tests/data/survey/gateway.json").read_bytes())
    survey.save(world.home.folder("gateway"))
    world.give(now=datetime.now(UTC))
    assert approval.check(world.home, "gateway", world.plan)
    world.edit('05:00:00", segment: vlan301', '05:00:00", segment: servers', world.home.root / "params/guests/gateway.yml")
    assert "vm.nics.1.segment was vlan301 when it was planned, is servers now" in world.ask_now().found


def test_nothing_is_approved_before_it_is_deployed(world: World) -> None:
    (world.home.folder("gateway") / "deployment.json").unlink()
    with pytest.raises(Refused, match=r"(?s)nothing to approve yet.*60-deploy.*hikkoshi run gateway --from 30 --apply"):
        world.give()
    journey.deployed(world.home.folder("gateway"), world.plan, plan_hash="f" * 64)
    with pytest.raises(Refused, match="nothing to approve yet"):
        world.give()
    assert not world.folder.exists()
    assert "run 30-prepare to 60-deploy of this plan" in world.ask().remedy


def test_what_an_earlier_version_had_signed_is_read_and_counts_for_nothing_more(world: World) -> None:
    path = world.written(world.said(decisions="", vmdk="", machine=""))
    assert path.read_text().startswith("format: hikkoshi approval 1\nguest: gateway\n")
    assert "of an earlier version: it does not bind disk and machine; approve again" in world.ask().found


def test_for_a_run_of_that_version_it_is_worth_what_it_was(world: World) -> None:
    world.written(world.said(decisions="", vmdk="", machine=""))
    (then,) = approval.held_against(world.home, "gateway", Subject(world.plan.hash), LATER)
    assert not then.flaw


def test_a_plan_of_an_earlier_version_says_which_steps_to_run_again(world: World) -> None:
    path = world.home.folder("gateway") / "plan.json"
    old = json.loads(path.read_text())
    del old["terms"]
    path.write_text(json.dumps(old))
    with pytest.raises(BadInput, match=r"(?s)made by an earlier version.*hikkoshi run gateway --from 20 --apply"):
        Plan.find(path.parent)


def test_a_plan_on_disk_that_is_not_the_one_asked_for_is_not_approved(world: World) -> None:
    world.give()
    world.edit('"memory_mb": 640', '"memory_mb": 644', world.home.folder("gateway") / "plan.json")
    assert not world.ask()
    assert "plan.json is not the plan" in world.ask().found


def test_it_ends_when_the_site_says(world: World) -> None:
    world.give()
    assert world.ask(NOW + timedelta(days=7, seconds=-1))
    assert "expired on 2026-12-04 at 20:00 UTC" in world.ask(NOW + timedelta(days=7)).found


def test_a_site_that_allows_fewer_days_by_now_ends_it_earlier(world: World) -> None:
    world.give()
    world.edit("signing:", "signing:\n  valid_days: 2\n #")
    assert world.ask(NOW + timedelta(days=1)).found.endswith("until 2026-11-29 20:00 UTC")
    assert "expired on 2026-11-29" in world.ask(NOW + timedelta(days=2)).found


def test_a_site_that_allows_more_days_by_now_does_not_make_it_longer(world: World) -> None:
    world.give()
    world.edit("signing:", "signing:\n  valid_days: 30\n #")
    assert "expired on 2026-12-04" in world.ask(NOW + timedelta(days=8)).found


def test_days_that_the_approver_wrote_in_by_hand_do_not_count(world: World) -> None:
    world.written(world.said(expires=NOW + timedelta(days=3650)))
    assert world.ask()
    assert "expired on 2026-12-04" in world.ask(NOW + timedelta(days=8)).found


def test_one_from_the_future_does_not_count_yet(world: World) -> None:
    world.give(now=LATER)
    assert "from the future" in world.ask(NOW).found


def test_the_last_date_that_there_is_is_the_future_and_no_error(world: World) -> None:
    world.written(world.said(approved=datetime(9999, 12, 30, tzinfo=UTC), expires=datetime(9999, 12, 31, tzinfo=UTC)))
    assert "from the future" in world.ask().found


def test_a_key_that_has_expired_since_does_not_count(world: World) -> None:
    world.give()
    world.edit('namespaces="approval"', 'namespaces="approval",valid-before="20261128"', world.allowed)
    assert world.ask()
    assert "expired" in world.ask(NOW + timedelta(days=2)).found


def test_a_statement_dated_back_to_before_its_key_was_good_does_not_count(world: World) -> None:
    world.written(world.said())
    world.edit('namespaces="approval"', 'namespaces="approval",valid-after="20261127203000"', world.allowed)
    found = world.ask(NOW + timedelta(days=1))
    assert not found
    assert "when it was given" in found.found


def test_a_revoked_key_withdraws_what_it_approved(world: World) -> None:
    world.give()
    world.revoked.write_text(world.key("approver.pub").read_text())
    assert "revoked" in world.ask().found


def test_a_key_that_is_listed_no_more_withdraws_it_too(world: World) -> None:
    world.give()
    world.allowed.write_text("".join(li for li in world.allowed.read_text().splitlines(True) if "approver" not in li))
    assert "not among the allowed signers" in world.ask().found


def test_a_key_for_records_approves_nothing(world: World) -> None:
    with pytest.raises(Refused, match=r"may not approve(.|\n)*operator@lab, for evidence only"):
        world.give("operator")
    assert not world.folder.exists()
    world.written(world.said(approver="operator@lab"), "operator")
    assert "namespace" in world.ask().found


def test_a_signature_on_a_record_is_no_approval(world: World) -> None:
    world.edit('namespaces="approval"', 'namespaces="approval,evidence"', world.allowed)
    path = world.written(world.said())
    signature.sign(path, world.key("approver"), "evidence")
    assert "namespace" in world.ask().found


def test_whoever_signs_has_to_be_the_one_who_is_named(world: World) -> None:
    world.written(world.said(approver="director@lab"))
    assert "says that director@lab approves, but approver@lab signed" in world.ask().found


def test_one_of_another_guest_does_not_count(world: World) -> None:
    world.written(world.said(guest="idp"))
    assert "of another guest, idp" in world.ask().found


@pytest.mark.parametrize(("field", "value"), [("site", "Elsewhere"), ("server", "vcenter.elsewhere")])
def test_one_of_another_site_does_not_count(world: World, field: str, value: str) -> None:
    world.written(world.said(**{field: value}))
    assert f"of another site, {'Elsewhere' if field == 'site' else ''}" in world.ask().found
    assert value in world.ask().found


def test_whoever_carries_it_out_does_not_approve_it(world: World) -> None:
    world.edit("key: outputs/keys/operator", "key: outputs/keys/approver")
    assert "two persons are asked for" in approver.of(world.home, "gateway", world.key("approver")).doubt
    world.give()
    assert "two persons are asked for" in world.ask().found


def test_a_second_key_of_the_same_person_makes_no_second_person(world: World) -> None:
    world.edit("operator@lab", "approver@lab", world.allowed)
    world.give()
    assert "two persons are asked for" in world.ask().found


def test_of_a_key_that_an_agent_holds_the_public_half_says_who_it_is(world: World) -> None:
    world.edit("key: outputs/keys/operator", "key: outputs/keys/approver.pub")
    world.give()
    assert "two persons are asked for" in world.ask().found


def test_one_key_under_two_names_is_one_person(world: World) -> None:
    world.edit("key: outputs/keys/operator", "key: outputs/keys/approver")
    older = f'approver@lab valid-before="20200101",namespaces="approval" {world.key("approver.pub").read_text()}'
    world.allowed.write_text(older.replace("approver@lab", "old@lab", 1) + world.allowed.read_text())
    world.written(world.said())
    assert "by approver@lab, who carries it out too" in world.ask().found


@pytest.mark.parametrize(
    ("key", "why"), [("nowhere", "no such file"), ("stranger", "not listed"), ("allowed_signers", "not a key")]
)
def test_where_nobody_knows_who_carries_it_out_nobody_is_a_second_person(world: World, key: str, why: str) -> None:
    tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", world.key("stranger")])
    world.give()
    world.edit("key: outputs/keys/operator", f"key: outputs/keys/{key}")
    assert f"who carries it out is not known: {world.key(key)}: {why}" in world.ask().found


def test_a_site_of_one_person_may_say_so_when_it_plans(world: World) -> None:
    world.edit("key: outputs/keys/operator", "key: outputs/keys/approver\n  two_persons: false")
    terms = world.plan.terms.model_copy(update={"two_persons": False})
    world.plan = world.plan.model_copy(update={"terms": terms})
    world.plan.save(world.home.folder("gateway"))
    journey.deployed(world.home.folder("gateway"), world.plan)
    world.give()
    assert world.ask()


def test_a_good_one_counts_beside_bad_ones_and_all_are_told(world: World) -> None:
    world.written(world.said(guest="idp"), name="a.txt")
    world.give()
    (world.folder / "z.txt").write_text("no signature")
    found = world.ask()
    assert found
    assert found.found.startswith("approved by approver@lab until")
    assert "a.txt: of another guest" in found.found
    assert "z.txt: no approval" in found.found


def test_of_two_good_ones_the_longer_one_is_told(world: World) -> None:
    world.give()
    world.give(now=NOW + timedelta(minutes=30))
    assert world.ask().found == "approved by approver@lab until 2026-12-04 20:30 UTC"


def test_an_unsigned_text_does_not_count(world: World) -> None:
    signature.path_of(world.give().path).unlink()
    assert "not signed" in world.ask().found


def test_the_signature_of_another_text_does_not_count(world: World) -> None:
    first, second = world.give(), world.give(now=LATER, page="another page\n")
    signature.path_of(second.path).replace(signature.path_of(first.path))
    second.path.unlink()
    found = world.ask(LATER)
    assert not found
    assert first.path.name in found.found


def test_a_page_that_was_changed_since_does_not_count(world: World) -> None:
    made = world.give()
    made.path.write_text(made.path.read_text().replace("everything", "nothing"))
    assert not world.ask()


@pytest.mark.parametrize("which", ["text", "signature", "folder"])
def test_what_is_no_file_of_its_own_does_not_count(world: World, tmp_path: Path, which: str) -> None:
    made = world.give().path
    path = signature.path_of(made) if which == "signature" else made
    away = tmp_path / "away"
    path.rename(away)
    if which == "folder":
        path.mkdir()
    else:
        path.symlink_to(away)
    assert "not a file of its own" in world.ask().found


def test_a_pipe_among_the_approvals_keeps_nobody_waiting(world: World) -> None:
    world.folder.mkdir(parents=True)
    os.mkfifo(world.folder / "a.txt")
    assert "not a file of its own" in world.ask().found


@pytest.mark.parametrize(
    ("what", "spoil", "words"),
    [
        ("nothing", lambda t: b"", "header"),
        ("bytes", lambda t: b"\xff\xfe", "codec"),
        ("windows", lambda t: t.replace(b"\n", b"\r\n"), "carriage returns"),
        ("twice", lambda t: t.replace(b"guest: gateway\n", b"guest: gateway\nguest: idp\n"), "each once"),
        ("order", lambda t: t.replace(b"guest: gateway\n", b"").replace(b"\n\n", b"\nguest: gateway\n\n", 1), "each once"),
        ("missing", lambda t: t.replace(b"guest: gateway\n", b""), "each once"),
        ("format", lambda t: t.replace(b"approval 2\n", b"approval 3\n"), "format"),
        ("plan", lambda t: t.replace(b"plan: ", b"plan: x"), "SHA-256"),
        ("disk", lambda t: t.replace(b"vmdk: ", b"vmdk: x"), "SHA-256"),
        ("no disk", lambda t: t.replace(b"approval 2\n", b"approval 1\n"), "each once"),
        ("no machine", lambda t: t.replace(b"machine: " + journey.MACHINE.encode(), b"machine:  "), "empty"),
        ("empty", lambda t: t.replace(b"guest: gateway", b"guest:  "), "empty"),
        ("escape", lambda t: t.replace(b"guest: gateway", b"guest: gate\x1b[2Jway"), "cannot be printed"),
        ("no page", lambda t: t.partition(b"\n\n")[0] + b"\n\n", "empty"),
        ("time", lambda t: t.replace(b"2026-11-27T20:00:00Z", b"yesterday"), "yesterday"),
        ("short time", lambda t: t.replace(b"2026-11-27T20:00:00Z", b"2026-11-27T20:0:00Z"), "times"),
        ("backwards", lambda t: t.replace(b"expires: 2026", b"expires: 2025"), "times"),
    ],
)
def test_a_text_that_is_not_as_it_was_written_is_told(
    world: World, what: str, spoil: Callable[[bytes], bytes], words: str
) -> None:
    made = world.give().path
    before = made.read_bytes()
    made.write_bytes(spoil(before))
    assert made.read_bytes() != before
    signature.sign(made, world.key("approver"), "approval")  # somebody signs even this
    found = world.ask()
    assert not found
    assert f"{made.name}: no approval: " in found.found
    assert words in found.found


LINES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1)
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))


@given(
    lines=st.tuples(LINES, LINES, LINES, LINES),
    plan_hash=st.text("0123456789abcdef", min_size=64, max_size=64),
    approved=TIMES,
    lasts=st.timedeltas(timedelta(seconds=1), timedelta(days=90)),
    page=st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), min_size=1).filter(str.strip),
)
def test_every_statement_is_read_as_it_was_written(
    lines: tuple[str, str, str, str], plan_hash: str, approved: datetime, lasts: timedelta, page: str
) -> None:
    guest, site, server, who = lines
    expires = (approved + lasts).replace(microsecond=0)
    said = Statement(guest, site, server, plan_hash, who, approved, max(expires, approved + timedelta(seconds=1)), page)
    assert parse(said.text().encode()) == said
    bound = replace(said, decisions=plan_hash, vmdk=plan_hash, machine=who)
    assert parse(bound.text().encode()) == bound


GOOD = Statement("g", "s", "v", "0" * 64, "a@b", NOW, LATER, "page\n", "1" * 64, "2" * 64, "m").text().encode()


@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 40), put=st.binary(max_size=40))
@settings(max_examples=400)
def test_no_text_however_spoilt_is_an_error_or_read_as_another_than_it_is(at: int, cut: int, put: bytes) -> None:
    spoilt = GOOD[:at] + put + GOOD[at + cut :]
    found = parse(spoilt)
    assert isinstance(found, str) or found.text().encode() == spoilt


@given(st.binary())
def test_no_bytes_are_an_error(content: bytes) -> None:
    assert isinstance(parse(content), str)


def test_a_list_of_signers_that_is_broken_is_red_and_no_error(world: World) -> None:
    world.give()
    world.edit('namespaces="approval" ', "", world.allowed)
    assert "may sign anything" in world.ask().found
    world.allowed.unlink()
    assert "a list of keys is missing" in world.ask().found


def test_a_key_that_nobody_listed_may_not_approve(world: World) -> None:
    tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", world.key("stranger")])
    with pytest.raises(Refused, match="not listed"):
        world.give("stranger")


def test_a_revoked_key_approves_nothing_new(world: World) -> None:
    world.revoked.write_text(world.key("approver.pub").read_text())
    with pytest.raises(Refused, match="revoked"):
        world.give()
    assert not world.folder.exists()


@pytest.mark.parametrize("key", ["nowhere", "allowed_signers"])
def test_what_is_no_key_is_bad_input(world: World, key: str) -> None:
    if key == "allowed_signers":
        world.key(key).write_text("# nothing\n")
    with pytest.raises(BadInput, match=r"(?s)cannot be read.*--key FILE"):
        world.give(key)


def test_an_approval_is_never_written_over(world: World) -> None:
    before = world.give().path.read_bytes()
    with pytest.raises(Refused, match="this very second"):
        world.give(page="another\n")
    assert world.give(now=LATER).path.with_name("20261127T200000Z-approver@lab.txt").read_bytes() == before


def test_names_that_a_file_cannot_have_are_written_otherwise(world: World) -> None:
    world.edit("approver@lab", "../approver@lab", world.allowed)
    made = world.give()
    assert made.path == world.folder / "20261127T200000Z-.._approver@lab.txt"
    assert "approver: ../approver@lab\n" in made.path.read_text()
    assert world.ask()


def test_what_is_deployed_anew_while_the_page_is_read_is_not_approved(world: World) -> None:
    by = approver.of(world.home, "gateway", world.key("approver"))
    of = approval.to_approve(world.home, "gateway", world.plan)
    journey.deployed(world.home.folder("gateway"), world.plan, machine="another")
    with pytest.raises(Refused, match="the page was of another disk or machine"):
        approval.give(world.home, "gateway", world.plan, PAGE, by, of=of, now=NOW)
    assert not list(world.folder.glob("*"))
    of = approval.to_approve(world.home, "gateway", world.plan)
    assert approval.give(world.home, "gateway", world.plan, PAGE, by, of=of, now=NOW)


# the gate


@pytest.fixture
def apart(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """What a test has opened is released after it."""
    monkeypatch.setattr(running, "display", lambda thing: None)
    monkeypatch.delenv("HIKKOSHI_RUN", raising=False)
    yield world
    for run in [r for r in running._open.values() if r.home.root == world.home.root]:
        with contextlib.suppress(OSError):
            run.close("completed")


def act(world: World, step: str, mode: str = "apply", *, then: Callable[[], object] = int) -> list[int]:
    """Let one action be made so in a step; how often it acted."""
    run, acts = open_run(step, {"guest": "gateway", "mode": mode, "home": str(world.home.root)}, wait=0.1), list[int]()

    def once(_: object) -> None:
        acts.append(1)
        then()

    try:
        run.ensure("make it", holds=lambda: bool(acts), act=once)
    finally:
        run.close("completed")
    return acts


@pytest.mark.parametrize("step", APPROVED)
def test_nothing_is_done_without_an_approval_and_the_journal_has_it(apart: World, step: str) -> None:
    with pytest.raises(Refused, match=r"(?s)a check failed: the plan is approved.*hikkoshi approve gateway"):
        act(apart, step, then=lambda: pytest.fail("acted"))
    entries = running.Journal(apart.home.folder("gateway") / "journal.jsonl").entries()
    assert [e["state"] for e in entries if e["event"] == "step"] == ["failed"]


@pytest.mark.parametrize("step", APPROVED)
def test_with_an_approval_it_is_done(apart: World, step: str) -> None:
    apart.give(now=datetime.now(UTC))
    assert act(apart, step) == [1]


def test_looking_needs_no_approval(apart: World) -> None:
    assert act(apart, "70-cutover", "plan") == []


def test_an_approval_that_ends_between_two_actions_ends_the_run(apart: World) -> None:
    made, acts = apart.give(now=datetime.now(UTC)), list[str]()
    run = open_run("85-offloads", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)

    def first(_: object) -> None:
        acts.append("first")
        made.path.unlink()

    run.ensure("first", holds=lambda: bool(acts), act=first)
    with pytest.raises(Refused, match="nobody has approved it"):
        run.ensure("second", holds=lambda: False, act=lambda _: acts.append("second"))
    run.close("failed")
    assert acts == ["first"]


def serve(run: running.Run, done: list[str], title: str) -> None:
    """As what acts on a service does."""
    run.permit()
    done.append(title)


class NextWeek(datetime):
    """The clock when what is approved now has expired."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=8)


def test_a_run_that_has_but_measured_heeds_parameters_that_are_changed_and_an_approval_that_expires(
    apart: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.give(now=datetime.now(UTC))
    run = open_run("70-cutover", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)
    done = list[str]()
    try:
        run.ensure("ping every segment", holds=lambda: bool(done), act=lambda _: done.append("ping"))
        apart.edit("datastore: storage1", "datastore: storage2")
        with pytest.raises(Refused, match="is storage2 now"):
            run.ensure("source off", holds=lambda: len(done) > 1, act=lambda _: serve(run, done, "off"))
        apart.edit("datastore: storage2", "datastore: storage1")
        monkeypatch.setattr(approval, "datetime", NextWeek)
        with pytest.raises(Refused, match="expired"):
            run.ensure("source off", holds=lambda: len(done) > 1, act=lambda _: serve(run, done, "off"))
    finally:
        run.close("completed")
    assert done == ["ping"]


def test_an_approval_that_expires_in_the_middle_does_not_leave_the_work_half_done(
    apart: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.give(now=datetime.now(UTC))
    run = open_run("70-cutover", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)
    done = list[str]()
    try:
        for title in ("source off", "machine on"):
            run.ensure(title, holds=lambda t=title: t in done, act=lambda _, t=title: serve(run, done, t))  # type: ignore[misc]
            monkeypatch.setattr(approval, "datetime", NextWeek)
    finally:
        run.close("completed")
    assert done == ["source off", "machine on"]
    with pytest.raises(Refused, match="expired"):
        act(apart, "70-cutover")  # another run


def public_half_only(world: World) -> None:
    """The operator's public key stays where it is; nobody here has the private one."""
    world.key("operator").unlink()
    world.edit("key: outputs/keys/operator", "key: outputs/keys/operator.pub")


@pytest.mark.parametrize("step", APPROVED)
def test_whoever_has_but_the_public_half_of_an_operators_key_is_not_the_operator(
    apart: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    apart.give(now=datetime.now(UTC))
    public_half_only(apart)
    with pytest.raises(Refused, match="a check failed: whoever carries this out can sign for it") as e:
        act(apart, step, then=lambda: pytest.fail("acted"))
    assert len(e.value.problems) == 1  # by its name alone the approval counts


def test_a_key_that_may_not_seal_is_told_before_anything_is_done(apart: World) -> None:
    apart.give(now=datetime.now(UTC))
    apart.edit('operator@lab namespaces="evidence"', 'operator@lab namespaces="other"', apart.allowed)
    with pytest.raises(Refused, match=r"(?s)whoever carries this out can sign for it.*hikkoshi doctor"):
        act(apart, "70-cutover", then=lambda: pytest.fail("acted"))


def test_looking_tells_that_nobody_can_sign_and_refuses_nothing(apart: World) -> None:
    public_half_only(apart)
    run = open_run("70-cutover", {"guest": "gateway", "mode": "plan", "home": str(apart.home.root)}, wait=0.1)
    try:
        checks = run.permission()
        run.preflight(checks)
    finally:
        run.close("completed")
    assert [(bool(c), row.state_of(c)) for c in checks] == [(False, "later")] * 2


def test_a_machine_that_cannot_write_its_trial_says_so(apart: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    told = signatory.find(apart.home)
    assert (told.name, told.why.partition(":")[0]) == ("", "nothing can be signed")
    assert "/nowhere" in told.why


def test_a_key_that_is_lost_in_the_middle_does_not_leave_the_work_half_done(apart: World) -> None:
    apart.give(now=datetime.now(UTC))
    run = open_run("70-cutover", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)
    done = list[str]()
    try:
        run.ensure("source off", holds=lambda: bool(done), act=lambda _: serve(run, done, "off"))
        public_half_only(apart)
        run.ensure("machine on", holds=lambda: len(done) > 1, act=lambda _: serve(run, done, "on"))
    finally:
        run.close("completed")
    assert done == ["off", "on"]


def test_an_approval_of_a_plan_that_came_after_the_run_was_opened_is_none_for_this_run(apart: World) -> None:
    run = open_run("70-cutover", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)
    vm = apart.plan.vm.model_copy(update={"memory_mb": 2048})
    apart.plan = apart.plan.model_copy(update={"vm": vm})
    apart.plan.save(apart.home.folder("gateway"))
    journey.deployed(apart.home.folder("gateway"), apart.plan)
    apart.give(now=datetime.now(UTC))
    try:
        with pytest.raises(Refused, match="another plan is there now"):
            run.ensure("make it", holds=lambda: False, act=lambda _: pytest.fail("acted"))
    finally:
        run.close("completed")


def test_a_run_that_has_ended_does_nothing_more(apart: World) -> None:
    run = open_run("40-convert", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)
    run.evidence()
    with pytest.raises(Refused, match="this run has ended"):
        run.ensure("make it", holds=lambda: False, act=lambda _: pytest.fail("acted"))


def opened(world: World, step: str = "70-cutover", mode: str = "apply") -> running.Run:
    return open_run(step, {"guest": "gateway", "mode": mode, "home": str(world.home.root)}, wait=0.1)


def test_the_approval_that_counted_is_evidence_and_a_superseded_one_is_not(apart: World) -> None:
    apart.written(apart.said(plan="f" * 64), name="a.txt")
    run = opened(apart)
    try:
        assert run.approvals() == []
        made = apart.give(now=datetime.now(UTC))
        run.permit()
        assert run.approvals() == [made.path, signature.path_of(made.path)]
        assert "a.txt: superseded: of another plan" in run.approved().found
    finally:
        run.close("completed")


def test_what_acts_on_a_service_gets_its_permission_from_the_gate_and_the_journal_has_it(apart: World) -> None:
    apart.give(now=datetime.now(UTC))
    run = opened(apart)
    try:
        first, second = run.permit(), run.permit()
    finally:
        run.close("completed")
    assert (first.run, first.step, first.guest) == (run.id, "70-cutover", "gateway")
    assert (first.plan, first.vmdk, first.machine) == (apart.plan.hash, journey.VMDK, journey.MACHINE)
    assert (first.shell, first.approver) == ("netns:outputs/lab/netns/gw", "approver@lab")
    assert replace(second, given=first.given) == first
    entries = running.Journal(apart.home.folder("gateway") / "journal.jsonl").entries()
    (told,) = [e for e in entries if e["event"] == "permitted"]
    assert (told["plan"], told["vmdk"], told["machine"]) == (first.plan, first.vmdk, first.machine)
    assert (told["approver"], told["approval"]) == ("approver@lab", next(apart.folder.glob("*.txt")).name)


def test_without_an_approval_there_is_no_permission(apart: World) -> None:
    run = opened(apart)
    try:
        with pytest.raises(Refused, match="nobody has approved it"):
            run.permit()
    finally:
        run.close("completed")


@pytest.mark.parametrize(("step", "mode"), [("60-deploy", "apply"), ("75-rollback", "apply"), ("70-cutover", "plan")])
def test_a_run_that_may_not_act_on_a_service_gives_no_permission(apart: World, step: str, mode: str) -> None:
    apart.give(now=datetime.now(UTC))
    run = opened(apart, step, mode)
    try:
        with pytest.raises(Refused, match="this run acts on no service"):
            run.permit()
    finally:
        run.close("completed")


def test_a_run_that_has_ended_gives_no_permission(apart: World) -> None:
    apart.give(now=datetime.now(UTC))
    run = opened(apart)
    run.close("completed")
    with pytest.raises(Refused, match="this run acts on no service"):
        run.permit()


def test_a_run_made_by_hand_comes_to_the_same_gate(apart: World) -> None:
    run = opened(apart)
    try:
        made = replace(run, inputs={Plan.filename: apart.plan.hash})
        with pytest.raises(Refused, match="nobody has approved it"):
            made.permit()
    finally:
        run.close("completed")


def test_parameters_that_a_run_was_opened_with_are_held_against_the_plan_too(apart: World) -> None:
    apart.edit("datastore: storage1", "datastore: storage2")
    run = opened(apart)
    assert run.approved().remedy.startswith("put the parameters back, or plan anew: hikkoshi run gateway --from 20 --apply")
    apart.edit("datastore: storage2", "datastore: storage1")  # put back: but the run holds the other
    assert run.approved().remedy.startswith("run this notebook again from its first cell")
    apart.give(now=datetime.now(UTC))
    try:
        assert approval.check(apart.home, "gateway", apart.plan)
        with pytest.raises(Refused, match=r"vsphere\.datastore was storage1 when it was planned, is storage2 now"):
            run.permit()
    finally:
        run.close("completed")


def test_parameters_that_are_changed_while_it_acts_do_not_leave_the_work_half_done(apart: World) -> None:
    apart.give(now=datetime.now(UTC))
    run = opened(apart)
    try:
        run.permit()
        apart.edit("datastore: storage1", "datastore: storage2")
        ca = apart.home.outputs / "lab" / "ca.pem"
        ca.parent.mkdir(exist_ok=True)
        ca.write_text("renewed this very minute")
        assert run.permit()
    finally:
        run.close("completed")
    run = opened(apart)
    try:
        with pytest.raises(Refused, match="is storage2 now"):
            run.permit()
    finally:
        run.close("completed")


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ({"guest": "idp"}, "another guest"),
        ({"plan": "f" * 64}, "another plan"),
        ({"vmdk": "f" * 64}, "another vmdk"),
        ({"machine": "another"}, "another machine"),
        ({"shell": "ssh://root@other"}, "another shell"),
        ({"step": "70-cutover"}, "another step"),
    ],
)
@pytest.mark.parametrize("change", [Offloads.apply, Offloads.undo])
def test_a_permission_for_something_else_changes_no_guest(
    apart: World, change: Callable[..., None], of: dict[str, str], words: str
) -> None:
    treatment, right = remedied(apart)
    with pytest.raises(Refused, match=f"what was approved is {words}"):
        change(treatment, journey.permitted(**{**right, **of}), [Check(code="lab-proof-serves", title="it serves", ok=True)])
    with pytest.raises(BadInput, match="no such network namespace"):  # let pass, it would go on
        change(treatment, journey.permitted(**right), [Check(code="lab-proof-serves", title="it serves", ok=True)])


@pytest.mark.parametrize("change", [Offloads.apply, Offloads.undo])
@pytest.mark.parametrize(
    "serves",
    [[], [Check(code="a-code", title="the machine is on", ok=True), Check(code="a-code", title="the source is off", ok=False)]],
)
def test_no_guest_is_changed_of_which_nobody_has_seen_that_it_serves_in_vsphere(
    apart: World, change: Callable[..., None], serves: list[Check]
) -> None:
    treatment, right = remedied(apart)
    with pytest.raises(Refused, match=r"source is off|serves in vSphere"):
        change(treatment, journey.permitted(**right), serves)


def remedied(apart: World) -> tuple[Offloads, dict[str, str]]:
    """A treatment that was carried out, and what a permission for it is of."""
    Applied(plan=Remedy(), flags=(), files=()).save(apart.home.folder("gateway"))
    of = {"step": "85-offloads", "plan": apart.plan.hash, "shell": "netns:outputs/lab/netns/gw"}
    return Offloads(opened(apart, "85-offloads")), of


def test_a_step_by_another_name_is_none(apart: World) -> None:
    with pytest.raises(BadInput, match="no such step"):
        open_run("70-cutover-mine", {"guest": "gateway", "mode": "apply", "home": str(apart.home.root)}, wait=0.1)


@pytest.mark.parametrize("trouble", ["no approval", "no list", "broken list", "no key", "no plan"])
def test_nothing_stands_between_a_person_and_the_way_back(apart: World, trouble: str) -> None:
    match trouble:
        case "no list":
            apart.allowed.unlink()
        case "broken list":
            apart.allowed.write_text("nonsense\n")
        case "no key":
            apart.key("operator").unlink()
        case "no plan":
            (apart.home.folder("gateway") / Plan.filename).unlink()
    assert act(apart, "75-rollback") == [1]


# the command, where nobody sits in front of it


def test_the_command_signs_nothing_where_nobody_can_be_asked(world: World) -> None:
    done = hikkoshi(world.home, "approve", "gateway", "--key", str(world.key("approver")))
    assert done.returncode == 3
    assert "What cannot be undone" in done.stdout
    assert "hikkoshi approve gateway --yes" in done.stderr
    assert not world.folder.exists()


def test_the_command_signs_the_very_page_that_it_shows(world: World) -> None:
    done = hikkoshi(world.home, "approve", "gateway", "--key", str(world.key("approver")), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["approver"], told["counts"], told["flaw"]) == ("approver@lab", True, "")
    page = Path(told["file"]).read_text().partition("\n\n")[2]
    assert done.stderr.startswith(page)
    assert approval.check(world.home, "gateway", world.plan)


def test_the_command_refuses_a_key_that_may_not_approve_before_anybody_reads(world: World) -> None:
    done = hikkoshi(world.home, "approve", "gateway", "--yes")  # the operator's, of params/site.yml
    assert (done.returncode, done.stdout) == (3, "")
    assert "hikkoshi approve gateway --key FILE" in done.stderr


def test_the_command_says_at_once_that_an_own_approval_will_not_do(world: World) -> None:
    world.edit("key: outputs/keys/operator", "key: outputs/keys/approver")
    done = hikkoshi(world.home, "approve", "gateway", "--yes")
    assert done.returncode == 3
    assert "it will count for nothing: by approver@lab, who carries it out too" in done.stdout
    *_, last, path = done.stdout.splitlines()
    assert last.startswith("It was signed, and does not count here: by approver@lab")
    assert Path(path).is_file()
    assert "approved by" not in done.stdout


def test_the_command_tells_of_the_new_approval_only_and_not_of_the_old_ones(world: World) -> None:
    world.written(world.said(guest="idp"), name="a.txt")
    world.edit("key: outputs/keys/operator", "key: outputs/keys/approver")
    done = hikkoshi(world.home, "approve", "gateway", "--yes", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["counts"]) == (3, False)
    assert told["flaw"].startswith("by approver@lab, who carries it out too")
    assert "idp" not in done.stdout


def test_the_command_refuses_where_there_is_no_plan_and_where_the_key_is_missing(world: World) -> None:
    done = hikkoshi(world.home, "approve", "gateway", "--key", "nowhere", "--yes")
    assert (done.returncode, "no such file" in done.stderr) == (2, True)
    (world.home.folder("gateway") / "plan.json").unlink()
    done = hikkoshi(world.home, "approve", "gateway", "--key", str(world.key("approver")), "--yes")
    assert done.returncode == 3
    assert "run 20-plan first: hikkoshi run gateway --only 20\n" in done.stderr
