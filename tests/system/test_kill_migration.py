"""kill -9 in the middle of the two long steps, then the same command again."""

import os
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.disk.conversion import Conversion
from hikkoshi.params.home import Home
from hikkoshi.vsphere import session
from hikkoshi_lab import proxy, site, vcsim
from processes import PATIENCE, start, wait_for

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
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            for fd in (process / "fd").iterdir():
                with suppress(OSError):  # closed meanwhile
                    if fd.readlink() == file:
                        flags = int((process / "fdinfo" / fd.name).read_text().split("flags:")[1].split()[0], 8)
                        if flags & os.O_ACCMODE != os.O_RDONLY:
                            found.add(int(process.name))
    return sorted(found)


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    for member in found:  # grows on the way
        with suppress(OSError):  # gone meanwhile
            for task in Path(f"/proc/{member}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def kill_all(run: "subprocess.Popen[str]") -> None:
    """The kernel too: it would have time to finish before it sees that its parent is gone."""
    for member in family(run.pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


STANDING_STILL = """
def stand_still():
    import os, signal
    from hikkoshi.disk import stream
    add, stopped = stream._File.add, []
    def half_way(self, piece):
        add(self, piece)
        if not stopped and self.sectors * 512 > 4 << 20:
            stopped.append(os.kill(os.getpid(), signal.SIGSTOP))
    stream._File.add = half_way
stand_still()
del stand_still
"""


def writer_half_way(run: "subprocess.Popen[str]", file: Path) -> int:
    """The one process that writes to the file, once it stands still; nobody else does."""

    def there() -> bool:
        assert run.poll() is None, run.communicate()[0]
        with suppress(OSError):  # gone meanwhile
            return any(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T" for pid in writers(file))
        return False

    wait_for(there, "the conversion is half way")
    (writer,) = writers(file)
    return writer


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
    copies = moved.folder("idp").copies(3)
    subprocess.run(["cp", "--sparse=always", "--preserve=timestamps", *copies, home.folder("idp").disks], check=True)
    return home


def test_a_conversion_killed_half_way_is_finished_by_the_same_command_with_one_writer_at_a_time(
    half_way: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text(STANDING_STILL)  # else the disk is written before anybody has looked
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    disk = half_way.folder("idp") / "disk"
    made, part = disk / "idp.vmdk", disk / "idp.vmdk.part"
    made.unlink()
    with begin(half_way, "40") as run:
        writer_half_way(run, part)
        kill_all(run)
    assert run.returncode == DIED
    wait_for(lambda: not writers(part), "nobody writes any more")
    assert part.stat().st_size > 0  # half of a file, for the next run to discard
    assert not made.exists()

    again = begin(half_way, "40")
    os.kill(writer_half_way(again, part), signal.SIGCONT)
    finish(again)
    assert not part.exists()
    assert files.sha256(made) == Conversion.load(half_way.folder("idp")).each[0].vmdk_sha256


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
            go_on.wait(PATIENCE)

        front.faults.at = (4 << 20, wait)
        with begin(half_way, "60") as run:
            assert half.wait(PATIENCE), "the upload did not begin"
            kill_all(run)
            go_on.set()
        assert run.returncode == DIED
        front.faults.at = None
        assert len(machines(half_way)) == 1  # the half of one
        finish(begin(half_way, "60"))
        left = machines(half_way)
        assert [extra.get("hikkoshi.complete") is not None for extra in left] == [True]
        sent = [path.read_bytes() for path in front.received[-3:]]
        assert sent == [vmdk.read_bytes() for vmdk in half_way.folder("idp").vmdks(3)]


def machines(home: Home) -> list[dict[str, str]]:
    """The extra configuration of every machine there is."""
    with session.connect(home, home.site().vsphere) as v:
        found = v.collect("VirtualMachine", ["config.extraConfig"])
    return [{o.key: o.value for o in m["config.extraConfig"]} for m in found.values()]
