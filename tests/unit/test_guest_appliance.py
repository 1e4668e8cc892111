"""The parent's side of the worker: what it does when the worker fails, hangs, dies or cannot be started."""

import fnmatch
import re
import runpy
import stat
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from hikkoshi import tool
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import BadInput, StepFailed, ToolFailed
from hikkoshi.guest import appliance, device, inspection
from hikkoshi.guest.additions import addition
from hikkoshi.secret import redaction


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A worker of the test's own, run by this Python."""
    path = tmp_path / "worker.py"
    monkeypatch.setattr(appliance, "WORKER", path)
    monkeypatch.setattr(tool, "guestfs_python", lambda: sys.executable)
    threads = set(threading.enumerate())
    yield path
    for ending in set(threading.enumerate()) - threads:  # a timer that was called off needs a moment to see it
        ending.join(5)
    assert set(threading.enumerate()) <= threads


def run(path: Path, body: str) -> dict[str, object]:
    path.write_text("import json, sys, os, time\njob = json.load(sys.stdin)\n" + textwrap.dedent(body))
    with appliance.work("inspect", Origin.whole(Path("/images/guest.img")), {}, "tcg", lambda *_: None) as (raw, folder):
        assert folder.is_dir()
    assert not folder.exists()
    return raw


def test_gives_the_workers_result_and_passes_the_job(worker: Path) -> None:
    raw = run(worker, "print(json.dumps({'progress': [1, 2, 'x']})); print(json.dumps({'result': job}))")
    assert (raw["op"], raw["disk"], raw["accelerator"]) == ("inspect", "/images/guest.img", "tcg")


def test_the_workers_qemu_is_the_one_in_a_sandbox(worker: Path) -> None:
    raw = run(worker, "print(json.dumps({'result': dict(os.environ)}))")
    assert raw["LIBGUESTFS_HV"] == str(tool.SANDBOXED_QEMU)


def test_an_error_is_told_in_four_parts(worker: Path) -> None:
    with pytest.raises(StepFailed) as e:
        run(worker, "print(json.dumps({'error': {'kind': 'changed', 'found': '/etc/fstab'}}))")
    problem = e.value.problems[0]
    assert (problem.where, problem.found) == ("/images/guest.img", "/etc/fstab")
    assert "10-survey" in problem.remedy


def test_an_encrypted_root_is_bad_input_and_says_what_to_do(worker: Path) -> None:
    with pytest.raises(BadInput, match=r"encrypted(.|\n)*leave this guest where it is"):
        run(worker, "print(json.dumps({'error': {'kind': 'crypto_LUKS', 'found': '/dev/sda2'}}))")


def test_a_worker_that_dies_is_told_with_its_last_words(worker: Path) -> None:
    with pytest.raises(ToolFailed, match=r"exit status 3: out of luck"):
        run(worker, "print('out of luck', file=sys.stderr); sys.exit(3)")


def test_much_noise_on_the_error_channel_does_not_block_it(worker: Path) -> None:
    assert run(worker, "sys.stderr.write('x' * 1_000_000); print(json.dumps({'result': {'a': 1}}))") == {"a": 1}


def test_a_worker_that_hangs_is_ended(worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "SECONDS", {"inspect": 0})
    monkeypatch.setattr(appliance, "GRACE", 1)
    with pytest.raises(ToolFailed, match="without a result"):
        run(worker, "time.sleep(60)")


def test_nothing_of_it_is_left_when_the_parent_is_interrupted(worker: Path, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    pid = tmp_path / "pid"
    worker.write_text(
        f"import json, os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "print(json.dumps({'progress': [0, 1, '']}), flush=True)\ntime.sleep(60)\n"
    )
    with pytest.raises(KeyboardInterrupt), appliance.work("inspect", Origin.whole(tmp_path), {}, "tcg", interrupt):
        pass
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_without_guestfs_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "PYTHONS", ("/bin/false", "/nowhere/python3"))
    tool.guestfs_python.cache_clear()
    with pytest.raises(ToolFailed, match="python3-guestfs") as e:
        tool.guestfs_python()
    assert e.value.problems[0].remedy == "`hikkoshi doctor` says how to install it"


