"""What somebody may do to sealed records, and who finds it: `hikkoshi verify` all of it, four shell commands most of it.

Where the shell commands find nothing, the table says why; a manipulation that they find all the same fails the test too,
so that the table stays true.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.approval import signature
from hikkoshi.approval.signature import Trust
from hikkoshi.approval.statement import TIME
from hikkoshi.params.home import Home
from hikkoshi.record import bag, register, seal, verification
from hikkoshi.record.instructions import SIGNATURE, TOKEN
from hikkoshi.run.journal import Journal
from hikkoshi_lab import keys
from sealed import (
    A,
    B,
    C,
    Service,
    apart,
    approvals_by_shell,
    commands,
    ended,
    found_by_shell,
    list_again,
    seal_all,
    sealed_home,
    shell,
    sign_again,
    writable,
)
from sealed import time_stamp_service as running_service

pytestmark = pytest.mark.needs("ssh-keygen", "openssl", "sha256sum")


@dataclass
class Scene:
    """A copy of the sealed home that may be spoiled, and whom its auditor trusts."""

    home: Home
    trust: Trust
    service: Service

    @property
    def records(self) -> Path:
        return self.home.outputs / "records"

    @property
    def register(self) -> Path:
        return self.records / "register.tsv"

    @property
    def story(self) -> Path:
        """The newest record, which nothing follows."""
        return max((self.records / "gateway").glob("*-guest"))

    def run(self, name: str, guest: str = "gateway") -> Path:
        return self.records / guest / name

    def key(self, name: str = "operator") -> Path:
        return keys.folder(self.home) / name

    def lines(self, change: Callable[[list[str]], list[str]]) -> None:
        text = self.register.read_text()
        self.register.write_text("".join(f"{line}\n" for line in change(text.splitlines())))

    def listed(self, change: Callable[[str], str]) -> None:
        """Another list of allowed signers, at the auditor's."""
        path = self.trust.allowed.with_name("auditors_signers")
        path.write_text(change(self.trust.allowed.read_text()))
        self.trust = replace(self.trust, allowed=path)

    def lie(self, record: Path, change: Callable[[Path], object], **info: str) -> None:
        """The holder of the key seals his own record again, with something else in it."""
        change(record)
        list_again(record, **info)
        sign_again(record, self.key())

    def verify(self) -> list[str]:
        found = verification.verify(self.records, self.trust, self.service.ca)
        assert "".join(str(p) for p in found.problems).replace("\n", "").replace("\t", "").isprintable()
        return [p.what for p in found.problems]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with running_service(tmp_path_factory.mktemp("time") / "service") as running:
        yield running


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Home:
    home = sealed_home(tmp_path_factory.mktemp("untouched") / "home")
    seal_all(home, service)
    return home


@pytest.fixture
def scene(tmp_path: Path, untouched: Home, service: Service) -> Scene:
    shutil.copytree(untouched.root, tmp_path / "home", symlinks=True)
    home = Home(tmp_path / "home")
    writable(home.outputs / "records")
    lists = keys.folder(home)
    return Scene(home, Trust(lists / "allowed_signers", lists / "revoked"), service)


def test_what_nobody_touched_passes_everything(untouched: Home, service: Service) -> None:
    lists = keys.folder(untouched)
    trust = Trust(lists / "allowed_signers", lists / "revoked")
    found = verification.verify(untouched.outputs / "records", trust, service.ca)
    assert [str(p) for p in found.problems] == []
    assert [apart(r.notes) for r in found.records] == [[]] * 5
    assert (untouched.outputs / "records" / "gateway" / B / TOKEN).is_file()
    for record in (untouched.outputs / "records").glob("*/*"):
        assert shell(record, trust) == [], record


def test_the_command_for_the_approvals_works_as_it_is_printed(scene: Scene) -> None:
    done = approvals_by_shell(scene.story, scene.trust)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'Good "approval" signature for approver@lab' in done.stdout


@pytest.mark.parametrize("name", ["approval.txt", "zz.txt"])  # not only the last one counts
def test_the_command_for_the_approvals_fails_where_one_is_spoilt(scene: Scene, name: str) -> None:
    folder = scene.story / "data" / "approvals"
    for kind in ("", ".sig"):
        shutil.copy(folder / f"approval.txt{kind}", folder / f"zz.txt{kind}")
    assert approvals_by_shell(scene.story, scene.trust).returncode == 0
    edit(folder / name, "the page", "no page")
    assert approvals_by_shell(scene.story, scene.trust).returncode == 1


