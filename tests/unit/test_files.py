"""Files that are either complete or not there."""

from pathlib import Path

import pytest

from hikkoshi import files


def test_a_file_gets_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "disk.vmdk"
    with files.part(target) as unfinished:
        unfinished.write_bytes(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert not unfinished.exists()


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_after_a_failure(tmp_path: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)), files.part(tmp_path / "disk.vmdk") as unfinished:
        unfinished.write_bytes(b"half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    files.write(target, "old")
    with pytest.raises(RuntimeError), files.part(target) as unfinished:
        unfinished.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"


def test_sizes_read_as_a_person_writes_them() -> None:
    assert [files.human(n) for n in (0, 1023, 35_000_000, 64 << 30, 3 << 40)] == [
        "0 B", "1023 B", "33.4 MiB", "64.0 GiB", "3.0 TiB",
    ]  # fmt: skip
