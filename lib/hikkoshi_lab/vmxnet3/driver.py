"""The driver of vmxnet3 as it was before 2015, made of the very source that the lab's guests have theirs from.

Since Linux 4.2 it says of a frame that the host has merged how that was cut (gso_size), and the kernel can cut it up again.
Before, it said nothing. `BEFORE` takes that away again; all else is Debian's. The module is kept in the cache.
"""

import hashlib
import tempfile
from pathlib import Path

from hikkoshi import tool
from hikkoshi.errors import BadInput, Problem, StepFailed
from hikkoshi_lab.packages import Package

NAME = "vmxnet3.ko"
SOURCES = Path("/usr/src")  # where Debian's packages put them
LABEL, PLACE = "not_lro:", "if (segCnt != 0 && mss != 0) {"  # of vmxnet3_drv.c
BEFORE = "goto not_lro;\n"


def version(kernel: Package) -> str:
    """What `uname -r` says of a package's kernel."""
    return kernel.path.name.removeprefix("linux-image-").partition("_")[0]


def kept(kernel: Package) -> Path:
    """Where its module is, once it is made."""
    key = hashlib.sha256(f"{kernel.sha256} {PLACE} {BEFORE}".encode()).hexdigest()[:32]
    return tool.cache() / "drivers" / key / NAME


def built(kernel: Package) -> Path:
    """The module for this kernel, made if need be; `BadInput` with what is to be installed where that is not there."""
    done = kept(kernel)
    if not done.is_file():
        release = ".".join(version(kernel).split(".")[:2])
        headers, source = f"linux-headers-{version(kernel)}", f"linux-source-{release}"
        _there({headers: kernel.version, source: kernel.version, "make": "", "xz-utils": ""})
        done.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="part.", dir=done.parent) as work:
            inside = f"{source}/drivers/net/vmxnet3"
            tool.run(["tar", "-xf", SOURCES / f"{source}.tar.xz", "-C", work, "--strip-components=4", inside])
            main = Path(work, "vmxnet3_drv.c")
            main.write_text(older(main.read_text()))
            tool.run(["make", "-s", "-C", SOURCES / headers, f"M={work}", "modules"])
            made = Path(work, NAME)
            tool.run(["strip", "--strip-debug", made])
            made.rename(done)
    return done


def older(text: str) -> str:
    """vmxnet3_drv.c as it was; `StepFailed` where it is not written as we know it."""
    if text.count(PLACE) != 1 or text.count(LABEL) != 1:
        raise StepFailed(
            Problem(
                code="lab-driver-unlike",
                what="the source of vmxnet3's driver is not as it was when this was written",
                where="vmxnet3_drv.c",
                found=f"{text.count(PLACE)} times `{PLACE}`, {text.count(LABEL)} times `{LABEL}`",
                expected="each once, as in Linux 6.1",
                remedy="see where it sets gso_size now, and change hikkoshi_lab/vmxnet3/driver.py",
            )
        )
    return text.replace(PLACE, BEFORE + PLACE)


def _there(wanted: dict[str, str]) -> None:
    """Whether packages are installed, each in its version where that is said."""
    shown = tool.run(["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n", *wanted], ok=(0, 1)).stdout
    installed = {name: number for name, number, status in map(str.split, shown.splitlines()) if status == "installed"}
    lacking = [f"{n}={v}" if v else n for n, v in wanted.items() if n not in installed or installed[n] != (v or installed[n])]
    if lacking:
        raise BadInput(
            Problem(
                code="lab-compiler-missing",
                what="a driver cannot be compiled here",
                where="make proof-vmxnet3",
                found=f"not installed: {', '.join(lacking)}",
                expected="the headers and the source of the kernel that the lab's guests have, and a compiler",
                remedy=f"as root: apt-get install --no-install-recommends {' '.join(lacking)}",
            )
        )
