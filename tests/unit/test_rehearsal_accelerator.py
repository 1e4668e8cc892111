"""Which accelerator is chosen, and when the trial is made again."""

import json
from pathlib import Path

import pytest

from hikkoshi.rehearsal import accelerator
from hikkoshi.rehearsal.accelerator import Accelerator

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the result of the trial is kept; trials are counted in `tried` instead of made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "hikkoshi").mkdir()
    return tmp_path / "hikkoshi" / "accelerator.json"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A file in the place of /dev/kvm that this user may open."""
    path = tmp_path / "kvm"
    path.touch()
    return path


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def trial(name: str) -> Accelerator:
        names.append(name)
        return Accelerator("tcg", "tried just now")

    monkeypatch.setattr(accelerator, "trial", trial)
    return names


def test_without_the_device_emulation_is_used_and_nothing_tried(cache: Path, tmp_path: Path, tried: list[str]) -> None:
    found = accelerator.probe(tmp_path / "none")
    assert found.name == "tcg"
    assert f"there is no {tmp_path / 'none'}" in found.reason
    assert not tried
    assert not cache.exists()


def test_the_trial_is_made_once_per_boot_of_the_machine(cache: Path, device: Path, tried: list[str]) -> None:
    assert accelerator.probe(device) == accelerator.probe(device) == Accelerator("tcg", "tried just now")
    assert tried == ["kvm"]
    assert json.loads(cache.read_text())["boot"] == BOOT


def test_what_this_boot_found_is_used(cache: Path, device: Path, tried: list[str]) -> None:
    cache.write_text(json.dumps({"boot": BOOT, "name": "kvm", "reason": "it answered"}))
    assert accelerator.probe(device) == Accelerator("kvm", "it answered")
    assert not tried


@pytest.mark.parametrize(
    "note",
    [
        json.dumps({"boot": "another", "name": "kvm", "reason": "it answered"}),
        json.dumps({"boot": BOOT, "name": "xen", "reason": "?"}),
        json.dumps({"boot": BOOT, "name": "kvm"}),
        "[1]",
        "{",
        "",
    ],
)
def test_a_note_of_another_boot_or_a_broken_one_is_made_again(cache: Path, device: Path, tried: list[str], note: str) -> None:
    cache.write_text(note)
    assert accelerator.probe(device).reason == "tried just now"
    assert tried == ["kvm"]


def test_the_program_is_a_boot_sector() -> None:
    assert len(accelerator.PROGRAM) <= 510