def test_the_command_for_the_approvals_believes_the_header_only_and_fails_for_a_revoked_key(scene: Scene) -> None:
    path = scene.story / "data" / "approvals" / "approval.txt"
    path.write_text(path.read_text() + "\napprover: director@lab\napproved: 2001-01-01T00:00:00Z\n")
    signature.sign(path, scene.key("approver"), "approval")
    assert approvals_by_shell(scene.story, scene.trust).returncode == 0
    assert scene.trust.revoked
    scene.trust.revoked.write_text(scene.key("approver.pub").read_text())
    assert approvals_by_shell(scene.story, scene.trust).returncode == 1


def test_a_record_without_an_approval_says_so_and_has_no_command_for_it(tmp_path: Path) -> None:
    home = sealed_home(tmp_path / "home")
    shutil.rmtree(home.folder("gateway") / "approvals")
    ended(home, "gateway", A)
    readme = (seal.of_run(home, "gateway", A) / "README.txt").read_text()
    assert "Approvals are signed, too. There is none in this record." in readme
    assert "-n approval" not in readme


def test_a_story_tells_how_its_last_run_ended_and_not_that_it_was_broken_itself(scene: Scene) -> None:
    told = "story; last run interrupted"
    assert bag.read_info(scene.story)["Outcome"] == told
    line = register.of(scene.home).lines()[-1]
    assert (line.record, line.outcome) == (scene.story.name, told)
    assert scene.verify() == []
    grep = subprocess.run(["grep", "Outcome", "bag-info.txt"], cwd=scene.story, capture_output=True, text=True, check=True)
    assert grep.stdout == f"Outcome: {told}\n"  # as README.txt says
    scene.lines(lambda lines: [*lines[:-1], lines[-1].replace(told, "story; last run succeeded")])
    assert "the register does not fit the record: outcome" in scene.verify()


@dataclass(frozen=True)
class Case:
    name: str
    act: Callable[[Scene], object]
    told: str  # what `hikkoshi verify` calls it
    unseen: str = ""  # why the shell commands do not find it


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text() + text if path.is_file() else text)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def link_out(path: Path) -> None:
    """Put the very same content elsewhere, and a link to it in its place."""
    elsewhere = path.parents[5] / f"elsewhere-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def balanced(scene: Scene) -> None:
    """A folder moved out and linked to, and files added until the numbers of files and of others are right again."""
    inside = scene.run(B) / "data" / "approvals"
    elsewhere = scene.home.root / "elsewhere"
    inside.rename(elsewhere)
    inside.symlink_to(elsewhere)
    for n in range(len(list(elsewhere.iterdir()))):
        add(scene.run(B) / "data" / f"more{n}.txt")


def without_line(path: Path, word: str) -> None:
    path.write_text("".join(line for line in path.read_text().splitlines(True) if word not in line))


def renumber(lines: list[str], change: Callable[[list[str]], None]) -> list[str]:
    """A register with other lines whose numbers and hashes were made to fit again from there on."""
    change(lines)
    for n in range(1, len(lines)):
        columns = lines[n].split("\t")
        columns[0], columns[-1] = str(n), hashlib.sha256(lines[n - 1].encode()).hexdigest()
        lines[n] = "\t".join(columns)
    return lines


def changed(lines: list[str], n: int, old: str, new: str) -> list[str]:
    assert old in lines[n]
    return [*lines[:n], lines[n].replace(old, new), *lines[n + 1 :]]


def before_all(line: str) -> str:
    columns = line.split("\t")
    return "\t".join([columns[0], "2001-01-01T00:00:00Z", *columns[2:]])


def journal_broken(record: Path) -> None:
    path = record / "data" / "journal.jsonl"
    lines = path.read_text().splitlines(True)
    path.write_text("".join([lines[0].replace("apply", "plann"), *lines[1:]]))


