"""How long a guest's report takes, HTML and PDF, out of the 10 s that it may take, and how large both are.

    python tests/bench/report.py [--home FOLDER] [--guest gateway]

Of a guest of this home that was moved (`make demo`). Drawing and printing are told apart, each as the processor time of this
program and of the browser, which says more than the clock where other work goes on.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hikkoshi import files
from hikkoshi.params.home import Home
from hikkoshi.report import pdf, report

MAY_TAKE = 10.0  # seconds for both


def main() -> None:
    """Write, print, tell."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--home", default="", help="folder with params/ and outputs/")
    options.add_argument("--guest", default="gateway")
    asked = options.parse_args()
    home = Home.find(asked.home)
    written = report.path(home, asked.guest)
    rows = [
        timed("HTML", written, lambda: report.write(home, asked.guest)),
        timed("PDF", pdf.path(written), lambda: pdf.write(written)),
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    print(f"{sum(float(str(r['seconds'])) for r in rows):.1f} s of {MAY_TAKE:.0f} s")


def timed(what: str, made: Path, act: Callable[[], object]) -> dict[str, object]:
    """A row of the table."""
    start, before = time.monotonic(), os.times()
    act()
    seconds, after = time.monotonic() - start, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    return {
        "what": what,
        "seconds": round(seconds, 1),
        "processor s": round(cpu, 1),
        "size": files.human(made.stat().st_size) if made.is_file() else "not made",
    }


if __name__ == "__main__":
    main()
