"""Temporary folders: private, locked while in use, and removed by the next run where one was killed."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi.secret import temporary

OURS = f"hikkoshi-{os.geteuid()}-"
PROGRAM = """
import signal, sys
from pathlib import Path
from hikkoshi.secret import temporary
with temporary.folder("test", Path(sys.argv[1])) as folder:
    (folder / "secret").write_text("of the guest")
    print(folder, flush=True)
    signal.pause()
"""


def old(path: Path) -> Path:
    os.utime(path, (0, 0), follow_symlinks=False)
    return path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process with a temporary folder in `tmp_path`, and that folder."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        yield process, old(Path(process.stdout.readline().strip()))
        process.kill()


def test_a_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with temporary.folder("test", tmp_path) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(
    tmp_path: Path, running: tuple["subprocess.Popen[str]", Path]
) -> None:
    process, folder = running
    temporary.sweep(tmp_path)
    assert (folder / "secret").is_file()
    process.send_signal(signal.SIGKILL)
    process.wait()
    temporary.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_folder_of_a_process_removes_what_was_left(tmp_path: Path) -> None:
    left = tmp_path / f"{OURS}test-left"
    left.mkdir()
    old(left)
    with temporary.folder("test", tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_a_young_folder_stays_since_it_may_not_be_locked_yet(tmp_path: Path) -> None:
    young = tmp_path / f"{OURS}test-young"
    young.mkdir()
    temporary.sweep(tmp_path)
    assert young.is_dir()


def test_pipes_links_and_files_of_our_names_are_neither_opened_nor_removed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("kept")
    os.mkfifo(tmp_path / f"{OURS}pipe")
    (tmp_path / f"{OURS}link").symlink_to(elsewhere)
    (tmp_path / f"{OURS}file").write_text("kept")
    inside = tmp_path / f"{OURS}test-left"
    inside.mkdir()
    (inside / "link").symlink_to(elsewhere)
    for path in tmp_path.glob(f"{OURS}*"):
        old(path)
    temporary.sweep(tmp_path)
    assert {p.name for p in tmp_path.glob(f"{OURS}*")} == {f"{OURS}pipe", f"{OURS}link", f"{OURS}file"}
    assert (elsewhere / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder to somebody else")
def test_another_users_folder_is_not_touched(tmp_path: Path) -> None:
    theirs = tmp_path / f"{OURS}test-theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    old(theirs)
    temporary.sweep(tmp_path)
    assert theirs.is_dir()


def test_a_folder_that_somebody_has_locked_is_told_by_nobody(tmp_path: Path) -> None:
    used = tmp_path / f"{OURS}test-used"
    used.mkdir()
    old(used)
    handle = os.open(used, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert list(temporary.leftovers(tmp_path)) == []
    os.close(handle)
    assert list(temporary.leftovers(tmp_path)) == [used]
