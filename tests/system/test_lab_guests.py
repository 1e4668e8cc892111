"""The lab's guests: the same bits for everyone, and programs that behave as on EL5."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hikkoshi import files, tool
from hikkoshi.disk import digest
from hikkoshi.errors import StepFailed
from hikkoshi.guest import initrd
from hikkoshi_lab import image, packages
from processes import PATIENCE

pytestmark = pytest.mark.needs("dpkg-deb", "mke2fs", "debugfs", "e2fsck", "cpio")
NOBODY = 65534
OFFSETS = {"/boot": 63 * 512, "/": 208845 * 512}  # of the gateway's file systems on its disk, in bytes


@pytest.fixture(scope="session")
def idp() -> Path:
    return image.build(image.IDP)


@pytest.fixture(scope="session")
def gateway() -> Path:
    return image.build(image.GATEWAY)


@pytest.fixture(scope="module")
def by_hand(gateway: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An initrd of the gateway, put right as an administrator would; and what the guest's own programs said meanwhile.

    They run on its unpacked files: it is our own guest, so that it needs no appliance.
    """
    tree = tmp_path_factory.mktemp("by-hand") / "tree"
    for point, offset in reversed(OFFSETS.items()):
        (tree / point[1:]).mkdir(exist_ok=True)
        tool.run(["debugfs", "-R", f'rdump / "{tree / point[1:]}"', f"{gateway}?offset={offset}"])
    (tree / "dev/null").touch()
    kernel = next(k.name for k in (tree / "lib/modules").iterdir() if not k.name.endswith("xen"))
    ram_disk = f"/boot/initrd-{kernel}.img"

    def said(*argv: str) -> str:
        inside = ["chroot"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]
        done = subprocess.run([*inside, str(tree), *argv], capture_output=True, text=True, check=False, timeout=PATIENCE)
        return done.stdout if done.returncode == 0 else f"refused: {done.stderr}"

    told = {"exists": said("/sbin/mkinitrd", ram_disk, kernel), "xenblk": said("/sbin/mkinitrd", "-f", ram_disk, kernel)}
    modules = tree / "etc/modprobe.conf"
    modules.write_text(modules.read_text().replace("xennet", "vmxnet3").replace("xenblk", "vmw_pvscsi"))
    told["made"] = said("/sbin/mkinitrd", "-f", "-v", "--with=mptsas", "--preload=mptspi", ram_disk, kernel)
    told["unknown"] = said("/sbin/mkinitrd", "-f", "--with=nosuch", ram_disk, kernel)
    said("/sbin/chkconfig", "kudzu", "off")
    told["kudzu"] = " ".join(sorted(str(link.relative_to(tree)) for link in tree.glob("etc/rc.d/rc?.d/*kudzu")))
    return tree / ram_disk[1:], told


@pytest.fixture
def fetched() -> Callable[[Path], object]:
    """Copies what the set-up has fetched, without the Debian guest, into a cache of one's own."""
    return partial(shutil.copytree, tool.cache() / "packages", ignore=shutil.ignore_patterns("debian*"))


def test_an_ordinary_user_builds_the_same_bits_elsewhere_and_later(idp: Path, fetched: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(prefix="hikkoshi lab ") as name:  # the blank is meant
        folder = Path(name)
        # a code and a cache that nobody else has
        shutil.copytree(Path(image.__file__).parents[1], folder / "lib")
        fetched(folder / "cache" / "hikkoshi" / "packages")
        command = [os.path.realpath(sys.executable), "-c"]
        command += ["from hikkoshi_lab import image; print(*image.disks(image.IDP).values(), sep='\\n')"]
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder], check=True)
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *command]
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8"}
        env |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(folder / "lib"), "TMPDIR": str(folder)}
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        built = [Path(line) for line in done.stdout.splitlines()]
        assert all(path.is_relative_to(folder) for path in built)
        assert built[0].parent.name == idp.parent.name
        ours = image.disks(image.IDP).values()
        assert [(path.stat().st_size, digest.content(path)) for path in built] == [
            (path.stat().st_size, digest.content(path)) for path in ours
        ]
        assert sorted(p.name for p in built[0].parents[1].iterdir()) == sorted([built[0].parent.name, "lock"])


