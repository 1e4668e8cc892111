"""How fast the disk engine is beside what a user would take instead, on this machine, in paired runs.

    python tests/bench/convert.py [--rounds 5] [--mib 2048] [--disks files,random,scattered] [--folder DIR] [--json FILE]

The first disk is a file system full of real files of this machine: neither random bytes nor zeros. The others are hard in their
own way: a file of random bytes, and 200,000 pieces of 4 KiB of those files all over 64 GiB. Each round runs every candidate
once, on the same image from the page cache, in another order; what counts are ratios within a round, and their medians, because
the machine may be busy otherwise. Everything is measured of whole processes, as a user would start them: start-up, hashes and
all. The limit is what the processors of this machine need at least: deflating what can be deflated, hashing the disk's content
and twice the file, in a loop that does nothing else, divided by their number.

At the end the same file system is converted inside a disk of 64 GiB and one of 2 TiB, for time and peak memory.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from isal import isal_zlib

Result = TypeVar("Result")
MIB, GRAIN, PAGE = 1 << 20, 1 << 16, 1 << 12
LARGE = {"64 GiB": 64 << 30, "2 TiB": 2 << 40}
PIECES = 200_000  # of the scattered disk
SOURCES = ("/usr/lib", "/usr/share", "/usr/bin")
HIKKOSHI = str(Path(sys.executable).with_name("hikkoshi"))
STREAM = "subformat=streamOptimized,adapter_type=lsilogic"
QEMU = ("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o")
VMDKSTREAM = Path("/usr/lib/python3/dist-packages/VMDKstream.py")  # of Debian's package python3-vmdkstream
CANDIDATES: dict[str, Sequence[str]] = {  # {name: command}; IN and OUT stand for the files
    "hikkoshi fast": (HIKKOSHI, "convert", "IN", "OUT"),
    "hikkoshi small": (HIKKOSHI, "convert", "--small", "IN", "OUT"),
    "qemu-img stream": (*QEMU, STREAM, "IN", "OUT"),
    "qemu-img sparse": (*QEMU, "subformat=monolithicSparse", "IN", "OUT"),
    "cp --sparse": ("cp", "--sparse=always", "IN", "OUT"),
    "VMDKstream": ("/usr/bin/python3", str(VMDKSTREAM), "IN", "OUT"),
    "vmdktool": ("vmdktool", "-v", "OUT", "IN"),
}
REFERENCE = "qemu-img stream"
LIMIT = "the limit"
HARD = (REFERENCE, "hikkoshi fast")  # who converts the other disks


@dataclass(frozen=True)
class Measured:
    """One run of one candidate."""

    name: str
    round: int
    seconds: float
    cpu_seconds: float  # user and system, all its threads
    peak_mib: float  # resident memory
    allocated_bytes: int  # of the output


def main() -> None:
    """Build, run, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--mib", type=int, default=2048, help="size of the file system")
    options.add_argument("--disks", default="files,random,scattered")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("--json", type=Path, help="write every single run there")
    asked = options.parse_args()
    everything: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        image = apart(build, folder, asked.mib)
        for disk in asked.disks.split(","):
            of_disk = image if disk == "files" else apart(MADE[disk], folder, image)
            names = [n for n in CANDIDATES if there(n) and (disk == "files" or n in HARD)] + [LIMIT]
            runs = everything[disk] = [
                apart(limit, of_disk, k)
                if n == LIMIT
                else run(n, command(n, of_disk, folder / "out"), of_disk, folder / "out", k)
                for k in range(asked.rounds)
                for n in (names[k % len(names) :] + names)[: len(names)]
            ]
            size, allocated = of_disk.stat().st_size / MIB, of_disk.stat().st_blocks * 512 / MIB
            print(f"{disk}: {size:.0f} MiB, {allocated:.0f} of them allocated; {os.cpu_count()} CPUs, {asked.rounds} rounds")
            print("\n".join(table(runs)))
            part = statistics.median(
                a.seconds / b.seconds for a, b in zip(of(runs, LIMIT), of(runs, "hikkoshi fast"), strict=True)
            )
            print(f"hikkoshi fast does {part:.0%} of what the limit allows\n")
        for size, length in LARGE.items():
            os.truncate(image, length)
            for n in (n for n in CANDIDATES if n.startswith("hikkoshi")):
                large = everything[f"{n} {size}"] = [
                    run(n, command(n, image, folder / "out"), image, folder / "out", k) for k in range(asked.rounds)
                ]
                median, most = statistics.median(r.seconds for r in large), max(r.peak_mib for r in large)
                print(f"{n}, the files in a disk of {size}: {median:.2f} s, at most {most:.0f} MiB of memory")
    if asked.json:
        about = {"machine": platform.platform(), "cpus": os.cpu_count(), "mib": asked.mib}
        asked.json.write_text(
            json.dumps({**about, "runs": {k: [asdict(r) for r in runs] for k, runs in everything.items()}}, indent=2)
        )


