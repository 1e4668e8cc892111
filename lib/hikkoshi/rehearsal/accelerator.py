"""What runs a rehearsal's instructions: the processor itself (KVM), or emulation (TCG).

That /dev/kvm exists says little: in nested machines it may refuse, crash QEMU, hang, or be slower than emulation. So a
few hundred bytes of 64-bit code are run under it, with a time limit.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hikkoshi import files, tool
from hikkoshi.errors import ToolFailed
from hikkoshi.rehearsal import unprivileged
from hikkoshi.rehearsal.machine import PROCESSORS, SANDBOX, drive

DEVICE = Path("/dev/kvm")
LIMIT = 4.0  # seconds; a sound KVM needs 0.3, emulation 0.5
ANSWERED = 0x21 << 1 | 1  # QEMU's exit status after the program wrote 0x21 to isa-debug-exit

# A boot sector, loaded at 0x7c00.
PROGRAM = bytes.fromhex(
    # 16 bit: identity page tables at 0x1000 to 0x3fff (one page of 2 MiB), CR3, CR4 = PAE|OSFXSR, EFER.LME, CR0 = PG|PE,
    # descriptor table, far jump into 64-bit code
    "fa31c08ed88ec066bf0010000066b9000c00006631c0fc66f3ab66c70600100320000066c70600200330000066c706003083000000"
    "66b8001000000f22d866b8200200000f22e066b9800000c00f32660d000100000f3066b8010000800f22c0660f0116a07cea6b7c0800"
    # 64 bit: add 4,000,000 + 3,999,999 + … + 1; write 0x20 + (1 if the sum is right) to port 0x501; halt
    "b900093d0031c001c8ffc975fa3d800447a50f94c00c2066ba0105eef4ebfd"
    # descriptors: none, 64-bit code; their table's limit and address
    "8db600000000"
    "0000000000000000"
    "00000000009a2000"
    "0f00907c0000"
)


@dataclass(frozen=True)
class Accelerator:
    """`name` as QEMU calls it; `reason` says in words why this one."""

    name: Literal["kvm", "tcg"]
    reason: str


def probe(device: Path = DEVICE) -> Accelerator:
    """The accelerator to use here. The trial is made once per boot of this machine; its result is kept in the cache."""
    if not device.exists():
        return Accelerator("tcg", f"there is no {device} here; emulation is slower and otherwise as good")
    if not os.access(device, os.R_OK | os.W_OK):
        return Accelerator("tcg", f"{device} may not be used by this user; a member of its group ({_group(device)}) may")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cache = tool.cache() / "accelerator.json"
    known = _cached(cache, boot)
    if known is None:
        try:
            known = trial("kvm")
        except ToolFailed as e:  # no QEMU: nothing to keep
            return Accelerator("tcg", e.problems[0].what)
        files.write(cache, json.dumps({"boot": boot, **asdict(known)}) + "\n")
    return known


def trial(accelerator: Literal["kvm", "tcg"], limit: float = LIMIT) -> Accelerator:
    """Run the little program under `accelerator`; what does not finish it in `limit` seconds is not used."""
    with unprivileged.folder("probe") as folder:
        disk = folder / "program"
        disk.write_bytes(PROGRAM.ljust(510, b"\0") + b"\x55\xaa")
        unprivileged.give(disk)
        argv = ["qemu-system-x86_64", *SANDBOX, "-machine", "pc", "-accel", accelerator, "-m", "16"]
        argv += ["-cpu", PROCESSORS[accelerator]]
        argv += ["-no-user-config", "-nodefaults", "-display", "none", "-device", "isa-debug-exit,iobase=0x501"]
        argv += ["-drive", f"{drive(Path(disk.name), 'raw')},snapshot=on"]
        start = time.monotonic()
        tool.find(argv[0])
        try:
            rights = unprivileged.rights(*groups(accelerator))
            tool.run(argv, timeout=limit, ok=(ANSWERED,), cwd=folder, env={"TMPDIR": "."}, rights=rights)
        except ToolFailed as e:
            found = e.problems[0].found.splitlines()[0]
            return Accelerator("tcg", f"{DEVICE} is there, but cannot be used: {found}")
        return Accelerator(accelerator, f"a trial under {accelerator} answered in {time.monotonic() - start:.1f} s")


def groups(accelerator: str) -> list[int]:
    """The group that a program without rights needs for this accelerator; never root's."""
    if accelerator != "kvm" or not DEVICE.exists():
        return []
    return [gid] if (gid := DEVICE.stat().st_gid) else []


def _group(device: Path) -> str:
    try:
        return device.group()
    except KeyError:
        return f"number {device.stat().st_gid}"


def _cached(cache: Path, boot: str) -> Accelerator | None:
    try:
        kept = json.loads(cache.read_text())
        if kept.pop("boot") == boot and kept["name"] in ("kvm", "tcg"):
            return Accelerator(**kept)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # an unreadable note is made again
    return None
