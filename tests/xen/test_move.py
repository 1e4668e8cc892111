"""Guests of a real Xen, by a real Dom-0 over ssh: read as they run or are off, moved, and brought back."""

import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ext import debugfs
from hikkoshi.disk.conversion import Conversion
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.xen.wire import snapshots
from hikkoshi_lab.xen import machine, recipe
from processes import hikkoshi, start, wait_for
from realxen import RealXen

pytestmark = pytest.mark.needs("qemu-system-x86_64", "qemu-img", "vcsim", "ssh", "mmdebstrap", "root")
DISKS = {"router": ["/srv/xen/router/disk.img"], "files": ["/dev/guests/files_swap", "/dev/guests/files_root"]}
MARKER = "/etc/marker"
CUT = "kill -9 $(pgrep -f '^sshd: root@notty' | grep -vx $PPID)"  # all connections but this one
WATCHES = rf"hikkoshi-|^process sleep {snapshots.LEASE:.0f}$"  # what removes the snapshots where nobody comes back


def ran(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command told that has to be done."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_init_finds_is_what_the_xen_was_made_of(mine: Home) -> None:
    site = mine.site()
    for guest in recipe.GUESTS:
        found = mine.guest(guest.name)
        assert found.config == Path(f"/etc/xen/{guest.name}.cfg")
        vlans = {n.mac: site.segments[n.segment].vlan for n in found.nics}
        assert vlans == {n.mac: int(n.bridge.removeprefix("xenbr")) or 210 for n in guest.nics}
    assert "it runs" in mine.guest_file("files").read_text()


@dataclass
class Reading:
    """A survey of a guest that ran; what it said of itself then, and what was left on the Dom-0 when the run was killed."""

    survey: Survey
    itself: dict[str, object]
    killed: list[str]
    marker: str


@pytest.fixture(scope="session")
def reading(xen: RealXen, mine: Home) -> Reading:
    """The guest on LVM as it runs: the reading was cut off once, then killed, and then run again to its end."""
    marker = xen.guest("files", f"date +%N >> {MARKER}; sync; cat {MARKER}")
    before, part = xen.traces(), mine.folder("files").sources / "xvda2.img.part"
    first = start(mine, "run", "files", "--apply", "--only", "10")
    wait_for(lambda: come(part) > 20 or first.poll() is not None, "some of it has come", 600)
    xen.dom0(CUT)
    some = come(part)
    wait_for(lambda: come(part) > some + 30 or first.poll() is not None, "more of it has come", 600)
    assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    xen.as_before(before, of="process", but=WATCHES)
    killed = xen.beside(before)
    ran(hikkoshi(mine, "run", "files", "--apply", "--only", "10", seconds=1500))
    xen.as_before(before)
    return Reading(Survey.load(mine.folder("files")), xen.itself("files"), killed, marker)


def test_after_a_cut_and_a_kill_only_the_snapshots_stay_until_the_next_run(reading: Reading) -> None:
    assert reading.killed
    assert not [x for x in reading.killed if not re.search(rf"{WATCHES}|guests-files_\w+-(real|cow)", x)]


def test_what_was_read_while_it_ran_is_no_disk_to_prepare_and_once_it_is_off_it_is_converted(
    xen: RealXen, mine: Home, reading: Reading
) -> None:
    assert reading.survey.crash_consistent
    early = hikkoshi(mine, "run", "files", "--apply", "--from", "20", "--through", "30", seconds=900)
    assert early.returncode == 3, early.stdout + early.stderr
    xen.end("files")
    before, disk = xen.traces(), xen.sha256(*DISKS["files"])
    ran(hikkoshi(mine, "run", "files", "--apply", "--through", "40", seconds=2400))
    assert Conversion.load(mine.folder("files")).vmdk_sha256
    xen.as_before(before)
    assert xen.sha256(*DISKS["files"]) == disk
    assert debugfs(mine.folder("files").copies(1)[0], f"cat {MARKER}") == reading.marker


@dataclass
class Moved:
    """What the whole move of the router, with its way back, left to look at."""

    disk: dict[str, str]  # its SHA-256 by when it was taken
    told: dict[str, str]  # what each command printed
    survey: Survey
    itself: dict[str, object]
    after_restart: dict[str, str]  # what was on the Dom-0 when that had started again


@pytest.fixture(scope="session")
def moved(xen: RealXen, mine: Home, approve: Callable[[Home, str], str]) -> Moved:
    """The router: read while it was off, started again, and then moved from 70 on, with a Dom-0 that starts anew; and back."""
    disk, told, itself = {}, {}, xen.itself("router")
    xen.end("router")
    before = xen.traces()
    disk["before"] = xen.sha256(*DISKS["router"])
    told["60"] = ran(hikkoshi(mine, "run", "router", "--apply", "--through", "60", seconds=2400))
    xen.as_before(before)
    told["approve"] = approve(mine, "router")
    xen.start("router")
    told["70"] = ran(hikkoshi(mine, "run", "router", "--apply", "--from", "70", "--through", "90", seconds=1500))
    disk["moved"] = xen.sha256(*DISKS["router"])
    machine.restart(xen.folder)
    state = xen.dom0("systemctl is-system-running --wait; systemctl is-active xendomains || true", timeout=900)
    after = {"state": state, "domains": xen.dom0("xl list"), "auto": xen.dom0("find /etc/xen/auto*")}
    told["75"] = ran(hikkoshi(mine, "run", "router", "--apply", "--only", "75", seconds=900))
    wait_for(lambda: xen.answers("router"), "the router answers", 300)
    disk["back"] = xen.sha256(*DISKS["router"])
    return Moved(disk, told, Survey.load(mine.folder("router")), itself, after)


def test_its_disk_has_the_same_bytes_before_after_the_move_and_after_the_way_back(moved: Moved) -> None:
    assert len(set(moved.disk.values())) == 1, moved.disk


def test_its_dom0_starts_again_without_it_and_with_the_other_guest(moved: Moved) -> None:
    domains = re.findall(r"^(\S+)", moved.after_restart["domains"], re.MULTILINE)[1:]
    assert domains == ["Domain-0", "files"]
    assert moved.after_restart["auto"].split() == [
        *("/etc/xen/auto", "/etc/xen/auto/files.cfg", "/etc/xen/auto.hikkoshi", "/etc/xen/auto.hikkoshi/router.cfg")
    ]


def test_the_way_back_starts_it_and_it_is_the_same_system(xen: RealXen, moved: Moved) -> None:
    assert xen.guest("router", f"cat {MARKER}") == "this is the one and only router\n"
    assert xen.dom0("find /etc/xen/auto* | sort").split() == [
        "/etc/xen/auto",
        *sorted(f"/etc/xen/auto/{g.name}.cfg" for g in recipe.GUESTS),
    ]
    assert xen.itself("router") == moved.itself


def test_what_the_survey_says_of_it_is_what_it_says_of_itself(moved: Moved) -> None:
    assert of(moved.survey) == moved.itself


def test_so_it_is_with_the_guest_on_lvm(reading: Reading) -> None:
    assert of(reading.survey) == reading.itself


def of(survey: Survey) -> dict[str, object]:
    """What a survey says, in the words of `RealXen.itself`."""
    guest, vifs = survey.guest, survey.xen.vifs
    addresses = {i.name: i.address for i in guest.interfaces if i.name != "lo"}
    return {
        "host": guest.hostname,
        "system": (guest.distribution, guest.release.split(".")[0]),
        "kernel": guest.kernels[guest.default_kernel].version,
        "vcpus": survey.xen.vcpus,
        "memory": survey.xen.memory_mb,
        "nics": {f"eth{n}": (v.mac, addresses[f"eth{n}"]) for n, v in enumerate(vifs)},
        "mounts": {p.mountpoint: p.fstype for p in guest.partitions if p.mountpoint.startswith("/")},
        "swap": any(p.fstype == "swap" for p in guest.partitions),
        "forwards": guest.forwards,
    }


def come(part: Path) -> int:
    """How many MiB of a disk have come."""
    return part.stat().st_blocks * 512 >> 20 if part.exists() else 0
