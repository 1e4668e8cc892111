"""Disks of a Dom-0 over a real sshd: each crosses the wire once, whatever happens on the way, and is asked after there."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pytest

from hikkoshi.check import Check
from hikkoshi.disk import expanded
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.disk.pieces import list_of
from hikkoshi.errors import BadInput, Busy, Refused, StepFailed, ToolFailed
from hikkoshi.guest import survey, traces
from hikkoshi.guest.descent import Descent
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.params import identity
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.steps.survey import rows
from hikkoshi.xen.live.backing import Backing
from hikkoshi.xen.reach.remote import RemoteDom0
from hikkoshi.xen.wire import asking, pausing, proving, reading, snapshots, watcher
from hikkoshi.xen.wire.place import DiskPlace, url
from hikkoshi.xen.wire.reading import Wanted
from hikkoshi.xen.wire.watcher import Watcher
from overssh import DATA as CAPTURED
from overssh import OverSsh, over_ssh
from processes import wait_for

pytestmark = pytest.mark.needs("ssh", "sshd", "ssh-keygen", "root")
MIB = 1 << 20
DATA = (0, 1, 2, 5, 9, 11)  # pieces of the disk that hold something


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverSsh]:
    """All tests share it, and its connection but where that is what they are about."""
    with over_ssh(tmp_path_factory.mktemp("ssh")) as machine:
        yield machine


@pytest.fixture
def there(machine: OverSsh, monkeypatch: pytest.MonkeyPatch) -> OverSsh:
    """A Dom-0 that tells how often gzip was started; a piece is a MiB."""
    machine.as_new()
    packs(machine)
    monkeypatch.setattr(reading, "PIECE", MIB)
    monkeypatch.setattr(asking, "PAUSES", (0.05, 0.05))
    return machine


@pytest.fixture
def disk(there: OverSsh) -> Wanted:
    """A disk of 11.5 MiB, much of it zeros."""
    path = there.folder / "it's a disk.img"
    path.write_bytes(bytes(512) + b"\x99" * (3 * MIB - 512))
    with path.open("r+b") as f:
        for n in DATA[3:]:
            f.seek(n * MIB + n)
            f.write(os.urandom(MIB // 2 - n))
        f.truncate(11 * MIB + MIB // 2)
    return wanted(there, path)


def wanted(there: OverSsh, path: Path, vdev: str = "xvda") -> Wanted:
    return Wanted(DiskPlace.of(url(there.dom0, str(path))), there.folder / "here/source" / f"{vdev}.img")


def packs(there: OverSsh, before: str = "") -> None:
    """Have gzip note that it was started; `before` are lines of sh that come first, each time."""
    there.program("gzip", f'echo x >> {there.folder}/packed; {before}\nexec /usr/bin/gzip "$@"')


def once(there: OverSsh, what: str) -> str:
    """A line of sh that happens once, when some pieces have come."""
    few = f"test -e {there.folder}/happened || test `wc -l < {there.folder}/packed` -lt 4"
    return f"{few} || {{ : > {there.folder}/happened; {what}; }}"


def packed(there: OverSsh) -> int:
    """How many pieces have been packed since this was asked last."""
    noted = there.folder / "packed"
    count = len(noted.read_text().splitlines()) if noted.exists() else 0
    noted.unlink(missing_ok=True)
    return count


def here(disk: Wanted) -> bytes:
    return disk.image.read_bytes()


def source(disk: Wanted) -> bytes:
    return Path(disk.place.path).read_bytes()


def test_a_disk_comes_once_and_afterwards_only_what_has_changed(there: OverSsh, disk: Wanted) -> None:
    said: list[str] = []
    reading.bring([disk], lambda done, total, text: said.append(f"{done / total:.2f} {text}"))
    assert here(disk) == source(disk)
    assert packed(there) == len(DATA)
    assert disk.image.stat().st_blocks * 512 < 8 * MIB
    assert said[-1].startswith("1.00 xvda: 11.5 MiB of 11.5 MiB, ")
    before = disk.image.stat().st_mtime_ns
    reading.bring([disk])
    assert (packed(there), disk.image.stat().st_mtime_ns) == (0, before)
    with Path(disk.place.path).open("r+b") as f:
        f.seek(5 * MIB)
        f.write(bytes(MIB))
        f.seek(7 * MIB)
        f.write(b"new")
    reading.bring([disk])
    assert here(disk) == source(disk)
    assert packed(there) == 1
    with disk.image.open("r+b") as f:  # somebody here
        f.write(b"other")
    reading.bring([disk])
    assert here(disk) == source(disk)
    assert packed(there) == 1


def test_holes_are_not_read_there_where_the_dom0_knows_them_and_zeros_are_found_where_it_does_not(
    there: OverSsh, disk: Wanted
) -> None:
    with Path(disk.place.path).open("r+b") as f:
        f.truncate(300 * MIB)
        f.seek(200 * MIB)
        f.write(bytes(MIB))
        f.seek(299 * MIB)
        f.write(b"end")
    data = disk.place.data(disk.place.standing(), MIB)
    assert data is not None
    assert {*DATA, 200, 299} <= data
    assert len(data) < 30
    there.program("cmp", f'echo x >> {there.folder}/compared; exec /usr/bin/cmp "$@"')
    for perl, most in ("exec /usr/bin/perl", 30), ("echo '@data 0 0'; exit 1", 999), ("exit 127", 999):
        there.program("perl", f'{perl} "$@"')
        reading.bring([disk])
        assert here(disk) == source(disk)
        assert len((there.folder / "compared").read_text().splitlines()) < most
        disk.image.unlink()


def test_several_disks_come_and_two_that_are_one_do_not(there: OverSsh, disk: Wanted) -> None:
    other = there.folder / "other"
    other.write_bytes(b"\x01" * MIB)
    second = wanted(there, other, "xvdb1")
    reading.bring([disk, second])
    assert (here(disk), here(second)) == (source(disk), source(second))
    (there.folder / "link").symlink_to(disk.place.path)
    with pytest.raises(BadInput, match="two disks of the guest are the same"):
        reading.bring([disk, wanted(there, there.folder / "link", "xvdc")])


CUT = 'p=$$; while read -r c < /proc/$p/comm; test "$c" != sshd; do read -r x x x p x < /proc/$p/stat; done; kill -9 $p'


def test_a_cut_connection_is_tried_again_and_nothing_comes_twice(there: OverSsh, disk: Wanted) -> None:
    packs(there, once(there, CUT))
    reading.bring([disk])
    assert here(disk) == source(disk)
    assert (there.folder / "happened").exists()
    assert packed(there) <= len(DATA) + asking.AT_ONCE


def test_where_it_stays_cut_what_has_come_is_kept(there: OverSsh, disk: Wanted) -> None:
    packs(there, f"test `wc -l < {there.folder}/packed` -lt 4 || {{ {CUT}; }}")
    with pytest.raises(ToolFailed, match=r"cut off|cannot be reached"):
        reading.bring([disk])
    assert not disk.image.exists()
    packs(there)
    packed(there)
    reading.bring([disk])
    assert here(disk) == source(disk)
    assert packed(there) < len(DATA)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_here_nothing_stays_there_and_the_next_one_goes_on(
    there: OverSsh, disk: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    there.log_out()
    packs(there, once(there, f": > {there.folder}/stopped; sleep 1000"))
    code = f"""if True:
        from pathlib import Path
        from hikkoshi.disk import pieces
        from hikkoshi.xen.reach import connection
        from hikkoshi.xen.wire import reading
        from hikkoshi.xen.wire.place import DiskPlace
        connection.PERSIST, reading.PIECE, pieces._SYNCED = 1, {MIB}, 1
        reading.bring([reading.Wanted(DiskPlace.of({disk.place.url!r}), Path({str(disk.image)!r}))])"""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        wait_for((there.folder / "stopped").exists, "some pieces have come")
        wait_for(lambda: len(list_of(disk.image).read_text().splitlines()) > 2, "they are listed")
        with pytest.raises(Busy):
            reading.bring([disk])
        process.send_signal(how)
        process.wait(20)
    wait_for(lambda: not there.processes, "all that was started there ends")
    packs(there)
    packed(there)
    reading.bring([disk])
    assert here(disk) == source(disk)
    assert packed(there) < len(DATA)


def test_what_arrives_damaged_comes_again_and_what_stays_damaged_is_told(there: OverSsh, disk: Wanted) -> None:
    packs(there, once(there, "echo nonsense; exit 0"))
    reading.bring([disk])
    assert here(disk) == source(disk)
    disk.image.unlink()
    there.program("openssl", f"cat > /dev/null; echo 'SHA2-256(stdin)= {'0' * 64}'")
    with pytest.raises(StepFailed, match=r"(?s)does not come as it is on the Dom-0.*SHA-256 of.*there 0000.*tried 3 times"):
        reading.bring([disk])
    assert not disk.image.exists()


@pytest.mark.parametrize(
    ("program", "slow", "told"), [("sleep 1000", 0.5, "took too long"), ("cat /dev/zero", 60, "more than it can have")]
)
def test_a_piece_that_never_ends_is_ended(
    there: OverSsh, disk: Wanted, monkeypatch: pytest.MonkeyPatch, program: str, slow: float, told: str
) -> None:
    monkeypatch.setattr(asking, "SLOW", slow)
    monkeypatch.setattr(asking, "PAUSES", ())
    there.program("gzip", program)
    with pytest.raises(ToolFailed, match=told):
        reading.bring([disk])
    wait_for(lambda: not any("gzip" in p or "sleep 1000" in p for p in there.processes), "all that was started there ends")


@pytest.mark.parametrize("told", ["time of last change", "time of last touch"])
def test_a_disk_that_is_written_to_meanwhile_is_none(there: OverSsh, disk: Wanted, told: str) -> None:
    path, when = str(disk.place.path), there.folder / "when"
    write = f"touch -r {path!r} {when}; echo new | dd of={path!r} conv=notrunc seek=20000 2>/dev/null"
    packs(there, once(there, write + (f"; touch -r {when} {path!r}" if told.endswith("touch") else "")))
    with pytest.raises(StepFailed, match=rf"(?s)was changed while it was read.*{told}"):
        reading.bring([disk])
    assert not disk.image.exists()
    reading.bring([disk])
    assert here(disk) == source(disk)


def test_what_is_no_raw_disk_is_found_out_before_all_of_it_has_come(there: OverSsh, disk: Wanted) -> None:
    with Path(disk.place.path).open("r+b") as f:
        f.write(b"QFI\xfb")
    with pytest.raises(BadInput, match=r"(?s)another format.*ssh://dom0/"):
        reading.bring([disk])
    assert packed(there) <= 2
    for name, told in (("nothing", "no such file"), ("bin", "neither a file"), ("known_hosts", "empty or cut off")):
        with pytest.raises(BadInput, match=told):
            reading.bring([wanted(there, there.folder / name)])


def test_a_program_that_is_missing_there_is_named(there: OverSsh, disk: Wanted) -> None:
    there.sshd(f"SetEnv PATH={there.folder}/bin HOME={there.folder}")
    for name in ("sh", "sleep", "cat", "dd", "stat", "readlink", "sha256sum"):
        (there.folder / "bin" / name).symlink_to(f"/usr/bin/{name}")
    (there.folder / "bin/gzip").unlink()
    with pytest.raises(ToolFailed, match=r"(?s)lacks a program.*gzip"):
        reading.bring([disk])


@contextmanager
def small(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_room_is_asked_for_first_and_a_disk_that_becomes_full_is_told(
    there: OverSsh, disk: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small(disk.image.parent, "4m"):
        with pytest.raises(Refused, match="there is room for what is read"):
            reading.bring([disk])
        assert packed(there) == 0
        monkeypatch.setattr(expanded, "SPARE", -8 * MIB)  # somebody else takes it meanwhile
        with pytest.raises(StepFailed, match=r"(?s)cannot be written.*No space left.*what has come over ssh is kept"):
            reading.bring([disk])
        assert not disk.image.exists()


@dataclass(frozen=True)
class Surveyed:
    """A guest that is off, with a disk that is a file and one that is a device, and what 10 has found."""

    where: tuple[Home, Site, Guest]
    found: Survey
    file: Path
    device: Path
    behind: Path  # what the device is, where the kernel does not count writes to it

    def descent(self) -> Descent:
        """Of copies that were made of both."""
        home, _, guest = self.where
        folder, source = home.folder(guest.name), survey.origin_of(*self.where)
        for copy in folder.copies(2):
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(b"c" * MIB)
        Prepared(
            preparation="p",
            source=Identity.of(source),
            source_digest=self.found.digest,
            disk=Identity.of(Origin.several(folder.copies(2))),
            facts=self.found.guest,
            kept={},
            initrd_modules_before=(),
            initrd_modules_after=(),
            accelerator="tcg",
            seconds=1,
        ).save(folder)
        plan = SimpleNamespace(preparation=SimpleNamespace(hash="p"), source_digest=self.found.digest)
        return Descent(folder, plan, source)

    def signs(self) -> Check:
        return next(c for c in self.descent().checks() if c.code != "vmdk-of-survey")


@pytest.fixture
def surveyed(there: OverSsh, disk: Wanted, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surveyed]:
    known = Survey.model_validate_json((CAPTURED.parent / "survey/gateway.json").read_bytes())
    monkeypatch.setattr(survey.appliance, "inspect", lambda *_, **__: known.guest)
    behind, file = there.folder / "behind", Path(disk.place.path)
    behind.write_bytes(b"\x02" * 3 * MIB)
    made = subprocess.run(["losetup", "--find", "--show", behind], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        there.xen("web01")
        config = there.folder / "db01.cfg"
        config.write_text(f"name = 'db01'\nmemory = 320\ndisk = [\"file:{file},xvda,w\", 'phy:{device},xvdb,w']\n")
        site = home.site().model_copy(update={"dom0s": {"xenhost": there.dom0}})
        where = home, site, Guest(name="db01", dom0="xenhost", config=config, nics=())
        yield Surveyed(where, survey.start(*where), file, Path(device), behind)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_survey_reads_the_disks_of_a_guest_that_is_off_and_says_where_they_are(there: OverSsh, surveyed: Surveyed) -> None:
    found, (home, _, guest) = surveyed.found, surveyed.where
    paths = [p.path for p in found.origin.parts]
    assert [p.relative_to(home.folder(guest.name)) for p in paths] == [Path("source/xvda.img"), Path("source/xvdb.img")]
    assert [p.read_bytes() for p in paths] == [surveyed.file.read_bytes(), surveyed.behind.read_bytes()]
    assert f"xvdb: ssh://dom0{surveyed.device}" in found.disk.path
    assert survey.unchanged(found), survey.unchanged(found)
    packed(there)
    assert survey.start(*surveyed.where) == found.model_copy(update={"reading_seconds": ANY})
    assert packed(there) == 0
    assert "room-for-source" in [c.code for c in survey.limits(*surveyed.where)]
    before = paths[1].stat()
    with paths[1].open("r+b") as f:
        f.write(b"\x03")
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk does that fails
    with pytest.raises(StepFailed, match=r"(?s)not what came from the Dom-0.*xvdb.img"):
        survey.start(*surveyed.where)
    (there.folder / "running").write_text("db01\nweb01\n")
    with pytest.raises(Refused, match=r"(?s)2 problems.*no snapshot can be made of its disk"):
        survey.start(*surveyed.where)


def test_that_a_file_was_written_to_since_is_seen_there(there: OverSsh, surveyed: Surveyed) -> None:
    signs = surveyed.signs()
    assert "samples of 3.0 MiB were compared" in signs.found
    with surveyed.file.open("r+b") as f:
        f.write(b"boot")
    for check in (survey.unchanged(surveyed.found), surveyed.signs()):
        assert not check
        assert f"{traces.WRITTEN}: ssh://dom0/" in check.found
        assert "time of last change" in check.found
        assert "begin again with 10-survey" in check.remedy
    descent = surveyed.descent()
    assert survey.unchanged(surveyed.found, asked=False), "what does not ask does not know"
    there.sshd("AuthorizedKeysFile none")
    signs = descent.checks()[1]
    assert signs.found.startswith(f"{traces.SILENT}: the machine does not let this user in")
    assert "have the Dom-0 answer" in signs.remedy


def test_of_a_device_all_is_hashed_there_once_it_is_off_and_nothing_crosses(
    there: OverSsh, surveyed: Surveyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "SAMPLES", 1)
    descent = surveyed.descent()
    assert not descent.proved()
    packed(there)
    descent.read()
    proved = descent.proved()
    assert proved, proved
    assert "all of it was hashed on the Dom-0 again" in proved.found
    assert packed(there) == 0
    with surveyed.behind.open("r+b") as f:  # as a guest does, past this kernel's count
        f.seek(MIB + 100)
        f.write(b"written")
    assert surveyed.signs(), "the samples do not show it"
    descent.read()
    assert not descent.proved()
    assert "other bytes than were read, in 1 of 3 pieces, the first at byte 1,048,576" in descent.proved().found
    with surveyed.device.open("r+b", buffering=0) as f:
        f.write(b"\x02" * 512)
        os.fsync(f.fileno())
    assert "bytes were written to it, by the kernel's count" in surveyed.signs().found


LVM = """
case "$0 $1 $2" in */lvcreate\\ *|*/lvremove\\ *)
  test "$1 $2" = '--config activation { monitoring = 0 }' || { echo "dmeventd would stay: $*" >&2; exit 3; }
  shift 2;;
