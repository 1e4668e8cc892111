"""What is brought into a guest: held by its hash, once, and refused where it is another than was planned."""

import fnmatch
import hashlib
import json
from pathlib import Path

import pytest

from hikkoshi.approval import plan as planning
from hikkoshi.errors import BadInput, Refused
from hikkoshi.guest.additions import addition, firststart, installer
from hikkoshi.guest.additions.addition import Additions, Ran
from hikkoshi.guest.preparation import Preparation
from hikkoshi.guest.survey import Survey
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.secret.redaction import Redactor

DATA = Path(__file__).parents[1] / "data" / "survey"


@pytest.fixture
def survey() -> Survey:
    return Survey.model_validate_json((DATA / "gateway.json").read_bytes())


@pytest.fixture
def guest(home: Home) -> Guest:
    """The gateway, with a script for the copy and one for the first start."""
    (home.root / "one.sh").write_text("#!/bin/sh\necho one\n")
    (home.root / "two.sh").write_text("#!/bin/sh\necho two\n")
    return home.guest("gateway").model_copy(update={"prepare": (Path("one.sh"),), "first_start": (Path("two.sh"),)})


def planned(home: Home, guest: Guest, survey: Survey) -> Preparation:
    return planning.make(home, guest, home.site(), survey).preparation


def test_the_plan_holds_each_script_by_its_hash_and_another_script_is_another_plan(
    home: Home, guest: Guest, survey: Survey
) -> None:
    before = planning.make(home, guest, home.site(), survey)
    (one,) = before.preparation.additions.prepare
    assert one.sha256 == hashlib.sha256(b"#!/bin/sh\necho one\n").hexdigest()
    (home.root / "one.sh").write_text("#!/bin/sh\necho another\n")
    assert planning.make(home, guest, home.site(), survey).hash != before.hash


def test_a_plan_that_brings_nothing_is_written_as_an_earlier_version_wrote_it(home: Home, survey: Survey) -> None:
    made = planning.make(home, home.guest("gateway"), home.site(), survey)
    assert "additions" not in json.loads(made.text())["preparation"]


def test_a_plan_is_read_back_with_what_it_brings(home: Home, guest: Guest, survey: Survey) -> None:
    made = planned(home, guest, survey)
    assert Preparation.model_validate_json(made.model_dump_json()) == made


def test_a_guest_that_got_everything_gets_nothing_again(home: Home, guest: Guest, survey: Survey) -> None:
    made = planned(home, guest, survey)
    texts = survey.guest.texts | {e.path: e.after or "" for e in made.edits}
    again = survey.model_copy(update={"guest": survey.guest.model_copy(update={"texts": texts})})
    found = planned(home, guest, again)
    assert not found.additions
    assert {e.path for e in found.edits} & {addition.BROUGHT, *firststart.FILES} == set()
    assert not [c for c in found.commands if firststart.SERVICE in " ".join(c)]


@pytest.mark.parametrize(
    ("systemd", "distribution", "path", "command"),
    [
        (True, "debian", firststart.UNIT, ("/bin/systemctl", "enable", "hikkoshi-first-start.service")),
        (False, "debian", firststart.SCRIPT, ("/usr/sbin/update-rc.d", "hikkoshi-first-start", "defaults")),
        (False, "centos", firststart.SCRIPT, ("/sbin/chkconfig", "--add", "hikkoshi-first-start")),
    ],
)
def test_the_first_start_is_started_as_the_guest_starts_its_services(
    home: Home, guest: Guest, survey: Survey, systemd: bool, distribution: str, path: str, command: tuple[str, ...]
) -> None:
    facts = survey.guest.model_copy(update={"systemd": systemd, "distribution": distribution})
    made = planned(home, guest, survey.model_copy(update={"guest": facts}))
    assert {firststart.RUNNER, path, addition.BROUGHT} <= {e.path for e in made.edits}
    assert command in made.commands


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "No such file"), (b"echo no interpreter\n", "does not begin with #!"), (b"#!" + b"x" * (1 << 20), "1,048,578 bytes")],
    ids=["missing", "no interpreter", "too large"],
)
def test_what_is_no_script_is_told_before_anything_is_planned(
    home: Home, guest: Guest, survey: Survey, content: bytes | None, found: str
) -> None:
    path = home.root / "one.sh"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (bad,) = (c for c in addition.checks(home, guest) if not c)
    assert found in bad.found
    with pytest.raises(BadInput, match=r"one\.sh"):
        planned(home, guest, survey)


def test_a_script_that_is_another_by_now_is_refused(home: Home, guest: Guest, tmp_path: Path) -> None:
    added = addition.scripts(home, guest)
    assert all(addition.as_planned(home.root, added))
    (home.root / "two.sh").write_text("#!/bin/sh\necho another\n")
    assert [c.where for c in addition.as_planned(home.root, added) if not c] == ["two.sh"]
    with pytest.raises(Refused, match=r"two\.sh is as it was planned"):
        addition.job(home.root, added, tmp_path)