def test_every_error_that_the_worker_knows_is_explained() -> None:
    source = "".join(path.read_text() for path in (appliance.WORKER, *appliance.WORKER.parent.glob("inside/*.py")))
    found = re.findall(r"Wrong\(\s*\"([\w-]+)\"(?: if [^,\"]* else \"([\w-]+)\")?", source)
    kinds = {kind for pair in found for kind in pair if kind}
    assert kinds | {"appliance", *get_args(addition.Kind)} == set(appliance._KINDS)


def test_the_worker_needs_nothing_but_the_standard_library_and_guestfs() -> None:
    source = "".join(path.read_text() for path in (appliance.WORKER, *appliance.WORKER.parent.glob("inside/*.py")))
    modules = {m.split(".")[0] for m in re.findall(r"^(?:import|from) (\S+)", source, re.M)}
    assert modules - set(sys.stdlib_module_names) == {"guestfs"}


class Files:
    """What the worker asks of an appliance while it collects, answered for a guest of these files: {path: bytes}."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.fetched = 0

    def glob_expand(self, pattern: str) -> list[str]:
        each = pattern[2:-1].split(",") if pattern.startswith("/{") else [pattern[1:]]
        return [p for one in each for p in sorted(self.sizes) if fnmatch.fnmatch(p, f"/{one}")]

    def statns(self, path: str) -> dict[str, int]:
        return {"st_mode": stat.S_IFREG, "st_size": self.sizes[path]}

    lstatns = statns

    def filesize(self, path: str) -> int:
        return self.sizes[path]

    def pread(self, path: str, count: int, offset: int) -> bytes:
        return b"x" * min(count, self.sizes.get(path, 0))

    def download(self, path: str, local: str) -> None:
        self.fetched += self.sizes[path]


class Disks(Files):
    """What it asks while it mounts: {device: its files}, each the root of its own file system."""

    def __init__(self, contents: dict[str, dict[str, bytes]]) -> None:
        self.contents, self.mounted = contents, dict[str, str]()

    def mount_ro(self, device: str, point: str) -> None:
        self.mounted[point] = device

    def mount_options(self, options: str, device: str, point: str) -> None:
        whole = options == "subvolid=5,ro" and f"{device} {options}" not in self.contents
        self.mounted[point] = device if whole else f"{device} {options}"

    def ls(self, folder: str) -> list[str]:
        return sorted({path.split("/")[1] for path in self.contents[self.mounted[folder]]})

    def umount_all(self) -> None:
        self.mounted.clear()

    def is_dir(self, path: str) -> bool:
        return False

    def statns(self, path: str) -> dict[str, int]:
        there = self.contents[self.mounted["/"]]
        if path not in there:
            raise RuntimeError(path)
        return {"st_mode": stat.S_IFREG, "st_size": len(there[path])}

    def btrfs_subvolume_list(self, path: str) -> list[dict[str, object]]:
        names = sorted({path.split("/")[1] for path in self.contents[self.mounted[path]]})
        return [{"btrfssubvolume_id": n, "btrfssubvolume_path": name} for n, name in enumerate(names, 256)]

    def pread(self, path: str, count: int, offset: int) -> bytes:
        return self.contents[self.mounted["/"]][path]


@pytest.mark.parametrize(
    ("table", "names", "points"),
    [
        ("/dev/xvda2 / ext3\n/dev/xvda1 /boot ext3\n/dev/xvda3 none swap sw 0 0\n", (), ["/boot", "/", "swap"]),
        ("/dev/xvde2 / ext3\n/dev/xvde1 /boot ext3\n/dev/xvde3 swap swap\n", (), ["/boot", "/", "swap"]),  # by its root
        ("LABEL=/ / ext3\n/dev/xvde1 /boot ext3\n", ("sda", "xvde"), ["/boot", "/", ""]),  # by Xen's configuration
        ("UUID=abc / ext3\nPARTUUID=0002f4c3-01 /boot ext3\n", (), ["/boot", "/", ""]),
        ("LABEL=/ / ext3\n/dev/disk/by-path/xen-vbd-51713 /boot ext3\n", (), ["/boot", "/", ""]),
        ("LABEL=/ / ext3\n/dev/xvdb1 /data ext3\n", (), ["", "/", ""]),
        ("LABEL=/ / ext3\n/dev/xvdb1 /boot ext3\n", (), None),  # another disk, and needed
    ],
)
def test_partitions_are_mounted_by_whatever_the_guest_calls_them(
    monkeypatch: pytest.MonkeyPatch, table: str, names: tuple[str, ...], points: list[str] | None
) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", types.ModuleType("guestfs"))
    worker = runpy.run_path(str(appliance.WORKER))
    known = [{}, {"label": "/", "uuid": "abc"}, {"fstype": "swap"}]
    tags = {"fstype": "ext3", "label": "", "uuid": "", "partlabel": ""}
    parts = []
    for n, own in enumerate(known, 1):
        name = f"/dev/sda{n}"
        parts.append({**tags, **own, "device": name, "at": name, "partuuid": f"0002f4c3-0{n}"})
    guest = Disks({"/dev/sda1": {}, "/dev/sda2": {"/etc/fstab": table.encode()}, "/dev/sda3": {}})
    job = {"disk_of": device.Disk, "names": names, "further": ()}
    if points is None:
        with pytest.raises(worker["Wrong"], match="missing-device"):
            worker["mount"](guest, job, parts, readonly=True)
        return
    worker["mount"](guest, job, parts, readonly=True)
    assert [p["mountpoint"] for p in parts] == points


def test_a_part_of_btrfs_is_mounted_as_the_guest_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", types.ModuleType("guestfs"))
    worker = runpy.run_path(str(appliance.WORKER))
    table = b"UUID=abc / btrfs defaults 0 0\nUUID=abc /var btrfs noatime,subvol=@/var,ro 0 0\n"
    parts = [{"device": "/dev/sda1", "at": "/dev/sda1", "fstype": "btrfs", "uuid": "abc"}]
    guest = Disks({"/dev/sda1": {"/etc/fstab": table}})
    worker["mount"](guest, {"disk_of": device.Disk, "names": (), "further": ()}, parts, readonly=True)
    assert guest.mounted == {"/": "/dev/sda1", "/var": "/dev/sda1 subvol=@/var,ro"}
    assert parts[0]["mountpoint"] == "/"


def test_the_root_of_btrfs_may_be_one_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", types.ModuleType("guestfs"))
    worker = runpy.run_path(str(appliance.WORKER))
    table = b"/dev/xvda1 / btrfs defaults,subvol=@rootfs 0 0\n/dev/xvda1 /home btrfs subvol=@home 0 0\n"
    parts = [{"device": "/dev/sda1", "at": "/dev/sda1", "fstype": "btrfs", "uuid": "abc"}]
    whole = {"/@home/someone": b"", "/@rootfs/etc/fstab": table}
    guest = Disks({"/dev/sda1": whole, "/dev/sda1 subvol=@rootfs,ro": {"/etc/fstab": table}})
    worker["mount"](guest, {"disk_of": device.Disk, "names": (), "further": ()}, parts, readonly=True)
    assert guest.mounted == {"/": "/dev/sda1 subvol=@rootfs,ro"}
    assert (parts[0]["mountpoint"], parts[0]["subvolume"]) == ("/", "@rootfs")


OF_ROOT, OF_258 = b"x / btrfs rw,subvol=/root 0 0\n", b"x / btrfs subvolid=258 0 0\n"
TOP = "/dev/sda1 subvolid=5,ro"


@pytest.mark.parametrize(
    ("contents", "name"),
    [
        ({"/dev/sda1": {"/old-root/etc/fstab": OF_ROOT, "/root/etc/fstab": OF_ROOT}}, "root"),
        ({"/dev/sda1": {"/home/x": b"", "/old-root/etc/fstab": OF_258, "/root/etc/fstab": OF_258}}, "root"),
        ({"/dev/sda1": {"/etc/fstab": b"x / btrfs defaults 0 0\n", "/root/etc/fstab": OF_ROOT}}, ""),
        ({"/dev/sda1": {"/etc/fstab": OF_ROOT, "/root/etc/fstab": OF_ROOT}}, "root"),
        ({"/dev/sda1": {"/etc/fstab": OF_ROOT}, TOP: {"/old/etc/fstab": OF_ROOT, "/s/root/etc/fstab": OF_ROOT}}, ""),
        ({"/dev/sda1": {"/data": b""}, TOP: {"/old/etc/fstab": OF_ROOT, "/root/etc/fstab": b"x / btrfs rw 0 0\n"}}, "root"),
        ({"/dev/sda1": {"/home/x": b""}}, ""),
    ],
    ids=["snapshot", "by its number", "default", "moved into one", "default of a snapshot", "says nothing", "no root"],
)
def test_the_root_of_btrfs_is_the_part_that_calls_itself_so(contents: dict[str, dict[str, bytes]], name: str) -> None:
    assert runpy.run_path(str(appliance.WORKER.parent / "inside" / "subvolumes.py"))["root"](Disks(contents), "/dev/sda1") == name


@pytest.mark.parametrize("table", ["/dev/mapper/cvar /var ext4", "/dev/xvda3 /var ext4"])
def test_a_folder_of_the_system_on_an_encrypted_volume_is_told_as_that(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", types.ModuleType("guestfs"))
    worker = runpy.run_path(str(appliance.WORKER))
    parts = [
        {"device": f"/dev/sda{n}", "at": f"/dev/sda{n}", "fstype": kind, "uuid": kind}
        for n, kind in enumerate(("ext4", "crypto_LUKS"), 1)
    ]
    guest = Disks({"/dev/sda1": {"/etc/fstab": f"UUID=ext4 / ext4\n{table}\n".encode()}})
    with pytest.raises(worker["Wrong"], match="crypto_LUKS") as e:
        worker["mount"](guest, {"disk_of": device.Disk, "names": (), "further": ()}, parts, readonly=True)
    assert "encrypted: /dev/sda2" in e.value.report["found"]


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        ({f"/boot/initrd-{n}.img": 127 << 20 for n in range(100)}, "too-large"),  # each is small enough
        ({f"/lib/modules/{n}/modules.alias": 9 << 20 for n in range(1)}, "too-large"),
        ({f"/boot/initrd-{n}.img": 1 for n in range(60)} | {f"/boot/initrd.img-{n}": 1 for n in range(60)}, "too-many"),
        ({f"/etc/netplan/{n}.yaml": 1 << 20 for n in range(30)}, "too-large"),
    ],
)
def test_what_is_fetched_from_a_guest_is_bounded_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: dict[str, int], kind: str
) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", types.ModuleType("guestfs"))  # the system's own Python has the real one
    worker = runpy.run_path(str(appliance.WORKER))
    job = {"texts": inspection.TEXTS, "files": inspection.FILES, "present": [], "folder": str(tmp_path)}
    guest = Files(sizes)
    with pytest.raises(worker["Wrong"]) as e:
        worker["collect"](guest, job, redaction.Redactor())
    assert e.value.report["kind"] == kind
    assert guest.fetched <= 1 << 30


class Tree:
    """A folder as if it were the whole of a guest."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, 0

    def readlinklist(self, folder: str, names: list[str]) -> list[str]:
        self.asked += 1
        paths = [Path(f"{self.root}{folder}/{name}") for name in names]
        return [str(path.readlink()) if path.is_symlink() else "" for path in paths]


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/etc/rc3.d/S10network", "/etc/rc.d/init.d/network"),  # by a folder that is a link, and by ../
        ("/etc/init.d/network", "/etc/rc.d/init.d/network"),
        ("/etc/rc3.d/S99local", "/etc/rc.d/rc.local"),
        ("/vmlinuz", "/boot/vmlinuz-6"),  # from the root on, which is the guest's
        ("/up", "/etc"),  # above the root there is nothing
        ("/nowhere", "/boot/none"),
        ("/loop", "/loop"),
        ("/etc/", "/etc"),
    ],
)
def test_a_link_is_followed_inside_the_guest_without_starting_a_program_there(tmp_path: Path, path: str, there: str) -> None:
    (tmp_path / "etc/rc.d/rc3.d").mkdir(parents=True)
    for link, to in {
        "etc/rc3.d": "rc.d/rc3.d",
        "etc/init.d": "/etc/rc.d/init.d",
        "etc/rc.d/rc3.d/S10network": "../init.d/network",
        "etc/rc.d/rc3.d/S99local": "../rc.local",
        "vmlinuz": "/boot/vmlinuz-6",
        "up": "../../etc/.",
        "nowhere": "boot/none",
        "loop": "loop",
    }.items():
        (tmp_path / link).symlink_to(to)
    end = runpy.run_path(str(appliance.WORKER.parent / "inside" / "paths.py"))["end"]
    known: dict[str, str] = {}
    guest = Tree(tmp_path)
    assert end(guest, path, known) == there
    asked = guest.asked
    assert end(guest, path, known) == there
    assert guest.asked == asked


