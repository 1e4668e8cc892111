"""The driver of before 2015 for the proof on vmxnet3: what it is made of, and what is said where that is not there."""

from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, StepFailed
from hikkoshi_lab.packages import Package
from hikkoshi_lab.vmxnet3 import driver, play

# of no release
KERNEL = Package("6.1.0-0", Path("linux-image-6.1.0-0-amd64_6.1.0-0_amd64.deb"), "0" * 64)
SOURCE = """\
if (!rcd->tcp || !(adapter->netdev->features & NETIF_F_LRO))
    goto not_lro;

if (segCnt != 0 && mss != 0) {
    skb_shinfo(skb)->gso_size = mss;
}
not_lro:
"""  # a part of vmxnet3_drv.c of Linux 6.1


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.needs("dpkg-query")
def test_where_it_cannot_be_compiled_the_command_is_told_that_installs_what_is_missing() -> None:
    with pytest.raises(BadInput, match="a driver cannot be compiled here") as refused:
        driver.built(KERNEL)
    (problem,) = refused.value.problems
    assert "install --no-install-recommends linux-headers-6.1.0-0-amd64=6.1.0-0 linux-source-6.1=6.1.0-0" in problem.remedy
    assert not driver.kept(KERNEL).parent.exists()


def test_one_that_was_compiled_is_taken_again_and_only_for_its_own_kernel() -> None:
    done = driver.kept(KERNEL)
    done.parent.mkdir(parents=True)
    done.touch()
    assert driver.built(KERNEL) == done
    assert driver.kept(Package(KERNEL.version, KERNEL.path, "1" * 64)) != done


def test_a_merged_frame_goes_up_before_anything_says_how_it_was_cut() -> None:
    lines = [line.strip() for line in driver.older(SOURCE).splitlines()]
    assert lines[lines.index("if (segCnt != 0 && mss != 0) {") - 1] == "goto not_lro;"
    assert [line for line in lines if line != "goto not_lro;"] == [
        line for line in map(str.strip, SOURCE.splitlines()) if line != "goto not_lro;"
    ]


@pytest.mark.parametrize("gone", [driver.PLACE, driver.LABEL])
def test_a_source_that_is_written_in_another_way_is_refused(gone: str) -> None:
    with pytest.raises(StepFailed, match="not as it was"):
        driver.older(SOURCE.replace(gone, ""))


def test_the_proofs_home_is_the_shipped_one_but_for_where_it_is_measured(tmp_path: Path) -> None:
    found = play.home(tmp_path / "home")
    measured = found.guest("gateway").measurement
    assert measured is not None
    assert (measured.shell, measured.seconds, dict(measured.segments)) == (play.SHELL, 2, {})
    assert not found.site().vsphere.server.endswith(":8989")