@pytest.mark.parametrize("guest", ["idp", "gateway"])
def test_the_disk_is_as_large_as_said_takes_little_room_and_is_not_to_be_written(
    guest: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(guest)
    recipe = {"idp": image.IDP, "gateway": image.GATEWAY}[guest]
    assert path.stat().st_size == recipe.disk_bytes
    assert image.allocated(path) < 48 << 20
    assert path.stat().st_mode & 0o222 == 0


@pytest.mark.needs("sfdisk", "blkid", "swaplabel")
def test_other_programs_read_the_disk_as_anaconda_would_have_made_it(gateway: Path, tmp_path: Path) -> None:
    told = json.loads(subprocess.run(["sfdisk", "-J", gateway], capture_output=True, check=True).stdout)
    parts = told["partitiontable"]["partitions"]
    assert [p["type"] for p in parts] == ["83", "83", "82"]
    assert [p["start"] for p in parts[:2]] == [63, 208845]
    seen = []
    for part in parts:
        probe = ["blkid", "-p", "-O", str(part["start"] * 512), "-S", str(part["size"] * 512), "-o", "export", gateway]
        out = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
        pairs = dict(line.split("=", 1) for line in out.splitlines())
        seen.append((pairs["TYPE"], pairs["LABEL"].replace("\\", "")))
    assert seen == [("ext3", "/boot"), ("ext3", "/"), ("swap", "SWAP-xvda3")]


@pytest.mark.needs("cpio")
def test_cpio_lists_the_ram_disk_that_has_no_driver_for_a_disk(gateway: Path, tmp_path: Path) -> None:
    place = f"{gateway}?offset={63 * 512}"
    names = subprocess.run(["debugfs", "-R", "ls -p /", place], capture_output=True, text=True, check=True).stdout
    name = next(n for n in names.split("/") if n.startswith("initrd-") and "xen" not in n)
    subprocess.run(["debugfs", "-R", f'dump /{name} "{tmp_path}/initrd"', place], capture_output=True, check=True)
    unpacked = subprocess.run(["gzip", "-dc", tmp_path / "initrd"], capture_output=True, check=True).stdout
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=unpacked, capture_output=True, check=True).stdout.decode()
    assert set(initrd.modules(tmp_path / "initrd")) == {"crc16", "crc32c_generic", "ext4", "jbd2", "mbcache"}
    assert {"init", "bin/busybox", "lib/ext4.ko"} <= set(listed.split())


def test_mkinitrd_behaves_as_on_el5(by_hand: tuple[Path, dict[str, str]]) -> None:
    ram_disk, told = by_hand
    assert "already exists" in told["exists"]
    assert "No module xenblk found for kernel" in told["xenblk"]
    assert "No module nosuch found for kernel" in told["unknown"]
    assert not any("command: sed:" in words or "\nsed:" in words for words in told.values())
    assert "Adding module vmw_pvscsi.ko" in told["made"]  # by modprobe.conf's scsi_hostadapter
    assert told["made"].index("mptspi.ko") < told["made"].index("vmw_pvscsi.ko") < told["made"].index("mptsas.ko")
    wanted = {"vmw_pvscsi", "mptspi", "mptsas", "mptbase", "mptscsih", "scsi_mod", "sd_mod", "ext4", "jbd2"}
    assert wanted <= set(initrd.modules(ram_disk))


def test_chkconfig_turns_kudzu_off_in_every_runlevel(by_hand: tuple[Path, dict[str, str]]) -> None:
    assert by_hand[1]["kudzu"].split() == [f"etc/rc.d/rc{level}.d/K95kudzu" for level in range(7)]


def test_a_damaged_package_is_named_and_nothing_is_built(
    tmp_path: Path, fetched: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(tmp_path / "hikkoshi" / "packages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    victim = packages.load()["ethtool"].path
    content = bytearray(victim.read_bytes())
    content[1000] ^= 1
    victim.write_bytes(content)
    with pytest.raises(StepFailed) as e:
        image.build(image.IDP)
    problem = e.value.problems[0]
    assert (problem.where, problem.found) == (str(victim), f"sha256 {files.sha256(victim)}")
    assert problem.expected.startswith("sha256 ")
    assert "make setup" in problem.remedy
    assert [p.name for p in (tmp_path / "hikkoshi" / "guests").iterdir()] == ["lock"]


@pytest.fixture
def no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt with sources of a mirror that is not there."""
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/nothing bookworm main\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list"; Dir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::lists "{tmp_path}/lists"; Dir::Cache "{tmp_path}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return tmp_path / "packages"


@pytest.mark.needs("apt-get", "apt-cache")
def test_a_mirror_that_is_not_there_is_told_in_four_parts_and_leaves_nothing(no_mirror: Path) -> None:
    with pytest.raises(StepFailed) as e:
        packages.fetch(no_mirror)
    problem = e.value.problems[0]
    assert "linux-image-amd64" in problem.where
    assert "nothing" in problem.found
    assert problem.expected
    assert "make setup" in problem.remedy
    assert list(no_mirror.iterdir()) == []
