"""What the register says of its own lines."""

from pathlib import Path

import pytest

from hikkoshi.record.register import Register


def told(folder: Path, *times: str) -> list[str]:
    register = Register(folder / "register.tsv")
    for n, sealed in enumerate(times):
        with register.locked():
            register.append(sealed=sealed, guest="gateway", record=f"r{n}", outcome="x", sha256="0" * 64, signer="x")
    return [p.found for p in register.check()]


@pytest.mark.parametrize("second", ["2026-11-28T00:00:59Z", "2026-11-27T23:51:00Z"])
def test_two_honest_machines_have_clocks_that_differ(tmp_path: Path, second: str) -> None:
    assert told(tmp_path, "2026-11-28T00:01:00Z", second) == []


def test_a_time_that_goes_back_further_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, "2026-11-28T00:01:00Z", "2026-11-27T23:50:59Z") == ["2026-11-27T23:50:59Z"]


def test_a_clock_that_was_once_far_ahead_is_told_once(tmp_path: Path) -> None:
    honest = [f"2026-11-28T00:0{n}:00Z" for n in range(5)]
    assert told(tmp_path, "2027-11-28T00:00:00Z", *honest) == honest[:1]