esac
case "$0 $*" in
*/lvcreate\\ *) set -- $*; test "$1 $2 $3 $4 $6 ${8}" = '-s -p r -n -L GROUP/LV' || { echo "odd: $*" >&2; exit 3; }
  mkdir -p HERE/dev/GROUP; cp BEHIND HERE/dev/GROUP/$5; echo $5 >> HERE/snapshots; MEANWHILE;;
*/lvs\\ *lv_attr*) test ! -e HERE/full || { echo '  sri-I-s---|100.00'; exit 0; }; echo '  sri-a-s---|12.50';;
*/lvs\\ *) echo '  GROUP|LV|'; echo '  GROUP|hikkoshi-of-others|LV'; echo '  other|hikkoshi-x|lv'
  for s in `cat HERE/snapshots 2>/dev/null`; do echo "  GROUP|$s|LV"; done;;
*/lvremove\\ -f\\ *) test ! -e HERE/busy || { rm HERE/busy; echo 'in use' >&2; exit 5; }
  test -e HERE/dev/$2 || { echo "Failed to find logical volume $2" >&2; exit 5; }
  s=${2#GROUP/}; rm HERE/dev/GROUP/$s; grep -vx "$s" HERE/snapshots > HERE/rest; mv HERE/rest HERE/snapshots;;
*) echo "odd: $0 $*" >&2; exit 3;;
esac
"""


@dataclass(frozen=True)
class Running:
    """A guest that runs, on a volume of LVM by stand-ins for LVM's programs."""

    there: OverSsh
    where: tuple[Home, Site, Guest]
    file: Path
    device: str

    @property
    def snapshots(self) -> list[str]:
        noted = self.there.folder / "snapshots"
        return noted.read_text().split() if noted.exists() else []

    @property
    def image(self) -> Path:
        home, _, guest = self.where
        return home.folder(guest.name) / "source/xvda.img"

    def programs(self, meanwhile: str = ":") -> None:
        """Those of LVM; `meanwhile` happens when a snapshot was made."""
        text = LVM.replace("HERE", str(self.there.folder)).replace("BEHIND", shlex.quote(str(self.file)))
        for name in ("lvcreate", "lvs", "lvremove"):
            self.there.program(name, text.replace("GROUP", "vg0").replace("LV", "web").replace("MEANWHILE", meanwhile))


