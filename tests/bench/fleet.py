"""A fleet of small guests, each truly taken from Xen's disk to a VMDK, beside what was foretold, and beside the bare work.

    python tests/bench/fleet.py [--guests 20] [--first 4] [--jobs 2] [--through 40]

The lab's Dom-0 gets so many guests of one disk. A first wave is moved; by its journals the second one is foretold, and then
moved. Foretold and taken are compared, and what the steps did is compared with the time that the processes had for it: the rest
is what notebooks, records and the fleet cost. It takes the machine for some minutes, and is to be alone on it.
"""

import argparse
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from socket import socket

from hikkoshi.params.home import Home
from hikkoshi.run import duration
from hikkoshi.run.journal import Journal
from hikkoshi_lab import image, lab

PROJECT = Path(__file__).parents[2]
FLEET = (sys.executable, "-m", "hikkoshi.cli.main", "fleet")
DISK, MEMORY = 2 << 30, 256  # bytes; MiB


def main() -> None:
    """Move them, and print what was seen."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--guests", type=int, default=20)
    options.add_argument("--first", type=int, default=4, help="of them in the first wave")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--through", default="40")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hikkoshi-fleet-") as place:
        home = site(Path(place) / "home", given.guests, given.first, given.jobs)
        lab.up(home, lambda words: None)
        try:
            first, _ = timed(home, 1, given.through)
            told = json.loads(asked(home, "forecast", "--through", given.through, "--json"))["waves"][1]
            second, names = timed(home, 2, given.through)
        finally:
            lab.down(home, lambda words: None)
        work = sum(sum(duration.seconds(Journal(home.folder(name).journal).entries()).values()) for name in names)
    foretold, likely = told["seconds"], told["likely"]
    print(f"first wave: {given.first} guests in {first:.0f} s; the load is {os.getloadavg()[0]:.1f} now")
    print(f"second wave: {len(names)} guests in {second:.0f} s; foretold {foretold:.0f} s, in nine of ten within {likely:.0f} s")
    print(f"foretold / taken: {foretold / second:.2f}")
    print(f"work of the steps: {work:.0f} s, {work / (given.jobs * second):.0%} of what {given.jobs} processes had")


def site(root: Path, guests: int, first: int, jobs: int) -> Home:
    """A site folder, and the lab's recipes for its guests."""
    shutil.copytree(PROJECT / "params" / "schema", root / "params" / "schema")
    (root / "params" / "guests").mkdir()
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (PROJECT / "params" / "site.yml").read_text().replace("127.0.0.1:8989", f"127.0.0.1:{port}")
    (root / "params" / "site.yml").write_text(f"{text}\nfleet: {{ jobs: {jobs}, per_dom0: {jobs}, per_vsphere: {jobs} }}\n")
    lab.GUESTS.clear()
    for n in range(1, guests + 1):
        name, address = f"small{n:02}", ipaddress.IPv4Interface(f"10.2.10.{100 + n}/24")
        nic = image.GuestNic(f"00:16:3e:02:00:{n:02x}", address, "xenbr210")
        lab.GUESTS[name] = replace(image.IDP, name=name, disk_bytes=DISK, memory_mb=MEMORY, nics=(nic,), layout="disk")
        wave = 1 if n <= first else 2
        page = f"name: {name}\ndom0: xenhost\nconfig: /etc/xen/{name}\nwave: {wave}\n"
        page += f'nics: [{{ mac: "{nic.mac}", segment: servers }}]\n'
        (root / "params" / "guests" / f"{name}.yml").write_text(page)
    return Home(root)


def timed(home: Home, wave: int, through: str) -> tuple[float, list[str]]:
    """Move a wave: seconds, and its guests."""
    begun = time.monotonic()
    told = json.loads(asked(home, "run", "--apply", "--through", through, "--wave", str(wave), "--json"))
    return time.monotonic() - begun, [guest["guest"] for guest in told["guests"]]


def asked(home: Home, *words: str) -> str:
    """What a command of the fleet answers."""
    done = subprocess.run(
        [*FLEET, *words], env={**os.environ, "HIKKOSHI_HOME": str(home.root)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(
            f"hikkoshi fleet {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    main()
