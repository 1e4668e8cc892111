"""A thousand guests looked at, and ten thousand foretold: what that takes, and how much memory.

    python tests/bench/looks.py [--guests 1000] [--foretold 10000] [--jobs 2]

The lab's smaller guest is surveyed once. The others are it again, each under a name of its own, with a MAC and a survey of its
own. All are foretold by `hikkoshi fleet forecast`. Then so many of them are looked at by `hikkoshi fleet run --only 20`: a
process, a notebook and a sealed record each, and vSphere is asked. It takes the machine for some minutes, and is to be alone.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import steps

from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.run.step import PLAN, SURVEY
from hikkoshi_lab import lab

MAC = re.compile("00:16:3e:01:00:00", re.IGNORECASE)  # of the lab's smaller guest


def main() -> None:
    """Look, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--guests", type=int, default=1000)
    options.add_argument("--foretold", type=int, default=10_000)
    options.add_argument("--jobs", type=int, default=2)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hikkoshi-looks-") as place:
        home = steps.site(Path(place))
        home.site_file.write_text(f"{home.site_file.read_text()}\nfleet: {{ jobs: {asked.jobs}, per_vsphere: {asked.jobs} }}\n")
        lab.up(home, lambda words: None)
        try:
            steps.command(steps.PROJECT, home, "idp", "--only", SURVEY.id)
            home.guest_file("gateway").unlink()
            for n in range(1, asked.foretold):
                another(home, n)
            told = timed(home, "forecast", "--json")
            print(f"{asked.foretold} guests foretold: {told}")
            for n in range(asked.guests, asked.foretold):
                home.guest_file(f"idp{n}").unlink()
            told = timed(home, "run", "--only", PLAN.id, "--json")
            print(f"{asked.guests} guests looked at: {told}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        finally:
            lab.down(home, lambda words: None)
            subprocess.run(["chmod", "-R", "u+w", place], check=True)  # records are read-only


def another(home: Home, n: int) -> None:
    """The same guest under another name, with another MAC."""
    name, mac = f"idp{n}", "00:16:3e:{:02x}:{:02x}:{:02x}".format(*(0x40_0000 + n).to_bytes(3, "big"))
    text = home.guest_file("idp").read_text()
    home.guest_file(name).write_text(MAC.sub(mac, text).replace("name: idp", f"name: {name}").replace("xen/idp", f"xen/{name}"))
    found = json.loads(MAC.sub(mac, (home.folder("idp") / Survey.filename).read_text()))
    found["xen"]["name"] = name
    home.folder(name).mkdir(mode=0o700)
    (home.folder(name) / Survey.filename).write_text(json.dumps(found))


def timed(home: Home, *words: str) -> str:
    """What a command of the fleet takes."""
    argv = [sys.executable, "-m", "hikkoshi.cli.main", "fleet", *words]
    begun, before = time.monotonic(), steps.spent()
    with tempfile.TemporaryFile() as answer:
        process = subprocess.Popen(argv, env=steps.environment(steps.PROJECT, home), stdout=answer)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        answer.seek(0)
        told = json.load(answer)
    if process.returncode:
        raise SystemExit(f"hikkoshi fleet {' '.join(words)} ended with {process.returncode}: {str(told)[:2000]}")
    wall, cpu = time.monotonic() - begun, steps.spent() - before
    return f"{wall:.1f} s, {cpu:.1f} s of the processor, at most {usage.ru_maxrss >> 10} MiB in one process"


if __name__ == "__main__":
    main()
