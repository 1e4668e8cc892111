"""How much longer sealing and verifying a record takes than hashing its bytes with sha256sum.

    python tests/bench/records.py [--rounds 3] [--mib 500] [--folder DIR]

The evidence is half text, half noise, one large file and many small ones. Each round makes a home of its own, then hashes,
seals and verifies, all from the page cache; what counts are the differences and ratios within a round. Sealing copies, hashes,
searches everything for the site's secrets, signs, syncs once and enters the register.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hikkoshi.approval.approver import trust
from hikkoshi.params.home import Home
from hikkoshi.record import seal, verification
from hikkoshi.run.journal import Journal
from hikkoshi.secret import leaks
from hikkoshi_lab import keys

PROJECT = Path(__file__).parents[2]
RUN = "20260101T000000Z-40-convert"
SMALL = 200  # files; together half of all bytes


def main() -> None:
    """Make, measure, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--mib", type=int, default=500, help="size of the evidence")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = options.parse_args()
    rounds = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(prefix="hikkoshi-bench-", dir=asked.folder) as place:
            rounds.append(measured(furnished(Path(place), asked.mib << 20)))
            subprocess.run(["chmod", "-R", "u+w", place], check=True)
    print(f"{asked.mib} MiB in {SMALL + 1} files, {asked.rounds} rounds")
    for name in rounds[0]:
        times = [seconds[name] for seconds in rounds]
        pairs = [(seconds[name], seconds["sha256sum"]) for seconds in rounds]
        more, ratio = statistics.median(t - h for t, h in pairs), statistics.median(t / h for t, h in pairs)
        worst = max(t - h for t, h in pairs)
        print(f"{name:<30}{statistics.median(times):6.2f} s   {ratio:5.2f} x   {more:+6.2f} s (at most {worst:+.2f} s)")


def measured(home: Home) -> dict[str, float]:
    """Seconds of each, in one round."""
    evidence, record = home.folder("gateway") / "evidence", seal.folder(home, "gateway") / RUN
    hashing, secrets = f"find {evidence} -type f -print0 | xargs -0 sha256sum > /dev/null", home.secrets()
    assert len(secrets) == 1
    return {
        "sha256sum": timed(lambda: subprocess.run(["sh", "-c", hashing], check=True)),
        "seal": timed(lambda: seal.of_run(home, "gateway", RUN)),
        "of it the search for secrets": timed(lambda: leaks.scan(record, secrets)),
        "verify": timed(lambda: good(verification.verify(record, trust(home, home.site())))),
    }


def good(found: verification.Verification) -> None:
    """Nothing may be wrong with what was just sealed."""
    assert not found.problems, found.problems


def furnished(place: Path, size: int) -> Home:
    """A home with keys, a secret, and a run with evidence of `size` bytes."""
    shutil.copytree(PROJECT / "params", place / "home" / "params")
    home = Home(place / "home")
    keys.make(home)
    password = home.outputs / "lab" / "vcenter.password"
    password.parent.mkdir()
    password.touch(0o600)
    password.write_text("correct-horse-battery-staple\n")
    folder = home.folder("gateway") / "evidence"
    folder.mkdir(parents=True)
    noise = random.Random(1)
    line = b"10.3.1.1 > 10.3.2.10: ICMP echo request, id 4711, seq 12, length 64, %d\n"
    with folder.joinpath("large.pcap").open("wb") as f:
        for _ in range(size // 2 >> 20):
            f.write(noise.randbytes(1 << 20))
    for n in range(SMALL):
        many = size // 2 // SMALL // len(line)
        folder.joinpath(f"{n:03}.txt").write_bytes(b"".join(line % (n * m) for m in range(many)))
    journal = Journal(home.folder("gateway") / "journal.jsonl")
    journal.append("open", run=RUN, step="40-convert", mode="apply")
    journal.append("outcome", run=RUN, step="40-convert", mode="apply", outcome="succeeded", error="")
    return home


def timed(act: Callable[[], object]) -> float:
    """Seconds that something takes."""
    start = time.monotonic()
    act()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