class Copy:
    """What the installer asks of an appliance, answered for a copy of these files: {path: bytes}."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def mkdir_p(self, path: str) -> None:
        pass

    def chmod(self, mode: int, path: str) -> None:
        pass

    def glob_expand(self, pattern: str) -> list[str]:
        parts = [path.split("/") for path in self.files]
        return fnmatch.filter({"/".join(p[:n]) for p in parts for n in range(2, len(p) + 1)}, pattern)

    def rm_rf(self, path: str) -> None:
        self.files = {p: content for p, content in self.files.items() if p != path and not p.startswith(path + "/")}

    def is_dir(self, path: str) -> bool:
        return path == "/etc/dpkg"

    def is_file(self, path: str) -> bool:
        return not self.files.get(path, b"->").startswith(b"->")

    def is_symlink(self, path: str) -> bool:
        return self.files.get(path, b"").startswith(b"->")

    def mv(self, path: str, new: str) -> None:
        self.files[new] = self.files.pop(path)

    def write(self, path: str, content: bytes) -> None:
        link = self.files.get(path, b"")
        self.files[link[2:].decode() if link.startswith(b"->") else path] = content

    def rm_f(self, path: str) -> None:
        self.files.pop(path, None)

    def upload(self, local: str, path: str) -> None:
        self.files[path] = Path(local).read_bytes()


def test_a_guest_that_was_moved_once_runs_the_new_scripts_of_its_second_move(home: Home, guest: Guest, tmp_path: Path) -> None:
    old = {addition.RESULT: b"begun 01-old.sh\n", f"{addition.STARTING}/01-old.sh": b"", addition.BROUGHT: b"x"}
    copy = Copy(dict(old))
    added = addition.scripts(home, guest).model_copy(update={"prepare": ()})
    installer.bring(copy, {"additions": addition.job(home.root, added, tmp_path)}, None, print)
    assert copy.files == {addition.BROUGHT: b"x", f"{addition.STARTING}/01-two.sh": b"#!/bin/sh\necho two\n"}
    archive = addition.Carried(file="tools.tar.gz", sha256=hashlib.sha256(b"tools").hexdigest(), bytes=5)
    (home.root / archive.file).write_bytes(b"tools")
    both = Copy({**old, addition.ARCHIVE_SCRIPT: b"one of the edits"})
    job = addition.job(home.root, added.model_copy(update={"archive": (archive,)}), tmp_path)
    installer.bring(both, {"additions": job}, None, print)
    assert both.files == {
        **copy.files,
        addition.ARCHIVE_SCRIPT: b"one of the edits",
        f"{addition.WAITING}/tools.tar.gz": b"tools",
    }
    kept = Copy(dict(old))
    installer.bring(kept, {"additions": addition.job(home.root, Additions(), tmp_path)}, None, print)
    assert kept.files == old, "what did not end is not run a second time"


def test_the_output_of_a_script_is_kept_without_the_guests_secrets_and_without_credentials() -> None:
    own = Redactor()
    own.redact("/etc/sysctl.conf", b"password = topsecret\n")
    said = b"+ curl -u admin:other https://x\nAuthorization: Bearer third\nit is topsecret\n"
    kept = "+ curl -u admin:‹not kept› https://x\nAuthorization: ‹not kept›\nit is ‹not kept›\n"
    assert installer.hidden(own, said) == kept


@pytest.mark.parametrize(
    "own", [{}, {installer.POLICY: b"#!/bin/sh\n"}, {installer.POLICY: b"->/etc/policy", "/etc/policy": b"x"}]
)
def test_what_says_whether_services_start_is_put_back_as_it_was(own: dict[str, bytes]) -> None:
    copy = Copy(dict(own))
    installer.denied(copy)
    assert copy.files[installer.POLICY] == installer.DENIED
    installer.allowed(copy)
    assert copy.files == own


def test_a_script_that_did_not_run_or_does_not_wait_is_red(home: Home, guest: Guest) -> None:
    added = addition.scripts(home, guest)
    ran = [Ran(kind="script", name="one.sh", status=0, output="one\n")]
    waits = {f"{addition.STARTING}/01-two.sh": added.first_start[0].sha256}
    assert all(addition.proofs(added, ran, waits))
    assert [c.code for c in addition.proofs(added, [], {}) if not c] == ["scripts-ran", "first-start-waits"]
    assert addition.proofs(Additions(), [], {}) == []


@pytest.mark.parametrize(
    ("lines", "state", "statuses"),
    [
        ([], "not begun", []),
        (["begun 01-a"], "running", [None]),
        (["begun 01-a", "ended 01-a 0", "begun 02-b", "ended 02-b 3", "complete"], "complete", [0, 3]),
        (["begun 01-a", "interrupted"], "interrupted", [None]),
        (["begun 01-a", "what else", "ended 01-a 999999"], "running", [None]),
    ],
)
def test_the_result_of_a_first_start_is_read(lines: list[str], state: str, statuses: list[int | None]) -> None:
    found, started = firststart.read(lines)
    assert (found, [s.status for s in started]) == (state, statuses)