def journal_of_its_own(record: Path) -> None:
    (record / "data" / "journal.jsonl").unlink()
    Journal(record / "data" / "journal.jsonl").append("open", run="x", step="40-convert")


def notebook_says(record: Path, outcome: str) -> None:
    path = record / "data" / f"{record.name}.ipynb"
    nb = json.loads(path.read_text())
    nb["metadata"]["hikkoshi"]["outcome"] = outcome
    path.write_text(json.dumps(nb))


def cells_added(record: Path) -> None:
    path = record / "data" / f"{record.name}.ipynb"
    nb = json.loads(path.read_text())
    nb["cells"].append({"cell_type": "code", "metadata": {}, "source": "anything()", "outputs": [], "execution_count": 9})
    path.write_text(json.dumps(nb))


def names_outside(record: Path) -> None:
    """A signed manifest that names a file outside of the record; it is there, with that very hash."""
    outside = record.parent / "outside"
    outside.write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    add(record / bag.MANIFEST, f"{digest}  data/../../outside\n")
    tags = {n: files.sha256(record / n) for n in ("bagit.txt", bag.INFO, "README.txt", bag.MANIFEST)}
    (record / bag.TAG_MANIFEST).write_text(bag.manifest(tags))


def signed_by(scene: Scene, name: str, namespace: signature.Namespace = "evidence") -> None:
    sign_again(scene.run(B), scene.key(name), namespace)


def unsigned(scene: Scene) -> None:
    scene.key().unlink()
    ended(scene.home, "gateway", "20260104T000000Z-40-convert")
    seal.of_run(scene.home, "gateway", "20260104T000000Z-40-convert")
    writable(scene.records)


def another_token(scene: Scene, over: Path) -> None:
    (scene.run(B) / TOKEN).write_bytes(scene.service.stamp(over))


def foreign_service(scene: Scene) -> None:
    """A token of a service that nobody trusts."""
    with running_service(scene.home.root / "foreign") as other:
        (scene.run(B) / TOKEN).write_bytes(other.stamp(scene.run(B) / SIGNATURE))


def set_back(scene: Scene) -> None:
    """Sealed today, said to be of last month; the service does not play along."""
    record = scene.story
    asked = {"Sealed": "2026-01-05T00:00:00Z", "Time-Stamp-Service": scene.service.url}
    scene.lie(record, lambda r: None, **asked)
    (record / TOKEN).write_bytes(scene.service.stamp(record / SIGNATURE))


def replaced_by_another_guests(scene: Scene) -> None:
    shutil.rmtree(scene.run(A))
    shutil.copytree(scene.run(A, "idp"), scene.run(A))


def link_out_record(record: Path) -> None:
    elsewhere = record.parents[3] / "elsewhere"
    elsewhere.mkdir()
    record.rename(elsewhere / record.name)
    record.symlink_to(elsewhere / record.name)


def fifo(path: Path) -> None:
    os.mkfifo(path)


NB = f"data/{B}.ipynb"
LIES = "only whoever holds the key can do this, to records of his own: the commands ask whether it is as he sealed it"
ENDS = "nothing follows the newest record yet"
REGISTER = "the commands look at records, not at the register"
LISTS = "which name a record has in the register, or lies beside it, no command asks"

