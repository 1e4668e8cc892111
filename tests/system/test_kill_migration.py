"""kill -9 in the middle of the two long steps, then the same command again."""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.disk.conversion import Conversion
from hikkoshi.lab import proxy, site, vcsim
from hikkoshi.params import Home
from hikkoshi.vsphere import session

pytestmark = pytest.mark.needs("qemu-img", "qemu-system-x86_64", "vcsim")
DIED = -9


def start(home: Home, step: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "hikkoshi.cli", "run", "idp", "--apply", "--from", step, "--through", step],
        env={**os.environ, "HIKKOSHI_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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
        ignore=lambda folder, names: [
            n for n in names if n.endswith((".img", "runs", "deployment.json", "cutover.json"))
        ],
    )
    image = Path("disk") / "idp.img"
    subprocess.run(
        ["cp", "--sparse=always", "--preserve=timestamps", moved.folder("idp") / image, home.folder("idp") / image],
        check=True,
    )
    return home


def test_a_conversion_killed_half_way_is_finished_by_the_same_command_with_one_writer_at_a_time(half_way: Home) -> None:
    disk = half_way.folder("idp") / "disk"
    made, part = disk / "idp.vmdk", disk / "idp.vmdk.part"
    made.unlink()
    with start(half_way, "40") as run:
        while not part.exists() or part.stat().st_size < 4 << 20:
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.002)
        assert len(writers(part)) == 1
        run.kill()
    assert run.returncode == DIED
    deadline = time.monotonic() + 10
    while writers(part) and time.monotonic() < deadline:  # the kernel dies with the one that started it
        time.sleep(0.05)
    assert not writers(part)
    assert not made.exists()

    seen: list[int] = []
    again = start(half_way, "40")
    while again.poll() is None:
        seen.append(len(writers(part)))  # without a pause: the disk holds little, and is written in a moment
    finish(again)
    assert max(seen) <= 1  # it may be written between two looks, but never by two
    assert not part.exists()
    assert files.sha256(made) == Conversion.load(half_way.folder("idp")).vmdk_sha256


def test_a_deployment_killed_half_way_is_finished_by_the_same_command_and_leaves_one_machine(half_way: Home) -> None:
    with ExitStack() as stack:
        lab = half_way.outputs / "lab"
        server = stack.enter_context(vcsim.start(lab))
        front = stack.enter_context(proxy.start(server, lab, half_way.root / "received"))
        params = half_way.root / "params" / "site.yml"
        lines = params.read_text().splitlines(keepends=True)
        params.write_text(
            "".join(f"  server: 127.0.0.1:{front.port}\n" if li.startswith("  server:") else li for li in lines)
        )
        with session.connect(half_way, half_way.site().vsphere) as v:
            site.shape(v, half_way.site(), lab / "tmp", lambda words: None)
        half = threading.Event()
        go_on = threading.Event()

        def wait() -> None:
            half.set()
            go_on.wait(60)

        front.faults.at = (4 << 20, wait)
        with start(half_way, "60") as run:
            assert half.wait(60), "the upload did not begin"
            run.kill()
            go_on.set()
        assert run.returncode == DIED
        front.faults.at = None
        assert len(machines(half_way)) == 1  # the half of one
        finish(start(half_way, "60"))
        left = machines(half_way)
        assert [extra.get("hikkoshi.complete") is not None for extra in left] == [True]
        assert front.received[-1].read_bytes() == (half_way.folder("idp") / "disk" / "idp.vmdk").read_bytes()


def machines(home: Home) -> list[dict[str, str]]:
    """The extra configuration of every machine there is."""
    with session.connect(home, home.site().vsphere) as v:
        found = v.collect("VirtualMachine", ["config.extraConfig"])
    return [{o.key: o.value for o in m["config.extraConfig"]} for m in found.values()]
