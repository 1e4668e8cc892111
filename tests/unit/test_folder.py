"""A guest's folder: names of its files, and where they are."""

import pickle
from pathlib import Path

from hikkoshi.params.folder import GuestFolder, all_in, of


def test_a_name_is_asked_of_the_class_and_a_path_of_a_folder() -> None:
    folder = of(Path("/o"), "web")
    assert GuestFolder.plan == "plan.json"
    assert folder.plan == Path("/o/guests/web/plan.json")
    assert type(folder.plan) is type(Path())
    assert folder.vmdk == Path("/o/guests/web/disk/web.vmdk")


def test_a_folder_is_a_path_like_any_other() -> None:
    folder = GuestFolder("/o/guests/web")
    assert folder == Path("/o/guests/web")
    assert pickle.loads(pickle.dumps(folder)).plan == folder.plan


def test_only_folders_are_guests(tmp_path: Path) -> None:
    (tmp_path / "guests").mkdir()
    for name in ("web", "db"):
        of(tmp_path, name).mkdir()
    (tmp_path / "guests" / "a-file").touch()
    assert [folder.name for folder in all_in(tmp_path)] == ["db", "web"]
    assert list(all_in(tmp_path / "nowhere")) == []


def test_the_executed_notebook_of_a_run_is_found_by_whatever_name_it_has(tmp_path: Path) -> None:
    folder = GuestFolder(tmp_path)
    folder.runs.mkdir()
    assert folder.executed("r") is None
    for end in (".part", ".interrupted", ""):
        made = folder.runs / f"r{end}.ipynb"
        made.touch()
        assert folder.executed("r") == made
