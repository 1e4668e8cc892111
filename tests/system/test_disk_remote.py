"""A disk on another machine over a real sshd, which ssh starts itself: no network, no service, no key of the user's."""

import os
import random
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hikkoshi.disk import digest, stream
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.remote import RemoteDisk
from hikkoshi.errors import BadInput, HikkoshiError, StepFailed, ToolFailed
from hikkoshi.ssh import Login
from overssh import OverSsh, over_ssh
from processes import wait_for

pytestmark = pytest.mark.needs("ssh", "sshd", "ssh-keygen", "root")
MIB = 1 << 20
GRAIN = 1 << 16
NOISE = random.Random(5).randbytes(3 * MIB)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverSsh]:
    with over_ssh(tmp_path_factory.mktemp("ssh")) as machine:
        yield machine


@pytest.fixture
def dom0(machine: OverSsh) -> Iterator[OverSsh]:
    machine.as_new()
    yield machine
    wait_for(lambda: not machine.processes, "all that ssh started ends")  # the other side hears of an end a moment later


def disk(path: Path | str) -> RemoteDisk:
    return RemoteDisk(Login("dom0"), str(path))


def image(path: Path, size: int = 8 * MIB + 512) -> Path:
    """Some noise, some text, many zeros, and something at the end."""
    with path.open("wb") as f:
        f.truncate(size)
        for offset, piece in ((0, NOISE), (size // 2, b"text " * 1000), (max(0, size - 700), b"the end")):
            f.seek(offset)
            f.write(piece[: max(0, size - offset)])
    return path


def written(disk: RemoteDisk | RawDisk, target: Path, threads: int = 2, act: Callable[[], object] = int) -> stream.Stream:
    """Make the VMDK; `act` is done once, after the first few MiB."""
    acts = [act]

    def progress(done: float, total: float, text: str) -> None:
        if acts:
            acts.pop()()

    with disk as source:
        return stream.write(source, target, "d.vmdk", threads=threads, progress=progress)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("size", [512, GRAIN, GRAIN + 512, MIB - 512, MIB, 9 * MIB + 512])
def test_what_comes_is_what_is_there(dom0: OverSsh, tmp_path: Path, size: int, threads: int) -> None:
    there = image(tmp_path / "d.img", size)
    remote = written(disk(there), tmp_path / "remote.vmdk", threads)
    local = written(RawDisk(there), tmp_path / "local.vmdk")
    assert remote.sha256 == local.sha256
    assert remote.content == digest.content(there)


def test_a_path_may_have_spaces_quotes_and_dollars(dom0: OverSsh, tmp_path: Path) -> None:
    there = image(tmp_path / """it's "a" $HOME `id` disk;.img""", MIB)
    assert written(disk(there), tmp_path / "d.vmdk").content == digest.content(there)


@pytest.mark.needs("losetup")
def test_a_volume_behind_a_link_is_read_as_a_device(dom0: OverSsh, tmp_path: Path) -> None:
    there = image(tmp_path / "d.img")
    made = subprocess.run(["losetup", "--find", "--show", there], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    try:
        (tmp_path / "vg").symlink_to(made.stdout.strip())
        assert written(disk(tmp_path / "vg"), tmp_path / "d.vmdk").content == digest.content(there)
        with (
            pytest.raises(StepFailed, match="changed while it was read") as e,
            disk(tmp_path / "vg") as source,
            Path(made.stdout.strip()).open("r+b", buffering=0) as device,
        ):
            stream.write(source, tmp_path / "d.vmdk", "d")  # all is well, and then somebody writes
            device.write(b"!" * 4096)
            os.fsync(device.fileno())
            source.unchanged()
        assert "sectors written" in e.value.problems[0].found
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@pytest.mark.parametrize(
    ("name", "found"), [("nothing", "no such file"), (".", "neither a file"), ("empty", "0 bytes"), ("odd", "1,000 bytes")]
)
def test_what_is_no_disk_there_is_refused(dom0: OverSsh, tmp_path: Path, name: str, found: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_bytes(bytes(1000))
    with pytest.raises(BadInput) as e:
        disk(tmp_path / name)
    assert found in e.value.problems[0].found
    assert e.value.problems[0].where == f"dom0:{tmp_path / name}"


def test_a_missing_program_is_named(dom0: OverSsh, tmp_path: Path) -> None:
    for program in ("sh", "cat", "id", "dd", "sha256sum", "stat", "readlink"):
        (dom0.folder / "bin" / program).symlink_to(f"/usr/bin/{program}")
    dom0.sshd(f"SetEnv PATH={dom0.folder}/bin")
    with pytest.raises(ToolFailed, match="lacks a program") as e:
        disk(image(tmp_path / "d.img"))
    assert e.value.problems[0].found == "gzip"


def test_an_unknown_host_is_not_trusted(dom0: OverSsh, tmp_path: Path) -> None:
    dom0.known("")
    dom0.ssh("StrictHostKeyChecking no")
    with pytest.raises(ToolFailed, match="host key is not known here") as e:
        disk(image(tmp_path / "d.img"))
    assert "Host key verification failed" in e.value.problems[0].found
    assert "dom0 true" in e.value.problems[0].remedy


def test_a_changed_host_key_is_told_with_the_key_that_is_shown(dom0: OverSsh, tmp_path: Path) -> None:
    dom0.known((dom0.folder / "user.pub").read_text())
    with pytest.raises(ToolFailed, match="another host key than before") as e:
        disk(image(tmp_path / "d.img"))
    assert e.value.problems[0].found.startswith("ED25519 SHA256:")


def test_a_key_that_is_not_let_in_is_told(dom0: OverSsh, tmp_path: Path) -> None:
    dom0.sshd("AuthorizedKeysFile none")
    with pytest.raises(ToolFailed, match="does not let this user in") as e:
        disk(image(tmp_path / "d.img"))
    assert "Permission denied" in e.value.problems[0].found


def test_a_machine_that_nobody_answers_for_is_told() -> None:
    with pytest.raises(ToolFailed, match="cannot be reached by ssh") as e:
        RemoteDisk(Login("127.0.0.1", ("-F", "none", "-p", "9")), "/disk")
    assert "Connection refused" in e.value.problems[0].found


def big(path: Path) -> Path:
    path.write_bytes(random.Random(6).randbytes(24 * MIB))
    return path


def grow(path: Path) -> None:
    with path.open("ab") as f:
        f.write(bytes(4 * MIB))


def overwrite(path: Path) -> None:
    """At the end, where nobody has read yet, and with the old time stamp, as a guest does that writes to its own disk."""
    before = path.stat()
    with path.open("r+b") as f:
        f.seek(23 * MIB)
        f.write(b"changed")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (grow, "more bytes than before|status changed"),
        (lambda p: os.truncate(p, 20 * MIB), "its end at"),
        (overwrite, "status changed"),
        (lambda p: image(p.with_name("other")).replace(p), "inode"),
    ],
    ids=["grown", "cut off", "written to", "replaced"],
)
def test_a_disk_that_changes_while_it_is_read_is_no_result(
    dom0: OverSsh, tmp_path: Path, act: Callable[[Path], object], what: str
) -> None:
    there = big(tmp_path / "d.img")
    with pytest.raises(StepFailed, match=what):
        written(disk(there), tmp_path / "d.vmdk", act=lambda: act(there))


def test_bytes_that_arrive_different_are_found_by_the_hash_from_the_other_side(dom0: OverSsh, tmp_path: Path) -> None:
    there = image(tmp_path / "d.img")
    dom0.program("gzip", "/usr/bin/tr 'e' 'f' | /usr/bin/gzip \"$@\"")
    with pytest.raises(StepFailed) as e:
        written(disk(there), tmp_path / "d.vmdk")
    assert e.value.problems[0].found.startswith("SHA-256 there ")


def test_damage_on_the_way_is_found_at_once(dom0: OverSsh, tmp_path: Path) -> None:
    there = big(tmp_path / "d.img")
    dom0.program("gzip", f"/usr/bin/gzip \"$@\" | {{ head -c {5 * MIB}; printf 'damage'; cat; }}")
    with pytest.raises(StepFailed, match="did not come over ssh"):
        written(disk(there), tmp_path / "d.vmdk")


def test_a_disk_that_cannot_be_read_there_is_told_in_dd_s_words(dom0: OverSsh, tmp_path: Path) -> None:
    there = big(tmp_path / "d.img")
    script = f"head -c {20 * MIB} {shlex.quote(str(there))}; echo \"dd: error reading '$1': Input/output error\" >&2; exit 1"
    dom0.program("dd", script)
    with pytest.raises(StepFailed, match="did not come over ssh") as e:
        written(disk(there), tmp_path / "d.vmdk")
    assert f"its end at {20 * MIB:,}" in e.value.problems[0].found
    assert "Input/output error" in e.value.problems[0].found
    assert "dd ended with status 1" in e.value.problems[0].found


@pytest.mark.parametrize("threads", [1, 5])
def test_a_connection_that_breaks_ends_all_threads(dom0: OverSsh, tmp_path: Path, threads: int) -> None:
    remote = disk(big(tmp_path / "d.img"))
    with pytest.raises(StepFailed, match="did not come over ssh"):
        written(remote, tmp_path / "d.vmdk", threads, act=lambda: os.killpg(remote._disk._process.pid, signal.SIGKILL))


def test_ctrl_c_in_the_middle_leaves_nobody_behind(dom0: OverSsh, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(disk(big(tmp_path / "d.img")), tmp_path / "d.vmdk", act=interrupt)


def test_each_byte_comes_once(dom0: OverSsh, tmp_path: Path) -> None:
    with disk(image(tmp_path / "d.img")) as source:
        assert source.read(0, 512) == NOISE[:512]
        with pytest.raises(HikkoshiError, match="no byte 0"):
            source.read(0, 512)
        with pytest.raises(StepFailed, match="512 bytes"):
            source.unchanged()
