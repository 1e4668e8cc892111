"""From a disk image into vSphere over a link of 1 Gbit/s: in one command, beside the upload alone and beside two steps.

    python tests/bench/upload.py [--rounds 5] [--mib 1024] [--folder DIR] [--json FILE]

Needs root. The link is the loopback interface of a network namespace that is made for this and goes with it: MTU 1500,
shaped by a token bucket. At its other end is the lab's vCenter, which hashes what it receives; it shares this machine's
cores, as a real one would not. Each round runs every candidate once on the same image from the page cache, in another
order; what counts are the ratios within a round. Everything is measured of whole processes.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import convert
import link

from hikkoshi.params.home import Home
from hikkoshi.vsphere import session
from hikkoshi_lab import site, vcsim

PROJECT = Path(__file__).parents[2]
REFERENCE = "upload alone"
UPLOAD = """
import sys
from pathlib import Path
from hikkoshi.disk import vmdk
from hikkoshi.params.home import Home
from hikkoshi.vsphere import importing, nfc, session, vm
from hikkoshi.vsphere.spec import VmSpec
file, name = Path(sys.argv[1]), sys.argv[2]
home = Home.find()
spec = VmSpec(name=name, guest_id="otherLinux64Guest", hardware_version=10, vcpus=1, memory_mb=1024,
              disk_bytes=vmdk.read(file).capacity, controller="lsilogic", nic_model="e1000", nics=())
with session.connect(home, home.site().vsphere) as v:
    order = importing.ImportOrder(vm.Owner(name, name, name), spec, {vm.GUEST: name}, name, ((file.name, file.stat().st_size),))
    importing.start(v, home.site().vsphere, order, lambda lease, url, _: nfc.upload(v, lease, url, file))
"""


def main() -> None:
    """Make the link, build, run, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--mib", type=int, default=1024, help="size of the file system on the image")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("--json", type=Path, help="write every single run there")
    asked = options.parse_args()
    link.enter()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        home = Home(Path(name))
        os.environ["HIKKOSHI_HOME"] = name
        shutil.copytree(PROJECT / "params", home.root / "params")
        lab = home.outputs / "lab"
        with vcsim.start(lab, listen=home.site().vsphere.server):
            with session.connect(home, home.site().vsphere) as v:
                site.shape(v, home.site(), lab / vcsim.TEMPORARY, lambda words: None)
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                image = pool.submit(convert.build, home.root, asked.mib).result()
            runs = measure(home.root, image, asked.rounds)
        print(f"{asked.mib} MiB; {os.cpu_count()} CPUs, {asked.rounds} rounds, 1 Gbit/s")
        print("\n".join(convert.table(runs, REFERENCE)))
    if asked.json:
        facts = {"machine": platform.platform(), "cpus": os.cpu_count(), "mib": asked.mib}
        asked.json.write_text(json.dumps({**facts, "runs": [asdict(r) for r in runs]}, indent=2))


def measure(folder: Path, image: Path, rounds: int) -> list[convert.Measured]:
    """Every candidate in every round."""
    ready, out = folder / "ready.vmdk", folder / "out.vmdk"
    subprocess.run([convert.HIKKOSHI, "convert", image, ready], check=True, stdout=subprocess.DEVNULL)
    upload = f'"{sys.executable}" -c "$UPLOAD"'
    os.environ["UPLOAD"] = UPLOAD
    candidates = {
        REFERENCE: f"{upload} {ready} NAME",
        "one command": f"{convert.HIKKOSHI} convert {image} - --import NAME",
        "one command, and a file": f"{convert.HIKKOSHI} convert {image} {out} --import NAME",
        "convert, then upload": f"{convert.HIKKOSHI} convert {image} {out} && {upload} {out} NAME",
        "qemu-img, then upload": f"{' '.join(convert.QEMU)} {convert.STREAM} {image} {out} && {upload} {out} NAME",
    }
    names = list(candidates)
    runs = []
    for k in range(rounds):
        for n, name in enumerate((names[k % len(names) :] + names)[: len(names)]):
            line = candidates[name].replace("NAME", f"bench-{k}-{n}")
            runs.append(convert.run(name, ["sh", "-c", line], image, out, k))
    return runs


if __name__ == "__main__":
    main()
