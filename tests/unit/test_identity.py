"""A site folder's identity: one UUID, made once, never made anew under the machines that carry it."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.params.home import Home
from hikkoshi.vsphere import vm
from processes import PATIENCE


def deployed(home: Home, guest: str, **fields: object) -> None:
    home.folder(guest).mkdir(parents=True)
    (home.folder(guest) / "deployment.json").write_text(json.dumps({"guest": guest, **fields}))


def test_it_is_a_uuid_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made = home.identity()
    assert str(uuid.UUID(made)) == made
    assert home.identity() == made
    assert (home.outputs / "identity").read_text() == f"{made}\n"
    assert (home.outputs / "identity").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in home.outputs.iterdir()] == ["identity"]


def test_many_processes_at_once_get_the_same_one(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hikkoshi.params.home import Home; sys.stdin.readline(); "
        "print(Home(Path(sys.argv[1])).identity())"
    )
    run = [sys.executable, "-c", program, str(tmp_path)]
    many = [subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for one in many:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    assert len({one.communicate()[0] for one in many}) == 1
    assert [p.name for p in (tmp_path / "outputs").iterdir()] == ["identity"]


@pytest.mark.parametrize("written", ["", "gateway\n", "5eed0000-0000-4000-8000-00000000000\n", "\xff" * 300])
def test_a_damaged_one_is_told_and_not_replaced(tmp_path: Path, written: str) -> None:
    home = Home(tmp_path)
    home.outputs.mkdir()
    (home.outputs / "identity").write_text(written, encoding="latin-1")
    with pytest.raises(BadInput, match="identity is damaged"):
        home.identity()
    assert (home.outputs / "identity").read_text(encoding="latin-1") == written


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: p.symlink_to("/etc/hostname")])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, make: object) -> None:
    home = Home(tmp_path)
    home.outputs.mkdir()
    make(home.outputs / "identity")  # type: ignore[operator]
    with pytest.raises(BadInput, match="can neither be read nor made"):
        home.identity()


def test_a_lost_one_is_not_made_anew_where_a_machine_carries_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made = home.identity()
    deployed(home, "gateway", site=made)
    (home.outputs / "identity").unlink()
    with pytest.raises(BadInput, match=made) as e:
        home.identity()
    assert "gateway/deployment.json" in str(e.value)
    assert not (home.outputs / "identity").exists()
    (home.outputs / "identity").write_text(made)  # what the error says to do
    assert home.identity() == made


def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.folder("gateway").mkdir(parents=True)
    os.mkfifo(home.folder("gateway") / "deployment.json")
    program = "import sys; from pathlib import Path; from hikkoshi.params.home import Home; Home(Path(sys.argv[1])).identity()"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=PATIENCE, check=True)


def test_guests_deployed_by_an_earlier_version_are_no_hindrance(tmp_path: Path) -> None:
    home = Home(tmp_path)
    deployed(home, "gateway", moid="vm-7")
    assert home.identity()


def test_an_outputs_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file in its place")
    with pytest.raises(BadInput, match="can neither be read nor made"):
        Home(tmp_path).identity()


def test_a_copy_of_the_folder_and_a_clone_of_the_computer_hold_another_lock(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, copy, computer = home.outputs / "lock", home.outputs / "copy", tmp_path / "machine-id"
    for path in (lock, copy):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(vm, "_COMPUTER", computer)
    monkeypatch.setattr(os, "major", lambda device: 8)  # a disk of this computer
    computer.write_text("5eed0001\n")
    first = vm.owner(home, "a run", lock)
    assert first == vm.owner(home, "a run", lock)
    assert first.lock != vm.owner(home, "a run", copy).lock
    computer.write_text("5eed0002\n")
    assert first.lock != vm.owner(home, "a run", lock).lock
    computer.unlink()
    assert vm.owner(home, "a run", lock).lock, "a computer without such a name has its locks, too"
    assert vm.owner(home, "a run", home.outputs / "none").lock == ""


def test_on_a_file_system_that_computers_share_the_lock_is_the_same_for_all(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, computer, seen = home.outputs / "lock", tmp_path / "machine-id", set()
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    monkeypatch.setattr(vm, "_COMPUTER", computer)
    monkeypatch.setattr(os, "major", lambda device: 0)  # as of NFS
    for name in ("5eed0001", "5eed0002"):
        computer.write_text(name)
        seen.add(vm.owner(home, "a run", lock).lock)
    assert len(seen) == 1
