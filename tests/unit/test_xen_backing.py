"""What stands behind a guest's disks, out of what a Dom-0 answers. Names are invented."""

import os
import subprocess
from pathlib import Path

import pytest

from hikkoshi.xen.live.backing import backings, script

DEVICES = """\
Character devices:
  1 mem
  7 vcs

Block devices:
  7 loop
  9 md
253 device-mapper
147 drbd
259 blkext
"""
GROUPS = "@group vg0 5368709120\n@group vg-a 1024\n"


def told(*lines: str) -> list[str]:
    return [str(b) for b in backings("\n".join(lines) + "\n" + GROUPS + DEVICES, sum(x.startswith("@disk") for x in lines))]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ("@disk 0 file 1537212416 0 -", "@free 0 /dev/vda 8154588 3204532 4513048 42% /srv/xen disks"),
            "a file, 1.4 GiB; 4.3 GiB free in /srv/xen disks",
        ),
        (("@disk 0 device 21474836480 253 vg0-web LVM-abc",), "the LVM volume vg0/web, 20.0 GiB; 5.0 GiB free in vg0"),
        (("@disk 0 device 512 253 vg--a-web--root LVM-abc",), "the LVM volume vg-a/web-root, 512 B; 1.0 KiB free in vg-a"),
        (("@disk 0 device 512 253 a---b LVM-abc",), "the LVM volume a-/b, 512 B"),
        (("@disk 0 device 512 253 vg0-web-real LVM-abc",), "device-mapper (vg0-web-real), 512 B"),
        (("@disk 0 device 512 253 mpatha mpath-3600",), "device-mapper (mpatha), 512 B"),
        (("@disk 0 device 512 7 -", "@behind 0 /srv/xen/a b.img"), "a loop device (/srv/xen/a b.img), 512 B"),
        (("@disk 0 device 512 147 -",), "DRBD, 512 B"),
        (("@disk 0 device 512 9 -",), "a RAID of Linux', 512 B"),
        (("@disk 0 device 512 8 -",), "a device, 512 B"),
        (("@disk 0 other 0 0 -",), "neither a file nor a block device"),
        (("@disk 0 nothing 0 0 -",), "not there"),
    ],
)
def test_a_disk_is_called_what_it_is(lines: tuple[str, ...], words: str) -> None:
    assert told(*lines) == [words]


@pytest.mark.parametrize("text", ["", "@disk 0 sofa 1 1 -\n", "@disk 1 file 1 0 -\n", "@disk 0 file many 0 -\n", "Welcome\n"])
def test_an_answer_that_does_not_tell_of_each_disk_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="disks"):
        backings(text + DEVICES, 1)


def test_this_machines_own_files_are_told(tmp_path: Path) -> None:
    image = tmp_path / "it's a disk $(touch pwned).img"
    with image.open("wb") as f:
        f.truncate(1 << 20)
    text = subprocess.run(["sh", "-c", script([str(image), "/dev/null", "/nowhere"])], capture_output=True, text=True, check=True)
    file, null, nowhere = backings(text.stdout, 3)
    assert (file.kind, file.bytes, null.kind, nowhere.kind) == ("file", 1 << 20, "other", "nothing")
    status = os.statvfs(tmp_path)
    assert file.free is not None
    assert abs(file.free - status.f_bavail * status.f_frsize) < 1 << 30
    assert not Path("pwned").exists()