def test_what_many_patterns_name_is_asked_at_once_and_of_too_many_names_pattern_by_pattern() -> None:
    named = runpy.run_path(str(appliance.WORKER.parent / "inside" / "paths.py"))["named"]
    guest = Files({"/etc/b.conf": 1, "/etc/a.conf": 1, "/boot/b": 1})
    assert named(guest, ["/etc/*.conf", "/boot/*"], 3) == [("/etc/*.conf, /boot/*", ["/etc/a.conf", "/etc/b.conf", "/boot/b"])]
    assert named(guest, ["/etc/*.conf", "/boot/*"], 2) == [
        ("/etc/*.conf", ["/etc/a.conf", "/etc/b.conf"]),
        ("/boot/*", ["/boot/b"]),
    ]


def test_no_pattern_says_what_braces_would_take_for_something_else() -> None:
    assert [p for p in (*inspection.TEXTS, *inspection.PRESENT) if not p.startswith("/") or set(p) & set("{},\\")] == []


class Shell:
    """Runs commands as the appliance does."""

    def command(self, argv: list[str]) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"command: {done.stderr}")
        return done.stdout


def test_the_programs_of_a_guest_run_in_one_go_and_the_first_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "guestfs", types.ModuleType("guestfs"))
    worker = runpy.run_path(str(appliance.WORKER))
    odd, told = tmp_path / "it's $HOME", list[str]()
    first, last = ("touch", str(odd)), ("touch", str(tmp_path / "last"))
    worker["run"](Shell(), [first], told.append)
    assert odd.exists()
    with pytest.raises(worker["Wrong"]) as e:
        worker["run"](Shell(), [first, ("sh", "-c", "echo no luck >&2; exit 7"), last], told.append)
    report = e.value.report
    assert (report["kind"], report["path"]) == ("command", "sh -c echo no luck >&2; exit 7")
    assert report["found"].endswith("no luck")
    assert not Path(last[1]).exists()
    assert told[0] == f"in the guest: touch {odd}"