@pytest.fixture
def running(there: OverSsh, disk: Wanted, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    known = Survey.model_validate_json((CAPTURED.parent / "survey/gateway.json").read_bytes())
    monkeypatch.setattr(survey.appliance, "inspect", lambda *_, **__: known.guest)
    monkeypatch.setattr(snapshots, "FOLDER", str(there.folder / "dev"))
    monkeypatch.setattr(snapshots.time, "sleep", lambda _: None)
    behind = Path(disk.place.path).rename(there.folder / "behind")
    made = subprocess.run(["losetup", "--find", "--show", behind], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        there.xen("web01", "db01")
        there.program("dmsetup", "case $* in *name,*) echo 'vg0-web LVM-abc';; *) echo LVM-abc;; esac")
        there.program("vgs", "echo '  vg0 8388608'")
        config = there.folder / "db01.cfg"
        config.write_text(f"name = 'db01'\nmemory = 320\ndisk = ['phy:{device},xvda,w']\n")
        site = home.site().model_copy(update={"dom0s": {"xenhost": there.dom0}})
        running = Running(there, (home, site, Guest(name="db01", dom0="xenhost", config=config, nics=())), behind, device)
        running.programs()
        yield running
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_guest_that_runs_on_lvm_is_read_from_a_snapshot_that_is_gone_afterwards(running: Running) -> None:
    before = running.file.read_bytes()
    running.programs(f"echo new | dd of={shlex.quote(str(running.file))} conv=notrunc 2>/dev/null")
    (running.there.folder / "busy").touch()
    found = survey.start(*running.where, run="20270101T000000Z-10-survey")
    assert running.image.read_bytes() == before != running.file.read_bytes()
    assert running.snapshots == []
    assert found.crash_consistent
    assert "crash-consistent: as after a power cut" in next(r["found"] for r in rows(found) if r["what"] == "read while it ran")
    assert not (since := survey.unchanged(found))
    assert "it was surveyed while the guest ran" in since.found
    running.programs()
    (running.there.folder / "running").write_text("web01\n")
    packed(running.there)
    off = survey.start(*running.where)
    assert running.image.read_bytes() == running.file.read_bytes()
    assert (off.crash_consistent, packed(running.there)) == (False, 1)


def test_a_snapshot_that_becomes_full_is_told_and_is_gone_too(running: Running) -> None:
    packs(running.there, once(running.there, f": > {running.there.folder}/full; exit 1"))
    with pytest.raises(StepFailed, match=r"(?s)the snapshot became full.*sri-I-s"):
        survey.start(*running.where, run="r")
    assert running.snapshots == []
    assert not running.image.exists()


def test_a_snapshot_that_nobody_reads_any_more_the_dom0_removes_by_itself(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, behind = RemoteDom0(running.there.dom0), Backing("device", bytes=12 * MIB, volume="vg0/web", free=8 * MIB)
    place = DiskPlace.of(url(running.there.dom0, str(running.device)))
    monkeypatch.setattr(snapshots, "LEASE", 3)
    reading_one = snapshots.taken(host, [Wanted(place, running.image)], [behind], "hikkoshi-r")
    reading_one.__enter__()
    assert running.snapshots == ["hikkoshi-r-xvda"]
    wait_for(lambda: running.snapshots == [], "we were killed, and it is removed")


def test_a_guest_that_starts_while_its_disks_are_read_makes_them_none(running: Running) -> None:
    (running.there.folder / "running").write_text("web01\n")
    packs(running.there, once(running.there, f"echo db01 >> {running.there.folder}/running"))
    with pytest.raises(StepFailed, match="the source guest db01 is off"):
        survey.start(*running.where, run="r")


def test_a_snapshot_that_a_killed_run_has_left_is_removed_and_those_of_others_are_not(running: Running) -> None:
    home = running.where[0]
    mark = f"hikkoshi-{identity.of(home.outputs)[:8]}"
    (running.there.folder / "snapshots").write_text(f"{mark}-r-xvda\nhikkoshi-00000000-r-xvda\nbackup\n")
    (running.there.folder / "dev/vg0").mkdir(parents=True)
    (running.there.folder / f"dev/vg0/{mark}-r-xvda").touch()
    (running.there.folder / "running").write_text("web01\n")
    host, own, another = RemoteDom0(running.there.dom0), f"{mark}-r-xvda", "hikkoshi-00000000-r-xvda"

    def watched(name: str) -> bool:
        return any(name in line for line in running.there.processes)

    with (
        Watcher(host, ["lvremove", "-f", f"vg0/{own}"], 1000) as killed,
        Watcher(host, ["lvremove", "-f", f"vg0/{another}"], 1000) as theirs,
    ):
        assert watched(own)
    survey.start(*running.where)
    assert running.snapshots == [another, "backup"]
    wait_for(lambda: not watched(own), "nothing waits any more to remove what is gone")
    assert watched(another)
    assert not any(killed.word in line for line in running.there.processes)
    theirs.end()


def test_a_guest_that_runs_is_not_read_where_no_snapshot_can_be_made_of_it(running: Running) -> None:
    running.there.program("vgs", "echo '  vg0 4096'")
    with pytest.raises(Refused, match=r"(?s)no room for a snapshot.*4.0 KiB free in vg0"):
        survey.start(*running.where, run="r")
    running.there.program("dmsetup", "exit 1")
    with pytest.raises(Refused, match=r"(?s)no snapshot can be made of its disk.*a loop device"):
        survey.start(*running.where, run="r")
    running.there.program("dmsetup", "case $* in *name,*) echo 'vg0-web LVM-abc';; *) echo LVM-abc;; esac")
    running.there.program("vgs", "echo '  vg0 8388608'")
    running.there.program("lvcreate", "echo 'snapshot: Required device-mapper target(s) not detected' >&2; exit 5")
    with pytest.raises(ToolFailed, match="target"):
        survey.start(*running.where, run="r")
    assert not running.image.exists()


def test_a_snapshot_that_cannot_be_removed_is_told_with_the_command_that_removes_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LEASE", 2)
    running.there.program("lvremove", "echo 'Logical volume in use' >&2; exit 5")
    with pytest.raises(StepFailed, match=r"(?s)could not be removed.*in use.*type there: lvremove -f vg0/hikkoshi-"):
        survey.start(*running.where, run="r")


PAUSED = """
case "$1" in
pause) echo "$*" >> HERE/calls; : > HERE/paused;;
unpause) echo "$*" >> HERE/calls; test -e HERE/stays || rm HERE/paused;;
list) xl.real "$@" > HERE/printed || exit; if test -e HERE/paused; then sed '/^db01 /s/[-rb]\\{6\\}/--p---/' HERE/printed
  else cat HERE/printed; fi;;
*) exec xl.real "$@";;
esac
"""


@pytest.fixture
def pausing_one(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A guest that runs on a file, and that may be paused."""
    folder, (home, site, guest) = running.there.folder, running.where
    running.there.program("dmsetup", "exit 1")
    (folder / "bin/xl").rename(folder / "bin/xl.real")
    running.there.program("xl", PAUSED.replace("HERE", str(folder)))
    monkeypatch.setattr(pausing, "SETTLED", 0.0)
    return replace(running, where=(home, site, guest.model_copy(update={"pause": True})))


def test_a_guest_that_may_be_paused_stands_still_while_it_is_read_and_goes_on(
    pausing_one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, said = pausing_one.there, list[str]()
    monkeypatch.setattr(watcher, "RENEWED", 0.05)
    monkeypatch.setattr(pausing, "LEASE", 1000)
    packs(there, f"test -e {there.folder}/paused || echo no >> {there.folder}/went_on")
    found = survey.start(*pausing_one.where, run="r", progress=lambda done, total, text: said.append(text))
    assert pausing_one.image.read_bytes() == pausing_one.file.read_bytes()
    assert there.calls == ["pause db01", "unpause db01"]
    assert not (there.folder / "went_on").exists()
    assert any("; paused for " in text for text in said)
    assert found.crash_consistent
    assert found.paused_seconds > 0
    assert "paused for" in next(r["found"] for r in rows(found) if r["what"] == "read while it ran")
    wait_for(lambda: not any("unpause" in p for p in there.processes), "nothing watches any more")


def test_a_paused_guest_goes_on_when_the_reading_fails_and_when_nobody_hears_of_us_any_more(
    pausing_one: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pausing_one.there
    packs(there, "exit 1")
    with pytest.raises(StepFailed, match="does not come as it is"):
        survey.start(*pausing_one.where, run="r")
    assert there.calls == ["pause db01", "unpause db01"]
    host = RemoteDom0(there.dom0)
    monkeypatch.setattr(watcher, "RENEWED", 0.1)
    with Watcher(host, ["xl", "unpause", "db01"], 3):
        host.run(["xl", "pause", "db01"], timeout=9)
        time.sleep(4)
        assert (there.folder / "paused").exists()  # and we are gone
    wait_for(lambda: not (there.folder / "paused").exists(), "it goes on")
    assert there.calls[2:] == ["pause db01", "unpause db01"]


@pytest.mark.parametrize("again", ["", "; : > HERE/paused"])
def test_what_was_read_of_a_paused_guest_does_not_count_where_it_went_on_meanwhile(
    pausing_one: Running, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    there = pausing_one.there
    monkeypatch.setattr(pausing, "LEASE", 5)  # as where we cannot be heard for longer than it waits: long enough to see it paused
    gone_on = f"while test -e {there.folder}/paused; do sleep 0.1; done{again.replace('HERE', str(there.folder))}"
    packs(there, once(there, gone_on))
    with pytest.raises(StepFailed, match="did not stand still while its disks were read"):
        survey.start(*pausing_one.where, run="r")
    assert not (there.folder / "paused").exists()


def test_a_guest_that_a_killed_run_has_left_paused_goes_on_and_one_that_does_not_is_told(pausing_one: Running) -> None:
    there, sources = pausing_one.there, pausing_one.image.parent
    sources.mkdir(parents=True)
    (sources / pausing.NOTE).write_text("db01\n")
    (there.folder / "paused").touch()
    (there.folder / "stays").touch()
    with pytest.raises(StepFailed, match=r"(?s)does not go on.*type there at once: xl unpause db01"):
        survey.start(*pausing_one.where, run="r")
    (there.folder / "stays").unlink()
    survey.start(*pausing_one.where, run="r")
    assert not (sources / pausing.NOTE).exists()


def test_what_watches_for_a_killed_run_does_not_let_the_guest_go_on_while_the_next_one_reads(pausing_one: Running) -> None:
    there, sources = pausing_one.there, pausing_one.image.parent
    sources.mkdir(parents=True)
    host = RemoteDom0(there.dom0)
    with Watcher(host, ["xl", "unpause", "db01"], 60) as killed, Watcher(host, ["xl", "unpause", "web01"], 60) as another:
        (sources / pausing.NOTE).write_text(f"db01\n{killed.word}\n")
    pausing.release(host, sources)
    wait_for(lambda: not any(killed.word in p for p in there.processes), "nobody watches for the killed run")
    assert any(another.word in p for p in there.processes)
    another.end()
    wait_for(lambda: not any("unpause" in p for p in there.processes), "nobody watches")
