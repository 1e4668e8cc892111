"""Guests of a real Xen that run while they are read: where that cannot be done, and what is left then.

They come before those in test_move that end the guest on LVM, and after the move of the router, which brings its disk to here.
"""

import re

import pytest

from hikkoshi.params.home import Home
from processes import hikkoshi, start, wait_for
from realxen import RealXen

pytestmark = pytest.mark.needs("qemu-system-x86_64", "qemu-img", "vcsim", "ssh", "mmdebstrap", "root")


def test_one_on_a_file_is_refused_and_nothing_is_left(xen: RealXen, mine: Home) -> None:
    before = xen.traces()
    done = hikkoshi(mine, "run", "router", "--apply", "--only", "10")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the guest runs, and no snapshot can be made of its disk" in done.stdout + done.stderr
    xen.as_before(before)


def test_one_on_lvm_that_writes_more_than_there_is_room_for_is_told_and_nothing_is_left(xen: RealXen, mine: Home) -> None:
    before = xen.traces()
    xen.dom0("lvcreate -q -n filler -L 416m guests")  # so that 32 MiB are left for the swap, and 64 MiB for the root
    try:
        run = start(mine, "run", "files", "--apply", "--only", "10")
        images = mine.folder("files").sources  # nothing of a disk is here before all snapshots are there
        wait_for(lambda: [*images.glob("xvda*")] or run.poll() is not None, "snapshots are made", 600)
        xen.guest("files", "dd if=/dev/zero of=/root/much bs=1M count=90 conv=fsync 2>/dev/null; rm /root/much")
        out, err = run.communicate(timeout=600)
    finally:
        xen.dom0("lvremove -q -f guests/filler")
    assert run.returncode == 1, out + err
    assert "the snapshot became full" in out + err
    xen.as_before(before)


def test_one_that_may_be_paused_goes_on_afterwards(xen: RealXen, mine: Home) -> None:
    """Its disk is here already, after the tests of its move: it is paused for as long as it takes to see that."""
    before, path = xen.traces(), mine.guest_file("router")
    text = path.read_text()
    path.write_text(f"{text}pause: true\n")
    try:
        done = hikkoshi(mine, "run", "router", "--apply", "--only", "10", seconds=900)
    finally:
        path.write_text(text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"crash-consistent: as after a power cut, paused for \d+ s", done.stdout)
    assert xen.answers("router")
    xen.as_before(before)
