"""kill -9 in the middle of the two long steps, then the same command again."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.disk.conversion import Conversion
from hikkoshi.params.home import Home
from hikkoshi.vsphere import session
from hikkoshi_lab import proxy, site, vcsim
from processes import start

pytestmark = pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim")
DIED = -9


def begin(home: Home, step: str) -> "subprocess.Popen[str]":
    return start(home, "run", "idp", "--apply", "--only", step, stderr=subprocess.STDOUT)


def finish(run: "subprocess.Popen[str]") -> None:
    with run:
        told, _ = run.communicate(timeout=240)
    assert run.returncode == 0, told


def writers(file: Path) -> list[int]:
    """Processes that have the file open for writing."""
    found = set()
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if fd.readlink() == file:
                flags = int((fd.parents[1] / "fdinfo" / fd.name).read_text().split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    found.add(int(fd.parts[2]))
        except OSError:  # closed meanwhile
            continue
    return sorted(found)


def begun(file: Path) -> int | None:
    """When a file was last changed or made, which for a new one of the same name is another time."""
    try:
        return file.stat().st_ctime_ns
    except FileNotFoundError:
        return None


@contextmanager
def standing_still(pid: int) -> Iterator[list[int]]:
    """A process and all that it has started stand still for as long as this lasts; gives their pids."""
    family = [pid]
    for member in family:  # grows on the way
        for task in Path(f"/proc/{member}/task").iterdir():
            family += map(int, (task / "children").read_text().split())
    for member in family:
        os.kill(member, signal.SIGSTOP)
    try:
        yield family
    finally:
        for member in family:
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGCONT)


@pytest.fixture
def half_way(moved: Home, tmp_path: Path) -> Home:
    """A home of its own in which idp has come as far as the rehearsal, by copying what a real run made."""
    home = Home(tmp_path)
    shutil.copytree(moved.root / "params", tmp_path / "params")
    params = tmp_path / "params" / "site.yml"
    params.write_text(params.read_text().replace("outputs/lab/dom0", f"{moved.outputs}/lab/dom0"))
    shutil.copytree(
        moved.folder("idp"),
        home.folder("idp"),
        ignore=lambda folder, names: [n for n in names if n.endswith((".img", "runs", "deployment.json", "cutover.json"))],
    )
    image = Path("disk") / "idp.img"
    subprocess.run(
        ["cp", "--sparse=always", "--preserve=timestamps", moved.folder("idp") / image, home.folder("idp") / image], check=True
    )
    return home


def test_a_conversion_killed_half_way_is_finished_by_the_same_command_with_one_writer_at_a_time(half_way: Home) -> None:
    disk = half_way.folder("idp") / "disk"
    made, part = disk / "idp.vmdk", disk / "idp.vmdk.part"
    made.unlink()
    with begin(half_way, "40") as run:
        while not part.exists() or part.stat().st_size < 4 << 20:
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.0005)
        with standing_still(run.pid) as family:  # else the disk is written before all processes are looked at
            seen = writers(part)
            # the kernel too: it would have time to finish before it sees that its parent is gone
            for member in family:
                os.kill(member, signal.SIGKILL)
    assert len(seen) == 1
    assert run.returncode == DIED
    deadline = time.monotonic() + 10
    while writers(part) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not writers(part)
    assert not made.exists()

    left = part.stat()  # half of a file, for the next run to discard
    again = begin(half_way, "40")
    while (now := begun(part)) in (None, left.st_ctime_ns):
        assert again.poll() is None, again.communicate()[0]
        time.sleep(0.0005)
    with standing_still(again.pid):
        seen = writers(part)
    finish(again)
    assert now is not None
    assert len(seen) == 1
    assert not part.exists()
    assert files.sha256(made) == Conversion.load(half_way.folder("idp")).vmdk_sha256


def test_a_deployment_killed_half_way_is_finished_by_the_same_command_and_leaves_one_machine(half_way: Home) -> None:
    with ExitStack() as stack:
        lab = half_way.outputs / "lab"
        server = stack.enter_context(vcsim.start(lab))
        front = stack.enter_context(proxy.start(server, lab, half_way.root / "received"))
        params = half_way.root / "params" / "site.yml"
        lines = params.read_text().splitlines(keepends=True)
        params.write_text("".join(f"  server: 127.0.0.1:{front.port}\n" if li.startswith("  server:") else li for li in lines))
        with session.connect(half_way, half_way.site().vsphere) as v:
            site.shape(v, half_way.site(), lab / "tmp", lambda words: None)
        half = threading.Event()
        go_on = threading.Event()

        def wait() -> None:
            half.set()
            go_on.wait(60)

        front.faults.at = (4 << 20, wait)
        with begin(half_way, "60") as run:
            assert half.wait(60), "the upload did not begin"
            run.kill()
            go_on.set()
        assert run.returncode == DIED
        front.faults.at = None
        assert len(machines(half_way)) == 1  # the half of one
        finish(begin(half_way, "60"))
        left = machines(half_way)
        assert [extra.get("hikkoshi.complete") is not None for extra in left] == [True]
        assert front.received[-1].read_bytes() == (half_way.folder("idp") / "disk" / "idp.vmdk").read_bytes()


def machines(home: Home) -> list[dict[str, str]]:
    """The extra configuration of every machine there is."""
    with session.connect(home, home.site().vsphere) as v:
        found = v.collect("VirtualMachine", ["config.extraConfig"])
    return [{o.key: o.value for o in m["config.extraConfig"]} for m in found.values()]
