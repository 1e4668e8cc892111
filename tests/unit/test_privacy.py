"""Nobody else's eyes: another user of this machine reads nothing below outputs/."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi.cli import doctor
from hikkoshi.errors import Refused
from hikkoshi.params.home import Home
from hikkoshi.run import privacy
from hikkoshi.run.run import open_run
from processes import hikkoshi

NOBODY = 65534
PROJECT = Path(__file__).parents[2]
EVERYTHING = 'find "$1" -type f -exec cat {} + 2>/dev/null; find "$1" -mindepth 1 2>/dev/null'


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """What a login shell has: files that everybody may read; and no trace of what a run set."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home() -> Iterator[Home]:
    """A home that others may enter, as one below /srv; pytest's own folders are closed already."""
    with tempfile.TemporaryDirectory(prefix="site-") as name:
        root = Path(name)
        root.chmod(0o755)
        shutil.copytree(PROJECT / "params", root / "params")
        yield Home(root)


def seen_by_another(outputs: Path) -> str:
    """Whatever a user without rights finds below it: contents and names."""
    another = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    return subprocess.run([*another, "sh", "-c", EVERYTHING, "-", outputs], capture_output=True, text=True, check=False).stdout


def as_before(home: Home) -> Path:
    """outputs/ as an earlier version left it: everybody reads it."""
    folder = home.folder("gateway") / "disk"
    folder.mkdir(parents=True)
    (folder / "gateway.img").write_text("root:$1$canary:0:0")
    return folder


def opened(home: Home, step: str = "10-survey") -> None:
    open_run(step, {"guest": "gateway", "home": str(home.root)}).close("completed")


@pytest.mark.needs("root", "setpriv")
def test_another_user_reads_nothing_of_what_is_made_nor_of_what_was_made_before(home: Home) -> None:
    as_before(home)
    assert "canary" in seen_by_another(home.outputs)
    opened(home)
    assert (home.folder("gateway") / "journal.jsonl").is_file()
    assert seen_by_another(home.outputs) == ""


@pytest.mark.needs("root", "setpriv")
def test_no_file_that_a_command_makes_is_for_others(home: Home) -> None:
    as_before(home)
    before = set(home.outputs.rglob("*"))
    done = hikkoshi(home, "run", "gateway", "--only", "10")
    assert done.returncode == 2, done.stderr  # there is no lab; it is sealed all the same
    made = [p for p in home.outputs.rglob("*") if p.is_file() and p not in before]
    assert "bag-info.txt" in {p.name for p in made}
    assert seen_by_another(home.outputs) == ""
    assert {p: oct(stat.S_IMODE(p.stat().st_mode) & 0o077) for p in made} == dict.fromkeys(made, "0o0")


def test_all_folders_made_before_are_closed_once_and_files_keep_their_times(home: Home) -> None:
    folder = as_before(home)
    then = (folder / "gateway.img").stat().st_ctime_ns
    opened(home)
    assert {stat.S_IMODE(p.stat().st_mode) for p in (home.outputs, *home.outputs.rglob("*")) if p.is_dir()} == {0o700}
    assert (folder / "gateway.img").stat().st_ctime_ns == then


def test_outputs_that_is_a_link_to_a_larger_disk_is_closed_there(home: Home) -> None:
    elsewhere = home.root / "large"
    elsewhere.mkdir()
    home.outputs.symlink_to(elsewhere)
    opened(home)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700


def test_a_link_inside_is_not_followed(home: Home) -> None:
    folder = as_before(home)
    elsewhere = home.root / "elsewhere"
    elsewhere.mkdir()
    (folder / "link").symlink_to(elsewhere)
    opened(home)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


@pytest.fixture
def without_modes(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A file system that takes every mode and keeps none, as FAT and some network mounts do."""
    as_before(home)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    return home


def test_where_outputs_cannot_be_closed_nothing_is_begun(without_modes: Home) -> None:
    with pytest.raises(Refused, match=r"(?s)nobody else reads outputs/.*mode 0755.*chmod -R go="):
        opened(without_modes)


def test_the_way_back_is_not_stopped_by_it(without_modes: Home) -> None:
    opened(without_modes, "75-rollback")


def test_the_doctor_tells_outputs_that_others_read_and_that_it_is_needed(home: Home) -> None:
    as_before(home)
    told = next(f for f in doctor.findings(home) if f.title == "nobody else reads outputs/")
    assert (told.ok, told.required, told.found) == (False, True, "mode 0755")
    privacy.shut(home.outputs)
    assert all(f.ok for f in doctor._private(home))


def test_the_doctor_names_what_lies_open_inside(home: Home) -> None:
    folder = as_before(home)
    privacy.shut(home.outputs)
    folder.chmod(0o755)
    assert list(privacy.doubts(home.outputs)) == [f"{folder} has mode 0755"]


def test_the_doctor_names_a_folder_elsewhere_that_a_link_leads_to_and_others_may_enter(home: Home) -> None:
    folder = as_before(home)
    elsewhere = home.root / "large"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    privacy.shut(home.outputs)
    assert [d.partition(", of ")[0] for d in privacy.doubts(home.outputs)] == [f"{folder} leads out to {elsewhere}"]
    elsewhere.chmod(0o700)
    assert not [*privacy.doubts(home.outputs)]


@pytest.mark.needs("root")
def test_the_doctor_names_what_belongs_to_somebody_else(home: Home) -> None:
    folder = as_before(home)
    privacy.shut(home.outputs)
    os.chown(folder, NOBODY, NOBODY)
    assert [d.partition(" belongs to ")[0] for d in privacy.doubts(home.outputs)] == [str(folder)]


def test_the_doctor_names_a_site_in_which_anybody_may_exchange_outputs(home: Home) -> None:
    as_before(home)
    privacy.shut(home.outputs)
    home.root.chmod(0o777)
    assert [d.partition(":")[0] for d in privacy.doubts(home.outputs)] == ["anybody may put another folder in its place"]
