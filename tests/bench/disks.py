"""How long a guest of three disks takes beside one that has the same on one disk, from survey to rehearsal, in paired runs.

    python tests/bench/disks.py [--rounds 3] [--mib 2048] [--folder DIR] [--json FILE]

The guest is the lab's idp: root, swap and a file system half full of real files of this machine, each of `--mib` MiB. Each
round moves both guests once by `hikkoshi run … --through 50-rehearse`, in turns in another order; what counts are the ratios
within a round, of the whole and of each step, and their medians, because the machine may be busy otherwise.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import convert

from hikkoshi.params.home import Home
from hikkoshi.run.journal import Journal
from hikkoshi.vsphere import session
from hikkoshi_lab import image, partitions, site, vcsim

PROJECT = Path(__file__).parents[2]
GUESTS = ("one", "three")
FSTAB = "/dev/xvda4              /srv                    ext3    defaults        1 2\n"


def main() -> None:
    """Build, run, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--mib", type=int, default=2048, help="size of each of the three disks")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options.add_argument("--json", type=Path, help="write every single run there")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        home = Home(Path(name))
        os.environ["HIKKOSHI_HOME"] = name
        shutil.copytree(PROJECT / "params", home.root / "params")
        lab, images = home.outputs / "lab", build(home, asked.mib)
        with vcsim.start(lab, listen=home.site().vsphere.server):
            with session.connect(home, home.site().vsphere) as v:
                site.shape(v, home.site(), lab / vcsim.TEMPORARY, lambda words: None)
            runs, steps = [], []
            for k in range(asked.rounds):
                for guest in GUESTS if k % 2 else reversed(GUESTS):
                    shutil.rmtree(home.folder(guest), ignore_errors=True)
                    for path in images[guest]:
                        convert.warm(path)
                    argv = [convert.HIKKOSHI, "run", guest, "--apply", "--through", "50-rehearse"]
                    runs.append(convert.run(guest, argv, images[guest][0], home.root / "nothing", k))
                    steps.append((guest, seconds(home, guest)))
    print(f"3 times {asked.mib} MiB; {os.cpu_count()} CPUs, {asked.rounds} rounds")
    each = [[s for guest, s in steps if guest == name] for name in GUESTS]
    for step in each[0][0]:
        row(step, *([s[step] for s in of] for of in each))
    row("the whole", *([r.seconds for r in convert.of(runs, name)] for name in GUESTS))
    if asked.json:
        facts = {"machine": platform.platform(), "cpus": os.cpu_count(), "mib": asked.mib}
        asked.json.write_text(json.dumps({**facts, "runs": [asdict(r) for r in runs], "steps": steps}, indent=2))


def row(what: str, one: list[float], three: list[float]) -> None:
    """Medians of both, and of the ratio in the same round."""
    ratios = [b / a for a, b in zip(one, three, strict=True)]
    times = f"{statistics.median(one):7.1f} s {statistics.median(three):7.1f} s"
    print(f"{what:14} {times} {statistics.median(ratios):6.2f} times  {min(ratios):.2f} to {max(ratios):.2f}")


def seconds(home: Home, guest: str) -> dict[str, float]:
    """How long each step ran, by the guest's journal."""
    times: dict[str, list[datetime]] = {}
    for entry in Journal(home.folder(guest).journal).entries():
        if entry.get("step"):
            times.setdefault(entry["step"], []).append(datetime.fromisoformat(entry["time"]))
    return {step: (max(at) - min(at)).total_seconds() for step, at in times.items()}


def build(home: Home, mib: int) -> Mapping[str, list[Path]]:
    """Both guests on the Dom-0, with their parameters; gives their images."""
    dom0, size = home.outputs / "lab/dom0", mib * convert.MIB
    images = dom0 / "var/lib/xen/images"
    images.mkdir(parents=True)
    (dom0 / "etc/xen").mkdir(parents=True)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        data = pool.submit(convert.build, home.root, mib).result()
    three = replace(image.IDP, name="three", disk_bytes=size)
    one = replace(image.IDP, name="one", disk_bytes=2 * size, layout="disk")
    made: dict[str, list[Path]] = {guest.name: [] for guest in (one, three)}
    for guest in (one, three):
        for vdev, part in image.FILES[guest.layout].items():
            path = images / f"{guest.name}{part}.img"
            subprocess.run(["cp", "--sparse=always", image.disks(guest)[vdev], path], check=True)
            path.chmod(0o600)
            made[guest.name].append(path)
        (dom0 / "etc/xen" / guest.name).write_text(image.xm_config(guest))
        text = (home.root / "params/guests/idp.yml").read_text().replace("idp", guest.name)
        (home.root / f"params/guests/{guest.name}.yml").write_text(text)
    whole, (_, swap, srv) = made["one"][0], made["three"]
    os.truncate(whole, 3 * size)
    table = f"start={2 * size // 512}, size={size // 512}, type=83\n"
    subprocess.run(["sfdisk", "-q", "--append", whole], input=table, text=True, check=True)
    partitions.sparse_copy(data, whole, 2 * size)
    root = f"{whole}?offset={partitions.bounds(2 * size)[1]}"
    fstab = home.root / "fstab"
    there = subprocess.run(["debugfs", "-R", "cat /etc/fstab", root], capture_output=True, text=True, check=True).stdout
    fstab.write_text(there + FSTAB)
    subprocess.run(["debugfs", "-w", "-f", "-", root], input=f"rm /etc/fstab\nwrite {fstab} /etc/fstab\n", text=True, check=True)
    swap.write_bytes(partitions.swap_header(size, uuid.uuid5(three.uuid, "swap"), ""))
    os.truncate(swap, size)
    subprocess.run(["cp", "--sparse=always", data, srv], check=True)
    data.unlink()
    return made


if __name__ == "__main__":
    main()
