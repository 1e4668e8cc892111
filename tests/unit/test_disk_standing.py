"""How a disk on another machine stands: what is asked, what the answer says, and what shows that it is another one now."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hikkoshi.disk import standing
from hikkoshi.disk.standing import Standing

BOOT = "d64527d8-8ee6-4d9d-82a5-6bdd101c2010"
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["ksh"]) if shutil.which(shell[0])]


def asked(path: Path, shell: list[str]) -> Standing | str:
    text = f"( {standing.script(str(path))} )"
    out = subprocess.run(shell, input=text, capture_output=True, text=True, check=True).stdout
    return standing.told(out)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_any_sh_tells_how_a_file_stands(tmp_path: Path, shell: list[str]) -> None:
    disk, link = tmp_path / "it's $(a) disk", tmp_path / "link"
    disk.write_bytes(b"x" * 4096)
    os.truncate(disk, 1 << 20)
    os.utime(disk, ns=(0, 1_764_468_123_500_000_000))
    link.symlink_to(disk.name)
    found = asked(link, shell)
    assert isinstance(found, Standing)
    assert (found.device, found.bytes, found.allocated) == (False, 1 << 20, disk.stat().st_blocks * 512)
    assert found.changed.startswith("2025-11-30 02:02:03")
    assert found.changed.endswith(" UTC")
    disk.write_bytes(b"y" * (1 << 20))
    os.utime(disk, ns=(0, 1_764_468_123_500_000_000))
    now = asked(link, shell)
    assert isinstance(now, Standing)
    assert (found.other(now), found.other(now, touched=True)[:18]) == ("", "time of last touch")
    assert asked(tmp_path / "nothing", shell) == "no such file"
    assert asked(tmp_path, shell) == "neither a file nor a block device"


def file(**more: object) -> Standing:
    known = {"device": False, "bytes": 512, "allocated": 512, "name": "1:2", "changed": "then"}
    return Standing.model_validate({**known, **more})


def device(**more: object) -> Standing:
    known = {"device": True, "bytes": 512, "allocated": 512, "name": "LVM-a", "boot": BOOT, "sectors": 9}
    return Standing.model_validate({**known, **more})


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (file(), file(allocated=0), ""),
        (file(), file(changed="now"), "time of last change now, before then"),
        (file(), file(name="1:3", bytes=1024), "bytes 1024, before 512; file 1:3, before 1:2"),
        (file(), device(), "a device now, a file before"),
        (device(), device(), ""),
        (device(), device(sectors=11), "1,024 bytes were written to it, by the kernel's count"),
        (device(), device(sectors=11, boot=BOOT.replace("d", "e")), ""),  # counted anew: nothing is known
        (device(), device(sectors=0), ""),
        (device(sectors=-1), device(sectors=11), ""),
        (device(), device(name="LVM-b"), "another LVM volume under this name"),
        (device(name="7:0"), device(name="7:1"), ""),  # numbers are given out at each start
        (device(), device(bytes=1024), "bytes 1024, before 512"),
    ],
)
def test_what_shows_that_it_is_another_or_was_written_to(before: Standing, now: Standing, told: str) -> None:
    assert told in before.other(now) if told else not before.other(now)


def test_what_is_no_answer_is_not_believed() -> None:
    good = f"@device 512 LVM-a {BOOT} 9\n"
    assert standing.told(good) == device()
    assert standing.told(good.replace(" 9", " -")) == device(sectors=-1)
    for said in (
        *("", "\n", good * 2, good[:-1], f"motd\n{good}", good.replace("512", "-1"), good.replace("512", "5" * 20)),
        *(good.replace("LVM-a", "a b"), good.replace(BOOT, "x"), good.replace(" 9", " 9x"), "@file 1 1 1:1 1 now\n"),
        *("@file 1 1 1:1 1764468123 2025-11-30 02:02:03|1 2025-11-30 02:02:03 \x1b[2J\n", "@none a\nb\n", "@nothing\n"),
    ):
        with pytest.raises(ValueError, match="no standing"):
            standing.told(said)