CASES = [
    # bytes
    Case("a bit of the executed notebook is flipped", lambda s: flip(s.run(B) / NB), "a file was changed"),
    Case("a line is added to the journal", lambda s: add(s.run(B) / "data/journal.jsonl", "{}\n"), "a file was changed"),
    Case("evidence is emptied", lambda s: (s.run(A) / "data/evidence/40-convert.txt").write_text(""), "a file was changed"),
    Case("the plan is replaced", lambda s: (s.run(B) / "data/plan.json").write_text("{}"), "a file was changed"),
    Case(
        "the list of signers inside is replaced", lambda s: add(s.run(B) / "data/signers/allowed_signers"), "a file was changed"
    ),
    Case("the parameters are changed", lambda s: flip(s.run(B) / "data/params/site.yml"), "a file was changed"),
    Case("two files change places", lambda s: swap(s.run(B) / NB, s.run(B) / "data/journal.jsonl"), "a file was changed"),
    # files
    Case("a file is removed", lambda s: (s.run(B) / NB).unlink(), "a file is missing"),
    Case("a file is renamed", lambda s: (s.run(B) / NB).rename(s.run(B) / "data/other.ipynb"), "a file is missing"),
    Case("evidence is removed with its folder", lambda s: shutil.rmtree(s.run(B) / "data/evidence"), "a file is missing"),
    Case("a file is added to the payload", lambda s: add(s.run(B) / "data/more.txt"), "a file was added"),
    Case("a hidden file is added to the payload", lambda s: add(s.run(B) / "data/.more"), "a file was added"),
    Case("a file is added beside the manifests", lambda s: add(s.run(B) / "note.txt"), "a file was added"),
    Case("a hidden file is added beside the manifests", lambda s: add(s.run(B) / ".note"), "a file was added"),
    Case(
        "a file is added whose name a terminal would obey",
        lambda s: add(s.run(B) / "data" / os.fsdecode(b"\x1b[2K\xff")),
        "a file was added",
    ),
    Case("a second signature is added", lambda s: add(s.run(B) / f"{SIGNATURE}.sig"), "a file was added"),
    Case("a folder becomes a link, and as many files are added as the counts lose", balanced, "a file was added"),
    Case("a token lies where nobody asked for a time", lambda s: add(s.run(A) / TOKEN), "a file was added"),
    Case("an empty folder is added", lambda s: (s.run(B) / "data/empty").mkdir(), "a folder was added"),
    Case("a hidden folder is added", lambda s: (s.run(B) / ".empty").mkdir(), "a folder was added"),
    Case("a fifo is added", lambda s: fifo(s.run(B) / "data/pipe"), "something stands in a record that is no file"),
    Case(
        "a file is replaced by a fifo",
        lambda s: ((s.run(B) / "data/plan.json").unlink(), fifo(s.run(B) / "data/pipe")),
        "something stands in a record that is no file",
    ),
    Case(
        "a link is added",
        lambda s: (s.run(B) / "data/link").symlink_to("plan.json"),
        "something stands in a record that is no file",
    ),
    Case(
        "a dangling link is added",
        lambda s: (s.run(B) / "link").symlink_to("nowhere"),
        "something stands in a record that is no file",
    ),
    Case(
        "a file is replaced by a link to the same content",
        lambda s: link_out(s.run(B) / "data/plan.json"),
        "something stands in a record that is no file",
    ),
    Case(
        "the whole payload is replaced by a link to it",
        lambda s: link_out(s.run(B) / "data"),
        "something stands in a record that is no file",
    ),
    Case("a manifest is replaced by a link to it", lambda s: link_out(s.run(B) / bag.MANIFEST), "a manifest is missing"),
    Case("a file is replaced by a folder", lambda s: ((s.run(B) / NB).unlink(), (s.run(B) / NB).mkdir()), "a folder was added"),
    # manifests
    Case(
        "a file is removed with its line",
        lambda s: ((s.run(B) / NB).unlink(), without_line(s.run(B) / bag.MANIFEST, NB)),
        "a file was changed",
    ),
    Case(
        "a file is added with a line",
        lambda s: (add(s.run(B) / "data/more"), list_again(s.run(B))),
        "the signature counts for nothing",
    ),
    Case(
        "everything is listed anew, but not signed",
        lambda s: (flip(s.run(B) / NB), list_again(s.run(B))),
        "the signature counts for nothing",
    ),
    Case(
        "a line stands twice",
        lambda s: add(s.run(B) / bag.MANIFEST, (s.run(B) / bag.MANIFEST).read_text().splitlines(True)[0]),
        "a manifest names a file twice",
    ),
    Case(
        "a line leads out of the record",
        lambda s: add(s.run(B) / bag.MANIFEST, f"{'0' * 64}  data/../../x\n"),
        "a line of a manifest names no file of this record",
    ),
    Case(
        "a line names an absolute path",
        lambda s: add(s.run(B) / bag.TAG_MANIFEST, f"{'0' * 64}  /etc/passwd\n"),
        "a line of a manifest names no file of this record",
    ),
    Case(
        "a line is no line of a manifest",
        lambda s: add(s.run(B) / bag.MANIFEST, "and more\n"),
        "a line of a manifest names no file of this record",
    ),
    Case(
        "a payload file is named in the list of tag files",
        lambda s: add(s.run(B) / bag.TAG_MANIFEST, f"{'0' * 64}  {NB}\n"),
        "a line stands in the wrong manifest",
    ),
    Case(
        "lines end as on Windows",
        lambda s: (s.run(B) / bag.MANIFEST).write_bytes((s.run(B) / bag.MANIFEST).read_bytes().replace(b"\n", b"\r\n")),
        "a line of a manifest names no file of this record",
    ),
    Case(
        "the last line end is cut off",
        lambda s: (s.run(B) / bag.MANIFEST).write_bytes((s.run(B) / bag.MANIFEST).read_bytes()[:-1]),
        "a manifest does not end with a whole line",
    ),
    Case("the payload's manifest is removed", lambda s: (s.run(B) / bag.MANIFEST).unlink(), "a manifest is missing"),
    Case("the signed list is removed", lambda s: (s.run(B) / bag.TAG_MANIFEST).unlink(), "a manifest is missing"),
    Case(
        "the key's holder lists a file outside",
        lambda s: (names_outside(s.run(B)), sign_again(s.run(B), s.key())),
        "a line of a manifest names no file of this record",
    ),
    # tag files
    Case(
        "the outcome is changed",
        lambda s: edit(s.run(B) / bag.INFO, "Outcome: failed", "Outcome: succeeded"),
        "a file was changed",
    ),
    Case("bag-info.txt is removed", lambda s: (s.run(B) / bag.INFO).unlink(), "the record does not say what it is"),
    Case("bagit.txt is removed", lambda s: (s.run(B) / "bagit.txt").unlink(), "a file is missing"),
    Case(
        "a word of the README is changed",
        lambda s: edit(s.run(B) / "README.txt", "WHAT IT PROVES", "PROVEN"),
        "a file was changed",
    ),
    Case(
        "the README's commands are made to do nothing",
        lambda s: [edit(s.run(B) / "README.txt", c, "true") for c in commands(s.run(B))],
        "a file was changed",
        "take the commands from a README that you know, not from the record in question",
    ),
    # signatures
    Case("the signature is removed", lambda s: (s.run(B) / SIGNATURE).unlink(), "the record is not signed"),
    Case(
        "the signature is replaced by a folder",
        lambda s: ((s.run(B) / SIGNATURE).unlink(), (s.run(B) / SIGNATURE).mkdir()),
        "the record is not signed",
    ),
    Case(
        "the signature is cut off",
        lambda s: (s.run(B) / SIGNATURE).write_text("-----BEGIN SSH SIGNATURE-----\n"),
        "the signature counts for nothing",
    ),
    Case(
        "words are added to the signature's file",
        lambda s: edit(
            s.run(B) / SIGNATURE, "-----END SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\nand so says the director\n"
        ),
        "the signature counts for nothing",
        "ssh-keygen reads over what stands beside the block",
    ),
    Case(
        "the signature of another record",
        lambda s: shutil.copy(s.run(C) / SIGNATURE, s.run(B) / SIGNATURE),
        "the signature counts for nothing",
    ),
    Case("signed by a key that nobody knows", lambda s: signed_by(s, "stranger"), "the signature counts for nothing"),
    Case("signed by the approver, for evidence", lambda s: signed_by(s, "approver"), "the signature counts for nothing"),
    Case(
        "signed by the operator, as an approval",
        lambda s: signed_by(s, "operator", "approval"),
        "the signature counts for nothing",
    ),
    Case(
        "signed by a colleague in the operator's name",
        lambda s: signed_by(s, "colleague"),
        "somebody else signed it than it says",
    ),
    Case(
        "a colleague is named as the signer",
        lambda s: s.lie(s.story, lambda r: None, Sealed_By="colleague@lab"),
        "somebody else signed it than it says",
        LIES,
    ),
    Case(
        "the key was revoked",
        lambda s: s.trust.revoked.write_text(s.key("operator.pub").read_text()),  # type: ignore[union-attr]
        "the signature counts for nothing",
    ),
    Case(
        "the key had run out",
        lambda s: s.listed(lambda t: t.replace('"evidence"', '"evidence",valid-before="20260101Z"')),
        "the signature counts for nothing",
    ),
    Case(
        "the key was not good yet",
        lambda s: s.listed(lambda t: t.replace('"evidence"', '"evidence",valid-after="20990101Z"')),
        "the signature counts for nothing",
    ),
    Case("sealed without a key", unsigned, "the record is not signed"),
    # time stamps
    Case(
        "the time stamp of another signature",
        lambda s: another_token(s, s.run(A) / SIGNATURE),
        "the time stamp does not fit",
        "the command for time stamps is the fifth",
    ),
    Case(
        "a time stamp that is none",
        lambda s: (s.run(B) / TOKEN).write_text("noon"),
        "the time stamp does not fit",
        "the command for time stamps is the fifth",
    ),
    Case(
        "the time stamp of a service that nobody trusts",
        foreign_service,
        "the time stamp does not fit",
        "the command for time stamps is the fifth",
    ),
    Case(
        "a time stamp that was there is gone",
        lambda s: (s.run(B) / TOKEN).unlink(),
        "a time stamp was taken away",
        "the command for time stamps is the fifth",
    ),
    Case("sealed now, said to be of last month", set_back, "the time stamp tells another time"),
    # places and chain
    Case(
        "a record is given another name",
        lambda s: s.run(B).rename(s.run(B + "2")),
        "this is another record than its folder's name says",
    ),
    Case("two records change places", lambda s: swap(s.run(B), s.run(C)), "this is another record than its folder's name says"),
    Case(
        "a record is put under another guest",
        lambda s: shutil.copytree(s.run(B), s.run(B, "idp")),
        "the record lies in another guest's folder",
    ),
    Case(
        "a guest's first record is replaced by another guest's",
        replaced_by_another_guests,
        "the record lies in another guest's folder",
    ),
    Case(
        "a record is copied under another name",
        lambda s: shutil.copytree(s.run(B), s.run(B + "-again")),
        "the chain of records forks",
    ),
    Case("the first record is removed", lambda s: shutil.rmtree(s.run(A)), "the record before is missing"),
    Case("a record in the middle is removed", lambda s: shutil.rmtree(s.run(B)), "the record before is missing"),
    Case(
        "a record in the middle is removed with its line",
        lambda s: (shutil.rmtree(s.run(B)), without_line(s.register, B)),
        "the register was changed after it was written",
    ),
    Case("the newest record is removed", lambda s: shutil.rmtree(s.story), "a record that the register names is missing", ENDS),
    Case("a record is replaced by a link to it", lambda s: link_out_record(s.run(B)), "the record before is missing"),
    Case(
        "a record in the middle is sealed again",
        lambda s: s.lie(s.run(B), lambda r: add(r / "data/more"), Outcome="succeeded"),
        "the record before is not the one that was sealed",
    ),
    Case(
        "the newest record is sealed again",
        lambda s: s.lie(s.story, lambda r: flip(r / "data/environment.json")),
        "the register does not fit the record: sha256",
        ENDS,
    ),
    Case(
        "a forged record is put in",
        lambda s: (
            shutil.copytree(s.run(B), s.run("20260105T000000Z-40-convert")),
            list_again(s.run("20260105T000000Z-40-convert"), External_Identifier="gateway/20260105T000000Z-40-convert"),
        ),
        "a record is not in the register",
    ),
    Case(
        "a file lies among the records",
        lambda s: add(s.records / "gateway" / "note.txt"),
        "something lies among the records that is none",
        LISTS,
    ),
    Case(
        "a hidden folder lies among the records",
        lambda s: (s.records / ".old").mkdir(),
        "something lies among the records that is none",
        LISTS,
    ),
    Case(
        "a half record lies among the records",
        lambda s: shutil.copytree(s.run(B), s.run(".stash.part")),
        "a half record lies among the records",
    ),
    Case(
        "a guest's folder without a record lies among the records",
        lambda s: (s.records / "guest").mkdir(),
        "a guest's folder holds no record",
        LISTS,
    ),
    Case(
        "a guest's records are all taken away, and its folder is left",
        lambda s: shutil.rmtree(s.run(A, "idp")),
        "a guest's folder holds no record",
        LISTS,
    ),
    Case("a folder that is no record lies among a guest's", lambda s: s.run("notes").mkdir(), "a manifest is missing"),
    Case(
        "records of a guest that the register does not know",
        lambda s: shutil.copytree(s.run(A), s.run(A, "other")),
        "a record is not in the register",
        LISTS,
    ),
    Case(
        "the newest record is said to be of 2099",
        lambda s: s.lie(s.story, lambda r: None, Sealed="2099-01-01T00:00:00Z"),
        "the record was sealed in the future",
        LIES,
    ),
    Case(
        "a record is sealed before its run began",
        lambda s: s.lie(s.story, lambda r: None, Sealed="2026-01-01T00:00:00Z"),
        "the record was sealed before its run began",
        LIES,
    ),
    Case(
        "a time in the register goes back",
        lambda s: s.lines(lambda x: renumber([*x[:3], before_all(x[3]), *x[4:]], lambda y: None)),
        "time goes backwards in the register",
        REGISTER,
    ),
    Case(
        "the times of two records are exchanged",
        lambda s: s.lie(s.run(A), lambda r: None, Sealed="2099-01-01T00:00:00Z"),
        "time goes backwards along the chain",
    ),
    # register
    Case(
        "an outcome in the register is changed",
        lambda s: s.lines(lambda x: changed(x, 3, "failed", "succeeded")),
        "the register does not fit the record: outcome",
        REGISTER,
    ),
    Case(
        "a signer in the register is changed",
        lambda s: s.lines(lambda x: changed(x, 2, "operator@lab", "colleague@lab")),
        "the register does not fit the record: signer",
        REGISTER,
    ),
    Case(
        "a time in the last line is changed",
        lambda s: s.lines(lambda x: changed(x, 5, "2026-", "2025-")),
        "the register does not fit the record: sealed",
        REGISTER,
    ),
    Case(
        "a line is removed",
        lambda s: s.lines(lambda x: [*x[:2], *x[3:]]),
        "the register was changed after it was written",
        REGISTER,
    ),
    Case("the last line is removed", lambda s: s.lines(lambda x: x[:-1]), "a record is not in the register", REGISTER),
    Case("a line is put in", lambda s: s.lines(lambda x: [*x[:2], x[1], *x[2:]]), "the register names a record twice", REGISTER),
    Case(
        "two lines change places",
        lambda s: s.lines(lambda x: [x[0], x[2], x[1], *x[3:]]),
        "the register was changed after it was written",
        REGISTER,
    ),
    Case(
        "two lines change places, and all hashes are made to fit",
        lambda s: s.lines(lambda x: renumber(x, lambda y: y.insert(1, y.pop(2)))),
        "the register does not fit the record: the line before",
        REGISTER,
    ),
    Case(
        "a line is removed, and all hashes are made to fit",
        lambda s: s.lines(lambda x: renumber(x, lambda y: y.pop(2) and None)),
        "the register does not fit the record: the line before",
        REGISTER,
    ),
    Case(
        "a line is put in for a record that is not there",
        lambda s: s.lines(lambda x: renumber([*x, x[-1].replace("-guest", "-other")], lambda y: None)),
        "a record that the register names is missing",
        REGISTER,
    ),
    Case(
        "the last line is torn",
        lambda s: s.register.write_text(s.register.read_text()[:-20]),
        "the register does not end with a whole line",
        REGISTER,
    ),
    Case(
        "a line is made unreadable",
        lambda s: s.lines(lambda x: changed(x, 3, "\t", " ")),
        "a line of the register cannot be read",
        REGISTER,
    ),
    Case("the heading is removed", lambda s: s.lines(lambda x: x[1:]), "the register has no heading", REGISTER),
    Case("the register is removed", lambda s: s.register.unlink(), "the register is missing", REGISTER),
    # contradictions that were sealed
    Case(
        "a line inside the journal was changed before it was sealed",
        lambda s: s.lie(s.story, journal_broken),
        "the journal was changed after it was written",
        LIES,
    ),
    Case(
        "the journal sealed is not that of the record before",
        lambda s: s.lie(s.story, journal_of_its_own),
        "the journal is not that of the record before, continued",
        LIES,
    ),
    Case(
        "the executed notebook tells another outcome",
        lambda s: s.lie(s.run(C), lambda r: notebook_says(r, "succeeded")),
        "the outcome is told in two ways",
    ),
    Case(
        "bag-info.txt tells another outcome than the journal",
        lambda s: s.lie(s.run(C), lambda r: None, Outcome="succeeded"),
        "the outcome is told in two ways",
    ),
    Case(
        "the runbook inside is another",
        lambda s: s.lie(s.run(C), lambda r: add(r / "data/runbook/60-deploy.ipynb")),
        "the record holds another runbook than it says",
    ),
    Case(
        "a runbook that was changed is called the project's own",
        lambda s: s.lie(s.run(C), cells_added, Runbook="as in the commit"),
        "a runbook that was changed is called the project's own",
    ),
    Case(
        "the record does not say whose runbook it is",
        lambda s: s.lie(s.run(C), lambda r: without_line(r / bag.INFO, "Runbook: ")),
        "the record does not say whose runbook it is",
    ),
    Case(
        "the plan inside is another", lambda s: s.lie(s.story, lambda r: add(r / "data/plan.json")), "the plan is another", LIES
    ),
    Case(
        "the size told is another",
        lambda s: s.lie(s.story, lambda r: None, Payload_Oxum="1.1"),
        "the payload has another size",
        LIES,
    ),
    Case(
        "an approval inside was changed",
        lambda s: s.lie(s.story, lambda r: edit(r / "data/approvals/approval.txt", "the page", "no page")),
        "an approval counts for nothing",
        "approvals have a command of their own",
    ),
    Case(
        "an approval inside was signed by the operator himself",
        lambda s: s.lie(s.story, lambda r: signature.sign(r / "data/approvals/approval.txt", s.key(), "approval")),
        "an approval counts for nothing",
        "approvals have a command of their own",
    ),
]


