"""How much sooner libguestfs' appliance is ready as Hikkoshi has it started, without KVM, in paired runs.

    python tests/bench/appliance.py [--rounds 5]

Each round starts the appliance once as libguestfs does and once with an unpacked kernel and without what emulation is slow at,
in another order; what counts are the ratios within a round, and their median. The first start of all, which unpacks the
kernel, is not counted.
"""

import argparse
import os
import resource
import statistics
import time

from hikkoshi import tool

START = """
import guestfs
g = guestfs.GuestFS(python_return_dict=True)
g.set_backend("direct")
g.set_backend_settings(["force_tcg"])
g.add_drive_scratch(1 << 20)
g.launch()
g.shutdown()
"""


def main() -> None:
    """Start, print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    given = tool.guestfs_environment()
    as_it_is = {"LIBGUESTFS_HV": given["HIKKOSHI_HV"]}
    for how in (as_it_is, given):
        _start(how)
    pairs = []
    for n in range(rounds):
        both = {id(how): _start(how) for how in ((as_it_is, given) if n % 2 else (given, as_it_is))}
        pairs.append((both[id(as_it_is)], both[id(given)]))
    for what, index in (("seconds", 0), ("CPU seconds", 1)):
        plain, quick = ([run[way][index] for run in pairs] for way in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(plain, quick, strict=True))
        both = f"{statistics.median(plain):.1f} as libguestfs does, {statistics.median(quick):.1f} as Hikkoshi does"
        print(f"{what}: {both}: {ratio:.2f} times")


def _start(how: dict[str, str]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all its processes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    tool.run([tool.guestfs_python(), "-c", START], timeout=600, env=how)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - begun, spent


if __name__ == "__main__":
    os.environ.pop("LIBGUESTFS_HV", None)
    main()
