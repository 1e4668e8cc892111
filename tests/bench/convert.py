"""How fast the disk engine is beside what a user would take instead, on this machine, in paired runs.

    python tests/bench/convert.py [--rounds 5] [--mib 2048] [--folder DIR] [--json FILE]

The disk is a file system full of real files of this machine: neither random bytes nor zeros. Each round runs every
candidate once, on the same image from the page cache, in another order; what counts are ratios within a round, and their
medians, because the machine may be busy otherwise. A second part converts the same file system inside a disk of 64 GB, for
time and peak memory. Everything is measured of whole processes, as a user would start them: start-up, hashes and all.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

MIB = 1 << 20
LARGE = 64 << 30
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
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("--json", type=Path, help="write every single run there")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        # in a process of its own: the peak memory of what we start counts from our own at that moment (Linux)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            image = pool.submit(build, folder, asked.mib).result()
        large = folder / "large.img"
        subprocess.run(["cp", "--sparse=always", image, large], check=True)
        os.truncate(large, LARGE)
        names = [n for n in CANDIDATES if there(n)]
        runs = [
            run(n, command(n, image, folder / "out"), image, folder / "out", k)
            for k in range(asked.rounds)
            for n in (names[k % len(names) :] + names)[: len(names)]
        ]
        ours = [n for n in names if n.startswith("hikkoshi")]
        sparse = [run(n, command(n, large, folder / "out"), large, folder / "out", k) for k in range(asked.rounds) for n in ours]
        allocated = image.stat().st_blocks * 512 / MIB
        print(f"{asked.mib} MiB, {allocated:.0f} of them allocated; {os.cpu_count()} CPUs, {asked.rounds} rounds")
        print("\n".join(table(runs)))
        print("\nthe same in a disk of 64 GiB")
        for n in ours:
            pairs = list(zip(of(sparse, n), of(runs, n), strict=True))
            ratio = statistics.median(a.seconds / b.seconds for a, b in pairs)
            print(f"{n:22} {ratio:5.2f} times the time, at most {max(a.peak_mib for a, _ in pairs):.0f} MiB of memory")
    if asked.json:
        asked.json.write_text(
            json.dumps(
                {
                    "machine": platform.platform(),
                    "cpus": os.cpu_count(),
                    "mib": asked.mib,
                    "runs": [asdict(r) for r in runs],
                    "runs_in_64_gib": [asdict(r) for r in sparse],
                },
                indent=2,
            )
        )


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
        at = 0
        while True:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += len(os.pread(f.fileno(), min(MIB, end - at), at))


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
