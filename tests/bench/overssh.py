"""A disk of 64 GiB from a Dom-0 over ssh by a link of 1 Gbit/s, beside what its data alone take on the same wire.

    python tests/bench/overssh.py [--rounds 3] [--mib 2048] [--random] [--folder DIR] [--json FILE]

Needs root. The link is the loopback interface of a network namespace that is made for this and goes with it: MTU 1500,
shaped by a token bucket. The Dom-0 at its other end is this machine by a real sshd: it packs, hashes and encrypts on the
cores that unpack, hash and decrypt here, as a real one would not. The data alone are sent by a plain TCP connection, as they
are. Each round has both once, in another order, from the page cache; what counts are the ratios within a round. What it costs
the processors of each side is told besides, as on a busy machine that counts more than the clock.
"""

import argparse
import ctypes
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import convert
import link

sys.path.insert(0, str(Path(__file__).parents[1]))
from hikkoshi.xen.wire.place import url
from overssh import OverSsh, over_ssh
from processes import wait_for

PORTS = {"data": 2021, "sshd": 2022}
REFERENCE = "the data alone"
MOST = 1.3, 200  # times the data alone, and MiB of memory
SEND = """
import os, socket, sys
disk = open(sys.argv[1], "rb")

def send(there):
    end = 0
    while end < os.fstat(disk.fileno()).st_size:
        try:
            at = os.lseek(disk.fileno(), end, os.SEEK_DATA)
        except OSError:  # nothing but a hole from here on
            return
        end = os.lseek(disk.fileno(), at, os.SEEK_HOLE)
        while at < end:
            at += os.sendfile(there.fileno(), disk.fileno(), at, end - at)

with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as server:
    while True:
        there, _ = server.accept()
        with there:
            if there.recv(2) == b"go":
                send(there)
"""
TAKE = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as wire:
    wire.sendall(b"go")
    piece = bytearray(1 << 20)
    while wire.recv_into(piece):
        pass
"""
READ = """
import sys
from pathlib import Path
from hikkoshi.xen.wire import reading
from hikkoshi.xen.wire.place import DiskPlace
reading.bring([reading.Wanted(DiskPlace.of(sys.argv[1]), Path(sys.argv[2]))])
Path(sys.argv[2]).with_suffix(".pieces").unlink()
"""


def main() -> None:
    """Make the link, build, run, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--mib", type=int, default=2048, help="what is in the disk")
    options.add_argument("--random", action="store_true", help="of bytes that nothing packs, in place of files of this machine")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("--json", type=Path, help="write every single run there")
    asked = options.parse_args()
    link.enter()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name, over_ssh(Path(name)) as there:
        # in a process of its own: the peak memory of what we start counts from our own at that moment (Linux)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            image = pool.submit(build, Path(name), asked.mib, random=asked.random).result()
        with listening(there, image) as sshd:
            runs, sides = measure(there, image, Path(name) / "here" / "xvda.img", asked.rounds, sshd)
        allocated = image.stat().st_blocks * 512 / convert.MIB
    print(f"64 GiB, {allocated:.0f} MiB of them allocated; {os.cpu_count()} CPUs, {asked.rounds} rounds, 1 Gbit/s")
    print("\n".join(convert.table(runs, REFERENCE)))
    gib = [statistics.median(side) * 1024 / allocated for side in zip(*sides, strict=True)]
    print(f"CPU seconds for each GiB over ssh: {gib[0]:.1f} here, {gib[1]:.1f} there")
    print(f"to hold: at least {1 / MOST[0]:.2f}x, at most {MOST[1]} MiB")
    if asked.json:
        facts = {"machine": platform.platform(), "cpus": os.cpu_count(), "mib": asked.mib, "random": asked.random}
        asked.json.write_text(json.dumps({**facts, "runs": [asdict(r) for r in runs]}, indent=2))


def build(folder: Path, mib: int, *, random: bool) -> Path:
    """The disk: a file system with real files in it, or pieces of random bytes here and there."""
    if not random:
        image = convert.build(folder, 2 * mib)
        subprocess.run(["cp", "--sparse=always", image, folder / "large.img"], check=True)
        image.unlink()
    with (folder / "large.img").open("ab") as f:
        f.truncate(convert.LARGE)
    if random:
        with (folder / "large.img").open("r+b") as f:
            for n in range(0, mib, 64):
                f.seek(n * (convert.LARGE // mib))
                for _ in range(64):
                    f.write(os.urandom(convert.MIB))
    return folder / "large.img"


@contextmanager
def listening(there: OverSsh, image: Path) -> Iterator[int]:
    """The other ends: what sends the data as they are, and the sshd, whose process is given."""
    there.ssh(f"HostName 127.0.0.1\nPort {PORTS['sshd']}\nHostKeyAlias dom0\nProxyCommand none")
    where = ["-o", f"Port={PORTS['sshd']}", "-o", "ListenAddress=127.0.0.1", "-f", there.folder / "sshd_config"]
    servers = (["/usr/sbin/sshd", "-D", "-e", *where], [sys.executable, "-c", SEND, image, str(PORTS["data"])])
    with (there.folder / "log").open("a") as log:
        started = [subprocess.Popen(argv, stderr=log, start_new_session=True) for argv in servers]
    try:
        wait_for(lambda: all(map(listens, PORTS.values())), "both listen")
        yield started[0].pid
    finally:
        for process in started:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Whether something does."""
    with socket.socket() as s:
        return not s.connect_ex(("127.0.0.1", port))


def measure(
    there: OverSsh, image: Path, here: Path, rounds: int, sshd: int
) -> tuple[list[convert.Measured], list[tuple[float, float]]]:
    """Both in every round; and the CPU seconds of each way over ssh, here and there."""
    candidates = {
        REFERENCE: [sys.executable, "-c", TAKE, str(PORTS["data"])],
        "over ssh": [sys.executable, "-c", READ, url(there.dom0, str(image)), str(here)],
    }
    names, runs, sides = list(candidates), [], []
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: the shared connection, which leaves its parent, counts too
    for k in range(rounds):
        for name in (names[k % 2 :] + names)[:2]:
            before = spent(sshd)
            runs.append(convert.run(name, candidates[name], image, here, k))
            wait_for(lambda: not Path(f"/proc/{sshd}/task/{sshd}/children").read_text(), "nobody is logged in")
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            if name != REFERENCE:
                sides.append(tuple(b - a for a, b in zip(before, spent(sshd), strict=True)))
    return runs, sides


def spent(sshd: int) -> tuple[float, float]:
    """CPU seconds of what has ended here, and of all that sshd started."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = Path(f"/proc/{sshd}/stat").read_text().rpartition(")")[2].split()[11:15]
    return own.ru_utime + own.ru_stime, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