def apart(do: Callable[..., Result], *words: object) -> Result:
    """In a process of its own: the peak memory of what we start counts from our own at that moment (Linux)."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(do, *words).result()


def build(folder: Path, mib: int) -> Path:
    """A disk that is one ext3 file system, about half full of files that this machine has."""
    content = folder / "content"
    content.mkdir()
    left = mib * MIB // 2
    for n, path in enumerate(real_files()):
        size = path.stat().st_size
        if size > left:
            break
        shutil.copyfile(path, content / f"{n}-{path.name}")
        left -= size
    image = folder / "disk.img"
    with image.open("wb") as f:
        f.truncate(mib * MIB)
    mke2fs = shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin") or "mke2fs"
    subprocess.run([mke2fs, "-q", "-t", "ext3", "-d", content, image], check=True)
    shutil.rmtree(content)
    return image


def noise(folder: Path, image: Path) -> Path:
    """Random bytes, half as many as the image has."""
    made = folder / "random.img"
    with made.open("wb") as f:
        for _ in range(0, image.stat().st_size // 2, MIB):
            f.write(os.urandom(MIB))
    return made


def scattered(folder: Path, image: Path) -> Path:
    """Pages of the image, each somewhere else."""
    made, where = folder / "scattered.img", random.Random(1)
    pages = list(extents(image))
    with made.open("wb") as f, image.open("rb") as source:
        f.truncate(LARGE["64 GiB"])
        for _ in range(PIECES):
            begin, end = where.choice(pages)
            page = os.pread(source.fileno(), PAGE, where.randrange(begin, end, PAGE))
            os.pwrite(f.fileno(), page, where.randrange(LARGE["64 GiB"] // PAGE) * PAGE)
    return made


MADE = {"random": noise, "scattered": scattered}


def limit(image: Path, number: int) -> "Measured":
    """What a conversion of the image costs at least, shared by all processors."""
    content, sha256, sha1, spent = hashlib.sha256(), hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0.0
    zeros = bytes(GRAIN)
    with image.open("rb") as f:
        last = -1
        for begin, end in extents(image):
            for n in range(max(last + 1, begin // GRAIN), -(-end // GRAIN)):
                last, grain = n, os.pread(f.fileno(), GRAIN, n * GRAIN)
                if grain == zeros[: len(grain)]:
                    continue
                begun = time.process_time()
                packed = isal_zlib.compress(grain, 2)
                if len(packed) >= len(grain):
                    begun = time.process_time()  # it is stored as it is
                content.update(grain)
                sha256.update(packed)
                sha1.update(packed)
                spent += time.process_time() - begun
    print(f"{number}: {LIMIT:22} {spent / len(os.sched_getaffinity(0)):7.2f} s", file=sys.stderr)
    return Measured(LIMIT, number, spent / len(os.sched_getaffinity(0)), spent, 0, 0)


def extents(image: Path) -> Iterator[tuple[int, int]]:
    """Where the image holds data."""
    with image.open("rb") as f:
        at = 0
        while True:
            try:
                begin = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            at = os.lseek(f.fileno(), begin, os.SEEK_HOLE)
            yield begin, at


def real_files() -> Iterator[Path]:
    """Files of moderate size, in the same order every time, the folders taking turns."""
    found = [
        sorted(p for p in Path(top).rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size < 4 * MIB)
        for top in SOURCES
    ]
    for n in range(max(map(len, found))):
        yield from (paths[n] for paths in found if n < len(paths))


def there(name: str) -> bool:
    """Whether a candidate is installed here."""
    return bool(shutil.which(CANDIDATES[name][0])) and (name != "VMDKstream" or VMDKSTREAM.is_file())


def command(name: str, image: Path, out: Path) -> list[str]:
    """A candidate's command for these files."""
    return [{"IN": str(image), "OUT": str(out)}.get(word, word) for word in CANDIDATES[name]]


def run(name: str, argv: Sequence[str], image: Path, out: Path, number: int) -> Measured:
    """Run one command that makes `out`, which is removed, of the image, which is brought into the page cache before."""
    warm(image)
    begun = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed: {argv}")
    measured = Measured(
        name,
        number,
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        out.stat().st_blocks * 512 if out.exists() else 0,
    )
    out.unlink(missing_ok=True)
    print(f"{number}: {name:22} {seconds:7.2f} s", file=sys.stderr)
    return measured


def warm(image: Path) -> None:
    """Read what is allocated of the image."""
    with image.open("rb") as f:
        for begin, end in extents(image):
            for at in range(begin, end, MIB):
                os.pread(f.fileno(), min(MIB, end - at), at)


def of(runs: Sequence[Measured], name: str) -> list[Measured]:
    """One candidate's runs by round."""
    return sorted((r for r in runs if r.name == name), key=lambda r: r.round)


def table(runs: Sequence[Measured], reference: str = REFERENCE) -> Iterator[str]:
    """Medians of each candidate, and of its ratio to the reference in the same round."""
    yield f"{'':22} {'s':>7} {'CPU s':>7} {'MiB peak':>9} {'MiB out':>8} {'speed':>7} {'range':>13} {'size':>6}"
    theirs = of(runs, reference)
    for name in dict.fromkeys(r.name for r in runs):
        mine = of(runs, name)
        speeds = [b.seconds / a.seconds for a, b in zip(mine, theirs, strict=True)]
        median = statistics.median
        sizes = [a.allocated_bytes / b.allocated_bytes for a, b in zip(mine, theirs, strict=True) if b.allocated_bytes]
        yield (
            f"{name:22} {median(r.seconds for r in mine):7.2f} {median(r.cpu_seconds for r in mine):7.2f}"
            f" {max(r.peak_mib for r in mine):9.0f} {median(r.allocated_bytes for r in mine) / MIB:8.1f}"
            f" {median(speeds):6.2f}x {min(speeds):5.2f} to {max(speeds):5.2f}"
            + (f" {median(sizes):6.3f}" if sizes else "      –")
        )


if __name__ == "__main__":
    main()
