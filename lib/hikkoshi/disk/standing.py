"""How a disk on another machine stands: what shows there that somebody has written to it, or put another one in its place.

The question is a script for the sh there, with what coreutils 5.97 and Linux 2.6.18 have. A device keeps no time of its last
change; how many sectors were written to it is the seventh of its statistics (Linux, Documentation/block/stat.rst), and counts
since the machine there was started, or since the volume was opened.
"""

import re
import shlex
from datetime import UTC, datetime

from hikkoshi.artefact import Frozen
from hikkoshi.disk.source import SECTOR

# a guest writes past the page cache of its Dom-0, which may hold what was read from a device before: it is dropped
_SCRIPT = """\
p=%s
for t in dd gzip sha256sum stat readlink; do command -v $t >/dev/null || { echo "@none lacks $t"; exit 0; }; done
q=`readlink -f "$p"`
if test ! -e "$q"; then echo "@none no such file"
elif test ! -r "$q"; then echo "@none not readable for `id -un`"
elif test -f "$q"; then stat -c '@file %%s %%b %%d:%%i %%Y %%y|%%Z %%z' "$q"
elif test -b "$q"; then
  blockdev --flushbufs "$q" 2>/dev/null
  set -- `stat -c '%%t %%T' "$q"`
  d=${q##*/}; n=$((0x$1)); k=$((0x$2))
  u=`cat "/sys/block/$d/dm/uuid" 2>/dev/null || dmsetup info -c --noheadings -o uuid -j $n -m $k 2>/dev/null`
  case $u in *' '*) u=;; esac
  set -- `cat "/sys/block/$d/stat" 2>/dev/null || cat /sys/class/block/"$d"/stat 2>/dev/null`
  echo "@device `blockdev --getsize64 "$q"` ${u:-$n:$k} `cat /proc/sys/kernel/random/boot_id` ${7:--}"
else echo "@none neither a file nor a block device"
fi
"""
_TIME = r"(\d{1,11}) \S+ \d\d:\d\d:\d\d(\.\d+)?[ +\d-]*"
_FILE = re.compile(rf"@file (\d{{1,19}}) (\d{{1,19}}) (\d+:\d+) {_TIME}\|{_TIME}\n")
_DEVICE = re.compile(r"@device (\d{1,19}) (\S{1,200}) ([0-9a-f-]{36}) (\d{1,19}|-)\n")


class Standing(Frozen):
    """A disk at one moment. A file has a time of its last change, `changed`, and `touched`, which nobody can set: when anything
    of it changed. A device has counted `sectors` since `boot`."""

    device: bool
    bytes: int
    allocated: int  # bytes that it takes up there; of a device all
    name: str  # of a file its device and inode; of a device what LVM or device-mapper calls it for ever, else its numbers
    changed: str = ""
    touched: str = ""  # earlier versions did not ask
    boot: str = ""  # the start of the machine since which sectors are counted
    sectors: int = -1  # of 512 bytes; -1 where the kernel does not count

    def other(self, now: "Standing", *, touched: bool = False) -> str:
        """How it is seen that it is another disk now, or was written to; empty where nothing shows that.

        `touched`: whether it counts, too, that somebody has done anything to a file, as between two looks while it is read.
        That proves something of a file only: of a device, nobody knows what was written before it was opened again.
        """
        if self.device != now.device:
            kinds = ("a file", "a device")
            return f"{kinds[now.device]} now, {kinds[self.device]} before"
        named = {"bytes": "bytes"} if self.device else {"bytes": "bytes", "file": "name", "time of last change": "changed"}
        if touched and not self.device:
            named["time of last touch"] = "touched"
        told = [
            f"{word} {getattr(now, x)}, before {getattr(self, x)}"
            for word, x in named.items()
            if getattr(now, x) != getattr(self, x)
        ]
        if self.device and self.name.startswith("LVM-") and now.name != self.name:
            told.append("another LVM volume under this name")
        if self.device and self.boot == now.boot and now.sectors > self.sectors >= 0:
            told.append(f"{(now.sectors - self.sectors) * SECTOR:,} bytes were written to it, by the kernel's count")
        return "; ".join(told)


def script(path: str) -> str:
    """The question how a disk stands."""
    return _SCRIPT % shlex.quote(path)


def told(answer: str) -> Standing | str:
    """What the answer says: how it stands, or why nobody can tell; `ValueError` for what is none."""
    if found := re.fullmatch(r"@none (.*)\n", answer):
        return found[1]
    if found := _FILE.fullmatch(answer):
        size, blocks = int(found[1]), int(found[2])
        changed, touched = _time(found[4], found[5]), _time(found[6], found[7])
        return Standing(device=False, bytes=size, allocated=blocks * SECTOR, name=found[3], changed=changed, touched=touched)
    if found := _DEVICE.fullmatch(answer):
        size, sectors = int(found[1]), -1 if found[4] == "-" else int(found[4])
        return Standing(device=True, bytes=size, allocated=size, name=found[2], boot=found[3], sectors=sectors)
    raise ValueError(f"no standing of a disk: {answer[:80]}")


def _time(seconds: str, fraction: str | None) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S") + (fraction or "") + " UTC"