def test_a_lone_record_of_2099_is_not_good(scene: Scene, tmp_path: Path) -> None:
    alone = shutil.copytree(scene.run(A), tmp_path / "alone" / "20990101T000000Z-40-convert")
    list_again(alone, External_Identifier=f"gateway/{alone.name}", Sealed="2099-01-02T00:00:00Z")
    sign_again(alone, scene.key())
    found = verification.verify(alone, scene.trust)
    assert [p.what for p in found.problems] == ["the record was sealed in the future"]


def test_what_lies_in_one_guests_folder_is_found_where_only_that_is_verified(scene: Scene) -> None:
    scene.run(".stash.part").mkdir()
    add(scene.records / "gateway" / "note.txt")
    found = verification.verify(scene.records / "gateway", scene.trust, scene.service.ca)
    assert [p.what for p in found.problems] == [
        "a half record lies among the records",
        "something lies among the records that is none",
    ]


def test_a_record_that_is_just_being_sealed_is_no_flaw_and_what_a_killed_seal_left_is_removed(scene: Scene) -> None:
    scene.run(".20260104T000000Z-40-convert.part").mkdir()
    (scene.records / "empty").mkdir()
    with register.of(scene.home).locked():
        assert scene.verify() == ["a guest's folder holds no record"]
    ended(scene.home, "idp", B)
    seal.of_run(scene.home, "idp", B)
    assert scene.verify() == []


def test_the_table_is_long_enough_and_names_each_case_once() -> None:
    assert len({c.name for c in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_manipulation_is_found(scene: Scene, case: Case) -> None:
    case.act(scene)
    before = {p: p.lstat().st_mtime_ns for p in scene.records.rglob("*")}
    assert case.told in scene.verify()
    assert found_by_shell(scene.records, scene.trust) is (not case.unseen)
    assert {p: p.lstat().st_mtime_ns for p in scene.records.rglob("*")} == before  # who verifies writes nothing


def test_a_machine_whose_clock_is_seconds_behind_seals_no_contradiction(scene: Scene) -> None:
    sealed = bag.read_info(scene.story)["Sealed"]
    before = bag.read_info(scene.records / bag.read_info(scene.story)["Previous-Record"])["Sealed"]
    for seconds, found in ((2, False), (660, True)):
        then = datetime.strptime(min(before, sealed), TIME) - timedelta(seconds=seconds)
        scene.lie(scene.story, lambda r: None, Sealed=f"{then:{TIME}}")
        assert ("time goes backwards along the chain" in scene.verify()) == found
